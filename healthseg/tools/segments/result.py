"""The result of segment_customers: the reference's keys, and what each figure rests on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, PrivateAttr

from healthseg.charts.formats import brief_money, percent
from healthseg.data.tables import id_text
from healthseg.errors import ClientNotFound, hint
from healthseg.rules import counted
from healthseg.tools.base import Part, Result, TriggeredRule
from healthseg.tools.next_actions import NextAction
from healthseg.tools.segmenters import border_distance

if TYPE_CHECKING:
    from healthseg.charts.theme import Picture

STRATEGY = (
    "recommended_engagement_strategy",
    "recommended_channels",
    "recommended_content",
    "escalation_criteria",
    "recommended_actions",
    "channels_detail",
    "content_detail",
    "strategy_rules",
)
IDS = ("segment_id", "segment_name", "client_ids")


class Characteristic(Part):
    """An unweighted mean over the customers of a segment whose figure is known."""

    label: str = Field(description="Name of the metric")
    unit: str = Field(description="Its unit")
    mean: float | None = Field(description="Mean, in the unit")
    n: int = Field(description="Customers whose figure is known")
    lower: float | None = Field(description="Lower end of Student's interval")
    upper: float | None = Field(description="Upper end of Student's interval")
    level: float = Field(description="Level of the interval")


class MessageAnswers(Part):
    """How messages of a channel or a content are answered."""

    name: str = Field(description="Channel or content")
    sent: int = Field(description="Messages sent")
    opened: int = Field(description="Messages opened")
    engaged: int = Field(description="Messages with engagement")
    rate: float = Field(description="engaged ÷ sent")
    lower: float = Field(description="Lower end of Wilson's interval")
    upper: float = Field(description="Upper end of Wilson's interval")


class Strategy(Part):
    """How to work with a segment, by rules over its figures."""

    primary_focus: str = Field(description="What comes first, and why")
    communication_frequency: str = Field(description="How often to send messages")
    content_themes: list[str] = Field(description="What messages are about")
    csm_touch_frequency: str = Field(description="How often a manager is in touch")
    automation_level: str = Field(description="low, medium or high")


class Segment(Part):
    """A segment with its customers, its figures, and what follows from them."""

    segment_id: str = Field(description="Stable id that leads back to the customers")
    segment_name: str = Field(description="Name")
    segment_description: str = Field(description="What its customers have in common")
    placed: bool = Field(description="False for customers that could not be placed yet")
    customer_count: int = Field(description="Customers")
    percentage_of_total: float = Field(description="Per cent of the live customers")
    total_arr: float | None = Field(description="Sum of the ARR")
    percentage_of_arr: float | None = Field(description="Per cent of the portfolio's ARR")
    expected_churned_arr_90d: float | None = Field(
        description="ARR expected to churn: Σ probability × ARR"
    )
    segment_criteria: dict[str, Any] = Field(description="Limits or rule of the segment")
    merged_from: list[str] = Field(description="Segments that were merged into it")
    segment_characteristics: dict[str, float | None] = Field(description="Means by key")
    characteristics_detail: dict[str, Characteristic] = Field(description="Means with intervals")
    set_apart_by: list[str] = Field(description="Metrics farthest from the other customers'")
    recommended_engagement_strategy: Strategy | None = Field(description="How to work with it")
    recommended_channels: list[str] | None = Field(description="Channels, highest engagement first")
    channels_detail: list[MessageAnswers] | None = Field(description="Answers by channel")
    recommended_content: dict[str, str] | None = Field(
        description="Contents with the highest engagement"
    )
    content_detail: list[MessageAnswers] | None = Field(description="Answers by content")
    escalation_criteria: list[str] | None = Field(description="When to escalate")
    recommended_actions: list[str] | None = Field(description="What to do now")
    strategy_rules: list[TriggeredRule] | None = Field(description="The rules behind all of it")
    client_ids: list[str] = Field(description="Its customers")


class SegmentPareto(Part):
    """How concentrated the ARR is."""

    top_20_percent_contribute: str | None = Field(description="Share of the top fifth, in words")
    segment: str | None = Field(description="Segments that hold most of the top fifth")
    top_customers: int | None = Field(description="Customers in the top fifth by ARR")
    top_share: float | None = Field(description="Their share of the ARR")
    top_arr: float | None = Field(description="Their ARR")
    gini: float | None = Field(description="Gini coefficient of the ARR")
    n: int = Field(description="Customers with a known ARR")
    without_arr: int = Field(description="Customers without a known ARR")


class SegmentDifference(Part):
    """A significant difference between two segments."""

    text: str = Field(description="The difference in words")
    metric: str = Field(description="Metric compared")
    segment: str = Field(description="Segment with the higher values")
    other: str = Field(description="Segment with the lower values")
    median: float = Field(description="Median of the former")
    other_median: float = Field(description="Median of the latter")
    n: int = Field(description="Customers of the former")
    other_n: int = Field(description="Customers of the latter")
    cliffs_delta: float = Field(description="P(higher) − P(lower) over pairs")
    lower: float = Field(description="Lower end of its interval")
    upper: float = Field(description="Upper end of its interval")
    level: float = Field(description="Level of the interval")
    p: float = Field(description="p of the Mann–Whitney test")
    q: float = Field(description="p after false-discovery control over all comparisons")


class SegmentMove(Part):
    """Customers by their segment on the earlier date and now."""

    from_segment: str = Field(description="Segment then, or New")
    to_segment: str = Field(description="Segment now, or Churned")
    customers: int = Field(description="Customers")
    arr: float | None = Field(description="Their ARR now; of churned customers, then")


class MoveNoise(Part):
    """Moves that measurement noise alone would cause, with no customer changing."""

    expected_moves: float = Field(description="Expected number of moves")
    lower: float = Field(description="Lower end of the interval")
    upper: float = Field(description="Upper end of the interval")
    level: float = Field(description="Level of the interval")
    error_sd: float | None = Field(description="Standard deviation of a value's error")
    method: str = Field(description="How it was simulated")


class SegmentMigration(Part):
    """Customers in another segment than on the earlier date, by today's criteria."""

    since: dt.date = Field(description="The earlier date")
    unchanged: int = Field(description="Customers in the same segment")
    moved: int = Field(description="Customers in another segment")
    up: int | None = Field(description="Customers in a higher segment")
    down: int | None = Field(description="Customers in a lower segment")
    newly_placed: int = Field(
        description="Customers that could be placed on one of the two dates alone, most since their first score"
    )
    entered: int = Field(description="New customers")
    churned: int = Field(description="Churned customers")
    arr_moved: float | None = Field(description="ARR of customers that moved")
    arr_entered: float | None = Field(description="ARR of new customers")
    arr_churned: float | None = Field(description="ARR of churned customers, then")
    flows: list[SegmentMove] = Field(description="Customers by both segments")
    noise: MoveNoise | None = Field(description="Moves by measurement noise alone")


