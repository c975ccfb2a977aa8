"""One notebook, executed by papermill in a kernel of its own, and written as a page and as a notebook."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from healthseg import errors
from healthseg.reports.batches.watching import Limits, Watch
from healthseg.reports.portfolios import VARIABLE
from healthseg.reports.privacy import PSEUDONYMS

Clock = Callable[[], dt.datetime]
OK, FAILED, KILLED, TIMED_OUT, SKIPPED = STATUSES = (
    "ok",
    "failed",
    "killed",
    "timed out",
    "skipped",
)


@dataclass(frozen=True)
class Job:
    """One report to make: which notebook, with which parameters, into which files."""

    tool: str
    client_id: str | None  # None: the whole portfolio
    notebook: str
    parameters: Mapping[str, Any]
    portfolio: str
    folder: str
    key: str = ""  # what the report is made from: one with the same key is the same
    formats: tuple[str, ...] = ()  # beside HTML: pdf, csv
    charts: str = "auto"
    pseudonyms: str = ""  # the key that user names are hidden with; empty: they are shown
    limits: Limits = field(default_factory=Limits)

    @property
    def names(self) -> tuple[str, str]:
        return (self.client_id or "portfolio"), self.tool

    @property
    def page(self) -> str:
        """The page's path within the reports' folder."""
        return "/".join(self.names) + ".html"


@dataclass(frozen=True)
class Outcome:
    """What became of a job; ``error`` is the reference's error object where there is no report."""

    tool: str
    client_id: str | None
    page: str
    seconds: float
    facts: Mapping[str, Any]
    error: Mapping[str, Any] | None = None
    status: str = OK
    memory_mb: float = 0.0
    orphaned: bool = False  # its kernel went with the process that kernels are forked from

    @property
    def ok(self) -> bool:
        return self.error is None


def make(job: Job, at: dt.datetime, ahead: bool = False) -> Outcome:
    """Execute, export and write one report; what goes wrong is told, not raised.

    With ``ahead`` the next notebook's kernel starts while this one runs.
    """
    started, watch = time.monotonic(), Watch(job.limits)
    try:
        facts, problem, status = _make(job, at, started, watch, ahead), None, OK
    except errors.HealthsegError as raised:
        facts, problem, status = {}, raised, watch.status or raised.details.get("status", FAILED)
    except Exception as raised:
        told = f"the report could not be made: {type(raised).__name__}: {str(raised)[:500]}"
        facts, problem, status = {}, errors.CalculationError(told), watch.status or FAILED
    told = None if problem is None else problem.to_dict()
    orphaned = not watch.status and getattr(getattr(problem, "__cause__", None), "orphaned", False)
    seconds, peak = time.monotonic() - started, round(watch.peak_mb, 1)
    return Outcome(job.tool, job.client_id, job.page, seconds, facts, told, status, peak, orphaned)


def _make(
    job: Job, at: dt.datetime, started: float, watch: Watch, ahead: bool
) -> Mapping[str, Any]:
    from healthseg.reports.batches import files
    from healthseg.reports.html import export

    places = files.places(job)  # refused before anything runs
    executed = execute(job, watch, ahead)
    facts = export.facts(executed)
    made = export.Made(at, time.monotonic() - started, job.key, job.charts)
    files.write(job, places, executed, facts, made)
    return {key: value for key, value in facts.items() if key != "response"}


