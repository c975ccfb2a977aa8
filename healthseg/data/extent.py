"""Which days do the events cover? The first and the last day, days that are not whole in a zone, and tracking gaps;
and what was knowable by the end of a day.

A single late or early event moves neither end: an end is a day on which the portfolio as a whole was active. Days
without any person's event in a portfolio that is otherwise busy are missing, not zero.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from healthseg.data import engine
from healthseg.data.facts import Month
from healthseg.data.tables import SNAPSHOT, STATIC, TableContract
from healthseg.periods import UTC, end_of_day_utc, local_day
from healthseg.settings.data import DataSettings

DAY = dt.timedelta(days=1)
EPOCH = dt.date(1970, 1, 1)
WEEK = 7


@dataclass(frozen=True)
class ActiveDay:
    """A day of UTC with events: its rows, the customers active, and the last hour (None: no row has a time)."""

    rows: int
    customers: int
    last_hour: int | None = None


@dataclass(frozen=True)
class Extent:
    """The days that the events cover.

    ``last_active_day`` is the last of UTC with events that count. ``whole_until`` is the instant up to which they are whole: a local day that ends later is not. None: all days are,
    since the rows have no times, or the setting ``data_until`` says so. ``beyond`` counts the rows outside, with the reason. ``gaps`` are days of UTC (of the account
    where rows have no times) without any person's event, as they are known from the days before.
    """

    first_day: dt.date
    last_day: dt.date
    last_active_day: dt.date
    whole_until: dt.datetime | None = None
    gaps: tuple[dt.date, ...] = ()
    timed: bool = True
    beyond: tuple[tuple[int, str], ...] = ()

    def last_whole_day(self, zone: str) -> dt.date:
        """The last day that is whole on the clock of ``zone``, no later than the portfolio's."""
        if self.whole_until is None or end_of_day_utc(self.last_day, zone) <= self.whole_until:
            return self.last_day
        return min(local_day(self.whole_until, zone) - DAY, self.last_day)

    def missing_days(self, zone: str) -> tuple[dt.date, ...]:
        """The days of a zone that a tracking gap touches, and those after its last whole day."""
        return _missing_days(self, zone)

    def sentences(self, as_of: dt.date, zone: str | None = None) -> list[str]:
        """What a reader of figures as of a day has to know: days left out, and days that are not whole in a zone."""
        sentences = []
        lately = [day for day in self.gaps if 0 <= (as_of - day).days < _SHOWN_DAYS]
        if lately:
            sentences.append(
                f"tracking gap: no customer has an event on {', '.join(in_words(lately))}; these days are missing, "
                "not zero, and windows, baselines and trends leave them out"
            )
        if zone is not None and (last := self.last_whole_day(zone)) < as_of:
            sentences.append(
                f"usage is counted to {last.day} {last:%b %Y}, the last day that is whole in {zone}"
            )
        return sentences

    def state(self, day: dt.date | None) -> list[Any]:
        """What of the extent the figures of ``day`` depend on: part of the keys of what is cached."""
        gaps = [str(gap) for gap in self.gaps if day is None or gap <= day + DAY]
        partial = day is None or (
            self.whole_until is not None
            # where a day ends last, twelve hours west of UTC, it may not be whole
            and self.whole_until
            < dt.datetime.combine(day + DAY, dt.time(12), self.whole_until.tzinfo)
        )
        return [str(self.first_day), gaps, str(self.whole_until) if partial else None]


@functools.lru_cache(maxsize=512)
def _missing_days(extent: Extent, zone: str) -> tuple[dt.date, ...]:
    days: set[dt.date] = set()
    for gap in extent.gaps:
        start = dt.datetime.combine(gap, dt.time(), UTC)
        ends = (start, start + DAY - dt.timedelta(hours=1)) if extent.timed else ()
        local = {gap, *(local_day(moment, zone) for moment in ends)}
        # west of UTC the evening before is lost, too, but that was not known by its end
        days |= {day for day in local if day >= gap}
    last = extent.last_whole_day(zone)
    days |= {last + k * DAY for k in range(1, (extent.last_day - last).days + 1)}
    return tuple(sorted(days))


