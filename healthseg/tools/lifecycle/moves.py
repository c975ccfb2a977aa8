"""Changes of stage: requested or planned by the criteria, checked and recorded in one transaction with their messages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pandas as pd

from healthseg import rules as rule_engine
from healthseg.errors import InvalidParameters
from healthseg.metrics.counting import EPOCH, customers
from healthseg.metrics.milestone_plan import DayCount
from healthseg.metrics.panels import panel
from healthseg.metrics.profile import customer_as_of
from healthseg.metrics.stages import (
    SPELLS_IN_MEMORY,
    StageChange,
    StageSpell,
    history,
    in_force,
    of_event,
    spells,
    zones,
)
from healthseg.periods import UTC, end_of_day_utc, local_day
from healthseg.settings import Settings, fingerprint
from healthseg.settings.lifecycle import Action, Edge, Lifecycle
from healthseg.tools.lifecycle.criteria import (
    DayFigures,
    all_met,
    criterion_state,
    needed,
    portfolio_days,
)
from healthseg.tools.values import word

if TYPE_CHECKING:
    from healthseg.data.ledger.ledger import Ledger, StageEvent
    from healthseg.data.outbox import Message
    from healthseg.data.portfolio import Portfolio

TRANSITION, CORRECTION = "transition", "correction"
LONGEST_REASON = 2_000
_TICK = dt.timedelta(microseconds=1)


@dataclass(frozen=True)
class RequestedMove:
    """A requested change of stage.

    ``effective_at`` None means now; ``expected`` is the stage from which the change was planned.
    """

    client_id: str
    stage: str
    kind: str
    effective_at: dt.datetime | None = None
    reason: str | None = None
    automated: bool = False
    actor: str = "unknown"
    request_id: str | None = None
    expected: str | None = None


@dataclass(frozen=True)
class Move:
    """What became of a requested move: the recorded event, whether it is new, and the stage before."""

    event: StageEvent | None
    changed: bool
    previous: str | None


Announce = Callable[["StageEvent", "str | None", bool], "Iterable[Message]"]


def move(
    ledger: Ledger,
    imported: Iterable[StageChange],
    zone: str,
    signup: dt.date,
    rules: Lifecycle,
    request: RequestedMove,
    announce: Announce,
) -> Move:
    """Records a change of stage with its messages, or nothing where the customer is in that stage already.

    ``imported`` are the customer's changes from the tables; ``announce(event, previous, first)``
    gives the messages of a transition (a correction has none). Raises InvalidParameters, and
    records nothing, where the move is not allowed, lies before signup or in the future, or where
    the request id was used for another change.
    """
    from healthseg.data.outbox import put  # not needed where stages are only read

    with ledger.transaction() as now:
        repeated = _repeated(ledger, request, rules.name)
        if repeated is not None:
            return Move(repeated, False, _stage_before(ledger, imported, zone, repeated))
        changes = [
            *imported,
            *_of_ledger(ledger, request.client_id, zone, rules.name),
        ]
        at = _effective(request, in_force(changes), now, signup, zone)
        before, after = _around(changes, at)
        current = before[-1].stage if before else None
        if request.expected is not None and current != request.expected:
            raise _refused(
                request,
                f"{request.client_id} is {current} now, not {request.expected}: plan again",
                "new_stage",
            )
        if current == request.stage:
            return Move(None, False, before[-2].stage if len(before) > 1 else None)
        if request.kind == TRANSITION:
            _check(request, rules, current, at, before, after)
        event = ledger.record_stage_event(
            request.request_id or _own_id(request, at, changes, rules.name),
            request.client_id,
            request.stage,
            at,
            actor=request.actor,
            reason=request.reason,
            automated=request.automated,
            kind=request.kind,
            lifecycle=rules.name,
        )
        if request.kind == TRANSITION:
            first = not any(change.stage == request.stage for change in changes)
            put(ledger, announce(event, current, first))
        return Move(event, True, current)


def _of_ledger(ledger: Ledger, client_id: str, zone: str, lifecycle: str) -> list[StageChange]:
    return [of_event(event, zone) for event in ledger.stage_events(client_id, lifecycle=lifecycle)]


def _repeated(ledger: Ledger, request: RequestedMove, lifecycle: str) -> StageEvent | None:
    """What this request id recorded before; refused where that was another change."""
    event = ledger.stage_event_of(request.request_id) if request.request_id else None
    if event is None:
        return None
    same = (event.client_id, event.stage, event.kind, event.lifecycle) == (
        request.client_id,
        request.stage,
        request.kind,
        lifecycle,
    )
    if not same or (
        request.effective_at is not None and request.effective_at != event.effective_at
    ):
        raise _refused(
            request,
            f"request_id {request.request_id!r} was used before, for {event.client_id} to {event.stage} "
            f"at {event.effective_at.isoformat()}: give each change an id of its own",
            "request_id",
            request.request_id,
            "one id per change",
        )
    return event


def _stage_before(
    ledger: Ledger, imported: Iterable[StageChange], zone: str, event: StageEvent
) -> str | None:
    changes = [
        *imported,
        *_of_ledger(ledger, event.client_id, zone, event.lifecycle),
    ]
    earlier = in_force(changes, effective_by=event.effective_at)
    return earlier[-1].stage if earlier else None


def _effective(
    request: RequestedMove,
    in_force_now: list[StageChange],
    now: dt.datetime,
    signup: dt.date,
    zone: str,
) -> dt.datetime:
    """When it takes effect: now, after all that is recorded, or as requested, between signup and now."""
    at = request.effective_at
    if at is None:
        last = in_force_now[-1].effective_at if in_force_now else now
        at = now if last < now or not in_force_now else last + _TICK
    elif at > now:
        raise _refused(
            request,
            f"effective_at {at.isoformat()} is in the future: it is {now.isoformat()}",
            "effective_at",
            at.isoformat(),
            "not after the present",
        )
    if local_day(at, zone) < signup:
        raise _refused(
            request,
            f"effective_at {at.isoformat()} lies before {request.client_id} signed up, on {signup}",
            "effective_at",
            at.isoformat(),
            f"{signup} or later",
        )
    return at


def _around(
    changes: list[StageChange], at: dt.datetime
) -> tuple[list[StageChange], StageChange | None]:
    """The changes in force up to an instant, and the first one after it."""
    later = [change for change in in_force(changes) if change.effective_at > at]
    return in_force(changes, effective_by=at + _TICK), (later[0] if later else None)


def _check(
    request: RequestedMove,
    rules: Lifecycle,
    current: str | None,
    at: dt.datetime,
    before: list[StageChange],
    after: StageChange | None,
) -> None:
    """A transition must be allowed from the stage before it, and to the one after it."""
    if not rules.allows(current, request.stage):
        raise _refused(
            request,
            f"{request.client_id} is {current}: from there it can go to "
            f"{', '.join(rules.targets(current))}, not to {request.stage}; update_stage corrects a record",
            "new_stage",
            request.stage,
            "one of " + ", ".join(rules.targets(current)),
        )
    if before and before[-1].effective_at == at:
        raise _refused(
            request,
            f"{request.client_id} became {current} at that very instant: update_stage corrects a record",
            "effective_at",
            at.isoformat(),
        )
    if (
        after is not None
        and after.stage != request.stage
        and not rules.allows(request.stage, after.stage)
    ):
        raise _refused(
            request,
            f"{request.client_id} became {after.stage} on {after.day}, which cannot follow {request.stage}: "
            "correct that first, with update_stage",
            "effective_at",
            at.isoformat(),
        )


def _own_id(
    request: RequestedMove, at: dt.datetime, changes: list[StageChange], lifecycle: str
) -> str:
    """An id made from the change itself, where none was given."""
    last = max((change.seq for change in changes), default=0)
    parts = [request.client_id, request.stage, at.isoformat(), request.kind, last]
    return fingerprint([*parts, lifecycle] if lifecycle else parts)


def _refused(
    request: RequestedMove, message: str, parameter: str, value: Any = None, rule: str | None = None
) -> InvalidParameters:
    return InvalidParameters(
        message, parameter=parameter, value_provided=value or request.stage, validation_rule=rule
    )


# -- messages ----------------------------------------------------------------------------


class Announcer:
    """The messages that a customer's transitions trigger, by the settings' actions of each stage."""

    def __init__(
        self, portfolio: Portfolio, customer: Mapping[str, Any], zone: str, notify_team: bool
    ) -> None:
        self.portfolio, self.customer, self.zone = portfolio, customer, zone
        self.settings: Settings = portfolio.settings
        self.notify_team = notify_team

    def __call__(self, event: StageEvent, previous: str | None, first: bool) -> list[Message]:
        actions = self.settings.lifecycle.actions_on_entry(event.stage)
        return [
            self._message(action, event, previous)
            for action in actions
            if (first or not action.first_time) and (self.notify_team or action.to != "manager")
        ]

    def _message(self, action: Action, event: StageEvent, previous: str | None) -> Message:
        from healthseg.data.outbox import Message

        recipients = self._recipients(action)
        handler = self.settings.outbox.handler_of(action.action)
        if (
            handler is not None
            and self.settings.outbox.handlers[handler].kind == "smtp"
            and not recipients
        ):
            handler = None
        figures = {
            "name": str(self.customer.get("name") or event.client_id),
            "client_id": event.client_id,
            "stage": event.stage.replace("_", " "),
            "previous_stage": (previous or "none").replace("_", " "),
            "reason": event.reason or "",
        }
        payload = {
            "subject": rule_engine.words(action.subject, figures).strip(),
            "text": rule_engine.words(action.text, figures).strip(),
            "recipients": recipients,
            "name": figures["name"],
            "stage": event.stage,
            "previous_stage": previous,
            "effective_at": event.effective_at.isoformat(),
            "reason": event.reason,
            "automated": event.automated,
        }
        due = None if handler is None else self._due(action, event.effective_at, event.recorded_at)
        return Message(event.request_id, event.client_id, action.action, handler, payload, due)

    def _recipients(self, action: Action) -> list[str]:
        """The manager's addresses (by the settings, the table of managers, the tier), or the customer's."""
        outbox = self.settings.outbox
        if action.to == "customer":
            return list(outbox.customers.get(str(self.customer["client_id"]), ()))
        if action.to != "manager":
            return []
        manager = self.customer.get("csm_id") or ""
        contact = contacts(self.portfolio).get(manager)
        own = outbox.managers.get(manager, ()) or ((contact,) if contact else ())
        return list(own or (outbox.tiers.get(self._tier() or "", ()) if outbox.tiers else ()))

    def _tier(self) -> str | None:
        rows = panel(self.portfolio, [self.portfolio.data_until], [str(self.customer["client_id"])])
        return word(rows["tier"].iloc[0]) if len(rows) else None

    def _due(self, action: Action, effective_at: dt.datetime, now: dt.datetime) -> dt.datetime:
        """At once, or at the hour of the n-th business day after it on the customer's clock; never in the past."""
        if not action.business_days:
            return now
        day = (effective_at.astimezone(ZoneInfo(self.zone)).date() - EPOCH).days
        due = DayCount.business(self.portfolio).nth(day, action.business_days)
        hour = dt.datetime.combine(
            EPOCH + dt.timedelta(days=due), dt.time(self.settings.lifecycle.hour)
        )
        return max(now, hour.replace(tzinfo=ZoneInfo(self.zone)).astimezone(UTC))


