"""Features used and adopted over spans, and by entitled feature."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from healthseg.metrics.catalog import SCORED, Metric
from healthseg.metrics.counting import (
    FAR,
    Counting,
    Spans,
    epoch_day,
    ratio,
    trailing,
    where,
    within,
)
from healthseg.metrics.identity import api_only, identified

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio


class Changes(NamedTuple):
    """On which days counts of keys rise and fall. A key is ``customer × features + feature``."""

    key: np.ndarray
    day: np.ndarray
    change: np.ndarray

    @classmethod
    def of(cls, key: np.ndarray, begin: np.ndarray, end: np.ndarray) -> Changes:
        """+1 on ``begin`` and −1 on ``end`` of each key."""
        ones = np.ones(len(key), dtype=np.int64)
        days = np.concatenate([begin, end]).astype(np.int64)
        return cls(np.concatenate([key, key]), days, np.concatenate([ones, -ones]))


# -- which features could be used --------------------------------------------------------


def eligible(count: Counting) -> pd.DataFrame:
    """Customer, feature and the days ``[from_day, until_day)`` in which the customer could use it.

    From ``features`` and ``entitlements``; without ``features``, what the portfolio was seen to use by then.
    """
    if not count.has("features"):
        used = count.rows("features_seen")
        frame = pd.DataFrame({"k": np.arange(len(count.clients))}).merge(used, how="cross")
        return frame.rename(columns={"first_day": "from_day"}).assign(until_day=FAR)
    rows = count.rows("entitled_features" if count.has("entitlements") else "eligible_features")
    begin = rows[["released_day", "starts_day"]].to_numpy(dtype=np.float64, na_value=-1).max(axis=1)
    return pd.DataFrame(
        {
            "k": rows["k"],
            "feature": rows["feature"],
            "from_day": begin.astype(np.int64),
            "until_day": rows["ends_day"].fillna(FAR).astype(np.int64),
        }
    )


def usable_features(portfolio: Portfolio, clients: list[str], day: dt.date) -> pd.DataFrame:
    """client_id and feature of all that customers could use on a day."""
    end = np.full(len(clients), epoch_day(day) + 1, dtype=np.int64)
    rows = eligible(Counting(portfolio, clients, Spans(np.arange(len(clients)), end - 1, end)))
    rows = rows[(rows["from_day"] < epoch_day(day) + 1) & (rows["until_day"] > epoch_day(day))]
    names = np.array(clients, dtype=object)[rows["k"].to_numpy(dtype=np.int64)]
    return pd.DataFrame({"client_id": names, "feature": rows["feature"].astype(object)})


def feature_numbers(count: Counting) -> pd.Index:
    """All features that are listed or were used, in order; their positions are their numbers."""

    def build() -> pd.Index:
        used = set(count.rows("feature_days")["feature"].unique())
        return pd.Index(sorted(used | set(eligible(count)["feature"])))

    return count.once("feature_numbers", build)


def _keys(count: Counting, rows: pd.DataFrame) -> np.ndarray:
    numbers = feature_numbers(count)
    return rows["k"].to_numpy(dtype=np.int64) * len(numbers) + numbers.get_indexer(rows["feature"])


def _eligible_changes(count: Counting) -> Changes:
    rows = eligible(count)
    return Changes.of(_keys(count, rows), rows["from_day"].to_numpy(), rows["until_day"].to_numpy())


# -- which were used, which adopted ------------------------------------------------------


def _feature_days(count: Counting) -> pd.DataFrame:
    """Key and day of use of each customer's feature, sorted, with the day of the following use."""

    def build() -> pd.DataFrame:
        rows = count.rows("feature_days")
        frame = pd.DataFrame({"key": _keys(count, rows), "day": rows["day"].astype(np.int64)})
        frame = frame.sort_values(["key", "day"], ignore_index=True)
        following = frame.groupby("key", sort=False)["day"].shift(-1)
        return frame.assign(following=following.fillna(FAR).astype(np.int64))

    return count.once("feature_use", build)


def features_used(count: Counting, length: int) -> np.ndarray:
    """Distinct features used in the ``length`` days before each day, ``[customer, day]``."""
    frame = _feature_days(count)
    return trailing(
        count.axis,
        len(count.clients),
        frame["key"].to_numpy() // max(len(feature_numbers(count)), 1),
        frame["day"].to_numpy(),
        frame["following"].to_numpy(dtype=np.float64),
        np.ones(len(frame), dtype=np.int64),
        length,
    )


def _days_changes(count: Counting, length: int, least: int) -> Changes:
    """When a feature begins and ceases to be used on at least ``least`` days of the last ``length``."""
    frame = _feature_days(count)
    key, day = frame["key"].to_numpy(), frame["day"].to_numpy()
    nth = frame.groupby("key", sort=False)["day"].shift(least - 1).fillna(-FAR).to_numpy(np.int64)
    stop = np.minimum(nth + length, frame["following"].to_numpy())
    holds = stop > day
    return Changes.of(key[holds], day[holds], stop[holds])


