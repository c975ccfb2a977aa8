"""A season where there is one, and none where there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from healthseg.forecasting import forecast
from healthseg.forecasting.models import find_season
from healthseg.settings.forecasting import ForecastSettings

PATTERN = np.array([30.0, 5.0, 0.0, -5.0, 0.0, -10.0, -20.0])


def seasonal(weeks: int, seed: int, noise: float, slope: float = 0.0) -> np.ndarray:
    count = 7 * weeks
    drawn = np.random.default_rng(seed).normal(0, noise, count)
    return 100 + slope * np.arange(count) + np.tile(PATTERN, weeks) + drawn


@pytest.mark.parametrize("slope", [0.0, 0.5, -0.3])
def test_a_planted_week_is_recovered(long, slope):
    values = seasonal(13, seed=4, noise=3, slope=slope)
    got = forecast(long({"a": values[:-7]}, days=1), 7)
    assert got["method"].iloc[0].endswith("season of 7")
    assert (
        np.abs(got["forecast"].to_numpy() - (100 + slope * np.arange(84, 91) + PATTERN)).max() < 8
    )


def test_a_season_around_zero_is_added_not_multiplied():
    found = find_season(seasonal(10, seed=1, noise=2) - 100, 7, ForecastSettings())
    assert not found.multiplicative
    assert found.indices == pytest.approx(PATTERN, abs=4)


def test_a_season_that_almost_closes_is_added_since_dividing_would_blow_up():
    values = np.tile([10.0, 10, 10, 10, 10, 0.01, 0.01], 6)
    assert not find_season(values, 7, ForecastSettings()).multiplicative


@pytest.mark.parametrize(("season_length", "count"), [(4, 24), (7, 84), (12, 60), (52, 160)])
@pytest.mark.parametrize("kind", ["noise", "walk"])
def test_no_season_is_claimed_on_noise_or_a_random_walk(season_length, count, kind):
    rng = np.random.default_rng(7)
    drawn = rng.normal(size=(200, count))
    series = np.cumsum(drawn, axis=1) if kind == "walk" else drawn
    claimed = sum(
        find_season(values, season_length, ForecastSettings()) is not None for values in series
    )
    assert claimed <= 10


@pytest.mark.parametrize(
    "values", [np.arange(36.0) * 0.1 + 7, 1.1 ** np.arange(36.0), np.full(36, 5.0)]
)
def test_no_season_is_claimed_on_a_smooth_trend(values):
    assert find_season(values, 12, ForecastSettings()) is None


def test_two_seasons_are_not_enough():
    assert find_season(np.tile(PATTERN + 100, 2), 7, ForecastSettings()) is None
    assert find_season(np.tile(PATTERN + 100, 3), 7, ForecastSettings()) is not None


def test_the_season_is_read_off_the_dates_or_given(long):
    values = seasonal(12, seed=2, noise=2)
    daily = long({"a": values}, days=1)
    by_index = daily.assign(date=range(len(daily)))
    assert "season" in forecast(daily, 1)["method"].item()
    assert "season" not in forecast(by_index, 1)["method"].item()
    assert (
        forecast(by_index, 7, season_length=7)["forecast"].tolist()
        == forecast(daily, 7)["forecast"].tolist()
    )
    assert "season" not in forecast(daily, 1, season_length=1)["method"].item()


@pytest.mark.parametrize(
    ("freq", "length"), [("h", 24), ("D", 7), ("7D", 52), ("MS", 12), ("QS", 4), ("30min", 48)]
)
def test_each_spacing_has_its_season(freq, length):
    values = (
        100
        + 20 * np.sin(2 * np.pi * np.arange(4 * length) / length)
        + np.random.default_rng(1).normal(0, 1, 4 * length)
    )
    frame = pd.DataFrame(
        {
            "client_id": 1,
            "value": values,
            "date": pd.date_range("2020-01-06", periods=len(values), freq=freq),
        }
    )
    assert forecast(frame, 1)["method"].item().endswith(f"season of {length}")