class ValueHealthCell(Part):
    """Customers of a value tier and a health band."""

    tier: str = Field(description="Value tier")
    band: str = Field(description="Health band")
    customers: int = Field(description="Customers")
    arr: float | None = Field(description="Sum of the ARR")
    expected_churned_arr: float | None = Field(description="ARR expected to churn in 90 days")


class GroupingEvidence(Part):
    """Whether the customers form groups at all, and the evidence."""

    stable: bool = Field(description="Whether the groups pass all criteria")
    reason: str | None = Field(description="Why they are not stable")
    method: str = Field(description="Clustering method")
    metrics: list[str] = Field(description="Metrics requested")
    transforms: dict[str, str] = Field(description="Scale of each metric used")
    dropped_metrics: dict[str, str] = Field(description="Why a metric is not used")
    segments: int | None = Field(description="Number of groups")
    customers: int = Field(description="Customers with all metrics")
    sampled: int = Field(description="Customers the evidence rests on")
    silhouette: float | None = Field(description="Mean silhouette, −1 to 1")
    stability: float | None = Field(description="Mean adjusted Rand index over resamples")
    least_jaccard: float | None = Field(description="Jaccard index of the least stable group")
    reference_p: float | None = Field(description="p against portfolios without groups")
    reference_draws: int = Field(description="Portfolios without groups that were drawn")
    least_customers: int = Field(description="Customers needed")
    tried: list[dict[str, Any]] = Field(description="Evidence by number of groups")


