"""HazardClassifier: scikit-learn's own checks, penalties that shrink, directions that help, parts that add up."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import special
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from healthseg.scoring.churn.hazard import HazardClassifier, Prior, fit_posterior
from healthseg.scoring.churn.predictors import HINGE, LINEAR, make_design


@parametrize_with_checks([HazardClassifier()])
def test_it_is_an_estimator_of_scikit_learn(estimator, check):
    check(estimator)


def drawn(rows, width, effects, seed, rate=-2.0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, width))
    odds = rate + X[:, : len(effects)] @ np.array(effects)
    return X, (rng.random(rows) < special.expit(odds)).astype(int), odds


def test_with_wide_priors_it_is_the_logistic_regression_of_maximum_likelihood():
    X, y, _ = drawn(2000, 3, [1.0, -0.5, 0.0], 1)
    design = np.column_stack([np.ones(len(X)), X])
    prior = Prior(np.zeros(4), np.full(4, 1e3), np.full(4, -1), np.ones(0))
    fitted = fit_posterior(design, y.astype(float), prior)
    sure = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(X, y)
    assert fitted.mean == pytest.approx([sure.intercept_[0], *sure.coef_[0]], abs=1e-4)
    p = special.expit(design @ fitted.mean)
    curvature = (design * (p * (1 - p))[:, None]).T @ design
    assert fitted.covariance == pytest.approx(np.linalg.inv(curvature), abs=1e-6)


def test_directions_help_where_few_events_teach_and_cannot_harm_where_many_do():
    effects = [0.3] * 8

    def gained(rows, directions, seed):
        X, y, _ = drawn(rows, 8 + 20, effects, seed, rate=-3.0)
        test, _, odds = drawn(4000, 8 + 20, effects, 99)
        model = HazardClassifier(directions=directions, bent=np.zeros(28)).fit(X, y)
        return np.corrcoef(model.decision_function(test), odds)[0, 1]

    right, none = np.r_[np.ones(8), np.zeros(20)], np.zeros(28)
    few = [(gained(300, right, seed), gained(300, none, seed)) for seed in range(5)]
    assert np.mean([with_ - without for with_, without in few]) > 0.05
    wrong = np.r_[-np.ones(8), np.zeros(20)]
    assert gained(20_000, wrong, 7) > 0.97


def test_what_is_noise_is_shrunk_to_nearly_nothing():
    X, y, _ = drawn(1500, 30, [], 3)
    model = HazardClassifier(bent=np.zeros(30)).fit(X, y)
    assert np.std(model.decision_function(X)) < 0.15


def test_the_intervals_hold_the_true_log_odds_nine_times_in_ten():
    inside = []
    for seed in range(20):
        X, y, odds = drawn(800, 10, np.random.default_rng(100 + seed).normal(0, 0.2, 10), seed)
        model = HazardClassifier().fit(X, y)
        mean, sd = model.decision_function(X), model.log_odds_sd(X)
        inside.append(np.mean(np.abs(odds - mean) <= 1.645 * sd))
    assert 0.84 <= np.mean(inside) <= 0.97


def test_parts_add_up_to_the_log_odds_for_missing_and_extreme_rows_too():
    X, y, _ = drawn(500, 6, [1.0, -1.0], 5)
    X[::7, 2] = np.nan
    model = HazardClassifier(directions=[1, -1, 0, 0, 0, 0]).fit(X, y)
    odd = np.vstack([X[:20], np.full(6, 50.0), np.full(6, np.nan)])
    assert model.base + model.parts(odd).sum(axis=1) == pytest.approx(
        model.decision_function(odd), abs=1e-12
    )
    joint, sd = model.joint_parts(odd, [[0, 1], [2, 3, 4, 5, 6]])
    assert joint.sum(axis=1) == pytest.approx(model.parts(odd).sum(axis=1))
    whole = model.joint_parts(odd, [list(range(7))])[1][:, 0]
    assert (sd > 0).any() and (whole <= model.log_odds_sd(odd) + 1.0).all()


def test_missing_is_missing_and_not_a_number():
    X, y, _ = drawn(2000, 2, [1.0], 6)
    gaps = X.copy()
    gaps[::3, 0] = np.nan
    model = HazardClassifier(bent=np.zeros(2)).fit(gaps, y)
    at_mean, unknown = model.decision_function([[np.nanmean(gaps[:, 0]), 0.0], [np.nan, 0.0]])
    assert abs(at_mean - unknown) < 0.5
    moved = HazardClassifier(bent=np.zeros(2)).fit(np.where(np.isnan(gaps), np.nan, gaps + 100), y)
    assert moved.decision_function(gaps + 100) == pytest.approx(
        model.decision_function(gaps), abs=1e-8
    )


def test_a_constant_and_an_unknown_metric_say_nothing():
    X, y, _ = drawn(400, 2, [1.0], 8)
    more = np.column_stack([X, np.full(400, 3.0), np.full(400, np.nan)])
    model = HazardClassifier().fit(more, y)
    assert model.parts(np.array([[0, 0, 99.0, 5.0]]))[0, 2:].tolist() == [0.0] * 3


def test_json_gives_the_same_bytes_of_predictions():
    X, y, _ = drawn(300, 4, [1.0, 1.0], 9)
    model = HazardClassifier(
        directions=[1, 1, 0, 0], groups=["directed", "directed", "metric", "metric"]
    ).fit(X, y)
    again = HazardClassifier.from_dict(json.loads(json.dumps(model.to_dict())))
    assert (again.decision_function(X) == model.decision_function(X)).all()
    assert (again.log_odds_sd(X) == model.log_odds_sd(X)).all()


def test_the_order_of_rows_changes_nothing_that_is_seen():
    X, y, _ = drawn(600, 5, [1.0], 10)
    order = np.random.default_rng(0).permutation(600)
    shuffled, straight = HazardClassifier().fit(X[order], y[order]), HazardClassifier().fit(X, y)
    assert shuffled.decision_function(X) == pytest.approx(straight.decision_function(X), abs=1e-6)


def test_one_class_and_wrong_directions_are_refused():
    X = np.zeros((4, 2))
    with pytest.raises(ValueError, match="one class only"):
        HazardClassifier().fit(X, [1, 1, 1, 1])
    with pytest.raises(ValueError, match="3 entries for 2 features"):
        HazardClassifier(directions=[1, 0, 0]).fit(X, [0, 1, 0, 1])


def test_hinges_stand_at_the_quartiles_and_are_centred():
    values = np.arange(101.0)[:, None]
    design = make_design(values, [True])
    assert [column.form for column in design.columns] == [LINEAR, HINGE, HINGE, HINGE]
    knots = [column.knot * design.scales[0] + design.centers[0] for column in design.columns[1:]]
    assert knots == pytest.approx([25, 50, 75])
    assert design.matrix(values).mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-12)
    assert design.matrix(np.array([[np.nan]])) == pytest.approx(np.zeros((1, 4)), abs=1e-12)
