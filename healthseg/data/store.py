"""The former store: JSON and frames by level and key, for code that has not switched to ``portfolio.cache`` yet."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Container
from pathlib import Path
from typing import TYPE_CHECKING, Any

from healthseg.data import storage
from healthseg.data.storage import FOLDER, cache_folder, root_for, writable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FOLDER", "Store", "cache_folder", "root_for", "writable"]


class Store:
    """Frames and JSON by level and key, below ``root/.healthseg``. Deprecated: ``healthseg.data.cache.Cache``.

    >>> import tempfile
    >>> store = Store(Path(tempfile.mkdtemp()))
    >>> store.put_json("responses", "abc", {"score": 82})
    >>> store.get_json("responses", "abc"), store.get_json("responses", "other")
    ({'score': 82}, None)
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER

    def path(self, level: str, key: str, suffix: str = "") -> Path:
        return self.folder / level / f"{key}{suffix}"

    writing = staticmethod(storage.writing)

    def put_json(self, level: str, key: str, value: Any) -> None:
        with self.writing(self.path(level, key, ".json")) as temporary:
            temporary.write_text(json.dumps(value, separators=(",", ":")), encoding="utf-8")

    def get_json(self, level: str, key: str) -> Any | None:
        path = self.path(level, key, ".json")
        with contextlib.suppress(FileNotFoundError, ValueError):
            value = json.loads(path.read_text(encoding="utf-8"))
            storage.mark_used(path)
            return value
        return None

    def put_frame(self, level: str, key: str, frame: pd.DataFrame) -> None:
        with self.writing(self.path(level, key, ".parquet")) as temporary:
            frame.to_parquet(temporary, index=False)

    def get_frame(self, level: str, key: str) -> pd.DataFrame | None:
        from pyarrow.parquet import ParquetFile

        path = self.path(level, key, ".parquet")
        if not path.exists():
            return None
        storage.mark_used(path)
        with ParquetFile(path) as file:
            return file.read(use_threads=False).to_pandas(use_threads=False)

    def make_folder(self, target: Path, fill: Callable[[Path], None]) -> Path:
        return storage.write_folder(target, fill)

    def in_use(self, path: Path) -> None:
        storage.mark_used(path)

    def evict(self, level: str, days: float, keep: Container[str] = frozenset()) -> int:
        return storage.evict(self.folder / level, days, keep)
