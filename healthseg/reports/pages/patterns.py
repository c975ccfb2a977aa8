"""The pages of engagement patterns: one customer's, and the whole portfolio's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from healthseg.reports.pages.common import CUSTOMER_ABOUT
from healthseg.reports.spec import (
    Block,
    Card,
    Cell,
    Chart,
    Fold,
    Missing,
    Note,
    Page,
    Points,
    Row,
    Section,
    Table,
    Text,
)

if TYPE_CHECKING:
    from healthseg.tools.patterns.result import EngagementPatterns

TRIED = "of {testing.hypotheses:number} tried"
METHOD = (
    "{testing.hypotheses:number pattern} were tested as one family. A pattern is reported if it has a "
    "false-discovery q of at most {testing.max_q:significant}, recurs on held-out time "
    "(p ≤ {testing.held_out_max_p:significant}), and recurs in "
    "{testing.min_pattern_confidence:percent} of {testing.resamples:number resample}",
    "Confidence is that share of resamples",
    "Signs of churn are measured at every month’s end of the portfolio’s history, at equal size, tenure, "
    "tier and quarter; feature use also at equal activity, seats in use and share of other features",
    "A churn rate follows the first day of a spell of the sign; beside it is that of the same dates "
    "without it",
)


def _by_type(patterns: EngagementPatterns) -> str:
    return "; ".join(
        f"{name} {{testing.by_type.{name}:number}}" for name in patterns.testing.by_type
    )


METHOD_FACTS: dict[str, Text] = {
    "Window": "{analysis_period.start_date:day} to before {analysis_period.end_date:day}",
    "Customers": "{customers_analyzed:number}",
    "Tried by type": _by_type,
}


def _whose(day: Row) -> str:
    name = "{customer_name}" if day["customer_name"] else "{client_id}"
    return name if day["customer_name"] or day["client_id"] else "the whole {scope}"


def _cause(day: Row) -> str:
    """What the calendar, tickets or gaps say, and whether somebody should look."""
    cause = "{likely_cause:prose}" if day["likely_cause"] else "none found"
    return f"{cause}: find out" if day["action_required"] else cause


UNUSUAL = Table(
    "anomalies",
    {
        "Day": "date:day",
        "Whose": _whose,
        "How much": "description:prose",
        "Likely cause": _cause,
    },
    label="unusual days",
)
SIGNS: dict[str, Text | Cell] = {
    "Sign": "pattern",
    "Churned in 90 days": Cell("probability_of_churn:percent", bar=True),
    "Interval": "{probability_lower:percent} to {probability_upper:percent}",
    "Without it": "base_rate:percent",
    "Times seen": "n:number",
    "Median days before": "lead_days:number",
}


def advice(pattern: Row) -> str:
    """What may be done about a pattern."""
    return ". {actionable_insight:sentence}" if pattern["actionable_insight"] else ""


def with_figures(pattern: Row) -> str:
    """A pattern with its figures."""
    return "{description:prose}; recurs in {confidence:percent} of resamples" + advice(pattern)


def brief(pattern: Row) -> str:
    """A pattern in the words of a reader who has to act on it."""
    says = "{description:prose}"
    if pattern["pattern_type"] in ("risk", "success"):
        says = (
            "{evidence.rate_with:percent.1} of the customers with it churned within a month, "
            "{evidence.base_rate:percent.1} of the others"
        )
    elif pattern["pattern_type"] == "temporal":
        usual = "day" if pattern["key"].startswith("day:") else "hour"
        share = (
            "{evidence.lift:number.1} times"
            if pattern["evidence"]["lift"] >= 1
            else "{evidence.lift:percent} of"
        )
        says = f"{share} the use of a usual {usual}"
    return says + advice(pattern)


def timing(patterns: EngagementPatterns) -> tuple[str, ...]:
    """When people are active, in words."""
    temporal = patterns.temporal_patterns
    if temporal is None:
        return ()
    if "$.temporal_patterns.peak_activity_days" in patterns.not_measured:
        return ('Peaks are unknown: {not_measured["$.temporal_patterns.peak_activity_days"]}',)
    peaks = [*(temporal.peak_activity_days or []), *(temporal.peak_activity_hours or [])]
    return (
        "The busiest days are {temporal_patterns.peak_activity_days:list}"
        if temporal.peak_activity_days
        else "",
        "People are most active at {temporal_patterns.peak_activity_hours:list}"
        if temporal.peak_activity_hours
        else "",
        "" if peaks else "No day or hour is a significant peak",
        "Little happens on {temporal_patterns.low_activity_periods:lower_list}"
        if temporal.low_activity_periods
        else "",
        "Usage is {temporal_patterns.detail.trend.direction} "
        "({temporal_patterns.detail.trend.weekly_growth_rate:signed_percent.1} a week)",
        "Seasons: {temporal_patterns.seasonal_trends:lower}" if temporal.seasonal_trends else "",
    )


def activity(patterns: EngagementPatterns) -> tuple[Block, ...]:
    return (
        Missing("The hours of activity", "temporal_patterns"),
        Chart("week", needs="temporal_patterns"),
    )


def unusual(patterns: EngagementPatterns) -> tuple[Block, ...]:
    if patterns.anomalies is None:
        return (Missing("Unusual days", "anomalies"),)
    return (UNUSUAL,) if patterns.anomalies else (Note(("No day was unusual",)),)


def _particular(patterns: EngagementPatterns) -> tuple[Block, ...]:
    if not patterns.identified_patterns:
        return ()
    strongest = _strongest
    return (
        Points("identified_patterns", brief, "{pattern_name}", sort=strongest),
        Fold(
            "Each with its figures",
            (Points("identified_patterns", with_figures, "{pattern_name}", sort=strongest),),
        ),
    )


def _strongest(pattern: Row) -> tuple[bool, float]:
    return pattern["pattern_type"] == "temporal", -pattern["evidence"]["lift"]


def _customer_actions(patterns: EngagementPatterns) -> tuple[Block, ...]:
    risks = patterns.risk_patterns or []
    if not patterns.recommended_actions and not any(
        risk.recommended_intervention for risk in risks
    ):
        return (Note(("No rule asks for anything",)),)
    return (
        Points("recommended_actions", "{page_item:prose}", ordered=True),
        Points(
            "risk_patterns",
            "{recommended_intervention:prose}",
            "{pattern}",
            where=lambda risk: risk["recommended_intervention"],
        ),
    )


CUSTOMER = Page(
    tool="analyze_engagement_patterns",
    kind="Engagement patterns",
    summary="One customer's patterns: what is particular about it, what usually follows, when people "
    "are active, which days were unusual, and what to do.",
    title="{analysis_scope.customer_name}",
    about=(CUSTOMER_ABOUT.replace("{client_id}", "{analysis_scope.client_id}"),),
    cards=(
        Card("Patterns", "{identified_patterns:count}", TRIED),
        Card("Signs of churn", "{risk_patterns:count?0}", "on the last weekly date"),
        Card("Unusual days", "{anomalies:count?0}", "in {analysis_period.days:number day}"),
    ),
    sections=(
        Section(
            "particular",
            "What is particular about this customer?",
            lambda patterns: (
                (
                    "Patterns of the portfolio that it shows, the strongest first, and those within it",
                )
                if patterns.identified_patterns
                else (
                    "It shows none of the portfolio’s patterns, and no significant ones of its own",
                )
            ),
            _particular,
        ),
        Section(
            "follows",
            "What usually follows?",
            lambda patterns: (
                ()
                if patterns.risk_patterns is None
                else (
                    "The rate is of other customers with the same sign that churned or gave notice",
                )
                if patterns.risk_patterns
                else ("It shows no sign that precedes churn in this portfolio",)
            ),
            lambda patterns: (
                (Missing("What follows", "risk_patterns"),)
                if patterns.risk_patterns is None
                else (Chart("risk", Table("risk_patterns", SIGNS, label="signs")),)
                if patterns.risk_patterns
                else ()
            ),
        ),
        Section("timing", "When are people active?", timing, activity),
        Section("unusual", "What was unusual, and did all customers see it?", blocks=unusual),
        Section("actions", "What to do?", blocks=_customer_actions),
    ),
    method=METHOD,
    method_facts=METHOD_FACTS,
)
