"""The pages of feature adoption: every section shows itself, on any book, and nothing of a name is read as markup."""

from __future__ import annotations

import pandas as pd
import pytest

from healthseg.charts import theme
from healthseg.faces.pages import adoption as adoption_page
from healthseg.faces.pages import adoption_book as adoption_book_page
from healthseg.testing import tiny_book
from healthseg.tools import track_feature_adoption, track_feature_adoption_book

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def book():
    signups = ["2024-01-01", "2025-01-20"]
    customers = pd.DataFrame({"client_id": ["a", "b"], "name": [EVIL, "B"], "signup_date": signups})
    days = [f"2025-0{month}-{day:02d} 09:00:00" for month in (1, 2, 3) for day in range(1, 29)]
    events = [
        *(("a", day, "u1", "search") for day in days),
        *(("b", day, "u2", EVIL) for day in days[30:]),
    ]
    return tiny_book(events, customers)


def test_a_customers_page_shows_all_its_sections_and_no_markup_of_a_name(book):
    reply = track_feature_adoption(book, "a")
    names = ("opening", "used", "depth", "next_ones", "fast", "method")
    pieces = [getattr(adoption_page, name)(reply) for name in names]
    page = "".join(piece.markup for piece in [*pieces, adoption_page.footer(reply, book)])
    assert EVIL not in page and "&lt;script&gt;" in page and page.count("<figure") >= 1
    assert pieces[0].facts["title"] and pieces[0].facts["verdict"]


def test_the_books_page_shows_all_its_sections(book):
    reply = track_feature_adoption_book(book)
    names = [name for name in adoption_book_page.__all__ if name not in ("footer", "open_book")]
    page = "".join(getattr(adoption_book_page, name)(reply).markup for name in names)
    assert EVIL not in page and "customers whose first 90 days were watched" in page


def test_charts_are_drawn_at_both_widths_or_say_why_not(book):
    for reply in (track_feature_adoption(book, "b"), track_feature_adoption_book(book)):
        for width in (theme.WIDE, theme.NARROW):
            for name, chart in reply.charts(width).items():
                assert theme.svg(chart).startswith("<svg"), name
    effects = track_feature_adoption_book(book).charts()["effects"]
    assert theme.is_empty(effects) and "Too few" in effects.usermeta["reason"]
