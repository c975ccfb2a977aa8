"""How unequally is a sum spread over those who make it?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Top:
    """The largest contributors: how many, their share of the sum, and which they are (positions in the input)."""

    count: int
    total: float
    share: float | None
    positions: np.ndarray


def top_fifth(amounts: np.ndarray, names: np.ndarray, share: float = 0.2) -> Top:
    """What do the ⌈share·n⌉ largest of n known amounts add up to? Names break ties; missing amounts are left out.

    >>> top_fifth(np.array([1.0, 5.0, 2.0, 1.0, 1.0]), np.array(list("abcde"))).share
    0.5
    """
    amounts = np.asarray(amounts, dtype=float)
    known = np.flatnonzero(np.isfinite(amounts))
    order = known[np.lexsort((np.asarray(names)[known].astype(str), -amounts[known]))]
    count = int(np.ceil(round(share * len(order), 9)))
    total, part = float(amounts[known].sum()), float(amounts[order[:count]].sum())
    return Top(count, part, part / total if total > 0 else None, order[:count])


def gini(amounts: np.ndarray) -> float | None:
    """The Gini coefficient of known, non-negative amounts: 0 where all are alike, near 1 where one has all.

    Half the mean absolute difference over the mean (Gini 1912): Σ (2i − n − 1)·x_(i) / (n·Σx). None without a sum.

    >>> gini(np.array([0.0, 0.0, 0.0, 4.0])), gini(np.array([2.0, 2.0]))
    (0.75, 0.0)
    """
    ordered = np.sort(np.asarray(amounts, dtype=float))
    ordered = ordered[np.isfinite(ordered)]
    n, total = len(ordered), float(ordered.sum())
    return (
        float(((2 * np.arange(1, n + 1) - n - 1) * ordered).sum() / (n * total))
        if total > 0
        else None
    )


def lorenz(amounts: np.ndarray) -> pd.DataFrame:
    """Lorenz's curve, from the smallest up: share of those who contribute, share of the sum; 0, 0 first.

    >>> lorenz(np.array([3.0, 1.0])).values.tolist()
    [[0.0, 0.0], [0.5, 0.25], [1.0, 1.0]]
    """
    ordered = np.sort(np.asarray(amounts, dtype=float))
    ordered = ordered[np.isfinite(ordered)]
    total = float(ordered.sum())
    if not total > 0:
        return pd.DataFrame({"share_of_customers": [], "share_of_total": []}, dtype=float)
    running = np.r_[0.0, np.cumsum(ordered)] / total
    return pd.DataFrame(
        {"share_of_customers": np.linspace(0, 1, len(running)), "share_of_total": running}
    )
