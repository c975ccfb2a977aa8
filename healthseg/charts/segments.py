"""The pictures of segments: how large, what sets them apart, who moved, where ARR is at risk, how stable they are."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from healthseg.charts import formats, heat, theme
from healthseg.charts.bars import Axis, Bar, Row, rows
from healthseg.charts.canvas import WIDTH

BLUE, GREEN, AMBER, RED = (
    theme.BAND_COLOURS[band] for band in ("champion", "healthy", "at_risk", "critical")
)
PALETTE = (BLUE, GREEN, AMBER, RED, "#56b4e9", "#cc79a7", "#7a6fbe", "#8c6d31")
BAND_NAMES = {
    "champion": "Champion",
    "healthy": "Healthy",
    "at_risk": "At risk",
    "critical": "Critical",
}
MOST = 12
QUARTERS = [0, 0.25, 0.5, 0.75, 1]
PERCENT = "format(100 * datum.value, '.0f') + ' %'"


def _data(values: list[dict[str, Any]]) -> alt.Chart:
    return alt.Chart(alt.Data(values=values))


def _paint() -> alt.Color:
    return alt.Color("colour:N", scale=None)


def colours(names: list[str]) -> dict[str, str]:
    """A colour for each segment, grey for those that could not be placed."""
    placed = [name for name in names if name not in ("Not placed", "Other")]
    found = {name: PALETTE[at % len(PALETTE)] for at, name in enumerate(placed)}
    return {name: found.get(name, theme.FAINT) for name in names}


def sizes(frame: pd.DataFrame, currency: str | None) -> theme.Picture:
    """How large is each segment? Its share of the customers, and beneath it its share of the ARR."""
    title = "Share of customers and of ARR"
    if not len(frame):
        return theme.nothing(title, "There are no customers to part.")
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
        items.append(Row(formats.plain(row["segment"]), text, bars=tuple(bars)))
    reach = max(float(frame["share"].max()), float(frame["arr_share"].fillna(0).max()))
    subtitle = (
        f"Solid: customers; light: ARR; n = {formats.number(frame['customers'].sum())} customers"
    )
    return rows(items, percent_axis(reach), title, subtitle)


def percent_axis(reach: float) -> Axis:
    step = next(size for size in (0.05, 0.1, 0.2, 0.25, 0.5) if reach / size <= 5 or size == 0.5)
    ticks = tuple(round(step * place, 2) for place in range(int(reach // step) + 1))
    return Axis(
        0,
        reach * 1.02 or 1,
        baseline=0,
        ticks=ticks,
        labels=tuple(formats.percent(tick) for tick in ticks),
    )


def profile(frame: pd.DataFrame) -> theme.Picture:
    """What is each segment like? Its median in each metric, against the portfolio's: blue higher, vermilion lower."""
    title = "Medians, against all customers"
    if not len(frame) or frame["segment"].nunique() < 2:
        return theme.nothing(title, "There is one segment only: nothing to compare it with.")
    own = set(frame.loc[frame["ingredient"].astype(bool), "label"])
    return heat.heat_map(
        frame.assign(strength=frame["distance"].astype(float).abs() + 1e-9),
        title,
        "Above or below the portfolio's median, the stronger the farther; * what defines the segments",
        "No metric is known.",
        "label",
        "segment",
        "strength",
        text=lambda cell: formats.plain(cell["text"]),
        tip=lambda cell: f"{cell['segment']}, {cell['label']}: {cell['text']}",
        rows={
            label: label + (" *" if label in own else "") for label in dict.fromkeys(frame["label"])
        },
        columns={
            name: formats.fitted(name, 400 / frame["segment"].nunique())
            for name in dict.fromkeys(frame["segment"])
        },
        colour=lambda cell: BLUE if cell["distance"] > 0 else RED,
        cell=30,
        strongest=2.0,
    )


def _wrapped(name: str, room: float) -> list[str]:
    """A name on at most two lines."""
    lines = textwrap.wrap(formats.plain(name), max(int(room / 6.6), 5))
    return [
        formats.fitted(line, room, 6.6)
        for line in [*lines[:1], *([" ".join(lines[1:])] if lines[1:] else [])]
    ]


