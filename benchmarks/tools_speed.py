"""How long a call of a tool takes on an open portfolio: 200 calls over distinct customers, after one that is not timed.

    python benchmarks/tools_speed.py [--clients 330] [--calls 200]

Wall clock and processor time of one process, in milliseconds: on a busy machine the second is the fairer one. Exit
status 1 where the 95th percentile of the processor's time misses its reach.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

import numpy as np  # noqa: E402

import healthseg as hs  # noqa: E402
from healthseg.demo import make_demo  # noqa: E402
from healthseg.tools import TOOLS  # noqa: E402

REACH_MS = {"track_usage_engagement": 150.0, "track_adoption_milestones": 50.0}


def timed(portfolio: hs.Portfolio, name: str, clients: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds of wall clock and of the processor, a call each."""
    function = TOOLS[name].function
    function(portfolio, clients[0])
    wall, processor = [], []
    for client in clients:
        before = time.perf_counter(), time.process_time()
        function(portfolio, client)
        wall.append(time.perf_counter() - before[0])
        processor.append(time.process_time() - before[1])
    return 1000 * np.array(wall), 1000 * np.array(processor)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clients", type=int, default=330)
    parser.add_argument("--calls", type=int, default=200)
    options, missed = parser.parse_args(), False
    with tempfile.TemporaryDirectory() as folder:
        make_demo(folder, clients=options.clients)
        portfolio = hs.Portfolio.open(folder)
        clients = [
            row["client_id"]
            for row in portfolio.table("customers").to_dict("records")
            if row["churned_on"] is None or row["churned_on"] != row["churned_on"]
        ][: options.calls]
        for name, reach in REACH_MS.items():
            wall, processor = timed(portfolio, name, clients)
            (wall_50, wall_95), (half, most) = (
                np.percentile(wall, [50, 95]),
                np.percentile(processor, [50, 95]),
            )
            missed |= most > reach
            print(
                f"{name}: {len(clients)} calls, wall p50 {wall_50:.0f} p95 {wall_95:.0f} ms, "
                f"processor p50 {half:.0f} p95 {most:.0f} ms (reach {reach:.0f})"
            )
        portfolio.close()
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
