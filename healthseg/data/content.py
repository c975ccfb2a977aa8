"""Content of a portfolio as of a day: a fingerprint of all that was knowable by the end of that day.

Of each row, the columns that became known on the same day contribute one hash to
that day; the fingerprint of a day sums the days up to it, in any order. Rows and
values that come later never change it, nor does an overwritten snapshot.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import duckdb

from healthseg.data.facts import Month
from healthseg.data.tables import SNAPSHOT, STATIC, TableContract

Sums = dict[dt.date | None, int]
WORD = 2**64


def table_sums(connection: duckdb.DuckDBPyConnection, table: TableContract) -> tuple[Sums, int]:
    """Order-free sums of a table's clean rows by the day they became known (None: always), and of its snapshot."""
    own = next(column.known_from for column in table.columns if column.required)
    # what ties later values to their row: its key, else the columns known when the row appeared
    identity = list(table.key) or [
        column.name for column in table.columns if column.known_from == own
    ]
    groups: dict[tuple[str, ...], list[str]] = {}
    for column in table.columns:
        groups.setdefault(column.known_from, []).append(column.name)
    dated: Sums = {}
    snapshot = 0
    for known_from, names in groups.items():
        values = ", ".join(f'"{name}"' for name in dict.fromkeys([*identity, *names]))
        if known_from == SNAPSHOT:
            query = f'SELECT {_sum("snapshot", values)} FROM "{table.name}"'
            ((total,),) = connection.execute(query).fetchall()
            snapshot = int(total)
            continue
        day, where = _known(table, known_from, names if known_from != own else [])
        hashes = _sum("|".join(known_from), values)
        query = f'SELECT {day} AS day, {hashes} FROM "{table.name}" {where} GROUP BY 1'
        for known, total in connection.execute(query).fetchall():
            dated[known] = (dated.get(known, 0) + int(total)) % WORD
    return dated, snapshot % WORD


def _sum(label: str, values: str) -> str:
    return f"COALESCE(SUM(CAST(HASH('{label}', {values}) AS HUGEINT)), 0)"


def _known(table: TableContract, known_from: tuple[str, ...], later: list[str]) -> tuple[str, str]:
    """The day on which columns became known, and the condition that they did: ``later`` ones have a value."""
    days = [_day(table, name) for name in known_from if (name,) != STATIC] or ["CAST(NULL AS DATE)"]
    day = f"COALESCE({', '.join(days)})" if len(days) > 1 else days[0]
    if known_from[-1:] == STATIC:
        return day, ""
    where = f"WHERE {day} IS NOT NULL"
    if later:
        where += " AND (" + " OR ".join(f'"{name}" IS NOT NULL' for name in later) + ")"
    return day, where


def _day(table: TableContract, name: str) -> str:
    column = table.column(name)
    return f"{column.stem}_day" if column.kind == "timestamp" else f'"{name}"'


def event_sums(months: Mapping[str, Month]) -> Sums:
    """Order-free sums of the counted events by account-local day."""
    return {
        dt.date.fromisoformat(text): int(total)
        for month in months.values()
        for text, _, total in month.record["days"]
    }


def until(sums: Sums, day: dt.date | None) -> int:
    """The sum over all that was known by the end of ``day``, or over all."""
    known = (total for at, total in sums.items() if day is None or at is None or at <= day)
    return sum(known) % WORD


def to_json(sums: tuple[Sums, int]) -> dict[str, Any]:
    """A table's sums as texts, since JSON's numbers are not safe beyond 53 bits."""
    dated, snapshot = sums
    days = [[None if day is None else day.isoformat(), str(total)] for day, total in dated.items()]
    return {"days": days, "snapshot": str(snapshot)}


def from_json(values: Mapping[str, Any]) -> tuple[Sums, int]:
    dated = {day and dt.date.fromisoformat(day): int(total) for day, total in values["days"]}
    return dated, int(values["snapshot"])
