"""The page of the portfolio's value tiers: a function for each question that its reader has."""

from __future__ import annotations

import re
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
    prose,
    table,
)
from healthseg.reports.portfolios import open_portfolio

__all__ = [
    "capacity",
    "concentration",
    "footer",
    "grow",
    "method",
    "open_portfolio",
    "opening",
    "revenue",
    "risk",
    "tiers",
    "to_do",
]


def opening(response: Any) -> Html:
    """The portfolio, as of when, the verdict, and its figures at a glance."""
    return page.portfolio_opening(
        response, "Value tiers", "The portfolio’s value tiers", _cards(response)
    )


def _cards(response: Any) -> list[Card]:
    kept, risk, pareto = response.retention, response.at_risk, response.pareto_analysis
    found = [
        Card(
            "ARR",
            formats.brief_money(response.total_arr, response.currency),
            f"{formats.number(response.total_customers)} live customers",
        )
    ]
    if pareto.top_share is not None:
        found.append(
            Card(
                "Top fifth",
                formats.percent(pareto.top_share),
                f"of the ARR: {pareto.tier_distribution}",
            )
        )
    if kept is not None and kept.nrr is not None:
        found += [
            Card(
                "Net retention", formats.percent(kept.nrr), f"of last year's ARR; n = {kept.cohort}"
            ),
            Card("Gross retention", formats.percent(kept.grr), "without growth"),
        ]
    if risk is not None and risk.customers:
        found.append(
            Card(
                "May be lost in 90 days",
                formats.brief_money(risk.expected, response.currency),
                f"{formats.brief_money(risk.lower)} to {formats.brief_money(risk.upper)} ({100 * risk.level:.0f} %)",
            )
        )
    return found


def tiers(response: Any) -> Html:
    """How are customers and ARR spread over the tiers?"""
    rows = response.frame("tiers").to_dict("records")
    columns = [
        Column(
            "tier", "Tier", markup=lambda row: page.noted(row["tier"], limits(row["description"]))
        ),
        Column("customers", "Customers", formats.number, True),
        Column("share", "Share", formats.percent, True),
        Column(
            "arr", f"ARR, {response.currency}" if response.currency else "ARR", formats.money, True
        ),
        Column("arr_share", "Of the ARR", formats.percent, True),
        page.money_column(response, "average_arr", "Mean ARR"),
        Column("health", "Mean score", formats.number, True),
        Column("nrr", "NRR", formats.percent, True),
        Column("grr", "GRR", formats.percent, True),
    ]
    return Html(table(rows, columns, label="tiers") + figure(response, "sizes"))


def concentration(response: Any) -> Html:
    """How much hangs on how few?"""
    found = response.pareto_analysis
    if found.top_share is None:
        return Html(
            missing(
                "Concentration",
                response.not_measured.get("$.pareto_analysis.top_20_percent_customers", ""),
            )
        )
    lead = (
        f"The {found.top_20_percent_customers} largest of {found.n} customers pay "
        f"{formats.percent(found.top_share)} of "
        f"the ARR: {found.tier_distribution}."
    )
    return Html(paragraph(lead, "lead") + figure(response, "lorenz"), lead)


def limits(description: str) -> str:
    """A tier's limits in words.

    >>> limits("EUR 50,000 < ARR <= EUR 100,000"), limits("ARR <= EUR 10,000")
    ('ARR above EUR 50,000, up to EUR 100,000', 'ARR up to EUR 10,000')
    """
    text = re.sub(r"^(.+) < ARR <= (.+)$", r"ARR above \1, up to \2", description)
    return text.replace("ARR <= ", "ARR up to ").replace("ARR > ", "ARR above ")


def revenue(response: Any) -> Html:
    """What became of last year's ARR?"""
    found = response.retention
    if found is None:
        return Html(missing("Retention of revenue", response.not_measured.get("$.retention", "")))
    moved = response.year_on_year
    lead = joined(
        f"Of {formats.brief_money(found.start, response.currency)} a year ago "
        f"{formats.percent(found.nrr)} are there with the "
        f"same customers, {formats.percent(found.grr)} without what they added",
        f"{found.churned} of {found.cohort} customers left",
        f"{moved.up} customers are in a higher tier than a year ago, {moved.down} in a lower one",
    )
    rows = [
        {"scope": one.tier_name, **one.retention.model_dump()}
        for one in response.value_tiers
        if one.retention
    ]
    rows.append({"scope": "All", **found.model_dump()})
    columns = [
        Column("scope", "Tier a year ago"),
        *(
            page.money_column(response, name, title)
            for name, title in (
                ("start", "Then"),
                ("new", "New"),
                ("expansion", "Expansion"),
                ("contraction", "Contraction"),
                ("churn", "Churn"),
                ("end", "Now"),
            )
        ),
        Column("nrr", "NRR", formats.percent, True),
        Column("grr", "GRR", formats.percent, True),
        Column("cohort", "n", formats.number, True),
    ]
    return Html(
        paragraph(lead, "lead")
        + figure(response, "waterfall", table(rows, columns, label="tiers"))
        + figure(response, "retention")
        + figure(response, "moves"),
        lead,
    )


