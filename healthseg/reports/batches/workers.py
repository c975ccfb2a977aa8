"""Worker processes: each is spawned once and does one task after another; one that dies costs its own task alone.

A worker is a fresh Python (never a fork: threads of DuckDB and of the chart renderer do not survive one). It reads its
set-up from standard input, then gets tasks through a pipe and answers with ``Finished``. Whoever started it watches
its deadline and its memory, and kills it with all that it started where it exceeds them. It ends with its starter.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import psutil

from healthseg.settings.operator import ReportSettings

OK, FAILED, KILLED, TIMED_OUT, SKIPPED = ("ok", "failed", "killed", "timed out", "skipped")
MEGABYTE = 1 << 20
SECONDS_BETWEEN_LOOKS = 0.1
LOOKS_BETWEEN_FAMILIES = 5  # finding a process' descendants reads all of /proc
# Libraries read these when they load; two workers with two threads each would wait for each other.
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
_DIE_WITH_PARENT, _ADOPT_ORPHANS = 1, 36

# A task gets what the set-up returned, and a function that tells the starter how far it is. It returns its value, or
# ``Finished`` where its worker is good for no other task.
Task = Callable[[Any, Callable[[object], None]], Any]


@dataclass(frozen=True)
class Finished:
    """A task's value, and whether the worker ends now, to be replaced by a fresh one."""

    value: Any
    retires: bool = False


@dataclass(frozen=True)
class TaskStep:
    """How far a task is: whatever it told."""

    value: Any


@dataclass(frozen=True)
class Lost:
    """A worker that is gone with its task: ``killed`` or ``timed out``, and why."""

    status: str
    reason: str


