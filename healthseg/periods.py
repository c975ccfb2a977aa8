"""``as_of``, half-open periods, windows and time zones.

A day is a day of the account's own time zone. Time zones enter SQL as a plain
table of offsets (``zone_offsets``), so that no engine's own zone data is needed
and the same text runs anywhere.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from healthseg.errors import InvalidParameters

UTC = dt.UTC
DAY_SECONDS = 86_400
_TICK = dt.timedelta(microseconds=1)
DAYS_A_MONTH = 30.4375  # a twelfth of 365.25 days
_DATE = re.compile(r"^\d{4}-\d{2}-\d{2}$")


def wall_clock() -> dt.datetime:
    """The current instant, for what is recorded and for nothing else: no figure of a response depends on it."""
    return dt.datetime.now(UTC)


def as_date(value: str | dt.date, parameter: str = "as_of") -> dt.date:
    """A calendar date from ``YYYY-MM-DD``, a date, or an instant at midnight.

    Raises InvalidParameters for anything else; a time of day other than
    midnight is refused, since a day is read whole.

    >>> as_date("2025-10-10")
    datetime.date(2025, 10, 10)
    >>> as_date("2025-10-01T00:00:00Z")
    datetime.date(2025, 10, 1)
    """
    rule = "a date YYYY-MM-DD, read through the end of that day in the account's time zone"
    if isinstance(value, dt.datetime):
        if value.time() == dt.time():
            return value.date()
    elif isinstance(value, dt.date):
        return value
    elif isinstance(value, str):
        text = value.strip()
        try:
            if _DATE.match(text):
                return dt.date.fromisoformat(text)
            moment = dt.datetime.fromisoformat(text)
            if moment.time() == dt.time():
                return moment.date()
        except ValueError:
            pass
    raise InvalidParameters(
        f"{parameter} {str(value)!r} is not a date: give {rule}",
        parameter=parameter,
        value_provided=str(value),
        validation_rule=rule,
    )


def weekly(end: dt.date, days: int, *, with_start: bool = False) -> list[dt.date]:
    """The dates ``end - 7k`` within the last ``days`` days, oldest first.

    >>> [d.isoformat() for d in weekly(dt.date(2025, 10, 10), 20)]
    ['2025-09-26', '2025-10-03', '2025-10-10']
    """
    dates = {end - dt.timedelta(days=k) for k in range(0, days + 1, 7)}
    if with_start:
        dates.add(end - dt.timedelta(days=days))
    return sorted(dates)


def mondays(start: dt.date, end: dt.date) -> list[dt.date]:
    """The fixed weekly grid that nights share: Mondays in ``[start, end]``."""
    first = start + dt.timedelta(days=-start.weekday() % 7)
    return [first + dt.timedelta(days=7 * k) for k in range(max(0, (end - first).days // 7 + 1))]


def year_before(date: dt.date) -> dt.date:
    """The same day a year ago; for 29 February the 28th.

    >>> year_before(dt.date(2024, 2, 29)).isoformat()
    '2023-02-28'
    """
    leap_day = (date.month, date.day) == (2, 29)
    return date.replace(year=date.year - 1, day=28 if leap_day else date.day)


def end_of_day_utc(day: dt.date, zone: str) -> dt.datetime:
    """The first instant after ``day`` in ``zone``, in UTC: what ``as_of`` is equal to."""
    following = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), ZoneInfo(zone))
    return following.astimezone(UTC)


def local_day(moment: dt.datetime, zone: str) -> dt.date:
    """The account-local day of an instant."""
    return moment.astimezone(ZoneInfo(zone)).date()


@functools.cache
def zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


def _offset(zone: ZoneInfo, epoch: int) -> int:
    offset = dt.datetime.fromtimestamp(epoch, zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0


def _next_change(zone: ZoneInfo, low: int, high: int, offset: int) -> int:
    """The first second in ``(low, high]`` with another offset, by bisection."""
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == offset:
            low = middle
        else:
            high = middle
    return high


@functools.cache
def _changes(name: str, start: int, end: int) -> tuple[tuple[int, int, int], ...]:
    zone, step, rows = ZoneInfo(name), 7 * 86400, []
    since, offset, at = start, _offset(ZoneInfo(name), start), start
    while at < end:
        ahead = min(at + step, end)
        if _offset(zone, ahead) != offset:
            change = _next_change(zone, at, ahead, offset)
            rows.append((since, change, offset))
            since, offset, at = change, _offset(zone, change), change
        else:
            at = ahead
    return (*rows, (since, end, offset))


def zone_offsets(
    zones: Iterable[str], start: dt.date, end: dt.date
) -> list[tuple[str, int, int, int]]:
    """Rows ``(zone, from_epoch, until_epoch, offset_seconds)`` that cover ``[start, end)``.

    >>> zone_offsets(["UTC"], dt.date(1970, 1, 1), dt.date(1970, 1, 2))
    [('UTC', 0, 86400, 0)]
    """
    low, high = (int(dt.datetime.combine(day, dt.time(), UTC).timestamp()) for day in (start, end))
    return [(name, *row) for name in sorted(set(zones)) for row in _changes(name, low, high)]


def as_hour(value: str | dt.date, zone: str, parameter: str) -> dt.datetime:
    """A whole hour of the account's own clock from a date, ``YYYY-MM-DDTHH:00`` or one with an offset.

    >>> as_hour("2025-10-01T07:00Z", "Europe/Berlin", "period_start").isoformat()
    '2025-10-01T09:00:00'
    """
    try:
        moment = dt.datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if isinstance(moment, dt.date) and not isinstance(moment, dt.datetime):
        return dt.datetime.combine(moment, dt.time())
    if (
        isinstance(moment, dt.datetime)
        and moment.tzinfo is not None
        and moment.astimezone(UTC).time() != dt.time()
    ):
        moment = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    if not isinstance(moment, dt.datetime) or (
        moment.minute,
        moment.second,
        moment.microsecond,
    ) != (0, 0, 0):
        raise InvalidParameters(
            f"{parameter} {str(value)!r} is not a date or a whole hour",
            parameter=parameter,
            value_provided=str(value),
            validation_rule="YYYY-MM-DD or YYYY-MM-DDTHH:00",
        )
    return moment.replace(tzinfo=None)


def grains(start: dt.date, end: dt.date, granularity: str) -> list[tuple[dt.date, dt.date, bool]]:
    """The days, ISO weeks or calendar months of ``[start, end)``, cut to it, and whether each lies in it whole.

    >>> [(str(a), str(b), whole) for a, b, whole in grains(dt.date(2025, 9, 29), dt.date(2025, 10, 8), "weekly")]
    [('2025-09-29', '2025-10-06', True), ('2025-10-06', '2025-10-08', False)]
    """
    rows, day = [], start
    while day < end:
        first, following = _grain(day, granularity)
        rows.append((day, min(following, end), first >= start and following <= end))
        day = following
    return rows


def _grain(day: dt.date, granularity: str) -> tuple[dt.date, dt.date]:
    """The first day of the grain that holds ``day``, and the first after it."""
    if granularity == "monthly":
        first = day.replace(day=1)
        return first, (first + dt.timedelta(days=32)).replace(day=1)
    first, length = (
        (day - dt.timedelta(days=day.weekday()), 7) if granularity == "weekly" else (day, 1)
    )
    return first, first + dt.timedelta(days=length)


def local_hours(start: dt.datetime, end: dt.datetime, zone: str) -> list[tuple[int, dt.datetime]]:
    """The hours of ``[start, end)`` of the account's clock: instant (seconds since 1970) and local time with offset.

    Hours are counted in real time, so a day on which the clock changes has 23 or 25.

    >>> hours = local_hours(dt.datetime(2025, 10, 26), dt.datetime(2025, 10, 27), "Europe/Berlin")
    >>> len(hours), hours[2][1].isoformat(), hours[3][1].isoformat()
    (25, '2025-10-26T02:00:00+02:00', '2025-10-26T02:00:00+01:00')
    """
    clock = ZoneInfo(zone)
    first, last = (int(moment.replace(tzinfo=clock).timestamp()) for moment in (start, end))
    return [(epoch, dt.datetime.fromtimestamp(epoch, clock)) for epoch in range(first, last, 3600)]


MOMENT_RULE = "a date YYYY-MM-DD, or an instant such as 2025-10-10T14:23:45Z"


@dataclass(frozen=True)
class Moment:
    """A day of the account's clock with its first and last instant; both are the instant where one was given."""

    day: dt.date
    first: dt.datetime
    last: dt.datetime


