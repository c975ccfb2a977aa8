"""The page of the portfolio's health: a function for each question of a Monday morning."""

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
    prose,
    safe,
    table,
)
from healthseg.reports.pages.what_if import what_if
from healthseg.reports.portfolios import open_portfolio

__all__ = [
    "attention",
    "disagreement",
    "footer",
    "gaps",
    "method",
    "movers",
    "open_portfolio",
    "opening",
    "spread",
    "trust",
    "what_if",
]


def opening(portfolio: Any) -> Html:
    """The portfolio, as of when, the verdict, and its figures at a glance."""
    return page.portfolio_opening(
        portfolio, "Portfolio health", "The portfolio’s health", _cards(portfolio)
    )


def _cards(portfolio: Any) -> list[Card]:
    moved = portfolio.average_change
    arr = [
        Card(
            "ARR",
            formats.brief_money(portfolio.total_arr, portfolio.currency),
            f"{formats.number(portfolio.total_customers)} live customers",
        )
    ]
    if portfolio.total_arr is None and portfolio.total_arr_by_currency:
        arr = [
            Card(
                "ARR",
                formats.DASH,
                "; ".join(
                    formats.brief_money(value, name)
                    for name, value in portfolio.total_arr_by_currency.items()
                ),
            )
        ]
    change = "" if moved is None else formats.signed(moved, 1)
    return [
        Card(
            "Average score",
            formats.number(portfolio.average_score),
            f"{formats.number(portfolio.scored_customers)} of {formats.number(portfolio.total_customers)} have one; change in "
            f"{portfolio.lookback_period_days} days",
            change,
            "" if not moved else "up" if moved > 0 else "down",
        ),
        Card(
            f"Below {formats.number(portfolio.risk_threshold)}",
            formats.number(portfolio.at_risk_customers),
            "customers at risk",
        ),
        _amount(portfolio, "ARR at risk", portfolio.at_risk_arr, "of the customers below"),
        _amount(
            portfolio,
            "At stake",
            portfolio.at_stake,
            portfolio.at_stake_basis.partition(" (where")[0].partition(",")[0],
        ),
        *arr,
    ]


def _has_arr(portfolio: Any) -> bool:
    return portfolio.total_arr is not None or bool(portfolio.total_arr_by_currency)


def _amount(portfolio: Any, name: str, amount: float | None, note: str) -> Card:
    """An amount of the whole portfolio: none where no ARR is known, which is not zero."""
    known = _has_arr(portfolio)
    figure = formats.brief_money(amount, portfolio.currency) if known else formats.DASH
    return Card(name, figure, note if known else "no ARR is known")


def _score(key: str = "score") -> Column:
    return Column(key, "Score", numeric=True, markup=_score_markup)


def _score_markup(row: Any) -> str:
    if formats.is_missing(row["score"]):
        return '<span class="hs-dot hs-is-unknown"></span>–'
    band = row.get("band") or ""
    dot = (
        f'<span class="hs-dot hs-is-{safe(band)}" title="{safe(formats.words(band))}"></span>'
        if band
        else ""
    )
    return f"{dot}{formats.number(row['score'])}"


_CHANGE = Column("change", "Change", formats.signed, True)
_NAME = Column(
    "name",
    "Customer and why",
    markup=lambda row: f"{isolated(row['name'])}<small>{prose(row['reason'])}</small>",
)


def attention(portfolio: Any) -> Html:
    """Who needs attention today?"""
    columns = [
        _NAME,
        _score(),
        _CHANGE,
        page.money_column(portfolio, "at_stake", "At stake"),
        page.money_column(portfolio),
        Column("renewal_on", "Renewal", formats.day, True),
        Column("csm_id", "Manager"),
    ]
    lead = joined(
        f"{formats.number(portfolio.at_risk_customers)} of {formats.number(portfolio.total_customers)} customers are below "
        f"{formats.number(portfolio.risk_threshold)}",
        f"First come those with most at stake, by {portfolio.at_stake_basis}"
        if _has_arr(portfolio)
        else "No ARR is known, so that nothing can be said of what is at stake: the lowest scores come first",
    )
    rows = portfolio.frame("customers").to_dict("records")
    return Html(
        paragraph(lead, "lead")
        + table(
            rows,
            columns,
            "Most at stake first" if _has_arr(portfolio) else "Lowest score first",
            "customers",
        )
        + figure(portfolio, "attention"),
        lead,
    )


def movers(portfolio: Any) -> Html:
    """Who moved most, up and down?"""
    found = portfolio.frame("movers")
    columns = [_NAME, _score(), _CHANGE, page.money_column(portfolio)]
    lead = f"Over the last {portfolio.lookback_period_days} days."
    pieces = []
    for direction, title in (("up", "Up"), ("down", "Down")):
        rows = found[found["direction"] == direction].to_dict("records")
        pieces.append(
            f"<h3>{title}</h3>" + (table(rows, columns, label="customers") or paragraph("Nobody."))
        )
    return Html(paragraph(lead, "lead") + "".join(pieces) + figure(portfolio, "movers"), lead)


