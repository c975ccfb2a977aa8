"""The page of the portfolio's engagement patterns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from healthseg.charts.formats import is_missing
from healthseg.reports.pages.common import FIRST_ACTIONS, NEXT_ACTIONS_SECTION, largest_first
from healthseg.reports.pages.patterns import (
    METHOD,
    METHOD_FACTS,
    SIGNS,
    activity,
    is_other,
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


SIGNS_LISTED, NAMED = 6, 3
READY_SHOWN = 8
# a sign is listed where this many times as many churned with it
TELLING = 1.5
# the kinds of patterns that other sections show
DRAWN_APART = ("temporal", "risk", "success")


def _likely(patterns: EngagementPatterns) -> bool:
    insights = patterns.predictive_insights
    return insights is not None and bool(insights.likely_churn_candidates)


def _portfolio_cards(patterns: EngagementPatterns) -> tuple[Card, ...]:
    over = "active in {analysis_period.days:number day}"
    cards = [Card("Customers", "{customers_analyzed:number}", over)]
    if patterns.predictive_insights is not None:
        cards = [
            Card(
                "Likely to churn",
                "{predictive_insights.likely_churn_candidates:number customer}",
                "{predictive_insights.churn_candidates_arr:brief_money} ARR; twice the average risk or more",
            ),
            Card(
                "Ready to expand",
                "{predictive_insights.likely_expansion_candidates:number customer}",
                "{predictive_insights.expansion_candidates_arr:brief_money} ARR; every condition is met",
            ),
        ]
    messages = patterns.communication_patterns
    if messages is not None and messages.detail["channels"]:
        best = "communication_patterns.detail.channels[0]"
        cards.append(
            Card(
                "Best channel",
                f"{{{best}.rate:percent}}",
                f"of contacts get a response: {{{best}.name:words}}",
            )
        )
    if patterns.user_personas:
        cards.append(
            Card("Personas", "{user_personas:count}", "of {persona_evidence.users:number user}")
        )
    return tuple(cards)


# -- what precedes churn, and who shows it ---------------------------------------------------------


def _names(sign: Row) -> str:
    """The first customers that show a sign, each with a link to its page."""
    return ", ".join(f"{{shown_by[{at}].name}}" for at in range(min(NAMED, len(sign["shown_by"]))))


SIGN_RATES: dict[str, Text | Cell] = {
    "Warning sign": "behaviour",
    "Churned in 90 days with it": Cell("churned_with:percent", bar=LARGEST),
    "Without it": "churned_without:percent",
    "Days before churn": "lead_days:number",
    "Have it now": "shown_now:number",
    "First of them, by expected churned ARR": _names,
}


def _is_telling(row: Row) -> bool:
    """Whether at least half as many customers again churned with the sign as without it, and somebody shows it."""
    more = (row["churned_with"] or 0) > TELLING * (row["churned_without"] or 0)
    return row["kind"] == "risk" and more and row["shown_now"] > 0


def _churn(patterns: EngagementPatterns) -> tuple[Block, ...]:
    if patterns.risk_patterns is None:
        return (Missing("What precedes churn", "risk_patterns"),)
    signs = Table(
        "behaviours",
        SIGN_RATES,
        label="signs",
        where=_is_telling,
        sort=lambda row: -row["churned_with"],
        limit=SIGNS_LISTED,
    )
    if not patterns.risk_patterns:
        return (signs,)
    return (
        Chart("risk", Table("risk_patterns", SIGNS, label="signs")),
        Chart("lead"),
        signs,
    )


def _churn_lead(patterns: EngagementPatterns) -> tuple[str, ...]:
    if patterns.risk_patterns is None:
        return ()
    insights = patterns.predictive_insights
    if patterns.risk_patterns:
        return (
            "{risk_patterns[0].pattern}: {risk_patterns[0].probability_of_churn:percent} churned within 90 days, "
            "{risk_patterns[0].base_rate:percent} without it",
            "The best time to act: {predictive_insights.optimal_intervention_timing}"
            if insights and insights.timing_days
            else "",
        )
    rows = patterns.behaviours or []
    telling = [at for at, row in enumerate(rows) if _is_telling(row.model_dump())]
    if not telling:
        return ("No sign of churn stands out: customers with and without each churned alike",)
    first = f"behaviours[{max(telling, key=lambda at: rows[at].churned_with or 0)}]"
    return (
        f"After “{{{first}.behaviour:lower}}” {{{first}.churned_with:percent}} churned within 90 days, "
        f"{{{first}.churned_without:percent}} without it: a reason to ask, not yet proof, since few customers churned",
    )


# -- who may churn or expand next ------------------------------------------------------------------


def _shown(customer: Row) -> str:
    others = len(customer["warnings"]) > 1
    return (
        "{warnings[0]}" + (" ({warnings:count} signs)" if others else "")
        if customer["warnings"]
        else ""
    )


CHURNING = Table(
    "frames.customers",
    {
        "Customer": "name",
        "Churn in 90 days": Cell("churn_probability:percent", bar=LARGEST),
        "Expected churned ARR": "expected_churned_arr:brief_money",
        "ARR": "arr:brief_money",
        "Shows": _shown,
        "Renewal": "renewal_on:day",
        "Manager": "csm_id:manager",
    },
    "May churn, the most expected churned ARR first",
    "customers",
    where=lambda customer: customer["likely_to_leave"] or customer["count"],
    sort=largest_first("expected_churned_arr"),
)


def _more(customer: Row) -> str:
    """What a customer may come to pay more, where its users will need more seats."""
    known = not is_missing(customer["potential"]) and customer["potential"] > 0
    return "{potential:brief_money}" if known else ""


READY = Table(
    "frames.customers",
    {
        "Customer": "name",
        "ARR": "arr:brief_money",
        "May pay more": _more,
        "Renewal": "renewal_on:day",
        "Manager": "csm_id:manager",
    },
    "Ready to expand, the most potential first",
    "customers",
    where=lambda customer: customer["ready_to_expand"],
    sort=largest_first("potential"),
    limit=READY_SHOWN,
)


NAMED_BEFORE = (
    "Of {predictive_insights.confidence_n:number customer} named as likely to churn on earlier dates, "
    "{predictive_insights.confidence_score:percent} did within 90 days"
)


def _likely_lead(patterns: EngagementPatterns) -> tuple[str, ...]:
    if not _likely(patterns):
        return ("No customer is twice as likely to churn as the average one",)
    insights = patterns.predictive_insights
    return (
        "{predictive_insights.likely_churn_candidates:number customer} with "
        "{predictive_insights.churn_candidates_arr:brief_money} ARR are at least twice as likely to churn as the average one",
        NAMED_BEFORE if insights and insights.confidence_n else "",
        "The signs that they show may be chance"
        + (
            ""
            if not patterns.risk_patterns
            else ", but for {risk_patterns:count} that held when tested"
        ),
    )


def _ready_lead(patterns: EngagementPatterns) -> tuple[str, ...]:
    insights = patterns.predictive_insights
    if not insights or not insights.likely_expansion_candidates:
        return ("No customer meets every condition of readiness",)
    return (
        "{predictive_insights.likely_expansion_candidates:number customer} with "
        "{predictive_insights.expansion_candidates_arr:brief_money} ARR meet every condition for a larger contract",
    )


# -- journeys, people, how to reach them -----------------------------------------------------------

JOURNEYS = Points(
    "feature_usage_patterns.sequential_adoption.gaps",
    "{customers:number customer} took these steps, each within {median_days:number day} as a rule; "
    "{unfinished_share:percent} of the {unfinished_of:number} that began stopped on the way, and may need the next step shown",
    "{sequence:path_words}",
)
BUNDLES = Points(
    "feature_usage_patterns.feature_bundles",
    "{support:number} of the {users_of_any:number customer} that use one of them use all ({co_usage_rate:percent}): "
    "show the other to those that do not",
    "{bundle:sum_words}",
    heading="Used together, by customers that had not churned before the window",
)


def _features_lead(patterns: EngagementPatterns) -> tuple[str, ...]:
    usage = patterns.feature_usage_patterns
    if usage is None:
        return ()
    gaps = usage.sequential_adoption.gaps
    first = "feature_usage_patterns.sequential_adoption.gaps[0]"
    if gaps and gaps[0].unfinished_share is not None:
        return (
            f"{{{first}.unfinished_share:percent}} of the {{{first}.unfinished_of:number customer}} that began the way "
            f"{{{first}.sequence:path_words}} stopped before its end",
        )
    return ("No order of adoption is more common than chance",)


def _features(patterns: EngagementPatterns) -> tuple[Block, ...]:
    usage = patterns.feature_usage_patterns
    if usage is None:
        return (Missing("Features", "feature_usage_patterns"),)
    return (JOURNEYS, *((Chart("gaps"),) if usage.sequential_adoption.gaps else ()), BUNDLES)


def _personas(patterns: EngagementPatterns) -> tuple[str, ...]:
    if not patterns.user_personas:
        evidence = patterns.persona_evidence
        return ("{persona_evidence.reason:sentence}",) if evidence and evidence.reason else ()
    return (
        "Users fall into {user_personas:count} groups by what they turn to; write to each about its own features, "
        "not about all of them",
    )


def _persona_blocks(patterns: EngagementPatterns) -> tuple[Block, ...]:
    if patterns.user_personas is None:
        return (Missing("Personas", "user_personas"),)
    return (Chart("personas"),) if patterns.user_personas else ()


def _opened(row: Row) -> str:
    """How many opened it, where that is more than responded: in person nothing is opened."""
    opened, rate = (round(row[name] or 0.0, 2) for name in ("opened_rate", "rate"))
    return "{opened_rate:percent}" if opened > rate else ""


def _messages(rows: str, heading: str, name: str) -> Table:
    return Table(
        f"communication_patterns.detail.{rows}",
        {
            name: "name:words",
            "Engaged within 7 days": Cell("rate:percent", bar=True),
            "Interval": "{lower:percent} to {upper:percent}",
            "Opened": _opened,
            "Sent": "sent:number",
        },
        heading,
        rows,
    )


def _reach_lead(patterns: EngagementPatterns) -> tuple[str, ...]:
    messages, times = patterns.communication_patterns, patterns.temporal_patterns
    channels = [] if messages is None else messages.detail["channels"]
    best, last = (
        "communication_patterns.detail.channels[0]",
        f"communication_patterns.detail.channels[{len(channels) - 1}]",
    )
    return (
        f"The {{{best}.name:words}} gets a response in {{{best}.rate:percent}} of contacts, {{{last}.name:words}} in {{{last}.rate:percent}}"
        if len(channels) > 1
        else "",
        "Most are active at {temporal_patterns.peak_activity_hours:list}"
        if times is not None and times.peak_activity_hours
        else "",
    )


def _topics(patterns: EngagementPatterns) -> tuple[str, ...]:
    """Which topics of tickets come back, and which follow another."""
    path, known = "support_patterns.common_issue_sequences", patterns.support_patterns
    pairs = [text.split(" → ") for text in (known and known.common_issue_sequences) or ()]
    again = [at for at, pair in enumerate(pairs) if len(pair) == 2 and pair[0] == pair[1]]
    other = [at for at, pair in enumerate(pairs) if len(set(pair)) > 1]
    return (
        f"The same topic often comes back: {', '.join(f'{{{path}[{at}]:first_step}}' for at in again)}"
        if again
        else "",
        f"One ticket often leads to another: {', '.join(f'{{{path}[{at}]:words}}' for at in other)}; cover the second topic "
        "when you respond to the first"
        if other
        else "",
    )


def _reach(patterns: EngagementPatterns) -> tuple[Block, ...]:
    missing = () if patterns.support_patterns else (Missing("Tickets", "support_patterns"),)
    week = Fold("When users are active, by weekday and hour", activity(patterns))
    tickets = (Note(_topics(patterns)), *missing, week)
    if patterns.communication_patterns is None:
        return (Missing("The response to messages", "communication_patterns"), *tickets)
    finer = (
        _messages("contents", "By content", "Content"),
        _messages("weekdays", "By weekday", "Weekday"),
    )
    return (
        _messages("channels", "", "Channel"),
        Fold("Response by content and weekday", finer),
        *tickets,
    )


# -- what else was tested --------------------------------------------------------------------------


def _whole(pattern: Row) -> str:
    """A pattern with its figures, and the groups in which it is the other way round."""
    groups = [
        f"{{within[{index}].group}} ({{within[{index}].lift:number.2}} ×)"
        for index, part in enumerate(pattern["within"])
        if part["reversed"]
    ]
    reversed_in = f". The opposite holds in {', '.join(groups)}" if groups else ""
    return with_figures(pattern) + reversed_in


def _worse_with(patterns: EngagementPatterns) -> bool:
    """Whether scores recovered significantly less often after an intervention."""
    rates = (patterns.pattern_transitions or {}).get("from_at_risk_to_healthy")
    return rates is not None and (rates.difference_upper or 0.0) < 0


def _helps(patterns: EngagementPatterns) -> tuple[str, ...]:
    path = "pattern_transitions.from_at_risk_to_healthy"
    if f"$.{path}.success_rate" in patterns.not_measured:
        return ()
    return (
        f"Of {{{path}.treated:number low score}} with an intervention in the first 30 days "
        f"{{{path}.success_rate:percent}} recovered, of similar ones without {{{path}.matched_success_rate:percent}}",
        f"The difference is {{{path}.difference:points.1 point}} ({{{path}.difference_lower:points.1}} to "
        f"{{{path}.difference_upper:points.1}})",
        "Managers step in where it looks worst, so this does not show that interventions harm"
        if _worse_with(patterns)
        else "",
    )


REJECTED = Table(
    "frames.rejected",
    {
        "Looked like a pattern": "name",
        "Factor": "lift:number.2",
        "Shown by": "support:number",
        "Of": "n:number",
        "Why it is not significant": "why:prose",
    },
    label="patterns",
)


def _tested(patterns: EngagementPatterns) -> tuple[Block, ...]:
    held = [each for each in patterns.identified_patterns if each.pattern_type not in DRAWN_APART]
    retained = Table(
        "success_patterns",
        {
            "Pattern": "pattern",
            "Retained 90 days with it": Cell("retention_with:percent", bar=True),
            "n": "n_with:number",
            "Without": "retention_without:percent",
            "n without": "n_without:number",
            "Correlation, adjusted": "correlation:number.2",
            "Hazard ratio at equal activity before": "{outcome.hazard_ratio:number.2} ({outcome.lower:number.2} to {outcome.upper:number.2})",
        },
        "What goes with retention",
        "patterns",
    )
    unusual_days = Fold("Unusual days", unusual(patterns))
    return (
        retained,
        *(
            (Fold("Patterns that hold, with their intervals", (Chart("patterns", HELD),)),)
            if held
            else ()
        ),
        *((unusual_days,) if patterns.anomalies else ()),
        Fold("All that was tested and may be chance", (REJECTED,)),
        Fold("Scores that recovered, with and without an intervention", (Note(_helps(patterns)),)),
    )


HELD = Table(
    "identified_patterns",
    {"Pattern": "pattern_name", "In figures": _whole},
    label="patterns",
    where=is_other,
)


PORTFOLIO = Page(
    tool="analyze_engagement_patterns",
    kind="Engagement patterns",
    summary="The portfolio's patterns: what precedes churn and who shows it, who may churn or expand next, "
    "which ways features are adopted, who the users are, when and how to reach them, and what else was tested.",
    title=lambda patterns: (
        "Patterns of {analysis_scope.segment_name}"
        if patterns.analysis_scope.segment_name
        else "The portfolio’s patterns"
    ),
    about=("As of {as_of:day}",),
    cards=_portfolio_cards,
    sections=(
        replace(NEXT_ACTIONS_SECTION, blocks=(FIRST_ACTIONS,)),
        Section("churn", "What precedes churn, and who shows it?", _churn_lead, _churn),
        Section("next", "Who may churn next?", _likely_lead, (CHURNING,)),
        Section("ready", "Who is ready to expand?", _ready_lead, (READY,)),
        Section(
            "features",
            "Which features are adopted one after the other, or together?",
            _features_lead,
            _features,
        ),
        Section("personas", "Who are the users?", _personas, _persona_blocks),
        Section("reach", "When and how are users best reached?", _reach_lead, _reach),
        Section(
            "tested",
            "What else was tested, and what may be chance?",
            (
                "{testing.behaviours_held:number} of {testing.behaviours:number} patterns of behaviour are more than chance; the others are here, so that "
                "nobody tries them again",
            ),
            _tested,
        ),
    ),
    method=METHOD,
    method_facts={
        **METHOD_FACTS,
        "Churned in the window": "{churned_in_window:number}",
        "Churned before": "{excluded.churned:number}",
    },
    sure=(
        "{testing.behaviours:number pattern} of behaviour were tested, with {testing.by_type.temporal:number} of hours and weekdays; "
        "of those shown at most one in twenty should be chance, and each shows again in later data",
        lambda patterns: NAMED_BEFORE if patterns.predictive_insights else "",
        lambda patterns: (
            "{persona_evidence.users:number user} with 20 events or more were placed in personas, "
            "{persona_evidence.not_clustered:number} did too little"
            if patterns.user_personas
            else ""
        ),
    ),
    portfolio=True,
)
