"""The shape of track_adoption_milestones' response: the reference's keys, and what traces them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

from healthseg.rules import counted
from healthseg.tools.result import Part, Result

if TYPE_CHECKING:
    import altair as alt


class Progress(Part):
    """Counts; the five statuses partition the total. ``completion_rate`` is of those not skipped."""

    total_milestones: int | None
    completed_milestones: int | None
    in_progress_milestones: int | None
    overdue_milestones: int | None
    not_started_milestones: int | None
    skipped_milestones: int | None
    completion_rate: float | None
    on_track: bool | None  # no required milestone is overdue
    overdue_required: int | None
    next_due: dt.date | None


class Forecast(Part):
    """When it will be completed, by those whose was open as long; a bound is null where their curve does not get there."""

    median: dt.date | None
    lower: dt.date | None
    upper: dt.date | None
    interval_level: float
    n: int
    among: str


class Detail(Part):
    milestone_id: str
    milestone_name: str
    milestone_category: str
    status: str
    required: bool
    target_completion_days: int
    target_date: dt.date | None
    anchor_date: dt.date | None  # where the days to the target begin
    actual_completion_days: float | None
    completion_date: str | None  # with its time where it has one
    completed_by: str | None  # hand or data
    ahead_behind: str | None  # ahead, on_time, behind
    days_ahead: float | None  # negative: behind
    started_date: dt.date | None
    expected_completion_date: dt.date | None  # the target's date, while open
    days_remaining: float | None
    days_overdue: float | None
    elapsed_days: float | None  # of an open one
    progress_percentage: float | None  # 0 to 1, where use completes it
    users_reached: int | None
    users_asked: int | None
    skipped_date: dt.date | None
    blocker: str | None
    blocked_since: dt.date | None
    waits_for: list[str]  # dependencies that are open
    owner: str | None
    forecast_completion: Forecast | None


class CategoryProgress(Part):
    completed: int
    total: int
    in_progress: int
    overdue: int
    not_started: int
    skipped: int
    completion_rate: float | None
    avg_days_to_complete: float | None
    n: int  # completed with known days


class VsTarget(Part):
    """ahead, on_target, behind, in_progress, overdue; null where no milestone says so."""

    first_value: str | None
    activation: str | None
    full_adoption: str | None


class Value(Part):
    """One of the three times to value beside those who began in the same quarter and the whole portfolio."""

    mark: str
    definition: str
    days: float | None
    reached_on: dt.date | None
    target_days: float | None
    target_date: dt.date | None
    word: str | None
    quarter: str
    cohort_n: int
    cohort_reached: int
    cohort_median_days: float | None
    cohort_lower: float | None
    cohort_upper: float | None
    cohort_share_by_then: float | None  # that had reached it by this customer's day
    portfolio_n: int
    portfolio_median_days: float | None
    portfolio_lower: float | None
    portfolio_upper: float | None
    log_rank_p: float | None  # the quarter against the others
    pace_differs: bool | None  # its q within the setting effects_max_q
    interval_level: float
    forecast: Forecast | None


class TimeToValue(Part):
    first_value_days: float | None
    activation_days: float | None
    full_adoption_days: float | None
    vs_target: VsTarget
    detail: list[Value]


class Effect(Part):
    """By what factor a blocker makes what remains longer, the milestone being equal."""

    factor: float
    lower: float | None
    upper: float | None
    p: float
    q: float
    n: int
    interval_level: float
    found: bool


class Blocker(Part):
    milestone_id: str
    milestone_name: str
    milestone_status: str
    blocker: str
    severity: str
    age_days: int | None
    since: dt.date | None
    owner: str | None
    holds_up: list[str]  # milestones that wait for this one
    usual_days_to_clear: float | None  # Kaplan–Meier median of this blocker in the portfolio
    usual_lower: float | None
    usual_upper: float | None
    usual_n: int
    effect: Effect | None
    recommended_action: str | None
    rules: list[dict[str, Any]]


class Acceleration(Part):
    """How many days sooner, as those with the same blocker who got past it were."""

    median_days: float
    lower_days: float
    upper_days: float
    interval_level: float
    n: int
    basis: str


class Recommendation(Part):
    milestone: str
    milestone_id: str
    current_status: str
    recommended_actions: list[str]
    estimated_acceleration: str | None
    estimated_acceleration_detail: Acceleration | None
    rules: list[dict[str, Any]]


class Calibration(Part):
    """How good the likelihood was on customers it had not seen."""

    brier: float
    brier_of_share: float
    slope: float
    intercept: float
    customers: int
    failures: int


class Success(Part):
    """Will all required onboarding and adoption milestones be complete by ``by_date``?"""

    overall_success_likelihood: float | None
    lower: float | None
    upper: float | None
    interval_level: float
    basis: str | None  # observed, or model
    by_date: dt.date | None
    portfolio_share: float | None  # of past customers that were watched from their beginning
    past_customers: int
    past_failures: int
    calibration: Calibration | None
    risk_factors: list[str]
    positive_factors: list[str]
    rules: list[dict[str, Any]]


class AdoptionMilestones(Result):
    """track_adoption_milestones' response; frames: ``milestones`` (a row a milestone, unrounded), ``value`` (curves of the
    customer's quarter and of the portfolio), ``marks`` (the customer's own days)."""

    tool: ClassVar[str] = "track_adoption_milestones"

    client_id: str
    customer_name: str
    milestone_category: str
    began_on: dt.date | None
    day_kind: str
    overall_progress: Progress
    milestone_details: list[Detail] | None
    category_progress: dict[str, CategoryProgress] | None
    time_to_value: TimeToValue
    blockers: list[Blocker] | None
    recommendations: list[Recommendation] | None
    success_probability: Success
    expected_full_adoption: Forecast | None

    def charts(self) -> dict[str, alt.TopLevelMixin]:
        from healthseg.charts import milestones

        return {
            "plan": milestones.plan(self.frame("milestones")),
            "value": milestones.value(self.frame("value"), self.frame("marks")),
        }

    def verdict(self) -> str:
        done = self.overall_progress
        if not done.total_milestones:
            return f"{self.customer_name}: no milestones are known"
        asked = done.total_milestones - done.skipped_milestones
        text = f"{self.customer_name}: {done.completed_milestones} of {counted(asked, 'milestone')} completed"
        if done.overdue_milestones:
            text += f", {done.overdue_milestones} overdue"
        if self.blockers:
            text += f", {len(self.blockers)} blocked"
        return text + (
            ""
            if done.overdue_milestones
            else "; on track"
            if asked > done.completed_milestones
            else ""
        )

    def summary(self) -> dict[str, Any]:
        done = self.overall_progress
        return {
            "Completed": f"{done.completed_milestones} of {done.total_milestones}",
            "Overdue": done.overdue_milestones,
            "Blocked": len(self.blockers or []),
            "Likely to succeed": self.success_probability.overall_success_likelihood,
            "Next": "; ".join(one.recommended_actions[0] for one in self.recommendations or [])
            or "nothing",
        }


class PortfolioMilestones(Result):
    """portfolio_milestones's response: the funnel, where customers get stuck, time to value by quarter,
    blockers, who is late; frames of the same names, and ``value`` (the curves)."""

    tool: ClassVar[str] = "track_adoption_milestones"

    milestone_category: str
    total_customers: int
    tracked_customers: int
    excluded: dict[str, int]
    currency: str | None
    day_kind: str
    customers_late: int  # with a required milestone overdue
    customers_late_arr: float | None
    customers_blocked: int
    customers_done: int  # all required onboarding and adoption milestones
    customers_done_share: float | None
    milestones_due: int  # of live customers, not skipped, due by as_of
    milestones_on_time: int  # of them completed by their date
    milestones_on_time_share: float | None
    funnel: list[dict[str, Any]]
    values: list[dict[str, Any]]  # time to each mark, over the portfolio
    cohorts: list[dict[str, Any]]  # and by quarter
    log_rank: dict[str, float | None]  # p that the quarters are alike, by mark
    quarters_differ: dict[str, bool | None]  # its q within the setting effects_max_q
    blockers: list[dict[str, Any]]
    late: list[dict[str, Any]]
    success: list[dict[str, Any]]  # open customers by their likelihood, lowest first
    calibration: Calibration | None
    actions: list[dict[str, Any]]

    def charts(self) -> dict[str, alt.TopLevelMixin]:
        from healthseg.charts import milestones

        return {
            "funnel": milestones.funnel(self.frame("funnel")),
            "value": milestones.values(self.frame("value")),
            "quarters": milestones.quarters(
                self.frame("cohorts"), self.log_rank.get("first_value")
            ),
            "blockers": milestones.blockers(self.frame("blockers"), self.currency),
            "slower": milestones.slower(self.frame("blockers")),
        }

    def verdict(self) -> str:
        if not self.tracked_customers:
            return "The portfolio’s milestones: none are known"
        text = f"The portfolio’s milestones: {self.customers_late} of {counted(self.tracked_customers, 'customer')} late"
        return f"{text} with a required one; {self.customers_blocked} blocked"

    def summary(self) -> dict[str, Any]:
        return {
            "Customers": self.tracked_customers,
            "Late": self.customers_late,
            "Blocked": self.customers_blocked,
            "Done": self.customers_done,
        }
