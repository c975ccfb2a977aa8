"""JUDGED: finished frames of metrics in; scores, their explanation and their outlook out.

What learns is loaded on first use, since scikit-learn takes longer to import than a score takes to make.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from healthseg.scoring.churn import BaseRates, base_rates
from healthseg.scoring.components import custom_weights, model_weights
from healthseg.scoring.explain import Change, explain_change
from healthseg.scoring.health import Scores, bands_of, risk_level, score_panel, shown
from healthseg.scoring.history import freeze, portfolio_by_date
from healthseg.scoring.opportunities import factors, opportunities, risk_indicators
from healthseg.scoring.trend import score_trend, trend_window_days

if TYPE_CHECKING:
    from healthseg.scoring.churn_model import ChurnModel
    from healthseg.scoring.hazard_classifier import HazardClassifier
    from healthseg.scoring.reportcard import ReportCard, report_card
    from healthseg.scoring.training import churn_model

_HOME = {
    "ChurnModel": "churn_model",
    "HazardClassifier": "hazard_classifier",
    "ReportCard": "reportcard",
    "report_card": "reportcard",
    "churn_model": "training",
}

__all__ = [
    "BaseRates",
    "Change",
    "ChurnModel",
    "HazardClassifier",
    "ReportCard",
    "Scores",
    "bands_of",
    "base_rates",
    "churn_model",
    "custom_weights",
    "explain_change",
    "factors",
    "freeze",
    "model_weights",
    "opportunities",
    "portfolio_by_date",
    "report_card",
    "risk_indicators",
    "risk_level",
    "score_panel",
    "score_trend",
    "shown",
    "trend_window_days",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
