"""The frames that a response's charts and tables are made of."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

from healthseg.clustering.sequences import ARROW
from healthseg.metrics.counting import customers
from healthseg.tools.patterns.signs import BY_NAME

EVIDENCE = ["support", "n", "lift", "lift_lower", "lift_upper", "q", "confidence"]


def held_frame(patterns: list) -> pd.DataFrame:
    rows = [
        {
            "name": one.pattern_name,
            "type": one.pattern_type,
            **{key: getattr(one.evidence, key) for key in EVIDENCE},
        }
        for one in patterns
    ]
    return pd.DataFrame(rows, columns=["name", "type", *EVIDENCE])


def rejected_frame(rejected: list) -> pd.DataFrame:
    rows = [
        {
            "name": one.pattern_name,
            "type": one.pattern_type,
            "why": one.why,
            **{key: getattr(one.evidence, key) for key in EVIDENCE},
        }
        for one in rejected
    ]
    return pd.DataFrame(rows, columns=["name", "type", "why", *EVIDENCE])


RISK = [
    "pattern",
    "probability_of_churn",
    "probability_lower",
    "probability_upper",
    "base_rate",
    "n",
    "lead_days",
    "among_leavers",
    "among_stayers",
    "shown_now",
    "hazard_ratio",
    "hazard_lower",
    "hazard_upper",
]


def risk_frame(risks: list | None) -> pd.DataFrame:
    rows = [
        {
            **{key: getattr(one, key) for key in RISK[:10]},
            "hazard_ratio": one.outcome.hazard_ratio,
            "hazard_lower": one.outcome.lower,
            "hazard_upper": one.outcome.upper,
        }
        for one in risks or []
    ]
    return pd.DataFrame(rows, columns=RISK)


SUCCESS = [
    "pattern",
    "correlation",
    "correlation_lower",
    "correlation_upper",
    "retention_with",
    "retention_without",
    "n_with",
    "n_without",
    "hazard_ratio",
]


def success_frame(found: list | None) -> pd.DataFrame:
    rows = [
        {
            **{key: getattr(one, key) for key in SUCCESS[:8]},
            "hazard_ratio": one.outcome.hazard_ratio,
        }
        for one in found or []
    ]
    return pd.DataFrame(rows, columns=SUCCESS)


def gap_frame(orders: Any, usage: Any) -> pd.DataFrame:
    """Each step of the orders that hold: sequence, step, first, second, days (one row a customer)."""
    rows = []
    for one in usage.sequential_adoption.common_sequences if usage else []:
        days = orders.gaps(ARROW.join(one))
        for step, (first, second) in enumerate(itertools.pairwise(one)):
            rows += [
                (ARROW.join(one), step + 1, first, second, float(day))
                for day in np.sort(days[:, step])
            ]
    return pd.DataFrame(rows, columns=["sequence", "step", "first", "second", "days"])


def anomaly_frame(unusual: list | None) -> pd.DataFrame:
    columns = [
        "date",
        "anomaly_type",
        "scope",
        "client_id",
        "series",
        "factor",
        "likely_cause",
        "description",
        "action_required",
    ]
    return pd.DataFrame(
        [{key: getattr(one, key) for key in columns} for one in unusual or []], columns=columns
    )


def customer_frame(run: Any, ahead: Any) -> pd.DataFrame:
    """Customers of the scope that show a sign of leaving, or are candidates: client_id, name, signs, which."""
    rows = run.learnt[(run.learnt["kind"] == "risk") & (run.learnt["lift"] > 1)]
    showing = {key: run.signs.showing(key) for key in rows["key"]}
    known = customers(run.portfolio)
    churn, expand = (
        set(getattr(ahead, name) or []) if ahead else set()
        for name in ("churn_candidates", "expansion_candidates")
    )
    found = []
    for client in run.scope.clients:
        signs = [BY_NAME[key].label for key, who in showing.items() if client in who]
        if signs or client in churn or client in expand:
            name = known.loc[client].get("name")
            found.append(
                {
                    "client_id": client,
                    "name": name if isinstance(name, str) else client,
                    "signs": signs,
                    "count": len(signs),
                    "likely_to_leave": client in churn,
                    "ready_to_expand": client in expand,
                }
            )
    frame = pd.DataFrame(
        found, columns=["client_id", "name", "signs", "count", "likely_to_leave", "ready_to_expand"]
    )
    return frame.sort_values(
        ["likely_to_leave", "count", "client_id"],
        ascending=[False, False, True],
        kind="stable",
        ignore_index=True,
    )
