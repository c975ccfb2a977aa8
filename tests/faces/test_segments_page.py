"""The pages of segments and of value tiers: every section shows itself on any book, and no name is read as markup."""

from __future__ import annotations

import pandas as pd
import pytest

from healthseg.charts import theme
from healthseg.faces.pages import segments, segments_book, tiers, tiers_book
from healthseg.testing import tiny_book
from healthseg.tools import (
    segment_by_value_tier,
    segment_by_value_tier_book,
    segment_customers,
    segment_customers_book,
)

EVIL = "<script>alert(1)</script>"
RULES = {"rules": [{"name": "<b>Old", "when": "tenure_days > 30"}]}


@pytest.fixture(scope="module")
def book():
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
    return tiny_book([(client, day, "u1", "plan") for client in "abc" for day in days], customers)


def page_of(module, reply, book):
    names = [name for name in module.__all__ if name not in ("footer", "open_book")]
    pieces = [getattr(module, name)(reply) for name in names]
    return "".join(piece.markup for piece in [*pieces, module.footer(reply, book)])


@pytest.mark.parametrize("kind", ["value", "health", "usage", "industry", "lifecycle", "custom"])
def test_the_books_page_of_segments_shows_all_its_sections(book, kind):
    reply = segment_customers_book(
        book,
        segmentation_criteria=RULES if kind == "custom" else {},
        segment_type=kind,
        min_segment_size=1,
    )
    page = page_of(segments_book, reply, book)
    assert EVIL not in page and "<b>Old" not in page and page.count("<figure") >= 1


def test_a_customers_page_of_its_segment_shows_all_its_sections_and_no_markup_of_a_name(book):
    for kind in ("value", "industry"):
        for client in ("a", "c"):
            reply = segment_customers(book, {}, kind, 1, client_id=client)
            page = page_of(segments, reply, book)
            assert EVIL not in page and (client != "a" or "&lt;script&gt;" in page)
    plain = segment_customers(book, {}, "value", 1, include_recommendations=False, client_id="a")
    assert "Not requested" in segments.works(plain).markup


def test_the_pages_of_groups_say_that_there_are_none(book):
    reply = segment_customers(
        book, {"measures": ["seats", "active_days_28d"]}, "custom", 1, client_id="a"
    )
    assert "No stable segments" in reply.verdict() or "All customers" in reply.verdict()
    assert "No stable segments" in segments_book.stable(reply).markup
    assert page_of(segments, reply, book)


def test_the_pages_of_tiers_show_all_their_sections(book):
    whole = page_of(tiers_book, segment_by_value_tier_book(book), book)
    assert EVIL not in whole and "Not placed" in whole and whole.count("<figure") >= 2
    for client in ("a", "b", "c"):
        reply = segment_by_value_tier(book, client_id=client)
        assert EVIL not in page_of(tiers, reply, book)
    assert "No ARR is known" in tiers.stands(segment_by_value_tier(book, client_id="c")).markup


def test_charts_are_drawn_at_both_widths_or_say_why_not(book):
    replies = (
        segment_customers(book, {}, "value", 1, client_id="a"),
        segment_by_value_tier(book, client_id="b"),
        segment_customers(book, {}, "industry", 1),
    )
    for reply in replies:
        for width in (theme.WIDE, theme.NARROW):
            for name, chart in reply.charts(width).items():
                assert theme.svg(chart).startswith("<svg"), name
