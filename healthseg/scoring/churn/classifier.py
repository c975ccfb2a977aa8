"""The hazard as an estimator of scikit-learn's: input is validated, and pipelines and searches take it."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from healthseg.scoring.churn.hazard import Hazard


class HazardClassifier(ClassifierMixin, BaseEstimator, Hazard):
    """``Hazard``, with the methods and the errors of scikit-learn's classifiers.

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

    def fit(self, X: Any, y: Any) -> Self:
        """As ``Hazard.fit``; ValueError for outcomes that are not of two classes."""
        X, y = validate_data(self, X, y, dtype=float, ensure_all_finite="allow-nan")
        check_classification_targets(y)
        kind, classes = type_of_target(y), len(np.unique(y))
        if kind != "binary" and classes > 2:
            raise ValueError(
                f"Only binary classification is supported. The type of the target is {kind}."
            )
        if classes < 2:
            raise ValueError(
                "one class only: a hazard is learnt from rows with the event and rows without (1 class)"
            )
        return super().fit(X, y)

    def _validated(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(
            validate_data(self, X, dtype=float, ensure_all_finite="allow-nan", reset=False)
        )

    def predict_proba(self, X: Any) -> np.ndarray:
        p = scipy.special.expit(self.decision_function(X))
        return np.column_stack([1 - p, p])

    def predict(self, X: Any) -> np.ndarray:
        is_event = self.decision_function(X) > 0
        return np.asarray(self.classes_[is_event.astype(int)])
