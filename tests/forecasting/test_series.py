"""What comes out: bounds kept, failures named, the same bits whatever stands beside."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthseg.forecasting import forecast
from healthseg.forecasting.models import candidates
from healthseg.forecasting.series import fit_series
from healthseg.settings.statistics import ForecastSettings

COMBINATION = "theta + dynamic theta + damped trend"
VALUES = st.lists(
    st.floats(0, 100) | st.sampled_from([0.0, 50.0, 100.0]) | st.none(), min_size=2, max_size=40
)


def weekly(values) -> pd.DataFrame:
    dates = pd.date_range("2024-01-01", periods=len(values), freq="7D")
    return pd.DataFrame({"client_id": "a", "date": dates, "value": np.array(values, dtype=float)})


@settings(max_examples=60, deadline=None)
@given(VALUES, st.integers(1, 20), st.sampled_from([0.5, 0.9, 0.99]))
def test_bounded_values_stay_in_their_bounds(values, horizon, level):
    got = forecast(weekly(values), horizon, level, lower_bound=0, upper_bound=100, spacing="weekly")
    assert len(got) in (0, horizon)
    figures = got[["lower", "forecast", "upper"]].to_numpy()
    assert np.isfinite(figures).all()
    assert (figures >= 0).all() and (figures <= 100).all()
    assert (np.diff(figures, axis=1) >= 0).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e90, 1e90), min_size=2, max_size=30))
def test_any_finite_values_have_a_finite_forecast(values):
    assert np.isfinite(forecast(weekly(values), 5)["forecast"]).all()


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(45)), st.permutations(["client_id", "date", "value", "other"]))
def test_the_order_of_rows_and_columns_changes_nothing(order, columns):
    rng = np.random.default_rng(5)
    frame = pd.concat(
        [weekly(rng.normal(50, 9, 15)).assign(client_id=client, other=1) for client in "cab"]
    )
    pd.testing.assert_frame_equal(forecast(frame, 3), forecast(frame.iloc[order][columns], 3))


def test_one_series_alone_has_the_same_bits_as_among_many(long, walk):
    series = {f"c{k}": walk(9 + 7 * k, seed=k) for k in range(14)}
    together = forecast(long(series), 6)
    for client, values in series.items():
        alone = forecast(long({client: values}), 6)
        pd.testing.assert_frame_equal(
            alone,
            together[together["client_id"] == client].reset_index(drop=True),
            check_exact=True,
        )


def test_the_same_call_gives_the_same_bits(long, walk):
    frame = long({"a": walk(60)})
    pd.testing.assert_frame_equal(forecast(frame, 13), forecast(frame, 13), check_exact=True)


def test_the_frame_given_is_left_as_it_was(long, walk):
    frame = long({"a": walk(20)})
    before = frame.copy(deep=True)
    forecast(frame, 3)
    pd.testing.assert_frame_equal(frame, before)


def test_a_diverging_member_is_dropped_and_named():
    values = np.array([0.0] * 20 + [1, 10, 100, 1000])
    names = [each.name for each in candidates(values, 13, 1, ForecastSettings())]
    assert names == ["naive", "theta + dynamic theta (damped trend failed)"]


def test_where_every_member_fails_the_naive_forecast_says_so():
    largest = np.r_[
        np.zeros(11), 1.7e308
    ]  # its square is no number; forecast refuses values over 1e100
    fit = fit_series(largest, 2, 1)
    assert fit.method == "naive (theta, dynamic theta, damped trend failed)"
    assert fit.candidates[0].paths(largest, 2)[-1].tolist() == [1.7e308, 1.7e308]


def test_a_constant_series_stays_constant_and_says_so(long):
    got = forecast(long({"a": [42.0] * 30}), 3)
    assert got["method"].tolist() == ["constant"] * 3
    assert (got["forecast"] == 42).all()
    assert ((got["lower"] > 39) & (got["upper"] < 45)).all()


def test_fewer_than_eight_values_have_an_honest_naive_forecast(long):
    got = forecast(long({"a": [3, 5, 4, 6, 5, 7, 6], "b": [3, 5, 4, 6, 5, 7, 6, 8]}), 2)
    assert (
        got["method"].tolist()
        == ["naive (fewer than 8 values)"] * 2 + [f"87% {COMBINATION}; 13% naive"] * 2
    )
    assert got["forecast"].tolist()[:2] == [6, 6]
    assert (got["lower"] < got["forecast"]).all()


def test_a_series_of_mostly_gaps_is_not_modelled(long, walk):
    frame = long({"a": walk(60)}).iloc[[0, 1, *range(2, 60, 3)]]  # of 60 weeks 22
    assert forecast(frame, 1)["date"].item() == pd.Timestamp("2024-01-01") + pd.Timedelta(
        days=7 * 60
    )
    assert (
        forecast(frame, 1)["method"].item() == "naive (more than half of the steps have no value)"
    )


def test_a_higher_level_has_a_wider_interval_around_the_same_forecast(long, walk):
    frame = long({"a": walk(40)})
    narrow, wide = forecast(frame, 5, 0.5), forecast(frame, 5, 0.95)
    assert narrow["forecast"].equals(wide["forecast"])
    assert (wide["lower"] < narrow["lower"]).all() and (wide["upper"] > narrow["upper"]).all()


@pytest.mark.parametrize("factor", [2.0**-20, 2.0**20])
def test_the_unit_of_the_values_does_not_matter(long, walk, factor):
    values = walk(40)
    first, other = forecast(long({"a": values}), 5), forecast(long({"a": values * factor}), 5)
    for column in ("forecast", "lower", "upper"):
        assert other[column].to_numpy() == pytest.approx(
            factor * first[column].to_numpy(), rel=1e-6
        )
    assert first["method"].equals(other["method"])


def test_ten_years_of_days_and_hourly_weeks_run_through(walk):
    daily = pd.DataFrame(
        {"client_id": "d", "date": pd.date_range("2015-01-01", periods=3650), "value": walk(3650)}
    )
    hourly = pd.DataFrame(
        {
            "client_id": "h",
            "date": pd.date_range("2025-01-01", periods=1000, freq="h"),
            "value": walk(1000, 1),
        }
    )
    got = forecast(pd.concat([daily, hourly]), 30)
    assert np.isfinite(got[["forecast", "lower", "upper"]]).all(axis=None)
    assert got["method"].str.contains("naive").all()


@pytest.mark.parametrize("factor", [0.0, 5.0, 100.0])
def test_an_outlier_on_the_last_day_does_not_carry_the_forecast_away(long, factor):
    values = np.random.default_rng(4).poisson(np.tile([60.0, 60, 60, 60, 60, 20, 20], 15))
    spoilt = np.r_[values[:-1], values[-1] * factor]
    plain, got = (forecast(long({"a": each}, days=1), 7) for each in (values, spoilt))
    assert got["forecast"].to_numpy() == pytest.approx(plain["forecast"].to_numpy(), rel=0.15)
    assert (got["upper"] < 1.5 * plain["upper"]).all()


def test_three_days_of_another_level_are_a_new_level(long):
    values = np.r_[np.random.default_rng(4).normal(50, 2, 60), [90.0, 91.0, 89.0]]
    assert forecast(long({"a": values}, days=1), 1)["forecast"].item() > 75


def test_weekends_without_anybody_stay_so_while_the_week_grows(long):
    rng, day = np.random.default_rng(6), np.arange(196)
    mean = 40 * 4 ** (day / 196) * np.where(day % 7 < 5, 1.0, 0.0)
    values = rng.poisson(mean).astype(float)
    got = forecast(long({"a": values[:182]}, days=1), 14, lower_bound=0)
    weekend = day[182:] % 7 >= 5
    assert (got.loc[weekend, ["forecast", "lower", "upper"]] == 0).all(axis=None)
    worked = got.loc[~weekend, "forecast"]
    assert worked.mean() == pytest.approx(mean[182:][~weekend].mean(), rel=0.15)


def test_no_change_is_the_last_value_with_the_interval_of_its_own_errors(long, walk):
    values = walk(60)
    got = forecast(long({"a": values}), 13, no_change=True)
    assert (got["method"] == "no change").all()
    assert (got["forecast"] == values[-1]).all()
    assert (np.diff(got["upper"] - got["lower"]) > 0).all()
