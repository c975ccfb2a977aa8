"""The pages of feature adoption: every section shows itself, on any portfolio, and nothing of a name is read as markup."""

from __future__ import annotations

import pandas as pd
import pytest

from healthseg.charts import theme
from healthseg.reports.pages import page_spec
from healthseg.reports.render import ReportPage
from healthseg.testing import tiny_portfolio
from healthseg.tools import portfolio_adoption, track_feature_adoption
from tests.reports import figure_check

TOOL = "track_feature_adoption"
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
    shown = ReportPage(page_spec(TOOL), track_feature_adoption(portfolio, "a"), portfolio)
    page = figure_check.markup_of(shown) + shown.footer().markup
    assert EVIL not in page and "&lt;script&gt;" in page and page.count("<figure") >= 1
    facts = shown.opening().facts
    assert facts["title"] and facts["verdict"]
    assert shown.names == ["next_actions", "used", "depth", "next", "fast"]


def test_the_portfolios_page_shows_all_its_sections(portfolio):
    shown = ReportPage(page_spec(TOOL, portfolio=True), portfolio_adoption(portfolio), portfolio)
    page = figure_check.markup_of(shown)
    assert EVIL not in page and "customers whose first 90 days were tracked" in page
    sections = ["next_actions", "adoption", "fast", "funnel", "retention", "abandoned", "paths"]
    assert shown.names == sections


def test_charts_are_drawn_or_say_why_not(portfolio):
    for response in (track_feature_adoption(portfolio, "b"), portfolio_adoption(portfolio)):
        for name, chart in response.charts().items():
            assert theme.svg(chart).startswith("<svg"), name
    effects = portfolio_adoption(portfolio).charts()["effects"]
    assert theme.is_empty(effects) and "Too few" in effects.usermeta["reason"]
