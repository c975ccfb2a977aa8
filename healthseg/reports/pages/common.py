"""What several pages show alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from healthseg.charts.formats import is_missing
from healthseg.reports.spec import Card, Cell, Points, Row, Section, Table, Text
from healthseg.rules import listed

NEXT_ACTIONS = Points(
    "recommendations_detail", "{text:prose}", ordered=True, empty="No action is due."
)
# of results with ``next_actions``: what, who, by when, why
NEXT_ACTIONS_OF_CUSTOMER = Points(
    "next_actions",
    "{text:prose}",
    under="{owner:manager?nobody assigned} · by {due_on:day?no date} · {why:prose}",
    severity="severity",
    ordered=True,
    empty="Nothing is due for a customer that has churned.",
)


def actions_section(name: str, *topics: str, rows: str = "next_actions", more: Any = ()) -> Section:
    """What to do next about a page's own subject; the overview, which it links to, lists all of the customer's actions."""
    shown = replace(
        NEXT_ACTIONS_OF_CUSTOMER,
        rows=rows,
        where=lambda row: row["topic"] in topics,
        empty="None of the first actions is about this subject: the overview has them.",
    )
    blocks = (lambda result: (shown, *more(result))) if callable(more) else (*more, shown)
    return Section(name, "What to do next?", blocks=blocks, report="customer_360")


# of portfolios' results with ``next_actions``: whose first
FIRST_ACTIONS = Points(
    "next_actions",
    "{text:prose}",
    title="{name}",
    under=lambda row: (
        "{owner:manager?nobody assigned} · by {due_on:day?no date} · {why:prose}"
        + ("" if " ARR" in row["why"] or row["arr"] is None else " · {arr:brief_money} ARR")
    ),
    severity="severity",
    ordered=True,
    empty="Nothing is urgent.",
)


def _owners(row: Row) -> str:
    """Who acts on several customers at once, and by when."""
    owners = range(len(row["figures"]["owners"]))
    who = listed(f"{{figures.owners[{at}]:manager}}" for at in owners) or "nobody assigned"
    return f"{who} · each before its day, the first on {{figures.first_on:day}}, the last on {{figures.due_on:day}}"


# of portfolios' results with ``portfolio_actions``: what is done with several customers at once
ACROSS = Points("portfolio_actions", "{text:prose}", under=_owners, severity="severity")
# of portfolios' results with ``recommended_actions_detail`` and ``decide_by``: what the team decides, and by when
DECISIONS = Points(
    "recommended_actions_detail",
    "{text:prose}",
    under=lambda row: f"Head of customer success · by {{decide_by.{row['severity']}:day}}",
    ordered=True,
    empty="No action is due.",
    limit=5,
)
# of results with ``recommended_actions`` as sentences
NEXT_ACTIONS_SECTION = Section(
    "actions",
    "What to do next?",
    blocks=(
        Points(
            "recommended_actions",
            "{page_item:prose}",
            ordered=True,
            empty="No action is due.",
            limit=5,
        ),
    ),
)
CUSTOMER_ABOUT = "As of {as_of:day} · {client_id}"
NO_CUSTOMER = "no client_id was given"


def portfolio_about(result: Any) -> str:
    """As of when, and which customers are not counted."""
    why = [
        f"{{excluded.{reason}:number}} {reason.replace('_', ' ')}"
        for reason, customers in result.excluded.items()
        if customers
    ]
    return "As of {as_of:day}" + (f" · not counted: {'; '.join(why)}" if why else "")


def arr_cards(result: Any) -> tuple[Card, ...]:
    """The ARR in each of several currencies that cannot be added up; names of currencies that are no codes have none."""
    codes = filter(re.compile("[A-Z]{3}").fullmatch, sorted(result.total_arr_by_currency))
    return tuple(
        Card(f"ARR in {code}", f"{{total_arr_by_currency.{code}:number}}") for code in codes
    )


def window_notes(rows: Sequence[Row], path: str) -> tuple[str, ...]:
    """Of which windows of renewals, by their path, the expected churn is extrapolated, or not measured, and why."""
    windows: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        if row["band"] == "all" and row["customers"] and row["note"]:
            windows.setdefault(row["note"], []).append(at)
    return tuple(
        f"{listed((f'{{{path}[{at}].window}}' for at in positions), len(positions))}: {{{path}[{positions[0]}].note}}"
        for positions in windows.values()
    )


def churn_range(part: str = "", none: str = "") -> Callable[[Row], str]:
    """The range of the ARR that may churn of a row, whose ``part`` has it; of few customers most quarters see no churn at all,
    and a range of nothing to nothing beside an expected amount would read as an error: then ``none`` is said."""

    def text(row: Row) -> str:
        known = row
        for name in part.split(".")[:-1]:
            known = known[name]
        if is_missing(known["upper"]) or is_missing(known["expected"]):
            return ""
        if known["upper"] < known["expected"]:
            return none or "most likely none"
        return f"{{{part}lower:brief_money}}\u00a0to\u00a0{{{part}upper:brief_money}}"

    return text


def renewal_windows(windows: Iterable[Row]) -> Callable[[Row], bool]:
    """Which rows of the windows a table of all bands lists: those with customers, and nobody without a contract twice."""
    sizes = {row["kind"]: row["customers"] for row in windows if row["band"] == "all"}
    twice = sizes.get("overdue", 0) <= sizes.get("uncontracted", 0)

    def listed(row: Row) -> bool:
        known = row["band"] == "all" and row["customers"]
        return bool(known and not (twice and row["kind"] == "overdue"))

    return listed


def renewals(
    path: str, windows: Sequence[Row], kind: str = "", caption: str = "", under: Text = ""
) -> Table:
    """What renews in each window of a result's frame or list, of all bands; of one ``kind``, with a line ``under`` the ARR."""
    shown = renewal_windows(windows)
    return Table(
        path,
        {
            "Renewal": "window:Words",
            "Customers": "customers:number",
            "ARR": Cell("arr:brief_money", under=under),
            "Expected to churn by its end": "expected:brief_money",
            "Range": churn_range(),
        },
        caption,
        "windows",
        where=lambda row: shown(row) and (not kind or row["kind"] == kind),
        empty="" if kind == "quarter" else "No renewal is known.",
    )


def largest_first(column: str) -> Callable[[Row], float]:
    """Rows by a column, the largest first, those without it last."""
    return lambda row: float("inf") if is_missing(row[column]) else -row[column]
