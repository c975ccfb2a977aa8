"""Responses for programs, commands and MCP: from the cache where one is valid, else computed.

``Responses`` is the entry; the tools themselves cache no responses.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from healthseg.data.cache import code_digest
from healthseg.data.discovery import ADDRESS, locate
from healthseg.data.ledger import FILE_NAME
from healthseg.data.object_store import is_store
from healthseg.data.response_cache import (
    CachedResponse,
    DataState,
    ResponseCache,
    data_state,
    ledger_state,
)
from healthseg.data.storage import cache_folder, root_for
from healthseg.errors import HealthsegError
from healthseg.reports import freshness, portfolios
from healthseg.settings import fingerprint
from healthseg.settings.in_force import InForce, in_force

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

WRITERS = ("manage_lifecycle_stages",)  # their responses say what was just recorded: never cached
MINUTES = {
    "calculate_health_score": "health_minutes",
    "segment_customers": "segments_minutes",
    "segment_by_value_tier": "segments_minutes",
}
OTHER_MINUTES = "usage_minutes"
# Tables of the ledger that figures are computed from. Alerts and deliveries leave cached responses as they are.
LEDGER_TABLES = ("settings_in_force", "stage_events")
# Tables that only these tools read.
TABLES_READ = {
    "segment_customers": ("segment_runs",),
    "analyze_engagement_patterns": ("segment_runs",),
    "score_report_card": ("churn_predictions",),
}
NOT_WANTED, WRITES, OFF = "not wanted", "this tool writes", "switched off by the settings"
UNKNOWN_STATE = (
    "the source, or the ledger's server, does not say whether it changed; a database needs "
    "cache.version_query"
)
# The keys beside a tool's own, as JSON Schema.
AROUND = {
    "cache": {
        "type": "object",
        "description": "Whether the response comes from the cache, its age and for how long it is valid",
    },
    "degraded": {
        "type": "boolean",
        "description": "Whether a source of the response is down or older than it should be",
    },
    "integrations": {
        "type": "object",
        "description": "Each outside source of the response, and how old its data are",
    },
}


@dataclass(frozen=True)
class Response:
    """A tool's response as a dictionary, with ``cache`` and, where Mixpanel is used, its state.

    ``verdict`` and ``summary`` are those of the result: the finding in a sentence, and the figures to read first.
    """

    body: dict[str, Any]
    verdict: str = ""
    summary: dict[str, Any] = field(default_factory=dict)

    def to_json(self, indent: int | None = 2) -> str:
        return json.dumps(self.body, indent=indent, ensure_ascii=False)


@dataclass(frozen=True)
class _Snapshot:
    """A portfolio as it is now: its settings, its cache, its data's state and its ledger, each where known."""

    address: str
    settings: InForce
    values: Mapping[str, Any]  # [settings] beside the data, and those that override them
    cache: ResponseCache
    state: DataState | None
    ledger_files: tuple[Path, ...]

    def ledger(self, tables: tuple[str, ...]) -> str | None:
        """Changes with these tables of the ledger; None where its server does not answer."""
        if not self.values.get("ledger", {}).get("address"):
            return fingerprint([ledger_state(path, tables) for path in self.ledger_files])
        from healthseg.data.ledger.ledger import LedgerLocation
        from healthseg.settings import settings

        return LedgerLocation(settings(self.values).ledger, None, portfolios.now).watermark(*tables)

    @functools.cached_property
    def token(self) -> str | None:
        """Changes with the data, the settings and the ledger's stages; None where that is not known."""
        ledger = None if self.state is None else self.ledger(LEDGER_TABLES)
        if self.state is None or ledger is None:
            return None
        return fingerprint([self.state.token, self.values, ledger])

    def key(self, tool: str, parameters: Mapping[str, Any]) -> str:
        """The cache's key of a response."""
        present = {name: value for name, value in parameters.items() if value is not None}
        read = self.ledger(TABLES_READ[tool]) if tool in TABLES_READ else None
        return fingerprint([code_digest(), tool, present, self.address, self.token, read])


