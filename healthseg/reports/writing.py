"""Files that are there whole or not at all, and only where they were meant to be."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from healthseg.data import storage
from healthseg.errors import InvalidParameters

# names that Windows keeps for devices; ids have no dots
_RESERVED = re.compile(r"con|prn|aux|nul|com\d|lpt\d", re.IGNORECASE)


def output_folder(out: str | Path) -> Path:
    """The folder that reports go to, made if need be; refused where it cannot be written."""
    folder = Path(out).expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as problem:
        raise InvalidParameters(
            f"cannot write into {str(out)!r}: {problem.strerror or problem}; name another folder with --out",
            parameter="out",
            value_provided=str(out),
            validation_rule="a folder that can be written",
        ) from None
    return folder


def inside(folder: Path, *names: str) -> Path:
    """A path of plain names under a folder, made; refused where a symbolic link stands in the way."""
    path = folder
    for name in names:
        if (
            not name
            or name in (".", "..")
            or len(name.encode()) > 200
            or any(mark in name for mark in "/\\\0")
        ):
            raise InvalidParameters(
                f"{name[:80]!r} is not a valid file name",
                parameter="out",
                value_provided=name[:200],
                validation_rule="plain names of at most 200 bytes, without separators",
            )
        path = path / name
        if path.is_symlink():
            raise InvalidParameters(
                f"{path.relative_to(folder)} is a symbolic link, and links are not followed; remove it or name "
                "another folder with --out",
                parameter="out",
                value_provided=name,
                validation_rule="no symbolic links",
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def customer_folder(client_id: str) -> str:
    """The folder of a customer's reports: its id, with a mark where another id or the system could mean the same folder.

    >>> customer_folder("acme"), customer_folder("Acme"), customer_folder("con")
    ('acme', 'Acme~37036cd8', 'con~1143da2b')
    """
    if client_id == client_id.lower() and not _RESERVED.fullmatch(client_id):
        return client_id
    return f"{client_id}~{hashlib.sha256(client_id.encode()).hexdigest()[:8]}"


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    content = content.encode("utf-8") if isinstance(content, str) else content
    with storage.writing(path) as temporary:
        temporary.write_bytes(content)


def write_folder(path: Path, files: Mapping[str, str]) -> None:
    """Write a folder of files so that it holds these and no others; each is written whole."""
    path.mkdir(exist_ok=True)
    for name, content in files.items():
        write_whole(inside(path, name), content)
    for left in path.iterdir():
        if left.name not in files and left.is_file():
            left.unlink()


def sweep(folder: Path) -> None:
    """Remove what processes that were killed had begun to write, in a folder and those below."""
    storage.sweep(folder, *(path for path in folder.rglob("*") if path.is_dir()))
