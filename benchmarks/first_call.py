"""The first call of a process, by tool: processor seconds for one customer of the demo portfolio (250 customers).

python benchmarks/first_call.py [--portfolio data/demo] [--empty]

Each call has a process of its own, imports and opening included. With --empty each has an empty cache, too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REACH = {
    "calculate_health_score": 1.0,
    "manage_lifecycle_stages": 1.0,
    "track_adoption_milestones": 1.0,
    "track_usage_engagement": 2.0,
    "track_feature_adoption": 2.0,
    "segment_customers": 2.0,
    "segment_by_value_tier": 2.0,
    "analyze_engagement_patterns": 2.0,
}
EMPTY_REACH = 6.0
CALL = """
import sys, time
import healthseg as hs
from healthseg.reports import registry
portfolio = hs.Portfolio.open(sys.argv[1])
client = portfolio.table("customers")["client_id"].sort_values().iloc[0]
registry.report_response(sys.argv[2], portfolio, {"client_id": client})
print(time.process_time())
"""


def seconds(portfolio: str, tool: str, environment: dict[str, str]) -> float:
    command = [sys.executable, "-c", CALL, portfolio, tool]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout.split()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--portfolio", default="data/demo")
    parser.add_argument("--empty", action="store_true")
    arguments = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled
    missed = 0
    for tool, reach in REACH.items():
        reach = EMPTY_REACH if arguments.empty else reach
        with tempfile.TemporaryDirectory() as folder:
            portfolio = arguments.portfolio
            if arguments.empty:
                portfolio = str(Path(folder) / "portfolio")
                _copied(Path(arguments.portfolio), Path(portfolio))
            else:
                seconds(portfolio, tool, environment)
            value = seconds(portfolio, tool, environment)
        missed += value > reach
        print(f"{tool}: {value:.2f} s of processor (reach {reach:g})", flush=True)
    return int(missed > 0)


def _copied(source: Path, target: Path) -> None:
    """The tables without what was derived from them."""
    target.mkdir()
    for path in source.iterdir():
        if path.is_file():
            os.link(path, target / path.name)


if __name__ == "__main__":
    sys.exit(main())
