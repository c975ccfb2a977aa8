"""JUDGED: finished frames of measures in, scores, their explanation and their outlook out."""
from healthseg.scoring.components import custom_weights, model_weights
from healthseg.scoring.health import Scores, bands_of, risk_level, score_panel, shown

__all__ = ["Scores", "bands_of", "custom_weights", "model_weights", "risk_level", "score_panel", "shown"]
