"""What goes with an outcome, raw and adjusted, where customers come back at several landmarks?

A landmark row says what was so on a date; its outcome lies after it, so that staying long cannot have caused what was
so. Rows of one customer hang together: all intervals are over customers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from healthseg.statistics import logistic
from healthseg.statistics.normal import standard_errors

RESAMPLES = 400
LEAST = 20  # customers with the outcome, and without it, under which nothing is said
RIDGE = 1e-8  # of a standardised column: keeps a tier that a resample misses from dividing by zero
PRIOR = 0.1  # precision of a normal prior on log odds, an sd of 3: hardly more than nothing


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
    plain, over_customers = logistic.covariances(columns, y, beta, weak_prior(columns), customer)
    error = float(np.sqrt(max(over_customers[-1, -1], plain[-1, -1])))
    reach, p = standard_errors(level) * error, float(2 * scipy.special.ndtr(-abs(beta[-1]) / error))
    return OddsRatio(*np.exp([beta[-1], beta[-1] - reach, beta[-1] + reach]).tolist(), p)


def log_odds(columns: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """The log odds of y by ``columns``, the first of which is 1, under a weak prior that leaves the first alone."""
    beta = np.zeros(columns.shape[1])
    beta[0] = np.log(y.mean() / (1 - y.mean()))
    return logistic.fit(columns, y, weak_prior(columns), np.zeros(columns.shape[1]), start=beta)


def weak_prior(columns: np.ndarray) -> np.ndarray:
    """Its precision, by column."""
    return np.r_[0.0, np.full(columns.shape[1] - 1, PRIOR)]
