"""Milestones: from when they are due, and how long after they may be done."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from healthseg.settings.base import Frozen


class MilestoneSettings(Frozen):
    """Milestones: from when they are due, and how long after they may be done."""

    # when a milestone is due: so many days after signing up, or after the last milestone that it depends on
    milestone_anchor: Literal["signup", "dependency"] = "signup"
    milestone_days: Literal["calendar", "business"] = (
        "calendar"  # business: Monday to Friday, without holidays
    )
    # after the last due date: who has all required milestones by then has succeeded
    milestone_grace_days: Annotated[int, Field(ge=0)] = 30
