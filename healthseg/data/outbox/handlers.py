"""Where messages of the outbox go: a file of JSON lines, a webhook, a mail server.

A handler delivers one message within its time or raises Undelivered with the reason. Its key travels with it, so that
whoever receives it twice can tell.
"""

from __future__ import annotations

import http.client
import json
import os
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import urlsplit

from healthseg.data.outbox.outbox import Message
from healthseg.errors import HealthsegError
from healthseg.settings.lifecycle import Handler, revealed

Deliver = Callable[[Message], None]
_LONGEST_REASON = 300
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
                f"no answer within {handler.timeout_seconds:g} s: {_said(problem)}", True
            ) from None
        except (OSError, http.client.HTTPException, smtplib.SMTPException, ValueError) as problem:
            raise Undelivered(_said(problem)) from None

    return deliver


def _said(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__


def _body(message: Message) -> dict[str, object]:
    return {
        "idempotency_key": message.key,
        "action": message.action,
        "client_id": message.client_id,
        **message.payload,
    }


def _to_file(handler: Handler, message: Message, folder: Path) -> None:
    """One line of JSON behind the others, written at once; a line that a crash cut short is ended first."""
    path = folder / handler.path
    line = json.dumps(_body(message), ensure_ascii=False, sort_keys=True) + "\n"
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        data = (("\n" if cut else "") + line).encode()
        if os.write(descriptor, data) != len(data):
            raise Undelivered(f"{path} could not be written whole: the disk is full")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _to_webhook(handler: Handler, message: Message, folder: Path) -> None:
    """A POST of JSON with the key in its header; any answer from 200 to 299 means that it arrived."""
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
    connection = connect(url.hostname, url.port, timeout=handler.timeout_seconds)
    with _in_time(connection, handler.timeout_seconds):
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        connection.request(
            "POST", target, json.dumps(_body(message), ensure_ascii=False).encode(), headers
        )
        answer = connection.getresponse()
    if not 200 <= answer.status < 300:
        raise Undelivered(f"the webhook answered {answer.status} {answer.reason}")


@contextmanager
def _in_time(connection: http.client.HTTPConnection, seconds: float) -> Iterator[None]:
    """Ends a connection that takes longer in all, also where each single byte comes in time."""
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
            raise TimeoutError("it took too long to answer") from None
        raise
    finally:
        timer.cancel()
        connection.close()


def _to_mail(handler: Handler, message: Message, folder: Path) -> None:
    """A mail to the message's recipients, whose Message-ID is made of the key."""
    mail = EmailMessage()
    mail["From"], mail["To"] = handler.sender, ", ".join(message.payload["recipients"])
    mail["Subject"] = " ".join(str(message.payload["subject"]).split())
    mail["Message-ID"] = f"<{message.key}@healthseg>"
    mail["X-Idempotency-Key"] = message.key
    mail.set_content(str(message.payload["text"]))
    with smtplib.SMTP(handler.host, handler.port, timeout=handler.timeout_seconds) as server:
        if handler.starttls:
            server.starttls(context=ssl.create_default_context())
        if handler.username is not None and handler.password is not None:
            server.login(
                handler.username, revealed(handler.password, "settings.outbox.handlers.password")
            )
        refused = server.send_message(mail)
    if refused:
        raise Undelivered(f"the mail server refuses {', '.join(sorted(refused))}")
