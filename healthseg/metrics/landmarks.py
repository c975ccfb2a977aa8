"""Landmark rows: who a customer was on a date, which features it had adopted, and what came after."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from healthseg.metrics import panel as panels
from healthseg.metrics import spans as measured
from healthseg.metrics.counting import EPOCH, Counting, Spans, epoch_day, epoch_days
from healthseg.metrics.feature_voice import said
from healthseg.metrics.leaving import customers_as_of
from healthseg.statistics.outcomes import label_event_dates, labels

GIVEN = ("log seats", "log tenure", "log person events of 28 days")
LEAST_KNOWN = 0.5  # of the rows, under which a figure is not adjusted for


def period_ends(first: dt.date, last: dt.date, every: str) -> list[dt.date]:
    """The last days of quarters ("QE") or months ("ME") from ``first`` to ``last``.

    >>> [str(day) for day in period_ends(dt.date(2025, 1, 1), dt.date(2025, 7, 1), "QE")]
    ['2025-03-31', '2025-06-30']
    """
    ends = pd.date_range(first, last, freq=every)
    return [end.date() for end in ends]


def landmark_rows(
    portfolio: Any, as_of: dt.date, rule_days: int, horizon_days: int, every: str = "QE"
) -> pd.DataFrame:
    """A row per customer and quarter end (``every="ME"``: month end) on which it was live and had not given notice,
    with what came after it.

    The first landmark has ``rule_days`` of tracked events behind it, the last ``horizon_days`` before ``as_of``.
    Columns: the panel's, and ``outcome`` (1: lost within the horizon). No row where the portfolio has no churn dates.
    """
    first = portfolio.first_event_day + dt.timedelta(days=rule_days - 1)
    dates = period_ends(first, as_of - dt.timedelta(days=horizon_days), every)
    if not dates:
        return pd.DataFrame(columns=["client_id", "date", "outcome"]).astype(
            {"date": "datetime64[ms]", "outcome": float}
        )
    rows = panels.panel(portfolio, dates)
    rows = rows[rows["live"].astype(bool)].reset_index(drop=True)
    known = customers_as_of(portfolio, as_of).reset_index(drop=True)
    rows = labels(rows, label_event_dates(known), as_of, horizon_days)
    return rows[rows["status"] == "labelled"].reset_index(drop=True)


def adopted_at(portfolio: Any, rows: pd.DataFrame, rule_days: int) -> pd.DataFrame:
    """For each landmark row's customer and date the features that it could use: were they adopted (1) or not (0)?"""
    end = rows["date"] + pd.Timedelta(days=1)
    spans = pd.DataFrame(
        {
            "client_id": rows["client_id"],
            "span_id": np.arange(len(rows)),
            "end": end,
            "start": end - pd.Timedelta(days=rule_days),
        }
    )
    found = [
        measured.over(
            portfolio, spans[spans["client_id"].isin(some)], ["adopted"], by="entitled_feature"
        )
        for some in measured.chunks(spans["client_id"].unique().tolist())
    ]
    pairs = (
        pd.concat(found, ignore_index=True)
        if found
        else pd.DataFrame(columns=["span_id", "feature", "adopted"])
    )
    return pairs[["span_id", "feature", "adopted"]].dropna(ignore_index=True)


def given(
    rows: pd.DataFrame, seats_in_use: bool = False
) -> tuple[np.ndarray, list[str], list[str]]:
    """What effects are adjusted for: columns (NaN where a row does not know), their names, and what could not be.

    Size, tenure and overall activity enter as logs with their squares, the tier and the landmark's quarter as one
    column a word; ``seats_in_use`` adds the seat utilisation, on its own scale.
    """
    size = {
        "log seats": rows["seats"].where(rows["seats"] > 0),
        "log tenure": rows["tenure_days"] + 1,
        "log person events of 28 days": rows["person_events_28d"] + 1,
    }
    known = {name: np.log(size[name].to_numpy(dtype=float, na_value=np.nan)) for name in GIVEN}
    if seats_in_use:
        known["seat utilisation"] = rows["seat_utilisation"].to_numpy(dtype=float, na_value=np.nan)
    columns, names, left_out = [], [], []
    for name, values in known.items():
        if not len(values) or np.isfinite(values).mean() < LEAST_KNOWN:
            left_out.append(name)
            continue
        scaled = (values - np.nanmean(values)) / (np.nanstd(values) or 1)
        columns += [scaled, scaled**2]
        names.append(name)
    tier = rows["tier"].astype(object).where(rows["tier"].notna(), "unknown")
    (names if (tier != "unknown").any() else left_out).append("tier")
    quarter = pd.to_datetime(rows["date"]).dt.to_period("Q").astype(str)
    for words in (tier, quarter):
        columns += [(words == word).to_numpy(dtype=float) for word in sorted(words.unique())[1:]]
    names.append("quarter")
    return (np.column_stack(columns) if columns else np.empty((len(rows), 0))), names, left_out


def rose_within(portfolio: Any, rows: pd.DataFrame, horizon_days: int) -> np.ndarray:
    """1 where a landmark row's customer's ARR rose in the ``horizon_days`` after it; NaN without ``arr_changes``."""
    if not portfolio.has("arr_changes") or not len(rows):
        return np.full(len(rows), np.nan)
    clients = sorted(rows["client_id"].unique())
    day = np.array([epoch_day(portfolio.data_until)], dtype=np.int64)
    rises = Counting(portfolio, clients, Spans(np.zeros(1, dtype=np.int64), day, day + 1)).rows(
        "arr_rises"
    )
    scale = np.int64(2**31)
    ordered = np.sort(
        rises["k"].to_numpy(dtype=np.int64) * scale + rises["day"].to_numpy(dtype=np.int64)
    )
    key = pd.Index(clients).get_indexer(rows["client_id"]) * scale + epoch_days(rows["date"])
    after = np.searchsorted(ordered, key + horizon_days, side="right") - np.searchsorted(
        ordered, key, side="right"
    )
    return (after > 0).astype(float)


def told_before(portfolio: Any, rows: pd.DataFrame, features: pd.Series, days: int) -> np.ndarray:
    """1 where a message about the row's feature reached its customer in the ``days`` that end with the row's date."""
    clients = sorted(rows["client_id"].unique())
    last = max(pd.to_datetime(rows["date"])).date()
    sent = said(portfolio, "messages", EPOCH, last, clients)
    if sent is None:
        return np.zeros(len(rows))
    scale = np.int64(2**31)
    names = pd.Index(sorted(set(sent["feature"]) | set(features)))
    place = pd.Index(clients)
    ordered = np.sort(
        (place.get_indexer(sent["client_id"]) * len(names) + names.get_indexer(sent["feature"]))
        * scale
        + epoch_days(sent["date"])
    )
    asked = place.get_indexer(rows["client_id"]) * len(names) + names.get_indexer(features)
    key = asked * scale + epoch_days(rows["date"])
    count = np.searchsorted(ordered, key, side="right") - np.searchsorted(
        ordered, key - days, side="right"
    )
    return (count > 0).astype(float)
