"""ChurnModel: signs, calibration, the gate, what was known when, explanations, and its saved form."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pandas as pd
import pytest
from scipy import special

from healthseg.errors import CalculationError, InvalidParameters
from healthseg.scoring.churn.calibration import (
    Calibration,
    calibrate,
    log_skill,
    ranked_within_dates,
)
from healthseg.scoring.churn.candidates import (
    BoostedTrees,
    boost,
    held_out,
    outcomes,
    rows_at_risk,
)
from healthseg.scoring.churn.model import ChurnModel
from healthseg.settings import Settings, settings
from tests.scoring.churn_rows import as_of, panel

MONTHS = 14


@pytest.fixture(scope="module")
def portfolio():
    """Rows at risk of 200 customers over 14 months, and the model of what was known at their end."""
    made, event = panel(200, MONTHS, seed=1)
    rows = rows_at_risk(made, event, as_of(MONTHS))
    return rows, ChurnModel.fit(rows, as_of(MONTHS), Settings())


def test_the_gate_says_yes_and_probabilities_follow_the_planted_law(portfolio):
    rows, model = portfolio
    assert model.eligible and model.gate.auc > 0.65 and model.gate.z > 2.33 and model.gate.skill > 0
    told = model.predict(rows, [30])
    truth = rows.sort_values(["client_id", "date"])["odds"].to_numpy()
    assert np.corrcoef(special.logit(told["probability"]), truth)[0, 1] > 0.85
    assert told["probability"].mean() == pytest.approx(special.expit(truth).mean(), rel=0.25)
    inside = (special.expit(truth) >= told["lower"]) & (special.expit(truth) <= told["upper"])
    assert 0.80 <= inside.mean() <= 1.0


def test_signs_are_those_that_were_planted_where_they_are_sure(portfolio):
    rows, model = portfolio
    found = model.effects(rows).set_index("metric")["direction"]
    assert (
        found["seat_utilisation"] == -1
        and found["nps_365d"] == -1
        and found["open_high_tickets"] == 1
    )
    assert found["stickiness_30d"] <= 0 and found.get("person_events_28d", 0) == 0


def test_longer_horizons_are_likelier_and_marked_where_nothing_could_judge_them(portfolio):
    rows, model = portfolio
    told = model.predict(rows.head(20))
    assert told.groupby(["client_id", "date"])["probability"].is_monotonic_increasing.all()
    marked = told.groupby("horizon_days")["extrapolated"].first()
    assert not marked[30] and not marked[90] and marked[365]
    assert ((told["lower"] < told["probability"]) & (told["probability"] < told["upper"])).all()
    assert told["confidence"].between(0, 1).all()


def test_explanations_add_up_and_are_against_the_average_row(portfolio):
    rows, model = portfolio
    told, why = model.predict(rows.head(30), [30]), model.explain(rows.head(30))
    total = why.groupby(["client_id", "date"])["log_odds"].sum().to_numpy() + model.base
    assert total == pytest.approx(told["log_odds"].to_numpy(), abs=1e-7)
    everyone = model.explain(rows).groupby("kin")["log_odds"].mean().abs()
    assert everyone.max() < 0.05


def test_the_same_customer_has_the_same_figures_alone_as_among_others(portfolio):
    rows, model = portfolio
    whole = model.predict(rows).query("client_id == 'c0007'").reset_index(drop=True)
    alone = model.predict(rows[rows["client_id"] == "c0007"].sample(frac=1, random_state=3))
    pd.testing.assert_frame_equal(whole, alone)


def test_nothing_is_learnt_from_later_than_the_day():
    made, event = panel(150, MONTHS, seed=2)
    day = as_of(10)
    later = rows_at_risk(made, event, as_of(MONTHS))
    cut = rows_at_risk(made[made["date"] <= pd.Timestamp(day)], event, day)
    known = ChurnModel.fit(cut, day, Settings())
    there = ChurnModel.fit(
        later.assign(event_on=later["event_on"].where(later["event_on"] <= pd.Timestamp(day))),
        day,
        Settings(),
    )
    assert known.to_json() == there.to_json()
    held = held_out(later, as_of(MONTHS), Settings())
    early = held_out(cut, day, Settings())
    both = early.merge(held, on=["client_id", "date"], suffixes=("", "_later"))
    assert len(both) == len(early) and (both["log_odds"] == both["log_odds_later"]).all()


def test_rows_end_with_notice_and_outcomes_wait_until_they_are_over():
    day = dt.date(2025, 3, 1)
    made = pd.DataFrame(
        {
            "client_id": ["a", "a", "a", "b"],
            "live": True,
            "date": pd.to_datetime(["2025-01-01", "2025-01-31", "2025-03-01", "2025-01-31"]),
        }
    )
    rows = rows_at_risk(made, pd.Series({"a": pd.Timestamp("2025-02-10")}), day)
    assert [(row.client_id, str(row.date)[:10]) for row in rows.itertuples()] == [
        ("a", "2025-01-01"),
        ("a", "2025-01-31"),
        ("b", "2025-01-31"),
    ]
    seen = outcomes(rows, day, 30, 0)
    assert (
        seen[0] == 0.0 and np.isnan(seen[1:]).all()
    )  # 30 days after 31 January are over on 2 March
    assert outcomes(rows, dt.date(2025, 3, 2), 30, 0).tolist() == [0.0, 1.0, 0.0]
    assert outcomes(rows, dt.date(2025, 3, 30), 30, 20)[1] != 1.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"event_on": "none"}, "no customer churned"),
        ({"event_on": "all"}, "none was retained"),
        ({"rows": 0}, "no customer was tracked"),
        ({"rows": 40}, "are needed"),
    ],
)
def test_what_the_data_cannot_carry_is_refused_with_the_reason(change, words):
    made, event = panel(60, 8, seed=4)
    rows = rows_at_risk(made, event, as_of(8))
    if "rows" in change:
        rows = rows.head(change["rows"])
    elif change["event_on"] == "none":
        rows = rows.assign(event_on=pd.NaT)
    else:
        rows = rows.drop_duplicates("client_id").assign(
            event_on=lambda part: part["date"] + pd.Timedelta(days=3)
        )
    model = ChurnModel.fit(rows, as_of(8), Settings())
    assert not model.eligible and words in model.gate.reason
    with pytest.raises(CalculationError, match=words):
        model.predict(rows)
    assert ChurnModel.from_json(model.to_json()).gate == model.gate


def test_without_signal_the_gate_says_no_and_with_noise_alone_it_has_no_skill():
    answers = []
    for seed in range(8):
        made, event = panel(120, 10, seed=seed, effect=0.0)
        answers.append(ChurnModel.fit(rows_at_risk(made, event, as_of(10)), as_of(10), Settings()))
    assert sum(model.eligible for model in answers) <= 1
    assert all(
        "no account-level model" in model.gate.reason for model in answers if not model.eligible
    )


def test_dates_out_of_order_and_doubled_rows_are_refused():
    made, event = panel(10, 4, seed=5)
    with pytest.raises(InvalidParameters, match="out of order"):
        rows_at_risk(made, event, as_of(1))
    with pytest.raises(InvalidParameters, match="two rows of one customer"):
        rows_at_risk(pd.concat([made, made]), event, as_of(4))
    with pytest.raises(InvalidParameters, match="lacks the column 'live'"):
        rows_at_risk(made.drop(columns="live"), event, as_of(4))


def test_a_saved_model_gives_the_same_and_another_version_or_metric_is_refused(portfolio):
    rows, model = portfolio
    text = model.to_json()
    again = ChurnModel.from_json(text)
    assert again.to_json() == text
    pd.testing.assert_frame_equal(again.predict(rows), model.predict(rows))
    pd.testing.assert_frame_equal(again.explain(rows), model.explain(rows))
    kept = json.loads(text)
    with pytest.raises(CalculationError, match="version 0, this one reads 1"):
        ChurnModel.from_json(json.dumps({**kept, "version": 0}))
    strange = [{**kept["predictors"][0], "metric": "moon_phase"}, *kept["predictors"][1:]]
    with pytest.raises(CalculationError, match="moon_phase"):
        ChurnModel.from_json(json.dumps({**kept, "predictors": strange}))
    for other in ("[]", "no json", "{}"):
        with pytest.raises(CalculationError, match="no saved churn model"):
            ChurnModel.from_json(other)


def test_a_metric_that_the_rows_lack_is_named(portfolio):
    rows, model = portfolio
    with pytest.raises(CalculationError, match="person_events_28d"):
        model.predict(rows.drop(columns="person_events_28d"))


def test_the_statistic_of_the_gate_is_wilcoxons_within_each_date():
    score, outcome, date = (
        np.array([1.0, 2, 3, 4, 9, 8]),
        np.array([0.0, 0, 0, 1, 0, 1]),
        np.array([1, 1, 1, 1, 2, 2]),
    )
    auc, z = ranked_within_dates(score, outcome, date)
    assert auc == pytest.approx(3 / 4)  # U 3 of 3 and 0 of 1
    assert z == pytest.approx((3 - 4 / 2) / np.sqrt(15 / 12 + 3 / 12))  # n₁n₀(n + 1)/12 each
    assert ranked_within_dates(np.ones(4), np.array([0.0, 1, 0, 1]), np.zeros(4)) == (0.5, 0.0)
    assert log_skill(np.full(4, 0.3), np.full(4, 0.3), np.array([0.0, 1, 0, 1])) == 0


def test_z_is_standard_normal_where_nothing_is_to_be_known():
    rng, found = np.random.default_rng(0), []
    for _ in range(400):
        score, date = rng.normal(size=300), np.repeat(np.arange(10), 30)
        found.append(ranked_within_dates(score, (rng.random(300) < 0.05).astype(float), date)[1])
    assert abs(np.mean(found)) < 0.15 and 0.9 < np.std(found) < 1.1


def test_calibration_is_drawn_towards_none_and_follows_where_much_is_seen():
    rng = np.random.default_rng(1)
    raw = rng.normal(-2, 1.5, 40_000)
    outcome = (rng.random(40_000) < special.expit(-2 + 0.5 + 0.6 * (raw + 2))).astype(float)
    much, little = (
        calibrate(raw, outcome, -2.0, 30, []),
        calibrate(raw[:30], outcome[:30], -2.0, 30, []),
    )
    assert much.slope == pytest.approx(0.6, abs=0.05) and much.intercept == pytest.approx(
        0.5, abs=0.05
    )
    assert abs(little.slope - 1) < 0.25 and little.slope_variance > 10 * much.slope_variance


def test_horizons_compound_and_a_standing_fades_to_the_base():
    plain = Calibration(-3.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 30)
    odds = np.array([-1.0])
    p = special.expit(-1.0)
    assert plain.probability(odds, 30) == pytest.approx(p)
    assert plain.probability(odds, 90) == pytest.approx(1 - (1 - p) ** 3)
    assert plain.probability(odds, 45) == pytest.approx(1 - (1 - p) ** 1.5)
    fading = Calibration(-3.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.5, 30)
    stays = (1 - p) * (1 - special.expit(-2.0)) * (1 - special.expit(-2.5))
    assert fading.probability(odds, 90) == pytest.approx(1 - stays)
    sd = np.array([1e-9])
    lower, upper = plain.interval(odds, sd, 30, 0.9)
    sure = plain.confidence(odds, sd, 30, 0.05)
    assert lower == pytest.approx(p) and upper == pytest.approx(p) and sure.tolist() == [1.0]


def test_trees_follow_an_interaction_add_up_and_survive_json():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(6000, 3))
    odds = -2 + 2.0 * ((X[:, 0] > 0) & (X[:, 1] > 0))
    X[::9, 0] = np.nan
    outcome = (rng.random(6000) < special.expit(odds)).astype(float)
    trees = boost(X, outcome, np.full(6000, special.logit(outcome.mean())), seed=1)
    assert np.corrcoef(trees.log_odds(X), odds)[0, 1] > 0.8
    assert trees.base + trees.parts(X).sum(axis=1) == pytest.approx(trees.log_odds(X))
    again = BoostedTrees.from_dict(json.loads(json.dumps(trees.to_dict())))
    assert (again.log_odds(X) == trees.log_odds(X)).all()


def test_the_simpler_model_wins_where_trees_add_nothing():
    made, event = panel(400, MONTHS, seed=6)
    rows = rows_at_risk(made, event, as_of(MONTHS))
    model = ChurnModel.fit(rows, as_of(MONTHS), settings({"churn_boosting_min_churned": 50}))
    assert model.gate.leavers > 50 and model.kind == "logistic"
