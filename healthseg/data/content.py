"""Content of a portfolio as of a day: a fingerprint of all that was knowable by the end of that day.

Of each row, the columns that became known on the same day contribute one hash to
that day; the fingerprint of a day sums the days up to it, in any order. Rows and
values that come later never change it, nor does an overwritten snapshot.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path

import duckdb

from healthseg.data.facts import Month
from healthseg.data.tables import SNAPSHOT, STATIC, Table

Sums = dict[dt.date | None, int]
FILE = "sums.json"
_WORD = 2**64


def _groups(table: Table) -> dict[tuple[str, ...], list[str]]:
    groups: dict[tuple[str, ...], list[str]] = {}
    for column in table.columns:
        groups.setdefault(column.known_from, []).append(column.name)
    return groups


def _day(table: Table, name: str) -> str:
    column = table.column(name)
    return f"{column.stem}_day" if column.kind == "timestamp" else f'"{name}"'


def _identity(table: Table, own: tuple[str, ...]) -> list[str]:
    """What ties later values to their row: its key, else the columns known when the row appeared."""
    return list(table.key) or [column.name for column in table.columns if column.known_from == own]


def table_sums(connection: duckdb.DuckDBPyConnection, table: Table) -> tuple[Sums, int]:
    """Order-free sums of a table's clean rows by the day they became known (None: always), and of its snapshot."""
    own = next(column.known_from for column in table.columns if column.required)
    dated: Sums = {}
    snapshot = 0
    for known_from, names in _groups(table).items():
        values = ", ".join(f'"{name}"' for name in dict.fromkeys([*_identity(table, own), *names]))
        if known_from == SNAPSHOT:
            snapshot = int(
                connection.execute(
                    f"SELECT COALESCE(SUM(CAST(HASH('snapshot', {values}) AS HUGEINT)), 0) FROM \"{table.name}\""
                ).fetchall()[0][0]
            )
            continue
        days = [_day(table, name) for name in known_from if (name,) != STATIC]
        day = (
            f"COALESCE({', '.join(days)})"
            if len(days) > 1
            else (days[0] if days else "CAST(NULL AS DATE)")
        )
        always = known_from[-1:] == STATIC
        where = "" if always else f"WHERE {day} IS NOT NULL"
        if known_from != own and not always:  # a value that is not there says nothing on any day
            where += " AND (" + " OR ".join(f'"{name}" IS NOT NULL' for name in names) + ")"
        label = "|".join(known_from)
        for known, total in connection.execute(
            f"SELECT {day} AS day, SUM(CAST(HASH('{label}', {values}) AS HUGEINT)) FROM \"{table.name}\" {where} "
            "GROUP BY 1"
        ).fetchall():
            dated[known] = (dated.get(known, 0) + int(total)) % _WORD
    return dated, snapshot % _WORD


def event_sums(months: Mapping[str, Month]) -> Sums:
    """Order-free sums of the counted events by account-local day."""
    sums: Sums = {}
    for month in months.values():
        for text, _, total in month.record["days"]:
            sums[dt.date.fromisoformat(text)] = int(total)
    return sums


def until(sums: Sums, day: dt.date | None) -> int:
    """The sum over all that was known by the end of ``day``, or over all."""
    return (
        sum(total for known, total in sums.items() if day is None or known is None or known <= day)
        % _WORD
    )


def write_sums(path: Path, sums: tuple[Sums, int]) -> None:
    """Keep a table's sums; as texts, since JSON's numbers are not safe beyond 53 bits."""
    dated, snapshot = sums
    days = [[None if day is None else day.isoformat(), str(total)] for day, total in dated.items()]
    path.write_text(
        json.dumps({"days": days, "snapshot": str(snapshot)}, separators=(",", ":")),
        encoding="utf-8",
    )


def read_sums(path: Path) -> tuple[Sums, int] | None:
    """The sums that were kept, or None where there are none, or half a file."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    days = {
        None if day is None else dt.date.fromisoformat(day): int(total)
        for day, total in kept["days"]
    }
    return days, int(kept["snapshot"])
