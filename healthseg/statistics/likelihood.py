"""How likely is something, given where things stand? A logistic regression, calibrated on cases it had not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from healthseg.statistics.effects import log_odds, weak_prior
from healthseg.statistics.logistic import covariances
from healthseg.statistics.normal import standard_errors

FOLDS = 5


@dataclass(frozen=True)
class Likelihood:
    """A fitted and calibrated chance, and how good it was on customers that it had not seen."""

    beta: np.ndarray
    covariance: np.ndarray
    intercept: float  # of the calibration: 0 where none is needed
    slope: float  # 1 where none is needed
    brier: float  # mean squared error of the chance, on customers left out
    base_brier: float  # of the share alone
    customers: int
    rows: int

    @property
    def useful(self) -> bool:
        """Whether it was nearer to what happened than the share alone."""
        return self.brier < self.base_brier and self.slope > 0

    def at(self, columns: np.ndarray, level: float) -> tuple[float, float, float]:
        """The chance of a case with its interval: of the chance, not of what will happen."""
        row = np.r_[1.0, columns]
        height, error = float(row @ self.beta), float(np.sqrt(row @ self.covariance @ row))
        reach = standard_errors(level) * error
        chances = scipy.special.expit(
            self.intercept + self.slope * np.array([height, height - reach, height + reach])
        )
        return float(chances[0]), float(chances[1]), float(chances[2])


def likelihood(columns: np.ndarray, y: np.ndarray, customer: np.ndarray) -> Likelihood | None:
    """Fits the chance of ``y`` (0 or 1) given ``columns``; ``customer`` numbers the rows' customers.

    Logistic regression under a weak prior. Each fifth of the customers is foretold by the fit to the others; the
    regression of what happened on those log odds is the calibration (Cox 1958). The mean squared error (Brier 1950) of
    each fifth, fitted and calibrated on the others, stands beside that of the others' plain share. Standard errors are
    over customers (Liang & Zeger 1986). None where a part of the customers knows one outcome only.
    """
    groups = customer % FOLDS
    beta = _fit(columns, y)
    foretold, shares = np.full(len(y), np.nan), np.full(len(y), np.nan)
    for one in range(FOLDS):
        inside, others = groups == one, groups != one
        part = _fit(columns[others], y[others])
        if part is None or beta is None:
            return None
        foretold[inside], shares[inside] = _with_one(columns[inside]) @ part, y[others].mean()
    calibration = _fit(foretold[:, None], y)
    if calibration is None:
        return None
    chance = _calibrated(foretold, y, groups)
    full = _with_one(columns)
    covariance = covariances(full, y, beta, weak_prior(full), customer)[1]
    return Likelihood(
        beta,
        covariance,
        float(calibration[0]),
        float(calibration[1]),
        float(((chance - y) ** 2).mean()),
        float(((shares - y) ** 2).mean()),
        len(np.unique(customer)),
        len(y),
    )


def _calibrated(foretold: np.ndarray, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The chances of each fifth, calibrated on the others."""
    chance = np.empty(len(y))
    for one in range(FOLDS):
        inside = groups == one
        by = _fit(foretold[~inside][:, None], y[~inside])
        chance[inside] = scipy.special.expit(
            foretold[inside] if by is None else by[0] + by[1] * foretold[inside]
        )
    return chance


def _with_one(columns: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(columns)), columns])


def _fit(columns: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    return None if not len(y) or np.ptp(y) == 0 else log_odds(_with_one(columns), y)
