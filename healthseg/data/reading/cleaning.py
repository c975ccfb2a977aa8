"""From the parts of a table to its clean rows and its accounting, for all tables but events."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd

from healthseg.data.reading.files import require_readable
from healthseg.data.reading.parsing import SQL_TYPES
from healthseg.data.reading.sources import Part, quoted, scan
from healthseg.data.reading.validation import (
    Layout,
    Refused,
    allowed_loss,
    checked,
    corrected,
    dropped,
    example,
    layout_of,
    no_rows,
    numbered,
    rejects,
)
from healthseg.data.reports import Drop, TableReport
from healthseg.data.tables import Table
from healthseg.periods import zone_names, zone_offsets
from healthseg.settings import Settings

UNKNOWN, IDENTICAL, CONFLICT = 201, 202, 203  # reasons that need more than the row itself
ROWS = "rows.parquet"


def clean_columns(table: Table) -> list[str]:
    """The columns of a clean table, in order: the contract's, then each timestamp's day and time mark."""
    marks = [f"{column.stem}_{mark}" for column in table.timestamps for mark in ("day", "has_time")]
    return [*table.names, *marks]


def schema(table: Table) -> str:
    """A relation without rows that has the clean columns and their types."""
    types = {column.name: SQL_TYPES[column.kind] for column in table.columns}
    types |= {f"{column.stem}_day": "DATE" for column in table.timestamps}
    types |= {f"{column.stem}_has_time": "BOOLEAN" for column in table.timestamps}
    return (
        "SELECT "
        + ", ".join(f'CAST(NULL AS {types[name]}) AS "{name}"' for name in clean_columns(table))
        + " WHERE FALSE"
    )


def prepare_zones(connection: duckdb.DuckDBPyConnection) -> None:
    """The zones there are, which validation holds values against."""
    connection.register("zone_frame", pd.DataFrame({"zone": sorted(zone_names())}))
    connection.execute("CREATE TEMP TABLE known_zones AS SELECT zone FROM zone_frame")
    connection.unregister("zone_frame")


def prepare_accounts(connection: duckdb.DuckDBPyConnection, accounts: pd.DataFrame) -> None:
    """The known customers with their zones."""
    connection.register("account_frame", accounts)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE accounts AS SELECT CAST(client_id AS VARCHAR) AS client_id, "
        "CAST(zone AS VARCHAR) AS zone FROM account_frame"
    )
    connection.unregister("account_frame")


def offsets_frame(zones: Sequence[str], start: dt.date, end: dt.date) -> pd.DataFrame:
    """``zone_offsets`` as a frame."""
    rows = zone_offsets(zones, start, end)
    return pd.DataFrame(
        rows, columns=["zone", "from_epoch", "until_epoch", "offset_seconds"]
    ).astype({"from_epoch": "int64", "until_epoch": "int64", "offset_seconds": "int64"})


def _load(
    connection: duckdb.DuckDBPyConnection, table: Table, parts: Sequence[Part], settings: Settings
) -> tuple[dict[str, tuple[Part, Layout]], list[Drop]]:
    """All parts' checked rows in the temporary table ``loaded``; returns their layouts, and lines that are no rows."""
    layouts, lines = {}, {}
    for place, part in enumerate(parts):
        require_readable(part)
        layout = layout_of(connection, table, part)
        select = checked(
            table,
            layout,
            scan([part], rejects="bad_lines"),
            settings,
            row=numbered(part),
            carried=(f"{quoted(part.label)} AS file",),
        )
        connection.execute(
            f"INSERT INTO loaded {select}"
            if place
            else f"CREATE OR REPLACE TEMP TABLE loaded AS {select}"
        )
        lines |= rejects(connection, "bad_lines", [part])
        rejected = tuple(line for line, _ in lines.get(part.label, ()))
        layouts[part.label] = (part, replace(layout, rejected=rejected))
    return layouts, no_rows(lines)


