"""What `track_usage_engagement` finds of what was planted, and what it finds where nothing was.

    python benchmarks/usage_truth.py [--seeds 20] [--demo-seeds 3] [--clients 250]

On demo portfolios: peaks (same weekday, an hour beside counts), champions four weeks after they left, the portfolio's
unusual days and customers', each over the items flagged detectable. On null portfolios (uniform weeks, constant users): how
many of them show a peak at any customer or in the whole portfolio, a departed champion, an unusual day. Exit status 1 where
a figure misses its reach.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

import healthseg as hs  # noqa: E402
from healthseg.clustering.rhythms import DAY_NAMES  # noqa: E402
from healthseg.demo import make_demo  # noqa: E402
from healthseg.metrics import panels as panel  # noqa: E402
from healthseg.metrics.counting import counting  # noqa: E402
from healthseg.metrics.users import hours_of  # noqa: E402
from healthseg.tools import portfolio_usage  # noqa: E402
from healthseg.tools.usage.sections import heatmap  # noqa: E402

DAY = dt.timedelta(days=1)
FIRST_DEMO = 7  # the seed of `healthseg demo`
WINDOW = 91 * DAY  # 13 whole weeks
REACH = 0.9  # of the detectable items
ALLOWED = {20: 1, 50: 2, 200: 4}  # null portfolios with a finding


def peaks_of(portfolio: hs.Portfolio, client: str, end: dt.date):
    """The heat map of the 13 weeks before ``end``, as a response of the tool has it."""
    start = max(end - WINDOW, portfolio.first_event_day)
    hours = hours_of(counting(portfolio, [client], start, end), start, end)
    return heatmap(hours, start, end, "", portfolio.settings)[0]


def last_days(portfolio: hs.Portfolio) -> dict[str, dt.date]:
    """The day after each customer's last."""
    rows = portfolio.table("customers")
    left = pd.to_datetime(rows["churned_on"])
    return {
        client: portfolio.data_until + DAY if pd.isna(day) else day.date()
        for client, day in zip(rows["client_id"], left, strict=True)
    }


def is_named(results, row: dict) -> bool:
    if row["kind"] == "weekday":
        return DAY_NAMES[int(row["weekday"])] in (results.peak_days or [])
    return any(cell.peak for hour, cell in enumerate(results.hours) if abs(hour - row["hour"]) <= 1)


def planted(clients: int, seed: int) -> list[tuple[str, int, int]]:
    """What was found of what, on a demo portfolio."""
    with tempfile.TemporaryDirectory() as folder:
        make_demo(folder, clients=clients, seed=seed, events="light")
        portfolio = hs.Portfolio.open(folder)
        ends = last_days(portfolio)
        truth = {
            name: pd.read_parquet(Path(folder) / "truth" / f"{name}.parquet").query("detectable")
            for name in ("rhythms", "champion_exits", "anomalies")
        }
        rows = truth["rhythms"].query("scope == 'client'").to_dict("records")
        maps = {
            client: peaks_of(portfolio, client, ends[client])
            for client in {row["id"] for row in rows}
        }
        peaks = [is_named(maps[row["id"]], row) for row in rows]
        exits = [
            hs.track_usage_engagement(
                portfolio, row.client_id, as_of=row.left_on + 28 * DAY
            ).dependence
            for row in truth["champion_exits"].itertuples()
        ]
        year = portfolio.data_until - 364 * DAY
        days = [day.date for day in portfolio_usage(portfolio).unusual_days]
        odd = [
            any(row["from"] <= day <= row["to"] for day in days)
            for row in truth["anomalies"].query("scope == 'portfolio'").to_dict("records")
            if row["from"] >= year
        ]
        own = [
            is_listed(portfolio, row)
            for row in truth["anomalies"].query("scope == 'client'").to_dict("records")
        ]
        portfolio.close()
    departed = sum(bool(part.champion_departed) for part in exits)
    return [
        ("peaks", sum(peaks), len(peaks)),
        ("departed champions", departed, len(exits)),
        ("unusual days of the portfolio", sum(odd), len(odd)),
        ("unusual days of customers", sum(own), len(own)),
    ]


def is_listed(portfolio: hs.Portfolio, row: dict) -> bool:
    last = min(row["to"] + 14 * DAY, portfolio.data_until + DAY)
    days = hs.track_usage_engagement(
        portfolio, row["client_id"], row["from"] - 14 * DAY, last
    ).unusual_days
    return any(row["from"] - DAY <= day.date <= row["to"] + DAY for day in days)


def null(seed: int, clients: int) -> dict[str, int]:
    """Findings in a portfolio where nothing was planted."""
    with tempfile.TemporaryDirectory() as folder:
        make_demo(folder, clients=clients, scenario="null", seed=seed, events="light")
        portfolio = hs.Portfolio.open(folder)
        rows = panel.panel(portfolio, [portfolio.data_until])
        departed = int((rows.loc[rows["live"], "champion_departed"] == 1).sum())
        maps = [peaks_of(portfolio, client, end) for client, end in last_days(portfolio).items()]
        all_rows = portfolio_usage(portfolio, lookback_period_days=91)
        portfolio.close()
    at_customers = sum(bool(results.peak_days or results.peak_hours) for results in maps)
    of_portfolio = bool(all_rows.activity_heatmap.peak_days or all_rows.activity_heatmap.peak_hours)
    return {
        "peak": at_customers + of_portfolio,
        "departed champion": departed,
        "unusual day": len(all_rows.unusual_days),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--demo-seeds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=250)
    options, started, missed = parser.parse_args(), time.monotonic(), False
    portfolios = [planted(options.clients, FIRST_DEMO + path) for path in range(options.demo_seeds)]
    for rows in zip(*portfolios, strict=True):
        name, results, of = rows[0][0], sum(row[1] for row in rows), sum(row[2] for row in rows)
        missed |= results < REACH * of
        share = results / max(of, 1)
        print(
            f"{name:26s} {results:4d} of {of:4d} detectable found ({share:.3f}; reach {REACH})",
            flush=True,
        )
    totals = {"peak": 0, "departed champion": 0, "unusual day": 0}
    for seed in range(1, options.seeds + 1):
        for name, results in null(seed, options.clients).items():
            totals[name] += results > 0
    allowed = max(
        (most for portfolios, most in ALLOWED.items() if portfolios <= options.seeds), default=0
    )
    for name, portfolios in totals.items():
        missed |= portfolios > allowed
        print(
            f"null portfolios with any {name:18s} {portfolios:3d} of {options.seeds} (reach {allowed})"
        )
    print(f"{time.monotonic() - started:.0f} s")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
