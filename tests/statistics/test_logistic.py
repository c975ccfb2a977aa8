"""The one logistic fit: against statsmodels, against a general optimiser, and where a step would leap over the top."""

from __future__ import annotations

import numpy as np
import pytest
import scipy
import statsmodels.api as sm

from healthseg.statistics import effects


def world(
    seed: int, rows: int = 400, columns: int = 3
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    design = np.column_stack([np.ones(rows), rng.normal(size=(rows, columns))])
    chance = scipy.special.expit(design @ np.r_[-1.0, rng.normal(size=columns)])
    return design, (rng.random(rows) < chance).astype(float), np.arange(rows) // 4


def nothing(design: np.ndarray) -> np.ndarray:
    return np.zeros(design.shape[1])


@pytest.mark.parametrize("seed", range(5))
def test_without_a_prior_it_is_statsmodels_logit_with_its_errors_over_customers(seed):
    design, y, customer = world(seed)
    reference = sm.Logit(y, design).fit(disp=0, tol=1e-12)
    beta = effects.fit_logistic(design, y, nothing(design), nothing(design))
    np.testing.assert_allclose(beta, reference.params, atol=1e-8)
    plain, over_customers = effects.covariances(design, y, beta, nothing(design), customer)
    np.testing.assert_allclose(plain, reference.cov_params(), rtol=1e-5)
    clustered = sm.Logit(y, design).fit(
        disp=0, tol=1e-12, cov_type="cluster", cov_kwds={"groups": customer}
    )
    rows, columns = design.shape
    theirs_is_larger_by = (rows - 1) / (rows - columns)
    np.testing.assert_allclose(
        over_customers * theirs_is_larger_by, clustered.cov_params(), rtol=1e-4
    )


@pytest.mark.parametrize("seed", range(5))
def test_under_a_prior_it_is_the_top_that_a_general_optimiser_finds(seed):
    design, y, _ = world(seed, rows=60)
    precision, mean, offset = np.array([0.0, 2.0, 0.5, 30.0]), np.array([0.0, 1.0, -1.0, 0.3]), -0.7

    def depth(beta: np.ndarray) -> float:
        odds = offset + design @ beta
        return float(
            np.logaddexp(0, odds).sum() - y @ odds + (precision * (beta - mean) ** 2).sum() / 2
        )

    top = effects.fit_logistic(design, y, precision, mean, offset=offset)
    searched = scipy.optimize.minimize(
        depth,
        mean,
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 20_000, "maxfev": 20_000},
    )
    np.testing.assert_allclose(top, searched.x, atol=1e-5)
    assert depth(top) <= searched.fun + 1e-12


def test_the_derivatives_are_those_of_the_value():
    design, y, _ = world(7)
    beta, step = np.array([0.2, -0.4, 1.0, 0.1]), 1e-5 * np.eye(4)
    around = effects.expand(design, y, beta, offset=0.3)
    slopes = [
        (
            effects.expand(design, y, beta + shift, 0.3).value
            - effects.expand(design, y, beta - shift, 0.3).value
        )
        / 2e-5
        for shift in step
    ]
    bends = [
        (
            effects.expand(design, y, beta - shift, 0.3).gradient
            - effects.expand(design, y, beta + shift, 0.3).gradient
        )
        / 2e-5
        for shift in step
    ]
    np.testing.assert_allclose(around.gradient, slopes, atol=1e-5)
    np.testing.assert_allclose(around.curvature, bends, rtol=1e-6)


def test_many_rows_are_added_up_in_parts():
    design, y, _ = world(8, rows=effects.ROWS_AT_ONCE + 5)
    whole, beta = effects.expand(design, y, np.zeros(4)), np.zeros(4)
    parts = [
        effects.expand(design[rows], y[rows], beta)
        for rows in (slice(0, 9_000), slice(9_000, None))
    ]
    np.testing.assert_allclose(whole.gradient, sum(part.gradient for part in parts), rtol=1e-10)
    np.testing.assert_allclose(whole.curvature, sum(part.curvature for part in parts), rtol=1e-10)


def test_a_side_without_events_settles_under_a_prior_and_a_step_that_leaps_is_halved():
    design = np.column_stack([np.ones(40), np.repeat([0.0, 1.0], 20)])
    y = np.r_[np.zeros(19), 1.0, np.zeros(20)]
    precision = np.array([0.0, 0.1])
    near = effects.fit_logistic(design, y, precision, np.zeros(2))
    far = effects.fit_logistic(design, y, precision, np.zeros(2), start=np.array([8.0, -20.0]))
    assert near[1] < 0
    np.testing.assert_allclose(near, far, atol=1e-8)


def test_columns_that_say_the_same_share_what_they_say():
    design, y, _ = world(9)
    twice, precision = np.column_stack([design, design[:, 1]]), np.array([0.0, 0.1, 0.1, 0.1, 0.1])
    beta = effects.fit_logistic(twice, y, precision, np.zeros(5))
    assert beta[1] == pytest.approx(beta[4], abs=1e-8)


def test_what_has_no_top_is_not_found():
    design, y = np.ones((5, 1)), np.ones(5)
    assert effects.fit_logistic(design, y, np.zeros(1), np.zeros(1)) is None
