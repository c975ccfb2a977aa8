"""The ledger in an SQLite file: how it is opened, locked and upgraded, and what is said when that fails.

Every operation opens the file and closes it again, so that no connection is carried into another process.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from healthseg.data.ledger import schema
from healthseg.data.ledger.schema import LATEST
from healthseg.data.storage import leads_elsewhere, temporary_name
from healthseg.errors import DataRetrievalError
from healthseg.settings.in_force import input_limits

_WAL_PAUSE_SECONDS = 0.02
_CANNOT_BE_WRITTEN = "make its folder writable, or work on a copy of the portfolio"


# a view has its own name here, a trigger or an index its table's
_SCHEMA = "SELECT name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"


@cache
def _own_schema() -> tuple[frozenset[str], frozenset[str]]:
    """What SQLite's schema says of a ledger of any version: the names of its tables, and all statements."""
    names, statements = set(), set()
    with create_engine("sqlite://", poolclass=NullPool).begin() as connection:
        for number in range(1, LATEST + 1):
            schema.upgrade(connection, number)
            for _, table, statement in connection.exec_driver_sql(_SCHEMA):
                names.add(table)
                statements.add(statement)
    return frozenset(names), frozenset(statements)


def is_writable(path: Path) -> bool:
    """Whether a ledger at ``path`` can be written: that needs the folder as well, for the journal beside the file."""
    target = path if path.exists() else path.parent
    return os.access(target, os.W_OK) and os.access(path.parent, os.W_OK)


def uri(path: Path, mode: str) -> str:
    """How SQLite opens the file: without a journal in a folder that cannot hold one."""
    if is_writable(path):
        option = f"mode={mode}"
    elif path.with_name(path.name + "-wal").exists():
        # another process is writing: read along through its journal
        option = "mode=ro"
    else:
        # nobody writes: SQLite need not create a journal to read
        option = "immutable=1"
    return f"file:{quote(str(path))}?{option}"


