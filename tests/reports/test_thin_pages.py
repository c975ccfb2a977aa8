"""Pages of a portfolio that has customers alone: a line for what is missing, and nothing empty."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from healthseg.charts import formats
from healthseg.data.portfolio import Portfolio
from healthseg.integrations.alerts.run import evaluate
from healthseg.reports.html.export import UNANSWERED
from healthseg.reports.pages import overview_spec, page_spec
from healthseg.reports.pages.adoption import _barriers
from healthseg.settings.in_force import in_force
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
def folder(tmp_path_factory) -> Path:
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
    return folder


@pytest.fixture(scope="module")
def pages(folder) -> dict[str, Read]:
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
    assert [text for level, text in stages.headings if level == 2] == [
        "What to do next?",
        UNANSWERED,
    ]
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


def test_amounts_of_two_currencies_are_not_added_up_on_the_board(pages):
    text = pages["board"].text
    assert "29 live customers; 1 customer churned in a year" in text
    assert "revenue retention is unknown: several currencies and no rates" in text
    assert "The largest was" not in text
    assert re.search(r"Customer 01 Ltd .*USD\s13k", text)
    assert "NRR over a year" not in text and "Net change of each customer" not in text


def test_amounts_that_cannot_be_added_up_are_shown_by_currency(pages):
    # 9k and 4k more a customer, in turn; the first churned
    arr = "EUR 966k and USD 1.03M ARR"
    assert f"29 customers with {arr}, no score yet" in pages["calculate_health_score"].text
    tiers = pages["segment_by_value_tier"]
    assert f"29 customers with {arr}" in tiers.text and "ARR in EUR" in tiers.text


def test_a_score_that_nobody_has_is_not_said_to_be_trusted(pages):
    health = pages["calculate_health_score"]
    assert "Can the score be trusted?" not in [text for level, text in health.headings]
    assert "0% of its inputs" not in health.text and "A score needs events" in health.text


def test_hours_of_managers_that_nobody_knows_are_a_line(pages):
    tiers = pages["segment_by_value_tier"]
    assert "Are there enough managers?" not in [text for level, text in tiers.headings]
    assert "the hours of managers are not known" in tiers.text.lower()


def test_a_feature_of_which_no_barrier_is_known_says_so():
    assert "no barrier is known" in _barriers({"barriers": None})
    assert _barriers({"barriers": ["cost"]}).endswith("barriers: {barriers[0]:words}")


def test_a_manager_without_a_name_is_said_to_be_a_manager():
    assert [formats.manager(name) for name in ("csm_05", "7", "ann", "Ada Lind", "a1@x.org")] == [
        *("Manager csm_05", "Manager 7", "ann", "Ada Lind", "a1@x.org")
    ]


def test_alerts_need_no_events(folder):
    alerts = evaluate(Portfolio.open(folder), in_force(str(folder), {}).alerts)
    assert ("c01", "notice_given") in {(alert.client_id, alert.rule) for alert in alerts}


def test_a_portfolio_without_live_customers_says_so_in_one_line(tmp_path):
    gone = {"client_id": ["c1"], "name": ["Gone Ltd"], "signup_date": ["2023-05-01"]}
    pd.DataFrame({**gone, "churned_on": ["2024-02-01"]}).to_csv(
        tmp_path / "customers.csv", index=False
    )
    for kind, tool in PAGES:
        page = Read(report(kind, tool, tmp_path, "c1"))
        assert [text for level, text in page.headings if level == 2][:1] == [UNANSWERED], tool
        assert page.text.count("The portfolio has no live customers: ") == 1, tool
        assert " – 0" not in page.text and "of 0 " not in page.text, tool
