"""The pages of milestones: every section shows itself, on any portfolio, and nothing of a name is read as markup."""

from __future__ import annotations

import pandas as pd
import pytest

from healthseg.charts import theme
from healthseg.reports.pages import milestones as customer_page
from healthseg.reports.pages import milestones_portfolio as portfolio_page
from healthseg.testing import tiny_portfolio
from healthseg.tools import portfolio_milestones, track_adoption_milestones

EVIL = "<script>alert(1)</script>"
SECTIONS = ("opening", "how_far", "blocks", "act", "when", "value", "method")


def made(**tables):
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
    return made(milestones=plan, milestone_progress=done)


def test_a_customers_page_shows_all_its_sections_and_no_markup_of_a_name(portfolio):
    response = track_adoption_milestones(portfolio, "a")
    pieces = [getattr(customer_page, name)(response) for name in SECTIONS]
    page = "".join(piece.markup for piece in [*pieces, customer_page.footer(response, portfolio)])
    assert EVIL not in page and "&lt;script&gt;" in page and page.count("<figure") >= 2
    assert "overdue by" in page and "1 blocked" in page and pieces[0].facts["verdict"]


def test_the_portfolios_page_shows_all_its_sections(portfolio):
    response = portfolio_milestones(portfolio)
    names = [name for name in portfolio_page.__all__ if name not in ("footer", "open_portfolio")]
    page = "".join(getattr(portfolio_page, name)(response).markup for name in names)
    assert EVIL not in page and "Most are overdue at" in page and page.count("<figure") >= 2


def test_charts_are_drawn_at_both_widths_or_say_why_not(portfolio):
    for response in (track_adoption_milestones(portfolio, "b"), portfolio_milestones(portfolio)):
        for width in (theme.WIDE, theme.NARROW):
            for name, chart in response.charts(width).items():
                assert theme.svg(chart).startswith("<svg"), name
    slower = portfolio_milestones(portfolio).charts()["slower"]
    assert theme.is_empty(slower) and "Too few" in slower.usermeta["reason"]


def test_a_portfolio_without_milestones_has_pages_that_say_so():
    plain = made()
    response, whole = track_adoption_milestones(plain, "a"), portfolio_milestones(plain)
    page = "".join(getattr(customer_page, name)(response).markup for name in SECTIONS)
    assert (
        page.count("the portfolio has no milestones table") >= 1
        or page.count("The portfolio has no milestones table") >= 1
    )
    names = [name for name in portfolio_page.__all__ if name not in ("footer", "open_portfolio")]
    assert "not measured" in "".join(getattr(portfolio_page, name)(whole).markup for name in names)
