"""Finds the tables behind what a user names: a folder, a portfolio.toml, a DuckDB file, a database address."""

from __future__ import annotations

import os
import re
import string
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from healthseg.data import database
from healthseg.data.sources import Part, Sources, file_part, stat_token
from healthseg.data.tables import TABLES
from healthseg.errors import DataRetrievalError, InvalidParameters, hint
from healthseg.settings.base import fingerprint

SUFFIXES = (".parquet", ".csv", ".csv.gz")
ADDRESS = re.compile(r"^[a-z][a-z0-9+]*://", re.IGNORECASE)
TOML = "portfolio.toml"
SECTIONS = ("source", "tables", "settings")
_IGNORED = (".", "_")
_LITERAL = re.compile(r"'((?:[^']|'')+)'")
_SOURCE_RULE = (
    "[source] has one key, folder: a folder, or a list of which the first that is there is read"
)


def locate(path: str | os.PathLike[str]) -> Sources:
    """The sources behind what a user named as a portfolio.

    Raises InvalidParameters or DataRetrievalError where there is nothing to read,
    with a near name where one exists; IntegrationError for a database that does not answer.
    """
    text = os.fspath(path)
    if ADDRESS.match(text):
        return database.from_address(text)
    target = Path(text).expanduser()
    if target.is_dir():
        sources = _from_folder(target)
    elif not target.exists():
        parent = target.parent
        siblings = [other.name for other in parent.iterdir()] if parent.is_dir() else []
        raise DataRetrievalError(
            f"no portfolio at {text!r}{hint(target.name, siblings)}",
            parameter="portfolio",
            value_provided=text,
            validation_rule="a folder of tables, a portfolio.toml, "
            "a DuckDB file or a database address",
        )
    elif target.suffix == ".toml":
        sources = _from_toml(target)
    elif target.suffix in (".duckdb", ".db", ".ddb"):
        sources = _from_duckdb(target)
    else:
        raise InvalidParameters(
            f"{text!r} is not a portfolio: expected the folder with the tables, a portfolio.toml, "
            "a DuckDB file or a database address",
            parameter="portfolio",
            value_provided=text,
        )
    if not sources.parts:
        required = ", ".join(name for name, table in TABLES.items() if table.required)
        notes = " (" + "; ".join(sources.notes) + ")" if sources.notes else ""
        raise DataRetrievalError(
            f"{text!r} holds no tables{notes}: a portfolio needs at least {required} as "
            "<table>.parquet, .csv or .csv.gz",
            parameter="portfolio",
            value_provided=text,
        )
    return sources


def _from_folder(folder: Path) -> Sources:
    if (folder / TOML).is_file():
        return _from_toml(folder / TOML)
    parts, notes = _folder_parts(folder)
    settings = _settings_beside(folder)
    return Sources(str(folder), folder, str(folder.resolve()), parts, settings, tuple(notes))


def _folder_parts(folder: Path) -> tuple[dict[str, tuple[Part, ...]], list[str]]:
    """The files of each table by name, and notes about files that look like tables."""
    parts: dict[str, list[Part]] = {}
    notes = []
    for path in sorted(folder.iterdir()):
        name = _table_name(path)
        if name is None or path.name.startswith(_IGNORED):
            continue
        if name not in TABLES:
            guess = hint(_table_name(Path(name)) or name if path.is_dir() else name, TABLES)
            if not path.is_dir() or guess:
                notes.append(f"{path.name} is not one of the tables and is not read{guess}")
            continue
        files = _files_below(path) if path.is_dir() else [path]
        if not files:
            notes.append(f"{path.name}/ holds no Parquet or CSV file")
        parts.setdefault(name, []).extend(file_part(file, folder) for file in files)
    for name, files_of_table in parts.items():
        tops = sorted({part.label.split("/")[0] for part in files_of_table})
        if len(tops) > 1:
            raise InvalidParameters(
                f"table {name} exists more than once: {', '.join(tops)}; remove all but one",
                parameter="portfolio",
                value_provided=name,
            )
    return {name: tuple(files) for name, files in parts.items() if files}, notes


def _table_name(path: Path) -> str | None:
    """The table that a file or folder holds by its name, or None where it is no table file."""
    if path.is_dir():
        return path.name
    suffix = next((end for end in SUFFIXES if path.name.endswith(end)), None)
    return path.name.removesuffix(suffix) if suffix else None


def _files_below(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.name.endswith(SUFFIXES) and not path.name.startswith(_IGNORED)
    )


