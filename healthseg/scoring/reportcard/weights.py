"""Which weights would outcomes suggest, and what would they have gained on later time?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from healthseg.scoring.reportcard.accuracy import LEAST_EVENTS, auc, resampled
from healthseg.settings import COMPONENTS, Settings

TRAIN_SHARE = (
    0.6  # of the dates, the earlier ones: the weights are learnt there, and judged on the rest
)
PULL = 20.0  # leavers' worth of evidence that today's weights have
NO_BETTER = "no better than today's"


@dataclass(frozen=True)
class Suggestion:
    """Weights learnt from the earlier dates, and the AUC that they and today's have on the later ones.

    ``verdict`` says whether to change: only where the gain's interval lies above zero.
    """

    frame: pd.DataFrame  # component, weight_now, weight_suggested
    gain: float | None
    gain_lower: float | None
    gain_upper: float | None
    auc_now: float | None
    auc_suggested: float | None
    verdict: str


def suggest(
    rows: pd.DataFrame, config: Settings, horizon_days: int, draws: int, level: float, seed: int
) -> Suggestion:
    """Non-negative weights of the components that would have told leavers best, drawn towards today's.

    ``rows`` are of ``rebuilt``, with outcomes. Dates whose outcome window reaches into the later ones are left out of
    the learning.
    """
    now = _today(config)
    known = rows[rows["outcome"].notna() & rows["weighted_composite"].notna()].reset_index(
        drop=True
    )
    dates = np.unique(known["date"].to_numpy())
    begin = dates[int(TRAIN_SHARE * len(dates))] if len(dates) > 2 else None
    early = (
        known[known["date"] + pd.Timedelta(days=horizon_days) < begin]
        if begin is not None
        else known.iloc[:0]
    )
    late = known[known["date"] >= begin] if begin is not None else known.iloc[:0]
    frame = pd.DataFrame({"component": list(now), "weight_now": list(now.values())})
    if min(early["outcome"].sum(), late["outcome"].sum()) < LEAST_EVENTS:
        return Suggestion(
            frame.assign(weight_suggested=np.nan),
            None,
            None,
            None,
            None,
            None,
            "too few left on the earlier or the later dates to learn weights and to judge them",
        )
    today, names = np.array(list(now.values())), list(now)
    weights = _learnt(early, today, names)
    judged = late.assign(now=-_mean(late, today, names), then=-_mean(late, weights, names))

    def gained(outcome, then, today, weight) -> float:
        return auc(outcome, then, weight) - auc(outcome, today, weight)

    gain, low, high = resampled(gained, judged, ("outcome", "then", "now"), draws, level, seed)
    ones = np.ones(len(judged))
    both = [
        auc(judged["outcome"].to_numpy(), judged[name].to_numpy(), ones) for name in ("now", "then")
    ]
    verdict = f"{gain:+.3f} AUC on later time" if low > 0 else NO_BETTER
    return Suggestion(
        frame.assign(weight_suggested=weights), gain, low, high, both[0], both[1], verdict
    )


def _today(config: Settings) -> dict[str, float]:
    card = config.scorecard.components
    total = sum(part.weight for part in card.values())
    return {name: card[name].weight / total for name in COMPONENTS if name in card}


def _mean(rows: pd.DataFrame, weights: np.ndarray, names: list[str]) -> np.ndarray:
    """The weighted mean of the components that are known, as the score has it."""
    values = rows[names].to_numpy(dtype=float)
    known = ~np.isnan(values)
    total = (known * weights).sum(axis=1)
    return np.where(
        total > 0,
        (np.nan_to_num(values) * weights).sum(axis=1) / np.where(total > 0, total, 1.0),
        50.0,
    )


def _learnt(rows: pd.DataFrame, now: np.ndarray, names: list[str]) -> np.ndarray:
    """Weights on the simplex: a logistic regression of the outcome on the weighted mean, pulled towards today's."""
    outcome = rows["outcome"].to_numpy()
    share = 1 / max(
        len(np.unique(rows["date"])), 1
    )  # a customer's rows tell one story, not one a date

    def loss(free: np.ndarray) -> float:
        weights = scipy.special.softmax(free[2:])
        odds = free[0] - np.exp(free[1]) * (_mean(rows, weights, names) - 70) / 10
        fit = (np.logaddexp(0, odds) - outcome * odds).sum() * 3 * share
        return float(fit + PULL * scipy.special.rel_entr(now, weights).sum())

    mean = scipy.special.logit(np.clip(outcome.mean(), 0.01, 0.99))
    start = np.concatenate([[mean, 0.0], np.log(np.maximum(now, 1e-3))])
    return scipy.special.softmax(scipy.optimize.minimize(loss, start, method="L-BFGS-B").x[2:])
