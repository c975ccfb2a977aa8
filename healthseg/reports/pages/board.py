"""The board's page: how revenue holds, who churned, what renews, whether predictions held, which accounts to save."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from healthseg.metrics.money import PARTS
from healthseg.reports.pages.common import (
    portfolio_about,
    renewals,
    window_notes,
)
from healthseg.reports.spec import Card, Cell, Chart, Facts, Fold, Missing, Page, Section, Table

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
    """What the year's ARR became, bar by bar."""
    if board.nrr is None or board.total_arr is None:
        return ()
    amount = {
        part: f"{{frames.waterfall[{at}].amount:brief_money}}" for at, part in enumerate(PARTS)
    }
    change = {part: amount[part].replace("brief_money", "signed_money") for part in MOVES}
    return (
        f"ARR went from {amount['start']} to {amount['end']}: {change['new']} from new customers, "
        f"{change['expansion']} by expansion, {change['contraction']} by contraction, {change['churn']} by churn",
        "Churn is what customers of a year ago paid then; with those that began since, and by what they paid last, it is "
        "{churned_arr:brief_money}"
        if board.churned_customers
        else "",
    )


def _renewing(board: Any) -> tuple[str, ...]:
    """The window of the horizon in a sentence."""
    window = f"next {board.horizon_days} days"
    at = [n for n, row in enumerate(board.renewals) if row.window == window and _of_all(dict(row))]
    windows = tuple(
        f"{{renewals[{n}].arr:brief_money}} ARR at {{renewals[{n}].customers:number customer}} renews in the "
        f"{{renewals[{n}].window}}; {{renewals[{n}].expected:brief_money}} of it is expected to churn by then"
        for n in at
    )
    return (*windows, *window_notes([dict(row) for row in board.renewals], "renewals"))


def _without_money(board: Any) -> str:
    """Why there is no revenue to compare."""
    return "" if board.nrr is not None else board.not_measured["$.nrr"]


def _churned_lead(board: Any) -> tuple[str, ...]:
    if not board.churned:
        return ("No customer churned in the last year",)
    first = board.churned[0]
    return (
        "{churned_customers:number customer} churned in a year"
        + (", with {churned_arr:brief_money} ARR" if board.churned_arr is not None else ""),
        "The largest was {churned[0].name}, with {churned[0].arr:brief_money} on {churned[0].churned_on:day}"
        + (
            "; a quarter before its score was {churned[0].score:number}"
            if first.score is not None
            else ""
        ),
        "{scores_before.missed:number} of {scores_before.customers:number} that had a score, with "
        "{scores_before.missed_arr:brief_money} ARR, scored {scores_before.threshold:number} or more a quarter before: the score gave no warning of them"
        if board.scores_before is not None and board.scores_before.missed
        else "",
        "ARR is what a customer paid last" if first.arr is not None else "",
    )


def _predicted_lead(board: Any) -> tuple[str, ...]:
    """The last prediction in a sentence, whether it held, and how a reader has to take the next one."""
    past = board.predicted
    if past.expected_arr is None or past.churned_arr is None:
        return (
            "{predicted.churned:number customer} churned or gave notice since {predicted.predicted_on:day}; what was expected then is "
            "unknown",
        )
    return (
        "On {predicted.predicted_on:day}, {predicted.expected_arr:brief_money} was expected to churn or give notice by "
        "{predicted.until:day} ({predicted.lower:brief_money} to {predicted.upper:brief_money}); "
        "{predicted.churned_arr:brief_money} did, " + OUTCOMES.get(past.outcome, ""),
        "{predicted.expected:number.1} customers were expected to, {predicted.churned:number} did",
        _past_lead(board.past_predictions),
    )


def _past_lead(past: Any) -> str:
    if past is None:
        return ""
    return (
        "Over the last {past_predictions.quarters:number} predictions, {past_predictions.expected_arr:brief_money} was "
        "expected and {past_predictions.churned_arr:brief_money} churned or gave notice; {past_predictions.within:number} of "
        "{past_predictions.quarters:number} ranges held. " + READINGS[past.reads]
    )


