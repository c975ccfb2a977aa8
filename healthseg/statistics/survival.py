"""How long do spells last, how do they end, and do groups of them differ? All with delayed entry.

Kaplan–Meier, Aalen–Johansen, the log-rank test and its inversion to a factor on time. A spell is at risk on
(entry, time]: one that began before tracking enters late, and does not count as a survivor of days that were not
observed (left truncation).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy
from numpy.typing import ArrayLike

from healthseg.statistics.rates import standard_errors, two_sided_p

# log factors at which the inverted test is evaluated before a root is sought between two of them
LOG_FACTORS = np.linspace(-3.0, 3.0, 25)
LOG_FACTOR_TOLERANCE = 1e-5


def kaplan_meier(
    time: ArrayLike,
    event: ArrayLike,
    entry: ArrayLike | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """What share lasts beyond each time?

    ``time`` is when a spell ended or was last seen, ``event`` whether it ended, ``entry`` when it came under
    observation (0 by default). Columns, one row per time at which something ended: time, at_risk, events, survival,
    std_error (Greenwood 1926), lower, upper (log-log transformed, which stays in 0..1; Kalbfleisch & Prentice 2002,
    §1.4).

    >>> kaplan_meier([1, 2, 3], [True, False, True])["survival"].round(4).tolist()
    [0.6667, 0.0]
    """
    table = _risk_table(_spells(time, event, entry))
    d, n = table["events"].to_numpy(), table["at_risk"].to_numpy()
    survival = np.cumprod(1 - d / n)
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.cumsum(d / (n * (n - d)))
        error = np.where(survival > 0, survival * np.sqrt(greenwood), np.nan)
        reach = standard_errors(level) * np.sqrt(greenwood) / np.abs(np.log(survival))
        inside = (survival > 0) & (survival < 1)
        lower, upper = (
            np.where(inside, survival ** np.exp(sign * reach), np.nan) for sign in (1, -1)
        )
    return table.assign(survival=survival, std_error=error, lower=lower, upper=upper)


def _spells(time: ArrayLike, event: ArrayLike, entry: ArrayLike | None) -> pd.DataFrame:
    ends = np.asarray(time, dtype=float)
    starts = np.zeros(len(ends)) if entry is None else np.asarray(entry, dtype=float)
    if np.isnan(ends).any() or np.isnan(starts).any() or (starts >= ends).any():
        raise ValueError("every spell needs entry < time, both known")
    return pd.DataFrame({"entry": starts, "time": ends, "event": np.asarray(event)})


def _risk_table(spells: pd.DataFrame) -> pd.DataFrame:
    """Per distinct time of an event: how many were at risk just before it, how many events fell on it."""
    happened = spells["event"].to_numpy() != 0
    times, events = np.unique(spells.loc[happened, "time"], return_counts=True)
    entered = np.searchsorted(np.sort(spells["entry"]), times, side="left")
    gone = np.searchsorted(np.sort(spells["time"]), times, side="left")
    return pd.DataFrame({"time": times, "at_risk": entered - gone, "events": events})


@dataclass(frozen=True)
class Median:
    """When half have ended, with its interval; None where the curve (or its bound) does not get there."""

    time: float | None
    lower: float | None
    upper: float | None


def quantile_time(curve: pd.DataFrame, share: float = 0.5) -> Median:
    """The first time by which ``share`` has ended, and the times at which the bounds of the curve say so.

    Brookmeyer & Crowley (1982). ``curve`` is kaplan_meier's.
    """

    def first(column: str) -> float | None:
        reached = curve.loc[curve[column] <= 1 - share + 1e-12, "time"]
        return float(reached.iloc[0]) if len(reached) else None

    return Median(first("survival"), first("lower"), first("upper"))


def median_times(time: np.ndarray, event: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Kaplan–Meier's median of each weighting ``[draw, spell]`` of spells, all at risk from the beginning; infinite
    where half are never reached.

    >>> median_times(np.array([1.0, 2, 3]), np.array([True, True, True]), np.array([[1, 1, 1], [0, 0, 2]])).tolist()
    [2.0, 3.0]
    """
    order = np.argsort(time, kind="stable")
    time, weights = np.asarray(time, dtype=float)[order], weights[:, order]
    at, first = np.unique(time, return_index=True)
    events = np.add.reduceat(weights * np.asarray(event)[order], first, axis=1)
    at_risk = np.cumsum(weights[:, ::-1], axis=1)[:, ::-1][:, first]
    with np.errstate(invalid="ignore", divide="ignore"):
        survival = np.cumprod(
            np.where(at_risk > 0, 1 - events / np.maximum(at_risk, 1), 1.0), axis=1
        )
    reached = survival <= 0.5 + 1e-12
    return np.where(reached.any(axis=1), at[reached.argmax(axis=1)], np.inf)


