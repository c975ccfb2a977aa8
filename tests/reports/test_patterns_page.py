"""The pages of engagement patterns: every section shows itself on any portfolio; nothing of a name is read as markup."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from healthseg.charts import patterns as charts
from healthseg.charts import theme
from healthseg.reports.pages import page_spec
from healthseg.reports.render import ReportPage
from healthseg.testing import tiny_portfolio
from healthseg.tools import analyze_engagement_patterns, portfolio_patterns
from tests.reports import figure_check

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


@pytest.mark.slow
def test_a_customers_page_shows_all_its_sections_and_no_markup_of_a_name(portfolio):
    response = analyze_engagement_patterns(
        portfolio, "single_customer", client_id="a", analysis_period_days=28
    )
    shown = ReportPage(page_spec("analyze_engagement_patterns"), response, portfolio)
    page = figure_check.markup_of(shown) + shown.footer().markup
    assert figure_check.faults(shown) == []
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "What precedes churn: not measured" in page and shown.opening().facts["verdict"]


def test_the_portfolios_page_shows_all_its_sections_and_says_what_is_not_measured(portfolio):
    response = portfolio_patterns(portfolio, analysis_period_days=28)
    spec = page_spec("analyze_engagement_patterns", portfolio=True)
    page = figure_check.markup_of(ReportPage(spec, response, portfolio))
    assert figure_check.faults(ReportPage(spec, response, portfolio)) == []
    assert "<script>" not in page and "20 are needed" in page
    assert "Call at once" not in page  # advice goes with signs that are significant
    assert "there is no messages table" in page.lower() and "There is no tickets table" in page


def test_charts_of_a_response_are_drawn_or_say_why_not(portfolio):
    response = portfolio_patterns(portfolio, analysis_period_days=28)
    for name, chart in response.charts().items():
        assert theme.svg(chart).startswith("<svg"), name
    assert theme.is_empty(response.charts()["risk"])


def test_charts_of_patterns_draw_what_they_are_given():
    frame = pd.DataFrame(
        {
            "name": ["Reports with exports", EVIL],
            "type": ["feature_usage", "risk"],
            "support": [30, 40],
            "n": [90, 200],
            "lift": [2.0, 0.2],
            "lift_lower": [1.5, 0.0],
            "lift_upper": [2.6, 0.4],
            "q": 0.001,
            "confidence": 1.0,
        }
    )
    risk = pd.DataFrame(
        {
            "pattern": ["Idle seats"],
            "probability_of_churn": [0.3],
            "probability_lower": [0.2],
            "probability_upper": [0.4],
            "base_rate": [np.nan],
            "n": [40],
        }
    )
    lead = pd.DataFrame(
        {
            "sign": "Idle seats",
            "lead_days": [7, 14],
            "churned": [0.5, 0.4],
            "n": 30,
            "retained": 0.1,
            "gap": [0.4, 0.3],
        }
    )
    steps = pd.DataFrame(
        {"sequence": "a → b", "step": 1, "first": "a", "second": "b", "days": [10.0, 20.0, 30.0]}
    )
    people = pd.DataFrame(
        {"persona": "Reports users", "feature": ["reports"], "factor": [2.0], "percentage": [40.0]}
    )
    drawn = [
        charts.lifts(frame),
        charts.risks(risk),
        charts.leads(lead),
        charts.gaps(steps),
        charts.personas(people),
    ]
    assert all(theme.svg(chart).startswith("<svg") and not theme.is_empty(chart) for chart in drawn)
    assert "<script>" not in theme.svg(drawn[0]) and "Reports with exports" in theme.svg(drawn[0])
