"""Attacks by files of tables: CSV, gzip, JSON, Excel and Parquet that are bombs, damaged, or more than they seem."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable, Iterator

from benchmarks._attacks import CUSTOMERS, Attack, Scene

_BLOCK = 1 << 20


def table(name: str, content: Callable[[], str | bytes]) -> Callable[[Scene], object]:
    def build(places: Scene) -> None:
        places.customers()
        places.write(name, content())

    return build


def _gzip(name: str, first: str, block: bytes, gigabytes: int) -> Callable[[Scene], object]:
    """A file packed with gzip: after its first lines one block again and again. Members may follow each other."""

    def build(places: Scene) -> None:
        places.customers()
        member = gzip.compress(block * 64, 9)
        count = gigabytes * 1024 * _BLOCK // (len(block) * 64)
        with open(places.folder / name, "wb") as file:
            file.write(gzip.compress(first.encode()))
            for _ in range(count):
                file.write(member)

    return build


def _long_line(places: Scene) -> None:
    places.customers()
    with open(places.folder / "arr_changes.csv", "wb") as file:
        file.write(b"client_id,effective_on\nacme,2025-01-01\n")
        for _ in range(3000):
            file.write(b"x" * _BLOCK)


def _open_quote(places: Scene) -> None:
    places.customers()
    with open(places.folder / "arr_changes.csv", "wb") as file:
        file.write(b'client_id,effective_on\n"acme,2025-01-01\n')
        for _ in range(500):
            file.write(b"acme,2025-01-01\n" * (_BLOCK // 16))


def _sparse(places: Scene) -> None:
    """A file of 100 GB that takes no room on the disk."""
    places.customers()
    with open(places.folder / "arr_changes.csv", "wb") as file:
        file.write(b"client_id,effective_on\nacme,2025-01-01\n")
        file.truncate(6 << 30)


def _wide(count: int) -> str:
    names = ",".join(f"c{n}" for n in range(count))
    values = ",".join("1" for _ in range(count))
    return f"client_id,effective_on,{names}\nacme,2025-01-01,{values}\n"


def _wide_query(places: Scene) -> None:
    places.write(
        "portfolio.toml",
        "[tables]\ncustomers = '''SELECT 'acme' AS client_id, DATE '2025-01-01' AS signup_date'''\n"
        "arr_changes = '''SELECT client_id, effective_on FROM 'wide.csv' '''\n",
    )
    places.write("wide.csv", _wide(1_000_000))


def _objects(count: int) -> str:
    fields = ", ".join(f'"c{n}": {n}' for n in range(count))
    return f'{{"client_id": "acme", "effective_on": "2025-01-01", {fields}}}\n'


def _deep(depth: int, opening: str, closing: str) -> str:
    inner = opening * depth + "1" + closing * depth
    return f'{{"client_id": "acme", "effective_on": "2025-01-01", "deep": {inner}}}\n'


# Excel

_SHEET = '<?xml version="1.0"?>{doctype}<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
PARTS = {
    "[Content_Types].xml": '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>',
    "_rels/.rels": '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
    'Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": '<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>'
    '<sheet name="arr_changes" sheetId="1" r:id="rId1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": '<?xml version="1.0"?><Relationships '
    'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" '
    'Target="worksheets/sheet1.xml"/><Relationship Id="rId2" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings" '
    'Target="sharedStrings.xml"/></Relationships>',
    "xl/sharedStrings.xml": '<?xml version="1.0"?><sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"/>',
}


def cell(reference: str, text: str) -> str:
    return f'<c r="{reference}" t="inlineStr"><is><t>{text}</t></is></c>'


_HEADER = f"<row r='1'>{cell('A1', 'client_id')}{cell('B1', 'effective_on')}</row>"


def workbook(rows: Iterator[str] | list[str], doctype: str = "", **parts: str) -> bytes:
    """A workbook of one sheet with these rows after a header; ``parts`` take the place of others by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {**PARTS, **parts}.items():
            archive.writestr(name, text)
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            sheet.write((_SHEET.format(doctype=doctype) + _HEADER).encode())
            for row in rows:
                sheet.write(row.encode())
            sheet.write(b"</sheetData></worksheet>")
    return buffer.getvalue()


