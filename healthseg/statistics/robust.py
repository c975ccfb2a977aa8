"""Slopes, changes of slopes and differences of groups that a few outlying values do not bend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from healthseg.statistics.rates import standard_errors, student_errors, two_sided_p

# rows at a time: 53 weekly points have 1,378 pairs, 22 MB a chunk
MAD_TO_SD = 1.4826  # of a normal distribution: its standard deviation in median absolute deviations
CHUNK = 2_000
VELOCITY_MIN_POINTS = 8
VELOCITY_RESAMPLES = 999


@dataclass(frozen=True)
class Slopes:
    """One Theil–Sen slope per series, with its interval and the number of points; NaN under ``min_points``."""

    slope: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    points: np.ndarray

    @property
    def direction(self) -> np.ndarray:
        """1 where the interval lies above zero, −1 below it, 0 where it contains it, NaN without a slope."""
        sign = np.where(self.lower > 0, 1.0, np.where(self.upper < 0, -1.0, 0.0))
        return np.where(np.isnan(self.slope), np.nan, sign)


def theil_sen(
    x: np.ndarray, series: np.ndarray, level: float = 0.90, min_points: int = 6, overlap: int = 1
) -> Slopes:
    """By how much does each series rise per unit of x, whatever a few outlying points say?

    ``x`` has n distinct values, ``series`` the shape (n,) or (series, n) with NaN for what is missing.
    The slope is the median of the slopes of all pairs of points (Theil 1950, Sen 1968); its interval at
    ``level`` holds the order statistics that Kendall's normal approximation gives, with the variance
    corrected for ties in the series (Sen 1968, eq. 2.6; Hollander, Wolfe & Chicken 2014, §9.3).

    Where each point is a moving window of ``overlap`` steps of x, neighbours share data and correlate by 1 −
    k/overlap at lag k even if nothing moves; the variance is then multiplied as Hamed & Rao (1998, eq. 9) do, with
    these correlations known rather than estimated.

    >>> theil_sen(np.arange(6.0), np.array([1, 2, 3, 4, 5, 60.0])).slope.tolist()
    [1.0]
    """
    x, rows = np.asarray(x, dtype=float), np.atleast_2d(np.asarray(series, dtype=float))
    if len(np.unique(x)) < len(x):
        raise ValueError("x must be distinct: two points of a series have the same x")
    parts = [
        _chunk(x, rows[at : at + CHUNK], level, min_points, overlap)
        for at in range(0, max(len(rows), 1), CHUNK)
    ]
    return Slopes(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _chunk(
    x: np.ndarray, rows: np.ndarray, level: float, min_points: int, overlap: int
) -> tuple[np.ndarray, ...]:
    first, second = np.triu_indices(len(x), 1)
    slopes = np.sort(
        (rows[:, second] - rows[:, first]) / (x[second] - x[first]), axis=1
    )  # NaN sorts last
    points = (~np.isnan(rows)).sum(axis=1)
    pairs = points * (points - 1) // 2
    variance = _kendall_variance(rows, points) * _overlap_factor(points, overlap)
    reach = standard_errors(level) * np.sqrt(variance)
    enough = points >= max(min_points, 2)
    low = np.maximum(np.round((pairs - reach) / 2).astype(int) - 1, 0)
    high = np.minimum(np.round((pairs + reach) / 2).astype(int), pairs - 1)
    middle = (_at(slopes, (pairs - 1) // 2) + _at(slopes, pairs // 2)) / 2
    figures = (middle, _at(slopes, low), _at(slopes, high))
    return (*(np.where(enough, figure, np.nan) for figure in figures), points)


def _at(ordered: np.ndarray, position: np.ndarray) -> np.ndarray:
    if ordered.shape[1] == 0:
        return np.full(len(ordered), np.nan)
    return np.take_along_axis(ordered, np.clip(position, 0, ordered.shape[1] - 1)[:, None], axis=1)[
        :, 0
    ]


def _kendall_variance(rows: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Var of Kendall's S: (n(n−1)(2n+5) − Σ t(t−1)(2t+5)) / 18 over the groups of t tied values.

    The sum over groups is taken over their members: each adds (t−1)(2t+5).
    """
    ordered = np.sort(rows, axis=1)
    tied = np.zeros(rows.shape, dtype=np.int64)
    for shift in range(1, rows.shape[1]):
        same = ordered[:, shift:] == ordered[:, :-shift]
        if not same.any():
            break
        tied[:, shift:] += same
        tied[:, :-shift] += same
    ties = (tied * (2 * (tied + 1) + 5)).sum(axis=1)
    return (points * (points - 1) * (2 * points + 5) - ties) / 18


