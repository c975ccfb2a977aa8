"""The page of one customer's milestones: a function for each question that its reader has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from healthseg.charts import formats
from healthseg.reports.html import page
from healthseg.reports.html.page import (
    Card,
    Column,
    Html,
    figure,
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
from healthseg.reports.portfolios import open_portfolio

__all__ = [
    "act",
    "blocks",
    "footer",
    "how_far",
    "method",
    "open_portfolio",
    "opening",
    "value",
    "when",
]


def opening(response: Any) -> Html:
    """Who, as of when, the verdict in a line, and five figures."""
    began = f"Began on {formats.day(response.began_on)}" if response.began_on else ""
    about = [page.customer_line(response), began]
    return page.opening(
        response, "Adoption milestones", response.customer_name, about, _cards(response)
    )


def _cards(response: Any) -> list[Card]:
    done, likely = response.overall_progress, response.success_probability
    if done.total_milestones is None:
        return []
    worst = max(
        (one.days_overdue for one in response.milestone_details if one.days_overdue is not None),
        default=None,
    )
    skipped = f", {done.skipped_milestones} skipped" if done.skipped_milestones else ""
    found = [
        Card(
            "Completed",
            formats.percent(done.completion_rate),
            f"{done.completed_milestones} of {done.total_milestones}{skipped}",
        ),
        Card(
            "Overdue",
            formats.number(done.overdue_milestones),
            f"{formats.number(done.overdue_required)} of them "
            f"required{'' if worst is None else f'; the oldest by {formats.number(worst)} days'}",
        ),
        Card(
            "Blocked",
            formats.number(len(response.blockers)),
            "; ".join(dict.fromkeys(formats.words(one.blocker) for one in response.blockers[:2]))
            or "no blocker stands",
        ),
    ]
    detail = {one.mark: one for one in response.time_to_value.detail}
    if "first_value" in detail:
        found.append(_value_card(detail["first_value"]))
    return [*found, _likely_card(likely)]


def _value_card(one: Any) -> Card:
    days = (
        "not yet"
        if one.reached_on is None
        else "–"
        if one.days is None
        else f"{formats.number(one.days, 1)} days"
    )
    target = "" if one.target_days is None else f"target {formats.number(one.target_days)}"
    return Card("First value", days, target, formats.words(one.word or ""))


def _likely_card(likely: Any) -> Card:
    if likely.basis == "observed":
        reached = likely.overall_success_likelihood == 1
        return Card(
            "Required ones in time",
            "Yes" if reached else "No",
            f"all of them by {formats.day(likely.by_date)}",
        )
    if likely.overall_success_likelihood is None:
        return Card("Likely to succeed", formats.DASH, "not measured")
    between = f"{formats.percent(likely.lower)} to {formats.percent(likely.upper)}"
    return Card(
        "Likely to succeed",
        formats.percent(likely.overall_success_likelihood),
        f"{between}; all required ones by {formats.day(likely.by_date)}",
    )


def how_far(response: Any) -> Html:
    """How far is it?"""
    if response.milestone_details is None:
        return Html(missing("The milestones", response.not_measured.get("$.milestone_details", "")))
    said = [
        f"{formats.words(name)}: {one.completed} of {one.total}"
        + (f" after {formats.number(one.avg_days_to_complete)} days on average" if one.n else "")
        for name, one in response.category_progress.items()
    ]
    lead = joined("; ".join(said))
    columns = [
        Column("milestone_name", "Milestone", markup=_milestone),
        Column("target_date", "Due", formats.day, True),
        Column("completed_on", "Done", formats.day, True),
        Column("actual_completion_days", "Days", lambda days: formats.number(days, 1), True),
        Column("days_ahead", "Ahead", lambda days: formats.signed(days, 1), True),
        Column("progress", "Users", numeric=True),
        Column("owner", "Owner"),
    ]
    rows = [_row(one) for one in response.milestone_details]
    chart = figure(response, "plan", table(rows, columns, label="milestones"))
    return Html(paragraph(lead, "lead") + chart, lead)


def _milestone(row: dict[str, Any]) -> str:
    """Its name, and under it how it stands."""
    by = f" by {formats.words(row['completed_by'])}" if row["completed_by"] else ""
    return page.noted(row["milestone_name"], formats.words(row["status"]) + by)


def _row(one: Any) -> dict[str, Any]:
    users = (
        None
        if one.users_asked is None
        else f"{formats.number(one.users_reached)} of {one.users_asked}"
    )
    done = None if one.completion_date is None else one.completion_date[:10]
    return {**one.model_dump(), "completed_on": done, "progress": users}


def blocks(response: Any) -> Html:
    """What is late, and what blocks it?"""
    if response.milestone_details is None:
        return Html(missing("What is late", response.not_measured.get("$.milestone_details", "")))
    late = [one for one in response.milestone_details if one.status == "overdue"]
    said = lines(_late(one) for one in late)
    columns = [
        Column("blocker", "Blocker", markup=_blocker),
        Column("age_days", "Stands, days", formats.number, True),
        Column("usual", "Usually, days", numeric=True),
        Column("slower", "Longer by", numeric=True),
        Column("severity", "Severity", formats.words),
        Column("owner", "Owner"),
    ]
    rows = [
        {**one.model_dump(), "usual": _usual(one), "slower": _slower(one.effect)}
        for one in response.blockers
    ]
    lead = joined(
        f"{len(late)} overdue" if late else "Nothing is overdue",
        f"{len(rows)} blocked" if rows else "no blocker stands",
    )
    return Html(paragraph(lead, "lead") + said + table(rows, columns, label="blockers"), lead)


def _blocker(row: dict[str, Any]) -> str:
    """What stands, and under it at which milestone, and what that holds up."""
    held = f"; holds up {', '.join(row['holds_up'])}" if row["holds_up"] else ""
    return page.noted(formats.words(row["blocker"]), f"at {row['milestone_name']}{held}")


def _late(one: Any) -> str:
    need = "" if one.required else "optional, "
    waits = f"; waits for {' and '.join(one.waits_for)}" if one.waits_for else ""
    stands = f"; blocked: {formats.words(one.blocker)}" if one.blocker else ""
    days = formats.number(one.days_overdue)
    return f"<b>{isolated(one.milestone_name)}</b>{safe(f': {need}overdue by {days} days{stands}{waits}')}"


def _usual(one: Any) -> str | None:
    if one.usual_days_to_clear is None:
        return None
    spread = page.between(one.usual_lower, one.usual_upper, beyond="more")
    return f"{formats.number(one.usual_days_to_clear)} ({spread}; n = {one.usual_n})"


def _slower(effect: Any) -> str | None:
    if effect is None or not effect.found:
        return None
    return f"× {formats.number(effect.factor, 1)} ({page.between(effect.lower, effect.upper, 1, 'more')})"


def act(response: Any) -> Html:
    """Who has to act, and how?"""
    if response.recommendations is None:
        return Html(missing("Recommendations", response.not_measured.get("$.recommendations", "")))
    owners = {one.milestone_id: one.owner for one in response.milestone_details or []}
    rows = [_advice(one, owners.get(one.milestone_id)) for one in response.recommendations]
    if not rows:
        return Html(paragraph("No rule fired: nothing open needs a hand today.", "lead"))
    faster = any(one.estimated_acceleration for one in response.recommendations)
    why = (
        ""
        if faster
        else response.not_measured.get("$.recommendations[*].estimated_acceleration", "")
    )
    return Html(lines(rows, ordered=True) + (missing("What it would save", why) if why else ""))


def _advice(one: Any, owner: str | None) -> str:
    who = f" <small>{safe('owner: ' + owner)}</small>" if owner else ""
    actions = lines(prose(action) for action in one.recommended_actions)
    saved = (
        f"<small>{safe(f'Those who got past it were done sooner by {one.estimated_acceleration}')}</small>"
        if one.estimated_acceleration
        else ""
    )
    return f"<b>{isolated(one.milestone)}</b>, {safe(formats.words(one.current_status))}{who}{actions}{saved}"


def when(response: Any) -> Html:
    """When will it be done?"""
    if response.milestone_details is None:
        return Html(missing("A forecast", response.not_measured.get("$.milestone_details", "")))
    likely, whole = response.success_probability, response.expected_full_adoption
    lead = joined(_chance(likely), _whole(whole) if whole is not None else "")
    open_ones = [
        one
        for one in response.milestone_details
        if one.status in ("in_progress", "overdue", "not_started")
    ]
    columns = [
        Column("milestone_name", "Milestone"),
        Column("target_date", "Due", formats.day, True),
        Column("median", "Half by", formats.day, True),
        Column("between", "Between", numeric=True),
        Column("among", "Among"),
        Column("n", "n", formats.number, True),
    ]
    rows = [{**one.model_dump(), **_coming(one.forecast_completion)} for one in open_ones]
    told = table(rows, columns, label="open milestones")
    factors = [
        f"<h3>{name}</h3>{lines(prose(text) for text in texts)}"
        for name, texts in (
            ("Against it", likely.risk_factors),
            ("In its favour", likely.positive_factors),
        )
        if texts
    ]
    why = response.not_measured.get("$.success_probability.overall_success_likelihood", "")
    none = missing("The likelihood of success", why) if why else ""
    return Html((paragraph(lead, "lead") if lead else "") + none + told + "".join(factors), lead)


def _chance(likely: Any) -> str:
    by = formats.day(likely.by_date)
    if likely.basis == "observed":
        outcome = "were" if likely.overall_success_likelihood == 1 else "were not all"
        return f"The required onboarding and adoption milestones {outcome} completed by {by}"
    if likely.overall_success_likelihood is None:
        return ""
    share = (
        ""
        if likely.portfolio_share is None
        else f"; of past customers {formats.percent(likely.portfolio_share)} had them"
    )
    return (
        f"With a chance of {formats.percent(likely.overall_success_likelihood)} ({formats.percent(likely.lower)} to "
        f"{formats.percent(likely.upper)}) all required onboarding and adoption milestones are complete by {by}{share}"
    )


def _whole(one: Any) -> str:
    if one.median is None:
        return f"Fewer than half of the {one.n} customers with {one.among} have completed all since"
    upper = "later than anybody was followed" if one.upper is None else formats.day(one.upper)
    return (
        f"All required ones are expected by {formats.day(one.median)} ({formats.day(one.lower)} to {upper}), from "
        f"{one.n} customers with {one.among}"
    )


def _coming(one: Any) -> dict[str, Any]:
    if one is None:
        return {"median": None, "between": None, "among": None, "n": None}
    upper = "not reached" if one.upper is None else formats.day(one.upper)
    return {
        "median": one.median,
        "between": f"{formats.day(one.lower)} to {upper}",
        "among": one.among,
        "n": one.n,
    }


def value(response: Any) -> Html:
    """How long did value take, beside the others?"""
    detail = response.time_to_value.detail
    if not detail:
        return Html(missing("Time to value", "no milestone stands for it"))
    said = [prose(_compared(one)) for one in detail]
    columns = [
        Column("mark", "Value", formats.words),
        Column("definition", "Means"),
        Column("days", "Days", lambda days: formats.number(days, 1), True),
        Column("target_days", "Target", formats.number, True),
        Column("word", "Against it", formats.words),
        Column("cohort_median_days", "Same quarter", formats.number, True),
        Column("cohort_n", "n", formats.number, True),
        Column("portfolio_median_days", "Portfolio", formats.number, True),
        Column("portfolio_n", "n", formats.number, True),
    ]
    rows = [one.model_dump() for one in detail]
    return Html(lines(said) + figure(response, "value", table(rows, columns, label="values")))


def _compared(one: Any) -> str:
    what = formats.sentence(formats.words(one.mark))
    own = "not yet" if one.reached_on is None else f"on {formats.day(one.reached_on)}"
    if one.days is not None:
        own = f"after {formats.number(one.days, 1)} days"
    share = (
        ""
        if one.cohort_share_by_then is None
        else (
            f"; by that day {formats.percent(one.cohort_share_by_then)} of the {one.cohort_n} others that began in "
            f"{one.quarter} were there"
        )
    )
    pace = (
        ""
        if one.log_rank_p is None
        else (
            f"; that quarter’s pace {'differs from' if one.pace_differs else 'cannot be told from'} the others’"
        )
    )
    return f"{what} ({one.definition}): {own}{share}{pace}"


def method(response: Any) -> Html:
    """How was this computed? Behind a fold."""
    return page.method(
        response,
        "A milestone is completed by hand or by use, whichever was first; else skipped, overdue once its due date has "
        "passed, in progress once begun",
        f"Days are {response.day_kind} days from the day the customer began; within half a day of the target is on time",
        "Forecasts are Kaplan–Meier’s curves of the customers whose milestone was open as long; their intervals are of "
        "the single customer",
        "The likelihood is a logistic regression on where past customers stood, calibrated on customers left out of it",
        pairs=[
            ("Category", response.milestone_category),
            (
                "Quarters compared",
                log_ranks({one.mark: one.log_rank_p for one in response.time_to_value.detail}),
            ),
            *_calibration(response.success_probability.calibration),
        ],
    )


def log_ranks(found: Mapping[str, float | None]) -> str:
    """The log-rank tests between quarters, all that were made."""
    known = {formats.words(name): p for name, p in found.items() if p is not None}
    told = "; ".join(f"{name} p = {formats.number(p, 3)}" for name, p in known.items())
    return f"{told} (log-rank, {len(known)} tests)" if known else ""


def _calibration(one: Any) -> list[tuple[str, str]]:
    if one is None:
        return []
    return [
        (
            "Brier score, left out",
            f"{formats.number(one.brier, 3)} (plain share {formats.number(one.brier_of_share, 3)})",
        ),
        ("Calibration slope", formats.number(one.slope, 2)),
        ("Past customers", f"{one.customers}, of them {one.failures} failed"),
    ]
