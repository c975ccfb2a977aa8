"""The pages of adoption milestones: one customer's, and the whole portfolio's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from healthseg.charts import formats
from healthseg.reports.pages.common import CUSTOMER_ABOUT, actions_section
from healthseg.reports.spec import (
    Block,
    Card,
    Cell,
    Chart,
    Missing,
    Page,
    Points,
    Row,
    Section,
    Table,
)

if TYPE_CHECKING:
    from healthseg.tools.milestones.result import AdoptionMilestones

YEAR = 365  # days after which it no longer matters that the onboarding was late


def log_ranks(paths: dict[str, str]) -> str:
    """The log-rank tests between quarters, all that were made, by mark and path."""
    tests = "; ".join(
        f"{formats.words(mark)} p = {{{path}:number.3}}" for mark, path in paths.items()
    )
    return f"{tests} (log-rank)" if paths else ""


def _customer_cards(customer: AdoptionMilestones) -> tuple[Card, ...]:
    progress = customer.overall_progress
    if progress.total_milestones is None:
        return ()
    skipped = (
        ", {overall_progress.skipped_milestones:number} skipped"
        if progress.skipped_milestones
        else ""
    )
    late = any(milestone.days_overdue is not None for milestone in customer.milestone_details or [])
    oldest = "; the oldest by {milestone_details[*].days_overdue:max day}" if late else ""
    blockers = [
        f"{{blockers[{index}].blocker:words}}" for index in range(len(customer.blockers or []))
    ]
    cards = [
        Card(
            "Completed",
            "{overall_progress.completion_rate:percent}",
            "{overall_progress.completed_milestones:number} of "
            f"{{overall_progress.total_milestones:number}}{skipped}",
        ),
        Card(
            "Records to close",
            "{overall_progress.records_to_close:number}",
            f"nearly all else is done{oldest}",
        )
        if progress.records_to_close and progress.records_to_close == progress.overdue_milestones
        else Card(
            "Overdue",
            "{overall_progress.overdue_milestones:number}",
            f"{{overall_progress.overdue_required:number}} of them required{oldest}",
        ),
        Card("Blocked", "{blockers:count}", "; ".join(blockers[:2]) or "no blocker"),
    ]
    marks = [milestone.mark for milestone in customer.time_to_value.detail]
    if "first_value" in marks:
        cards.append(_value_card(customer, marks.index("first_value")))
    success = customer.success_probability
    long_ago = success.by_date is not None and (customer.as_of - success.by_date).days > YEAR
    return (
        tuple(cards)
        if success.basis == "observed" and long_ago
        else (*cards, _likely_card(customer))
    )


def _value_card(customer: AdoptionMilestones, index: int) -> Card:
    path = f"time_to_value.detail[{index}]"
    reached = customer.time_to_value.detail[index].reached_on is not None
    days = f"{{{path}.days:number.1 day}}" if reached else "not yet"
    return Card(
        "First value",
        days,
        f"target {{{path}.target_days:number}}",
        f"{{{path}.word:words}}",
    )


def _likely_card(customer: AdoptionMilestones) -> Card:
    success = customer.success_probability
    if success.basis == "observed":
        name, note = "Required ones in time", "all of them by {success_probability.by_date:day}"
        return Card(name, "Yes" if success.succeeded else "No", note)
    if success.overall_success_likelihood is None:
        return Card("Likely to succeed", "", "not measured")
    return Card(
        "Likely to succeed",
        "{success_probability.overall_success_likelihood:percent}",
        "{success_probability.lower:percent} to {success_probability.upper:percent}; all required "
        "ones by {success_probability.by_date:day}",
    )


def _progress(customer: AdoptionMilestones) -> tuple[str, ...]:
    categories = []
    for name, progress in (customer.category_progress or {}).items():
        path = f"category_progress.{name}"
        text = f"{formats.words(name)}: {{{path}.completed:number}} of {{{path}.total:number}}"
        if progress.n:
            text += f" after {{{path}.avg_days_to_complete:number day}} on average"
        categories.append(text)
    return (formats.sentence("; ".join(categories)),)


def _by(milestone: Row) -> str:
    if milestone["to_close"]:
        return "record to close"
    return (
        "{status:words} by {completed_by:words}" if milestone["completed_by"] else "{status:words}"
    )


def _late(customer: AdoptionMilestones) -> tuple[str, ...]:
    if customer.milestone_details is None:
        return ()
    progress = customer.overall_progress
    to_close = progress.records_to_close or 0
    current = (progress.overdue_milestones or 0) - to_close
    old = "{overall_progress.records_to_close:number old record} to close: nearly all else is done"
    return (
        "{overall_progress.overdue_milestones:number milestone} overdue"
        if current and not to_close
        else "{overall_progress.overdue_milestones:number milestone} overdue, of which "
        "{overall_progress.records_to_close:number} only to close in the records"
        if current
        else ""
        if to_close
        else "Nothing is overdue",
        old if to_close and not current else "",
        "{blockers:count} blocked" if customer.blockers else "No milestone is blocked",
    )


def _how_late(milestone: Row) -> str:
    return "".join(
        (
            "" if milestone["required"] else "optional, ",
            "record to close, due {days_overdue:number day} ago"
            if milestone["to_close"]
            else "overdue by {days_overdue:number day}",
            "; blocked: {blocker:words}" if milestone["blocker"] else "",
            "; waits for {waits_for:list}" if milestone["waits_for"] else "",
        )
    )


def _slower(blocker: Row) -> str:
    effect = blocker["effect"]
    shown = "× {effect.factor:number.1} ({effect.lower:number.1} to {effect.upper:number.1?more})"
    return shown if effect and effect["found"] else ""


def _actions(customer: AdoptionMilestones) -> tuple[Block, ...]:
    details = [milestone.milestone_id for milestone in customer.milestone_details or []]
    to_close = {row.milestone_id for row in customer.milestone_details or [] if row.to_close}

    def text(action: Row) -> str:
        steps = "{recommended_actions:steps}"
        return steps if action["milestone_id"] in to_close else "{current_status:words}: " + steps

    def under(action: Row) -> str:
        parts = []
        if action["milestone_id"] in details:
            index = details.index(action["milestone_id"])
            if customer.milestone_details[index].owner:  # type: ignore[index]
                parts.append(f"owner: {{milestone_details[{index}].owner:manager}}")
        if action["estimated_acceleration"]:
            parts.append("those who got past it finished sooner by {estimated_acceleration}")
        return "; ".join(parts)

    if customer.recommendations is None:
        return (Missing("Recommendations", "recommendations"),)
    saved = any(milestone.estimated_acceleration for milestone in customer.recommendations)
    why = "$.recommendations[*].estimated_acceleration"
    points = Points(
        "recommendations",
        text,
        "{milestone}",
        under,
        ordered=True,
        empty="No open milestone needs action today.",
    )
    if not customer.blockers or saved or why not in customer.not_measured:
        return (points,)
    return points, Missing("The days that it would save", why=why)


def _chance(customer: AdoptionMilestones) -> tuple[str, ...]:
    if customer.milestone_details is None or customer.notice:
        return ()
    success, full = customer.success_probability, customer.expected_full_adoption
    by = "{success_probability.by_date:day}"
    if success.basis == "observed":
        outcome = "were" if success.succeeded else "were not all"
        chance = f"The required onboarding and adoption milestones {outcome} completed by {by}"
    else:
        chance = (
            "With a probability of {success_probability.overall_success_likelihood:percent} "
            "({success_probability.lower:percent} to {success_probability.upper:percent}) all required "
            f"onboarding and adoption milestones are complete by {by}"
        )
        if success.portfolio_share is not None:
            chance += "; {success_probability.portfolio_share:percent} of past customers had done so by their date"
    path = "expected_full_adoption"
    if full is None:
        return (chance,)
    if full.median is None:
        return (
            chance,
            f"Fewer than half of the {{{path}.n:number customer}} with {{{path}.among}} have completed all "
            "since",
        )
    return (
        chance,
        f"All required ones are expected by {{{path}.median:day}} ({{{path}.lower:day}} to "
        f"{{{path}.upper:day?later than any customer was followed}}), from {{{path}.n:number customer}} "
        f"with {{{path}.among}}",
    )


def _compared(value: Row) -> str:
    """One time to value beside the customers that began in the same quarter."""
    own = "not yet" if value["reached_on"] is None else "on {reached_on:day}"
    if value["days"] is not None:
        own = "after {days:number.1 day}"
    share = (
        ""
        if value["cohort_share_by_then"] is None
        else "; by that day {cohort_share_by_then:percent} of the {cohort_n:number} others that began in "
        "{quarter} had reached it"
    )
    return own + share


LIKELIHOOD = Missing("The likelihood of success", "success_probability.overall_success_likelihood")
FORECAST = (
    Missing("A forecast", "milestone_details"),
    Table(
        "milestone_details",
        {
            "Milestone": "milestone_name",
            "Due": "target_date:day",
            "Half by": "forecast_completion.median:day",
            "Interval": "{forecast_completion.lower:day} to "
            "{forecast_completion.upper:day?not reached}",
            "Among": "forecast_completion.among",
            "n": "forecast_completion.n:number",
        },
        label="open milestones",
        where=lambda milestone: milestone["forecast_completion"] is not None,
    ),
    Points(
        "success_probability.risk_factors",
        "{page_item:prose}",
        heading="Risk factors",
    ),
    Points(
        "success_probability.positive_factors",
        "{page_item:prose}",
        heading="Positive factors",
    ),
)


CUSTOMER = Page(
    tool="track_adoption_milestones",
    kind="Adoption milestones",
    summary="One customer's milestones: how far, what is late and what blocks it, who acts, when it "
    "will be done, and how long value took.",
    title="{customer_name}",
    about=(CUSTOMER_ABOUT, "Began on {began_on:day}"),
    cards=_customer_cards,
    sections=(
        actions_section("next_actions", "milestones", "beginning"),
        Section(
            "progress",
            "How far has it come?",
            _progress,
            (
                Missing("The milestones", "milestone_details"),
                Chart(
                    "plan",
                    Table(
                        "milestone_details",
                        {
                            "Milestone": Cell("milestone_name", under=_by),
                            "Due": "target_date:day",
                            "Completed": "completion_date:day",
                            "Days": "actual_completion_days:number.1",
                            "Ahead": "days_ahead:signed.1",
                            "Users": "{users_reached:number} of {users_asked:number}",
                            "Owner": "owner:manager",
                        },
                        label="milestones",
                    ),
                    needs="milestone_details",
                ),
            ),
        ),
        Section(
            "late",
            "What is late, and what blocks it?",
            _late,
            (
                Missing("What is late", "milestone_details"),
                Points(
                    "milestone_details",
                    _how_late,
                    "{milestone_name}",
                    where=lambda milestone: milestone["status"] == "overdue",
                ),
                Table(
                    "blockers",
                    {
                        "Blocker": Cell(
                            "blocker:words",
                            under=lambda blocker: (
                                "at {milestone_name}; delays {holds_up:list}"
                                if blocker["holds_up"]
                                else "at {milestone_name}"
                            ),
                        ),
                        "For, days": "age_days:number",
                        "Usually, days": "{usual_days_to_clear:number} ({usual_lower:number} to "
                        "{usual_upper:number?more}; n = {usual_n:number})",
                        "Longer by": _slower,
                        "Severity": "severity:words",
                        "Owner": "owner:manager",
                    },
                    label="blockers",
                ),
            ),
        ),
        Section("actions", "Who has to act on open milestones?", blocks=_actions),
        Section(
            "forecast",
            "When will it be done?",
            _chance,
            lambda customer: (
                ()
                if customer.notice
                else FORECAST
                if customer.success_probability.basis == "observed"
                else (LIKELIHOOD, *FORECAST)
            ),
        ),
        Section(
            "value",
            "How long did it take to reach value, compared with others?",
            blocks=lambda customer: (
                (
                    Points("time_to_value.detail", _compared, "{mark:Words} ({definition})"),
                    Chart(
                        "value",
                        Table(
                            "time_to_value.detail",
                            {
                                "Value": "mark:words",
                                "Definition": "definition",
                                "Days": "days:number.1",
                                "Target": "target_days:number",
                                "Against it": "word:words",
                                "Same quarter": "cohort_median_days:number",
                                "n, quarter": "cohort_n:number",
                                "Portfolio": "portfolio_median_days:number",
                                "n, portfolio": "portfolio_n:number",
                            },
                            label="values",
                        ),
                    ),
                )
                if customer.time_to_value.detail
                else (Missing("Time to value", reason="no milestone defines it"),)
            ),
        ),
    ),
    method=(
        "A milestone is completed by hand or by use, whichever was first; else skipped, overdue once its "
        "due date has passed, in progress once begun",
        "Days are {day_kind} days from the day the customer began; within half a day of the target is on "
        "time",
        "Forecasts are Kaplan–Meier curves of the customers whose milestone was open as long; their "
        "intervals are of the single customer",
        "The likelihood is a logistic regression on the progress of past customers, calibrated on "
        "customers left out of it",
    ),
    method_facts={
        "Category": "{milestone_category}",
        "Quarters compared": lambda customer: log_ranks(
            {
                mark.mark: f"time_to_value.detail[{index}].log_rank_p"
                for index, mark in enumerate(customer.time_to_value.detail)
                if mark.log_rank_p is not None
            }
        ),
        "Brier score, left out": "{success_probability.calibration.brier:number.3} (plain share "
        "{success_probability.calibration.brier_of_share:number.3})",
        "Calibration slope": "{success_probability.calibration.slope:number.2}",
        "Past customers": "{success_probability.calibration.customers:number}, of which "
        "{success_probability.calibration.failures:number} failed",
    },
)
