"""By how much do the values of one group exceed those of another, whatever their distribution?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from healthseg.statistics.normal import standard_errors


@dataclass(frozen=True)
class Shift:
    """The median of all pairwise differences and its interval (Hodges & Lehmann 1963)."""

    median: float
    lower: float
    upper: float
    n: int
    others: int


def hodges_lehmann(one: np.ndarray, other: np.ndarray, level: float = 0.9) -> Shift:
    """By how much is a value of ``one`` larger than one of ``other``, in the median pair?

    The interval holds the order statistics of the differences that the Mann–Whitney statistic's normal approximation
    gives (Hollander, Wolfe & Chicken 2014, §4.3). Raises ValueError for an empty group.

    >>> hodges_lehmann(np.arange(10.0) + 3, np.arange(10.0)).median
    3.0
    """
    if not len(one) or not len(other):
        raise ValueError("both groups need a value")
    differences = np.sort(
        (np.asarray(one, dtype=float)[:, None] - np.asarray(other, dtype=float)).ravel()
    )
    m, n = len(one), len(other)
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
    """Cliff's delta (1993): P(one > other) − P(one < other), with its interval and the Mann–Whitney p."""

    delta: float
    lower: float
    upper: float
    p: float

    @property
    def wins(self) -> float:
        """The probability that a value of one exceeds one of the other, ties half."""
        return (1 + self.delta) / 2


def dominance(one: np.ndarray, other: np.ndarray, level: float = 0.95) -> Dominance:
    """How often does a value of ``one`` exceed one of ``other``?

    The interval is Cliff's asymmetric one, of the consistent variance estimate (Feng & Cliff 2004); p is that of the
    Mann–Whitney test with the variance corrected for ties.

    >>> round(dominance(np.array([3.0, 4, 5]), np.array([1.0, 2, 3])).delta, 3)
    0.889
    """
    m, n = len(one), len(other)
    pooled = scipy.stats.rankdata(np.r_[one, other])
    above = (
        pooled[:m] - scipy.stats.rankdata(one)
    ) * 2 - n  # wins less losses of each value of one
    below = (pooled[m:] - scipy.stats.rankdata(other)) * 2 - m
    delta = float(above.sum()) / (m * n)
    return Dominance(delta, *_around(delta, above / n, -below / m, level), _p(pooled, delta, m, n))


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


def _p(ranks: np.ndarray, delta: float, m: int, n: int) -> float:
    total = m + n
    ties = np.unique(ranks, return_counts=True)[1].astype(float)
    variance = (
        m * n / 12 * (total + 1 - float((ties**3 - ties).sum()) / (total * max(total - 1, 1)))
    )
    return (
        float(2 * scipy.stats.norm.sf(abs(delta) * m * n / 2 / np.sqrt(variance)))
        if variance > 0
        else 1.0
    )
