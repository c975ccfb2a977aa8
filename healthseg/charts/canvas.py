"""What the builders share: layers of marks over rows, scales and axes, and room for labels.

Each mark that shows a figure has a ``tip``: what an interactive page says under the pointer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import altair as alt
import pandas as pd

from healthseg.charts import formats, theme
from healthseg.charts.theme import WIDTH, picture

__all__ = ["WIDTH", "picture"]

# Widths of a letter: as drawn, and where a phone's page enlarges the texts (templates/pieces.css).
LETTER, PHONE_LETTER = 6.9, 11.0
Rows = list[dict[str, Any]]


def layer(
    rows: Rows, kind: str, mark: Mapping[str, Any] | None = None, **channels: Any
) -> alt.Chart:
    """Marks of a kind, one for each row, placed by channels (``x="start"`` reads a quantity)."""
    if kind == "text":
        rows, mark = _legible(rows, mark or {}, channels.get("color"))
    encoding = {name: _channel(name, value) for name, value in channels.items()}
    if rows and "tip" in rows[0] and kind not in _WITHOUT_TIP:
        encoding["tooltip"] = {"field": "tip", "type": "nominal"}
    if rows and rows[0].get("client") and kind not in _WITHOUT_TIP:
        encoding["href"] = {"field": "client", "type": "nominal"}
    look: Any = {
        "type": kind,
        "tooltip": None if "tooltip" not in encoding else {"content": "encoding"},
    }
    with theme.unvalidated():
        return alt.Chart(
            theme.Values(values=rows),
            mark=look | dict(mark or {}),
            encoding=alt.FacetedEncoding(**encoding),
        )


def customer(client_id: Any) -> str:
    """What leads from a mark to a customer: a page puts the address of its page there, or nothing.

    >>> customer("a b"), customer(None)
    ('#customer=a%20b', '')
    """
    return "" if formats.is_missing(client_id) else f"{theme.CUSTOMER}{quote(str(client_id))}"


def _legible(rows: Rows, mark: Mapping[str, Any], channel: Any) -> tuple[Rows, Mapping[str, Any]]:
    """Texts in colours that can be read on paper."""
    if "color" in mark:
        mark = {**mark, "color": theme.TEXT_COLOURS.get(mark["color"], mark["color"])}
    if isinstance(channel, str):
        rows = [
            {**row, channel: theme.TEXT_COLOURS.get(row[channel], row[channel])} for row in rows
        ]
    return rows, mark


# A text says its own, a rule is a scale's.
_WITHOUT_TIP = {"text", "rule"}
_FIELD_ONLY = {"x2", "y2"}
_NOMINAL = {"text", "detail"}
_AS_GIVEN = {"color", "opacity", "size"}


def _channel(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, str):
        return dict(value)
    if name in _FIELD_ONLY:
        return {"field": value}
    if name in _AS_GIVEN:
        kind = "nominal" if name == "color" else "quantitative"
        return {"field": value, "type": kind, "scale": None}
    return {"field": value, "type": "nominal" if name in _NOMINAL else "quantitative"}


def at(
    field: str, scale: Mapping[str, Any], axis: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A position on a scale, with an axis or without."""
    kind = "temporal" if scale.get("type") == "utc" else "quantitative"
    return {
        "field": field,
        "type": kind,
        "scale": dict(scale),
        "axis": dict(axis) if axis else None,
    }


def span(low: float, high: float, **more: Any) -> dict[str, Any]:
    """A scale from ``low`` to ``high``."""
    return {"domain": [low, high], "nice": False, "zero": False, **more}


def pixels(height: float) -> dict[str, Any]:
    """A scale from the top downwards, a unit a pixel."""
    return span(0, height, range=[0, height])


def days(first: str, last: str) -> dict[str, Any]:
    """A scale of dates in UTC, so that a day is the same day in every reader's browser.

    The bounds are one expression: Vega-Lite would read texts as dates at one end of a mark and as words at the other.
    """
    bounds = ", ".join(f"datetime({json.dumps(text)})" for text in (first, last))
    return {"type": "utc", "domain": {"expr": f"[{bounds}]"}, "nice": False}


def moment(value: Any) -> str:
    """A date, or a local hour without its offset."""
    text = str(value)
    return text[:19] + "Z" if "T" in text else text[:10]


def axis(
    kind: str = "number", ticks: int = 5, title: str | None = None, **more: Any
) -> dict[str, Any]:
    """An axis of numbers, percent (of a share of one), money, days (numbers of them) or dates."""
    labels: dict[str, dict[str, Any]] = {
        # '~s' would write a half as "500m"
        "number": {
            "labelExpr": "format(datum.value, abs(datum.value) < 1 ? '~g' : '~s')",
        },
        "percent": {"labelExpr": "format(100 * datum.value, 'd') + '%'"},
        "date": {"format": "%-d %b", "labelFlush": True, "labelOverlap": True},
    }
    return {"title": title, "tickCount": ticks, **labels.get(kind, {}), **more}


def records(frame: pd.DataFrame, *needed: str) -> Rows:
    """The rows of a frame in which all ``needed`` columns are known."""
    known = frame.dropna(subset=list(needed)) if needed and len(frame) else frame
    return [{str(key): value for key, value in row.items()} for row in known.to_dict("records")]


def text_width(text: str, letter: float = LETTER) -> float:
    """About how many pixels a text takes."""
    return formats.cells(text) * letter


def apart(places: Iterable[float], room: float, low: float, high: float) -> list[float]:
    """Places of labels in ascending order, moved so that they stand ``room`` apart within the bounds.

    >>> apart([0.1, 0.12, 0.99], 0.1, 0, 1)
    [0.1, 0.2, 0.99]
    """
    free, moved = low - room, []
    for wanted in places:
        free = max(wanted, free + room)
        moved.append(round(free, 6))
    ceiling = high + room
    for position in range(len(moved) - 1, -1, -1):
        ceiling = min(moved[position], ceiling - room)
        moved[position] = round(ceiling, 6)
    return moved


def legend(names: Iterable[tuple[str, str]], y: float = -14) -> list[alt.Chart]:
    """Names in their colours above the plot, beside each other."""
    layers, x = [], 0.0
    for name, colour in names:
        text = f"■ {name}"
        mark = {"align": "left", "baseline": "top", "fontSize": 12, "x": x, "y": y, "color": colour}
        layers.append(layer([{"text": text}], "text", mark, text="text"))
        x += text_width(text, PHONE_LETTER) + 14
    return layers
