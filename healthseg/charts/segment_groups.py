"""The pictures of one customer among others, and of groups: where it stands, how far apart, how many."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from healthseg.charts import formats, theme
from healthseg.charts.bars import Axis, Bar, Row, rows
from healthseg.charts.canvas import WIDTH
from healthseg.charts.segments import BLUE, GREEN, colours


def _data(values: list[dict[str, Any]]) -> alt.Chart:
    return alt.Chart(alt.Data(values=values))


def _paint() -> alt.Color:
    return alt.Color("colour:N", scale=None)


def scatter(frame: pd.DataFrame, kind: str) -> theme.Picture:
    """How far apart do groups stand? Customers in the two directions that part the groups best."""
    title = "Customers in the two directions that part them best"
    known = frame[frame["x"].notna()] if "x" in frame else frame.iloc[:0]
    if not len(known) or known["segment_name"].nunique() < 2:
        return theme.nothing(title, "There are no groups by metrics to draw.")
    counts = known["segment_name"].value_counts()
    names = sorted(counts.index, key=lambda name: (-counts[name], name))
    paint = colours(names)
    points = [
        {
            "x": float(row["x"]),
            "y": float(row["y"]),
            "colour": paint[row["segment_name"]],
            "strength": 0.35 + 0.5 * float(row["certainty"]),
        }
        for row in known.to_dict("records")
    ]
    middles = known.groupby("segment_name")[["x", "y"]].median()
    labels = [
        {
            "x": float(middles.loc[name, "x"]),
            "y": float(middles.loc[name, "y"]),
            "text": formats.fitted(name, 210),
        }
        for name in names
    ]
    pad = 1.5
    across = alt.X(
        "x:Q",
        scale=alt.Scale(
            domain=[float(known["x"].min()) - pad, float(known["x"].max()) + pad], nice=False
        ),
        axis=alt.Axis(title="standard deviations within segments", grid=True, tickCount=5),
    )
    up = alt.Y(
        "y:Q",
        scale=alt.Scale(
            domain=[float(known["y"].min()) - pad, float(known["y"].max()) + pad], nice=False
        ),
        axis=alt.Axis(title=None, tickCount=5),
    )
    layers = [
        _data(points)
        .mark_circle(size=34)
        .encode(x=across, y=up, color=_paint(), opacity=alt.Opacity("strength:Q", scale=None)),
        _data(labels)
        .mark_text(fontWeight=600, fontSize=12, stroke=theme.PAPER, strokeWidth=4, dy=-2)
        .encode(x=across, y=up, text="text:N"),
        _data(labels)
        .mark_text(fontWeight=600, fontSize=12, dy=-2)
        .encode(x=across, y=up, text="text:N"),
    ]
    return theme.picture(
        layers,
        title,
        f"A point a customer, fainter where its segment is less sure; n = {len(known)}",
        320,
        left=34,
        right=10,
        bottom=42,
    )


def evidence(frame: pd.DataFrame) -> theme.Picture:
    """Into how many segments do the customers fall? Stability and silhouette for each number tried."""
    title = "How many segments?"
    known = frame[frame["groups"] > 1] if len(frame) else frame
    known = known[known["stability"].notna()] if len(known) else known
    if not len(known):
        return theme.nothing(title, "One cloud describes the customers as well as any parts of it.")
    items = []
    for row in known.to_dict("records"):
        passes = bool(row["passes"])
        items.append(
            Row(
                f"{int(row['groups'])} segments",
                f"stability {row['stability']:.2f} · silhouette {row['silhouette']:.2f}{' · passes' if passes else ''}",
                bars=(Bar(0, max(float(row["stability"]), 0.0), GREEN if passes else theme.FAINT),),
                target=0.8,
            )
        )
    axis = Axis(
        0, 1.02, baseline=0, ticks=(0, 0.5, 0.8, 1), labels=("0", "0.5", "0.8 is asked", "1")
    )
    return rows(
        items,
        axis,
        title,
        "Stability: agreement of resampled customers' segments (adjusted Rand index)",
    )


def standing(frame: pd.DataFrame, place: dict[str, Any]) -> theme.Picture:
    """Where does this customer stand? Its value among all customers', with the borders of its segment."""
    title = "Where it stands"
    if not len(frame) or formats.is_missing(place["value"]):
        return theme.nothing(
            title, "These segments come from words or from several metrics: there is no one scale."
        )
    points, low, high = stacked(frame["value"].tolist(), WIDTH - 20)
    height = 22 + 7 * max(point["level"] for point in points) + 30
    ends = [edge for edge in (place["above"], place["up_to"]) if edge is not None]
    low, high = min([low, place["value"], *ends]), max([high, place["value"], *ends])
    pad = (high - low or 1) * 0.03
    inside = [
        place["above"] if place["above"] is not None else low - pad,
        place["up_to"] if place["up_to"] is not None else high + pad,
    ]
    for point in points:
        point["y"] = height - 12 - 7 * point["level"]
        point["colour"] = BLUE if inside[0] <= point["x"] <= inside[1] else theme.FAINT
    x = alt.Scale(domain=[low - pad, high + pad], nice=False, zero=False)
    across = alt.X("x:Q", scale=x, axis=alt.Axis(title=None, tickCount=9, grid=False))
    y = alt.Scale(domain=[0, height], range=[0, height], nice=False)
    down = alt.Y("y:Q", scale=y, axis=None)
    here = [
        {
            "x": place["value"],
            "y": 20,
            "y2": height,
            "text": formats.fitted(place["name"], WIDTH / 2),
        }
    ]
    right = place["value"] > (low + high) / 2
    layers = [
        _data([{"x": edge, "y": 24, "y2": height} for edge in ends])
        .mark_rule(color=theme.SOFT, strokeDash=[4, 3])
        .encode(x=across, y=down, y2="y2:Q"),
        _data(points).mark_circle(size=26, opacity=0.75).encode(x=across, y=down, color=_paint()),
        _data(here).mark_rule(color=theme.INK, strokeWidth=2).encode(x=across, y=down, y2="y2:Q"),
        _data(here)
        .mark_text(
            align="right" if right else "left",
            dx=-6 if right else 6,
            fontWeight=600,
            baseline="middle",
        )
        .encode(x=across, y=alt.Y("y:Q", scale=y, axis=None), text="text:N"),
    ]
    subtitle = f"A point a customer, blue in its segment ({place['segment_name']}); dashed: its borders; n = {len(frame)}"
    return theme.picture(layers, title, subtitle, height, left=10, right=10, bottom=26)


def stacked(values: list[float], width: float) -> tuple[list[dict[str, Any]], float, float]:
    """Points heaped up where they would lie on each other."""
    low, high = min(values), max(values)
    bins = max(20, int(width / 9))
    step = (high - low) / bins or 1.0
    heights: dict[int, int] = {}
    found = []
    most = 30
    for value in sorted(values):
        at = int((value - low) / step)
        heights[at] = heights.get(at, 0) + 1
        found.append({"x": low + (at + 0.5) * step if high > low else low, "level": heights[at]})
    tallest = max(heights.values())
    if tallest > most:
        for point in found:
            point["level"] = point["level"] * most / tallest
    return found, low, high
