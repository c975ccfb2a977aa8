"""The pages of adoption milestones: one customer's, and the whole portfolio's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from healthseg.charts import formats
from healthseg.reports.pages.common import CUSTOMER_ABOUT, portfolio_about
from healthseg.reports.spec import (
    Block,
    Card,
    Chart,
    Column,
    Missing,
    Page,
    Points,
    Row,
    Section,
    Table,
)

if TYPE_CHECKING:
    from healthseg.tools.milestones.result import AdoptionMilestones, PortfolioMilestones

OPEN = ("in_progress", "overdue", "not_started")
BLOCKED_LONGER = "× {factor:number.1} ({lower:number.1} to {upper:number.1?more})"


def log_ranks(paths: dict[str, str]) -> str:
    """The log-rank tests between quarters, all that were made, by mark and path."""
    tests = "; ".join(
        f"{formats.words(mark)} p = {{{path}:number.3}}" for mark, path in paths.items()
    )
    return f"{tests} (log-rank)" if paths else ""


# -- one customer ---------------------------------------------------------------------------------


def _customer_cards(customer: AdoptionMilestones) -> tuple[Card, ...]:
    progress = customer.overall_progress
    if progress.total_milestones is None:
        return ()
    skipped = (
        ", {overall_progress.skipped_milestones:number} skipped"
        if progress.skipped_milestones
        else ""
    )
    late = any(one.days_overdue is not None for one in customer.milestone_details or [])
    oldest = "; the oldest by {milestone_details[*].days_overdue:max day}" if late else ""
    blockers = [
        f"{{blockers[{place}].blocker:words}}" for place in range(len(customer.blockers or []))
    ]
    cards = [
        Card(
            "Completed",
            "{overall_progress.completion_rate:percent}",
            "{overall_progress.completed_milestones:number} of "
            f"{{overall_progress.total_milestones:number}}{skipped}",
        ),
        Card(
            "Overdue",
            "{overall_progress.overdue_milestones:number}",
            f"{{overall_progress.overdue_required:number}} of them required{oldest}",
        ),
        Card("Blocked", "{blockers:count}", "; ".join(blockers[:2]) or "no blocker"),
    ]
    marks = [one.mark for one in customer.time_to_value.detail]
    if "first_value" in marks:
        cards.append(_value_card(customer, marks.index("first_value")))
    return (*cards, _likely_card(customer))


def _value_card(customer: AdoptionMilestones, place: int) -> Card:
    path = f"time_to_value.detail[{place}]"
    reached = customer.time_to_value.detail[place].reached_on is not None
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
        reached = success.overall_success_likelihood == 1
        name, note = "Required ones in time", "all of them by {success_probability.by_date:day}"
        return Card(name, "Yes" if reached else "No", note)
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
    return (
        "{status:words} by {completed_by:words}" if milestone["completed_by"] else "{status:words}"
    )


def _late(customer: AdoptionMilestones) -> tuple[str, ...]:
    if customer.milestone_details is None:
        return ()
    overdue = "{overall_progress.overdue_milestones:number} overdue"
    return (
        overdue if customer.overall_progress.overdue_milestones else "Nothing is overdue",
        "{blockers:count} blocked" if customer.blockers else "No milestone is blocked",
    )


def _how_late(milestone: Row) -> str:
    return "".join(
        (
            "" if milestone["required"] else "optional, ",
            "overdue by {days_overdue:number day}",
            "; blocked: {blocker:words}" if milestone["blocker"] else "",
            "; waits for {waits_for:list}" if milestone["waits_for"] else "",
        )
    )


def _slower(blocker: Row) -> str:
    effect = blocker["effect"]
    shown = "× {effect.factor:number.1} ({effect.lower:number.1} to {effect.upper:number.1?more})"
    return shown if effect and effect["found"] else ""


def _actions(customer: AdoptionMilestones) -> tuple[Block, ...]:
    details = [one.milestone_id for one in customer.milestone_details or []]

    def under(action: Row) -> str:
        parts = []
        if action["milestone_id"] in details:
            place = details.index(action["milestone_id"])
            if customer.milestone_details[place].owner:  # type: ignore[index]
                parts.append(f"owner: {{milestone_details[{place}].owner}}")
        if action["estimated_acceleration"]:
            parts.append("those who got past it finished sooner by {estimated_acceleration}")
        return "; ".join(parts)

    if customer.recommendations is None:
        return (Missing("Recommendations", "recommendations"),)
    saved = any(one.estimated_acceleration for one in customer.recommendations)
    why = "$.recommendations[*].estimated_acceleration"
    points = Points(
        "recommendations",
        "{current_status:words}: {recommended_actions:steps}",
        "{milestone}",
        under,
        ordered=True,
        empty="No open milestone needs a hand today.",
    )
    if not customer.recommendations or saved or why not in customer.not_measured:
        return (points,)
    return points, Missing("The days that it would save", why=why)


def _chance(customer: AdoptionMilestones) -> tuple[str, ...]:
    if customer.milestone_details is None:
        return ()
    success, full = customer.success_probability, customer.expected_full_adoption
    by = "{success_probability.by_date:day}"
    if success.basis == "observed":
        outcome = "were" if success.overall_success_likelihood == 1 else "were not all"
        chance = f"The required onboarding and adoption milestones {outcome} completed by {by}"
    else:
        chance = (
            "With a probability of {success_probability.overall_success_likelihood:percent} "
            "({success_probability.lower:percent} to {success_probability.upper:percent}) all required "
            f"onboarding and adoption milestones are complete by {by}"
        )
        if success.portfolio_share is not None:
            chance += "; {success_probability.portfolio_share:percent} of past customers had them"
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
    if value["log_rank_p"] is None:
        return own + share
    differs = "differs from" if value["pace_differs"] else "does not differ significantly from"
    return f"{own}{share}; that quarter’s pace {differs} the others’"


CUSTOMER = Page(
    tool="track_adoption_milestones",
    kind="Adoption milestones",
    summary="One customer's milestones: how far, what is late and what blocks it, who acts, when it "
    "will be done, and how long value took.",
    title="{customer_name}",
    about=(CUSTOMER_ABOUT, "Began on {began_on:day}"),
    cards=_customer_cards,
    sections=(
        Section(
            "progress",
            "How far is it?",
            _progress,
            (
                Missing("The milestones", "milestone_details"),
                Chart(
                    "plan",
                    Table(
                        "milestone_details",
                        (
                            Column("Milestone", "milestone_name", under=_by),
                            Column("Due", "target_date:day"),
                            Column("Completed", "completion_date:day"),
                            Column("Days", "actual_completion_days:number.1"),
                            Column("Ahead", "days_ahead:signed.1"),
                            Column("Users", "{users_reached:number} of {users_asked:number}"),
                            Column("Owner", "owner"),
                        ),
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
                    (
                        Column(
                            "Blocker",
                            "blocker:words",
                            under=lambda blocker: (
                                "at {milestone_name}; delays {holds_up:list}"
                                if blocker["holds_up"]
                                else "at {milestone_name}"
                            ),
                        ),
                        Column("For, days", "age_days:number"),
                        Column(
                            "Usually, days",
                            "{usual_days_to_clear:number} ({usual_lower:number} to "
                            "{usual_upper:number?more}; n = {usual_n:number})",
                        ),
                        Column("Longer by", _slower),
                        Column("Severity", "severity:words"),
                        Column("Owner", "owner"),
                    ),
                    label="blockers",
                ),
            ),
        ),
        Section("actions", "Who has to act, and how?", blocks=_actions),
        Section(
            "forecast",
            "When will it be done?",
            _chance,
            (
                Missing("A forecast", "milestone_details"),
                Missing(
                    "The likelihood of success", "success_probability.overall_success_likelihood"
                ),
                Table(
                    "milestone_details",
                    (
                        Column("Milestone", "milestone_name"),
                        Column("Due", "target_date:day"),
                        Column("Half by", "forecast_completion.median:day"),
                        Column(
                            "Interval",
                            "{forecast_completion.lower:day} to "
                            "{forecast_completion.upper:day?not reached}",
                        ),
                        Column("Among", "forecast_completion.among"),
                        Column("n", "forecast_completion.n:number"),
                    ),
                    label="open milestones",
                    where=lambda milestone: milestone["status"] in OPEN,
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
            ),
        ),
        Section(
            "value",
            "How long did value take, compared with others?",
            blocks=lambda customer: (
                (
                    Points("time_to_value.detail", _compared, "{mark:Words} ({definition})"),
                    Chart(
                        "value",
                        Table(
                            "time_to_value.detail",
                            (
                                Column("Value", "mark:words"),
                                Column("Definition", "definition"),
                                Column("Days", "days:number.1"),
                                Column("Target", "target_days:number"),
                                Column("Against it", "word:words"),
                                Column("Same quarter", "cohort_median_days:number"),
                                Column("n, quarter", "cohort_n:number"),
                                Column("Portfolio", "portfolio_median_days:number"),
                                Column("n, portfolio", "portfolio_n:number"),
                            ),
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
    method_facts=(
        ("Category", "{milestone_category}"),
        (
            "Quarters compared",
            lambda customer: log_ranks(
                {
                    one.mark: f"time_to_value.detail[{place}].log_rank_p"
                    for place, one in enumerate(customer.time_to_value.detail)
                    if one.log_rank_p is not None
                }
            ),
        ),
        (
            "Brier score, left out",
            "{success_probability.calibration.brier:number.3} (plain share "
            "{success_probability.calibration.brier_of_share:number.3})",
        ),
        ("Calibration slope", "{success_probability.calibration.slope:number.2}"),
        (
            "Past customers",
            "{success_probability.calibration.customers:number}, of which "
            "{success_probability.calibration.failures:number} failed",
        ),
    ),
)


# -- the portfolio --------------------------------------------------------------------------------


def _portfolio_cards(portfolio: PortfolioMilestones) -> tuple[Card, ...]:
    if not portfolio.tracked_customers:
        return ()
    late = "; {customers_late_arr:brief_money} ARR" if portfolio.customers_late_arr else ""
    cards = [
        Card(
            "Late customers",
            "{customers_late:number}",
            f"with a required milestone overdue{late}",
        ),
        Card("Blocked customers", "{customers_blocked:number}", "with a recorded blocker"),
        Card(
            "All required ones done",
            "{customers_done_share:percent}",
            "{customers_done:number} of {tracked_customers:number customer}",
        ),
        Card(
            "Done by their date",
            "{milestones_on_time_share:percent}",
            "of {milestones_due:number milestone} that were due",
        ),
    ]
    marks = [value["mark"] for value in portfolio.values]
    if "first_value" in marks:
        path = f"values[{marks.index('first_value')}]"
        note = f"median, {{{path}.lower:number}} to {{{path}.upper:number?not reached}}; n = {{{path}.n:number}}"
        cards.append(Card("First value", f"{{{path}.median_days:number day}}", note))
    return tuple(cards)


def _worst(portfolio: PortfolioMilestones) -> tuple[str, ...]:
    overdue = [row["overdue"] for row in portfolio.funnel]
    if not portfolio.funnel:
        return ()
    if not max(overdue):
        return ("Nothing is overdue",)
    path = f"funnel[{overdue.index(max(overdue))}]"
    return (
        f"Most are overdue at “{{{path}.name}}”: {{{path}.overdue:number customer}}, "
        f"{{{path}.waiting:number}} of them because an earlier one is open, "
        f"{{{path}.blocked:number}} blocked",
    )


def _said(portfolio: PortfolioMilestones) -> Points:
    def text(value: Row) -> str:
        half = (
            "fewer than half reached it"
            if value["median_days"] is None
            else "half by day {median_days:number} ({lower:number} to {upper:number?not reached})"
        )
        differ = portfolio.quarters_differ[value["mark"]]
        test = (
            ""
            if portfolio.log_rank[value["mark"]] is None
            else "; quarters do not differ significantly"
        )
        test = "; quarters differ" if differ else test
        return f"{half}, {{share_by_target:percent}} by target, n = {{n:number}}{test}"

    return Points("values", text, "{mark:Words}")


def _value_blocks(portfolio: PortfolioMilestones) -> tuple[Block, ...]:
    if not portfolio.values:
        return (Missing("Time to value", why="$.values", reason="no milestone defines it"),)
    return (
        _said(portfolio),
        Chart("value"),
        Chart(
            "quarters",
            Table(
                "cohorts",
                (
                    Column("Began in", "quarter"),
                    Column("Value", "mark:words"),
                    Column("Customers", "n:number"),
                    Column("Reached it", "reached:number"),
                    Column("Half by day", "median_days:number"),
                    Column("Interval", "{lower:number} to {upper:number?not reached}"),
                    Column("By target", "share_by_target:percent"),
                ),
                label="quarters",
                newest_first=True,
            ),
        ),
    )


def _blockers(portfolio: PortfolioMilestones) -> tuple[str, ...]:
    if not portfolio.blockers:
        return ()
    slower = any(row["found"] for row in portfolio.blockers)
    return (
        "{customers_blocked:number customer} are blocked"
        if portfolio.customers_blocked
        else "No customer is blocked now",
        "{blockers[*].found:total} of {blockers:count} lengthen what remains significantly"
        if slower
        else "",
    )


def _blocker_where(row: Row) -> str:
    others = "; others wait for {severe:number}" if row["severe"] else ""
    return f"at {{milestones:number milestone}}{others}"


def _unless(rows: list[Row], missing: Missing, *blocks: Block) -> tuple[Block, ...]:
    """The blocks, or why there is nothing to show."""
    return blocks if rows else (missing,)


PORTFOLIO = Page(
    tool="track_adoption_milestones",
    kind="Adoption milestones",
    summary="The milestones of all customers: where they get stuck, how long value takes, what blocks "
    "them, who is late, and who is likely to miss the date.",
    title="The portfolio’s milestones",
    about=(portfolio_about,),
    cards=_portfolio_cards,
    sections=(
        Section(
            "stuck",
            "Where do customers get stuck?",
            _worst,
            lambda portfolio: _unless(
                portfolio.funnel,
                Missing("The milestones", why="$.funnel", reason="no customer has any"),
                Chart(
                    "funnel",
                    Table(
                        "funnel",
                        (
                            Column("Milestone", "name"),
                            Column("Target, days", "target_days:number"),
                            Column("Customers", "customers:number"),
                            Column("Completed", "completed:number"),
                            Column("In progress", "in_progress:number"),
                            Column("Not started", "not_started:number"),
                            Column("Overdue", "overdue:number"),
                            Column("Skipped", "skipped:number"),
                            Column("Blocked", "blocked:number"),
                            Column("Half are done by day", "median_days:number"),
                            Column("Interval", "{lower:number} to {upper:number?not reached}"),
                            Column("n", "n:number"),
                        ),
                        label="milestones",
                    ),
                ),
            ),
        ),
        Section(
            "value", "How long does value take, and is it getting faster?", blocks=_value_blocks
        ),
        Section(
            "blockers",
            "What blocks them, and how much longer does it take?",
            _blockers,
            lambda portfolio: _unless(
                portfolio.blockers,
                Missing("Blockers", why="$.blockers", reason="none was ever recorded often enough"),
                Chart(
                    "blockers",
                    Table(
                        "blockers",
                        (
                            Column("Blocker", "blocker:words", under=_blocker_where),
                            Column("Customers", "customers:number"),
                            Column("ARR", "arr:money"),
                            Column("Oldest, days", "oldest_days:number"),
                            Column("Half cleared by day", "usual_days:number"),
                            Column("Longer by", BLOCKED_LONGER),
                            Column("n", "n:number"),
                        ),
                        label="blockers",
                    ),
                ),
                Chart("slower"),
            ),
        ),
        Section(
            "late",
            "Who is late?",
            lambda portfolio: (
                ()
                if portfolio.late
                else ("No customer is late",)
                if portfolio.tracked_customers
                else ("Not known",)
            ),
            (
                Table(
                    "late",
                    (
                        Column(
                            "Customer and its oldest overdue milestone",
                            "name",
                            under=lambda row: (
                                "{worst}; blocked: {blocker:words}" if row["blocker"] else "{worst}"
                            ),
                        ),
                        Column("ARR", "arr:money"),
                        Column("Required overdue", "overdue_required:number"),
                        Column("Overdue", "overdue:number"),
                        Column("Days late", "worst_days:number"),
                        Column("Manager", "csm_id"),
                    ),
                    label="customers",
                ),
            ),
        ),
        Section(
            "likely",
            "Who is likely to miss the date?",
            (
                "From {calibration.customers:number past customer}, of which "
                "{calibration.failures:number} failed; on customers left out the probability missed by "
                "{calibration.brier:number.3} (Brier), the plain share by "
                "{calibration.brier_of_share:number.3}",
                lambda portfolio: (
                    "The date has passed for all customers of today: no outcome is open"
                    if portfolio.calibration and not portfolio.success
                    else None
                ),
            ),
            lambda portfolio: (
                (
                    Missing(
                        "The likelihood of success",
                        why="$.success",
                        reason="too few past customers",
                    ),
                )
                if portfolio.calibration is None
                else (
                    Table(
                        "success",
                        (
                            Column("Customer", "name"),
                            Column("ARR", "arr:money"),
                            Column("Likely to succeed", "likelihood:percent", bar=True),
                            Column("Interval", "{lower:percent} to {upper:percent}"),
                            Column("Required ones open", "open:number"),
                            Column("By", "by_date:day"),
                        ),
                        label="customers",
                    ),
                )
            ),
        ),
        Section(
            "actions",
            "What to do?",
            blocks=(
                Points("actions", "{text:prose}", ordered=True, empty="No rule asks for anything."),
            ),
        ),
    ),
    method=(
        "Statuses are of live customers; times are Kaplan–Meier estimates of all customers, churned ones "
        "and those not there yet included",
        "Days are {day_kind} days from the day a customer began",
        "A blocker’s factor compares what remained of milestones once it was there with the same "
        "milestone elsewhere, by inverting a log-rank test",
        "An association of blockers with time does not prove that removing one saves it",
    ),
    method_facts=(
        ("Category", "{milestone_category}"),
        (
            "Quarters compared",
            lambda portfolio: log_ranks(
                {
                    mark: f"log_rank.{mark}"
                    for mark, p in portfolio.log_rank.items()
                    if p is not None
                }
            ),
        ),
    ),
    portfolio=True,
)
