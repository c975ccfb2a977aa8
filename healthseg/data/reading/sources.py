"""Where a portfolio's tables come from: a folder, a portfolio.toml, a DuckDB file, a database address.

A source is a relation that DuckDB can scan (``relation``), the files behind it,
and a stat token by which unchanged files are recognised without reading them.
"""

from __future__ import annotations

import csv
import functools
import gzip
import os
import re
import string
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from healthseg.data.tables import TABLES
from healthseg.errors import DataRetrievalError, InvalidParameters, hint
from healthseg.settings import fingerprint

SUFFIXES = (".parquet", ".csv", ".csv.gz")
ADDRESS = re.compile(r"^[a-z][a-z0-9+]*://", re.IGNORECASE)
TOML = "portfolio.toml"
SECTIONS = ("source", "tables", "settings")


@dataclass(frozen=True)
class Part:
    """One file of a table, or one query. Without a token it cannot be recognised and is read at each opening."""

    label: str
    path: Path | None = None
    query: str | None = None
    token: str | None = None
    stat: str | None = None  # a file's size and time of change when it was located

    @property
    def format(self) -> str:
        if self.path is None:
            return "query"
        return "parquet" if self.path.name.endswith(".parquet") else "csv"

    @functools.cached_property
    def header(self) -> tuple[str, tuple[str, ...]]:
        """A CSV file's delimiter and column names, from its first line."""
        return csv_header(self.path)

    @property
    def shape(self) -> tuple[Any, ...]:
        """Equal for parts that one scan can read."""
        return {"parquet": tuple, "csv": lambda: self.header, "query": lambda: (self.label,)}[
            self.format
        ]()

    @property
    def relation(self) -> str:
        return scan([self])

    @property
    def changed(self) -> bool:
        """Whether the file is another one than was located."""
        return self.path is not None and not (
            self.path.exists() and stat_token(self.path) == self.stat
        )


@dataclass(frozen=True)
class Sources:
    """The parts of each table, the settings that came with them, and what was noticed on the way."""

    path: str
    folder: Path
    identity: str
    parts: dict[str, tuple[Part, ...]]
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    attach: str | None = None  # a DuckDB file to attach, read-only, as ``source``
    address: str | None = None  # a database address
    local: bool = True  # whether store and ledger may lie beside it
    search: Path | None = None  # where queries look for their files, if not in ``folder``

    def token(self, table: str) -> str | None:
        """Equal for equal files: their names, sizes and times of change."""
        tokens = [part.token for part in self.parts.get(table, ())]
        return None if None in tokens else fingerprint(tokens)


def quoted(text: str) -> str:
    """A text as an SQL literal.

    >>> quoted("it's")
    "'it''s'"
    """
    return "'" + str(text).replace("'", "''") + "'"


def stat_token(path: Path) -> str:
    stat = os.stat(path)
    return f"{path.name}:{stat.st_size}:{stat.st_mtime_ns}"


def open_bytes(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.name.endswith(".gz") else open(path, "rb")


def csv_header(path: Path) -> tuple[str, tuple[str, ...]]:
    """The delimiter (comma, semicolon, tab or bar: the one the first line has most of) and the column names."""
    with open_bytes(path) as handle:
        first = handle.readline(1 << 20).decode("utf-8-sig", errors="replace").rstrip("\r\n")
    delimiter = max(",;\t|", key=first.count)
    names: list[str] = []
    for place, name in enumerate(next(csv.reader([first], delimiter=delimiter), [])):
        name = name.strip() or f"column_{place + 1}"
        names.append(name if name not in names else f"{name}_{place + 1}")
    return delimiter, tuple(names)


def scan(parts: Sequence[Part], *, filename: bool = False, rejects: str | None = None) -> str:
    """A relation over parts of one format and the same columns; lines that are no rows go to the table ``rejects``."""
    if parts[0].format == "query":
        return f"({parts[0].query}\n)"
    files = "[" + ", ".join(quoted(str(part.path)) for part in parts) + "]"
    named = ", filename = true" if filename else ""
    if parts[0].format == "parquet":
        return f"read_parquet({files}, file_row_number = true{named})"
    delimiter, names = parts[0].header
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in names)
    kept = (
        f", store_rejects = true, rejects_table = '{rejects}', rejects_scan = '{rejects}_scan'"
        if rejects
        else ""
    )
    return (
        f"read_csv({files}, auto_detect = false, header = true, delim = {quoted(delimiter)}, quote = '\"', "
        f"escape = '\"', columns = {{{columns}}}, ignore_errors = true{kept}{named})"
    )


