"""What must hold in any portfolio: subsets, order, formats, sums, bounds, and the store."""

from __future__ import annotations

import datetime as dt
import functools
import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthseg.data.portfolio import Portfolio
from healthseg.metrics import catalog
from healthseg.metrics.panels import build, panel
from healthseg.metrics.spans import over
from healthseg.settings import DEFAULT_SCORECARD
from tests.metrics.portfolios import DAYS, FIRST, open_portfolio, random_tables, reopened

pytestmark = pytest.mark.slow

LAST = FIRST + dt.timedelta(days=DAYS - 1)
SEEDS = st.sampled_from(range(5))
ADDITIVE = [
    "person_events",
    "api_events",
    "active_days",
    "sessions",
    "tickets_opened",
    "csat_responses",
]
SHARES = [
    "stickiness",
    "feature_adoption_rate",
    "top_user_share",
    "champion_share",
    "champion_departed",
    "paid_on_time_share",
]


@functools.cache
def portfolio_of(seed: int) -> Portfolio:
    return open_portfolio(random_tables(seed), {"data_until": LAST})


@functools.cache
def demo_panel(folder) -> tuple[Portfolio, pd.DataFrame]:
    portfolio = Portfolio.open(folder)
    return portfolio, build(
        portfolio, dates_of(portfolio), sorted(portfolio.table("customers")["client_id"])
    )


def dates_of(portfolio: Portfolio) -> list[dt.date]:
    return [portfolio.data_until - dt.timedelta(days=days) for days in (400, 101, 7, 0)]


def spans_of(seed: int, starts: list[int], length: int) -> pd.DataFrame:
    clients = portfolio_of(seed).table("customers")["client_id"]
    return pd.DataFrame(
        [
            {
                "client_id": client,
                "span_id": start,
                "start": FIRST + dt.timedelta(days=start),
                "end": FIRST + dt.timedelta(days=start + length),
            }
            for client in clients
            for start in starts
        ]
    )


