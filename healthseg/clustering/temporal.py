"""Rhythms of the week, trend and seasons of some customers: what of them is no chance?

Seasons: STL (Cleveland et al. 1990) splits the logs into trend, season and rest; the strength is 1
− Var(rest) / Var(season + rest) (Wang, Smith & Hyndman 2006). A season is significant from 0.64 on
(Hyndman & Athanasopoulos 2021, §4.3), where cycles turned by chance offsets give so strong a mean
cycle in at most one of a hundred drawings.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healthseg.clustering.patterns import PatternFamily, PatternLimits, Resample
from healthseg.clustering.rhythms import (
    DAY_NAMES,
    WeekCells,
    cells_of,
    compare_cells,
    hour_ranges,
    rhythm_p,
    rhythms,
    user_hours,
    week_table,
)
from healthseg.clustering.unusual_days import daily
from healthseg.metrics.counting import EPOCH, epoch_day
from healthseg.rules import counted
from healthseg.settings import Settings
from healthseg.statistics.robust import theil_sen

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

# the p of its rhythm by the key of each peak
Peaks = dict[str, float]
CYCLES = {"week": 7, "quarter": 13, "year": 52}  # in days; in weeks


@dataclass(frozen=True)
class TemporalTrend:
    """Growth of person events from week to week (exp of the Theil–Sen slope of their log1p, less 1), its interval."""

    weekly_growth_rate: float
    lower: float
    upper: float
    weeks: int

    @property
    def direction(self) -> str:
        return "increasing" if self.lower > 0 else "decreasing" if self.upper < 0 else "stable"


@dataclass(frozen=True)
class SeasonalCycle:
    """A cycle: ``effect[place]`` is the factor on a usual day (week) at each place of the cycle.

    ``effect`` is None where ``reason`` says why it cannot be estimated; ``significant``: strong, with p of at most ``season_max_p``.
    """

    cycle: str
    cycles_seen: float
    strength: float | None
    p: float | None
    effect: list[float] | None
    significant: bool
    reason: str | None = None

    @property
    def high(self) -> tuple[int, float] | None:
        """Place and factor of the cycle's top."""
        return max(enumerate(self.effect), key=lambda entry: entry[1]) if self.effect else None

    @property
    def low(self) -> tuple[int, float] | None:
        return min(enumerate(self.effect), key=lambda entry: entry[1]) if self.effect else None


@dataclass(frozen=True)
class TemporalPatterns:
    """``family`` is None where ``reason`` says why there is too little data; ``grid`` are the user-hours by weekday and
    hour; ``trend`` is None under six weeks; ``seasons`` has one entry a length of cycle."""

    family: PatternFamily | None
    reason: str | None
    grid: np.ndarray
    trend: TemporalTrend | None
    seasons: list[SeasonalCycle]
    user_hours: int
    weeks: int


def temporal(
    portfolio: Portfolio,
    clients: Sequence[str],
    start: dt.date,
    end: dt.date,
    stored: Callable[[str, Callable[[], Peaks]], Peaks] = lambda name, build: build(),
) -> TemporalPatterns:
    """When are these customers active, on their own clocks, and does it rise or fall with the weeks
    and the seasons?

    Keys of the family: ``day:Tuesday``, ``hour:10``, ``part:Friday afternoon``; lift is over the
    mean of the days (hours, parts) in use; support are the customers (of a single one: its users)
    that show it, of the n with enough user-hours. A day or an hour above the mean is a peak where
    ``rhythms`` names it, with the p of any rhythm at all; else its p is 1. The peaks take longest: ``stored`` may have
    them already.

    >>> from healthseg.clustering.patterns import evaluate_patterns
    >>> from healthseg.testing import tiny_portfolio
    >>> days = [dt.date(2025, 3, 3) + dt.timedelta(days=at) for at in range(84)]
    >>> portfolio = tiny_portfolio([("a", f"{day} {9 + at % 9:02d}:00", f"u{user}") for day in days for user in range(3)
    ...                   for at in range(2 if day.weekday() == 1 else 1) if (day.day + user) % 3])
    >>> patterns = temporal(portfolio, ["a"], days[0], dt.date(2025, 5, 26))
    >>> peaks = peaks_and_lows(evaluate_patterns([patterns.family], portfolio.settings))
    >>> patterns.user_hours, peaks.peak_days
    (192, ['Tuesday'])
    """
    settings, weeks = portfolio.settings, (end - start).days // 7
    first = epoch_day(end) - 7 * weeks
    rows = pd.DataFrame({"day": []})
    if weeks:
        rows = user_hours(portfolio, clients, start, end)
        rows = rows[rows["day"] >= first].reset_index(drop=True)
    series = daily(portfolio, end)
    days = series.of(pd.Index(series.clients).get_indexer(sorted(clients)))
    trend, cycles = _trend(days, weeks, settings), seasons(days, settings)
    reason = _reason(rows, weeks, settings)
    if reason:
        return TemporalPatterns(None, reason, np.zeros((7, 24)), trend, cycles, len(rows), weeks)
    cells = _TemporalFamily(rows, sorted(clients), first, weeks, settings)
    family = cells.family(stored("rhythm_peaks", cells.peaks))
    grid = week_table(rows, np.zeros(len(rows), dtype=np.int64), 1).reshape(7, 24)
    return TemporalPatterns(family, None, grid, trend, cycles, len(rows), weeks)


