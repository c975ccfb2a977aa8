"""Tables from a database address, through SQLAlchemy: each copied to Parquet when the portfolio is opened.

A database has no size and time of change, so that its tables are read at each opening; what is derived from them is
recognised by their content.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from healthseg.data.sources import Part, Sources, file_part
from healthseg.data.tables import TABLES
from healthseg.errors import DataRetrievalError, IntegrationError, InvalidParameters, hint

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_CHUNK_ROWS = 200_000
_NO_ANSWER = "does not respond ({kind}): check that it runs, that it can be reached from this machine, and the user and password"


def without_password(address: str) -> str:
    """The address without user and password: fit for messages, responses and the names of folders."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def from_address(address: str) -> Sources:
    """The tables behind a database address; raises IntegrationError where it does not answer, never with a password."""
    import sqlalchemy

    shown = without_password(address)
    folder = Path(tempfile.mkdtemp(prefix="healthseg-"))
    with _connected(address, "portfolio", _NO_ANSWER) as connection:
        inspector = sqlalchemy.inspect(connection)
        names = {*inspector.get_table_names(), *inspector.get_view_names()}
        for name in sorted(names & set(TABLES)):
            _copy(connection, name, folder / f"{name}.parquet")
    files = sorted(folder.glob("*.parquet"))
    parts: dict[str, tuple[Part, ...]] = {path.stem: (_part(path, shown),) for path in files}
    if not parts:
        raise DataRetrievalError(
            f"the database {shown} holds none of the tables; a portfolio needs at least customers and events",
            parameter="portfolio",
            value_provided=shown,
        )
    notes = tuple(
        f"table {name} is not one of the tables and is not read{hint(name, TABLES)}"
        for name in sorted(names - set(TABLES))
        if hint(name, TABLES)
    )
    weakref.finalize(parts[next(iter(parts))][0], shutil.rmtree, folder, ignore_errors=True)
    return Sources(shown, folder, shown, parts, {}, notes, local=False)


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
def _connected(address: str, parameter: str, words: str) -> Iterator[Connection]:
    """A connection; where the database does not answer, an IntegrationError in these words."""
    import sqlalchemy

    engine = _engine(address)
    try:
        with engine.connect() as connection:
            yield connection
    except sqlalchemy.exc.SQLAlchemyError as problem:
        shown = without_password(address)
        raise IntegrationError(
            f"the database {shown} {words.format(kind=type(problem).__name__)}",
            parameter=parameter,
            value_provided=shown,
        ) from None
    finally:
        engine.dispose()


def _engine(address: str) -> Engine:
    import sqlalchemy

    shown = without_password(address)
    options = {} if address.startswith("sqlite") else {"pool_pre_ping": True}
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


def _copy(connection: Connection, name: str, path: Path) -> None:
    """Writes a table's rows as text to a Parquet file, in chunks that fit in memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import sqlalchemy

    columns = [column["name"] for column in sqlalchemy.inspect(connection).get_columns(name)]
    table = sqlalchemy.table(name, *map(sqlalchemy.column, columns))
    result = connection.execution_options(stream_results=True).execute(sqlalchemy.select(table))
    schema = pa.schema([(column, pa.string()) for column in columns])
    with pq.ParquetWriter(path, schema) as writer:
        while rows := result.fetchmany(_CHUNK_ROWS):
            texts = [
                pa.array([None if value is None else str(value) for value in values], pa.string())
                for values in zip(*rows, strict=True)
            ]
            writer.write_table(pa.table(texts, schema=schema))


def _part(path: Path, shown: str) -> Part:
    """A copied table, named after the database; its content is its token."""
    part = file_part(path, path.parent)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return replace(part, label=f"{shown} table {path.stem}", token=f"{path.stem}:{digest}")
