"""Landmark rows: who a customer was on a date, which features it had adopted, and what came after.

The families are columns of a row, one a feature of the portfolio, for models; no scorecard reads them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healthseg.metrics import panels
from healthseg.metrics import spans as over_spans
from healthseg.metrics.communication import said_about_features
from healthseg.metrics.counting import (
    EPOCH,
    Counting,
    Spans,
    chunks,
    epoch_day,
    epoch_days,
)
from healthseg.metrics.spells import spells_as_of
from healthseg.statistics.effects import labels

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.settings import Settings


LOGGED = ("log seats", "log tenure", "log person events of the period before")


def period_ends(first: dt.date, last: dt.date, every: str) -> list[dt.date]:
    """The last days of quarters ("QE") or months ("ME") from ``first`` to ``last``.

    >>> [str(day) for day in period_ends(dt.date(2025, 1, 1), dt.date(2025, 7, 1), "QE")]
    ['2025-03-31', '2025-06-30']
    """
    ends = pd.date_range(first, last, freq=every)
    return [end.date() for end in ends]


def landmark_rows(
    portfolio: Portfolio, as_of: dt.date, rule_days: int, horizon_days: int, every: str = "QE"
) -> pd.DataFrame:
    """A row per customer and quarter end (``every="ME"``: month end) on which it was live and had not given notice,
    with what came after it.

    The first landmark has twice ``rule_days`` of tracked events behind it, the last is ``horizon_days`` before
    ``as_of``. Columns: the panel's, ``person_events_before`` (of the ``rule_days`` before the last ``rule_days``) and
    ``outcome`` (1: lost within the horizon). No row where the portfolio has no churn dates.
    """
    first = portfolio.first_event_day + dt.timedelta(days=2 * rule_days - 1)
    dates = period_ends(first, as_of - dt.timedelta(days=horizon_days), every)
    if not dates:
        columns = ["client_id", "date", "outcome", "person_events_before"]
        return pd.DataFrame(columns=columns).astype(
            {"date": "datetime64[ms]", "outcome": float, "person_events_before": float}
        )
    rows = panels.panel(portfolio, dates)
    rows = rows[rows["live"].astype(bool)].reset_index(drop=True)
    rows = labels(rows, spells_as_of(portfolio, as_of), as_of, horizon_days)
    rows = rows[rows["status"] == "labelled"].reset_index(drop=True)
    return rows.assign(person_events_before=_events_before(portfolio, rows, rule_days))


def _events_before(portfolio: Portfolio, rows: pd.DataFrame, rule_days: int) -> np.ndarray:
    """Person events of the period before the one that ends with each row's date: adoption does not cause them."""
    end = rows["date"] + pd.Timedelta(days=1 - rule_days)
    spans = rows[["client_id"]].assign(
        span_id=np.arange(len(rows)), start=end - pd.Timedelta(days=rule_days), end=end
    )
    counted = over_spans.over(portfolio, spans, ["person_events"]).set_index("span_id")
    return counted["person_events"].reindex(spans["span_id"]).to_numpy(dtype=float)


def adopted_at(portfolio: Portfolio, rows: pd.DataFrame, rule_days: int) -> pd.DataFrame:
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
    parts = [
        over_spans.over(
            portfolio, spans[spans["client_id"].isin(part)], ["adopted"], by="entitled_feature"
        )
        for part in chunks(portfolio, spans["client_id"].unique().tolist())
    ]
    pairs = (
        pd.concat(parts, ignore_index=True)
        if parts
        else pd.DataFrame(columns=["span_id", "feature", "adopted"])
    )
    return pairs[["span_id", "feature", "adopted"]].dropna(ignore_index=True)


def adjustment_columns(
    rows: pd.DataFrame, settings: Settings
) -> tuple[np.ndarray, list[str], list[str]]:
    """What effects are adjusted for: columns (NaN where a row does not know), their names, and what could not be.

    Size, tenure and activity before the period (that of the period itself is caused by adoption, too) enter as logs
    with their squares, the tier and the landmark's quarter as one column a word.
    """
    size = {
        "log seats": rows["seats"].where(rows["seats"] > 0),
        "log tenure": rows["tenure_days"] + 1,
        "log person events of the period before": rows["person_events_before"] + 1,
    }
    known = {name: np.log(size[name].to_numpy(dtype=float, na_value=np.nan)) for name in LOGGED}
    columns, names, left_out = [], [], []
    for name, values in known.items():
        if (
            not len(values)
            or np.isfinite(values).mean() < settings.effects_covariate_min_known_share
        ):
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


