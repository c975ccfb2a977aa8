"""Events counted in the engine that they lie in: the same facts, the same accounting, and nothing but counts comes back."""

from __future__ import annotations

import datetime as dt
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import unicodedata
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlglot

from healthseg.data.engine import sql_text
from healthseg.data.facts import FACTS
from healthseg.data.portfolio import Portfolio
from healthseg.demo.portfolio import make_demo
from healthseg.errors import DataRetrievalError, IntegrationError, InvalidParameters
from healthseg.metrics.panels import panel
from tests.data.engine_tables import DuckDBTables, PostgresTables, SparkTables

dbapi = pytest.importorskip("adbc_driver_postgresql.dbapi")
UTC = dt.UTC


# little is compiled, and one partition is enough
FEW_ROWS = {
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.ui.enabled": "false",
    "spark.log.level": "OFF",
}


def require_spark(*libraries: str) -> None:
    """Skips where there is no Spark, or fails where there has to be."""
    names = ("pyspark", *libraries)
    lacking = [name for name in names if importlib.util.find_spec(name.split(".")[0]) is None]
    lacking += [] if shutil.which("java") else ["Java"]
    if lacking and os.environ.get("HEALTHSEG_SPARK_REQUIRED"):
        pytest.fail(f"HEALTHSEG_SPARK_REQUIRED is set, but {lacking[0]} is not installed")
    if lacking:
        pytest.skip(f"{lacking[0]} is not installed")


@pytest.fixture(scope="module")
def spark_session():
    """A session in this process."""
    require_spark()
    from pyspark.sql import SparkSession

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = SparkSession.builder.master("local[2]").config(map=FEW_ROWS).getOrCreate()
    yield session
    session.stop()


@pytest.fixture
def postgresql(postgres, monkeypatch):
    return PostgresTables(postgres, monkeypatch)


@pytest.fixture(params=["duckdb", "postgresql", pytest.param("spark", marks=pytest.mark.slow)])
def engine(request, tmp_path, monkeypatch):
    """Each engine in turn."""
    if request.param == "duckdb":
        return DuckDBTables(tmp_path / "events.duckdb", monkeypatch)
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql")
    request.getfixturevalue("spark_session")
    return SparkTables(tmp_path / "lake", monkeypatch)


def plain(table: pa.Table) -> pa.Table:
    fields = [
        pa.field(each.name, each.type.value_type)
        if pa.types.is_dictionary(each.type)
        else pa.field(each.name, each.type)
        for each in table.schema
    ]
    return table.cast(pa.schema(fields))


def both(engine, tmp_path: Path, tables: dict[str, pa.Table], settings: str = ""):
    """The portfolio in its engine and the same one as files that DuckDB counts."""
    tables = {name: plain(table) for name, table in tables.items()}
    engine.write(tables)
    files = tmp_path / "files"
    files.mkdir()
    for name, table in tables.items():
        pq.write_table(table, files / f"{name}.parquet")
    if settings:
        (files / "healthseg.toml").write_text(settings)
    folder = engine.toml(
        tmp_path / "engine", {name: engine.select(name) for name in tables}, settings
    )
    return Portfolio.open(folder), Portfolio.open(files)


def rows(portfolio: Portfolio, fact: str) -> list:
    return portfolio.connection().execute(f"SELECT * FROM {fact} ORDER BY ALL").fetchall()


def require_equal(counted: Portfolio, expected: Portfolio) -> None:
    assert all(rows(expected, fact) == rows(counted, fact) for fact in FACTS)
    assert counted.extent == expected.extent
    actual_issues, expected_issues = (
        [
            (issue.reason, issue.count, issue.kind, issue.clients)
            for issue in portfolio.reports["events"].issues
        ]
        for portfolio in (counted, expected)
    )
    assert actual_issues == expected_issues
    read = [
        (each.reports["events"].read, each.reports["events"].kept) for each in (counted, expected)
    ]
    assert read[0] == read[1]


