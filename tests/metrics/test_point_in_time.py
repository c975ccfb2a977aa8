"""A date's row never changes: not by later rows, not by later values, not by an overwritten today."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthseg.data.portfolio import Portfolio
from healthseg.data.tables import SNAPSHOT, STATIC, TABLES, TableContract
from healthseg.metrics.panels import build, panel
from tests.metrics.plain import missing
from tests.metrics.plain_usage import Plain
from tests.metrics.portfolios import DAYS, FIRST, open_portfolio, random_tables

pytestmark = pytest.mark.slow

LAST = FIRST + dt.timedelta(days=DAYS - 1)


def cut(tables: dict[str, pd.DataFrame], day: dt.date) -> dict[str, pd.DataFrame]:
    """The portfolio as it stood at the end of ``day``: by the contract's ``known_from``, today's values being others."""
    days = Plain(tables, day)
    return {name: _cut(TABLES[name], frame, day, days) for name, frame in tables.items()}


def _cut(table: TableContract, frame: pd.DataFrame, day: dt.date, days: Plain) -> pd.DataFrame:
    own = next(column.known_from for column in table.columns if column.required)
    rows = []
    for given_row in frame.astype(object).to_dict("records"):
        row = {name: None if missing(value) else value for name, value in given_row.items()}
        if _known(table, row, own, day, days):
            rows.append(
                {
                    name: value if _holds(table, row, name, own, day, days) else None
                    for name, value in row.items()
                }
            )
    return pd.DataFrame(rows, columns=frame.columns, dtype=object)


def _holds(
    table: TableContract, row: dict, name: str, own: tuple[str, ...], day: dt.date, days: Plain
) -> bool:
    known_from = table.column(name).known_from
    if known_from == SNAPSHOT:
        return False
    return known_from == own or _known(table, row, known_from, day, days)


def _known(
    table: TableContract, row: dict, known_from: tuple[str, ...], day: dt.date, days: Plain
) -> bool:
    """Whether the first of the columns that has a value lies on or before ``day``."""
    for name in known_from:
        if (name,) == STATIC:
            return True
        if row.get(name) is not None:
            is_instant = table.column(name).kind == "timestamp"
            return (
                days.day(row["client_id"], row[name]) if is_instant else days.date(row[name])
            ) <= day
    return False


def same_rows(full: Portfolio, part: Portfolio, day: dt.date) -> int:
    expected = build(full, [day], sorted(full.table("customers")["client_id"]))
    rebuilt = build(part, [day], sorted(part.table("customers")["client_id"]))
    pd.testing.assert_frame_equal(rebuilt, expected, check_exact=True)
    return len(expected)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=4)
def test_what_comes_later_changes_no_row_of_a_random_portfolio(seed):
    tables = random_tables(seed)
    day = FIRST + dt.timedelta(days=random.Random(seed).randint(150, DAYS - 2))
    assert same_rows(
        open_portfolio(tables, {"data_until": LAST}),
        open_portfolio(cut(tables, day), {"data_until": LAST}),
        day,
    )


@pytest.fixture(scope="module")
def demo_tables(demo: Path) -> dict[str, pd.DataFrame]:
    tables = {path.stem: pd.read_parquet(path) for path in sorted(demo.glob("*.parquet"))}
    return tables | {
        "events": pd.concat(
            [pd.read_parquet(path) for path in sorted((demo / "events").glob("*.parquet"))]
        )
    }


@pytest.mark.parametrize("days_back", [37, 260])
def test_what_comes_later_changes_no_row_of_the_demo_portfolio_but_the_rows_after_it(
    demo, demo_tables, days_back
):
    portfolio = Portfolio.open(demo)
    day = portfolio.data_until - dt.timedelta(days=days_back)
    earlier = open_portfolio(cut(demo_tables, day), {"data_until": portfolio.data_until})
    assert same_rows(portfolio, earlier, day) > 5
    with pytest.raises(AssertionError):
        same_rows(portfolio, earlier, day + dt.timedelta(days=30))


def test_the_panel_equals_the_drivers_that_the_demo_counted_by_itself(demo):
    truth = pd.read_parquet(demo / "truth" / "hazard.parquet")
    truth = truth[truth["at_risk"]].assign(
        date=lambda rows: pd.to_datetime(rows["step_start"]) - pd.Timedelta(days=1)
    )
    # the truth counts from the first day and the first answer on
    portfolio = Portfolio.open(demo, {"frequency_min_days": 1, "survey_min_answers": 1})
    # the truth's windows are days of the calendar: those that touch the tracking gap are another test's
    (gap,) = portfolio.extent.gaps
    after = (truth["date"] - pd.Timestamp(gap)).dt.days
    truth = truth[(after < -1) | (after > 120)].reset_index(drop=True)
    dates = [date.date() for date in sorted(truth["date"].unique())]
    rows = truth.merge(
        panel(portfolio, dates).astype({"client_id": object}),
        on=["client_id", "date"],
        how="left",
    )
    drivers = [name for name in truth if name.startswith("d_") and name[2:] in rows]
    assert len(truth) > 100 and len(drivers) >= 8
    for name in drivers:
        exact = name not in (
            "d_stickiness_30d",
        )  # a mean of ratios, held to the panel's whole trillionths
        np.testing.assert_allclose(
            rows[name[2:]].astype(float),
            rows[name].astype(float),
            rtol=0 if exact else 1e-9,
            atol=1e-12,
            err_msg=name,
        )
