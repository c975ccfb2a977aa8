"""Portfolios without groups that look like this one: each metric's own values, and the portfolio's rank correlations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy


def references(points: np.ndarray, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Clouds of the same size whose columns hold the same values as ``points``, put together by a normal copula.

    The normal scores have the correlations r = 2·sin(π ρ/6) of the portfolio's rank correlations ρ (Pearson 1907; for
    values given their ranks: Iman & Conover 1982), so that a reference has the same skew, gaps, ties and correlations,
    and no group that these don't make.
    """
    rng = np.random.default_rng([seed, 7])
    ordered = np.sort(points, axis=0)
    factor = _factor(points)
    for _ in range(draws):
        normal = rng.standard_normal(points.shape) @ factor.T
        places = normal.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
        yield np.take_along_axis(ordered, places, axis=0)


def _factor(points: np.ndarray) -> np.ndarray:
    """A root of the normal scores' correlation, its least eigenvalues lifted where ranks don't fit a normal copula."""
    ranks = scipy.stats.rankdata(points, axis=0)
    rho = np.corrcoef(ranks.T).reshape(points.shape[1], -1)
    values, vectors = np.linalg.eigh(2 * np.sin(np.pi * rho / 6))
    root = vectors * np.sqrt(np.maximum(values, 1e-6))
    return root / np.sqrt((root**2).sum(axis=1, keepdims=True))
