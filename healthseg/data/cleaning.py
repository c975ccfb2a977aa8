"""From the parts of a table to its clean rows and its accounting, for all tables but events; and how they are read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Container, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd

from healthseg.data.accounting import (
    Counts,
    Rejected,
    counted,
    doubts,
    drops_by_reason,
    emptied_by_reason,
    example,
    rejected_drops,
    take_rejects,
)
from healthseg.data.copies import plain_words
from healthseg.data.engine import create_offsets
from healthseg.data.losses import Issue, IssueKind, TableReport, refusal, refused_for_losses
from healthseg.data.ratings import scale_note, with_scale
from healthseg.data.reading import number_of, number_reading
from healthseg.data.sources import Refused, SourcePart, not_now, quoted, scan
from healthseg.data.tables import Column, TableContract
from healthseg.data.validation import SQL_TYPES, Layout, checked, layout_of, line_of, numbered
from healthseg.errors import machine_fault
from healthseg.settings.data import UNCLEAR, DataSettings

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = "rows.parquet"
# reasons that depend on other rows than the row itself
UNKNOWN, IDENTICAL, CONFLICT, EARLIER = 201, 202, 203, 204
Layouts = dict[str, tuple[SourcePart, Layout]]


def clean_columns(table: TableContract) -> list[str]:
    """The columns of a clean table, in order: the contract's, then each timestamp's day and time mark."""
    marks = [f"{column.stem}_{mark}" for column in table.timestamps for mark in ("day", "has_time")]
    return [*table.names, *marks]


def empty_select(table: TableContract) -> str:
    """A relation without rows that has the clean columns and their types."""
    types = {column.name: SQL_TYPES[column.kind] for column in table.columns}
    for column in table.timestamps:
        types |= {f"{column.stem}_day": "DATE", f"{column.stem}_has_time": "BOOLEAN"}
    columns = [f'CAST(NULL AS {types[name]}) AS "{name}"' for name in clean_columns(table)]
    return f"SELECT {', '.join(columns)} WHERE FALSE"


def clean_table(
    connection: duckdb.DuckDBPyConnection,
    table: TableContract,
    parts: Sequence[SourcePart],
    settings: DataSettings,
    folder: Path,
    dropped: Container[str] = (),
) -> TableReport:
    """The accounting of a table, its clean rows written to ``folder``; a refused table leaves no rows.

    ``dropped`` are the customers whose row in customers cannot be used.
    """
    try:
        layouts, rejected = _load(connection, table, parts, settings)
        settings = with_scale(connection, table, settings)
        notes = [*scale_note(table, settings), *_decide_midnights(connection, table, settings)]
        if table.name == "customer_changes":
            notes += _read_amounts(connection, table, settings)
        if table.statement:
            connection.execute(
                "UPDATE loaded SET recorded_at = updated_at, recorded_has_time = updated_has_time "
                "WHERE recorded_at IS NULL AND updated_at IS NOT NULL"
            )
        _mark_repeats(connection, table)
        report = _account(connection, table, layouts, rejected, settings, dropped)
        report = replace(report, warnings=[*report.warnings, *notes])
    except Refused as problem:
        return refusal(table.name, [part.label for part in parts], str(problem))
    except duckdb.Error as problem:
        return unreadable(table.name, parts, problem)
    rows = empty_select(table) if report.refused else _localise(connection, table)
    connection.execute(f"COPY ({rows}) TO {quoted(str(folder / ROWS))} (FORMAT PARQUET)")
    return report


def unreadable(name: str, parts: Sequence[SourcePart], problem: duckdb.Error) -> TableReport:
    """The report of a table that DuckDB cannot read, with its reason in one line.

    Raises DataRetrievalError where the cause may pass: the machine, not the file.
    """
    if isinstance(problem, duckdb.InterruptException):
        raise problem
    words = plain_words(problem, parts)
    passing = isinstance(problem, (duckdb.IOException, duckdb.OutOfMemoryException))
    if machine_fault(problem) or (passing and not words.startswith("No files found")):
        raise not_now(f"table {name}", words)
    reason = f"{parts[0].label} cannot be read as a table: {words}"
    return refusal(name, [part.label for part in parts], reason)


# what a report calls the row of its sums
_TOTAL = "(grand |sub|sub-)?totals?:?|sum|gesamt|summe|gesamtsumme|total general|total général"


def _load(
    connection: duckdb.DuckDBPyConnection,
    table: TableContract,
    parts: Sequence[SourcePart],
    settings: DataSettings,
) -> tuple[Layouts, Rejected]:
    """All parts' checked rows in the temporary table ``loaded``; returns their layouts and rejected lines."""
    layouts: Layouts = {}
    rejected: Rejected = {}
    for part in parts:
        layout = layout_of(connection, table, part, settings)
        select = checked(
            table,
            layout,
            scan([part], rejects="bad_lines"),
            settings,
            row=numbered(part),
            carried=(f"{quoted(part.label)} AS file",),
        )
        first = "CREATE OR REPLACE TEMP TABLE loaded AS"
        connection.execute(f"{'INSERT INTO loaded' if layouts else first} {select}")
        rejected |= take_rejects(connection, "bad_lines", [part])
        lines = tuple(line for line, _ in rejected.get(part.label, ()))
        layouts[part.label] = part, replace(layout, rejected=lines)
    for label, row, text in _beside_rows(connection, table, layouts):
        line = line_of(*layouts[label], row) or row
        rejected[label] = sorted({*rejected.get(label, ()), (line, text)})
    return layouts, rejected


