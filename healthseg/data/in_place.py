"""Events that stay in the engine they lie in: what is in each month, read there, and only where it changed.

One query over all rows counts and hashes each month as it is stored. Months whose count or hash is another than in the
memo are checked row by row, in the engine as well; nothing but counts comes back.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from healthseg.data.engine import BuildConnection
from healthseg.data.engines import SOURCE, Engine
from healthseg.data.facts import month_bounds
from healthseg.data.sources import Refused, SourcePart, quoted
from healthseg.data.staging import (
    EVENTS,
    Entries,
    Group,
    Staged,
    entries_of,
    entry_of,
    together,
)
from healthseg.data.storage import evict, read_json, write_json
from healthseg.data.validation import KINDS, Layout, checked, filled_conditions, usable_columns
from healthseg.settings import Settings
from healthseg.settings.base import fingerprint

# rows without a time, or with an impossible one
_NEVER = "never"
_EARLIEST, _LATEST = dt.date(1990, 1, 1), dt.date(2200, 1, 1)
_TYPED = {
    "timestamp": ("TIMESTAMP", "DATE"),
    "integer": ("BIGINT", "INTEGER", "SMALLINT", "TINYINT", "U", "DOUBLE", "FLOAT", "DECIMAL"),
}
_TYPED["number"] = _TYPED["integer"]


def stage(
    folder: Path,
    build: BuildConnection,
    parts: Sequence[SourcePart],
    settings: Settings,
    version: str,
) -> Staged:
    """The events of an engine; raises Refused for a query whose columns are not those of events."""
    (part,) = parts
    engine = build.reading(part)
    assert isinstance(engine, Engine)
    types, extra = _types(engine, part)
    day = _day_of(types["occurred_at"])
    days, layout = _days(engine, types, extra, day, settings)
    months = {
        name: fingerprint(
            [list(group), layout.types, sorted(layout.day_only), sorted(layout.filled)]
        )
        for name, group in itertools.groupby(days.items(), lambda item: item[0][:7])
    }
    memo_path = folder / f"memo-{version}.json"
    memo: Entries = read_json(memo_path) or {}
    entries = {
        name: memo[name]
        for name, token in months.items()
        if memo.get(name, {}).get("token") == token
    }
    fresh = [name for name in months if name not in entries]
    if fresh:
        of_months = [SourcePart(name, token=months[name]) for name in fresh]
        select = checked(
            EVENTS,
            layout,
            f"(SELECT * FROM {SOURCE}{_within(fresh, months, types['occurred_at'])})",
            settings,
            carried=(f"LEFT({day}, 7) AS file",),
        )
        groups = [Group(layout, of_months, True)]
        entries |= entries_of(engine, f"({select})", None, groups, {}, values="0")
    if set(entries) != set(memo) or fresh:
        write_json(memo_path, entries)
        evict(folder, days=1, keep={memo_path.name})
    merged = _merged([entries[name] for name in months], layout)
    merged["days"] = [
        [day, count, str(days[day][1])]
        for name in months
        for day, count, _ in entries[name]["days"]
    ]
    return together(folder, {part.label: merged}, [part], settings)


def _types(engine: Engine, part: SourcePart) -> tuple[dict[str, str], tuple[str, ...]]:
    """The types of the contract's columns, and the names of others."""
    types, extra = usable_columns(engine.types(), EVENTS, part)
    for column in EVENTS.columns:
        kind = types.get(column.name)
        typed = _TYPED.get(column.kind)
        if kind and typed and not kind.startswith(typed):
            raise Refused(
                f"{part.label}: {column.name} is {kind}, not {KINDS[column.kind]}: cast it in the query, "
                "where the events lie text is not read as numbers or dates"
            )
    return types, extra


def _instant(kind: str) -> str:
    zoned = f"(occurred_at AT TIME ZONE {quoted('UTC')})"
    return zoned if "TIME ZONE" in kind else "CAST(occurred_at AS TIMESTAMP)"


def _between(first: dt.date, end: dt.date, kind: str) -> str:
    """A condition in terms that an index or a partition knows."""
    low, high = (f"CAST({quoted(str(day))} AS {kind})" for day in (first, end))
    return f"(occurred_at >= {low} AND occurred_at < {high})"


def _day_of(kind: str) -> str:
    """The day of UTC as text."""
    day = f"CAST(CAST({_instant(kind)} AS DATE) AS VARCHAR)"
    possible = _between(_EARLIEST, _LATEST, kind)
    return f"CASE WHEN {possible} THEN {day} ELSE {quoted(_NEVER)} END"


def _days(
    engine: Engine, types: dict[str, str], extra: tuple[str, ...], day: str, settings: Settings
) -> tuple[dict[str, tuple[int, int]], Layout]:
    """Rows and hash of each day as they are stored, and how the columns are written."""
    names = ", ".join(f'"{name}"' for name in EVENTS.names if name in types)
    instant = _instant(types["occurred_at"])
    filled = {
        name: condition for name, condition in filled_conditions(settings).items() if name in types
    }
    flags = {"timed": f"{instant} <> DATE_TRUNC('day', {instant})", **filled}
    marks = ", ".join(
        f"MAX(CASE WHEN {condition} THEN 1 ELSE 0 END) AS has_{name}"
        for name, condition in flags.items()
    )
    rows = engine.execute(
        f"SELECT {day} AS day, COUNT(*) AS n, SUM(CAST(HASH({names}) AS HUGEINT)) AS total, {marks} "
        f"FROM {SOURCE} GROUP BY 1 ORDER BY 1"
    ).fetchall()
    has = {name: any(row[position] for row in rows) for position, name in enumerate(flags, start=3)}
    day_only = frozenset() if has.pop("timed") else frozenset({"occurred_at"})
    layout = Layout(
        types,
        extra,
        day_only,
        filled=frozenset(name for name, present in has.items() if present),
    )
    return {name: (n, int(total) % 2**64) for name, n, total, *_ in rows}, layout


def _within(fresh: Sequence[str], months: dict[str, str], kind: str) -> str:
    """A condition that leaves out months that did not change."""
    if len(fresh) == len(months):
        return ""
    conditions = [
        _between(*month_bounds(name), kind)
        if name != _NEVER
        else f"occurred_at IS NULL OR NOT {_between(_EARLIEST, _LATEST, kind)}"
        for name in fresh
    ]
    return " WHERE " + " OR ".join(conditions)


def _merged(entries: Sequence[dict[str, Any]], layout: Layout) -> dict[str, Any]:
    """All months as the one entry of the query."""
    losses: Counter[tuple[Any, ...]] = Counter()
    for entry in entries:
        for *loss, count in entry["losses"]:
            losses[tuple(loss)] += count
    return {
        **entry_of(layout, None, None, 1),
        "read": sum(entry["read"] for entry in entries),
        "losses": [[*loss, count] for loss, count in losses.items()],
        "midnights": [
            sum(counts) for counts in zip(*(entry["midnights"] for entry in entries), strict=True)
        ],
    }
