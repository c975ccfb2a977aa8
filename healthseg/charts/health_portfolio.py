"""The pictures of the portfolio's health: who needs attention, who moved, how it is spread, what is missing."""

from __future__ import annotations

import pandas as pd

from healthseg.charts import areas, columns, formats, theme
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
    total = int(bins["customers"].fillna(0).sum()) if len(bins) else 0
    return columns.columns(
        bins,
        "Customers by score",
        f"Customers with a score in each step of points; n = {total}",
        "No customer has a score yet.",
        "low",
        "high",
        [("customers", "customers", columns.BLUE)],
        time=False,
        ticks=(0, 20, 40, 60, 80, 100),
        colour=lambda step: theme.BAND_COLOURS.get(str(step["band"]), theme.FAINT),
        labelled=True,
        height=170,
    )


def bands_over_time(bands: pd.DataFrame) -> theme.Picture:
    """How did the bands' ARR (or customers, where no ARR is known) develop? Critical at the bottom, read best."""
    return areas.arr_over_time(
        bands, "band", "band", theme.BAND_COLOURS, "No past date has a score."
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