# -- the first and the last day ----------------------------------------------------------


def extent(
    days: Mapping[dt.date, ActiveDay], first_local_day: dt.date, settings: DataSettings
) -> Extent:
    """The extent of events by day of UTC, without its gaps; ``first_local_day`` is the first of any account."""
    ordered = sorted(days)
    active = _active(ordered, days, settings)
    first, last = active[0], active[-1]
    timed = [day for day in active[-_USUAL_DAYS:] if days[day].last_hour is not None]
    whole_until = None
    last_whole = last
    if timed:
        hour = days[timed[-1]].last_hour or 0
        is_whole = hour >= settings.whole_day_hour or timed[-1] + DAY in days
        hours = 24 if is_whole else hour + 1
        whole_until = dt.datetime.combine(timed[-1], dt.time(), UTC) + dt.timedelta(hours=hours)
        untimed = [day for day in active if days[day].last_hour is None]
        last_whole = max([whole_until.date() - DAY, *untimed[-1:]])
    first_day = first_local_day if first == ordered[0] else first
    last_whole = max(first_day, last_whole)
    if settings.data_until is not None:
        last_whole, whole_until = settings.data_until, None
    beyond = _beyond(days, first, last, settings.data_until)
    return Extent(first_day, last_whole, last, whole_until, (), bool(timed), beyond)


_SHOWN_DAYS = 180  # before a date: gaps further back touch none of its windows
_USUAL_DAYS = 28  # with events: what is usual
_LEAST_DAYS = 28  # with events: in fewer, no day of a handful of customers is unusual
_LEAST_CUSTOMERS = 4  # usual on a day: of fewer, one is no small part


def _active(
    ordered: Sequence[dt.date], days: Mapping[dt.date, ActiveDay], settings: DataSettings
) -> list[dt.date]:
    """The days from the first to the last on which the portfolio as a whole was active."""
    few = len(ordered) < _LEAST_DAYS
    if few and np.median([days[day].customers for day in ordered]) < _LEAST_CUSTOMERS:
        return list(ordered)
    first, last = 0, len(ordered) - 1
    while last > 0 and not _is_usual(ordered, days, last, -1, settings):
        last -= 1
    while first < last and not _is_usual(ordered, days, first, 1, settings):
        first += 1
    return list(ordered[first : last + 1])


def _is_usual(
    ordered: Sequence[dt.date],
    days: Mapping[dt.date, ActiveDay],
    position: int,
    step: int,
    settings: DataSettings,
) -> bool:
    """Whether a day at an end belongs to the portfolio's activity, by the days that lie inside of it.

    Either more than half of the usual customers are active, or a tenth of those usual on its weekday (at the end
    two where four are usual, for one device with a wrong clock is a customer) and of the usual week beside it. At the
    beginning, where a portfolio may grow fast, a tenth of those usual in the week beside it will do.
    """
    day = ordered[position]
    inside = ordered[position + 1 :] if step > 0 else ordered[:position][::-1]
    near = [days[other].customers for other in inside[:_USUAL_DAYS]]
    if not near:
        return True
    customers, usual = days[day].customers, float(np.median(near))
    if customers > usual / 2:
        return True

    def count(other: dt.date) -> int:
        return days[other].customers if other in days else 0

    share = settings.active_day_min_share
    of_weekday = float(np.median([count(day + step * WEEK * k * DAY) for k in range(1, 9)]))
    beside = [count(day + step * k * DAY) for k in range(1, WEEK + 1)]
    week = sum(beside)
    least = 2 if step < 0 and of_weekday >= _LEAST_CUSTOMERS else 1
    if step > 0:
        of_weekday = min(of_weekday, float(np.median(beside)))
    lately = sum(count(inside[0] + step * k * DAY) for k in range(WEEK))
    return customers >= max(least, share * of_weekday) and week >= share * lately


