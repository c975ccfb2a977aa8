"""``make_reports``: reports of customers and of the portfolio, and the index over them."""

from __future__ import annotations

import contextlib
import datetime as dt
import pickle
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from healthseg.errors import InvalidParameters, hint
from healthseg.reports import portfolios, privacy, publishing, registry, writing
from healthseg.reports.batches import cluster, local, manifest, plan
from healthseg.reports.batches import job as reports
from healthseg.reports.batches.job import Job, ReportOutcome
from healthseg.reports.batches.workers import OK, SKIPPED
from healthseg.reports.pages import OVERVIEWS
from healthseg.reports.publishing import Published
from healthseg.settings.in_force import in_force

if TYPE_CHECKING:
    from distributed import Client

    from healthseg.data.portfolio import Portfolio

HEALTH = "calculate_health_score"
Clock = Callable[[], dt.datetime]
_STOP = (signal.SIGINT, signal.SIGTERM)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class BatchRun:
    """What a call of ``make_reports`` made."""

    outcomes: tuple[ReportOutcome, ...]
    index: Path | str  # its address where the reports are in an object store
    seconds: float

    @property
    def failed(self) -> tuple[ReportOutcome, ...]:
        return tuple(outcome for outcome in self.outcomes if not outcome.ok)

    @property
    def skipped(self) -> int:
        return sum(outcome.status == SKIPPED for outcome in self.outcomes)

    @property
    def status(self) -> int:
        """0: all are there; 3: some failed, the others are there."""
        return 3 if self.failed else 0


