"""The intervals hold what they promise, on processes whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from healthseg.forecasting import forecast
from healthseg.forecasting.intervals import half_widths, measured_growth, past_errors
from healthseg.forecasting.models import Naive

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
    found = coverage(long, drawn(count, kind))
    assert 0.86 <= found.mean() <= 0.96
    assert found.min() >= 0.82


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
    errors = past_errors(values, Naive().paths(values, 2), relative=False)
    assert errors[:2, 0].tolist() == [1, 2]
    assert errors[0, 1] == 3
    assert np.isnan(errors[[2, 1, 2], [0, 1, 1]]).all()


def test_errors_of_a_series_that_grew_are_brought_to_its_present_level():
    values = np.array([100.0, 101.0, 400.0])
    errors = past_errors(values, Naive().paths(values, 1), relative=True)
    assert errors[0, 0] == pytest.approx(
        2
    )  # 1 at a quarter of the level: twice the standard deviation


def test_a_fall_towards_zero_does_not_shrink_the_errors_to_nothing():
    values = np.array([100.0, 110.0, 1e-6])
    assert past_errors(values, Naive().paths(values, 1), relative=True)[0, 0] == pytest.approx(5)


def test_the_spread_of_a_walk_grows_with_the_root_of_the_step(walk):
    values = walk(4000, 2)
    growth = measured_growth(past_errors(values, Naive().paths(values, 9), relative=False))
    assert growth[8] / growth[0] == pytest.approx(3, rel=0.1)


def test_no_earlier_origin_means_no_width():
    assert np.isnan(
        half_widths(np.array([5.0]), np.array([[5.0, 5.0]]), 0.9, 1.0, relative=False)
    ).all()
