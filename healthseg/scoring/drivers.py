"""The drivers of a score: which metrics raise it, which lower it, and the effect of the next step on each.

Records, not sentences: the words come from the rules, the figures from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from healthseg.scoring.overrides import holds
from healthseg.settings import Settings
from healthseg.statistics.peers import order_statistic

METRIC = ["component", "metric", "label", "unit", "value", "points"]
FACTORS = [
    *METRIC,
    "weight",
    "effective_weight",
    "contribution",
    "lost",
    "lost_in_component",
    "side",
]
INDICATORS = ["kind", "metric", "label", "unit", "value", "points", "lost", "severity"]
OPPORTUNITIES = [*METRIC, "target", "target_points", "peers_points", "peers", "impact"]


def factors(points: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """What does each measured metric add to the score, and what does it cost against full points?

    ``points`` is ``Scores.points`` of one customer and date. Adds contribution (points of the
    score), lost (points that full points would add), lost_in_component (in its component's score),
    side: "positive" from the champions' edge up, "negative" below the healthy edge, else "neutral".
    Positive ones by contribution, then the others by lost points.
    """
    rows = points[~points["missing"] & (points["effective_weight"] > 0)]
    weight, lost = rows["effective_weight"], 100 - rows["points"]
    healthy, champion = settings.band_edges[1:]
    side = np.select(
        [rows["points"] >= champion, rows["points"] < healthy], ["positive", "negative"], "neutral"
    )
    rows = rows.assign(
        contribution=weight * rows["points"],
        lost=weight * lost,
        lost_in_component=weight / weight.groupby(rows["component"]).transform("sum") * lost,
        side=side,
    )
    late = rows["side"] != "positive"
    rank = -rows["lost"].where(late, rows["contribution"])
    order = ["late", "rank", "component", "metric"]
    ranked = rows.assign(late=late, rank=rank).sort_values(order, kind="stable", ignore_index=True)
    return ranked[FACTORS]


def costliest(points: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """The metric that costs each customer the most points: the first of ``factors`` that is not positive, by client_id.

    ``points`` is ``Scores.points`` of one date; customers whose metrics are all positive have no row.
    """
    rows = points[~points["missing"] & (points["effective_weight"] > 0)]
    rows = rows[rows["points"] < settings.band_edges[-1]]
    rows = rows.assign(lost=rows["effective_weight"] * (100 - rows["points"]))
    order = ["client_id", "lost", "component", "metric"]
    rows = rows.sort_values(order, ascending=[True, False, True, True], kind="stable")
    return rows.drop_duplicates("client_id").set_index("client_id")


def risk_indicators(
    points: pd.DataFrame,
    score: Mapping[str, Any],
    settings: Settings,
    trend: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """The signs of risk behind one score: vetoes, a falling trend, and metrics below the healthy edge.

    ``score`` is the row of ``Scores.frame``, ``trend`` that of ``score_trend``. Columns: kind (cap, trend, metric),
    metric, label, unit, value, points, lost (points of the score), severity (critical below the lowest band edge,
    else high).
    """
    low = factors(points, settings).query("side == 'negative'")
    critical = low["points"] < settings.band_edges[0]
    rows = low.assign(kind="metric", severity=np.where(critical, "critical", "high"))
    extra = []
    if not pd.isna(score["cap"]):
        metric = settings.overrides[score["override"]].metric
        values = points.loc[points["metric"] == metric, "value"]
        indicator = {
            "kind": "cap",
            "metric": metric,
            "label": "The score is capped",
            "unit": "days",
            "value": float(values.iloc[0]) if len(values) else np.nan,
            "severity": "critical",
            "lost": float(score["uncapped"]) - float(score["score"]),
        }
        extra.append(indicator)
    if trend is not None and trend["trend"] == "declining":
        indicator = {
            "kind": "trend",
            "metric": "score",
            "label": "The score is declining",
            "unit": "points per week",
            "value": float(trend["slope_per_week"]),
            "severity": "high",
        }
        extra.append(indicator)
    frames = [pd.DataFrame(extra, columns=INDICATORS), rows[INDICATORS]]
    return pd.concat([frame for frame in frames if len(frame)] or frames[1:], ignore_index=True)


def opportunities(
    points: pd.DataFrame,
    score: Mapping[str, Any],
    peers: Mapping[str, np.ndarray],
    settings: Settings,
) -> pd.DataFrame:
    """What would the next step on each metric add to the score, as far as peers show that it can be
    reached?

    ``points`` is ``Scores.points`` of one customer and date, ``score`` its row of ``Scores.frame``,
    ``peers`` the peers' values by metric. The target is the nearest anchor that earns more than
    today, unless it earns more than three quarters of the peers do (an order statistic). impact =
    the score with that one metric at its target − the score, the cap included. Columns: component,
    metric, label, unit, value, points, target, target_points, peers_points, peers, impact; by
    impact.
    """
    steps = [
        _next_step(metric, score, peers.get(metric["metric"]), settings)
        for metric in points.to_dict("records")
        if not metric["missing"] and metric["effective_weight"] > 0
    ]
    rows = [step for step in steps if step and step["impact"] > 0]
    return pd.DataFrame(rows, columns=OPPORTUNITIES).sort_values(
        ["impact", "component", "metric"],
        ascending=[False, True, True],
        kind="stable",
        ignore_index=True,
    )


def _next_step(
    metric: Mapping[Any, Any],
    score: Mapping[str, Any],
    peers: np.ndarray | None,
    settings: Settings,
) -> dict[str, Any] | None:
    better = [anchor for anchor in metric["anchors"] if anchor[1] > metric["points"]]
    values = np.asarray([] if peers is None else peers, dtype=float)
    values = np.sort(values[np.isfinite(values)])
    if not better or not len(values) or pd.isna(score["score"]):
        return None
    target, earned = min(better, key=lambda anchor: (abs(anchor[0] - metric["value"]), anchor))
    knots, heights = zip(*metric["anchors"], strict=True)
    at = order_statistic(len(values), settings.opportunity_peers_share)
    by = (lambda x: np.log(np.maximum(x, knots[0]))) if metric["logarithm"] else np.asarray
    peers_points = np.sort(np.interp(by(values), by(np.asarray(knots)), heights))[at]
    if earned > peers_points:
        return None
    raw = score["uncapped"] + metric["effective_weight"] * (earned - metric["points"])
    if not pd.isna(score["cap"]):
        override = settings.overrides[score["override"]]
        if metric["metric"] != override.metric or holds(override, np.asarray(target)):
            raw = min(raw, score["cap"])
    return {
        **{name: metric[name] for name in METRIC},
        "target": target,
        "target_points": earned,
        "peers_points": float(peers_points),
        "peers": len(values),
        "impact": raw - score["score"],
    }