def row(number: int, text: str = "acme") -> str:
    return f"<row r='{number}'>{cell(f'A{number}', text)}{cell(f'B{number}', '2025-01-01')}</row>"


def _flipped(content: bytes) -> bytes:
    draw, changed = random.Random(1), bytearray(content)
    for _ in range(60):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


_ENTITIES = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + "]>"
)
_OUTSIDE_ENTITY = '<!DOCTYPE x [<!ENTITY a SYSTEM "file://OUTSIDE/secret.txt">]>'


def _outside_entity(places: Scene) -> None:
    places.customers()
    places.write(
        "arr_changes.xlsx", workbook([row(2, "&a;")], doctype=places.filled(_OUTSIDE_ENTITY))
    )


def _http_entity(places: Scene) -> None:
    places.customers()
    doctype = f'<!DOCTYPE x SYSTEM "{places.url}/x.dtd">'
    places.write("arr_changes.xlsx", workbook([row(2)], doctype=doctype))


EXCEL: dict[str, tuple[str, Callable[[], bytes]]] = {
    "two cells at the ends of a sheet": (
        "memory",
        lambda: workbook([f"<row r='1048576'>{cell('XFD1048576', 'x')}</row>"]),
    ),
    "a cell beyond the ends of a sheet": (
        "memory",
        lambda: workbook([f"<row r='4000000000'>{cell('ZZZZZZ4000000000', 'x')}</row>"]),
    ),
    "a sheet that unpacks to 4 GB": (
        "memory",
        lambda: workbook("<!--" + " " * (1 << 26) + "-->" for _ in range(60)),
    ),
    "texts that unpack to 2 GB": (
        "memory",
        lambda: workbook(
            [row(2)],
            **{"xl/sharedStrings.xml": "<sst><si><t>" + "x" * (2 << 30) + "</t></si></sst>"},
        ),
    ),
    "a cell of 500 MB": ("memory", lambda: workbook([row(2, "x" * (500 << 20))])),
    "entities that multiply": ("memory", lambda: workbook([row(2, "&j;")], doctype=_ENTITIES)),
    "a million rows of nothing": (
        "memory",
        lambda: workbook(f"<row r='{n}'>{cell(f'XFD{n}', '')}</row>" for n in range(2, 100_000)),
    ),
    "a workbook with flipped bits": (
        "code",
        lambda: _flipped(workbook([row(n) for n in range(2, 200)])),
    ),
    "a workbook that is cut": ("code", lambda: workbook([row(2)])[:900]),
    "formulas and links": (
        "code",
        lambda: workbook(
            ["<row r='2'><c r='A2'><f>HYPERLINK(\"http://127.0.0.1:9\")</f><v>1</v></c></row>"]
        ),
    ),
    "a sheet in 100,000 tags": ("code", lambda: workbook(["<a>" * 100_000])),
}


# Parquet


def _parquet(columns: dict[str, object], **options: object) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    sink = io.BytesIO()
    parquet.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


def _many_rows() -> bytes:
    """Ten thousand million rows in some MB: one dictionary, and its one value again and again."""
    import pyarrow as pa
    from pyarrow import parquet

    sink = io.BytesIO()
    values = pa.DictionaryArray.from_arrays(pa.nulls(10_000_000, pa.int32()).fill_null(0), ["acme"])
    days = pa.nulls(10_000_000, pa.date32())
    table = pa.table({"client_id": values, "effective_on": days})
    with parquet.ParquetWriter(sink, table.schema, compression="zstd") as writer:
        for _ in range(200):
            writer.write_table(table, row_group_size=10_000_000)
    return sink.getvalue()


def _long_texts() -> bytes:
    """50 GB of text as one dictionary of 10 texts of 1 MB, 50,000 times."""
    import pyarrow as pa

    texts = [str(n) * (1 << 20) for n in range(10)]
    indices = pa.array([n % 10 for n in range(50_000)], pa.int32())
    return _parquet(
        {
            "client_id": pa.DictionaryArray.from_arrays(indices, texts),
            "effective_on": pa.nulls(50_000, pa.date32()),
        },
        compression="zstd",
        dictionary_pagesize_limit=64 << 20,
    )


