"""The outbox: messages that a move of a customer sets off, kept with it in one transaction and delivered afterwards.

Messages and attempts are rows that are only added; a message's state is what its attempts say. A message is
delivered at least once, always under the same key: whoever receives it can tell a repetition.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, select

from healthseg.data.ledger.ledger import Ledger
from healthseg.data.ledger.record import stored_instant, stored_json
from healthseg.data.ledger.schema import OUTBOX, OUTBOX_ATTEMPTS
from healthseg.settings import fingerprint

SCHEDULED, COMPLETED, FAILED, NOT_CONFIGURED = "scheduled", "completed", "failed", "not_configured"
_BEGUN, _DELIVERED, _RETRY, _GAVE_UP = "begun", "delivered", "retry", "gave_up"
_STATUS = {_BEGUN: SCHEDULED, _RETRY: SCHEDULED, _DELIVERED: COMPLETED, _GAVE_UP: FAILED}


@dataclass(frozen=True)
class Message:
    """What is to be told, of which move, through which handler (None: there is none), and when it is due."""

    request_id: str
    client_id: str
    action: str
    handler: str | None
    payload: Mapping[str, Any]
    due_at: dt.datetime | None

    @property
    def key(self) -> str:
        """The same for the same action of the same move, however often it is delivered."""
        return fingerprint([self.request_id, self.action]) + fingerprint(
            [self.client_id, self.action, self.request_id]
        )


@dataclass(frozen=True)
class Kept:
    """A message of the outbox and how far it came; ``until`` is when it may be tried (again)."""

    message: Message
    status: str
    attempts: int = 0
    reason: str | None = None
    until: dt.datetime | None = None
    recorded_at: dt.datetime | None = None
    key: str = ""
    place: int = 0  # in the order in which messages were kept


def put(ledger: Ledger, messages: Iterable[Message]) -> None:
    """Keeps messages, within the caller's transaction where there is one; those that are there already stay alone."""
    messages = list(messages)
    with ledger.writing() as connection:
        there = select(OUTBOX.c.key).where(OUTBOX.c.key.in_([message.key for message in messages]))
        known = set(connection.execute(there).scalars())
        ledger.append(
            connection,
            OUTBOX,
            [
                {
                    "key": one.key,
                    "request_id": one.request_id,
                    "client_id": one.client_id,
                    "action": one.action,
                    "handler": one.handler,
                    "payload": stored_json(one.payload),
                    "due_at": None if one.due_at is None else stored_instant(one.due_at, "due_at"),
                }
                for one in messages
                if one.key not in known
            ],
        )


def of_request(ledger: Ledger, request_id: str) -> list[Kept]:
    """The messages of one move, as they stand."""
    return _kept(ledger, select(OUTBOX).where(OUTBOX.c.request_id == request_id))


def everything(ledger: Ledger) -> list[Kept]:
    """All messages, as they stand, in the order in which they were kept."""
    return _kept(ledger, select(OUTBOX))


def claim(
    ledger: Ledger, limit: int, lease_seconds: float, skipped: Iterable[str] = ()
) -> list[Kept]:
    """Takes up to ``limit`` messages that are due, so that no other process delivers them while the lease lasts.

    A process that dies with a message leaves it to others when its lease ends. ``skipped`` are handlers left alone.
    """
    with ledger.transaction() as now, ledger.writing() as connection:
        due = _kept(ledger, _open_ones(now, set(skipped)), limit)
        until = stored_instant(now + dt.timedelta(seconds=lease_seconds), "until")
        ledger.append(
            connection,
            OUTBOX_ATTEMPTS,
            [
                {
                    "key": one.key,
                    "attempt": one.attempts + 1,
                    "outcome": _BEGUN,
                    "reason": None,
                    "until": until,
                }
                for one in due
            ],
        )
    return due


