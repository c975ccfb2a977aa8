"""Groups that share one shape: a Gaussian mixture with a tied covariance, or the k-means of its
metric.

Metrics are correlated within any group; plain k-means cuts such a long cloud in two, on metrics
whitened within groups it doesn't. Hard memberships with equal shares make the mixture k-means by
the determinant of the spread within groups (Friedman & Rubin 1967, JASA 62).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import scipy

METHODS = ("kmeans", "gaussian_mixture")
MAX_ROUNDS = 60
TOLERANCE = 1e-4  # of the mean log-likelihood a round
MIN_WEIGHT = 1.5  # customers a group: below it two groups have become one

# metrics as coordinates
SKEWED = 1.0  # of the third standardised moment: beyond it a root or a log is tried
REACH = 5.0  # robust standard deviations: no value is so far out that it is a group by itself
MIN_DISTINCT = 3
QUARTILES_TO_SD = 1.349
FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda values: values,
    "root": np.sqrt,
    "log": np.log1p,
}


@dataclass(frozen=True)
class MetricScale:
    """How a metric's values become coordinates: ``form`` of (value − low) ÷ unit, less centre, over spread."""

    metric: str
    form: str
    low: float
    unit: float
    centre: float
    spread: float
    grain: float  # the width of a value's rounding interval, in coordinates

    def of(self, values: np.ndarray) -> np.ndarray:
        """Coordinates, clipped to the range of the customers."""
        transformed = _transformed(self.form, np.asarray(values, dtype=float), self.low, self.unit)
        return np.clip((transformed - self.centre) / self.spread, -REACH, REACH)


def scale_of(metric: str, values: np.ndarray) -> MetricScale | None:
    """The scale of a metric's known values; None where fewer than three are distinct.

    Of none, root and log the one with the least skewness is used where the plain values' exceeds 1. The spread is the
    interquartile range ÷ 1.349, the standard deviation where half of the customers have the same value.
    """
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    distinct = np.unique(values)
    if len(distinct) < MIN_DISTINCT:
        return None
    low = min(float(distinct[0]), 0.0)
    unit = float(np.median(values - low)) or float((values - low).mean())
    form = "none"
    if abs(skewness(values)) > SKEWED:
        form = min(FORMS, key=lambda name: abs(skewness(_transformed(name, values, low, unit))))
    transformed = _transformed(form, values, low, unit)
    quarter, centre, three = np.quantile(transformed, [0.25, 0.5, 0.75])
    spread = (three - quarter) / QUARTILES_TO_SD if three > quarter else float(transformed.std())
    steps = np.diff(_transformed(form, distinct, low, unit))
    grain = float(np.median(steps) / spread)
    return MetricScale(metric, form, low, unit, float(centre), float(spread), grain)


def _transformed(form: str, values: np.ndarray, low: float, unit: float) -> np.ndarray:
    return values if form == "none" else FORMS[form](np.maximum((values - low) / unit, 0))


def skewness(values: np.ndarray) -> float:
    """The third standardised moment; 0 of values that don't vary."""
    away = values - values.mean()
    spread = float(np.sqrt((away**2).mean()))
    return float((away**3).mean()) / spread**3 if spread > 0 else 0.0


def silhouette(points: np.ndarray, labels: np.ndarray) -> float:
    """How much nearer is a point to its own group than to the next? The mean over all, from −1 to 1.

    ``points`` is n × metrics, ``labels`` are group numbers from 0, each with at least one point. Rousseeuw (1987),
    Journal of Computational and Applied Mathematics 20.

    >>> silhouette(np.array([[0.0], [0.1], [5.0], [5.1]]), np.array([0, 0, 1, 1])) > 0.9
    True
    """
    distances, sizes = scipy.spatial.distance.cdist(points, points), np.bincount(labels)
    sums = distances @ (labels[:, None] == np.arange(len(sizes))).astype(float)
    own = np.arange(len(points)), labels
    inside = sums[own] / np.maximum(sizes[labels] - 1, 1)
    means = sums / sizes
    means[own] = np.inf
    nearest = means.min(axis=1)
    return float(((nearest - inside) / np.maximum(np.maximum(nearest, inside), 1e-300)).mean())


def by_size(labels: np.ndarray, groups: int) -> np.ndarray:
    """Group numbers from the largest to the smallest; of equal ones the one whose first row comes first."""
    counts = np.bincount(labels, minlength=groups)
    first = [
        int(np.argmax(labels == group)) if counts[group] else len(labels) for group in range(groups)
    ]
    return np.array(sorted(range(groups), key=lambda group: (-counts[group], first[group])))


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
        return _squared_distances(self.whitened(points), self.centres @ self.whitener)

    def memberships(self, points: np.ndarray) -> np.ndarray:
        """The probability of each group for each point: n × groups."""
        return _posterior(self.distances(points), self.shares)[0]

    def labels(self, points: np.ndarray) -> np.ndarray:
        return self.memberships(points).argmax(axis=1)


