"""An additive hazard: the chance that an event falls into one step, as it was learnt.

A discrete-time hazard is a logistic regression on customer-steps (Allison 1982; Singer & Willett 1993): each step that
a customer was at risk is a row, and its outcome says whether the event fell into it. A model that was kept needs
numpy alone to be asked; it is learnt by ``HazardClassifier``, an estimator of scikit-learn, whose import takes longer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy

from healthseg.scoring.design import HINGE, LINEAR, MISSING, Design
from healthseg.scoring.posterior import Posterior, Prior

SCALES = {
    "directed": 0.10,
    "metric": 0.05,
    "feature": 0.06,
    "level": 0.20,
    MISSING: 0.10,
    HINGE: 0.03,
}
DEFAULT_GROUP = "metric"
INTERCEPT_SD = 3.0
PARAMETERS = ("bent", "directions", "groups", "integrate", "scales", "strength", "strength_sd")


class AdditiveHazard:
    """What a ``HazardClassifier`` learnt, and its parameters. Attributes: classes_, n_features_in_, design_,
    direction_, posterior_, group_names_."""

    def __init__(
        self,
        directions: Any = None,
        groups: Any = None,
        bent: Any = None,
        strength: float = 0.2,
        strength_sd: float = 0.15,
        scales: Any = None,
        integrate: bool = True,
    ) -> None:
        self.directions = directions
        self.groups = groups
        self.bent = bent
        self.strength = strength
        self.strength_sd = strength_sd
        self.scales = scales
        self.integrate = integrate

    def _direction(self, width: int) -> np.ndarray:
        given = (
            np.zeros(width) if self.directions is None else np.asarray(self.directions, dtype=float)
        )
        if given.shape != (width,):
            raise ValueError(f"directions has {given.size} entries for {width} features")
        return np.array(
            [
                given[column.metric] if column.form == LINEAR else 0.0
                for column in self.design_.columns
            ]
        )

    def _prior(self, rate: float, width: int) -> Prior:
        """Of the intercept, the common strength of the directions, and every column."""
        named = [DEFAULT_GROUP] * width if self.groups is None else list(self.groups)
        of_column = [
            named[column.metric] if column.form == LINEAR else column.form
            for column in self.design_.columns
        ]
        self.group_names_ = sorted(set(of_column))
        known = {**SCALES, **(self.scales or {})}
        count = len(of_column)
        group = np.array([-1, -1, *(self.group_names_.index(name) for name in of_column)])
        mean = np.r_[
            scipy.special.logit(np.clip(rate, 1e-4, 1 - 1e-4)), self.strength, np.zeros(count)
        ]
        sd = np.r_[
            INTERCEPT_SD, self.strength_sd if self.direction_.any() else 1e-6, np.ones(count)
        ]
        return Prior(mean, sd, group, np.array([known[name] for name in self.group_names_]))

    def _matrix(self, X: np.ndarray) -> np.ndarray:
        """Intercept, the sum of the directed columns, and all columns."""
        columns = self.design_.matrix(X)
        return np.column_stack([np.ones(len(X)), columns @ self.direction_, columns])

    def _checked(self, X: Any) -> np.ndarray:
        return np.asarray(X, dtype=float)

    def decision_function(self, X: Any) -> np.ndarray:
        """Log odds of the event in the step."""
        checked = self._checked(X)
        return self.posterior_.log_odds(self._matrix(checked))

    def log_odds_sd(self, X: Any) -> np.ndarray:
        """How sure each row's log odds are: the standard deviation of their posterior."""
        checked = self._checked(X)
        return np.sqrt(self.posterior_.variance(self._matrix(checked)))

    def weights(self) -> np.ndarray:
        """What each column of the design adds to the log odds per unit: its part of the common strength included."""
        return self.direction_ * self.posterior_.mean[1] + self.posterior_.mean[2:]

    def parts(self, X: Any) -> np.ndarray:
        """Rows × features: each feature's part of the log odds, against the average row. With ``base`` they add up."""
        checked = self._checked(X)
        values = self.design_.matrix(checked) * self.weights()
        owner = np.array([column.metric for column in self.design_.columns])
        return np.stack(
            [values[:, owner == place].sum(axis=1) for place in range(self.n_features_in_)], axis=1
        )

    @property
    def base(self) -> float:
        """The log odds of the average row."""
        return float(self.posterior_.mean[0])

    def joint_parts(self, X: Any, groups: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Rows × groups: what the features of each group together add to the log odds, and its standard deviation."""
        checked = self._checked(X)
        columns = self.design_.matrix(checked)
        owner = np.array([column.metric for column in self.design_.columns])
        weights, covariance = self.weights(), self._weights_covariance()
        parts, sds = np.empty((len(columns), len(groups))), np.empty((len(columns), len(groups)))
        for at, group in enumerate(groups):
            mine = np.flatnonzero(np.isin(owner, group))
            here = columns[:, mine]
            parts[:, at] = here @ weights[mine]
            sds[:, at] = np.sqrt(
                np.maximum(((here @ covariance[np.ix_(mine, mine)]) * here).sum(axis=1), 0.0)
            )
        return parts, sds

    def contrast(self, pair: np.ndarray, group: list[int]) -> tuple[float, float]:
        """What a group of features adds to the second row's log odds more than to the first's, and how sure that is."""
        columns = self.design_.matrix(self._checked(pair))
        owner = np.array([column.metric for column in self.design_.columns])
        change = np.where(np.isin(owner, group), columns[1] - columns[0], 0.0)
        return float(change @ self.weights()), float(
            np.sqrt(max(change @ self._weights_covariance() @ change, 0.0))
        )

    def _weights_covariance(self) -> np.ndarray:
        """Of ``weights``: the common strength and each column's own deviation taken together."""
        whole, direction = self.posterior_.covariance, self.direction_
        cross = np.outer(direction, whole[1, 2:])
        return whole[2:, 2:] + cross + cross.T + whole[1, 1] * np.outer(direction, direction)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, from which ``from_dict`` makes the same predictions."""
        posterior, rows = self.posterior_, np.tril_indices(len(self.posterior_.mean))
        return {
            "parameters": {name: _plain(getattr(self, name)) for name in PARAMETERS},
            "classes": self.classes_.tolist(),
            "features": self.n_features_in_,
            "design": self.design_.to_dict(),
            "direction": self.direction_.tolist(),
            "group_names": self.group_names_,
            "mean": posterior.mean.tolist(),
            "covariance": posterior.covariance[rows].tolist(),
            "scales": posterior.scales.tolist(),
            "evidence": posterior.evidence,
        }

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> AdditiveHazard:
        model = cls(**kept["parameters"])
        model.classes_, model.n_features_in_ = np.array(kept["classes"]), int(kept["features"])
        model.design_, model.group_names_ = (
            Design.from_dict(kept["design"]),
            list(kept["group_names"]),
        )
        model.direction_ = np.array(kept["direction"], dtype=float)
        mean = np.array(kept["mean"], dtype=float)
        lower = np.zeros((len(mean), len(mean)))
        lower[np.tril_indices(len(mean))] = kept["covariance"]
        covariance = lower + np.tril(lower, -1).T
        model.posterior_ = Posterior(
            mean, covariance, np.array(kept["scales"], dtype=float), float(kept["evidence"])
        )
        return model


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
