"""A middling book's daily facts, read once: what hundreds of calls for one customer each then take their rows from.

A query for one customer costs some ten milliseconds whatever it finds; a call needs ten of them. The rows are those
that the same SQL gives for the customer alone: every one is of one day, and the days are cut as the SQL cuts them.
"""
from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from healthseg.data.memory import remember

CUSTOMERS_AT_MOST = 2_000
EVENTS_AT_MOST = 5_000_000
FEW = 25                     # customers in a call: more are read by one query
FIRST_DAY = {"session_days": "start_day"}          # the column that the first day of the window is held against
FROM_THE_FLOOR = ("usage_days", "user_days", "user_spells", "session_days", "feature_days", "feature_user_days",
                  "user_hours")
WITH_ALL_BEFORE = ("last_seen", "user_lives", "feature_firsts", "ticket_days", "ticket_resolutions", "invoice_rows",
                   "csat_survey_days", "csat_ticket_days", "nps_spells", "deactivations", "entitled_features")
SHELVED = FROM_THE_FLOOR + WITH_ALL_BEFORE
EPOCH = dt.date(1970, 1, 1)
BEFORE, NEVER = -25_567, 84_006          # 1900 and 2200: no event lies outside


def bounds(floor_day: int, until_day: int) -> pd.DataFrame:
    """The days ``[floor_day, until_day)`` as the SQL reads them: dates, so that files outside are not opened."""
    floor, until = (EPOCH + dt.timedelta(days=int(day)) for day in (floor_day, until_day))
    return pd.DataFrame({"floor_day": [floor], "until_day": [until]}, dtype=object)


def rows(book: Any, name: str, clients: list[str], floor_day: int, until_day: int, **frames: pd.DataFrame
         ) -> pd.DataFrame | None:
    """The rows of ``sql/measures/<name>.sql`` for a few customers; None where they are to be queried."""
    if name not in SHELVED or len(clients) > FEW or not remember(book, "shelf", lambda: _small(book)):
        return None
    frame, first, place = remember(book, ("shelf", name), lambda: _load(book, name, frames))
    at = [place[client] for client in clients]
    index = np.concatenate([np.arange(first[k], first[k + 1]) for k in at])
    part = frame.iloc[index]
    k = np.repeat(np.arange(len(at)), [first[k + 1] - first[k] for k in at])
    part = part.assign(k=k)
    if "day" not in part:
        return part.reset_index(drop=True)
    kept = part["day"].to_numpy() < until_day
    if name in FROM_THE_FLOOR:
        kept &= part[FIRST_DAY.get(name, "day")].to_numpy() >= floor_day
    return part[kept].reset_index(drop=True)


def _small(book: Any) -> bool:
    reports = book.reports
    return reports["customers"].kept <= CUSTOMERS_AT_MOST and reports["events"].kept <= EVENTS_AT_MOST


def _load(book: Any, name: str, frames: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, np.ndarray, dict[str, int]]:
    """All customers' rows in order of customer, the first row of each, and each customer's place."""
    clients = sorted(book.table("customers")["client_id"])
    scope = pd.DataFrame({"k": np.arange(len(clients), dtype=np.int32), "client_id": clients})
    frame = book.sql(f"measures/{name}", scope=scope, bounds=bounds(BEFORE, NEVER), **frames)
    frame = frame.sort_values([column for column in ("k", "user_id", "feature", "day", "hour_utc") if column in frame],
                              kind="stable", ignore_index=True)
    first = np.searchsorted(frame["k"].to_numpy(), np.arange(len(clients) + 1))
    return frame, first, {client: k for k, client in enumerate(clients)}
