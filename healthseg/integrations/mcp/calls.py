"""Calls in processes of their own: side by side, each with a deadline and a memory limit; and how many are answered.

A process opens the portfolio once and does one call after another; one that exceeds its limits is ended, and costs
its own call alone.
"""

from __future__ import annotations

import functools
import hashlib
import math
import threading
import weakref
from collections.abc import Callable, Mapping
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import anyio

from healthseg.errors import CalculationError, HealthsegError, machine_fault
from healthseg.reports.batches.workers import Finished, Lost, Worker
from healthseg.reports.responses import Response, Responses
from healthseg.settings.operator import LimitSettings, McpSettings, ReportSettings

SECONDS_BETWEEN_LOOKS = 0.1


def computed(responses: Responses, tool: str, arguments: Mapping[str, Any]) -> Response:
    """A tool's response, or the error object."""
    try:
        return responses.response(tool, arguments)
    except HealthsegError as problem:
        return Response(problem.to_dict())
    except Exception as problem:
        text = machine_fault(problem)
        text = text or f"unexpected {type(problem).__name__}: {str(problem)[:500]}"
        return Response(CalculationError(text).to_dict())


class Calls:
    """The processes of one server, started when they are first needed."""

    def __init__(self, responses: Responses, settings: McpSettings) -> None:
        self._responses, self._settings = responses, settings
        self._setup = functools.partial(Responses, responses.address, cache=responses.wanted)
        self._idle: list[Worker] = []
        self._free: anyio.CapacityLimiter | None = None

    async def response(self, tool: str, arguments: Mapping[str, Any]) -> Response:
        """The response to a call, from the cache where it has one."""
        cached = await anyio.to_thread.run_sync(self._cached, tool, arguments)
        if cached is not None:
            return cached
        if not self._settings.processes:
            return await anyio.to_thread.run_sync(computed, self._responses, tool, arguments)
        if self._free is None:
            self._free = anyio.CapacityLimiter(self._settings.processes)
        async with self._free:
            return await self._in_a_process(tool, arguments)

    def close(self) -> None:
        """End the processes."""
        while self._idle:
            self._idle.pop().close()

    def _cached(self, tool: str, arguments: Mapping[str, Any]) -> Response | None:
        try:
            return self._responses.cached(tool, arguments)
        except HealthsegError:
            return None  # the call itself says what is wrong

    async def _in_a_process(self, tool: str, arguments: Mapping[str, Any]) -> Response:
        # a process ends with the thread that started it, so it is started by the server's own
        worker = self._idle.pop() if self._idle else Worker(self._setup, self._limits())
        try:
            worker.give(_Task(tool, arguments))
            event = await anyio.to_thread.run_sync(_ending, worker, abandon_on_cancel=True)
        except BaseException:  # the caller is gone
            worker.close()
            raise
        if isinstance(event, Lost):
            return Response(CalculationError(f"{tool} was stopped: {event.reason}").to_dict())
        if event.retires:
            worker.close()
        else:
            self._idle.append(worker)
        return event.value

    def _limits(self) -> ReportSettings:
        return ReportSettings(
            deadline_seconds=self._settings.deadline_seconds,
            memory_mb=self._settings.memory_mb,
            worker_memory_mb=self._settings.memory_mb / 2,
        )


class _Task:
    """A call as it travels to a process."""

    def __init__(self, tool: str, arguments: Mapping[str, Any]) -> None:
        self.tool, self.arguments = tool, dict(arguments)

    def __call__(self, responses: Responses, tell: Callable[[object], None]) -> Response:
        return computed(responses, self.tool, self.arguments)


def _ending(worker: Worker) -> Finished | Lost:
    while True:
        for event in worker.events():
            if isinstance(event, Finished | Lost):
                return event
        wait([worker.connection], timeout=SECONDS_BETWEEN_LOOKS)


# -- how many requests are answered ----------------------------------------------------------------


MINUTE_MS, HOUR_MS = 60_000, 3_600_000
MOST_OPEN = 64  # callers whose counters are kept open at once


class RateLimited(HealthsegError):
    """A request above the limit; ``retry_after_seconds`` says when the next one is answered."""

    code, http_status = "RATE_LIMIT_EXCEEDED", 429


class Limits:
    """The counters in one SQLite file; ``clock`` gives seconds since 1970.

    Each of several ``callers`` has an equal share of the hour's requests, which the others cannot use up.

    >>> import tempfile
    >>> limits = Limits(Path(tempfile.mkdtemp()), LimitSettings(per_caller_a_minute=1), clock=lambda: 1e9)
    >>> limits.take("ann")
    >>> limits.take("ann")
    Traceback (most recent call last):
    healthseg.integrations.mcp.calls.RateLimited: more than 1 request of this caller within a minute: wait 61 s
    """

    def __init__(
        self,
        folder: Path,
        settings: LimitSettings,
        clock: Callable[[], float],
        callers: int = 1,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._settings, self._clock = folder / "mcp-limits.sqlite", settings, clock
        self._share = max(1, settings.in_all_an_hour // callers) if callers > 1 else None
        self._lock = threading.Lock()  # within the process; between processes the file is locked
        self._buckets: dict[str, Any] = {}
        weakref.finalize(self, _closed, self._buckets)

    def take(self, caller: str) -> None:
        """Count a request; raises RateLimited where it is one too many. A refused request is not counted."""
        named = f"caller_{hashlib.sha256(caller.encode()).hexdigest()[:16]}"
        each, total = self._settings.per_caller_a_minute, self._settings.in_all_an_hour
        with self._lock:
            self._take(named, each, MINUTE_MS, "of this caller within a minute")
            if self._share:
                self._take(f"{named}_hour", self._share, HOUR_MS, "of this caller within an hour")
            self._take("everyone", total, HOUR_MS, "of all callers within an hour")

    def _take(self, table: str, most: int, interval_ms: int, words: str) -> None:
        from pyrate_limiter import RateItem

        now, bucket = int(1000 * self._clock()), self._bucket(table, most, interval_ms)
        bucket.leak(now)
        item = RateItem(table, now)
        if not bucket.put(item):
            seconds = max(1, math.ceil(bucket.waiting(item) / 1000))
            noun = "request" if most == 1 else "requests"
            raise RateLimited(
                f"more than {most:,} {noun} {words}: wait {seconds} s",
                validation_rule=f"at most {most:,} {words.removeprefix('of ')}",
                retry_after_seconds=seconds,
            )

    def _bucket(self, table: str, most: int, interval_ms: int) -> Any:
        from pyrate_limiter import Rate, SQLiteBucket

        if table not in self._buckets:
            while len(self._buckets) >= MOST_OPEN:
                self._buckets.pop(next(iter(self._buckets))).close()
            self._buckets[table] = SQLiteBucket.init_from_file(
                [Rate(most, interval_ms)], table, str(self._path), use_file_lock=True
            )
        return self._buckets[table]


def _closed(buckets: dict[str, Any]) -> None:
    """The connections alone: a collection may come while another counter of this thread holds the file's lock."""
    for bucket in buckets.values():
        bucket.conn.close()
