"""Users' names in pages: other names, the same in every report of a portfolio, unless they were asked for."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Any

PSEUDONYMS = "HEALTHSEG_PSEUDONYMS"  # where it holds a key, users appear under other names
FILE = "pseudonyms"
USER_KEYS = frozenset({"user_id", "champion_user_id", "user_ids", "top_user_id"})


def key(portfolio: Any) -> str:
    """The portfolio's key for pseudonyms: kept beside its derived data, so that a user has one name in all reports."""
    path = Path(portfolio.root) / ".healthseg" / FILE
    try:
        return path.read_text("utf-8")
    except OSError:
        pass
    made = secrets.token_hex(16)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text("utf-8")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(made)
    return made


def shown(user: Any) -> Any:
    """A user as a page may name it: under another name where the environment holds a key for such.

    >>> os.environ["HEALTHSEG_PSEUDONYMS"] = "key"
    >>> shown("ann@acme.example")
    'user-1362ade8'
    >>> del os.environ["HEALTHSEG_PSEUDONYMS"]
    >>> shown("ann@acme.example")
    'ann@acme.example'
    """
    secret = os.environ.get(PSEUDONYMS, "")
    if not secret or user is None or user != user:
        return user
    digest = hmac.new(
        secret.encode(), str(user).encode("utf-8", "replace"), hashlib.sha256
    ).hexdigest()
    return f"user-{digest[:8]}"


def hidden(value: Any, name: str = "") -> Any:
    """A response's JSON with every user under the name that pages may show."""
    if isinstance(value, dict):
        return {key: hidden(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [hidden(part, name) for part in value]
    return shown(value) if name in USER_KEYS else value
