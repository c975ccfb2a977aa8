"""Copies of what DuckDB does not read itself: Excel sheets, SQLite tables, JSON lines, CSV that is not UTF-8.

A copy is one Parquet file (of CSV a CSV file in UTF-8) in the cache, named by the state of its source; it is made when
the source is first read, and again where it was removed.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import datetime as dt
import errno
import gzip
import io
import itertools
import re
import sqlite3
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from healthseg.data.sources import (
    CHUNK_BYTES,
    Part,
    Refused,
    file_part,
    open_bytes,
    quoted,
    split_name,
)
from healthseg.data.storage import mark_used, writing
from healthseg.errors import DataRetrievalError, InvalidParameters, hint
from healthseg.settings.base import fingerprint

if TYPE_CHECKING:
    import pyarrow as pa

    from healthseg.data.tables import Table

COPIES = "copies"
# DuckDB takes seconds for each thousand columns beyond
_WIDE = 1_000
CHUNK_ROWS = 200_000
# rows above the header: a title, a date of export
_TITLE_ROWS = 20
_HEADER_LINE = b"header_line"
_FOREIGN, _MULTIBYTE = re.compile("[\udc80-\udcff]"), re.compile("[\x80-\ud7ff\ue000-\U0010ffff]")
_LEGACY = "cp1252"
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def prepare(part: Part, folder: Path, table: Table | None = None, *, fresh: bool = True) -> Part:
    """The part as DuckDB can read it: with a copy in ``folder`` where it needs one.

    ``table`` is what its header is looked for, ``fresh`` says that it was not read before. Raises Refused, with
    the way out, for a file that is empty, cut off or of another kind than its name says; DataRetrievalError for one
    that cannot be read now.
    """
    if part.path is None:
        return _prepare_query(part, folder, fresh)
    kind = part.format
    target = folder / fingerprint([part.token or part.stat, part.label])
    try:
        if kind == "parquet":
            if fresh:
                _require_parquet(part)
            return part
        if kind == "csv":
            return _prepare_csv(part, target.with_suffix(".csv"), table, fresh)
        target = target.with_suffix(".parquet")
        if target.is_file():
            mark_used(target)
        else:
            _require_content(part)
            with writing(target) as temporary:
                _WRITERS[kind](part, temporary, table)
            _require_unchanged(part)
    except (gzip.BadGzipFile, EOFError, zlib.error) as problem:
        raise Refused(f"{part.label} is not a whole gzip file: {problem}") from None
    except OSError as problem:
        raise unreadable(part.label, problem) from None
    return replace(part, copy=target)


def unreadable(label: str, problem: OSError) -> DataRetrievalError:
    """A file that cannot be read now: nothing is concluded from that, and nothing cached."""
    words = problem.strerror or str(problem)
    way = (
        "allow this user to read it"
        if problem.errno == errno.EACCES
        else "try again when it can be read"
    )
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        way = "make room where HEALTHSEG_CACHE or the portfolio's folder lies"
    return DataRetrievalError(
        f"{label} cannot be read: {words}; {way}", parameter="portfolio", value_provided=label
    )


def _prepare_query(part: Part, folder: Path, fresh: bool) -> Part:
    """The query over copies where it names files that need one."""
    if part.query is None or isinstance(part.query, str):
        return part
    paths: list[Path] = []
    notes: list[str | None] = []
    for reference in part.query.references:
        path = reference.path
        if len(reference.files) == 1 and split_name(path.name)[1] in ("csv", *_WRITERS):
            file = file_part(reference.files[0], path.parent, reference.inner)
            ready = prepare(file, folder, fresh=fresh)
            path, notes = ready.scanned, [*notes, ready.note]
        paths.append(path)
    note = "; ".join(filter(None, notes)) or None
    return replace(part, query=part.query.over(paths), note=note)


def _require_content(part: Part) -> None:
    assert part.path is not None
    if part.path.is_dir():
        raise Refused(f"{part.label} is a folder, whatever its name says")
    if part.path.stat().st_size == 0:
        raise Refused(f"{part.label} is empty: not even a header")


def _require_unchanged(part: Part) -> None:
    if part.changed:
        raise DataRetrievalError(
            f"{part.label} changed while it was being read: open the portfolio again when it is written whole",
            parameter="portfolio",
            value_provided=part.label,
        )


def _require_parquet(part: Part) -> None:
    _require_content(part)
    assert part.path is not None
    with open(part.path, "rb") as handle:
        if handle.read(4) != b"PAR1":
            raise Refused(f"{part.label} is not a Parquet file, whatever its name says")
        handle.seek(-4, 2)
        if handle.read(4) != b"PAR1":
            raise Refused(
                f"{part.label} is cut off: a whole Parquet file ends with PAR1; write it again"
            )


# CSV


def _prepare_csv(part: Part, target: Path, table: Table | None, fresh: bool) -> Part:
    assert part.path is not None
    if not target.is_file():
        if not fresh:
            return part
        _require_content(part)
        encoding = _encoding(part)
        if encoding != "utf-8":
            with writing(target) as temporary:
                _recode(part, encoding, temporary)
    if target.is_file():
        mark_used(target)
        words = "UTF-16" if _mark(part.path) == "utf-16" else "Windows-1252"
        note = f"{part.label} is not UTF-8: it was read as {words}"
        part = replace(part, copy=target, note=note)
    columns = len(part.header[1])
    if table is None or columns <= _WIDE:
        return part
    narrow = target.with_name(f"narrow-{target.name}")
    if not narrow.is_file():
        with writing(narrow) as temporary:
            _narrow(part, table, temporary)
    note = f"{part.label} has {columns:,} columns; those that are not in the contract are not read"
    return replace(part, copy=narrow, note="; ".join(filter(None, [part.note, note])))


def _narrow(part: Part, table: Table, target: Path) -> None:
    """A CSV file's columns of the contract alone; a line with other columns than the header stays one."""
    delimiter, names = part.header
    positions = [position for position, name in enumerate(names) if name in table.names]
    with (
        open_bytes(part.scanned) as source,
        io.TextIOWrapper(source, encoding="utf-8-sig", newline="") as text,
        open(target, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        try:
            rows = csv.reader(text, delimiter=delimiter)
            next(rows)
            writer.writerow([names[position] for position in positions])
            for row in rows:
                whole = len(row) == len(names)
                writer.writerow(
                    [row[at] for at in positions] if whole else row[:1] * (len(positions) + 1)
                )
        except csv.Error as problem:
            raise Refused(f"{part.label}, line {rows.line_num} is not CSV: {problem}") from None


def _mark(path: Path) -> str | None:
    """The encoding that a file's first bytes name."""
    with open_bytes(path) as handle:
        first = handle.read(3)
    return next((name for mark, name in _MARKS.items() if first.startswith(mark)), None)


def _encoding(part: Part) -> str:
    """UTF-8, UTF-16 by its mark, else Windows-1252. Raises Refused for what is no text, or is cut off or mixed."""
    assert part.path is not None
    if _mark(part.path) == "utf-16":
        return "utf-16"
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    foreign, multibyte, line = 0, False, 1
    with open_bytes(part.path) as handle:
        while chunk := handle.read(CHUNK_BYTES):
            if b"\0" in chunk:
                raise Refused(
                    f"{part.label} is not a text file: it contains NUL bytes; save it as CSV in UTF-8"
                )
            text = "" if chunk.isascii() else decoder.decode(chunk)
            if position := _FOREIGN.search(text):
                foreign = foreign or line + text.count("\n", 0, position.start())
            multibyte = multibyte or _MULTIBYTE.search(text) is not None
            line += chunk.count(b"\n")
    if decoder.getstate()[0] and not foreign:
        raise Refused(
            f"{part.label}, line {line} ends within a UTF-8 character: the file is cut off"
        )
    if foreign and multibyte:
        raise Refused(
            f"{part.label}, line {foreign} is not UTF-8, other lines are: save the whole file in UTF-8"
        )
    return _LEGACY if foreign else "utf-8"


def _recode(part: Part, encoding: str, target: Path) -> None:
    assert part.path is not None
    decoder, line = codecs.getincrementaldecoder(encoding)(), 1
    with open_bytes(part.path) as source, open(target, "wb") as file:
        try:
            while chunk := source.read(CHUNK_BYTES):
                file.write(decoder.decode(chunk).encode())
                line += chunk.count(b"\n")
            file.write(decoder.decode(b"", final=True).encode())
        except UnicodeDecodeError as problem:
            line += problem.object[: problem.start].count(b"\n")
            words = "UTF-16" if encoding == "utf-16" else "UTF-8 or Windows-1252"
            raise Refused(
                f"{part.label}, line {line} is not {words} (byte 0x{problem.object[problem.start]:02x}): "
                "save it as CSV in UTF-8"
            ) from None


# Excel


def _write_sheet(part: Part, target: Path, table: Table | None) -> None:
    import pyarrow.parquet as pq

    from healthseg.data import columns as arrow

    required = [column.name for column in table.columns if column.required] if table else []
    header, names, rows = _sheet(part, required)
    content = arrow.rows(names, rows)
    pq.write_table(content.replace_schema_metadata({_HEADER_LINE: str(header + 1)}), target)


def sheet_names(path: Path) -> list[str]:
    """The sheets of a workbook. Raises Refused for a file that is none."""
    return list(_workbook(path, path.name).sheet_names)


def _workbook(path: Path, label: str) -> Any:
    import python_calamine

    try:
        return python_calamine.CalamineWorkbook.from_path(str(path))
    except python_calamine.PasswordError:
        raise Refused(f"{label} is protected by a password: save it without one") from None
    except (python_calamine.CalamineError, ValueError) as problem:
        raise Refused(f"{label} is not an Excel workbook: {problem}") from None


def _sheet(part: Part, columns: Sequence[str]) -> tuple[int, list[str], list[list[Any]]]:
    """The position of the header, the names in it, and the rows below, without blank ones at the end."""
    assert part.path is not None
    workbook = _workbook(part.path, part.label)
    sheets = list(workbook.sheet_names)
    wanted = part.inner or split_name(part.path.name)[0]
    lowered = {name.lower(): name for name in sheets}
    if part.inner and part.inner.lower() not in lowered:
        raise Refused(
            f"{part.label}: no such sheet{hint(part.inner, sheets)}; it holds {', '.join(sheets)}"
        )
    content = workbook.get_sheet_by_name(lowered.get(wanted.lower(), sheets[0]))
    start = content.start or (0, 0)
    rows = [[None] * len(row) for row in itertools.repeat((), start[0])]
    rows += [[_cell(value) for value in row] for row in content.to_python(skip_empty_area=True)]
    filled = [number for number, row in enumerate(rows) if any(value is not None for value in row)]
    if not filled:
        raise Refused(f"{part.label} is empty: not even a header")
    header = _header_of(rows, filled[0], columns)
    names = [
        str(value if value is not None else f"column_{number}").strip()
        for number, value in enumerate(rows[header], 1)
    ]
    names = [
        f"{name}_{number}" if name in names[: number - 1] else name
        for number, name in enumerate(names, 1)
    ]
    return header, names, rows[header + 1 : filled[-1] + 1]


def _header_of(rows: Sequence[Sequence[Any]], first: int, columns: Sequence[str]) -> int:
    """The first row that holds the columns, among the first; else the first that is not blank."""
    for number, row in enumerate(rows[: first + _TITLE_ROWS]):
        words = {str(value).strip() for value in row}
        if columns and words >= set(columns):
            return number
    return first


def _cell(value: Any) -> Any:
    """A cell's value: blank is missing, a whole number is whole, an instant without a time of day a day."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date()
    return value


# SQLite


def sqlite_tables(path: Path) -> list[str]:
    """The tables and views of a SQLite file. Raises Refused for a file that is none."""
    query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY 1"
    with _sqlite(path, path.name) as connection:
        return [name for (name,) in connection.execute(query).fetchall()]


@contextlib.contextmanager
def _sqlite(path: Path, label: str) -> Iterator[sqlite3.Connection]:
    """A file opened to be read only, with its errors in our words."""
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            connection.text_factory = lambda content: content.decode("utf-8", errors="replace")
            connection.execute("BEGIN")
            yield connection
    except sqlite3.Error as problem:
        raise Refused(f"{label} cannot be read as a SQLite file: {problem}") from None


def _write_sqlite(part: Part, target: Path, _table: Table | None) -> None:
    assert part.path is not None
    with _sqlite(part.path, part.label) as connection:
        names = sqlite_tables(part.path)
        inner = part.inner or split_name(part.path.name)[0]
        if inner not in names:
            raise Refused(
                f"{part.label}: no table {inner}{hint(inner, names)}; it holds {', '.join(names)}"
            )
        escaped = inner.replace('"', '""')
        cursor = connection.execute(f'SELECT * FROM "{escaped}"')
        fields = [field[0] for field in cursor.description]
        write_chunks(target, fields, iter(lambda: cursor.fetchmany(CHUNK_ROWS), []))


def write_chunks(
    target: Path, names: Sequence[str], chunks: Iterator[Sequence[Sequence[Any]]]
) -> None:
    """Writes rows to a Parquet file in chunks that fit in memory, each column with the type that all its values have."""
    import pyarrow.parquet as pq

    from healthseg.data import columns as arrow

    tables: list[pa.Table] = [arrow.rows(names, chunk) for chunk in chunks] or [
        arrow.rows(names, [])
    ]
    schema = arrow.one_schema(tables)
    with pq.ParquetWriter(target, schema) as writer:
        for table in tables:
            writer.write_table(table.cast(schema))


def write_frame(name: str, values: Any, target: Path) -> None:
    """Writes a DataFrame or an Arrow table to a Parquet file. Raises InvalidParameters for anything else."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from healthseg.data import columns as arrow

    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(values, pandas.DataFrame):
        table = arrow.frame(values)
    elif hasattr(values, "__arrow_c_stream__"):
        table = arrow.table(pa.table(values))
    else:
        raise InvalidParameters(
            f"table {name} is a {type(values).__name__}: expected a DataFrame, an Arrow table or the path of a file",
            parameter="portfolio",
            value_provided=name,
        )
    twice = {column for column in table.column_names if table.column_names.count(column) > 1}
    if twice:
        raise InvalidParameters(
            f"table {name} has the column {min(twice)} more than once: rename or drop one of them",
            parameter="portfolio",
            value_provided=min(twice),
        )
    pq.write_table(table, target)


# JSON


def _write_json(part: Part, target: Path, _table: Table | None) -> None:
    """The objects of a file, one a line or in one array, with the fields of all of them as text."""
    assert part.path is not None
    with open_bytes(part.path) as handle:
        first = handle.read(CHUNK_BYTES).removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    lines = first != b"["
    layout = "format = 'newline_delimited', ignore_errors = true" if lines else "format = 'array'"
    relation = f"read_json_objects({quoted(str(part.path))}, {layout})"
    with duckdb.connect(":memory:", config={"autoload_known_extensions": "false"}) as connection:
        try:
            keys = connection.execute(
                f"SELECT DISTINCT UNNEST(json_keys(json)) AS name FROM {relation} ORDER BY 1"
            ).fetchall()
            if not keys:
                raise Refused(f"{part.label} holds no JSON objects, one a line")
            fields = ", ".join(
                f"""json ->> {quoted(f'$."{name}"')} AS "{name.replace('"', '""')}\""""
                for (name,) in keys
            )
            connection.execute(
                f"COPY (SELECT {fields} FROM {relation}) TO {quoted(str(target))} (FORMAT PARQUET)"
            )
        except duckdb.Error as problem:
            words = str(problem).splitlines()[0]
            raise Refused(f"{part.label} is not JSON, one object a line: {words}") from None


_WRITERS = {"xlsx": _write_sheet, "sqlite": _write_sqlite, "json": _write_json}


def line_of(part: Part, row: int) -> int | None:
    """The line or row of a file, as a reader counts it, of the n-th row below its header; None where it has none."""
    if part.format in ("parquet", "json"):
        return row
    if part.format == "xlsx" and part.copy is not None:
        from pyarrow import parquet

        metadata = parquet.read_schema(part.copy).metadata or {}
        return row + int(metadata.get(_HEADER_LINE, b"1"))
    return None
