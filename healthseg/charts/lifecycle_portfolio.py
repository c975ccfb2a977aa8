"""The pictures of the portfolio's stages: who is where over time, the matrix of moves, time in stage, who is stuck."""

from __future__ import annotations

import altair as alt
import pandas as pd

from healthseg.charts import formats, theme
from healthseg.charts.bars import Axis, Bar, Row, rows
from healthseg.charts.lifecycle import COLOURS, STAGES

ORDER = (
    "none",
    "at_risk",
    "renewing",
    "prospect",
    "trial",
    "onboarding",
    "active",
    "engaged",
    "expanded",
    "churned",
)
BLUE, RED = theme.BAND_COLOURS["champion"], theme.BAND_COLOURS["critical"]
_HEIGHT, _GAP = 250, 17
STEPS = (5, 10, 15, 30, 60, 90, 180, 365, 730)


def over_time(frame: pd.DataFrame) -> theme.Picture:
    """How did the stages' ARR (customers, where no ARR is known) develop? Areas on each other, at risk at the bottom.

    ``frame``: date, stage, customers, arr.
    """
    metric = "arr" if len(frame) and frame["arr"].fillna(0).sum() > 0 else "customers"
    title = "ARR by stage over time" if metric == "arr" else "Customers by stage over time"
    if not len(frame):
        return theme.nothing(title, "No customer was live on the dates looked at.")
    stacked = _stacked(frame, metric)
    days = sorted(stacked["day"].unique())
    if len(days) == 1:
        return theme.nothing(title, "Only one date is known so far.")
    top = float(stacked["high"].max()) * 1.03
    axis = alt.Axis(
        format="%b %Y",
        tickCount=7,
        title=None,
        grid=False,
        labelFlush=True,
        labelOverlap=True,
    )
    x = alt.X("day:T", scale=theme.time_scale(days[0], days[-1]), axis=axis)
    scale = alt.Scale(domain=[0, top], nice=False)
    y = alt.Y("low:Q", scale=scale, axis=alt.Axis(labelExpr=theme.BRIEF, tickCount=4, title=None))
    paint = alt.Color("colour:N", scale=None)
    ends = [
        {**label, "day": days[-1]}
        for label in _labels(stacked[stacked["day"] == days[-1]], metric, top)
    ]
    layers = [
        alt.Chart(
            alt.Data(values=stacked[["day", "stage", "low", "high", "colour"]].to_dict("records"))
        )
        .mark_area(opacity=0.9, stroke=theme.PAPER, strokeWidth=1)
        .encode(x=x, y=y, y2="high:Q", color=paint, detail="stage:N"),
        alt.Chart(alt.Data(values=ends))
        .mark_circle(size=55, opacity=1, xOffset=10)
        .encode(x=x, y=alt.Y("at:Q", scale=scale), color=paint),
        alt.Chart(alt.Data(values=ends))
        .mark_text(align="left", dx=18, fontSize=12)
        .encode(x=x, y=alt.Y("at:Q", scale=scale), text="text:N"),
    ]
    unit = "Money a year" if metric == "arr" else "Customers"
    return theme.picture(
        layers,
        title,
        f"{unit} of the live customers; n = {len(days)} dates",
        _HEIGHT,
        left=52,
        right=150,
        bottom=26,
    )