def instants(*texts: str) -> pa.Array:
    return pa.array(
        [text and dt.datetime.fromisoformat(text) for text in texts], pa.timestamp("us")
    )


def customers(**zones: str) -> pa.Table:
    signup = [dt.date(2024, 1, 1)] * len(zones)
    return pa.table({"client_id": [*zones], "timezone": [*zones.values()], "signup_date": signup})


# client_id, user_id, occurred_at, feature, source, count, duration_seconds
DIRTY = [
    ("acme", "ann", "2025-03-03 10:00:00", "search", "ui", None, 30.0),
    ("acme", "ann", "2025-03-03 10:00:00", "search", "ui", None, 30.0),
    (" acme ", " ann", "2025-03-03 10:05:00", " sea\u00a0\t rch ", "WEB", None, 12.9),
    ("acme", "NULL", "2025-03-03 11:00:00", "cafe\u0301", "Web-App", None, -5.0),
    ("acme", "caf\u00e9", "2025-03-03 11:00:00", "caf\u00e9", "bot", None, 1e9),
    ("acme", "17.0", "2025-03-03 12:00:00.999999", "search", "api", 3, None),
    ("acme", "bob", "2025-03-31 23:59:59.5", "search", None, 0, None),
    ("acme", "bob", "2025-04-01 00:00:00", "search", "ui", -1, None),
    ("beta", "bea", "2025-03-30 00:59:59", "N/A", "robot \u2014 x", None, None),
    ("beta", "bea", "2025-03-30 01:00:00", "search", "ui", 2, None),
    ("beta", "bea", "2025-03-30 01:29:00", "search", "ui", 2, None),
    ("beta", "eve", "1970-01-01 00:00:00", "search", "ui", None, None),
    ("beta", "eve", "1985-05-05 05:00:00", "search", "ui", None, None),
    ("beta", "eve", "9999-12-31 00:00:00", "search", "ui", None, None),
    ("beta", "eve", None, "search", "ui", None, None),
    ("ghost", "x", "2025-03-04 10:00:00", "search", "ui", None, None),
    ("no good", "x", "2025-03-04 10:00:00", "search", "ui", None, None),
    (None, "x", "2025-03-04 10:00:00", "search", "ui", None, None),
    ("acme", "qa", "2025-03-05 10:00:00", "search", "ui", None, None),
    ("acme", "qa", "2025-03-05 10:00:00", "search", "ui", None, None),
]  # fmt: skip


def dirty(composes: bool) -> pa.Table:
    """The rows, with letters as one character each where the engine does not compose them."""
    client, user, moment, feature, source, count, seconds = zip(*DIRTY, strict=True)
    return pa.table(
        {
            "client_id": pa.array(client, pa.string()),
            "user_id": pa.array(user, pa.string()),
            "occurred_at": instants(*moment),
            "feature": pa.array(
                [
                    each and (each if composes else unicodedata.normalize("NFC", each))
                    for each in feature
                ]
            ),
            "source": pa.array(source, pa.string()),
            "count": pa.array(count, pa.int64()),
            "duration_seconds": pa.array(seconds, pa.float64()),
        }
    )


def around_changes_of_the_clock() -> pa.Table:
    """An event every 25 minutes around the days on which clocks change, in zones where that is odd."""
    moments = []
    for day in ("2025-03-30", "2025-04-05", "2025-10-04", "2025-10-25"):
        first = dt.datetime.fromisoformat(day) - dt.timedelta(hours=15)
        moments += [first + dt.timedelta(minutes=25 * step) for step in range(150)]
    clients = ["berlin", "howe", "nepal", "la"]
    return pa.table(
        {
            "client_id": [client for client in clients for _ in moments],
            "user_id": [f"u{number % 3}" for _ in clients for number in range(len(moments))],
            "occurred_at": pa.array(moments * len(clients), pa.timestamp("us")),
            "feature": ["search"] * len(clients) * len(moments),
        }
    )


