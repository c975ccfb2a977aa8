"""Unusual days of customers and of the portfolio, distinguished from each other, and their likely
causes.

A customer's days are compared with what the rest of the portfolio had of its usual people. Only
missing data, the portfolio's calendar and its tickets are likely causes.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy

from healthseg.clustering.anomalies import (
    COLUMNS,
    anomalies,
    lasting_changes,
    lasting_rows,
    weekday_rule,
)
from healthseg.clustering.support import tickets
from healthseg.metrics.counting import (
    EPOCH,
    chunks,
    counting,
    customers,
    epoch_day,
    epoch_days,
    epoch_days_or_nan,
)
from healthseg.periods import zone_offsets
from healthseg.settings import Settings
from healthseg.statistics.level_changes import LevelChange, against_weekday

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

SERIES = ("person_events", "users", "sessions", "api_events")
ANOMALIES = [
    "client_id",
    *COLUMNS,
    "feature",
    "date",
    "of_usual",
    "cause",
    "likely_cause",
    "action_required",
]


@dataclass(frozen=True)
class DailySeries:
    """What every customer did on every day from the first tracked one to before ``until``.

    ``counts[name][client, day]``; ``lived[client]`` is the half-open range of its days as a customer;
    ``clocks_changed[client, day]``: the day's 24 hours are not those of other days.
    """

    clients: list[str]
    first_day: int
    counts: dict[str, np.ndarray]
    lived: np.ndarray
    clocks_changed: np.ndarray
    has_sessions: bool

    @functools.cached_property
    def counted(self) -> str:
        """What tells how many were there: events where no event names a user."""
        return "users" if self.counts["users"].any() else "person_events"

    @functools.cached_property
    def sum_of_all(self) -> np.ndarray:
        return self.counts[self.counted].sum(axis=0, dtype=np.int64)

    def of(self, rows: Sequence[int] | np.ndarray) -> pd.DataFrame:
        """The sum of some customers' days, as ``anomalies`` reads them, over the days on which any was a customer."""
        return pd.DataFrame(self.columns_of(rows))

    def columns_of(self, rows: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        rows = np.asarray(rows, dtype=np.int64)
        first, after = int(self.lived[rows, 0].min()), int(self.lived[rows, 1].max())
        columns: dict[str, np.ndarray] = {
            "day": np.arange(first, max(after, first)) + self.first_day
        }
        for name, table in self.counts.items():
            columns[name] = table[rows, first:after].sum(axis=0, dtype=np.int64)
        if not self.has_sessions:
            columns["sessions"] = np.full(len(columns["day"]), np.nan)
        if columns["api_events"].any():
            columns["of_usual_length"] = ~np.any(self.clocks_changed[rows, first:after], axis=0)
        else:
            del columns["api_events"]
        return columns

    def rest_of_usual(self, rows: np.ndarray, settings: Settings) -> np.ndarray:
        """By day: the share of its usual people (or events) that the rest of the portfolio had; 1 where it was as on its weekday."""
        counts = self.counts[self.counted]
        others = self.sum_of_all - counts[rows].sum(axis=0, dtype=np.int64)
        days = against_weekday(others, weekday_rule(settings))
        departs = (np.abs(days.z) >= settings.anomaly_rest_min_spreads) & days.is_change
        rest = np.ones(counts.shape[1])
        rest[days.position[departs]] = days.ratio[departs]
        return rest


def daily(portfolio: Portfolio, until: dt.date) -> DailySeries:
    """The whole portfolio's days before ``until``, read once."""
    return portfolio.cache.get("daily_series", until, lambda: _daily(portfolio, until), disk=False)


def _daily(portfolio: Portfolio, until: dt.date) -> DailySeries:
    frame = customers(portfolio).sort_index()
    names = frame.index.tolist()
    first, after = epoch_day(portfolio.first_event_day), epoch_day(until)
    counts = {name: np.zeros((len(names), after - first), dtype=np.int32) for name in SERIES}
    start, has_sessions = 0, False
    for part in chunks(portfolio, names, after - first):
        count = counting(portfolio, part, portfolio.first_event_day, until)
        usage, sessions = count.rows("usage_days"), count.rows("session_days")
        sessions = sessions[sessions["start_day"] == sessions["day"]]
        has_sessions |= len(sessions) > 0
        usage_columns = ("person_events", "users", "api_events")
        for rows, columns in ((usage, usage_columns), (sessions, ("sessions",))):
            day = rows["day"].to_numpy(dtype=np.int64) - first
            inside = (day >= 0) & (day < after - first)
            at = start + rows["k"].to_numpy()[inside], day[inside]
            for column in columns:
                counts[column][at] = rows[column].to_numpy()[inside]
        start += len(part)
    lived = _lived(frame, first, after)
    clocks_changed = _clocks_changed(portfolio, frame, first, after)
    return DailySeries(names, first, counts, lived, clocks_changed, has_sessions)


def _lived(frame: pd.DataFrame, first: int, after: int) -> np.ndarray:
    churned = frame["churned_on"] if "churned_on" in frame else pd.Series(pd.NaT, index=frame.index)
    signup, end = epoch_days_or_nan(frame["signup_date"]), epoch_days_or_nan(churned)
    start = np.clip(np.where(np.isnan(signup), first, signup), first, after) - first
    stop = np.clip(np.where(np.isnan(end), after, end), first, after) - first
    return np.column_stack([start, np.maximum(stop, start)]).astype(np.int64)


def _clocks_changed(
    portfolio: Portfolio, frame: pd.DataFrame, first: int, after: int
) -> np.ndarray:
    """The days on which a customer's clocks change, and their neighbours, whose nightly runs they may hold."""
    changed = np.zeros((len(frame), after - first), dtype=bool)
    zones = pd.Series(None, index=frame.index, dtype=object)
    if "timezone" in frame:
        zones = frame["timezone"]
    zone = zones.fillna(portfolio.settings.default_timezone).astype(str).to_numpy()
    start, end = (EPOCH + dt.timedelta(days=day) for day in (first, after))
    for name in np.unique(zone):
        for _, since, *_ in zone_offsets([name], start, end):
            day = since // 86_400 - first
            if 0 < day < after - first:
                changed[zone == name, max(day - 1, 0) : day + 2] = True
    return changed


def anomalies_of(
    portfolio: Portfolio,
    clients: Sequence[str],
    start: dt.date,
    end: dt.date,
    each: bool = True,
    until: dt.date | None = None,
) -> pd.DataFrame:
    """The anomalies that touch ``[start, end)``: of the sum of ``clients``, and (``each``) of every
    single one.

    Of the sum, or the single customer, also the features that are new or have vanished (about is kind, their users
    are counted).

    Columns: client_id (None: the sum), those of ``anomalies``, feature (of a kind), date, of_usual (the share of its
    usual people that the rest of the portfolio had), cause, likely_cause, action_required (a dip
    without a cause in calendar or gaps, with no usual day since). Days are compared with the whole
    history before ``until`` (None: ``end``). What the rest of the portfolio explains, and days of
    missing data, are left out of the customers' rows.
    """
    search = _AnomalySearch(portfolio, start, end, until or end)
    rows = pd.Index(search.days.clients).get_indexer(sorted(clients))
    parts = [search.of(rows, None)] if len(rows) > 1 else []
    parts.append(
        search.kinds(rows, None if len(rows) > 1 else clients[0]) if len(rows) else pd.DataFrame()
    )
    if each or len(rows) == 1:
        own = [search.of_customer(int(row)) for row in rows]
        if len(rows) > 1:
            own = [part[part["cause"] != "data_gap"] for part in own if len(part)]
        parts += own
    filled = [part for part in parts if len(part)]
    if not filled:
        return pd.DataFrame({name: [] for name in ANOMALIES})
    return pd.concat(filled, ignore_index=True)[ANOMALIES]


class _AnomalySearch:
    def __init__(self, portfolio: Portfolio, start: dt.date, end: dt.date, until: dt.date) -> None:
        self.portfolio, self.until, self.days = portfolio, until, daily(portfolio, until)
        self.first, self.after = epoch_day(start), epoch_day(end)
        self.settings: Settings = portfolio.settings
        self.missing = np.array(gaps(portfolio, until), dtype=np.int64)

    def of_customer(self, row: int) -> pd.DataFrame:
        first, after = self.days.lived[row]
        if after - first < self.settings.anomaly_min_days:
            return pd.DataFrame()
        return self.of(np.array([row]), self.days.clients[row])

    def of(self, rows: np.ndarray, client_id: str | None) -> pd.DataFrame:
        """The anomalies of one customer, or of the sum of some, with their causes."""
        rest = self.days.rest_of_usual(rows, self.settings)
        # somewhat before the window, so that an anomaly that lasts into it is whole
        since = self.first - self.settings.anomaly_min_days
        columns = self.days.columns_of(rows)
        columns["tracked"] = ~np.isin(columns["day"], self.missing)
        first, after = self.days.lived[rows[0]]
        of_usual = 1.0 if client_id is None else rest[first:after]
        table = anomalies(columns, self.settings, of_usual, since)
        return self._with_causes(table.assign(feature=None), rows, client_id, rest)

    def kinds(self, rows: np.ndarray, client_id: str | None) -> pd.DataFrame:
        """Features that the customers began or ceased to use; growing use after a release is none of them."""
        columns, settings = self.days.columns_of(rows), self.settings
        day = columns["day"]
        if len(day) < settings.anomaly_min_days:
            return pd.DataFrame()
        tracked = ~np.isin(day, self.missing)
        silent = np.zeros(len(day), dtype=bool)
        for change in lasting_changes(columns["users"], settings, tracked=tracked):
            silent[change.first : change.last + 1] |= change.value < change.expected
        clients = [self.days.clients[row] for row in rows]
        tables, out = [], released(self.portfolio)
        for feature, users in feature_users(self.portfolio, clients, day, self.until).items():
            changes = [
                change
                for change in kind_changes(users, settings, tracked)
                if not silent[change.first]
                and not 0
                <= day[change.first] - out.get(feature, np.inf)
                <= settings.anomaly_release_days
            ]
            if changes:
                tables.append(lasting_rows(changes, day, settings).assign(feature=feature))
        if not tables:
            return pd.DataFrame()
        table = pd.concat(tables, ignore_index=True).assign(about="kind")
        at = table["day"].to_numpy(dtype=np.int64) - day[0]
        table = table.assign(person_events=columns["person_events"][at], usual_person_events=np.nan)
        return self._with_causes(
            table, rows, client_id, self.days.rest_of_usual(rows, self.settings)
        )

    def _with_causes(
        self, table: pd.DataFrame, rows: np.ndarray, client_id: str | None, rest: np.ndarray
    ) -> pd.DataFrame:
        if len(table):
            inside = (table["last_day"] >= self.first) & (table["first_day"] < self.after)
            table = table[inside].reset_index(drop=True)
        if not len(table):  # as of most customers
            return pd.DataFrame()
        day = table["day"].to_numpy(dtype=np.int64)
        table = table.assign(client_id=client_id, of_usual=rest[day - self.days.first_day])
        clients = [self.days.clients[row] for row in rows]
        table = with_causes(self.portfolio, table, clients, self.until)
        dates = [EPOCH + dt.timedelta(days=int(at)) for at in day]
        explained = table["cause"].isin(["calendar", "data_gap"])
        dip = table["anomaly_type"] == "unusual_dip"
        return table.assign(
            date=pd.Series(dates, index=table.index, dtype=object),
            action_required=dip & ~explained & table["open"].astype(bool),
        )


def kind_changes(
    users: np.ndarray, settings: Settings, tracked: np.ndarray | None = None
) -> list[LevelChange]:
    """The lasting departures of a feature's daily users from nearly none to many, or the reverse."""
    return [
        change
        for change in lasting_changes(users, settings, tracked=tracked)
        if min(change.value, change.expected)
        <= settings.anomaly_kind_max_share * max(change.value, change.expected)
        and max(change.value, change.expected) >= settings.anomaly_kind_min_users * change.days
    ]


def feature_users(
    portfolio: Portfolio, clients: Sequence[str], days: np.ndarray, until: dt.date
) -> dict[str, np.ndarray]:
    """Users a day of each feature over ``days`` (since 1970, without gaps), of some customers together."""
    users: dict[str, np.ndarray] = {}
    for part in chunks(portfolio, list(clients), len(days)):
        rows = counting(portfolio, part, portfolio.first_event_day, until).rows("feature_days")
        at = rows["day"].to_numpy(dtype=np.int64) - days[0]
        rows = rows[(at >= 0) & (at < len(days))]
        for feature, own in rows.groupby("feature", sort=True):
            daily = users.setdefault(str(feature), np.zeros(len(days)))
            np.add.at(daily, own["day"].to_numpy(dtype=np.int64) - days[0], own["users"].to_numpy())
    return dict(sorted(users.items()))


def released(portfolio: Portfolio) -> dict[str, int]:
    """The day since 1970 on which each feature was released, where that is known."""
    if not portfolio.has("features") or "released_on" not in portfolio.table("features"):
        return {}
    known = portfolio.table("features").dropna(subset=["released_on"])
    return dict(zip(known["feature"].astype(str), epoch_days(known["released_on"]), strict=True))


def gaps(portfolio: Portfolio, until: dt.date) -> list[int]:
    """Days without any event of the portfolio, though the same weekday around has many: their data is missing.

    Days of UTC; of the account where events have no times. Many is ``data_gap_min_events`` or more.

    >>> from healthseg.testing import tiny_portfolio
    >>> days = [dt.date(2025, 3, 3) + dt.timedelta(days=at) for at in range(70) if at != 35]
    >>> portfolio = tiny_portfolio([("a", f"{day} 09:{minute:02d}", "u") for day in days for minute in range(30)])
    >>> [(EPOCH + dt.timedelta(days=day)).isoformat() for day in gaps(portfolio, dt.date(2025, 5, 12))]
    ['2025-04-07']
    """
    rows = portfolio.cache.get(
        "loaded_days", None, lambda: portfolio.sql("metrics/loaded_days"), disk=False
    )
    first, after = epoch_day(portfolio.first_event_day), epoch_day(until)
    if len(rows):
        events = rows.set_index("utc_day")["person_events"].reindex(range(first, after)).fillna(0)
        values = events.to_numpy(dtype=float)
    else:
        values = daily(portfolio, until).counts["person_events"].sum(axis=0).astype(float)
    days = against_weekday(values, weekday_rule(portfolio.settings))
    least = portfolio.settings.data_gap_min_events
    empty = first + days.position[(days.value == 0) & (days.expected >= least)]
    known = [epoch_day(day) for day in portfolio.extent.gaps if day < until]
    return sorted({*empty.tolist(), *known})


def calendar(portfolio: Portfolio) -> list[tuple[int, int, str]]:
    """First day, last day and label of the calendar's entries, as they begin."""
    return portfolio.cache.get("calendar_days", None, lambda: _calendar(portfolio), disk=False)


def _calendar(portfolio: Portfolio) -> list[tuple[int, int, str]]:
    if not portfolio.has("calendar"):
        return []
    rows = portfolio.table("calendar")
    last = epoch_days(rows["ends_on"].where(rows["ends_on"].notna(), rows["starts_on"]))
    first = epoch_days(rows["starts_on"])
    return sorted(zip(first.tolist(), last.tolist(), rows["label"].astype(str), strict=True))


def with_causes(
    portfolio: Portfolio, table: pd.DataFrame, clients: Sequence[str], until: dt.date
) -> pd.DataFrame:
    """``table`` with likely_cause (words, None without one) and cause (calendar, data_gap, tickets).

    In this order: is data of those days missing; does the calendar name their beginning or half of them; were more tickets of ``clients`` opened
    within a day of them than chance gives (``anomaly_min_tickets`` or more, Poisson's p at most
    ``anomaly_tickets_max_p``)?
    """
    causes: list[tuple[str | None, str | None]] = []
    if len(table):
        known = _KnownCauses(
            gaps(portfolio, until),
            calendar(portfolio),
            tickets(portfolio, clients, until),
            until,
            portfolio.settings,
        )
        causes = [known.of(row) for row in table.to_dict("records")]
    return table.assign(
        cause=pd.Series([kind for kind, _ in causes], index=table.index, dtype=object),
        likely_cause=pd.Series([words for _, words in causes], index=table.index, dtype=object),
    )


def explains(start: int, end: int, first: int, last: int) -> bool:
    """Whether an entry of the calendar may have caused a departure: it had begun by the day after its first one, or covers
    half of its days (a holiday within a month of little use explains nothing)."""
    shared = min(end, last) - max(start, first) + 1
    return shared > 0 and (start <= first + 1 or 2 * shared >= last - first + 1)


@dataclass(frozen=True)
class _KnownCauses:
    gaps: list[int]
    calendar: list[tuple[int, int, str]]
    tickets: pd.DataFrame | None
    until: dt.date
    settings: Settings

    def of(self, row: dict[Any, Any]) -> tuple[str | None, str | None]:
        first, last = int(row["first_day"]), int(row["last_day"])
        gap = next((day for day in self.gaps if first - 1 <= day <= last + 1), None)
        if gap is not None and row["anomaly_type"] == "unusual_dip":
            date = EPOCH + dt.timedelta(days=gap)
            return "data_gap", f"data is missing: no customer has an event on {date} (UTC)"
        labels = [label for start, end, label in self.calendar if explains(start, end, first, last)]
        if labels:
            return "calendar", "; ".join(dict.fromkeys(labels))
        words = self._tickets(first, last)
        return ("tickets", words) if words else (None, None)

    def _tickets(self, first: int, last: int) -> str | None:
        if self.tickets is None or not len(self.tickets):
            return None
        day = self.tickets["opened_day"].to_numpy(dtype=np.int64)
        near, span = self.tickets[(day >= first - 1) & (day <= last + 1)], last - first + 3
        lasted = max((self.until - EPOCH).days - int(day.min()), span + 1)
        usual = (len(day) - len(near)) * span / (lasted - span)
        p = scipy.special.gammainc(len(near), usual)  # P(N ≥ n) of a mean
        few = len(near) < self.settings.anomaly_min_tickets
        if few or p > self.settings.anomaly_tickets_max_p:
            return None
        topics = near["topic"].dropna().value_counts().sort_index()
        about = ""
        if len(topics):
            most = topics.sort_values(ascending=False, kind="stable").index[0]
            about = f", most about {most}"
        return f"{len(near)} tickets opened within a day of it, {usual:.1f} expected{about}"
