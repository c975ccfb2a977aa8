"""Figures of the health score in a reader's words; the templates are the playbook's."""
from __future__ import annotations

from collections.abc import Mapping

from healthseg import playbook

TOOL = "calculate_health_score"
FORMATS = {
    "percent": lambda value: f"{100 * value:.0f} %",
    "change": lambda value: f"{100 * (value - 1):+.0f} %",
    "days": lambda value: f"{value:.0f} day{'' if round(value) == 1 else 's'}",
    "hours": lambda value: f"{value:.0f} hours",
    "count": lambda value: f"{value:.0f}",
    "number": lambda value: f"{value:.1f}",
    "signed": lambda value: f"{value:+.0f}",
}


def _entry(measure: str) -> Mapping[str, str]:
    return playbook.phrases(TOOL, "measure").get(measure, {})


def area(measure: str, label: str) -> str:
    return _entry(measure).get("area", label)


def effort(measure: str) -> str | None:
    return _entry(measure).get("effort")


def said(measure: str, value: float) -> str:
    """A measure's value as a reader meets it.

    >>> said("seat_utilisation", 0.64), said("usage_vs_own_baseline", 0.8), said("days_since_last_person_event", 1)
    ('64 %', '-20 %', '1 day')
    """
    return FORMATS[_entry(measure).get("format", "number")](value)


def factor(measure: str, label: str, value: float, side: str) -> str:
    """What a metric says for or against the customer.

    >>> factor("worst_days_overdue", "", 0, "positive")
    'No invoice is overdue'
    """
    template = _entry(measure).get("high" if side == "positive" else "low", f"{label}: {{value}}")
    return playbook.words(template, {"value": said(measure, value)})


def of_change(kind: str, label: str, measure: str | None, then: float | None, now: float | None) -> str:
    """A part of a change, as the movers' reason."""
    if kind == "newly_missing":
        return f"{label} is no longer measured"
    if kind == "newly_known":
        return f"{label} is measured now"
    if kind == "configuration":
        return f"{label}: other rules than then"
    if kind == "data" and measure and then is not None and now is not None:
        return f"{area(measure, label)} {said(measure, then)} → {said(measure, now)}"
    return label


def impact(points: float) -> str:
    return f"+{points:.1f} points health score"
