"""ChurnModel: signs, calibration, the gate, what was known when, explanations, and its saved form."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import special

from healthseg.errors import CalculationError, InvalidParameters
from healthseg.scoring.churn.calibration import (
    Calibration,
    calibrate,
    log_skill,
    needed_z,
    survival,
)
from healthseg.scoring.churn.candidates import (
    AHEAD,
    CANDIDATES,
    BoostedTrees,
    boost,
    boosting,
    fit_candidates,
    held_out,
    outcomes,
    rows_at_risk,
    stacked,
)
from healthseg.scoring.churn.expected import simulate_churn
from healthseg.scoring.churn.model import ChurnModel
from healthseg.settings import Settings, settings
from healthseg.statistics.separation import ranked_within_dates
from tests.scoring.churn_rows import as_of, panel

MONTHS = 14


@pytest.fixture(scope="module")
def portfolio():
    """Rows at risk of 200 customers over 14 months, and the model of what was known at their end."""
    frame, event = panel(200, MONTHS, seed=1)
    rows = rows_at_risk(frame, event, as_of(MONTHS))
    return rows, ChurnModel.fit(rows, as_of(MONTHS), Settings())


def test_the_gate_says_yes_and_probabilities_follow_the_planted_law(portfolio):
    rows, model = portfolio
    assert (
        model.eligible
        and model.gate.auc > 0.65
        and model.gate.z > model.gate.z_needed
        and model.gate.skill > 0
    )
    predicted = model.predict(rows, [30])
    truth = rows.sort_values(["client_id", "date"])["odds"].to_numpy()
    assert np.corrcoef(special.logit(predicted["probability"]), truth)[0, 1] > 0.85
    assert predicted["probability"].mean() == pytest.approx(special.expit(truth).mean(), rel=0.25)
    inside = (special.expit(truth) >= predicted["lower"]) & (
        special.expit(truth) <= predicted["upper"]
    )
    assert 0.80 <= inside.mean() <= 1.0


def test_signs_are_those_that_were_planted_where_they_are_sure(portfolio):
    rows, model = portfolio
    directions = model.effects(rows).set_index("metric")["direction"]
    assert (
        directions["seat_utilisation"] == -1
        and directions["nps_365d"] == -1
        and directions["open_high_tickets"] == 1
    )
    assert directions["stickiness_30d"] <= 0 and directions.get("person_events_28d", 0) == 0


def test_longer_horizons_are_likelier_and_marked_where_nothing_could_judge_them(portfolio):
    rows, model = portfolio
    predicted = model.predict(rows.head(20))
    assert predicted.groupby(["client_id", "date"])["probability"].is_monotonic_increasing.all()
    marked = predicted.groupby("horizon_days")["extrapolated"].first()
    assert not marked[30] and not marked[90] and marked[365]
    assert (
        (predicted["lower"] < predicted["probability"])
        & (predicted["probability"] < predicted["upper"])
    ).all()
    assert predicted["confidence"].between(0, 1).all()


def test_explanations_add_up_and_are_against_the_average_row(portfolio):
    rows, model = portfolio
    predicted, why = model.predict(rows.head(30), [30]), model.explain(rows.head(30))
    total = why.groupby(["client_id", "date"])["log_odds"].sum().to_numpy() + model.base
    assert total == pytest.approx(predicted["log_odds"].to_numpy(), abs=1e-7)
    everyone = model.explain(rows).groupby("kin")["log_odds"].mean().abs()
    assert everyone.max() < 0.05


def test_the_same_customer_has_the_same_figures_alone_as_among_others(portfolio):
    rows, model = portfolio
    whole = model.predict(rows).query("client_id == 'c0007'").reset_index(drop=True)
    alone = model.predict(rows[rows["client_id"] == "c0007"].sample(frac=1, random_state=3))
    pd.testing.assert_frame_equal(whole, alone)


def test_nothing_is_learnt_from_later_than_the_day():
    frame, event = panel(120, 9, seed=2)
    day = as_of(7)
    later = rows_at_risk(frame, event, as_of(9))
    cut = rows_at_risk(frame[frame["date"] <= pd.Timestamp(day)], event, day)
    known = ChurnModel.fit(cut, day, Settings())
    there = ChurnModel.fit(
        later.assign(event_on=later["event_on"].where(later["event_on"] <= pd.Timestamp(day))),
        day,
        Settings(),
    )
    assert known.to_json() == there.to_json()
    left_out = held_out(later, as_of(9), Settings())
    early = held_out(cut, day, Settings())
    both = early.merge(left_out, on=["client_id", "date"], suffixes=("", "_later"))
    assert len(both) == len(early) and (both["directed_0"] == both["directed_0_later"]).all()


def test_rows_end_with_notice_and_outcomes_wait_until_they_are_over():
    day = dt.date(2025, 3, 1)
    frame = pd.DataFrame(
        {
            "client_id": ["a", "a", "a", "b"],
            "live": True,
            "date": pd.to_datetime(["2025-01-01", "2025-01-31", "2025-03-01", "2025-01-31"]),
        }
    )
    rows = rows_at_risk(frame, pd.Series({"a": pd.Timestamp("2025-02-10")}), day)
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
    frame, event = panel(60, 8, seed=4)
    rows = rows_at_risk(frame, event, as_of(8))
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
    for seed in range(2):
        frame, event = panel(120, 10, seed=seed, effect=0.0)
        model = ChurnModel.fit(rows_at_risk(frame, event, as_of(10)), as_of(10), Settings())
        assert not model.eligible and "no account-level model" in model.gate.reason
        assert abs(model.gate.auc - 0.5) < 0.12 and model.gate.skill < 0.02


def test_dates_out_of_order_and_doubled_rows_are_refused():
    frame, event = panel(10, 4, seed=5)
    with pytest.raises(InvalidParameters, match="out of order"):
        rows_at_risk(frame, event, as_of(1))
    with pytest.raises(InvalidParameters, match="two rows of one customer"):
        rows_at_risk(pd.concat([frame, frame]), event, as_of(4))
    with pytest.raises(InvalidParameters, match="lacks the column 'live'"):
        rows_at_risk(frame.drop(columns="live"), event, as_of(4))


def test_a_saved_model_gives_the_same_and_another_version_or_metric_is_refused(portfolio):
    rows, model = portfolio
    text = model.to_json()
    again = ChurnModel.from_json(text)
    assert again.to_json() == text
    pd.testing.assert_frame_equal(again.predict(rows), model.predict(rows))
    pd.testing.assert_frame_equal(again.explain(rows), model.explain(rows))
    saved = json.loads(text)
    with pytest.raises(CalculationError, match="version 0, this one reads 4"):
        ChurnModel.from_json(json.dumps({**saved, "version": 0}))
    strange = [{**saved["predictors"][0], "metric": "moon_phase"}, *saved["predictors"][1:]]
    with pytest.raises(CalculationError, match="moon_phase"):
        ChurnModel.from_json(json.dumps({**saved, "predictors": strange}))
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
    ranked = ranked_within_dates(score, outcome, date)
    assert ranked.auc == pytest.approx(3 / 4)  # U 3 of 3 and 0 of 1
    # n₁n₀(n + 1)/12 each; dates count by 1/(n + 1)
    variance = 15 / 12 / 25 + 3 / 12 / 9
    assert ranked.variance == pytest.approx(variance)
    assert ranked.z == pytest.approx((1.5 / 5 - 0.5 / 3) / np.sqrt(variance))
    nothing = ranked_within_dates(np.ones(4), np.array([0.0, 1, 0, 1]), np.zeros(4))
    assert (nothing.auc, nothing.z) == (0.5, 0.0)
    assert log_skill(np.full(4, 0.3), np.full(4, 0.3), np.array([0.0, 1, 0, 1])) == 0


def passes_ever(signal, seed, looks=24, clients=120):
    """Whether the gate of a portfolio says yes on any of so many months; churn follows ``signal`` times the score."""
    rng, excess, variance = np.random.default_rng(seed), 0.0, 0.0
    score = rng.normal(size=clients)
    for _ in range(looks):
        outcome = (rng.random(clients) < special.expit(-3.2 + signal * score)).astype(float)
        ranked = ranked_within_dates(score, outcome, np.zeros(clients))
        variance, excess = (
            variance + ranked.variance,
            excess + ranked.z * np.sqrt(ranked.variance),
        )
        if variance and excess / np.sqrt(variance) > needed_z(variance, Settings()):
            return True
    return False


def test_the_gate_is_wrong_in_few_portfolios_however_often_it_is_looked_at():
    assert sum(passes_ever(0.0, seed) for seed in range(40)) <= 2
    assert sum(passes_ever(0.8, seed) for seed in range(20)) >= 18


def test_z_is_standard_normal_where_nothing_is_to_be_known():
    rng, zs = np.random.default_rng(0), []
    for _ in range(400):
        score, date = rng.normal(size=300), np.repeat(np.arange(10), 30)
        zs.append(ranked_within_dates(score, (rng.random(300) < 0.05).astype(float), date).z)
    assert abs(np.mean(zs)) < 0.15 and 0.9 < np.std(zs) < 1.1


def test_calibration_is_drawn_towards_none_and_follows_where_much_is_seen():
    rng = np.random.default_rng(1)
    timing, rest = rng.normal(0, 1.0, 40_000), rng.normal(0, 1.5, 40_000)
    raw = -2 + timing + rest
    odds = -2 + 0.5 + 1.1 * timing + 0.6 * rest
    outcome = (rng.random(40_000) < special.expit(odds)).astype(float)
    base = np.full(40_000, -2.0)
    much = calibrate(base, timing, raw, outcome, 30, [])
    little = calibrate(base[:30], timing[:30], raw[:30], outcome[:30], 30, [])
    assert much.coefficients == pytest.approx((0.5, 1.1, 0.6), abs=0.08)
    assert abs(little.slope - 1) < 0.25 and little.covariance[2][2] > 10 * much.covariance[2][2]


def test_a_customers_own_standing_fades_and_what_is_known_ahead_does_not():
    fading = Calibration((0.0, 1.0, 1.0), ((0.0,) * 3,) * 3, 0.5, 30)
    timing, raw = np.array([0.0, 2.0]), np.array([-1.0, 1.0])
    assert fading.log_odds(-3.0, timing, raw).tolist() == [-1.0, 1.0]
    assert fading.log_odds(-3.0, timing, raw, 1).tolist() == [-2.0, 0.0]
    assert fading.log_odds(-3.0, timing, raw, 60).tolist() == pytest.approx([-3.0, -1.0])


def test_steps_compound_and_a_cut_step_counts_by_its_share():
    p = special.expit(-1.0)
    odds = np.full((1, 2), -1.0)
    assert -np.expm1(survival(odds, np.ones((1, 2)))) == pytest.approx(1 - (1 - p) ** 2)
    cut = np.array([[1.0, 0.5]])
    assert -np.expm1(survival(odds, cut)) == pytest.approx(1 - (1 - p) ** 1.5)


def test_trees_follow_an_interaction_add_up_and_survive_json():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(6000, 3))
    odds = -2 + 2.0 * ((X[:, 0] > 0) & (X[:, 1] > 0))
    X[::9, 0] = np.nan
    outcome = (rng.random(6000) < special.expit(odds)).astype(float)
    trees = boost(X, outcome, [1, 0, 0], seed=1)
    assert np.corrcoef(trees.log_odds(X), odds)[0, 1] > 0.8
    parts = trees.parts(X)
    assert trees.base + parts.sum(axis=1) == pytest.approx(trees.log_odds(X))
    assert (parts[~np.isnan(X[:, 0]), 3] == 0).all() and (parts[::9, 0] == 0).all()
    line = np.column_stack([np.linspace(-3, 3, 50), np.ones(50), np.zeros(50)])
    assert (np.diff(trees.log_odds(line)) >= -1e-12).all()  # monotonic where a direction is known
    again = BoostedTrees.from_dict(json.loads(json.dumps(trees.to_dict())))
    assert (again.log_odds(X) == trees.log_odds(X)).all()


def test_trees_are_those_of_scikit_learn():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(900, 4))
    X[rng.random(X.shape) < 0.1] = np.nan
    outcome = (rng.random(900) < special.expit(np.nan_to_num(X[:, 0]) - 1)).astype(float)
    model = boosting([0, 0, 0, 0], len(X), seed=4).fit(X, outcome)
    log_odds = boost(X, outcome, [0, 0, 0, 0], seed=4).log_odds(X)
    assert log_odds == pytest.approx(model.decision_function(X), abs=1e-9)


def test_the_directed_hazard_keeps_most_of_the_say_where_rivals_add_nothing(portfolio):
    fitted = portfolio[1].fitted
    assert sum(fitted.shares) == pytest.approx(1) and fitted.shares[0] > 0.4
    assert fitted.boosted is not None and fitted.shares[2] < 0.3


def test_boosting_has_most_of_the_say_where_churn_follows_an_interaction():
    frame, event = panel(
        500, 8, seed=4, law=lambda z: -3.5 + 3.5 * ((z[:, 1] > 0) == (z[:, 4] > 0))
    )
    rows = rows_at_risk(frame, event, as_of(8))
    past = held_out(rows, as_of(8), settings({}), origins=[as_of(5), as_of(6)])
    shares = stacked(past, as_of(8), settings({}))[1]
    assert shares[CANDIDATES.index("boosted")] > 0.5


@pytest.mark.parametrize("winner", CANDIDATES)
def test_the_candidate_that_knows_the_law_has_most_of_the_say(winner):
    rng = np.random.default_rng(8)
    truth = -2 + rng.normal(size=600)
    churns = rng.random(600) < special.expit(truth)
    date = pd.Timestamp(as_of(0))
    after = np.where(churns, np.datetime64(date + pd.Timedelta(days=9)), np.datetime64("NaT"))
    names = [f"c{at:03d}" for at in range(600)]
    past = {"client_id": names, "date": date, "event_on": after}
    for name in CANDIDATES:
        odds = truth if name == winner else np.full(600, -1.6)  # of the share that churns
        past |= {f"{name}_{ahead}": odds for ahead in range(AHEAD)}
        past[f"{name}_base"] = -2.0
    shown, shares = stacked(pd.DataFrame(past), as_of(2), settings({}))
    assert shares.sum() == pytest.approx(1)
    assert shares[CANDIDATES.index(winner)] > 0.6
    # on their own day the outcomes were not known: the prior alone speaks
    expected = truth if winner == "directed" else np.full(600, -1.6)
    assert np.abs(shown["log_odds_0"] - expected).mean() < 0.4


def test_the_doubt_is_that_of_the_mixture_which_is_shown(portfolio):
    rows, model = portfolio
    fitted = model.fitted
    values = fitted.values(rows, Settings())
    odds, sd = replace(fitted, shares=(0.0, 1.0, 0.0)).log_odds_and_sd(values)
    assert odds == pytest.approx(fitted.undirected.decision_function(values))
    assert sd == pytest.approx(fitted.undirected.log_odds_sd(values))
    half = replace(fitted, shares=(0.5, 0.0, 0.5))
    gap = fitted.directed.decision_function(values) - fitted.boosted.log_odds(values)
    own = fitted.directed.log_odds_sd(values)
    assert half.log_odds_and_sd(values)[1] == pytest.approx(np.sqrt(own**2 + gap**2 / 4))
    groups = [list(kin.members) for kin in model.kin]
    parts, sds = half.parts_and_sds(values, groups)
    assert parts == pytest.approx(half.parts(values))
    trees = fitted.boosted.parts(values)[:, groups[0]].sum(axis=1)
    linear, own = (each[:, 0] for each in fitted.directed.joint_parts(values, groups))
    assert sds[:, 0] == pytest.approx(np.sqrt(own**2 + (linear - trees) ** 2 / 4))
    logistic = replace(model, fitted=replace(fitted, shares=(0.0, 1.0, 0.0))).effects(rows)
    directed = replace(model, fitted=replace(fitted, shares=(1.0, 0.0, 0.0))).effects(rows)
    both = logistic.merge(directed, on="label", suffixes=("", "_directed"))
    assert (both["log_odds"] - both["log_odds_directed"]).abs().max() > 0.02


def test_doubt_about_a_driver_fades_and_scales_with_its_part(renewals):
    rows, model = renewals
    rows = rows.head(40)

    def sds(horizon, **changes):
        calibration = replace(model.calibration, **changes)
        table = replace(model, calibration=calibration).explain(rows, horizon)
        renewal = table["metric"] == "days_to_renewal"
        return table.loc[renewal, "sd"].to_numpy(), table.loc[~renewal, "sd"].to_numpy()

    shift, timing, slope = model.calibration.coefficients
    plain, twice = sds(30), sds(30, coefficients=(shift, 2 * timing, slope))
    assert twice[0] == pytest.approx(2 * plain[0], abs=1e-6)
    slow, fast = sds(90, fade=1.0), sds(90, fade=0.5)
    assert fast[1].sum() < 0.95 * slow[1].sum()


def test_few_losses_keep_the_prior():
    frame, event = panel(60, 10, seed=3)
    rows = rows_at_risk(frame, event, as_of(10))
    outcome = outcomes(rows, as_of(10), 30, 0)
    known = ~np.isnan(outcome)
    fitted = fit_candidates(
        rows[known], outcome[known], settings({"churn_rivals_min_churned": 500})
    )
    assert fitted.undirected is None and fitted.boosted is None


def renewing(seed=5, clients=260, months=14, notice_days=0):
    """(rows, renewal in this step): half have a term of a year and churn at its end alone, or so many days before it;
    half go on by the month."""
    rng = np.random.default_rng(seed)
    frame, _ = panel(clients, months, seed)
    number = frame["client_id"].str[1:].astype(int)
    step = ((frame["date"] - frame["date"].min()).dt.days // 30).to_numpy()
    until = (number * 7 % 12 - step) % 12 * 30 + 15.0
    annual = (number % 2 == 0).to_numpy()
    frame["days_to_renewal"] = until.where(annual)
    frame["contract_term_days"] = np.where(annual, 360.0, 30.0)
    frame["tenure_days"] += number * 37 % 900
    due = annual & (until - notice_days).between(0, 29).to_numpy()
    chance = np.where(due, 0.35, np.where(annual, 0.0, 0.02))
    frame["chance"] = chance
    lost = frame[rng.random(len(frame)) < chance].groupby("client_id")["date"].min()
    event = (lost + pd.Timedelta(days=15)).reindex(sorted(frame["client_id"].unique()))
    frame["live"] = ~(event.reindex(frame["client_id"]).to_numpy() <= frame["date"].to_numpy())
    return rows_at_risk(frame, event, as_of(months)), due


@pytest.fixture(scope="module")
def renewals():
    rows, _ = renewing()
    return rows, ChurnModel.fit(rows, as_of(14), Settings())


def test_churn_that_waits_for_the_renewal_is_foretold_for_the_step_that_holds_it(renewals):
    rows, model = renewals
    assert model.eligible
    predicted = model.predict(rows, [30, 90]).merge(rows, on=["client_id", "date"])
    month = predicted[predicted["horizon_days"] == 30]
    monthly = month["contract_term_days"] == 30
    due, far = month["days_to_renewal"] < 30, month["days_to_renewal"] > 60
    assert month.loc[due, "probability"].mean() == pytest.approx(0.35, abs=0.1)
    assert month.loc[far, "probability"].mean() < 0.008 and (month.loc[far, "lower"] == 0).all()
    assert month.loc[monthly, "probability"].mean() == pytest.approx(0.02, abs=0.012)
    quarter = predicted[predicted["horizon_days"] == 90]
    third = quarter["days_to_renewal"].between(60, 89)
    assert quarter.loc[third, "probability"].mean() == pytest.approx(0.35, abs=0.12)
    assert quarter.loc[quarter["days_to_renewal"] > 90, "probability"].mean() < 0.03


def test_a_longer_horizon_never_has_the_smaller_probability():
    """Also where a renewal falls into the part of a step that the shorter one leaves out: it is a danger a month ahead."""
    rows, _ = renewing(clients=140, months=13, notice_days=30)
    model = ChurnModel.fit(rows, as_of(13), Settings())
    assert model.eligible
    rows = rows[rows["date"] == rows["date"].max()]
    predicted = model.predict(rows, range(3, 367, 11))
    by_days = predicted.pivot(index="client_id", columns="horizon_days", values="probability")
    assert by_days.diff(axis=1).iloc[:, 1:].min().min() >= 0


def test_renewals_of_half_a_year_are_expected_to_churn_as_often_as_the_law_says(renewals):
    """Each of those that renew within 180 days does so once, and churns then with a chance of 0.35."""
    rows, model = renewals
    rows = rows[rows["date"] == rows["date"].max()].set_index("client_id", drop=False)
    due = rows[rows["days_to_renewal"].between(0, 180)]
    tables = {}
    for days, own in model.predict(due, [90, 180]).groupby("horizon_days"):
        own = own.set_index("client_id").rename(columns={"log_odds_sd": "own_sd"})
        tables[days] = own.assign(shared_sd=0.0, gave_notice=False)
    expected = tables[180]["probability"].sum()
    assert len(due) > 30 and expected == pytest.approx(0.35 * len(due), rel=0.2)
    assert tables[90]["probability"].sum() < 0.7 * expected
    ones = pd.Series(1.0, index=due.index)
    drawn = simulate_churn(tables[180], ones, 4_000, 1).arr(ones)
    assert drawn.quantile(0.05) < 0.35 * len(due) < drawn.quantile(0.95)


def test_a_renewal_within_the_horizon_is_a_risk_and_adds_up_with_the_other_parts(renewals):
    rows, model = renewals
    drivers = model.explain(rows, 90)
    renewal = drivers[drivers["metric"] == "days_to_renewal"]
    days = renewal["value"]
    assert (renewal.loc[days < 90, "log_odds"] > 0).mean() > 0.9
    assert (renewal.loc[days > 120, "log_odds"] < 0).all()
    assert (drivers.loc[drivers["metric"] == "missing", "value"].isna()).all()
    next_step = model.explain(rows).groupby(["client_id", "date"])["log_odds"].sum() + model.base
    odds = model.predict(rows, [30]).set_index(["client_id", "date"])["log_odds"]
    assert next_step.to_numpy() == pytest.approx(odds.to_numpy(), abs=1e-6)


def test_what_is_missing_speaks_of_no_metric_and_has_a_part_of_its_own():
    frame, event = panel(150, 10, seed=8)
    frame.loc[frame["tenure_days"] < 320, "nps_365d"] = np.nan
    rows = rows_at_risk(frame, event, as_of(10))
    model = ChurnModel.fit(rows, as_of(10), Settings())
    drivers = model.explain(rows)
    unknown = rows.loc[rows["nps_365d"].isna(), ["client_id", "date"]]
    named = drivers[drivers["metric"] == "nps_365d"].merge(unknown, on=["client_id", "date"])
    assert len(named) and named["log_odds"].abs().max() == 0.0
    missing = drivers[drivers["metric"] == "missing"]
    assert len(missing) == len(rows) and missing["log_odds"].abs().max() < 0.5


def test_confidence_is_the_chance_that_the_level_is_the_one_shown(portfolio):
    rows, model = portfolio
    predicted = model.predict(rows, [30]).reset_index(drop=True)
    truth = special.expit(rows.sort_values(["client_id", "date"])["odds"].to_numpy())
    edges = np.array([1.0, 2.0, 4.0]) * model.base_probability(30)
    levels = np.array(["low", "medium", "high", "critical"])[np.searchsorted(edges, truth, "right")]
    right = predicted["risk_level"].to_numpy() == levels
    sure = predicted["confidence"] > predicted["confidence"].median()
    assert right[sure].mean() > right[~sure].mean() + 0.1
    assert abs(right.mean() - predicted["confidence"].mean()) < 0.12


def test_renewals_are_foretold_as_well_as_by_the_days_to_them_on_each_subset(renewals):
    rows, _ = renewals
    until = as_of(8)
    early = rows[rows["date"] <= pd.Timestamp(until)]
    early = early.assign(event_on=early["event_on"].where(early["event_on"] <= pd.Timestamp(until)))
    model = ChurnModel.fit(early, until, Settings())
    late = rows[rows["date"] > pd.Timestamp(until)].sort_values(["client_id", "date"])
    predicted = model.predict(late, [30])["probability"].to_numpy()

    def subset(frame):
        days = frame["days_to_renewal"]
        return np.select([days.isna(), days < 30], ["monthly", "due"], "far")

    outcome = outcomes(early, until, 30, 0)
    known = ~np.isnan(outcome)
    counts = pd.DataFrame({"subset": subset(early[known]), "lost": outcome[known]})
    rates = counts.groupby("subset")["lost"].agg(lambda lost: (lost.sum() + 0.5) / (len(lost) + 1))
    truth, of_row = late["chance"].to_numpy(), subset(late)
    for name in ("monthly", "due", "far"):
        p, rows_of = truth[of_row == name], of_row == name

        def loss(q, p=p):
            return -(p * np.log(q) + (1 - p) * np.log1p(-q)).mean()

        assert loss(predicted[rows_of]) <= loss(rates[name]) + 0.02, name
