"""One cache: what is computed of a portfolio is computed once, and read again from memory or from disk.

``portfolio.cache.get(name, inputs, build)`` looks in memory, then on disk, and else builds, stores and returns. The
inputs say all that the value was computed from; the package's code is added to them, so that a changed definition never
meets a value of the old one. A file that cannot be read, or whose bytes changed, is rebuilt; what nobody reads for some
time is removed.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import hashlib
import io
import json
import logging
import os
import re
import sys
import threading
import time
import zlib
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from healthseg.data.storage import FOLDER, evict, mark_used, writing

if TYPE_CHECKING:
    import pandas as pd

    from healthseg.data.customer_rows import CustomerRows

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
CODE_SUFFIXES = (".py", ".sql", ".toml")
HEADER_BYTES = 64
_PACKAGE = Path(__file__).parents[1]
_EVICTION_SECONDS = 3_600
_MISSING = object()
_log = logging.getLogger("healthseg")


@functools.cache
def code_digest(*folders: str, contents: bool = False) -> str:
    """Changes with any file of the package, or of some of its folders.

    By names, sizes and times of change, which costs 2 ms; with ``contents`` by what the files hold, so that it is the same
    on every machine.

    >>> code_digest("data", contents=True) != code_digest("metrics", contents=True)
    True
    """
    roots = [_PACKAGE / folder for folder in folders] or [_PACKAGE]
    digest = hashlib.sha256()
    for path, stat in sorted(entry for root in roots for entry in _code_files(root)):
        digest.update(Path(path).relative_to(_PACKAGE).as_posix().encode())
        digest.update(Path(path).read_bytes() if contents else repr(stat).encode())
    return digest.hexdigest()[:16]


def _code_files(folder: str | Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Path, size and time of change of each file of code below a folder."""
    for entry in os.scandir(folder):
        if entry.is_dir():
            yield from _code_files(entry.path)
        elif entry.name.endswith(CODE_SUFFIXES):
            stat = entry.stat()
            yield entry.path, (stat.st_size, stat.st_mtime_ns)


class _NotCached(Exception):
    """A value would have to be built."""


