"""Reports made on a Dask cluster: shards of them become tasks, and our workers run each in a process of its own.

A task opens the portfolio as its machine reaches it and makes nothing unless code, data, settings and folder are those
of the batch. Dask runs the shard of a lost worker again; its reports are written whole, and recorded once, when the
shard comes back.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import logging
import os
import pickle
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from healthseg.data import object_store
from healthseg.errors import (
    CalculationError,
    HealthsegError,
    IntegrationError,
    InvalidParameters,
    without_credentials,
)
from healthseg.reports import publishing
from healthseg.reports.batches import job as reports
from healthseg.reports.batches import local, plan
from healthseg.reports.batches.job import Job, ReportOutcome
from healthseg.reports.batches.workers import FAILED, KILLED, SECONDS_BETWEEN_LOOKS, Lost
from healthseg.reports.publishing import Published
from healthseg.settings.operator import ReportSettings

if TYPE_CHECKING:
    from distributed import Client, Future

    from healthseg.data.portfolio import Portfolio

LOCAL = "local"
_ADDRESS = re.compile(r"(dask|tcp|tls)://[^/@\s]+:\d+")
# so many tasks for each thread of the cluster: a lost one costs little, and the last ones end together
_SHARDS_OF_A_THREAD = 2
# a shard begins with two seconds of starting: a process is worth it from about this many reports on
_LEAST_SHARD, _LARGEST_SHARD = 5, 50
_SECONDS_FOR_AN_ANSWER, _SECONDS_FOR_A_WORKER = 10, 120


@dataclass(frozen=True)
class ClusterBatch:
    """What all shards of a batch have in common; ``proof`` is a file that a worker sees where it sees the folder."""

    portfolio: str
    settings: bytes  # pickled, so that equal ones are found equal
    as_of: str | None
    content: str
    at: dt.datetime
    limits: ReportSettings
    fail_fast: bool
    store: str = (
        ""  # the address that pages are copied to, else they are written where the batch has them
    )
    day: str = ""  # the folder of the day in it
    proof: Path | None = None

    def __repr__(self) -> str:
        """Without the address: Dask logs arguments of tasks."""
        return "ClusterBatch()"


def check(on: object) -> None:
    """Raises CalculationError where Dask is not installed, InvalidParameters where ``on`` is no cluster."""
    try:
        from distributed import Client
    except ImportError:
        raise CalculationError(
            "distributed is not installed: pip install 'healthseg[dask]'"
        ) from None
    if isinstance(on, Client) or on == LOCAL or _ADDRESS.fullmatch(str(on)):
        return
    shown = without_credentials(str(on))[:200]
    raise InvalidParameters(
        f"{shown!r} is not a cluster: expected {LOCAL!r}, a scheduler as dask://host:8786, or a Client",
        parameter="on",
        value_provided=shown,
        validation_rule=f"{LOCAL}, dask://HOST:PORT, tls://HOST:PORT or distributed.Client",
    )


def run_jobs(
    on: Any,
    jobs: Sequence[Job],
    batch: ClusterBatch,
    count: int | None,
    check_signals: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, ReportOutcome]]:
    """Make reports on a cluster; each one's index and outcome, once, as its shard comes back.

    ``count`` is the number of workers of a local cluster (one a core). With ``fail_fast`` no shard is begun after a
    report that failed.
    """
    if not jobs:
        return
    with _client(on, count) as client, client.as_current():
        futures = {
            client.submit(
                run_shard,
                part,
                batch,
                key=f"healthseg-{batch.content[:12]}-{id(jobs)}-{n}",
                pure=False,
            ): part
            for n, part in enumerate(shards(jobs, _threads(client)))
        }
        yield from _gathered(client, futures, batch, check_signals)


def _gathered(
    client: Client,
    futures: dict[Future, list[tuple[int, Job]]],
    batch: ClusterBatch,
    check_signals: Callable[[], None],
) -> Iterator[tuple[int, ReportOutcome]]:
    waiting = set(futures)
    try:
        while waiting:
            check_signals()
            done = _done(waiting)
            waiting -= done
            for future in done:
                outcomes = _outcomes(future, [job for _, job in futures[future]])
                yield from zip([index for index, _ in futures[future]], outcomes, strict=False)
                if batch.fail_fast and not all(outcome.ok for outcome in outcomes):
                    client.cancel(list(waiting))
                    waiting = set()
    finally:
        client.cancel(list(waiting))


def _done(waiting: set[Future]) -> set[Future]:
    import distributed

    with contextlib.suppress(TimeoutError, distributed.CancelledError):
        distributed.wait(
            list(waiting), timeout=SECONDS_BETWEEN_LOOKS, return_when="FIRST_COMPLETED"
        )
    return {future for future in waiting if future.status != "pending"}


def _outcomes(future: Future, jobs: Sequence[Job]) -> list[ReportOutcome]:
    """What a shard returned; where it returned nothing, why, for each of its reports."""
    import distributed

    try:
        return list(future.result(timeout=_SECONDS_FOR_A_WORKER))
    except distributed.KilledWorker:
        event = Lost(KILLED, "each worker of the cluster that began its shard was lost")
    except distributed.CancelledError:
        event = Lost(KILLED, "the cluster ended before its shard was done")
    except Exception as problem:  # what a worker without healthseg, or with another one, raises
        event = Lost(
            FAILED, f"its shard did not run: {type(problem).__name__}: {str(problem)[:300]}"
        )
    return [reports.lost(job, event, None, 0.0) for job in jobs]


def shards(jobs: Sequence[Job], threads: int) -> list[list[tuple[int, Job]]]:
    """The jobs with their indices in parts of about one size; a customer's reports stay together: they share work."""
    even = -(-len(jobs) // (threads * _SHARDS_OF_A_THREAD))
    size = min(max(even, _LEAST_SHARD), _LARGEST_SHARD)
    parts: list[list[tuple[int, Job]]] = []
    for index, job in enumerate(jobs):
        previous = parts[-1][-1][1].client_id if parts else ""
        is_new = job.client_id is None or job.client_id != previous
        if not parts or (is_new and len(parts[-1]) >= size):
            parts.append([])
        parts[-1].append((index, job))
    return parts


@contextlib.contextmanager
def _client(on: Any, count: int | None) -> Iterator[Client]:
    """A connection to the cluster: the caller's own stays open, a local cluster ends with its batch."""
    import distributed

    if isinstance(on, distributed.Client):
        yield on
        return
    with contextlib.ExitStack() as stack:
        address: Any = re.sub("^dask://", "tcp://", on)
        if on == LOCAL:
            workers = count or os.cpu_count() or 1
            address = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",
                    memory_limit=0,
                    silence_logs=logging.ERROR,
                )
            )
        try:
            client = distributed.Client(
                address, timeout=_SECONDS_FOR_AN_ANSWER, set_as_default=False
            )
        except OSError:
            raise IntegrationError(
                f"no Dask scheduler answers at {on}: start one with 'dask scheduler', or check the address",
                parameter="on",
                value_provided=on,
            ) from None
        yield stack.enter_context(client)


