"""The pages of feature adoption: every section shows itself, on any portfolio, and nothing of a name is read as markup."""

from __future__ import annotations

import pandas as pd
import pytest

from healthseg.charts import theme
from healthseg.reports.pages import adoption as adoption_page
from healthseg.reports.pages import adoption_portfolio as adoption_portfolio_page
from healthseg.testing import tiny_portfolio
from healthseg.tools import portfolio_adoption, track_feature_adoption

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def portfolio():
    signups = ["2024-01-01", "2025-01-20"]
    customers = pd.DataFrame({"client_id": ["a", "b"], "name": [EVIL, "B"], "signup_date": signups})
    days = [f"2025-0{month}-{day:02d} 09:00:00" for month in (1, 2, 3) for day in range(1, 29)]
    events = [
        *(("a", day, "u1", "search") for day in days),
        *(("b", day, "u2", EVIL) for day in days[30:]),
    ]
    return tiny_portfolio(events, customers)


def test_a_customers_page_shows_all_its_sections_and_no_markup_of_a_name(portfolio):
    response = track_feature_adoption(portfolio, "a")
    names = ("opening", "used", "depth", "next_ones", "fast", "method")
    pieces = [getattr(adoption_page, name)(response) for name in names]
    page = "".join(piece.markup for piece in [*pieces, adoption_page.footer(response, portfolio)])
    assert EVIL not in page and "&lt;script&gt;" in page and page.count("<figure") >= 1
    assert pieces[0].facts["title"] and pieces[0].facts["verdict"]


def test_the_portfolios_page_shows_all_its_sections(portfolio):
    response = portfolio_adoption(portfolio)
    names = [
        name for name in adoption_portfolio_page.__all__ if name not in ("footer", "open_portfolio")
    ]
    page = "".join(getattr(adoption_portfolio_page, name)(response).markup for name in names)
    assert EVIL not in page and "customers whose first 90 days were tracked" in page


def test_charts_are_drawn_or_say_why_not(portfolio):
    for response in (track_feature_adoption(portfolio, "b"), portfolio_adoption(portfolio)):
        for name, chart in response.charts().items():
            assert theme.svg(chart).startswith("<svg"), name
    effects = portfolio_adoption(portfolio).charts()["effects"]
    assert theme.is_empty(effects) and "Too few" in effects.usermeta["reason"]
