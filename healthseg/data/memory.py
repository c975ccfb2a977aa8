"""The former names of the cache, for code that has not switched to ``portfolio.cache.get`` yet."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


def remember(portfolio: Any, key: Hashable, build: Callable[[], T]) -> T:
    """Deprecated: ``portfolio.cache.get(name, inputs, build, disk=False)``."""
    return portfolio.cache.get("remembered", key, build, disk=False)


def stored(portfolio: Any, name: str, day: dt.date | None, build: Callable[[], T]) -> T:
    """Deprecated: ``portfolio.cache.get(name, inputs, build)``."""
    inputs = [day, portfolio.content(day), portfolio.settings.fingerprint]
    return portfolio.cache.get(name.replace("-", "_"), inputs, build)


def stored_frame(
    portfolio: Any, name: str, day: dt.date | None, build: Callable[[], pd.DataFrame]
) -> pd.DataFrame:
    """Deprecated: ``portfolio.cache.get(name, inputs, build)``."""
    return stored(portfolio, name, day, build)


def forget(portfolio: Any) -> None:
    """Deprecated: ``portfolio.reload_ledger()``."""
    portfolio.reload_ledger()
    for name in ("_panels", "_panel_rows", "_stays"):
        portfolio.__dict__.pop(name, None)
