"""What a portfolio's tables are read from: files and queries, as relations that DuckDB can scan.

A part is one file or one query. Its token names its state, by which unchanged files are recognised without reading them.
"""

from __future__ import annotations

import csv
import errno
import functools
import gzip
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from healthseg.data.engines import SOURCE, EngineAddress
from healthseg.errors import DataRetrievalError, machine_fault
from healthseg.settings.base import fingerprint

if TYPE_CHECKING:
    from healthseg.data.queries import Query

CHUNK_BYTES = 1 << 20
_LONGEST_HEADER = 1 << 25


class Refused(Exception):
    """A table that cannot be used, with the reason in words."""


# how files end, by what they are
FORMATS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".xls": "xlsx",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".db": "sqlite",
}


def split_name(name: str) -> tuple[str, str | None]:
    """A file's name without its endings, and its format; None where it is of no known format.

    >>> split_name("customers.csv.gz"), split_name("Tickets.XLSX"), split_name("notes.txt")
    (('customers', 'csv'), ('Tickets', 'xlsx'), ('notes.txt', None))
    """
    lowered = name.lower()
    plain = lowered.removesuffix(".gz")
    for ending, kind in FORMATS.items():
        if plain.endswith(ending) and (plain == lowered or kind in ("csv", "json")):
            return name[: len(plain) - len(ending)], kind
    return name, None


OPEN_QUOTATION = 'a quotation begins that does not end where it should; end it, or write a " within a value twice'


@dataclass(frozen=True)
class SourcePart:
    """One file of a table, or one query. Without a token its state is unknown and it is read at each opening."""

    label: str
    path: Path | None = None
    query: Query | str | None = None
    # text of others, run in a process of its own: the folders that it may read, and a DuckDB file as ``source``
    isolated_in: tuple[Path, ...] | None = None
    attach: str | None = None
    token: str | None = None
    # a file's size and time of change when it was located
    stat: str | None = None
    # the sheet of a workbook, or the table of a database file
    inner: str | None = None
    # what is read in place of a file that DuckDB does not read, or not as it is
    copy: Path | None = None
    note: str | None = None
    # lines before the header
    skipped: int = 0
    # the engine that the query is for, where its rows stay there
    engine: EngineAddress | None = None

    @property
    def format(self) -> str:
        if self.path is None:
            return "query"
        return split_name(self.path.name)[1] or "csv"

    @property
    def scanned(self) -> Path:
        """The file that DuckDB reads."""
        assert self.path is not None
        return self.copy or self.path

    @property
    def columnar(self) -> bool:
        """Whether DuckDB reads a Parquet file."""
        return self.path is not None and self.scanned.suffix == ".parquet"

    @functools.cached_property
    def header(self) -> tuple[str, tuple[str, ...]]:
        """A CSV file's delimiter and column names, from its first line."""
        return csv_header(self.scanned)

    @property
    def shape(self) -> tuple[Any, ...]:
        """Equal for parts that one scan can read."""
        if self.path is None:
            return (self.label,)
        return () if self.columnar else self.header

    @property
    def relation(self) -> str:
        return scan([self])

    @property
    def changed(self) -> bool:
        """Whether the file was replaced since it was located."""
        return self.path is not None and not (
            self.path.exists() and stat_token(self.path) == self.stat
        )


@dataclass(frozen=True)
class Sources:
    """The parts of each table, the settings beside them, and notes for ``check``."""

    path: str
    folder: Path
    identity: str
    parts: dict[str, tuple[SourcePart, ...]]
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    # a DuckDB file to attach, read-only, as ``source``
    attach: str | None = None
    # whether derived data and ledger may be beside the tables
    local: bool = True
    # where the files lie that the parts read
    folders: tuple[Path, ...] = ()

    def token(self, table: str) -> str | None:
        """Equal for equal files: their names, sizes and times of change; None where a part has no token."""
        tokens = [part.token for part in self.parts.get(table, ())]
        return None if None in tokens else fingerprint(tokens)


