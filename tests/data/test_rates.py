"""Rates of currencies: one day for all rows, or each row's own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from healthseg.data.rates import rates


@pytest.mark.parametrize("reporting", ["EUR", None, "USD"])
def test_a_rate_on_one_day_is_that_of_each_row_on_its_own_day(reporting):
    days = np.random.default_rng(0).integers(0, 60, 90)
    fx = pd.DataFrame(
        {
            "currency": ["CHF", "NOK", "USD"] * 30,
            "on": pd.Timestamp("2025-01-01") + pd.to_timedelta(days, "D"),
            "rate_to_book": np.linspace(0.5, 2, 90),
        }
    )
    own = pd.Series(["CHF", "EUR", None, "ZZZ", "NOK"], dtype=object)
    for day in (20_000, 20_095, 20_120, 20_200):
        each = rates(fx, reporting).at(own, pd.Series(day, index=own.index))
        pd.testing.assert_series_equal(
            rates(fx, reporting).at(own, day), each, check_exact=True, check_names=False
        )
