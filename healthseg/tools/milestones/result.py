"""The results of track_adoption_milestones, for a customer and for the portfolio."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from healthseg.charts import formats
from healthseg.rules import counted
from healthseg.tools.base import Part, Result, TriggeredRule
from healthseg.tools.next_actions import NextAction

if TYPE_CHECKING:
    from healthseg.charts.theme import Picture

Lower = Annotated[float | None, Field(description="Lower end, in the unit of its figure")]
Upper = Annotated[float | None, Field(description="Upper end; null: not reached")]
Level = Annotated[float, Field(description="Level of the interval")]
Rules = Annotated[list[TriggeredRule], Field(description="Triggered rules")]
Rows = list[dict[str, Any]]


class MilestoneProgress(Part):
    """Counts of milestones by status; the five statuses partition the total."""

    total_milestones: int | None = Field(description="Milestones that apply to the customer")
    completed_milestones: int | None = Field(description="Completed, by hand or by use")
    in_progress_milestones: int | None = Field(description="Begun and not due yet")
    overdue_milestones: int | None = Field(description="Open after their due date")
    not_started_milestones: int | None = Field(description="Not begun and not due yet")
    skipped_milestones: int | None = Field(description="Recorded as skipped")
    completion_rate: float | None = Field(description="Completed ÷ milestones not skipped")
    on_track: bool | None = Field(
        description="Whether no required milestone is overdue, records to close aside"
    )
    overdue_required: int | None = Field(
        description="Required milestones that are overdue, records to close aside"
    )
    records_to_close: int | None = Field(
        description="Overdue for stale_record_days where nearly all else is completed"
    )
    next_due: dt.date | None = Field(description="The next due date")


class MilestoneForecast(Part):
    """When a customer completes it, by those whose was open as long."""

    median: dt.date | None = Field(description="Half of them had completed it; null where fewer")
    lower: dt.date | None = Field(description="Earlier end of this customer's interval")
    upper: dt.date | None = Field(description="Later end; null where their curve does not reach it")
    interval_level: Level
    n: int = Field(description="Customers it is derived from")
    among: str = Field(description="Which customers these are")


class MilestoneDetail(Part):
    """One milestone of a customer."""

    milestone_id: str = Field(description="Milestone")
    milestone_name: str = Field(description="Its name")
    milestone_category: str = Field(description="onboarding, adoption or expansion")
    status: str = Field(description="completed, skipped, overdue, in_progress or not_started")
    required: bool = Field(description="Whether success needs it")
    target_completion_days: int = Field(description="Days from the anchor to the target")
    target_date: dt.date | None = Field(description="Due date")
    anchor_date: dt.date | None = Field(description="Day on which the days to the target begin")
    actual_completion_days: float | None = Field(description="Days from the anchor to completion")
    completion_date: str | None = Field(description="Day, or instant in UTC where it has a time")
    completed_by: str | None = Field(description="hand or data")
    ahead_behind: str | None = Field(description="ahead, on_time or behind")
    days_ahead: float | None = Field(description="Target less actual days; negative: behind")
    started_date: dt.date | None = Field(description="Day on which it was begun")
    expected_completion_date: dt.date | None = Field(description="Due date of an open milestone")
    days_remaining: float | None = Field(description="Days until it is due")
    days_overdue: float | None = Field(description="Days since it was due")
    to_close: bool = Field(description="Whether it is a record to close, not a step to take")
    elapsed_days: float | None = Field(description="Days since the anchor, of an open milestone")
    progress_percentage: float | None = Field(
        description="Users reached ÷ users required, 0 to 1, where use completes it"
    )
    users_reached: int | None = Field(description="Users that have used its feature")
    users_asked: int | None = Field(description="Users that complete it")
    skipped_date: dt.date | None = Field(description="Day on which it was skipped")
    blocker: str | None = Field(description="Recorded blocker that is not cleared")
    blocked_since: dt.date | None = Field(description="Day on which the blocker began")
    waits_for: list[str] = Field(description="Names of open milestones that it depends on")
    owner: str | None = Field(description="Who is responsible, as of today")
    forecast_completion: MilestoneForecast | None = Field(description="When it is completed")


class CategoryProgress(Part):
    """A customer's milestones of one category."""

    completed: int = Field(description="Completed")
    total: int = Field(description="All that apply")
    in_progress: int = Field(description="In progress")
    overdue: int = Field(description="Overdue")
    not_started: int = Field(description="Not started")
    skipped: int = Field(description="Skipped")
    completion_rate: float | None = Field(description="Completed ÷ milestones not skipped")
    avg_days_to_complete: float | None = Field(description="Mean days to completion")
    n: int = Field(description="Completed milestones whose days are known")


