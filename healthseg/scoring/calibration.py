"""From a classifier's log odds to probabilities over horizons: slope, intercept, and how fast a standing fades.

calibrated log odds of a step = c + a + s·(x − c), with c the portfolio's base, a ~ Normal(0, 0.3²) and s ~ Normal(1, 0.2²)
a priori: shrunk towards no change, as a small portfolio's held-out time cannot tell much. j steps ahead a customer's
standing has faded: c + ρʲ·(x − c), ρ ~ Normal(0.9, 0.1²). All three are learnt on held-out time alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import scipy

from healthseg.errors import CalculationError
from healthseg.statistics import effects

INTERCEPT_SD, SLOPE_SD = 0.3, 0.2
FADES = np.linspace(0.5, 1.0, 26)
FADE_MEAN, FADE_SD = 0.9, 0.1
NODES = np.array(
    [NormalDist().inv_cdf((node + 0.5) / 41) for node in range(41)]
)  # of a customer's own log odds
TOLERATED = 0.05  # of a probability: what "confidence" promises


@dataclass(frozen=True)
class Calibration:
    """Intercept and slope with their covariance (three figures), the centre, the fading, and a step's days."""

    center: float
    intercept: float
    slope: float
    intercept_variance: float
    slope_variance: float
    covariance: float
    fade: float
    step_days: int

    def log_odds(self, raw: np.ndarray) -> np.ndarray:
        return self.center + self.intercept + self.slope * (raw - self.center)

    def sd(self, raw: np.ndarray, raw_sd: np.ndarray) -> np.ndarray:
        """Of calibrated log odds: the classifier's own doubt and the calibration's."""
        away = raw - self.center
        own = self.intercept_variance + 2 * away * self.covariance + away**2 * self.slope_variance
        return np.sqrt(self.slope**2 * raw_sd**2 + np.maximum(own, 0.0))

    def probability(self, log_odds: np.ndarray, horizon_days: float) -> np.ndarray:
        """1 − Π (1 − pⱼ) over the steps of the horizon; the last, cut step counts by its share of days."""
        steps, base = horizon_days / self.step_days, self.center + self.intercept
        stays = np.zeros(np.shape(log_odds))
        for ahead in range(int(np.ceil(steps))):
            faded = base + self.fade**ahead * (log_odds - base)
            stays = stays + min(1.0, steps - ahead) * -np.logaddexp(0, faded)
        return -np.expm1(stays)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def calibrate(
    raw: np.ndarray,
    outcome: np.ndarray,
    center: float,
    step_days: int,
    later: list[tuple[int, np.ndarray, np.ndarray]],
) -> Calibration:
    """The calibration of held-out log odds ``raw`` by their outcomes (0, 1).

    ``later`` are (steps ahead, log odds, outcomes) of those who were still there, for the fading.
    """
    away = raw - center
    design, start = np.column_stack([np.ones(len(raw)), away]), np.array([0.0, 1.0])
    precision = 1 / np.array([INTERCEPT_SD, SLOPE_SD]) ** 2
    beta = effects.fit_logistic(design, outcome, precision, start, offset=center)
    if beta is None:
        raise CalculationError(
            "the calibration of held-out log odds did not settle", value_provided=len(raw)
        )
    curvature = effects.expand(design, outcome, beta, center).curvature + np.diag(precision)
    spread = np.linalg.inv(curvature)
    calibrated = [
        (ahead, center + beta[0] + beta[1] * (odds - center), seen) for ahead, odds, seen in later
    ]
    return Calibration(
        center,
        float(beta[0]),
        float(beta[1]),
        float(spread[0, 0]),
        float(spread[1, 1]),
        float(spread[0, 1]),
        _fade(calibrated, center + float(beta[0])),
        step_days,
    )


def _fade(later: list[tuple[int, np.ndarray, np.ndarray]], base: float) -> float:
    """The mean of ρ's posterior on a grid."""
    log_weight = -0.5 * ((FADES - FADE_MEAN) / FADE_SD) ** 2
    for ahead, odds, outcome in later:
        faded = base + FADES[:, None] ** ahead * (odds - base)
        log_weight = log_weight + (outcome * faded - np.logaddexp(0, faded)).sum(axis=1)
    weight = np.exp(log_weight - log_weight.max())
    return float((weight * FADES).sum() / weight.sum())


def spread_of(
    calibration: Calibration,
    log_odds: np.ndarray,
    sd: np.ndarray,
    horizon_days: float,
    level: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower and upper end of each probability at ``level``, and the chance to be within 5 points of the estimate."""
    reach = scipy.special.ndtri((1 + level) / 2) * sd
    lower, upper = (
        calibration.probability(log_odds + side * reach, horizon_days) for side in (-1, 1)
    )
    estimate = calibration.probability(log_odds, horizon_days)
    draws = calibration.probability(log_odds[:, None] + sd[:, None] * NODES, horizon_days)
    return lower, upper, (np.abs(draws - estimate[:, None]) <= TOLERATED).mean(axis=1)
