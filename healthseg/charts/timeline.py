"""A score along time: bands, the range that missing inputs allow, the forecast's fan, and what happened."""

from __future__ import annotations

import datetime as dt
from itertools import groupby
from typing import Any

import pandas as pd

from healthseg.charts import canvas, formats, theme
from healthseg.charts.canvas import Rows, at

LETTER, LINE, LAST_FLAGS, SMALL = 6.4, 17, 6, 11
LEFT, RIGHT = 30, 74
SPAN = canvas.WIDTH - LEFT - RIGHT
GLYPHS = {"calendar": "▼", "configuration": "◆", "stage": "●", "notice": "■"}


def history(
    scores: pd.DataFrame,
    forecast: pd.DataFrame,
    marks: pd.DataFrame,
    edges: tuple[float, float, float],
) -> theme.Picture:
    """Past scores with the range that missing inputs allow, then the forecast with its interval.

    ``scores``: date, score, shown, lower, upper; ``forecast``: date, forecast, lower, upper;
    ``marks``: date, kind (calendar, configuration, stage, notice), label.
    """
    known = scores[scores["score"].notna()]
    if not len(known):
        reason = "There is no score yet to draw: too few of its inputs are known on every date."
        return theme.nothing("The score over time", reason)
    chart = _ScoreTimeline(scores, forecast, edges)
    flags, lines = chart.flags(marks)
    layers = [
        *chart.bands(),
        chart.ranges(),
        *chart.fan(),
        *chart.flag_layers(flags),
        *chart.line(),
        *chart.ahead(),
    ]
    subtitle = (
        f"Points of 100; n = {len(known)} dates. The band is what the missing inputs allow"
        + ("; dashed: the forecast, with its interval" if len(forecast) else "")
    )
    top = 14 + LINE * lines
    title = _course(known)
    return canvas.picture(layers, title, subtitle, 230, left=LEFT, right=RIGHT, top=top, bottom=26)


def _course(known: pd.DataFrame) -> str:
    """From the first score that is shown to the last.

    >>> rows = pd.DataFrame({"date": pd.to_datetime(["2025-01-05", "2025-10-05"]), "shown": [81.0, 59.0]})
    >>> _course(rows).replace(chr(160), " ")
    'The score fell from 81 on 5 Jan 2025 to 59'
    """
    rows = known[["date", "shown"]].dropna()
    if not len(rows):
        return "The score over time"
    since, (then, now) = rows["date"].iloc[0], rows["shown"].iloc[[0, -1]].astype(int)
    if then == now:
        return f"The score is {now}" + (f", as on {formats.day(since)}" if len(rows) > 1 else "")
    return (
        f"The score {'rose' if now > then else 'fell'} from {then} on {formats.day(since)} to {now}"
    )


def _up(field: str) -> dict[str, Any]:
    """The score's axis, always 0 to 100: two customers' charts are compared."""
    axis = canvas.axis("", 6, values=[0, 20, 40, 60, 80, 100], gridOpacity=0.7)
    return at(field, canvas.span(0, 100), axis)


def _days(dates: pd.Series) -> list[str]:
    return [str(formats.iso(date)) for date in dates]


