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
from healthseg.rules import counted
from healthseg.tools.base import Figure, Part, Result
from healthseg.tools.context import EXPANSION_RULES, CustomerContext
from healthseg.tools.health.result import HealthScore
from healthseg.tools.health.tool import calculate_health_score
from healthseg.tools.overview.timeline import TimelineEvent, rows_of, timeline
from healthseg.tools.renewals import RenewalRisk, renewal_risk
from healthseg.tools.revenue import churned_customer
from healthseg.tools.values import day_of, integer, number, rounded, word

if TYPE_CHECKING:
    from healthseg.charts.theme import Picture
    from healthseg.data.portfolio import Portfolio

YEAR_DAYS = 365
CSAT_DAYS = 180
# Answers at most as high as this are low, those of NPS (0 to 10) a detractor's; CSAT is 1 to 5. Each of the window of its metric.
LOW_ANSWERS = {"nps": (6, "detractor", YEAR_DAYS), "csat": (2, "low_rating", CSAT_DAYS)}
PEOPLE_SHOWN = 6
KINDS = tuple(kind for _, kind, _ in LOW_ANSWERS.values())
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
    reached: list[str] = Field(description="Completed ones, the first first")
    open: list[Milestone360] = Field(description="Open ones, the earliest due first")


class Contact360(Part):
    """A person to know: the champion, or somebody who rated the product low."""

    user_id: str | None = Field(description="User; pages show a pseudonym")
    role: str | None = Field(description="Role, where the users table has it")
    kind: str = Field(
        description="champion, detractor (NPS of 6 or less) or low_rating (CSAT of 2 or less)"
    )
    text: str = Field(description="Why, in words")
    topic: str | None = Field(default=None, description="What the rated ticket was about")
    date: dt.date | None = Field(description="When it was said; null of a champion")


class People360(Part):
    """Whom the customer depends on, and who is unhappy."""

    champion_share: float | None = Field(
        description="The champion's share of the usage; null without one"
    )
    champion_role: str | None = Field(description="The champion's role, where it is known")
    champion_active_days: int | None = Field(
        description="Days of `champion_look_back_days` on which the champion was active"
    )
    champion_look_back_days: int = Field(description="Days that a champion is looked for in")
    champion_silent_days: int | None = Field(description="Days since the champion's last use")
    detractors: int = Field(description="People whose last NPS answer of a year is 6 or less")
    low_ratings: int = Field(description="People whose last CSAT answer of 180 days is 1 or 2")
    unhappy: int = Field(description="People with either")
    since: dt.date | None = Field(description="The first of these answers")
    topic: str | None = Field(description="What most of the tickets they rated were about")
    of_topic: int = Field(description="Of these people, those who rated a ticket of this topic")


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


class ExpectedLoss360(Part):
    """The ARR that is expected to churn."""

    arr: float = Field(description="Probability of churn × ARR")
    currency: str | None = Field(description="The portfolio's currency")


