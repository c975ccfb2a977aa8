"""One customer's milestones: statuses, days, forecasts and time to value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from healthseg.metrics.counting import EPOCH
from healthseg.metrics.milestone_plan import CATEGORIES, MARKS, date_of
from healthseg.metrics.milestone_times import Ahead, MilestoneMark, ahead, forecast
from healthseg.metrics.milestones import DATA, STATUSES
from healthseg.statistics.survival import Median, quantile_time, survival_at
from healthseg.tools.base import Figure
from healthseg.tools.context import DAY, CustomerContext
from healthseg.tools.milestones.advice import (
    Milestone,
    OpenMilestones,
    success_figures,
    success_probability,
    unknown_success,
)
from healthseg.tools.milestones.milestone_day import (
    NO_MEDIAN,
    NO_PLAN,
    OPEN,
    MilestoneDay,
    dated,
    survival_curve,
)
from healthseg.tools.milestones.result import (
    AdoptionMilestones,
    CategoryProgress,
    MilestoneDetail,
    MilestoneForecast,
    MilestoneProgress,
    SuccessProbability,
    TimeToValue,
    ValueTime,
    ValueVersusTarget,
)
from healthseg.tools.next_actions import NextActions
from healthseg.tools.values import integer, number, rounded, word

NO_MILESTONES = "no milestone applies to this customer, or none was tracked while it began"
UNTRACKED_USE = "use completed it, and use before tracking began is not known"
FRAME_COLUMNS = [
    "milestone_id",
    "name",
    "category",
    "status",
    "to_close",
    "required",
    "target_days",
    "anchor_day",
    "target_day",
    "started_day",
    "completed_day",
    "completed_by",
    "days",
    "skipped_day",
    "reached",
    "users",
    "blocker",
    "blocked",
    "blocked_day",
    "owner",
    "day",
    "median_day",
    "lower_day",
    "upper_day",
    "began_day",
]


class CustomerMilestones:
    """A customer's milestones of a category at ``as_of``; a churned one's on its last day."""

    def __init__(self, context: CustomerContext, category: str) -> None:
        self.context, self.category = context, category
        self.day = MilestoneDay.of(context.portfolio, context.as_of)
        self.settings, self.client_id = context.settings, context.client_id
        self.all_rows = self.day.rows_of.get(self.client_id, [])
        self.rows = [row for row in self.all_rows if category in ("all", row["category"])]
        self.known = bool(self.all_rows)
        self.unknown = NO_PLAN if self.day.plan is None else NO_MILESTONES

    @cached_property
    def spell(self) -> dict[str, Any]:
        """Its present spell: signup_day, began_day, live and the last day; empty where unknown."""
        spells = self.day.present_spells
        return spells.loc[self.client_id].to_dict() if self.client_id in spells.index else {}

    @property
    def live(self) -> bool:
        return bool(self.spell.get("live"))

    def result(self, include_overdue: bool, include_recommendations: bool) -> AdoptionMilestones:
        """The response; without overdue milestones the counts still hold them."""
        context, day = self.context, self.day
        shown = [row for row in self.rows if include_overdue or row["status"] != "overdue"]
        details = [self.detail(row) for row in shown]
        value, progress = self.time_to_value(), self.progress()
        advice = OpenMilestones(day, shown, self.all_rows)
        coming = day.success_model.completion_of_all(self.client_id) if self.known else None
        unknown = () if self.known else ("$.overall_progress", "$.time_to_value")
        marks = self._marks_frame()
        return AdoptionMilestones(
            as_of=context.as_of,
            data_until=day.portfolio.data_until,
            fingerprint=day.portfolio.fingerprint(context.as_of),
            coverage=_coverage(details, value),
            warnings=self._warnings(),
            not_measured=dict.fromkeys(unknown, self.unknown),
            client_id=self.client_id,
            customer_name=context.name,
            milestone_category=self.category,
            began_on=date_of(self.spell.get("began_day", np.nan)),
            day_kind=self.settings.milestone_days,
            overall_progress=progress,
            milestone_details=self._if_known(details),
            category_progress=self._if_known(self.category_progress()),
            time_to_value=value,
            blockers=self._if_known(advice.blockers()),
            recommendations=self._if_known(advice.recommendations() if self.live else [])
            if include_recommendations
            else Figure(None, "not requested"),
            success_probability=self._success(progress, value),
            expected_full_adoption=None if coming is None else self._forecast(coming),
            next_actions=NextActions.of(day.portfolio, context.as_of).shown(self.client_id),
        ).with_frames(
            milestones=self._milestones_frame(),
            marks=marks,
            value=day.curves(marks["quarter"].unique(), without=self.client_id),
        )

    def _if_known(self, value: Any) -> Any:
        return value if self.known else Figure(None, self.unknown)

    def _warnings(self) -> list[str]:
        plan, context, spell = self.day.plan, self.context, self.spell
        warnings = [NO_PLAN] if plan is None else list(plan.warnings)
        if context.churned_on is not None:
            last = context.churned_on - DAY
            warnings.append(f"churned on {context.churned_on}: shown as of {last}")
        if spell and spell["began_day"] > spell["signup_day"]:
            since = date_of(spell["began_day"])
            warnings.append(f"returned on {since}: steps done before do not count")
        return warnings

    # -- progress ------------------------------------------------------------------------

    def progress(self) -> MilestoneProgress:
        """Counts of all that applies; nothing where it is not known what does."""
        if not self.known:
            reason = Figure(None, self.unknown)
            return MilestoneProgress(**dict.fromkeys(MilestoneProgress.model_fields, reason))
        counts = _counts(self.rows)
        to_close = sum(bool(row["to_close"]) for row in self.rows)
        late = sum(
            row["status"] == "overdue" and row["required"] and not row["to_close"]
            for row in self.rows
        )
        to_come = [row for row in self.rows if row["status"] in ("in_progress", "not_started")]
        due = [row["target_day"] for row in to_come if not np.isnan(row["target_day"])]
        return MilestoneProgress(
            total_milestones=len(self.rows),
            **{f"{name}_milestones": count for name, count in counts.items()},
            completion_rate=_completion_rate(counts),
            on_track=late == 0,
            overdue_required=late,
            records_to_close=to_close,
            next_due=date_of(min(due, default=np.nan)),
        )

    def category_progress(self) -> dict[str, CategoryProgress]:
        parts = {}
        for name in CATEGORIES:
            rows = [row for row in self.rows if row["category"] == name]
            days = [row["days"] for row in rows if not np.isnan(row["days"])]
            counts = _counts(rows)
            if rows:
                parts[name] = CategoryProgress(
                    **counts,
                    total=len(rows),
                    completion_rate=_completion_rate(counts),
                    n=len(days),
                    avg_days_to_complete=rounded(np.mean(days), 1) if days else None,
                )
        return parts

    # -- each milestone ------------------------------------------------------------------

    def detail(self, row: Milestone) -> MilestoneDetail:
        completed, is_open = row["status"] == "completed", row["status"] in OPEN
        overdue, by_use = row["status"] == "overdue", row["feature"] is not None
        days, left = rounded(row["days"], 1), rounded(self.day.days_left(row), 1)
        ahead_behind, days_ahead = self._against_target(row, days)
        progress = None if not by_use else 1.0 if completed else rounded(row["progress"])
        due = date_of(row["target_day"])
        owners_known = self.context.as_of >= self.day.portfolio.data_until
        return MilestoneDetail(
            milestone_id=row["milestone_id"],
            milestone_name=row["name"],
            milestone_category=row["category"],
            status=row["status"],
            required=bool(row["required"]),
            target_completion_days=int(row["target_days"]),
            target_date=Figure(due, "its days begin with a milestone that is open"),
            anchor_date=date_of(row["anchor_day"]),
            actual_completion_days=Figure(days, UNTRACKED_USE if completed else None),
            completion_date=_completion_moment(row) if completed else None,
            completed_by=row["completed_by"] if completed else None,
            ahead_behind=ahead_behind,
            days_ahead=days_ahead,
            started_date=date_of(row["started_day"]),
            expected_completion_date=due if is_open else None,
            days_remaining=left if is_open and not overdue else None,
            days_overdue=-left if overdue and left is not None else None,
            to_close=bool(row["to_close"]),
            elapsed_days=rounded(row["elapsed"], 1) if is_open else None,
            progress_percentage=Figure(
                progress, "a person completes it, not use" if is_open else None
            ),
            users_reached=integer(row["reached"]) if by_use else None,
            users_asked=int(row["users"]) if by_use else None,
            skipped_date=date_of(row["skipped_day"]) if row["status"] == "skipped" else None,
            blocker=row["blocker"] if row["blocked"] else None,
            blocked_since=date_of(row["blocked_day"]) if row["blocked"] else None,
            waits_for=[self.day.names[name] for name in row["waits_for"]],
            owner=Figure(
                word(row["owner"]), None if owners_known else "owners are known as of today only"
            ),
            forecast_completion=Figure(
                self.forecasts.get(row["milestone_id"]), self._no_forecast if is_open else None
            ),
        )

    def _against_target(
        self, row: Milestone, days: float | None
    ) -> tuple[str | None, float | None]:
        """ahead, on_time or behind, and the days ahead, of a milestone completed in known days."""
        if days is None:
            return None, None
        early = round(row["target_days"] - days, 1)
        return self._side(early, row["completed_day"] == row["target_day"], "on_time"), early

    def _side(self, early: float, on_due_day: bool, on_time: str) -> str:
        if on_due_day or abs(early) < self.settings.milestone_on_time_days:
            return on_time
        return "ahead" if early > 0 else "behind"

    @cached_property
    def forecasts(self) -> dict[str, MilestoneForecast | None]:
        """When open milestones are completed; nothing for a churned customer."""
        day, settings = self.day, self.settings
        rows = [row for row in self.rows if row["live"] and row["status"] in OPEN]
        return {
            row["milestone_id"]: self._forecast(
                forecast(day.portfolio, day.as_of, row, settings.peers_min, day.level)
            )
            for row in rows
        }

    @property
    def _no_forecast(self) -> str:
        if not self.live:
            return "the customer has churned"
        return (
            f"fewer than {self.settings.peers_min} customers had it open as long, or none of them "
            "completed it"
        )

    def _forecast(self, coming: Ahead) -> MilestoneForecast | None:
        """A forecast in dates; None where not even its beginning is known."""
        if coming.lower is None and coming.median is None:
            return None
        median, lower, upper = (
            None if day is None else date_of(day)
            for day in (coming.median, coming.lower, coming.upper)
        )
        return MilestoneForecast(
            median=median,
            lower=lower,
            upper=upper,
            interval_level=self.day.level,
            n=coming.n,
            among=coming.of,
        )

    # -- time to value -------------------------------------------------------------------

    @cached_property
    def _values(self) -> dict[str, dict[str, Any]]:
        """The customer's own days by mark."""
        return {row["mark"]: row for row in self.day.values_of.get(self.client_id, [])}

    def time_to_value(self) -> TimeToValue:
        ranks = {
            name: self.day.quarter_log_rank(name, row["quarter"])
            for name, row in self._values.items()
        }
        p = {name: None if rank is None else rounded(rank.p) for name, rank in ranks.items()}
        differ = self.day.significant(p)
        parts = {
            name: self._value(row, self.day.marks[name], p[name], differ[name])
            for name, row in self._values.items()
        }
        days = {
            f"{name}_days": Figure(parts[name].days if name in parts else None, self._no_days(name))
            for name in MARKS
        }
        words = {name: parts[name].word if name in parts else None for name in MARKS}
        return TimeToValue(
            **days, vs_target=ValueVersusTarget(**words), detail=list(parts.values())
        )

    def _no_days(self, mark: str) -> str:
        if not self.known:
            return self.unknown
        if mark not in self._values:
            return "no milestone defines it"
        return UNTRACKED_USE if self._values[mark]["happened"] else "not reached yet"

    def _value(
        self, row: Mapping[str, Any], mark: MilestoneMark, p: float | None, differs: bool | None
    ) -> ValueTime:
        everyone = self.day.cohort(mark.name)
        peers = self.day.cohort(mark.name, row["quarter"])
        peers = peers[peers["client_id"] != self.client_id]
        median, share = self._peers(peers, row["time"])
        portfolio = self.day.median(mark.name)
        few = (
            f"fewer than {self.settings.peers_min} others began in the same quarter, or fewer than "
            "half got there"
        )
        return ValueTime(
            mark=mark.name,
            definition=mark.text,
            days=rounded(row["days"], 1),
            reached_on=date_of(row["reached_day"]),
            target_days=number(row["target"]),
            target_date=date_of(row["target_day"]),
            word=self._word(row),
            quarter=row["quarter"],
            cohort_n=len(peers),
            cohort_reached=int(peers["happened"].sum()),
            cohort_median_days=Figure(median.time, few),
            cohort_lower=median.lower,
            cohort_upper=median.upper,
            cohort_share_by_then=share,
            portfolio_n=len(everyone),
            portfolio_median_days=portfolio.time,
            portfolio_lower=portfolio.lower,
            portfolio_upper=portfolio.upper,
            log_rank_p=p,
            pace_differs=differs,
            interval_level=self.day.level,
            forecast=self._value_forecast(row, everyone),
        )

    def _peers(self, peers: pd.DataFrame, time: float) -> tuple[Median, float | None]:
        """The peers' median, and the share of them that had reached it by this customer's day."""
        if len(peers) < self.settings.peers_min:
            return NO_MEDIAN, None
        curve = survival_curve(peers, self.day.level)
        return quantile_time(curve), rounded(1 - float(survival_at(curve, [time])[0]))

    def _word(self, row: Mapping[str, Any]) -> str | None:
        """The day on which it was reached against the target."""
        if np.isnan(row["target_day"]):
            return None
        if not row["happened"]:
            return "overdue" if row["target_day"] < self.spell["day"] else "in_progress"
        if np.isnan(row["days"]):
            return None
        early = round(row["target"] - round(row["days"], 1), 1)
        return self._side(early, row["reached_day"] == row["target_day"], "on_target")

    def _value_forecast(
        self, row: Mapping[str, Any], everyone: pd.DataFrame
    ) -> MilestoneForecast | None:
        """For a live customer that is not there yet."""
        if row["happened"] or not self.live:
            return None
        others = everyone[everyone["client_id"] != self.client_id]
        coming = ahead(others, row["time"], self.day.level)
        if coming.n < self.settings.peers_min:
            return None
        coming = dated(
            coming,
            lambda wait: self.day.count.after(row["began_day"], wait),
            "not there yet after as long",
        )
        return self._forecast(coming)

    # -- success and frames --------------------------------------------------------------

    def _success(self, progress: MilestoneProgress, value: TimeToValue) -> SuccessProbability:
        if not self.known:
            return unknown_success(self.day, self.unknown)
        panel_row = self.context.row(self.day.as_of) if self.live else {}
        figures = success_figures(self.day, self.all_rows, progress, value, panel_row)
        return success_probability(self.day, self.client_id, figures)

    def _milestones_frame(self) -> pd.DataFrame:
        """A row a milestone, unrounded; days since 1970, with those of the forecasts."""
        states = self.day.states
        rows = states[states["client_id"] == self.client_id]
        rows = rows[(rows["category"] == self.category) | (self.category == "all")]
        parts = [self.forecasts.get(name) for name in rows["milestone_id"]]
        forecast_days = {
            f"{end}_day": [_epoch_day(part, end) for part in parts]
            for end in ("median", "lower", "upper")
        }
        return rows.assign(**forecast_days)[FRAME_COLUMNS].reset_index(drop=True)

    def _marks_frame(self) -> pd.DataFrame:
        """The customer's own times: days (so far, where not reached), happened, target_days."""
        rows = [
            {
                "mark": row["mark"],
                "days": row["time"],
                "happened": bool(row["happened"]),
                "quarter": row["quarter"],
                "target_days": row["target"],
            }
            for row in self._values.values()
        ]
        columns = ["mark", "days", "happened", "quarter", "target_days"]
        return pd.DataFrame(rows, columns=columns)


def _counts(rows: Sequence[Milestone]) -> dict[str, int]:
    return {name: sum(row["status"] == name for row in rows) for name in STATUSES}


def _completion_rate(counts: Mapping[str, int]) -> float | None:
    planned = sum(counts.values()) - counts["skipped"]
    return rounded(counts["completed"] / planned) if planned else None


def _completion_moment(row: Milestone) -> str:
    """The instant in UTC where it has a time, else the account's own date."""
    if row["completed_by"] == DATA or pd.isna(row["completed_at"]):
        return str(date_of(row["completed_day"]))
    return pd.Timestamp(row["completed_at"]).strftime("%Y-%m-%dT%H:%M:%SZ")


def _coverage(details: Sequence[MilestoneDetail], value: TimeToValue) -> float | None:
    """The share of what was reached, milestones and values, whose days are known."""
    known = [
        *(
            part.actual_completion_days is not None
            for part in details
            if part.status == "completed"
        ),
        *(part.days is not None for part in value.detail if part.reached_on is not None),
    ]
    return round(sum(known) / len(known), 4) if known else None


def _epoch_day(coming: MilestoneForecast | None, end: str) -> float:
    date = None if coming is None else getattr(coming, end)
    return float("nan") if date is None else float((date - EPOCH).days)
