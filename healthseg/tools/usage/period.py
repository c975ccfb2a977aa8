"""The period of a call: as requested, and the part of it in which there is something to know."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd

from healthseg.errors import InvalidParameters
from healthseg.metrics.counting import Counting, epoch_day
from healthseg.metrics.users import hours_of
from healthseg.periods import as_date, as_hour, end_of_day_utc, local_hours
from healthseg.tools.base import Day
from healthseg.tools.context import DAY, CustomerContext
from healthseg.tools.usage.result import AnalysisPeriod

DEFAULT_DAYS = 30
NO_USERS = "no event of the customer names a user"
MIDNIGHT = dt.time()
Moments = tuple[dt.datetime, dt.datetime]


@dataclass(frozen=True)
class UsagePeriod:
    """Days ``[start, end)`` as requested and ``[effective_start, effective_end)`` as counted.

    The latter end with the customer's last whole day; ``panel_day`` may be the day after. ``hours`` bound an hourly series; ``notes`` say why less than the requested period was counted.
    """

    start: dt.date
    end: dt.date
    effective_start: dt.date
    effective_end: dt.date
    hours: Moments
    zone: str
    notes: tuple[str, ...]
    panel_day: dt.date

    @property
    def days(self) -> int:
        return (self.effective_end - self.effective_start).days

    @property
    def last_day(self) -> dt.date:
        return self.effective_end - DAY

    def part(self, granularity: str) -> AnalysisPeriod:
        """The period as the response has it."""
        start, end = (
            end_of_day_utc(day - DAY, self.zone).strftime("%Y-%m-%dT%H:%M:%SZ")
            for day in (self.start, self.end)
        )
        return AnalysisPeriod(
            start=start,
            end=end,
            start_date=self.start,
            end_date=self.end,
            effective_start=self.effective_start,
            effective_end=self.effective_end,
            days=self.days,
            timezone=self.zone,
            granularity=granularity,
        )


def usage_period(
    context: CustomerContext, period_start: Day, period_end: Day, hourly: bool
) -> UsagePeriod:
    """The period, or InvalidParameters where it shares no day with the customer's life and the data."""
    portfolio, as_of = context.portfolio, context.as_of

    def refused(message: str, rule: str) -> InvalidParameters:
        return InvalidParameters(
            message,
            parameter="period_start, period_end",
            value_provided=f"{period_start or 'default'} to {period_end or 'default'}",
            validation_rule=rule,
        )

    first, last = _moments(period_start, period_end, as_of, context.zone, hourly)
    start, end = first.date(), (last - dt.timedelta(microseconds=1)).date() + DAY
    if last <= first:
        raise refused(
            f"period_end {_text(last)} is not after period_start {_text(first)}",
            "period_start < period_end; the end is exclusive",
        )
    begin = max(start, context.signup_date, portfolio.first_event_day)
    stop = min(end, context.churned_on or dt.date.max, as_of + DAY)
    panel_day = stop - DAY
    stop = min(stop, portfolio.extent.last_whole_day(context.zone) + DAY)
    if stop <= begin:
        known = max(context.signup_date, portfolio.first_event_day)
        until = min(context.churned_on or dt.date.max, as_of + DAY) - DAY
        rule = f"a period that shares a day with {known} to {until}"
        raise refused(_why_empty(context, start, end), rule)
    notes = _notes(context, start, end, begin, stop)
    if (first.time(), last.time()) != (MIDNIGHT, MIDNIGHT):
        notes.append("the series holds the requested hours; all other figures are of whole days")
    return UsagePeriod(
        start, end, begin, stop, (first, last), context.zone, tuple(notes), panel_day
    )


def _moments(
    period_start: Day, period_end: Day, as_of: dt.date, zone: str, hourly: bool
) -> Moments:
    """Start and end on the account's clock: whole days, or hours for an hourly series."""

    def moment(value: str | dt.date, name: str) -> dt.datetime:
        if hourly:
            return as_hour(value, zone, name)
        return dt.datetime.combine(as_date(value, name), MIDNIGHT)

    last = moment(period_end or as_of + DAY, "period_end")
    if period_start:
        return moment(period_start, "period_start"), last
    return last - DEFAULT_DAYS * DAY, last


