"""The pictures of value tiers: how large, how concentrated, what became of last year's ARR, what may be lost or won."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from healthseg.charts import canvas, columns, formats, scatter, segments, theme
from healthseg.charts.bars import Axis, Bar, BarRow, rows
from healthseg.charts.heat import heat_map

PARTS = {
    "start": "A year ago",
    "new": "New",
    "expansion": "Expansion",
    "contraction": "Contraction",
    "churn": "Churn",
    "end": "Now",
}


def money_axis(high: float, currency: str | None) -> Axis:
    """A scale of amounts from zero, with about four ticks."""
    reach = max(high, 0.0) or 1.0
    size = 10.0 ** len(str(int(reach))) / 100
    step = next(size * times for times in (1, 2, 5, 10, 20, 50, 100) if reach / (size * times) <= 4)
    ticks = tuple(step * index for index in range(int(max(high, 0.0) // step) + 1))
    names = tuple(
        formats.brief_money(tick, currency if tick == ticks[-1] else None) for tick in ticks
    )
    return Axis(0.0, 1.02 * max(high, 0.0) or 1.0, baseline=0, ticks=ticks, labels=names)


def sizes(frame: pd.DataFrame, currency: str | None) -> theme.Picture:
    """How are customers and ARR spread over the tiers?"""
    title = "Customers and ARR by tier"
    if not len(frame) or not frame["customers"].sum():
        return theme.nothing(title, "There are no customers.")
    items = []
    for row in frame.to_dict("records"):
        bars = [Bar(0, float(row["share"]), theme.FAINT)]
        money = "ARR not known"
        if not formats.is_missing(row["arr_share"]) and not formats.is_missing(row["arr"]):
            money = (
                f"{formats.brief_money(row['arr'], currency)} ({formats.percent(row['arr_share'])})"
            )
            bars = [
                Bar(0, float(row["arr_share"]), theme.HIGHLIGHT, 0.85, 17),
                Bar(0, float(row["share"]), theme.INK, 0.55, 5),
            ]
        items.append(
            BarRow(
                formats.plain(row["tier"]),
                f"{formats.number(row['customers'])} ({formats.percent(row['share'])}) · {money}",
                bars=tuple(bars),
            )
        )
    reach = max(float(frame["share"].max()), float(frame["arr_share"].fillna(0).max()))
    return rows(
        items,
        segments.percent_axis(reach),
        title,
        f"Wide bar: share of the ARR, narrow bar: share of the customers; n = {formats.number(frame['customers'].sum())}",
    )


def lorenz(frame: pd.DataFrame) -> theme.Picture:
    """How unequal is the ARR?"""
    return segments.lorenz(frame)


def waterfall(
    frame: pd.DataFrame, currency: str | None, scope: str = "the portfolio", finding: bool = False
) -> theme.Picture:
    """What became of last year's ARR? Each part hangs where the one before ended; with ``finding`` the title says it."""
    title = "ARR, a year ago and now"
    own = frame[frame["scope"] == scope] if len(frame) else frame
    if not len(own) or not own["amount"].abs().sum():
        return theme.nothing(title, "The ARR of a year ago is not known.")
    amount = own.set_index("part")["amount"]
    title = _grown(amount, currency)
    items, at = [], 0.0
    for part, name in PARTS.items():
        value = float(amount[part])
        whole = part in ("start", "end")
        low, high = (0.0, value) if whole else sorted((at, at + value))
        at = value if whole else at + value
        colour = theme.SOFT if whole else theme.UP if value >= 0 else theme.DOWN
        amount_words = (formats.brief_money if whole else formats.signed_money)(value, currency)
        share = (
            ""
            if whole or not amount["start"] or round(100 * value / amount["start"]) == 0
            else f" ({formats.percent(value / amount['start'])})"
        )
        items.append(
            BarRow(
                name,
                f"{amount_words}{share}",
                bars=(Bar(low, high, colour),),
            )
        )
    if finding and amount["start"]:
        grown = formats.percent(abs(amount["end"] / amount["start"] - 1))
        title = f"ARR {'grew' if amount['end'] >= amount['start'] else 'fell'} by {grown} in a year"
    peak = max(
        float(amount["start"] + max(amount["new"], 0) + max(amount["expansion"], 0)),
        float(amount["end"]),
    )
    return rows(
        items,
        money_axis(peak, currency),
        title,
        "Net change of each customer over twelve months",
    )


