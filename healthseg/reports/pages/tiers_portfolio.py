"""The page of the portfolio's value tiers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from healthseg.charts.formats import is_missing
from healthseg.reports.pages.common import (
    DECISIONS,
    NEXT_ACTIONS_SECTION,
    arr_cards,
    churn_range,
    largest_first,
    portfolio_about,
    renewals,
    window_notes,
)
from healthseg.reports.spec import (
    Block,
    Card,
    Cell,
    Chart,
    Columns,
    Fold,
    Heading,
    Missing,
    Page,
    Row,
    Section,
    Table,
)
from healthseg.rules import listed
from healthseg.tools.tiers.result import LEAST_OF_A_FIFTH

if TYPE_CHECKING:
    from healthseg.tools.tiers.result import ValueTiers

METHOD = (
    "A tier’s upper end belongs to it; customers without a known ARR are in none",
    "Potential is the seats that users need now or in a year beyond those there are, where nine of ten "
    "are in use, at the list price where it is known; at most what comparable customers came to pay more "
    "within a year",
    "Net retention is this year’s ARR of last year’s customers over last year’s, gross retention "
    "without their expansion",
    "ARR that may churn is simulated from each customer’s probability of churn; of what renews in a window, "
    "of churn or notice by its end",
    "Managers needed are the tier’s hours over a manager’s hours a month, both settings where the csms "
    "table doesn’t say",
)
METHOD_FACTS = {
    "Model": "{segmentation_model:words}",
    "Thresholds": "{arr_thresholds:numbers}",
}


def portfolio_cards(tiers: ValueTiers) -> tuple[Card, ...]:
    """ARR and its retention, the ARR of idle seats, and what may churn."""
    cards = [Card("ARR", "{total_arr:brief_money}", "{total_customers:number live customer}")]
    if tiers.total_arr is None:
        cards = [Card("Live customers", "{total_customers:number}"), *arr_cards(tiers)]
    if tiers.retention is not None and tiers.retention.nrr is not None:
        months = "frames.revenue_by_month"
        cards += [
            Card(
                "Net retention",
                "{retention.nrr:percent}",
                "target {nrr_target:percent}; n = {retention.cohort:number}",
                past=f"{months}.nrr",
                past_name="Net retention by month",
                past_range=0.05,
            ),
            Card(
                "Gross retention",
                "{retention.grr:percent}",
                "target {grr_target:percent}; without expansion",
                past=f"{months}.grr",
                past_name="Gross retention by month",
                past_range=0.05,
            ),
        ]
    if tiers.growth.idle_share:
        note = "{growth.idle_share:percent} of the ARR"
        cards.append(Card("Paid for idle seats", "{growth.idle_arr:brief_money}", note))
    if tiers.at_risk is not None and tiers.at_risk.customers:
        note = (
            "{at_risk.lower:brief_money} to {at_risk.upper:brief_money} ({at_risk.level:percent})"
        )
        cards.append(Card("Expected to churn in 90 days", "{at_risk.expected:brief_money}", note))
    return tuple(cards)


def _few(tiers: ValueTiers) -> str:
    """Why a concentration says nothing: the top fifth of fewer than five customers is no fifth."""
    few = tiers.pareto_analysis.n < LEAST_OF_A_FIFTH
    return "fewer than five customers have an ARR" if few and tiers.pareto_analysis.n else ""


MOVEMENT = ("start", "new", "expansion", "contraction", "churn", "end")
MOVEMENT_NAMES = ("Then", "New", "Expansion", "Contraction", "Churn", "Now")


def _movement(prefix: str) -> Columns:
    """What became of last year's ARR, by parts."""
    money = {
        name: f"{prefix}{key}:money" for key, name in zip(MOVEMENT, MOVEMENT_NAMES, strict=True)
    }
    rates = {"NRR": f"{prefix}nrr:percent", "GRR": f"{prefix}grr:percent"}
    return {**money, **rates, "n": f"{prefix}cohort:number"}


def _short(tiers: ValueTiers) -> tuple[str, ...]:
    """Which tier lacks hours most, and which have some to spare."""
    path, rows = "resource_allocation_recommendations", tiers.resource_allocation_recommendations
    known = {
        at: row.hours_available - row.hours_needed
        for at, row in enumerate(rows)
        if row.hours_available is not None and row.customers
    }
    spare = [at for at in known if (rows[at].gap or 0) < 0]
    names = listed(f"{{{path}[{at}].tier}}" for at in spare)
    least = min(known, key=lambda at: known[at], default=None)
    if least is None:
        return ()
    if known[least] >= 0:
        return ("Every tier has the hours that its customers need",)
    return (
        f"{{{path}[{least}].tier}} needs {{{path}[{least}].hours_needed:number}} hours a month and has "
        f"{{{path}[{least}].hours_available:number}}",
        f"{names} have more managers than they need" if spare else "",
    )


