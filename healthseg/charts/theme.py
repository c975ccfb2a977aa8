"""One theme for all charts: colours, type and the way a chart becomes an SVG.

The bands' colours are Okabe and Ito's, which the colour-blind tell apart; grey is
context. In a page each colour is a CSS variable, so that a chart follows light and dark.
"""

from __future__ import annotations

import contextlib
import functools
import html
import json
import re
import textwrap
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import altair as alt
from altair.utils.schemapi import debug_mode

from healthseg.charts import formats

# A chart is drawn once and scales to its place (templates/pieces.css).
WIDTH = 640
INK, SOFT, FAINT, GRID, PAPER = "#1c2733", "#5a6675", "#98a3b0", "#dfe4ea", "#ffffff"
BAND_COLOURS = {
    "critical": "#d55e00",
    "at_risk": "#e69f00",
    "healthy": "#009e73",
    "champion": "#0072b2",
    "unknown": FAINT,
}
BANDS = ("critical", "at_risk", "healthy", "champion")
# For the better and the worse, where a metric has a direction.
UP, DOWN = BAND_COLOURS["champion"], BAND_COLOURS["critical"]
# What a chart is about, where nothing is good or bad in it, and kinds (tiers, segments, stages, features): no band's.
HIGHLIGHT, SKY, PINK, OLIVE, BROWN, SLATE, PLUM = KINDS = (
    "#5567d0",
    "#56b4e9",
    "#cc79a7",
    "#999933",
    "#9a8050",
    "#7f8fa6",
    "#a0527a",
)
# The same as texts: darker on paper, so that they can be read.
TEXT_COLOURS = {
    BAND_COLOURS["critical"]: "#b34f00",
    BAND_COLOURS["at_risk"]: "#8a6000",
    BAND_COLOURS["healthy"]: "#00785a",
    BAND_COLOURS["champion"]: "#0068a3",
    SKY: "#1a6fa8",
    PINK: "#a1487a",
    OLIVE: "#6b6b1f",
    BROWN: "#765f35",
    SLATE: "#56657d",
    PLUM: "#9c4f77",
    FAINT: SOFT,
}
# A text on a coloured mark: most colours carry a dark one, in light and in dark.
ON_MARKS = {BAND_COLOURS["champion"]: PAPER, HIGHLIGHT: PAPER, SOFT: PAPER, PLUM: "#fefefe"}
ON_OTHER_MARKS = "#10161d"
# A page sets its own font; the renderer is quick where it finds the first.
FONT = "Liberation Sans, Arial, sans-serif"
VARIABLES = {
    INK: "ink",
    SOFT: "soft",
    FAINT: "faint",
    GRID: "grid",
    PAPER: "paper",
    HIGHLIGHT: "highlight",
    **{colour: band for band, colour in BAND_COLOURS.items() if band != "unknown"},
    **{
        TEXT_COLOURS[colour]: f"{band}_text"
        for band, colour in BAND_COLOURS.items()
        if band != "unknown"
    },
    **{
        TEXT_COLOURS[colour]: f"{name}_text"
        for name, colour in {
            "sky": SKY,
            "pink": PINK,
            "olive": OLIVE,
            "brown": BROWN,
            "slate": SLATE,
            "plum": PLUM,
        }.items()
    },
}
_TITLE_ROOM = 52
# A mark with such an address stands for a customer (canvas.customer).
CUSTOMER = "#customer="


@alt.theme.register("healthseg", enable=False)
def config() -> alt.theme.ThemeConfig:
    """The look that every chart carries with it, so that nobody's own charts change."""
    axis: Any = {
        "labelColor": SOFT,
        "labelFontSize": 12,
        "titleColor": SOFT,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": GRID,
        "domain": False,
        "ticks": False,
        "labelPadding": 6,
    }
    return {
        "config": {
            "aria": False,
            "font": FONT,
            "background": PAPER,
            "view": {"stroke": None},
            "axis": axis,
            "legend": {"disable": True},
            "title": {
                "anchor": "start",
                "color": INK,
                "fontSize": 15,
                "fontWeight": 600,
                "subtitleColor": SOFT,
                "subtitleFontSize": 12,
                "subtitlePadding": 4,
                "offset": 10,
                "frame": "bounds",
            },
            "text": {"color": INK, "fontSize": 12.5, "font": FONT},
            "line": {"strokeWidth": 2.25, "strokeCap": "round"},
            "rule": {"color": FAINT},
        }
    }


