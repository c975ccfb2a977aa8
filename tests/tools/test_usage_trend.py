"""Series by the customer's own clock, trends, and users that stop."""

from __future__ import annotations

import pandas as pd
import pytest

import healthseg as hs
from healthseg.testing import tiny_portfolio
from tests.tools.usage_events import at, range_of


def test_internal_users_are_left_out_everywhere():
    events = [
        *range_of("2025-01-01", "2025-03-31"),
        *range_of("2025-01-01", "2025-03-31", user="tester"),
    ]
    users = pd.DataFrame(
        {
            "client_id": "a",
            "user_id": ["u1", "tester"],
            "created_at": "2025-01-01",
            "email_domain": ["acme.test", "Vendor.test"],
        }
    )
    portfolio = tiny_portfolio(
        events, users=users, settings={"exclude_email_domains": ["vendor.test"]}
    )
    figures = hs.track_usage_engagement(
        portfolio, "a", "2025-03-01", "2025-04-01"
    ).engagement_metrics
    assert (figures.active_users, figures.provisioned_users, figures.user_activation_rate) == (
        1,
        1,
        1.0,
    )


def test_activation_by_a_feature_counts_users_that_are_old_enough():
    events = [
        *range_of("2025-01-01", "2025-03-31", feature="plan"),
        at("2025-03-03", "u2", feature="plan"),
        at("2025-03-29", "u4", feature="share"),
        at("2025-03-04", "u2", feature="share"),
    ]
    users = pd.DataFrame(
        {
            "client_id": "a",
            "user_id": ["u1", "u2", "u3", "u4"],
            "created_at": ["2025-01-01", "2025-03-01", "2025-03-01", "2025-03-28"],
        }
    )
    portfolio = tiny_portfolio(events, users=users, settings={"activation_features": ["share"]})
    figures = hs.track_usage_engagement(
        portfolio, "a", "2025-03-01", "2025-04-01"
    ).engagement_metrics
    assert (figures.user_activation_rate, figures.activation_basis) == (
        0.3333,
        "activation_features",
    )


def zoned(zone, start, end):
    customers = pd.DataFrame(
        {"client_id": ["a"], "signup_date": ["2024-01-01"], "timezone": [zone]}
    )
    hours = pd.date_range(start, end, freq="h", inclusive="left")
    return tiny_portfolio([("a", f"{hour:%Y-%m-%d %H:%M:%S}", "u1") for hour in hours], customers)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2025-03-30", 23),
        ("Europe/Berlin", "2025-10-26", 25),
        ("Asia/Kolkata", "2025-03-30", 24),
        ("America/New_York", "2025-11-02", 25),
        ("UTC", "2025-03-30", 24),
    ],
)
def test_a_day_has_as_many_hours_as_its_clock(zone, day, hours):
    start = pd.Timestamp(day)
    portfolio = zoned(zone, start - pd.Timedelta(days=2), start + pd.Timedelta(days=3))
    response = hs.track_usage_engagement(
        portfolio, "a", day, str((start + pd.Timedelta(days=1)).date()), "hourly"
    )
    assert len(response.series) == hours == response.usage_analytics.person_events
    assert [row["person_events"] for row in response.series] == [1] * hours
    assert (
        len({row["start"] for row in response.series}) == hours
        and response.series[0]["api_events"] is None
    )


def test_an_hourly_series_can_begin_within_a_day():
    portfolio = zoned("Europe/Berlin", "2025-06-01", "2025-06-10")
    response = hs.track_usage_engagement(
        portfolio, "a", "2025-06-03T22:00", "2025-06-04T02:00", "hourly"
    )
    assert [row["start"][11:13] for row in response.series] == ["22", "23", "00", "01"]
    assert any("whole days" in note for note in response.warnings)


def growing(rate, weeks=14):
    rows = []
    for week in range(weeks):
        for number in range(round(20 * rate**week)):
            day = pd.Timestamp("2025-01-01") + pd.Timedelta(
                days=7 * week + number % 7, hours=number % 24
            )
            rows.append(("a", f"{day:%Y-%m-%d %H:%M:%S}", f"u{number % 5}"))
    return tiny_portfolio(rows, settings={"data_until": "2025-04-08"})


def test_a_growth_of_ten_percent_a_week_is_found():
    trend = hs.track_usage_engagement(growing(1.1), "a", "2025-03-10", "2025-04-09").usage_trends
    assert trend.trend_direction == "increasing" and trend.weekly_growth_rate == pytest.approx(
        0.095, abs=0.015
    )
    assert trend.weeks == 12 and trend.growth_interval.lower > 0


def test_a_fall_is_decreasing_and_a_flat_series_stable():
    fall, flat = (
        hs.track_usage_engagement(growing(rate), "a", "2025-03-10", "2025-04-09").usage_trends
        for rate in (0.9, 1.0)
    )
    assert (fall.trend_direction, flat.trend_direction, flat.usage_velocity) == (
        "decreasing",
        "stable",
        "steady",
    )


def test_weeks_that_differ_too_much_are_not_called_stable():
    counts = [0, 9, 0, 40, 1, 30, 0, 25, 2, 60, 0, 50, 3, 0]
    rows = []
    for week, count in enumerate(counts):
        day = pd.Timestamp("2025-01-01") + pd.Timedelta(days=7 * week)
        rows += [("a", f"{day:%Y-%m-%d} {hour % 24:02d}:00:00", "u1") for hour in range(count)]
    last = pd.Timestamp("2025-01-01") + pd.Timedelta(days=7 * len(counts) - 1)
    customers = pd.DataFrame({"client_id": ["a"], "signup_date": ["2024-01-01"]})
    portfolio = tiny_portfolio(rows, customers, {"data_until": f"{last:%Y-%m-%d}"})
    usage = hs.track_usage_engagement(portfolio, "a")
    trends = usage.usage_trends
    assert trends.trend_direction == "stable" and trends.growth_interval.upper > 0.1
    assert trends.statement == "Usage shows no clear trend"
    assert "own baseline" in usage.course and usage.course[1:] in usage.verdict()
    assert usage.charts()["trend"].usermeta["title"].startswith(usage.course)


def test_a_champion_who_stops_is_an_alert_and_a_rare_visitor_who_does_is_none():
    thrice = pd.date_range("2025-01-01", "2025-06-30", freq="8h")
    rest = [at(day.date(), user=f"u{number % 4}") for number, day in enumerate(thrice)]
    champion = range_of("2025-01-01", "2025-05-20", user="champion", hour=10) + range_of(
        "2025-01-01", "2025-05-20", user="champion", hour=15
    )
    response = hs.track_usage_engagement(
        tiny_portfolio([*rest, *champion]), "a", "2025-06-01", "2025-07-01"
    )
    assert response.dependence.champion_departed and "champion_departed" in [
        alert.type for alert in response.alerts
    ]
    rare = [
        at(day.date(), user="rare") for day in pd.date_range("2025-01-01", "2025-05-20", freq="7D")
    ]
    other = [
        at(day.date(), user="b") for day in pd.date_range("2025-01-01", "2025-06-30", freq="9D")
    ]
    few = tiny_portfolio([*rare, *other])
    assert (
        hs.track_usage_engagement(few, "a", "2025-06-01", "2025-07-01").dependence.champion_departed
        is False
    )