class Responses:
    """The tools of one portfolio, with responses as over the command line or MCP.

    ``cache=False`` computes every response anew. ``clock`` returns seconds since 1970.

    >>> from healthseg.testing import tiny_portfolio
    >>> portfolio = tiny_portfolio([("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 29)])
    >>> responses = Responses(portfolio.path, clock=iter(range(10**10, 10**11, 60)).__next__)
    >>> parameters = {"client_id": "a", "period_start": "2025-03-15", "period_end": "2025-03-29"}
    >>> first, _, again = (responses.response("track_usage_engagement", parameters).body for _ in range(3))
    >>> first["cache"]["hit"], again["cache"]["hit"], first["fingerprint"] == again["fingerprint"]
    (False, True, True)
    """

    def __init__(
        self, portfolio: str = "", *, cache: bool = True, clock: Callable[[], float] = time.time
    ) -> None:
        self.address = portfolios.address(portfolio)
        self.wanted, self._clock = cache, clock
        self._portfolio: Portfolio | None = None
        self._opened: str | None = None  # the token of the open portfolio
        # an open portfolio serves one caller at a time; the cache serves any number
        self._lock = threading.Lock()

    def response(self, tool: str, parameters: Mapping[str, Any]) -> Response:
        """The response of a tool to parameters; raises HealthsegError as the tool does."""
        return self.typed_response(tool, parameters, lambda: parameters)

    def cached(self, tool: str, parameters: Mapping[str, Any]) -> Response | None:
        """The response where the cache has a valid one; nothing is computed."""
        snapshot = self._snapshot()
        _, reason = self._minutes(tool, snapshot)
        return None if reason else self._cached(tool, parameters, snapshot)

    def typed_response(
        self, tool: str, typed: Mapping[str, Any], read: Callable[[], Mapping[str, Any]]
    ) -> Response:
        """The response to parameters as they were typed; ``read`` parses them where no response is cached."""
        snapshot = self._snapshot()
        minutes, reason = self._minutes(tool, snapshot)
        cached = None if reason else self._cached(tool, typed, snapshot)
        if cached is not None:
            return cached
        with self._lock:
            # another caller may have computed it meanwhile
            cached = None if reason else self._cached(tool, typed, snapshot)
            if cached is not None:
                return cached
            response = self._compute(tool, read(), snapshot)
            facts: dict[str, Any] = {"hit": False, "cached": False, "reason": reason}
            if reason is None:
                facts = self._store(tool, typed, response, 60 * minutes)
        return self._around(tool, response, facts, snapshot)

    def close(self) -> None:
        """Close the open portfolio."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._portfolio is not None:
            self._portfolio.close()
        self._portfolio = self._opened = None

    def _snapshot(self) -> _Snapshot:
        settings = in_force(self.address)
        values: Mapping[str, Any] = settings.overrides
        if ADDRESS.match(self.address) and not is_store(self.address):
            from healthseg.data.database import without_password

            root = cache_folder() / fingerprint(without_password(self.address))
            state, folders = self._watermark(settings), [root]
        else:
            sources = locate(self.address)
            root = root_for(sources.folder, sources.identity, local=sources.local)
            values, state = {**sources.settings, **values}, data_state(sources)
            folders = [root, sources.folder]
        files = tuple(dict.fromkeys(folder / FILE_NAME for folder in folders))
        return _Snapshot(self.address, settings, values, ResponseCache(root), state, files)

    def _watermark(self, settings: InForce) -> DataState | None:
        if not settings.cache.version_query:
            return None
        from healthseg.data.database import watermark

        return DataState(watermark(self.address, settings.cache.version_query), 0.0)

    def _minutes(self, tool: str, snapshot: _Snapshot) -> tuple[float, str | None]:
        """For how long the tool's responses are valid, and why they are not cached where they aren't."""
        minutes = float(getattr(snapshot.settings.cache, MINUTES.get(tool, OTHER_MINUTES)))
        if not self.wanted:
            return 0.0, NOT_WANTED
        if tool in WRITERS:
            return 0.0, WRITES
        if not snapshot.settings.cache.enabled or minutes == 0:
            return 0.0, OFF
        return minutes, UNKNOWN_STATE if snapshot.token is None else None

    def _cached(self, tool: str, typed: Mapping[str, Any], snapshot: _Snapshot) -> Response | None:
        now = self._clock()
        cached = snapshot.cache.get(snapshot.key(tool, typed), now)
        if cached is None:
            return None
        response = Response(**json.loads(cached.text))
        return self._around(tool, response, _facts(cached, now), snapshot)

    def _compute(self, tool: str, parameters: Mapping[str, Any], snapshot: _Snapshot) -> Response:
        from healthseg.reports import registry

        registry.tool(tool)
        portfolio = self._open(snapshot)
        portfolios.record_settings(portfolio, portfolios.now)
        try:
            result = registry.response(tool, portfolio, parameters)
            return Response(result.to_dict(), result.verdict(), result.summary())
        except HealthsegError as problem:
            raise freshness.instead_of(problem, self._mixpanel(snapshot)) from None

    def _open(self, snapshot: _Snapshot) -> Portfolio:
        """The portfolio, opened again where its source, ledger or settings changed, or do not say so."""
        token = snapshot.token
        if self._portfolio is None or token is None or token != self._opened:
            self._close()
            settled = snapshot.state is not None and snapshot.state.settled(self._clock())
            self._portfolio = portfolios.open_portfolio(self.address)
            self._opened = token if settled else None
        return self._portfolio

    def _store(
        self, tool: str, typed: Mapping[str, Any], response: Response, seconds: float
    ) -> dict[str, Any]:
        """Cache a response unless its data changed while it was computed."""
        snapshot, now = self._snapshot(), self._clock()
        text = json.dumps(vars(response), ensure_ascii=False, default=str)
        unchanged = self._opened is not None and snapshot.token == self._opened
        cached = unchanged and snapshot.cache.put(snapshot.key(tool, typed), text, now, seconds)
        valid = seconds if cached else 0.0
        return {"hit": False, "cached": cached, "age_seconds": 0.0, "valid_seconds": valid}

    def _mixpanel(self, snapshot: _Snapshot) -> dict[str, Any] | None:
        now = dt.datetime.fromtimestamp(self._clock(), dt.UTC)
        return freshness.mixpanel(self.address, snapshot.settings, now)

    def _around(
        self, tool: str, response: Response, facts: dict[str, Any], snapshot: _Snapshot
    ) -> Response:
        around = freshness.around(tool, self._mixpanel(snapshot))
        return replace(response, body={**response.body, **around, "cache": facts})


def _facts(cached: CachedResponse, now: float) -> dict[str, Any]:
    return {
        "hit": True,
        "cached": True,
        "age_seconds": round(now - cached.computed_at, 3),
        "valid_seconds": round(cached.until - now, 3),
    }
