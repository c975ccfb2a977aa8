"""Support over spans: tickets opened and open, time to resolution."""

from __future__ import annotations

import numpy as np

from healthseg.metrics.counting import Counting, Spans, where
from healthseg.metrics.cube import within
from healthseg.metrics.metric import SCORED, Metric

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


METRICS = (
    Metric(
        name="open_tickets",
        label="Open tickets",
        unit="tickets",
        definition="opened ≤ d and not resolved ≤ d",
        question="How many tickets are open?",
        format="tickets",
        better="lower",
        missing="no tickets",
        tables=("tickets",),
        count=open_tickets,
        window_days=28,
        logarithm=True,
    ),
    Metric(
        name="open_high_tickets",
        label="Open high or critical tickets",
        short="Serious tickets",
        unit="tickets",
        definition="open_tickets with severity high or critical",
        question="How many serious tickets are open?",
        format="tickets",
        better="lower",
        missing="no tickets",
        tables=("tickets",),
        uses=SCORED,
        count=open_high_tickets,
        window_days=28,
        above="No high or critical ticket is open",
        below="{value} open, high or critical",
        high="serious tickets",
        low="no serious tickets",
        kind="volume",
        effort="low",
        logarithm=True,
    ),
    Metric(
        name="tickets_90d",
        label="Tickets in 90 days",
        unit="tickets",
        definition="opened in 90 days",
        question="How many tickets were opened?",
        format="tickets",
        better="lower",
        missing="no tickets",
        tables=("tickets",),
        count=tickets_opened,
        window_days=90,
        span_name="tickets_opened",
        logarithm=True,
    ),
    Metric(
        name="tickets_per_10_mau_90d",
        label="Tickets per 10 active users in 90 days",
        short="Ticket load",
        unit="tickets",
        definition="tickets_90d ÷ monthly_active_users × 10",
        question="How many tickets are there for the people who use it?",
        better="lower",
        missing="nobody was active in 30 days",
        tables=("tickets", "events"),
        uses=SCORED,
        derive=lambda rows: (
            10
            * rows["tickets_90d"]
            / rows["monthly_active_users"].where(rows["monthly_active_users"] > 0)
        ),
        above="{value} tickets per 10 active users in 90 days",
        below="{value} tickets per 10 active users in 90 days",
        high="many tickets",
        low="few tickets",
        kind="volume",
        effort="medium",
        logarithm=True,
    ),
    Metric(
        name="median_resolution_hours_90d",
        label="Median time to resolution in 90 days",
        short="Time to resolution",
        unit="hours",
        definition="median of resolved_at − opened_at over tickets resolved in 90 days (both with times)",
        question="How long does it take to resolve a ticket?",
        format="hours",
        better="lower",
        missing="no ticket was resolved in 90 days",
        tables=("tickets",),
        uses=SCORED,
        count=median_resolution_hours,
        window_days=90,
        span_name="median_resolution_hours",
        above="Half of the tickets are resolved within {value}",
        below="Half of the tickets take longer than {value}",
        high="slow resolution",
        low="fast resolution",
        kind="support",
        effort="medium",
        logarithm=True,
    ),
)
