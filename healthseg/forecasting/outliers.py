"""Single values that nothing before or after explains, so that none of them carries a forecast away."""

from __future__ import annotations

import numpy as np

from healthseg.settings.forecasting import ForecastSettings
from healthseg.statistics.robust import MAD_TO_SD

WINDOW = 7  # values before each that foretell it
LEAST = 4 * WINDOW  # values below which neither lines nor their misses are known
FIRST, SECOND = np.triu_indices(WINDOW, 1)


def without_outliers(values: np.ndarray, settings: ForecastSettings) -> np.ndarray:
    """``values`` (without season) with short excursions replaced by what the values before foretell.

    Each value is compared with a robust line (Theil and Sen) through the seven before it, on the scale
    of roots where all are at least 0. Farther off than ``forecast_outlier_spreads`` times the usual
    miss, for at most ``forecast_outlier_max_steps`` and back on the line after it, it is an outlier:
    a longer excursion is a new level. Where more than ``forecast_outlier_max_share`` are, they belong
    to the series and remain.

    >>> without_outliers(np.r_[np.full(30, 4.0), 90.0], ForecastSettings())[-2:].tolist()
    [4.0, 4.0]
    """
    if len(values) < LEAST:
        return values
    rooted = values.min() >= 0
    scaled = np.sqrt(values) if rooted else values
    start, slope = _lines(scaled)
    miss = np.abs(scaled[WINDOW:] - start - slope * WINDOW)
    rare = max(1, int(settings.forecast_outlier_max_share * len(values)))
    usual = np.sort(miss)[:-rare]
    spread = max(MAD_TO_SD * float(np.median(miss)), float(np.sqrt((usual**2).mean())))
    reach = settings.forecast_outlier_spreads * spread + 1e-9 * np.abs(scaled).max()
    far = np.flatnonzero(miss > reach)
    cleaned, total = scaled.copy(), 0
    for run in np.split(far, np.flatnonzero(np.diff(far) > 1) + 1):
        first, after = int(run[0]) if len(run) else 0, int(run[-1]) + 1 if len(run) else 0
        if not 0 < after - first <= settings.forecast_outlier_max_steps:
            continue
        line = start[first] + slope[first] * (WINDOW + np.arange(after - first + 1))
        if after < len(miss) and abs(scaled[WINDOW + after] - line[-1]) > reach:
            continue
        cleaned[WINDOW + first : WINDOW + after] = line[:-1]
        total += after - first
    if not 0 < total <= rare:
        return values
    return np.where(cleaned == scaled, values, np.maximum(cleaned, 0) ** 2 if rooted else cleaned)


def _lines(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start and slope of a robust line through every ``WINDOW`` values that have one after them."""
    windows = np.lib.stride_tricks.sliding_window_view(values[:-1], WINDOW)
    slope = np.median((windows[:, SECOND] - windows[:, FIRST]) / (SECOND - FIRST), axis=1)
    return np.median(windows - slope[:, None] * np.arange(WINDOW), axis=1), slope
