"""Where a ledger's file is and how it is opened; and what it holds at a glance.

Most calls find their settings noted already and no stages recorded. They need not load the library that reads and
writes the ledger, which costs more than all else that such a call imports for itself.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

LATEST = 2  # the schema's newest version: as many as there are migrations


@dataclass(frozen=True)
class Glance:
    """Whether a ledger has recorded stages, and the fingerprint of the settings in force, if any were noted."""

    has_stages: bool
    settings: str | None


@dataclass(frozen=True)
class SettingsInForce:
    """Settings, from ``first_used_at`` until the next ones."""

    fingerprint: str
    settings: dict[str, Any]
    first_used_at: dt.datetime


def is_writable(path: Path) -> bool:
    """Whether a ledger at ``path`` can be written: that needs the folder as well, for the journal beside the file."""
    there = path if path.exists() else path.parent
    return os.access(there, os.W_OK) and os.access(path.parent, os.W_OK)


def address(path: Path, wish: str) -> str:
    """How SQLite opens the file: without a journal in a folder that cannot hold one."""
    if is_writable(path):
        mode = f"mode={wish}"
    elif path.with_name(path.name + "-wal").exists():
        mode = "mode=ro"  # somebody else is writing: read along through their journal
    else:
        mode = "immutable=1"  # nobody writes: SQLite need not create a journal to read
    return f"file:{quote(str(path))}?{mode}"


def glance(path: Path) -> Glance | None:
    """What a ledger's file holds now; None where only the ledger itself can tell, as of another version's file.

    >>> glance(Path("no such folder") / "healthseg.sqlite")
    Glance(has_stages=False, settings=None)
    """
    if not path.exists():
        return Glance(False, None)
    with contextlib.suppress(sqlite3.Error), _reading(path) as connection:
        (stages,) = connection.execute("SELECT EXISTS (SELECT 1 FROM stage_events)").fetchone()
        last = connection.execute(
            "SELECT fingerprint FROM settings_in_force ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        return Glance(bool(stages), last and last[0])
    return None


def settings_history(path: Path) -> list[SettingsInForce] | None:
    """Every change of the settings that a ledger's file holds, oldest first; None where only the ledger can tell.

    >>> settings_history(Path("no such folder") / "healthseg.sqlite")
    []
    """
    if not path.exists():
        return []
    with contextlib.suppress(sqlite3.Error), _reading(path) as connection:
        rows = connection.execute(
            "SELECT fingerprint, settings, recorded_at FROM settings_in_force ORDER BY seq"
        )
        return [settings_in_force(*row) for row in rows]
    return None


def settings_in_force(fingerprint: str, settings: str, recorded_at: str) -> SettingsInForce:
    """A row of the ledger's settings."""
    return SettingsInForce(
        fingerprint, json.loads(settings), dt.datetime.fromisoformat(recorded_at)
    )


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """One state of a ledger's file, to read; raises sqlite3.Error where it is of another version."""
    source = address(
        path, "rw"
    )  # of one that is locked the ledger tells, which waits as long as the settings say
    with contextlib.closing(
        sqlite3.connect(source, timeout=0, uri=True, isolation_level=None)
    ) as connection:
        connection.execute("BEGIN")
        (version,) = connection.execute("SELECT MAX(version) FROM schema_version").fetchone()
        if version != LATEST:
            raise sqlite3.DatabaseError(f"schema {version}, not {LATEST}")
        yield connection
