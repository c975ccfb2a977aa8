"""The board's page: how revenue holds, who churned, what renews, whether predictions held, which accounts to save."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from healthseg.metrics.money import PARTS
from healthseg.reports.pages.common import (
    ACROSS,
    portfolio_about,
    renewals,
    window_notes,
)
from healthseg.reports.spec import (
    Card,
    Cell,
    Chart,
    Facts,
    Fold,
    Missing,
    Page,
    Points,
    Section,
    Table,
)

BAND_WORDS = "band:Words"
MOVES = ("new", "expansion", "contraction", "churn")


def _of_all(row: Any) -> bool:
    return bool(row["band"] == "all" and row["customers"])


def _of_bands(row: Any) -> bool:
    return bool(row["band"] != "all" and row["kind"] in ("days", "quarter"))


def _largest(part: str) -> Callable[[Any], str]:
    """The largest movements of a bar, each with its customer."""

    def text(board: Any) -> str:
        own = [at for at, row in enumerate(board.bridge) if row.part == part]
        return ", ".join(f"{{bridge[{at}].name}} {{bridge[{at}].arr:signed_money}}" for at in own)

    return text


LARGEST = Facts({part.title(): _largest(part) for part in MOVES})


def _moved(board: Any) -> tuple[str, ...]:
    """What the year's ARR became, in a sentence, and why churn is another sum here."""
    if board.nrr is None or board.total_arr is None:
        return ()
    amount = {
        part: f"{{frames.waterfall[{at}].amount:brief_money}}" for at, part in enumerate(PARTS)
    }
    change = {part: amount[part].replace("brief_money", "signed_money") for part in MOVES}
    return (
        f"ARR went from {amount['start']} to {amount['end']}: {change['new']} from new customers and {change['expansion']} by "
        f"expansion, against {change['churn']} by churn and {change['contraction']} by contraction",
        "Churn here is what the customers of a year ago paid then; the {churned_arr:brief_money} of those who churned is what "
        "each paid last, and counts those who began within the year"
        if board.churned_arr
        else "",
    )


def _renewing(board: Any) -> tuple[str, ...]:
    """The window of the horizon in a sentence, and whom the quarter with the most ARR rests on."""
    rows = board.renewals
    window = f"next {board.horizon_days} days"
    near = [at for at, row in enumerate(rows) if row.window == window and _of_all(dict(row))]
    quarters = [
        at
        for at, row in enumerate(rows)
        if row.kind == "quarter" and _of_all(dict(row)) and row.arr is not None
    ]
    most = max(quarters, key=lambda at: rows[at].arr, default=None)
    lapsed = [
        at for at, row in enumerate(rows) if row.kind == "uncontracted" and _of_all(dict(row))
    ]
    return (
        *(
            f"{{renewals[{at}].arr:brief_money}} ARR at {{renewals[{at}].customers:number customer}} renews in the "
            f"{{renewals[{at}].window}}; {{renewals[{at}].expected:brief_money}} of it is expected to churn by then"
            for at in near
        ),
        ""
        if most is None
        else f"The most renews in {{renewals[{most}].window}}: {{renewals[{most}].arr:brief_money}}"
        + (
            f", {{renewals[{most}].of_largest:brief_money}} of it {{largest.name}}"
            if rows[most].of_largest
            else ""
        ),
        *(
            f"{{renewals[{at}].customers:number customer}} with {{renewals[{at}].arr:brief_money}} ARR "
            + ("has" if rows[at].customers == 1 else "have")
            + " no contract in force"
            for at in lapsed
        ),
    )


def _of_largest(row: Any) -> str:
    return "{of_largest:brief_money} of it {largest.name}" if row["of_largest"] else ""


def _renewal_blocks(board: Any) -> tuple[Any, ...]:
    rows = [dict(row) for row in board.renewals]
    return (
        ACROSS,
        *(
            renewals("renewals", rows, kind, caption, _of_largest)
            for kind, caption in (
                ("days", "Days ahead; each window holds the shorter ones"),
                ("quarter", "Quarters, from today on"),
            )
        ),
        Fold(
            "By health band",
            (
                Table(
                    "renewals",
                    {
                        "Renewal": "window:Words",
                        "Band": BAND_WORDS,
                        "Customers": "customers:number",
                        "ARR": "arr:brief_money",
                        "Expected to churn by its end": "expected:brief_money",
                    },
                    label="windows and bands",
                    where=_of_bands,
                ),
            ),
        ),
    )


def _without_money(board: Any) -> str:
    """Why there is no revenue to compare."""
    return "" if board.nrr is not None else board.not_measured["$.nrr"]


