"""The back-test: hand-counted, without a look ahead, and equal to what forecast says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from healthseg.errors import InvalidParameters
from healthseg.forecasting import backtest, forecast, within_tolerance

MODELS = ["forecast", "naive", "seasonal naive"]


def test_naive_errors_are_as_counted_by_hand():
    frame = pd.DataFrame({"client_id": "a", "date": range(6), "value": [1.0, 3, 2, 6, 4, 8]})
    result = backtest(frame, 2, origins=2, min_train=3, season_length=2)
    naive = result.errors[result.errors["model"] == "naive"]
    assert naive[["origin", "step", "date", "error"]].values.tolist() == [
        [2, 1, 3, 4],
        [2, 2, 4, 2],
        [3, 1, 4, -2],
        [3, 2, 5, 2],
    ]
    # up to origin 2 there is no second season: |3-1|, |2-3| over 2; up to origin 3: |2-1|, |6-3| over 2
    assert naive["mase"].tolist() == pytest.approx([4 / 1.5, 2 / 1.5, 2 / 2, 2 / 2])
    assert naive["smape"].tolist() == pytest.approx(
        [200 * 4 / 8, 200 * 2 / 6, 200 * 2 / 10, 200 * 2 / 14]
    )
    seasonal = result.errors[result.errors["model"] == "seasonal naive"]
    assert seasonal["forecast"].tolist() == [3, 2, 2, 6]


def test_the_tables_are_means_over_forecasts_then_clients(long, walk):
    result = backtest(long({"a": walk(40), "b": walk(15, 1)}), 3, origins=10)
    assert result.overall["model"].tolist() == MODELS
    assert result.by_step["step"].tolist() == [1, 2, 3] * 3
    assert result.overall["mase_reason"].isna().all()
    own = result.errors[result.errors["model"] == "forecast"]
    per_client = own.groupby("client_id")["mase"].mean()
    assert result.overall["mase"].iloc[0] == pytest.approx(per_client.mean())
    assert result.overall.loc[0, ["clients", "forecasts"]].tolist() == [
        2,
        30 + 3 * 5,
    ]  # b: after 8 to 12 values


def test_each_row_is_what_forecast_says_when_the_series_is_cut_there(long, walk):
    frame = long({"a": np.clip(walk(40), 0, 100)})
    errors = backtest(frame, 4, origins=5, refit_every=1, lower_bound=0, upper_bound=100).errors
    columns = ["date", "forecast", "lower", "upper", "method"]
    for origin, rows in errors[errors["model"] == "forecast"].groupby("origin"):
        cut = forecast(frame[frame["date"] <= origin], 4, lower_bound=0, upper_bound=100)
        pd.testing.assert_frame_equal(
            rows[columns].reset_index(drop=True), cut[columns], check_exact=True
        )


@pytest.mark.parametrize("refit_every", [1, 4, 100])
def test_nothing_after_an_origin_is_read(long, walk, refit_every):
    frame = long({"a": walk(48)})
    changed = frame.assign(value=frame["value"].where(frame.index < 38, 99.0))
    errors, other = (
        backtest(each, 3, origins=12, refit_every=refit_every).errors for each in (frame, changed)
    )
    early = errors["origin"] <= frame["date"].iloc[37]
    columns = ["forecast", "lower", "upper", "method", "client_id", "origin", "step"]
    assert early.sum() == 3 * 3 * 5
    pd.testing.assert_frame_equal(
        errors.loc[early, columns], other.loc[early, columns], check_exact=True
    )


def test_a_bridged_gap_is_neither_origin_nor_outcome(long, walk):
    frame = long({"a": walk(40)})
    missing = frame["date"].iloc[30:33]
    errors = backtest(frame.drop(index=range(30, 33)), 3, origins=40).errors
    assert not errors["origin"].isin(missing).any()
    assert not errors["date"].isin(missing).any()
    assert errors["date"].isin(frame["date"]).all()


def test_a_season_shows_in_the_comparison(long):
    rng = np.random.default_rng(0)
    week = np.tile([30.0, 70, 60, 60, 50, 25, 25], 12)
    series = {client: week + rng.normal(0, 2, 84) for client in "abcd"}
    table = backtest(long(series, days=1), 7, origins=10).overall.set_index("model")
    assert (
        table.loc["forecast", "mase"]
        < table.loc["seasonal naive", "mase"]
        < table.loc["naive", "mase"]
    )
    assert table.loc["forecast", "mase"] < 1


def test_clients_too_short_for_an_origin_are_listed(long, walk):
    result = backtest(long({"a": walk(30), "b": walk(9), "c": [np.nan] * 3}), 3)
    assert result.skipped == ("b", "c")
    assert set(result.errors["client_id"]) == {"a"}


def test_a_portfolio_without_any_origin_has_empty_tables(long, walk):
    result = backtest(long({"a": walk(5)}), 3)
    assert result.errors.empty and result.overall.empty and result.by_step.empty
    assert within_tolerance(result.errors, 1) == (None, 0)


def test_a_constant_past_has_no_scaled_error(long):
    table = backtest(long({"a": [5.0] * 30}), 3).overall.set_index("model")
    assert np.isnan(table.loc["forecast", "mase"])
    assert table.loc["forecast", "mase_reason"] == (
        "the values before 1 of 1 clients' forecasts never changed, so that their errors have no scale"
    )
    assert table.loc["forecast", ["smape", "coverage"]].tolist() == [0, 1]


def test_confidence_is_the_share_within_the_tolerance_at_that_step(long, walk):
    errors = backtest(long({"a": walk(80, spread=2.0)}), 13, origins=30, refit_every=10).errors
    at_13 = errors[(errors["model"] == "forecast") & (errors["step"] == 13)]
    assert within_tolerance(errors, 13) == ((at_13["error"].abs() <= 5).mean(), 30)
    assert within_tolerance(errors, 13, min_origins=31) == (None, 30)
    assert within_tolerance(errors, 1).probability > within_tolerance(errors, 13).probability


@pytest.mark.parametrize(
    "wrong", [{"horizon": 0}, {"origins": 0}, {"refit_every": -1}, {"min_train": 0}, {"level": 2}]
)
def test_a_parameter_out_of_range_is_refused(long, walk, wrong):
    with pytest.raises(InvalidParameters):
        backtest(long({"a": walk(30)}), **{"horizon": 3, **wrong})


def test_the_order_of_rows_changes_nothing(long, walk):
    frame = long({"a": walk(25), "b": walk(30, 1)})
    mixed = frame.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(
        backtest(frame, 2).errors, backtest(mixed, 2).errors, check_exact=True
    )
