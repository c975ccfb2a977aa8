"""The portfolio's usage: totals, who breaks away, idle seats, single users, users who come and go."""

from __future__ import annotations

import pandas as pd
import pytest

import healthseg as hs
from healthseg.errors import InvalidParameters
from healthseg.metrics import panels as panel
from healthseg.testing import tiny_portfolio
from healthseg.tools import portfolio_usage


@pytest.fixture(scope="module")
def usage_portfolio(demo):
    return portfolio_usage(demo)


def test_totals_are_the_sums_of_the_panel(demo, usage_portfolio):
    rows = panel.panel(demo, [demo.data_until])
    live = rows[rows["live"]]
    assert usage_portfolio.total_customers == len(live) == len(usage_portfolio.customers)
    assert usage_portfolio.monthly_active_users == live["monthly_active_users"].sum()
    assert usage_portfolio.weekly_active_users == live["weekly_active_users"].sum()
    assert sum(usage_portfolio.excluded.values()) + usage_portfolio.total_customers == len(
        demo.table("customers")
    )


def test_utilisation_is_of_the_customers_whose_seats_are_known(demo, usage_portfolio):
    table = usage_portfolio.frame("customers").dropna(subset="seats")
    assert usage_portfolio.customers_with_seats == len(table)
    share = table["monthly_active_users"].sum() / table["seats"].sum()
    assert usage_portfolio.seat_utilisation == pytest.approx(share, abs=1e-4)
    assert usage_portfolio.frame("utilisation")["customers"].sum() == len(table)


def test_users_are_as_many_in_the_growth_accounting_as_in_the_totals(usage_portfolio):
    """Of accounts in the west the last days are a day earlier, and users of a churned customer are gone."""
    growth = usage_portfolio.growth_accounting
    assert growth.period.active_users == usage_portfolio.monthly_active_users
    assert growth.weeks[-1].active_users == usage_portfolio.weekly_active_users


def test_users_of_a_customer_that_churned_are_lost_in_the_week_in_which_it_did():
    days = pd.date_range("2025-03-03", "2025-04-13")
    events = [(client, f"{day:%Y-%m-%d} 09:00", client) for client in ("a", "b") for day in days]
    customers = pd.DataFrame(
        {"client_id": ["a", "b"], "signup_date": "2024-01-01", "churned_on": [None, "2025-04-09"]}
    )
    weeks = portfolio_usage(tiny_portfolio(events, customers)).growth_accounting.weeks
    assert [(week.active_users, week.dormant_users) for week in weeks[-2:]] == [(2, 0), (1, 1)]


def test_growth_accounting_of_the_portfolio_adds_up(usage_portfolio):
    for week in usage_portfolio.growth_accounting.weeks:
        assert week.active_users == week.new_users + week.returning_users + week.resurrected_users


def test_retention_cells_are_shares_or_blank(usage_portfolio):
    for cohort in usage_portfolio.user_retention:
        assert cohort.users > 0 and cohort.retained[-1] is None
        assert all(share is None or 0 <= share <= 1 for share in cohort.retained)


def steady(client, start, end, users=("u1", "u2")):
    return [
        (client, f"{day.date()} 09:00:00", user)
        for day in pd.date_range(start, end)
        for user in users
    ]


def test_the_customer_whose_usage_falls_while_the_others_hold_breaks_away():
    events = [row for at in range(10) for row in steady(f"c{at}", "2025-01-01", "2025-06-30")]
    events += steady("fallen", "2025-01-01", "2025-06-05")
    events += [("fallen", f"2025-06-{day:02d} 09:00:00", "u1") for day in (10, 29)]
    response = portfolio_usage(tiny_portfolio(events))
    assert [row["client_id"] for row in response.breaking_away] == ["fallen"]
    assert response.median_usage_ratio == 1.0
    assert [row["client_id"] for row in response.single_user_customers] == []


def test_seats_in_use_are_the_users_of_the_customers_whose_seats_are_known():
    """Two users of a's four seats; the seats of b are not known, so its user is in use of none."""
    events = [*steady("a", "2025-03-01", "2025-06-30"), *steady("b", "2025-03-01", "2025-06-30")]
    customers = pd.DataFrame(
        {"client_id": ["a", "b"], "signup_date": "2024-01-01", "seats": [4, None]}
    )
    response = portfolio_usage(tiny_portfolio(events, customers))
    assert (response.monthly_active_users, response.customers_with_seats) == (4, 1)
    assert (response.seats_in_use, response.licensed_seats) == (2, 4)
    assert response.verdict().startswith("4 users active in 30 days; 50% of 4 paid seats in use;")
    assert response.seat_utilisation == 0.5


