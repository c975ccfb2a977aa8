"""Segments by thresholds: which range a value falls into, its name, and how small segments are merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

UNPLACED = -1
OTHER = "Other"


def places(
    values: np.ndarray, thresholds: Sequence[float], lower_included: bool = True
) -> np.ndarray:
    """Which of the k + 1 ranges between k rising thresholds does each value fall into? −1 where it is missing.

    >>> places(np.array([39.0, 40.0, float("nan")]), [40, 60]).tolist()
    [0, 1, -1]
    >>> places(np.array([250_000.0]), [250_000], lower_included=False).tolist()
    [0]
    """
    values = np.asarray(values, dtype=float)
    edges = np.asarray(thresholds, dtype=float)
    ranges = np.searchsorted(edges, values, side="right" if lower_included else "left")
    return np.where(np.isnan(values), UNPLACED, ranges)


def bounds(thresholds: Sequence[float], position: int) -> tuple[float | None, float | None]:
    """The ends of a range, None where it is open."""
    lower = None if position == 0 else float(thresholds[position - 1])
    upper = None if position == len(thresholds) else float(thresholds[position])
    return lower, upper


def range_names(
    thresholds: Sequence[float], write: Callable[[float], str] = lambda value: f"{value:g}"
) -> list[str]:
    """Names of ranges that have no words of their own.

    >>> range_names([40, 60])
    ['below 40', '40–60', '60 and above']
    """
    edges = [write(value) for value in thresholds]
    between = [f"{lower}–{upper}" for lower, upper in pairwise(edges)]
    return [f"below {edges[0]}", *between, f"{edges[-1]} and above"]


def merged(counts: Sequence[int], least: int, most: int, ordered: bool) -> list[list[int]]:
    """Which segments are merged, so that each has ``least`` customers and there are at most ``most``?

    ``counts`` are customers by segment; segments without customers are left out. Where ``ordered``, the smallest
    segment that is too small (then, while there are too many, the smallest) joins the smaller of its neighbours, of
    equal ones the lower; otherwise it goes to a common rest, which itself has to be large enough.

    >>> merged([3, 20, 9, 40], 5, 10, ordered=True)
    [[0, 1], [2], [3]]
    >>> merged([2, 3, 50], 5, 10, ordered=False)
    [[2], [0, 1]]
    """
    groups = [[position] for position, count in enumerate(counts) if count]
    if not ordered:
        return _with_rest(groups, counts, least, most)
    sizes = [counts[group[0]] for group in groups]
    while len(groups) > 1 and (min(sizes) < least or len(groups) > most):
        at = sizes.index(min(sizes))
        neighbours = [position for position in (at - 1, at + 1) if 0 <= position < len(groups)]
        first, second = sorted((at, min(neighbours, key=lambda k: (sizes[k], k))))
        groups[first : second + 1] = [groups[first] + groups[second]]
        sizes[first : second + 1] = [sizes[first] + sizes[second]]
    return groups


def _with_rest(
    groups: list[list[int]], counts: Sequence[int], least: int, most: int
) -> list[list[int]]:
    """The largest segments, and last the rest of them, if there is one."""
    large = sorted(groups, key=lambda group: (-counts[group[0]], group[0]))
    rest: list[int] = []
    while large and (
        counts[large[-1][0]] < least
        or len(large) + bool(rest) > most
        or (rest and sum(counts[position] for position in rest) < least)
    ):
        if not rest and len(large) == 1:
            break
        rest += large.pop()
    return [*large, sorted(rest)] if rest else large


def joined_name(names: Sequence[str], ordered: bool, whole: bool = False) -> str:
    """The name of a merged segment: its parts, or the rest.

    >>> joined_name(["Critical", "At Risk"], ordered=True), joined_name(["Energy", "Media"], ordered=False)
    ('Critical + At Risk', 'Other')
    """
    if len(names) == 1:
        return names[0]
    if ordered:
        return " + ".join(names)
    return "All customers" if whole else OTHER


def settled(
    history: np.ndarray, thresholds: Sequence[float], margin: float, lower_included: bool = True
) -> np.ndarray:
    """The ranges on the last of several dates, where a border is crossed only by more than ``margin``.

    ``history`` is customers × dates, oldest first, NaN where a value is missing (which changes nothing). A customer
    starts in the range of its first value and leaves it once a value lies beyond its end by ``margin`` or more.

    >>> settled(np.array([[62.0, 59.0, 61.0, 58.0], [62.0, 59.0, 56.0, 58.0]]), [60], 3).tolist()
    [1, 0]
    """
    history = np.asarray(history, dtype=float)
    current = places(history[:, 0], thresholds, lower_included)
    for values in history[:, 1:].T:
        plain, down, up = (
            places(values + shift, thresholds, lower_included) for shift in (0.0, margin, -margin)
        )
        moved = np.where(down < current, down, np.where(up > current, up, current))
        current = np.where(plain == UNPLACED, current, np.where(current == UNPLACED, plain, moved))
    return np.where(np.isnan(history[:, -1]), UNPLACED, current)
