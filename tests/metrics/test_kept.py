"""What is kept of a portfolio is what is made of it, and is made anew where rows or settings are others."""

from __future__ import annotations

import datetime as dt
import os

import pandas as pd

from healthseg.data.memory import stored, stored_frame
from healthseg.data.portfolio import Portfolio
from healthseg.metrics.panel import LEVEL, MANY_DATES, ROWS_LEVEL, panel
from tests.metrics.portfolios import DAYS, FIRST, open_portfolio, random_tables

DATES = [FIRST + dt.timedelta(days=DAYS - 1 - step) for step in range(MANY_DATES)]


def test_many_dates_are_one_file_with_the_rows_of_the_single_dates():
    portfolio = open_portfolio(random_tables(5))
    made = panel(portfolio, DATES)
    assert len(list((portfolio.store.folder / LEVEL).iterdir())) == 1
    again = panel(Portfolio.open(portfolio.path), DATES)
    single = pd.concat([panel(portfolio, [date]) for date in DATES]).sort_values(
        ["client_id", "date"], ignore_index=True
    )
    for found in (again, single):
        pd.testing.assert_frame_equal(made, found, check_exact=True)


def test_a_few_dates_need_no_file_of_their_own():
    portfolio = open_portfolio(random_tables(5))
    panel(portfolio, DATES[1:])
    assert not (portfolio.store.folder / LEVEL).exists()


def test_rows_of_a_date_that_nobody_asks_for_are_let_go():
    portfolio = open_portfolio(random_tables(5))
    panel(portfolio, DATES[:2])
    kept = sorted((portfolio.store.folder / ROWS_LEVEL).iterdir())
    for path in kept:
        os.utime(path, (0, 0))
    panel(Portfolio.open(portfolio.path), [DATES[0], DATES[2]])
    left = sorted((portfolio.store.folder / ROWS_LEVEL).iterdir())
    assert len(kept) == len(left) == 2 and len(set(kept) & set(left)) == 1


def test_what_is_stored_is_made_once_for_the_same_rows_and_settings():
    portfolio, calls = open_portfolio(random_tables(5)), []

    def make() -> dict[str, float]:
        calls.append(1)
        return {"share": 0.1 + 0.2, "nothing": float("nan")}

    day = portfolio.data_until
    first = stored(portfolio, "shares", day, make)
    assert (
        stored(Portfolio.open(portfolio.path), "shares", day, make)["share"]
        == first["share"]
        == 0.1 + 0.2
    )
    assert len(calls) == 1
    stored(portfolio, "other", day, make)
    stored(portfolio, "shares", day - dt.timedelta(days=1), make)
    stored(Portfolio.open(portfolio.path, {"seed": 99}), "shares", day, make)
    assert len(calls) == 4


def test_of_all_rows_and_of_a_day_are_kept_apart():
    portfolio, found = open_portfolio(random_tables(5)), iter(range(9))
    of_all, of_day = (
        stored(portfolio, "count", day, lambda: next(found)) for day in (None, portfolio.data_until)
    )
    assert (of_all, of_day, stored(portfolio, "count", None, lambda: next(found))) == (0, 1, 0)


def test_a_frame_that_is_stored_is_the_same_whoever_made_it():
    portfolio, calls = open_portfolio(random_tables(5)), []

    def make() -> pd.DataFrame:
        calls.append(1)
        return pd.DataFrame(
            {
                "name": pd.Series(["a", None], dtype="str"),
                "day": [0.1 + 0.2, float("nan")],
                "at": pd.to_datetime(["2025-03-02 09:00:00.5", None]),
            }
        )

    first = stored_frame(portfolio, "frame", None, make)
    again = stored_frame(Portfolio.open(portfolio.path), "frame", None, make)
    assert len(calls) == 1
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    stored_frame(Portfolio.open(portfolio.path, {"seed": 99}), "frame", None, make)
    assert len(calls) == 2
