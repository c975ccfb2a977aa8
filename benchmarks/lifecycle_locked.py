"""Another program holds the ledger's file while a customer is moved: an error in its time, or done once it is free.

    python benchmarks/lifecycle_locked.py [--seconds 30] [--short 10] [--long 60]

A process of its own holds the file, in SQLite's two ways (``BEGIN EXCLUSIVE``, which lets others read, and the locking
mode ``EXCLUSIVE``, which does not), while ``update_stage`` is called by one who waits ``--short`` seconds for it (the
default setting) and by one who waits ``--long``. Afterwards: the refused change is not there, not in part either, and
the same call is made without ado. Exit status 1 where not.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sqlite3
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

import healthseg as hs  # noqa: E402
from healthseg.data.ledger.ledger import FILE_NAME  # noqa: E402
from healthseg.errors import DataRetrievalError  # noqa: E402
from healthseg.settings.lifecycle import LedgerPlace  # noqa: E402
from healthseg.testing import tiny_portfolio  # noqa: E402

SPAWN = multiprocessing.get_context("spawn")
HOLDS = {
    "BEGIN EXCLUSIVE": ("BEGIN EXCLUSIVE",),
    "locking mode EXCLUSIVE": ("PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE"),
}
LATE = 2.0  # seconds that an answer may come after its stated time, on a busy machine


@dataclass(frozen=True)
class Asked:
    """A call made while the file was held: what was said of it (None: it was done), and how long that took."""

    waits: float
    refusal: str | None
    seconds: float


@dataclass(frozen=True)
class Found:
    """Of one way to hold the file: both calls, the seconds of a reader (None: shut out), and what was there later."""

    short: Asked
    long: Asked
    reader: float | None
    rows_after_refusal: int
    again: bool  # the refused call, made again
    rows: int
    sound: bool  # SQLite's own check

    def well(self, seconds: float) -> bool:
        """Whether the short wait was refused in its time, the long one served when the file was free, nothing half."""
        named = self.short.refusal is not None and "locked by another process" in self.short.refusal
        in_time = self.short.waits * 0.9 <= self.short.seconds <= self.short.waits + LATE
        served = self.long.refusal is None and self.long.seconds <= seconds + LATE
        return (
            named
            and in_time
            and served
            and self.again
            and self.sound
            and (self.rows_after_refusal, self.rows) == (2, 3)
        )


def hold(path: str, kind: str, seconds: float, ready: Any) -> None:
    """Another program: takes the file, says so, keeps it for so long."""
    with sqlite3.connect(path, isolation_level=None, timeout=10) as other:
        for statement in HOLDS[kind]:
            other.execute(statement)
        ready.set()
        time.sleep(seconds)
        other.execute("ROLLBACK")
    other.close()


def call(portfolio: hs.Portfolio, stage: str) -> Asked:
    began, refusal = time.monotonic(), None
    try:
        hs.manage_lifecycle_stages(portfolio, "a", "update_stage", stage, "seen", request_id=stage)
    except DataRetrievalError as problem:
        refusal = problem.message
    return Asked(portfolio.settings.ledger.busy_seconds, refusal, time.monotonic() - began)


def reading(portfolio: hs.Portfolio) -> float | None:
    began = time.monotonic()
    try:
        hs.manage_lifecycle_stages(portfolio, "a", "get_stage")
    except DataRetrievalError:
        return None
    return time.monotonic() - began


def run(kind: str, seconds: float, short: float, long: float) -> Found:
    """Both calls one after the other, the second one while the rest of the time lasts."""
    moved = tiny_portfolio([("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 31)])
    path = moved.folder / FILE_NAME
    hasty, patient = (
        hs.Portfolio.open(
            moved.path, moved.settings.model_copy(update={"ledger": LedgerPlace(busy_seconds=wait)})
        )
        for wait in (short, long)
    )
    hs.manage_lifecycle_stages(patient, "a", "update_stage", "trial")
    hs.manage_lifecycle_stages(hasty, "a", "get_stage")
    ready = SPAWN.Event()
    other = SPAWN.Process(target=hold, args=(str(path), kind, seconds, ready))
    other.start()
    ready.wait(60)
    refused = call(hasty, "engaged")
    reader = reading(hasty)
    served = call(patient, "active")
    other.join()
    rows = len(patient.ledger().stage_events())
    again = call(hasty, "engaged").refusal is None
    with sqlite3.connect(path) as raw:
        sound = raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()
    return Found(refused, served, reader, rows, again, len(patient.ledger().stage_events()), sound)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--short", type=float, default=LedgerPlace().busy_seconds)
    parser.add_argument("--long", type=float, default=60.0)
    options, well = parser.parse_args(), True
    for kind in HOLDS:
        outcomes = run(kind, options.seconds, options.short, options.long)
        well &= outcomes.well(options.seconds)
        read = "shut out" if outcomes.reader is None else f"answered after {outcomes.reader:.2f} s"
        line = (outcomes.short.refusal or "nothing").partition(FILE_NAME)[2].strip()
        print(
            f"{kind}, {options.seconds:g} s\n"
            f"  asked with a wait of {outcomes.short.waits:g} s: after {outcomes.short.seconds:.1f} s the error "
            f"“… {line}”\n"
            f"  asked next with a wait of {outcomes.long.waits:g} s: "
            f"{'done' if outcomes.long.refusal is None else 'refused'} after {outcomes.long.seconds:.1f} s\n"
            f"  reading meanwhile: {read}; rows of the refused change {outcomes.rows_after_refusal - 2}, made again "
            f"{'yes' if outcomes.again else 'no'}; the file {'sound' if outcomes.sound else 'damaged'}",
            flush=True,
        )
    return int(not well)


if __name__ == "__main__":
    sys.exit(main())
