"""Validation of a table in SQL: each row is kept or dropped for its first failing reason, and counted.

``checked`` is the only reading of a part: clean typed columns, the number of the reason for which a row is dropped (0:
it is kept), and a mask of the optional values that could not be used. Small tables go on to ``cleaning``; events, which
may be many, to ``staging``.

Text is trimmed, empty text is missing. A timestamp with an offset is converted to UTC, one without is UTC; a calendar
day without a time of day stays that day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import duckdb

from healthseg.data import copies
from healthseg.data.reading import (
    FLOATS,
    NUMERIC,
    US,
    WHOLE,
    Parsed,
    as_text,
    boolean_of,
    currency_of,
    instant_of,
    is_basic_instant,
    is_epoch,
    is_id,
    lookup_of,
    no_date,
    number_of,
    present_text,
    rating_of,
    readings,
    text_of,
    whole_of,
    without_sentinels,
    word_of,
    zone_of,
)
from healthseg.data.sources import Refused, SourcePart, quoted
from healthseg.data.tables import CLIENT_ID_RULE, LARGEST, Column, TableContract
from healthseg.errors import hint
from healthseg.settings.data import DataSettings

SQL_TYPES = {
    "id": "VARCHAR",
    "text": "VARCHAR",
    "zone": "VARCHAR",
    "currency": "VARCHAR",
    "timestamp": "TIMESTAMP",
    "date": "DATE",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
}
KINDS = {
    "timestamp": "a timestamp (YYYY-MM-DD HH:MM:SS, in UTC or with its offset)",
    "date": "a date (YYYY-MM-DD)",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "id": "an id",
    "text": "text",
    "zone": "an IANA time zone",
    "currency": "a currency's code of three letters",
}
# dates outside are defaults or slips: the first is before any software subscription
_EARLIEST, _LATEST = "1990-01-01", "2200-01-01"
# a column whose name comes again
_MIDNIGHT = quoted(r"^\d{4}-\d{2}-\d{2}([T ]00:00(:00(\.0+)?)?( ?(Z|UTC|[+-]\d{2}(:?\d{2})?))?)?$")
_AGAIN = re.compile(r" \(column \d+\)$")
_NESTED = ("STRUCT", "MAP", "UNION")


@dataclass(frozen=True)
class Reason:
    """Why a row is dropped: a condition over clean columns, and the column to show an example of."""

    words: str
    condition: str
    column: str


@dataclass(frozen=True)
class Layout:
    """A part's columns: the contract's with DuckDB's type, others, and how their values are read."""

    types: dict[str, str]
    extra: tuple[str, ...] = ()
    # timestamps without any time of day
    day_only: frozenset[str] = frozenset()
    # the lines of a CSV file that do not have the header's columns
    rejected: tuple[int, ...] = ()
    # by column, how its text is read where it is not the plain way, and why it is not read
    formats: dict[str, str] = field(default_factory=dict)
    doubtful: dict[str, str] = field(default_factory=dict)
    # columns of events in which an empty value is unknown: others have counts, or say that they are a person's
    filled: frozenset[str] = frozenset()


def parse(column: Column, raw: str, layout: Layout, settings: DataSettings) -> Parsed:
    """The expressions for a column whose clean text or typed value is named as the column itself, what it is looked up by
    as "lookup" and its name."""
    name, lookup = f'"{column.name}"', f'"lookup {column.name}"'
    reading = layout.formats.get(column.name)
    text = as_text(column, raw)
    if column.kind in ("timestamp", "date"):
        return _parse_date(column, name, text, raw, layout)
    if column.name in layout.doubtful:
        return Parsed(f"CAST(NULL AS {SQL_TYPES[column.kind]})", f"{name} IS NOT NULL")
    if column.rating and raw == "VARCHAR":
        text = rating_of(text, lookup, settings)
    digits = lookup if reading is not None and not column.rating else None
    value = {
        "integer": whole_of(text, reading or (None if raw == "VARCHAR" else US), digits),
        "number": number_of(text, reading, digits),
        "boolean": boolean_of(text),
        "currency": currency_of(text, settings),
        "text": word_of(column, text, lookup, settings) if column.allowed else text,
        "zone": zone_of(text, lookup, settings),
    }.get(column.kind, text)
    if column.name == "field":
        value = f"REPLACE(LOWER({text}), ' ', '_')"
    if raw in NUMERIC and column.kind == "number":
        value = f"CASE WHEN ISFINITE(CAST({name} AS DOUBLE)) THEN CAST({name} AS DOUBLE) END"
    if raw.startswith("DECIMAL") and column.kind == "number":
        value = f"CAST({name} AS DOUBLE)"
    if (raw in FLOATS or raw.startswith("DECIMAL")) and column.kind == "integer":
        whole = f"{name} = FLOOR({name}) AND ABS({name}) < 9e15"
        value = f"CASE WHEN {whole} THEN CAST({name} AS BIGINT) END"
    if raw in WHOLE and column.kind == "integer":
        value = f"TRY_CAST({name} AS BIGINT)"
    return Parsed(value, f"{name} IS NOT NULL")


