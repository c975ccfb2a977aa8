"""All customers' milestones on a day, how long they take, and who will complete them in time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.metrics import milestone_times as times
from healthseg.metrics.counting import epoch_day
from healthseg.metrics.milestone_plan import DayCount, MilestonePlan, plan_of
from healthseg.metrics.milestone_times import Ahead, ahead
from healthseg.metrics.milestones import present_spells, states
from healthseg.statistics.effects import Likelihood, benjamini_hochberg, likelihood
from healthseg.statistics.survival import LogRank, Median, kaplan_meier, log_rank, quantile_time
from healthseg.tools.milestones.result import SuccessCalibration
from healthseg.tools.values import rounded

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.settings import Settings

TOOL = "track_adoption_milestones"
OPEN = ("in_progress", "overdue", "not_started")
NO_PLAN = "the portfolio has no milestones table"
NO_MEDIAN = Median(None, None, None)
REQUIRED_CATEGORIES = ("onboarding", "adoption")
CURVE_COLUMNS = ["mark", "name", "days", "share", "lower", "upper", "n"]


class MilestoneDay:
    """The portfolio's milestones at the end of ``as_of``, built once per open portfolio."""

    def __init__(self, portfolio: Portfolio, as_of: dt.date) -> None:
        self.portfolio, self.as_of = portfolio, as_of
        self.settings: Settings = portfolio.settings
        self.level: float = self.settings.interval_level
        self.plan: MilestonePlan | None = plan_of(portfolio)
        self.count = DayCount.of(portfolio)
        self.marks = {} if self.plan is None else times.marks(self.plan)

    @classmethod
    def of(cls, portfolio: Portfolio, as_of: dt.date) -> MilestoneDay:
        return portfolio.cache.get(
            "milestone_day", as_of, lambda: cls(portfolio, as_of), disk=False
        )

    @cached_property
    def states(self) -> pd.DataFrame:
        return states(self.portfolio, self.as_of)

    @cached_property
    def present_spells(self) -> pd.DataFrame:
        """By client_id: signup_day, began_day, live, day (the last that is shown)."""
        return present_spells(self.portfolio, self.as_of)

    @cached_property
    def rows_of(self) -> dict[str, list[dict[str, Any]]]:
        """Each customer's rows of ``states``, in the plan's order."""
        return by_customer(self.states)

    @cached_property
    def names(self) -> dict[str, str]:
        rows = None if self.plan is None else self.plan.frame
        return {} if rows is None else dict(zip(rows["milestone_id"], rows["name"], strict=True))

    def dependents(self, milestone_id: str) -> list[str]:
        return [] if self.plan is None else self.plan.needed_by(milestone_id)

    def days_left(self, row: Mapping[str, Any]) -> float:
        """Days until a milestone is due, negative once it is overdue; NaN where that is unknown."""
        return float(self.count.between(row["day"], row["target_day"]))

    # -- time to value -------------------------------------------------------------------

    @cached_property
    def values(self) -> pd.DataFrame:
        """A row a customer and mark, with ``target``, the days from its beginning to the due date.

        Churned customers are in: without them the days would be biased to survivors.
        """
        rows = times.values(self.portfolio, self.as_of)
        return rows.assign(target=self.count.between(rows["began_day"], rows["target_day"]))

    @cached_property
    def values_of(self) -> dict[str, list[dict[str, Any]]]:
        """Each customer's rows of ``values``."""
        return by_customer(self.values)

    @cached_property
    def _cohorts(self) -> dict[tuple[str, str | None], pd.DataFrame]:
        rows = self.values[self.values["known"].astype(bool)]
        cohorts: dict[tuple[str, str | None], pd.DataFrame] = {}
        for mark in self.marks:
            cohorts[mark, None] = rows[rows["mark"] == mark]
            for quarter, part in cohorts[mark, None].groupby("quarter", sort=True):
                cohorts[mark, str(quarter)] = part
        return cohorts

    def cohort(self, mark: str, quarter: str | None = None) -> pd.DataFrame:
        """The values of a mark whose days are known: of a quarter, or of all."""
        return self._cohorts.get((mark, quarter), self._cohorts[mark, None].iloc[:0])

    def quarters(self, mark: str) -> list[str]:
        return [quarter for name, quarter in self._cohorts if name == mark and quarter is not None]

    def curve(self, mark: str, quarter: str | None = None) -> pd.DataFrame:
        """Kaplan–Meier of a cohort that is not empty."""
        return self.portfolio.cache.get(
            "milestone_cohort_curves",
            (self.as_of, mark, quarter),
            lambda: survival_curve(self._cohorts[mark, quarter], self.level),
            disk=False,
        )

    def median(self, mark: str, quarter: str | None = None) -> Median:
        """Days until half of a cohort had reached it."""
        rows = self._cohorts.get((mark, quarter), ())
        return quantile_time(self.curve(mark, quarter)) if len(rows) else NO_MEDIAN

    def quarter_log_rank(self, mark: str, quarter: str) -> LogRank | None:
        """Do customers that began in this quarter reach the mark at another pace than the others?"""
        rows = self.cohort(mark)
        return self.portfolio.cache.get(
            "milestone_log_rank",
            (self.as_of, mark, quarter),
            lambda: compared(rows, rows["quarter"] == quarter),
            disk=False,
        )

    def significant(self, p: Mapping[str, float | None]) -> dict[str, bool | None]:
        """Whether the q of each p, all tested together, is within effects_max_q; None without p."""
        known = {name: value for name, value in p.items() if value is not None}
        q = dict(zip(known, benjamini_hochberg(list(known.values())), strict=True))
        limit = self.settings.effects_max_q
        return {name: bool(q[name] <= limit) if name in q else None for name in p}

    def curves(self, quarters: Iterable[str], without: str | None = None) -> pd.DataFrame:
        """Shares that reached each mark by day, of the portfolio and of quarters (CURVE_COLUMNS).

        Of the quarters the others alone: a customer (``without``) is no peer of its own.
        """
        names = (None, *quarters)
        return self.portfolio.cache.get(
            "milestone_curves",
            (self.as_of, names, without),
            lambda: self._share_curves(names, without),
            disk=False,
        ).copy()

    def _share_curves(
        self, quarters: Iterable[str | None], without: str | None = None
    ) -> pd.DataFrame:
        parts = [
            self._share_curve(mark, quarter, without) for mark in self.marks for quarter in quarters
        ]
        known = [part for part in parts if len(part)]
        if not known:
            return pd.DataFrame(columns=CURVE_COLUMNS)
        return pd.concat(known, ignore_index=True)[CURVE_COLUMNS]

    def _share_curve(self, mark: str, quarter: str | None, without: str | None) -> pd.DataFrame:
        rows = self.cohort(mark, quarter)
        others = quarter is not None and without is not None
        if others:
            rows = rows[rows["client_id"] != without]
        if len(rows) < self.settings.peers_min:
            return rows.iloc[:0]
        curve = survival_curve(rows, self.level) if others else self.curve(mark, quarter)
        steps = {
            "days": curve["time"],
            "share": 1 - curve["survival"],
            "lower": 1 - curve["upper"],
            "upper": 1 - curve["lower"],
        }
        frame = pd.DataFrame({name: [0.0, *values] for name, values in steps.items()})
        last = frame.tail(1).assign(days=float(rows["time"].max()))
        return pd.concat([frame, last]).assign(mark=mark, name=quarter or "portfolio", n=len(rows))

    # -- blockers ------------------------------------------------------------------------

    @cached_property
    def effects(self) -> dict[str, dict[str, Any]]:
        level = self.settings.effects_interval_level
        frame = times.blocker_effects(self.portfolio, self.as_of, level)
        return {row["blocker"]: row for row in frame.to_dict("records")}

    def blocked_spells(self, blocker: str) -> pd.DataFrame:
        """Milestones started by hand that were blocked by it: time, onset, cleared in days."""
        rows = times.from_start(self.portfolio, self.as_of)
        return rows[(rows["blocker"] == blocker) & rows["onset"].notna()]

    @cached_property
    def _clearing(self) -> dict[str, tuple[Median, int]]:
        rows = times.from_start(self.portfolio, self.as_of)
        groups = rows[rows["onset"].notna()].groupby("blocker")
        return {str(name): _time_to_clear(part, self.level) for name, part in groups}

    def clearing(self, blocker: str) -> tuple[Median, int]:
        """Days until this blocker is cleared: median over the portfolio, and of how many."""
        return self._clearing.get(blocker, (NO_MEDIAN, 0))

    # -- success -------------------------------------------------------------------------

    @cached_property
    def success_model(self) -> SuccessModel:
        return SuccessModel(self)


