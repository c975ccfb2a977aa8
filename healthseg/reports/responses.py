"""Responses as the faces give them: from the cache where one holds, else made, with what stands around them.

``Responses`` is the entry for programs as well; the tools themselves neither keep nor look anything up.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from healthseg.data.cache import code_digest
from healthseg.data.discovery import ADDRESS, locate
from healthseg.data.response_cache import CachedResponse, DataState, ResponseCache, data_state
from healthseg.data.storage import cache_folder, root_for
from healthseg.errors import HealthsegError
from healthseg.integrations import freshness as integrations
from healthseg.reports import portfolios
from healthseg.settings import fingerprint
from healthseg.settings.in_force import InForce, in_force

Given = Mapping[str, Any]
WRITERS = ("manage_lifecycle_stages",)  # its responses say what was just done: never given twice
MINUTES = {
    "calculate_health_score": "health_minutes",
    "segment_customers": "segments_minutes",
    "segment_by_value_tier": "segments_minutes",
}
OTHERS = "usage_minutes"
NOT_ASKED, WRITES, OFF = "not asked for", "this tool writes", "the settings keep none"
# What stands beside a tool's own keys, as JSON Schema.
AROUND = {
    "cache": {
        "type": "object",
        "description": "Whether the response was kept from before, its age and how long it holds",
    },
    "degraded": {
        "type": "boolean",
        "description": "Whether a source of the response is down or older than it should be",
    },
    "integrations": {
        "type": "object",
        "description": "Each outside source that was used, and how old its data are",
    },
}
UNTOLD = "the source, or the ledger's server, cannot tell whether it changed; a database needs cache.version_query"


@dataclass(frozen=True)
class Response:
    """A tool's response as a dictionary, with ``cache`` and, where Mixpanel is used, its state."""

    body: dict[str, Any]

    def to_json(self, indent: int | None = 2) -> str:
        return json.dumps(self.body, indent=indent, ensure_ascii=False)


@dataclass(frozen=True)
class _Place:
    """A portfolio as it is now: its settings, its cache, and its state where that can be told."""

    settings: InForce
    values: Mapping[str, Any]  # [settings] as given, beside the data and over it
    cache: ResponseCache
    state: DataState | None