class Stopped(Exception):
    """A signal stopped the run; the reports that were done are there."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


def make_reports(
    portfolio: str,
    tools: Sequence[str] | None = (HEALTH,),
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
    progress: BatchProgress | None = None,
    resume: bool = False,
    fail_fast: bool = False,
    due: bool = False,
    shard: str = "1/1",
    formats: Sequence[str] = (),
    charts: str = "auto",
    show_users: bool = False,
    keep_days: int = 0,
    limits: Mapping[str, float] | None = None,
    on: str | Client | None = None,
    manager: str = "",
) -> BatchRun:
    """Make reports of customers (``clients``, ``all_clients``, or the ``riskiest`` n) and of the portfolio, and the index.

    ``out/customers/<client_id>/<tool>.html``, ``out/overview/<tool>.html`` and ``out/index.html`` are written whole or
    not at all, the executed notebooks and the responses as JSON beside them. Parameters are checked before anything
    runs; raises HealthsegError where they are invalid, a client is unknown, or ``out`` cannot be written, and
    ``Stopped`` where a signal ended the run. A report that fails is listed, the others are made.

    A tool may also be ``board`` or ``customer_360``, or the path of a notebook of your own: one with a parameter ``client_id`` is made for each customer,
    another once, beside the portfolio's pages; or the name of a page that an installed package brings.
    Without ``tools`` (None) they are those of all tools that have the tables they need, and of installed packages.
    ``resume`` leaves reports whose inputs are unchanged; ``shard`` makes one part of several; ``due`` makes those
    whose day, week, month or quarter has passed; ``keep_days`` puts the reports of each day into a folder of its own,
    and removes all but so many. ``limits`` override the settings of ``[reports]`` (``deadline_seconds``, ``memory_mb``).
    ``portfolio`` and ``out`` may be in an object store, as ``s3://bucket/reports``.
    ``manager`` (csm_id) leaves this manager's customers alone, in the index too: all of them where no others are chosen.
    ``on`` is a Dask cluster that makes the reports: ``dask://host:8786``, ``local``, or a ``distributed.Client``.
    ``as_of`` is the day (by default the data's last), ``formats`` are more forms of each page (pdf, csv …), ``charts`` how they are drawn, ``parameters`` those of the
    tools, ``fail_fast`` stops at the first report that fails, ``show_users`` names users, ``workers`` are processes, ``clock``
    and ``progress`` say when it is and are told of each report. Returns a ``BatchRun``.

    >>> make_reports("data/demo", ["calculate_health_score"], riskiest=20, out="reports")   # doctest: +SKIP
    """
    if on is not None:
        cluster.check(on)
    publishing.check(out)
    started, address = time.monotonic(), portfolios.resolved(portfolio)
    opened = portfolios.open_portfolio(address)
    settings = in_force(address).reports.model_copy(update=dict(limits or {}))
    progress = progress or BatchProgress(quiet=True)
    if tools is None:
        tools = [*registry.answerable(opened), *registry.installed_pages()]
        progress.leave_out([name for name in registry.names() if name not in tools])
    own = plan.own_notebooks(registry.own_pages(tools))
    tools = [name for name in tools if name not in own and not name.endswith(".ipynb")]
    overviews = tuple(name for name in OVERVIEWS if name in tools)
    tools = [name for name in tools if name not in overviews]
    values = {**(parameters or {}), **({"as_of": as_of} if as_of else {})}
    request = plan.checked(
        plan.Request(
            tuple(tools),
            values,
            overview,
            tuple(formats),
            charts,
            show_users,
            plan.shard(shard),
            settings.printed_mb,
            own,
            overviews,
        )
    )
    portfolios.record_settings(opened, clock)
    health = registry.portfolio_response(HEALTH, opened, values)
    portfolios.record_predictions(opened, health.as_of, clock)
    if manager:
        health = _of_manager(opened, health, manager)
        all_clients = all_clients or not (clients or riskiest)
    customers = _customers(opened, clients, all_clients, health, riskiest)
    with publishing.output(out) as (top, published):
        if due:
            request = _only_due(request, top, health.as_of)
        folder = day_folder(top, health.as_of) if keep_days else top
        content = plan.content(opened, values.get("as_of"), portfolios.ledger_head(opened))
        key = "" if show_users else privacy.key(opened)
        names = {row["client_id"]: str(row["name"]) for row in health.customers}
        churned = _churned_names(opened)
        jobs = (
            plan.jobs(request, customers, address, folder, content, key, names, churned)
            if request.tools or own or overviews
            else []
        )
        managers = portfolios.manager_names(opened)
        batch = _BatchRunner(
            top,
            folder,
            jobs,
            request,
            published,
            health,
            managers,
            clock,
            progress,
            started,
            manager,
        )
        common = cluster.ClusterBatch(
            address,
            pickle.dumps(opened.settings),
            values.get("as_of"),
            content,
            clock(),
            settings,
            fail_fast,
            str(out) if published else "",
            "" if folder == top else folder.name,
        )
        make = partial(_made, on, opened, common, workers, published)
        done = partial(batch.outcomes, make, resume)
        return batch.run(done, keep_days)


def _customers(
    opened: Portfolio, clients: Iterable[str], all_clients: bool, health: Any, riskiest: int
) -> list[str]:
    live = [row["client_id"] for row in health.customers]
    named = [opened.client(client)["client_id"] for client in clients]
    return list(dict.fromkeys([*named, *(live if all_clients else live[:riskiest])]))


def _of_manager(opened: Portfolio, health: Any, manager: str) -> Any:
    """The portfolio's health with a manager's customers and next actions alone. Raises InvalidParameters where there are none."""
    rows = [row for row in health.customers if row.get("csm_id") == manager]
    if not rows:
        known = sorted({str(row["csm_id"]) for row in health.customers if row.get("csm_id")})
        raise InvalidParameters(
            f"no live customer has the manager {manager!r}{hint(manager, known)}",
            parameter="manager",
            value_provided=manager,
            validation_rule=f"csm_id of a live customer: {', '.join(known) or 'none is known'}",
        )
    from healthseg.tools.overview.tool import next_actions

    customers = opened.table("customers")
    theirs = set(customers.loc[customers["csm_id"] == manager, "client_id"])
    held = [item for item in health.overrides.held if item.client_id in theirs]
    expired = [client for client in health.uncontracted.client_ids if client in theirs]
    return health.model_copy(
        update={
            "customers": rows,
            "churned_lately": [row for row in health.churned_lately if row["client_id"] in theirs],
            "next_actions": next_actions(opened, csm_id=manager, as_of=str(health.as_of)).actions,
            "overrides": health.overrides.model_copy(update={"held": held}),
            "uncontracted": health.uncontracted.model_copy(update={"client_ids": expired}),
        }
    )


def _churned_names(opened: Portfolio) -> dict[str, str]:
    """The names of the customers that churned, by client_id."""
    rows = opened.table("customers")
    if not {"name", "churned_on"} <= set(rows):
        return {}
    rows = rows[rows["churned_on"].notna() & rows["name"].notna()]
    return dict(zip(rows["client_id"].astype(str), rows["name"].astype(str), strict=True))


def _only_due(request: plan.Request, folder: Path, day: dt.date) -> plan.Request:
    done: dict[str, dt.date] = {}
    for line in manifest.latest(folder).values():
        if line["status"] == OK and line.get("as_of"):
            last = dt.date.fromisoformat(line["as_of"])
            done[line["tool"]] = max(last, done.get(line["tool"], last))
    return replace(request, tools=plan.due(request.tools, day, done))


@dataclass
class _BatchRunner:
    """One run: its jobs, its manifest, and its index at the end."""

    top: Path
    folder: Path  # of the reports: the top, or a day's folder below it
    jobs: list[Job]
    request: plan.Request
    published: Published | None
    health: Any
    managers: Mapping[str, str]
    clock: Clock
    progress: BatchProgress
    started: float
    manager: str = ""  # whose customers these are; empty: all

    def run(
        self,
        outcomes: Callable[[Callable[[], None], Path], Iterator[tuple[int, ReportOutcome]]],
        keep_days: int,
    ) -> BatchRun:
        lines = manifest.Manifest(self.top, self.clock(), self._header())
        self.progress.begin(len(self.jobs))
        done: dict[int, ReportOutcome] = {}
        try:
            with stoppable() as check:
                for index, outcome in outcomes(check, lines.path):
                    done[index] = outcome
                    self._record(lines, self.jobs[index], outcome)
        except Stopped as stopped:
            self.progress.end()
            lines.end(self.clock(), stopped=stopped.number)
            if self.published is not None:
                self.published.put(lines.path)
            raise
        self.progress.end()
        finished = tuple(done[index] for index in sorted(done))
        if self.published is not None:
            self.published.refresh(lines.path)
        pages = self._write_indexes(finished, lines.name)
        run = BatchRun(finished, pages[-1], time.monotonic() - self.started)
        day, scores = str(self.health.as_of), _scores(self.health)
        lines.end(self.clock(), status=run.status, customers=scores, as_of=day)
        manifest.tidy(self.top)
        if self.published is not None:
            old = self.published.day_names(keep_days, day) if keep_days else set()
            self.published.finish(lines.path, pages, old)
            return replace(run, index=f"{self.published.store.address}/index.html")
        if keep_days:
            remove_days(self.top, keep_days, day)
        writing.sweep(self.top)
        return run

    def _record(self, lines: manifest.Manifest, job: Job, outcome: ReportOutcome) -> None:
        lines.record(job, outcome, self.clock())
        self.progress.add(outcome)
        if self.published is not None:
            if outcome.ok:
                self.published.names.add(self.published.name(job.file("html")))
            self.published.put_now_and_then(lines.path)

    def _header(self) -> dict[str, Any]:
        part, count = self.request.shard
        return {
            "tools": self.request.tools,
            "reports": len(self.jobs),
            "as_of": str(self.health.as_of),
            "fingerprint": self.health.fingerprint,
            "shard": f"{part}/{count}",
        }

    def outcomes(
        self,
        make: Callable[..., Iterator[tuple[int, ReportOutcome]]],
        resume: bool,
        check: Callable[[], None],
        proof: Path,
    ) -> Iterator[tuple[int, ReportOutcome]]:
        """Each job's index and outcome, as they come; those that are unchanged first."""
        lines = manifest.latest(self.top) if resume else {}
        todo = []
        for index, job in enumerate(self.jobs):
            line = lines.get(job.name, {})
            if resume and self._is_unchanged(job, line):
                yield index, self._unchanged(job, line)
            else:
                todo.append(index)
        for position, outcome in make([self.jobs[index] for index in todo], check, proof):
            yield todo[position], outcome

    def _is_unchanged(self, job: Job, line: Mapping[str, Any]) -> bool:
        """Whether the report is there, made from what it would be made from now."""
        page = job.file("html")
        if self.published is not None:
            if not self.published.has(page):
                return False
            if line.get("key") == job.key and line.get("status") == OK:
                return True
            self.published.fetch_head(page)
        return reports.key_of(page) == job.key

    def _unchanged(self, job: Job, line: Mapping[str, Any]) -> ReportOutcome:
        """A report that exists. Where its run was killed before it recorded it, this run records it as made."""
        if line.get("key") != job.key:
            if self.published is not None:
                self.published.fetch(self.published.name(job.file("ipynb")))
            return ReportOutcome(job.tool, job.client_id, job.page, 0.0, reports.report_facts(job))
        names = ("fingerprint", "as_of", "verdict", "kind")
        facts = {name: line[name] for name in names if line.get(name)}
        return ReportOutcome(job.tool, job.client_id, job.page, 0.0, facts, status=SKIPPED)

    def _write_indexes(self, outcomes: Sequence[ReportOutcome], name: str) -> list[Path]:
        """Write the indexes, which until now showed the run before: a day's, then that of all reports."""
        from healthseg.reports.html import index

        lines, before = manifest.latest(self.top), manifest.last_ended(self.top, name)
        seconds = time.monotonic() - self.started
        exists = Path.is_file if self.published is None else self.published.has
        tools = [*OVERVIEWS, *registry.names()]
        tools += sorted({line["tool"] for line in lines.values()} - set(tools))
        pages = []
        for folder in dict.fromkeys((self.folder, self.top)):
            links = index.ReportFolder(folder, self.folder, tools, lines, exists)
            text = index.page(
                self.health,
                links,
                outcomes,
                before,
                self.clock(),
                seconds,
                self.managers,
                self.managers.get(self.manager, self.manager),
            )
            pages.append(writing.inside(folder, "index.html"))
            writing.write_whole(pages[-1], text)
        return pages


def _made(
    on: str | Client | None,
    opened: Portfolio,
    batch: cluster.ClusterBatch,
    count: int | None,
    published: Published | None,
    jobs: Sequence[Job],
    check: Callable[[], None],
    proof: Path,
) -> Iterator[tuple[int, ReportOutcome]]:
    """Make reports with workers of this machine or on a cluster; ``proof`` is a file that its workers have to see."""
    opened.close()
    if on is not None:
        seen = replace(batch, proof=None if published else proof)
        return cluster.run_jobs(on, jobs, seen, count, check)
    setup = partial(local.opened_portfolio, opened)
    done = local.run_jobs(jobs, count, batch.at, setup, batch.limits, check, batch.fail_fast)
    return publishing.publish(published, jobs, done)


def _scores(health: Any) -> dict[str, list[Any]]:
    """Each customer's score, risk and ARR, for the next run to say what changed."""
    return {
        row["client_id"]: [row.get("score"), row.get("risk_level"), row.get("arr")]
        for row in health.customers
    }


@contextlib.contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """Within it SIGINT and SIGTERM are noted, and raise Stopped where the given function is called."""
    signals: list[int] = []
    before = {}
    with contextlib.suppress(ValueError):  # not the main thread: signals are its caller's
        before = {
            number: signal.signal(number, lambda number, _: signals.append(number))
            for number in _STOP
        }

    def check() -> None:
        if signals:
            raise Stopped(signals[0])

    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def day_folder(out: Path, day: dt.date) -> Path:
    """The folder of a day's reports."""
    return writing.inside(out, str(day), "index.html").parent


def all_days(out: Path) -> list[Path]:
    """The folders of days, the newest first; links are not counted."""
    folders = [path for path in out.iterdir() if _DAY.fullmatch(path.name)]
    return sorted(
        (path for path in folders if path.is_dir() and not path.is_symlink()), reverse=True
    )


def remove_days(out: Path, newest: int, latest: str = "") -> list[str]:
    """Remove the folders of all days but the ``newest`` and the latest one; their names."""
    old = [path for path in all_days(out)[newest:] if path.name != latest]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in old]


