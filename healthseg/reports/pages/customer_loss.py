"""What the customer 360 shows of a customer that churned: when, why, and whether the score had warned."""

from __future__ import annotations

from typing import Any

from healthseg.reports.spec import Block, Card, Chart, Facts, Points, Text


def loss_cards(page: Any) -> tuple[Card, ...]:
    loss = page.loss
    cards = (
        (
            loss.arr is not None,
            Card("ARR lost", "{loss.arr:brief_money}", "{health.customer.tier}"),
        ),
        (
            True,
            Card(
                "Churned", "{loss.churned_on:day}", "after {health.customer.tenure_days:number day}"
            ),
        ),
        (loss.reason is not None, Card("Reason", "{loss.reason:Words}", "as recorded")),
        (
            loss.notice_on is not None,
            Card("Notice", "{loss.notice_on:day}", "{loss.notice_days:number day} before the end"),
        ),
        (
            loss.score is not None,
            Card(
                "Score a quarter before",
                "{loss.score:number}",
                "no warning" if loss.warned is False else "below {loss.threshold:number}",
            ),
        ),
    )
    return tuple(card for known, card in cards if known)


def loss_lead(page: Any) -> tuple[Text, ...]:
    loss = page.loss
    if not loss:
        return ()
    warned = {
        None: "",
        True: "{loss.score_days:number day} before the end the score was {loss.score:number}, below {loss.threshold:number}: it had warned",
        False: "{loss.score_days:number day} before the end the score was {loss.score:number}: it gave no warning",
    }[loss.warned]
    return (
        "The reason recorded is {loss.reason:words}" if loss.reason else "No reason is recorded",
        *_usage_then(page),
        warned,
        "Notice came {loss.notice_days:number day} before the end, on {loss.notice_on:day}; the last score before it was "
        "{loss.score_before_notice:number}"
        if loss.score_before_notice is not None
        else "Notice came {loss.notice_days:number day} before the end, on {loss.notice_on:day}",
    )


def _usage_then(page: Any) -> tuple[Text, ...]:
    """Of a reason of low usage what usage was, so that a reader sees whether it bears the reason out."""
    if "usage" not in (page.loss.reason or ""):
        return ()
    return (
        "On the last day {usage.seat_utilisation:percent} of the seats were in use, and usage was at "
        "{usage.usage_vs_own_baseline:percent} of the customer’s own baseline",
    )


LAST_DAY = Facts(
    {
        "Active users, a week": "{usage.weekly_active_users:number}",
        "Active users, a month": "{usage.monthly_active_users:number}",
        "Seats in use": "{usage.seat_utilisation:percent} of {health.customer.seats:number}",
        "Usage, of its own baseline": "{usage.usage_vs_own_baseline:percent}",
        "Features adopted": "{usage.features_adopted_30d:number} of {usage.features_entitled:number}",
        "Champion’s share of the usage": "{people.champion_share:percent}",
        "Open tickets, high or critical": "{service.open_high_tickets:number}",
        "NPS": "{service.nps_365d:signed} ({service.nps_respondents_365d:number respondent})",
        "CSAT": "{service.csat_180d:number.1} ({service.csat_responses_180d:number answer})",
        "Invoices paid within the grace period": "{payment.paid_on_time_share_365d:percent}",
    }
)


def loss_signs(page: Any) -> tuple[Block, ...]:
    if not page.loss:
        return ()
    return (
        Chart("history", needs="health.current_health_score"),
        Points(
            "health.contributing_factors.negative",
            "{page_item:prose}",
            heading="What pulled the score down on its last day",
        ),
    )
