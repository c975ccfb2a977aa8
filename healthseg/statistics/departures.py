"""Days that differ from the same weekdays around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from healthseg.statistics.robust import MAD_TO_SD

EXTREMES = 3  # of two earlier spikes neither hides the next
RECORD_MARGIN = 0.2
SPANS = (1, 12, 72)  # of five-minute values an hour and six


@dataclass(frozen=True)
class WeekdayRule:
    """What a day is held against: the same weekday of ``weeks`` on each side (``min_days`` of them at least), and the
    share of it that makes a change."""

    weeks: int
    min_days: int
    min_change: float


@dataclass(frozen=True)
class Days:
    """Of each day that can be held against others: its place in the series, value, what was expected, the distance in
    spreads."""

    position: np.ndarray
    value: np.ndarray
    expected: np.ndarray
    z: np.ndarray
    min_change: float

    @property
    def ratio(self) -> np.ndarray:
        return np.divide(
            self.value, self.expected, out=np.full(len(self.value), np.nan), where=self.expected > 0
        )

    @property
    def is_change(self) -> np.ndarray:
        """Whether the day is at least ``min_change`` of what was expected away from it."""
        return (np.abs(self.value - self.expected) >= self.min_change * self.expected) & (
            self.expected > 0
        )


def against_weekday(
    values: np.ndarray,
    rule: WeekdayRule,
    of_usual: np.ndarray | float = 1.0,
    usual: np.ndarray | None = None,
) -> Days:
    """How far is each day from its weekday?

    A day is held against the median m of the same weekday in the weeks before and after it (``rule``, as far as the series
    goes), times ``of_usual`` (the share of that day that a wider event spared), on the scale of roots, where
    counts of any size have like spreads: 2·(√value − √m). The spread is 1.4826 × the median absolute value of that over
    all days of the series, at least 1 (Poisson's): sixteen weekdays alone tell it too badly. Days with too few
    like them are left out, and days that are not ``usual`` (all are, by default) are not what others are held against.
    """
    values = np.asarray(values, dtype=float)
    is_usual = np.ones(len(values), dtype=bool) if usual is None else np.asarray(usual, dtype=bool)
    like = around(np.where(is_usual, values, np.nan), rule.weeks)
    position = np.flatnonzero(np.isfinite(like).sum(axis=1) >= rule.min_days)
    value = values[position]
    if not len(position):
        return Days(position, value, value, value, rule.min_change)
    middle = _medians(like[position])
    away = np.abs(2 * (np.sqrt(value) - np.sqrt(middle)))[is_usual[position]]
    spread = max(MAD_TO_SD * float(np.median(away)) if len(away) else 1.0, 1.0)
    expected = middle * np.broadcast_to(np.asarray(of_usual, dtype=float), values.shape)[position]
    z = 2 * (np.sqrt(value) - np.sqrt(expected)) / spread
    return Days(position, value, expected, z, rule.min_change)


def around(values: np.ndarray, weeks: int) -> np.ndarray:
    """The same weekday's values in the weeks around each day, NaN beyond the series' ends."""
    shifts = 7 * np.r_[np.arange(-weeks, 0), np.arange(1, weeks + 1)]
    position = np.arange(len(values))[:, None] + shifts[None, :]
    inside = (position >= 0) & (position < len(values))
    return np.where(inside, values[np.clip(position, 0, max(len(values) - 1, 0))], np.nan)


def _medians(rows: np.ndarray) -> np.ndarray:
    """The median of each row's values, NaN left out; each row has at least one."""
    ordered, many = np.sort(rows, axis=1), np.isfinite(rows).sum(axis=1)
    row = np.arange(len(rows))
    return (ordered[row, (many - 1) // 2] + ordered[row, many // 2]) / 2


def beyond_earlier(
    values: np.ndarray, least: int = 144, spans: tuple[int, ...] = SPANS
) -> np.ndarray:
    """Which values of a metric, of whose law nothing is known, are like none before?

    Those beyond the third largest (below the third smallest) of all values before them, by more than a fifth of the
    range between those two: a lasting new level is soon usual, and of two earlier spikes neither hides the
    next. The same of the means of the last ``spans`` values, which show what no single value does. The first
    ``least`` values are never new.

    >>> beyond_earlier(np.r_[np.tile([1.0, 2.0], 100), 9.0, 1.0], spans=(1,)).nonzero()[0].tolist()
    [200]
    >>> beyond_earlier(np.r_[np.tile([1.0, 9.0], 100), np.full(9, 8.0)]).nonzero()[0].tolist()
    [200, 201, 202, 203, 204, 205, 206, 207, 208]
    """
    values = np.asarray(values, dtype=float)
    new = np.zeros(len(values), dtype=bool)
    for span in spans:
        means = pd.Series(values).rolling(span).mean().to_numpy()[span - 1 :]
        low, high = _running_extreme(means), -_running_extreme(-means)
        reach = RECORD_MARGIN * (high - low) + 1e-9 * (1 + np.abs(values).max(initial=0.0))
        new[span - 1 :] |= (means > high + reach) | (means < low - reach)
    return new & (np.arange(len(values)) >= max(least, EXTREMES))


def _running_extreme(values: np.ndarray) -> np.ndarray:
    """The third smallest of the values before each; infinite before there are three."""
    lowest, third = [np.inf] * EXTREMES, np.empty(len(values))
    for position, value in enumerate(values.tolist()):
        third[position] = lowest[-1]
        if value < lowest[-1]:
            lowest = sorted([*lowest[:-1], value])
    return third
