"""Copies of what DuckDB does not read itself: Excel sheets, SQLite tables, JSON lines, CSV that is not UTF-8.

A copy is one Parquet file (of CSV a CSV file in UTF-8) in the cache, named by the state of its source; it is made when
the source is first read, and again where it was removed.
"""

from __future__ import annotations

import codecs
import contextlib
import datetime as dt
import gzip
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
    Refused,
    SourcePart,
    column_names,
    file_part,
    open_bytes,
    quoted,
    split_name,
    unreadable,
)
from healthseg.data.storage import mark_used, writing
from healthseg.data.text_files import UTF8, prepare_text, recode, text_form
from healthseg.errors import DataRetrievalError, InvalidParameters, hint
from healthseg.settings.base import fingerprint

if TYPE_CHECKING:
    import pyarrow as pa

    from healthseg.data.tables import Table

COPIES = "copies"
# the first bytes of files that are often named as if they were text, what they are, how they are to end
_KINDS = {
    b"PAR1": ("a Parquet file", ".parquet"),
    b"\x1f\x8b": ("packed with gzip", ".csv.gz"),
    b"PK\x03\x04": ("an Excel workbook or a zip file", ".xlsx"),
    b"\xd0\xcf\x11\xe0": ("an Excel workbook", ".xls"),
    b"SQLite format 3": ("a SQLite file", ".sqlite"),
}
_LEAST_PARQUET = 8
CHUNK_ROWS = 200_000
# rows above the header: a title, a date of export
_TITLE_ROWS = 20
_HEADER_LINE = b"header_line"


def prepare(
    part: SourcePart, folder: Path, table: Table | None = None, *, fresh: bool = True
) -> SourcePart:
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
            if fresh:
                _require_content(part)
            return prepare_text(part, target, table, fresh=fresh)
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


def plain_words(problem: duckdb.Error, parts: Sequence[SourcePart]) -> str:
    """What DuckDB says of files, in one line, with the files' own names."""
    words = str(problem).splitlines()[0].strip()
    for part in parts:
        for path in {part.copy, part.path} - {None}:
            words = words.replace(str(path), part.label)
    return re.sub(r"^[A-Z][\w ]* Error: ", "", words)


def _prepare_query(part: SourcePart, folder: Path, fresh: bool) -> SourcePart:
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


def _require_content(part: SourcePart) -> None:
    """Raises Refused for what is no file, is empty, or is of a kind that its name does not say."""
    assert part.path is not None
    if not part.path.is_file():
        raise Refused(f"{part.label} is not a file, whatever its name says")
    if part.path.stat().st_size == 0:
        raise Refused(f"{part.label} is empty: not even a header")
    name, kind = split_name(part.path.name)
    with open(part.path, "rb") as handle:
        first = handle.read(16)
    if kind in ("csv", "json") and not part.path.name.lower().endswith(".gz"):
        for mark, (words, ending) in _KINDS.items():
            if first.startswith(mark):
                raise Refused(
                    f"{part.label} is {words}, whatever its name says: name it {name}{ending}"
                )


def _require_unchanged(part: SourcePart) -> None:
    if part.changed:
        raise DataRetrievalError(
            f"{part.label} changed while it was being read: open the portfolio again when it is written whole",
            parameter="portfolio",
            value_provided=part.label,
        )


def _require_parquet(part: SourcePart) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    _require_content(part)
    assert part.path is not None
    with open(part.path, "rb") as handle:
        if handle.read(4) != b"PAR1":
            raise Refused(f"{part.label} is not a Parquet file, whatever its name says")
        handle.seek(-4, 2)
        if handle.tell() < _LEAST_PARQUET or handle.read(4) != b"PAR1":
            raise Refused(
                f"{part.label} is cut off: a whole Parquet file ends with PAR1; write it again"
            )
    try:
        schema = parquet.read_schema(part.path)
    except (pa.ArrowException, OSError, ValueError):
        raise Refused(
            f"{part.label} is damaged: its footer cannot be read; write it again"
        ) from None
    if not schema.names:
        raise Refused(f"{part.label} has no columns")


# Excel


def _write_sheet(part: SourcePart, target: Path, table: Table | None) -> None:
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


def _sheet(part: SourcePart, columns: Sequence[str]) -> tuple[int, list[str], list[list[Any]]]:
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
    names = column_names(rows[header])
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


def _write_sqlite(part: SourcePart, target: Path, _table: Table | None) -> None:
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


def _write_json(part: SourcePart, target: Path, _table: Table | None) -> None:
    """The objects of a file, one a line or in one array, with the fields of all of them as text."""
    assert part.path is not None
    form, path = text_form(part), part.path
    if form.encoding != UTF8:
        path = target.with_name(f"{target.name}.json")
        recode(part, form, path)
    with open_bytes(path) as handle:
        first = handle.read(CHUNK_BYTES).removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    layout = (
        "format = 'newline_delimited', ignore_errors = true"
        if first != b"["
        else "format = 'array'"
    )
    relation = f"read_json_objects({quoted(str(path))}, {layout})"
    with (
        duckdb.connect(":memory:", config={"autoload_known_extensions": "false"}) as connection,
        contextlib.ExitStack() as stack,
    ):
        if path != part.path:
            stack.callback(path.unlink)
        try:
            keys = connection.execute(
                f"SELECT name FROM (SELECT DISTINCT UNNEST(json_keys(json)) AS name FROM {relation}) "
                "ORDER BY LOWER(name), name DESC"
            ).fetchall()
            if not keys:
                raise Refused(f"{part.label} holds no JSON objects, one a line")
            fields = ", ".join(_json_field(name) for (name,) in keys)
            connection.execute(
                f"COPY (SELECT {fields} FROM {relation}) TO {quoted(str(target))} (FORMAT PARQUET)"
            )
        except duckdb.Error as problem:
            raise Refused(
                f"{part.label} is not JSON, one object a line: {plain_words(problem, [part])}"
            ) from None


def _json_field(name: str) -> str:
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")
    column = name.replace('"', '""')
    return f'json ->> {quoted(pointer)} AS "{column}"'


_WRITERS = {"xlsx": _write_sheet, "sqlite": _write_sqlite, "json": _write_json}


def line_of(part: SourcePart, row: int) -> int | None:
    """The line or row of a file, as a reader counts it, of the n-th row below its header; None where it has none."""
    if part.format in ("parquet", "json"):
        return row
    if part.format == "xlsx" and part.copy is not None:
        from pyarrow import parquet

        metadata = parquet.read_schema(part.copy).metadata or {}
        return row + int(metadata.get(_HEADER_LINE, b"1"))
    return None
