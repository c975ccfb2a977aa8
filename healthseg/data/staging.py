"""Events as the files hold them, read once: checked rows by month of UTC on disk, and what is in each file.

The memo says of each file (by name, size and time of change) how many rows it holds,
why some are dropped, and an order-free hash for each day of UTC. A file that did
not change is not read again; new files are read together, as one batch.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from healthseg.data.accounting import (
    counted,
    doubts,
    drops_by_reason,
    emptied_by_reason,
    rejected_drops,
    take_rejects,
)
from healthseg.data.cleaning import Midnights
from healthseg.data.copies import COPIES, prepare
from healthseg.data.engine import BuildConnection, Executes, parquet
from healthseg.data.losses import Issue
from healthseg.data.sources import SourcePart, quoted, scan
from healthseg.data.storage import evict, is_intact, read_json, write_folder, write_json
from healthseg.data.tables import TABLES
from healthseg.data.validation import Layout, checked, layout_of
from healthseg.errors import DataRetrievalError
from healthseg.settings import Settings
from healthseg.settings.base import fingerprint

EVENTS = TABLES["events"]
# a Parquet row group that spans more would be read for too many months
_MAX_SPAN_DAYS = 60
_REJECTED = "lines.json"
_VALUES = ", ".join(f'"{name}"' for name in (*EVENTS.names, "occurred_has_time"))
_INSTANTS = _VALUES.replace('"occurred_has_time"', 'TRUE AS "occurred_has_time"')
_DAY = dt.timedelta(days=1)
Entries = dict[str, dict[str, Any]]


@dataclass
class Group:
    """Parts of one layout, scanned in their files (``direct``) or written by month first."""

    layout: Layout
    parts: list[SourcePart]
    direct: bool


@dataclass
class Staged:
    """The parts' entries in the memo, and the days of all of them together."""

    folder: Path
    settings: Settings
    entries: Entries
    parts: dict[str, SourcePart]
    # rows and hash by UTC day, up to ``last``
    days: dict[dt.date, tuple[int, int]] = field(default_factory=dict)
    # rows after ``last``: impossible dates
    beyond: int = 0
    last: dt.date | None = None

    @property
    def source(self) -> SourcePart:
        """A part that says what reads them all."""
        return next(iter(self.parts.values()))

    def layout(self, label: str) -> Layout:
        entry = self.entries[label]
        lines = tuple(line for line, _ in entry["rejected"])
        return Layout(
            entry["types"],
            tuple(entry["extra"]),
            frozenset(entry["day_only"]),
            lines,
            entry["formats"],
            entry["doubtful"],
            frozenset(entry["filled"]),
        )

    @functools.cached_property
    def midnights(self) -> Midnights:
        """How ``occurred_at`` is written, in all files together."""
        return sum((Midnights(*entry["midnights"]) for entry in self.entries.values()), Midnights())

    @property
    def single(self) -> str:
        """Whether identical rows are one event: those with an identifier, and single events of an instant."""
        if self.midnights.whole_minutes:
            return "event_id IS NOT NULL"
        return '((occurred_has_time AND "count" IS NULL) OR event_id IS NOT NULL)'

    @property
    def values(self) -> str:
        """The columns of ``relation`` but ``file`` and ``fault``."""
        return _VALUES if self.midnights.are_days(self.settings) else _INSTANTS

    def relation(self, start: dt.date, end: dt.date) -> str | None:
        """All files' checked rows of the UTC days ``[start, end)``, up to the last possible day; None without any."""
        if self.last is None:
            return None
        end = min(end, self.last + _DAY)
        selects = [*self._staged_selects(start, end), *self._direct_selects(start, end)]
        return "(" + " UNION ALL ".join(selects) + ")" if selects else None

    def _staged_selects(self, start: dt.date, end: dt.date) -> Iterable[str]:
        batches: dict[str, list[str]] = {}
        for label, entry in self.entries.items():
            if entry["batch"]:
                batches.setdefault(entry["batch"], []).append(label)
        months = sorted({f"{start + k * _DAY:%Y-%m}" for k in range((end - start).days)})
        for batch, labels in sorted(batches.items()):
            folders = [self.folder / batch / f"month={month}" for month in months]
            files = sorted(file for folder in folders for file in folder.glob("*.parquet"))
            if files:
                of_labels = ""
                if self.entries[labels[0]]["batch_files"] != len(labels):
                    of_labels = f" AND file IN ({', '.join(map(quoted, sorted(labels)))})"
                yield (
                    f"SELECT file, fault, {self.values} FROM {parquet(files)} "
                    f"WHERE {_between(start, end)}{of_labels}"
                )

    def _direct_selects(self, start: dt.date, end: dt.date) -> Iterable[str]:
        groups: dict[str, tuple[Layout, list[SourcePart]]] = {}
        for label, entry in self.entries.items():
            days = [day for day, *_ in entry["days"]]
            if entry["batch"] or not days or days[0] >= str(end) or days[-1] < str(start):
                continue
            layout, part = self.layout(label), self.parts[label]
            groups.setdefault(_layout_key(layout, part), (layout, []))[1].append(part)
        for layout, parts in groups.values():
            rows = _select(layout, parts, self.settings, days=(start, end))
            yield f"SELECT file, fault, {self.values} FROM ({rows}) WHERE {_between(start, end)}"

    def require_unchanged(self) -> None:
        """Raises DataRetrievalError if a file was replaced while it was being read."""
        for part in self.parts.values():
            if part.changed:
                raise DataRetrievalError(
                    f"{part.label} changed while it was being read: open the portfolio again when "
                    "it is written whole",
                    parameter="portfolio",
                    value_provided=part.label,
                )


