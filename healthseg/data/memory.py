"""The former names of the cache, for code that has not switched to ``portfolio.cache.get`` yet."""

from __future__ import annotations

import datetime as dt
import re
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
    inputs = [name, day, portfolio.content(day), portfolio.settings.fingerprint]
    return portfolio.cache.get(re.sub("[^a-z0-9_]", "_", name), inputs, build)


def stored_frame(
    portfolio: Any, name: str, day: dt.date | None, build: Callable[[], pd.DataFrame]
) -> pd.DataFrame:
    """Deprecated: ``portfolio.cache.get(name, inputs, build)``."""
    return stored(portfolio, name, day, build)


def forget(portfolio: Any) -> None:
    """Deprecated: ``portfolio.reload_ledger()``."""
    portfolio.reload_ledger()