class SqliteDatabase:
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
            self._upgrade(connection)
            connection.exec_driver_sql("BEGIN")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection that holds the write lock; everything written is stored, or on an error nothing."""
        new = not self.path.exists()
        if new:
            self._create()
        with self._explained(), self._connected("rwc") as connection:
            self._upgrade(connection, new)
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    def _open(self, mode: str) -> sqlite3.Connection:
        self._refuse_what_leads_elsewhere()
        connection = sqlite3.connect(
            uri(self.path, mode), uri=True, timeout=self.busy_seconds, isolation_level=None
        )
        # else INSERT OR REPLACE would delete without firing the triggers
        connection.execute("PRAGMA recursive_triggers = ON")
        return connection

    @contextmanager
    def _connected(self, mode: str) -> Iterator[Connection]:
        if mode not in self._engines:
            self._engines[mode] = create_engine(
                "sqlite://", creator=partial(self._open, mode), poolclass=NullPool
            )
        with self._engines[mode].connect() as connection:
            yield connection

    def _refuse_what_leads_elsewhere(self) -> None:
        if path := leads_elsewhere(self.path):
            raise DataRetrievalError(
                f"{path} leads to another file, and a ledger's files are plain ones: remove it, or restore the ledger from "
                "a backup (healthseg ledger restore)",
                path=str(path),
            )

    def backup(self, target: Path) -> None:
        """A copy in one consistent state, while others may write."""
        with self._explained(), self._connected("rw") as connection:
            self._upgrade(connection)
            connection.exec_driver_sql("VACUUM INTO ?", (str(target),))

    def _create(self) -> None:
        """A new ledger appears whole, so that an empty file is always one that lost its content."""
        new = self.path.with_name(temporary_name(self.path.name))
        try:
            os.close(os.open(new, os.O_CREAT | os.O_EXCL, 0o644))
        except OSError:
            return  # opening the file says what is wrong with its folder
        try:
            database = SqliteDatabase(new, self.busy_seconds)
            with self._explained(), database._connected("rw") as connection:
                database._upgrade(connection, new=True)
                # on a full disk closing it would leave what it holds in the file beside it, without an error
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            with suppress(FileExistsError):  # another process was first
                os.link(new, self.path)
        except OSError:  # a file system without links: SQLite makes the file in its place
            pass
        finally:
            for ending in ("", "-wal", "-shm"):
                new.with_name(new.name + ending).unlink(missing_ok=True)

    def _refuse_emptied(self) -> None:
        """A file without content has lost what it held, since a new one appears whole: it is never begun anew."""
        if self.path.stat().st_size == 0:
            raise DataRetrievalError(
                f"the ledger {self.path} is empty, and what it held is lost: restore it from a backup "
                "(healthseg ledger restore), or delete the file to begin anew",
                path=str(self.path),
            )

    def _upgrade(self, connection: Connection, new: bool = False) -> None:
        """Refuses a file that is no ledger, or newer than this package; upgrades an older one in one transaction."""
        foreign = [] if new else self._foreign(connection)
        # which could be a view without an end
        version = None if "schema_version" in foreign else schema.version(connection)
        if version == 0 and not new:
            self._refuse_emptied()
        connection.rollback()
        if version is None:
            raise DataRetrievalError(
                f"{self.path} is a SQLite file of something else, not a healthseg ledger: "
                "move it away, or keep the portfolio in another folder",
                path=str(self.path),
            )
        schema.refuse_newer(self.name, version)
        if foreign:
            raise DataRetrievalError(
                f"the ledger {self.path} holds {foreign[0]!r}, which healthseg did not make so: restore it from a "
                "backup (healthseg ledger restore)",
                path=str(self.path),
            )
        if version < LATEST and not is_writable(self.path):
            raise DataRetrievalError(
                f"the ledger {self.path} has schema version {version}, needs an upgrade to {LATEST}, and cannot "
                f"be written: {_CANNOT_BE_WRITTEN}",
                path=str(self.path),
            )
        if version < LATEST:
            self._use_wal(connection)
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            schema.upgrade(connection)
            connection.commit()
        self._refuse_beyond_limits(connection)

    def _refuse_beyond_limits(self, connection: Connection) -> None:
        """A ledger of others may have rows without end; the numbers of rows are whole, and each is there once."""
        limits = input_limits()
        queries = [f"SELECT MAX(seq) - MIN(seq) + 1 FROM {name}" for name in schema.HISTORY]
        rows = max(connection.exec_driver_sql(query).scalar() or 0 for query in queries)
        files = [self.path.with_name(self.path.name + ending) for ending in ("", "-wal")]
        size = sum(path.stat().st_size for path in files if path.exists()) // 1_000_000
        connection.rollback()
        for count, most, words, name in (
            (rows, limits.ledger_rows, "rows in one table", "LEDGER_ROWS"),
            (size, limits.ledger_mb, "MB", "LEDGER_MB"),
        ):
            if count > most:
                raise DataRetrievalError(
                    f"the ledger {self.path} has {count:,} {words}, and {most:,} are read: allow more by "
                    f"HEALTHSEG_INPUT_LIMITS__{name}",
                    path=str(self.path),
                    validation_rule=f"HEALTHSEG_INPUT_LIMITS__{name}",
                )

    def _foreign(self, connection: Connection) -> list[str]:
        """Views in place of a ledger's tables, other columns, triggers and indices on them: they run when it is used."""
        names, statements = _own_schema()
        rows = connection.exec_driver_sql(_SCHEMA).fetchall()
        return sorted(name for name, table, sql in rows if table in names and sql not in statements)

    def _use_wal(self, connection: Connection) -> None:
        """Switches to the write-ahead log, for which SQLite itself does not wait where two create the file at once."""
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        for tries_left in reversed(range(1 + int(self.busy_seconds / _WAL_PAUSE_SECONDS))):
            try:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                break
            except OperationalError as problem:
                if not tries_left or not _error_name(problem).startswith("SQLITE_BUSY"):
                    raise
                time.sleep(_WAL_PAUSE_SECONDS)
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(self.busy_seconds * 1000)}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns SQLite's errors into sentences that name the file and the way out."""
        try:
            yield
        except DBAPIError as problem:
            name = _error_name(problem)
            for code, words in self._reasons().items():
                if name.startswith(code):
                    raise DataRetrievalError(
                        f"the ledger {self.path} {words}", path=str(self.path)
                    ) from problem
            raise

    def _reasons(self) -> dict[str, str]:
        return {
            "SQLITE_BUSY": f"has been locked by another process for more than {self.busy_seconds:g} seconds: "
            "try again when that one has ended",
            "SQLITE_READONLY": f"cannot be written: {_CANNOT_BE_WRITTEN}",
            "SQLITE_CANTOPEN": "cannot be opened: its folder must exist, and be writable to record anything",
            "SQLITE_PERM": "cannot be opened: the file or its folder may not be read",
            "SQLITE_NOTADB": "is not a SQLite file: move it away, or restore it from a backup",
            "SQLITE_CORRUPT": "is damaged: restore it from a backup",
            "SQLITE_FULL": "cannot grow, the disk is full: nothing of this was recorded",
            "SQLITE_IOERR": "could not be read or written, the disk reports an error: nothing of this was recorded",
        }


def _error_name(problem: DBAPIError) -> str:
    """SQLite's name of an error, such as SQLITE_BUSY."""
    return getattr(problem.orig, "sqlite_errorname", "")
