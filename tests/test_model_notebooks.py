"""The notebooks for those who iterate: their form, and that they run on a small portfolio and remember the run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from healthseg.demo import make_demo
from healthseg.reports import notebooks
from healthseg.reports.pages import model_spec

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks" / "models").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_is_a_notebook_for_the_score_the_churn_model_forecasts_and_segments():
    assert [path.stem for path in NOTEBOOKS] == [
        "churn_model",
        "forecasts",
        "score_report_card",
        "segments",
    ]


@each_notebook
def test_it_begins_with_its_title_and_explained_parameters_and_stores_no_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    title, parameters, *rest = notebook.cells
    assert title.source.startswith("# ") and parameters.metadata["tags"] == ["parameters"]
    for line in parameters.source.splitlines():
        assert re.fullmatch(r"\w+: \w+ = .+  # .+", line)
    assert not any(
        cell.outputs or cell.execution_count for cell in rest if cell.cell_type == "code"
    )
    questions = [cell.source for cell in rest if cell.cell_type == "markdown"]
    assert questions[-1] == "## What changed since the last run?"
    assert all(text.endswith("?") for text in questions)


@each_notebook
def test_its_cells_show_the_sections_of_its_page(path):
    """After a change: ``python -m healthseg.reports.notebooks``."""
    stored = nbformat.read(path, as_version=4)
    assert stored == notebooks.model_notebook(model_spec(path.stem), stored)


@each_notebook
def test_it_runs_on_a_small_portfolio_and_the_run_is_remembered(path, small_portfolio, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "papermill", str(path), "out.ipynb", "--no-progress-bar", "-p", "portfolio",
         str(small_portfolio.folder)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    file = Path(small_portfolio.folder) / ".healthseg" / "runs" / f"{path.stem}.json"
    log = json.loads(file.read_text(encoding="utf-8"))["value"]
    assert log[-1]["figures"] and log[-1]["fingerprint"] and log[-1]["configuration"]


def run_own_model(portfolio: Path | str, *, enough: bool) -> dict:
    """The names that the notebook of an own model leaves; ``enough``: also its report card where few churned."""
    cells = nbformat.read(ROOT / "notebooks" / "own_model.ipynb", as_version=4).cells
    names = {"display": print}
    for cell in cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code":
            exec("enough = True" if enough and "skip-execution" in tags else "", names)
            exec(cell.source, names)
        if "parameters" in tags:
            names["portfolio"] = str(portfolio)
    return names


def test_the_notebook_of_an_own_model_runs_to_its_report_card(small_portfolio, capsys):
    """Also the cell that builds of the documentation skip for its time; so few customers fit no classifier by hand."""
    names = run_own_model(small_portfolio.folder, enough=True)
    assert set(names["cards"]) == {"package", "own"}
    shown = capsys.readouterr().out
    assert "package" in shown and "own" in shown


def test_where_enough_churned_it_fits_compares_calibrates_and_saves(tmp_path, capsys):
    """31 of 150 simulated customers churn: both models tell them from the others, on the same held-out rows."""
    make_demo(tmp_path, clients=150, months=14, seed=1, events="light")
    names = run_own_model(tmp_path, enough=False)
    assert names["enough"] and names["model"].eligible
    scores = pd.DataFrame(names["scores"])
    assert scores.loc["share that churned"].nunique() == 1
    assert (scores.loc["AUC"] > 0.7).all()
    assert scores.loc["mean probability"].to_numpy() == pytest.approx(
        scores.loc["share that churned"].to_numpy(), rel=0.5
    )
    shown = capsys.readouterr().out
    assert "alt.LayerChart" in shown and "the same predictions for 150 customers" in shown
