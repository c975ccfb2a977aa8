"""Open families of metrics: one column per feature of the portfolio, for models; no scorecard reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from healthseg.metrics import spans as measured

MOST = 50  # features, by the customers that used them
WINDOWS = (28, 84)


def column(feature: str, days: int) -> str:
    """The name of a family's column.

    >>> column("export", 28)
    'feature_events_28d[export]'
    """
    return f"feature_events_{days}d[{feature}]"


def feature_events(
    portfolio: Any, rows: pd.DataFrame, features: Sequence[str] | None = None
) -> pd.DataFrame:
    """How many events of persons had each feature in the 28 and 84 days that end with each row's date?

    ``rows`` has client_id and date. Returns a frame beside it (same order and index) with a column per feature and
    window, 0 where there were none, NaN where the window begins before tracking did. ``features`` default to all that
    these customers used. A window that begins before the customer signed up counts what there was.
    """
    if not len(rows) or portfolio.first_event_day is None:
        return pd.DataFrame(index=rows.index)
    counted = {days: _counted(portfolio, rows, days) for days in WINDOWS}
    if features is None:
        features = sorted(set().union(*(long["feature"] for long in counted.values())))
    parts = {}
    for days, long in counted.items():
        wide = _wide(long, len(rows), features)
        tracked = _first(rows, days) >= pd.Timestamp(portfolio.first_event_day)
        parts |= {
            column(feature, days): np.where(tracked, wide[:, at], np.nan)
            for at, feature in enumerate(features)
        }
    return pd.DataFrame(parts, index=rows.index)


def joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Frames with families below each other: a feature that one of them never met was not used there."""
    whole = pd.concat(frames, ignore_index=True)
    for days in WINDOWS:
        names = [name for name in whole if name.startswith(column("", days)[:-1])]
        if names:
            tracked = whole[names].notna().any(axis=1)
            whole[names] = whole[names].where(~tracked, whole[names].fillna(0.0))
    return whole


def most_used(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the families of the 50 features that most of their customers used."""
    first = column("", WINDOWS[0])[:-1]
    names = [name for name in rows if name.startswith(first)]
    if len(names) <= MOST:
        return rows
    users = (rows[names] > 0).groupby(rows["client_id"]).any().sum()
    kept = {
        name[len(first) :]
        for name in users.sort_values(ascending=False, kind="stable").index[:MOST]
    }
    return rows.drop(
        columns=[
            name
            for name in rows
            if name.startswith("feature_events_") and name.split("[", 1)[1] not in kept
        ]
    )


def _first(rows: pd.DataFrame, days: int) -> np.ndarray:
    return (pd.to_datetime(rows["date"]) - pd.Timedelta(days=days - 1)).to_numpy()


def _counted(portfolio: Any, rows: pd.DataFrame, days: int) -> pd.DataFrame:
    """client_id, span_id (the row's place), feature, person_events: of those that were used."""
    end = pd.to_datetime(rows["date"]) + pd.Timedelta(days=1)
    frame = pd.DataFrame(
        {
            "client_id": rows["client_id"].to_numpy(),
            "span_id": np.arange(len(rows)),
            "start": (end - pd.Timedelta(days=days)).to_numpy(),
            "end": end.to_numpy(),
        }
    )
    length = measured.days_counted(frame["start"], frame["end"])
    found = [
        measured.over(
            portfolio, frame[frame["client_id"].isin(some)], ["person_events"], by="feature"
        )
        for some in measured.chunks(frame["client_id"].unique().tolist(), length)
    ]
    return pd.concat(found, ignore_index=True)[["client_id", "span_id", "feature", "person_events"]]


def _wide(long: pd.DataFrame, rows: int, features: Sequence[str]) -> np.ndarray:
    out = np.zeros((rows, len(features)))
    place = pd.Index(features).get_indexer(long["feature"])
    kept = place >= 0
    out[long["span_id"].to_numpy()[kept].astype(int), place[kept]] = long[
        "person_events"
    ].to_numpy()[kept]
    return out
