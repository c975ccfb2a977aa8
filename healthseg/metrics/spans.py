"""Metrics over spans: the one way in which healthseg counts anything.

``over`` takes any frame of half-open spans and gives the named metrics for each. The panel, a granularity, a peer
comparison are spans of one kind or another. By user and by feature there is a row for each that was active in the
span; by entitled feature one for each that the customer could use on the span's last day, used or not.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.data.portfolio import Portfolio
from healthseg.errors import InvalidParameters, require_known
from healthseg.metrics import adoption, catalog
from healthseg.metrics.catalog import Metric
from healthseg.metrics.counting import (
    Counting,
    Spans,
    chunks,
    customers,
    epoch_day,
    epoch_days,
    within,
)

if TYPE_CHECKING:
    from healthseg.settings import Settings

# by → the rows that are counted, their key, the metrics that have such a form
BY = {
    "user": ("user_days", "user_id", ("person_events", "active_days")),
    "feature": ("feature_days", "feature", ("person_events", "active_days", "active_users")),
    "entitled_feature": ("feature_days", "feature", tuple(adoption.BY_ENTITLED_FEATURE)),
    "user_feature": ("feature_user_days", "feature", ("active_days",)),
}


def over(
    portfolio: Portfolio,
    spans: pd.DataFrame,
    metrics: Iterable[str],
    by: str = "client",
    clients: list[str] | None = None,
) -> pd.DataFrame:
    """What is each metric in each span?

    ``spans`` has the columns ``client_id, span_id, start, end`` (dates; end exclusive, account-local days).
    Returns those of ``clients`` (default: all) in order of client and span, with one float column a metric,
    NaN where it was not measured. ``by="user"``, ``"feature"``, ``"entitled_feature"`` or ``"user_feature"``
    gives a row for each of these, for the metrics that have such a form.

    Any subset of customers gives the same figures as the whole portfolio. Raises InvalidParameters for unknown
    metrics, and for spans that end before they start.

    >>> import datetime as dt, pandas as pd
    >>> from healthseg.testing import tiny_portfolio
    >>> portfolio = tiny_portfolio(events=[("a", "2025-03-03 09:00", "u1"), ("a", "2025-03-04 09:00", "u2")])
    >>> spans = pd.DataFrame({"client_id": ["a"], "span_id": [1],
    ...                       "start": [dt.date(2025, 3, 3)], "end": [dt.date(2025, 3, 5)]})
    >>> over(portfolio, spans, ["person_events", "active_users"])[["person_events", "active_users"]].values.tolist()
    [[2.0, 2.0]]
    """
    portfolio = Portfolio.of(portfolio)
    frame, names = _checked(spans, portfolio, clients), list(metrics)
    if by != "client":
        return _over_keys(portfolio, frame, names, by)
    chosen = catalog.known_over_spans(names)
    days = days_counted(frame["start"], frame["end"], portfolio.settings)
    parts = [
        _chunk(portfolio, frame, part, chosen)
        for part in chunks(portfolio, frame["client_id"].unique().tolist(), days)
    ]
    if not parts:
        return frame.assign(**{name: [] for name in names})
    return pd.concat(parts, ignore_index=True)


def over_one(
    count: Counting, parts: list[tuple[Any, dt.date, dt.date]], metrics: Iterable[str]
) -> pd.DataFrame:
    """``over`` for spans ``(span_id, start, end)`` of one customer, whose facts ``count`` has read for many calls."""
    frame = pd.DataFrame(parts, columns=["span_id", "start", "end"])
    start, end = (
        np.array([epoch_day(day) for day in frame[name]], dtype=np.int64)
        for name in ("start", "end")
    )
    spans = Spans(np.zeros(len(frame), dtype=np.int64), start, end)
    return frame.assign(**_values(count, spans, catalog.known_over_spans(metrics)))


def days_counted(start: pd.Series, end: pd.Series, settings: Settings) -> int:
    """Days from the farthest that metrics look back before the first ``start`` to the last ``end``."""
    first, last = pd.to_datetime(start).min(), pd.to_datetime(end).max()
    return settings.champion_look_back_days + (0 if pd.isna(first) else (last - first).days)


def as_spans(frame: pd.DataFrame, clients: list[str]) -> Spans:
    k = pd.Index(clients).get_indexer(frame["client_id"])
    return Spans(k.astype(np.int64), epoch_days(frame["start"]), epoch_days(frame["end"]))


def _checked(spans: pd.DataFrame, portfolio: Portfolio, clients: list[str] | None) -> pd.DataFrame:
    frame = spans if clients is None else spans[spans["client_id"].isin(clients)]
    frame = frame.sort_values(["client_id", "span_id"], kind="stable", ignore_index=True)
    if (pd.to_datetime(frame["end"]) <= pd.to_datetime(frame["start"])).any():
        raise InvalidParameters(
            "a span must end after it starts (its end is exclusive)", parameter="spans"
        )
    unknown = set(frame["client_id"]) - set(customers(portfolio).index)
    if unknown:
        raise InvalidParameters(
            f"spans of unknown customer {sorted(unknown)[0]!r}", parameter="spans"
        )
    return frame


def _chunk(
    portfolio: Portfolio, frame: pd.DataFrame, clients: list[str], metrics: list[Metric]
) -> pd.DataFrame:
    rows = frame[frame["client_id"].isin(clients)].reset_index(drop=True)
    spans = as_spans(rows, clients)
    return rows.assign(**_values(Counting(portfolio, clients, spans), spans, metrics))


def _values(count: Counting, spans: Spans, metrics: list[Metric]) -> dict[str, np.ndarray]:
    whole = whole_days(count, spans)
    return {
        metric.over_spans: metric.counted(count, whole if metric.from_events else spans)
        for metric in metrics
    }


def whole_days(count: Counting, spans: Spans) -> Spans:
    """The spans without days after the last one that is whole on their customer's clock: usage is not known of these."""
    return Spans(
        spans.k, spans.start, np.maximum(count.observed.until(spans.k, spans.end), spans.start)
    )


