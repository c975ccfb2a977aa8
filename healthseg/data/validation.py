"""Validation of a table in SQL: each row is kept or dropped for its first failing reason, and counted.

``checked`` is the only reading of a part: clean typed columns, the number of the reason for which a row is dropped (0:
it is kept), and a mask of the optional values that could not be used. Small tables go on to ``cleaning``; events, which
may be many, to ``staging``.

Text is trimmed, empty text is missing. A timestamp with an offset is converted to UTC, one without is UTC; a calendar
day without a time of day stays that day.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from healthseg.data import copies
from healthseg.data.losses import Issue, IssueKind
from healthseg.data.sources import Part, Refused, quoted
from healthseg.data.tables import CLIENT_ID_RULE, Column, Table
from healthseg.errors import hint
from healthseg.settings.data import DataSettings

SQL_TYPES = {
    "id": "VARCHAR",
    "text": "VARCHAR",
    "zone": "VARCHAR",
    "timestamp": "TIMESTAMP",
    "date": "DATE",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
}
_KINDS = {
    "timestamp": "a timestamp (YYYY-MM-DD HH:MM:SS, in UTC or with its offset)",
    "date": "a date (YYYY-MM-DD)",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "id": "an id",
    "text": "text",
    "zone": "an IANA time zone",
}
# dates outside are defaults or slips: the first is before any software subscription
_EARLIEST, _LATEST = "1990-01-01", "2200-01-01"
_WHOLE = ("BIGINT", "INTEGER", "SMALLINT", "TINYINT")
_NUMERIC = (*_WHOLE, "DOUBLE", "FLOAT")
# a column whose name comes again
_AGAIN = re.compile(r" \(column \d+\)$")
_NESTED = ("STRUCT", "MAP", "UNION")
_ZONED = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS")
_DATED = quoted(r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$")
# by part, its lines that have other columns than its header
Rejected = dict[str, list[tuple[int, str]]]


@dataclass(frozen=True)
class Parsed:
    """SQL for a column's clean value, whether the source has any value, and whether it has a time of day."""

    value: str
    present: str
    has_time: str = "FALSE"


@dataclass(frozen=True)
class Reason:
    """Why a row is dropped: a condition over clean columns, and the column to show an example of."""

    words: str
    condition: str
    column: str


@dataclass(frozen=True)
class Layout:
    """A part's columns: the contract's with DuckDB's type, others, and timestamps without any time of day."""

    types: dict[str, str]
    extra: tuple[str, ...] = ()
    day_only: frozenset[str] = frozenset()
    # the lines of a CSV file that do not have the header's columns
    rejected: tuple[int, ...] = ()


def parse(column: Column, raw: str, *, day_only: bool = False) -> Parsed:
    """The expressions for a column whose type in the source is DuckDB's ``raw``."""
    name, text = f'"{column.name}"', f"NULLIF(TRIM(CAST(\"{column.name}\" AS VARCHAR)), '')"
    if column.kind == "timestamp":
        return _parse_timestamp(name, text, raw, day_only)
    if column.kind == "date":
        return _parse_date(name, text, raw)
    number = f"TRY_CAST({text} AS DOUBLE)"
    value = {
        "integer": f"CASE WHEN {number} = FLOOR({number}) AND ABS({number}) < 9e15 THEN CAST({number} AS BIGINT) END",
        "number": f"CASE WHEN ISFINITE({number}) THEN {number} END",
        "boolean": f"TRY_CAST({text} AS BOOLEAN)",
        "text": _cased(column, text),
    }.get(column.kind, text)
    if raw in _NUMERIC and column.kind == "number":
        value = f"CASE WHEN ISFINITE(CAST({name} AS DOUBLE)) THEN CAST({name} AS DOUBLE) END"
    if raw in _WHOLE and column.kind == "integer":
        value = f"CAST({name} AS BIGINT)"
    return Parsed(value, f"{text} IS NOT NULL")


def _cased(column: Column, text: str) -> str:
    """Words of a list in lower case, codes of currencies in upper case."""
    if column.allowed:
        return f"LOWER({text})"
    return f"UPPER({text})" if column.name == "currency" else text


