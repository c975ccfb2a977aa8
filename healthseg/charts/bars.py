"""A row for each thing: its name and its figure above, a bar, a dot, a target below, over one axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from healthseg.charts import canvas, formats, theme
from healthseg.charts.canvas import at

_HEADER, _ROW, _BAR = 32, 41, 11
MOST = 14
DAY_STEPS = (5, 7, 14, 30, 60, 90, 180, 365, 730)
Record = dict[str, Any]


@dataclass(frozen=True)
class Bar:
    """A span of a row, from ``start`` to ``end`` on the axis."""

    start: float
    end: float
    colour: str = theme.FAINT
    opacity: float = 1.0
    thickness: float = _BAR


@dataclass(frozen=True)
class BarRow:
    """One thing: its name at the left, its figure at the right, its bars, a dot and a target beneath."""

    label: str
    figure: str = ""
    bars: tuple[Bar, ...] = ()
    dot: float | None = None
    dot_colour: str = theme.INK
    target: float | None = None
    # The name and the figure where the whole ones do not fit.
    short: str = ""
    brief: str = ""
    header: bool = False
    soft: bool = False
    # The customer that it is about.
    client: Any = None


@dataclass(frozen=True)
class Axis:
    """The scale under the rows; ``baseline`` is drawn through all of them."""

    low: float
    high: float
    baseline: float | None = None
    ticks: tuple[float, ...] = field(default=())
    labels: tuple[str, ...] = field(default=())


def scale(low: float, high: float, form: str = "number", currency: Any = None) -> Axis:
    """An axis from zero with about five round ticks, in a format of ``healthseg.charts.formats``.

    >>> scale(0, 0.9, "percent").labels
    ('0%', '20%', '40%', '60%', '80%')
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    reach = (high - low) or 1.0
    power = 10.0 ** len(str(int(1e6 * reach))) / 1e8
    step = next(
        power * times for times in (1, 2, 5, 10, 20, 50, 100) if reach / (power * times) <= 5
    )
    ticks = tuple(
        round(step * index, 9) for index in range(-int(-low // step), int(high // step) + 1)
    )
    labels = [
        formats.written(tick, form, {"currency": currency if tick == ticks[-1] else None}.get)
        for tick in ticks
    ]
    return Axis(low * 1.02, high * 1.02 or 1.0, 0, ticks, tuple(labels))


def shares(high: float = 1.0) -> Axis:
    """An axis of per cent, to 100 or further."""
    return Axis(0, max(1.0, high), 0, (0, 0.5, 1), tuple(map(formats.percent, (0, 0.5, 1))))


def days(high: float) -> Axis:
    """An axis of days from zero, with ticks at weeks, months or years."""
    step = next((step for step in DAY_STEPS if high / step <= 5), 2 * DAY_STEPS[-1])
    ticks = tuple(float(step * index) for index in range(int(high // step) + 1))
    return Axis(0, max(1.02 * high, 1.0), 0, ticks, tuple(map(formats.number, ticks)))


def row(
    label: str,
    figure: str | Callable[[Record], str],
    end: str | None,
    start: str | float = 0.0,
    colour: str | Callable[[Record], str] = theme.HIGHLIGHT,
    dot: str | None = None,
    target: str | float | None = None,
    interval: tuple[str | float, str] | None = None,
) -> Callable[[Record], BarRow]:
    """A row from a frame's columns: ``label`` and ``figure`` are templates, the others names of columns.

    ``interval`` is drawn lighter behind the bar; without ``end`` there is no bar.
    """

    def value(record: Record, name: str | float | None) -> float | None:
        known = record[name] if isinstance(name, str) else name
        return None if formats.is_missing(known) else float(known)  # type: ignore[arg-type]

    def bar(record: Record, ends: tuple[Any, Any], paint: str, *look: float) -> tuple[Bar, ...]:
        first, last = (value(record, name) for name in ends)
        if first is None or last is None:
            return ()
        return (Bar(min(first, last), max(first, last), paint, *look),)

    def built(record: Record) -> BarRow:
        paint = colour(record) if callable(colour) else colour
        return BarRow(
            formats.filled(label, record),
            formats.filled(figure(record) if callable(figure) else figure, record),
            bars=bar(record, interval or (None, None), paint, 0.3, 17)
            + bar(record, (start, end), paint),
            dot=value(record, dot),
            dot_colour=paint,
            target=value(record, target),
            client=record.get("client_id"),
        )

    return built


def bars(
    frame: pd.DataFrame,
    title: str,
    subtitle: str,
    empty: str,
    row: Callable[[Record], BarRow],
    axis: Axis | Callable[[pd.DataFrame], Axis],
    most: int = MOST,
    groups: Callable[[Record], str] | None = None,
) -> theme.Picture:
    """A row for each row of the frame, as ``row`` makes it; the first ``most`` are drawn.

    ``subtitle`` may have ``{n}`` for the number of rows, "14 of 30" where not all are drawn. Rows of one group, which
    stand together in the frame, have the group's name above them.
    """
    if not len(frame):
        return theme.nothing(title, empty)
    records = frame.head(most).to_dict("records")
    items: list[BarRow] = []
    group = None
    for record in records:
        if groups and groups(record) != group:
            group = groups(record)
            items.append(BarRow(group, header=True))
        items.append(row(record))
    n = formats.number(len(records))
    n = f"{n} of {formats.number(len(frame))}" if len(frame) > most else n
    chosen = axis(frame.head(most)) if callable(axis) else axis
    return rows(items, chosen, title, subtitle.replace("{n}", n))


def rows(items: Sequence[BarRow], axis: Axis, title: str, subtitle: str) -> theme.Picture:
    """Rows from top to bottom over one axis."""
    tops, height = _tops(items)
    x, y = canvas.span(axis.low, axis.high), canvas.pixels(height)
    layers = [
        *_axis_layers(axis, x, y, height, tops, items),
        *_bar_layers(items, tops, x, y),
        *_text_layers(items, tops, y),
    ]
    return canvas.picture(
        layers, title, subtitle, height, left=1, right=1, bottom=24 if axis.ticks else 4
    )


def _tops(items: Sequence[BarRow]) -> tuple[list[float], float]:
    tops, top = [], 0.0
    for item in items:
        tops.append(top)
        top += _HEADER if item.header else _ROW
    return tops, top


def _axis_layers(
    axis: Axis, x: Record, y: Record, height: float, tops: list[float], items: Sequence[BarRow]
) -> list[Any]:
    lines = [
        line for tick in axis.ticks if tick != axis.low for line in _beside_bars(tick, tops, items)
    ]
    rule = {"x": at("x", x), "y": at("y", y), "y2": "y2"}
    layers = [canvas.layer(lines, "rule", {"color": theme.GRID}, **rule)]
    names = [(tick, name, _align(tick, axis)) for tick, name in _fitting(axis)]
    for align in dict.fromkeys(align for _, _, align in names):
        texts = [
            {"x": tick, "y": height + 16, "text": name}
            for tick, name, side in names
            if side == align
        ]
        mark = {"align": align, "color": theme.SOFT, "fontSize": 12}
        layers.append(canvas.layer(texts, "text", mark, x=rule["x"], y=rule["y"], text="text"))
    if axis.baseline is not None:
        base = _beside_bars(axis.baseline, tops, items)
        layers.append(canvas.layer(base, "rule", {"color": theme.FAINT}, **rule))
    return layers


def _fitting(axis: Axis) -> list[tuple[float, str]]:
    """The labels of the axis that fit beside each other, from the last one, which may hold the unit."""
    fitting, edge = [], float("inf")
    for tick, name in zip(reversed(axis.ticks), reversed(axis.labels), strict=True):
        long = canvas.text_width(name, canvas.PHONE_LETTER)
        left = (tick - axis.low) / (axis.high - axis.low) * canvas.WIDTH
        left -= {"left": 0.0, "center": 0.5, "right": 1.0}[_align(tick, axis)] * long
        if left + long < edge:
            fitting.append((tick, name))
            edge = left - 4
    return fitting[::-1]


def _align(tick: float, axis: Axis) -> str:
    """A label at an end of the axis stays within it."""
    share = (tick - axis.low) / (axis.high - axis.low)
    return "left" if share < 0.03 else "right" if share > 0.97 else "center"


def _beside_bars(x: float, tops: list[float], items: Sequence[BarRow]) -> list[Record]:
    """A line at a value, beside the bars alone: through the names and figures above them it would strike them."""
    middles = [top + 27 for item, top in zip(items, tops, strict=True) if not item.header]
    return [{"x": x, "y": middle - 8, "y2": middle + 8} for middle in middles]


def _bar_layers(items: Sequence[BarRow], tops: list[float], x: Record, y: Record) -> list[Any]:
    spans, dots, targets = [], [], []
    for item, top in zip(items, tops, strict=True):
        middle = top + 27
        tip = f"{item.label}: {item.figure}" if item.figure else item.label
        client = canvas.customer(item.client)
        spans += [
            {
                "x": bar.start,
                "x2": bar.end,
                "y": middle - bar.thickness / 2,
                "y2": middle + bar.thickness / 2,
                "colour": bar.colour,
                "opacity": bar.opacity,
                "tip": tip,
                "client": client,
            }
            for bar in item.bars
        ]
        if item.dot is not None:
            dots.append(
                {
                    "x": item.dot,
                    "y": middle,
                    "colour": item.dot_colour,
                    "tip": tip,
                    "client": client,
                }
            )
        if item.target is not None:
            targets.append({"x": item.target, "y": middle - 8, "y2": middle + 8})
    encoding: Record = {"x": at("x", x), "y": at("y", y)}
    marks: list[tuple[list[Record], str, Record, Record]] = [
        (spans, "rect", {"cornerRadius": 2}, {"x2": "x2", "y2": "y2", "opacity": "opacity"}),
        (targets, "rule", {"color": theme.INK, "strokeWidth": 2}, {"y2": "y2"}),
        (dots, "circle", {"size": 80, "opacity": 1, "stroke": theme.PAPER, "strokeWidth": 1.5}, {}),
    ]
    return [
        canvas.layer(values, kind, mark, **encoding, **more, **({} if kind == "rule" else _PAINT))
        for values, kind, mark, more in marks
        if values
    ]


_PAINT = {"color": "colour"}


def _text_layers(items: Sequence[BarRow], tops: list[float], y: Record) -> list[Any]:
    width = canvas.WIDTH - 2
    tight = any(_is_cut(item, width) for item in items)
    left: list[Record] = []
    right: list[Record] = []
    heads: list[Record] = []
    for item, top in zip(items, tops, strict=True):
        figure = formats.fitted(item.brief if tight and item.brief else item.figure, width * 0.62)
        line = {"y": top + (18 if item.header else 11)}
        colour = theme.SOFT if item.soft else theme.INK
        text = _label(item, _room(item, figure, width))
        (heads if item.header else left).append({**line, "text": text, "colour": colour})
        if figure:
            right.append({**line, "text": figure, "colour": theme.SOFT})
    marks = [
        (left, {"align": "left", "x": 0}),
        (heads, {"align": "left", "x": 0, "fontWeight": 600, "fontSize": 13.5}),
        (right, {"align": "right", "x": width}),
    ]
    return [
        canvas.layer(
            texts, "text", {"baseline": "middle", **mark}, y=at("y", y), text="text", **_PAINT
        )
        for texts, mark in marks
        if texts
    ]


def _is_cut(item: BarRow, width: float) -> bool:
    """Whether a figure, or the name beside it, would not be seen whole."""
    figure = formats.fitted(item.figure, width * 0.62)
    room = _room(item, figure, width)
    return figure != item.figure or formats.fitted(item.label, room) != item.label


def _room(item: BarRow, figure: str, width: float) -> float:
    # Bold letters are wider.
    return (width - canvas.text_width(figure) - 14) * (0.87 if item.header else 1)


def _label(item: BarRow, room: float) -> str:
    whole = formats.fitted(item.label, room)
    return whole if whole == item.label or not item.short else formats.fitted(item.short, room)
