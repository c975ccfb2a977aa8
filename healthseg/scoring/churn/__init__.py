"""Churn: base rates, a hazard model of single customers behind a gate, its calibration and explanations."""