def _reason(rows: pd.DataFrame, weeks: int, settings: Settings) -> str | None:
    if weeks < settings.patterns_min_weeks:
        return f"{counted(weeks, 'whole week')}, at least {settings.patterns_min_weeks} are needed"
    if len(rows) < settings.rhythm_min_user_hours:
        needed = settings.rhythm_min_user_hours
        return f"{len(rows)} active user-hours, at least {needed} are needed"
    return None


class _TemporalFamily:
    """The cells of the week as hypotheses; of several customers these are the units, of one its users' weeks."""

    def __init__(
        self, rows: pd.DataFrame, clients: list[str], first: int, weeks: int, settings: Settings
    ) -> None:
        self.rows, self.clients, self.first, self.weeks = rows, clients, first, weeks
        self.settings, self.end_day = settings, first + 7 * weeks
        self.many = rows["k"].nunique() >= settings.units_min_customers
        self.week = (rows["day"].to_numpy(dtype=np.int64) - first) // 7
        self.customer = rows["k"].to_numpy()
        self.user = np.unique(rows["user"], return_inverse=True)[1].astype(np.int64)
        total = week_table(rows, np.zeros(len(rows), dtype=np.int64), 1)[0]
        self.cells: WeekCells = cells_of(total, settings)

    def family(self, peaks: Peaks) -> PatternFamily:
        single = len(self.clients) == 1
        weeks_of_users = np.unique(self.user * 1_000 + self.week, return_inverse=True)[1]
        unit = self.customer if self.many else weeks_of_users
        tried = compare_cells(week_table(self.rows, unit, int(unit.max()) + 1), self.cells)
        of_peak = tried["key"].map(peaks).fillna(1.0)
        tried = tried.assign(p=np.where(_is_above(tried), of_peak, tried["p"]))
        shows, n = self._shows(self.user if single else self.customer, tried["lift"].to_numpy())
        support = shows.sum(axis=0)
        tried = tried.assign(
            support=support,
            n=n,
            prevalence=support / max(n, 1),
            base_rate=tried["expected"] / len(self.rows),
        )
        names = [f"week {at + 1}" for at in range(self.weeks)] if single else self.clients
        resample = self._resampler(
            week_table(self.rows, self.week if single else self.customer, len(names)),
            None if single else shows,
            support,
        )
        least = self.settings.pattern_min_customers if self.many else min(len(self.clients) - 1, 1)
        limits = PatternLimits(least, self.settings.peak_min_ratio)
        return PatternFamily("temporal", tried, names, resample, self._held_out(unit), limits)

    def peaks(self) -> Peaks:
        rhythm = rhythms(self.rows, self.first, self.end_day, self.settings)
        days = {f"day:{DAY_NAMES[at]}": rhythm["day"].p for at in rhythm["day"].peaks}
        return days | {f"hour:{at:02d}": rhythm["hour"].p for at in rhythm["hour"].peaks}

    def _held_out(self, unit: np.ndarray) -> pd.DataFrame | None:
        """The same cells in the last weeks."""
        share = self.settings.pattern_held_out_share
        weeks = max(round(self.weeks * share), self.settings.pattern_held_out_min_weeks)
        late = self.week >= self.weeks - weeks
        if not late.any():
            return None
        rows, unit = self.rows[late], np.unique(unit[late], return_inverse=True)[1]
        tried = compare_cells(week_table(rows, unit, int(unit.max()) + 1), self.cells)
        p_values = rhythm_p(rows, self.end_day - 7 * weeks, self.end_day, self.settings)
        of_rhythm = tried["key"].str.partition(":")[0].map(p_values).astype(float)
        tried = tried.assign(p=np.where(_is_above(tried), of_rhythm, tried["p"] / 2))
        return tried[["key", "lift", "p"]].fillna({"lift": 1.0, "p": 1.0})

    def _shows(self, unit: np.ndarray, lift: np.ndarray) -> tuple[np.ndarray, int]:
        """``[unit, cell]``: whether a unit's own lift is beyond the limit, on the side of all; how many had enough."""
        counts = week_table(self.rows, unit, int(unit.max()) + 1)
        enough = counts.sum(axis=1) >= self.settings.rhythm_min_user_hours
        least = self.settings.peak_min_ratio
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.nan_to_num((counts @ self.cells.own.T) / (counts @ self.cells.like.T), nan=1.0)
        shows = np.where(lift >= 1, own >= least, own <= 1 / least) & enough[:, None]
        return shows.astype(float), int(enough.sum())

    def _resampler(
        self, counts: np.ndarray, shows: np.ndarray | None, support: np.ndarray
    ) -> Resample:
        own, like = counts @ self.cells.own.T, counts @ self.cells.like.T
        if shows is not None and len(shows) < len(counts):
            shows = np.vstack([shows, np.zeros((len(counts) - len(shows), shows.shape[1]))])

        def resample(weights: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            with np.errstate(divide="ignore", invalid="ignore"):
                lift = (weights @ own[:, rows]) / (weights @ like[:, rows])
            if shows is None:
                return np.broadcast_to(support[rows], lift.shape), lift
            return weights @ shows[:, rows], lift

        return resample


def _is_above(tried: pd.DataFrame) -> np.ndarray:
    """Days and hours above the mean; parts of days are compared by Student's t alone."""
    return ((tried["lift"] > 1) & ~tried["key"].str.startswith("part:")).to_numpy()


def _trend(days: pd.DataFrame, weeks: int, settings: Settings) -> TemporalTrend | None:
    events = days["person_events"].to_numpy(dtype=float)
    weeks = min(max(weeks, settings.trend_weeks), len(events) // 7)
    if weeks < settings.trend_min_weeks:
        return None
    blocks = np.log1p(events[len(events) - 7 * weeks :].reshape(weeks, 7).sum(axis=1))
    slopes = theil_sen(np.arange(weeks, dtype=float), blocks, settings.interval_level)
    growth, lower, upper = (
        float(np.expm1(part[0])) for part in (slopes.slope, slopes.lower, slopes.upper)
    )
    return TemporalTrend(growth, lower, upper, weeks)


@dataclass(frozen=True)
class PeaksAndLows:
    """Names as a reader says them: days, ranges of hours (``10-11am``), low periods (``Weekends``)."""

    peak_days: list[str]
    peak_hours: list[str]
    low_periods: list[str]


def peaks_and_lows(evaluated: pd.DataFrame, min_confidence: float = 0.0) -> PeaksAndLows:
    """The significant ``temporal`` patterns: peaks with lift above 1, lows below.

    Parts of a day are named where the day itself is not; Saturday and Sunday together are weekends.
    """
    rows = evaluated[
        (evaluated["kind"] == "temporal")
        & evaluated["passes"].astype(bool)
        & (evaluated["confidence"].fillna(0) >= min_confidence)
    ]
    up, down = (set(rows.loc[side, "key"]) for side in (rows["lift"] > 1, rows["lift"] < 1))
    return PeaksAndLows(
        [day for day in DAY_NAMES if f"day:{day}" in up],
        hour_ranges([int(key[5:]) for key in up if key.startswith("hour:")]),
        _low_periods(down),
    )


def _low_periods(down: set[str]) -> list[str]:
    days = [day for day in DAY_NAMES if f"day:{day}" in down]
    parts = [key.removeprefix("part:") for key in down if key.startswith("part:")]
    parts = sorted(
        (part for part in parts if part.split()[0] not in days),
        key=lambda part: (DAY_NAMES.index(part.split()[0]), part),
    )
    weekend = {"Saturday", "Sunday"}
    if weekend <= set(days):
        days = [*(day for day in days if day not in weekend), "Weekends"]
    return [*parts, *days]


def seasons(days: pd.DataFrame, settings: Settings) -> list[SeasonalCycle]:
    """The week (places 0 = Monday), the quarter (weeks since the calendar quarter's first) and the year (ISO weeks).

    ``days``: day (since 1970) and person_events, without gaps.

    >>> days = pd.DataFrame({"day": np.arange(20_000, 20_070), "person_events": 50.0})
    >>> days.loc[(days["day"] + 3) % 7 == 2, "person_events"] = 100.0
    >>> [(cycle.cycle, cycle.significant, cycle.reason) for cycle in seasons(days, Settings())][:2]
    [('week', True, None), ('quarter', False, '0.7 cycles seen, two full ones are needed')]
    """
    day, events = days["day"].to_numpy(dtype=np.int64), days["person_events"].to_numpy(dtype=float)
    first = int(-(day[0] + 3) % 7) if len(day) else 0
    weeks = (len(day) - first) // 7
    weekly = events[first : first + 7 * weeks].reshape(weeks, 7).sum(axis=1)
    mondays = [EPOCH + dt.timedelta(days=int(at)) for at in day[first : first + 7 * weeks : 7]]
    places = {
        "week": (day + 3) % 7,
        "quarter": np.array([_week_of_quarter(date) for date in mondays], dtype=int),
        "year": np.array([min(date.isocalendar().week, 52) - 1 for date in mondays], dtype=int),
    }
    return [
        _season(name, np.log1p(events if name == "week" else weekly), places[name], settings)
        for name in CYCLES
    ]


def _week_of_quarter(date: dt.date) -> int:
    start = dt.date(date.year, 3 * ((date.month - 1) // 3) + 1, 1)
    return min((date - start).days // 7, 12)


def _season(name: str, logs: np.ndarray, position: np.ndarray, settings: Settings) -> SeasonalCycle:
    length = CYCLES[name]
    cycles = len(logs) / length
    if cycles < settings.season_min_cycles:
        reason = f"{cycles:.1f} cycles seen, two full ones are needed"
        return SeasonalCycle(name, cycles, None, None, None, False, reason)
    from statsmodels.tsa.seasonal import STL

    parts = STL(logs, period=length, robust=True).fit()
    both = float(np.var(parts.seasonal + parts.resid))
    strength = max(0.0, 1 - float(np.var(parts.resid)) / both) if both > 0 else 0.0
    strong = strength >= settings.season_min_strength
    p = _turned_p(logs - parts.trend, length, settings) if strong else 1.0
    effect = [
        float(np.exp(np.mean(parts.seasonal[position == at]))) if (position == at).any() else 1.0
        for at in range(length)
    ]
    significant = strong and p <= settings.season_max_p
    return SeasonalCycle(name, cycles, strength, p, effect, significant)


def _turned_p(detrended: np.ndarray, length: int, settings: Settings) -> float:
    """How often do cycles turned by chance offsets have a mean cycle that varies as much?"""
    cycles, draws = len(detrended) // length, settings.season_draws
    table = detrended[len(detrended) - cycles * length :].reshape(cycles, length)
    random = np.random.default_rng(settings.seed)
    own = float(np.var(table.mean(axis=0)))
    offsets = random.integers(0, length, size=(draws, cycles, 1))
    at = (np.arange(length) + offsets) % length
    drawn = np.var(table[np.arange(cycles)[None, :, None], at].mean(axis=1), axis=1)
    return float((1 + (drawn >= own - 1e-12).sum()) / (draws + 1))
