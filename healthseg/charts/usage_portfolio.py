"""The pictures of the portfolio's usage: who breaks away, seats in use, days that were not like others."""

from __future__ import annotations

import altair as alt
import pandas as pd

from healthseg.charts import formats, theme
from healthseg.charts.rows import Axis, Bar, Row, rows
from healthseg.charts.usage import BLUE, RED, chart, moment, time_axis

MOST = 12


def breaking_away(customers: pd.DataFrame, width: int = theme.WIDE) -> theme.Picture:
    """Whose usage breaks away from the portfolio? Usage against the own baseline, the portfolio's median as a mark."""
    title = "Breaking away from the portfolio"
    known = (
        customers[customers["breaks_away"].fillna(False).astype(bool)]
        if len(customers)
        else customers
    )
    if not len(known):
        return theme.nothing(
            title, "Nobody: no customer's usage fell far out of what the others show.", width
        )
    middle = float(customers["usage_ratio"].median())
    items = [
        Row(
            formats.plain(row["name"]),
            f"{formats.percent(row['usage_ratio'])} of its baseline",
            bars=(Bar(0, float(row["usage_ratio"]), RED),),
            target=middle,
        )
        for row in known.head(MOST).to_dict("records")
    ]
    top = max(1.1, middle * 1.1)
    return rows(
        items,
        Axis(0, top, baseline=0, ticks=(0, 0.5, 1), labels=("0 %", "50 %", "100 %")),
        title,
        f"28 days against the 84 before; the mark is the portfolio's median, {formats.percent(middle)}; "
        f"n = {len(known)} of {len(customers)} customers",
        width,
    )


def utilisation(steps: pd.DataFrame, width: int = theme.WIDE) -> theme.Picture:
    """Are the seats in use? Customers by the share of their seats that was used in 30 days."""
    title = "Seats in use"
    if not len(steps) or not steps["customers"].sum():
        return theme.nothing(title, "No customer's seats are known.", width)
    values = [
        {
            "low": 100 * row["low"],
            "high": 100 * row["high"],
            "customers": int(row["customers"]),
            "zero": 0,
            "middle": 50 * (row["low"] + row["high"]),
            "text": f"{row['customers']:.0f}" if row["customers"] else "",
            "colour": RED if row["high"] <= 0.5 + 1e-9 else BLUE,
        }
        for row in steps.to_dict("records")
    ]
    axis = alt.Axis(
        values=[0, 20, 40, 60, 80, 100], labelExpr="datum.value + ' %'", title=None, grid=False
    )
    scale = alt.Scale(domain=[0, 110], nice=False)
    top = max(value["customers"] for value in values) * 1.15
    y = alt.Y("customers:Q", scale=alt.Scale(domain=[0, top], nice=False), axis=None)
    layers = [
        chart(values)
        .mark_rect(xOffset=1, x2Offset=-1)
        .encode(
            x=alt.X("low:Q", scale=scale, axis=axis),
            x2="high:Q",
            y=y,
            y2="zero:Q",
            color=alt.Color("colour:N", scale=None),
        ),
        chart(values)
        .mark_text(dy=-9, fontWeight=600)
        .encode(x=alt.X("middle:Q", scale=scale, axis=axis), y=y, text="text:N"),
    ]
    total = sum(value["customers"] for value in values)
    subtitle = f"Customers by share of seats used in 30 days, the last bar all above; n = {total}"
    return theme.picture(layers, title, subtitle, width, 160, left=10, right=10, bottom=26)


def days(frame: pd.DataFrame, width: int = theme.WIDE) -> theme.Picture:
    """Which days were not like others? Each day over what is usual on its weekday, the odd ones as named dots."""
    title = "Days of the whole portfolio"
    known = frame.dropna(subset="ratio") if len(frame) else frame
    if not len(known):
        return theme.nothing(
            title, "The portfolio has too few weeks to tell what is usual on a weekday.", width
        )
    values = [
        {"start": moment(row["date"]), "value": float(row["ratio"])}
        for row in known.to_dict("records")
    ]
    odd = _named(known[known["unusual"]], 30 if width < 500 else 0)
    x = time_axis(values[0]["start"], values[-1]["start"], width)
    top = max(1.6, *(value["value"] for value in values)) * 1.04
    axis = theme.percent_axis(4)
    y = alt.Y("value:Q", scale=alt.Scale(domain=[0, top], nice=False), axis=axis)
    layers = [
        chart(values).mark_line(color=theme.FAINT, strokeWidth=1).encode(x=x, y=y),
        chart(odd).mark_circle(color=RED, size=50, opacity=1).encode(x=x, y=y),
        chart(odd)
        .mark_text(align="left", dx=7, fontSize=11, color=theme.SOFT)
        .encode(x=x, y=y, text="text:N"),
    ]
    subtitle = f"Person events over the weekday's usual number; n = {len(values)} days, {len(odd)} of them unusual"
    return theme.picture(layers, title, subtitle, width, 190, left=48, right=12, bottom=26)


def _named(odd: pd.DataFrame, bare: int) -> list[dict]:
    """The dots; a name stands once, and not where the one before it still runs (``bare``: nowhere)."""
    found, said, free = [], "", pd.Timestamp.min
    for row in odd.to_dict("records"):
        label = "" if formats.is_missing(row["calendar"]) else formats.plain(row["calendar"], 30)
        shown = bool(label) and label != said and row["date"] >= free and not bare
        if shown:
            said, free = label, row["date"] + pd.Timedelta(days=75)
        found.append(
            {
                "start": moment(row["date"]),
                "value": float(row["ratio"]),
                "text": label if shown else "",
            }
        )
    return found