def stage(
    folder: Path,
    build: BuildConnection,
    parts: Sequence[SourcePart],
    settings: Settings,
    version: str,
) -> Staged:
    """All parts of events, staged in ``folder``; reads those not in the memo. Raises Refused for a part that is no table."""
    memo_path = folder / f"memo-{version}.json"
    memo: Entries = read_json(memo_path) or {}
    entries = {
        part.label: memo[part.label]
        for part in parts
        if part.token is not None
        and memo.get(part.label, {}).get("token") == part.token
        and (not memo[part.label]["batch"] or is_intact(folder / memo[part.label]["batch"]))
    }
    parts = [
        prepare(part, folder.parent / COPIES, EVENTS, fresh=part.label not in entries)
        for part in parts
    ]
    fresh = [part for part in parts if part.label not in entries]
    groups = _grouped(build.connection, fresh, settings) if fresh else []
    if direct := [group for group in groups if group.direct]:
        selects = " UNION ALL ".join(
            f"({_select(group.layout, group.parts, settings)})" for group in direct
        )
        entries |= entries_of(build.connection, f"({selects})", None, direct, {})
    if to_write := [group for group in groups if not group.direct]:
        entries |= _write_batch(folder, build, to_write, settings, version)
    if fresh or set(entries) != set(memo):
        write_json(memo_path, entries)
        batches = {entry["batch"] for entry in entries.values() if entry["batch"]}
        evict(folder, days=1, keep={memo_path.name, *batches})
    return together(folder, {part.label: entries[part.label] for part in parts}, parts, settings)


def _between(start: dt.date, end: dt.date) -> str:
    return f"occurred_at >= DATE '{start}' AND occurred_at < DATE '{end}'"


def _layout_key(layout: Layout, part: SourcePart) -> str:
    columns = [layout.types, sorted(layout.extra), sorted(layout.day_only), layout.formats]
    columns += [layout.doubtful, sorted(layout.filled)]
    return fingerprint([part.format, part.shape, *columns])


def _grouped(
    connection: duckdb.DuckDBPyConnection, parts: Sequence[SourcePart], settings: Settings
) -> list[Group]:
    """Parts that can be scanned together: the same format, columns and way of reading."""
    groups: dict[tuple[str, bool], Group] = {}
    for part in parts:
        layout = layout_of(connection, EVENTS, part, settings)
        direct = _by_time(connection, part, layout)
        key = _layout_key(layout, part), direct
        groups.setdefault(key, Group(layout, [], direct)).parts.append(part)
    return list(groups.values())


