"""The page of the portfolio's features: a function for each question of who plans the product and its rollout."""

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
    isolated,
    joined,
    lines,
    missing,
    paragraph,
    prose,
    safe,
    table,
)
from healthseg.reports.pages.adoption import method
from healthseg.reports.portfolios import open_portfolio

__all__ = [
    "abandoned",
    "adoption",
    "fast",
    "footer",
    "funnel",
    "least",
    "method",
    "next_ones",
    "open_portfolio",
    "opening",
    "paths",
    "staying",
]


def opening(response: Any) -> Html:
    """The portfolio, as of when, the verdict, and its figures at a glance."""
    return page.portfolio_opening(
        response, "Feature adoption", "The portfolio’s features", _cards(response)
    )


def _cards(response: Any) -> list[Card]:
    return [
        Card(
            formats.sentence(formats.words(name)),
            formats.percent(one.adoption_rate),
            f"a customer has adopted {formats.number(one.adopted_features, 1)} of "
            f"{formats.number(one.total_features, 1)} on average",
        )
        for name, one in response.feature_adoption_summary.items()
    ]


def adoption(response: Any) -> Html:
    """What is adopted, how deep, how broad, how often?"""
    columns = [
        Column("feature", "Feature", markup=_feature),
        Column("rate", "Adopted", formats.percent, True),
        Column("adopted", "Customers", formats.number, True),
        Column("customers", "Could use it", formats.number, True),
        Column("events_per_adopter", "Events an adopter", formats.number, True),
        Column("user_share", "Of its users", formats.percent, True),
        Column("usage_frequency", "How often", formats.words),
        Column("satisfaction", "CSAT", lambda value: formats.number(value, 1), True),
    ]
    rows = response.frame("features").to_dict("records")
    lead = joined(f"Adopted means {response.rule}; of the customers that could use the feature")
    low = [
        f"{safe(formats.words(one.feature))} ({formats.percent(one.adoption_rate)}): "
        f"{safe(formats.words('; '.join(one.barriers or [])) or 'no barrier is known')}"
        for one in response.low_adoption_features
    ]
    hardly = f"<h3>Hardly adopted, and what stands in the way</h3>{lines(low)}" if low else ""
    return Html(
        paragraph(lead, "lead")
        + figure(response, "features", table(rows, columns, label="features"))
        + hardly,
        lead,
    )


def _feature(row: dict[str, Any]) -> str:
    return page.noted(formats.words(row["feature"]), formats.words(row["category"]) or "")


def fast(response: Any) -> Html:
    """How long does it take?"""
    columns = [
        Column("feature_name", "Feature", formats.words),
        Column("days", "Half had adopted it by day", formats.number, True),
        Column("between", "Interval"),
        Column("n", "Watched", formats.number, True),
        Column("events", "Adopted", formats.number, True),
    ]
    rows = [
        {
            "feature_name": one.feature_name,
            **one.time_to_adopt.model_dump(),
            "between": page.between(one.time_to_adopt.lower, one.time_to_adopt.upper),
        }
        for one in response.feature_details
    ]
    return Html(figure(response, "time_to_adopt", table(rows, columns, label="features")))


def funnel(response: Any) -> Html:
    """How far do they come?"""
    if response.adoption_funnel is None:
        return Html(missing("The funnel", "not requested"))
    columns = [
        Column("scope", "Features", formats.words),
        Column("stage", "Stage", formats.words),
        Column("units", "Pairs", formats.number, True),
        Column("share", "Of all", formats.percent, True),
        Column("of_before", "Of the stage before", formats.percent, True),
    ]
    rows = response.frame("funnel").to_dict("records")
    return Html(
        paragraph(f"Counted are {response.adoption_funnel.unit}.", "lead")
        + figure(response, "funnel", table(rows, columns, label="stages"))
    )


def staying(response: Any) -> Html:
    """What goes with staying, raw and adjusted?"""
    found = response.correlation_analysis
    if found is None:
        return Html(missing("Correlations", "not requested"))
    said = lines(prose(one.text) for one in found.detail.values())
    columns = [
        Column("name", "Feature", formats.words),
        Column("adjusted", "Adjusted", _figure, True),
        Column("lower", "From", _figure, True),
        Column("upper", "To", _figure, True),
        Column("q", "q", _figure, True),
        Column("raw", "Raw", _figure, True),
        Column("odds_ratio", "Odds of leaving ×", _figure, True),
        Column("odds_lower", "From", _figure, True),
        Column("odds_upper", "To", _figure, True),
        Column("n", "n", formats.number, True),
    ]
    rows = response.frame("effects").to_dict("records")
    lead = joined(
        f"{found.hypotheses_tried} figures were tried; spoken of is what remains under false-discovery control",
        "A correlation is no proof of a cause",
    )
    return Html(
        paragraph(lead, "lead")
        + said
        + figure(response, "effects", table(rows, columns, label="features")),
        lead,
    )


def _figure(value: Any) -> str:
    return formats.number(value, 2)


def abandoned(response: Any) -> Html:
    """What is abandoned?"""
    columns = [
        Column("feature", "Feature", formats.words),
        Column("adopters", "Seen to adopt it", formats.number, True),
        Column("abandoned", "Abandoned it", formats.number, True),
        Column("readopted", "Took it up again", formats.number, True),
        Column("share", "Kept 180 days", formats.percent, True),
    ]
    days = response.feature_details[0].kept.silent_days if response.feature_details else None
    lead = joined(
        f"Abandoned are features that nobody of the customer used for {days} days" if days else ""
    )
    return Html(
        paragraph(lead, "lead")
        + figure(response, "kept")
        + table(response.abandoned, columns, label="features"),
        lead,
    )


def paths(response: Any) -> Html:
    """Are there distinct paths?"""
    evidence = response.pattern_evidence
    if not response.adoption_patterns:
        return Html(paragraph(joined(evidence.reason or "no stable patterns"), "lead"))
    columns = [
        Column("pattern", "Path"),
        Column("percentage", "Of customers, %", lambda value: formats.number(value, 1), True),
        Column("characteristics", "What sets it apart"),
        Column("avg_time_to_value", "Half had value by day", formats.number, True),
        Column("retention_rate", "Stayed a year", formats.percent, True),
    ]
    return Html(
        table([one.model_dump() for one in response.adoption_patterns], columns, label="paths")
    )


def least(response: Any) -> Html:
    """Who adopts least?"""
    columns = [
        Column("name", "Customer", markup=lambda row: isolated(row["name"])),
        Column("tier", "Tier"),
        Column("adopted", "Adopted", formats.number, True),
        Column("entitled", "Could use", formats.number, True),
        Column("rate", "Share", formats.percent, True),
        Column(
            "arr",
            "ARR",
            numeric=True,
            markup=lambda row: safe(formats.money(row["arr"], row["currency"])),
        ),
    ]
    return Html(table(response.customers, columns, label="customers"))


def next_ones(response: Any) -> Html:
    """What to do?"""
    rows = [
        f"<b>{safe(formats.words(one.feature))}</b>: {prose('; '.join(one.recommended_actions))}"
        f"<br><small>{prose(one.reason)}"
        f"{safe('. Expected: ' + one.expected_impact) if one.expected_impact else ''}</small>"
        for one in response.recommendations
    ]
    why = response.not_measured.get("$.recommendations[*].expected_impact", "")
    return Html(
        (lines(rows, ordered=True) or paragraph("No rule fired."))
        + (missing("What it would bring", why) if why else "")
    )
