"""The panel is cached by its rows and settings, and built anew where these differ."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pandas as pd
import pytest

from healthseg.data.portfolio import Portfolio
from healthseg.metrics import counting, panels
from healthseg.metrics.panels import MANY_DATES, panel
from healthseg.scoring.scored_panel import portfolio_scores, scorecard_rows
from tests.metrics.portfolios import DAYS, FIRST, open_portfolio, random_tables, reopened

DATES = [FIRST + dt.timedelta(days=DAYS - 1 - step) for step in range(MANY_DATES)]


def files(portfolio: Portfolio, name: str) -> list[Path]:
    return sorted(portfolio.cache.folder.glob(f"{name}-*.arrow"))


def test_many_dates_are_one_file_with_the_rows_of_the_single_dates():
    portfolio = open_portfolio(random_tables(5))
    frame = panel(portfolio, DATES)
    assert len(files(portfolio, "panel")) == 1 and len(files(portfolio, "panel_rows")) == MANY_DATES
    again = panel(reopened(portfolio.path), DATES)
    single = pd.concat([panel(portfolio, [date]) for date in DATES]).sort_values(
        ["client_id", "date"], ignore_index=True
    )
    for other in (again, single):
        pd.testing.assert_frame_equal(frame, other, check_exact=True)


def test_a_few_dates_need_no_file_of_their_own():
    portfolio = open_portfolio(random_tables(5))
    panel(portfolio, DATES[1:])
    assert not files(portfolio, "panel")


def test_rows_of_a_date_that_nobody_reads_are_evicted():
    portfolio = open_portfolio(random_tables(5))
    panel(portfolio, DATES[:2])
    before = files(portfolio, "panel_rows")
    for path in before:
        os.utime(path, (0, 0))
    panel(reopened(portfolio.path), [DATES[0], DATES[2]])
    after = files(portfolio, "panel_rows")
    assert len(before) == len(after) == 2 and len(set(before) & set(after)) == 1


def test_settings_that_change_no_metric_change_no_cached_row():
    portfolio = open_portfolio(random_tables(5))
    panel(portfolio, DATES[:1])
    before = files(portfolio, "panel_rows")
    for values in ({"seed": 99}, {"csm_capacity_hours": 99.0}, {"min_coverage": 0.9}):
        panel(reopened(portfolio.path, values), DATES[:1])
    assert files(portfolio, "panel_rows") == before
    for values in ({"champion_min_share": 0.5}, {"arr_thresholds": [1.0]}, {"csat_scale": "1-10"}):
        panel(reopened(portfolio.path, values), DATES[:1])
    assert len(files(portfolio, "panel_rows")) == len(before) + 3


def test_parts_of_customers_have_the_figures_of_all_at_once(monkeypatch: pytest.MonkeyPatch):
    tables = random_tables(5)
    portfolio = open_portfolio(tables)
    whole, clients = panel(portfolio, DATES), sorted(tables["customers"]["client_id"])
    monkeypatch.setattr(counting, "CUSTOMER_DAYS_AT_ONCE", 400)
    assert list(counting.chunks(portfolio, clients, 400)) == [
        clients
    ]  # few events: five times as many
    monkeypatch.setattr(counting, "FEW_EVENTS_OF_A_CUSTOMER", 0)
    assert list(counting.chunks(portfolio, clients, 400)) == [[client] for client in clients]
    pd.testing.assert_frame_equal(panel(open_portfolio(tables), DATES), whole, check_exact=True)


def test_dates_that_are_scored_in_parts_have_the_figures_of_all_at_once(
    monkeypatch: pytest.MonkeyPatch,
):
    tables = random_tables(5)
    tables["customers"]["seats"] = 10  # today's, which stand in for those of the past
    whole, in_parts = (open_portfolio(tables) for _ in range(2))
    as_of = whole.data_until
    dates = [as_of - dt.timedelta(days=back) for back in (0, 7, 14, 30, 90)]
    at_once = portfolio_scores(whole, as_of, 30, dates=dates)
    monkeypatch.setattr(panels, "ROWS_IN_MEMORY", 2 * len(tables["customers"]))
    parts = portfolio_scores(in_parts, as_of, 30, dates=dates)
    assert parts.notes == at_once.notes and parts.notes
    pd.testing.assert_frame_equal(parts.history, at_once.history, check_exact=True)
    assert list(parts.days) == sorted(at_once.days)
    scored = scorecard_rows(panel(whole, dates), as_of, 30, whole.settings)
    for date, rows in parts.days.items():
        pd.testing.assert_frame_equal(
            rows.on(date), scored.on(date).reset_index(drop=True).set_index("client_id", drop=False)
        )
        pd.testing.assert_frame_equal(rows.scores.points(), scored.scores.points(date=date))
