"""The core of the ledger: transactions, and rows that are only ever added, each chained to the one before it.

A path is an SQLite file, an address a schema of a PostgreSQL database; all else is the same code.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, select

from healthseg.data.ledger.file import LedgerFile
from healthseg.data.ledger.schema import HISTORY, STAGE_EVENTS
from healthseg.errors import CalculationError, InvalidParameters, hint
from healthseg.periods import UTC
from healthseg.settings import fingerprint

FILE_NAME = "healthseg.sqlite"
Clock = Callable[[], dt.datetime]


class Record:
    """Tables whose rows are added under one lock, and read from one consistent state.

    ``place`` is the path of an SQLite file, or a PostgreSQL address (its tables lie in ``schema_name``). ``clock`` says
    what time it is whenever something is recorded; without one nothing can be. ``busy_seconds`` is how long to wait for
    another process that writes.
    """

    def __init__(
        self,
        place: str | Path,
        clock: Clock | None = None,
        *,
        busy_seconds: float = 10.0,
        schema_name: str = "healthseg",
    ) -> None:
        self._clock = clock
        if "://" in str(place):
            from healthseg.data.ledger.server import LedgerServer

            self._place: Any = LedgerServer(str(place), schema_name, busy_seconds)
        else:
            self.path = Path(place)
            self._place = LedgerFile(self.path, busy_seconds)
        self._open = threading.local()  # this thread's transaction, if it is within one

    @property
    def name(self) -> str:
        """The file or the database, as messages name it."""
        return self._place.name

    def head(self, *tables: str) -> str:
        """A digest of all that was recorded in these tables, in order; for fingerprints of responses.

        By default of the customers' stages alone, which responses depend on; a ledger that has none, and a portfolio
        without a ledger, have the same head.
        """
        chosen = [_table(name) for name in tables or (STAGE_EVENTS.name,)]
        with self.reading() as connection:
            return fingerprint({table.name: _last_digest(connection, table) for table in chosen})

    @contextmanager
    def transaction(self) -> Iterator[dt.datetime]:
        """All that is recorded within is recorded together, or on an error not at all.

        What is read within cannot be changed by others until it ends. Gives the time that will be recorded: the
        clock's, or the last recorded one where a clock went back.
        """
        with self.writing() as connection:
            yield dt.datetime.fromisoformat(self._time(connection, STAGE_EVENTS))

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """This thread's transaction, or a new one, which holds the write lock."""
        outer = getattr(self._open, "connection", None)
        if outer is not None:
            yield outer
            return
        if self._clock is None:
            raise CalculationError(
                f"the ledger {self.name} was opened to read, without a clock: nothing is recorded"
            )
        with self._place.writing() as connection:
            self._open.connection = connection
            try:
                yield connection
            finally:
                self._open.connection = None

    @contextmanager
    def reading(self) -> Iterator[Connection | None]:
        """A connection on one state; None where nothing was recorded yet."""
        outer = getattr(self._open, "connection", None)
        if outer is not None:
            yield outer
            return
        with self._place.reading() as connection:
            yield connection

    def rows(self, query: Select) -> list[Row]:
        with self.reading() as connection:
            return [] if connection is None else list(connection.execute(query))

    def append(
        self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Adds rows behind the last one, each with its number, time and digest."""
        if not rows:
            return
        last = connection.execute(
            select(table.c.seq, table.c.digest).order_by(table.c.seq.desc()).limit(1)
        ).first()
        seq, digest = last or (0, "")
        now = self._time(connection, table)
        numbered = []
        for given in rows:
            seq += 1
            row = {**given, "seq": seq, "recorded_at": now}
            digest = fingerprint([digest, row])
            numbered.append({**row, "digest": digest})
        connection.execute(table.insert(), numbered)

    def _time(self, connection: Connection, table: Table) -> str:
        """The clock's time, never before that of the last row: what was known at a time stays what was known."""
        now = stored_instant(self._clock(), "clock")
        last = connection.execute(
            select(table.c.recorded_at).order_by(table.c.seq.desc()).limit(1)
        ).scalar()
        return max(now, last or now)


def _table(name: str) -> Table:
    return HISTORY[one_of(name, tuple(HISTORY), "table")]


def _last_digest(connection: Connection | None, table: Table) -> str | None:
    if connection is None:
        return None
    return connection.execute(select(table.c.digest).order_by(table.c.seq.desc()).limit(1)).scalar()


def one_of(word: str, known: Sequence[str], parameter: str) -> str:
    if word not in known:
        raise InvalidParameters(
            f"unknown {parameter} {word!r}{hint(word, known)}",
            parameter=parameter,
            value_provided=word,
            validation_rule="one of " + ", ".join(known),
        )
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
