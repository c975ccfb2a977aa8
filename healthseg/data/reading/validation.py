"""Validation of a table in SQL: each row is kept or dropped for its first failing reason, and counted.

``checked`` is the one reading of a given file: clean typed columns, the number of
the reason for which a row cannot stand (0: it can), and a mask of the optional
values that could not be used. Small tables go on to ``clean_table``; events, which
may be many, to ``staging``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from healthseg.data.reading.parsing import SQL_TYPES, WORDS, fault, parse
from healthseg.data.reading.sources import Part, quoted
from healthseg.data.reports import Drop
from healthseg.data.tables import CLIENT_ID_RULE, Column, Table
from healthseg.errors import hint
from healthseg.settings import Settings


class Refused(Exception):
    """A table that cannot be used, with the reason in words."""


@dataclass(frozen=True)
class Reason:
    """Why a row is dropped: a condition over clean columns, and the column to show an example of."""

    words: str
    condition: str
    column: str


@dataclass(frozen=True)
class Layout:
    """A part's columns as given: the contract's among them, with DuckDB's type."""

    types: dict[str, str]
    extra: tuple[str, ...] = ()
    day_only: frozenset[str] = frozenset()
    rejected: tuple[int, ...] = ()  # the lines of a CSV file that are no rows


def layout_of(connection: duckdb.DuckDBPyConnection, table: Table, part: Part) -> Layout:
    """The columns of a part; raises Refused where a required one is missing or of no usable type."""
    given = {
        name: kind
        for name, kind, *_ in connection.execute(
            f"DESCRIBE SELECT * FROM {part.relation}"
        ).fetchall()
        if name != "file_row_number"
    }
    for name in (column.name for column in table.columns if column.required):
        if name not in given:
            unknown = [other for other in given if other not in table.names]
            raise Refused(
                f"{part.label} has no column {name}{hint(name, unknown)}; its columns are: "
                + ", ".join(list(given)[:20])
            )
    nested = [
        name
        for name in table.names
        if given.get(name, "").endswith(("]", ")")) and "DECIMAL" not in given[name]
    ]
    for name in nested:
        if table.column(name).required:
            raise Refused(
                f"{part.label}: column {name} holds {given[name]}, not {WORDS[table.column(name).kind]}"
            )
    types = {
        name: kind for name, kind in given.items() if name in table.names and name not in nested
    }
    days = {
        name
        for name in types
        if table.column(name).kind == "timestamp"
        and types[name].startswith("TIMESTAMP")
        and "ZONE" not in types[name]
        and _all_midnight(connection, part, name)
    }
    return Layout(types, tuple(name for name in given if name not in types), frozenset(days))


def _all_midnight(connection: duckdb.DuckDBPyConnection, part: Part, name: str) -> bool:
    """A naive timestamp column without any time of day holds calendar days (a daily export, read back by pandas)."""
    query = f'SELECT 1 FROM {part.relation} WHERE "{name}" <> DATE_TRUNC(\'day\', "{name}") LIMIT 1'
    return not connection.execute(query).fetchall()


def reasons(table: Table, settings: Settings) -> list[Reason]:
    """Why rows of the table are dropped, in the order in which they are asked; the first one counts."""
    found = []
    for column in table.columns:
        if not column.required:
            continue
        name = f'"{column.name}"'
        found.append(Reason(f"{column.name} is missing", f"NOT given_{column.name}", column.name))
        if column.kind == "id":
            rule = f"NOT regexp_matches({name}, {quoted(CLIENT_ID_RULE)})"
            found.append(
                Reason(f"{column.name} does not match {CLIENT_ID_RULE}", rule, column.name)
            )
        elif column.kind != "text":
            found.append(
                Reason(f"{column.name} is not {WORDS[column.kind]}", f"{name} IS NULL", column.name)
            )
        if (bad := fault(column, settings)) is not None:
            found.append(Reason(bad[1], bad[0], column.name))
    if table.name == "surveys":
        bad = (
            f"kind = 'nps' AND (score > 10 OR score <> FLOOR(score)) "
            f"OR kind = 'csat' AND (score < 1 OR score > {settings.csat_max})"
        )
        found.append(
            Reason(
                f"score is outside its scale (nps: whole, 0 to 10; csat: 1 to {settings.csat_max})",
                bad,
                "score",
            )
        )
    found += [
        Reason(
            f"{order.later} lies before {order.earlier}",
            _disorder(table, order.earlier, order.later),
            order.later,
        )
        for order in table.orders
        if order.drops_row
    ]
    return found


