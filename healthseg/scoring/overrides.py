"""What overrides the score of a row of the panel: notice given, an invoice long overdue (setting ``overrides``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from healthseg.settings import Settings
from healthseg.settings.overrides import Override


def holds(override: Override, values: np.ndarray) -> np.ndarray:
    """Where the condition is known to hold."""
    if override.below is not None:
        return values < override.below
    return values >= override.at_least


def caps(
    columns: Mapping[str, np.ndarray], rows: int, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """The cap of each row (NaN where none holds), and the one that unknown values may add to it (100: none)."""
    cap, possible = np.full(rows, np.nan), np.full(rows, 100.0)
    for override in settings.overrides.values():
        if override.cap is None or override.metric not in columns:
            continue
        values = columns[override.metric]
        held = holds(override, values)
        cap = np.where(held, np.fmin(cap, override.cap), cap)
        may = held | np.isnan(values) if override.unknown_may_hold else held
        possible = np.where(may, np.minimum(possible, override.cap), possible)
    return cap, possible


def overriding(rows: pd.DataFrame, settings: Settings) -> np.ndarray:
    """The first override that holds for each row of a panel, by name; None where none does."""
    first = np.full(len(rows), None, dtype=object)
    for name, override in reversed(settings.overrides.items()):
        if override.metric in rows:
            values = rows[override.metric].to_numpy(dtype=float, na_value=np.nan)
            first[holds(override, values)] = name
    return first


def held_overrides(row: Mapping[str, Any], settings: Settings) -> dict[str, Override]:
    """All that hold for a customer's row of the panel, the first one first."""
    return {
        name: override
        for name, override in settings.overrides.items()
        if bool(holds(override, np.asarray(row.get(override.metric, np.nan), dtype=float)))
    }
