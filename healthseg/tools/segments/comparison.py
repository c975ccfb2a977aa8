"""Segments compared: where they differ in what they do not follow from, and which customers moved."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.charts.formats import percent, significant
from healthseg.clustering.rules import places
from healthseg.statistics.effects import Hypotheses
from healthseg.statistics.rates import standard_errors
from healthseg.statistics.robust import MAD_TO_SD, dominance
from healthseg.tools.base import Figure
from healthseg.tools.score_forecasts import score_error_sd
from healthseg.tools.segmentation import NOT_PLACED
from healthseg.tools.segmenters import Segmenter, UsageSegmenter, described_metrics, label, written
from healthseg.tools.segments.result import (
    MoveNoise,
    SegmentDifference,
    SegmentMigration,
    SegmentMove,
)

if TYPE_CHECKING:
    from healthseg.settings import Settings
    from healthseg.tools.context import PortfolioContext
    from healthseg.tools.segmentation import SegmentedCustomers

NEW, CHURNED = "New", "Churned"
FLOWS = ["from", "to", "customers", "arr"]
DIFFERENCES = [
    "metric",
    "label",
    "segment",
    "other",
    "median",
    "other_median",
    "n",
    "other_n",
    "cliffs_delta",
    "lower",
    "upper",
    "p",
    "q",
    "significant",
]
# What follows from what the segments were made from is no news of them: counts grow with size, shares
# of seats and users depend on how many there are, a score is made from usage.
USED = {"breadth", "frequency", "change", "volume", "people", "health"}
FOLLOWS = {
    "size": {"size", "volume", "people", "breadth", "frequency"},
    "volume": USED | {"size"},
    "breadth": USED | {"size"},
    "frequency": USED,
    "change": USED,
    "people": {"people", "volume", "size"},
    "health": USED | {"size", "support", "satisfaction", "payment"},
    "support": {"support", "health"},
    "satisfaction": {"satisfaction", "health"},
    "payment": {"payment", "health"},
    "tenure": {"tenure"},
    "contract": {"contract"},
}


# -- differences -----------------------------------------------------------------------------


def compared_metrics(ingredients: frozenset[str], columns: Sequence[str]) -> list[str]:
    """The metrics that do not follow from what the segments were made from."""
    described = described_metrics()
    kinds = {described[name].kind for name in ingredients if name in described}
    following = {other for kind in kinds for other in FOLLOWS.get(kind, {kind})}
    return [
        name
        for name, metric in described.items()
        if metric.kind not in following and name not in ingredients and name in columns
    ]


def differences(
    rows: pd.DataFrame,
    segment: pd.Series,
    names: Sequence[str],
    ingredients: frozenset[str],
    settings: Settings,
) -> pd.DataFrame:
    """Every pair of segments in every compared metric, with effect, interval, p and q; the largest first.

    A difference is significant where q over all comparisons is at most ``effects_max_q`` and
    |Cliff's delta| at least ``segment_min_effect``.
    """
    tried, level = Hypotheses(), settings.effects_interval_level
    for metric in compared_metrics(ingredients, list(rows.columns)):
        values = rows[metric].astype(float)
        known = {name: values[segment == name].dropna().to_numpy() for name in names}
        large = [
            name for name in names if len(known[name]) >= settings.segment_min_compared_customers
        ]
        for pair in combinations(large, 2):
            _compare(tried, metric, {name: known[name] for name in pair}, level)
    frame = tried.frame()
    if not len(frame):
        return pd.DataFrame(columns=DIFFERENCES)
    size = frame["cliffs_delta"].abs()
    frame["significant"] = (frame["q"] <= settings.effects_max_q) & (
        size >= settings.segment_min_effect
    )
    order = ["significant", "size", "metric", "segment", "other"]
    ascending = [False, False, True, True, True]
    frame = frame.assign(size=size).sort_values(order, ascending=ascending, kind="stable")
    return frame[DIFFERENCES].reset_index(drop=True)


def _compare(tried: Hypotheses, metric: str, values: dict[str, np.ndarray], level: float) -> None:
    """Adds the comparison of two segments, the one with the higher values first."""
    name, other = values
    effect = dominance(values[name], values[other], level)
    test = f"{metric}: {name} and {other}"
    if effect.delta < 0:
        name, other = other, name
        effect = dominance(values[name], values[other], level)
    tried.add(
        "differences",
        test,
        effect.p,
        metric=metric,
        label=label(metric),
        segment=name,
        other=other,
        median=float(np.median(values[name])),
        other_median=float(np.median(values[other])),
        n=len(values[name]),
        other_n=len(values[other]),
        cliffs_delta=effect.delta,
        lower=effect.lower,
        upper=effect.upper,
    )


def significant_differences(
    frame: pd.DataFrame, level: float, most: int
) -> list[SegmentDifference]:
    """The largest significant difference in each metric, in words."""
    best = frame[frame["significant"].astype(bool)].drop_duplicates("metric")
    columns = [name for name in DIFFERENCES if name not in ("label", "significant")]
    return [
        SegmentDifference(
            text=_sentence(row, level),
            level=level,
            **{
                name: round(row[name], 6) if isinstance(row[name], float) else row[name]
                for name in columns
            },
        )
        for row in best.head(most).to_dict("records")
    ]


def _sentence(row: Mapping[str, Any], level: float) -> str:
    own, others = (written(row["metric"], row[name]) for name in ("median", "other_median"))
    wins, lower, upper = (
        percent((1 + row[name]) / 2) for name in ("cliffs_delta", "lower", "upper")
    )
    return (
        f"{row['label']}: {row['segment']} has a median of {own} (n = {row['n']}), {row['other']} of "
        f"{others} (n = {row['other_n']}); the former is higher in {wins} of pairs ({percent(level)} "
        f"interval {lower} to {upper}, q = {significant(row['q'])})"
    )


# -- moves -----------------------------------------------------------------------------------


def move_frame(
    context: PortfolioContext, then: pd.Series, now: pd.Series, since: dt.date
) -> pd.DataFrame:
    """A row per pair of segments then and now: customers, and their ARR now (of churned ones, then)."""
    everyone = then.index.union(now.index)
    arr = context.money.amounts.reindex(everyone)
    churned = everyone.difference(now.index)
    arr.loc[churned] = context.money_on(since).amounts.reindex(churned)
    frame = pd.DataFrame({"from": then.reindex(everyone).fillna(NEW), "arr": arr})
    frame["to"] = now.reindex(everyone).fillna(CHURNED)
    pairs = frame.groupby(["from", "to"], sort=True)["arr"]
    table = pd.DataFrame({"customers": pairs.size(), "arr": pairs.sum(min_count=1)})
    return table.reset_index()[FLOWS]


def migration(
    context: PortfolioContext,
    segmented: SegmentedCustomers,
    frame: pd.DataFrame,
    since: dt.date,
) -> SegmentMigration:
    """The moves in figures, beside those that measurement noise alone would cause."""
    addable = context.money.addable and context.money_on(since).addable
    new, churned = frame["from"] == NEW, frame["to"] == CHURNED
    present = frame[~new & ~churned]
    other = present["from"] != present["to"]
    unplaced = (present[["from", "to"]] == NOT_PLACED).any(axis=1)
    moved, newly = present[other & ~unplaced], present[other & unplaced]
    parts = {"moved": moved, "entered": frame[new & ~churned], "churned": frame[churned]}
    counts = {name: int(rows["customers"].sum()) for name, rows in parts.items()}
    no_money = "several currencies and no rates"
    amounts = {
        f"arr_{name}": Figure(round(float(rows["arr"].sum()), 2) if addable else None, no_money)
        for name, rows in parts.items()
    }
    ranks = segmented.segmenter.ranks
    order = {
        segmented.segments[at].name: ranks[base] if ranks else at
        for base, at in segmented.of_base.items()
    }
    steps = moved["to"].map(order).astype(float) - moved["from"].map(order).astype(float)
    ordered, no_order = ranks is not None, "these segments have no order"
    up, down = (int(moved.loc[side > 0, "customers"].sum()) for side in (steps, -steps))
    return SegmentMigration(
        since=since,
        unchanged=int(present.loc[~other, "customers"].sum()),
        newly_placed=int(newly["customers"].sum()),
        up=Figure(up if ordered else None, no_order),
        down=Figure(down if ordered else None, no_order),
        noise=Figure(
            noise(context, segmented), "recorded facts have none, or too little is known of it"
        ),
        flows=[
            SegmentMove(
                from_segment=row["from"],
                to_segment=row["to"],
                customers=int(row["customers"]),
                arr=Figure(
                    round(float(row["arr"]), 2) if addable and pd.notna(row["arr"]) else None,
                    "no ARR is known, or several currencies and no rates",
                ),
            )
            for row in frame.to_dict("records")
        ],
        **counts,
        **amounts,
    )


def noise(context: PortfolioContext, segmented: SegmentedCustomers) -> MoveNoise | None:
    """How many customers that do not change would change segments between two measurements?

    Values: each is drawn twice with its error's standard deviation, 1,000 times (for a score that of
    one-week forecasts in back-tests, for a metric the robust spread of weekly changes ÷ √2). Groups:
    two draws from each customer's memberships. Recorded facts have no noise.
    """
    settings, placement = context.settings, segmented.placement
    level, segmenter = settings.interval_level, segmented.segmenter
    if placement.groups is not None:
        same = placement.groups["same_again"].reindex(placement.number.index[placement.placed])
        same = same.dropna()
        expected, sd = float((1 - same).sum()), float(np.sqrt((same * (1 - same)).sum()))
        reach = standard_errors(level) * sd
        return MoveNoise(
            expected_moves=round(expected, 2),
            lower=round(max(0.0, expected - reach), 2),
            upper=round(expected + reach, 2),
            level=level,
            error_sd=Figure(None, "the memberships are drawn, not a value"),
            method="two draws from each customer's memberships",
        )
    error = _error_sd(context, segmenter)
    if error is None:
        return None
    bases = range(len(segmenter.bases))
    # a base segment that is empty today is a segment of its own
    segment_of = np.array([segmented.of_base.get(base, -2 - base) for base in bases])
    if (
        len(bases) > len(segmenter.thresholds) + 1
    ):  # large and small ones: a score moves either alike
        segment_of = np.arange(len(segmenter.thresholds) + 1)
    values = placement.value.dropna().to_numpy(dtype=float)
    rng, draws = np.random.default_rng([settings.seed, 11]), settings.segment_noise_draws
    moves = np.array(
        [_drawn_moves(values, error, segmenter, segment_of, rng) for _ in range(draws)]
    )
    tail = (1 - level) / 2
    lower, upper = (float(np.sort(moves)[round(share * (draws - 1))]) for share in (tail, 1 - tail))
    return MoveNoise(
        expected_moves=round(float(moves.mean()), 2),
        lower=lower,
        upper=upper,
        level=level,
        error_sd=round(error, 4),
        method="each value drawn twice with its error",
    )


def _error_sd(context: PortfolioContext, segmenter: Segmenter) -> float | None:
    """The standard deviation of a value's measurement error."""
    if segmenter.metric == "score":
        return score_error_sd(context.portfolio, context.as_of)
    if not isinstance(segmenter, UsageSegmenter):
        return None
    changes = np.diff(segmenter.weekly_values().to_numpy(dtype=float), axis=1)
    changes = changes[np.isfinite(changes)]
    if len(changes) < context.settings.error_spread_min_values:
        return None
    spread = np.median(np.abs(changes - np.median(changes)))
    return float(MAD_TO_SD * spread / np.sqrt(2))


def _drawn_moves(
    values: np.ndarray,
    error: float,
    segmenter: Segmenter,
    segment_of: np.ndarray,
    rng: np.random.Generator,
) -> int:
    drawn = []
    for _ in range(2):
        noisy = values + rng.normal(0, error, len(values))
        if segmenter.metric == "score":
            noisy = np.floor(np.clip(noisy, 0, 100) + 0.5)
        drawn.append(segment_of[places(noisy, segmenter.thresholds, segmenter.lower_included)])
    return int((drawn[0] != drawn[1]).sum())
