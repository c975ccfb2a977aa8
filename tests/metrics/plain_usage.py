"""docs/metrics.md once more in plain Python, a loop for each sentence: the portfolio, usage, features, people."""

from __future__ import annotations

import datetime as dt
import math
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

NAN = math.nan
DAY = dt.timedelta(days=1)


def missing(value: Any) -> bool:
    return value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def share(above: float, below: float) -> float:
    return above / below if below else NAN


@dataclass
class Event:
    day: dt.date
    at: dt.datetime | None
    user: str | None
    feature: str | None
    source: str | None
    session: str | None
    count: int
    seconds: int

    @property
    def person(self) -> bool:
        return self.source != "api"


@dataclass
class Plain:
    """A portfolio's raw tables, as lists of rows, with every instant's account-local day beside it."""

    tables: dict[str, pd.DataFrame]
    last: dt.date
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.customers = {row["client_id"]: row for row in self.rows("customers")}
        self.events: dict[str, list[Event]] = defaultdict(list)
        for row in self.rows("events"):
            if row["client_id"] in self.customers:
                self.events[row["client_id"]].append(self.event(row))
        days = [event.day for events in self.events.values() for event in events]
        self.first_day = min(days)
        self.cache: dict[tuple, list[dict]] = {}

    def rows(self, name: str) -> list[dict]:
        frame = self.tables.get(name, pd.DataFrame()).astype(object)
        return [
            {key: None if missing(value) else value for key, value in row.items()}
            for row in frame.to_dict("records")
        ]

    def of(self, name: str, client: str) -> list[dict]:
        if name not in self.cache:
            by_client = defaultdict(list)
            for row in self.rows(name):
                by_client[row["client_id"]].append(row)
            self.cache[name] = by_client
        return self.cache[name][client]

    def has(self, name: str) -> bool:
        return name in self.tables

    def setting(self, name: str, default: float) -> float:
        return self.settings.get(name, default)

    # time

    def day(self, client: str, value: Any) -> dt.date | None:
        """The account-local day of an instant in UTC; a calendar day stays that day."""
        if value is None:
            return None
        at = self.instant(value)
        if at is None:
            return dt.date.fromisoformat(str(value)[:10])
        zone = ZoneInfo(self.customers[client].get("timezone") or "UTC")
        return at.replace(tzinfo=dt.UTC).astimezone(zone).date()

    @staticmethod
    def instant(value: Any) -> dt.datetime | None:
        """To the whole second; None for a calendar day without a time."""
        if isinstance(value, dt.datetime):
            return value.replace(microsecond=0)
        if isinstance(value, dt.date) or value is None or len(str(value)) == 10:
            return None
        return dt.datetime.fromisoformat(str(value))

    @staticmethod
    def date(value: Any) -> dt.date | None:
        return None if value is None else dt.date.fromisoformat(str(value)[:10])

    def event(self, row: dict) -> Event:
        return Event(
            self.day(row["client_id"], row["occurred_at"]),
            self.instant(row["occurred_at"]),
            row.get("user_id"),
            row.get("feature"),
            row.get("source"),
            row.get("session_id"),
            int(row.get("count") or 1),
            math.floor(row.get("duration_seconds") or 0),
        )

    def signup(self, client: str) -> dt.date:
        return self.date(self.customers[client]["signup_date"])

    def person(self, client: str, start: dt.date, end: dt.date) -> list[Event]:
        return [event for event in self.events[client] if event.person and start <= event.day < end]

    def lived(self, client: str, start: dt.date, end: dt.date) -> int:
        return max(0, (end - max(start, self.signup(client))).days)

    def measured(self, client: str, start: dt.date, end: dt.date) -> bool:
        return start >= self.first_day and self.lived(client, start, end) > 0


def days_of(start: dt.date, end: dt.date) -> list[dt.date]:
    return [start + k * DAY for k in range((end - start).days)]


def users_of(events: list[Event]) -> set[str]:
    return {event.user for event in events if event.user is not None}


# -- usage ---------------------------------------------------------------------------


