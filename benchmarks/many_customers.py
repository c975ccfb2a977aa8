"""Many customers: facts, a panel of 13 dates, all health scores and each tool of the portfolio, as the first call of a
process whose cache is filled, and warm.

    python benchmarks/many_customers.py [--clients 10000] [--folder F] [--only STEP...]

Each step has a process of its own. Prints processor seconds and the peak of memory. Exit status 1 where one misses.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

import healthseg as hs  # noqa: E402

FIRST, GIB = 30.0, 8.0
# the tools' reach in seconds, warm, at 10,000 customers
WARM = {"tiers": 5.0, "segments": 2.0, "lifecycle": 5.0, "milestones": 5.0, "patterns": 20.0}
STEPS = ("facts", "panel", "scores", *WARM)


def panel(portfolio: hs.Portfolio) -> object:
    """13 dates, a week apart, that end with the last day of the data."""
    import pandas as pd

    return hs.panel(portfolio, pd.date_range(end=portfolio.data_until, periods=13, freq="7D"))


def scores(portfolio: hs.Portfolio) -> object:
    return hs.portfolio_health(portfolio)


CALLS: dict[str, Callable[[hs.Portfolio], object]] = {
    "facts": lambda portfolio: portfolio.reports["events"].kept,
    "panel": panel,
    "scores": scores,
    "tiers": hs.portfolio_tiers,
    "segments": hs.portfolio_segments,
    "lifecycle": hs.portfolio_lifecycle,
    "milestones": hs.portfolio_milestones,
    "patterns": hs.portfolio_patterns,
}


def step(name: str, folder: str) -> None:
    """One call in this process, and the same again."""
    portfolio = hs.Portfolio.open(folder)
    durations = [time.process_time()]
    for _ in range(2):
        before = time.process_time()
        CALLS[name](portfolio)
        durations.append(time.process_time() - before)
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(*durations, gib)


def measured(name: str, folder: str) -> tuple[float, float, float, float]:
    """Processor seconds of opening with the imports, of the first call and of the second; the peak in GiB."""
    command = [sys.executable, __file__, "--step", name, "--folder", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    opened, first, warm, gib = map(float, done.stdout.split()[-4:])
    return opened, first, warm, gib


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--folder", help="a portfolio that is there already")
    parser.add_argument("--only", nargs="+", default=STEPS, choices=STEPS)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options, missed = parser.parse_args(), False
    if options.step:
        step(options.step, options.folder)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or temporary
        if not options.folder:
            hs.make_demo(folder, clients=options.clients, events="light")
        for name in options.only:
            for turn in ("made", "filled"):
                opened, first, warm, gib = measured(name, folder)
                print(
                    f"{name}, cache {turn}: opening {opened:.1f} s, first call {first:.1f} s, again {warm:.2f} s, "
                    f"{gib:.2f} GiB",
                    flush=True,
                )
                missed |= gib > GIB
            missed |= name in WARM and (opened + first > FIRST or warm > WARM[name])
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
