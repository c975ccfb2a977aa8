"""CSV files as programs write them: encodings, line ends and widths that DuckDB does not read, as copies that it does."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from healthseg.data.sources import (
    CHUNK_BYTES,
    OPEN_QUOTATION,
    Refused,
    SourcePart,
    open_bytes,
)
from healthseg.data.storage import is_whole, writing_noted
from healthseg.settings.in_force import input_limits

if TYPE_CHECKING:
    from healthseg.data.tables import TableContract

UTF8, UTF16, WINDOWS = "utf-8", "utf-16", "cp1252"
_WORDS = {UTF16: "UTF-16", WINDOWS: "Windows-1252"}
_FOREIGN = re.compile("[\udc80-\udcff]")
_MULTIBYTE = re.compile("[\x80-\ud7ff\ue000-\U0010ffff]")
# the line with which Excel names the separator
_SEPARATOR = re.compile(r'^\ufeff?"?sep=.{1,2}"?$', re.IGNORECASE)
# DuckDB takes seconds for each thousand columns beyond
_WIDE = 1_000
_OPENS = re.compile(rb'(?:^|[,;\t|\r\n])"\Z')
# beyond what the engine takes as one quotation, and as one line or one JSON object
_LONGEST_QUOTATION = 1 << 21
_LONGEST_LINE = 1 << 25
_UNPACKED_FREELY = 1 << 28


@dataclass(frozen=True)
class TextForm:
    """How a text file is written."""

    encoding: str = UTF8
    # some lines end with CR LF and others with LF, or all with CR
    uneven_ends: bool = False
    # lines before the header
    skipped: int = 0

    def path(self, target: Path) -> Path:
        """Where the copy of such a file lies: its name says what it was copied from."""
        return target.with_name(f"{target.name}.{self.encoding}.{self.skipped}.csv")


def prepare_text(
    part: SourcePart, target: Path, table: TableContract | None, *, fresh: bool
) -> SourcePart:
    """A CSV file as DuckDB reads it: a copy where it is not UTF-8, its line ends differ or it is wide.

    Raises Refused for what is no text, or is cut off.
    """
    copies = f"{target.name}.*.csv"
    if fresh or not all(is_whole(copy) for copy in target.parent.glob(copies)):
        form = text_form(part)
        copy = form.path(target)
        if form != TextForm() and not is_whole(copy):
            with writing_noted(copy) as temporary:
                recode(part, form, temporary)
    for copy in target.parent.glob(copies):
        encoding, skipped = copy.name.split(".")[-3:-1]
        words = _WORDS.get(encoding)
        note = words and f"{part.label} is not UTF-8: it was read as {words}"
        part = replace(part, copy=copy, note=note, skipped=int(skipped))
    names = part.header[1]
    require_columns(part.label, len(names))
    if all(name == f"column_{number}" for number, name in enumerate(names, start=1)):
        raise Refused(f"{part.label} is empty: not even a header")
    return part if table is None or len(names) <= _WIDE else _narrowed(part, table, target)


def text_form(part: SourcePart) -> TextForm:
    """How a file is written: in UTF-8, UTF-16 by its mark, else Windows-1252. Raises Refused for no or mixed text."""
    assert part.path is not None
    with open_bytes(part.path) as handle:
        if handle.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return TextForm(UTF16, uneven_ends=True)
    decoder = codecs.getincrementaldecoder(UTF8)("surrogateescape")
    foreign, multibyte, line, ends, returns, start = 0, False, 1, 0, 0, b""
    bounds = _TextBounds(part)
    with open_bytes(part.path) as handle:
        while chunk := handle.read(CHUNK_BYTES):
            bounds.add(handle, chunk, line)
            if b"\0" in chunk:
                raise Refused(
                    f"{part.label} is not a text file: it contains NUL bytes; save it as CSV in UTF-8"
                )
            text = decoder.decode(chunk) if decoder.getstate()[0] or not chunk.isascii() else ""
            if position := _FOREIGN.search(text):
                foreign = foreign or line + text.count("\n", 0, position.start())
            multibyte = multibyte or _MULTIBYTE.search(text) is not None
            start = start or chunk[:100]
            line += chunk.count(b"\n")
            ends += chunk.count(b"\r\n")
            returns += chunk.count(b"\r")
    if decoder.getstate()[0] and not foreign:
        raise Refused(
            f"{part.label}, line {line} ends within a UTF-8 character: the file is cut off"
        )
    if foreign and multibyte:
        raise Refused(
            f"{part.label}, line {foreign} is not UTF-8, other lines are: save the whole file in UTF-8"
        )
    first = re.split(rb"[\r\n]", start, maxsplit=1)[0].decode(errors="replace")
    skipped = 1 if _SEPARATOR.match(first) else 0
    uneven = (0 < ends < line - 1) or (line == 1 and returns > 0)
    return TextForm(WINDOWS if foreign else UTF8, uneven, skipped)


@dataclass
class _TextBounds:
    """A text file stays within the limits: what it unpacks to, and how long its lines are."""

    part: SourcePart
    times: float = field(default_factory=lambda: input_limits().unpacked_times)
    unpacked: int = 0
    of_line: int = 0
    # the line of a quotation that has not ended yet, and what came since
    quoted: int | None = None
    of_quotation: int = 0

    def add(self, handle: gzip.GzipFile | IO[bytes], chunk: bytes, line: int) -> None:
        """Raises Refused where a block is beyond them."""
        self.unpacked += len(chunk)
        packed = getattr(handle, "fileobj", None)
        if packed and self.unpacked > _UNPACKED_FREELY + self.times * packed.tell():
            raise Refused(
                f"{self.part.label} unpacks to more than {self.times:.0f} times its size: unpack it yourself if that is "
                "right, or allow more by HEALTHSEG_INPUT_LIMITS__UNPACKED_TIMES"
            )
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        self.of_line = len(chunk) - end - 1 + (self.of_line if end < 0 else 0)
        if self.of_line > _LONGEST_LINE:
            line += chunk.count(b"\n")
            raise Refused(
                f"{self.part.label}, line {line} is longer than {_LONGEST_LINE:,} bytes: is it one record a line?"
            )
        self._add_quotation(chunk, line)

    def _add_quotation(self, chunk: bytes, line: int) -> None:
        """The engine loses rows, and says nothing, where a quotation is longer than a block that it reads."""
        position = chunk.rfind(b'"')
        if position >= 0:
            begin = max(chunk.rfind(end, 0, position) for end in (b"\n", b"\r")) + 1
            upto = chunk[begin : position + 1]
            opens = _OPENS.search(upto) and upto.count(b'"') % 2
            self.quoted = line + chunk.count(b"\n", 0, position) if opens else None
            self.of_quotation = 0
        self.of_quotation += len(chunk) - position - 1
        if self.quoted and self.of_quotation > _LONGEST_QUOTATION:
            raise Refused(f"{self.part.label}, line {self.quoted}: {OPEN_QUOTATION}")


def require_columns(label: str, count: int) -> None:
    """Raises Refused for a table of more columns than the limit."""
    if count > input_limits().columns:
        raise Refused(
            f"{label} has {count:,} columns: keep those that are needed, or allow more by HEALTHSEG_INPUT_LIMITS__COLUMNS"
        )


def recode(part: SourcePart, form: TextForm, target: Path) -> None:
    """Writes the file in UTF-8 with LF at the ends of its lines. Raises Refused for a byte that is no character."""
    assert part.path is not None
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(form.encoding)(), True)
    line, skipped = 1, form.skipped
    with open_bytes(part.path) as source, open(target, "w", encoding=UTF8, newline="") as file:
        try:
            while chunk := source.read(CHUNK_BYTES):
                text = decoder.decode(chunk)
                file.write(text.partition("\n")[2] if skipped else text)
                line, skipped = line + text.count("\n"), 0
            file.write(decoder.decode(b"", final=True))
        except UnicodeDecodeError as problem:
            line += problem.object[: problem.start].count(b"\n")
            words = "UTF-16" if form.encoding == UTF16 else "UTF-8 or Windows-1252"
            raise Refused(
                f"{part.label}, line {line} is not {words} (byte 0x{problem.object[problem.start]:02x}): "
                "save it as CSV in UTF-8"
            ) from None


def _narrowed(part: SourcePart, table: TableContract, target: Path) -> SourcePart:
    """A wide file's copy with the columns of the contract alone."""
    narrow = target.with_name(f"{target.name}-narrow.csv")
    if not is_whole(narrow):
        with writing_noted(narrow) as temporary:
            _write_narrow(part, table, temporary)
    count = len(part.header[1])
    note = f"{part.label} has {count:,} columns; those that are not in the contract are not read"
    return replace(part, copy=narrow, note="; ".join(filter(None, [part.note, note])))


def _write_narrow(part: SourcePart, table: TableContract, target: Path) -> None:
    """A line with other columns than the header stays one."""
    delimiter, names = part.header
    positions = [position for position, name in enumerate(names) if name in table.names]
    with (
        open_bytes(part.scanned) as source,
        io.TextIOWrapper(source, encoding="utf-8-sig", newline="") as text,
        open(target, "w", encoding=UTF8, newline="") as file,
    ):
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        rows = csv.reader(text, delimiter=delimiter)
        try:
            next(rows)
            writer.writerow([names[position] for position in positions])
            for row in rows:
                whole = len(row) == len(names)
                ragged = row[:1] * (len(positions) + 1)
                writer.writerow([row[at] for at in positions] if whole else ragged)
        except csv.Error as problem:
            raise Refused(f"{part.label}, line {rows.line_num} is not CSV: {problem}") from None