def _wide_parquet(count: int) -> bytes:
    return _parquet(
        {"client_id": ["acme"], "effective_on": ["2025-01-01"]}
        | {f"c{n}": [1] for n in range(count)}
    )


def _footer(length: int) -> bytes:
    """A footer that says that it is longer than the file."""
    content = bytearray(_parquet({"client_id": ["acme"], "effective_on": ["2025-01-01"]}))
    content[-8:-4] = struct.pack("<I", length)
    return bytes(content)


def _pickled() -> bytes:
    """A column whose type is written as a Python object, which runs code where it is read."""
    import pickle

    import pyarrow as pa

    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, (
                "__import__('pathlib').Path('../outside/written').write_text('code ran')",
            )

    field = pa.field(
        "client_id",
        pa.string(),
        metadata={
            "ARROW:extension:name": "arrow.py_extension_type",
            "ARROW:extension:metadata": pickle.dumps(Runs()),
        },
    )
    table = pa.table(
        [pa.array(["acme"]), pa.array(["2025-01-01"])],
        schema=pa.schema([field, ("effective_on", pa.string())]),
    )
    return _parquet({name: table[name] for name in table.column_names}) if False else written(table)


def written(table: object) -> bytes:
    from pyarrow import parquet

    sink = io.BytesIO()
    parquet.write_table(table, sink)
    return sink.getvalue()


def _deep_parquet(depth: int) -> bytes:
    import pyarrow as pa

    kind = pa.int32()
    for _ in range(depth):
        kind = pa.struct([("a", kind)])
    return written(pa.table({"client_id": ["acme"], "effective_on": pa.nulls(1, kind)}))