def _grown(amount: pd.Series, currency: str | None) -> str:
    """What became of the ARR in a year, as a title."""
    change, start = float(amount["end"] - amount["start"]), float(amount["start"])
    share = f" ({formats.percent(abs(change) / start)})" if start > 0 else ""
    words = formats.brief_money(abs(change), currency) + share
    churned = formats.brief_money(abs(float(amount["churn"])), currency)
    return f"ARR {'grew' if change >= 0 else 'fell'} by {words} in a year; {churned} churned"


def cohorts(frame: pd.DataFrame) -> theme.Picture:
    """How many of the customers that began in a month are live so many months later?"""
    sizes = frame.groupby("cohort")["customers"].first() if len(frame) else {}
    names = {month: f"{month:%b %Y} ({sizes[month]})" for month in sorted(set(frame["cohort"]))}

    def tip(record: dict[str, Any]) -> str:
        live = f"{record['live']:.0f} of {record['customers']:.0f} customers after {record['months']:.0f} months"
        return f"{names[record['cohort']]}: {live}; {formats.percent(record['arr_share'])} of their ARR"

    return heat_map(
        frame,
        "Customers by the month in which they began",
        "Share that is live so many months later; in brackets how many began",
        "No customer began in these months.",
        "cohort",
        "months",
        "share",
        text=lambda cell: formats.percent(cell["share"]),
        tip=tip,
        rows=names,
        columns={month: str(month) for month in range(int(frame["months"].max()) + 1)}
        if len(frame)
        else {},
        strongest=1.0,
    )


def retention(frame: pd.DataFrame) -> theme.Picture:
    """How much of last year's ARR did each tier keep? Gross in the bar, net as the mark."""
    title = "Revenue retention by tier"
    known = frame[frame["nrr"].notna()] if len(frame) else frame
    if not len(known):
        return theme.nothing(title, "The ARR of a year ago is not known.")
    items = [
        BarRow(
            formats.plain(row["tier"]),
            f"net {formats.percent(row['nrr'])} · gross {formats.percent(row['grr'])} · "
            f"n = {formats.number(row['cohort'])}",
            bars=(Bar(0, float(row["grr"]), theme.FAINT),),
            dot=float(row["nrr"]),
            dot_colour=theme.UP if row["nrr"] >= 1 else theme.DOWN,
        )
        for row in known.to_dict("records")
    ]
    reach = max(1.1, float(known["nrr"].max()) * 1.05)
    ticks = tuple(tick for tick in (0, 0.5, 1.0, 1.5, 2.0, 3.0) if tick <= reach)
    axis = Axis(
        0, reach, baseline=1.0, ticks=ticks, labels=tuple(formats.percent(tick) for tick in ticks)
    )
    return rows(
        items,
        axis,
        title,
        "Bar: gross (without growth), dot: net; customers of the tier a year ago",
    )


def moves(frame: pd.DataFrame, order: Sequence[str] = ()) -> theme.Picture:
    """Who is in another tier than a year ago? Tiers as ``order`` has them."""
    return segments.flows(frame, order)


