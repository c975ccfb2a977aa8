"""What happened next to each landmark row: labels with horizon, lead, maturity and censoring."""

from __future__ import annotations

import datetime as dt
from typing import TypeAlias

import numpy as np
import pandas as pd


def label_event_dates(customers: pd.DataFrame) -> pd.Series:
    """The day a customer was lost, by client_id: the earlier of notice_on and churned_on; NaT where neither is known.

    A column that the frame lacks counts as unknown for all.
    """
    dates = [
        pd.to_datetime(customers[name]).astype("datetime64[us]")
        for name in ("notice_on", "churned_on")
        if name in customers
    ]
    if "merged_into" in customers:  # an account that became part of another was not lost
        dates = [date.where(customers["merged_into"].isna()) for date in dates]
    index = pd.Index(customers["client_id"], name="client_id")
    if not dates:
        return pd.Series(np.datetime64("NaT"), index=index, dtype="datetime64[us]", name="event_on")
    return pd.Series(pd.concat(dates, axis=1).min(axis=1).to_numpy(), index=index, name="event_on")


# by client_id the day of the loss; a row per spell of a customer; or the day of each row's own spell
Losses: TypeAlias = pd.Series | pd.DataFrame | np.ndarray


def event_of_rows(rows: pd.DataFrame, losses: Losses) -> np.ndarray:
    """The day on which the customer of each row (client_id, date) was lost, NaT where it is not known to have been.

    Of ``losses`` with a row per spell (client_id, signup_date, notice_on, churned_on) a row has the loss of the spell
    that it lies in: a customer that was won back keeps its loss, and has the next one apart.

    >>> spells = pd.DataFrame({"client_id": "a", "signup_date": pd.to_datetime(["2024-01-01", "2025-05-01"]),
    ...                        "churned_on": pd.to_datetime(["2025-03-01", None])})
    >>> rows = pd.DataFrame({"client_id": "a", "date": pd.to_datetime(["2025-02-01", "2025-06-01"])})
    >>> event_of_rows(rows, spells).astype("datetime64[D]").astype(str).tolist()
    ['2025-03-01', 'NaT']
    """
    if isinstance(losses, np.ndarray):
        return losses
    if isinstance(losses, pd.Series):
        return losses.reindex(rows["client_id"]).to_numpy()
    spells = pd.DataFrame(
        {
            "client_id": losses["client_id"].astype("str").to_numpy(),
            "date": pd.to_datetime(losses["signup_date"]).astype("datetime64[us]").to_numpy(),
            "event": label_event_dates(losses).to_numpy(),
        }
    ).sort_values("date", kind="stable")
    keys = pd.DataFrame(
        {
            "client_id": rows["client_id"].astype("str").to_numpy(),
            "date": pd.to_datetime(rows["date"]).astype("datetime64[us]").to_numpy(),
            "at": np.arange(len(rows)),
        }
    ).sort_values("date", kind="stable")
    # without rows a column has no type of its own
    tables = (table.astype({"client_id": "str"}) for table in (keys, spells))
    joined = pd.merge_asof(*tables, on="date", by="client_id")
    return joined.sort_values("at")["event"].to_numpy()


def labels(
    landmarks: pd.DataFrame,
    event_on: Losses,
    as_of: dt.date,
    horizon_days: int,
    lead_days: int = 0,
) -> pd.DataFrame:
    """Did the event fall in (date + lead, date + lead + horizon], as far as it can be known at as_of?

    ``landmarks`` has client_id and date; ``event_on`` (``event_of_rows``) is read up to as_of alone. Added columns:
    outcome (1, 0, or NaN where ``status`` is not "labelled"), status: "labelled"; "after_event" (the event was on or
    before date: no row of a live customer); "in_lead" (it was too early to act on); "immature" (the window ends
    after as_of: its events would be known and its survivors not, so neither is used).
    """
    date = pd.to_datetime(landmarks["date"]).astype("datetime64[us]").to_numpy()
    event = event_of_rows(landmarks, event_on)
    event = np.where(event <= np.datetime64(as_of), event, np.datetime64("NaT"))
    start = date + np.timedelta64(lead_days, "D")
    end = start + np.timedelta64(horizon_days, "D")
    status = np.select(
        [event <= date, event <= start, end > np.datetime64(as_of)],
        ["after_event", "in_lead", "immature"],
        "labelled",
    )
    outcome = np.where(status == "labelled", (event <= end).astype(float), np.nan)
    return landmarks.assign(outcome=outcome, status=status)