def file_part(path: Path, folder: Path) -> Part:
    label = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
    stat = stat_token(path)
    return Part(label, path, token=f"{label}:{stat}", stat=stat)


def table_name(path: Path) -> str | None:
    """The table that a file or folder holds by its name, or None where it is no table file."""
    if path.is_dir():
        return path.name
    suffix = next((end for end in SUFFIXES if path.name.endswith(end)), None)
    return path.name.removesuffix(suffix) if suffix else None


def _files_below(path: Path) -> list[Path]:
    return sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and file.name.endswith(SUFFIXES) and not file.name.startswith((".", "_"))
    )


def _folder_parts(folder: Path, skip: set[str]) -> tuple[dict[str, tuple[Part, ...]], list[str]]:
    parts: dict[str, list[Part]] = {}
    notes = []
    for path in sorted(folder.iterdir()):
        name = table_name(path)
        if name is None or path.name.startswith((".", "_")) or name in skip:
            continue
        if name not in TABLES:
            files = _files_below(path) if path.is_dir() else [path]
            guess = hint(table_name(Path(name)) or name if path.is_dir() else name, TABLES)
            if not path.is_dir() or guess:
                notes.append(f"{path.name} is not one of the tables and is not read{guess}")
            continue
        files = _files_below(path) if path.is_dir() else [path]
        if not files:
            notes.append(f"{path.name}/ holds no Parquet or CSV file")
        parts.setdefault(name, []).extend(file_part(file, folder) for file in files)
    for name, found in parts.items():
        tops = sorted({part.label.split("/")[0] for part in found})
        if len(tops) > 1:
            raise InvalidParameters(
                f"table {name} is given more than once: {', '.join(tops)}; keep one of them",
                parameter="portfolio",
                value_provided=name,
            )
    return {name: tuple(found) for name, found in parts.items() if found}, notes


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise InvalidParameters(
            f"{path.name} is not UTF-8 text", parameter="portfolio", value_provided=str(path)
        ) from None
    except tomllib.TOMLDecodeError as problem:
        raise InvalidParameters(
            f"{path.name} is not valid TOML: {problem}",
            parameter="portfolio",
            value_provided=str(path),
            validation_rule="a TOML file",
        ) from None


_LITERAL = re.compile(r"'((?:[^']|'')+)'")


def _data_folder(path: Path, given: Any) -> Path:
    """Where queries look for their files: beside the toml, or the first of ``[source] folder`` that is there.

    ``$NAME`` in a folder is an environment variable; a folder whose variable is not set is passed over.
    """
    rule = (
        "[source] has one key, folder: a folder, or a list of which the first that is there is read"
    )
    folders = (
        given.get("folder", ".")
        if isinstance(given, Mapping) and set(given) <= {"folder"}
        else None
    )
    folders = [folders] if isinstance(folders, str) else folders
    if not isinstance(folders, list) or not all(isinstance(folder, str) for folder in folders):
        raise InvalidParameters(
            f"{path.name}: [source] {given!r} is not understood; {rule}",
            parameter="source",
            value_provided=str(given)[:200],
            validation_rule=rule,
        )
    for folder in folders:
        try:
            place = path.parent / Path(string.Template(folder).substitute(os.environ)).expanduser()
        except (KeyError, ValueError):
            continue
        if place.is_dir():
            return place
    raise DataRetrievalError(
        f"{path.name}: the data that it maps are not there; looked for {', '.join(folders)}, relative to {path.parent}",
        parameter="source.folder",
        value_provided=", ".join(folders),
        validation_rule=rule,
    )


def _query_token(query: str, folder: Path) -> str | None:
    """What a query over files depends on: its text and the state of each file it names, else None."""
    files: set[Path] = set()
    for literal in _LITERAL.findall(query):
        if not re.search(r"\.\w{2,8}$", literal):
            continue
        path = Path(literal)
        matches = (
            [path]
            if path.is_absolute()
            else list(folder.glob(literal))
            if ".." not in path.parts
            else [folder / path]
        )
        if not matches or any(not match.is_file() for match in matches):
            return None
        files.update(matches)
    if not files:
        return None
    return fingerprint([query, sorted(f"{file}:{stat_token(file)}" for file in files)])


def _query_part(name: str, query: Any, folder: Path) -> Part:
    if not isinstance(query, str) or not query.strip():
        raise InvalidParameters(
            f"[tables] {name} must be one SQL query in quotes",
            parameter=f"tables.{name}",
            value_provided=str(query)[:200],
        )
    query = query.strip().rstrip(";")
    return Part(f"{TOML} [tables] {name}", query=query, token=_query_token(query, folder))


