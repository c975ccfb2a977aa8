"""What segment_customers finds in portfolios whose groups are known, and in portfolios without any, over many seeds.

    python benchmarks/segments_truth.py [--seeds 20] [--clouds 20] [--study NAME]...

segments: the planted number of groups and the adjusted Rand index with them; null: demo portfolios without effects, `custom`
and the criteria types (no stable segments, no insight); clouds: independent, correlated, skewed and counted values.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from scipy import stats  # noqa: E402
from sklearn.metrics import adjusted_rand_score  # noqa: E402

import healthseg as hs  # noqa: E402
from healthseg.clustering.groups import grouping  # noqa: E402
from healthseg.clustering.mixture import METHODS  # noqa: E402
from healthseg.demo import make_demo  # noqa: E402
from healthseg.settings import Settings  # noqa: E402
from healthseg.tools.context import PortfolioContext  # noqa: E402
from healthseg.tools.segmentation import SegmentedCustomers, segmented  # noqa: E402
from healthseg.tools.segmenters import segmenter_of  # noqa: E402
from healthseg.tools.segments.comparison import (  # noqa: E402
    differences,
    significant_differences,
)
from healthseg.tools.segments.tool import checked_criteria  # noqa: E402

KINDS = ("independent", "correlated", "correlated skewed", "correlated counts")
CRITERIA = ("value", "usage", "health", "industry", "lifecycle")


def portfolios(scenario: str, seeds: int) -> Iterator[tuple[int, PortfolioContext, Path]]:
    for seed in range(1, seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            make_demo(folder, seed=seed, scenario=scenario, events="light")
            portfolio = hs.Portfolio.open(folder)
            yield seed, PortfolioContext.of(portfolio, portfolio.as_of()), Path(folder)
            portfolio.close()


def placed(
    context: PortfolioContext, kind: str, criteria: dict[str, Any] | None = None
) -> SegmentedCustomers:
    """The segments of a type with the defaults of the tool."""
    checked = checked_criteria(kind, criteria or {}, context.settings, 10)
    return segmented(segmenter_of(context, kind, checked, 5, 10), 5, 10, "benchmark")


def planted(seeds: int) -> bool:
    """The true number of groups, and who belongs together."""
    good = dict.fromkeys(METHODS, 0)
    for seed, context, folder in portfolios("segments", seeds):
        known = pd.read_parquet(folder / "truth" / "segments.parquet").set_index("client_id")[
            "segment"
        ]
        reported = []
        for method in METHODS:
            segments = placed(context, "custom", {"method": method})
            people = segments.number[segments.number < segments.placed]
            index = adjusted_rand_score(
                pd.factorize(known.reindex(people.index))[0], people.to_numpy()
            )
            good[method] += segments.placed == 4 and index >= 0.9
            reported.append(f"{method}: {segments.placed} segments, adjusted Rand {index:.3f}")
        print(f"  segments {seed}: {'; '.join(reported)}", flush=True)
    print(
        "segments: 4 groups with an adjusted Rand index of 0.9 or more in "
        + ", ".join(f"{count} of {seeds} by {method}" for method, count in good.items())
        + " (18 of 20)",
        flush=True,
    )
    return min(good.values()) >= 0.9 * seeds


def significant_metrics(context: PortfolioContext, kind: str) -> list[str]:
    """The metrics in which segments differ significantly."""
    segments, settings = placed(context, kind), context.settings
    names = [part.name for part in segments.segments if part.placed]
    rows = context.live.assign(score=context.live["shown"])
    tried = differences(rows, segments.names, names, segments.segmenter.ingredients, settings)
    level = settings.effects_interval_level
    return [f"{kind}: {row.metric}" for row in significant_differences(tried, level)]


def null(seeds: int) -> bool:
    """Demo portfolios in which nothing was planted: no stable segments, and no difference that is spoken of."""
    quiet = dict.fromkeys((*METHODS, "insights"), 0)
    for seed, context, _ in portfolios("null", seeds):
        for method in METHODS:
            groups = placed(context, "custom", {"method": method}).segmenter.grouping
            quiet[method] += groups is not None and groups.reason is not None
        texts = [text for kind in CRITERIA for text in significant_metrics(context, kind)]
        quiet["insights"] += not texts
        print(f"  null {seed}: insights {texts or 'none'}", flush=True)
    silent = ", ".join(f"{count} of {seeds} ({name})" for name, count in quiet.items())
    print(f"null: silent in {silent} (19 of 20)", flush=True)
    return min(quiet.values()) >= seeds - max(1, seeds // 20)


def cloud(kind: str, seed: int, customers: int = 200) -> pd.DataFrame:
    """One cloud of four metrics without groups."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((customers, 4))
    if "correlated" in kind:
        loads = rng.normal(size=(4, 2))
        covariance = loads @ loads.T + 0.5 * np.eye(4)
        spread = np.sqrt(np.diag(covariance))
        z = z @ np.linalg.cholesky(covariance / np.outer(spread, spread)).T
    if "skewed" in kind:
        z = np.exp(z)
    if "counts" in kind:
        z = stats.poisson.ppf(stats.norm.cdf(z), np.array([0.7, 2, 5, 20]))
    return pd.DataFrame(z, index=[f"c{at:03d}" for at in range(customers)], columns=list("abcd"))


def clouds(seeds: int) -> bool:
    """Values of every kind without groups."""
    reached = True
    for kind in KINDS:
        for method in METHODS:
            silent = sum(
                grouping(cloud(kind, seed), method, 5, 8, Settings()).reason is not None
                for seed in range(seeds)
            )
            reached &= silent >= seeds - max(1, seeds // 20)
            print(
                f"clouds: {kind}, {method}: no stable segments in {silent} of {seeds} (19 of 20)",
                flush=True,
            )
    return reached


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--clouds", type=int, default=20)
    parser.add_argument("--study", action="append", choices=("segments", "null", "clouds"))
    options = parser.parse_args()
    studies = {
        "segments": lambda: planted(options.seeds),
        "null": lambda: null(options.seeds),
        "clouds": lambda: clouds(options.clouds),
    }
    reached = [studies[name]() for name in options.study or studies]
    return int(not all(reached))


if __name__ == "__main__":
    sys.exit(main())
