"""A portfolio.toml, a DuckDB file, a database address, a read-only folder, two processes at once."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys

import duckdb
import pandas as pd
import pytest
import sqlalchemy

from healthseg.data.portfolio import Portfolio
from healthseg.errors import DataRetrievalError, IntegrationError, InvalidParameters
from healthseg.settings import trust

ACCOUNTS = "account_id,joined,tz\nacme,2025-01-01,Europe/Berlin\nbeta,2025-01-01,UTC\n"
CLICKS = (
    "account,who,day,clicks\nacme,ann,2025-03-03,5\nacme,ann,2025-03-04,2\nbeta,bea,2025-03-04,1\n"
)
TOML = """
[settings]
session_gap_minutes = 20

[tables]
customers = "select account_id as client_id, joined as signup_date, tz as timezone from 'accounts.csv'"
events = '''
select account as client_id, who as user_id, day as occurred_at, clicks as count
from read_csv('clicks/*.csv')
'''
"""


@pytest.fixture
def mapped(tmp_path):
    (tmp_path / "clicks").mkdir()
    (tmp_path / "accounts.csv").write_text(ACCOUNTS)
    (tmp_path / "clicks" / "a.csv").write_text(CLICKS)
    (tmp_path / "portfolio.toml").write_text(TOML)
    return tmp_path


def test_a_toml_maps_the_users_own_files_relative_to_itself(mapped, monkeypatch, rows):
    monkeypatch.chdir("/")
    for path in (mapped, mapped / "portfolio.toml"):
        portfolio = Portfolio.open(path)
        assert rows(portfolio, "user_day", "client_id, CAST(day AS VARCHAR), events") == [
            ("acme", "2025-03-03", 5),
            ("acme", "2025-03-04", 2),
            ("beta", "2025-03-04", 1),
        ]
        assert portfolio.settings.session_gap_minutes == 20 and portfolio.root == mapped
    assert Portfolio.open(mapped, {"session_gap_minutes": 5}).settings.session_gap_minutes == 5


def test_a_mapped_file_that_changes_is_read_again(mapped):
    assert Portfolio.open(mapped).reports["events"].read == 3
    with open(mapped / "clicks" / "b.csv", "w") as handle:
        handle.write("account,who,day,clicks\nbeta,bea,2025-03-05,4\n")
    assert Portfolio.open(mapped).reports["events"].read == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[tables]", "[table]", "did you mean tables"),
        ("events =", "event =", "did you mean events"),
        ("[settings]", "[settings", "not valid TOML"),
        ("session_gap_minutes", "session_gap_minute", "did you mean session_gap_minutes"),
    ],
)
def test_a_slip_in_the_toml_is_named(mapped, old, new, message):
    path = mapped / "portfolio.toml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InvalidParameters, match=message):
        Portfolio.open(path)


@pytest.mark.parametrize("text", ["source = 'raw'", "tables = 3", "settings = [1]"])
@pytest.mark.parametrize("name", ["portfolio.toml", "healthseg.toml"])
def test_a_value_in_place_of_a_section_is_named(make_portfolio, name, text):
    folder = make_portfolio().folder
    (folder / name).write_text(text + "\n")
    with pytest.raises(InvalidParameters, match=f"{text.split()[0]} is no section"):
        Portfolio.open(folder)


def test_a_query_that_fails_refuses_its_table_with_the_engines_reason(mapped):
    path = mapped / "portfolio.toml"
    path.write_text(path.read_text().replace("clicks/*.csv", "clocks/*.csv"))
    portfolio = Portfolio.open(path)
    assert not portfolio.has("events") and "clocks/*.csv" in portfolio.reports["events"].reason
    with pytest.raises(DataRetrievalError):
        portfolio.require("events")


def test_a_duckdb_file_is_a_portfolio(tmp_path, rows):
    path = tmp_path / "portfolio.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE customers AS SELECT 'acme' AS client_id, DATE '2025-01-01' AS signup_date"
        )
        connection.execute(
            "CREATE VIEW events AS SELECT 'acme' AS client_id, TIMESTAMP '2025-03-03 10:00' AS occurred_at"
        )
        connection.execute("CREATE TABLE ticket (a INT)")
    portfolio = Portfolio.open(path)
    assert rows(portfolio, "user_day", "client_id, events") == [("acme", 1)]
    assert "did you mean tickets" in portfolio.check().to_text()
    (tmp_path / "no.duckdb").write_bytes(b"nothing of the kind")
    with pytest.raises(DataRetrievalError, match="cannot be opened as a DuckDB file"):
        Portfolio.open(tmp_path / "no.duckdb")


def test_a_database_address_is_read_through_sqlalchemy(tmp_path, monkeypatch, rows):
    monkeypatch.setenv("HEALTHSEG_CACHE", str(tmp_path / "cache"))
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/portfolio.sqlite")
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.text("CREATE TABLE customers (client_id TEXT, signup_date DATE, arr REAL)")
        )
        connection.execute(
            sqlalchemy.text(
                "CREATE TABLE events (client_id TEXT, user_id TEXT, occurred_at TIMESTAMP)"
            )
        )
        connection.execute(
            sqlalchemy.text("INSERT INTO customers VALUES ('acme', '2025-01-01', 10.5)")
        )
        connection.execute(
            sqlalchemy.text(
                "INSERT INTO events VALUES ('acme', 'ann', '2025-03-03 10:00:00'), "
                "('acme', NULL, '2025-03-04 10:00:00')"
            )
        )
    engine.dispose()
    portfolio = Portfolio.open(f"sqlite:///{tmp_path}/portfolio.sqlite")
    assert portfolio.client("acme")["arr"] == 10.5
    assert rows(portfolio, "user_day", "user_id, events") == [("ann", 1), (None, 1)]
    assert portfolio.root.is_relative_to(tmp_path / "cache")
    again = Portfolio.open(f"sqlite:///{tmp_path}/portfolio.sqlite")
    assert again.fingerprint() == portfolio.fingerprint()


@pytest.mark.parametrize(
    "address",
    [
        "sqlite:////no/such/folder/x.sqlite",
        "postgresql://ann:s3cret@127.0.0.1:1/portfolio",
        "mysql+pymysql://ann:s3cret@127.0.0.1:1/portfolio",
    ],
)
def test_a_database_that_does_not_answer_is_an_integration_error_without_the_password(address):
    with pytest.raises(IntegrationError) as caught:
        Portfolio.open(address)
    assert "s3cret" not in str(caught.value.to_dict()) and "ann:" not in caught.value.message
    assert "ann@" not in caught.value.message
    assert caught.value.to_dict()["error_code"] == "INTEGRATION_ERROR"


def test_an_unknown_kind_of_database_is_refused_without_the_password():
    with pytest.raises(InvalidParameters) as caught:
        Portfolio.open("nosuchdb://ann:s3cret@host/portfolio")
    assert "s3cret" not in str(caught.value.to_dict())


def test_a_table_given_twice_is_refused(make_portfolio):
    with pytest.raises(InvalidParameters, match="events exists more than once"):
        make_portfolio(**{"events.parquet": pd.DataFrame({"a": [1]})})


def test_a_read_only_folder_works_and_its_store_goes_to_the_cache(
    make_portfolio, tmp_path, monkeypatch, rows
):
    monkeypatch.setenv("HEALTHSEG_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "portfolio"
    make_portfolio()
    folder.chmod(0o500)
    code = (
        "import sys; from healthseg.data.portfolio import Portfolio; portfolio = Portfolio.open(sys.argv[1]); "
        "print(portfolio.root); print(portfolio.connection().execute('SELECT SUM(events) FROM user_day').fetchall()[0][0])"
    )
    command = [sys.executable, "-c", code, str(folder)]
    if os.geteuid() == 0:  # a superuser writes anywhere: drop what allows it
        if shutil.which("setpriv") is None:
            pytest.skip("needs setpriv to give up a superuser's right to write anywhere")
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            cwd=os.getcwd(),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    finally:
        folder.chmod(0o700)
    root, events = done.stdout.split()
    assert root.startswith(str(tmp_path / "cache")) and events == "2"
    assert sorted(path.name for path in folder.iterdir()) == ["customers.csv", "events.csv"]


def _open(path: str) -> tuple[str, int]:
    portfolio = Portfolio.open(path)
    return portfolio.fingerprint(), len(
        portfolio.connection().execute("SELECT * FROM sessions").fetchall()
    )


def test_two_processes_open_the_same_portfolio_at_once(make_portfolio):
    events = "client_id,user_id,occurred_at\n" + "".join(
        f"acme,u{k % 7},2025-03-{1 + k % 28:02d} {k % 24:02d}:00:00\n" for k in range(300)
    )
    path = make_portfolio(events=events).path
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        fingerprints = pool.map(_open, [path] * 3, chunksize=1)
    assert len(set(fingerprints)) == 1


def test_an_unchanged_portfolio_opens_without_reading_its_tables(make_portfolio, monkeypatch):
    first = make_portfolio()
    expected = first.check().to_dict()

    def refuse(*_):
        raise AssertionError("a table was read again")

    monkeypatch.setattr("healthseg.data.loading.clean_table", refuse)
    monkeypatch.setattr("healthseg.data.staging._grouped", refuse)
    monkeypatch.setattr("healthseg.data.facts._build", refuse)
    assert Portfolio.open(first.path).check().to_dict() == expected


# a portfolio.toml apart from the data that it maps

QUERIES = """
[tables]
customers = "SELECT id AS client_id, since AS signup_date FROM 'accounts.csv'"
events = "SELECT id AS client_id, seen AS occurred_at FROM 'log.csv'"
"""


@pytest.fixture
def mapping(tmp_path):
    """A function: the toml of a mapping whose ``[source]`` is named; the data are in ``raw`` and ``other``."""
    for name, day in (("raw", "2025-01-02"), ("other", "2025-01-05")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "accounts.csv").write_text("id,since\na,2025-01-01\n")
        (folder / "log.csv").write_text(f"id,seen\na,{day}\n")

    def write(source):
        path = tmp_path / "mapping" / "portfolio.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source + QUERIES)
        trust.trust([path])
        return path

    return write


def last_day(path):
    return Portfolio.open(path).data_until.isoformat()


def test_queries_read_files_relative_to_the_named_folder(mapping):
    path = mapping('[source]\nfolder = "../raw"\n')
    assert last_day(path) == last_day(path.parent) == "2025-01-02"
    assert (path.parent / ".healthseg").is_dir()


def test_the_first_folder_that_is_there_is_read_and_a_variable_can_name_it(
    mapping, monkeypatch, tmp_path
):
    path = mapping('[source]\nfolder = ["$PORTFOLIOS_FOR_TESTS/other", "../gone", "../raw"]\n')
    assert last_day(path) == "2025-01-02"
    monkeypatch.setenv("PORTFOLIOS_FOR_TESTS", str(tmp_path))
    assert last_day(path) == "2025-01-05"


def test_data_that_are_not_there_are_named_with_where_they_were_looked_for(mapping):
    with pytest.raises(
        DataRetrievalError, match=r"not there; looked for \$PORTFOLIOS_FOR_TESTS, \.\./gone"
    ) as caught:
        Portfolio.open(mapping('[source]\nfolder = ["$PORTFOLIOS_FOR_TESTS", "../gone"]\n'))
    assert caught.value.details["parameter"] == "source.folder"


@pytest.mark.parametrize(
    "source",
    [
        "[source]\nfolder = 3\n",
        '[source]\nfolders = "../raw"\n',
        '[source]\nfolder = ["../raw", 3]\n',
    ],
)
def test_a_source_that_is_not_understood_is_refused_with_the_rule(mapping, source):
    with pytest.raises(InvalidParameters, match=r"\[source\] has folder"):
        Portfolio.open(mapping(source))
