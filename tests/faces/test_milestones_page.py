"""The pages of milestones: every section shows itself, on any book, and nothing of a name is read as markup."""

from __future__ import annotations

import pandas as pd
import pytest

from healthseg.charts import theme
from healthseg.faces.pages import milestones as customer_page
from healthseg.faces.pages import milestones_book as book_page
from healthseg.testing import tiny_book
from healthseg.tools import track_adoption_milestones, track_adoption_milestones_book

EVIL = "<script>alert(1)</script>"
SECTIONS = ("opening", "how_far", "blocks", "act", "when", "value", "method")


def made(**tables):
    signups = ["2025-01-20", "2025-02-01"]
    customers = pd.DataFrame({"client_id": ["a", "b"], "name": [EVIL, "B"], "signup_date": signups})
    days = pd.date_range("2025-01-20", "2025-04-30", freq="3D").strftime("%Y-%m-%d 09:00:00")
    return tiny_book(
        [(client, day, f"{client}1", "search") for client in "ab" for day in days],
        customers,
        **tables,
    )


@pytest.fixture(scope="module")
def book():
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


def test_a_customers_page_shows_all_its_sections_and_no_markup_of_a_name(book):
    reply = track_adoption_milestones(book, "a")
    pieces = [getattr(customer_page, name)(reply) for name in SECTIONS]
    page = "".join(piece.markup for piece in [*pieces, customer_page.footer(reply, book)])
    assert EVIL not in page and "&lt;script&gt;" in page and page.count("<figure") >= 2
    assert "overdue by" in page and "1 blocked" in page and pieces[0].facts["verdict"]


def test_the_books_page_shows_all_its_sections(book):
    reply = track_adoption_milestones_book(book)
    names = [name for name in book_page.__all__ if name not in ("footer", "open_book")]
    page = "".join(getattr(book_page, name)(reply).markup for name in names)
    assert EVIL not in page and "Most are overdue at" in page and page.count("<figure") >= 2


def test_charts_are_drawn_at_both_widths_or_say_why_not(book):
    for reply in (track_adoption_milestones(book, "b"), track_adoption_milestones_book(book)):
        for width in (theme.WIDE, theme.NARROW):
            for name, chart in reply.charts(width).items():
                assert theme.svg(chart).startswith("<svg"), name
    slower = track_adoption_milestones_book(book).charts()["slower"]
    assert theme.is_empty(slower) and "Too few" in slower.usermeta["reason"]


def test_a_book_without_milestones_has_pages_that_say_so():
    plain = made()
    reply, whole = track_adoption_milestones(plain, "a"), track_adoption_milestones_book(plain)
    page = "".join(getattr(customer_page, name)(reply).markup for name in SECTIONS)
    assert (
        page.count("the book has no milestones table") >= 1
        or page.count("The book has no milestones table") >= 1
    )
    names = [name for name in book_page.__all__ if name not in ("footer", "open_book")]
    assert "not measured" in "".join(getattr(book_page, name)(whole).markup for name in names)
