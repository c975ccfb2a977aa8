"""Every figure equals a plain recount of docs/metrics.md from the raw tables."""

from __future__ import annotations

import datetime as dt
import functools
import random

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthseg.data.portfolio import Portfolio
from healthseg.metrics import catalog
from healthseg.metrics import panels as panel
from healthseg.metrics.spans import over
from tests.metrics import plain
from tests.metrics.plain_usage import DAY, Plain, users_of
from tests.metrics.portfolios import DAYS, FIRST, open_portfolio, random_tables

pytestmark = pytest.mark.slow

# few portfolios, each shared by all tests
SEEDS = st.sampled_from(range(8))
LAST = FIRST + dt.timedelta(days=DAYS - 1)
VARIED = (
    {},
    {"adopted_min_users": 2, "adopted_min_days": 1},
    {"champion_min_active_days": 2, "paid_late_days": 0},
    {"session_gap_minutes": 120},
)


@functools.cache
def both(seed: int) -> tuple[Portfolio, Plain]:
    tables, varied = random_tables(seed), VARIED[seed % len(VARIED)]
    varied = {"contract_ends": "exclusive", **varied}
    return open_portfolio(tables, {"data_until": LAST, **varied}), Plain(tables, LAST, varied)


def check_panel(
    portfolio: Portfolio, slow: Plain, dates: list[dt.date], clients: list[str] | None = None
) -> int:
    rows = panel.panel(portfolio, dates, clients).to_dict("records")
    windows = {
        name: (metric.over_spans, metric.window_days) for name, metric in catalog.counted().items()
    }
    for row in rows:
        expected = plain.panel_row(slow, row["client_id"], row["date"].date(), windows)
        assert plain.differences(row, expected) == {}, (row["client_id"], row["date"])
    return len(rows)


@given(seed=SEEDS)
@settings(max_examples=8)
def test_the_panel_of_a_random_portfolio_equals_its_plain_recount(seed):
    portfolio, slow = both(seed)
    dice = random.Random(seed)
    dates = [FIRST + dt.timedelta(days=dice.randint(-5, DAYS - 1)) for _ in range(5)] + [LAST]
    lived = sum(slow.signup(client) <= date for client in slow.customers for date in set(dates))
    assert check_panel(portfolio, slow, dates) == lived


@given(seed=SEEDS)
@settings(max_examples=6)
def test_any_span_of_a_random_portfolio_equals_its_plain_recount(seed):
    portfolio, slow = both(seed)
    dice = random.Random(seed)
    frame = pd.DataFrame(
        [
            {
                "client_id": client,
                "span_id": k,
                "start": start,
                "end": start + dt.timedelta(days=dice.randint(1, 120)),
            }
            for client in slow.customers
            for k in range(6)
            for start in [FIRST + dt.timedelta(days=dice.randint(0, DAYS))]
        ]
    )
    for row in over(portfolio, frame, catalog.over_spans()).to_dict("records"):
        expected = {
            name: plain.metric(slow, name, row["client_id"], row["start"], row["end"])
            for name in catalog.over_spans()
        }
        assert plain.differences(row, expected) == {}, row


@given(seed=SEEDS)
@settings(max_examples=2)
def test_spans_by_user_and_by_feature_equal_their_plain_recount(seed):
    portfolio, slow = both(seed)
    frame = pd.DataFrame(
        [
            {
                "client_id": client,
                "span_id": k,
                "start": FIRST + dt.timedelta(days=31 * k),
                "end": FIRST + dt.timedelta(days=31 * k + 45),
            }
            for client in slow.customers
            for k in range(6)
        ]
    )
    for by, key in (("user", "user"), ("feature", "feature")):
        names = ["person_events", "active_days", "active_users"][: 3 if by == "feature" else 2]
        result = over(portfolio, frame, names, by=by)
        expected = {
            (row.client_id, row.span_id, word): figures
            for row in frame.itertuples()
            for word, figures in by_word(slow, row, key).items()
        }
        column = {"user": "user_id"}.get(by, by)
        given_rows = {
            (row["client_id"], row["span_id"], row[column]): [row[name] for name in names]
            for row in result.to_dict("records")
        }
        assert given_rows == {key: figures[: len(names)] for key, figures in expected.items()}


def by_word(slow: Plain, row, key: str) -> dict[str, list[int]]:
    events = slow.person(row.client_id, row.start, row.end)
    words = {getattr(event, key) for event in events} - {None}
    groups = {word: [event for event in events if getattr(event, key) == word] for word in words}
    return {
        word: [
            sum(event.count for event in group),
            len({event.day for event in group}),
            len(users_of(group)),
        ]
        for word, group in groups.items()
    }


def test_the_demo_portfolios_panel_equals_its_plain_recount(demo):
    portfolio = Portfolio.open(demo)
    names = [
        name
        for name in (
            "customers",
            "events",
            "features",
            "entitlements",
            "users",
            "tickets",
            "surveys",
            "invoices",
            "contracts",
            "arr_changes",
            "customer_changes",
            "stage_changes",
        )
    ]
    tables = {name: portfolio.table(name) for name in names if name != "events"}
    tables["events"] = pd.concat(
        [pd.read_parquet(path) for path in sorted((demo / "events").glob("*.parquet"))]
    )
    slow = Plain(tables, portfolio.data_until)
    # the plain recount knows no tracking gap, and no last day that is not whole west of Greenwich: no window of these
    # days touches them
    (gap,) = portfolio.extent.gaps
    dates = [*(portfolio.data_until - days * DAY for days in (1, 97)), gap - 10 * DAY]
    assert check_panel(portfolio, slow, dates) > 24
