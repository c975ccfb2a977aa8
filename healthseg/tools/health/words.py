"""Figures of the health score in a reader's words; the templates are the rules's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from healthseg import rules

TOOL = "calculate_health_score"
FORMATS = {
    "percent": lambda value: f"{100 * value:.0f} %",
    "change": lambda value: (
        "level with"
        if abs(value - 1) < 0.005
        else f"{100 * abs(value - 1):.0f} % {'above' if value > 1 else 'below'}"
    ),
    "days": lambda value: rules.counted(value, "day"),
    "hours": lambda value: rules.counted(value, "hour"),
    "tickets": lambda value: rules.counted(value, "ticket"),
    "count": lambda value: f"{value:.0f}",
    "number": lambda value: f"{value:.1f}",
    "signed": lambda value: f"{value:+.0f}".replace("-", "−"),
}


def _entry(metric: str) -> Mapping[str, str]:
    return rules.phrases(TOOL, "metric").get(metric, {})


def area(metric: str, label: str) -> str:
    return _entry(metric).get("area", label)


def why_missing(metric: str, reason: str, has: Callable[[str], bool]) -> str:
    """Why a metric is missing, in words; ``has`` says whether the portfolio has a table."""
    if reason != "unmeasured":
        return {
            "ramp": "too new: no baseline of its own yet",
            "silence": "no ticket, or nobody active",
        }[reason]
    table = _entry(metric).get("table")
    if table and not has(table):
        return f"the portfolio has no {table}"
    return _entry(metric).get("missing", "no data")


def effort(metric: str) -> str | None:
    return _entry(metric).get("effort")


def said(metric: str, value: float) -> str:
    """A metric's value as a reader meets it.

    >>> said("seat_utilisation", 0.64), said("usage_vs_own_baseline", 0.8), said("days_since_last_person_event", 1)
    ('64 %', '20 % below', '1 day')
    """
    return FORMATS[_entry(metric).get("format", "number")](value)


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
    template = _entry(metric).get("high" if side == "positive" else "low", f"{label}: {{value}}")
    return rules.words(template, {"value": said(metric, value)})


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
