"""Features used and adopted over spans."""

from __future__ import annotations

import numpy as np
import pandas as pd

from healthseg.metrics.counting import Counting, Spans, ratio, where
from healthseg.metrics.cube import FAR, all_hold, cumulate, trailing
from healthseg.metrics.metric import SCORED, Metric


def _following(frame: pd.DataFrame, keys: list[str]) -> np.ndarray:
    return frame.groupby(keys, sort=False)["day"].shift(-1).to_numpy(dtype=np.float64)


def _client_feature_days(count: Counting) -> pd.DataFrame:
    """Customer, feature (as a number), day of use; sorted, one row each."""
    if "feature_days" not in count.__dict__:
        rows = count.rows("feature_days")
        names = pd.Index(sorted(rows["feature"].unique()))
        frame = pd.DataFrame(
            {
                "k": rows["k"].to_numpy(dtype=np.int64),
                "f": names.get_indexer(rows["feature"]),
                "day": rows["day"].to_numpy(dtype=np.int64),
            }
        ).sort_values(["k", "f", "day"])
        count.__dict__["feature_days"], count.__dict__["feature_names"] = frame, names
    return count.__dict__["feature_days"]


def feature_spells(count: Counting, length: int) -> np.ndarray:
    """Distinct features used in the ``length`` days before each day, ``[customer, day]``."""
    frame = _client_feature_days(count)
    ones = np.ones(len(frame), dtype=np.int64)
    return trailing(
        count.axis,
        len(count.clients),
        frame["k"].to_numpy(),
        frame["day"].to_numpy(),
        _following(frame, ["k", "f"]),
        ones,
        length,
    )


def eligible(count: Counting) -> pd.DataFrame:
    """Customer, feature and the days ``[from_day, until_day)`` in which the customer could use it.

    From ``features`` and ``entitlements``; without ``features``, what the portfolio was seen to use by then.
    """
    if not count.has("features"):
        seen = count.rows("features_seen")
        frame = pd.DataFrame({"k": np.arange(len(count.clients))}).merge(seen, how="cross")
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


def features_entitled(count: Counting, spans: Spans) -> np.ndarray:
    """Distinct features that the customer could use on the span's last day."""
    table = _entitled(count)
    return where(count.tracked(spans) & count.featured(spans), count.at(table, spans.k, spans.end))


def _entitled(count: Counting) -> np.ndarray:
    if "entitled" not in count.__dict__:
        rows = eligible(count)
        key, day, changes = _eligible_changes(rows, count)
        key, day, delta = all_hold(key, day, changes[:, None], np.array([1]))
        count.__dict__["entitled"] = cumulate(
            count.axis, len(count.clients), key // _width(count), day, delta
        )
    return count.__dict__["entitled"]


def _width(count: Counting) -> int:
    """How many feature numbers there are: a key is ``customer × width + feature``."""
    return len(feature_numbers(count))


def feature_numbers(count: Counting) -> pd.Index:
    """All features that are listed or were used, in order; their places are their numbers."""
    if "all_features" not in count.__dict__:
        used = set(count.rows("feature_days")["feature"].unique())
        count.__dict__["all_features"] = pd.Index(sorted(used | set(eligible(count)["feature"])))
    return count.__dict__["all_features"]


