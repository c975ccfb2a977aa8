"""Charts of all pages: what is under the pointer, and whether their texts can be read in light and dark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from healthseg.charts import lifecycle, theme

SHEET = Path(theme.__file__).parents[1] / "reports/html/templates/pieces.css"
LEAST_CONTRAST = 4.5


@pytest.fixture(scope="module")
def charts(shown_pages) -> list[theme.Picture]:
    """Every chart of every page."""
    results = [page.result for page in shown_pages.by_kind().values()]
    drawn = [chart for result in results for chart in result.charts().values()]
    assert len(drawn) > 50
    return drawn


@pytest.fixture(scope="module")
def layers(charts) -> list[tuple[str, dict[str, Any]]]:
    """Every layer of every chart, with the chart's title."""
    return [
        (chart.usermeta["title"], layer) for chart in charts for layer in theme.spec(chart)["layer"]
    ]


def test_what_is_under_the_pointer_is_words_and_texts_and_rules_have_nothing(layers):
    wrong = []
    for title, layer in layers:
        tooltip, kind = layer["encoding"].get("tooltip"), layer["mark"]["type"]
        shown = layer["mark"].get("tooltip", "drawing")
        explicit = tooltip is not None and tooltip["field"] == "tip" and shown is not None
        if not (explicit and kind not in ("text", "rule")) and not (shown is None and not tooltip):
            wrong.append((title, kind, tooltip, shown))
    assert wrong == []


def test_points_and_bars_say_their_figure_under_the_pointer(layers):
    with_tooltip = {title for title, layer in layers if "tooltip" in layer["encoding"]}
    drawn = {
        title
        for title, layer in layers
        if layer["mark"]["type"] in ("bar", "rect", "circle", "tick", "area")
    }
    assert drawn - with_tooltip == set()


def _colours(layer: dict[str, Any]) -> Iterator[str]:
    if layer["mark"]["type"] != "text":
        return
    channel = layer["encoding"].get("color")
    if channel and "field" in channel:
        yield from {row[channel["field"]] for row in layer["data"]["values"]}
    else:
        yield layer["mark"].get("color", theme.INK)


def _palettes() -> dict[str, dict[str, str]]:
    """The page's colours by name, in light and dark."""
    sheet = SHEET.read_text("utf-8").replace("#fff;", "#ffffff;")
    light, dark = sheet.split('[data-jp-theme-light="false"] .hs{', 1)
    read = re.compile(r"--hs-([a-z_]+):(#[0-9a-f]{6})")
    palette = dict(read.findall(light))
    return {"light": palette, "dark": palette | dict(read.findall(dark))}


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(text: str, paper: str) -> float:
    brighter, darker = sorted((_luminance(text), _luminance(paper)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_texts_on_coloured_marks_can_be_read(mode):
    palette = _palettes()[mode]
    for colour in lifecycle.COLOURS.values():
        text = theme.ON_MARKS.get(colour, theme.ON_OTHER_MARKS)
        pair = [palette.get(theme.VARIABLES.get(each, ""), each) for each in (text, colour)]
        assert contrast(*pair) >= LEAST_CONTRAST, (mode, colour, text)


def test_contrast_is_that_of_the_guidelines():
    assert round(contrast("#000000", "#ffffff"), 1) == 21.0
    assert round(contrast("#767676", "#ffffff"), 2) == 4.54


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_texts_of_charts_can_be_read(layers, mode):
    palette = _palettes()[mode]
    weak = set()
    for title, layer in layers:
        for colour in _colours(layer):
            if colour in (*theme.ON_MARKS.values(), theme.ON_OTHER_MARKS):
                continue
            name = theme.VARIABLES.get(colour.lower())
            shown = palette.get(name, colour) if name else colour
            ratio = contrast(shown, palette["paper"])
            if ratio < LEAST_CONTRAST:
                weak.add((title, colour, round(ratio, 2)))
    assert weak == set()


def test_captions_name_no_colours(charts):
    """Dark mode has other colours, and not everybody tells them apart."""
    colours = re.compile(
        r"\b(grey|gray|amber|blue|green|red|orange|vermilion|lighter|darker|light|dark)\b", re.I
    )
    captions = [chart.usermeta["subtitle"] for chart in charts]
    assert [text for text in captions if colours.search(text)] == []


def _paints(layer: dict[str, Any]) -> set[str]:
    """The colours of a layer's marks."""
    channel = layer["encoding"].get("color", {})
    rows = layer.get("data", {}).get("values", [])
    shown = {row[channel["field"]] for row in rows} if "field" in channel else set()
    return shown | {layer["mark"].get("color", theme.INK)}


# Charts in which a colour means a band, or a change for the better or the worse.
OF_BANDS = {
    "Customers by score",
    "ARR by band over time",
    "Customers by band over time",
    "ARR weighted by score",
    "The points of each input",
    "The score over time",
}


def test_colours_of_bands_mean_bands(layers):
    """Kinds of customers, features, stages and users have colours of their own; the ends of the scale mean good and bad."""
    between = {theme.BAND_COLOURS["healthy"], theme.BAND_COLOURS["at_risk"]}
    of_bands = re.compile("(Critical|At risk|Healthy|Champion|The score) (rose|fell|is) ")
    painted = {title for title, layer in layers if _paints(layer) & between}
    assert {title for title in painted if not of_bands.match(title)} <= OF_BANDS
    kinds = re.compile(
        r"^Who moved$|stage|^Customers and ARR by tier$|feature|segment|cohort|adopted by day|active days|Personas",
        re.I,
    )
    ends = {theme.UP, theme.DOWN}
    assert {
        title for title, layer in layers if kinds.search(title) and _paints(layer) & ends
    } == set()
    assert not set(theme.KINDS) & set(theme.BAND_COLOURS.values())
