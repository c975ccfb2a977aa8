"""FORESEEN: long frames of values in, forecasts with honest intervals and their back-test out.

Names are loaded on first use, since statsmodels takes longer to import than a
whole forecast takes to make.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from healthseg.forecasting.backtesting import Backtest, Within, backtest, within_tolerance
    from healthseg.forecasting.series import forecast

_HOME = {
    "forecast": "series",
    "backtest": "backtesting",
    "Backtest": "backtesting",
    "within_tolerance": "backtesting",
    "Within": "backtesting",
}

__all__ = ["Backtest", "Within", "backtest", "forecast", "within_tolerance"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found
    return found
