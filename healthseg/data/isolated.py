"""Runs one query of others in a process of its own, whose memory, time and files are limited.

A query can build texts of gigabytes, recurse without an end or wait on a pipe, and a damaged database can end the
process that reads it. This file is started by its path: it imports the engine alone. Standard input is one line of JSON
and stays open as long as the process that started it lives; the rows go to a file, what went wrong to standard output.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
from typing import Any

# read again by DuckDB and by Parquet as what it was: Parquet has no whole numbers beyond 64 bits
_WIDE = ("HUGEINT", "UHUGEINT")


def main() -> int:
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_starter, daemon=True).start()
    _limit(job["memory_bytes"], job["file_bytes"])
    try:
        _DO[job["kind"]](job)
    except MemoryError:
        problem: dict[str, str] = {"kind": "memory", "words": "out of memory"}
    except OSError as error:
        problem = {"kind": "machine", "words": error.strerror or str(error)}
    except Exception as error:
        problem = {"kind": _kind_of(error), "words": str(error).partition("\n")[0]}
    else:
        problem = {}
    print(json.dumps(problem), flush=True)
    # the engine's threads are not waited for
    os._exit(0)


def _end_with_the_starter() -> None:
    sys.stdin.read()
    os._exit(1)


def _limit(memory_bytes: int, file_bytes: int) -> None:
    """Where the system knows such limits."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _duckdb(job: dict[str, Any]) -> None:
    """The rows of a SELECT as a Parquet file."""
    import duckdb

    with duckdb.connect(":memory:", config=job["config"]) as connection:
        for statement in job["statements"]:
            connection.execute(statement)
        select = job["select"]
        described = connection.execute(f"DESCRIBE {select}").fetchall()
        wide = [name.replace('"', '""') for name, kind, *_ in described if kind in _WIDE]
        if wide:
            casts = ", ".join(f'TRY_CAST("{name}" AS DECIMAL(38, 0)) AS "{name}"' for name in wide)
            select = f"SELECT * REPLACE ({casts}) FROM ({select}\n)"
        connection.execute(f"COPY ({select}\n) TO {job['target']} (FORMAT PARQUET)")


def _sqlite(job: dict[str, Any]) -> None:
    """A view or table of a SQLite file as a table ``rows`` of another one."""
    import sqlite3

    with contextlib.closing(sqlite3.connect(job["uri"], uri=True)) as connection:
        connection.execute("ATTACH ? AS copy", (job["target"],))
        connection.execute(f"CREATE TABLE copy.rows AS {job['select']}")
        connection.commit()


def _workbook(job: dict[str, Any]) -> None:
    """Whether a workbook can be opened within the limits."""
    import python_calamine

    python_calamine.CalamineWorkbook.from_path(job["path"])


def plain(words: str) -> str:
    """The engine's words without the kind of error before them."""
    return re.sub(r"^[A-Z][\w ]* Error: ", "", words)


def _kind_of(error: Exception) -> str:
    name = type(error).__name__
    kinds = {"OutOfMemoryException": "memory", "IOException": "machine"}
    if "unable to" in str(error) or "disk" in str(error):
        return "machine" if "malformed" not in str(error) else "content"
    return kinds.get(name, "content")


_DO = {"duckdb": _duckdb, "sqlite": _sqlite, "workbook": _workbook}

if __name__ == "__main__":
    sys.exit(main())
