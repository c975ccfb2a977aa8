"""Cached responses: one SQLite file beside the portfolio, shared by the processes of a machine.

A response's key names all that it was computed from (``data_state``, settings, parameters, code), so that new data
never meet an old response; the time until which it may be returned is stored with it. Texts of JSON only. A cache that
cannot be read or written is no error: the response is then computed.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from healthseg.data.sources import Sources
from healthseg.data.storage import FOLDER, bound_sqlite, leads_elsewhere, remove_database
from healthseg.settings.base import fingerprint

# a file that changed so shortly before may change again within the same tick of its clock
RACY_SECONDS = 0.05
_BUSY_SECONDS = 2.0
# of a statement: an honest one takes milliseconds
_LONGEST_SECONDS = 10.0
# the position of the last change in ``_stat``: on Windows a file's record has no time of change
_CHANGED = 1 if os.name == "nt" else 2
_TABLE = (
    "CREATE TABLE IF NOT EXISTS checked_responses (key TEXT PRIMARY KEY, computed_at REAL NOT NULL, "
    "until REAL NOT NULL, response TEXT NOT NULL, crc32 INTEGER NOT NULL) WITHOUT ROWID"
)


@dataclass(frozen=True)
class DataState:
    """What a portfolio holds now: a token that changes with it, and when it last did (seconds since 1970)."""

    token: str
    changed_at: float

    def settled(self, now: float) -> bool:
        """Whether the last change is long enough ago for the token to show the next one."""
        return self.changed_at < now - RACY_SECONDS


@dataclass(frozen=True)
class CachedResponse:
    """A response's text, and the seconds since 1970 at which it was computed and until which it is valid."""

    text: str
    computed_at: float
    until: float


def data_state(sources: Sources) -> DataState | None:
    """The state of a portfolio's files; None where it cannot be known, as for a query without files.

    Compares sizes, times of change (of content and of the file's own record) and inodes; reads nothing.
    """
    tokens: list[object] = []
    files: list[Path] = []
    for table, parts in sorted(sources.parts.items()):
        for part in parts:
            if part.token is None:
                return None
            tokens.append([table, part.token])
            files += [part.path] if part.path else []
    if sources.attach is not None:
        files += [Path(f"{sources.attach}{end}") for end in ("", ".wal")]
    stats = [_stat(path) for path in files]
    tokens += [[path.name, stat] for path, stat in zip(files, stats, strict=True)]
    changed = max((stat[_CHANGED] for stat in stats), default=0)
    return DataState(fingerprint(tokens), changed / 1e9)


def ledger_state(path: Path, tables: Sequence[str]) -> str:
    """Changes with every row of these tables of a ledger's file, read without the library that writes ledgers.

    The digest of a table's last row covers all rows before it. Of a file that is locked or of an older version it is
    the state of the file itself.
    """
    if not path.exists():
        return ""
    if leads_elsewhere(path):  # why, is for the ledger to say
        return fingerprint([_stat(path)])
    queries = ["SELECT MAX(version) FROM schema_version"]
    queries += [f"SELECT digest FROM {table} ORDER BY seq DESC LIMIT 1" for table in tables]
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection,
    ):
        bound_sqlite(connection, _LONGEST_SECONDS)
        connection.execute("BEGIN")
        return fingerprint([connection.execute(query).fetchone() for query in queries])
    return fingerprint([_stat(path), _stat(path.with_name(path.name + "-wal"))])


def _stat(path: Path) -> tuple[int, int, int, int]:
    """Size, times of change and inode; zeros where there is no file."""
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return 0, 0, 0, 0
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _checksum(text: str, computed_at: float, until: float) -> int:
    return zlib.crc32(f"{float(computed_at)!r} {float(until)!r} {text}".encode())


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
        """The response of a key that is valid at ``now``: not of the future, where a clock went back."""
        if not self.path.exists():
            return None
        row = None
        with contextlib.suppress(sqlite3.Error), self._open() as connection:
            row = connection.execute(
                "SELECT response, computed_at, until, crc32 FROM checked_responses WHERE key = ?",
                (key,),
            ).fetchone()
        if not row or not row[1] <= now < row[2] or _checksum(*row[:3]) != row[3]:
            return None
        return CachedResponse(*row[:3])

    def put(self, key: str, text: str, now: float, seconds: float) -> bool:
        """Stores a response and removes those that are no longer valid; whether that was possible."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write(key, text, now, seconds)
        except sqlite3.DatabaseError as problem:
            if not isinstance(problem, sqlite3.OperationalError):  # no database: begin anew
                remove_database(self.path)
            return False
        except OSError:
            return False
        return True

    def _write(self, key: str, text: str, now: float, seconds: float) -> None:
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_TABLE)
            connection.execute(
                "DELETE FROM checked_responses WHERE until <= ? OR computed_at > ?", (now, now)
            )
            connection.execute(
                "INSERT OR REPLACE INTO checked_responses VALUES (?, ?, ?, ?, ?)",
                (key, now, now + seconds, text, _checksum(text, now, now + seconds)),
            )
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        if leads_elsewhere(self.path):
            remove_database(self.path)
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            bound_sqlite(connection, _LONGEST_SECONDS)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            yield connection
        finally:
            connection.close()
