"""The pictures of adoption: what is adopted, how fast, how far down the funnel, does it last and go with staying?"""

from __future__ import annotations

import pandas as pd

from healthseg.charts import formats, theme
from healthseg.charts.bars import Axis, Bar, Row, rows
from healthseg.charts.lines import curves as shares

BLUE, GREEN, AMBER = (theme.BAND_COLOURS[band] for band in ("champion", "healthy", "at_risk"))
CATEGORIES = {"core": BLUE, "advanced": GREEN, "premium": AMBER}
STAGES = {
    "eligible": "Could use it",
    "awareness": "Were told, or used it",
    "trial": "Used it on a day",
    "first_use": "Used it on two days",
    "regular_use": "Use it weekly",
    "power_use": "Use it three days a week",
}
PERCENT = Axis(
    0,
    1.02,
    baseline=0,
    ticks=(0, 0.25, 0.5, 0.75, 1),
    labels=("0 %", "25 %", "50 %", "75 %", "100 %"),
)
MOST = 20


def features(frame: pd.DataFrame, single: bool) -> theme.Picture:
    """What is adopted of what can be used? A bar for each feature, the most adopted of each category first."""
    title = "Users of each feature" if single else "Adoption by feature"
    known = frame[frame["rate"].notna()] if len(frame) else frame
    if not len(known):
        return theme.nothing(
            title, "No adoption is measured: no feature could be used, or tracking had not begun."
        )
    items: list[Row] = []
    for category, group in _by_category(known):
        items.append(Row(formats.sentence(category), "", header=True))
        ordered = group.sort_values(["rate", "feature"], ascending=[False, True], kind="stable")
        items += [_feature(row, single) for row in ordered.to_dict("records")]
    words = (
        "Share of the active users who used it; grey: not adopted"
        if single
        else "Share of the customers that could use it and have adopted it; lighter: the interval"
    )
    return rows(items, PERCENT, title, f"{words}; n = {len(known)} features")


