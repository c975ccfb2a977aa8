"""A batch that is killed at random moments and resumed each time: nothing lost, cut, or made twice for nothing.

    python benchmarks/reports_killed.py [--kills 50] [--clients 40] [--reports 12] [--seed 1]

After each kill every page that is there is whole; a page that is there stays untouched to the end; at the end all are
there, and the manifest's last word on each is true.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do
TOOL = "calculate_health_score"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--reports", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    from healthseg.demo import make_demo
    from healthseg.reports.batches import job, manifest

    draw, moments = random.Random(options.seed), []
    with tempfile.TemporaryDirectory() as name:
        for part in (
            "healthseg",
            "notebooks",
        ):  # a copy: what reports are made from must not change meanwhile
            shutil.copytree(
                ROOT / part, f"{name}/package/{part}", ignore=shutil.ignore_patterns("__pycache__")
            )
        make_demo(f"{name}/portfolio", clients=options.clients, months=9, events="light")
        out, environment = Path(name) / "out", {**os.environ, "PYTHONPATH": f"{name}/package"}
        command = [
            sys.executable,
            "-m",
            "healthseg.cli.main",
            "report",
            TOOL,
            "--portfolio",
            f"{name}/portfolio",
            "--riskiest",
            str(options.reports),
            "--out",
            str(out),
            "--resume",
            "--quiet",
            "--workers",
            "2",
        ]
        start, usual, finished = time.perf_counter(), 0.0, {}
        for kill in range(options.kills + 1):
            began = time.perf_counter()
            process = subprocess.Popen(
                command, env=environment, start_new_session=True, cwd=f"{name}/package"
            )
            try:
                # Over the whole length of a run as it was last seen; the first is killed within its first half minute.
                moment = draw.uniform(0.0, usual or 30.0) if kill < options.kills else None
                status = process.wait(moment)
            except subprocess.TimeoutExpired:
                process.kill()
                status = process.wait()
                moments.append(moment)
            else:
                usual = time.perf_counter() - began
            time.sleep(0.3)
            pages = {page: page.stat().st_mtime_ns for page in out.rglob(f"{TOOL}.html")}
            assert all(page.read_text("utf-8").rstrip().endswith("</html>") for page in pages), (
                "a page was cut"
            )
            assert all(pages.get(page) == then for page, then in finished.items()), (
                "a page was lost or made twice"
            )
            finished = pages
            if len(pages) == options.reports and kill < options.kills:
                shutil.rmtree(out)  # all there: the next kills have something to interrupt
                finished = {}
        last = manifest.latest(out)
        assert status == 0 and len(finished) == options.reports, "not all reports are there"
        assert {line["status"] for line in last.values()} == {"ok"}, "the manifest is not true"
        assert all(
            job.key_of(page) == last[f"customers/{page.parent.name}/{TOOL}"]["key"]
            for page in finished
        ), "wrong key"
        left = [path for path in out.rglob("*.part")]
    print(
        f"killed {len(moments)} times at {min(moments):.1f} to {max(moments):.1f} s, resumed each time, in "
        f"{time.perf_counter() - start:.0f} s: no page lost, cut or made twice; the manifest is true; "
        f"{len(left)} temporary files left"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