def quoted(text: str) -> str:
    """A text as an SQL literal.

    >>> quoted("it's")
    "'it''s'"
    """
    return "'" + str(text).replace("'", "''") + "'"


def stat_token(path: Path) -> str:
    """A file's name, size, times of change (of content and of record) and inode; of a database file with what is yet to
    be merged into it.

    Other content of the same size and time is seen by the record's time or by the inode.
    """
    stat = os.stat(path)
    parts = [path.name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    journal = path.with_name(path.name + "-wal")
    # SQLite makes an empty one when it reads
    if journal.is_file() and (stat := os.stat(journal)).st_size:
        parts += [stat.st_size, stat.st_mtime_ns]
    return ":".join(map(str, parts))


def file_part(path: Path, folder: Path, inner: str | None = None) -> SourcePart:
    """A file as a part of a table; ``inner`` names a sheet of a workbook or a table of a database file."""
    label = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
    stat = stat_token(path)
    label = f"{label}, {inner}" if inner else label
    return SourcePart(label, path, token=f"{label}:{stat}", stat=stat, inner=inner)


def open_bytes(path: Path) -> gzip.GzipFile | IO[bytes]:
    """A file's bytes, unpacked."""
    return gzip.open(path) if path.name.lower().endswith(".gz") else open(path, "rb")


def csv_header(path: Path) -> tuple[str, tuple[str, ...]]:
    """The delimiter (comma, semicolon, tab or bar, whichever the first line has most of) and the column names."""
    with open_bytes(path) as handle:
        line = handle.readline(_LONGEST_HEADER).decode("utf-8-sig", errors="replace")
    first = line.partition("\r")[0].rstrip("\n")
    delimiter = max(",;\t|", key=first.count)
    return delimiter, tuple(column_names(next(csv.reader([first], delimiter=delimiter), [])))


def column_names(header: Sequence[Any]) -> list[str]:
    """The names in a header, each once: an empty one is numbered, and one that comes again says where.

    >>> column_names(["a", "", "a"])
    ['a', 'column_2', 'a (column 3)']
    """
    names: dict[str, None] = {}
    for number, value in enumerate(header, start=1):
        name = "" if value is None else str(value).strip()
        name = name or f"column_{number}"
        names[f"{name} (column {number})" if name in names else name] = None
    return list(names)


def scan(parts: Sequence[SourcePart], *, filename: bool = False, rejects: str | None = None) -> str:
    """A relation over parts of one format and the same columns; lines without its columns go to the table ``rejects``."""
    first = parts[0]
    if first.engine is not None:
        return SOURCE
    if first.path is None:
        text = first.query if isinstance(first.query, str) else first.query and first.query.text
        return f"({text}\n)"
    files = "[" + ", ".join(quoted(str(part.scanned)) for part in parts) + "]"
    named = ", filename = true" if filename else ""
    if first.columnar:
        return f"read_parquet({files}, file_row_number = true{named})"
    delimiter, names = first.header
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in names)
    if rejects:
        named += (
            f", store_rejects = true, rejects_table = '{rejects}', rejects_scan = '{rejects}_scan'"
        )
    return (
        f"read_csv({files}, auto_detect = false, header = true, delim = {quoted(delimiter)}, quote = '\"', "
        f"escape = '\"', columns = {{{columns}}}, ignore_errors = true{named})"
    )


def unreadable(label: str, problem: OSError) -> DataRetrievalError:
    """A file that cannot be read now: nothing is concluded from that, and nothing cached."""
    if fault := machine_fault(problem):
        return not_now(label, fault, "")
    words = problem.strerror or str(problem)
    denied = problem.errno == errno.EACCES
    way = "allow this user to read it" if denied else "try again when it can be read"
    return not_now(label, words, way)


def not_now(
    label: str, words: str, way: str = "try again, with more memory or room on the disk"
) -> DataRetrievalError:
    """The error of what could not be read for a cause that may pass."""
    return DataRetrievalError(
        f"{label} could not be read: {words}{'; ' if way else ''}{way}",
        parameter="portfolio",
        value_provided=label,
    )
