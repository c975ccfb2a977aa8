"""The pictures of one customer's health: its way and outlook, why it moved, and what is behind it."""

from __future__ import annotations

import re

import pandas as pd

from healthseg.charts import formats, theme, timeline
from healthseg.charts.bars import Axis, Bar, Row, rows

EDGES = (40.0, 60.0, 80.0)
_POINTS = Axis(0, 100, ticks=(0, 25, 50, 75, 100), labels=("0", "25", "50", "75", "100 points"))
_KINDS = {
    "configuration": "the rules changed",
    "newly_missing": "no longer known",
    "newly_known": "newly known",
    "cap": "a cap",
    "ramp": "new customer's ramp",
    "rounding": "rounding",
}


def history(
    scores: pd.DataFrame,
    forecast: pd.DataFrame,
    marks: pd.DataFrame,
    edges: tuple[float, float, float] = EDGES,
) -> theme.Picture:
    """Where is the score heading? Past scores with the range that missing inputs allow, then the forecast with its fan.

    ``scores``: date, score, shown, lower, upper; ``forecast``: date, forecast, lower, upper;
    ``marks``: date, kind (calendar, configuration, stage), label.
    """
    title = "The score over time, and ahead"
    past = scores.assign(day=scores["date"].map(formats.iso)) if len(scores) else scores
    known = past[past["score"].notna()] if len(past) else past
    if not len(known):
        return theme.nothing(
            title, "There is no score yet to draw: too few of its inputs are known on every date."
        )
    ahead = forecast.assign(day=forecast["date"].map(formats.iso)) if len(forecast) else forecast
    frame = timeline.Frame(past, ahead, edges)
    named, top = timeline.placed(marks, frame)
    layers = [
        *timeline.bands(frame),
        *timeline.ranges(past),
        *timeline.fan(known, ahead),
        *timeline.flags(named),
        *timeline.line(known, frame),
        *timeline.ahead_label(ahead, frame),
    ]
    subtitle = (
        f"Points of 100; n = {len(known)} dates. The grey band is what the missing inputs allow"
    )
    subtitle += "; dashed is the forecast, the tone around it its interval" if len(ahead) else ""
    return theme.picture(
        [frame.scaled(layer) for layer in layers],
        title,
        subtitle,
        230,
        left=30,
        right=frame.right,
        top=top,
        bottom=26,
    )


def change(parts: pd.DataFrame) -> theme.Picture:
    """Why did it move? A bar for each part of the change, from where the score stood to where the part took it.

    ``parts``: kind, label, points, start, end, value_then, value_now, unit; the first and the last row are the totals.
    """
    title = "What moved the score"
    moved = parts[~parts["kind"].isin(["from", "to"])] if len(parts) else parts
    if not len(parts) or parts["end"].isna().all():
        return theme.nothing(title, "There is no earlier score to compare with.")
    if not len(moved):
        return theme.nothing(title, "No input moved: the score is what it was.")
    reach = pd.concat([parts["start"], parts["end"]]).where(lambda value: value > 0)
    low, high = (
        float(moved[["start", "end"]].min().min()),
        float(moved[["start", "end"]].max().max()),
    )
    low, high = min(low, reach.min()), max(high, reach.max())
    room = max(1.0, (high - low) * 0.06)
    items = [_part(row) for row in parts.to_dict("records")]
    axis = Axis(
        low - room,
        high + room,
        ticks=_round_ticks(low, high),
        labels=tuple(f"{tick:g}" for tick in _round_ticks(low, high)),
    )
    return rows(
        items,
        axis,
        title,
        f"Points of the score; n = {len(moved)} parts, which add up to the change",
    )


def _part(row: dict) -> Row:
    if row["kind"] in ("from", "to"):
        return Row(_dated(row["label"]), formats.number(row["end"]), dot=float(row["end"]))
    up = row["points"] >= 0
    quiet = row["kind"] != "data"
    bar = Bar(
        *sorted((float(row["start"]), float(row["end"]))),
        theme.UP if up else theme.DOWN,
        0.45 if quiet else 1.0,
    )
    return Row(
        _part_label(row),
        formats.signed(row["points"], 1),
        bars=(bar,),
        short=formats.plain(row["label"]),
    )


def _dated(label: str) -> str:
    return (
        formats.day(label)
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", str(label))
        else formats.plain(label)
    )


def _part_label(row: dict) -> str:
    label = formats.plain(row["label"])
    if not formats.is_missing(row.get("value_then")) and not formats.is_missing(
        row.get("value_now")
    ):
        then, now = (formats.quantity(row[key], row["unit"]) for key in ("value_then", "value_now"))
        return f"{label}: {then} → {now}"
    return (
        f"{label} ({_KINDS[row['kind']]})"
        if row["kind"] in _KINDS and _KINDS[row["kind"]] not in label.lower()
        else label
    )


