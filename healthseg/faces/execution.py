"""One notebook, executed by papermill in a process of its own, and written as a page and as a notebook."""

from __future__ import annotations

import datetime as dt
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from healthseg import errors
from healthseg.faces.books import VARIABLE

SECONDS_FOR_A_NOTEBOOK = 600
Clock = Callable[[], dt.datetime]


@dataclass(frozen=True)
class Job:
    """One report to make: which notebook, with which parameters, into which files."""

    tool: str
    client_id: str | None  # None: the whole book
    notebook: str
    parameters: Mapping[str, Any]
    portfolio: str
    folder: str

    @property
    def names(self) -> tuple[str, str]:
        return (self.client_id or "book"), self.tool

    @property
    def page(self) -> str:
        """The page's path within the reports' folder."""
        return "/".join(self.names) + ".html"


@dataclass(frozen=True)
class Outcome:
    """What became of a job; ``error`` is the reference's error object where it failed."""

    tool: str
    client_id: str | None
    page: str
    seconds: float
    facts: Mapping[str, Any]
    error: Mapping[str, Any] | None = None

    @property
    def ok(self) -> bool:
        return self.error is None


def make(job: Job, at: dt.datetime) -> Outcome:
    """Execute, export and write one report; what goes wrong is told, not raised."""
    started = time.monotonic()
    try:
        facts = _make(job, at, started)
        return Outcome(job.tool, job.client_id, job.page, time.monotonic() - started, facts)
    except errors.HealthsegError as problem:
        return Outcome(job.tool, job.client_id, job.page, time.monotonic() - started, {}, problem.to_dict())
    except Exception as problem:
        told = errors.CalculationError(f"the report could not be made: {type(problem).__name__}: {str(problem)[:500]}")
        return Outcome(job.tool, job.client_id, job.page, time.monotonic() - started, {}, told.to_dict())


def _make(job: Job, at: dt.datetime, started: float) -> Mapping[str, Any]:
    from healthseg.faces import export, writing

    folder, (owner, tool) = Path(job.folder), job.names
    page = writing.inside(folder, owner, f"{tool}.html")
    copy = writing.inside(folder, owner, f"{tool}.ipynb")
    executed = execute(job)
    markup = export.to_html(executed, export.Made(at, time.monotonic() - started), index="../index.html")
    writing.write_whole(copy, nbformat.writes(scrubbed(executed, job)) + "\n")
    writing.write_whole(page, markup)
    return export.facts(executed)


def execute(job: Job) -> nbformat.NotebookNode:
    """The executed notebook. It ran if its last code cell did: its own metadata are not asked.

    The book's address reaches the kernel as an environment variable: neither a path nor a password is written down.
    """
    import papermill
    from traitlets.config import Config

    notebook = nbformat.read(job.notebook, as_version=4)
    with tempfile.TemporaryDirectory(prefix="hs-") as private:
        os.environ |= {VARIABLE: job.portfolio, "JUPYTER_RUNTIME_DIR": private, "PYTHONPATH": _python_path()}
        try:
            done = papermill.execute_notebook(
                notebook,
                None,
                parameters=dict(job.parameters),
                progress_bar=False,
                log_output=False,
                execution_timeout=SECONDS_FOR_A_NOTEBOOK,
                extra_arguments=["--log-level=CRITICAL"],
                config=Config({"KernelManager": {"transport": "ipc", "ip": f"{private}/kernel"}}),
            )
        except papermill.PapermillExecutionError as problem:
            raise _told(problem) from None
    if not _ran_to_its_end(done):
        raise errors.CalculationError("the notebook ended before its last cell")
    return done


def _python_path() -> str:
    """Where the kernel finds this healthseg, installed or not."""
    here = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(dict.fromkeys([here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]))


def _told(problem: Any) -> errors.HealthsegError:
    """An error of the notebook as one of ours, with the cell's number where it is not one already."""
    known = getattr(errors, problem.ename, None)
    if isinstance(known, type) and issubclass(known, errors.HealthsegError):
        return known(problem.evalue)
    return errors.CalculationError(f"cell {problem.exec_count} raised {problem.ename}: {str(problem.evalue)[:500]}")


def _ran_to_its_end(notebook: nbformat.NotebookNode) -> bool:
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    failed = any(output.output_type == "error" for cell in code for output in cell.outputs)
    return bool(code) and code[-1].execution_count is not None and not failed


def scrubbed(notebook: nbformat.NotebookNode, job: Job) -> nbformat.NotebookNode:
    """The notebook without run-time metadata, and with no absolute path of this machine."""
    text = nbformat.writes(notebook)
    for path in (job.portfolio, str(Path(job.notebook).parent), job.folder, str(Path.cwd()), str(Path.home())):
        if len(path) > 3 and os.path.isabs(path):
            text = text.replace(path, Path(path).name)
    clean = nbformat.reads(text, as_version=4)
    clean.metadata.pop("papermill", None)
    for cell in clean.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
    return clean
