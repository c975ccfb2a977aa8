"""What holds a score up, what pulls it down, and what the next step on each metric would bring.

Records, not sentences: the words come from the rules, the figures from here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from healthseg.settings import Settings
from healthseg.statistics.peers import order_statistic

PEERS_SHARE = 0.75


def factors(points: pd.DataFrame, config: Settings) -> pd.DataFrame:
    """What each measured metric adds to the score, and what it costs against full points.

    ``points`` is ``Scores.points`` of one customer and date. Columns: component, metric, label, unit, value, points,
    weight, effective_weight, contribution (points of the score that it brings), lost (points of the score that full
    points would add), lost_in_component (the same in its component's score), side: "positive" from the champions'
    edge up, "negative" below the healthy edge, else "neutral". Positive ones by contribution, then the others by what
    they lose.
    """
    known = points[~points["missing"] & (points["effective_weight"] > 0)].copy()
    inside = known["effective_weight"] / known.groupby("component")["effective_weight"].transform(
        "sum"
    )
    known["contribution"] = known["effective_weight"] * known["points"]
    known["lost"] = known["effective_weight"] * (100 - known["points"])
    known["lost_in_component"] = inside * (100 - known["points"])
    healthy, champion = config.band_edges[1:]
    sides = [known["points"] >= champion, known["points"] < healthy]
    known["side"] = np.select(sides, ["positive", "negative"], "neutral")
    known["rank"] = np.where(known["side"] == "positive", -known["contribution"], -known["lost"])
    known["late"] = known["side"] != "positive"
    order = known.sort_values(
        ["late", "rank", "component", "metric"], kind="stable", ignore_index=True
    )
    return order[
        [
            "component",
            "metric",
            "label",
            "unit",
            "value",
            "points",
            "weight",
            "effective_weight",
            "contribution",
            "lost",
            "lost_in_component",
            "side",
        ]
    ]


def risk_indicators(
    points: pd.DataFrame,
    score: Mapping[str, object],
    config: Settings,
    trend: Mapping[str, object] | None = None,
) -> pd.DataFrame:
    """The signs of risk behind one score: vetoes, a falling trend, and metrics below the healthy edge.

    ``score`` is the row of ``Scores.frame``, ``trend`` that of ``score_trend``. Columns: kind (cap, trend, metric),
    metric, label, unit, value, points, lost (points of the score), severity (critical below the lowest band edge,
    else high).
    """
    low = factors(points, config).query("side == 'negative'")
    rows = low.assign(
        kind="metric", severity=np.where(low["points"] < config.band_edges[0], "critical", "high")
    )
    extra = []
    if not pd.isna(score["cap"]):
        overdue = points.loc[points["metric"] == "worst_days_overdue", "value"]
        extra.append(
            {
                "kind": "cap",
                "metric": "worst_days_overdue",
                "label": "An overdue invoice caps the score",
                "unit": "days",
                "value": float(overdue.iloc[0]) if len(overdue) else np.nan,
                "severity": "critical",
                "lost": float(score["uncapped"]) - float(score["score"]),
            }
        )
    if trend is not None and trend["trend"] == "declining":
        extra.append(
            {
                "kind": "trend",
                "metric": "score",
                "label": "The score is declining",
                "unit": "points per week",
                "value": float(trend["slope_per_week"]),
                "severity": "high",
            }
        )
    columns = ["kind", "metric", "label", "unit", "value", "points", "lost", "severity"]
    frames = [pd.DataFrame(extra, columns=columns), rows[columns]]
    return pd.concat([frame for frame in frames if len(frame)] or frames[1:], ignore_index=True)


def opportunities(
    points: pd.DataFrame,
    score: Mapping[str, object],
    peers: Mapping[str, np.ndarray],
    config: Settings,
) -> pd.DataFrame:
    """What would the next step on each metric bring, as far as peers show that it can be reached?

    ``points`` is ``Scores.points`` of one customer and date, ``score`` its row of ``Scores.frame``, ``peers`` the
    values of each metric among the customer's peers. The target is the nearest anchor of the scorecard that earns
    more than today, unless it earns more than three quarters of the peers do (an order statistic of their points on
    the customer's own anchors): then there is none. impact = the score with that one metric at its target − the
    score, the cap included. Columns: component, metric, label, unit, value, points, target, target_points,
    peers_points, peers, impact; by impact.
    """
    rows = [
        _step(metric, score, np.asarray(peers.get(metric["metric"], []), dtype=float), config)
        for metric in points.to_dict("records")
        if not metric["missing"] and metric["effective_weight"] > 0
    ]
    columns = [
        "component",
        "metric",
        "label",
        "unit",
        "value",
        "points",
        "target",
        "target_points",
        "peers_points",
        "peers",
        "impact",
    ]
    found = pd.DataFrame([row for row in rows if row and row["impact"] > 0], columns=columns)
    return found.sort_values(
        ["impact", "component", "metric"],
        ascending=[False, True, True],
        kind="stable",
        ignore_index=True,
    )


def _step(
    metric: Mapping[str, object], score: Mapping[str, object], peers: np.ndarray, config: Settings
) -> dict | None:
    better = [anchor for anchor in metric["anchors"] if anchor[1] > metric["points"]]
    peers = np.sort(peers[np.isfinite(peers)])
    if not better or not len(peers) or pd.isna(score["score"]):
        return None
    target, earned = min(better, key=lambda anchor: (abs(anchor[0] - metric["value"]), anchor))
    knots, heights = zip(*metric["anchors"], strict=True)
    reached = np.sort(np.interp(peers, knots, heights))[order_statistic(len(peers), PEERS_SHARE)]
    if earned > reached:
        return None
    raw = score["uncapped"] + metric["effective_weight"] * (earned - metric["points"])
    lifted = metric["metric"] == "worst_days_overdue" and target < config.overdue_cap_days
    capped = not pd.isna(score["cap"]) and not lifted
    return {
        **{key: metric[key] for key in ("component", "metric", "label", "unit", "value", "points")},
        "target": target,
        "target_points": earned,
        "peers_points": float(reached),
        "peers": len(peers),
        "impact": (min(raw, score["cap"]) if capped else raw) - score["score"],
    }
