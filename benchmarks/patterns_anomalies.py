"""Unusual days and values: what is found of what was planted, and how often an alarm is false.

    python benchmarks/patterns_anomalies.py [--seeds 20] [--null-seeds 50] [--clients 250]

On demo portfolios: spikes and dips of single customers and of the portfolio flagged detectable (a day beside counts), and the
share of what is reported on no planted day. On null portfolios: alarms a customer in three years, and portfolios with an alarm of
their own. On the Numenta benchmark (``HEALTHSEG_SHARED_DATA``, left out where it is absent): alarms merged within an
hour, precision over alarms, recall over windows, the first 15% of each series skipped, beside a rolling Gaussian with
the window and the threshold that do best in hindsight, and the same window at 3 σ. Exit status 1 where a figure misses
its reach.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

import healthseg as hs  # noqa: E402
from healthseg.clustering.unusual_days import anomalies_of, daily  # noqa: E402
from healthseg.demo import make_demo  # noqa: E402
from healthseg.metrics.counting import epoch_day  # noqa: E402
from healthseg.statistics.level_changes import beyond_earlier  # noqa: E402

DAY = dt.timedelta(days=1)
REACH_RECALL, REACH_FALSE = 0.9, 0.1
REACH_ALARMS = 1.0  # a customer and three years
ALLOWED = {20: 1, 50: 2, 200: 4}  # null portfolios with an alarm of their own
SKIPPED, MERGED = 0.15, np.timedelta64(1, "h")
WINDOWS = (12, 24, 48, 72, 144, 288, 432, 576, 864, 1152, 2016)
THRESHOLDS = (2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 10, 12, 15, 20, 30)

Series = dict[str, tuple[pd.DataFrame, list[tuple[np.datetime64, np.datetime64]]]]


def found_in(folder: str, **options) -> tuple[hs.Portfolio, pd.DataFrame]:
    make_demo(folder, events="light", **options)
    portfolio = hs.Portfolio.open(folder)
    clients = sorted(portfolio.table("customers")["client_id"])
    return portfolio, anomalies_of(
        portfolio, clients, portfolio.first_event_day, portfolio.data_until + DAY
    )


def planted(seed: int, clients: int) -> np.ndarray:
    """Detectable and found of single customers, of the portfolio; reported of both, and of those on no planted day."""
    with tempfile.TemporaryDirectory() as folder:
        portfolio, results = found_in(folder, seed=seed, clients=clients)
        portfolio.close()
        truth = pd.read_parquet(Path(folder) / "truth" / "anomalies.parquet").rename(
            columns={"from": "first"}
        )
    results = results.assign(
        who=results["client_id"].where(results["client_id"].notna(), "portfolio")
    )
    truth = truth.assign(who=truth["client_id"].where(truth["scope"] == "client", "portfolio"))
    out = []
    for scope in ("client", "portfolio"):
        rows = truth[truth["detectable"] & (truth["scope"] == scope)]
        out += [len(rows), sum(is_named(results, row) for row in rows.itertuples())]
    known = [is_planted(truth, row) for row in results.itertuples()]
    return np.array([*out, len(results), len(results) - sum(known)])


def is_named(results: pd.DataFrame, row) -> bool:
    own = results[results["who"] == row.who]
    first, last = epoch_day(row.first) - 1, epoch_day(row.to) + 1
    return bool(((own["last_day"] >= first) & (own["first_day"] <= last)).any())


def is_planted(truth: pd.DataFrame, row) -> bool:
    """A customer's day that all had is a true one too."""
    own = truth[truth["who"].isin([row.who, "portfolio"])]
    first = own["first"].map(epoch_day) - 1
    last = own["to"].map(epoch_day) + 1
    return bool(((first <= row.last_day) & (row.first_day <= last)).any())


def null(seed: int, clients: int) -> tuple[int, float, int]:
    """Alarms of single customers, customer-years, alarms of the portfolio, where nothing was planted."""
    with tempfile.TemporaryDirectory() as folder:
        portfolio, results = found_in(folder, seed=seed, clients=clients, scenario="null")
        lived = daily(portfolio, portfolio.data_until + DAY).lived
        portfolio.close()
    own = int(results["client_id"].notna().sum())
    return own, float((lived[:, 1] - lived[:, 0]).sum()) / 365, len(results) - own


def nab_folder() -> Path | None:
    folder = Path(os.environ.get("HEALTHSEG_SHARED_DATA", ROOT.parent / "shared" / "data")) / "nab"
    return folder if folder.is_dir() else None


def nab(folder: Path) -> Series:
    """The series with their labelled windows."""
    windows = json.loads((folder / "windows.json").read_text(encoding="utf-8"))
    return {
        name: (
            pd.read_csv(folder / name, parse_dates=["timestamp"]),
            [(np.datetime64(first), np.datetime64(last)) for first, last in true_windows],
        )
        for name, true_windows in windows.items()
    }


def merged(moments: np.ndarray) -> list[tuple[np.datetime64, np.datetime64]]:
    """Alarms less than an hour apart as one."""
    begins = np.r_[True, np.diff(moments) > MERGED] if len(moments) else np.zeros(0, bool)
    parts = np.split(moments, np.flatnonzero(begins)[1:]) if len(moments) else []
    return [(part[0], part[-1]) for part in parts]


