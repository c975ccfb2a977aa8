"""Charts of stages: what they draw of known frames, and the reason in words where there is nothing to draw."""

from __future__ import annotations

import datetime as dt
import json

import pandas as pd
import pytest

from healthseg.charts import lifecycle, theme

AS_OF = dt.date(2025, 6, 30)
WAY = pd.DataFrame(
    {
        "stage": ["trial", "active", "at_risk", "active"],
        "start_date": [
            dt.date(2025, 1, 1),
            dt.date(2025, 2, 1),
            dt.date(2025, 4, 1),
            dt.date(2025, 6, 29),
        ],
        "end_date": [dt.date(2025, 2, 1), dt.date(2025, 4, 1), dt.date(2025, 6, 29), None],
        "duration_days": [31, 59, 89, 1],
        "visit": [1, 1, 1, 2],
    }
)
CURVE = pd.DataFrame(
    {
        "time": [10.0, 40.0, 90.0],
        "at_risk": [40, 20, 5],
        "survival": [0.8, 0.4, 0.05],
        "lower": [0.7, 0.3, float("nan")],
        "upper": [0.9, 0.5, float("nan")],
    }
)
DOORS = pd.DataFrame(
    {"to": ["active", "churned"], "share": [0.7, 0.3], "share_from_here": [0.9, None]}
)
TIME = pd.DataFrame(
    {
        "date": pd.to_datetime(["2025-01-01", "2025-01-01", "2025-01-08"]),
        "stage": ["active", "none", "active"],
        "customers": [3, 1, 4],
        "arr": [300.0, 50.0, 400.0],
    }
)
MATRIX = pd.DataFrame(
    {
        "source": ["trial", "trial", "active"],
        "target": ["active", "churned", "at_risk"],
        "n": [7, 3, 5],
        "of": [10, 10, 5],
        "share": [0.7, 0.3, 1.0],
    }
)
LENGTHS = pd.DataFrame(
    {
        "stage": ["trial", "active"],
        "q25": [5.0, None],
        "median": [14.0, 98.0],
        "q75": [20.0, None],
        "stuck_from": [33.0, None],
        "n": [16, 459],
    }
)
STUCK = pd.DataFrame(
    {
        "name": ["Acme <b>", "Bolt"],
        "stage": ["active", "trial"],
        "days": [820, 60],
        "typical_days": [98.0, None],
    }
)
DRAWN = {
    "timeline": lambda: lifecycle.timeline(WAY, AS_OF),
    "position": lambda: lifecycle.position(CURVE, "at_risk", 45, 0.1),
    "late": lambda: lifecycle.position(CURVE, "at_risk", 900, 0.1),
    "doors": lambda: lifecycle.doors(DOORS),
    "over_time": lambda: lifecycle.over_time(TIME),
    "matrix": lambda: lifecycle.matrix(MATRIX),
    "durations": lambda: lifecycle.durations(LENGTHS),
    "stuck": lambda: lifecycle.stuck(STUCK),
}
NOTHING = {
    "timeline": lifecycle.timeline(WAY.iloc[:0], AS_OF),
    "position": lifecycle.position(CURVE.iloc[:0], "active", 3, 0.1),
    "no stage": lifecycle.position(CURVE, None, None, 0.1),
    "doors": lifecycle.doors(DOORS.iloc[:0]),
    "over_time": lifecycle.over_time(TIME.iloc[:0]),
    "one date": lifecycle.over_time(TIME.iloc[:2]),
    "matrix": lifecycle.matrix(MATRIX.iloc[:0]),
    "durations": lifecycle.durations(LENGTHS.assign(median=float("nan"))),
    "stuck": lifecycle.stuck(STUCK.iloc[:0]),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_chart_is_drawn_within_its_width(name):
    picture = DRAWN[name]()
    drawn = theme.svg(picture)
    assert not theme.is_empty(picture) and drawn.startswith("<svg")
    assert float(drawn.split('width="')[1].split('"')[0]) == pytest.approx(theme.WIDTH, abs=40)


@pytest.mark.parametrize("name", NOTHING)
def test_a_chart_with_nothing_to_draw_gives_the_reason(name):
    assert theme.is_empty(NOTHING[name]) and NOTHING[name].usermeta["reason"].endswith(".")


def values(picture) -> str:
    return json.dumps(picture.to_dict(validate=False), ensure_ascii=False)


def test_the_customers_own_day_is_marked_with_the_share_still_in_the_stage():
    assert "day 45: 40% still in it" in values(DRAWN["position"]())


@pytest.mark.parametrize("day", [0, 11, 60, 120, 200, 290])
def test_the_words_at_the_customers_day_are_clear_of_the_curve(day):
    times = [float(time) for time in range(5, 301, 5)]
    share = pd.Series([2 ** -((time / 100) ** 2) for time in times])
    curve = pd.DataFrame(
        {
            "time": times,
            "at_risk": 90,
            "survival": share,
            "lower": (share - 0.03).clip(lower=0),
            "upper": (share + 0.03).clip(upper=1),
        }
    )
    drawn = lifecycle.position(curve, "engaged", day, 0.1).to_dict()
    texts = [layer for layer in drawn["layer"] if layer["mark"]["type"] == "text"]
    label = next(layer for layer in texts if "still in it" in str(layer["data"]["values"]))
    (words,) = label["data"]["values"]
    across = label["encoding"]["x"]["scale"]["domain"][1]
    room = len(words["text"]) * 6.9 / (theme.WIDTH - 82) * across
    first, last = (
        (words["day"] - room, words["day"])
        if label["mark"]["align"] == "right"
        else (words["day"], words["day"] + room)
    )
    assert first >= 0 and last <= across
    band = curve[(curve["time"] > first) & (curve["time"] <= last)]
    under, over = (
        words["share"] + 0.03 <= band["lower"].min(),
        words["share"] - 0.03 >= band["upper"].max(),
    )
    assert under or over


def test_areas_are_stacked_and_end_with_their_names():
    drawn = values(DRAWN["over_time"]())
    assert '"text": "active 400"' in drawn and '"high": 350.0' in drawn
    assert '"text": "no stage' not in drawn


def test_a_short_time_in_a_stage_is_still_seen_and_a_long_one_has_its_days():
    drawn = json.loads(values(DRAWN["timeline"]()))
    bars = next(
        layer["data"]["values"] for layer in drawn["layer"] if layer["mark"]["type"] == "rect"
    )
    assert [bar["text"] for bar in bars] == ["31", "59", "89", ""] and bars[-1]["end"] > bars[-1][
        "start"
    ]


def test_a_stage_whose_change_is_one_customer_names_it():
    """Acme's 80 of 100 left engaged for renewing; where nobody makes half of a change, nobody is named."""
    dates = pd.to_datetime(["2025-01-01", "2025-06-01"])
    frame = pd.DataFrame(
        {
            "date": dates[[0, 0, 1, 1]],
            "stage": ["engaged", "renewing", "engaged", "renewing"],
            "customers": [3, 1, 2, 2],
            "arr": [180.0, 60, 80, 150],
            "largest": ["Acme", "Bolt", "Crane", "Acme"],
            "largest_arr": [80.0, 60, 50, 90],
        }
    )
    title = lifecycle.over_time(frame).usermeta["title"]
    assert title == "Engaged fell from 180 to 80 in a quarter, as Acme is now renewing"
    now = frame.assign(date=dates[[1, 1, 0, 0]])
    assert lifecycle.over_time(now).usermeta["title"].endswith("as Acme was renewing")
    many = lifecycle.over_time(frame.assign(largest_arr=10.0)).usermeta["title"]
    assert many == "Engaged fell from 180 to 80 in a quarter, the largest change"