def _threads(client: Client) -> int:
    try:
        client.wait_for_workers(1, timeout=_SECONDS_FOR_A_WORKER)
    except TimeoutError:
        raise IntegrationError(
            "the cluster has no workers: start some with 'dask worker ADDRESS --nthreads 1'",
            parameter="on",
        ) from None
    return sum(client.nthreads().values())


# On a worker of the cluster.


def run_shard(part: Sequence[tuple[int, Job]], batch: ClusterBatch) -> list[ReportOutcome]:
    """The outcomes of a shard's reports; what keeps this worker from making any is the outcome of each."""
    jobs = [_here(job) for _, job in part]
    try:
        if batch.proof is not None and not batch.proof.is_file():
            raise InvalidParameters(
                f"a worker of the cluster does not see the folder {batch.proof.parent.parent}: reports belong into a "
                "folder that all its machines share, or into an object store as s3://bucket/reports",
                parameter="out",
            )
        setup = partial(local.opened_portfolio, _opened(batch))
        with _output(batch, jobs) as (jobs, published):
            done = local.run_jobs(jobs, 1, batch.at, setup, batch.limits, fail_fast=batch.fail_fast)
            ended = sorted(publishing.publish(published, jobs, done), key=lambda pair: pair[0])
            return [outcome for _, outcome in ended]
    except HealthsegError as problem:
        return [_not_begun(job, problem) for job in jobs]


@contextlib.contextmanager
def _output(batch: ClusterBatch, jobs: list[Job]) -> Iterator[tuple[list[Job], Published | None]]:
    """The jobs with the folder that this machine writes into, and the store that their files are copied to."""
    if not batch.store:
        yield jobs, None
        return
    with tempfile.TemporaryDirectory(prefix="healthseg-") as name:
        top = Path(name).resolve()
        published = Published(object_store.connect(batch.store), top)
        yield [replace(job, folder=str(top / batch.day)) for job in jobs], published


def _here(job: Job) -> Job:
    """The job with the notebook where this machine has it."""
    there = Path(job.notebook).is_file()
    return job if there else replace(job, notebook=str(plan.notebook(job.tool, job.client_id)))


def _not_begun(job: Job, problem: HealthsegError) -> ReportOutcome:
    return ReportOutcome(
        job.tool, job.client_id, job.page, 0.0, {}, problem.to_dict(), status=FAILED
    )


def _opened(batch: ClusterBatch) -> Portfolio:
    """The portfolio as this machine reaches it, opened once for all shards of a batch."""
    return _read(batch.portfolio, batch.as_of, batch.content, batch.settings)


@functools.lru_cache(maxsize=1)
def _read(address: str, as_of: str | None, content: str, settings: bytes) -> Portfolio:
    """Raises CalculationError where code, data, settings or ledger are not those of the batch."""
    from healthseg.data.portfolio import Portfolio
    from healthseg.reports import portfolios

    portfolio = Portfolio.open(address, pickle.loads(settings))
    head = portfolios.ledger_head(portfolio)
    if plan.content(portfolio, as_of, head) != content:
        raise CalculationError(
            "a worker of the cluster has another version of healthseg, or reads another state of the portfolio, than "
            "the batch: install the same version everywhere, and begin again with --resume"
        )
    portfolio.close()
    return portfolio
