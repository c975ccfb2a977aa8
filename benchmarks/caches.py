"""Cached responses: how fast one is found, that a changed row is never hidden, and what a cold command costs.

    python benchmarks/caches.py [--clients 250] [--runs 5]

A process's processor time is compared with what importing the libraries alone takes, in turns, since a busy machine is
slow in other minutes: the median of the ratios counts. Python may write its byte code, as it does for whoever installed
the package. Exit status 1 where a reach is missed.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

from healthseg.demo import make_demo  # noqa: E402
from healthseg.reports.responses import WRITERS, Responses  # noqa: E402
from healthseg.tools import TOOLS  # noqa: E402
from tests.reports.asked import asked_of  # noqa: E402

CLIENT = "cs_client_001"
COMMAND = [str(Path(sys.executable).parent / "healthseg"), "run"]
FITTING = "import pandas, duckdb, statsmodels.tsa.api, sklearn.linear_model"
PLAIN = "import pandas, duckdb"
FITS = (
    "calculate_health_score",
    "segment_customers",
    "segment_by_value_tier",
    "analyze_engagement_patterns",
    "track_feature_adoption",
)
REACH_MS, REACH_FIT, REACH_PLAIN = 10.0, 1.5, 2.5
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
}


def processor(command: list[str]) -> float:
    """The processor time of a whole process, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def times(command: list[str], libraries: str, runs: int) -> float:
    """How many times what importing the libraries takes, in the median; the first run is not counted."""
    imports = [sys.executable, "-c", libraries]
    processor(imports)
    processor(command)
    return statistics.median(processor(command) / processor(imports) for _ in range(runs))


def words(tool: str, folder: str, *more: str) -> list[str]:
    import json

    return [
        *COMMAND,
        tool,
        "--portfolio",
        folder,
        "--params",
        json.dumps(asked_of(tool, CLIENT)),
        *more,
    ]


def hit_times(folder: str) -> Iterator[bool]:
    """Milliseconds in which a cached response is found, for each tool that keeps any; the clock's and the processor's."""
    responses = Responses(folder)
    for tool in TOOLS:
        if tool in WRITERS:
            continue
        parameters = asked_of(tool, CLIENT)
        for _ in range(3):
            responses.response(tool, parameters)
        durations, worked, hits = [], [], []
        for _ in range(200):
            before, at_work = time.perf_counter(), time.process_time()
            hits.append(responses.response(tool, parameters).body["cache"]["hit"])
            durations.append(1000 * (time.perf_counter() - before))
            worked.append(1000 * (time.process_time() - at_work))
        most, of_processor = (statistics.quantiles(each, n=20)[-1] for each in (durations, worked))
        print(
            f"{tool}, cached: p50 {statistics.median(durations):.1f} ms, p95 {most:.1f} ms (reach {REACH_MS:.0f}), "
            f"of the processor {of_processor:.1f} ms"
            + ("" if all(hits) else f", {200 - sum(hits)} NOT found")
        )
        yield all(hits) and most <= REACH_MS


def fresh(folder: str) -> Iterator[bool]:
    """After a change of each table's file no cached response is given."""
    responses = Responses(folder)
    parameters = {"client_id": CLIENT}
    for file in sorted(Path(folder).glob("*.parquet")):
        for _ in range(3):
            cached = responses.response("track_usage_engagement", parameters).body["cache"]
        stat = file.stat()
        data = file.read_bytes()
        file.write_bytes(data)  # as many bytes as before,
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # and as old as before
        hidden = responses.response("track_usage_engagement", parameters).body["cache"]["hit"]
        yield cached["hit"] and not hidden
        if hidden or not cached["hit"]:
            print(f"{file.name}: cached {cached['hit']}, hidden {hidden}")


def cold_runs(folder: str, runs: int) -> Iterator[bool]:
    """Whole processes with facts stored, against the libraries' imports."""
    for tool in TOOLS:
        base, reach = (FITTING, REACH_FIT) if tool in FITS else (PLAIN, REACH_PLAIN)
        ratio = times(words(tool, folder, "--no-cache"), base, runs)
        print(f"run {tool}, made: {ratio:.2f} × {base!r} (reach {reach})")
        yield ratio <= reach
    ratio = times(words("calculate_health_score", folder), PLAIN, runs)
    print(f"run calculate_health_score, cached: {ratio:.2f} × {PLAIN!r} (reach {REACH_PLAIN})")
    yield ratio <= REACH_PLAIN


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clients", type=int, default=250)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_demo(folder, clients=options.clients)
        quick = list(hit_times(folder))
        noticed = list(fresh(folder))
        print(
            f"a table written anew in {len(noticed)} ways: {sum(noticed)} times no cached response was given"
        )
        started = list(cold_runs(folder, options.runs))
    return int(not all([*quick, *noticed, *started]))


if __name__ == "__main__":
    sys.exit(main())