def capacity(frame: pd.DataFrame) -> theme.Picture:
    """Do the managers' hours suffice? The hours that each tier takes, and the mark of those there are."""
    title = "Managers' hours"
    if not len(frame):
        return theme.nothing(title, "There are no tiers.")
    missing = (frame["hours"] - frame["available_hours"]).astype(float)
    if missing.max() > 0:
        short = frame.loc[missing.idxmax(), "tier"]
        title = f"{formats.plain(short)} lacks {formats.number(missing.max())} hours a month"
    elif missing.notna().any():
        title = "Every tier has the hours that it needs"
    items = []
    for row in reversed(frame.to_dict("records")):
        there = "available: not known"
        if not formats.is_missing(row["available_hours"]):
            there = f"{formats.number(row['available_hours'])} h available"
        short = (
            not formats.is_missing(row["available_hours"]) and row["hours"] > row["available_hours"]
        )
        items.append(
            BarRow(
                formats.plain(row["tier"]),
                f"{formats.number(row['hours'])} h needed, {there}",
                bars=(Bar(0, float(row["hours"]), theme.DOWN if short else theme.HIGHLIGHT),),
                target=None
                if formats.is_missing(row["available_hours"])
                else float(row["available_hours"]),
                brief=f"{formats.number(row['hours'])} h",
            )
        )
    reach = max(float(frame["hours"].max()), float(frame["available_hours"].fillna(0).max()), 1.0)
    step = next(
        (size for size in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if reach / size <= 5),
        10_000,
    )
    ticks = tuple(float(step * at) for at in range(int(reach // step) + 1))
    axis = Axis(
        0,
        reach * 1.02,
        baseline=0,
        ticks=ticks,
        labels=tuple(f"{formats.number(tick)} h" for tick in ticks),
    )
    return rows(
        items, axis, title, "Hours a month that the tier needs; line: those that its managers have"
    )


def at_risk(frame: pd.DataFrame, expected: float | None, currency: str | None) -> theme.Picture:
    """How much ARR may churn? Its distribution over simulated quarters, and what is expected."""
    words, title = (
        f"expected {formats.brief_money(expected, currency)}",
        "ARR that may churn in 90 days",
    )
    if len(frame) and expected:
        more = float(frame.loc[frame["low"].astype(float) >= 2 * expected, "share"].sum())
        title = f"In {formats.percent(more)} of quarters more than twice as much churns as expected"
    return columns.columns(
        frame,
        title,
        "How often each sum of ARR churns in 90 days, by each customer's probability",
        "No ARR is known, or the portfolio has no churn rate.",
        "low",
        "high",
        [("share", "of the quarters", theme.DOWN)],
        time=False,
        form="percent.1",
        marks=[] if expected is None else [(expected, words, theme.INK)],
        height=170,
    )


def pipeline(frame: pd.DataFrame, currency: str | None) -> theme.Picture:
    """What could each tier come to pay more? The potential with its interval."""
    title = "Expansion potential by tier"
    known = frame[frame["potential"].fillna(0) > 0] if len(frame) else frame
    if not len(known):
        return theme.nothing(title, "No potential is known, or all are 0.")
    items = [
        BarRow(
            formats.plain(row["tier"]),
            f"{formats.brief_money(row['potential'], currency)} · "
            f"{formats.number(row['ready'])} ready of {formats.number(row['customers'])}",
            bars=(
                Bar(
                    float(row["potential_lower"]),
                    float(row["potential_upper"]),
                    theme.HIGHLIGHT,
                    0.3,
                    17,
                ),
                Bar(0, float(row["potential"]), theme.HIGHLIGHT),
            ),
        )
        for row in known.to_dict("records")
    ]
    most = known.loc[known["potential"].astype(float).idxmax()]
    amount = formats.brief_money(most["potential"], currency)
    title = f"{formats.plain(most['tier'])} has the most to gain: {amount}"
    axis = money_axis(float(known["potential_upper"].max()), currency)
    return rows(
        items,
        axis,
        title,
        "What all customers, ready or not, may come to pay more in a year; pale: from the least to the most",
    )


def standing(
    frame: pd.DataFrame,
    customer: dict[str, Any],
    thresholds: list[float],
    currency: str | None,
) -> theme.Picture:
    """Where does this customer stand by value? Its ARR among all, with the thresholds, on a scale of ratios."""
    title = "ARR among all customers"
    known = frame[frame["arr"].fillna(0) > 0] if len(frame) else frame
    if not len(known) or formats.is_missing(customer["arr"]) or not customer["arr"] > 0:
        return theme.nothing(title, "Its ARR is not known, or 0.")
    rows_ = [
        {
            "value": float(row["arr"]),
            "tip": f"{formats.plain(row.get('name') or 'A customer')}: {formats.money(row['arr'], currency)}",
            "client": canvas.customer(row.get("client_id")),
        }
        for row in known.sort_values("arr", kind="stable").to_dict("records")
    ]
    axis = canvas.axis(title=formats.plain(currency) or None, values=list(thresholds), grid=False)
    subtitle = f"A point a customer, strong in its tier ({customer['tier']}); dashed: thresholds; n = {len(known)}"
    return scatter.heap(
        rows_,
        title,
        subtitle,
        (float(customer["arr"]), customer["name"]),
        thresholds,
        (customer["above"] or 0.0, customer["up_to"] or math.inf),
        axis,
        log=True,
    )
