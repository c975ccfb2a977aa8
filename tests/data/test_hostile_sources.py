"""Portfolios of other people: queries, views and names of files that want more than to be read."""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3

import duckdb
import pandas as pd
import pytest

from healthseg.data import response_cache
from healthseg.data.ledger.ledger import FILE_NAME, Ledger
from healthseg.data.portfolio import Portfolio
from healthseg.errors import DataRetrievalError, HealthsegError, InvalidParameters

CUSTOMERS = "SELECT 'acme' AS client_id, DATE '2025-01-01' AS signup_date"
SECRET = "secret-of-the-operator"
AT = dt.datetime(2025, 10, 1, tzinfo=dt.UTC)


@pytest.fixture
def hostile(tmp_path):
    """A function: a portfolio.toml whose customers are one query, beside a secret that lies outside its folder."""
    (tmp_path / "secret.txt").write_text(SECRET)
    (tmp_path / "secret.csv").write_text(f"client_id,signup_date\n{SECRET},2025-01-01\n")
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "rows.csv").write_text("client_id,signup_date\nacme,2025-01-01\n")

    def write(query: str, source: str = "") -> Portfolio:
        query = query.replace("OUTSIDE", str(tmp_path))
        (folder / "portfolio.toml").write_text(f"{source}\n[tables]\ncustomers = '''{query}'''\n")
        return Portfolio.open(folder)

    return write


STATEMENTS = [
    f"{CUSTOMERS}) ; COPY (SELECT 1) TO 'OUTSIDE/written.csv' ; SELECT * FROM ({CUSTOMERS}",
    f"{CUSTOMERS}; COPY (SELECT 1) TO 'OUTSIDE/written.csv'",
    "COPY (SELECT 1) TO 'OUTSIDE/written.csv'",
    "ATTACH 'OUTSIDE/written.duckdb'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "PRAGMA version",
    "CALL enable_logging()",
    "EXPORT DATABASE 'OUTSIDE/written'",
    "CREATE TABLE accounts AS SELECT 1",
    "WITH gone AS (DELETE FROM accounts RETURNING *) SELECT * FROM gone",
    f"{CUSTOMERS} /* and no end",
]
FILES = [
    "SELECT * FROM 'OUTSIDE/secret.csv'",
    "SELECT * FROM '../secret.csv'",
    "SELECT * FROM 'rows.csv' UNION ALL SELECT * FROM '../secret.csv'",
    "SELECT content AS client_id, DATE '2025-01-01' AS signup_date FROM read_text('../secret.txt')",
    "SELECT content AS client_id, DATE '2025-01-01' AS signup_date FROM read_blob(['../secret.txt'])",
    "SELECT file AS client_id, DATE '2025-01-01' AS signup_date FROM glob('OUTSIDE/*')",
    "SELECT * FROM read_csv('https://127.0.0.1:9/rows.csv')",
    "SELECT * FROM 's3://bucket/rows.parquet'",
    "SELECT * FROM 'file:///etc/hosts'",
    "SELECT * FROM parquet_scan('../secret.csv')",
    "SELECT (SELECT content FROM read_text('../secret.txt')) AS client_id, DATE '2025-01-01' AS signup_date",
]
# what only the engine's own limits stop
INDIRECT = [
    "SELECT * FROM query('SELECT * FROM read_csv(''OUTSIDE/secret.csv'')')",
    "SELECT * FROM read_csv('OUTSIDE' || '/secret.csv')",
    "SELECT * FROM read_csv(getvariable('path'))",
    "SELECT * FROM read_csv(['rows.csv', concat('OUTSIDE', '/secret.csv')])",
    "SELECT * FROM sqlite_scan('OUTSIDE/secret.csv', 'customers')",
    "SELECT * FROM settings",
]


@pytest.mark.parametrize("query", STATEMENTS)
def test_a_query_is_one_select_and_nothing_else(hostile, tmp_path, query):
    with pytest.raises(InvalidParameters, match=r"\[tables\] customers .*(SELECT|not SQL)"):
        hostile(query)
    assert not list(tmp_path.glob("written*"))


@pytest.mark.parametrize("query", FILES)
def test_a_query_reads_files_below_the_portfolios_folder_alone(hostile, query):
    with pytest.raises(InvalidParameters, match=r"does not lie below .*\[source\] folder"):
        hostile(query)


@pytest.mark.parametrize("query", INDIRECT)
def test_a_query_that_hides_the_name_of_a_file_cannot_read_it_either(hostile, query):
    try:
        text = hostile(query).check().to_text()
    except HealthsegError as problem:
        text = problem.message
    assert SECRET not in text.replace("secret.csv", "")


def test_views_of_a_duckdb_file_read_nothing_but_the_file(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.csv").write_text(
        f"client_id,signup_date\n{SECRET},2025-01-01\n"
    )
    (tmp_path / "shared").mkdir()
    path = tmp_path / "shared" / "portfolio.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            f"CREATE VIEW customers AS SELECT * FROM read_csv('{tmp_path}/outside/secret.csv', "
            "columns = {'client_id': 'VARCHAR', 'signup_date': 'DATE'})"
        )
        connection.execute("CREATE TABLE contracts AS SELECT 'acme' AS client_id")
    portfolio = Portfolio.open(path)
    assert not portfolio.has("customers") and SECRET not in portfolio.check().to_text()


