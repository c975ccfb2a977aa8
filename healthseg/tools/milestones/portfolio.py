"""The portfolio's milestones: the funnel, who gets stuck where, time to value by quarter, blockers by ARR, who is late."""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.metrics.counting import customers
from healthseg.metrics.milestone_plan import date_of
from healthseg.metrics.milestone_times import spells
from healthseg.metrics.milestones import STATUSES
from healthseg.metrics.money import money
from healthseg.statistics.survival import quantile_time, survival_at
from healthseg.tools.milestones import advice, value
from healthseg.tools.milestones.answer import success_of
from healthseg.tools.milestones.blockers import effect, severity
from healthseg.tools.milestones.figures import NO_PLAN, TOOL, Figures, kaplan, ranked
from healthseg.tools.milestones.result import PortfolioMilestones
from healthseg.tools.rounding import records, rounded

FUNNEL = [
    "milestone_id",
    "name",
    "category",
    "required",
    "target_days",
    "customers",
    *STATUSES,
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
BLOCKERS = [
    "blocker",
    "customers",
    "milestones",
    "severe",
    "arr",
    "oldest_days",
    "usual_days",
    "factor",
    "lower",
    "upper",
    "q",
    "found",
    "n",
]
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


def of_portfolio(portfolio: Any, as_of: dt.date, asked: Any) -> PortfolioMilestones:
    return _PortfolioStub(Figures.of(portfolio, as_of), asked.milestone_category).response()


class _PortfolioStub:
    """What the parts of one response share."""

    def __init__(self, figures: Figures, category: str) -> None:
        self.figures, self.category = figures, category
        rows = figures.states
        if len(rows):
            rows = rows[rows["client_id"].isin(figures.live.index)]
            rows = rows[(rows["category"] == category) | (category == "all")]
        self.rows = rows

    def response(self) -> PortfolioMilestones:
        funnel, blockers, late, success = self.funnel(), self.blockers(), self.late, self.success()
        cohorts, values = self.cohorts()
        ranks = {mark: self._between(mark) for mark in self.figures.marks}
        done = self.figures
        response = PortfolioMilestones(
            as_of=done.as_of,
            data_until=done.portfolio.data_until,
            fingerprint=done.portfolio.fingerprint(done.as_of),
            warnings=[NO_PLAN] if done.plan is None else done.plan.warnings,
            not_measured=self._missing(),
            coverage=self._coverage(),
            milestone_category=self.category,
            total_customers=len(done.live),
            tracked_customers=self.tracked,
            excluded=done.excluded(),
            currency=self.money.currency,
            day_kind=done.settings.milestone_days,
            customers_late=int((late["overdue_required"] > 0).sum()),
            customers_late_arr=self._sum(late.loc[late["overdue_required"] > 0, "client_id"]),
            customers_blocked=self._customers("blocked"),
            customers_done=self._done(),
            customers_done_share=_share(self._done(), self.tracked),
            milestones_due=int(funnel["due"].sum()),
            milestones_on_time=int(funnel["on_time"].sum()),
            milestones_on_time_share=_share(int(funnel["on_time"].sum()), int(funnel["due"].sum())),
            funnel=records(funnel),
            values=records(values),
            cohorts=records(cohorts),
            log_rank=ranks,
            quarters_differ=value.beyond_chance(done, ranks),
            blockers=records(blockers),
            late=records(late),
            success=records(success),
            calibration=self._calibration(),
            actions=self._actions(funnel, blockers, late),
        )
        return response.with_frames(
            funnel=funnel,
            blockers=blockers,
            late=late,
            cohorts=cohorts,
            success=success,
            value=value.curves(done, []),
        )

    @property
    def tracked(self) -> int:
        return int(self.rows["client_id"].nunique()) if len(self.rows) else 0

    def _customers(self, column: str) -> int:
        return (
            int(self.rows.loc[self.rows[column].astype(bool), "client_id"].nunique())
            if len(self.rows)
            else 0
        )

    def _done(self) -> int:
        model = success_of(self.figures) if self.tracked else None
        live = self.figures.live.index
        return (
            0 if model is None else int((np.isfinite(model.all_done) & model.ids.isin(live)).sum())
        )

    # -- money ---------------------------------------------------------------------------

    @cached_property
    def money(self) -> Any:
        return money(self.figures.portfolio, self.figures.live, self.figures.as_of)

    def _sum(self, clients: Any) -> float | None:
        """ARR of these customers; None where amounts of several currencies can't be added up."""
        return (
            round(float(self.money.amounts.reindex(sorted(set(clients))).sum()), 2)
            if self.money.addable
            else None
        )

    def _who(self, clients: pd.Series) -> pd.DataFrame:
        """Name, tier, ARR and currency of customers, in their order."""
        known = customers(self.figures.portfolio).reindex(clients)
        ids = pd.Series(clients.to_numpy(), index=known.index)
        currency = self.money.by_currency.reindex(clients).to_numpy(dtype=object)
        name = known["name"].fillna(ids) if "name" in known else ids
        today = self.figures.as_of >= self.figures.portfolio.data_until
        manager = known["csm_id"].astype(object) if "csm_id" in known and today else None
        return pd.DataFrame(
            {
                "client_id": clients.to_numpy(),
                "name": name.to_numpy(dtype=object),
                "tier": self.figures.live["tier"].reindex(clients).to_numpy(dtype=object),
                "arr": self.money.amounts.reindex(clients).to_numpy(dtype=float),
                "currency": currency if self.money.currency is None else self.money.currency,
                "csm_id": None if manager is None else manager.to_numpy(),
            }
        )

    # -- the funnel ----------------------------------------------------------------------

    def funnel(self) -> pd.DataFrame:
        """A row a milestone: where the live customers stand with it, and how long it takes over the portfolio."""
        if not self.tracked:
            return pd.DataFrame(columns=FUNNEL).astype({"due": int, "on_time": int})
        times = spells(self.figures.portfolio, self.figures.as_of)
        names = self.figures.plan.ids(self.category)
        groups = dict(list(self.rows.groupby("milestone_id")))
        return pd.DataFrame(
            [
                self._step(groups[name], times[times["milestone_id"] == name])
                for name in names
                if name in groups
            ],
            columns=FUNNEL,
        )

    def _step(self, rows: pd.DataFrame, times: pd.DataFrame) -> dict[str, Any]:
        first, counts = (
            rows.iloc[0],
            {name: int((rows["status"] == name).sum()) for name in STATUSES},
        )
        asked = len(rows) - counts["skipped"]
        overdue = rows["status"] == "overdue"
        due = (rows["target_day"] <= rows["day"]) & (rows["status"] != "skipped")
        median = quantile_time(kaplan(times, self.figures.level)) if len(times) else value.NOBODY
        return {
            **{
                name: first[name]
                for name in ("milestone_id", "name", "category", "required", "target_days")
            },
            "customers": len(rows),
            **counts,
            "completed_share": counts["completed"] / asked if asked else np.nan,
            "blocked": int(rows["blocked"].sum()),
            "waiting": int((overdue & rows["waits_for"].map(bool)).sum()),
            "overdue_arr": self._sum(rows.loc[overdue, "client_id"]),
            "due": int(due.sum()),
            "on_time": int((due & (rows["completed_day"] <= rows["target_day"])).sum()),
            "median_days": median.time,
            "lower": median.lower,
            "upper": median.upper,
            "n": len(times),
        }

    # -- time to value -------------------------------------------------------------------

    def cohorts(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Time to each mark by the quarter in which customers began, and over the portfolio."""
        by, whole = [], []
        for mark in self.figures.marks:
            everyone = self.figures.cohort(mark)
            by += [
                self._cohort(mark, quarter, self.figures.cohort(mark, quarter))
                for quarter in sorted(everyone["quarter"].unique())
            ]
            if len(everyone):
                whole.append(self._cohort(mark, None, everyone))
        return tuple(
            pd.DataFrame(rows, columns=COHORTS).astype({"n": int, "reached": int})
            for rows in (by, whole)
        )

    def _cohort(self, mark: str, quarter: str | None, rows: pd.DataFrame) -> dict[str, Any]:
        median, target = self.figures.median(mark, quarter), rows["target_day"] - rows["began_day"]
        few = len(rows) < self.figures.settings.peers_min
        share = np.nan
        if not few and target.notna().any():
            share = 1 - float(survival_at(self.figures.curve(mark, quarter), [target.median()])[0])
        figures = (None, None, None) if few else (median.time, median.lower, median.upper)
        return dict(
            zip(
                COHORTS,
                (mark, quarter, len(rows), int(rows["happened"].sum()), *figures, share),
                strict=True,
            )
        )

    def _between(self, mark: str) -> float | None:
        """The p of all quarters with enough customers getting there at one pace."""
        rows = self.figures.cohort(mark)
        sizes = rows.groupby("quarter")["client_id"].transform("size")
        found = ranked(
            rows[sizes >= self.figures.settings.peers_min],
            rows.loc[sizes >= self.figures.settings.peers_min, "quarter"],
        )
        return None if found is None else rounded(found.p)

    # -- blockers ------------------------------------------------------------------------

    def blockers(self) -> pd.DataFrame:
        """A row a blocker: where it stands now, with its ARR; how long it usually stands, what it costs."""
        rows = self.rows[self.rows["blocked"].astype(bool)] if self.tracked else self.rows
        standing = dict(list(rows.groupby("blocker"))) if len(rows) else {}
        names = sorted({*standing, *self.figures.effects}) if self.tracked else []
        found = [self._blocker(name, standing.get(name, rows.iloc[:0])) for name in names]
        found = pd.DataFrame(found, columns=BLOCKERS).astype(
            dict.fromkeys(
                ("arr", "oldest_days", "usual_days", "factor", "lower", "upper", "q"), float
            )
        )
        order = (
            found.assign(stake=-found["arr"].fillna(-1.0))
            .sort_values(
                ["stake", "customers", "blocker"], ascending=[True, False, True], kind="stable"
            )
            .index
        )
        return found.loc[order].reset_index(drop=True)

    def _blocker(self, name: str, rows: pd.DataFrame) -> dict[str, Any]:
        usual, _ = self.figures.clearing(name)
        found = effect(self.figures, name)
        severe = [severity(self.figures, row) == "high" for row in rows.to_dict("records")]
        known = {} if found is None else found.model_dump()
        return {
            "blocker": name,
            "customers": rows["client_id"].nunique(),
            "milestones": len(rows),
            "severe": sum(severe),
            "arr": self._sum(rows["client_id"]),
            "oldest_days": (rows["day"] - rows["blocked_day"]).max(),
            "usual_days": usual.time,
            **{key: known.get(key) for key in ("factor", "lower", "upper", "q", "found", "n")},
        }

    # -- who -----------------------------------------------------------------------------

    @cached_property
    def late(self) -> pd.DataFrame:
        """Customers with something overdue: those with a required one first, by ARR."""
        rows = self.rows[self.rows["status"] == "overdue"] if self.tracked else self.rows
        if not len(rows):
            return pd.DataFrame(columns=LATE).astype({"overdue_required": int, "overdue": int})
        worst = (
            rows.sort_values(
                ["client_id", "required", "target_day", "milestone_id"],
                ascending=[True, False, True, True],
                kind="stable",
            )
            .groupby("client_id")
            .first()
        )
        by = rows.groupby("client_id")
        found = self._who(pd.Series(worst.index))
        blocked = rows[rows["blocked"]].groupby("client_id")["blocker"].first()
        found = found.assign(
            overdue_required=by["required"].sum().to_numpy(dtype=np.int64),
            overdue=by.size().to_numpy(),
            worst=worst["name"].to_numpy(dtype=object),
            worst_days=self.figures.count.between(worst["target_day"], worst["day"]),
            blocker=blocked.reindex(worst.index)
            .astype(object)
            .where(lambda one: one.notna(), None)
            .to_numpy(),
            likelihood=self._likely(worst.index),
        )
        order = found.assign(
            optional=found["overdue_required"] == 0, stake=-found["arr"].fillna(-1.0)
        )
        order = order.sort_values(["optional", "stake", "client_id"], kind="stable").index
        return found.loc[order, LATE].reset_index(drop=True)

    def _likely(self, clients: Any) -> list[float]:
        model = success_of(self.figures)
        found = (model.of(client) for client in clients)
        return [np.nan if one.value is None or one.basis != "model" else one.value for one in found]

    def success(self) -> pd.DataFrame:
        """Customers whose outcome is open, the least likely first."""
        if not self.tracked:
            return pd.DataFrame(columns=SUCCESS)
        model = success_of(self.figures)
        found = [
            (client, chance)
            for client in model.ids
            if client in self.figures.live.index and (chance := model.of(client)).basis == "model"
        ]
        frame = self._who(pd.Series([client for client, _ in found], dtype=object))
        at = model.ids.get_indexer(frame["client_id"])
        frame = frame.assign(
            **{
                key: np.array([getattr(one, name) for _, one in found], dtype=float)
                for key, name in (("likelihood", "value"), ("lower", "lower"), ("upper", "upper"))
            },
            by_date=[str(date_of(model.by_day(client))) for client, _ in found],
            open=(model.done[at] > model.today[at][:, None]).sum(axis=1),
        )
        return frame.sort_values(["likelihood", "client_id"], kind="stable")[SUCCESS].reset_index(
            drop=True
        )

    # -- what is said --------------------------------------------------------------------

    def _actions(
        self, funnel: pd.DataFrame, blockers: pd.DataFrame, late: pd.DataFrame
    ) -> list[dict[str, Any]]:
        top = blockers.iloc[0] if len(blockers) and blockers["customers"].iloc[0] else None
        worst = funnel.sort_values(["overdue", "milestone_id"], ascending=[False, True]).head(1)
        required = late[late["overdue_required"] > 0]
        return rules.fired(
            TOOL,
            "portfolio_action",
            {
                "late": len(required),
                "first": None if not len(required) else required["name"].iloc[0],
                "blocked": self._customers("blocked"),
                "blocker": None if top is None else top["blocker"].replace("_", " "),
                "blocker_customers": 0 if top is None else int(top["customers"]),
                "stuck": None if not len(worst) else worst["name"].iloc[0],
                "stuck_customers": 0 if not len(worst) else int(worst["overdue"].iloc[0]),
                "stuck_waiting": 0 if not len(worst) else int(worst["waiting"].iloc[0]),
            },
        )

    def _calibration(self) -> Any:
        return advice.calibration(success_of(self.figures)) if self.tracked else None

    def _coverage(self) -> float | None:
        """The share of live customers of which milestones are known."""
        return rounded(self.tracked / len(self.figures.live)) if len(self.figures.live) else None

    def _missing(self) -> dict[str, str]:
        if self.figures.plan is None:
            return dict.fromkeys(
                ("$.funnel", "$.values", "$.cohorts", "$.blockers", "$.late"), NO_PLAN
            )
        found = {}
        if not self.money.addable:
            found["$.customers_late_arr"] = "the portfolio has several currencies and no rates"
        model = success_of(self.figures)
        if model.model is None:
            found["$.success"] = (
                f"{model.past} past customers with {model.failures} failures are too few to tell"
            )
        return found


def _share(part: int, whole: int) -> float | None:
    return rounded(part / whole) if whole else None
