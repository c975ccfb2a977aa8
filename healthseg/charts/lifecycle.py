"""Lifecycle: the charts of a customer's stages and of the portfolio's."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from healthseg.charts import bars, canvas, formats, heat, lines, theme
from healthseg.charts.canvas import Rows, at

if TYPE_CHECKING:
    import datetime as dt

    import pandas as pd

    from healthseg.charts.theme import Picture


COLOURS = {
    "prospect": theme.FAINT,
    "trial": theme.PINK,
    "onboarding": theme.SKY,
    "active": theme.OLIVE,
    "engaged": theme.HIGHLIGHT,
    "expanded": theme.BROWN,
    "renewing": theme.SLATE,
    "at_risk": theme.PLUM,
    "churned": theme.SOFT,
}
# Along time, at risk at the bottom, where its changes are seen best.
STACK = (
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


def _colours(stages: Iterable[str], order: Iterable[str] = COLOURS) -> dict[str, str]:
    """The colours of stages; those of a team's own lifecycle have others, in their order."""
    own = [stage for stage in dict.fromkeys(stages) if stage not in STACK]
    known = {stage: COLOURS.get(stage, theme.GRID) for stage in order}
    return known | dict(zip(own, itertools.cycle(theme.KINDS), strict=False))


def _colour(row: dict[str, Any], stage: str = "stage") -> str:
    return COLOURS.get(row[stage], theme.HIGHLIGHT)


# -- one customer ---------------------------------------------------------------------------------


def timeline(progression: pd.DataFrame, as_of: dt.date) -> Picture:
    import pandas as pd

    times = progression.assign(
        start=pd.to_datetime(progression["start_date"]),
        end=pd.to_datetime(progression["end_date"]).fillna(pd.Timestamp(as_of)),
    )
    return spans(
        times,
        "Stages over time",
        f"Days of each time in a stage; n = {{n}}, the last one until {formats.day(as_of)}",
        "No stage was imported or recorded.",
        "stage",
        "start",
        "end",
        "{duration_days:number}",
        _colours(progression["stage"]),
    )


def doors(exits: pd.DataFrame) -> Picture:
    return bars.bars(
        exits,
        _where_to(exits),
        "Wide bar: of all that entered the stage; narrow bar: of those still in it after as many days",
        "Too few customers exited this stage.",
        bars.row(
            "{to:Words}",
            lambda row: (
                "{share:percent} of all"
                if formats.is_missing(row["share_from_here"])
                else "{share:percent} of all · {share_from_here:percent} of those still in it"
            ),
            "share_from_here",
            colour=lambda row: _colour(row, "to"),
            interval=(0.0, "share"),
        ),
        bars.shares(),
    )


def _where_to(exits: pd.DataFrame) -> str:
    known = exits.dropna(subset="share") if len(exits) else exits
    if not len(known):
        return "Where others went from this stage"
    row = known.loc[known["share"].astype(float).idxmax()]
    return f"Most others went on to {formats.words(row['to'])}: {formats.percent(row['share'])}"


def position(
    curve: pd.DataFrame, stage: str | None, day: int | None, stuck_share: float
) -> Picture:
    """The share of those that entered the stage still in it, and this customer's day."""
    title = "Time in this stage"
    if stage is None or day is None or not len(curve):
        return theme.nothing(title, "Too few customers were watched in this stage to draw a curve.")
    steps = _steps(curve, day)
    last = steps[-1]["day"]
    share = [step["share"] for step in steps if step["day"] <= day][-1]
    words = f"this customer, day {formats.number(day)}: {formats.percent(share)} still in it"
    own = {"day": min(float(day), last), "share": share, "tip": formats.sentence(words)}
    side, start, height = _clear(steps, own["day"], _room(words, last), last)
    x = at("day", canvas.span(0, last), canvas.axis("", 8, "days in the stage", grid=False))
    scale, axis = canvas.span(0, 1), canvas.axis("percent")
    y, colour = at("share", scale, axis), COLOURS.get(stage, theme.HIGHLIGHT)
    band = {"color": colour, "opacity": 0.15, "interpolate": "step-after"}
    stuck = [
        {"share": stuck_share, "day": last, "text": f"stuck below {formats.percent(stuck_share)}"}
    ]
    dot = {"color": theme.INK, "size": 90, "opacity": 1, "stroke": theme.PAPER, "strokeWidth": 2}
    bold = {"align": side, "dx": -10 if side == "right" else 10, "fontSize": 12.5}
    layers = [
        canvas.layer(_bare(steps), "area", band, x=x, y=at("lower", scale, axis), y2="upper"),
        canvas.layer(steps, "line", {**band, "opacity": 1}, x=x, y=y),
        canvas.layer(stuck, "rule", {"color": theme.FAINT, "strokeDash": [4, 4]}, y=y),
        canvas.layer(stuck, "text", _AT_THE_RULE, x=x, y=y, text="text"),
        canvas.layer(_bare([own]), "rule", {"color": theme.INK}, x=x),
        canvas.layer([own], "circle", dot, x=x, y=y),
        canvas.layer(
            [{"day": start, "share": height, "text": words}],
            "text",
            {**bold, "fontWeight": 600},
            x=x,
            y=y,
            text="text",
        ),
    ]
    title = (
        f"{formats.percent(share)} are still in {formats.words(stage)} on day {formats.number(day)}"
    )
    subtitle = (
        f"Share of the customers that entered {formats.words(stage)} and are still in it, with its "
        f"interval; n = {formats.number(curve['at_risk'].max())}"
    )
    return canvas.picture(layers, title, subtitle, 230, left=68, right=14, top=10, bottom=40)


_AT_THE_RULE = {"align": "right", "dx": -2, "dy": -8, "color": theme.SOFT, "fontSize": 11.5}