def _parse_timestamp(name: str, text: str, raw: str, day_only: bool) -> Parsed:
    if raw in _ZONED:
        value = f"(CAST({name} AS TIMESTAMPTZ) AT TIME ZONE 'UTC')"
        return Parsed(value, f"{name} IS NOT NULL", "TRUE")
    if raw == "DATE" or raw.startswith("TIMESTAMP"):
        has_time = "FALSE" if raw == "DATE" or day_only else "TRUE"
        stamp = f"TRY_CAST({name} AS TIMESTAMP)"
        value = f"CASE WHEN {stamp} >= TIMESTAMP '0001-01-01' THEN {stamp} END"
        return Parsed(value, f"{name} IS NOT NULL", has_time)
    instant = f"TRY_CAST({text} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"
    value = f"CASE WHEN regexp_matches({text}, {_DATED}) THEN {instant} END"
    return Parsed(value, f"{text} IS NOT NULL", f"LENGTH({text}) > 10")


def _parse_date(name: str, text: str, raw: str) -> Parsed:
    if raw == "DATE":
        return Parsed(name, f"{name} IS NOT NULL")
    if raw in _ZONED:
        return Parsed(
            f"CAST(CAST({name} AS TIMESTAMPTZ) AT TIME ZONE 'UTC' AS DATE)", f"{name} IS NOT NULL"
        )
    if raw.startswith("TIMESTAMP"):
        return Parsed(f"CAST({name} AS DATE)", f"{name} IS NOT NULL")
    day = f"TRY_CAST(LEFT({text}, 10) AS DATE)"
    value = f"CASE WHEN regexp_matches({text}, {_DATED}) THEN {day} END"
    return Parsed(value, f"{text} IS NOT NULL")


def layout_of(connection: duckdb.DuckDBPyConnection, table: Table, part: Part) -> Layout:
    """The columns of a part; raises Refused where a required one is missing or of no usable type."""
    types = _canonical(_types(connection, part), table, part)
    nested = {
        name
        for name in table.names
        if types.get(name, "").startswith(_NESTED) or types.get(name, "").endswith("]")
    }
    usable_names = set(table.names) & set(types)
    for column in table.columns:
        if column.required and column.name not in types:
            unknown = [name for name in types if name not in table.names]
            header = "" if usable_names else "; the first line must hold the names of the columns"
            raise Refused(
                f"{part.label} has no column {column.name}{hint(column.name, unknown)}; its columns are: "
                + ", ".join(list(types)[:20])
                + header
            )
    for column in table.columns:
        if column.required and column.name in nested:
            raise Refused(
                f"{part.label}: column {column.name} holds {types[column.name]}, not {_KINDS[column.kind]}"
            )
    usable = {
        name: kind for name, kind in types.items() if name in table.names and name not in nested
    }
    days = {
        column.name
        for column in table.timestamps
        if usable.get(column.name, "").startswith("TIMESTAMP")
        and usable[column.name] not in _ZONED
        and _all_midnight(connection, part, column.name)
    }
    return Layout(usable, tuple(name for name in types if name not in usable), frozenset(days))


def _types(connection: duckdb.DuckDBPyConnection, part: Part) -> dict[str, str]:
    """The type of each column: text in CSV."""
    if part.path is not None and not part.columnar:
        return dict.fromkeys(part.header[1], "VARCHAR")
    described = connection.execute(f"DESCRIBE SELECT * FROM {part.relation}").fetchall()
    return {name: kind for name, kind, *_ in described if name != "file_row_number"}


def _canonical(types: dict[str, str], table: Table, part: Part) -> dict[str, str]:
    """The columns under the contract's names, whatever their case; raises Refused for one that comes twice."""
    canonical: dict[str, str] = {}
    for name, kind in types.items():
        first = _AGAIN.sub("", name).lower()
        if first in table.names and first in canonical:
            raise Refused(
                f"{part.label} has the column {first} more than once: rename or drop all but one"
            )
        canonical[first if first in table.names else name] = kind
    return canonical


