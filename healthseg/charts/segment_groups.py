"""The pictures of one customer among others, and of groups: where it stands, how far apart, how many."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from healthseg.charts import canvas, formats, scatter, theme
from healthseg.charts.bars import Axis, Bar, BarRow, rows
from healthseg.charts.segments import GREEN, colours

# Standard deviations of room around the points.
PAD = 1.5


def plane(frame: pd.DataFrame) -> theme.Picture:
    """How far apart do groups stand? Customers in the two directions that part the groups best."""
    title = "Customers in the two directions that part them best"
    known = frame[frame["x"].notna()] if "x" in frame else frame.iloc[:0]
    if not len(known) or known["segment_name"].nunique() < 2:
        return theme.nothing(title, "There are no groups by metrics to draw.")
    counts = known["segment_name"].value_counts()
    names = sorted(counts.index, key=lambda name: (-counts[name], name))
    paint = colours(names)
    points = [
        {
            "x": float(row["x"]),
            "y": float(row["y"]),
            "colour": paint[row["segment_name"]],
            "strength": 0.35 + 0.5 * float(row["certainty"]),
            "tip": f"{formats.plain(row.get('name') or row.get('client_id'))}: {formats.plain(row['segment_name'])}, "
            f"certainty {formats.percent(row['certainty'])}",
        }
        for row in known.to_dict("records")
    ]
    middles = known.groupby("segment_name")[["x", "y"]].median()
    labels = [
        {
            "x": float(middles.loc[name, "x"]),
            "y": float(middles.loc[name, "y"]),
            "text": formats.fitted(name, 210),
        }
        for name in names
    ]
    subtitle = f"A point a customer, fainter where its segment is less sure; n = {len(known)}"
    return scatter.plane(
        points, labels, title, subtitle, "standard deviations within segments", PAD
    )


def evidence(frame: pd.DataFrame) -> theme.Picture:
    """Into how many segments do the customers fall? Stability and silhouette for each number tried."""
    title = "How many segments?"
    known = frame[frame["groups"] > 1] if len(frame) else frame
    known = known[known["stability"].notna()] if len(known) else known
    if not len(known):
        return theme.nothing(title, "One cloud describes the customers as well as any parts of it.")
    items = []
    for row in known.to_dict("records"):
        passes = bool(row["passes"])
        items.append(
            BarRow(
                f"{int(row['groups'])} segments",
                f"stability {row['stability']:.2f} · silhouette {row['silhouette']:.2f}{' · passes' if passes else ''}",
                bars=(Bar(0, max(float(row["stability"]), 0.0), GREEN if passes else theme.FAINT),),
                target=0.8,
            )
        )
    axis = Axis(
        0, 1.02, baseline=0, ticks=(0, 0.5, 0.8, 1), labels=("0", "0.5", "0.8: stable", "1")
    )
    return rows(
        items,
        axis,
        title,
        "Stability: agreement of resampled customers' segments (adjusted Rand index)",
    )


def standing(frame: pd.DataFrame, customer: dict[str, Any]) -> theme.Picture:
    """Where does this customer stand? Its value among all customers', with the borders of its segment."""
    title = "Where it stands"
    if not len(frame) or formats.is_missing(customer["value"]):
        return theme.nothing(
            title, "These segments come from words or from several metrics: there is no one scale."
        )
    ends = [edge for edge in (customer["above"], customer["up_to"]) if edge is not None]
    low = -math.inf if customer["above"] is None else customer["above"]
    high = math.inf if customer["up_to"] is None else customer["up_to"]
    rows = [
        {"value": float(row["value"]), "tip": _tip(row)}
        for row in frame.sort_values("value", kind="stable").to_dict("records")
    ]
    subtitle = f"A point a customer, blue in its segment ({customer['segment_name']}); dashed: its borders; n = {len(frame)}"
    return scatter.heap(
        rows,
        title,
        subtitle,
        (float(customer["value"]), customer["name"]),
        ends,
        (low, high),
        canvas.axis("", 9, grid=False),
    )


def _tip(row: dict[str, Any]) -> str:
    name = formats.plain(row.get("name") or row.get("client_id") or "A customer")
    whole = float(row["value"]) == round(float(row["value"]))
    return f"{name}: {formats.number(row['value'], 0 if whole else 2)}"
