"""What a response could not metric, by the path of the key that is null, and how much of it was measured."""

from __future__ import annotations

from typing import Any

from healthseg.metrics.milestone_plan import MARKS
from healthseg.tools.milestones.figures import NO_PLAN, OPEN, Figures
from healthseg.tools.milestones.result import AdoptionMilestones

NOT_ASKED = "not requested"
NOT_STARTED = "no milestone applies to this customer, or none was tracked while it began"
Found = list[tuple[str, bool, str]]


def unknown(figures: Figures) -> str:
    return NO_PLAN if figures.plan is None else NOT_STARTED


def coverage(response: AdoptionMilestones) -> float | None:
    """The share of completed milestones whose days are known, and of times to value reached that are; null of none."""
    rows = response.milestone_details or []
    done = [one.actual_completion_days is not None for one in rows if one.status == "completed"]
    known = [
        *done,
        *(
            one.days is not None
            for one in response.time_to_value.detail
            if one.reached_on is not None
        ),
    ]
    return round(sum(known) / len(known), 4) if known else None


def reasons(
    figures: Figures, asked: Any, response: AdoptionMilestones, why: str | None, known: bool
) -> dict[str, str]:
    """The reason of each key that is null, in order of the paths."""
    found = [
        *_whole(figures, asked, response, known),
        *_details(figures, response),
        *_value(figures, response, known),
        *_blocked(figures, response),
        (
            "$.success_probability.overall_success_likelihood",
            response.success_probability.overall_success_likelihood is None,
            why or "",
        ),
    ]
    return {path: reason for path, missing, reason in sorted(found) if missing}


def _whole(figures: Figures, asked: Any, response: AdoptionMilestones, known: bool) -> Found:
    reason = unknown(figures)
    return [
        ("$.overall_progress", not known, reason),
        ("$.milestone_details", not known, reason),
        ("$.category_progress", not known, reason),
        ("$.blockers", not known, reason),
        (
            "$.recommendations",
            response.recommendations is None,
            reason if asked.include_recommendations else NOT_ASKED,
        ),
    ]


def _details(figures: Figures, response: AdoptionMilestones) -> Found:
    rows = response.milestone_details or []
    open_ones = [one for one in rows if one.status in OPEN]
    past = figures.as_of < figures.portfolio.data_until
    return [
        (
            "$.milestone_details[*].actual_completion_days",
            any(one.status == "completed" and one.actual_completion_days is None for one in rows),
            "use completed it, and use before tracking began is not known",
        ),
        (
            "$.milestone_details[*].progress_percentage",
            any(one.progress_percentage is None for one in open_ones),
            "a person's word completes it, not use",
        ),
        (
            "$.milestone_details[*].target_date",
            any(one.target_date is None for one in rows),
            "its days begin with a milestone that is open",
        ),
        (
            "$.milestone_details[*].forecast_completion",
            any(one.forecast_completion is None for one in open_ones),
            f"fewer than {figures.settings.peers_min} customers had it open as long, or none of them completed it",
        ),
        ("$.milestone_details[*].owner", past and bool(rows), "owners are known as they are today"),
    ]


def _value(figures: Figures, response: AdoptionMilestones, known: bool) -> Found:
    if not known:
        return [("$.time_to_value", True, unknown(figures))]
    detail = {one.mark: one for one in response.time_to_value.detail}
    found = []
    for mark in MARKS:
        one = detail.get(mark)
        reason = (
            "no milestone stands for it"
            if one is None
            else "not reached yet"
            if one.reached_on is None
            else "use completed it, and use before tracking began is not known"
        )
        found.append((f"$.time_to_value.{mark}_days", one is None or one.days is None, reason))
    few = f"fewer than {figures.settings.peers_min} others began in the same quarter, or fewer than half got there"
    return [
        *found,
        (
            "$.time_to_value.detail[*].cohort_median_days",
            any(one.cohort_median_days is None for one in detail.values()),
            few,
        ),
    ]


def _blocked(figures: Figures, response: AdoptionMilestones) -> Found:
    faster = [one for one in response.recommendations or [] if one.estimated_acceleration is None]
    why = (
        "too few customers that were blocked by the same for as long got past it, or it brought them nothing beyond "
        "chance"
        if response.blockers
        else "no blocker stands: nothing is known to hold it up"
    )
    return [
        ("$.recommendations[*].estimated_acceleration", bool(faster), why),
        (
            "$.blockers[*].age_days",
            any(one.age_days is None for one in response.blockers or []),
            "since when it stands was not entered",
        ),
    ]
