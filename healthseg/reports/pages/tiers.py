"""The page of one customer's value: a function for each question that its reader has."""

from __future__ import annotations

from typing import Any

from healthseg.charts import formats
from healthseg.reports.html import page
from healthseg.reports.html.page import (
    Card,
    Column,
    Html,
    figure,
    footer,
    joined,
    lines,
    missing,
    paragraph,
    safe,
    table,
)
from healthseg.reports.pages import tiers_portfolio
from healthseg.reports.portfolios import open_portfolio

__all__ = [
    "footer",
    "method",
    "next_tier",
    "open_portfolio",
    "opening",
    "potential",
    "risk",
    "stands",
]

RULES = {
    "healthy": "Score of 80 or more",
    "not_declining": "Score not declining",
    "seats_in_use": "Nine of ten seats in use",
    "nothing_overdue": "No invoice overdue",
    "no_critical_ticket": "No high or critical ticket open",
    "long_enough": "Customer for 90 days",
}


def opening(response: Any) -> Html:
    """Who, as of when, and the verdict in a line."""
    here = response.customer_standing
    if here is None:
        return tiers_portfolio.opening(response)
    line = f"As of {formats.day(response.as_of)} · {safe(here.client_id)}"
    return page.opening(response, "Value tier", here.name, [line], _cards(response, here))


def _cards(response: Any, here: Any) -> list[Card]:
    money = response.currency
    return [
        Card(
            "Tier", here.tier, f"a year ago {here.tier_a_year_ago}" if here.tier_a_year_ago else ""
        ),
        Card(
            "ARR",
            formats.brief_money(here.arr, money),
            "; ".join(
                filter(
                    None,
                    [
                        f"number {here.rank} of {here.of}" if here.rank else "not known",
                        _since(here),
                    ],
                )
            ),
            _change(here),
            _direction(here),
        ),
        Card(
            "To the next tier",
            formats.brief_money(here.to_next, money),
            here.next_tier or "none is above",
        ),
        Card(
            "Potential",
            formats.brief_money(here.potential, money),
            here.potential_source or "not known",
        ),
        Card(
            "Expected loss",
            formats.brief_money(here.expected_churned_arr, money),
            f"{formats.percent(here.churn_probability)} to leave in 90 days",
        ),
    ]


def _change(here: Any) -> str:
    if not here.arr_a_year_ago or here.arr is None:
        return ""
    return f"{formats.signed(100 * (here.arr / here.arr_a_year_ago - 1))}{formats.JOIN}%"


def _since(here: Any) -> str:
    return "change in a year" if _change(here) else ""


def _direction(here: Any) -> str:
    if not here.arr_a_year_ago or here.arr is None or here.arr == here.arr_a_year_ago:
        return ""
    return "up" if here.arr > here.arr_a_year_ago else "down"


def stands(response: Any) -> Html:
    """In which tier is it, and what does that mean?"""
    here = response.customer_standing
    if here is None:
        return Html(missing("A customer's place", "no client_id was given"))
    if here.reason:
        return Html(missing("Its tier", here.reason), here.reason)
    own = response.tier(here.tier)
    text = joined(
        f"{own.tier_name}: {tiers_portfolio.limits(own.tier_description)}",
        f"With {own.customer_count - 1} others it pays {formats.percent(here.share_of_arr, 1)} of the portfolio's ARR"
        if here.share_of_arr is not None
        else "",
    )
    plan = own.engagement_strategy
    facts = (
        ""
        if plan is None
        else page.facts(
            [
                ("Touch", plan.touch_frequency),
                ("Executive", plan.executive_engagement or ""),
                ("Support", plan.support_sla or ""),
                ("Programmes", "; ".join(plan.success_programs)),
                ("Hours a month", formats.number(here.hours_per_month, 1)),
                ("Manager", here.csm_id or ""),
            ]
        )
    )
    return Html(paragraph(text, "lead") + figure(response, "standing") + facts, text)


