"""Seasons that may change: whether there are any, and their indices from the last few cycles.

Whether there is a season: do the changes from step to step differ by season (analysis of variance
on ranks; Conover and Iman, The American Statistician 35, 1981)? A trend or a random walk has like
neighbours, not like changes. The indices are medians, by position in the season, of the ratios to
(differences from) a centred moving average over the last few cycles, shrunken by 1 - 1/F (Miller
and Williams, International Journal of Forecasting 19, 2003). A position that is (nearly) closed,
as weekends are, has a ratio near 0: it says nothing of the level, which goes on through it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from healthseg.settings.statistics import ForecastSettings


@dataclass(frozen=True)
class Season:
    """A season of ``length`` steps, added or multiplied; ``keep`` is the share of the raw indices that is trusted."""

    length: int
    multiplicative: bool
    cycles: int
    keep: float
    min_index: float

    def indices(self, values: np.ndarray) -> SeasonalIndices:
        return SeasonalIndices(self, _trailing(self, values), _smooth_margin(self.length))


@dataclass(frozen=True)
class SeasonalIndices:
    """The indices of one series: ``trailing[t]`` is that of t's position from the last cycles up to t."""

    season: Season
    trailing: np.ndarray
    margin: int  # steps at each end that a centred average doesn't reach

    @property
    def local(self) -> np.ndarray:
        """By step: the index from the cycles around it."""
        count, length = len(self.trailing), self.season.length
        step, last = np.arange(count), count - 1 - self.margin
        cycles = min(self.season.cycles, max((last - self.margin) // length, 1))
        full = self.margin + (cycles - 1) * length  # the first whole window
        around = step + self.season.cycles // 2 * length
        around = np.maximum(around, full + (step - full) % length)
        return self.trailing[np.minimum(around, last - (last - step) % length)]

    def ahead(self, horizon: int) -> np.ndarray:
        """Indices (origins × steps) as they were known at each origin."""
        origin = np.arange(len(self.trailing))[:, None]
        target = origin + 1 + np.arange(horizon)
        last = origin - self.margin
        known = last - (last - target) % self.season.length
        first = self.margin + (target - self.margin) % self.season.length
        known = np.where(known < self.margin, first, known)
        return self.trailing[np.minimum(known, len(self.trailing) - 1)]

    def remove(self, values: np.ndarray) -> np.ndarray:
        local = self.local
        if not self.season.multiplicative:
            return values - local
        is_open = local >= self.season.min_index
        adjusted = np.where(is_open, values / np.where(is_open, local, 1.0), np.nan)
        if is_open.all():
            return adjusted
        around = pd.Series(adjusted).rolling(2 * self.season.length + 1, center=True, min_periods=1)
        return np.where(is_open, adjusted, around.mean().ffill().bfill().to_numpy())

    def restore(self, paths: np.ndarray) -> np.ndarray:
        """Put the season back on paths (origins × steps)."""
        ahead = self.ahead(paths.shape[1])
        return paths * ahead if self.season.multiplicative else paths + ahead


def find_seasons(
    values: np.ndarray, season_length: int, settings: ForecastSettings
) -> list[Season]:
    """The seasons of ``season_length`` that the values allow, additive and multiplicative; none where a test finds none.

    >>> day = np.tile([10.0, 20.0, 30.0, 20.0], 6)
    >>> [season.multiplicative for season in find_seasons(day, 4, ForecastSettings())]
    [False, True]
    >>> find_seasons(day, 4, ForecastSettings())[1].indices(day).local[:4].round(2).tolist()
    [0.5, 1.0, 1.5, 1.0]
    >>> find_seasons(np.arange(24.0), 4, ForecastSettings())
    []
    """
    if season_length < 2 or len(values) < settings.forecast_season_min_cycles * season_length:
        return []
    positive = values.min() > 0
    scaled = np.log(values) if positive else values
    if not _differs_by_season(np.diff(scaled), season_length, settings.forecast_season_max_p):
        return []
    smooth = centred_average(scaled, season_length)
    inside = np.isfinite(smooth)
    ratio, _ = _variance_ratio((scaled - smooth)[inside], season_length)
    cycles, keep = settings.forecast_season_cycles, max(0.0, 1 - 1 / ratio)
    kinds = [False, True] if values.min() >= 0 else [False]
    least = settings.forecast_season_min_index
    return [Season(season_length, kind, cycles, keep, least) for kind in kinds]


def closed_ahead(values: np.ndarray, season: Season, horizon: int) -> np.ndarray | None:
    """Which steps (origins × steps) fall on positions without activity in the last cycles before the origin.

    Once in six cycles there may be some. None where no position is closed, or values may be negative.
    """
    length, origin = season.length, np.arange(len(values))[:, None]
    if values.min() < 0 or values.max() <= 0 or not (values == 0).any():
        return None
    rows = -(-len(values) // length)
    active = np.full(rows * length, np.nan)
    active[: len(values)] = values > 0
    frame = pd.DataFrame(active.reshape(rows, length)).rolling(season.cycles, min_periods=3)
    many = frame.count().to_numpy().ravel()
    share = frame.sum().to_numpy().ravel() <= np.where(many >= season.cycles, 1, 0)
    is_closed = np.r_[share[: len(values)], False]
    target = origin + 1 + np.arange(horizon)
    known = origin - (origin - target) % length
    closed = is_closed[np.where(known >= 0, known, len(values))]
    return closed if closed.any() and not closed[-1].all() else None


def _trailing(season: Season, values: np.ndarray) -> np.ndarray:
    """Medians over the last cycles, brought to a mean of 1 (0) over the cycle before each step."""
    length, smooth = season.length, centred_average(values, season.length)
    with np.errstate(all="ignore"):
        ratio = values / smooth if season.multiplicative else values - smooth
    rows = -(-len(values) // length)
    table = np.full(rows * length, np.nan)
    table[: len(values)] = np.where(np.isfinite(ratio), ratio, np.nan)
    frame = pd.DataFrame(table.reshape(rows, length)).rolling(season.cycles, min_periods=1).median()
    trailing = frame.to_numpy().ravel()[: len(values)]
    mean = pd.Series(trailing).rolling(length, min_periods=length).mean().bfill().ffill().to_numpy()
    if not season.multiplicative:
        return np.nan_to_num(season.keep * (trailing - mean))
    with np.errstate(all="ignore"):
        share = np.nan_to_num(trailing / mean, nan=1.0, posinf=1.0)
    return np.where(share == 0, 0.0, 1 + season.keep * (share - 1))


def _smooth_margin(season_length: int) -> int:
    return season_length // 2


def centred_average(values: np.ndarray, season_length: int) -> np.ndarray:
    """Moving average over one season, centred; NaN at the ends."""
    odd = season_length % 2
    window = np.ones(season_length) if odd else np.r_[0.5, np.ones(season_length - 1), 0.5]
    average, half = np.full(len(values), np.nan), len(window) // 2
    average[half : len(values) - half] = np.convolve(values, window / season_length, "valid")
    return average


def _differs_by_season(changes: np.ndarray, season_length: int, significance: float) -> bool:
    # A trend without noise has changes that differ in the last digit alone: that is no season.
    if np.ptp(changes) <= 1e-9 * np.abs(changes).max():
        return False
    digits = np.round(changes / np.abs(changes).max(), 9)
    ratio, degrees = _variance_ratio(scipy.stats.rankdata(digits), season_length)
    return bool(scipy.special.fdtrc(season_length - 1, degrees, ratio) < significance)


def _variance_ratio(values: np.ndarray, season_length: int) -> tuple[float, int]:
    """F of a one-way analysis of variance by season, and its denominator's degrees of freedom."""
    group = np.arange(len(values)) % season_length
    centred = values - values.mean()
    sizes = np.bincount(group, minlength=season_length)
    between = (np.bincount(group, centred, season_length) ** 2 / sizes).sum()
    degrees = len(values) - season_length
    within = max((centred**2).sum() - between, 1e-12 * between, 1e-300)
    return float(between / (season_length - 1) / (within / degrees)), degrees
