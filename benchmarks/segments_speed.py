"""How long segment_customers and segment_by_value_tier take on an open portfolio.

    python benchmarks/segments_speed.py [--clients 250]

The panel and the models of the day are made by calls that are not timed. Then each criteria type, `custom` the first
time and again, and the tiers. Wall clock and processor time in milliseconds; on a busy machine the second is fairer.
Exit status 1 where the processor's time misses its reach.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

import healthseg as hs  # noqa: E402
from healthseg.demo import make_demo  # noqa: E402

CRITERIA = ("value", "usage", "health", "industry", "lifecycle")
REACH = {
    "small": {"criteria": 1.0, "custom": 6.0, "again": 0.1, "tiers": 2.0},
    "large": {"criteria": 5.0, "custom": 10.0, "again": 0.1, "tiers": 5.0},
}


def timed(name: str, reach: float, call: Callable[[], object]) -> bool:
    before = time.perf_counter(), time.process_time()
    call()
    wall, processor = time.perf_counter() - before[0], time.process_time() - before[1]
    print(
        f"{name}: wall {1000 * wall:.0f} ms, processor {1000 * processor:.0f} ms (reach {1000 * reach:.0f})",
        flush=True,
    )
    return min(wall, processor) <= reach


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clients", type=int, default=250)
    clients = parser.parse_args().clients
    reach = REACH["small" if clients <= 1_000 else "large"]
    with tempfile.TemporaryDirectory() as folder:
        make_demo(folder, clients=clients, events="light")
        portfolio = hs.Portfolio.open(folder)
        hs.segment_customers(
            portfolio,
            {"rules": [{"name": "all", "when": "score >= 0"}]},
            "custom",
            min_segment_size=2,
        )
        hs.segment_customers(portfolio, {}, "health", min_segment_size=3)
        good = [
            timed(
                f"{clients} customers, {kind}",
                reach["criteria"],
                lambda kind=kind: hs.segment_customers(portfolio, {}, kind),
            )
            for kind in CRITERIA
        ]
        custom = {"method": "gaussian_mixture"}
        good.append(
            timed(
                f"{clients} customers, custom, first time",
                reach["custom"],
                lambda: hs.segment_customers(portfolio, custom, "custom"),
            )
        )
        good.append(
            timed(
                f"{clients} customers, custom, again",
                reach["again"],
                lambda: hs.segment_customers(portfolio, custom, "custom"),
            )
        )
        good.append(
            timed(
                f"{clients} customers, tiers",
                reach["tiers"],
                lambda: hs.segment_by_value_tier(portfolio),
            )
        )
        portfolio.close()
    return int(not all(good))


if __name__ == "__main__":
    sys.exit(main())
