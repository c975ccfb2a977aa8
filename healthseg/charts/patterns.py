"""The pictures of patterns: what holds, what precedes churn and how early, who the users are, when they are active."""

from __future__ import annotations

import math

import pandas as pd

from healthseg.charts import formats, heat, theme
from healthseg.charts.bars import Axis, Bar, BarRow, rows
from healthseg.charts.lines import curves as shares

TYPES = {
    "temporal": ("When users are active", theme.KINDS[0]),
    "feature_usage": ("Used together, or one after the other", theme.KINDS[1]),
    "communication": ("Messages they respond to", theme.KINDS[2]),
    "support": ("Tickets that follow each other", theme.KINDS[3]),
    "risk": ("What precedes churn", theme.DOWN),
    "success": ("What precedes retention", theme.UP),
}
MOST = 24
LINES = 4
# features of a persona
FEATURES = 3


def times(value: float) -> str:
    """A factor as a reader says it.

    >>> times(2.0), times(0.25)
    ('2.0 ×', '0.25 ×')
    """
    return f"{value:.1f} ×" if value >= 1 else f"{value:.2f} ×"


def _log_axis(low: float, high: float) -> Axis:
    marks = [mark for mark in (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32) if low <= mark <= high]
    labels = tuple(f"{mark:g} ×" for mark in marks)
    return Axis(math.log(low), math.log(high), 0.0, tuple(math.log(mark) for mark in marks), labels)


def lifts(frame: pd.DataFrame) -> theme.Picture:
    """What holds, and how strong? Each pattern's factor over its base rate with its interval, on a scale of ratios."""
    title = "How many times as often as usual"
    if not len(frame):
        return theme.nothing(
            title, "No pattern holds: nothing that was tested is significant and replicates."
        )
    shown = frame.head(MOST)
    edges = shown[["lift", "lift_lower", "lift_upper"]].astype(float)
    edges = edges.where(edges > 0.02).stack()
    low, high = min(0.8, float(edges.min()) / 1.1), max(2.0, float(edges.max()) * 1.1)
    items: list[BarRow] = []
    for kind, (heading, colour) in TYPES.items():
        group = shown[shown["type"] == kind]
        if len(group):
            items.append(BarRow(heading, header=True))
            items += [_lift(row, colour, low) for row in group.to_dict("records")]
    subtitle = "Right of 1: more often than usual, left: less often; bar: the interval; at the right: how many customers show it"
    return rows(items, _log_axis(low, high), title, subtitle)


def _lift(row: dict, colour: str, low: float) -> BarRow:
    start, at, end = (
        max(low, float(row[name])) for name in ("lift_lower", "lift", "lift_upper")
    )  # 0: at the edge
    note = f"{times(float(row['lift']))} · {formats.number(row['support'])} of {formats.number(row['n'])}"
    return BarRow(
        row["name"],
        note,
        bars=(Bar(math.log(start), math.log(end), colour, 0.35),),
        dot=math.log(at),
        dot_colour=colour,
        brief=times(float(row["lift"])),
    )


def risks(frame: pd.DataFrame) -> theme.Picture:
    """How likely is churn after a sign? The rate within 90 days of its first day, beside that without it."""
    title = "Churned within 90 days of a sign"
    known = frame[frame["probability_of_churn"].notna()] if len(frame) else frame
    if not len(known):
        return theme.nothing(
            title, "No sign of churn is significant, or too few spells of one could be followed."
        )
    known = known.sort_values("probability_of_churn", ascending=False, kind="stable").head(MOST)
    top = min(1.0, float(known["probability_upper"].max()) * 1.1)
    step = 0.1 if top <= 0.65 else 0.25
    ticks = tuple(round(step * index, 2) for index in range(int(top / step) + 1))
    axis = Axis(0, top, 0, ticks, tuple(formats.percent(tick) for tick in ticks))
    subtitle = "Bar: after the sign's first day, with its interval; mark: at the same time without it; n: times"
    return rows([_risk(row) for row in known.to_dict("records")], axis, title, subtitle)


def _risk(row: dict) -> BarRow:
    base = row["base_rate"]
    note = f"{formats.percent(row['probability_of_churn'])} · without {formats.percent(base)} · n = {row['n']:.0f}"
    return BarRow(
        row["pattern"],
        note,
        bars=(
            Bar(
                float(row["probability_lower"]),
                float(row["probability_upper"]),
                theme.DOWN,
                0.25,
                17,
            ),
            Bar(0, float(row["probability_of_churn"]), theme.DOWN),
        ),
        target=None if formats.is_missing(base) else float(base),
        brief=formats.percent(row["probability_of_churn"]),
    )


