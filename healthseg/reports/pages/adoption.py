"""The page of one customer's features: a function for each question that its reader has."""

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
    prose,
    safe,
    table,
)
from healthseg.reports.portfolios import open_portfolio

__all__ = ["depth", "fast", "footer", "method", "next_ones", "open_portfolio", "opening", "used"]


def opening(response: Any) -> Html:
    """Who, as of when, and the verdict in a line."""
    return page.opening(
        response,
        "Feature adoption",
        response.customer_name,
        [page.customer_line(response)],
        _cards(response),
    )


def _cards(response: Any) -> list[Card]:
    found = [
        Card(
            formats.sentence(formats.words(name)),
            formats.percent(one.adoption_rate),
            f"{formats.number(one.adopted_features)} of {formats.number(one.total_features)} adopted",
        )
        for name, one in response.feature_adoption_summary.items()
        if one.total_features
    ]
    standing = response.benchmark_standing
    if standing.peer_median is not None:
        note = f"{standing.peer_group}, n = {standing.n}; above {formats.number(standing.percentile)} % of them"
        found.append(Card("Median of the peers", formats.percent(standing.peer_median), note))
    return found


def used(response: Any) -> Html:
    """What is used of what is paid for?"""
    waste = [one.feature_name for one in response.feature_details if one.adopted is False]
    lead = joined(
        f"Adopted means {response.rule}",
        f"{len(waste)} of {len(response.feature_details)} features that it could use are not adopted"
        if waste
        else "",
    )
    columns = [
        Column("feature_name", "Feature", formats.words),
        Column("feature_category", "Category", formats.words),
        Column("adoption_rate", "Of active users", formats.percent, True),
        Column("users", "Users", formats.number, True),
        Column("usage_frequency", "How often", formats.words),
        Column("average_time_to_first_use_days", "Days to first use", formats.number, True),
    ]
    rows = [one.model_dump() for one in response.feature_details]
    return Html(
        paragraph(lead, "lead")
        + figure(response, "features", table(rows, columns, label="features")),
        lead,
    )


def depth(response: Any) -> Html:
    """How deep does it go?"""
    if response.adoption_funnel is None:
        return Html(missing("The funnel", "not requested"))
    lead = f"Counted are {response.adoption_funnel.unit}; each stage holds the next."
    columns = [
        Column("stage", "Stage", formats.words),
        Column("units", "Pairs", formats.number, True),
        Column("share", "Of all", formats.percent, True),
        Column("of_before", "Of the stage before", formats.percent, True),
    ]
    stages = response.frame("funnel")
    rows = stages[stages["scope"] == "all"].to_dict("records")
    return Html(
        paragraph(lead, "lead") + figure(response, "funnel", table(rows, columns, label="stages")),
        lead,
    )


def next_ones(response: Any) -> Html:
    """What next? Features that similar customers adopted and kept."""
    if not response.recommendations:
        why = "nothing is left that its peers adopted, or there are too few peers to tell"
        return Html(missing("A next feature", why), why)
    rows = [
        f"<b>{safe(formats.words(one.feature))}</b>: {prose('; '.join(one.recommended_actions))}<br>"
        f"<small>{prose(one.reason)}"
        f"{safe('. Expected: ' + one.expected_impact) if one.expected_impact else ''}</small>"
        for one in response.recommendations
    ]
    why = response.not_measured.get("$.recommendations[*].expected_impact", "")
    impact = "" if not why else missing("What it would bring", why)
    barriers = [
        safe(formats.words(f"{one.feature}: {'; '.join(one.barriers)}"))
        for one in _blocked(response)
    ]
    return Html(
        lines(rows, ordered=True)
        + impact
        + (f"<h3>What stands in the way</h3>{lines(barriers)}" if barriers else "")
    )


def _blocked(response: Any) -> list[Any]:
    return [one for one in response.low_adoption_features if one.barriers]


def fast(response: Any) -> Html:
    """How fast compared with others?"""
    return Html(figure(response, "time_to_adopt"))


def method(response: Any) -> Html:
    """How was this computed? Behind a fold."""
    return page.method(
        response,
        f"Adopted means {response.rule}; the denominator is what is released and entitled at the end of the day",
        "Times are Kaplan–Meier medians: who has not got there yet counts with the time waited",
        "Effects on staying are the portfolio's, measured at quarter ends on the 90 days after them",
        pairs=[
            ("Period", f"{response.analysis_period_days} days"),
            ("Category", response.feature_category),
        ],
    )
