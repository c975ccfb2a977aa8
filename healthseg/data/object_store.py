"""Addresses of object stores (``s3://``, ``gs://``, ``abfs://``, any that fsspec knows): their files as a folder here.

Credentials come from the store's own means (the environment, a profile, the machine's role); they and the texts of
other libraries' errors are shown nowhere.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from healthseg.data.sources import split_name
from healthseg.data.storage import cache_folder, read_json, write_json, writing
from healthseg.data.tables import TABLES
from healthseg.errors import CalculationError, DataRetrievalError, IntegrationError
from healthseg.settings.base import fingerprint

# what an address begins with, and what is installed for it
_INSTALL = {
    **dict.fromkeys(("s3", "s3a"), "'healthseg[s3]'"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("abfs", "abfss", "az"), "adlfs"),
    **dict.fromkeys(("memory", "file", "hdfs", "webhdfs", "ftp", "smb", "hf", "dbfs"), "fsspec"),
    **dict.fromkeys(("sftp", "ssh"), "fsspec paramiko"),
    **{"oci": "ocifs", "oss": "ossfs"},
}
# stores that show an object when it is there whole; elsewhere it is written beside its name, and renamed
_WHOLE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "oss", "memory"}
_STATES = (
    "ETag",
    "etag",
    "md5Hash",
    "content_md5",
    "mtime",
    "LastModified",
    "last_modified",
    "updated",
    "created",
)
_SETTINGS_FILES = ("portfolio.toml", "healthseg.toml")
_ROUNDS = 3
_BRIEF = re.compile(r"^([a-z0-9]+)://(?:([^/@:]*):[^/@]*@)?([^?#]*)", re.IGNORECASE)


def is_store(address: str) -> bool:
    """
    >>> is_store("s3://bucket/portfolio"), is_store("postgresql://host/crm"), is_store("/data")
    (True, False, False)
    """
    scheme, mark, _ = address.partition("://")
    return bool(mark) and scheme.lower() in _INSTALL


def shown(address: str) -> str:
    """The address without a password and without what follows its path: fit for messages and names of folders.

    >>> shown("sftp://ann:secret@host/reports?token=1"), shown("abfs://box@account.dfs.core.windows.net/a/")
    ('sftp://ann@host/reports', 'abfs://box@account.dfs.core.windows.net/a')
    """
    match = _BRIEF.match(address)
    assert match is not None
    scheme, user, rest = match.groups()
    return f"{scheme.lower()}://{user + '@' if user else ''}{rest.rstrip('/')}"


@dataclass(frozen=True)
class ObjectStore:
    """A folder of an object store: ``files`` is fsspec's file system, ``root`` the folder's path in it."""

    address: str
    files: Any
    root: str

    def path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def listing(self) -> dict[str, Mapping[str, Any]]:
        """The objects below the folder by their names in it, as the store describes them now."""
        with self.answering():
            self.files.invalidate_cache()
            below = self.files.find(self.root, detail=True)
        start = len(self.root.rstrip("/")) + 1
        names = {path[start:]: info for path, info in below.items() if info["type"] == "file"}
        return {name: info for name, info in names.items() if _is_plain(name)}

    def read_into(self, name: str, target: Path) -> str:
        """Copy an object to a file of this machine, which is replaced when all of it is there; that file's state."""
        with writing(target) as temporary:
            with self.answering():
                self.files.get_file(self.path(name), str(temporary))
            return _state(temporary)

    def head(self, name: str, size: int) -> bytes:
        """An object's first bytes."""
        with self.answering():
            return bytes(self.files.cat_file(self.path(name), start=0, end=size))

    def write(self, name: str, source: Path) -> None:
        """Copy a file of this machine to an object, which readers see as it was or whole."""
        target = self.path(name)
        with self.answering("cannot be written"):
            if self.address.partition("://")[0] in _WHOLE:
                self.files.put_file(str(source), target)
                return
            parent, _, last = target.rpartition("/")
            self.files.makedirs(parent, exist_ok=True)
            self.files.put_file(str(source), f"{parent}/.{last}.part")
            self.files.mv(f"{parent}/.{last}.part", target)

    def remove(self, *names: str) -> None:
        with self.answering("cannot be written"):
            for name in names:
                self.files.rm_file(self.path(name))

    @contextlib.contextmanager
    def answering(self, problem: str = "cannot be read") -> Iterator[None]:
        """Errors of the store as ours, by their kind: their texts may hold parts of credentials."""
        try:
            yield
        except ImportError:
            raise
        except FileNotFoundError:
            raise DataRetrievalError(
                f"there is nothing at {self.address}: check bucket and path",
                value_provided=self.address,
            ) from None
        except PermissionError:
            raise IntegrationError(
                f"{self.address} {problem}: the store refuses it; check the credentials in the environment and their rights",
                value_provided=self.address,
            ) from None
        except Exception as error:
            raise IntegrationError(
                f"{self.address} {problem} ({type(error).__name__}): check that the store can be reached from this "
                "machine, and the credentials in the environment",
                value_provided=self.address,
            ) from None


