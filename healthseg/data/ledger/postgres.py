"""The ledger on a PostgreSQL server, for portfolios that several machines write: the same tables in a schema of its own.

As with the file, every operation opens and closes its connection, so that none is carried into another process.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from healthseg.data.ledger import schema
from healthseg.data.ledger.schema import LATEST
from healthseg.errors import DataRetrievalError, HealthsegError, IntegrationError, InvalidParameters

SCHEMA_RULE = "^[a-z_][a-z0-9_]{0,62}$"
# how long the server may take for one statement
_ANSWER_SECONDS = 60


class PostgresDatabase:
    """A schema of a PostgreSQL database that several processes, on several machines, read and write.

    ``busy_seconds`` is how long an operation waits for another writer, and for the server to answer.
    """

    def __init__(self, address: str, schema_name: str, busy_seconds: float) -> None:
        if not re.fullmatch(SCHEMA_RULE[1:-1], schema_name):
            raise InvalidParameters(
                f"{schema_name!r} is not a valid schema name: lower-case letters, digits and _",
                parameter="settings.ledger.schema_name",
                value_provided=schema_name,
                validation_rule=SCHEMA_RULE,
            )
        self._url = _url(address)
        self.schema_name = schema_name
        self.busy_seconds = busy_seconds
        self._current = False

    @property
    def name(self) -> str:
        """What messages call it: never with the password."""
        host = self._url.host or self._url.query.get("host", "")
        return f"postgresql://{host}/{self._url.database} (schema {self.schema_name})"

    @contextmanager
    def reading(self) -> Iterator[Connection | None]:
        """A connection on one consistent state, or None where nothing was recorded yet."""
        with self._explained(), self._engine.connect() as connection:
            version = self._version(connection)
            if not version:
                yield None
                return
            schema.refuse_newer(self.name, version)
            if version < LATEST:
                connection.rollback()
                with self.writing():
                    pass
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection that holds the write lock; everything written is stored, or on an error nothing."""
        with self._explained(), self._engine.connect() as connection:
            connection.execution_options(isolation_level="READ COMMITTED")
            connection.execute(
                text("SELECT pg_advisory_xact_lock(:key)"),
                {"key": zlib.crc32(f"healthseg {self.schema_name}".encode())},
            )
            self._upgrade(connection)
            yield connection
            connection.commit()

    @cached_property
    def _engine(self) -> Engine:
        """Holds no connections: each operation opens its own, on one consistent state."""
        wait = int(self.busy_seconds * 1000)
        options = (
            f"-c search_path={self.schema_name} -c lock_timeout={wait} "
            f"-c statement_timeout={wait + _ANSWER_SECONDS * 1000}"
        )
        return create_engine(
            self._url,
            poolclass=NullPool,
            isolation_level="REPEATABLE READ",
            connect_args={
                "options": options,
                "connect_timeout": max(2, int(self.busy_seconds)),
                "application_name": "healthseg",
            },
        )

    def _version(self, connection: Connection) -> int:
        """The schema's version, 0 where there is none; the newest is remembered, since it never goes back."""
        if not self._current:
            query = text("SELECT to_regclass(:name)")
            table = f"{self.schema_name}.schema_version"
            if connection.execute(query, {"name": table}).scalar() is None:
                return 0
            version = schema.version(connection) or 0
            if version != LATEST:
                return version
            self._current = True
        return LATEST

    def _upgrade(self, connection: Connection) -> None:
        version = self._version(connection)
        schema.refuse_newer(self.name, version)
        if version == 0:
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {self.schema_name}")
            if schema.version(connection) is None:
                raise DataRetrievalError(
                    f"{self.name} holds tables of something else: name another schema in the settings",
                    path=self.name,
                )
        if version < LATEST:
            schema.upgrade(connection)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns PostgreSQL's errors into sentences that name the ledger and the way out."""
        try:
            yield
        except DBAPIError as problem:
            state = getattr(problem.orig, "sqlstate", None) or ""
            for code, words in self._reasons().items():
                if state.startswith(code):
                    raise DataRetrievalError(
                        f"the ledger {self.name} {words}", path=self.name
                    ) from problem
            if not state or state.startswith(("08", "57P")):
                raise self._unreachable(problem) from None
            raise

    def _unreachable(self, problem: DBAPIError) -> HealthsegError:
        kind = type(problem.orig).__name__
        return IntegrationError(
            f"the ledger {self.name} does not respond ({kind}): check that the server runs, that it "
            "can be reached from here, and the user and password",
            path=self.name,
        )

    def _reasons(self) -> dict[str, str]:
        return {
            "55P03": f"has been locked by another process for more than {self.busy_seconds:g} seconds: "
            "try again when that one has ended",
            "57014": "took too long to respond: nothing was recorded",
            "53100": "cannot grow, the disk is full: nothing of this was recorded",
            "53": "has no room for another connection: try again later",
            "25006": "cannot be written: the server is read-only, a standby perhaps",
            "42501": "may not be used by this user: ask for the right to create and write its schema",
            "28": "refuses this user: check the user and password of its address",
            "3D": "names a database that is not there: create it first",
        }


def _url(address: str) -> URL:
    try:
        url = make_url(address)
    except ArgumentError:
        url = None
    if url is None or url.get_backend_name() not in ("postgresql", "postgres"):
        kind = address.partition("://")[0] if "://" in address else "this"
        raise InvalidParameters(
            f"the ledger's address is not one of PostgreSQL ({kind[:40]}): it looks like "
            "postgresql://user:password@host/database",
            parameter="settings.ledger.address",
            value_provided=kind[:40],
            validation_rule="postgresql://…",
        )
    return url.set(drivername="postgresql+psycopg")