class Responses:
    """The tools of one portfolio, answering as over the command line or MCP.

    ``cache=False`` makes every response anew. ``clock`` gives seconds since 1970.

    >>> from healthseg.testing import tiny_portfolio
    >>> portfolio = tiny_portfolio([("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 29)])
    >>> responses = Responses(portfolio.path, clock=iter(range(10**10, 10**11, 60)).__next__)
    >>> asked = {"client_id": "a", "period_start": "2025-03-15", "period_end": "2025-03-29"}
    >>> first, _, again = (responses.response("track_usage_engagement", asked).body for _ in range(3))
    >>> first["cache"]["hit"], again["cache"]["hit"], first["fingerprint"] == again["fingerprint"]
    (False, True, True)
    """

    def __init__(
        self, portfolio: str = "", *, cache: bool = True, clock: Callable[[], float] = time.time
    ) -> None:
        self.address = portfolios.address(portfolio)
        self._asked, self._clock = cache, clock
        self._portfolio: Any = None
        self._opened: tuple[str, str] | None = None
        self._lock = (
            threading.Lock()
        )  # a portfolio answers one caller at a time; what is kept answers any number

    def response(self, tool: str, given: Given) -> Response:
        """The response of a tool to parameters; raises HealthsegError as the tool does."""
        return self.typed_response(tool, given, lambda: given)

    def typed_response(self, tool: str, typed: Given, read: Callable[[], Given]) -> Response:
        """The response to parameters as they were typed; they are read only where no response to the same is kept."""
        place = self._place()
        minutes, reason = self._minutes(tool, place)
        found = self._found(tool, typed, place) if reason is None else None
        if found is not None:
            return found
        with self._lock:
            found = (
                self._found(tool, typed, place) if reason is None else None
            )  # of another caller, meanwhile
            if found is not None:
                return found
            body = self._made(tool, read(), place)
            told = (
                {"hit": False, "kept": False, "reason": reason}
                if reason
                else self._keep(tool, typed, body, minutes)
            )
        return self._around(tool, body, told, place)

    def _found(self, tool: str, typed: Given, place: _Place) -> Response | None:
        now = self._clock()
        kept = place.cache.get(self._key(tool, typed, place), now)
        return (
            self._around(tool, json.loads(kept.text), _told(kept, now), place)
            if kept is not None
            else None
        )

    def close(self) -> None:
        """Let go of the open portfolio."""
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        if self._portfolio is not None:
            self._portfolio.close()
        self._portfolio = self._opened = None

    def _place(self) -> _Place:
        settings = in_force(self.address)
        if ADDRESS.match(self.address):
            root, state = cache_folder() / fingerprint(self._shown()), self._watermark(settings)
            values: Mapping[str, Any] = settings.overrides
        else:
            sources = locate(self.address)
            root = root_for(sources.folder, sources.identity, local=sources.local)
            values, state = {**sources.settings, **settings.overrides}, data_state(sources, root)
        return _Place(settings, values, ResponseCache(root), _with_ledger(state, values))

    def _shown(self) -> str:
        from healthseg.data.database import without_password

        return without_password(self.address)

    def _watermark(self, settings: InForce) -> DataState | None:
        if not settings.cache.version_query:
            return None
        from healthseg.data.database import watermark

        return DataState(watermark(self.address, settings.cache.version_query), 0.0)

    def _minutes(self, tool: str, place: _Place) -> tuple[float, str | None]:
        """For how long the tool's responses hold, and why they are not kept where they aren't."""
        minutes = getattr(place.settings.cache, MINUTES.get(tool, OTHERS))
        if not self._asked:
            return 0.0, NOT_ASKED
        if tool in WRITERS:
            return 0.0, WRITES
        if not place.settings.cache.enabled or minutes == 0:
            return 0.0, OFF
        return minutes, UNTOLD if place.state is None else None

    def _key(self, tool: str, given: Given, place: _Place) -> str:
        asked = {name: value for name, value in given.items() if value is not None}
        return fingerprint(
            [code_digest(), tool, asked, self.address, place.values, place.state.token]
        )

    def _made(self, tool: str, given: Given, place: _Place) -> dict[str, Any]:
        from healthseg.reports import registry

        registry.tool(tool)
        opened = self._open(place)
        portfolios.record_settings(opened, portfolios.now)
        try:
            return registry.response(tool, opened, given).to_dict()
        except HealthsegError as problem:
            raise integrations.instead_of(problem, self._mixpanel(place)) from None

    def _open(self, place: _Place) -> Any:
        """The portfolio, opened again where its source or settings changed, or cannot tell."""
        wanted = (place.state.token, fingerprint(place.values)) if place.state is not None else None
        if self._portfolio is None or wanted is None or wanted != self._opened:
            self._let_go()
            settled = place.state is not None and place.state.settled(self._clock())
            self._portfolio, self._opened = (
                portfolios.open_portfolio(self.address),
                wanted if settled else None,
            )
        return self._portfolio

    def _keep(
        self, tool: str, given: Given, body: dict[str, Any], minutes: float
    ) -> dict[str, Any]:
        """Keep what was made of a state that stayed as it was; what changed meanwhile is made anew next time."""
        place, now = self._place(), self._clock()
        same = place.state is not None and self._opened == (
            place.state.token,
            fingerprint(place.values),
        )
        kept = same and place.cache.put(
            self._key(tool, given, place), json.dumps(body, ensure_ascii=False), now, 60 * minutes
        )
        return {
            "hit": False,
            "kept": kept,
            "age_seconds": 0.0,
            "holds_seconds": 60 * minutes if kept else 0.0,
        }

    def _mixpanel(self, place: _Place) -> dict[str, Any] | None:
        return integrations.mixpanel(
            self.address, place.settings, dt.datetime.fromtimestamp(self._clock(), dt.UTC)
        )

    def _around(
        self, tool: str, body: dict[str, Any], cache: dict[str, Any], place: _Place
    ) -> Response:
        return Response(
            {**body, **integrations.around(tool, self._mixpanel(place)), "cache": cache}
        )


def _with_ledger(state: DataState | None, values: Mapping[str, Any]) -> DataState | None:
    """The state of the data and of a ledger on a server; one in a file is among the data's files."""
    if state is None or not values.get("ledger", {}).get("address"):
        return state
    from healthseg.data.ledger.location import LedgerLocation
    from healthseg.periods import wall_clock
    from healthseg.settings import settings as checked

    recorded = LedgerLocation(checked(values).ledger, None, wall_clock).watermark()
    return (
        None
        if recorded is None
        else DataState(fingerprint([state.token, recorded]), state.changed_at)
    )


def _told(kept: CachedResponse, now: float) -> dict[str, Any]:
    return {
        "hit": True,
        "kept": True,
        "age_seconds": round(now - kept.computed_at, 3),
        "holds_seconds": round(kept.until - now, 3),
    }
