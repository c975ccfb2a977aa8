"""The pages of segments and of value tiers: every section shows itself on any portfolio, and no name is read as markup."""

from __future__ import annotations

import pandas as pd
import pytest

from healthseg.charts import theme
from healthseg.reports.pages import page_spec
from healthseg.reports.render import ReportPage
from healthseg.testing import tiny_portfolio
from healthseg.tools import (
    portfolio_segments,
    portfolio_tiers,
    segment_by_value_tier,
    segment_customers,
)
from tests.reports import figure_check

SEGMENTS, TIERS = "segment_customers", "segment_by_value_tier"
EVIL = "<script>alert(1)</script>"
RULES = {"rules": [{"name": "<b>Old", "when": "tenure_days > 30"}]}


@pytest.fixture(scope="module")
def portfolio():
    customers = pd.DataFrame(
        {
            "client_id": ["a", "b", "c"],
            "name": [EVIL, "B", "C"],
            "signup_date": "2023-01-01",
            "industry": [EVIL, "x", None],
            "arr": [20_000, 300_000, None],
            "seats": [2, 4, 3],
            "currency": "EUR",
        }
    )
    days = [f"2025-0{month}-{day:02d} 09:00:00" for month in (1, 2, 3) for day in range(1, 29)]
    return tiny_portfolio(
        [(client, day, "u1", "plan") for client in "abc" for day in days], customers
    )


def page_of(tool, response, portfolio, whole=False):
    page = ReportPage(page_spec(tool, portfolio=whole), response, portfolio)
    assert figure_check.faults(page) == []
    return figure_check.markup_of(page) + page.footer().markup


def section_of(tool, response, portfolio, name, whole=False):
    page = ReportPage(page_spec(tool, portfolio=whole), response, portfolio)
    return page.section(name)._repr_mimebundle_()["text/html"]


@pytest.mark.parametrize("kind", ["value", "health", "usage", "industry", "lifecycle", "custom"])
def test_the_portfolios_page_of_segments_shows_all_its_sections(portfolio, kind):
    response = portfolio_segments(
        portfolio,
        segmentation_criteria=RULES if kind == "custom" else {},
        segment_type=kind,
        min_segment_size=1,
    )
    page = page_of(SEGMENTS, response, portfolio, whole=True)
    assert EVIL not in page and "<b>Old" not in page and page.count("<figure") >= 1


def test_a_customers_page_of_its_segment_shows_all_its_sections_and_no_markup_of_a_name(portfolio):
    for kind in ("value", "industry"):
        for client in ("a", "c"):
            response = segment_customers(portfolio, {}, kind, 1, client_id=client)
            page = page_of(SEGMENTS, response, portfolio)
            assert EVIL not in page and (client != "a" or "&lt;script&gt;" in page)
            title = page.partition("<h1>")[2].partition("</h1>")[0]
            assert title and "<a" not in title, "a page leads nowhere by its own title"
    plain = segment_customers(
        portfolio, {}, "value", 1, include_recommendations=False, client_id="a"
    )
    assert "Not requested" in section_of(SEGMENTS, plain, portfolio, "strategy")


def test_the_pages_of_groups_say_that_there_are_none(portfolio):
    response = segment_customers(
        portfolio, {"metrics": ["seats", "active_days_28d"]}, "custom", 1, client_id="a"
    )
    assert "No stable segments" in response.verdict() or "All customers" in response.verdict()
    assert "No stable segments" in section_of(
        SEGMENTS, response, portfolio, "stability", whole=True
    )
    assert page_of(SEGMENTS, response, portfolio)


def test_the_pages_of_tiers_show_all_their_sections(portfolio):
    whole = page_of(TIERS, portfolio_tiers(portfolio), portfolio, whole=True)
    assert EVIL not in whole and "Not placed" in whole
    for client in ("a", "b", "c"):
        response = segment_by_value_tier(portfolio, client_id=client)
        assert EVIL not in page_of(TIERS, response, portfolio)
    assert "No ARR is known" in section_of(
        TIERS, segment_by_value_tier(portfolio, client_id="c"), portfolio, "place"
    )


def test_charts_are_drawn_or_say_why_not(portfolio):
    responses = (
        segment_customers(portfolio, {}, "value", 1, client_id="a"),
        segment_by_value_tier(portfolio, client_id="b"),
        segment_customers(portfolio, {}, "industry", 1),
    )
    for response in responses:
        for name, chart in response.charts().items():
            assert theme.svg(chart).startswith("<svg"), name
