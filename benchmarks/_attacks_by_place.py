"""Attacks by what lies in a folder: links, logs and other files beside those that are read or written; workbooks,
numbers, days and names that no honest export has."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import sqlite3
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from benchmarks._attacks import CUSTOMERS, Attack, Scene
from benchmarks._attacks_by_file import _SHEET, PARTS, cell, row, table, workbook
from benchmarks._attacks_by_query import sqlite_file
from benchmarks._attacks_by_surface import _RELATIONS as RELATIONS
from benchmarks._attacks_by_surface import _TARGET as TARGET

_LEDGER = "healthseg.sqlite"
_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")
RUN = ("run", "calculate_health_score", "--portfolio", "FOLDER", "-p", "client_id=acme")
CHECK = ("check", "FOLDER")
MOVE = (
    *("run", "manage_lifecycle_stages", "--portfolio", "FOLDER", "-p", "client_id=acme"),
    *("-p", "action=transition", "-p", "new_stage=active", "-p", "transition_reason=x"),
)


def _hot_journal(database: Path, victim: Path) -> None:
    """A rollback journal that names another file as the journal of journals: SQLite deletes that one after it rolls back."""
    name = str(victim).encode()
    content = database.read_bytes()
    size = struct.unpack(">H", content[16:18])[0]
    size = 65536 if size == 1 else size
    header = bytes.fromhex("d9d505f920a163d7") + struct.pack(
        ">IIIII", 0, 1, len(content) // size, 512, size
    )
    checksum = sum(b if b < 128 else b - 256 for b in name) & 0xFFFFFFFF
    page = struct.pack(">I", 0x40000000 // size + 1)
    end = page + name + struct.pack(">II", len(name), checksum) + _SUPER_JOURNAL
    database.with_name(database.name + "-journal").write_bytes(header.ljust(512, b"\0") + end)


def _ledger(places: Scene) -> Path:
    """A ledger in SQLite's older way of writing."""
    import datetime as dt

    from healthseg.data.ledger.ledger import Ledger

    places.customers()
    path = places.folder / _LEDGER
    Ledger(path, clock=lambda: dt.datetime(2025, 10, 1, tzinfo=dt.UTC)).record_settings("a", {})
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    return path


def _journal_of_ledger(places: Scene) -> None:
    _hot_journal(_ledger(places), places.outside / "secret.txt")


def _journal_of_table(places: Scene) -> None:
    sqlite_file("CREATE TABLE customers AS SELECT 'acme' AS client_id, '2025-01-01' AS signup_date")(places)  # fmt: skip
    _hot_journal(places.folder / "portfolio.sqlite", places.outside / "secret.txt")


def _linked(name: str, target: str) -> Callable[[Scene], object]:
    def build(places: Scene) -> None:
        places.customers()
        path = places.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(places.filled(target))

    return build


def _linked_within_cache(places: Scene) -> None:
    """Every folder of the derived data is a link to a folder of the operator's."""
    places.customers()
    derived = places.folder / ".healthseg"
    derived.mkdir()
    for name in (
        "tables",
        "copies",
        "facts",
        "cache",
        "responses",
        "mirror",
        "rows",
        "events",
        "loaded",
        "data",
    ):
        (derived / name).symlink_to(places.outside)  # fmt: skip


def _linked_ledger(places: Scene) -> None:
    path = _ledger(places)
    path.rename(places.outside / "ledger.sqlite")
    path.symlink_to(places.outside / "ledger.sqlite")


def _at(name: str, make: Callable[[Path], object]) -> Callable[[Scene], object]:
    def build(places: Scene) -> None:
        places.customers()
        make(places.folder / name)

    return build


def _socket(path: Path) -> None:
    # a path of a socket has at most 107 bytes
    before = os.getcwd()
    os.chdir(path.parent)
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(before)


def _nested(path: Path) -> None:
    before = os.getcwd()
    path.mkdir()
    try:
        os.chdir(path)
        for _ in range(600):
            os.mkdir("x" * 20)
            os.chdir("x" * 20)
        Path("a.csv").write_text("client_id,effective_on\nacme,2025-01-01\n")
    finally:
        os.chdir(before)


