"""Children counted in their parents: ARR adds up, the score is weighted by it, the worst child is named."""

from __future__ import annotations

import pandas as pd
import pytest

import healthseg as hs
from healthseg.metrics.families import rolled_up
from healthseg.testing import tiny_portfolio
from tests.metrics.test_contracts import LAST, frame, portfolio_of

CUSTOMERS = frame(
    "client_id signup_date parent_id name arr seats",
    ("hq", "2023-01-01", None, "Head Office", 500, 5),
    ("east", "2023-01-01", "hq", "East", 300, 3),
    ("far_east", "2023-01-01", "east", "Far East", 200, 2),
    ("orphan", "2023-01-01", "unknown", "Orphan", 40, 1),
    ("ring_a", "2023-01-01", "ring_b", "Ring A", 10, 1),
    ("ring_b", "2023-01-01", "ring_a", "Ring B", 20, 1),
    ("pulse", "2023-01-01", None, "Pulse", 1, 1),
)


def rows_of(scores: dict[str, float]) -> pd.DataFrame:
    known = CUSTOMERS.set_index("client_id").reindex(list(scores))
    return pd.DataFrame(
        {
            "arr": known["arr"].astype(float),
            "currency": None,
            "seats": known["seats"].astype(float),
            "monthly_active_users": 2.0,
            "seat_utilisation": 0.1,
            "tier": "x",
            "shown": pd.Series(scores, dtype=float),
        }
    )


def test_a_family_has_the_sum_the_weighted_score_and_its_worst_child():
    portfolio = portfolio_of({"roll_up_children": True}, customers=CUSTOMERS)
    scores = {
        "hq": 90.0,
        "east": 60.0,
        "far_east": 30.0,
        "orphan": 70.0,
        "ring_a": 50.0,
        "ring_b": 80.0,
    }
    rows = rolled_up(portfolio, rows_of(scores), LAST, LAST)
    hq = rows.loc["hq"]
    assert sorted(rows.index) == ["hq", "orphan", "ring_a"]
    assert (hq["arr"], hq["seats"], hq["children"]) == (1_000, 10, 2)
    assert hq["shown"] == (500 * 90 + 300 * 60 + 200 * 30) / 1_000
    assert (hq["worst_child"], hq["worst_child_score"]) == ("far_east", 30)
    assert hq["seat_utilisation"] == pytest.approx(6 / 10)
    assert rows.loc["orphan", "arr"] == 40 and rows.loc["ring_a", "arr"] == 30


def test_what_is_unknown_of_a_part_is_unknown_of_the_family_and_ratios_follow_the_sums():
    portfolio = portfolio_of({"roll_up_children": True}, customers=CUSTOMERS)
    rows = rows_of({"hq": 90.0, "east": 60.0, "ring_a": 50.0, "ring_b": 80.0})
    rows = rows.assign(weekly_active_users=1.0, weekly_active_users_per_seat=9.0)
    rows.loc["east", "seats"] = None
    rows.loc["ring_b", "weekly_active_users"] = None
    family = rolled_up(portfolio, rows, LAST, LAST)
    unknown = family.isna()
    assert unknown.loc["hq", ["seats", "seat_utilisation", "weekly_active_users_per_seat"]].all()
    assert family.loc["hq", "monthly_active_users"] == 4 and family.loc["hq", "arr"] == 800
    assert family.loc["ring_a", "seat_utilisation"] == 4 / 2
    assert unknown.loc["ring_a", "weekly_active_users_per_seat"]


def test_without_the_setting_every_account_counts_by_itself():
    portfolio = portfolio_of(customers=CUSTOMERS)
    rows = rows_of({"hq": 90.0, "east": 60.0})
    assert rolled_up(portfolio, rows, LAST, LAST) is rows


@pytest.mark.slow
def test_the_tools_count_a_family_once_and_add_up_to_the_same_arr():
    events = [
        (client, f"2025-10-{day:02d} 09:00:00", "u")
        for client in CUSTOMERS["client_id"]
        for day in range(1, 32)
    ]
    results = {
        roll_up: hs.portfolio_tiers(
            tiny_portfolio(events, CUSTOMERS, {"roll_up_children": roll_up})
        )
        for roll_up in (False, True)
    }
    assert [result.total_customers for result in results.values()] == [7, 4]
    assert results[True].total_arr == results[False].total_arr == 1_071
    assert "3 accounts are counted in their parents" in results[True].warnings[0]
    health = hs.portfolio_health(tiny_portfolio(events, CUSTOMERS, {"roll_up_children": True}))
    (family,) = [row for row in health.customers if row["client_id"] == "hq"]
    assert family["arr"] == 1_000 and "with 2 accounts, the worst" in family["reason"]
