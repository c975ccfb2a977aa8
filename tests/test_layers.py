"""Imports point one way; SQL, clocks, arithmetic and the truth stay where they belong.

Everything is read from the syntax tree, imports inside functions included. The checker is a function of a
tree of files, so that it can be held against a small one that breaks each rule.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What a layer may import of healthseg, itself always included.
BASE = {"errors", "periods", "settings", "rules"}
BELOW_TOOLS = BASE | {
    "data",
    "metrics",
    "statistics",
    "scoring",
    "forecasting",
    "clustering",
    "charts",
}
BELOW_INTERFACES = BELOW_TOOLS | {"tools", "reports", "healthseg"}
MAY_IMPORT = {
    "errors": set(),
    "periods": {"errors"},
    "rules": {"errors"},
    "settings": {"errors", "periods", "rules"},
    "data": BASE,
    "testing": BASE | {"data"},  # tiny portfolios for doctests and tests
    "statistics": {"errors"},
    "metrics": BASE | {"data", "statistics"},
    "scoring": BASE | {"data", "statistics", "metrics"},
    "forecasting": BASE | {"data", "statistics", "metrics"},
    "clustering": BASE | {"data", "statistics", "metrics"},
    "charts": {"errors"},
    "tools": BELOW_TOOLS,
    "demo": BASE | {"data"},
    "reports": BELOW_INTERFACES,
    "integrations": BELOW_INTERFACES,
    "cli": BELOW_INTERFACES | {"demo", "integrations"},
    "__main__": {"cli"},
}
DATABASES = {"duckdb", "sqlalchemy", "sqlite3", "psycopg"}
NUMBERS = {"numpy", "pandas", "scipy", "statsmodels", "sklearn", "pyarrow"}
READS_A_CLOCK = {
    "healthseg.data.storage",  # the age of derived files: in no figure
    "healthseg.periods",
}
CLOCKS = re.compile(
    r"\b((datetime|date|dt|pd\.Timestamp)\.(now|utcnow|today)|time\.(time|time_ns|localtime|gmtime))$"
)
SQL = re.compile(
    r"""\s*(select\s.+?\sfrom\s|with\s+\w+\s+as\s*(materialized\s*)?\(|insert\s+into\s|delete\s+from\s
                     |create\s+(or\s+replace\s+)?(temp\s+|temporary\s+)?(table|view|trigger|index)\s|copy\s*\()""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)


# -- the checker ---------------------------------------------------------------------------------------------


def layer_of(module: str) -> str:
    """``healthseg.data.ledger.ledger`` is in ``data``; the package itself is ``healthseg``."""
    return module.split(".")[1] if "." in module else module


def imported(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                home = module.split(".")
                home = home[: len(home) - node.level + is_package]
                start = ".".join([*home, start] if start else home)
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("import_module", "__import__")
        ):
            yield from (
                (node.lineno, argument.value)
                for argument in node.args
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            )


def strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every string that is no docstring; a formatted one with ``x`` for what is filled in."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    within = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "x" for part in node.values]
            yield node.lineno, "".join(map(str, parts))
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and not {id(node)} & (docstrings | within)
        ):
            yield node.lineno, node.value


def import_faults(module: str, tree: ast.AST, is_package: bool) -> Iterator[tuple[int, str]]:
    layer = layer_of(module)
    for line, name in imported(tree, module, is_package):
        top = name.split(".")[0]
        if top == "healthseg" and layer != "healthseg":
            part = layer_of(name)
            if name == "healthseg.__version__" or part == layer:
                continue
            part = (
                part if part in MAY_IMPORT else "healthseg"
            )  # a name of the package, not a module
            if layer not in MAY_IMPORT:
                yield line, f"{layer} is no layer: give it a place in the order"
            elif part not in MAY_IMPORT[layer]:
                yield line, f"{layer} may not import {name}"
        elif top in DATABASES and layer not in ("data", "integrations"):
            yield line, f"only data talks to databases, not {layer}: {name}"
        elif top in NUMBERS and layer in ("reports", "cli", "errors", "healthseg"):
            yield line, f"{layer} does not compute: {name}"


