"""What was said about features, by whom: messages to customers, their tickets and their CSAT answers."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from healthseg.metrics.counting import Counting, Spans, epoch_day

TABLES = {
    "messages": ("feature_messages", ("messages",)),
    "tickets": ("feature_tickets", ("tickets",)),
    "csat": ("feature_csat", ("surveys", "tickets")),
}


def said(
    portfolio: Any, what: str, start: dt.date, until: dt.date, clients: list[str]
) -> pd.DataFrame | None:
    """Rows of ``what`` (messages, tickets or csat) on a feature with a day in ``[start, until]``.

    Columns: client_id, feature, date, and messages; or topic, tickets; or topic, score. None where no table holds it,
    or no row of it ever named a feature: that is not measured, and not zero.
    """
    name, tables = TABLES[what]
    if not clients or not any(portfolio.has(table) for table in tables):
        return None
    day = np.array([epoch_day(until)], dtype=np.int64)
    count = Counting(portfolio, clients, Spans(np.zeros(1, dtype=np.int64), day, day + 1))
    rows = count.rows(name)
    rows = rows[rows["day"] <= epoch_day(until)]
    if not len(rows):
        return None
    rows = rows[rows["day"] >= epoch_day(start)]
    dates = rows["day"].to_numpy(dtype=np.int64).astype("datetime64[D]").astype("datetime64[s]")
    frame = pd.DataFrame(
        {
            "client_id": np.array(clients, dtype=object)[rows["k"]],
            "feature": rows["feature"].astype(str),
            "date": dates,
        }
    )
    extra = rows.drop(columns=["k", "feature", "day"])
    return pd.concat([frame.reset_index(drop=True), extra.reset_index(drop=True)], axis=1)
