"""The layers of a score on a time axis: bands, range, line, forecast fan, and flags for what happened."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from typing import Any

import altair as alt
import pandas as pd

from healthseg.charts import formats, theme

_LETTER, _LINE, _FLAGS = 6.4, 17, 6
_GLYPHS = {"calendar": "▼", "configuration": "◆", "stage": "●"}


@dataclass(frozen=True)
class Frame:
    """The axes that all layers of a timeline share, and how much room is at the right."""

    past: pd.DataFrame
    ahead: pd.DataFrame
    edges: tuple[float, float, float]

    @property
    def right(self) -> int:
        return 74

    @cached_property
    def first(self) -> str:
        return str(self.past["day"].min())

    @cached_property
    def last(self) -> str:
        last = max([*self.past["day"], *(self.ahead["day"] if len(self.ahead) else [])])
        if last > self.first:
            return str(last)
        return (dt.date.fromisoformat(last) + dt.timedelta(days=1)).isoformat()

    def at(self, day: str) -> float:
        """How far along the axis a day is, from 0 to 1."""
        first, last, this = (dt.date.fromisoformat(text) for text in (self.first, self.last, day))
        return (this - first).days / (last - first).days

    def scaled(self, layer: alt.Chart) -> alt.Chart:
        """The layer on the shared axes."""
        layer.encoding.x = (
            self._x(str(layer.encoding.x.shorthand))
            if layer.encoding.x is not alt.Undefined
            else layer.encoding.x
        )
        return layer

    def _x(self, shorthand: str) -> alt.X:
        days = (dt.date.fromisoformat(self.last) - dt.date.fromisoformat(self.first)).days
        form = "%-d %b" if days <= 150 else "%b %Y"
        axis = alt.Axis(
            format=form,
            tickCount=6,
            title=None,
            grid=False,
            labelFlush=True,
            labelOverlap=True,
            ticks=True,
            tickColor=theme.GRID,
        )
        return alt.X(shorthand, scale=theme.time_scale(self.first, self.last), axis=axis)


def y(field: str) -> alt.Y:
    """The score's axis, always 0 to 100: two customers' charts are compared."""
    axis = alt.Axis(values=[0, 20, 40, 60, 80, 100], title=None, gridOpacity=0.7)
    return alt.Y(field, scale=alt.Scale(domain=[0, 100], nice=False), axis=axis)


def _data(values: list[dict]) -> alt.Chart:
    return alt.Chart(alt.Data(values=values))


def bands(frame: Frame) -> list[alt.Chart]:
    """A strip of colour along the right edge, with the bands' names."""
    bounds = (0.0, *frame.edges, 100.0)
    strips = [
        {
            "day": frame.first,
            "end": frame.last,
            "low": low,
            "high": high,
            "name": formats.words(band),
            "middle": (low + high) / 2,
            "colour": theme.BAND_COLOURS[band],
        }
        for band, low, high in zip(theme.BANDS, bounds[:-1], bounds[1:], strict=True)
    ]
    paint = alt.Color("colour:N", scale=None)
    tint = (
        _data(strips)
        .mark_rect(opacity=0.07)
        .encode(x="day:T", x2="end:T", y=y("low:Q"), y2="high:Q", color=paint)
    )
    edge = (
        _data(strips)
        .mark_rect(width=4, xOffset=4)
        .encode(x="end:T", y=y("low:Q"), y2="high:Q", color=paint)
    )
    names = (
        _data(strips)
        .mark_text(align="left", dx=12, color=theme.SOFT, fontSize=12)
        .encode(x="end:T", y=y("middle:Q"), text="name:N")
    )
    return [tint, edge, names]


def ranges(past: pd.DataFrame) -> list[alt.Chart]:
    """What the missing inputs allow, on each date."""
    known = past[past["lower"].notna() & past["upper"].notna()]
    values = [
        {"day": row.day, "low": float(row.lower), "high": float(row.upper)}
        for row in known.itertuples()
    ]
    return [
        _data(values)
        .mark_area(color=theme.FAINT, opacity=0.22)
        .encode(x="day:T", y=y("low:Q"), y2="high:Q")
    ]


def line(known: pd.DataFrame, frame: Frame) -> list[alt.Chart]:
    """The score, broken where it is not known, with its last figure."""
    dates = list(frame.past["day"])
    run, runs = 0, []
    for day in dates:
        run += day not in set(known["day"])
        runs.append(run)
    place = dict(zip(dates, runs, strict=True))
    values = [
        {"day": row.day, "score": float(row.score), "run": place[row.day]}
        for row in known.itertuples()
    ]
    last = {
        "day": values[-1]["day"],
        "score": values[-1]["score"],
        "text": formats.number(known.iloc[-1]["shown"]),
    }
    layers = [
        _data(values).mark_line(color=theme.INK).encode(x="day:T", y=y("score:Q"), detail="run:N")
    ]
    lonely = [
        value for value in values if sum(other["run"] == value["run"] for other in values) == 1
    ]
    layers.append(
        _data(lonely)
        .mark_circle(color=theme.INK, size=26, opacity=1)
        .encode(x="day:T", y=y("score:Q"))
    )
    layers.append(
        _data([last])
        .mark_circle(color=theme.INK, size=90, opacity=1, stroke=theme.PAPER, strokeWidth=2)
        .encode(x="day:T", y=y("score:Q"))
    )
    layers.append(
        _data([last])
        .mark_text(
            dy=18 if _falls(values) or last["score"] > 85 else -15,
            fontSize=16,
            fontWeight=700,
            align="center",
        )
        .encode(x="day:T", y=y("score:Q"), text="text:N")
    )
    return layers


