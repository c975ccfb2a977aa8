"""A penalised logistic model whose penalties are chosen, and integrated over, by its own evidence.

outcome ~ Bernoulli(logit⁻¹(Zβ)), β ~ Normal(μ, diag(σ²)), where the columns of Z fall into groups with one σ each. The
posterior of β is Laplace's: Newton's method finds its mode, the curvature there its covariance. The evidence of the
groups' σ follows from the same quadratic (MacKay 1992), so that trying other σ costs no pass over the data. What is
kept is the mean and covariance over a grid of σ around the best, weighted by evidence: a posterior with the penalty
integrated, whose intervals are wider than those at the best σ alone.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import scipy
from threadpoolctl import threadpool_limits

from healthseg.statistics.effects import ROWS_AT_ONCE, Quadratic, expand

ROUNDS, FIXED_ROUNDS = 10, 2  # Newton steps, of which the first few keep the given σ
LOG_STEPS = (-1.0, -0.4, 0.4, 1.0)  # what is tried on a group's log σ, one group after the other
SPREAD = 0.7  # of log σ: the grid that is integrated over
HYPER_SD = 1.0  # of log σ around its given value, a priori
FAR = 3.0  # log odds that one early step may change a row by
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Prior:
    """Of every column its mean, and its group; of every group its σ. Group −1: ``sd`` of the column is fixed."""

    mean: np.ndarray
    sd: np.ndarray
    group: np.ndarray
    scales: np.ndarray

    def precision(self, log_scales: np.ndarray) -> np.ndarray:
        free = self.group >= 0
        scales = np.exp(log_scales)[np.maximum(self.group, 0)] if len(log_scales) else self.sd
        return 1 / np.where(free, scales, self.sd) ** 2


@dataclass(frozen=True)
class Posterior:
    """Mean and covariance of β, the chosen σ by group, and the log evidence."""

    mean: np.ndarray
    covariance: np.ndarray
    scales: np.ndarray
    evidence: float

    def log_odds(self, design: np.ndarray) -> np.ndarray:
        return design @ self.mean

    def variance(self, design: np.ndarray) -> np.ndarray:
        """Of each row's log odds."""
        parts = [
            ((part @ self.covariance) * part).sum(axis=1)
            for part in np.array_split(design, max(1, -(-len(design) // ROWS_AT_ONCE)))
        ]
        return np.maximum(np.concatenate(parts), 0.0)


def fit_posterior(
    design: np.ndarray,
    outcome: np.ndarray,
    prior: Prior,
    *,
    integrate: bool = True,
    start: np.ndarray | None = None,
    scales: np.ndarray | None = None,
) -> Posterior:
    """The posterior of β. ``integrate=False`` stays at the best σ; ``start`` and ``scales`` begin elsewhere."""
    with threadpool_limits(1):
        return _fit(design, outcome, prior, integrate, start, scales)


def _fit(design, outcome, prior: Prior, integrate: bool, start, scales) -> Posterior:
    beta = prior.mean.copy() if start is None else start.copy()
    log_scales = np.log(prior.scales if scales is None else scales)
    for at in range(ROUNDS):
        around = expand(design, outcome, beta)
        if at >= FIXED_ROUNDS or scales is not None:
            log_scales = _better_scales(around, prior, log_scales)
        target = _solve(around, prior, log_scales)[1]
        change = np.abs(design @ (target - beta)).max(initial=0.0)
        share = min(1.0, FAR / max(change, 1e-12))
        beta = beta + share * (target - beta)
        if share == 1.0 and change < TOLERANCE and at > FIXED_ROUNDS:
            break
    return _integrated(expand(design, outcome, beta), prior, log_scales, integrate)


def _solve(
    around: Quadratic, prior: Prior, log_scales: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Log evidence, mode and the Cholesky factor of the posterior's precision, by the quadratic."""
    precision = prior.precision(log_scales)
    factor = scipy.linalg.cholesky(around.curvature + np.diag(precision), lower=True)
    right = around.gradient + around.curvature @ around.at + precision * prior.mean
    mode = scipy.linalg.cho_solve((factor, True), right)
    step = mode - around.at
    likelihood = around.value + around.gradient @ step - 0.5 * step @ around.curvature @ step
    penalty = 0.5 * (precision * (mode - prior.mean) ** 2).sum() - 0.5 * np.log(precision).sum()
    hyper = 0.5 * ((log_scales - np.log(prior.scales)) ** 2).sum() / HYPER_SD**2
    return float(likelihood - penalty - np.log(np.diag(factor)).sum() - hyper), mode, factor


def _better_scales(around: Quadratic, prior: Prior, log_scales: np.ndarray) -> np.ndarray:
    best, found = _solve(around, prior, log_scales)[0], log_scales.copy()
    for place in range(len(found)):
        for step in LOG_STEPS:
            tried = found.copy()
            tried[place] = log_scales[place] + step
            evidence = _solve(around, prior, tried)[0]
            if evidence > best:
                best, found = evidence, tried
    return found


def _integrated(
    around: Quadratic, prior: Prior, log_scales: np.ndarray, integrate: bool
) -> Posterior:
    """Mean and covariance of the mixture over σ of the three largest groups (each a third, the same, three times)."""
    sizes = np.bincount(prior.group[prior.group >= 0], minlength=len(log_scales))
    widest = np.argsort(-sizes, kind="stable")[:3] if integrate else []
    grid = itertools.product(
        *[(-SPREAD, 0.0, SPREAD) if place in widest else (0.0,) for place in range(len(log_scales))]
    )
    parts = [_solve(around, prior, log_scales + np.array(shift)) for shift in grid]
    evidence = np.array([part[0] for part in parts])
    weight = np.exp(evidence - evidence.max())
    weight /= weight.sum()
    mean = sum(share * part[1] for share, part in zip(weight, parts, strict=True))
    covariance = np.zeros_like(around.curvature)
    for share, (_, mode, factor) in zip(weight, parts, strict=True):
        if share > 1e-4:
            within = scipy.linalg.cho_solve((factor, True), np.eye(len(mode)))
            covariance += share * (within + np.outer(mode - mean, mode - mean))
    return Posterior(
        mean, (covariance + covariance.T) / 2, np.exp(log_scales), float(evidence.max())
    )
