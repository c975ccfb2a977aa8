"""Lasting departures of a daily count: silences, dips, rises, new levels.

Each day is held against the same weekday before it, and departures are added up over days (one-sided CUSUM; Page,
Biometrika 41, 1954), which shows in a few days what no single day does. While a departure lasts, its days are not what
later days are held against, so that it can't hide itself however long it lasts; in the end it is the new level. Of
events, whose law is little known, a silence is held against how often a day had none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import scipy

from healthseg.statistics.robust import MAD_TO_SD

WEEK = 7
LEAST_SAME_WEEKDAYS = 4
SPREAD_DOUBT = 10.0  # days' worth: a spread from few days is taken for wider
FIRST_SPREAD = 1.5  # before three weeks of departures are known
ROOT_SHIFT = 0.375  # Anscombe's: the variance of 2·√(count + 3/8) is near 1 for small counts too


@dataclass(frozen=True)
class LevelRule:
    """What makes a departure; ``paces`` are allowances and limits of the sums, in spreads; ``low_count_pace`` is one more for
    falls of counts under ``low_count`` a day."""

    min_days: int
    weeks: int
    max_weeks_back: int
    paces: tuple[tuple[float, float], ...]
    low_count: float
    low_count_pace: tuple[float, float]
    most_spreads: float
    usual_spreads: float
    usual_days: int
    min_change: float
    new_level_days: int
    memory_days: int
    repeat_factor: float


@dataclass(frozen=True)
class LevelChange:
    """Days ``first`` to ``last`` (positions in the series), how many of them were tracked (``days``), of these the sums of
    ``value`` and ``expected`` and the sum of the distances in spreads over its root (``z``), and whether it was still
    there when it became the new level or the series ended."""

    first: int
    last: int
    days: int
    value: float
    expected: float
    z: float
    lasts: bool


def level_changes(
    values: np.ndarray,
    rule: LevelRule,
    share: np.ndarray | float = 1.0,
    known: np.ndarray | None = None,
) -> list[LevelChange]:
    """The lasting departures of daily counts, in order.

    ``share`` is what a wider event left of each day's usual value; days where ``known`` is False were not tracked and are
    passed over. A departure begins where the sum that passed its limit began, and ends before ``usual_days`` usual days in
    a row. The spread is that of the days before (at least Poisson's), wider where departures of neighbouring days are
    alike; each departure within ``memory_days`` raises the limits of the next by ``repeat_factor``. In days of mean 0 any lasting activity is a rise.
    """
    shares = np.broadcast_to(np.asarray(share, dtype=float), np.shape(values)).tolist()
    tracked = [True] * len(shares) if known is None else np.asarray(known, dtype=bool).tolist()
    search = _Search(np.asarray(values, dtype=float).tolist(), rule, shares)
    for day, is_known in enumerate(tracked):
        if is_known:
            search.read(day)
    return search.finished()


@dataclass
class _Search:
    values: list[float]
    rule: LevelRule
    shares: list[float]
    changes: list[LevelChange] = field(default_factory=list)
    since: int = 0  # the first day of the present level
    first: int | None = None  # of the departure that lasts
    sign: int = 0
    alarm: int = 0

    def __post_init__(self) -> None:
        count = len(self.values)
        self.is_base = [False] * count
        self.expected, self.misses = [math.nan] * count, [math.nan] * count
        self.z, self.spread = [0.0] * count, FIRST_SPREAD
        self._restart()

    def _restart(self) -> None:
        self.first = None
        paces = (*self.rule.paces, self.rule.low_count_pace)
        self.sums = {(sign, pace): (0.0, 0) for sign in (-1, 1) for pace in paces}

    def read(self, day: int) -> None:
        usual = self._usual(day)
        if usual is None:
            self.is_base[day] = True
            return
        self.expected[day] = usual * self.shares[day]
        self.misses[day] = 2 * (
            math.sqrt(self.values[day] + ROOT_SHIFT) - math.sqrt(self.expected[day] + ROOT_SHIFT)
        )
        if self.first is None and day % WEEK == 0:
            self.spread = self._spread(day)
        most = self.rule.most_spreads
        self.z[day] = min(max(self.misses[day] / self.spread, -most), most)
        if self.first is not None:
            self._follow(day)
        elif day < self.rule.min_days or not self._begins(day):
            self.is_base[day] = True

    def _usual(self, day: int) -> float | None:
        """The mean of the same weekdays before, without the highest and lowest quarter."""
        stop = max(self.since, day - WEEK * self.rule.max_weeks_back)
        same: list[float] = []
        for earlier in range(day - WEEK, stop - 1, -WEEK):
            if self.is_base[earlier]:
                same.append(self.values[earlier])
                if len(same) == self.rule.weeks:
                    break
        if len(same) < LEAST_SAME_WEEKDAYS:
            return None
        same.sort()
        cut = len(same) // 4
        return sum(same[cut : len(same) - cut]) / (len(same) - 2 * cut)

    def _spread(self, day: int) -> float:
        past = slice(max(0, day - self.rule.memory_days), day)
        misses = np.array(self.misses[past])
        misses = misses[np.array(self.is_base[past], dtype=bool) & np.isfinite(misses)]
        if len(misses) < 3 * WEEK:
            return FIRST_SPREAD
        spread = max(MAD_TO_SD * float(np.median(np.abs(misses))), 1.0)
        sums = np.convolve(np.clip(misses / spread, -3, 3), np.ones(2 * WEEK), "valid")
        alike = max(float((sums**2).mean()) / (2 * WEEK), 1.0)
        return spread * math.sqrt(alike) * (1 + SPREAD_DOUBT / len(misses))

    def _begins(self, day: int) -> bool:
        """Adds the day to the sums; whether a departure is found with it."""
        lately = sum(day - change.last <= self.rule.memory_days for change in self.changes)
        higher = 1 + self.rule.repeat_factor * lately
        week = [self.expected[at] for at in self._tracked(day - WEEK + 1, day)]
        is_low = sum(week) < len(week) * self.rule.low_count
        for (sign, pace), (total, start) in self.sums.items():
            if pace is self.rule.low_count_pace and not (is_low and sign < 0):
                self.sums[sign, pace] = 0.0, 0
                continue
            allowance, limit = pace
            start = day if total == 0 else start
            total = max(0.0, total + sign * self.z[day] - allowance)
            self.sums[sign, pace] = total, start
            if total > limit * higher and self._is_change(start, day):
                self.first, self.sign, self.alarm = start, sign, day
                self._set_base(start, day, False)
                return True
        return False

    def _is_change(self, first: int, last: int) -> bool:
        value, expected = self._sums(first, last)
        return abs(value - expected) >= self.rule.min_change * expected and value != expected

    def _sums(self, first: int, last: int) -> tuple[float, float]:
        days = self._tracked(first, last)
        return sum(self.values[day] for day in days), sum(self.expected[day] for day in days)

    def _tracked(self, first: int, last: int) -> list[int]:
        """The days of a range that were held against others."""
        return [day for day in range(first, last + 1) if math.isfinite(self.expected[day])]

    def _set_base(self, first: int, last: int, is_base: bool) -> None:
        for day in self._tracked(first, last):
            self.is_base[day] = is_base

    def _follow(self, day: int) -> None:
        """Whether the departure that lasts ends before ``day`` or is the new level."""
        assert self.first is not None
        usual: list[int] = []
        for earlier in range(day, self.alarm, -1):
            if max(self.expected[earlier], self.values[earlier]) >= 1:
                usual.append(earlier)
            if len(usual) == self.rule.usual_days:
                break
        reach = self.rule.usual_spreads
        if len(usual) == self.rule.usual_days and all(
            self.sign * self.z[at] < reach for at in usual
        ):
            self._close(usual[-1] - 1, lasts=False)
            self._set_base(usual[-1], day, True)
        elif len(self._tracked(self.first, day)) >= self.rule.new_level_days:
            self._close(day, lasts=True)
            self.since = max(0, day + 1 - WEEK * self.rule.weeks)
            self._set_base(self.since, day, True)

    def _close(self, last: int, *, lasts: bool) -> None:
        assert self.first is not None
        value, expected = self._sums(self.first, last)
        days = len(self._tracked(self.first, last))
        z = sum(self.z[self.first : last + 1]) / math.sqrt(days)
        self.changes.append(LevelChange(self.first, last, days, value, expected, z, lasts))
        self._restart()

    def finished(self) -> list[LevelChange]:
        if self.first is not None:
            self._close(len(self.values) - 1, lasts=True)
        return self.changes


def silences(
    values: np.ndarray, rule: LevelRule, max_p: float, known: np.ndarray | None = None
) -> list[LevelChange]:
    """The runs of days without anything that chance seldom gives, whatever the law of the counts.

    Held against the ``memory_days`` before: on weekdays of which most of the last ``weeks`` had something, a day has
    nothing with q = (zeros + 1/2) / (days + 1). A run over n such days is a silence where qⁿ ≤ ``max_p``; it ends with the
    last of them, at the latest as a new level. Unknown days are passed over.

    >>> from healthseg.settings import Settings
    >>> from healthseg.clustering.anomalies import level_rule
    >>> calls = np.tile([900.0, 40.0, 7.0, 300.0, 80.0, 0.0, 0.0], 20)
    >>> calls[70:98] = 0.0
    >>> [(each.first, each.last) for each in silences(calls, level_rule(Settings()), 1e-5)]
    [(70, 95)]
    """
    values = np.asarray(values, dtype=float)
    tracked = np.ones(len(values), dtype=bool) if known is None else np.asarray(known, dtype=bool)
    active, positions = values > 0, np.arange(len(values))
    breaks = np.flatnonzero(tracked & active)
    changes = []
    for start, after in zip(breaks + 1, np.r_[breaks[1:], len(values)], strict=False):
        if after - start < 2 or start < rule.min_days:
            continue
        earlier = tracked & (positions < start) & (positions >= start - rule.memory_days)
        recent = earlier & (positions >= start - WEEK * rule.weeks)
        shares = [_share_of(active, recent, weekday) for weekday in range(WEEK)]
        worked = np.array(shares)[positions % WEEK] > 0.5
        past = active[earlier & worked]
        run = [at for at in range(start, min(after, start + rule.new_level_days)) if worked[at]]
        run = [at for at in run if tracked[at]]
        log_p = len(run) * math.log(((~past).sum() + 0.5) / (len(past) + 1)) if run else 0.0
        if log_p <= math.log(max_p):
            usual = [_share_of(values, recent, at % WEEK) for at in range(run[0], run[-1] + 1)]
            expected = sum(np.array(usual)[tracked[run[0] : run[-1] + 1]])
            days = int(tracked[run[0] : run[-1] + 1].sum())
            z = float(scipy.special.ndtri(math.exp(max(log_p, -690.0)) / 2))
            lasts = not tracked[after:].any() or after - start > rule.new_level_days
            changes.append(LevelChange(run[0], run[-1], days, 0.0, float(expected), z, lasts))
    return changes


def _share_of(values: np.ndarray, days: np.ndarray, weekday: int) -> float:
    """The mean of the days' values on one weekday (of flags: their share); 0 without any."""
    own = values[weekday::WEEK][days[weekday::WEEK]]
    return float(own.mean()) if len(own) else 0.0


# -- days that differ from the same weekdays around them -------------------------------------------


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
