"""Customer 360: what everybody should know before a call, on one page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from healthseg.reports.pages.common import CUSTOMER_ABOUT, NEXT_ACTIONS_OF_CUSTOMER
from healthseg.reports.spec import Card, Cell, Chart, Facts, Missing, Page, Points, Section, Table


def _cards(page: Any) -> tuple[Card, ...]:
    health, customer = page.health, page.health.customer
    known = {
        "Health": health.current_health_score,
        "ARR": customer.arr,
        "Renewal in": customer.days_to_renewal,
        "Seats in use": page.usage.get("seat_utilisation"),
        "Milestones": page.milestones,
    }
    cards = (
        Card(
            "Health",
            "{health.current_health_score:number}",
            "band {health.band:words} · risk level {health.risk_level:words}",
        ),
        Card("ARR", "{health.customer.arr:brief_money}", "{health.customer.tier}"),
        Card(
            "Renewal in",
            "{health.customer.days_to_renewal:number day}",
            "{health.customer.renewal_on:day}",
        ),
        Card(
            "Seats in use", "{usage.seat_utilisation:percent}", "of {health.customer.seats:number}"
        ),
        Card(
            "Milestones",
            "{milestones.completed:number} of {milestones.total:number}",
            "{milestones.overdue:number} overdue"
            if not (page.milestones and page.milestones.to_close)
            else "{milestones.overdue:number} overdue, {milestones.to_close:count record} to close",
        ),
    )
    return tuple(card for card in cards if known[str(card.name)] is not None)


CUSTOMER = Page(
    tool="customer_360",
    kind="Customer 360",
    summary="One customer on one page: verdict, next actions, score and why, usage, service, contract, milestones, what happened.",
    title="{health.customer.name}",
    about=(
        "{health.customer.tier} · {health.customer.industry:Words} · {health.customer.stage:Words} · {health.customer.csm_id:manager}",
        CUSTOMER_ABOUT,
    ),
    cards=_cards,
    band="health.band",
    sections=(
        Section(
            "actions",
            "What to do next?",
            blocks=(replace(NEXT_ACTIONS_OF_CUSTOMER, rows="health.next_actions"),),
        ),
        Section(
            "score",
            "How healthy, and why?",
            (
                "The score is {health.current_health_score:number}, {health.score_change:signed} since "
                "{health.change_explanation.from_date:day}",
                lambda page: (
                    "{health.risk_indicators:count risk} to look at"
                    if page.health.risk_indicators
                    else "No risk stands out"
                    if page.health.current_health_score is not None
                    else ""
                ),
            ),
            (
                Chart("history", needs="health.current_health_score"),
                Points("health.risk_indicators", "{page_item:prose}", heading="Risks"),
                Points(
                    "health.contributing_factors.positive",
                    "{page_item:prose}",
                    heading="What holds it up",
                    limit=5,
                ),
                Points(
                    "health.contributing_factors.negative",
                    "{page_item:prose}",
                    heading="What pulls it down",
                    limit=5,
                ),
            ),
            report="calculate_health_score",
        ),
        Section(
            "usage",
            "Who uses it, and how much of it?",
            (),
            (
                Facts(
                    {
                        "Active users, a week": "{usage.weekly_active_users:number}",
                        "Active users, a month": "{usage.monthly_active_users:number}",
                        "Seats in use": "{usage.seat_utilisation:percent}",
                        "Usage, of its own baseline": "{usage.usage_vs_own_baseline:percent}",
                        "Sessions per user and week": "{usage.sessions_per_user_per_week_28d:number.1}",
                        "Days since the last use": "{usage.days_since_last_person_event:number}",
                        "Share of the most active user": "{usage.top_user_share_28d:percent}",
                        "Features adopted": "{usage.features_adopted_30d:number} of {usage.features_entitled:number}",
                    }
                ),
            ),
            report="track_usage_engagement",
            absent=lambda page: (
                ""
                if any(value is not None for value in page.usage.values())
                else "the portfolio has no events of this customer"
            ),
        ),
        Section(
            "service",
            "What do tickets and surveys say?",
            (),
            (
                Facts(
                    {
                        "Open tickets": "{service.open_tickets:number}",
                        "High or critical": "{service.open_high_tickets:number}",
                        "Median time to resolve": "{service.median_resolution_hours_90d:number hour}",
                        "NPS": "{service.nps_365d:signed} ({service.nps_respondents_365d:number} respondents)",
                        "CSAT": "{service.csat_180d:number.1} ({service.csat_responses_180d:number} responses)",
                    }
                ),
            ),
            absent=lambda page: (
                ""
                if any(value is not None for value in page.service.values())
                else "the portfolio has no tickets and surveys of this customer"
            ),
        ),
        Section(
            "people",
            "Who are the champion and the detractors?",
            (),
            (
                Table(
                    "contacts",
                    {
                        "Person": Cell("user_id", under="{role:Words?}"),
                        "What": "kind:Words",
                        "Why": "text",
                        "When": "date:day",
                    },
                    label="people",
                    empty="No single user accounts for a large share of the usage, and nobody rated the product or a ticket low in a year.",
                ),
            ),
            absent=lambda page: (
                ""
                if page.contacts or any(value is not None for value in page.usage.values())
                else "neither usage nor surveys of this customer are known"
            ),
        ),
        Section(
            "timeline",
            "What happened?",
            (),
            (
                Table(
                    "timeline",
                    {"Day": "date:day", "What": "kind:Words", "In words": "text:prose"},
                    label="events",
                    empty="Nothing is recorded in the last year.",
                ),
            ),
            report="manage_lifecycle_stages",
        ),
        Section(
            "contract",
            "What is signed and paid, and can it grow?",
            (),
            (
                Facts(
                    {
                        "ARR": "{health.customer.arr:money}",
                        "Seats": "{health.customer.seats:number}",
                        "Plan": "{health.customer.plan:Words}",
                        "Renewal": "{health.customer.renewal_on:day}",
                        "Uncontracted for": "{payment.uncontracted_days:number day}",
                        "Oldest overdue invoice": "{payment.worst_days_overdue:number day}",
                        "Paid within the grace period": "{payment.paid_on_time_share_365d:percent}",
                    }
                ),
                Table(
                    "contracts",
                    {
                        "From": "starts_on:day",
                        "To": "ends_on:day",
                        "Plan": "plan:Words",
                        "Seats": "seats:number",
                        "ARR": "arr:money",
                    },
                    "Contracts, the newest first",
                    "contracts",
                    limit=6,
                ),
                Table(
                    "invoices",
                    {
                        "Issued": "issued_on:day",
                        "Amount": "amount:money",
                        "Due": "due_on:day",
                        "Paid": "paid_on:day?not paid",
                        "Days late": "days_late:number",
                    },
                    "Invoices of a year, the newest first",
                    "invoices",
                    limit=6,
                ),
                Points(
                    "readiness",
                    "{rule:sentence}",
                    heading="Ready to expand: met",
                    where=lambda row: row["holds"] is True,
                ),
                Points(
                    "readiness",
                    "{rule:sentence}",
                    heading="Not met",
                    where=lambda row: row["holds"] is False,
                ),
            ),
            report="segment_by_value_tier",
        ),
        Section(
            "milestones",
            "What is open in its plan?",
            lambda page: (
                (
                    "No milestone is open" if not page.milestones.open else "",
                    "Only to be closed in the records: {milestones.to_close:list}"
                    if page.milestones.to_close
                    else "",
                )
                if page.milestones is not None
                else ()
            ),
            (
                Missing("Milestones", "milestones"),
                Table(
                    "milestones.open",
                    {
                        "Milestone": "name",
                        "Status": "status:Words",
                        "Due": "due_on:day",
                        "Blocked by": "blocker:Words",
                    },
                    label="milestones",
                ),
            ),
            report="track_adoption_milestones",
        ),
    ),
    method=("The figures are those of the eight reports; nothing is computed for this page alone",),
)
