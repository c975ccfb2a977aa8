"""Rates of counted things with their intervals, shares that add up, and how unequally a sum is spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pandas as pd
import scipy

Counts = np.ndarray | float


def standard_errors(level: float) -> float:
    """How many standard errors on either side hold a normal estimate with probability ``level``?

    >>> round(standard_errors(0.90), 3), round(standard_errors(0.95), 3)
    (1.645, 1.96)
    """
    return NormalDist().inv_cdf((1 + level) / 2)


def student_errors(level: float, degrees: float) -> float:
    """``standard_errors`` of an estimate whose standard error was itself estimated with so many degrees of freedom.

    >>> [round(student_errors(0.95, degrees), 3) for degrees in (1, 2, 10, 30, 5_000)]
    [12.706, 4.303, 2.228, 2.042, 1.96]
    """
    return float(scipy.special.stdtrit(degrees, (1 + level) / 2))


def two_sided_p(z: float) -> float:
    """How likely is a standard normal to lie as far from 0 as ``z``, on either side?

    >>> round(two_sided_p(-1.96), 4)
    0.05
    """
    return math.erfc(abs(z) / math.sqrt(2))


def wilson(successes: Counts, trials: Counts, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Between which shares does the true share lie, of ``successes`` in ``trials``?

    Wilson's score interval (1927), without continuity correction; ``successes`` may be halves, as mid-ranks are.
    Exactly 0 and 1 at the ends, whatever the rounding; NaN where there are no trials. statsmodels has the same, and takes
    a second to load.

    >>> [round(float(edge), 4) for edge in wilson(15, 148)]
    [0.0624, 0.1605]
    """
    successes, trials = np.asarray(successes, dtype=float), np.asarray(trials, dtype=float)
    n = np.where(trials > 0, trials, np.nan)
    share, z = successes / n, standard_errors(level)
    centre = share + z**2 / (2 * n)
    reach = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = ((centre + side * reach) / (1 + z**2 / n) for side in (-1, 1))
    low = np.where(successes == 0, 0.0 * n, low)
    high = np.where(successes == trials, 1.0 + 0.0 * n, high)
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


# -- figures that are rounded and still add up -------------------------------------------


def largest_remainder(
    figures: Sequence[Fraction | float | int], total: int | None = None
) -> list[int]:
    """Which of the figures are rounded up, so that the integers add up to ``total``?

    Hamilton's method, also of negative figures: each is rounded down, and the missing units go to the largest
    remainders (the first of equal ones). ``total`` is by default the figures' sum rounded half up. Raises ValueError
    where no such rounding exists.

    >>> largest_remainder([33.4, 33.3, 33.3], 100)
    [34, 33, 33]
    >>> largest_remainder([Fraction(-5, 2), Fraction(3, 2)])
    [-2, 1]
    """
    exact = [Fraction(figure) for figure in figures]
    whole = math.floor(sum(exact) + Fraction(1, 2)) if total is None else total
    floors = [math.floor(figure) for figure in exact]
    missing = whole - sum(floors)
    if not 0 <= missing <= len(exact):
        raise ValueError(
            f"figures that sum to {float(sum(exact))} cannot be rounded to a total of {whole}"
        )
    by_remainder = sorted(
        range(len(exact)), key=lambda index: (floors[index] - exact[index], index)
    )
    for index in by_remainder[:missing]:
        floors[index] += 1
    return floors


def percentages(counts: Sequence[int], decimals: int = 1) -> list[float]:
    """Percentages of a total that add up to exactly 100 at the given decimals; all 0 of nothing.

    >>> percentages([1, 1, 1])
    [33.4, 33.3, 33.3]
    """
    total = sum(counts)
    if total == 0:
        return [0.0] * len(counts)
    unit = 10**decimals
    exact = [Fraction(count * 100 * unit, total) for count in counts]
    return [units / unit for units in largest_remainder(exact, 100 * unit)]


# -- concentration -----------------------------------------------------------------------


@dataclass(frozen=True)
class Top:
    """The largest contributors: how many, their sum, its share of the total, their positions in the input."""

    count: int
    total: float
    share: float | None
    positions: np.ndarray


def top_fifth(amounts: np.ndarray, names: np.ndarray, share: float = 0.2) -> Top:
    """What do the ⌈share·n⌉ largest of n known amounts add up to? Names break ties.

    >>> top_fifth(np.array([1.0, 5.0, 2.0, 1.0, 1.0]), np.array(list("abcde"))).share
    0.5
    """
    amounts = np.asarray(amounts, dtype=float)
    known = np.flatnonzero(np.isfinite(amounts))
    order = known[np.lexsort((np.asarray(names)[known].astype(str), -amounts[known]))]
    count = int(np.ceil(round(share * len(order), 9)))
    total, largest = float(amounts[known].sum()), float(amounts[order[:count]].sum())
    return Top(count, largest, largest / total if total > 0 else None, order[:count])


def gini(amounts: np.ndarray) -> float | None:
    """The Gini coefficient of known, non-negative amounts: 0 where all are alike, near 1 where one has all.

    Half the mean absolute difference over the mean (Gini 1912): Σ (2i − n − 1)·x_(i) / (n·Σx). None without a sum.

    >>> gini(np.array([0.0, 0.0, 0.0, 4.0])), gini(np.array([2.0, 2.0]))
    (0.75, 0.0)
    """
    ordered = _ordered(amounts)
    n, total = len(ordered), float(ordered.sum())
    if not total > 0:
        return None
    return float(((2 * np.arange(1, n + 1) - n - 1) * ordered).sum() / (n * total))


def herfindahl(amounts: np.ndarray) -> float | None:
    """The Herfindahl-Hirschman index of known, non-negative amounts: Σ (x / Σx)² (Hirschman 1964). None without a sum.

    1/n where all are alike, 1 where one has all; its reciprocal is how many equal ones would be as concentrated.

    >>> herfindahl(np.array([2.0, 2.0])), herfindahl(np.array([3.0, 1.0])), herfindahl(np.zeros(2))
    (0.5, 0.625, None)
    """
    ordered = _ordered(amounts)
    total = float(ordered.sum())
    return float(((ordered / total) ** 2).sum()) if total > 0 else None


def largest_share(amounts: np.ndarray, count: int) -> float | None:
    """The share of a sum that its ``count`` largest known amounts have; None without a sum.

    >>> largest_share(np.array([5.0, 1.0, 4.0]), 2)
    0.9
    """
    ordered = _ordered(amounts)
    total = float(ordered.sum())
    return float(ordered[-count:].sum() / total) if total > 0 else None


def lorenz(amounts: np.ndarray) -> pd.DataFrame:
    """The Lorenz curve, from the smallest up: share of those who contribute, share of the sum; 0, 0 first.

    >>> lorenz(np.array([3.0, 1.0])).values.tolist()
    [[0.0, 0.0], [0.5, 0.25], [1.0, 1.0]]
    """
    ordered = _ordered(amounts)
    total = float(ordered.sum())
    running = np.r_[0.0, np.cumsum(ordered)] / total if total > 0 else np.zeros(0)
    return pd.DataFrame(
        {"share_of_customers": np.linspace(0, 1, len(running)), "share_of_total": running}
    )


def _ordered(amounts: np.ndarray) -> np.ndarray:
    ordered = np.sort(np.asarray(amounts, dtype=float))
    return ordered[np.isfinite(ordered)]
