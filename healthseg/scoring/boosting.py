"""Boosted trees on top of the additive model: what bends and interacts in ways that it cannot follow.

Newton boosting (Friedman 2001; Chen & Guestrin 2016) of regression trees of depth 2 that starts at the additive model's
log odds: without signal left over nothing is added. Each tree is kept as plain arrays, so that a saved model is
JSON, and a row's path through a tree says which metrics moved it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

TREES, RATE, DEPTH = 40, 0.08, 2
MOST_ROWS = 12_000  # that trees are grown on, drawn with the seed
LEAST_LEAF = 200  # rows
RIDGE = 20.0  # added to a leaf's curvature


@dataclass(frozen=True)
class Tree:
    """Nodes in order: feature (−1 of a leaf), threshold, left, right, whether missing goes left, and the step."""

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray

    def path(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows' log odds from this tree, and rows × features: the part of each, adding up to it less the root's."""
        at, parts = np.zeros(len(X), dtype=int), np.zeros(X.shape)
        rows = np.arange(len(X))
        for _ in range(DEPTH):
            inner = self.feature[at] >= 0
            seen = X[rows, np.maximum(self.feature[at], 0)]
            left = np.where(np.isnan(seen), self.missing_left[at], seen <= self.threshold[at])
            following = np.where(inner, np.where(left, self.left[at], self.right[at]), at)
            np.add.at(
                parts,
                (rows[inner], self.feature[at][inner]),
                (self.value[following] - self.value[at])[inner],
            )
            at = following
        return self.value[at], parts

    def to_dict(self) -> dict[str, list]:
        return {name: getattr(self, name).tolist() for name in self.__dataclass_fields__}


@dataclass(frozen=True)
class Boosted:
    """Trees, each adding its step to the log odds."""

    trees: tuple[Tree, ...]

    def added(self, X: np.ndarray) -> np.ndarray:
        """Rows × features, and a last column of what belongs to no feature: what the trees add to the log odds."""
        total = np.zeros((len(X), X.shape[1] + 1))
        for tree in self.trees:
            _, parts = tree.path(X)
            total[:, :-1] += parts
            total[:, -1] += tree.value[0]
        return total

    def log_odds(self, X: np.ndarray) -> np.ndarray:
        return sum((tree.path(X)[0] for tree in self.trees), np.zeros(len(X)))

    def to_dict(self) -> dict[str, Any]:
        return {"trees": [tree.to_dict() for tree in self.trees]}

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> Boosted:
        return cls(
            tuple(
                Tree(**{name: np.array(values) for name, values in tree.items()})
                for tree in kept["trees"]
            )
        )


def boost(X: np.ndarray, outcome: np.ndarray, log_odds: np.ndarray, seed: int) -> Boosted:
    """Trees that follow what ``log_odds`` leaves of the outcome."""
    if len(X) > MOST_ROWS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(X), MOST_ROWS, replace=False))
        X, outcome, log_odds = X[chosen], outcome[chosen], log_odds[chosen]
    from sklearn.tree import (
        DecisionTreeRegressor,
    )  # takes longer to import than a kept forest to ask

    odds, trees = log_odds.copy(), []
    for at in range(TREES):
        p = scipy.special.expit(odds)
        curvature = np.maximum(p * (1 - p), 1e-6)
        grown = DecisionTreeRegressor(
            max_depth=DEPTH, min_samples_leaf=LEAST_LEAF, random_state=seed + at
        )
        grown.fit(X, (outcome - p) / curvature, sample_weight=curvature)
        trees.append(_kept(grown, X, outcome - p, curvature))
        odds = odds + trees[-1].path(X)[0]
    return Boosted(tuple(trees))


def _kept(grown: Any, X: np.ndarray, gradient: np.ndarray, curvature: np.ndarray) -> Tree:
    """The tree's splits with Newton's step, drawn towards none, in each node."""
    tree = grown.tree_
    inside = grown.decision_path(X).T  # nodes × rows
    value = RATE * (inside @ gradient) / (inside @ curvature + RIDGE)
    feature = np.where(tree.children_left >= 0, tree.feature, -1)
    return Tree(
        feature,
        tree.threshold.copy(),
        tree.children_left.copy(),
        tree.children_right.copy(),
        tree.missing_go_to_left.astype(bool),
        value,
    )
