"""The pages of engagement patterns: one customer's, and the whole portfolio's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from healthseg.reports.pages.common import CUSTOMER_ABOUT, actions_section
from healthseg.reports.spec import (
    Block,
    Card,
    Cell,
    Chart,
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
    cause = "{likely_cause:prose}" if day["likely_cause"] else ""
    return f"{cause or 'unknown'}: find out" if day["action_required"] else cause


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
        "People are most active at {temporal_patterns.peak_activity_hours:list}: a good time to reach them"
        if temporal.peak_activity_hours
        else "",
        "" if peaks else "No day or hour is a significant peak",
        "Little happens on {temporal_patterns.low_activity_periods:lower_list}"
        if temporal.low_activity_periods
        else "",
    )


def activity(patterns: EngagementPatterns) -> tuple[Block, ...]:
    return (
        Missing("The hours of activity", "temporal_patterns"),
        *(
            ()
            if "$.temporal_patterns.peak_activity_days" in patterns.not_measured
            else (Chart("week", needs="temporal_patterns"),)
        ),
    )


def unusual(patterns: EngagementPatterns) -> tuple[Block, ...]:
    if patterns.anomalies is None:
        return (Missing("Unusual days", "anomalies"),)
    return (UNUSUAL,) if patterns.anomalies else (Note(("No day was unusual",)),)


def _others(patterns: EngagementPatterns) -> tuple[Block, ...]:
    """Orders, bundles, messages and tickets that hold up at this customer; hours have a picture of their own."""
    return (
        Points(
            "identified_patterns",
            brief,
            "{pattern_name}",
            where=is_other,
            sort=lambda pattern: -pattern["evidence"]["lift"],
            empty="Nothing of its features, messages or tickets follows a pattern.",
        ),
    )


def is_other(pattern: Row) -> bool:
    return pattern["pattern_type"] not in ("temporal", "risk", "success")


def _is_shown(kind: str) -> Callable[[Row], bool]:
    return lambda row: bool(row["shown_by_customer"]) and row["kind"] == kind


COMPARED: dict[str, Text | Cell] = {
    "Its own figure": "figure:prose",
    "Retained customers that have it": "among_retained:percent",
    "Churned customers that had it": "among_churned:percent",
    "Churned in 90 days with it": "churned_with:percent",
    "Without it": "churned_without:percent",
}


def _different(patterns: EngagementPatterns) -> tuple[str, ...]:
    standing = patterns.standing
    if standing is None:
        return ()
    if patterns.is_new:
        return (
            "It is too new to compare: few users, features and seats in use are usual in the first weeks",
        )
    if not standing.warning_signs and standing.gave_notice:
        return ("Warning signs precede a notice: after it they are not evaluated",)
    if not standing.warning_signs:
        return ("It shows none of the warning signs that were tested",)
    alone = [row for row in patterns.behaviours or [] if row.shown_by_customer and row.significant]
    return (
        "It shows {standing.warning_signs:number warning sign}; retained customers show "
        "{standing.warning_signs_of_retained:number.1} on average",
        "Those that are marked announce churn by themselves"
        if alone
        else "None of them announces churn by itself in this portfolio: read them together, as reasons to ask",
    )


def _different_blocks(patterns: EngagementPatterns) -> tuple[Block, ...]:
    if patterns.is_new:
        return ()
    if patterns.behaviours is None:
        return (Missing("What precedes churn", "behaviours"),)
    name = Cell(
        lambda row: "{behaviour} (announces churn)" if row["significant"] else "{behaviour}",
        under="{advice:prose}",
    )
    return (
        Table(
            "behaviours",
            {"Warning sign, and what helps": name, **COMPARED},
            label="warning signs",
            where=_is_shown("risk"),
        ),
        Table(
            "behaviours",
            {
                "Strength, and what to make of it": Cell("behaviour", under="{advice:prose}"),
                **COMPARED,
            },
            label="strengths",
            where=_is_shown("success"),
        ),
        *(
            (Chart("risk", Table("risk_patterns", SIGNS, label="signs")),)
            if patterns.risk_patterns
            else ()
        ),
    )


def _customer_cards(patterns: EngagementPatterns) -> tuple[Card, ...]:
    unusual_days = Card(
        "Unusual days", "{anomalies:count?0}", "in {analysis_period.days:number day}"
    )
    if patterns.standing is None:
        return (unusual_days,)
    signs = (
        Card(
            "Warning signs",
            "{standing.warning_signs:number}",
            "{standing.warning_signs_of_retained:number.1} on average at retained customers",
        ),
        Card("Strengths", "{standing.strengths:number}", "signs of retention"),
    )
    gave_notice = patterns.standing.gave_notice
    ended = gave_notice and not patterns.standing.warning_signs
    likely = Card(
        "Churn in 90 days",
        "{standing.churn_probability:percent}",
        "portfolio’s median {standing.median_probability:percent}",
    )
    return (
        *(() if ended or patterns.is_new else signs),
        *(() if gave_notice or patterns.is_new else (likely,)),
        unusual_days,
    )


CUSTOMER = Page(
    tool="analyze_engagement_patterns",
    kind="Engagement patterns",
    summary="One customer's patterns: what it does differently from retained customers, what that "
    "means, what to do, when people are active and which days were unusual.",
    title="{analysis_scope.customer_name}",
    about=(CUSTOMER_ABOUT.replace("{client_id}", "{analysis_scope.client_id}"),),
    cards=_customer_cards,
    sections=(
        actions_section("actions", "usage", "breadth", "champion", "export"),
        Section(
            "different",
            "How does it differ from retained customers?",
            _different,
            _different_blocks,
        ),
        Section("particular", "Which habits does it have?", blocks=_others),
        Section("timing", "When are its users active?", timing, activity),
        Section("unusual", "Which days were unusual?", blocks=unusual),
    ),
    method=METHOD,
    method_facts=METHOD_FACTS,
)
