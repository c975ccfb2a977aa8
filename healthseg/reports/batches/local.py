"""Reports made by workers of this machine."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from healthseg.reports.batches import job as reports
from healthseg.reports.batches import workers
from healthseg.reports.batches.job import Job, ReportOutcome
from healthseg.reports.batches.workers import Finished, Lost
from healthseg.settings.operator import ReportSettings

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio


def run_jobs(
    jobs: Sequence[Job],
    count: int | None,
    at: dt.datetime,
    setup: Callable[[], Any],
    settings: ReportSettings,
    check: Callable[[], None] = lambda: None,
    fail_fast: bool = False,
) -> Iterator[tuple[int, ReportOutcome]]:
    """Make reports with ``count`` workers (one a core); each one's index and outcome, as they come.

    ``setup`` returns the open portfolio in the worker. With ``fail_fast`` no report is begun after one that failed.
    """
    count = max(1, min(count or os.cpu_count() or 1, len(jobs)))
    from healthseg.reports.batches import plan  # which workers need not load

    tasks = [partial(_report, job, at, plan.is_ours(job.notebook)) for job in jobs]

    def go_on(event: Finished | Lost) -> bool:
        return not fail_fast or (isinstance(event, Finished) and event.value.ok)

    done = workers.run_tasks(tasks, count, setup, settings, check, go_on)
    for index, event, cell, seconds, peak_mb in done:
        if isinstance(event, Lost):
            outcome = reports.lost(jobs[index], event, cell, seconds)
        else:
            outcome = event.value
        yield index, replace(outcome, memory_mb=peak_mb)


def _report(
    job: Job,
    at: dt.datetime,
    is_ours: bool,
    portfolio: Portfolio | None,
    tell: Callable[[object], None],
) -> ReportOutcome | Finished:
    """The outcome. A notebook that is not the package's may have changed what its process holds: nothing comes after it."""
    outcome = reports.make_report(job, at, portfolio, tell)
    return outcome if is_ours else Finished(outcome, retires=True)


def opened_portfolio(portfolio: Portfolio) -> Portfolio:
    """What a worker begins with: the portfolio as the batch opened it, and the libraries loaded."""
    from healthseg.reports.html import export

    export.to_html  # noqa: B018
    return portfolio