def _beside_rows(
    connection: duckdb.DuckDBPyConnection, table: TableContract, layouts: Layouts
) -> list[tuple[str, int, str]]:
    """Takes rows out of ``loaded`` that are none: blank ones of CSV files and sheets, which leave no trace, and totals below
    the others (file, row, text)."""
    sheets = [label for label, (part, _) in layouts.items() if part.format in ("csv", "xlsx")]
    if sheets:
        columns = ", ".join(f'CAST("{name}" AS VARCHAR)' for name in table.names)
        blank = f"fault > 0 AND mask = 0 AND COALESCE({columns}) IS NULL"
        files = ", ".join(map(quoted, sheets))
        connection.execute(f"DELETE FROM loaded WHERE {blank} AND file IN ({files})")
    if "client_id" not in table.names:
        return []
    total = f"fault > 0 AND regexp_full_match(LOWER(client_id), {quoted(_TOTAL)})"
    query = f"SELECT file, row_number, client_id FROM loaded WHERE {total} ORDER BY ALL"
    totals = connection.execute(query).fetchall()
    connection.execute(f"DELETE FROM loaded WHERE {total}")
    return totals


def _decide_midnights(
    connection: duckdb.DuckDBPyConnection, table: TableContract, settings: DataSettings
) -> list[str]:
    """Midnights of each column that are instants get a time in ``loaded``; returns how midnights are read, in words."""
    notes = []
    for column in table.timestamps:
        query = f"SELECT {Midnights.counts(column.name)} FROM loaded WHERE fault = 0"
        midnights = Midnights(*connection.execute(query).fetchall()[0])
        if not midnights.are_days(settings):
            connection.execute(
                f'UPDATE loaded SET {column.stem}_has_time = TRUE WHERE "{column.name}" IS NOT NULL'
            )
        notes.append(midnights.note(column.name, settings))
    return [note for note in notes if note]


def _read_amounts(
    connection: duckdb.DuckDBPyConnection, table: TableContract, settings: DataSettings
) -> list[str]:
    """Changes of ARR and seats become plain numbers, by one reading; what is no number is emptied. Returns the doubt."""
    rows = "field IN ('arr', 'seats') AND value IS NOT NULL"
    relation = f"(SELECT value FROM loaded WHERE {rows})"
    reading, doubt = number_reading(connection, Column("value", "number"), relation, settings)
    number = "NULL" if doubt else f"CAST({number_of('value', reading)} AS VARCHAR)"
    bit = 1 << table.names.index("value")
    connection.execute(
        f"UPDATE loaded SET value = {number}, mask = CASE WHEN {number} IS NULL THEN mask | {bit} ELSE mask END "
        f"WHERE {rows}"
    )
    return [f"value of arr and seats is not read: {doubt}"] if doubt else []


