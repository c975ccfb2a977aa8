"""PrefixSpan: every sequence that at least so many of given sequences contain, in this order, gaps allowed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

Steps = frozenset[tuple[str, str]]


def prefixspan(
    rows: pd.DataFrame, least: int, longest: int = 4, steps: Steps | None = None
) -> pd.DataFrame:
    """Which sequences of items do at least ``least`` units show?

    ``rows`` has unit, item and time (any ordered numbers); a unit shows (a, b) where it has an a before a b, strictly:
    items of one time are in no order. Columns: items (a tuple), support (units); sorted by length, then items. Pei et
    al. (2001), with the projections as the earliest time at which each unit has the prefix; items may come again. Where
    ``steps`` are given, a sequence is made of them alone.

    >>> rows = pd.DataFrame({"unit": [1, 1, 2, 2], "item": ["a", "b", "a", "b"], "time": [0, 1, 5, 9]})
    >>> prefixspan(rows, least=2)[["items", "support"]].values.tolist()
    [[('a',), 2], [('b',), 2], [('a', 'b'), 2]]
    """
    unit, units = pd.factorize(rows["unit"], sort=True)
    item, items = pd.factorize(rows["item"], sort=True)
    time = rows["time"].to_numpy(dtype=float)
    order = np.lexsort((item, time, unit))
    search = _Search(
        unit[order], item[order], time[order], len(units), list(items), least, longest, steps
    )
    search.grow((), np.full(len(units), -np.inf))
    found = sorted(search.found, key=lambda one: (len(one[0]), one[0]))
    return pd.DataFrame(found, columns=["items", "support"]).astype({"support": int})


class _Search:
    def __init__(
        self,
        unit: np.ndarray,
        item: np.ndarray,
        time: np.ndarray,
        units: int,
        items: list[str],
        least: int,
        longest: int,
        steps: Steps | None,
    ) -> None:
        self.unit, self.item, self.time, self.units = unit, item, time, units
        self.items, self.least, self.longest, self.steps = items, least, longest, steps
        self.found: list[tuple[tuple[str, ...], int]] = []

    def grow(self, prefix: tuple[str, ...], reached: np.ndarray) -> None:
        """All frequent sequences that begin with ``prefix``, which each unit has by ``reached`` (infinite: never)."""
        if len(prefix) == self.longest:
            return
        later = np.flatnonzero(self.time > reached[self.unit])
        key = self.unit[later].astype(np.int64) * len(self.items) + self.item[later]
        first, at = np.unique(
            key, return_index=True
        )  # rows are in order of time: each pair's earliest
        unit, item, time = first // len(self.items), first % len(self.items), self.time[later[at]]
        support = np.bincount(item, minlength=len(self.items))
        for one in np.flatnonzero(support >= self.least):
            if (
                prefix
                and self.steps is not None
                and (prefix[-1], self.items[one]) not in self.steps
            ):
                continue
            longer, ahead = (*prefix, self.items[one]), np.full(self.units, np.inf)
            ahead[unit[item == one]] = time[item == one]
            self.found.append((longer, int(support[one])))
            self.grow(longer, ahead)


def contains(longer: Sequence[str], shorter: Sequence[str]) -> bool:
    """Whether one sequence holds the other, gaps allowed.

    >>> contains("abc", "ac"), contains("abc", "ca")
    (True, False)
    """
    rest = iter(longer)
    return all(item in rest for item in shorter)
