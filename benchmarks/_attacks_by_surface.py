"""Attacks on what else takes text: settings, rules, addresses, ids, consent; databases and files of odd shapes."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable

from benchmarks._attacks import CUSTOMERS, SECRET, Attack, Scene
from benchmarks._attacks_by_file import PARTS, row, table, workbook, written
from benchmarks._attacks_by_query import PLAIN, duckdb_file, sqlite_file, text_file, toml

_FILE = "SELECT content AS client_id, DATE '2025-01-01' AS signup_date FROM read_text"
_SCORE = ("run", "calculate_health_score", "--portfolio", "FOLDER", "-p", "client_id=acme")
QUERIES = {
    "a pattern that leads outside": f"{_FILE}('FOLDER/../out*/*')",
    "an address of a file": f"{_FILE}('file://OUTSIDE/secret.txt')",
    "an address of a file on a host": f"{_FILE}('file://localhost/OUTSIDE/secret.txt')",
    "standard input": f"{_FILE}('/dev/stdin')",
    "the process' root": f"{_FILE}('/proc/self/root/OUTSIDE/secret.txt')",
    "a name in dollar signs": f"{_FILE}($$OUTSIDE/secret.txt$$)",
    "a name with escapes": f"{_FILE}(E'OUTSIDE/secret\\x2etxt')",
    "a name out of a subquery": f"{_FILE}((SELECT 'OUT' || 'SIDE/secret.txt'))",
    "FROM before SELECT": "FROM read_text('OUTSIDE/secret.txt') SELECT content AS client_id, DATE '2025-01-01' AS signup_date",
    "a file's dialect": "SELECT Prompt AS client_id, DATE '2025-01-01' AS signup_date FROM sniff_csv('OUTSIDE/secret.csv')",
    "JSON that is text": "SELECT json::VARCHAR AS client_id, DATE '2025-01-01' AS signup_date "
    "FROM read_json_objects('OUTSIDE/secret.txt', format = 'unstructured')",
    "a footer's metadata": "SELECT file_name AS client_id, DATE '2025-01-01' AS signup_date "
    "FROM parquet_kv_metadata('OUTSIDE/secret.csv')",
    "the engine's secrets": "SELECT secret_string AS client_id, DATE '2025-01-01' AS signup_date FROM duckdb_secrets()",
    "a statement as JSON": "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM ''OUTSIDE/secret.csv'''))",
    "PIVOT of a file": "PIVOT (SELECT * FROM read_csv('OUTSIDE/secret.csv')) ON client_id",
    "CALL": "CALL pragma_database_size()",
    "EXPLAIN ANALYZE": "EXPLAIN ANALYZE SELECT 1",
    "INSERT in a WITH": "WITH x AS (SELECT 1) INSERT INTO y SELECT * FROM x",
    "a comment that hides the end": f"{PLAIN} /* ; COPY (SELECT 1) TO 'OUTSIDE/written' */ -- ",
}
# by name, the text of portfolio.toml or healthseg.toml
SETTINGS = {
    "tables that are a number": ("portfolio.toml", "tables = 3\n"),
    "settings that are a list": ("healthseg.toml", "settings = [1]\n"),
    "an outbox that is a number": ("healthseg.toml", "[settings]\noutbox = 3\nledger = 4\n"),
    "handlers that are a list": (
        "healthseg.toml",
        "[[settings.outbox.handlers]]\nkind = 'file'\npath = '../outside/written'\n",
    ),
    "a query that is a list": ("portfolio.toml", "[tables]\ncustomers = ['a', 'b']\n"),
    "a table's name of 100 kB": (
        "portfolio.toml",
        f"[tables]\n\"{'x' * 100_000}\" = '''{PLAIN}'''\n",
    ),
    "a folder with a zero byte": ("portfolio.toml", '[source]\nfolder = "a\\u0000b"\n'),
    "the folder of a user": ("portfolio.toml", "[source]\nfolder = '~root'\n"),
    "a last day without a day after": ("healthseg.toml", "[settings]\ndata_until = 9999-12-31\n"),
    "a time zone that is a file": (
        "healthseg.toml",
        "[settings]\ndefault_timezone = '../../../../etc/passwd'\n",
    ),
    "quotations in words": (
        "healthseg.toml",
        '[settings]\nmissing_words = ["\') OR 1=1 --", "\'"]\n'
        "[settings.synonyms.csat]\n\"'|| x\" = \"5\" \n",
    ),
    "a format that is SQL": (
        "portfolio.toml",
        "[formats]\ndates = \"%d'); COPY (SELECT 1) TO 'OUTSIDE/written' --\"\n",
    ),
    "a metric that reads a file": (
        "healthseg.toml",
        "[settings.metrics.evil]\nsql = \"SELECT client_id, content AS value FROM read_text('OUTSIDE/secret.txt')\"\n",
    ),
    "a metric whose name ends a quotation": (
        "healthseg.toml",
        "[settings.metrics.\"x' || '\"]\nexpression = '1'\n",
    ),
    "a metric of attributes": (
        "healthseg.toml",
        "[settings.metrics.evil]\nexpression = 'arr.__class__'\n",
    ),
    "a metric of 900 minus signs": (
        "healthseg.toml",
        f"[settings.metrics.evil]\nexpression = '{'-' * 900}arr'\n",
    ),
    "a metric that negates a word": (
        "healthseg.toml",
        "[settings.metrics.evil]\nexpression = '-plan'\n",
    ),
    "a key that turns its line around": ("healthseg.toml", '[settings]\n"\\u202eevil\\u009b2J" = 1\n'),
}  # fmt: skip
ESCAPED = (
    '[settings.outbox.handlers."\\u001b[2K\\u202ex\\u009b2J"]\nkind = "file"\n'
    'path = "\\u001b]0;evil\\u0007\\u009b2J\\u202e"\n'
)
_CUSTOMERS = (
    "CREATE TABLE customers AS SELECT 'acme' AS client_id, DATE '2025-01-01' AS signup_date"
)
DUCKDB = {
    "macros in place of functions": [
        _CUSTOMERS,
        "CREATE MACRO trim(x) AS (SELECT content FROM read_text('OUTSIDE/secret.txt'))",
        "CREATE MACRO count(x) AS 7",
    ],
    "150 views of each other": [
        _CUSTOMERS.replace("customers", "v0", 1),
        *(
            f"CREATE VIEW {'customers' if n == 150 else f'v{n}'} AS SELECT * FROM v{n - 1}"
            for n in range(1, 151)
        ),
    ],
    "columns of odd kinds": [
        "CREATE TABLE customers AS SELECT {'a': 1} AS client_id, [DATE '2025-01-01'] AS signup_date, "
        "union_value(a := 1) AS name, MAP {'a': 1} AS plan, 'x'::BLOB AS industry, INTERVAL 1 DAY AS region"
    ],
    "days without an end": [
        _CUSTOMERS.replace("DATE '2025-01-01'", "DATE 'infinity'"),
        "CREATE TABLE arr_changes AS SELECT 'acme' AS client_id, '-infinity'::TIMESTAMP AS effective_on, 'nan'::DOUBLE AS arr",
    ],
}
_SQLITE = _CUSTOMERS.replace("DATE ", "")
SQLITE = {
    "a virtual table": [_SQLITE, "CREATE VIRTUAL TABLE arr_changes USING fts5(client_id, effective_on)"],
    "a trigger": [_SQLITE, "CREATE TRIGGER t AFTER INSERT ON customers BEGIN DELETE FROM customers; END"],
    "a view of the files": [_SQLITE, "CREATE VIEW arr_changes AS SELECT file AS client_id, name AS effective_on FROM pragma_database_list"],
    "values of odd kinds": [
        "CREATE TABLE customers(client_id, signup_date)",
        "INSERT INTO customers VALUES (x'00ff', '2025-01-01'), (9e999, 'x'), ('a' || char(0) || 'b', -1e308)",
    ],
    "a value of 2 GB": [_SQLITE, "CREATE VIEW arr_changes AS SELECT randomblob(2000000000) AS client_id, 1 AS effective_on"],
}  # fmt: skip


def _forged(places: Scene) -> None:
    """A schema that says of a table what it is not."""
    sqlite_file(_SQLITE)(places)
    with contextlib.closing(sqlite3.connect(places.folder / "portfolio.sqlite")) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        forged = (
            "'arr_changes', 'arr_changes', 2, 'CREATE TABLE arr_changes(client_id, effective_on)'"
        )
        connection.execute(f"INSERT INTO sqlite_master VALUES ('table', {forged})")
        connection.commit()


def _parquet(metadata: dict[str, str] | None = None, **columns: object) -> bytes:
    import pyarrow as pa

    base = {"client_id": ["acme"], "effective_on": ["2025-01-01"], "arr": [1.0]}
    return written(pa.table({**base, **columns}).replace_schema_metadata(metadata))


def _zoned(zone: str) -> bytes:
    import pyarrow as pa

    return _parquet(effective_on=pa.array([0], pa.timestamp("us", tz=zone)))


def _sheet(part: str, old: str, new: str) -> Callable[[Scene], object]:
    def build(places: Scene) -> None:
        text = places.filled(PARTS[part].replace(old, new))
        table("arr_changes.xlsx", lambda: workbook([row(2)], **{part: text}))(places)

    return build


_TARGET = "worksheets/sheet1.xml"
_RELATIONS = "xl/_rels/workbook.xml.rels"
FILES: dict[str, Callable[[Scene], object]] = {
    "a footer of garbage for pandas": table(
        "arr_changes.parquet", lambda: _parquet({"pandas": '{"index_columns": ["__class__"]}'})
    ),
    "a footer of garbage for Arrow": table(
        "arr_changes.parquet", lambda: _parquet({"ARROW:schema": "AAAA" * 1000})
    ),
    "columns' names of a Parquet file": table(
        "arr_changes.parquet", lambda: _parquet(**{"\"'}) ; COPY": [1], "": [2], "\x1b[2J": [4]})
    ),
    "a time zone that is a path": table("arr_changes.parquet", lambda: _zoned("../../etc/passwd")),
    "a sheet that is a file outside": _sheet(_RELATIONS, _TARGET, "../../../outside/secret.csv"),
    "a sheet at an address": _sheet(
        _RELATIONS, f'Target="{_TARGET}"', 'TargetMode="External" Target="URL/sheet.xml"'
    ),
    "a sheet's name that is a path": _sheet("xl/workbook.xml", '"arr_changes"', '"../../x&#27;[]"'),
    "JSON of half characters": table(
        "arr_changes.jsonl", lambda: '{"client_id": "\\ud800", "effective_on": "2025-01-01"}\n'
    ),
    "JSON of other things than objects": table("arr_changes.jsonl", lambda: '1\n"x"\nnull\n[]\n'),
    "a file's name in two lines": table("arr_changes/a\nb.csv", lambda: CUSTOMERS),
    "ids that look alike": table(
        "arr_changes.csv",
        lambda: (
            "client_id,effective_on,arr\n\u202eemca,2025-01-01,1\nac\u200bme,2025-01-01,1\nаcme,2025-01-01,1\n"
        ),
    ),
}
ADDRESSES = (
    "s3://u:PASSWORD@127.0.0.1:9/x",
    "ftp://u:PASSWORD@127.0.0.1:9/x",
    "postgresql://u:a@PASSWORD@127.0.0.1:9/x",
    "postgresql://127.0.0.1:9/x?password=PASSWORD",
    "mysql://u:PASSWORD@127.0.0.1:9/x",
    "snowflake://u@x/?token=PASSWORD",
    "po stgresql://u:PASSWORD@host/x",
)
IDS = ("../../x", "..", "a/b", "%2e%2e%2f", "．．／", "=1+1", "{{7*7}}")


def _named(client: str) -> Callable[[Scene], object]:
    return table("customers.csv", lambda: f'client_id,signup_date\n"{client}",2025-01-01\nacme,2025-01-01\n')  # fmt: skip


_REPORT = ("report", "calculate_health_score", "--portfolio", "FOLDER", "--out", "FOLDER/out", "--workers", "1")  # fmt: skip
ATTACKS: list[Attack] = [
    *(Attack(f"{name}, in a query", "files", toml(query)) for name, query in QUERIES.items()),
    *(Attack(name, "code", text_file(file, text), _SCORE) for name, (file, text) in SETTINGS.items()),
    Attack("consent to what cannot be read", "code", text_file("healthseg.toml", ESCAPED), ("trust", "FOLDER", "--list")),
    *(Attack(name, "code", duckdb_file(*each), ("check", "FOLDER/portfolio.duckdb")) for name, each in DUCKDB.items()),
    *(Attack(name, "code", sqlite_file(*each), ("check", "FOLDER/portfolio.sqlite")) for name, each in SQLITE.items()),
    Attack("a forged schema", "code", _forged, ("check", "FOLDER/portfolio.sqlite")),
    *(Attack(name, "code", build) for name, build in FILES.items()),
    *(
        Attack(f"the password of {address}", "files", Scene.customers, ("check", address.replace("PASSWORD", SECRET)))
        for address in ADDRESSES
    ),
    Attack(
        "the password of a scheduler",
        "files",
        Scene.customers,
        (*_REPORT, "--client", "acme", "--on", f"dask://u:{SECRET}@127.0.0.1:9"),
    ),
    *(Attack(f"a customer {client}", "files", _named(client), (*_REPORT, "--client", client)) for client in IDS),
]  # fmt: skip