def contacts(portfolio: Portfolio) -> Mapping[str, str]:
    """The managers' addresses, where the csms table has them."""

    def build() -> dict[str, str]:
        if not portfolio.has("csms"):
            return {}
        rows = portfolio.table("csms")[["csm_id", "contact"]].dropna()
        return dict(zip(rows["csm_id"], rows["contact"], strict=True))

    return portfolio.cache.get("contacts_of_managers", None, build, disk=False)


def record_move(portfolio: Portfolio, zone: str, request: RequestedMove, notify_team: bool) -> Move:
    """Makes a move in the portfolio's ledger, with the messages that it triggers."""
    customer = customer_as_of(portfolio, request.client_id, portfolio.data_until)
    imported = [change for change in history(portfolio).of(request.client_id) if not change.seq]
    announce = Announcer(portfolio, customer, zone, notify_team)
    signup = pd.Timestamp(customer["signup_date"]).date()
    rules_in_force = portfolio.settings.lifecycle
    return move(portfolio.ledger(), imported, zone, signup, rules_in_force, request, announce)


# -- moves that follow ---------------------------------------------------------------------

ACTOR = "rule"


@dataclass(frozen=True)
class PlannedMove:
    """A move whose criteria are met: customer, stages, and what holds."""

    client_id: str
    name: str
    source: str
    target: str
    since: dt.date
    reason: str
    automatic: bool
    lifecycle: str

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

    def request(self) -> RequestedMove:
        """The transition; for the same time in the stage it is the same request again."""
        prefix = "-".join(filter(None, ("advance", self.lifecycle, self.client_id)))
        return RequestedMove(
            self.client_id,
            self.target,
            TRANSITION,
            reason=self.reason[:LONGEST_REASON],
            automated=True,
            actor=ACTOR,
            expected=self.source,
            request_id=f"{prefix}-{self.since:%Y%m%d}-{self.source}-{self.target}"[:100],
        )


