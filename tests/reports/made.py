"""A small simulated portfolio on disk, for tests of faces that read real tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from healthseg.demo import make_demo


@dataclass(frozen=True)
class Portfolio:
    folder: Path
    client_id: str  # a live customer
    churned: str


@pytest.fixture(scope="session")
def small_portfolio(tmp_path_factory) -> Portfolio:
    """Forty customers over nine months, with few events."""
    folder = tmp_path_factory.mktemp("portfolio") / "small"
    make_demo(folder, clients=40, months=9, seed=7, events="light", scenario="plain")
    customers = pd.read_parquet(folder / "customers.parquet").sort_values("client_id")
    left = customers["churned_on"].notna()
    return Portfolio(
        folder,
        str(customers.loc[~left, "client_id"].iloc[0]),
        str(customers.loc[left, "client_id"].iloc[0]),
    )