def person_events(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    return sum(event.count for event in portfolio.person(client, start, end))


def api_events(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    return sum(
        event.count
        for event in portfolio.events[client]
        if event.source == "api" and start <= event.day < end
    )


def other_events(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    return 0  # the random portfolios have no event whose source is unknown


def api_only(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    """Programs on 14 of the 84 days before the end, and persons on two at most."""
    recent = [event for event in portfolio.events[client] if end - 84 * DAY <= event.day < end]
    programs = {event.day for event in recent if not event.person}
    persons = {event.day for event in recent if event.person}
    return len(programs) >= 14 and len(persons) <= 2


def users_are_named(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> bool:
    """Whether users can be counted: one is named where persons were there, and where nobody was, once before."""
    if api_only(portfolio, client, start, end):
        return False
    if events := portfolio.person(client, start, end):
        return bool(users_of(events))
    if before := portfolio.person(client, dt.date.min, end):
        return bool(users_of(before))
    return any(
        event.user is not None and event.day < end
        for events in portfolio.events.values()
        for event in events
    )


def active_days(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    return len({event.day for event in portfolio.person(client, start, end)})


def active_users(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    return len(users_of(portfolio.person(client, start, end)))


def daily_active_users(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    return sum(
        active_users(portfolio, client, day, day + DAY) for day in days_of(start, end)
    ) / portfolio.lived(client, start, end)


def sessions_of(portfolio: Plain, client: str, end: dt.date) -> list[list[Event]]:
    """The sessions as far as known before ``end``; a session_id that rests for more than a day begins anew."""
    threads: dict[tuple, list[Event]] = defaultdict(list)
    counted = [
        event
        for event in portfolio.events[client]
        if event.person and event.at is not None and event.user is not None and event.day < end
    ]
    with_id = {(event.user, event.day) for event in counted if event.session is not None}
    for event in counted:
        near = {(event.user, event.day), (event.user, event.day - DAY)}
        if event.session is not None or not near & with_id:
            threads[event.user, event.session].append(event)
    sessions = []
    for (_, session), events in threads.items():
        longest = (
            dt.timedelta(minutes=portfolio.setting("session_gap_minutes", 30))
            if session is None
            else DAY
        )
        previous = None
        for event in sorted(events, key=lambda event: (event.at, event.seconds)):
            if previous is None or event.at - previous > longest:
                sessions.append([])
            sessions[-1].append(event)
            previous = event.at
    return sessions


def begun(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> list[list[Event]]:
    return [session for session in sessions_of(portfolio, client, end) if session[0].day >= start]


def timed(portfolio: Plain, end: dt.date) -> bool:
    return any(
        event.at is not None and event.person and event.day < end
        for events in portfolio.events.values()
        for event in events
    )


def sessions(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    return len(begun(portfolio, client, start, end)) if timed(portfolio, end) else NAN


def average_session_minutes(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    lengths = [
        (session[-1].at - session[0].at).total_seconds() + session[-1].seconds
        for session in begun(portfolio, client, start, end)
    ]
    return statistics.fmean(lengths) / 60 if lengths and timed(portfolio, end) else NAN


# -- features --------------------------------------------------------------------------


def featured(portfolio: Plain, end: dt.date) -> bool:
    return any(
        event.feature and event.person and event.day < end
        for events in portfolio.events.values()
        for event in events
    )


def unique_features_used(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    return (
        len({event.feature for event in portfolio.person(client, start, end)} - {None})
        if featured(portfolio, end)
        else NAN
    )


def entitled(portfolio: Plain, client: str, day: dt.date) -> set[str]:
    if not portfolio.has("features"):
        return {
            event.feature
            for events in portfolio.events.values()
            for event in events
            if event.person and event.feature and event.day <= day
        }
    released = {
        row["feature"]
        for row in portfolio.rows("features")
        if row.get("released_on") is None or portfolio.date(row["released_on"]) <= day
    }
    if not portfolio.has("entitlements"):
        return released
    return {
        row["feature"]
        for row in portfolio.of("entitlements", client)
        if (row.get("starts_on") is None or portfolio.date(row["starts_on"]) <= day)
        and (row.get("ends_on") is None or day < portfolio.date(row["ends_on"]))
    } & released


def features_entitled(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    return (
        len(entitled(portfolio, client, end - DAY))
        if featured(portfolio, end) and start >= portfolio.first_day
        else NAN
    )


def features_adopted(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    if start < portfolio.first_day or not featured(portfolio, end):
        return NAN
    adopted = 0
    for feature in entitled(portfolio, client, end - DAY):
        events = [
            event for event in portfolio.person(client, start, end) if event.feature == feature
        ]
        enough_users = (
            portfolio.setting("adopted_min_users", 1) <= 1
            or len(users_of(events)) >= portfolio.settings["adopted_min_users"]
        )
        adopted += enough_users and len({event.day for event in events}) >= portfolio.setting(
            "adopted_min_days", 2
        )
    return adopted


def feature_adoption_rate(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    return share(
        features_adopted(portfolio, client, start, end),
        features_entitled(portfolio, client, start, end),
    )


# -- people ----------------------------------------------------------------------------


def weights(events: list[Event]) -> Counter:
    counted: Counter = Counter()
    for event in events:
        if event.user is not None:
            counted[event.user] += event.count
    return counted


def top_user_share(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    counted = weights(portfolio.person(client, start, end))
    return (
        share(max(counted.values()), sum(counted.values()))
        if counted and start >= portfolio.first_day
        else NAN
    )


def champion(portfolio: Plain, client: str, end: dt.date) -> tuple[str, float] | None:
    events = portfolio.person(client, end - 118 * DAY, end - 28 * DAY)
    counted = weights(events)
    if not counted:
        return None
    user = min(counted, key=lambda name: (-counted[name], name))
    part = counted[user] / sum(counted.values())
    days = {event.day for event in events if event.user == user}
    return (
        (user, part)
        if part >= 0.2 and len(days) >= portfolio.setting("champion_min_active_days", 12)
        else None
    )


def champion_share(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    person = champion(portfolio, client, end)
    return NAN if person is None or end - 118 * DAY < portfolio.first_day else person[1]


def champion_departed(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    if end - 118 * DAY < portfolio.first_day:
        return NAN
    person = champion(portfolio, client, end)
    if person is None:
        return 0
    left = [
        portfolio.day(client, row.get("deactivated_at"))
        for row in portfolio.of("users", client)
        if row["user_id"] == person[0]
    ]
    deactivated = any(day is not None and day < end for day in left)
    active = len(
        {
            event.day
            for event in portfolio.person(client, end - 118 * DAY, end - 28 * DAY)
            if event.user == person[0]
        }
    )
    return deactivated or (
        all(event.user != person[0] for event in portfolio.person(client, end - 28 * DAY, end))
        and chance_of_silence(active) <= portfolio.setting("champion_silence_max_p", 0.001)
    )


def chance_of_silence(active: int) -> float:
    """Of 28 days without a visit, one after the other, when ``active`` of 90 days before had one."""
    return math.prod((90 - active + day + 0.5) / (90 + day + 1) for day in range(28))
