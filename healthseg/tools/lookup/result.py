"""Results of looking things up: customers, a metric's definition, the rows behind a figure."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from healthseg.rules import counted
from healthseg.tools.base import Part, Result


class CustomerMatch(Part):
    """A live customer that was looked for."""

    client_id: str = Field(description="Customer identifier")
    name: str = Field(description="The customer's name")
    score: float | None = Field(description="Health score; null where it is withheld")
    band: str | None = Field(description="critical, at_risk, healthy or champion")
    arr: float | None = Field(description="ARR, in the currency of the response")
    tier: str | None = Field(description="Value tier")
    stage: str | None = Field(description="Lifecycle stage")
    csm_id: str | None = Field(description="The manager")
    days_to_renewal: int | None = Field(description="Days until the renewal")
    override: str | None = Field(description="What overrides the score, as notice")
    figures: dict[str, Any] = Field(description="The other figures that the request names")


class CustomerList(Result):
    """Customers by name and by filter. Frame: customers, all that match."""

    tool: ClassVar[str] = "find_customers"

    matching: int = Field(description="Live customers that match")
    of: int = Field(description="Live customers in all")
    currency: str | None = Field(description="Currency of the ARR; null where there are several")
    customers: list[CustomerMatch] = Field(description="The first of them, in the order requested")

    def verdict(self) -> str:
        shown = f"; the first {len(self.customers)}" if len(self.customers) < self.matching else ""
        return f"{self.matching} of {counted(self.of, 'live customer')} match{shown}"

    def summary(self) -> dict[str, Any]:
        return {
            "Matching": f"{self.matching} of {self.of}",
            "First": "; ".join(each.name for each in self.customers[:5]),
        }


class ScorecardUse(Part):
    """Where the default scorecard uses a metric."""

    component: str = Field(description="Component of the score")
    weight: float = Field(description="Weight within the component")
    anchors: list[list[float]] = Field(description="Pairs of value and points; linear in between")
    why: str = Field(description="The reason of the anchors")


class MetricDefinition(Result):
    """What a metric means, and where it is used."""

    tool: ClassVar[str] = "describe_metric"

    name: str = Field(description="The metric")
    label: str = Field(description="What people read")
    unit: str = Field(description="Its unit")
    question: str = Field(description="The question that it answers")
    definition: str = Field(description="Exactly what is counted")
    window_days: int | None = Field(
        description="Days that it is counted over; null: none of its own"
    )
    better: str | None = Field(description="higher, lower, or null where neither is better")
    missing: str = Field(description="Why it can be unknown although its tables are there")
    tables: list[str] = Field(description="Tables that it rests on")
    used_by: list[str] = Field(description="scorecard, churn model, segments, rules, pages")
    in_scorecard: list[ScorecardUse] = Field(description="Where the scorecard weighs it")

    def verdict(self) -> str:
        return f"{self.label} ({self.name}): {self.definition or self.question}"

    def summary(self) -> dict[str, Any]:
        return {"Unit": self.unit, "Definition": self.definition, "Tables": ", ".join(self.tables)}


class FigureTrace(Result):
    """What is behind a figure of a response. Frame: rows, all of them."""

    tool: ClassVar[str] = "trace_figure"

    figure: str = Field(description="Path of the figure in the response")
    value: Any = Field(description="Its value")
    kind: str = Field(description="counted, derived, modelled, setting or not measured")
    definition: str = Field(description="What it means")
    start: str | None = Field(description="First day of its window")
    end: str | None = Field(description="Day after its window")
    formula: str = Field(description="pandas expression over the rows that gives the value")
    rests_on: list[str] = Field(description="What it is computed from, where it is not counted")
    row_count: int = Field(description="Rows behind it")
    rows: list[dict[str, Any]] = Field(description="The first of these rows")

    def verdict(self) -> str:
        if self.formula:
            how = f"{self.formula} over {counted(self.row_count, 'row')}"
        else:
            how = "rests on " + ", ".join(self.rests_on)
        return f"{self.figure} = {self.value}: {self.kind}; {self.definition}; {how}"

    def summary(self) -> dict[str, Any]:
        return {"Value": self.value, "Definition": self.definition, "Rows": self.row_count}
