"""Content of a day: cutting the portfolio at that day, or overwriting what is only today's, changes nothing."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import pytest

from healthseg.data.portfolio import Portfolio

D = dt.date(2025, 3, 10)
TABLES = {
    "customers": [
        "client_id,signup_date,arr,seats,plan,churned_on,timezone",
        "acme,2025-01-01,100,5,pro,,UTC",
        "beta,2025-01-01,50,9,pro,{after},Europe/Berlin",
        "late,{after},10,1,pro,,UTC",
    ],
    "events": [
        "client_id,user_id,occurred_at,feature",
        "acme,ann,2025-03-01 10:00:00,f",
        "beta,bea,2025-03-10 21:00:00,f",
        "acme,ann,2025-03-10 23:59:00,f",
        "acme,ann,2025-03-20 23:30:00,f",
        "beta,bea,2025-03-10 23:30:00,f",
    ],
    "users": [
        "user_id,client_id,created_at,deactivated_at,role",
        "ann,acme,2025-01-02,{after},admin",
        "zoe,acme,{after},,user",
    ],
    "tickets": [
        "ticket_id,client_id,opened_at,severity,severity_set_at,first_response_at,resolved_at,csat",
        "1,acme,2025-03-05 10:00:00,{high},{after},2025-03-05 11:00:00,{after},4",
        "2,acme,{after},low,,,,",
    ],
    "invoices": [
        "invoice_id,client_id,amount,issued_on,due_on,paid_on",
        "1,acme,10,2025-02-01,2025-03-01,{after}",
        "2,acme,10,{after},2025-04-30,",
    ],
    "contracts": [
        "client_id,starts_on,ends_on,arr,signed_on",
        "acme,2025-01-01,2026-01-01,100,2024-12-01",
        "acme,2026-01-01,2027-01-01,200,{after}",
    ],
    "arr_changes": ["client_id,effective_on,arr", "acme,2025-01-01,100", "acme,{after},200"],
    "stage_changes": [
        "client_id,stage,effective_at,recorded_at",
        "acme,active,2025-02-01,2025-02-01",
        "acme,engaged,2025-02-20,{after}",
    ],
    "messages": [
        "client_id,channel,content,sent_at,opened_at",
        "acme,email,tips,2025-03-01,{after}",
    ],
    "milestone_progress": [
        "client_id,milestone_id,started_at,completed_at,owner",
        "acme,m1,2025-03-01,{after},ann",
    ],
}
AFTER = "2025-03-15"


def texts(after: str) -> dict[str, str]:
    """The tables with later values filled in, or cut: later values empty and later rows absent."""
    by_table = {}
    for name, lines in TABLES.items():
        required = {
            "late,{after}",
            "zoe,acme,{after}",
            "2,acme,{after}",
            "2,acme,10,{after}",
            "acme,{after},200",
            "acme,2026-01-01",
            "acme,engaged",
        }
        chosen = [
            line for line in lines if after or not any(line.startswith(head) for head in required)
        ]
        if name == "events" and not after:
            chosen = chosen[:4]
        filled = (
            line.replace("{after}", after).replace("{high}", "high" if after else "")
            for line in chosen
        )
        by_table[name] = "\n".join(filled) + "\n"
    return by_table


def write(folder: Path, contents: dict[str, str]) -> Portfolio:
    """The tables in a folder; those whose text does not change keep their files, and what was derived from them."""
    folder.mkdir(exist_ok=True)
    for name, text in contents.items():
        path = folder / f"{name}.csv"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    return Portfolio.open(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    portfolio = write(tmp_path_factory.mktemp("content") / "whole", texts(AFTER))
    portfolio.content(D)
    return portfolio


def changed(whole: Portfolio, folder: Path, table: str, old: str, new: str) -> Portfolio:
    shutil.copytree(whole.path, folder)
    contents = texts(AFTER)
    assert old in contents[table]
    return write(folder, {table: contents[table].replace(old, new, 1)})


def test_the_portfolio_cut_at_a_day_has_the_same_content_until_that_day(tmp_path, whole):
    cut = write(tmp_path / "cut", texts(""))
    assert [whole.has(name) for name in TABLES] == [True] * len(TABLES)
    assert whole.content(D - dt.timedelta(1)) == cut.content(D - dt.timedelta(1))
    assert whole.data_until == dt.date(2025, 3, 20) and cut.data_until == D
    assert (
        whole.content(dt.date(2025, 3, 14))
        == whole.content(dt.date(2025, 3, 11))
        != whole.content(dt.date(2025, 3, 15))
    )


@pytest.mark.parametrize(
    ("table", "old", "new"),
    [
        ("customers", "100,5,pro", "999,7,basic"),
        ("users", "admin", "user"),
        ("tickets", "11:00:00,2025-03-15,4", "11:00:00,2025-03-16,5"),
        ("tickets", "10:00:00,high", "10:00:00,critical"),
        ("customers", "pro,2025-03-15,", "pro,,"),
        ("invoices", "2025-03-01,2025-03-15", "2025-03-01,"),
        ("messages", "2025-03-15", ""),
        ("milestone_progress", "2025-03-15,ann", ",bob"),
        ("stage_changes", "engaged", "at_risk"),
        ("events", "acme,ann,2025-03-20 23:30:00,f", "acme,bob,2025-03-20 23:30:00,g"),
    ],
)
def test_what_becomes_known_later_or_is_overwritten_changes_no_earlier_day(
    tmp_path, whole, table, old, new
):
    other = changed(whole, tmp_path / "other", table, old, new)
    for day in (dt.date(2025, 2, 15), D, dt.date(2025, 3, 14)):
        assert other.content(day) == whole.content(day)
    assert other.content(whole.data_until) != whole.content(whole.data_until)
    assert other.fingerprint() != whole.fingerprint()


@pytest.mark.parametrize(
    ("table", "old", "new"),
    [
        ("customers", "UTC", "America/New_York"),
        ("events", "2025-03-01 10:00:00,f", "2025-03-01 10:00:00,g"),
        ("tickets", "2025-03-05 11:00:00", "2025-03-05 12:00:00"),
        ("contracts", "2026-01-01,100", "2026-01-01,101"),
        ("invoices", "1,acme,10", "1,acme,11"),
        ("arr_changes", "2025-01-01,100", "2025-01-01,101"),
        ("stage_changes", "active,2025-02-01", "engaged,2025-02-01"),
    ],
)
def test_what_was_known_changes_every_later_day(tmp_path, whole, table, old, new):
    assert changed(whole, tmp_path / "other", table, old, new).content(D) != whole.content(D)


def test_the_fingerprint_follows_settings_the_ledger_and_the_date(make_portfolio):
    portfolio = make_portfolio()
    same, other = (
        Portfolio.open(portfolio.path),
        Portfolio.open(portfolio.path, {"session_gap_minutes": 10}),
    )
    assert portfolio.fingerprint() == same.fingerprint() != other.fingerprint()
    assert (
        len(
            {
                portfolio.fingerprint(),
                portfolio.fingerprint(D),
                portfolio.fingerprint(D, ledger="abc"),
                portfolio.fingerprint(ledger="abc"),
            }
        )
        == 4
    )
