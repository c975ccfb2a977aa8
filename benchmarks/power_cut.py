"""The power fails: what is on the disk is what was synced. Are the cache and the ledger sound at every moment?

    python benchmarks/power_cut.py [--cuts 100] [--moves 40]

A library that is preloaded (``_fsync.c``, built with gcc) records every file that is made, synced, renamed or removed
while a portfolio is read on a cold cache and stages are recorded in its ledger. For each of many moments the folder is
put together anew from what was durable by then, in two ways: names and contents that were not synced are gone; and names
are there at once, but files that were not synced are empty. Then the response must be that of a whole cache, the
ledger's chain must hold, and every move that was acknowledged must be in it. Exit status 1 where not. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

SHIM = Path(__file__).with_name("_fsync.c")
PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from benchmarks import power_cut
power_cut.work(Path(sys.argv[1]), int(sys.argv[2]))
"""


@dataclass(eq=False)
class File:
    """A file by its last synced content."""

    synced: Path | None = None


@dataclass(eq=False)
class Folder:
    """A folder by its names now, and by those that it had when it was last synced."""

    now: dict[str, File | Folder] = field(default_factory=dict)
    synced: dict[str, File | Folder] = field(default_factory=dict)


class Disk:
    """What a folder holds, now and durably, as the recorded events change it."""

    def __init__(self, root: Path, begin: Path) -> None:
        self.root = root
        self.top = self._of(begin)
        self.inodes: dict[str, File] = {}
        self.marks: list[str] = []

    def _of(self, path: Path) -> Folder:
        folder = Folder()
        for entry in path.iterdir():
            folder.now[entry.name] = self._of(entry) if entry.is_dir() else File(entry)
        folder.synced = dict(folder.now)
        return folder

    def _place(self, path: str) -> tuple[Folder, str]:
        folder, names = self.top, Path(path).relative_to(self.root).parts
        for name in names[:-1]:
            inner = folder.now.setdefault(name, Folder())
            assert isinstance(inner, Folder)
            folder = inner
        return folder, names[-1]

    def apply(self, event: str, *values: str) -> None:
        if event == "MARK":
            self.marks.append(values[0])
        elif event == "SYNC":
            self.inodes.setdefault(values[0], File()).synced = Path(values[1])
        elif event == "DIR":
            folder = self.top
            if Path(values[0]) != self.root:
                parent, name = self._place(values[0])
                inner = parent.now[name]
                assert isinstance(inner, Folder)
                folder = inner
            folder.synced = dict(folder.now)
        elif event == "CREATE":
            folder, name = self._place(values[1])
            folder.now[name] = self.inodes[values[0]] = File()
        elif event == "MKDIR":
            folder, name = self._place(values[0])
            folder.now[name] = Folder()
        elif event in ("UNLINK", "RMDIR"):
            folder, name = self._place(values[0])
            folder.now.pop(name, None)
        elif event in ("RENAME", "LINK"):
            source, name = self._place(values[0])
            target, new = self._place(values[1])
            target.now[new] = source.now[name] if event == "LINK" else source.now.pop(name)

    def write(self, path: Path, *, names_at_once: bool, folder: Folder | None = None) -> None:
        """The folder as it is after the power comes back."""
        folder = folder or self.top
        path.mkdir()
        for name, node in (folder.now if names_at_once else folder.synced).items():
            if isinstance(node, Folder):
                self.write(path / name, names_at_once=names_at_once, folder=node)
            elif node.synced:
                shutil.copyfile(node.synced, path / name)
            else:
                (path / name).touch()


