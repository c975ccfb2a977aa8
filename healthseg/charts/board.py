"""The board's charts: what was predicted against what happened; net and gross revenue retention by month beside their targets, with named events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from healthseg.charts import canvas, formats, theme
from healthseg.charts.bars import Bar, BarRow, rows
from healthseg.charts.canvas import Rows, at
from healthseg.charts.tiers import money_axis

LINES = (("nrr", "NRR", theme.HIGHLIGHT), ("grr", "GRR", theme.SOFT))


def retention(frame: pd.DataFrame, nrr_target: float, grr_target: float) -> theme.Picture:
    """NRR and GRR at each month's end (``month``, ``nrr``, ``grr``; ``event``: what is named there)."""
    known = frame[frame["nrr"].notna()] if len(frame) else frame
    title = "Revenue retention over a year, at each month’s end"
    if len(known) < 2:
        return theme.nothing(title, "The ARR of a year ago is not known.")
    gap = round(100 * (known["nrr"].iloc[-1] - nrr_target))
    side = (
        "at"
        if not gap
        else f"{abs(gap)} {'point' if abs(gap) == 1 else 'points'} {'above' if gap > 0 else 'below'}"
    )
    title = f"NRR is {side} its target"
    months = [canvas.moment(month) for month in known["month"]]
    x = at(
        "month",
        canvas.days(months[0], months[-1]),
        canvas.axis("date", 6, grid=False, format="%b %y"),
    )
    targets = {"nrr": nrr_target, "grr": grr_target}
    values = [*known["nrr"], *known["grr"], *targets.values()]
    low = min(values)
    y = canvas.span(low - 0.14, max(values) + 0.08)
    up = at("value", y, canvas.axis("percent", 5))
    layers = []
    for key, name, colour in LINES:
        line = _points(known, key, name, months)
        goal: Rows = [{"month": month, "value": targets[key]} for month in (months[0], months[-1])]
        label = f"target {formats.percent(targets[key])}"
        end = [{**line[-1], "text": f"{name} {formats.percent(line[-1]['value'])}"}]
        text = {"align": "left", "dx": 7, "fontSize": 12, "fontWeight": 600, "color": colour}
        above = line[0]["value"] < targets[key]  # the label lies where the line does not
        small = {
            "align": "left",
            "dx": 4,
            "dy": -6 if above else 14,
            "fontSize": 11,
            "color": theme.SOFT,
        }
        dash = {"color": colour, "strokeDash": [3, 4], "strokeWidth": 1, "opacity": 0.7}
        layers += [
            canvas.layer(goal, "line", dash, x=x, y=up),
            canvas.layer([{**goal[0], "text": label}], "text", small, x=x, y=up, text="text"),
            canvas.layer(line, "line", {"color": colour, "strokeWidth": 2.2}, x=x, y=up),
            canvas.layer(line, "circle", {"color": colour, "size": 34, "opacity": 1}, x=x, y=up),
            canvas.layer(end, "text", text, x=x, y=up, text="text"),
        ]
    shown = [formats.day(known["month"].iloc[end]) for end in (0, -1)]
    subtitle = f"Revenue retention over a year, at the end of each month from {shown[0]} to {shown[1]}; named: the largest churn"
    return canvas.picture(
        [*layers, *_events(known, months, low, x, up)],
        title,
        subtitle,
        250,
        left=48,
        right=96,
        bottom=26,
    )


def predicted(past: Sequence[Mapping[str, Any]], currency: str | None) -> theme.Picture:
    """By past prediction, the last first: the ARR that was expected to churn with its range (``expected_arr, lower, upper``),
    and a mark at what churned.
    """
    title = "Predicted, and what happened"
    known = [row for row in past if row["outcome"] is not None]
    if not known:
        return theme.nothing(title, "No prediction was possible then.")
    held = sum(row["outcome"] == "within" for row in known)
    title = f"{held} of the last {len(known)} predictions held" if len(known) > 1 else title
    items = [_prediction(row, currency) for row in known]
    most = max(max(float(row["upper"]), float(row["churned_arr"])) for row in known)
    level = formats.percent(known[0]["interval_level"])
    subtitle = f"ARR, by the day on which the prediction ended; bar: its {level} interval, dot: expected, line: churned or gave notice"
    return rows(items, money_axis(most, currency), title, subtitle)


def _prediction(row: Mapping[str, Any], currency: str | None) -> BarRow:
    expected, churned, lower, upper = (
        float(row[name]) for name in ("expected_arr", "churned_arr", "lower", "upper")
    )
    words = [formats.brief_money(amount, currency) for amount in (expected, churned)]
    return BarRow(
        formats.day(row["until"]),
        f"{words[0]} expected · {words[1]} happened",
        bars=(Bar(lower, upper, theme.HIGHLIGHT, 0.3, 17),),
        dot=expected,
        dot_colour=theme.HIGHLIGHT,
        target=churned,
        brief=f"{words[0]} · {words[1]}",
    )


def _points(known: pd.DataFrame, key: str, name: str, months: list[str]) -> Rows:
    return [
        {
            "month": month,
            "value": float(row[key]),
            "tip": f"{formats.day(row['month'])}: {name} {formats.percent(row[key], 1)}",
        }
        for month, row in zip(months, known.to_dict("records"), strict=True)
    ]


def _events(known: pd.DataFrame, months: list[str], low: float, x: Any, up: Any) -> list[Any]:
    """What happened, below the lines: a dotted rule at its month down to a line of text, the last month's first."""
    named = [
        (month, float(row["grr"]), formats.plain(row["event"], 42))
        for month, row in zip(months, known.to_dict("records"), strict=True)
        if isinstance(row.get("event"), str)
    ]
    late, layers = months[len(months) * 3 // 4], []
    for level, (month, top, text) in enumerate(reversed(named)):  # no rule runs through a name
        bottom = low - 0.04 * (level + 1)
        early = month < late
        label = [{"month": month, "value": bottom, "text": text}]
        look = {"align": "left" if early else "right", "fontSize": 11, "color": theme.SOFT}
        look |= {"dx": 5 if early else -5, "baseline": "middle"}
        rule: Rows = [{"month": month, "value": value} for value in (top, bottom)]
        dots = {"color": theme.SOFT, "strokeDash": [2, 3], "strokeWidth": 1, "opacity": 0.8}
        layers.append(canvas.layer(rule, "line", dots, x=x, y=up))
        layers.append(canvas.layer(label, "text", look, x=x, y=up, text="text"))
    return layers