def differences(frame: pd.DataFrame) -> theme.Picture:
    """What sets segments apart, in what they were not made of? Effects that stand, with their intervals."""
    title = "Differences between segments"
    stands = frame[frame["significant"].astype(bool)].head(MOST) if len(frame) else frame
    if not len(stands):
        tried = (
            f"{len(frame)} comparisons were made; none stands"
            if len(frame)
            else "there was nothing to compare"
        )
        return theme.nothing(title, f"No significant difference: {tried}.")
    items = [
        Row(
            f"{row['label']}: {formats.plain(row['segment'])} above {formats.plain(row['other'])}",
            f"{formats.percent((1 + row['cliffs_delta']) / 2)} of pairs · n = {row['n']} and {row['other_n']}",
            bars=(
                Bar(50 * (1 + float(row["lower"])), 50 * (1 + float(row["upper"])), BLUE, 0.35, 9),
            ),
            dot=50 * (1 + float(row["cliffs_delta"])),
            dot_colour=BLUE,
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
    title = "Who moved"
    if not len(frame):
        return theme.nothing(title, "The portfolio has no earlier date to compare with.")
    height, gap = 320, 10
    left, right = _ends(frame, "from", height, gap, order), _ends(frame, "to", height, gap, order)
    names = list(dict.fromkeys([*right, *left]))
    paint = colours(names) | dict.fromkeys(("New", "Churned"), theme.SOFT)
    room = 170
    inner = WIDTH - 2 * room
    ribbons = _ribbons(frame, left, right, paint, inner)
    blocks = [
        {"x": side, "x2": side + 9, "y": top, "y2": bottom, "colour": paint[name]}
        for ends, side in ((left, 0), (right, inner - 9))
        for name, (top, bottom, _) in ends.items()
    ]
    labels = [
        {
            "x": at,
            "y": (top + bottom) / 2,
            "text": _wrapped(f"{name} {formats.number(count)}", room - 10),
        }
        for ends, at in ((left, -6), (right, inner + 6))
        for name, (top, bottom, count) in ends.items()
    ]
    x = alt.Scale(domain=[0, inner], nice=False)
    y = alt.Scale(domain=[0, height], range=[0, height], nice=False)
    across, down = alt.X("x:Q", scale=x, axis=None), alt.Y("y:Q", scale=y, axis=None)
    layers = [
        _data(ribbons)
        .mark_area(interpolate="linear")
        .encode(
            x=across,
            y=down,
            y2="y2:Q",
            color=_paint(),
            opacity=alt.Opacity("strength:Q", scale=None),
            detail="key:N",
        ),
        _data(blocks).mark_rect().encode(x=across, x2="x2:Q", y=down, y2="y2:Q", color=_paint()),
        _data([one for one in labels if one["x"] < 0])
        .mark_text(align="right", baseline="middle", fontSize=12, lineHeight=14)
        .encode(x=across, y=down, text="text:N"),
        _data([one for one in labels if one["x"] > 0])
        .mark_text(align="left", baseline="middle", fontSize=12, lineHeight=14)
        .encode(x=across, y=down, text="text:N"),
    ]
    moved = frame.loc[frame["from"] != frame["to"], "customers"].sum()
    subtitle = f"Left: then, right: now; grey: stayed; n = {formats.number(frame['customers'].sum())}, {moved} elsewhere"
    return theme.picture(layers, title, subtitle, height, left=room, right=room, top=14, bottom=10)


def _ends(
    frame: pd.DataFrame, side: str, height: float, gap: float, order: Sequence[str]
) -> dict[str, tuple[float, float, int]]:
    """Where each segment's block begins and ends on a side, and its customers; least room for a label each."""
    counts = frame.groupby(side)["customers"].sum()
    last = ["New", "Churned", "Not placed", "Other"]
    ranks = {
        name: at
        for at, name in enumerate([*(one for one in order if one not in last), None, *last])
    }
    names = sorted(
        counts.index, key=lambda name: (ranks.get(name, ranks[None]), -counts[name], name)
    )
    least = 16.0
    scale = max(height - gap * (len(names) - 1) - least * len(names), 10) / counts.sum()
    found, at = {}, 0.0
    for name in names:
        size = least + float(counts[name]) * scale
        found[name] = (at, at + size, int(counts[name]))
        at += size + gap
    return found


def _ribbons(
    frame: pd.DataFrame, left: dict, right: dict, paint: dict[str, str], inner: float
) -> list[dict[str, Any]]:
    """Bands from block to block, as points of areas along a smooth step."""
    used = {("l", name): top for name, (top, _, _) in left.items()} | {
        ("r", name): top for name, (top, _, _) in right.items()
    }
    order_left, order_right = list(left), list(right)
    flows_ = sorted(
        frame.to_dict("records"),
        key=lambda row: (order_left.index(row["from"]), order_right.index(row["to"])),
    )
    found = []
    for row in flows_:
        ends = []
        for key, blocks, name in (("l", left, row["from"]), ("r", right, row["to"])):
            top, bottom, count = blocks[name]
            size = (bottom - top) * row["customers"] / count
            ends.append((used[key, name], used[key, name] + size))
            used[key, name] += size
        stays = row["from"] == row["to"]
        for place in range(25):
            share = place / 24
            bend = share * share * (3 - 2 * share)
            found.append(
                {
                    "key": f"{row['from']}→{row['to']}",
                    "x": 9 + share * (inner - 18),
                    "y": ends[0][0] + bend * (ends[1][0] - ends[0][0]),
                    "y2": ends[0][1] + bend * (ends[1][1] - ends[0][1]),
                    "colour": theme.FAINT
                    if stays
                    else paint[row["from"]]
                    if row["from"] != "New"
                    else paint[row["to"]],
                    "strength": 0.22 if stays else 0.62,
                }
            )
    return found


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

    def loss(cell: dict[str, Any]) -> str:
        return (
            ""
            if formats.is_missing(cell["expected_churned_arr"])
            else formats.brief_money(cell["expected_churned_arr"])
        )

    return heat.heat_map(
        cells,
        "Value and health",
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
        colour=lambda cell: RED,
        cell=56,
    )


def lorenz(frame: pd.DataFrame, gini: float | None) -> theme.Picture:
    """How unequal is the ARR? The share of it that the smallest customers hold, up to all."""
    title = "Concentration of ARR"
    if not len(frame):
        return theme.nothing(title, "No ARR is known, or it cannot be added up.")
    points = [
        {"x": float(a), "y": float(b)}
        for a, b in frame[["share_of_customers", "share_of_total"]].to_numpy()
    ]
    across = alt.X(
        "x:Q",
        scale=alt.Scale(domain=[0, 1], nice=False),
        axis=alt.Axis(
            labelExpr=PERCENT, values=QUARTERS, title="customers, from the smallest", grid=False
        ),
    )
    up = alt.Y(
        "y:Q",
        scale=alt.Scale(domain=[0, 1], nice=False),
        axis=alt.Axis(labelExpr=PERCENT, values=QUARTERS, title=None),
    )
    at = min(points, key=lambda point: abs(point["x"] - 0.8))
    mark = [
        {"x": at["x"], "y": at["y"], "text": f"the top fifth has {formats.percent(1 - at['y'])}"}
    ]
    layers = [
        _data([{"x": 0, "y": 0}, {"x": 1, "y": 1}])
        .mark_line(color=theme.FAINT, strokeDash=[4, 4], strokeWidth=1.5)
        .encode(x=across, y=up),
        _data(points).mark_area(color=BLUE, opacity=0.14).encode(x=across, y=up),
        _data(points).mark_line(color=BLUE).encode(x=across, y=up),
        _data(mark).mark_circle(size=80, color=BLUE, opacity=1).encode(x=across, y=up),
        _data(mark)
        .mark_text(align="right", dx=-10, dy=-6, fontSize=12)
        .encode(x=across, y=up, text="text:N"),
    ]
    subtitle = f"Share of the ARR; Gini {formats.number(gini, 2)}; dashed: all alike; n = {len(points) - 1} customers"
    return theme.picture(layers, title, subtitle, 250, left=54, right=14, bottom=44)