def _beyond(
    days: Mapping[dt.date, ActiveDay], first: dt.date, last: dt.date, data_until: dt.date | None
) -> tuple[tuple[int, str], ...]:
    """How many rows lie beyond the ends, and why they are not counted."""
    parts = [(f"before the portfolio's first day {first}", [day for day in days if day < first])]
    if data_until is None:
        parts.append(
            (f"after the portfolio's last day {last}", [day for day in days if day > last])
        )
    return tuple(
        (
            rows,
            f"occurred_at lies {words}, on a day on which far fewer customers than usual were active",
        )
        for words, beyond in parts
        if (rows := sum(days[day].rows for day in beyond))
    )


# -- tracking gaps -----------------------------------------------------------------------


def tracking_gaps(
    active: pd.DataFrame, first: dt.date, last: dt.date, settings: DataSettings
) -> tuple[dt.date, ...]:
    """The days between two ends that no customer's silence explains.

    ``active`` has a row ``client_id, day`` for each customer and day with a person's event. A customer that was
    active within the week before is as likely to be silent on a day as it was on the same weekday of the eight weeks
    before; a run of days without any event is a gap where the probability that all are silent by chance is below
    10 ** -``gap_min_evidence``, and at least two customers were expected. Only earlier days are read, so that later
    data never change what was known.

    >>> days = [dt.date(2025, 3, 3) + k * DAY for k in range(60) if k not in (50, 51)]
    >>> rows = pd.DataFrame([(f"c{n}", day) for day in days for n in range(9)], columns=["client_id", "day"])
    >>> [str(day) for day in tracking_gaps(rows, days[0], days[-1], DataSettings())]
    ['2025-04-22', '2025-04-23']
    """
    size = (last - first).days + 1
    position = (pd.to_datetime(active["day"]) - pd.Timestamp(first)).dt.days.to_numpy()
    inside = (position >= 0) & (position < size)
    codes = pd.factorize(active["client_id"], sort=True)[0]
    present = np.zeros((int(codes.max(initial=-1)) + 1, size), dtype=bool)
    present[codes[inside], position[inside]] = True
    empty = np.asarray(~present.any(axis=0))
    missing: list[int] = []
    for start, stop in _runs(empty):
        evidence = [_evidence(present, day, start, set(missing)) for day in range(start, stop)]
        expected = [
            day
            for day, (decades, _) in zip(range(start, stop), evidence, strict=True)
            if decades >= 0.5
        ]
        certain = sum(decades for decades, _ in evidence) >= settings.gap_min_evidence
        if certain and max(customers for _, customers in evidence) >= 2:
            missing += range(expected[0], expected[-1] + 1)
    return tuple(first + day * DAY for day in missing)


