"""The members against statsmodels, and against lines and steps whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.tsa.forecasting.theta import ThetaModel
from statsmodels.tsa.holtwinters import ExponentialSmoothing, Holt

from healthseg.forecasting.models import (
    DampedTrend,
    Naive,
    Theta,
    fit_damped_trend,
    fit_dynamic_theta,
    fit_theta,
)


@pytest.mark.parametrize("seed", range(5))
def test_theta_is_the_one_of_statsmodels(walk, seed):
    values = walk(40, seed)
    reference = ThetaModel(values, period=1, deseasonalize=False).fit().forecast(8, theta=2)
    assert fit_theta(values).paths(values, 8)[-1] == pytest.approx(np.asarray(reference), rel=1e-3)


@pytest.mark.parametrize(
    ("alpha", "beta", "damping"), [(0.3, 0.1, 0.9), (0.8, 0.05, 0.98), (0.15, 0.15, 0.8)]
)
def test_the_damped_trend_has_the_states_of_statsmodels(walk, alpha, beta, damping):
    values = walk(50, 3)
    own = DampedTrend(alpha, beta, damping, level=58.0, trend=0.7).paths(values, 6)
    # in statsmodels the trend's parameter is a share of the level's
    reference = Holt(
        values,
        damped_trend=True,
        initialization_method="known",
        initial_level=58.0,
        initial_trend=0.7,
    ).fit(
        smoothing_level=alpha, smoothing_trend=beta / alpha, damping_trend=damping, optimized=False
    )
    assert own[-1] == pytest.approx(reference.forecast(6), rel=1e-10)
    assert own[:-1, 0] == pytest.approx(reference.fittedvalues[1:], rel=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_the_damped_trend_fits_as_closely_as_an_optimiser(walk, seed):
    values = walk(60, seed)
    own = fit_damped_trend(values)
    errors = values[1:] - own.paths(values, 1)[:-1, 0]
    reference = ExponentialSmoothing(
        values, trend="add", damped_trend=True, initialization_method="estimated"
    ).fit()
    assert (errors**2).sum() <= 1.03 * reference.sse


@pytest.mark.parametrize("fit", [fit_theta, fit_dynamic_theta, fit_damped_trend])
def test_forecasts_from_an_origin_read_nothing_after_it(walk, fit):
    values = walk(40, 1)
    model = fit(values)
    changed = values.copy()
    changed[25:] += 1000
    assert np.array_equal(model.paths(changed, 5)[:25], model.paths(values, 5)[:25])


def test_the_dynamic_theta_follows_a_straight_line():
    values = 5 + 2.0 * np.arange(30)
    assert fit_dynamic_theta(values).paths(values, 3)[-1] == pytest.approx([65, 67, 69])


def test_a_damped_trend_bends_what_goes_straight():
    steps = np.diff(DampedTrend(0.5, 0.2, 0.8, 0.0, 1.0).paths(np.arange(20.0), 6)[-1])
    assert steps[1:] / steps[:-1] == pytest.approx(0.8)


def test_theta_without_slope_is_exponential_smoothing():
    assert Theta(0.5, 0.0, 0.0, intercept=False).paths(np.array([8.0, 4.0]), 2).tolist() == [
        [4, 4],
        [4, 4],
    ]


def test_naive_repeats_the_last_value_and_seasonal_naive_the_last_season():
    values = np.array([1.0, 2.0, 3.0, 4.0])
    assert Naive().paths(values, 2)[-1].tolist() == [4, 4]
    assert Naive(3).paths(values, 4)[-1].tolist() == [2, 3, 4, 2]
    assert Naive(3).paths(values, 2)[0].tolist() == [1, 1]  # no season seen yet: the last value
