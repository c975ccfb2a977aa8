"""How far off are forecasts? Half widths measured on the series' own rolling origins.

A model's textbook interval takes its parameters for known and covers about 80% where it says 90.
Here past errors are measured by step, their spread fitted to a power of the step (shrunk towards a
random walk's 1/2), with Student's t for the fitted parameters, the factor 1 + h/n of an estimated
drift (h²σ²/n on top of hσ²), and, for values of at least 0 without an upper bound, variance in
proportion to the level (as of counts).
"""

from __future__ import annotations

import numpy as np
import scipy

RANDOM_WALK_GROWTH = 0.5
GROWTH_PRIOR = 3.0  # weight of the random walk, in independent stretches of log steps
POSITION_PRIOR = 6.0  # cycles whose errors are alike at all positions of a season
RECENT_HORIZONS, RECENT_SEASONS = 8, 4  # origins whose errors count where they are larger than all
MOST_RESCALING = 4.0  # a fall towards zero must not shrink the past errors to nothing


def half_widths(
    values: np.ndarray,
    paths: np.ndarray,
    level: float,
    parameters: float,
    *,
    relative: bool,
    starting: int = 0,
    closed: np.ndarray | None = None,
    season_length: int = 1,
) -> np.ndarray:
    """Half widths of the intervals for the steps after the last value.

    ``paths`` (origins × steps) are the forecasts from each origin of ``values``, ``parameters`` how
    many were fitted, ``relative`` whether variance goes with the level, ``starting`` how many of the
    first origins to leave out, ``closed`` (origins × steps) which steps fall on days without any
    activity. NaN where no earlier origin has a known outcome. Where no forecast was ever off,
    the widths are those of a constant.
    """
    count, horizon = paths.shape
    errors = past_errors(values, paths)
    scales = level_scales(paths) if relative and values.min() >= 0 else np.ones(paths.shape)
    is_open = np.ones(paths.shape, dtype=bool) if closed is None else ~closed
    errors = np.where(is_open, errors / scales, np.nan)[starting:]
    recent = max(RECENT_HORIZONS * horizon, RECENT_SEASONS * season_length + horizon)
    growth = np.fmax(measured_growth(errors), measured_growth(errors[-recent:]))
    growth = growth * scales[-1] * _position_spreads(errors, growth, season_length)
    degrees = max(count - parameters, 2.0)
    ahead = np.arange(1, horizon + 1)
    half = (
        _quantile(level, degrees) * np.sqrt(count / degrees) * np.sqrt(1 + ahead / count) * growth
    )
    if not growth.any():
        half = constant_half_widths(values, horizon, level)
    if closed is None or not closed[-1].any():
        return half
    return np.where(is_open[-1], half, _closed_half_width(values, paths, closed, level))


def _position_spreads(errors: np.ndarray, growth: np.ndarray, season_length: int) -> np.ndarray:
    """How wide errors are at the season's position of each step ahead, relative to all; near 1 after few cycles."""
    count, horizon = errors.shape
    if season_length < 2 or not growth.all():
        return np.ones(horizon)
    position = (np.arange(count)[:, None] + np.arange(horizon) - (count - 1)) % season_length
    squares, known = (errors / growth) ** 2, np.isfinite(errors)
    sums = np.bincount(position[known], squares[known], season_length)
    counts = np.bincount(position[known], minlength=season_length)
    overall, cycles = sums.sum() / max(counts.sum(), 1), count / season_length
    ratio = sums / np.maximum(counts, 1) / max(overall, 1e-300)
    ratio = np.where(counts > 0, ratio, 1.0)
    spread = np.sqrt((cycles * ratio + POSITION_PRIOR) / (cycles + POSITION_PRIOR))
    return spread[np.arange(horizon) % season_length]


def _quantile(level: float, degrees: float) -> float:
    return float(scipy.special.stdtrit(degrees, (1 + level) / 2))


def _closed_half_width(
    values: np.ndarray, paths: np.ndarray, closed: np.ndarray, level: float
) -> float:
    """Of closed days, seldom with any activity: a quantile of what there was, and one day as any other."""
    sizes = np.abs(values[1:] - paths[:-1, 0])[closed[:-1, 0]]
    return float(np.quantile(np.r_[sizes, np.abs(values).mean()], level, method="higher"))


def constant_half_widths(values: np.ndarray, horizon: int, level: float) -> np.ndarray:
    """Of n equal values: they may be off as a count of their size (at least 1) is, the less the more of them.

    >>> constant_half_widths(np.full(2, 50.0), 1, 0.9).round(1).tolist()
    [38.7]
    >>> constant_half_widths(np.full(100, 50.0), 1, 0.9).round(1).tolist()
    [1.2]
    """
    count, ahead = len(values), np.arange(1, horizon + 1)
    spread = np.sqrt(max(float(np.abs(values).mean()), 1.0) / count * (1 + ahead / count))
    return _quantile(level, max(count - 1.0, 1.0)) * spread


def past_errors(values: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """Errors (origins × steps) of the forecasts whose outcome is known; NaN elsewhere."""
    count, horizon = paths.shape
    targets = np.arange(1, count + 1)[:, None] + np.arange(horizon)
    return np.where(targets < count, values[np.minimum(targets, count - 1)] - paths, np.nan)


def level_scales(paths: np.ndarray) -> np.ndarray:
    """By origin and step: the standard deviation that the forecast level brings, as of counts; 1 at today's."""
    ahead = paths[-1][paths[-1] > 0]
    if not len(ahead):
        return np.ones(paths.shape)
    return np.clip(np.sqrt(np.maximum(paths, 0) / ahead.mean()), 1 / MOST_RESCALING, MOST_RESCALING)


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