# -- by user and by feature --------------------------------------------------------------


def _over_keys(
    portfolio: Portfolio, frame: pd.DataFrame, metrics: list[str], by: str
) -> pd.DataFrame:
    source, key, _ = _offered(by, metrics)
    clients = frame["client_id"].unique().tolist()
    if not clients:
        return frame.assign(**{key: [], **{name: [] for name in metrics}})
    spans = as_spans(frame, clients)
    count = Counting(portfolio, clients, spans)
    spans = whole_days(count, spans)
    if by == "entitled_feature":
        span, columns = adoption.by_entitled_feature(count, spans, metrics)
        return frame.iloc[span].reset_index(drop=True).assign(**columns)
    keys = ["user_id", "feature"] if by == "user_feature" else [key]
    pairs = _rows_within(count, source, spans).groupby(["span", *keys], sort=True, observed=True)
    counted = pd.DataFrame({"active_days": pairs["day"].nunique()})
    if by != "user_feature":
        counted["person_events"] = pairs["person_events"].sum()
    if "active_users" in metrics:
        # None where only events without a user name the feature.
        users = _rows_within(count, "feature_user_days", spans)
        counted["active_users"] = users.groupby(["span", "feature"])["user_id"].nunique()
    counted = counted.fillna(0).astype(float).reset_index()
    rows = frame.iloc[counted["span"]].reset_index(drop=True)
    return pd.concat([rows, counted[[*keys, *metrics]]], axis=1)


def _rows_within(count: Counting, source: str, spans: Spans) -> pd.DataFrame:
    """The rows of a source on the days of each span, with the number of the span."""
    rows = count.rows(source)
    order = [name for name in ("k", "day", "feature", "user_id") if name in rows]
    rows = rows.sort_values(order, kind="stable", ignore_index=True)
    row, span = within(
        rows["k"].to_numpy(), rows["day"].to_numpy(), spans.k, spans.start, spans.end
    )
    return rows.iloc[row].assign(span=span)


def _offered(by: str, metrics: list[str]) -> tuple[str, str, tuple[str, ...]]:
    if by not in BY:
        raise InvalidParameters(
            f"unknown by {by!r}",
            parameter="by",
            value_provided=by,
            validation_rule="one of client, " + ", ".join(BY),
        )
    for name in metrics:
        require_known(name, BY[by][2], f"{name!r} is not counted by {by}", parameter="metrics")
    return BY[by]


__all__ = ["BY", "as_spans", "chunks", "days_counted", "over", "over_one"]
