"""The page of the book's health: a function for each question of a Monday morning."""

from __future__ import annotations

from typing import Any

from healthseg.charts import formats
from healthseg.faces.books import open_book
from healthseg.faces.html import page
from healthseg.faces.html.page import (
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
from healthseg.faces.pages.what_if import what_if

__all__ = [
    "attention",
    "disagreement",
    "footer",
    "gaps",
    "method",
    "movers",
    "open_book",
    "opening",
    "spread",
    "trust",
    "what_if",
]


def opening(book: Any) -> Html:
    """The book, as of when, the verdict, and its figures at a glance."""
    return page.book_opening(book, "Book health", "The book’s health", _cards(book))


def _cards(book: Any) -> list[Card]:
    moved = book.average_change
    arr = [
        Card(
            "ARR",
            formats.brief_money(book.total_arr, book.currency),
            f"{formats.number(book.total_customers)} live customers",
        )
    ]
    if book.total_arr is None and book.total_arr_by_currency:
        arr = [
            Card(
                "ARR",
                formats.DASH,
                "; ".join(
                    formats.brief_money(value, name)
                    for name, value in book.total_arr_by_currency.items()
                ),
            )
        ]
    change = "" if moved is None else formats.signed(moved, 1)
    return [
        Card(
            "Average score",
            formats.number(book.average_score),
            f"{formats.number(book.scored_customers)} of {formats.number(book.total_customers)} have one; change in "
            f"{book.lookback_period_days} days",
            change,
            "" if not moved else "up" if moved > 0 else "down",
        ),
        Card(
            f"Below {formats.number(book.risk_threshold)}",
            formats.number(book.at_risk_customers),
            "customers at risk",
        ),
        _amount(book, "ARR at risk", book.at_risk_arr, "of the customers below"),
        _amount(
            book,
            "At stake",
            book.at_stake,
            book.at_stake_basis.partition(" (where")[0].partition(",")[0],
        ),
        *arr,
    ]


def _has_arr(book: Any) -> bool:
    return book.total_arr is not None or bool(book.total_arr_by_currency)


def _amount(book: Any, name: str, amount: float | None, note: str) -> Card:
    """An amount of the whole book: none where no ARR is known, which is not zero."""
    known = _has_arr(book)
    figure = formats.brief_money(amount, book.currency) if known else formats.DASH
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


def attention(book: Any) -> Html:
    """Who needs attention today?"""
    columns = [
        _NAME,
        _score(),
        _CHANGE,
        page.money_column(book, "at_stake", "At stake"),
        page.money_column(book),
        Column("renewal_on", "Renewal", formats.day, True),
        Column("csm_id", "Manager"),
    ]
    lead = joined(
        f"{formats.number(book.at_risk_customers)} of {formats.number(book.total_customers)} customers are below "
        f"{formats.number(book.risk_threshold)}",
        f"First come those with most at stake, by {book.at_stake_basis}"
        if _has_arr(book)
        else "No ARR is known, so that nothing can be said of what is at stake: the lowest scores come first",
    )
    rows = book.frame("customers").to_dict("records")
    return Html(
        paragraph(lead, "lead")
        + table(
            rows,
            columns,
            "Most at stake first" if _has_arr(book) else "Lowest score first",
            "customers",
        )
        + figure(book, "attention"),
        lead,
    )


def movers(book: Any) -> Html:
    """Who moved most, up and down?"""
    found = book.frame("movers")
    columns = [_NAME, _score(), _CHANGE, page.money_column(book)]
    lead = f"Over the last {book.lookback_period_days} days."
    pieces = []
    for direction, title in (("up", "Up"), ("down", "Down")):
        rows = found[found["direction"] == direction].to_dict("records")
        pieces.append(
            f"<h3>{title}</h3>" + (table(rows, columns, label="customers") or paragraph("Nobody."))
        )
    return Html(paragraph(lead, "lead") + "".join(pieces) + figure(book, "movers"), lead)


def disagreement(book: Any) -> Html:
    """Where do score and money disagree?"""
    rows = book.frame("disagreements").to_dict("records")
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
        + figure(book, "disagreements"),
        lead,
    )


def spread(book: Any) -> Html:
    """How is health spread, by band and ARR, over time?"""
    names = [*book.bands]
    rows = [
        {"band": band, "customers": book.bands[band], "arr": book.arr_by_band.get(band)}
        for band in names
    ]
    columns = [
        Column("band", "Band", markup=_band),
        Column("customers", "Customers", formats.number, True),
        Column("arr", "ARR", lambda value: formats.money(value, book.currency), True),
    ]
    past = [
        {**row, "date": formats.day(row["date"])} for row in book.frame("bands").to_dict("records")
    ]
    over = [
        Column("date", "Date", formats.plain),
        Column("band", "Band", formats.words),
        Column("customers", "Customers", formats.number, True),
        Column("arr", "ARR", formats.money, True),
    ]
    steps = [
        {"step": f"{row['low']:.0f} to {row['high']:.0f}", **row}
        for row in book.frame("distribution").to_dict("records")
    ]
    bins = [
        Column("step", "Score", formats.plain),
        Column("customers", "Customers", formats.number, True),
        Column("arr", "ARR", formats.money, True),
    ]
    return Html(
        table(rows, columns, label="bands")
        + figure(book, "distribution", table(steps, bins, label="steps"))
        + figure(book, "bands", table(past, over, label="rows"))
    )


def _band(row: Any) -> str:
    return f'<span><span class="hs-dot hs-is-{safe(row["band"])}"></span>{safe(formats.words(row["band"]))}</span>'


def trust(book: Any) -> Html:
    """Can the score be trusted?"""
    known = joined(
        f"{book.scored_customers:,} of {book.total_customers:,} live customers have a score",
        f"on average {formats.percent(book.coverage)} of its inputs are known"
        if book.coverage is not None
        else "",
    )
    card = (
        "How often the score was right, how early and beside what, is told by its report card: "
        "the notebook score_report_card holds every past score against who left"
    )
    return Html(
        paragraph(known, "lead")
        + paragraph(joined(book.leaving_model or ""))
        + paragraph(joined(card)),
        known,
    )


def gaps(book: Any) -> Html:
    """What is missing in the data?"""
    rows = book.frame("coverage").to_dict("records")
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
        paragraph(lead, "lead") + figure(book, "coverage", table(rows, columns, label="inputs")),
        lead,
    )


def method(book: Any) -> Html:
    """How was this computed? Behind a fold."""
    return page.method(
        book,
        "Each live customer has the score of its own report: the weighted mean of the components that can be measured",
        "Customers with too few known inputs have none, and are listed as unknown, never as healthy",
        f"At stake is {book.at_stake_basis}",
        "Past dates are rebuilt from what was known on each of them, by today's rules",
        "Amounts of different currencies are never added up",
        pairs=[
            ("Look-back", f"{book.lookback_period_days} days"),
            ("Risk threshold", formats.number(book.risk_threshold)),
        ],
    )
