"""The notebooks as files, and under stock papermill from any folder."""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import healthseg as hs
from healthseg.errors import InvalidParameters
from healthseg.reports import customer_page, notebooks, portfolio_page
from healthseg.reports.pages import MODULES, OVERVIEWS, overview_spec, page_spec
from healthseg.reports.render import ReportPage
from healthseg.reports.spec import Chart, Section
from healthseg.tools import TOOLS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(
    path
    for folder in ("customer", "portfolio")
    for path in (ROOT / "notebooks" / folder).glob("*.ipynb")
)
each_notebook = pytest.mark.parametrize(
    "path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}-{path.stem}"
)


def _read(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def _code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_is_a_notebook_for_a_customer_and_for_the_portfolio():
    assert {path.parent.name for path in NOTEBOOKS} == {"customer", "portfolio"}


@each_notebook
def test_a_notebook_begins_with_its_title_and_its_parameters(path):
    title, parameters, *_ = _read(path).cells
    assert title.cell_type == "markdown" and title.source.startswith("# ")
    assert parameters.metadata["tags"] == ["parameters"]
    for line in parameters.source.splitlines():
        assert re.fullmatch(r"\w+: \w+ = .+  # .+", line), (
            "each parameter has a type, a default and a meaning"
        )


@each_notebook
def test_a_notebook_stores_no_outputs(path):
    assert not any(cell.outputs or cell.execution_count for cell in _code(_read(path)))


@each_notebook
def test_a_notebook_defines_and_computes_nothing(path):
    banned = (
        ast.FunctionDef,
        ast.Lambda,
        ast.ClassDef,
        ast.BinOp,
        ast.AugAssign,
        ast.For,
        ast.While,
        ast.If,
        ast.ListComp,
        ast.DictComp,
    )
    for cell in _code(_read(path)):
        assert not [
            node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, banned)
        ], cell.source


@each_notebook
def test_a_notebook_names_no_path(path):
    for cell in _code(_read(path)):
        for node in ast.walk(ast.parse(cell.source)):
            assert not (
                isinstance(node, ast.Constant) and isinstance(node.value, str) and "/" in node.value
            )


@each_notebook
def test_a_notebook_takes_what_its_tool_takes(path):
    tool = TOOLS[path.stem]
    model = tool.parameters if path.parent.name == "customer" else tool.portfolio_parameters
    cell = _read(path).cells[1].source
    declared = {line.target.id: ast.literal_eval(line.value) for line in ast.parse(cell).body}
    fields = {
        name: field
        for name, field in model.model_fields.items()
        if not (field.json_schema_extra or {}).get("records")
    }  # a notebook only reads
    assert set(declared) == {"portfolio", *fields}
    for name, field in fields.items():
        # a customer's page is of some customer, also where the tool can be asked for all
        assert field.is_required() or name == "client_id" or declared[name] == field.default


@each_notebook
def test_every_question_is_answered_by_one_call(path):
    cells = _read(path).cells
    questions = [
        index
        for index, cell in enumerate(cells)
        if cell.cell_type == "markdown" and cell.source.startswith("## ")
    ]
    assert 4 <= len(questions) <= 10
    for index in questions:
        assert cells[index].source.endswith("?")
        assert isinstance(ast.parse(cells[index + 1].source).body[0], ast.Expr)


@pytest.mark.parametrize("kind", ["customer", "portfolio"])
def test_papermill_runs_a_notebook_from_any_folder(kind, small_portfolio, tmp_path):
    """One of each kind: every notebook's cells are run by nbmake."""
    path = ROOT / "notebooks" / kind / "calculate_health_score.ipynb"
    notebook = _read(path)
    options = ["-p", "portfolio", str(small_portfolio.folder)]
    options += ["-p", "client_id", small_portfolio.client_id] if kind == "customer" else []
    done = subprocess.run(
        [sys.executable, "-m", "papermill", str(path), "out.ipynb", "--no-progress-bar", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "unknown parameter" not in done.stderr
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert len(_code(executed)) == len(_code(notebook)) + 1, (
        "the injected parameters are one cell more"
    )
    assert [cell.outputs[0].output_type for cell in _code(executed)[3:]] == ["execute_result"] * (
        len(_code(notebook)) - 2
    )


@pytest.mark.parametrize("portfolio", [False, True])
@pytest.mark.parametrize("tool", MODULES)
def test_a_notebook_is_the_one_of_its_pages_spec(tool, portfolio):
    """After a change of a page or of a tool's parameters: ``python -m healthseg.reports.notebooks``."""
    page = page_spec(tool, portfolio)
    stored = nbformat.read(notebooks.path_of(page, ROOT / "notebooks"), as_version=4)
    assert stored == notebooks.notebook(page)


@pytest.mark.parametrize("kind", OVERVIEWS)
def test_an_overviews_notebook_is_the_one_of_its_spec(kind):
    page = overview_spec(kind)
    stored = nbformat.read(notebooks.path_of(page, ROOT / "notebooks"), as_version=4)
    assert stored == notebooks.notebook(page)


def test_a_page_follows_the_parameters_that_a_notebook_passes(small_portfolio):
    opened = hs.Portfolio.open(str(small_portfolio.folder))
    names = {"portfolio": opened, "client_id": small_portfolio.client_id, "granularity": "weekly"}
    for _ in range(2):  # a cell that is run again
        page = customer_page("track_usage_engagement", names)
        assert page.result.analysis_period.granularity == "weekly" and page.portfolio is opened
    daily = customer_page("track_usage_engagement", names, granularity="daily")
    assert daily.result.analysis_period.granularity == "daily"


def test_a_section_gives_its_parts_apart_and_a_page_can_be_rearranged(small_portfolio):
    opened = hs.Portfolio.open(str(small_portfolio.folder))
    page = portfolio_page("track_usage_engagement", portfolio=opened)
    growth = page.section("growth")
    assert "users joined" in growth.lead.text and set(growth.charts) == {"growth"}
    assert list(growth.frames["growth"]) == list(page.result.frame("growth"))
    assert "<table>" in growth.table.markup and "<svg" not in growth.table.markup
    own = Section("own", "What is mine?", ("{total_customers:number customer}",), (Chart("trend"),))
    spec = dataclasses.replace(page.spec, sections=(own, *page.spec.sections[:2]))
    rearranged = ReportPage(spec, page.result, page.portfolio)
    assert rearranged.names == ["own", *page.names[:2]]
    assert "customers" in rearranged.section("own").lead.text
    with pytest.raises(InvalidParameters, match="no section 'grow'; did you mean"):
        page.section("grow")
