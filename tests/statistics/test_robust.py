from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from healthseg.statistics.robust import theil_sen, velocity


def test_sens_own_example_has_its_published_slope_and_interval():
    # Sen (1968), JASA 63, 1379-1389, section 6: seven points, slope 4, and at 93 per cent the interval 26/7 to 35/8
    x, y = [1, 2, 3, 4, 10, 12, 18], [9, 15, 19, 20, 45, 55, 78]
    fitted = theil_sen(x, y, 0.93)
    assert fitted.slope[0] == 4.0
    assert (fitted.lower[0], fitted.upper[0]) == (pytest.approx(26 / 7), pytest.approx(35 / 8))


@given(st.lists(st.integers(0, 12), min_size=6, max_size=15), st.sampled_from([0.8, 0.9, 0.95]))
def test_slope_and_interval_agree_with_scipy(values, level):
    x = np.arange(len(values), dtype=float)
    own, reference = (
        theil_sen(x, np.array(values, dtype=float), level),
        stats.theilslopes(values, x, level),
    )
    assert own.slope[0] == pytest.approx(reference.slope)
    assert (own.lower[0], own.upper[0]) == (
        pytest.approx(reference.low_slope),
        pytest.approx(reference.high_slope),
    )


def test_missing_points_are_left_out():
    gaps = np.array([1, np.nan, 3, 4, np.nan, 6, 7, 9.0])
    fitted = theil_sen(np.arange(8), gaps)
    known = ~np.isnan(gaps)
    alone = theil_sen(np.arange(8)[known], gaps[known])
    assert (fitted.slope, fitted.lower, fitted.upper, fitted.points) == (
        alone.slope,
        alone.lower,
        alone.upper,
        6,
    )


def test_too_few_points_have_no_slope():
    fitted = theil_sen(np.arange(6), np.array([1, 2, 3, 4, 5, np.nan]))
    assert np.isnan([fitted.slope[0], fitted.lower[0], fitted.upper[0], fitted.direction[0]]).all()
    assert theil_sen(np.array([]), np.empty((3, 0))).points.tolist() == [0, 0, 0]


def test_a_series_among_thousands_has_the_same_bits_as_alone():
    rows = np.random.default_rng(5).normal(size=(2_500, 13)).round(1)
    together = theil_sen(np.arange(13), rows)
    for at in (0, 1_999, 2_000, 2_499):
        alone = theil_sen(np.arange(13), rows[at])
        assert (alone.slope[0], alone.lower[0], alone.upper[0]) == (
            together.slope[at],
            together.lower[at],
            together.upper[at],
        )


def test_two_points_at_one_place_are_refused():
    with pytest.raises(ValueError, match="distinct"):
        theil_sen([1, 1, 2], [1, 2, 3])


def test_an_overlap_of_one_is_no_overlap_and_more_of_it_widens_the_interval():
    series = np.random.default_rng(8).normal(size=13).cumsum()
    widths = [
        float(np.subtract(fitted.upper, fitted.lower)[0])
        for fitted in (
            theil_sen(np.arange(13), series, overlap=overlap) for overlap in (1, 2, 4, 8)
        )
    ]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


@pytest.mark.parametrize("points", [8, 13, 53])
def test_moving_windows_of_noise_are_called_a_trend_no_oftener_than_the_level_says(points):
    noise = np.random.default_rng(points).normal(size=(1_500, points + 3))
    windows = np.stack([noise[:, at : at + 4].mean(axis=1) for at in range(points)], axis=1)
    alarms = {
        overlap: (theil_sen(np.arange(points), windows, 0.9, overlap=overlap).direction != 0).mean()
        for overlap in (1, 4)
    }
    assert alarms[1] > 0.25
    assert alarms[4] < 0.12


def alike_weeks(random, points):
    """Noise that carries on half of the week before."""
    noise = random.normal(size=points + 20)
    for at in range(1, len(noise)):
        noise[at] = 0.5 * noise[at - 1] + np.sqrt(0.75) * noise[at]
    return 0.1 * noise[20:]


def words(added, correlation):
    random = np.random.default_rng(4)
    return [
        velocity(alike_weeks(random, len(added)) + added, seed, correlation=correlation).word
        for seed in range(100)
    ]


def test_weeks_that_resemble_each_other_are_no_change_of_a_trend_and_a_turn_is():
    flat, turn = np.zeros(12), np.r_[np.zeros(6), 0.25 * np.arange(6)]
    assert words(flat, 0.5).count("steady") >= 90
    assert words(flat, 0.0).count("steady") <= 85
    assert words(turn, 0.5).count("accelerating") >= 85
    assert words(-turn, 0.5).count("decelerating") >= 85
