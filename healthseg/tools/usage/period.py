"""The period that a call is about: as asked for, and the part of it in which there is something to know."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from healthseg.errors import InvalidParameters
from healthseg.periods import as_date, as_hour

DEFAULT_DAYS = 30
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Period:
    """Days ``[start, end)`` as asked for, ``[effective_start, effective_end)`` as counted; hours only where asked."""

    start: dt.date
    end: dt.date
    effective_start: dt.date
    effective_end: dt.date
    first_hour: dt.datetime
    last_hour: dt.datetime
    zone: str
    notes: tuple[str, ...]

    @property
    def days(self) -> int:
        return (self.effective_end - self.effective_start).days

    @property
    def last_day(self) -> dt.date:
        return self.effective_end - DAY


def period_of(portfolio: Any, customer: Mapping[str, Any], as_of: dt.date, asked: Any) -> Period:
    """The period, or InvalidParameters where it is none or holds no day of the customer's in the data."""
    zone = customer.get("timezone")
    zone = zone if isinstance(zone, str) else portfolio.settings.default_timezone
    first, last = _asked(asked, as_of, zone)
    start, end = first.date(), (last - dt.timedelta(microseconds=1)).date() + DAY
    if last <= first:
        raise _refused(
            asked,
            f"period_end {_said(last)} is not after period_start {_said(first)}",
            "period_start < period_end; the end is exclusive",
        )
    born, left = _life(customer, as_of)
    begin, stop = max(start, born, portfolio.first_event_day), min(end, left, as_of + DAY)
    if stop <= begin:
        known = f"{max(born, portfolio.first_event_day)} to {min(left, as_of + DAY) - DAY}"
        raise _refused(
            asked,
            _outside(portfolio, customer, as_of, start, end, born, left),
            f"a period that shares a day with {known}",
        )
    notes = _notes(start, end, begin, stop, born, left, as_of) + _hour_note(first, last, start, end)
    return Period(start, end, begin, stop, first, last, zone, notes)


def _asked(asked: Any, as_of: dt.date, zone: str) -> tuple[dt.datetime, dt.datetime]:
    """Start and end on the account's clock: whole days, hours only of an hourly series."""

    def moment(value: Any, name: str) -> dt.datetime:
        if asked.granularity == "hourly":
            return as_hour(value, zone, name)
        return dt.datetime.combine(as_date(value, name), dt.time())

    end = asked.period_end or as_of + DAY
    last = moment(end, "period_end")
    first = (
        moment(asked.period_start, "period_start")
        if asked.period_start
        else last - DEFAULT_DAYS * DAY
    )
    return first, last


def _life(customer: Mapping[str, Any], as_of: dt.date) -> tuple[dt.date, dt.date]:
    """The customer's first day, and the first day after its last as far as known by ``as_of``."""
    left = customer.get("churned_on")
    gone = left is not None and not pd.isna(left) and pd.Timestamp(left) <= pd.Timestamp(as_of)
    return pd.Timestamp(customer["signup_date"]).date(), pd.Timestamp(
        left
    ).date() if gone else dt.date.max


def _outside(
    portfolio: Any,
    customer: Mapping[str, Any],
    as_of: dt.date,
    start: dt.date,
    end: dt.date,
    born: dt.date,
    left: dt.date,
) -> str:
    who = customer["client_id"]
    words = f"the period {start} to {end} (exclusive)"
    if end <= born:
        return f"{words} lies before {who} signed up on {born}"
    if start >= left:
        return f"{words} lies after {who} left on {left}"
    if end <= portfolio.first_event_day:
        return f"{words} lies before the data, which begin on {portfolio.first_event_day}"
    if start > as_of:
        return f"{words} lies after the data as read, which end with {as_of}"
    return f"{words} holds no day on which {who} was a customer and events were tracked"


def _notes(
    start: dt.date,
    end: dt.date,
    begin: dt.date,
    stop: dt.date,
    born: dt.date,
    left: dt.date,
    as_of: dt.date,
) -> tuple[str, ...]:
    """Why less than the asked period was counted."""
    found = []
    if begin > start:
        found.append(
            f"counted from {begin}: "
            + ("the customer signed up then" if begin == born else "events are tracked since then")
        )
    if stop < end:
        found.append(
            f"counted to {stop - DAY}: "
            + (
                f"the customer left on {left}"
                if stop == left
                else f"the portfolio is read as of {as_of}"
            )
        )
    return tuple(found)


def _hour_note(
    first: dt.datetime, last: dt.datetime, start: dt.date, end: dt.date
) -> tuple[str, ...]:
    if first == dt.datetime.combine(start, dt.time()) and last == dt.datetime.combine(
        end, dt.time()
    ):
        return ()
    return ("the series holds the hours that were asked for; all other figures are of whole days",)


def _said(moment: dt.datetime) -> str:
    return (
        moment.date().isoformat()
        if moment.time() == dt.time()
        else moment.isoformat(timespec="minutes")
    )


def _refused(asked: Any, message: str, rule: str) -> InvalidParameters:
    given = f"{asked.period_start or 'default'} to {asked.period_end or 'default'}"
    return InvalidParameters(
        message, parameter="period_start, period_end", value_provided=given, validation_rule=rule
    )
