"""What counted rows are kept under: the settings that change what is counted, and the code that counts."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import importlib.resources
from pathlib import Path
from typing import Any

from healthseg.data.engine import sql_hash
from healthseg.metrics.metric import registered_digest
from healthseg.settings import Settings, fingerprint

JUDGED = {
    "scorecard",
    "scorecard_variants",
    "min_coverage",
    "ramp_days",
    "overdue_cap_days",
    "overdue_cap_score",
    "band_edges",
    "churn_horizon_days",
    "churn_spread_log_odds",
    "churn_lead_days",
    "churn_min_leavers",
    "churn_gate_z",
    "churn_boosting_min_leavers",
    "interval_level",
    "peers_min",
    "peak_min_ratio",
    "peak_max_p",
    "seed",
    "lifecycle",
    "outbox",
    "ledger",
    "effects_interval_level",
    "effects_max_q",
    "low_adoption_share",
    "segment_compare_days",
    "segment_min_effect",
    "messages_window_days",
    "messages_engaged_days",
    "messages_min_sent",
    "tier_hours_per_month",
    "tier_strategies",
    "csm_capacity_hours",
    "strategic_weights",
    "support_tiers",
    "expansion_min_utilisation",
    "at_risk_draws",
    "funnel_first_use_days",
    "self_service_features",
    "abandoned_after_days",
    "milestone_anchor",
    "milestone_days",
    "milestone_grace_days",
}


def counting_settings(settings: Settings) -> str:
    """A fingerprint of the settings that change what is counted (the others change what is made of it)."""
    return fingerprint(settings.model_dump(mode="json", exclude=JUDGED))


def dated_key(portfolio: Any, date: dt.date) -> str:
    """The key of what was counted as it was known at the end of a date."""
    parts = (
        date.isoformat(),
        portfolio.content(date),
        counting_settings(portfolio.settings),
        version(),
    )
    return f"{date:%Y%m%d}-" + hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def version() -> str:
    """What ``code_version`` says, and the metrics that users registered."""
    return code_version() + registered_digest()


@functools.cache
def code_version() -> str:
    """A hash of the code that counts: a changed definition never meets a row counted by the old one."""
    code = "".join(
        path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))
    )
    texts = importlib.resources.files("healthseg.data").joinpath("sql")
    names = sorted(
        f"{kind}/{text.name.removesuffix('.sql')}"
        for kind in ("facts", "metrics")
        for text in texts.joinpath(kind).iterdir()
    )
    return hashlib.sha256((code + sql_hash(tuple(names))).encode()).hexdigest()[:16]
