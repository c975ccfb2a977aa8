"""Lines along time or along a scale of numbers, with bands and named ends; areas on each other: a whole and its parts over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from healthseg.charts import canvas, formats, theme
from healthseg.charts.bars import Bar, BarRow, rows, scale
from healthseg.charts.canvas import Rows, at

Record = dict[str, Any]


def curves(
    frame: pd.DataFrame,
    title: str,
    subtitle: str,
    empty: str,
    colours: Mapping[str, str] | None = None,
    step: bool = True,
    unit: str = "days",
) -> theme.Picture:
    """Shares by day: a line with its interval for each name (``name``, ``days``, ``share``, ``lower``, ``upper``)."""
    if not len(frame):
        return theme.nothing(title, empty)
    last = float(frame["days"].max()) or 1.0
    right = _name_room(frame["name"])
    x = at("days", canvas.span(0, last), canvas.axis("", 8, unit, grid=False))
    scale = canvas.span(0, 1)
    layers, ends = [], []
    for name, group in frame.groupby("name", sort=False):
        paint = (colours or {}).get(str(name), theme.HIGHLIGHT)
        rows = _share_rows(group, formats.words(name), unit)
        bend = {"interpolate": "step-after"} if step else {}
        banded = [
            {key: part for key, part in row.items() if key != "tip"}
            for row in rows
            if row["lower"] is not None and row["upper"] is not None
        ]
        axis = canvas.axis("percent")
        band = {"color": paint, "opacity": 0.15, **bend}
        layers += [
            canvas.layer(banded, "area", band, x=x, y=at("lower", scale, axis), y2="upper"),
            canvas.layer(rows, "line", {"color": paint, **bend}, x=x, y=at("share", scale, axis)),
        ]
        before = [row["share"] for row in rows if row["days"] < last]
        end = before[-1] if step and before else rows[-1]["share"]
        ends.append(
            {"share": end, "text": formats.fitted(formats.words(name), right - 8), "colour": paint}
        )
    return canvas.picture(
        [*layers, end_labels(ends, x, scale, last)],
        title,
        subtitle,
        240,
        left=68,
        right=right,
        bottom=40,
    )


def _share_rows(group: pd.DataFrame, name: str, unit: str) -> Rows:
    rows = []
    for row in group.to_dict("records"):
        known = {
            key: None if formats.is_missing(row[key]) else float(row[key])
            for key in ("days", "share", "lower", "upper")
        }
        tip = f"{name}, {formats.number(row['days'])} {unit}: {formats.percent(row['share'])}"
        rows.append({**known, "tip": tip})
    return rows


def _name_room(names: pd.Series) -> float:
    longest = max(
        canvas.text_width(formats.words(name), canvas.PHONE_LETTER) for name in names.unique()
    )
    return max(92.0, min(canvas.WIDTH / 4, longest + 10))


def end_labels(ends: Rows, x: Mapping[str, Any], scale: Mapping[str, Any], last: float) -> Any:
    """The lines' names at their ends, moved where they would lie over each other."""
    ordered = sorted(ends, key=lambda end: end["share"])
    places = canvas.apart((end["share"] for end in ordered), 0.075, 0.0, 1.0)
    rows = [
        {**end, "days": last, "place": height} for end, height in zip(ordered, places, strict=True)
    ]
    mark = {"align": "left", "dx": 6}
    y = at("place", scale, canvas.axis("percent"))
    return canvas.layer(rows, "text", mark, x=x, y=y, text="text", color="colour")


# -- areas -----------------------------------------------------------------------------------------


_HEIGHT, _ROOM = 230, 17
_OF_LARGEST = ["arr", "largest", "largest_arr"]
QUARTER = 91  # days


