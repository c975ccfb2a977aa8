"""Processes that make reports, each one after another; one that dies or hangs costs its own report and no other."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from healthseg.errors import CalculationError
from healthseg.reports.batches.execution import KILLED, TIMED_OUT, Job, Outcome, make
from healthseg.reports.batches.kernels import linux

if TYPE_CHECKING:
    from healthseg.reports.batches.kernels.keeping import Kept

GRACE_SECONDS = 30.0  # beyond a notebook's deadline, for export and writing
FATTEST_MB = 1500.0  # a worker beyond it is replaced
_STOP = (signal.SIGINT, signal.SIGTERM)
_ENDED = "the process that made this report was ended from outside (out of memory?)"


class Stopped(Exception):
    """The run was asked to stop by a signal; what was done is there."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


@contextlib.contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """Within it SIGINT and SIGTERM are noted, and raise Stopped where the given function is called."""
    seen: list[int] = []
    before = {}
    with contextlib.suppress(ValueError):  # not the main thread: signals are its caller's
        before = {
            number: signal.signal(number, lambda got, _: seen.append(got)) for number in _STOP
        }

    def check() -> None:
        if seen:
            raise Stopped(seen[0])

    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Worker:
    """A process with the job that it is at."""

    def __init__(self, at: dt.datetime) -> None:
        context = multiprocessing.get_context("spawn")
        self.channel, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, at), daemon=True)
        self.process.start()
        theirs.close()
        self.place: int | None = None
        self.job: Job | None = None
        self.ended = 0  # how often the template had ended when the job was given
        self.leaving, self._since = False, 0.0

    def give(self, place: int, job: Job, ahead: bool) -> None:
        self.place, self.job, self._since = place, job, time.monotonic()
        with contextlib.suppress(OSError):
            self.channel.send((job, ahead))

    def take(self) -> Outcome | None:
        """What became of the job, where that is known by now."""
        try:
            if self.channel.poll():
                outcome, self.leaving = self.channel.recv()
                return outcome
        except (EOFError, OSError):
            return self._lost(KILLED, _ENDED)
        if not self.process.is_alive():
            return self._lost(KILLED, _ENDED)
        if time.monotonic() - self._since > self.job.limits.seconds + GRACE_SECONDS:
            return self._lost(TIMED_OUT, "the report was not written in time")
        return None

    def _lost(self, status: str, why: str) -> Outcome:
        self.leaving = True
        self.kill()
        job, seconds = self.job, time.monotonic() - self._since
        error = CalculationError(why, status=status).to_dict()
        return Outcome(job.tool, job.client_id, job.page, seconds, {}, error, status)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.channel.close()


def _work(channel: Connection, at: dt.datetime) -> None:
    """A worker's life: it ends with the process that started it, or when that says so."""
    linux.die_with_parent()
    starter = multiprocessing.parent_process()
    if starter is not None and os.getppid() != starter.pid:
        return  # it ended before this process could ask to end with it; the job that lies in the pipe is not ours
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    from healthseg.reports.batches.kernels import forking

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what went wrong is in the outcome
    try:
        while True:
            job, ahead = channel.recv()
            outcome = make(job, at, ahead)
            leaving = linux.own_memory() > FATTEST_MB * (1 << 20)
            channel.send((outcome, leaving))
            if leaving:
                break
    except (EOFError, OSError):
        pass
    finally:
        forking.stop()


def run(
    jobs: Iterable[Job],
    count: int,
    at: dt.datetime,
    check: Callable[[], None],
    fail_fast: bool = False,
    template: Kept | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Make the jobs with ``count`` processes; each one's place and outcome, as they come.

    ``check`` is called between, and may raise. With ``fail_fast`` no job is begun after the first that failed. A job
    whose kernel went because the ``template`` ended is made once more at the end, alone: it may have been the reason.
    """
    waiting, again = deque(enumerate(jobs)), deque()
    tried: set[int] = set()
    workers: list[Worker] = []
    try:
        while waiting or again or any(worker.job for worker in workers):
            check()
            ended = template.look() if template else 0
            _assign(workers, waiting, count, at, ended)
            if again and not waiting and not any(worker.job for worker in workers):
                _assign(workers, deque([again.popleft()]), 1, at, ended)
            busy = [worker for worker in workers if worker.job]
            wait(
                [end for worker in busy for end in (worker.channel, worker.process.sentinel)],
                timeout=0.2,
            )
            for worker in busy:
                outcome = worker.take()
                if outcome is None:
                    continue
                place, job, worker.job = worker.place, worker.job, None
                if outcome.orphaned and template and place not in tried:
                    template.lost(worker.ended)
                    tried.add(place)
                    again.append((place, job))
                    continue
                yield place, outcome
                if fail_fast and not outcome.ok:
                    waiting.clear()
                    again.clear()
    finally:
        for worker in workers:
            worker.kill()


def _assign(workers: list[Worker], waiting: deque, count: int, at: dt.datetime, ended: int) -> None:
    workers[:] = [worker for worker in workers if worker.job or not worker.leaving]
    while waiting and len(workers) < count:
        workers.append(Worker(at))
    for worker in workers:
        if worker.job is None and waiting:
            place, job = waiting.popleft()
            worker.ended = ended
            worker.give(place, job, ahead=len(waiting) >= count)
