"""How long a warm call of manage_lifecycle_stages takes: reading and writing, on a file and on a PostgreSQL server.

    python benchmarks/lifecycle_speed.py [--clients 330] [--calls 200] [--file-only]

One process, the panel of the day built, one untimed call, then calls over distinct customers. Wall clock and processor
time in milliseconds: on a busy machine the second is the fairer one. Exit status 1 where the 95th percentile of the
processor's time misses its reach (50 reading, 100 writing).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

import numpy as np  # noqa: E402

import healthseg as hs  # noqa: E402
from healthseg.demo import make_demo  # noqa: E402

REACH_MS = {"reading": 50.0, "writing": 100.0}


def timed(call: Callable[[str], Any], clients: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds of wall clock and of the processor, a call each; the first one is not timed."""
    call(clients[0])
    wall, processor = [], []
    for client in clients[1:]:
        before = time.perf_counter(), time.process_time()
        call(client)
        wall.append(time.perf_counter() - before[0])
        processor.append(time.process_time() - before[1])
    return 1000 * np.array(wall), 1000 * np.array(processor)


def read(portfolio: hs.Portfolio) -> Callable[[str], Any]:
    return lambda client: hs.manage_lifecycle_stages(portfolio, client, "get_stage")


def write(portfolio: hs.Portfolio) -> Callable[[str], Any]:
    return lambda client: hs.manage_lifecycle_stages(
        portfolio, client, "transition", "churned", "left"
    )


def measured(kind: str, folder: str, settings: dict[str, Any], calls: int) -> bool:
    """Prints a line for reading and one for writing; whether both are within reach."""
    portfolio, passed = hs.Portfolio.open(folder, settings), True
    live = (
        portfolio.table("customers").query("churned_on.isna()")["client_id"].tolist()[: calls + 1]
    )
    for name, make in (("reading", read), ("writing", write)):
        wall, processor = timed(make(portfolio), live)
        (wall_50, wall_95), (half, most) = (
            np.percentile(wall, [50, 95]),
            np.percentile(processor, [50, 95]),
        )
        passed &= bool(most <= REACH_MS[name])
        print(
            f"{kind}, {name}: {len(wall)} calls, wall p50 {wall_50:.0f} p95 {wall_95:.0f} ms, processor p50 "
            f"{half:.0f} p95 {most:.0f} ms (reach {REACH_MS[name]:.0f})",
            flush=True,
        )
    portfolio.close()
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clients", type=int, default=330)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--file-only", action="store_true")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        make_demo(folder, clients=options.clients, events="light")
        passed = measured("file", folder, {}, options.calls)
        if not options.file_only:
            from tests.data.postgres import server

            (Path(folder) / "healthseg.sqlite").unlink()
            other = stack.enter_context(tempfile.TemporaryDirectory())
            shutil.copytree(folder, other, dirs_exist_ok=True)
            address = stack.enter_context(server())
            passed &= measured("server", other, {"ledger": {"address": address}}, options.calls)
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
