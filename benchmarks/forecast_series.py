"""Forecasts of real monthly and hourly series, and of simulated business series, beside simpler ones.

    python benchmarks/forecast_series.py [--every 1]

Real: monthly tourism series (horizon 24) and hourly series of a public competition (horizon 48), from the folder that
``HEALTHSEG_SHARED_DATA`` names (left out where it is absent); the test parts are read by the scoring alone. Beside them the seasonal naive forecast and
statsmodels' ETS (additive error, damped trend, additive season). MASE is scaled by the in-sample error of the seasonal naive forecast.
Simulated, 100 series of 200 days each and 28 days ahead, without this package's demo: growth by four with weekends of 0, an
outlier on the last day, closed days with few users on the others, no user on one day in five. Exit status 1 where a figure misses
its reach.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

from healthseg.forecasting import forecast  # noqa: E402
from healthseg.forecasting.backtesting import scale  # noqa: E402

SEASONS = {"monthly": 12, "hourly": 24}
REACH_MS = {"monthly": 50.0, "hourly": 200.0}
COVERED, COVERED_SIMULATED = (0.87, 0.93), (0.85, 0.95)
DAYS, AHEAD, COUNT = 200, 28, 100
WEEK = np.array([1.0, 1.05, 1.1, 1.0, 0.9, 0.0, 0.0])
KINDS = ("growth, weekends of 0", "outlier on the last day", "closed days, few users", "zeros")


def folder(name: str) -> Path | None:
    home = Path(os.environ.get("HEALTHSEG_SHARED_DATA") or ROOT.parent / "shared" / "data")
    path = home / name / f"{name}_long.csv.gz"
    return path if path.is_file() else None


def series(path: Path, every: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Train and test part of each ``every``-th series."""
    long = pd.read_csv(path).sort_values(["series", "t"])
    for number, (_, rows) in enumerate(long.groupby("series")):
        if number % every == 0:
            parts = rows.groupby("part")["value"]
            yield parts.get_group("train").to_numpy(), parts.get_group("test").to_numpy()


def forecast_of(train: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """Forecast, lower and upper."""
    frame = pd.DataFrame({"client_id": "a", "date": np.arange(len(train)), "value": train})
    got = forecast(frame, horizon, season_length=season)
    return got[["forecast", "lower", "upper"]].to_numpy().T


def ets(train: np.ndarray, horizon: int, season: int) -> np.ndarray:
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = ETSModel(
            train,
            trend="add",
            damped_trend=True,
            seasonal="add" if season > 1 else None,
            seasonal_periods=season if season > 1 else None,
        )
        return np.asarray(model.fit(disp=False, maxiter=200).forecast(horizon))


def real(name: str, path: Path, every: int) -> bool:
    """Prints the comparison; whether a reach was missed."""
    season, rows = SEASONS[name], []
    for train, test in series(path, every):
        start = time.process_time()
        point, low, high = forecast_of(train, len(test), season)
        ms = 1000 * (time.process_time() - start)
        rivals = np.resize(train[-season:], len(test)), ets(train, len(test), season)
        errors = [np.abs(test - each).mean() / scale(train, season) for each in (point, *rivals)]
        rows.append([*errors, ((low <= test) & (test <= high)).mean(), ms])
    mase, naive, statsmodels, covered, ms = np.mean(rows, axis=0)
    print(
        f"{name} ({len(rows)} series): MASE {mase:.3f}, seasonal naive {naive:.3f}, ETS {statsmodels:.3f}; "
        f"90% intervals cover {covered:.3f}; {ms:.0f} ms a series (reach {REACH_MS[name]:.0f})",
        flush=True,
    )
    inside = COVERED[0] <= covered <= COVERED[1]
    return not (mase < min(naive, statsmodels) and inside and ms <= REACH_MS[name])


def simulated(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The known and the following days of a series."""
    random, day = np.random.default_rng([seed, KINDS.index(kind)]), np.arange(DAYS + AHEAD)
    level = random.uniform(10, 200)
    if kind == "growth, weekends of 0":
        values = random.poisson(level * 4 ** (day / len(day)) * WEEK[day % 7]).astype(float)
    elif kind == "outlier on the last day":
        values = random.poisson(level * (1 + 0.3 * WEEK[day % 7])).astype(float)
        values[DAYS - 1] *= random.choice([0, 5, 100])
    elif kind == "closed days, few users":
        week = np.ones(7)
        week[random.integers(7)] = 0
        values = random.poisson(random.uniform(0.3, 1.8) * week[day % 7]).astype(float)
    else:
        values = random.poisson(random.uniform(1, 5), len(day)) * (random.random(len(day)) < 0.2)
        values = values.astype(float)
    return values[:DAYS], values[DAYS:]


def simulation(kind: str, count: int = COUNT) -> tuple[float, float, float]:
    """Mean absolute errors, ours and the seasonal naive's, and the intervals' coverage."""
    rows = []
    for seed in range(count):
        known, later = simulated(kind, seed)
        point, low, high = forecast_of(known, AHEAD, 7)
        naive = np.resize(known[-7:], AHEAD)
        inside = (np.maximum(low, 0) <= later) & (later <= high)
        rows.append([np.abs(later - point).mean(), np.abs(later - naive).mean(), inside.mean()])
    error, naive_error, covered = np.mean(rows, axis=0)
    return float(error), float(naive_error), float(covered)


def main() -> int:
    reader = argparse.ArgumentParser(description="forecasts of real and simulated series")
    reader.add_argument("--every", type=int, default=1)
    every, missed = reader.parse_args().every, False
    for kind in KINDS:
        error, naive, covered = simulation(kind)
        ratio = error / naive
        inside = COVERED_SIMULATED[0] <= covered <= COVERED_SIMULATED[1]
        missed |= ratio > 1 or not inside
        print(
            f"{kind}: error {ratio:.2f} of the seasonal naive's, 90% intervals cover {covered:.3f}"
        )
    for name in SEASONS:
        path = folder(name)
        if path is None:
            print(f"{name}: left out, no {name}/ in HEALTHSEG_SHARED_DATA")
        else:
            missed |= real(name, path, every)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
