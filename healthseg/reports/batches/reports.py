"""Reports for customers and for the portfolio: executed notebooks as pages, and the index over them."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from healthseg.reports import portfolios, privacy, registry, writing
from healthseg.reports.batches import days, files, manifest, plans, pool
from healthseg.reports.batches.execution import OK, SKIPPED, Clock, Job, Outcome
from healthseg.reports.batches.plans import Asked, notebooks
from healthseg.reports.batches.progress import Progress
from healthseg.reports.batches.watching import Limits

if TYPE_CHECKING:
    from healthseg.reports.batches.kernels.keeping import Kept

__all__ = ["Run", "make_reports", "notebooks"]
HEALTH = "calculate_health_score"


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
    def skipped(self) -> int:
        return sum(outcome.status == SKIPPED for outcome in self.outcomes)

    @property
    def status(self) -> int:
        """0: all are there; 3: some failed, the others are there."""
        return 3 if self.failed else 0


def make_reports(
    portfolio: str,
    tools: Sequence[str] = (HEALTH,),
    clients: Iterable[str] = (),
    *,
    all_clients: bool = False,
    riskiest: int = 0,
    overview: bool = False,
    out: str | Path = "reports",
    as_of: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    workers: int | None = None,
    clock: Clock = portfolios.now,
    progress: Progress | None = None,
    resume: bool = False,
    fail_fast: bool = False,
    due: bool = False,
    shard: str = "1/1",
    formats: Sequence[str] = (),
    charts: str = "auto",
    show_users: bool = False,
    keep_days: int = 0,
    limits: Limits | None = None,
) -> Run:
    """Make reports of customers (named, all, or the ``riskiest`` n with most at stake) and of the portfolio, and the index.

    ``out/<client_id>/<tool>.html``, ``out/portfolio/<tool>.html`` and ``out/index.html`` are written whole or not at all,
    the executed notebooks and the responses as JSON beside them. Parameters are checked before anything runs; raises
    HealthsegError where they are wrong, a client is unknown, or ``out`` cannot be written, and ``pool.Stopped`` where
    a signal ended the run. A report that fails is listed, the others are made.

    ``resume`` leaves what is there and made from the same; ``shard`` makes one part of several; ``due`` makes those
    whose day, week, month or quarter has passed; ``keep_days`` puts the reports of each day into a folder of its own,
    and keeps so many.
    """
    started, address = time.monotonic(), portfolios.resolved(portfolio)
    opened = portfolios.open_portfolio(address)
    given = {**(parameters or {}), **({"as_of": as_of} if as_of else {})}
    asked = plans.checked(
        Asked(
            tuple(tools),
            given,
            overview,
            tuple(formats),
            charts,
            show_users,
            plans.shard(shard),
            limits or Limits(),
        )
    )
    portfolios.record_settings(opened, clock)
    health = registry.portfolio_response(HEALTH, opened, given)
    chosen = _clients(opened, clients, all_clients, health, riskiest)
    folder = writing.output_folder(out)
    if due:
        asked = _only_due(asked, folder, health.as_of)
    place = days.folder(folder, health.as_of) if keep_days else folder
    content = plans.content(opened, given, portfolios.ledger_head(opened))
    key = "" if show_users else privacy.key(opened)
    jobs = plans.jobs(asked, chosen, address, place, content, key) if asked.tools else []
    made = _Batch(folder, place, jobs, asked, health, clock, progress or Progress(quiet=True))
    return made.run(opened, workers, resume, fail_fast, keep_days, started)


def _clients(
    opened: Any, clients: Iterable[str], all_clients: bool, health: Any, riskiest: int
) -> list[str]:
    live = [row["client_id"] for row in health.customers]
    chosen = [
        *(opened.client(client)["client_id"] for client in clients),
        *(live if all_clients else live[:riskiest]),
    ]
    return list(dict.fromkeys(chosen))


def _only_due(asked: Asked, folder: Path, day: dt.date) -> Asked:
    done: dict[str, dt.date] = {}
    for line in manifest.latest(folder).values():
        if line["status"] == OK and line.get("as_of"):
            last = dt.date.fromisoformat(line["as_of"])
            done[line["tool"]] = max(last, done.get(line["tool"], last))
    return Asked(**{**vars(asked), "tools": plans.due(asked.tools, day, done)})


@dataclass
class _Batch:
    """One run: its jobs, its manifest, and its index at the end."""

    folder: Path
    place: Path
    jobs: list[Job]
    asked: Asked
    health: Any
    clock: Clock
    progress: Progress

    def run(
        self,
        opened: Any,
        workers: int | None,
        resume: bool,
        fail_fast: bool,
        keep_days: int,
        started: float,
    ) -> Run:
        told = manifest.Manifest(self.folder, self.clock(), self._header())
        self.progress.begin(len(self.jobs))
        done: dict[int, Outcome] = {}
        stopped: pool.Stopped | None = None
        try:
            with pool.stoppable() as check:
                for place, outcome in self._outcomes(opened, workers, resume, fail_fast, check):
                    done[place] = outcome
                    told.tell(self.jobs[place], outcome, self.clock())
                    self.progress.tell(outcome)
        except pool.Stopped as problem:
            stopped = problem
        self.progress.end()
        outcomes = tuple(done[place] for place in sorted(done))
        if stopped:
            told.end(self.clock(), stopped=stopped.number)
            raise stopped
        page = self._switch(outcomes, told.name, time.monotonic() - started)
        run = Run(outcomes, page, time.monotonic() - started)
        told.end(
            self.clock(),
            status=run.status,
            customers=_standings(self.health),
            as_of=str(self.health.as_of),
        )
        if keep_days:
            days.retire(self.folder, keep_days)
        manifest.tidy(self.folder)
        writing.sweep(self.folder)
        return run

    def _header(self) -> dict[str, Any]:
        place, count = self.asked.shard
        return {
            "tools": self.asked.tools,
            "reports": len(self.jobs),
            "as_of": str(self.health.as_of),
            "fingerprint": self.health.fingerprint,
            "shard": f"{place}/{count}",
        }

    def _outcomes(
        self,
        opened: Any,
        workers: int | None,
        resume: bool,
        fail_fast: bool,
        check: Callable[[], None],
    ) -> Iterable[tuple[int, Outcome]]:
        there = manifest.latest(self.folder) if resume else {}
        todo = []
        for place, job in enumerate(self.jobs):
            page = writing.inside(Path(job.folder), *job.names[:1], f"{job.tool}.html")
            if resume and files.key_of(page) == job.key:
                yield place, _kept(job, there.get("/".join(job.names), {}))
            else:
                todo.append(place)
        if not todo:
            return
        count = max(1, min(workers or os.cpu_count() or 1, len(todo)))
        with _template(opened, self.jobs, todo, self.asked) as template:
            chosen = [self.jobs[place] for place in todo]
            for place, outcome in pool.run(chosen, count, self.clock(), check, fail_fast, template):
                yield todo[place], outcome

    def _switch(self, outcomes: Sequence[Outcome], name: str, seconds: float) -> Path:
        """The index, which until now showed the run before."""
        from healthseg.reports.html import index

        shown = index.Shelf(
            self.folder, self.place, registry.names(), manifest.latest(self.folder), name
        )
        before = manifest.last_ended(self.folder, name)
        text = index.page(self.health, shown, outcomes, before, self.clock(), seconds)
        page = writing.inside(self.folder, "index.html")
        if self.place != self.folder:
            inner = index.Shelf(
                self.place, self.place, registry.names(), manifest.latest(self.folder), name
            )
            writing.write_whole(
                self.place / "index.html",
                index.page(self.health, inner, outcomes, before, self.clock(), seconds),
            )
        writing.write_whole(page, text)
        return page


def _kept(job: Job, line: Mapping[str, Any]) -> Outcome:
    """A report that is there. Where its run was killed before it could tell of it, this run tells that it was made."""
    if line.get("key") != job.key:
        return Outcome(job.tool, job.client_id, job.page, 0.0, files.facts(job))
    facts = {
        name: line[name] for name in ("fingerprint", "as_of", "verdict", "kind") if line.get(name)
    }
    return Outcome(job.tool, job.client_id, job.page, 0.0, facts, status=SKIPPED)


def _standings(health: Any) -> dict[str, list[Any]]:
    """Where each customer stands, for the next run to tell what changed."""
    return {
        row["client_id"]: [row.get("score"), row.get("risk_level"), row.get("arr")]
        for row in health.customers
    }


@contextlib.contextmanager
def _template(
    opened: Any, jobs: Sequence[Job], todo: Sequence[int], asked: Asked
) -> Iterator[Kept | None]:
    """The process that this run's kernels are forked from, with what its reports have in common; none elsewhere."""
    from healthseg.reports.batches.kernels import keeping, sharing, supply

    if not supply.can_fork():
        yield None
        return
    for tool, client in {
        jobs[place].tool: jobs[place].client_id for place in todo if jobs[place].client_id
    }.items():
        _prepare(opened, tool, client, asked)
    before = os.environ.get(supply.TEMPLATE)
    with tempfile.TemporaryFile() as shared:
        sharing.dump(opened, jobs[0].portfolio, shared)
        opened.close()
        template = keeping.Kept(shared)
        try:
            os.environ[supply.TEMPLATE] = template.path
            yield template
        finally:
            os.environ.pop(supply.TEMPLATE, None) if before is None else os.environ.update(
                {supply.TEMPLATE: before}
            )
            template.close()


def _prepare(opened: Any, tool: str, client: str, asked: Asked) -> None:
    """Count once what a tool's responses have in common."""
    taken = registry.tool(tool).parameters.model_fields
    given = {name: value for name, value in asked.parameters.items() if name in taken}
    with contextlib.suppress(
        Exception
    ):  # whatever goes wrong is met again, and told, where the report is made
        registry.report_response(tool, opened, {**given, "client_id": client})
