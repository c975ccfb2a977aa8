"""Active users, sessions, stickiness and retention equal a plain recount of the events, on three portfolios."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest

import healthseg as hs
from tests.tools.usage_plain import PlainUsage, response_retention

REPOSITORY = Path(__file__).parents[2]
SHARED = Path(os.environ.get("HEALTHSEG_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
DAY = dt.timedelta(days=1)
CASES = [("demo", 30, 3), ("oulad", 60, 3), ("socialnet", 30, 2)]


@pytest.fixture(scope="module")
def open_portfolio(demo):
    def opened(name):
        if name == "demo":
            return demo
        mapping = REPOSITORY / "data" / "mappings" / name / "portfolio.toml"
        if not (SHARED / name).is_dir() or not mapping.is_file():
            pytest.skip(f"{name} is not at {SHARED}")
        return hs.Portfolio.open(mapping)

    return opened


@pytest.mark.parametrize(("name", "days", "many"), CASES)
def test_the_figures_equal_a_plain_recount_of_the_events(open_portfolio, name, days, many):
    portfolio = open_portfolio(name)
    users, events = portfolio.table("customers"), portfolio.table("events")
    live = users[users["churned_on"].isna()] if "churned_on" in users else users
    chosen = live["client_id"].tolist()[5 : 5 + 3 * many : 3]
    events = events[events["client_id"].isin(chosen)]
    for client in chosen:
        end = portfolio.data_until + DAY
        response = hs.track_usage_engagement(portfolio, client, end - days * DAY, end)
        check(response, PlainUsage(portfolio, client, events))


def check(response, plain):
    period, figures, counted = (
        response.analysis_period,
        response.engagement_metrics,
        response.usage_analytics,
    )
    exact = response.frame("metrics").iloc[0]
    start, end = period.effective_start, period.effective_end
    assert exact["daily_active_users"] == pytest.approx(
        plain.daily_active_users(start, end), abs=1e-12
    )
    assert figures.weekly_active_users == len(plain.users(end - 7 * DAY, end))
    assert figures.monthly_active_users == len(plain.users(end - 30 * DAY, end))
    assert figures.active_users == len(plain.users(start, end))
    assert counted.person_events == plain.within(start, end)["n"].sum()
    assert counted.api_calls_count == plain.within(start, end, plain.api)["n"].sum()
    assert counted.unique_features_used == plain.within(start, end)["feature"].nunique()
    assert figures.stickiness == pytest.approx(plain.stickiness(start, end), abs=5e-5)
    assert response_retention(response) == {
        key: (users, None if share is None else round(share, 4))
        for key, (users, share) in plain.retention(end).items()
    }
    if not plain.timed:
        assert (
            counted.total_sessions is None
            and "$.usage_analytics.total_sessions" in response.not_measured
        )
        return
    sessions = plain.sessions(start, end)
    assert counted.total_sessions == len(sessions)
    assert exact["average_session_minutes"] == pytest.approx(
        sum(sessions) / len(sessions) / 60, abs=1e-9
    )
    series = [row["active_users"] for row in response.series]
    assert series == [
        len(plain.users(day, day + DAY))
        for day in map(lambda row: dt.date.fromisoformat(row["start"]), response.series)
    ]
