"""Lines along time or along a scale of numbers, with bands and named ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from healthseg.charts import canvas, formats, theme
from healthseg.charts.canvas import Rows, at

Record = dict[str, Any]


def curves(
    frame: pd.DataFrame,
    title: str,
    subtitle: str,
    empty: str,
    colours: Mapping[str, str] | None = None,
    step: bool = True,
    unit: str = "days",
) -> theme.Picture:
    """Shares by day: a line with its interval for each name (``name``, ``days``, ``share``, ``lower``, ``upper``)."""
    if not len(frame):
        return theme.nothing(title, empty)
    last = float(frame["days"].max()) or 1.0
    right = _name_room(frame["name"])
    x = at("days", canvas.span(0, last), canvas.axis("", 8, unit, grid=False))
    scale = canvas.span(0, 1)
    layers, ends = [], []
    for name, group in frame.groupby("name", sort=False):
        paint = (colours or {}).get(str(name), theme.HIGHLIGHT)
        rows = _share_rows(group, formats.words(name), unit)
        bend = {"interpolate": "step-after"} if step else {}
        banded = [
            {key: part for key, part in row.items() if key != "tip"}
            for row in rows
            if row["lower"] is not None and row["upper"] is not None
        ]
        axis = canvas.axis("percent")
        band = {"color": paint, "opacity": 0.15, **bend}
        layers += [
            canvas.layer(banded, "area", band, x=x, y=at("lower", scale, axis), y2="upper"),
            canvas.layer(rows, "line", {"color": paint, **bend}, x=x, y=at("share", scale, axis)),
        ]
        before = [row["share"] for row in rows if row["days"] < last]
        end = before[-1] if step and before else rows[-1]["share"]
        ends.append(
            {"share": end, "text": formats.fitted(formats.words(name), right - 8), "colour": paint}
        )
    return canvas.picture(
        [*layers, end_labels(ends, x, scale, last)],
        title,
        subtitle,
        240,
        left=68,
        right=right,
        bottom=40,
    )


def _share_rows(group: pd.DataFrame, name: str, unit: str) -> Rows:
    rows = []
    for row in group.to_dict("records"):
        known = {
            key: None if formats.is_missing(row[key]) else float(row[key])
            for key in ("days", "share", "lower", "upper")
        }
        tip = f"{name}, {formats.number(row['days'])} {unit}: {formats.percent(row['share'])}"
        rows.append({**known, "tip": tip})
    return rows


def _name_room(names: pd.Series) -> float:
    longest = max(
        canvas.text_width(formats.words(name), canvas.PHONE_LETTER) for name in names.unique()
    )
    return max(92.0, min(canvas.WIDTH / 4, longest + 10))


def end_labels(ends: Rows, x: Mapping[str, Any], scale: Mapping[str, Any], last: float) -> Any:
    """The lines' names at their ends, moved where they would lie over each other."""
    ordered = sorted(ends, key=lambda end: end["share"])
    places = canvas.apart((end["share"] for end in ordered), 0.075, 0.0, 1.0)
    rows = [
        {**end, "days": last, "place": height} for end, height in zip(ordered, places, strict=True)
    ]
    mark = {"align": "left", "dx": 6}
    y = at("place", scale, canvas.axis("percent"))
    return canvas.layer(rows, "text", mark, x=x, y=y, text="text", color="colour")
