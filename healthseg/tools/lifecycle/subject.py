"""Whom a response is about: one customer's changes as they were effective and known, its days and its stage's curve."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import pandas as pd

from healthseg.metrics.profile import customer_as_of
from healthseg.metrics.stages import (
    CHURNED,
    Change,
    Spell,
    TimeInStage,
    history,
    in_force,
    portfolio_stage_spells,
    portfolio_time_in_stage,
    spells,
)
from healthseg.settings import Settings
from healthseg.settings.lifecycle import Edge
from healthseg.tools.lifecycle import criteria, figures
from healthseg.tools.lifecycle.moments import Moment
from healthseg.tools.rounding import number

READ = (
    "health_score",
    "days_since_last_person_event",
    "person_events_28d",
    "open_high_tickets",
    "days_to_renewal",
    "arr",
    "tenure_days",
    "contract_ended",
)


class Subject:
    """A customer at ``as_of`` (the response's day); what is counted is counted on ``day``, the last one with data."""

    def __init__(
        self,
        portfolio: Any,
        client_id: str,
        zone: str,
        as_of: Moment | None,
        known_at: Moment | None,
    ) -> None:
        self.portfolio, self.client_id, self.zone = portfolio, client_id, zone
        self.settings: Settings = portfolio.settings
        self.known = history(portfolio)
        self.known_by = None if known_at is None else known_at.last
        self.given: list[Change] = self.known.of(client_id)
        limit = None if as_of is None else as_of.last + dt.timedelta(microseconds=1)
        self.changes = in_force(self.given, limit, self.known_by)
        last = self.changes[-1].day if self.changes else portfolio.data_until
        self.as_of = as_of.day if as_of is not None else max(portfolio.data_until, last)
        self.day = min(self.as_of, portfolio.data_until)

    @cached_property
    def customer(self) -> Mapping[str, Any]:
        return customer_as_of(self.portfolio, self.client_id, self.day)

    @cached_property
    def spells(self) -> list[Spell]:
        return spells(self.changes)

    @property
    def last(self) -> Change | None:
        return self.changes[-1] if self.changes else None

    @property
    def stage(self) -> str | None:
        return self.last.stage if self.last else None

    @property
    def left_on(self) -> dt.date | None:
        left = self.customer["churned_on"]
        return None if pd.isna(left) else pd.Timestamp(left).date()

    @property
    def days_in_stage(self) -> int | None:
        return self.spells[-1].days(self.as_of) if self.spells else None

    @cached_property
    def edge(self) -> Edge | None:
        """The way forward from its stage."""
        return self.settings.lifecycle.forward(self.stage)

    @cached_property
    def days(self) -> list[figures.Day]:
        """Its figures on each of the last days; none of one that has left."""
        since = self.spells[-1].start if self.spells else self.day
        wanted = {*READ, *(criteria.needed([self.edge]) if self.edge else ())}
        return figures.daily(self.portfolio, self.day, self.client_id, wanted, since)

    @property
    def now(self) -> figures.Day:
        """Its figures on the day; of one that has left, of what stands without it."""
        if self.days:
            return self.days[-1]
        since = self.spells[-1].start if self.spells else self.day
        known = figures.contracts(self.portfolio)
        return figures.contract_figures(known, self.client_id, self.day, since)

    def figure(self, name: str) -> float | None:
        return number(self.now.get(name))

    @cached_property
    def held(self) -> list[criteria.Held]:
        level = self.settings.interval_level
        return (
            [criteria.held(one, self.days, level) for one in self.edge.criteria]
            if self.edge
            else []
        )

    @cached_property
    def stay(self) -> TimeInStage | None:
        """How long customers of the portfolio stay in its stage."""
        if self.stage is None or self.stage == CHURNED:
            return None
        return portfolio_time_in_stage(self.portfolio, self.known, self.day, self.known_by).get(
            self.stage
        )

    @property
    def stage_spells(self) -> pd.DataFrame:
        return portfolio_stage_spells(self.portfolio, self.known, self.day, self.known_by)
