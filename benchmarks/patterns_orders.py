"""How often an order of features is reported where every behaviour runs at a constant rate, and where one is planted.

    python benchmarks/patterns_orders.py [--portfolios 50]

The law shares nothing with the demo portfolio: first uses after exponential waits, at rates that are unequal between
features and customers and correlated within customers (a common factor and three further ones, of either sign, so that
some features go together and others replace each other). In the second law the rates rise with tenure. Where an order is
planted, a share of the customers takes the second feature some weeks after the first, which begins after 30 days; where the
others take the second early, its reverse is as frequent, and there is no order to report.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import pandas as pd

from healthseg.clustering.patterns import PatternLimits, evaluate_patterns
from healthseg.clustering.sequences import sequences
from healthseg.settings import Settings

FEATURES = 10
GROWTH = 1.3
NEAR = 60
PLANTED = "f0 → f1"


def first_uses(
    customers: int, seed: int, *, rising: bool = False, planted_share: float = 0.0
) -> pd.DataFrame:
    """First uses of ten features at constant correlated rates; with a share, f1 follows f0 after some 20 days."""
    random = np.random.default_rng(seed)
    base = np.exp(random.normal(np.log(1 / 80), 1.2, FEATURES))
    loadings = random.normal(0, 0.8, (4, FEATURES))
    loadings[0] = 0.8
    rates = base * np.exp(random.normal(0, 1, (customers, 4)) @ loadings)
    waits = random.exponential(1, rates.shape) / rates
    if rising:
        waits = (waits * 60 ** (GROWTH - 1) * GROWTH) ** (1 / GROWTH)
    waits = np.ceil(waits)
    if planted_share:
        waits[:, 0] = 30 + np.ceil(random.exponential(50, customers))
        follows = random.random(customers) < planted_share
        gaps = np.ceil(20 * np.exp(random.normal(0, 0.4, customers)))
        waits[:, 1] = np.where(follows, waits[:, 0] + gaps, waits[:, 1])
    until = random.integers(90, 540, customers).astype(float)[:, None]
    return pd.DataFrame(
        {
            "client_id": np.repeat([f"c{at:04d}" for at in range(customers)], FEATURES),
            "feature": np.tile([f"f{at}" for at in range(FEATURES)], customers),
            "from_day": 0.0,
            "until_day": np.repeat(until.ravel(), FEATURES),
            "first_use_day": np.where(waits < until, waits, np.nan).ravel(),
            "watched": True,
        }
    )


def reported(lives: pd.DataFrame) -> list[str]:
    """The orders that pass."""
    settings = Settings()
    orders = sequences(lives, PatternLimits(support=settings.pattern_min_customers), settings)
    evaluated = evaluate_patterns([orders.family], settings)
    return evaluated.loc[evaluated["passes"], "key"].tolist()


def is_clear(lives: pd.DataFrame) -> bool:
    """Whether f1 comes within 60 days after f0 twice as often as before it: else there is no order to report."""
    days = lives.pivot(index="client_id", columns="feature", values="first_use_day")
    later = days["f1"] - days["f0"]
    return bool(later.between(1, NEAR).sum() >= 2 * later.between(-NEAR, -1).sum())


def main() -> bool:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--portfolios", type=int, default=50)
    seeds = range(parser.parse_args().portfolios)
    good = True
    for customers in (150, 500):
        for rising in (False, True):
            count = sum(
                bool(reported(first_uses(customers, seed, rising=rising))) for seed in seeds
            )
            law = "rising" if rising else "constant"
            print(f"{customers} customers, {law} rates: {count} of {len(seeds)} report an order")
            good &= count <= max(1, len(seeds) // 25)
    for share in (0.3, 0.4, 0.6):
        portfolios = [first_uses(400, seed, planted_share=share) for seed in seeds]
        found = [PLANTED in reported(lives) for lives in portfolios]
        clear = [is_clear(lives) for lives in portfolios]
        both = sum(one and two for one, two in zip(found, clear, strict=True))
        print(
            f"400 customers, planted in {share:.0%}: {sum(found)} of {len(seeds)} recovered, {both} of the {sum(clear)}"
            " in which the order is twice as frequent as its reverse"
        )
        good &= both >= 0.9 * sum(clear)
    return good


if __name__ == "__main__":
    sys.exit(not main())
