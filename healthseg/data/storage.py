"""Where derived data lie, and how they are written: whole or not at all.

Everything goes to a temporary name, is flushed to disk and renamed, so that neither a reader, another process nor a
power cut meets half a file. Two processes that build the same thing write the same bytes under the same name: the last
rename wins.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import socket
import sqlite3
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any

from healthseg.periods import DAY_SECONDS
from healthseg.settings.base import fingerprint

FOLDER = ".healthseg"
TEMPORARY = "."  # the first letter of names that are being written
_STATES = "files.json"
# with which a journal of SQLite ends that names the journal of several databases
_NAMED_JOURNAL = bytes.fromhex("d9d505f920a163d7")
_STEPS_BETWEEN_LOOKS, _LONGEST_VALUE = 10_000, 1 << 28
_LARGE_BYTES = 16_000_000
_BLOCK_BYTES = 1_000_000
_WRITER = re.compile(r"\.(?P<machine>[0-9a-f]{8})\.(?P<process>\d+)\.\d+")


def writable(folder: Path) -> bool:
    """Whether files can be created in ``folder``: tried, since file modes do not bind a superuser."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".healthseg-"):
            return True
    except OSError:
        return False


def cache_folder() -> Path:
    """Where derived data of read-only portfolios go: ``HEALTHSEG_CACHE``, else the platform's cache."""
    if os.environ.get("HEALTHSEG_CACHE"):
        return Path(os.environ["HEALTHSEG_CACHE"])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "healthseg"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "healthseg"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "healthseg"


def root_for(folder: Path, identity: str, *, local: bool = True) -> Path:
    """The folder of derived data and ledger: the portfolio's own, else one in the cache named by ``identity``."""
    own = folder / FOLDER
    if local and not _is_linked(own) and writable(own if own.is_dir() else folder):
        return folder
    root = cache_folder() / fingerprint(identity)
    root.mkdir(parents=True, exist_ok=True)
    return root


def _is_linked(own: Path) -> bool:
    """Whether a folder of derived data is none, or has links: we would write where whoever made the portfolio wants."""
    if own.is_symlink() or (own.exists() and not own.is_dir()):
        return True
    # links to folders are among those that are listed, and not entered
    return any(os.path.islink(f"{top}/{name}") for top, names, _ in os.walk(own) for name in names)


def leads_elsewhere(database: Path) -> Path | None:
    """Which of an SQLite file's own files is a link or a pipe, or a journal of several databases, of which SQLite
    deletes the file that it names; None where all are plain. A portfolio of others can bring such files along."""
    for ending in ("", "-wal", "-shm", "-journal"):
        path = database.with_name(database.name + ending)
        if path.is_symlink() or path.is_fifo():
            return path
    # the one that was looked at last
    with contextlib.suppress(OSError), open(path, "rb") as journal:
        journal.seek(-len(_NAMED_JOURNAL), os.SEEK_END)
        if journal.read() == _NAMED_JOURNAL:
            return path
    return None


def remove_database(database: Path) -> None:
    """Removes an SQLite file and those beside it; of a link the link."""
    for ending in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(OSError):
            database.with_name(database.name + ending).unlink()


def interruptible(connection: sqlite3.Connection) -> sqlite3.Connection:
    """The connection, whose queries a signal ends: Python looks at signals between its own steps alone."""
    connection.set_progress_handler(lambda: 0, _STEPS_BETWEEN_LOOKS)
    return connection


def bound_sqlite(connection: sqlite3.Connection, seconds: float) -> None:
    """Ends what a connection does after so many seconds: a file of others may hold a view without an end."""
    end = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS_BETWEEN_LOOKS)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    connection.execute("PRAGMA trusted_schema = OFF")


@functools.cache
def _machine() -> str:
    """This machine, or this container of it: where a number names one process."""
    try:
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:
        processes = ""
    return fingerprint([socket.gethostname(), processes])[:8]


def temporary_name(name: str) -> str:
    """What is being written is called until it is whole; it says which process writes it."""
    return f"{TEMPORARY}{name}.{_machine()}.{os.getpid()}.{time.monotonic_ns()}"


