"""The page of one customer's value tier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from healthseg.charts import formats
from healthseg.reports.pages.common import (
    NO_CUSTOMER,
    actions_section,
    portfolio_about,
)
from healthseg.reports.pages.tiers_portfolio import METHOD, METHOD_FACTS, portfolio_cards
from healthseg.reports.spec import (
    Block,
    Card,
    Chart,
    Facts,
    Heading,
    Missing,
    Note,
    Page,
    Section,
    Within,
)
from healthseg.tools.context import EXPANSION_RULES

if TYPE_CHECKING:
    from healthseg.tools.tiers.result import CustomerValue, ValueTiers

NO_POTENTIAL = "no ARR, seats or users are known, or too few comparable customers of a year ago"
# -- one customer ---------------------------------------------------------------------------------


def _own(tiers: ValueTiers) -> str:
    """The path of the customer's tier."""
    names = [tier.tier_name for tier in tiers.value_tiers]
    standing = tiers.customer_standing
    return (
        f"value_tiers[{names.index(standing.tier)}]" if standing and standing.tier in names else ""
    )


def _customer_cards(tiers: ValueTiers) -> tuple[Card, ...]:
    standing = tiers.customer_standing
    if standing is None:
        return portfolio_cards(tiers)
    return (
        Card("Tier", "{customer_standing.tier}", "a year ago {customer_standing.tier_a_year_ago}"),
        Card(
            "ARR",
            "{customer_standing.arr:brief_money}",
            "number {customer_standing.rank:number} of {customer_standing.of:number}"
            if standing.rank
            else "not known",
            "{customer_standing.arr_change:signed_percent} in a year",
            "customer_standing.arr_change",
        ),
        Card(
            "Expected churned ARR",
            "{customer_standing.expected_churned_arr:brief_money}",
            "gave notice"
            if standing.gave_notice
            else "too new for an estimate of its own"
            if tiers.is_new
            else "{customer_standing.churn_probability:percent} likely to churn in 90 days"
            + (
                "; {customer_standing.renewal_risk.churn_probability:percent} in "
                "{customer_standing.renewal_risk.horizon_days:number day}, through its renewal: "
                "{customer_standing.renewal_risk.arr:brief_money}"
                if standing.renewal_risk and standing.renewal_risk.arr is not None
                else ""
            ),
        ),
        Card(
            "Paid for idle seats",
            "{customer_standing.contraction_exposure:brief_money}",
            "{customer_standing.users:number} of {customer_standing.seats:number} seats in use",
        ),
        *(
            ()
            if standing.gave_notice
            else (
                Card(
                    "Potential",
                    "{customer_standing.potential:brief_money}",
                    "{customer_standing.potential_source}"
                    if standing.potential_source
                    else "not known",
                ),
            )
        ),
    )


def _standing_lead(tiers: ValueTiers) -> tuple[str, ...]:
    own, standing = _own(tiers), tiers.customer_standing
    if not own or standing is None or standing.reason:
        return ()
    others = tiers.tier(standing.tier).customer_count > 1
    return (
        f"{{{own}.tier_name}}: {{{own}.tier_description:limits}}",
        "It pays {customer_standing.share_of_arr:percent.1} of the portfolio’s ARR",
        f"The tier has {{{own}.customer_count:number customer}}" if others else "",
    )


def _no_place(what: str) -> Block:
    """Why a customer has no tier."""
    return Missing(what, "customer_standing", NO_CUSTOMER)


def _standing_blocks(tiers: ValueTiers) -> tuple[Block, ...]:
    standing = tiers.customer_standing
    if standing is None:
        return (_no_place("A customer’s tier"),)
    if standing.reason:
        return (Missing("Its tier", reason="{customer_standing.reason:sentence}"),)
    own = _own(tiers)
    plan = f"{own}.engagement_strategy"
    facts = Facts(
        {
            "Touch, as the tier asks for at least": f"{{{plan}.touch_frequency}}",
            "Executive": f"{{{plan}.executive_engagement}}",
            "Support": f"{{{plan}.support_sla}}",
            "Programmes": f"{{{plan}.success_programs:list}}",
            "Hours a month": "{customer_standing.hours_per_month:number.1}",
            "Manager": "{customer_standing.csm_id:manager}",
        }
    )
    return Chart("standing"), facts


def _next_tier(tiers: ValueTiers) -> tuple[str, ...]:
    standing = tiers.customer_standing
    if standing is None or standing.reason:
        return ()
    if standing.gave_notice:
        return ()
    sentences = []
    if standing.to_next is not None:
        sentences.append(
            "{customer_standing.to_next:money} more ARR to {customer_standing.next_tier}"
        )
        if standing.potential:
            reach = (
                "enough for it" if standing.potential > standing.to_next else "less than it takes"
            )
            sentences.append(f"Its potential is {{customer_standing.potential:money}}, {reach}")
    elif standing.next_tier is None:
        sentences.append("No tier is above")
    if standing.to_lower is not None:
        sentences.append(
            "{customer_standing.to_lower:money} less would move it to {customer_standing.lower_tier}"
        )
    return tuple(sentences) or ("Its tier comes from a rank: no amount leads to the next",)


