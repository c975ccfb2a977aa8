"""The page of one customer's segment: a function for each question that its reader has."""

from __future__ import annotations

from typing import Any

from healthseg.charts import formats
from healthseg.reports.html import page
from healthseg.reports.html.page import (
    Card,
    Html,
    figure,
    footer,
    joined,
    lines,
    missing,
    paragraph,
    prose,
    safe,
)
from healthseg.reports.pages import segments_portfolio
from healthseg.reports.portfolios import open_portfolio

__all__ = [
    "before",
    "footer",
    "method",
    "next_segment",
    "open_portfolio",
    "opening",
    "stands",
    "works",
]


def opening(response: Any) -> Html:
    """Who, as of when, and the verdict in a line."""
    here = response.customer_standing
    if here is None:
        return segments_portfolio.opening(response)
    line = f"As of {formats.day(response.as_of)} · {safe(here.client_id)}"
    return page.opening(response, "Segment", here.name, [line], _cards(response, here))


def _cards(response: Any, here: Any) -> list[Card]:
    own = response.segment(here.segment_id)
    found = [
        Card(
            "Segment",
            here.segment_name if len(here.segment_name) <= 22 else f"{here.segment_name[:21]}…",
            f"{formats.number(own.customer_count)} customers, {own.percentage_of_total:.0f} % of the portfolio",
        ),
        Card(
            "Score",
            formats.number(here.score),
            f"trend {here.trend}" if here.trend else "no trend yet",
        ),
        Card("ARR", formats.brief_money(here.arr, response.currency), "a year"),
    ]
    if here.certainty is not None:
        found.append(Card("Certainty", formats.percent(here.certainty), "that it belongs here"))
    if here.border is not None and here.next_segment:
        found.append(Card("To the next segment", _distance(here), here.next_segment))
    return found


def _distance(here: Any) -> str:
    unit = " points" if here.metric == "score" else " sd" if here.metric is None else ""
    return f"{formats.number(here.border, 0 if here.metric in ('score', 'arr') else 2)}{unit}"


def stands(response: Any) -> Html:
    """Where does it stand, and why?"""
    here = response.customer_standing
    if here is None:
        return Html(missing("A customer's place", "no client_id was given"))
    own = response.segment(here.segment_id)
    lead = joined(
        f"{own.segment_name}: {own.segment_description}",
        f"Not placed: {here.reason}" if here.reason else "",
    )
    why = [text for text in here.why if own.segment_description not in text]
    if not here.reason and len(why) < len(here.why):
        said = (
            text.replace(f" ({own.segment_description})", "")
            for text in here.why
            if text not in why
        )
        lead = joined(*said, lead)
    apart = lines(prose(text) for text in own.set_apart_by)
    more = f"<h3>What sets this segment apart</h3>{apart}" if apart else ""
    return Html(
        paragraph(lead, "lead")
        + lines(prose(text) for text in why)
        + figure(response, "standing")
        + more,
        lead,
    )


def next_segment(response: Any) -> Html:
    """What would move it?"""
    here = response.customer_standing
    if here is None or not here.what_would_move_it:
        why = (
            "its segment has no neighbour in order"
            if here is not None
            else "no client_id was given"
        )
        if here is not None and here.next_segment:
            text = f"The next segment is {here.next_segment}, {here.border:.1f} standard deviations within segments away."
            return Html(paragraph(text, "lead"), text)
        return Html(missing("What would move it", why), why)
    return Html(lines(prose(text) for text in here.what_would_move_it))


def before(response: Any) -> Html:
    """Where was it before?"""
    here = response.customer_standing
    if here is None or here.since is None:
        return Html(
            missing(
                "Where it was before",
                response.not_measured.get("$.migration", "no client_id was given"),
            )
        )
    if here.before is None:
        text = f"It was no customer yet on {formats.day(here.since)}."
    elif here.before == here.segment_name:
        text = f"In the same segment as on {formats.day(here.since)}."
    else:
        text = f"On {formats.day(here.since)} it was in {here.before}; now it is in {here.segment_name}."
    noise = response.migration.noise if response.migration else None
    told = (
        ""
        if noise is None
        else (
            f" In the whole portfolio {response.migration.moved} customers moved; {noise.expected_moves:.0f} "
            f"({100 * noise.level:.0f} % interval {noise.lower:.0f} to {noise.upper:.0f}) would have by the error of "
            f"measurement alone."
        )
    )
    return Html(paragraph(text + told, "lead"), text)


def works(response: Any) -> Html:
    """What works for such customers?"""
    here = response.customer_standing
    if here is None:
        return Html(missing("What works for such customers", "no client_id was given"))
    own = response.segment(here.segment_id)
    if own.recommended_engagement_strategy is None:
        return Html(missing("What works for such customers", "not requested"))
    lead = f"For all {formats.number(own.customer_count)} customers of {own.segment_name}, this one among them."
    return Html(paragraph(lead, "lead") + segments_portfolio.advice_of(own, response), lead)


def method(response: Any) -> Html:
    """How was this computed? Behind a fold."""
    return segments_portfolio.method(response)
