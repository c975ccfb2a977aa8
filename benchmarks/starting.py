"""What starting costs: importing the package, the command's help, and a whole call, beside the libraries they need.

python benchmarks/starting.py [--runs 7]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMAND = str(Path(sys.executable).parent / "healthseg")
IMPORTS = "import pandas, duckdb, statsmodels.tsa.api, sklearn.linear_model"


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def median(command: list[str], runs: int) -> float:
    seconds(command)
    return statistics.median(seconds(command) for _ in range(runs))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    bare = median([sys.executable, "-c", "pass"], runs)
    package = median([sys.executable, "-c", "import healthseg"], runs) - bare
    helped = median([COMMAND, "--help"], runs)
    libraries = median([sys.executable, "-c", IMPORTS], runs)
    print(f"import healthseg beyond a bare Python: {package:.3f} s (reach 0.15)")
    print(f"healthseg --help, whole process: {helped:.3f} s (reach 0.5)")
    print(
        f"the libraries alone: {libraries:.2f} s; healthseg --help is {helped / libraries:.2f} of it"
    )
    return int(package > 0.15 or helped > 0.5)


if __name__ == "__main__":
    sys.exit(main())
