"""A team's own classifier in place of the candidates: any of scikit-learn's kind, by the setting ``churn_estimator``.

It goes through the same held-out dates, calibration and gate. Where it comes from is the operator's choice: a package
that is installed here (entry points of the group ``healthseg.models``), or ``ChurnModel.register`` in this process.
A portfolio's settings can name one of these, and bring none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import scipy

from healthseg.errors import CalculationError, InvalidParameters, require_known
from healthseg.scoring.churn.predictors import POINTS, Predictor

GROUP = "healthseg.models"
Factory = Callable[[], Any]
_REGISTERED: dict[str, Factory] = {}
# a probability of 0 or 1, as forests give it, is what so many rows cannot tell from it
_LEAST = 1e-4


def register(name: str, factory: Factory) -> None:
    """Make a classifier known to this process. Raises InvalidParameters where the name stands for another one."""
    known = _REGISTERED.get(name)
    if known is not None and repr(known()) != repr(factory()):
        raise InvalidParameters(
            f"churn_estimator {name!r} is already {known()!r}: give a changed model a new name",
            parameter="name",
            value_provided=name,
            validation_rule="a name of its own for each model",
        )
    _REGISTERED[name] = factory


def _installed() -> dict[str, metadata.EntryPoint]:
    return {entry.name: entry for entry in metadata.entry_points(group=GROUP)}


def create(name: str) -> Any:
    """A new, unfitted classifier of a name. Raises InvalidParameters for an unknown one or one without probabilities."""
    known = [*_REGISTERED, *_installed()]
    require_known(
        name,
        known,
        f"no churn_estimator {name!r} is registered or installed",
        parameter="settings.churn_estimator",
    )
    factory = _REGISTERED[name] if name in _REGISTERED else _installed()[name].load()
    estimator = factory()
    if not (hasattr(estimator, "fit") and hasattr(estimator, "predict_proba")):
        raise InvalidParameters(
            f"churn_estimator {name!r} is {type(estimator).__name__}, which has no fit and predict_proba",
            parameter="settings.churn_estimator",
            value_provided=name,
            validation_rule="a classifier as scikit-learn has them",
        )
    return estimator


def identity(name: str) -> str | None:
    """What held-out predictions of a classifier depend on: its parameters, and its package's version; None of none."""
    if not name:
        return None
    source = None if name in _REGISTERED or name not in _installed() else _installed()[name].dist
    return f"{create(name)!r} {source.version if source else ''}"


def column_names(predictors: Sequence[Predictor]) -> list[str]:
    """A column's name of each predictor: its metric; ``_points`` for the scorecard's points; the word or term it tells."""
    return [
        f"{item.metric}_points"
        if item.form == POINTS
        else item.metric
        if item.level is None
        else f"{item.metric}_{item.level}"
        for item in predictors
    ]


@dataclass(frozen=True)
class OwnClassifier:
    """A fitted classifier, the columns that it reads, and the median of each among the training rows."""

    estimator: Any
    columns: tuple[str, ...]
    usual: np.ndarray

    @classmethod
    def fit(
        cls, name: str, predictors: Sequence[Predictor], values: np.ndarray, outcome: np.ndarray
    ) -> OwnClassifier:
        """The classifier of a name, fitted to rows whose outcomes are known (0 or 1); NaN is missing."""
        columns = tuple(column_names(predictors))
        frame = pd.DataFrame(values, columns=list(columns))
        return cls(create(name).fit(frame, outcome.astype(int)), columns, frame.median().to_numpy())

    def log_odds(self, values: np.ndarray) -> np.ndarray:
        if not len(values):
            return np.zeros(0)
        p = self.estimator.predict_proba(pd.DataFrame(values, columns=list(self.columns)))[:, 1]
        return np.asarray(scipy.special.logit(np.clip(p, _LEAST, 1 - _LEAST)), dtype=float)

    @property
    def base(self) -> float:
        """The log odds of a row in which every predictor is at its median."""
        return float(self.log_odds(self.usual[None, :])[0])

    def parts(self, values: np.ndarray) -> np.ndarray:
        """Rows × (predictors, what is missing): each one's part of the log odds; with ``base`` they add up.

        From the median row the predictors take the row's values one after the other; a part is the mean of the change
        in the forward and in the reverse order (two of the orders that Shapley's value averages).
        """
        width = values.shape[1]
        parts = np.zeros((len(values), width + 1))
        for order in (range(width), range(width - 1, -1, -1)):
            rows = np.tile(self.usual, (len(values), 1))
            before = np.full(len(values), self.base)
            for at in order:
                missing, changed = np.isnan(values[:, at]), rows[:, at] != values[:, at]
                rows[:, at] = values[:, at]
                if not changed.any():
                    continue
                after = before.copy()
                after[changed] = self.log_odds(rows[changed])
                owner = np.where(missing, width, at)
                parts[np.arange(len(values)), owner] += (after - before) / 2
                before = after
        return parts

    def contrast(self, pair: np.ndarray, group: list[int]) -> float:
        """By how much a group of predictors raises the second row's log odds over the first's, the others at the median."""
        rows = np.tile(self.usual, (2, 1))
        rows[:, group] = pair[:, group]
        low, high = self.log_odds(rows)
        return float(high - low)

    def to_dict(self) -> NoReturn:
        raise CalculationError(
            f"{type(self.estimator).__name__} has no form as JSON, and a pickle runs code when it is read: fit it anew",
            parameter="model",
            validation_rule="a model of the package's own candidates",
        )
