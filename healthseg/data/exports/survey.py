"""The tables behind files and folders, as relations of one DuckDB connection: columns, rows, and what was not read.

Text stays text: no type is guessed, so that the id 007 stays 007. Objects in JSON and nested columns are looked into:
``properties.company_id`` is a column like any other.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import duckdb

from healthseg.data.sources import Refused, csv_header, quoted
from healthseg.errors import DataRetrievalError, InvalidParameters, hint

TEXT = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
LINES = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz", ".json", ".json.gz")
PARQUET = (".parquet",)
SUFFIXES = (*TEXT, *LINES, *PARQUET)
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar")
_IGNORED = (".", "_", "~")
_MAX_FILES = 5_000
_PEEK_ROWS = 1_000
_PEEK_BYTES = 1 << 16
# objects within objects: properties.$groups.company
_MAX_DEPTH = 3
_CONVERT = "iconv -f WINDOWS-1252 -t UTF-8"


@dataclass(frozen=True)
class ExportTable:
    """A table as a system exported it. ``columns`` has an SQL expression, over the alias ``t``, for each name."""

    label: str
    # the file as queries name it
    address: str
    relation: str
    columns: Mapping[str, str]
    files: tuple[Path, ...] = ()
    rows: int = 0
    # the expressions that are text, which may hold anything; JSON and Parquet have numbers of their own
    text: frozenset[str] = frozenset()
    remarks: tuple[str, ...] = ()

    @property
    def words(self) -> set[str]:
        """The words of the file's and its folder's name: ``2025 subscriptions.csv`` is about subscriptions."""
        names = [self.label, *(part for path in self.files for part in path.parts[-2:])]
        return {word for name in names for word in re.findall(r"[a-z]+", name.lower())}


@dataclass
class Survey:
    """What was found: tables, and a sentence for each file that cannot be used."""

    folder: Path
    connection: duckdb.DuckDBPyConnection
    tables: list[ExportTable] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def address(self, path: Path) -> str:
        """A file's name in queries: below the folder, unless DuckDB cannot search the folder by its name."""
        return str(path) if "," in str(self.folder) else path.relative_to(self.folder).as_posix()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query).fetchall()

    def value(self, query: str) -> Any:
        return self.rows(query)[0][0]

    def has(self, query: str) -> bool:
        return bool(self.rows(f"{query} LIMIT 1"))


def identifier(name: str) -> str:
    """A name as an SQL identifier.

    >>> identifier('the "ID" column')
    '"the ""ID"" column"'
    """
    return '"' + name.replace('"', '""') + '"'


def list_files(sources: Sequence[str | os.PathLike[str]]) -> tuple[list[Path], Path]:
    """All files behind the sources in order, and the folder that holds them all.

    Raises DataRetrievalError for a source that does not exist.
    """
    files: list[Path] = []
    folders: list[Path] = []
    for source in sources:
        path = Path(source).expanduser()
        if not path.exists():
            siblings = (
                [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
            )
            raise DataRetrievalError(
                f"there is nothing at {os.fspath(source)!r}{hint(path.name, siblings)}",
                parameter="source",
                value_provided=os.fspath(source),
                validation_rule="files, folders of files, or a database",
            )
        path = path.resolve()
        files += _files_below(path) if path.is_dir() else [path]
        folders.append(path if path.is_dir() else path.parent)
    if len(files) > _MAX_FILES:
        raise InvalidParameters(
            f"there are more than {_MAX_FILES:,} files: name the folders with the exports",
            parameter="source",
            value_provided=", ".join(str(source) for source in sources),
        )
    return sorted(dict.fromkeys(files)), Path(os.path.commonpath(folders))


def _files_below(folder: Path) -> list[Path]:
    files = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(_IGNORED) for part in inside):
            files.append(path)
    return files


