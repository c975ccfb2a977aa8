"""The index: managers by name, and a column of amounts that is called what it is."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import pandas as pd
import pytest

from healthseg.data.portfolio import Portfolio
from healthseg.errors import InvalidParameters
from healthseg.reports import portfolios
from healthseg.reports.batches import run
from healthseg.reports.html import index
from healthseg.tools import portfolio_health
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
    same_day = {"as_of": str(samples.AS_OF), "customers": {"a": [52, "low"]}}
    again = index.changes(result, same_day, index.ReportFolder(tmp_path, tmp_path, [], {}))
    assert again == changes, "a second run of a day says what changed before that day"


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


def test_a_managers_page_has_the_managers_customers_alone_and_what_to_do_first(tmp_path):
    customers = pd.DataFrame(
        {
            "client_id": [f"c{at}" for at in range(8)],
            "name": ["Ash", "Birch", "Cedar", "Dune", "Elm", "Fir", "Gorse", "Hazel"],
            "signup_date": "2023-05-01",
            "arr": [10_000.0 + at for at in range(8)],
            "currency": "EUR",
            "csm_id": ["ann", "bob"] * 4,
            "churned_on": ["2025-05-20", "2025-05-21", *[None] * 6],
            "notice_on": [None, None, "2025-05-22", "2025-05-23", *[None] * 4],
        }
    )
    contracts = pd.DataFrame(
        {
            **{"contract_id": ["k4", "k5"], "client_id": ["c4", "c5"], "currency": "EUR"},
            **{"starts_on": "2024-07-01", "ends_on": "2025-07-01", "arr": [10_004.0, 10_005.0]},
        }
    )
    customers.to_csv(tmp_path / "customers.csv", index=False)
    contracts.to_csv(tmp_path / "contracts.csv", index=False)
    opened = Portfolio.open(tmp_path)
    theirs = run._of_manager(opened, portfolio_health(opened), "ann")
    reports = index.ReportFolder(tmp_path, tmp_path, [], {})
    earlier = {"customers": {f"c{at}": [70, "low", 1.0] for at in range(8)}, "as_of": "2025-05-01"}
    for before in ({}, earlier):
        html = index.page(theirs, reports, [], before, AT, 1.0, {"ann": "Ann Lee"}, "Ann Lee")
        text = Read(html).text
        assert "The customers of Ann Lee" in text and "3 customers with EUR 30k ARR" in text
        assert "Ash" in text and "Cedar" in text
        assert not [name for name in ("Birch", "Dune", "Fir", "Hazel") if name in text]
        next_up, renewals = text.index("What to do next?"), text.index("What renews in the next")
        assert next_up < renewals < text.index("What changed since")
        assert "Respond to the notice" in text[next_up:renewals]
        assert "Elm" in text[renewals : text.index("What changed since")]
    with pytest.raises(InvalidParameters, match="no live customer has the manager"):
        run._of_manager(opened, portfolio_health(opened), "cid")
