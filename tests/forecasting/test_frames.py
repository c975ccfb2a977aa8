"""What goes in: columns, dates, values and parameters, each with its rule."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from healthseg.errors import InvalidParameters
from healthseg.forecasting import forecast

WEEK = ("2025-01-06", "2025-01-13", "2025-01-20")


def frame(values=(1.0, 2.0, 3.0), dates=WEEK, client="a") -> pd.DataFrame:
    return pd.DataFrame({"client_id": client, "date": list(dates), "value": list(values)})


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (frame().rename(columns={"client_id": "client"}), "did you mean client"),
        (frame().drop(columns="value"), "no column 'value'"),
        (pd.concat([frame(), frame()[["value"]]], axis=1), "more than one column 'value'"),
        ([1, 2, 3], "is a list"),
        (frame(values=(1.0, np.inf, 2.0)), "value inf"),
        (frame(values=(1.0, 1e200, 2.0)), "value 1e+200"),
        (frame(values=("1", "two", "3")), "'1' is not a finite number"),
        (frame(values=(True, False, True)), "True is not"),
        (frame(dates=("2025-01-06", "soon", "2025-01-20")), "date 'soon'"),
        (frame(dates=("2025-01-06", None, "2025-01-20")), "date is missing in row 1"),
        (frame(dates=(0.5, 1.5, 2.5)), "date 0.5"),
        (
            frame(dates=pd.date_range("2025-01-06", periods=3, tz="Europe/Paris")),
            "time zone Europe/Paris",
        ),
        (
            frame(dates=("2025-01-06", "2025-01-06", "2025-01-13")),
            "more than one row on 2025-01-06",
        ),
        (frame(dates=(4, 4, 5)), "more than one row on 4"),
        (frame(dates=("2025-01-06", "2025-01-13", "2025-01-22")), "not evenly spaced"),
        (frame(dates=(0, 1, 2_000_000)), "span 2,000,001 steps"),
        (frame(client=["a", None, "a"]), "client_id is missing in row 1"),
        (frame(client=["a", ["b"], "a"]), "client_id holds values"),
        (frame(values=(1.0,), dates=WEEK[:1]), "give spacing"),
    ],
)
def test_a_frame_that_cannot_be_read_is_refused_with_the_rule(rows, words):
    with pytest.raises(InvalidParameters) as refused:
        forecast(rows, 2)
    assert words in str(refused.value)
    assert refused.value.details["validation_rule"]


@pytest.mark.parametrize(
    ("wrong", "parameter"),
    [
        ({"horizon": 0}, "horizon"),
        ({"horizon": 1.5}, "horizon"),
        ({"horizon": True}, "horizon"),
        ({"level": 0}, "level"),
        ({"level": 1.0}, "level"),
        ({"level": "high"}, "level"),
        ({"level": np.nan}, "level"),
        ({"season_length": 0}, "season_length"),
        ({"season_length": 2.5}, "season_length"),
        ({"lower_bound": 5, "upper_bound": 5}, "lower_bound"),
        ({"upper_bound": float("inf")}, "upper_bound"),
        ({"upper_bound": 2}, "value"),
        ({"lower_bound": 2}, "value"),
        ({"spacing": "weeky"}, "spacing"),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name(wrong, parameter):
    with pytest.raises(InvalidParameters) as refused:
        forecast(frame(), **{"horizon": 2, **wrong})
    assert refused.value.details["parameter"] == parameter


def test_a_misspelt_spacing_is_answered_with_the_near_one():
    with pytest.raises(InvalidParameters, match="did you mean weekly"):
        forecast(frame(), 1, spacing="weeky")


def test_spacing_does_not_go_with_an_integer_index():
    with pytest.raises(InvalidParameters, match="integer index"):
        forecast(frame(dates=(0, 1, 2)), 1, spacing="weekly")


@pytest.mark.parametrize(
    ("dates", "following"),
    [
        (
            pd.date_range("2025-03-29 22:00", periods=4, freq="h"),
            ["2025-03-30T02:00", "2025-03-30T03:00"],
        ),
        (pd.date_range("2024-02-26", periods=3), ["2024-02-29", "2024-03-01"]),
        (pd.date_range("2024-12-16", periods=3, freq="7D"), ["2025-01-06", "2025-01-13"]),
        (pd.date_range("2024-10-01", periods=3, freq="MS"), ["2025-01-01", "2025-02-01"]),
        (pd.date_range("2023-10-31", periods=3, freq="ME"), ["2024-01-31", "2024-02-29"]),
        (["2024-10-30", "2024-11-30", "2024-12-30", "2025-01-30"], ["2025-02-28", "2025-03-30"]),
        (pd.date_range("2024-03-31", periods=4, freq="QE"), ["2025-03-31", "2025-06-30"]),
        (pd.date_range("2020-01-01", periods=4, freq="YS"), ["2024-01-01", "2025-01-01"]),
        (pd.date_range("2025-01-01", periods=4, freq="28D"), ["2025-04-23", "2025-05-21"]),
        (pd.date_range("1990-01-01", periods=3, freq="10D"), ["1990-01-31", "1990-02-10"]),
    ],
)
def test_the_dates_go_on_in_their_own_spacing(dates, following):
    got = forecast(frame(values=range(len(dates)), dates=dates), 2)
    assert got["date"].tolist() == [pd.Timestamp(day) for day in following]


def test_an_integer_index_goes_on_in_steps_of_one():
    got = forecast(frame(dates=(3, 4, 7)), 2)
    assert got["date"].tolist() == [8, 9]


def test_dates_as_text_as_dates_and_in_any_resolution_are_the_same():
    as_dates = frame(dates=[dt.date.fromisoformat(day) for day in WEEK])
    as_seconds = frame(dates=np.array(WEEK, dtype="datetime64[s]"))
    for other in (as_dates, as_seconds):
        pd.testing.assert_frame_equal(forecast(frame(), 3), forecast(other, 3))


def test_decimals_and_nullable_numbers_are_numbers():
    decimals = frame(values=(Decimal("1"), None, Decimal("3")))
    nullable = frame().assign(value=pd.array([1, None, 3], dtype="Int64"))
    pd.testing.assert_frame_equal(forecast(decimals, 2), forecast(nullable, 2))


def test_a_missing_value_and_a_missing_row_are_the_same_gap(long, walk):
    whole = long({"a": walk(30)})
    blank = whole.assign(value=whole["value"].mask(whole.index.isin([7, 8, 29])))
    pd.testing.assert_frame_equal(forecast(blank, 4), forecast(whole.drop(index=[7, 8, 29]), 4))
    assert (
        forecast(blank, 1)["date"].item() == whole["date"].iloc[29]
    )  # the step after the last known value


def test_an_empty_frame_gives_an_empty_forecast():
    got = forecast(frame().iloc[:0], 3)
    assert got.empty
    assert got.columns.tolist() == ["client_id", "date", "forecast", "lower", "upper", "method"]


def test_a_client_without_any_value_has_no_forecast(long):
    both = long({"a": [1, 2, 3], "b": [np.nan] * 3})
    assert forecast(both, 2)["client_id"].tolist() == ["a", "a"]


def test_a_single_value_has_an_honest_naive_forecast_without_interval(long):
    got = forecast(long({"a": [7.0]}), 2, spacing="weekly")
    assert got["forecast"].tolist() == [7, 7]
    assert got[["lower", "upper"]].isna().all(axis=None)
    assert got["date"].tolist() == [pd.Timestamp("2024-01-08"), pd.Timestamp("2024-01-15")]


def test_a_single_value_takes_the_commonest_spacing_of_the_portfolio_and_its_bounds(long):
    got = forecast(
        long({"a": [1, 2, 1, 2], "b": [7.0], "c": [3, 4]}), 1, lower_bound=0, upper_bound=100
    )
    row = got[got["client_id"] == "b"].iloc[0]
    assert (row["date"], row["lower"], row["upper"]) == (pd.Timestamp("2024-01-08"), 0, 100)


def test_a_portfolio_of_different_spacings_keeps_each():
    daily, monthly = (
        pd.date_range("2025-01-01", periods=9),
        pd.date_range("2024-01-01", periods=9, freq="MS"),
    )
    both = pd.concat([frame(range(9), daily, "d"), frame(range(9), monthly, "m")])
    assert forecast(both, 1)["date"].tolist() == [
        pd.Timestamp("2025-01-10"),
        pd.Timestamp("2024-10-01"),
    ]


@pytest.mark.parametrize("open_days", [range(5), (0, 2, 4), (5, 6)])
def test_weekdays_that_never_come_are_not_forecast(open_days):
    days = pd.date_range("2025-01-06", periods=140)
    days = days[days.day_of_week.isin(open_days)]
    values = 50 + 10.0 * days.day_of_week + np.random.default_rng(3).normal(0, 0.5, len(days))
    frame = pd.DataFrame({"client_id": "a", "date": days, "value": values})
    got = forecast(frame.drop(index=[4, 5]), 2 * len(open_days))  # holidays are gaps
    assert got["date"].dt.day_of_week.tolist() == 2 * list(open_days)
    assert got["forecast"].to_numpy() == pytest.approx(50 + 10 * got["date"].dt.day_of_week, abs=2)
    assert f"season of {len(open_days)}" in got["method"].iloc[0]


def test_a_few_days_without_a_weekend_are_still_days():
    frame = pd.DataFrame(
        {
            "client_id": "a",
            "date": pd.date_range("2025-01-06", periods=5),
            "value": [3.0, 4, 5, 4, 3],
        }
    )
    assert forecast(frame, 2)["date"].dt.day_of_week.tolist() == [5, 6]


def test_a_series_by_date_is_forecast_like_its_frame():
    long = frame(values=(1.0, 2.0, 3.0, 5.0), dates=(*WEEK, "2025-01-27"))
    alone = pd.Series(long["value"].to_numpy(), pd.DatetimeIndex(long["date"]), name="a")
    pd.testing.assert_frame_equal(forecast(alone, 3), forecast(long, 3))


def test_a_series_by_period_is_dated_by_the_beginnings_of_its_periods():
    monthly = pd.Series([1.0, 2.0, 3.0], pd.period_range("2025-01", periods=3, freq="M"))
    assert forecast(monthly, 2)["date"].dt.strftime("%Y-%m-%d").tolist() == [
        "2025-04-01",
        "2025-05-01",
    ]


def test_a_series_without_dates_is_refused_by_its_index():
    with pytest.raises(InvalidParameters, match="date 'x' is not a date"):
        forecast(pd.Series([1.0, 2.0], ["x", "y"]), 2)
