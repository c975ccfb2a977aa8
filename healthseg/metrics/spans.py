"""Metrics over spans: the one way in which healthseg counts anything.

``over`` takes any frame of half-open spans and gives the named metrics for each. The panel,
a granularity, a peer comparison are spans of one kind or another.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from healthseg.errors import InvalidParameters
from healthseg.metrics import catalog
from healthseg.metrics.by_key import BY, over_keys
from healthseg.metrics.counting import (
    CHAMPION_DAYS,
    Counting,
    Spans,
    chunks,
    customers,
    epoch_day,
    epoch_days,
)
from healthseg.metrics.metric import Metric


def days_counted(start: pd.Series, end: pd.Series) -> int:
    """Days from the farthest that metrics look back before the first ``start`` to the last ``end``."""
    first, last = pd.to_datetime(start).min(), pd.to_datetime(end).max()
    return CHAMPION_DAYS + (0 if pd.isna(first) else (last - first).days)


def over(
    portfolio: Any,
    spans: pd.DataFrame,
    metrics: Iterable[str],
    by: str = "client",
    clients: list[str] | None = None,
) -> pd.DataFrame:
    """What is each metric in each span?

    ``spans`` has the columns ``client_id, span_id, start, end`` (dates; end exclusive, account-local days).
    Returns those of them that were asked for (``clients``) in order of client and span, with one
    float column a metric, NaN where it was not measured. ``by="user"`` or ``"feature"`` gives a row
    for each user or feature with a person event in the span, for the metrics that have such a form.

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
    frame, metrics = _checked(spans, portfolio, clients), list(metrics)
    if by != "client":
        return over_keys(portfolio, frame, metrics, by)
    chosen = catalog.known_over_spans(metrics)
    days = days_counted(frame["start"], frame["end"])
    parts = [
        _chunk(portfolio, frame, part, chosen)
        for part in chunks(frame["client_id"].unique().tolist(), days)
    ]
    return (
        pd.concat(parts, ignore_index=True)
        if parts
        else frame.assign(**{name: [] for name in metrics})
    )


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


def _checked(spans: pd.DataFrame, portfolio: Any, clients: list[str] | None) -> pd.DataFrame:
    frame = spans if clients is None else spans[spans["client_id"].isin(clients)]
    frame = frame.sort_values(["client_id", "span_id"], kind="stable", ignore_index=True)
    if (pd.to_datetime(frame["end"]) <= pd.to_datetime(frame["start"])).any():
        raise InvalidParameters(
            "a span must end after it starts (its end is exclusive)", parameter="spans"
        )
    strangers = set(frame["client_id"]) - set(customers(portfolio).index)
    if strangers:
        raise InvalidParameters(
            f"spans of unknown customer {sorted(strangers)[0]!r}", parameter="spans"
        )
    return frame


def as_spans(frame: pd.DataFrame, clients: list[str]) -> Spans:
    place = pd.Index(clients).get_indexer(frame["client_id"])
    return Spans(place.astype(np.int64), epoch_days(frame["start"]), epoch_days(frame["end"]))


def _chunk(
    portfolio: Any, frame: pd.DataFrame, clients: list[str], metrics: list[Metric]
) -> pd.DataFrame:
    rows = frame[frame["client_id"].isin(clients)].reset_index(drop=True)
    spans = as_spans(rows, clients)
    count = Counting(portfolio, clients, spans)
    return rows.assign(**_values(count, spans, metrics))


def _values(count: Counting, spans: Spans, metrics: list[Metric]) -> dict[str, np.ndarray]:
    return {
        metric.over_spans: metric.count(count, spans)
        for metric in metrics
        if metric.count is not None
    }


__all__ = ["BY", "chunks", "over", "over_one"]
