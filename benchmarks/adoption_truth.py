"""What track_feature_adoption finds in portfolios whose truth is known, over many seeds.

    python benchmarks/adoption_truth.py [--seeds 20] [--first 1] [--clients N] [--scenario NAME]...

null: portfolios with any effect at q; confounded: a raw effect that larger customers explain; effects: two features that
keep customers (odds ratio <= 0.4), recovered where the adjusted 95% interval excludes 1; default: adoption days.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

import healthseg as hs
from healthseg.demo import make_demo
from healthseg.scoring.adoption_effects import OVERALL, adoption_effects
from healthseg.tools.adoption.features import FeatureUsage

FEATURE = "file_sharing"
DEFAULT = ("null", "confounded", "default", "effects")


def portfolios(
    scenario: str, seeds: range, clients: int | None
) -> Iterator[tuple[int, FeatureUsage, Path]]:
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            make_demo(folder, clients=clients, seed=seed, scenario=scenario, events="light")
            portfolio = hs.Portfolio.open(folder)
            yield seed, FeatureUsage.of(portfolio, portfolio.as_of(), 30), Path(folder)
            portfolio.close()


def null(seeds: range, clients: int | None) -> bool:
    """No feature, and none of the three overall figures, stands out where nothing was planted."""
    results = []
    for seed, figures, _ in portfolios("null", seeds, clients):
        frame = adoption_effects(
            figures.portfolio, figures.as_of, figures.period_days, figures.messages_known
        ).frame
        hits = frame[frame[["q", "odds_q"]].min(axis=1) <= figures.settings.effects_max_q]
        results.append(len(hits) > 0)
        print(
            f"  null {seed}: smallest q {frame['q'].min():.3f}, of odds {frame['odds_q'].min():.3f}, tried "
            f"{frame[['p', 'odds_p']].notna().sum().sum()}, found {hits['name'].tolist()}",
            flush=True,
        )
    print(
        f"null: any adjusted effect in {sum(results)} of {len(seeds)} portfolios (at most 1 of 20)",
        flush=True,
    )
    return sum(results) <= max(1, len(seeds) // 20)


def confounded(seeds: range, clients: int | None) -> bool:
    """Large customers adopt a feature and stay: raw it seems to keep them, adjusted it does not."""
    raw, covered, tried = 0, 0, 0
    for seed, figures, _ in portfolios("confounded", seeds, clients):
        row = adoption_effects(
            figures.portfolio, figures.as_of, figures.period_days, figures.messages_known
        ).of(FEATURE)
        tried += row["raw"] == row["raw"]
        raw += row["raw_p"] < 0.05
        covered += row["adjusted_lower"] <= 0 <= row["adjusted_upper"]
        print(
            f"  confounded {seed}: raw {row['raw']:.3f} (p {row['raw_p']:.4f}), adjusted {row['adjusted']:.3f} "
            f"[{row['adjusted_lower']:.3f}, {row['adjusted_upper']:.3f}]",
            flush=True,
        )
    print(
        f"confounded: raw significant in {raw} of {tried} (19 of 20), adjusted interval holds 0 in {covered} of "
        f"{tried} (18 of 20)",
        flush=True,
    )
    return raw >= 0.95 * len(seeds) and covered >= 0.9 * len(seeds)


def planted(seeds: range, clients: int | None) -> bool:
    """Of the features that keep customers, flagged detectable: how many are recovered?"""
    recovered, spoken, n, others = 0, 0, 0, 0
    for seed, figures, folder in portfolios("effects", seeds, clients):
        known = pd.read_parquet(folder / "truth" / "feature_effects.parquet")
        causes = known[(known["role"] == "cause") & known["detectable"]]["feature"]
        results = adoption_effects(
            figures.portfolio, figures.as_of, figures.period_days, figures.messages_known
        )
        for name in causes:
            row = results.of(name)
            good, sentence = (
                row["odds_upper"] < 1,
                min(row["q"], row["odds_q"]) <= figures.settings.effects_max_q,
            )
            recovered, spoken, n = recovered + good, spoken + sentence, n + 1
            print(
                f"  effects {seed}: {name} odds ratio {row['odds_ratio']:.2f} [{row['odds_lower']:.2f}, "
                f"{row['odds_upper']:.2f}], q {row['odds_q']:.4f}; of the correlation {row['q']:.4f}",
                flush=True,
            )
        rest = results.frame[~results.frame["name"].isin([*causes, *OVERALL])]
        others += int((rest[["q", "odds_q"]].min(axis=1) <= figures.settings.effects_max_q).sum())
    print(
        f"effects: {recovered} of {n} detectable recovered (90%), {spoken} also at the false-discovery rate; "
        f"{others} of the other features too (breadth itself keeps customers)",
        flush=True,
    )
    return recovered >= 0.9 * n


def days(seeds: range, clients: int | None) -> bool:
    """The day of adoption and of first use of every pair flagged detectable; and the order of planted sequences."""
    equal, n, ordered, sequences = 0, 0, 0, 0
    for _, figures, folder in portfolios("default", seeds[:3], clients):
        known = pd.read_parquet(folder / "truth" / "adoptions.parquet").query("detectable")
        rows = known.merge(figures.lives, on=["client_id", "feature"], how="left")
        same = [
            (pd.to_datetime(rows[planted]) - pd.Timestamp(0)).dt.days == rows[column]
            for planted, column in (
                ("adopted_on", "adopted_day"),
                ("first_event_on", "first_use_day"),
            )
        ]
        equal, n = equal + int((same[0] & same[1]).sum()), n + len(rows)
        for row in (
            pd.read_parquet(folder / "truth" / "sequences.parquet").query("detectable").itertuples()
        ):
            ordered, sequences = (
                ordered + in_order(figures, json.loads(row.features)),
                sequences + 1,
            )
    print(f"adoption days: {equal} of {n} pairs equal to the day (90%)", flush=True)
    print(
        f"feature order: {ordered} of {sequences} planted sequences are the order of most that took all their steps "
        "(90%)",
        flush=True,
    )
    return equal >= 0.9 * n and ordered >= 0.9 * sequences


def in_order(figures: FeatureUsage, features: list[str]) -> bool:
    """Whether the planted order is commoner than all others together among those seen taking every step."""
    lives = figures.lives
    first = lives[lives["watched"]].pivot(
        index="client_id", columns="feature", values="first_use_day"
    )
    steps = first[features].dropna().diff(axis=1).iloc[:, 1:]
    return bool((steps > 0).all(axis=1).mean() > 0.5)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--clients", type=int)
    parser.add_argument("--scenario", action="append", choices=DEFAULT)
    arguments = parser.parse_args()
    studies = {"null": null, "confounded": confounded, "default": days, "effects": planted}
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    reached = [studies[name](seeds, arguments.clients) for name in arguments.scenario or DEFAULT]
    return int(not all(reached))


if __name__ == "__main__":
    sys.exit(main())
