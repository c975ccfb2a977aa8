"""Charts from finished frames: what they draw, and what they say where there is nothing to draw."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest

from healthseg.charts import adoption, formats, health, small, theme, timeline
from healthseg.reports.html.navigation import Navigation
from tests.reports import samples
from tests.reports.hostile import HOSTILE

ROOT = Path(__file__).resolve().parents[2]
_FRAMES = samples.frames()
_PORTFOLIO = samples.portfolio_frames()


def _history(*frames: pd.DataFrame) -> theme.Picture:
    return timeline.history(*frames, health.EDGES)


DRAWN = {
    "history": (_history, [_FRAMES["history"], _FRAMES["forecast"], _FRAMES["marks"]]),
    "change": (health.change, [_FRAMES["change"]]),
    "components": (health.components, [_FRAMES["metrics"]]),
    "outlook": (health.outlook, [_FRAMES["churn"]]),
    "attention": (health.attention, [_PORTFOLIO["customers"]]),
    "movers": (health.movers, [_PORTFOLIO["movers"]]),
    "disagreements": (health.disagreements, [_PORTFOLIO["disagreements"]]),
    "distribution": (health.distribution, [_PORTFOLIO["distribution"]]),
    "bands": (health.bands_over_time, [_PORTFOLIO["bands"]]),
    "coverage": (health.coverage, [_PORTFOLIO["coverage"]]),
}
each_chart = pytest.mark.parametrize("name", DRAWN)


def _drawn(name: str, change=lambda frame: frame) -> tuple[theme.Picture, str]:
    draw, frames = DRAWN[name]
    picture = draw(*(change(frame) for frame in frames))
    return picture, theme.svg(picture)


def _texts(svg: str) -> list[str]:
    return [
        " ".join(element.itertext())
        for element in ET.fromstring(svg).iter()
        if element.tag.endswith("text")
    ]


@each_chart
def test_a_chart_has_the_common_width_and_has_a_name(name):
    picture, svg = _drawn(name)
    root = ET.fromstring(svg)
    assert float(root.get("width")) == pytest.approx(theme.WIDTH, abs=12)
    assert root.get("role") == "img" and root.get("aria-label").startswith(
        picture.usermeta["title"]
    )
    assert not theme.is_empty(picture)


@each_chart
def test_an_empty_frame_says_in_words_why_there_is_no_chart(name):
    picture, svg = _drawn(name, lambda frame: frame.iloc[:0])
    assert theme.is_empty(picture)
    assert " ".join(_texts(svg)) == picture.usermeta["reason"]
    assert len(picture.usermeta["reason"].split()) >= 5


@each_chart
def test_one_row_is_enough_or_says_why_not(name):
    picture, svg = _drawn(name, lambda frame: frame.iloc[-1:])
    assert theme.is_empty(picture) or len(_texts(svg)) >= 1


@each_chart
def test_figures_that_are_all_missing_are_no_zeros(name):
    def blank(frame):
        figures = frame.select_dtypes("number").columns.difference(
            ["horizon_days", "weight", "effective_weight", "low", "high"]
        )
        return frame.astype(dict.fromkeys(figures, "float64")).assign(
            **dict.fromkeys(figures, float("nan"))
        )

    picture, svg = _drawn(name, blank)
    if not theme.is_empty(picture):
        texts = " ".join(_texts(svg)).replace("\u00a0", " ")
        assert any(word in texts for word in ("not measured", "0%")), (
            "an input that is not known says so"
        )


@each_chart
def test_hostile_texts_stay_text(name):
    def named(frame):
        texts = [HOSTILE[index % len(HOSTILE)] for index in range(max(len(frame), len(HOSTILE)))]
        frame = frame.iloc[[index % len(frame) for index in range(len(texts))]]
        return frame.assign(
            **{
                column: texts
                for column in ("name", "label", "reason", "currency")
                if column in frame
            }
        )

    _, svg = _drawn(name, named)
    tags = {element.tag.rpartition("}")[2] for element in ET.fromstring(svg).iter()}
    assert tags <= {
        "a",
        "svg",
        "g",
        "path",
        "text",
        "rect",
        "line",
        "circle",
        "defs",
        "clipPath",
        "tspan",
    }


@each_chart
def test_a_chart_asks_for_nothing_from_anywhere(name):
    _, svg = _drawn(name)
    assert not re.findall(r"href|url\((?!#)|@import|https?://(?!www\.w3\.org/2000/svg)", svg)


def test_colours_are_variables_of_the_page_with_a_fall_back():
    _, svg = _drawn("components")
    assert "var(--hs-critical,#d55e00)" in svg and "var(--hs-ink,#1c2733)" in svg
    assert not re.findall(r'(?:fill|stroke)="#', svg)


def test_ids_of_two_charts_never_meet():
    ids = [set(re.findall(r' id="([^"]+)"', _drawn(name)[1])) for name in DRAWN]
    assert sum(map(len, ids)) == len(set().union(*ids))


def test_the_parts_of_a_change_reach_from_the_first_score_to_the_last():
    frame = _FRAMES["change"]
    spec = health.change(frame).to_dict(validate=False)
    bars = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "rect")["data"][
        "values"
    ]
    inner = frame.iloc[1:-1]
    assert [(bar["x"], bar["x2"]) for bar in bars] == [
        tuple(sorted(pair)) for pair in zip(inner["start"], inner["end"], strict=True)
    ]
    assert sum(bar["x2"] - bar["x"] for bar in bars) == pytest.approx(inner["points"].abs().sum())
    texts = " ".join(_texts(theme.svg(health.change(frame))))
    assert "−3.0" in texts and "Seats in use: 74% → 62%" in texts


@pytest.mark.parametrize(
    ("score", "band"),
    [
        (0, "critical"),
        (39.9, "critical"),
        (40, "at_risk"),
        (59.9, "at_risk"),
        (60, "healthy"),
        (80, "champion"),
        (100, "champion"),
    ],
)
def test_a_band_includes_its_lower_end(score, band):
    assert health.band_colour(score) == theme.BAND_COLOURS[band]


def test_the_line_of_scores_breaks_where_a_score_is_unknown():
    spec = _history(_FRAMES["history"], _FRAMES["forecast"], _FRAMES["marks"]).to_dict(
        validate=False
    )
    line = next(
        layer
        for layer in spec["layer"]
        if layer["mark"]["type"] == "line" and "detail" in layer["encoding"]
    )
    assert {value["run"] for value in line["data"]["values"]} == {0, 1}


def test_flags_with_words_never_lie_on_each_other():
    marks = pd.DataFrame(
        [
            {
                "date": samples.AS_OF - pd.Timedelta(days=back),
                "kind": "calendar",
                "label": f"A launch of note {back}",
            }
            for back in (3, 4, 5, 6)
        ]
    )
    svg = theme.svg(_history(_FRAMES["history"], _FRAMES["forecast"], marks))
    heights = re.findall(r'transform="translate\([\d.-]+,([\d.-]+)\)"[^>]*>A launch', svg)
    assert len(heights) == 4 == len(set(heights))
    assert len(re.findall(r'font-size="11px"[^>]*>A launch', svg)) == 4, "a phone leaves them out"


@pytest.mark.slow
def test_the_machines_time_zone_does_not_move_a_date():
    script = (
        "from tests.reports import samples; from healthseg.charts import health, theme, timeline;"
        "f = samples.frames(); print(theme.svg(timeline.history(f['history'], f['forecast'], f['marks'], health.EDGES)))"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "TZ": "Pacific/Kiritimati"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    frames = samples.frames()
    local = theme.svg(_history(frames["history"], frames["forecast"], frames["marks"]))
    assert elsewhere.strip() == local


def test_a_chart_shows_itself_as_svg_in_jupyter():
    bundle = health.outlook(_FRAMES["churn"])._repr_mimebundle_()
    assert (
        bundle["image/svg+xml"].startswith("<svg")
        and "Probability of churn" in bundle["text/plain"]
    )
    assert "Probability of churn" in _texts(bundle["image/svg+xml"])


def test_the_theme_leaves_other_peoples_charts_alone():
    import altair as alt

    assert alt.theme.active == "default" and "healthseg" in alt.theme.names()


@pytest.mark.parametrize("values", [[], [None, None], [5.0], [float("nan"), 3.0]])
def test_a_sparkline_of_fewer_than_two_figures_is_left_out(values):
    assert small.sparkline(values, "score") == ""


def test_noise_of_a_point_does_not_look_like_a_fall_in_a_sparkline():
    heights = [
        float(y)
        for _, y in re.findall(
            r"([\d.]+),([\d.]+)",
            re.search(r'points="([^"]+)"', small.sparkline([70, 71, 70], "s")).group(1),
        )
    ]
    assert max(heights) - min(heights) <= 1


def test_the_strip_of_bands_puts_the_score_where_it_is():
    assert 'cx="414.0"' in small.strip(69, 63, 72, "score") and "M378.0,31" in small.strip(
        69, 63, 72, "score"
    )
    assert "circle" not in small.strip(None, 20, 80, "score")


@pytest.mark.parametrize(
    ("text", "pixels"), [("", 100), ("Acme", 1), ("日" * 300, 200), ("x" * 300, 60)]
)
def test_a_text_is_cut_to_its_room(text, pixels):
    cut = formats.fitted(text, pixels)
    assert formats.cells(cut) * 6.9 <= max(pixels, 2 * 1.8 * 6.9)


def test_charts_know_nothing_else_of_healthseg():
    for path in (ROOT / "healthseg" / "charts").glob("*.py"):
        for imported in re.findall(
            r"^\s*(?:from|import) (healthseg\S*)", path.read_text("utf-8"), re.MULTILINE
        ):
            assert imported.startswith("healthseg.charts"), f"{path.name} imports {imported}"


def test_no_chart_tells_of_fields_under_the_pointer():
    for name in DRAWN:
        for layer in _drawn(name)[0].to_dict(validate=False)["layer"]:
            tooltip = layer.get("encoding", {}).get("tooltip")
            assert tooltip in (None, {"field": "tip", "type": "nominal"}), name


def test_a_mark_that_stands_for_a_customer_leads_to_its_page_where_there_is_one():
    moved = pd.DataFrame(
        {
            "client_id": ["a b", "c"],
            "name": ["Alder", "Cedar"],
            "change": [9.0, -7.0],
            "score": [60.0, 50.0],
            "direction": ["up", "down"],
        }
    )
    chart = health.movers(moved)
    svg, grammar = theme.svg(chart), json.dumps(theme.spec(chart))
    assert 'role="img"' in svg and "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert svg.count('<a data-client="a b"><path') == svg.count('<a data-client="c"><path') == 1
    there = Navigation(customers={"a b": "../customers/a%20b/x.html"}, names={"a b": "Alder"})
    shown = there.linked(svg)
    assert shown.count("<a ") == 1
    link = 'href="../customers/a%20b/x.html" tabindex="-1" aria-label="Alder"><path'
    assert link in shown and "data-client" not in shown and 'role="group"' in shown
    assert grammar.count("#customer=") == 2
    linked = there.linked(grammar)
    assert linked.count('"client": "../customers/a%20b/x.html"') == 1
    assert linked.count('"client": ""') == 1 and "#customer=" not in linked


def test_curves_of_adoption_are_titled_by_their_findings():
    curves = pd.DataFrame(
        {
            "name": ["core"] * 3 + ["premium"] * 3,
            "days": [0.0, 40, 200, 0, 150, 210],
            "share": [0.0, 0.6, 0.9, 0, 0.2, 0.4],
            "lower": 0.0,
            "upper": 1.0,
        }
    )
    adopted = adoption.time_to_adopt(curves).usermeta["title"]
    assert adopted == (
        "Half is adopted by day 40 (core); fewer than half of the premium features are adopted"
    )
    used = adoption.durations(curves.assign(share=1 - curves["share"])).usermeta["title"]
    assert used == "After 180 days 80% of the premium adoptions are still in use, 40% of the core"
