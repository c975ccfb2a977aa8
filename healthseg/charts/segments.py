"""The pictures of segments: how large, what sets them apart, who moved, where ARR is at risk, how stable they are."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from healthseg.charts import canvas, flow, formats, heat, scatter, theme
from healthseg.charts.bars import Axis, Bar, BarRow, rows
from healthseg.charts.canvas import at

BAND_NAMES = {
    "champion": "Champion",
    "healthy": "Healthy",
    "at_risk": "At risk",
    "critical": "Critical",
}
MOST = 12
# up to how many segments a cell has room for its unit
WITH_UNITS = 4
# Where customers come from and go to, which are no segments.
OUTSIDE = ("New", "Churned")
QUARTERS = [0, 0.25, 0.5, 0.75, 1]
# of how many customers a median is worth a title
LEAST_IN_TITLE = 10


def colours(names: list[str]) -> dict[str, str]:
    """A colour for each segment, grey for those that could not be placed."""
    placed = [name for name in names if name not in ("Not placed", "Other")]
    paint = {name: theme.KINDS[number % len(theme.KINDS)] for number, name in enumerate(placed)}
    return {name: paint.get(name, theme.FAINT) for name in names}


def sizes(frame: pd.DataFrame, currency: str | None) -> theme.Picture:
    """How large is each segment? Its share of the customers, and beneath it its share of the ARR."""
    title = "Share of customers and of ARR"
    if not len(frame):
        return theme.nothing(title, "There are no customers to divide.")
    paint = colours(frame["segment"].tolist())
    items = []
    for row in frame.to_dict("records"):
        bars = [Bar(0, float(row["share"]), paint[row["segment"]])]
        money = "ARR not known"
        if not formats.is_missing(row["arr_share"]) and not formats.is_missing(row["arr"]):
            money = (
                f"{formats.brief_money(row['arr'], currency)} ({formats.percent(row['arr_share'])})"
            )
            bars.append(Bar(0, float(row["arr_share"]), paint[row["segment"]], 0.35, 19))
        text = f"{formats.number(row['customers'])} ({formats.percent(row['share'])}) · {money}"
        items.append(BarRow(formats.plain(row["segment"]), text, bars=tuple(bars)))
    reach = max(float(frame["share"].max()), float(frame["arr_share"].fillna(0).max()))
    subtitle = f"Narrow bar: customers; wide bar: ARR; n = {formats.number(frame['customers'].sum())} customers"
    return rows(items, percent_axis(reach), title, subtitle)


def percent_axis(reach: float) -> Axis:
    step = next(size for size in (0.05, 0.1, 0.2, 0.25, 0.5) if reach / size <= 5 or size == 0.5)
    ticks = tuple(round(step * index, 2) for index in range(int(reach // step) + 1))
    return Axis(
        0,
        reach * 1.02 or 1,
        baseline=0,
        ticks=ticks,
        labels=tuple(formats.percent(tick) for tick in ticks),
    )


# the days of a metric's window, which its tip says
_WINDOW = re.compile(r" (of the last|in) \d+ days$")


def profile(frame: pd.DataFrame) -> theme.Picture:
    """What is each segment like? Its median in each metric in which they differ, against the portfolio's: better or worse,
    grey where neither is."""
    title = "Medians, against all customers"
    if not len(frame) or frame["segment"].nunique() < 2:
        return theme.nothing(title, "There is one segment only: nothing to compare it with.")
    narrow = frame["segment"].nunique() > WITH_UNITS
    own = set(frame.loc[frame["ingredient"].astype(bool), "label"])
    strength = frame["distance"].astype(float).abs()
    enough = frame["n"] >= LEAST_IN_TITLE
    other = frame[~frame["label"].isin(own) & strength.notna() & enough]
    if len(other):
        first = other.loc[strength[other.index].idxmax()]
        metric = _WINDOW.sub("", formats.lower_first(str(first["label"])))
        title = f"{first['segment']} stands out by {metric}: {first['text']}, the median of n = {formats.number(first['n'])}"
    frame = frame.assign(strength=strength + 1e-9)[
        strength.groupby(frame["label"]).transform("max") > 0
    ]
    return heat.heat_map(
        frame,
        title,
        "Medians, better or worse than all customers', the stronger the farther; * defines the segments",
        "No metric is known.",
        "label",
        "segment",
        "strength",
        text=lambda cell: formats.plain(
            cell["text"].split()[0] if narrow and cell["text"] else cell["text"]
        ),
        tip=lambda cell: f"{cell['segment']}, {cell['label']}: {cell['text']}",
        rows={
            label: _WINDOW.sub("", label) + (" *" if label in own else "")
            for label in dict.fromkeys(frame["label"])
        },
        columns={
            name: formats.fitted(name, 800 / frame["segment"].nunique())
            for name in dict.fromkeys(frame["segment"])
        },
        colour=lambda cell: {1.0: theme.UP, -1.0: theme.DOWN}.get(cell["favourable"], theme.FAINT),
        left=232 if narrow else 0,
        cell=30,
        strongest=2.0,
    )


def differences(frame: pd.DataFrame) -> theme.Picture:
    """What sets segments apart, in what they were not made of? Effects that stand, with their intervals."""
    title = "Differences between segments"
    stands = frame[frame["significant"].astype(bool)].head(MOST) if len(frame) else frame
    if not len(stands):
        tried = (
            f"{len(frame)} comparisons were made; none is significant"
            if len(frame)
            else "there was nothing to compare"
        )
        return theme.nothing(title, f"No significant difference: {tried}.")
    items = [
        BarRow(
            f"{row['label']}: {formats.plain(row['segment'])} above {formats.plain(row['other'])}",
            f"{formats.percent((1 + row['cliffs_delta']) / 2)} of pairs · n = {row['n']} and {row['other_n']}",
            bars=(
                Bar(
                    50 * (1 + float(row["lower"])),
                    50 * (1 + float(row["upper"])),
                    theme.HIGHLIGHT,
                    0.35,
                    9,
                ),
            ),
            dot=50 * (1 + float(row["cliffs_delta"])),
            dot_colour=theme.HIGHLIGHT,
            short=str(row["label"]),
        )
        for row in stands.to_dict("records")
    ]
    axis = Axis(
        40, 102, baseline=50, ticks=(50, 75, 100), labels=("50%: no difference", "75%", "100%")
    )
    subtitle = "Of all pairs of customers, one of each segment: how often the first has the higher value; bars: 95%"
    return rows(items, axis, title, subtitle)


def flows(frame: pd.DataFrame, order: Sequence[str] = ()) -> theme.Picture:
    """Who moved? Segments then at the left, now at the right, as ``order`` has them; the bands are customers."""
    present = [*frame["to"], *frame["from"]] if len(frame) else []
    names = [name for name in dict.fromkeys([*order, *present]) if name not in OUTSIDE]
    paint = colours(names) | dict.fromkeys(OUTSIDE, theme.SOFT)
    return flow.flow(
        frame,
        "Who moved",
        "The portfolio has no earlier date to compare with.",
        paint,
        order,
        OUTSIDE,
    )


def matrix(frame: pd.DataFrame, currency: str | None) -> theme.Picture:
    """Where do value and health meet, and where may ARR churn? Customers and expected churned ARR by tier and band."""
    known = len(frame) > 0
    cells = (
        frame.assign(strength=frame["expected_churned_arr"].astype(float).fillna(0.0))
        if known
        else frame
    )
    if known and not cells["strength"].sum():
        cells = cells.assign(strength=cells["customers"].astype(float))
    tiers = list(dict.fromkeys(frame["tier"])) if known else []
    bands = [band for band in (*BAND_NAMES, "unknown") if known and band in set(frame["band"])]
    order = sorted(bands, key=[*theme.BANDS, "unknown"].index)
    unit = f", {currency}" if currency else ""
    title = "Value and health"
    if known and cells["expected_churned_arr"].notna().any():
        worst = cells.loc[cells["expected_churned_arr"].astype(float).idxmax()]
        amount = formats.brief_money(worst["expected_churned_arr"], currency)
        band = BAND_NAMES.get(worst["band"], "without a score")
        title = f"{formats.plain(worst['tier'])}, {formats.words(band).lower()}: {amount} may churn"

    def loss(cell: dict[str, Any]) -> str:
        return (
            ""
            if formats.is_missing(cell["expected_churned_arr"])
            else formats.brief_money(cell["expected_churned_arr"])
        )

    return heat.heat_map(
        cells,
        title,
        f"Customers; beneath: ARR expected to churn in 90 days{unit}; the stronger the more",
        "There are no customers to show.",
        "tier",
        "band",
        "strength",
        text=lambda cell: formats.number(cell["customers"]),
        under=loss,
        tip=lambda cell: (
            f"{cell['tier']}, {formats.words(cell['band'])}: "
            f"{formats.written(cell['customers'], 'number customer')}, {loss(cell) or 'unknown'} ARR may churn"
        ),
        rows={tier: formats.plain(tier) for tier in tiers},
        columns={band: BAND_NAMES.get(band, "Unknown") for band in order},
        colour=lambda cell: theme.DOWN,
        cell=56,
    )


def lorenz(frame: pd.DataFrame) -> theme.Picture:
    """How unequal is the ARR? The share of it that the smallest customers hold, up to all."""
    title = "Concentration of ARR"
    if not len(frame):
        return theme.nothing(title, "No ARR is known, or it cannot be added up.")
    pairs = frame[["share_of_customers", "share_of_total"]].to_numpy()
    points: list[dict[str, Any]] = [
        {
            "x": float(share),
            "y": float(total),
            "low": 0.0,
            "tip": f"The smallest {formats.percent(share)} of customers have {formats.percent(total)} of the ARR",
        }
        for share, total in pairs
    ]
    ticks: dict[str, Any] = {"values": QUARTERS}
    x = at(
        "x",
        canvas.span(0, 1),
        canvas.axis("percent", 5, "customers, from the smallest", grid=False, **ticks),
    )
    y = at("y", canvas.span(0, 1), canvas.axis("percent", 5, None, **ticks))
    top = min(points, key=lambda point: abs(point["x"] - 0.8))
    share = formats.percent(1 - top["y"])
    label = f"four fifths pay {formats.percent(top['y'])}, the top fifth {share}"
    title = f"The top fifth of customers pays {share} of the ARR"
    even = [{"x": 0, "y": 0}, {"x": 1, "y": 1}]
    dashes = {"color": theme.FAINT, "strokeDash": [4, 4], "strokeWidth": 1.5}
    words = {"align": "right", "dx": -10, "dy": -6, "fontSize": 12}
    layers = [
        canvas.layer(even, "line", dashes, x=x, y=y),
        canvas.layer(
            points, "area", {"color": theme.HIGHLIGHT, "opacity": 0.14}, x=x, y=y, y2="low"
        ),
        canvas.layer(points, "line", {"color": theme.HIGHLIGHT}, x=x, y=y),
        canvas.layer(
            [top], "circle", {"size": 80, "color": theme.HIGHLIGHT, "opacity": 1}, x=x, y=y
        ),
        canvas.layer([{**top, "text": label}], "text", words, x=x, y=y, text="text"),
    ]
    subtitle = f"Share of the ARR of {len(points) - 1} customers, the smallest first; dashed: if all paid the same"
    return canvas.picture(layers, title, subtitle, 250, left=54, right=14, bottom=44)


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
            "client": canvas.customer(row.get("client_id")),
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
                bars=(
                    Bar(
                        0,
                        max(float(row["stability"]), 0.0),
                        theme.HIGHLIGHT if passes else theme.FAINT,
                    ),
                ),
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
        {
            "value": float(row["value"]),
            "tip": _tip(row),
            "client": canvas.customer(row.get("client_id")),
        }
        for row in frame.sort_values("value", kind="stable").to_dict("records")
    ]
    subtitle = f"A point a customer, strong in its segment ({customer['segment_name']}); dashed: its borders; n = {len(frame)}"
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
