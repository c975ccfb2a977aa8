"""Commands that are killed at random moments and started again: is anything lost, half there, or there twice?

    python benchmarks/killed.py [--kills 200] [--in-a-row 5] [--only check segments ...] [--seed 1]

Each kind of command works on a copy of one portfolio. It is killed a few times in a row at random moments of its usual
duration, then runs to its end; what is recorded, delivered, fetched and answered must then be what a copy has on which
nothing was killed, without temporary files, files in the system's temporary folder, or processes that live on.
Exit status 1 where not. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import importlib
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

from benchmarks.power_cut import portfolio  # noqa: E402
from healthseg.data.storage import is_abandoned  # noqa: E402

CLIENT = "-p", "client_id=CLIENT"
CRITERIA = "-p", "segment_type=health", "--params", '{"segmentation_criteria": {}}'
CONFIG = """
[settings.outbox]
routes = { "*" = "out" }
[settings.outbox.handlers.out]
kind = "file"
path = "FOLDER/delivered.jsonl"
timeout_seconds = 0.1
"""
# what differs from run to run
_OF_THE_MOMENT = (
    "recorded_at",
    "digest",
    "seq",
    "until",
    "due_at",
    "attempt",
    "request_id",
    "key",
    "effective_at",
    "payload",
)


@dataclass(frozen=True)
class Kind:
    """A kind of command, what prepares its folder, and what is looked at afterwards."""

    name: str
    words: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    # a portfolio of some rows, on which more kills fit into the time
    small: bool = False
    cold: bool = False
    prints: bool = True


_MOVES = ("lifecycle", "advance", "--apply", "--portfolio", "FOLDER")
KINDS = (
    Kind(
        "cold",
        (*("run", "track_usage_engagement"), "--portfolio", "FOLDER", *CLIENT),
        cold=True,
        small=True,
    ),
    Kind("check", ("check", "FOLDER", "--json"), cold=True, small=True),
    Kind(
        "segments", ("run", "segment_customers", "--portfolio", "FOLDER", *CRITERIA), prints=False
    ),
    Kind("alerts", ("alerts", "run", "--portfolio", "FOLDER", "--out", "FOLDER/out"), prints=False),
    Kind("lifecycle", _MOVES, prints=False),
    Kind("outbox", ("outbox", "run", "--portfolio", "FOLDER"), (_MOVES,), prints=False),
    Kind(
        "report",
        (
            *("report", "calculate_health_score", "--portfolio", "FOLDER", "--riskiest", "3"),
            *("--out", "FOLDER/out", "--resume", "--quiet", "--workers", "2"),
        ),
        prints=False,
    ),
    # the process that gives out the work is killed; reports_cluster.py --kill kills one that does it
    Kind(
        "dask",
        (
            *("report", "calculate_health_score", "--portfolio", "FOLDER", "--riskiest", "3"),
            *("--out", "FOLDER/out", "--resume", "--quiet", "--workers", "2", "--on", "local"),
        ),
        prints=False,
    ),
    Kind("sync", ("SYNC",), small=True, prints=False),
)


@dataclass
class Stage:
    """A copy of the portfolio, its environment, and how a kind's command is started in it."""

    kind: Kind
    folder: Path
    temporary: Path
    url: str
    client: str
    package: Path

    def start(self, words: tuple[str, ...]) -> int:
        """Forks: the modules are there already, so that what is killed is the work and not its start."""
        filled = [
            word.replace("FOLDER", str(self.folder)).replace("CLIENT", self.client)
            for word in words
        ]
        config = self.folder.with_name("config.toml")
        config.write_text(CONFIG.replace("FOLDER", str(self.folder)))
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            os.setsid()
            os.environ |= {
                "PYTHONPATH": str(self.package),
                "TMPDIR": str(self.temporary),
                "HEALTHSEG_CONFIG": str(config),
            }
            tempfile.tempdir = None
            os.chdir(self.temporary)
            for number in (1, 2):
                os.dup2(os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            status = self._work(filled)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    @property
    def output(self) -> Path:
        return self.folder.with_name("output")

    def _work(self, words: list[str]) -> int:
        from healthseg.cli.main import main as command
        from healthseg.integrations.mixpanel.sync import Sync
        from healthseg.settings.operator import MixpanelSettings

        if words != ["SYNC"]:
            return command(words)
        settings = MixpanelSettings(
            api_url=self.url, account_key="company", event_timezone="UTC", window_days=1
        )
        Sync(
            self.folder,
            settings,
            {"api_secret": "canary-api-secret"},
            now=lambda: dt.datetime(2025, 3, 20, 12, tzinfo=dt.UTC),
            sleep=time.sleep,
        ).run(dt.date(2025, 3, 10), dt.date(2025, 3, 13))
        return 0

    def run(self, words: tuple[str, ...]) -> tuple[str, float]:
        began = time.monotonic()
        _, status = os.waitpid(self.start(words), 0)
        printed = self.output.read_text()
        assert status == 0, (words, status, printed[-3000:])
        return printed, time.monotonic() - began

    def kill(self, moment: float) -> bool:
        """Starts the command and kills it at the moment; whether it was still running."""
        pid, until = self.start(self.kind.words), time.monotonic() + moment
        while time.monotonic() < until:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return False
            time.sleep(0.005)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return True

    def seen(self, printed: str) -> dict[str, Any]:
        """What is there: recorded rows, delivered messages, pages, fetched days, and the answer."""
        return {
            "recorded": dict(_recorded(self.folder / "healthseg.sqlite")),
            "delivered": sorted(_delivered(self.folder / "delivered.jsonl")),
            "pages": sorted(
                str(p.relative_to(self.folder)) for p in self.folder.glob("out/**/*.html")
            ),
            "days": dict(_days(self.folder / "events" / "mixpanel")),
            "answer": plain(json.loads(printed), str(self.folder)) if self.kind.prints else None,
        }


def left_behind(folder: Path, temporary: Path) -> list[str]:
    """Temporary files and processes that should not be there after commands whose TMPDIR was ``temporary``."""
    time.sleep(0.3)
    files = [
        path
        for each in (folder, temporary)
        for path in each.rglob("*")
        if is_abandoned(path.name) or (each == temporary and "healthseg" in path.name)
    ]
    processes = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"TMPDIR={temporary}\0" in path.read_bytes().decode(errors="replace"):
                processes.append(f"process {path.parent.name}")
    return [*map(str, files), *processes]


def _recorded(path: Path) -> Iterator[tuple[str, list[str]]]:
    if not path.exists():
        return
    from healthseg.data.ledger.ledger import Ledger
    from healthseg.data.ledger.schema import HISTORY

    Ledger(path).verify()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        for table in HISTORY:
            rows = [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
            rows = [row for row in rows if row.get("outcome") != "begun"]
            compared = [{k: v for k, v in row.items() if k not in _OF_THE_MOMENT} for row in rows]
            yield table, sorted(json.dumps(row, sort_keys=True) for row in compared)


def _in_other_hands(path: Path) -> bool:
    """Whether a message was begun and not ended."""
    if not path.exists():
        return False
    with contextlib.closing(sqlite3.connect(path)) as connection:
        last = "SELECT outcome, MAX(seq) FROM outbox_attempts GROUP BY key"
        return any(outcome == "begun" for outcome, _ in connection.execute(last))


def _delivered(path: Path) -> Iterator[str]:
    """The messages of a handler's file; a line of half a message, or a message there twice, is an error."""
    if not path.exists():
        return
    messages = [json.loads(line) for line in path.read_text().splitlines()]
    keys = [message["idempotency_key"] for message in messages]
    assert len(set(keys)) == len(keys), f"{len(keys) - len(set(keys))} messages delivered twice"
    for message in messages:
        yield f"{message['action']} {message['client_id']}"


def _days(folder: Path) -> Iterator[tuple[str, str]]:
    from pyarrow import parquet

    for path in folder.glob("*.parquet"):
        yield path.name, str(parquet.read_table(path).to_pylist())


def plain(value: Any, folder: str) -> Any:
    """An answer without what differs from copy to copy and moment to moment."""
    if isinstance(value, dict):
        left_out = (
            "calculation_timestamp",
            "computed_at",
            "cache",
            "portfolio",
            "path",
            "fingerprint",
        )
        return {k: plain(v, folder) for k, v in value.items() if k not in left_out}
    if isinstance(value, list):
        return [plain(each, folder) for each in value]
    return value


def torment(
    stage: Stage, expected: dict[str, Any], usual: float, kills: int, draw: random.Random
) -> int:
    """Kills the command some times in a row and lets it end once; how often it was still running."""
    if stage.kind.cold:
        shutil.rmtree(stage.folder / ".healthseg", ignore_errors=True)
    counted = sum(stage.kill(draw.uniform(0.05, 1.0) * usual) for _ in range(kills))
    printed, _ = stage.run(stage.kind.words)
    while _in_other_hands(
        stage.folder / "healthseg.sqlite"
    ):  # a killed run's, until its lease ends
        time.sleep(5)
        printed, _ = stage.run(stage.kind.words)
    seen = stage.seen(printed)
    for what, value in expected.items():
        assert seen[what] == value, f"{stage.kind.name}: {what} differs"
    left = left_behind(stage.folder, stage.temporary)
    assert not left, f"{stage.kind.name}: left behind {left}"
    return counted


def study(
    kind: Kind,
    base: Path,
    folder: Path,
    url: str,
    client: str,
    package: Path,
    kills: int,
    row: int,
    seed: int,
) -> int:
    draw = random.Random(f"{kind.name} {seed}")

    def staged() -> Stage:
        for path in (folder / "portfolio", folder / "temporary"):
            shutil.rmtree(path, ignore_errors=True)
        (folder / "temporary").mkdir()
        shutil.copytree(base, folder / "portfolio")
        if kind.name == "sync":  # which puts its days beside the file
            (folder / "portfolio" / "events").mkdir()
            shutil.move(folder / "portfolio" / "events.csv", folder / "portfolio" / "events")
        stage = Stage(kind, folder / "portfolio", folder / "temporary", url, client, package)
        for words in kind.before:
            stage.run(words)
        return stage

    clean = staged()
    printed, usual = clean.run(kind.words)
    expected, counted, rounds = clean.seen(printed), 0, 0
    while counted < kills and rounds < 3 * kills // row + 3:
        stage = staged()
        counted += torment(stage, expected, usual, row, draw)
        rounds += 1
    print(
        f"{kind.name:10} killed {counted:3} times in {rounds} rounds, {usual:.1f} s a run: all there, once",
        flush=True,
    )
    return counted


@contextlib.contextmanager
def mixpanel() -> Iterator[str]:
    from tests.data.mixpanel_server import Project, serving

    start = dt.datetime(2025, 3, 10, tzinfo=dt.UTC)
    events = [
        {
            "at": start + dt.timedelta(minutes=7 * n),
            "event": "opened",
            "properties": {"company": "a", "distinct_id": f"u{n % 9}"},
        }
        for n in range(800)
    ]
    with serving(Project(events=events)) as url:
        yield url


def main(run: Callable[..., int] = study) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--in-a-row", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=[kind.name for kind in KINDS])
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chosen = [kind for kind in KINDS if not options.only or kind.name in options.only]
    from healthseg.demo import make_demo

    total, began = 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="killed-") as name, mixpanel() as url:
        base, package = Path(name) / "base", Path(name) / "package"
        for part in ("healthseg", "notebooks"):  # it must not change meanwhile
            shutil.copytree(
                ROOT / part, package / part, ignore=shutil.ignore_patterns("__pycache__")
            )
        make_demo(str(base), clients=12, months=6, events="light")
        for path in (package / "healthseg").rglob("*.py"):
            name_of_module = ".".join(path.relative_to(package).with_suffix("").parts)
            if "__" not in name_of_module and "isolated" not in name_of_module:
                with contextlib.suppress(ImportError):
                    importlib.import_module(name_of_module)
        import pandas as pd

        small = portfolio(Path(name) / "small")
        client = str(pd.read_parquet(base / "customers.parquet")["client_id"][0])
        for kind in chosen:
            folder = Path(name) / kind.name
            folder.mkdir()
            count = -(-options.kills // len(chosen))
            total += run(
                kind,
                small if kind.small else base,
                folder,
                url,
                "a" if kind.small else client,
                package,
                count,
                options.in_a_row,
                options.seed,
            )
            shutil.rmtree(folder, ignore_errors=True)
    print(
        f"{total} kills in {time.monotonic() - began:.0f} s: nothing lost, half or twice; 0 temporary files and processes left"
    )
    return int(total < options.kills)


if __name__ == "__main__":
    sys.exit(main())