@given(data=st.data())
@settings(max_examples=5)
def test_any_subset_of_customers_has_the_same_bits_as_the_whole_portfolio(demo, data):
    portfolio, whole = demo_panel(demo)
    some = data.draw(
        st.lists(st.sampled_from(sorted(whole["client_id"].unique())), min_size=1, unique=True)
    )
    part = build(portfolio, dates_of(portfolio), some)
    expected = whole[whole["client_id"].isin(some)].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, expected, check_exact=True)
    pd.testing.assert_frame_equal(
        panel(portfolio, dates_of(portfolio), some), expected, check_exact=True
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_order_of_rows_and_columns_and_the_format_do_not_matter(kind):
    tables = random_tables(3)
    turned = {
        name: frame.sample(frac=1, random_state=5)[list(reversed(frame.columns))]
        for name, frame in tables.items()
    }
    turned = {
        name: frame.where(frame.isna(), frame.astype(str)) if kind == "parquet" else frame
        for name, frame in turned.items()
    }
    dates = [LAST - dt.timedelta(days=days) for days in (0, 50)]
    pd.testing.assert_frame_equal(
        panel(open_portfolio(turned, {"data_until": LAST}, kind), dates),
        panel(portfolio_of(3), dates),
        check_exact=True,
    )


@settings(max_examples=15)
@given(seed=SEEDS, start=st.integers(0, 180), cut=st.integers(1, 44))
def test_counts_of_consecutive_spans_add_up(seed, start, cut):
    spans = spans_of(seed, [start], 45)
    middle = FIRST + dt.timedelta(days=start + cut)
    whole, early, late = (
        over(portfolio_of(seed), each, ADDITIVE)[ADDITIVE]
        for each in (spans, spans.assign(end=middle), spans.assign(start=middle))
    )
    known = (early.notna() & late.notna()).to_numpy()
    assert (whole.to_numpy()[known] == (early + late).to_numpy()[known]).all()


@settings(max_examples=15)
@given(seed=SEEDS, start=st.integers(60, 180), cut=st.integers(1, 44))
def test_the_users_of_two_spans_are_no_fewer_than_of_either_and_no_more_than_of_both(
    seed, start, cut
):
    spans, names = spans_of(seed, [start], 45), ["active_users", "unique_features_used"]
    middle = FIRST + dt.timedelta(days=start + cut)
    whole, early, late = (
        over(portfolio_of(seed), each, names)[names].to_numpy()
        for each in (spans, spans.assign(end=middle), spans.assign(start=middle))
    )
    known = ~np.isnan(early) & ~np.isnan(late)
    assert (whole >= np.fmax(early, late))[known].all() and (whole <= early + late)[known].all()


@settings(max_examples=15)
@given(seed=SEEDS, start=st.integers(0, 200), length=st.integers(1, 100))
def test_shares_lie_between_zero_and_one_and_counts_are_whole(seed, start, length):
    rows = over(portfolio_of(seed), spans_of(seed, [start], length), catalog.over_spans())
    shares = rows[SHARES].to_numpy()
    assert ((shares >= 0) & (shares <= 1) | np.isnan(shares)).all()
    counts = rows[
        [
            name
            for name, each in catalog.over_spans().items()
            if each.unit in ("events", "days", "users", "tickets", "features")
        ]
    ]
    counts = counts.drop(columns="daily_active_users").to_numpy()
    assert ((counts >= 0) & (counts == np.floor(counts)) | np.isnan(counts)).all()


@given(seed=SEEDS)
@settings(max_examples=5)
def test_users_and_features_add_up_to_the_customer(seed):
    spans = spans_of(seed, [70, 120], 40)
    whole = over(portfolio_of(seed), spans, ["person_events", "active_users"]).set_index(
        ["client_id", "span_id"]
    )
    users = over(portfolio_of(seed), spans, ["person_events"], by="user").groupby(
        ["client_id", "span_id"]
    )["person_events"]
    shared = users.count().reindex(whole.index, fill_value=0)
    measured = whole["active_users"].notna()
    assert (shared[measured] == whole.loc[measured, "active_users"]).all()
    assert (
        users.sum().reindex(whole.index, fill_value=0)[measured]
        <= whole.loc[measured, "person_events"]
    ).all()


def test_spans_in_any_order_come_back_in_order_of_customer_and_span():
    spans = spans_of(1, [100, 120, 140], 30)
    mixed = spans.sample(frac=1, random_state=2)
    pd.testing.assert_frame_equal(
        over(portfolio_of(1), mixed, iter(catalog.over_spans())),
        over(portfolio_of(1), spans, list(catalog.over_spans())),
    )


# -- the store ------------------------------------------------------------------------------


def counted_and_read(tables: dict[str, pd.DataFrame], dates: list[dt.date]) -> pd.DataFrame:
    portfolio = open_portfolio(tables, {"data_until": LAST})
    counted = panel(portfolio, dates)
    read = panel(reopened(portfolio.path, {"data_until": LAST}), dates)
    pd.testing.assert_frame_equal(read, counted, check_exact=True)
    return counted


@pytest.mark.parametrize("seed", [2, 4])
def test_a_row_read_from_the_store_is_the_row_that_was_counted(seed):
    assert len(counted_and_read(random_tables(seed), [LAST, LAST - dt.timedelta(days=99)]))


def test_dates_on_which_nobody_had_signed_up_are_kept_as_well():
    tables = random_tables(2)
    tables["customers"] = tables["customers"].assign(signup_date=str(LAST))
    early = [FIRST, FIRST + dt.timedelta(days=9)]
    assert len(counted_and_read(tables, early)) == 0
    assert (counted_and_read(tables, [*early, LAST])["date"] == pd.Timestamp(LAST)).all()


def test_an_empty_table_and_a_single_customer_are_kept_as_well():
    tables = {
        name: frame for name, frame in random_tables(2).items() if name in ("customers", "events")
    }
    tables["customers"] = tables["customers"].iloc[:1]
    tables["tickets"] = pd.DataFrame(columns=["ticket_id", "client_id", "opened_at"])
    assert len(counted_and_read(tables, [LAST])) == 1


def panel_files(portfolio: Portfolio) -> dict[str, int]:
    return {
        path.name: path.stat().st_mtime_ns for path in portfolio.cache.folder.glob("panel_rows-*")
    }


def test_a_setting_that_counts_makes_other_rows_and_one_that_judges_makes_none():
    portfolio, dates = (
        portfolio_of(4),
        [LAST - dt.timedelta(days=days) for days in range(0, 160, 20)],
    )
    first = panel(portfolio, dates)
    before = panel_files(portfolio)
    card = {"components": {"usage": DEFAULT_SCORECARD.components["usage"].model_dump()}}
    judged = panel(
        reopened(portfolio.path, {"data_until": LAST, "scorecard": card, "ramp_days": 10}),
        dates,
    )
    assert panel_files(portfolio) == before
    pd.testing.assert_frame_equal(judged, first, check_exact=True)
    counted = panel(
        reopened(
            portfolio.path, {"data_until": LAST, "adopted_min_days": 1, "session_gap_minutes": 600}
        ),
        dates,
    )
    assert len(panel_files(portfolio)) == len(before) + len(dates)
    assert not counted.equals(first)


def test_a_date_that_was_counted_once_is_not_counted_again():
    portfolio, dates = portfolio_of(0), [LAST - dt.timedelta(days=days) for days in (10, 20, 30)]
    panel(portfolio, dates[:2])
    before = panel_files(portfolio)
    again = panel(reopened(portfolio.path, {"data_until": LAST}), dates)
    assert (
        before.items() <= panel_files(portfolio).items()
        and len(panel_files(portfolio)) == len(before) + 1
    )
    one_by_one = [panel(portfolio, [date]) for date in dates]
    pieces = [rows for rows in itertools.chain(one_by_one) if len(rows)]
    joined = pd.concat(pieces).sort_values(["client_id", "date"], ignore_index=True)
    pd.testing.assert_frame_equal(again, joined, check_exact=True)
