"""A portfolio whose every text column, of every table, holds each hostile string: made from the contract of the tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from healthseg.data.tables import TABLES, Column, TableContract
from tests.reports.hostile import HOSTILE

UNTIL = pd.Timestamp("2025-10-10")
CLIENTS = [f"client_{number:02d}" for number in range(len(HOSTILE))]
SHOWN, NAME = CLIENTS[2], HOSTILE[2]  # a live customer, no prospect any more
DAYS_BEFORE = {
    "signup_date": 400,
    "starts_on": 390,
    "released_on": 500,
    "issued_on": 60,
    "due_on": 30,
    "created_at": 380,
}
AHEAD = {"ends_on": -90, "renewal_date": -90, "renews_on": -90}
GONE = ("churned_on", "notice_on", "deactivated_at")


def write(folder: Path) -> Path:
    """Sixty rows a table (more of events), row n with the nth string in each of its columns of text."""
    folder.mkdir()
    for table in TABLES.values():
        frame = rows(table)
        if table.name == "events":
            frame = pd.concat([_shifted(frame, weeks) for weeks in range(26)], ignore_index=True)
        frame.to_parquet(folder / f"{table.name}.parquet")
    return folder


def text_columns(table: TableContract) -> list[str]:
    """The columns in which any text may stand."""
    return [
        column.name
        for column in table.columns
        if column.kind in ("text", "zone") and not column.allowed
    ]


def rows(table: TableContract) -> pd.DataFrame:
    return pd.DataFrame({column.name: _values(table, column) for column in table.columns})


def _values(table: TableContract, column: Column) -> list:
    every = range(len(HOSTILE))
    if column.kind == "id":
        return CLIENTS
    if column.allowed:
        return [column.allowed[number % len(column.allowed)] for number in every]
    if column.name in GONE:
        return [UNTIL - pd.Timedelta(days=20) if number % 10 == 9 else pd.NaT for number in every]
    if column.kind in ("date", "timestamp"):
        before = (DAYS_BEFORE | AHEAD).get(column.name, 14)
        return [
            (UNTIL - pd.Timedelta(days=before + number % 5, hours=8)).floor("s") for number in every
        ]
    if column.kind == "boolean":
        return [number % 2 == 0 for number in every]
    if column.kind == "integer":
        return [1 + number % 9 for number in every]
    if column.name == "score":  # each second is of NPS, of which some are above 7
        return [9.0 if number % 10 == 0 else 1.0 + number % 4 for number in every]
    if column.kind == "number":
        return [
            1000.0 * (1 + number % 7) if column.name in ("arr", "amount") else 1.0 + number % 4
            for number in every
        ]
    return list(HOSTILE)


def _shifted(events: pd.DataFrame, weeks: int) -> pd.DataFrame:
    """The same customers some weeks before, each also with its neighbour's feature."""
    at = events["occurred_at"] + pd.Timedelta(days=13) - pd.Timedelta(weeks=weeks)
    return events.assign(occurred_at=at, feature=np.roll(events["feature"], weeks % 3))
