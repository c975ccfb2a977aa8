"""Figures of frames as plain values of a response: rounded numbers, whole numbers, words, days, rows, slugs."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd


def number(value: Any) -> float | None:
    """A plain float, None for what is missing.

    >>> number(float("nan")) is None
    True
    """
    return None if value is None or pd.isna(value) else float(value)


def rounded(value: Any, decimals: int = 4) -> float | None:
    """A float with at most ``decimals`` decimals.

    >>> rounded(2 / 3), rounded(None) is None
    (0.6667, True)
    """
    value = number(value)
    return None if value is None else round(value, decimals)


def integer(value: Any) -> int | None:
    """The nearest integer, halves up.

    >>> integer(59.5), integer(float("nan")) is None
    (60, True)
    """
    value = number(value)
    return None if value is None else int(np.floor(round(value, 9) + 0.5))


def word(value: Any) -> str | None:
    """A text, None for anything else.

    >>> word("basic"), word(float("nan")) is None
    ('basic', True)
    """
    return value if isinstance(value, str) else None


def in_percent(share: float | None) -> float | None:
    """A share of one per cent.

    >>> in_percent(0.25), in_percent(None) is None
    (25.0, True)
    """
    return None if share is None else 100 * share


def day_of(value: Any) -> dt.date | None:
    """A date or a time as its day.

    >>> day_of(pd.Timestamp("2025-03-01 09:00")), day_of(pd.NaT) is None
    (datetime.date(2025, 3, 1), True)
    """
    return None if value is None or pd.isna(value) else pd.Timestamp(value).date()


def plain_figures(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row's figures as rules read them: numbers and words; anything else is unknown.

    >>> plain_figures({"plan": "pro", "seats": 5, "nps": float("nan"), "live": True})
    {'plan': 'pro', 'seats': 5.0, 'nps': None, 'live': 1.0}
    """
    numbers = (int, float, np.number, np.bool)
    return {
        str(name): number(value) if isinstance(value, numbers) else word(value)
        for name, value in row.items()
    }


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON values: missing values are null, whole figures integers, others have 4 decimals."""
    return [record(row) for row in frame.to_dict("records")]


def record(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row as JSON values.

    >>> record({"auc": float("nan"), "n": 3.0})
    {'auc': None, 'n': 3}
    """
    return {str(key): _json_value(value) for key, value in row.items()}


def _json_value(value: Any) -> Any:
    if value is None or pd.isna(value):
        return None
    if isinstance(value, float | np.floating):
        return int(value) if float(value).is_integer() else round(float(value), 4)
    return value.item() if isinstance(value, np.generic) else value


def slug(name: str) -> str:
    """A name as part of an id or a key.

    >>> slug("At Risk + Healthy"), slug("日本")
    ('at_risk_healthy', 'segment')
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40].strip("_") or "segment"


def slugs(names: Iterable[str]) -> list[str]:
    """A key for each name, all different: a slug that is taken gets the first free number.

    >>> slugs(["Tier A", "Tier-A", "日本", "中国"])
    ['tier_a', 'tier_a_2', 'segment', 'segment_2']
    """
    keys: list[str] = []
    for name in names:
        key, number = slug(name), 2
        while key in keys:
            key, number = f"{slug(name)}_{number}", number + 1
        keys.append(key)
    return keys
