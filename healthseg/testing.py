"""Tiny portfolios from literals: for doctests, tests, and for trying a definition by hand."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from healthseg.data.portfolio import Portfolio

EVENT = (
    "client_id",
    "occurred_at",
    "user_id",
    "feature",
    "source",
    "session_id",
    "count",
    "duration_seconds",
)


def tiny_portfolio(
    events: Sequence[tuple],
    customers: pd.DataFrame | None = None,
    settings: dict[str, Any] | None = None,
    **tables: pd.DataFrame,
) -> Portfolio:
    """A portfolio of a few events, each ``(client_id, occurred_at[, user_id[, feature[, source]]])``, in its own folder.

    Without a source or a count, an event is one of a person. Without ``customers`` they are those of the events, signed up on 2024-01-01. Other tables are passed by name.

    >>> tiny_portfolio([("a", "2025-03-03 09:00", "u1")]).data_until.isoformat()
    '2025-03-03'
    """
    frame = pd.DataFrame(
        [(*event, *[None] * (len(EVENT) - len(event))) for event in events], columns=list(EVENT)
    )
    frame = frame.dropna(axis=1, how="all")
    usual = {"source": "ui", "count": 1}
    frame = frame.fillna({name: value for name, value in usual.items() if name in frame})
    if customers is None:
        customers = pd.DataFrame(
            {"client_id": sorted(frame["client_id"].unique()), "signup_date": "2024-01-01"}
        )
    if "name" not in customers:
        customers = customers.assign(name="Customer " + customers["client_id"])
    last = str(max(frame["occurred_at"]))[:10]
    folder = Path(tempfile.mkdtemp(prefix="healthseg-tiny-"))
    # other portfolios may open it by its path until then
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, table in {"customers": customers, "events": frame, **tables}.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return Portfolio.open(folder, {"data_until": last, **(settings or {})})
