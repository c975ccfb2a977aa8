"""What segment_customers answers with: the reference's keys, and what each rests on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PrivateAttr

from healthseg.errors import ClientNotFound, hint
from healthseg.tools.result import Part, Result

if TYPE_CHECKING:
    import altair as alt

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


class Fired(Part):
    """A rule that held, and the figures that made it."""

    rule: str
    text: str
    severity: str
    figures: dict[str, Any]


class Characteristic(Part):
    """A figure of a segment: the mean over the members of whom it is known, n, and the interval of the mean."""

    label: str
    unit: str
    mean: float | None
    n: int
    lower: float | None
    upper: float | None
    level: float


class Answered(Part):
    """How messages of a channel or content are answered: engaged ÷ sent, with its interval."""

    name: str
    sent: int
    opened: int
    engaged: int
    rate: float
    lower: float
    upper: float


class Strategy(Part):
    primary_focus: str
    communication_frequency: str
    content_themes: list[str]
    csm_touch_frequency: str
    automation_level: str


class Segment(Part):
    """A segment with its members, its figures, and what follows from them."""

    segment_id: str
    segment_name: str
    segment_description: str
    placed: bool
    customer_count: int
    percentage_of_total: float
    total_arr: float | None
    percentage_of_arr: float | None
    expected_arr_lost_90d: float | None
    segment_criteria: dict[str, Any]
    merged_from: list[str]
    segment_characteristics: dict[str, float | None]
    characteristics_detail: dict[str, Characteristic]
    set_apart_by: list[str]
    recommended_engagement_strategy: Strategy | None
    recommended_channels: list[str] | None
    channels_detail: list[Answered] | None
    recommended_content: dict[str, str] | None
    content_detail: list[Answered] | None
    escalation_criteria: list[str] | None
    recommended_actions: list[str] | None
    strategy_rules: list[Fired] | None
    client_ids: list[str]


class Pareto(Part):
    """How unequal the ARR is: of those whose ARR is known (n)."""

    top_20_percent_contribute: str | None
    segment: str | None
    top_customers: int | None
    top_share: float | None
    top_arr: float | None
    gini: float | None
    n: int
    without_arr: int


class Insight(Part):
    """A difference between two segments that stands."""

    text: str
    metric: str
    segment: str
    other: str
    median: float
    other_median: float
    n: int
    other_n: int
    cliffs_delta: float
    lower: float
    upper: float
    level: float
    p: float
    q: float


class Move(Part):
    """Customers that went from one segment to another (``entered``, ``left`` and ``Not placed`` included)."""

    from_segment: str
    to_segment: str
    customers: int
    arr: float | None


class Noise(Part):
    """Moves that measurement alone would cause, with nobody changing: expected number and interval."""

    expected_moves: float
    lower: float
    upper: float
    level: float
    error_sd: float | None
    method: str


class Migration(Part):
    """Who is elsewhere than on an earlier date, by today's rules."""

    since: dt.date
    stayed: int
    moved: int
    up: int | None
    down: int | None
    entered: int
    left: int
    arr_moved: float | None
    arr_entered: float | None
    arr_left: float | None
    flows: list[Move]
    noise: Noise | None


class Cell(Part):
    """Customers of a value tier and a health band, their ARR, and what of it is expected to be lost in 90 days."""

    tier: str
    band: str
    customers: int
    arr: float | None
    expected_loss: float | None


class Evidence(Part):
    """Whether the customers fall into groups at all, and what says so."""

    stable: bool
    reason: str | None
    method: str
    metrics: list[str]
    transforms: dict[str, str]
    dropped_metrics: dict[str, str]
    segments: int | None
    customers: int
    sampled: int
    silhouette: float | None
    stability: float | None
    least_jaccard: float | None
    reference_p: float | None
    reference_draws: int
    least_customers: int
    tried: list[dict[str, Any]]


class Run(Part):
    """Whether this segmentation can be found again: its id in the ledger, or why it was not kept."""

    run_id: str
    resolvable: bool
    reason: str | None


