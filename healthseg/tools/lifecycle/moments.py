"""Dates and instants as this tool takes them: a date is a day of the customer's own clock."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from healthseg.errors import InvalidParameters
from healthseg.periods import UTC, end_of_day_utc

RULE = "a date YYYY-MM-DD, or an instant such as 2025-10-10T14:23:45Z"
_TICK = dt.timedelta(microseconds=1)


@dataclass(frozen=True)
class Moment:
    """What was given: the account-local day, its first instant (or the instant itself) and the last that is in it."""

    day: dt.date
    first: dt.datetime
    last: dt.datetime


def moment(value: Any, zone: str, parameter: str) -> Moment:
    """A date or an instant; a time without a zone is UTC's. Raises InvalidParameters for anything else.

    >>> given = moment("2025-10-10", "Europe/Berlin", "effective_at")
    >>> given.first.isoformat(), given.last.isoformat()
    ('2025-10-09T22:00:00+00:00', '2025-10-10T21:59:59.999999+00:00')
    >>> moment("2025-10-10T23:30:00Z", "Europe/Berlin", "as_of").day.isoformat()
    '2025-10-11'
    """
    try:
        found = dt.datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
        if isinstance(value, str) and len(value.strip()) == len("2025-10-10"):
            found = found.date()
    except ValueError:
        found = None
    if isinstance(found, dt.datetime):
        at = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        return Moment(at.astimezone(ZoneInfo(zone)).date(), at, at)
    if isinstance(found, dt.date):
        first = dt.datetime.combine(found, dt.time(), ZoneInfo(zone)).astimezone(UTC)
        return Moment(found, first, end_of_day_utc(found, zone) - _TICK)
    raise InvalidParameters(
        f"{parameter} {str(value)[:80]!r} is not a moment: give {RULE}",
        parameter=parameter,
        value_provided=str(value)[:200],
        validation_rule=RULE,
    )


def told(at: dt.datetime) -> str:
    """An instant as responses write it, in UTC.

    >>> told(dt.datetime(2025, 10, 10, 14, 23, 45, tzinfo=UTC))
    '2025-10-10T14:23:45Z'
    """
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