PARQUET: dict[str, tuple[str, Callable[[], bytes]]] = {
    "Parquet of two thousand million rows": ("time", _many_rows),
    "Parquet of 50 GB of text": ("memory", _long_texts),
    "Parquet of 100,000 columns": ("memory", lambda: _wide_parquet(100_000)),
    "a footer longer than the file": ("memory", lambda: _footer(0x7FFFFFFF)),
    "a footer of negative length": ("memory", lambda: _footer(0xFFFFFFF0)),
    "a type written as a Python object": ("code", _pickled),
    "Parquet with flipped bits": (
        "code",
        lambda: _flipped(
            _parquet({"client_id": ["acme"] * 500, "effective_on": ["2025-01-01"] * 500})
        ),
    ),
    "Parquet in 900 structures": ("code", lambda: _deep_parquet(900)),
}
ESCAPES = "client_id,effective_on,severity\nacme,\x1b]0;evil\x07\x1b[2J,\x1b[31mhigh\nac\x1b[31mme,2025-01-01,low\n"
TEXT: dict[str, tuple[str, str, Callable[[], str | bytes]]] = {
    "CSV of a million columns": ("memory", "arr_changes.csv", lambda: _wide(1_000_000)),
    "JSON of a million fields": ("memory", "arr_changes.jsonl", lambda: _objects(1_000_000)),
    "JSON in a million brackets": ("code", "arr_changes.jsonl", lambda: _deep(1_000_000, "[", "]")),
    "JSON in 100,000 objects": ("code", "arr_changes.jsonl", lambda: _deep(100_000, '{"a":', "}")),
    "a JSON array in a million brackets": ("code", "arr_changes.json", lambda: "[" * 1_000_000),
    "a JSON number of a million digits": (
        "time",
        "arr_changes.jsonl",
        lambda: _deep(1_000_000, "1", ""),
    ),
    "a JSON text of 300 MB": (
        "memory",
        "arr_changes.jsonl",
        lambda: json.dumps({"client_id": "acme", "effective_on": "x" * (300 << 20)}),
    ),
    "100,000 JSON objects of other fields": (
        "memory",
        "arr_changes.jsonl",
        lambda: "".join(
            f'{{"client_id": "acme", "effective_on": "2025-01-01", "c{n}": 1}}\n'
            for n in range(100_000)
        ),
    ),
    "control characters in values": ("code", "arr_changes.csv", lambda: ESCAPES),
    "control characters in a header": (
        "code",
        "arr_changes.csv",
        lambda: "client_id,effective_on,\x1b]0;evil\x07\nacme,2025-01-01,1\n",
    ),
    "control characters in a file's name": (
        "code",
        "tickets_\x1b]0;evil\x07.csv",
        lambda: CUSTOMERS,
    ),
    "control characters in customers' ids": (
        "code",
        "customers.csv",
        lambda: "client_id,signup_date\n\x1b[2J,2025-01-01\nacme,2025-01-01\n",
    ),
    "a name that ends a quotation": (
        "code",
        "arr_changes/a'), read_text('x.csv",
        lambda: "client_id,effective_on\nacme,2025-01-01\n",
    ),
    "a header that ends a quotation": (
        "code",
        "arr_changes.csv",
        lambda: (
            "client_id,effective_on,\"'}) ; COPY (SELECT 1) TO '../outside/written' --\"\nacme,2025-01-01,1\n"
        ),
    ),
    "a JSON field that ends a quotation": (
        "code",
        "arr_changes.jsonl",
        lambda: json.dumps(
            {"client_id": "acme", "effective_on": "2025-01-01", "\"' ; COPY (SELECT 1) TO 'x": 1}
        ),
    ),
    "a pattern in a file's name": (
        "files",
        "arr_changes/*.csv",
        lambda: "client_id,effective_on\nacme,2025-01-01\n",
    ),
    "a thousand million commas": (
        "memory",
        "arr_changes.csv",
        lambda: "client_id,effective_on\n" + "," * 300_000_000,
    ),
    "values of 1 MB": (
        "memory",
        "arr_changes.csv",
        lambda: "client_id,effective_on\n" + f"{'x' * 1_000_000},2025-01-01\n" * 500,
    ),
    "impossible dates": (
        "time",
        "arr_changes.csv",
        lambda: (
            "client_id,effective_on\nacme,9999-12-31\nacme,0001-01-01\nacme,292278994-08-17\nacme,-5000-01-01\n"
        ),
    ),
    "ids that are paths": (
        "files",
        "customers.csv",
        lambda: (
            "client_id,signup_date\nacme,2025-01-01\n../../outside/written,2025-01-01\n/outside,2025-01-01\nCON,2025-01-01\n"
        ),
    ),
}
_LINE = "client_id,effective_on\nacme,2025-01-01\n"
ATTACKS: list[Attack] = [
    *(Attack(name, wants, table(file, content)) for name, (wants, file, content) in TEXT.items()),
    *(Attack(name, wants, table("arr_changes.xlsx", content)) for name, (wants, content) in EXCEL.items()),
    *(Attack(name, wants, table("arr_changes.parquet", content)) for name, (wants, content) in PARQUET.items()),
    Attack("an entity that reads a file", "files", _outside_entity),
    Attack("an entity from the network", "network", _http_entity),
    Attack("gzip that unpacks to 50 GB of rows", "time", _gzip("arr_changes.csv.gz", _LINE, b"acme,2025-01-01\n" * 65536, 50)),
    Attack("gzip that unpacks to one line of 10 GB", "memory", _gzip("arr_changes.csv.gz", _LINE, b"x" * _BLOCK, 10)),
    Attack("gzip of JSON that unpacks to 50 GB", "time", _gzip("arr_changes.jsonl.gz", "", b'{"client_id": "acme"}\n' * 50000, 50)),
    Attack("gzip of events that unpacks to 50 GB", "time", _gzip("events.csv.gz", "client_id,user_id,occurred_at\n", b"acme,a,2025-01-01\n" * 58000, 50)),
    Attack("a line of 3 GB", "memory", _long_line),
    Attack("a quotation without an end", "memory", _open_quote),
    Attack("a file of 6 GB without content", "time", _sparse),
    Attack("a million columns that a query reads", "memory", _wide_query),
]  # fmt: skip
