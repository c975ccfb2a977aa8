"""find_customers, describe_metric, trace_figure: which customers, what does it mean, which rows are behind it?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import pandas as pd
from pydantic import Field

from healthseg.data.portfolio import Portfolio
from healthseg.errors import InvalidParameters, hint, require_known
from healthseg.metrics import catalog
from healthseg.rules import counted
from healthseg.rules.expressions import Condition
from healthseg.tools import TOOLS
from healthseg.tools.base import AsOf, Part, Result, tool
from healthseg.tools.context import PortfolioContext
from healthseg.tools.values import integer, number, record, records, word


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


LISTED = ("client_id", "name", "score", "band", "arr", "tier", "stage", "csm_id", "override")
# columns of the scored rows that say how a score came about; ``score`` here is the score that is shown
INTERNAL = {"date", "live", "shown", "uncapped", "cap", "capped", "withheld", "ramping"}
MOST_ROWS = 200

Name = Annotated[str | None, Field(description="Part of the name or of the client_id")]
Where = Annotated[
    str | None,
    Field(
        description="Condition over score, band, arr, tier, stage, plan, industry, csm_id, days_to_renewal and every metric, "
        "as: score < 60 and days_to_renewal <= 90"
    ),
]
OrderBy = Annotated[str, Field(description="Figure to order by; customers without it come last")]
Limit = Annotated[int, Field(ge=1, le=MOST_ROWS, description="Customers listed")]
MetricName = Annotated[str, Field(description="Metric, as seat_utilisation")]
ToolName = Annotated[str, Field(description="Tool whose response holds the figure")]
FigurePath = Annotated[str, Field(description="Path, as health_metrics.weekly_active_users")]
ToolParameters = Annotated[
    dict[str, Any] | None, Field(description="Parameters of that tool, as client_id and as_of")
]
RowLimit = Annotated[int, Field(ge=0, le=MOST_ROWS, description="Rows listed")]


@tool
def find_customers(
    portfolio: Portfolio,
    name: Name = None,
    *,
    where: Where = None,
    order_by: OrderBy = "score",
    descending: bool = False,
    limit: Limit = 20,
    as_of: AsOf = None,
) -> CustomerList:
    """Which live customers have this name, or meet this condition?

    A figure that a customer does not have makes a comparison of it unknown, and an unknown condition does not hold.
    Raises InvalidParameters and DataRetrievalError.

    >>> from healthseg.testing import tiny_portfolio
    >>> events = [("a", f"2025-03-{day:02d} 09:00", user) for day in range(1, 29) for user in ("u1", "u2")]
    >>> portfolio = tiny_portfolio([*events, ("b", "2025-03-01 09:00", "u3")])
    >>> [each.client_id for each in find_customers(portfolio, where="weekly_active_users >= 2").customers]
    ['a']
    """
    date = portfolio.as_of(as_of)
    context = PortfolioContext.of(portfolio, date)
    everyone = _figures(context)
    condition = _condition(where, everyone)
    if order_by not in everyone:
        raise InvalidParameters(
            f"{order_by!r} is not a known figure{hint(order_by, everyone.columns)}",
            parameter="order_by",
            value_provided=order_by,
            validation_rule="a figure of the customers, as score, arr or seat_utilisation",
        )
    rows = _of_name(everyone, name)
    if condition is not None:
        rows = rows[[condition.holds(row) for row in rows.to_dict("records")]]
    rows = rows.sort_values(
        [order_by, "client_id"], ascending=[not descending, True], na_position="last"
    )
    more = {order_by, *(condition.names if condition else ())} - {*LISTED, "days_to_renewal"}
    return CustomerList(
        as_of=date,
        data_until=portfolio.data_until,
        fingerprint=portfolio.fingerprint(date),
        warnings=context.currency_warnings,
        matching=len(rows),
        of=len(everyone),
        currency=context.money.currency,
        customers=[_match(row, sorted(more)) for row in rows.head(limit).to_dict("records")],
    ).with_frames(customers=rows.reset_index(drop=True))


def _figures(context: PortfolioContext) -> pd.DataFrame:
    """What a condition may name: the metrics, score and band, name, manager, ARR in the portfolio's currency."""
    rows = context.live
    figures = rows.drop(columns=[column for column in rows if column in INTERNAL]).assign(
        client_id=rows.index,
        name=context.names,
        score=rows["shown"],
        arr=context.money.amounts,
        csm_id=context.static("csm_id"),
    )
    words = figures.select_dtypes(exclude="number").columns
    figures[words] = figures[words].astype(object).where(figures[words].notna(), None)
    return figures.reset_index(drop=True)


