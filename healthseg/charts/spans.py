"""Spans of time, each in the lane of its kind: when a customer was in which stage."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pandas as pd

from healthseg.charts import canvas, formats, theme
from healthseg.charts.canvas import Rows, at

LANE, THICKNESS = 34, 18
LEFT, RIGHT = 118, 22
# A phone has no room for texts as small as this.
SMALL = 11
DAYS_WITH_A_DAY = 150


def spans(
    frame: pd.DataFrame,
    title: str,
    subtitle: str,
    empty: str,
    lane: str,
    start: str,
    end: str,
    text: str,
    colours: Mapping[str, str],
) -> theme.Picture:
    """A bar from ``start`` to ``end`` for each row, in the lane of its kind, the first of ``colours`` at the bottom.

    Rows follow each other; a line leads from each to the next. ``text`` is a template, written into the bar where it
    fits; ``subtitle`` may have ``{n}`` for the number of rows.
    """
    if not len(frame):
        return theme.nothing(title, empty)
    lanes = [name for name in reversed(list(colours)) if name in set(frame[lane])]
    rows = frame.rename(columns={lane: "lane", start: "first", end: "last"})
    boxes = _boxes(rows, lanes, text, colours)
    first, last = boxes[0]["start"], max(box["end"] for box in boxes)
    height = LANE * len(lanes)
    x = at(
        "start",
        canvas.days(first, last),
        canvas.axis("date", 4, grid=False, format=_form(first, last)),
    )
    y = at("y", canvas.pixels(height))
    names = [
        {"y": LANE * (index + 0.5), "text": formats.sentence(formats.words(name))}
        for index, name in enumerate(lanes)
    ]
    joints = [
        {"start": after["start"], "y": before["middle"], "y2": after["middle"]}
        for before, after in itertools.pairwise(boxes)
    ]
    inside = [
        {
            "start": box["centre"],
            "y": box["middle"],
            "text": box["text"],
            "colour": theme.ON_MARKS.get(box["colour"], theme.ON_OTHER_MARKS),
        }
        for box in boxes
        if box["text"]
    ]
    side = {"align": "left", "baseline": "middle", "x": -LEFT + 2, "fontSize": 12.5}
    bold = {"baseline": "middle", "fontWeight": 600, "fontSize": SMALL}
    rules = [{"y": LANE * index} for index in range(len(lanes) + 1)]
    layers = [
        canvas.layer(rules, "rule", {"color": theme.GRID}, y=y),
        canvas.layer(joints, "rule", {"color": theme.FAINT}, x=x, y=y, y2="y2"),
        canvas.layer(
            boxes, "rect", {"cornerRadius": 2}, x=x, x2="end", y=y, y2="y2", color="colour"
        ),
        canvas.layer(inside, "text", bold, x=x, y=y, text="text", color="colour"),
        canvas.layer(names, "text", side, y=y, text="text"),
    ]
    subtitle = subtitle.replace("{n}", formats.number(len(boxes)))
    return canvas.picture(layers, title, subtitle, height, left=LEFT, right=RIGHT, top=6, bottom=26)


def _form(first: str, last: str) -> str:
    """The form of the axis's dates: without the day where they span more than months."""
    days = (pd.Timestamp(last) - pd.Timestamp(first)).days
    return "%-d %b" if days <= DAYS_WITH_A_DAY else "%b %Y"


def _boxes(rows: pd.DataFrame, lanes: list[str], text: str, colours: Mapping[str, str]) -> Rows:
    """A box for each row (lane, first, last)."""
    days = max((rows["last"].max() - rows["first"].min()).days, 1)
    # What is shorter than this would not be seen.
    least = pd.Timedelta(days=max(1, days // 200))
    pixels = (canvas.WIDTH - LEFT - RIGHT) / days
    boxes = []
    for row in rows.to_dict("records"):
        first, last = row["first"], max(row["last"], row["first"] + least)
        words, name = formats.filled(text, row), formats.sentence(formats.words(row["lane"]))
        middle = LANE * (lanes.index(row["lane"]) + 0.5)
        boxes.append(
            {
                "start": formats.iso(first),
                "end": formats.iso(last),
                "centre": formats.iso(first + (last - first) / 2),
                "y": middle - THICKNESS / 2,
                "y2": middle + THICKNESS / 2,
                "middle": middle,
                "colour": colours[row["lane"]],
                "text": words
                if canvas.text_width(words) + 6 < (last - first).days * pixels
                else "",
                "tip": f"{name}, {formats.day(first)} to {formats.day(row['last'])}: {words}",
            }
        )
    return boxes
