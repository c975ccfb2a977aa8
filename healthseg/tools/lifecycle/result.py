"""The results of manage_lifecycle_stages, for a customer and for the portfolio."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from healthseg.charts.formats import brief_money, lower_first
from healthseg.rules import counted, phrases
from healthseg.tools.base import Interval, Part, Result, TriggeredRule
from healthseg.tools.next_actions import NextAction

if TYPE_CHECKING:
    from healthseg.charts.theme import Picture


MISSING_SHOWN = 2


class ProgressionStep(Part):
    """One time in a stage."""

    stage: str = Field(description="Stage")
    start_date: dt.date = Field(description="First day")
    end_date: dt.date | None = Field(description="Day on which the next stage began; null: current")
    duration_days: int = Field(description="Whole days")
    visit: int = Field(description="Which time in this stage it is")


class TypicalDuration(Part):
    """How long customers of the portfolio are in the current stage."""

    median_days: float | None = Field(description="Median days in the stage")
    interval: Interval | None = Field(description="Interval of the median, days")
    interval_level: float = Field(description="Level of the interval")
    n: int = Field(description="Times in the stage behind the curve")
    ended: int = Field(description="Of these ended")
    watched_until_days: float | None = Field(description="Longest time that was watched")


class StageHealth(Part):
    """Typical duration of the stage, and whether the score fits it."""

    current_stage_typical_duration_days: int | str | None = Field(
        description="Median days; ongoing: half of them never leave as far as was seen"
    )
    health_score: int | None = Field(description="Health score")
    stage_appropriate_health: bool | None = Field(description="Whether the score fits the stage")
    minimum_health: float | None = Field(description="Lowest score that fits")
    typical_duration: TypicalDuration | None = Field(description="Figures behind")


class StageExit(Part):
    """A stage that follows, with how often in the portfolio."""

    to: str = Field(description="Stage")
    share: float = Field(description="Share of all that enter the stage")
    share_from_here: float | None = Field(description="Share of those still in it on this day")


class StagePosition(Part):
    """Where the customer's time in the stage lies on the stage's curve."""

    day: int = Field(description="Days in the stage")
    share_still_in: float | None = Field(
        description="Share of all that enter the stage still in it after so many days"
    )
    half_of_these_left_by_day: float | None = Field(description="Day by which half of these exit")
    text: str | None = Field(description="In words")
    stuck: bool | None = Field(description="Whether the customer is stuck")
    stuck_from_day: float | None = Field(description="Day from which customers are stuck")
    doors: list[StageExit] | None = Field(description="Exits")


class TriggeredAction(Part):
    """An action that a transition triggered."""

    action: str = Field(description="Action")
    status: str = Field(description="scheduled, completed, failed or not_configured")
    scheduled_for: str | None = Field(description="UTC instant")
    reason: str | None = Field(default=None, description="Why it failed")
    attempts: int = Field(default=0, description="Attempts")


class CriterionDetail(Part):
    """One criterion of the next stage."""

    text: str = Field(description="In words")
    figure: str = Field(description="Figure it reads")
    value: float | None = Field(description="Value now")
    unit: str = Field(description="Unit")
    target: float | None = Field(description="Target")
    days: int = Field(description="Days in a row on which it has to hold")
    met: bool | None = Field(description="Whether it is met; null: not measured")
    held_days: int = Field(description="Days in a row on which it holds")
    since: dt.date | None = Field(description="Since when it holds")
    since_or_earlier: bool = Field(description="Whether it holds on all days read")


class StageProgress(Part):
    """Progress toward the next stage."""

    criteria_met: int = Field(description="Criteria met")
    criteria_total: int = Field(description="Criteria")
    estimated_days_to_transition: int | None = Field(description="Days until the transition")
    estimated_days_interval: Interval | None = Field(description="Interval, days")
    interval_level: float = Field(description="Level of the interval")
    estimate_basis: str | None = Field(description="What the estimate rests on")


class NextStage(Part):
    """What the next stage requires."""

    target_stage: str | None = Field(description="Next stage")
    criteria: list[str] = Field(description="Criteria in words")
    progress: StageProgress = Field(description="How many are met")
    criteria_detail: list[CriterionDetail] = Field(description="Each criterion")
    allowed_stages: list[str] = Field(description="Stages that can follow")


class Disagreement(Part):
    """Where another table contradicts the recorded stage."""

    kind: str = Field(description="contract, leaving, usage, notice, score or renewal")
    recorded_stage: str = Field(description="Recorded stage")
    suggests: str = Field(description="Stage that the table suggests")
    since: dt.date | None = Field(description="Since when")
    text: str = Field(description="In words")


class RecordedChange(Part):
    """A row of the history as it was entered, also where a later one replaced it."""

    stage: str = Field(description="Stage")
    effective_at: str = Field(description="UTC instant")
    recorded_at: str = Field(description="UTC instant")
    reason: str | None = Field(description="Reason")
    automated: bool = Field(description="Whether a rule made it")
    actor: str | None = Field(description="Who made it")
    kind: str = Field(description="transition or correction")
    source: str = Field(description="imported or recorded")
    in_force: bool = Field(description="False: replaced, or no change")


class SuggestedStage(Part):
    """The stage that the data would suggest; never recorded by itself."""

    stage: str | None = Field(description="Stage")
    text: str = Field(description="Why")


class LifecycleStage(Result):
    """One customer's stage, its history, and the next stage.

    Frames: progression, curve, doors, criteria, history.
    """

    tool: ClassVar[str] = "manage_lifecycle_stages"

    lifecycle: str = Field(description="Name of the lifecycle; empty: the customer's own stages")
    client_id: str = Field(description="Customer identifier")
    customer_name: str = Field(description="Name")
    action: str = Field(description="What was requested")
    changed: bool = Field(description="Whether this call recorded something")
    request_id: str | None = Field(description="Identifier of the last change")
    previous_stage: str | None = Field(description="Stage before")
    current_stage: str | None = Field(description="Stage")
    stage_source: str = Field(description="recorded, imported or none")
    transition_date: str | None = Field(description="UTC instant of the last change")
    transition_reason: str | None = Field(description="Its reason")
    automated: bool | None = Field(description="Whether a rule made it")
    actor: str | None = Field(description="Who made it")
    recorded_at: str | None = Field(description="When it was recorded, UTC")
    correction: bool = Field(description="Whether it is a correction")
    known_at: str | None = Field(description="The record is read as known then")
    days_in_previous_stage: int | None = Field(description="Whole days")
    days_in_current_stage: int | None = Field(description="Whole days")
    stage_progression: list[ProgressionStep] = Field(description="Times in stages, oldest first")
    stage_health: StageHealth = Field(description="Typical duration and score")
    position: StagePosition | None = Field(
        description="Where the time in the stage lies on its curve"
    )
    stuck_share: float = Field(
        description="Share still in the stage below which customers are stuck"
    )
    automated_actions_triggered: list[TriggeredAction] = Field(description="Actions of this call")
    last_transition_actions: list[TriggeredAction] = Field(
        description="Actions of the last transition"
    )
    next_stage_criteria: NextStage = Field(description="What the next stage requires")
    suggestion: SuggestedStage = Field(description="Stage that the data suggest")
    disagreements: list[Disagreement] = Field(description="Contradictions with other tables")
    recommended_actions: list[str] = Field(description="Recommendations, most severe first")
    recommended_actions_detail: list[TriggeredRule] = Field(description="The rules behind them")
    next_actions: list[NextAction] = Field(
        default_factory=list, description="What to do next, of the list that all tools share"
    )
    history: list[RecordedChange] = Field(description="Each recorded change")

    def charts(self) -> dict[str, Picture]:
        from healthseg.charts import lifecycle

        return {
            "timeline": lifecycle.timeline(self.frame("progression"), self.as_of),
            "position": lifecycle.position(
                self.frame("curve"),
                self.current_stage,
                self.days_in_current_stage,
                self.stuck_share,
            ),
            "doors": lifecycle.doors(self.frame("doors")),
        }

    def verdict(self) -> str:
        if self.current_stage is None:
            return f"{self.customer_name}: no stage is recorded" + (
                f"; the data suggest {_words(self.suggestion.stage)}"
                if self.suggestion.stage
                else ""
            )
        text = f"{self.customer_name}: {self.notice}{_words(self.current_stage)} for {_days(self.days_in_current_stage or 0)}"
        if self.position is not None and self.position.stuck:
            text += ", longer than nearly all that entered it"
        progress = self.next_stage_criteria.progress
        if self.notice:
            return text
        if self.next_stage_criteria.target_stage is not None and progress.criteria_total:
            step = _words(self.next_stage_criteria.target_stage)
            met, total = progress.criteria_met, progress.criteria_total
            missing = "; ".join(self._missing()[:MISSING_SHOWN])
            if total == 1:
                text += (
                    f"; it can move to {step} with {missing}" if missing else f"; ready for {step}"
                )
            else:
                text += f"; {met} of {total} criteria of {step} are met"
        count = len(self.disagreements)
        return text + (
            f"; {count} disagreement{'' if count == 1 else 's'} with other data" if count else ""
        )

    def _missing(self) -> list[str]:
        """What the criteria wait for that are not met, in words."""
        words = phrases(self.tool, "waits_for")
        return [
            words[each.figure]["text"] if each.figure in words else lower_first(each.text)
            for each in self.next_stage_criteria.criteria_detail
            if not each.met
        ]

    def summary(self) -> dict[str, Any]:
        typical = self.stage_health.current_stage_typical_duration_days
        return {
            "Stage": "none recorded" if self.current_stage is None else _words(self.current_stage),
            "Since": self.transition_date or "unknown",
            "Typical duration": f"{typical} days"
            if isinstance(typical, int)
            else typical or "unknown",
            "Next": self.next_stage_criteria.target_stage or "none",
            "Recommendations": "; ".join(self.recommended_actions) or "none",
        }


class StageAgainstScore(Part):
    """The stage “at risk”, which people set, beside scores below the threshold; and renewals beside their stage."""

    risk_threshold: float = Field(description="Score below which customers need attention")
    in_stage: int = Field(description="Customers in the stage “at risk”")
    below_threshold: int = Field(description="Customers whose score is below the threshold")
    both: int = Field(description="Customers of whom both is so")
    only_below: int = Field(description="Customers below the threshold in other stages")
    only_below_arr: float | None = Field(description="Their ARR")
    only_in_stage: int = Field(description="Customers in the stage whose score is not below it")
    only_in_stage_arr: float | None = Field(description="Their ARR")
    renewing_soon: int = Field(description="Customers that renew within 30 days")
    renewing_soon_in_stage: int = Field(description="Those of them in the stage “renewing”")


class PortfolioLifecycle(Result):
    """The portfolio's stages. Frames:

    stages: stage, customers, arr, typical_days, lower, upper, n, stuck (a row a stage with customers or a curve);
    over_time: date, stage, customers, arr; matrix: source, target, n, of, share, lower, upper, customers, arr; curves: stage, days,
    share, lower, upper, n; durations: stage, q25, median, q75, stuck_from, n; stuck: client_id, name, stage, since,
    days, share_still_in, typical_days, arr, currency, csm_id, reason; moves: client_id, kind (setback, return,
    win-back), source, target, on, visit, name, arr, currency, csm_id; returns: stage, stays, returns, share;
    disagreements: client_id, name, recorded, suggests, kind, since, arr, currency, csm_id, reason.
    """

    tool: ClassVar[str] = "manage_lifecycle_stages"

    lifecycle: str = Field(description="Name of the lifecycle; empty: the customers' own stages")
    total_customers: int = Field(description="Live customers")
    excluded: dict[str, int] = Field(description="Customers not counted, by reason")
    without_stage: int = Field(description="Live customers without a stage")
    currency: str | None = Field(description="Currency of amounts")
    total_arr: float | None = Field(description="ARR of live customers")
    stage_counts: dict[str, int] = Field(description="Customers by stage")
    stage_arr: dict[str, float] | None = Field(description="ARR by stage")
    stages: list[dict[str, Any]] = Field(description="Each stage")
    transition_matrix: list[dict[str, Any]] = Field(
        description="Transitions with shares; arr is today's of the live customers that made the move, each once"
    )
    stuck_customers: list[dict[str, Any]] = Field(description="Customers stuck in a stage")
    setbacks: list[dict[str, Any]] = Field(
        description="Customers that fell back in the window and are still there"
    )
    setbacks_recovered: int = Field(
        description="Setbacks of the window after which the customer moved on"
    )
    ready_moves: list[dict[str, Any]] = Field(
        description="Moves whose criteria are all met and that are not recorded yet"
    )
    returns: list[dict[str, Any]] = Field(description="Repeated times by stage")
    disagreements: list[dict[str, Any]] = Field(description="Contradictions with other tables")
    stuck_arr: float | None = Field(description="ARR of the stuck customers")
    setbacks_arr: float | None = Field(description="ARR of the customers that fell back")
    disagreements_customers: int = Field(description="Customers whose stage is contradicted")
    disagreements_arr: float | None = Field(description="Their ARR")
    stage_against_score: StageAgainstScore | None = Field(
        description="The stage “at risk” beside scores; null for another lifecycle"
    )
    window_days: int = Field(description="Days of setbacks")
    interval_level: float = Field(description="Level of the intervals")
    stuck_share: float = Field(
        description="Share still in the stage below which customers are stuck"
    )
    recommended_actions: list[str] = Field(description="Recommendations, most severe first")
    recommended_actions_detail: list[TriggeredRule] = Field(description="The rules behind them")
    decide_by: dict[str, dt.date] = Field(description="By when, by the severity of an action")
    portfolio_actions: list[TriggeredRule] = Field(
        default_factory=list, description="What to do with several customers at once"
    )
    next_actions: list[NextAction] = Field(
        description="What to do next with customers that are stuck, fell back or are contradicted"
    )

    def charts(self) -> dict[str, Picture]:
        from healthseg.charts import lifecycle as charts

        return {
            "stages": charts.over_time(self.frame("over_time")),
            "matrix": charts.matrix(self.frame("matrix")),
            "durations": charts.durations(self.frame("durations")),
            "stuck": charts.stuck(self.frame("stuck")),
        }

    def verdict(self) -> str:
        if not self.total_customers:
            return "The portfolio has no live customers"
        customers = counted(self.total_customers, "customer")
        stages = sum(1 for count in self.stage_counts.values() if count)
        if not stages:
            return f"{customers}, none with a recorded stage"
        text = f"{customers} in {counted(stages, 'stage')}"
        count = self.disagreements_customers
        if count:
            text += (
                f"; the stage of {counted(count, 'customer')} does not fit contract, usage or score"
            )
            text += f" ({brief_money(self.disagreements_arr, self.currency)} ARR)" * bool(
                self.disagreements_arr
            )
        known = self.stage_against_score
        ahead = known.renewing_soon - known.renewing_soon_in_stage if known else 0
        if known and ahead:
            text += f"; {ahead} of {counted(known.renewing_soon, 'renewal')} within 30 days are not in the stage “renewing”"
        moved = {row["client_id"] for row in [*self.disagreements, *self.ready_moves]}
        doubtful = sum(row["client_id"] in moved for row in self.setbacks)
        if self.setbacks:
            text += (
                f"; {len(self.setbacks)} fell back in {self.window_days} days and are still there"
            )
            text += f", {doubtful} of them by a record that is contradicted or out of date" * bool(
                doubtful
            )
        if self.stuck_customers:
            text += f"; {len(self.stuck_customers)} stuck"
        return text

    def summary(self) -> dict[str, Any]:
        return {
            "Customers": self.total_customers,
            "Stages": self.stage_counts,
            "Stuck": len(self.stuck_customers),
            "Disagreements": len(self.disagreements),
        }


def _words(stage: str | None) -> str:
    return (stage or "").replace("_", " ")


def _days(count: int) -> str:
    return f"{count} day{'' if count == 1 else 's'}"
