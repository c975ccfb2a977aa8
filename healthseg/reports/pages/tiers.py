"""The pages of value tiers: one customer's, and the whole portfolio's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from healthseg.reports.pages.common import NO_CUSTOMER, largest_first, portfolio_about
from healthseg.reports.spec import (
    Block,
    Card,
    Cell,
    Chart,
    Columns,
    Facts,
    Heading,
    Missing,
    Note,
    Page,
    Points,
    Section,
    Table,
    Within,
)

if TYPE_CHECKING:
    from healthseg.tools.tiers.result import CustomerValue, ValueTiers

READINESS = {
    "healthy": "Score of 80 or more",
    "not_declining": "Score not declining",
    "seats_in_use": "Nine of ten seats in use",
    "nothing_overdue": "No invoice overdue",
    "no_critical_ticket": "No high or critical ticket open",
    "long_enough": "Customer for 90 days",
}
NO_POTENTIAL = "no ARR, seats or users are known, or too few comparable customers of a year ago"
METHOD = (
    "A tier’s upper end belongs to it; customers without a known ARR are in none",
    "Potential is the seats that users need now or in a year beyond those there are, where nine of ten "
    "are in use, at the list price where it is known; at most what comparable customers came to pay more "
    "within a year",
    "Net retention is this year’s ARR of last year’s customers over last year’s, gross retention "
    "without their expansion",
    "ARR that may churn is simulated from each customer’s probability of churn",
    "Managers needed are the tier’s hours over a manager’s hours a month, both settings where the csms "
    "table doesn’t say",
)
METHOD_FACTS = {
    "Model": "{segmentation_model:words}",
    "Thresholds": "{arr_thresholds:numbers}",
}


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
        return _portfolio_cards(tiers)
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
            "To the next tier",
            "{customer_standing.to_next:brief_money}",
            "{customer_standing.next_tier}" if standing.next_tier else "no tier is above",
        ),
        Card(
            "Potential",
            "{customer_standing.potential:brief_money}",
            "{customer_standing.potential_source}" if standing.potential_source else "not known",
        ),
        Card(
            "Expected churned ARR",
            "{customer_standing.expected_churned_arr:brief_money}",
            "{customer_standing.churn_probability:percent} probability of churn in 90 days",
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
            "Touch": f"{{{plan}.touch_frequency}}",
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
    if standing is None or standing.potential is None:
        return ()
    if not standing.potential and not standing.potential_interval.upper:
        return (
            "No more can be expected: {customer_standing.potential_source} suggest no amount beyond "
            "what it pays",
        )
    return (
        "{customer_standing.potential:money} a year ({interval_level:percent} interval "
        "{customer_standing.potential_interval.lower:money} to "
        "{customer_standing.potential_interval.upper:money}), from "
        "{customer_standing.potential_source}",
    )


def _potential_blocks(tiers: ValueTiers) -> tuple[Block, ...]:
    standing = tiers.customer_standing
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
            {words: f"{{customer_standing.rules.{name}:met?}}" for name, words in READINESS.items()}
        ),
    )


def _ready(standing: CustomerValue) -> str:
    if standing.ready is None:
        return "Not known: a figure is missing"
    if standing.ready:
        return "Yes: all six conditions are met"
    return "Not yet: {customer_standing.rules:total} of {customer_standing.rules:count} conditions are met"


def _churn(tiers: ValueTiers) -> tuple[str, ...]:
    standing = tiers.customer_standing
    if standing is None or standing.churn_probability is None:
        return ()
    if standing.gave_notice:
        return ("It gave notice: its ARR churns unless it is won back",)
    return (
        "{customer_standing.churn_probability:percent} probability of churn in 90 days (90% interval "
        "{customer_standing.churn_interval.lower:percent} to "
        "{customer_standing.churn_interval.upper:percent}): "
        "{customer_standing.expected_churned_arr:money} of {customer_standing.arr:money} is expected to "
        "churn",
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
        Section(
            "potential", "What more could it pay, and for what?", _potential, _potential_blocks
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
    ),
    method=METHOD,
    method_facts=METHOD_FACTS,
)


# -- the portfolio --------------------------------------------------------------------------------


def _portfolio_cards(tiers: ValueTiers) -> tuple[Card, ...]:
    cards = [Card("ARR", "{total_arr:brief_money}", "{total_customers:number live customer}")]
    if tiers.pareto_analysis.top_share is not None:
        note = "of the ARR: {pareto_analysis.tier_distribution}"
        cards.append(Card("Top fifth", "{pareto_analysis.top_share:percent}", note))
    if tiers.retention is not None and tiers.retention.nrr is not None:
        note = "of last year’s ARR; n = {retention.cohort:number}"
        cards.append(Card("Net retention", "{retention.nrr:percent}", note))
        cards.append(Card("Gross retention", "{retention.grr:percent}", "without expansion"))
    if tiers.at_risk is not None and tiers.at_risk.customers:
        note = (
            "{at_risk.lower:brief_money} to {at_risk.upper:brief_money} ({at_risk.level:percent})"
        )
        cards.append(Card("May churn in 90 days", "{at_risk.expected:brief_money}", note))
    return tuple(cards)


MOVEMENT = ("start", "new", "expansion", "contraction", "churn", "end")
MOVEMENT_NAMES = ("Then", "New", "Expansion", "Contraction", "Churn", "Now")


def _movement(prefix: str) -> Columns:
    """What became of last year's ARR, by parts."""
    money = {
        name: f"{prefix}{key}:money" for key, name in zip(MOVEMENT, MOVEMENT_NAMES, strict=True)
    }
    rates = {"NRR": f"{prefix}nrr:percent", "GRR": f"{prefix}grr:percent"}
    return {**money, **rates, "n": f"{prefix}cohort:number"}


