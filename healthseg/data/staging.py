"""Events as given, read once: clean rows by month of UTC in the store, and what is in each file.

The memo says of each file (by name, size and time of change) how many rows it holds,
why some cannot stand, and an order-free hash for each day of UTC. A file that did
not change is not read again; new files are read together, as one batch.
"""
from __future__ import annotations

import datetime as dt
import shutil
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from healthseg.config import Settings, fingerprint
from healthseg.data.engine import parquet
from healthseg.data.files import require_readable
from healthseg.data.reports import Drop
from healthseg.data.sources import Part, quoted
from healthseg.data.store import Store
from healthseg.data.tables import TABLES
from healthseg.data.validation import Layout, checked, dropped, layout_of

EVENTS = TABLES["events"]
_VALUES = ", ".join(f'"{name}"' for name in (*EVENTS.names, "occurred_has_time"))


@dataclass
class Staged:
    """The parts' entries in the memo, and what follows from all of them together."""

    store: Store
    entries: dict[str, dict[str, Any]]
    parts: dict[str, Part]
    days: dict[dt.date, tuple[int, int]] = field(default_factory=dict)      # rows and hash by UTC day, up to `last`
    beyond: int = 0                                                         # rows after `last`: impossible dates
    last: dt.date | None = None

    def layout(self, label: str) -> Layout:
        entry = self.entries[label]
        return Layout(entry["types"], tuple(entry["extra"]), frozenset(entry["day_only"]))

    def relation(self, months: Sequence[str]) -> str | None:
        """The clean and the refused rows of these months of UTC (``YYYY-MM``), of the files that are still there."""
        batches: dict[str, list[str]] = {}
        for label, entry in self.entries.items():
            batches.setdefault(entry["batch"], []).append(label)
        selects = []
        for batch, labels in sorted(batches.items()):
            folder = self.store.path("staged", batch)
            files = sorted(file for month in months for file in (folder / f"month={month}").glob("*.parquet"))
            if files:
                live = "" if self.entries[labels[0]]["batch_files"] == len(labels) else (
                    " WHERE file IN (" + ", ".join(map(quoted, sorted(labels))) + ")")
                selects.append(f"SELECT * FROM {parquet(files)}{live}")
        return "(" + " UNION ALL ".join(selects) + ")" if selects else None

    @property
    def months(self) -> list[str]:
        return sorted({f"{day:%Y-%m}" for day in self.days})