class Loss360(Part):
    """How a customer churned: what is to be learnt of it."""

    churned_on: dt.date = Field(description="When it churned")
    notice_on: dt.date | None = Field(description="When notice was given")
    notice_days: int | None = Field(description="Days from the notice to the end")
    reason: str | None = Field(description="The reason recorded with the stage")
    arr: float | None = Field(description="Its last known ARR, in the portfolio's currency")
    currency: str | None = Field(description="Currency of the ARR")
    score_days: int = Field(description="How long before the end `score` was (churned_score_days)")
    score: float | None = Field(description="Its score then")
    score_before_notice: int | None = Field(description="Its last weekly score before the notice")
    warned: bool | None = Field(description="Whether `score` was below the band Healthy")
    threshold: float = Field(description="The lower end of the band Healthy")


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
    contacts: list[Contact360] = Field(
        description="The champion, and who rated low, the last first"
    )
    people: People360 = Field(description="Whom it depends on and who is unhappy, in figures")
    expected_loss: ExpectedLoss360 | None = Field(
        description="ARR expected to churn within the horizon; null where it is not known"
    )
    renewal_risk: RenewalRisk | None = Field(
        description="What may churn through a renewal beyond the horizon; null otherwise, or untested"
    )
    loss: Loss360 | None = Field(
        description="When it churned, why and after which scores; null while live"
    )
    contracts: list[Contract360] = Field(description="Contracts, the newest first")
    invoices: list[Invoice360] = Field(description="Invoices of a year, the newest first")
    timeline: list[TimelineEvent] = Field(description="What happened, the newest first")

    def verdict(self) -> str:
        if self.loss is None:
            return self._beginning() if self.health.provisional else self.health.verdict()
        loss = self.loss
        paid = f" with {formats.brief_money(loss.arr, loss.currency)} ARR" if loss.arr else ""
        why = f"reason: {formats.words(loss.reason)}" if loss.reason else "no reason is recorded"
        then = "" if loss.score is None else f"score {loss.score:.0f} a quarter before"
        if loss.score_before_notice is not None:
            then += f"{', ' if then else 'score '}{loss.score_before_notice} until the notice"
        parts = [f"Churned on {formats.day(loss.churned_on)}{paid}", why, then]
        return f"{self.health.customer.name}: {'; '.join(filter(None, parts))}"

    def _beginning(self) -> str:
        """How far a new customer has come: milestones and users rather than a score."""
        customer, plan = self.health.customer, self.milestones
        users, seats = self.usage.get("monthly_active_users"), customer.seats
        parts = [f"New, {counted(customer.tenure_days, 'day')} since signup"]
        if plan is not None:
            names = ", ".join(plan.reached[-2:]) if len(plan.reached) < 3 else ""
            parts.append(
                f"{plan.completed} of {counted(plan.total, 'milestone')} reached"
                + (f" ({names})" if names else "")
                + (f", {plan.overdue} overdue" if plan.overdue else "")
            )
        if users is not None:
            of = "" if seats is None else f" on {counted(seats, 'seat')}"
            parts.append(f"{counted(int(users), 'user')} active{of}")
        return f"{customer.name}: {'; '.join(parts)}"

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
    billed, known = invoices(context), contacts(context, row)
    events = timeline(context, billed, health.frame("history"))
    return Customer360(
        as_of=as_of,
        data_until=portfolio.data_until,
        fingerprint=portfolio.fingerprint(as_of),
        coverage=health.coverage,
        warnings=[text for text in health.warnings if not text.startswith("churned on ")],
        client_id=context.client_id,
        health=health,
        usage={name: rounded(row.get(name)) for name in USED},
        service={name: rounded(row.get(name)) for name in SERVED},
        payment={name: rounded(row.get(name)) for name in PAID},
        milestones=Figure(milestones(context), "the portfolio has no milestones of this customer"),
        readiness=readiness(context),
        contacts=known[:PEOPLE_SHOWN],
        people=people_of(context, row, known),
        expected_loss=expected_loss(context),
        renewal_risk=renewal_risk(context.portfolio_context, context.client_id),
        loss=loss_of(context, health) if context.churned else None,
        contracts=contracts(context),
        invoices=billed,
        timeline=events,
    ).with_frames(timeline=pd.DataFrame([event.model_dump() for event in events]))


