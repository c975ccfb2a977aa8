"""Reports by the thousand in one worker: no deadlock, and memory that stays as it was after the first hundred.

    python benchmarks/reports_many.py [--reports 2000]

One worker, which is never replaced, executes and writes a small notebook again and again. Exit status 1 where its memory
leaves ± 10% after the first 100.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--reports", type=int, default=2000)
    count = parser.parse_args().reports
    from healthseg.reports.batches.job import Job
    from healthseg.reports.batches.local import run_jobs
    from healthseg.settings.operator import ReportSettings

    notebook, at = ROOT / "benchmarks" / "notebooks" / "reference.ipynb", dt.datetime.now(dt.UTC)
    settings = ReportSettings(worker_reports=count + 1, worker_memory_mb=100_000)
    memory, start = [], time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        jobs = [
            Job("reference", f"c{n % 50}", str(notebook), {"seed": n % 7}, folder, folder)
            for n in range(count)
        ]
        for index, outcome in run_jobs(jobs, 1, at, dict, settings):
            if not outcome.ok:
                print(f"report {index}: {outcome.error['error_message']}")
                return 1
            memory.append(outcome.memory_mb)
    settled = min(100, count // 2)
    base, rest = memory[settled - 1], memory[settled:]
    print(f"{count} reports in one worker in {time.perf_counter() - start:.0f} s; no deadlock")
    print(
        f"memory of the worker: {base:.0f} MB after {settled}, then {min(rest):.0f} to "
        f"{max(rest):.0f} MB (reach ± 10%)"
    )
    return int(max(rest) > 1.1 * base or min(rest) < 0.9 * base)


if __name__ == "__main__":
    sys.exit(main())
