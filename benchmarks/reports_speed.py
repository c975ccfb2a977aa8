"""Reports beside stock papermill and ``jupyter nbconvert``: processor seconds a report, notebook and HTML.

    python benchmarks/reports_speed.py [--ours 24] [--stock 3] [--clients 60]

Two kinds: the small reference notebook (six cells: imports, a series, an ETS forecast, two charts, a clustering) and
our own customer reports of health. Both ways run two at once. Reports a minute of two saturated cores go as one over
the processor seconds of a report, so these are compared: on a shared machine the clock says little.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

REFERENCE = ROOT / "benchmarks" / "notebooks" / "reference.ipynb"
REACH = {"reference": 20.0, "health": 10.0}
TOOL = "calculate_health_score"


def children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def stock(
    notebook: Path, folder: Path, parameters: list[dict[str, str | int]], portfolio: str
) -> tuple[float, float]:
    """Processor and wall seconds a report of ``papermill`` and then ``jupyter nbconvert``, two at once."""
    python = str(Path(sys.executable).parent)

    def one(given: tuple[int, dict[str, str | int]]) -> None:
        target, values = given
        out = folder / f"stock-{target}.ipynb"
        named = [word for name, value in values.items() for word in ("-p", name, str(value))]
        quiet = {
            "check": True,
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
            "env": {**os.environ, "HEALTHSEG_PORTFOLIO": portfolio},
        }
        subprocess.run([f"{python}/papermill", *named, str(notebook), str(out)], **quiet)
        subprocess.run([f"{python}/jupyter", "nbconvert", "--to", "html", str(out)], **quiet)

    before, start = children(), time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, enumerate(parameters)))
    return (children() - before) / len(parameters), (time.perf_counter() - start) / len(parameters)


OURS = """
import datetime as dt, json, sys, tempfile, os
sys.path.insert(0, {root!r})
from pathlib import Path
from healthseg.reports import portfolios, registry
from healthseg.reports.batches import execution, plans, pool, reports
if __name__ == "__main__":
    jobs = [execution.Job(*one) for one in json.loads({jobs!r})]
    at = dt.datetime.now(dt.UTC)
    portfolio = portfolios.open_portfolio({portfolio!r})
    with reports._template(portfolio, jobs, range(len(jobs)), plans.Asked(("calculate_health_score",))):
        bad = [outcome.error for _, outcome in pool.run(jobs, 2, at, lambda: None) if not outcome.ok]
    sys.exit(str(bad[0]) if bad else 0)
"""


def ours(jobs: list[tuple], portfolio: str) -> tuple[float, float]:
    """Processor and wall seconds of a whole batch in a process of its own, its start included."""
    import json

    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(OURS.format(root=str(ROOT), jobs=json.dumps(jobs), portfolio=portfolio))
        file.flush()
        before, start = children(), time.perf_counter()
        subprocess.run([sys.executable, file.name], check=True)
        return children() - before, time.perf_counter() - start


def compared(
    kind: str,
    notebook: Path,
    parameters: list[dict[str, str | int]],
    given: argparse.Namespace,
    folder: Path,
    portfolio: str,
) -> bool:
    jobs = [
        (
            TOOL,
            values.get("client_id", f"{kind}_{target}"),
            str(notebook),
            values,
            portfolio,
            str(folder),
        )
        for target, values in enumerate(parameters)
    ]
    few, many = jobs[:2], jobs[: given.ours]
    start_cpu, start_wall = ours(few, portfolio)
    whole_cpu, whole_wall = ours(many, portfolio)
    more = len(many) - len(few)
    each, wall = (whole_cpu - start_cpu) / more, (whole_wall - start_wall) / more
    stock_cpu, stock_wall = stock(notebook, folder, parameters[: given.stock], portfolio)
    at_200 = start_cpu - len(few) * each + 200 * each
    ratio = 200 * stock_cpu / at_200
    print(
        f"{kind}: ours {each:.2f} processor s a report beyond {start_cpu - len(few) * each:.1f} s to start "
        f"(wall {wall:.2f}); stock {stock_cpu:.2f} (wall {stock_wall:.2f})"
    )
    print(
        f"{kind}: 200 reports on two cores: {ratio:.1f} x the reports per minute (reach {REACH[kind]:.0f})"
    )
    return ratio >= REACH[kind]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ours", type=int, default=24)
    parser.add_argument("--stock", type=int, default=3)
    parser.add_argument("--clients", type=int, default=60)
    given = parser.parse_args()
    from healthseg.data.portfolio import Portfolio
    from healthseg.demo import make_demo

    with tempfile.TemporaryDirectory() as name:
        folder, portfolio = Path(name), f"{name}/portfolio"
        make_demo(portfolio, clients=given.clients, events="light")
        opened = Portfolio.open(portfolio)
        live = opened.table("customers").query("churned_on.isna()")["client_id"].tolist()
        opened.close()
        seeds = [{"seed": target} for target in range(given.ours)]
        whom = [{"client_id": live[target % len(live)]} for target in range(given.ours)]
        reached = [
            compared("reference", REFERENCE, seeds, given, folder, portfolio),
            compared(
                "health",
                ROOT / "notebooks" / "customer" / f"{TOOL}.ipynb",
                whom,
                given,
                folder,
                portfolio,
            ),
        ]
    print(f"{dt.date.today()}, load average {os.getloadavg()[0]:.1f}")
    return int(not all(reached))


if __name__ == "__main__":
    sys.exit(main())
