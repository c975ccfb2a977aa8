"""Rhythms of the week, trend and seasons of some customers: what of them is no chance?

``temporal(portfolio, clients, start, end)`` reads active user-hours of whole weeks that end with ``end``. Its
``family`` is judged with everything else that was tried in the call; ``peaks_and_lows(judged)`` says what passed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from healthseg.clustering.anomalies_days import daily
from healthseg.clustering.judging import Family, Limits
from healthseg.clustering.rhythms import DAY_NAMES, MANY, Rhythm, any_rhythm, hour_ranges, rhythms
from healthseg.clustering.seasonality import Season, seasons
from healthseg.clustering.temporal_cells import (
    LEAST_USER_HOURS,
    Cells,
    cells_of,
    table,
    tried,
    user_hours,
)
from healthseg.metrics.counting import epoch_day
from healthseg.settings import Settings
from healthseg.statistics.robust import theil_sen

LEAST_WEEKS = 4
HELD_OUT = 1 / 3  # of the weeks, the last ones
LEAST_HELD_OUT_WEEKS = 2
TREND_WEEKS, LEAST_TREND_WEEKS = 12, 6


@dataclass(frozen=True)
class Trend:
    """Growth of person events from week to week (exp of the Theil–Sen slope of their log1p, less 1), its interval."""

    weekly_growth_rate: float
    lower: float
    upper: float
    weeks: int

    @property
    def direction(self) -> str:
        return "increasing" if self.lower > 0 else "decreasing" if self.upper < 0 else "stable"


@dataclass(frozen=True)
class Temporal:
    """What was found in time. ``family`` is None where ``reason`` says why nothing could be asked; ``grid`` are the
    user-hours by weekday and hour; ``trend`` is None under six weeks; ``seasons`` has one entry a length of cycle."""

    family: Family | None
    reason: str | None
    grid: np.ndarray
    trend: Trend | None
    seasons: list[Season]
    user_hours: int
    weeks: int


def temporal(
    portfolio: Any, clients: Sequence[str], start: dt.date, end: dt.date, level: float = 0.90
) -> Temporal:
    """When do these customers come, on their own clocks, and does it rise or fall with the weeks and the seasons?

    Keys of the family: ``day:Tuesday``, ``hour:10``, ``part:Friday afternoon``; lift is the user-hours over the mean of
    the days (hours, the same part of days) in use; support are the customers (of a single one: its users) that show it,
    by the same lift, of the n with 20 user-hours or more. A day or an hour above that mean is a peak where ``rhythms``
    names it, with the p of any rhythm at all; the others have a p of 1.

    >>> from healthseg.clustering.judging import judge
    >>> from healthseg.testing import tiny_portfolio
    >>> days = [dt.date(2025, 3, 3) + dt.timedelta(days=at) for at in range(84)]
    >>> portfolio = tiny_portfolio([("a", f"{day} {9 + at % 9:02d}:00", f"u{user}") for day in days for user in range(3)
    ...                   for at in range(2 if day.weekday() == 1 else 1) if (day.day + user) % 3])
    >>> found = temporal(portfolio, ["a"], days[0], dt.date(2025, 5, 26))
    >>> found.user_hours, peaks_and_lows(judge([found.family], seed=7)).peak_days
    (192, ['Tuesday'])
    """
    weeks = (end - start).days // 7
    first = epoch_day(end) - 7 * weeks
    rows = user_hours(portfolio, clients, start, end) if weeks else None
    rows = (
        rows[rows["day"] >= first].reset_index(drop=True)
        if rows is not None
        else pd.DataFrame({"day": []})
    )
    series = daily(portfolio, end)
    days = series.of(pd.Index(series.clients).get_indexer(sorted(clients)))
    whole = (_trend(days, max(weeks, TREND_WEEKS), level), seasons(days))
    reason = _reason(rows, weeks)
    if reason:
        grid = np.zeros((7, 24))
        return Temporal(None, reason, grid, *whole, len(rows), weeks)
    family = _family(rows, sorted(clients), first, weeks, portfolio.settings)
    grid = table(rows, np.zeros(len(rows), dtype=np.int64), 1).reshape(7, 24)
    return Temporal(family, None, grid, *whole, len(rows), weeks)


def _reason(rows: pd.DataFrame, weeks: int) -> str | None:
    if weeks < LEAST_WEEKS:
        return f"{weeks} whole weeks, at least {LEAST_WEEKS} are needed"
    if len(rows) < LEAST_USER_HOURS:
        return f"{len(rows)} active user-hours, at least {LEAST_USER_HOURS} are needed"
    return None


def _family(
    rows: pd.DataFrame, clients: list[str], first: int, weeks: int, settings: Settings
) -> Family:
    least_lift, many = settings.peak_min_ratio, rows["k"].nunique() >= MANY
    week = (rows["day"].to_numpy(dtype=np.int64) - first) // 7
    customer, user = (
        rows["k"].to_numpy(),
        np.unique(rows["user"], return_inverse=True)[1].astype(np.int64),
    )
    cells = cells_of(table(rows, np.zeros(len(rows), dtype=np.int64), 1)[0])
    unit = customer if many else np.unique(user * 1_000 + week, return_inverse=True)[1]
    frame = tried(table(rows, unit, int(unit.max()) + 1), cells)
    frame = _with_peaks(
        frame,
        rhythms(rows, first, first + 7 * weeks, settings.seed, least_lift, settings.peak_max_p),
    )
    shows, n = _shows(
        rows, customer if len(clients) > 1 else user, cells, frame["lift"].to_numpy(), least_lift
    )
    frame = frame.assign(
        support=shows.sum(axis=0),
        n=n,
        prevalence=shows.sum(axis=0) / max(n, 1),
        base_rate=frame["expected"] / len(rows),
    )
    held = max(round(weeks * HELD_OUT), LEAST_HELD_OUT_WEEKS)
    late = week >= weeks - held
    held_out = (
        _held_out(rows[late], unit[late], cells, first + 7 * weeks, held) if late.any() else None
    )
    drawn = customer if len(clients) > 1 else week
    names = clients if len(clients) > 1 else [f"week {at + 1}" for at in range(weeks)]
    again = _again(
        table(rows, drawn, len(names)), cells, shows if len(clients) > 1 else None, frame
    )
    return Family(
        "temporal",
        frame,
        names,
        again,
        held_out,
        Limits(20 if many else min(len(clients) - 1, 1), least_lift),
    )


def _with_peaks(frame: pd.DataFrame, found: dict[str, Rhythm]) -> pd.DataFrame:
    """Days and hours above the mean with the p of the rhythm that names them, the others with 1."""
    named = {f"day:{DAY_NAMES[at]}": found["day"].p for at in found["day"].peaks}
    named |= {f"hour:{at:02d}": found["hour"].p for at in found["hour"].peaks}
    return frame.assign(p=np.where(_above(frame), frame["key"].map(named).fillna(1.0), frame["p"]))


def _above(frame: pd.DataFrame) -> np.ndarray:
    return ((frame["lift"] > 1) & ~frame["key"].str.startswith("part:")).to_numpy()


def _held_out(
    rows: pd.DataFrame, unit: np.ndarray, cells: Cells, end_day: int, weeks: int
) -> pd.DataFrame:
    unit = np.unique(unit, return_inverse=True)[1]
    frame = tried(table(rows, unit, int(unit.max()) + 1), cells)
    again = frame["key"].str.partition(":")[0].map(any_rhythm(rows, end_day - 7 * weeks, end_day))
    frame = frame.assign(p=np.where(_above(frame), again.astype(float), frame["p"] / 2))
    return frame[["key", "lift", "p"]].fillna({"lift": 1.0, "p": 1.0})


def _shows(
    rows: pd.DataFrame, unit: np.ndarray, cells: Cells, lift: np.ndarray, least_lift: float
) -> tuple[np.ndarray, int]:
    """``[unit, cell]``: whether a unit's own lift is beyond the limit, on the side of all; and how many were asked."""
    counts = table(rows, unit, int(unit.max()) + 1)
    asked = counts.sum(axis=1) >= LEAST_USER_HOURS
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.nan_to_num((counts @ cells.own.T) / (counts @ cells.like.T), nan=1.0)
    shows = np.where(lift >= 1, own >= least_lift, own <= 1 / least_lift) & asked[:, None]
    return shows.astype(float), int(asked.sum())