def execute(job: Job, watch: Watch | None = None, ahead: bool = False) -> nbformat.NotebookNode:
    """The executed notebook. It ran if its last code cell did: its own metadata are not asked.

    The portfolio's address reaches the kernel as an environment variable: neither a path nor a password is written down.
    """
    import papermill

    watch = watch or Watch(job.limits)
    engine = _engine()
    with _environment(job):
        try:
            done = papermill.execute_notebook(
                nbformat.read(job.notebook, as_version=4),
                None,
                parameters=dict(job.parameters),
                engine_name=engine,
                progress_bar=False,
                log_output=False,
                request_save_on_cell_execute=False,
                extra_arguments=["--log-level=CRITICAL", "--HistoryManager.enabled=False"],
                watched=watch,
                ahead=ahead,
                printed_limit=int(job.limits.printed_mb * 1e6),
            )
        except papermill.PapermillExecutionError as problem:
            raise _told(problem) from None
        except Exception as problem:
            raise _ended(problem, watch) from problem
        if watch.status:
            raise _failure(watch.reason, watch.status)
        if not _ran_to_its_end(done):
            raise _failure("the notebook ended before its last cell", FAILED)
        return done


def _engine() -> str:
    """Our engine's name, registered with papermill also where the package's entry points are not installed."""
    from papermill.engines import papermill_engines

    from healthseg.reports.batches.engine import HealthsegEngine

    papermill_engines.register("healthseg", HealthsegEngine)
    return "healthseg"


@contextlib.contextmanager
def _environment(job: Job) -> Iterator[None]:
    """What the kernel is told, for as long as the notebook runs."""
    from healthseg.reports.batches.kernels.supply import ONE_THREAD, python_path

    told = {
        VARIABLE: job.portfolio,
        PSEUDONYMS: job.pseudonyms,
        "PYTHONPATH": python_path(),
        **ONE_THREAD,
    }
    before = {name: os.environ.get(name) for name in told}
    os.environ |= told
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _failure(message: str, status: str, cell: int | None = None) -> errors.HealthsegError:
    where = f"cell {cell}: " if cell else ""
    return errors.CalculationError(f"{where}{message}", status=status, cell=cell)


def _ended(problem: Exception, watch: Watch) -> errors.HealthsegError:
    """Why a notebook's kernel is gone: a limit, or its own end."""
    from nbclient.exceptions import DeadKernelError

    from healthseg.reports.batches.kernels.forking import PrintedTooMuch

    cell = getattr(problem, "cell_number", None)
    if watch.status:
        return _failure(watch.reason, watch.status, cell)
    if isinstance(problem, PrintedTooMuch):
        return _failure(str(problem), KILLED, cell)
    if isinstance(problem, DeadKernelError) or "died" in str(problem):
        return _failure(f"its kernel died{getattr(problem, 'ending', '')}", KILLED, cell)
    return _failure(
        f"the notebook could not be executed: {type(problem).__name__}: {str(problem)[:500]}",
        FAILED,
        cell,
    )


def _told(problem: Any) -> errors.HealthsegError:
    """An error of the notebook as one of ours, with the cell's number where it is not one already."""
    known = getattr(errors, problem.ename, None)
    if isinstance(known, type) and issubclass(known, errors.HealthsegError):
        return known(problem.evalue, cell=problem.exec_count)
    return errors.CalculationError(
        f"cell {problem.exec_count} raised {problem.ename}: {str(problem.evalue)[:500]}",
        cell=problem.exec_count,
    )


def _ran_to_its_end(notebook: nbformat.NotebookNode) -> bool:
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    failed = any(output.output_type == "error" for cell in code for output in cell.outputs)
    return bool(code) and code[-1].execution_count is not None and not failed


def scrubbed(notebook: nbformat.NotebookNode, job: Job) -> str:
    """The notebook as its file's text, without run-time metadata and with no absolute path of this machine."""
    from healthseg.reports.html.page import REPORT

    clean = nbformat.from_dict(notebook)
    clean.metadata.pop("papermill", None)
    for cell in clean.cells:
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.id = "injected-parameters"  # else a random one
        for output in cell.get("outputs", []):
            output.get("data", {}).get(REPORT, {}).pop("response", None)
    text = nbformat.writes(clean)
    for path in (
        job.portfolio,
        str(Path(job.notebook).parent),
        job.folder,
        str(Path.cwd()),
        str(Path.home()),
    ):
        if len(path) > 3 and os.path.isabs(path):
            text = text.replace(path, Path(path).name)
    return text + "\n"
