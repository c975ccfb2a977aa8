"""The intervals hold what they promise, on processes whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from healthseg.forecasting import forecast
from healthseg.forecasting.models import Naive
from healthseg.forecasting.series import half_widths, level_scales, measured_growth, past_errors

HORIZON = 10


def coverage(long, series: np.ndarray, level: float = 0.9, **bounds) -> np.ndarray:
    """Share of outcomes inside the interval, by step."""
    known = {f"{k:03}": values[:-HORIZON] for k, values in enumerate(series)}
    got = forecast(long(known), HORIZON, level, season_length=1, **bounds)
    low, high = (got[side].to_numpy().reshape(len(series), HORIZON) for side in ("lower", "upper"))
    outcome = series[:, -HORIZON:]
    return ((low <= outcome) & (outcome <= high)).mean(axis=0)


def drawn(count: int, kind: str) -> np.ndarray:
    noise = np.random.default_rng(11).normal(size=(200, count + HORIZON))
    return np.cumsum(noise, axis=1) if kind == "walk" else lfilter([1], [1, -0.7], noise, axis=1)


@pytest.mark.parametrize("kind", ["walk", "ar"])
@pytest.mark.parametrize("count", [30, 80])
def test_ninety_per_cent_of_outcomes_lie_inside(long, kind, count):
    shares = coverage(long, drawn(count, kind))
    assert 0.86 <= shares.mean() <= 0.96
    assert shares.min() >= 0.82


def test_short_series_are_not_promised_too_much(long):
    assert 0.80 <= coverage(long, drawn(12, "walk")).mean() <= 0.95


@pytest.mark.parametrize("level", [0.5, 0.8])
def test_other_levels_hold_as_well(long, level):
    assert abs(coverage(long, drawn(60, "walk"), level).mean() - level) < 0.08


def test_bounded_scores_are_covered(long):
    rng = np.random.default_rng(3)
    scores = np.clip(75 + np.cumsum(rng.normal(0, 3, (200, 50)), axis=1), 0, 100)
    assert 0.86 <= coverage(long, scores, lower_bound=0, upper_bound=100).mean() <= 0.96


def test_errors_are_counted_where_the_outcome_is_known():
    values = np.array([1.0, 2.0, 4.0])
    errors = past_errors(values, Naive().paths(values, 2))
    assert errors[:2, 0].tolist() == [1, 2]
    assert errors[0, 1] == 3
    assert np.isnan(errors[[2, 1, 2], [0, 1, 1]]).all()


def test_the_spread_goes_with_the_root_of_the_level_as_of_counts():
    assert level_scales(np.array([[100.0], [400.0]])).tolist() == [[0.5], [1.0]]


def test_a_fall_towards_zero_does_not_shrink_the_errors_to_nothing():
    assert level_scales(np.array([[100.0], [1e-6]])).tolist() == [[4.0], [1.0]]


@pytest.mark.parametrize("values", [[50.0, 50.0], [0.0] * 30, [50.0] * 99 + [5000.0], [7.0] * 9])
def test_equal_values_have_an_interval_with_a_width(long, values):
    got = forecast(long({"a": values}), 3)
    assert (got["lower"] < got["upper"]).all()
    assert got["forecast"].to_numpy() == pytest.approx(values[0])


def test_a_series_that_fell_to_its_bound_keeps_a_width_above_it(long):
    falling = np.maximum(60 - 2.0 * np.arange(40) + np.random.default_rng(1).normal(0, 3, 40), 0)
    got = forecast(long({"a": falling[:30]}), 8, lower_bound=0)
    assert (got["upper"] > got["lower"]).all()
    assert (got["lower"] >= 0).all()


def test_the_spread_of_a_walk_grows_with_the_root_of_the_step(walk):
    values = walk(4000, 2)
    growth = measured_growth(past_errors(values, Naive().paths(values, 9)))
    assert growth[8] / growth[0] == pytest.approx(3, rel=0.1)


def test_no_earlier_origin_means_no_width():
    assert np.isnan(
        half_widths(np.array([5.0]), np.array([[5.0, 5.0]]), 0.9, 1.0, relative=False)
    ).all()
