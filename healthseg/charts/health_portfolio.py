"""The pictures of the portfolio's health: who needs attention, who moved, how it is spread, what is missing."""

from __future__ import annotations

import altair as alt
import pandas as pd

from healthseg.charts import formats, theme
from healthseg.charts.bars import Axis, Bar, Row, rows
from healthseg.charts.health import EDGES, band_colour

MOST = 12


def attention(customers: pd.DataFrame) -> theme.Picture:
    """Who has most at stake? A bar for each of the first twelve, in the colour of its band."""
    title = "Most at stake"
    known = (
        customers[customers["at_stake"].fillna(0) > 0].head(MOST) if len(customers) else customers
    )
    if not len(known):
        return theme.nothing(title, "No customer has an ARR and a risk that could be put together.")
    items = [_stake(row) for row in known.to_dict("records")]
    basis = (
        formats.words(known["at_stake_basis"].dropna().iloc[0])
        if known["at_stake_basis"].notna().any()
        else "score and ARR"
    )
    axis = _money_axis(0.0, float(known["at_stake"].max()), _only(known["currency"]))
    return rows(
        items,
        axis,
        title,
        f"Money a year, by {basis}; n = {len(known)} of {len(customers)} customers; the colour is the score's band",
    )


def _stake(row: dict) -> Row:
    score = (
        "no score" if formats.is_missing(row["score"]) else f"score {formats.number(row['score'])}"
    )
    colour = theme.BAND_COLOURS.get(str(row["band"]), theme.FAINT)
    return Row(
        formats.plain(row["name"]),
        f"{formats.brief_money(row['at_stake'], row['currency'])} · {score}",
        bars=(Bar(0, float(row["at_stake"]), colour),),
    )


def _only(values: pd.Series) -> str | None:
    found = values.dropna().unique()
    return str(found[0]) if len(found) == 1 else None


