"""Users' names in pages: other names, the same in every report of a portfolio, unless they were asked for."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

FILE = "pseudonyms"
_KEY: ContextVar[str] = ContextVar("pseudonym_key", default="")
USER_KEYS = frozenset({"user_id", "champion_user_id", "user_ids", "top_user_id"})


def key(portfolio: Any) -> str:
    """The portfolio's key for pseudonyms: kept beside its derived data, so that a user has one name in all reports."""
    path = Path(portfolio.root) / ".healthseg" / FILE
    try:
        return path.read_text("utf-8")
    except OSError:
        pass
    fresh = secrets.token_hex(16)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text("utf-8")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(fresh)
    return fresh


@contextlib.contextmanager
def hiding_users(key: str) -> Iterator[None]:
    """Within it pages show users under the pseudonyms of a key; with an empty key under their own names."""
    token = _KEY.set(key)
    try:
        yield
    finally:
        _KEY.reset(token)


def shown(user: Any) -> Any:
    """A user as a page may name it.

    >>> with hiding_users("key"):
    ...     shown("ann@acme.example")
    'user-1362ade8'
    >>> shown("ann@acme.example")
    'ann@acme.example'
    """
    secret = _KEY.get()
    if not secret or user is None or user != user:
        return user
    digest = hmac.new(
        secret.encode(), str(user).encode("utf-8", "replace"), hashlib.sha256
    ).hexdigest()
    return f"user-{digest[:8]}"


def hidden(value: Any, name: str = "") -> Any:
    """A response's JSON with every user under the name that pages may show, without values of raw rows."""
    if name == "example" and _KEY.get():
        return None
    if isinstance(value, dict):
        return {key: hidden(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [hidden(part, name) for part in value]
    return shown(value) if name in USER_KEYS else value