def is_abandoned(name: str) -> bool:
    """Whether a temporary name is that of a process of this machine that has ended: it was killed."""
    match = _WRITER.search(name)
    if match is None or match["machine"] != _machine() or os.name != "posix":
        return False
    try:
        os.kill(int(match["process"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    return False


def sweep(*folders: Path) -> None:
    """Removes what processes that were killed had begun to write in these folders."""
    for folder in folders:
        try:
            names = [entry.name for entry in os.scandir(folder) if is_abandoned(entry.name)]
        except OSError:
            continue
        for path in (folder / name for name in names):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()


def temporary_folder() -> Path:
    """A new folder for files of this process; of processes that were killed there are none left."""
    parent = Path(tempfile.gettempdir())
    sweep(parent)
    folder = parent / f"healthseg{temporary_name('')}"
    folder.mkdir(mode=0o700)
    return folder


@contextlib.contextmanager
def writing(target: Path) -> Iterator[Path]:
    """A temporary path beside ``target``, flushed and renamed to it when the block ends without an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(temporary_name(target.name))
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, target)
        _flush(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writing_noted(target: Path) -> Iterator[Path]:
    """As ``writing``, with a note of the content beside it, by which ``is_whole`` knows the file again."""
    with writing(target) as temporary:
        yield temporary
        state = _state(temporary)
    write_json(_note(target), state)


def is_whole(path: Path) -> bool:
    """Whether a file is as ``writing_noted`` wrote it, which also marks it as used."""
    state = read_json(_note(path))
    try:
        if state is None or not _is_as_written(path, state):
            return False
        mark_used(path)
        if (now := _state(path, state[1])) != state:  # touched: it need not be read again next time
            write_json(_note(path), now)
    except FileNotFoundError:
        return False
    except OSError:  # a disk that cannot be written
        pass
    return True


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.state")


def write_json(target: Path, value: Any) -> None:
    """Writes a JSON value with a checksum."""
    text = _json(value)
    with writing(target) as temporary:
        checksum = zlib.crc32(text.encode())
        temporary.write_text(f'{{"crc32":{checksum},"value":{text}}}', encoding="utf-8")


def read_json(path: Path) -> Any | None:
    """The value that ``write_json`` wrote, or None where there is none that is as it was written."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        checksum, value = content["crc32"], content["value"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    mark_used(path)
    return value if zlib.crc32(_json(value).encode()) == checksum else None


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def write_folder(target: Path, fill: Callable[[Path], None]) -> Path:
    """A folder that is there whole or not at all: filled under a temporary name, then renamed."""
    existed = target.is_dir()
    if is_intact(target):
        return target
    if existed:
        _discard(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(temporary_name(target.name))
    temporary.mkdir()
    try:
        fill(temporary)
        (temporary / _STATES).write_text(json.dumps(_states(temporary)), encoding="utf-8")
        for path in [*temporary.rglob("*"), temporary]:
            _flush(path)
        try:
            os.rename(temporary, target)
        except OSError:
            # another process may have built the same folder first
            if not target.is_dir():
                raise
        _flush(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _discard(folder: Path) -> None:
    """Removes a damaged folder, but not the one that another process put in its place meanwhile."""
    aside = folder.with_name(temporary_name(folder.name))
    try:
        os.rename(folder, aside)
        if is_intact(aside):
            os.rename(aside, folder)
    except OSError:
        pass  # gone already, or there again
    shutil.rmtree(aside, ignore_errors=True)


def is_intact(folder: Path) -> bool:
    """Whether a folder still holds the files that ``write_folder`` wrote, as they were written."""
    try:
        states = json.loads((folder / _STATES).read_text(encoding="utf-8"))
        return all(_is_as_written(folder / name, state) for name, state in states.items())
    except (OSError, ValueError, AttributeError):
        return False


def _states(folder: Path) -> dict[str, list[int]]:
    """Size, checksum and time of change of each file, by its path."""
    states = {}
    for path in folder.rglob("*"):
        if path.is_file():
            states[path.relative_to(folder).as_posix()] = _state(path)
    return states


def _state(path: Path, checksum: int | None = None) -> list[int]:
    stat = path.stat()
    return [stat.st_size, _checksum(path) if checksum is None else checksum, stat.st_mtime_ns]


def _is_as_written(path: Path, state: list[int]) -> bool:
    """Whether a file has its size and checksum; a large file is read only where its time of change is another."""
    size, checksum, changed = state
    stat = path.stat()
    if stat.st_size != size:
        return False
    if size > _LARGE_BYTES and stat.st_mtime_ns == changed:
        return True
    return _checksum(path) == checksum


def _checksum(path: Path) -> int:
    checksum = 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _flush(path: Path) -> None:
    """Ask the system to write a file, or a folder's list of names, to disk."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def mark_used(path: Path) -> None:
    """Notes, at most once a day by the time of change, that something was read: ``evict`` spares it."""
    # files of another user cannot be marked: they are rebuilt some day
    with contextlib.suppress(OSError):
        if path.stat().st_mtime < time.time() - DAY_SECONDS:
            os.utime(path)


def evict(folder: Path, days: float, keep: Container[str] = (), pattern: str = "*") -> int:
    """Removes what was neither written nor read for ``days``, except the names in ``keep``; returns how many.

    Names that other processes are writing stay for a day at least; what vanishes meanwhile is no error.
    """
    removed = 0
    for path in folder.glob(pattern):
        limit = max(days, 1) if path.name.startswith(TEMPORARY) else days
        try:
            fresh = path.stat().st_mtime > time.time() - limit * DAY_SECONDS
        except FileNotFoundError:
            continue
        if fresh or path.name in keep:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        removed += 1
    return removed
