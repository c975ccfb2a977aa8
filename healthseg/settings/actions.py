"""Next actions: reviews, records to close, how many a page shows, a team's own rules."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from pydantic import Field, field_validator

from healthseg import rules as engine
from healthseg.settings.base import Frozen

Days = Annotated[int, Field(ge=1)]


class ActionSettings(Frozen):
    """Next actions: reviews, records to close, how many a page shows, a team's own rules."""

    # a team's own rules by name, over those of rules/actions.toml: fields by name, false removes one
    next_actions: dict[str, dict[str, Any] | bool] = {}
    # a team's own rules of the tools, over those of rules/<tool>.toml: by tool, kind and name, as in health.alert.few_users
    rules: dict[str, dict[str, dict[str, dict[str, Any] | bool]]] = {}
    # what a manager reads and does on a day
    next_actions_shown: Annotated[int, Field(ge=1)] = 5
    # what is left to do with a customer that gave notice: the answer, the end, and what is open between the two
    topics_after_notice: tuple[str, ...] = ("notice", "exit", "export", "invoice", "tickets")
    # who waits for an urgent ticket is not shown features, and is not asked to buy more
    topics_after_tickets: tuple[str, ...] = ("features", "expansion")
    # renewals so near are closed together: a signature takes two weeks
    closing_days: Days = 14
    # nobody came for half a year: either the users are not linked, or it is no customer any more
    doubtful_days: Days = 180
    # losing a tenth of all ARR with one customer misses any target of retention
    large_arr_share: Annotated[float, Field(gt=0, le=1)] = 0.1
    # what the team decides over many customers: within a week where money is leaving, else with the month's planning
    decision_days: dict[str, Days] = {"critical": 7, "high": 14, "medium": 30, "low": 60}
    # a business review a quarter where a manager has few customers, one a year where many
    review_days: dict[str, Days] = {
        "Enterprise": 90,
        "Corporate": 90,
        "Mid-Market": 180,
        "SMB": 365,
        "Micro": 365,
    }
    # tiers of other names: twice a year
    review_days_otherwise: Days = 180
    review_kinds: tuple[str, ...] = ("executive_review", "business_review", "review", "qbr")
    # an open record half a year late of a customer that did nearly everything (7 of 8) was not maintained
    stale_record_days: Days = 180
    stale_record_completed_share: Annotated[float, Field(gt=0, le=1)] = 0.875
    # the board: targets of net and gross revenue retention over 12 months, as good B2B subscriptions reach them
    nrr_target: Annotated[float, Field(gt=0)] = 1.1
    grr_target: Annotated[float, Field(gt=0)] = 0.9
    # names beside each bar of the ARR bridge, and accounts that a board can follow
    bridge_names: Annotated[int, Field(ge=1)] = 5
    accounts_to_save: Annotated[int, Field(ge=1)] = 10
    # a churned customer's score is shown as it was a quarter before, when it could have been saved
    churned_score_days: Days = 90
    # a year's expected churn is too high, or too low, where it is off by this factor: less is chance, since
    # a few large customers decide the sum
    prediction_off_ratio: Annotated[float, Field(gt=1)] = 1.25

    def decide_by(self, as_of: dt.date) -> dict[str, dt.date]:
        """By when the team decides on an action over many customers, by its severity."""
        return {
            severity: as_of + dt.timedelta(days=days)
            for severity, days in self.decision_days.items()
        }

    @field_validator("rules")
    @classmethod
    def _checked(cls, rules: engine.OwnRules) -> engine.OwnRules:
        return engine.checked(rules)
