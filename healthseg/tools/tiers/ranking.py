"""In which tier is each customer? By ARR, by ARR and potential, or by the weighted ranks of what it is worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from healthseg.clustering.rules import UNPLACED, places
from healthseg.statistics.effects import ranks

STEP = 0.1  # by which each weight is moved, to see how far the tiers depend on it
PARTS = ("arr", "potential", "strategic_value")


def by_amount(values: pd.Series, thresholds: Sequence[float]) -> pd.Series:
    """The tier's number of each amount, from the lowest; an upper end belongs to its tier."""
    return pd.Series(
        places(values.to_numpy(dtype=float), thresholds, lower_included=False), index=values.index
    )


def composite(parts: pd.DataFrame, weights: Sequence[float]) -> pd.Series:
    """The weighted mean of the mid-ranks (0 to 1) of the known parts; a missing part's weight goes to the others.

    >>> frame = pd.DataFrame({"arr": [1.0, 2.0], "potential": [5.0, None]})
    >>> composite(frame, (0.5, 0.5)).tolist()
    [0.375, 0.75]
    """
    ranks = np.column_stack([_mid_ranks(parts[name].to_numpy(dtype=float)) for name in parts])
    weight = np.where(np.isnan(ranks), 0.0, np.asarray(weights, dtype=float))
    total = weight.sum(axis=1)
    mean = np.divide(
        (weight * np.nan_to_num(ranks)).sum(axis=1),
        total,
        out=np.full(len(ranks), np.nan),
        where=total > 0,
    )
    return pd.Series(mean, index=parts.index)


def _mid_ranks(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    out = np.full(len(values), np.nan)
    if known.any():
        out[known] = (ranks(values[known]) - 0.5) / known.sum()
    return out


def by_sizes(scores: pd.Series, sizes: Sequence[int]) -> pd.Series:
    """Tiers of given sizes, from the lowest score up; ids break ties. Missing scores lie nowhere.

    >>> by_sizes(pd.Series({"a": 0.2, "b": 0.9, "c": 0.5}), [2, 1]).tolist()
    [0, 1, 0]
    """
    known = scores.dropna()
    order = known.index[np.lexsort((known.index.to_numpy().astype(str), known.to_numpy()))]
    number = np.repeat(np.arange(len(sizes)), sizes)[: len(order)]
    number = np.r_[number, np.full(len(order) - len(number), len(sizes) - 1)]
    return pd.Series(number, index=order).reindex(scores.index).fillna(UNPLACED).astype(int)


def sensitivity(parts: pd.DataFrame, weights: Sequence[float], sizes: Sequence[int]) -> list[dict]:
    """How many customers change tier when a weight is moved by 0.1, the others keeping their proportions."""
    base, found = by_sizes(composite(parts, weights), sizes), []
    total = sum(weights)
    plain = [weight / total for weight in weights]
    for place, name in enumerate(parts.columns):
        for step in (-STEP, STEP):
            moved = min(max(plain[place] + step, 0.0), 1.0)
            rest = 1 - plain[place]
            tried = [
                moved
                if at == place
                else (weight * (1 - moved) / rest if rest > 0 else (1 - moved) / (len(plain) - 1))
                for at, weight in enumerate(plain)
            ]
            other = by_sizes(composite(parts, tried), sizes)
            found.append(
                {
                    "weight": name,
                    "from": round(plain[place], 4),
                    "to": round(moved, 4),
                    "customers_in_another_tier": int((other != base).sum()),
                }
            )
    return found
