"""The pictures of one customer's stages: the way so far, its place on the stage's curve, which doors others took."""

from __future__ import annotations

import datetime as dt
import itertools

import altair as alt
import pandas as pd

from healthseg.charts import formats, theme
from healthseg.charts.bars import Axis, Bar, Row, rows
from healthseg.charts.canvas import WIDTH

STAGES = (
    "prospect",
    "trial",
    "onboarding",
    "active",
    "engaged",
    "expanded",
    "renewing",
    "at_risk",
    "churned",
)
COLOURS = {
    "prospect": theme.FAINT,
    "trial": "#cc79a7",
    "onboarding": "#56b4e9",
    "active": theme.BAND_COLOURS["healthy"],
    "engaged": theme.BAND_COLOURS["champion"],
    "expanded": "#5b4a9e",
    "renewing": theme.BAND_COLOURS["at_risk"],
    "at_risk": theme.BAND_COLOURS["critical"],
    "churned": theme.SOFT,
    "none": theme.GRID,
}
PERCENT = Axis(
    0,
    1.0,
    baseline=0,
    ticks=(0, 0.25, 0.5, 0.75, 1),
    labels=("0 %", "25 %", "50 %", "75 %", "100 %"),
)
_STEP, _LEFT = 34, 84


def _data(values: list[dict]) -> alt.Chart:
    return alt.Chart(alt.Data(values=values))


def timeline(progression: pd.DataFrame, as_of: dt.date) -> theme.Picture:
    """The way so far: a bar for each stay, a line of the ladder for each stage that the customer was in.

    ``progression``: stage, start_date, end_date (missing while it lasts), duration_days, visit.
    """
    title = "The way so far"
    if not len(progression):
        return theme.nothing(title, "No stage was imported or recorded.")
    lanes = [stage for stage in reversed(STAGES) if stage in set(progression["stage"])]
    values = _stays(progression, lanes, as_of)
    first, last = (
        values[0]["start"],
        max(formats.iso(as_of) or "", *(value["end"] for value in values)),
    )
    height = _STEP * len(lanes)
    form = (
        "%-d %b"
        if (dt.date.fromisoformat(last) - dt.date.fromisoformat(first)).days <= 150
        else "%b %Y"
    )
    axis = alt.Axis(
        format=form,
        tickCount=6,
        title=None,
        grid=False,
        labelFlush=True,
        labelOverlap=True,
    )
    x = alt.X("start:T", scale=theme.time_scale(first, last), axis=axis)
    scale = alt.Scale(domain=[0, len(lanes)], range=[0, height], nice=False, zero=False)
    place = alt.Y("top:Q", scale=scale, axis=None)
    names = [
        {"at": lane + 0.5, "text": formats.sentence(formats.words(stage))}
        for lane, stage in enumerate(lanes)
    ]
    rules = [{"at": float(lane)} for lane in range(len(lanes) + 1)]
    joints = [
        {"start": after["start"], "top": before["top"], "bottom": after["top"]}
        for before, after in itertools.pairwise(values)
    ]
    at = alt.Y("at:Q", scale=scale, axis=None)
    layers = [
        _data(rules).mark_rule(color=theme.GRID).encode(y=at),
        _data(joints)
        .mark_rule(color=theme.FAINT)
        .encode(x=x, y=alt.Y("middle_top:Q", scale=scale, axis=None), y2="middle_bottom:Q")
        .transform_calculate(middle_top="datum.top + 0.275", middle_bottom="datum.bottom + 0.275"),
        _data(values)
        .mark_rect(cornerRadius=2)
        .encode(x=x, x2="end:T", y=place, y2="bottom:Q", color=alt.Color("colour:N", scale=None)),
        _data([value for value in values if value["text"]])
        .mark_text(align="center", fontSize=11.5, color=theme.PAPER, fontWeight=600)
        .encode(x=alt.X("middle:T"), y=alt.Y("centre:Q", scale=scale, axis=None), text="text:N"),
        _data(names)
        .mark_text(align="left", x=-_LEFT + 2, fontSize=12.5)
        .encode(y=at, text="text:N"),
    ]
    subtitle = f"Days in each stay; n = {len(values)}, the last one until {formats.day(as_of)}"
    return theme.picture(layers, title, subtitle, height, left=_LEFT, right=22, top=6, bottom=26)


