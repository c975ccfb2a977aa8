"""Flows: who was in which group then, at the left, and is in which now, at the right."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from healthseg.charts import canvas, formats, theme
from healthseg.charts.canvas import Rows, at

HEIGHT, GAP, ROOM, BLOCK = 320, 10, 170, 9
# What stands last, whatever the order of the others.
UNPLACED = "Not placed"
LAST = ("New", "Churned", UNPLACED, "Other")
# The points of a band from one block to the other.
STEPS = 25
_LETTER = 6.6
Ends = dict[str, tuple[float, float, int]]


def flow(
    frame: pd.DataFrame,
    title: str,
    empty: str,
    paint: Mapping[str, str],
    order: Sequence[str] = (),
    outside: Sequence[str] = (),
) -> theme.Picture:
    """Groups as blocks in their ``order``, moves between them as bands; who comes from or goes to ``outside`` did not move.

    ``frame``: from, to, customers.
    """
    if not len(frame):
        return theme.nothing(title, empty)
    left, right = (_ends(frame, side, order) for side in ("from", "to"))
    inner = canvas.WIDTH - 2 * ROOM
    blocks = [
        {
            "x": side,
            "x2": side + BLOCK,
            "y": top,
            "y2": bottom,
            "colour": paint[name],
            "tip": f"{formats.plain(name)}: {formats.written(count, 'number customer')} {when}",
        }
        for ends, side, when in ((left, 0, "then"), (right, inner - BLOCK, "now"))
        for name, (top, bottom, count) in ends.items()
    ]
    x, y = at("x", canvas.span(0, inner)), at("y", canvas.pixels(HEIGHT))
    encoding = {"x": x, "y": y, "y2": "y2", "color": "colour"}
    bands = _bands(frame, left, right, paint, inner)
    layers = [
        canvas.layer(
            bands, "area", {"interpolate": "linear"}, **encoding, opacity="strength", detail="key"
        ),
        canvas.layer(blocks, "rect", None, **encoding, x2="x2"),
        *(_names(ends, side, x, y) for ends, side in ((left, -6), (right, inner + 6))),
    ]
    nowhere = [*outside, UNPLACED]
    inside = ~frame["from"].isin(nowhere) & ~frame["to"].isin(nowhere)
    moved = frame.loc[inside & (frame["from"] != frame["to"]), "customers"].sum()
    count = formats.number(frame.loc[inside, "customers"].sum())
    title = f"{formats.number(moved)} of {count} customers moved"
    subtitle = "Left: then, right: now; faint: unchanged"
    return canvas.picture(layers, title, subtitle, HEIGHT, left=ROOM, right=ROOM, top=14, bottom=10)


def _names(ends: Ends, side: float, x: dict[str, Any], y: dict[str, Any]) -> Any:
    rows = [
        {
            "x": side,
            "y": (top + bottom) / 2,
            "text": _wrapped(f"{name} {formats.number(count)}"),
        }
        for name, (top, bottom, count) in ends.items()
    ]
    look = {"align": "right" if side < 0 else "left", "baseline": "middle", "fontSize": 12}
    return canvas.layer(rows, "text", {**look, "lineHeight": 14}, x=x, y=y, text="text")


def _wrapped(name: str) -> list[str]:
    """A name on at most two lines."""
    room = ROOM - 10
    lines = textwrap.wrap(formats.plain(name), max(int(room / _LETTER), 5))
    shown = [*lines[:1], *([" ".join(lines[1:])] if lines[1:] else [])]
    return [formats.fitted(line, room, _LETTER) for line in shown]


def _ends(frame: pd.DataFrame, side: str, order: Sequence[str]) -> Ends:
    """Where each group's block begins and ends on a side, and its customers; each has room for its label."""
    counts = frame.groupby(side)["customers"].sum()
    wanted = [*(name for name in order if name not in LAST), None, *LAST]
    ranks = {name: rank for rank, name in enumerate(wanted)}
    names = sorted(
        counts.index, key=lambda name: (ranks.get(name, ranks[None]), -counts[name], name)
    )
    least = 16.0
    scale = max(HEIGHT - GAP * (len(names) - 1) - least * len(names), 10) / counts.sum()
    ends, top = {}, 0.0
    for name in names:
        size = least + float(counts[name]) * scale
        ends[name] = (top, top + size, int(counts[name]))
        top += size + GAP
    return ends


def _bands(
    frame: pd.DataFrame, left: Ends, right: Ends, paint: Mapping[str, str], inner: float
) -> Rows:
    """Bands from block to block, as points of areas along a smooth step."""
    used = {("from", name): top for name, (top, _, _) in left.items()}
    used |= {("to", name): top for name, (top, _, _) in right.items()}
    first, last = list(left), list(right)
    moves = sorted(
        frame.to_dict("records"),
        key=lambda row: (first.index(row["from"]), last.index(row["to"])),
    )
    points: Rows = []
    for move in moves:
        ends = []
        for side, blocks in (("from", left), ("to", right)):
            top, bottom, count = blocks[move[side]]
            size = (bottom - top) * move["customers"] / count
            ends.append((used[side, move[side]], used[side, move[side]] + size))
            used[side, move[side]] += size
        points += _band(move, ends, paint, inner)
    return points


def _band(
    move: Mapping[str, Any],
    ends: Sequence[tuple[float, float]],
    paint: Mapping[str, str],
    inner: float,
) -> Rows:
    unchanged = move["from"] == move["to"]
    colour = paint[move["to"] if move["from"] == "New" else move["from"]]
    count = formats.written(move["customers"], "number customer")
    names = formats.plain(f"{move['from']} → {move['to']}")
    look = {
        "key": f"{move['from']}→{move['to']}",
        "colour": theme.FAINT if unchanged else colour,
        "strength": 0.22 if unchanged else 0.62,
        "tip": f"{names}: {count}",
    }
    (top, bottom), (top_then, bottom_then) = ends
    points = []
    for step in range(STEPS):
        share = step / (STEPS - 1)
        bend = share * share * (3 - 2 * share)
        points.append(
            {
                "x": BLOCK + share * (inner - 2 * BLOCK),
                "y": top + bend * (top_then - top),
                "y2": bottom + bend * (bottom_then - bottom),
                **look,
            }
        )
    return points
