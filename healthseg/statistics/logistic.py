"""Logistic regression under a normal prior: one pass over the rows, the top of the posterior, errors over customers.

outcome ~ Bernoulli(logit⁻¹(offset + Zβ)), β ~ Normal(mean, diag(1 ÷ precision)). The log of the posterior has one top;
Newton's steps climb to it, and the curvature there is what Laplace's approximation and the sandwich are made of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

STEPS, SETTLED = 100, 1e-7
RIDGE = 1e-8  # of each row: keeps columns that say the same from dividing by zero
ROWS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Quadratic:
    """The log likelihood around ``at``: value + gradientᵀd − ½ dᵀ curvature d."""

    at: np.ndarray
    value: float
    gradient: np.ndarray
    curvature: np.ndarray


def expand(
    design: np.ndarray, outcome: np.ndarray, beta: np.ndarray, offset: float = 0.0
) -> Quadratic:
    """The log likelihood of β and its first two derivatives, in one pass over the rows."""
    width = design.shape[1]
    value, gradient, curvature = 0.0, np.zeros(width), np.zeros((width, width))
    for begin in range(0, len(design), ROWS_AT_ONCE):
        rows, y = design[begin : begin + ROWS_AT_ONCE], outcome[begin : begin + ROWS_AT_ONCE]
        odds = offset + rows @ beta
        p = scipy.special.expit(odds)
        value += float((y * odds - np.logaddexp(0, odds)).sum())
        gradient += rows.T @ (y - p)
        curvature += (rows * (p * (1 - p))[:, None]).T @ rows
    return Quadratic(beta, value, gradient, curvature)


def fit(
    design: np.ndarray,
    outcome: np.ndarray,
    precision: np.ndarray,
    mean: np.ndarray,
    *,
    start: np.ndarray | None = None,
    offset: float = 0.0,
) -> np.ndarray | None:
    """β at the top of the posterior; None where that is not found in 100 steps.

    ``design`` is rows × columns, ``outcome`` 0 or 1, ``precision`` and ``mean`` the prior's by column (0: none).
    A step is halved until it climbs: a full one may leap over the top.

    >>> design, outcome = np.ones((4, 1)), np.array([0, 0, 0, 1.0])
    >>> float(np.exp(fit(design, outcome, np.zeros(1), np.zeros(1))[0]).round(6))
    0.333333
    """

    def height(there: Quadratic) -> float:
        return there.value - (precision * (there.at - mean) ** 2).sum() / 2

    around = expand(design, outcome, mean if start is None else start, offset)
    for _ in range(STEPS):
        slope = around.gradient - precision * (around.at - mean)
        step = np.linalg.solve(information(around.curvature, precision, len(design)), slope)
        if np.abs(step).max() < SETTLED:
            return around.at + step
        reached = expand(design, outcome, around.at + step, offset)
        while height(reached) < height(around) and np.abs(step).max() > SETTLED:
            step = step / 2
            reached = expand(design, outcome, around.at + step, offset)
        around = reached
    return None


def information(curvature: np.ndarray, precision: np.ndarray, rows: int) -> np.ndarray:
    """The curvature of the log posterior."""
    return curvature + np.diag(precision + RIDGE * rows)


def covariances(
    design: np.ndarray,
    outcome: np.ndarray,
    beta: np.ndarray,
    precision: np.ndarray,
    customer: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """β's covariance as the information has it, and the sandwich over customers (Liang & Zeger 1986).

    ``customer`` numbers the rows' customers, whose rows hang together.
    """
    bread = np.linalg.inv(
        information(expand(design, outcome, beta).curvature, precision, len(design))
    )
    scores = np.zeros((int(customer.max()) + 1, design.shape[1]))
    np.add.at(scores, customer, design * (outcome - scipy.special.expit(design @ beta))[:, None])
    groups = len(np.unique(customer))
    return bread, bread @ (scores.T @ scores * groups / max(groups - 1, 1)) @ bread
