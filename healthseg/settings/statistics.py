"""Levels of intervals, the false-discovery rate, seeds and draws."""

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