class _ScoreTimeline:
    """The layers of a history, over one axis of days."""

    def __init__(
        self, scores: pd.DataFrame, forecast: pd.DataFrame, edges: tuple[float, float, float]
    ) -> None:
        self.edges = edges
        self.past = scores.assign(day=_days(scores["date"]))
        self.known = self.past[self.past["score"].notna()]
        self.future = forecast.assign(day=_days(forecast["date"]))
        self.first = str(self.past["day"].min())
        last = max([*self.past["day"], *self.future["day"]])
        start, end = (dt.date.fromisoformat(day) for day in (self.first, last))
        end = max(end, start + dt.timedelta(days=1))
        self.start, self.length = start, (end - start).days
        self.last = end.isoformat()
        form = "%-d %b" if self.length <= 150 else "%b %Y"
        axis = canvas.axis("date", 6, grid=False, tickColor=theme.GRID) | {
            "ticks": True,
            "format": form,
        }
        self.x = at("day", canvas.days(self.first, self.last), axis)

    def bands(self) -> list[Any]:
        """The bands as tints, a strip of colour at the right edge, and their names."""
        bounds = (0.0, *self.edges, 100.0)
        strips = [
            {
                "day": self.first,
                "end": self.last,
                "low": low,
                "high": high,
                "name": formats.words(band),
                "middle": (low + high) / 2,
                "colour": theme.BAND_COLOURS[band],
            }
            for band, low, high in zip(theme.BANDS, bounds[:-1], bounds[1:], strict=True)
        ]
        end, low = {**self.x, "field": "end"}, _up("low")
        tall = {"y": low, "y2": "high", "color": "colour"}
        edge = {"width": 4, "xOffset": 4}
        name = {"align": "left", "dx": 12, "color": theme.SOFT, "fontSize": 12}
        return [
            canvas.layer(strips, "rect", {"opacity": 0.07}, x=self.x, x2="end", **tall),
            canvas.layer(strips, "rect", edge, x=end, **tall),
            canvas.layer(strips, "text", name, x=end, y=_up("middle"), text="name"),
        ]

    def ranges(self) -> Any:
        """What the missing inputs allow, on each date."""
        known = self.past.dropna(subset=["lower", "upper"])
        rows = [
            {"day": row["day"], "low": float(row["lower"]), "high": float(row["upper"])}
            for row in canvas.records(known)
        ]
        look = {"color": theme.FAINT, "opacity": 0.22}
        return canvas.layer(rows, "area", look, x=self.x, y=_up("low"), y2="high")

    def line(self) -> list[Any]:
        """The score, broken where it is not known, with its last figure."""
        run = self.past["score"].isna().cumsum()
        rows = [
            {
                "day": row["day"],
                "score": float(row["score"]),
                "run": row["run"],
                "tip": f"{formats.day(row['day'])}: score {formats.number(row['shown'])}",
            }
            for row in canvas.records(self.past.assign(run=run), "score")
        ]
        runs = [row["run"] for row in rows]
        lonely = [row for row in rows if runs.count(row["run"]) == 1]
        last = {**rows[-1], "text": formats.number(self.known.iloc[-1]["shown"])}
        # Below the line where it comes from above.
        falls = len(rows) > 1 and rows[-2]["score"] > last["score"] >= 12
        text = {"dy": 18 if falls or last["score"] > 85 else -15, "fontSize": 16, "fontWeight": 700}
        dot = {"size": 90, "stroke": theme.PAPER, "strokeWidth": 2}
        ink = {"color": theme.INK, "opacity": 1}
        encoding = {"x": self.x, "y": _up("score")}
        words = [{key: value for key, value in last.items() if key != "tip"}]
        return [
            canvas.layer(rows, "line", {"color": theme.INK}, **encoding, detail="run"),
            canvas.layer(lonely, "circle", {"size": 26, **ink}, **encoding),
            canvas.layer([last], "circle", {**dot, **ink}, **encoding),
            canvas.layer(words, "text", {"align": "center", **text}, **encoding, text="text"),
        ]

    def fan(self) -> list[Any]:
        """The forecast from the last score on: dashed, in a lighter tone for its interval."""
        if not len(self.future):
            return []
        now = self.known.iloc[-1]
        start = dict.fromkeys(("forecast", "lower", "upper"), float(now["score"]))
        rows = [{"day": now["day"], **start}] + [
            {"day": row["day"], **{key: float(row[key]) for key in start}}
            for row in canvas.records(self.future)
        ]
        tone, dashes = (
            {"color": theme.HIGHLIGHT, "opacity": 0.16},
            {"color": theme.HIGHLIGHT, "strokeDash": [6, 4]},
        )
        return [
            canvas.layer(rows, "area", tone, x=self.x, y=_up("lower"), y2="upper"),
            canvas.layer(rows, "line", dashes, x=self.x, y=_up("forecast")),
        ]

    def ahead(self) -> list[Any]:
        """The last forecast's figure, beside its point."""
        if not len(self.future):
            return []
        row = canvas.records(self.future)[-1]
        words = {
            "day": row["day"],
            "score": float(row["forecast"]),
            "text": formats.number(row["forecast"]),
        }
        span = formats.filled("{forecast:number} ({lower:number} to {upper:number})", row)
        point = {**words, "tip": f"{formats.day(row['day'])}: forecast {span}"}
        text = {"dy": -13 if words["score"] < 88 else 15, "dx": -4, "align": "right"}
        look = {"color": theme.HIGHLIGHT, "fontWeight": 600, "fontSize": 13}
        encoding = {"x": self.x, "y": _up("score")}
        return [
            canvas.layer(
                [point], "circle", {"color": theme.HIGHLIGHT, "size": 50, "opacity": 1}, **encoding
            ),
            canvas.layer([words], "text", {**text, **look}, **encoding, text="text"),
        ]

    def flags(self, marks: pd.DataFrame) -> tuple[Rows, int]:
        """What happened within the axis, the latest with words that meet no others; and the lines of words."""
        inside = marks.assign(day=_days(marks["date"])) if len(marks) else pd.DataFrame()
        if len(inside):
            inside = inside[inside["day"].between(self.first, self.last)]
            inside = inside.sort_values(["day", "kind", "label"], kind="stable")
        flags: Rows = []
        lines: list[list[tuple[float, float]]] = []
        for index, row in enumerate(canvas.records(inside)):
            label = formats.words(row["label"]) if row["kind"] == "stage" else row["label"]
            flag = {
                "day": row["day"],
                "glyph": GLYPHS.get(row["kind"], "▼"),
                "tip": f"{formats.day(row['day'])}: {formats.plain(label)}",
                "text": "",
                "line": 0,
                "align": "left",
            }
            if index >= len(inside) - LAST_FLAGS:
                flag |= self._words(row["day"], label, lines)
            flags.append(flag)
        return flags, len(lines)

    def _words(
        self, day: str, label: Any, lines: list[list[tuple[float, float]]]
    ) -> dict[str, Any]:
        """A flag's words, on the first line where they meet no others; the line is taken from then on."""
        middle = (dt.date.fromisoformat(day) - self.start).days / self.length * SPAN
        left = middle < SPAN * 0.55
        text = formats.fitted(label, min((SPAN - middle if left else middle) - 12, 230), LETTER)
        long = canvas.text_width(text, LETTER) + 22
        start, end = (middle, middle + long) if left else (middle - long, middle)
        line = next(
            (
                number
                for number, taken in enumerate(lines)
                if all(end < low or start > high for low, high in taken)
            ),
            len(lines),
        )
        if line == len(lines):
            lines.append([])
        lines[line].append((start, end))
        return {"text": text, "line": line, "align": "left" if left else "right"}

    def flag_layers(self, flags: Rows) -> list[Any]:
        """A thin line for each flag, its kind as a glyph and its words above the plot."""
        if not flags:
            return []
        rules = [{"day": flag["day"]} for flag in flags]
        layers = [
            canvas.layer(rules, "rule", {"color": theme.FAINT, "strokeDash": [2, 3]}, x=self.x)
        ]
        ordered = sorted(flags, key=lambda flag: (flag["line"], flag["align"]))
        for (line, align), group in groupby(ordered, lambda flag: (flag["line"], flag["align"])):
            rows = list(group)
            look = {"color": theme.SOFT, "y": 0, "dy": -10 - LINE * line}
            glyph = {**look, "align": "center", "fontSize": 10}
            layers.append(canvas.layer(rows, "text", glyph, x=self.x, text="glyph"))
            named = [{key: flag[key] for key in ("day", "text")} for flag in rows if flag["text"]]
            if named:
                # texts of this size are left out on a phone, where letters grow and would meet
                aside = {"align": align, "dx": 9 if align == "left" else -9, "fontSize": SMALL}
                words = {**look, **aside}
                layers.append(canvas.layer(named, "text", words, x=self.x, text="text"))
        return layers