def _capacity(tiers: ValueTiers) -> tuple[Block, ...]:
    chart = Chart(
        "capacity",
        Table(
            "resource_allocation_recommendations",
            {
                "Tier": "tier",
                "Customers": "customers:number",
                "Hours each": "hours_per_customer:number.1",
                "Hours needed": "hours_needed:number",
                "Hours available": "hours_available:number",
                "Managers needed": "recommended_csm_count:number",
                "Managers": "current_csm_count:number",
                "Gap": "gap:signed",
                "Priority": "priority:words",
            },
            label="tiers",
        ),
    )
    what = "Thresholds that the managers’ hours would allow"
    if tiers.suggested_thresholds.thresholds is None:
        return chart, Missing(what, reason="{suggested_thresholds.reason:sentence}")
    table = Table(
        "frames.thresholds",
        {
            "Tier": "tier",
            "Now above": "given_above:money",
            "Customers now": "given_customers:number",
            "Suggested above": "suggested_above:money",
            "Customers then": "suggested_customers:number",
        },
        label="tiers",
    )
    return chart, Heading(what), table


def _risk(tiers: ValueTiers) -> tuple[str, ...]:
    if tiers.at_risk is None or not tiers.at_risk.customers:
        return ()
    return (
        "Expected to churn in {at_risk.horizon_days:number day}: {at_risk.expected:brief_money} "
        "({at_risk.level:percent} interval {at_risk.lower:brief_money} to "
        "{at_risk.upper:brief_money}), of which {at_risk.certain:brief_money} gave notice",
        "The interval is wide where few large customers decide it",
    )


def _risk_blocks(tiers: ValueTiers) -> tuple[Block, ...]:
    if tiers.at_risk is None or not tiers.at_risk.customers:
        reason = "the portfolio has no churn rate"
        return (Missing("ARR that may churn", why="$.at_risk", reason=reason),)
    return (
        Chart(
            "at_risk",
            Table(
                "value_tiers",
                {
                    "Tier": "tier_name",
                    "Expected": "at_risk.expected:money",
                    "From": "at_risk.lower:money",
                    "To": "at_risk.upper:money",
                    "Notice given": "at_risk.certain:money",
                    "Customers": "at_risk.customers:number",
                },
                label="tiers",
                where=lambda tier: tier.get("at_risk"),
            ),
        ),
        Table(
            "frames.customers",
            {
                "Customer": "name",
                "Tier": "tier",
                "Score": "score:number",
                "May churn": Cell("churn_probability:percent", bar=True),
                "Expected churned ARR": "expected_churned_arr:money",
                "ARR": "arr:money",
            },
            "Most expected churned ARR first",
            "customers",
            sort=largest_first("expected_churned_arr"),
            limit=12,
        ),
    )


