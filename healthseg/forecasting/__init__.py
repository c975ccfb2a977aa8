"""Forecast: long frames of values in, forecasts with intervals and their back-test out."""

from __future__ import annotations

from healthseg.forecasting.backtesting import Backtest, WithinTolerance, backtest, within_tolerance
from healthseg.forecasting.series import forecast

__all__ = ["Backtest", "WithinTolerance", "backtest", "forecast", "within_tolerance"]
