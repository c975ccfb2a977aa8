"""Excel workbooks: a sheet as a Parquet file, read only where it is of modest size."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import itertools
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from healthseg.data.isolation import open_workbook
from healthseg.data.sources import CHUNK_BYTES, Refused, SourcePart, column_names, split_name
from healthseg.errors import hint
from healthseg.settings.in_force import input_limits

if TYPE_CHECKING:
    from healthseg.data.tables import TableContract

# rows above the header: a title, a date of export
_TITLE_ROWS = 20
HEADER_LINE = b"header_line"
_REFERENCE = re.compile(rb"""\br\s*=\s*["']([A-Za-z]{0,8})([0-9]{1,12})["']""")
_ROW = re.compile(rb"<(?:\w+:)?row\b")
# with which a workbook of before 2007 begins
_OLD = bytes.fromhex("d0cf11e0a1b11ae1")
_LONGEST_REFERENCE, _LONGEST_TAG = 64, 1 << 16
_CELL = re.compile(rb"<(?:\w+:)?c\b")


def write_sheet(part: SourcePart, target: Path, table: TableContract | None) -> None:
    import pyarrow.parquet as pq

    from healthseg.data import columns as arrow

    required = [column.name for column in table.columns if column.required] if table else []
    header, names, rows = _sheet(part, required)
    content = arrow.rows(names, rows)
    pq.write_table(content.replace_schema_metadata({HEADER_LINE: str(header + 1)}), target)


def sheet_names(path: Path) -> list[str]:
    """The sheets of a workbook. Raises Refused for a file that is none."""
    return list(_workbook(path, path.name).sheet_names)


def _workbook(path: Path, label: str) -> Any:
    import python_calamine

    with _explained(label):
        with open(path, "rb") as file:
            old = file.read(len(_OLD)) == _OLD
        if old:
            open_workbook(label, path)
        else:
            _require_modest(path, label)
        return python_calamine.CalamineWorkbook.from_path(str(path))


@contextlib.contextmanager
def _explained(label: str) -> Iterator[None]:
    """Turns what the libraries say of a workbook into a refusal."""
    import python_calamine

    try:
        yield
    except python_calamine.PasswordError:
        raise Refused(f"{label} is protected by a password: save it without one") from None
    except (RuntimeError, lzma.LZMAError) as problem:
        raise Refused(f"{label} is packed in a way that is not read: {problem}") from None
    except (
        python_calamine.CalamineError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
    ) as problem:
        raise Refused(f"{label} is not an Excel workbook: {problem}") from None
    except BaseException as problem:
        # what the library did not expect in a file ends it with an exception of this name alone
        if type(problem).__name__ != "PanicException":
            raise
        raise Refused(f"{label} is not an Excel workbook that can be read") from None


def _require_modest(path: Path, label: str) -> None:
    """Raises Refused for a workbook that takes more than the limits where it is unpacked or laid out in memory."""
    limits = input_limits()
    unpacked, most = 0, limits.workbook_mb * 1_000_000
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            # what it says of itself may be a lie: the library that reads it goes by what there is
            member.file_size, member.CRC = most + 1, None  # type: ignore[assignment]
            area = _CellArea()
            with archive.open(member) as file:
                while chunk := file.read(CHUNK_BYTES):
                    unpacked += len(chunk)
                    area.add(chunk)  # a sheet may have any name
                    if unpacked > most:
                        raise _too_large(
                            label, f"unpacks to more than {limits.workbook_mb:,} MB", "WORKBOOK_MB"
                        )
                    if area.cells > limits.sheet_cells:
                        raise _too_large(
                            label,
                            f"has a sheet of {area.cells:,} cells, blank ones included, and {limits.sheet_cells:,} are read",
                            "SHEET_CELLS",
                        )


def _too_large(label: str, problem: str, setting: str) -> Refused:
    return Refused(
        f"{label} {problem}: save the table as CSV or Parquet, or allow more by HEALTHSEG_INPUT_LIMITS__{setting}"
    )


@dataclass
class _CellArea:
    """The rectangle around a sheet's cells, read from its XML block by block."""

    rows: tuple[int, int] | None = None
    columns: tuple[int, int] | None = None
    # cells of a row need not say where they are
    _cells_of_row: int = 0
    _rest: bytes = b""

    def add(self, block: bytes) -> None:
        text = self._rest + block
        last_tag = text.rfind(b"<")
        if len(text) - last_tag < _LONGEST_TAG:
            text, self._rest = text[:last_tag], text[last_tag:]
        else:
            self._rest = text[-_LONGEST_REFERENCE:]
        references = set(_REFERENCE.findall(text))
        for letters in {letters for letters, _ in references if letters}:
            column = functools.reduce(
                lambda number, byte: number * 26 + (byte | 32) - 96, letters, 0
            )
            self.columns = _around(self.columns, column)
        for digits in {digits for _, digits in references}:
            self.rows = _around(self.rows, int(digits))
        for number, row in enumerate(_ROW.split(text)):
            cells = len(_CELL.findall(row))
            self._cells_of_row = cells + (0 if number else self._cells_of_row)
            if self._cells_of_row:
                self.columns = _around(self.columns, self._cells_of_row)

    @property
    def cells(self) -> int:
        if self.rows is None or self.columns is None:
            return 0
        return (self.rows[1] - self.rows[0] + 1) * (self.columns[1] - self.columns[0] + 1)


def _around(ends: tuple[int, int] | None, value: int) -> tuple[int, int]:
    low, high = ends or (value, value)
    return min(low, value), max(high, value)


def _sheet(part: SourcePart, columns: Sequence[str]) -> tuple[int, list[str], list[list[Any]]]:
    """The position of the header, the names in it, and the rows below, without blank ones at the end."""
    assert part.path is not None
    workbook = _workbook(part.path, part.label)
    sheets = list(workbook.sheet_names)
    wanted = part.inner or split_name(part.path.name)[0]
    lowered = {name.lower(): name for name in sheets}
    if part.inner and part.inner.lower() not in lowered:
        raise Refused(
            f"{part.label}: no such sheet{hint(part.inner, sheets)}; it holds {', '.join(sheets)}"
        )
    with _explained(part.label):
        content = workbook.get_sheet_by_name(lowered.get(wanted.lower(), sheets[0]))
        cells = content.to_python(skip_empty_area=True)
    start = content.start or (0, 0)
    rows = [[None] * len(row) for row in itertools.repeat((), start[0])]
    rows += [[_cell(value) for value in row] for row in cells]
    filled = [number for number, row in enumerate(rows) if any(value is not None for value in row)]
    if not filled:
        raise Refused(f"{part.label} is empty: not even a header")
    header = _header_of(rows, filled[0], columns)
    names = column_names(rows[header])
    return header, names, rows[header + 1 : filled[-1] + 1]


def _header_of(rows: Sequence[Sequence[Any]], first: int, columns: Sequence[str]) -> int:
    """The first row that holds the columns, among the first; else the first that is not blank."""
    for number, row in enumerate(rows[: first + _TITLE_ROWS]):
        words = {str(value).strip() for value in row}
        if columns and words >= set(columns):
            return number
    return first


def _cell(value: Any) -> Any:
    """A cell's value: blank is missing, a whole number is whole, an instant without a time of day a day."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date()
    return value
