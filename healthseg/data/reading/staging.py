"""Events as given, read once: clean rows by month of UTC in the store, and what is in each file.

The memo says of each file (by name, size and time of change) how many rows it holds,
why some cannot stand, and an order-free hash for each day of UTC. A file that did
not change is not read again; new files are read together, as one batch.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from healthseg.data.engine import parquet
from healthseg.data.reading.files import require_readable
from healthseg.data.reading.sources import Part, quoted, scan
from healthseg.data.reading.validation import Layout, checked, dropped, layout_of, no_rows, rejects
from healthseg.data.reports import Drop
from healthseg.data.store import Store
from healthseg.data.tables import TABLES
from healthseg.data.workbench import Workbench
from healthseg.errors import DataRetrievalError
from healthseg.settings import Settings, fingerprint

EVENTS = TABLES["events"]
_LINES = "lines.json"
_MAX_SPAN_DAYS = 60  # a row group that spans more would be read for too many months
_VALUES = ", ".join(f'"{name}"' for name in (*EVENTS.names, "occurred_has_time"))


@dataclass
class Group:
    """Parts of one layout, read where they lie (``direct``) or staged by month first."""

    layout: Layout
    parts: list[Part]
    direct: bool


@dataclass
class Staged:
    """The parts' entries in the memo, and what follows from all of them together."""

    store: Store
    settings: Settings
    entries: dict[str, dict[str, Any]]
    parts: dict[str, Part]
    days: dict[dt.date, tuple[int, int]] = field(
        default_factory=dict
    )  # rows and hash by UTC day, up to `last`
    beyond: int = 0  # rows after `last`: impossible dates
    last: dt.date | None = None

    def layout(self, label: str) -> Layout:
        entry = self.entries[label]
        return Layout(
            entry["types"],
            tuple(entry["extra"]),
            frozenset(entry["day_only"]),
            tuple(line for line, _ in entry["rejected"]),
        )

    def relation(self, start: dt.date, end: dt.date) -> str | None:
        """All files' checked rows of the UTC days ``[start, end)``, up to the last possible day; None without any."""
        end = min(end, self.last + dt.timedelta(days=1))
        selects = [*self._staged_selects(start, end), *self._direct_selects(start, end)]
        return "(" + " UNION ALL ".join(selects) + ")" if selects else None

    def _staged_selects(self, start: dt.date, end: dt.date) -> list[str]:
        batches: dict[str, list[str]] = {}
        for label, entry in self.entries.items():
            if entry["batch"]:
                batches.setdefault(entry["batch"], []).append(label)
        months = sorted(
            {f"{start + dt.timedelta(days=k):%Y-%m}" for k in range((end - start).days)}
        )
        selects = []
        for batch, labels in sorted(batches.items()):
            folder = self.store.path("staged", batch)
            files = sorted(
                file for month in months for file in (folder / f"month={month}").glob("*.parquet")
            )
            if files:
                live = (
                    ""
                    if self.entries[labels[0]]["batch_files"] == len(labels)
                    else (" AND file IN (" + ", ".join(map(quoted, sorted(labels))) + ")")
                )
                selects.append(
                    f"SELECT file, fault, {_VALUES} FROM {parquet(files)} WHERE occurred_at >= DATE '{start}' "
                    f"AND occurred_at < DATE '{end}'{live}"
                )
        return selects

    def _direct_selects(self, start: dt.date, end: dt.date) -> list[str]:
        groups: dict[str, tuple[Layout, list[Part]]] = {}
        for label, entry in self.entries.items():
            days = [row[0] for row in entry["days"]]
            if (
                not entry["batch"]
                and days
                and days[0] < end.isoformat()
                and days[-1] >= start.isoformat()
            ):
                layout = self.layout(label)
                groups.setdefault(_layout_key(layout, self.parts[label]), (layout, []))[1].append(
                    self.parts[label]
                )
        return [
            f"SELECT file, fault, {_VALUES} FROM ({_select(layout, parts, self.settings, days=(start, end))}) "
            f"WHERE occurred_at >= DATE '{start}' AND occurred_at < DATE '{end}'"
            for layout, parts in groups.values()
        ]

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


def _layout_key(layout: Layout, part: Part) -> str:
    return fingerprint(
        [part.format, part.shape, layout.types, sorted(layout.extra), sorted(layout.day_only)]
    )


