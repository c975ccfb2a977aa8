"""Opening: a CSV file of 40,000 columns, customers alone beside many events, and frames, in seconds of processor.

    python benchmarks/sources.py [--rows 200] [--clients 60]

Exit status 1 where a reach is missed.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


import healthseg as hs

COLUMNS, WIDE_SECONDS = 40_000, 5.0


def seconds(work: Callable[[], object]) -> float:
    """Processor time of all threads."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def wide(folder: Path, rows: int) -> Path:
    names = ["client_id", "signup_date", *(f"extra_{n}" for n in range(COLUMNS - 2))]
    lines = [[f"c{k}", "2025-01-01", *["0"] * (COLUMNS - 2)] for k in range(rows)]
    folder.mkdir()
    (folder / "customers.csv").write_text("\n".join(",".join(line) for line in [names, *lines]))
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--clients", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = wide(folder / "wide", options.rows)
        elapsed = seconds(lambda: hs.Portfolio.open(path).table("customers"))
        print(
            f"CSV of {COLUMNS:,} columns, {options.rows} rows: {elapsed:.1f} s (reach {WIDE_SECONDS:.0f})"
        )
        hs.make_demo(folder / "demo", clients=options.clients)
        portfolio = hs.Portfolio.open(folder / "demo")
        customers = seconds(lambda: portfolio.table("customers"))
        rest = seconds(lambda: portfolio.reports)
        events = portfolio.reports["events"].kept
        print(
            f"customers alone beside {events:,} events: {customers:.2f} s; all other tables: {rest:.1f} s"
        )
        frames = {"customers": portfolio.table("customers"), "events": portfolio.table("events")}
        opened = seconds(lambda: len(hs.Portfolio.open(frames).reports))
        print(f"the same as {len(frames['events']):,} rows of a DataFrame: {opened:.1f} s")
    return int(elapsed > WIDE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
