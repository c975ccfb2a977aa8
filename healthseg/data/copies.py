"""Copies of what DuckDB does not read itself: Excel sheets, SQLite tables, JSON lines, CSV that is not UTF-8.

A copy is one Parquet file (of CSV a CSV file in UTF-8) in the cache, named by the state of its source; it is made when
the source is first read, and again where it was removed.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import re
import sqlite3
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from healthseg.data.engine import BUILD_MEMORY, connect
from healthseg.data.isolation import copy_query, copy_sqlite
from healthseg.data.queries import Query
from healthseg.data.sources import (
    CHUNK_BYTES,
    Refused,
    SourcePart,
    file_part,
    not_now,
    open_bytes,
    quoted,
    split_name,
    unreadable,
)
from healthseg.data.storage import is_whole, writing_noted
from healthseg.data.text_files import UTF8, prepare_text, recode, require_columns, text_form
from healthseg.data.workbooks import HEADER_LINE, write_sheet
from healthseg.errors import DataRetrievalError, InvalidParameters, hint, machine_fault
from healthseg.settings.base import fingerprint

if TYPE_CHECKING:
    import pyarrow as pa

    from healthseg.data.tables import TableContract

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
# errors of SQLite that say nothing of the file's content
_PASSING = ("SQLITE_BUSY", "SQLITE_CANTOPEN", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_LOCKED", "SQLITE_NOMEM")  # fmt: skip
CHUNK_ROWS = 200_000


def prepare(
    part: SourcePart, folder: Path, table: TableContract | None = None, *, fresh: bool = True
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
        if not is_whole(target):
            _require_content(part)
            with writing_noted(target) as temporary:
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
    """The query over copies where it names files that need one; its rows are a copy too where others wrote it."""
    text, files, note = part.query, [], part.note
    if isinstance(text, Query):
        files = [file for reference in text.references for file in reference.files]
        text, note = _over_copies(text, folder, fresh)
    if text is None or part.isolated_in is None:
        return replace(part, query=text, note=note)
    target = folder / f"{fingerprint([part.token, part.label, text])}.parquet"
    if not part.token or not is_whole(target):
        _require_safe(part.isolated_in, part.label)
        with writing_noted(target) as temporary:
            copy_query(
                part.label,
                text,
                temporary,
                folders=[*part.isolated_in, folder],
                attach=part.attach,
                files=[*files, Path(part.attach)] if part.attach else files,
            )
    return replace(part, query=f"SELECT * FROM read_parquet({quoted(str(target))})", note=note)


def _over_copies(query: Query, folder: Path, fresh: bool) -> tuple[str, str | None]:
    paths: list[Path] = []
    notes: list[str | None] = []
    for reference in query.references:
        path = reference.path
        if len(reference.files) == 1 and split_name(path.name)[1] in ("csv", *_WRITERS):
            file = file_part(reference.files[0], path.parent, reference.inner)
            ready = prepare(file, folder, fresh=fresh)
            path, notes = ready.scanned, [*notes, ready.note]
        paths.append(path)
    return query.over(paths), "; ".join(filter(None, notes)) or None


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
        names = _footer_names(part.path, part.label)
    except (pa.ArrowException, OSError, ValueError) as problem:
        if machine_fault(problem):
            raise
        raise Refused(
            f"{part.label} is damaged: its footer cannot be read; write it again"
        ) from None
    if not names:
        raise Refused(f"{part.label} has no columns")
    require_columns(part.label, len(names))


def _footer_names(path: Path, label: str) -> list[str]:
    """The columns in a Parquet file's footer. Raises Refused for a kind of packing that the engine does not read safely."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        footer, names = file.metadata, list(file.schema_arrow.names)
    groups = map(footer.row_group, range(footer.num_row_groups))
    if any(
        group.column(number).compression == "BROTLI"
        for group in groups
        for number in range(group.num_columns)
    ):
        raise Refused(
            f"{label} is packed with Brotli, which the engine unpacks with a known weakness: write it with zstd or snappy"
        )
    return names


def _require_safe(folders: Sequence[Path], label: str) -> None:
    """Raises Refused where a query of others could read a Parquet file that is not read elsewhere either."""
    import pyarrow as pa

    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        with contextlib.suppress(pa.ArrowException, OSError, ValueError):
            with open(path, "rb") as handle:
                if handle.read(4) != b"PAR1":
                    continue
            _footer_names(path, f"{label}: {path.name}")


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
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("BEGIN")
            yield connection
    except sqlite3.Error as problem:
        name = getattr(problem, "sqlite_errorname", "")
        if name.startswith(
            "SQLITE_READONLY"
        ):  # its journal is to be rolled back first, which only its own program does
            way = "open it once with the program that writes it"
            raise not_now(label, "its last change was cut short", way) from None
        if name.startswith(_PASSING):
            raise not_now(label, str(problem)) from None
        raise Refused(f"{label} cannot be read as a SQLite file: {problem}") from None


