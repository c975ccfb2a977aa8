"""The ``ml_predictive`` score: the odds of leaving within 90 days against the portfolio's base rate, on the scale of scores.

100·(1 − p) would call nearly all customers healthy. Here the base rate itself is 70 points, half the base odds 82,
three times them 45, ten times 20; linear in the log of the odds ratio between these, and beyond them by the nearest
two, within 0 to 100.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from healthseg.scoring.components import DECIMALS
from healthseg.scoring.health import Scores, bands_of, shown, words
from healthseg.settings import Settings

HORIZON_DAYS = 90
ODDS_RATIOS, POINTS = np.array([0.5, 1.0, 3.0, 10.0]), np.array([82.0, 70.0, 45.0, 20.0])
REASON = "no churn model was in force on that day, or notice had been given"


def points_of(odds_ratio: np.ndarray | float) -> np.ndarray:
    """The score of an odds ratio against the base rate; NaN stays NaN.

    >>> points_of(np.array([0.5, 1.0, 3.0, 10.0])).tolist()
    [82.0, 70.0, 45.0, 20.0]
    """
    x, knots = np.log(np.asarray(odds_ratio, dtype=float)), np.log(ODDS_RATIOS)
    low, high = ((POINTS[b] - POINTS[a]) / (knots[b] - knots[a]) for a, b in ((0, 1), (2, 3)))
    beyond = np.where(
        x < knots[0], POINTS[0] + low * (x - knots[0]), POINTS[-1] + high * (x - knots[-1])
    )
    inside = np.interp(x, knots, POINTS)
    return np.round(
        np.clip(np.where((x < knots[0]) | (x > knots[-1]), beyond, inside), 0.0, 100.0), DECIMALS
    )


def odds_ratio(probability: np.ndarray, base: np.ndarray | float) -> np.ndarray:
    """Odds against the base rate's odds; finite also at certainty."""
    p, q = (np.clip(one, 1e-12, 1 - 1e-12) for one in (probability, base))
    return p / (1 - p) / (q / (1 - q))


@dataclass(frozen=True)
class Standing:
    """Rows' odds ratios against the base rate, with both ends of their intervals, and their probability."""

    ratio: np.ndarray  # NaN without a model
    lower: np.ndarray
    upper: np.ndarray
    probability: np.ndarray


def predictive_scores(scores: Scores, standing: Standing, config: Settings) -> Scores:
    """Scores with the model's instead of the composite; components, coverage and points stay the scorecard's.

    The possible range is what the probability's interval allows. No cap applies: an overdue invoice is in the
    probability. Withheld where there is no model.
    """
    live = scores.frame["live"].to_numpy(dtype=bool)
    score = np.where(live, points_of(standing.ratio), np.nan)
    seen = shown(score)
    frame = scores.frame.assign(
        score=score,
        shown=seen,
        uncapped=score,
        cap=np.nan,
        capped=False,
        lowest=np.where(live, points_of(standing.upper), np.nan),
        highest=np.where(live, points_of(standing.lower), np.nan),
        withheld=live & np.isnan(score),
    )
    return replace(scores, frame=frame.assign(band=words(bands_of(seen, config), frame.index)))
