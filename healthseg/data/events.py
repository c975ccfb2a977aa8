"""The events of a portfolio: staged, counted by month, and accounted for row by row.

Events of an engine stay there: one query over all rows counts and hashes each month as it is stored. Months whose count or
hash is another than in the memo are checked row by row, in the engine as well; nothing but counts comes back.
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from healthseg.data import facts, staging
from healthseg.data.accounting import example
from healthseg.data.engine import BuildConnection, Executes, create_offsets, fetch
from healthseg.data.engines import SOURCE, Engine
from healthseg.data.extent import ActiveDay, Extent, event_sums, extent
from healthseg.data.facts import month_bounds
from healthseg.data.feature_names import respelt
from healthseg.data.losses import Issue, IssueKind, TableReport, refused_for_losses
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
from healthseg.data.validation import (
    KINDS,
    SQL_TYPES,
    Layout,
    checked,
    filled_conditions,
    usable_columns,
)
from healthseg.settings import Settings
from healthseg.settings.base import fingerprint

# reason, kind, count, a part and column with an example, and the example's condition
_Loss = tuple[str, IssueKind, int, str, str, str]


@dataclass(frozen=True)
class Events:
    """What the files hold, and the months of facts that were counted from them."""

    staged: Staged
    months: dict[str, facts.Month]

    @classmethod
    def build(
        cls,
        folder: Path,
        connection: BuildConnection,
        parts: Sequence[SourcePart],
        accounts: pd.DataFrame,
        excluded: pd.DataFrame,
        settings: Settings,
        version: str,
    ) -> Events:
        """Reads the files that are new, counts the months that changed; raises Refused for what is no table."""
        stage = stage_in_place if parts[0].engine else staging.stage
        staged = stage(folder / "tables" / "events", connection, parts, settings, version)
        zones = dict(accounts.itertuples(index=False, name=None))
        months = facts.build(
            folder / "facts", connection, staged, zones, excluded, settings, version
        )
        return cls(staged, months)

    @functools.cached_property
    def extent(self) -> Extent:
        """The days that the events cover, without tracking gaps."""
        days = {
            dt.date.fromisoformat(day): ActiveDay(rows, customers, hour)
            for month in self.months.values()
            for day, rows, customers, _, hour in month.record["active"]
        }
        first = min(day for day in event_sums(self.months) if day is not None)
        return extent(days, first, self.staged.settings)

    @property
    def has_empty_days(self) -> bool:
        """Whether nobody has an event on some day between the ends: what a tracking gap would look like."""
        first, last = self.extent.first_day, self.extent.last_active_day
        active = sum(
            persons > 0 and first <= dt.date.fromisoformat(day) <= last
            for month in self.months.values()
            for day, _, _, persons, _ in month.record["active"]
        )
        return 0 < active <= (last - first).days

    def report(
        self, build: BuildConnection, settings: Settings, dropped: Container[str] = ()
    ) -> TableReport:
        """The accounting of all rows of all files; ``dropped`` are the customers whose row in customers cannot be used."""
        read, issues, notes = staging.accounted(self.staged, build, settings)
        for reason, kind, count, label, column, condition in (
            *self._beyond(),
            *self._unknown(),
            *self._repeated(),
        ):
            part, layout = self.staged.parts[label], self.staged.layout(label)
            shown = example(build.reading(part), EVENTS, part, layout, settings, column, condition)
            issues.append(
                Issue(
                    reason,
                    count,
                    shown.value,
                    label,
                    shown.line,
                    kind,
                    column,
                    client=shown.client,
                )
            )
        remaining = read - sum(issue.count for issue in issues if issue.rows)
        if event_sums(self.months):
            issues += [
                Issue(reason, rows, kind="note", column="occurred_at", rows=False)
                for rows, reason in self.extent.beyond
            ]
        entries = self.staged.entries
        report = TableReport(
            "events",
            read,
            remaining,
            issues,
            notes,
            sorted({name for entry in entries.values() for name in entry["types"]}),
            list(entries),
            client_rows=self._client_rows(issues),
        )
        empty = None if event_sums(self.months) else "it holds no rows that can be counted"
        return refused_for_losses(report, settings, empty, self._unlisted, dropped)

    def _client_rows(self, issues: Sequence[Issue]) -> dict[str, int]:
        """The rows read of each customer that an issue concerns."""
        rows: dict[str, int] = {}
        for issue in issues:
            for client, count in issue.clients.items() if issue.rows else ():
                rows[client] = rows.get(client, 0) + count
        concerned = {client for issue in issues for client in issue.clients}
        for month in self.months.values() if concerned else ():
            for client, count in month.record["rows"].items():
                if client in concerned:
                    rows[client] = rows.get(client, 0) + count
        return rows

    # Drops that depend on more than the row

    def _beyond(self) -> Iterator[_Loss]:
        last = self.staged.last
        if not self.staged.beyond or last is None:
            return
        label = min(
            label
            for label, entry in self.staged.entries.items()
            if any(day > str(last) for day, *_ in entry["days"])
        )
        days = self.staged.settings.event_gap_days
        reason = f"occurred_at lies more than {days} days after the portfolio's other events"
        condition = f"fault = 0 AND occurred_at >= DATE '{last + facts.DAY}'"
        yield reason, "dropped", self.staged.beyond, label, "occurred_at", condition

    @property
    def _unlisted(self) -> dict[str, int]:
        """The rows of each customer that is not in customers."""
        rows: dict[str, int] = {}
        for month in self.months.values():
            for client, (count, _) in month.record["unknown"].items():
                rows[client] = rows.get(client, 0) + count
        return rows

    def _unknown(self) -> Iterator[_Loss]:
        rows = [
            (client, count, label)
            for month in self.months.values()
            for client, (count, label) in month.record["unknown"].items()
        ]
        if rows:
            client, _, label = min(rows)
            total = sum(count for _, count, _ in rows)
            condition = f"client_id = {quoted(client)}"
            yield "client_id is not in customers", "dropped", total, label, "client_id", condition

    def _repeated(self) -> Iterator[_Loss]:
        records = [month.record for month in self.months.values() if month.record["repeats"]]
        if not records:
            return
        client, instant = records[0]["repeat"]
        label = min(
            label
            for label, entry in self.staged.entries.items()
            if instant[:10] in {day for day, *_ in entry["days"]}
        )
        reason = "identical to another row of the same instant, or to a row of another file"
        total = sum(record["repeats"] for record in records)
        condition = f"client_id = {quoted(client)} AND occurred_at = TIMESTAMP {quoted(instant)}"
        yield reason, "repeated", total, label, "occurred_at", condition

    @functools.cached_property
    def features_seen(self) -> dict[str, str]:
        """The first day of each spelling of a feature that persons used."""
        seen: dict[str, str] = {}
        for month in self.months.values():
            for name, day in month.record.get("features", {}).items():
                seen[name] = min(day, seen.get(name, day))
        return seen

    @property
    def in_engine(self) -> bool:
        """Whether the events stay in an engine: DuckDB has their facts alone."""
        return self.staged.source.engine is not None

    def create_views(self, connection: duckdb.DuckDBPyConnection, respell: bool) -> None:
        """The views of the kept events and of each fact; the connection holds ``accounts``, and ``feature_spellings``
        where names of features are to be ``respell``-ed."""
        if not self.in_engine:
            connection.execute(
                "CREATE TYPE client_word AS ENUM (SELECT client_id FROM accounts ORDER BY 1)"
            )
            select = self._select(connection, "client_word")
            select = respelt(select, "events") if respell else select
            connection.execute(f"CREATE VIEW events AS {select}")
        for name, select in facts.views(self.months).items():
            if respell and name in ("feature_day", "feature_life"):
                select = respelt(select, name)
            connection.execute(f"CREATE VIEW {name} AS {select}")

    def fetch(
        self, build: BuildConnection, connection: duckdb.DuckDBPyConnection, client_id: str | None
    ) -> None:
        """The table ``events`` in DuckDB with the kept events, or those of one customer, out of the engine they lie in."""
        engine = build.reading(self.staged.source)
        assert isinstance(engine, Engine)
        select = self._select(engine, "VARCHAR")
        if client_id is not None:
            select += f" WHERE e.client_id = {quoted(client_id)}"
        types = {column.name: SQL_TYPES[column.kind] for column in EVENTS.columns}
        types |= {"occurred_day": "DATE", "occurred_has_time": "BOOLEAN"}
        fields = ", ".join(f'"{name}" {kind}' for name, kind in types.items())
        fetch(engine, select, connection, "events", fields)

    def _select(self, engine: Executes, id_type: str) -> str:
        first, last = min(self.staged.days), self.staged.last or max(self.staged.days)
        create_offsets(engine, first, last + facts.DAY, id_type)
        repeats = any(month.record["repeats"] for month in self.months.values())
        return facts.events_select(self.staged, repeats)


# -- events that stay in their engine --------------------------------------------------------------


# rows without a time, or with an impossible one
_NEVER = "never"
_EARLIEST, _LATEST = dt.date(1990, 1, 1), dt.date(2200, 1, 1)
_TYPED = {
    "timestamp": ("TIMESTAMP", "DATE"),
    "integer": ("BIGINT", "INTEGER", "SMALLINT", "TINYINT", "U", "DOUBLE", "FLOAT", "DECIMAL"),
}
_TYPED["number"] = _TYPED["integer"]


def stage_in_place(
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
