"""The portfolio's page of lifecycle stages: who is where, who fell back or is stuck, what contradicts a record."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from healthseg.reports.pages.common import (
    ACROSS,
    DECISIONS,
    FIRST_ACTIONS,
    largest_first,
    portfolio_about,
)
from healthseg.reports.spec import (
    Block,
    Card,
    Cell,
    Chart,
    Columns,
    Fold,
    Heading,
    Page,
    Section,
    Table,
)

if TYPE_CHECKING:
    from healthseg.tools.lifecycle.result import PortfolioLifecycle


def _listed(columns: Columns, reason: bool = True) -> Columns:
    """A customer with its reason or its manager, the columns, and its ARR."""
    under = "{reason:sentence}" if reason else "{csm_id:manager}"
    return {"Customer": Cell("name", under=under), **columns, "ARR": "arr:money"}


def _arr(portfolio: PortfolioLifecycle, path: str) -> str:
    """An amount of ARR in brackets, where it is known."""
    return f" ({{{path}:brief_money}} ARR)" if getattr(portfolio, path) else ""


def _moved(kind: str, label: str) -> Table:
    rows, where = ("setbacks", None) if kind == "setback" else ("frames.moves", kind)
    return Table(
        rows,
        _listed({"On": "on:day", "From": "source:words", "To": "target:words"}, reason=False),
        label=label,
        where=(lambda row: row["kind"] == where) if where else None,
        sort=largest_first("arr"),
    )


def _back_blocks(portfolio: PortfolioLifecycle) -> tuple[Block, ...]:
    moves = portfolio.frame("moves")
    won = (
        (Heading("Won back"), _moved("win-back", "customers"))
        if (moves["kind"] == "win-back").any()
        else ()
    )
    returns = Table(
        "returns",
        {
            "Stage": "stage:Words",
            "Times in it": "stays:number",
            "Of these not the first": "returns:number",
            "Share": Cell("share:percent", bar=True),
        },
        label="stages",
    )
    again = Fold("How often customers come to a stage again", (returns,))
    return (_moved("setback", "customers"), *won, again)


def _staged(portfolio: PortfolioLifecycle) -> bool:
    """Whether any customer has a stage."""
    return portfolio.without_stage < portfolio.total_customers


def _portfolio_cards(portfolio: PortfolioLifecycle) -> tuple[Card, ...]:
    live = Card("Live customers", "{total_customers:number}", "{total_arr:brief_money} ARR")
    if not _staged(portfolio):
        return (live,)

    def arr(path: str) -> str:
        return f"{{{path}:brief_money}} ARR" if getattr(portfolio, path) else ""

    at_risk = Card(
        "In the stage “at risk”",
        "{stage_counts.at_risk:number}",
        "of which {stage_against_score.both:number} score below "
        "{stage_against_score.risk_threshold:number}",
    )
    return (
        live,
        *((at_risk,) if portfolio.stage_against_score else ()),
        Card("Stuck in a stage", "{stuck_customers:count}", arr("stuck_arr")),
        Card("Fell back and still there", "{setbacks:count}", arr("setbacks_arr")),
        Card("Stage contradicted", "{disagreements_customers:number}", arr("disagreements_arr")),
    )


def _no_stage(portfolio: PortfolioLifecycle) -> str:
    return "" if _staged(portfolio) else "no stage was imported or recorded"


def _stages(portfolio: PortfolioLifecycle) -> tuple[str, ...]:
    """Where the ARR is, and whether stage and score mean the same customers."""
    rows, without = portfolio.stages, portfolio.without_stage
    largest = max(range(len(rows)), key=lambda at: rows[at]["arr"] or rows[at]["customers"])
    stage = f"stages[{largest}]"
    amount = f" with {{{stage}.arr:brief_money}} ARR" if rows[largest]["arr"] else ""
    first = f"Most are {{{stage}.stage:words}}: {{{stage}.customers:number customer}}{amount}"
    known = portfolio.stage_against_score
    missing = f"{{without_stage:number live customer}} {'has' if without == 1 else 'have'} no stage"
    if known is None:
        return first, missing if without else ""
    score = "{stage_against_score.risk_threshold:number}"
    against = (
        "The stage “at risk” is recorded by people and is not the score’s: of its "
        f"{{stage_against_score.in_stage:number customer}} only {{stage_against_score.both:number}} score below {score}, "
        "while {stage_against_score.only_below:number} others do"
        + (
            " ({stage_against_score.only_below_arr:brief_money} ARR)"
            if known.only_below_arr
            else ""
        )
    )
    renewals = (
        "{stage_against_score.renewing_soon:number customer} renew within 30 days, of which "
        "{stage_against_score.renewing_soon_in_stage:number} are in the stage “renewing”"
    )
    return (
        first,
        missing if without else "",
        against if known.in_stage or known.only_below else "",
        renewals if known.renewing_soon else "",
    )


def _stuck(portfolio: PortfolioLifecycle) -> tuple[str, ...]:
    if not portfolio.stuck_customers:
        return ("No customer is stuck",)
    return (
        "{stuck_customers:count customer}"
        + _arr(portfolio, "stuck_arr")
        + " have been in a stage for longer than nearly all others",
        "The largest is {stuck_customers[0].name}: {stuck_customers[0].days:number day} in "
        "{stuck_customers[0].stage:words}, where half are out by day {stuck_customers[0].typical_days:number}",
    )


def _back(portfolio: PortfolioLifecycle) -> tuple[str, ...]:
    if not portfolio.setbacks:
        return ("No customer fell back in {window_days:number day} and is still there",)
    recovered = "{setbacks_recovered:number} more fell back and have moved on since"
    return (
        "{setbacks:count customer}"
        + _arr(portfolio, "setbacks_arr")
        + " fell back in {window_days:number day} and are still there",
        recovered if portfolio.setbacks_recovered else "",
    )


def _apart(portfolio: PortfolioLifecycle) -> tuple[str, ...]:
    if not portfolio.disagreements:
        return ("Nothing contradicts the record",)
    known = portfolio.stage_against_score
    return (
        "The stage of {disagreements_customers:number customer}"
        + _arr(portfolio, "disagreements_arr")
        + " does not fit their contract, usage or score",
        "{stage_against_score.only_in_stage:number} are recorded at risk without a score below "
        "{stage_against_score.risk_threshold:number}: move them on, or say why not"
        if known and known.only_in_stage
        else "",
    )


def _matrix(portfolio: PortfolioLifecycle) -> tuple[str, ...]:
    """What became of the times in the stage “at risk”, and of the onboarding."""
    rows = {
        (row["source"], row["target"]): at for at, row in enumerate(portfolio.transition_matrix)
    }

    def share(source: str, target: str) -> str:
        at = rows.get((source, target))
        return "" if at is None else f"{{transition_matrix[{at}].share:percent}}"

    back, begun = share("at_risk", "active"), share("onboarding", "active")
    return (
        f"{back} of the times at risk ended in active again" if back else "",
        f"{begun} of the onboardings ended in active" if begun else "",
    )


def _times(portfolio: PortfolioLifecycle) -> tuple[str, ...]:
    """How long onboarding, risk and renewals take."""
    days = {
        row["stage"]: f"{{stages[{at}].typical_days:number day}}"
        for at, row in enumerate(portfolio.stages)
        if row["typical_days"] is not None
    }
    onboarding, risk, renewing = (
        days.get(stage) for stage in ("onboarding", "at_risk", "renewing")
    )
    return (
        f"Half of the customers are through the onboarding in {onboarding}" if onboarding else "",
        f"Half are out of the stage “at risk” in {risk}" if risk else "",
        f"Half of the renewals take no more than {renewing}" if renewing else "",
    )


READY_MOVES = Fold(
    "{ready_moves:count move} to record",
    (
        Table(
            "ready_moves",
            _listed({"From": "source:words", "Since": "since:day", "To": "target:words"}),
            label="moves",
        ),
    ),
)


PORTFOLIO = Page(
    tool="manage_lifecycle_stages",
    kind="Portfolio lifecycle",
    summary="Who is in which stage, how customers move, who is stuck, who fell back, where other data "
    "disagree. It only reads.",
    title=lambda portfolio: (
        "The portfolio’s stages: {lifecycle:words}"
        if portfolio.lifecycle
        else "The portfolio’s stages"
    ),
    about=(portfolio_about,),
    cards=_portfolio_cards,
    sections=(
        Section(
            "actions",
            "What to do next?",
            blocks=(
                ACROSS,
                FIRST_ACTIONS,
                replace(DECISIONS, heading="Across the portfolio"),
                READY_MOVES,
            ),
        ),
        Section(
            "stages",
            "How many customers are in each stage?",
            _stages,
            (
                Table(
                    "stages",
                    {
                        "Stage": "stage:Words",
                        "Customers": "customers:number",
                        "ARR": "arr:money",
                        "Stuck": "stuck:number",
                    },
                    label="stages",
                ),
                Chart(
                    "stages",
                    Table(
                        "frames.over_time",
                        {
                            "Date": "date:day",
                            "Stage": "stage:Words",
                            "Customers": "customers:number",
                            "ARR": "arr:money",
                        },
                    ),
                ),
            ),
            absent=_no_stage,
        ),
        Section(
            "apart",
            "Where do contract, usage or score contradict the stage?",
            _apart,
            (
                Table(
                    "disagreements",
                    _listed({"Stage": "recorded:words", "Suggested": "suggests:words"}),
                    label="customers",
                ),
            ),
            absent=_no_stage,
        ),
        Section("back", "Who fell back?", _back, _back_blocks, absent=_no_stage),
        Section(
            "stuck",
            "Who is stuck?",
            _stuck,
            (
                Table(
                    "stuck_customers",
                    {
                        "Customer": "name",
                        "Stage": "stage:Words",
                        "Since": "since:day",
                        "Days": "days:number",
                        "Half are out by day": "typical_days:number",
                        "ARR": "arr:money",
                        "Manager": "csm_id:manager",
                    },
                    label="customers",
                ),
            ),
            absent=_no_stage,
        ),
        Section(
            "matrix",
            "How do customers move from stage to stage?",
            _matrix,
            (
                Chart(
                    "matrix",
                    Table(
                        "transition_matrix",
                        {
                            "From": "source:words",
                            "To": "target:words",
                            "Share": Cell("share:percent", bar=True),
                            "Interval": "{lower:percent} to {upper:percent}",
                            "Moves": "{n:number} of {of:number}",
                        },
                        label="moves",
                    ),
                ),
            ),
            absent=_no_stage,
        ),
        Section(
            "durations",
            "How long do customers spend in each stage?",
            _times,
            (
                Chart(
                    "durations",
                    Table(
                        "frames.durations",
                        {
                            "Stage": "stage:Words",
                            "A quarter is out by day": "q25:number",
                            "Half": "median:number",
                            "Three quarters": "q75:number",
                            "Nine of ten": "stuck_from:number",
                        },
                        label="stages",
                    ),
                ),
            ),
            absent=_no_stage,
        ),
    ),
    method=(
        "Stages are those in force by the end of the day; imported and recorded changes are one history",
        "A customer is stuck if it is still in a stage when no more than {stuck_share:percent} of all that entered "
        "it are",
        "Falling back is a move to the stage “at risk”, from engaged to active, or to an early stage",
        "Shares of moves are of the times in a stage that ended while events were tracked; their intervals are at "
        "{interval_level:percent} (Wilson)",
        "Shares still in a stage are Kaplan–Meier’s with late entry; churn is an exit like the others",
        "A time in a stage that began before events were tracked counts from then on",
        "Past dates show live customers in the stage that is known of them today, with the ARR of the date",
        "Amounts of different currencies are never added up",
    ),
    method_facts={
        "Window of moves": "{window_days:number day}",
        "Stuck": "{stuck_share:percent}",
    },
    portfolio=True,
)