def _again(counts: np.ndarray, cells: Cells, shows: np.ndarray | None, frame: pd.DataFrame) -> Any:
    own, like, support = (
        counts @ cells.own.T,
        counts @ cells.like.T,
        frame["support"].to_numpy(dtype=float),
    )
    if shows is not None and len(shows) < len(counts):
        shows = np.vstack([shows, np.zeros((len(counts) - len(shows), shows.shape[1]))])

    def again(weights: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(divide="ignore", invalid="ignore"):
            lift = (weights @ own[:, at]) / (weights @ like[:, at])
        drawn = (
            np.broadcast_to(support[at], lift.shape) if shows is None else weights @ shows[:, at]
        )
        return drawn, lift

    return again


def _trend(days: pd.DataFrame, weeks: int, level: float) -> Trend | None:
    events = days["person_events"].to_numpy(dtype=float)
    weeks = min(weeks, len(events) // 7)
    if weeks < LEAST_TREND_WEEKS:
        return None
    blocks = np.log1p(events[len(events) - 7 * weeks :].reshape(weeks, 7).sum(axis=1))
    slopes = theil_sen(np.arange(weeks, dtype=float), blocks, level)
    return Trend(
        *(float(np.expm1(part[0])) for part in (slopes.slope, slopes.lower, slopes.upper)), weeks
    )


@dataclass(frozen=True)
class PeaksAndLows:
    """Names as a reader says them: days, ranges of hours (``10-11am``), low periods (``Weekends``)."""

    peak_days: list[str]
    peak_hours: list[str]
    low_periods: list[str]


def peaks_and_lows(judged: pd.DataFrame, min_confidence: float = 0.0) -> PeaksAndLows:
    """What of the judged ``temporal`` hypotheses stands: peaks with lift above 1, lows below.

    Parts of a day are named where the day itself is not; Saturday and Sunday together are weekends.
    """
    rows = judged[
        (judged["kind"] == "temporal")
        & judged["passes"].astype(bool)
        & (judged["confidence"].fillna(0) >= min_confidence)
    ]
    up, down = (set(rows.loc[side, "key"]) for side in (rows["lift"] > 1, rows["lift"] < 1))
    return PeaksAndLows(
        [day for day in DAY_NAMES if f"day:{day}" in up],
        hour_ranges([int(key[5:]) for key in up if key.startswith("hour:")]),
        _lows(down),
    )


def _lows(down: set[str]) -> list[str]:
    days = [day for day in DAY_NAMES if f"day:{day}" in down]
    parts = sorted(
        (key[5:] for key in down if key.startswith("part:") and key[5:].split()[0] not in days),
        key=lambda words: (DAY_NAMES.index(words.split()[0]), words),
    )
    if {"Saturday", "Sunday"} <= set(days):
        days = [*(day for day in days if day not in ("Saturday", "Sunday")), "Weekends"]
    return [*parts, *days]
