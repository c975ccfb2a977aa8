"""Levels of intervals, the false-discovery rate, seeds and draws; when a series carries a forecast."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from healthseg.settings.base import Frozen


class StatisticsSettings(Frozen):
    """Levels of intervals, the false-discovery rate, seeds and draws."""

    interval_level: Annotated[float, Field(gt=0.5, lt=1)] = 0.90
    effects_interval_level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    # false-discovery rate up to which an effect or a pattern is called significant; q is always shown beside it
    effects_max_q: Annotated[float, Field(gt=0, lt=1)] = 0.05
    # p up to which an unadjusted figure is worth a word beside the adjusted one that is not significant
    effects_raw_max_p: Annotated[float, Field(gt=0, lt=1)] = 0.05
    # customers with the outcome, and without it, under which there is no estimate
    effects_min_customers: Annotated[int, Field(ge=2)] = 20
    # of the rows, under which an effect is not adjusted for a figure
    effects_covariate_min_known_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    # errors below which their spread is unknown
    error_spread_min_values: Annotated[int, Field(ge=2)] = 20
    at_risk_draws: Annotated[int, Field(ge=100)] = 10_000
    seed: int = 7


class ForecastSettings(Frozen):
    """Forecasts: when a series carries a model, a season, an interval."""

    # five parameters, and a few values that contradict them
    forecast_min_points: Annotated[int, Field(ge=3)] = 8
    # eleven years of days, half a year of hours: older values change no forecast, only its cost
    forecast_max_points: Annotated[int, Field(ge=100)] = 4000
    # of a grid: beyond it a model would be fitted to interpolated lines
    forecast_max_missing_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    # times what the series' whole range, continued at its pace, would reach: farther is a failed fit
    forecast_max_straying: Annotated[float, Field(gt=0)] = 2.0
    # with two seasons one odd year looks like a season
    forecast_season_min_cycles: Annotated[int, Field(ge=2)] = 3
    # a false season costs more than a faint one that is missed
    forecast_season_max_p: Annotated[float, Field(gt=0, lt=1)] = 0.01
    # the last cycles that a season's indices are medians of: 4 to 8 are alike on monthly and hourly
    # series, all of them a fifth worse, since seasons change
    forecast_season_cycles: Annotated[int, Field(ge=3)] = 6
    # share of the level below which a position of the season (a weekend) says nothing about the level
    forecast_season_min_index: Annotated[float, Field(gt=0, lt=1)] = 0.3
    # days of the longer season that is looked for where a season is a day of hours or less
    forecast_longer_season_days: Annotated[int, Field(ge=2)] = 7
    # weights go with the candidates' back-tested errors to this negative power: 4 to 8 are alike
    forecast_weight_power: Annotated[float, Field(gt=0)] = 6.0
    # of the error, for each fitted parameter and value: past errors are those of a fit that has seen them
    forecast_parameter_penalty: Annotated[float, Field(ge=0)] = 0.5
    # a smaller weight is noise
    forecast_min_weight: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    # the most recent origins that weights are measured over, in horizons and in seasons, whichever is more
    forecast_weight_horizons: Annotated[int, Field(ge=1)] = 4
    forecast_weight_seasons: Annotated[int, Field(ge=1)] = 2
    # usual misses of a robust line, for how many steps, and of what share of all values at most: an outlier
    forecast_outlier_spreads: Annotated[float, Field(gt=0)] = 6.0
    forecast_outlier_max_steps: Annotated[int, Field(ge=1)] = 2
    forecast_outlier_max_share: Annotated[float, Field(ge=0, lt=0.5)] = 0.025
    # back-tested forecasts below which "within the tolerance" has no probability
    backtest_min_origins: Annotated[int, Field(ge=1)] = 20
