"""What a page needs to say what other weights would make of today's scores: components, how much of each is known."""

from __future__ import annotations

from typing import Any

import pandas as pd

from healthseg.settings import COMPONENTS


def frame(points: pd.DataFrame, today: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """A row per live customer: client_id, name, shown, cap, and per component its points (0 to 100, NaN where nothing
    of it is measured), the share of its inputs that is known, and its weight as configured.

    ``points`` are the metrics of today's scores in long form, ``today`` their scores by customer.
    """
    known = points.assign(known=points["share"].where(points["points"].notna(), 0.0))
    shares = known.pivot_table(
        index="client_id", columns="component", values="known", aggfunc="sum"
    )
    weights = points.pivot_table(
        index="client_id", columns="component", values="component_weight", aggfunc="first"
    )
    ids = today.index
    columns: dict[str, Any] = {
        "client_id": ids,
        "name": names.reindex(ids).to_numpy(),
        "shown": today["shown"],
        "cap": today["cap"],
    }
    for name in COMPONENTS:
        columns[f"{name}_points"] = today[f"{name}_score"]
        columns[f"{name}_known"] = _of(shares, name, ids)
        columns[f"{name}_weight"] = _of(weights, name, ids)
    return pd.DataFrame(columns).reset_index(drop=True)


def _of(table: pd.DataFrame, name: str, ids: pd.Index) -> pd.Series:
    column = table[name] if name in table else pd.Series(dtype=float)
    return column.reindex(ids).fillna(0.0)
