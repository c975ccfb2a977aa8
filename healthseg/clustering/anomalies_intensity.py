"""Did those who came do more, or less, than they usually do?

The events of a day's sessions are counts with a variance of their own: a session is a burst. Given that S sessions
were begun, the events beyond the first of each are taken as negative binomial with mean S·m and dispersion S·r, where
m is the series' own mean within four weeks before and after the day (the day itself left out, and shrunk to the mean
of the whole series by 20 sessions), and r is the series' own, by moments. Both are estimated without the days that
stand out (at first: without the highest fortieth), again and again, so that one of them does not hide the next.
"""

from __future__ import annotations

import numpy as np
import scipy

DAYS_AROUND = 28
PRIOR_SESSIONS = 20.0
LEAST_SESSIONS = 20
OUTLYING_P = 1e-4
FIRST_KEPT = 0.975
ROUNDS = 6
NEAR_SPREADS = 2.0  # within two standard errors nothing is asked: p is far above any that matters


def intensity(events: np.ndarray, sessions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each day of one series: events expected of its sessions, and the signed score of what came.

    The score is the normal quantile of the upper (lower: of the lower) tail's probability, 0 on days without a session
    and on those within two standard errors. Both are 0 where the series has fewer than 20 sessions.

    >>> random = np.random.default_rng(1)
    >>> sessions = random.integers(1, 4, 200)
    >>> events = np.array([random.geometric(0.2, n).sum() for n in sessions], dtype=float)
    >>> events[[50, 120]] *= 12
    >>> np.flatnonzero(intensity(events, sessions)[1] > 4.3).tolist()
    [50, 120]
    """
    events, sessions = np.asarray(events, dtype=float), np.asarray(sessions, dtype=float)
    there = (sessions > 0) & (events >= sessions)
    kept, score, mean = (
        _not_highest(events, sessions, there),
        np.zeros(len(events)),
        np.zeros(len(events)),
    )
    for _ in range(ROUNDS):
        if sessions[kept].sum() < LEAST_SESSIONS:
            return np.zeros(len(events)), np.zeros(len(events))
        mean = _local_mean(events * kept, sessions * kept)
        score = np.where(there, _score(events - sessions, sessions, mean, kept), 0.0)
        usual = there & (np.abs(score) < -scipy.special.ndtri(OUTLYING_P))
        if (usual == kept).all():
            break
        kept = usual
    return sessions * mean, score


def _not_highest(events: np.ndarray, sessions: np.ndarray, there: np.ndarray) -> np.ndarray:
    each = np.divide(events, sessions, out=np.zeros(len(events)), where=there)
    return there & (each <= np.quantile(each[there], FIRST_KEPT)) if there.any() else there


def _local_mean(events: np.ndarray, sessions: np.ndarray) -> np.ndarray:
    """Events a session in the four weeks around each day, without it."""
    overall = events.sum() / sessions.sum()
    near = [_around(column) for column in (events, sessions)]
    return (near[0] + PRIOR_SESSIONS * overall) / (near[1] + PRIOR_SESSIONS)


def _around(values: np.ndarray) -> np.ndarray:
    sums, place = np.r_[0.0, np.cumsum(values)], np.arange(len(values))
    first, after = (
        np.maximum(place - DAYS_AROUND, 0),
        np.minimum(place + DAYS_AROUND + 1, len(values)),
    )
    return sums[after] - sums[first] - values


def _score(
    more: np.ndarray, sessions: np.ndarray, mean: np.ndarray, kept: np.ndarray
) -> np.ndarray:
    each = np.maximum(mean - 1, 1e-3)
    size = _dispersion(more[kept], sessions[kept], each[kept])
    expected = sessions * each
    spread = np.sqrt(np.maximum(expected + expected * each / size, 1e-12))
    far = np.flatnonzero((np.abs(more - expected) > NEAR_SPREADS * spread) & (sessions > 0))
    score = np.zeros(len(more))
    score[far] = _tails(more[far], expected[far], sessions[far] * size, size / (size + each[far]))
    return score


def _tails(
    value: np.ndarray, expected: np.ndarray, size: np.ndarray, chance: np.ndarray
) -> np.ndarray:
    """Normal quantiles of negative binomial tails; P(Y ≤ k) is the incomplete beta ratio I_chance(size, k + 1)."""
    upper = scipy.special.betaincc(size, np.maximum(value, 1e-9), chance)
    lower = scipy.special.betainc(size, value + 1, chance)
    return np.where(
        value > expected,
        -scipy.special.ndtri(np.maximum(upper, 1e-300)),
        scipy.special.ndtri(np.maximum(lower, 1e-300)),
    )


def _dispersion(more: np.ndarray, sessions: np.ndarray, each: np.ndarray) -> float:
    """r of one session: its variance is m + m²/r."""
    variance = float(((more - sessions * each) ** 2 / sessions).mean())
    mean = float(each.mean())
    return min(max(mean**2 / max(variance - mean, 1e-6), 0.05), 1e6)