class Place(Part):
    """Where one customer stands."""

    client_id: str
    name: str
    segment_id: str
    segment_name: str
    placed: bool
    reason: str | None
    metric: str | None
    value: float | None
    up_to: float | None
    above: float | None
    certainty: float | None
    next_segment: str | None
    border: float | None
    before: str | None
    since: dt.date | None
    arr: float | None
    score: int | None
    trend: str | None
    why: list[str]
    what_would_move_it: list[str]


class Segmentation(Result):
    """The response of segment_customers."""

    tool: ClassVar[str] = "segment_customers"

    total_customers: int
    excluded: dict[str, int]
    segments_created: int
    segmentation_type: str
    segmentation_criteria: dict[str, Any]
    min_segment_size: int
    max_segments: int
    output_format: str
    currency: str | None
    total_arr: float | None
    total_arr_by_currency: dict[str, float]
    interval_level: float
    segments: list[Segment]
    segment_summary: dict[str, int]
    merged: list[str]
    unplaced: dict[str, int]
    pareto_analysis: Pareto
    cross_segment_insights: list[str]
    cross_segment_insights_detail: list[Insight]
    insights_tried: int
    recommended_actions: list[str]
    recommended_actions_detail: list[Fired]
    migration: Migration | None
    value_health_matrix: list[Cell] | None
    evidence: Evidence | None
    run: Run
    customer_standing: Place | None

    _places: dict[str, Place] = PrivateAttr(default_factory=dict)
    _tell: Callable[[str], Place] | None = PrivateAttr(default=None)

    def with_places(self, places: dict[str, Place], tell: Callable[[str], Place]) -> Segmentation:
        """The same response, knowing its customers; ``tell`` says all of one, when it is asked for."""
        self._places.update(places)
        self._tell = tell
        return self

    def customer(self, client_id: str) -> Place:
        """Where a customer stands; raises ClientNotFound for one that is not in this segmentation."""
        if client_id not in self._places:
            raise ClientNotFound(
                f"{client_id!r} is not among the live customers of this segmentation"
                f"{hint(client_id, self._places)}",
                parameter="client_id",
                value_provided=str(client_id)[:200],
                validation_rule="a live customer at as_of",
            )
        return self._tell(client_id)

    def segment(self, segment_id: str) -> Segment:
        return next(one for one in self.segments if one.segment_id == segment_id)

    def to_dict(self) -> dict[str, Any]:
        found = super().to_dict()
        if self.output_format == "ids_only":
            found["segments"] = [{key: one[key] for key in IDS} for one in found["segments"]]
        elif self.output_format == "summary":
            found["segments"] = [
                {key: value for key, value in one.items() if key not in (*STRATEGY, "client_ids")}
                for one in found["segments"]
            ]
        return found

    def verdict(self) -> str:
        from healthseg.tools.segments.words import customer_verdict, verdict

        return verdict(self) if self.customer_standing is None else customer_verdict(self)

    def charts(self, width: int = 740) -> dict[str, alt.TopLevelMixin]:
        from healthseg.charts import segment_groups, segments

        drawn = {
            "sizes": segments.sizes(self.frame("segments"), self.currency, width),
            "profile": segments.profile(self.frame("profile"), width),
            "differences": segments.differences(self.frame("differences"), width),
            "flows": segments.flows(
                self.frame("flows"), width, [one.segment_name for one in self.segments]
            ),
            "matrix": segments.matrix(self.frame("matrix"), self.currency, width),
            "lorenz": segments.lorenz(self.frame("lorenz"), self.pareto_analysis.gini, width),
            "map": segment_groups.scatter(self.frame("customers"), self.segmentation_type, width),
        }
        if self.evidence is not None:
            drawn["evidence"] = segment_groups.evidence(self.frame("evidence"), width)
        if self.customer_standing is not None:
            drawn["standing"] = segment_groups.standing(
                self.frame("values"), self.customer_standing.model_dump(), width
            )
        return drawn

    def summary(self) -> dict[str, Any]:
        return {one.segment_name: f"{one.customer_count} customers" for one in self.segments}
