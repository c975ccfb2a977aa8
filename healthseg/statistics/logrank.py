"""Do groups end their spells at the same pace? By what factor is one slower? The log-rank test and its inversion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from healthseg.statistics.normal import chi_square_p, standard_errors, two_sided_p

FACTORS = np.linspace(-3.0, 3.0, 25)  # log factors at which the inverted test is looked at first
SETTLED = 1e-5


@dataclass(frozen=True)
class LogRank:
    """The test's statistic with its degrees of freedom and p, and a row a group: n, observed, expected."""

    statistic: float
    freedom: int
    p: float
    groups: pd.DataFrame


def log_rank(
    time: Sequence[float],
    event: Sequence[bool],
    group: Sequence[str],
    entry: Sequence[float] | None = None,
    stratum: Sequence[str] | None = None,
) -> LogRank | None:
    """Do the groups end at the same pace?

    Mantel (1966) and Cox (1972): over the times at which something ended, the observed ends of each group less those
    expected from its share of those at risk, against their hypergeometric covariance; added over strata. ``entry`` is
    when a spell came under observation (0 by default; at risk on (entry, time]). None where fewer than two groups, or
    nothing that tells them apart.

    >>> found = log_rank([1, 2, 3, 4], [True] * 4, ["a", "a", "b", "b"], entry=[0] * 4)
    >>> round(found.statistic, 3), found.freedom, found.groups["expected"].round(3).tolist()
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
    for one in range(strata.max() + 1):
        chosen = strata == one
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
    for one in range(groups):
        own = code == one
        risk[one] = _before(entry[own], at) - _before(time[own], at)
        ends = np.sort(time[own & event])
        ended[one] = np.searchsorted(ends, at, side="right") - np.searchsorted(
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
    return LogRank(statistic, len(gap), chi_square_p(statistic, len(gap)), frame)


@dataclass(frozen=True)
class TimeFactor:
    """By what factor what remains is longer once it happened, with its interval and the p of its being 1.

    A bound is None where even the largest factor that was looked at (e³) is not ruled out.
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
    """By what factor does a thing that happens during a spell lengthen what remains of it?

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
        tuple(column[stratum == one] for column in (time, event, onset, cluster))
        for one in np.unique(stratum)
    ]
    clusters = int(cluster.max()) + 1

    def z(log_factor: float) -> float:
        return _exposure_z(strata, clusters, log_factor)

    values = np.array([z(one) for one in FACTORS])
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


def _crossing(z: object, values: np.ndarray, height: float) -> float | None:
    """The log factor nearest the middle of the scale at which z rises through a height: z rises with the factor."""
    above = values > height
    places = np.flatnonzero(~above[:-1] & above[1:])
    if not len(places):
        return None
    place = places[np.argmin(np.abs(FACTORS[places]))]
    return float(
        scipy.optimize.bisect(
            lambda one: z(one) - height, FACTORS[place], FACTORS[place + 1], xtol=SETTLED
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
