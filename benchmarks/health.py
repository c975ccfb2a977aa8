"""One warm calculate_health_score: 200 calls over distinct customers of the demo portfolio, beside a bare forecast.

python benchmarks/health.py [--clients 250] [--calls 200]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time

import numpy as np
import pandas as pd

import healthseg as hs
from healthseg.demo import make_demo
from healthseg.forecasting import forecast
from healthseg.tools import portfolio_health


def timed(call, *arguments, **named) -> float:
    start = time.perf_counter()
    call(*arguments, **named)
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=250)
    parser.add_argument("--calls", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        making = timed(make_demo, folder, clients=options.clients)
        portfolio = hs.Portfolio.open(folder)
        ids = portfolio.table("customers")["client_id"].tolist()
        facts = timed(lambda: portfolio.reports)
        first = timed(hs.calculate_health_score, portfolio, ids[-1])
        churned = portfolio.table("customers").query("churned_on == churned_on")["client_id"]
        if len(churned):
            timed(hs.calculate_health_score, portfolio, churned.iloc[0])
        calls = np.array(
            [timed(hs.calculate_health_score, portfolio, client) for client in ids[: options.calls]]
        )
        duration = timed(portfolio_health, portfolio)
        weeks = pd.date_range("2024-10-11", periods=53, freq="7D")
        series = pd.DataFrame(
            {"client_id": "a", "date": weeks, "value": 70 + 5 * np.sin(np.arange(53.0))}
        )
        bare = np.median(
            [timed(forecast, series, 13, lower_bound=0, upper_bound=100) for _ in range(20)]
        )
    p95 = np.quantile(calls, 0.95)
    print(
        f"the demo portfolio of {options.clients} customers: {making:.1f} s (reach 8 for 250); facts {facts:.1f} s"
    )
    print(f"first call (panel and back-test built): {first:.2f} s")
    print(
        f"warm call over {len(calls)} customers: median {1000 * np.median(calls):.0f} ms, p95 {1000 * p95:.0f} ms "
        f"(reach 100), {p95 / bare:.1f} x one bare forecast of 53 weeks"
    )
    print(f"the whole portfolio: {duration:.2f} s")
    return int(p95 > 0.1)


if __name__ == "__main__":
    sys.exit(main())
