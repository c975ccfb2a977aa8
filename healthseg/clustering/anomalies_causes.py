"""Why was a day unlike others? Only what the portfolio itself holds is a cause: its calendar, its tickets, its gaps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy

from healthseg.clustering.anomalies_days import gaps
from healthseg.clustering.support_tickets import tickets
from healthseg.data.memory import remember
from healthseg.metrics.counting import EPOCH, epoch_days

TICKETS_MAX_P = 1e-3
LEAST_TICKETS = 3


def calendar(portfolio: Any) -> list[tuple[int, int, str]]:
    """First day, last day and label of the calendar's entries, as they begin."""

    def make() -> list[tuple[int, int, str]]:
        if not portfolio.has("calendar"):
            return []
        rows = portfolio.table("calendar")
        last = epoch_days(rows["ends_on"].where(rows["ends_on"].notna(), rows["starts_on"]))
        first = epoch_days(rows["starts_on"])
        return sorted(zip(first.tolist(), last.tolist(), rows["label"].astype(str), strict=True))

    return remember(portfolio, "calendar days", make)


def with_causes(
    portfolio: Any, found: pd.DataFrame, clients: Sequence[str], until: dt.date
) -> pd.DataFrame:
    """``found`` with likely_cause (words, None where the portfolio holds none) and cause (calendar, data_gap, tickets).

    Asked in this order: is data of those days missing; does the calendar name them; were more tickets opened within a
    day of them than chance gives (Poisson's p at most 0.001, three or more)? ``clients`` are those whose tickets count.
    """
    if not len(found):
        return found.assign(cause=pd.Series(dtype=object), likely_cause=pd.Series(dtype=object))
    missing, labels = gaps(portfolio, until), calendar(portfolio)
    opened = tickets(portfolio, clients, until)
    told = [_cause(row, missing, labels, opened, until) for row in found.to_dict("records")]
    return found.assign(
        cause=pd.Series([kind for kind, _ in told], index=found.index, dtype=object),
        likely_cause=pd.Series([words for _, words in told], index=found.index, dtype=object),
    )


def _cause(
    row: dict[str, Any],
    missing: list[int],
    labels: list[tuple[int, int, str]],
    opened: pd.DataFrame | None,
    until: dt.date,
) -> tuple[str | None, str | None]:
    first, last = int(row["first_day"]), int(row["last_day"])
    gap = next((day for day in missing if first - 1 <= day <= last + 1), None)
    if gap is not None and row["anomaly_type"] == "unusual_dip":
        return (
            "data_gap",
            f"no events of any customer on {EPOCH + dt.timedelta(days=gap)} (UTC): data is missing",
        )
    label = next((text for start, end, text in labels if start <= last and end >= first), None)
    if label is not None:
        return "calendar", label
    words = None if opened is None else _tickets(first, last, opened, until)
    return ("tickets", words) if words else (None, None)


def _tickets(first: int, last: int, opened: pd.DataFrame, until: dt.date) -> str | None:
    day = opened["opened_day"].to_numpy(dtype=np.int64)
    if not len(day):
        return None
    near, span = opened[(day >= first - 1) & (day <= last + 1)], last - first + 3
    lasted = max((until - EPOCH).days - int(day.min()), span + 1)
    usual = (len(day) - len(near)) * span / (lasted - span)
    if (
        len(near) < LEAST_TICKETS or scipy.special.gammainc(len(near), usual) > TICKETS_MAX_P
    ):  # P(N ≥ n) of a mean
        return None
    topics = (
        near["topic"]
        .dropna()
        .value_counts()
        .sort_index()
        .sort_values(ascending=False, kind="stable")
    )
    about = f", most about {topics.index[0]}" if len(topics) else ""
    return f"{len(near)} tickets opened within a day of it, {usual:.1f} expected{about}"
