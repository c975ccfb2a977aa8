"""The shape of manage_lifecycle_stages' responses: the reference's keys, and what traces them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

from healthseg.tools.result import Part, Result

if TYPE_CHECKING:
    import altair as alt


class Interval(Part):
    """Days, from and to; ``upper`` is null where the curve does not get that far."""

    lower: float | None
    upper: float | None


class ProgressionStep(Part):
    stage: str
    start_date: dt.date
    end_date: dt.date | None  # exclusive: the day on which the next stage began
    duration_days: int
    visit: int  # which stay in this stage it is


class TypicalDuration(Part):
    """How long customers of the portfolio stay in the current stage."""

    median_days: float | None
    interval: Interval | None
    interval_level: float
    n: int  # stays that the curve is made of
    ended: int
    watched_until_days: float | None


class StageHealth(Part):
    current_stage_typical_duration_days: (
        int | str | None
    )  # "ongoing": half of them never leave as far as was seen
    health_score: int | None
    stage_appropriate_health: bool | None
    minimum_health: float | None
    typical_duration: TypicalDuration | None


class Door(Part):
    """One way out of the stage, as it was taken in the portfolio."""

    to: str
    share: float  # of all that come into the stage
    share_from_here: float | None  # of those still in it on this day


class Position(Part):
    """Where the customer stands on its stage's curve."""

    day: int
    share_still_in: float | None  # of all that come into the stage, after so many days
    half_of_these_left_by_day: float | None
    text: str | None  # "70 % of those still here on day 40 had left by day 63"
    stuck: bool | None
    stuck_from_day: float | None
    doors: list[Door] | None


class TriggeredAction(Part):
    action: str
    status: str  # scheduled, completed, failed, not_configured
    scheduled_for: str | None
    reason: str | None = None
    attempts: int = 0


class CriterionDetail(Part):
    text: str
    figure: str
    value: float | None
    unit: str
    target: float | None
    days: int  # on each of which it has to hold
    met: bool | None  # null: a figure is not measured
    held_days: int  # days in a row, up to this one, on which it held
    since: dt.date | None
    since_or_earlier: bool  # it held on all the days that were looked at


class Progress(Part):
    criteria_met: int
    criteria_total: int
    estimated_days_to_transition: int | None
    estimated_days_interval: Interval | None
    interval_level: float
    estimate_basis: str | None


class NextStage(Part):
    target_stage: str | None
    criteria: list[str]
    progress: Progress
    criteria_detail: list[CriterionDetail]
    allowed_stages: list[str]


class Disagreement(Part):
    """Where what is recorded and what another table says are two things."""

    kind: str  # contract, leaving, usage
    recorded_stage: str
    suggests: str
    since: dt.date | None
    text: str


class Fired(Part):
    rule: str
    text: str
    severity: str
    figures: dict[str, Any]


class RecordedChange(Part):
    """A row of the history as it was entered, also where a later one replaced it."""

    stage: str
    effective_at: str
    recorded_at: str
    reason: str | None
    automated: bool
    actor: str | None
    kind: str  # transition, correction
    source: str  # imported, recorded
    in_force: bool  # false: replaced, or no change


class Suggestion(Part):
    """The stage that the data would suggest; never recorded by itself."""

    stage: str | None
    text: str


