"""Slopes that a few odd weeks don't bend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from healthseg.statistics.normal import standard_errors

CHUNK = 2_000  # rows at a time: 53 weekly points have 1,378 pairs, 22 MB a chunk


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
        raise ValueError("x must be distinct: two points of a series stand at one place")
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
