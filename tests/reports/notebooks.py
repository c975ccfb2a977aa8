"""Small notebooks for tests of how they are executed, and a batch of them."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

from healthseg.reports.batches import execution, pool
from healthseg.reports.batches.kernels import keeping, supply
from healthseg.reports.batches.watching import Limits

AT = dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC)
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def notebook(path: Path, *cells: str, parameters: str = "", kernel: str = "python3") -> Path:
    """A notebook of code cells on disk."""
    given = (
        [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
        if parameters
        else []
    )
    made = nbformat.v4.new_notebook(
        cells=[*given, *(nbformat.v4.new_code_cell(cell) for cell in cells)]
    )
    made.metadata["kernelspec"] = {**KERNEL, "name": kernel}
    nbformat.write(made, path)
    return path


def job(
    folder: Path, name: str, *cells: str, limits: Limits | None = None, **parameters: object
) -> execution.Job:
    """A job that executes cells; its portfolio is a folder with nothing in it."""
    names = "\n".join(f"{key} = None" for key in parameters)
    path = notebook(folder / f"{name}.ipynb", *cells, parameters=names)
    out = folder / "out"
    out.mkdir(exist_ok=True)
    return execution.Job(
        name, "a", str(path), parameters, str(folder), str(out), limits=limits or Limits()
    )


@contextmanager
def template() -> Iterator[supply.Template]:
    """A process that kernels are forked from, which the workers of this block share."""
    with _listening(supply.Template().ready()) as made:
        yield made


@contextmanager
def kept_template() -> Iterator[keeping.Kept]:
    """The same, started anew where it ends."""
    with _listening(keeping.Kept()) as made:
        yield made


@contextmanager
def _listening(made: Any) -> Iterator[Any]:
    before = os.environ.get(supply.TEMPLATE)
    os.environ[supply.TEMPLATE] = made.path
    try:
        yield made
    finally:
        os.environ.pop(supply.TEMPLATE)
        os.environ.update({} if before is None else {supply.TEMPLATE: before})
        made.close()


def outcomes(
    jobs: list[execution.Job],
    count: int = 2,
    fail_fast: bool = False,
    kept: keeping.Kept | None = None,
) -> list[execution.Outcome | None]:
    """What became of each job, in their order; None of those that were not begun."""
    found: dict[int, execution.Outcome] = {}
    for place, outcome in pool.run(jobs, count, AT, lambda: None, fail_fast, kept):
        found[place] = outcome
    return [found.get(place) for place in range(len(jobs))]