def _money_axis(low: float, high: float, currency: str | None) -> Axis:
    low, high = min(low, 0.0), max(high, 0.0)
    reach = (high - low) or 1.0
    size = 10.0 ** len(str(int(reach))) / 100
    step = next(size * times for times in (1, 2, 5, 10, 20, 50, 100) if reach / (size * times) <= 5)
    ticks = tuple(step * place for place in range(-int(-low // step), int(high // step) + 1))
    names = tuple(
        formats.brief_money(tick, currency if tick == ticks[-1] else None) for tick in ticks
    )
    return Axis(low * 1.02, high * 1.02 or 1.0, baseline=0, ticks=ticks, labels=names)


def movers(moved: pd.DataFrame) -> theme.Picture:
    """Who moved most? Bars to the right for those who rose, to the left for those who fell."""
    title = "Who moved most"
    known = moved[moved["change"].fillna(0) != 0] if len(moved) else moved
    if not len(known):
        return theme.nothing(
            title, "No score moved over the look-back, or none is old enough to compare."
        )
    reach = max(5.0, float(known["change"].abs().max()))
    items: list[Row] = []
    for direction, words in (("up", "Up"), ("down", "Down")):
        chosen = known[known["direction"] == direction].head(MOST)
        items += [Row(words, "points, and the score now", header=True)] if len(chosen) else []
        items += [_move(row) for row in chosen.to_dict("records")]
    step = next(size for size in (5, 10, 25, 50) if reach / size <= 2.5 or size == 50)
    count = int(reach // step)
    ticks = tuple(float(step * place) for place in range(-count, count + 1))
    axis = Axis(
        -reach * 1.02,
        reach * 1.02,
        baseline=0,
        ticks=ticks,
        labels=tuple(formats.signed(tick) for tick in ticks),
    )
    return rows(
        items,
        axis,
        title,
        f"Change of the score in points over the look-back; n = {len(known)} customers",
    )


def _move(row: dict) -> Row:
    change = float(row["change"])
    bar = Bar(min(0.0, change), max(0.0, change), theme.UP if change > 0 else theme.DOWN)
    return Row(
        formats.plain(row["name"]),
        f"{formats.signed(change)} to {formats.number(row['score'])}",
        bars=(bar,),
    )


def disagreements(found: pd.DataFrame, edges: tuple[float, float, float] = EDGES) -> theme.Picture:
    """Where do score and money disagree? The change of ARR of healthy customers that shrank, of unhealthy that grew."""
    title = "Score and money disagree"
    known = found[found["arr_change"].notna()] if len(found) else found
    if not len(known):
        return theme.nothing(
            title, "Nowhere: no healthy customer's ARR fell, and no unhealthy one's grew."
        )
    items: list[Row] = []
    for kind, group in known.groupby("kind", sort=False):
        items.append(Row(formats.sentence(formats.words(kind)), "change of ARR", header=True))
        for row in group.head(MOST).to_dict("records"):
            amount = float(row["arr_change"])
            bar = Bar(min(0.0, amount), max(0.0, amount), band_colour(float(row["score"]), edges))
            sign = "+" if amount > 0 else ""
            items.append(
                Row(
                    formats.plain(row["name"]),
                    f"{sign}{formats.brief_money(amount)} · score {formats.number(row['score'])}",
                    bars=(bar,),
                )
            )
    axis = _money_axis(float(known["arr_change"].min()), float(known["arr_change"].max()), None)
    return rows(
        items,
        axis,
        title,
        f"Change of ARR a year; n = {len(known)} customers; the colour is the score's band",
    )


def distribution(bins: pd.DataFrame) -> theme.Picture:
    """How is health spread? Customers by score, in steps, each in the colour of its band."""
    title = "Customers by score"
    if not len(bins) or not bins["customers"].fillna(0).sum():
        return theme.nothing(title, "No customer has a score yet.")
    values = [
        {
            "low": float(row["low"]),
            "high": float(row["high"]),
            "customers": int(row["customers"]),
            "zero": 0,
            "text": formats.number(row["customers"]) if row["customers"] else "",
            "middle": (float(row["low"]) + float(row["high"])) / 2,
            "colour": theme.BAND_COLOURS.get(str(row["band"]), theme.FAINT),
        }
        for row in bins.to_dict("records")
    ]
    most = max(value["customers"] for value in values)
    x = alt.Scale(domain=[0, 100], nice=False)
    y = alt.Y("customers:Q", scale=alt.Scale(domain=[0, most * 1.1], nice=False), axis=None)
    axis = alt.Axis(values=[0, 20, 40, 60, 80, 100], title=None, grid=False)
    data = alt.Chart(alt.Data(values=values))
    layers = [
        data.mark_rect(
            xOffset=1, x2Offset=-1, cornerRadiusTopLeft=2, cornerRadiusTopRight=2
        ).encode(
            x=alt.X("low:Q", scale=x, axis=axis),
            x2="high:Q",
            y=y,
            y2="zero:Q",
            color=alt.Color("colour:N", scale=None),
        ),
        data.mark_text(dy=-9, fontWeight=600).encode(
            x=alt.X("middle:Q", scale=x, axis=axis), y=y, text="text:N"
        ),
    ]
    total = sum(value["customers"] for value in values)
    return theme.picture(
        layers,
        title,
        f"Customers with a score in each step of points; n = {total}",
        170,
        left=10,
        right=10,
        bottom=26,
    )


def bands_over_time(bands: pd.DataFrame) -> theme.Picture:
    """How did the bands' ARR (or customers, where no ARR is known) develop?"""
    metric = "arr" if len(bands) and bands["arr"].fillna(0).sum() > 0 else "customers"
    title = "ARR by band over time" if metric == "arr" else "Customers by band over time"
    if not len(bands) or not bands[metric].fillna(0).sum():
        return theme.nothing(title, "No past date has a score.")
    stacked = _stacked(bands, metric)
    if stacked["day"].nunique() == 1:
        return _one_date(stacked, title, metric)
    labels = _labels_apart(stacked[stacked["day"] == stacked["day"].max()], metric, 210)
    layers = _areas(stacked, labels)
    unit = "Money a year" if metric == "arr" else "Customers"
    return theme.picture(
        layers,
        title,
        f"{unit}; n = {stacked['day'].nunique()} dates",
        210,
        left=52,
        right=150,
        bottom=26,
    )


_ORDER = ("critical", "at_risk", "healthy", "champion", "unknown")


def _stacked(bands: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Where each band's area begins and ends: critical at the bottom, on the axis, where it is read best."""
    frame = bands.assign(
        day=bands["date"].map(formats.iso),
        band=bands["band"].fillna("unknown"),
        value=bands[metric].fillna(0).astype(float),
    )
    grid = pd.MultiIndex.from_product(
        [sorted(frame["day"].unique()), [band for band in _ORDER if band in set(frame["band"])]],
        names=["day", "band"],
    )
    wide = (
        frame.groupby(["day", "band"])[["value", "customers"]]
        .sum()
        .reindex(grid, fill_value=0)
        .reset_index()
    )
    wide["high"] = wide.groupby("day")["value"].cumsum()
    wide["low"] = wide["high"] - wide["value"]
    wide["colour"] = wide["band"].map(theme.BAND_COLOURS)
    return wide


def _areas(stacked: pd.DataFrame, labels: list[dict]) -> list[alt.Chart]:
    days = sorted(stacked["day"].unique())
    top = float(stacked["high"].max()) * 1.04
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
    values = stacked[["day", "band", "low", "high", "colour"]].to_dict("records")
    end = [{**label, "day": days[-1]} for label in labels]
    return [
        alt.Chart(alt.Data(values=values))
        .mark_area(opacity=0.9, stroke=theme.PAPER, strokeWidth=1)
        .encode(x=x, y=y, y2="high:Q", color=paint, detail="band:N"),
        alt.Chart(alt.Data(values=end))
        .mark_circle(size=60, opacity=1, dx=0, xOffset=10)
        .encode(x=x, y=alt.Y("at:Q", scale=scale), color=paint),
        alt.Chart(alt.Data(values=end))
        .mark_text(align="left", dx=19, fontSize=12)
        .encode(x=x, y=alt.Y("at:Q", scale=scale), text="text:N"),
    ]


def _labels_apart(last: pd.DataFrame, metric: str, height: int) -> list[dict]:
    """The bands' labels at the right end, pushed apart where they would lie on each other."""
    top = float(last["high"].max() or 1) * 1.04
    gap, labels, floor = top * 17 / height, [], -1.0
    for row in last.to_dict("records"):
        at = max((row["low"] + row["high"]) / 2, floor + gap, gap / 2)
        floor = at
        value = (
            formats.brief_money(row["value"])
            if metric == "arr"
            else formats.number(row["customers"])
        )
        labels.append(
            {"at": at, "colour": row["colour"], "text": f"{formats.words(row['band'])} {value}"}
        )
    over = max(0.0, floor - top)
    return [{**label, "at": label["at"] - over} for label in labels]


def _one_date(stacked: pd.DataFrame, title: str, metric: str) -> theme.Picture:
    items = [
        Row(
            formats.sentence(formats.words(row["band"])),
            formats.brief_money(row["value"]) if metric == "arr" else formats.number(row["value"]),
            bars=(Bar(0, float(row["value"]), row["colour"]),),
        )
        for row in stacked.to_dict("records")
    ]
    return rows(
        items,
        _money_axis(0, float(stacked["value"].max()), None),
        title,
        f"On {formats.day(stacked['day'].iloc[0])}",
    )


def coverage(inputs: pd.DataFrame) -> theme.Picture:
    """What is missing in the data? For how many customers each input of the score could be measured."""
    title = "Inputs that could be measured"
    if not len(inputs):
        return theme.nothing(title, "The scorecard has no inputs.")
    items: list[Row] = []
    for component, group in inputs.groupby("component", sort=False):
        items.append(
            Row(
                formats.sentence(formats.words(component)),
                f"{formats.percent(group['weight'].sum())} of the score",
                header=True,
            )
        )
        for row in group.to_dict("records"):
            share = (
                0.0 if formats.is_missing(row["measured_share"]) else float(row["measured_share"])
            )
            colour = (
                theme.SOFT
                if share >= 0.9
                else theme.BAND_COLOURS["at_risk"]
                if share > 0
                else theme.GRID
            )
            items.append(
                Row(
                    formats.plain(row["label"]),
                    f"{formats.percent(share)} · {formats.number(row['measured'])} of "
                    f"{formats.number(row['customers'])}",
                    bars=(Bar(0, 1, theme.GRID, 0.6, 7), Bar(0, share, colour, 1, 7)),
                    brief=formats.percent(share),
                )
            )
    axis = Axis(0, 1, ticks=(0, 0.5, 1), labels=("0 %", "50 %", "100 %"))
    return rows(
        items,
        axis,
        title,
        f"Share of the {formats.number(inputs['customers'].max())} customers for whom each is known",
    )
