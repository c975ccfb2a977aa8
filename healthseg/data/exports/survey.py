"""The tables behind files and folders, as relations of one DuckDB connection: columns, rows, and what was not read.

Text stays text: no type is guessed, so that the id 007 stays 007. Objects in JSON and nested columns are looked into:
``properties.company_id`` is a column like any other.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb

from healthseg.data.copies import prepare, sqlite_tables
from healthseg.data.sources import Refused, csv_header, file_part, quoted, split_name
from healthseg.data.workbooks import sheet_names
from healthseg.errors import DataRetrievalError, InvalidParameters, hint, json_of_others

_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar")
_IGNORED = (".", "_", "~")
_MAX_FILES = 5_000
# comments, identifiers and literals of a query: only literals name files
_LITERALS = re.compile(r"""--[^\n]*|"(?:[^"]|"")*"|'(?:[^']|'')*'""")
_PEEK_ROWS = 1_000
_PEEK_VALUES = 1_000_000
_NESTED = ("STRUCT", "MAP")
# so many files of one folder are read by a pattern, and later ones with them
_MANY_FILES = 4
# objects within objects: properties.$groups.company
_MAX_DEPTH = 3


@dataclass(frozen=True)
class ExportTable:
    """A table as a system exported it. ``columns`` has an SQL expression, over the alias ``t``, for each name."""

    # the file as queries name it: shop.xlsx#Orders
    label: str
    relation: str
    columns: Mapping[str, str]
    files: tuple[Path, ...] = ()
    rows: int = 0
    # the expressions that are text, which may hold anything; JSON and Parquet have numbers of their own
    text: frozenset[str] = frozenset()
    remarks: tuple[str, ...] = ()

    @functools.cached_property
    def by_part(self) -> dict[str, str]:
        """Columns by their names without case and punctuation, and by the last parts of dotted ones: user.org.id is org_id."""
        names: dict[str, str] = {}
        objects = {column.rpartition(".")[0] for column in self.columns}
        usable = [
            name for name in self.columns if name not in objects and not set(name) & set("{}:")
        ]
        for parts in (0, 2, 1):
            for column in usable:
                names.setdefault(plain("".join(column.split(".")[-parts:])), column)
        for column in usable:  # Amount (USD)
            names.setdefault(plain(re.sub(r"\(.*?\)", "", column)), column)
        return names

    @functools.cached_property
    def by_name(self) -> dict[str, str]:
        """Expressions by the columns' names without case and punctuation; the first of two that are alike."""
        expressions: dict[str, str] = {}
        for name, expression in self.columns.items():
            expressions.setdefault(plain(name), expression)
        return expressions

    @property
    def stem(self) -> str:
        """The file's, sheet's or table's own name: ``customers`` of ``crm/customers.csv``."""
        return split_name(self.label.rpartition("#")[2].rpartition("/")[2])[0].lower()

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
    # where files are copied that DuckDB does not read itself, and each file's literal with that of what is scanned
    copies: Path
    scanned: dict[str, str] = field(default_factory=dict)
    # of a database: its dialect, and its address as it may be written down
    dialect: str = ""
    address: str = ""
    tables: list[ExportTable] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query that names files as ``portfolio.toml`` does."""
        text = _LITERALS.sub(lambda match: self.scanned.get(match[0], match[0]), query)
        return self.connection.execute(text).fetchall()

    def value(self, query: str) -> Any:
        return self.rows(query)[0][0]

    def has(self, query: str) -> bool:
        return bool(self.rows(f"{query} LIMIT 1"))


def plain(name: str) -> str:
    """A column's name without case, blanks and punctuation; dots within objects stay.

    >>> plain("Current Period Start (UTC)")
    'currentperiodstartutc'
    """
    return re.sub(r"[^a-z0-9.]", "", name.lower()).strip(".")


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
    """Adds the tables of each file to the survey, or the reason why it has none."""
    others = []
    for path in files:
        name = path.relative_to(survey.folder).as_posix()
        kind = split_name(path.name)[1]
        if kind is None:
            others.append((name, path))
            continue
        try:
            for inner in _members(path, kind):
                survey.tables.append(measured(survey, _table(survey, path, inner, kind)))
        except Refused as problem:
            survey.unread.append(str(problem))
        except DataRetrievalError as problem:
            survey.unread.append(problem.message)
        except duckdb.Error as problem:
            reason = str(problem).splitlines()[0][:200]
            survey.unread.append(f"{name} cannot be read as a table: {reason}")
    survey.unread += _other_files(others)


def _other_files(others: Sequence[tuple[str, Path]]) -> Iterator[str]:
    for name, path in others:
        if path.name.lower().endswith(_ARCHIVES):
            yield f"{name} is an archive: unpack it, and run this again"
        elif path.suffix == ".duckdb":
            yield f"{name} is a DuckDB file: write each of its tables to Parquet (COPY name TO 'name.parquet')"
    names = [
        name for name, path in others if not path.name.lower().endswith((*_ARCHIVES, ".duckdb"))
    ]
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"files of other kinds are ignored: {', '.join(names[:3])}{more}"


def _members(path: Path, kind: str) -> Sequence[str | None]:
    """The sheets of a workbook, the tables of a database file; other files are one table."""
    if kind == "xlsx":
        return sheet_names(path)
    return sqlite_tables(path) if kind == "sqlite" else [None]


def _table(survey: Survey, path: Path, inner: str | None, kind: str) -> ExportTable:
    """One file, sheet or table of a database file; raises Refused where it holds none."""
    part = prepare(file_part(path, survey.folder, inner), survey.copies)
    name = path.relative_to(survey.folder).as_posix()
    address = f"{name}#{inner}" if inner else name
    survey.scanned[quoted(address)] = quoted(str(part.scanned))
    relation = quoted(address)
    if kind == "csv":
        delimiter, _ = csv_header(part.scanned)
        relation = (
            f"read_csv({quoted(address)}, all_varchar = true, header = true, "
            f"delim = {quoted(delimiter)}, quote = '\"', escape = '\"')"
        )
    remarks = (part.note,) if part.note else ()
    return flattened(survey, ExportTable(address, relation, {}, (path,), remarks=remarks))


def flattened(survey: Survey, table: ExportTable) -> ExportTable:
    """The table with its columns, and the keys of the JSON objects in them."""
    known = [
        (name, kind) for name, kind, *_ in survey.rows(f"DESCRIBE SELECT * FROM {table.relation}")
    ]
    columns = {name: _value_of(name, kind) for name, kind in known}
    texts = [
        name for name, kind in known if kind in ("VARCHAR", "JSON") or kind.startswith(_NESTED)
    ]
    peek = min(_PEEK_ROWS, _PEEK_VALUES // len(known) + 1)
    values = ", ".join(f"{columns[name]}::VARCHAR" for name in texts) or "NULL"
    rows = survey.rows(f"SELECT {values} FROM (SELECT * FROM {table.relation} LIMIT {peek}) AS t")
    for position, name in enumerate(texts):
        columns |= _keys_within(name, columns[name], _objects(row[position] for row in rows))
    text = {f"t.{identifier(name)}" for name, kind in known if kind == "VARCHAR"}
    if any(split_name(file.name)[1] == "json" for file in table.files):
        text = set()
    return replace(table, columns=columns, text=frozenset(text))


def _value_of(name: str, kind: str) -> str:
    column = f"t.{identifier(name)}"
    return f"TO_JSON({column})" if kind.startswith(_NESTED) else column


def _objects(values: Iterable[str | None]) -> list[dict[str, Any]]:
    """The objects among texts; nothing where a text only looks like one."""
    objects = []
    for text in values:
        if text is not None and text.startswith("{"):
            try:
                objects.append(json_of_others(text))
            except ValueError:
                return []
    return objects


def _keys_within(name: str, column: str, objects: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Expressions for the keys of the objects in a column, by dotted name."""
    keys: dict[str, str] = {}
    for value in objects:
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


