"""Tables from a database address, through SQLAlchemy: each copied to Parquet when the portfolio is opened.

A database has no size and time of change, so that its tables are read at each opening; what is derived from them is
recognised by their content.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import sqlite3
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from healthseg.data.copies import CHUNK_ROWS, write_chunks, write_frame
from healthseg.data.engines import KINDS, Engine, EngineAddress
from healthseg.data.sources import SourcePart, Sources, file_part
from healthseg.data.storage import interruptible, temporary_folder
from healthseg.data.tables import TABLES
from healthseg.errors import DataRetrievalError, IntegrationError, InvalidParameters, hint

if TYPE_CHECKING:
    from sqlalchemy import Connection, Executable, Select, TextClause
    from sqlalchemy import Engine as DatabaseEngine
    from sqlalchemy.exc import DBAPIError

_NO_ANSWER = "does not respond ({kind}): check that it runs, that it can be reached from this machine, and the user and password"


def without_password(address: str) -> str:
    """The address without user and password: fit for messages, responses and the names of folders."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{re.split('[?;]', rest.rpartition('@')[2])[0]}"


def from_address(address: str, queries: Mapping[str, Any] | None = None) -> Sources:
    """The tables behind a database address, by their names or by a query each, read in one snapshot.

    Raises IntegrationError where it does not answer, InvalidParameters for a query that is not one SELECT; never with
    a password.
    """
    shown = without_password(address)
    folder = temporary_folder()
    try:
        names = _copy_tables(address, shown, queries, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    files = sorted(folder.glob("*.parquet"))
    parts: dict[str, tuple[SourcePart, ...]] = {path.stem: (_part(path, shown),) for path in files}
    if not parts:
        raise DataRetrievalError(
            f"the database {shown} holds none of the tables; a portfolio needs at least customers",
            parameter="portfolio",
            value_provided=shown,
        )
    notes = tuple(
        f"table {name} is not one of the tables and is not read{hint(name, TABLES)}"
        for name in sorted(names - set(TABLES))
        if hint(name, TABLES)
    )
    weakref.finalize(parts[next(iter(parts))][0], shutil.rmtree, folder, ignore_errors=True)
    return Sources(shown, folder, shown, parts, {}, notes, local=False, folders=(folder,))


def _copy_tables(
    address: str, shown: str, queries: Mapping[str, Any] | None, folder: Path
) -> set[str]:
    """Writes each table to a Parquet file; returns the names of all tables of the database."""
    import sqlalchemy

    with _connected(address, "portfolio", _NO_ANSWER, snapshot=True) as connection:
        selects: dict[str, Executable]
        if queries:
            selects = {
                name: _bound(_one_select(name, text, connection.dialect.name))
                for name, text in queries.items()
            }
            names = set(selects)
        else:
            inspector = sqlalchemy.inspect(connection)
            names = {*inspector.get_table_names(), *inspector.get_view_names()}
            selects = {name: _select_all(connection, name) for name in sorted(names & set(TABLES))}
        for name, select in selects.items():
            try:
                _copy(connection, select, folder / f"{name}.parquet")
            except sqlalchemy.exc.DBAPIError as problem:
                raise _failed(name, shown, problem) from None
    return names


def _select_all(connection: Connection, name: str) -> Select[Any]:
    import sqlalchemy

    columns = [column["name"] for column in sqlalchemy.inspect(connection).get_columns(name)]
    table = sqlalchemy.table(name, *map(sqlalchemy.column, columns))
    return sqlalchemy.select(table)


def _one_select(name: str, text: Any, dialect: str) -> str:
    """The text of a query; raises InvalidParameters unless it is one SELECT in the database's dialect."""
    import sqlglot
    from sqlglot import expressions

    problem = None
    changing = (expressions.Into, expressions.DML, expressions.DDL, expressions.Command)
    known = dialect if dialect in sqlglot.Dialects.__members__.values() else ""
    try:
        statements = sqlglot.parse(text, dialect=known) if isinstance(text, str) else []
    except sqlglot.errors.SqlglotError as error:
        statements, problem = [], f"is not SQL: {str(error).splitlines()[0]}"
    if not problem and (len(statements) != 1 or not isinstance(statements[0], expressions.Query)):
        problem = "must be one SELECT in quotes"
    if not problem and any(True for each in statements if each for _ in each.find_all(*changing)):
        problem = "must be one SELECT, which changes nothing"
    if problem:
        raise InvalidParameters(
            f"[tables] {name} {problem}",
            parameter=f"tables.{name}",
            value_provided=str(text)[:200],
            validation_rule="one SELECT",
        )
    return str(text).strip().rstrip(";")


def _bound(text: str) -> TextClause:
    """A text whose colons name no parameters."""
    import sqlalchemy

    return sqlalchemy.text(text.replace(":", r"\:"))


def _failed(name: str, shown: str, problem: DBAPIError) -> DataRetrievalError:
    """A query that the database refused, in the words of its first line."""
    words = str(problem.orig).splitlines()[0] if str(problem.orig) else type(problem).__name__
    return DataRetrievalError(
        f"table {name} of {shown} cannot be read: {words}",
        parameter=f"tables.{name}",
        value_provided=name,
    )


def with_engines(sources: Sources, queries: Mapping[str, tuple[Any, EngineAddress]]) -> Sources:
    """The sources with tables that lie in engines. Small ones come whole, in one snapshot of each engine.

    Events stay where they lie. Raises InvalidParameters for a query that is not one SELECT, IntegrationError where an
    engine's driver is not installed or it does not answer.
    """
    folder = temporary_folder()
    parts: dict[str, tuple[SourcePart, ...]] = {}
    texts: dict[EngineAddress, dict[str, str]] = {}
    for name, (query, address) in queries.items():
        address.require()
        text = _one_select(name, query, KINDS[address.kind].dialect)
        if name == "events":
            label = f"{address.shown} table {name}"
            parts[name] = (SourcePart(label, query=text, engine=address),)
        else:
            texts.setdefault(address, {})[name] = text
    try:
        for address, of_engine in texts.items():
            with address.connected() as driver:
                engine = Engine(address, driver, "")
                for name, text in of_engine.items():
                    path = folder / f"{name}.parquet"
                    write_frame(name, engine.own(text), path)
                    parts[name] = (_part(path, address.shown),)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(parts[next(iter(parts))][0], shutil.rmtree, folder, ignore_errors=True)
    folders = (*sources.folders, folder)
    return replace(sources, parts={**sources.parts, **parts}, folders=folders)


def sample_tables(address: str, folder: Path, rows: int) -> tuple[str, dict[str, Path]]:
    """The database's dialect, and Parquet files in ``folder`` with the first rows of each table and view, by name."""
    import sqlalchemy

    files = {}
    with _connected(address, "source", _NO_ANSWER, snapshot=True) as connection:
        inspector = sqlalchemy.inspect(connection)
        names = sorted({*inspector.get_table_names(), *inspector.get_view_names()})
        for number, name in enumerate(names):
            files[name] = folder / f"table-{number}.parquet"
            _copy(connection, _select_all(connection, name).limit(rows), files[name])
        return connection.dialect.name, files


def refused_queries(address: str, queries: Mapping[str, str]) -> dict[str, str]:
    """Which of the queries the database refuses, with its words."""
    import sqlalchemy

    refused = {}
    for name, text in queries.items():
        with _connected(address, "source", _NO_ANSWER, snapshot=True) as connection:
            try:
                select = _one_select(name, text, connection.dialect.name)
                connection.execute(_bound(select)).fetchmany(1)
            except sqlalchemy.exc.DBAPIError as problem:
                refused[name] = str(problem.orig).splitlines()[0][:200]
    return refused


def watermark(address: str, query: str) -> str:
    """The row that a query of the user's returns: it changes with every change of the tables.

    Raises IntegrationError where the database does not answer, InvalidParameters where the query returns another
    number of rows.
    """
    import sqlalchemy

    with _connected(
        address, "cache.version_query", "does not respond to the version query ({kind})"
    ) as connection:
        rows = connection.execute(sqlalchemy.text(query)).fetchmany(2)
    if len(rows) != 1:
        raise InvalidParameters(
            "the version query must return one row, as in select max(updated_at), count(*) from …",
            parameter="cache.version_query",
            value_provided=f"{len(rows)} rows or more",
            validation_rule="one row",
        )
    return "|".join(str(value) for value in rows[0])


@contextlib.contextmanager
def _connected(
    address: str, parameter: str, words: str, *, snapshot: bool = False
) -> Iterator[Connection]:
    """A connection, with ``snapshot`` in one transaction; where the database does not answer, an IntegrationError."""
    import sqlalchemy

    engine = _engine(address)
    try:
        with engine.connect() as connection:
            if snapshot:
                _begin(connection)
            yield connection
    except sqlalchemy.exc.SQLAlchemyError as problem:
        shown, kind = without_password(address), type(problem).__name__
        said = _of_file(problem) if address.startswith("sqlite:") else words.format(kind=kind)
        raise IntegrationError(
            f"the database {shown} {said}",
            parameter=parameter,
            value_provided=shown,
        ) from None
    finally:
        engine.dispose()


def _of_file(problem: Exception) -> str:
    """What to say of an SQLite file that cannot be read, which has neither a server nor a password."""
    cause = getattr(problem, "orig", problem)
    if getattr(cause, "sqlite_errorname", "").startswith("SQLITE_READONLY"):
        return "cannot be read, since its last change was cut short: open it once with the program that writes it"
    return f"cannot be read: {cause}"


def _begin(connection: Connection) -> None:
    """All that follows reads the state of one moment, and changes nothing."""
    if connection.dialect.name == "postgresql":
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    elif connection.dialect.name in ("mysql", "mariadb"):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    elif connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN")


def _read_only(path: Path) -> sqlite3.Connection:
    """A file of others is not written: not even its journal is rolled back, which may name another file."""
    return interruptible(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True))


