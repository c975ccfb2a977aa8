"""Small notebooks for tests of how they are executed, and a batch of them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import nbformat

from healthseg.reports.batches import job as reports
from healthseg.reports.batches import local
from healthseg.settings.operator import ReportSettings

AT = dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC)
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def notebook(path: Path, *cells: str, parameters: str = "", kernel: str = "python3") -> Path:
    """A notebook of code cells on disk."""
    tagged = {"tags": ["parameters"]}
    first = [nbformat.v4.new_code_cell(parameters, metadata=tagged)] if parameters else []
    code = [nbformat.v4.new_code_cell(cell) for cell in cells]
    written = nbformat.v4.new_notebook(cells=[*first, *code])
    written.metadata["kernelspec"] = {**KERNEL, "name": kernel}
    nbformat.write(written, path)
    return path


def job(folder: Path, name: str, *cells: str, **parameters: object) -> reports.Job:
    """A job that executes cells; its portfolio is a folder with nothing in it."""
    names = "\n".join(f"{key} = None" for key in parameters)
    path = notebook(folder / f"{name}.ipynb", *cells, parameters=names)
    out = folder / "out"
    out.mkdir(exist_ok=True)
    return reports.Job(name, "a", str(path), parameters, str(folder), str(out))


def no_portfolio() -> None:
    """What a worker begins with where its notebooks read nothing."""


def outcomes(
    jobs: list[reports.Job], count: int = 2, fail_fast: bool = False, **settings: float
) -> list[reports.ReportOutcome | None]:
    """What became of each job, in their order; None of those that were not begun."""
    done = dict(
        local.run_jobs(
            jobs, count, AT, no_portfolio, ReportSettings(**settings), fail_fast=fail_fast
        )
    )
    return [done.get(index) for index in range(len(jobs))]
