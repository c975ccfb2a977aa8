"""Does the model hold on dates that it had not seen (the gate), and how do its log odds become
probabilities?

Calibrated log odds of a step = c + a + s·(x − c), c the portfolio's base, a ~ Normal(0, 0.3²), s ~
Normal(1, 0.2²): shrunk towards no change. j steps ahead a customer's deviation has faded to ρʲ·(x −
c), ρ ~ Normal(0.9, 0.1²). All are learnt on held-out time alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy

from healthseg.errors import CalculationError
from healthseg.settings import Settings
from healthseg.statistics import effects

INTERCEPT_SD, SLOPE_SD = 0.3, 0.2
FADES = np.linspace(0.5, 1.0, 26)
FADE_MEAN, FADE_SD = 0.9, 0.1
# quantiles of a customer's own log odds
NODES = scipy.special.ndtri((np.arange(41) + 0.5) / 41)

Later = list[tuple[int, np.ndarray, np.ndarray]]


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

    Σ U ÷ Σ n₁n₀ over the dates. Without signal the customers lost after a date are any of those at risk, so that each U
    has mean n₁n₀/2 and the variance of Wilcoxon's statistic (with ties), independent of the others.

    >>> ranked_within_dates(np.array([1., 2, 3, 4]), np.array([0., 0, 1, 1]), np.zeros(4))[0]
    1.0
    """
    over, pairs, variance = 0.0, 0.0, 0.0
    for day in np.unique(date):
        rows = date == day
        n, lost = int(rows.sum()), float(outcome[rows].sum())
        if lost in (0.0, float(n)):
            continue
        ranks = scipy.stats.rankdata(score[rows])
        over += float(ranks[outcome[rows] == 1].sum() - lost * (lost + 1) / 2)
        pairs += lost * (n - lost)
        variance += lost * (n - lost) / n * float(ranks.var(ddof=1))
    if pairs == 0 or variance == 0:
        return 0.5, 0.0
    return over / pairs, (over - pairs / 2) / float(np.sqrt(variance))


def log_skill(log_odds: np.ndarray, base: np.ndarray, outcome: np.ndarray) -> float:
    """1 − the log score of a forecast ÷ that of the base rate; above 0 it is the better one."""
    losses = [(np.logaddexp(0, odds) - outcome * odds).sum() for odds in (log_odds, base)]
    return 1 - float(losses[0]) / float(losses[1])


def judge_held_out(
    past: pd.DataFrame, outcome: np.ndarray, leavers: int, steps: int, settings: Settings
) -> Gate:
    """The gate's verdict on held-out rows (``held_out``) with their outcomes (NaN: unknown)."""
    known = ~np.isnan(outcome)
    past, outcome = past[known], outcome[known]
    lost, dates = int(outcome.sum()), past["date"].nunique()
    counts = {"held_out_leavers": lost, "held_out_dates": dates}
    counted = f"{leavers} customers churned in {steps:,} customer-months"
    if lost in (0, len(outcome)):
        reason = (
            f"no account-level model: {counted}, too few of them on dates that could test a model"
        )
        return Gate(False, reason, leavers, steps, **counts)
    odds, base = past["log_odds"].to_numpy(), past["base_log_odds"].to_numpy()
    auc, z = ranked_within_dates(odds, outcome, past["date"].to_numpy())
    skill = log_skill(odds, base, outcome)
    side = "better" if skill > 0 else "worse"
    figures = (
        f"AUC {auc:.2f}, z {z:.1f} where {settings.churn_gate_z:g} is needed, log score "
        f"{100 * abs(skill):.1f} % {side} than the base rate's"
    )
    eligible = z > settings.churn_gate_z and skill > 0
    if eligible:
        reason = (
            f"{counted}; on {dates} held-out dates the model separated churned from retained "
            f"customers: {figures}"
        )
    else:
        reason = (
            f"no account-level model: {counted}, and on {dates} held-out dates a model did not "
            f"separate churned from retained customers well enough: {figures}"
        )
    return Gate(eligible, reason, leavers, steps, **counts, auc=auc, z=z, skill=skill)