def current_spells(
    portfolio: Portfolio, as_of: dt.date | None, known_by: dt.datetime | None = None
) -> dict[str, StageSpell]:
    """Each customer's time in its stage at the end of ``as_of`` (None: by all that is recorded), by client_id."""
    known, zone = history(portfolio), zones(portfolio)
    limits = {
        name: None if as_of is None else end_of_day_utc(as_of, name) for name in set(zone.values())
    }
    by_client = {
        client: spells(in_force(changes, limits[zone[client]], known_by))
        for client, changes in known.by_client.items()
        if client in zone
    }
    return {client: rows[-1] for client, rows in sorted(by_client.items()) if rows}


def plan(
    portfolio: Portfolio, as_of: dt.date, only: Iterable[str] | None = None, present: bool = False
) -> list[PlannedMove]:
    """Of each live customer the first of its stage's edges whose criteria are met at ``as_of``.

    Its stage is that of ``as_of``; with ``present`` the one it is in by all that is recorded.
    """
    if only is not None:
        return _plan(portfolio, as_of, set(only), present)
    known = history(portfolio)
    return portfolio.cache.get(
        "planned_moves",
        (as_of, present, known.seq, known.head),
        lambda: _plan(portfolio, as_of, None, present),
        disk=False,
        limit=SPELLS_IN_MEMORY,
    )


