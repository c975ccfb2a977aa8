"""The portfolio's response: everyone is somewhere, sums agree, and the order is that of what is at stake."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from healthseg.settings import BANDS
from healthseg.testing import tiny_portfolio
from healthseg.tools import portfolio_health


def test_every_customer_is_live_or_left_out_for_a_stated_reason(demo, health_portfolio):
    listed = health_portfolio.frame("customers")["client_id"]
    assert listed.is_unique and len(listed) == health_portfolio.total_customers
    assert health_portfolio.total_customers + sum(health_portfolio.excluded.values()) == len(
        demo.table("customers")
    )
    left = pd.to_datetime(demo.table("customers")["churned_on"]) <= pd.Timestamp(
        health_portfolio.as_of
    )
    assert (
        health_portfolio.excluded["churned"] == left.sum() > 10
        and health_portfolio.total_customers > 30
    )
    assert (
        health_portfolio.scored_customers
        == sum(health_portfolio.bands.values())
        <= health_portfolio.total_customers
    )


def test_customers_that_have_not_begun_or_are_prospects_are_counted_apart(daily_events):
    ids = ["a", "b", "c", "d"]
    customers = pd.DataFrame(
        {
            "client_id": ids,
            "signup_date": ["2024-01-01", "2025-03-01", "2024-01-01", "2024-01-01"],
            "churned_on": [None, None, "2025-01-20", None],
        }
    )
    stages = pd.DataFrame(
        {"client_id": ["d"], "stage": ["prospect"], "effective_at": ["2024-01-01"]}
    )
    events = [
        event for client in ids for event in daily_events(client, "2025-01-01", "2025-03-15", "u")
    ]
    portfolio = portfolio_health(
        tiny_portfolio(events, customers, stage_changes=stages), as_of="2025-02-15"
    )
    assert [row["client_id"] for row in portfolio.customers] == ["a"]
    assert portfolio.excluded == {"churned": 1, "not_started": 1, "prospect": 1}


def test_each_customers_figures_are_those_of_its_own_response(health_portfolio, response):
    for row in health_portfolio.customers:
        own = response(row["client_id"])
        assert (row["score"], row["band"], row["change"], row["trend"], row["risk_level"]) == (
            own.current_health_score,
            own.band,
            own.score_change,
            own.health_trend,
            own.risk_level,
        )
        assert (row["tier"], row["arr"], row["days_to_renewal"]) == (
            own.customer.tier,
            own.customer.arr,
            own.customer.days_to_renewal,
        )
        assert (
            row["coverage"] == own.coverage and round(row["lower"], 1) == own.possible_range.lower
        )


def test_money_by_band_adds_up_to_the_whole(health_portfolio):
    table = health_portfolio.frame("customers")
    assert (
        health_portfolio.currency == "EUR"
        and health_portfolio.total_arr == round(table["arr"].sum(), 2) > 0
    )
    assert sum(health_portfolio.arr_by_band.values()) == pytest.approx(
        table.loc[table["score"].notna(), "arr"].sum()
    )
    assert health_portfolio.total_arr_by_currency == {"EUR": health_portfolio.total_arr}
    below = table[table["score"] < 60]
    assert (health_portfolio.at_risk_customers, health_portfolio.at_risk_arr) == (
        len(below),
        round(below["arr"].sum(), 2),
    )


def test_those_with_most_at_stake_come_first_and_those_without_a_score_last(health_portfolio):
    table = health_portfolio.frame("customers")
    scored = table["score"].notna().to_numpy()
    assert (np.diff(scored.astype(int)) <= 0).all()
    stake = table.loc[scored, "at_stake"].dropna().to_numpy()
    assert len(stake) > 30 and (np.diff(stake) <= 0).all()
    assert health_portfolio.at_stake == pytest.approx(stake.sum(), abs=0.01)


def test_a_withheld_score_is_unknown_and_never_healthy(daily_events):
    events = [
        *daily_events("a", "2025-01-01", "2025-05-01", "u"),
        ("b", "2025-01-01 09:00:00", "u"),
    ]
    customers = pd.DataFrame(
        {"client_id": ["a", "b"], "signup_date": "2024-01-01", "arr": [1000, 90000]}
    )
    portfolio = portfolio_health(tiny_portfolio(events, customers))
    assert [row["client_id"] for row in portfolio.customers] == ["a", "b"]
    assert portfolio.customers[1]["score"] is None and portfolio.customers[1]["band"] is None
    assert portfolio.customers[1]["reason"] == "No active user for 120 days"
    assert (
        sum(portfolio.bands.values()) == portfolio.scored_customers == 1
        and portfolio.total_customers == 2
    )
    why = portfolio.not_measured["$.customers[*].score"]
    assert why.startswith("1 customer has no score, because too little is known of it")
    unknown = portfolio.frame("bands").loc[lambda rows: rows["band"] == "unknown"]
    assert unknown["customers"].iloc[-1] == 1


def test_movers_moved_by_what_is_said_and_for_a_reason_that_their_own_response_has(
    health_portfolio, response
):
    up, down = health_portfolio.movers_up, health_portfolio.movers_down
    assert [row["change"] for row in up] == sorted((row["change"] for row in up), reverse=True)
    assert [row["change"] for row in down] == sorted(row["change"] for row in down)
    assert min(row["change"] for row in up) > 0 > max(row["change"] for row in down)
    for row in [*up, *down]:
        own = response(row["client_id"])
        assert own.score_change == row["change"]
        parts = [part for part in own.change_explanation.parts if part.kind != "rounding"]
        largest = max(parts, key=lambda part: part.points * np.sign(row["change"]))
        assert f"({largest.points:+.1f})" in row["reason"].split("; ")[0]


def test_score_and_money_disagree_only_where_they_do(daily_events):
    events = [
        event for client in "ab" for event in daily_events(client, "2025-01-01", "2025-05-01", "u")
    ]
    events += [
        event for client in "cd" for event in daily_events(client, "2025-01-01", "2025-04-01", "u")
    ]
    moves = [("a", 1000, 800), ("b", 1000, 1200), ("c", 1000, 900), ("d", 1000, 1500)]
    changes = pd.DataFrame(
        [
            (client, day, arr)
            for client, then, now in moves
            for day, arr in (("2024-06-01", then), ("2025-04-01", now))
        ],
        columns=["client_id", "effective_on", "arr"],
    )
    portfolio = portfolio_health(tiny_portfolio(events, arr_changes=changes))
    scores = {row["client_id"]: row["score"] for row in portfolio.customers}
    assert min(scores["a"], scores["b"]) >= 60 > max(scores["c"], scores["d"])
    assert [
        (row["client_id"], row["kind"], row["arr_change"]) for row in portfolio.disagreements
    ] == [
        ("a", "healthy_but_shrinking", -200),
        ("d", "unhealthy_but_growing", 500),
    ]
    assert (
        portfolio.disagreements[0]["reason"]
        == f"Score {scores['a']}, but ARR fell by 20% in 90 days"
    )


def test_the_bands_over_time_hold_every_live_customer_of_their_day(demo, health_portfolio):
    bands = health_portfolio.frame("bands")
    customers = demo.table("customers")
    signup, left = pd.to_datetime(customers["signup_date"]), pd.to_datetime(customers["churned_on"])
    for date, rows in bands.groupby("date"):
        assert rows["customers"].sum() == ((signup <= date) & ~(left <= date)).sum()
    today = bands[bands["date"] == bands["date"].max()].set_index("band")["customers"]
    assert today.reindex(BANDS, fill_value=0).to_dict() == health_portfolio.bands
    assert bands["date"].nunique() == 54
    arr = bands[bands["date"] == bands["date"].max()].set_index("band")["arr"]
    assert arr[list(BANDS)].to_dict() == pytest.approx(health_portfolio.arr_by_band)


def test_the_distribution_holds_everyone_that_has_a_score(health_portfolio):
    steps = health_portfolio.frame("distribution")
    assert steps["customers"].sum() == health_portfolio.scored_customers and len(steps) == 20
    assert (steps["high"] - steps["low"] == 5).all() and (
        steps["low"].iloc[0],
        steps["high"].iloc[-1],
    ) == (0, 100)
    by_band = steps.groupby("band")["customers"].sum()
    assert by_band.reindex(BANDS, fill_value=0).to_dict() == health_portfolio.bands


def test_the_coverage_of_the_portfolio_counts_the_customers_of_whom_an_input_is_known(
    health_portfolio, response
):
    metrics = pd.concat(
        [response(row["client_id"]).frame("metrics") for row in health_portfolio.customers]
    )
    known = metrics.assign(known=metrics["points"].notna()).groupby("metric")["known"].sum()
    for row in health_portfolio.input_coverage:
        assert (
            row["measured"] == known[row["metric"]]
            and row["customers"] == health_portfolio.total_customers
        )
    assert (
        min(row["measured"] for row in health_portfolio.input_coverage)
        < health_portfolio.total_customers
    )


def test_the_alerts_are_those_of_the_customers(health_portfolio, response):
    listed = {
        (alert.figures["client_id"], alert.rule, alert.text) for alert in health_portfolio.alerts
    }
    own = {
        (row["client_id"], alert.rule, alert.text)
        for row in health_portfolio.customers
        for alert in response(row["client_id"]).alerts
    }
    assert listed == own and listed


def test_several_currencies_are_never_added_up(daily_events):
    events = [
        event for client in "abc" for event in daily_events(client, "2025-01-01", "2025-05-01", "u")
    ]
    customers = pd.DataFrame(
        {
            "client_id": list("abc"),
            "signup_date": "2024-01-01",
            "arr": [100, 20, 3],
            "currency": ["EUR", "USD", "USD"],
        }
    )
    portfolio = portfolio_health(tiny_portfolio(events, customers))
    assert portfolio.total_arr_by_currency == {"EUR": 100, "USD": 23}
    assert (
        portfolio.total_arr is None
        and portfolio.currency is None
        and portfolio.at_risk_arr is None
        and portfolio.at_stake is None
    )
    assert portfolio.arr_by_band == {} and any(
        "never added up" in warning for warning in portfolio.warnings
    )
    assert "$.total_arr" in portfolio.not_measured
    assert {row["client_id"]: row["currency"] for row in portfolio.customers} == {
        "a": "EUR",
        "b": "USD",
        "c": "USD",
    }


def test_a_portfolio_without_money_says_that_there_is_none(daily_events):
    portfolio = portfolio_health(tiny_portfolio(daily_events("a", "2025-01-01", "2025-05-01", "u")))
    assert portfolio.total_arr is None and "$.total_arr" in portfolio.not_measured
    assert portfolio.customers[0]["arr"] is None and portfolio.customers[0]["at_stake"] is None
    json.dumps(portfolio.to_dict(), allow_nan=False)


def test_weights_of_ones_own_are_those_of_the_customers(demo, health_portfolio):
    import healthseg as hs

    weights = {"usage_weight": 1, "engagement_weight": 1}
    custom = portfolio_health(demo, scoring_model="custom", component_weights=weights)
    row = custom.customers[0]
    assert (
        hs.calculate_health_score(demo, row["client_id"], "custom", weights).current_health_score
        == row["score"]
    )
    assert [row["score"] for row in custom.customers] != [
        row["score"] for row in health_portfolio.customers
    ]


def test_the_threshold_decides_who_is_at_risk(demo, health_portfolio):
    higher = portfolio_health(demo, risk_threshold=75)
    scores = health_portfolio.frame("customers")["score"]
    assert higher.at_risk_customers == (scores < 75).sum() > health_portfolio.at_risk_customers
    assert str(higher.at_risk_customers) in higher.verdict()


def test_there_is_no_figure_in_the_portfolio_that_json_does_not_know(health_portfolio):
    assert (
        json.loads(json.dumps(health_portfolio.to_dict(), allow_nan=False))
        == health_portfolio.to_dict()
    )
