"""Delivery of the outbox: a run sends what is due to a file of JSON lines, a webhook or a mail server.

A handler delivers a message within its time or raises Undelivered with the reason. The message's key travels with it, so
that a receiver recognises a repetition.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import os
import smtplib
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from healthseg.data.ledger.ledger import Ledger
from healthseg.data.outbox import outbox
from healthseg.data.outbox.outbox import Message
from healthseg.errors import HealthsegError
from healthseg.settings.lifecycle import Handler, Outbox, revealed

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
    while claimed := outbox.claim(ledger, _CLAIMED_AT_ONCE, lease, silent):
        for each in claimed:
            if each.message.handler in silent:
                outbox.release(ledger, each)
                continue
            reason = _try(each.message, handlers, silent)
            wait = wait_seconds(settings, each.attempts)
            status = outbox.settle(ledger, each, reason, settings.max_attempts, wait)
            counts[status] += 1
            if reason is not None:
                problems.append(_problem(each, status, reason))
    remaining = Counter(each.status for each in outbox.everything(ledger))
    return {
        "delivered": counts[outbox.COMPLETED],
        "to_be_retried": counts[outbox.SCHEDULED],
        "given_up": counts[outbox.FAILED],
        "problems": problems,
        "outbox": dict(sorted(remaining.items())),
    }


def _problem(each: outbox.OutboxMessage, status: str, reason: str) -> dict[str, Any]:
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
