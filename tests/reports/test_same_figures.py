"""A figure has the same value and the same form on every page of a run."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from html.parser import HTMLParser
from typing import Any

import pytest

from healthseg.reports.render import ReportPage

# Where a customer is the subject: its own figures lie here in the results of several tools.
SUBJECTS = ("customer", "customer_standing", "health.customer", "health")
# Keys of one page that are another figure on another one: a part of it, of another span, or of what its tool read.
OTHERS = frozenset(
    {"coverage", "customers", "n", "lower", "upper", "expected", "data_until", "fingerprint"}
)
# Forms of one word in a sentence and at the beginning of a cell.
OF_WORDS = frozenset({"words", "Words", "sentence", "short", ""})


class Figures(HTMLParser):
    """The figures of a page: path, format and text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.figures: list[tuple[str, str, str]] = []
        self._open: list[tuple[str, str, str, list[str]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        if "data-figure" in named:
            form = named.get("data-format") or ""
            self._open.append((tag, named["data-figure"], form, []))

    def handle_data(self, data):
        for entry in self._open:
            entry[3].append(data)

    def handle_endtag(self, tag):
        if self._open and self._open[-1][0] == tag:
            _, path, form, text = self._open.pop()
            self.figures.append((path, form, "".join(text).strip()))


def key_of(path: str, subject: str) -> tuple[str, str] | None:
    """What a figure is of, and its key: the same for the same figure of another page; None where it has no namesake."""
    steps = path.removeprefix("$.").split(".")
    parent, key = ".".join(steps[:-1]), steps[-1]
    if key in OTHERS or "[" in key:
        return None
    if not parent or parent in SUBJECTS:
        return subject, key
    return None


def collected(pages: dict[tuple[str, str], ReportPage]) -> dict[Any, dict[str, set[Any]]]:
    """By subject and key: the values, and the forms in which a page writes them."""
    known: dict[Any, dict[str, set[Any]]] = defaultdict(lambda: {"values": set(), "forms": set()})
    for (subject, _), page in pages.items():
        parts = [page.opening(), *map(page.section, page.names), page.footer()]
        markup = "".join(part._repr_mimebundle_()["text/html"] for part in parts)
        for path, form, _ in Figures(markup).figures:
            key = key_of(path, subject)
            scope = page.scope.find(path.removeprefix("$."))
            if key is None or scope is None or isinstance(scope.value, list | dict):
                continue
            known[key]["values"].add(_value(scope.value))
            known[key]["forms"].add(re.split(r"[? ]", form)[0])
    return known


def _value(value: Any) -> Any:
    if isinstance(value, int | float):
        return None if math.isnan(value) else round(float(value), 4)
    return str(value) if value is not None else None


@pytest.fixture(scope="module")
def pages(shown_pages) -> dict[tuple[str, str], ReportPage]:
    client = shown_pages.client_id
    pages = {("portfolio", tool): page for tool, page in shown_pages.portfolios.items()}
    pages |= {(client, tool): page for tool, page in shown_pages.customers.items()}
    pages["portfolio", "board"] = shown_pages.overviews["board"]
    pages[client, "customer_360"] = shown_pages.overviews["customer_360"]
    return pages


@pytest.fixture(scope="module")
def known(pages) -> dict[Any, dict[str, set[Any]]]:
    return collected(pages)


def test_the_same_key_has_the_same_value_on_every_page(known):
    values = {key: figures["values"] for key, figures in known.items()}
    assert {key: several for key, several in values.items() if len(several) > 1} == {}
    assert sum(len(figures["forms"]) > 0 for figures in known.values()) >= 60


def test_the_same_key_has_one_form_for_its_digits_on_every_page(known):
    """Money may be brief at a glance and whole in a table, a word small or capital; all else has one form."""
    free = OF_WORDS | {"money", "brief_money"}
    forms = {key: figures["forms"] - free for key, figures in known.items()}
    assert {key: several for key, several in forms.items() if len(several) > 1} == {}


def test_a_difference_between_two_pages_would_be_seen(pages):
    key = "portfolio", "calculate_health_score"
    health = pages[key]
    other = ReportPage(
        health.spec, health.result.model_copy(update={"average_score": 1.5}), health.portfolio
    )
    known = collected({key: health, ("portfolio", "again"): other})
    assert len(known["portfolio", "average_score"]["values"]) == 2
