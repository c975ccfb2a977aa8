"""Reports in an object store: made in a folder of this machine, then copied, each page after its other files.

The index is copied last, so that whoever opens it meets no report that is not there.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from healthseg.data import object_store
from healthseg.data.object_store import ObjectStore
from healthseg.errors import HealthsegError, InvalidParameters
from healthseg.reports import writing
from healthseg.reports.batches import manifest
from healthseg.reports.batches.workers import FAILED

if TYPE_CHECKING:
    from healthseg.reports.batches.job import Job, ReportOutcome

# a batch that is killed records the reports of its last seconds when it is resumed
_SECONDS_BETWEEN_MANIFESTS = 15.0
_HEAD_BYTES = 2048
DAY = re.compile(r"\d{4}-\d{2}-\d{2}/")


@dataclass
class Published:
    """The reports' folder of an object store, and ``folder``, in which they are made before they are copied."""

    store: ObjectStore
    folder: Path
    names: set[str] = field(default_factory=set)
    _copied: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """See what the store holds, with the manifests of earlier runs in ``folder``.

        Raises InvalidParameters where it cannot be written.
        """
        probe = self.folder / ".healthseg-probe"
        probe.touch()
        try:
            self.store.write(probe.name, probe)
            self.store.remove(probe.name)
        except HealthsegError as problem:
            raise InvalidParameters(
                f"cannot write the reports: {problem.message}; or name another folder with --out",
                parameter="out",
                value_provided=self.store.address,
                validation_rule="a folder that can be written",
            ) from None
        probe.unlink()
        self.refresh()

    def refresh(self, own: Path | None = None) -> None:
        """See what the store holds now, what other machines copied there included; the ``own`` manifest is newer here."""
        self.names = set(self.store.listing())
        for name in sorted(name for name in self.names if name.startswith(f"{manifest.FOLDER}/")):
            if self.folder / name != own:
                self.fetch(name)

    def name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def has(self, path: Path) -> bool:
        return self.name(path) in self.names

    def fetch(self, name: str) -> None:
        """An object as a file of the folder."""
        self.store.read_into(name, writing.inside(self.folder, *name.split("/")))

    def fetch_head(self, path: Path) -> None:
        """The beginning of a page that the store holds, as a file of the folder."""
        writing.write_whole(path, self.store.head(self.name(path), _HEAD_BYTES))

    def day_names(self, newest: int, latest: str = "") -> set[str]:
        """The objects of all days but the ``newest`` and the latest one."""
        days = sorted({name.partition("/")[0] for name in self.names if DAY.match(name)})
        old = set(days[:-newest]) - {latest}
        return {name for name in self.names if name.partition("/")[0] in old}

    def put(self, path: Path) -> None:
        """Copy a file, or the files of a folder; what a folder of the store held beyond them goes."""
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        copied = {self.name(file) for file in files}
        for file in files:
            self.store.write(self.name(file), file)
        self.names |= copied
        if path.is_dir():
            below = {name for name in self.names if name.startswith(f"{self.name(path)}/")}
            self.remove(below - copied)

    def put_now_and_then(self, path: Path) -> None:
        """Copy a file that grows, if that was not done a moment ago."""
        if time.monotonic() - self._copied >= _SECONDS_BETWEEN_MANIFESTS:
            self.put(path)
            self._copied = time.monotonic()

    def remove(self, names: set[str]) -> None:
        self.store.remove(*sorted(names))
        self.names -= names

    def finish(self, run: Path, indexes: Sequence[Path], old: set[str]) -> None:
        """Copy the manifest, then the indexes; then remove what is too old: days, and runs that are gone here."""
        for path in (run, *indexes):
            self.put(path)
        runs = {name for name in self.names if name.startswith(f"{run.parent.name}/")}
        self.remove(old | {name for name in runs if not (self.folder / name).exists()})


def check(out: str | Path) -> None:
    """Raises CalculationError with the line that installs what an address of an object store needs."""
    if object_store.is_store(str(out)):
        object_store.connect(str(out))


@contextlib.contextmanager
def output(out: str | Path) -> Iterator[tuple[Path, Published | None]]:
    """The folder that reports are made in, and the store that they are copied to, where ``out`` is one."""
    if not object_store.is_store(str(out)):
        yield writing.output_folder(out), None
        return
    with tempfile.TemporaryDirectory(prefix="healthseg-") as folder:
        published = Published(object_store.connect(str(out)), Path(folder).resolve())
        published.begin()
        yield published.folder, published


def publish(
    published: Published | None,
    jobs: Sequence[Job],
    outcomes: Iterator[tuple[int, ReportOutcome]],
) -> Iterator[tuple[int, ReportOutcome]]:
    """Outcomes as they come, each after its files were copied and removed here; one whose files were not has failed."""
    for index, outcome in outcomes:
        if published is not None and outcome.ok:
            try:
                _publish(published, jobs[index])
            except HealthsegError as problem:
                outcome = replace(outcome, error=problem.to_dict(), status=FAILED)
        yield index, outcome


def _publish(published: Published, job: Job) -> None:
    """Copy the files of a report, its page last: where it is, the others are."""
    for kind in ("ipynb", "json", *job.formats, "html"):
        path = job.file(kind)
        if path.exists():
            published.put(path)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
