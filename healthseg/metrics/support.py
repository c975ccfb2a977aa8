"""Support over spans: tickets opened and open, time to resolution."""

from __future__ import annotations

import numpy as np

from healthseg.metrics.counting import Counting, Spans, where
from healthseg.metrics.cube import within

HOUR = 3600


def _measured(count: Counting, spans: Spans) -> np.ndarray:
    return np.full(len(spans.k), count.has("tickets")) & (spans.end > count.signup[spans.k])


def _state(count: Counting, spans: Spans, column: str) -> np.ndarray:
    if not count.has("tickets"):
        return np.full(len(spans.k), np.nan)
    return where(
        _measured(count, spans), count.at(count.total("ticket_days", column), spans.k, spans.end)
    )


def open_tickets(count: Counting, spans: Spans) -> np.ndarray:
    return _state(count, spans, "open_change")


def open_high_tickets(count: Counting, spans: Spans) -> np.ndarray:
    return _state(count, spans, "open_high_change")


def tickets_opened(count: Counting, spans: Spans) -> np.ndarray:
    if not count.has("tickets"):
        return np.full(len(spans.k), np.nan)
    return where(
        _measured(count, spans), count.between(count.total("ticket_days", "opened"), spans)
    )


def median_resolution_hours(count: Counting, spans: Spans) -> np.ndarray:
    """Median hours from opening to resolution of the tickets resolved in the span."""
    if not count.has("tickets"):
        return np.full(len(spans.k), np.nan)
    rows = count.rows("ticket_resolutions")
    row, span = within(
        rows["k"].to_numpy(), rows["day"].to_numpy(), spans.k, spans.start, spans.end
    )
    return medians(rows["seconds"].to_numpy(dtype=np.int64)[row], span, len(spans.k)) / HOUR


def medians(value: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """The median of each group's values, NaN for an empty one."""
    order = np.lexsort((value, group))
    value, group = value[order], group[order]
    first = np.searchsorted(group, np.arange(groups))
    size = np.searchsorted(group, np.arange(groups), side="right") - first
    out = np.full(groups, np.nan)
    full = size > 0
    low, high = first[full] + (size[full] - 1) // 2, first[full] + size[full] // 2
    out[full] = (value[low] + value[high]) / 2
    return out
