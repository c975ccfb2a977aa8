"""M3: `forecast` on the competition's 3,003 series, beside the methods that competed.

    python benchmarks/m3.py [--processes 2] [--rivals 10]

With ``--rivals``, every tenth series again beside the seasonal naive forecast and statsmodels' ETS (damped, additive).

Scores are means over series: sMAPE in per cent (0 to 200), MASE scaled by the
in-sample error of the seasonal naive forecast, the share of outcomes inside the
90% interval, and milliseconds of one core for each series. The test parts are
read by the scoring alone. Exit status 1 where the data are absent or a figure
misses what was set out to be reached.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

from healthseg.forecasting import forecast  # noqa: E402
from healthseg.forecasting.backtesting import scale, smape  # noqa: E402

SEASONS = {"YEARLY": 1, "QUARTERLY": 4, "MONTHLY": 12, "OTHER": 1}
CHUNK = 100  # series in one call
FIGURES = ["sMAPE", "MASE", "coverage"]
REACH = {"sMAPE": 12.6, "MASE": 1.36, "ms": 50.0}
COVERED, COVERED_EACH = (0.87, 0.93), (0.82, 0.96)


class DataAbsent(Exception):
    """The competition's series are not where they are looked for."""


def folder() -> Path:
    """Where the series lie; DataAbsent with what to do where they don't."""
    home = Path(os.environ.get("HEALTHSEG_SHARED_DATA") or ROOT.parent / "shared" / "data") / "m3"
    for name in ("m3_long.csv.gz", "m3_meta.csv", "m3_method_scores_recomputed.csv"):
        if not (home / name).is_file():
            raise DataAbsent(
                f"the M3 series are absent: no {name} in {home}; set HEALTHSEG_SHARED_DATA to the folder "
                "that holds m3/"
            )
    return home


def series(every: int = 1) -> list[tuple[str, str, np.ndarray, np.ndarray]]:
    """(name, period, train, test) of each ``every``-th series of each period."""
    home = folder()
    period = pd.read_csv(home / "m3_meta.csv").set_index("series")["period"]
    long = pd.read_csv(home / "m3_long.csv.gz").sort_values(["series", "part", "t"])
    parts = {key: part.to_numpy() for key, part in long.groupby(["series", "part"])["value"]}
    seconds_taken = period.groupby(period).nth(slice(None, None, every))
    return [
        (name, kind, parts[name, "train"], parts[name, "test"])
        for name, kind in seconds_taken.items()
    ]


def scored(batch: list[tuple[str, str, np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """One row per series, all of one period: period, ms, sMAPE, MASE, coverage."""
    kind = batch[0][1]
    horizon = len(batch[0][3])
    frame = pd.concat(
        [
            pd.DataFrame({"client_id": name, "date": np.arange(len(train)), "value": train})
            for name, _, train, _ in batch
        ]
    )
    start = time.process_time()
    got = forecast(frame, horizon, season_length=SEASONS[kind])
    ms = 1000 * (time.process_time() - start) / len(batch)
    by_name = {
        name: rows[["forecast", "lower", "upper"]].to_numpy().T
        for name, rows in got.groupby("client_id")
    }
    return pd.DataFrame(
        [
            {"period": kind, "ms": ms, **scores(SEASONS[kind], train, test, *by_name[name])}
            for name, _, train, test in batch
        ]
    )


def scores(
    season: int,
    train: np.ndarray,
    test: np.ndarray,
    point: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> dict:
    return {
        "sMAPE": smape(test, point).mean(),
        "MASE": np.abs(test - point).mean() / scale(train, season),
        "coverage": ((low <= test) & (test <= high)).mean(),
    }


def run(processes: int = 2, every: int = 1) -> pd.DataFrame:
    """Scores of every series, in batches over ``processes``."""
    seconds_taken = series(every)
    batches = [
        group[k : k + CHUNK]
        for kind in SEASONS
        for group in [[row for row in seconds_taken if row[1] == kind]]
        for k in range(0, len(group), CHUNK)
    ]
    if processes == 1:
        return pd.concat(map(scored, batches), ignore_index=True)
    with ProcessPoolExecutor(processes) as pool:
        return pd.concat(pool.map(scored, batches), ignore_index=True)


def table(results: pd.DataFrame) -> pd.DataFrame:
    """Means by period and in all."""
    columns = [*FIGURES, "ms"]
    rows = results.groupby("period")[columns].mean().reindex(list(SEASONS))
    rows.loc["ALL"] = results[columns].mean()
    rows.insert(
        0, "series", [*results["period"].value_counts().reindex(list(SEASONS)), len(results)]
    )
    return rows


def beside_rivals(every: int) -> pd.DataFrame:
    """sMAPE and MASE by period of each ``every``-th series: ours, the seasonal naive's, ETS's."""
    from forecast_series import ets  # which lies beside this file

    ours = run(1, every)
    rows = {"forecast": ours.groupby("period")[FIGURES[:2]].mean()}
    forecasts = {
        "seasonal naive": lambda train, horizon, season: np.resize(train[-season:], horizon),
        "ETS": ets,
    }
    for name, rival in forecasts.items():
        scored_rows = [
            {"period": kind}
            | scores(SEASONS[kind], train, test, rival(train, len(test), SEASONS[kind]), test, test)
            for _, kind, train, test in series(every)
        ]
        rows[name] = pd.DataFrame(scored_rows).groupby("period")[FIGURES[:2]].mean()
    counts = ours["period"].value_counts()
    for name, each in rows.items():
        rows[name].loc["ALL"] = each.mul(counts, axis=0).sum() / len(ours)
    return pd.concat(rows, axis=1).reindex([*SEASONS, "ALL"])


def missed(rows: pd.DataFrame) -> list[str]:
    """What was set out to be reached and is not."""
    overall = rows.loc["ALL"]
    words = [
        f"{name} {overall[name]:.3f} is over {most}"
        for name, most in REACH.items()
        if not overall[name] <= most
    ]
    for name, covered in rows["coverage"].items():
        least, most = COVERED if name == "ALL" else COVERED_EACH
        if not least <= covered <= most:
            words.append(f"coverage of {name} {covered:.3f} is outside {least} to {most}")
    return words


def main() -> int:
    reader = argparse.ArgumentParser(description="forecast on the M3 competition's series")
    reader.add_argument("--processes", type=int, choices=(1, 2), default=2)
    reader.add_argument("--rivals", type=int, help="beside rivals, on each so-manieth series")
    options = reader.parse_args()
    try:
        if options.rivals:
            print(beside_rivals(options.rivals).round(3).to_string())
            return 0
        rows = table(run(options.processes))
        others = pd.read_csv(folder() / "m3_method_scores_recomputed.csv", index_col="method")
    except DataAbsent as absent:
        print(absent, file=sys.stderr)
        return 1
    print(rows.round({"sMAPE": 2, "MASE": 3, "coverage": 3, "ms": 1}).to_string())
    print("\nbeside the competition's methods (all series)")
    print(
        others.loc[
            ["THETA", "ForecastPro", "COMB S-H-D", "DAMPEN", "NAIVE2"], ["sMAPE_ALL", "MASE_ALL"]
        ].to_string()
    )
    short = missed(rows)
    print("\n" + ("missed: " + "; ".join(short) if short else "all reached"))
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
