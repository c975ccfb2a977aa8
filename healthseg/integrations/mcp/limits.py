"""How many requests the MCP server answers: for each caller and in all, counted across the processes of a machine."""

from __future__ import annotations

import hashlib
import math
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from healthseg.errors import HealthsegError
from healthseg.settings.operator import LimitSettings

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
    healthseg.integrations.mcp.limits.RateLimited: more than 1 request of this caller within a minute: wait 61 s
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
