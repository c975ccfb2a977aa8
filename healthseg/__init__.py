"""healthseg: the health of B2B subscription customers.

>>> import healthseg as hs
>>> "Portfolio" in dir(hs)
True

Importing does nothing but this: a name is loaded from its module when it is
first used, so that ``import healthseg`` costs a few milliseconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.errors import HealthsegError
    from healthseg.tools import (
        analyze_engagement_patterns,
        calculate_health_score,
        manage_lifecycle_stages,
        portfolio_adoption,
        portfolio_health,
        portfolio_lifecycle,
        portfolio_milestones,
        portfolio_patterns,
        portfolio_segments,
        portfolio_tiers,
        portfolio_usage,
        segment_by_value_tier,
        segment_customers,
        track_adoption_milestones,
        track_feature_adoption,
        track_usage_engagement,
    )

__version__ = "0.1.0"

_HOME = {
    "Portfolio": "healthseg.data.portfolio",
    "HealthsegError": "healthseg.errors",
    "analyze_engagement_patterns": "healthseg.tools",
    "calculate_health_score": "healthseg.tools",
    "manage_lifecycle_stages": "healthseg.tools",
    **dict.fromkeys(
        (
            "portfolio_adoption",
            "portfolio_health",
            "portfolio_lifecycle",
            "portfolio_milestones",
            "portfolio_patterns",
            "portfolio_segments",
            "portfolio_tiers",
            "portfolio_usage",
        ),
        "healthseg.tools",
    ),
    "segment_by_value_tier": "healthseg.tools",
    "segment_customers": "healthseg.tools",
    "track_adoption_milestones": "healthseg.tools",
    "track_feature_adoption": "healthseg.tools",
    "track_usage_engagement": "healthseg.tools",
}

__all__ = [
    "HealthsegError",
    "Portfolio",
    "__version__",
    "analyze_engagement_patterns",
    "calculate_health_score",
    "manage_lifecycle_stages",
    "portfolio_adoption",
    "portfolio_health",
    "portfolio_lifecycle",
    "portfolio_milestones",
    "portfolio_patterns",
    "portfolio_segments",
    "portfolio_tiers",
    "portfolio_usage",
    "segment_by_value_tier",
    "segment_customers",
    "track_adoption_milestones",
    "track_feature_adoption",
    "track_usage_engagement",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
