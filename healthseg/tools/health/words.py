"""Figures of the health score in a reader's words; the sentences of metrics are the catalogue's."""

from __future__ import annotations

from collections.abc import Callable

from healthseg import rules
from healthseg.metrics import catalog
from healthseg.metrics.metric import Metric

TOOL = "calculate_health_score"
FORMATS = {
    "percent": lambda value: f"{100 * value:.0f} %",
    "ratio": lambda value: (
        "level with"
        if abs(value - 1) < 0.005
        else f"{100 * abs(value - 1):.0f} % {'above' if value > 1 else 'below'}"
    ),
    "days": lambda value: rules.counted(value, "day"),
    "hours": lambda value: rules.counted(value, "hour"),
    "tickets": lambda value: rules.counted(value, "ticket"),
    "count": lambda value: f"{value:.0f}",
    "number": lambda value: f"{value:.1f}",
    "money": lambda value: f"{value:,.0f}",
    "word": str,
    "signed": lambda value: f"{value:+.0f}".replace("-", "−"),
}


def _entry(metric: str) -> Metric | None:
    return catalog.entries().get(metric)


def area(metric: str, label: str) -> str:
    entry = _entry(metric)
    return entry.short or label if entry else label


def why_missing(metric: str, reason: str, has: Callable[[str], bool]) -> str:
    """Why a metric is missing, in words; ``has`` says whether the portfolio has a table."""
    if reason != "unmeasured":
        return {
            "ramp": "too new: no baseline of its own yet",
            "silence": "no ticket, or nobody active",
        }[reason]
    entry = _entry(metric)
    if entry is None:
        return "no data"
    if entry.tables and not any(has(table) for table in entry.tables):
        return f"the portfolio has no {entry.tables[0]}"
    return entry.missing


def effort(metric: str) -> str | None:
    entry = _entry(metric)
    return entry.effort if entry else None


def said(metric: str, value: float) -> str:
    """A metric's value as a reader meets it.

    >>> said("seat_utilisation", 0.64), said("usage_vs_own_baseline", 0.8), said("days_since_last_person_event", 1)
    ('64 %', '20 % below', '1 day')
    """
    entry = _entry(metric)
    return FORMATS[entry.format if entry else "number"](value)


def measured(metric: str, label: str, value: float, usual: float) -> str:
    """A metric's value beside what is usual, as a factor of a model.

    >>> measured("open_high_tickets", "Open high tickets", 3, 0)
    'Open high tickets: 3 tickets, usually 0 tickets'
    """
    if metric == "tier":
        return label if value == 1 else "Its value tier"
    now, often = "not measured" if value != value else said(metric, value), said(metric, usual)
    return f"{label}: {now}" + ("" if now == often else f", usually {often}")


def factor(metric: str, label: str, value: float, side: str) -> str:
    """What a metric says for or against the customer.

    >>> factor("worst_days_overdue", "", 0, "positive")
    'No invoice is overdue'
    """
    entry = _entry(metric)
    sentence = (entry.above if side == "positive" else entry.below) if entry else ""
    return rules.words(sentence or f"{label}: {{value}}", {"value": said(metric, value)})


def of_change(
    kind: str, label: str, metric: str | None, then: float | None, now: float | None
) -> str:
    """A part of a change, as the movers' reason."""
    if kind == "newly_missing":
        return f"{label} is no longer measured"
    if kind == "newly_known":
        return f"{label} is measured now"
    if kind == "configuration":
        return f"{label}: other rules than then"
    if kind == "data" and metric and then is not None and now is not None:
        return f"{area(metric, label)} {said(metric, then)} → {said(metric, now)}"
    return label


def impact(points: float) -> str:
    return f"+{points:.1f} points health score"
