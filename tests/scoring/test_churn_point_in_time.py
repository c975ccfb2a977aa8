"""What later time adds or overwrites changes no model of an earlier day, nor what it says of anybody."""

from __future__ import annotations

import datetime as dt
import json

import pandas as pd
import pytest

from healthseg.demo import make_demo
from healthseg.scoring.churn import training
from tests.metrics.portfolios import open_portfolio, reopened
from tests.metrics.test_point_in_time import cut

pytestmark = pytest.mark.slow

DAY = dt.date(2025, 7, 20)


@pytest.fixture(scope="module")
def portfolios(tmp_path_factory):
    """The portfolio as it is 80 days later, and as it was at the end of the day."""
    folder = tmp_path_factory.mktemp("whole") / "demo"
    make_demo(folder, clients=120, seed=301, events="light", scenario="plain")
    tables = {path.stem: pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))}
    tables["events"] = pd.concat(
        [pd.read_parquet(path) for path in sorted((folder / "events").glob("*.parquet"))]
    )
    whole = reopened(folder)
    away = (tables["events"]["occurred_at"] - pd.Timestamp(DAY)).dt.days
    earlier = cut(
        tables | {"events": tables["events"][away.abs() <= 3]}, DAY
    )  # the others need no time zone
    earlier["events"] = pd.concat([tables["events"][away < -3].astype(object), earlier["events"]])
    return whole, open_portfolio(earlier, {"data_until": whole.data_until})


def test_the_model_of_a_day_is_that_of_the_portfolio_cut_at_this_day(portfolios):
    whole, _ = portfolios
    left = whole.table("customers")["churned_on"].dropna()
    assert (
        pd.to_datetime(left).dt.date > DAY
    ).sum() > 5  # there is something that it could have learnt
    first, second = (
        json.loads(training.churn_model(portfolio, DAY).to_json()) for portfolio in portfolios
    )
    assert first["config"].pop("data_until") != second["config"].pop(
        "data_until"
    )  # stated, to open the cut portfolio
    assert first == second and training.churn_model(whole, DAY).eligible


def test_what_a_model_says_of_a_day_is_said_of_the_portfolio_cut_at_this_day(portfolios):
    first, second = (
        training.predictions(portfolio, DAY, sorted(portfolio.table("customers")["client_id"]))
        for portfolio in portfolios
    )
    assert len(first) > 50
    pd.testing.assert_frame_equal(first, second, check_exact=True)