class ValueVersusTarget(Part):
    """ahead, on_target, behind, in_progress or overdue; null where no milestone defines it."""

    first_value: str | None = Field(description="First value against its target")
    activation: str | None = Field(description="Activation against its target")
    full_adoption: str | None = Field(description="Full adoption against its target")


class ValueTime(Part):
    """One time to value, with customers that began in the same quarter and the whole portfolio."""

    mark: str = Field(description="first_value, activation or full_adoption")
    definition: str = Field(description="The milestones that define it")
    days: float | None = Field(description="Days from the beginning until it was reached")
    reached_on: dt.date | None = Field(description="Day on which it was reached")
    target_days: float | None = Field(description="Days from the beginning to the target")
    target_date: dt.date | None = Field(description="Due date")
    word: str | None = Field(description="Against the target, in one word")
    quarter: str = Field(description="Quarter in which the customer began")
    cohort_n: int = Field(description="Other customers that began in the quarter")
    cohort_reached: int = Field(description="How many of them reached it")
    cohort_median_days: float | None = Field(description="Their Kaplan–Meier median, days")
    cohort_lower: Lower
    cohort_upper: Upper
    cohort_share_by_then: float | None = Field(
        description="Share of them that had reached it by this customer's day"
    )
    portfolio_n: int = Field(description="Customers of the portfolio")
    portfolio_median_days: float | None = Field(description="Their Kaplan–Meier median, days")
    portfolio_lower: Lower
    portfolio_upper: Upper
    log_rank_p: float | None = Field(description="p: the quarter against the others")
    pace_differs: bool | None = Field(description="Whether its q is within effects_max_q")
    interval_level: Level
    forecast: MilestoneForecast | None = Field(description="When it is reached")


class TimeToValue(Part):
    """How long value took."""

    first_value_days: float | None = Field(description="Days to first value")
    activation_days: float | None = Field(description="Days to activation")
    full_adoption_days: float | None = Field(description="Days to full adoption")
    vs_target: ValueVersusTarget = Field(description="Against the targets")
    detail: list[ValueTime] = Field(description="Figures behind it")


class BlockerEffect(Part):
    """By what factor a blocker lengthens what remains, the milestone being equal."""

    factor: float = Field(description="Factor on the remaining time")
    lower: Lower
    upper: Upper
    p: float = Field(description="p of a factor of 1")
    q: float = Field(description="False-discovery rate over the portfolio's blockers")
    n: int = Field(description="Milestones that were blocked by it")
    interval_level: Level
    found: bool = Field(description="Whether q is within effects_max_q")


class MilestoneBlocker(Part):
    """A recorded blocker that is not cleared."""

    milestone_id: str = Field(description="Blocked milestone")
    milestone_name: str = Field(description="Its name")
    milestone_status: str = Field(description="Its status")
    blocker: str = Field(description="What blocks it, as recorded")
    severity: str = Field(description="high: required, and others depend on it; medium: required")
    age_days: int | None = Field(description="Days since it began")
    since: dt.date | None = Field(description="Day on which it began")
    owner: str | None = Field(description="Who is responsible for the milestone")
    holds_up: list[str] = Field(description="Names of open milestones that depend on this one")
    usual_days_to_clear: float | None = Field(
        description="Kaplan–Meier median over the portfolio, days"
    )
    usual_lower: Lower
    usual_upper: Upper
    usual_n: int = Field(description="Milestones that were blocked by it")
    effect: BlockerEffect | None = Field(description="How much longer it makes milestones")
    recommended_action: str | None = Field(description="First rule's text")
    rules: Rules


class Acceleration(Part):
    """How many days sooner customers completed it once they had got past the same blocker."""

    median_days: float = Field(description="Days saved")
    lower_days: float = Field(description="Lower end, days")
    upper_days: float = Field(description="Upper end, days")
    interval_level: Level
    n: int = Field(description="Milestones at which the blocker was cleared")
    basis: str = Field(description="What is compared")