def _at_midnight(moment: str) -> str:
    return f"{moment} = DATE_TRUNC('day', {moment})"


def _zoned(raw: str) -> bool:
    return "TIME ZONE" in raw or raw.startswith("TIMESTAMPTZ")


def _parse_date(column: Column, name: str, text: str, raw: str, layout: Layout) -> Parsed:
    """A timestamp or date, with how it is written."""
    timed = column.kind == "timestamp"
    if column.name in layout.doubtful:
        return Parsed(f"CAST(NULL AS {SQL_TYPES[column.kind]})", f"{name} IS NOT NULL")
    if raw == "DATE" or raw.startswith("TIMESTAMP"):
        value = f"(CAST({name} AS TIMESTAMPTZ) AT TIME ZONE 'UTC')" if _zoned(raw) else name
        stamp = f"TRY_CAST({value} AS {SQL_TYPES[column.kind]})"
        possible = f"CASE WHEN {stamp} >= TIMESTAMP '0001-01-01' THEN {stamp} END"
        midnight = "2" if raw == "DATE" else f"CASE WHEN {_at_midnight(stamp)} THEN 1 ELSE 0 END"
        return Parsed(possible, f"{name} IS NOT NULL", midnight)
    reading = layout.formats.get(column.name)
    present = f"{text} IS NOT NULL AND NOT ({no_date(text)})"
    if timed:
        moment = instant_of(text, reading)
        at_midnight = _at_midnight(moment)
        if reading is None:
            at_midnight = f"SUBSTR({text}, 12, 5) = '00:00' AND {at_midnight}"
        if column.name in layout.day_only:  # the day as it is written, whatever the offset
            moment, at_midnight = f"TRY_CAST(LEFT({text}, 10) AS TIMESTAMP)", "TRUE"
        midnight = (
            f"CASE WHEN NOT CONTAINS({text}, ':') AND NOT {is_epoch(text)} AND NOT {is_basic_instant(text)} THEN 2 "
            f"WHEN {at_midnight} THEN 1 ELSE 0 END"
        )
        return Parsed(moment, present, midnight)
    if reading is None:
        text = f"LEFT({text}, 10)"
    return Parsed(f"CAST({instant_of(text, reading)} AS DATE)", present)


def layout_of(
    connection: duckdb.DuckDBPyConnection,
    table: TableContract,
    part: SourcePart,
    settings: DataSettings,
) -> Layout:
    """The columns of a part; raises Refused where a required one is missing or of no usable type."""
    usable, extra = usable_columns(_types(connection, part), table, part)
    days = {
        column.name
        for column in table.timestamps
        if usable.get(column.name, "").startswith(("VARCHAR", "TIMESTAMP"))
        and _all_midnight(connection, part, column.name)
    }
    read = readings(connection, table, usable, part.relation, settings)
    filled = {
        name
        for name, condition in filled_conditions(settings).items()
        if table.name == "events" and name in usable and _any(connection, part, condition)
    }
    return Layout(
        usable, extra, frozenset(days), (), read.formats, read.doubtful, frozenset(filled)
    )


def usable_columns(
    types: dict[str, str], table: TableContract, part: SourcePart
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The types of the contract's columns that a part has, and the names of its others; raises Refused as ``layout_of``."""
    types = _canonical(types, table, part)
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
                f"{part.label}: column {column.name} holds {types[column.name]}, not {KINDS[column.kind]}"
            )
    usable = {
        name: kind for name, kind in types.items() if name in table.names and name not in nested
    }
    return usable, tuple(name for name in types if name not in usable)