def _write_sqlite(part: SourcePart, target: Path, _table: TableContract | None) -> None:
    assert part.path is not None
    with _sqlite(part.path, part.label) as connection:
        names = sqlite_tables(part.path)
        inner = part.inner or split_name(part.path.name)[0]
        if inner not in names:
            raise Refused(
                f"{part.label}: no table {inner}{hint(inner, names)}; it holds {', '.join(names)}"
            )
        if not _computes(connection, inner):
            _write_rows(connection, inner, target)
            return
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}-") as name:
        copy = Path(name) / "rows.sqlite"
        copy_sqlite(part.label, part.path, inner, copy)
        with _sqlite(copy, part.label) as connection:
            _write_rows(connection, "rows", target)


def _computes(connection: sqlite3.Connection, name: str) -> bool:
    """Whether reading a table runs what others wrote: a view, generated columns, a table of a module."""
    query = "SELECT type, sql FROM sqlite_master WHERE name = ?"
    kind, text = connection.execute(query, (name,)).fetchone()
    plain = kind == "table" and re.match(r"CREATE\s+TABLE", text, re.IGNORECASE)
    return not plain or re.search(r"\bAS\s*\(", text, re.IGNORECASE) is not None


def _write_rows(connection: sqlite3.Connection, name: str, target: Path) -> None:
    escaped = name.replace('"', '""')
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
    """Writes a DataFrame (a named index is a column) or an Arrow table to a Parquet file.

    Raises InvalidParameters for anything else.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from healthseg.data import columns as arrow

    pandas = sys.modules.get("pandas")
    try:
        if pandas is not None and isinstance(values, pandas.DataFrame):
            of_index = [level for level in values.index.names if level not in (None, *values)]
            table = arrow.frame(values.reset_index(level=of_index) if of_index else values)
        else:
            table = arrow.table(pa.table(values))
    except (TypeError, ValueError):
        raise InvalidParameters(
            f"table {name} is a {type(values).__name__}: expected a DataFrame, an Arrow table or the path of a file",
            parameter="portfolio",
            value_provided=name,
        ) from None
    table = table.rename_columns([str(column).strip() for column in table.column_names])
    twice = {column for column in table.column_names if table.column_names.count(column) > 1}
    if twice:
        raise InvalidParameters(
            f"table {name} has the column {min(twice)} more than once: rename or drop one of them",
            parameter="portfolio",
            value_provided=min(twice),
        )
    pq.write_table(table, target)


# JSON


def _write_json(part: SourcePart, target: Path, _table: TableContract | None) -> None:
    """The objects of a file, one a line or in one array, with the fields of all of them as text."""
    assert part.path is not None
    form, path = text_form(part), part.path
    with open_bytes(path) as handle:
        if handle.read(3) == codecs.BOM_UTF8:  # which the engine does not read in JSON
            form = replace(form, encoding="utf-8-sig")
    if form.encoding != UTF8:
        path = target.with_name(f"{target.name}.json")
        recode(part, form, path)
    with open_bytes(path) as handle:
        first = handle.read(CHUNK_BYTES).lstrip()[:1]
    layout = (
        "format = 'newline_delimited', ignore_errors = true"
        if first != b"["
        else "format = 'array'"
    )
    relation = f"read_json_objects({quoted(str(path))}, {layout})"
    with (
        contextlib.closing(
            connect(target.with_name(f"{target.name}-spill"), memory=BUILD_MEMORY)
        ) as connection,
        contextlib.ExitStack() as stack,
    ):
        if path != part.path:
            stack.callback(path.unlink)
        try:
            keys = connection.execute(
                f"SELECT name FROM (SELECT DISTINCT UNNEST(json_keys(json)) AS name FROM {relation}) "
                "WHERE name <> '' ORDER BY LOWER(name), name DESC"
            ).fetchall()
            if not keys:
                raise Refused(f"{part.label} holds no JSON objects, one a line")
            require_columns(part.label, len(keys))
            fields = ", ".join(_json_field(name) for (name,) in keys)
            connection.execute(
                f"COPY (SELECT {fields} FROM {relation}) TO {quoted(str(target))} (FORMAT PARQUET)"
            )
        except duckdb.Error as problem:
            words = plain_words(problem, [part])
            if isinstance(problem, duckdb.OutOfMemoryException) or machine_fault(problem):
                raise not_now(part.label, words) from None
            raise Refused(f"{part.label} is not JSON, one object a line: {words}") from None


def _json_field(name: str) -> str:
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")
    column = name.replace('"', '""')
    return f'json ->> {quoted(pointer)} AS "{column}"'


_WRITERS = {"xlsx": write_sheet, "sqlite": _write_sqlite, "json": _write_json}


def line_of(part: SourcePart, row: int) -> int | None:
    """The line or row of a file, as a reader counts it, of the n-th row below its header; None where it has none."""
    if part.format in ("parquet", "json"):
        return row
    if part.format == "xlsx" and part.copy is not None:
        from pyarrow import parquet

        metadata = parquet.read_schema(part.copy).metadata or {}
        return row + int(metadata.get(HEADER_LINE, b"1"))
    return None
