"""What goes with an outcome, raw and adjusted, where customers appear at several landmarks?

A landmark row describes a customer on a date; its outcome lies after it, so that a long tenure cannot have caused the
description. Rows of one customer depend on each other: all intervals are over customers.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import scipy

from healthseg.statistics.rates import standard_errors, two_sided_p
from healthseg.statistics.separation import brier

RESAMPLES = 400
FOLDS = 5
RIDGE = 1e-8  # of a standardised column: a tier that a resample misses does not divide by zero
PRIOR = 0.1  # precision of a weak normal prior on log odds: a standard deviation of 3
NEWTON_STEPS, STEP_TOLERANCE = 100, 1e-7
ROW_RIDGE = 1e-8  # of each row: collinear columns do not divide by zero
ROWS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval and the p of no effect: 0 of a difference or correlation, 1 of an odds ratio."""

    value: float
    lower: float
    upper: float
    p: float


def resamples(customers: int, seed: int, count: int = RESAMPLES) -> np.ndarray:
    """How often each customer is drawn in each resample, ``[resample, customer]``."""
    return np.random.default_rng(seed).multinomial(
        customers, np.full(customers, 1 / customers), size=count
    )


def partial_correlation(
    x: np.ndarray,
    y: np.ndarray,
    covariates: np.ndarray,
    customer: np.ndarray,
    draws: np.ndarray,
    level: float = 0.95,
) -> Estimate | None:
    """The correlation of what the covariates leave unexplained of x and of y, both by least squares.

    ``covariates`` has any number of columns (none: Pearson's correlation, of two yes-or-no columns phi);
    ``customer`` numbers the rows' customers as the columns of ``draws`` (``resamples``). The interval is Student's t
    around Fisher's z, with the standard error over resampled customers and as many degrees of freedom as the rarer side
    of x and y has customers, less one. For p that error is at least 1/√(n − k − 3), Fisher's without correlation:
    resampling one churned customer of ninety does not show how many there might have been. None where x or y does not
    vary.

    >>> x = np.array([0, 0, 1, 1, 0, 1.0])
    >>> round(partial_correlation(x, x[::-1], np.empty((6, 0)), np.arange(6), resamples(6, seed=7)).value, 4)
    0.3333
    """
    inverses = _inverses(x, y, covariates, customer, draws)
    if inverses is None:
        return None
    all_rows, resampled = (
        np.arctanh(
            np.clip(
                -inverse[:, -2, -1] / np.sqrt(inverse[:, -2, -2] * inverse[:, -1, -1]),
                -0.999999,
                0.999999,
            )
        )
        for inverse in inverses
    )
    least_error = 1 / np.sqrt(max(len(x) - covariates.shape[1] - 3, 1))
    z = _estimate(float(all_rows[0]), resampled, x, y, customer, level, least_error)
    if z is None:
        return None
    value, lower, upper = (float(np.tanh(figure)) for figure in (z.value, z.lower, z.upper))
    return Estimate(value, lower, upper, z.p)


def adjusted_difference(
    x: np.ndarray,
    y: np.ndarray,
    covariates: np.ndarray,
    customer: np.ndarray,
    draws: np.ndarray,
    level: float = 0.95,
) -> Estimate | None:
    """By how much does y differ where x is 1 and not 0, the covariates being equal? By least squares, resampled by
    customer.
    """
    inverses = _inverses(x, y, covariates, customer, draws)
    if inverses is None:
        return None
    scale = np.std(y) / np.std(x)
    all_rows, resampled = (-inverse[:, -2, -1] / inverse[:, -1, -1] * scale for inverse in inverses)
    return _estimate(float(all_rows[0]), resampled, x, y, customer, level)


