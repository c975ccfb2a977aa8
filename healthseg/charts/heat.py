"""Heat maps: a grid of cells, named at the left and above, the stronger the more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from healthseg.charts import canvas, formats, theme
from healthseg.charts.canvas import at

SMALL = 11
LONGEST_NAME = 275.0
Row = dict[str, Any]


def heat_map(
    frame: pd.DataFrame,
    title: str,
    subtitle: str,
    empty: str,
    row: str,
    column: str,
    value: str,
    text: Callable[[Row], str] | None = None,
    tip: Callable[[Row], str] | None = None,
    rows: Mapping[Any, str] | None = None,
    columns: Mapping[Any, str] | None = None,
    colour: Callable[[Row], str] | None = None,
    under: Callable[[Row], str] | None = None,
    left: float = 0,
    cell: float = 24,
    strongest: float | None = None,
    heads_below: bool = False,
) -> theme.Picture:
    """A cell for each row of the frame.

    ``rows`` and ``columns`` name the values of the two columns, in their order; without names they are written as they
    are. ``value`` decides the strength, up to ``strongest`` (the largest value); ``text`` and ``under`` write into the
    cell, ``tip`` under the pointer. A cell without a value is not drawn.
    """
    cells = canvas.records(frame, value)
    if not any(record[value] for record in cells):
        return theme.nothing(title, empty)
    names = rows or {key: formats.plain(key) for key in dict.fromkeys(frame[row])}
    heads = columns or {key: formats.plain(key) for key in dict.fromkeys(frame[column])}
    down, across = list(names), list(heads)
    most = strongest or max(abs(float(record[value])) for record in cells)
    boxes = [
        {
            "x": across.index(record[column]),
            "x2": across.index(record[column]) + 1,
            "y": cell * down.index(record[row]),
            "y2": cell * (down.index(record[row]) + 1),
            "strength": 0.06 + 0.8 * min(1.0, abs(float(record[value])) / most),
            "colour": colour(record) if colour else theme.HIGHLIGHT,
            "text": text(record) if text else "",
            "under": under(record) if under else "",
            "tip": tip(record)
            if tip
            else f"{names[record[row]]}, {heads[record[column]]}: {formats.number(record[value])}",
        }
        for record in cells
        if record[column] in heads and record[row] in names
    ]
    room = left or min(
        LONGEST_NAME + 10,
        16 + max(canvas.text_width(name, canvas.PHONE_LETTER) for name in names.values()),
    )
    height = cell * len(down)
    x, y = canvas.span(0, len(across)), canvas.pixels(height)
    layers = [
        canvas.layer(
            boxes,
            "rect",
            {"x2Offset": -1, "yOffset": 1, "cornerRadius": 2},
            x=at("x", x),
            x2="x2",
            y=at("y", y),
            y2="y2",
            color="colour",
            opacity="strength",
        )
    ]
    if text:
        layers += _texts(boxes, x, y, cell, "under" if under else "")
    width = (canvas.WIDTH - room - 8) / len(across)
    tight = any(canvas.text_width(head, canvas.PHONE_LETTER) > width for head in heads.values())
    lines = 2 if tight and not heads_below else 1
    layers += _names(names, heads, x, y, cell, height if heads_below else 0.0, lines, width)
    above, beneath = (8, 26) if heads_below else (6 + 18 * lines, 8)
    return canvas.picture(
        layers, title, subtitle, height, left=room, right=8, top=above, bottom=beneath
    )


def _texts(
    boxes: list[Row], x: Mapping[str, Any], y: Mapping[str, Any], cell: float, under: str
) -> list[Any]:
    """What is written into the cells; a phone has no room for what is as small as this."""
    middle = [
        {**box, "x": box["x"] + 0.5, "y": box["y"] + cell / 2 - (7 if under else 0)}
        for box in boxes
    ]
    mark = {"baseline": "middle", "fontSize": 13 if under else SMALL, "tooltip": None}
    encoding = {"x": at("x", x), "y": at("y", y)}
    layers = [canvas.layer(_bare(middle), "text", mark, text="text", **encoding)]
    if under:
        small = {**mark, "dy": 16, "fontSize": SMALL}
        layers.append(canvas.layer(_bare(middle), "text", small, text="under", **encoding))
    return layers


def _bare(boxes: list[Row]) -> list[Row]:
    """Texts have nothing to say under the pointer."""
    return [{key: part for key, part in box.items() if key != "tip"} for box in boxes]


def _names(
    names: Mapping[Any, str],
    heads: Mapping[Any, str],
    x: Mapping[str, Any],
    y: Mapping[str, Any],
    cell: float,
    foot: float,
    lines: int,
    width: float,
) -> list[Any]:
    """The rows' names at the left, the columns' above, by turns on as many lines, or, with ``foot``, below."""
    rows = [
        {"y": cell * (index + 0.5), "text": formats.fitted(name, LONGEST_NAME)}
        for index, name in enumerate(names.values())
    ]
    columns = [
        {"x": index + 0.5, "text": name} for index, name in enumerate(heads.values()) if name
    ]
    stacked = _stacked(columns, width) if lines > 1 else None
    side = {"align": "right", "baseline": "middle", "x": -8, "color": theme.SOFT, "fontSize": 12}
    layers = [canvas.layer(rows, "text", side, y=at("y", y), text="text")]
    for line in range(lines):
        head = {"baseline": "top" if foot else "bottom", "y": foot + 6 if foot else -4 - 18 * line}
        look = {**head, "color": theme.SOFT, "fontSize": 12}
        heading = columns[line::lines] if stacked is None else stacked[line]
        layers.append(canvas.layer(heading, "text", look, x=at("x", x), text="text"))
    return layers


def _stacked(columns: list[Row], width: float) -> tuple[list[Row], list[Row]] | None:
    """The last words of the columns' names, and the words above them; None where a line has no room for them."""
    parts = [column["text"].rpartition(" ") for column in columns]
    fits = all(
        canvas.text_width(part) <= 1.05 * width
        for above, _, last in parts
        for part in (above, last)
    )
    if not fits or not any(above for above, _, _ in parts):
        return None
    lower = [{**column, "text": last} for column, (_, _, last) in zip(columns, parts, strict=True)]
    upper = [
        {**column, "text": above}
        for column, (above, _, _) in zip(columns, parts, strict=True)
        if above
    ]
    return lower, upper