def _churned_lead(board: Any) -> tuple[str, ...]:
    if not board.churned:
        return ("No customer churned in the last year",)
    known = [at for at, row in enumerate(board.reasons) if row.reason != "unknown"][:2]
    why = [
        f"{{reasons[{at}].reason:words}} ({{reasons[{at}].customers:number customer}}"
        + (f", {{reasons[{at}].arr:brief_money}})" if board.reasons[at].arr is not None else ")")
        for at in known
    ]
    return (
        "{churned_customers:number customer} churned in a year"
        + (", with {churned_arr:brief_money} ARR" if board.churned_arr is not None else "")
        + (f", above all for {' and '.join(why)}" if why and board.churned_arr else ""),
        "The largest was {churned[0].name}, with {churned[0].arr:brief_money} on {churned[0].churned_on:day}",
        "The score gave no warning of {scores_before.missed:number} of the {scores_before.customers:number} that had one "
        "({scores_before.missed_arr:brief_money} ARR): a quarter before it was {scores_before.threshold:number} or more"
        if board.scores_before is not None and board.scores_before.missed
        else "",
    )


def _predicted_lead(board: Any) -> tuple[str, ...]:
    """The last prediction in a sentence, whether it held, and how a reader has to take the next one."""
    past = board.predicted
    if past.expected_arr is None or past.churned_arr is None:
        if past.expected is not None:
            return (
                "On {predicted.predicted_on:day}, {predicted.expected:number.1} customers were expected to churn or give notice by "
                "{predicted.until:day}; {predicted.churned:number} did",
            )
        return (
            "{predicted.churned:number customer} churned or gave notice since {predicted.predicted_on:day}; what was expected then is "
            "unknown",
        )
    return (
        f"{ANSWERS.get(past.outcome, '')}: on {{predicted.predicted_on:day}} we expected {{predicted.expected_arr:brief_money}} to "
        "churn or give notice by {predicted.until:day} ({predicted.lower:brief_money} to {predicted.upper:brief_money}), and "
        "{predicted.churned_arr:brief_money} did"
        + OUTCOMES.get(past.outcome, "")
        + (
            "; {predicted.times_churned:number.1} times as much was expected"
            if past.times_churned and past.outcome == "below"
            else ""
        ),
        "Of the last {past_predictions.quarters:number} predictions {past_predictions.within:number} held"
        if board.past_predictions is not None
        else "",
        _next_one(board),
    )


PREDICTIONS = Table(
    "predictions",
    {
        "Until": "until:day",
        "Expected": "expected_arr:brief_money",
        "Range": "{lower:brief_money} to {upper:brief_money}",
        "Happened": "churned_arr:brief_money",
        "Of the range": "outcome:Words",
    },
    label="predictions",
    where=lambda row: row["outcome"] is not None,
)


def _next_one(board: Any) -> str:
    """How to read the present expectation: with its range, and with the account that no range shows well."""
    past, change = board.past_predictions, board.change
    if change.expected_churned_arr is None or change.lower is None:
        return ""
    alone = (
        "; losing {largest.name} alone would be {largest.arr:brief_money}"
        if board.largest is not None
        else ""
    )
    return (
        READINGS["about right" if past is None else past.reads]
        + " {change.expected_churned_arr:brief_money} for the next {horizon_days:number day}, and allow for "
        "{change.lower:brief_money} to {change.upper:brief_money}" + alone
    )


READINGS = {
    "too high": "They were too high together: expect rather less than",
    "too low": "They were too low together: expect rather more than",
    "about right": "Plan with",
}
ANSWERS = {"below": "No", "within": "Yes", "above": "No"}


OUTCOMES = {
    "below": ", less than the range allowed",
    "within": ", within the range",
    "above": ", more than the range allowed",
}


def _cards(board: Any) -> tuple[Card, ...]:
    """The figures that are known, with their change since a quarter ago."""
    since = " since {compared_on:day}" if board.compared_on is not None else ""
    months = "month by month"
    retention = tuple(
        Card(
            f"{name.upper()} over a year",
            f"{{{name}:percent}}",
            f"{{{name}_change:signed}} points{since}" if since else "",
            _gap(name, getattr(board, f"{name}_gap")),
            f"{name}_gap",
            past=f"frames.months.{name}",
            past_name=f"{name.upper()} {months}",
            past_range=0.2,
        )
        for name in ("nrr", "grr")
    )
    counted = "{churned_customers:number customer}"
    return (
        Card(
            "ARR",
            "{total_arr:brief_money}",
            f"{{customers:number customer}}; change{since}"
            if since
            else "{customers:number customer}",
            "{arr_change:signed_money}" if since and board.arr_change is not None else "",
            "arr_change",
            past="frames.months.end",
            past_name=f"ARR {months}",
        )
        if board.total_arr is not None
        else Card("Live customers", "{customers:number}"),
        *(retention if board.nrr is not None else ()),
        Card("Churned in a year", "{churned_arr:brief_money}", counted)
        if board.churned_arr
        else Card("Churned in a year", counted),
        *(
            (
                Card(
                    "Expected to churn in {horizon_days:number day}",
                    "{change.expected_churned_arr:brief_money}",
                    "{change.interval_level:percent} range: {change.lower:brief_money} to {change.upper:brief_money}",
                ),
            )
            if board.change.expected_churned_arr is not None
            else ()
        ),
    )


