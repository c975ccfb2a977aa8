"""What goes with an outcome, raw and adjusted, where customers come back at several landmarks?

A landmark row says what was so on a date; its outcome lies after it, so that staying long cannot have caused what was
so. Rows of one customer hang together: all intervals are over customers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from healthseg.statistics.rates import standard_errors

RESAMPLES = 400
FOLDS = 5
LEAST = 20  # customers with the outcome, and without it, under which nothing is said
RIDGE = 1e-8  # of a standardised column: keeps a tier that a resample misses from dividing by zero
PRIOR = 0.1  # precision of a normal prior on log odds, an sd of 3: hardly more than nothing
NEWTON_STEPS, STEP_TOLERANCE = 100, 1e-7
ROW_RIDGE = 1e-8  # of each row: keeps columns that say the same from dividing by zero
ROWS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval and the p of its being 0."""

    value: float
    lower: float
    upper: float
    p: float


@dataclass(frozen=True)
class OddsRatio:
    """A factor on the odds with its interval and the p of its being 1."""

    value: float
    lower: float
    upper: float
    p: float


def resamples(customers: int, seed: int, count: int = RESAMPLES) -> np.ndarray:
    """How often each customer is drawn in each resample, ``[resample, customer]``."""
    return np.random.default_rng(seed).multinomial(
        customers, np.full(customers, 1 / customers), size=count
    )


def ranks(values: np.ndarray) -> np.ndarray:
    """Mid-ranks: a correlation of them is Spearman's."""
    return pd.Series(values).rank().to_numpy()


def partial_correlation(
    x: np.ndarray,
    y: np.ndarray,
    given: np.ndarray,
    customer: np.ndarray,
    draws: np.ndarray,
    level: float = 0.95,
) -> Estimate | None:
    """The correlation of what ``given`` leaves unexplained of x and of y, both by least squares.

    ``given`` has a row each and any number of columns (none: Pearson's correlation, of two yes-or-no columns phi);
    ``customer`` numbers the rows' customers as the columns of ``draws`` (``resamples``). The interval is of Student's t
    around Fisher's z, with the standard error over resampled customers and as many degrees of freedom as the rarer side
    of x and y has customers, less one. For p that error is at least 1/√(n − k − 3), Fisher's where nothing goes
    together: resampling one leaver of ninety cannot tell how many there might have been. None where x or y does not
    vary.

    >>> x = np.array([0, 0, 1, 1, 0, 1.0])
    >>> round(partial_correlation(x, x[::-1], np.empty((6, 0)), np.arange(6), resamples(6, seed=7)).value, 4)
    0.3333
    """
    found = _inverses(x, y, given, customer, draws)
    if found is None:
        return None
    value, drawn = (-one[:, -2, -1] / np.sqrt(one[:, -2, -2] * one[:, -1, -1]) for one in found)
    drawn = np.arctanh(np.clip(drawn, -0.999999, 0.999999))
    z, free = (
        float(np.arctanh(np.clip(value[0], -0.999999, 0.999999))),
        max(len(x) - given.shape[1] - 3, 1),
    )
    made = _estimate(z, drawn, x, y, customer, level, least_error=1 / np.sqrt(free))
    return made and Estimate(*np.tanh([made.value, made.lower, made.upper]).tolist(), made.p)


def adjusted_difference(
    x: np.ndarray,
    y: np.ndarray,
    given: np.ndarray,
    customer: np.ndarray,
    draws: np.ndarray,
    level: float = 0.95,
) -> Estimate | None:
    """By how much does y differ where x is 1 and not 0, ``given`` being equal? By least squares, resampled by
    customer.
    """
    found = _inverses(x, y, given, customer, draws)
    if found is None:
        return None
    value, drawn = (-one[:, -2, -1] / one[:, -1, -1] * np.std(y) / np.std(x) for one in found)
    return _estimate(float(value[0]), drawn, x, y, customer, level)