class LifecycleStage(Result):
    """manage_lifecycle_stages' response for one customer, whatever was asked."""

    tool: ClassVar[str] = "manage_lifecycle_stages"

    client_id: str
    customer_name: str
    action: str
    changed: bool  # whether this call recorded something
    request_id: str | None
    previous_stage: str | None
    current_stage: str | None
    stage_source: str  # recorded, imported, none
    transition_date: str | None
    transition_reason: str | None
    automated: bool | None
    actor: str | None
    recorded_at: str | None
    correction: bool
    known_at: str | None
    days_in_previous_stage: int | None
    days_in_current_stage: int | None
    stage_progression: list[ProgressionStep]
    stage_health: StageHealth
    position: Position | None
    stuck_share: float
    automated_actions_triggered: list[TriggeredAction]
    last_transition_actions: list[TriggeredAction]
    next_stage_criteria: NextStage
    suggestion: Suggestion
    disagreements: list[Disagreement]
    recommended_actions: list[str]
    recommended_actions_detail: list[Fired]
    history: list[RecordedChange]

    def charts(self, width: int = 740) -> dict[str, alt.TopLevelMixin]:
        from healthseg.charts import lifecycle

        return {
            "timeline": lifecycle.timeline(self.frame("progression"), self.as_of, width),
            "position": lifecycle.position(
                self.frame("curve"),
                self.current_stage,
                self.days_in_current_stage,
                self.stuck_share,
                width,
            ),
            "doors": lifecycle.doors(self.frame("doors"), self.current_stage, width),
        }

    def verdict(self) -> str:
        if self.current_stage is None:
            return f"{self.customer_name}: no stage is recorded" + (
                f"; the data suggest {_words(self.suggestion.stage)}"
                if self.suggestion.stage
                else ""
            )
        text = f"{self.customer_name}: {_words(self.current_stage)} for {_days(self.days_in_current_stage or 0)}"
        if self.position is not None and self.position.stuck:
            text += ", longer than nearly all who came into it"
        progress = self.next_stage_criteria.progress
        if self.next_stage_criteria.target_stage is not None and progress.criteria_total:
            text += (
                f"; {progress.criteria_met} of {progress.criteria_total} criteria of "
                f"{_words(self.next_stage_criteria.target_stage)} met"
            )
        count = len(self.disagreements)
        return text + (
            f"; {count} disagreement{'' if count == 1 else 's'} with other data" if count else ""
        )

    def summary(self) -> dict[str, Any]:
        typical = self.stage_health.current_stage_typical_duration_days
        return {
            "Stage": "none recorded" if self.current_stage is None else _words(self.current_stage),
            "Since": self.transition_date or "unknown",
            "Typical duration": {None: "unknown", "ongoing": "ongoing"}.get(
                typical, f"{typical} days"
            ),
            "Next": self.next_stage_criteria.target_stage or "none",
            "To do": "; ".join(self.recommended_actions) or "nothing",
        }


class PortfolioLifecycle(Result):
    """What the portfolio report needs; its frames are:

    stages: stage, customers, arr, typical_days, lower, upper, n, stuck (a row a stage with customers or a curve);
    over_time: date, stage, customers, arr; matrix: source, target, n, of, share, lower, upper; curves: stage, days,
    share, lower, upper, n; durations: stage, q25, median, q75, stuck_from, n; stuck: client_id, name, stage, since,
    days, share_still_in, typical_days, arr, currency, csm_id, reason; moves: client_id, kind (setback, return,
    win-back), source, target, on, visit, name, arr, currency, csm_id; returns: stage, stays, returns, share;
    disagreements: client_id, name, recorded, suggests, kind, since, arr, currency, csm_id, reason.
    """

    tool: ClassVar[str] = "manage_lifecycle_stages"

    total_customers: int
    excluded: dict[str, int]
    without_stage: int
    currency: str | None
    total_arr: float | None
    stage_counts: dict[str, int]
    stage_arr: dict[str, float] | None
    stages: list[dict[str, Any]]
    transition_matrix: list[dict[str, Any]]
    stuck_customers: list[dict[str, Any]]
    setbacks: list[dict[str, Any]]
    returns: list[dict[str, Any]]
    disagreements: list[dict[str, Any]]
    window_days: int
    interval_level: float
    stuck_share: float
    recommended_actions: list[str]
    recommended_actions_detail: list[Fired]

    def charts(self, width: int = 740) -> dict[str, alt.TopLevelMixin]:
        from healthseg.charts import lifecycle_portfolio as charts

        return {
            "stages": charts.over_time(self.frame("over_time"), width),
            "matrix": charts.matrix(self.frame("matrix"), width),
            "durations": charts.durations(self.frame("durations"), width),
            "stuck": charts.stuck(self.frame("stuck"), width),
        }

    def verdict(self) -> str:
        if not self.total_customers:
            return "The portfolio has no live customers"
        stuck, apart, back = len(self.stuck_customers), len(self.disagreements), len(self.setbacks)
        return (
            f"{self.total_customers} customers in {sum(1 for n in self.stage_counts.values() if n)} stages; "
            f"{stuck} stuck, {back} fell back in {self.window_days} days, {apart} where other data disagree"
        )

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
