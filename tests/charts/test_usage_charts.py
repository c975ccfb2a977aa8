"""Charts of usage: what they draw of known frames, and the reason in words where there is nothing to draw."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest
import vl_convert

from healthseg.charts import theme, usage
from healthseg.tools.usage.result import (
    GrowthAccounting,
    GrowthPeriod,
    OwnBaseline,
    PortfolioUsage,
    UsageEngagement,
    UsageTrends,
)

DAYS = pd.date_range("2025-03-03", periods=4, freq="7D")
WEEKS = pd.DataFrame(
    {"start": DAYS, "end": DAYS + pd.Timedelta(days=7), "person_events": [10.0, 20.0, 15.0, 25.0]}
)
GROWTH = WEEKS[["start", "end"]].assign(
    active_users=[3.0, 4, 4, 5],
    new_users=[1.0, 1, 0, 2],
    returning_users=[2.0, 2, 3, 3],
    resurrected_users=[0.0, 1, 1, 0],
    dormant_users=[1.0, 1, 1, 1],
)
GRID = pd.MultiIndex.from_product([range(7), range(24)], names=["weekday", "hour"]).to_frame(
    index=False
)
GRID = GRID.assign(user_hours=(GRID["hour"] == 9).astype(int) * 5, person_events=0)
RETENTION = pd.DataFrame(
    {"cohort": DAYS[[0, 0, 1, 1]], "week": [0, 1, 0, 1], "users": 4, "retained": [4.0, 2, 4, None]}
).assign(share=lambda frame: frame["retained"] / frame["users"])
FEATURES = pd.DataFrame(
    {
        "feature": ["plan", "report"],
        "adoption_rate": [0.8, 0.2],
        "weekly_usage": [12.0, 1.0],
        "active_users": [4, 1],
    }
)
PEERS = pd.DataFrame({"client_id": ["a", "b", "c"], "value": [0.5, 0.7, 0.2]})
HISTOGRAM = pd.DataFrame(
    {"active_days": [0, 3, 12], "cohort": ["inactive", "at_risk", "power"], "users": [2, 1, 1]}
)
CUSTOMERS = pd.DataFrame(
    {"name": ["Acme", "Bolt"], "usage_ratio": [0.2, 1.0], "breaks_away": [True, False]}
)
STEPS = pd.DataFrame(
    {"low": [0.0, 0.5], "high": [0.1, 0.6], "customers": [1, 3], "arr": [0.0, 1.0]}
)
PORTFOLIO_DAYS = pd.DataFrame(
    {
        "date": DAYS,
        "person_events": [5.0, 5, 1, 5],
        "ratio": [1.0, 1, 0.2, 1],
        "unusual": [False, False, True, False],
        "calendar": [None, None, "incident: <outage>", None],
    }
)
FRAMES = {
    "series": WEEKS.assign(complete=[True, True, True, False]),
    "weeks": WEEKS.assign(fitted=[11.0, 14, 18, 23]),
    "growth": GROWTH,
    "heatmap": GRID,
    "histogram": HISTOGRAM,
    "retention": RETENTION,
    "features": FEATURES,
    "peers": PEERS,
    "customers": CUSTOMERS,
    "utilisation": STEPS,
    "days": PORTFOLIO_DAYS,
}
NO_FRAMES = {
    "series": WEEKS.assign(person_events=0.0, complete=True),
    "weeks": WEEKS.iloc[:0].assign(fitted=[]),
    "growth": GROWTH.assign(dormant_users=float("nan")),
    "heatmap": GRID.assign(user_hours=0),
    "histogram": HISTOGRAM.iloc[:0],
    "retention": RETENTION.iloc[:0],
    "features": FEATURES.iloc[:0],
    "peers": PEERS.iloc[:1],
    "customers": CUSTOMERS.assign(breaks_away=False),
    "utilisation": STEPS.assign(customers=0),
    "days": PORTFOLIO_DAYS.iloc[:0],
}


def _charts(frames: dict[str, pd.DataFrame]) -> dict[str, theme.Picture]:
    """The charts of a customer's and of the portfolio's result with these frames."""
    trend = UsageTrends.model_construct(
        trend_direction="increasing", weekly_growth_rate=0.047, unclear=False
    )
    period = GrowthPeriod.model_construct(new_users=3, resurrected_users=10, dormant_users=23)
    customer = UsageEngagement.model_construct(
        client_id="b",
        usage_trends=trend,
        own_baseline=OwnBaseline.model_construct(ratio=1.2, fell=False),
        growth_accounting=GrowthAccounting.model_construct(period=period),
    )
    everyone = PortfolioUsage.model_construct(usage_trends=trend)
    return {
        name: chart
        for result in (everyone, customer)
        for name, chart in result.with_frames(**frames).charts().items()
    }


DRAWN = _charts(FRAMES)
FINDINGS = {
    "trend": "Usage grows by 4.7% a week, by fewer people: 23 users stopped, 13 came",
    "utilisation": "0 customers use all their seats, 1 fewer than half",
    "retention": "50% of new users are active again one week later",
    "growth": "5 users active in the last week, 3 in the week 3 weeks before",
}
NOTHING = _charts(NO_FRAMES)


@pytest.mark.parametrize("name", DRAWN)
def test_a_chart_is_valid_and_drawn_with_title_and_number(name):
    chart = DRAWN[name]
    assert chart.to_dict()["width"] > 0
    assert (
        not theme.is_empty(chart)
        and chart.usermeta["title"]
        and "n = " in chart.usermeta["subtitle"]
    )
    drawn = theme.svg(chart)
    assert drawn.startswith("<svg") and "<outage>" not in drawn


@pytest.mark.parametrize("name", FINDINGS)
def test_a_title_says_what_the_chart_shows(name):
    assert DRAWN[name].usermeta["title"] == FINDINGS[name]


def test_days_of_a_portfolio_without_a_calendar_are_drawn():
    days = PORTFOLIO_DAYS.assign(calendar=pd.Series([None] * len(PORTFOLIO_DAYS), dtype=object))
    assert not theme.is_empty(usage.days(days))


@pytest.mark.parametrize("name", NOTHING)
def test_where_there_is_nothing_the_reason_stands_in_words(name):
    chart = NOTHING[name]
    assert theme.is_empty(chart) and chart.usermeta["reason"].endswith(".")


@pytest.mark.parametrize("name", ["series", "trend", "growth", "days"])
def test_both_ends_of_a_mark_share_one_domain_of_days(name):
    spec = json.dumps(DRAWN[name].to_dict())
    across = next(
        scale for scale in vl_convert.vegalite_to_vega(spec)["scales"] if scale["name"] == "x"
    )
    assert across["domain"].keys() == {"signal"}, "a union of fields is of domains that differ"


def test_a_cut_part_of_the_series_is_lighter_and_said_to_be():
    chart = DRAWN["series"]
    values = chart.data.values
    assert [value["opacity"] for value in values] == [
        1.0,
        1.0,
        1.0,
        0.45,
    ] and "Faint" in chart.usermeta["subtitle"]


def test_the_parts_of_growth_stand_on_each_other():
    values = [value for value in DRAWN["growth"].layer[0].data.values if value["high"] > 0]
    assert max(value["high"] for value in values) == GROWTH["active_users"].max()


def test_a_blank_cell_of_retention_is_not_drawn_as_zero():
    values = DRAWN["retention"].layer[0].data.values
    assert [(value["y"] // 24, value["x"]) for value in values] == [(0, 0), (0, 1), (1, 0)]


@pytest.mark.parametrize("name", DRAWN)
def test_what_a_mark_says_under_the_pointer_is_words_and_texts_say_nothing(name):
    for layer in DRAWN[name].to_dict()["layer"]:
        values = layer.get("data", DRAWN[name].to_dict().get("data"))["values"]
        tooltip = layer["encoding"].get("tooltip")
        if layer["mark"]["type"] in ("text", "rule"):
            assert tooltip is None and layer["mark"]["tooltip"] is None
        else:
            assert tooltip == {"field": "tip", "type": "nominal"}
            assert all(re.search("[a-z%]", value["tip"]) for value in values)


def test_a_growing_usage_says_how_many_weeks_were_below_its_peak():
    weeks = pd.concat([WEEKS, WEEKS.iloc[:2]], ignore_index=True).assign(
        fitted=[10.0, 12, 14, 16, 18, 20]
    )
    title = usage.trend(weeks, "Usage grows").usermeta["title"]
    assert title == "Usage grows; the last 2 weeks were below the peak"
    assert usage.trend(weeks.head(4), "Usage grows").usermeta["title"] == "Usage grows"