def _all_midnight(connection: duckdb.DuckDBPyConnection, part: Part, name: str) -> bool:
    """A naive timestamp column without any time of day holds calendar days (a daily export, read back by pandas)."""
    moment = f'TRY_CAST("{name}" AS TIMESTAMP)'
    query = f"SELECT 1 FROM {part.relation} WHERE EPOCH_US({moment}) % 86400000000 <> 0 LIMIT 1"
    return not connection.execute(query).fetchall()


def reasons(table: Table, settings: DataSettings) -> list[Reason]:
    """Why rows of the table are dropped, in the order in which they are tried; the first one counts."""
    return [
        *(
            reason
            for column in table.columns
            if column.required
            for reason in _column_reasons(column, settings)
        ),
        *_table_reasons(table, settings),
    ]


def _column_reasons(column: Column, settings: DataSettings) -> Iterator[Reason]:
    name, quoted_name = column.name, f'"{column.name}"'
    yield Reason(f"{name} is missing", f"NOT has_{name}", name)
    if column.kind == "id":
        condition = f"NOT regexp_matches({quoted_name}, {quoted(CLIENT_ID_RULE)})"
        yield Reason(f"{name} does not match {CLIENT_ID_RULE}", condition, name)
    elif column.kind != "text":
        yield Reason(f"{name} is not {_KINDS[column.kind]}", f"{quoted_name} IS NULL", name)
    if (fault := _fault(column, settings)) is not None:
        yield fault


def _table_reasons(table: Table, settings: DataSettings) -> Iterator[Reason]:
    if table.name == "surveys":
        yield Reason(
            f"score is outside its scale (nps: whole, 0 to 10; csat: 1 to {settings.csat_max})",
            "kind = 'nps' AND (score > 10 OR score <> FLOOR(score)) "
            f"OR kind = 'csat' AND (score < 1 OR score > {settings.csat_max})",
            "score",
        )
    if table.name == "arr_changes":
        # a churn ends the ARR, whether or not the row says so
        condition = "arr IS NULL AND COALESCE(reason, '') <> 'churn'"
        yield Reason("arr is missing or not a number", condition, "arr")
    for order in table.orders:
        if order.drops_row:
            condition = _disorder(table, order.earlier, order.later)
            yield Reason(f"{order.later} lies before {order.earlier}", condition, order.later)


def _fault(column: Column, settings: DataSettings) -> Reason | None:
    """Why a value of the right type cannot be used: not allowed, an impossible date, out of bounds."""
    name, quoted_name = column.name, f'"{column.name}"'
    if column.allowed:
        words = ", ".join(map(quoted, column.allowed))
        text = f"{name} must be one of {', '.join(column.allowed)}"
        return Reason(text, f"{quoted_name} NOT IN ({words})", name)
    if column.kind in ("timestamp", "date"):
        outside = (
            f"{quoted_name} < TIMESTAMP '{_EARLIEST}' OR {quoted_name} >= TIMESTAMP '{_LATEST}'"
        )
        return Reason(f"{name} is an impossible date", outside, name)
    high = getattr(settings, column.high) if isinstance(column.high, str) else column.high
    bounds = (
        {f"below {column.low}": f"{quoted_name} < {column.low}"} if column.low is not None else {}
    )
    if high is not None:
        bounds[f"above {high}"] = f"{quoted_name} > {high}"
    if not bounds:
        return None
    return Reason(f"{name} is " + " or ".join(bounds), " OR ".join(bounds.values()), name)


def _disorder(table: Table, earlier: str, later: str) -> str:
    """Compared as instants where both have a time of day, else as days."""
    if table.column(earlier).kind != "timestamp":
        return f'"{later}" < "{earlier}"'
    both = f"{table.column(earlier).stem}_has_time AND {table.column(later).stem}_has_time"
    return (
        f'(CASE WHEN {both} THEN "{later}" < "{earlier}" '
        f'ELSE CAST("{later}" AS DATE) < CAST("{earlier}" AS DATE) END)'
    )


def _unusable(table: Table, column: Column, settings: DataSettings) -> str:
    """A condition under which an optional value is emptied."""
    conditions = [f'"{column.name}" IS NULL']
    if column.kind == "zone":
        conditions.append(f'"{column.name}" NOT IN (SELECT zone FROM known_zones)')
    if (fault := _fault(column, settings)) is not None:
        conditions.append(f"({fault.condition})")
    conditions += [
        _disorder(table, order.earlier, order.later)
        for order in table.orders
        if order.later == column.name and not order.drops_row
    ]
    return f"has_{column.name} AND COALESCE({' OR '.join(conditions)}, FALSE)"