def _by_time(connection: duckdb.DuckDBPyConnection, part: SourcePart, layout: Layout) -> bool:
    """Whether a month of a Parquet file can be read without reading most of the rest: its row groups follow time."""
    timed = layout.types["occurred_at"].startswith(("TIMESTAMP", "DATE"))
    if not part.columnar or not timed:
        return False
    try:
        groups = connection.execute(
            "SELECT row_group_num_rows, LEFT(COALESCE(stats_min_value, stats_min), 10), LEFT(COALESCE(stats_max_value, "
            f"stats_max), 10) FROM parquet_metadata({quoted(str(part.scanned))}) WHERE path_in_schema = 'occurred_at'"
        ).fetchall()
        spans = [
            (rows, (dt.date.fromisoformat(high) - dt.date.fromisoformat(low)).days)
            for rows, low, high in groups
        ]
    except (TypeError, ValueError, duckdb.ConversionException):
        return False
    return sum(rows * days for rows, days in spans) <= _MAX_SPAN_DAYS * sum(
        rows for rows, _ in spans
    )


def _select(
    layout: Layout,
    parts: Sequence[SourcePart],
    settings: Settings,
    *,
    days: tuple[dt.date, dt.date] | None = None,
    rejects: str | None = None,
) -> str:
    """The checked rows of parts of one layout; with ``days``, Parquet row groups outside them are skipped."""
    label = f"{quoted(parts[0].label)} AS file"
    if parts[0].path is None and parts[0].engine is None:
        return checked(EVENTS, layout, scan(parts), settings, carried=(label,))
    relation = scan(parts, filename=True, rejects=rejects)
    if days is not None:
        low, high = (f"CAST({quoted(str(day))} AS {layout.types['occurred_at']})" for day in days)
        relation = f"(SELECT * FROM {relation} WHERE occurred_at >= {low} AND occurred_at < {high})"
    if len(parts) > 1:
        labels = [f"{quoted(str(part.scanned))}: {quoted(part.label)}" for part in parts]
        label = f"MAP {{{', '.join(labels)}}}[filename] AS file"
    return checked(EVENTS, layout, relation, settings, carried=(label,))


def _write_batch(
    folder: Path,
    build: BuildConnection,
    groups: Sequence[Group],
    settings: Settings,
    version: str,
) -> Entries:
    tokens = [part.token for group in groups for part in group.parts]
    known = [token for token in tokens if token is not None]
    batch = uuid.uuid4().hex[:16]
    if len(known) == len(tokens):
        batch = fingerprint([version, *sorted(known)])
    written = write_folder(
        folder / batch, lambda target: _write_months(build.unordered, groups, settings, target)
    )
    files = sorted(written.glob("month=*/*.parquet"))
    rejected = read_json(written / _REJECTED) or {}
    return entries_of(build.connection, parquet(files) if files else None, batch, groups, rejected)


def _write_months(
    connection: duckdb.DuckDBPyConnection, groups: Sequence[Group], settings: Settings, folder: Path
) -> None:
    """Writes the checked rows by month of UTC, and the lines without the header's columns."""
    selects = " UNION ALL ".join(
        f"({_select(group.layout, group.parts, settings, rejects=f'bad_lines_{number}')})"
        for number, group in enumerate(groups)
    )
    month = "CASE WHEN fault = 0 THEN STRFTIME(occurred_at, '%Y-%m') ELSE 'dropped' END AS month"
    connection.execute(
        f"COPY (SELECT file, fault, mask, {_VALUES}, occurred_midnight, {month} FROM ({selects})) TO {quoted(str(folder))} "
        "(FORMAT PARQUET, PARTITION_BY (month), COMPRESSION LZ4_RAW, OVERWRITE_OR_IGNORE)"
    )
    lines: dict[str, list[tuple[int, str]]] = {}
    for number, group in enumerate(groups):
        lines |= take_rejects(connection, f"bad_lines_{number}", group.parts)
    write_json(folder / _REJECTED, lines)


def entry_of(
    layout: Layout,
    token: str | None,
    batch: str | None,
    batch_files: int,
    rejected: Sequence[tuple[int, str]] = (),
) -> dict[str, Any]:
    """A part's entry before its rows are counted."""
    return {
        "token": token,
        "batch": batch,
        "batch_files": batch_files,
        "types": layout.types,
        "extra": list(layout.extra),
        "day_only": sorted(layout.day_only),
        "formats": layout.formats,
        "doubtful": layout.doubtful,
        "filled": sorted(layout.filled),
        "rejected": list(rejected),
        "read": len(rejected),
        # of the rows with a fault or an emptied value: fault, mask, customer, count
        "losses": [],
        "midnights": [0, 0, 0, 0, 0],
        "days": [],
    }


