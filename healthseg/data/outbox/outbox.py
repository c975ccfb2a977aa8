"""The outbox: messages that a customer's move triggers, recorded with it in one transaction and delivered afterwards.

Messages and attempts are rows that are only added; a message's status follows from its attempts. A message is
delivered at least once, always with the same key, by which a receiver recognises a repetition.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, select

from healthseg.data.ledger.ledger import Ledger
from healthseg.data.ledger.records import stored_instant, stored_json
from healthseg.data.ledger.schema import OUTBOX, OUTBOX_ATTEMPTS
from healthseg.settings import fingerprint

SCHEDULED, COMPLETED, FAILED, NOT_CONFIGURED = "scheduled", "completed", "failed", "not_configured"
_BEGUN, _DELIVERED, _RETRY, _GAVE_UP = "begun", "delivered", "retry", "gave_up"
# a statement takes so many values
_KEYS_AT_ONCE = 500
_STATUS = {_BEGUN: SCHEDULED, _RETRY: SCHEDULED, _DELIVERED: COMPLETED, _GAVE_UP: FAILED}


@dataclass(frozen=True)
class Message:
    """An action of a move: through which handler it is sent (None: none is configured), and when it is due."""

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
class OutboxMessage:
    """A recorded message and its status; ``until`` is when it may be tried (again), ``position`` its place in order."""

    message: Message
    status: str
    attempts: int = 0
    reason: str | None = None
    until: dt.datetime | None = None
    recorded_at: dt.datetime | None = None
    key: str = ""
    position: int = 0


def put(ledger: Ledger, messages: Iterable[Message]) -> None:
    """Records messages, within the caller's transaction if there is one; those already recorded stay as they are."""
    by_key = {message.key: message for message in messages}
    with ledger.writing() as connection:
        recorded = connection.execute(select(OUTBOX.c.key).where(OUTBOX.c.key.in_(by_key)))
        for key in recorded.scalars():
            del by_key[key]
        ledger.append(connection, OUTBOX, [_row(message) for message in by_key.values()])


def _row(message: Message) -> dict[str, Any]:
    due = message.due_at
    return {
        "key": message.key,
        "request_id": message.request_id,
        "client_id": message.client_id,
        "action": message.action,
        "handler": message.handler,
        "payload": stored_json(message.payload),
        "due_at": None if due is None else stored_instant(due, "due_at"),
    }


def of_request(ledger: Ledger, request_id: str) -> list[OutboxMessage]:
    """The messages of one move, with their status."""
    return _messages(ledger, select(OUTBOX).where(OUTBOX.c.request_id == request_id))


def everything(ledger: Ledger) -> list[OutboxMessage]:
    """All messages with their status, by due time and in the order in which they were recorded."""
    return _messages(ledger, select(OUTBOX))


def claim(
    ledger: Ledger, limit: int, lease_seconds: float, skipped: Iterable[str] = ()
) -> list[OutboxMessage]:
    """Claims up to ``limit`` messages that are due: no other process delivers them while the lease lasts.

    When a process dies with a message, others get it after the lease. Handlers in ``skipped`` are left alone.
    """
    with ledger.transaction() as now:
        due = _messages(ledger, _deliverable(now, set(skipped)), limit)
        until = now + dt.timedelta(seconds=lease_seconds)
        rows = [_attempt(message, message.attempts + 1, _BEGUN, until=until) for message in due]
        _add_attempts(ledger, rows)
    return due


def settle(
    ledger: Ledger, message: OutboxMessage, problem: str | None, most: int, wait_seconds: float
) -> str:
    """Records how an attempt ended: delivered, to be retried, or given up with its reason; returns the status."""
    attempt = message.attempts + 1
    outcome = _DELIVERED if problem is None else _GAVE_UP if attempt >= most else _RETRY
    with ledger.transaction() as now:
        until = now + dt.timedelta(seconds=wait_seconds) if outcome == _RETRY else None
        _add_attempts(ledger, [_attempt(message, attempt, outcome, problem, until)])
    return _STATUS[outcome]


def release(ledger: Ledger, message: OutboxMessage) -> None:
    """Returns a claimed message that was not tried."""
    with ledger.transaction() as now:
        _add_attempts(ledger, [_attempt(message, message.attempts, _RETRY, until=now)])


def _attempt(
    message: OutboxMessage,
    number: int,
    outcome: str,
    reason: str | None = None,
    until: dt.datetime | None = None,
) -> dict[str, Any]:
    return {
        "key": message.key,
        "attempt": number,
        "outcome": outcome,
        "reason": reason,
        "until": None if until is None else stored_instant(until, "until"),
    }


def _add_attempts(ledger: Ledger, rows: list[dict[str, Any]]) -> None:
    with ledger.writing() as connection:
        ledger.append(connection, OUTBOX_ATTEMPTS, rows)


def _deliverable(now: dt.datetime, skipped: set[str]) -> Select:
    """Messages that are due, neither delivered nor given up, and claimed by nobody."""
    newer = OUTBOX_ATTEMPTS.alias("newer")
    is_newer = newer.c.key == OUTBOX_ATTEMPTS.c.key, newer.c.seq > OUTBOX_ATTEMPTS.c.seq
    newest = select(OUTBOX_ATTEMPTS).where(~select(newer.c.seq).where(*is_newer).exists())
    last, now_text = newest.subquery("last"), stored_instant(now, "clock")
    open_again = last.c.outcome.in_([_BEGUN, _RETRY]) & (last.c.until <= now_text)
    query = select(OUTBOX).outerjoin(last, last.c.key == OUTBOX.c.key)
    query = query.where(OUTBOX.c.handler.is_not(None), OUTBOX.c.due_at <= now_text)
    query = query.where(last.c.outcome.is_(None) | open_again)
    return query.where(OUTBOX.c.handler.not_in(skipped)) if skipped else query


def _messages(ledger: Ledger, query: Select, limit: int | None = None) -> list[OutboxMessage]:
    with ledger.reading() as connection:
        if connection is None:
            return []
        rows = list(connection.execute(query.order_by(OUTBOX.c.due_at, OUTBOX.c.seq).limit(limit)))
        keys = [row.key for row in rows]
        attempts: dict[str, list[Row]] = {}
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            chosen = OUTBOX_ATTEMPTS.c.key.in_(keys[start : start + _KEYS_AT_ONCE])
            query = select(OUTBOX_ATTEMPTS).where(chosen).order_by(OUTBOX_ATTEMPTS.c.seq)
            for row in connection.execute(query):
                attempts.setdefault(row.key, []).append(row)
    return [_message(row, attempts.get(row.key, [])) for row in rows]


def _message(row: Row, attempts: list[Row]) -> OutboxMessage:
    due, payload = _instant(row.due_at), json.loads(row.payload)
    message = Message(row.request_id, row.client_id, row.action, row.handler, payload, due)
    status, reason, until, number = SCHEDULED if row.handler else NOT_CONFIGURED, None, due, 0
    if attempts:
        last = attempts[-1]
        status, until, number = _STATUS[last.outcome], _instant(last.until), last.attempt
        if status != COMPLETED:
            reason = next((each.reason for each in reversed(attempts) if each.reason), None)
    recorded = _instant(row.recorded_at)
    return OutboxMessage(message, status, number, reason, until, recorded, row.key, row.seq)


def _instant(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text)
