"""The `dirty` scenario: tables as CSV with faults, each listed with what the product must do with it.

Rows to be dropped are added to the clean ones, and no driver is counted from what is altered in a
clean row: the rest of the truth stays as in `default`.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from healthseg.demo.scenarios import LAST_DAY, World, random_stream
from healthseg.demo.schema import TRUTH, replace_file

CSV_TABLES = ("customers", "users", "tickets", "surveys", "invoices", "contracts")
LATE = "events/late.csv"
EVENT_COLUMNS = ["client_id", "occurred_at", "source", "count"]
# how often each fault occurs in a table
TIMES = 5
Row = dict[str, str]
# rows that must be dropped: table, fault, column, value
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
# optional values that must become null: table, fault, column, value, old value ("*": any but empty)
ALTERED = (
    ("customers", "wrong_type", "strategic_value", "high", "*"),
    ("tickets", "wrong_type", "csat", "great", "*"),
    ("tickets", "bad_enum", "severity", "unrated", "low"),
    ("contracts", "wrong_type", "renews_on", "soon", "*"),
)
KEYS = {
    "customers": "client_id",
    "users": "user_id",
    "tickets": "ticket_id",
    "invoices": "invoice_id",
}
# API calls that arrive late: fault, expected, moment, other values. Without a count, a row can repeat
LATE_EVENTS: tuple[tuple[str, str, str, Row], ...] = (
    ("plain", "kept", "{day} 12:00:00", {"count": ""}),
    ("mixed_zone", "kept", "{day} 14:30:00+02:00", {}),
    ("mixed_zone", "kept", "{day}T06:30:00-06:00", {}),
    ("impossible_date", "dropped", "2031-01-01 00:00:00", {}),
    ("impossible_date", "dropped", "1890-01-01 00:00:00", {}),
    ("wrong_type", "dropped", "noon", {}),
    ("missing_required", "dropped", "", {}),
    ("bad_enum", "corrected", "{day} 13:00:00", {"source": "robot"}),
    ("wrong_type", "dropped", "{day} 13:15:00", {"count": "many"}),
    ("bad_id", "dropped", "{day} 12:45:00", {"client_id": "a b"}),
    ("unknown_customer", "dropped", "{day} 12:50:00", {"client_id": "cs_client_99999"}),
)


def _text(value: object) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat(" ", "milliseconds")
    return "" if value is None else str(value)


class _Dirty:
    """A table's rows, and the faults put into them so far, as rows of the truth."""

    def __init__(self, name: str, rows: list[Row], rng: np.random.Generator) -> None:
        self.name, self.rows, self._rng = name, rows, rng
        self._clean, self._used = len(rows), set[int]()
        self.faults: list[dict[str, str | int]] = []

    def _choose(self, fits: Callable[[Row], bool] = lambda row: True) -> list[int]:
        free = [row for row in range(self._clean) if row not in self._used and fits(self.rows[row])]
        chosen = [free[position] for position in sorted(self._rng.permutation(len(free))[:TIMES])]
        self._used |= set(chosen)
        return chosen

    def note(self, row: int, column: str, fault: str, expected: str) -> None:
        values = self.rows[row]
        fault_row: dict[str, str | int] = {"table": self.name, "row": row + 1}
        fault_row |= {"client_id": values["client_id"], "column": column, "fault": fault}
        self.faults.append(fault_row | {"value": values.get(column, ""), "expected": expected})

    def append(self, row: Row, column: str, fault: str, expected: str) -> None:
        self.rows.append(row)
        self.note(len(self.rows) - 1, column, fault, expected)

    def repeat(self) -> None:
        for row in self._choose():
            self.append(dict(self.rows[row]), "client_id", "duplicate", "dropped")

    def add(self, fault: str, column: str, value: str) -> None:
        key = KEYS.get(self.name)
        for serial, row in enumerate(self._choose()):
            fresh = {key: f"extra_{fault}_{column}_{serial}"} if key else {}
            self.append({**self.rows[row], **fresh, column: value}, column, fault, "dropped")

    def alter(self, fault: str, column: str, value: str, old: str) -> None:
        for row in self._choose(
            lambda row: row[column] == old if old != "*" else row[column] != ""
        ):
            self.rows[row][column] = value
            self.note(row, column, fault, "corrected")

    def shift_zone(self) -> None:
        """Write the same instant with an offset."""
        column = "opened_at"
        for row in self._choose(lambda row: row[column] != ""):
            moment = dt.datetime.fromisoformat(self.rows[row][column]) + dt.timedelta(hours=2)
            self.rows[row][column] = moment.isoformat(" ", "milliseconds") + "+02:00"
            self.note(row, column, "mixed_zone", "kept")

    def write(self, path: Path, columns: list[str]) -> None:
        def write_rows(partial: Path) -> None:
            with open(partial, "w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, columns, lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.rows)

        replace_file(path, write_rows)


def _dirty_table(name: str, content: pa.Table, seed: int) -> _Dirty:
    rows = [{key: _text(value) for key, value in row.items()} for row in content.to_pylist()]
    dirty = _Dirty(name, rows, random_stream(seed, 0, f"dirt:{name}"))
    for table_name, fault, column, value, old in ALTERED:
        if table_name == name:
            dirty.alter(fault, column, value, old)
    if name == "tickets":
        dirty.shift_zone()
    for table_name, fault, column, value in ADDED:
        if table_name == name:
            dirty.add(fault, column, value)
    dirty.repeat()
    return dirty


def _late_events(customers: pa.Table, seed: int) -> _Dirty:
    """API calls that arrive late, of customers who are live at the portfolio's end."""
    live = [row["client_id"] for row in customers.to_pylist() if row["churned_on"] is None]
    dirty = _Dirty("events", [], random_stream(seed, 0, "dirt:events"))
    for serial in range(TIMES):
        day, client_id = LAST_DAY - dt.timedelta(days=1 + serial), live[serial % len(live)]
        for fault, expected, moment, other in LATE_EVENTS:
            row = {"client_id": client_id, "occurred_at": moment.format(day=day)}
            row |= {"source": "api", "count": "3", **other}
            dirty.append(row, next(iter(other), "occurred_at"), fault, expected)
    for position in range(3):
        row = dict(dirty.rows[position * len(LATE_EVENTS)])
        dirty.append(row, "occurred_at", "duplicate", "dropped")
    return dirty


def write_dirt(out: Path, tables: dict[str, pa.Table], world: World) -> pa.Table:
    """Write the dirty tables as CSV; returns the faults. ``row`` counts data rows, from 1."""
    faults = []
    for name in CSV_TABLES:
        dirty = _dirty_table(name, tables[name], world.seed)
        dirty.write(out / f"{name}.csv", tables[name].column_names)
        faults += dirty.faults
    late = _late_events(tables["customers"], world.seed)
    late.write(out / LATE, EVENT_COLUMNS)
    faults += late.faults
    return world.truth("dirt", **{name: [row[name] for row in faults] for name in TRUTH["dirt"]})
