"""One report: a notebook executed with its parameters, and written as page, notebook, response and further formats."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

from healthseg import errors
from healthseg.reports import document, portfolios, privacy, writing
from healthseg.reports.batches.workers import FAILED, KILLED, OK, Lost

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.reports.html.export import Document, NotebookOrigin
    from healthseg.reports.html.navigation import Navigation

FORMATS = ("pdf", "csv")
NO_CELL: Callable[[object], None] = lambda number: None  # noqa: E731


@dataclass(frozen=True)
class Job:
    """One report to make: which notebook, with which parameters, into which files."""

    tool: str
    client_id: str | None  # None: the portfolio
    notebook: str
    parameters: Mapping[str, Any]
    portfolio: str
    folder: str
    key: str = ""  # what the report is made from: a report with the same key is the same
    formats: tuple[str, ...] = ()  # beside HTML: pdf, csv
    charts: str = "auto"
    pseudonyms: str = ""  # the key that user names are hidden with; empty: they are shown
    printed_mb: float = 20.0  # outputs of the notebook at most
    navigation: Navigation | None = None

    @property
    def name(self) -> str:
        """The report's path within the reports' folder, without its ending."""
        return report_name(self.client_id, self.tool)

    @property
    def page(self) -> str:
        """The page's path within the reports' folder."""
        return f"{self.name}.html"

    def file(self, ending: str) -> Path:
        """Where a file of the report belongs; refused where a name is invalid or a link stands in the way."""
        *folders, tool = self.name.split("/")
        return writing.inside(Path(self.folder), *folders, f"{tool}.{ending}")


def report_name(client_id: str | None, tool: str) -> str:
    """Customers lie below a folder of their own, so that no client_id meets a name of ours.

    >>> report_name("acme", "segment_customers"), report_name(None, "segment_customers")
    ('customers/acme/segment_customers', 'overview/segment_customers')
    """
    if client_id is None:
        return f"overview/{tool}"
    return f"customers/{writing.customer_folder(client_id)}/{tool}"


@dataclass(frozen=True)
class ReportOutcome:
    """What became of a job; ``error`` is the reference's error object where there is no report."""

    tool: str
    client_id: str | None
    page: str
    seconds: float
    facts: Mapping[str, Any]
    error: Mapping[str, Any] | None = None
    status: str = OK
    memory_mb: float = 0.0

    @property
    def ok(self) -> bool:
        return self.error is None


def make_report(
    job: Job,
    at: dt.datetime,
    portfolio: Portfolio | None = None,
    on_cell: Callable[[object], None] = NO_CELL,
) -> ReportOutcome:
    """Execute and write one report; what goes wrong is in the outcome, not raised.

    Notebooks get ``portfolio``, which is already open; ``on_cell`` gets the number of each cell before it runs.
    """
    started = time.monotonic()
    facts: Mapping[str, Any] = {}
    problem: errors.HealthsegError | None = None
    try:
        with (
            portfolios.sharing(portfolio, job.portfolio),
            privacy.hiding_users(job.pseudonyms),
            document.printing(bool(job.formats)),
        ):
            facts = _make(job, at, started, on_cell)
    except errors.HealthsegError as raised:
        problem = raised
    except Exception as raised:
        reason = errors.machine_fault(raised) or f"{type(raised).__name__}: {str(raised)[:500]}"
        problem = errors.CalculationError(f"the report could not be made: {reason}")
    outcome = ReportOutcome(job.tool, job.client_id, job.page, time.monotonic() - started, facts)
    if problem is None:
        return outcome
    status = problem.details.get("status", FAILED)
    return replace(outcome, error=problem.to_dict(), status=status)


def lost(job: Job, event: Lost, cell: int | None, seconds: float) -> ReportOutcome:
    """The outcome of a job whose worker is gone."""
    error = _failure(event.reason, event.status, cell).to_dict()
    return ReportOutcome(job.tool, job.client_id, job.page, seconds, {}, error, event.status)


def _make(
    job: Job, at: dt.datetime, started: float, on_cell: Callable[[object], None]
) -> dict[str, Any]:
    from healthseg.reports.html import export

    files = {kind: job.file(kind) for kind in ("ipynb", "json", "html", *job.formats)}
    executed = execute(job, on_cell)
    facts = export.facts(executed)
    origin = export.NotebookOrigin(at, time.monotonic() - started, job.key, job.charts)
    _write(job, files, executed, facts, origin)
    return {key: value for key, value in facts.items() if key != "response"}


