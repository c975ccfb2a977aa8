"""Is there a season, and how large: a rank test, then shrunken median indices.

The test asks whether the changes from one step to the next differ by season
(one-way analysis of variance on ranks; Conover and Iman, The American
Statistician 35, 1981). Changes are used because a trend or a random walk makes
neighbouring values alike without any season. The indices are the classical ones
(ratio or difference to a centred moving average, median by season), shrunken
towards "no season" by 1 - 1/F as in empirical Bayes (Miller and Williams,
International Journal of Forecasting 19, 2003).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

MIN_SEASONS = 3  # with two, one odd year looks like a season
SIGNIFICANCE = 0.01  # a false season costs more than a faint one that is missed
SMALLEST_INDEX = 0.05  # below it dividing would blow noise up: differences are used instead


@dataclass(frozen=True)
class Season:
    """Indices by position in the season; position 0 is the series' first value."""

    indices: np.ndarray
    multiplicative: bool
    parameters: float  # how many the shrunken indices amount to

    def remove(self, values: np.ndarray) -> np.ndarray:
        indices = self.indices[np.arange(len(values)) % len(self.indices)]
        return values / indices if self.multiplicative else values - indices

    def restore(self, values: np.ndarray, start: int) -> np.ndarray:
        """Put the season back on values whose first lies ``start`` steps into the series."""
        indices = self.indices[(start + np.arange(len(values))) % len(self.indices)]
        return values * indices if self.multiplicative else values + indices

    def widen(self, half_widths: np.ndarray, start: int) -> np.ndarray:
        """Half widths on the scale of the data: a multiplicative season scales them, an additive one does not."""
        return self.restore(half_widths, start) if self.multiplicative else half_widths


def find_season(values: np.ndarray, season_length: int) -> Season | None:
    """The season of ``season_length`` that the values show, or None.

    >>> import numpy as np
    >>> find_season(np.tile([10.0, 20.0, 30.0, 20.0], 6), 4).indices.round(2).tolist()
    [0.5, 1.0, 1.5, 1.0]
    >>> find_season(np.arange(24.0), 4) is None
    True
    """
    if season_length < 2 or len(values) < MIN_SEASONS * season_length:
        return None
    positive = values.min() > 0
    scaled = np.log(values) if positive else values
    if not _differs_by_season(np.diff(scaled), season_length):
        return None
    smooth = _centred_average(scaled, season_length)
    inside = np.isfinite(smooth)
    ratio, _ = _variance_ratio((scaled - smooth)[inside], season_length)
    keep = max(0.0, 1 - 1 / ratio)
    return _shrunken(values, season_length, positive, keep)


def _shrunken(values: np.ndarray, season_length: int, positive: bool, keep: float) -> Season:
    average, parameters = _centred_average(values, season_length), keep * (season_length - 1)
    if positive:
        medians = _median_by_season(values / average, season_length)
        indices = 1 + keep * (medians / medians.mean() - 1)
        if indices.min() >= SMALLEST_INDEX:
            return Season(indices, True, parameters)
    medians = _median_by_season(values - average, season_length)
    return Season(keep * (medians - medians.mean()), False, parameters)


def _differs_by_season(changes: np.ndarray, season_length: int) -> bool:
    # A trend without noise has changes that differ in the last digit alone: that is no season.
    if np.ptp(changes) <= 1e-9 * np.abs(changes).max():
        return False
    digits = np.round(changes / np.abs(changes).max(), 9)
    ratio, degrees = _variance_ratio(scipy.stats.rankdata(digits), season_length)
    return bool(scipy.special.fdtrc(season_length - 1, degrees, ratio) < SIGNIFICANCE)


def _variance_ratio(values: np.ndarray, season_length: int) -> tuple[float, int]:
    """F of a one-way analysis of variance by season, and its denominator's degrees of freedom."""
    group = np.arange(len(values)) % season_length
    centred = values - values.mean()
    sizes = np.bincount(group, minlength=season_length)
    between = (np.bincount(group, centred, season_length) ** 2 / sizes).sum()
    degrees = len(values) - season_length
    within = max((centred**2).sum() - between, 1e-12 * between, 1e-300)
    return float(between / (season_length - 1) / (within / degrees)), degrees


def _centred_average(values: np.ndarray, season_length: int) -> np.ndarray:
    """Moving average over one season, centred; NaN at the ends."""
    odd = season_length % 2
    window = np.ones(season_length) if odd else np.r_[0.5, np.ones(season_length - 1), 0.5]
    average, half = np.full(len(values), np.nan), len(window) // 2
    average[half : len(values) - half] = np.convolve(values, window / season_length, "valid")
    return average


def _median_by_season(values: np.ndarray, season_length: int) -> np.ndarray:
    padded = np.full(-(-len(values) // season_length) * season_length, np.nan)
    padded[: len(values)] = values
    return np.nanmedian(padded.reshape(-1, season_length), axis=0)