def _disorder(table: Table, earlier: str, later: str) -> str:
    """Compared as instants where both have a time of day, else as days."""
    if table.column(earlier).kind != "timestamp":
        return f'"{later}" < "{earlier}"'
    both = f"{table.column(earlier).stem}_has_time AND {table.column(later).stem}_has_time"
    return (
        f'(CASE WHEN {both} THEN "{later}" < "{earlier}" '
        f'ELSE CAST("{later}" AS DATE) < CAST("{earlier}" AS DATE) END)'
    )


def _unusable(table: Table, column: Column, settings: Settings) -> str:
    """A condition under which an optional value that was given is emptied."""
    name = f'"{column.name}"'
    conditions = [f"{name} IS NULL"]
    if column.kind == "zone":
        conditions.append(f"{name} NOT IN (SELECT zone FROM known_zones)")
    if (bad := fault(column, settings)) is not None:
        conditions.append(f"({bad[0]})")
    conditions += [
        _disorder(table, order.earlier, order.later)
        for order in table.orders
        if order.later == column.name and not order.drops_row
    ]
    return f"given_{column.name} AND COALESCE({' OR '.join(conditions)}, FALSE)"


def _read(table: Table, layout: Layout, relation: str, row: str, carried: Sequence[str]) -> str:
    """The innermost select: values, whether they were given, times of day."""
    items = [f"{row} AS row_number", *carried]
    for column in table.columns:
        if column.name in layout.types:
            parsed = parse(
                column, layout.types[column.name], day_only=column.name in layout.day_only
            )
            value, given, timed = parsed.value, parsed.given, parsed.has_time
        else:
            value, given, timed = f"CAST(NULL AS {SQL_TYPES[column.kind]})", "FALSE", "FALSE"
        items += [f'{value} AS "{column.name}"', f"{given} AS given_{column.name}"]
        if column.kind == "timestamp":
            items.append(f"COALESCE({timed}, FALSE) AS {column.stem}_has_time")
    return f"SELECT {', '.join(items)} FROM {relation}"


def checked(
    table: Table,
    layout: Layout,
    relation: str,
    settings: Settings,
    *,
    row: str = "0",
    carried: Sequence[str] = (),
) -> str:
    """The select of a part's rows: ``row_number``, ``fault``, ``mask``, the clean columns and times of day."""
    cases = " ".join(
        f"WHEN {reason.condition} THEN {number}"
        for number, reason in enumerate(reasons(table, settings), start=1)
    )
    given = [
        column
        for column in table.columns
        if not column.required
        and column.name in layout.types
        and (column.kind != "text" or column.allowed)
    ]
    unusable = {column.name: _unusable(table, column, settings) for column in given}
    mask = (
        " + ".join(
            f"CASE WHEN {condition} THEN {1 << table.names.index(name)} ELSE 0 END"
            for name, condition in unusable.items()
        )
        or "0"
    )
    items = [
        "row_number",
        *(name.split(" AS ")[-1] for name in carried),
        f"CAST(CASE {cases} ELSE 0 END AS UTINYINT) AS fault",
        f"CAST({mask} AS INTEGER) AS mask",
    ]
    for column in table.columns:
        emptied = unusable.get(column.name)
        items.append(
            f'CASE WHEN {emptied} THEN NULL ELSE "{column.name}" END AS "{column.name}"'
            if emptied
            else f'"{column.name}"'
        )
        if column.kind == "timestamp":
            items.append(f"{column.stem}_has_time")
    return f"SELECT {', '.join(items)} FROM ({_read(table, layout, relation, row, carried)})"


