"""The page of the portfolio's patterns: what holds, what precedes leaving, who the users are, when and how to reach them."""

from __future__ import annotations

from typing import Any

from healthseg.charts import formats
from healthseg.reports.html import page
from healthseg.reports.html.page import (
    Card,
    Column,
    Html,
    figure,
    fold,
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
from healthseg.reports.pages.patterns import (
    RISK_COLUMNS,
    interval,
    method,
    pattern_line,
    risk_rows,
    unusual,
    when_in_words,
)
from healthseg.reports.portfolios import open_portfolio

__all__ = [
    "footer",
    "help_",
    "hold",
    "leaving",
    "method",
    "next_ones",
    "open_portfolio",
    "opening",
    "people",
    "reach",
    "rejected",
    "staying",
    "steps",
    "unusual",
]


SIGNS_SHOWN = 3


def opening(response: Any) -> Html:
    """The portfolio, as of when, the verdict, and its figures at a glance."""
    name = response.analysis_scope.segment_name
    title = f"Patterns of {name}" if name else "The portfolio’s patterns"
    return page.portfolio_opening(response, "Engagement patterns", title, _cards(response))


def _cards(response: Any) -> list[Card]:
    found = [
        Card(
            "Patterns that hold",
            formats.number(len(response.identified_patterns)),
            f"of {formats.number(response.testing.hypotheses)} tried",
        ),
        Card(
            "Customers",
            formats.number(response.customers_analyzed),
            f"in {response.analysis_period.days} days",
        ),
    ]
    ahead = response.predictive_insights
    if ahead is not None:
        right = (
            ""
            if ahead.confidence_score is None
            else (
                f"of past ones {formats.percent(ahead.confidence_score)} left (n = {ahead.confidence_n})"
            )
        )
        found.append(Card("Likely to leave", formats.number(ahead.likely_churn_candidates), right))
        found.append(
            Card(
                "Ready to expand",
                formats.number(ahead.likely_expansion_candidates),
                "by all six rules",
            )
        )
    if response.user_personas:
        found.append(
            Card("Personas", formats.number(len(response.user_personas)), _of_users(response))
        )
    return found


def _of_users(response: Any) -> str:
    return f"of {formats.number(response.persona_evidence.users)} users"


def hold(response: Any) -> Html:
    """What patterns hold, how strong, how sure?"""
    told = lines(pattern_line(one) + _reversed(one) for one in response.identified_patterns)
    lead = joined(
        f"{len(response.identified_patterns)} of {response.testing.hypotheses:,} that were tried hold",
        "each is beyond chance among all of them, found again on held-out time, and comes back in resamples",
    )
    return Html(
        paragraph(lead, "lead")
        + figure(response, "patterns")
        + fold("Each pattern in words", told),
        lead,
    )


def _reversed(one: Any) -> str:
    groups = [f"{safe(part.group)} ({part.lift:.2f} ×)" for part in one.within if part.reversed]
    return f" <b>The other way round</b> in {', '.join(groups)}." if groups else ""


def leaving(response: Any) -> Html:
    """What precedes leaving, and how early?"""
    if response.risk_patterns is None:
        return Html(missing("What precedes leaving", response.not_measured["$.risk_patterns"]))
    rows = table(risk_rows(response), RISK_COLUMNS, label="signs")
    ahead = response.predictive_insights
    lead = (
        f"Best moment to act: {ahead.optimal_intervention_timing}."
        if ahead and ahead.timing_days
        else ""
    )
    early = [
        f"<b>{safe(one.pattern)}</b>, often after: {safe('; '.join(one.early_warning_indicators).lower())}"
        for one in response.risk_patterns
        if one.early_warning_indicators
    ]
    return Html(
        (paragraph(lead, "lead") if lead else "")
        + figure(response, "risk", rows)
        + figure(response, "lead")
        + (fold("What is there already when a sign begins", lines(early)) if early else "")
        + "<h3>Who shows a sign now</h3>"
        + next_ones(response).markup
    )


def next_ones(response: Any) -> Html:
    """Who shows it now?"""
    rows = response.frame("customers").to_dict("records")
    if not rows:
        return Html(paragraph("Nobody shows a sign of leaving that stands.", "lead"))
    columns = [
        Column("name", "Customer", markup=lambda row: isolated(row["name"])),
        Column("count", "Signs", formats.number, True),
        Column("told", "Which"),
        Column("likely", "By the model"),
    ]
    labels = {one.pattern: one for one in response.risk_patterns or []}
    for row in rows:
        more = (
            f" and {len(row['signs']) - SIGNS_SHOWN} more"
            if len(row["signs"]) > SIGNS_SHOWN
            else ""
        )
        row["told"] = "; ".join(row["signs"][:SIGNS_SHOWN]) + more or None
        row["likely"] = (
            "likely to leave"
            if row["likely_to_leave"]
            else ("ready to expand" if row["ready_to_expand"] else None)
        )
    lead = f"{len(rows)} customers show one of {len(labels)} signs, or are candidates."
    return Html(paragraph(lead, "lead") + table(rows, columns, label="customers"), lead)


def staying(response: Any) -> Html:
    """What precedes staying?"""
    if response.success_patterns is None:
        return Html(missing("What precedes staying", response.not_measured["$.success_patterns"]))
    if not response.success_patterns:
        text = (
            "Nothing that was tried goes with staying beyond chance at equal size, tenure and tier."
        )
        return Html(paragraph(text, "lead"), text)
    columns = [
        Column("pattern", "What"),
        Column("retention_with", "Stayed 90 days with it", formats.percent, True),
        Column("n_with", "n", formats.number, True),
        Column("retention_without", "Without", formats.percent, True),
        Column("n_without", "n", formats.number, True),
        Column(
            "correlation", "Correlation, adjusted", lambda value: formats.number(value, 2), True
        ),
        Column("hazard", "Hazard ratio"),
    ]
    rows = [
        {
            **one.model_dump(),
            "hazard": f"{one.outcome.hazard_ratio:.2f} ({one.outcome.lower:.2f} to {one.outcome.upper:.2f})",
        }
        for one in response.success_patterns
    ]
    return Html(table(rows, columns, label="patterns"))


def steps(response: Any) -> Html:
    """Which features go together, and one after the other?"""
    usage = response.feature_usage_patterns
    if usage is None:
        return Html(missing("Features", response.not_measured["$.feature_usage_patterns"]))
    orders = [
        f"<b>{safe(' → '.join(formats.words(name) for name in one.sequence))}</b>: {one.customers} customers, half a "
        f"step within {one.median_days:.0f} days ({one.lower_quartile:.0f} to {one.upper_quartile:.0f}); "
        f"{formats.percent(one.unfinished_share)} of {one.unfinished_of} that began have not finished in time"
        for one in usage.sequential_adoption.gaps
    ]
    together = [
        f"<b>{safe(' + '.join(formats.words(name) for name in one.bundle))}</b>: {one.support} of {one.users_of_any} "
        f"that use any use all ({formats.percent(one.co_usage_rate)}), {one.lift:.1f} times what volume alone gives"
        for one in usage.feature_bundles
    ]
    body = (
        figure(response, "gaps") + lines(orders)
        if orders
        else paragraph("No order of adoption holds.", "lead")
    )
    return Html(body + (f"<h3>Used together</h3>{lines(together)}" if together else ""))


def people(response: Any) -> Html:
    """Who are the users?"""
    told = response.persona_evidence
    if response.user_personas is None:
        return Html(missing("Personas", response.not_measured["$.user_personas"]))
    if not response.user_personas:
        return Html(paragraph(joined(told.reason or "no personas"), "lead"))
    lead = joined(
        f"{formats.number(told.users)} users with 20 events or more fall into {len(response.user_personas)} groups by "
        "what they turn to",
        f"resampled users fall into the same ones (agreement {told.stability:.2f} of 1)",
        f"{formats.number(told.not_clustered)} did too little to be placed",
    )
    each = [
        f"<b>{safe(one.persona_name)}</b> ({one.percentage:.0f} %, {formats.number(one.users)}): "
        f"{safe('; '.join(one.characteristics))}"
        for one in response.user_personas
    ]
    return Html(
        paragraph(lead, "lead")
        + figure(response, "personas")
        + fold("Each persona in words", lines(each)),
        lead,
    )


def reach(response: Any) -> Html:
    """When and how to reach people?"""
    if response.temporal_patterns is None:
        week = missing("When they come", response.not_measured["$.temporal_patterns"])
    else:
        week = paragraph(when_in_words(response), "lead") + figure(response, "week")
    return Html(week + _messages(response) + _tickets(response))


def _messages(response: Any) -> str:
    found = response.communication_patterns
    if found is None:
        return missing(
            "How messages are answered", response.not_measured["$.communication_patterns"]
        )
    columns = [
        Column("name", "Name", formats.words),
        Column("rate", "Engaged within 7 days", formats.percent, True),
        Column("interval", "Interval", numeric=True),
        Column("opened_rate", "Opened", formats.percent, True),
        Column("sent", "Sent", formats.number, True),
    ]
    parts = []
    for key, heading in (
        ("channels", "By channel"),
        ("contents", "By content"),
        ("weekdays", "By weekday"),
    ):
        rows = [
            {**row, "interval": interval(row["lower"], row["upper"])}
            for row in found.detail.get(key, [])
        ]
        parts.append(table(rows, columns, caption=heading, label=key))
    return "<h3>How messages are answered</h3>" + "".join(parts)


def _tickets(response: Any) -> str:
    found = response.support_patterns
    if found is None:
        return missing("Tickets", response.not_measured["$.support_patterns"])
    names = found.common_issue_sequences or []
    told = joined(
        f"Resolution: {found.time_to_resolution_trends.lower()}"
        if found.time_to_resolution_trends
        else "",
        f"one after the other more often than by chance: {'; '.join(formats.words(name) for name in names)}"
        if names
        else "no topic follows another beyond chance",
    )
    return f"<h3>Tickets</h3>{paragraph(told, 'lead')}"


def help_(response: Any) -> Html:
    """Does what is done for low customers help?"""
    found = response.pattern_transitions["from_at_risk_to_healthy"]
    why = response.not_measured.get("$.pattern_transitions.from_at_risk_to_healthy.success_rate")
    if why:
        text = joined(f"Of {found.spells} spells under a score of 60 it can’t be told", why)
        return Html(paragraph(text, "lead") + _todo(response), text)
    lead = joined(
        f"{formats.percent(found.success_rate)} of {found.treated} low spells with an intervention in 30 days "
        f"recovered, {formats.percent(found.matched_success_rate)} of like ones without: a difference of "
        f"{100 * found.difference:+.0f} points ({100 * found.difference_lower:+.0f} to "
        f"{100 * found.difference_upper:+.0f})"
    )
    return Html(paragraph(lead, "lead") + _todo(response), lead)


def _todo(response: Any) -> str:
    columns = [
        Column("opportunity", "Opportunity"),
        Column("current_state", "Now"),
        Column("opportunity_state", "Then"),
        Column("potential_impact", "Impact, from history"),
        Column("effort", "Effort"),
        Column("priority", "Priority"),
    ]
    rows = [one.model_dump() for one in response.engagement_optimization]
    told = lines((prose(text) for text in response.recommended_actions), ordered=True)
    return table(rows, columns, label="opportunities") + (
        f"<h3>What to do</h3>{told}" if told else ""
    )


def rejected(response: Any) -> Html:
    """What was tried and did not hold?"""
    rows = response.frame("rejected").to_dict("records")
    if not rows:
        return Html(paragraph("Nothing else came near.", "lead"))
    columns = [
        Column("name", "Looked like a pattern"),
        Column("lift", "Factor", lambda value: formats.number(value, 2), True),
        Column("support", "Shown by", formats.number, True),
        Column("n", "Of", formats.number, True),
        Column("why", "Why it does not stand"),
    ]
    return Html(table(rows, columns, label="patterns"))
