"""Boosted trees: grown by scikit-learn, kept as plain arrays.

A saved model is JSON, and a row's path says which metrics moved it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

# Boosting: depth 3 at most, since few customers churn; the learning rate and the number of trees were chosen on
# seeds 1 to 5 of the simulated laws
TREES, RATE, LEAVES, MIN_LEAF, RIDGE = 60, 0.08, 6, 40, 10.0


@dataclass(frozen=True)
class RegressionTree:
    """Nodes in order: feature (−1 of a leaf), threshold, left, right, whether missing goes left, and the step."""

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray

    def path(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows' log odds from this tree, and rows × (features, what is missing): the part of each, adding up to it
        less the root's."""
        at, parts = np.zeros(len(X), dtype=int), np.zeros((len(X), X.shape[1] + 1))
        rows = np.arange(len(X))
        while (inner := self.feature[at] >= 0).any():
            split = np.maximum(self.feature[at], 0)
            value = X[rows, split]
            unknown = np.isnan(value)
            left = np.where(unknown, self.missing_left[at], value <= self.threshold[at])
            following = np.where(inner, np.where(left, self.left[at], self.right[at]), at)
            owner = np.where(unknown, X.shape[1], split)
            np.add.at(parts, (rows, owner), self.value[following] - self.value[at])
            at = following
        return self.value[at], parts

    @classmethod
    def of(cls, nodes: np.ndarray) -> RegressionTree:
        """From scikit-learn's nodes; steps of inner nodes are not shrunk there yet."""
        leaf = nodes["is_leaf"].astype(bool)
        return cls(
            np.where(leaf, -1, nodes["feature_idx"]).astype(int),
            nodes["num_threshold"].astype(float),
            nodes["left"].astype(int),
            nodes["right"].astype(int),
            nodes["missing_go_to_left"].astype(bool),
            np.where(leaf, 1.0, RATE) * nodes["value"],
        )


@dataclass(frozen=True)
class BoostedTrees:
    """Trees, each adding its step to the log odds, from ``start`` on."""

    start: float
    trees: tuple[RegressionTree, ...]

    @property
    def base(self) -> float:
        """The part that belongs to no feature."""
        return self.start + float(sum(float(tree.value[0]) for tree in self.trees))

    def parts(self, X: np.ndarray) -> np.ndarray:
        """Rows × (features, what is missing): each one's part of the log odds; with ``base`` they add up."""
        return sum((tree.path(X)[1] for tree in self.trees), np.zeros((len(X), X.shape[1] + 1)))

    def log_odds(self, X: np.ndarray) -> np.ndarray:
        return sum((tree.path(X)[0] for tree in self.trees), np.full(len(X), self.start))

    def to_dict(self) -> dict[str, Any]:
        trees = [
            {name: values.tolist() for name, values in asdict(tree).items()} for tree in self.trees
        ]
        return {"start": self.start, "trees": trees}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> BoostedTrees:
        trees = [
            {name: np.array(values) for name, values in tree.items()} for tree in saved["trees"]
        ]
        return cls(saved["start"], tuple(RegressionTree(**tree) for tree in trees))


def boosting(directions: Sequence[int], rows: int, seed: int) -> HistGradientBoostingClassifier:
    """scikit-learn's model for so many rows, monotonic where a direction is known."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # only where trees are grown

    return HistGradientBoostingClassifier(
        learning_rate=RATE,
        max_iter=TREES,
        max_leaf_nodes=LEAVES,
        min_samples_leaf=min(MIN_LEAF, max(rows // 20, 2)),
        l2_regularization=RIDGE,
        max_bins=63,
        monotonic_cst=list(directions),
        early_stopping=False,
        random_state=seed,
    )


def boost(X: np.ndarray, outcome: np.ndarray, directions: Sequence[int], seed: int) -> BoostedTrees:
    """The trees of ``boosting``, fitted, as plain nodes."""
    with threadpool_limits(1):
        model = boosting(directions, len(X), seed).fit(X, outcome)
    start = float(np.ravel(model._baseline_prediction)[0])
    return BoostedTrees(
        start, tuple(RegressionTree.of(grown.nodes) for (grown,) in model._predictors)
    )
