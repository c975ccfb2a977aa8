"""Points: customers on one axis, or on two."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from healthseg.charts import canvas, formats, theme
from healthseg.charts.canvas import Rows, at


def strip(
    frame: pd.DataFrame,
    title: str,
    subtitle: str,
    empty: str,
    value: str,
    own: Callable[[dict[str, Any]], bool],
    tip: str,
    least: float = 1.0,
) -> theme.Picture:
    """A tick for each customer on one axis, this one named and in colour; what lies far out stands at the end."""
    rows = canvas.records(frame, value)
    if len(rows) < 2:
        return theme.nothing(title, empty)
    end = max(least, float(frame[value].quantile(0.99))) * 1.05
    ticks = [
        {
            "value": min(float(row[value]), end),
            "own": bool(own(row)),
            "client": canvas.customer(row.get("client_id")),
            "tip": formats.filled(tip, row),
        }
        for row in rows
    ]
    x = at("value", canvas.span(0, end), canvas.axis("", 5, format=".1f", grid=False))
    mine = [tick for tick in ticks if tick["own"]]
    names = [{"value": tick["value"], "text": "this customer"} for tick in mine]
    others = {"color": theme.FAINT, "opacity": 0.6, "thickness": 2, "size": 34, "y": 30}
    layers = [
        canvas.layer([tick for tick in ticks if not tick["own"]], "tick", others, x=x),
        canvas.layer(
            mine, "tick", {"color": theme.HIGHLIGHT, "thickness": 4, "size": 44, "y": 30}, x=x
        ),
        canvas.layer(
            names,
            "text",
            {"color": theme.HIGHLIGHT, "y": 0, "baseline": "top", "fontWeight": 600},
            x=x,
            text="text",
        ),
    ]
    return canvas.picture(layers, title, subtitle, 52, left=14, right=60, bottom=26)


# Points on top of each other, in pixels and at most.
_STEP, _HEAP_MOST = 7, 30


def heap(
    rows: Sequence[Mapping[str, Any]],
    title: str,
    subtitle: str,
    own: tuple[float, str],
    borders: Sequence[float],
    inside: tuple[float, float],
    axis: Mapping[str, Any],
    log: bool = False,
) -> theme.Picture:
    """Customers as points above each other on one scale, one of them named, with borders.

    ``rows``: value, tip, client (``canvas.customer``). ``own`` is the named customer's value and name; points within ``inside`` (its lower end
    excluded) are in colour. With ``log`` equal distances are equal ratios.
    """
    scaled: Callable[[float], float] = math.log10 if log else float
    back: Callable[[float], float] = (lambda value: 10.0**value) if log else float
    values = [scaled(row["value"]) for row in rows]
    levels = _levels(values, canvas.WIDTH - 20)
    height = 52 + _STEP * max(levels)
    known = [*values, scaled(own[0]), *(() if log else borders)]
    pad = 0.06 if log else (max(known) - min(known) or 1) * 0.03
    low, high = back(min(known) - pad), back(max(known) + pad)
    dots = [
        {
            "x": row["value"],
            "y": height - 12 - _STEP * level,
            "colour": theme.HIGHLIGHT if inside[0] < row["value"] <= inside[1] else theme.FAINT,
            "tip": row["tip"],
            "client": row.get("client", ""),
        }
        for row, level in zip(rows, levels, strict=True)
    ]
    scale = canvas.span(low, high, **({"type": "log"} if log else {}))
    x, y = at("x", scale, axis), at("y", canvas.pixels(height))
    edges = [{"x": edge, "y": 24, "y2": height} for edge in borders if low < edge < high]
    mine = [{"x": own[0], "y": 17, "y2": height, "text": formats.fitted(own[1], canvas.WIDTH / 2)}]
    right = scaled(own[0]) > (min(known) + max(known)) / 2
    side = {"align": "right" if right else "left", "dx": -6 if right else 6}
    name = {**side, "fontWeight": 600, "baseline": "middle"}
    dashes = {"color": theme.SOFT, "strokeDash": [4, 3]}
    layers = [
        canvas.layer(edges, "rule", dashes, x=x, y=y, y2="y2"),
        canvas.layer(dots, "circle", {"size": 26, "opacity": 0.75}, x=x, y=y, color="colour"),
        canvas.layer(mine, "rule", {"color": theme.INK, "strokeWidth": 2}, x=x, y=y, y2="y2"),
        canvas.layer(mine, "text", name, x=x, y=y, text="text"),
    ]
    bottom = 42 if axis.get("title") else 26
    return canvas.picture(layers, title, subtitle, height, left=10, right=14, bottom=bottom)


def _levels(values: Sequence[float], width: float) -> list[float]:
    """How high each point is where points would lie on each other."""
    low, high = min(values), max(values)
    step = (high - low) / max(20, int(width / 9)) or 1.0
    heights: dict[int, int] = {}
    levels: list[float] = []
    for value in values:
        column = int((value - low) / step)
        heights[column] = heights.get(column, 0) + 1
        levels.append(heights[column])
    tallest = max(heights.values())
    return [level * min(1.0, _HEAP_MOST / tallest) for level in levels]


def plane(
    rows: Rows, names: Rows, title: str, subtitle: str, unit: str, pad: float
) -> theme.Picture:
    """Points on two axes, with a name at the middle of each group.

    ``rows``: x, y, colour, strength, tip; ``names``: x, y, text.
    """
    ends = {
        way: (min(row[way] for row in rows) - pad, max(row[way] for row in rows) + pad)
        for way in ("x", "y")
    }
    x = at("x", canvas.span(*ends["x"]), canvas.axis("", 5, unit, grid=True))
    y = at("y", canvas.span(*ends["y"]), canvas.axis("", 5))
    bold = {"fontWeight": 600, "fontSize": 12, "dy": -2}
    halo = {**bold, "stroke": theme.PAPER, "strokeWidth": 4}
    paint = {"color": "colour", "opacity": "strength"}
    layers = [
        canvas.layer(rows, "circle", {"size": 34}, x=x, y=y, **paint),
        canvas.layer(names, "text", halo, x=x, y=y, text="text"),
        canvas.layer(names, "text", bold, x=x, y=y, text="text"),
    ]
    return canvas.picture(layers, title, subtitle, 320, left=34, right=10, bottom=42)
