"""Where do segments differ in what they were not made of? Only differences that stand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from healthseg.statistics.multiplicity import Hypotheses
from healthseg.statistics.robust import dominance
from healthseg.tools.segments import metrics
from healthseg.tools.segments.result import Insight

LEAST_CUSTOMERS = 8  # a side: fewer say nothing of a segment
MOST = 8
COLUMNS = [
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
    "stands",
]
# What follows from what the segments were made of is no news of them: counts grow with size, shares of seats and of
# users hang on how many there are, a score is made of usage.
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


def compared(ingredients: frozenset[str], columns: Sequence[str]) -> list[str]:
    """Metrics of another kind than those that the segments were made of."""
    told = metrics.described()
    kinds = {told[name].kind for name in ingredients if name in told}
    out = {other for kind in kinds for other in FOLLOWS[kind]}
    return [
        name
        for name, words in told.items()
        if words.kind not in out and name not in ingredients and name in columns
    ]


def differences(
    rows: pd.DataFrame,
    segment: pd.Series,
    names: Sequence[str],
    ingredients: frozenset[str],
    level: float,
    most_q: float,
    least_effect: float,
) -> pd.DataFrame:
    """Every pair of segments in every metric that is compared, with effect, interval, p and q; the largest first.

    A difference stands where q ≤ ``most_q`` over all that was tried and |Cliff's delta| ≥ ``least_effect``.
    """
    tried = Hypotheses()
    for metric in compared(ingredients, rows.columns):
        values = rows[metric].astype(float)
        held = {name: values[segment == name].dropna().to_numpy() for name in names}
        for one, other in combinations(names, 2):
            if min(len(held[one]), len(held[other])) >= LEAST_CUSTOMERS:
                _try(tried, metric, one, other, held[one], held[other], level)
    frame = tried.frame()
    if not len(frame):
        return pd.DataFrame(columns=COLUMNS)
    frame["stands"] = (frame["q"] <= most_q) & (frame["cliffs_delta"].abs() >= least_effect)
    order = frame.assign(size=-frame["cliffs_delta"].abs()).sort_values(
        ["stands", "size", "metric", "segment", "other"],
        ascending=[False, True, True, True, True],
        kind="stable",
    )
    return order[COLUMNS].reset_index(drop=True)


def _try(
    tried: Hypotheses,
    metric: str,
    one: str,
    other: str,
    own: np.ndarray,
    theirs: np.ndarray,
    level: float,
) -> None:
    found = dominance(own, theirs, level)
    if found.delta < 0:
        one, other, own, theirs, found = other, one, theirs, own, dominance(theirs, own, level)
    tried.add(
        "differences",
        f"{metric}: {one} and {other}",
        found.p,
        metric=metric,
        label=metrics.label(metric),
        segment=one,
        other=other,
        median=float(np.median(own)),
        other_median=float(np.median(theirs)),
        n=len(own),
        other_n=len(theirs),
        cliffs_delta=found.delta,
        lower=found.lower,
        upper=found.upper,
    )


def insights(frame: pd.DataFrame, level: float) -> list[Insight]:
    """The largest difference that stands in each metric, in words."""
    if not len(frame):
        return []
    best = frame[frame["stands"].astype(bool)].drop_duplicates("metric").head(MOST)
    columns = [name for name in Insight.model_fields if name in best.columns]
    return [
        Insight(
            text=_words(row, level), level=level, **{name: _plain(row[name]) for name in columns}
        )
        for row in best.to_dict("records")
    ]


def _words(row: dict[str, Any], level: float) -> str:
    own, theirs = (metrics.written(row["metric"], row[name]) for name in ("median", "other_median"))
    wins = (1 + row["cliffs_delta"]) / 2
    return (
        f"{row['label']}: {row['segment']} {own} in the median (n = {row['n']}), {row['other']} {theirs} "
        f"(n = {row['other_n']}); the former is higher in {100 * wins:.0f} % of pairs "
        f"({100 * level:.0f} %: {50 * (1 + row['lower']):.0f} to {50 * (1 + row['upper']):.0f} %, "
        f"q = {row['q']:.2g})"
    )


def _plain(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
