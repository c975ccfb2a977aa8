"""Who is among the riskiest under any reasonable weights and thresholds, and who only under some?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from healthseg.scoring.health import score_panel
from healthseg.settings import Component, Scorecard, ScorecardMetric, Settings

WEIGHTS = 0.5  # each weight is multiplied by up to 1 ± this
THRESHOLDS = 0.2  # each metric's anchors are multiplied by up to 1 ± this
ALWAYS, SOMETIMES = 0.9, 0.1


def ranks(
    today: pd.DataFrame, config: Settings, accounts: int, draws: int, seed: int
) -> pd.DataFrame:
    """How often is each customer among the ``accounts`` lowest scores when weights and thresholds are others?

    ``today`` are rows of the panel of one date. Columns: client_id, score, rank (1 the lowest), share (of the draws),
    rank_low, rank_high (5th and 95th percentile), verdict (always, sometimes, never). Withheld scores are out.
    """
    plain = score_panel(today, config).frame
    known = plain["score"].notna().to_numpy()
    rng = np.random.default_rng(seed)
    drawn = np.stack(
        [
            _ranked(score_panel(today, _perturbed(config, rng)).frame["score"].to_numpy()[known])
            for _ in range(draws)
        ]
    )
    share = (drawn <= accounts).mean(axis=0)
    low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
    frame = pd.DataFrame(
        {
            "client_id": plain["client_id"].to_numpy()[known],
            "score": plain["score"].to_numpy()[known],
            "rank": _ranked(plain["score"].to_numpy()[known]),
            "share": share,
            "rank_low": low,
            "rank_high": high,
            "verdict": np.select(
                [share >= ALWAYS, share >= SOMETIMES], ["always", "sometimes"], "never"
            ),
        }
    )
    return frame.sort_values(
        ["share", "rank", "client_id"],
        ascending=[False, True, True],
        kind="stable",
        ignore_index=True,
    )


def _ranked(scores: np.ndarray) -> np.ndarray:
    return pd.Series(scores).rank(method="first").to_numpy()


def _perturbed(config: Settings, rng: np.random.Generator) -> Settings:
    parts = {
        name: Component(
            weight=part.weight * _factor(rng, WEIGHTS),
            metrics=tuple(_moved(metric, rng) for metric in part.metrics),
        )
        for name, part in config.scorecard.components.items()
    }
    return config.model_copy(
        update={"scorecard": Scorecard(components=parts), "scorecard_variants": ()}
    )


def _moved(metric: ScorecardMetric, rng: np.random.Generator) -> ScorecardMetric:
    by = _factor(rng, THRESHOLDS)
    anchors = tuple((value * by, points) for value, points in metric.anchors)
    return metric.model_copy(
        update={"weight": metric.weight * _factor(rng, WEIGHTS), "anchors": anchors}
    )


def _factor(rng: np.random.Generator, reach: float) -> float:
    return float(1 + rng.uniform(-reach, reach))
