"""May the portfolio have a model of single customers? Asked of dates that the models had not seen."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy

from healthseg.settings import Settings


@dataclass(frozen=True)
class Gate:
    """Whether there is a model, why, and the figures that decided it.

    auc is of held-out dates, each date ranked within itself; z is its distance from 0.5 in standard errors of no
    signal; skill is 1 − the model's log score ÷ the base rate's. median_width is that of the customers' intervals.
    """

    eligible: bool
    reason: str
    leavers: int
    customer_steps: int
    held_out_leavers: int = 0
    held_out_dates: int = 0
    auc: float | None = None
    z: float | None = None
    skill: float | None = None
    median_width: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def ranked_within_dates(
    score: np.ndarray, outcome: np.ndarray, date: np.ndarray
) -> tuple[float, float]:
    """AUC with each date ranked within itself, and its z.

    Σ U ÷ Σ n₁n₀ over the dates. Without signal a date's leavers are any of those at risk, whatever was said before,
    so that each U has mean n₁n₀/2 and the variance of Wilcoxon's statistic (with ties), independent of the others.

    >>> ranked_within_dates(np.array([1., 2, 3, 4]), np.array([0., 0, 1, 1]), np.zeros(4))[0]
    1.0
    """
    over, pairs, variance = 0.0, 0.0, 0.0
    for day in np.unique(date):
        here = date == day
        n, gone = int(here.sum()), float(outcome[here].sum())
        if gone in (0.0, float(n)):
            continue
        ranks = scipy.stats.rankdata(score[here])
        over += float(ranks[outcome[here] == 1].sum() - gone * (gone + 1) / 2)
        pairs += gone * (n - gone)
        variance += gone * (n - gone) / n * float(ranks.var(ddof=1))
    if pairs == 0 or variance == 0:
        return 0.5, 0.0
    return over / pairs, (over - pairs / 2) / float(np.sqrt(variance))


def log_skill(log_odds: np.ndarray, base: np.ndarray, outcome: np.ndarray) -> float:
    """1 − the log score of a forecast ÷ that of the base rate; above 0 it is the better one."""

    def loss(odds: np.ndarray) -> float:
        return float((np.logaddexp(0, odds) - outcome * odds).sum())

    return 1 - loss(log_odds) / loss(base)


def judge_held_out(
    log_odds: np.ndarray,
    base: np.ndarray,
    outcome: np.ndarray,
    date: np.ndarray,
    leavers: int,
    steps: int,
    config: Settings,
) -> Gate:
    """The gate's verdict on held-out rows with known outcomes."""
    seen = int(outcome.sum())
    counted = f"{leavers} customers left in {steps:,} customer-months"
    shared = {
        "leavers": leavers,
        "customer_steps": steps,
        "held_out_leavers": seen,
        "held_out_dates": len(np.unique(date)),
    }
    if seen == 0 or seen == len(outcome):
        return Gate(
            False,
            f"no account-level model: {counted}, too few of them on dates that a model could be held "
            "against",
            **shared,
        )
    auc, z = ranked_within_dates(log_odds, outcome, date)
    skill = log_skill(log_odds, base, outcome)
    figures = {**shared, "auc": auc, "z": z, "skill": skill}
    told = (
        f"AUC {auc:.2f}, z {z:.1f} where {config.churn_gate_z:g} is asked, log score {_against(skill)} the base "
        "rate's"
    )
    if z > config.churn_gate_z and skill > 0:
        return Gate(
            True,
            f"{counted}; on {shared['held_out_dates']} dates that it had not seen the model told leavers "
            f"from stayers: {told}",
            **figures,
        )
    return Gate(
        False,
        f"no account-level model: {counted}, and on {shared['held_out_dates']} dates that it had not "
        f"seen a model did not tell leavers from stayers well enough: {told}",
        **figures,
    )


def _against(skill: float) -> str:
    return f"{100 * abs(skill):.1f} % {'better' if skill > 0 else 'worse'} than"
