"""The ledger's file: how it is opened, locked, upgraded, and what is said when that fails.

Every operation opens the file and closes it again, so that no connection is
carried into a forked worker, and nothing but the file itself stays behind.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from healthseg.data.ledger import schema
from healthseg.data.ledger.place import address, is_writable
from healthseg.errors import DataRetrievalError

_WAL_PAUSE_SECONDS = 0.02


class LedgerFile:
    """One SQLite file that several processes read and write.

    ``busy_seconds`` is how long an operation waits for another writer.
    """

    def __init__(self, path: Path, busy_seconds: float) -> None:
        self.path = path
        self.busy_seconds = busy_seconds
        self._engines: dict[str, Engine] = {}

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.path)

    @contextmanager
    def reading(self) -> Iterator[Connection | None]:
        """A connection on one consistent state, or None where there is no file yet."""
        if not self.path.exists():
            yield None
            return
        with self._explained(), self._connected("rw") as connection:
            self._made_current(connection)
            connection.exec_driver_sql("BEGIN")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection that holds the write lock; all of it is kept, or on an error nothing."""
        with self._explained(), self._connected("rwc") as connection:
            self._made_current(connection)
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    def _open(self, wish: str) -> sqlite3.Connection:
        raw = sqlite3.connect(
            address(self.path, wish), uri=True, timeout=self.busy_seconds, isolation_level=None
        )
        raw.execute(
            "PRAGMA recursive_triggers = ON"
        )  # else INSERT OR REPLACE would delete unnoticed
        return raw

    @contextmanager
    def _connected(self, wish: str) -> Iterator[Connection]:
        if (
            wish not in self._engines
        ):  # engines have no connections of their own: each opens the file anew
            self._engines[wish] = create_engine(
                "sqlite://", creator=partial(self._open, wish), poolclass=NullPool
            )
        with self._engines[wish].connect() as connection:
            yield connection

    def _made_current(self, connection: Connection) -> None:
        """Refuses what is no ledger or too new for us; upgrades what is older, in one transaction."""
        found = schema.version(connection)
        connection.rollback()
        if found is None:
            raise DataRetrievalError(
                f"{self.path} is a SQLite file of something else, not a healthseg ledger: "
                "move it away, or keep the portfolio in another folder",
                path=str(self.path),
            )
        if found > schema.LATEST:
            raise DataRetrievalError(
                f"the ledger {self.path} has schema version {found}; this healthseg knows versions up to "
                f"{schema.LATEST}: use the newer healthseg that wrote it",
                path=str(self.path),
                value_provided=found,
                validation_rule=f"schema version at most {schema.LATEST}",
            )
        if found < schema.LATEST and not is_writable(self.path):
            raise DataRetrievalError(
                f"the ledger {self.path} has schema version {found}, needs an upgrade to {schema.LATEST}, and cannot "
                "be written: make its folder writable, or work on a copy of the portfolio",
                path=str(self.path),
            )
        if found < schema.LATEST:
            self._use_wal(connection)
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            schema.upgrade(connection)
            connection.commit()

    def _use_wal(self, connection: Connection) -> None:
        """Switches to the write-ahead log, which SQLite does not wait for where two create the file at once."""
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        for tries_left in reversed(range(1 + int(self.busy_seconds / _WAL_PAUSE_SECONDS))):
            try:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                break
            except OperationalError as problem:
                if not tries_left or not problem.orig.sqlite_errorname.startswith("SQLITE_BUSY"):
                    raise
                time.sleep(_WAL_PAUSE_SECONDS)
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(self.busy_seconds * 1000)}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What SQLite says, in words that name the file and the way out."""
        try:
            yield
        except DBAPIError as problem:
            name = getattr(problem.orig, "sqlite_errorname", "")
            reason = next(
                (words for code, words in self._reasons().items() if name.startswith(code)), None
            )
            if reason is None:
                raise
            raise DataRetrievalError(
                f"the ledger {self.path} {reason}", path=str(self.path)
            ) from problem

    def _reasons(self) -> dict[str, str]:
        return {
            "SQLITE_BUSY": f"has been locked by another process for more than {self.busy_seconds:g} seconds: "
            "try again when that one has ended",
            "SQLITE_READONLY": "cannot be written: make its folder writable, or work on a copy of the portfolio",
            "SQLITE_CANTOPEN": "cannot be opened: its folder must exist, and be writable to record anything",
            "SQLITE_PERM": "cannot be opened: the file or its folder may not be read",
            "SQLITE_NOTADB": "is not a SQLite file: move it away, or restore it from a backup",
            "SQLITE_CORRUPT": "is damaged: restore it from a backup",
            "SQLITE_FULL": "cannot grow, the disk is full: nothing of this was recorded",
            "SQLITE_IOERR": "could not be read or written, the disk reports an error: nothing of this was recorded",
        }
