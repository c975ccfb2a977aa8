"""Expansion potential: from seats, list prices and peers of one plan and tier, at most what comparable customers did."""

from __future__ import annotations

import pandas as pd
import pytest

import healthseg as hs
from healthseg.testing import tiny_portfolio

CLIENTS = [f"k{at:02d}" for at in range(10)]


@pytest.fixture(scope="module")
def portfolio():
    """Ten customers of one plan and tier whose ARR rose by 0, 2, … 18 percent in a year; k00 uses 6 of its 4 seats."""
    events = [
        (client, f"{day:%Y-%m-%d} 09:00:00", f"u{user}")
        for client in CLIENTS
        for day in pd.date_range("2024-03-01", "2025-03-30", freq="3D")
        for user in range(6 if client == "k00" else 2)
    ]
    contracts = pd.DataFrame(
        [
            (client, start, end, arr, 4, "team", 2_000 if client == "k00" else None)
            for at, client in enumerate(CLIENTS)
            for start, end, arr in (
                ("2024-01-01", "2025-01-01", 1_000),
                ("2025-01-01", "2026-01-01", 1_000 + 20 * at),
            )
        ],
        columns=["client_id", "starts_on", "ends_on", "arr", "seats", "plan", "list_price"],
    )
    customers = pd.DataFrame({"client_id": [*CLIENTS, "lone"], "signup_date": "2023-01-01"})
    lone = pd.DataFrame(
        [("lone", "2024-01-01", "2026-01-01", 900_000, 1, "team")],
        columns=["client_id", "starts_on", "ends_on", "arr", "seats", "plan"],
    )
    events += [
        ("lone", f"2025-03-{day:02d} 09:00:00", f"u{user}") for day in range(1, 31) for user in "ab"
    ]
    return tiny_portfolio(events, customers, contracts=pd.concat([contracts, lone]))


def test_a_potential_is_capped_by_what_comparable_customers_did(portfolio):
    customer = hs.segment_by_value_tier(portfolio).customer("k00")
    assert customer.from_seats == pytest.approx(
        2 * 2_000 / 4, rel=0.2
    )  # two seats at the list price
    assert customer.potential == pytest.approx(1_000 * 0.162)  # the 0.9 quantile of 0, .02 … .18


def test_a_customer_without_comparable_ones_has_no_potential_and_one_that_needs_nothing_has_zero(
    portfolio,
):
    result = hs.segment_by_value_tier(portfolio)
    lone, idle = result.customer("lone"), result.customer("k05")
    assert lone.from_seats > 0 and lone.potential is None
    assert idle.potential == 0
    assert (
        "too few comparable customers"
        in result.with_part("customer_standing", lone).not_measured["$.customer_standing.potential"]
    )
