"""What several pages show alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from healthseg.charts.formats import is_missing
from healthseg.reports.spec import Points, Row, Section

NEXT_ACTIONS = Points(
    "recommendations_detail", "{text:prose}", ordered=True, empty="No action is due."
)
# of results with ``next_actions``: what, who, by when, why
NEXT_ACTIONS_OF_CUSTOMER = Points(
    "next_actions",
    "{text:prose}",
    under="{owner:manager?nobody assigned} · by {due_on:day?no date} · {why:prose}",
    severity="severity",
    ordered=True,
    empty="Nothing is due for a customer that has churned.",
)
# of results with ``recommended_actions`` as sentences
WHAT_TO_DO = Section(
    "actions",
    "What to do?",
    blocks=(
        Points(
            "recommended_actions",
            "{page_item:prose}",
            ordered=True,
            empty="No action is due.",
            limit=5,
        ),
    ),
)
CUSTOMER_ABOUT = "As of {as_of:day} · {client_id}"
NO_CUSTOMER = "no client_id was given"


def portfolio_about(result: Any) -> str:
    """As of when, and which customers are not counted."""
    why = [
        f"{{excluded.{reason}:number}} {reason.replace('_', ' ')}"
        for reason, customers in result.excluded.items()
        if customers
    ]
    return "As of {as_of:day}" + (f" · not counted: {'; '.join(why)}" if why else "")


def largest_first(column: str) -> Callable[[Row], float]:
    """Rows by a column, the largest first, those without it last."""
    return lambda row: float("inf") if is_missing(row[column]) else -row[column]