def arr_over_time(
    frame: pd.DataFrame,
    what: str,
    by: str,
    colours: Mapping[str, str],
    empty: str,
    name: Callable[[str], str] = formats.words,
    finding: str = "",
) -> theme.Picture:
    """How did the parts' ARR (or customers, where no ARR is known) develop?

    ``frame``: date, ``by``, customers, arr; ``colours`` has the parts' colours, the lowest area first. With one date
    alone a bar for each part.
    """
    metric = "arr" if len(frame) and frame["arr"].fillna(0).sum() > 0 else "customers"
    title = f"{'ARR' if metric == 'arr' else 'Customers'} by {what} over time"
    title = finding or title
    if not len(frame) or not frame[metric].fillna(0).sum():
        return theme.nothing(title, empty)
    stacked = _stacked(frame, metric, by, colours)
    form = "brief_money" if metric == "arr" else "number"
    days = sorted(stacked["day"].unique())
    if len(days) == 1:
        items = [
            BarRow(
                formats.sentence(name(row["part"])),
                formats.written(row["value"], form),
                bars=(Bar(0, row["value"], row["colour"]),),
            )
            for row in stacked.to_dict("records")
        ]
        axis = scale(0, float(stacked["value"].max()), form)
        return rows(items, axis, title, f"On {formats.day(days[0])}")
    top = float(stacked["high"].max()) * 1.04
    x = at(
        "day", canvas.days(days[0], days[-1]), canvas.axis("date", 5, grid=False, format="%b %Y")
    )
    y = at("low", canvas.span(0, top), canvas.axis("number", 4))
    values = [
        {
            **{key: row[key] for key in ("day", "part", "low", "high", "colour")},
            "tip": f"{name(row['part'])}, {formats.day(row['day'])}: {formats.written(row['value'], form)}",
        }
        for row in stacked.to_dict("records")
    ]
    ends = _ends(stacked[stacked["day"] == days[-1]], form, top, name)
    look = {"opacity": 0.9, "stroke": theme.PAPER, "strokeWidth": 1}
    encoding = {"x": x, "y": {**y, "field": "place"}}
    layers = [
        canvas.layer(values, "area", look, x=x, y=y, y2="high", color="colour", detail="part"),
        canvas.layer(
            ends, "circle", {"size": 60, "opacity": 1, "xOffset": 10}, **encoding, color="colour"
        ),
        canvas.layer(
            ends, "text", {"align": "left", "dx": 19, "fontSize": 12}, **encoding, text="text"
        ),
    ]
    unit = "ARR" if metric == "arr" else "Customers"
    subtitle = f"{unit} of the live customers; n = {len(days)} dates"
    return canvas.picture(layers, title, subtitle, _HEIGHT, left=52, right=176, bottom=26)


def largest_change(frame: pd.DataFrame, by: str) -> str:
    """The part whose ARR (or customers) changed most in a quarter, and the customer behind it; empty where no quarter is known.

    Where ``frame`` has the ``largest`` customer of each part and date with its ARR, one that makes at least half of the
    change is named with its other part.
    """
    if not len(frame):
        return ""
    metric = "arr" if frame["arr"].fillna(0).sum() > 0 else "customers"
    known = frame.assign(date=pd.to_datetime(frame["date"]))
    sums = known.pivot_table(index="date", columns=by, values=metric, aggfunc="sum").fillna(0.0)
    past = sums.index[sums.index <= sums.index[-1] - pd.Timedelta(days=QUARTER)]
    if not len(past):
        return ""
    before, now = sums.loc[past[-1]], sums.iloc[-1]
    change = now - before
    part = change.abs().idxmax()
    if not change[part]:
        return ""
    verb = "rose" if change[part] > 0 else "fell"
    amounts = f"from {formats.brief_money(before[part])} to {formats.brief_money(now[part])}"
    what = "" if metric == "arr" else " customers"
    why = _mover(known[known["date"] == past[-1]], known[known["date"] == sums.index[-1]], by, part)
    return f"{formats.sentence(formats.words(part))} {verb} {amounts}{what} in a quarter, {why}"


def _mover(before: pd.DataFrame, now: pd.DataFrame, by: str, part: str) -> str:
    """The customer that makes at least half of a part's change, and its other part; else that the change is the largest."""
    then, today = (rows.set_index(by).reindex(columns=_OF_LARGEST) for rows in (before, now))
    change = today["arr"].get(part, 0.0) - then["arr"].get(part, 0.0)
    there, elsewhere, way = (today, then, "was") if change > 0 else (then, today, "is now")
    name, own = there["largest"].get(part), there["largest_arr"].get(part)
    other = elsewhere.index[(elsewhere["largest"] == name).to_numpy(dtype=bool)]
    if formats.is_missing(own) or own < abs(change) / 2 or not len(other) or other[0] == part:
        return "the largest change"
    return f"as {name} {way} {formats.words(other[0])}"


def _stacked(frame: pd.DataFrame, metric: str, by: str, colours: Mapping[str, str]) -> pd.DataFrame:
    """Where each part's area begins and ends on each date."""
    known = frame.assign(
        day=frame["date"].map(formats.iso),
        part=frame[by].fillna("unknown"),
        value=frame[metric].fillna(0).astype(float),
    )
    parts = [part for part in colours if part in set(known["part"])]
    grid = pd.MultiIndex.from_product([sorted(known["day"].unique()), parts], names=["day", "part"])
    sums = known.groupby(["day", "part"])[["value", "customers"]].sum()
    wide = sums.reindex(grid, fill_value=0).reset_index()
    wide["high"] = wide.groupby("day")["value"].cumsum()
    wide["low"] = wide["high"] - wide["value"]
    wide["colour"] = wide["part"].map(colours)
    return wide


def _ends(last: pd.DataFrame, form: str, top: float, name: Callable[[str], str]) -> Rows:
    """The parts' names at the right end, apart from each other."""
    parts = last[last["value"] > 0].to_dict("records")
    gap = top * _ROOM / _HEIGHT
    middles = [(row["low"] + row["high"]) / 2 for row in parts]
    return [
        {
            "day": row["day"],
            "colour": row["colour"],
            "place": height,
            "text": f"{name(row['part'])} {formats.written(row['value'], form)}",
        }
        for row, height in zip(parts, canvas.apart(middles, gap, gap / 2, top), strict=True)
    ]
