"""An additive hazard: the probability that an event falls into one step, with its posterior.

A discrete-time hazard is a logistic regression on customer-steps (Allison 1982; Singer & Willett
1993). β ~ Normal(μ, diag(σ²)), one σ per group of columns. The posterior is Laplace's; the evidence
of the σ follows from the same quadratic (MacKay 1992), so that other σ cost no pass over the data.
The result integrates over a grid of σ around the best, weighted by evidence: its intervals are
wider than those at the best σ alone.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
import scipy
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from healthseg.scoring.churn.predictors import HINGE, LINEAR, MISSING, Design, make_design
from healthseg.settings.data import ROLLING_TERM_DAYS
from healthseg.statistics.effects import ROWS_AT_ONCE, Quadratic, expand

# standard deviations of the coefficients' groups, where the evidence starts
SCALES = {
    "directed": 0.10,
    "metric": 0.05,
    "feature": 0.06,
    "level": 0.20,
    MISSING: 0.05,
    HINGE: 0.03,
    # of columns that keep their unit: log odds
    "renewal": 1.5,
    "renewal edge": 0.5,
    "tenure": 0.25,
}
DEFAULT_GROUP = "metric"
INTERCEPT_SD = 3.0
# Newton steps, of which the first few keep the initial σ
ROUNDS, FIXED_ROUNDS = 10, 2
LOG_STEPS = (-1.0, -0.4, 0.4, 1.0)  # tried on a group's log σ, one group after the other
SPREAD = 0.7  # of log σ: the grid that is integrated over
HYPER_SD = 1.0  # of log σ around its initial value, a priori
MAX_CHANGE = 3.0  # log odds that one early step may change a row by
TOLERANCE = 1e-5
PARAMETERS = (
    "directions",
    "groups",
    "bent",
    "unscaled",
    "strength",
    "strength_sd",
    "scales",
    "integrate",
)


@dataclass(frozen=True)
class Prior:
    """Of every column its mean, and its group; of every group its σ. Group −1: ``sd`` of the column is fixed."""

    mean: np.ndarray
    sd: np.ndarray
    group: np.ndarray
    scales: np.ndarray

    def precision(self, log_scales: np.ndarray) -> np.ndarray:
        scales = np.exp(log_scales)[np.maximum(self.group, 0)] if len(log_scales) else self.sd
        return 1 / np.where(self.group >= 0, scales, self.sd) ** 2


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
    design: np.ndarray, outcome: np.ndarray, prior: Prior, *, integrate: bool = True
) -> Posterior:
    """The posterior of β; ``integrate=False`` stays at the best σ."""
    beta, log_scales = prior.mean.copy(), np.log(prior.scales)
    with threadpool_limits(1):
        for at in range(ROUNDS):
            around = expand(design, outcome, beta)
            if at >= FIXED_ROUNDS:
                log_scales = _better_scales(around, prior, log_scales)
            target = _solve(around, prior, log_scales)[1]
            change = np.abs(design @ (target - beta)).max(initial=0.0)
            share = min(1.0, MAX_CHANGE / max(change, 1e-12))
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
    best, chosen = _solve(around, prior, log_scales)[0], log_scales.copy()
    for group in range(len(chosen)):
        for step in LOG_STEPS:
            candidate = chosen.copy()
            candidate[group] = log_scales[group] + step
            evidence = _solve(around, prior, candidate)[0]
            if evidence > best:
                best, chosen = evidence, candidate
    return chosen


def _integrated(
    around: Quadratic, prior: Prior, log_scales: np.ndarray, integrate: bool
) -> Posterior:
    """Mean and covariance of the mixture over σ of the three largest groups (each smaller, the same, larger)."""
    sizes = np.bincount(prior.group[prior.group >= 0], minlength=len(log_scales))
    largest = set(np.argsort(-sizes, kind="stable")[:3].tolist()) if integrate else set()
    shifts = [
        (-SPREAD, 0.0, SPREAD) if group in largest else (0.0,) for group in range(len(log_scales))
    ]
    parts = [
        _solve(around, prior, log_scales + np.array(shift)) for shift in itertools.product(*shifts)
    ]
    evidence = np.array([part[0] for part in parts])
    weight = np.exp(evidence - evidence.max())
    weight /= weight.sum()
    mean = sum(share * part[1] for share, part in zip(weight, parts, strict=True))
    covariance = np.zeros_like(around.curvature)
    for share, (_, mode, factor) in zip(weight, parts, strict=True):
        if share > 1e-4:
            within = scipy.linalg.cho_solve((factor, True), np.eye(len(mode)))
            covariance += share * (within + np.outer(mode - mean, mode - mean))
    covariance = (covariance + covariance.T) / 2
    return Posterior(mean, covariance, np.exp(log_scales), float(evidence.max()))


class Hazard:
    """A penalised additive logistic model with directions as its prior, and a posterior.

    ``directions``: +1 where more of a feature means more of the event, −1 less, 0 unknown. Directed
    coefficients are m · direction + deviation, m ~ Normal(``strength``, ``strength_sd``²): equal
    weights are the prior (Dawes 1979). Each group of coefficients (``groups``, one name a feature)
    has its own standard deviation, started at ``scales`` and chosen by evidence. NaN is missing; what is missing has
    effects of its own, which belong to no feature (position ``n_features_in_`` of ``parts``).

    Attributes after ``fit``: classes_, n_features_in_, design_, direction_, posterior_,
    group_names_.

    ``HazardClassifier`` is the same as an estimator of scikit-learn's, which takes long to load.

    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]] * 20)
    >>> model = Hazard().fit(X, np.array([0, 0, 1, 1] * 20))
    >>> np.sign(model.decision_function(np.array([[0.0], [3.0]]))).tolist()
    [-1.0, 1.0]
    """

    def __init__(
        self,
        directions: Any = None,
        groups: Any = None,
        bent: Any = None,
        unscaled: Any = None,
        strength: float = 0.2,
        strength_sd: float = 0.15,
        scales: Any = None,
        integrate: bool = True,
    ) -> None:
        self.directions = directions
        self.groups = groups
        self.bent = bent
        self.unscaled = unscaled
        self.strength = strength
        self.strength_sd = strength_sd
        self.scales = scales
        self.integrate = integrate

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Rows of metrics, and whether the event fell into the step after each (0 or 1, some of either)."""
        self.n_features_in_ = X.shape[1]
        self.classes_, outcome = np.unique(y, return_inverse=True)
        bent = np.ones(X.shape[1]) if self.bent is None else self.bent
        unscaled = None if self.unscaled is None else np.asarray(self.unscaled, dtype=bool)
        self.design_ = make_design(X, np.asarray(bent, dtype=bool), unscaled)
        self.direction_ = self._directions(X.shape[1])
        prior = self._prior(outcome.mean(), X.shape[1])
        self.posterior_ = fit_posterior(
            self._matrix(X), outcome.astype(float), prior, integrate=self.integrate
        )
        return self

    def _directions(self, width: int) -> np.ndarray:
        """Of every column."""
        directions = np.zeros(width)
        if self.directions is not None:
            directions = np.asarray(self.directions, dtype=float)
        if directions.shape != (width,):
            raise ValueError(f"directions has {directions.size} entries for {width} features")
        linear = np.array([column.form == LINEAR for column in self.design_.columns])
        return np.where(linear, directions[self.design_.source], 0.0)

    def _prior(self, rate: float, width: int) -> Prior:
        """Of the intercept, the common strength of the directions, and every column."""
        named = [DEFAULT_GROUP] * width if self.groups is None else list(self.groups)
        of_column = [
            named[column.metric] if column.form == LINEAR else column.form
            for column in self.design_.columns
        ]
        self.group_names_ = sorted(set(of_column))
        scales = {**SCALES, **(self.scales or {})}
        count = len(of_column)
        intercept = scipy.special.logit(np.clip(rate, 1e-4, 1 - 1e-4))
        strength_sd = self.strength_sd if self.direction_.any() else 1e-6
        return Prior(
            np.r_[intercept, self.strength, np.zeros(count)],
            np.r_[INTERCEPT_SD, strength_sd, np.ones(count)],
            np.array([-1, -1, *(self.group_names_.index(name) for name in of_column)]),
            np.array([scales[name] for name in self.group_names_]),
        )

    def _matrix(self, X: np.ndarray) -> np.ndarray:
        """Intercept, the sum of the directed columns, and all columns."""
        columns = self.design_.matrix(X)
        return np.column_stack([np.ones(len(X)), columns @ self.direction_, columns])

    def _validated(self, X: Any) -> np.ndarray:
        return np.asarray(X, dtype=float)

    def decision_function(self, X: Any) -> np.ndarray:
        """Log odds of the event in the step."""
        valid = self._validated(X)
        return self.posterior_.log_odds(self._matrix(valid))

    def log_odds_sd(self, X: Any) -> np.ndarray:
        """The standard deviation of each row's log odds, by their posterior."""
        valid = self._validated(X)
        return np.sqrt(self.posterior_.variance(self._matrix(valid)))

    @property
    def base(self) -> float:
        """The log odds of the average row."""
        return float(self.posterior_.mean[0])

    def weights(self) -> np.ndarray:
        """The change of the log odds per unit of each column: its part of the common strength included."""
        return self.direction_ * self.posterior_.mean[1] + self.posterior_.mean[2:]

    def _weights_covariance(self) -> np.ndarray:
        covariance, direction = self.posterior_.covariance, self.direction_
        cross = np.outer(direction, covariance[1, 2:])
        common = covariance[1, 1] * np.outer(direction, direction)
        return covariance[2:, 2:] + cross + cross.T + common

    def parts(self, X: Any) -> np.ndarray:
        """Rows × (features, what is missing): each one's part of the log odds against the average row; with ``base`` they
        add up.
        """
        valid = self._validated(X)
        values, owner = self.design_.matrix(valid) * self.weights(), self.design_.owner
        return np.stack(
            [values[:, owner == at].sum(axis=1) for at in range(self.n_features_in_ + 1)], axis=1
        )

    def joint_parts(self, X: Any, groups: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Rows × groups: the features' part of the log odds by group, and its standard deviation."""
        valid = self._validated(X)
        columns, owner = self.design_.matrix(valid), self.design_.owner
        weights, covariance = self.weights(), self._weights_covariance()
        parts, sds = (np.empty((len(columns), len(groups))) for _ in range(2))
        for at, group in enumerate(groups):
            of_group = np.flatnonzero(np.isin(owner, group))
            selected = columns[:, of_group]
            parts[:, at] = selected @ weights[of_group]
            variance = ((selected @ covariance[np.ix_(of_group, of_group)]) * selected).sum(axis=1)
            sds[:, at] = np.sqrt(np.maximum(variance, 0.0))
        return parts, sds

    def contrast(self, pair: np.ndarray, group: list[int]) -> tuple[float, float]:
        """By how much a group of features raises the second row's log odds over the first's, and its deviation."""
        first, second = self.design_.matrix(self._validated(pair))
        change = np.where(np.isin(self.design_.owner, group), second - first, 0.0)
        variance = change @ self._weights_covariance() @ change
        return float(change @ self.weights()), float(np.sqrt(max(variance, 0.0)))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, from which ``from_dict`` makes the same predictions."""
        posterior, rows = self.posterior_, np.tril_indices(len(self.posterior_.mean))
        return {
            "parameters": {name: _plain(getattr(self, name)) for name in PARAMETERS},
            "classes": self.classes_.tolist(),
            "features": self.n_features_in_,
            "design": self.design_.to_dict(),
            "direction": self.direction_.tolist(),
            "group_names": self.group_names_,
            "mean": posterior.mean.tolist(),
            "covariance": posterior.covariance[rows].tolist(),
            "scales": posterior.scales.tolist(),
            "evidence": posterior.evidence,
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        model = cls(**saved["parameters"])
        model.classes_, model.n_features_in_ = np.array(saved["classes"]), int(saved["features"])
        model.design_ = Design.from_dict(saved["design"])
        model.group_names_ = list(saved["group_names"])
        model.direction_ = np.array(saved["direction"], dtype=float)
        mean = np.array(saved["mean"], dtype=float)
        lower = np.zeros((len(mean), len(mean)))
        lower[np.tril_indices(len(mean))] = saved["covariance"]
        covariance = lower + np.tril(lower, -1).T
        scales = np.array(saved["scales"], dtype=float)
        model.posterior_ = Posterior(mean, covariance, scales, float(saved["evidence"]))
        return model


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


# -- an estimator of scikit-learn ------------------------------------------------------------------


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


# -- what is known ahead ---------------------------------------------------------------------------
# Of each step: whether a renewal falls into it, of which contract, and how old the customer is then. Renewals are steps'
# columns: in how many steps the next one is due, counted from the step's start. A renewal that lies before the step has been
# signed, since the customer is retained: the next is a term later. Contracts of fewer than ``ROLLING_TERM_DAYS`` renew in
# every step.


RENEWAL, TENURE = "renewal", "tenure"
SUBJECTS = {RENEWAL: "days_to_renewal", TENURE: "tenure_days"}
# metrics that only these columns read
KNOWN_AHEAD = frozenset(
    {"days_to_renewal", "contract_term_days", "contract_auto_renews", "tenure_days"}
)
ASSUMED_TERM_DAYS = 365
SHORT_DAYS, LONG_DAYS = 120, 300  # of a term, exclusive
TENURE_DAYS = (30, 60, 90, 120, 180, 270, 365, 730)
# steps until the renewal, from a step's start: the bins, and their parts near the edges
BINS = {"due": (0, 1), "1": (1, 2), "2": (2, 3), "3": (3, 4)}
EDGES = {"due early": (0, 0.25), "due late": (0.75, 1), "just after": (1, 1.25)}


def timing_names(rows: pd.DataFrame) -> list[str]:
    """The columns of what is known ahead that these rows can have."""
    names = []
    if "days_to_renewal" in rows:
        names += ["known", "overdue", *BINS, *EDGES]
        if "contract_term_days" in rows:
            names += ["due of short", "due of long", "monthly", "term"]
        if "contract_auto_renews" in rows:
            names += ["due by itself", "by itself"]
    if "tenure_days" in rows:
        names += [TENURE, *(f"{TENURE} {day}" for day in TENURE_DAYS)]
    return names


def subject(name: str) -> str:
    """Whether a column speaks of the renewal or of the tenure."""
    return TENURE if name.startswith(TENURE) else RENEWAL


def timing_values(
    rows: pd.DataFrame, names: list[str], step_days: int, ahead: int = 0, share: float = 1.0
) -> np.ndarray:
    """Rows × named columns at the start of the step that lies ``ahead`` steps ahead; none is missing.

    ``share``: of the step's days that count; a renewal in the rest is not due yet.
    """
    steps, term, renews = _renewal(rows, step_days, ahead, share)
    tenure = np.maximum(_column(rows, "tenure_days", 0.0) + ahead * step_days, 0.0)
    columns = {
        "known": ~np.isnan(steps),
        "overdue": steps <= 0,
        "due of short": _within(steps, 0, 1) & (term < SHORT_DAYS),
        "due of long": _within(steps, 0, 1) & (term > LONG_DAYS),
        "monthly": term < ROLLING_TERM_DAYS,
        "term": np.log1p(np.nan_to_num(term)) / 6,
        "due by itself": _within(steps, 0, 1) * (renews - 0.5),
        "by itself": renews - 0.5,
        "tenure": np.log1p(np.maximum(tenure, 0.0)) - 5,
    }
    columns |= {name: _within(steps, *ends) for name, ends in (BINS | EDGES).items()}
    columns |= {f"tenure {day}": tenure >= day for day in TENURE_DAYS}
    return np.column_stack([np.asarray(columns[name], dtype=float) for name in names])


def has_renewal(rows: pd.DataFrame, step_days: int, ahead: int, share: float) -> np.ndarray:
    """Whether each row's renewal falls into the first ``share`` of the step."""
    return _within(_renewal(rows, step_days, ahead, share)[0], 0, share)


def _renewal(
    rows: pd.DataFrame, step_days: int, ahead: int, share: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps until the renewal, the term in days (NaN: unknown), and whether it renews by itself (½: unknown)."""
    days = _column(rows, "days_to_renewal", np.nan)
    term = _column(rows, "contract_term_days", np.nan)
    days = np.where(term < ROLLING_TERM_DAYS, np.nan, days)
    later, passed = days - ahead * step_days, ahead * step_days >= days
    each = np.where(np.isnan(term), ASSUMED_TERM_DAYS, term)
    signed = passed & (days > 0)
    later = np.where(signed, later + each * (np.floor(-later / each) + 1), later)
    steps = later / step_days
    steps = np.where(_within(steps, share, 1), 1.0 + 1e-9, steps) if share < 1 else steps
    return steps, term, np.nan_to_num(_column(rows, "contract_auto_renews", np.nan), nan=0.5)


def _within(steps: np.ndarray, low: float, high: float) -> np.ndarray:
    return (steps > low) & (steps <= high)


def _column(rows: pd.DataFrame, name: str, default: float) -> np.ndarray:
    if name not in rows:
        return np.full(len(rows), default)
    return np.nan_to_num(rows[name].to_numpy(dtype=float, na_value=np.nan), nan=default)