def fit(
    points: np.ndarray, groups: int, method: str, floor: np.ndarray, seed: int, starts: int = 4
) -> Mixture | None:
    """The likeliest of several starts; None where no start separates the groups.

    ``points`` is n × metrics; ``floor`` the least variance within groups by metric, that of rounding: without it groups
    of equal counts would have no spread at all. A Gaussian mixture starts where k-means ends.
    """
    rng = np.random.default_rng([seed, groups])
    whitener = _whitener(np.cov(points.T, bias=True).reshape(len(floor), len(floor)), floor)
    shares = np.full(groups, 1 / groups)
    candidates = []
    for _ in range(starts if groups > 1 else 1):
        centres = _first_centres(points @ whitener, points, groups, rng)
        start = Mixture("kmeans", centres, shares, whitener, -np.inf, len(points))
        candidates.append(_maximised(points, start, floor))
    fitted = [candidate for candidate in candidates if candidate is not None]
    if not fitted:
        return None
    best = max(fitted, key=lambda candidate: candidate.log_likelihood)
    return best if method == "kmeans" else _maximised(points, replace(best, method=method), floor)


def _maximised(points: np.ndarray, start: Mixture, floor: np.ndarray) -> Mixture | None:
    """Expectation and maximisation until the likelihood no longer rises; None where groups merge."""
    customers, metrics = points.shape
    hard, total = start.method == "kmeans", points.T @ points
    centres, shares, whitener = start.centres, start.shares, start.whitener
    before = level = -np.inf
    for _ in range(MAX_ROUNDS):
        distances = _squared_distances(points @ whitener, centres @ whitener)
        member, mean_log = _posterior(distances, shares)
        log_determinant = float(np.log(np.abs(np.diag(whitener))).sum())
        level = mean_log + log_determinant - metrics / 2 * np.log(2 * np.pi)
        if level - before < TOLERANCE:
            break
        if hard:
            labels = member.argmax(axis=1)
            member = (labels[:, None] == np.arange(start.groups)).astype(float)
        weight = member.sum(axis=0)
        if weight.min() < MIN_WEIGHT:
            return None
        centres, before = member.T @ points / weight[:, None], level
        shares = shares if hard else weight / customers
        whitener = _whitener((total - (centres.T * weight) @ centres) / customers, floor)
    return Mixture(start.method, centres, shares, whitener, customers * level, customers)


def _first_centres(
    white: np.ndarray, points: np.ndarray, groups: int, rng: np.random.Generator
) -> np.ndarray:
    """k-means++: each further centre is drawn by its squared distance to the chosen ones (Arthur & Vassilvitskii)."""
    chosen = [int(rng.integers(len(points)))]
    nearest = ((white - white[chosen[0]]) ** 2).sum(axis=1)
    for _ in range(groups - 1):
        total = nearest.sum()
        drawn = rng.random() * total
        if total > 0:
            at = int(np.searchsorted(np.cumsum(nearest), drawn))
        else:
            at = int(rng.integers(len(points)))
        chosen.append(min(at, len(points) - 1))
        nearest = np.minimum(nearest, ((white - white[chosen[-1]]) ** 2).sum(axis=1))
    return points[chosen]


def _whitener(covariance: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """W with W Wᵀ the inverse of the covariance: the transposed inverse of its Cholesky factor."""
    factor = np.linalg.cholesky(covariance + np.diag(floor))
    return scipy.linalg.solve_triangular(factor, np.eye(len(factor)), lower=True).T


def _squared_distances(white: np.ndarray, centres: np.ndarray) -> np.ndarray:
    inner = white @ centres.T
    return np.maximum((white**2).sum(axis=1)[:, None] - 2 * inner + (centres**2).sum(axis=1), 0)


def _posterior(squared: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, float]:
    """Memberships, and the mean log density but for its constant."""
    logs = np.log(shares) - squared / 2
    highest = logs.max(axis=1, keepdims=True)
    weights = np.exp(logs - highest)
    sums = weights.sum(axis=1, keepdims=True)
    return weights / sums, float((np.log(sums) + highest).mean())


def references(points: np.ndarray, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Clouds of the same size whose columns hold the values of ``points``, combined by a normal copula.

    The normal scores have the correlations r = 2·sin(π ρ/6) of the rank correlations ρ (Pearson 1907; for values given
    their ranks: Iman & Conover 1982): the same skew, gaps, ties and correlations, and no group beyond these.
    """
    rng = np.random.default_rng([seed, 7])
    ordered = np.sort(points, axis=0)
    factor = _normal_scores_factor(points)
    for _ in range(draws):
        normal = rng.standard_normal(points.shape) @ factor.T
        ranks = normal.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
        yield np.take_along_axis(ordered, ranks, axis=0)


def _normal_scores_factor(points: np.ndarray) -> np.ndarray:
    """A root of the normal scores' correlation; its smallest eigenvalues are lifted where ranks fit no normal copula."""
    ranks = scipy.stats.rankdata(points, axis=0)
    rho = np.corrcoef(ranks.T).reshape(points.shape[1], -1)
    values, vectors = np.linalg.eigh(2 * np.sin(np.pi * rho / 6))
    root = vectors * np.sqrt(np.maximum(values, 1e-6))
    return root / np.sqrt((root**2).sum(axis=1, keepdims=True))
