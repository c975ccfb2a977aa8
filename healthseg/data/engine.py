"""The engine: DuckDB connections, and the SQL texts by name. Nothing above this folder runs SQL.

The texts under ``sql/`` are plain enough to be turned into other engines' dialects; what prepares tables for them is
written in Python, here and in ``validation``.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import hashlib
import importlib.resources
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import duckdb
import pandas as pd

from healthseg.data.engines import Engine
from healthseg.data.sources import SourcePart, quoted
from healthseg.errors import DataRetrievalError
from healthseg.periods import zone_names, zone_offsets
from healthseg.settings.in_force import input_limits

# leaves room for the process itself within 2 GiB
BUILD_MEMORY = "1300MB"
QUERY_MEMORY = "4GB"
_INTERRUPT_SECONDS = 0.5
# nothing is fetched while it runs, and no variable of the caller's is a table
CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "enable_object_cache": "true",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
}
NO_ACCOUNTS = pd.DataFrame({"client_id": pd.Series(dtype="str"), "zone": pd.Series(dtype="str")})

# what takes statements in DuckDB's SQL
Executes = duckdb.DuckDBPyConnection | Engine
Connect = Callable[[bool], AbstractContextManager[duckdb.DuckDBPyConnection]]


@functools.cache
def sql_text(name: str) -> str:
    """The text of ``sql/<name>.sql``.

    >>> sql_text("facts/feature_life").startswith("-- Per customer, user and feature")
    True
    """
    folder = importlib.resources.files("healthseg.data").joinpath("sql")
    return folder.joinpath(*f"{name}.sql".split("/")).read_text("utf-8")


@functools.cache
def sql_hash(names: tuple[str, ...]) -> str:
    """Part of the key of derived data, so that a changed text never meets old results."""
    return hashlib.sha256("\0".join(sql_text(name) for name in names).encode()).hexdigest()[:16]


def connect(
    spill: Path,
    *,
    memory: str = QUERY_MEMORY,
    folders: Sequence[Path] | None = None,
    attach: str | None = None,
    ordered: bool = True,
    spill_mb: int | None = None,
) -> duckdb.DuckDBPyConnection:
    """A private in-memory database: UTC, bounded memory, spilling to ``spill``; no extension is downloaded.

    Rows keep their order unless not ``ordered``, which bounds the memory of a large file. With ``folders`` it may read
    what others wrote: files are reached below these folders alone, nothing can be attached, installed or loaded, and
    the configuration is locked. ``spill_mb`` bounds what it spills.
    """
    connection = duckdb.connect(":memory:", config=CONFIG | {"memory_limit": memory})
    # in a notebook without ipywidgets DuckDB draws no bar, and setting this raises an error
    if connection.execute("SELECT current_setting('enable_progress_bar')").fetchall()[0][0]:
        connection.execute("SET enable_progress_bar = false")
    if not ordered:
        connection.execute("SET preserve_insertion_order = false")
    for statement in limiting(spill, folders=folders, attach=attach, spill_mb=spill_mb):
        connection.execute(statement)
    return connection


class Cursors:
    """The connection of a process, opened when it is first needed: a cursor for each thread."""

    def __init__(self, connect: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        self._connect = connect
        self._database: duckdb.DuckDBPyConnection | None = None
        self._of_thread = threading.local()
        self._guard = threading.RLock()

    def own(self) -> duckdb.DuckDBPyConnection:
        """This thread's cursor."""
        with self._guard:
            if self._database is None:
                self._database = self._connect()
            opened = getattr(self._of_thread, "opened", None)
            if opened is None or opened[0] is not self._database:
                opened = self._of_thread.opened = self._database, self._database.cursor()
        return opened[1]

    def close(self) -> None:
        """Closes the connection; it opens again when it is next needed."""
        with self._guard:
            if self._database is not None:
                self._database.close()
                self._database = None


def limiting(
    spill: Path, *, folders: Sequence[Path] | None, attach: str | None, spill_mb: int | None
) -> list[str]:
    """The statements that a connection begins with, those that limit it last."""
    statements = ["SET GLOBAL TimeZone = 'UTC'", f"SET temp_directory = {quoted(str(spill))}"]
    if spill_mb is not None:
        statements.append(f"SET max_temp_directory_size = '{spill_mb}MB'")
    if attach is not None:
        statements.append(f"ATTACH {quoted(attach)} AS source (READ_ONLY)")
    if folders is not None:
        allowed = ", ".join(quoted(str(folder.resolve())) for folder in [*folders, spill])
        statements += [
            f"SET allowed_directories = [{allowed}]",
            "SET enable_external_access = false",
            "SET lock_configuration = true",
        ]
    return statements


def parquet(paths: Iterable[Path]) -> str:
    """A relation over Parquet files, in their order."""
    return "read_parquet([" + ", ".join(quoted(str(path)) for path in paths) + "])"