def test_a_customer_on_a_single_user_is_listed_with_its_arr():
    events = [
        *steady("one", "2025-01-01", "2025-06-30", users=("u1",)),
        *steady("two", "2025-01-01", "2025-06-30"),
    ]
    contracts = pd.DataFrame(
        {
            "client_id": ["one", "two"],
            "starts_on": "2025-01-01",
            "ends_on": "2026-01-01",
            "arr": [5000, 9000],
            "seats": [10, 2],
            "currency": "EUR",
        }
    )
    response = portfolio_usage(tiny_portfolio(events, contracts=contracts))
    assert [(row["client_id"], row["arr"]) for row in response.single_user_customers] == [
        ("one", 5000)
    ]
    assert (response.single_user_arr, response.currency, response.licensed_seats) == (
        5000.0,
        "EUR",
        12,
    )
    assert [row["client_id"] for row in response.idle_seats] == [
        "one"
    ] and response.seat_utilisation == 0.25
    (action,) = response.next_actions
    assert (action.client_id, action.topic, action.arr) == ("one", "seats", 5000)


def test_arr_in_several_currencies_is_not_added_up():
    events = [
        *steady("one", "2025-01-01", "2025-06-30", users=("u1",)),
        *steady("two", "2025-01-01", "2025-06-30"),
    ]
    contracts = pd.DataFrame(
        {
            "client_id": ["one", "two"],
            "starts_on": "2025-01-01",
            "ends_on": "2026-01-01",
            "arr": [5000, 9000],
            "currency": ["EUR", "USD"],
        }
    )
    response = portfolio_usage(tiny_portfolio(events, contracts=contracts))
    assert response.single_user_arr is None and "several currencies" in response.warnings[0]
    fx = pd.DataFrame({"currency": ["USD", "EUR"], "on": "2025-01-01", "rate_to_book": [0.5, 1.0]})
    rated = portfolio_usage(tiny_portfolio(events, contracts=contracts, fx=fx))
    arr = rated.frame("customers").set_index("client_id")["arr"]
    assert (arr.to_dict(), rated.currency, rated.warnings) == (
        {"one": 5000, "two": 4500},
        "EUR",
        [],
    )


def test_a_tiny_portfolio_says_what_it_cannot_know():
    response = portfolio_usage(
        tiny_portfolio([("a", "2025-03-03 09:00", "u1"), ("a", "2025-03-04 09:00", "u2")])
    )
    assert (
        response.usage_trends.trend_direction is None and "$.usage_trends" in response.not_measured
    )
    assert response.seat_utilisation is None and "$.seat_utilisation" in response.not_measured
    assert response.activity_heatmap.peak_days is None


def test_a_look_back_outside_of_its_range_is_refused(demo):
    with pytest.raises(InvalidParameters, match="7"):
        portfolio_usage(demo, lookback_period_days=3)


def test_customers_without_seats_have_peers_west_of_greenwich_too():
    """There the last whole day is the day before the portfolio's."""
    days = pd.date_range("2025-01-01", "2025-03-31").strftime("%Y-%m-%d 20:00:00")
    clients = [f"c{number}" for number in range(9)]
    events = [(client, day, f"{client}-u") for client in clients for day in days]
    customers = pd.DataFrame(
        {"client_id": clients, "signup_date": "2024-01-01", "timezone": "America/Los_Angeles"}
    )
    users = pd.DataFrame(
        {"user_id": [f"{client}-u" for client in clients], "client_id": clients}
    ).assign(created_at="2024-01-01")
    usage = hs.track_usage_engagement(tiny_portfolio(events, customers, users=users), "c0")
    assert usage.benchmark_insights.metric == "wau_per_user" and usage.benchmark_insights.peers == 8


def test_a_new_customer_that_still_gives_out_its_seats_has_none_idle():
    """Both use two of ten seats; b began three weeks ago."""
    events = [*steady("a", "2025-03-01", "2025-06-30"), *steady("b", "2025-06-10", "2025-06-30")]
    customers = pd.DataFrame(
        {"client_id": ["a", "b"], "signup_date": ["2024-01-01", "2025-06-10"], "seats": [10, 10]}
    )
    response = portfolio_usage(tiny_portfolio(events, customers))
    assert [row["client_id"] for row in response.idle_seats] == ["a"]
    assert response.licensed_seats == 20
