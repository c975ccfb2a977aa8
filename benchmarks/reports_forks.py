"""Forked kernels by the thousand: no deadlock, and memory that stays as it was after the first hundred.

    python benchmarks/reports_forks.py [--reports 2000]

One process executes and exports a small notebook again and again, each time in a kernel of its own. Looked at are the
resident memory of that process and of the template; exit status 1 where either leaves ± 10 % after the first 100.
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
    given = parser.parse_args()
    from healthseg.reports.batches import execution
    from healthseg.reports.batches.kernels import forking, linux

    notebook, at = ROOT / "benchmarks" / "notebooks" / "reference.ipynb", dt.datetime.now(dt.UTC)
    own, template, start = [], [], time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for place in range(given.reports):
            job = execution.Job(
                "reference", f"c{place % 50}", str(notebook), {"seed": place % 7}, folder, folder
            )
            outcome = execution.make(job, at, ahead=place + 1 < given.reports)
            if not outcome.ok:
                print(f"report {place}: {outcome.error['error_message']}")
                return 1
            own.append(linux.own_memory() / 2**20)
            template.append(linux.group_memory(forking._running["template"].process.pid) / 2**20)
        left = linux.children(forking._running["template"].process.pid)
        forking.stop()
    settled = min(100, given.reports // 2)
    print(
        f"{given.reports} reports, each in a forked kernel, in {time.perf_counter() - start:.0f} s; no deadlock; "
        f"{len(left)} kernels left over"
    )
    steady = True
    for name, figures in (("exporting process", own), ("template", template)):
        base, rest = figures[settled - 1], figures[settled:]
        steady &= max(rest) <= 1.1 * base and min(rest) >= 0.9 * base
        print(
            f"memory of the {name}: {base:.0f} MB after {settled}, then {min(rest):.0f} to {max(rest):.0f} MB "
            f"(reach ± 10 %)"
        )
    return int(not steady or bool(left))


if __name__ == "__main__":
    sys.exit(main())