def _inverses(
    x: np.ndarray, y: np.ndarray, covariates: np.ndarray, customer: np.ndarray, draws: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """The inverse of the matrix of products of the standardised columns (covariates, x, y): of all rows, of each resample."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    columns = np.column_stack([covariates, x, y]).astype(float)
    spread = columns.std(axis=0)
    columns = (columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1)
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
    rows, owner = columns[order], customer[order]
    first = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
    left, right = np.triu_indices(columns.shape[1])
    out = np.zeros((customers, len(left)))
    out[owner[first]] = np.add.reduceat(rows[:, left] * rows[:, right], first, axis=0)
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
    x: np.ndarray, y: np.ndarray, covariates: np.ndarray, customer: np.ndarray, level: float = 0.95
) -> Estimate | None:
    """By what factor do the odds of y change with x, the covariates being equal?

    Logistic regression by Newton's steps under a weak normal prior, which settles where a side has no event. The
    standard error is the larger of the sandwich's over customers (Liang & Zeger 1986) and the information's: of a side
    without events the sandwich knows no spread. None where x or y does not vary.
    """
    columns = np.column_stack([np.ones(len(x)), covariates, x]).astype(float)
    spread = columns.std(axis=0)
    columns = columns[:, np.r_[True, spread[1:] > 0]]
    if spread[-1] == 0 or np.ptp(y) == 0:
        return None
    beta = log_odds(columns, y)
    if beta is None:
        return None
    information_based, sandwich = covariances(columns, y, beta, weak_prior(columns), customer)
    error = float(np.sqrt(max(sandwich[-1, -1], information_based[-1, -1])))
    reach = standard_errors(level) * error
    value, lower, upper = (float(np.exp(beta[-1] + shift)) for shift in (0.0, -reach, reach))
    return Estimate(value, lower, upper, two_sided_p(beta[-1] / error))


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
    """A fitted and calibrated chance, and how good it was on held-out customers."""

    beta: np.ndarray
    covariance: np.ndarray
    intercept: float  # of the calibration: 0 where none is needed
    slope: float  # 1 where none is needed
    brier: float  # mean squared error of the chance, on held-out customers
    base_brier: float  # of the share alone
    gain_z: float  # the difference of the two in standard errors over customers
    customers: int
    rows: int

    def is_useful(self, min_gain_z: float) -> bool:
        """Whether it was nearer to what happened than the share alone, by so many standard errors."""
        return self.gain_z >= min_gain_z and self.slope > 0

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
    """Fits the chance of ``y`` (0 or 1) by ``columns``; ``customer`` numbers the rows' customers.

    Logistic regression under a weak prior. Each fifth of the customers is predicted by the fit to the others; the
    regression of the outcomes on those log odds is the calibration (Cox 1958). The mean squared error (Brier 1950) of
    each fifth, fitted and calibrated on the others, is compared with that of the others' plain share. Standard errors
    are over customers (Liang & Zeger 1986). None where a part of the customers has one outcome only.
    """
    groups = customer % FOLDS
    beta = _fit(columns, y)
    predicted, shares = np.full(len(y), np.nan), np.full(len(y), np.nan)
    for fold in range(FOLDS):
        inside, others = groups == fold, groups != fold
        fitted = _fit(columns[others], y[others])
        if fitted is None:
            return None
        predicted[inside], shares[inside] = _with_one(columns[inside]) @ fitted, y[others].mean()
    calibration = _fit(predicted[:, None], y)
    if calibration is None or beta is None:
        return None
    chance = _calibrated(predicted, y, groups)
    gain = (shares - y) ** 2 - (chance - y) ** 2
    by_customer = np.bincount(customer, gain - gain.mean())
    error = float(np.sqrt((by_customer**2).sum())) / len(y)
    full = _with_one(columns)
    covariance = covariances(full, y, beta, weak_prior(full), customer)[1]
    return Likelihood(
        beta,
        covariance,
        float(calibration[0]),
        float(calibration[1]),
        brier(chance, y),
        brier(shares, y),
        float(gain.mean()) / max(error, 1e-12),
        len(np.unique(customer)),
        len(y),
    )


def _calibrated(predicted: np.ndarray, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The chances of each fifth, calibrated on the others."""
    chance = np.empty(len(y))
    for fold in range(FOLDS):
        inside = groups == fold
        fitted = _fit(predicted[~inside][:, None], y[~inside])
        intercept, slope = (0.0, 1.0) if fitted is None else fitted
        chance[inside] = scipy.special.expit(intercept + slope * predicted[inside])
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
    """β at the maximum of the posterior; None where 100 steps do not reach it.

    ``design`` is rows × columns, ``outcome`` 0 or 1, ``precision`` and ``mean`` the prior's by column (0: none).
    A step is halved until it climbs: a full one may leap over the maximum.

    >>> design, outcome = np.ones((4, 1)), np.array([0, 0, 0, 1.0])
    >>> float(np.exp(fit_logistic(design, outcome, np.zeros(1), np.zeros(1))[0]).round(6))
    0.333333
    """

    def height(point: Quadratic) -> float:
        return point.value - (precision * (point.at - mean) ** 2).sum() / 2

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

    ``customer`` numbers the rows' customers, whose rows depend on each other.
    """
    bread = np.linalg.inv(
        information(expand(design, outcome, beta).curvature, precision, len(design))
    )
    scores = np.zeros((int(customer.max()) + 1, design.shape[1]))
    np.add.at(scores, customer, design * (outcome - scipy.special.expit(design @ beta))[:, None])
    groups = len(np.unique(customer))
    return bread, bread @ (scores.T @ scores * groups / max(groups - 1, 1)) @ bread


# -- what happened next to each landmark row -------------------------------------------------------


def label_event_dates(customers: pd.DataFrame) -> pd.Series:
    """The day a customer was lost, by client_id: the earlier of notice_on and churned_on; NaT where neither is known.

    A column that the frame lacks counts as unknown for all.
    """
    dates = [
        pd.to_datetime(customers[name]).astype("datetime64[us]")
        for name in ("notice_on", "churned_on")
        if name in customers
    ]
    if "merged_into" in customers:  # an account that became part of another was not lost
        dates = [date.where(customers["merged_into"].isna()) for date in dates]
    index = pd.Index(customers["client_id"], name="client_id")
    if not dates:
        return pd.Series(np.datetime64("NaT"), index=index, dtype="datetime64[us]", name="event_on")
    return pd.Series(pd.concat(dates, axis=1).min(axis=1).to_numpy(), index=index, name="event_on")


# by client_id the day of the loss; a row per spell of a customer; or the day of each row's own spell
Losses: TypeAlias = pd.Series | pd.DataFrame | np.ndarray


def event_of_rows(rows: pd.DataFrame, losses: Losses) -> np.ndarray:
    """The day on which the customer of each row (client_id, date) was lost, NaT where it is not known to have been.

    Of ``losses`` with a row per spell (client_id, signup_date, notice_on, churned_on) a row has the loss of the spell
    that it lies in: a customer that was won back keeps its loss, and has the next one apart.

    >>> spells = pd.DataFrame({"client_id": "a", "signup_date": pd.to_datetime(["2024-01-01", "2025-05-01"]),
    ...                        "churned_on": pd.to_datetime(["2025-03-01", None])})
    >>> rows = pd.DataFrame({"client_id": "a", "date": pd.to_datetime(["2025-02-01", "2025-06-01"])})
    >>> event_of_rows(rows, spells).astype("datetime64[D]").astype(str).tolist()
    ['2025-03-01', 'NaT']
    """
    if isinstance(losses, np.ndarray):
        return losses
    if isinstance(losses, pd.Series):
        return losses.reindex(rows["client_id"]).to_numpy()
    spells = pd.DataFrame(
        {
            "client_id": losses["client_id"].astype("str").to_numpy(),
            "date": pd.to_datetime(losses["signup_date"]).astype("datetime64[us]").to_numpy(),
            "event": label_event_dates(losses).to_numpy(),
        }
    ).sort_values("date", kind="stable")
    keys = pd.DataFrame(
        {
            "client_id": rows["client_id"].astype("str").to_numpy(),
            "date": pd.to_datetime(rows["date"]).astype("datetime64[us]").to_numpy(),
            "at": np.arange(len(rows)),
        }
    ).sort_values("date", kind="stable")
    # without rows a column has no type of its own
    tables = (table.astype({"client_id": "str"}) for table in (keys, spells))
    joined = pd.merge_asof(*tables, on="date", by="client_id")
    return joined.sort_values("at")["event"].to_numpy()


def labels(
    landmarks: pd.DataFrame,
    event_on: Losses,
    as_of: dt.date,
    horizon_days: int,
    lead_days: int = 0,
) -> pd.DataFrame:
    """Did the event fall in (date + lead, date + lead + horizon], as far as it can be known at as_of?

    ``landmarks`` has client_id and date; ``event_on`` (``event_of_rows``) is read up to as_of alone. Added columns:
    outcome (1, 0, or NaN where ``status`` is not "labelled"), status: "labelled"; "after_event" (the event was on or
    before date: no row of a live customer); "in_lead" (it was too early to act on); "immature" (the window ends
    after as_of: its events would be known and its survivors not, so neither is used).
    """
    date = pd.to_datetime(landmarks["date"]).astype("datetime64[us]").to_numpy()
    event = event_of_rows(landmarks, event_on)
    event = np.where(event <= np.datetime64(as_of), event, np.datetime64("NaT"))
    start = date + np.timedelta64(lead_days, "D")
    end = start + np.timedelta64(horizon_days, "D")
    status = np.select(
        [event <= date, event <= start, end > np.datetime64(as_of)],
        ["after_event", "in_lead", "immature"],
        "labelled",
    )
    outcome = np.where(status == "labelled", (event <= end).astype(float), np.nan)
    return landmarks.assign(outcome=outcome, status=status)


# -- every hypothesis of a call in one list --------------------------------------------------------


def benjamini_hochberg(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """The smallest false-discovery rate at which each hypothesis would be called significant: its q.

    Benjamini & Hochberg (1995), in the order of ``p``. Refuses p outside 0..1 and NaN: what could not be
    tested was not tried.

    >>> benjamini_hochberg([.01, .04, .03]).round(4).tolist()
    [0.03, 0.04, 0.04]
    """
    p = np.asarray(p, dtype=float)
    if p.size and not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values lie in 0..1")
    # scipy.stats has the same, and takes half a second of a process' first call to load
    order = np.argsort(p, kind="stable")[::-1]
    scaled = p[order] * (len(p) / np.arange(len(p), 0, -1))
    q = np.empty_like(p)
    q[order] = np.clip(np.minimum.accumulate(scaled), 0, 1)
    return q


class Hypotheses:
    """All that a call has tried: each with its family, its name, its p and its figures.

    >>> tried = Hypotheses()
    >>> tried.add("pairs", "export & alerts", 0.001, lift=3.0)
    >>> tried.add("pairs", "export & search", 0.2, lift=1.1)
    >>> tried.frame()[["name", "q"]].values.tolist()
    [['export & alerts', 0.002], ['export & search', 0.2]]
    """

    def __init__(self) -> None:
        self._tried: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return len(self._tried)

    def add(self, family: str, name: str, p: float, **figures: Any) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"the p-value of {name!r} is {p}; p-values lie in 0..1")
        self._tried.append({"family": family, "name": name, "p": float(p), **figures})

    def frame(self) -> pd.DataFrame:
        """A row per hypothesis in the order tried, with q over all of them together, whatever their family."""
        frame = pd.DataFrame(self._tried, columns=None if self._tried else ["family", "name", "p"])
        return frame.assign(q=benjamini_hochberg(frame["p"].to_numpy(dtype=float)))

    def significant(self, q: float) -> pd.DataFrame:
        """Those whose q is at most ``q``."""
        frame = self.frame()
        return frame[frame["q"] <= q].reset_index(drop=True)
