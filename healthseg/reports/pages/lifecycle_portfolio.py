"""The page of the portfolio's stages: a function for each question of who leads the managers."""

from __future__ import annotations

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
    paragraph,
    table,
)
from healthseg.reports.portfolios import open_portfolio

__all__ = [
    "apart",
    "back",
    "footer",
    "matrix",
    "method",
    "open_portfolio",
    "opening",
    "stages",
    "stuck",
    "times",
    "to_do",
]

_NAME = Column("name", "Customer", markup=lambda row: isolated(row["name"]))
_WHY = Column("name", "Customer and why", markup=lambda row: page.noted(row["name"], row["reason"]))


def opening(portfolio: Any) -> Html:
    """The portfolio, as of when, the verdict, and its figures at a glance."""
    return page.portfolio_opening(
        portfolio, "Lifecycle", "The portfolio’s stages", _cards(portfolio)
    )


def _cards(portfolio: Any) -> list[Card]:
    risk = None if portfolio.stage_arr is None else portfolio.stage_arr.get("at_risk")
    found = [
        Card(
            "Live customers",
            formats.number(portfolio.total_customers),
            formats.brief_money(portfolio.total_arr, portfolio.currency) + " ARR"
            if portfolio.total_arr is not None
            else "",
        ),
        Card(
            "At risk",
            formats.number(portfolio.stage_counts.get("at_risk")),
            f"{formats.brief_money(risk, portfolio.currency)} ARR"
            if risk is not None
            else "customers",
        ),
        Card(
            "Stuck",
            formats.number(len(portfolio.stuck_customers)),
            "longer in a stage than nearly all",
        ),
        Card(
            "Fell back", formats.number(len(portfolio.setbacks)), f"in {portfolio.window_days} days"
        ),
        Card(
            "Contradicted",
            formats.number(len(portfolio.disagreements)),
            "by contracts, leaving or usage",
        ),
    ]
    return found


def stages(portfolio: Any) -> Html:
    """Who is in which stage, and how did that develop?"""
    columns = [
        Column("stage", "Stage", formats.words),
        Column("customers", "Customers", formats.number, True),
        Column("arr", "ARR", lambda value: formats.money(value, portfolio.currency), True),
        Column("typical_days", "Half leave by day", formats.number, True),
        Column("n", "Stays watched", formats.number, True),
        Column("stuck", "Stuck", formats.number, True),
    ]
    past = [
        {**row, "date": formats.day(row["date"])}
        for row in portfolio.frame("over_time").to_dict("records")
    ]
    over = [
        Column("date", "Date", formats.plain),
        Column("stage", "Stage", formats.words),
        Column("customers", "Customers", formats.number, True),
        Column("arr", "ARR", formats.money, True),
    ]
    none = (
        f"{formats.number(portfolio.without_stage)} live customers have no stage"
        if portfolio.without_stage
        else ""
    )
    rows = portfolio.frame("stages").to_dict("records")
    return Html(
        (paragraph(joined(none), "lead") if none else "")
        + table(rows, columns, label="stages")
        + figure(portfolio, "stages", table(past, over, label="rows"))
    )


def matrix(portfolio: Any) -> Html:
    """How do customers move from stage to stage?"""
    columns = [
        Column("source", "From", formats.words),
        Column("target", "To", formats.words),
        Column("share", "Share", formats.percent, True),
        Column("lower", "At least", formats.percent, True),
        Column("upper", "At most", formats.percent, True),
        Column("n", "Moves", formats.number, True),
        Column("of", "Of", formats.number, True),
    ]
    rows = portfolio.frame("matrix").to_dict("records")
    lead = joined(
        "Of the stays in a stage that ended while the portfolio was watched",
        f"intervals are at {formats.percent(portfolio.interval_level)} (Wilson)",
    )
    return Html(
        paragraph(lead, "lead") + figure(portfolio, "matrix", table(rows, columns, label="moves")),
        lead,
    )


