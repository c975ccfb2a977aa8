"""Tables as billing systems, workbooks and report writers export them: what is read, and what is said."""

from __future__ import annotations

import pandas as pd
import pytest

import healthseg as hs

YEAR = "2025-01-01,2025-12-31"


def opened(folder, **tables: str) -> hs.Portfolio:
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text.strip() + "\n", encoding="utf-8")
    return hs.Portfolio.open(folder, {"data_until": "2025-03-31"})


def contracts_of(folder, rows: list[tuple[str, str]], ids: str) -> tuple[hs.Portfolio, dict]:
    """A portfolio of customers with these ids, and the ARR of its contracts as they are read."""
    customers = "client_id,signup_date\n" + "\n".join(f"{name},2024-01-01" for name in ids.split())
    lines = "\n".join(f"{name},{YEAR},{arr}" for name, arr in rows)
    portfolio = opened(
        folder, customers=customers, contracts="client_id,starts_on,ends_on,arr\n" + lines
    )
    if not portfolio.has("contracts"):
        return portfolio, {}
    table = portfolio.table("contracts")
    return portfolio, dict(zip(table["client_id"].astype(str), table["arr"], strict=True))


@pytest.mark.parametrize(
    "written", [["'007", "'012"], ['"=""007"""', '"=""012"""'], ["0\u00ad07", "01\u200b2"]]
)
def test_ids_are_read_without_the_marks_of_workbooks_and_unseen_letters(tmp_path, written):
    _, read = contracts_of(tmp_path, [(name, "5") for name in written], "007 012")
    assert read == {"007": 5, "012": 5}


@pytest.mark.parametrize(
    ("listed", "written", "words"),
    [
        ("Nord Sud", ["NORD", "sud"], "upper and lower case"),
        ("0071 0092", ["71", "92"], "zeros at the beginning"),
        ("0018000000MTu9sAAD 0018000000MTu9tAAD", ["0018000000MTu9s", "0018000000MTu9t"], "15"),
    ],
)
def test_ids_of_two_spellings_are_not_matched_but_named(tmp_path, listed, written, words):
    portfolio, read = contracts_of(tmp_path, [(name, "5") for name in written], listed)
    assert read == {}
    line = next(line for line in portfolio.check().to_text().splitlines() if "differ from" in line)
    assert "2 rows" in line and words in line


def test_sums_below_a_table_and_blank_rows_are_no_rows(tmp_path):
    rows = [("a", "70"), ("b", "30"), ("Total", "100"), ("Grand Total", "100")]
    portfolio, read = contracts_of(tmp_path, rows, "a b")
    assert read == {"a": 70, "b": 30}
    assert all(table.refused is None for table in portfolio.quality.of("a").portfolio)
    with (tmp_path / "customers.csv").open("a") as file:
        file.write(",\n,\n,\n")
    assert len(hs.Portfolio.open(tmp_path).table("customers")) == 2


@pytest.mark.parametrize(
    ("written", "day"),
    [("45658", "2025-01-01"), ("44986", "2023-03-01"), ("2025-01-01", "2025-01-01")],
)
def test_days_as_workbooks_count_them(tmp_path, written, day):
    portfolio = opened(tmp_path, customers=f"client_id,signup_date\na,{written}")
    (read,) = portfolio.table("customers")["signup_date"]
    assert pd.Timestamp(read) == pd.Timestamp(day)


def test_a_decimal_comma_in_a_time_is_read(tmp_path):
    portfolio = opened(
        tmp_path,
        customers="client_id,signup_date\na,2024-01-01",
        events='client_id,user_id,occurred_at\na,u,"2025-03-30 10:00:00,250"',
    )
    (read,) = portfolio.table("events")["occurred_at"]
    assert pd.Timestamp(read) == pd.Timestamp("2025-03-30 10:00:00.250")


@pytest.mark.parametrize("word", ["(blank)", "(none)", "(not set)", "#REF!", "#VALUE!", "n.a."])
def test_words_of_pivot_tables_and_failed_formulas_are_no_values(tmp_path, word):
    portfolio = opened(tmp_path, customers=f"client_id,signup_date,plan\na,2024-01-01,{word}")
    assert portfolio.table("customers")["plan"].isna().all()


def test_a_contract_recorded_after_the_last_day_is_not_known_and_is_named(tmp_path):
    portfolio = opened(
        tmp_path,
        customers="client_id,signup_date\na,2024-01-01",
        contracts=f"client_id,starts_on,ends_on,arr,recorded_at\na,{YEAR},7,2030-01-01",
    )
    assert "recorded or signed after the portfolio's last day" in portfolio.check().to_text()


def test_a_contract_until_the_end_of_the_century_is_open(tmp_path):
    portfolio = opened(
        tmp_path,
        customers="client_id,signup_date\na,2024-01-01",
        contracts="client_id,starts_on,ends_on,arr\na,2025-01-01,2099-12-31,7",
    )
    assert portfolio.table("contracts")["ends_on"].isna().all()


def test_yes_and_no_in_other_words(tmp_path):
    rows = zip(("Ja", "Nein", "Oui", "non", "Sí", "Enabled", "disabled"), "abcdefg", strict=True)
    lines = [f"{name},{YEAR},5,{word}" for word, name in rows]
    portfolio = opened(
        tmp_path,
        customers="client_id,signup_date\n" + "\n".join(f"{name},2024-01-01" for name in "abcdefg"),
        contracts="client_id,starts_on,ends_on,arr,auto_renews\n" + "\n".join(lines),
    )
    renews = portfolio.table("contracts").set_index("client_id")["auto_renews"]
    assert [name for name in "abcdefg" if renews[name]] == ["a", "c", "e", "f"]


def test_numbers_in_lakhs_are_read(tmp_path):
    rows = [("a", '"12,50,000.00"'), ("b", '"90,000.50"'), ("c", '"2,00,00,000.00"')]
    _, read = contracts_of(tmp_path, rows, "a b c")
    assert read == {"a": 1_250_000, "b": 90_000.5, "c": 20_000_000}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1741000530.0", "2025-03-03 11:15:30"),
        ("1741000530.25", "2025-03-03 11:15:30.250000"),
        ("1741000530250.5", "2025-03-03 11:15:30.250500"),
        ("20250303T111530Z", "2025-03-03 11:15:30"),
        ("20250303T121530.25+0100", "2025-03-03 11:15:30.250000"),
    ],
)
def test_instants_of_programs_are_read(tmp_path, written, read):
    portfolio = opened(
        tmp_path,
        customers="client_id,signup_date\na,2024-01-01",
        tickets=f"ticket_id,client_id,opened_at,severity\nt,a,{written},low",
    )
    assert str(portfolio.table("tickets")["opened_at"].item()) == read
    assert "calendar days" not in portfolio.check().to_text()


def test_users_of_two_spellings_are_named_and_not_merged(tmp_path):
    users = ("Ana@x.example", "ana@x.example", "b", "b")
    events = "\n".join(f"a,2025-03-1{n} 10:00:00,{user}" for n, user in enumerate(users))
    portfolio = opened(
        tmp_path,
        customers="client_id,signup_date\na,2024-01-01\nc,2024-01-01",
        events=f"client_id,occurred_at,user_id\n{events}\nc,2025-03-11 09:00:00,b",
    )
    (line,) = (line for line in portfolio.check().to_text().splitlines() if "differ in" in line)
    assert "1 customers have users" in line or "1 customer" in line
