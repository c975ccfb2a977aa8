"""Which stage was each customer in, from when to when, as far as was known? Imported and recorded changes in one order.

A change is a customer's entry into a stage at an instant. Of two at the same instant the later recorded one stands; an
entry into the stage that the customer is in already is no change. What lies between two changes is a spell.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from healthseg.data.memory import forget, remember
from healthseg.metrics.counting import customers
from healthseg.periods import UTC, local_day

RECORDED, IMPORTED = "recorded", "imported"


@dataclass(frozen=True)
class Change:
    """A customer entered ``stage`` at ``effective_at``, which we know since ``known_at``."""

    client_id: str
    stage: str
    effective_at: dt.datetime
    day: dt.date  # account-local
    known_at: dt.datetime
    reason: str | None = None
    automated: bool = False
    actor: str | None = None
    kind: str = "transition"
    source: str = IMPORTED
    request_id: str | None = None
    seq: int = 0


@dataclass(frozen=True)
class Spell:
    """One stay in a stage: ``[start, end)`` in account-local days, end None while it lasts; ``visit`` counts them."""

    change: Change
    end: dt.date | None
    exit_to: str | None
    visit: int

    @property
    def stage(self) -> str:
        return self.change.stage

    @property
    def start(self) -> dt.date:
        return self.change.day

    def days(self, until: dt.date) -> int:
        """Whole days of it by ``until``, its own end exclusive."""
        return max(0, ((self.end or until) - self.start).days)


def in_force(
    changes: Iterable[Change],
    effective_by: dt.datetime | None = None,
    known_by: dt.datetime | None = None,
) -> list[Change]:
    """One customer's changes that were effective before one instant and known by another, without what they replace.

    >>> day = lambda n: dt.datetime(2025, 3, n, tzinfo=UTC)
    >>> made = [Change("a", stage, day(n), day(n).date(), day(k)) for stage, n, k in
    ...         [("trial", 1, 1), ("active", 9, 9), ("onboarding", 9, 12)]]
    >>> [change.stage for change in in_force(made)], [change.stage for change in in_force(made, known_by=day(9))]
    (['trial', 'onboarding'], ['trial', 'active'])
    """
    ordered = sorted(
        (
            one
            for one in changes
            if (effective_by is None or one.effective_at < effective_by)
            and (known_by is None or one.known_at <= known_by)
        ),
        key=lambda one: (one.effective_at, one.known_at, one.seq, one.stage),
    )
    last_of = {one.effective_at: one for one in ordered}
    found: list[Change] = []
    for one in last_of.values():
        if not found or found[-1].stage != one.stage:
            found.append(one)
    return found


def spells(changes: Iterable[Change]) -> list[Spell]:
    """One customer's stays, from its changes in force.

    >>> day = lambda n: dt.datetime(2025, 3, n, tzinfo=UTC)
    >>> made = [Change("a", stage, day(n), day(n).date(), day(n)) for stage, n in
    ...         [("active", 1), ("at_risk", 5), ("active", 12)]]
    >>> [(one.stage, one.days(dt.date(2025, 3, 20)), one.visit) for one in spells(made)]
    [('active', 4, 1), ('at_risk', 7, 1), ('active', 8, 2)]
    """
    made, visits = list(changes), dict[str, int]()
    found = []
    for place, one in enumerate(made):
        following = made[place + 1] if place + 1 < len(made) else None
        visits[one.stage] = visits.get(one.stage, 0) + 1
        end = None if following is None else following.day
        found.append(
            Spell(one, end, None if following is None else following.stage, visits[one.stage])
        )
    return found


class History:
    """All changes of a portfolio by customer: the imported ones, and those of the ledger up to its newest row."""

    def __init__(
        self, by_client: Mapping[str, list[Change]], recorded: list[Change], seq: int, head: str
    ) -> None:
        self.by_client, self.recorded, self.seq, self.head = by_client, recorded, seq, head

    def of(self, client_id: str) -> list[Change]:
        return self.by_client.get(client_id, [])


def history(portfolio: Any) -> History:
    """The portfolio's changes as they stand now: the imported are read once, the ledger's newest at each call.

    Where one of the newest was known by the end of the data, the open portfolio's tables and panel are read anew as well.
    """
    known = portfolio.__dict__.get("_stage_history") or _imported_alone(portfolio)
    newest = (
        portfolio.ledger().stage_events(after=max(0, known.seq - 1))
        if portfolio.has_recorded_stages
        else []
    )
    if known.seq and known.head not in {
        event.digest for event in newest
    }:  # another ledger stands there now
        known = _imported_alone(portfolio)
        newest = portfolio.ledger().stage_events() if portfolio.has_recorded_stages else []
    fresh = [event for event in newest if event.seq > known.seq]
    if fresh:
        known = _with_events(known, fresh, zones(portfolio))
        if _concern_the_panel(portfolio, fresh):
            forget(portfolio)
    portfolio.__dict__["_stage_history"] = known
    return known


def _concern_the_panel(portfolio: Any, fresh: list[Any]) -> bool:
    """Whether a day of the data knows of them, and the portfolio's tables, as they were read, don't."""
    if "recorded_stages" not in portfolio.__dict__:
        return False
    read, zone = max((one.seq for one in portfolio.recorded_stages), default=0), zones(portfolio)
    return any(
        one.seq > read and local_day(one.recorded_at, zone[one.client_id]) <= portfolio.data_until
        for one in fresh
        if one.client_id in zone
    )


def _imported_alone(portfolio: Any) -> History:
    imported = remember(portfolio, "imported stages", lambda: _imported(portfolio))
    return History(imported, [], 0, "")


def _with_events(known: History, events: list[Any], zone: Mapping[str, str]) -> History:
    by_client = dict(known.by_client)
    made = [of_event(event, zone[event.client_id]) for event in events if event.client_id in zone]
    for one in made:
        by_client[one.client_id] = [*by_client.get(one.client_id, []), one]
    newest = max(events, key=lambda event: event.seq)
    return History(by_client, [*known.recorded, *made], newest.seq, newest.digest)


def of_event(event: Any, zone: str) -> Change:
    """A row of the ledger as a change."""
    return Change(
        event.client_id,
        event.stage,
        event.effective_at,
        local_day(event.effective_at, zone),
        event.recorded_at,
        event.reason,
        event.automated,
        event.actor,
        event.kind,
        RECORDED,
        event.request_id,
        event.seq,
    )


def zones(portfolio: Any) -> dict[str, str]:
    """Each customer's time zone."""

    def make() -> dict[str, str]:
        known = customers(portfolio)
        return known["timezone"].fillna(portfolio.settings.default_timezone).to_dict()

    return remember(portfolio, "zones", make)


def _imported(portfolio: Any) -> dict[str, list[Change]]:
    found: dict[str, list[Change]] = {}
    for row in portfolio.sql("metrics/stage_history").itertuples(index=False):
        effective = _instant(row.effective_at)
        recorded = effective if pd.isna(row.recorded_at) else _instant(row.recorded_at)
        found.setdefault(row.client_id, []).append(
            Change(
                row.client_id,
                row.stage,
                effective,
                row.effective_day.date(),
                recorded,
                _text(row.reason),
                bool(row.automated) if not pd.isna(row.automated) else False,
                _text(row.actor),
            )
        )
    return found


def _instant(moment: pd.Timestamp) -> dt.datetime:
    return moment.to_pydatetime().replace(tzinfo=UTC)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
