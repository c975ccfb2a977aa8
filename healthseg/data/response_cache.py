"""Responses that were answered before: one SQLite file beside the portfolio, shared by the processes of a machine.

A response is kept under a key of all that it was made from (``data_state``, settings, parameters, version), so that new
data never meet an old one; the time until which it may be answered again is kept with it. Texts of JSON only. A cache
that cannot be read or written is no error: the response is then made again.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from healthseg.data.reading.sources import Sources
from healthseg.data.storage import FOLDER
from healthseg.settings import fingerprint

LEDGER = "healthseg.sqlite"  # as the ledger names it, whose module costs more to import than a response to find
RACY_SECONDS = (
    0.05  # a file that changed so shortly before may change again within the same tick of its clock
)
_BUSY_SECONDS = 2.0
_CHANGED = (
    1 if os.name == "nt" else 2
)  # of what is told of a file: Windows keeps no time of change of its record
_TABLE = (
    "CREATE TABLE IF NOT EXISTS responses (key TEXT PRIMARY KEY, made_at REAL NOT NULL, until REAL NOT NULL, "
    "response TEXT NOT NULL) WITHOUT ROWID"
)


@dataclass(frozen=True)
class DataState:
    """What a portfolio holds now: a token that changes with it, and when it last did (seconds since 1970)."""

    token: str
    changed_at: float

    def settled(self, now: float) -> bool:
        """Whether the last change is long enough ago for the token to tell the next one."""
        return self.changed_at < now - RACY_SECONDS


@dataclass(frozen=True)
class CachedResponse:
    """A response's text, and the seconds since 1970 at which it was made and until which it holds."""

    text: str
    made_at: float
    until: float


def data_state(sources: Sources, root: Path) -> DataState | None:
    """The state of a portfolio's files and of its ledger; None where they cannot tell, as for a query over anything.

    Sizes, times of change (of content and of the file's own record) and inodes are compared, nothing is read.
    """
    tokens: list[object] = []
    changed = 0
    for table, parts in sorted(sources.parts.items()):
        for part in parts:
            if part.token is None:
                return None
            tokens.append([table, part.token])
            if part.path is not None:
                told = _told(part.path)
                tokens.append(told)
                changed = max(changed, told[_CHANGED])
    beside = [
        folder / f"{LEDGER}{end}" for folder in {root: 0, sources.folder: 0} for end in ("", "-wal")
    ]
    if sources.attach is not None:
        beside += [Path(f"{sources.attach}{end}") for end in ("", ".wal")]
    for path in beside:
        told = _told(path)
        tokens.append([path.name, told])
        changed = max(changed, told[_CHANGED])
    return DataState(fingerprint(tokens), changed / 1e9)


def _told(path: Path) -> tuple[int, int, int, int]:
    """Size, times of change and inode; zeros where there is no file."""
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return 0, 0, 0, 0
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


class ResponseCache:
    """The file of one portfolio's responses.

    >>> import tempfile
    >>> cache = ResponseCache(Path(tempfile.mkdtemp()))
    >>> cache.put("key", '{"score": 82}', now=100.0, seconds=60)
    True
    >>> cache.get("key", now=130.0).text, cache.get("key", now=160.0), cache.get("other", now=130.0)
    ('{"score": 82}', None, None)
    """

    def __init__(self, root: Path) -> None:
        self.path = root / FOLDER / "cache" / "responses.sqlite"

    def get(self, key: str, now: float) -> CachedResponse | None:
        """What is kept under a key and holds at ``now``; a clock that went back keeps nothing alive."""
        if not self.path.exists():
            return None
        row = None
        with contextlib.suppress(sqlite3.Error), self._open() as connection:
            row = connection.execute(
                "SELECT response, made_at, until FROM responses WHERE key = ?", (key,)
            ).fetchone()
        return CachedResponse(*row) if row and row[1] <= now < row[2] else None

    def put(self, key: str, text: str, now: float, seconds: float) -> bool:
        """Keep a response, and let go of those that hold no longer; whether it is kept."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write(key, text, now, seconds)
        except sqlite3.DatabaseError as problem:
            if not isinstance(problem, sqlite3.OperationalError):  # no database at all: begin anew
                with contextlib.suppress(OSError):
                    self.path.unlink()
            return False
        except OSError:
            return False
        return True

    def _write(self, key: str, text: str, now: float, seconds: float) -> None:
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_TABLE)
            connection.execute("DELETE FROM responses WHERE until <= ? OR made_at > ?", (now, now))
            connection.execute(
                "INSERT OR REPLACE INTO responses VALUES (?, ?, ?, ?)",
                (key, now, now + seconds, text),
            )
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            yield connection
        finally:
            connection.close()