@dataclass(frozen=True)
class Calibration:
    """Intercept and slope with their covariance (three figures), the centre, the fading, and a step's days."""

    center: float
    intercept: float
    slope: float
    intercept_variance: float
    slope_variance: float
    covariance: float
    fade: float
    step_days: int

    def log_odds(self, raw: np.ndarray) -> np.ndarray:
        return self.center + self.intercept + self.slope * (raw - self.center)

    def sd(self, raw: np.ndarray, raw_sd: np.ndarray) -> np.ndarray:
        """Of calibrated log odds: the classifier's own uncertainty and the calibration's."""
        away = raw - self.center
        own = self.intercept_variance + 2 * away * self.covariance + away**2 * self.slope_variance
        return np.sqrt(self.slope**2 * raw_sd**2 + np.maximum(own, 0.0))

    def probability(self, log_odds: np.ndarray, horizon_days: float) -> np.ndarray:
        """1 − Π (1 − pⱼ) over the steps of the horizon; the last, cut step counts by its share of days."""
        steps, base = horizon_days / self.step_days, self.center + self.intercept
        log_retained = np.zeros(np.shape(log_odds))
        for ahead in range(int(np.ceil(steps))):
            faded = base + self.fade**ahead * (log_odds - base)
            log_retained = log_retained + min(1.0, steps - ahead) * -np.logaddexp(0, faded)
        return -np.expm1(log_retained)

    def interval(
        self, log_odds: np.ndarray, sd: np.ndarray, horizon_days: float, level: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end of each probability at ``level``."""
        reach = scipy.special.ndtri((1 + level) / 2) * sd
        lower, upper = (self.probability(log_odds + side * reach, horizon_days) for side in (-1, 1))
        return lower, upper

    def confidence(
        self, log_odds: np.ndarray, sd: np.ndarray, horizon_days: float, tolerance: float
    ) -> np.ndarray:
        """The chance that each customer's own probability is within ``tolerance`` of the estimate."""
        estimate = self.probability(log_odds, horizon_days)
        draws = self.probability(log_odds[:, None] + sd[:, None] * NODES, horizon_days)
        return (np.abs(draws - estimate[:, None]) <= tolerance).mean(axis=1)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def calibrate(
    raw: np.ndarray, outcome: np.ndarray, center: float, step_days: int, later: Later
) -> Calibration:
    """The calibration of held-out log odds ``raw`` by their outcomes (0, 1).

    ``later`` are (steps ahead, log odds, outcomes) of the customers retained until then, for the fading.
    """
    design = np.column_stack([np.ones(len(raw)), raw - center])
    precision = 1 / np.array([INTERCEPT_SD, SLOPE_SD]) ** 2
    beta = effects.fit_logistic(design, outcome, precision, np.array([0.0, 1.0]), offset=center)
    if beta is None:
        message = "the calibration of held-out log odds did not settle"
        raise CalculationError(message, value_provided=len(raw))
    curvature = effects.expand(design, outcome, beta, center).curvature + np.diag(precision)
    spread = np.linalg.inv(curvature)
    intercept, slope = (float(value) for value in beta)
    calibrated = [
        (ahead, center + intercept + slope * (odds - center), lost) for ahead, odds, lost in later
    ]
    return Calibration(
        center,
        intercept,
        slope,
        float(spread[0, 0]),
        float(spread[1, 1]),
        float(spread[0, 1]),
        _fade(calibrated, center + intercept),
        step_days,
    )


def _fade(later: Later, base: float) -> float:
    """The mean of ρ's posterior on a grid."""
    log_weight = -0.5 * ((FADES - FADE_MEAN) / FADE_SD) ** 2
    for ahead, odds, outcome in later:
        faded = base + FADES[:, None] ** ahead * (odds - base)
        log_weight = log_weight + (outcome * faded - np.logaddexp(0, faded)).sum(axis=1)
    weight = np.exp(log_weight - log_weight.max())
    return float((weight * FADES).sum() / weight.sum())