class Worker:
    """A worker process as its starter sees it."""

    def __init__(self, setup: Callable[[], Any], settings: ReportSettings) -> None:
        ours, theirs = multiprocessing.Pipe()
        self.connection: Connection = ours
        self.settings, self.peak_mb, self.retires = settings, 0.0, False
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        with tempfile.TemporaryFile() as parcel:
            pickle.dump((setup, settings), parcel)
            parcel.seek(0)
            command = [sys.executable, "-P", "-m", __name__, str(theirs.fileno()), str(os.getpid())]
            self.process = psutil.Popen(
                command,
                stdin=parcel,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": python_path()},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        theirs.close()
        self._family: list[psutil.Process] = []
        self._looks = 0
        self._last_look = 0.0

    def give(self, task: Task) -> None:
        """Start a task; its deadline begins."""
        self.started = time.monotonic()
        self.peak_mb = 0.0
        with contextlib.suppress(OSError):
            self.connection.send(task)

    def events(self) -> Iterator[TaskStep | Finished | Lost]:
        """What happened since the last call, up to the end of the task."""
        try:
            while self.connection.poll():
                event = self.connection.recv()
                if isinstance(event, Finished):
                    self.retires = event.retires
                    self._look()
                yield event
                if isinstance(event, Finished):
                    return
        except (EOFError, OSError, pickle.UnpicklingError):
            yield self._lost(KILLED, f"its process ended{self._ending()}")
            return
        reason = self._beyond_limits()
        if reason is None and self.process.poll() is not None and not self.connection.poll():
            # what it started holds the pipe open
            reason = KILLED, f"its process ended{self._ending()}"
        if reason is not None:
            yield self._lost(*reason)

    def _beyond_limits(self) -> tuple[str, str] | None:
        now = time.monotonic()
        if now - self.started > self.settings.deadline_seconds:
            return TIMED_OUT, f"it took longer than {self.settings.deadline_seconds:g} s"
        if now - self._last_look >= SECONDS_BETWEEN_LOOKS:
            self._last_look = now
            self._look()
        if self.peak_mb > self.settings.memory_mb:
            return KILLED, f"it used more than {self.settings.memory_mb:.0f} MB of memory"
        return None

    def _look(self) -> None:
        """Note the memory of the worker and of what it started."""
        with contextlib.suppress(psutil.Error):
            if self._looks % LOOKS_BETWEEN_FAMILIES == 0:
                self._family = self.process.children(recursive=True)
            self._looks += 1
        used = sum(_resident(process) for process in (self.process, *self._family))
        self.peak_mb = max(self.peak_mb, used / MEGABYTE)

    def _lost(self, status: str, reason: str) -> Lost:
        self.close()
        return Lost(status, reason)

    def _ending(self) -> str:
        """How the process ended, with the last line that it wrote to standard error."""
        with contextlib.suppress(psutil.TimeoutExpired):
            self.process.wait(5)
        self._log.seek(0)
        lines = self._log.read()[-2000:].decode("utf-8", "replace").strip().splitlines()
        last_line = f": {lines[-1][:300]}" if lines else ""
        return ending(self.process.returncode) + last_line

    def close(self) -> None:
        """End the process and all that it started."""
        with contextlib.suppress(psutil.Error):
            self._family = [*self._family, *self.process.children(recursive=True)]
        end(self.process, *self._family)
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.connection.close()
        self._log.close()


def ending(status: int | None) -> str:
    """
    >>> ending(-9), ending(3), ending(None)
    (' (SIGKILL)', ' (exit status 3)', '')
    """
    if status is None:
        return ""
    return f" ({signal.Signals(-status).name})" if status < 0 else f" (exit status {status})"


def end(*processes: psutil.Process) -> None:
    """Kill processes; psutil knows them by the time of their start, so that no other is met."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def python_path() -> str:
    """Where a worker finds this healthseg, installed or not."""
    root = str(Path(__file__).resolve().parents[3])
    others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([root, *filter(None, others)]))


def run_tasks(
    tasks: Sequence[Task],
    count: int,
    setup: Callable[[], Any],
    settings: ReportSettings,
    check: Callable[[], None] = lambda: None,
    go_on: Callable[[Any], bool] = lambda value: True,
) -> Iterator[tuple[int, Finished | Lost, Any, float, float]]:
    """BatchRun tasks with ``count`` workers; as they end: index, event, last step, seconds, peak memory in MB.

    ``check`` is called between, and may raise. No task is begun after one for whose ending ``go_on`` is false.
    """
    waiting = list(enumerate(tasks))[::-1]
    workers: list[_Busy] = []
    try:
        while waiting or workers:
            check()
            while waiting and len(workers) < count:
                workers.append(_Busy(Worker(setup, settings), *waiting.pop()))
            wait([busy.worker.connection for busy in workers], timeout=SECONDS_BETWEEN_LOOKS)
            ended = [(busy, event) for busy in workers if (event := busy.event()) is not None]
            results = []
            for busy, event in ended:
                seconds = time.monotonic() - busy.worker.started
                peak = round(busy.worker.peak_mb, 1)
                results.append((busy.index, event, busy.step, seconds, peak))
                if not go_on(event):
                    waiting.clear()
                _next(busy, event, workers, waiting)
            yield from results
    finally:
        for busy in workers:
            busy.worker.close()


def _next(
    busy: _Busy, event: Finished | Lost, workers: list[_Busy], waiting: list[tuple[int, Task]]
) -> None:
    """Give the worker its next task at once, or let it go."""
    workers.remove(busy)
    if isinstance(event, Lost):
        return
    if event.retires or not waiting:
        busy.worker.close()
    else:
        workers.append(_Busy(busy.worker, *waiting.pop()))


class _Busy:
    """A worker with the task that it is at."""

    def __init__(self, worker: Worker, index: int, task: Task) -> None:
        self.worker, self.index, self.step = worker, index, None
        worker.give(task)

    def event(self) -> Finished | Lost | None:
        for event in self.worker.events():
            if not isinstance(event, TaskStep):
                return event
            self.step = event.value
        return None


# The process itself.


def main(descriptor: int, starter: int) -> None:
    """Do one task after another, until the starter closes the pipe or the worker should be replaced."""
    _end_with(starter)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(descriptor)
    setup, settings = pickle.load(sys.stdin.buffer)
    state = setup()
    gc.collect()
    gc.freeze()
    owner = os.getpid()
    with contextlib.suppress(EOFError, OSError):
        for done in range(1, settings.worker_reports + 1):
            value = connection.recv()(state, partial(_tell, connection, owner))
            _end_unless(owner)
            ended = value if isinstance(value, Finished) else Finished(value)
            retires = ended.retires or not _tidy(settings) or done == settings.worker_reports
            connection.send(Finished(ended.value, retires))
            if retires:
                return


def _tell(connection: Connection, owner: int, step: object) -> None:
    _end_unless(owner)
    connection.send(TaskStep(step))


def _end_unless(owner: int) -> None:
    """A process that a notebook forked, and that came back from its cell, must not speak for the worker."""
    if os.getpid() != owner:
        os._exit(0)


def _end_with(starter: int) -> None:
    """This process is killed when the one that started it ends; descendants that lose their parent stay with it."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            prctl = ctypes.CDLL(None).prctl
            prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
            prctl(_ADOPT_ORPHANS, 1, 0, 0, 0)
    if os.getppid() != starter:
        sys.exit(1)  # it ended before this process could ask to end with it


def _tidy(settings: ReportSettings) -> bool:
    """End what the task started; whether this process is good for another one."""
    end(*psutil.Process().children(recursive=True))
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    gc.collect()
    gc.freeze()
    threads = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    return not threads and _resident(psutil.Process()) <= settings.worker_memory_mb * MEGABYTE


if __name__ == "__main__":
    from healthseg.reports.batches import workers  # classes that travel are those of this name

    workers.main(int(sys.argv[1]), int(sys.argv[2]))