class BatchProgress:
    """How far a run is: a bar in a terminal, lines in a log, nothing when quiet."""

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._quiet, self._bar = quiet, self._stream.isatty()
        self._started, self._width = time.monotonic(), 0

    def begin(self, count: int) -> None:
        """So many reports are to be made; the clock starts."""
        self._started = time.monotonic()
        self._count, self._done, self._failed = count, 0, 0

    def leave_out(self, tools: Sequence[str]) -> None:
        """Reports of these tools are not made, for want of tables."""
        if tools and not self._quiet:
            needed = sorted({table for name in tools for table in registry.tool(name).needs})
            words = f"left out, without {', '.join(needed)}: {', '.join(tools)}"
            print(words, file=self._stream, flush=True)

    def add(self, outcome: ReportOutcome) -> None:
        """One more report is done."""
        self._done += 1
        self._failed += not outcome.ok
        if self._quiet:
            return
        if outcome.error is not None:
            self._line(f"{outcome.page}: {outcome.status}, {outcome.error['error_message']}")
        elif not self._bar:
            self._line(f"{outcome.page}: {outcome.status}, {outcome.seconds:.1f} s")
        if self._bar:
            self._show(self.words())

    def words(self) -> str:
        """The state in a line: bar, count, rate and time left.

        >>> import io
        >>> progress = BatchProgress(stream=io.StringIO())
        >>> progress.begin(8)
        >>> progress.words()
        '[....................] 0/8'
        """
        full = int(20 * self._done / self._count) if self._count else 20
        text = f"[{'#' * full}{'.' * (20 - full)}] {self._done}/{self._count}"
        if self._done:
            pace = self._done / max(time.monotonic() - self._started, 1e-6)
            text += f", {60 * pace:.0f} a minute, {_clock((self._count - self._done) / pace)} left"
        return text + (f", {self._failed} failed" if self._failed else "")

    def end(self) -> None:
        """Leave the bar's line for what comes after."""
        if self._bar and self._width and not self._quiet:
            self._stream.write("\n")
            self._stream.flush()

    def _line(self, text: str) -> None:
        if self._bar:
            self._show("")
            self._stream.write("\r")
        self._stream.write(f"[{self._done}/{self._count}] {text}\n")
        self._stream.flush()

    def _show(self, text: str) -> None:
        self._stream.write("\r" + text.ljust(self._width))
        self._width = len(text)
        self._stream.flush()


def _clock(seconds: float) -> str:
    """
    >>> _clock(75)
    '1:15'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
