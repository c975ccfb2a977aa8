"""What a portfolio's tables are read from: files and queries, as relations that DuckDB can scan.

A part is one file or one query. Its token names its state, by which unchanged files are recognised without reading them.
"""

from __future__ import annotations

import codecs
import csv
import functools
import gzip
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from healthseg.settings.base import fingerprint

_CHUNK_BYTES = 1 << 20


class Refused(Exception):
    """A table that cannot be used, with the reason in words."""


@dataclass(frozen=True)
class Part:
    """One file of a table, or one query. Without a token its state is unknown and it is read at each opening."""

    label: str
    path: Path | None = None
    query: str | None = None
    token: str | None = None
    # a file's size and time of change when it was located
    stat: str | None = None

    @property
    def format(self) -> str:
        if self.path is None:
            return "query"
        return "parquet" if self.path.name.endswith(".parquet") else "csv"

    @functools.cached_property
    def header(self) -> tuple[str, tuple[str, ...]]:
        """A CSV file's delimiter and column names, from its first line."""
        assert self.path is not None
        return csv_header(self.path)

    @property
    def shape(self) -> tuple[Any, ...]:
        """Equal for parts that one scan can read."""
        if self.format == "csv":
            return self.header
        return () if self.format == "parquet" else (self.label,)

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
    parts: dict[str, tuple[Part, ...]]
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    # a DuckDB file to attach, read-only, as ``source``
    attach: str | None = None
    # whether derived data and ledger may be beside the tables
    local: bool = True
    # the folder of the files that queries name, where it is not ``folder``
    search: Path | None = None

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
    stat = os.stat(path)
    return f"{path.name}:{stat.st_size}:{stat.st_mtime_ns}"


def file_part(path: Path, folder: Path) -> Part:
    label = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
    stat = stat_token(path)
    return Part(label, path, token=f"{label}:{stat}", stat=stat)


def _open_bytes(path: Path) -> gzip.GzipFile | IO[bytes]:
    return gzip.open(path) if path.name.endswith(".gz") else open(path, "rb")


def csv_header(path: Path) -> tuple[str, tuple[str, ...]]:
    """The delimiter (comma, semicolon, tab or bar, whichever the first line has most of) and the column names."""
    with _open_bytes(path) as handle:
        first = handle.readline(_CHUNK_BYTES).decode("utf-8-sig", errors="replace").rstrip("\r\n")
    delimiter = max(",;\t|", key=first.count)
    names: list[str] = []
    for number, name in enumerate(next(csv.reader([first], delimiter=delimiter), []), start=1):
        name = name.strip() or f"column_{number}"
        names.append(f"{name}_{number}" if name in names else name)
    return delimiter, tuple(names)


def scan(parts: Sequence[Part], *, filename: bool = False, rejects: str | None = None) -> str:
    """A relation over parts of one format and the same columns; lines without its columns go to the table ``rejects``."""
    if parts[0].format == "query":
        return f"({parts[0].query}\n)"
    files = "[" + ", ".join(quoted(str(part.path)) for part in parts) + "]"
    named = ", filename = true" if filename else ""
    if parts[0].format == "parquet":
        return f"read_parquet({files}, file_row_number = true{named})"
    delimiter, names = parts[0].header
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in names)
    if rejects:
        named += (
            f", store_rejects = true, rejects_table = '{rejects}', rejects_scan = '{rejects}_scan'"
        )
    return (
        f"read_csv({files}, auto_detect = false, header = true, delim = {quoted(delimiter)}, quote = '\"', "
        f"escape = '\"', columns = {{{columns}}}, ignore_errors = true{named})"
    )


def require_readable(part: Part) -> None:
    """Raises Refused, with the way out, for a file that is empty, not UTF-8, cut off or no Parquet."""
    if part.path is None:
        return
    try:
        if part.path.stat().st_size == 0:
            raise Refused(f"{part.label} is empty: not even a header")
        if part.format == "csv":
            _require_text(part.path, part.label)
            return
        with open(part.path, "rb") as handle:
            if handle.read(4) != b"PAR1":
                raise Refused(f"{part.label} is not a Parquet file, whatever its name says")
    except (gzip.BadGzipFile, EOFError, zlib.error) as problem:
        raise Refused(f"{part.label} is not a whole gzip file: {problem}") from None
    except OSError as problem:
        raise Refused(f"{part.label} cannot be read: {problem.strerror or problem}") from None


def _require_text(path: Path, label: str) -> None:
    decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
    with _open_bytes(path) as handle:
        while chunk := handle.read(_CHUNK_BYTES):
            if b"\0" in chunk:
                raise Refused(
                    f"{label} is not a text file: it contains NUL bytes (UTF-16 or binary); save it as CSV in UTF-8"
                )
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as problem:
                start = max(0, problem.start - len(decoder.getstate()[0]))
                line += chunk[:start].count(b"\n")
                byte = problem.object[problem.start : problem.start + 1].hex()
                raise Refused(
                    f"{label}, line {line} is not UTF-8 (byte 0x{byte}); convert it with: "
                    f"iconv -f WINDOWS-1252 -t UTF-8 {path.name}"
                ) from None
            line += chunk.count(b"\n")
    if decoder.getstate()[0]:
        raise Refused(f"{label}, line {line} ends within a UTF-8 character: the file is cut off")
