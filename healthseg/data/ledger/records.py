"""Append-only tables: transactions, and rows that are chained by digest to the row before.

A path is an SQLite file, an address a schema of a PostgreSQL database; all else is the same code.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Row, Select, Table, select

from healthseg.data.ledger.schema import ADDED_COLUMNS, HISTORY, STAGE_EVENTS
from healthseg.data.ledger.sqlite import SqliteDatabase
from healthseg.errors import CalculationError, DataRetrievalError, InvalidParameters, require_known
from healthseg.periods import UTC
from healthseg.settings.base import fingerprint

Clock = Callable[[], dt.datetime]


class Database(Protocol):
    """Where the tables are: a file or a server."""

    @property
    def name(self) -> str:
        """The file or the server, as messages name it."""

    def reading(self) -> AbstractContextManager[Connection | None]:
        """A connection on one consistent state, or None where nothing was recorded yet."""

    def writing(self) -> AbstractContextManager[Connection]:
        """A connection that holds the write lock; everything written is stored, or on an error nothing."""


class AppendOnlyTables:
    """Tables whose rows are added under one lock, and read from one consistent state.

    ``address`` is the path of an SQLite file, or a PostgreSQL address (its tables are in ``schema_name``). ``clock``
    gives the time whenever something is recorded; without a clock nothing can be. ``busy_seconds`` is how long to wait
    for another process that writes.
    """

    def __init__(
        self,
        address: str | Path,
        clock: Clock | None = None,
        *,
        busy_seconds: float = 10.0,
        schema_name: str = "healthseg",
    ) -> None:
        self._clock = clock
        self._database: Database
        if "://" in str(address):
            from healthseg.data.ledger.postgres import PostgresDatabase

            self._database = PostgresDatabase(str(address), schema_name, busy_seconds)
        else:
            self.path = Path(address)
            self._database = SqliteDatabase(self.path, busy_seconds)
        # this thread's transaction, while it is in one
        self._local = threading.local()

    @property
    def name(self) -> str:
        """The file or the server, as messages name it."""
        return self._database.name

    def head(self, *tables: str) -> str:
        """A digest of all rows of these tables, in order; for fingerprints of responses.

        By default of the customers' stages alone, which responses depend on; a ledger without any, and a portfolio
        without a ledger, have the same head.
        """
        chosen = [
            HISTORY[one_of(name, tuple(HISTORY), "table")]
            for name in tables or (STAGE_EVENTS.name,)
        ]
        with self.reading() as connection:
            rows = [None if connection is None else _last(connection, table) for table in chosen]
        digests = [row.digest if row else None for row in rows]
        return fingerprint(dict(zip([table.name for table in chosen], digests, strict=True)))

    @contextmanager
    def transaction(self) -> Iterator[dt.datetime]:
        """Everything recorded within is recorded together, or on an error not at all.

        What is read within cannot be changed by others until it ends. Gives the time that will be recorded: the
        clock's, or the last recorded time where a clock went back.
        """
        with self.writing() as connection:
            yield dt.datetime.fromisoformat(self._now(_last(connection, STAGE_EVENTS)))

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """This thread's transaction, or a new one, which holds the write lock."""
        outer = getattr(self._local, "connection", None)
        if outer is not None:
            yield outer
            return
        if self._clock is None:
            raise CalculationError(
                f"the ledger {self.name} was opened to read, without a clock: nothing is recorded"
            )
        with self._database.writing() as connection:
            self._local.connection = connection
            try:
                yield connection
            finally:
                self._local.connection = None

    @contextmanager
    def reading(self) -> Iterator[Connection | None]:
        """A connection on one state; None where nothing was recorded yet."""
        outer = getattr(self._local, "connection", None)
        if outer is not None:
            yield outer
            return
        with self._database.reading() as connection:
            yield connection

    def rows(self, query: Select) -> list[Row]:
        with self.reading() as connection:
            return [] if connection is None else list(connection.execute(query))

    def append(
        self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Adds rows after the last one, each with its number, time and digest."""
        if not rows:
            return
        last = self._verified_last(connection, table)
        digest, now = last.digest if last else "", self._now(last)
        numbered = []
        for seq, values in enumerate(rows, start=last.seq + 1 if last else 1):
            row = {**values, "seq": seq, "recorded_at": now}
            digest = fingerprint([digest, row])
            numbered.append({**row, "digest": digest})
        connection.execute(table.insert(), numbered)

    def backup(self, target: Path) -> None:
        """Copies the ledger's file in one consistent state; raises DataRetrievalError where there is none."""
        if not isinstance(self._database, SqliteDatabase):
            raise DataRetrievalError(
                f"{self.name} is backed up with the server's own tools (pg_dump)"
            )
        if target.exists():
            raise DataRetrievalError(
                f"{target} exists already: name another file",
                parameter="file",
                value_provided=str(target),
            )
        if not self.path.exists():
            raise DataRetrievalError(f"nothing was recorded yet: {self.path} does not exist")
        self._database.backup(target)

    def _verified_last(self, connection: Connection, table: Table) -> Row | None:
        """The last row, which has to follow from the one before it: nothing is added to a broken chain."""
        query = select(table).order_by(table.c.seq.desc()).limit(2)
        rows = connection.execute(query).all()
        if not rows:
            return None
        before = rows[1].digest if len(rows) > 1 else ""
        self._checked(table, rows[0], rows[1].seq + 1 if len(rows) > 1 else 1, before)
        return rows[0]

    def verify(self) -> dict[str, int]:
        """Rows by table, after each row's digest was held against its content and the row before.

        Raises DataRetrievalError that names the first row which was changed, removed or inserted by other means.
        """
        counts = dict.fromkeys(HISTORY, 0)
        with self.reading() as connection:
            if connection is None:
                return counts
            for name, table in HISTORY.items():
                digest = ""
                query = select(table).order_by(table.c.seq)
                for seq, row in enumerate(connection.execute(query), start=1):
                    digest = self._checked(table, row, seq, digest)
                    counts[name] = seq
        return counts

    def _checked(self, table: Table, row: Row, seq: int, before: str) -> str:
        values = dict(row._mapping)
        recorded = values.pop("digest")
        digests = {fingerprint([before, values])}
        for name, value in ADDED_COLUMNS.get(table.name, {}).items():
            if values.pop(name) != value:
                break
            digests.add(fingerprint([before, values]))
        if row.seq != seq or recorded not in digests:
            raise DataRetrievalError(
                f"the ledger {self.name} was changed by other means than healthseg: {table.name}, row {seq} is not "
                "as it was recorded; restore it from a backup (healthseg ledger restore)",
                parameter=table.name,
                value_provided=seq,
                validation_rule="each row's digest is that of its content and the row before",
            )
        return str(recorded)

    def _now(self, last: Row | None) -> str:
        """The clock's time, never before the last row's: what was known at a time stays what was known."""
        if self._clock is None:
            raise CalculationError(f"the ledger {self.name} has no clock")
        now = stored_instant(self._clock(), "clock")
        return max(now, last.recorded_at) if last else now


def _last(connection: Connection, table: Table) -> Row | None:
    """The last row's number, time and digest."""
    columns = table.c.seq, table.c.recorded_at, table.c.digest
    return connection.execute(select(*columns).order_by(table.c.seq.desc()).limit(1)).first()


def one_of(word: str, known: Sequence[str], parameter: str) -> str:
    """The word, where it is known; raises InvalidParameters with the nearest known word."""
    require_known(word, known, f"unknown {parameter} {word!r}", parameter=parameter)
    return word


def stored_instant(moment: dt.datetime, parameter: str) -> str:
    """UTC text of fixed width, whose order is the order in time."""
    if not isinstance(moment, dt.datetime) or moment.tzinfo is None:
        raise InvalidParameters(
            f"{parameter} {str(moment)!r} is not an instant: give a datetime with a time zone",
            parameter=parameter,
            value_provided=str(moment),
            validation_rule="a datetime with a time zone",
        )
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def stored_json(value: Mapping[str, Any]) -> str:
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
