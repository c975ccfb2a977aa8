"""What overrides the score of a row of the panel: notice given, an invoice long overdue, days since signup.

The setting ``overrides`` lists the conditions, each with a cap or a verdict, or with the days for which a new customer
is provisional.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.metrics import catalog
from healthseg.settings import Settings
from healthseg.settings.scoring import Override

UNKNOWN = "too little is known for a score"


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
        unknown = np.isnan(values) & (override.unknown_may_hold | _hidden(columns, override.metric))
        cap = np.where(held, np.fmin(cap, override.cap), cap)
        possible = np.where(held | unknown, np.minimum(possible, override.cap), possible)
    return cap, possible


def _hidden(columns: Mapping[str, np.ndarray], metric: str) -> np.ndarray | bool:
    """Where a value that cannot be used may be what the metric counts from."""
    lost = [columns.get(f"{catalog.LOST}{name}", 0.0) for name in catalog.averaged([metric])]
    return np.asarray(sum(lost, start=np.zeros(1))) > 0


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


def cap_words(row: Mapping[str, Any], settings: Settings) -> str:
    """What caps the score of a customer's row of the panel, the lowest cap of those that hold; empty where none does.

    >>> cap_words({"days_since_notice": 8.0, "worst_days_overdue": 70.0}, Settings())
    'Notice given: capped at 39'
    """
    held = [each for each in held_overrides(row, settings).values() if each.cap is not None]
    if not held:
        return ""
    lowest = min(held, key=lambda override: override.cap or 0.0)
    text = rules.words(lowest.text, {"value": float(row[lowest.metric]), "on": ""}).strip()
    return f"{text}: capped at {lowest.cap:g}"


def provisional(
    columns: Mapping[str, np.ndarray], rows: int, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """Which customers are too new for a score, and how far each is on the way to one (1: it has one).

    >>> provisional({"tenure_days": np.array([15.0, 60.0, np.nan])}, 3, Settings())
    (array([ True, False, False]), array([0.25, 1.  , 1.  ]))
    """
    new, known_share = np.zeros(rows, dtype=bool), np.ones(rows)
    for override in settings.overrides.values():
        if override.provisional and override.below and override.metric in columns:
            values = columns[override.metric]
            held = holds(override, values)
            part = np.minimum(known_share, np.clip(values / override.below, 0, 1))
            new, known_share = new | held, np.where(held, part, known_share)
    return new, known_share


def why_no_score(row: Mapping[str, Any], settings: Settings) -> str:
    """Of a scored row of the panel, why it would have no score: too new, or too little known."""
    for override in held_overrides(row, settings).values() if row.get("provisional") else ():
        if override.provisional:
            return rules.words(override.text, {"value": float(row[override.metric])})
    return UNKNOWN


def why_no_scores(rows: pd.DataFrame, settings: Settings) -> pd.Series:
    """``why_no_score`` of each row."""
    reasons = [why_no_score(row, settings) for row in rows.to_dict("records")]
    return pd.Series(reasons, index=rows.index, dtype=object)
