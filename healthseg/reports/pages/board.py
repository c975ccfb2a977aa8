"""The board's page: how revenue holds, who churned, what renews, whether predictions held, which accounts to save."""

from __future__ import annotations

from typing import Any

from healthseg.reports.pages.common import portfolio_about
from healthseg.reports.spec import Card, Cell, Chart, Fold, Page, Section, Table

BAND_WORDS = "band:Words"


def _of_all(row: Any) -> bool:
    return bool(row["band"] == "all" and row["customers"])


def _of_bands(row: Any) -> bool:
    return bool(row["band"] != "all" and row["kind"] in ("days", "quarter"))


LARGEST = Table(
    "bridge",
    {"Customer": "name", "Movement": "part:Words", "ARR": "arr:brief_money"},
    "The largest names of each bar",
    "movements",
)


def _churned_lead(board: Any) -> tuple[str, ...]:
    if not board.churned:
        return ("Nobody churned in a year",)
    first = board.churned[0]
    return (
        "{churned_customers:number customer} churned in a year, with {churned_arr:brief_money} ARR",
        "The largest was {churned[0].name} with {churned[0].arr:brief_money} on {churned[0].churned_on:day}"
        + (
            "; its score a quarter before was {churned[0].score:number}"
            if first.score is not None
            else ""
        ),
    )


def _predicted_lead(board: Any) -> tuple[str, ...]:
    past = board.predicted
    if past.expected_arr is None or past.churned_arr is None:
        return (
            "{predicted.churned_customers:number customer} churned since {predicted.from_date:day}; no prediction "
            "was possible then",
        )
    inside = past.lower <= past.churned_arr <= past.upper
    verdict = "within" if inside else "outside"
    return (
        "On {predicted.from_date:day} {predicted.expected_arr:brief_money} was expected to churn by "
        "{predicted.to_date:day} ({predicted.lower:brief_money} to {predicted.upper:brief_money}); "
        f"{{predicted.churned_arr:brief_money}} did, {verdict} the range",
        "{predicted.expected_customers:number.1} customers were expected, {predicted.churned_customers:number} churned",
    )


def _cards(board: Any) -> tuple[Card, ...]:
    return (
        Card("ARR", "{total_arr:brief_money}", note="{customers:number customer}"),
        Card("NRR over a year", "{nrr:percent}", note="target {nrr_target:percent}"),
        Card("GRR over a year", "{grr:percent}", note="target {grr_target:percent}"),
        Card(
            "Churned in a year",
            "{churned_arr:brief_money}",
            note="{churned_customers:number customer}",
        ),
        Card(
            "Expected to churn",
            "{change.expected_churned_arr:brief_money}",
            note="in the next {horizon_days:number day}",
        ),
    )


ACCOUNTS = Table(
    "accounts",
    {
        "Customer": Cell("{name}", under="{override:prose}"),
        "ARR": "arr:brief_money",
        "Score": "score:number",
        "Churn": Cell("churn_probability:percent", bar=True),
        "Expected loss": "expected_churned_arr:brief_money",
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
    title="The board",
    about=(portfolio_about,),
    cards=_cards,
    sections=(
        Section(
            "retention",
            "Does revenue hold?",
            (
                "NRR is {nrr:percent} (target {nrr_target:percent}), GRR {grr:percent} (target {grr_target:percent})",
            ),
            (Chart("retention", needs="nrr"),),
        ),
        Section(
            "bridge",
            "What changed the ARR in a year?",
            (),
            (
                Chart("waterfall", needs="nrr"),
                LARGEST,
            ),
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
                        "Notice": "notice_on:day",
                        "Score a quarter before": "score:number",
                        "Won back": "won_back_on:day",
                    },
                    label="churned customers",
                ),
            ),
        ),
        Section(
            "renewals",
            "What renews, and what may it cost?",
            (),
            (
                Table(
                    "renewals",
                    {
                        "Window": "window:Words",
                        "Customers": "customers:number",
                        "ARR": "arr:brief_money",
                        "Expected churn": "expected:brief_money",
                        "From": "lower:brief_money",
                        "To": "upper:brief_money",
                    },
                    label="windows",
                    where=_of_all,
                ),
                Fold(
                    "By health band",
                    (
                        Table(
                            "renewals",
                            {
                                "Window": "window:Words",
                                "Band": BAND_WORDS,
                                "Customers": "customers:number",
                                "ARR": "arr:brief_money",
                                "Expected churn": "expected:brief_money",
                            },
                            label="windows and bands",
                            where=_of_bands,
                        ),
                    ),
                ),
            ),
        ),
        Section("predicted", "Did the last prediction hold?", _predicted_lead),
        Section(
            "accounts",
            "Which accounts are to be saved?",
            (
                "These {accounts:count account} hold {change.of_accounts:brief_money} of the expected churn, "
                "{change.share_of_accounts:percent} of all",
            ),
            (ACCOUNTS,),
        ),
        Section(
            "change",
            "What would change the number?",
            (
                "{change.expected_churned_arr:brief_money} is expected to churn in {horizon_days:number day}; saving the accounts above keeps "
                "up to {change.of_accounts:brief_money} of it",
                "{change.notices:number customer} gave notice, with {change.notice_arr:brief_money} ARR",
                "{change.uncontracted_customers:number customer} with {change.uncontracted_arr:brief_money} ARR have no contract any more",
                "{change.ready:number customer} with {change.ready_arr:brief_money} ARR are ready to expand",
            ),
        ),
    ),
    method=(
        "NRR and GRR compare the ARR of the customers of a year before with what they pay now; all amounts are at the rates of "
        "{as_of:day}",
        "Expected churn is probability × ARR in the next {horizon_days:number day}; ranges come from simulated quarters",
        "The prediction is rebuilt from what was known on its day",
    ),
    sure=(
        lambda board: (
            "The last prediction of churn was {predicted.expected_arr:brief_money}; "
            "{predicted.churned_arr:brief_money} churned"
            if board.predicted.expected_arr is not None and board.predicted.churned_arr is not None
            else ""
        ),
    ),
    portfolio=True,
)
