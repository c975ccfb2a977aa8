"""Simulated portfolios as rows for churn studies: customer-months at risk, the model's metrics, and the planted truth.

A portfolio's rows are kept in a folder of the machine's temporary one (or ``HEALTHSEG_BENCHMARK_ROWS``): the same seeds are
read by several studies.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

from _worlds import make_tables  # noqa: E402

import healthseg as hs  # noqa: E402
from healthseg.demo import make_demo  # noqa: E402
from healthseg.demo.churn import expected_auc  # noqa: E402
from healthseg.scoring.churn import training  # noqa: E402

FOLDER = Path(
    os.environ.get("HEALTHSEG_BENCHMARK_ROWS")
    or Path(tempfile.gettempdir()) / "healthseg-benchmark-rows"
)
TRUTH = ["eta_measured", "p30", "p90", "h_true"]


def rows_of(scenario: str, clients: int, seed: int) -> pd.DataFrame:
    """Customer-months at risk on the training grid, with every metric, ``event_on``, and p30, p90 as planted."""
    cached = FOLDER / f"{scenario}-{clients}-{seed}.parquet"
    if not cached.exists():
        with tempfile.TemporaryDirectory() as folder:
            make_demo(folder, clients=clients, scenario=scenario, seed=seed, events="light")
            rows = _rows(Path(folder))
        cached.parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(cached, index=False)
    rows = pd.read_parquet(cached)
    return rows.assign(date=rows["date"].astype("datetime64[us]"))


def rows_of_law(law: str, seed: int, clients: int = 300) -> pd.DataFrame:
    """Those of a portfolio whose churn follows a law of ``_worlds``, with its p30 and p90."""
    cached = FOLDER / f"law-{law}-{clients}-{seed}.parquet"
    if not cached.exists():
        tables = make_tables(law, seed, clients)
        known = tables.pop("truth")
        with tempfile.TemporaryDirectory() as folder:
            for name, table in tables.items():
                table.to_parquet(Path(folder) / f"{name}.parquet", index=False)
            rows = _training_rows(Path(folder))
        cached.parent.mkdir(parents=True, exist_ok=True)
        known["date"] = known["date"].astype("datetime64[us]")
        rows.merge(known, on=["client_id", "date"], how="left").to_parquet(cached, index=False)
    rows = pd.read_parquet(cached)
    return rows.assign(date=rows["date"].astype("datetime64[us]"))


def _training_rows(folder: Path) -> pd.DataFrame:
    portfolio = hs.Portfolio.open(folder)
    last = training.grid(portfolio, portfolio.data_until)[-1]
    rows = training.training_rows(portfolio, last)
    portfolio.close()
    return rows


def _rows(folder: Path) -> pd.DataFrame:
    rows = _training_rows(folder)
    known = pd.read_parquet(folder / "truth" / "hazard.parquet")
    known["date"] = pd.to_datetime(known["step_start"]).astype("datetime64[us]") - pd.Timedelta(
        days=1
    )
    return rows.merge(known[["client_id", "date", *TRUTH]], on=["client_id", "date"], how="left")


def gain(truth: np.ndarray, score: np.ndarray) -> float:
    """The AUC gained over 0.5 as a share of the oracle's, with the true probabilities as fractional labels."""
    return (fractional_auc(truth, score) - 0.5) / (expected_auc(truth) - 0.5)


def fractional_auc(truth: np.ndarray, score: np.ndarray) -> float:
    _, position = np.unique(score, return_inverse=True)
    events, others = np.bincount(position, truth), np.bincount(position, 1 - truth)
    below = np.cumsum(others) - others
    return float((events * (below + others / 2)).sum() / (events.sum() * others.sum()))


def fractional_brier(truth: np.ndarray, forecast: np.ndarray) -> float:
    return float((truth * (1 - forecast) ** 2 + (1 - truth) * forecast**2).mean())
