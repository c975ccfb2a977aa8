"""The pictures of the portfolio's stages: who is where over time, the matrix of moves, time in stage, who is stuck."""

from __future__ import annotations

import pandas as pd

from healthseg.charts import areas, formats, heat, theme
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
STEPS = (5, 10, 15, 30, 60, 90, 180, 365, 730)


def over_time(frame: pd.DataFrame) -> theme.Picture:
    """How did the stages' ARR (customers, where no ARR is known) develop? At risk at the bottom, read best.

    ``frame``: date, stage, customers, arr.
    """
    if len(frame) and frame["date"].nunique() == 1:
        return theme.nothing("Stages over time", "Only one date is known so far.")
    return areas.arr_over_time(
        frame,
        "stage",
        "stage",
        {stage: COLOURS[stage] for stage in ORDER},
        "No customer was live on these dates.",
        lambda stage: "no stage" if stage == "none" else formats.words(stage),
    )


def matrix(frame: pd.DataFrame) -> theme.Picture:
    """Where do customers go from each stage? A row for each stage exited, a column for each stage entered.

    ``frame``: source, target, n, of, share.
    """
    sources = [stage for stage in STAGES if len(frame) and stage in set(frame["source"])]
    targets = [stage for stage in STAGES if len(frame) and stage in set(frame["target"])]
    total = int(frame["n"].sum()) if len(frame) else 0
    return heat.heat_map(
        frame,
        "From stage to stage",
        "Share of the stays in the stage at the left that ended in the stage above; "
        f"n = {total:,} stays that ended",
        "No customer was seen to exit a stage.",
        "source",
        "target",
        "share",
        text=lambda move: formats.percent(move["share"]),
        under=lambda move: f"n = {formats.number(move['n'])}",
        tip=lambda move: (
            f"{formats.words(move['source'])} to {formats.words(move['target'])}: "
            f"{formats.percent(move['share'])} of {formats.number(move['of'])} stays"
        ),
        rows={stage: formats.sentence(formats.words(stage)) for stage in sources},
        columns={stage: formats.words(stage) for stage in targets},
        cell=40,
        strongest=1.0,
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
