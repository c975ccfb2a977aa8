"""The one layout of charts with a row for each thing: words above, the bar below, alike on phone and screen."""

from __future__ import annotations

from dataclasses import dataclass, field

import altair as alt

from healthseg.charts import formats, theme

_HEADER, _ROW, _BAR = 32, 41, 11


@dataclass(frozen=True)
class Bar:
    """A span of a row, from ``start`` to ``end`` on the axis."""

    start: float
    end: float
    colour: str = theme.FAINT
    opacity: float = 1.0
    thickness: float = _BAR


@dataclass(frozen=True)
class Row:
    """One thing: its words at the left, its figure at the right, its bars, a dot and a target beneath."""

    label: str
    figure: str = ""
    bars: tuple[Bar, ...] = ()
    dot: float | None = None
    dot_colour: str = theme.INK
    target: float | None = None
    short: str = ""  # the label where the whole one does not fit
    brief: str = ""  # the figure where a label of the chart would not fit beside the whole one
    header: bool = False
    soft: bool = False


@dataclass(frozen=True)
class Axis:
    """The scale under the rows; ``baseline`` is drawn through all of them."""

    low: float
    high: float
    baseline: float | None = None
    ticks: tuple[float, ...] = field(default=())
    labels: tuple[str, ...] = field(default=())


def rows(items: list[Row], axis: Axis, title: str, subtitle: str, width: int) -> theme.Picture:
    """Rows from top to bottom over one axis."""
    tops, height = _tops(items)
    x = alt.Scale(domain=[axis.low, axis.high], nice=False, zero=False)
    y = alt.Scale(domain=[0, height], range=[0, height], nice=False, zero=False)
    place = alt.Y("y:Q", scale=y, axis=None)
    layers = [
        *_axis_layers(axis, x, place, height, tops, items, width),
        *_bar_layers(items, tops, x, place),
        *_text_layers(items, tops, place, width - 2),
    ]
    return theme.picture(
        layers, title, subtitle, width, height, left=1, right=1, bottom=24 if axis.ticks else 4
    )


def _tops(items: list[Row]) -> tuple[list[float], float]:
    tops, at = [], 0.0
    for item in items:
        tops.append(at)
        at += _HEADER if item.header else _ROW
    return tops, at


def _data(values: list[dict]) -> alt.Chart:
    return alt.Chart(alt.Data(values=values))


def _axis_layers(
    axis: Axis,
    x: alt.Scale,
    place: alt.Y,
    height: float,
    tops: list[float],
    items: list[Row],
    width: float,
) -> list[alt.Chart]:
    lines = [{"x": tick, "y": 0, "y2": height} for tick in axis.ticks if tick != axis.low]
    names = [{"x": tick, "y": height + 16, "text": name} for tick, name in _apart(axis, width)]
    across = alt.X("x:Q", scale=x, axis=None)
    layers = [_data(lines).mark_rule(color=theme.GRID).encode(x=across, y=place, y2="y2:Q")]
    for align in ("left", "center", "right"):
        chosen = [name for name in names if _align(name["x"], axis) == align]
        layers.append(
            _data(chosen)
            .mark_text(align=align, color=theme.SOFT, fontSize=12)
            .encode(x=across, y=place, text="text:N")
        )
    if axis.baseline is not None:
        base = _base(axis, height, tops, items)
        layers.append(_data(base).mark_rule(color=theme.FAINT).encode(x=across, y=place, y2="y2:Q"))
    return layers


def _apart(axis: Axis, width: float) -> list[tuple[float, str]]:
    """The labels of the axis that fit beside each other, from the last one, which may hold the unit."""
    kept, edge = [], float("inf")
    for tick, name in zip(reversed(axis.ticks), reversed(axis.labels), strict=True):
        long = formats.cells(name) * 7
        left = (tick - axis.low) / (axis.high - axis.low) * width
        left -= {"left": 0.0, "center": 0.5, "right": 1.0}[_align(tick, axis)] * long
        if left + long < edge:
            kept.append((tick, name))
            edge = left - 4
    return kept[::-1]