def checked(
    table: Table,
    layout: Layout,
    relation: str,
    settings: DataSettings,
    *,
    row: str = "0",
    carried: Sequence[str] = (),
) -> str:
    """The select of a part's rows: ``row_number``, ``fault``, ``mask``, the clean columns and times of day."""
    cases = " ".join(
        f"WHEN {reason.condition} THEN {number}"
        for number, reason in enumerate(reasons(table, settings), start=1)
    )
    unusable = {
        column.name: _unusable(table, column, settings)
        for column in table.columns
        if not column.required
        and column.name in layout.types
        and (column.kind != "text" or column.allowed)
    }
    masks = [
        f"CASE WHEN {condition} THEN {1 << table.names.index(name)} ELSE 0 END"
        for name, condition in unusable.items()
    ]
    items = [
        "row_number",
        *(name.split(" AS ")[-1] for name in carried),
        f"CAST(CASE {cases} ELSE 0 END AS UTINYINT) AS fault",
        f"CAST({' + '.join(masks) or '0'} AS INTEGER) AS mask",
    ]
    for column in table.columns:
        name, condition = f'"{column.name}"', unusable.get(column.name)
        items.append(
            f"CASE WHEN {condition} THEN NULL ELSE {name} END AS {name}" if condition else name
        )
        if column.kind == "timestamp":
            items.append(f"{column.stem}_has_time")
    return f"SELECT {', '.join(items)} FROM ({_parsed(table, layout, relation, row, carried)})"


def _parsed(table: Table, layout: Layout, relation: str, row: str, carried: Sequence[str]) -> str:
    """The innermost select: values, whether the source has them, times of day."""
    items = [f"{row} AS row_number", *carried]
    for column in table.columns:
        parsed = Parsed(f"CAST(NULL AS {SQL_TYPES[column.kind]})", "FALSE")
        if column.name in layout.types:
            day_only = column.name in layout.day_only
            parsed = parse(column, layout.types[column.name], day_only=day_only)
        items += [f'{parsed.value} AS "{column.name}"', f"{parsed.present} AS has_{column.name}"]
        if column.kind == "timestamp":
            items.append(f"COALESCE({parsed.has_time}, FALSE) AS {column.stem}_has_time")
    return f"SELECT {', '.join(items)} FROM {relation}"


def numbered(part: Part) -> str:
    """The expression for a row's number in its file, from 1."""
    return "file_row_number + 1" if part.columnar else "ROW_NUMBER() OVER ()"


def line_of(part: Part, layout: Layout, row: int) -> int | None:
    """The line for a reader: of a CSV file with its header as line 1, of a Parquet file the row."""
    if part.format != "csv":
        return copies.line_of(part, row)
    line = row + 1 + part.skipped
    for rejected in layout.rejected:
        line += rejected <= line
    return line


def take_rejects(
    connection: duckdb.DuckDBPyConnection, table: str, parts: Sequence[Part]
) -> Rejected:
    """The lines without the header's columns, by part, after a scan that wrote them to ``table``, which is removed."""
    rejected: Rejected = {}
    if parts[0].format != "csv":
        return rejected
    labels = {str(part.scanned): part.label for part in parts}
    rows = connection.execute(
        f"SELECT file_path, line, MIN(csv_line) FROM {table} JOIN {table}_scan "
        "USING (scan_id, file_id) GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()
    for path, line, text in rows:
        first = text.strip().splitlines()[0][:200] if text.strip() else ""
        rejected.setdefault(labels[path], []).append((line, first))
    for name in (table, f"{table}_scan"):
        connection.execute(f"DROP TABLE {name}")
    return rejected


def rejected_drops(lines: Mapping[str, Sequence[tuple[int, str]]]) -> list[Issue]:
    """The drop for lines that do not have the columns of their CSV file."""
    lines = {label: rejected for label, rejected in lines.items() if rejected}
    if not lines:
        return []
    label = min(lines)
    line, text = lines[label][0]
    count = sum(map(len, lines.values()))
    return [Issue("the line does not have the header's columns", count, text, label, line)]


# -- counts by reason, and examples -------------------------------------------------------


@dataclass
class Count:
    """Rows with one reason number, or one mask: by part label and by customer."""

    parts: dict[str, int] = field(default_factory=dict)
    clients: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.parts.values())

    def add(self, label: str, client: str | None, count: int) -> None:
        self.parts[label] = self.parts.get(label, 0) + count
        if client is not None:
            self.clients[client] = self.clients.get(client, 0) + count