def _grouped(connection: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> list[Group]:
    """Parts that can be scanned together: the same format, columns and way of reading."""
    groups: dict[tuple[str, bool], Group] = {}
    for part in parts:
        require_readable(part)
        layout = layout_of(connection, EVENTS, part)
        direct = _by_time(connection, part, layout)
        groups.setdefault(
            (_layout_key(layout, part), direct), Group(layout, [], direct)
        ).parts.append(part)
    return list(groups.values())


def _by_time(connection: duckdb.DuckDBPyConnection, part: Part, layout: Layout) -> bool:
    """Whether a month of a Parquet file can be read without reading most of the rest: its row groups follow time."""
    if part.format != "parquet" or not layout.types["occurred_at"].startswith(
        ("TIMESTAMP", "DATE")
    ):
        return False
    groups = connection.execute(
        "SELECT row_group_num_rows, LEFT(COALESCE(stats_min_value, stats_min), 10), LEFT(COALESCE(stats_max_value, "
        f"stats_max), 10) FROM parquet_metadata({quoted(str(part.path))}) WHERE path_in_schema = 'occurred_at'"
    ).fetchall()
    try:
        spans = [
            (rows, (dt.date.fromisoformat(high) - dt.date.fromisoformat(low)).days)
            for rows, low, high in groups
        ]
    except (TypeError, ValueError):
        return False
    return sum(rows * days for rows, days in spans) <= _MAX_SPAN_DAYS * sum(
        rows for rows, _ in spans
    )


def _select(
    layout: Layout,
    parts: Sequence[Part],
    settings: Settings,
    *,
    days: tuple[dt.date, dt.date] | None = None,
    rejects: str | None = None,
) -> str:
    """The checked rows of parts of one layout; ``days`` lets Parquet row groups outside of them be passed over."""
    if parts[0].path is None:
        return checked(
            EVENTS, layout, scan(parts), settings, carried=(f"{quoted(parts[0].label)} AS file",)
        )
    relation = scan(parts, filename=True, rejects=rejects)
    if days is not None:
        low, high = (f"CAST({quoted(str(day))} AS {layout.types['occurred_at']})" for day in days)
        relation = f"(SELECT * FROM {relation} WHERE occurred_at >= {low} AND occurred_at < {high})"
    labels = (
        "MAP {"
        + ", ".join(f"{quoted(str(part.path))}: {quoted(part.label)}" for part in parts)
        + "}"
    )
    label = f"{labels}[filename] AS file" if len(parts) > 1 else f"{quoted(parts[0].label)} AS file"
    return checked(EVENTS, layout, relation, settings, carried=(label,))


def _stage(
    connection: duckdb.DuckDBPyConnection, groups: Sequence[Group], settings: Settings, folder: Path
) -> None:
    """Writes the checked rows by month of UTC, and the lines that are no rows."""
    selects = " UNION ALL ".join(
        f"({_select(group.layout, group.parts, settings, rejects=f'bad_lines_{place}')})"
        for place, group in enumerate(groups)
    )
    month = "CASE WHEN fault = 0 THEN STRFTIME(occurred_at, '%Y-%m') ELSE 'dropped' END AS month"
    connection.execute("SET preserve_insertion_order = false")  # bounds the memory of a large file
    connection.execute(
        f"COPY (SELECT file, fault, mask, {_VALUES}, {month} FROM ({selects})) TO {quoted(str(folder))} "
        "(FORMAT PARQUET, PARTITION_BY (month), COMPRESSION LZ4_RAW, OVERWRITE_OR_IGNORE)"
    )
    connection.execute("SET preserve_insertion_order = true")
    lines: dict[str, list[tuple[int, str]]] = {}
    for place, group in enumerate(groups):
        lines |= rejects(connection, f"bad_lines_{place}", group.parts)
    (folder / _LINES).write_text(json.dumps(lines), encoding="utf-8")


def _entries(
    connection: duckdb.DuckDBPyConnection,
    relation: str | None,
    batch: str | None,
    groups: Sequence[Group],
    lines: Mapping[str, list[tuple[int, str]]],
) -> dict[str, dict[str, Any]]:
    """The memo's entry of each part, from the checked rows of them all."""
    size = sum(len(group.parts) for group in groups)
    entries = {
        part.label: {
            "token": part.token,
            "batch": batch,
            "batch_files": size,
            "types": group.layout.types,
            "extra": list(group.layout.extra),
            "day_only": sorted(group.layout.day_only),
            "rejected": lines.get(part.label, []),
            "read": len(lines.get(part.label, [])),
            "faults": {},
            "corrected": {},
            "days": [],
        }
        for group in groups
        for part in group.parts
    }
    if relation is None:
        return entries
    rows = connection.execute(
        f"SELECT file, fault, CASE WHEN fault = 0 THEN CAST(occurred_at AS DATE) END AS day, mask, COUNT(*), "
        f"SUM(CAST(HASH({_VALUES}) AS HUGEINT)) FROM {relation} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
    ).fetchall()
    days: dict[tuple[str, dt.date], list[int]] = {}
    for file, fault, day, mask, count, total in rows:
        entry = entries[file]
        entry["read"] += count
        if fault:
            entry["faults"][str(fault)] = entry["faults"].get(str(fault), 0) + count
            continue
        for place, name in enumerate(EVENTS.names):
            if mask >> place & 1:
                entry["corrected"][name] = entry["corrected"].get(name, 0) + count
        sums = days.setdefault((file, day), [0, 0])
        sums[0] += count
        sums[1] += int(total)
    for (file, day), (count, total) in sorted(days.items()):
        entries[file]["days"].append([day.isoformat(), count, str(total % 2**64)])
    return entries


def _read_direct(
    connection: duckdb.DuckDBPyConnection, groups: Sequence[Group], settings: Settings
) -> dict[str, Any]:
    selects = " UNION ALL ".join(
        f"({_select(group.layout, group.parts, settings)})" for group in groups
    )
    return _entries(connection, f"({selects})", None, groups, {})


def _read_staged(
    store: Store,
    connection: duckdb.DuckDBPyConnection,
    groups: Sequence[Group],
    settings: Settings,
    version: str,
) -> dict[str, Any]:
    tokens = [part.token for group in groups for part in group.parts]
    batch = uuid.uuid4().hex[:16] if None in tokens else fingerprint([version, *sorted(tokens)])
    folder = store.make_folder(
        store.path("staged", batch), lambda target: _stage(connection, groups, settings, target)
    )
    files = sorted(folder.glob("month=*/*.parquet"))
    return _entries(
        connection,
        parquet(files) if files else None,
        batch,
        groups,
        json.loads((folder / _LINES).read_text(encoding="utf-8")),
    )


def _last_possible_day(days: dict[dt.date, tuple[int, int]]) -> dt.date | None:
    """The last day before a gap of more than 30 days that only a handful of rows lie beyond."""
    limit = max(1, sum(count for count, _ in days.values()) // 1000)
    ordered, beyond, last = sorted(days), 0, None
    for earlier, later in zip(reversed(ordered[:-1]), reversed(ordered[1:]), strict=True):
        beyond += days[later][0]
        if beyond > limit:
            break
        if (later - earlier).days > 30:
            last = earlier
    return last or (ordered[-1] if ordered else None)


def _together(
    store: Store, entries: dict[str, dict[str, Any]], parts: Sequence[Part], settings: Settings
) -> Staged:
    days: dict[dt.date, tuple[int, int]] = {}
    for entry in entries.values():
        for text, count, total in entry["days"]:
            day = dt.date.fromisoformat(text)
            rows, sums = days.get(day, (0, 0))
            days[day] = (rows + count, (sums + int(total)) % 2**64)
    last = _last_possible_day(days)
    kept = {day: value for day, value in sorted(days.items()) if day <= last} if last else {}
    beyond = sum(count for day, (count, _) in days.items() if day not in kept)
    return Staged(
        store, settings, entries, {part.label: part for part in parts}, kept, beyond, last
    )


def stage(
    store: Store, bench: Workbench, parts: Sequence[Part], settings: Settings, version: str
) -> Staged:
    """All parts of events, staged; only those not in the memo are read. Raises Refused for a part that is no table."""
    memo = store.get_json("staged", f"memo-{version}") or {}
    known = {
        part.label: memo[part.label]
        for part in parts
        if part.token is not None
        and memo.get(part.label, {}).get("token") == part.token
        and (
            not memo[part.label]["batch"]
            or store.path("staged", memo[part.label]["batch"]).is_dir()
        )
    }
    fresh = [part for part in parts if part.label not in known]
    groups = _grouped(bench.connection, fresh) if fresh else []
    if direct := [group for group in groups if group.direct]:
        known |= _read_direct(bench.connection, direct, settings)
    if staged := [group for group in groups if not group.direct]:
        known |= _read_staged(store, bench.connection, staged, settings, version)
    if fresh or set(known) != set(memo):
        store.put_json("staged", f"memo-{version}", known)
        store.evict(
            "staged",
            days=1,
            keep={f"memo-{version}.json", *(entry["batch"] or "" for entry in known.values())},
        )
    return _together(store, {part.label: known[part.label] for part in parts}, parts, settings)


def accounted(
    staged: Staged, bench: Workbench, settings: Settings
) -> tuple[int, list[Drop], dict[str, int], list[str]]:
    """Rows read, drops by the rows themselves, corrected values, and notes."""
    counts: dict[int, dict[str, int]] = {}
    fixed: dict[str, int] = {}
    for label, entry in staged.entries.items():
        for number, count in entry["faults"].items():
            counts.setdefault(int(number), {})[label] = count
        for name, count in entry["corrected"].items():
            fixed[name] = fixed.get(name, 0) + count
    found = {label: (part, staged.layout(label)) for label, part in staged.parts.items()}
    drops = no_rows({label: entry["rejected"] for label, entry in staged.entries.items()})
    drops += dropped(bench.connection, EVENTS, settings, counts, found) if counts else []
    extra = sorted({name for entry in staged.entries.values() for name in entry["extra"]})
    notes = (
        [f"columns that are not in the contract are not read: {', '.join(extra[:20])}"]
        if extra
        else []
    )
    days = sorted({name for entry in staged.entries.values() for name in entry["day_only"]})
    notes += [f"{name} has no time of day in any row and is read as calendar days" for name in days]
    return sum(entry["read"] for entry in staged.entries.values()), drops, fixed, notes
