"""The calibration of held-out log odds: the top of its posterior, also where they point the wrong way."""

from __future__ import annotations

import numpy as np
import pytest
import scipy

from healthseg.scoring.churn.calibration import INTERCEPT_SD, SLOPE_SD, calibrate


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
