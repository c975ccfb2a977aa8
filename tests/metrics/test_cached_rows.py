"""Cached rows are those that the SQL gives for the customers alone, in this process and in the next."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

from healthseg.data.customer_rows import CustomerRows, encode
from healthseg.data.portfolio import Portfolio
from healthseg.metrics import counting
from healthseg.metrics.counting import DayAxis, bounds, epoch_day
from tests.metrics.portfolios import DAYS, FIRST, open_portfolio, random_tables, reopened

FLOOR, UNTIL = epoch_day(FIRST) + DAYS // 3, epoch_day(FIRST) + 2 * DAYS // 3
# user_spells says more of what comes after
NAMES = [name for name in counting.ROWS_FROM_FIRST_DAY if name != "user_spells"]


def cached(portfolio: Portfolio, name: str, clients: list[str], first: int, until: int):
    return counting._cached_rows(portfolio, name, clients, DayAxis(first, until), {})


@pytest.fixture(scope="module")
def portfolio() -> Portfolio:
    return open_portfolio(random_tables(5))


def queried(portfolio: Portfolio, name: str, clients: list[str]) -> pd.DataFrame:
    scope = pd.DataFrame({"k": np.arange(len(clients), dtype=np.int32), "client_id": clients})
    return portfolio.sql(f"metrics/{name}", scope=scope, bounds=bounds(FLOOR, UNTIL))


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype({"k": "int64"}).sort_values(list(frame), ignore_index=True)


@pytest.mark.parametrize("name", NAMES)
def test_cached_rows_are_those_of_the_query(portfolio, name):
    everyone = sorted(portfolio.table("customers")["client_id"])
    for clients in ([everyone[1]], [everyone[2], everyone[0]], [everyone[0], everyone[2]]):
        stored = cached(portfolio, name, clients, FLOOR, UNTIL)
        pd.testing.assert_frame_equal(
            ordered(stored), ordered(queried(portfolio, name, clients)), check_exact=True
        )


@pytest.mark.parametrize("name", NAMES)
def test_of_all_days_any_number_of_customers_is_cached(portfolio, monkeypatch, name):
    everyone, (first, last) = (
        sorted(portfolio.table("customers")["client_id"]),
        (epoch_day(day) for day in (portfolio.first_event_day, portfolio.data_until)),
    )
    monkeypatch.setattr(counting, "FEW_CUSTOMERS", 1)
    assert cached(portfolio, name, everyone, first + 1, last + 1) is None
    for clients in (everyone, everyone[::2]):
        stored = cached(portfolio, name, clients, first, last + 1)
        scope = pd.DataFrame({"k": np.arange(len(clients), dtype=np.int32), "client_id": clients})
        fresh = portfolio.sql(f"metrics/{name}", scope=scope, bounds=bounds(first, last + 1))
        pd.testing.assert_frame_equal(ordered(stored), ordered(fresh), check_exact=True)


def test_a_customer_without_rows_has_none_however_many_come_before_it():
    rows = pd.DataFrame(
        {
            "k": np.array([0, 0, 300], dtype=np.int32),
            "day": [9, 20_000, 70_000],
            "n": [0.5, 1e300, np.nan],
            "word": pd.Series(["a", None, "b"], dtype="str"),
        }
    )
    customer_rows = CustomerRows(encode(rows))
    assert len(customer_rows.of([299, 70_000])) == 0
    pd.testing.assert_frame_equal(
        customer_rows.of([300, 5, 0]),
        rows.iloc[[2, 0, 1]].assign(k=[0, 2, 2]).reset_index(drop=True),
        check_exact=True,
    )


def test_another_process_finds_the_file_and_a_handed_over_portfolio_maps_it_again(
    portfolio, monkeypatch
):
    client = [sorted(portfolio.table("customers")["client_id"])[0]]
    first = cached(portfolio, "user_days", client, FLOOR, UNTIL)
    monkeypatch.setattr(counting, "_rows_of_all", None)
    again = reopened(portfolio.path)
    pd.testing.assert_frame_equal(cached(again, "user_days", client, FLOOR, UNTIL), first)
    handed = pickle.loads(pickle.dumps(again))
    pd.testing.assert_frame_equal(cached(handed, "user_days", client, FLOOR, UNTIL), first)


def test_a_changed_portfolio_never_meets_the_rows_of_the_old_one():
    tables = random_tables(6)
    client = [tables["customers"]["client_id"].min()]
    before = cached(open_portfolio(tables), "usage_days", client, FLOOR, UNTIL)
    more = tables["events"][tables["events"]["client_id"] == client[0]].sample(5, random_state=1)
    tables["events"] = pd.concat(
        [
            tables["events"],
            more.assign(occurred_at=pd.Timestamp(FIRST) + pd.Timedelta(days=DAYS // 2, hours=12)),
        ],
        ignore_index=True,
    )
    after = cached(open_portfolio(tables), "usage_days", client, FLOOR, UNTIL)
    assert after["person_events"].sum() + after["api_events"].sum() != (
        before["person_events"].sum() + before["api_events"].sum()
    )