class SegmentationRun(Part):
    """Whether the segments can be found again by their ids."""

    run_id: str = Field(description="Id of the run in the ledger")
    resolvable: bool = Field(description="Whether the ledger has it")
    reason: str | None = Field(description="Why it was not recorded")


class SegmentPlace(Part):
    """One customer's segment, why it is there, and what would move it."""

    client_id: str = Field(description="Customer identifier")
    name: str = Field(description="Name")
    segment_id: str = Field(description="Id of its segment")
    segment_name: str = Field(description="Name of its segment")
    placed: bool = Field(description="Whether it could be placed")
    reason: str | None = Field(description="Why it could not be placed yet")
    metric: str | None = Field(description="Metric that decides")
    value: float | None = Field(description="Its value")
    up_to: float | None = Field(description="Upper limit of the segment")
    above: float | None = Field(description="Lower limit of the segment")
    certainty: float | None = Field(description="Probability of its group")
    next_segment: str | None = Field(description="The nearest other segment")
    border: float | None = Field(description="Distance to it, in the metric's unit or in sd")
    before: str | None = Field(description="Its segment on the earlier date")
    since: dt.date | None = Field(description="The earlier date")
    arr: float | None = Field(description="ARR")
    score: int | None = Field(description="Health score")
    trend: str | None = Field(description="Trend of the score")
    gave_notice: bool = Field(description="Whether it gave notice")
    churn_probability: float | None = Field(description="Probability of churn in 90 days")
    why: list[str] = Field(description="Figures that decide its segment")
    what_would_move_it: list[str] = Field(description="Distances to other segments, risks")
    next_actions: list[NextAction] = Field(description="The customer's own next actions")


