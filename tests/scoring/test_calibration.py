"""The calibration of held-out log odds: the top of its posterior, also where they point the wrong way."""

from __future__ import annotations

import numpy as np
import pytest
import scipy

from healthseg.scoring.churn.calibration import INTERCEPT_SD, SLOPE_SD, Calibration, calibrate


@pytest.mark.parametrize("spread", [0.5, 3.0, 8.0])
def test_no_other_slope_and_intercept_are_likelier_even_where_the_log_odds_point_the_wrong_way(
    spread,
):
    rng = np.random.default_rng(4)
    raw, center = -1.0 + spread * rng.normal(size=900), -1.0
    outcome = (rng.random(900) < scipy.special.expit(-2.0 - 0.2 * (raw - center))).astype(float)

    def depth(point: np.ndarray) -> float:
        odds = center + point[0] + point[1] * (raw - center)
        prior = (point[0] / INTERCEPT_SD) ** 2 + ((point[1] - 1) / SLOPE_SD) ** 2
        return float(np.logaddexp(0, odds).sum() - outcome @ odds + prior / 2)

    fitted = calibrate(np.full(900, center), np.zeros(900), raw, outcome, 30, [])
    searched = scipy.optimize.minimize(
        depth, [0.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10}
    )
    assert (fitted.coefficients[0], fitted.slope) == pytest.approx(tuple(searched.x), abs=1e-4)
    assert (
        fitted.slope < 0.9
        and fitted.covariance[0][0] < INTERCEPT_SD**2
        and fitted.covariance[2][2] < SLOPE_SD**2
    )


def test_as_many_are_expected_in_later_steps_as_in_the_first_where_standings_move_about_one_mean():
    """Standings follow x' = 0.8 x + noise with variance 1.44; the law's mean chance so many steps ahead is simulated."""
    rng, fade, sd = np.random.default_rng(7), 0.8, 1.2
    standing = sd * rng.normal(size=20_000)
    ahead = Calibration((0.0, 1.0, 1.0), ((0.0,) * 3,) * 3, fade, 30, variance=sd**2)
    without = Calibration((0.0, 1.0, 1.0), ((0.0,) * 3,) * 3, fade, 30)
    later, means = standing, []
    for step in range(6):
        law = scipy.special.expit(-3.5 + later)
        odds, faded = (
            each.log_odds(-3.5, np.zeros(len(standing)), standing - 3.5, step)
            for each in (ahead, without)
        )
        expected = scipy.special.expit(odds)
        means.append(expected.mean())
        high = standing > sd
        assert expected[high].mean() == pytest.approx(law[high].mean(), rel=0.1)
        assert expected.mean() == pytest.approx(law.mean(), rel=0.05)
        later = fade * later + sd * np.sqrt(1 - fade**2) * rng.normal(size=len(standing))
    assert scipy.special.expit(faded).mean() < 0.75 * means[0]


def test_the_variance_of_standings_and_their_fading_are_learnt_from_held_out_rows():
    rng = np.random.default_rng(3)
    base, rest = np.full(30_000, -2.5), rng.normal(0, 1.1, 30_000)
    moved = 0.7 * rest + 1.1 * np.sqrt(1 - 0.7**2) * rng.normal(size=30_000)
    lost = [
        (rng.random(30_000) < scipy.special.expit(base + each)).astype(float)
        for each in (rest, moved)
    ]
    no_timing = np.zeros(30_000)
    fitted = calibrate(
        base, no_timing, base + rest, lost[0], 30, [(1, base, no_timing, base + rest, lost[1])]
    )
    assert fitted.variance == pytest.approx(1.21 * fitted.slope**2, rel=0.03)
    assert fitted.fade == pytest.approx(0.7, abs=0.07)