def _base(axis: Axis, height: float, tops: list[float], items: list[Row]) -> list[dict]:
    """The baseline: through all rows, or at the left edge beside the bars alone, where it would touch the names."""
    if axis.baseline != axis.low:
        return [{"x": axis.baseline, "y": 0, "y2": height}]
    bars = [top + 27 for item, top in zip(items, tops, strict=True) if not item.header]
    return [{"x": axis.baseline, "y": middle - 8, "y2": middle + 8} for middle in bars]


def _align(at: float, axis: Axis) -> str:
    """A label at an end of the axis stays within it."""
    place = (at - axis.low) / (axis.high - axis.low)
    return "left" if place < 0.03 else "right" if place > 0.97 else "center"


def _bar_layers(items: list[Row], tops: list[float], x: alt.Scale, place: alt.Y) -> list[alt.Chart]:
    across = alt.X("x:Q", scale=x, axis=None)
    paint = alt.Color("colour:N", scale=None)
    spans, dots, targets = [], [], []
    for item, top in zip(items, tops, strict=True):
        middle = top + 27
        spans += [
            {
                "x": bar.start,
                "x2": bar.end,
                "y": middle - bar.thickness / 2,
                "y2": middle + bar.thickness / 2,
                "colour": bar.colour,
                "opacity": bar.opacity,
            }
            for bar in item.bars
        ]
        if item.dot is not None:
            dots.append({"x": item.dot, "y": middle, "colour": item.dot_colour})
        if item.target is not None:
            targets.append({"x": item.target, "y": middle - 8, "y2": middle + 8})
    return [
        _data(spans)
        .mark_rect(cornerRadius=2)
        .encode(
            x=across,
            x2="x2:Q",
            y=place,
            y2="y2:Q",
            color=paint,
            opacity=alt.Opacity("opacity:Q", scale=None),
        ),
        _data(targets)
        .mark_rule(color=theme.INK, strokeWidth=2)
        .encode(x=across, y=place, y2="y2:Q"),
        _data(dots)
        .mark_circle(size=80, opacity=1, stroke=theme.PAPER, strokeWidth=1.5)
        .encode(x=across, y=place, color=paint),
    ]


def _is_cut(item: Row, width: float) -> bool:
    """Whether a figure, or the label beside it, would not be seen whole."""
    figure = formats.fitted(item.figure, width * 0.62)
    return (
        figure != item.figure
        or formats.fitted(item.label, _room(item, figure, width)) != item.label
    )


def _room(item: Row, figure: str, width: float) -> float:
    return (width - formats.cells(figure) * 6.9 - 14) * (
        0.87 if item.header else 1
    )  # bold letters are wider


def _label(item: Row, room: float) -> str:
    whole = formats.fitted(item.label, room)
    return whole if whole == item.label or not item.short else formats.fitted(item.short, room)


def _text_layers(
    items: list[Row], tops: list[float], place: alt.Y, width: float
) -> list[alt.Chart]:
    left, right, headers, tight = [], [], [], any(_is_cut(item, width) for item in items)
    for item, top in zip(items, tops, strict=True):
        figure = formats.fitted(item.brief if tight and item.brief else item.figure, width * 0.62)
        room = _room(item, figure, width)
        line = {
            "y": top + (18 if item.header else 11),
            "colour": theme.SOFT if item.soft else theme.INK,
        }
        (headers if item.header else left).append({**line, "text": _label(item, room)})
        right.append({**line, "text": figure, "colour": theme.SOFT})
    paint = alt.Color("colour:N", scale=None)
    return [
        _data(left)
        .mark_text(align="left", baseline="middle", x=0)
        .encode(y=place, text="text:N", color=paint),
        _data(headers)
        .mark_text(align="left", baseline="middle", x=0, fontWeight=600, fontSize=13.5)
        .encode(y=place, text="text:N", color=paint),
        _data(right)
        .mark_text(align="right", baseline="middle", x="width")
        .encode(y=place, text="text:N", color=paint),
    ]