def _from_toml(path: Path) -> Sources:
    content = _read_toml(path)
    for section in content:
        if section not in SECTIONS:
            raise InvalidParameters(
                f"{path.name}: unknown section [{section}]{hint(section, SECTIONS)}",
                parameter="portfolio",
                value_provided=section,
                validation_rule="the sections are [source], [tables] and [settings]",
            )
    folder = _data_folder(path, content.get("source", {}))
    queries: Mapping[str, Any] = content.get("tables", {})
    for name in queries:
        if name not in TABLES:
            raise InvalidParameters(
                f"{path.name}: [tables] {name} is not one of the tables{hint(name, TABLES)}",
                parameter=f"tables.{name}",
                value_provided=name,
                validation_rule="one of " + ", ".join(TABLES),
            )
    parts, notes = _folder_parts(folder) if not queries else ({}, [])
    parts |= {name: (_query_part(name, query, folder),) for name, query in queries.items()}
    settings = {**content.get("settings", {}), **_settings_beside(path.parent)}
    identity = str(path.resolve())
    return Sources(str(path), path.parent, identity, parts, settings, tuple(notes), search=folder)


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


def _settings_beside(folder: Path) -> dict[str, Any]:
    """The ``[settings]`` of the healthseg.toml in a folder."""
    path = folder / "healthseg.toml"
    return dict(_read_toml(path).get("settings", {})) if path.is_file() else {}


def _data_folder(path: Path, source: Any) -> Path:
    """The folder of the files that queries name: beside the toml, or the first of ``[source] folder`` that is there.

    ``$NAME`` in a folder is an environment variable; a folder whose variable is not set is passed over.
    """
    valid = isinstance(source, Mapping) and set(source) <= {"folder"}
    folders = source.get("folder", ".") if valid else None
    folders = [folders] if isinstance(folders, str) else folders
    if not isinstance(folders, list) or not all(isinstance(folder, str) for folder in folders):
        raise InvalidParameters(
            f"{path.name}: [source] {source!r} is not understood; {_SOURCE_RULE}",
            parameter="source",
            value_provided=str(source)[:200],
            validation_rule=_SOURCE_RULE,
        )
    for template in folders:
        try:
            folder = Path(string.Template(template).substitute(os.environ)).expanduser()
        except (KeyError, ValueError):
            continue
        if (path.parent / folder).is_dir():
            return path.parent / folder
    raise DataRetrievalError(
        f"{path.name}: the data that it maps are not there; looked for {', '.join(folders)}, relative to {path.parent}",
        parameter="source.folder",
        value_provided=", ".join(folders),
        validation_rule=_SOURCE_RULE,
    )


def _query_part(name: str, query: Any, folder: Path) -> Part:
    if not isinstance(query, str) or not query.strip():
        raise InvalidParameters(
            f"[tables] {name} must be one SQL query in quotes",
            parameter=f"tables.{name}",
            value_provided=str(query)[:200],
        )
    query = query.strip().rstrip(";")
    return Part(f"{TOML} [tables] {name}", query=query, token=_query_token(query, folder))


def _query_token(query: str, folder: Path) -> str | None:
    """What a query over files depends on: its text and the state of each file that it names, else None."""
    files: set[Path] = set()
    for literal in _LITERAL.findall(query):
        if not re.search(r"\.\w{2,8}$", literal):
            continue
        path = Path(literal)
        if path.is_absolute():
            matches = [path]
        else:
            matches = [folder / path] if ".." in path.parts else list(folder.glob(literal))
        if not matches or any(not match.is_file() for match in matches):
            return None
        files.update(matches)
    if not files:
        return None
    return fingerprint([query, sorted(f"{file}:{stat_token(file)}" for file in files)])


def _from_duckdb(path: Path) -> Sources:
    import duckdb

    query = (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main' ORDER BY 1"
    )
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            names = [name for (name,) in connection.execute(query).fetchall()]
    except duckdb.Error as problem:
        raise DataRetrievalError(
            f"{path.name} cannot be opened as a DuckDB file: {str(problem).splitlines()[0]}",
            parameter="portfolio",
            value_provided=str(path),
        ) from None
    token = stat_token(path)
    parts: dict[str, tuple[Part, ...]] = {
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
    settings, identity = _settings_beside(path.parent), str(path.resolve())
    return Sources(str(path), path.parent, identity, parts, settings, notes, attach=str(path))
