"""Customer 360: the facts of all tools about one customer, in one result."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
from pydantic import Field

from healthseg.metrics.milestone_plan import date_of
from healthseg.metrics.milestones import states
from healthseg.metrics.stages import history
from healthseg.tools.base import Figure, Part, Result
from healthseg.tools.context import EXPANSION_RULES, CustomerContext
from healthseg.tools.health.result import HealthScore
from healthseg.tools.health.tool import calculate_health_score
from healthseg.tools.values import integer, rounded, word

if TYPE_CHECKING:
    from healthseg.charts.theme import Picture
    from healthseg.data.portfolio import Portfolio

NOT_MEASURED = "not measured"
USED = (
    "weekly_active_users",
    "monthly_active_users",
    "seat_utilisation",
    "usage_vs_own_baseline",
    "stickiness_30d",
    "sessions_per_user_per_week_28d",
    "days_since_last_person_event",
    "top_user_share_28d",
    "features_adopted_30d",
    "features_entitled",
    "feature_adoption_rate_30d",
)
SERVED = (
    "open_tickets",
    "open_high_tickets",
    "median_resolution_hours_90d",
    "nps_365d",
    "nps_respondents_365d",
    "csat_180d",
    "csat_responses_180d",
)
PAID = ("worst_days_overdue", "paid_on_time_share_365d", "uncontracted_days", "contract_term_days")


class Milestone360(Part):
    """An open milestone."""

    name: str = Field(description="Milestone")
    status: str = Field(description="overdue, in_progress or not_started")
    due_on: dt.date | None = Field(description="When it was or is due")
    required: bool = Field(description="Whether it is required")
    blocker: str | None = Field(description="What blocks it")


class Milestones360(Part):
    """How far the customer is in its plan."""

    completed: int = Field(description="Completed")
    total: int = Field(description="Of its plan, without skipped ones")
    overdue: int = Field(description="Overdue")
    open: list[Milestone360] = Field(description="Open ones, the earliest due first")


class TimelineEvent(Part):
    """What happened with the customer."""

    date: dt.date = Field(description="Day")
    kind: str = Field(description="stage, touch, ticket, survey, milestone or invoice")
    text: str = Field(description="In words")


class Readiness(Part):
    """A rule of readiness to expand."""

    rule: str = Field(description="In words")
    holds: bool | None = Field(description="Whether it holds; null where its figure is not known")


class Customer360(Result):
    """The facts of all tools about one customer. Frames: timeline."""

    tool: ClassVar[str] = "customer_360"

    client_id: str = Field(description="Customer identifier")
    health: HealthScore = Field(description="calculate_health_score's response")
    usage: dict[str, float | None] = Field(description="Metrics of usage and adoption")
    service: dict[str, float | None] = Field(description="Metrics of tickets and surveys")
    payment: dict[str, float | None] = Field(description="Metrics of contract and invoices")
    milestones: Milestones360 | None = Field(description="Milestones; null without a plan")
    readiness: list[Readiness] = Field(description="Rules of readiness to expand")
    timeline: list[TimelineEvent] = Field(description="What happened, the newest first")

    def verdict(self) -> str:
        return self.health.verdict()

    def charts(self) -> dict[str, Picture]:
        return {"history": self.health.charts()["history"]}


def customer_360_of(portfolio: Portfolio, client_id: str, as_of: dt.date) -> Customer360:
    """The result for a customer."""
    context = CustomerContext.of(portfolio, client_id, as_of)
    health, row = (
        calculate_health_score(portfolio, context.client_id, as_of=str(as_of)),
        context.row(),
    )
    live = context.portfolio_context.live
    row = row | (live.loc[context.client_id].to_dict() if context.client_id in live.index else {})
    events = timeline(context)
    return Customer360(
        as_of=as_of,
        data_until=portfolio.data_until,
        fingerprint=portfolio.fingerprint(as_of),
        coverage=health.coverage,
        warnings=health.warnings,
        client_id=context.client_id,
        health=health,
        usage={name: rounded(row.get(name)) for name in USED},
        service={name: rounded(row.get(name)) for name in SERVED},
        payment={name: rounded(row.get(name)) for name in PAID},
        milestones=Figure(milestones(context), "the portfolio has no milestones of this customer"),
        readiness=readiness(context),
        timeline=events,
    ).with_frames(timeline=pd.DataFrame([event.model_dump() for event in events]))


def milestones(context: CustomerContext) -> Milestones360 | None:
    rows = states(context.portfolio, context.as_of)
    rows = rows[rows["client_id"] == context.client_id]
    if rows.empty:
        return None
    pending = rows[rows["status"].isin(("overdue", "in_progress", "not_started"))]
    pending = pending.sort_values(["target_day", "milestone_id"], kind="stable")
    return Milestones360(
        completed=int((rows["status"] == "completed").sum()),
        total=int((rows["status"] != "skipped").sum()),
        overdue=int((rows["status"] == "overdue").sum()),
        open=[
            Milestone360(
                name=str(row["name"]),
                status=str(row["status"]),
                due_on=date_of(row["target_day"]),
                required=bool(row["required"]),
                blocker=word(row["blocker"]) if row["blocked"] else None,
            )
            for row in pending.to_dict("records")
        ],
    )


def readiness(context: CustomerContext) -> list[Readiness]:
    table = context.portfolio_context.expansion_readiness
    if context.client_id not in table.index:
        return []
    row = table.loc[context.client_id]
    return [
        Readiness(rule=words, holds=None if pd.isna(row[name]) else bool(row[name]))
        for name, words in EXPANSION_RULES.items()
    ]


def timeline(context: CustomerContext) -> list[TimelineEvent]:
    """Stages, touches, tickets of high severity and surveys of the last year, the newest first."""
    until = context.last_day
    since, events = until - dt.timedelta(days=365), []
    for change in history(context.portfolio).of(context.client_id):
        stage = getattr(change, "stage", None)
        moment = getattr(change, "effective_at", None)
        if stage and moment is not None:
            events.append((moment.date(), "stage", f"Stage: {str(stage).replace('_', ' ')}"))
    for table, column, kind, text in (
        (
            "interventions",
            "happened_at",
            "touch",
            lambda row: str(row["kind"]).replace("_", " ").capitalize(),
        ),
        ("tickets", "opened_at", "ticket", _ticket),
        (
            "surveys",
            "responded_at",
            "survey",
            lambda row: f"{str(row['kind']).upper()} {integer(row['score'])}",
        ),
    ):
        for row in _rows(context, table):
            day = pd.Timestamp(row[column])
            words = text(row) if pd.notna(day) else None
            if words:
                events.append((day.date(), kind, words))
    recent = sorted({event for event in events if since < event[0] <= until}, reverse=True)
    return [TimelineEvent(date=day, kind=kind, text=text) for day, kind, text in recent]


def _ticket(row: dict[str, Any]) -> str | None:
    if row.get("severity") not in ("high", "critical"):
        return None
    topic = word(row.get("topic"))
    return f"{str(row['severity']).capitalize()} ticket" + (
        f": {topic.replace('_', ' ')}" if topic else ""
    )


def _rows(context: CustomerContext, table: str) -> list[dict[str, Any]]:
    if not context.portfolio.has(table):
        return []
    rows = context.portfolio.table(table)
    own = rows[rows["client_id"].astype(str) == context.client_id]
    return [{str(key): value for key, value in row.items()} for row in own.to_dict("records")]