def _overlap_factor(points: np.ndarray, overlap: int) -> np.ndarray:
    """1 + 2/(n(n−1)(n−2)) · Σ_k (n−k)(n−k−1)(n−k−2)·ρ_k, with rank correlations ρ_k = 6/π·asin((1 − k/overlap)/2)."""
    n = np.maximum(points, 3).astype(float)
    total = np.zeros(len(n))
    for lag in range(1, overlap):
        left = np.maximum(n - lag, 0)
        total += (
            np.maximum(left * (left - 1) * (left - 2), 0)
            * 6
            / np.pi
            * np.arcsin((1 - lag / overlap) / 2)
        )
    return 1 + 2 * total / (n * (n - 1) * (n - 2))


# -- changes of slopes -------------------------------------------------------------------


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


def velocity(
    series: np.ndarray, seed: int, level: float = 0.90, correlation: float = 0.5
) -> Velocity:
    """By how much did the slope change between the earlier and the later half of evenly spaced points?

    Each half has a Theil–Sen line, and the change is held against what noise alone does: residuals drawn with
    replacement, each carrying on ``correlation`` of the one before, have both slopes taken, 999 times; the interval
    is the change with the middle ``level`` of these. Residuals are widened for what a half's line takes of such
    noise, (m − 1'R1/m − x'Rx/x'x)/m of its variance being left with R the correlations of m points, and by
    Student's over the normal quantile for the few points that their spread is known from. With an odd
    number of points the middle one belongs to both halves.

    A dozen points cannot tell what resembles their neighbours from what changes direction, so the correlation is
    an argument and not estimated.

    >>> velocity(np.r_[np.zeros(6), np.arange(6.0)], seed=7).word
    'accelerating'
    """
    values = np.asarray(series, dtype=float)
    if len(values) < VELOCITY_MIN_POINTS or not np.isfinite(values).all():
        return Velocity(np.nan, np.nan, np.nan)
    size = -(-len(values) // 2)
    x = np.arange(size, dtype=float)
    halves = np.array([values[:size], values[-size:]])
    early, late = theil_sen(x, halves, min_points=2).slope
    residuals = halves - np.outer([early, late], x)
    residuals = (residuals - residuals.mean(axis=1, keepdims=True)).ravel()
    wider = student_errors(level, size - 2) / standard_errors(level)
    residuals = residuals * wider / np.sqrt(_left_by_a_line(size, correlation))
    noise = np.random.default_rng(seed).choice(residuals, (VELOCITY_RESAMPLES, len(values)))
    for at in range(1, len(values)):
        noise[:, at] *= np.sqrt(1 - correlation**2)
        noise[:, at] += correlation * noise[:, at - 1]
    first, second = (
        theil_sen(x, half, min_points=2).slope for half in (noise[:, :size], noise[:, -size:])
    )
    lower, upper = np.quantile(second - first, [(1 - level) / 2, (1 + level) / 2])
    change = float(late - early)
    return Velocity(change, change + float(lower), change + float(upper))


def _left_by_a_line(size: int, correlation: float) -> float:
    """The share of the variance of noise, whose neighbours correlate, that its fitted line leaves."""
    x = np.arange(size) - (size - 1) / 2
    correlations = correlation ** np.abs(np.subtract.outer(x, x))
    taken = correlations.sum() / size + x @ correlations @ x / (x @ x)
    return float((size - taken) / size)


# -- differences of groups ---------------------------------------------------------------


@dataclass(frozen=True)
class Shift:
    """The median of all pairwise differences and its interval (Hodges & Lehmann 1963)."""

    median: float
    lower: float
    upper: float
    n: int
    others: int


def hodges_lehmann(first: np.ndarray, second: np.ndarray, level: float = 0.9) -> Shift:
    """By how much is a value of ``first`` larger than one of ``second``, in the median pair?

    The interval holds the order statistics of the differences that the Mann–Whitney statistic's normal approximation
    gives (Hollander, Wolfe & Chicken 2014, §4.3). Raises ValueError for an empty group.

    >>> hodges_lehmann(np.arange(10.0) + 3, np.arange(10.0)).median
    3.0
    """
    if not len(first) or not len(second):
        raise ValueError("both groups need a value")
    differences = np.sort(
        (np.asarray(first, dtype=float)[:, None] - np.asarray(second, dtype=float)).ravel()
    )
    m, n = len(first), len(second)
    reach = standard_errors(level) * np.sqrt(m * n * (m + n + 1) / 12)
    low = int(np.clip(np.floor(m * n / 2 - reach), 0, m * n - 1))
    return Shift(
        float(np.median(differences)),
        float(differences[low]),
        float(differences[m * n - 1 - low]),
        m,
        n,
    )


@dataclass(frozen=True)
class Dominance:
    """Cliff's delta (1993): P(first > second) − P(first < second), with its interval and the Mann–Whitney p."""

    delta: float
    lower: float
    upper: float
    p: float

    @property
    def wins(self) -> float:
        """The probability that a value of the first exceeds one of the second, ties half."""
        return (1 + self.delta) / 2


def ranks(values: np.ndarray) -> np.ndarray:
    """Mid-ranks, NaN without one: a correlation of them is Spearman's. ``scipy.stats`` has them too, half a second later.

    >>> ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    return pd.Series(values).rank().to_numpy()


def dominance(first: np.ndarray, second: np.ndarray, level: float = 0.95) -> Dominance:
    """How often does a value of ``first`` exceed one of ``second``?

    The interval is Cliff's asymmetric one, of the consistent variance estimate (Feng & Cliff 2004); p is that of the
    Mann–Whitney test with the variance corrected for ties.

    >>> round(dominance(np.array([3.0, 4, 5]), np.array([1.0, 2, 3])).delta, 3)
    0.889
    """
    m, n = len(first), len(second)
    pooled = ranks(np.r_[first, second])
    above = (pooled[:m] - ranks(first)) * 2 - n  # wins less losses of each value
    below = (pooled[m:] - ranks(second)) * 2 - m
    delta = float(above.sum()) / (m * n)
    return Dominance(
        delta, *_around(delta, above / n, -below / m, level), _mann_whitney_p(pooled, m)
    )


def _around(
    delta: float, rows: np.ndarray, columns: np.ndarray, level: float
) -> tuple[float, float]:
    m, n = len(rows), len(columns)
    between = (
        float(((rows - delta) ** 2).sum()) / max(m - 1, 1) / m
        + float(((columns - delta) ** 2).sum()) / max(n - 1, 1) / n
    )
    variance = max(between, (1 - delta**2) / max(m * n - 1, 1))
    z = standard_errors(level)
    spread = z * np.sqrt(variance) * np.sqrt((1 - delta**2) ** 2 + z**2 * variance)
    scale = 1 - delta**2 + z**2 * variance
    if not scale > 0:
        return delta, delta
    middle = delta - delta**3
    return max(-1.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def _mann_whitney_p(pooled: np.ndarray, m: int) -> float:
    """Two-sided, by the normal approximation with ties, from the ranks of both; 1 where all values are the same."""
    count, n = len(pooled), len(pooled) - m
    tied = np.unique(pooled, return_counts=True)[1].astype(float)
    if len(tied) == 1:
        return 1.0
    wins = float(pooled[:m].sum()) - m * (m + 1) / 2
    variance = m * n / 12 * ((count + 1) - float((tied**3 - tied).sum()) / (count * (count - 1)))
    return two_sided_p((wins - m * n / 2) / np.sqrt(variance))
