"""JUDGED: finished frames of measures in; scores, their explanation and their outlook out."""
from healthseg.scoring.churn import BaseRates, base_rates
from healthseg.scoring.components import custom_weights, model_weights
from healthseg.scoring.explain import Change, explain_change
from healthseg.scoring.health import Scores, bands_of, risk_level, score_panel, shown
from healthseg.scoring.history import book_by_date, freeze
from healthseg.scoring.opportunities import factors, opportunities, risk_indicators
from healthseg.scoring.trend import score_trend, trend_window_days

__all__ = ["BaseRates", "Change", "Scores", "bands_of", "base_rates", "book_by_date", "custom_weights",
           "explain_change", "factors", "freeze", "model_weights", "opportunities", "risk_indicators", "risk_level",
           "score_panel", "score_trend", "shown", "trend_window_days"]
