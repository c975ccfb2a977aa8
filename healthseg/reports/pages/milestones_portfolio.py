"""The page of the portfolio's adoption milestones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from healthseg.charts.milestones import MOST_QUARTERS, compared_quarter
from healthseg.reports.pages.common import DECISIONS, FIRST_ACTIONS, portfolio_about
from healthseg.reports.pages.milestones import log_ranks
from healthseg.reports.spec import (
    Block,
    Card,
    Cell,
    Chart,
    Fold,
    Missing,
    Page,
    Points,
    Row,
    Section,
    Table,
)

if TYPE_CHECKING:
    from healthseg.tools.milestones.result import PortfolioMilestones


RETAINED = (
    "{{{0}_retained:percent}} ({{{0}_lower:percent}} to {{{0}_upper:percent}}), n = {{{0}:number}}"
)
BLOCKED_LONGER = "× {factor:number.1} ({lower:number.1} to {upper:number.1?more})"


def _portfolio_cards(portfolio: PortfolioMilestones) -> tuple[Card, ...]:
    if not portfolio.tracked_customers:
        return ()
    late = "; {customers_late_arr:brief_money} ARR" if portfolio.customers_late_arr else ""
    cards = [
        Card(
            "Late customers",
            "{customers_late:number}",
            f"with a required milestone overdue, {{customers_long_overdue:number}} for more than {{record_days:number}} days{late}",
        ),
        Card(
            "Blocked customers",
            "{customers_blocked:number}",
            "{customers_blocked_arr:brief_money} ARR"
            if portfolio.customers_blocked_arr
            else "with a recorded blocker",
        ),
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
    known = _first_values(portfolio)
    if known:
        first, last = known
        note = f"of those who began in {{cohorts[{last}].quarter}}; {{cohorts[{first}].median_days:number}} of those of {{cohorts[{first}].quarter}}"
        cards.append(Card("First value", f"{{cohorts[{last}].median_days:number day}}", note))
    return tuple(cards)


def _first_values(portfolio: PortfolioMilestones) -> tuple[int, int] | None:
    """Where in the cohorts the last quarter of the picture is whose first value is known, and the one it is compared with."""
    known = [
        at
        for at, row in enumerate(portfolio.cohorts)
        if row["mark"] == "first_value" and row["median_days"] is not None
    ][-MOST_QUARTERS:]
    if len(known) < 2:
        return None
    before = compared_quarter([portfolio.cohorts[at]["quarter"] for at in known])
    return known[before], known[-1]


def _value(portfolio: PortfolioMilestones) -> tuple[str, ...]:
    known = _first_values(portfolio)
    if known is None:
        return ()
    first, last = (f"cohorts[{at}]" for at in known)
    differ = portfolio.quarters_differ.get("first_value")
    return (
        f"Who began in {{{last}.quarter}} had first value after {{{last}.median_days:number day}}; it took "
        f"{{{first}.median_days:number}} in {{{first}.quarter}}",
        "" if differ else "The quarters do not differ by more than chance would have it",
    )


def _worst(portfolio: PortfolioMilestones) -> tuple[str, ...]:
    late = [row["late"] for row in portfolio.funnel]
    if not portfolio.funnel:
        return ()
    if not max(late):
        return ("Nothing is overdue",)
    path = f"funnel[{late.index(max(late))}]"
    return (
        f"Most are overdue at “{{{path}.name}}”: {{{path}.late:number customer}}, "
        f"{{{path}.waiting:number}} of them because an earlier one is open, "
        f"{{{path}.blocked:number}} blocked",
        "Records to close are not counted" if portfolio.customers_to_close else "",
    )


def _notes(portfolio: PortfolioMilestones) -> Points:
    def text(value: Row) -> str:
        half = (
            "fewer than half have reached it"
            if value["median_days"] is None
            else "half have it by day {median_days:number}"
        )
        return f"{half}, {{share_by_target:percent}} by the target day"

    return Points("values", text, "{mark:Words}")


def _value_blocks(portfolio: PortfolioMilestones) -> tuple[Block, ...]:
    if not portfolio.values:
        return (Missing("Time to value", why="$.values", reason="no milestone defines it"),)
    return (
        _notes(portfolio),
        Chart("value"),
        Chart(
            "quarters",
            Table(
                "cohorts",
                {
                    "Began in": "quarter",
                    "Value": "mark:words",
                    "Customers": "n:number",
                    "Reached it": "reached:number",
                    "Half by day": "median_days:number",
                    "Interval": "{lower:number} to {upper:number?not reached}",
                    "By target": "share_by_target:percent",
                },
                label="quarters",
                newest_first=True,
            ),
        ),
    )


def _blockers(portfolio: PortfolioMilestones) -> tuple[str, ...]:
    if not portfolio.blockers:
        return ()
    slower = any(row["found"] for row in portfolio.blockers)
    arr = " with {customers_blocked_arr:brief_money} ARR" if portfolio.customers_blocked_arr else ""
    several = "; {customers_blocked_by_several:number} of them by more than one kind"
    return (
        "{customers_blocked:number customer}"
        + arr
        + " are blocked"
        + (several if portfolio.customers_blocked_by_several else "")
        if portfolio.customers_blocked
        else "No customer is blocked now",
        "Every kind of blocker makes what remains take longer"
        if all(row["found"] for row in portfolio.blockers)
        else "{blockers[*].found:total} of {blockers:count kind|kinds} of blocker make what remains take longer"
        if slower
        else "",
    )


def _blocker_where(row: Row) -> str:
    others = "; others wait for {severe:number}" if row["severe"] else ""
    return f"at {{milestones:number milestone}}{others}"


def _unless(rows: list[Row], missing: Missing, *blocks: Block) -> tuple[Block, ...]:
    """The blocks, or why there is nothing to show."""
    return blocks if rows else (missing,)


def _is_late(long_overdue: bool) -> Callable[[Row], bool]:
    return lambda row: not row["stale"] and row["long_overdue"] == long_overdue


def _late(caption: str, where: Callable[[Row], bool], empty: str = "No customer.") -> Table:
    return Table(
        "late",
        {
            "Customer and its oldest overdue milestone": Cell(
                "name",
                under=lambda row: (
                    "{worst}; blocked: {blocker:words}" if row["blocker"] else "{worst}"
                ),
            ),
            "ARR": "arr:money",
            "Required overdue": "overdue_required:number",
            "Overdue": "overdue:number",
            "Days late": "worst_days:number",
            "Manager": "csm_id:manager",
        },
        caption,
        "customers",
        where=where,
        empty=empty,
    )


def _late_lead(portfolio: PortfolioMilestones) -> tuple[str, ...]:
    if not portfolio.tracked_customers:
        return ("Not known",)
    if not portfolio.customers_late:
        lead = "No customer is late with a required milestone"
    elif portfolio.customers_long_overdue:
        lead = (
            "{customers_late:number customer} are late with a required milestone, "
            "{customers_long_overdue:number} of them for more than {record_days:number day}"
        )
    else:
        lead = "{customers_late:number customer} are late with a required milestone, none for more than {record_days:number day}"
    return (
        lead,
        "{customers_late_optional:number} more are late with an optional one alone"
        if portfolio.customers_late_optional
        else "",
    )


def _late_blocks(portfolio: PortfolioMilestones) -> tuple[Block, ...]:
    lists = [(row["stale"], row["long_overdue"]) for row in portfolio.late]
    return (
        _late("Due lately: set a new date with them", _is_late(False)),
        *(
            (
                Fold(
                    "Overdue for longer: begin the plan again with them, or drop it",
                    (_late("", _is_late(True)),),
                ),
            )
            if (False, True) in lists
            else ()
        ),
        *(
            (
                Fold(
                    "Records to close: long overdue at customers that completed nearly all others",
                    (_late("", lambda row: bool(row["stale"])),),
                ),
            )
            if portfolio.customers_to_close
            else ()
        ),
    )


def _retained(portfolio: PortfolioMilestones) -> tuple[str, ...]:
    rows = portfolio.retention
    if not any(row["difference"] is not None for row in rows):
        return ("Too few customers churned after a due day to compare",) if rows else ()
    best = max(rows, key=lambda row: (row["significant"], abs(row["difference"] or 0.0)))
    if not best["significant"]:
        return ("No milestone that was done in time goes significantly with retention",)
    path, more = f"retention[{rows.index(best)}]", "more" if best["difference"] > 0 else "less"
    return (
        f"Who has “{{{path}.name}}” in time is retained {more} often: {{{path}.done_retained:percent}} "
        f"against {{{path}.others_retained:percent}} after {{retention_days:number day}}",
    )


RETENTION = Table(
    "retention",
    {
        "Milestone": Cell("name", under="due by day {target_days:number}"),
        "Done by then": RETAINED.format("done"),
        "Not done": RETAINED.format("others"),
        "Difference, points": "raw:points",
        "Adjusted, points": lambda row: (
            "too few churned"
            if row["difference"] is None
            else "{difference:points} ({lower:points} to {upper:points})"
        ),
        "q": "q:number.3",
    },
    "Retention after the due day: share, interval, customers",
    label="milestones",
)


def _in_fold(portfolio: PortfolioMilestones) -> Block:
    """The table, behind a fold where no difference is significant."""
    significant = any(row["significant"] for row in portfolio.retention)
    return RETENTION if significant else Fold("Each milestone, and who was retained", (RETENTION,))


def _likely(portfolio: PortfolioMilestones) -> tuple[str, ...]:
    """Who is least likely to be done in time; where no date is ahead, only that."""
    if portfolio.calibration and not portfolio.success:
        return ("The date has passed for all live customers, so none is left to miss it",)
    if not portfolio.success:
        return ()
    return (
        "{success:count customer} have their last due date ahead; {success[0].name} is least likely to have all "
        "required milestones by {success[0].by_date:day}: {success[0].likelihood:percent}",
    )


def _too_few_churned(portfolio: PortfolioMilestones) -> str:
    """Why retention cannot be compared, where that is so for every milestone."""
    known = any(row["difference"] is not None for row in portfolio.retention)
    return "" if known else "too few customers churned after a due day to compare"


def _untracked(portfolio: PortfolioMilestones) -> str:
    """Why no milestone is known of any customer."""
    return (
        "" if portfolio.tracked_customers else "the portfolio has no milestones of live customers"
    )


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
            "actions",
            "What to do next?",
            blocks=(
                FIRST_ACTIONS,
                replace(DECISIONS, rows="actions", heading="Across the portfolio"),
            ),
            absent=_untracked,
        ),
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
                        {
                            "Milestone": "name",
                            "Target, days": "target_days:number",
                            "Customers": "customers:number",
                            "Completed": "completed:number",
                            "In progress": "in_progress:number",
                            "Not started": "not_started:number",
                            "Overdue": "late:number",
                            "Records to close": "to_close:number",
                            "Skipped": "skipped:number",
                            "Blocked": "blocked:number",
                            "Half are done by day": "median_days:number",
                            "Interval": "{lower:number} to {upper:number?not reached}",
                            "n": "n:number",
                        },
                        label="milestones",
                    ),
                ),
            ),
            absent=_untracked,
        ),
        Section(
            "blockers",
            "What blocks customers, and how much time does it cost?",
            _blockers,
            lambda portfolio: _unless(
                portfolio.blockers,
                Missing("Blockers", why="$.blockers", reason="none was ever recorded often enough"),
                Chart(
                    "blockers",
                    Table(
                        "blockers",
                        {
                            "Blocker": Cell("blocker:words", under=_blocker_where),
                            "Customers": "customers:number",
                            "ARR": "arr:money",
                            "Oldest, days": "oldest_days:number",
                            "Half cleared by day": "usual_days:number",
                            "Longer by": BLOCKED_LONGER,
                            "n": "n:number",
                        },
                        label="blockers",
                    ),
                ),
                Fold("How much longer each kind makes it take", (Chart("slower"),)),
            ),
            absent=_untracked,
        ),
        Section(
            "value",
            "How long does it take to reach value, and is it getting faster?",
            _value,
            _value_blocks,
            absent=_untracked,
        ),
        Section(
            "late",
            "Who is late now?",
            _late_lead,
            _late_blocks,
            absent=_untracked,
        ),
        Section(
            "likely",
            "Who is likely to miss a due date?",
            _likely,
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
                        {
                            "Customer": "name",
                            "ARR": "arr:money",
                            "Likely in time": Cell("likelihood:percent", bar=True),
                            "Required ones open": "open:number",
                            "By": "by_date:day",
                        },
                        label="customers",
                    ),
                )
            ),
            absent=_untracked,
        ),
        Section(
            "retention",
            "Are those that complete a milestone in time retained more often?",
            _retained,
            lambda portfolio: _unless(
                portfolio.retention,
                Missing("Retention", why="$.retention", reason="no due day has passed for so long"),
                _in_fold(portfolio),
            ),
            absent=lambda portfolio: _untracked(portfolio) or _too_few_churned(portfolio),
        ),
    ),
    method=(
        "Statuses are of live customers; times are Kaplan–Meier estimates of all customers, churned ones "
        "and those not there yet included",
        "Days are {day_kind} days from the day a customer began",
        "A blocker’s factor compares what remained of milestones once it was there with the same "
        "milestone elsewhere, by inverting a log-rank test",
        "Retention is that of customers which were live on the due day, by what was done on that day (a landmark analysis); "
        "the difference is adjusted for the tier at the beginning and the quarter in which they began, and is an association",
        "The likelihood is from {calibration.customers:number past customer}, of which {calibration.failures:number} missed "
        "the date: the last due day of the required ones and some days of grace",
        "An association of blockers with time does not prove that removing one saves it",
        "Of customers left out the probability of success missed by {calibration.brier:number.3} (Brier), the plain "
        "share by {calibration.brier_of_share:number.3}",
    ),
    method_facts={
        "Category": "{milestone_category}",
        "Quarters compared": lambda portfolio: log_ranks(
            {mark: f"log_rank.{mark}" for mark, p in portfolio.log_rank.items() if p is not None}
        ),
    },
    portfolio=True,
)
