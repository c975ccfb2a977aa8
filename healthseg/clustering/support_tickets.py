"""Tickets as they were known on a day, in the order in which each customer opened them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from healthseg.data.memory import remember
from healthseg.metrics.counting import customers, epoch_day

COLUMNS = [
    "client_id",
    "ticket_id",
    "topic",
    "user_id",
    "opened_day",
    "resolved_day",
    "opened_second",
    "seconds",
]


def tickets(portfolio: Any, clients: Sequence[str], until: dt.date) -> pd.DataFrame | None:
    """The tickets that some customers opened before ``until``; None without a ``tickets`` table.

    Columns: client_id, ticket_id, topic, user_id, opened_day, resolved_day, opened_second (since 1970; NaN where the
    opening has no time) and seconds (to resolution; NaN while open, or without times). What was resolved from ``until``
    on was open then.
    """
    if not portfolio.has("tickets"):
        return None
    rows = remember(portfolio, "ticket histories", lambda: _histories(portfolio))
    rows = rows[rows["client_id"].isin(set(clients)) & (rows["opened_day"] < epoch_day(until))]
    known = rows["resolved_day"] < epoch_day(until)
    return rows.assign(
        resolved_day=rows["resolved_day"].where(known), seconds=rows["seconds"].where(known)
    ).reset_index(drop=True)


def _histories(portfolio: Any) -> pd.DataFrame:
    names = sorted(customers(portfolio).index)
    scope = pd.DataFrame({"k": np.arange(len(names), dtype=np.int32), "client_id": names})
    rows = portfolio.sql("metrics/ticket_histories", scope=scope)
    rows = rows.assign(client_id=np.array(names, dtype=object)[rows["k"].to_numpy()])
    floats = {name: float for name in ("resolved_day", "opened_second", "seconds")}
    return rows.astype({"opened_day": np.int64, **floats})[COLUMNS]
