"""Which customers meet all criteria of another stage, and the moves that follow from it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from healthseg.errors import InvalidParameters
from healthseg.metrics.counting import customers
from healthseg.metrics.stages import Spell, history, in_force, spells, zones
from healthseg.periods import end_of_day_utc
from healthseg.settings.lifecycle import Edge
from healthseg.tools.lifecycle import criteria, figures
from healthseg.tools.lifecycle.moves import LONGEST_REASON, TRANSITION, Wish
from healthseg.tools.lifecycle.recording import recorded

ACTOR = "rule"


@dataclass(frozen=True)
class Step:
    """A move that follows from figures: who, from where to where, and what holds."""

    client_id: str
    name: str
    source: str
    target: str
    since: dt.date
    reason: str
    automatic: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "client_id": self.client_id,
            "name": self.name,
            "from_stage": self.source,
            "to_stage": self.target,
            "in_stage_since": self.since.isoformat(),
            "because": self.reason,
            "automatic": self.automatic,
        }

    def wish(self) -> Wish:
        """The transition as it is asked for; made again for the same stay, it is the same request."""
        return Wish(
            self.client_id,
            self.target,
            TRANSITION,
            reason=self.reason[:LONGEST_REASON],
            automated=True,
            actor=ACTOR,
            expected=self.source,
            request_id=f"advance-{self.client_id}-{self.since:%Y%m%d}-{self.source}-{self.target}"[
                :100
            ],
        )


def standing_spells(
    portfolio: Any, as_of: dt.date | None, known_by: dt.datetime | None = None
) -> dict[str, Spell]:
    """Each customer's stay at the end of ``as_of`` (None: by all that is recorded), by client_id."""
    known, zone = history(portfolio), zones(portfolio)
    limits = {
        name: None if as_of is None else end_of_day_utc(as_of, name) for name in set(zone.values())
    }
    found = {
        client: spells(in_force(changes, limits[zone[client]], known_by))
        for client, changes in known.by_client.items()
        if client in zone
    }
    return {client: rows[-1] for client, rows in sorted(found.items()) if rows}


def plan(
    portfolio: Any, as_of: dt.date, only: Iterable[str] | None = None, present: bool = False
) -> list[Step]:
    """What follows from the figures of ``as_of``: of each live customer the first of its stage's edges that is met.

    Its stage is that of ``as_of``; with ``present`` the one it is in by all that is recorded.
    """
    edges: dict[str, list[Edge]] = {}
    for edge in portfolio.settings.lifecycle.edges:
        edges.setdefault(edge.source, []).append(edge)
    standing = standing_spells(portfolio, None if present else as_of)
    if only is not None:
        standing = {client: spell for client, spell in standing.items() if client in set(only)}
    needed = criteria.needed(portfolio.settings.lifecycle.edges)
    days = figures.of_portfolio(
        portfolio, as_of, needed, {client: spell.start for client, spell in standing.items()}
    )
    names = _names(portfolio)
    found = (
        _step(
            client,
            names[client],
            standing[client],
            edges.get(standing[client].stage, []),
            days[client],
        )
        for client in sorted(days)
    )
    return [step for step in found if step is not None]


def _step(
    client: str, name: str, spell: Spell, edges: list[Edge], days: list[figures.Day]
) -> Step | None:
    for edge in edges:
        held = [criteria.held(one, days, trend=False) for one in edge.criteria]
        if criteria.all_met(held):
            reason = "; ".join(one.criterion.text for one in held)
            return Step(client, name, edge.source, edge.target, spell.start, reason, edge.automatic)
    return None


def apply(portfolio: Any, steps: Iterable[Step], notify_team: bool = True) -> list[dict[str, Any]]:
    """Makes the automatic ones of the moves, each in a transaction of its own, and says what became of each.

    The outcome is moved, unchanged (made before), or refused with the reason, where the customer was moved meanwhile.
    """
    return [_made(portfolio, step, notify_team) for step in steps if step.automatic]


def _made(portfolio: Any, step: Step, notify_team: bool) -> dict[str, Any]:
    try:
        move = recorded(portfolio, zones(portfolio)[step.client_id], step.wish(), notify_team)
    except InvalidParameters as problem:
        return {**step.to_dict(), "outcome": "refused", "reason": problem.message}
    return {**step.to_dict(), "outcome": "moved" if move.changed else "unchanged"}


def _names(portfolio: Any) -> Mapping[str, str]:
    known = customers(portfolio)
    return {
        client: client if pd.isna(name) else str(name)
        for client, name in (known["name"] if "name" in known else known["client_id"]).items()
    }