def _engine(address: str) -> DatabaseEngine:
    import sqlalchemy

    shown = without_password(address)
    options: dict[str, Any] = {"pool_pre_ping": True}
    if address.startswith("sqlite:///"):
        path = Path(address.removeprefix("sqlite:///").partition("?")[0])
        options = {"creator": partial(_read_only, path), "poolclass": sqlalchemy.NullPool}
    # the driver that the extra "mysql" installs
    address = re.sub("^(mysql|mariadb)://", r"\1+pymysql://", address)
    try:
        return sqlalchemy.create_engine(address, **options)
    except sqlalchemy.exc.NoSuchModuleError:
        words = (
            "is of an unknown kind of database; known are postgresql, mysql, sqlite and what "
            "SQLAlchemy dialects are installed for"
        )
    except sqlalchemy.exc.ArgumentError:
        words = "is not a database address; they look like postgresql://user:password@host/database"
    except ImportError as problem:
        raise IntegrationError(
            f"{shown} needs the driver {problem.name}, which is not installed: pip install {problem.name}",
            parameter="portfolio",
            value_provided=shown,
        ) from None
    raise InvalidParameters(f"{shown} {words}", parameter="portfolio", value_provided=shown)


def _copy(connection: Connection, select: Executable, path: Path) -> None:
    """Writes the rows of a select to a Parquet file with the types that they have, in chunks."""
    result = connection.execution_options(stream_results=True).execute(select)
    write_chunks(path, list(result.keys()), iter(lambda: result.fetchmany(CHUNK_ROWS), []))


def _part(path: Path, shown: str) -> SourcePart:
    """A copied table, named after the database; its content is its token."""
    part = file_part(path, path.parent)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return replace(part, label=f"{shown} table {path.stem}", token=f"{path.stem}:{digest}")
