"""The `dirty` scenario: some tables as CSV with faults, each listed with what must become of it.

Rows that must be dropped are added to the clean ones, and what is altered in a clean row is
nothing that a driver is counted from: the rest of the truth stays as in `default`.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from healthseg.demo.frame import LAST_DAY, stream
from healthseg.demo.schema import TRUTH
from healthseg.demo.writing import table

CSV_TABLES = ("customers", "users", "tickets", "surveys", "invoices", "contracts")
LATE = "events/late.csv"
TIMES = 5  # how often each fault occurs in a table
EVENT_COLUMNS = ("client_id", "occurred_at", "source", "count")
Row = dict[str, str]
# a row added to a table that must not stay: table, fault, column, value given there
ADDED = (
    ("customers", "wrong_type", "signup_date", "31/31/2024"),
    ("customers", "missing_required", "signup_date", ""),
    ("customers", "bad_id", "client_id", "no such id!"),
    ("users", "unknown_customer", "client_id", "cs_client_99999"),
    ("users", "missing_required", "user_id", ""),
    ("tickets", "unknown_customer", "client_id", "cs_client_99999"),
    ("tickets", "impossible_date", "resolved_at", "2001-01-01 10:00:00"),
    ("tickets", "wrong_type", "opened_at", "yesterday"),
    ("surveys", "bad_enum", "kind", "ces"),
    ("surveys", "wrong_type", "score", "very good"),
    ("surveys", "missing_required", "responded_at", ""),
    ("invoices", "wrong_type", "amount", "twelve"),
    ("invoices", "impossible_date", "due_on", "2001-01-01"),
    ("invoices", "bad_id", "client_id", "../secrets"),
    ("contracts", "impossible_date", "ends_on", "2001-01-01"),
    ("contracts", "wrong_type", "arr", "a lot"),
)
# an optional value of a clean row that must become null: table, fault, column, value, rows that may be hit
ALTERED: tuple[tuple[str, str, str, str, Callable[[Row], bool]], ...] = (
    (
        "customers",
        "wrong_type",
        "strategic_value",
        "high",
        lambda row: row["strategic_value"] != "",
    ),
    ("tickets", "wrong_type", "csat", "great", lambda row: row["csat"] != ""),
    ("tickets", "bad_enum", "severity", "urgent", lambda row: row["severity"] == "low"),
    ("contracts", "wrong_type", "renews_on", "soon", lambda row: row["renews_on"] != ""),
)
KEYS = {
    "customers": "client_id",
    "users": "user_id",
    "tickets": "ticket_id",
    "invoices": "invoice_id",
}


def _rows(content: pa.Table) -> list[Row]:
    columns = [[_text(value) for value in column.to_pylist()] for column in content.columns]
    return [
        dict(zip(content.column_names, values, strict=True))
        for values in zip(*columns, strict=True)
    ]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dt.datetime):
        return value.isoformat(" ", "milliseconds")
    return str(value)


class _Spoiled:
    """A table's rows, and the faults put into them so far."""

    def __init__(self, name: str, rows: list[Row], rng: np.random.Generator) -> None:
        self.name, self.rows, self._rng = name, rows, rng
        self._clean, self._hit = len(rows), set()
        self.faults: list[tuple[str, int, str, str, str, str, str]] = []

    def _pick(self, fits: Callable[[Row], bool]) -> list[int]:
        able = [
            place
            for place in range(self._clean)
            if place not in self._hit and fits(self.rows[place])
        ]
        chosen = sorted(self._rng.permutation(len(able))[:TIMES])
        self._hit |= {able[place] for place in chosen}
        return [able[place] for place in chosen]

    def note(self, place: int, column: str, fault: str, expected: str) -> None:
        row = self.rows[place]
        self.faults.append(
            (self.name, place + 1, row["client_id"], column, fault, row.get(column, ""), expected)
        )

    def repeat(self) -> None:
        for place in self._pick(lambda row: True):
            self.rows.append(dict(self.rows[place]))
            self.note(len(self.rows) - 1, "client_id", "duplicate", "dropped")

    def add(self, fault: str, column: str, value: str) -> None:
        key = KEYS.get(self.name)
        for serial, place in enumerate(self._pick(lambda row: True)):
            fresh = {key: f"extra_{fault}_{column}_{serial}"} if key else {}
            self.rows.append({**self.rows[place], **fresh, column: value})
            self.note(len(self.rows) - 1, column, fault, "dropped")

    def alter(self, fault: str, column: str, value: str, fits: Callable[[Row], bool]) -> None:
        for place in self._pick(fits):
            self.rows[place][column] = value
            self.note(place, column, fault, "corrected")

    def shift_zone(self, column: str) -> None:
        """The same instant, written with an offset."""
        for place in self._pick(lambda row: row[column] != ""):
            moment = dt.datetime.fromisoformat(self.rows[place][column]) + dt.timedelta(hours=2)
            self.rows[place][column] = moment.isoformat(" ", "milliseconds") + "+02:00"
            self.note(place, column, "mixed_zone", "kept")