def entries_of(
    connection: Executes,
    relation: str | None,
    batch: str | None,
    groups: Sequence[Group],
    rejected: Mapping[str, Sequence[tuple[int, str]]],
    values: str = f"HASH({_VALUES})",
) -> Entries:
    """The memo's entry of each part, from the checked rows of them all; ``values`` is what a day's content is summed of."""
    batch_files = sum(len(group.parts) for group in groups)
    entries: Entries = {
        part.label: entry_of(
            group.layout, part.token, batch, batch_files, rejected.get(part.label, ())
        )
        for group in groups
        for part in group.parts
    }
    if relation is None:
        return entries
    rows = connection.execute(
        f"SELECT file, CASE WHEN fault = 0 THEN CAST(occurred_at AS DATE) END AS day, COUNT(*) AS n, "
        f"COUNT(*) FILTER (fault > 0 OR mask > 0) AS lost, SUM(CAST({values} AS HUGEINT)) AS total, "
        f"{Midnights.counts('occurred_at')} "
        f"FROM {relation} GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()
    for file, day, count, _, total, *midnights in rows:
        entry = entries[file]
        entry["read"] += count
        if day is not None:
            entry["midnights"] = [*map(sum, zip(entry["midnights"], midnights, strict=True))]
            entry["days"].append([day.isoformat(), count, str(int(total) % 2**64)])
    if any(lost for _, _, _, lost, *_ in rows):
        losses = connection.execute(
            f"SELECT file, fault, CASE WHEN fault = 0 THEN mask ELSE 0 END AS mask, client_id, COUNT(*) AS n "
            f"FROM {relation} WHERE fault > 0 OR mask > 0 GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
        ).fetchall()
        for file, *loss in losses:
            entries[file]["losses"].append(loss)
    return entries


def together(
    folder: Path, entries: Entries, parts: Sequence[SourcePart], settings: Settings
) -> Staged:
    days: dict[dt.date, tuple[int, int]] = {}
    for entry in entries.values():
        for text, count, total in entry["days"]:
            day = dt.date.fromisoformat(text)
            rows, sums = days.get(day, (0, 0))
            days[day] = (rows + count, (sums + int(total)) % 2**64)
    last = _last_possible_day(days, settings)
    possible = {day: value for day, value in sorted(days.items()) if last and day <= last}
    beyond = sum(count for day, (count, _) in days.items() if day not in possible)
    by_label = {part.label: part for part in parts}
    return Staged(folder, settings, entries, by_label, possible, beyond, last)


def _last_possible_day(
    days: Mapping[dt.date, tuple[int, int]], settings: Settings
) -> dt.date | None:
    """The last day before a long gap after which only a handful of rows follow."""
    rows = sum(count for count, _ in days.values())
    limit = max(1, math.floor(rows * settings.event_gap_max_share))
    ordered, beyond, last = sorted(days), 0, None
    for earlier, later in zip(reversed(ordered[:-1]), reversed(ordered[1:]), strict=True):
        beyond += days[later][0]
        if beyond > limit:
            break
        if (later - earlier).days > settings.event_gap_days:
            last = earlier
    return last or (ordered[-1] if ordered else None)


def accounted(
    staged: Staged, build: BuildConnection, settings: Settings
) -> tuple[int, list[Issue], list[str]]:
    """Rows read, issues of the rows themselves, and notes."""
    losses = [(label, *loss) for label, entry in staged.entries.items() for loss in entry["losses"]]
    faults = counted((fault, label, client, n) for label, fault, _, client, n in losses if fault)
    masks = counted((mask, label, client, n) for label, _, mask, client, n in losses if mask)
    parts = {label: (part, staged.layout(label)) for label, part in staged.parts.items()}
    issues = rejected_drops({label: entry["rejected"] for label, entry in staged.entries.items()})
    if losses:
        connection = build.reading(staged.source)
        issues += drops_by_reason(connection, EVENTS, settings, faults, parts)
        issues += emptied_by_reason(connection, EVENTS, settings, masks, parts)
    issues += doubts({label: staged.layout(label) for label in staged.parts})
    extra = sorted({name for entry in staged.entries.values() for name in entry["extra"]})
    shown = ", ".join(extra[:20])
    notes = [f"columns that are not in the contract are not read: {shown}"] if extra else []
    midnights = staged.midnights.note("occurred_at", settings)
    notes += [midnights] if midnights else []
    notes += [part.note for part in staged.parts.values() if part.note]
    return sum(entry["read"] for entry in staged.entries.values()), issues, notes