def milestones(context: CustomerContext) -> Milestones360 | None:
    rows = states(context.portfolio, context.as_of)
    rows = rows[rows["client_id"] == context.client_id]
    if rows.empty:
        return None
    done = rows[rows["status"] == "completed"].sort_values("completed_day", kind="stable")
    pending = rows[rows["status"].isin(("overdue", "in_progress", "not_started"))]
    to_close = rows["to_close"].astype(bool)
    pending = pending[~to_close.reindex(pending.index)]
    pending = pending.sort_values(["target_day", "milestone_id"], kind="stable")
    return Milestones360(
        completed=len(done),
        total=int((rows["status"] != "skipped").sum()),
        overdue=int(((rows["status"] == "overdue") & ~to_close).sum()),
        to_close=rows.loc[to_close, "name"].astype(str).tolist(),
        reached=done["name"].astype(str).tolist(),
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
    """The champion, and each user whose last answer was low, the newest first: NPS of a year, CSAT of its metric's 180 days."""
    users = {str(user["user_id"]): word(user.get("role")) for user in rows_of(context, "users")}
    people, champion = [], _champion(context)
    if champion is not None:
        share = formats.percent(row.get("champion_share"))
        days = formats.quantity(champion["active_days"], "days")
        back = context.settings.champion_look_back_days
        text = f"{share} of the usage, active on {days} of {back}"
        user = word(champion["user_id"])
        people.append(
            Contact360(
                user_id=user, role=users.get(user or ""), kind="champion", text=text, date=None
            )
        )
    last: dict[tuple[str, str], tuple[dt.date, float, str | None]] = {}
    for answer in (*rows_of(context, "surveys"), *_ticket_answers(context)):
        day, user, score = (
            day_of(answer.get("responded_at")),
            answer.get("user_id"),
            answer["score"],
        )
        kind = str(answer["kind"])
        if day is None or pd.isna(score) or pd.isna(user) or kind not in LOW_ANSWERS:
            continue
        key, since = (str(user), kind), context.last_day - dt.timedelta(days=LOW_ANSWERS[kind][2])
        if since < day <= context.last_day and (key not in last or day >= last[key][0]):
            last[key] = (day, float(score), word(answer.get("topic")))
    low = [(day, user, kind, score, topic) for (user, kind), (day, score, topic) in last.items()]
    for day, user, kind, score, topic in sorted(low, key=lambda item: item[:4], reverse=True):
        limit, name, _ = LOW_ANSWERS[kind]
        if score <= limit:
            words = f"{kind.upper()} {formats.number(score)}"
            people.append(
                Contact360(
                    user_id=user,
                    role=users.get(user),
                    kind=name,
                    text=words,
                    topic=None if topic is None else topic.replace("_", " "),
                    date=day,
                )
            )
    return people


def people_of(context: CustomerContext, row: dict[str, Any], known: list[Contact360]) -> People360:
    """The contacts in figures."""
    champion = _champion(context)
    unhappy = [person for person in known if person.kind != "champion"]
    ids = {kind: {person.user_id for person in unhappy if person.kind == kind} for kind in KINDS}
    everyone = set.union(*ids.values())
    topics: dict[str, set[str | None]] = {}
    for person in unhappy:
        if person.topic is not None:
            topics.setdefault(person.topic, set()).add(person.user_id)
    topic = max(sorted(topics), key=lambda name: len(topics[name]), default=None)
    role = next((person.role for person in known if person.kind == "champion"), None)
    return People360(
        champion_share=None if champion is None else rounded(row.get("champion_share")),
        champion_role=role,
        champion_active_days=None if champion is None else champion["active_days"],
        champion_look_back_days=context.settings.champion_look_back_days,
        champion_silent_days=None if champion is None else champion["silent_days"],
        detractors=len(ids["detractor"]),
        low_ratings=len(ids["low_rating"]),
        unhappy=len(everyone),
        since=min((person.date for person in unhappy if person.date), default=None),
        topic=topic,
        of_topic=len(topics[topic]) if topic else 0,
    )


def expected_loss(context: CustomerContext) -> ExpectedLoss360 | None:
    """The customer's part of the portfolio's expected churned ARR."""
    known = context.portfolio_context
    arr = number(known.expected_churned_arr.get(context.client_id))
    if arr is None:
        return None
    return ExpectedLoss360(arr=round(arr, 2), currency=known.money.currency)


def loss_of(context: CustomerContext, health: HealthScore) -> Loss360 | None:
    """When, why and after which scores a customer churned; ARR and score are the board's."""
    lost = churned_customer(context.portfolio, context.client_id, context.as_of)
    if lost is None:
        return None
    threshold = context.settings.band_edges[1]
    notice, score = day_of(lost["notice_on"]), rounded(lost["score"])
    before = None
    if notice is not None:
        past = health.frame("history")
        past = past[(past["date"] < pd.Timestamp(notice)) & past["shown"].notna()]
        before = integer(past["shown"].iloc[-1]) if len(past) else None
    churned_on = pd.Timestamp(lost["churned_on"]).date()
    reported = health.customer.reported
    return Loss360(
        churned_on=churned_on,
        notice_on=notice,
        notice_days=None if notice is None else (churned_on - notice).days,
        reason=word(lost["reason"]),
        arr=rounded(lost["arr"], 2),
        currency=None if reported is None else reported.currency,
        score_days=context.settings.churned_score_days,
        score=score,
        score_before_notice=before,
        warned=None if score is None else score < threshold,
        threshold=threshold,
    )


def _ticket_answers(context: CustomerContext) -> list[dict[str, Any]]:
    """The CSAT answers to tickets, as those of surveys."""
    return [
        {**row, "kind": "csat", "score": row["csat"], "responded_at": row.get("resolved_at")}
        for row in rows_of(context, "tickets")
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
    rows = [row for row in rows_of(context, "contracts") if day_of(row["starts_on"])]
    listed = [
        Contract360(
            starts_on=start,
            ends_on=day_of(row.get("ends_on")),
            plan=word(row.get("plan")),
            seats=integer(row.get("seats")),
            arr=rounded(row.get("arr"), 2),
            currency=word(row.get("currency")),
        )
        for row in rows
        if (start := day_of(row["starts_on"])) is not None and start <= context.last_day
    ]
    return sorted(listed, key=lambda item: item.starts_on, reverse=True)


def invoices(context: CustomerContext) -> list[Invoice360]:
    """The invoices of a year, and how late each was paid."""
    since = context.last_day - dt.timedelta(days=YEAR_DAYS)
    currency = word(context.row().get("currency"))
    listed = []
    for row in rows_of(context, "invoices"):
        issued, due, paid = (day_of(row.get(name)) for name in ("issued_on", "due_on", "paid_on"))
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