def _mark_repeats(connection: duckdb.DuckDBPyConnection, table: TableContract) -> None:
    """``judged``: the loaded rows with unknown customers and repeated rows marked as well.

    Of versions of one row the one recorded last is used; where that is not recorded, the later row of the file (files
    in order of name), and the others are conflicts.
    """
    names = [f'"{name}"' for name in table.names]
    marks = [f"{column.stem}_has_time" for column in table.timestamps]
    identity = ", ".join(table.versioned or [*names, *marks])
    if table.name == "features":  # one feature, whatever the case
        identity = f"LOWER({identity})"
    one_row = table.versioned or table.identical == "state"
    repeats = "TRUE" if one_row else marks[0]
    recorded = ", ".join(_recorded(table))
    newest = ", ".join(f"{part} DESC NULLS LAST" for part in _recorded(table))
    window = f"(PARTITION BY fault, {identity} ORDER BY {newest}, file DESC, row_number DESC)"
    unknown = "client_id NOT IN (SELECT client_id FROM accounts)" if table.of_customers else "FALSE"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE judged AS
        WITH known AS (
          SELECT * REPLACE (CASE WHEN fault = 0 AND {unknown} THEN {UNKNOWN} ELSE fault END AS fault) FROM loaded
        ), placed AS (
          SELECT *, ROW_NUMBER() OVER {window} AS position, FIRST_VALUE(HASH({", ".join(names)})) OVER {window} AS last_hash,
            FIRST_VALUE(HASH({recorded})) OVER {window} AS last_recorded FROM known
        )
        SELECT * EXCLUDE (position, last_hash, last_recorded) REPLACE (
          CASE WHEN fault > 0 OR position = 1 OR NOT ({repeats}) THEN fault
               WHEN HASH({", ".join(names)}) = last_hash THEN {IDENTICAL}
               WHEN HASH({recorded}) <> last_recorded THEN {EARLIER} ELSE {CONFLICT} END AS fault)
        FROM placed""")


def _recorded(table: TableContract) -> list[str]:
    """What tells which version is the newest: when it was recorded; of a history of customers, until when it holds."""
    if not table.versioned:
        return ["CAST(NULL AS TIMESTAMP)"]
    recorded = ["COALESCE(recorded_at, updated_at)"]
    if "valid_from" not in table.names:
        return recorded
    open_end = "CASE WHEN valid_from IS NOT NULL THEN COALESCE(valid_to, DATE '9999-12-31') ELSE valid_to END"
    return [open_end, "valid_from", *recorded]


# how two systems write one id, and an expression that makes them alike
_SPELLINGS = {
    "upper and lower case": "LOWER({0})",
    "zeros at the beginning": "LTRIM({0}, '0')",
    "what follows the first 15 characters, which Salesforce adds in some exports": "LEFT({0}, 15)",
}


def _other_spelling(connection: duckdb.DuckDBPyConnection, rows: int) -> list[Issue]:
    """In what most ids that are not listed differ from listed ones, where one thing is all."""
    for words, spelling in _SPELLINGS.items():
        alike = f"{spelling.format('client_id')} IN (SELECT {spelling.format('client_id')} FROM accounts)"
        ((same,),) = connection.execute(
            f"SELECT COUNT(*) FROM judged WHERE fault = {UNKNOWN} AND {alike}"
        ).fetchall()
        if 2 * same > rows:
            text = f"{same:,} rows have ids that differ from those of customers in {words} alone: write both alike"
            return [Issue(text, same, kind="note", column="client_id", rows=False)]
    return []


def _account(
    connection: duckdb.DuckDBPyConnection,
    table: TableContract,
    layouts: Layouts,
    rejected: Rejected,
    settings: DataSettings,
    dropped: Container[str],
) -> TableReport:
    faults = _counts(connection, table, "fault", "fault > 0")
    masks = _counts(connection, table, "mask", "mask > 0 AND fault = 0")
    ((rows, remaining),) = connection.execute(
        "SELECT COUNT(*), COUNT(*) FILTER (fault = 0) FROM judged"
    ).fetchall()
    lines = rejected_drops(rejected, _last_lines(connection, layouts))
    read = rows + sum(issue.count for issue in lines)
    issues = [
        *lines,
        *drops_by_reason(connection, table, settings, faults, layouts),
        *_repeat_drops(connection, table, settings, faults, layouts),
        *emptied_by_reason(connection, table, settings, masks, layouts),
        *doubts({label: layout for label, (_, layout) in layouts.items()}),
        *(_other_spelling(connection, faults[UNKNOWN].total) if UNKNOWN in faults else []),
    ]
    if UNCLEAR in (settings.csat_scale, settings.nps_scale):
        # no fault of the table, which has more than these answers
        issues = [
            replace(issue, kind="conflict") if issue.column == "score" else issue
            for issue in issues
        ]
    report = TableReport(
        table.name,
        read,
        remaining,
        issues,
        _warnings(layouts) + ([] if read else ["holds a header but no rows"]),
        sorted({name for _, layout in layouts.values() for name in layout.types}),
        list(layouts),
        client_rows=_client_rows(connection, issues),
    )
    unlisted = faults[UNKNOWN].clients if UNKNOWN in faults else {}
    return refused_for_losses(report, settings, unlisted=unlisted, dropped=dropped)


def _last_lines(connection: duckdb.DuckDBPyConnection, layouts: Layouts) -> dict[str, int]:
    """The line of the last row of each CSV file."""
    last = connection.execute("SELECT file, MAX(row_number) FROM judged GROUP BY 1").fetchall()
    lines = {label: line_of(*layouts[label], row) for label, row in last}
    return {label: line for label, line in lines.items() if line is not None}


def _counts(
    connection: duckdb.DuckDBPyConnection, table: TableContract, column: str, where: str
) -> Counts:
    client = "client_id" if "client_id" in table.names else "NULL"
    query = f"SELECT {column}, file, {client}, COUNT(*) FROM judged WHERE {where} GROUP BY ALL ORDER BY ALL"
    return counted(connection.execute(query).fetchall())


def _client_rows(connection: duckdb.DuckDBPyConnection, issues: Sequence[Issue]) -> dict[str, int]:
    """The rows read of each customer that an issue concerns."""
    clients = {client for issue in issues for client in issue.clients}
    if not clients:
        return {}
    query = (
        "SELECT client_id, COUNT(*) FROM judged WHERE client_id IS NOT NULL GROUP BY 1 ORDER BY 1"
    )
    rows = connection.execute(query).fetchall()
    return {client: count for client, count in rows if client in clients}


def _repeat_drops(
    connection: duckdb.DuckDBPyConnection,
    table: TableContract,
    settings: DataSettings,
    counts: Counts,
    layouts: Layouts,
) -> list[Issue]:
    names = [name for name in table.versioned if name.strip('"') not in ("client_id", "system")]
    key = " and ".join(name.strip('"') for name in names[:2] or table.versioned)
    reasons: dict[int, tuple[str, IssueKind]] = {
        UNKNOWN: ("client_id is not in customers", "dropped"),
        IDENTICAL: ("identical to another row", "repeated"),
        CONFLICT: (
            f"another row has the same {key} (used: the later row, since recorded_at does not tell which is newer)",
            "conflict",
        ),
        EARLIER: ("an earlier version of another row", "version"),
    }
    issues = []
    for fault, (text, kind) in reasons.items():
        if fault not in counts:
            continue
        query = f"SELECT MIN((file, row_number)) FROM judged WHERE fault = {fault}"
        ((first,),) = connection.execute(query).fetchall()
        file, row = first if isinstance(first, tuple) else tuple(first.values())
        part, layout = layouts[file]
        own = table.key[-1:] or tuple(name.strip('"') for name in names[:1])
        column = own[0] if own and fault != UNKNOWN else "client_id"
        shown = example(connection, table, part, layout, settings, column, f"row_number = {row}")
        if shown.value is None:  # without an id of its own: the customer's
            column = "client_id"
            shown = example(
                connection, table, part, layout, settings, column, f"row_number = {row}"
            )
        clients = {} if fault == UNKNOWN else counts[fault].clients
        issues.append(
            Issue(
                text,
                counts[fault].total,
                shown.value,
                file,
                shown.line,
                kind,
                column,
                clients=clients,
                client=shown.client,
            )
        )
    return issues


def _warnings(layouts: Mapping[str, tuple[SourcePart, Layout]]) -> list[str]:
    warnings = []
    for label, (part, layout) in layouts.items():
        warnings += [part.note] if part.note else []
        if layout.extra:
            extra = ", ".join(layout.extra[:20])
            warnings.append(f"{label}: columns that are not in the contract are not read: {extra}")
    return warnings


def _localise(connection: duckdb.DuckDBPyConnection, table: TableContract) -> str:
    """The kept rows with each timestamp's account-local day, in a fixed order."""
    names, joins = [f't."{name}"' for name in table.names], []
    if not table.of_customers:
        names += [
            mark
            for column in table.timestamps
            for mark in (
                f'CAST(t."{column.name}" AS DATE) AS {column.stem}_day',
                f"t.{column.stem}_has_time",
            )
        ]
    elif table.timestamps:
        stamps = ", ".join(f'"{column.name}"' for column in table.timestamps)
        query = f"SELECT MIN(LEAST({stamps})), MAX(GREATEST({stamps})) FROM judged WHERE fault = 0"
        first, last = (
            value or dt.datetime(2000, 1, 1) for value in connection.execute(query).fetchall()[0]
        )
        create_offsets(connection, dt.date(first.year, 1, 1), dt.date(last.year + 1, 1, 2))
    for number, column in enumerate(table.timestamps if table.of_customers else ()):
        stamp, offsets = f't."{column.name}"', f"o{number}"
        joins.append(
            f"LEFT JOIN account_offsets AS {offsets} ON {offsets}.client_id = t.client_id "
            f"AND EPOCH_US({stamp}) // 1000000 >= {offsets}.from_epoch "
            f"AND EPOCH_US({stamp}) // 1000000 < {offsets}.until_epoch"
        )
        local = f"{stamp} + TO_SECONDS({offsets}.offset_seconds)"
        names += [
            f"CAST(CASE WHEN t.{column.stem}_has_time THEN {local} ELSE {stamp} END AS DATE) AS {column.stem}_day",
            f"t.{column.stem}_has_time",
        ]
    order = ", ".join(f'"{name}"' for name in dict.fromkeys((*table.key, *table.names)))
    return f"SELECT {', '.join(names)} FROM judged AS t {' '.join(joins)} WHERE t.fault = 0 ORDER BY {order}"


