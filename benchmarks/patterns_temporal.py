"""Rhythms of the week: what is found of what was planted, and what is found where nothing was.

    python benchmarks/patterns_temporal.py [--seeds 20] [--null-seeds 50] [--clients 250]

On demo portfolios: peaks of single customers in the 91 days before their last and of the portfolio in its last 91, flagged
detectable (same weekday, an hour beside counts), and the share of reported peaks that were not planted. In the same
portfolios sequences of topics and messages that stand out, against the laws that they were drawn by. On null portfolios: those in
which the portfolio, or any of its customers, shows a rhythm, a message or a sequence. Each customer's response is a call of its
own, with a false-discovery family of its own. Exit status 1 where a figure misses its reach.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

import healthseg as hs  # noqa: E402
from healthseg.clustering.communication import communication  # noqa: E402
from healthseg.clustering.patterns import evaluate_patterns  # noqa: E402
from healthseg.clustering.rhythms import DAY_NAMES  # noqa: E402
from healthseg.clustering.support import ARROW, support  # noqa: E402
from healthseg.clustering.temporal import temporal  # noqa: E402
from healthseg.demo import make_demo  # noqa: E402
from healthseg.settings import Settings  # noqa: E402

DAY = dt.timedelta(days=1)
WINDOW, YEAR = 91 * DAY, 365 * DAY
REACH_RECALL, REACH_FALSE = 0.9, 0.1
ALLOWED = {20: 1, 50: 2, 200: 4}  # null portfolios with a pattern of all customers together


def last_days(portfolio: hs.Portfolio) -> dict[str, dt.date]:
    """The day after each customer's last."""
    rows = portfolio.table("customers")
    left = pd.to_datetime(rows["churned_on"])
    return {
        client: portfolio.data_until + DAY if pd.isna(day) else day.date()
        for client, day in zip(rows["client_id"], left, strict=True)
    }


def passing(families: list) -> pd.DataFrame:
    judged = evaluate_patterns(
        [family for family in families if family is not None], Settings(pattern_resamples=50)
    )
    return judged[judged["passes"].astype(bool)]


def peaks(portfolio: hs.Portfolio, clients: list[str], end: dt.date) -> set[str]:
    """Days and hours with more sessions than their like."""
    reported = passing(
        [temporal(portfolio, clients, max(end - WINDOW, portfolio.first_event_day), end).family]
    )
    return set(
        reported.loc[(reported["lift"] > 1) & ~reported["key"].str.startswith("part:"), "key"]
    )


def keys_of(row) -> set[str]:
    if row.kind == "weekday":
        return {f"day:{DAY_NAMES[int(row.weekday)]}"}
    return {f"hour:{(int(row.hour) + away) % 24:02d}" for away in (-1, 0, 1)}


def whole_portfolio(portfolio: hs.Portfolio) -> pd.DataFrame:
    """What passes of the portfolio's rhythms of a quarter, messages and sequences of a year, judged together."""
    clients, end = sorted(last_days(portfolio)), portfolio.data_until + DAY
    return passing(
        [
            temporal(portfolio, clients, end - WINDOW, end).family,
            communication(portfolio, clients, end - YEAR, end).family,
            support(portfolio, clients, end - YEAR, end).family,
        ]
    )


def planted(seed: int, clients: int) -> np.ndarray:
    """Detectable peaks and found ones, reported peaks and false ones; sequences reported and false; messages too."""
    with tempfile.TemporaryDirectory() as folder:
        make_demo(folder, seed=seed, clients=clients, events="light")
        portfolio = hs.Portfolio.open(folder)
        truth = pd.read_parquet(Path(folder) / "truth" / "rhythms.parquet")
        law = pd.read_parquet(Path(folder) / "truth" / "support_law.parquet")
        reported = {
            client: peaks(portfolio, [client], end) for client, end in last_days(portfolio).items()
        }
        all_seeds = whole_portfolio(portfolio)
        portfolio.close()
    reported["portfolio"] = set(all_seeds.loc[all_seeds["lift"] > 1, "key"])
    detectable = list(truth[truth["detectable"]].itertuples())
    results = sum(bool(reported.get(row.id, set()) & keys_of(row)) for row in detectable)
    known = {(row.id, key) for row in truth.itertuples() for key in keys_of(row)}
    own = [
        (client, key) for client, keys in reported.items() for key in keys if client != "portfolio"
    ]
    pairs = all_seeds[(all_seeds["kind"] == "support") & (all_seeds["key"].str.count(ARROW) == 1)]
    return np.array(
        [
            len(detectable),
            results,
            len(own),
            sum(each not in known for each in own),
            len(pairs),
            sum(not follows(law, row) for row in pairs.itertuples()),
        ]
    )


def follows(law: pd.DataFrame, row) -> bool:
    """Whether the planted law sends tickets that way more (less) often than the topics' own shares."""
    topic, following = row.key.split(ARROW)
    share = law.groupby("next_topic")["p"].mean()
    p = law.loc[(law["topic"] == topic) & (law["next_topic"] == following), "p"].iloc[0]
    return bool((p > share[following]) == (row.lift > 1))


def null(seed: int, clients: int) -> np.ndarray:
    """Whether the portfolio shows a pattern; customers that show one."""
    with tempfile.TemporaryDirectory() as folder:
        make_demo(folder, seed=seed, clients=clients, scenario="null", events="light")
        portfolio = hs.Portfolio.open(folder)
        all_seeds = len(whole_portfolio(portfolio))
        single = sum(
            bool(peaks(portfolio, [client], end)) for client, end in last_days(portfolio).items()
        )
        portfolio.close()
    return np.array([all_seeds > 0, single])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--null-seeds", type=int, default=50)
    parser.add_argument("--clients", type=int, default=250)
    options, started, missed = parser.parse_args(), time.monotonic(), False
    total = sum(
        (planted(seed, options.clients) for seed in range(1, options.seeds + 1)),
        np.zeros(6, dtype=int),
    )
    missed |= total[1] < REACH_RECALL * total[0]
    print(
        f"peaks {total[1]} of {total[0]} detectable found ({total[1] / max(total[0], 1):.3f}; reach {REACH_RECALL})"
    )
    for name, (many, false) in (("peaks", total[2:4]), ("sequences of two topics", total[4:])):
        missed |= false > REACH_FALSE * many
        print(
            f"{name} reported {many}, false {false} ({false / max(many, 1):.3f}; reach {REACH_FALSE})"
        )
    rows = sum(
        (null(seed, options.clients) for seed in range(1, options.null_seeds + 1)),
        np.zeros(2, dtype=int),
    )
    allowed = max((most for many, most in ALLOWED.items() if many <= options.null_seeds), default=0)
    missed |= rows[0] > allowed
    print(
        f"null portfolios with a pattern of all customers {rows[0]} of {options.null_seeds} (reach {allowed}); "
        f"single customers with a peak {rows[1]} of {options.null_seeds * options.clients}"
    )
    print(f"{time.monotonic() - started:.0f} s")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
