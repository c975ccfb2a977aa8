"""The portfolio's milestones: where customers are late, time to value by quarter, blockers by ARR."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.metrics.milestone_plan import date_of
from healthseg.metrics.milestone_times import RETENTION, retention_after, spells
from healthseg.metrics.milestones import STATUSES
from healthseg.rules import TriggeredRule
from healthseg.statistics.survival import quantile_time, survival_at
from healthseg.tools.context import PortfolioContext, chosen_warnings, share
from healthseg.tools.milestones.advice import blocker_effect, severity
from healthseg.tools.milestones.milestone_day import (
    NO_MEDIAN,
    NO_PLAN,
    TOOL,
    MilestoneDay,
    SuccessChance,
    compared,
    survival_curve,
)
from healthseg.tools.milestones.result import PortfolioMilestones
from healthseg.tools.next_actions import NextAction, NextActions
from healthseg.tools.values import records, rounded

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

MILESTONE = ["milestone_id", "name", "category", "required", "target_days"]
FUNNEL = [
    *MILESTONE,
    "customers",
    *STATUSES,
    "late",
    "to_close",
    "completed_share",
    "blocked",
    "waiting",
    "overdue_arr",
    "due",
    "on_time",
    "median_days",
    "lower",
    "upper",
    "n",
]
EFFECT = ["factor", "lower", "upper", "q", "found", "n"]
BLOCKERS = ["blocker", "customers", "milestones", "severe", "arr", "oldest_days", "usual_days"]
LATE = [
    "client_id",
    "name",
    "tier",
    "arr",
    "currency",
    "overdue_required",
    "overdue",
    "worst",
    "worst_days",
    "long_overdue",
    "stale",
    "blocker",
    "likelihood",
    "csm_id",
]
COHORTS = ["mark", "quarter", "n", "reached", "median_days", "lower", "upper", "share_by_target"]
SUCCESS = [
    "client_id",
    "name",
    "arr",
    "currency",
    "likelihood",
    "lower",
    "upper",
    "by_date",
    "open",
]


class MilestonesOfPortfolio:
    """The milestones of a category of the customers that are live at ``as_of``."""

    def __init__(
        self, portfolio: Portfolio, as_of: dt.date, category: str, only: str | None = None
    ) -> None:
        self.day, self.category = MilestoneDay.of(portfolio, as_of), category
        self.context = PortfolioContext.of(portfolio, as_of, only)
        self.settings, self.model = self.day.settings, self.day.success_model
        rows = self.day.states
        rows = rows[rows["client_id"].isin(self.context.live.index)]
        self.rows = rows[(rows["category"] == category) | (category == "all")]
        self.tracked = int(self.rows["client_id"].nunique())

    def result(self) -> PortfolioMilestones:
        day, context, money = self.day, self.context, self.context.money
        funnel, blockers = self.funnel(), self.blockers()
        late, success, retention = self.late(), self.success(), self.retention()
        current = late[~late["stale"].astype(bool)]
        required = current[current["overdue_required"] > 0]
        cohorts, values = self.cohorts()
        ranks = {mark: self._log_rank(mark) for mark in day.marks}
        due, on_time = int(funnel["due"].sum()), int(funnel["on_time"].sum())
        done = self._done()
        return PortfolioMilestones(
            as_of=day.as_of,
            data_until=day.portfolio.data_until,
            fingerprint=day.portfolio.fingerprint(day.as_of),
            coverage=rounded(share(self.tracked, len(context.live))),
            warnings=[
                *chosen_warnings(context.only),
                *([NO_PLAN] if day.plan is None else day.plan.warnings),
            ],
            not_measured=self._not_measured(),
            milestone_category=self.category,
            total_customers=len(context.live),
            tracked_customers=self.tracked,
            excluded=context.excluded(),
            currency=money.currency,
            day_kind=self.settings.milestone_days,
            customers_late=len(required),
            customers_late_arr=self._arr(required["client_id"]),
            customers_long_overdue=int(required["long_overdue"].sum()),
            customers_late_optional=len(current) - len(required),
            customers_to_close=len(late) - len(current),
            record_days=self.settings.stale_record_days,
            customers_blocked=self._blocked_customers,
            customers_blocked_by_several=int((self._kinds_of_blockers > 1).sum()),
            customers_blocked_arr=self._arr(self._kinds_of_blockers.index),
            customers_done=done,
            customers_done_share=rounded(share(done, self.tracked)),
            milestones_due=due,
            milestones_on_time=on_time,
            milestones_on_time_share=rounded(share(on_time, due)),
            funnel=records(funnel),
            values=records(values),
            cohorts=records(cohorts),
            log_rank=ranks,
            quarters_differ=day.significant(ranks),
            retention=records(retention),
            retention_days=self.settings.milestone_retention_days,
            blockers=records(blockers),
            late=records(late),
            success=records(success),
            calibration=self.model.calibration if self.tracked else None,
            actions=self._actions(funnel, blockers, required),
            decide_by=self.settings.decide_by(day.as_of),
            next_actions=self._next_actions(current),
        ).with_frames(
            funnel=funnel,
            blockers=blockers,
            late=late,
            cohorts=cohorts,
            success=success,
            retention=retention,
            value=day.curves([]),
        )

    def _not_measured(self) -> dict[str, str]:
        if self.day.plan is None:
            lists = ("funnel", "values", "cohorts", "retention", "blockers", "late")
            return {f"$.{name}": NO_PLAN for name in lists}
        reasons = {}
        if not self.context.money.addable:
            reasons["$.customers_late_arr"] = "the portfolio has several currencies and no rates"
        if self.model.model is None:
            reasons["$.success"] = (
                f"{self.model.past} past customers with {self.model.failures} failures are too few "
                "for a success probability"
            )
        return reasons

    # -- customers -----------------------------------------------------------------------

    @property
    def _blocked_customers(self) -> int:
        return int(self.rows.loc[self._blocked, "client_id"].nunique())

    @property
    def _kinds_of_blockers(self) -> pd.Series:
        """By blocked customer, how many kinds of blocker it has."""
        return self.rows[self._blocked].groupby("client_id")["blocker"].nunique()

    @property
    def _blocked(self) -> pd.Series:
        """The milestones that a recorded blocker holds up, records to close aside."""
        return self.rows["blocked"].astype(bool) & ~self.rows["to_close"].astype(bool)

    def _done(self) -> int:
        """Live customers that have all required onboarding and adoption milestones."""
        live = self.model.ids.isin(self.context.live.index)
        return int((np.isfinite(self.model.all_done) & live).sum()) if self.tracked else 0

    def _arr(self, clients: Iterable[str]) -> float | None:
        """ARR of these customers; None where amounts of several currencies cannot be added up."""
        money = self.context.money
        if not money.addable:
            return None
        return round(float(money.amounts.reindex(sorted(set(clients))).sum()), 2)

    def _profiles(self, clients: pd.Index) -> pd.DataFrame:
        """Name, tier, ARR, currency and manager of live customers, in their order."""
        context, money = self.context, self.context.money
        frame = pd.DataFrame(
            {
                "name": context.names.reindex(clients).astype(object),
                "tier": context.live["tier"].reindex(clients).astype(object),
                "arr": money.amounts.reindex(clients).astype(float),
                "currency": money.by_currency.reindex(clients).astype(object),
                "csm_id": context.static("csm_id", snapshot=True).reindex(clients),
            },
            index=clients,
        )
        if money.currency is not None:
            frame["currency"] = money.currency
        return frame.rename_axis("client_id").reset_index()

    def late(self) -> pd.DataFrame:
        """Customers with something overdue, records to close last: the lately due first, then those with a required one,
        by ARR."""
        rows = self.rows[self.rows["status"] == "overdue"]
        if not len(rows):
            types = {"overdue_required": int, "overdue": int, "stale": bool, "long_overdue": bool}
            return pd.DataFrame(columns=LATE).astype(types)
        to_close = rows["to_close"].astype(bool)
        parts = [
            self._late(part).assign(stale=stale)
            for stale, part in ((False, rows[~to_close]), (True, rows[to_close]))
            if len(part)
        ]
        table = pd.concat(parts, ignore_index=True)
        keys = table.assign(
            optional=table["overdue_required"] == 0, negative_arr=-table["arr"].fillna(-1.0)
        )
        order = ["stale", "long_overdue", "optional", "negative_arr", "client_id"]
        return keys.sort_values(order, kind="stable")[LATE].reset_index(drop=True)

    def _late(self, rows: pd.DataFrame) -> pd.DataFrame:
        """A row for each customer of these overdue milestones."""
        order, ascending = ["required", "target_day", "milestone_id"], [False, True, True]
        rows = rows.sort_values(order, ascending=ascending, kind="stable")
        by_customer = rows.groupby("client_id")
        worst, clients = by_customer.first(), by_customer.first().index
        # the plan's order, not that of the worst
        blocked = rows.sort_index()[rows.sort_index()["blocked"].astype(bool)]
        blocker = blocked.groupby("client_id")["blocker"].first().reindex(clients).astype(object)
        days = (worst["day"] - worst["target_day"]).to_numpy(dtype=float)
        return self._profiles(clients).assign(
            overdue_required=by_customer["required"].sum().to_numpy(dtype=np.int64),
            overdue=by_customer.size().to_numpy(),
            worst=worst["name"].to_numpy(dtype=object),
            worst_days=self.day.count.between(worst["target_day"], worst["day"]),
            long_overdue=days > self.settings.stale_record_days,
            blocker=blocker.where(blocker.notna(), None).to_numpy(),
            likelihood=[_modelled(self.model.of(client)) for client in clients],
        )

    def success(self) -> pd.DataFrame:
        """Customers whose outcome is open, the lowest probability first."""
        model, live = self.model, self.context.live.index
        if not self.tracked:
            return pd.DataFrame(columns=SUCCESS)
        chances = {client: model.of(client) for client in model.ids if client in live}
        chances = {client: part for client, part in chances.items() if part.basis == "model"}
        figures = {"likelihood": "value", "lower": "lower", "upper": "upper"}
        table = self._profiles(pd.Index(list(chances), dtype=object)).assign(
            **{
                name: np.array([getattr(part, key) for part in chances.values()], dtype=float)
                for name, key in figures.items()
            },
            by_date=[str(date_of(model.by_day(client))) for client in chances],
            open=model.open_count(chances),
        )
        table = table.sort_values(["likelihood", "client_id"], kind="stable")
        return table[SUCCESS].reset_index(drop=True)

    # -- milestones ----------------------------------------------------------------------

    def funnel(self) -> pd.DataFrame:
        """A row a milestone: the live customers by status, and days over the portfolio."""
        if not self.tracked or self.day.plan is None:
            return pd.DataFrame(columns=FUNNEL).astype({"due": int, "on_time": int})
        times = spells(self.day.portfolio, self.day.as_of)
        groups = dict(list(self.rows.groupby("milestone_id")))
        steps = [
            self._step(groups[name], times[times["milestone_id"] == name])
            for name in self.day.plan.ids(self.category)
            if name in groups
        ]
        return pd.DataFrame(steps, columns=FUNNEL)

    def _step(self, rows: pd.DataFrame, times: pd.DataFrame) -> dict[str, Any]:
        counts = {name: int((rows["status"] == name).sum()) for name in STATUSES}
        planned, to_close = len(rows) - counts["skipped"], rows["to_close"].astype(bool)
        late = (rows["status"] == "overdue") & ~to_close
        due = (rows["target_day"] <= rows["day"]) & (rows["status"] != "skipped")
        median = NO_MEDIAN
        if len(times):
            median = quantile_time(survival_curve(times, self.day.level))
        return {
            **{name: rows.iloc[0][name] for name in MILESTONE},
            "customers": len(rows),
            **counts,
            "late": int(late.sum()),
            "to_close": int(to_close.sum()),
            "completed_share": counts["completed"] / planned if planned else np.nan,
            "blocked": int((rows["blocked"].astype(bool) & ~to_close).sum()),
            "waiting": int((late & rows["waits_for"].map(bool)).sum()),
            "overdue_arr": self._arr(rows.loc[late, "client_id"]),
            "due": int(due.sum()),
            "on_time": int((due & (rows["completed_day"] <= rows["target_day"])).sum()),
            "median_days": median.time,
            "lower": median.lower,
            "upper": median.upper,
            "n": len(times),
        }

    def cohorts(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Days to each mark by the quarter in which customers began, and over the portfolio."""
        marks = self.day.marks
        by_quarter = [
            self._cohort(mark, quarter) for mark in marks for quarter in self.day.quarters(mark)
        ]
        overall = [self._cohort(mark, None) for mark in marks if len(self.day.cohort(mark))]
        quarters, values = (
            pd.DataFrame(rows, columns=COHORTS).astype({"n": int, "reached": int})
            for rows in (by_quarter, overall)
        )
        return quarters, values

    def _cohort(self, mark: str, quarter: str | None) -> dict[str, Any]:
        rows, median = self.day.cohort(mark, quarter), self.day.median(mark, quarter)
        few = len(rows) < self.settings.peers_min
        target = (rows["target_day"] - rows["began_day"]).median()
        by_target = np.nan
        if not few and not np.isnan(target):
            by_target = 1 - float(survival_at(self.day.curve(mark, quarter), [target])[0])
        return {
            "mark": mark,
            "quarter": quarter,
            "n": len(rows),
            "reached": int(rows["happened"].sum()),
            "median_days": None if few else median.time,
            "lower": None if few else median.lower,
            "upper": None if few else median.upper,
            "share_by_target": by_target,
        }

    def _log_rank(self, mark: str) -> float | None:
        """p that all quarters with enough customers reach the mark at one pace."""
        rows = self.day.cohort(mark)
        sizes = rows.groupby("quarter")["client_id"].transform("size")
        rows = rows[sizes >= self.settings.peers_min]
        test = compared(rows, rows["quarter"])
        return None if test is None else rounded(test.p)

    def retention(self) -> pd.DataFrame:
        """A row a milestone: retention after its due day, of all customers, by whether it was done by then."""
        columns = ["milestone_id", "name", "target_days", *RETENTION[1:], "significant"]
        if self.day.plan is None or not self.tracked:
            return pd.DataFrame(columns=columns)
        rows = retention_after(self.day.portfolio, self.day.as_of).set_index("milestone_id")
        plan = self.day.plan.frame.set_index("milestone_id")
        rows = rows.loc[[name for name in self.day.plan.ids(self.category) if name in rows.index]]
        rows = rows.join(plan[["name", "target_days"]])
        rows["significant"] = rows["q"].astype(float) <= self.settings.effects_max_q
        return rows.reset_index()[columns]

    # -- blockers ------------------------------------------------------------------------

    def blockers(self) -> pd.DataFrame:
        """A row a blocker, most ARR first: customers that have it now, its days, its effect."""
        rows = self.rows[self._blocked]
        names = sorted({*rows["blocker"], *self.day.effects}) if self.tracked else []
        parts = [self._blocker(name, rows[rows["blocker"] == name]) for name in names]
        columns = ("arr", "oldest_days", "usual_days", "factor", "lower", "upper", "q")
        table = pd.DataFrame(parts, columns=[*BLOCKERS, *EFFECT]).astype(
            dict.fromkeys(columns, float)
        )
        keys = table.assign(negative_arr=-table["arr"].fillna(-1.0))
        order, ascending = ["negative_arr", "customers", "blocker"], [True, False, True]
        keys = keys.sort_values(order, ascending=ascending, kind="stable")
        return keys[table.columns].reset_index(drop=True)

    def _blocker(self, name: str, rows: pd.DataFrame) -> dict[str, Any]:
        effect = blocker_effect(self.day, name)
        severities = [severity(self.day, row) for row in rows.to_dict("records")]
        return {
            "blocker": name,
            "customers": rows["client_id"].nunique(),
            "milestones": len(rows),
            "severe": severities.count("high"),
            "arr": self._arr(rows["client_id"]),
            "oldest_days": (rows["day"] - rows["blocked_day"]).max(),
            "usual_days": self.day.clearing(name)[0].time,
            **{key: getattr(effect, key, None) for key in EFFECT},
        }

    # -- actions -------------------------------------------------------------------------

    def _actions(
        self, funnel: pd.DataFrame, blockers: pd.DataFrame, required: pd.DataFrame
    ) -> list[TriggeredRule]:
        blocker = blockers.iloc[0] if blockers["customers"].head(1).gt(0).any() else None
        worst = funnel.sort_values("late", ascending=False, kind="stable")
        step = worst.iloc[0] if len(worst) else None
        figures = {
            "late": len(required),
            "first": required["name"].iloc[0] if len(required) else None,
            "blocked": self._blocked_customers,
            "blocker": None if blocker is None else blocker["blocker"].replace("_", " "),
            "blocker_customers": 0 if blocker is None else int(blocker["customers"]),
            "stuck": None if step is None else step["name"],
            "stuck_customers": 0 if step is None else int(step["late"]),
            "stuck_waiting": 0 if step is None else int(step["waiting"]),
        }
        return rules.triggered(TOOL, "portfolio_action", figures, self.settings.rules)

    def _next_actions(self, late: pd.DataFrame) -> list[NextAction]:
        """What to do about the milestones of the first customers, in the order of the list."""
        known, names = NextActions.of(self.day.portfolio, self.day.as_of), set(self.rows["name"])
        actions: list[NextAction] = []
        for client in late["client_id"]:
            for action in known.customer(client):
                figures = action.figures
                about = figures.get("overdue_milestone") or figures.get("blocked_milestone")
                if action.topic == "milestones" and about in names:
                    actions.append(action)
            if len(actions) >= self.settings.next_actions_shown:
                break
        return actions


def _modelled(chance: SuccessChance) -> float:
    return np.nan if chance.value is None or chance.basis != "model" else chance.value
