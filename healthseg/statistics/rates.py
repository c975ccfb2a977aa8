"""Rates of counted things, with the interval that their denominator allows."""

from __future__ import annotations

import numpy as np
import scipy

from healthseg.statistics.normal import standard_errors

Counts = np.ndarray | float


def wilson(successes: Counts, trials: Counts, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Between which shares does the true share lie, of ``successes`` in ``trials``?

    Wilson's score interval (1927), without continuity correction; ``successes`` may be halves, as mid-ranks
    are. NaN where there are no trials.

    >>> [round(float(edge), 4) for edge in wilson(15, 148)]
    [0.0624, 0.1605]
    """
    successes, trials = np.asarray(successes, dtype=float), np.asarray(trials, dtype=float)
    z = standard_errors(level)
    n = np.where(trials > 0, trials, np.nan)
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low = np.where(
        successes == 0, 0.0 * n, centre - reach
    )  # exactly 0 and 1 at the ends, whatever the rounding
    high = np.where(successes == trials, 1.0 + 0.0 * n, centre + reach)
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def jeffreys(
    successes: Counts, trials: Counts, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """The equal-tailed posterior interval of a share under the Beta(½, ½) prior; 0 and 1 at the ends.

    Brown, Cai & DasGupta (2001), Statistical Science 16(2), §3.1.3.
    """
    return beta_interval(
        np.asarray(successes) + 0.5,
        np.asarray(trials) - np.asarray(successes) + 0.5,
        level,
        at_zero=np.asarray(successes) == 0,
        at_one=np.asarray(successes) == np.asarray(trials),
    )


def beta_interval(
    alpha: np.ndarray,
    beta: np.ndarray,
    level: float,
    at_zero: np.ndarray | bool = False,
    at_one: np.ndarray | bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The equal-tailed interval of a Beta distribution, its ends opened to 0 and 1 where told."""
    tail = (1 - level) / 2
    low, high = (
        scipy.special.betaincinv(alpha, beta, tail),
        scipy.special.betaincinv(alpha, beta, 1 - tail),
    )
    return np.where(at_zero, 0.0, low), np.where(at_one, 1.0, high)


def shrunken_share(
    successes: np.ndarray,
    trials: np.ndarray,
    prior_share: float,
    prior_trials: float,
    level: float = 0.90,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A share pulled towards ``prior_share`` as if that had been seen in ``prior_trials`` more trials.

    Returns the posterior mean and its interval: Beta(prior + successes, prior + failures).

    >>> [round(float(x), 3) for x in shrunken_share(np.array(0), np.array(10), 0.2, 10)]
    [0.1, 0.019, 0.226]
    """
    alpha = np.asarray(successes) + prior_share * prior_trials
    beta = np.asarray(trials) - np.asarray(successes) + (1 - prior_share) * prior_trials
    low, high = beta_interval(alpha, beta, level)
    return alpha / (alpha + beta), low, high