def _identity(table: Table) -> tuple[str, str]:
    """The columns that make rows the same row, and the condition under which identical rows are one."""
    if table.key:
        return ", ".join(f'"{name}"' for name in table.key), "TRUE"
    marks = [f"{column.stem}_has_time" for column in table.timestamps]
    every = ", ".join(f'"{name}"' for name in (*table.names, *marks))
    return every, "TRUE" if table.identical == "state" else f"{table.timestamps[0].stem}_has_time"


def _mark_repeats(connection: duckdb.DuckDBPyConnection, table: Table, settings: Settings) -> None:
    """``judged``: the loaded rows with unknown customers and repeated rows marked as well.

    Of rows with the same key, the one whose values sort last is kept, column by
    column in the contract's order: an order that no file order changes.
    """
    identity, repeats = _identity(table)
    every = ", ".join(f'"{name}"' for name in table.names)
    latest = ", ".join(f'"{name}" DESC NULLS LAST' for name in table.names)
    unknown = "client_id NOT IN (SELECT client_id FROM accounts)" if table.of_customers else "FALSE"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE judged AS
        WITH known AS (
          SELECT * REPLACE (CASE WHEN fault = 0 AND {unknown} THEN {UNKNOWN} ELSE fault END AS fault) FROM loaded
        ), placed AS (
          SELECT *, ROW_NUMBER() OVER (PARTITION BY fault, {identity} ORDER BY {latest}, file, row_number) AS place,
            FIRST_VALUE(HASH({every})) OVER (PARTITION BY fault, {identity} ORDER BY {latest}, file, row_number) AS kept
          FROM known
        )
        SELECT * EXCLUDE (place, kept) REPLACE (
          CASE WHEN fault > 0 OR place = 1 OR NOT ({repeats}) THEN fault
               WHEN HASH({every}) = kept THEN {IDENTICAL} ELSE {CONFLICT} END AS fault)
        FROM placed""")


def _late_drops(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    settings: Settings,
    layouts: dict[str, tuple[Part, Layout]],
) -> list[Drop]:
    key = " and ".join(table.key)
    words = {
        UNKNOWN: "client_id is not in customers",
        IDENTICAL: "identical to another row",
        CONFLICT: f"another row has the same {key} (kept: the one whose values sort last)",
    }
    drops = []
    for fault, text in words.items():
        count, place = connection.execute(
            f"SELECT COUNT(*), MIN((file, row_number)) FROM judged WHERE fault = {fault}"
        ).fetchall()[0]
        if count:
            file, row = place if isinstance(place, tuple) else tuple(place.values())
            column = "client_id" if fault == UNKNOWN or not table.key else table.key[-1]
            value, line = example(
                connection, table, *layouts[file], settings, column, f"row_number = {row}"
            )
            drops.append(Drop(text, count, value, file, line))
    return drops


def _counts(connection: duckdb.DuckDBPyConnection) -> dict[int, dict[str, int]]:
    counts: dict[int, dict[str, int]] = {}
    for reason, file, count in connection.execute(
        "SELECT fault, file, COUNT(*) FROM judged GROUP BY ALL"
    ).fetchall():
        counts.setdefault(reason, {})[file] = count
    return counts


def _localise(connection: duckdb.DuckDBPyConnection, table: Table) -> str:
    """The kept rows with each timestamp's account-local day, in a fixed order."""
    names, joins = [f't."{name}"' for name in table.names], []
    if table.timestamps:
        stamps = [f'"{column.name}"' for column in table.timestamps]
        low, high = connection.execute(
            f"SELECT MIN(LEAST({', '.join(stamps)})), MAX(GREATEST({', '.join(stamps)})) "
            "FROM judged WHERE fault = 0"
        ).fetchall()[0]
        start, end = (low or dt.datetime(2000, 1, 1)).year, (high or dt.datetime(2000, 1, 1)).year
        zones = [
            row[0] for row in connection.execute("SELECT DISTINCT zone FROM accounts").fetchall()
        ] or ["UTC"]
        connection.register(
            "offset_frame", offsets_frame(zones, dt.date(start, 1, 1), dt.date(end + 1, 1, 2))
        )
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE account_offsets AS SELECT a.client_id, o.* FROM accounts AS a "
            "JOIN offset_frame AS o ON o.zone = a.zone"
        )
        connection.unregister("offset_frame")
    for place, column in enumerate(table.timestamps):
        stamp, epoch = f't."{column.name}"', f'EPOCH_MS(t."{column.name}") // 1000'
        joins.append(
            f"LEFT JOIN account_offsets AS o{place} ON o{place}.client_id = t.client_id "
            f"AND {epoch} >= o{place}.from_epoch AND {epoch} < o{place}.until_epoch"
        )
        names += [
            f"CAST(CASE WHEN t.{column.stem}_has_time THEN {stamp} + TO_SECONDS(o{place}.offset_seconds) "
            f"ELSE {stamp} END AS DATE) AS {column.stem}_day",
            f"t.{column.stem}_has_time",
        ]
    order = ", ".join(f'"{name}"' for name in dict.fromkeys((*table.key, *table.names)))
    return f"SELECT {', '.join(names)} FROM judged AS t {' '.join(joins)} WHERE t.fault = 0 ORDER BY {order}"


