"""The `segments` scenario's truth: the planted groups' centres in measured units, and how far apart they lie."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from healthseg.demo import counted
from healthseg.demo.chunk import Chunk
from healthseg.demo.customers import SEGMENTS
from healthseg.demo.schema import TRUTH
from healthseg.demo.writing import table

METRICS = (
    "seat_utilisation",
    "stickiness_30d",
    "sessions_per_user_per_week_28d",
    "feature_adoption_rate_30d",
)


def _measured(chunk: Chunk) -> np.ndarray:
    """Customers × METRICS on the portfolio's last day, NaN for those who left."""
    who, at = chunk.who, np.array([chunk.days.days - 1])
    seats = chunk.money.seats_by_day(who, chunk.days)
    columns = [
        counted.seat_utilisation(chunk.counts, seats, at),
        counted.stickiness_30d(chunk.counts, who, at),
        counted.sessions_per_user_per_week_28d(chunk.counts, who, at),
        counted.feature_adoption_rate_30d(chunk.counts, chunk.adoption, at),
    ]
    return np.where(chunk.until[:, None] >= chunk.days.days, np.column_stack(columns), np.nan)


def moments(chunk: Chunk) -> dict[str, np.ndarray]:
    """Counts, sums and sums of products by segment: they add up over chunks."""
    values = _measured(chunk)
    kept = ~np.isnan(values).any(axis=1)
    out = {"segment_n": [], "segment_sum": [], "segment_products": []}
    for one in range(SEGMENTS):
        rows = values[kept & (chunk.who.segment == one)]
        out["segment_n"].append(len(rows))
        out["segment_sum"].append(rows.sum(axis=0))
        out["segment_products"].append(rows.T @ rows)
    return {name: np.array(parts, float) for name, parts in out.items()}


def centres(total: dict[str, np.ndarray]) -> pa.Table:
    """A row per segment and metric; ``min_separation`` is the least Mahalanobis distance between two centres."""
    n = np.maximum(total["segment_n"], 1)[:, None]
    mean = total["segment_sum"] / n
    within = total["segment_products"] - n[:, :, None] * mean[:, :, None] * mean[:, None, :]
    pooled = within.sum(axis=0) / max(n.sum() - SEGMENTS, 1)
    sd = np.sqrt(
        np.maximum(within[:, range(len(METRICS)), range(len(METRICS))], 0) / np.maximum(n - 1, 1)
    )
    apart = mean[:, None, :] - mean[None, :, :]
    squared = np.einsum("abi,ij,abj->ab", apart, np.linalg.pinv(pooled), apart)
    least = float(np.sqrt(squared[np.triu_indices(SEGMENTS, 1)].min()))
    segment, metric = np.indices(mean.shape)
    return table(
        TRUTH["segment_centres"],
        {
            "segment": [f"segment_{place + 1}" for place in segment.ravel()],
            "metric": [METRICS[place] for place in metric.ravel()],
            "mean": mean.ravel(),
            "sd_within": sd.ravel(),
            "min_separation": np.full(mean.size, least),
        },
    )
