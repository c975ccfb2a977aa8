"""Imported and recorded stage changes are one history, read as it stood when the portfolio was opened."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

from healthseg.data.portfolio import Portfolio
from healthseg.errors import DataRetrievalError
from healthseg.metrics.panels import panel
from healthseg.metrics.stages import history
from healthseg.testing import tiny_portfolio

EVENTS = [
    ("a", "2025-03-01 09:00", "u1"),
    ("a", "2025-04-20 09:00", "u1"),
    ("b", "2025-04-20 09:00", "u2"),
]
IMPORTED = pd.DataFrame(
    {"client_id": ["a"], "stage": ["trial"], "effective_at": ["2025-03-01 10:00:00"]}
)
DAYS = [dt.date(2025, 3, 20), dt.date(2025, 4, 15)]


def at(month: int, day: int) -> dt.datetime:
    return dt.datetime(2025, month, day, 12, tzinfo=dt.UTC)


def stages(portfolio: Portfolio) -> dict[str, list]:
    rows = panel(portfolio, DAYS)
    words = rows["stage"].astype(object).where(rows["stage"].notna(), None)
    return words.groupby(rows["client_id"]).agg(list).to_dict()


@pytest.fixture
def portfolio():
    return tiny_portfolio(EVENTS, stage_changes=IMPORTED)


def recorded(portfolio: Portfolio, when: dt.datetime, *changes: tuple) -> Portfolio:
    """The portfolio opened anew, after changes were recorded at a time."""
    ledger = Portfolio.open(portfolio.path, portfolio.settings, clock=lambda: when).ledger()
    for number, (client, stage, effective) in enumerate(changes):
        ledger.record_stage_event(f"{when}-{number}", client, stage, effective, actor="ann")
    return Portfolio.open(portfolio.path, portfolio.settings)


def test_the_panel_reads_a_recorded_stage_from_when_it_was_effective_and_known(portfolio):
    assert stages(portfolio) == {"a": ["trial", "trial"], "b": [None, None]}
    again = recorded(
        portfolio, at(4, 10), ("a", "active", at(3, 15)), ("b", "onboarding", at(4, 10))
    )
    assert stages(again) == {"a": ["trial", "active"], "b": [None, "onboarding"]}, (
        "nobody knew it on March 20"
    )


def test_rows_of_the_panel_that_were_kept_are_those_that_are_counted_anew(portfolio):
    stages(portfolio)
    again = recorded(portfolio, at(4, 10), ("a", "active", at(3, 15)))
    cached = panel(again, DAYS)
    fresh = tiny_portfolio(EVENTS, stage_changes=IMPORTED)
    fresh = recorded(fresh, at(4, 10), ("a", "active", at(3, 15)))
    pd.testing.assert_frame_equal(cached, panel(fresh, DAYS))


def test_a_portfolio_without_imported_stages_has_those_that_were_recorded():
    portfolio = tiny_portfolio(EVENTS)
    assert not portfolio.has("stage_changes")
    again = recorded(portfolio, at(4, 10), ("a", "active", at(4, 1)))
    assert again.has("stage_changes") and stages(again)["a"] == [None, "active"]


def test_an_open_portfolio_keeps_its_stages_until_its_history_is_read_again(portfolio):
    assert stages(portfolio)["a"] == ["trial", "trial"]
    before = portfolio.fingerprint()
    recorded(portfolio, at(4, 10), ("a", "active", at(4, 1)))
    assert stages(portfolio)["a"] == ["trial", "trial"] and portfolio.fingerprint() == before, (
        "another process's, unheard of"
    )
    history(portfolio)
    assert stages(portfolio)["a"] == ["trial", "active"] and portfolio.fingerprint() != before


def test_what_no_day_of_the_data_knows_of_leaves_an_open_portfolios_panel_alone(portfolio):
    assert stages(portfolio)["a"] == ["trial", "trial"]
    cached, connection = panel(portfolio, DAYS), portfolio.connection()
    recorded(portfolio, at(5, 10), ("a", "active", at(4, 1)))
    assert history(portfolio).of("a")[-1].stage == "active"
    assert portfolio.connection() is connection, "nothing is read again for it"
    pd.testing.assert_frame_equal(panel(portfolio, DAYS), cached)


def test_a_recorded_churn_ends_the_customer_from_that_day_on(portfolio):
    again = recorded(portfolio, at(4, 10), ("a", "churned", at(4, 1)))
    rows = panel(again, DAYS).set_index(["client_id", "date"])["live"]
    assert rows["a"].tolist() == [True, False] and rows["b"].tolist() == [True, True]


def test_stages_of_customers_that_are_no_longer_in_the_portfolio_are_left_out(portfolio):
    again = recorded(portfolio, at(4, 10), ("gone", "active", at(4, 1)))
    assert set(stages(again)) == {"a", "b"}


def test_the_fingerprint_of_the_portfolio_changes_with_what_was_recorded(portfolio):
    day = dt.date(2025, 4, 20)
    before = portfolio.content(day), portfolio.fingerprint(day)
    again = recorded(portfolio, at(4, 10), ("a", "active", at(4, 1)))
    assert again.content(DAYS[0]) == portfolio.content(DAYS[0]), (
        "what was known on March 20 is the same"
    )
    assert (again.content(day), again.fingerprint(day)) != before and again.content(day) != before[
        0
    ]


def test_a_portfolio_that_is_a_database_needs_a_place_for_its_ledger(tmp_path):
    import sqlite3

    path = tmp_path / "portfolio.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE customers (client_id, signup_date)")
        connection.execute("INSERT INTO customers VALUES ('a', '2025-01-01')")
        connection.execute("CREATE TABLE events (client_id, occurred_at)")
        connection.execute("INSERT INTO events VALUES ('a', '2025-03-01 10:00:00')")
    connection.close()
    portfolio = Portfolio.open(f"sqlite:///{path}")
    assert not portfolio.has_ledger
    with pytest.raises(DataRetrievalError, match=r"ledger\.address"):
        portfolio.ledger()