class Segmentation(Result):
    """The result of segment_customers."""

    tool: ClassVar[str] = "segment_customers"

    total_customers: int = Field(description="Live customers")
    excluded: dict[str, int] = Field(description="Customers not counted, by reason")
    segments_created: int = Field(description="Segments with placed customers")
    segmentation_type: str = Field(description="Type of segmentation")
    segmentation_criteria: dict[str, Any] = Field(description="Criteria with their defaults")
    min_segment_size: int = Field(description="Minimum customers per segment")
    max_segments: int = Field(description="Maximum number of segments")
    output_format: str = Field(description="Output format")
    currency: str | None = Field(description="Currency of all amounts")
    total_arr: float | None = Field(description="Sum of the ARR")
    total_arr_by_currency: dict[str, float] = Field(description="Sum of the ARR by currency")
    interval_level: float = Field(description="Level of the intervals")
    segments: list[Segment] = Field(description="The segments, the highest first")
    segment_summary: dict[str, int] = Field(description="Customers by segment")
    merged: list[str] = Field(description="Which segments were merged")
    unplaced: dict[str, int] = Field(description="Customers not placed, by reason")
    pareto_analysis: SegmentPareto = Field(description="Concentration of the ARR")
    cross_segment_insights: list[str] = Field(description="Significant differences in words")
    cross_segment_insights_detail: list[SegmentDifference] = Field(description="Their figures")
    insights_tried: int = Field(description="Comparisons made")
    recommended_actions: list[str] = Field(description="Actions, the most severe first")
    recommended_actions_detail: list[TriggeredRule] = Field(description="Their rules and figures")
    migration: SegmentMigration | None = Field(description="Moves since the earlier date")
    value_health_matrix: list[ValueHealthCell] = Field(description="Value tiers by health bands")
    evidence: GroupingEvidence | None = Field(description="Evidence for groups")
    next_actions: list[NextAction] = Field(
        description="The first action of customers whose loss would cost most, three of the worst segment"
    )
    run: SegmentationRun = Field(description="The recorded run")
    customer_standing: SegmentPlace | None = Field(description="The customer's segment")

    _find_place: Callable[[str], SegmentPlace] | None = PrivateAttr(default=None)

    def with_places(self, find_place: Callable[[str], SegmentPlace]) -> Self:
        """The same result, which finds a customer's place by ``find_place``."""
        self._find_place = find_place
        return self

    def customer(self, client_id: str) -> SegmentPlace:
        """A customer's segment; raises ClientNotFound for one that is not live at as_of."""
        client_id = id_text(client_id)
        clients = self._frames["customers"]["client_id"].tolist()
        if client_id not in clients or self._find_place is None:
            raise ClientNotFound(
                f"{client_id!r} is not among the live customers of this segmentation"
                f"{hint(client_id, clients)}",
                parameter="client_id",
                value_provided=str(client_id)[:200],
                validation_rule="a live customer at as_of",
            )
        return self._find_place(client_id)

    def segment(self, segment_id: str) -> Segment:
        return next(segment for segment in self.segments if segment.segment_id == segment_id)

    def to_dict(self) -> dict[str, Any]:
        response = super().to_dict()
        for segment in response["segments"]:
            for key in list(segment):
                brief = self.output_format == "summary" and key in (*STRATEGY, "client_ids")
                if brief or (self.output_format == "ids_only" and key not in IDS):
                    del segment[key]
        return response

    def verdict(self) -> str:
        if self.customer_standing is not None:
            return self._customer_verdict(self.customer_standing)
        evidence = self.evidence
        if evidence is not None and not evidence.stable and self.segments_created <= 1:
            return f"No stable segments: {evidence.reason}"
        placed = [segment for segment in self.segments if segment.placed]
        if not placed:
            if not self.total_customers:
                return "The portfolio has no live customers"
            return (
                f"None of {counted(self.total_customers, 'customer')} could be placed in a segment"
            )
        worst = max(placed, key=lambda segment: segment.expected_churned_arr_90d or 0.0)
        members = sum(segment.customer_count for segment in placed)
        of = "" if members == self.total_customers else f"{members} of "
        parts = [
            f"{of}{counted(self.total_customers, 'customer')} in {counted(len(placed), 'segment')}"
        ]
        if worst.expected_churned_arr_90d and worst.total_arr is not None:
            loss, arr = (
                brief_money(amount, self.currency)
                for amount in (worst.expected_churned_arr_90d, worst.total_arr)
            )
            parts.append(
                f"{worst.segment_name} ({worst.customer_count}) may lose most: {loss} of {arr} in 90 days"
            )
        if self.migration is not None and self.migration.up is not None:
            moved = f"since {self.migration.since} {self.migration.up} moved up and {self.migration.down} down"
            parts.append(moved)
        elif self.migration is not None:
            parts.append(f"{self.migration.moved} moved since {self.migration.since}")
        return "; ".join(parts)

    def _customer_verdict(self, customer: SegmentPlace) -> str:
        if not customer.placed:
            return f"{customer.name}: not placed ({customer.reason})"
        if customer.gave_notice:
            return f"{customer.name}: {customer.segment_name}; it gave notice, which goes before any segment"
        parts = [f"{customer.name}: {customer.segment_name}"]
        if customer.score is not None:
            parts[0] += f", score {customer.score}"
        if customer.churn_probability is not None:
            parts.append(f"{percent(customer.churn_probability)} likely to churn in 90 days")
        if customer.border is not None and customer.next_segment:
            distance = border_distance(customer.metric, customer.border)
            parts.append(f"{distance} from {customer.next_segment}")
        if customer.before not in (None, customer.segment_name):
            parts.append(f"on {customer.since} it was in {customer.before}")
        return "; ".join(parts)

    def charts(self) -> dict[str, Picture]:
        from healthseg.charts import segments

        frame, money = self.frame, self.currency
        names = [segment.segment_name for segment in self.segments]
        charts = {
            "sizes": segments.sizes(frame("segments"), money),
            "profile": segments.profile(frame("profile")),
            "differences": segments.differences(frame("differences")),
            "flows": segments.flows(frame("flows"), names),
            "matrix": segments.matrix(frame("matrix"), money),
            "lorenz": segments.lorenz(frame("lorenz")),
            "map": segments.plane(frame("customers")),
        }
        if self.evidence is not None:
            charts["evidence"] = segments.evidence(frame("evidence"))
        if self.customer_standing is not None:
            customer = self.customer_standing.model_dump()
            charts["standing"] = segments.standing(frame("values"), customer)
        return charts

    def summary(self) -> dict[str, Any]:
        return {
            segment.segment_name: f"{segment.customer_count} customers" for segment in self.segments
        }
