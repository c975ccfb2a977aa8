"""The pages of engagement patterns: one customer's, and the whole portfolio's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from healthseg.reports.pages.common import CUSTOMER_ABOUT, portfolio_about
from healthseg.reports.spec import (
    Block,
    Card,
    Chart,
    Column,
    Fold,
    Heading,
    Missing,
    Note,
    Page,
    Points,
    Row,
    Section,
    Table,
)

if TYPE_CHECKING:
    from healthseg.tools.patterns.result import EngagementPatterns

SIGNS_SHOWN = 3
TRIED = "of {testing.hypotheses:number} tried"
METHOD = (
    "{testing.hypotheses:number pattern} were tried and are judged as one family: reported is what has a "
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


METHOD_FACTS = (
    ("Window", "{analysis_period.start_date:day} to before {analysis_period.end_date:day}"),
    ("Customers", "{customers_analyzed:number}"),
    ("Tried by type", _by_type),
)


def _whose(day: Row) -> str:
    name = "{customer_name}" if day["customer_name"] else "{client_id}"
    return name if day["customer_name"] or day["client_id"] else "the whole {scope}"


UNUSUAL = Table(
    "anomalies",
    (
        Column("Day", "date:day"),
        Column("Whose", _whose),
        Column("What", lambda day: "spike" if day["anomaly_type"] == "unusual_spike" else "dip"),
        Column("How much", "description:prose"),
        Column(
            "Likely cause",
            lambda day: (
                "{likely_cause:prose}"
                if day["likely_cause"]
                else "nothing in calendar, tickets or gaps"
            ),
        ),
        Column("To do", lambda day: "find out" if day["action_required"] else ""),
    ),
    label="unusual days",
)
SIGNS = (
    Column("Sign", "pattern"),
    Column("Churned in 90 days", "probability_of_churn:percent", bar=True),
    Column("Interval", "{probability_lower:percent} to {probability_upper:percent}"),
    Column("Without it", "base_rate:percent"),
    Column("Times seen", "n:number"),
    Column("Median days before", "lead_days:number"),
)
SIGNS_OF_ALL = (
    Column("Of churned customers’ weeks", "among_leavers:percent"),
    Column("Of retained customers’ weeks", "among_stayers:percent"),
    Column("Have it now", "shown_now:number"),
)


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
    seasons = "$.temporal_patterns.seasonal_trends"
    return (
        "Peaks: {temporal_patterns.peak_activity_days:list}" if temporal.peak_activity_days else "",
        "Peak hours: {temporal_patterns.peak_activity_hours:list}"
        if temporal.peak_activity_hours
        else "",
        "" if peaks else "No day or hour is a peak beyond chance",
        "Low activity: {temporal_patterns.low_activity_periods:list}"
        if temporal.low_activity_periods
        else "",
        "Usage is {temporal_patterns.detail.trend.direction} "
        "({temporal_patterns.detail.trend.weekly_growth_rate:signed_percent.1} a week)",
        "Seasons: {temporal_patterns.seasonal_trends:lower}"
        if temporal.seasonal_trends
        else f'Seasons: {{not_measured["{seasons}"]}}'
        if seasons in patterns.not_measured
        else "",
    )


def _when(patterns: EngagementPatterns) -> tuple[Block, ...]:
    return (
        Missing("The hours of activity", "temporal_patterns"),
        Chart("week", needs="temporal_patterns"),
    )


def _unusual(patterns: EngagementPatterns) -> tuple[Block, ...]:
    if patterns.anomalies is None:
        return (Missing("Unusual days", "anomalies"),)
    return (UNUSUAL,) if patterns.anomalies else (Note(("No day was unusual",)),)


# -- one customer ---------------------------------------------------------------------------------


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
                    "It shows none of the portfolio’s patterns, and none of its own beyond chance",
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
        Section("timing", "When are people active?", timing, _when),
        Section("unusual", "What was unusual, and did all customers see it?", blocks=_unusual),
        Section("actions", "What to do?", blocks=_customer_actions),
    ),
    method=METHOD,
    method_facts=METHOD_FACTS,
)


# -- the portfolio --------------------------------------------------------------------------------


def _portfolio_cards(patterns: EngagementPatterns) -> tuple[Card, ...]:
    cards = [
        Card("Significant patterns", "{identified_patterns:count}", TRIED),
        Card("Customers", "{customers_analyzed:number}", "in {analysis_period.days:number day}"),
    ]
    if patterns.predictive_insights is not None:
        cards += [
            Card(
                "Likely to churn",
                "{predictive_insights.likely_churn_candidates:number}",
                "of past ones {predictive_insights.confidence_score:percent} churned "
                "(n = {predictive_insights.confidence_n:number})",
            ),
            Card(
                "Ready to expand",
                "{predictive_insights.likely_expansion_candidates:number}",
                "by all six rules",
            ),
        ]
    if patterns.user_personas:
        note = "of {persona_evidence.users:number user}"
        cards.append(Card("Personas", "{user_personas:count}", note))
    return tuple(cards)


def _whole(pattern: Row) -> str:
    """A pattern with its figures, and the groups in which it is the other way round."""
    groups = [
        f"{{within[{place}].group}} ({{within[{place}].lift:number.2}} ×)"
        for place, part in enumerate(pattern["within"])
        if part["reversed"]
    ]
    reversed_in = f". The opposite holds in {', '.join(groups)}" if groups else ""
    return with_figures(pattern) + reversed_in


def _signs(customer: Row) -> str:
    shown = "; ".join(
        f"{{signs[{place}]}}" for place in range(min(SIGNS_SHOWN, len(customer["signs"])))
    )
    return shown + (
        "; and more: {signs:count} in all" if len(customer["signs"]) > SIGNS_SHOWN else ""
    )


def _likely(customer: Row) -> str:
    if customer["likely_to_leave"]:
        return "likely to churn"
    return "ready to expand" if customer["ready_to_expand"] else ""


def _churn(patterns: EngagementPatterns) -> tuple[Block, ...]:
    if patterns.risk_patterns is None:
        return (Missing("What precedes churn", "risk_patterns"),)
    some = len(patterns.frame("customers")) > 0
    return (
        Chart("risk", Table("risk_patterns", (*SIGNS, *SIGNS_OF_ALL), label="signs")),
        Chart("lead"),
        Fold(
            "Early warnings: what is there when a sign begins",
            (
                Points(
                    "risk_patterns",
                    "often after {early_warning_indicators:steps}",
                    "{pattern}",
                    where=lambda risk: risk["early_warning_indicators"],
                ),
            ),
        ),
        Heading("Which customers show a sign now"),
        Note(
            (
                "{frames.customers:count customer} show one of {risk_patterns:count sign}, or are "
                "candidates"
                if some
                else "No customer shows a significant sign of churn",
            )
        ),
        Table(
            "frames.customers",
            (
                Column("Customer", "name"),
                Column("Signs", "count:number"),
                Column("Which", _signs),
                Column("By the model", _likely),
            ),
            label="customers",
        ),
    )


def _retained(patterns: EngagementPatterns) -> tuple[Block, ...]:
    if patterns.success_patterns is None:
        return (Missing("What precedes retention", "success_patterns"),)
    if not patterns.success_patterns:
        text = "Nothing that was tried goes with retention beyond chance at equal size, tenure and tier"
        return (Note((text,)),)
    return (
        Table(
            "success_patterns",
            (
                Column("Pattern", "pattern"),
                Column("Retained 90 days with it", "retention_with:percent", bar=True),
                Column("n", "n_with:number"),
                Column("Without", "retention_without:percent"),
                Column("n without", "n_without:number"),
                Column("Correlation, adjusted", "correlation:number.2"),
                Column(
                    "Hazard ratio",
                    "{outcome.hazard_ratio:number.2} ({outcome.lower:number.2} to "
                    "{outcome.upper:number.2})",
                ),
            ),
            label="patterns",
        ),
    )


def _features(patterns: EngagementPatterns) -> tuple[Block, ...]:
    usage = patterns.feature_usage_patterns
    if usage is None:
        return (Missing("Features", "feature_usage_patterns"),)
    orders = (
        Chart("gaps"),
        Points(
            "feature_usage_patterns.sequential_adoption.gaps",
            "{customers:number customer}, half a step within {median_days:number day} "
            "({lower_quartile:number} to {upper_quartile:number}); {unfinished_share:percent} of "
            "{unfinished_of:number} that began have not finished in time",
            "{sequence:path_words}",
        ),
    )
    together = Points(
        "feature_usage_patterns.feature_bundles",
        "{support:number} of {users_of_any:number} that use any use all ({co_usage_rate:percent}), "
        "{lift:number.1} times what volume alone explains",
        "{bundle:sum_words}",
        heading="Used together",
    )
    if not usage.sequential_adoption.gaps:
        return Note(("No order of adoption is significant",)), together
    return (*orders, together)


def _personas(patterns: EngagementPatterns) -> tuple[str, ...]:
    if patterns.user_personas is None:
        return ()
    if not patterns.user_personas:
        return (
            "{persona_evidence.reason:sentence}"
            if patterns.persona_evidence and patterns.persona_evidence.reason
            else "No personas",
        )
    return (
        "{persona_evidence.users:number user} with 20 events or more fall into "
        "{user_personas:count group} by the features that they prefer",
        "Resampled users fall into the same ones (agreement {persona_evidence.stability:number.2} of 1)",
        "{persona_evidence.not_clustered:number} did too little to be placed",
    )


def _persona_blocks(patterns: EngagementPatterns) -> tuple[Block, ...]:
    if patterns.user_personas is None:
        return (Missing("Personas", "user_personas"),)
    if not patterns.user_personas:
        return ()
    words = Points(
        "user_personas",
        "{characteristics:steps}",
        "{persona_name} ({percentage:number} %, {users:number user})",
    )
    return Chart("personas"), Fold("Each persona in words", (words,))


def _messages(rows: str, heading: str) -> Table:
    return Table(
        f"communication_patterns.detail.{rows}",
        (
            Column("Name", "name:words"),
            Column("Engaged within 7 days", "rate:percent", bar=True),
            Column("Interval", "{lower:percent} to {upper:percent}"),
            Column("Opened", "opened_rate:percent"),
            Column("Sent", "sent:number"),
        ),
        heading,
        rows,
    )


def _tickets(patterns: EngagementPatterns) -> tuple[Block, ...]:
    support = patterns.support_patterns
    if support is None:
        return (Missing("Tickets", "support_patterns"),)
    topics = (
        "One after the other more often than by chance: "
        "{support_patterns.common_issue_sequences:all_words}"
        if support.common_issue_sequences
        else "No topic follows another beyond chance"
    )
    trend = "Resolution: {support_patterns.time_to_resolution_trends:lower}"
    return Heading("Tickets"), Note((trend, topics))


def _reach(patterns: EngagementPatterns) -> tuple[Block, ...]:
    messages: tuple[Block, ...] = (Missing("The response to messages", "communication_patterns"),)
    if patterns.communication_patterns is not None:
        messages = (
            Heading("How customers respond to messages"),
            _messages("channels", "By channel"),
            _messages("contents", "By content"),
            _messages("weekdays", "By weekday"),
        )
    return (*_when(patterns), *messages, *_tickets(patterns))


def _helps(patterns: EngagementPatterns) -> tuple[str, ...]:
    path = "pattern_transitions.from_at_risk_to_healthy"
    why = f"$.{path}.success_rate"
    if why in patterns.not_measured:
        return (
            f"Of {{{path}.spells:number spell}} under a score of 60 it is unknown",
            f'{{not_measured["{why}"]:sentence}}',
        )
    return (
        f"{{{path}.success_rate:percent}} of {{{path}.treated:number low spell}} with an intervention in "
        f"30 days recovered, {{{path}.matched_success_rate:percent}} of similar ones without: a "
        f"difference of {{{path}.difference:signed_percent}} ({{{path}.difference_lower:signed_percent}} "
        f"to {{{path}.difference_upper:signed_percent}})",
    )


PORTFOLIO = Page(
    tool="analyze_engagement_patterns",
    kind="Engagement patterns",
    summary="The portfolio's patterns: what is significant, what precedes churn and retention, which "
    "features go together, who the users are, when and how to reach them, and what was not significant.",
    title=lambda patterns: (
        "Patterns of {analysis_scope.segment_name}"
        if patterns.analysis_scope.segment_name
        else "The portfolio’s patterns"
    ),
    about=(portfolio_about,),
    cards=_portfolio_cards,
    sections=(
        Section(
            "significant",
            "Which patterns are significant, how strong, how sure?",
            (
                "{identified_patterns:count} of {testing.hypotheses:number} that were tried are "
                "significant",
                "Each is beyond chance among all of them, recurs on held-out time, and recurs in "
                "resamples",
            ),
            (
                Chart("patterns"),
                Fold(
                    "Each pattern in words",
                    (Points("identified_patterns", _whole, "{pattern_name}"),),
                ),
            ),
        ),
        Section(
            "churn",
            "What precedes churn, and how early?",
            lambda patterns: (
                ("Best time to act: {predictive_insights.optimal_intervention_timing}",)
                if patterns.risk_patterns is not None
                and patterns.predictive_insights
                and patterns.predictive_insights.timing_days
                else ()
            ),
            _churn,
        ),
        Section("retention", "What precedes retention?", blocks=_retained),
        Section(
            "features", "Which features go together, and one after the other?", blocks=_features
        ),
        Section("personas", "Who are the users?", _personas, _persona_blocks),
        Section("reach", "When and how to reach people?", timing, _reach),
        Section("unusual", "What was unusual, and did all customers see it?", blocks=_unusual),
        Section(
            "interventions",
            "Do interventions at customers with low scores help?",
            _helps,
            (
                Table(
                    "engagement_optimization",
                    (
                        Column("Opportunity", "opportunity"),
                        Column("Now", "current_state:prose"),
                        Column("Then", "opportunity_state:prose"),
                        Column("Impact, from history", "potential_impact:prose"),
                        Column("Effort", "effort"),
                        Column("Priority", "priority"),
                    ),
                    label="opportunities",
                ),
                Points(
                    "recommended_actions",
                    "{page_item:prose}",
                    ordered=True,
                    heading="What to do",
                ),
            ),
        ),
        Section(
            "not_significant",
            "What was tried and is not significant?",
            lambda patterns: () if len(patterns.frame("rejected")) else ("Nothing else came near",),
            (
                Table(
                    "frames.rejected",
                    (
                        Column("Looked like a pattern", "name"),
                        Column("Factor", "lift:number.2"),
                        Column("Shown by", "support:number"),
                        Column("Of", "n:number"),
                        Column("Why it is not significant", "why:prose"),
                    ),
                    label="patterns",
                ),
            ),
        ),
    ),
    method=METHOD,
    method_facts=METHOD_FACTS,
    portfolio=True,
)
