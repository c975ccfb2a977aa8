"""Pages of a portfolio that has customers alone: a line for what is missing, and nothing empty."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from healthseg.reports.html.export import UNANSWERED
from healthseg.reports.pages import overview_spec, page_spec
from tests.reports.every_page import report
from tests.reports.pages import Read

PAGES = [
    ("portfolio", "calculate_health_score"),
    ("portfolio", "manage_lifecycle_stages"),
    ("portfolio", "track_adoption_milestones"),
    ("portfolio", "segment_by_value_tier"),
    ("overview", "board"),
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Read]:
    folder: Path = tmp_path_factory.mktemp("thin")
    count = 30
    customers = pd.DataFrame(
        {
            "client_id": [f"c{at:02d}" for at in range(count)],
            "name": [f"Customer {at:02d} Ltd" for at in range(count)],
            "signup_date": "2023-05-01",
            "arr": [9_000.0 + 4_000 * at for at in range(count)],
            "currency": ["EUR", "USD"] * (count // 2),
            "csm_id": ["ann", "bob", "cid"] * (count // 3),
            "churned_on": ["2025-03-01", *[None] * (count - 1)],
            "notice_on": [None, "2025-05-20", *[None] * (count - 2)],
        }
    )
    customers.to_csv(folder / "customers.csv", index=False)
    return {tool: Read(report(kind, tool, folder, "c01")) for kind, tool in PAGES}


def test_questions_without_an_answer_share_a_line_for_each_reason(pages):
    milestones = pages["track_adoption_milestones"]
    assert [text for level, text in milestones.headings if level == 2] == [UNANSWERED]
    for section in page_spec("track_adoption_milestones", portfolio=True).sections:
        assert milestones.text.count(section.question) == 1
    assert milestones.text.count("no milestones of live customers") == 1


def test_no_page_has_empty_sections_or_figures_of_nothing(pages):
    for tool, page in pages.items():
        text = page.text
        for wrong in ("NaN", "No customer. ", "unknown ARR", "Not known. ", "None 29", "0 stages"):
            assert wrong not in text, (tool, wrong)
        assert not re.search(r"\b0 (moves back|risks|customers score)", text), tool


def test_stages_that_nobody_recorded_are_one_line_and_one_action(pages):
    stages = pages["manage_lifecycle_stages"]
    assert [text for level, text in stages.headings if level == 2] == ["What to do?", UNANSWERED]
    assert "Record a stage for 29 customers without one" in stages.text


def test_advice_on_managers_needs_their_hours(pages):
    tiers = pages["segment_by_value_tier"].text
    assert "managers fewer" not in tiers and "win back Customer 01 Ltd, who gave notice" in tiers


def test_the_board_names_who_churned_and_says_why_revenue_is_not_known(pages):
    board = pages["board"]
    headings = [text for level, text in board.headings if level == 2]
    questions = {section.name: section.question for section in overview_spec("board").sections}
    assert questions["churned"] in headings and questions["retention"] not in headings
    assert "Customer 00 Ltd" in board.text and UNANSWERED in headings