ZONES = {
    "berlin": "Europe/Berlin",
    "howe": "Australia/Lord_Howe",
    "nepal": "Asia/Kathmandu",
    "la": "America/Los_Angeles",
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    make_demo(folder, clients=8, months=3)
    tables = {path.stem: pq.read_table(path) for path in folder.glob("*.parquet")}
    return tables | {"events": pq.read_table(folder / "events")}


@pytest.mark.slow
def test_the_facts_of_the_demo_are_those_that_duckdb_counts(engine, tmp_path, demo):
    counted, expected = both(engine, tmp_path, demo)
    require_equal(counted, expected)
    for name in demo:
        # rows without a key come in any order
        actual_rows, expected_rows = (
            sorted(map(str, each.table(name).itertuples(index=False)))
            for each in (counted, expected)
        )
        assert actual_rows == expected_rows, name


def test_dirty_rows_are_dropped_emptied_and_joined_as_duckdb_does(engine, tmp_path):
    settings = '[settings]\nexclude_users = ["qa"]\nmax_loss_share = 1.0\n'
    tables = {
        "customers": customers(acme="UTC", beta="Europe/Berlin"),
        "events": dirty(engine.composes),
    }
    counted, expected = both(engine, tmp_path, tables, settings)
    require_equal(counted, expected)
    reasons = {issue.reason for issue in counted.reports["events"].issues}
    assert {"client_id is not in customers", "occurred_at is missing"} <= reasons
    assert ("acme", "caf\u00e9") in {
        (client, user) for client, user, *_ in rows(counted, "user_day")
    }
    assert not any("qa" in row for row in rows(counted, "user_day"))
    actual_rows, expected_rows = (
        sorted(map(str, each.table("events").itertuples(index=False)))
        for each in (counted, expected)
    )
    assert actual_rows == expected_rows


def test_days_on_which_clocks_change_are_those_that_duckdb_counts(engine, tmp_path):
    tables = {"customers": customers(**ZONES), "events": around_changes_of_the_clock()}
    counted, expected = both(engine, tmp_path, tables)
    require_equal(counted, expected)


# what a client of a Spark Connect server counts, as it is: a process has sessions of one kind of Spark
COUNTS = """
import sys
from healthseg.data.facts import FACTS
from healthseg.data.portfolio import Portfolio
portfolio = Portfolio.open(sys.argv[1])
for fact in FACTS:
    print(fact, portfolio.connection().execute(f"SELECT * FROM {fact} ORDER BY ALL").fetchall())
"""


@pytest.fixture
def spark_connect():
    """The address of a Spark Connect server on loopback."""
    require_spark("grpc", "google.rpc", "zstandard")
    import pyspark

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    few = {**FEW_ROWS, "spark.connect.grpc.binding.port": str(port)}
    few["spark.connect.grpc.binding.address"] = "127.0.0.1"
    options = [f"--conf={name}={value}" for name, value in few.items()]
    submit = Path(pyspark.__file__).with_name("bin") / "spark-submit"
    main = "--class=org.apache.spark.sql.connect.service.SparkConnectServer"
    server = subprocess.Popen(
        [submit, "--master=local[2]", main, *options, "spark-internal"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"},
    )
    try:
        deadline = time.monotonic() + 300
        while not answers(port):
            assert server.poll() is None and time.monotonic() < deadline, "Spark does not start"
            time.sleep(0.2)
        yield f"sc://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(60)


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_a_spark_connect_server_counts_what_duckdb_counts(spark_connect, tmp_path, monkeypatch):
    lake = SparkTables(tmp_path / "lake", monkeypatch)
    tables = {"customers": customers(**ZONES), "events": around_changes_of_the_clock()}
    _, expected = both(lake, tmp_path, tables)
    client = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COUNTS, str(tmp_path / "engine")],
        env={**os.environ, "HEALTHSEG_ENGINE": spark_connect},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert client.returncode == 0, client.stderr[-2000:]
    assert client.stdout.splitlines() == [f"{fact} {rows(expected, fact)}" for fact in FACTS]


def test_instants_with_a_zone_days_and_decimal_counts_mean_the_same(postgresql, tmp_path):
    moments = ["2025-03-30 23:30:00", "2025-03-31 00:00:00", "2025-04-01 08:00:00"]
    events = pa.table(
        {
            "client_id": pa.array([7, 7, 8], pa.int32()),
            "occurred_at": instants(*moments).cast(pa.timestamp("us", "UTC")),
            "count": pa.array([1.0, 2.5, 3.0]),
        }
    )
    known = customers(**{"7": "America/Los_Angeles", "8": "UTC"})
    counted, expected = both(postgresql, tmp_path, {"customers": known, "events": events})
    require_equal(counted, expected)
    days = events.set_column(1, "occurred_at", pa.array([dt.date(2025, 4, 1)] * 3, pa.date32()))
    postgresql.drop("customers", "events")
    (tmp_path / "days").mkdir()
    counted, expected = both(postgresql, tmp_path / "days", {"customers": known, "events": days})
    require_equal(counted, expected)


def test_a_new_day_counts_its_month_alone_and_nothing_twice(postgresql, tmp_path):
    events = around_changes_of_the_clock()
    cut = pa.compute.less(events["occurred_at"], dt.datetime(2025, 10, 26))
    tables = {"customers": customers(**ZONES), "events": events.filter(cut)}
    postgresql.write(tables)
    folder = postgresql.toml(
        tmp_path / "engine", {name: postgresql.select(name) for name in tables}
    )
    assert Portfolio.open(folder).reports["events"].read == pa.compute.sum(cut).as_py()
    before = set((folder / ".healthseg" / "facts").glob("*/*"))
    assert Portfolio.open(folder).reports["events"].kept and before == set(
        (folder / ".healthseg" / "facts").glob("*/*")
    )
    late = [["la"], ["u1"], instants("2025-10-26 20:00:00"), ["search"]]
    postgresql.write({"events": pa.table(late, schema=events.schema)})
    counted = Portfolio.open(folder)
    assert counted.data_until >= dt.date(2025, 10, 25) and counted.reports["events"].read
    after = set((folder / ".healthseg" / "facts").glob("*/*"))
    assert {path.parent.name for path in after - before} == {"2025-10"}
    files = tmp_path / "files"
    files.mkdir()
    pq.write_table(tables["customers"], files / "customers.parquet")
    all_rows = pa.concat_tables([tables["events"], pa.table(late, schema=events.schema)])
    pq.write_table(all_rows, files / "events.parquet")
    require_equal(counted, Portfolio.open(files))


def test_a_reader_who_may_write_nothing_can_count_and_tables_of_ours_hide_none_of_theirs(
    postgresql, tmp_path, monkeypatch
):
    tables = {"customers": customers(**ZONES), "events": around_changes_of_the_clock()}
    postgresql.write({"accounts": tables["customers"], "excluded": tables["events"]})
    name = f"reader{postgresql.schema}"
    postgresql.run(
        f"CREATE ROLE {name} LOGIN",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        f"GRANT USAGE ON SCHEMA {{schema}} TO {name}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {{schema}} TO {name}",
        f"ALTER ROLE {name} SET search_path = {{schema}}",
    )
    monkeypatch.setenv("HEALTHSEG_ENGINE", postgresql.address.replace("healthseg@", f"{name}@"))
    queries = {"customers": "SELECT * FROM accounts;", "events": "SELECT * FROM excluded -- all"}
    counted = Portfolio.open(postgresql.toml(tmp_path / "engine", queries))
    assert counted.reports["events"].read == tables["events"].num_rows
    assert len(rows(counted, "user_day")) > 0


def test_the_rows_behind_a_figure_are_fetched_for_one_customer(postgresql, tmp_path):
    from healthseg.data.behind import rows_of

    tables = {"customers": customers(**ZONES), "events": around_changes_of_the_clock()}
    counted, expected = both(postgresql, tmp_path, tables)
    window = "howe", dt.date(2025, 4, 5), dt.date(2025, 4, 7)
    actual_rows, expected_rows = (
        rows_of(each, "person_events", *window) for each in (counted, expected)
    )
    assert len(actual_rows) > 50 and actual_rows.astype(str).equals(expected_rows.astype(str))


USERS_OF_A_WEEK = "SELECT client_id, count(DISTINCT user_id) AS value FROM events WHERE occurred_day > $date - 7 GROUP BY 1"
TICKETS_A_USER = """WITH people AS (SELECT client_id, count(DISTINCT user_id) AS users FROM events GROUP BY 1)
SELECT client_id, count(*) / any_value(users) AS value FROM tickets JOIN people USING (client_id)
WHERE opened_day <= $date GROUP BY 1"""


def test_a_teams_query_reads_tables_that_lie_in_an_engine(engine, tmp_path):
    """Berlin has three users and two tickets, one of them after the first day that is asked for."""
    opened = instants("2025-03-31 08:00:00", "2025-04-06 08:00:00", "2025-10-25 08:00:00")
    tickets = {
        "ticket_id": ["1", "2", "3"],
        "client_id": ["berlin", "berlin", "la"],
        "opened_at": opened,
    }
    tables = {
        "customers": customers(**ZONES),
        "events": around_changes_of_the_clock(),
        "tickets": pa.table(tickets),
    }
    own = {"users": {"sql": USERS_OF_A_WEEK}, "tickets_a_user": {"sql": TICKETS_A_USER}}
    days = [dt.date(2025, 4, 2), dt.date(2025, 4, 6)]
    counted, expected = (
        panel(each.with_settings({"metrics": own}), days).set_index(["client_id", "date"])
        for each in both(engine, tmp_path, tables)
    )
    assert counted[list(own)].equals(expected[list(own)])
    berlin = counted.loc["berlin"]
    assert list(berlin["users"]) == [3, 3]
    assert list(berlin["tickets_a_user"]) == pytest.approx([1 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ("SELECT 'a' AS client_id, '2025-01-01' AS occurred_at", "cast it in the query"),
        ("SELECT 'a' AS client_id", "has no column occurred_at"),
        ("SELECT nope", "does not exist"),
    ],
)
def test_a_query_that_gives_no_events_says_what_to_do(postgresql, tmp_path, events, words):
    postgresql.write({"customers": customers(a="UTC")})
    queries = {"customers": postgresql.select("customers"), "events": events}
    with pytest.raises(DataRetrievalError, match=words):
        Portfolio.open(postgresql.toml(tmp_path / "engine", queries)).require("events")


@pytest.mark.parametrize(
    "text", ["SELECT * FROM '{}'", "SELECT * FROM read_csv('{}')", "SELECT * FROM read_text('{}')"]
)
def test_a_query_to_duckdb_reads_no_other_file(tmp_path, monkeypatch, text):
    engine, other = DuckDBTables(tmp_path / "events.duckdb", monkeypatch), tmp_path / "other.csv"
    other.write_text("client_id\nsecret\n")
    engine.write({"events": pa.table({"client_id": ["a"]})})
    folder = engine.toml(tmp_path / "engine", {"customers": text.format(other)})
    with pytest.raises(DataRetrievalError) as problem:
        Portfolio.open(folder)
    assert "secret" not in str(problem.value.to_dict())


@pytest.mark.parametrize("name", ["local_events", *FACTS, "person_days"])
@pytest.mark.parametrize(
    "dialect", ["snowflake", "bigquery", "databricks", "redshift", "clickhouse"]
)
def test_the_facts_can_be_said_in_the_dialect_of_engines_that_are_not_here(dialect, name):
    """They are translated without a part that the dialect lacks, and read back as they are; they ran nowhere."""
    (text,) = sqlglot.transpile(
        sql_text(f"facts/{name}"),
        read="duckdb",
        write=dialect,
        unsupported_level=sqlglot.ErrorLevel.RAISE,
    )
    again = sqlglot.parse_one(text, read=dialect, error_level=sqlglot.ErrorLevel.RAISE)
    assert again.sql(dialect=dialect) == text
    # whole days are counted by integers in each
    assert "//" not in text


@pytest.mark.parametrize("text", ["DELETE FROM x", "SELECT 1; SELECT 2", "SELECT 1 INTO t"])
def test_a_query_that_is_not_one_select_is_refused(postgresql, tmp_path, text):
    with pytest.raises(InvalidParameters, match="one SELECT"):
        Portfolio.open(postgresql.toml(tmp_path / "engine", {"customers": text}))


def test_no_error_holds_the_password(tmp_path, monkeypatch):
    monkeypatch.setenv("HEALTHSEG_ENGINE", "postgresql://ann:s3cret@127.0.0.1:1/db")
    source = '[source]\nengine = "postgresql"\naddress = "$HEALTHSEG_ENGINE"\n'
    (tmp_path / "portfolio.toml").write_text(source + '[tables]\ncustomers = "SELECT 1"\n')
    with pytest.raises(IntegrationError) as problem:
        Portfolio.open(tmp_path)
    assert "127.0.0.1" in str(problem.value) and not re.search(
        "s3cret|ann", str(problem.value.to_dict())
    )


def test_an_engine_without_its_driver_names_what_installs_it(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql.dbapi", None)
    source = '[source]\nengine = "postgresql"\naddress = "$HEALTHSEG_NOWHERE"\n'
    (tmp_path / "portfolio.toml").write_text(source + '[tables]\ncustomers = "SELECT 1"\n')
    with pytest.raises(IntegrationError, match=r"pip install 'healthseg\[postgres\]'"):
        Portfolio.open(tmp_path)


def test_an_engine_that_is_not_known_names_the_near_one(tmp_path):
    source = '[source]\nengine = "postgres"\naddress = "$HEALTHSEG_NOWHERE"\n'
    (tmp_path / "portfolio.toml").write_text(source + '[tables]\ncustomers = "SELECT 1"\n')
    with pytest.raises(InvalidParameters, match="did you mean postgresql"):
        Portfolio.open(tmp_path)


def test_a_table_may_lie_in_another_engine_than_the_files(postgresql, tmp_path):
    events = around_changes_of_the_clock()
    postgresql.write({"events": events})
    folder = tmp_path / "mixed"
    folder.mkdir()
    pq.write_table(customers(**ZONES), folder / "people.parquet")
    (folder / "portfolio.toml").write_text(
        "[tables]\ncustomers = \"SELECT * FROM 'people.parquet'\"\n\n"
        f'[tables.events]\nquery = "{postgresql.select("events")}"\nengine = "{postgresql.engine}"\n'
        'address = "$HEALTHSEG_ENGINE"\n'
    )
    counted = Portfolio.open(folder)
    assert len(counted) == 4 and counted.reports["events"].kept == events.num_rows


def test_a_table_at_another_address_is_read_from_a_trusted_file_alone(tmp_path):
    (tmp_path / "portfolio.toml").write_text(
        '[tables]\ncustomers = "SELECT 1"\n[tables.events]\nquery = "SELECT 1"\n'
        'engine = "postgresql"\naddress = "postgresql://bob:s3cret@db/x"\n'
    )
    with pytest.raises(InvalidParameters, match=r"tables\.events\.address") as problem:
        Portfolio.open(tmp_path)
    assert "s3cret" not in str(problem.value.to_dict())
