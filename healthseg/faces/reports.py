"""Reports for customers and for the book: executed notebooks as pages, and the index over them."""

from __future__ import annotations

import datetime as dt
import functools
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from healthseg.errors import CalculationError, InvalidParameters
from healthseg.faces import books, writing
from healthseg.faces.execution import Clock, Job, Outcome, make

HEALTH = "calculate_health_score"


def now() -> dt.datetime:
    """The face's clock: tools read none."""
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True)
class Run:
    """What a call of ``make_reports`` made."""

    outcomes: tuple[Outcome, ...]
    index: Path
    seconds: float

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if not outcome.ok)

    @property
    def status(self) -> int:
        """0: all are there; 3: some failed, the others are there."""
        return 3 if self.failed else 0


def notebooks() -> Path:
    """The folder of the notebooks: in the package where it was installed, else beside it."""
    here = Path(__file__).resolve()
    for folder in (here.parents[1] / "notebooks", here.parents[2] / "notebooks"):
        if folder.is_dir():
            return folder
    raise CalculationError("the notebooks are not installed with this package")


def make_reports(
    portfolio: str,
    tools: Sequence[str] = (HEALTH,),
    clients: Iterable[str] = (),
    *,
    all_clients: bool = False,
    riskiest: int = 0,
    book: bool = False,
    out: str | Path = "reports",
    as_of: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    workers: int | None = None,
    clock: Clock = now,
    say: Callable[[str], None] = lambda line: None,
) -> Run:
    """Make reports of customers (named, all, or the ``riskiest`` n with most at stake) and of the book, and the index.

    ``out/<client_id>/<tool>.html``, ``out/book/<tool>.html`` and ``out/index.html`` are written whole or not at all,
    the executed notebooks beside them. Parameters are checked before anything runs; raises HealthsegError where they
    are wrong, a client is unknown, or ``out`` cannot be written. A report that fails is listed, the others are made.
    """
    from healthseg.faces import index

    started, address = time.monotonic(), books.address(portfolio)
    opened = books.open_book(address)
    given = _checked(tools, {**(parameters or {}), **({"as_of": as_of} if as_of else {})})
    overview = _overview(opened, given)
    chosen = _clients(opened, clients, all_clients, overview, riskiest)
    folder = writing.output_folder(out)
    books.record_settings(opened, clock)
    jobs = _jobs(
        tools, chosen, book, given, str(Path(address).resolve()) if Path(address).exists() else address, folder
    )
    outcomes = _run(jobs, workers, clock(), say)
    page = writing.inside(folder, "index.html")
    writing.write_whole(page, index.page(overview, tools, folder, outcomes, clock(), time.monotonic() - started))
    return Run(tuple(outcomes), page, time.monotonic() - started)


def _checked(tools: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as JSON, valid for every tool asked for."""
    from healthseg.faces import registry

    for name in tools:
        registry.validated(name, {**given, "client_id": "checked-before"})
    return dict(given)


def _overview(opened: Any, given: Mapping[str, Any]) -> Any:
    """The book at a glance, which the index shows and the riskiest come from."""
    from healthseg.faces import registry

    return registry.book_reply(HEALTH, opened, given)


def _clients(opened: Any, clients: Iterable[str], all_clients: bool, overview: Any, riskiest: int) -> list[str]:
    live = [row["client_id"] for row in overview.customers]
    chosen = [*(opened.client(client)["client_id"] for client in clients), *(live if all_clients else live[:riskiest])]
    return list(dict.fromkeys(chosen))


def _jobs(
    tools: Sequence[str], clients: Sequence[str], book: bool, given: Mapping[str, Any], address: str, folder: Path
) -> list[Job]:
    """The book's reports first: they are waited for."""
    where = notebooks()
    jobs = [
        Job(
            tool,
            None,
            str(where / "portfolio" / f"{tool}.ipynb"),
            _taken(where / "portfolio" / f"{tool}.ipynb", given),
            address,
            str(folder),
        )
        for tool in tools
        if book
    ]
    for client in clients:
        for tool in tools:
            notebook = where / "customer" / f"{tool}.ipynb"
            jobs.append(
                Job(tool, client, str(notebook), _taken(notebook, {**given, "client_id": client}), address, str(folder))
            )
    if not jobs:
        raise InvalidParameters(
            "no report was asked for: name customers with --client, or give --all-clients, --riskiest N or --book",
            parameter="client",
            validation_rule="at least one customer, or the book",
        )
    return jobs


def _taken(notebook: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the parameters that a notebook declares: papermill would only warn of others."""
    return {name: value for name, value in given.items() if name in _declared(notebook)}


@functools.cache
def _declared(notebook: Path) -> frozenset[str]:
    import papermill

    return frozenset(papermill.inspect_notebook(str(notebook).replace("{", "{{").replace("}", "}}")))


def _run(jobs: list[Job], workers: int | None, at: dt.datetime, say: Callable[[str], None]) -> list[Outcome]:
    count = max(1, min(workers or os.cpu_count() or 1, len(jobs)))
    done: dict[int, Outcome] = {}
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting: dict[Future[Outcome], int] = {pool.submit(make, job, at): place for place, job in enumerate(jobs)}
        for number, future in enumerate(as_completed(waiting), 1):
            place = waiting[future]
            done[place] = _outcome(future, jobs[place])
            say(
                f"[{number}/{len(jobs)}] {done[place].page}: "
                + ("made" if done[place].ok else f"failed, {done[place].error['error_message']}")
            )
    return [done[place] for place in sorted(done)]


def _outcome(future: Future[Outcome], job: Job) -> Outcome:
    try:
        return future.result()
    except BrokenExecutor:
        told = CalculationError("the process that made this report was ended from outside (out of memory, or killed)")
        return Outcome(job.tool, job.client_id, job.page, 0.0, {}, told.to_dict())
