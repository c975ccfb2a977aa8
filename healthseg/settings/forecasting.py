"""Forecasts: when a series carries a model, a season, an interval."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from healthseg.settings.base import Frozen


class ForecastSettings(Frozen):
    """Forecasts: when a series carries a model, a season, an interval."""

    # five parameters, and a few values that contradict them
    forecast_min_points: Annotated[int, Field(ge=3)] = 8
    # of a grid: beyond it a model would be fitted to interpolated lines
    forecast_max_missing_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    # times what the series' whole range, continued at its pace, would reach: farther is a failed fit
    forecast_max_straying: Annotated[float, Field(gt=0)] = 2.0
    # with two seasons one odd year looks like a season
    forecast_season_min_cycles: Annotated[int, Field(ge=2)] = 3
    # a false season costs more than a faint one that is missed
    forecast_season_max_p: Annotated[float, Field(gt=0, lt=1)] = 0.01
    # below it dividing would inflate noise: differences are used instead
    forecast_season_min_index: Annotated[float, Field(gt=0, lt=1)] = 0.05
    # back-tested forecasts below which "within the tolerance" has no probability
    backtest_min_origins: Annotated[int, Field(ge=1)] = 20