def settle(ledger: Ledger, kept: Kept, problem: str | None, most: int, wait_seconds: float) -> str:
    """Notes how an attempt ended: delivered, to be tried again, or given up with its reason; the message's status."""
    attempt = kept.attempts + 1
    outcome = _DELIVERED if problem is None else _GAVE_UP if attempt >= most else _RETRY
    with ledger.transaction() as now, ledger.writing() as connection:
        until = (
            stored_instant(now + dt.timedelta(seconds=wait_seconds), "until")
            if outcome == _RETRY
            else None
        )
        ledger.append(
            connection,
            OUTBOX_ATTEMPTS,
            [
                {
                    "key": kept.key,
                    "attempt": attempt,
                    "outcome": outcome,
                    "reason": problem,
                    "until": until,
                }
            ],
        )
    return _STATUS[outcome]


def release(ledger: Ledger, kept: Kept) -> None:
    """Gives a claimed message back untried."""
    with ledger.transaction() as now, ledger.writing() as connection:
        ledger.append(
            connection,
            OUTBOX_ATTEMPTS,
            [
                {
                    "key": kept.key,
                    "attempt": kept.attempts,
                    "outcome": _RETRY,
                    "reason": None,
                    "until": stored_instant(now, "until"),
                }
            ],
        )


def _last_attempts() -> Select:
    """The newest row of each message's attempts."""
    newer = OUTBOX_ATTEMPTS.alias("newer")
    later = select(newer.c.seq).where(
        newer.c.key == OUTBOX_ATTEMPTS.c.key, newer.c.seq > OUTBOX_ATTEMPTS.c.seq
    )
    return select(OUTBOX_ATTEMPTS).where(~later.exists())


def _open_ones(now: dt.datetime, skipped: set[str]) -> Select:
    """Messages that are due, were neither delivered nor given up, and that nobody has in hand."""
    last, at = _last_attempts().subquery("last"), stored_instant(now, "clock")
    query = (
        select(OUTBOX)
        .outerjoin(last, last.c.key == OUTBOX.c.key)
        .where(
            OUTBOX.c.handler.is_not(None),
            OUTBOX.c.due_at <= at,
            last.c.outcome.is_(None)
            | (last.c.outcome.in_([_BEGUN, _RETRY]) & (last.c.until <= at)),
        )
    )
    return query.where(OUTBOX.c.handler.not_in(skipped)) if skipped else query


def _kept(ledger: Ledger, query: Select, limit: int | None = None) -> list[Kept]:
    with ledger.reading() as connection:
        if connection is None:
            return []
        rows = list(connection.execute(query.order_by(OUTBOX.c.due_at, OUTBOX.c.seq).limit(limit)))
        keys = [row.key for row in rows]
        attempts: dict[str, list[Row]] = {}
        for start in range(0, len(keys), 500):
            chosen = select(OUTBOX_ATTEMPTS).where(
                OUTBOX_ATTEMPTS.c.key.in_(keys[start : start + 500])
            )
            for row in connection.execute(chosen.order_by(OUTBOX_ATTEMPTS.c.seq)):
                attempts.setdefault(row.key, []).append(row)
    return [_standing(row, attempts.get(row.key, [])) for row in rows]


def _standing(row: Row, attempts: list[Row]) -> Kept:
    message = Message(
        row.request_id,
        row.client_id,
        row.action,
        row.handler,
        json.loads(row.payload),
        _at(row.due_at),
    )
    status, reason, until = (SCHEDULED if row.handler else NOT_CONFIGURED), None, message.due_at
    if attempts:
        last = attempts[-1]
        status, until = _STATUS[last.outcome], _at(last.until)
        reason = (
            next((one.reason for one in reversed(attempts) if one.reason), None)
            if status != COMPLETED
            else None
        )
    tried = attempts[-1].attempt if attempts else 0
    return Kept(message, status, tried, reason, until, _at(row.recorded_at), row.key, row.seq)


def _at(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text)