class Cache:
    """The values computed of one portfolio; safe to use from several threads and processes.

    A DataFrame goes to disk as Parquet, a dictionary of DataFrames as several, any other value as JSON. What is
    returned is what the file holds, also right after it was built: the same bits whoever built it. Values are shared:
    callers do not change them.

    >>> import tempfile
    >>> cache = Cache(Path(tempfile.mkdtemp()))
    >>> cache.get("shares", {"day": dt.date(2025, 3, 1)}, lambda: {"a": 0.25})
    {'a': 0.25}
    >>> cache.get("shares", {"day": dt.date(2025, 3, 1)}, lambda: 1 / 0)
    {'a': 0.25}
    """

    # Changes with the code that users register at run time, which is part of every key: the catalogue of metrics
    # puts its own here.
    runtime_code: ClassVar[Callable[[], str]] = staticmethod(lambda: "")

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER / "cache"
        self.memory: dict[str, dict[Hashable, Any]] = {}
        self._guard = threading.Lock()
        self._locks: dict[tuple[str, Hashable], threading.RLock] = {}
        self._evicted_at = 0.0

    def get(
        self,
        name: str,
        inputs: Any,
        build: Callable[[], T],
        *,
        disk: bool = True,
        limit: int | None = None,
    ) -> T:
        """The value of ``build()``, built once per name and inputs.

        ``name`` says what it is (letters, digits, ``_``), ``inputs`` what it depends on: JSON values, dates, settings;
        with ``disk=False`` any hashable values. The value is then of any type and lives in memory alone. ``limit``
        bounds how many values of the name stay in memory: those used last.
        """
        if not disk:
            key = (_memory_key(inputs), type(self).runtime_code())
            return self._remembered(name, key, build, limit)
        stored_key = self._key(name, inputs)
        load = functools.partial(self._stored, name, stored_key, build)
        return self._remembered(name, stored_key, load, limit)

    def get_each(
        self, name: str, inputs: Mapping[K, Any], build: Callable[[list[K]], Mapping[K, T]]
    ) -> dict[K, T]:
        """The values of several inputs, by key; those that are not cached are built together.

        Keys that ``build`` leaves out are left out.

        >>> import tempfile
        >>> cache = Cache(Path(tempfile.mkdtemp()))
        >>> cache.get_each("squares", {1: 1, 2: 2}, lambda keys: {key: key**2 for key in keys})
        {1: 1, 2: 4}
        >>> cache.get_each("squares", {2: 2, 3: 3}, lambda keys: {})
        {2: 4}
        """

        def refuse() -> T:
            raise _NotCached

        values: dict[K, T] = {}
        for key, value_inputs in inputs.items():
            with contextlib.suppress(_NotCached):
                values[key] = self.get(name, value_inputs, refuse)
        missing = [key for key in inputs if key not in values]
        built = dict(build(missing)) if missing else {}
        for key in list(built):
            values[key] = self.get(name, inputs[key], functools.partial(built.pop, key))
        return {key: values[key] for key in inputs if key in values}

    def rows(self, name: str, inputs: Any, build: Callable[[], pd.DataFrame]) -> CustomerRows:
        """Rows of all customers, sorted by ``k``, mapped into memory: reading one customer's loads no others."""
        key = self._key(name, inputs)
        return self._remembered(name, key, lambda: self._stored_rows(name, key, build), None)

    def stored(self, name: str, inputs: Any) -> bool:
        """Whether the value of a name and inputs is on disk."""
        key = self._key(name, inputs)
        return any(self._path(name, key, form).exists() for form in _FORMS.values())

    def forget(self, *names: str) -> None:
        """Drops what is in memory, of some names or of all; what is on disk stays."""
        with self._guard:
            for name in names or list(self.memory):
                self.memory.pop(name, None)

    def _key(self, name: str, inputs: Any) -> str:
        if not re.fullmatch("[a-z0-9_]+", name):
            raise ValueError(
                f"{name!r} is not a valid name for the cache: lower-case letters, digits and _"
            )
        return _fingerprint([code_digest(), type(self).runtime_code(), name, inputs])

    def _remembered(
        self, name: str, key: Hashable, load: Callable[[], Any], limit: int | None
    ) -> Any:
        value = self._recall(name, key)
        if value is not _MISSING:
            return value
        with self._guard:
            lock = self._locks.setdefault((name, key), threading.RLock())
        try:
            with lock:
                value = self._recall(name, key)
                if value is _MISSING:
                    value = load()
                    self._remember(name, key, value, limit)
        finally:
            with self._guard:
                self._locks.pop((name, key), None)
        return value

    def _recall(self, name: str, key: Hashable) -> Any:
        with self._guard:
            values = self.memory.get(name, {})
            if key not in values:
                return _MISSING
            values[key] = values.pop(key)
            return values[key]

    def _remember(self, name: str, key: Hashable, value: Any, limit: int | None) -> None:
        with self._guard:
            values = self.memory.setdefault(name, {})
            values[key] = value
            while limit is not None and len(values) > limit:
                values.pop(next(iter(values)))

    def _stored(self, name: str, key: str, build: Callable[[], Any]) -> Any:
        for form in _FORMS.values():
            payload = self._read(self._path(name, key, form))
            if payload is not None:
                with contextlib.suppress(ValueError, OSError):
                    return form.decode(payload)
        value = build()
        form = _form_of(name, value)
        payload = form.encode(value)
        del value  # which may be large, as its copies are
        self._write(self._path(name, key, form), payload)
        return form.decode(payload)

    def _stored_rows(self, name: str, key: str, build: Callable[[], pd.DataFrame]) -> CustomerRows:
        from healthseg.data.customer_rows import CustomerRows, encode

        path = self._path(name, key, _ROWS)
        if self._read(path) is not None:
            return CustomerRows(path, HEADER_BYTES)
        payload = encode(build())
        written = self._write(path, payload)
        return CustomerRows(path, HEADER_BYTES) if written else CustomerRows(payload)

    def _path(self, name: str, key: str, form: _Form) -> Path:
        return self.folder / f"{name}-{key}{form.suffix}"

    def _read(self, path: Path) -> bytes | None:
        """The payload of a file, or None where there is none that is as it was written."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as problem:
            _log.info("rebuilding %s, which cannot be read: %s", path, problem)
            return None
        payload = content[HEADER_BYTES:]
        if content[:HEADER_BYTES] != _header(payload):
            _log.info("rebuilding %s: its checksum differs", path)
            return None
        mark_used(path)
        return payload

    def _write(self, path: Path, payload: bytes) -> bool:
        """Stores a payload; whether that was possible. Without space or permission the value lives in memory alone."""
        try:
            with writing(path) as temporary, open(temporary, "wb") as file:
                file.write(_header(payload))
                file.write(payload)
        except OSError as problem:
            _log.info("%s is not stored: %s", path, problem)
            return False
        self.evict()
        return True

    def evict(self) -> None:
        """Removes files that nobody has read for some time; looks at most once an hour."""
        now = time.monotonic()
        if self._evicted_at and now - self._evicted_at < _EVICTION_SECONDS:
            return
        self._evicted_at = now
        for form in (*_FORMS.values(), _ROWS):
            evict(self.folder, form.unused_days, pattern=f"*{form.suffix}")
        evict(self.folder, 1, pattern=".*")

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(Path())  # type: ignore[misc]
        self.folder = state["folder"]


@dataclass(frozen=True)
class _Form:
    """How a kind of value lies on disk, and after how many days without a reader its file is removed."""

    suffix: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    unused_days: float = 30


def _encode_frame(frame: pd.DataFrame) -> bytes:
    import pyarrow as pa

    table, buffer = pa.Table.from_pandas(frame, nthreads=1), io.BytesIO()
    with pa.ipc.new_file(buffer, table.schema) as file:
        file.write_table(table)
    del table
    return buffer.getvalue()


def _decode_frame(payload: bytes) -> pd.DataFrame:
    import pyarrow as pa

    with pa.ipc.open_file(payload) as file:
        return file.read_all().to_pandas(use_threads=False)


def _encode_frames(frames: Mapping[str, pd.DataFrame]) -> bytes:
    parts = {name: _encode_frame(frame) for name, frame in frames.items()}
    sizes = json.dumps({name: len(part) for name, part in parts.items()})
    return b"\n".join([sizes.encode(), b"".join(parts.values())])


def _decode_frames(payload: bytes) -> dict[str, pd.DataFrame]:
    sizes, _, rest = payload.partition(b"\n")
    frames, start = {}, 0
    for name, size in json.loads(sizes).items():
        frames[name] = _decode_frame(rest[start : start + size])
        start += size
    return frames


def _encode_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


_FORMS = {
    "json": _Form(".json", _encode_json, json.loads),
    "frame": _Form(".arrow", _encode_frame, _decode_frame),
    "frames": _Form(".frames", _encode_frames, _decode_frames),
}
# every new day of data makes all rows anew; another process may still read those of the day before
_ROWS = _Form(".arrow", bytes, bytes, unused_days=1)


def _form_of(name: str, value: Any) -> _Form:
    """How a value lies on disk; pandas is not imported for what is no frame."""
    pandas = sys.modules.get("pandas")
    parts = list(value.values()) if isinstance(value, dict) else [value]
    if pandas is not None and parts and all(isinstance(each, pandas.DataFrame) for each in parts):
        return _FORMS["frames" if isinstance(value, dict) else "frame"]
    try:
        _encode_json(value)
    except TypeError as problem:
        raise TypeError(
            f"{name} cannot be stored ({problem}): build JSON values or frames, or use disk=False"
        ) from None
    return _FORMS["json"]


def _header(payload: bytes | memoryview) -> bytes:
    text = f"healthseg cache 1 size {len(payload)} crc32 {zlib.crc32(payload):08x}"
    return text.ljust(HEADER_BYTES - 1).encode() + b"\n"


def _memory_key(inputs: Any) -> Hashable:
    try:
        hash(inputs)
    except TypeError:
        return _fingerprint(inputs)
    return cast(Hashable, inputs)


def _fingerprint(inputs: Any) -> str:
    """Sixteen hex digits of the inputs' canonical text.

    >>> _fingerprint([dt.date(2025, 3, 1), {"b", "a"}]) == _fingerprint(("2025-03-01", ["a", "b"]))
    True
    """
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """A JSON value of a date, a set, an enumeration, a pydantic model or a number of numpy."""
    if isinstance(value, (dt.date, dt.datetime)):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not possible among the inputs of a cached value")