def _stays(progression: pd.DataFrame, lanes: list[str], as_of: dt.date) -> list[dict]:
    found = []
    first = pd.Timestamp(progression["start_date"].iloc[0])
    whole = max((pd.Timestamp(as_of) - first).days, 1)
    for row in progression.to_dict("records"):
        start = pd.Timestamp(row["start_date"])
        end = pd.Timestamp(as_of if formats.is_missing(row["end_date"]) else row["end_date"])
        end = max(end, start + pd.Timedelta(days=max(1, whole // 200)))
        room = (end - start).days / whole * (WIDTH - _LEFT - 22)
        text = formats.number(row["duration_days"])
        top = lanes.index(row["stage"]) + 0.225
        found.append(
            {
                "start": formats.iso(start),
                "end": formats.iso(end),
                "top": top,
                "bottom": top + 0.55,
                "centre": top + 0.275,
                "middle": formats.iso(start + (end - start) / 2),
                "colour": COLOURS[row["stage"]],
                "text": text if formats.cells(text) * 7 + 6 < room else "",
            }
        )
    return found


def position(
    curve: pd.DataFrame,
    stage: str | None,
    day: int | None,
    stuck_share: float,
) -> theme.Picture:
    """Is it usual to be here so long? The share of those that came into the stage still in it, and this customer's day.

    ``curve``: time, survival, lower, upper.
    """
    title = "Time in this stage"
    if stage is None or day is None or not len(curve):
        return theme.nothing(
            title, "Too few customers were seen in this stage to draw how long they stay."
        )
    rows_ = curve[["time", "survival", "lower", "upper"]].astype(float)
    start = pd.DataFrame({"time": [0.0], "survival": [1.0], "lower": [1.0], "upper": [1.0]})
    rows_ = pd.concat([start, rows_], ignore_index=True)
    rows_ = rows_.fillna({"lower": rows_["survival"], "upper": rows_["survival"]})
    last = max(_shown_until(rows_), min(float(day), 3 * _shown_until(rows_))) * 1.04
    values = [
        {"day": row.time, "share": row.survival, "lower": row.lower, "upper": row.upper}
        for row in rows_[rows_["time"] <= last].itertuples()
    ]
    values.append({**values[-1], "day": last})
    here = [value["share"] for value in values if value["day"] <= day][-1]
    x = alt.X(
        "day:Q",
        scale=alt.Scale(domain=[0, last], nice=False),
        axis=alt.Axis(title="days in the stage", grid=False, tickCount=8),
    )
    scale, axis = alt.Scale(domain=[0, 1], nice=False), theme.percent_axis()
    y, colour = alt.Y("share:Q", scale=scale, axis=axis), COLOURS[stage]
    label = f"day {formats.number(day)}: {formats.percent(here)} still here"
    label = f"this customer, {label}"
    at, room = min(float(day), last), (formats.cells(label) * 7.2 + 20) / (WIDTH - 58) * last
    mark = [{"day": at, "share": here}]
    side, start, height = _clear(values, at, room, last)
    told = [{"day": start, "height": height, "text": label}]
    layers = [
        _data(values)
        .mark_area(color=colour, opacity=0.15, interpolate="step-after")
        .encode(x=x, y=alt.Y("lower:Q", scale=scale, axis=axis), y2="upper:Q"),
        _data(values).mark_line(color=colour, interpolate="step-after").encode(x=x, y=y),
        _data([{"share": stuck_share, "text": f"stuck below {formats.percent(stuck_share)}"}])
        .mark_rule(color=theme.FAINT, strokeDash=[4, 4])
        .encode(y=y),
        _data(
            [
                {
                    "share": stuck_share,
                    "text": f"stuck below {formats.percent(stuck_share)}",
                    "day": last,
                }
            ]
        )
        .mark_text(align="right", dx=-2, dy=-8, color=theme.SOFT, fontSize=11.5)
        .encode(x=x, y=y, text="text:N"),
        _data(mark).mark_rule(color=theme.INK).encode(x=x),
        _data(mark)
        .mark_circle(color=theme.INK, size=90, opacity=1, stroke=theme.PAPER, strokeWidth=2)
        .encode(x=x, y=y),
        _data(told)
        .mark_text(align=side, dx=-10 if side == "right" else 10, fontSize=12.5, fontWeight=600)
        .encode(x=x, y=alt.Y("height:Q", scale=scale, axis=axis), text="text:N"),
    ]
    n = int(curve["at_risk"].max())
    subtitle = (
        f"Share of the customers that came to {formats.words(stage)} and are still in it, with its interval; "
        f"n = {formats.number(n)}"
    )
    return theme.picture(layers, title, subtitle, 230, left=44, right=14, top=10, bottom=40)


def _clear(values: list[dict], day: float, room: float, last: float) -> tuple[str, float, float]:
    """Where a label stands clear of the curve: its alignment, the day that it begins at (or ends), and its height.

    Beside its day, under the curve or above it; else at the right end, over all.
    """
    side, first, end = ("right", day - room, day) if day > 0.5 * last else ("left", day, day + room)
    begin = max((value["day"] for value in values if value["day"] <= first), default=0.0)
    beside = [value for value in values if begin <= value["day"] <= end]
    low, high = min(value["lower"] for value in beside), max(value["upper"] for value in beside)
    if first < 0 or end > last or (low < 0.26 and high > 0.86):
        return "right", last, 0.94
    return side, day, low - 0.09 if low >= 0.26 else high + 0.08


def _shown_until(rows_: pd.DataFrame) -> float:
    """The day by which nearly all have left: what comes after it is a tail of few."""
    rare = rows_.loc[rows_["survival"] <= 0.03, "time"]
    return float(rare.iloc[0] if len(rare) else rows_["time"].iloc[-1])


def doors(frame: pd.DataFrame, stage: str | None) -> theme.Picture:
    """Where do customers go from here? For each door the share of all that came in, and of those still here so long.

    ``frame``: to, share, share_from_here.
    """
    title = "Where others went from this stage"
    if stage is None or not len(frame):
        return theme.nothing(title, "Too few customers were seen to leave this stage.")
    items = []
    for row in frame.to_dict("records"):
        now = 0.0 if formats.is_missing(row["share_from_here"]) else float(row["share_from_here"])
        bars = (
            Bar(0, float(row["share"]), theme.FAINT, 0.55, 17),
            Bar(0, now, COLOURS[row["to"]], 1.0, 8),
        )
        here = "" if formats.is_missing(row["share_from_here"]) else f" · {formats.percent(now)}"
        note = f"{formats.percent(row['share'])} of all{here}"
        note += " of those still here so long" if here else ""
        items.append(Row(formats.sentence(formats.words(row["to"])), note, bars=bars))
    subtitle = (
        "Grey: of all that came into the stage; colour: of those still in it after as many days"
    )
    return rows(items, PERCENT, title, subtitle)
