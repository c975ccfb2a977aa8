"""Customer 360: the facts of all tools about one customer, in one result."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
from pydantic import Field

from healthseg.charts import formats
from healthseg.metrics.counting import counting
from healthseg.metrics.milestone_plan import date_of
from healthseg.metrics.milestones import states
from healthseg.metrics.people import champion_of
from healthseg.metrics.stages import history
from healthseg.tools.base import Figure, Part, Result
from healthseg.tools.context import EXPANSION_RULES, CustomerContext
from healthseg.tools.health.result import HealthScore
from healthseg.tools.health.tool import calculate_health_score
from healthseg.tools.values import integer, rounded, word

if TYPE_CHECKING:
    from healthseg.charts.theme import Picture
    from healthseg.data.portfolio import Portfolio

YEAR_DAYS = 365
# The answers at most as high as this make a detractor: 0 to 10 of NPS, 1 to 5 of CSAT.
LOW_ANSWERS = {"nps": 6, "csat": 2}
PEOPLE_SHOWN = 8
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
    overdue: int = Field(description="Overdue, records to close aside")
    to_close: list[str] = Field(
        description="Records to close: open for long where nearly all else is done"
    )
    open: list[Milestone360] = Field(description="Open ones, the earliest due first")


class Contact360(Part):
    """A person to know: the champion, or somebody who rated the product low."""

    user_id: str | None = Field(description="User; pages show a pseudonym")
    role: str | None = Field(description="Role, where the users table has it")
    kind: str = Field(description="champion or detractor")
    text: str = Field(description="Why, in words")
    date: dt.date | None = Field(description="When it was said; null of a champion")


class Contract360(Part):
    """A contract: its span, seats and ARR."""

    starts_on: dt.date = Field(description="First day")
    ends_on: dt.date | None = Field(description="Last day; null while open")
    plan: str | None = Field(description="Plan")
    seats: int | None = Field(description="Seats")
    arr: float | None = Field(description="ARR in its own currency")
    currency: str | None = Field(description="Currency of the ARR")


class Invoice360(Part):
    """An invoice, and how late it was paid."""

    issued_on: dt.date = Field(description="When it was issued")
    due_on: dt.date = Field(description="When it was due")
    paid_on: dt.date | None = Field(description="When it was paid; null while open")
    amount: float = Field(description="Amount")
    currency: str | None = Field(description="The customer's currency")
    days_late: int = Field(description="Days from due to payment, or until as_of; 0 where in time")


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
    contacts: list[Contact360] = Field(description="Champion and detractors of a year")
    contracts: list[Contract360] = Field(description="Contracts, the newest first")
    invoices: list[Invoice360] = Field(description="Invoices of a year, the newest first")
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
        contacts=contacts(context, row),
        contracts=contracts(context),
        invoices=invoices(context),
        timeline=events,
    ).with_frames(timeline=pd.DataFrame([event.model_dump() for event in events]))


def milestones(context: CustomerContext) -> Milestones360 | None:
    rows = states(context.portfolio, context.as_of)
    rows = rows[rows["client_id"] == context.client_id]
    if rows.empty:
        return None
    pending = rows[rows["status"].isin(("overdue", "in_progress", "not_started"))]
    to_close = rows["to_close"].astype(bool)
    pending = pending[~to_close.reindex(pending.index)]
    pending = pending.sort_values(["target_day", "milestone_id"], kind="stable")
    return Milestones360(
        completed=int((rows["status"] == "completed").sum()),
        total=int((rows["status"] != "skipped").sum()),
        overdue=int(((rows["status"] == "overdue") & ~to_close).sum()),
        to_close=rows.loc[to_close, "name"].astype(str).tolist(),
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


def contacts(context: CustomerContext, row: dict[str, Any]) -> list[Contact360]:
    """The champion, and each user whose last answer of a year was low: the newest first."""
    users = {str(user["user_id"]): word(user.get("role")) for user in _rows(context, "users")}
    people, champion = [], _champion(context)
    if champion is not None:
        share = formats.percent(row.get("champion_share"))
        days = formats.quantity(champion["active_days"], "days")
        text = f"{share} of the usage, active on {days} of 90"
        user = word(champion["user_id"])
        people.append(
            Contact360(
                user_id=user, role=users.get(user or ""), kind="champion", text=text, date=None
            )
        )
    last: dict[tuple[str, str], tuple[dt.date, float]] = {}
    since = context.last_day - dt.timedelta(days=YEAR_DAYS)
    for answer in (*_rows(context, "surveys"), *_ticket_answers(context)):
        day, user, score = _day(answer.get("responded_at")), answer.get("user_id"), answer["score"]
        if day is not None and pd.notna(score) and pd.notna(user):
            key = (str(user), str(answer["kind"]))
            if since < day <= context.last_day and day >= last.get(key, (day, 0.0))[0]:
                last[key] = (day, float(score))
    low = [(day, user, kind, score) for (user, kind), (day, score) in last.items()]
    for day, user, kind, score in sorted(low, reverse=True):
        if score <= LOW_ANSWERS.get(kind, -1):
            words = f"{kind.upper()} {formats.number(score)}"
            people.append(
                Contact360(
                    user_id=user, role=users.get(user), kind="detractor", text=words, date=day
                )
            )
    return people[:PEOPLE_SHOWN]


def _ticket_answers(context: CustomerContext) -> list[dict[str, Any]]:
    """The CSAT answers to tickets, as those of surveys."""
    return [
        {**row, "kind": "csat", "score": row["csat"], "responded_at": row.get("resolved_at")}
        for row in _rows(context, "tickets")
        if "csat" in row
    ]


def _champion(context: CustomerContext) -> dict[str, Any] | None:
    if not context.portfolio.has("events"):
        return None
    end = context.last_day + dt.timedelta(days=1)
    start = end - dt.timedelta(days=context.settings.champion_look_back_days)
    return champion_of(counting(context.portfolio, [context.client_id], start, end), end)


def contracts(context: CustomerContext) -> list[Contract360]:
    """What was signed and when: seats and ARR over time."""
    rows = [row for row in _rows(context, "contracts") if _day(row["starts_on"])]
    listed = [
        Contract360(
            starts_on=start,
            ends_on=_day(row.get("ends_on")),
            plan=word(row.get("plan")),
            seats=integer(row.get("seats")),
            arr=rounded(row.get("arr"), 2),
            currency=word(row.get("currency")),
        )
        for row in rows
        if (start := _day(row["starts_on"])) is not None and start <= context.last_day
    ]
    return sorted(listed, key=lambda item: item.starts_on, reverse=True)


def invoices(context: CustomerContext) -> list[Invoice360]:
    """The invoices of a year, and how late each was paid."""
    since = context.last_day - dt.timedelta(days=YEAR_DAYS)
    currency = word(context.row().get("currency"))
    listed = []
    for row in _rows(context, "invoices"):
        issued, due, paid = (_day(row.get(name)) for name in ("issued_on", "due_on", "paid_on"))
        paid = paid if paid is not None and paid <= context.last_day else None
        amount = rounded(row.get("amount"), 2)
        if (
            amount is None
            or issued is None
            or due is None
            or not since < issued <= context.last_day
        ):
            continue
        late = max(0, ((paid or context.last_day) - due).days)
        listed.append(
            Invoice360(
                issued_on=issued,
                due_on=due,
                paid_on=paid,
                amount=amount,
                currency=currency,
                days_late=late,
            )
        )
    return sorted(listed, key=lambda item: item.issued_on, reverse=True)


def _day(value: Any) -> dt.date | None:
    return None if value is None or pd.isna(value) else pd.Timestamp(value).date()


def timeline(context: CustomerContext) -> list[TimelineEvent]:
    """Stages, touches, tickets of high severity and surveys of the last year, the newest first."""
    until = context.last_day
    since, events = until - dt.timedelta(days=365), []
    for change in history(context.portfolio).of(context.client_id):
        stage = getattr(change, "stage", None)
        moment = getattr(change, "effective_at", None)
        if stage and moment is not None:
            events.append((moment.date(), "stage", formats.sentence(formats.words(stage))))
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
