"""The page of one customer's patterns: what is particular, compared with its own past and with the portfolio."""

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
    joined,
    lines,
    missing,
    paragraph,
    prose,
    safe,
    table,
)
from healthseg.reports.portfolios import open_portfolio

__all__ = [
    "actions",
    "follows",
    "footer",
    "method",
    "open_portfolio",
    "opening",
    "particular",
    "unusual",
    "when",
]


def opening(response: Any) -> Html:
    """Who, as of when, and the verdict in a line."""
    name = response.analysis_scope.customer_name
    return page.opening(
        response, "Engagement patterns", name, [page.customer_line(response)], _cards(response)
    )


def _cards(response: Any) -> list[Card]:
    risks, unusual = response.risk_patterns or [], response.anomalies or []
    own = [one for one in unusual if one.client_id]
    return [
        Card("Patterns shown", formats.number(len(response.identified_patterns)), _tried(response)),
        Card("Signs of leaving", formats.number(len(risks)), "shown on the last weekly date"),
        Card("Unusual days", formats.number(len(own)), f"in {response.analysis_period.days} days"),
    ]


def _tried(response: Any) -> str:
    return f"of {formats.number(response.testing.hypotheses)} tried"


def particular(response: Any) -> Html:
    """What is particular about this customer?"""
    if not response.identified_patterns:
        text = "It shows none of the patterns that hold in the portfolio, and none of its own beyond chance."
        return Html(paragraph(text, "lead"), text)
    lead = "What it shows of the patterns that hold in the portfolio, the strongest first, and what holds within it."
    shown = sorted(
        response.identified_patterns,
        key=lambda one: (one.pattern_type == "temporal", -one.evidence.lift),
    )
    figures = fold("Each with its figures", lines(pattern_line(one) for one in shown))
    return Html(paragraph(lead, "lead") + lines(_brief(one) for one in shown) + figures, lead)


def _brief(one: Any) -> str:
    """A pattern in the words of a reader who has to act on it."""
    known = one.evidence
    says = one.description
    if one.pattern_type in ("risk", "success"):
        rates = [
            formats.percent(rate, 1) for rate in (known.base_rate * known.lift, known.base_rate)
        ]
        says = f"{rates[0]} of those who show it left within a month, {rates[1]} of the others"
    elif one.pattern_type == "temporal":
        usual = "day" if one.key.startswith("day:") else "hour"
        share = (
            f"{known.lift:.1f} times" if known.lift >= 1 else f"{formats.percent(known.lift)} of"
        )
        says = f"{share} the use of a usual {usual}"
    advice = (
        f" {prose(formats.sentence(one.actionable_insight))}." if one.actionable_insight else ""
    )
    return f"<b>{safe(one.pattern_name)}</b>: {prose(says)}.{advice}"


def pattern_line(one: Any) -> str:
    """A pattern with its figures, and what may be done."""
    sure = f"comes back in {formats.percent(one.confidence)} of resamples"
    advice = (
        f" {prose(formats.sentence(one.actionable_insight))}." if one.actionable_insight else ""
    )
    return f"<b>{safe(one.pattern_name)}</b>: {prose(one.description)}; {sure}.{advice}"


def follows(response: Any) -> Html:
    """What usually follows?"""
    if response.risk_patterns is None:
        return Html(missing("What follows", response.not_measured["$.risk_patterns"]))
    if not response.risk_patterns:
        text = "It shows no sign that precedes leaving in this portfolio."
        return Html(paragraph(text, "lead"), text)
    lead = joined(
        "Of other customers that showed the same", "the rate is of those who left or gave notice"
    )
    return Html(
        paragraph(lead, "lead")
        + figure(response, "risk", table(risk_rows(response), RISK_COLUMNS[:6])),
        lead,
    )


def risk_rows(response: Any) -> list[dict[str, Any]]:
    return [
        {
            **one.model_dump(),
            "interval": interval(one.probability_lower, one.probability_upper),
            "lead": None if one.lead_days is None else f"{one.lead_days:.0f}",
        }
        for one in response.risk_patterns
    ]


def interval(lower: float | None, upper: float | None) -> str | None:
    if lower is None or upper is None:
        return None
    return f"{formats.percent(lower)} to {formats.percent(upper)}"