def _condition(where: str | None, figures: pd.DataFrame) -> Condition | None:
    if not where:
        return None
    try:
        return Condition(where, figures.columns)
    except InvalidParameters as problem:
        problem.details["parameter"] = "where"
        raise


def _of_name(rows: pd.DataFrame, name: str | None) -> pd.DataFrame:
    """The rows whose name or client_id has this text; where none has, those of the nearest name."""
    if not name:
        return rows
    wanted, names = name.casefold(), rows["name"].astype(str)
    parts = names.str.casefold() + "\n" + rows["client_id"].str.casefold()
    matching = rows[parts.str.contains(wanted, regex=False)]
    if len(matching):
        return matching
    return rows[[hint(name, [each]) != "" for each in names]]


def _match(row: Mapping[Any, Any], more: list[str]) -> CustomerMatch:
    words = {key: word(row[key]) for key in ("band", "tier", "stage", "csm_id", "override")}
    return CustomerMatch(
        client_id=row["client_id"],
        name=row["name"],
        score=integer(row["score"]),
        arr=number(row["arr"]),
        days_to_renewal=integer(row.get("days_to_renewal")),
        figures=record({key: row[key] for key in more}),
        **words,
    )


@tool
def describe_metric(
    portfolio: Portfolio, metric: MetricName, *, as_of: AsOf = None
) -> MetricDefinition:
    """What does this metric mean: question, definition, unit, window, tables, and its weight in the score?

    Raises InvalidParameters, with the nearest name, for an unknown metric.

    >>> from healthseg.testing import tiny_portfolio
    >>> describe_metric(tiny_portfolio([("a", "2025-03-01 09:00", "u1")]), "seat_utilisation").label
    'Seats in use'
    """
    date, entry = portfolio.as_of(as_of), catalog.get(metric)
    uses = [
        ScorecardUse(
            component=component,
            weight=each.weight,
            anchors=[list(anchor) for anchor in each.anchors],
            why=each.why,
        )
        for component, part in portfolio.settings.scorecard.components.items()
        for each in part.metrics
        if each.metric == metric
    ]
    return MetricDefinition(
        as_of=date,
        data_until=portfolio.data_until,
        fingerprint=portfolio.fingerprint(date),
        name=entry.name,
        label=entry.label,
        unit=entry.unit,
        question=entry.question,
        definition=entry.definition,
        window_days=entry.window_days,
        better=entry.better,
        missing=entry.missing,
        tables=list(entry.tables),
        used_by=sorted(entry.uses),
        in_scorecard=uses,
    )


@tool
def trace_figure(
    portfolio: Portfolio,
    tool: ToolName,
    figure: FigurePath,
    *,
    parameters: ToolParameters = None,
    limit: RowLimit = 10,
) -> FigureTrace:
    """Which rows are behind a figure of a tool's response, and how do they give it?

    A tool that can write only reads here. Raises InvalidParameters for an unknown tool or path, and what the tool raises.

    >>> from healthseg.testing import tiny_portfolio
    >>> portfolio = tiny_portfolio([("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 29)])
    >>> traced = trace_figure(portfolio, "calculate_health_score", "health_metrics.weekly_active_users",
    ...                       parameters={"client_id": "a"})
    >>> traced.value, traced.row_count
    (1, 7)
    """
    require_known(tool, TOOLS, f"there is no tool {tool!r} with figures to trace", parameter="tool")
    result = TOOLS[tool].run(portfolio, {**(parameters or {}), **TOOLS[tool].reading})
    traced = result.trace(figure)
    shown = FigureTrace(
        as_of=result.as_of,
        data_until=result.data_until,
        fingerprint=result.fingerprint,
        figure=traced.figure,
        value=traced.value,
        kind=traced.kind,
        definition=traced.definition,
        start=None if traced.start is None else str(traced.start),
        end=None if traced.end is None else str(traced.end),
        formula=traced.formula,
        rests_on=list(traced.rests_on),
        row_count=len(traced.rows),
        rows=records(_as_texts(traced.rows.head(limit))),
    )
    shown._frames["rows"] = traced.rows  # a table's rows, with the types of its contract
    return shown


def _as_texts(rows: pd.DataFrame) -> pd.DataFrame:
    """Dates and times as ISO texts; numbers as they are."""
    columns = rows.select_dtypes(exclude=["number", "bool"]).columns
    texts = {column: rows[column].map(str).where(rows[column].notna(), None) for column in columns}
    return rows.assign(**texts)
