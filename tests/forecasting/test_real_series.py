"""Forecasts of monthly and hourly series where the data are at hand, and of simulated business series."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import forecast_series
from healthseg.forecasting.backtesting import scale


@pytest.mark.parametrize("name", ["monthly", "hourly"])
def test_real_seasonal_series_are_forecast_better_than_by_seasonal_naive(name):
    path = forecast_series.folder(name)
    if path is None:
        pytest.skip(f"no {name} series: HEALTHSEG_SHARED_DATA names no folder with {name}/")
    season, rows = forecast_series.SEASONS[name], []
    for train, test in forecast_series.series(path, every=8):
        point, low, high = forecast_series.forecast_of(train, len(test), season)
        naive = np.resize(train[-season:], len(test))
        errors = [np.abs(test - each).mean() / scale(train, season) for each in (point, naive)]
        rows.append([*errors, ((low <= test) & (test <= high)).mean()])
    mase, naive, covered = np.mean(rows, axis=0)
    assert mase < 0.95 * naive
    assert 0.83 <= covered <= 0.96


@pytest.mark.parametrize("kind", forecast_series.KINDS[:3])
def test_simulated_business_series_are_forecast_better_than_by_seasonal_naive(kind):
    error, naive, covered = forecast_series.simulation(kind, count=15)
    assert error <= naive
    assert 0.8 <= covered <= 0.98