def _spoil(name: str, content: pa.Table, seed: int) -> _Spoiled:
    spoiled = _Spoiled(name, _rows(content), stream(seed, 0, f"dirt:{name}"))
    for where, fault, column, value, fits in ALTERED:
        if where == name:
            spoiled.alter(fault, column, value, fits)
    if name == "tickets":
        spoiled.shift_zone("opened_at")
    for where, fault, column, value in ADDED:
        if where == name:
            spoiled.add(fault, column, value)
    spoiled.repeat()
    return spoiled


def _late_events(customers: pa.Table, seed: int) -> _Spoiled:
    """API calls that came in late, of customers who are live at the portfolio's end."""
    live = [row["client_id"] for row in customers.to_pylist() if row["churned_on"] is None]
    spoiled = _Spoiled("events", [], stream(seed, 0, "dirt:events"))
    noon = dt.datetime.combine(LAST_DAY, dt.time(12))
    cases = (
        (
            "plain",
            "kept",
            "{day} 12:00:00",
            {"count": ""},
        ),  # one call each: rows with a count are never repeats
        ("mixed_zone", "kept", "{day} 14:30:00+02:00", {}),
        ("mixed_zone", "kept", "{day}T06:30:00-06:00", {}),
        ("impossible_date", "dropped", "2031-01-01 00:00:00", {}),
        ("impossible_date", "dropped", "1890-01-01 00:00:00", {}),
        ("wrong_type", "dropped", "noon", {}),
        ("missing_required", "dropped", "", {}),
        ("bad_enum", "corrected", "{day} 13:00:00", {"source": "robot"}),
        ("wrong_type", "corrected", "{day} 13:15:00", {"count": "many"}),
        ("bad_id", "dropped", "{day} 12:45:00", {"client_id": "a b"}),
        ("unknown_customer", "dropped", "{day} 12:50:00", {"client_id": "cs_client_99999"}),
    )
    for serial in range(TIMES):
        for fault, expected, when, other in cases:
            day = (noon - dt.timedelta(days=1 + serial)).date()
            row = {
                "client_id": live[serial % len(live)],
                "occurred_at": when.format(day=day),
                "source": "api",
                "count": "3",
            }
            spoiled.rows.append({**row, **other})
            spoiled.note(len(spoiled.rows) - 1, next(iter(other), "occurred_at"), fault, expected)
    for place in range(3):
        spoiled.rows.append(dict(spoiled.rows[place * len(cases)]))
        spoiled.note(len(spoiled.rows) - 1, "occurred_at", "duplicate", "dropped")
    return spoiled


def _write_csv(path: Path, columns: list[str], rows: list[Row]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text.getvalue(), encoding="utf-8")
    os.replace(beside, path)


def write_dirt(out: Path, tables: dict[str, pa.Table], seed: int) -> pa.Table:
    """Write the spoiled tables as CSV; gives the list of faults: ``row`` is the data row, its line is one more."""
    faults = []
    for name in CSV_TABLES:
        spoiled = _spoil(name, tables[name], seed)
        _write_csv(out / f"{name}.csv", tables[name].column_names, spoiled.rows)
        faults += spoiled.faults
    late = _late_events(tables["customers"], seed)
    _write_csv(out / LATE, list(EVENT_COLUMNS), late.rows)
    faults += late.faults
    names = ("table", "row", "client_id", "column", "fault", "value", "expected")
    return table(
        TRUTH["dirt"],
        {name: [fault[place] for fault in faults] for place, name in enumerate(names)},
    )