class MilestoneRecommendation(Part):
    """What to do about an open milestone."""

    milestone: str = Field(description="Name of the milestone")
    milestone_id: str = Field(description="Milestone")
    current_status: str = Field(description="Its status")
    recommended_actions: list[str] = Field(description="Texts of the triggered rules")
    estimated_acceleration: str | None = Field(description="Days sooner: interval, level and n")
    estimated_acceleration_detail: Acceleration | None = Field(description="Figures behind it")
    rules: Rules


class SuccessCalibration(Part):
    """How well the probability did on customers left out of the fit."""

    brier: float = Field(description="Mean squared error of the probability")
    brier_of_share: float = Field(description="The same of the plain share of past customers")
    slope: float = Field(description="Calibration slope; 1 is perfect")
    intercept: float = Field(description="Calibration intercept; 0 is perfect")
    customers: int = Field(description="Past customers")
    failures: int = Field(description="How many of them failed")


class SuccessProbability(Part):
    """Whether all required onboarding and adoption milestones are complete by ``by_date``."""

    overall_success_likelihood: float | None = Field(
        description="Probability, while it is open; null once the outcome is known"
    )
    succeeded: bool | None = Field(description="The outcome; null while it is open")
    lower: Lower
    upper: Upper
    interval_level: Level
    basis: str | None = Field(description="observed or model")
    by_date: dt.date | None = Field(description="Last due date plus milestone_grace_days")
    portfolio_share: float | None = Field(
        description="Share of past customers, observed from their beginning, that succeeded"
    )
    past_customers: int = Field(description="Past customers whose outcome is known")
    past_failures: int = Field(description="How many of them failed")
    calibration: SuccessCalibration | None = Field(description="How well the model did")
    risk_factors: list[str] = Field(description="Texts of the triggered risk rules")
    positive_factors: list[str] = Field(description="Texts of the triggered strength rules")
    rules: Rules


class AdoptionMilestones(Result):
    """track_adoption_milestones' result.

    Frames: ``milestones`` (a row a milestone, unrounded), ``marks`` (the customer's own days),
    ``value`` (curves of the customer's quarter and of the portfolio).
    """

    tool: ClassVar[str] = "track_adoption_milestones"

    client_id: str = Field(description="Customer")
    customer_name: str = Field(description="Its name")
    milestone_category: str = Field(description="Category requested")
    began_on: dt.date | None = Field(description="Day of signup, or of coming back")
    day_kind: str = Field(description="calendar or business days")
    overall_progress: MilestoneProgress = Field(description="Counts by status")
    milestone_details: list[MilestoneDetail] | None = Field(description="Each milestone")
    category_progress: dict[str, CategoryProgress] | None = Field(description="By category")
    time_to_value: TimeToValue = Field(description="How long value took")
    blockers: list[MilestoneBlocker] | None = Field(description="Most severe and oldest first")
    recommendations: list[MilestoneRecommendation] | None = Field(
        description="Overdue and required milestones first"
    )
    success_probability: SuccessProbability = Field(description="Whether it will succeed in time")
    expected_full_adoption: MilestoneForecast | None = Field(
        description="When all required milestones are completed"
    )
    next_actions: list[NextAction] = Field(
        default_factory=list, description="What to do next, of the list that all tools share"
    )

    def charts(self) -> dict[str, Picture]:
        from healthseg.charts import milestones

        return {
            "plan": milestones.plan(self.frame("milestones")),
            "value": milestones.value(self.frame("value"), self.frame("marks")),
        }

    def verdict(self) -> str:
        progress = self.overall_progress
        if not progress.total_milestones:
            return f"{self.customer_name}: no milestones are known"
        required = progress.total_milestones - (progress.skipped_milestones or 0)
        completed = progress.completed_milestones or 0
        text = f"{self.customer_name}: {self.notice}{completed} of {counted(required, 'milestone')} completed"
        to_close = progress.records_to_close or 0
        late = (progress.overdue_milestones or 0) - to_close
        if late:
            text += f", {late} overdue"
        if to_close:
            text += f", {counted(to_close, 'old record')} to close"
        if self.blockers:
            text += f", {len(self.blockers)} blocked"
        on_track = not late and required > completed + to_close
        return text + ("; on track" if on_track else "")

    def summary(self) -> dict[str, Any]:
        progress = self.overall_progress
        actions = [item.recommended_actions[0] for item in self.recommendations or []]
        return {
            "Completed": f"{progress.completed_milestones} of {progress.total_milestones}",
            "Overdue": progress.overdue_milestones,
            "Blocked": len(self.blockers or []),
            "Likely to succeed": self.success_probability.overall_success_likelihood,
            "Next": "; ".join(actions) or "nothing",
        }


