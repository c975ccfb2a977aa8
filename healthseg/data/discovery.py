"""Finds the tables behind what a user names: a folder, a portfolio.toml, a DuckDB file, a database address."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import string
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from healthseg.data import object_store, sync_state
from healthseg.data.engines import engine_queries
from healthseg.data.sources import (
    Refused,
    SourcePart,
    Sources,
    file_part,
    split_name,
    stat_token,
    unreadable,
)
from healthseg.data.storage import temporary_folder
from healthseg.data.tables import TABLES
from healthseg.errors import (
    DataRetrievalError,
    InvalidParameters,
    hint,
    near,
    require_known,
    without_credentials,
)
from healthseg.settings import trust
from healthseg.settings.base import fingerprint, merged, toml_content

ADDRESS = re.compile(r"^[a-z][a-z0-9+]*://", re.IGNORECASE)
TOML = "portfolio.toml"
SECTIONS = ("source", "tables", "settings", "formats", "metrics")
_IGNORED = (".", "_", "~")
# files of tables that other programs write
_SIMILAR = (
    ".txt",
    ".dat",
    ".zip",
    ".bz2",
    ".xz",
    ".zst",
    ".7z",
    ".ods",
    ".numbers",
    ".feather",
    ".arrow",
    ".orc",
    ".avro",
    ".pkl",
)
_SOURCE_RULE = (
    "[source] has folder, a folder or a list of which the first that is there is read; or address, a database address or "
    "the environment variable that holds it ($NAME); or engine and address, with a query for each table in [tables]"
)
_PORTFOLIO = (
    "a folder of tables, a portfolio.toml, a workbook, a SQLite or DuckDB file, a database address "
    "or a dictionary of DataFrames"
)


def locate(source: str | os.PathLike[str] | Mapping[str, Any]) -> Sources:
    """The sources behind what a user named as a portfolio, or gave as frames by table.

    Raises InvalidParameters or DataRetrievalError where there is nothing to read,
    with a near name where one exists; IntegrationError for a database that does not answer.
    """
    if isinstance(source, Mapping):
        return from_frames(source)
    try:
        text = os.fspath(source)
    except TypeError:
        raise _no_portfolio(f"a {type(source).__name__} is not a portfolio", source) from None
    if object_store.is_store(text):
        return _from_store(text)
    if ADDRESS.match(text):
        from healthseg.data import database

        return database.from_address(text)
    target = Path(text).expanduser()
    if target.is_dir():
        sources = _from_folder(target)
    elif not target.exists():
        parent = target.parent
        siblings = [other.name for other in parent.iterdir()] if parent.is_dir() else []
        shown = without_credentials(text)
        raise DataRetrievalError(
            f"no portfolio at {shown!r}{hint(target.name, siblings)}",
            parameter="portfolio",
            value_provided=shown,
            validation_rule=_PORTFOLIO,
        )
    elif target.suffix == ".toml":
        sources = _from_toml(target)
    else:
        sources = _from_file(target)
    if not sources.parts:
        raise _no_tables(text, sources.notes)
    return sources


def _no_tables(text: str, notes: Sequence[str]) -> DataRetrievalError:
    words = f" ({'; '.join(notes)})" if notes else ""
    return DataRetrievalError(
        f"{text!r} holds no tables{words}: a portfolio needs at least customers, as customers.csv, "
        ".parquet, .xlsx or .jsonl",
        parameter="portfolio",
        value_provided=text,
    )


def _no_portfolio(problem: str, value: object) -> InvalidParameters:
    return InvalidParameters(
        f"{problem}: expected {_PORTFOLIO}", parameter="portfolio", value_provided=str(value)[:200]
    )


def _from_store(address: str) -> Sources:
    """The sources in a folder or a file of an object store, in the states that it names."""
    mirror = object_store.mirrored(address)
    shown = object_store.shown(address)
    if not mirror.tokens:
        raise _no_tables(shown, [f"it holds {', '.join(mirror.others)}"] if mirror.others else [])
    sources = locate(mirror.path)
    folder = mirror.path if mirror.path.is_dir() else mirror.path.parent
    states = {(folder / name).resolve(): token for name, token in mirror.tokens.items() if token}

    def named(part: SourcePart) -> SourcePart:
        state = states.get(part.path.resolve()) if part.path is not None else None
        return replace(part, token=f"{part.label}:{state}") if state else part

    parts = {name: tuple(map(named, each)) for name, each in sources.parts.items()}
    strays = filter(None, (_stray(Path(name), split_name(name)[1]) for name in mirror.others))
    notes = (*sources.notes, *strays)
    return replace(sources, path=shown, identity=shown, parts=parts, notes=notes, local=False)


def _from_folder(folder: Path) -> Sources:
    if (folder / TOML).is_file():
        return _from_toml(folder / TOML)
    parts, notes = _folder_parts(folder)
    trust.require_links(folder, links_outside(folder, parts))
    settings = _settings_beside(folder)
    identity, folders = str(folder.resolve()), _folders_of(folder, parts)
    return Sources(str(folder), folder, identity, parts, settings, tuple(notes), folders=folders)


def links_outside(folder: Path, parts: Mapping[str, Sequence[SourcePart]]) -> dict[str, str]:
    """The files of tables that are links, or lie in linked folders, to elsewhere: by label where they lead."""
    inside = folder.resolve()
    files = [part for each in parts.values() for part in each if part.path is not None]
    targets = {part.label: part.path.resolve() for part in files if part.path is not None}
    return {label: str(path) for label, path in targets.items() if not path.is_relative_to(inside)}


def links_of(folder: Path) -> dict[str, str]:
    """As ``links_outside``, of the tables that lie in a folder."""
    return links_outside(folder, _folder_parts(folder)[0])


def _folders_of(folder: Path, parts: Mapping[str, Sequence[SourcePart]]) -> tuple[Path, ...]:
    """The folder, and where links in it lead."""
    files = (part.path for each in parts.values() for part in each if part.path is not None)
    folders = {folder.resolve(), *(file.resolve().parent for file in files)}
    return tuple(sorted(folders))


def _folder_parts(folder: Path) -> tuple[dict[str, tuple[SourcePart, ...]], list[str]]:
    """The files of each table by name, and notes about files that look like tables."""
    parts: dict[str, list[SourcePart]] = {}
    notes = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(_IGNORED):
            continue
        name, kind = (path.name, "folder") if path.is_dir() else split_name(path.name)
        if name.lower() not in TABLES or kind in (None, "sqlite"):
            if note := _stray(path, kind):
                notes.append(note)
            continue
        files = _files_below(path) if path.is_dir() else [path]
        if not files:
            notes.append(f"{path.name}/ holds no file of a table")
        try:
            located = [file_part(file, folder) for file in files]
        except OSError as problem:
            raise unreadable(path.name, problem) from None
        parts.setdefault(name.lower(), []).extend(located)
    for name, files_of_table in parts.items():
        tops = sorted({part.label.split("/")[0] for part in files_of_table})
        if len(tops) > 1:
            raise InvalidParameters(
                f"table {name} exists more than once: {', '.join(tops)}; keep one of them, "
                f"or put all its files into a folder {name}/",
                parameter="portfolio",
                value_provided=name,
            )
    return {name: tuple(files) for name, files in parts.items() if files}, notes


def _stray(path: Path, kind: str | None) -> str | None:
    """A note about a file or folder that is not read although it may be meant as a table."""
    stem = split_name(path.name)[0] if kind else path.name.partition(".")[0]
    words = re.sub(r"[^a-z]+", "_", stem.lower()).strip("_")
    table = words if words in TABLES else near(words, TABLES)
    if table is None:
        table = next(
            (name for name in TABLES if words.startswith(f"{name}_") or words.endswith(f"_{name}")),
            None,
        )
    if table is None and (kind in (None, "folder", "sqlite")):
        return None
    if kind is None and path.suffix.lower() not in _SIMILAR:
        return None
    guess = f"; did you mean {table}?" if table else ""
    if kind is None:
        guess += f" ({path.suffix} is not read: save it as CSV, Excel, JSON lines or Parquet)"
    return f"{path.name} is not one of the tables and is not read{guess}"


def _files_below(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and split_name(path.name)[1] not in (None, "sqlite")
        and not path.name.startswith(_IGNORED)
        and path.name != sync_state.FILE
    )


# files of one kind with all tables in it


def _from_file(path: Path) -> Sources:
    """A workbook with a sheet for each table, or a database file with a table for each."""
    from healthseg.data.copies import sqlite_tables
    from healthseg.data.workbooks import sheet_names

    try:
        with open(path, "rb") as handle:
            first = handle.read(16)
    except OSError as problem:
        raise unreadable(path.name, problem) from None
    if path.suffix.lower() in (".xlsx", ".xlsm", ".xls"):
        return _from_members(path, "sheet", sheet_names)
    if first.startswith(b"SQLite format 3"):
        return _from_members(path, "table", sqlite_tables)
    if first[8:12] == b"DUCK" or path.suffix.lower() in (".duckdb", ".ddb", ".db"):
        return _from_duckdb(path)
    raise _no_portfolio(f"{str(path)!r} is not a portfolio", path)


def _from_members(path: Path, word: str, members: Callable[[Path], list[str]]) -> Sources:
    try:
        names = members(path)
    except Refused as problem:
        raise DataRetrievalError(
            str(problem), parameter="portfolio", value_provided=str(path)
        ) from None
    parts: dict[str, tuple[SourcePart, ...]] = {
        name.lower(): (file_part(path, path.parent, name),)
        for name in names
        if name.lower() in TABLES
    }
    return _of_file(
        path, parts, _other_members(path, word, [n for n in names if n.lower() not in TABLES])
    )


def _other_members(path: Path, word: str, names: Iterable[str]) -> list[str]:
    return [
        f"{word} {name} in {path.name} is not one of the tables and is not read{hint(name, TABLES)}"
        for name in names
    ]


def _of_file(
    path: Path,
    parts: dict[str, tuple[SourcePart, ...]],
    notes: Sequence[str],
    attach: str | None = None,
) -> Sources:
    settings, identity = _settings_beside(path.parent), str(path.resolve())
    folders = (path.resolve().parent,)
    return Sources(
        str(path),
        path.parent,
        identity,
        parts,
        settings,
        tuple(notes),
        attach=attach,
        folders=folders,
    )


def _from_duckdb(path: Path) -> Sources:
    import duckdb

    from healthseg.data import engine

    # views and generated columns compute
    query = (
        "SELECT table_name, sql IS NULL OR CONTAINS(sql, 'GENERATED') FROM information_schema.tables "
        "LEFT JOIN duckdb_tables() USING (table_name) WHERE table_schema = 'main' ORDER BY 1"
    )
    try:
        with duckdb.connect(str(path), read_only=True, config=engine.CONFIG) as connection:
            computed = dict(connection.execute(query).fetchall())
    except duckdb.Error as problem:
        raise DataRetrievalError(
            f"{path.name} cannot be opened as a DuckDB file: {str(problem).splitlines()[0]}",
            parameter="portfolio",
            value_provided=str(path),
        ) from None
    token = stat_token(path)
    parts: dict[str, tuple[SourcePart, ...]] = {
        name: (
            SourcePart(
                f"{path.name} table {name}",
                query=f'SELECT * FROM source.main."{name}"',
                token=f"{name}:{token}",
                isolated_in=() if computes else None,
                attach=str(path),
            ),
        )
        for name, computes in computed.items()
        if name in TABLES
    }
    notes = _other_members(path, "table", [name for name in computed if name not in TABLES])
    return _of_file(path, parts, notes, attach=str(path))


# frames


def from_frames(tables: Mapping[str, Any]) -> Sources:
    """The tables of a mapping: DataFrames, Arrow tables or paths of files by table.

    Frames are written to a temporary folder; what is derived from them is recognised by their content.
    """
    folder = temporary_folder()
    parts: dict[str, tuple[SourcePart, ...]] = {}
    for name, values in tables.items():
        require_known(name, TABLES, f"{name!r} is not one of the tables", parameter="portfolio")
        parts[name] = (_frame_part(name, values, folder),)
    if not parts:
        raise _no_portfolio("an empty dictionary is not a portfolio", "{}")
    weakref.finalize(next(iter(parts.values()))[0], shutil.rmtree, folder, ignore_errors=True)
    identity = fingerprint([part.token for each in parts.values() for part in each])
    folders = _folders_of(folder, parts)
    return Sources("frames", folder, identity, parts, local=False, folders=folders)


def _frame_part(name: str, values: Any, folder: Path) -> SourcePart:
    from healthseg.data.copies import write_frame

    if isinstance(values, (str, os.PathLike)):
        path = Path(values).expanduser()
        if not path.is_file() or split_name(path.name)[1] is None:
            raise _no_portfolio(
                f"table {name}: {os.fspath(values)!r} is not the file of a table", values
            )
        return file_part(path.absolute(), path.absolute().parent)
    path = folder / f"{name}.parquet"
    write_frame(name, values, path)
    part = file_part(path, folder)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return replace(part, label=f"frame {name}", token=f"{name}:{digest}")


def _from_toml(path: Path) -> Sources:
    content = _read_toml(path)
    trust.require(path, content)
    for section in content:
        if section not in SECTIONS:
            raise InvalidParameters(
                f"{path.name}: unknown section [{section}]{hint(section, SECTIONS)}",
                parameter="portfolio",
                value_provided=section,
                validation_rule="the sections are [source], [tables], [formats], [metrics] and [settings]",
            )
    source = content.get("source", {})
    queries: Mapping[str, Any] = content.get("tables", {})
    for name in queries:
        require_known(
            name,
            TABLES,
            f"{path.name}: [tables] {name} is not one of the tables",
            parameter=f"tables.{name}",
        )
    formats = {"formats": _flat(content["formats"])} if "formats" in content else {}
    metrics = {"metrics": content["metrics"]} if "metrics" in content else {}
    own = merged({**formats, **metrics}, content.get("settings", {}))
    settings = merged(own, _settings_beside(path.parent))
    in_engines = engine_queries(path, source, queries)
    rest = {name: query for name, query in queries.items() if name not in in_engines}
    sources = Sources(str(path), path.parent, str(path.resolve()), {})
    if rest or not in_engines:
        sources = _from_source(path, source, rest)
    if in_engines:
        from healthseg.data import database

        sources = database.with_engines(sources, in_engines)
    return replace(sources, settings=settings)


def _from_source(path: Path, source: Any, queries: Mapping[str, Any]) -> Sources:
    """The tables of ``[source]``, by the queries or by their names."""
    if isinstance(source, Mapping) and "address" in source and "engine" not in source:
        address = _address(path, source)
        from healthseg.data import database

        return database.from_address(address, queries)
    folder = _data_folder(path, source)
    parts, notes = _folder_parts(folder) if not queries else ({}, [])
    trust.require_links(folder, links_outside(folder, parts))
    allowed = (folder, path.parent)
    parts |= {name: (_query_part(name, query, allowed),) for name, query in queries.items()}
    folders = tuple(each.resolve() for each in allowed) + _folders_of(folder, parts)
    identity = str(path.resolve())
    return Sources(str(path), path.parent, identity, parts, {}, tuple(notes), folders=folders)


def _address(path: Path, source: Mapping[str, Any]) -> str:
    """The database address of ``[source]``: written out, or the name of the environment variable that holds it."""
    address = source["address"]
    if set(source) != {"address"} or not isinstance(address, str):
        raise _bad_source(path, source)
    if not address.startswith("$"):
        return address
    value = os.environ.get(address.strip("${}"))
    if value is None or not ADDRESS.match(value):
        raise DataRetrievalError(
            f"{path.name}: [source] address = {address!r}: that environment variable "
            + ("is not set" if value is None else "holds no database address"),
            parameter="source.address",
            value_provided=address,
            validation_rule=_SOURCE_RULE,
        )
    return value


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return toml_content(path)
    except UnicodeDecodeError:
        raise InvalidParameters(
            f"{path.name} is not UTF-8 text", parameter="portfolio", value_provided=str(path)
        ) from None
    except ValueError as problem:
        raise InvalidParameters(
            f"{path.name} is not valid TOML: {problem}",
            parameter="portfolio",
            value_provided=str(path),
            validation_rule="a TOML file",
        ) from None


def _flat(formats: Mapping[str, Any]) -> dict[str, Any]:
    """``[formats]`` by column: ``tickets.opened_at`` is a table of its own in TOML where it stands without quotes."""
    flat: dict[str, Any] = {}
    for name, value in formats.items():
        nested = value if isinstance(value, Mapping) else {}
        flat |= {f"{name}.{column}": form for column, form in nested.items()} or {name: value}
    return flat


def _settings_beside(folder: Path) -> dict[str, Any]:
    """The ``[settings]`` of the healthseg.toml in a folder."""
    path = folder / "healthseg.toml"
    if not path.is_file():
        return {}
    content = _read_toml(path)
    trust.require(path, content)
    return dict(content.get("settings", {}))


def _data_folder(path: Path, source: Any) -> Path:
    """The folder of the files that queries name: beside the toml, or the first of ``[source] folder`` that is there.

    ``$NAME`` in a folder is an environment variable; a folder whose variable is not set is passed over.
    """
    valid = isinstance(source, Mapping) and set(source) <= {"folder"}
    folders = source.get("folder", ".") if valid else None
    folders = [folders] if isinstance(folders, str) else folders
    if not isinstance(folders, list) or not all(isinstance(folder, str) for folder in folders):
        raise _bad_source(path, source)
    for template in folders:
        try:
            folder = Path(string.Template(template).substitute(os.environ)).expanduser()
        except (KeyError, ValueError):
            continue
        if (path.parent / folder).is_dir():
            trust.require_folder(path, template)
            _require_modest(path, template, (path.parent / folder).resolve())
            return path.parent / folder
    raise DataRetrievalError(
        f"{path.name}: the data that it maps are not there; looked for {', '.join(folders)}, relative to {path.parent}",
        parameter="source.folder",
        value_provided=", ".join(folders),
        validation_rule=_SOURCE_RULE,
    )


def _require_modest(path: Path, template: str, folder: Path) -> None:
    """A folder of data: not the whole file system, nor what lies hidden in the user's home."""
    home = Path.home().resolve()
    hidden = folder.is_relative_to(home) and any(
        part.startswith(".") for part in folder.relative_to(home).parts
    )
    if hidden or home.is_relative_to(folder):
        raise InvalidParameters(
            f"{path.name}: [source] folder = {template!r} holds more than data: name the folder of the files",
            parameter="source.folder",
            value_provided=template,
            validation_rule=_SOURCE_RULE,
        )


def _bad_source(path: Path, source: object) -> InvalidParameters:
    return InvalidParameters(
        f"{path.name}: [source] {sorted(source) if isinstance(source, Mapping) else source!r} is not understood; "
        f"{_SOURCE_RULE}",
        parameter="source",
        value_provided=str(sorted(source) if isinstance(source, Mapping) else source)[:200],
        validation_rule=_SOURCE_RULE,
    )


def _query_part(name: str, text: Any, folders: Sequence[Path]) -> SourcePart:
    from healthseg.data.queries import parse

    query = parse(name, text, folders)
    files = sorted({file for reference in query.references for file in reference.files})
    token = None
    if files and all(reference.files for reference in query.references):
        states = [f"{file}:{stat_token(file)}" for file in files]
        token = fingerprint([query.text, states])
    label = f"{TOML} [tables] {name}"
    return SourcePart(label, query=query, token=token, isolated_in=tuple(folders))