def _gap(name: str, gap: float | None) -> str:
    """How far a rate is from its target."""
    if gap is None or round(gap) == 0:
        return "on target"
    return f"{{{name}_gap:signed}} {'point' if abs(round(gap)) == 1 else 'points'} to target"


# -- the largest risk -----------------------------------------------------------------------------


def _largest_lead(board: Any) -> tuple[str, ...]:
    account = board.largest
    if account is None:
        return ()
    return (
        "{largest.name} pays {largest.arr:brief_money}, {largest.share:percent} of all ARR, and renews on {largest.renewal_on:day}, "
        "in {largest.days_to_renewal:number day}"
        + (
            ": losing it would cost {largest.times_churned:number.1} times what churned in the whole year"
            if account.times_churned
            else ""
        ),
        "Its score is {largest.score:number}, its probability of churn in {horizon_days:number day} {largest.churn_probability:percent}"
        + (
            "; within {largest.renewal_risk.horizon_days:number day}, through its renewal, it is "
            "{largest.renewal_risk.churn_probability:percent} ({largest.renewal_risk.lower:percent} to "
            "{largest.renewal_risk.upper:percent}), with {largest.renewal_risk.arr:brief_money} expected to churn"
            if account.renewal_risk is not None
            else ""
        ),
        "CSAT averages {largest.csat:number.1}" if account.csat is not None else "",
    )


PLAYS = Points(
    "largest.plays",
    "{text:prose}",
    under="{owner:manager?nobody assigned} · by {due_on:day?no date} · {why:prose}",
    severity="severity",
    heading="What to do about it",
    limit=3,
)


def _change(board: Any) -> tuple[str, ...]:
    """What would bring NRR to its target, and what could take it further away."""
    change = board.change
    if change.expected_churned_arr is None and change.nrr_gap_arr is None:
        return ("Neither ARR nor a churn rate is known",)
    return (
        "The NRR target of {nrr_target:percent} is {change.nrr_gap_arr:brief_money} of ARR away"
        + _reachable(change)
        if change.nrr_gap_arr
        else "The NRR target of {nrr_target:percent} is reached"
        if board.nrr is not None
        else "",
    )


def _reachable(change: Any) -> str:
    """Whether the expansion that is ready closes the gap; saving accounts keeps it from growing."""
    if change.ready_potential is None:
        return ""
    enough = change.ready_potential >= change.nrr_gap_arr
    return (
        ": the expansion that is ready would reach it, if nothing more churned"
        if enough
        else ": it is out of reach with the expansion that is ready ({change.ready_potential:brief_money}), even if nothing more churned"
    )


def _levers(board: Any) -> tuple[Any, ...]:
    change = board.change
    rows = {
        "Save": "up to {change.of_accounts:brief_money} of the expected churn of {change.expected_churned_arr:brief_money} is in the "
        "{accounts:count account} below"
        + (
            ": {change.accounts_points:number.1} of {change.expected_points:number.1} points of NRR"
            if change.accounts_points is not None and change.expected_points is not None
            else ""
        )
        if board.accounts
        else "",
        "Expand": "{change.ready:number customer} with {change.ready_arr:brief_money} ARR "
        + ("is" if change.ready == 1 else "are")
        + " ready"
        + (
            " and may come to pay {change.ready_potential:brief_money} more"
            + (
                ": {change.ready_points:signed.1} points of NRR"
                if change.ready_points is not None
                else ""
            )
            if change.ready_potential
            else ""
        )
        if change.ready
        else "",
        "Keep": "{change.idle_arr:brief_money} is paid for seats that nobody uses and that renew within {change.renewal_days:number day}"
        if change.idle_arr
        else "",
        "Notice": "{change.notices:number customer} gave notice, with {change.notice_arr:brief_money} ARR"
        if change.notices
        else "",
        "No contract": "{change.uncontracted_customers:number customer}, with {change.uncontracted_arr:brief_money} ARR"
        if change.uncontracted_customers
        else "",
    }
    return (Facts({name: text for name, text in rows.items() if text}),)


