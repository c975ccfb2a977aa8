"""How far off are forecasts? Half widths measured on the series' own rolling origins.

A model's textbook interval takes its parameters for known and covers about 80 % where it says 90.
Here past errors are measured by step, their spread fitted to a power of the step (shrunk towards a
random walk's 1/2), with Student's t for the fitted parameters, the factor 1 + h/n of an estimated
drift (h²σ²/n on top of hσ²), and, for positive values without an upper bound, variance in
proportion to the level (as of counts).
"""

from __future__ import annotations

import numpy as np
import scipy

RANDOM_WALK_GROWTH = 0.5
GROWTH_PRIOR = 3.0  # weight of the random walk, in independent stretches of log steps
MOST_RESCALING = 2.0  # a fall towards zero must not shrink the past errors to nothing


def half_widths(
    adjusted: np.ndarray,
    paths: np.ndarray,
    level: float,
    parameters: float,
    *,
    relative: bool,
    starting: int = 0,
) -> np.ndarray:
    """Half widths of the intervals for the steps after the last value.

    ``adjusted`` are n values without season, ``paths`` (n × steps) the forecasts
    from each origin, ``parameters`` how many were fitted, ``relative`` whether
    variance goes with the level, ``starting`` how many of the first origins to
    leave out. NaN where no earlier origin has a known outcome.
    """
    count, horizon = paths.shape
    growth = measured_growth(past_errors(adjusted, paths, relative)[starting:])
    degrees = max(count - parameters, 2.0)
    quantile = float(scipy.special.stdtrit(degrees, (1 + level) / 2))
    ahead = np.arange(1, horizon + 1)
    return quantile * np.sqrt(count / degrees) * np.sqrt(1 + ahead / count) * growth


def past_errors(adjusted: np.ndarray, paths: np.ndarray, relative: bool) -> np.ndarray:
    """Errors (origins × steps) of the forecasts whose outcome is known; NaN elsewhere."""
    count, horizon = paths.shape
    targets = np.arange(1, count + 1)[:, None] + np.arange(horizon)
    errors = np.where(targets < count, adjusted[np.minimum(targets, count - 1)] - paths, np.nan)
    if not (relative and adjusted.min() > 0 and paths[-1, 0] > 0):
        return errors
    levels = np.clip(paths[:, 0] / paths[-1, 0], MOST_RESCALING**-2, MOST_RESCALING**2)
    return errors / np.sqrt(levels)[:, None]


def measured_growth(errors: np.ndarray) -> np.ndarray:
    """Root mean square error by step, smoothed to a power of the step.

    >>> import numpy as np
    >>> measured_growth(np.array([[1.0, 2.0], [1.0, np.nan]])).round(2).tolist()
    [1.07, 1.54]
    """
    known = np.isfinite(errors)
    counts = known.sum(axis=0)
    spread = np.sqrt((np.where(known, errors, 0.0) ** 2).sum(axis=0) / np.maximum(counts, 1))
    if not counts.any():
        return np.full(errors.shape[1], np.nan)
    ahead = np.arange(1, errors.shape[1] + 1)
    used = spread > 0
    if not used.any():
        return np.zeros(errors.shape[1])
    weights = counts[used] / ahead[used]  # overlapping stretches are not independent
    steps, sizes = np.log(ahead[used]), np.log(spread[used])
    mean_step, mean_size = (weights @ steps) / weights.sum(), (weights @ sizes) / weights.sum()
    shape = weights * (steps - mean_step)
    power = (shape @ (sizes - mean_size) + GROWTH_PRIOR * RANDOM_WALK_GROWTH) / (
        shape @ (steps - mean_step) + GROWTH_PRIOR
    )
    return np.exp(mean_size + np.clip(power, 0, 1) * (np.log(ahead) - mean_step))
