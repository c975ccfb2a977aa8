"""The signs that are tried against leaving and staying: conditions on a customer's metrics, each a few comparisons."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from healthseg import rules

TOOL = "analyze_engagement_patterns"
RISK, SUCCESS = "risk", "success"
_COMPARE = {"<": operator.lt, ">=": operator.ge}
Part = tuple[str, str, float]


@dataclass(frozen=True)
class Sign:
    """``parts`` are (metric, comparison, value), all of which must hold; unknown where a metric is."""

    name: str
    kind: str
    parts: tuple[Part, ...]

    @property
    def label(self) -> str:
        return rules.phrases(TOOL, "sign")[self.name]["label"]

    @property
    def advice(self) -> str:
        return rules.phrases(TOOL, "sign")[self.name]["advice"]

    def shown(self, rows: pd.DataFrame) -> np.ndarray:
        """1 where the sign is there, 0 where not, NaN where a metric of it is unknown."""
        values = [rows[metric].to_numpy(dtype=float) for metric, _, _ in self.parts]
        held = [
            _COMPARE[how](value, limit)
            for value, (_, how, limit) in zip(values, self.parts, strict=True)
        ]
        known = np.isfinite(values).all(axis=0)
        return np.where(known, np.all(held, axis=0).astype(float), np.nan)


# Thresholds are where the scorecard's points turn, or a fifth to a quarter of a customer's own before.
SIGNS = (
    Sign("usage_drop", RISK, (("usage_vs_own_baseline", "<", 0.8),)),
    Sign("fewer_users", RISK, (("users_change", "<", 0.8),)),
    Sign("fewer_features", RISK, (("features_change", "<", 0.75),)),
    Sign("silence", RISK, (("days_since_last_person_event", ">=", 5),)),
    Sign("idle_seats", RISK, (("seat_utilisation", "<", 0.6),)),
    Sign("seldom_used", RISK, (("stickiness_30d", "<", 0.15),)),
    Sign("narrow_use", RISK, (("feature_adoption_rate_30d", "<", 0.4),)),
    Sign("one_user", RISK, (("top_user_share_28d", ">=", 0.6),)),
    Sign("champion_left", RISK, (("champion_departed", ">=", 1),)),
    Sign("serious_tickets", RISK, (("open_high_tickets", ">=", 1),)),
    Sign("many_tickets", RISK, (("tickets_per_10_mau_90d", ">=", 2),)),
    Sign("slow_support", RISK, (("median_resolution_hours_90d", ">=", 72),)),
    Sign("detractors", RISK, (("nps_365d", "<", 0),)),
    Sign("overdue", RISK, (("worst_days_overdue", ">=", 15),)),
    Sign("idle_and_broken", RISK, (("seat_utilisation", "<", 0.6), ("open_high_tickets", ">=", 1))),
    Sign("growing_use", SUCCESS, (("usage_vs_own_baseline", ">=", 1.2),)),
    Sign("full_seats", SUCCESS, (("seat_utilisation", ">=", 0.9),)),
    Sign("daily_habit", SUCCESS, (("stickiness_30d", ">=", 0.3),)),
    Sign("broad_use", SUCCESS, (("feature_adoption_rate_30d", ">=", 0.7),)),
    Sign("promoters", SUCCESS, (("nps_365d", ">=", 50),)),
)
BY_NAME = {sign.name: sign for sign in SIGNS}
CHANGES = {"users_change": "monthly_active_users", "features_change": "unique_features_used_28d"}


def with_changes(rows: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """Rows of the panel with how some metrics stand to the customer's own of four weeks or a month before (a ratio).

    ``before`` has client_id, date (the row's own, not the earlier one) and those metrics.
    """
    keys = pd.MultiIndex.from_arrays([rows["client_id"].astype(str), pd.to_datetime(rows["date"])])
    earlier = before.set_index([before["client_id"].astype(str), pd.to_datetime(before["date"])])
    found = {}
    for name, metric in CHANGES.items():
        was = earlier[metric].reindex(keys).to_numpy(dtype=float)
        found[name] = rows[metric].to_numpy(dtype=float) / np.where(was > 0, was, np.nan)
    return rows.assign(**found)
