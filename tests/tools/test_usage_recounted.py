"""Active users, sessions, stickiness and retention equal a plain recount of the events, on three portfolios."""

from __future__ import annotations

import datetime as dt
import os
import statistics
from pathlib import Path

import pandas as pd
import pytest

import healthseg as hs
from healthseg.settings import trust
from tests.metrics import plain, plain_people, plain_usage
from tests.metrics.plain_usage import DAY, Plain, days_of, users_of

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
SHARED = Path(os.environ.get("HEALTHSEG_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
CASES = [("demo", 30, 3), ("oulad", 60, 3), ("socialnet", 30, 2)]


@pytest.fixture(scope="module")
def open_portfolio(demo):
    def opened(name):
        if name == "demo":
            return demo
        mapping = REPOSITORY / "data" / "mappings" / name / "portfolio.toml"
        if not (SHARED / name).is_dir() or not mapping.is_file():
            pytest.skip(f"{name} is not at {SHARED}")
        trust.trust([mapping])  # it names a folder beside the checkout
        return hs.Portfolio.open(mapping)

    return opened


@pytest.mark.parametrize(("name", "days", "count"), CASES)
def test_the_figures_equal_a_plain_recount_of_the_events(open_portfolio, name, days, count):
    portfolio = open_portfolio(name)
    customers = portfolio.table("customers")
    live = customers[customers["churned_on"].isna()] if "churned_on" in customers else customers
    chosen = live["client_id"].tolist()[5 : 5 + 3 * count : 3]
    recount = plain_portfolio(portfolio, chosen)
    for client in chosen:
        end = portfolio.data_until + DAY
        response = hs.track_usage_engagement(portfolio, client, end - days * DAY, end)
        check(response, recount, client)


def plain_portfolio(portfolio: hs.Portfolio, chosen: list[str]) -> Plain:
    """The chosen customers, tracked since the portfolio's first day; days where no moment is known."""
    names = [name for name in ("customers", "users", "events") if portfolio.has(name)]
    tables = {name: portfolio.table(name) for name in names}
    tables = {name: rows[rows["client_id"].isin(chosen)] for name, rows in tables.items()}
    moments = pd.to_datetime(tables["events"]["occurred_at"])
    if (moments.dt.normalize() == moments).all():
        tables["events"] = tables["events"].assign(occurred_at=moments.dt.date)
    recount = Plain(tables, portfolio.data_until)
    recount.first_day = portfolio.first_event_day
    return recount


def check(response, recount: Plain, client: str) -> None:
    period, metrics, usage = (
        response.analysis_period,
        response.engagement_metrics,
        response.usage_analytics,
    )
    exact = response.frame("metrics").iloc[0]
    start, end = period.effective_start, period.effective_end

    def counted(name: str) -> float:
        return plain.metric(recount, name, client, start, end)

    def active_users(since: dt.date, until: dt.date) -> int:
        return len(users_of(recount.person(client, since, until)))

    daily = [active_users(day, day + DAY) for day in days_of(start, end)]
    assert exact["daily_active_users"] == pytest.approx(statistics.fmean(daily), abs=1e-12)
    assert metrics.weekly_active_users == active_users(end - 7 * DAY, end)
    assert metrics.monthly_active_users == active_users(end - 30 * DAY, end)
    assert metrics.active_users == active_users(start, end)
    assert usage.person_events == counted("person_events")
    assert usage.api_calls_count == counted("api_events")
    assert usage.unique_features_used == counted("unique_features_used")
    assert metrics.stickiness == pytest.approx(counted("stickiness"), abs=5e-5)
    assert response_retention(response) == retention(recount, client, end)
    if not plain_usage.timed(recount, end):
        assert usage.total_sessions is None
        assert "$.usage_analytics.total_sessions" in response.not_measured
        return
    assert usage.total_sessions == counted("sessions")
    assert exact["average_session_minutes"] == pytest.approx(
        counted("average_session_minutes"), abs=1e-9
    )
    starts = [dt.date.fromisoformat(row["start"]) for row in response.series]
    assert [row["active_users"] for row in response.series] == [
        active_users(day, day + DAY) for day in starts
    ]


def response_retention(response) -> dict[tuple[dt.date, int], tuple[int, float | None]]:
    return {
        (cohort.cohort_start, week): (cohort.users, share)
        for cohort in response.user_retention
        for week, share in enumerate(cohort.retained)
    }


def retention(
    recount: Plain, client: str, end: dt.date, weeks: int = 12
) -> dict[tuple[dt.date, int], tuple[int, float | None]]:
    """(cohort's first day, week) → users, and the share active in that week (None while it lasts)."""
    first_days = {
        user: first
        for user, first in plain_people.firsts(recount, client).items()
        if plain_people.truly_new(recount, client, user, first)
    }
    active = {(event.user, event.day) for event in recount.events[client] if event.person}
    shares = {}
    for back in range(weeks, 0, -1):
        start = end - 7 * back * DAY
        users = [user for user, day in first_days.items() if start <= day < start + 7 * DAY]
        if not users or start < recount.first_day:
            continue
        for week in range(back):
            retained = [
                any(
                    (user, first_days[user] + day * DAY) in active
                    for day in range(7 * week, 7 * week + 7)
                )
                for user in users
            ]
            is_over = start + (6 + 7 * week + 6) * DAY < end
            share = round(statistics.fmean(retained), 4) if is_over else None
            shares[start, week] = (len(users), share)
    return shares
