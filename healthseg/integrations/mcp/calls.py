"""Calls in processes of their own: side by side, each with a deadline and a memory limit.

A process opens the portfolio once and does one call after another; one that exceeds its limits is ended, and costs
its own call alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from multiprocessing.connection import wait
from typing import Any

import anyio

from healthseg.errors import CalculationError, HealthsegError, machine_fault
from healthseg.reports.batches.workers import Finished, Lost, Worker
from healthseg.reports.responses import Response, Responses
from healthseg.settings.operator import McpSettings, ReportSettings

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