def _eligible_changes(
    rows: pd.DataFrame, count: Counting
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    key = rows["k"].to_numpy(dtype=np.int64) * _width(count) + feature_numbers(count).get_indexer(
        rows["feature"]
    )
    one = np.ones(len(rows), dtype=np.int64)
    return (
        np.concatenate([key, key]),
        np.concatenate(
            [rows["from_day"].to_numpy(dtype=np.int64), rows["until_day"].to_numpy(dtype=np.int64)]
        ),
        np.concatenate([one, -one]),
    )


def _day_spells(
    frame: pd.DataFrame, key: np.ndarray, length: int, least: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Changes of "used on at least ``least`` days of the last ``length``" for sorted days of each key."""
    day = frame["day"].to_numpy()
    following = np.where(np.r_[key[1:] != key[:-1], True], FAR, np.r_[day[1:], FAR])
    nth = np.full(len(day), -FAR)
    if len(day) >= least:
        shift = least - 1
        same = key[shift:] == key[: len(key) - shift]
        nth[shift:][same] = day[: len(day) - shift][same]
    stop = np.minimum(nth + length, following)
    good = stop > day
    one = np.ones(good.sum(), dtype=np.int64)
    return (
        np.concatenate([key[good], key[good]]),
        np.concatenate([day[good], stop[good]]),
        np.concatenate([one, -one]),
    )


def features_adopted(count: Counting, spans: Spans) -> np.ndarray:
    """Eligible features used on enough days by enough users within the span (settings ``adopted_min_*``)."""
    out = np.zeros(len(spans.k), dtype=np.int64)
    for length in np.unique(spans.days):
        these = spans.days == length
        out[these] = count.at(_adopted(count, int(length)), spans.k[these], spans.end[these])
    return where(count.tracked(spans) & count.featured(spans), out)


def _adopted(count: Counting, length: int) -> np.ndarray:
    """How many of a customer's features are adopted, ``[customer, day]``."""
    cache = count.__dict__.setdefault("adopted", {})
    if length not in cache:
        key, day, delta = adoption_changes(count, length)
        cache[length] = cumulate(count.axis, len(count.clients), key // _width(count), day, delta)
    return cache[length]


def adoption_changes(count: Counting, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """When each customer's feature becomes adopted (+1) and ceases to be (−1), as sorted ``(key, day, change)``.

    A key is ``customer × features + feature``, features in the order of ``feature_numbers``; from the end of ``day`` on
    the rule holds, or no longer does.
    """
    cache = count.__dict__.setdefault("adoption_changes", {})
    if length not in cache:
        settings, parts = count.portfolio.settings, []
        parts.append(_eligible_changes(eligible(count), count))
        frame = _client_feature_days(count)
        numbers = feature_numbers(count).get_indexer(count.__dict__["feature_names"])
        key = frame["k"].to_numpy() * _width(count) + numbers[frame["f"].to_numpy()]
        order = np.lexsort((frame["day"].to_numpy(), key))
        parts.append(_day_spells(frame.iloc[order], key[order], length, settings.adopted_min_days))
        least = [1, 1]
        if settings.adopted_min_users > 1:
            parts.append(_user_changes(count, length))
            least.append(settings.adopted_min_users)
        cache[length] = _holding(parts, np.array(least))
    return cache[length]


def _user_changes(count: Counting, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Changes of the number of distinct users of a customer's feature in the last ``length`` days."""
    rows = count.rows("feature_user_days").sort_values(["k", "feature", "user_id", "day"])
    key = rows["k"].to_numpy(dtype=np.int64) * _width(count) + feature_numbers(count).get_indexer(
        rows["feature"]
    )
    day = rows["day"].to_numpy(dtype=np.int64)
    following = _following(rows, ["k", "feature", "user_id"])
    stop = np.minimum(day + length, np.where(np.isnan(following), FAR, following).astype(np.int64))
    one = np.ones(len(day), dtype=np.int64)
    return np.concatenate([key, key]), np.concatenate([day, stop]), np.concatenate([one, -one])


def _holding(parts: list[tuple], least: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """When all the conditions of a key begin and cease to be met."""
    key = np.concatenate([part[0] for part in parts])
    day = np.concatenate([part[1] for part in parts])
    changes = np.zeros((len(key), len(parts)), dtype=np.int64)
    at = 0
    for column, part in enumerate(parts):
        changes[at : at + len(part[0]), column] = part[2]
        at += len(part[0])
    return all_hold(key, day, changes, least)


def feature_adoption_rate(count: Counting, spans: Spans) -> np.ndarray:
    return ratio(features_adopted(count, spans), features_entitled(count, spans))


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