READINGS = {
    "too high": "So read the {change.expected_churned_arr:brief_money} for the next {horizon_days:number} days as a ceiling, not as "
    "a forecast to budget with",
    "too low": "So read the {change.expected_churned_arr:brief_money} for the next {horizon_days:number} days as a floor, and plan "
    "for more",
    "about right": "So the {change.expected_churned_arr:brief_money} for the next {horizon_days:number} days can be planned with, "
    "within its range",
}


OUTCOMES = {
    "below": "less than the range allows",
    "within": "within the range: the prediction held",
    "above": "more than the range allows",
}


def _cards(board: Any) -> tuple[Card, ...]:
    """The figures that are known."""
    retention = (
        Card("NRR over a year", "{nrr:percent}", note="target {nrr_target:percent}"),
        Card("GRR over a year", "{grr:percent}", note="target {grr_target:percent}"),
    )
    churned = Card(
        "Churned in a year", "{churned_arr:brief_money}", note="{churned_customers:number customer}"
    )
    counted = Card("Churned in a year", "{churned_customers:number customer}")
    expected = Card(
        "Expected to churn",
        "{change.expected_churned_arr:brief_money}",
        note="in the next {horizon_days:number day}",
    )
    return (
        Card("ARR", "{total_arr:brief_money}", note="{customers:number customer}")
        if board.total_arr is not None
        else Card("Live customers", "{customers:number}"),
        *(retention if board.nrr is not None else ()),
        churned if board.churned_arr else counted,
        *((expected,) if board.change.expected_churned_arr is not None else ()),
    )


def _change(board: Any) -> tuple[str, ...]:
    """What the expected churn rests on, where there is any of it."""
    change = board.change
    return (
        "{change.expected_churned_arr:brief_money} is expected to churn in {horizon_days:number day}; saving the "
        "{accounts:count account} below keeps up to {change.of_accounts:brief_money} of it",
        "{change.notices:number customer} gave notice, with {change.notice_arr:brief_money} ARR"
        if change.notices
        else "",
        "{change.uncontracted_customers:number customer} with {change.uncontracted_arr:brief_money} ARR no longer "
        + ("has a contract" if change.uncontracted_customers == 1 else "have a contract")
        if change.uncontracted_customers
        else "",
        "{change.ready:number customer} with {change.ready_arr:brief_money} ARR "
        + ("is ready to expand" if change.ready == 1 else "are ready to expand")
        if change.ready
        else "",
    )


def _accounts_lead(board: Any) -> tuple[str, ...]:
    if not board.accounts:
        return ("No ARR is known that could churn",)
    return (
        "These {accounts:count account} hold {change.of_accounts:brief_money} of the expected churn, "
        "{change.share_of_accounts:percent} of all",
    )


ACCOUNTS = Table(
    "accounts",
    {
        "Customer": Cell("{name}", under="{override:prose}"),
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
            "retention",
            "Does revenue hold?",
            (
                "The customers of a year ago pay {nrr:percent} of what they paid then, {grr:percent} without their "
                "expansion",
                lambda board: (
                    "The targets are {nrr_target:percent} and {grr_target:percent}"
                    if board.nrr is not None
                    else ""
                ),
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
                LARGEST,
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
                        "Customer": "name",
                        "ARR": "arr:brief_money",
                        "Churned": "churned_on:day",
                        "Notice given": "notice_on:day",
                        "Score a quarter before": "score:number",
                        "Reason": "reason:Words",
                        "Won back": "won_back_on:day",
                    },
                    label="churned customers",
                ),
            ),
        ),
        Section(
            "renewals",
            "What renews, and how much of it may churn?",
            _renewing,
            lambda board: (
                renewals("renewals", [dict(row) for row in board.renewals]),
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
            ),
        ),
        Section(
            "predicted",
            "Did the last prediction hold?",
            _predicted_lead,
            (Chart("predicted", needs="predicted.expected_arr"),),
        ),
        Section(
            "change",
            "What would change the number?",
            _change,
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
        "The prediction is rebuilt from what was known on its day",
    ),
    sure=(
        lambda board: (
            "Of the last {past_predictions.quarters:number} predictions of churn, the ranges of {past_predictions.within:number} "
            "held; together they were {past_predictions.reads}"
            if board.past_predictions is not None
            else ""
        ),
    ),
    portfolio=True,
)