def weekly(frame: pd.DataFrame, title: str, subtitle: str, empty: str) -> theme.Picture:
    """Active user-hours by weekday and hour of the day (``weekday`` from 0 for Monday, ``hour``, ``user_hours``)."""
    hours = {hour: f"{hour:02d}:00" if hour % 6 == 0 else "" for hour in range(24)}
    days = dict(enumerate(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")))

    def tip(record: Row) -> str:
        counted = formats.written(record["user_hours"], "number active user-hour")
        return f"{days[record['weekday']]} {record['hour']:02d}:00: {counted}"

    return heat_map(
        frame,
        title,
        subtitle,
        empty,
        "weekday",
        "hour",
        "user_hours",
        tip=tip,
        rows=days,
        columns=hours,
        heads_below=True,
    )


def cohorts(frame: pd.DataFrame, title: str, subtitle: str, empty: str) -> theme.Picture:
    """The share of each week's new users who was active again (``cohort``, ``week``, ``users``, ``share``)."""
    known = frame[frame["share"].notna()] if len(frame) else frame
    sizes = frame.groupby("cohort")["users"].first() if len(frame) else {}
    names = {
        cohort: f"{formats.day(cohort)[:-5]} ({sizes[cohort]})"
        for cohort in sorted(set(known["cohort"]))
        if len(known)
    }

    def tip(record: Row) -> str:
        share = formats.percent(record["share"])
        return f"{share} of the users of {names[record['cohort']]} in week {record['week']}"

    return heat_map(
        known,
        title,
        subtitle,
        empty,
        "cohort",
        "week",
        "share",
        text=lambda cell: formats.percent(cell["share"]),
        tip=tip,
        rows=names,
        columns={week: str(week) for week in range(int(known["week"].max()) + 1)} if names else {},
        strongest=1.0,
    )
