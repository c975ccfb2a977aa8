"""Every kind of page of a portfolio: the notebooks' own cells, run here without kernels, the index and the digest."""

from __future__ import annotations

import ast
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_output

import healthseg as hs
from healthseg.integrations.alerts import digest
from healthseg.integrations.alerts import run as alerts
from healthseg.reports.html import export, index
from healthseg.settings.in_force import in_force
from healthseg.tools import TOOLS, portfolio_health
from tests.reports.pages import NAVIGATION, NOTEBOOKS

AT = dt.datetime(2025, 10, 11, 4, 30, tzinfo=dt.UTC)
REPORTS = [
    *(f"{kind}-{tool}" for kind in ("customer", "portfolio") for tool in TOOLS),
    "overview-board",
    "overview-customer_360",
]
KINDS = [*REPORTS, "index", "alerts"]


def report(kind: str, tool: str, portfolio: Path, client_id: str) -> str:
    """A report as it is written: each cell's last expression shows itself."""
    notebook = nbformat.read(NOTEBOOKS / kind / f"{tool}.ipynb", as_version=4)
    parameters, *cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    names: dict[str, Any] = {}
    exec(parameters.source, names)
    names |= {
        "portfolio": str(portfolio),
        **({"client_id": client_id} if kind == "customer" or tool == "customer_360" else {}),
    }
    for cell in cells:
        shown = run_cell(cell.source, names)
        if shown is not None:
            cell.outputs = [
                new_output("execute_result", data=shown._repr_mimebundle_(), execution_count=1)
            ]
    return export.to_html(
        notebook,
        export.NotebookOrigin(AT, 1.0),
        navigation=NAVIGATION,
        portfolio=kind == "portfolio",
    )


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; what its last line is worth, where that is an expression."""
    parsed = ast.parse(source)
    last = parsed.body.pop() if isinstance(parsed.body[-1], ast.Expr) else None
    exec(compile(parsed, "cell", "exec"), names)
    return (
        None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    )


def pages(portfolio: Path, client_id: str, out: Path) -> Iterator[tuple[str, Path]]:
    """Each kind of page with its file, the index last but one."""
    for name in REPORTS:
        kind, _, tool = name.partition("-")
        yield name, _written(out / f"{name}.html", report(kind, tool, portfolio, client_id))
    opened = hs.Portfolio.open(portfolio)
    reports = index.ReportFolder(out, out, list(TOOLS), {})
    yield (
        "index",
        _written(
            out / "index.html",
            index.page(portfolio_health(opened), reports, [], {}, AT, 1.0),
        ),
    )
    run = alerts.run(opened, in_force(str(portfolio), {}))
    yield "alerts", _written(out / "alerts.html", digest.digest(run, AT, {}))


def _written(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path