def rose_within(portfolio: Portfolio, rows: pd.DataFrame, horizon_days: int) -> np.ndarray:
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


def told_before(
    portfolio: Portfolio, rows: pd.DataFrame, features: pd.Series, days: int
) -> np.ndarray:
    """1 where a message about the row's feature reached its customer in the ``days`` that end with the row's date."""
    clients = sorted(rows["client_id"].unique())
    last = max(pd.to_datetime(rows["date"])).date()
    sent = said_about_features(portfolio, "messages", EPOCH, last, clients)
    if sent is None:
        return np.zeros(len(rows))
    scale = np.int64(2**31)
    names = pd.Index(sorted(set(sent["feature"]) | set(features)))
    customer_index = pd.Index(clients)
    ordered = np.sort(
        (
            customer_index.get_indexer(sent["client_id"]) * len(names)
            + names.get_indexer(sent["feature"])
        )
        * scale
        + epoch_days(sent["date"])
    )
    pair = customer_index.get_indexer(rows["client_id"]) * len(names) + names.get_indexer(features)
    key = pair * scale + epoch_days(rows["date"])
    count = np.searchsorted(ordered, key, side="right") - np.searchsorted(
        ordered, key - days, side="right"
    )
    return (count > 0).astype(float)


# -- families of metrics, one a feature ------------------------------------------------


MOST = 50  # features, by the customers that used them
WINDOWS = (28, 84)


def column(feature: str, days: int) -> str:
    """The name of a family's column.

    >>> column("export", 28)
    'feature_events_28d[export]'
    """
    return f"feature_events_{days}d[{feature}]"


def feature_events(
    portfolio: Portfolio, rows: pd.DataFrame, features: Sequence[str] | None = None
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
    parts: dict[str, np.ndarray] = {}
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
    rows = pd.concat(frames, ignore_index=True)
    for days in WINDOWS:
        names = [name for name in rows if name.startswith(column("", days)[:-1])]
        if names:
            tracked = rows[names].notna().any(axis=1)
            rows[names] = rows[names].where(~tracked, rows[names].fillna(0.0))
    return rows


def most_used(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the families of the 50 features that most of their customers used."""
    first = column("", WINDOWS[0])[:-1]
    names = [name for name in rows if name.startswith(first)]
    if len(names) <= MOST:
        return rows
    users = (rows[names] > 0).groupby(rows["client_id"]).any().sum()
    most_used_features = {
        name[len(first) :]
        for name in users.sort_values(ascending=False, kind="stable").index[:MOST]
    }
    return rows.drop(
        columns=[
            name
            for name in rows
            if name.startswith("feature_events_")
            and name.split("[", 1)[1] not in most_used_features
        ]
    )


def _first(rows: pd.DataFrame, days: int) -> np.ndarray:
    return (pd.to_datetime(rows["date"]) - pd.Timedelta(days=days - 1)).to_numpy()


def _counted(portfolio: Portfolio, rows: pd.DataFrame, days: int) -> pd.DataFrame:
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
    length = over_spans.days_counted(frame["start"], frame["end"], portfolio.settings)
    parts = [
        over_spans.over(
            portfolio, frame[frame["client_id"].isin(part)], ["person_events"], by="feature"
        )
        for part in chunks(portfolio, frame["client_id"].unique().tolist(), length)
    ]
    return pd.concat(parts, ignore_index=True)[["client_id", "span_id", "feature", "person_events"]]


def _wide(long: pd.DataFrame, rows: int, features: Sequence[str]) -> np.ndarray:
    out = np.zeros((rows, len(features)))
    column_index = pd.Index(features).get_indexer(long["feature"])
    inside = column_index >= 0
    out[long["span_id"].to_numpy()[inside].astype(int), column_index[inside]] = long[
        "person_events"
    ].to_numpy()[inside]
    return out
