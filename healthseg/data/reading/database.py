"""Tables from a database address, through SQLAlchemy: each one copied to Parquet when the portfolio is opened.

A database has no size and time of change to go by, so that its tables are read at
each opening; what is derived from them is found again by their content.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from healthseg.data.reading.sources import Part, Sources, file_part
from healthseg.data.tables import TABLES
from healthseg.errors import DataRetrievalError, IntegrationError, InvalidParameters, hint

_CHUNK_ROWS = 200_000


def without_password(address: str) -> str:
    """The address without user and password: fit for messages, responses and the names of folders."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def _engine(address: str) -> Any:
    import sqlalchemy

    shown = without_password(address)
    try:
        return sqlalchemy.create_engine(
            address, **({} if address.startswith("sqlite") else {"pool_pre_ping": True})
        )
    except sqlalchemy.exc.NoSuchModuleError:
        raise InvalidParameters(
            f"{shown} is of a kind of database that is not known here; known are postgresql, mysql, "
            "sqlite and what SQLAlchemy dialects are installed for",
            parameter="portfolio",
            value_provided=shown,
        ) from None
    except sqlalchemy.exc.ArgumentError:
        raise InvalidParameters(
            f"{shown} is not a database address; they look like "
            "postgresql://user:password@host/database",
            parameter="portfolio",
            value_provided=shown,
        ) from None
    except ImportError as problem:
        raise IntegrationError(
            f"{shown} needs the driver {problem.name}, which is not installed: pip install {problem.name}",
            parameter="portfolio",
            value_provided=shown,
        ) from None


def _frames(connection: Any, name: str) -> Iterator[Any]:
    """A table's rows as Arrow tables with one schema, in chunks that fit in memory."""
    import pyarrow as pa
    import sqlalchemy

    table = sqlalchemy.table(
        name,
        *(
            sqlalchemy.column(column["name"])
            for column in sqlalchemy.inspect(connection).get_columns(name)
        ),
    )
    result = connection.execution_options(stream_results=True).execute(sqlalchemy.select(table))
    names = list(result.keys())
    while rows := result.fetchmany(_CHUNK_ROWS):
        columns = zip(*rows, strict=True)
        yield pa.table(
            {
                column: pa.array(
                    [None if value is None else str(value) for value in values], pa.string()
                )
                for column, values in zip(names, columns, strict=True)
            }
        )


def _copy(connection: Any, name: str, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    import sqlalchemy

    columns = [column["name"] for column in sqlalchemy.inspect(connection).get_columns(name)]
    schema = pa.schema([(column, pa.string()) for column in columns])
    with pq.ParquetWriter(path, schema) as writer:
        for table in _frames(connection, name):
            writer.write_table(table.select(columns))


def from_address(address: str) -> Sources:
    """The tables behind a database address; raises IntegrationError where it does not answer, never with a password."""
    import sqlalchemy

    shown, engine = without_password(address), _engine(address)
    folder = Path(tempfile.mkdtemp(prefix="healthseg-"))
    try:
        with engine.connect() as connection:
            names = (
                sqlalchemy.inspect(connection).get_table_names()
                + sqlalchemy.inspect(connection).get_view_names()
            )
            for name in sorted(set(names) & set(TABLES)):
                _copy(connection, name, folder / f"{name}.parquet")
    except sqlalchemy.exc.SQLAlchemyError as problem:
        kind = type(problem).__name__
        raise IntegrationError(
            f"the database {shown} does not answer ({kind}): check that it runs, that it can be reached "
            "from here, and the user and password",
            parameter="portfolio",
            value_provided=shown,
        ) from None
    finally:
        engine.dispose()
    parts = {path.stem: (_part(path, shown),) for path in sorted(folder.glob("*.parquet"))}
    if not parts:
        raise DataRetrievalError(
            f"the database {shown} holds none of the tables; a portfolio needs at least customers and events",
            parameter="portfolio",
            value_provided=shown,
        )
    notes = tuple(
        f"table {name} is not one of the tables and is not read{hint(name, TABLES)}"
        for name in sorted(set(names) - set(TABLES))
        if hint(name, TABLES)
    )
    sources = Sources(shown, folder, shown, parts, {}, notes, local=False)
    weakref.finalize(parts[next(iter(parts))][0], _remove, folder)
    return sources


def watermark(address: str, query: str) -> str:
    """The one row that a query of the reader's answers: what changes with every change of the tables.

    Raises IntegrationError where the database does not answer, InvalidParameters where the query has no one row.
    """
    import sqlalchemy

    shown, engine = without_password(address), _engine(address)
    try:
        with engine.connect() as connection:
            rows = connection.execute(sqlalchemy.text(query)).fetchmany(2)
    except sqlalchemy.exc.SQLAlchemyError as problem:
        raise IntegrationError(
            f"the database {shown} does not answer the version query ({type(problem).__name__})",
            parameter="cache.version_query",
            value_provided=shown,
        ) from None
    finally:
        engine.dispose()
    if len(rows) != 1:
        raise InvalidParameters(
            "the version query must give one row, as in select max(updated_at), count(*) from …",
            parameter="cache.version_query",
            value_provided=f"{len(rows)} rows or more",
            validation_rule="one row",
        )
    return "|".join(str(value) for value in rows[0])


def _part(path: Path, shown: str) -> Part:
    """A copied table, named after the database; its content is its token."""
    part = file_part(path, path.parent)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return replace(part, label=f"{shown} table {path.stem}", token=f"{path.stem}:{digest}")


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