def work(folder: Path, moves: int) -> None:
    """What is interrupted: a response on a cold cache, then stages, each acknowledged when it is recorded."""
    from healthseg.data.ledger.ledger import Ledger
    from healthseg.data.outbox import Message
    from healthseg.settings.lifecycle import Lifecycle
    from healthseg.tools.lifecycle.moves import TRANSITION, RequestedMove, move

    response(folder)
    ledger, rules = (
        Ledger(folder / "healthseg.sqlite", lambda: dt.datetime.now(dt.UTC)),
        Lifecycle(),
    )
    stage = None
    for number in range(moves):
        targets = [each for each in rules.targets(stage) if each != "prospect"]
        stage = targets[number % len(targets)]
        request = RequestedMove("a", stage, TRANSITION, actor="study", request_id=f"move-{number}")

        def announce(event, previous, first):  # type: ignore[no-untyped-def]
            return [Message(event.request_id, "a", "notify_csm", "file", {}, event.recorded_at)]

        move(ledger, [], "UTC", dt.date(2020, 1, 1), rules, request, announce)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(folder / "marks" / f"move-{number}")


def response(folder: Path) -> dict[str, object]:
    import healthseg as hs

    with hs.Portfolio.open(folder) as portfolio:
        values = hs.track_usage_engagement(portfolio, client_id="a").to_dict()
    return {
        key: value
        for key, value in values.items()
        if "timestamp" not in key and key != "fingerprint"
    }


def portfolio(folder: Path) -> Path:
    folder.mkdir()
    days = [f"2025-03-{day:02d}T09:00:00+00:00,a,u{day % 3},login" for day in range(1, 31)]
    rows = ["occurred_at,client_id,user_id,event_type", *days]
    (folder / "events.csv").write_text("\n".join(rows) + "\n")
    (folder / "customers.csv").write_text(
        "client_id,signup_date,seats\na,2025-01-01,5\nb,2025-01-01,5\n"
    )
    return folder


def recorded(folder: Path, base: Path, moves: int) -> Iterator[list[str]]:
    """The events while the work is done on a copy of the portfolio."""
    library, log, root = folder / "fsync.so", folder / "log", folder / "live"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"], check=True)
    shutil.copytree(base, root)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "RECORD_ROOT": str(root),
        "RECORD_LOG": str(log),
    }
    words = [sys.executable, "-c", PROGRAM, str(root), str(moves), str(ROOT)]
    subprocess.run(words, check=True, env=environment)
    for line in log.read_text().splitlines():
        yield line.split("\t")


def faults(folder: Path, expected: dict[str, object], marks: list[str]) -> Iterator[str]:
    """What is wrong after the power came back."""
    from healthseg.data.ledger.ledger import Ledger

    try:
        if response(folder) != expected:
            yield "another response"
        path = folder / "healthseg.sqlite"
        if not path.exists():
            yield from ["the ledger is gone"] if marks else []
            return
        ledger = Ledger(path)
        ledger.verify()
        missing = set(marks) - {event.request_id for event in ledger.stage_events()}
        yield from [f"{len(missing)} acknowledged moves are gone"] if missing else []
    except Exception as problem:
        yield f"{type(problem).__name__}: {str(problem)[:200]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--moves", type=int, default=40)
    options = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory(prefix="power-") as name:
        folder = Path(name)
        base = portfolio(folder / "base")
        events = list(recorded(folder, base, options.moves))
        expected = response(folder / "live")
        cuts = {round(k * len(events) / (options.cuts // 2 - 1)) for k in range(options.cuts // 2)}
        disk = Disk(folder / "live", base)
        for number in range(len(events) + 1):
            for names_at_once in (False, True) if number in cuts else ():
                target = folder / "after"
                disk.write(target, names_at_once=names_at_once)
                problems = list(faults(target, expected, disk.marks))
                bad += bool(problems)
                if problems:
                    print(
                        f"event {number}, names at once {names_at_once}: {'; '.join(problems)}",
                        flush=True,
                    )
                shutil.rmtree(target)
            if number < len(events):
                disk.apply(*events[number])
        syncs = sum(event[0] in ("SYNC", "DIR") for event in events)
    print(
        f"{len(events)} events, {syncs} of them syncs, {len(disk.marks)} acknowledged moves; "
        f"{2 * len(cuts)} states after a cut: {bad} unsound"
    )
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
