"""What several calls on one open book share is made once."""
from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Made = TypeVar("Made")
_OF_ROWS = ("_remembered", "_panels", "_panel_rows", "_stays", "recorded_stages", "_sums")


def remember(book: Any, key: Hashable, make: Callable[[], Made]) -> Made:
    """``make()``, once per open book and key. A portfolio that is open does not change, but for what is recorded."""
    kept = book.__dict__.setdefault("_remembered", {})
    if key not in kept:
        kept[key] = make()
    return kept[key]


def forget(book: Any) -> None:
    """Lets go of what was made of an open book's rows: it is made anew, by what is recorded then, when asked for."""
    book.close()
    for name in _OF_ROWS:
        book.__dict__.pop(name, None)