def _no_hours(tiers: ValueTiers) -> str:
    """Why managers' hours cannot be compared with those that are needed."""
    known = (row.hours_available for row in tiers.resource_allocation_recommendations)
    return (
        "" if any(hours is not None for hours in known) else "the hours of managers are not known"
    )


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
                "Managers": "{current_csm_count:number} of {recommended_csm_count:number} needed",
            },
            label="tiers",
            where=lambda tier: tier["customers"] or tier["current_csm_count"],
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
        "{at_risk.expected:brief_money} of ARR is expected to churn in {at_risk.horizon_days:number day}, most likely between "
        "{at_risk.lower:brief_money} and {at_risk.upper:brief_money}",
        "The loss of {pareto_analysis.largest_customer.name} alone would be "
        "{pareto_analysis.largest_customer.arr:brief_money}"
        if tiers.pareto_analysis.largest_customer
        else "",
        "Customers that gave notice pay {at_risk.certain:brief_money} of it"
        if tiers.at_risk.certain
        else "",
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
                    "Range": churn_range(
                        "at_risk.",
                        "most likely none: some churns in {at_risk.any_share:percent} of quarters",
                    ),
                    "Notice given": "at_risk.certain:money",
                    "Customers": "at_risk.customers:number",
                },
                label="tiers",
                where=lambda tier: tier.get("at_risk") and tier["at_risk"]["customers"],
            ),
        ),
        Table(
            "frames.customers",
            {
                "Customer": "name",
                "Score": "score:number",
                "May churn": "churn_probability:percent",
                "Expected churned ARR": "expected_churned_arr:money",
                "ARR": "arr:money",
            },
            "The five with the most expected churned ARR",
            "customers",
            sort=largest_first("expected_churned_arr"),
            limit=5,
        ),
    )


def _idle_before_renewal(customer: Row, within: int) -> bool:
    days, idle = customer["days_to_renewal"], customer["contraction_exposure"]
    return not (is_missing(days) or is_missing(idle)) and 0 <= days <= within and idle > 0


def _growth(tiers: ValueTiers) -> tuple[str, ...]:
    return (
        "{growth.idle_arr:brief_money} of ARR ({growth.idle_share:percent}) is paid for seats that nobody uses, "
        "{growth.idle_arr_renewing:brief_money} of it at {growth.renewing:number customer} that renew within "
        "{growth.renewal_days:number day}: win users before they ask for fewer seats"
        if tiers.growth.renewing
        else "{growth.idle_arr:brief_money} of ARR ({growth.idle_share:percent}) is paid for seats that nobody uses"
        if tiers.growth.idle_arr
        else "",
        "{growth.ready:number customer} are ready to expand"
        + (", by {growth.ready_potential:brief_money}" if tiers.growth.ready_potential else "")
        if tiers.growth.ready
        else "",
    )


def _growth_tables(tiers: ValueTiers) -> tuple[Block, ...]:
    """Who is ready to expand, and whose seats are idle before a renewal: where there is anybody."""
    ready = Table(
        "frames.customers",
        {
            "Customer": "name",
            "Tier": "tier",
            "Potential": "potential:money",
            "ARR": "arr:money",
            "Score": "score:number",
        },
        "Ready to expand, the most potential first",
        "customers",
        where=lambda customer: customer["ready"] is True and customer["potential"] > 0,
        sort=largest_first("potential"),
        limit=5,
    )
    idle = Table(
        "frames.customers",
        {
            "Customer": "name",
            "Idle seats, ARR": "contraction_exposure:money",
            "Users": "{users:number} of {seats:number} seats",
            "ARR": "arr:money",
            "Renewal": "renewal_on:day",
            "Manager": "csm_id:manager",
        },
        "The most idle seats at customers that renew soon",
        "customers",
        where=lambda customer: _idle_before_renewal(customer, tiers.growth.renewal_days),
        sort=largest_first("contraction_exposure"),
        limit=5,
    )
    growth = tiers.growth
    return (
        *((idle,) if growth.renewing else ()),
        *((ready,) if growth.ready_with_potential else ()),
    )


