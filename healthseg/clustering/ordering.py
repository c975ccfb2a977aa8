"""Segments by thresholds: where a value lies, what a range is called, what becomes of segments that are too small."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

UNPLACED = -1
OTHER = "Other"


def places(
    values: np.ndarray, thresholds: Sequence[float], lower_included: bool = True
) -> np.ndarray:
    """In which of the k + 1 ranges between k rising thresholds does each value lie? −1 where it is missing.

    >>> places(np.array([39.0, 40.0, float("nan")]), [40, 60]).tolist()
    [0, 1, -1]
    >>> places(np.array([250_000.0]), [250_000], lower_included=False).tolist()
    [0]
    """
    values = np.asarray(values, dtype=float)
    found = np.searchsorted(
        np.asarray(thresholds, dtype=float), values, side="right" if lower_included else "left"
    )
    return np.where(np.isnan(values), UNPLACED, found)


def bounds(thresholds: Sequence[float], place: int) -> tuple[float | None, float | None]:
    """The ends of a range, None where it is open."""
    return (
        None if place == 0 else float(thresholds[place - 1]),
        None if place == len(thresholds) else float(thresholds[place]),
    )


def range_names(thresholds: Sequence[float], write=lambda value: f"{value:g}") -> list[str]:
    """Names of ranges that have no words of their own.

    >>> range_names([40, 60])
    ['below 40', '40–60', '60 and above']
    """
    told = [write(value) for value in thresholds]
    return [f"below {told[0]}", *(f"{a}–{b}" for a, b in pairwise(told)), f"{told[-1]} and above"]


def merged(counts: Sequence[int], least: int, most: int, ordered: bool) -> list[list[int]]:
    """Which of the segments that hold anybody are put together, so that each has ``least`` and there are ``most``?

    ``counts`` are customers a segment, in order where ``ordered``. The smallest segment that is too small (then, while
    there are too many, the smallest) joins the smaller of its neighbours, of equal ones the lower; where there is no
    order it goes to a common rest, which itself has to be large enough. Ends with one segment at the latest.
    The response holds groups of positions; those of nobody are left out.

    >>> merged([3, 20, 9, 40], 5, 10, ordered=True)
    [[0, 1], [2], [3]]
    >>> merged([2, 3, 50], 5, 10, ordered=False)
    [[2], [0, 1]]
    """
    groups = [[place] for place, count in enumerate(counts) if count]
    if not ordered:
        return _with_rest(groups, counts, least, most)
    size = [counts[group[0]] for group in groups]
    while len(groups) > 1 and (min(size) < least or len(groups) > most):
        at = size.index(min(size))
        beside = [place for place in (at - 1, at + 1) if 0 <= place < len(groups)]
        first, second = sorted((at, min(beside, key=lambda place: (size[place], place))))
        groups[first : second + 1] = [groups[first] + groups[second]]
        size[first : second + 1] = [size[first] + size[second]]
    return groups


def _with_rest(
    groups: list[list[int]], counts: Sequence[int], least: int, most: int
) -> list[list[int]]:
    """The largest segments, and last the rest of them, if there is one."""
    kept = sorted(groups, key=lambda group: (-counts[group[0]], group[0]))
    rest: list[int] = []
    while kept and (
        counts[kept[-1][0]] < least
        or len(kept) + bool(rest) > most
        or (rest and sum(counts[place] for place in rest) < least)
    ):
        if not rest and len(kept) == 1:
            break
        rest += kept.pop()
    return [*kept, sorted(rest)] if rest else kept


def joined_name(names: Sequence[str], ordered: bool, whole: bool = False) -> str:
    """What a merged segment is called: its parts, or the rest.

    >>> joined_name(["Critical", "At Risk"], ordered=True), joined_name(["Energy", "Media"], ordered=False)
    ('Critical + At Risk', 'Other')
    """
    if len(names) == 1:
        return names[0]
    return "All customers" if whole and not ordered else " + ".join(names) if ordered else OTHER


def settled(
    history: np.ndarray, thresholds: Sequence[float], margin: float, lower_included: bool = True
) -> np.ndarray:
    """The places of the last of several dates, where a border is crossed only by more than ``margin``.

    ``history`` is customers × dates, oldest first, NaN where a value is missing (which neither moves nor forgets). A
    customer begins where its first value lies and leaves a range once a value lies beyond its end by ``margin`` or
    more. Without a margin that is the last value's range.

    >>> settled(np.array([[62.0, 59.0, 61.0, 58.0], [62.0, 59.0, 56.0, 58.0]]), [60], 3).tolist()
    [1, 0]
    """
    history = np.asarray(history, dtype=float)
    now = places(history[:, 0], thresholds, lower_included)
    for values in history[:, 1:].T:
        there = places(values, thresholds, lower_included)
        down = places(values + margin, thresholds, lower_included)
        up = places(values - margin, thresholds, lower_included)
        moved = np.where(down < now, down, np.where(up > now, up, now))
        now = np.where(there == UNPLACED, now, np.where(now == UNPLACED, there, moved))
    return np.where(np.isnan(history[:, -1]), UNPLACED, now)