class PortfolioMilestones(Result):
    """portfolio_milestones's result.

    Frames: funnel, blockers, late, cohorts, retention, success (the lists of these names, unrounded) and
    ``value`` (the portfolio's curves).
    """

    tool: ClassVar[str] = "track_adoption_milestones"

    milestone_category: str = Field(description="Category requested")
    total_customers: int = Field(description="Live customers")
    tracked_customers: int = Field(description="Live customers with milestones")
    excluded: dict[str, int] = Field(description="Customers not counted, by reason")
    currency: str | None = Field(description="Currency of ARR")
    day_kind: str = Field(description="calendar or business days")
    customers_late: int = Field(
        description="Customers with a required milestone overdue, records to close aside"
    )
    customers_late_arr: float | None = Field(description="Their ARR")
    customers_long_overdue: int = Field(
        description="How many of them have it overdue for more than record_days"
    )
    customers_late_optional: int = Field(description="Customers with an optional one overdue alone")
    customers_to_close: int = Field(description="Customers with records to close")
    record_days: int = Field(description="Days after which an overdue record counts as old")
    customers_blocked: int = Field(description="Customers with a recorded blocker")
    customers_blocked_by_several: int = Field(description="How many of them have several kinds")
    customers_blocked_arr: float | None = Field(description="ARR of the blocked customers")
    customers_done: int = Field(
        description="Customers with all required onboarding and adoption milestones"
    )
    customers_done_share: float | None = Field(description="Share of the tracked customers")
    milestones_due: int = Field(description="Milestones due by as_of, not skipped")
    milestones_on_time: int = Field(description="How many were completed by their due date")
    milestones_on_time_share: float | None = Field(description="Share of those due")
    funnel: Rows = Field(description="Each milestone: customers by status, days")
    values: Rows = Field(description="Days to each mark over the portfolio")
    cohorts: Rows = Field(description="Days to each mark by quarter of beginning")
    log_rank: dict[str, float | None] = Field(description="p of equal quarters, by mark")
    quarters_differ: dict[str, bool | None] = Field(
        description="Whether its q is within effects_max_q, by mark"
    )
    retention: Rows = Field(
        description="Each milestone: retention after its due day, done by then or not, by landmark"
    )
    retention_days: int = Field(description="Days after the due day")
    blockers: Rows = Field(description="Each blocker: customers, ARR, days, effect")
    late: Rows = Field(description="Customers with overdue milestones")
    success: Rows = Field(description="Customers whose outcome is open, lowest probability first")
    calibration: SuccessCalibration | None = Field(description="How well the probability did")
    actions: list[TriggeredRule] = Field(description="What to do across the portfolio")
    decide_by: dict[str, dt.date] = Field(description="By when, by the severity of an action")
    next_actions: list[NextAction] = Field(
        description="What to do next about customers' milestones"
    )

    def charts(self) -> dict[str, Picture]:
        from healthseg.charts import milestones

        blockers = self.frame("blockers")
        return {
            "funnel": milestones.funnel(self.frame("funnel")),
            "value": milestones.values(self.frame("value")),
            "quarters": milestones.quarters(self.frame("cohorts")),
            "blockers": milestones.blockers(blockers, self.currency),
            "slower": milestones.slower(blockers),
        }

    def verdict(self) -> str:
        if not self.tracked_customers:
            return "No milestones are recorded"
        customers = counted(self.tracked_customers, "customer")
        arr = formats.brief_money(self.customers_late_arr, self.currency)
        with_arr = f", with {arr} ARR" if self.customers_late_arr else ""
        long = self.customers_long_overdue
        lately = self.customers_late - long
        long_ago = f", {long} more for longer" if long else ""
        since = f" by at most {self.record_days} days" if long else ""
        text = (
            f"{lately} of {customers} {'is' if lately == 1 else 'are'} late with a required milestone{since}{long_ago}"
            f"{with_arr}{' in all' if with_arr and long else ''}; {self.customers_blocked} blocked"
        )
        first = self.next_actions[0].name if self.next_actions else ""
        return text + (f"; begin with {first}" if first else "")

    def summary(self) -> dict[str, Any]:
        return {
            "Customers": self.tracked_customers,
            "Late": self.customers_late,
            "Blocked": self.customers_blocked,
            "Done": self.customers_done,
        }
