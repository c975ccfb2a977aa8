"""What the demo portfolio planted is found: peaks, departed champions, the incident; and nothing in portfolios without any."""

from __future__ import annotations

import datetime as dt

import pytest

import healthseg as hs
from healthseg.clustering.rhythms import DAY_NAMES, hour_ranges
from healthseg.demo import make_demo
from healthseg.metrics import panels as panel
from healthseg.testing import tiny_portfolio
from healthseg.tools import analyze_engagement_patterns, portfolio_usage

pytestmark = pytest.mark.slow

DAY = dt.timedelta(days=1)
WINDOW = 91 * DAY  # 13 whole weeks: the truth states power over 90 days


@pytest.fixture(scope="module")
def heatmaps(demo):
    """The heat map of each live customer's last 13 weeks."""
    last = demo.data_until + DAY
    return {
        client: hs.track_usage_engagement(demo, client, last - WINDOW, last).activity_heatmap
        for client in demo.table("customers").query("churned_on.isna()")["client_id"]
    }


def is_found(heatmap, row):
    if row["kind"] == "weekday":
        return DAY_NAMES[int(row["weekday"])] in (heatmap.peak_days or [])
    near = {int(row["hour"]) + shift for shift in (-1, 0, 1)}
    return any(cell.peak for hour, cell in enumerate(heatmap.hours) if hour in near)


def test_the_planted_peaks_are_found(heatmaps, truth):
    planted = truth("rhythms").query("scope == 'client' and detectable").to_dict("records")
    hits = [is_found(heatmaps[row["id"]], row) for row in planted if row["id"] in heatmaps]
    assert len(hits) >= 20 and sum(hits) >= 0.9 * len(hits), (sum(hits), len(hits))


def test_hardly_a_peak_is_named_that_was_not_planted(heatmaps, truth):
    planted = truth("rhythms").query("scope == 'client' and kind == 'hour'")
    near = {(row.id, int(row.hour) + shift) for row in planted.itertuples() for shift in (-1, 0, 1)}
    named = [
        (client, hour)
        for client, part in heatmaps.items()
        for hour, cell in enumerate(part.hours)
        if cell.peak
    ]
    assert len(named) >= 20 and sum(pair in near for pair in named) >= 0.95 * len(named)


def test_peak_hours_are_said_as_the_cells_say(heatmaps):
    for part in heatmaps.values():
        if part.peak_hours is not None:
            assert part.peak_hours == hour_ranges(
                [hour for hour, cell in enumerate(part.hours) if cell.peak]
            )


def test_departed_champions_are_found_four_weeks_after(demo, truth):
    exits = truth("champion_exits").query("detectable").to_dict("records")
    hits = [
        hs.track_usage_engagement(
            demo, row["client_id"], as_of=row["left_on"] + 28 * DAY
        ).dependence
        for row in exits
    ]
    departed = sum(bool(part.champion_departed) for part in hits)
    assert exits and departed >= 0.9 * len(exits), (departed, len(exits))


def test_the_portfolios_incident_and_its_other_days_are_found_and_named(demo, truth):
    rows = truth("anomalies").query("scope == 'portfolio'")
    rows = rows[rows["from"] >= demo.data_until - 364 * DAY]
    planted = rows[rows["detectable"]].to_dict("records")
    days = {day.date: day for day in portfolio_usage(demo).unusual_days}
    hits = [any(row["from"] <= day <= row["to"] for day in days) for row in planted]
    assert planted and sum(hits) >= 0.9 * len(hits)
    incident = rows[rows["kind"] == "incident"].iloc[0]
    day = days[incident["from"]]
    assert (
        day.ratio == pytest.approx(incident["factor"], abs=0.12)
        and day.calendar == "incident: login outage"
    )
    assert all(
        any(row["from"] <= day <= row["to"] for row in rows.to_dict("records")) for day in days
    )


def test_a_customers_dip_in_the_incident_is_one_that_the_portfolio_saw(demo, truth):
    incident = truth("anomalies").query("kind == 'incident'").iloc[0]
    start, large = incident["from"], demo.table("users").groupby("client_id").size().idxmax()
    unusual = hs.track_usage_engagement(demo, large, start - 7 * DAY, start + 7 * DAY).unusual_days
    assert all(day.portfolio_ratio < 0.5 for day in unusual if start <= day.date <= incident["to"])


def test_a_day_on_which_those_who_came_did_much_more_is_unusual_as_the_patterns_say():
    days = [dt.date(2025, 1, 6) + at * DAY for at in range(140)]
    busy = days[93]
    portfolio = tiny_portfolio(
        [
            ("a", f"{day} {10 + user}:{minute:02d}", f"u{user}")
            for at, day in enumerate(days)
            for user in range(1 + (at * 7) % 4)
            for minute in range(60 if day == busy else 2 + (at + user) % 3)
        ]
    )
    unusual = hs.track_usage_engagement(
        portfolio, "a", busy - 21 * DAY, busy + 21 * DAY
    ).unusual_days
    assert [(day.date, day.about) for day in unusual] == [(busy, "doing")]
    patterns = analyze_engagement_patterns(portfolio, "single_customer", client_id="a")
    assert unusual[0].value > 5 * unusual[0].value_expected and [
        anomaly.date for anomaly in patterns.anomalies
    ] == [busy]


def test_a_portfolio_without_rhythm_or_departures_shows_none(tmp_path):
    make_demo(tmp_path, clients=60, scenario="null", seed=2, events="light")
    portfolio = hs.Portfolio.open(tmp_path)
    rows = panel.panel(portfolio, [portfolio.data_until])
    rows = rows[rows["live"]]
    live = rows["client_id"].tolist()
    assert rows["champion_share"].notna().any() and not (rows["champion_departed"] == 1).any()
    for client in live[::6]:
        part = hs.track_usage_engagement(
            portfolio, client, portfolio.data_until - WINDOW + DAY, portfolio.data_until + DAY
        )
        assert not part.activity_heatmap.peak_days and not part.activity_heatmap.peak_hours
    whole = portfolio_usage(portfolio, lookback_period_days=91)
    assert whole.activity_heatmap.statement == "no distinct peak" and whole.unusual_days == []
