"""The page of one customer's stage: a function for each question that its manager has."""

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
    "apart",
    "footer",
    "method",
    "next_stage",
    "open_portfolio",
    "opening",
    "to_do",
    "usual",
    "way",
]


def opening(response: Any) -> Html:
    """Who, as of when, and the verdict in a line."""
    return page.opening(
        response,
        "Lifecycle",
        response.customer_name,
        [page.customer_line(response)],
        _cards(response),
    )


def _cards(response: Any) -> list[Card]:
    if response.current_stage is None:
        return [
            Card(
                "Suggested by the data",
                formats.words(response.suggestion.stage) or formats.DASH,
                formats.sentence(response.suggestion.text),
            )
        ]
    place, health, progress = (
        response.position,
        response.stage_health,
        response.next_stage_criteria.progress,
    )
    since = f"since {formats.day(response.transition_date[:10])}"
    found = [Card("Stage", formats.sentence(formats.words(response.current_stage)), since)]
    found.append(
        Card("Days in it", formats.number(response.days_in_current_stage), _typical(health))
    )
    if place is not None:
        found.append(
            Card(
                "Still in it after so long",
                formats.percent(place.share_still_in),
                "stuck: nearly all have left by then"
                if place.stuck
                else "of all that came into it",
            )
        )
    if response.next_stage_criteria.target_stage:
        days = progress.estimated_days_to_transition
        coming = (
            "no estimate" if days is None else "due now" if days == 0 else f"in about {_days(days)}"
        )
        found.append(
            Card(
                f"Criteria of {formats.words(response.next_stage_criteria.target_stage)}",
                f"{progress.criteria_met} of {progress.criteria_total}",
                coming,
            )
        )
    least = health.minimum_health
    note = (
        ""
        if least is None
        else f"{formats.words(response.current_stage)} asks for {formats.number(least)}"
    )
    found.append(Card("Health score", formats.number(health.health_score), note))
    return found


def _days(count: float) -> str:
    return f"{formats.number(count)} day{'' if count == 1 else 's'}"


def _typical(health: Any) -> str:
    typical = health.current_stage_typical_duration_days
    if typical is None:
        return "too few customers to say what is usual"
    return (
        "half of all never leave it"
        if typical == "ongoing"
        else f"half of all leave by day {typical}"
    )


def usual(response: Any) -> Html:
    """Is it usual to be in this stage so long?"""
    if response.position is None:
        why = response.not_measured.get(
            "$.stage_health.current_stage_typical_duration_days", "no stage is recorded"
        )
        return Html(missing("What is usual", why), why)
    place, typical = response.position, response.stage_health.typical_duration
    between = typical.interval
    median = (
        ""
        if typical.median_days is None or between is None
        else (
            f"Half of the {formats.number(typical.n)} stays watched ended by day {formats.number(typical.median_days)} "
            f"({formats.percent(typical.interval_level)} interval {page.between(between.lower, between.upper)})"
        )
    )
    lead = joined(
        place.text or "",
        median,
        "This customer is stuck: no more than "
        f"{formats.percent(response.stuck_share)} are still in the stage after so long"
        if place.stuck
        else "",
    )
    columns = [
        Column("to", "To", formats.words),
        Column("share", "Of all that came in", formats.percent, True),
        Column("share_from_here", "Of those still here so long", formats.percent, True),
    ]
    rows = response.frame("doors").to_dict("records")
    return Html(
        paragraph(lead, "lead")
        + figure(response, "position")
        + figure(response, "doors", table(rows, columns, label="doors")),
        lead,
    )


def next_stage(response: Any) -> Html:
    """What is missing for the next stage?"""
    coming = response.next_stage_criteria
    allowed = joined(
        "From here it can go to " + ", ".join(formats.words(one) for one in coming.allowed_stages)
    )
    if coming.target_stage is None:
        why = joined(
            response.not_measured.get("$.next_stage_criteria.target_stage", "no way forward is set")
        )
        return Html(paragraph(why, "lead") + paragraph(allowed, "sub"), why)
    columns = [
        Column("text", "Criterion"),
        Column("met", "Met", markup=lambda row: safe(_met(row))),
        Column("value", "Now", markup=lambda row: safe(_value(row)), numeric=True),
        Column("since", "Holds since", markup=lambda row: safe(_since(row))),
    ]
    rows = [one.model_dump() for one in coming.criteria_detail]
    progress = coming.progress
    lead = joined(
        f"{progress.criteria_met} of {progress.criteria_total} criteria of "
        f"{formats.words(coming.target_stage)} are met",
        _estimate(progress),
    )
    why = response.not_measured.get(
        "$.next_stage_criteria.progress.estimated_days_to_transition", ""
    )
    return Html(
        paragraph(lead, "lead")
        + table(rows, columns, label="criteria")
        + (missing("When it may come", why) if why else "")
        + paragraph(allowed, "sub"),
        lead,
    )