def _users_changes(count: Counting, length: int) -> Changes:
    """Changes of the number of distinct users of a customer's feature in the last ``length`` days."""
    rows = count.rows("feature_user_days").sort_values(["k", "feature", "user_id", "day"])
    following = rows.groupby(["k", "feature", "user_id"], sort=False)["day"].shift(-1)
    day = rows["day"].to_numpy(dtype=np.int64)
    stop = np.minimum(day + length, following.fillna(FAR).to_numpy(dtype=np.int64))
    return Changes.of(_keys(count, rows), day, stop)


def adoption_changes(count: Counting, length: int) -> Changes:
    """When each customer's feature becomes adopted (+1) and ceases to be (−1), sorted by key and day.

    From the end of the day on the rule (settings ``adopted_min_*``) holds, or no longer does.
    """

    def build() -> Changes:
        settings = count.portfolio.settings
        conditions = [
            (_eligible_changes(count), 1),
            (_days_changes(count, length, settings.adopted_min_days), 1),
        ]
        if settings.adopted_min_users > 1:
            conditions.append((_users_changes(count, length), settings.adopted_min_users))
        return _all_hold(conditions)

    return count.once(("adoption_changes", length), build)


def _all_hold(conditions: list[tuple[Changes, int]]) -> Changes:
    """When the running counts of a key all reach their least (+1) and no longer do (−1)."""
    key = np.concatenate([changes.key for changes, _ in conditions])
    if not len(key):
        return Changes(key, key, np.zeros(0, dtype=np.int64))
    day = np.concatenate([changes.day for changes, _ in conditions])
    steps = np.zeros((len(key), len(conditions)), dtype=np.int64)
    first_row = 0
    for column, (changes, _) in enumerate(conditions):
        steps[first_row : first_row + len(changes.key), column] = changes.change
        first_row += len(changes.key)
    order = np.lexsort((day, key))
    key, day, steps = key[order], day[order], steps[order]
    running = np.cumsum(steps, axis=0)
    first = np.r_[True, key[1:] != key[:-1]]
    running = running - (running - steps)[first][np.cumsum(first) - 1]  # each key begins at zero
    last_of_day = np.r_[(key[1:] != key[:-1]) | (day[1:] != day[:-1]), True]
    key, day = key[last_of_day], day[last_of_day]
    least = np.array([minimum for _, minimum in conditions])
    holds = (running >= least).all(axis=1)[last_of_day].astype(np.int64)
    earlier = np.r_[0, holds[:-1]]
    earlier[np.r_[True, key[1:] != key[:-1]]] = 0
    moved = holds != earlier
    return Changes(key[moved], day[moved], (holds - earlier)[moved])


# -- metrics over spans ------------------------------------------------------------------


def _measured(count: Counting, spans: Spans) -> np.ndarray:
    return count.tracked(spans) & count.featured(spans) & ~api_only(count, spans)


def _number_of_features(count: Counting, changes: Changes) -> np.ndarray:
    """How many of a customer's features a condition holds for, ``[customer, day]``."""
    return count.cumulate(
        changes.key // max(len(feature_numbers(count)), 1), changes.day, changes.change
    )


def features_entitled(count: Counting, spans: Spans) -> np.ndarray:
    """Distinct features that the customer could use on the span's last day."""
    table = count.once(
        "entitled",
        lambda: _number_of_features(count, _all_hold([(_eligible_changes(count), 1)])),
    )
    return where(_measured(count, spans), count.at(table, spans.k, spans.end))


def features_adopted(count: Counting, spans: Spans) -> np.ndarray:
    """Eligible features used on enough days by enough users within the span."""

    def table(length: int) -> np.ndarray:
        return count.once(
            ("adopted", length),
            lambda: _number_of_features(count, adoption_changes(count, length)),
        )

    return where(_measured(count, spans), count.at_ends(spans, table))


def feature_adoption_rate(count: Counting, spans: Spans) -> np.ndarray:
    return ratio(features_adopted(count, spans), features_entitled(count, spans))


# -- by entitled feature -----------------------------------------------------------------


