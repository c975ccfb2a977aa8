"""Groups that share one shape: a mixture of normal clouds with a tied covariance, and the k-means of its metric.

Metrics of customers are correlated within any group (who comes more often also uses more). Plain k-means cuts such
a long cloud in two; metrics that are whitened within groups don't. Soft memberships make it a Gaussian mixture with
one covariance for all groups, hard ones with equal shares make it k-means by the determinant of the spread within
groups (Friedman & Rubin 1967, JASA 62).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy

MOST_ROUNDS = 60
TOLERANCE = 1e-4  # of the mean log-likelihood a round
LEAST_WEIGHT = 1.5  # customers a group
METHODS = ("kmeans", "gaussian_mixture")


@dataclass(frozen=True)
class Mixture:
    """Groups as centres, shares and one covariance within them; ``whitener`` makes that covariance the identity."""

    method: str
    centres: np.ndarray
    shares: np.ndarray
    whitener: np.ndarray
    log_likelihood: float
    customers: int

    @property
    def groups(self) -> int:
        return len(self.shares)

    @property
    def bic(self) -> float:
        """Twice the log-likelihood less the parameters' price: higher is better (Schwarz 1978, sign turned)."""
        groups, metrics = self.centres.shape
        parameters = groups * metrics + metrics * (metrics + 1) / 2 + groups - 1
        return 2 * self.log_likelihood - parameters * float(np.log(self.customers))

    def whitened(self, points: np.ndarray) -> np.ndarray:
        """Points in units of the spread within groups."""
        return points @ self.whitener

    def distances(self, points: np.ndarray) -> np.ndarray:
        """Squared distances to the centres, in units of the spread within groups: n × groups."""
        return _squared(self.whitened(points), self.centres @ self.whitener)

    def memberships(self, points: np.ndarray) -> np.ndarray:
        """The probability of each group for each point: n × groups."""
        return _posterior(self.distances(points), self.shares)[0]

    def labels(self, points: np.ndarray) -> np.ndarray:
        return self.memberships(points).argmax(axis=1)


def fit(
    points: np.ndarray, groups: int, method: str, floor: np.ndarray, seed: int, starts: int = 4
) -> Mixture | None:
    """The likeliest of several starts; None where no start keeps the groups apart.

    ``points`` is n × metrics; ``floor`` the least variance within groups by metric: a value stands for the interval
    around it that was rounded to it, else groups of equal counts would have no spread at all. A Gaussian mixture begins
    where k-means ends.
    """
    rng = np.random.default_rng([seed, groups])
    metrics = points.shape[1]
    whitener = _whitener(np.cov(points.T, bias=True).reshape(metrics, metrics), floor)
    firsts = [
        Mixture(
            "kmeans",
            _first_centres(points @ whitener, points, groups, rng),
            np.full(groups, 1 / groups),
            whitener,
            -np.inf,
            len(points),
        )
        for _ in range(starts if groups > 1 else 1)
    ]
    found = [one for first in firsts if (one := _climbed(points, first, floor)) is not None]
    if not found:
        return None
    best = max(found, key=lambda one: one.log_likelihood)
    return best if method == "kmeans" else _climbed(points, replace(best, method=method), floor)


def _climbed(points: np.ndarray, first: Mixture, floor: np.ndarray) -> Mixture | None:
    """Expectation and maximisation from first centres until the likelihood no longer rises."""
    customers, metrics = points.shape
    groups, hard, total = first.groups, first.method == "kmeans", points.T @ points
    centres, shares, whitener, before, level = (
        first.centres,
        first.shares,
        first.whitener,
        -np.inf,
        -np.inf,
    )
    for _ in range(MOST_ROUNDS):
        member, mean_log = _posterior(_squared(points @ whitener, centres @ whitener), shares)
        level = (
            mean_log
            + float(np.log(np.abs(np.diag(whitener))).sum())
            - metrics / 2 * np.log(2 * np.pi)
        )
        if level - before < TOLERANCE:
            break
        if hard:
            member = (member.argmax(axis=1)[:, None] == np.arange(groups)).astype(float)
        weight = member.sum(axis=0)
        if weight.min() < LEAST_WEIGHT:
            return None
        centres, before = member.T @ points / weight[:, None], level
        shares = shares if hard else weight / customers
        whitener = _whitener((total - (centres.T * weight) @ centres) / customers, floor)
    return Mixture(first.method, centres, shares, whitener, customers * level, customers)


def _first_centres(
    white: np.ndarray, points: np.ndarray, groups: int, rng: np.random.Generator
) -> np.ndarray:
    """k-means++: each further centre is drawn by its squared distance to those there are (Arthur & Vassilvitskii)."""
    chosen = [int(rng.integers(len(points)))]
    nearest = ((white - white[chosen[0]]) ** 2).sum(axis=1)
    for _ in range(groups - 1):
        total = nearest.sum()
        drawn = rng.random() * total
        at = (
            int(np.searchsorted(np.cumsum(nearest), drawn))
            if total > 0
            else int(rng.integers(len(points)))
        )
        chosen.append(min(at, len(points) - 1))
        nearest = np.minimum(nearest, ((white - white[chosen[-1]]) ** 2).sum(axis=1))
    return points[chosen]


def _whitener(covariance: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """W with W Wᵀ the inverse of the covariance: the transposed inverse of its Cholesky factor."""
    factor = np.linalg.cholesky(covariance + np.diag(floor))
    return scipy.linalg.solve_triangular(factor, np.eye(len(factor)), lower=True).T


def _squared(white: np.ndarray, centres: np.ndarray) -> np.ndarray:
    inner = white @ centres.T
    return np.maximum((white**2).sum(axis=1)[:, None] - 2 * inner + (centres**2).sum(axis=1), 0)


def _posterior(squared: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, float]:
    """Memberships, and the mean log density but for its constant."""
    logs = np.log(shares) - squared / 2
    most = logs.max(axis=1, keepdims=True)
    weights = np.exp(logs - most)
    sums = weights.sum(axis=1, keepdims=True)
    return weights / sums, float((np.log(sums) + most).mean())
