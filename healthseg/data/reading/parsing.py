"""SQL expressions that turn a given column into the contract's type: the same value whatever the file format.

Text is trimmed, empty text is missing. A timestamp with an offset is converted to
UTC, one without is UTC; a calendar day without a time of day stays that day.
"""

from __future__ import annotations

from dataclasses import dataclass

from healthseg.data.reading.sources import quoted
from healthseg.data.tables import Column
from healthseg.settings import Settings

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
EARLIEST = "1990-01-01"  # before any software subscription: a date below it is a default or a slip
_WHOLE = ("BIGINT", "INTEGER", "SMALLINT", "TINYINT")
_NUMERIC = (*_WHOLE, "DOUBLE", "FLOAT")
_DATED = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$"


@dataclass(frozen=True)
class Parsed:
    """A column's clean value, whether something was given at all, and whether it has a time of day."""

    value: str
    given: str
    has_time: str = "FALSE"


def text(name: str) -> str:
    return f"NULLIF(TRIM(CAST(\"{name}\" AS VARCHAR)), '')"


def _timestamp(name: str, raw: str, day_only: bool) -> Parsed:
    if raw == "DATE" or (raw.startswith("TIMESTAMP") and day_only):
        value = f'CAST("{name}" AS TIMESTAMP)'
        return Parsed(value, f'"{name}" IS NOT NULL')
    if raw == "TIMESTAMP WITH TIME ZONE":
        return Parsed(f"(\"{name}\" AT TIME ZONE 'UTC')", f'"{name}" IS NOT NULL', "TRUE")
    if raw.startswith("TIMESTAMP"):
        return Parsed(f'CAST("{name}" AS TIMESTAMP)', f'"{name}" IS NOT NULL', "TRUE")
    given = text(name)
    value = (
        f"CASE WHEN regexp_matches({given}, {quoted(_DATED)}) "
        f"THEN TRY_CAST({given} AS TIMESTAMPTZ) AT TIME ZONE 'UTC' END"
    )
    return Parsed(value, f"{given} IS NOT NULL", f"LENGTH({given}) > 10")


def _date(name: str, raw: str) -> Parsed:
    if raw == "DATE":
        return Parsed(f'"{name}"', f'"{name}" IS NOT NULL')
    if raw == "TIMESTAMP WITH TIME ZONE":
        return Parsed(f"CAST(\"{name}\" AT TIME ZONE 'UTC' AS DATE)", f'"{name}" IS NOT NULL')
    if raw.startswith("TIMESTAMP"):
        return Parsed(f'CAST("{name}" AS DATE)', f'"{name}" IS NOT NULL')
    given = text(name)
    value = f"CASE WHEN regexp_matches({given}, {quoted(_DATED)}) THEN TRY_CAST(LEFT({given}, 10) AS DATE) END"
    return Parsed(value, f"{given} IS NOT NULL")


def parse(column: Column, raw: str, *, day_only: bool = False) -> Parsed:
    """The expressions for a column that was given as DuckDB type ``raw``."""
    name, given = column.name, text(column.name)
    if column.kind == "timestamp":
        return _timestamp(name, raw, day_only)
    if column.kind == "date":
        return _date(name, raw)
    number = f"TRY_CAST({given} AS DOUBLE)"
    value = {
        "integer": f"CASE WHEN {number} = FLOOR({number}) AND ABS({number}) < 9e15 THEN CAST({number} AS BIGINT) END",
        "number": f"CASE WHEN ISFINITE({number}) THEN {number} END",
        "boolean": f"TRY_CAST({given} AS BOOLEAN)",
        "text": f"LOWER({given})" if column.allowed else given,
    }.get(column.kind, given)
    if raw in _NUMERIC and column.kind == "number":
        value = f'CASE WHEN ISFINITE(CAST("{name}" AS DOUBLE)) THEN CAST("{name}" AS DOUBLE) END'
    if raw in _WHOLE and column.kind == "integer":
        value = f'CAST("{name}" AS BIGINT)'
    return Parsed(value, f"{given} IS NOT NULL")


def fault(column: Column, settings: Settings) -> tuple[str, str] | None:
    """A condition over the clean value under which it cannot stand, and the words for it."""
    name = f'"{column.name}"'
    if column.allowed:
        words = ", ".join(map(quoted, column.allowed))
        return f"{name} NOT IN ({words})", f"{column.name} is none of {', '.join(column.allowed)}"
    if column.kind in ("timestamp", "date"):
        return (
            f"{name} < TIMESTAMP '{EARLIEST}' OR {name} >= TIMESTAMP '2200-01-01'",
            f"{column.name} is an impossible date",
        )
    high = getattr(settings, column.high) if isinstance(column.high, str) else column.high
    bounds = [(f"{name} < {column.low}", f"below {column.low}")] if column.low is not None else []
    bounds += [(f"{name} > {high}", f"above {high}")] if high is not None else []
    if not bounds:
        return None
    return " OR ".join(sql for sql, _ in bounds), f"{column.name} is " + " or ".join(
        words for _, words in bounds
    )


WORDS = {
    "timestamp": "a timestamp (YYYY-MM-DD HH:MM:SS, in UTC or with its offset)",
    "date": "a date (YYYY-MM-DD)",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "id": "an id",
    "text": "text",
    "zone": "an IANA time zone",
}