def survival_at(curve: pd.DataFrame, times: ArrayLike) -> np.ndarray:
    """The curve's value at given times: 1 before its first step."""
    step = np.searchsorted(curve["time"].to_numpy(), np.asarray(times, dtype=float), side="right")
    return np.concatenate([[1.0], curve["survival"].to_numpy()])[step]


def aalen_johansen(
    time: ArrayLike, cause: ArrayLike, entry: ArrayLike | None = None
) -> pd.DataFrame:
    """By which time has what share ended by which cause, where the causes compete?

    ``cause`` is None where the spell was still open at ``time``. Long frame, one row per cause and time
    at which something ended: cause, time, at_risk, events (of the cause), cumulative_incidence, std_error. The
    incidences of all causes and the survival sum to 1 at every time. Aalen & Johansen (1978); the variance is the
    delta-method one of Marubini & Valsecchi (1995), §10.2, in its binomial form.
    """
    causes = np.array(
        [None if pd.isna(name) else str(name) for name in np.asarray(cause, dtype=object)],
        dtype=object,
    )
    spells = _spells(time, causes != None, entry)  # noqa: E711 - element-wise
    table = _risk_table(spells)
    n, d, at = (table[name].to_numpy(dtype=float) for name in ("at_risk", "events", "time"))
    before = np.concatenate([[1.0], np.cumprod(1 - d / n)])[:-1]
    parts = []
    for name in sorted({name for name in causes if name is not None}):
        ended = np.sort(spells.loc[causes == name, "time"])
        own = (
            np.searchsorted(ended, at, side="right") - np.searchsorted(ended, at, side="left")
        ).astype(float)
        incidence = np.cumsum(before * own / n)
        parts.append(
            pd.DataFrame(
                {
                    "cause": name,
                    "time": at,
                    "at_risk": table["at_risk"],
                    "events": own.astype(int),
                    "cumulative_incidence": incidence,
                    "std_error": np.sqrt(_incidence_variance(n, d, own, before, incidence)),
                }
            )
        )
    columns = ["cause", "time", "at_risk", "events", "cumulative_incidence", "std_error"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _incidence_variance(
    n: np.ndarray, d: np.ndarray, own: np.ndarray, before: np.ndarray, incidence: np.ndarray
) -> np.ndarray:
    """Per time t, over the event times up to t: with g = I(t) − I(t_j), the delta-method sum.

    Σ g²·d/(n(n−d)) + Σ S²·(n−own)·own/n³ − 2·Σ g·S·own/n².
    """
    hazard_term = np.where(n > d, d / np.where(n > d, n * (n - d), 1.0), 0.0)
    gap = incidence[:, None] - incidence[None, :]
    upto = np.tril(np.ones((len(n), len(n)), dtype=bool))
    terms = (
        gap**2 * hazard_term + before**2 * (n - own) * own / n**3 - 2 * gap * before * own / n**2
    )
    return np.maximum(np.where(upto, terms, 0.0).sum(axis=1), 0.0)


# -- do groups differ? -------------------------------------------------------------------


@dataclass(frozen=True)
class LogRank:
    """The test's statistic with its degrees of freedom and p, and a row a group: n, observed, expected."""

    statistic: float
    freedom: int
    p: float
    groups: pd.DataFrame


def log_rank(
    time: ArrayLike,
    event: ArrayLike,
    group: ArrayLike,
    entry: ArrayLike | None = None,
    stratum: ArrayLike | None = None,
) -> LogRank | None:
    """Do the groups end at the same pace?

    Mantel (1966) and Cox (1972): over the times at which something ended, the observed ends of each group less those
    expected from its share of those at risk, against their hypergeometric covariance; added over strata. ``entry`` is
    when a spell came under observation (0 by default; at risk on (entry, time]). None where fewer than two groups, or
    nothing that tells them apart.

    >>> tested = log_rank([1, 2, 3, 4], [True] * 4, ["a", "a", "b", "b"], entry=[0] * 4)
    >>> round(tested.statistic, 3), tested.freedom, tested.groups["expected"].round(3).tolist()
    (2.882, 1, [0.833, 3.167])
    """
    names, codes = np.unique(np.asarray(group, dtype=object).astype(str), return_inverse=True)
    ends, happened = np.asarray(time, dtype=float), np.asarray(event).astype(bool)
    starts = np.zeros(len(ends)) if entry is None else np.asarray(entry, dtype=float)
    strata = (
        np.zeros(len(ends), dtype=np.int64)
        if stratum is None
        else np.unique(stratum, return_inverse=True)[1]
    )
    if len(names) < 2:
        return None
    observed, expected = np.zeros(len(names)), np.zeros(len(names))
    covariance = np.zeros((len(names), len(names)))
    for stratum_number in range(strata.max() + 1):
        chosen = strata == stratum_number
        parts = _stratum(starts[chosen], ends[chosen], happened[chosen], codes[chosen], len(names))
        observed, expected, covariance = (
            observed + parts[0],
            expected + parts[1],
            covariance + parts[2],
        )
    return _tested(names, np.bincount(codes, minlength=len(names)), observed, expected, covariance)


def _stratum(
    entry: np.ndarray, time: np.ndarray, event: np.ndarray, code: np.ndarray, groups: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observed and expected ends of each group, and the covariance of their difference."""
    at = np.unique(time[event])
    risk, ended = np.zeros((groups, len(at))), np.zeros((groups, len(at)))
    for group in range(groups):
        own = code == group
        risk[group] = _before(entry[own], at) - _before(time[own], at)
        ends = np.sort(time[own & event])
        ended[group] = np.searchsorted(ends, at, side="right") - np.searchsorted(
            ends, at, side="left"
        )
    n, d = risk.sum(axis=0), ended.sum(axis=0)
    share = risk / n
    spread = np.where(n > 1, d * (n - d) / np.maximum(n - 1, 1), 0.0)
    covariance = np.diag((share * spread).sum(axis=1)) - (share * spread) @ share.T
    return ended.sum(axis=1), (share * d).sum(axis=1), covariance


def _before(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.sort(values), at, side="left").astype(float)


def _tested(
    names: np.ndarray,
    n: np.ndarray,
    observed: np.ndarray,
    expected: np.ndarray,
    covariance: np.ndarray,
) -> LogRank | None:
    gap = (observed - expected)[:-1]
    inner = covariance[:-1, :-1]
    if np.linalg.matrix_rank(inner) != len(gap):
        return None
    statistic = float(gap @ np.linalg.solve(inner, gap))
    frame = pd.DataFrame({"group": names, "n": n, "observed": observed, "expected": expected})
    if len(gap) == 1:  # without scipy, which takes longer to load
        return LogRank(statistic, 1, two_sided_p(math.sqrt(statistic)), frame)
    return LogRank(statistic, len(gap), float(scipy.special.chdtrc(len(gap), statistic)), frame)


@dataclass(frozen=True)
class TimeFactor:
    """The factor on the remaining time once something happened, with its interval and the p of no effect (1).

    A bound is None where even the largest factor that was tried (e³) is not ruled out.
    """

    factor: float
    lower: float | None
    upper: float | None
    p: float
    n: int  # spells in which it happened
    events: int  # of them ended


def time_factor(
    time: np.ndarray,
    event: np.ndarray,
    onset: np.ndarray,
    stratum: np.ndarray,
    cluster: np.ndarray,
    level: float = 0.95,
) -> TimeFactor | None:
    """By what factor does something that happens during a spell lengthen its remaining time?

    ``onset`` is the time at which it happened in each spell, NaN where it did not. A factor f maps what followed the
    onset to what it would have been without: onset + (time − onset)/f. At the true f the mapped spells, unexposed
    until the onset and exposed from it on, end at one pace: f is where the log-rank statistic stratified by ``stratum``
    is 0, its interval holds all f that the test does not reject (Robins & Tsiatis 1992; Wei & Gail 1983). No law of the
    spells' length is supposed; a share of them may never end. The variance is the larger of the test's own and of that
    over clusters (customers). None where the statistic never changes its sign.
    """
    exposed = np.isfinite(onset)
    if exposed.sum() < 2 or not (event & exposed).any() or not (event & ~exposed).any():
        return None
    edge = standard_errors(level)
    strata = [
        tuple(column[stratum == name] for column in (time, event, onset, cluster))
        for name in np.unique(stratum)
    ]
    clusters = int(cluster.max()) + 1

    def z(log_factor: float) -> float:
        return _exposure_z(strata, clusters, log_factor)

    values = np.array([z(log_factor) for log_factor in LOG_FACTORS])
    root = _crossing(z, values, 0.0)
    if root is None:
        return None
    lower, upper = _crossing(z, values, -edge), _crossing(z, values, edge)
    return TimeFactor(
        float(np.exp(root)),
        None if lower is None else float(np.exp(lower)),
        None if upper is None else float(np.exp(upper)),
        two_sided_p(z(0.0)),
        int(exposed.sum()),
        int((event & exposed).sum()),
    )


def _crossing(z: Callable[[float], float], values: np.ndarray, height: float) -> float | None:
    """The log factor nearest the middle of the scale at which z rises through a height: z rises with the factor."""
    above = values > height
    rises = np.flatnonzero(~above[:-1] & above[1:])
    if not len(rises):
        return None
    index = rises[np.argmin(np.abs(LOG_FACTORS[rises]))]
    return float(
        scipy.optimize.bisect(
            lambda log_factor: z(log_factor) - height,
            LOG_FACTORS[index],
            LOG_FACTORS[index + 1],
            xtol=LOG_FACTOR_TOLERANCE,
        )
    )


def _exposure_z(strata: list[tuple[np.ndarray, ...]], clusters: int, log_factor: float) -> float:
    """The standardised log-rank statistic of the exposed, with their remaining times divided by the factor."""
    total, variance, scores = 0.0, 0.0, np.zeros(clusters)
    for time, event, onset, cluster in strata:
        mapped = np.where(np.isfinite(onset), onset + (time - onset) * np.exp(-log_factor), time)
        gap, spread, score = _exposed_stratum(mapped, event, onset)
        total, variance = total + gap, variance + spread
        scores += np.bincount(cluster, weights=score, minlength=clusters)
    spread = max(variance, float((scores**2).sum()))
    return total / np.sqrt(spread) if spread > 0 else 0.0


def _exposed_stratum(
    mapped: np.ndarray, event: np.ndarray, onset: np.ndarray
) -> tuple[float, float, np.ndarray]:
    """Observed less expected ends of the exposed, its variance, and what each spell adds to it (its score)."""
    exposed = np.isfinite(onset)
    at, ended = np.unique(mapped[event], return_counts=True)
    if not len(at):
        return 0.0, 0.0, np.zeros(len(mapped))
    n = len(mapped) - _before(mapped, at)
    n_exposed = _before(onset[exposed], at) - _before(mapped[exposed], at)
    share = n_exposed / n
    spread = np.where(n > 1, ended * (n - ended) / np.maximum(n - 1, 1), 0.0) * share * (1 - share)
    hazard, weighted = np.r_[0.0, np.cumsum(ended / n)], np.r_[0.0, np.cumsum(share * ended / n)]
    last = np.searchsorted(at, mapped, side="right")
    begin = np.where(exposed, np.searchsorted(at, np.nan_to_num(onset), side="right"), last)
    own = share[np.maximum(last - 1, 0)]
    score = (
        event * (exposed - own) - (hazard[last] - hazard[np.minimum(begin, last)]) + weighted[last]
    )
    return float((event & exposed).sum() - (share * ended).sum()), float(spread.sum()), score
