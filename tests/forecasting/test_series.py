"""What comes out: bounds kept, failures named, the same bits whatever stands beside."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthseg.forecasting import forecast
from healthseg.forecasting.series import fit_series

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


def test_a_diverging_member_is_dropped_and_named(long):
    got = forecast(long({"a": [0.0] * 20 + [1, 10, 100, 1000]}), 13)
    assert got["method"].iloc[0] == "theta + dynamic theta (damped trend failed)"
    assert got["forecast"].max() < 3000


def test_where_every_member_fails_the_naive_forecast_says_so():
    largest = np.r_[
        np.zeros(11), 1.7e308
    ]  # its square is no number; forecast refuses values over 1e100
    fit = fit_series(largest, 2, 1)
    assert fit.method == "naive (theta, dynamic theta, damped trend failed)"
    assert fit.roll(largest, 2).paths[-1].tolist() == [1.7e308, 1.7e308]


def test_a_constant_series_stays_constant_and_says_so(long):
    got = forecast(long({"a": [42.0] * 30}), 3)
    assert got["method"].tolist() == ["constant"] * 3
    assert (got[["forecast", "lower", "upper"]] == 42).all(axis=None)


def test_fewer_than_eight_values_have_an_honest_naive_forecast(long):
    got = forecast(long({"a": [3, 5, 4, 6, 5, 7, 6], "b": [3, 5, 4, 6, 5, 7, 6, 8]}), 2)
    assert got["method"].tolist() == ["naive (fewer than 8 values)"] * 2 + [COMBINATION] * 2
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
    one, other = forecast(long({"a": values}), 5), forecast(long({"a": values * factor}), 5)
    for column in ("forecast", "lower", "upper"):
        assert other[column].to_numpy() == pytest.approx(factor * one[column].to_numpy(), rel=1e-6)
    assert one["method"].equals(other["method"])


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
    assert got["method"].tolist() == [COMBINATION] * 60
