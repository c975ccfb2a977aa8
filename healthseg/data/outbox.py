"""The outbox: messages that a customer's move triggers, recorded with it in one transaction and delivered afterwards.

Messages and attempts are rows that are only added; a message's status follows from its attempts. A message is
delivered at least once, always with the same key, by which a receiver recognises a repetition. A run sends what is due
to a file of JSON lines, a webhook or a mail server; its handler delivers within its time or raises Undelivered.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import http.client
import json
import os
import smtplib
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Row, Select, select

from healthseg.data.ledger.ledger import Ledger
from healthseg.data.ledger.records import stored_instant, stored_json
from healthseg.data.ledger.schema import OUTBOX, OUTBOX_ATTEMPTS
from healthseg.errors import HealthsegError
from healthseg.settings import fingerprint
from healthseg.settings.lifecycle import Handler, Outbox, revealed

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


# -- delivery --------------------------------------------------------------------------------------


# more than the messages that one run has in hand
_LAST_BYTES = 1 << 20
Deliver = Callable[[Message], None]
_LONGEST_REASON = 300
_CLAIMED_AT_ONCE = 20
# a lease outlasts what its messages may take by so much
_SPARE_SECONDS = 30.0
_UNREACHABLE = (
    TimeoutError,
    ConnectionError,
    socket.gaierror,
    smtplib.SMTPServerDisconnected,
    smtplib.SMTPConnectError,
)


class Undelivered(Exception):
    """Why a message did not arrive; ``unreachable`` where the receiver did not answer at all."""

    def __init__(self, reason: str, unreachable: bool = False) -> None:
        super().__init__(reason[:_LONGEST_REASON])
        self.unreachable = unreachable


def run(ledger: Ledger, settings: Outbox, folder: Path) -> dict[str, Any]:
    """Delivers what is due: counts by outcome, and the reasons of what was not delivered.

    A handler that does not answer at all is left alone for the rest of the run, so that a run ends. Two runs at once
    share the work: a message belongs to one of them until its lease ends.
    """
    handlers = {name: deliverer(handler, folder) for name, handler in settings.handlers.items()}
    slowest = max((handler.timeout_seconds for handler in settings.handlers.values()), default=0)
    lease = _SPARE_SECONDS + _CLAIMED_AT_ONCE * slowest
    counts: Counter[str] = Counter()
    problems: list[dict[str, Any]] = []
    silent: set[str] = set()
    while claimed := claim(ledger, _CLAIMED_AT_ONCE, lease, silent):
        for each in claimed:
            if each.message.handler in silent:
                release(ledger, each)
                continue
            reason = _try(each.message, handlers, silent)
            wait = wait_seconds(settings, each.attempts)
            status = settle(ledger, each, reason, settings.max_attempts, wait)
            counts[status] += 1
            if reason is not None:
                problems.append(_problem(each, status, reason))
    remaining = Counter(each.status for each in everything(ledger))
    return {
        "delivered": counts[COMPLETED],
        "to_be_retried": counts[SCHEDULED],
        "given_up": counts[FAILED],
        "problems": problems,
        "outbox": dict(sorted(remaining.items())),
    }


def _problem(each: OutboxMessage, status: str, reason: str) -> dict[str, Any]:
    return {
        "key": each.key,
        "client_id": each.message.client_id,
        "action": each.message.action,
        "handler": each.message.handler,
        "attempt": each.attempts + 1,
        "status": status,
        "reason": reason,
    }


def wait_seconds(settings: Outbox, failures_before: int) -> float:
    """How long to wait after a failure: doubled each time, up to the most.

    >>> [wait_seconds(Outbox(), n) for n in (0, 1, 2, 20)]
    [60.0, 120.0, 240.0, 21600.0]
    """
    doubled = settings.retry_seconds * 2.0 ** min(failures_before, 60)
    return min(doubled, settings.retry_most_seconds)


def _try(message: Message, handlers: Mapping[str, Deliver], silent: set[str]) -> str | None:
    """Why a message could not be delivered, None where it was."""
    name = message.handler
    if name is None or name not in handlers:
        return f"the handler {name!r} is no longer in the settings"
    try:
        handlers[name](message)
    except Undelivered as problem:
        if problem.unreachable:
            silent.add(name)
        return str(problem)
    return None


def deliverer(handler: Handler, folder: Path) -> Deliver:
    """What delivers a message by this handler; ``folder`` is where relative paths begin."""
    kinds = {"file": _to_file, "webhook": _to_webhook, "smtp": _to_mail}

    def deliver(message: Message) -> None:
        try:
            kinds[handler.kind](handler, message, folder)
        except HealthsegError as problem:
            raise Undelivered(problem.message) from None
        except _UNREACHABLE as problem:
            raise Undelivered(
                f"no response within {handler.timeout_seconds:g} s: {_reason(problem)}", True
            ) from None
        except (OSError, http.client.HTTPException, smtplib.SMTPException, ValueError) as problem:
            raise Undelivered(_reason(problem)) from None

    return deliver


def _reason(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__


def _body(message: Message) -> dict[str, object]:
    return {
        "idempotency_key": message.key,
        "action": message.action,
        "client_id": message.client_id,
        **message.payload,
    }


def _slack(message: Message) -> dict[str, object]:
    """The body that Slack's incoming webhooks read; marks of its own are escaped."""
    subject, text = (_escaped(str(message.payload[part])) for part in ("subject", "text"))
    return {"text": f"*{subject}*\n{text}"}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _teams(message: Message) -> dict[str, object]:
    """The body that the webhooks of Microsoft Teams read: an adaptive card, in which no name makes a link."""
    subject, text = (
        str(message.payload[part]).replace("](", "] (") for part in ("subject", "text")
    )
    blocks = [
        {"type": "TextBlock", "text": subject, "weight": "bolder", "wrap": True},
        {"type": "TextBlock", "text": text, "wrap": True},
    ]
    kind = "application/vnd.microsoft.card.adaptive"
    content = {"type": "AdaptiveCard", "version": "1.4", "body": blocks}
    return {"type": "message", "attachments": [{"contentType": kind, "content": content}]}


