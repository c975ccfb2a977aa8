"""A team's own SQL over the clean tables, as they were known at the end of a day.

The text is one SELECT over the tables of the contract; it names no files, calls nothing that reads a clock or chance, and
runs on a connection of its own that reaches no files but the portfolio's own cache (decision 0047). Each table shows the rows known by
the end of the day, and of these the values known by then: a query cannot look ahead.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd

from healthseg.data.queries import _nodes, parse
from healthseg.data.tables import SNAPSHOT, STATIC, TABLES, Column, TableContract
from healthseg.data.validation import SQL_TYPES
from healthseg.errors import InvalidParameters, hint

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

_RULE = "one SELECT of client_id and value over the tables, with $date for the day"
_FUNCTIONS = ("unnest", "range", "generate_series")
_UNSTEADY = (
    "now",
    "today",
    "random",
    "uuid",
    "gen_random_uuid",
    "current_date",
    "current_timestamp",
    "get_current_timestamp",
    "getvariable",
    "query",
    "query_table",
)


def values_on(
    portfolio: Portfolio, name: str, text: str, days: Iterable[dt.date]
) -> dict[dt.date, pd.DataFrame]:
    """``client_id`` and ``value`` of each customer that the query returns, by day. Raises InvalidParameters."""
    tables = _tables(name, text)
    with contextlib.closing(portfolio.locked_connection()) as connection:
        for table in tables:  # once, since events are cleaned as they are read
            if table.name == "events":
                _fetch_events(portfolio, connection)
            rows = f'CREATE TEMP TABLE "all_{table.name}" AS SELECT * FROM "{table.name}"'
            connection.execute(rows)
        return {
            day: _values(connection, name, text, tables, day, day >= portfolio.data_until)
            for day in days
        }


def _fetch_events(portfolio: Portfolio, connection: duckdb.DuckDBPyConnection) -> None:
    """Events that lie in an engine as a table of the connection: an own query may read any of their columns."""
    with portfolio.with_events() as fetched:
        if fetched is not portfolio.connection():
            rows = fetched.sql("SELECT * FROM events").to_arrow_table()
            connection.register("events", rows)


def _tables(name: str, text: str) -> list[TableContract]:
    """The tables that the query reads, after all that it may not do was refused."""
    parsed = parse(name, text, [], section="metrics")
    nodes = list(_nodes(parsed.tree))
    defined = {
        entry["key"] for node in nodes for entry in (node.get("cte_map") or {}).get("map", ())
    }
    tables = []
    for node in nodes:
        function = str((node.get("function") or {}).get("function_name", "")).lower()
        if node.get("type") == "TABLE_FUNCTION" and function not in _FUNCTIONS:
            raise _refused(
                name, text, f"reads {function}(…): it may read the portfolio's tables alone"
            )
        called = str(node.get("function_name", "")).lower()
        if called in _UNSTEADY or str(node.get("column_names")) in (
            "['current_date']",
            "['current_timestamp']",
        ):
            raise _refused(
                name, text, f"calls {called or 'the clock'}: the same data give the same figures"
            )
        if node.get("type") == "BASE_TABLE" and node["table_name"] not in defined:
            table = node["table_name"]
            if node.get("schema_name") or node.get("catalog_name"):
                raise _refused(name, text, f"reads {table} of a schema: name the table alone")
            if table not in TABLES:
                raise _refused(
                    name, text, f"reads {table}, which is not a table{hint(table, TABLES)}"
                )
            tables.append(table)
    return [TABLES[table] for table in dict.fromkeys(tables)]


def _values(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    text: str,
    tables: Iterable[TableContract],
    day: dt.date,
    last: bool,
) -> pd.DataFrame:
    for table in tables:
        connection.execute(
            f'CREATE OR REPLACE TEMP VIEW "{table.name}" AS {_known(table, day, last)}'
        )
    parameters = {"date": day} if "$date" in text else {}
    try:
        frame = connection.execute(text.strip().rstrip(";"), parameters).df()
    except duckdb.Error as problem:
        raise _refused(name, text, f"fails: {str(problem).splitlines()[0]}") from None
    for column in ("client_id", "value"):
        if column not in frame:
            raise _refused(name, text, f"returns no column {column}")
    twice = frame.loc[frame["client_id"].duplicated(), "client_id"]
    if len(twice):
        raise _refused(name, text, f"returns two rows of {twice.iloc[0]!r} on {day}")
    try:
        values = frame["value"].astype(float)
    except (TypeError, ValueError):
        raise _refused(name, text, "returns values that are no numbers") from None
    rows = pd.DataFrame({"client_id": frame["client_id"].astype(str), "value": values})
    return rows.sort_values("client_id", ignore_index=True)


def _known(table: TableContract, day: dt.date, last: bool) -> str:
    """The table as it was known at the end of a day; today's values (snapshots) on the last day alone."""
    columns = []
    for column in table.columns:
        known, kind = _known_by(table, column.known_from, day, last), SQL_TYPES[column.kind]
        columns.append(f'CASE WHEN {known} THEN "{column.name}" END::{kind} AS "{column.name}"')
        if column.kind == "timestamp":
            columns.append(f'CASE WHEN {known} THEN "{column.stem}_day" END AS "{column.stem}_day"')
    of_row = next(column.known_from for column in table.columns if column.required)
    rows = _known_by(table, of_row, day, last=True)
    return f'SELECT {", ".join(columns)} FROM "all_{table.name}" WHERE {rows}'


def _known_by(table: TableContract, known_from: tuple[str, ...], day: dt.date, last: bool) -> str:
    """SQL of whether what is known from the first of these dates that is there was known by the end of a day."""
    if known_from == SNAPSHOT:
        return "TRUE" if last else "FALSE"
    dates = [_day(table.column(name)) for name in known_from if name in table.names]
    if not dates:
        return "TRUE"
    always = ["DATE '0001-01-01'"] if STATIC[0] in known_from else []
    return f"COALESCE({', '.join([*dates, *always])}) <= DATE '{day}'"


def _day(column: Column) -> str:
    return f'"{column.stem}_day"' if column.kind == "timestamp" else f'"{column.name}"'


def _refused(name: str, text: str, problem: str, **details: Any) -> InvalidParameters:
    return InvalidParameters(
        f"[metrics.{name}] sql {problem}",
        parameter=f"metrics.{name}.sql",
        value_provided=text[:200],
        validation_rule=_RULE,
        **details,
    )
