"""A small simulated portfolio on disk, for tests that read real tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd


@dataclass(frozen=True)
class Portfolio:
    folder: Path
    client_id: str  # a live customer
    churned: str


def portfolio_in(folder: Path) -> Portfolio:
    """The portfolio in a folder, with one of its live customers and one that left."""
    customers = pd.read_parquet(folder / "customers.parquet").sort_values("client_id")
    left = customers["churned_on"].notna()
    return Portfolio(
        folder,
        str(customers.loc[~left, "client_id"].iloc[0]),
        str(customers.loc[left, "client_id"].iloc[0]),
    )