class Picture(alt.LayerChart):
    """A chart of layers that shows itself as an SVG where its grammar is not known (JupyterLab 4 reads Vega-Lite 5)."""

    def _repr_mimebundle_(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {"image/svg+xml": svg(self, titled=True), "text/plain": describe(self)}


def unvalidated() -> contextlib.AbstractContextManager[None]:
    """Charts that are built within are not held against altair's schema, which takes nine tenths of the time."""
    return debug_mode(False)


_PLAIN = frozenset({str, int, float, bool, type(None)})


class Values(alt.Data):
    """The rows of a layer, by reference: altair copies those of its own class, value by value, with each chart."""

    def __deepcopy__(self, memo: Any) -> Values:
        return self

    def to_dict(self, *args: Any, **options: Any) -> dict[str, Any]:
        rows = self.values
        if all(type(value) in _PLAIN for row in rows for value in row.values()):
            return {"values": [dict(row) for row in rows]}
        return super().to_dict(*args, **options)


def picture(
    layers: Sequence[alt.Chart],
    title: str,
    subtitle: str,
    height: float,
    left: float = 0,
    right: float = 0,
    top: float = 8,
    bottom: float = 28,
    **marks: Any,
) -> Picture:
    """Layers as one chart of the common width; ``left`` and ``right`` are room for axes and labels."""
    lines = textwrap.wrap(formats.plain(subtitle), WIDTH // 6) or [""]
    texts = {"title": formats.plain(title), "subtitle": formats.plain(subtitle)}
    with unvalidated():
        return Picture(
            layer=list(layers),
            width=WIDTH - left - right,
            height=height,
            autosize={"type": "none"},
            padding={
                "left": left,
                "right": right,
                "top": top + _TITLE_ROOM + 15 * (len(lines) - 1),
                "bottom": bottom,
            },
            title={"text": texts["title"], "subtitle": lines},
            usermeta={"top": top, **texts, **marks},
            config=config()["config"],
        )


def nothing(title: str, reason: str) -> Picture:
    """What is shown in place of a chart that has nothing to draw: the reason, in words."""
    lines = textwrap.wrap(formats.plain(reason), WIDTH // 8)
    mark: Any = {"type": "text", "align": "left", "baseline": "top", "color": SOFT}
    mark |= {"fontSize": 13, "tooltip": None, "lineHeight": 18, "x": 0, "y": 6}
    with unvalidated():
        layer = alt.Chart(
            Values(values=[{"line": lines}]),
            mark=mark,
            encoding=alt.FacetedEncoding(text={"field": "line", "type": "nominal"}),
        )
    height = 18 * len(lines) + 12
    return picture([layer], title, "", height, bottom=4, empty=True, reason=formats.plain(reason))


def is_empty(chart: Picture) -> bool:
    """Whether the chart stands for the reason why there is none."""
    return bool(chart.usermeta.get("empty"))


def describe(chart: Picture) -> str:
    """Title and subtitle in one line: the chart's accessible name."""
    words = [chart.usermeta["title"], chart.usermeta["subtitle"], chart.usermeta.get("reason", "")]
    return ". ".join(word.rstrip(".") for word in words if word)


def svg(chart: Picture, titled: bool = False) -> str:
    """The chart as one SVG element with a name, whose colours are a page's variables with our own as fall-back."""
    return svg_of(chart.to_dict(validate=False) if titled else spec(chart), chart)


def svg_of(grammar: dict[str, Any], chart: Picture) -> str:
    """The SVG of a chart whose grammar is at hand."""
    return _finished(draw(json.dumps(grammar, sort_keys=True)), describe(chart))


def spec(chart: Picture) -> dict[str, Any]:
    """The chart in Vega-Lite's grammar, without the title that a page sets in its own type."""
    grammar = chart.to_dict(validate=False)
    for name in ("title", "$schema"):
        grammar.pop(name)
    grammar["padding"]["top"] = chart.usermeta["top"]
    grammar["config"]["background"] = None
    return grammar


@functools.lru_cache(maxsize=64)
def draw(spec: str) -> str:
    """The SVG of a Vega-Lite spec; nothing is loaded from anywhere."""
    import vl_convert

    version = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    return vl_convert.vegalite_to_svg(spec, vl_version=version, allowed_base_urls=[])


def named(drawn: str, label: str) -> str:
    """A drawing of any chart as one SVG element with a name."""
    return _finished(drawn, label)


_TAG = re.compile("<[^>]*>")
_LINK = re.compile(rf'<a xlink:href="[^"]*{CUSTOMER}([^"]*)">')
_ROOT = re.compile(r"<svg [^>]*?width=\"([\d.]+)\" height=\"([\d.]+)\"[^>]*>")
_NOISE = re.compile(
    r" (?:role|aria-[a-z]+|pointer-events|class)=\"[^\"]*\"|<path d=\"\"[^>]*/>|"
    r"<path d=\"M0,0h0v0h0Z\"/>| xmlns:xlink=\"[^\"]*\""
)
_FINE = re.compile(r"(\d\.\d\d)\d+")  # a hundredth of a pixel is enough
_PAINT = re.compile(r"(fill|stroke)=\"(#[0-9a-fA-F]{6}|white)\"")


def _finished(drawn: str, label: str) -> str:
    root = _ROOT.match(drawn)
    assert root is not None
    body = _TAG.sub(_tidy, drawn[root.end() :])
    body = _LINK.sub(lambda link: f'<a data-client="{html.escape(unquote(link[1]))}">', body)
    width, height = root.groups()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{html.escape(label)}">{_own_ids(body, label + width)}'
    )


def _tidy(tag: re.Match[str]) -> str:
    """A tag without what a page does not need; texts between tags are nobody's to change."""
    return _PAINT.sub(_variable, _FINE.sub(r"\1", _NOISE.sub("", tag.group())))


def _variable(match: re.Match[str]) -> str:
    colour = match.group(2).lower()
    name = VARIABLES.get(colour)
    return f'{match.group(1)}="var(--hs-{name},{colour})"' if name else match.group(0)


def _own_ids(body: str, salt: str) -> str:
    """Ids that no other chart of the page has, counted anew: Vega counts them over the whole process."""
    import hashlib

    mark = "h" + hashlib.sha256(salt.encode()).hexdigest()[:8]
    for index, name in enumerate(dict.fromkeys(re.findall(r' id="([^"]+)"', body))):
        body = re.sub(rf'(id="|url\(#){re.escape(name)}(?=["\)])', rf"\g<1>{mark}-{index}", body)
    return body