def _from_toml(path: Path) -> Sources:
    given = _read_toml(path)
    for section in given:
        if section not in SECTIONS:
            raise InvalidParameters(
                f"{path.name}: unknown section [{section}]{hint(section, SECTIONS)}",
                parameter="portfolio",
                value_provided=section,
                validation_rule="the sections are [source], [tables] and [settings]",
            )
    folder = _data_folder(path, given.get("source", {}))
    queries: Mapping[str, Any] = given.get("tables", {})
    for name in queries:
        if name not in TABLES:
            raise InvalidParameters(
                f"{path.name}: [tables] {name} is not one of the tables{hint(name, TABLES)}",
                parameter=f"tables.{name}",
                value_provided=name,
                validation_rule="one of " + ", ".join(TABLES),
            )
    parts, notes = _folder_parts(folder, skip=set(queries)) if not queries else ({}, [])
    parts |= {name: (_query_part(name, query, folder),) for name, query in queries.items()}
    settings = {**given.get("settings", {}), **_settings_beside(path.parent)}
    return Sources(
        str(path), path.parent, str(path.resolve()), parts, settings, tuple(notes), search=folder
    )


def _settings_beside(folder: Path) -> dict[str, Any]:
    """The ``[settings]`` of the healthseg.toml in a folder."""
    path = folder / "healthseg.toml"
    return dict(_read_toml(path).get("settings", {})) if path.is_file() else {}


def _from_folder(folder: Path) -> Sources:
    if (folder / TOML).is_file():
        return _from_toml(folder / TOML)
    parts, notes = _folder_parts(folder, skip=set())
    return Sources(
        str(folder), folder, str(folder.resolve()), parts, _settings_beside(folder), tuple(notes)
    )


def _from_duckdb(path: Path) -> Sources:
    import duckdb

    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            names = [
                row[0]
                for row in connection.execute(
                    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main' ORDER BY 1"
                ).fetchall()
            ]
    except duckdb.Error as problem:
        raise DataRetrievalError(
            f"{path.name} cannot be opened as a DuckDB file: {str(problem).splitlines()[0]}",
            parameter="portfolio",
            value_provided=str(path),
        ) from None
    token = stat_token(path)
    parts = {
        name: (
            Part(
                f"{path.name} table {name}",
                query=f'SELECT * FROM source.main."{name}"',
                token=f"{name}:{token}",
            ),
        )
        for name in names
        if name in TABLES
    }
    notes = tuple(
        f"table {name} in {path.name} is not one of the tables and is not read{hint(name, TABLES)}"
        for name in names
        if name not in TABLES
    )
    settings = _settings_beside(path.parent)
    return Sources(
        str(path), path.parent, str(path.resolve()), parts, settings, notes, attach=str(path)
    )


def locate(path: str | os.PathLike[str]) -> Sources:
    """The sources behind what a user gave as a portfolio.

    Raises InvalidParameters or DataRetrievalError where there is nothing to read,
    with a near name where one exists; IntegrationError for a database that does not answer.
    """
    text = os.fspath(path)
    if ADDRESS.match(text):
        from healthseg.data.reading.database import from_address

        return from_address(text)
    place = Path(text).expanduser()
    if place.is_dir():
        sources = _from_folder(place)
    elif not place.exists():
        siblings = [other.name for other in place.parent.iterdir()] if place.parent.is_dir() else []
        raise DataRetrievalError(
            f"no portfolio at {text!r}{hint(place.name, siblings)}",
            parameter="portfolio",
            value_provided=text,
            validation_rule="a folder of tables, a portfolio.toml, "
            "a DuckDB file or a database address",
        )
    elif place.suffix == ".toml":
        sources = _from_toml(place)
    elif place.suffix in (".duckdb", ".db", ".ddb"):
        sources = _from_duckdb(place)
    else:
        raise InvalidParameters(
            f"{text!r} is no portfolio: give the folder that holds the tables, a portfolio.toml, "
            "a DuckDB file or a database address",
            parameter="portfolio",
            value_provided=text,
        )
    if not sources.parts:
        known = ", ".join(name for name, table in TABLES.items() if table.required)
        noted = " (" + "; ".join(sources.notes) + ")" if sources.notes else ""
        raise DataRetrievalError(
            f"{text!r} holds no tables{noted}: a portfolio needs at least {known} as "
            "<table>.parquet, .csv or .csv.gz",
            parameter="portfolio",
            value_provided=text,
        )
    return sources
