"""Scored: frames of metrics in; health scores, their explanation, trend, churn and report card out."""

from __future__ import annotations

from healthseg.scoring.churn.base_rates import BaseRates, base_rates
from healthseg.scoring.churn.model import ChurnModel
from healthseg.scoring.churn.training import churn_model
from healthseg.scoring.comparison import ScorecardComparison, WhatIf, compare_scorecards, what_if
from healthseg.scoring.components import custom_weights, model_weights
from healthseg.scoring.drivers import factors, opportunities, risk_indicators
from healthseg.scoring.explanation import ScoreChange, explain_change
from healthseg.scoring.health import (
    Scores,
    bands_of,
    risk_level,
    row_risk_level,
    score_panel,
    shown,
)
from healthseg.scoring.report_card.card import ReportCard, report_card
from healthseg.scoring.trend import freeze, portfolio_by_date, score_trend, trend_window_days

__all__ = [
    "BaseRates",
    "ChurnModel",
    "ReportCard",
    "ScoreChange",
    "ScorecardComparison",
    "Scores",
    "WhatIf",
    "bands_of",
    "base_rates",
    "churn_model",
    "compare_scorecards",
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
    "row_risk_level",
    "score_panel",
    "score_trend",
    "shown",
    "trend_window_days",
    "what_if",
]
