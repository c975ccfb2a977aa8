"""Points: customers on one axis, or on two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from healthseg.charts import canvas, formats, theme
from healthseg.charts.canvas import at

RED = theme.BAND_COLOURS["critical"]


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
        canvas.layer(mine, "tick", {"color": RED, "thickness": 4, "size": 44, "y": 30}, x=x),
        canvas.layer(
            names,
            "text",
            {"color": RED, "y": 0, "baseline": "top", "fontWeight": 600},
            x=x,
            text="text",
        ),
    ]
    return canvas.picture(layers, title, subtitle, 52, left=14, right=60, bottom=26)
