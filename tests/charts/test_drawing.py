"""Charts are drawn quicker than the renderer and altair would by themselves, and come out the same."""

from __future__ import annotations

import json

import altair as alt
import pytest
import vl_convert
from altair.utils import schemapi

from healthseg.charts import schemas, texts, theme
from tests.charts.test_charts import DRAWN, each_chart
from tests.reports.hostile import HOSTILE

VERSION = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])


def _plainly(spec: dict) -> str:
    return vl_convert.vegalite_to_svg(json.dumps(spec), vl_version=VERSION)


def _texts(shown: list[str], **more) -> dict:
    rows = [{"t": text, "y": place} for place, text in enumerate(shown)]
    mark = (
        alt.Chart(alt.Data(values=rows))
        .mark_text(align="left", fontSize=11)
        .encode(y="y:Q", text="t:N")
    )
    return {**theme.spec(theme.picture([mark], "T", "s", 300, 400)), **more}


@each_chart
@pytest.mark.parametrize("width", [theme.WIDE, theme.NARROW])
def test_marks_for_texts_change_no_byte_of_a_drawing(name, width):
    draw, frames = DRAWN[name]
    spec = theme.spec(draw(*frames, width))
    assert texts.marked(spec)[1], "its texts are marked"
    assert theme.draw(json.dumps(spec, sort_keys=True)) == _plainly(spec)


@each_chart
def test_a_picture_is_what_altair_makes_of_its_layers(name):
    draw, frames = DRAWN[name]
    ours = draw(*frames, theme.WIDE)
    theirs = alt.LayerChart(**ours._kwds).to_dict(validate=False)
    assert _plainly(ours.to_dict(validate=False)) == _plainly(theirs)
    assert ours.to_dict() == ours.to_dict(validate=False), "and it is valid"


def test_every_text_comes_back_as_the_renderer_writes_it():
    shown = [
        *HOSTILE,
        "",
        " ",
        "\u00a0a\u2003",
        "1.23456",
        ' class="x"',
        *(f"text {place}" for place in range(300)),
    ]
    shown = [text for text in shown if text.isprintable() or text.strip()]
    shown = [theme.formats.plain(text) for text in shown]
    spec = _texts(shown)
    assert theme.draw(json.dumps(spec, sort_keys=True)) == _plainly(spec)


def test_texts_are_not_tidied_with_the_tags_around_them():
    svg = theme.named(
        theme.draw(json.dumps(_texts(["1.23456", ' of class="x"', 'fill="#1c2733"']))), "N"
    )
    assert all(f">{text}<" in svg for text in ("1.23456", 'of class="x"', 'fill="#1c2733"'))


@pytest.mark.parametrize(
    "more", [{"title": "Of a size that depends on texts"}, {"autosize": {"type": "pad"}}]
)
def test_where_the_layout_depends_on_texts_they_are_measured(more):
    spec = _texts(["long " * 20], **more)
    assert texts.marked(spec) == (spec, [])


def test_layers_whose_parameters_altair_lifts_are_lifted():
    pick = alt.selection_point(name="pick")
    layer = alt.Chart(alt.Data(values=[{"a": 1}])).mark_bar().encode(x="a:Q").add_params(pick)
    assert [
        one["name"] for one in theme.picture([layer], "T", "s", 300, 80).to_dict()["params"]
    ] == ["pick"]


def test_a_channel_named_at_once_is_the_channel_that_altair_finds():
    schemas.remember()
    channels = [
        getattr(alt, name)
        for name in ("X", "Y", "X2", "Y2", "Color", "Opacity", "Text", "Detail", "Tooltip")
    ]
    for channel in channels:
        given = {"shorthand": "sum(a):Q"}
        searched = schemapi._FromDict(channel._default_wrapper_classes()).from_dict(given, channel)
        assert channel.from_dict(given, validate=False) == searched