def _many_files(path: Path) -> None:
    path.mkdir()
    for number in range(20_000):
        (path / f"{number}.csv").write_text("client_id,effective_on,arr\nacme,2025-01-01,1\n")


_ENDLESS = "WITH RECURSIVE x(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM x) SELECT (SELECT COUNT(*) FROM x) AS"


def _endless(name: str, view: str, column: str) -> Callable[[Scene], object]:
    """An SQLite file of ours in which a view without an end has the name of a table."""

    def build(places: Scene) -> None:
        places.customers()
        path = places.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute(f"CREATE VIEW {view} AS {_ENDLESS} {column}")

    return build


def _journal_of_cache(places: Scene) -> None:
    """Responses that were cached, with a journal that names a file outside."""
    from healthseg.data.response_cache import ResponseCache

    places.customers()
    cache = ResponseCache(places.folder)
    cache.put("key", "{}", 0.0, 1.0)
    with contextlib.closing(sqlite3.connect(cache.path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    _hot_journal(cache.path, places.outside / "secret.txt")


FILES: dict[str, tuple[str, Callable[[Scene], object], tuple[str, ...]]] = {
    "a ledger's journal that names a file outside": ("files", _journal_of_ledger, CHECK),
    "a ledger's journal that names a file outside, a move": ("files", _journal_of_ledger, MOVE),
    "a table's journal that names a file outside": ("files", _journal_of_table, ("check", "FOLDER/portfolio.sqlite")),
    "an address' journal that names a file outside": ("files", _journal_of_table, ("check", "sqlite:///FOLDER/portfolio.sqlite")),
    "a cache's journal that names a file outside": ("files", _journal_of_cache, RUN),
    "cached responses without an end": ("time", _endless(".healthseg/cache/responses.sqlite", "checked_responses", "key, 1 AS response, 1 AS computed_at, 1 AS until, 1 AS crc32"), RUN),
    "a ledger's version without an end": ("time", _endless(_LEDGER, "schema_version", "version"), RUN),
    "a ledger that leads to another one": ("files", _linked_ledger, MOVE),
    "a ledger that leads to no file": ("files", _linked(_LEDGER, "OUTSIDE/new.sqlite"), MOVE),
    "a ledger's log that leads outside": ("files", _linked(f"{_LEDGER}-wal", "OUTSIDE/new.wal"), MOVE),
    "derived folders that lead outside": ("files", _linked_within_cache, RUN),
    "a draft that leads outside": ("files", _linked("portfolio.toml", "OUTSIDE/new.toml"), ("init", "FOLDER/customers.csv", "--out", "FOLDER", "--force")),
    "settings that lead to a secret": ("files", _linked("healthseg.toml", "OUTSIDE/secret.txt"), RUN),
    "queries that lead to a secret": ("files", _linked("portfolio.toml", "OUTSIDE/secret.txt"), CHECK),
    "reports that lead outside": ("files", _linked("out/customers", "OUTSIDE"), ("report", "calculate_health_score", "--portfolio", "FOLDER", "--client", "acme", "--out", "FOLDER/out", "--workers", "1")),
    "a manifest that leads outside": ("files", _linked("out/runs", "OUTSIDE"), ("report", "calculate_health_score", "--portfolio", "FOLDER", "--client", "acme", "--out", "FOLDER/out", "--workers", "1")),
    "a digest that leads outside": ("files", _linked("out/alerts.html", "OUTSIDE/new.html"), ("alerts", "run", "--portfolio", "FOLDER", "--out", "FOLDER/out")),
    "a folder in place of queries": ("code", _at("portfolio.toml", Path.mkdir), CHECK),
    "a folder in place of settings": ("code", _at("healthseg.toml", Path.mkdir), RUN),
    "a folder in place of the ledger": ("code", _at(_LEDGER, Path.mkdir), MOVE),
    "a pipe in place of the ledger": ("time", _at(_LEDGER, os.mkfifo), MOVE),
    "a pipe in place of the ledger's log": ("time", _at(f"{_LEDGER}-wal", os.mkfifo), MOVE),
    "a pipe in place of derived data": ("time", _at(".healthseg", os.mkfifo), RUN),
    "a file in place of derived data": ("code", _at(".healthseg", lambda path: path.write_text("x")), RUN),
    "a socket in place of a table": ("time", _at("events.csv", _socket), CHECK),
    "a ledger of 40 GB without content": ("memory", _at(_LEDGER, lambda path: (path.write_bytes(b""), os.truncate(path, 40 << 30))), MOVE),
    "a path longer than the system's": ("time", _at("arr_changes", _nested), CHECK),
    "a table of 20,000 files": ("time", _at("arr_changes", _many_files), CHECK),
}  # fmt: skip


# workbooks


def _lying_sizes(places: Scene) -> None:
    """A part of 2 GB that says of itself that it has 100 bytes, with the checksum of these."""
    places.customers()
    block = b"<row r='3'><c r='A3' t='inlineStr'><is><t>acme</t></is></c></row>" * 16000
    buffer, name = io.BytesIO(), "xl/worksheets/sheet1.xml"
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for part, text in PARTS.items():
            archive.writestr(part, text)
        with archive.open(name, "w", force_zip64=False) as sheet:
            first = _SHEET.format(doctype="").encode() + block
            sheet.write(first)
            for _ in range(1900):
                sheet.write(block)
        info = archive.getinfo(name)
        sizes = struct.pack("<II", info.CRC, info.compress_size), struct.pack("<I", info.file_size)
    lies = struct.pack("<II", zlib.crc32(first[:100]), info.compress_size), struct.pack("<I", 100)
    places.write("arr_changes.xlsx", buffer.getvalue().replace(b"".join(sizes), b"".join(lies)))


def _elsewhere(places: Scene) -> None:
    """Two cells at the ends of a sheet that is not where sheets are."""
    far = f"<row r='1048576'>{cell('XFD1048576', 'x')}</row>"
    relations = PARTS[RELATIONS].replace(TARGET, "elsewhere/x.xml")
    sheet = _SHEET.format(doctype="") + row(2) + far + "</sheetData></worksheet>"
    content = workbook([row(2)], **{RELATIONS: relations, "xl/elsewhere/x.xml": sheet})
    table("arr_changes.xlsx", lambda: content)(places)


def _part(**changes: int) -> bytes:
    """A workbook whose parts say other things of how they are packed."""
    content = bytearray(workbook([row(2)]))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.find(mark)
        while start >= 0:
            for name, value in changes.items():
                position = start + at + {"flags": 0, "method": 2}[name]
                content[position : position + 2] = struct.pack("<H", value)
            start = content.find(mark, start + 1)
    return bytes(content)


def _zip(*entries: tuple[str, str | bytes], comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
        archive.comment = comment
    return buffer.getvalue()


_SHEET1 = ("xl/worksheets/sheet1.xml", "<worksheet><sheetData/></worksheet>")
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")


def _compound(fat: bytes, content: bytes = b"") -> bytes:
    """An old workbook's container: its list of sectors, and its stream from the third one."""
    header = _OLE + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    header += struct.pack("<IIIIIIIII", 0, 1, 1, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    header += struct.pack("<I", 0)
    entries = b"".join(
        name.encode("utf-16-le").ljust(64, b"\0")
        + struct.pack("<HBBIII", 2 * len(name) + 2, kind, 1, 0xFFFFFFFF, 0xFFFFFFFF, child)
        + bytes(36)
        + struct.pack("<IQ", start, size)
        for name, kind, child, start, size in (
            ("Root Entry", 5, 1, 0xFFFFFFFE, 0),
            ("Workbook", 2, 0xFFFFFFFF, 2, max(len(content), 4096)),
        )
    )
    size = -(-max(len(content), 4096) // 512) * 512
    return (
        header.ljust(512, b"\xff")
        + fat.ljust(512, b"\xff")
        + entries.ljust(512, b"\0")
        + content.ljust(size, b"\0")
    )


def _record(kind: int, content: bytes = b"") -> bytes:
    return struct.pack("<HH", kind, len(content)) + content


def _old_workbook(sheets: int) -> bytes:
    """An old workbook of this many sheets, all of them the same two cells at its ends."""
    version = struct.pack("<HHHHII", 0x0600, 0x0005, 0, 0, 0, 0)
    number = b"".join(
        _record(0x0203, struct.pack("<HHHd", at[0], at[1], 0, 1.0)) for at in ((0, 0), (65535, 255))
    )
    sheet = _record(0x0809, version[:2] + b"\x10\0" + version[4:]) + number + _record(0x000A)
    content = _record(0x0809, version)
    each = 4 + 8 + 5
    start = len(content) + sheets * each + 4
    for n in range(sheets):
        name = f"s{n:04}".encode() if n else b"arr_c"
        content += _record(0x0085, struct.pack("<IBBBB", start, 0, 0, 5, 0) + name)
    content += _record(0x000A) + sheet
    count = -(-max(len(content), 4096) // 512)
    chain = [0xFFFFFFFD, 0xFFFFFFFE, *range(3, 2 + count), 0xFFFFFFFE]
    return _compound(struct.pack(f"<{len(chain)}I", *chain), content)


WORKBOOKS: dict[str, tuple[str, str, Callable[[], bytes]]] = {
    "a part whose name leads outside": ("files", "arr_changes.xlsx", lambda: _zip(*PARTS.items(), ("../../outside/written", "x"), ("/tmp/x", "x"), _SHEET1)),
    "30,000 parts": ("time", "arr_changes.xlsx", lambda: _zip(*PARTS.items(), *((f"xl/x{n}.xml", "") for n in range(30_000)), _SHEET1)),
    "300 parts of one name": ("code", "arr_changes.xlsx", lambda: _zip(*PARTS.items(), *[_SHEET1] * 300)),
    "a sheet without an end": ("code", "arr_changes.xlsx", lambda: workbook([row(2), "<row r='3'><c r='A3'"])),
    "a sheet with bytes of no language": ("code", "arr_changes.xlsx", lambda: workbook([row(2)], **{"xl/sharedStrings.xml": "\x00\x01\x02<sst"})),
    "shared texts that are missing": ("code", "arr_changes.xlsx", lambda: workbook(["<row r='2'><c r='A2' t='s'><v>4294967295</v></c><c r='B2' t='s'><v>-1</v></c></row>"])),
    "a style of a date far away": ("code", "arr_changes.xlsx", lambda: workbook(["<row r='2'><c r='A2' t='d'><v>99999-99-99</v></c><c r='B2'><v>1e308</v></c></row>"])),
    "a cell without a place": ("code", "arr_changes.xlsx", lambda: workbook(["<row r='99999999999'><c r='ZZZZZZZ99999999999'><v>1</v></c></row>"])),
    "a sheet of another name": ("code", "arr_changes.xlsx", lambda: workbook([row(2)], **{"xl/workbook.xml": PARTS["xl/workbook.xml"].replace('"arr_changes"', '"' + "x" * 100_000 + '"')})),
    "a workbook in a workbook's place": ("code", "arr_changes.xls", lambda: workbook([row(2)])),
    "an old workbook whose sectors go in a circle": ("time", "arr_changes.xls", lambda: _compound(struct.pack("<IIII", 0xFFFFFFFD, 1, 2, 3))),
    "an old workbook of negative sectors": ("code", "arr_changes.xls", lambda: _compound(struct.pack("<IIII", 0xFFFFFFFD, 0x7FFFFFFF, 0xFFFFFFFA, 0))),
    "an old workbook of 150 sheets with two cells at their ends": ("memory", "arr_changes.xls", lambda: _old_workbook(150)),
    "parts in a secret writing": ("code", "arr_changes.xlsx", lambda: _part(flags=1)),
    "parts packed in a way of their own": ("code", "arr_changes.xlsx", lambda: _part(method=9)),
    "parts packed by zstd": ("code", "arr_changes.xlsx", lambda: _part(method=93)),
    "a workbook before 100 kB of nothing": ("code", "arr_changes.xlsx", lambda: workbook([row(2), f"<row r='1048576'>{cell('XFD1048576', 'x')}</row>"]) + bytes(100_000)),
    "an old workbook that is cut": ("code", "arr_changes.xls", lambda: _OLE + bytes(100)),
    "a web page named as a workbook": ("code", "arr_changes.xls", lambda: b"<html><table><tr><td>=1+1</td></tr></table></html>"),
}  # fmt: skip


# numbers, days and names

_EVENTS = "client_id,user_id,occurred_at,feature\n"


def _rows(name: str, header: str, *lines: str) -> Callable[[Scene], object]:
    return table(name, lambda: header + "\n" + "\n".join(lines) + "\n")


def _both(*builds: Callable[[Scene], object]) -> Callable[[Scene], object]:
    def build(places: Scene) -> None:
        for each in builds:
            each(places)

    return build


def _customers(header: str, *lines: str) -> Callable[[Scene], object]:
    def build(places: Scene) -> None:
        places.write("customers.csv", header + "\n" + "\n".join(lines) + "\n")

    return build


def _tool(name: str, *words: str) -> tuple[str, ...]:
    return ("run", name, "--portfolio", "FOLDER", "-p", "client_id=acme", *words)


def _many_events(values: Callable[[int], str], count: int = 300_000) -> Callable[[Scene], object]:
    return table("events.csv", lambda: _EVENTS + "".join(values(n) for n in range(count)))


_NAME = "\x1b]0;evil\x07\x1b[2J\u202eevil\u2066\x9b31m\r\nINFO all is well"
_NAMED = _customers("client_id,name,signup_date,plan,industry", f'acme,"{_NAME}",2025-01-01,"{_NAME}","{_NAME}"')  # fmt: skip
_MARKED = '#read("/etc/passwd") $x$ *b* [click](http://127.0.0.1:9/x) {{7*7}} ${7*7} <img src=x onerror=alert(1)>'
_LEAVES = ("report", "calculate_health_score", "--portfolio", "FOLDER", "--client", "acme", "--out", "FOLDER/out", "--workers", "1", "--format", "pdf", "--format", "csv")  # fmt: skip
VALUES: dict[str, tuple[str, Callable[[Scene], object], tuple[str, ...]]] = {
    "ARR beyond all numbers": ("code", _rows("arr_changes.csv", "client_id,effective_on,arr", "acme,2025-01-01,1e308", "acme,2025-02-01,1.7e308", "acme,2025-03-01,inf", "acme,2025-04-01,-nan"), RUN),
    "ARR of a million digits": ("time", _rows("arr_changes.csv", "client_id,effective_on,arr", f"acme,2025-01-01,{'9' * 1_000_000}"), RUN),
    "events at the ends of time": ("memory", _rows("events.csv", _EVENTS.strip(), "acme,u,0001-01-01T00:00:00,a", "acme,u,9999-12-31T23:59:59,a", "acme,u,1677-09-21T00:12:43,b", "acme,u,2262-04-11T23:47:17,b", "acme,u,2025-01-02,a"), _tool("track_usage_engagement")),
    "customers from the ends of time": ("memory", _both(_customers("client_id,signup_date", "acme,0001-01-01", "b,9999-12-31"), _rows("contracts.csv", "contract_id,client_id,start_date,end_date,arr", "c,acme,0001-01-01,9999-12-31,1")), ("run", "segment_by_value_tier", "--portfolio", "FOLDER")),
    "contracts without an end": ("memory", _rows("contracts.csv", "contract_id,client_id,start_date,end_date,arr", "c,acme,2025-01-01,9999-12-31,1e300", "d,acme,2025-01-01,0001-01-01,1"), ("run", "segment_by_value_tier", "--portfolio", "FOLDER")),
    "300,000 features": ("time", _many_events(lambda n: f"acme,u{n % 50},2025-01-{1 + n % 28:02},f{n}\n"), _tool("track_feature_adoption")),
    "300,000 users": ("time", _many_events(lambda n: f"acme,u{n},2025-01-{1 + n % 28:02},f\n"), _tool("track_usage_engagement")),
    "300,000 users' patterns": ("time", _many_events(lambda n: f"acme,u{n},2025-01-{1 + n % 28:02}T{n % 24:02}:00:00,f{n % 400}\n"), _tool("analyze_engagement_patterns", "-p", "analysis_scope=single_customer")),
    "100,000 plans": ("time", _customers("client_id,signup_date,plan,industry,region", "acme,2025-01-01,p,i,r", *(f"c{n},2025-01-01,p{n},i{n},r{n}" for n in range(100_000))), ("run", "segment_customers", "--portfolio", "FOLDER", "-p", "segment_type=industry", "-p", "segmentation_criteria={}")),
    "50,000 moves of one customer": ("time", _rows("stage_changes.csv", "client_id,changed_at,stage", *(f"acme,2025-01-01T{n % 24:02}:{n % 60:02}:{n // 60 % 60:02},{('active', 'engaged')[n % 2]}" for n in range(50_000))), _tool("manage_lifecycle_stages", "-p", "action=get_stage")),
    "customers' time zones that are files": ("files", _customers("client_id,signup_date,timezone", "acme,2025-01-01,../../../etc/localtime", "b,2025-01-01,/etc/passwd", f"c,2025-01-01,{'x' * 5000}", "d,2025-01-01,Etc/GMT+99"), RUN),
    "a name of commands for the terminal, a score": ("code", _NAMED, RUN),
    "a name of commands for the terminal, alerts": ("code", _both(_NAMED, _rows("events.csv", _EVENTS.strip(), "acme,u,2025-01-02,a")), ("alerts", "run", "--portfolio", "FOLDER", "--out", "FOLDER/out")),
    "a name of commands for the terminal, moves": ("code", _NAMED, ("lifecycle", "advance", "--portfolio", "FOLDER")),
    "a name of commands for the terminal, a report": ("code", _NAMED, _LEAVES),
    "a name of marks of every language": ("files", _customers("client_id,name,signup_date", f"acme,'{_MARKED}',2025-01-01"), _LEAVES),
    "an id of 100 kB": ("code", _customers("client_id,signup_date", f"{'x' * 100_000},2025-01-01", "acme,2025-01-01"), RUN),
    "zero bytes in a file": ("code", table("arr_changes.csv", lambda: b"client_id,effective_on,arr\0\nac\0me,2025-01-01,1\n\0\0\0\n"), CHECK),
    "lines that end in a carriage return": ("code", table("customers.csv", lambda: CUSTOMERS.replace("\n", "\r")), RUN),
    "UTF-16 without its mark": ("code", table("arr_changes.csv", lambda: CUSTOMERS.encode("utf-16-le")), CHECK),
    "UTF-32": ("code", table("arr_changes.csv", lambda: CUSTOMERS.encode("utf-32")), CHECK),
    "an encoding for each line": ("code", table("arr_changes.csv", lambda: b"client_id,effective_on\nacm\xe9,2025-01-01\n\x82\xb1,2025-01-01\n\xff\xfe,2025-01-01\n\xc3\xa9,2025-01-01\n"), CHECK),
    "gzip of gzip of gzip": ("memory", table("arr_changes.csv.gz", lambda: _packed(CUSTOMERS.encode(), 3)), CHECK),
    "gzip with a name that leads outside": ("files", table("arr_changes.csv.gz", lambda: _named_gzip(b"../../outside/written")), CHECK),
    "JSON numbers beyond all numbers": ("code", table("arr_changes.jsonl", lambda: '{"client_id": "acme", "effective_on": "2025-01-01", "arr": 1e999999}\n{"client_id": "acme", "effective_on": "2025-01-01", "arr": NaN}\n{"client_id": "acme", "arr": -Infinity}\n'), RUN),
    "JSON fields of one name": ("code", table("arr_changes.jsonl", lambda: '{"client_id": "acme", "client_id": "b", "CLIENT_ID": "c", "__proto__": {"x": 1}, "effective_on": "2025-01-01"}\n'), CHECK),
    "JSON pointers as fields": ("code", table("arr_changes.jsonl", lambda: json.dumps({"client_id": "acme", "effective_on": "2025-01-01", "~/~1~0$.x[0]": 1, "": 2, "$": 3, "*": 4}) + "\n"), CHECK),
}  # fmt: skip


def _packed(content: bytes, times: int) -> bytes:
    import gzip

    for _ in range(times):
        content = gzip.compress(content)
    return content


def _named_gzip(name: bytes) -> bytes:
    import gzip
    import zlib

    body = zlib.compressobj(9, zlib.DEFLATED, -15)
    content = b"client_id,effective_on\nacme,2025-01-01\n"
    packed = body.compress(content) + body.flush()
    head = b"\x1f\x8b\x08\x08" + bytes(4) + b"\x00\x03" + name + b"\0"
    assert gzip.decompress(head + packed + struct.pack("<II", zlib.crc32(content), len(content)))
    return head + packed + struct.pack("<II", zlib.crc32(content), len(content))


# exports that ``init`` drafts queries from: names of files and of columns go into its text
_DRAFTED = (
    "x'''\n[settings.outbox.handlers.evil]\nkind = 'file'\npath = 'OUTSIDE/written'\n",
    'x"""\n[source]\nfolder = \'/\'\n',
    "'); COPY (SELECT 1) TO 'OUTSIDE/written' --",
    "\\u0022\\n[mcp]\\nreports = '/'",
    "\x1b]0;evil\x07\u202e",
    "--\n*/ ]] }} {% raw %}",
)


def _draft(text: str, in_header: bool) -> Callable[[Scene], object]:
    def build(places: Scene) -> None:
        filled = places.filled(text)
        header = '"' + filled.replace('"', '""') + '"' if in_header else "Custom"
        name = "accounts" if in_header else filled.replace("/", "\u2215").replace("\0", "")[:80]
        lines = f"Account ID,Account Name,Created Date,{header}\n001,Acme,2025-01-01,x\n"
        places.write(f"exports/{name}.csv", lines)

    return build


INIT = ("init", "FOLDER/exports", "--out", "FOLDER")


# a folder that commands are started in


def _modules(places: Scene) -> None:
    from benchmarks._attacks_by_query import _modules as build

    build(places)
    text = places.filled("import pathlib; pathlib.Path('OUTSIDE/written').write_text('code ran')\n")
    for name in (
        "nbformat",
        "papermill",
        "IPython",
        "typst",
        "vl_convert",
        "altair",
        "mcp",
        "dask",
    ):
        places.write(f"{name}/__init__.py", text)
    for name in (
        ".env",
        "dask.yaml",
        "distributed.yaml",
        "pip.conf",
        "setup.cfg",
        "pyproject.toml",
    ):
        places.write(name, places.filled("[tool]\nx = 'OUTSIDE'\n"))
    places.write(".ipython/profile_default/startup/00.py", text)


_EVERY = ("--portfolio", "FOLDER")
STARTED = {
    "a report": (*_LEAVES,),
    "alerts": ("alerts", "run", *_EVERY, "--out", "FOLDER/out"),
    "a draft": ("init", "FOLDER/customers.csv", "--out", "FOLDER/draft"),
    "a demo": ("demo", "--out", "FOLDER/demo", "--clients", "5", "--months", "3"),
    "settings": ("settings", *_EVERY),
    "a ledger": ("ledger", "verify", *_EVERY),
}

ATTACKS: list[Attack] = [
    *(Attack(name, wants, build, command) for name, (wants, build, command) in FILES.items()),
    Attack("a sheet of 2 GB that says it has 100 bytes", "memory", _lying_sizes),
    Attack("two cells at the ends of a sheet elsewhere", "memory", _elsewhere),
    *(Attack(f"a workbook: {name}", wants, table(file, content)) for name, (wants, file, content) in WORKBOOKS.items()),
    *(Attack(name, wants, build, command) for name, (wants, build, command) in VALUES.items()),
    *(Attack(f"a draft of a {'column' if header else 'file'} named {number}", "code", _draft(text, header), INIT) for number, text in enumerate(_DRAFTED) for header in (True, False)),
    *(Attack(f"modules in the folder where {name} is started", "code", _modules, command) for name, command in STARTED.items()),
]  # fmt: skip