def _inverses(
    x: np.ndarray, y: np.ndarray, given: np.ndarray, customer: np.ndarray, draws: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """The inverse of the matrix of products of the standardised columns (given, x, y): of all rows, of each resample."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    columns = np.column_stack([given, x, y]).astype(float)
    columns = (columns - columns.mean(axis=0)) / np.where(
        columns.std(axis=0) > 0, columns.std(axis=0), 1
    )
    columns = np.column_stack([np.ones(len(x)), columns])
    products, size = _products(columns, customer, draws.shape[1]), columns.shape[1]
    return (
        _inverse(products.sum(axis=0)[None], size),
        _inverse(np.einsum("bk,kc->bc", draws.astype(float), products), size),
    )


def _inverse(products: np.ndarray, size: int) -> np.ndarray:
    """The inverses of symmetric matrices given by their upper triangles."""
    matrix = np.zeros((len(products), size, size))
    row, column = np.triu_indices(size)
    matrix[:, row, column] = products
    matrix[:, column, row] = products
    return np.linalg.inv(matrix + RIDGE * matrix[:, :1, :1] * np.eye(size))


def _products(columns: np.ndarray, customer: np.ndarray, customers: int) -> np.ndarray:
    """Each customer's sums of products of columns, as upper triangles."""
    order = np.argsort(customer, kind="stable")
    rows, who = columns[order], customer[order]
    first = np.flatnonzero(np.r_[True, who[1:] != who[:-1]])
    left, right = np.triu_indices(columns.shape[1])
    out = np.zeros((customers, len(left)))
    out[who[first]] = np.add.reduceat(rows[:, left] * rows[:, right], first, axis=0)
    return out


def _estimate(
    value: float,
    drawn: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    customer: np.ndarray,
    level: float,
    least_error: float = 0.0,
) -> Estimate | None:
    drawn = drawn[np.isfinite(drawn)]
    error = float(np.std(drawn, ddof=1)) if len(drawn) > 1 else 0.0
    if not np.isfinite(value) or not error > 0:
        return None
    freedom = max(min(_rarer(x, customer), _rarer(y, customer)) - 1, 1)
    reach = scipy.special.stdtrit(freedom, (1 + level) / 2) * error
    p = float(2 * scipy.special.stdtr(freedom, -abs(value) / max(error, least_error)))
    return Estimate(value, float(value - reach), float(value + reach), p)


def _rarer(values: np.ndarray, customer: np.ndarray) -> int:
    """Customers on the smaller side of a yes-or-no column; all of them for any other."""
    if len(np.unique(values)) > 2:
        return len(np.unique(customer))
    return min(len(np.unique(customer[values == side])) for side in np.unique(values))


def odds_ratio(
    x: np.ndarray, y: np.ndarray, given: np.ndarray, customer: np.ndarray, level: float = 0.95
) -> OddsRatio | None:
    """By what factor do the odds of y change with x, ``given`` being equal?

    Logistic regression by Newton's steps under a weak normal prior, which settles where a side has no event. The
    standard error is the larger of the sandwich's over customers (Liang & Zeger 1986) and the information's: of a side
    without events the sandwich knows no spread. None where x or y does not vary.
    """
    columns = np.column_stack([np.ones(len(x)), given, x]).astype(float)
    spread = columns.std(axis=0)
    columns = columns[:, np.r_[True, spread[1:] > 0]]
    if spread[-1] == 0 or np.ptp(y) == 0:
        return None
    beta = log_odds(columns, y)
    if beta is None:
        return None
    plain, over_customers = covariances(columns, y, beta, weak_prior(columns), customer)
    error = float(np.sqrt(max(over_customers[-1, -1], plain[-1, -1])))
    reach, p = standard_errors(level) * error, float(2 * scipy.special.ndtr(-abs(beta[-1]) / error))
    return OddsRatio(*np.exp([beta[-1], beta[-1] - reach, beta[-1] + reach]).tolist(), p)


def log_odds(columns: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """The log odds of y by ``columns``, the first of which is 1, under a weak prior that leaves the first alone."""
    beta = np.zeros(columns.shape[1])
    beta[0] = np.log(y.mean() / (1 - y.mean()))
    return fit_logistic(columns, y, weak_prior(columns), np.zeros(columns.shape[1]), start=beta)


def weak_prior(columns: np.ndarray) -> np.ndarray:
    """Its precision, by column."""
    return np.r_[0.0, np.full(columns.shape[1] - 1, PRIOR)]


# -- a calibrated chance -----------------------------------------------------------------


@dataclass(frozen=True)
class Likelihood:
    """A fitted and calibrated chance, and how good it was on customers that it had not seen."""

    beta: np.ndarray
    covariance: np.ndarray
    intercept: float  # of the calibration: 0 where none is needed
    slope: float  # 1 where none is needed
    brier: float  # mean squared error of the chance, on customers left out
    base_brier: float  # of the share alone
    customers: int
    rows: int

    @property
    def useful(self) -> bool:
        """Whether it was nearer to what happened than the share alone."""
        return self.brier < self.base_brier and self.slope > 0

    def at(self, columns: np.ndarray, level: float) -> tuple[float, float, float]:
        """The chance of a case with its interval: of the chance, not of what will happen."""
        row = np.r_[1.0, columns]
        height, error = float(row @ self.beta), float(np.sqrt(row @ self.covariance @ row))
        reach = standard_errors(level) * error
        chances = scipy.special.expit(
            self.intercept + self.slope * np.array([height, height - reach, height + reach])
        )
        return float(chances[0]), float(chances[1]), float(chances[2])


def likelihood(columns: np.ndarray, y: np.ndarray, customer: np.ndarray) -> Likelihood | None:
    """Fits the chance of ``y`` (0 or 1) given ``columns``; ``customer`` numbers the rows' customers.

    Logistic regression under a weak prior. Each fifth of the customers is foretold by the fit to the others; the
    regression of what happened on those log odds is the calibration (Cox 1958). The mean squared error (Brier 1950) of
    each fifth, fitted and calibrated on the others, stands beside that of the others' plain share. Standard errors are
    over customers (Liang & Zeger 1986). None where a part of the customers knows one outcome only.
    """
    groups = customer % FOLDS
    beta = _fit(columns, y)
    foretold, shares = np.full(len(y), np.nan), np.full(len(y), np.nan)
    for one in range(FOLDS):
        inside, others = groups == one, groups != one
        part = _fit(columns[others], y[others])
        if part is None or beta is None:
            return None
        foretold[inside], shares[inside] = _with_one(columns[inside]) @ part, y[others].mean()
    calibration = _fit(foretold[:, None], y)
    if calibration is None:
        return None
    chance = _calibrated(foretold, y, groups)
    full = _with_one(columns)
    covariance = covariances(full, y, beta, weak_prior(full), customer)[1]
    return Likelihood(
        beta,
        covariance,
        float(calibration[0]),
        float(calibration[1]),
        float(((chance - y) ** 2).mean()),
        float(((shares - y) ** 2).mean()),
        len(np.unique(customer)),
        len(y),
    )


def _calibrated(foretold: np.ndarray, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The chances of each fifth, calibrated on the others."""
    chance = np.empty(len(y))
    for one in range(FOLDS):
        inside = groups == one
        by = _fit(foretold[~inside][:, None], y[~inside])
        chance[inside] = scipy.special.expit(
            foretold[inside] if by is None else by[0] + by[1] * foretold[inside]
        )
    return chance


def _with_one(columns: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(columns)), columns])


def _fit(columns: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    return None if not len(y) or np.ptp(y) == 0 else log_odds(_with_one(columns), y)


# -- logistic regression under a normal prior --------------------------------------------
# outcome ~ Bernoulli(logit⁻¹(offset + Zβ)), β ~ Normal(mean, diag(1 ÷ precision)). The log posterior has one maximum;
# Newton's steps climb to it, and the curvature there gives Laplace's approximation and the sandwich.


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


def fit_logistic(
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
    >>> float(np.exp(fit_logistic(design, outcome, np.zeros(1), np.zeros(1))[0]).round(6))
    0.333333
    """

    def height(there: Quadratic) -> float:
        return there.value - (precision * (there.at - mean) ** 2).sum() / 2

    around = expand(design, outcome, mean if start is None else start, offset)
    for _ in range(NEWTON_STEPS):
        slope = around.gradient - precision * (around.at - mean)
        step = np.linalg.solve(information(around.curvature, precision, len(design)), slope)
        if np.abs(step).max() < STEP_TOLERANCE:
            return around.at + step
        reached = expand(design, outcome, around.at + step, offset)
        while height(reached) < height(around) and np.abs(step).max() > STEP_TOLERANCE:
            step = step / 2
            reached = expand(design, outcome, around.at + step, offset)
        around = reached
    return None


def information(curvature: np.ndarray, precision: np.ndarray, rows: int) -> np.ndarray:
    """The curvature of the log posterior."""
    return curvature + np.diag(precision + ROW_RIDGE * rows)


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