def test_the_source_may_be_a_variable_but_its_value_is_never_repeated(hostile, monkeypatch):
    monkeypatch.setenv("HEALTHSEG_TEST_SOURCE", SECRET)
    with pytest.raises(HealthsegError, match="holds no database address") as caught:
        hostile(CUSTOMERS, '[source]\naddress = "$HEALTHSEG_TEST_SOURCE"')
    assert SECRET not in str(caught.value.to_dict())
    with pytest.raises(InvalidParameters) as caught:
        hostile(CUSTOMERS, f'[source]\naddress = "x"\nuser = "{SECRET}"')
    assert SECRET not in str(caught.value.to_dict())


def test_queries_within_the_folder_go_on_as_before(hostile):
    query = (
        "WITH kept AS (SELECT * FROM 'rows.csv' WHERE client_id <> 'rows.csv') SELECT * FROM kept"
    )
    assert list(hostile(query)) == ["acme"]
    assert list(hostile("FROM read_csv(['*.csv'], header = true)")) == ["acme"]


@pytest.mark.parametrize("name", ["'x.bin'", "'x' || '.bin'"])
def test_a_query_reads_no_parquet_file_that_the_engine_unpacks_unsafely(hostile, tmp_path, name):
    rows = pd.DataFrame({"client_id": ["acme"], "signup_date": ["2025-01-01"]})
    rows.to_parquet(tmp_path / "shared" / "x.bin", compression="brotli")
    with pytest.raises(HealthsegError, match=r"x\.bin is packed with Brotli"):
        hostile(f"SELECT * FROM read_parquet({name})").table("customers")


ENDLESS = (
    "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT 1 - i FROM t) SELECT i FROM t WHERE i = 7"
)


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        (
            ("DROP TABLE alerts_raised", f"CREATE VIEW alerts_raised AS {ENDLESS}"),
            "'alerts_raised'",
        ),
        (
            ("DROP TABLE schema_version", f"CREATE VIEW schema_version AS {ENDLESS}"),
            "something else",
        ),
        ((f"CREATE TRIGGER t AFTER INSERT ON stage_events BEGIN {ENDLESS}; END",), "'t'"),
        (("CREATE INDEX i ON outbox (hex(payload))",), "'i'"),
        (("ALTER TABLE outbox ADD COLUMN c AS (hex(zeroblob(1000000000)))",), "'outbox'"),
    ],
)
def test_a_ledger_of_others_runs_nothing(tmp_path, statements, reason):
    ledger = Ledger(tmp_path / FILE_NAME, lambda: AT)
    ledger.record_settings("a", {})
    connection = sqlite3.connect(ledger.path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()
    for use in (ledger.stage_events, ledger.verify, lambda: ledger.record_settings("b", {})):
        with pytest.raises(DataRetrievalError, match=reason):
            use()


@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "-journal"])
def test_a_ledger_whose_files_lead_elsewhere_is_neither_read_nor_written(tmp_path, ending):
    ledger = Ledger(tmp_path / "portfolio" / FILE_NAME, lambda: AT)
    ledger.path.parent.mkdir()
    ledger.record_settings("a", {})
    path, other = ledger.path.with_name(FILE_NAME + ending), tmp_path / "other"
    if path.exists():
        path.rename(other)
    path.symlink_to(other)
    before = other.read_bytes() if other.exists() else None
    for use in (ledger.verify, lambda: ledger.record_settings("b", {})):
        with pytest.raises(DataRetrievalError, match="leads to another file"):
            use()
    assert (other.read_bytes() if other.exists() else None) == before


def test_a_ledger_of_more_rows_than_are_read_is_refused_with_the_setting(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path / FILE_NAME, lambda: AT)
    for number in range(3):
        ledger.record_settings(f"{number}", {})
    monkeypatch.setenv("HEALTHSEG_INPUT_LIMITS__LEDGER_ROWS", "2")
    with pytest.raises(
        DataRetrievalError, match=r"3 rows in one table, and 2 are read.*__LEDGER_ROWS"
    ):
        ledger.verify()
    monkeypatch.setenv("HEALTHSEG_INPUT_LIMITS__LEDGER_ROWS", "3")
    assert ledger.verify()["settings_in_force"] == 3


def test_cached_responses_without_an_end_are_as_none(tmp_path, monkeypatch):
    monkeypatch.setattr(response_cache, "_LONGEST_SECONDS", 0.1)
    cache = response_cache.ResponseCache(tmp_path)
    cache.path.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(cache.path)) as connection:
        connection.execute(
            "CREATE VIEW checked_responses AS WITH RECURSIVE x(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM x) SELECT "
            "(SELECT COUNT(*) FROM x) AS key, '{}' AS response, 0 AS computed_at, 9 AS until, 1 AS crc32"
        )
    assert cache.get("key", 5.0) is None
    assert not cache.put("key", "{}", 5.0, 60)


def test_a_view_of_ones_own_beside_a_ledgers_tables_is_left_alone(tmp_path):
    ledger = Ledger(tmp_path / FILE_NAME, lambda: AT)
    ledger.record_settings("a", {})
    connection = sqlite3.connect(ledger.path, isolation_level=None)
    connection.execute("CREATE VIEW latest AS SELECT MAX(seq) FROM settings_in_force")
    connection.close()
    assert ledger.verify()["settings_in_force"] == 1