def _grouped(connection: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> list[tuple[Layout, list[Part]]]:
    """Parts that can be scanned together: the same format and columns."""
    groups: dict[str, tuple[Layout, list[Part]]] = {}
    for part in parts:
        require_readable(part)
        layout = layout_of(connection, EVENTS, part)
        key = fingerprint([part.format, layout.types, sorted(layout.extra), sorted(layout.day_only), part.path is None])
        groups.setdefault(key, (layout, []))[1].append(part)
    return list(groups.values())


def _select(layout: Layout, parts: Sequence[Part], settings: Settings) -> str:
    if parts[0].path is None:
        return checked(EVENTS, layout, parts[0].relation, settings, carried=(f"{quoted(parts[0].label)} AS file",))
    files = "[" + ", ".join(quoted(str(part.path)) for part in parts) + "]"
    scan = (f"read_parquet({files}, filename = true)" if parts[0].format == "parquet"
            else f"read_csv({files}, all_varchar = true, header = true, filename = true)")
    labels = "MAP {" + ", ".join(f"{quoted(str(part.path))}: {quoted(part.label)}" for part in parts) + "}"
    label = f"{labels}[filename] AS file" if len(parts) > 1 else f"{quoted(parts[0].label)} AS file"
    return checked(EVENTS, layout, scan, settings, carried=(label,))


def _stage(connection: duckdb.DuckDBPyConnection, groups: Sequence[tuple[Layout, list[Part]]], settings: Settings,
           folder: Path) -> None:
    selects = " UNION ALL ".join(f"({_select(layout, parts, settings)})" for layout, parts in groups)
    month = "CASE WHEN reason = 0 THEN STRFTIME(occurred_at, '%Y-%m') ELSE 'dropped' END AS month"
    connection.execute(f"COPY (SELECT file, reason, mask, {_VALUES}, {month} FROM ({selects})) TO {quoted(str(folder))} "
                       "(FORMAT PARQUET, PARTITION_BY (month), COMPRESSION LZ4_RAW, OVERWRITE_OR_IGNORE)")


def _entries(connection: duckdb.DuckDBPyConnection, folder: Path, batch: str,
             groups: Sequence[tuple[Layout, list[Part]]]) -> dict[str, dict[str, Any]]:
    """The memo's entry of each part of a batch."""
    entries: dict[str, dict[str, Any]] = {}
    for layout, parts in groups:
        for part in parts:
            entries[part.label] = {
                "token": part.token, "batch": batch, "batch_files": sum(len(files) for _, files in groups),
                "types": layout.types, "extra": list(layout.extra), "day_only": sorted(layout.day_only),
                "read": 0, "reasons": {}, "corrected": {}, "days": []}
    files = sorted(folder.glob("month=*/*.parquet"))
    if not files:
        return entries
    masks = {name: place for place, name in enumerate(EVENTS.names)}
    rows = connection.execute(
        f"SELECT file, reason, CASE WHEN reason = 0 THEN CAST(occurred_at AS DATE) END AS day, mask, COUNT(*), "
        f"SUM(CAST(HASH({_VALUES}) AS HUGEINT)) FROM {parquet(files)} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4").fetchall()
    days: dict[tuple[str, dt.date], list[int]] = {}
    for file, reason, day, mask, count, total in rows:
        entry = entries[file]
        entry["read"] += count
        if reason:
            entry["reasons"][str(reason)] = entry["reasons"].get(str(reason), 0) + count
            continue
        for name, place in masks.items():
            if mask >> place & 1:
                entry["corrected"][name] = entry["corrected"].get(name, 0) + count
        sums = days.setdefault((file, day), [0, 0])
        sums[0] += count
        sums[1] += int(total)
    for (file, day), (count, total) in sorted(days.items()):
        entries[file]["days"].append([day.isoformat(), count, str(total % 2**64)])
    return entries


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


def _together(store: Store, entries: dict[str, dict[str, Any]], parts: Sequence[Part]) -> Staged:
    days: dict[dt.date, tuple[int, int]] = {}
    for entry in entries.values():
        for text, count, total in entry["days"]:
            day = dt.date.fromisoformat(text)
            rows, sums = days.get(day, (0, 0))
            days[day] = (rows + count, (sums + int(total)) % 2**64)
    last = _last_possible_day(days)
    kept = {day: value for day, value in sorted(days.items()) if day <= last} if last else {}
    beyond = sum(count for day, (count, _) in days.items() if day not in kept)
    return Staged(store, entries, {part.label: part for part in parts}, kept, beyond, last)


def stage(store: Store, connection: duckdb.DuckDBPyConnection, parts: Sequence[Part], settings: Settings,
          version: str) -> Staged:
    """All parts of events, staged; only those not in the memo are read. Raises Refused for a part that is no table."""
    memo = store.get_json("staged", f"memo-{version}") or {}
    known = {part.label: memo[part.label] for part in parts
             if part.token is not None and memo.get(part.label, {}).get("token") == part.token
             and store.path("staged", memo[part.label]["batch"]).is_dir()}
    fresh = [part for part in parts if part.label not in known]
    if fresh:
        groups = _grouped(connection, fresh)
        tokens = [part.token for part in fresh]
        batch = uuid.uuid4().hex[:16] if None in tokens else fingerprint([version, *sorted(tokens)])
        folder = store.make_folder(store.path("staged", batch), lambda target: _stage(connection, groups, settings, target))
        known |= _entries(connection, folder, batch, groups)
    if fresh or set(known) != set(memo):
        store.put_json("staged", f"memo-{version}", known)
        _forget(store, {entry["batch"] for entry in known.values()})
    return _together(store, {part.label: known[part.label] for part in parts}, parts)


def _forget(store: Store, batches: set[str]) -> None:
    """Batches that the memo no longer names, a day after they were last written: another process may read them yet."""

    for folder in (store.folder / "staged").glob("*"):
        if folder.is_dir() and folder.name not in batches and folder.stat().st_mtime < time.time() - 86400:
            shutil.rmtree(folder, ignore_errors=True)


def accounted(staged: Staged, connection: duckdb.DuckDBPyConnection, settings: Settings
              ) -> tuple[int, list[Drop], dict[str, int], list[str]]:
    """Rows read, drops by the rows themselves, corrected values, and notes."""
    counts: dict[int, dict[str, int]] = {}
    fixed: dict[str, int] = {}
    for label, entry in staged.entries.items():
        for number, count in entry["reasons"].items():
            counts.setdefault(int(number), {})[label] = count
        for name, count in entry["corrected"].items():
            fixed[name] = fixed.get(name, 0) + count
    found = {label: (part, staged.layout(label)) for label, part in staged.parts.items()}
    drops = dropped(connection, EVENTS, settings, counts, found)
    extra = sorted({name for entry in staged.entries.values() for name in entry["extra"]})
    notes = [f"columns that are not in the contract are not read: {', '.join(extra[:20])}"] if extra else []
    days = sorted({name for entry in staged.entries.values() for name in entry["day_only"]})
    notes += [f"{name} has no time of day in any row and is read as calendar days" for name in days]
    return sum(entry["read"] for entry in staged.entries.values()), drops, fixed, notes


