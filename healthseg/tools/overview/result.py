"""Results of the overviews: the next actions of all customers."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from healthseg.tools.base import Part, Result
from healthseg.tools.next_actions import NextAction


class RecordToClose(Part):
    """A milestone left open in the records of a customer that did nearly all of them."""

    client_id: str = Field(description="Customer identifier")
    name: str = Field(description="The customer's name")
    owner: str | None = Field(description="The manager, csm_id")
    milestone_id: str = Field(description="Milestone")
    milestone: str = Field(description="Its name")
    days_overdue: int = Field(description="Days since it was due")
    completed: int = Field(description="Milestones that the customer completed")
    total: int = Field(description="Milestones of its plan")


class NextActionList(Result):
    """What to do next, of each live customer at least one action.

    Frames: actions (a row an action, the most severe and the most money first), records (milestones to close).
    """

    customers: int = Field(description="Live customers, each with at least one action")
    currency: str | None = Field(
        description="Currency of the amounts; null where there are several"
    )
    actions: list[NextAction] = Field(description="The first of each customer, ranked")
    records: list[RecordToClose] = Field(description="Records to close; no actions")

    def verdict(self) -> str:
        urgent = sum(action.severity in ("high", "critical") for action in self.actions)
        return f"Next actions of {self.customers} customers: {urgent} of them are urgent"

    def summary(self) -> dict[str, Any]:
        return {
            "Customers": self.customers,
            "First": "; ".join(f"{action.name}: {action.text}" for action in self.actions[:5]),
            "Records to close": len(self.records),
        }
