"""A batch on a Dask cluster beside the same batch by workers of this machine; with --kill, one worker of Dask is lost.

python benchmarks/reports_cluster.py [--portfolio data/demo] [--customers 400] [--workers 4] [--kill]

Health reports, the same ones each time: first a small batch that fills the cache, then here, then on the cluster, whose
processes are started before the clock. Exit status 1 where the cluster has less than 0.85 of the throughput, or where
a report is not there once.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do
TOOL = "calculate_health_score"
REACH = 0.85


def batch(
    portfolio: str, customers: int, workers: int, on: object = None
) -> tuple[int, int, float]:
    """Reports that are there, lines of the manifest, and seconds."""
    import healthseg as hs
    from healthseg.reports.batches import manifest

    with tempfile.TemporaryDirectory() as out:
        begun = time.perf_counter()
        hs.make_reports(portfolio, (TOOL,), riskiest=customers, out=out, workers=workers, on=on)
        seconds = time.perf_counter() - begun
        lines = [line for path in manifest.runs(Path(out)) for line in manifest.lines(path)]
        recorded = [line["report"] for line in lines if line.get("status") == "ok"]
        pages = len(list(Path(out).rglob(f"{TOOL}.html")))
        assert len(set(recorded)) == len(recorded), "a report is recorded twice"
        return pages, len(recorded), seconds


def kill_one(client: object) -> None:
    while not any(client.processing().values()):
        time.sleep(0.2)
    time.sleep(10)
    busy = next((address for address, tasks in client.processing().items() if tasks), None)
    if busy is not None:
        os.kill(client.run(os.getpid)[busy], signal.SIGKILL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--portfolio", default="data/demo")
    parser.add_argument("--customers", type=int, default=400)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kill", action="store_true")
    options = parser.parse_args()
    import distributed

    batch(options.portfolio, options.workers, options.workers)
    local = batch(options.portfolio, options.customers, options.workers)
    with (
        distributed.LocalCluster(
            n_workers=options.workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        if options.kill:
            threading.Thread(target=kill_one, args=(client,), daemon=True).start()
        there = batch(options.portfolio, options.customers, options.workers, client)
    ratio = local[2] / there[2]
    print(f"{local[0]} reports by {options.workers} workers of this machine: {local[2]:.0f} s")
    print(f"{there[0]} reports, {there[1]} of them recorded, on the cluster: {there[2]:.0f} s")
    print(f"throughput: {ratio:.2f} of this machine's (reach {REACH:g} where no worker is lost)")
    return int(local[:2] != there[:2] or (not options.kill and ratio < REACH))


if __name__ == "__main__":
    sys.exit(main())