def content_faults(module: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    layer = layer_of(module)
    in_demo = module.startswith("healthseg.demo")
    for line, text in strings(tree):
        if layer not in ("data", "integrations") and SQL.match(text):
            yield line, f"only data holds SQL: {text.strip()[:40]!r}"
        if not in_demo and (text == "truth" or "truth/" in text):
            yield line, f"the product does not read what was planted: {text.strip()[:40]!r}"
    if layer in ("reports", "cli", "integrations") or module in READS_A_CLOCK:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and CLOCKS.search(ast.unparse(node)):
            yield node.lineno, f"only faces read a clock, not {layer}: {ast.unparse(node)}"


def module_faults(root: Path) -> list[str]:
    """Every fault of the package under ``root``, as file, line and reason."""
    faults = []
    for path in sorted((root / "healthseg").rglob("*.py")):
        is_package = path.name == "__init__.py"
        relative = path.relative_to(root)
        module = ".".join(relative.parent.parts if is_package else relative.with_suffix("").parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        problems = [*import_faults(module, tree, is_package), *content_faults(module, tree)]
        faults += [f"{relative.as_posix()}:{line}: {reason}" for line, reason in sorted(problems)]
    faults += [
        f"{path.relative_to(root).as_posix()}: SQL lies in healthseg/data/sql"
        for path in sorted((root / "healthseg").rglob("*.sql"))
        if not path.is_relative_to(root / "healthseg" / "data")
    ]
    return faults


def code_of(cell: dict) -> ast.AST:
    """A code cell's syntax tree, without Jupyter's own lines."""
    lines = "".join(cell["source"]).splitlines()
    return ast.parse(
        "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines)
    )


def cell_faults(cell: dict, may_compute: bool) -> Iterator[str]:
    if cell["outputs"] or cell["execution_count"] is not None:
        yield "stored outputs: make strip removes them"
    for node in ast.walk(code_of(cell)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield "a definition: it belongs into the package"
        elif isinstance(node, ast.BinOp | ast.AugAssign) and not may_compute:
            yield f"arithmetic: {ast.unparse(node)[:40]}"
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.match(r"\.{1,2}/", node.value)
        ):
            yield f"a relative path: {node.value[:40]}"


def notebook_faults(root: Path) -> list[str]:
    """Every fault of the notebooks under ``root``; only those in ``models/`` may compute."""
    faults = []
    for path in sorted((root / "notebooks").rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for number, cell in enumerate(cells, 1):
            if cell["cell_type"] == "code":
                problems = cell_faults(cell, may_compute="models" in path.parts)
                faults += [
                    f"{path.relative_to(root).as_posix()}: cell {number}: {reason}"
                    for reason in problems
                ]
    return faults


# -- the house -----------------------------------------------------------------------------------------------


def test_imports_point_one_way_and_everything_is_where_it_belongs() -> None:
    assert list((ROOT / "healthseg").rglob("*.py"))
    assert module_faults(ROOT) == []


def test_notebooks_define_nothing_compute_nothing_and_hold_no_outputs() -> None:
    assert notebook_faults(ROOT) == []


# -- the checker itself --------------------------------------------------------------------------------------

FAULTY = [
    ("errors.py", "import healthseg.settings", "errors may not import healthseg.settings"),
    (
        "settings/a.py",
        "from healthseg.data import ledger",
        "settings may not import healthseg.data.ledger",
    ),
    (
        "data/a.py",
        "def f():\n    from healthseg.metrics import panel",
        "data may not import healthseg.metrics.panel",
    ),
    ("data/a.py", "from ..metrics import panel", "data may not import healthseg.metrics.panel"),
    ("data/__init__.py", "from .. import tools", "data may not import healthseg.tools"),
    (
        "metrics/a.py",
        "import healthseg.scoring.health",
        "metrics may not import healthseg.scoring.health",
    ),
    (
        "scoring/a.py",
        "from healthseg import forecasting",
        "scoring may not import healthseg.forecasting",
    ),
    (
        "forecasting/a.py",
        "from healthseg.clustering import x",
        "forecasting may not import healthseg.clustering.x",
    ),
    ("clustering/a.py", "import healthseg.scoring", "clustering may not import healthseg.scoring"),
    (
        "charts/a.py",
        "from healthseg.data import tables",
        "charts may not import healthseg.data.tables",
    ),
    (
        "tools/a.py",
        "from healthseg.cli.main import main",
        "tools may not import healthseg.cli.main",
    ),
    ("tools/a.py", "from healthseg import Portfolio", "tools may not import healthseg.Portfolio"),
    (
        "tools/a.py",
        "import importlib\nimportlib.import_module('healthseg.reports')",
        "may not import healthseg.reports",
    ),
    ("helpers/a.py", "import healthseg.errors", "helpers is no layer"),
    ("metrics/a.py", "import duckdb", "only data talks to databases, not metrics: duckdb"),
    ("reports/a.py", "from sqlalchemy import text", "only data talks to databases, not reports"),
    ("reports/a.py", "import numpy as np", "reports does not compute: numpy"),
    ("__init__.py", "import pandas", "healthseg does not compute: pandas"),
    ("tools/a.py", "q = '  SELECT a FROM b'", "only data holds SQL"),
    ("tools/a.py", "q = f'select {a} from b where c'", "only data holds SQL"),
    ("metrics/a.py", "q = 'with t as (select 1)'", "only data holds SQL"),
    ("metrics/a.py", "p = folder / 'truth' / 'exits.parquet'", "does not read what was planted"),
    ("data/a.py", "p = 'data/demo/truth/exits.parquet'", "does not read what was planted"),
    (
        "tools/a.py",
        "import datetime as dt\nnow = dt.datetime.now(dt.UTC)",
        "only faces read a clock",
    ),
    ("data/a.py", "import time\nnow = time.time()", "only faces read a clock"),
]
SOUND = [
    ("__init__.py", "from healthseg.data.portfolio import Portfolio"),
    ("settings/a.py", "def f():\n    from healthseg.periods import UTC"),
    ("data/a.py", "import duckdb\nfrom healthseg import __version__\nq = 'SELECT a FROM b'"),
    ("demo/a.py", "p = 'truth/exits.parquet'"),
    (
        "metrics/a.py",
        "from .statistics import rates\nfrom healthseg.data.ledger.ledger import Ledger",
    ),
    (
        "tools/a.py",
        '"""Select a customer from the portfolio."""\nfrom healthseg import charts\nimport pandas',
    ),
    ("tools/a.py", "words = 'with a customer', 'selected from these', 'the truth is out'"),
    ("charts/a.py", "from .theme import THEME\nimport altair, pandas"),
    (
        "reports/a.py",
        "import healthseg as hs\nimport datetime as dt\nnow = dt.datetime.now(dt.UTC)",
    ),
    ("data/a.py", "import time\nstart = time.monotonic()"),
]


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("name", "text", "reason"), FAULTY)
def test_the_checker_sees_each_fault(tmp_path: Path, name: str, text: str, reason: str) -> None:
    write(tmp_path, f"healthseg/{name}", text)
    faults = module_faults(tmp_path)
    assert len(faults) == 1, faults
    assert reason in faults[0] and faults[0].startswith(f"healthseg/{name}:")


@pytest.mark.parametrize(("name", "text"), SOUND)
def test_the_checker_is_silent_where_all_is_well(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path, f"healthseg/{name}", text)
    assert module_faults(tmp_path) == []


def test_the_checker_sees_a_query_file_outside_of_data(tmp_path: Path) -> None:
    write(tmp_path, "healthseg/data/sql/a.sql", "select 1")
    write(tmp_path, "healthseg/metrics/b.sql", "select 1")
    assert module_faults(tmp_path) == ["healthseg/metrics/b.sql: SQL lies in healthseg/data/sql"]


@pytest.mark.parametrize(
    ("source", "outputs", "reason"),
    [
        ("def f(): pass", [], "a definition"),
        ("g = lambda x: x", [], "a definition"),
        ("share = a / b", [], "arithmetic: a / b"),
        ("open('../data/x.csv')", [], "a relative path"),
        ("1", [{"output_type": "stream"}], "stored outputs"),
    ],
)
def test_the_checker_sees_each_fault_of_a_notebook(
    tmp_path: Path, source: str, outputs: list, reason: str
) -> None:
    cells = [
        {"cell_type": "markdown", "source": "# 1 / 2"},
        {
            "cell_type": "code",
            "source": ["%load_ext x\n", source],
            "outputs": outputs,
            "execution_count": None,
        },
    ]
    write(tmp_path, "notebooks/customer/a.ipynb", json.dumps({"cells": cells}))
    faults = notebook_faults(tmp_path)
    assert len(faults) == 1 and faults[0].startswith(
        f"notebooks/customer/a.ipynb: cell 2: {reason}"
    )
