"""``[formats]`` of portfolio.toml says how numbers and dates in text are read."""

from __future__ import annotations

import pandas as pd

from healthseg.data.portfolio import Portfolio


def test_a_portfolio_says_how_its_numbers_and_dates_are_read(tmp_path):
    rows = "client_id,signup_date,arr\nc1,03/04/2025,12.500\nc2,05/06/2025,7.250\n"
    (tmp_path / "customers.csv").write_text(rows)
    toml = '[formats]\nnumbers = "1.234,56"\ncustomers.signup_date = "day first"\n'
    (tmp_path / "portfolio.toml").write_text(toml)
    frame = Portfolio.open(tmp_path).table("customers")
    assert frame["arr"].tolist() == [12500, 7250]
    assert frame["signup_date"].tolist() == [pd.Timestamp("2025-04-03"), pd.Timestamp("2025-06-05")]
