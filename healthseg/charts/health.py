"""Health: the charts of a customer's score and of the portfolio's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pandas as pd

from healthseg.charts import bars, columns, formats, lines, theme
from healthseg.charts.bars import Axis, Bar, BarRow

if TYPE_CHECKING:
    from healthseg.charts.theme import Picture

Record = dict[str, Any]
Edges = tuple[float, float, float]
EDGES = (40.0, 60.0, 80.0)
MOST = 12
# Letters that a phone shows beside a figure.
LONGEST_LABEL = 52
POINTS = Axis(0, 100, None, (0, 25, 50, 75, 100), ("0", "25", "50", "75", "100 points"))
KINDS = {
    "configuration": "the rules changed",
    "newly_missing": "no longer known",
    "newly_known": "newly known",
    "ramp": "new customer's ramp",
    "rounding": "rounding",
}


def band_colour(score: float, edges: Edges = EDGES) -> str:
    """The colour of the band in which a score lies; a band includes its lower end."""
    return theme.BAND_COLOURS[theme.BANDS[sum(score >= edge for edge in edges)]]


def _own_band(row: Record) -> str:
    return theme.BAND_COLOURS.get(str(row["band"]), theme.FAINT)


def _ticks(low: float, high: float) -> tuple[float, ...]:
    """Round values within a span, at most six."""
    step = next(size for size in (1, 2, 5, 10, 20, 50, 100) if (high - low) / size <= 5)
    first = -(-low // step) * step
    return tuple(first + step * index for index in range(int((high - first) // step) + 1))


# -- one customer ---------------------------------------------------------------------------------


def change(parts: pd.DataFrame) -> Picture:
    """A bar for each part of the change, from where the score was to where the part took it.

    The first and the last row of ``parts`` are the totals.
    """
    title = "What moved the score"
    moved = parts[~parts["kind"].isin(["from", "to"])]
    if parts["end"].isna().all():
        return theme.nothing(title, "There is no earlier score to compare with.")
    if not len(moved):
        return theme.nothing(title, "No input moved: the score is what it was.")
    ends = pd.concat([moved["start"], moved["end"], parts["end"].where(parts["end"] > 0)])
    low, high = float(ends.min()), float(ends.max())
    room = max(1.0, (high - low) * 0.06)
    ticks = _ticks(low, high)
    axis = Axis(low - room, high + room, None, ticks, tuple(map(formats.number, ticks)))
    items = [_part(row) for row in parts.to_dict("records")]
    subtitle = f"Points of the score; n = {len(moved)} parts, which add up to the change"
    return bars.rows(items, axis, title, subtitle)


def _part(row: Record) -> BarRow:
    label = formats.plain(row["label"])
    if row["kind"] in ("from", "to"):
        date = formats.day(label) if re.fullmatch(r"\d{4}-\d{2}-\d{2}", label) else label
        return BarRow(date, formats.number(row["end"]), dot=float(row["end"]))
    start, end = sorted((float(row["start"]), float(row["end"])))
    colour = theme.UP if row["points"] >= 0 else theme.DOWN
    bar = Bar(start, end, colour, 1.0 if row["kind"] == "data" else 0.45)
    figure = formats.signed(row["points"], 1)
    return BarRow(_part_label(row, label), figure, bars=(bar,), short=label)


def _part_label(row: Record, label: str) -> str:
    if not formats.is_missing(row["value_then"]) and not formats.is_missing(row["value_now"]):
        text = f"{label}: {formats.filled('{value_then:quantity} → {value_now:quantity}', row)}"
        return text if len(text) <= LONGEST_LABEL else label
    kind = KINDS.get(row["kind"], "")
    return f"{label} ({kind})" if kind and kind not in label.lower() else label


def components(metrics: pd.DataFrame, edges: Edges = EDGES) -> Picture:
    """Each metric's points, with its value; what is not measured says so."""
    shares = metrics.groupby("component")["effective_weight"].transform("sum")
    return bars.bars(
        metrics.assign(share=shares),
        "The points of each input",
        "Each value, and its points from 0 to 100; "
        f"n = {metrics['points'].notna().sum()} of {len(metrics)} inputs measured",
        "The scorecard has no inputs.",
        lambda row: _scored(row, edges),
        POINTS,
        most=len(metrics),
        groups=lambda row: formats.filled("{component:Words}, {share:percent} of the score", row),
    )