def _accounts_lead(board: Any) -> tuple[str, ...]:
    if not board.accounts:
        return ("No ARR is known that could churn",)
    return (
        "These {accounts:count account} hold {change.of_accounts:brief_money} ({change.share_of_accounts:percent}) of the "
        "expected churn; the most expected churn first",
    )


ACCOUNTS = Table(
    "accounts",
    {
        "Customer": Cell(
            "{name}",
            under=lambda row: (
                "{override:prose}" if row["override"] and row["override"] not in row["why"] else ""
            ),
        ),
        "ARR": "arr:brief_money",
        "Score": "score:number",
        "Churn": Cell("churn_probability:percent", bar=True),
        "Expected churned ARR": "expected_churned_arr:brief_money",
        "Renewal in": "days_to_renewal:number day",
        "Play": Cell("{play:prose}", under="{why:prose}"),
        "Owner": "owner:manager",
        "By": "due_on:day",
    },
    label="accounts",
)

PORTFOLIO = Page(
    tool="board",
    kind="Board",
    summary="How revenue holds against target, who churned and why it was missed, what renews and what it may cost, "
    "whether the last prediction held, and which accounts to save.",
    title="Board report",
    about=(portfolio_about,),
    cards=_cards,
    sections=(
        Section(
            "largest",
            "What is the largest risk?",
            _largest_lead,
            lambda board: (PLAYS,) if board.largest is not None else (),
        ),
        Section(
            "change",
            "What would change the number?",
            _change,
            _levers,
        ),
        Section(
            "retention",
            "Does revenue hold?",
            (
                "The customers of a year ago pay {nrr:percent} of what they paid then, {grr:percent} without their "
                "expansion; the targets are {nrr_target:percent} and {grr_target:percent}",
            ),
            (Missing("Retention", "nrr"), Chart("retention", needs="nrr")),
            absent=_without_money,
            report="segment_by_value_tier",
        ),
        Section(
            "bridge",
            "What changed the ARR in a year?",
            _moved,
            (
                Missing("The change", "nrr"),
                Chart("waterfall", needs="nrr"),
                Fold("Which customers moved it most", (LARGEST,)),
            ),
            absent=_without_money,
        ),
        Section(
            "churned",
            "Who churned?",
            _churned_lead,
            (
                Table(
                    "churned",
                    {
                        "Customer": Cell(
                            "{name}",
                            under=lambda row: (
                                "won back on {won_back_on:day}" if row["won_back_on"] else ""
                            ),
                        ),
                        "ARR": "arr:brief_money",
                        "Churned": "churned_on:day",
                        "Notice given": "notice_on:day",
                        "Score a quarter before": "score:number",
                        "Reason": "reason:Words",
                    },
                    label="churned customers",
                ),
            ),
        ),
        Section(
            "renewals",
            "What renews, and how much of it may churn?",
            _renewing,
            _renewal_blocks,
        ),
        Section(
            "predicted",
            "Did the last prediction hold?",
            _predicted_lead,
            (
                Chart("predicted", needs="predicted.expected_arr"),
                Fold("Each prediction, its range, and what happened", (PREDICTIONS,)),
            ),
        ),
        Section(
            "accounts",
            "Which accounts should we save first?",
            _accounts_lead,
            (ACCOUNTS,),
            report="calculate_health_score",
        ),
    ),
    method=(
        "NRR and GRR compare the ARR of the customers of a year before with what they pay now; all amounts are at the rates of "
        "{as_of:day}",
        "Expected churn is probability × ARR in the next {horizon_days:number day}; ranges come from simulations",
        "Of renewals it is the probability of churn or notice by the end of their window; of what is overdue or "
        "uncontracted, within {horizon_days:number day}",
        "The predictions are rebuilt from what was known on their days; a customer that gave notice in one quarter and churned in the "
        "next is counted in both",
        "Churn of a year is counted at what each customer paid last; in the change of the ARR it is what the customers of a year ago "
        "paid then",
    ),
    sure=(
        lambda board: (
            "Of the last {past_predictions.quarters:number} predictions of churn, the ranges of {past_predictions.within:number} "
            "held; together they expected {past_predictions.expected_arr:brief_money}, and {past_predictions.churned_arr:brief_money} "
            "happened: they were {past_predictions.reads}"
            if board.past_predictions is not None
            else ""
        ),
        "Ranges hold in {change.interval_level:percent} of simulated futures",
        lambda board: ". ".join(window_notes([dict(row) for row in board.renewals], "renewals")),
    ),
    portfolio=True,
)