def next_tier(response: Any) -> Html:
    """What would it take to the next tier?"""
    here = response.customer_standing
    if here is None or here.reason:
        return Html(
            missing("The way to the next tier", here.reason if here else "no client_id was given")
        )
    said = []
    if here.to_next is not None:
        said.append(
            f"{formats.money(here.to_next, response.currency)} more ARR to {here.next_tier}"
        )
        if here.potential:
            reach = "enough for it" if here.potential > here.to_next else "less than it takes"
            said.append(
                f"its potential is {formats.money(here.potential, response.currency)}, {reach}"
            )
    elif here.next_tier is None:
        said.append("No tier is above")
    if here.to_lower is not None:
        said.append(
            f"{formats.money(here.to_lower, response.currency)} less would bring it to {here.lower_tier}"
        )
    text = joined(*said) or "Its tier comes from a rank: no amount leads to the next."
    return Html(paragraph(text, "lead"), text)


def potential(response: Any) -> Html:
    """What could it come to pay more, and from what?"""
    here = response.customer_standing
    if here is None or here.potential is None:
        why = "no ARR, seats or users are known" if here is not None else "no client_id was given"
        return Html(missing("Its potential", why))
    span = here.potential_interval
    lead = (
        f"{formats.money(here.potential, response.currency)} a year "
        f"({100 * response.interval_level:.0f} % interval {formats.money(span.lower)} to {formats.money(span.upper)}), "
        f"from {here.potential_source}."
        if here.potential or span.upper
        else f"Nothing more is to be expected: {here.potential_source} point to no amount beyond what it pays."
    )
    rows = [
        {"part": "Seats that will be needed", "amount": here.from_seats},
        {"part": "Premium features that peers pay for", "amount": here.from_premium_features},
        {"part": "At stake: seats that nobody uses", "amount": here.contraction_exposure},
    ]
    parts = table(
        rows,
        [Column("part", "From"), page.money_column(response, "amount", "A year")],
        label="parts",
    )
    users = (
        ""
        if here.users is None or here.seats is None
        else paragraph(
            f"{formats.number(here.users)} of {formats.number(here.seats)} seats are in use"
            + (
                f"; {formats.number(here.users_in_a_year)} users are forecast in a year"
                if here.users_in_a_year
                else ""
            )
            + "."
        )
    )
    rules = lines(f"{_mark(here.rules[name])} {safe(text)}" for name, text in RULES.items())
    ready = {
        True: "Yes: all six conditions hold.",
        False: f"Not yet: {sum(bool(here.rules[name]) for name in RULES)} of {len(RULES)} conditions hold.",
        None: "Not known: a figure is missing.",
    }[here.ready]
    return Html(
        paragraph(lead, "lead")
        + parts
        + users
        + f"<h3>Ready to expand?</h3>{paragraph(ready)}{rules}",
        lead,
    )


def _mark(holds: bool | None) -> str:
    return {True: "<b>✓ yes:</b>", False: "<b>✗ no:</b>", None: "<b>? not known:</b>"}[holds]


def risk(response: Any) -> Html:
    """What may be lost?"""
    here = response.customer_standing
    if here is None or here.churn_probability is None:
        return Html(missing("What may be lost", "the portfolio has no rate of leaving"))
    span = here.churn_interval
    text = (
        "It gave notice: its ARR is lost unless it is won back."
        if here.gave_notice
        else f"{formats.percent(here.churn_probability)} to leave in 90 days (90 % interval "
        f"{formats.percent(span.lower)} to {formats.percent(span.upper)}); that makes "
        f"{formats.money(here.expected_churned_arr, response.currency)} of "
        f"{formats.money(here.arr, response.currency)} expected to be lost."
    )
    return Html(paragraph(text, "lead"), text)


def method(response: Any) -> Html:
    """How was this computed? Behind a fold."""
    return tiers_portfolio.method(response)
