"""The page of the portfolio's engagement patterns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from healthseg.reports.pages.common import NEXT_ACTIONS_SECTION
from healthseg.reports.pages.patterns import (
    METHOD,
    METHOD_FACTS,
    SIGNS,
    activity,
    is_other,
    timing,
    unusual,
    with_figures,
)
from healthseg.reports.spec import (
    LARGEST,
    Block,
    Card,
    Cell,
    Chart,
    Fold,
    Heading,
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


SIGNS_SHOWN = 3
SIGNS_LISTED = 6
SIGNS_OF_ALL: dict[str, Text | Cell] = {
    "Of churned customers’ weeks": "among_leavers:percent",
    "Of retained customers’ weeks": "among_stayers:percent",
    "Have it now": "shown_now:number",
}


def _counted(patterns: EngagementPatterns) -> str:
    """Over how many days, and how many of them churned by their end."""
    over = "seen in {analysis_period.days:number day}"
    return (
        f"{over}; {{churned_in_window:number}} churned since"
        if patterns.churned_in_window
        else over
    )


def _about(patterns: EngagementPatterns) -> str:
    before = patterns.excluded.get("churned")
    return "As of {as_of:day}" + (
        " · not counted: {excluded.churned:number} that churned before" if before else ""
    )


def _portfolio_cards(patterns: EngagementPatterns) -> tuple[Card, ...]:
    cards = [
        Card(
            "Patterns of behaviour",
            "{testing.behaviours_held:number}",
            "of {testing.behaviours:number} tried hold up",
        ),
        Card("Customers", "{customers_analyzed:number}", _counted),
    ]
    if patterns.predictive_insights is not None:
        cards += [
            Card(
                "More likely to churn",
                "{predictive_insights.likely_churn_candidates:number}",
                "of {predictive_insights.confidence_n:number} named before, "
                "{predictive_insights.confidence_score:percent} churned in time",
            ),
            Card(
                "Ready to expand",
                "{predictive_insights.likely_expansion_candidates:number}",
                "all rules of readiness hold",
            ),
        ]
    if patterns.user_personas:
        note = "of {persona_evidence.users:number user}"
        cards.append(Card("Personas", "{user_personas:count}", note))
    return tuple(cards)


def _whole(pattern: Row) -> str:
    """A pattern with its figures, and the groups in which it is the other way round."""
    groups = [
        f"{{within[{index}].group}} ({{within[{index}].lift:number.2}} ×)"
        for index, part in enumerate(pattern["within"])
        if part["reversed"]
    ]
    reversed_in = f". The opposite holds in {', '.join(groups)}" if groups else ""
    return with_figures(pattern) + reversed_in


def _signs(customer: Row) -> str:
    shown = "; ".join(
        f"{{signs[{index}]}}" for index in range(min(SIGNS_SHOWN, len(customer["signs"])))
    )
    return shown + (
        "; and more: {signs:count} in all" if len(customer["signs"]) > SIGNS_SHOWN else ""
    )


def _only_ready(customer: Row) -> bool:
    """Whether it is listed since it is ready to expand, not for a sign or a likely churn."""
    return not customer["likely_to_leave"] and not customer["count"]


SIGN_RATES: dict[str, Text | Cell] = {
    "Warning sign": Cell("behaviour", under="{advice:prose}"),
    "Churned in 90 days with it": Cell("churned_with:percent", bar=LARGEST),
    "Without it": "churned_without:percent",
    "Retained customers": "among_retained:percent",
    "Have it now": "shown_now:number",
}


def _is_telling(row: Row) -> bool:
    """Whether more customers churned with the sign than without it."""
    return row["kind"] == "risk" and (row["churned_with"] or 0) > (row["churned_without"] or 0)


def _churn(patterns: EngagementPatterns) -> tuple[Block, ...]:
    if patterns.risk_patterns is None:
        return (Missing("What precedes churn", "risk_patterns"),)
    if not patterns.risk_patterns:
        return (
            Table(
                "behaviours",
                SIGN_RATES,
                "The signs after which most customers churned",
                "signs",
                where=_is_telling,
                limit=SIGNS_LISTED,
            ),
        )
    return (
        Chart("risk", Table("risk_patterns", {**SIGNS, **SIGNS_OF_ALL}, label="signs")),
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
    )


def _churn_lead(patterns: EngagementPatterns) -> tuple[str, ...]:
    if patterns.risk_patterns is None:
        return ()
    if not patterns.risk_patterns:
        return (
            "No single sign announces churn by more than chance; the nearest are below, as reasons to ask",
        )
    insights = patterns.predictive_insights
    if insights and insights.timing_days:
        return ("The best time to act: {predictive_insights.optimal_intervention_timing}",)
    return ()


MAY_CHURN = Table(
    "frames.customers",
    {
        "Customer": "name",
        "Signs": lambda row: "{count:number}" if row["count"] else "",
        "Which": _signs,
        "Churn in 90 days": "churn_probability:percent",
        "ARR": "arr:brief_money",
    },
    label="customers",
    where=lambda row: not _only_ready(row),
    empty="No customer is much more likely to churn than the average one.",
)
READY = Fold(
    "Ready to expand",
    (
        Table(
            "frames.customers",
            {
                "Customer": "name",
                "Churn in 90 days": "churn_probability:percent",
                "ARR": "arr:brief_money",
            },
            label="customers ready to expand",
            where=_only_ready,
            empty="No customer is ready to expand.",
        ),
    ),
)


def _next(patterns: EngagementPatterns) -> tuple[str, ...]:
    """How many customers the list has, and why they are on it."""
    if not len(patterns.frame("customers")):
        return ("No customer stands out",)
    named = (
        "By all figures together, {predictive_insights.likely_churn_candidates:number customer} are at least twice as "
        "likely to churn as the average one, and {predictive_insights.likely_expansion_candidates:number} are ready to "
        "expand",
        "Of {predictive_insights.confidence_n:number} named on earlier dates, "
        "{predictive_insights.confidence_score:percent} churned within 90 days",
    )
    if patterns.risk_patterns:
        return (
            "{frames.customers:count customer} show one of {risk_patterns:count sign}, or are named by the model",
            *named,
        )
    return named


def _retained(patterns: EngagementPatterns) -> tuple[Block, ...]:
    if patterns.success_patterns is None:
        return (Missing("What precedes retention", "success_patterns"),)
    if not patterns.success_patterns:
        text = "No habit that was tested goes with retention among customers of equal size, tenure and tier"
        return (Note((text,)),)
    return (
        Table(
            "success_patterns",
            {
                "Pattern": "pattern",
                "Retained 90 days with it": Cell("retention_with:percent", bar=True),
                "n": "n_with:number",
                "Without": "retention_without:percent",
                "n without": "n_without:number",
                "Correlation, adjusted": "correlation:number.2",
                "Hazard ratio at equal activity before": "{outcome.hazard_ratio:number.2} ({outcome.lower:number.2} to "
                "{outcome.upper:number.2})",
            },
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
            "{customers:number customer} adopted them in this order, each step in {median_days:number day} at the median; "
            "{unfinished_share:percent} of {unfinished_of:number} that began stopped on the way",
            "{sequence:path_words}",
        ),
    )
    together = Points(
        "feature_usage_patterns.feature_bundles",
        "{support:number} of the {users_of_any:number customer} that use one of them use all ({co_usage_rate:percent}), "
        "{lift:number.1} times as many as their activity alone explains",
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
        "{persona_evidence.not_clustered:number} did too little to be placed",
    )


def _persona_blocks(patterns: EngagementPatterns) -> tuple[Block, ...]:
    if patterns.user_personas is None:
        return (Missing("Personas", "user_personas"),)
    if not patterns.user_personas:
        return ()
    stable = Note(
        (
            "Resampled users fall into the same groups: agreement {persona_evidence.stability:number.2} (of 1)",
        )
    )
    words = Points(
        "user_personas",
        "{characteristics:steps}",
        "{persona_name} ({percentage:number}%, {users:number user})",
    )
    return (Fold("Each persona, and what it turns to", (words, stable, Chart("personas"))),)


def _messages(rows: str, heading: str) -> Table:
    return Table(
        f"communication_patterns.detail.{rows}",
        {
            "Name": "name:words",
            "Engaged within 7 days": Cell("rate:percent", bar=True),
            "Interval": "{lower:percent} to {upper:percent}",
            "Opened": "opened_rate:percent",
            "Sent": "sent:number",
        },
        heading,
        rows,
    )


def _tickets(patterns: EngagementPatterns) -> tuple[Block, ...]:
    support = patterns.support_patterns
    if support is None:
        return (Missing("Tickets", "support_patterns"),)
    topics = (
        "Topics that often follow each other: {support_patterns.common_issue_sequences:all_words}"
        if support.common_issue_sequences
        else "No topic significantly follows another"
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
    return (*activity(patterns), *messages, *_tickets(patterns))


def _worse_with(patterns: EngagementPatterns) -> bool:
    """Whether scores recovered significantly less often after an intervention."""
    rates = (patterns.pattern_transitions or {}).get("from_at_risk_to_healthy")
    return rates is not None and (rates.difference_upper or 0.0) < 0


def _helps(patterns: EngagementPatterns) -> tuple[str, ...]:
    path = "pattern_transitions.from_at_risk_to_healthy"
    why = f"$.{path}.success_rate"
    if why in patterns.not_measured:
        return (
            f"Of {{{path}.spells:number case}} under a score of 60 it is unknown",
            f'{{not_measured["{why}"]:reason}}',
        )
    return (
        f"When a score was low, it recovered in {{{path}.success_rate:percent.1}} of {{{path}.treated:number case}} with an "
        f"intervention in the first 30 days, and in {{{path}.matched_success_rate:percent.1}} of similar cases without one",
        f"The difference is {{{path}.difference:points.1 point}} ({{{path}.difference_lower:points.1}} to "
        f"{{{path}.difference_upper:points.1}}); managers step in where it looks worst, so it does not show that "
        "interventions harm"
        if _worse_with(patterns)
        else f"The difference is {{{path}.difference:points.1 point}} ({{{path}.difference_lower:points.1}} to "
        f"{{{path}.difference_upper:points.1}})",
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
    about=(_about,),
    cards=_portfolio_cards,
    sections=(
        NEXT_ACTIONS_SECTION,
        Section("churn", "What precedes churn?", _churn_lead, _churn),
        Section("next", "Which customers may churn or expand next?", _next, (MAY_CHURN, READY)),
        Section(
            "significant",
            "Which patterns of behaviour hold up?",
            (
                "{testing.behaviours_held:number} of {testing.behaviours:number} patterns that were tried are more than chance",
                "Hours and weekdays are shown below, as a picture",
            ),
            (
                Chart("patterns"),
                Fold(
                    "Each pattern in words",
                    (Points("identified_patterns", _whole, "{pattern_name}", where=is_other),),
                ),
                Fold(
                    "All that was tested and may be chance",
                    (
                        Table(
                            "frames.rejected",
                            {
                                "Looked like a pattern": "name",
                                "Factor": "lift:number.2",
                                "Shown by": "support:number",
                                "Of": "n:number",
                                "Why it is not significant": "why:prose",
                            },
                            label="patterns",
                        ),
                    ),
                ),
            ),
        ),
        Section("retention", "What do retained customers have in common?", blocks=_retained),
        Section(
            "features",
            "Which features go together?",
            blocks=_features,
        ),
        Section("personas", "Who are the users?", _personas, _persona_blocks),
        Section("reach", "When and how are users best reached?", timing, _reach),
        Section("unusual", "Which days were unusual?", blocks=unusual),
        Section(
            "interventions",
            "Does stepping in help customers with low scores?",
            _helps,
            (
                Table(
                    "engagement_optimization",
                    {
                        "Opportunity": Cell(
                            "opportunity", under="{effort:lower} effort, {priority:lower} priority"
                        ),
                        "Now": "current_state:prose",
                        "Then": "opportunity_state:prose",
                        "Impact, from history": "potential_impact:prose",
                    },
                    label="opportunities",
                ),
            ),
        ),
    ),
    method=METHOD,
    method_facts=METHOD_FACTS,
    sure=(
        "{testing.hypotheses:number pattern} were tested, and of those shown at most one in twenty should be chance; "
        "each shows again in later data",
    ),
    portfolio=True,
)