def _scored(row: Record, edges: Edges) -> BarRow:
    label = formats.plain(row["label"])
    if formats.is_missing(row["points"]):
        track = Bar(0, 100, theme.GRID, 0.5, 3)
        return BarRow(label, "not measured", soft=True, bars=(track,))
    points = float(row["points"])
    bar = Bar(0, max(points, 0.4), band_colour(points, edges))
    figure = formats.filled("{value:quantity} · {points:number}", row)
    return BarRow(label, figure, bars=(Bar(0, 100, theme.GRID, 0.6), bar))


def outlook(churn: pd.DataFrame) -> Picture:
    """The probability of churn by horizon, with its interval and what is plausible for one customer.

    A model's estimate is the customer's own: its interval is drawn, and the base rate is a mark beside it.
    """
    title = "Probability of churn"
    known = churn[churn["lower"].notna() & churn["upper"].notna()]
    if not len(known):
        reason = "The portfolio has too few customers that churned, or stayed long enough, for an estimate."
        return theme.nothing(title, reason)
    items = [_horizon(int(days), group) for days, group in known.groupby("horizon_days")]
    axis = bars.scale(0, max(0.1, min(1.0, float(known["upper"].max()) * 1.08)), "percent")
    what = (
        "bar: the customer's own, with its interval; mark: the base rate of its tier"
        if "model" in set(known["kind"])
        else "narrow bar: the rate with its interval; wide bar: what is plausible for a single customer"
    )
    return bars.rows(items, axis, title, f"Within each horizon; {what}")


def _horizon(days: int, group: pd.DataFrame) -> BarRow:
    kinds = {row["kind"]: row for row in group.to_dict("records")}
    rate = kinds.get("model", kinds.get("base_rate"))
    spans, figure, dot = [], "", None
    span = "{lower:percent.1} to {upper:percent.1}"
    if "plausible" in kinds:
        single = kinds["plausible"]
        spans.append(Bar(float(single["lower"]), float(single["upper"]), theme.FAINT, 0.35, 15))
        figure = formats.filled(f"one customer: {span}", single)
    if rate is not None:
        spans.append(Bar(float(rate["lower"]), float(rate["upper"]), theme.SOFT, 1.0, 7))
        dot = None if formats.is_missing(rate["probability"]) else float(rate["probability"])
        figure = formats.filled(f"{{probability:percent.1}} ({span})", rate)
    both = "model" in kinds and "base_rate" in kinds
    target = float(kinds["base_rate"]["probability"]) if both else None
    return BarRow(f"Within {days} days", figure, bars=tuple(spans), dot=dot, target=target)


# -- the portfolio --------------------------------------------------------------------------------


def attention(customers: pd.DataFrame) -> Picture:
    known = customers[customers["at_stake"].fillna(0) > 0]
    bases, currencies = (known[name].dropna() for name in ("at_stake_basis", "currency"))
    basis = formats.words(bases.iloc[0]) if len(bases) else "score and ARR"
    currency = currencies.iloc[0] if currencies.nunique() == 1 else None
    return bars.bars(
        known.head(MOST),
        "Expected churned ARR" if basis.startswith("probability") else "ARR weighted by score",
        f"Money a year, by {basis}; n = {{n}} of {len(customers)} customers; the colour is the "
        "score's band",
        "No customer has an ARR and a risk that could be put together.",
        bars.row(
            "{name}",
            "{at_stake:brief_money} · score {score:number?unknown}",
            "at_stake",
            colour=_own_band,
        ),
        lambda rows: bars.scale(0, rows["at_stake"].max(), "brief_money", currency),
    )