def _plan(
    portfolio: Portfolio, as_of: dt.date, only: set[str] | None, present: bool
) -> list[PlannedMove]:
    edges: dict[str, list[Edge]] = {}
    for edge in portfolio.settings.lifecycle.edges:
        edges.setdefault(edge.source, []).append(edge)
    spells_now = current_spells(portfolio, None if present else as_of)
    if only is not None:
        spells_now = {client: spell for client, spell in spells_now.items() if client in only}
    names_needed = needed(portfolio.settings.lifecycle.edges)
    days = portfolio_days(
        portfolio,
        as_of,
        names_needed,
        {client: spell.start for client, spell in spells_now.items()},
    )
    names = _names(portfolio)
    steps = (
        _step(
            client,
            names[client],
            spells_now[client],
            edges.get(spells_now[client].stage, []),
            days[client],
            portfolio.settings.lifecycle.name,
        )
        for client in sorted(days)
    )
    return [step for step in steps if step is not None]


def _step(
    client: str,
    name: str,
    spell: StageSpell,
    edges: list[Edge],
    days: list[DayFigures],
    lifecycle: str,
) -> PlannedMove | None:
    for edge in edges:
        states = [criterion_state(each, days, trend=False) for each in edge.criteria]
        if all_met(states):
            reason = "; ".join(state.criterion.text for state in states)
            return PlannedMove(
                client,
                name,
                edge.source,
                edge.target,
                spell.start,
                reason,
                edge.automatic,
                lifecycle,
            )
    return None


def apply(
    portfolio: Portfolio, steps: Iterable[PlannedMove], notify_team: bool = True
) -> list[dict[str, Any]]:
    """Makes the automatic moves, each in its own transaction, and says what became of each.

    The outcome is moved, unchanged (made before), or refused with the reason, where the customer was moved meanwhile.
    """
    return [_applied(portfolio, step, notify_team) for step in steps if step.automatic]


def _applied(portfolio: Portfolio, step: PlannedMove, notify_team: bool) -> dict[str, Any]:
    try:
        move = record_move(portfolio, zones(portfolio)[step.client_id], step.request(), notify_team)
    except InvalidParameters as problem:
        return {**step.to_dict(), "outcome": "refused", "reason": problem.message}
    return {**step.to_dict(), "outcome": "moved" if move.changed else "unchanged"}


def _names(portfolio: Portfolio) -> Mapping[str, str]:
    known = customers(portfolio)
    return {
        client: client if pd.isna(name) else str(name)
        for client, name in (known["name"] if "name" in known else known["client_id"]).items()
    }