RISK_COLUMNS = [
    Column("pattern", "Sign"),
    Column("probability_of_churn", "Lost in 90 days", formats.percent, True),
    Column("interval", "Interval", numeric=True),
    Column("base_rate", "Without it", formats.percent, True),
    Column("n", "Times seen", formats.number, True),
    Column("lead", "Median days before", numeric=True),
    Column("among_leavers", "Of leavers’ weeks", formats.percent, True),
    Column("among_stayers", "Of stayers’ weeks", formats.percent, True),
    Column("shown_now", "Show it now", formats.number, True),
]


def when(response: Any) -> Html:
    """When do they come?"""
    found = response.temporal_patterns
    if found is None:
        return Html(missing("When they come", response.not_measured["$.temporal_patterns"]))
    lead = when_in_words(response)
    return Html(paragraph(lead, "lead") + figure(response, "week"), lead)


def when_in_words(response: Any) -> str:
    found = response.temporal_patterns
    why = response.not_measured.get("$.temporal_patterns.peak_activity_days")
    if why:
        return joined(f"Peaks can’t be told: {why}")
    peaks = [*(found.peak_activity_days or []), *(found.peak_activity_hours or [])]
    lows = found.low_activity_periods or []
    trend = found.detail["trend"]
    return joined(
        f"Peaks: {', '.join(peaks)}" if peaks else "No day or hour stands out beyond chance",
        f"little happens on {', '.join(_named(one) for one in lows)}" if lows else "",
        f"usage is {trend['direction']} ({formats.signed(100 * trend['weekly_growth_rate'], 1)} % a week)"
        if trend
        else "",
        f"seasons: {found.seasonal_trends or response.not_measured.get('$.temporal_patterns.seasonal_trends', '')}",
    )


def _named(period: str) -> str:
    """A period within a sentence: the days' names stay large.

    >>> _named("Weekends"), _named("Sunday afternoon")
    ('weekends', 'Sunday afternoon')
    """
    return period if period.split()[0].endswith("day") else period.lower()


def unusual(response: Any) -> Html:
    """What was unusual, and did everyone see it?"""
    if response.anomalies is None:
        return Html(missing("Unusual days", response.not_measured["$.anomalies"]))
    if not response.anomalies:
        text = "No day stood out of the usual weeks."
        return Html(paragraph(text, "lead"), text)
    return Html(table(anomaly_rows(response), ANOMALY_COLUMNS, label="unusual days"))


def anomaly_rows(response: Any) -> list[dict[str, Any]]:
    return [
        {
            **one.model_dump(),
            "kind": "spike" if one.anomaly_type == "unusual_spike" else "dip",
            "whose": one.customer_name or one.client_id or f"the whole {one.scope}",
            "cause": one.likely_cause or "nothing in calendar, tickets or gaps",
            "todo": "find out" if one.action_required else None,
        }
        for one in response.anomalies
    ]


ANOMALY_COLUMNS = [
    Column("date", "Day", formats.day),
    Column("whose", "Whose"),
    Column("kind", "What"),
    Column("description", "How much"),
    Column("cause", "Likely cause"),
    Column("todo", "To do"),
]


def actions(response: Any) -> Html:
    """What to do?"""
    told = [prose(text) for text in response.recommended_actions]
    own = [
        prose(f"{one.pattern}: {one.recommended_intervention}")
        for one in response.risk_patterns or []
    ]
    found = list(dict.fromkeys([*told, *own]))
    if not found:
        return Html(paragraph("No rule asks for anything.", "lead"))
    return Html(lines(found, ordered=True))


def method(response: Any) -> Html:
    """How was this computed?"""
    testing = response.testing
    return page.method(
        response,
        f"{testing.hypotheses:,} patterns were tried and are judged as one family: reported is what has a "
        f"false-discovery q of at most {testing.max_q:g}, is found again on held-out time (p ≤ "
        f"{testing.held_out_max_p:g}), and comes back in {testing.min_pattern_confidence:.0%} of "
        f"{testing.resamples} resamples",
        "Confidence is that share of resamples",
        "Signs of leaving are asked at every month’s end of the portfolio’s history, at equal size, tenure, tier and "
        "quarter; what customers use also at equal activity, seats in use and share of other features",
        "A rate of leaving follows the first day of a spell of the sign; beside it stands that of the same dates "
        "without it",
        pairs=[
            (
                "Window",
                f"{response.analysis_period.start_date} to before {response.analysis_period.end_date}",
            ),
            ("Customers", formats.number(response.customers_analyzed)),
            (
                "Tried by type",
                "; ".join(f"{name} {count}" for name, count in testing.by_type.items()),
            ),
        ],
    )