def measured(survey: Survey, table: ExportTable) -> ExportTable:
    rows = survey.value(f"SELECT COUNT(*) FROM {table.relation}")
    if not rows:
        raise Refused(f"{table.label} has a header but no rows")
    return replace(table, rows=rows)


def united(survey: Survey, tables: Sequence[ExportTable]) -> ExportTable:
    """Files of one export as one table; rows that several of them hold count once."""
    if len(tables) == 1:
        return tables[0]
    label, relation = _pattern(survey, tables) or _listed(tables)
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
    table = ExportTable(label, relation, {}, files, rows, remarks=tuple(remarks))
    return replace(
        flattened(survey, table), text=frozenset.intersection(*(table.text for table in tables))
    )


def _distinct(survey: Survey, relation: str) -> int:
    return int(survey.value(f"SELECT COUNT(*) FROM (SELECT DISTINCT * FROM {relation})"))


def _listed(tables: Sequence[ExportTable]) -> tuple[str, str]:
    """Name and relation of files that are named one by one."""
    label = " + ".join(table.label for table in tables)
    calls = {table.relation.replace(quoted(table.label), "{}", 1) for table in tables}
    if len(calls) > 1 or not tables[0].relation.startswith("read_csv"):
        selects = (f"SELECT * FROM {table.relation}" for table in tables)
        return label, "(" + " UNION ALL BY NAME ".join(selects) + ")"
    files = "[" + ", ".join(quoted(table.label) for table in tables) + "]"
    return label, f"{calls.pop().replace('{}', files, 1)[:-1]}, union_by_name = true)"


def _pattern(survey: Survey, tables: Sequence[ExportTable]) -> tuple[str, str] | None:
    """Name and relation of many files that are all of one ending in a folder: later ones are read with them."""
    folders = {file.parent for table in tables for file in table.files}
    endings = {
        file.name[len(split_name(file.name)[0]) :] for table in tables for file in table.files
    }
    calls = {table.relation.replace(quoted(table.label), "{}", 1) for table in tables}
    if len(tables) < _MANY_FILES or not len(folders) == len(endings) == len(calls) == 1:
        return None
    folder, ending = folders.pop(), endings.pop()
    scanned = {quoted(str(file)) for table in tables for file in table.files}
    beside = {file for file in folder.iterdir() if file.name.endswith(ending)}
    if ending.startswith(".json") or re.search(r"[*?\[]", str(folder)) or len(beside) > len(tables):
        return None
    if not scanned <= set(survey.scanned.values()):  # a file is read from a copy
        return None
    name = (folder.relative_to(survey.folder) / f"*{ending}").as_posix()
    survey.scanned[quoted(name)] = quoted(str(folder / f"*{ending}"))
    call = calls.pop() if calls != {"{}"} else "read_parquet({})"
    return name, f"{call.replace('{}', quoted(name), 1)[:-1]}, union_by_name = true)"
