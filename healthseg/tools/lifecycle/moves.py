"""The one place where a customer's stage is changed: read, checked and recorded in one transaction of the ledger."""

from __future__ import annotations

import datetime as dt
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from healthseg.errors import InvalidParameters
from healthseg.metrics.stages import Change, in_force, of_event
from healthseg.periods import local_day
from healthseg.settings import fingerprint
from healthseg.settings.lifecycle import Lifecycle

if TYPE_CHECKING:
    from healthseg.data.ledger.ledger import Ledger, StageEvent
    from healthseg.data.outbox.outbox import Message

TRANSITION, CORRECTION = "transition", "correction"
LONGEST_REASON = 2_000
_TICK = dt.timedelta(microseconds=1)


@dataclass(frozen=True)
class Wish:
    """What is asked for: ``effective_at`` None means now; ``expected`` the stage that it was planned from."""

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
    """What came of it: the event that stands, whether it is new, and the stage that the customer came from."""

    event: StageEvent | None
    changed: bool
    previous: str | None


Announce = Callable[["StageEvent", "str | None", bool], "Iterable[Message]"]


def move(
    ledger: Ledger,
    imported: Iterable[Change],
    zone: str,
    signup: dt.date,
    rules: Lifecycle,
    wish: Wish,
    announce: Announce,
) -> Move:
    """Records a change of stage with its messages, or finds that it is there already.

    ``imported`` are the customer's changes from the tables, ``announce(event, previous, first)`` what a transition
    sets off (a correction sets off nothing). Raises InvalidParameters where the move is not allowed, lies before the
    customer signed up or in the future, or where the request id was used for something else: nothing is recorded then.
    """
    from healthseg.data.outbox.outbox import put  # who only reads stages does not load it

    with ledger.transaction() as now:
        known = _repeated(ledger, wish)
        if known is not None:
            return Move(known, False, _stage_before(ledger, imported, zone, known))
        changes = [
            *imported,
            *(of_event(event, zone) for event in ledger.stage_events(wish.client_id)),
        ]
        at = _effective(wish, in_force(changes), now, signup, zone)
        before, after = _around(changes, at)
        current = before[-1].stage if before else None
        if wish.expected is not None and current != wish.expected:
            raise _refused(
                wish,
                f"{wish.client_id} is {current} by now, not {wish.expected}: plan anew",
                "new_stage",
            )
        if current == wish.stage:
            return Move(None, False, before[-2].stage if len(before) > 1 else None)
        if wish.kind == TRANSITION:
            _check(wish, rules, current, at, before, after)
        event = ledger.record_stage_event(
            wish.request_id or _own_id(wish, at, changes),
            wish.client_id,
            wish.stage,
            at,
            actor=wish.actor,
            reason=wish.reason,
            automated=wish.automated,
            kind=wish.kind,
        )
        if wish.kind == TRANSITION:
            first = not any(change.stage == wish.stage for change in changes)
            put(ledger, announce(event, current, first))
        return Move(event, True, current)


def _repeated(ledger: Ledger, wish: Wish) -> StageEvent | None:
    """What this request id recorded before; refused where that was something else."""
    event = ledger.stage_event_of(wish.request_id) if wish.request_id else None
    if event is None:
        return None
    same = (event.client_id, event.stage, event.kind) == (wish.client_id, wish.stage, wish.kind)
    if not same or (wish.effective_at is not None and wish.effective_at != event.effective_at):
        raise _refused(
            wish,
            f"request_id {wish.request_id!r} was used before, for {event.client_id} to {event.stage} "
            f"at {event.effective_at.isoformat()}: give each change an id of its own",
            "request_id",
            wish.request_id,
            "one id per change",
        )
    return event


def _stage_before(
    ledger: Ledger, imported: Iterable[Change], zone: str, event: StageEvent
) -> str | None:
    changes = [*imported, *(of_event(one, zone) for one in ledger.stage_events(event.client_id))]
    earlier = in_force(changes, effective_by=event.effective_at)
    return earlier[-1].stage if earlier else None


