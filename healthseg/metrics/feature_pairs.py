"""Metrics over spans by customer and feature, and by user and feature.

By ``entitled_feature`` a span has a row for every feature that the customer could use on its last day, used or not:
the denominator of every adoption rate. By ``user_feature`` it has one for each user and feature that were used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from healthseg.metrics.adoption import adoption_changes, eligible, feature_numbers
from healthseg.metrics.counting import Counting, Spans, epoch_days
from healthseg.metrics.cube import FAR, within

ENTITLED = ("person_events", "active_days", "active_users", "adopted")
BY_USER = ("active_days",)


def counting(portfolio: Any, frame: pd.DataFrame) -> tuple[Counting, Spans]:
    clients = frame["client_id"].unique().tolist()
    place = pd.Index(clients).get_indexer(frame["client_id"]).astype(np.int64)
    spans = Spans(place, epoch_days(frame["start"]), epoch_days(frame["end"]))
    return Counting(portfolio, clients, spans), spans


def over_entitled(portfolio: Any, frame: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """A row per span and feature that the customer could use on the span's last day; NaN before tracking began."""
    count, spans = counting(portfolio, frame)
    numbers = feature_numbers(count)
    span, feature = _could_use(count, spans, numbers)
    cells = len(spans.k) * len(numbers)
    place = span * len(numbers) + feature
    known = (count.tracked(spans) & count.featured(spans))[span]
    makers = {
        "person_events": _events,
        "active_days": _days,
        "active_users": _users,
        "adopted": _adopted,
    }
    tables = {name: makers[name](count, spans, numbers, cells) for name in metrics}
    out = {name: np.where(known, table[place], np.nan) for name, table in tables.items()}
    rows = frame.iloc[span].reset_index(drop=True)
    return rows.assign(feature=numbers.to_numpy(dtype=object)[feature], **out)


def over_user_features(portfolio: Any, frame: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """A row per span, user and feature with a person event in the span: on how many days?"""
    count, spans = counting(portfolio, frame)
    rows = count.rows("feature_user_days").sort_values(
        ["k", "day", "feature", "user_id"], ignore_index=True
    )
    row, span = within(
        rows["k"].to_numpy(), rows["day"].to_numpy(), spans.k, spans.start, spans.end
    )
    grouped = (
        rows.iloc[row]
        .assign(span=span)
        .groupby(["span", "user_id", "feature"], sort=True, observed=True)
    )
    found = grouped["day"].nunique().astype(float).reset_index(name="active_days")
    return pd.concat(
        [
            frame.iloc[found["span"]].reset_index(drop=True),
            found[["user_id", "feature", *metrics]],
        ],
        axis=1,
    )


def _could_use(count: Counting, spans: Spans, numbers: pd.Index) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (span, feature number) that were released and entitled on the span's last day, in order."""
    rows = eligible(count).sort_values("k", kind="stable")
    k = rows["k"].to_numpy(dtype=np.int64)
    first, after = (
        np.searchsorted(k, spans.k, side="left"),
        np.searchsorted(k, spans.k, side="right"),
    )
    span = np.repeat(np.arange(len(spans.k)), after - first)
    row = (
        np.arange(len(span))
        - np.repeat(np.cumsum(after - first) - (after - first), after - first)
        + first[span]
    )
    begin, end = (rows[name].to_numpy(dtype=np.int64)[row] for name in ("from_day", "until_day"))
    keep = (begin < spans.end[span]) & (end >= spans.end[span])
    feature = numbers.get_indexer(rows["feature"])[row]
    pairs = np.unique(span[keep] * len(numbers) + feature[keep])
    return pairs // len(numbers), pairs % len(numbers)


def _used(count: Counting, spans: Spans, numbers: pd.Index) -> tuple[np.ndarray, pd.DataFrame]:
    """The cell (span × feature) of every customer's feature-day within a span, and its row."""
    rows = count.rows("feature_days").sort_values(
        ["k", "day", "feature"], kind="stable", ignore_index=True
    )
    row, span = within(
        rows["k"].to_numpy(), rows["day"].to_numpy(), spans.k, spans.start, spans.end
    )
    return span * len(numbers) + numbers.get_indexer(rows["feature"])[row], rows.iloc[row]


def _events(count: Counting, spans: Spans, numbers: pd.Index, cells: int) -> np.ndarray:
    cell, rows = _used(count, spans, numbers)
    total = np.zeros(cells, dtype=np.int64)
    np.add.at(total, cell, rows["person_events"].to_numpy(dtype=np.int64))
    return total


def _days(count: Counting, spans: Spans, numbers: pd.Index, cells: int) -> np.ndarray:
    return np.bincount(_used(count, spans, numbers)[0], minlength=cells)


def _users(count: Counting, spans: Spans, numbers: pd.Index, cells: int) -> np.ndarray:
    """Distinct users; events without a user have none."""
    rows = count.rows("feature_user_days").sort_values(
        ["k", "day"], kind="stable", ignore_index=True
    )
    row, span = within(
        rows["k"].to_numpy(), rows["day"].to_numpy(), spans.k, spans.start, spans.end
    )
    users, names = pd.factorize(rows["user_id"], sort=True)
    cell = span * len(numbers) + numbers.get_indexer(rows["feature"])[row]
    distinct = np.unique(cell * max(len(names), 1) + users[row])
    return np.bincount(distinct // max(len(names), 1), minlength=cells)


def _adopted(count: Counting, spans: Spans, numbers: pd.Index, cells: int) -> np.ndarray:
    """1 where the rule of adoption holds at the span's end, over the span's own length."""
    out = np.zeros(cells, dtype=np.int64)
    feature = np.arange(len(numbers))
    for length in np.unique(spans.days):
        these = np.flatnonzero(spans.days == length)
        key = (spans.k[these, None] * len(numbers) + feature).ravel()
        cell = (these[:, None] * len(numbers) + feature).ravel()
        out[cell] = holds_at(
            adoption_changes(count, int(length)), key, np.repeat(spans.end[these], len(numbers))
        )
    return out


def holds_at(
    changes: tuple[np.ndarray, np.ndarray, np.ndarray], key: np.ndarray, end: np.ndarray
) -> np.ndarray:
    """1 where a key's condition holds by the beginning of ``end``: its changes, +1 and −1 in turn, are then odd."""
    keys, days, _ = changes
    scale = np.int64(FAR)
    ordered = keys * scale + days
    before = np.searchsorted(ordered, key * scale + end) - np.searchsorted(ordered, key * scale)
    return before % 2
