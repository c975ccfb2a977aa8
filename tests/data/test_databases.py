"""Tables in a database: typed, in one snapshot, by their names or by a query for each in portfolio.toml."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import signal
import sqlite3
import threading
import time
from contextlib import closing

import pytest
import sqlalchemy

from healthseg.cli.main import main
from healthseg.data.portfolio import Portfolio
from healthseg.errors import DataRetrievalError, IntegrationError, InvalidParameters

QUERIES = """
[tables]
customers = "SELECT id AS client_id, since AS signup_date, arr FROM accounts WHERE kind <> ':test'"
events = "SELECT account AS client_id, seen AS occurred_at, who AS user_id, clicks AS count FROM log"
"""
CREATED = (
    "CREATE TABLE accounts (id INTEGER, since DATE, arr NUMERIC(12, 2), kind TEXT, tags JSON)",
    "CREATE TABLE log (account INTEGER, seen TIMESTAMP, who TEXT, clicks INTEGER)",
    "INSERT INTO accounts VALUES (1001, '2025-01-31', 1200.50, 'paying', NULL), (7, '2025-01-31', NULL, ':test', NULL)",
    "INSERT INTO log VALUES (1001, '2025-03-03 10:30:00', 'ann', 2), (1001, '2025-03-04 23:15:00', NULL, 1)",
)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEALTHSEG_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=["sqlite", "postgres"])
def address(request, tmp_path):
    """A database with the tables of a CRM in a schema of their own."""
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path}/crm.sqlite"
    else:
        address = request.getfixturevalue("postgres")
    engine = sqlalchemy.create_engine(address)
    with engine.begin() as connection:
        for table in ("accounts", "log"):
            connection.execute(sqlalchemy.text(f"DROP TABLE IF EXISTS {table}"))
        for statement in CREATED:
            connection.exec_driver_sql(statement)
    yield address
    engine.dispose()


@pytest.fixture
def portfolio_of(tmp_path, monkeypatch):
    """A function that opens a portfolio.toml whose queries run in a database named by a variable."""

    def portfolio(address: str, queries: str = QUERIES) -> Portfolio:
        monkeypatch.setenv("HEALTHSEG_CRM", address)
        path = tmp_path / "portfolio.toml"
        path.write_text(f'[source]\naddress = "$HEALTHSEG_CRM"\n{queries}')
        return Portfolio.open(path)

    return portfolio


def test_a_query_for_each_table_runs_in_the_database(address, portfolio_of):
    portfolio = portfolio_of(address)
    assert list(portfolio) == ["1001"]
    row = portfolio.client(1001)
    assert (row["signup_date"], row["arr"]) == (dt.date(2025, 1, 31), 1200.5)
    assert portfolio.table("events")["count"].tolist() == [2, 1]
    assert portfolio.data_until == dt.date(2025, 3, 4)
    assert portfolio_of(address).fingerprint() == portfolio.fingerprint()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("DELETE FROM log RETURNING account AS client_id", "must be one SELECT"),
        ("SELECT 1; DROP TABLE log", "must be one SELECT"),
        ("WITH gone AS (DELETE FROM log RETURNING *) SELECT * FROM gone", "changes nothing"),
        ("SELECT * INTO copied FROM log", "changes nothing"),
        ("SELECT * FROM (", "is not SQL"),
    ],
)
def test_a_query_that_is_no_select_is_refused_before_it_runs(address, portfolio_of, query, words):
    with pytest.raises(InvalidParameters, match=rf"\[tables\] customers .*{words}"):
        portfolio_of(address, f'[tables]\ncustomers = "{query}"\n')


def test_a_query_that_the_database_refuses_is_named_in_its_words(address, portfolio_of):
    with pytest.raises(
        DataRetrievalError, match=r"table customers .* cannot be read: .*nowhere"
    ) as caught:
        portfolio_of(address, '[tables]\ncustomers = "SELECT * FROM nowhere"\n')
    assert (
        address.partition("://")[2].split("@")[0] not in caught.value.message or "sqlite" in address
    )


def test_all_tables_are_of_one_moment(tmp_path):
    """Rows that are committed while the tables are read belong to the next opening."""
    path = tmp_path / "live.sqlite"
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE customers (client_id TEXT, signup_date DATE)")
        writer.execute("CREATE TABLE events (client_id TEXT, occurred_at TIMESTAMP)")
        writer.execute("INSERT INTO customers VALUES ('acme', '2025-01-01')")
        writer.commit()

        @sqlalchemy.event.listens_for(sqlalchemy.Engine, "before_cursor_execute")
        def add(connection, cursor, statement, *_):
            if "FROM events" in statement:
                writer.execute("INSERT INTO events VALUES ('acme', '2025-03-03 23:30:00')")
                writer.commit()

        try:
            first = Portfolio.open(f"sqlite:///{path}")
        finally:
            sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", add)
    assert not first.has("events") and Portfolio.open(f"sqlite:///{path}").has("events")


def test_a_change_that_was_cut_short_is_said_without_a_password(tmp_path):
    """A file with its journal, copied in the middle of a change: only its own program rolls it back."""
    with closing(sqlite3.connect(tmp_path / "crm.db")) as connection:
        connection.execute("CREATE TABLE customers (client_id, signup_date)")
        connection.executemany(
            "INSERT INTO customers VALUES (?, '2025-01-01')", [(f"c{i}",) for i in range(2000)]
        )
        connection.commit()
        connection.execute("PRAGMA cache_size = 5")
        connection.execute("UPDATE customers SET signup_date = '2025-02-01'")
        for ending in ("", "-journal"):
            shutil.copy(tmp_path / f"crm.db{ending}", tmp_path / f"copy.db{ending}")
    for name, words in (("copy", "was cut short: open it once"), ("none", "unable to open")):
        with pytest.raises(IntegrationError, match=words) as refused:
            Portfolio.open(f"sqlite:///{tmp_path}/{name}.db")
        assert "password" not in str(refused.value)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_a_command_within_a_query_of_sqlite_without_an_end(number, tmp_path, capfd):
    with closing(sqlite3.connect(tmp_path / "crm.db")) as connection:
        endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT 1 - x FROM n) SELECT x AS client_id, x AS signup_date"
        connection.execute(f"CREATE VIEW customers AS {endless} FROM n WHERE x > 1")
        connection.commit()
    before = signal.getsignal(number)
    if before is signal.SIG_IGN:  # as of what a shell runs in the background
        pytest.skip("who runs the tests ignores this signal, and so does the command")

    def stop() -> None:
        while signal.getsignal(number) is before:  # until the command has begun
            time.sleep(0.01)
        time.sleep(0.5)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    assert main(["check", f"sqlite:///{tmp_path}/crm.db"]) == 128 + number
    thread.join()
    assert capfd.readouterr().err == "stopped\n" and signal.getsignal(number) is before
