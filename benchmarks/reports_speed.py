"""Reports beside stock papermill and ``jupyter nbconvert``: reports a minute, processor seconds, time spent waiting.

    python benchmarks/reports_speed.py [--portfolio data/demo] [--reports 100] [--stock 4] [--kinds]

Ours: one batch of health reports with two workers on a portfolio whose cache is warm, starting included. Stock:
``papermill`` and then ``jupyter nbconvert`` of the same notebook, two at a time. ``--kinds`` adds the processor seconds
of each kind of report. Waiting is what a worker neither computes nor starts: on a busy machine it also waits for a
processor. Exit status 1 where a reach is missed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

TOOL = "calculate_health_score"
WORKERS = 2
FASTER, SECONDS, WAITING = 30.0, 0.3, 0.10  # what to reach


@dataclass
class Spent:
    """Time by the clock, and processor time of this process and of its children."""

    clock: float = 0.0
    own: float = 0.0
    children: float = 0.0
    lives: float = 0.0  # of the children, by the clock


@contextmanager
def spending() -> Iterator[Spent]:
    spent, start, before = Spent(), time.perf_counter(), _processor()
    lives, done = Lives(), threading.Event()
    watching = threading.Thread(target=lives.watch, args=(done,), daemon=True)
    watching.start()
    yield spent
    done.set()
    watching.join()
    after = _processor()
    spent.clock, spent.lives = time.perf_counter() - start, lives.seconds
    spent.own, spent.children = (late - early for late, early in zip(after, before, strict=True))


class Lives:
    """When each child of this process was first and last seen."""

    def __init__(self) -> None:
        self.seen: dict[int, tuple[float, float]] = {}

    def watch(self, done: threading.Event) -> None:
        while not done.wait(0.1):
            now = time.perf_counter()
            for child in psutil.Process().children():
                self.seen[child.pid] = self.seen.get(child.pid, (now, now))[0], now

    @property
    def seconds(self) -> float:
        return sum(last - first for first, last in self.seen.values())


def _processor() -> tuple[float, float]:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own, children = (usage.ru_utime + usage.ru_stime for usage in used)
    return own, children


def stock(customers: Sequence[str], portfolio: str, folder: Path) -> Spent:
    """``papermill`` and ``jupyter nbconvert`` of each customer's report, two at a time."""
    programs = Path(sys.executable).parent
    notebook = ROOT / "notebooks" / "customer" / f"{TOOL}.ipynb"
    environment = {**os.environ, "HEALTHSEG_PORTFOLIO": portfolio}

    def report(client: str) -> None:
        out = str(folder / f"stock-{client}.ipynb")
        for command in (
            [programs / "papermill", "-p", "client_id", client, notebook, out],
            [programs / "jupyter", "nbconvert", "--to", "html", out],
        ):
            subprocess.run(command, check=True, capture_output=True, env=environment)

    with spending() as spent, ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(report, customers))
    return spent


def batch(
    tools: Sequence[str], portfolio: str, folder: Path, workers: int, **options: object
) -> Spent:
    """A batch of reports, all of which succeed."""
    from healthseg.reports.batches.run import make_reports

    with spending() as spent:
        run = make_reports(portfolio, tools, out=folder, workers=workers, **options)
    assert not run.failed, run.failed[0].error
    return spent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--portfolio", default=str(ROOT / "data" / "demo"))
    parser.add_argument("--reports", type=int, default=100)
    parser.add_argument("--stock", type=int, default=4)
    parser.add_argument("--kinds", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        batch([TOOL], options.portfolio, folder, WORKERS, riskiest=2)  # warms the cache
        own = batch([TOOL], options.portfolio, folder, WORKERS, riskiest=options.reports)
        customers = [path.name for path in sorted((folder / "customers").iterdir())]
        plain = stock(customers[: options.stock], options.portfolio, folder)
        if options.kinds:
            kinds(options.portfolio, folder)
    seconds = (own.own + own.children) / options.reports
    waiting = 1 - own.children / own.lives
    pace, stock_pace = 60 * options.reports / own.clock, 60 * options.stock / plain.clock
    print(
        f"ours: {pace:.0f} reports a minute, {seconds:.2f} processor seconds a report (reach {SECONDS}), "
        f"workers wait {waiting:.0%} of the time (reach {WAITING:.0%})"
    )
    print(
        f"stock: {stock_pace:.1f} a minute, {plain.children / options.stock:.2f} processor seconds"
    )
    print(f"{pace / stock_pace:.1f} x the reports a minute by the clock (reach {FASTER:.0f})")
    print(f"{dt.date.today()}, load average {os.getloadavg()[0]:.1f}")
    return int(pace < FASTER * stock_pace or seconds > SECONDS or waiting > WAITING)


def kinds(portfolio: str, folder: Path) -> None:
    """Processor seconds of each kind of report: what a batch of twelve takes beyond a batch of two."""
    from healthseg.tools import TOOLS

    means = []
    for tool in TOOLS:
        few, many = (
            batch([tool], portfolio, folder / tool, 1, riskiest=count) for count in (2, 12)
        )
        means.append((many.children - few.children) / 10)
        print(f"customer {tool}: {means[-1]:.2f} s")
        start = batch([tool], portfolio, folder / tool, 1, overview=True)
        print(f"portfolio {tool}, the worker's start included: {start.children:.2f} s")
    print(f"customer reports: {statistics.mean(means):.2f} s on average")


if __name__ == "__main__":
    sys.exit(main())