def _spread(tiers: ValueTiers) -> tuple[str, ...]:
    """What the largest customer and the top fifth pay, and the tier whose churn took most ARR."""
    known = {
        at: tier.retention.churn or 0.0
        for at, tier in enumerate(tiers.value_tiers)
        if tier.retention is not None and tier.retention.cohort >= LEAST_OF_A_COHORT
    }
    worst = min(known, key=lambda at: known[at], default=0)
    return (
        "{pareto_analysis.largest_customer.name} alone pays {pareto_analysis.largest_customer.share:percent} of the ARR and "
        "renews on {pareto_analysis.largest_customer.renewal_on:day}",
        f"Churn took most from {{value_tiers[{worst}].tier_name}}: {{value_tiers[{worst}].retention.churn:brief_money}} of what "
        f"its customers of a year ago paid; it kept {{value_tiers[{worst}].retention.grr:percent}} without expansion"
        if known.get(worst, 0.0) < 0
        else "",
    )


def _windows(tiers: ValueTiers, quarters: bool) -> Table:
    """The windows of renewals: the quarters, or all others."""
    path = "frames.renewal_windows"
    table = renewals(path, tiers.frame("renewal_windows").to_dict("records"))
    wanted = table.where
    return replace(
        table,
        where=lambda row: (
            wanted is not None and wanted(row) and (row["kind"] == "quarter") == quarters
        ),
        empty="" if quarters else table.empty,
    )


def _renewing(tiers: ValueTiers) -> tuple[str, ...]:
    """What renews first, and how much of it may churn."""
    rows = tiers.frame("renewal_windows")
    first = rows[(rows["band"] == "all") & (rows["kind"] == "days") & (rows["customers"] > 0)]
    if first.empty:
        return ()
    row = f"frames.renewal_windows[{first.index[0]}]"
    return (
        f"{{{row}.customers:number customer}} with {{{row}.arr:brief_money}} ARR renew in the {{{row}.window:lower}}; "
        f"{{{row}.expected:brief_money}} of it is expected to churn",
    )


# of how many customers a year ago a tier's retention is worth a sentence
LEAST_OF_A_COHORT = 10


PORTFOLIO = Page(
    tool="segment_by_value_tier",
    kind="Value tiers",
    summary="The portfolio's value tiers: how customers and ARR are spread, what became of last year's "
    "ARR, whether the managers' hours suffice, what may churn and where it can grow.",
    title="The portfolio’s value tiers",
    about=(portfolio_about,),
    cards=portfolio_cards,
    sections=(
        replace(NEXT_ACTIONS_SECTION, blocks=(DECISIONS,)),
        Section(
            "tiers",
            "How are customers and ARR spread over the tiers?",
            _spread,
            (
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
                        "NRR of the tier a year ago": "nrr:percent",
                        "GRR": "grr:percent",
                    },
                    label="tiers",
                    where=lambda tier: tier["customers"],
                ),
            ),
        ),
        Section(
            "growth",
            "Which seats does nobody use, and where can it grow?",
            _growth,
            lambda tiers: (
                *_growth_tables(tiers),
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
                Chart("moves", needs="retention"),
                Fold(
                    "Customers by the month in which they began: {began_live:number} of {began:number} are live",
                    (Chart("cohorts"),),
                ),
            ),
        ),
        Section("churn", "How much ARR may churn?", _risk, _risk_blocks),
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
            absent=_few,
        ),
        Section(
            "renewals",
            "What renews, and when?",
            _renewing,
            lambda tiers: (
                _windows(tiers, quarters=False),
                Fold("By quarter", (_windows(tiers, quarters=True),)),
            ),
        ),
        Section(
            "capacity",
            "Are there enough managers?",
            _short,
            _capacity,
            absent=_no_hours,
        ),
    ),
    method=(*METHOD, "Amounts are at the rates of {as_of:day}, those of earlier days too"),
    method_facts=METHOD_FACTS,
    sure=(
        "Churn of {at_risk.expected:brief_money} is expected; in {at_risk.level:percent} of simulated quarters it is "
        "{at_risk.lower:brief_money} to {at_risk.upper:brief_money}: few large customers decide it",
        "Concentration: a Gini coefficient of {pareto_analysis.gini:number.2}",
        lambda tiers: ". ".join(
            window_notes(
                tiers.frame("renewal_windows").to_dict("records"), "frames.renewal_windows"
            )
        ),
    ),
    portfolio=True,
)
