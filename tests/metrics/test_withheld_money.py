"""What cannot be read of contracts and changes is unknown: no ARR, no seats, no renewal, and the reason says why."""

from __future__ import annotations

import pandas as pd
import pytest

from healthseg.data.portfolio import Portfolio
from healthseg.tools.health.words import why_missing
from tests.metrics.test_contracts import LAST, frame, on, portfolio_of

FIGURES = ("arr", "seats", "days_to_renewal", "renewal_day")
CONTRACTS = frame(
    "client_id starts_on ends_on arr seats",
    *((name, "2025-01-01", "2025-12-31", "100", 10) for name in "abcdefgh"),
    ("bad", "2025-01-01", "2025-12-31", "100", 10),
    ("bad", "2025-03-01", "2025-12-31", "a lot", 10),
    ("unread", "2024-01-01", "next year", "100", 10),
    ("sentinel", "2024-01-01", "9999-12-31", "100", 10),
    ("gone", "2025-01-01", "2025-12-31", "100", 10),
    ("left", "2025-01-01", "2025-12-31", "100", 10),
)


@pytest.fixture(scope="module")
def portfolio() -> Portfolio:
    churned = {"gone": "some day", "left": "2025-06-01"}
    customers = frame(
        "client_id signup_date churned_on arr seats",
        *(
            (name, "2024-01-01", churned.get(name), 500, 50)
            for name in CONTRACTS["client_id"].unique()
        ),
        ("pulse", "2022-01-01", None, None, None),
    )
    return portfolio_of(customers=customers, contracts=CONTRACTS)


@pytest.mark.parametrize("client", ["bad", "unread"])
def test_figures_of_contracts_that_cannot_be_read_are_withheld_with_the_reason(portfolio, client):
    row = on(portfolio, client, str(LAST))
    assert all(pd.isna(row[name]) for name in FIGURES)
    reason = why_missing("arr", "unmeasured", lambda name: portfolio.absence(name, client))
    assert reason.startswith("contracts: withheld")
    assert pd.isna(row["uncontracted_days"])


def test_a_date_that_means_no_date_is_an_open_contract(portfolio):
    row = on(portfolio, "sentinel", str(LAST))
    assert (row["arr"], row["seats"]) == (100, 10)
    assert [on(portfolio, "a", str(LAST))[name] for name in FIGURES[:3]] == [100, 10, 61]


def test_a_day_of_churn_that_cannot_be_read_leaves_no_arr(portfolio):
    assert pd.isna(on(portfolio, "gone", str(LAST))["arr"])
    assert on(portfolio, "left", str(LAST))["arr"] == 0


@pytest.mark.parametrize("table", ["arr_changes", "customer_changes"])
def test_changes_that_cannot_be_read_withhold_the_arr_too(table):
    rows = {
        "arr_changes": frame(
            "client_id effective_on arr",
            *((name, "2025-01-01", "100") for name in "abcdefgh"),
            ("bad", "2025-01-01", "100"),
            ("bad", "in March", "50"),
        ),
        "customer_changes": frame(
            "client_id field value effective_on",
            *((name, "arr", "100", "2025-01-01") for name in "abcdefgh"),
            ("bad", "arr", "100", "2025-01-01"),
            ("bad", "arr", "50", "in March"),
        ),
    }
    changed = portfolio_of(**{table: rows[table]})
    assert pd.isna(on(changed, "bad", str(LAST))["arr"])
    assert on(changed, "a", str(LAST))["arr"] == 100


def test_the_last_update_says_when_a_statement_was_recorded():
    changes = frame(
        "client_id effective_on arr updated_at",
        ("z", "2025-01-01", 100, "2025-01-01"),
        ("z", "2025-02-01", 70, "2025-09-01"),
        ("y", "2025-02-01", 10, "2025-03-01"),
        ("y", "2025-02-01", 20, "2025-02-02"),
    )
    corrected = portfolio_of(arr_changes=changes)
    days = ("2025-02-01", "2025-08-31", "2025-09-01")
    assert [on(corrected, "z", day)["arr"] for day in days] == [100, 100, 70]
    assert [on(corrected, "y", day)["arr"] for day in ("2025-02-03", "2025-03-01")] == [20, 10]