def disagreement(portfolio: Any) -> Html:
    """Where do score and money disagree?"""
    rows = portfolio.frame("disagreements").to_dict("records")
    columns = [
        _NAME,
        Column("kind", "Kind", formats.words),
        _score(),
        Column("arr", "ARR", formats.money, True),
        Column("arr_change", "Change of ARR", formats.signed, True),
    ]
    lead = (
        f"{formats.number(len(rows))} customers whose money says another thing than their score; look here first."
        if rows
        else ""
    )
    return Html(
        (paragraph(lead, "lead") if lead else "")
        + table(rows, columns, label="customers")
        + figure(portfolio, "disagreements"),
        lead,
    )


def spread(portfolio: Any) -> Html:
    """How is health spread, by band and ARR, over time?"""
    names = [*portfolio.bands]
    rows = [
        {"band": band, "customers": portfolio.bands[band], "arr": portfolio.arr_by_band.get(band)}
        for band in names
    ]
    columns = [
        Column("band", "Band", markup=_band),
        Column("customers", "Customers", formats.number, True),
        Column("arr", "ARR", lambda value: formats.money(value, portfolio.currency), True),
    ]
    past = [
        {**row, "date": formats.day(row["date"])}
        for row in portfolio.frame("bands").to_dict("records")
    ]
    over = [
        Column("date", "Date", formats.plain),
        Column("band", "Band", formats.words),
        Column("customers", "Customers", formats.number, True),
        Column("arr", "ARR", formats.money, True),
    ]
    steps = [
        {"step": f"{row['low']:.0f} to {row['high']:.0f}", **row}
        for row in portfolio.frame("distribution").to_dict("records")
    ]
    bins = [
        Column("step", "Score", formats.plain),
        Column("customers", "Customers", formats.number, True),
        Column("arr", "ARR", formats.money, True),
    ]
    return Html(
        table(rows, columns, label="bands")
        + figure(portfolio, "distribution", table(steps, bins, label="steps"))
        + figure(portfolio, "bands", table(past, over, label="rows"))
    )


def _band(row: Any) -> str:
    return f'<span><span class="hs-dot hs-is-{safe(row["band"])}"></span>{safe(formats.words(row["band"]))}</span>'


def trust(portfolio: Any) -> Html:
    """Can the score be trusted?"""
    known = joined(
        f"{portfolio.scored_customers:,} of {portfolio.total_customers:,} live customers have a score",
        f"on average {formats.percent(portfolio.coverage)} of its inputs are known"
        if portfolio.coverage is not None
        else "",
    )
    card = (
        "How often the score was right, how early and beside what, is told by its report card: "
        "the notebook score_report_card holds every past score against who left"
    )
    return Html(
        paragraph(known, "lead")
        + paragraph(joined(portfolio.leaving_model or ""))
        + paragraph(joined(card)),
        known,
    )


def gaps(portfolio: Any) -> Html:
    """What is missing in the data?"""
    rows = portfolio.frame("coverage").to_dict("records")
    columns = [
        Column("label", "Input"),
        Column("component", "Component", formats.words),
        Column("measured_share", "Measured", formats.percent, True),
        Column("measured", "Customers", formats.number, True),
        Column("weight", "Weight", lambda value: formats.percent(value, 1), True),
    ]
    short = [
        row
        for row in rows
        if not formats.is_missing(row["measured_share"]) and row["measured_share"] < 0.9
    ]
    worst = "; ".join(
        f"{formats.plain(row['label'], 60)} ({formats.percent(row['measured_share'])})"
        for row in sorted(short, key=lambda row: row["measured_share"])[:3]
    )
    lead = (
        joined(f"Least known: {worst}")
        if worst
        else "Every input is known for nine customers of ten."
    )
    return Html(
        paragraph(lead, "lead")
        + figure(portfolio, "coverage", table(rows, columns, label="inputs")),
        lead,
    )


def method(portfolio: Any) -> Html:
    """How was this computed? Behind a fold."""
    return page.method(
        portfolio,
        "Each live customer has the score of its own report: the weighted mean of the components that can be measured",
        "Customers with too few known inputs have none, and are listed as unknown, never as healthy",
        f"At stake is {portfolio.at_stake_basis}",
        "Past dates are rebuilt from what was known on each of them, by today's rules",
        "Amounts of different currencies are never added up",
        pairs=[
            ("Look-back", f"{portfolio.lookback_period_days} days"),
            ("Risk threshold", formats.number(portfolio.risk_threshold)),
        ],
    )