def by_entitled_feature(
    count: Counting, spans: Spans, metrics: list[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A row per span and feature that the customer could use on the span's last day; NaN before tracking began.

    Returns the number of each row's span, and the columns ``feature`` and ``metrics``: the denominator of every
    adoption rate.
    """
    numbers = feature_numbers(count)
    span, feature = _could_use(count, spans)
    known = _measured(count, spans)[span]
    cell = span * len(numbers) + feature
    columns = {
        name: np.where(known, BY_ENTITLED_FEATURE[name](count, spans)[cell], np.nan)
        for name in metrics
    }
    return span, {"feature": numbers.to_numpy(dtype=object)[feature], **columns}


def _could_use(count: Counting, spans: Spans) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (span, feature number) that were released and entitled on the span's last day, in order."""
    rows = eligible(count).assign(number=lambda rows: _keys(count, rows) % _width(count))
    ends = pd.DataFrame({"k": spans.k, "span": np.arange(len(spans.k)), "end": spans.end})
    pairs = ends.merge(rows, on="k")
    open_ones = (pairs["from_day"] < pairs["end"]) & (pairs["until_day"] >= pairs["end"])
    cells = np.unique((pairs["span"] * _width(count) + pairs["number"])[open_ones].to_numpy())
    return cells // _width(count), cells % _width(count)


def _width(count: Counting) -> int:
    return max(len(feature_numbers(count)), 1)


def _cells(count: Counting, spans: Spans, source: str) -> tuple[np.ndarray, pd.DataFrame]:
    """The cell (span × feature) of every row of a source within a span, and the row."""
    rows = count.rows(source).sort_values(["k", "day", "feature"], kind="stable", ignore_index=True)
    row, span = within(
        rows["k"].to_numpy(), rows["day"].to_numpy(), spans.k, spans.start, spans.end
    )
    number = feature_numbers(count).get_indexer(rows["feature"])[row]
    return span * _width(count) + number, rows.iloc[row]


def _events(count: Counting, spans: Spans) -> np.ndarray:
    cell, rows = _cells(count, spans, "feature_days")
    total = np.zeros(len(spans.k) * _width(count), dtype=np.int64)
    np.add.at(total, cell, rows["person_events"].to_numpy(dtype=np.int64))
    return total


def _days(count: Counting, spans: Spans) -> np.ndarray:
    cell, _ = _cells(count, spans, "feature_days")
    return np.bincount(cell, minlength=len(spans.k) * _width(count))


def _users(count: Counting, spans: Spans) -> np.ndarray:
    """Distinct users; NaN where no event names one."""
    cell, rows = _cells(count, spans, "feature_user_days")
    user = pd.factorize(rows["user_id"], sort=True)[0]
    distinct = np.unique(np.stack([cell, user]), axis=1)[0]
    counts = np.bincount(distinct, minlength=len(spans.k) * _width(count))
    return where(np.repeat(identified(count, spans), _width(count)), counts)


def _adopted(count: Counting, spans: Spans) -> np.ndarray:
    """1 where the rule of adoption holds at the span's end, over the span's own length."""
    adopted = np.zeros((len(spans.k), _width(count)), dtype=np.int64)
    feature, scale = np.arange(_width(count)), np.int64(FAR)
    for length, chosen in spans.by_length():
        changes = adoption_changes(count, length)
        ordered = changes.key * scale + changes.day
        key = (spans.k[chosen, None] * _width(count) + feature) * scale
        # Changes of a key are +1 and −1 in turn: the rule holds where their number is odd.
        before = np.searchsorted(ordered, key + spans.end[chosen, None])
        adopted[chosen] = (before - np.searchsorted(ordered, key)) % 2
    return adopted.ravel()


BY_ENTITLED_FEATURE: dict[str, Callable[[Counting, Spans], np.ndarray]] = {
    "person_events": _events,
    "active_days": _days,
    "active_users": _users,
    "adopted": _adopted,
}


# -- the catalogue's entries -------------------------------------------------------------

METRICS = (
    Metric(
        name="features_adopted_30d",
        label="Number of features adopted",
        unit="features",
        definition="listed, released, entitled features at d with person events on ≥ 2 days of the 30 by ≥ 1 user each "
        "on one of them (`adopted_min_days`, `adopted_min_users`)",
        question="How many features are adopted?",
        format="count",
        better="higher",
        missing="events name no features",
        count=features_adopted,
        window_days=30,
        span_name="features_adopted",
    ),
    Metric(
        name="features_entitled",
        label="Features entitled",
        unit="features",
        definition="listed, released, entitled features at d; without `features`: those seen in the whole portfolio up "
        "to d",
        question="How many features can the customer use?",
        format="count",
        missing="events name no features",
        count=features_entitled,
        window_days=30,
    ),
    Metric(
        name="feature_adoption_rate_30d",
        label="Features adopted",
        short="Feature adoption",
        unit="share of entitled features",
        definition="features_adopted_30d ÷ features_entitled",
        question="What share of the features that it can use does the customer use?",
        format="percent",
        better="higher",
        missing="no feature that the customer could use, or events that name none",
        uses=SCORED,
        count=feature_adoption_rate,
        window_days=30,
        span_name="feature_adoption_rate",
        above="{value} of the entitled features are adopted",
        below="Only {value} of the entitled features are adopted",
        high="many features",
        low="few features",
        kind="breadth",
        effort="medium",
    ),
)
