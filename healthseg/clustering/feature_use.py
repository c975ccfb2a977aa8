"""Who used which feature in a window: customers or users by feature, and the days of users."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healthseg.metrics import spans
from healthseg.metrics.counting import Counting, Spans, chunks, epoch_day
from healthseg.metrics.profile import customers_as_of

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio


def features_used(portfolio: Portfolio, windows: pd.DataFrame) -> pd.DataFrame:
    """Customers × features: 1 used, 0 not, NaN not entitled. ``windows``: client_id, start, end (exclusive)."""
    windows = windows.assign(span_id=0)
    parts = [
        spans.over(
            portfolio,
            windows[windows["client_id"].isin(part)],
            ["active_days"],
            by="entitled_feature",
        )
        for part in spans.chunks(portfolio, windows["client_id"].tolist())
    ]
    rows = pd.concat(parts, ignore_index=True)
    days = rows.pivot(index="client_id", columns="feature", values="active_days").astype(float)
    return (days > 0).astype(float).where(days.notna())


def features_used_by_users(feature_days: pd.DataFrame, start: dt.date) -> pd.DataFrame:
    """Users × features of one customer from a day on: 1 used, 0 not. ``feature_days``: see ``user_rows``."""
    rows = feature_days
    rows = rows[rows["day"] >= epoch_day(start)] if len(rows) else rows
    days = rows.pivot_table(index="user_id", columns="feature", values="day", aggfunc="nunique")
    return days.notna().astype(float)


def last_days_of_churned(
    portfolio: Portfolio, as_of: dt.date, days: int, excluded: Sequence[str]
) -> pd.DataFrame:
    """The last ``days`` before churn of each churned customer: client_id, start, end (exclusive)."""
    churned = customers_as_of(portfolio, as_of)["churned_on"].dropna().dt.date
    churned = churned.drop(list(excluded), errors="ignore")
    first = portfolio.first_event_day
    start = [max(first, day - dt.timedelta(days=days)) for day in churned]
    frame = pd.DataFrame({"client_id": churned.index, "start": start, "end": churned.to_numpy()})
    return frame[frame["start"] < frame["end"]]


def user_rows(
    portfolio: Portfolio, name: str, client_ids: Sequence[str], start: dt.date, end: dt.date
) -> pd.DataFrame:
    """Counted rows by user and day within ``[start, end)``, by the names of ``metrics.counting``.

    ``feature_user_days``: client_id, user_id, feature, day; ``user_days``: client_id, user_id, day, person_events.
    """
    parts = [
        _user_rows(portfolio, name, part, start, end)
        for part in chunks(portfolio, list(client_ids))
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _user_rows(
    portfolio: Portfolio, name: str, client_ids: list[str], start: dt.date, end: dt.date
) -> pd.DataFrame:
    first, after = epoch_day(start), epoch_day(end)
    size = len(client_ids)
    window = Spans(np.arange(size), np.full(size, first), np.full(size, after))
    rows = Counting(portfolio, client_ids, window).rows(name)
    rows = rows[(rows["day"] >= first) & (rows["day"] < after)]
    names = np.array(client_ids, dtype=object)[rows["k"].to_numpy()]
    return rows.assign(client_id=names).drop(columns="k").astype({"user_id": object})


def activity_by_persona(feature_days: pd.DataFrame, labels: pd.Series, days: int) -> pd.DataFrame:
    """Medians by persona, and of all users: features, active days a week, share of days on weekends."""
    keys = [feature_days["client_id"], feature_days["user_id"]]
    weekend = (feature_days["day"] + 3) % 7 >= 5
    users = pd.DataFrame(
        {
            "features": feature_days.groupby(keys)["feature"].nunique(),
            "days": feature_days.groupby(keys)["day"].nunique(),
            "weekend": weekend.groupby(keys).mean(),
        }
    ).reindex(labels.index)
    users["days"] = 7 * users["days"] / days
    medians = users.groupby(labels.to_numpy()).median()
    return pd.concat([medians, users.median().to_frame("all").T])
