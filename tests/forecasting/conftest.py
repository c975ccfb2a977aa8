from __future__ import annotations

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def long():
    """A long frame from a mapping of client to values, on dates ``days`` apart."""

    def make(clients: dict, days: int = 7, start: str = "2024-01-01") -> pd.DataFrame:
        parts = [
            pd.DataFrame(
                {
                    "client_id": client,
                    "value": np.asarray(values, dtype=float),
                    "date": pd.date_range(start, periods=len(values), freq=f"{days}D"),
                }
            )
            for client, values in clients.items()
        ]
        return pd.concat(parts, ignore_index=True)

    return make


@pytest.fixture
def walk():
    """A random walk of ``count`` values, by seed."""

    def make(count: int, seed: int = 0, spread: float = 1.0, start: float = 60.0) -> np.ndarray:
        return start + np.cumsum(np.random.default_rng(seed).normal(0, spread, count))

    return make
