"""Starts ``isolated.py`` for a query of others, and puts how it ended into words."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from healthseg.data import engine, isolated
from healthseg.data.sources import Refused, not_now, quoted
from healthseg.errors import DataRetrievalError
from healthseg.settings.in_force import input_limits

if TYPE_CHECKING:
    import psutil

_MB = 1_000_000
# room for the engine's own pages beside what it may allocate
_ENGINE_SHARE = 0.6
_THREADS = 2
# rows of a SQLite view are read into memory afterwards
_SQLITE_MB = 256
_SECONDS_BETWEEN_LOOKS = 0.5
# a process that computes has more of a busy machine's processor; one below it waits, for a pipe
_WAITING_SHARE = 0.01


def copy_query(
    label: str,
    select: str,
    target: Path,
    *,
    folders: Sequence[Path],
    attach: str | None,
    files: Iterable[Path],
) -> None:
    """Writes the rows of a SELECT to a Parquet file. Raises Refused where it fails by its content, and
    DataRetrievalError where it takes more than the limits or the machine fails."""
    limits = input_limits()
    spill = target.with_name(f"{target.name}-spill")
    statements = engine.limiting(
        spill, folders=[*folders, target.parent], attach=attach, spill_mb=limits.disk_mb
    )
    config = engine.CONFIG | {
        "memory_limit": f"{int(limits.memory_mb * _ENGINE_SHARE)}MB",
        "threads": _THREADS,
    }
    job = {
        "kind": "duckdb",
        "config": config,
        "statements": statements,
        "select": select,
        "target": quoted(str(target)),
        "file_bytes": limits.disk_mb * _MB,
    }
    try:
        _run(label, job, files)
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def copy_sqlite(label: str, path: Path, name: str, target: Path) -> None:
    """Writes what a view of a SQLite file shows to the table ``rows`` of another one; raises as ``copy_query``."""
    escaped = name.replace('"', '""')
    job = {
        "kind": "sqlite",
        "uri": f"{path.absolute().as_uri()}?mode=ro",
        "select": f'SELECT * FROM main."{escaped}"',
        "target": str(target),
        "file_bytes": _SQLITE_MB * _MB,
    }
    _run(label, job, [path])


def open_workbook(label: str, path: Path) -> None:
    """Opens a workbook of before 2007, which lays out all of its sheets; raises as ``copy_query`` where it may not."""
    _run(label, {"kind": "workbook", "path": str(path), "file_bytes": 0}, [path])


def _run(label: str, job: dict[str, Any], files: Iterable[Path]) -> None:
    import psutil

    limits = input_limits()
    seconds = limits.seconds + sum(file.stat().st_size for file in files if file.exists()) / _MB
    job["memory_bytes"] = limits.memory_mb * _MB
    process = psutil.Popen(
        [sys.executable, "-P", str(Path(isolated.__file__))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
        words = _last_words(process, seconds)
    except subprocess.TimeoutExpired:
        raise _beyond(label, f"had not ended after {seconds:.0f} seconds", "SECONDS") from None
    finally:
        process.kill()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    if not words:
        raise _beyond(label, "ended the process that ran it", "MEMORY_MB")
    _raise_for(label, json.loads(words))


def _last_words(process: psutil.Popen, seconds: float) -> str:
    """What the process printed. Its standard input stays open: it ends when that is closed."""
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(process.stdout.readline()), daemon=True)
    reader.start()
    began = time.monotonic()
    while reader.is_alive():
        reader.join(_SECONDS_BETWEEN_LOOKS)
        if reader.is_alive() and _is_over(process, time.monotonic() - began, seconds):
            process.kill()
            reader.join()
            raise subprocess.TimeoutExpired("query", seconds)
    return read[0]


def _is_over(process: psutil.Popen, elapsed: float, seconds: float) -> bool:
    """Whether it took so many seconds of the processor, or has waited as long for something else."""
    import psutil

    try:
        times = process.cpu_times()
    except psutil.Error:  # it has just ended
        return False
    used = times.user + times.system
    return used > seconds or (elapsed > seconds and used < _WAITING_SHARE * elapsed)


def _raise_for(label: str, problem: dict[str, str]) -> None:
    kind, words = problem.get("kind"), problem.get("words", "")
    if kind == "memory":
        raise _beyond(label, "needs more memory than it may take", "MEMORY_MB")
    if kind == "machine" and "File too large" in words:
        raise _beyond(label, "writes more than it may", "DISK_MB")
    if kind == "machine" and "No files found" not in words:
        raise not_now(label, words)
    if kind:
        raise Refused(f"{label} cannot be read as a table: {isolated.plain(words)}")


def _beyond(label: str, problem: str, setting: str) -> DataRetrievalError:
    name = f"HEALTHSEG_INPUT_LIMITS__{setting}"
    return DataRetrievalError(
        f"{label} {problem}: make it simpler, or allow more by {name}",
        parameter="portfolio",
        value_provided=label,
        validation_rule=name,
    )