def times(portfolio: Any) -> Html:
    """How long do customers stay in a stage?"""
    columns = [
        Column("stage", "Stage", formats.words),
        Column("q25", "A quarter left by day", formats.number, True),
        Column("median", "Half", formats.number, True),
        Column("q75", "Three quarters", formats.number, True),
        Column("stuck_from", "Nearly all", formats.number, True),
        Column("n", "Stays watched", formats.number, True),
    ]
    rows = portfolio.frame("durations").to_dict("records")
    return Html(figure(portfolio, "durations", table(rows, columns, label="stages")))


def stuck(portfolio: Any) -> Html:
    """Who is stuck?"""
    columns = [
        _WHY,
        Column("stage", "Stage", formats.words),
        Column("days", "Days", formats.number, True),
        page.money_column(portfolio),
        Column("csm_id", "Manager"),
    ]
    rows = portfolio.frame("stuck").to_dict("records")
    lead = (
        joined(
            f"Stuck is who is still in a stage when no more than {formats.percent(portfolio.stuck_share)} of all that "
            "came into it are; most ARR first"
        )
        if rows
        else ""
    )
    return Html(
        (paragraph(lead, "lead") if lead else "")
        + table(rows, columns, label="customers")
        + figure(portfolio, "stuck"),
        lead,
    )


def back(portfolio: Any) -> Html:
    """Who fell back, and who comes to a stage again?"""
    columns = [
        _NAME,
        Column("on", "On", formats.day, True),
        Column("source", "From", formats.words),
        Column("target", "To", formats.words),
        page.money_column(portfolio),
        Column("csm_id", "Manager"),
    ]
    moves = portfolio.frame("moves").sort_values("arr", ascending=False, kind="stable")
    fallen = moves[moves["kind"] == "setback"].to_dict("records")
    won = moves[moves["kind"] == "win-back"].to_dict("records")
    again = [
        Column("stage", "Stage", formats.words),
        Column("stays", "Stays", formats.number, True),
        Column("returns", "Returns", formats.number, True),
        Column("share", "Share", formats.percent, True),
    ]
    lead = joined(
        f"{formats.number(len(fallen))} moves back in {portfolio.window_days} days: to at risk, from engaged to "
        "active, or to a beginning; most ARR first"
    )
    markup = paragraph(lead, "lead") + table(fallen, columns, label="moves")
    if won:
        markup += "<h3>Won back</h3>" + table(won, columns, label="customers")
    returns = portfolio.frame("returns").to_dict("records")
    markup += "<h3>Returns: stays of customers that were in the stage before</h3>"
    return Html(markup + table(returns, again, label="stages"), lead)


def apart(portfolio: Any) -> Html:
    """Where do contracts and usage say something else?"""
    rows = portfolio.frame("disagreements").to_dict("records")
    if not rows:
        return Html(paragraph("Nothing contradicts what is recorded."))
    columns = [
        _WHY,
        Column("recorded", "Recorded", formats.words),
        Column("suggests", "Suggested", formats.words),
        Column("since", "Since", formats.day, True),
        page.money_column(portfolio),
        Column("csm_id", "Manager"),
    ]
    lead = f"{formats.number(len(rows))} customers whose stage and another table say two things; most ARR first."
    return Html(paragraph(lead, "lead") + table(rows, columns, label="customers"), lead)


def to_do(portfolio: Any) -> Html:
    """What to do?"""
    return Html(page.advice(one.text for one in portfolio.recommended_actions_detail))


def method(portfolio: Any) -> Html:
    """How was this computed? Behind a fold."""
    return page.method(
        portfolio,
        "Stages are those in force by the end of the day; imported and recorded changes are one history",
        "Shares still in a stage are Kaplan–Meier's with late entry; leaving the portfolio is a door like the others",
        "A stay that began before events were tracked counts from then on",
        "Past dates show live customers in the stage that is known of them today, with the ARR of the date",
        "Amounts of different currencies are never added up",
        pairs=[
            ("Window of moves", f"{portfolio.window_days} days"),
            ("Stuck", formats.percent(portfolio.stuck_share)),
        ],
    )
