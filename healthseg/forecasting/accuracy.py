"""The two errors that forecasts are compared by, which any scale of the data can be averaged over."""

from __future__ import annotations

import numpy as np


def smape(actual: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """Symmetric absolute percentage errors, 0 to 200, as in the M3 competition; 0 where both are 0.

    >>> smape(np.array([100.0, 0.0]), np.array([50.0, 0.0])).round(2).tolist()
    [66.67, 0.0]
    """
    size = np.abs(actual) + np.abs(forecast)
    return 200 * np.abs(actual - forecast) / np.where(size > 0, size, 1.0)


def scale(history: np.ndarray, season_length: int = 1) -> float:
    """MASE's denominator: mean absolute error of the seasonal naive forecast within the history.

    Of the naive forecast where the history is shorter than two seasons; NaN where
    that is never wrong (Hyndman and Koehler, International Journal of Forecasting 22, 2006).

    >>> scale(np.array([1.0, 3.0, 2.0]))
    1.5
    """
    lag = season_length if len(history) >= 2 * season_length else 1
    changes = np.abs(history[lag:] - history[:-lag])
    return float(changes.mean()) if changes.any() else float("nan")
