"""A season where there is one, and none where there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from healthseg.forecasting import forecast
from healthseg.forecasting.seasons import find_seasons
from healthseg.settings.statistics import ForecastSettings

PATTERN = np.array([30.0, 5.0, 0.0, -5.0, 0.0, -10.0, -20.0])


def seasonal(weeks: int, seed: int, noise: float, slope: float = 0.0) -> np.ndarray:
    count = 7 * weeks
    drawn = np.random.default_rng(seed).normal(0, noise, count)
    return 100 + slope * np.arange(count) + np.tile(PATTERN, weeks) + drawn


@pytest.mark.parametrize("slope", [0.0, 0.5, -0.3])
def test_a_planted_week_is_recovered(long, slope):
    values = seasonal(13, seed=4, noise=3, slope=slope)
    got = forecast(long({"a": values[:-7]}, days=1), 7)
    assert "season of 7" in got["method"].iloc[0]
    assert (
        np.abs(got["forecast"].to_numpy() - (100 + slope * np.arange(84, 91) + PATTERN)).max() < 8
    )


def test_a_season_around_zero_is_only_added():
    seasons = find_seasons(seasonal(10, seed=1, noise=2) - 100, 7, ForecastSettings())
    assert [season.multiplicative for season in seasons] == [False]
    values = seasonal(10, seed=1, noise=2) - 100
    assert seasons[0].indices(values).local[-7:] == pytest.approx(PATTERN, abs=4)


def test_a_season_that_almost_closes_keeps_the_level_of_the_open_days():
    values = np.tile([10.0, 10, 10, 10, 10, 0.01, 0.01], 6)
    season = find_seasons(values, 7, ForecastSettings())[1]
    assert season.multiplicative
    assert season.indices(values).remove(values) == pytest.approx(np.full(42, 50.02 / 7), rel=0.01)


def test_indices_follow_a_season_that_changes(long):
    week, later = np.array([0, 5, 9, 5, 0, -9, -10.0]), np.array([9, 5, 0, -5, -9, 0, 0.0])
    noise = np.random.default_rng(2).normal(0, 1, 7 * 40)
    values = 50 + np.r_[np.tile(week, 28), np.tile(later, 12)] + noise
    got = forecast(long({"a": values}, days=1), 7)
    assert got["forecast"].to_numpy() == pytest.approx(50 + later, abs=3)


@pytest.mark.parametrize(("season_length", "count"), [(4, 24), (7, 84), (12, 60), (52, 160)])
@pytest.mark.parametrize("kind", ["noise", "walk"])
def test_no_season_is_claimed_on_noise_or_a_random_walk(season_length, count, kind):
    rng = np.random.default_rng(7)
    drawn = rng.normal(size=(200, count))
    series = np.cumsum(drawn, axis=1) if kind == "walk" else drawn
    claimed = sum(
        bool(find_seasons(values, season_length, ForecastSettings())) for values in series
    )
    assert claimed <= 10


@pytest.mark.parametrize(
    "values", [np.arange(36.0) * 0.1 + 7, 1.1 ** np.arange(36.0), np.full(36, 5.0)]
)
def test_no_season_is_claimed_on_a_smooth_trend(values):
    assert not find_seasons(values, 12, ForecastSettings())


def test_two_seasons_are_not_enough():
    assert not find_seasons(np.tile(PATTERN + 100, 2), 7, ForecastSettings())
    assert find_seasons(np.tile(PATTERN + 100, 3), 7, ForecastSettings())


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
    assert f"season of {length}" in forecast(frame, 1)["method"].item()


def test_a_week_is_found_in_hours_beside_the_day(long):
    hour = np.arange(24 * 7 * 5)
    day = 20 + 15 * np.sin(2 * np.pi * hour / 24)
    values = day * np.where(hour // 24 % 7 < 5, 1.0, 0.3)
    values += np.random.default_rng(5).normal(0, 0.5, len(hour))
    frame = pd.DataFrame({"client_id": "a", "date": hour[:-48], "value": values[:-48]})
    got = forecast(frame, 48, season_length=24)
    assert "season of 24 and 168" in got["method"].iloc[0]
    assert np.abs(got["forecast"] - values[-48:]).mean() < 2