def _bare(rows: Rows) -> Rows:
    return [{key: value for key, value in row.items() if key != "tip"} for row in rows]


def _room(words: str, last: float) -> float:
    """How many days of the axis a label takes."""
    return (canvas.text_width(words, 7.2) + 20) / (canvas.WIDTH - 82) * last


def _steps(curve: pd.DataFrame, day: int) -> Rows:
    """The curve from day 0 as far as it is drawn: until nearly all exited, or to the customer's day."""
    known = curve[["time", "survival", "lower", "upper"]].astype(float)
    known = known.fillna({"lower": known["survival"], "upper": known["survival"]})
    rare = known.loc[known["survival"] <= 0.03, "time"]
    shown = float(rare.iloc[0] if len(rare) else known["time"].iloc[-1])
    last = max(shown, min(float(day), 3 * shown)) * 1.04
    steps = [(0.0, 1.0, 1.0, 1.0), *known.itertuples(index=False, name=None)]
    rows = [
        {
            "day": time,
            "share": share,
            "lower": lower,
            "upper": upper,
            "tip": f"Day {formats.number(time)}: {formats.percent(share)} still in it",
        }
        for time, share, lower, upper in steps
        if time <= last
    ]
    return [*rows, {**rows[-1], "day": last}]


def _clear(steps: Rows, day: float, room: float, last: float) -> tuple[str, float, float]:
    """Where a label is clear of the curve: its alignment, the day at its beginning or end, its height.

    Beside its day, under the curve or above it; else at the right end, over all.
    """
    side, first, end = ("right", day - room, day) if day > 0.5 * last else ("left", day, day + room)
    begin = max((step["day"] for step in steps if step["day"] <= first), default=0.0)
    beside = [step for step in steps if begin <= step["day"] <= end]
    low, high = min(step["lower"] for step in beside), max(step["upper"] for step in beside)
    if first < 0 or end > last or (low < 0.26 and high > 0.86):
        return "right", last, 0.94
    return side, day, low - 0.09 if low >= 0.26 else high + 0.08


# -- the portfolio --------------------------------------------------------------------------------


def over_time(stages: pd.DataFrame) -> Picture:
    if len(stages) and stages["date"].nunique() == 1:
        return theme.nothing("Stages over time", "Only one date is known so far.")
    return lines.arr_over_time(
        stages,
        "stage",
        "stage",
        _colours(stages["stage"], STACK),
        "No customer was live on these dates.",
        lambda stage: "no stage" if stage == "none" else formats.words(stage),
        lines.largest_change(stages, "stage"),
    )


def matrix(moves: pd.DataFrame) -> Picture:
    def stages(column: str) -> dict[str, str]:
        names = _colours([*moves["source"], *moves["target"]])
        there = [stage for stage in names if stage in set(moves[column])]
        return {stage: formats.sentence(formats.words(stage)) for stage in there}

    return heat.heat_map(
        moves,
        _most_churn(moves),
        "Share of the times in the stage at the left that ended in the stage above; "
        f"n = {formats.number(moves['n'].sum())} that ended",
        "No customer exited a stage.",
        "source",
        "target",
        "share",
        # four decimals, as in responses: text and chart round alike
        text=lambda move: formats.percent(round(move["share"], 4)),
        under=lambda move: f"n = {formats.number(move['n'])}",
        tip=lambda move: formats.filled(
            "{source:Words} to {target:words}: {share:percent}, {n:number} of {of:number}", move
        ),
        rows=stages("source"),
        columns=stages("target"),
        strongest=1.0,
        cell=40,
    )


def _most_churn(moves: pd.DataFrame) -> str:
    """From which stage customers churn most often."""
    churn = moves[moves["target"] == "churned"] if len(moves) else moves
    if not len(churn):
        return "From stage to stage"
    row = churn.loc[churn["share"].astype(float).idxmax()]
    return f"Churn is most frequent after {formats.words(row['source'])}: {formats.percent(row['share'])}"


def _shortest_and_longest(stages: pd.DataFrame) -> str:
    known = stages.dropna(subset="median").sort_values("median")
    if len(known) < 2:
        return "Time in each stage"
    first, last = known.iloc[0], known.iloc[-1]
    names = [formats.words(row["stage"]) for row in (first, last)]
    return f"Half are out of {names[0]} by day {first['median']:.0f}, of {names[1]} by day {last['median']:.0f}"


def durations(stages: pd.DataFrame) -> Picture:
    known = stages.dropna(subset="median")
    reach = 1.05 * known[["q75", "stuck_from", "median"]].max().max() if len(known) else 1.0
    return bars.bars(
        known.fillna({"q25": 0.0, "q75": reach}),
        _shortest_and_longest(stages),
        "Days; bar: the middle half is out by then, dot: half, mark: nine of ten",
        "Too few times were watched in any stage.",
        bars.row(
            "{stage:Words}",
            lambda row: (
                "day {median:number} · n = {n:number}"
                if formats.is_missing(row["stuck_from"])
                else "day {median:number} · stuck from day {stuck_from:number} · n = {n:number}"
            ),
            None,
            colour=_colour,
            dot="median",
            target="stuck_from",
            interval=("q25", "q75"),
        ),
        bars.days(reach),
    )


def stuck(customers: pd.DataFrame) -> Picture:
    return bars.bars(
        customers,
        "Stuck customers",
        "Days in the stage so far; mark: when half of all exited it; n = {n}",
        "No customer is in a stage longer than nearly all that entered it.",
        bars.row(
            "{name}",
            "{days:number day} in {stage:words}",
            "days",
            colour=_colour,
            target="typical_days",
        ),
        lambda shown: bars.days(shown[["days", "typical_days"]].max().max()),
        most=12,
    )


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