def _falls(values: list[dict]) -> bool:
    """Whether the line comes from above, so that its last figure stands below it."""
    return len(values) > 1 and values[-2]["score"] > values[-1]["score"] >= 12


def fan(known: pd.DataFrame, ahead: pd.DataFrame) -> list[alt.Chart]:
    """The forecast from the last score on: dashed, in a lighter tone for its interval."""
    if not len(ahead):
        return []
    start = {"day": known.iloc[-1]["day"], "forecast": float(known.iloc[-1]["score"])}
    start |= {"low": start["forecast"], "high": start["forecast"]}
    values = [
        start,
        *(
            {
                "day": row.day,
                "forecast": float(row.forecast),
                "low": float(row.lower),
                "high": float(row.upper),
            }
            for row in ahead.itertuples()
        ),
    ]
    colour = theme.BAND_COLOURS["champion"]
    return [
        _data(values)
        .mark_area(color=colour, opacity=0.16)
        .encode(x="day:T", y=y("low:Q"), y2="high:Q"),
        _data(values)
        .mark_line(color=colour, strokeDash=[6, 4])
        .encode(x="day:T", y=y("forecast:Q")),
    ]


def ahead_label(ahead: pd.DataFrame, frame: Frame) -> list[alt.Chart]:
    """The last forecast's figure, beside its point."""
    if not len(ahead):
        return []
    row = ahead.iloc[-1]
    value = {
        "day": row["day"],
        "score": float(row["forecast"]),
        "text": formats.number(row["forecast"]),
    }
    colour = theme.BAND_COLOURS["champion"]
    return [
        _data([value])
        .mark_circle(color=colour, size=50, opacity=1)
        .encode(x="day:T", y=y("score:Q")),
        _data([value])
        .mark_text(
            color=colour,
            dy=-13 if value["score"] < 88 else 15,
            dx=-4,
            align="right",
            fontWeight=600,
            fontSize=13,
        )
        .encode(x="day:T", y=y("score:Q"), text="text:N"),
    ]


def placed(marks: pd.DataFrame, frame: Frame) -> tuple[list[dict], int]:
    """The flags within the axis, the latest with words on a line where they meet no others; and the room above."""
    if not len(marks):
        return [], 14
    inside = marks.assign(day=marks["date"].map(formats.iso))
    inside = inside[(inside["day"] >= frame.first) & (inside["day"] <= frame.last)].sort_values(
        ["day", "kind", "label"], kind="stable"
    )
    span, ends, flags = theme.WIDTH - 30 - frame.right, [], []
    for place, row in enumerate(inside.to_dict("records")):
        flag = {
            "day": row["day"],
            "glyph": _GLYPHS.get(row["kind"], "▼"),
            "text": "",
            "line": 0,
            "align": "left",
        }
        if place >= len(inside) - _FLAGS:
            _set_text(
                flag,
                formats.words(row["label"]) if row["kind"] == "stage" else row["label"],
                frame.at(row["day"]) * span,
                span,
                ends,
            )
        flags.append(flag)
    return flags, 14 + _LINE * len(ends)


def _set_text(
    flag: dict, label: str, at: float, span: float, ends: list[list[tuple[float, float]]]
) -> None:
    flag["align"] = "left" if at < span * 0.55 else "right"
    room = (span - at if flag["align"] == "left" else at) - 12
    flag["text"] = formats.fitted(label, min(room, 230), _LETTER)
    long = formats.cells(flag["text"]) * _LETTER + 22
    start, end = (at, at + long) if flag["align"] == "left" else (at - long, at)
    for number, taken in enumerate(ends):
        if all(end < low or start > high for low, high in taken):
            flag["line"] = number
            taken.append((start, end))
            return
    flag["line"] = len(ends)
    ends.append([(start, end)])


def flags(named: list[dict]) -> list[alt.Chart]:
    """A thin line for each, its kind as a glyph and its words above the plot."""
    if not named:
        return []
    marks: dict[str, Any] = {"color": theme.SOFT, "y": 0}
    layers = [_data(named).mark_rule(color=theme.FAINT, strokeDash=[2, 3]).encode(x="day:T")]
    for line, flags in _by(named, "line"):
        mark = {**marks, "dy": -10 - _LINE * line, "align": "center", "fontSize": 10}
        layers.append(_data(flags).mark_text(**mark).encode(x="day:T", text="glyph:N"))
    for (line, align), flags in _by([flag for flag in named if flag["text"]], "line", "align"):
        aside = {"dx": 9 if align == "left" else -9, "align": align, "fontSize": 12}
        mark = {**marks, "dy": -10 - _LINE * line, **aside}
        layers.append(_data(flags).mark_text(**mark).encode(x="day:T", text="text:N"))
    return layers


def _by(named: list[dict], *keys: str) -> Iterator[tuple[Any, list[dict]]]:
    """The flags that share a layer, since they share what is no figure of theirs."""
    key = itemgetter(*keys)
    return ((shared, list(flags)) for shared, flags in groupby(sorted(named, key=key), key))