def _warnings(layouts: dict[str, tuple[Part, Layout]]) -> list[str]:
    found = []
    for label, (_, layout) in layouts.items():
        if layout.extra:
            found.append(
                f"{label}: columns that are not in the contract are not read: {', '.join(layout.extra[:20])}"
            )
        found += [
            f"{label}: {name} has no time of day in any row and is read as calendar days"
            for name in sorted(layout.day_only)
        ]
    return found


def refusal(name: str, parts: Sequence[Part], reason: str) -> TableReport:
    """The report of a table that cannot be used at all."""
    return TableReport(name, files=[part.label for part in parts], refused=True, reason=reason)


def unreadable(part: Part, problem: duckdb.Error) -> str:
    """DuckDB's own reason, in one line."""
    return f"{part.label} cannot be read as a table: {str(problem).splitlines()[0]}"


def clean_table(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    parts: Sequence[Part],
    settings: Settings,
    folder: Path,
) -> TableReport:
    """The accounting of a table, its clean rows written to ``folder``; a refused table leaves no rows."""
    try:
        layouts, lost_lines = _load(connection, table, parts, settings)
        _mark_repeats(connection, table, settings)
        counts = _counts(connection)
        read = sum(sum(by_file.values()) for by_file in counts.values()) + sum(
            drop.count for drop in lost_lines
        )
        kept = sum(counts.get(0, {}).values())
        drops = lost_lines + dropped(connection, table, settings, counts, layouts)
        drops += _late_drops(connection, table, settings, layouts)
        fixed, columns = (
            corrected(table, "judged", connection),
            sorted({n for _, o in layouts.values() for n in o.types}),
        )
        lost = read - kept - sum(counts.get(IDENTICAL, {}).values())
        reason = allowed_loss(read, lost, settings, drops)
        if table.required and not kept and reason is None:
            reason = "it holds no rows"
        warnings = _warnings(layouts) + ([] if read else ["holds a header but no rows"])
    except Refused as problem:
        return refusal(table.name, parts, str(problem))
    except duckdb.Error as problem:
        return refusal(table.name, parts, unreadable(parts[0], problem))
    relation = f"({_localise(connection, table)})" if reason is None else f"({schema(table)})"
    connection.execute(f"COPY {relation} TO {quoted(str(folder / ROWS))} (FORMAT PARQUET)")
    return TableReport(
        table.name,
        read,
        kept,
        fixed,
        drops,
        warnings,
        columns,
        [part.label for part in parts],
        reason is not None,
        reason,
    )