def _by_category(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    groups = dict(list(frame.groupby("category")))
    return [
        (name, groups[name])
        for name in [*CATEGORIES, *sorted(set(groups) - set(CATEGORIES))]
        if name in groups
    ]


def _feature(row: dict, single: bool) -> Row:
    colour = CATEGORIES.get(str(row["category"]), BLUE)
    often = formats.plain(row["usage_frequency"])
    if single:
        note = f"{formats.percent(row['rate'])} of users{' · ' + often if often else ''}"
        bars = (Bar(0, float(row["rate"]), colour if row["adopted"] == 1 else theme.FAINT),)
        return Row(formats.words(row["feature"]), note, bars=bars)
    note = f"{formats.percent(row['rate'])} · {formats.number(row['adopted'])} of {formats.number(row['customers'])}"
    bars = (
        Bar(float(row["lower"]), float(row["upper"]), colour, 0.3, 17),
        Bar(0, float(row["rate"]), colour),
    )
    return Row(formats.words(row["feature"]), f"{note}{' · ' + often if often else ''}", bars=bars)


def own_times(frame: pd.DataFrame) -> theme.Picture:
    """How fast, compared with others? A bar to the day of adoption, or to today; the mark is the portfolio's median."""
    title = "Days to adopt"
    if not len(frame):
        return theme.nothing(title, "All its features could be used before events were tracked.")
    ordered = frame.sort_values(["days", "waited", "name"], na_position="last", kind="stable")
    reach = float(ordered[["days", "waited", "median"]].max().max()) or 1.0
    items = [_own_time(row) for row in ordered.to_dict("records")]
    step = next((size for size in (7, 14, 30, 60, 90, 180, 365) if reach / size <= 5), 730)
    ticks = tuple(float(step * place) for place in range(int(reach // step) + 1))
    axis = Axis(
        0,
        reach * 1.02,
        baseline=0,
        ticks=ticks,
        labels=tuple(formats.number(tick) for tick in ticks),
    )
    subtitle = f"From when it could be used; lighter: not adopted yet; mark: half of the portfolio had; n = {len(ordered)}"
    return rows(items, axis, title, subtitle)


def _own_time(row: dict) -> Row:
    open_still = formats.is_missing(row["days"])
    length = float(row["waited"] if open_still else row["days"])
    median = (
        "not half of the portfolio"
        if formats.is_missing(row["median"])
        else f"portfolio {formats.number(row['median'])}"
    )
    note = f"{'not after ' if open_still else ''}{formats.number(length)} · {median}"
    bar = Bar(0, length, theme.FAINT if open_still else BLUE, 0.5 if open_still else 1.0)
    return Row(
        formats.words(row["name"]),
        note,
        bars=(bar,),
        target=None if formats.is_missing(row["median"]) else row["median"],
        brief=f"{'not after ' if open_still else ''}{formats.number(length)}",
    )


def time_to_adopt(curves: pd.DataFrame) -> theme.Picture:
    """How long until it is adopted? The share that has by each day, with those not there yet."""
    subtitle = "Share of customer and feature pairs adopted by each day from when they could be"
    return shares(
        curves, "Time to adopt", subtitle, "No pair was watched from its beginning.", CATEGORIES
    )


def kept(curves: pd.DataFrame) -> theme.Picture:
    """Does it last? The share of adoptions that has not been abandoned by each day."""
    subtitle = "Share of adoptions still in use by each day after them"
    nothing = "No adoption was followed long enough."
    return shares(curves, "Retention after adoption", subtitle, nothing, CATEGORIES)


def funnel(frame: pd.DataFrame) -> theme.Picture:
    """How far do they come? A bar for each stage, as a share of what could be used."""
    title = "The funnel"
    known = frame[(frame["scope"] == "all") & frame["share"].notna()] if len(frame) else frame
    if not len(known):
        return theme.nothing(title, "Nothing could be used.")
    items = [
        Row(
            STAGES[row["stage"]],
            f"{formats.number(row['units'])} · {formats.percent(row['share'])}",
            bars=(Bar(0, float(row["share"]), BLUE),),
        )
        for row in known.to_dict("records")
    ]
    return rows(
        items,
        PERCENT,
        title,
        f"Each stage holds the next; n = {formats.number(known['units'].iloc[0])}",
    )


def effects(frame: pd.DataFrame) -> theme.Picture:
    """What goes with staying? The adjusted correlation with its interval; the mark is the raw one."""
    title = "Adopting and staying"
    known = frame[frame["adjusted"].notna()].head(MOST) if len(frame) else frame
    if not len(known):
        return theme.nothing(title, "Too few customers have left, or stayed, to tell.")
    reach = max(0.1, float(known[["lower", "upper", "raw"]].abs().max().max()))
    step = 0.1 if reach <= 0.35 else 0.25
    ticks = tuple(
        round(step * place, 2) for place in range(-int(reach // step), int(reach // step) + 1)
    )
    labels = tuple(formats.signed(tick, 2) if tick else "0" for tick in ticks)
    axis = Axis(-reach * 1.03, reach * 1.03, 0, ticks, labels)
    items = [_effect(row) for row in known.to_dict("records")]
    subtitle = (
        "Correlation of adoption with staying for 90 days, at equal size, tenure, tier, activity, with its interval; "
        f"mark: not adjusted; blue: beyond chance; n = {len(known)} features"
    )
    return rows(items, axis, title, subtitle)


def _effect(row: dict) -> Row:
    colour = BLUE if row["found"] else theme.FAINT
    return Row(
        formats.words(row["name"]),
        f"{row['adjusted']:+.2f} · raw {row['raw']:+.2f}".replace("-", formats.MINUS),
        bars=(Bar(float(row["lower"]), float(row["upper"]), colour, 0.35),),
        dot=float(row["adjusted"]),
        dot_colour=colour,
        target=float(row["raw"]),
    )