def capacity(response: Any) -> Html:
    """How many managers does this take, and how many are there?"""
    rows = [one.model_dump() for one in response.resource_allocation_recommendations]
    columns = [
        Column("tier", "Tier"),
        Column("customers", "Customers", formats.number, True),
        Column("hours_per_customer", "Hours each", lambda value: formats.number(value, 1), True),
        Column("hours_needed", "Hours needed", formats.number, True),
        Column("hours_available", "Hours there", formats.number, True),
        Column("recommended_csm_count", "Managers needed", formats.number, True),
        Column("current_csm_count", "There", formats.number, True),
        Column("gap", "Gap", formats.signed, True),
        Column("priority", "Priority", formats.words),
    ]
    told = response.suggested_thresholds
    if told.thresholds is None:
        advice = missing("Thresholds that the managers' hours would carry", told.reason)
    else:
        frame = response.frame("thresholds").to_dict("records")
        advice = "<h3>Thresholds that the managers' hours would carry</h3>" + table(
            frame,
            [
                Column("tier", "Tier"),
                page.money_column(response, "given_above", "Now above"),
                Column("given_customers", "Customers now", formats.number, True),
                page.money_column(response, "suggested_above", "Would be above"),
                Column("suggested_customers", "Customers then", formats.number, True),
            ],
            label="tiers",
        )
    return Html(figure(response, "capacity", table(rows, columns, label="tiers")) + advice)


def risk(response: Any) -> Html:
    """How much ARR may be lost?"""
    found = response.at_risk
    if found is None or not found.customers:
        return Html(
            missing(
                "ARR that may be lost",
                response.not_measured.get("$.at_risk", "the portfolio has no rate of leaving"),
            )
        )
    lead = (
        f"Expected in {found.horizon_days} days: {formats.brief_money(found.expected, response.currency)} "
        f"({100 * found.level:.0f} %: {formats.brief_money(found.lower)} to {formats.brief_money(found.upper)}), "
        f"of which {formats.brief_money(found.certain)} gave notice. "
        "A sum of risks is no risk of the sum: the interval "
        "is wide where few large customers decide it."
    )
    rows = [
        {"tier": one.tier_name, **one.at_risk.model_dump()}
        for one in response.value_tiers
        if one.at_risk
    ]
    columns = [
        Column("tier", "Tier"),
        page.money_column(response, "expected", "Expected"),
        page.money_column(response, "lower", "From"),
        page.money_column(response, "upper", "To"),
        page.money_column(response, "certain", "Notice given"),
        Column("customers", "Customers", formats.number, True),
    ]
    people = response.frame("customers").sort_values(
        "expected_churned_arr", ascending=False, na_position="last"
    )
    who = table(
        people.head(40).to_dict("records"),
        [
            Column("name", "Customer"),
            Column("tier", "Tier"),
            Column("score", "Score", formats.number, True),
            Column("churn_probability", "May leave", formats.percent, True),
            page.money_column(response, "expected_churned_arr", "Expected loss"),
            page.money_column(response),
        ],
        "Most expected loss first",
        "customers",
    )
    return Html(
        paragraph(lead, "lead")
        + figure(response, "at_risk", table(rows, columns, label="tiers"))
        + who,
        lead,
    )


def grow(response: Any) -> Html:
    """Where can it grow?"""
    told = [one for one in response.value_tiers if one.expansion_pipeline is not None]
    if not told:
        return Html(
            missing(
                "Expansion", response.not_measured.get("$.value_tiers[*].expansion_pipeline", "")
            )
        )
    rows = [
        {
            "tier": one.tier_name,
            **one.expansion_pipeline.model_dump(),
            **one.expansion_pipeline.rules_met,
        }
        for one in told
    ]
    columns = [
        Column("tier", "Tier"),
        page.money_column(response, "total_expansion_potential", "Potential"),
        page.money_column(response, "from_seats", "Seats"),
        page.money_column(response, "from_premium_features", "Premium features"),
        page.money_column(response, "from_customers_table", "As given"),
        Column("high_probability_expansions", "Ready", formats.number, True),
        Column("unknown", "Not known", formats.number, True),
        page.money_column(response, "contraction_exposure", "Idle seats, ARR"),
    ]
    people = response.frame("customers")
    ready = people[people["ready"].eq(True)].sort_values(
        "potential", ascending=False, na_position="last"
    )
    who = table(
        ready.to_dict("records"),
        [
            Column("name", "Customer"),
            Column("tier", "Tier"),
            page.money_column(response, "potential", "Potential"),
            page.money_column(response),
            Column("score", "Score", formats.number, True),
        ],
        "Ready to expand, most potential first",
        "customers",
    )
    return Html(figure(response, "pipeline", table(rows, columns, label="tiers")) + who)


def to_do(response: Any) -> Html:
    """What to do?"""
    if not response.recommended_actions:
        return Html(paragraph("No rule holds.", "lead"))
    return Html(lines((prose(text) for text in response.recommended_actions), ordered=True))


def method(response: Any) -> Html:
    """How was this computed? Behind a fold."""
    return page.method(
        response,
        "A tier's upper end belongs to it; customers without a known ARR are in none",
        "Potential is the seats that a forecast of the users asks for beyond those there are, where nine of ten are in "
        "use, "
        "and the largest difference in ARR per seat that peers with a bundle of premium features pay",
        "Net retention is this year's ARR of last year's customers over last year's, gross retention without what "
        "they added",
        "What may be lost is simulated from each customer's probability of leaving",
        "Managers needed are the tier's hours over a manager's hours a month, both settings where csms doesn't say",
        pairs=[
            ("Model", formats.words(response.segmentation_model)),
            ("Thresholds", ", ".join(formats.number(value) for value in response.arr_thresholds)),
        ],
    )
