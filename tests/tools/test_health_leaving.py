"""Who has left, by whichever table says so; notice; contracts that roll on."""

from __future__ import annotations

import datetime as dt
import itertools

import pandas as pd
import pytest

import healthseg as hs
from healthseg.metrics.panels import build
from healthseg.testing import tiny_portfolio

DAILY = [
    ("a", f"2025-{month:02d}-{day:02d} 09:00", "u1") for month in (1, 2, 3) for day in range(1, 29)
]
PEER = [("b", "2025-03-28 10:00", "u2")]


def test_a_customer_whose_arr_ended_has_left_on_that_day() -> None:
    changes = pd.DataFrame(
        {"client_id": ["a", "a"], "effective_on": ["2025-01-01", "2025-03-01"], "arr": [100, 0]}
    )
    health = hs.calculate_health_score(tiny_portfolio(DAILY + PEER, arr_changes=changes), "a")
    assert (health.status, health.change_explanation.to_date) == ("churned", dt.date(2025, 2, 28))


def test_a_customer_that_never_paid_has_not_left() -> None:
    changes = pd.DataFrame({"client_id": ["a"], "effective_on": ["2025-01-01"], "arr": [0]})
    assert (
        hs.calculate_health_score(tiny_portfolio(DAILY + PEER, arr_changes=changes), "a").status
        == "live"
    )


def test_a_customer_whose_last_stage_is_churned_has_left_and_one_won_back_has_not() -> None:
    stages = pd.DataFrame(
        {
            "client_id": ["a", "b", "b"],
            "stage": ["churned", "churned", "active"],
            "effective_at": ["2025-03-10", "2025-02-01", "2025-03-01"],
        }
    )
    portfolio = tiny_portfolio(DAILY + PEER, stage_changes=stages)
    assert hs.calculate_health_score(portfolio, "a").status == "churned"
    assert hs.calculate_health_score(portfolio, "b").status == "live"


def test_a_portfolio_that_knows_of_no_leaving_gives_no_rate() -> None:
    prediction = hs.calculate_health_score(tiny_portfolio(DAILY + PEER), "a").churn_prediction
    assert prediction.churn_probability is None
    assert "no churn dates" in prediction.reason


def test_notice_is_the_first_thing_that_a_reader_is_told() -> None:
    customers = pd.DataFrame(
        {"client_id": ["a", "b"], "signup_date": "2024-01-01", "notice_on": ["2025-03-27", None]}
    )
    health = hs.calculate_health_score(tiny_portfolio(DAILY + PEER, customers), "a")
    assert health.risk_indicators[0] == "Notice was given 1 day ago"
    assert health.alerts[0].rule == "notice_given"
    assert not hs.calculate_health_score(
        tiny_portfolio(DAILY + PEER, customers), "a", as_of="2025-03-26"
    ).risk_indicators


@pytest.mark.parametrize(("ends", "days"), [("2025-04-01", None), ("2026-03-01", 338)])
def test_a_contract_of_a_month_rolls_on_and_one_of_a_year_renews(
    ends: str, days: int | None
) -> None:
    contracts = pd.DataFrame(
        {"client_id": ["a"], "starts_on": ["2025-03-01"], "ends_on": [ends], "arr": [1200]}
    )
    health = hs.calculate_health_score(tiny_portfolio(DAILY, contracts=contracts), "a")
    assert health.customer.days_to_renewal == days


@pytest.mark.slow
def test_an_alert_that_never_ends_is_raised_once_in_every_cooldown() -> None:
    others = [
        ("b", f"2025-0{month}-{day} 10:00", "u2") for month in (1, 2, 3) for day in (10, 24, 28)
    ]
    silent = tiny_portfolio([("a", "2025-01-01 09:00", "u1"), *others])
    raised = [
        day
        for day in range(1, 29)
        if "inactive"
        in [
            alert.rule
            for alert in hs.calculate_health_score(
                silent,
                "a",
                as_of=f"2025-03-{day:02d}",
                include_predictions=False,
                alert_preferences={"cooldown_days": 6},
            ).alerts
        ]
    ]
    assert [late - early for early, late in itertools.pairwise(raised)] == [7, 7, 7]


def test_a_date_before_the_leaving_is_not_changed_by_it() -> None:
    changes = pd.DataFrame(
        {"client_id": ["a", "a"], "effective_on": ["2025-01-01", "2025-03-01"], "arr": [100, 0]}
    )
    then, later = (
        tiny_portfolio(DAILY + PEER, arr_changes=changes[:1]),
        tiny_portfolio(DAILY + PEER, arr_changes=changes),
    )
    rows = [
        build(portfolio, [dt.date(2025, 2, 20)], ["a"]).drop(columns="date")
        for portfolio in (then, later)
    ]
    pd.testing.assert_frame_equal(*rows)
