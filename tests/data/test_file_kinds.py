"""The same small portfolio as companies hold it: workbooks, SQLite, JSON lines, CSV of Excel, frames."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import sqlite3
from contextlib import closing
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from healthseg.data.portfolio import Portfolio
from healthseg.errors import DataRetrievalError, InvalidParameters
from tests.data.conftest import write
from tests.data.workbook import write_workbook

DAY, MOMENT = dt.date(2025, 1, 31), dt.datetime(2025, 3, 3, 10, 30)
COLUMNS = ["client_id", "signup_date", "name", "arr", "seats"]
ROWS = [["1001", DAY, "Café Zürich", 1200.5, 7], ["1002", DAY, "Łódź & Co", None, 3]]
EVENT_COLUMNS = ["client_id", "occurred_at", "user_id", "count"]
EVENTS = [["1001", MOMENT, "ann", 2], ["1001", dt.datetime(2025, 3, 4, 23, 15), None, 1]]
WANTED = [
    {"client_id": "1001", "signup_date": DAY, "name": "Café Zürich", "arr": 1200.5, "seats": 7},
    {"client_id": "1002", "signup_date": DAY, "name": "Łódź & Co", "arr": None, "seats": 3},
]


def holds_the_portfolio(portfolio: Portfolio) -> None:
    customers = [portfolio.client(client_id) for client_id in portfolio]
    assert [{name: row[name] for name in COLUMNS} for row in customers] == WANTED
    events = portfolio.table("events")
    assert events["occurred_at"].tolist() == [pd.Timestamp(event[1]) for event in EVENTS]
    assert events["count"].tolist() == [2, 1] and events["user_id"].isna().tolist() == [False, True]
    assert portfolio.data_until == dt.date(2025, 3, 4)
    assert all(report.kept == 2 for report in portfolio.reports.values())


def test_a_workbook_with_a_sheet_for_each_table_is_a_portfolio(tmp_path):
    title = [["Accounts of the CRM"], [], COLUMNS]
    numbered = [[1001, *ROWS[0][1:]], [1002, *ROWS[1][1:]]]
    sheets = {
        "Customers": [*title, *numbered, []],
        "events": [EVENT_COLUMNS, *EVENTS],
        "Notes": [["x"]],
    }
    path = write_workbook(tmp_path / "crm.xlsx", sheets)
    portfolio = Portfolio.open(path)
    holds_the_portfolio(portfolio)
    assert "sheet Notes in crm.xlsx is not one of the tables" in portfolio.check().to_text()


def test_a_folder_may_hold_workbooks_and_an_unusable_row_is_named_by_its_line(tmp_path):
    rows = [["Export of 3 March"], COLUMNS, *ROWS, ["1003", "soon", "Late", 1, 1]]
    write_workbook(tmp_path / "customers.xlsx", {"Sheet1": rows})
    write_workbook(tmp_path / "events.xlsx", {"Sheet1": [EVENT_COLUMNS, *EVENTS]})
    portfolio = Portfolio.open(tmp_path, {"max_loss_share": 0.5})
    (issue,) = (each for each in portfolio.reports["customers"].issues if each.count)
    assert (issue.example, issue.file, issue.line) == ("soon", "customers.xlsx", 5)


def test_a_sqlite_file_is_a_portfolio_and_a_changed_one_is_read_again(tmp_path):
    path = tmp_path / "crm.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "CREATE TABLE customers (client_id INTEGER, signup_date DATE, name, arr REAL, seats)"
        )
        texts = [[int(row[0]), str(row[1]), *row[2:]] for row in ROWS]
        connection.executemany("INSERT INTO customers VALUES (?, ?, ?, ?, ?)", texts)
        connection.execute("CREATE TABLE log (client_id, occurred_at TIMESTAMP, user_id, count)")
        connection.executemany(
            "INSERT INTO log VALUES (?, ?, ?, ?)", [[e[0], str(e[1]), *e[2:]] for e in EVENTS]
        )
        connection.execute("CREATE VIEW events AS SELECT * FROM log")
        connection.execute("CREATE TABLE customer (a)")
    holds_the_portfolio(Portfolio.open(path))
    assert "did you mean customers" in Portfolio.open(path).check().to_text()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO customers VALUES (7, '2025-02-01', 'x', 1, 1)")
        connection.commit()
        assert list(Portfolio.open(path)) == ["1001", "1002", "7"]


@pytest.mark.parametrize("ending", ["jsonl", "json", "ndjson.gz"])
def test_json_lines_and_arrays_are_tables(tmp_path, ending):
    for name, columns, rows in (("customers", COLUMNS, ROWS), ("events", EVENT_COLUMNS, EVENTS)):
        objects = [json.dumps(dict(zip(columns, row, strict=True)), default=str) for row in rows]
        text = "[" + ",".join(objects) + "]" if ending == "json" else "\n".join(objects)
        content = gzip.compress(text.encode()) if ending.endswith("gz") else text.encode()
        (tmp_path / f"{name}.{ending}").write_bytes(content)
    holds_the_portfolio(Portfolio.open(tmp_path))


def test_json_lines_with_a_byte_order_mark_and_a_key_without_a_name_are_read(tmp_path):
    line = json.dumps({"": 1, "client_id": "acme", "signup_date": "2025-01-01"})
    (tmp_path / "customers.jsonl").write_bytes(b"\xef\xbb\xbf" + line.encode() + b"\n")
    customers = Portfolio.open(tmp_path).table("customers")
    assert customers["client_id"].tolist() == ["acme"]


def test_a_line_that_is_no_json_is_counted_with_its_number(tmp_path):
    good = '{"client_id": "acme", "signup_date": "2025-01-01"}'
    (tmp_path / "customers.jsonl").write_text(f"{good}\n{{broken\n")
    report = Portfolio.open(tmp_path, {"max_loss_share": 0.9}).reports["customers"]
    assert (report.kept, report.read, report.issues[0].line) == (1, 2, 2)


@pytest.mark.parametrize(
    ("encoding", "separator", "end"),
    [
        ("utf-8-sig", ";", "\r\n"),
        ("utf-16", "\t", "\r\n"),
        ("utf-16-be", ",", "\n"),
        ("utf-8", "|", "\n"),
    ],
)
def test_csv_in_the_encodings_and_with_the_separators_of_excel(tmp_path, encoding, separator, end):
    for name, columns, rows in (("customers", COLUMNS, ROWS), ("events", EVENT_COLUMNS, EVENTS)):
        lines = [
            separator.join("" if value is None else str(value) for value in row)
            for row in [columns, *rows]
        ]
        mark = "\ufeff" if encoding == "utf-16-be" else ""
        (tmp_path / f"{name}.csv").write_bytes((mark + end.join(lines)).encode(encoding))
    portfolio = Portfolio.open(tmp_path)
    holds_the_portfolio(portfolio)
    notes = " ".join(portfolio.reports["customers"].warnings)
    assert ("was read as UTF-16" in notes) == encoding.startswith("utf-16")


def test_csv_of_a_western_windows_is_read_and_noted(tmp_path):
    text = "client_id;signup_date;name\nacme;2025-01-01;Müller & Söhne – Köln\n"
    (tmp_path / "customers.csv").write_bytes(text.encode("cp1252"))
    portfolio = Portfolio.open(tmp_path)
    assert portfolio.client("acme")["name"] == "Müller & Söhne – Köln"
    assert "read as Windows-1252" in portfolio.reports["customers"].warnings[0]
    # the copy goes on where it was removed, and examples are read from it
    assert Portfolio.open(tmp_path).client("acme")["name"] == "Müller & Söhne – Köln"


def test_csv_with_line_ends_in_quotes_and_lines_of_other_lengths_is_accounted(tmp_path):
    text = 'client_id,signup_date,name\r\nacme,2025-01-01,"Acme\r\n""Inc"", Berlin"\r\nbeta,2025-01-01\r\nzeta,2025-01-01,Z\r\n'
    (tmp_path / "customers.csv").write_bytes(text.encode())
    portfolio = Portfolio.open(tmp_path, {"max_loss_share": 0.5})
    assert portfolio.client("acme")["name"].split() == ["Acme", '"Inc",', "Berlin"]
    report = portfolio.reports["customers"]
    assert (report.read, report.kept) == (3, 2) and report.issues[0].example == "beta,2025-01-01"


def test_a_table_of_forty_thousand_columns_is_read(tmp_path):
    names = [*COLUMNS, *(f"extra_{number}" for number in range(40_000))]
    rows = [[*map(str, row), *["0"] * 40_000] for row in ROWS]
    (tmp_path / "customers.csv").write_text("\n".join(",".join(row) for row in [names, *rows]))
    portfolio = Portfolio.open(tmp_path)
    assert list(portfolio) == ["1001", "1002"]
    assert "has 40,005 columns" in portfolio.reports["customers"].warnings[0]


STRAYS = {
    "Customers 2025.csv": "customers",
    "event.csv": "events",
    "customer.csv.gz": "customers",
    "tickets (1).xlsx": "tickets",
    "invoices_export.parquet": "invoices",
    "contracts.txt": "contracts? (.txt is not read: save it as CSV",
    "surveys.csv.zip": "surveys? (.zip is not read",
}


def test_files_that_look_like_tables_are_named(make_portfolio):
    folder = make_portfolio().folder
    for name in STRAYS:
        (folder / name).write_bytes(b"x")
    warnings = Portfolio.open(folder).check().warnings
    for name, guess in STRAYS.items():
        (warning,) = (
            each for each in warnings if each.startswith(f"{name} is not one of the tables")
        )
        assert f"did you mean {guess}" in warning
    assert len(warnings) == len(STRAYS)


def test_names_of_tables_may_be_in_capitals_but_not_twice(tmp_path):
    text = "client_id,signup_date\nacme,2025-01-01\n"
    write(tmp_path, "Customers.CSV", text)
    assert list(Portfolio.open(tmp_path)) == ["acme"]
    write(tmp_path, "customers.jsonl", "{}")
    with pytest.raises(
        InvalidParameters, match=r"customers exists more than once: .*keep one of them"
    ):
        Portfolio.open(tmp_path)


def frames(zone: str | None = None) -> dict[str, pd.DataFrame]:
    events = pd.DataFrame(EVENTS, columns=EVENT_COLUMNS)
    if zone:
        events["occurred_at"] = events["occurred_at"].dt.tz_localize("UTC").dt.tz_convert(zone)
    return {"customers": pd.DataFrame(ROWS, columns=COLUMNS), "events": events}


def _dtypes() -> dict[str, dict]:
    zoned, plain = frames("Asia/Kathmandu"), frames()
    nano = plain["events"].assign(
        occurred_at=plain["events"]["occurred_at"].astype("datetime64[ns]")
    )
    zoned_nano = zoned["events"].assign(
        occurred_at=zoned["events"]["occurred_at"].astype("datetime64[ns, Asia/Kathmandu]")
    )
    exact = plain["customers"].assign(
        arr=[Decimal("1200.50"), None],
        seats=pd.array([7, 3], dtype="UInt16"),
        name=plain["customers"]["name"].astype("category"),
    )
    arrow = {name: pa.Table.from_pandas(frame) for name, frame in plain.items()}
    large = arrow["customers"].set_column(
        2, "name", arrow["customers"].column("name").cast(pa.large_string()).dictionary_encode()
    )
    text = plain["events"].assign(occurred_at=plain["events"]["occurred_at"].astype("str"))
    objects = plain["events"].assign(
        occurred_at=pd.Series([event[1] for event in EVENTS], dtype="object"),
        count=[np.int64(2), 1.0],
    )
    numpy_ids = plain["customers"].assign(client_id=[1001, 1002])
    return {
        "microseconds": plain,
        "with a zone": zoned,
        "nanoseconds": {**plain, "events": nano},
        "nanoseconds with a zone": {**plain, "events": zoned_nano},
        "decimals, categories and unsigned numbers": {**plain, "customers": exact},
        "Arrow tables": arrow,
        "Arrow dictionaries of large text": {**arrow, "customers": large},
        "text": {**plain, "events": text},
        "objects": {**plain, "events": objects},
        "pandas on Arrow": {
            name: frame.convert_dtypes(dtype_backend="pyarrow") for name, frame in plain.items()
        },
        "ids as numbers": {**plain, "customers": numpy_ids},
        "ids as the index, names with blanks": {
            **plain,
            "customers": plain["customers"].rename(columns="{} ".format).set_index("client_id "),
        },
    }


@pytest.mark.parametrize("kind", _dtypes())
def test_frames_of_every_type_hold_the_same_portfolio(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("HEALTHSEG_CACHE", str(tmp_path))
    holds_the_portfolio(Portfolio.open(_dtypes()[kind]))


def test_frames_are_recognised_by_their_content(tmp_path, monkeypatch):
    monkeypatch.setenv("HEALTHSEG_CACHE", str(tmp_path))
    first, again = Portfolio.open(frames()), Portfolio.open(frames())
    assert first.fingerprint() == again.fingerprint() and first.root == again.root


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"customer": pd.DataFrame()}, "did you mean customers"),
        ({"customers": [1]}, "a list: expected a DataFrame"),
        ({"customers": pd.Series(["a"])}, "a Series: expected a DataFrame"),
        ({}, "empty dictionary"),
        ({"customers": "nowhere.csv"}, "is not the file of a table"),
        ({"customers": pd.DataFrame([[1, 2]], columns=["a", "a"])}, "column a more than once"),
        (3, "a int is not a portfolio|int is not a portfolio"),
    ],
)
def test_what_is_no_portfolio_is_refused_in_words(tables, message):
    with pytest.raises(InvalidParameters, match=message):
        Portfolio.open(tables)


def test_a_file_that_holds_no_table_says_what_it_holds(tmp_path):
    write_workbook(tmp_path / "x.xlsx", {"Accounts": [["a"]]})
    with pytest.raises(DataRetrievalError, match=r"holds no tables .*sheet Accounts"):
        Portfolio.open(tmp_path / "x.xlsx")
    (tmp_path / "y.xlsx").write_bytes(b"PK no workbook")
    with pytest.raises(DataRetrievalError, match="not an Excel workbook"):
        Portfolio.open(tmp_path / "y.xlsx")


def test_a_query_may_read_a_sheet_and_a_table_of_a_database_file(tmp_path):
    write_workbook(
        tmp_path / "crm.xlsx", {"x": [[1]], "Accounts": [["id", "since"], ["acme", DAY]]}
    )
    with closing(sqlite3.connect(tmp_path / "log.sqlite")) as connection, connection:
        connection.execute(
            "CREATE TABLE clicks AS SELECT 'acme' AS id, '2025-03-03 23:30:00' AS seen"
        )
    (tmp_path / "portfolio.toml").write_text(
        "[tables]\ncustomers = \"SELECT id AS client_id, since AS signup_date FROM 'crm.xlsx#Accounts'\"\n"
        "events = \"SELECT id AS client_id, seen AS occurred_at FROM 'log.sqlite#clicks'\"\n"
    )
    portfolio = Portfolio.open(tmp_path)
    assert portfolio.client("acme")["signup_date"] == DAY and portfolio.data_until == dt.date(
        2025, 3, 3
    )
