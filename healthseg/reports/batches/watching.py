"""A notebook's deadline and memory limit, enforced from outside its kernel, by process group."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from healthseg.reports.batches.kernels import linux

SECONDS_BETWEEN_LOOKS = 0.1
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What one notebook may take."""

    seconds: float = 600.0
    memory_mb: float = 4096.0
    printed_mb: float = 20.0


class Watch:
    """Looks at a kernel while a notebook runs in it, and kills its group where a limit is passed."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.peak_mb = limits, 0.0
        self.status, self.reason = "", ""
        self._last = time.monotonic() + limits.seconds

    @contextlib.contextmanager
    def __call__(self, manager: Any) -> Iterator[None]:
        done = threading.Event()
        thread = threading.Thread(
            target=self._look, args=(manager.process, done), name="watch", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _look(self, process: Any, done: threading.Event) -> None:
        while True:
            used = linux.group_memory(process.pid) / MEGABYTE
            self.peak_mb = max(self.peak_mb, used)
            if used > self.limits.memory_mb:
                return self._end(
                    process, "killed", f"it used more than {self.limits.memory_mb:.0f} MB of memory"
                )
            if time.monotonic() > self._last:
                return self._end(
                    process, "timed out", f"it took longer than {self.limits.seconds:g} s"
                )
            if done.wait(SECONDS_BETWEEN_LOOKS):
                return None

    def _end(self, process: Any, status: str, reason: str) -> None:
        self.status, self.reason = status, reason
        process.kill()
