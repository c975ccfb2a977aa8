"""The engine: DuckDB connections, and the SQL texts by name. Nothing above this folder runs SQL.

The texts under ``sql/`` are plain enough to be turned into other engines' dialects;
what prepares tables for them is written here and in ``validation``.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
from collections.abc import Iterable
from pathlib import Path

import duckdb
import pandas as pd

from healthseg.data.reading.sources import quoted

BUILD_MEMORY = "1300MB"  # leaves room for the process itself within 2 GiB
QUERY_MEMORY = "4GB"


@functools.cache
def sql_text(name: str) -> str:
    """The text of ``sql/<name>.sql``.

    >>> sql_text("facts/feature_life").startswith("-- Per customer, user and feature")
    True
    """
    return (
        importlib.resources.files("healthseg.data")
        .joinpath("sql", *f"{name}.sql".split("/"))
        .read_text("utf-8")
    )


@functools.cache
def sql_hash(names: tuple[str, ...]) -> str:
    """What derived data are keyed by, so that a changed text never meets old results."""
    return hashlib.sha256("\0".join(sql_text(name) for name in names).encode()).hexdigest()[:16]


def connect(
    spill: Path,
    *,
    memory: str = QUERY_MEMORY,
    search: Path | None = None,
    attach: str | None = None,
) -> duckdb.DuckDBPyConnection:
    """A private in-memory database: UTC, bounded memory, spilling to ``spill``; ``search`` resolves relative paths."""
    connection = duckdb.connect(":memory:")
    for name, value in (
        ("TimeZone", "'UTC'"),
        ("memory_limit", quoted(memory)),
        ("temp_directory", quoted(str(spill))),
        ("enable_object_cache", "true"),
        ("autoinstall_known_extensions", "false"),
    ):
        connection.execute(f"SET {name} = {value}")
    # In a notebook without ipywidgets DuckDB draws no bar, and refuses to be told so.
    if connection.execute("SELECT current_setting('enable_progress_bar')").fetchone()[0]:
        connection.execute("SET enable_progress_bar = false")
    if search is not None:
        connection.execute(f"SET file_search_path = {quoted(str(search.resolve()))}")
    if attach is not None:
        connection.execute(f"ATTACH {quoted(attach)} AS source (READ_ONLY)")
    return connection


def parquet(paths: Iterable[Path]) -> str:
    """A relation over Parquet files, in their order."""
    return "read_parquet([" + ", ".join(quoted(str(path)) for path in paths) + "])"


def run(
    connection: duckdb.DuckDBPyConnection, name: str, frames: dict[str, pd.DataFrame]
) -> pd.DataFrame:
    """The result of ``sql/<name>.sql`` over the connection's views and the frames given by name."""
    for key, frame in frames.items():
        connection.register(key, frame)
    try:
        return connection.execute(sql_text(name)).df()
    finally:
        for key in frames:
            connection.unregister(key)
