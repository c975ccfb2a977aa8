"""HazardClassifier: how an additive hazard is learnt, as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from healthseg.scoring.design import make_design
from healthseg.scoring.hazard import AdditiveHazard
from healthseg.scoring.posterior import fit_posterior


class HazardClassifier(ClassifierMixin, AdditiveHazard, BaseEstimator):
    """A penalised additive logistic model with directions as its prior, and a posterior.

    Coefficients are of standardised columns. ``directions`` gives each feature a prior direction: +1 where more of it
    means more of the event, −1 where less, 0 where nobody knows (fractions share one direction among forms of the
    same metric). The directed coefficients are m · direction + deviation, m ~ Normal(``strength``, ``strength_sd``²):
    equal weights are the prior (Dawes 1979), from which the data move all together and each alone. Each group
    of coefficients (``groups``, one name a feature) has its own standard deviation, started at ``scales`` and chosen by
    evidence (``posterior``). NaN is missing, not a number.

    Attributes after ``fit``: classes_, n_features_in_, design_, posterior_, group_names_.

    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]] * 20)
    >>> model = HazardClassifier().fit(X, [0, 0, 1, 1] * 20)
    >>> model.predict(np.array([[0.0], [3.0]])).tolist()
    [0, 1]
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = True
        return tags

    def fit(self, X: Any, y: Any) -> HazardClassifier:
        """Rows of metrics, and whether the event fell into the step after each."""
        X, y = validate_data(self, X, y, dtype=float, ensure_all_finite="allow-nan")
        check_classification_targets(y)
        if type_of_target(y) != "binary" and len(np.unique(y)) > 2:
            raise ValueError(
                f"Only binary classification is supported. The type of the target is {type_of_target(y)}."
            )
        self.classes_, outcome = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "one class only: a hazard is learnt from rows with the event and rows without (1 class)"
            )
        width = X.shape[1]
        bent = (
            np.ones(width, dtype=bool) if self.bent is None else np.asarray(self.bent, dtype=bool)
        )
        self.design_ = make_design(X, bent)
        self.direction_ = self._direction(width)
        prior = self._prior(outcome.mean(), width)
        self.posterior_ = fit_posterior(
            self._matrix(X), outcome.astype(float), prior, integrate=self.integrate
        )
        return self

    def _checked(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return validate_data(self, X, dtype=float, ensure_all_finite="allow-nan", reset=False)

    def predict_proba(self, X: Any) -> np.ndarray:
        p = scipy.special.expit(self.decision_function(X))
        return np.column_stack([1 - p, p])

    def predict(self, X: Any) -> np.ndarray:
        certain = (self.decision_function(X) > 0).astype(int)
        return self.classes_[certain]
