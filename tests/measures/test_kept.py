"""What is kept of a book is what is made of it, and is made anew where rows or settings are others."""

from __future__ import annotations

import datetime as dt
import os

import pandas as pd

from healthseg.data.memory import stored, stored_frame
from healthseg.data.portfolio import Portfolio
from healthseg.measures.panel import LEVEL, MANY_DATES, ROWS_LEVEL, panel
from tests.measures.books import DAYS, FIRST, open_book, random_tables

DATES = [FIRST + dt.timedelta(days=DAYS - 1 - step) for step in range(MANY_DATES)]


def test_many_dates_are_one_file_with_the_rows_of_the_single_dates():
    book = open_book(random_tables(5))
    made = panel(book, DATES)
    assert len(list((book.store.folder / LEVEL).iterdir())) == 1
    again = panel(Portfolio.open(book.path), DATES)
    single = pd.concat([panel(book, [date]) for date in DATES]).sort_values(
        ["client_id", "date"], ignore_index=True
    )
    for found in (again, single):
        pd.testing.assert_frame_equal(made, found, check_exact=True)


def test_a_few_dates_need_no_file_of_their_own():
    book = open_book(random_tables(5))
    panel(book, DATES[1:])
    assert not (book.store.folder / LEVEL).exists()


def test_rows_of_a_date_that_nobody_asks_for_are_let_go():
    book = open_book(random_tables(5))
    panel(book, DATES[:2])
    kept = sorted((book.store.folder / ROWS_LEVEL).iterdir())
    for path in kept:
        os.utime(path, (0, 0))
    panel(Portfolio.open(book.path), [DATES[0], DATES[2]])
    left = sorted((book.store.folder / ROWS_LEVEL).iterdir())
    assert len(kept) == len(left) == 2 and len(set(kept) & set(left)) == 1


def test_what_is_stored_is_made_once_for_the_same_rows_and_settings():
    book, calls = open_book(random_tables(5)), []

    def make() -> dict[str, float]:
        calls.append(1)
        return {"share": 0.1 + 0.2, "nothing": float("nan")}

    day = book.data_until
    first = stored(book, "shares", day, make)
    assert (
        stored(Portfolio.open(book.path), "shares", day, make)["share"]
        == first["share"]
        == 0.1 + 0.2
    )
    assert len(calls) == 1
    stored(book, "other", day, make)
    stored(book, "shares", day - dt.timedelta(days=1), make)
    stored(Portfolio.open(book.path, {"seed": 99}), "shares", day, make)
    assert len(calls) == 4


def test_of_all_rows_and_of_a_day_are_kept_apart():
    book, found = open_book(random_tables(5)), iter(range(9))
    of_all, of_day = (
        stored(book, "count", day, lambda: next(found)) for day in (None, book.data_until)
    )
    assert (of_all, of_day, stored(book, "count", None, lambda: next(found))) == (0, 1, 0)


def test_a_frame_that_is_stored_is_the_same_whoever_made_it():
    book, calls = open_book(random_tables(5)), []

    def make() -> pd.DataFrame:
        calls.append(1)
        return pd.DataFrame(
            {
                "name": pd.Series(["a", None], dtype="str"),
                "day": [0.1 + 0.2, float("nan")],
                "at": pd.to_datetime(["2025-03-02 09:00:00.5", None]),
            }
        )

    first = stored_frame(book, "frame", None, make)
    again = stored_frame(Portfolio.open(book.path), "frame", None, make)
    assert len(calls) == 1
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    stored_frame(Portfolio.open(book.path, {"seed": 99}), "frame", None, make)
    assert len(calls) == 2