def _text(moment: dt.datetime) -> str:
    if moment.time() == MIDNIGHT:
        return moment.date().isoformat()
    return moment.isoformat(timespec="minutes")


def _why_empty(context: CustomerContext, start: dt.date, end: dt.date) -> str:
    client, period = context.client_id, f"the period {start} to {end} (exclusive)"
    tracked = context.portfolio.first_event_day
    if end <= context.signup_date:
        return f"{period} lies before {client} signed up on {context.signup_date}"
    if context.churned_on and start >= context.churned_on:
        return f"{period} lies after {client} churned on {context.churned_on}"
    if end <= tracked:
        return f"{period} lies before the data, which begin on {tracked}"
    if start > context.as_of:
        return f"{period} lies after the data as read, which end with {context.as_of}"
    return f"{period} has no day on which {client} was a customer and events were tracked"


def _notes(
    context: CustomerContext, start: dt.date, end: dt.date, begin: dt.date, stop: dt.date
) -> list[str]:
    notes = []
    if begin > start:
        signup = begin == context.signup_date
        why = "the customer signed up then" if signup else "events are tracked since then"
        notes.append(f"counted from {begin}: {why}")
    if stop < end:
        churned = stop == context.churned_on
        why = f"the customer churned on {stop}" if churned else f"read as of {context.as_of}"
        if (
            churned or stop > context.as_of
        ):  # else the day after is not whole, which every response says
            notes.append(f"counted to {stop - DAY}: {why}")
    return notes


def hourly_series(count: Counting, period: UsagePeriod) -> pd.DataFrame:
    """Hours of real time with their local names: person events and active users.

    API calls and sessions are not counted by the hour (NaN). An hour of a half-hour zone touches
    two hours of UTC.
    """
    start, end = period.effective_start, period.effective_end
    first = max(period.hours[0], dt.datetime.combine(start, MIDNIGHT))
    last = min(period.hours[1], dt.datetime.combine(end, MIDNIGHT))
    hours = local_hours(first, last, period.zone) if last > first else []
    position: dict[tuple[int, int, int], int] = {}
    for index, (at, moment) in enumerate(hours):
        for utc in {at // 3600, (at + 3599) // 3600}:
            position.setdefault((epoch_day(moment.date()), moment.hour, utc), index)
    rows = hours_of(count, start, end)
    positions = [position.get((row.day, row.hour, row.hour_utc), -1) for row in rows.itertuples()]
    rows["index"] = np.array(positions, dtype=np.int64)
    rows = rows[rows["index"] >= 0]
    events, users = np.zeros(len(hours)), np.zeros(len(hours))
    np.add.at(events, rows["index"], rows["person_events"].to_numpy())
    distinct = rows[rows["user"] >= 0].drop_duplicates(["index", "user"])
    np.add.at(users, distinct["index"], 1)
    starts = [moment.isoformat() for _, moment in hours]
    after = [
        dt.datetime.fromtimestamp(at + 3600, moment.tzinfo).isoformat() for at, moment in hours[-1:]
    ]
    return pd.DataFrame(
        {
            "start": starts,
            "end": [*starts[1:], *after],
            "person_events": events,
            "api_events": np.nan,
            "active_users": users,
            "sessions": np.nan,
            "complete": True,
        }
    )


def who_was_active(persons: int, programs: int, named: int, context: CustomerContext) -> list[str]:
    """What a reader must know of a period's events: none, by programs alone, or without a user."""
    warnings = []
    if not persons and not programs:
        warnings.append("no events in this period: it was tracked, and nothing happened")
    elif text := context.api_only_warning:
        warnings.append(text)
    elif not persons:
        warnings.append("no person's events in this period: only API calls")
    if persons and not named:
        warnings.append(f"{NO_USERS}: users, sessions and stickiness are not measured")
    elif named < persons:
        warnings.append(
            f"{1 - named / persons:.0%} of the person events name no user: users and sessions are "
            "those of the others"
        )
    return warnings
