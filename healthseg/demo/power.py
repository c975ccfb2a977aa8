"""How likely a planted thing is to be found, computed from its size and the portfolio's."""

from __future__ import annotations

import numpy as np
from scipy.special import betainc, ndtr, ndtri

DETECTABLE = 0.95
Z_MANY = 4.3  # one of some thousand hypotheses under false-discovery control at .01
Z_FEW = 2.8  # one of about ten
Z_ONE = 1.96
Z_DAY = 4.5  # one day of a customer's three years


def of_z(z: np.ndarray | float, critical: float) -> np.ndarray:
    """The chance that a normal statistic with mean ``z`` passes ``critical``.

    >>> float(of_z(1.96, 1.96))
    0.5
    """
    return ndtr(np.abs(np.asarray(z, float)) - critical)


def z_of(power: float, critical: float) -> float:
    """The mean of a normal statistic that passes ``critical`` with that chance, between 0 and twice ``critical`` + 4.

    >>> z_of(0.5, 1.96)
    1.96
    """
    return float(np.clip(critical + ndtri(power), 0.0, 2 * critical + 4))


def of_ratio(
    share: np.ndarray, base: np.ndarray, n: np.ndarray, least_ratio: float = 1.25
) -> np.ndarray:
    """The chance that a share over ``n`` units stands out of ``base``: by a ratio of 1.25, and beyond Z_FEW errors."""
    n = np.maximum(np.asarray(n, float), 1)
    error = np.sqrt(share * (1 - share) / n) / base
    null_error = np.sqrt(base * (1 - base) / n) / base
    return ndtr(
        (share / base - np.maximum(least_ratio, 1 + Z_FEW * null_error)) / np.maximum(error, 1e-12)
    )


def of_spike(sessions: float, per_session: float, factor: float) -> float:
    """The chance that a day's sessions with ``factor`` times their events stand out of what as many sessions have.

    A session has one event and a geometric number more. It stands out from the least number of events that as many
    plain sessions reach with the chance of a normal statistic beyond Z_DAY; a day to which nobody came has no spike.

    >>> of_spike(0, 5.3, 8), round(of_spike(1, 5.3, 8), 2), round(of_spike(6, 5.3, 8), 2)
    (0.0, 0.23, 0.97)
    """
    if sessions <= 0 or per_session <= 1:
        return 0.0
    more = np.arange(1, 20_000.0)
    reached = betainc(
        more, sessions, (per_session - 1) / per_session
    )  # P(events beyond the first of each ≥ more)
    least = sessions + more[np.argmax(reached <= ndtr(-Z_DAY))]
    needed = int(np.ceil(least / factor - sessions))
    return 1.0 if needed <= 0 else float(reached[needed - 1])


def of_odds_ratio(
    log_ratio: float, exposed_events: float, other_events: float, explained: float = 0.0
) -> float:
    """The chance that an adjusted effect on a rare event is told from none at .05.

    Woolf (1955): the variance of a log odds ratio is 1/events + 1/events of both sides, where events are rare;
    adjusting for what explains a share R² of the exposure divides it by 1 − R² (Hsieh & Lavori 2000).
    """
    if min(exposed_events, other_events) <= 0 or explained >= 1:
        return float(of_z(0.0, Z_ONE))
    error = np.sqrt((1 / exposed_events + 1 / other_events) / (1 - explained))
    return float(of_z(log_ratio / error, Z_ONE))
