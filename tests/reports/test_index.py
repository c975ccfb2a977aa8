"""The index: managers by name, and a column of amounts that is called what it is."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import pandas as pd
import pytest

from healthseg.reports import portfolios
from healthseg.reports.html import index
from tests.reports import samples
from tests.reports.pages import Read

AT = dt.datetime(2025, 10, 11, 4, 30, tzinfo=dt.UTC)


def page(tmp_path, **changes) -> str:
    reports = index.ReportFolder(tmp_path, tmp_path, [], {})
    names = {"csm_01": "Ada Lind"}
    return Read(index.page(samples.portfolio(**changes), reports, [], {}, AT, 1.0, names)).text


@pytest.mark.parametrize(
    ("basis", "heading", "other"),
    [
        ("probability of churn in 90 days × ARR", "Expected churned ARR", "ARR weighted by score"),
        ("(100 − score) ÷ 100 × ARR", "ARR weighted by score", "Expected churned ARR"),
    ],
)
def test_the_column_of_amounts_is_named_by_its_basis(tmp_path, basis, heading, other):
    text = page(tmp_path, at_stake_basis=basis)
    assert heading in text and other not in text


def test_managers_are_named_in_the_table_and_the_filter(tmp_path):
    frame = samples.portfolio().frame("customers").assign(csm_id="csm_01")
    result = samples.portfolio().model_copy().with_frames(customers=frame)
    reports = index.ReportFolder(tmp_path, tmp_path, [], {})
    text = Read(index.page(result, reports, [], {}, AT, 1.0, {"csm_01": "Ada Lind"})).text
    assert "Ada Lind" in text and "csm_01" not in text


def test_a_managers_name_is_that_of_the_table_else_of_the_address():
    rows = {
        "csm_id": ["a", "b", "c", "d", "e"],
        "name": ["Ada Lind", None, None, None, None],
        "contact": ["x@y.example", "bo.berg@y.example", "team-4@y.example", None, "cleo@y.example"],
    }
    portfolio = SimpleNamespace(has=lambda table: True, table=lambda table: pd.DataFrame(rows))
    assert portfolios.manager_names(portfolio) == {"a": "Ada Lind", "b": "Bo Berg", "e": "Cleo"}


def test_without_an_earlier_run_the_index_says_what_changed_in_the_look_back(tmp_path):
    rows = [
        {
            "client_id": client,
            "name": name,
            "score": score,
            "score_before": score - change,
            "risk_level": "low",
            "arr": 9_000.0,
        }
        | {"currency": "EUR"}
        for client, name, score, change in (
            ("a", "Alder", 52, -11),
            ("b", "Birch", 71, 20),
            ("c", "Cedar", 80, 1),
        )
    ]
    gone = [{"client_id": "d", "name": "Dune", "churned_on": str(samples.AS_OF)}]
    result = samples.portfolio(customers=rows, churned_lately=gone)
    changes = index.changes(result, {}, index.ReportFolder(tmp_path, tmp_path, [], {}))
    names = {
        group["name"]: [line["name"] for line in group["lines"]] for group in changes["groups"]
    }
    assert names == {
        "Churned: 1 customer": ["Dune"],
        "Now below 60: 1 customer": ["Alder"],
        "Back at 60 or above: 1 customer": ["Birch"],
    }
    assert changes["groups"][1]["lines"][0]["text"].startswith("63 to 52, EUR")
    assert [line["name"] for line in changes["moved"]] == ["Birch", "Alder"]


def test_customers_of_one_name_are_told_apart_and_lead_to_their_cards(tmp_path):
    rows = [
        {**row, "name": "Nord" if at < 2 else row["name"]}
        for at, row in enumerate(samples.portfolio().customers)
    ]
    reports = index.ReportFolder(tmp_path, tmp_path, [], {})
    html = index.page(samples.portfolio(customers=rows), reports, [], {}, AT, 1.0)
    for row in rows[:2]:
        assert f'<a href="#customer={row["client_id"]}"><bdi>Nord ({row["client_id"]})' in html
    assert f"{rows[2]['name']} (" not in html