def movers(moved: pd.DataFrame) -> Picture:
    known = moved[moved["change"].fillna(0) != 0]
    sides = [known[known["direction"] == side].head(MOST) for side in ("up", "down")]
    reach = max(5.0, float(known["change"].abs().max() or 0)) if len(known) else 5.0
    return bars.bars(
        pd.concat(sides),
        "Who moved most",
        f"Change of the score in points over the look-back; n = {len(known)} customers",
        "No score moved over the look-back, or none is old enough to compare.",
        bars.row(
            "{name}",
            "{change:signed} to {score:number}",
            "change",
            colour=lambda row: theme.UP if row["change"] > 0 else theme.DOWN,
        ),
        bars.scale(-reach, reach, "signed"),
        most=2 * MOST,
        groups=lambda row: f"{formats.sentence(row['direction'])}, in points, and the score now",
    )


def disagreements(customers: pd.DataFrame, edges: Edges = EDGES) -> Picture:
    """The change of ARR of healthy customers that shrank, and of unhealthy ones that grew."""
    known = customers[customers["arr_change"].notna()]
    chosen = known.groupby("kind", sort=False).head(MOST).sort_values("kind", kind="stable")
    return bars.bars(
        chosen,
        "Score and money disagree",
        f"Change of ARR a year; n = {len(known)} customers; the colour is the score's band",
        "Nowhere: no healthy customer's ARR fell, and no unhealthy one's grew.",
        bars.row(
            "{name}",
            "{arr_change:signed_money} · score {score:number}",
            "arr_change",
            colour=lambda row: band_colour(float(row["score"]), edges),
        ),
        lambda rows: bars.scale(rows["arr_change"].min(), rows["arr_change"].max(), "brief_money"),
        most=2 * MOST,
        groups=lambda row: formats.filled("{kind:Words}, change of ARR", row),
    )


def distribution(bins: pd.DataFrame) -> Picture:
    return columns.columns(
        bins,
        "Customers by score",
        f"Customers with a score in each step of points; n = {bins['customers'].sum():.0f}",
        "No customer has a score yet.",
        "low",
        "high",
        [("customers", "customers", theme.HIGHLIGHT)],
        time=False,
        ticks=(0, 20, 40, 60, 80, 100),
        colour=_own_band,
        labelled=True,
        height=170,
    )


def bands_over_time(bands: pd.DataFrame) -> Picture:
    """The bands' ARR (or customers, where no ARR is known), critical at the bottom, read best."""
    return lines.arr_over_time(
        bands,
        "band",
        "band",
        theme.BAND_COLOURS,
        "No past date has a score.",
        finding=lines.largest_change(bands, "band"),
    )


def coverage(inputs: pd.DataFrame) -> Picture:
    """For how many customers each input of the score could be measured."""
    weights = inputs.groupby("component")["weight"].transform("sum")
    return bars.bars(
        inputs.assign(share=weights, measured_share=inputs["measured_share"].fillna(0.0)),
        "Inputs that could be measured",
        f"Share of the {formats.number(inputs['customers'].max())} customers for whom each is known",
        "The scorecard has no inputs.",
        _measured,
        bars.shares(),
        most=len(inputs),
        groups=lambda row: formats.filled("{component:Words}, {share:percent} of the score", row),
    )


def _measured(row: Record) -> BarRow:
    share = float(row["measured_share"])
    known = theme.SOFT if share >= 0.9 else theme.DOWN
    return BarRow(
        formats.plain(row["label"]),
        formats.filled("{measured_share:percent} · {measured:number} of {customers:number}", row),
        bars=(Bar(0, 1, theme.GRID, 0.6, 7), Bar(0, share, known, 1, 7)),
        brief=formats.percent(share),
    )
