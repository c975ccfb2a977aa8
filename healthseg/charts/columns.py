"""Columns along time or along a scale of numbers, stacked where a column has parts, with a line over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from healthseg.charts import canvas, formats, theme
from healthseg.charts.canvas import Rows, at

# A part of each column: the frame's column that holds it, its name and its colour; a part below 0 is drawn downwards.
Part = tuple[str, str, str]


def columns(
    frame: pd.DataFrame,
    title: str,
    subtitle: str,
    empty: str,
    start: str,
    end: str,
    parts: Sequence[Part],
    below: Sequence[Part] = (),
    by: tuple[str, Mapping[str, str]] | None = None,
    unit: str = "",
    time: bool = True,
    ticks: Sequence[float] = (),
    tick_form: str = "number",
    form: str = "number",
    light: Callable[[dict[str, Any]], bool] | None = None,
    colour: Callable[[dict[str, Any]], str] | None = None,
    line: tuple[str, str] | None = None,
    marks: Sequence[tuple[float, str, str]] = (),
    legend: Sequence[tuple[str, str]] = (),
    labelled: bool = False,
    height: float = 180,
) -> theme.Picture:
    """A column from ``start`` to ``end`` for each row.

    ``parts`` are stacked upwards, ``below`` downwards. ``by`` names a column of a frame with several rows a place, and
    the colour of each of its values. ``light`` says which rows are drawn lighter (incomplete ones); ``line`` is a column
    drawn as a line through the columns' middles, with its name; ``marks`` are rules at values of the axis, each with its
    words and colour; ``legend`` names colours; ``labelled`` writes each column's value above it.
    """
    needed = [name for name, _, _ in (*parts, *below)]
    rows = canvas.records(frame, *needed)
    if not any(row[name] for row in rows for name, _, _ in parts):
        return theme.nothing(title, empty)
    convert = canvas.moment if time else float
    boxes = _boxes(rows, start, end, parts, below, by, convert, unit, form, light, colour)
    points = _line(rows, start, end, line, form)
    high = max([box["high"] for box in boxes] + [point["value"] for point in points])
    low = min(box["low"] for box in boxes)
    x = _across(boxes, time, ticks, tick_form)
    y = canvas.span(1.1 * low, (1.15 if labelled else 1.06) * high)
    up = at("low", y, None if labelled else canvas.axis(form.partition(".")[0], 4, tickMinStep=1))
    layers = [
        canvas.layer(
            boxes,
            "rect",
            {"x2Offset": -1.5},
            x=x,
            x2="end",
            y=up,
            y2="high",
            color="colour",
            opacity="opacity",
        )
    ]
    if below:
        layers.append(canvas.layer([{"low": 0}], "rule", {"color": theme.SOFT}, y=up))
    if points:
        layers.append(
            canvas.layer(
                points,
                "line",
                {"color": theme.INK},
                x={**x, "field": "at"},
                y={**up, "field": "value"},
            )
        )
    if labelled:
        layers.append(_values(boxes, x, up))
    layers += _marks(marks, x, len(marks))
    named = list(legend)
    if len(parts) + len(below) > 1:
        named = [(name, paint) for _, name, paint in (*parts, *below)]
    layers += canvas.legend(named)
    room = {"left": 10, "right": 10} if labelled else {"left": 44, "right": 8}
    top = 24 if named else 8 + 16 * len(marks)
    return canvas.picture(layers, title, subtitle, height, top=top, bottom=26, **room)


def _boxes(
    rows: Rows,
    start: str,
    end: str,
    parts: Sequence[Part],
    below: Sequence[Part],
    by: tuple[str, Mapping[str, str]] | None,
    convert: Callable[[Any], Any],
    unit: str,
    form: str,
    light: Callable[[dict[str, Any]], bool] | None,
    colour: Callable[[dict[str, Any]], str] | None,
) -> Rows:
    """A box for each part of each row, on those of the same place before it."""
    boxes: Rows = []
    tops: dict[Any, float] = {}
    for row in rows:
        first = convert(row[start])
        spans = {"start": first, "end": convert(row[end]), "opacity": 1.0}
        if light and light(row):
            spans["opacity"] = 0.45
        when = f"{formats.day(str(row[start])[:10])}: " if isinstance(first, str) else ""
        for name, label, paint in parts:
            size, bottom = float(row[name]), tops.get(first, 0.0)
            tops[first] = bottom + size
            words = formats.words(row[by[0]]) if by else label or unit
            tip = f"{when}{formats.written(size, form)} {words}".strip()
            shade = by[1].get(row[by[0]], theme.FAINT) if by else colour(row) if colour else paint
            boxes.append({**spans, "low": bottom, "high": tops[first], "colour": shade, "tip": tip})
        bottom = 0.0
        for name, label, paint in below:
            size = float(row[name])
            tip = f"{when}{formats.written(size, form)} {label}"
            boxes.append(
                {**spans, "low": bottom - size, "high": bottom, "colour": paint, "tip": tip}
            )
            bottom -= size
    return boxes


def _line(rows: Rows, start: str, end: str, line: tuple[str, str] | None, form: str) -> Rows:
    """Points of a line through the middles of the columns."""
    if line is None:
        return []
    known = [row for row in rows if not formats.is_missing(row[line[0]])]
    return [
        {
            "at": canvas.moment(row[start] + (row[end] - row[start]) / 2),
            "value": float(row[line[0]]),
            "tip": f"{line[1]}: {formats.written(float(row[line[0]]), form)}",
        }
        for row in known
    ]


def _across(boxes: Rows, time: bool, ticks: Sequence[float], form: str) -> dict[str, Any]:
    first, last = boxes[0]["start"], max(box["end"] for box in boxes)
    if time:
        return at("start", canvas.days(first, last), canvas.axis("date", 5, grid=False))
    low, high = (min(ticks, default=first), max(ticks, default=last))
    scale = canvas.span(min(first, low), max(last, high))
    return at(
        "start",
        scale,
        canvas.axis(form, 8, None, grid=False, **({"values": list(ticks)} if ticks else {})),
    )


def _values(boxes: Rows, x: Mapping[str, Any], up: Mapping[str, Any]) -> Any:
    """Each column's value above it."""
    tops = [
        {
            "middle": (box["start"] + box["end"]) / 2,
            "high": box["high"],
            "text": formats.number(box["high"]) if box["high"] else "",
        }
        for box in boxes
    ]
    mark = {"dy": -9, "fontWeight": 600}
    return canvas.layer(
        tops, "text", mark, x={**x, "field": "middle"}, y={**up, "field": "high"}, text="text"
    )


def _marks(marks: Sequence[tuple[float, str, str]], x: Mapping[str, Any], lines: int) -> list[Any]:
    """Rules at values of the axis, their words above the plot, each on a line of its own."""
    layers = []
    for line, (value, words, paint) in enumerate(marks):
        rows = [{"start": value, "text": words}]
        across = {**x, "field": "start"}
        layers.append(canvas.layer(rows, "rule", {"color": paint, "strokeWidth": 2}, x=across))
        near = value > sum(x["scale"]["domain"]) / 2
        mark = {
            "align": "right" if near else "left",
            "dx": -5 if near else 5,
            "y": -8 - 16 * (lines - 1 - line),
            "color": paint,
            "fontSize": 12,
            "fontWeight": 600,
        }
        layers.append(canvas.layer(rows, "text", mark, x=across, text="text"))
    return layers
