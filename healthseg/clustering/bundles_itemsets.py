"""Frequent itemsets: every set of items that at least so many units have all of, and the maximal ones of some sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd


def frequent_itemsets(
    has: np.ndarray, items: Sequence[str], least: int, longest: int = 4
) -> pd.DataFrame:
    """Which sets of items do at least ``least`` units have all of?

    ``has`` is units × items, yes or no. Columns: items (a sorted tuple), support (units); sorted by size, then items.
    Depth first over the units that have the set so far (Eclat; Zaki 2000).

    >>> frequent_itemsets(np.array([[1, 1, 0], [1, 1, 1]], dtype=bool), "abc", least=2)["items"].tolist()
    [('a',), ('b',), ('a', 'b')]
    """
    order = sorted(range(len(items)), key=lambda at: items[at])
    columns = np.asarray(has, dtype=bool)[:, order]
    names = [items[at] for at in order]
    found: list[tuple[tuple[str, ...], int]] = []

    def grow(prefix: tuple[str, ...], rows: np.ndarray, start: int) -> None:
        support = rows[:, start:].sum(axis=0)
        for at in np.flatnonzero(support >= least) + start:
            longer = (*prefix, names[at])
            found.append((longer, int(support[at - start])))
            if len(longer) < longest:
                grow(longer, rows[rows[:, at]], at + 1)

    if columns.shape[1]:
        grow((), columns, 0)
    return pd.DataFrame(
        sorted(found, key=lambda one: (len(one[0]), one[0])), columns=["items", "support"]
    ).astype({"support": int})


def maximal(sets: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    """Those that no other of them holds, in order of size (largest first), then items.

    >>> maximal([("a",), ("a", "b"), ("c",)])
    [('a', 'b'), ('c',)]
    """
    kept: list[tuple[str, ...]] = []
    for one in sorted((tuple(one) for one in sets), key=lambda one: (-len(one), one)):
        if not any(set(one) <= set(other) for other in kept):
            kept.append(one)
    return kept
