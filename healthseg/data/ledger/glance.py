"""What a ledger holds at a glance, read without the library that reads and writes ledgers.

Most calls find the settings in force already recorded and no recorded stages. They need not import SQLAlchemy, which
costs more than such a call.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from healthseg.settings.base import fingerprint
from healthseg.settings.lifecycle import LedgerPlace, revealed

FILE_NAME = "healthseg.sqlite"
# the schema's newest version: as many as there are migrations
LATEST = 2
TABLES = (
    "settings_in_force",
    "segment_runs",
    "stage_events",
    "alerts_raised",
    "outbox",
    "outbox_attempts",
)
# the watermark of a server on which nothing was recorded yet
NOTHING = "nothing recorded"
_VERSION = "schema_version"


@dataclass(frozen=True)
class Glance:
    """Whether a ledger has recorded stages, and the fingerprint of the settings in force, if any were recorded."""

    has_stages: bool
    settings: str | None


@dataclass(frozen=True)
class SettingsInForce:
    """Settings, from ``first_used_at`` until the next ones."""

    fingerprint: str
    settings: dict[str, Any]
    first_used_at: dt.datetime

    @classmethod
    def read(cls, fingerprint: str, settings: str, recorded_at: str) -> SettingsInForce:
        """From the ledger's columns."""
        return cls(fingerprint, json.loads(settings), dt.datetime.fromisoformat(recorded_at))


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


def glance(path: Path) -> Glance | None:
    """What a ledger's file holds now; None where only ``Ledger`` can tell, as of another version's file.

    >>> glance(Path("no such folder") / "healthseg.sqlite")
    Glance(has_stages=False, settings=None)
    """
    if not path.exists():
        return Glance(False, None)
    newest = "SELECT fingerprint FROM settings_in_force ORDER BY seq DESC LIMIT 1"
    with contextlib.suppress(sqlite3.Error), _current_version(path) as connection:
        (stages,) = connection.execute("SELECT EXISTS (SELECT 1 FROM stage_events)").fetchone()
        last = connection.execute(newest).fetchone()
        return Glance(bool(stages), last and last[0])
    return None


def settings_history(path: Path) -> list[SettingsInForce] | None:
    """Every change of the settings that a ledger's file holds, oldest first; None where only ``Ledger`` can tell.

    >>> settings_history(Path("no such folder") / "healthseg.sqlite")
    []
    """
    if not path.exists():
        return []
    query = "SELECT fingerprint, settings, recorded_at FROM settings_in_force ORDER BY seq"
    with contextlib.suppress(sqlite3.Error), _current_version(path) as connection:
        return [SettingsInForce.read(*row) for row in connection.execute(query)]
    return None


@contextlib.contextmanager
def _current_version(path: Path) -> Iterator[sqlite3.Connection]:
    """One state of a ledger's file, to read; raises sqlite3.Error where it is locked or of another version."""
    opened = sqlite3.connect(uri(path, "rw"), timeout=0, uri=True, isolation_level=None)
    with contextlib.closing(opened) as connection:
        connection.execute("BEGIN")
        (version,) = connection.execute("SELECT MAX(version) FROM schema_version").fetchone()
        if version != LATEST:
            raise sqlite3.DatabaseError(f"schema {version}, not {LATEST}")
        yield connection


def watermark(place: LedgerPlace) -> str | None:
    """A text that changes with every row recorded on a server; None where it cannot be read.

    The digest of a table's last row covers all rows before it. Why a server does not answer is for ``Ledger`` to say.
    Raises InvalidParameters for an address that names a variable which is not set.
    """
    if place.address is None:
        return None
    try:
        import psycopg
    except ImportError:
        return None
    address = revealed(place.address, "settings.ledger.address")
    wait = max(2, int(place.busy_seconds))
    try:
        with psycopg.connect(
            re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", address),
            connect_timeout=wait,
            autocommit=True,
            application_name="healthseg",
            options=f"-c statement_timeout={1000 * wait}",
        ) as connection:
            return _server_heads(connection, place.schema_name)
    except psycopg.Error:
        return None


def _server_heads(connection: Any, schema: str) -> str | None:
    """A fingerprint of the last row of each table of a ledger of this version."""
    from psycopg import sql

    ledger = connection.execute("SELECT to_regclass(%s)", (f"{schema}.{_VERSION}",)).fetchone()
    if ledger == (None,):
        return NOTHING
    queries = [f"SELECT '{_VERSION}', MAX(version), '' FROM {{schema}}.{_VERSION}"]
    queries += [
        f"(SELECT '{table}', seq, digest FROM {{schema}}.{table} ORDER BY seq DESC LIMIT 1)"
        for table in TABLES
    ]
    query = sql.SQL(" UNION ALL ".join(queries)).format(schema=sql.Identifier(schema))
    heads = connection.execute(query).fetchall()
    return fingerprint(sorted(heads)) if (_VERSION, LATEST, "") in heads else None
