"""What a report costs beyond its bare cells: processor seconds of the whole engine, by kind of report.

    python benchmarks/reports_cpu.py [--clients 120] [--customers 6] [--overview 3]

The engine: a batch with one worker, its whole tree of processes read from /proc after each report (kernel, template,
worker with its export, and the process that hands out the work). Bare: the same cells, warm and in one process, with
what the batch shares counted before: of customers one process for all, of the portfolio one a kind, where they run for the
first time, as in the engine, so that nothing profits from what another left in memory. Of customers' reports the first
of each kind is not counted on either side. Reach: at most 0.35 s on average, of customers' reports and of all.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

REACH_SECONDS = 0.35
TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
Key = tuple[str, str]  # customer or portfolio, and the tool


def tree_seconds(pid: int) -> float:
    """Processor seconds of a process, of all that ended under it, and of its children."""
    from healthseg.reports.batches.kernels import linux

    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    own = sum(map(int, text.rpartition(")")[2].split()[11:15])) * TICK_SECONDS
    return own + sum(map(tree_seconds, linux.children(pid)))


def kinds() -> list[Key]:
    from healthseg.tools import TOOLS

    return [(kind, tool) for kind in ("customer", "portfolio") for tool in TOOLS]


def engine(portfolio: str, folder: str, customers: Sequence[str], repeats: int) -> dict[Key, float]:
    """Processor seconds a report of each kind, made by the engine one after another."""
    from healthseg.reports import portfolios
    from healthseg.reports.batches import plans, pool, reports

    opened, jobs, keys = portfolios.open_portfolio(portfolio), [], []
    for kind, tool in kinds():
        whom = customers if kind == "customer" else [""] * repeats
        for client in whom:
            command = plans.Asked((tool,), {}, not client)
            jobs += plans.jobs(command, [client] if client else [], portfolio, folder, "", "")
            keys.append((kind, tool))
    spent: dict[Key, list[float]] = {}
    with reports._template(
        opened, jobs, range(len(jobs)), plans.Asked(tuple(tool for _, tool in kinds()))
    ) as template:
        before = tree_seconds(os.getpid())
        for target, outcome in pool.run(
            jobs, 1, dt.datetime.now(dt.UTC), lambda: None, template=template
        ):
            assert outcome.ok, outcome.error
            now = tree_seconds(os.getpid())
            spent.setdefault(keys[target], []).append(now - before)
            before = now
    return {key: sum(each[1:]) / len(each[1:]) for key, each in spent.items()}


def cells(kind: str, tool: str, portfolio: str, client: str) -> float:
    """Processor seconds of a notebook's cells, run here."""
    import nbformat

    from tests.reports import every_page

    notebook = nbformat.read(every_page.NOTEBOOKS / kind / f"{tool}.ipynb", as_version=4)
    parameters, *code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    names: dict[str, object] = {}
    exec(parameters, names)
    names |= {"portfolio": portfolio, **({"client_id": client} if kind == "customer" else {})}
    before = time.process_time()
    for source in code:
        printed = every_page.run_cell(source, names)
        if printed is not None:
            printed._repr_mimebundle_()
    return time.process_time() - before


def bare(portfolio: str, customers: Sequence[str], wanted: Sequence[Key]) -> dict[str, float]:
    """The same cells in this process, after what a batch shares was counted and one report was drawn."""
    from healthseg.reports import portfolios, registry
    from healthseg.reports.batches.kernels import sharing

    opened = portfolios.open_portfolio(portfolio)
    for _, tool in kinds():
        registry.report_response(tool, opened, {"client_id": customers[-1]})
    sharing._shared[portfolio] = opened
    cells("customer", "calculate_health_score", portfolio, customers[-1])
    line = {}
    for kind, tool in wanted:
        each = [
            cells(kind, tool, portfolio, client)
            for client in (customers if kind == "customer" else [""])
        ]
        line[f"{kind} {tool}"] = sum(each[1:]) / len(each[1:]) if len(each) > 1 else each[0]
    return line


def bare_apart(portfolio: str, customers: Sequence[str], wanted: Sequence[Key]) -> dict[str, float]:
    """``bare`` in a fresh process with the threads and the surroundings that a kernel has."""
    from healthseg.reports.batches.kernels.supply import ONE_THREAD

    given = json.dumps([portfolio, list(customers), list(wanted)])
    done = subprocess.run(
        [sys.executable, __file__, "--bare", given],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **ONE_THREAD},
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clients", type=int, default=120)
    parser.add_argument("--customers", type=int, default=6)
    parser.add_argument("--overview", type=int, default=3)
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.bare:
        print(json.dumps(bare(*json.loads(given.bare))))
        return 0
    from healthseg.data.portfolio import Portfolio
    from healthseg.demo import make_demo

    with tempfile.TemporaryDirectory() as name:
        portfolio = f"{name}/portfolio"
        make_demo(portfolio, clients=given.clients, events="light")
        opened = Portfolio.open(portfolio)
        live = opened.table("customers").query("churned_on.isna()")["client_id"].sort_values()
        customers = live.tolist()[: given.customers]
        opened.close()
        alone = bare_apart(portfolio, customers, [key for key in kinds() if key[0] == "customer"])
        for key in kinds():
            alone |= bare_apart(portfolio, customers, [key]) if key[0] == "portfolio" else {}
        total = engine(portfolio, f"{name}/reports", customers, given.overview)
    beyond = {key: total[key] - alone[" ".join(key)] for key in kinds()}
    for key, seconds in beyond.items():
        print(
            f"{' '.join(key)}: {total[key]:.2f} s, bare cells {alone[' '.join(key)]:.2f} s, beyond {seconds:.2f} s"
        )
    means = {}
    for kind in ("customer", "portfolio"):
        known = [seconds for (of, _), seconds in beyond.items() if of == kind]
        means[kind] = sum(known) / len(known)
        print(
            f"{kind}: beyond the bare cells {means[kind]:.2f} s on average (reach {REACH_SECONDS})"
        )
    mean = sum(beyond.values()) / len(beyond)
    print(
        f"all 16 kinds: {mean:.2f} s on average; {dt.date.today()}, load average {os.getloadavg()[0]:.1f}"
    )
    return int(max(mean, *means.values()) > REACH_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