def moment(value: Any, zone: str, parameter: str) -> Moment:
    """A date or an instant; a time without a zone is UTC's. Raises InvalidParameters for anything else.

    >>> day = moment("2025-10-10", "Europe/Berlin", "effective_at")
    >>> day.first.isoformat(), day.last.isoformat()
    ('2025-10-09T22:00:00+00:00', '2025-10-10T21:59:59.999999+00:00')
    >>> moment("2025-10-10T23:30:00Z", "Europe/Berlin", "as_of").day.isoformat()
    '2025-10-11'
    """
    try:
        parsed = dt.datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
        if isinstance(value, str) and len(value.strip()) == len("2025-10-10"):
            parsed = parsed.date()
    except ValueError:
        parsed = None
    if isinstance(parsed, dt.datetime):
        at = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        return Moment(at.astimezone(ZoneInfo(zone)).date(), at, at)
    if isinstance(parsed, dt.date):
        first = dt.datetime.combine(parsed, dt.time(), ZoneInfo(zone)).astimezone(UTC)
        return Moment(parsed, first, end_of_day_utc(parsed, zone) - _TICK)
    raise InvalidParameters(
        f"{parameter} {str(value)[:80]!r} is not a moment: give {MOMENT_RULE}",
        parameter=parameter,
        value_provided=str(value)[:200],
        validation_rule=MOMENT_RULE,
    )


def utc_text(at: dt.datetime) -> str:
    """An instant as responses write it, in UTC.

    >>> utc_text(dt.datetime(2025, 10, 10, 14, 23, 45, tzinfo=UTC))
    '2025-10-10T14:23:45Z'
    """
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
