"""What docs/data.md and docs/methods.md say is held against the code."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from healthseg.data.tables import TABLES
from healthseg.settings import COMPONENTS, DEFAULT_SCORECARD, Settings

DOCS = Path(__file__).parents[1] / "docs"
DATA, METHODS = ((DOCS / name).read_text(encoding="utf-8") for name in ("data.md", "methods.md"))


def written_contract():
    """Tables by name: whether bold, and their columns as written: name, optional, allowed words."""
    section = DATA.split("## The contract")[1].split("## ")[0]
    rows = re.findall(r"^\| (\**)(\w+)\** \| (`.*) \|$", section, re.MULTILINE)
    return {
        name: (bool(bold), re.findall(r"`(\w+)`(\??)(?: \(([^)]*)\))?", columns))
        for bold, name, columns in rows
    }


def test_the_tables_are_the_contracts_in_its_order():
    written = written_contract()
    assert list(written) == list(TABLES)
    assert {name for name, (bold, _) in written.items() if bold} == {"customers"}


@pytest.mark.parametrize("name", TABLES)
def test_the_columns_are_the_contracts(name):
    expected = [
        (
            column.name,
            "" if column.required else "?",
            ", ".join(column.allowed) if column.allowed and column.name != "stage" else "",
        )
        for column in TABLES[name].columns
    ]
    assert written_contract()[name][1] == expected


@pytest.fixture(scope="module")
def pages():
    """What writes the tables of the documents from the code."""
    spec = importlib.util.spec_from_file_location("reference_pages", DOCS / "reference_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_metrics_are_those_of_the_catalogue(pages):
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    assert "| `stickiness_30d`" in text
    assert pages.with_metrics(text) == text, "run python docs/reference_pages.py"


def test_what_an_unknown_value_does_is_said_of_every_column(pages):
    assert pages.with_unknown_values(DATA) == DATA, "run python docs/reference_pages.py"
    for name in pages.EFFECTS:
        table, _, column = name.partition(".")
        assert column in TABLES[table].names


def test_every_optional_table_says_what_it_makes_real():
    section = DATA.split("## What each table makes real")[1].split("## ")[0]
    spoken_of = set(
        re.findall(r"\w+", " ".join(re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)))
    )
    assert {name for name, table in TABLES.items() if not table.required} <= spoken_of


def test_the_settings_that_are_spoken_of_exist_and_have_the_values_that_are_given():
    named = set(re.findall(r"`([a-z_]+)` \(([\d.]+)\)", METHODS))
    assert len(named) >= 6
    for name, value in named:
        assert float(value) == float(getattr(Settings(), name)), name


def test_the_scorecard_that_is_written_is_the_default_one():
    rows = re.findall(
        r"^\| (\w+) ([\d.]+) \| `(\w+)` \| ([\d.]+) \| (.+) \|$", METHODS, re.MULTILINE
    )
    written = [
        (name, float(weight), scored, float(share), anchors)
        for name, weight, scored, share, anchors in rows
    ]
    expected = [
        (
            name,
            DEFAULT_SCORECARD.components[name].weight,
            metric.metric,
            metric.weight,
            ", ".join(f"{value:g} → {points:g}" for value, points in metric.anchors),
        )
        for name in COMPONENTS
        for metric in DEFAULT_SCORECARD.components[name].metrics
    ]
    assert written == expected


@pytest.mark.parametrize("text", [DATA, METHODS], ids=["data.md", "methods.md"])
def test_links_lead_to_files(text):
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert links and [link for link in links if not (DOCS / link).exists()] == []
