"""The metrics over spans by user and by feature: one row for each that was active in the span."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from healthseg.errors import InvalidParameters
from healthseg.metrics.counting import Counting, Spans, epoch_days
from healthseg.metrics.cube import within
from healthseg.metrics.feature_pairs import BY_USER, ENTITLED, over_entitled, over_user_features

BY = {
    "user": ("user_days", "user_id", ("person_events", "active_days")),
    "feature": ("feature_days", "feature", ("person_events", "active_days", "active_users")),
    "entitled_feature": ("feature_days", "feature", ENTITLED),
    "user_feature": ("feature_user_days", "feature", BY_USER),
}
PAIRS = {"entitled_feature": over_entitled, "user_feature": over_user_features}


def over_keys(portfolio: Any, frame: pd.DataFrame, metrics: Iterable[str], by: str) -> pd.DataFrame:
    """``spans.over`` by user or feature, for a frame that it has checked."""
    source, key, _ = _offered(by, list(metrics))
    clients = frame["client_id"].unique().tolist()
    if not clients:
        return frame.assign(**{key: [], **{name: [] for name in metrics}})
    if by in PAIRS:
        return PAIRS[by](portfolio, frame, list(metrics))
    place = pd.Index(clients).get_indexer(frame["client_id"]).astype(np.int64)
    spans = Spans(place, epoch_days(frame["start"]), epoch_days(frame["end"]))
    count = Counting(portfolio, clients, spans)
    rows = count.rows(source).sort_values(["k", "day", key], kind="stable", ignore_index=True)
    row, span = within(
        rows["k"].to_numpy(), rows["day"].to_numpy(), spans.k, spans.start, spans.end
    )
    pairs = rows.iloc[row].assign(span=span).groupby(["span", key], sort=True, observed=True)
    out = pd.DataFrame(
        {"person_events": pairs["person_events"].sum(), "active_days": pairs["day"].nunique()}
    )
    if "active_users" in metrics:
        out["active_users"] = _users(
            count, spans
        )  # none where only events without a user name the feature
    out = out.fillna(0).astype(float).reset_index()
    return pd.concat([frame.iloc[out["span"]].reset_index(drop=True), out[[key, *metrics]]], axis=1)


def _users(count: Counting, spans: Spans) -> pd.Series:
    """Distinct users of each feature in each span."""
    rows = count.rows("feature_user_days").sort_values(
        ["k", "day", "feature", "user_id"], ignore_index=True
    )
    row, span = within(
        rows["k"].to_numpy(), rows["day"].to_numpy(), spans.k, spans.start, spans.end
    )
    return rows.iloc[row].assign(span=span).groupby(["span", "feature"])["user_id"].nunique()


def _offered(by: str, metrics: list[str]) -> tuple[str, str, tuple[str, ...]]:
    if by not in BY:
        raise InvalidParameters(
            f"unknown by {by!r}",
            parameter="by",
            value_provided=by,
            validation_rule="one of client, " + ", ".join(BY),
        )
    missing = [name for name in metrics if name not in BY[by][2]]
    if missing:
        raise InvalidParameters(
            f"{missing[0]!r} is not counted by {by}",
            parameter="metrics",
            value_provided=missing[0],
            validation_rule="one of " + ", ".join(BY[by][2]),
        )
    return BY[by]
