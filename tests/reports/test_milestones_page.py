"""The pages of milestones: every section shows itself, on any portfolio, and nothing of a name is read as markup."""

from __future__ import annotations

import pandas as pd
import pytest

from healthseg.charts import theme
from healthseg.reports.pages import page_spec
from healthseg.reports.render import ReportPage
from healthseg.testing import tiny_portfolio
from healthseg.tools import portfolio_milestones, track_adoption_milestones
from tests.reports import figure_check

EVIL = "<script>alert(1)</script>"
TOOL = "track_adoption_milestones"


def opened(**tables):
    signups = ["2025-01-20", "2025-02-01"]
    customers = pd.DataFrame({"client_id": ["a", "b"], "name": [EVIL, "B"], "signup_date": signups})
    days = pd.date_range("2025-01-20", "2025-04-30", freq="3D").strftime("%Y-%m-%d 09:00:00")
    return tiny_portfolio(
        [(client, day, f"{client}1", "search") for client in "ab" for day in days],
        customers,
        **tables,
    )


@pytest.fixture(scope="module")
def portfolio():
    plan = pd.DataFrame(
        [
            ("kick", EVIL, "onboarding", 10, True, None, None),
            ("use", "In use", "adoption", 60, True, "kick", '{"feature": "search", "users": 3}'),
            ("more", "More", "expansion", 200, False, None, None),
        ],
        columns=[
            "milestone_id",
            "name",
            "category",
            "target_days",
            "required",
            "depends_on",
            "completes_when",
        ],
    )
    done = pd.DataFrame(
        {
            "client_id": ["a", "b"],
            "milestone_id": "kick",
            "started_at": "2025-02-02",
            "blocker": [EVIL, None],
            "blocked_since": ["2025-02-04", None],
            "owner": [EVIL, None],
            "completed_at": [None, "2025-02-06"],
        }
    )
    return opened(milestones=plan, milestone_progress=done)


def test_a_customers_page_shows_all_its_sections_and_no_markup_of_a_name(portfolio):
    response = track_adoption_milestones(portfolio, "a")
    shown = ReportPage(page_spec(TOOL), response, portfolio)
    page = figure_check.markup_of(shown) + shown.footer().markup
    assert figure_check.faults(shown) == []
    assert EVIL not in page and "&lt;script&gt;" in page and page.count("<figure") >= 2
    assert "overdue by" in page and shown.opening().facts["verdict"]
    assert "1 blocked" in shown.section("late").lead.text


def test_what_a_late_milestone_waits_for_is_named(portfolio):
    """Of b nothing waits: kick is completed."""
    for client, waits in (("a", True), ("b", False)):
        page = ReportPage(page_spec(TOOL), track_adoption_milestones(portfolio, client), portfolio)
        late = page.section("late")._repr_mimebundle_()["text/html"]
        assert "In use" in late and ("waits for" in late) == waits


def test_the_portfolios_page_shows_all_its_sections(portfolio):
    response = portfolio_milestones(portfolio)
    shown = ReportPage(page_spec(TOOL, portfolio=True), response, portfolio)
    page = figure_check.markup_of(shown)
    assert figure_check.faults(shown) == []
    assert EVIL not in page and "Most are overdue at" in page and page.count("<figure") >= 2


def test_charts_are_drawn_or_say_why_not(portfolio):
    for response in (track_adoption_milestones(portfolio, "b"), portfolio_milestones(portfolio)):
        for name, chart in response.charts().items():
            assert theme.svg(chart).startswith("<svg"), name
    slower = portfolio_milestones(portfolio).charts()["slower"]
    assert theme.is_empty(slower) and "Too few" in slower.usermeta["reason"]


def test_a_portfolio_without_milestones_has_pages_that_say_so():
    plain = opened()
    response, whole = track_adoption_milestones(plain, "a"), portfolio_milestones(plain)
    page = figure_check.markup_of(ReportPage(page_spec(TOOL), response, plain))
    assert (
        page.count("the portfolio has no milestones table") >= 1
        or page.count("The portfolio has no milestones table") >= 1
    )
    shown = ReportPage(page_spec(TOOL, portfolio=True), whole, plain)
    assert "not measured" in figure_check.markup_of(shown)