PORTFOLIO = Page(
    tool="segment_by_value_tier",
    kind="Value tiers",
    summary="The portfolio's value tiers: how customers and ARR are spread, what became of last year's "
    "ARR, whether the managers' hours suffice, what may churn and where it can grow.",
    title="The portfolio’s value tiers",
    about=(portfolio_about,),
    cards=_portfolio_cards,
    sections=(
        Section(
            "tiers",
            "How are customers and ARR spread over the tiers?",
            blocks=(
                Table(
                    "frames.tiers",
                    {
                        "Tier": Cell("tier", under="{description:limits}"),
                        "Customers": "customers:number",
                        "Share": "share:percent",
                        "ARR": "arr:money",
                        "Of the ARR": Cell("arr_share:percent", bar=True),
                        "Mean ARR": "average_arr:money",
                        "Mean score": "health:number",
                        "NRR": "nrr:percent",
                        "GRR": "grr:percent",
                    },
                    label="tiers",
                ),
            ),
        ),
        Section(
            "concentration",
            "How concentrated is the ARR?",
            (
                "The {pareto_analysis.top_20_percent_customers:number} largest of "
                "{pareto_analysis.n:number customer} pay {pareto_analysis.top_share:percent} of the "
                "ARR: {pareto_analysis.tier_distribution}",
            ),
            (
                Missing("Concentration", "pareto_analysis.top_20_percent_customers"),
                Chart("lorenz", needs="pareto_analysis.top_share"),
            ),
        ),
        Section(
            "revenue",
            "What became of last year’s ARR?",
            (
                "Of {retention.start:brief_money} a year ago {retention.nrr:percent} remains with the "
                "same customers, {retention.grr:percent} without their expansion",
                "{retention.churned:number} of {retention.cohort:number customer} churned",
                "{year_on_year.up:number customer} moved to a higher tier, {year_on_year.down:number} "
                "to a lower one",
            ),
            (
                Missing("Retention of revenue", "retention"),
                Chart(
                    "waterfall",
                    Table(
                        "value_tiers",
                        {
                            "Tier a year ago": "tier_name",
                            **_movement("retention."),
                        },
                        label="tiers",
                        where=lambda tier: tier.get("retention"),
                    ),
                    needs="retention",
                ),
                Chart("retention", needs="retention"),
                Chart("moves", needs="retention"),
            ),
        ),
        Section(
            "capacity",
            "How many managers does this take, and how many are there?",
            blocks=_capacity,
        ),
        Section("churn", "How much ARR may churn?", _risk, _risk_blocks),
        Section(
            "renewals",
            "What renews, and when?",
            blocks=(
                Table(
                    "frames.renewal_windows",
                    {
                        "Window": "window:Words",
                        "Customers": "customers:number",
                        "ARR": "arr:money",
                        "Expected churned ARR": "expected:money",
                        "Range": "{lower:money} to {upper:money}",
                    },
                    label="windows",
                    where=lambda row: row["band"] == "all" and row["customers"],
                    empty="No renewal is known.",
                ),
            ),
        ),
        Section(
            "growth",
            "Where can it grow?",
            blocks=(
                Chart(
                    "pipeline",
                    Table(
                        "value_tiers",
                        {
                            "Tier": "tier_name",
                            "Potential": "expansion_pipeline.total_expansion_potential:money",
                            "Seats": "expansion_pipeline.from_seats:money",
                            "Stated": "expansion_pipeline.from_customers_table:money",
                            "Ready": "expansion_pipeline.high_probability_expansions:number",
                            "Not known": "expansion_pipeline.unknown:number",
                            "Idle seats, ARR": "expansion_pipeline.contraction_exposure:money",
                        },
                        label="tiers",
                        where=lambda tier: tier.get("expansion_pipeline"),
                    ),
                ),
                Table(
                    "frames.customers",
                    {
                        "Customer": "name",
                        "Tier": "tier",
                        "Potential": "potential:money",
                        "ARR": "arr:money",
                        "Score": "score:number",
                    },
                    "Ready to expand, most potential first",
                    "customers",
                    where=lambda customer: customer["ready"] is True,
                    sort=largest_first("potential"),
                ),
            ),
        ),
        Section(
            "actions",
            "What to do?",
            blocks=(
                Points(
                    "recommended_actions",
                    "{page_item:prose}",
                    ordered=True,
                    empty="No action is due.",
                ),
            ),
        ),
    ),
    method=METHOD,
    method_facts=METHOD_FACTS,
    sure=(
        "Churn of {at_risk.expected:brief_money} is expected, and {at_risk.lower:brief_money} to "
        "{at_risk.upper:brief_money} is possible: few large customers decide it",
    ),
    portfolio=True,
)