def by_customer(frame: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """A frame's rows by client_id."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in frame.to_dict("records"):
        rows.setdefault(str(row["client_id"]), []).append(row)
    return rows


def survival_curve(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """Kaplan–Meier of spells of which some end on their first day."""
    return kaplan_meier(rows["time"], rows["happened"], np.full(len(rows), times.BEFORE), level)


def compared(rows: pd.DataFrame, groups: pd.Series) -> LogRank | None:
    """The log-rank test between groups of spells; None without spells."""
    if not len(rows):
        return None
    return log_rank(rows["time"], rows["happened"], groups, np.full(len(rows), times.BEFORE))


def dated(coming: Ahead, day_of: Callable[[float], Any], among: str) -> Ahead:
    """A forecast in days from a beginning as days since 1970."""
    median, lower, upper = (
        None if wait is None else float(day_of(wait))
        for wait in (coming.median, coming.lower, coming.upper)
    )
    return Ahead(median, lower, upper, coming.n, among)


def _time_to_clear(rows: pd.DataFrame, level: float) -> tuple[Median, int]:
    end = np.fmin(rows["cleared"], rows["time"])
    cleared = (rows["cleared"] <= rows["time"]) | rows["happened"]
    spells = pd.DataFrame({"time": np.maximum(end - rows["onset"], 0), "happened": cleared})
    return quantile_time(survival_curve(spells, level)), len(rows)


@dataclass(frozen=True)
class SuccessChance:
    """``basis``: observed (whether all ``succeeded`` is known), model, or None; the ``reason`` where there is no value."""

    value: float | None = None
    lower: float | None = None
    upper: float | None = None
    basis: str | None = None
    reason: str | None = None
    succeeded: bool | None = None


class SuccessModel:
    """Will a customer have all required onboarding and adoption milestones in time?

    Arrays are by customer (``ids``), tables customers × milestones; ages are days since each
    customer began: infinite where it has not happened, NaN where the milestone is not required.
    """

    def __init__(self, day: MilestoneDay) -> None:
        self.settings, self.level = day.settings, day.level
        rows = day.states
        needed = rows["required"] & rows["category"].isin(REQUIRED_CATEGORIES)
        rows = rows[needed & (rows["status"] != "skipped")]
        self.ids = pd.Index(sorted(rows["client_id"].unique()))
        spells = day.present_spells.loc[self.ids]
        self.began = spells["began_day"].to_numpy(dtype=float)
        self.done, self.due, self.blocked = (
            self._ages(rows, name) for name in ("completed_day", "target_day", "blocked_day")
        )
        was_blocked = rows["blocked_day"].notna()
        cleared = rows.assign(cleared_day=rows["cleared_day"].where(was_blocked))
        self.cleared = self._ages(cleared, "cleared_day")
        watched = rows.groupby("client_id")["watched"].all()
        self.known = watched.reindex(self.ids).to_numpy(dtype=bool)
        due = np.where(np.isfinite(self.due), self.due, np.nan)
        last_due = np.nanmax(due, axis=1, initial=-np.inf)
        self.horizon = last_due + self.settings.milestone_grace_days
        self.today = spells["day"].to_numpy(dtype=float) - self.began
        self.live = spells["live"].to_numpy(dtype=bool)
        self.all_done = np.nanmax(self.done, axis=1) if len(self.ids) else np.empty(0)
        self.succeeded = self.all_done <= self.horizon
        # churned customers are in the portfolio only from the first event or churn on: of those
        # that began earlier, only the retained ones are there
        churned = day.present_spells.loc[~day.present_spells["live"], "day"]
        watched_from = float(min([epoch_day(day.portfolio.first_event_day), *churned]))
        self.watched_age = np.maximum(watched_from - self.began, 0)
        over = self.began + self.horizon <= epoch_day(day.as_of)
        in_time = self.watched_age < np.fmin(self.horizon, self.all_done)
        self.finished = over & self.known & np.isfinite(self.horizon) & in_time
        self.past = int(self.finished.sum())
        self.failures = int((self.finished & ~self.succeeded).sum())

    def _ages(self, rows: pd.DataFrame, column: str) -> np.ndarray:
        age = rows[column].fillna(np.inf) - rows["began_day"]
        wide = rows.assign(age=age).pivot(index="client_id", columns="milestone_id", values="age")
        return wide.reindex(self.ids).to_numpy(dtype=float)

    # -- past customers ------------------------------------------------------------------

    @property
    def share(self) -> float | None:
        """The share of past customers, observed from their beginning, that succeeded."""
        observed = self.finished & (self.watched_age == 0)
        enough = observed.sum() >= self.settings.peers_min
        return float(self.succeeded[observed].mean()) if enough else None

    @property
    def enough(self) -> bool:
        settings = self.settings
        many = self.past >= settings.success_min_past_customers
        return many and self.failures >= settings.success_min_failures

    @cached_property
    def model(self) -> Likelihood | None:
        """Fitted on past customers, each week of their time while the outcome was open."""
        if not self.enough:
            return None
        past = np.flatnonzero(self.finished)
        parts, outcomes, customers = [], [], []
        last = np.max(self.horizon[past])
        for age in np.arange(0.0, last, self.settings.success_step_days):
            unfinished = (age < self.horizon) & (age < self.all_done) & (age >= self.watched_age)
            present = self.live | (age <= self.today)
            at = past[(unfinished & present)[past]]
            if len(at):
                parts.append(self.predictors(at, np.full(len(at), age)))
                outcomes.append(self.succeeded[at])
                customers.append(np.searchsorted(past, at))
        outcome = np.concatenate(outcomes).astype(float)
        return likelihood(np.concatenate(parts), outcome, np.concatenate(customers))

    def predictors(self, at: np.ndarray, age: np.ndarray) -> np.ndarray:
        """Progress of customers at an age: the share of required milestones open and overdue,
        whether one is blocked, the share of the time that has passed, and that × the share open."""
        done, due, blocked, cleared = (
            table[at] for table in (self.done, self.due, self.blocked, self.cleared)
        )
        now, required = age[:, None], (~np.isnan(done)).sum(axis=1)
        still = done > now
        open_share = still.sum(axis=1) / required
        overdue = (still & (due < now)).sum(axis=1) / required
        is_blocked = (still & (blocked <= now) & (cleared > now)).any(axis=1)
        passed = age / self.horizon[at]
        return np.column_stack([open_share, overdue, is_blocked, passed, open_share * passed])

    @property
    def calibration(self) -> SuccessCalibration | None:
        fitted = self.model
        if fitted is None:
            return None
        figures = {
            "brier": fitted.brier,
            "brier_of_share": fitted.base_brier,
            "slope": fitted.slope,
            "intercept": fitted.intercept,
        }
        return SuccessCalibration(
            **{name: rounded(value) for name, value in figures.items()},
            customers=self.past,
            failures=self.failures,
        )

    # -- one customer --------------------------------------------------------------------

    def _position(self, client_id: str) -> int | None:
        return int(self.ids.get_loc(client_id)) if client_id in self.ids else None

    def of(self, client_id: str) -> SuccessChance:
        at = self._position(client_id)
        if at is None:
            return SuccessChance(reason="no required onboarding or adoption milestone applies")
        if not np.isfinite(self.horizon[at]):
            return SuccessChance(reason="the last due date is not known yet")
        if self.succeeded[at]:
            reason = "nothing is open: all required milestones were complete in time"
            return SuccessChance(basis="observed", reason=reason, succeeded=True)
        if self.today[at] < self.horizon[at]:
            return self._expected(at)
        if self.known[at]:
            reason = "the deadline has passed: not all required milestones were complete in time"
            return SuccessChance(basis="observed", reason=reason, succeeded=False)
        return SuccessChance(reason="some may have been completed before use was tracked")

    def _expected(self, at: int) -> SuccessChance:
        if not self.live[at]:
            return SuccessChance(reason="the customer has churned")
        if not self.enough:
            settings = self.settings
            return SuccessChance(
                reason=f"{self.past} past customers with {self.failures} failures: it needs "
                f"{settings.success_min_past_customers} and {settings.success_min_failures}"
            )
        if self.model is None or not self.model.is_useful(self.settings.success_min_gain_z):
            return SuccessChance(
                reason="the progress of past customers predicts their outcome no better than the "
                "plain share of successes"
            )
        row = self.predictors(np.array([at]), self.today[[at]])[0]
        return SuccessChance(*self.model.at(row, self.level), "model")

    def completion_of_all(self, client_id: str) -> Ahead | None:
        """When a customer will have all required milestones, in days since 1970.

        From customers that at its age had as many open, else from all that were not done; None
        where it is done, has churned, or these are too few.
        """
        at = self._position(client_id)
        if at is None or np.isfinite(self.all_done[at]) or not self.live[at]:
            return None
        age, happened = self.today[at], np.isfinite(self.all_done)
        spells = pd.DataFrame(
            {"time": np.where(happened, self.all_done, self.today), "happened": happened}
        )
        others = self.known & (self.ids != client_id)
        as_many = (self.done > age).sum(axis=1) == (self.done[at] > age).sum()
        groups = {"as much open at that age": others & as_many, "not done at that age": others}
        for among, chosen in groups.items():
            rows = spells[chosen]
            if int((rows["time"] > age).sum()) >= self.settings.peers_min:
                coming = ahead(rows, age, self.level)
                return dated(coming, lambda wait: self.began[at] + wait, among)
        return None

    def by_day(self, client_id: str) -> float:
        """The day since 1970 by which all must be complete; NaN where that is unknown."""
        at = self._position(client_id)
        last = np.nan if at is None else self.began[at] + self.horizon[at]
        return float(last) if np.isfinite(last) else np.nan

    def open_count(self, client_ids: Iterable[str]) -> np.ndarray:
        """How many required milestones of customers are open."""
        at = self.ids.get_indexer(list(client_ids))
        return (self.done[at] > self.today[at][:, None]).sum(axis=1)
