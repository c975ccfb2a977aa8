"""The book's usage: totals, who breaks away, idle seats, single users, users who come and go."""

from __future__ import annotations

import pandas as pd
import pytest

from healthseg.errors import InvalidParameters
from healthseg.measures import panel
from healthseg.testing import tiny_book
from healthseg.tools import track_usage_engagement_book


@pytest.fixture(scope="module")
def usage_book(demo):
    return track_usage_engagement_book(demo)


def test_totals_are_the_sums_of_the_panel(demo, usage_book):
    rows = panel.panel(demo, [demo.data_until])
    live = rows[rows["live"]]
    assert usage_book.total_customers == len(live) == len(usage_book.customers)
    assert usage_book.monthly_active_users == live["monthly_active_users"].sum()
    assert usage_book.weekly_active_users == live["weekly_active_users"].sum()
    assert sum(usage_book.excluded.values()) + usage_book.total_customers == len(
        demo.table("customers")
    )


def test_utilisation_is_of_the_customers_whose_seats_are_known(demo, usage_book):
    table = usage_book.frame("customers").dropna(subset="seats")
    assert usage_book.customers_with_seats == len(table)
    share = table["monthly_active_users"].sum() / table["seats"].sum()
    assert usage_book.seat_utilisation == pytest.approx(share, abs=1e-4)
    assert usage_book.frame("utilisation")["customers"].sum() == len(table)


def test_growth_accounting_of_the_book_adds_up(usage_book):
    for week in usage_book.growth_accounting.weeks:
        assert week.active_users == week.new_users + week.returning_users + week.resurrected_users


def test_retention_cells_are_shares_or_blank(usage_book):
    for cohort in usage_book.user_retention:
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
    reply = track_usage_engagement_book(tiny_book(events))
    assert [row["client_id"] for row in reply.breaking_away] == ["fallen"]
    assert reply.median_usage_ratio == 1.0
    assert [row["client_id"] for row in reply.single_user_customers] == []


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
    reply = track_usage_engagement_book(tiny_book(events, contracts=contracts))
    assert [(row["client_id"], row["arr"]) for row in reply.single_user_customers] == [
        ("one", 5000)
    ]
    assert (reply.single_user_arr, reply.currency, reply.licensed_seats) == (5000.0, "EUR", 12)
    assert [row["client_id"] for row in reply.idle_seats] == [
        "one"
    ] and reply.seat_utilisation == 0.25


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
    reply = track_usage_engagement_book(tiny_book(events, contracts=contracts))
    assert reply.single_user_arr is None and "several currencies" in reply.warnings[0]


def test_a_tiny_book_says_what_it_cannot_know():
    reply = track_usage_engagement_book(
        tiny_book([("a", "2025-03-03 09:00", "u1"), ("a", "2025-03-04 09:00", "u2")])
    )
    assert reply.usage_trends.trend_direction is None and "$.usage_trends" in reply.not_measured
    assert reply.seat_utilisation is None and "$.seat_utilisation" in reply.not_measured
    assert reply.activity_heatmap.peak_days is None


def test_a_look_back_outside_of_its_range_is_refused(demo):
    with pytest.raises(InvalidParameters, match="7"):
        track_usage_engagement_book(demo, lookback_period_days=3)