def leads(frame: pd.DataFrame) -> theme.Picture:
    """How early? The share of churned customers that showed a sign, by days before churn."""
    title = "How early the signs show"
    nothing = "No sign of churn is significant, so that no lead can be shown."
    if not len(frame):
        return theme.nothing(title, nothing)
    gaps = (
        frame.groupby("sign", sort=False)["gap"].mean().sort_values(ascending=False, kind="stable")
    )
    chosen = gaps.index[:LINES].tolist()
    known = frame[frame["sign"].isin(chosen)].rename(
        columns={"sign": "name", "lead_days": "days", "churned": "share"}
    )
    known = known.assign(lower=float("nan"), upper=float("nan")).dropna(subset=["share"])
    colours = dict(zip(chosen, theme.KINDS, strict=False))
    retained = frame.groupby("sign")["retained"].first()
    shares_of_retained = ", ".join(
        f"{formats.percent(retained[name])} ({formats.plain(name)})" for name in chosen
    )
    subtitle = f"Share of churned customers that showed the sign so many days before churn; among retained customers: {shares_of_retained}"
    return shares(known, title, subtitle, nothing, colours)


def personas(frame: pd.DataFrame) -> theme.Picture:
    """Who are the users? Each persona's share, and what it turns to more often than others do."""
    title = "Personas and what they turn to"
    if not len(frame):
        return theme.nothing(title, "Users do not fall into stable groups by what they do.")
    largest = frame.loc[frame["percentage"].idxmax()]
    title = f"{formats.plain(largest['persona'])}: {largest['percentage']:.0f}% of all"
    items: list[BarRow] = []
    high = max(2.0, float(frame["factor"].max()) * 1.08)
    for name, group in frame.groupby("persona", sort=False):
        items.append(BarRow(f"{name}: {group['percentage'].iloc[0]:.0f}%", header=True))
        items += [
            BarRow(
                formats.sentence(formats.words(row["feature"])),
                times(float(row["factor"])),
                bars=(Bar(0.0, math.log(float(row["factor"])), theme.HIGHLIGHT),),
            )
            for row in group.head(FEATURES).to_dict("records")
        ]
    subtitle = (
        "How many times as often as other users of the same features, the three strongest of each"
    )
    return rows(items, _log_axis(1.0, high), title, subtitle)


def gaps(frame: pd.DataFrame) -> theme.Picture:
    """How long between two steps? The middle half of customers, and the median."""
    title = "Days between the steps"
    if not len(frame):
        return theme.nothing(title, "No order of adoption holds.")
    items, reach = [], float(frame["days"].max())
    title = f"Half take {frame['days'].median():.0f} days or less from one step to the next"
    for _, group in frame.groupby(["sequence", "step"], sort=False):
        first, second = (formats.words(group[name].iloc[0]) for name in ("first", "second"))
        low, middle, high = group["days"].quantile([0.25, 0.5, 0.75])
        note = f"{middle:.0f} days · {low:.0f} to {high:.0f} · n = {len(group)}"
        bars = (Bar(float(low), float(high), theme.HIGHLIGHT, 0.4),)
        items.append(
            BarRow(
                f"{formats.sentence(first)} → {second}",
                note,
                bars=bars,
                dot=float(middle),
                dot_colour=theme.HIGHLIGHT,
                brief=f"{middle:.0f} days",
            )
        )
    ticks = tuple(float(tick) for tick in range(0, int(reach) + 1, 15))
    axis = Axis(0, max(reach, 1.0) * 1.03, 0, ticks, tuple(f"{tick:.0f}" for tick in ticks))
    subtitle = "Days between the first uses of two features; bar: the middle half, dot: the median"
    return rows(items, axis, title, subtitle)


def week(frame: pd.DataFrame) -> theme.Picture:
    """When do they come? Active user-hours by weekday and hour of the accounts' own clocks."""
    return heat.weekly(
        frame,
        "Hours of the week",
        f"Hours in which a user was active, local time; n = {formats.number(frame['user_hours'].sum())}",
        "Too few hours with an active user, or no event has a time of day in this period.",
    )