def scored(series: Series, flags: dict[str, np.ndarray]) -> dict[str, float]:
    """precision over alarms, recall over windows, their F1, alarms, and alarms a thousand points."""
    right = alarms = met = windows = points = 0
    for name, (frame, true_windows) in series.items():
        moments = frame["timestamp"].to_numpy()
        first = moments[int(len(moments) * SKIPPED)]
        announced = merged(moments[flags[name] & (moments >= first)])
        true_windows = [window for window in true_windows if window[1] >= first]
        right += sum(
            any(start <= last and end >= begin for begin, last in true_windows)
            for start, end in announced
        )
        met += sum(
            any(start <= last and end >= begin for start, end in announced)
            for begin, last in true_windows
        )
        alarms, windows, points = (
            alarms + len(announced),
            windows + len(true_windows),
            points + int((moments >= first).sum()),
        )
    precision, recall = right / max(alarms, 1), met / max(windows, 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    return {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "alarms": alarms,
        "per_1000": 1000 * alarms / points,
    }


def gaussian(series: Series, window: int) -> dict[str, np.ndarray]:
    """How many standard deviations each value lies from the mean of the ``window`` before it."""
    out = {}
    for name, (frame, _) in series.items():
        before = frame["value"].rolling(window)
        away = (frame["value"] - before.mean().shift(1)).abs().to_numpy()
        out[name] = np.nan_to_num(away / np.maximum(before.std().shift(1).to_numpy(), 1e-12))
    return out


def rivals(series: Series) -> tuple[dict, dict, tuple[int, float]]:
    """The rolling Gaussian at its best window and threshold, and that window at 3 σ."""
    best = None
    for window in WINDOWS:
        far = gaussian(series, window)
        for threshold in THRESHOLDS:
            announced = scored(series, {name: z > threshold for name, z in far.items()})
            if best is None or announced["f1"] > best[0]["f1"]:
                best = (announced, (window, threshold))
    plain = max(
        (
            scored(series, {name: z > 3 for name, z in gaussian(series, window).items()})
            for window in WINDOWS
        ),
        key=lambda announced: announced["f1"],
    )
    return best[0], plain, best[1]


def numenta(folder: Path) -> bool:
    """Prints the comparison; whether a reach was missed."""
    series = nab(folder)
    flags = {name: beyond_earlier(frame["value"].to_numpy()) for name, (frame, _) in series.items()}
    quiet, real = (
        {name: values for name, values in series.items() if name.startswith(kind)}
        for kind in ("art", "real")
    )
    silent, own = scored(quiet, flags), scored(real, flags)
    tuned, plain, (window, threshold) = rivals(real)
    print(f"series without anomaly: {silent['per_1000']:.2f} alarms a thousand points (reach 1)")
    rows = (
        ("beyond all before", own),
        (f"rolling Gaussian, best ({window} points, {threshold} σ)", tuned),
        ("rolling Gaussian, 3 σ, best window", plain),
    )
    for name, announced in rows:
        print(
            f"{name:45s} F1 {announced['f1']:.3f}  precision {announced['precision']:.3f}  recall {announced['recall']:.3f}  "
            f"alarms {announced['alarms']:3d}"
        )
    ratios = own["f1"] / tuned["f1"], own["f1"] / plain["f1"]
    print(f"F1 over the tuned {ratios[0]:.2f} (reach 1.15), over 3 σ {ratios[1]:.2f} (reach 1.5)")
    return silent["per_1000"] > 1 or ratios[0] < 1.15 or ratios[1] < 1.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--null-seeds", type=int, default=50)
    parser.add_argument("--clients", type=int, default=250)
    arguments, started, missed = parser.parse_args(), time.monotonic(), False
    folder = nab_folder()
    if folder is None:
        print(
            "the Numenta benchmark is not there: set HEALTHSEG_SHARED_DATA to the folder that holds nab/"
        )
    else:
        missed |= numenta(folder)
    total = sum(
        (planted(seed, arguments.clients) for seed in range(1, arguments.seeds + 1)),
        np.zeros(6, dtype=int),
    )
    for name, (many, met) in zip(
        ("single customers", "the portfolio"), (total[:2], total[2:4]), strict=True
    ):
        missed |= met < REACH_RECALL * many
        print(
            f"{name:18s} {met:4d} of {many:4d} detectable found ({met / max(many, 1):.3f}; reach {REACH_RECALL})"
        )
    reported, false = total[4:]
    missed |= false > REACH_FALSE * reported
    print(
        f"reported {reported}, on no planted day {false} ({false / max(reported, 1):.3f}; reach {REACH_FALSE})"
    )
    rows = [null(seed, arguments.clients) for seed in range(1, arguments.null_seeds + 1)]
    if rows:
        alarms, years, portfolios = (
            sum(row[0] for row in rows),
            sum(row[1] for row in rows),
            sum(row[2] > 0 for row in rows),
        )
        allowed = max((most for many, most in ALLOWED.items() if many <= len(rows)), default=0)
        missed |= 3 * alarms / years > REACH_ALARMS or portfolios > allowed
        print(
            f"null portfolios: {3 * alarms / years:.3f} alarms a customer in three years (reach {REACH_ALARMS}), "
            f"{portfolios} of {len(rows)} portfolios with one of their own (reach {allowed})"
        )
    print(f"{time.monotonic() - started:.0f} s")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
