"""Who asks for a change that is recorded: whom the caller names, else the user that the face knows."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from typing import Any

LONGEST = 100


def user() -> str:
    """This machine's user; the number of one that has no name."""
    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def signed(tool: str, given: Mapping[str, Any], who: str) -> dict[str, Any]:
    """A tool's parameters, with who asks where they change a customer's stage and name nobody.

    >>> signed("manage_lifecycle_stages", {"action": "transition"}, "ann")
    {'action': 'transition', 'actor': 'ann'}
    >>> signed("manage_lifecycle_stages", {"action": "get_stage"}, "ann")
    {'action': 'get_stage'}
    """
    if not _changes(tool, given.get("action")) or given.get("actor") is not None:
        return dict(given)
    shown = "".join(letter if letter.isprintable() else " " for letter in who)
    return {**given, "actor": shown[:LONGEST].strip() or "unknown"}


def _changes(tool: str, action: Any) -> bool:
    if tool != "manage_lifecycle_stages":
        return False
    from healthseg.tools.lifecycle.tool import WRITES

    return isinstance(action, str) and action in WRITES
