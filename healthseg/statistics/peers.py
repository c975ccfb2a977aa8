"""How does a customer compare with its peers: those of its industry and tier, else its tier, else the portfolio."""

from __future__ import annotations

import numpy as np
import pandas as pd

from healthseg.statistics.rates import wilson

GROUPS: tuple[tuple[str, list[str]], ...] = (
    ("industry×tier", ["industry", "tier"]),
    ("tier", ["tier"]),
    ("portfolio", []),
)
QUARTILES = (25, 50, 75)


def peer_standing(
    customers: pd.DataFrame, metric: str, min_others: int = 8, level: float = 0.90
) -> pd.DataFrame:
    """Each customer's rank among its peers in one metric.

    ``customers`` has client_id, industry, tier (null where unknown) and the metric, a row a live customer. Its peers
    are the others with a measured value of its industry and tier, else its tier, else the portfolio: the first with
    ``min_others`` of them. Columns of the response, sorted by client_id: client_id, value, peer_group (its kind),
    peer_label, n (the others), percentile (mid-rank 100·(below + ½ equal)/n), lower, upper (Wilson), p25, p50, p75 of
    the others (order statistics: values that a peer has). Null where even the portfolio has too few, and of a value that
    is missing.
    """
    columns = ["client_id", "industry", "tier", metric]
    frame = (
        customers[columns]
        .rename(columns={metric: "value"})
        .sort_values("client_id", ignore_index=True)
    )
    nothing = pd.Series([None] * len(frame), dtype=object)
    response = frame[["client_id", "value"]].assign(peer_group=nothing, peer_label=nothing)
    figures = np.full((len(frame), 2 + len(QUARTILES)), np.nan)
    for name, keys in GROUPS:
        known = frame[frame["value"].notna() & frame[keys].notna().all(axis=1)]
        members = [known] if not keys else [group for _, group in known.groupby(keys, sort=True)]
        for group in members:
            open_ones = response.loc[group.index, "peer_group"].isna().to_numpy()
            if len(group) <= min_others or not open_ones.any():
                continue
            at = group.index[open_ones]
            figures[at] = _among_others(group["value"].to_numpy(dtype=float))[open_ones]
            response.loc[at, "peer_group"] = name
            response.loc[at, "peer_label"] = (
                " · ".join(str(group[key].iloc[0]) for key in keys) or "the portfolio"
            )
    n, below = figures[:, 0], figures[:, 1]
    lower, upper = wilson(below, n, level)
    return response.assign(
        n=n,
        percentile=100 * below / n,
        lower=100 * lower,
        upper=100 * upper,
        **{f"p{quartile}": figures[:, 2 + at] for at, quartile in enumerate(QUARTILES)},
    )


def peers_of(
    customers: pd.DataFrame, client_id: str, min_others: int = 8
) -> tuple[str | None, pd.DataFrame]:
    """A customer's peers as one group for all metrics: the label of the first with enough others, and their rows.

    ``customers`` has client_id, industry and tier. The label is None, and there are no rows, where even the portfolio
    has too few.
    """
    own = customers[customers["client_id"] == client_id]
    others = customers[customers["client_id"] != client_id]
    for _, keys in GROUPS:
        if len(own) and own[keys].notna().all(axis=None):
            alike = others[(others[keys] == own[keys].iloc[0]).all(axis=1)]
            if len(alike) >= min_others:
                return " · ".join(str(own[key].iloc[0]) for key in keys) or "the portfolio", alike
    return None, others.iloc[:0]


def _among_others(values: np.ndarray) -> np.ndarray:
    """Per value: the number of others, those below + ½ those equal, and the others' quartiles."""
    ordered, others = np.sort(values), len(values) - 1
    below = np.searchsorted(ordered, values, side="left")
    equal = np.searchsorted(ordered, values, side="right") - below - 1
    columns = [np.full(len(values), others), below + equal / 2]
    for quartile in QUARTILES:
        position = order_statistic(others, quartile / 100)
        columns.append(
            np.where(below <= position, ordered[position + 1], ordered[position])
        )  # the value itself left out
    return np.stack(columns, axis=1)


def order_statistic(n: int, share: float) -> int:
    """The position, from 0, of the smallest of n ordered values that at least ``share`` of them don't exceed."""
    return max(int(np.ceil(n * share - 1e-9)) - 1, 0)