def _stacked(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    frame = frame.assign(
        day=frame["date"].map(formats.iso), value=frame[metric].fillna(0).astype(float)
    )
    present = [stage for stage in ORDER if stage in set(frame["stage"])]
    grid = pd.MultiIndex.from_product(
        [sorted(frame["day"].unique()), present], names=["day", "stage"]
    )
    wide = (
        frame.groupby(["day", "stage"])[["value", "customers"]]
        .sum()
        .reindex(grid, fill_value=0)
        .reset_index()
    )
    wide["high"] = wide.groupby("day")["value"].cumsum()
    wide["low"] = wide["high"] - wide["value"]
    wide["colour"] = wide["stage"].map(COLOURS)
    return wide


def _labels(last: pd.DataFrame, metric: str, top: float) -> list[dict]:
    """The stages' names at the right end, pushed apart where they would lie on each other."""
    gap, found, floor = top * _GAP / _HEIGHT, [], -1.0
    for row in last[last["customers"] > 0].to_dict("records"):
        at = max((row["low"] + row["high"]) / 2, floor + gap, gap / 2)
        floor = at
        value = (
            formats.brief_money(row["value"])
            if metric == "arr"
            else formats.number(row["customers"])
        )
        name = "no stage" if row["stage"] == "none" else formats.words(row["stage"])
        found.append({"at": at, "colour": row["colour"], "text": f"{name} {value}"})
    over = max(0.0, floor - top)
    return [{**label, "at": label["at"] - over} for label in found]


def matrix(frame: pd.DataFrame) -> theme.Picture:
    """Where do customers go from each stage? A row for each stage left, a column for each stage entered.

    ``frame``: source, target, n, of, share.
    """
    title = "From stage to stage"
    if not len(frame):
        return theme.nothing(title, "No customer was seen to leave a stage.")
    sources = [stage for stage in STAGES if stage in set(frame["source"])]
    targets = [stage for stage in STAGES if stage in set(frame["target"])]
    left, top, row_height = (110), (28), (40)
    values = [
        {
            "x": targets.index(row["target"]),
            "y": sources.index(row["source"]),
            "share": float(row["share"]),
            "text": formats.percent(row["share"]),
            "n": f"n = {formats.number(row['n'])}",
            "ink": theme.PAPER if row["share"] > 0.45 else theme.INK,
        }
        for row in frame.to_dict("records")
    ]
    x = alt.Scale(domain=[0, len(targets)], nice=False)
    y = alt.Scale(
        domain=[0, len(sources)], range=[0, row_height * len(sources)], nice=False, zero=False
    )
    cells = [
        {
            **value,
            "x2": value["x"] + 1,
            "y2": value["y"] + 1,
            "cx": value["x"] + 0.5,
            "cy": value["y"] + (0.38),
            "ny": value["y"] + 0.74,
        }
        for value in values
    ]
    across, down = alt.X("x:Q", scale=x, axis=None), alt.Y("y:Q", scale=y, axis=None)
    middle, centre = alt.X("cx:Q", scale=x, axis=None), alt.Y("cy:Q", scale=y, axis=None)
    ink = alt.Color("ink:N", scale=None)
    heads = [{"cx": at + 0.5, "text": formats.words(stage)} for at, stage in enumerate(targets)]
    sides = [
        {"cy": at + 0.5, "text": formats.sentence(formats.words(stage))}
        for at, stage in enumerate(sources)
    ]
    layers = [
        alt.Chart(alt.Data(values=cells))
        .mark_rect(color=BLUE, stroke=theme.PAPER, strokeWidth=2)
        .encode(
            x=across,
            x2="x2:Q",
            y=down,
            y2="y2:Q",
            opacity=alt.Opacity(
                "share:Q",
                scale=alt.Scale(domain=[0, 0.8], range=[0.06, 1], clamp=True),
                legend=None,
            ),
        ),
        alt.Chart(alt.Data(values=cells))
        .mark_text(fontSize=13, fontWeight=600)
        .encode(x=middle, y=centre, text="text:N", color=ink),
        alt.Chart(alt.Data(values=cells))
        .mark_text(fontSize=10.5)
        .encode(x=middle, y=alt.Y("ny:Q", scale=y, axis=None), text="n:N", color=ink),
        alt.Chart(alt.Data(values=heads))
        .mark_text(
            fontSize=12,
            y=-10,
            angle=0,
            align="center",
            color=theme.SOFT,
        )
        .encode(x=middle, text="text:N"),
        alt.Chart(alt.Data(values=sides))
        .mark_text(align="left", x=-left + 2, fontSize=12.5)
        .encode(y=centre, text="text:N"),
    ]
    subtitle = (
        "Share of the stays in the stage at the left that ended in the stage above"
        + ("")
        + f"; n = {int(frame['n'].sum()):,} stays that ended"
    )
    return theme.picture(
        layers,
        title,
        subtitle,
        row_height * len(sources),
        left=left,
        right=4,
        top=top,
        bottom=6,
    )


def durations(frame: pd.DataFrame) -> theme.Picture:
    """How long do customers stay in each stage? The middle half as a bar, the median as a dot, stuck from the mark on.

    ``frame``: stage, q25, median, q75, stuck_from, n.
    """
    title = "Time in each stage"
    known = frame[frame["median"].notna()] if len(frame) else frame
    if not len(known):
        return theme.nothing(title, "Too few stays were watched in any stage.")
    reach = float(known[["q75", "stuck_from", "median"]].max().max()) * 1.05
    items = []
    for row in known.to_dict("records"):
        start = 0.0 if formats.is_missing(row["q25"]) else float(row["q25"])
        end = reach if formats.is_missing(row["q75"]) else float(row["q75"])
        stuck = (
            ""
            if formats.is_missing(row["stuck_from"])
            else f" · stuck from {formats.number(row['stuck_from'])}"
        )
        items.append(
            Row(
                formats.sentence(formats.words(row["stage"])),
                f"half by day {formats.number(row['median'])}{stuck} · "
                f"n = {formats.number(row['n'])}",
                bars=(Bar(start, end, COLOURS[row["stage"]], 0.55),),
                dot=float(row["median"]),
                target=None if formats.is_missing(row["stuck_from"]) else float(row["stuck_from"]),
            )
        )
    subtitle = (
        "Days; bar: the middle half leaves then, dot: the median, mark: nine of ten have left"
    )
    return rows(items, _days(reach), title, subtitle)


def stuck(frame: pd.DataFrame) -> theme.Picture:
    """Who has been in a stage longer than nearly all? Days so far; the mark is the stage's median.

    ``frame``: name, stage, days, typical_days.
    """
    title = "Stuck customers"
    if not len(frame):
        return theme.nothing(title, "Nobody is in a stage longer than nearly all who came into it.")
    shown = frame.head(12)
    reach = float(shown[["days", "typical_days"]].max().max()) * 1.03
    items = [
        Row(
            formats.plain(row["name"]),
            f"{formats.number(row['days'])} days in {formats.words(row['stage'])}",
            bars=(Bar(0, float(row["days"]), COLOURS[row["stage"]]),),
            target=None if formats.is_missing(row["typical_days"]) else float(row["typical_days"]),
        )
        for row in shown.to_dict("records")
    ]
    subtitle = f"Days in the stage so far; mark: when half of all have left it; n = {len(shown)} of {len(frame)}"
    return rows(items, _days(reach), title, subtitle)


def _days(reach: float) -> Axis:
    step = next((size for size in STEPS if reach / size <= 5), 1460)
    ticks = tuple(float(step * place) for place in range(int(reach // step) + 1))
    return Axis(
        0,
        max(reach, 1.0),
        baseline=0,
        ticks=ticks,
        labels=tuple(formats.number(tick) for tick in ticks),
    )
