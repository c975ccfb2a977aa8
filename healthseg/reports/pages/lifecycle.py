"""The pages of lifecycle stages: one customer's, and the whole portfolio's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from healthseg.reports.pages.common import (
    CUSTOMER_ABOUT,
    actions_section,
)
from healthseg.reports.spec import (
    Block,
    Card,
    Cell,
    Chart,
    Columns,
    Fold,
    Missing,
    Note,
    Page,
    Points,
    Row,
    Section,
    Table,
)

if TYPE_CHECKING:
    from healthseg.tools.lifecycle.result import LifecycleStage

ACTIONS = actions_section("actions", "stage", "renewal", "exit")
TYPICAL = "stage_health.typical_duration"
NEXT = "next_stage_criteria"
DAYS_LEFT = f"{NEXT}.progress.estimated_days_to_transition"


# -- one customer ---------------------------------------------------------------------------------


def _customer_cards(customer: LifecycleStage) -> tuple[Card, ...]:
    if customer.current_stage is None:
        return (
            Card("Suggested by the data", "{suggestion.stage:Words}", "{suggestion.text:sentence}"),
        )
    cards = [
        Card("Stage", "{current_stage:Words}", "since {transition_date:day}"),
        Card("Days in the stage", "{days_in_current_stage:number}", _typical),
    ]
    if customer.position is not None:
        stuck = customer.position.stuck
        note = "stuck: nearly all were out by then" if stuck else "of all that entered it"
        cards.append(Card("Still in it on that day", "{position.share_still_in:percent}", note))
    if customer.next_stage_criteria.target_stage and not customer.notice:
        cards.append(
            Card(
                f"Criteria of {{{NEXT}.target_stage:words}}",
                f"{{{NEXT}.progress.criteria_met:number}} of {{{NEXT}.progress.criteria_total:number}}",
                _coming,
            )
        )
    least = "{current_stage:words} requires {stage_health.minimum_health:number}"
    return (*cards, Card("Health score", "{stage_health.health_score:number}", least))


def _typical(customer: LifecycleStage) -> str:
    """When customers exit this stage."""
    match customer.stage_health.current_stage_typical_duration_days:
        case None:
            return "too few customers to say what is usual"
        case "ongoing":
            return "half of all never leave it"
    return "half of all are out by day {stage_health.current_stage_typical_duration_days:number}"


def _coming(customer: LifecycleStage) -> str:
    """When the next stage may come."""
    match customer.next_stage_criteria.progress.estimated_days_to_transition:
        case None:
            return "no estimate"
        case 0:
            return "due now"
    return f"in about {{{DAYS_LEFT}:number day}}"


def _usual(customer: LifecycleStage) -> tuple[str, ...]:
    if customer.position is None:
        return ()
    typical = customer.stage_health.typical_duration
    watched = typical is not None and typical.interval is not None
    return (
        "{position.text:sentence}",
        f"Half of all customers are out of this stage by day {{{TYPICAL}.median_days:number}}"
        if watched
        else "",
        "This customer is stuck: no more than {stuck_share:percent} are still in the stage after "
        "as many days"
        if customer.position.stuck
        else "",
    )


def _usual_blocks(customer: LifecycleStage) -> tuple[Block, ...]:
    if customer.position is None:
        why = "$.stage_health.current_stage_typical_duration_days"
        return (Missing("What is usual", "position", "no stage is recorded", why=why),)
    exits = Table(
        "position.doors",
        {
            "To": "to:words",
            "Of all that entered": Cell("share:percent", bar=True),
            "Of those still in it": Cell("share_from_here:percent", bar=True),
        },
        label="exits",
    )
    return Chart("position"), Chart("doors", exits)


def _next_stage(customer: LifecycleStage) -> tuple[str, ...]:
    if customer.notice:
        return ()
    if customer.next_stage_criteria.target_stage is None:
        why = f"$.{NEXT}.target_stage"
        known = why in customer.not_measured
        return (f'{{not_measured["{why}"]:reason}}' if known else "No next stage is set",)
    return (
        f"{{{NEXT}.progress.criteria_met:number}} of {{{NEXT}.progress.criteria_total:number}} "
        f"criteria of {{{NEXT}.target_stage:words}} are met",
        _estimate(customer),
    )


def _estimate(customer: LifecycleStage) -> str:
    progress = customer.next_stage_criteria.progress
    if progress.estimated_days_to_transition == 0:
        return "The move is due"
    path = f"{NEXT}.progress"
    bounds = f"{path}.estimated_days_interval"
    return (
        f"It may come in about {{{DAYS_LEFT}:number day}} ({{{bounds}.lower:number}} to "
        f"{{{bounds}.upper:number?not reached}}): {{{path}.estimate_basis:prose}}"
    )


def _next_stage_blocks(customer: LifecycleStage) -> tuple[Block, ...]:
    if customer.notice:
        return ()
    allowed = Note((f"From here it can move to {{{NEXT}.allowed_stages:all_words}}",))
    if customer.next_stage_criteria.target_stage is None:
        return (allowed,)
    criteria = Table(
        f"{NEXT}.criteria_detail",
        {"Criterion": "text:prose", "Met": _met, "Now": _value, "Holds since": _since},
        label="criteria",
    )
    unknown = f"$.{DAYS_LEFT}" in customer.not_measured
    why = (Missing("When it may come", DAYS_LEFT),) if unknown else ()
    return (criteria, *why, allowed)


def _met(criterion: Row) -> str:
    known = {None: "not measured", True: "yes", False: "not yet"}
    return known[criterion["met"]]


def _value(criterion: Row) -> str:
    if criterion["unit"] == "" and criterion["value"] in (0, 1):
        return "yes" if criterion["value"] else "no"
    return "{value:quantity}"


def _since(criterion: Row) -> str | None:
    if criterion["since"] is None:
        return None
    known = "{since:day} or earlier" if criterion["since_or_earlier"] else "{since:day}"
    return known if criterion["met"] else f"{known}, needs {{days:number day}}"


def _apart_blocks(customer: LifecycleStage) -> tuple[Block, ...]:
    calm = "Nothing contradicts the record" if customer.current_stage else "No stage is recorded"
    suggested = "The data suggest {suggestion.stage:words}: {suggestion.text:prose}"
    unrecorded = customer.current_stage is None and customer.suggestion.stage is not None
    return (
        Points(
            "disagreements",
            "",
            "{text:sentence}",
            under="{kind:Words} suggests {suggests:words}, since {since:day?}",
        ),
        Note(("" if customer.disagreements else calm, suggested if unrecorded else "")),
    )


def _history_blocks(customer: LifecycleStage) -> tuple[Block, ...]:
    columns: Columns = {
        "Took effect": "effective_at:day",
        "Stage": "stage:Words",
        "Known since": "recorded_at:day",
        "By": "actor:words",
        "Reason": "reason:words",
    }
    if any(change.kind != "transition" for change in customer.history):
        columns = {**columns, "Kind": "kind:words"}
    if not all(change.in_force for change in customer.history):
        columns = {**columns, "In force": lambda row: "yes" if row["in_force"] else "replaced"}
    times = Table(
        "stage_progression",
        {
            "Stage": "stage:Words",
            "From": "start_date:day",
            "Until": "end_date:day",
            "Days": "duration_days:number",
            "Time no.": "visit:number",
        },
        label="times in a stage",
    )
    triggered = Points(
        "last_transition_actions",
        lambda action: "{status:words} ({reason:prose})" if action["reason"] else "{status:words}",
        "{action:Words}",
        heading="What the last move triggered" if customer.last_transition_actions else "",
    )
    changes = Table("history", columns, label="changes", newest_first=True)
    return Chart("timeline", times), triggered, Fold("Each change as it was entered", (changes,))


CUSTOMER = Page(
    tool="manage_lifecycle_stages",
    kind="Customer lifecycle",
    summary="In which stage one customer is, since when, whether that is usual, and what is missing "
    "for the next. It only reads.",
    title="{customer_name}",
    about=(CUSTOMER_ABOUT,),
    cards=_customer_cards,
    sections=(
        ACTIONS,
        Section(
            "usual", "How long do customers usually spend in this stage?", _usual, _usual_blocks
        ),
        Section(
            "next_stage",
            "What is missing for the next stage?",
            _next_stage,
            _next_stage_blocks,
        ),
        Section("apart", "Do contracts and usage confirm the stage?", blocks=_apart_blocks),
        Section("history", "How did it get here?", blocks=_history_blocks),
    ),
    method=(
        "A time in a stage runs from one change of stage to the next; its last day is the day on which "
        "the next stage began, and is not counted",
        "What is usual is the share of times in the stage that lasted as long, over the whole "
        "portfolio: those that go on count with the days so far, those that began before events were "
        "tracked count from then on (Kaplan–Meier with late entry)",
        "Exits compete: their shares and the share still in the stage add up to all (Aalen–Johansen)",
        lambda customer: (
            f"The median of the {{{TYPICAL}.n:number}} times in this stage is within {{{TYPICAL}.interval.lower:number}} and "
            f"{{{TYPICAL}.interval.upper:number?not reached}} days ({{{TYPICAL}.interval_level:percent}} interval)"
            if customer.stage_health.typical_duration
            and customer.stage_health.typical_duration.interval
            else None
        ),
        "Criteria are rules over each day’s figures, as they were known on that day",
        "Imported and recorded changes are one history; of two at one instant the later recorded one "
        "is in force",
    ),
    method_facts={"As known at": "{known_at}", "Stage from": "{stage_source:words}"},
)
