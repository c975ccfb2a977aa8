"""churn_prediction and ml_predictive from the portfolio's model, where its gate says yes."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

import healthseg as hs
from healthseg.scoring.churn import training
from healthseg.scoring.churn.training import odds_ratio
from healthseg.scoring.scored_panel import predictive_points
from healthseg.tools import portfolio_health
from healthseg.tools.health import outlook

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def staying(demo):
    """A live customer that has not given notice, and has been there for a year."""
    known = demo.table("customers")
    live = known[known["churned_on"].isna() & known["notice_on"].isna()]
    return live.sort_values(["signup_date", "client_id"])["client_id"].iloc[2]


def test_a_prediction_is_the_customers_own_with_its_interval_and_the_base_rate_beside(
    demo, response, staying
):
    prediction = response(staying).churn_prediction
    assert (
        prediction.method == "hazard_logistic"
        and prediction.gate.eligible
        and prediction.gate.z > 3
    )
    assert (
        prediction.plausible_range.lower
        < prediction.churn_probability
        < prediction.plausible_range.upper
    )
    assert (
        0 < prediction.confidence <= 1
        and 0 < prediction.base_rate < 1
        and prediction.base_rate_interval is not None
    )
    rising = [horizon["churn_probability"] for horizon in prediction.by_horizon]
    assert rising == sorted(set(rising)) and [
        horizon["horizon_days"] for horizon in prediction.by_horizon
    ] == [
        30,
        90,
        180,
        365,
    ]
    assert prediction.by_horizon[1]["churn_probability"] == prediction.churn_probability
    assert (
        prediction.by_horizon[-1]["extrapolated"] and not prediction.by_horizon[0]["extrapolated"]
    )
    model = training.churn_model(demo, demo.data_until)
    ratio = prediction.churn_probability / model.base_probability(90)
    assert prediction.churn_risk_level == next(
        (word for times, word in ((1, "low"), (2, "medium"), (4, "high")) if ratio < times),
        "critical",
    )


def test_customers_differ_and_factors_have_the_sign_that_they_are_listed_under(responses):
    predictions = [
        health.churn_prediction for health in responses.values() if health.status == "live"
    ]
    own = [each for each in predictions if each.churn_probability is not None]
    assert len({each.churn_probability for each in own}) > 0.8 * len(own) > 10
    named = [factor for each in own for factor in each.key_risk_factors_detail]
    assert named and all(
        factor.log_odds > 0 and factor.log_odds >= 1.28 * factor.sd for factor in named
    )
    protective = [factor for each in own for factor in each.protective_factors_detail]
    assert protective and all(factor.odds_ratio < 1 for factor in protective)
    # what is not measured is no factor, nor what is as usual
    assert all(
        factor.value is not None and factor.value != factor.usual for factor in named + protective
    )
    assert all("odds ×" in text for each in own for text in each.key_risk_factors)
    gave = [each for each in predictions if each.churn_probability is None]
    assert all("notice" in each.reason and each.churn_risk_level is None for each in gave)


def test_leavers_of_the_planted_truth_are_the_likelier_ones(demo, truth):
    hazard = truth("hazard")
    predicted = training.predictions(
        demo, demo.data_until, demo.table("customers")["client_id"].tolist()
    )
    last = (
        hazard.sort_values("step_start")
        .drop_duplicates("client_id", keep="last")
        .set_index("client_id")
    )
    both = (
        predicted[predicted["horizon_days"] == 30]
        .set_index("client_id")
        .join(last[["p30"]].dropna(), how="inner")
    )
    assert both[["probability", "p30"]].corr("spearman").iloc[0, 1] > 0.5


def test_a_model_is_trained_once_and_read_by_whoever_opens_the_portfolio_next(
    demo_folder, demo, staying
):
    training.churn_model(demo, demo.data_until)
    again = hs.Portfolio.open(demo_folder)
    models = demo_folder / ".healthseg" / "models"
    before = {path: path.stat().st_mtime_ns for path in models.glob("churn-*.json")}
    first, other = (training.churn_model(portfolio, demo.data_until) for portfolio in (again, demo))
    assert first.to_json() == other.to_json()
    assert before == {path: path.stat().st_mtime_ns for path in models.glob("churn-*.json")}
    assert training.grid(demo, demo.data_until)[0] == demo.first_event_day + dt.timedelta(days=29)
    again.close()


def test_a_day_between_two_dates_of_the_grid_has_the_model_of_the_earlier_one(demo):
    dates = training.grid(demo, demo.data_until)
    model = training.churn_model(demo, dates[-1] - dt.timedelta(days=1))
    assert model.trained_until == dates[-2]


def test_the_predictive_score_is_the_odds_against_the_base_rate(demo, staying):
    health = hs.calculate_health_score(demo, staying, "ml_predictive", lookback_period_days=60)
    model = training.churn_model(demo, demo.data_until)
    predicted = (
        training.predictions(demo, demo.data_until, [staying]).set_index("horizon_days").loc[90]
    )
    expected = predictive_points(
        odds_ratio(predicted["probability"], model.base_probability(90)), demo.settings
    )
    assert health.current_health_score == int(np.floor(float(expected) + 0.5))
    assert health.possible_range.lower < float(expected) < health.possible_range.upper
    assert (
        health.improvement_opportunities == []
        and "$.improvement_opportunities" in health.not_measured
    )
    change = health.change_explanation
    assert sum(part.points for part in change.parts) == pytest.approx(change.change)
    assert "The churn model was trained again" in [part.label for part in change.parts]
    effects = [factor.effect for factor in (*health.contributing_factors.positive_detail,)]
    assert all(effect > 0 for effect in effects)


def test_a_factor_of_the_predictive_score_is_measured_and_differs_from_the_usual(demo):
    day = demo.data_until
    rows = training.panels.panel(demo, [day]).query("live == 1")
    factors = [
        factor
        for client in rows["client_id"].astype(str).iloc[::3]
        for side in outlook.model_score_factors(demo, client, day, {"score": 50.0})
        for factor in side
    ]
    assert len({factor.metric for factor in factors}) > 3
    assert [factor.text for factor in factors if factor.value is None] == []
    beside = [factor.text for factor in factors if factor.metric != "tier"]
    assert [text for text in beside if ", usually " not in text or "not measured" in text] == []


def test_past_predictive_scores_are_those_of_the_models_of_their_time(demo, staying):
    early = training.grid(demo, demo.data_until)[-4]
    now = hs.calculate_health_score(demo, staying, "ml_predictive", lookback_period_days=120)
    then = hs.calculate_health_score(
        demo, staying, "ml_predictive", lookback_period_days=7, as_of=early
    )
    known = now.frame("history").set_index("date")["score"]
    rows = training.panels.panel(demo, [early], [staying])
    assert then.frame("history").set_index("date")["score"].loc[
        pd.Timestamp(early)
    ] == pytest.approx(
        float(predictive_points(training.relative_risk(demo, rows).ratio, demo.settings)[0])
    )
    assert known.notna().any()


def test_the_portfolio_by_the_model_puts_the_whole_arr_at_stake_after_notice(demo):
    portfolio = portfolio_health(demo)
    table = portfolio.frame("customers").set_index("client_id")
    predicted = training.predictions(demo, demo.data_until, table.index.tolist()).query(
        "horizon_days == 90"
    )
    chance = predicted.set_index("client_id")["probability"].reindex(table.index)
    expected = (chance * table["arr"])[chance.notna()]
    assert table["at_stake"][chance.notna()].to_numpy() == pytest.approx(
        expected.to_numpy(), nan_ok=True
    )
    noticed = table[chance.isna()]
    assert noticed["at_stake"].to_numpy() == pytest.approx(noticed["arr"].to_numpy(), nan_ok=True)
    assert "probability of churn" in portfolio.at_stake_basis and "AUC" in portfolio.leaving_model
    by_model = portfolio_health(demo, scoring_model="ml_predictive")
    assert (
        by_model.total_customers == portfolio.total_customers
        and by_model.average_score != portfolio.average_score
    )