def filled_conditions(settings: DataSettings) -> dict[str, str]:
    """By column of events, what shows that an empty value in it is unknown, not the ordinary one."""
    of_persons = [
        "ui",
        *(word for word, kind in settings.synonyms["source"].items() if kind == "ui"),
    ]
    return {
        "count": "NULLIF(TRIM(CAST(\"count\" AS VARCHAR)), '') IS NOT NULL",
        "source": f"LOWER(TRIM(CAST(source AS VARCHAR))) IN ({', '.join(map(quoted, of_persons))})",
    }


def _any(connection: duckdb.DuckDBPyConnection, part: SourcePart, condition: str) -> bool:
    query = f"SELECT 1 FROM {part.relation} WHERE {condition} LIMIT 1"
    return bool(connection.execute(query).fetchall())


def _types(connection: duckdb.DuckDBPyConnection, part: SourcePart) -> dict[str, str]:
    """The type of each column: text in CSV."""
    if part.path is not None and not part.columnar:
        return dict.fromkeys(part.header[1], "VARCHAR")
    described = connection.execute(f"DESCRIBE SELECT * FROM {part.relation}").fetchall()
    return {name: kind for name, kind, *_ in described if name != "file_row_number"}


def _canonical(types: dict[str, str], table: TableContract, part: SourcePart) -> dict[str, str]:
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


def _all_midnight(connection: duckdb.DuckDBPyConnection, part: SourcePart, name: str) -> bool:
    """Whether every value is a date or its midnight, as it is written: a text's day is then the one that is written."""
    text = f'TRIM(CAST("{name}" AS VARCHAR))'
    query = f"SELECT 1 FROM {part.relation} WHERE {text} <> '' AND NOT regexp_matches({text}, {_MIDNIGHT}) LIMIT 1"
    return not connection.execute(query).fetchall()


def reasons(table: TableContract, settings: DataSettings) -> list[Reason]:
    """Why rows of the table are dropped, in the order in which they are tried; the first one counts."""
    return [
        *(
            reason
            for column in table.columns
            if column.required or column.drops_row
            for reason in _column_reasons(column, settings)
        ),
        *_table_reasons(table, settings),
    ]


def _column_reasons(column: Column, settings: DataSettings) -> Iterator[Reason]:
    """Why a row is dropped for a column's value; of an optional one that is needed only where it is there."""
    name, quoted_name = column.name, f'"{column.name}"'
    if column.required:
        yield Reason(f"{name} is missing", f"NOT has_{name}", name)
    if column.kind == "id":
        condition = f"NOT regexp_matches({quoted_name}, {quoted(CLIENT_ID_RULE)})"
        yield Reason(f"{name} does not match {CLIENT_ID_RULE}", condition, name)
    elif column.kind != "text":
        condition = f"has_{name} AND {quoted_name} IS NULL"
        yield Reason(f"{name} is not {KINDS[column.kind]}", condition, name)
    if (fault := fault_of(column, settings)) is not None:
        yield fault


