"""Whether a file can be a table at all: not empty, text in UTF-8, or Parquet that opens."""

from __future__ import annotations

import codecs
import gzip
import zlib
from pathlib import Path

from healthseg.data.reading.sources import Part, open_bytes
from healthseg.data.reading.validation import Refused

_CHUNK = 1 << 20


def _read_text(path: Path, label: str) -> None:
    decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
    with open_bytes(path) as handle:
        while chunk := handle.read(_CHUNK):
            if b"\0" in chunk:
                raise Refused(
                    f"{label} is no text file: it holds NUL bytes (UTF-16 or binary); save it as CSV in UTF-8"
                )
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as problem:
                at = max(0, problem.start - len(decoder.getstate()[0]))
                line += chunk[:at].count(b"\n")
                bad = problem.object[problem.start : problem.start + 1]
                raise Refused(
                    f"{label}, line {line} is not UTF-8 (byte 0x{bad.hex()}); convert it with: "
                    f"iconv -f WINDOWS-1252 -t UTF-8 {path.name}"
                ) from None
            line += chunk.count(b"\n")
    if decoder.getstate()[0]:
        raise Refused(f"{label}, line {line} ends within a UTF-8 character: the file is cut off")


def require_readable(part: Part) -> None:
    """Raises Refused, with the way out, for a file that no table can be read from."""
    if part.path is None:
        return
    try:
        if part.path.stat().st_size == 0:
            raise Refused(f"{part.label} is empty: not even a header")
        if part.format == "csv":
            _read_text(part.path, part.label)
        else:
            with open(part.path, "rb") as handle:
                if handle.read(4) != b"PAR1":
                    raise Refused(f"{part.label} is not a Parquet file, whatever its name says")
    except (gzip.BadGzipFile, EOFError, zlib.error) as problem:
        raise Refused(f"{part.label} is not a whole gzip file: {problem}") from None
    except OSError as problem:
        raise Refused(f"{part.label} cannot be read: {problem.strerror or problem}") from None