def look_at(survey: Survey, files: Iterable[Path]) -> None:
    """Adds each file's table to the survey, or the reason why it has none."""
    others = []
    for path in files:
        name = path.relative_to(survey.folder).as_posix()
        if not path.name.lower().endswith(SUFFIXES):
            others.append((name, path))
            continue
        try:
            survey.tables.append(_measured(survey, _table(survey, path, name)))
        except Refused as problem:
            survey.unread.append(str(problem))
        except duckdb.Error as problem:
            if "not latin-1" in str(problem):
                survey.unread.append(
                    f"{name} is not UTF-8; convert it with: {_CONVERT} {quoted(path.name)}"
                )
                continue
            reason = str(problem).splitlines()[0][:200]
            survey.unread.append(f"{name} cannot be read as a table: {reason}")
        except OSError as problem:
            survey.unread.append(f"{name} cannot be read: {problem.strerror or problem}")
    survey.unread += _other_files(others)


def _other_files(others: Sequence[tuple[str, Path]]) -> Iterator[str]:
    for name, path in others:
        if path.name.lower().endswith(_ARCHIVES):
            yield f"{name} is an archive: unpack it, and run this again"
    names = [name for name, path in others if not path.name.lower().endswith(_ARCHIVES)]
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"files of other kinds are ignored: {', '.join(names[:3])}{more}"


def _table(survey: Survey, path: Path, name: str) -> ExportTable:
    """One file as a table; raises Refused where it holds none."""
    if path.stat().st_size == 0:
        raise Refused(f"{name} is empty: not even a header")
    lowered, address = path.name.lower(), survey.address(path)
    if lowered.endswith(PARQUET):
        reader = f"read_parquet({quoted(address)})"
        return _flattened(survey, ExportTable(name, address, reader, {}, (path,)))
    if lowered.endswith(LINES):
        return _json_table(survey, path, name)
    reader = _csv_relation(survey, path, name)
    return _flattened(survey, ExportTable(name, address, reader, {}, (path,)))


def _open(path: Path) -> gzip.GzipFile | IO[bytes]:
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")


def _csv_relation(survey: Survey, path: Path, name: str) -> str:
    with _open(path) as handle:
        head = handle.read(_PEEK_BYTES)
    encoding = ""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise Refused(f"{name} is UTF-16: save it as CSV in UTF-8")
    if b"\0" in head:
        raise Refused(f"{name} is not a text file: it contains NUL bytes")
    if not _is_utf8(path):
        encoding = ", encoding = 'latin-1'"
    delimiter, _ = csv_header(path)
    return (
        f"read_csv({quoted(survey.address(path))}, all_varchar = true, header = true, delim = {quoted(delimiter)}, "
        f"quote = '\"', escape = '\"'{encoding})"
    )


def _is_utf8(path: Path) -> bool:
    with _open(path) as handle:
        try:
            for line in handle:
                line.decode("utf-8")
        except UnicodeDecodeError:
            return False
    return True


def _json_table(survey: Survey, path: Path, name: str) -> ExportTable:
    with _open(path) as handle:
        first = handle.read(_PEEK_BYTES).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if first not in (b"{", b"["):
        raise Refused(f"{name} holds neither JSON lines nor a list of JSON objects")
    address = survey.address(path)
    form = "array" if first == b"[" else "newline_delimited"
    objects = f"read_json_objects({quoted(address)}, format = '{form}')"
    names: dict[str, None] = {}
    for (text,) in survey.rows(f"SELECT json FROM {objects} LIMIT {_PEEK_ROWS}"):
        value = json.loads(text)
        if not isinstance(value, dict):
            raise Refused(f"{name} holds no JSON objects")
        names |= dict.fromkeys(value)
    types = ", ".join(f"{identifier(key)}: 'VARCHAR'" for key in names)
    relation = f"read_json({quoted(address)}, format = '{form}', columns = {{{types}}})"
    return _flattened(survey, ExportTable(name, address, relation, {}, (path,)))