def connect(address: str) -> ObjectStore:
    """The folder at an address. Raises CalculationError with the line that installs what its kind of store needs."""
    scheme = address.partition("://")[0].lower()
    store = ObjectStore(shown(address), None, "")
    try:
        fsspec = importlib.import_module("fsspec")
        with store.answering():
            files, root = fsspec.url_to_fs(address)
    except ImportError:
        raise missing(scheme) from None
    return ObjectStore(shown(address), files, str(root).rstrip("/"))


def missing(scheme: str) -> CalculationError:
    return CalculationError(f"{scheme}:// addresses need a library: pip install {_INSTALL[scheme]}")


def _is_plain(name: str) -> bool:
    """Whether a name is a path below a folder: a key may hold anything."""
    parts = name.split("/")
    return all(
        part not in ("", ".", "..") and len(part.encode()) <= 200 and not set(part) & set("\\\0")
        for part in parts
    )


# the files of a portfolio


@dataclass(frozen=True)
class Mirror:
    """A folder of this machine with a portfolio's files; ``tokens`` say by name in which state the store had them."""

    path: Path
    tokens: Mapping[str, str]
    others: tuple[str, ...]  # top-level names that are not copied


def mirrored(address: str) -> Mirror:
    """The files behind an address in a folder of the cache, each copied only where its size or its tag changed.

    Raises DataRetrievalError where there is nothing, IntegrationError where the store does not answer, or does not
    come to rest while it is read.
    """
    store = connect(address)
    name = ""
    with store.answering():
        if store.files.isfile(store.root):
            parent, _, name = store.root.rpartition("/")
            store = ObjectStore(store.address.rpartition("/")[0], store.files, parent)
    folder = cache_folder() / fingerprint(shown(address)) / "mirror"
    for _ in range(_ROUNDS):
        names = store.listing()
        wanted = _wanted(names, name)
        tokens = {each: _token(names[each]) for each in wanted}
        if not _copy(store, folder, tokens):
            others = tuple(sorted({each.partition("/")[0] for each in set(names) - set(wanted)}))
            return Mirror(folder / name if name else folder, tokens, others)
    raise IntegrationError(
        f"{store.address} changes while it is read: try again when what writes it has ended",
        value_provided=store.address,
    )


def _wanted(names: Mapping[str, Any], name: str) -> list[str]:
    """The names that a portfolio is read from: its tables, its settings, and with queries any file of a table's format."""
    if name and not name.endswith(".toml"):
        return [name]
    queries = name or ("portfolio.toml" if "portfolio.toml" in names else "")
    chosen = []
    for each in sorted(names):
        path = PurePosixPath(each)
        stem, kind = split_name(path.parts[0])
        is_table = (stem if kind else path.parts[0]).lower() in TABLES
        is_data = split_name(path.name)[1] is not None
        if each in (*_SETTINGS_FILES, name) or (is_data and (is_table or queries)):
            chosen.append(each)
    return [each for each in chosen if not any(part.startswith(".") for part in each.split("/"))]


def _token(info: Mapping[str, Any]) -> str:
    """The object's size and what the store changes with its content; empty where it says nothing of the kind."""
    states = [str(info[key]) for key in _STATES if info.get(key)]
    return f"{info.get('size')}:{states[0]}" if states else ""


def _copy(store: ObjectStore, folder: Path, tokens: Mapping[str, str]) -> bool:
    """Bring the folder to a state; whether anything had to be copied.

    A file is as the store has it where its object's token and its own state are those that were recorded together:
    what another process copied meanwhile is seen.
    """
    record = folder.parent / "mirror.json"
    before = read_json(record) or {}
    after = {
        name: before[name]
        for name, token in tokens.items()
        if token and before.get(name) == [token, _state(folder / name)]
    }
    changed = [name for name in tokens if name not in after]
    for name in changed:
        state = store.read_into(name, folder / name)
        after[name] = [tokens[name], state]
    for name in set(before) - set(tokens):
        (folder / name).unlink(missing_ok=True)
    if after != before:
        write_json(record, after)
    return any(tokens[name] for name in changed)


def _state(path: Path) -> str:
    """Of a file: it stays the same when the file is renamed, and no other file has it; empty where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return ""
    return f"{stat.st_size}:{stat.st_ino}:{stat.st_mtime_ns}"
