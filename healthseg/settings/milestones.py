"""Milestones: when they are due and on time, and what a forecast of success needs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from healthseg.settings.base import Frozen


class MilestoneSettings(Frozen):
    """Milestones: when they are due and on time, and what a forecast of success needs."""

    # when a milestone is due: so many days after signing up, or after the last milestone that it
    # depends on
    milestone_anchor: Literal["signup", "dependency"] = "signup"
    # business: Monday to Friday, without holidays
    milestone_days: Literal["calendar", "business"] = "calendar"
    # after the last due date: who has all required milestones by then has succeeded
    milestone_grace_days: Annotated[int, Field(ge=0)] = 30
    # nearer to the target than half a day is neither ahead nor behind
    milestone_on_time_days: Annotated[float, Field(ge=0)] = 0.5
    # with fewer past customers, or failures among them, a success probability has no basis
    success_min_past_customers: Annotated[int, Field(ge=1)] = 30
    success_min_failures: Annotated[int, Field(ge=1)] = 10
    # standard errors by which the model must be nearer to past outcomes than their plain share: one-sided 1%
    success_min_gain_z: Annotated[float, Field(gt=0)] = 2.33
    # past customers are observed once a week of their time
    success_step_days: Annotated[int, Field(ge=1)] = 7
    # resamples of customers behind the interval of the days that a cleared blocker saves …
    acceleration_draws: Annotated[int, Field(ge=100)] = 400
    # … and the share of them that must have a median: with less there is no interval
    acceleration_min_valid_share: Annotated[float, Field(gt=0, le=1)] = 0.95
    # retention after a milestone's due day: so long, the churn model's second horizon …
    milestone_retention_days: Annotated[int, Field(ge=30)] = 180
    # … compared where so many customers churned within it, and so many had it done by the day, and so many not
    milestone_retention_min_churned: Annotated[int, Field(ge=2)] = 10
    # open milestones with a blocker under which nothing is said of what it delays
    blocker_min_spells: Annotated[int, Field(ge=2)] = 10