Counts = dict[int, Count]


def counted(rows: Iterable[tuple[int, str, str | None, int]]) -> Counts:
    """Counts by number from rows of number, part label, customer and count."""
    counts: Counts = {}
    for number, label, client, count in rows:
        counts.setdefault(number, Count()).add(label, client, count)
    return counts


@dataclass(frozen=True)
class Example:
    """A value as a file has it, its line, and the customer of the row."""

    value: str | None = None
    line: int | None = None
    client: str | None = None


def example(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    part: Part,
    layout: Layout,
    settings: DataSettings,
    column: str,
    condition: str,
) -> Example:
    """The first value of ``column`` in a part for which ``condition`` holds over the checked rows."""
    if column not in layout.types:
        return Example()
    raw = f'CAST("{column}" AS VARCHAR) AS source_text'
    select = checked(table, layout, part.relation, settings, row=numbered(part), carried=(raw,))
    client = "client_id" if "client_id" in layout.types and "client_id" in table.names else "NULL"
    first = (
        f"SELECT source_text, row_number, {client} FROM ({select}) WHERE {condition} "
        "ORDER BY row_number LIMIT 1"
    )
    for value, row, customer in connection.execute(first).fetchall():
        return Example(value, line_of(part, layout, row), customer)
    return Example()


def drops_by_reason(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    settings: DataSettings,
    counts: Counts,
    parts: Mapping[str, tuple[Part, Layout]],
) -> list[Issue]:
    """The drops from counts by reason number, each with its first example."""
    return [
        _issue(
            connection,
            table,
            settings,
            parts,
            counts[number],
            reason,
            f"fault = {number}",
            "dropped",
        )
        for number, reason in enumerate(reasons(table, settings), start=1)
        if number in counts
    ]


def emptied_by_reason(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    settings: DataSettings,
    counts: Counts,
    parts: Mapping[str, tuple[Part, Layout]],
) -> list[Issue]:
    """The emptied values from counts by mask, each column with its first example."""
    issues = []
    for bit, column in enumerate(table.columns):
        of_column = Count()
        for mask, count in counts.items():
            if mask >> bit & 1:
                for label, rows in count.parts.items():
                    of_column.add(label, None, rows)
                for client, rows in count.clients.items():
                    of_column.clients[client] = of_column.clients.get(client, 0) + rows
        if of_column.parts:
            words = _emptied_words(table, column, settings)
            condition = f"fault = 0 AND (mask & {1 << bit}) > 0"
            reason = Reason(words, condition, column.name)
            issues.append(
                _issue(connection, table, settings, parts, of_column, reason, condition, "emptied")
            )
    return issues


def _emptied_words(table: Table, column: Column, settings: DataSettings) -> str:
    """Why an optional value can be emptied."""
    fault = _fault(column, settings)
    words = [] if column.kind in ("text", "id") else [f"{column.name} is not {_KINDS[column.kind]}"]
    words += [fault.words] if fault else []
    words += [
        f"lies before {order.earlier}"
        for order in table.orders
        if order.later == column.name and not order.drops_row
    ]
    return ", or ".join(words)


def _issue(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    settings: DataSettings,
    parts: Mapping[str, tuple[Part, Layout]],
    count: Count,
    reason: Reason,
    condition: str,
    kind: IssueKind,
) -> Issue:
    label = min(count.parts)
    part, layout = parts[label]
    shown = example(connection, table, part, layout, settings, reason.column, condition)
    return Issue(
        reason.words,
        count.total,
        shown.value,
        label,
        shown.line,
        kind,
        reason.column,
        rows=kind != "emptied",
        clients=count.clients,
        client=shown.client,
    )
