"""The store beside a portfolio: derived data under keys that say what they were made from.

Everything is written to a temporary name, flushed to disk and renamed, so that a
reader, another process or a power cut never meets half a file. Two processes that
make the same thing write the same bytes under the same key: the last rename wins.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from healthseg.settings import fingerprint

if TYPE_CHECKING:
    import pandas as pd

FOLDER = ".healthseg"
_DAY_SECONDS = 86_400


def writable(folder: Path) -> bool:
    """Whether files can be made in ``folder``; asked by trying, since modes tell a superuser nothing."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".healthseg-"):
            return True
    except OSError:
        return False


def cache_folder() -> Path:
    """Where derived data of read-only portfolios go: ``HEALTHSEG_CACHE``, else the platform's cache."""
    if os.environ.get("HEALTHSEG_CACHE"):
        return Path(os.environ["HEALTHSEG_CACHE"])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "healthseg"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "healthseg"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "healthseg"


def root_for(folder: Path, identity: str, *, local: bool = True) -> Path:
    """The folder of store and ledger: the portfolio's own, else one in the cache named by ``identity``."""
    if local and writable(folder / FOLDER if (folder / FOLDER).is_dir() else folder):
        return folder
    root = cache_folder() / fingerprint(identity)
    root.mkdir(parents=True, exist_ok=True)
    return root


class Store:
    """Frames and JSON by level and key, below ``root/.healthseg``.

    >>> import tempfile
    >>> store = Store(Path(tempfile.mkdtemp()))
    >>> store.put_json("responses", "abc", {"score": 82})
    >>> store.get_json("responses", "abc"), store.get_json("responses", "other")
    ({'score': 82}, None)
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER

    def path(self, level: str, key: str, suffix: str = "") -> Path:
        """The place of a key; keys are made by the product, never by a reader."""
        return self.folder / level / f"{key}{suffix}"

    @contextlib.contextmanager
    def writing(self, target: Path) -> Iterator[Path]:
        """A temporary path beside ``target``, renamed to it when the block ends well."""
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{time.monotonic_ns()}")
        try:
            yield temporary
            with open(temporary, "rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)

    def put_json(self, level: str, key: str, value: Any) -> None:
        with self.writing(self.path(level, key, ".json")) as temporary:
            temporary.write_text(json.dumps(value, separators=(",", ":")), encoding="utf-8")

    def get_json(self, level: str, key: str) -> Any | None:
        path = self.path(level, key, ".json")
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            found = json.loads(path.read_text(encoding="utf-8"))
            self.in_use(path)
            return found
        return None

    def put_frame(self, level: str, key: str, frame: pd.DataFrame) -> None:
        with self.writing(self.path(level, key, ".parquet")) as temporary:
            frame.to_parquet(temporary, index=False)

    def get_frame(self, level: str, key: str) -> pd.DataFrame | None:
        from pyarrow.parquet import ParquetFile  # a response that was kept is found without it

        path = self.path(level, key, ".parquet")
        if not path.exists():
            return None
        self.in_use(path)
        with ParquetFile(path) as file:
            return file.read(use_threads=False).to_pandas(use_threads=False)

    def make_folder(self, target: Path, fill: Callable[[Path], None]) -> Path:
        """A folder that is there whole or not at all: filled under a temporary name, then renamed."""
        if target.is_dir():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        try:
            fill(temporary)
            try:
                os.rename(temporary, target)
            except OSError:
                if not target.is_dir():  # else another process made the same folder first
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return target

    def in_use(self, path: Path) -> None:
        """Marks a file that was read, once a day by its time of change: ``evict`` spares it."""
        with contextlib.suppress(
            OSError
        ):  # of another user's file, say: then it is made again some day
            if path.stat().st_mtime < time.time() - _DAY_SECONDS:
                os.utime(path)

    def evict(self, level: str, days: float, keep: set[str] = frozenset()) -> int:
        """Remove what was not written, nor read, for ``days``, except the names in ``keep``; returns how many."""
        limit, removed = time.time() - days * _DAY_SECONDS, 0
        for path in (self.folder / level).glob("*"):
            if path.name in keep or path.stat().st_mtime > limit:
                continue
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(
                missing_ok=True
            )
            removed += 1
        return removed
