"""Which features are named as keeping customers, in portfolios by seven laws of our own whose causes are known?

    python benchmarks/patterns_features.py [--seeds 7] [--first 1] [--customers 700]

Customers differ by an engagement that moves slowly, by a quality that usage shows faintly, and by size; twelve features are used more
by the engaged, the good and the large. Two of them keep customers (log odds -1.1; none in each fourth seed). Churn follows beside them
``level`` engagement and quality, ``decline`` falls of engagement, ``silence`` idle seats and rare days, ``unseen`` quality almost
alone, ``size`` seats, ``breadth`` each feature a little, and in ``reverse`` usage collapses once the decision has been made. Of what is
named at most 1 in 10 may be no cause, and 8 of 10 causes are found. Intervals are held against the law's own odds ratio of the feature.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from healthseg.clustering.churn_patterns import USED, ChurnHypotheses, share_of_other_features
from healthseg.clustering.patterns import evaluate_patterns
from healthseg.settings import Settings

LAWS = ("level", "decline", "silence", "unseen", "size", "breadth", "reverse")
MONTHS, FEATURES, EFFECT = 18, 12, -1.1
MEMORY = 0.85  # of engagement from month to month


@dataclass
class Features:
    """Of each feature: how common, by whom it is used, and what it does to the log odds of churn."""

    level: np.ndarray
    by_engagement: np.ndarray
    by_quality: np.ndarray
    by_size: np.ndarray
    effects: np.ndarray
    causes: np.ndarray


def make_features(law: str, seed: int, rng: np.random.Generator) -> Features:
    level, by_engagement = rng.normal(-0.2, 1.0, FEATURES), rng.uniform(0.3, 1.0, FEATURES)
    by_quality = rng.uniform(0.2, 0.9, FEATURES) * (1.6 if law == "unseen" else 1)
    by_size = rng.uniform(*((0.8, 1.6) if law == "size" else (0.0, 0.3)), FEATURES)
    causes = rng.choice(FEATURES, 2, replace=False) if seed % 4 else np.array([], dtype=int)
    effects = np.full(FEATURES, -0.12 if law == "breadth" else 0.0)
    effects[causes] += EFFECT
    return Features(level, by_engagement, by_quality, by_size, effects, causes)


def log_odds(
    law: str, state: tuple[np.ndarray, ...], seats_used: np.ndarray, sticky: np.ndarray
) -> np.ndarray:
    """Beside what features do."""
    engagement, change, quality, size = state
    laws = {
        "level": -3.3 - 0.7 * engagement - 0.5 * quality,
        "decline": -3.3 - 1.0 * change - 0.4 * engagement,
        "silence": -3.6 + 1.4 * (seats_used < 0.4) - 0.5 * (sticky - 0.25) / 0.1,
        "unseen": -3.3 - 0.9 * quality - 0.2 * engagement,
        "size": -3.3 - 0.9 * size - 0.3 * engagement,
        "breadth": -2.7 - 0.5 * engagement,
        "reverse": -3.7 - 0.3 * engagement,
    }
    return laws[law]


def simulate(
    law: str, seed: int, customers: int
) -> tuple[pd.DataFrame, dict[str, np.ndarray], Features]:
    """Month rows as the patterns read them, which features were in use by month row, and the truth."""
    rng = np.random.default_rng([seed, LAWS.index(law)])
    seats = np.maximum(2, np.round(np.exp(rng.normal(2.2, 0.8, customers))))
    size = (np.log(seats) - 2.2) / 0.8
    quality, engagement = rng.normal(size=(2, customers))
    new = rng.random(customers) < 0.3
    start = np.where(new, rng.integers(0, MONTHS - 3, customers), -1)
    age, taste = rng.integers(0, 900, customers), rng.normal(0, 1.2, (customers, FEATURES))
    features = make_features(law, seed, rng)
    frailty, live = rng.normal(0, 0.5, customers), np.ones(customers, dtype=bool)
    uses = expit(features.level + taste) > rng.random((customers, FEATURES))
    rows, used, before = [], [], np.full(customers, np.nan)
    for month in range(MONTHS):
        moved = MEMORY * engagement + np.sqrt(1 - MEMORY**2) * rng.normal(size=customers)
        change, engagement = moved - engagement, moved
        at_risk, shown = live & (start < month), engagement.copy()
        lost = np.zeros(customers, dtype=bool)
        if law == "reverse":  # who has decided uses less within the same days
            state = (engagement, change, quality, size)
            odds = log_odds(law, state, shown, shown) + frailty + (features.effects * uses).sum(1)
            lost = at_risk & (rng.random(customers) < expit(odds))
            shown = engagement - 1.6 * lost
        noise = rng.normal(size=(3, customers))
        seats_used = expit(1 + 0.8 * shown + 0.5 * quality + 0.5 * noise[0])
        sticky = expit(-1.2 + 0.6 * shown + 0.4 * quality + 0.4 * noise[1])
        events = rng.poisson(seats * seats_used * 35 * np.exp(0.4 * shown + 0.3 * noise[2]))
        wants = features.level + taste + features.by_engagement * 0.8 * shown[:, None]
        wants = wants + features.by_quality * quality[:, None] + features.by_size * size[:, None]
        turns = rng.random(uses.shape) < 0.35
        uses = np.where(turns, rng.random(uses.shape) < expit(wants), uses)
        if law != "reverse":
            state = (engagement, change, quality, size)
            effect = (features.effects * uses).sum(1) - 0.3 * features.effects.sum()
            odds = log_odds(law, state, seats_used, sticky) + frailty + effect
            lost = at_risk & (rng.random(customers) < expit(odds))
        table = pd.DataFrame(
            {
                "client_id": [f"c{at:04d}" for at in range(customers)],
                "date": pd.Timestamp("2024-05-10") + pd.Timedelta(days=30 * month),
                "outcome": lost.astype(int),
                "seats": seats,
                "tenure_days": age + 30.0 * month,
                "tier": np.where(seats > 12, "large", "small"),
                "person_events_before": before,
                "person_events_28d": events.astype(float),
            }
        )
        rows.append(table[at_risk])
        used.append(uses[at_risk].astype(float))
        before, live = np.where(at_risk, events, np.nan), live & ~lost
    shown_by = np.concatenate(used)
    names = {USED + f"feature_{at:02d}": shown_by[:, at] for at in range(FEATURES)}
    return pd.concat(rows, ignore_index=True), names, features


def study(law: str, seed: int, customers: int, settings: Settings) -> dict[str, int | str]:
    months, uses, features = simulate(law, seed, customers)
    beside = {key: share_of_other_features(key, uses, len(months)) for key in uses}
    family = ChurnHypotheses(months, settings).family("habit", uses, beside)
    judged = evaluate_patterns([family], settings).set_index("key")
    named = set(judged.index[judged["passes"] & (judged["lift"] < 1)])
    causes = {USED + f"feature_{at:02d}" for at in features.causes}
    ratio = pd.Series(np.exp(features.effects), index=list(uses)).reindex(judged.index)
    inside = (judged["hazard_lower"] <= ratio) & (ratio <= judged["hazard_upper"])
    return {
        "law": law,
        "churned": int(months["outcome"].sum()),
        "named": len(named),
        "no cause": len(named - causes),
        "causes": len(causes),
        "causes named": len(named & causes),
        "intervals": len(judged),
        "hold": int(inside.sum()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=7)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--customers", type=int, default=700)
    options, settings = parser.parse_args(), Settings()
    seeds = range(options.first, options.first + options.seeds)
    rows = [study(law, seed, options.customers, settings) for law in LAWS for seed in seeds]
    table = pd.DataFrame(rows).groupby("law", sort=False).sum()
    table.loc["together"] = table.sum()
    print(table.to_string())
    total = table.loc["together"]
    reached = total["no cause"] <= 0.1 * total["named"]
    return int(not (reached and total["causes named"] >= 0.8 * total["causes"]))


if __name__ == "__main__":
    sys.exit(main())