def _potential(tiers: ValueTiers) -> tuple[str, ...]:
    standing = tiers.customer_standing
    if standing is None or standing.potential is None or standing.gave_notice:
        return ()
    if not standing.potential and not standing.potential_interval.upper:
        return (
            "{customer_standing.contraction_exposure:brief_money} of what it pays is for seats that nobody uses: fill them "
            "before any talk of more"
            if standing.contraction_exposure
            else "No more can be expected: {customer_standing.potential_source} suggest no amount beyond what it pays",
        )
    return (
        "{customer_standing.potential:money} a year ({interval_level:percent} interval "
        "{customer_standing.potential_interval.lower:money} to "
        "{customer_standing.potential_interval.upper:money}), from "
        "{customer_standing.potential_source}",
    )


def _potential_blocks(tiers: ValueTiers) -> tuple[Block, ...]:
    standing = tiers.customer_standing
    if standing is not None and standing.gave_notice:
        return ()
    if standing is None or standing.potential is None:
        why = NO_POTENTIAL if standing is not None else NO_CUSTOMER
        return (Missing("Its potential", reason=why),)
    return (
        Within(
            "customer_standing",
            (
                Facts(
                    {
                        "Seats that will be needed": "{from_seats:money}",
                        "At most, as comparable customers pay": "{potential_cap:money}",
                        "Seats that nobody uses": "{contraction_exposure:money}",
                        "Seats in use": "{users:number} of {seats:number}",
                        "Users forecast in a year": "{users_in_a_year:number}",
                    }
                ),
            ),
        ),
        Heading("Ready to expand?"),
        Note((_ready(standing),)),
        Facts(
            {
                formats.sentence(words): f"{{customer_standing.rules.{name}:met?}}"
                for name, words in EXPANSION_RULES.items()
            }
        ),
    )


def _ready(standing: CustomerValue) -> str:
    if standing.ready is None:
        return "Not known: a figure is missing"
    if standing.ready:
        return "Yes: all {customer_standing.rules:count} conditions are met"
    return "Not yet: {customer_standing.rules:total} of {customer_standing.rules:count} conditions are met"


def _churn(tiers: ValueTiers) -> tuple[str, ...]:
    standing = tiers.customer_standing
    if standing is None or standing.churn_probability is None:
        return ()
    if standing.gave_notice:
        return (
            "It gave notice: {customer_standing.arr:brief_money} ARR churns unless it is won back",
        )
    if tiers.is_new:
        return (
            "It is too new for an estimate of its own; customers like it make "
            "{customer_standing.expected_churned_arr:brief_money} of its ARR expected to churn in 90 days",
            "The contract renews on {customer_standing.renewal_on:day}",
        )
    return (
        "{customer_standing.expected_churned_arr:brief_money} of {customer_standing.arr:brief_money} is expected to churn: "
        "it is {customer_standing.churn_probability:percent} likely to in 90 days",
        "Through its renewal, {customer_standing.renewal_risk.horizon_days:number day} ahead, it is "
        "{customer_standing.renewal_risk.churn_probability:percent} likely: {customer_standing.renewal_risk.arr:brief_money}"
        if standing.renewal_risk and standing.renewal_risk.arr is not None
        else "",
        "The contract renews on {customer_standing.renewal_on:day}",
    )


CUSTOMER = Page(
    tool="segment_by_value_tier",
    kind="Value tier",
    summary="One customer's value: its tier, the way to the next, its potential, and its churn risk.",
    title=lambda tiers: (
        "{customer_standing.name}" if tiers.customer_standing else "The portfolio’s value tiers"
    ),
    about=(
        lambda tiers: (
            "As of {as_of:day} · {customer_standing.client_id}"
            if tiers.customer_standing
            else portfolio_about(tiers)
        ),
    ),
    cards=_customer_cards,
    sections=(
        actions_section(
            "actions",
            *("renewal", "sponsor", "expansion", "seats", "invoice", "notice", "exit"),
            rows="customer_standing.next_actions",
            more=(_no_place("A customer’s next actions"),),
        ),
        Section(
            "churn",
            "What may churn?",
            _churn,
            (
                Missing(
                    "ARR that may churn",
                    "customer_standing.churn_probability",
                    "the portfolio has no churn rate",
                ),
            ),
        ),
        Section("potential", "What more could it buy?", _potential, _potential_blocks),
        Section(
            "place",
            "Which tier is it in, and what does that mean?",
            _standing_lead,
            _standing_blocks,
        ),
        Section(
            "next",
            "What would it take to reach the next tier?",
            _next_tier,
            lambda tiers: (
                (_no_place("The way to the next tier"),)
                if tiers.customer_standing is None
                else (
                    Missing(
                        "The way to the next tier", reason="{customer_standing.reason:sentence}"
                    ),
                )
                if tiers.customer_standing.reason
                else ()
            ),
        ),
    ),
    method=METHOD,
    method_facts=METHOD_FACTS,
    sure=(
        lambda tiers: (
            ""
            if tiers.is_new or (tiers.customer_standing and tiers.customer_standing.gave_notice)
            else "The probability of churn in 90 days lies between {customer_standing.churn_interval.lower:percent} and "
            "{customer_standing.churn_interval.upper:percent} (90%)"
        ),
    ),
)
