"""Figures at the edge: plain JSON values, rounded once, None for what is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def number(value: Any) -> float | None:
    """A plain float.

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


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON values: missing ones are null, whole figures are integers, others have four decimals."""
    return [{key: _plain(value) for key, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    if value is None or pd.isna(value):
        return None
    if isinstance(value, float | np.floating):
        return int(value) if float(value).is_integer() else round(float(value), 4)
    return value.item() if isinstance(value, np.generic) else value