def numbered(part: Part) -> str:
    """The expression for a row's number in its file, from 1."""
    return "file_row_number + 1" if part.format == "parquet" else "ROW_NUMBER() OVER ()"


def line_of(part: Part, layout: Layout, row: int) -> int | None:
    """The line for a reader: of a CSV file with its header as line 1, of a Parquet file the row."""
    if part.format != "csv":
        return row if part.format == "parquet" else None
    line = row + 1
    for rejected in layout.rejected:
        line += rejected <= line
    return line


def rejects(
    connection: duckdb.DuckDBPyConnection, table: str, parts: Sequence[Part]
) -> dict[str, list[tuple[int, str]]]:
    """The lines that are no rows, by part, after a scan that kept them in ``table``; the table is removed."""
    labels = {str(part.path): part.label for part in parts}
    found: dict[str, list[tuple[int, str]]] = {}
    if parts[0].format == "csv":
        rows = connection.execute(
            f"SELECT file_path, line, MIN(csv_line) FROM {table} JOIN {table}_scan "
            "USING (scan_id, file_id) GROUP BY 1, 2 ORDER BY 1, 2"
        ).fetchall()
        for path, line, text in rows:
            found.setdefault(labels[path], []).append(
                (line, text.strip().splitlines()[0][:200] if text.strip() else "")
            )
        connection.execute(f"DROP TABLE {table}")
        connection.execute(f"DROP TABLE {table}_scan")
    return found


def no_rows(lines: dict[str, list[tuple[int, str]]]) -> list[Drop]:
    """The drop for lines that are no rows of their CSV file."""
    lines = {label: found for label, found in lines.items() if found}
    if not lines:
        return []
    label = min(lines)
    line, text = lines[label][0]
    return [
        Drop(
            "the line does not have the header's columns",
            sum(map(len, lines.values())),
            text,
            label,
            line,
        )
    ]


def example(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    part: Part,
    layout: Layout,
    settings: Settings,
    column: str,
    condition: str,
) -> tuple[str | None, int | None]:
    """The first value of ``column`` in a part for which ``condition`` holds over the checked rows, and its line."""
    if column not in layout.types:
        return None, None
    raw = f'CAST("{column}" AS VARCHAR) AS given_text'
    select = checked(table, layout, part.relation, settings, row=numbered(part), carried=(raw,))
    found = connection.execute(
        f"SELECT given_text, row_number FROM ({select}) WHERE {condition} "
        "ORDER BY row_number LIMIT 1"
    ).fetchall()
    return (found[0][0], line_of(part, layout, found[0][1])) if found else (None, None)


def dropped(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    settings: Settings,
    counts: dict[int, dict[str, int]],
    parts: dict[str, tuple[Part, Layout]],
) -> list[Drop]:
    """The drops from counts by reason number and part label, each with its first example."""
    drops = []
    for number, reason in enumerate(reasons(table, settings), start=1):
        by_part = counts.get(number, {})
        if not by_part:
            continue
        label = min(by_part)
        value, line = example(
            connection, table, *parts[label], settings, reason.column, f"fault = {number}"
        )
        drops.append(Drop(reason.words, sum(by_part.values()), value, label, line))
    return drops


def corrected(table: Table, relation: str, connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How many values of each optional column were emptied in the kept rows of a checked relation."""
    masks = connection.execute(
        f"SELECT mask, COUNT(*) FROM {relation} WHERE mask > 0 AND fault = 0 GROUP BY 1"
    ).fetchall()
    counts = {
        name: sum(n for mask, n in masks if mask >> place & 1)
        for place, name in enumerate(table.names)
    }
    return {name: count for name, count in counts.items() if count}


def allowed_loss(read: int, lost: int, settings: Settings, drops: Sequence[Drop]) -> str | None:
    """Why the table is refused for its losses, or None. Identical rows are no loss."""
    if not read or lost <= settings.max_loss_share * read:
        return None
    worst = max(drops, key=lambda drop: drop.count)
    return (
        f"{lost:,} of {read:,} rows cannot be used ({lost / read:.1%}; at most {settings.max_loss_share:.0%} may be "
        f"lost, setting max_loss_share), most of them because {worst.reason}"
    )
