"""Charts are drawn as altair and the renderer draw them, and every one of them is valid."""

from __future__ import annotations

import json

import altair as alt
import vl_convert

from healthseg.charts import theme
from tests.charts.test_charts import DRAWN, each_chart
from tests.reports.hostile import HOSTILE

VERSION = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])


def _plainly(spec: dict) -> str:
    return vl_convert.vegalite_to_svg(json.dumps(spec), vl_version=VERSION)


def _texts(shown: list[str]) -> dict:
    rows = [{"t": text, "y": y} for y, text in enumerate(shown)]
    mark = (
        alt.Chart(alt.Data(values=rows))
        .mark_text(align="left", fontSize=11)
        .encode(y="y:Q", text="t:N")
    )
    return theme.spec(theme.picture([mark], "T", "s", 400))


@each_chart
def test_a_picture_is_valid_and_what_altair_makes_of_its_layers(name):
    draw, frames = DRAWN[name]
    chart = draw(*frames)
    assert chart.to_dict() == chart.to_dict(validate=False)
    spec = theme.spec(chart)
    assert theme.draw(json.dumps(spec, sort_keys=True)) == _plainly(spec)


def test_every_text_is_written_as_text():
    shown = [theme.formats.plain(text) for text in HOSTILE if text.isprintable() or text.strip()]
    svg = theme.named(theme.draw(json.dumps(_texts(shown))), "N")
    assert "<script" not in svg and "<img" not in svg


def test_texts_are_not_tidied_with_the_tags_around_them():
    spec = _texts(["1.23456", 'of class="x"', 'fill="#1c2733"'])
    svg = theme.named(theme.draw(json.dumps(spec)), "N")
    assert all(f">{text}<" in svg for text in ("1.23456", 'of class="x"', 'fill="#1c2733"'))


def test_layers_whose_parameters_altair_lifts_are_lifted():
    pick = alt.selection_point(name="pick")
    layer = alt.Chart(alt.Data(values=[{"a": 1}])).mark_bar().encode(x="a:Q").add_params(pick)
    assert [
        param["name"] for param in theme.picture([layer], "T", "s", 80).to_dict()["params"]
    ] == ["pick"]
