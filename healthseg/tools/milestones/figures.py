"""What all parts of a response are made of: the plan, where every customer stands, and the portfolio's curves; once a day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from healthseg.data.memory import remember
from healthseg.metrics import milestone_times as times
from healthseg.metrics import panels
from healthseg.metrics.counting import customers, epoch_days
from healthseg.metrics.milestone_plan import DayCount, Plan, plan_of
from healthseg.metrics.milestones import present_spells, states
from healthseg.settings import Settings
from healthseg.statistics.survival import LogRank, Median, kaplan_meier, log_rank, quantile_time

TOOL = "track_adoption_milestones"
OPEN = ("in_progress", "overdue", "not_started")
NO_PLAN = "the portfolio has no milestones table"


class Figures:
    """One day of the portfolio."""

    def __init__(self, portfolio: Any, as_of: dt.date) -> None:
        self.portfolio, self.as_of = portfolio, as_of
        self.settings: Settings = portfolio.settings
        self.plan: Plan | None = plan_of(portfolio)

    @classmethod
    def of(cls, portfolio: Any, as_of: dt.date) -> Figures:
        return remember(portfolio, ("milestones", as_of), lambda: cls(portfolio, as_of))

    @cached_property
    def states(self) -> pd.DataFrame:
        return states(self.portfolio, self.as_of)

    @cached_property
    def by_customer(self) -> dict[str, pd.DataFrame]:
        return (
            {str(client): rows for client, rows in self.states.groupby("client_id", sort=False)}
            if len(self.states)
            else {}
        )

    @cached_property
    def rows_of(self) -> dict[str, list[dict[str, Any]]]:
        """Each customer's milestones in their order, as the parts of a response read them."""
        found: dict[str, list[dict[str, Any]]] = {}
        for row in self.states.to_dict("records"):
            found.setdefault(str(row["client_id"]), []).append(row)
        return found

    @cached_property
    def present_spells(self) -> pd.DataFrame:
        return present_spells(self.portfolio, self.as_of)

    @cached_property
    def count(self) -> DayCount:
        return DayCount.of(self.portfolio)

    @cached_property
    def names(self) -> dict[str, str]:
        return (
            {}
            if self.plan is None
            else dict(zip(self.plan.frame["milestone_id"], self.plan.frame["name"], strict=True))
        )

    @cached_property
    def marks(self) -> dict[str, times.Mark]:
        return {} if self.plan is None else times.marks(self.plan)

    # -- who -----------------------------------------------------------------------------

    @cached_property
    def known(self) -> pd.DataFrame:
        """The panel's rows of the day, by customer."""
        return panels.panel(self.portfolio, [self.as_of]).set_index("client_id", drop=False)

    @cached_property
    def panel_rows(self) -> dict[str, dict[str, Any]]:
        return self.known.to_dict("index")

    @cached_property
    def live(self) -> pd.DataFrame:
        """Live customers; prospects are none yet."""
        prospect = self.known["stage"].astype(object) == "prospect"
        return self.known[self.known["live"].astype(bool) & ~prospect]

    def excluded(self) -> dict[str, int]:
        signup = epoch_days(customers(self.portfolio)["signup_date"])
        today = (pd.Timestamp(self.as_of) - pd.Timestamp(0)).days
        live = self.known["live"].astype(bool)
        return {
            "churned": int((~live).sum()),
            "not_started": int((signup > today).sum()),
            "prospect": int((live & (self.known["stage"].astype(object) == "prospect")).sum()),
        }

    # -- time to value -------------------------------------------------------------------

    @cached_property
    def values(self) -> pd.DataFrame:
        """Of all customers, those included that left: a clock that asks only who stayed is biased."""
        return times.values(self.portfolio, self.as_of)

    @cached_property
    def _value_rows(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {(row["client_id"], row["mark"]): row for row in self.values.to_dict("records")}

    def value_of(self, client_id: str, mark: str) -> dict[str, Any] | None:
        return self._value_rows.get((client_id, mark))

    def cohort(self, mark: str, quarter: str | None = None) -> pd.DataFrame:
        """The spells of a mark with known days: of a quarter, or of all."""
        rows = self._watched[mark]
        return rows if quarter is None else self.cohorts.get((mark, quarter), rows.iloc[:0])

    @cached_property
    def _watched(self) -> dict[str, pd.DataFrame]:
        rows = self.values[self.values["known"].astype(bool)]
        return {mark: rows[rows["mark"] == mark] for mark in self.marks}

    @cached_property
    def cohorts(self) -> dict[tuple[str, str], pd.DataFrame]:
        """The spells by mark and quarter."""
        return {
            (mark, str(quarter)): rows
            for mark, every in self._watched.items()
            for quarter, rows in every.groupby("quarter", sort=True)
        }

    def curve(self, mark: str, quarter: str | None = None) -> pd.DataFrame:
        return self.made(
            ("curve", mark, quarter), lambda: kaplan(self.cohort(mark, quarter), self.level)
        )

    def median(self, mark: str, quarter: str | None = None) -> Median:
        return self.made(
            ("median", mark, quarter), lambda: quantile_time(self.curve(mark, quarter))
        )

    def against_others(self, mark: str, quarter: str) -> LogRank | None:
        """Do those who began in this quarter get there at another pace than the others?"""
        rows = self.cohort(mark)
        return self.made(
            ("rank", mark, quarter),
            lambda: ranked(rows, np.where(rows["quarter"] == quarter, "this quarter", "others")),
        )

    def between_quarters(self, mark: str) -> LogRank | None:
        rows = self.cohort(mark)
        return self.made(("ranks", mark), lambda: ranked(rows, rows["quarter"]))

    def made(self, key: Any, make: Callable[[], Any]) -> Any:
        """What several calls share is made once."""
        return remember(self.portfolio, ("milestones", self.as_of, key), make)

    @property
    def level(self) -> float:
        return self.settings.interval_level

    # -- blockers ------------------------------------------------------------------------

    @cached_property
    def effects(self) -> dict[str, dict[str, Any]]:
        frame = times.blocker_effects(
            self.portfolio, self.as_of, self.settings.effects_interval_level
        )
        return {row["blocker"]: row for row in frame.to_dict("records")}

    @cached_property
    def started(self) -> pd.DataFrame:
        return times.from_start(self.portfolio, self.as_of)

    def clearing(self, blocker: str) -> tuple[Median, int]:
        """How long this blocker stands: median over the portfolio with its interval, and of how many."""
        return self.made(
            ("clearing", blocker), lambda: _clearing(self.started, blocker, self.level)
        )


def kaplan(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """Kaplan–Meier of spells of which some end on their first day."""
    return kaplan_meier(rows["time"], rows["happened"], np.full(len(rows), times.BEFORE), level)


def ranked(rows: pd.DataFrame, group: Any) -> LogRank | None:
    if not len(rows):
        return None
    return log_rank(rows["time"], rows["happened"], group, np.full(len(rows), times.BEFORE))


def _clearing(started: pd.DataFrame, blocker: str, level: float) -> tuple[Median, int]:
    rows = started[(started["blocker"] == blocker) & started["onset"].notna()]
    if not len(rows):
        return Median(None, None, None), 0
    end = np.fmin(rows["cleared"], rows["time"])
    cleared = (rows["cleared"] <= rows["time"]) | rows["happened"]
    spells = pd.DataFrame({"time": np.maximum(end - rows["onset"], 0), "happened": cleared})
    return quantile_time(kaplan(spells, level)), len(rows)