def _round_ticks(low: float, high: float) -> tuple[float, ...]:
    step = next(size for size in (1, 2, 5, 10, 20, 50, 100) if (high - low) / size <= 5)
    first = -(-low // step) * step
    return tuple(first + step * place for place in range(int((high - first) // step) + 1))


def components(metrics: pd.DataFrame, edges: tuple[float, float, float] = EDGES) -> theme.Picture:
    """What is behind each component? Each metric's points, with its value; what is not measured says why.

    ``metrics``: component, metric, label, unit, value, points, weight, effective_weight, target, missing_reason.
    """
    title = "The points of each input"
    if not len(metrics):
        return theme.nothing(title, "The scorecard has no inputs.")
    items: list[Row] = []
    for component, group in metrics.groupby("component", sort=False):
        share = formats.percent(group["effective_weight"].fillna(0).sum())
        items.append(
            Row(formats.sentence(formats.words(component)), f"{share} of the score", header=True)
        )
        items += [_scored(row, edges) for row in group.to_dict("records")]
    n = int(metrics["points"].notna().sum())
    return rows(
        items,
        _POINTS,
        title,
        f"Each value, and its points from 0 to 100; n = {n} of {len(metrics)} inputs measured",
    )


def _scored(row: dict, edges: tuple[float, float, float]) -> Row:
    if formats.is_missing(row["points"]):
        return Row(
            formats.plain(row["label"]),
            "not measured",
            soft=True,
            bars=(Bar(0, 100, theme.GRID, 0.5, 3),),
        )
    points = float(row["points"])
    figure = f"{formats.quantity(row['value'], row['unit'])} · {formats.number(points)}"
    return Row(
        formats.plain(row["label"]),
        figure,
        bars=(Bar(0, 100, theme.GRID, 0.6), Bar(0, max(points, 0.4), band_colour(points, edges))),
    )


def band_colour(score: float, edges: tuple[float, float, float] = EDGES) -> str:
    """The colour of the band in which a score lies; a band includes its lower end."""
    return theme.BAND_COLOURS[theme.BANDS[sum(score >= edge for edge in edges)]]


def outlook(churn: pd.DataFrame) -> theme.Picture:
    """How likely is leaving? The estimate with its interval, and apart from it the range plausible for one customer.

    ``churn``: horizon_days, probability, lower, upper, kind (model, base_rate or plausible). A model's estimate is the
    customer's own: its interval is drawn, and the base rate is a mark beside it.
    """
    title = "How likely leaving is"
    known = churn[churn["lower"].notna() & churn["upper"].notna()] if len(churn) else churn
    if not len(known):
        return theme.nothing(
            title,
            "The portfolio has too few customers that left, or stayed long enough, for an estimate.",
        )
    items = [_horizon(int(days), group) for days, group in known.groupby("horizon_days")]
    top = max(0.1, min(1.0, float(known["upper"].max()) * 1.08))
    ticks = tuple(tick for tick in _share_ticks(top))
    axis = Axis(
        0, top, baseline=0, ticks=ticks, labels=tuple(formats.percent(tick) for tick in ticks)
    )
    kinds = set(known["kind"])
    what = (
        "dark: the customer's own with its interval, mark: the base rate of its tier"
        if "model" in kinds
        else "dark: the rate with its interval, light: what is plausible for a single customer"
    )
    return rows(items, axis, title, f"Probability of leaving within each horizon; {what}")


def _share_ticks(top: float) -> tuple[float, ...]:
    step = next(size for size in (0.02, 0.05, 0.1, 0.25) if top / size <= 5.5)
    return tuple(round(step * place, 4) for place in range(int(top / step) + 1))


def _horizon(days: int, group: pd.DataFrame) -> Row:
    kinds = {row["kind"]: row for row in group.to_dict("records")}
    rate = kinds.get("model", kinds.get("base_rate"))
    target = (
        float(kinds["base_rate"]["probability"])
        if "model" in kinds and "base_rate" in kinds
        else None
    )
    bars, figure, dot = [], "", None
    if "plausible" in kinds:
        single = kinds["plausible"]
        bars.append(Bar(float(single["lower"]), float(single["upper"]), theme.FAINT, 0.35, 15))
        figure = f"one customer: {_span(single)}"
    if rate is not None:
        bars.append(Bar(float(rate["lower"]), float(rate["upper"]), theme.SOFT, 1.0, 7))
        dot = None if formats.is_missing(rate["probability"]) else float(rate["probability"])
        figure = f"{formats.percent(rate['probability'], 1)} ({_span(rate)})"
    return Row(f"Within {days} days", figure, bars=tuple(bars), dot=dot, target=target)


def _span(row: dict) -> str:
    return f"{formats.number(100 * row['lower'], 1)}–{formats.percent(row['upper'], 1)}"