def _table_reasons(table: TableContract, settings: DataSettings) -> Iterator[Reason]:
    if table.name == "events":
        yield Reason(
            "count is missing in a row of a whole day",
            "count_expected AND NOT has_count",
            "count",
        )
    if table.name == "surveys":
        nps_low, nps_high = settings.nps_range
        unclear = "none is above 7; say in the setting nps_scale if they are of 0 to 10"
        nps = unclear if nps_low > nps_high else "whole, 0 to 10"
        yield Reason(
            f"score is outside its scale (nps: {nps}; csat: {_csat_words(settings)})",
            f"kind = 'nps' AND (score < {nps_low} OR score > {nps_high} OR score <> FLOOR(score)) "
            f"OR kind = 'csat' AND (score < {settings.csat_range[0]} OR score > {settings.csat_range[1]})",
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


def _csat_words(settings: DataSettings) -> str:
    low, high = settings.csat_range
    if low > high:
        return "its values fit several scales; say which in the setting csat_scale"
    return f"{low} to {high}"


def fault_of(column: Column, settings: DataSettings) -> Reason | None:
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
    if column.kind not in ("integer", "number"):
        return None
    low = -LARGEST if column.low is None else column.low
    high = LARGEST if column.high is None else column.high
    if isinstance(low, str):
        low, high = getattr(settings, low)
        if low > high:
            return Reason(f"{name}: {_csat_words(settings)}", f"{quoted_name} IS NOT NULL", name)
    bounds = {
        f"below {low:,.0f}": f"{quoted_name} < {low!r}",
        f"above {high:,.0f}": f"{quoted_name} > {high!r}",
    }
    return Reason(f"{name} is " + " or ".join(bounds), " OR ".join(bounds.values()), name)


def _disorder(table: TableContract, earlier: str, later: str) -> str:
    """Compared as instants where both have a time of day, else as days."""
    if table.column(earlier).kind != "timestamp":
        return f'"{later}" < "{earlier}"'
    both = " AND ".join(f"{table.column(name).stem}_midnight = 0" for name in (earlier, later))
    return (
        f'(CASE WHEN {both} THEN "{later}" < "{earlier}" '
        f'ELSE CAST("{later}" AS DATE) < CAST("{earlier}" AS DATE) END)'
    )


def _unusable(column: Column, settings: DataSettings) -> str:
    """A condition under which an optional value cannot be used."""
    conditions = [f'"{column.name}" IS NULL'] if column.kind != "text" else []
    if column.kind == "zone":
        conditions.append(f'"{column.name}" NOT IN (SELECT zone FROM known_zones)')
    if (fault := fault_of(column, settings)) is not None:
        conditions.append(f"({fault.condition})")
    return f"has_{column.name} AND COALESCE({' OR '.join(conditions)}, FALSE)" if conditions else ""


def checked(
    table: TableContract,
    layout: Layout,
    relation: str,
    settings: DataSettings,
    *,
    row: str = "0",
    carried: Sequence[str] = (),
) -> str:
    """The select of a part's rows: ``row_number``, ``fault``, ``mask``, the clean columns and times of day.

    Step by step: clean texts, typed values, optional values emptied that cannot be used, then the first reason for
    which the row is dropped. Sentinel dates are gone before dates are compared.
    """
    cases = " ".join(
        f"WHEN {reason.condition} THEN {number}"
        for number, reason in enumerate(reasons(table, settings), start=1)
    )
    early = {
        order.later: _disorder(table, order.earlier, order.later)
        for order in table.orders
        if not order.drops_row and order.later in layout.types
    }
    bad = {
        column.name: " OR ".join(
            filter(
                None,
                (
                    f"bad_{column.name}",
                    f"COALESCE({early[column.name]}, FALSE)" if column.name in early else "",
                ),
            )
        )
        for column in _optional(table, layout)
    }
    masks = [
        f"CASE WHEN {condition} THEN {1 << table.names.index(name)} ELSE 0 END"
        for name, condition in bad.items()
    ]
    items = [
        *_carried(carried),
        f"CAST(CASE {cases} ELSE 0 END AS UTINYINT) AS fault",
        f"CAST({' + '.join(masks) or '0'} AS INTEGER) AS mask",
    ]
    for column in table.columns:
        name = f'"{column.name}"'
        if column.name in early:
            name = f"CASE WHEN COALESCE({early[column.name]}, FALSE) THEN NULL ELSE {name} END AS {name}"
        items.append(name)
        if column.kind == "timestamp":
            stamp, midnight = f'"{column.name}"', f"{column.stem}_midnight"
            items.append(midnight)
            items.append(f"{midnight} = 0 AND {stamp} IS NOT NULL AS {column.stem}_has_time")
    return f"SELECT {', '.join(items)} FROM ({_usable(table, layout, relation, settings, row, carried)})"


def _carried(carried: Sequence[str]) -> list[str]:
    return ["row_number", *(name.split(" AS ")[-1] for name in carried)]


def _optional(table: TableContract, layout: Layout) -> list[Column]:
    """The columns of a part whose values are emptied where they cannot be used."""
    return [
        column
        for column in table.columns
        if not (column.required or column.drops_row) and column.name in layout.types
    ]


def _usable(
    table: TableContract,
    layout: Layout,
    relation: str,
    settings: DataSettings,
    row: str,
    carried: Sequence[str],
) -> str:
    """Values that can be used: without sentinels, with defaults, without optional values out of range."""
    dated, items = [], [*_carried(carried)]
    optional = {column.name for column in _optional(table, layout)}
    for column in table.columns:
        name, value, present = column.name, f'"{column.name}"', f"has_{column.name}"
        if column.kind in ("timestamp", "date") and name in layout.types:
            day = f"CAST({value} AS DATE)"
            dated.append(f"{without_sentinels(value, day)} AS {value}")
            dated.append(f"{present} AND {without_sentinels('TRUE', day)} IS NOT NULL AS {present}")
        else:
            dated += [value, present]
        condition = _unusable(column, settings) if name in optional else ""
        if name == "source" and name in layout.filled:
            condition = f"NOT {present} OR {condition}"
        instead = quoted(column.other) if column.other else "NULL"
        usable = f"CASE WHEN {condition} THEN {instead} ELSE {value} END" if condition else value
        if column.default:
            usable, present = (
                f"COALESCE({usable}, {column.default})",
                f"{present} OR {column.default} IS NOT NULL AS {present}",
            )
        items += [f"{usable} AS {value}", present]
        items.append(f"{condition or 'FALSE'} AS bad_{name}")
        if column.kind == "timestamp":
            dated.append(f"{column.stem}_midnight")
            items.append(f"{column.stem}_midnight")
    if table.name == "events":
        whole_days = 1 if "occurred_at" in layout.day_only else 2
        expected = f"occurred_midnight >= {whole_days}" if "count" in layout.filled else "FALSE"
        items.append(f"{expected} AS count_expected")
    parsed = _parsed(table, layout, relation, settings, row, carried)
    return f"SELECT {', '.join(items)} FROM (SELECT {', '.join([*_carried(carried), *dated])} FROM ({parsed}))"


def _parsed(
    table: TableContract,
    layout: Layout,
    relation: str,
    settings: DataSettings,
    row: str,
    carried: Sequence[str],
) -> str:
    """The typed values, whether the source has them, times of day."""
    items = _carried(carried)
    types = {
        name: "VARCHAR"
        if kind.startswith(("VARCHAR", "ENUM")) or is_id(table.column(name))
        else kind
        for name, kind in layout.types.items()
    }
    for column in table.columns:
        parsed = Parsed(f"CAST(NULL AS {SQL_TYPES[column.kind]})", "FALSE")
        if column.name in types:
            parsed = parse(column, types[column.name], layout, settings)
        items += [f'{parsed.value} AS "{column.name}"', f"{parsed.present} AS has_{column.name}"]
        if column.kind == "timestamp":
            items.append(f"CAST({parsed.midnight} AS UTINYINT) AS {column.stem}_midnight")
    texts, present = [f"{row} AS row_number", *carried], _carried(carried)
    for name, kind in types.items():
        column, value = table.column(name), f'"{name}"'
        is_text = kind == "VARCHAR"
        texts.append(
            f"{text_of(column, layout.types[name], settings)} AS {value}" if is_text else value
        )
        present.append(f"{present_text(column, value, settings)} AS {value}" if is_text else value)
    clean = f"SELECT {', '.join(present)} FROM (SELECT {', '.join(texts)} FROM {relation})"
    lookups = [
        f'{lookup} AS "lookup {name}"'
        for name, kind in types.items()
        if (lookup := lookup_of(table.column(name), kind, layout.formats.get(name)))
    ]
    clean = f"SELECT {', '.join(['*', *lookups])} FROM ({clean})" if lookups else clean
    return f"SELECT {', '.join(items)} FROM ({clean})"


def numbered(part: SourcePart) -> str:
    """The expression for a row's number in its file, from 1; rows of an engine have no order."""
    if part.engine is not None:
        return "0"
    return "file_row_number + 1" if part.columnar else "ROW_NUMBER() OVER ()"


def line_of(part: SourcePart, layout: Layout, row: int) -> int | None:
    """The line for a reader: of a CSV file with its header as line 1, of a Parquet file the row."""
    if part.engine is not None:
        return None
    if part.format != "csv":
        return copies.line_of(part, row)
    line = row + 1 + part.skipped
    for rejected in layout.rejected:
        line += rejected <= line
    return line
