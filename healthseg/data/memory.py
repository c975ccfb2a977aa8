"""What several calls on one open portfolio share is made once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeVar

from healthseg.data.cache import code_state
from healthseg.settings import fingerprint

if TYPE_CHECKING:
    import pandas as pd

LEVEL = "made"
UNUSED_DAYS = 30
Made = TypeVar("Made")
_OF_ROWS = (
    "_remembered",
    "_panels",
    "_panel_rows",
    "_stays",
    "recorded_stages",
    "settings_history",
    "_sums",
)


def remember(portfolio: Any, key: Hashable, make: Callable[[], Made]) -> Made:
    """``make()``, once per open portfolio and key. A portfolio that is open does not change, but for what is recorded."""
    kept = portfolio.__dict__.setdefault("_remembered", {})
    if key not in kept:
        kept[key] = make()
    return kept[key]


def stored(portfolio: Any, name: str, day: dt.date | None, make: Callable[[], Any]) -> Any:
    """``make()``, a value of JSON, from the store where the same code made it of the same rows and settings.

    Of what is made of the whole portfolio and is asked for by each of its customers. ``day`` is the last that it knows of;
    None of what is made of all rows, whenever they became known.
    """
    return _from_store(
        portfolio,
        _key(portfolio, name, day),
        make,
        portfolio.store.get_json,
        portfolio.store.put_json,
    )


def stored_frame(
    portfolio: Any, name: str, day: dt.date | None, make: Callable[[], pd.DataFrame]
) -> pd.DataFrame:
    """``stored``, of a frame that Parquet can hold."""
    return _from_store(
        portfolio,
        _key(portfolio, name, day),
        make,
        portfolio.store.get_frame,
        portfolio.store.put_frame,
    )


def _key(portfolio: Any, name: str, day: dt.date | None) -> str:
    until = "all" if day is None else f"{day:%Y%m%d}"
    return f"{name}-{until}-{fingerprint([code_state(), portfolio.content(day), portfolio.settings.fingerprint])}"


def _from_store(
    portfolio: Any,
    key: str,
    make: Callable[[], Made],
    get: Callable[[str, str], Made | None],
    put: Callable[[str, str, Made], None],
) -> Made:
    found = get(LEVEL, key)
    if found is None:
        put(LEVEL, key, make())
        portfolio.store.evict(LEVEL, days=UNUSED_DAYS)
        found = get(LEVEL, key)  # what was just made, too, is read: it is the same whoever made it
    return found


def forget(portfolio: Any) -> None:
    """Lets go of what was made of an open portfolio's rows: it is made anew, by what is recorded then, when asked for."""
    portfolio.close()
    for name in _OF_ROWS:
        portfolio.__dict__.pop(name, None)