def execute(job: Job, on_cell: Callable[[object], None] = NO_CELL) -> nbformat.NotebookNode:
    """The executed notebook; raises CalculationError with the number of the cell that failed."""
    from papermill.parameterize import parameterize_notebook

    from healthseg.reports.batches import cells

    notebook = nbformat.v4.reads(_source(job.notebook))
    for cell in notebook.cells:
        cell.metadata.setdefault("tags", [])
    notebook.metadata.setdefault("papermill", {})
    if job.parameters:
        notebook = parameterize_notebook(notebook, dict(job.parameters))
    last = 0

    def begin(index: int, number: int) -> None:
        nonlocal last
        last = number
        on_cell(number)

    try:
        failure = cells.run(notebook, job.printed_mb * 1e6, begin)
    except cells.PrintedTooMuch:
        raise _failure(f"it printed more than {job.printed_mb:.0f} MB", KILLED, last) from None
    if failure is not None:
        raise _error(failure)
    if not last:
        raise _failure("the notebook has no code", FAILED)
    return notebook


@cache
def _source(path: str) -> str:
    return Path(path).read_text("utf-8")


def _failure(message: str, status: str, cell: int | None = None) -> errors.HealthsegError:
    where = f"cell {cell}: " if cell else ""
    return errors.CalculationError(f"{where}{message}", status=status, cell=cell)


def _error(failure: Any) -> errors.HealthsegError:
    """An error of the notebook as one of ours, with its cell's number."""
    if failure.is_plain_exit:
        return _failure("the notebook ended before its last cell", FAILED)
    error, name = failure.error, type(failure.error).__name__
    if isinstance(error, errors.HealthsegError):
        return type(error)(str(error), cell=failure.cell)
    fault = errors.machine_fault(error)
    words = f": {fault}" if fault else f" raised {name}: {str(error)[:500]}"
    return errors.CalculationError(f"cell {failure.cell}{words}", cell=failure.cell)


def _write(
    job: Job,
    files: Mapping[str, Path],
    executed: nbformat.NotebookNode,
    facts: Mapping[str, Any],
    origin: NotebookOrigin,
) -> None:
    """Write all files, the page last: where it is, the others are."""
    from healthseg.reports.html import export
    from healthseg.reports.html.navigation import Navigation

    navigation = job.navigation or Navigation()
    markup = export.to_html(executed, origin, navigation, job.client_id is None)
    writing.write_whole(files["ipynb"], scrubbed(executed, job))
    if "response" in facts:
        text = json.dumps(facts["response"], indent=1, ensure_ascii=False)
        writing.write_whole(files["json"], text + "\n")
    for kind in job.formats:
        _FURTHER[kind](export.read(executed), files[kind], navigation)
    writing.write_whole(files["html"], markup)


def _write_pdf(report: Document, path: Path, links: Navigation) -> None:
    from healthseg.reports.html import printed

    texts = (report.title, report.kicker, report.printed, report.footer.blocks)
    content = printed.pdf_bytes(*texts, links.addresses, links.index)
    writing.write_whole(path, content)


def _write_csv(report: Document, path: Path, _: Navigation) -> None:
    from healthseg.reports.html import printed

    writing.write_folder(path, printed.csv_files(report.printed))


_FURTHER = {"pdf": _write_pdf, "csv": _write_csv}


def scrubbed(notebook: nbformat.NotebookNode, job: Job) -> str:
    """The notebook as its file's text, without run-time metadata and with no absolute path of this machine."""
    from healthseg.reports.html.writer import REPORT

    clean = nbformat.from_dict(notebook)
    clean.metadata.pop("papermill", None)
    for cell in clean.cells:
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.id = "injected-parameters"  # else a random one
        for output in cell.get("outputs", []):
            output.get("data", {}).get(REPORT, {}).pop("response", None)
            output.get("data", {}).pop(document.PRINTED, None)
    text = nbformat.writes(clean)
    folders = (
        job.portfolio,
        str(Path(job.notebook).parent),
        job.folder,
        os.getcwd(),
        str(Path.home()),
    )
    for path in folders:
        if len(path) > 3 and os.path.isabs(path):
            text = text.replace(path, Path(path).name)
    return str(text) + "\n"


def report_facts(job: Job) -> dict[str, Any]:
    """What a report that exists says beside its page: its verdict, its date, its portfolio's fingerprint."""
    from healthseg.reports.html import export

    facts = export.facts(nbformat.read(job.file("ipynb"), as_version=4))
    return {name: value for name, value in facts.items() if name != "response"}


def key_of(page: Path) -> str:
    """What a page was made from, as it says itself; empty where there is no page of ours."""
    from healthseg.reports.html.export import KEY

    try:
        with open(page, encoding="utf-8") as file:
            head = file.read(2048)
    except (OSError, UnicodeDecodeError):
        return ""
    _, mark, rest = head.partition(f'<meta name="{KEY}" content="')
    return rest.partition('"')[0] if mark else ""