# Clean rows are read without DuckDB: opening it takes longer than reading any of the small tables.


def read_frame(folder: Path, names: Sequence[str]) -> pd.DataFrame:
    """These columns of the clean rows in a folder, in the file's order, with DuckDB's types.

    Days are midnights in microseconds; whole numbers and yes-or-no are nullable where a value is missing.
    """
    import pyarrow as pa

    rows = _read(folder, names)
    days = {field.name: "datetime64[us]" for field in rows.schema if pa.types.is_date(field.type)}
    frame = rows.to_pandas(use_threads=False, date_as_object=False).astype(days)
    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        if column.type in nullable and column.null_count:
            frame[name] = column.to_pandas(types_mapper=nullable.get)
    return frame


def read_records(folder: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """The clean rows as dictionaries of Python's own values."""
    return _read(folder, names).to_pylist()


def _read(folder: Path, names: Sequence[str]) -> pa.Table:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(folder / ROWS) as file:
        return file.read(columns=list(names), use_threads=False).select(list(names))


# -- are the midnights of a column days or instants? -----------------------------------------------


# of so many rows with seconds, one at least has some
_LEAST_ROWS = 20


@dataclass(frozen=True)
class Midnights:
    """How a timestamp column of a table is written, in all of its files: what its midnights are.

    Each value is a date alone (its code ``<stem>_midnight`` is 2), a midnight (1), or has another time of day (0).
    Dates alone and midnights mean the same, whatever the format: calendar days where no value has another time, where
    any is a date alone, or where midnights are far more than the other whole hours; else instants.
    """

    rows: int = 0
    midnights: int = 0
    dates: int = 0
    whole_hours: int = 0
    seconds: int = 0  # rows with a second, or a part of one

    @property
    def whole_minutes(self) -> bool:
        """Whether the column knows no seconds: two rows of one minute are then not one instant."""
        return self.rows >= _LEAST_ROWS and self.seconds == 0

    def __add__(self, other: Midnights) -> Midnights:
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Midnights(*(own + another for own, another in pairs))

    def are_days(self, settings: DataSettings) -> bool:
        least = max(settings.midnight_days_min_rows, settings.midnight_days_min_share * self.rows)
        many = self.midnights >= least and self.midnights > self.whole_hours
        return bool(self.dates) or self.midnights == self.rows or many

    def note(self, name: str, settings: DataSettings) -> str | None:
        """How midnights are read, in words; None where there is none to speak of."""
        days = self.midnights + self.dates
        if self.rows and days == self.rows:
            return f"{name} has no time of day in any row and is read as calendar days"
        if days and self.are_days(settings):
            why = (
                f"{self.dates:,} are dates alone" if self.dates else "midnight is far too frequent"
            )
            return f"{name}: {days:,} of {self.rows:,} rows are at midnight and are read as calendar days: {why}"
        if self.midnights > self.rows * settings.midnight_days_min_share:
            return f"{name}: {self.midnights:,} of {self.rows:,} rows are at midnight and are read as instants"
        return None

    @staticmethod
    def counts(name: str) -> str:
        """The five counts of a timestamp column of a relation of checked rows."""
        stamp, stem = f'"{name}"', name.removesuffix("_at")
        return (
            f"COUNT({stamp}) AS stamps, COUNT(*) FILTER ({stamp} IS NOT NULL AND {stem}_midnight = 1) AS midnights, "
            f"COUNT(*) FILTER ({stamp} IS NOT NULL AND {stem}_midnight = 2) AS dates, "
            f"COUNT(*) FILTER ({stem}_midnight = 0 AND {stamp} = DATE_TRUNC('hour', {stamp})) AS whole_hours, "
            f"COUNT(*) FILTER ((EPOCH_US({stamp}) // 1000000) % 60 <> 0) AS seconds"
        )