def _flattened(survey: Survey, table: ExportTable) -> ExportTable:
    """The table with its columns, and the keys of the JSON objects in them."""
    columns: dict[str, str] = {}
    for name, kind, *_ in survey.rows(f"DESCRIBE SELECT * FROM {table.relation}"):
        expression = f"t.{identifier(name)}"
        if kind.startswith(("STRUCT", "MAP")):
            expression = f"TO_JSON({expression})"
        columns[name] = expression
        if kind in ("VARCHAR", "JSON") or expression.startswith("TO_JSON"):
            columns |= _keys_within(survey, table, name, expression)
    text = () if table.relation.startswith("read_json") else columns.values()
    known = survey.rows(f"DESCRIBE SELECT * FROM {table.relation}")
    numeric = {f"t.{identifier(name)}" for name, kind, *_ in known if kind != "VARCHAR"}
    return replace(table, columns=columns, text=frozenset(text) - numeric)


def _keys_within(survey: Survey, table: ExportTable, name: str, column: str) -> dict[str, str]:
    """Expressions for the keys of the JSON objects in a column, by dotted name."""
    query = (
        f"SELECT {column}::VARCHAR FROM (SELECT * FROM {table.relation} LIMIT {_PEEK_ROWS}) AS t "
        f"WHERE STARTS_WITH({column}::VARCHAR, '{{')"
    )
    keys: dict[str, str] = {}
    for (text,) in survey.rows(query):
        try:
            value = json.loads(text)
        except ValueError:
            return {}
        for path in _paths(value):
            dotted = ".".join([name, *(part for part in path if part != "[0]")])
            if dotted not in keys:
                keys[dotted] = f"json_extract_string({column}, {quoted(_json_path(path))})"
    return keys


def _paths(value: Any, depth: int = 1) -> Iterator[tuple[str, ...]]:
    for key, inner in value.items():
        if isinstance(inner, dict) and depth < _MAX_DEPTH:
            yield from ((key, *path) for path in _paths(inner, depth + 1))
        elif isinstance(inner, list) and inner and not isinstance(inner[0], dict | list):
            yield key, "[0]"
        else:
            yield (key,)


def _json_path(path: Sequence[str]) -> str:
    parts = [part if part == "[0]" else f'."{part}"' for part in path if '"' not in part]
    return "$" + "".join(parts)


def _measured(survey: Survey, table: ExportTable) -> ExportTable:
    rows = survey.value(f"SELECT COUNT(*) FROM {table.relation}")
    if not rows:
        raise Refused(f"{table.label} has a header but no rows")
    return replace(table, rows=rows)


def united(survey: Survey, tables: Sequence[ExportTable]) -> ExportTable:
    """Files of one export as one table; rows that several of them hold count once."""
    if len(tables) == 1:
        return tables[0]
    names = [table.label for table in tables]
    selects = [f"SELECT * FROM {table.relation}" for table in tables]
    relation = _one_reader(tables) or "(" + " UNION ALL BY NAME ".join(selects) + ")"
    alone = sum(_distinct(survey, table.relation) for table in tables)
    together = _distinct(survey, relation)
    remarks = [f"{len(tables)} files of one table, read as one"]
    rows = sum(table.rows for table in tables)
    if together < alone:
        remarks.append(
            f"{alone - together:,} rows are in more than one of the files: each is used once"
        )
        relation, rows = f"(SELECT DISTINCT * FROM {relation})", together
    files = tuple(file for table in tables for file in table.files)
    table = ExportTable(" + ".join(names), "", relation, {}, files, rows, remarks=tuple(remarks))
    return replace(
        _flattened(survey, table), text=frozenset.intersection(*(table.text for table in tables))
    )


def _distinct(survey: Survey, relation: str) -> int:
    return int(survey.value(f"SELECT COUNT(*) FROM (SELECT DISTINCT * FROM {relation})"))


def _one_reader(tables: Sequence[ExportTable]) -> str | None:
    """One call that reads all files, where they are read in the same way."""
    calls = {table.relation.replace(quoted(table.address), "{}", 1) for table in tables}
    if len(calls) > 1 or tables[0].relation.startswith("read_json"):
        return None
    files = "[" + ", ".join(quoted(table.address) for table in tables) + "]"
    call = calls.pop().replace("{}", files, 1)
    return f"{call[:-1]}, union_by_name = true)"
