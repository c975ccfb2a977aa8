"""Partial correlation, difference and odds ratio: against formulas, statsmodels, and worlds that are known."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from healthseg.statistics.effects import (
    adjusted_difference,
    odds_ratio,
    partial_correlation,
    resamples,
)
from healthseg.statistics.robust import ranks


def world(seed, n=600, effect=0.0, confounding=0.0):
    """x, y, a measured confounder, and rows of customers that come back three times."""
    rng = np.random.default_rng(seed)
    size = np.repeat(rng.normal(size=n // 3), 3)
    x = (rng.random(n) < 1 / (1 + np.exp(-confounding * size))).astype(float)
    y = (rng.random(n) < 1 / (1 + np.exp(1 - effect * x - confounding * size))).astype(float)
    return x, y, size[:, None], np.repeat(np.arange(n // 3), 3)


def test_without_anything_to_adjust_for_it_is_pearsons_and_of_ranks_spearmans():
    rng = np.random.default_rng(1)
    x, y, who = rng.normal(size=60), rng.normal(size=60), np.arange(60)
    draws = resamples(60, seed=7)
    bare = partial_correlation(x, y, np.empty((60, 0)), who, draws)
    assert bare.value == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-6)
    assert (
        partial_correlation(ranks(x), ranks(np.exp(x)), np.empty((60, 0)), who, draws).value
        > 0.9999
    )


def test_the_partial_correlation_is_that_of_what_least_squares_leaves():
    x, y, controls, who = world(2, confounding=1.0)
    rest = [
        column - np.polyval(np.polyfit(controls[:, 0], column, 1), controls[:, 0])
        for column in (x, y)
    ]
    result = partial_correlation(x, y, controls, who, resamples(who.max() + 1, seed=7))
    assert result.value == pytest.approx(np.corrcoef(*rest)[0, 1], abs=1e-6)
    assert result.lower < result.value < result.upper


def test_the_difference_is_the_coefficient_of_least_squares():
    x, y, controls, who = world(3, confounding=1.0)
    model = sm.OLS(y, sm.add_constant(np.column_stack([controls, x]))).fit()
    result = adjusted_difference(x, y, controls, who, resamples(who.max() + 1, 7))
    assert result.value == pytest.approx(model.params[-1], abs=1e-6)


def test_the_odds_ratio_is_that_of_logistic_regression_with_the_customers_sandwich():
    x, y, controls, who = world(4, n=3000, effect=-1.0, confounding=0.5)
    columns = sm.add_constant(np.column_stack([controls, x]))
    model = sm.Logit(y, columns).fit(disp=0, cov_type="cluster", cov_kwds={"groups": who})
    result = odds_ratio(x, y, controls, who)
    assert np.log(result.value) == pytest.approx(
        model.params[-1], abs=2e-3
    )  # a prior with an sd of 3
    assert np.log(result.upper / result.lower) / 3.92 == pytest.approx(model.bse[-1], rel=0.03)
    assert result.upper < 1


def test_a_side_without_an_event_has_a_wide_interval_and_not_none():
    x, y = np.repeat([0.0, 1.0], 50), np.r_[np.ones(10), np.zeros(90)]
    result = odds_ratio(x, y, np.empty((100, 0)), np.arange(100))
    assert result.value < 0.1 and result.upper / result.lower > 20


def test_what_does_not_vary_has_no_effect_to_tell():
    x = np.ones(30)
    assert (
        partial_correlation(x, np.arange(30.0), np.empty((30, 0)), np.arange(30), resamples(30, 7))
        is None
    )
    assert odds_ratio(x, np.r_[0, np.ones(29)], np.empty((30, 0)), np.arange(30)) is None


def test_a_measured_confounder_explains_a_raw_effect_away_and_a_real_one_stays():
    raw, adjusted, real = 0, 0, 0
    for seed in range(20):
        x, y, controls, who = world(100 + seed, n=1500, confounding=1.2)
        draws = resamples(who.max() + 1, seed=7)
        raw += partial_correlation(x, y, controls[:, :0], who, draws).p < 0.05
        inside = partial_correlation(x, y, controls, who, draws)
        adjusted += inside.lower <= 0 <= inside.upper
        x, y, controls, who = world(200 + seed, n=1500, effect=-1.1, confounding=1.2)
        real += partial_correlation(x, y, controls, who, draws).p < 0.01
    assert (raw, adjusted >= 18, real >= 18) == (20, True, True)


def test_where_nothing_goes_together_p_below_a_twentieth_is_as_rare_as_that():
    hits = 0
    for seed in range(200):
        x, y, controls, who = world(1000 + seed, n=240)
        hits += (
            partial_correlation(x, y, controls, who, resamples(who.max() + 1, 7, count=200)).p
            < 0.05
        )
    assert 2 <= hits <= 18  # 10 expected, three sd about it
