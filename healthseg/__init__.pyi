from . import errors, metrics
from .data.portfolio import Portfolio
from .demo.portfolio import make_demo
from .errors import HealthsegError
from .forecasting import backtest, forecast
from .metrics import metric, panel
from .reports.batches.run import make_reports
from .scoring import ChurnModel, ReportCard, compare_scorecards, report_card, what_if
from .settings import Settings
from .tools import (
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
from .tools.overview.tool import next_actions

__version__: str

__all__ = [
    "ChurnModel",
    "HealthsegError",
    "Portfolio",
    "ReportCard",
    "Settings",
    "analyze_engagement_patterns",
    "backtest",
    "calculate_health_score",
    "compare_scorecards",
    "errors",
    "forecast",
    "make_demo",
    "make_reports",
    "manage_lifecycle_stages",
    "metric",
    "metrics",
    "next_actions",
    "panel",
    "portfolio_adoption",
    "portfolio_health",
    "portfolio_lifecycle",
    "portfolio_milestones",
    "portfolio_patterns",
    "portfolio_segments",
    "portfolio_tiers",
    "portfolio_usage",
    "report_card",
    "segment_by_value_tier",
    "segment_customers",
    "track_adoption_milestones",
    "track_feature_adoption",
    "track_usage_engagement",
    "what_if",
]
