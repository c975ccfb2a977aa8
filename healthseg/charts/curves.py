"""Curves of shares over days, with their intervals and their names at the end."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import pandas as pd

from healthseg.charts import formats, theme
from healthseg.charts.canvas import WIDTH


def shares(
    curves: pd.DataFrame,
    colours: Mapping[str, str],
    title: str,
    subtitle: str,
    nothing: str,
) -> theme.Picture:
    """Shares by day: a stepped line with its interval for each name of the frame (name, days, share, lower, upper)."""
    if not len(curves):
        return theme.nothing(title, nothing)
    last = float(curves["days"].max()) or 1.0
    x = alt.X(
        "days:Q",
        scale=alt.Scale(domain=[0, last], nice=False),
        axis=alt.Axis(title="days", grid=False, tickCount=8),
    )
    y = alt.Scale(domain=[0, 1], nice=False)
    layers, ends, right = [], [], _right(curves["name"])
    for name, rows_ in curves.groupby("name", sort=False):
        colour = colours.get(str(name), theme.BAND_COLOURS["champion"])
        points = rows_[["days", "share", "lower", "upper"]].astype(float)
        values = (
            points.where(points.notna(), None)
            .astype(object)
            .where(points.notna(), None)
            .to_dict("records")
        )
        layers += _curve(values, colour, x, y)
        text = formats.fitted(formats.words(name), right - 8)
        ends.append({"days": last, "share": _at_end(values, last), "text": text, "colour": colour})
    label = (
        alt.Chart(alt.Data(values=_apart(ends)))
        .mark_text(align="left", dx=6)
        .encode(
            x=x, y=alt.Y("place:Q", scale=y), text="text:N", color=alt.Color("colour:N", scale=None)
        )
    )
    return theme.picture([*layers, label], title, subtitle, 240, left=44, right=right, bottom=40)


def _right(names: pd.Series) -> int:
    """Room for the lines' names, at most a quarter of a screen and a third of a phone."""
    most = WIDTH // 4
    return max(
        92, min(most, int(7.1 * max(map(formats.cells, map(formats.words, names.unique())))) + 10)
    )


def _at_end(values: list[dict], last: float) -> float:
    """Where a line is seen to end: a step on the axis's last day is a stroke at its edge."""
    seen = [value["share"] for value in values if value["days"] < last]
    return seen[-1] if seen else values[-1]["share"]


def _curve(values: list[dict], colour: str, x: alt.X, y: alt.Scale) -> list[alt.Chart]:
    axis = theme.percent_axis()
    banded = [
        value for value in values if value["lower"] is not None and value["upper"] is not None
    ]
    band = (
        alt.Chart(alt.Data(values=banded))
        .mark_area(color=colour, opacity=0.15, interpolate="step-after")
        .encode(x=x, y=alt.Y("lower:Q", scale=y, axis=axis), y2="upper:Q")
    )
    line = (
        alt.Chart(alt.Data(values=values))
        .mark_line(color=colour, interpolate="step-after")
        .encode(x=x, y=alt.Y("share:Q", scale=y, axis=axis))
    )
    return [band, line]


def _apart(ends: list[dict]) -> list[dict]:
    """Labels at the lines' ends, moved up where they would lie over each other, and down again at the top."""
    ordered, free, room = sorted(ends, key=lambda one: one["share"]), -1.0, 0.075
    places = [free := max(end["share"], free + room) for end in ordered]
    for place in range(len(places) - 1, -1, -1):
        top = 1.0 if place == len(places) - 1 else places[place + 1] - room
        places[place] = min(places[place], top)
    return [{**end, "place": place} for end, place in zip(ordered, places, strict=True)]
