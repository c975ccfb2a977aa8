"""Messages between processes over a Unix socket: a length, then JSON or text."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("!Q")


def send(channel: socket.socket, message: Any) -> None:
    """A JSON value as one message."""
    body = json.dumps(message).encode()
    channel.sendall(_LENGTH.pack(len(body)) + body)


def receive(channel: socket.socket) -> Any:
    """The next message; raises EOFError where the other side has gone."""
    (length,) = _LENGTH.unpack(_exactly(channel, _LENGTH.size))
    return json.loads(_exactly(channel, length))


def _exactly(channel: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = channel.recv(min(count, 1 << 20))
        if not part:
            raise EOFError("the other side has gone")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def listener(path: str) -> socket.socket:
    """A socket that others connect to by its path."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.bind(path)
    channel.listen(64)
    return channel


def connection(path: str, seconds: float | None = None) -> socket.socket:
    """A connection to a listener."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.settimeout(seconds)
    channel.connect(path)
    return channel