def _effective(
    wish: Wish, standing: list[Change], now: dt.datetime, signup: dt.date, zone: str
) -> dt.datetime:
    """When it takes effect: now, behind all that is recorded, or when it was asked for, between signup and now."""
    at = wish.effective_at
    if at is None:
        last = standing[-1].effective_at if standing else now
        at = now if last < now or not standing else last + _TICK
    elif at > now:
        raise _refused(
            wish,
            f"effective_at {at.isoformat()} is in the future: it is {now.isoformat()}",
            "effective_at",
            at.isoformat(),
            "not after the present",
        )
    if local_day(at, zone) < signup:
        raise _refused(
            wish,
            f"effective_at {at.isoformat()} lies before {wish.client_id} signed up, on {signup}",
            "effective_at",
            at.isoformat(),
            f"{signup} or later",
        )
    return at


def _around(changes: list[Change], at: dt.datetime) -> tuple[list[Change], Change | None]:
    """The changes in force up to an instant, and the first one after it."""
    standing = in_force(changes)
    later = [one for one in standing if one.effective_at > at]
    return in_force(changes, effective_by=at + _TICK), (later[0] if later else None)


def _check(
    wish: Wish,
    rules: Lifecycle,
    current: str | None,
    at: dt.datetime,
    before: list[Change],
    after: Change | None,
) -> None:
    """A transition starts a new stay: allowed from the stage before it, and to the one after it."""
    if not rules.allows(current, wish.stage):
        raise _refused(
            wish,
            f"{wish.client_id} is {current}: from there it can go to "
            f"{', '.join(rules.targets(current))}, not to {wish.stage}; update_stage corrects a record",
            "new_stage",
            wish.stage,
            "one of " + ", ".join(rules.targets(current)),
        )
    if before and before[-1].effective_at == at:
        raise _refused(
            wish,
            f"{wish.client_id} became {current} at that very instant: update_stage corrects a record",
            "effective_at",
            at.isoformat(),
        )
    if (
        after is not None
        and after.stage != wish.stage
        and not rules.allows(wish.stage, after.stage)
    ):
        raise _refused(
            wish,
            f"{wish.client_id} became {after.stage} on {after.day}, which cannot follow {wish.stage}: "
            "correct that first, with update_stage",
            "effective_at",
            at.isoformat(),
        )


def _own_id(wish: Wish, at: dt.datetime, changes: list[Change]) -> str:
    """An id of the change itself, for who gave none."""
    last = max((one.seq for one in changes), default=0)
    return fingerprint([wish.client_id, wish.stage, at.isoformat(), wish.kind, last])


def _refused(
    wish: Wish, message: str, parameter: str, value: Any = None, rule: str | None = None
) -> InvalidParameters:
    return InvalidParameters(
        message, parameter=parameter, value_provided=value or wish.stage, validation_rule=rule
    )


def checked_reason(reason: str | None) -> str | None:
    """A reason that can be kept: at most 2,000 characters, all of which can be shown.

    >>> checked_reason("went live")
    'went live'
    """
    if reason is None:
        return None
    rule = f"at most {LONGEST_REASON:,} characters, no control characters"
    if len(reason) > LONGEST_REASON:
        raise InvalidParameters(
            f"transition_reason has {len(reason):,} characters; it may have {LONGEST_REASON:,}",
            parameter="transition_reason",
            value_provided=reason[:80],
            validation_rule=rule,
        )
    odd = next(
        (
            letter
            for letter in reason
            if unicodedata.category(letter) in ("Cc", "Cs")
            or letter in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
        ),
        None,
    )
    if odd is not None:
        raise InvalidParameters(
            f"transition_reason holds the control character U+{ord(odd):04X}: leave it out",
            parameter="transition_reason",
            value_provided=repr(reason[:80]),
            validation_rule=rule,
        )
    return reason
