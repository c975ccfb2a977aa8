"""What several calls on one open book share is made once."""
from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Made = TypeVar("Made")


def remember(book: Any, key: Hashable, make: Callable[[], Made]) -> Made:
    """``make()``, once per open book and key. A portfolio that is open does not change."""
    kept = book.__dict__.setdefault("_remembered", {})
    if key not in kept:
        kept[key] = make()
    return kept[key]
