"""The daily series that anomalies are looked for in: a customer's own, of a set of customers, the whole portfolio's."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from healthseg.data.memory import remember
from healthseg.metrics.counting import EPOCH, chunks, customers, epoch_day, epoch_days_or_nan
from healthseg.metrics.lives import counting
from healthseg.periods import zone_offsets
from healthseg.statistics.departures import against_weekday

SERIES = ("person_events", "users", "sessions", "api_events")
LEAST_USUAL = 20  # events of a day on which none is no chance


@dataclass(frozen=True)
class Daily:
    """What every customer did on every day from the first tracked one to before ``until``.

    ``counts[name][client, day]``; ``lived[client]`` is the half-open range of the days of its life in the portfolio;
    ``clocks_changed[client, day]`` says that the day's 24 hours are not those of other days.
    """

    clients: list[str]
    first_day: int
    counts: dict[str, np.ndarray]
    lived: np.ndarray
    clocks_changed: np.ndarray
    has_sessions: bool

    @functools.cached_property
    def users_of_all(self) -> np.ndarray:
        return self.counts["users"].sum(axis=0, dtype=np.int64)

    def of(self, places: Sequence[int] | np.ndarray) -> pd.DataFrame:
        """The sum of some customers' days, as ``anomalies`` reads them, over the days on which any of them lived."""
        return pd.DataFrame(self.columns_of(places))

    def columns_of(self, places: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        places = np.asarray(places, dtype=np.int64)
        first, after = int(self.lived[places, 0].min()), int(self.lived[places, 1].max())
        sums = {
            name: table[places, first:after].sum(axis=0, dtype=np.int64)
            for name, table in self.counts.items()
        }
        columns = {"day": np.arange(first, max(after, first)) + self.first_day, **sums}
        if not self.has_sessions:
            columns["sessions"] = np.full(len(columns["day"]), np.nan)
        if sums["api_events"].any():
            columns["of_usual_length"] = ~self.clocks_changed[places, first:after].any(axis=0)
        else:
            del columns["api_events"]
        return columns


def daily(portfolio: Any, until: dt.date) -> Daily:
    """The whole portfolio's days before ``until``, read once."""
    return remember(portfolio, ("daily series", until), lambda: _daily(portfolio, until))


def _daily(portfolio: Any, until: dt.date) -> Daily:
    frame = customers(portfolio)
    names = sorted(frame.index)
    first, after = epoch_day(portfolio.first_event_day), epoch_day(until)
    counts = {name: np.zeros((len(names), after - first), dtype=np.int32) for name in SERIES}
    at, has_sessions = 0, False
    for part in chunks(names, after - first):
        count = counting(portfolio, part, portfolio.first_event_day, until)
        usage, begun = count.rows("usage_days"), count.rows("session_days")
        begun = begun[begun["start_day"] == begun["day"]]
        has_sessions |= len(begun) > 0
        for rows, columns in (
            (usage, ("person_events", "users", "api_events")),
            (begun, ("sessions",)),
        ):
            day = rows["day"].to_numpy(dtype=np.int64) - first
            inside = (day >= 0) & (day < after - first)
            for column in columns:
                counts[column][at + rows["k"].to_numpy()[inside], day[inside]] = rows[
                    column
                ].to_numpy()[inside]
        at += len(part)
    return Daily(
        names,
        first,
        counts,
        _lived(frame.loc[names], first, after),
        _clocks_changed(portfolio, frame.loc[names], first, after),
        has_sessions,
    )


def _lived(frame: pd.DataFrame, first: int, after: int) -> np.ndarray:
    left = frame["churned_on"] if "churned_on" in frame else pd.Series(pd.NaT, index=frame.index)
    born, gone = epoch_days_or_nan(frame["signup_date"]), epoch_days_or_nan(left)
    start = np.clip(np.where(np.isnan(born), first, born), first, after) - first
    end = np.clip(np.where(np.isnan(gone), after, gone), first, after) - first
    return np.column_stack([start, np.maximum(end, start)]).astype(np.int64)


def _clocks_changed(portfolio: Any, frame: pd.DataFrame, first: int, after: int) -> np.ndarray:
    """The days on which a customer's clocks change, and their neighbours, whose nightly runs they may hold."""
    out = np.zeros((len(frame), after - first), dtype=bool)
    zones = (
        frame["timezone"]
        if "timezone" in frame
        else pd.Series(None, index=frame.index, dtype=object)
    )
    zone = zones.fillna(portfolio.settings.default_timezone).astype(str).to_numpy()
    start, end = (EPOCH + dt.timedelta(days=day) for day in (first, after))
    for name in np.unique(zone):
        for _, since, *_ in zone_offsets([name], start, end):
            day = since // 86_400 - first
            if 0 < day < after - first:
                out[zone == name, max(day - 1, 0) : day + 2] = True
    return out


def gaps(portfolio: Any, until: dt.date) -> list[int]:
    """Days (of UTC; of the account where events have no times) on which nobody in the portfolio did anything, though the
    same weekday around has 20 events or more: the data of that day are missing.

    >>> from healthseg.testing import tiny_portfolio
    >>> days = [dt.date(2025, 3, 3) + dt.timedelta(days=at) for at in range(70) if at != 35]
    >>> portfolio = tiny_portfolio([("a", f"{day} 09:{minute:02d}", "u") for day in days for minute in range(30)])
    >>> [(EPOCH + dt.timedelta(days=day)).isoformat() for day in gaps(portfolio, dt.date(2025, 5, 12))]
    ['2025-04-07']
    """
    rows = remember(portfolio, "loaded days", lambda: portfolio.sql("metrics/loaded_days"))
    first, after = epoch_day(portfolio.first_event_day), epoch_day(until)
    if len(rows):
        values = (
            rows.set_index("utc_day")["person_events"]
            .reindex(range(first, after))
            .fillna(0)
            .to_numpy(dtype=float)
        )
    else:
        values = daily(portfolio, until).counts["person_events"].sum(axis=0).astype(float)
    days = against_weekday(values)
    return (first + days.place[(days.value == 0) & (days.expected >= LEAST_USUAL)]).tolist()


__all__ = ["EPOCH", "Daily", "daily", "gaps"]
