"""Cumulative daily counts: what every metric over spans is a difference of.

SQL gives sparse daily changes per row (a customer, a user, a feature); a cube adds
them up along the days. All counts are integers, so a sum is exact, has no order and is
the same for one customer as for the whole portfolio.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FAR = 2**31 - 1  # a day that never comes


@dataclass(frozen=True)
class Axis:
    """The days ``[origin, until)`` (days since 1970) that a cube holds."""

    origin: int
    until: int

    @property
    def size(self) -> int:
        return self.until - self.origin + 1

    def slot(self, day: np.ndarray) -> np.ndarray:
        """The place of a day; a change before the axis counts from its beginning."""
        return np.clip(np.asarray(day, dtype=np.int64) - self.origin, 0, self.size - 1)


def cumulate(
    axis: Axis, rows: int, row: np.ndarray, day: np.ndarray, delta: np.ndarray
) -> np.ndarray:
    """``C[row, i]`` = the sum of ``delta`` of that row on days before ``origin + i``.

    Changes on or after the axis' end are left out: they are not known yet.
    """
    row, day = np.asarray(row, dtype=np.int64), np.asarray(day, dtype=np.int64)
    keep = day < axis.until
    changes = np.zeros(rows * axis.size, dtype=np.int64)
    np.add.at(
        changes,
        row[keep] * axis.size + axis.slot(day[keep]) + 1,
        np.asarray(delta, dtype=np.int64)[keep],
    )
    return np.cumsum(changes.reshape(rows, axis.size), axis=1)


def spell_changes(day, following, n, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Days and changes by which ``n`` things seen on ``day`` count in a trailing window of ``length`` days.

    Each counts from ``day`` on until the window has passed it or it is seen again.
    """
    day = np.asarray(day, dtype=np.int64)
    following = np.where(np.isnan(following), FAR, following).astype(np.int64)
    return np.concatenate([day, np.minimum(day + length, following)]), np.concatenate(
        [n, -np.asarray(n)]
    )


def trailing(axis: Axis, rows: int, row, day, following, n, length: int) -> np.ndarray:
    """``C[row, i]`` = distinct things seen in the ``length`` days before ``origin + i``."""
    days, deltas = spell_changes(day, following, n, length)
    return cumulate(axis, rows, np.concatenate([row, row]), days, deltas)


def within(
    row: np.ndarray, day: np.ndarray, span_row: np.ndarray, start: np.ndarray, end: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs ``(index of a dated row, index of a span)`` with the row's day in ``[start, end)``.

    ``row, day`` must be sorted. Linear in the number of pairs.
    """
    scale = np.int64(FAR)
    keys = np.asarray(row, dtype=np.int64) * scale + np.asarray(day, dtype=np.int64)
    low = np.searchsorted(keys, span_row * scale + start)
    count = np.maximum(np.searchsorted(keys, span_row * scale + end) - low, 0)
    spans = np.repeat(np.arange(len(low)), count)
    offsets = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(low, count) + offsets, spans


def all_hold(
    key: np.ndarray, day: np.ndarray, changes: np.ndarray, least: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """When several running counts of a key all reach their least, as ``(key, day, +1 or -1)``.

    ``changes`` has one column a count; ``least`` the value each must reach.
    """
    if not len(key):
        return key, day, np.zeros(0, dtype=np.int64)
    order = np.lexsort((day, key))
    key, day, changes = key[order], day[order], changes[order]
    first = np.r_[True, key[1:] != key[:-1]]
    running = np.cumsum(changes, axis=0)
    running = running - (running - changes)[first][np.cumsum(first) - 1]  # each key begins at zero
    last_of_day = np.r_[(key[1:] != key[:-1]) | (day[1:] != day[:-1]), True]
    key, day, holds = (
        key[last_of_day],
        day[last_of_day],
        (running >= least).all(axis=1)[last_of_day].astype(np.int64),
    )
    earlier = np.r_[0, holds[:-1]]
    earlier[np.r_[True, key[1:] != key[:-1]]] = 0
    delta = holds - earlier
    moved = delta != 0
    return key[moved], day[moved], delta[moved]