def gaps(
    connect: Callable[[], duckdb.DuckDBPyConnection], extent: Extent, settings: DataSettings
) -> list[str]:
    """The days of the tracking gaps between the extent's ends, by the portfolio's facts."""
    active = engine.run(connect(), "facts/person_days", {})
    days = tracking_gaps(active, extent.first_day, extent.last_active_day, settings)
    return [day.isoformat() for day in days]


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """The half-open ranges of consecutive True values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _evidence(present: np.ndarray, day: int, start: int, missing: set[int]) -> tuple[float, int]:
    """-log10 of the probability that all are silent on a day by chance, and how many are likely to be active."""
    weeks = [day - WEEK * k for k in range(1, 9)]
    weeks = [at for at in weeks if 0 <= at < start and at not in missing]
    if len(weeks) < 2:
        return 0.0, 0
    lately = present[:, max(0, start - WEEK) : start].any(axis=1)
    times = present[lately][:, weeks].sum(axis=1)
    times = times[times > 0]
    silent = (len(weeks) - times + 0.5) / (len(weeks) + 1)
    return float(-np.log10(silent).sum()), int((silent < 0.5).sum())


def in_words(days: Sequence[dt.date]) -> list[str]:
    """Runs of days as ``11 to 20 Sep 2025`` with their number.

    >>> in_words([dt.date(2025, 9, 30), dt.date(2025, 10, 1), dt.date(2025, 10, 5)])
    ['30 Sep to 1 Oct 2025 (2 days)', '5 Oct 2025 (1 day)']
    """
    numbers = np.array([(day - EPOCH).days for day in days], dtype=np.int64)
    texts = []
    for run in np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1) if len(numbers) else []:
        first, last = (EPOCH + int(at) * DAY for at in (run[0], run[-1]))
        text = f"{last.day} {last:%b %Y}"
        if first != last:
            start = f"{first.day}" if (first.year, first.month) == (last.year, last.month) else ""
            start = start or f"{first.day} {first:%b}" + (
                f" {first.year}" if first.year != last.year else ""
            )
            text = f"{start} to {text}"
        texts.append(f"{text} ({len(run)} day{'s' if len(run) > 1 else ''})")
    return texts


# -- the content as of a day -----------------------------------------------------------------------
# A fingerprint of all that was knowable by the end of a day: of each row, the columns that became known on the same day
# contribute one hash to that day, and the days are summed in any order. Later rows and values never change it, nor does
# an overwritten snapshot.


Sums = dict[dt.date | None, int]
WORD = 2**64


def table_sums(connection: duckdb.DuckDBPyConnection, table: TableContract) -> tuple[Sums, int]:
    """Order-free sums of a table's clean rows by the day they became known (None: always), and of its snapshot."""
    own = next(column.known_from for column in table.columns if column.required)
    # what ties later values to their row: its key, else the columns known when the row appeared
    identity = list(table.key) or [
        column.name for column in table.columns if column.known_from == own
    ]
    groups: dict[tuple[str, ...], list[str]] = {}
    for column in table.columns:
        groups.setdefault(column.known_from, []).append(column.name)
    dated: Sums = {}
    snapshot = 0
    for known_from, names in groups.items():
        values = ", ".join(f'"{name}"' for name in dict.fromkeys([*identity, *names]))
        if known_from == SNAPSHOT:
            query = f'SELECT {_sum("snapshot", values)} FROM "{table.name}"'
            ((total,),) = connection.execute(query).fetchall()
            snapshot = int(total)
            continue
        day, where = _known(table, known_from, names if known_from != own else [])
        hashes = _sum("|".join(known_from), values)
        query = f'SELECT {day} AS day, {hashes} FROM "{table.name}" {where} GROUP BY 1'
        for known, total in connection.execute(query).fetchall():
            dated[known] = (dated.get(known, 0) + int(total)) % WORD
    return dated, snapshot % WORD


def _sum(label: str, values: str) -> str:
    return f"COALESCE(SUM(CAST(HASH('{label}', {values}) AS HUGEINT)), 0)"


def _known(table: TableContract, known_from: tuple[str, ...], later: list[str]) -> tuple[str, str]:
    """The day on which columns became known, and the condition that they did: ``later`` ones have a value."""
    days = [_day(table, name) for name in known_from if (name,) != STATIC] or ["CAST(NULL AS DATE)"]
    day = f"COALESCE({', '.join(days)})" if len(days) > 1 else days[0]
    if known_from[-1:] == STATIC:
        return day, ""
    where = f"WHERE {day} IS NOT NULL"
    if later:
        where += " AND (" + " OR ".join(f'"{name}" IS NOT NULL' for name in later) + ")"
    return day, where


def _day(table: TableContract, name: str) -> str:
    column = table.column(name)
    return f"{column.stem}_day" if column.kind == "timestamp" else f'"{name}"'


def event_sums(months: Mapping[str, Month]) -> Sums:
    """Order-free sums of the counted events by account-local day."""
    return {
        dt.date.fromisoformat(text): int(total)
        for month in months.values()
        for text, _, total in month.record["days"]
    }


def until(sums: Sums, day: dt.date | None) -> int:
    """The sum over all that was known by the end of ``day``, or over all."""
    known = (total for at, total in sums.items() if day is None or at is None or at <= day)
    return sum(known) % WORD


def to_json(sums: tuple[Sums, int]) -> dict[str, Any]:
    """A table's sums as texts, since JSON's numbers are not safe beyond 53 bits."""
    dated, snapshot = sums
    days = [[None if day is None else day.isoformat(), str(total)] for day, total in dated.items()]
    return {"days": days, "snapshot": str(snapshot)}


def from_json(values: Mapping[str, Any]) -> tuple[Sums, int]:
    dated = {day and dt.date.fromisoformat(day): int(total) for day, total in values["days"]}
    return dated, int(values["snapshot"])