def _met(row: Any) -> str:
    return "not measured" if row["met"] is None else "yes" if row["met"] else "not yet"


def _value(row: Any) -> str:
    if row["unit"] == "" and row["value"] in (0, 1):
        return "yes" if row["value"] else "no"
    return formats.quantity(row["value"], row["unit"])


def _since(row: Any) -> str:
    if row["since"] is None:
        return formats.DASH
    known = f"{formats.day(row['since'])}{' or earlier' if row['since_or_earlier'] else ''}"
    return known if row["met"] else f"{known}, needs {_days(row['days'])}"


def _estimate(progress: Any) -> str:
    days, between = progress.estimated_days_to_transition, progress.estimated_days_interval
    if days is None:
        return ""
    if days == 0:
        return "the move is due"
    return (
        f"It may come in about {_days(days)} ({formats.percent(progress.interval_level)} interval "
        f"{page.between(between.lower, between.upper)}): {progress.estimate_basis}"
    )


def way(response: Any) -> Html:
    """How did it get here?"""
    columns = [
        Column("stage", "Stage", formats.words),
        Column("start_date", "From", formats.day, True),
        Column("end_date", "Until", formats.day, True),
        Column("duration_days", "Days", formats.number, True),
        Column("visit", "Stay no.", formats.number, True),
    ]
    steps = [one.model_dump() for one in response.stage_progression]
    entries = [
        Column("effective_at", "Took effect", lambda value: formats.day(value[:10])),
        Column("stage", "Stage", formats.words),
        Column("recorded_at", "Known since", lambda value: formats.day(value[:10])),
        Column("actor", "By", formats.words),
        Column("reason", "Reason", formats.words),
    ]
    changes = [one.model_dump() for one in reversed(response.history)]
    if any(one["kind"] != "transition" for one in changes):
        entries.append(Column("kind", "Kind", formats.words))
    if not all(one["in_force"] for one in changes):
        entries.append(Column("in_force", "Stands", lambda value: "yes" if value else "replaced"))
    said = [
        f"{safe(formats.words(one.action))}: {safe(formats.words(one.status))}"
        + (f" ({prose(one.reason)})" if one.reason else "")
        for one in response.last_transition_actions
    ]
    actions = f"<h3>What the last move set off</h3>{lines(said)}" if said else ""
    log = (
        fold("Each change as it was entered", table(changes, entries, label="changes"))
        if changes
        else ""
    )
    return Html(figure(response, "timeline", table(steps, columns, label="stays")) + actions + log)


def apart(response: Any) -> Html:
    """Do contracts and usage say the same?"""
    hint = response.suggestion
    told = (
        f"The data alone would suggest {formats.words(hint.stage)}: {hint.text}"
        if hint.stage
        else f"The data alone suggest no stage: {hint.text}"
    )
    if not response.disagreements:
        calm = (
            "Nothing contradicts what is recorded"
            if response.current_stage
            else "No stage is recorded"
        )
        return Html(paragraph(joined(calm, told)))
    rows = [
        f"<b>{safe(formats.sentence(one.text))}</b><br><small>{safe(formats.sentence(one.kind))} suggests "
        f"{safe(formats.words(one.suggests))}, since {safe(formats.day(one.since))}</small>"
        for one in response.disagreements
    ]
    return Html(lines(rows) + paragraph(joined(told)))


def to_do(response: Any) -> Html:
    """What to do?"""
    return Html(page.advice(one.text for one in response.recommended_actions_detail))


def method(response: Any) -> Html:
    """How was this computed? Behind a fold."""
    return page.method(
        response,
        "A stay runs from one change of stage to the next; its last day is the day on which the next stage began, "
        "and is not counted",
        "What is usual is the share of stays that lasted so long, over the whole portfolio: stays that go on count with the "
        "time so far, stays that began before events were tracked count from then on (Kaplan–Meier with late entry)",
        "The doors compete: their shares and the share still in the stage add up to all (Aalen–Johansen)",
        "Criteria are rules over each day's figures, as they were known on that day",
        "Imported and recorded changes are one history; of two at one instant the later recorded one stands",
        pairs=[("As known at", response.known_at or ""), ("Stage from", response.stage_source)],
    )