_BODIES: dict[str, Callable[[Message], dict[str, object]]] = {
    "json": _body,
    "slack": _slack,
    "teams": _teams,
}


def _to_file(handler: Handler, message: Message, folder: Path) -> None:
    """Appends one line of JSON, written at once; a line that a crash cut short is ended first.

    A run that was killed may have written the line without recording that: it is then among the last, and stays one.
    """
    path = folder / str(handler.path)
    if not Path(str(handler.path)).is_absolute() and not path.resolve().is_relative_to(
        folder.resolve()
    ):  # a portfolio of others can have a link of this name
        raise Undelivered(f"{path} leads outside of the portfolio")
    line = json.dumps(_body(message), ensure_ascii=False, sort_keys=True) + "\n"
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        last = os.pread(descriptor, _LAST_BYTES, max(0, size - _LAST_BYTES))
        if line.encode() in last:
            return
        cut = size > 0 and not last.endswith(b"\n")
        data = (("\n" if cut else "") + line).encode()
        if os.write(descriptor, data) != len(data):
            raise Undelivered(f"{path} could not be written whole: the disk is full")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _to_webhook(handler: Handler, message: Message, folder: Path) -> None:
    """A POST of JSON with the key in its header; any answer from 200 to 299 means that it arrived."""
    assert handler.url is not None
    url = urlsplit(revealed(handler.url, "settings.outbox.handlers.url"))
    if url.scheme not in ("http", "https") or not url.hostname:
        raise Undelivered("the webhook's url is not one of http or https")
    connect = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": message.key,
        "Connection": "close",
    }
    if handler.token is not None:
        headers["Authorization"] = (
            f"Bearer {revealed(handler.token, 'settings.outbox.handlers.token')}"
        )
    body = _BODIES[handler.body](message)
    connection = connect(url.hostname, url.port, timeout=handler.timeout_seconds)
    with _in_time(connection, handler.timeout_seconds):
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        connection.request("POST", target, json.dumps(body, ensure_ascii=False).encode(), headers)
        response = connection.getresponse()
    if not 200 <= response.status < 300:
        raise Undelivered(f"the webhook responded {response.status} {response.reason}")


@contextmanager
def _in_time(connection: http.client.HTTPConnection, seconds: float) -> Iterator[None]:
    """Ends a connection that takes longer in total, even if each byte arrives in time."""
    late = threading.Event()

    def end() -> None:
        late.set()
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    try:
        connection.connect()
        timer.start()
        yield
    except (OSError, http.client.HTTPException):
        if late.is_set():
            raise TimeoutError("it took too long to respond") from None
        raise
    finally:
        timer.cancel()
        connection.close()


def _to_mail(handler: Handler, message: Message, folder: Path) -> None:
    """A mail to the message's recipients, whose Message-ID is made of the key."""
    mail = EmailMessage()
    mail["From"], mail["To"] = handler.sender, ", ".join(message.payload["recipients"])
    mail["Subject"] = " ".join(str(message.payload["subject"]).split())
    mail["Date"] = email.utils.localtime()
    mail["Message-ID"] = f"<{message.key}@healthseg>"
    mail["X-Idempotency-Key"] = message.key
    mail.set_content(str(message.payload["text"]))
    with smtplib.SMTP(str(handler.host), handler.port, timeout=handler.timeout_seconds) as server:
        if handler.starttls:
            server.starttls(context=ssl.create_default_context())
        if handler.username is not None and handler.password is not None:
            server.login(
                handler.username, revealed(handler.password, "settings.outbox.handlers.password")
            )
        refused = server.send_message(mail)
    if refused:
        raise Undelivered(f"the mail server refuses {', '.join(sorted(refused))}")
