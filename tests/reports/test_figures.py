"""Every figure on a page is the one of its result: traced by its path, formatted again and compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from healthseg.reports import figures
from healthseg.reports.pages import MODELS, MODULES, OVERVIEWS, model_spec, overview_spec, page_spec
from healthseg.reports.render import ReportPage
from healthseg.reports.spec import Card, Page
from tests.reports import figure_check

MODEL_SPECS = [model_spec(kind) for kind in MODELS]
SPECS = [page_spec(tool, portfolio) for tool in MODULES for portfolio in (False, True)]
OVERVIEW_SPECS = [overview_spec(kind) for kind in OVERVIEWS]
each_page = pytest.mark.parametrize(
    "spec", [*SPECS, *OVERVIEW_SPECS, *MODEL_SPECS], ids=lambda spec: spec.kind
)
# Figures that a page has at least: a renderer that drops their paths must not pass.
LEAST_FIGURES = {"Segments, their evidence": 5, "Forecasts, back-tested": 30, "Churn model": 20}


@pytest.fixture(scope="module")
def pages(shown_pages) -> dict[str, ReportPage]:
    return shown_pages.by_kind()


@each_page
def test_every_figure_of_a_page_is_the_one_that_its_path_leads_to(pages, spec):
    markup = figure_check.markup_of(pages[spec.kind])
    assert figure_check.faults(pages[spec.kind], markup) == []
    assert markup.count("data-figure=") >= LEAST_FIGURES.get(spec.kind, 40)


@each_page
def test_the_templates_of_a_page_are_those_that_were_reviewed(spec):
    """After a change: ``python -m tests.reports.figure_check``, and review the difference."""
    assert figure_check.changes(spec) == ""


def _replaced(value: Any, old: str, new: str) -> Any:
    """A spec with a text replaced wherever it is."""
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, tuple):
        return tuple(_replaced(part, old, new) for part in value)
    if isinstance(value, Mapping):
        return {name: _replaced(part, old, new) for name, part in value.items()}
    if dataclasses.is_dataclass(value):
        parts = {
            field.name: _replaced(getattr(value, field.name), old, new)
            for field in dataclasses.fields(value)
        }
        return dataclasses.replace(value, **parts)
    return value


MUTANTS = {
    "a figure written by hand": (
        "{engagement_metrics.licensed_seats:number seat}",
        "44 seats",
    ),
    "another figure's path": (
        "{engagement_metrics.monthly_active_users:number}",
        "{engagement_metrics.weekly_active_users:number}",
    ),
    "another unit": (
        "{engagement_metrics.seat_utilisation:percent}",
        "{engagement_metrics.seat_utilisation:number}",
    ),
    "another column": ("person_events:number", "api_events:number"),
    "a sentence with a number of its own": (
        "after a break in {analysis_period.days:number day}",
        "after a break in 11 days",
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_figure_planted_in_a_page_is_caught(pages, name):
    page = pages["Customer usage"]
    mutant: Page = _replaced(page.spec, *MUTANTS[name])
    assert mutant != page.spec
    planted = ReportPage(mutant, page.result, page.portfolio)
    assert figure_check.faults(planted) or figure_check.changes(mutant)


@pytest.mark.parametrize(
    ("before", "after"),
    [('data-format="number">', 'data-format="number">1'), ("[3]", "[2]"), ("%</span>", "</span>")],
)
def test_a_figure_that_the_renderer_gets_wrong_is_caught(pages, before, after):
    page = pages["Customer usage"]
    markup = figure_check.markup_of(page)
    assert before in markup
    assert figure_check.faults(page, markup.replace(before, after, 1))


def test_a_sentence_whose_figure_is_unknown_is_left_out():
    scope = figures.Scope({"a": 1, "b": None, "items": [{"c": 2}]}, "$")
    texts = ("{a:number day} known", "{b} unknown", "{items[*].c:total} in all", "{b?:number}")
    assert figures.sentences(texts[:3], scope).text == "1\u00a0day known. 2 in all."


def test_a_row_finds_what_it_lacks_in_what_encloses_it():
    scope = figures.Scope(
        {"currency": "EUR", "rows": [{"arr": 5}, {"arr": 6, "currency": "USD"}]}, "$"
    )
    shown = [figures.figure(row, "arr", "money") for row in scope.rows("rows")]
    assert [piece.text for piece in shown] == ["EUR\u00a05", "USD\u00a06"]
    assert [piece.path for piece in shown] == ["$.rows[0].arr", "$.rows[1].arr"]


def test_a_card_without_its_figure_shows_a_dash(pages):
    page = pages["Customer usage"]
    spec = dataclasses.replace(page.spec, cards=(Card("Nothing", "{nothing:number}"),))
    assert "<span>–</span>" in ReportPage(spec, page.result, page.portfolio).opening().markup
