"""Does a series rise faster than before? The later half's slope against the earlier half's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from healthseg.statistics.normal import standard_errors, student_errors
from healthseg.statistics.robust import theil_sen

LEAST_POINTS = 8
RESAMPLES = 999


@dataclass(frozen=True)
class Velocity:
    """The change of the slope per step, with its bootstrap interval; NaN under 8 points."""

    change: float
    lower: float
    upper: float

    @property
    def word(self) -> str | None:
        """accelerating, decelerating, steady; None without a figure.

        >>> Velocity(0.2, 0.1, 0.3).word
        'accelerating'
        """
        if np.isnan(self.change):
            return None
        return "accelerating" if self.lower > 0 else "decelerating" if self.upper < 0 else "steady"


def velocity(series: np.ndarray, seed: int, level: float = 0.90) -> Velocity:
    """By how much did the slope change between the earlier and the later half of evenly spaced points?

    Each half has a Theil–Sen line; its residuals, centred, are drawn with replacement and put back on the line, and
    both slopes are taken again, 999 times; the interval holds the middle ``level`` of the differences. The residuals
    are widened by √(n / (n − 2)) for the two fitted parameters, and by Student's over the normal quantile for the few
    points that their spread is known from. With an odd number of points the middle one belongs to both halves.

    >>> velocity(np.r_[np.zeros(6), np.arange(6.0)], seed=7).word
    'accelerating'
    """
    values = np.asarray(series, dtype=float)
    if len(values) < LEAST_POINTS or not np.isfinite(values).all():
        return Velocity(np.nan, np.nan, np.nan)
    random = np.random.default_rng(seed)
    size = -(-len(values) // 2)
    (early, drawn_early), (late, drawn_late) = (
        _slopes(half, random, level) for half in (values[:size], values[-size:])
    )
    lower, upper = np.quantile(drawn_late - drawn_early, [(1 - level) / 2, (1 + level) / 2])
    return Velocity(late - early, float(lower), float(upper))


def _slopes(
    half: np.ndarray, random: np.random.Generator, level: float
) -> tuple[float, np.ndarray]:
    """The half's slope, and the slopes of its resampled residuals."""
    n = len(half)
    x = np.arange(n, dtype=float)
    slope = float(theil_sen(x, half, min_points=2).slope[0])
    line = slope * x
    residuals = half - line
    wider = student_errors(level, n - 2) / standard_errors(level)
    residuals = (residuals - residuals.mean()) * np.sqrt(n / (n - 2)) * wider
    drawn = line + residuals[random.integers(0, n, size=(RESAMPLES, n))]
    return slope, theil_sen(x, drawn, min_points=2).slope