def run(
    connection: duckdb.DuckDBPyConnection, name: str, frames: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """The result of ``sql/<name>.sql`` over the connection's views and the frames passed by name."""
    for key, frame in frames.items():
        connection.register(key, frame)
    try:
        return connection.execute(sql_text(name)).df()
    finally:
        for key in frames:
            connection.unregister(key)


def has_enums(engine: Executes) -> bool:
    """Whether words can become ENUMs, which makes grouping fast; other engines have none for a query's words."""
    return isinstance(engine, duckdb.DuckDBPyConnection)


def fetch(
    engine: Engine, text: str, connection: duckdb.DuckDBPyConnection, name: str, fields: str
) -> None:
    """The rows of a query of an engine as a temporary table in DuckDB, with these fields and types."""
    connection.register("fetched", engine.execute(text).table)
    casts = ", ".join(
        "CAST({0} AS {1}) AS {0}".format(*field.split(" ")) for field in fields.split(", ")
    )
    try:
        connection.execute(f"CREATE TEMP TABLE {name} AS SELECT {casts} FROM fetched")
    finally:
        connection.unregister("fetched")


def create_table(
    connection: Executes,
    name: str,
    frame: pd.DataFrame,
    select: str = "SELECT * FROM frame",
) -> None:
    """The table ``name`` with the rows of a select over ``frame``; all cursors of the connection see it."""
    connection.register("frame", frame)
    try:
        connection.execute(f"CREATE OR REPLACE TABLE {name} AS {select}")
    finally:
        connection.unregister("frame")


def create_accounts(connection: Executes, accounts: pd.DataFrame) -> None:
    """``accounts``: the known customers with their time zones."""
    columns = ("client_id", "zone")
    casts = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" for name in columns)
    create_table(connection, "accounts", accounts, f"SELECT {casts} FROM frame")


def create_offsets(
    connection: Executes, start: dt.date, end: dt.date, id_type: str = "VARCHAR"
) -> None:
    """``account_offsets``: the offset from UTC of each of ``accounts``, over these days."""
    rows = connection.execute("SELECT DISTINCT zone FROM accounts").fetchall()
    names = ["zone", "from_epoch", "until_epoch", "offset_seconds"]
    zones = [zone for (zone,) in rows] or ["UTC"]
    offsets = pd.DataFrame(zone_offsets(zones, start, end), columns=names)
    create_table(
        connection,
        "account_offsets",
        offsets.astype(dict.fromkeys(names[1:], "int64")),
        f"SELECT CAST(a.client_id AS {id_type}) AS client_id, f.zone, f.from_epoch, f.until_epoch, f.offset_seconds "
        "FROM accounts AS a JOIN frame AS f ON f.zone = a.zone",
    )


def _known_zones() -> pd.DataFrame:
    """The IANA zones, each with its city in small letters where no other zone is named after it."""
    zones = pd.DataFrame({"zone": sorted(zone_names())})
    # Australia/North is no city, nor is US/Central
    regions = "Africa|America|Asia|Atlantic|Australia|Europe|Indian|Pacific"
    city = zones["zone"].str.extract(rf"^(?:{regions})/(?!North$|South$|West$|ACT$)([^/]+)$")[0]
    city = city.str.replace("_", " ").str.lower()
    return zones.assign(city=city.mask(city.duplicated(keep=False)))


class BuildConnection(contextlib.ExitStack):
    """The connection on which tables are cleaned and facts are built, opened when there is something to build.

    It holds what validation joins with: ``known_zones`` and ``accounts``. A portfolio whose files did not change opens
    no connection. ``connect`` provides it for the length of a block, with ``ordered`` as a parameter.
    """

    def __init__(self, connect: Connect) -> None:
        super().__init__()
        self._connect = connect
        self._accounts = NO_ACCOUNTS
        self._engine: Engine | None = None

    @functools.cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        connection = self.enter_context(self._connect(True))
        create_table(connection, "known_zones", _known_zones())
        create_accounts(connection, self._accounts)
        return connection

    @functools.cached_property
    def unordered(self) -> duckdb.DuckDBPyConnection:
        """A connection for writing large files, whose rows come in any order."""
        return self.enter_context(self._connect(False))

    @contextlib.contextmanager
    def within(self, label: str, files: Iterable[Path]) -> Iterator[None]:
        """Interrupts what runs on these connections when it takes more of the processor than files of this size may.

        Raises DataRetrievalError then: nothing follows from it for the content. A busy machine takes longer, not more.
        """
        limit = input_limits()
        megabytes = sum(file.stat().st_size for file in files if file.exists()) / 1_000_000
        ended = threading.Event()
        watch = threading.Thread(
            target=self._interrupt_unless, args=(ended, limit.seconds + megabytes), daemon=True
        )
        watch.start()
        try:
            yield
        except duckdb.InterruptException:
            raise DataRetrievalError(
                f"{label} could not be read within {limit.seconds + megabytes:.0f} seconds of the processor: make it smaller, or "
                "allow more by HEALTHSEG_INPUT_LIMITS__SECONDS",
                parameter="portfolio",
                value_provided=label,
            ) from None
        finally:
            ended.set()
            watch.join()

    def _interrupt_unless(self, ended: threading.Event, seconds: float) -> None:
        began = time.process_time()
        if ended.wait(seconds):
            return
        # again, since what comes between two statements is not interrupted
        while not ended.wait(_INTERRUPT_SECONDS):
            if time.process_time() - began > seconds:
                for name in {"connection", "unordered"} & set(vars(self)):
                    getattr(self, name).interrupt()

    def reading(self, part: SourcePart) -> Executes:
        """What reads a part of a table: DuckDB, or the engine that it lies in, with the known customers."""
        if part.engine is None:
            return self.connection
        if self._engine is None:
            driver = self.enter_context(part.engine.connected())
            self._engine = Engine(part.engine, driver, str(part.query))
            create_accounts(self._engine, self._accounts)
        return self._engine

    def set_accounts(self, accounts: pd.DataFrame) -> None:
        """From now on these are the known customers."""
        self._accounts = accounts
        if "connection" in vars(self):
            create_accounts(self.connection, accounts)
