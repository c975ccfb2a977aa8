"""The shape of track_feature_adoption's response: the reference's keys, and what traces them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

from healthseg.tools.result import Part, Result

if TYPE_CHECKING:
    import altair as alt


class TimeTo(Part):
    """A Kaplan–Meier median in days, with those not there yet; ``days`` is null where fewer than half got there."""

    statistic: str = "km_median"
    days: float | None
    lower: float | None
    upper: float | None
    interval_level: float
    n: int
    events: int
    excluded_untracked: int  # could use it before events were tracked


class CategorySummary(Part):
    total_features: int | float
    adopted_features: int | float | None
    adoption_rate: float | None
    average_time_to_adopt_days: float | None
    time_to_adopt: TimeTo


class Association(Part):
    """How one thing goes with another at the landmarks; ``adjusted`` is the figure that is spoken of."""

    adjusted: float | None
    lower: float | None
    upper: float | None
    p: float | None
    q: float | None
    raw: float | None
    raw_lower: float | None
    raw_upper: float | None
    raw_p: float | None
    n: int
    customers: int
    events: int | None
    non_events: int | None
    interval_level: float
    found: bool  # q (or the odds ratio's) within the setting effects_max_q
    text: str
    reason: str | None = None


class Staying(Association):
    """Of a feature and staying for 90 days: both retention rates; and the adjusted odds of leaving, month by month."""

    odds_ratio_of_leaving: float | None
    odds_ratio_lower: float | None
    odds_ratio_upper: float | None
    odds_ratio_p: float | None
    odds_ratio_q: float | None
    leavers: int | None
    retention_adopters: float | None
    adopters_n: int | None
    retention_others: float | None
    others_n: int | None


class Kept(Part):
    """What became of adoptions that were seen to happen."""

    adopters: int
    abandoned: int
    readopted: int
    share_kept_180_days: float | None
    lower: float | None
    upper: float | None
    interval_level: float
    silent_days: int


class FeatureDetail(Part):
    feature_name: str
    feature_category: str
    adoption_rate: float | None
    customers_using: int | None
    total_customers: int
    average_time_to_first_use_days: float | None
    usage_frequency: str | None
    customer_satisfaction: float | None
    correlation_with_retention: float | None
    adopted: bool | None  # one customer only
    adoption_rate_lower: float | None
    adoption_rate_upper: float | None
    users: int | None
    events_per_adopter: float | None  # depth: median person events of the period
    user_share: float | None  # breadth: median share of an adopter's active users
    median_active_days: float | None  # frequency: per user in 28 days
    satisfaction_n: int | None
    released_on: dt.date | None
    time_to_first_use: TimeTo
    time_to_adopt: TimeTo
    kept: Kept
    staying: Staying | None


class Funnel(Part):
    """Counts of units that reached each stage; each stage holds the next."""

    eligible: int
    awareness: int | None
    trial: int
    first_use: int
    regular_use: int
    power_use: int
    conversion_rate: float | None
    unit: str


class NamedFunnel(Funnel):
    name: str


class Pattern(Part):
    pattern: str
    percentage: float
    characteristics: str
    avg_time_to_value: float | None
    retention_rate: float | None
    retention_lower: float | None
    retention_upper: float | None
    customers: int
    figures: dict[str, float | None]


class PatternEvidence(Part):
    stable: bool
    reason: str | None
    customers: int
    groups: int | None
    silhouette: float | None
    silhouette_p: float | None  # against one cloud of the same covariance
    stability: float | None  # mean adjusted Rand index over resampled customers


class Correlations(Part):
    adoption_vs_health_score: float | None
    adoption_vs_retention: float | None
    adoption_vs_expansion: float | None
    detail: dict[str, Association]
    adjusted_for: list[str]
    not_adjusted_for: list[str]
    landmarks: list[dt.date]
    hypotheses_tried: int


class Benchmark(Part):
    vs_tier_average: str | None
    vs_industry_average: str | None
    vs_all_customers: str | None


class Standing(Part):
    """Where one customer's adopted share stands among the peers that it is compared with."""

    peer_group: str | None
    n: int | None
    adoption_rate: float | None
    peer_median: float | None
    percentile: float | None
    percentile_lower: float | None
    percentile_upper: float | None
    interval_level: float


class Impact(Part):
    lower_percentage_points: float
    upper_percentage_points: float
    interval_level: float
    n: int
    basis: str


class Recommendation(Part):
    feature: str
    current_adoption: float | None
    target_adoption: float | None
    recommended_actions: list[str]
    expected_impact: str | None
    expected_impact_detail: Impact | None
    rules: list[dict[str, Any]]
    reason: str


class Barrier(Part):
    barrier: str
    tickets: int
    of: int
    share: float


class LowFeature(Part):
    feature: str
    feature_category: str
    adoption_rate: float | None
    barriers: list[str] | None
    improvement_strategies: list[str]
    barriers_detail: list[Barrier] | None
    total_customers: int


class FeatureAdoption(Result):
    """track_feature_adoption's response, for one customer or for all; frames: ``features``, ``curves``, ``kept``,
    ``funnel``, ``effects``, ``low``, and for all customers ``paths``, for one ``peers``.
    """

    tool: ClassVar[str] = "track_feature_adoption"

    client_id: str | None
    customer_name: str | None
    analysis_scope: str
    analysis_period_days: int
    period_start: dt.date
    period_end: dt.date
    feature_category: str
    total_customers: int
    excluded: dict[str, int]
    rule: str
    feature_adoption_summary: dict[str, CategorySummary]
    feature_details: list[FeatureDetail]
    adoption_funnel: Funnel | None
    category_funnels: list[NamedFunnel] | None
    feature_funnels: list[NamedFunnel] | None
    adoption_patterns: list[Pattern] | None
    pattern_evidence: PatternEvidence | None
    correlation_analysis: Correlations | None
    benchmark_comparison: Benchmark
    benchmark_standing: Standing | None
    recommendations: list[Recommendation]
    low_adoption_features: list[LowFeature]

    def charts(self, width: int = 740) -> dict[str, alt.TopLevelMixin]:
        from healthseg.charts import adoption

        single = self.client_id is not None
        found = {
            "features": adoption.features(self.frame("features"), single, width),
            "funnel": adoption.funnel(self.frame("funnel"), width),
            "effects": adoption.effects(self.frame("effects"), width),
        }
        if single:
            return {**found, "time_to_adopt": adoption.own_times(self.frame("curves"), width)}
        return {
            **found,
            "time_to_adopt": adoption.time_to_adopt(self.frame("category_curves"), width),
            "kept": adoption.kept(self.frame("kept"), width),
        }

    @property
    def adoption_rate(self) -> float | None:
        """Adopted of all pairs of a customer and a feature it could use, all categories together."""
        known = [
            one
            for one in self.feature_adoption_summary.values()
            if one.adopted_features is not None
        ]
        total = sum(one.total_features for one in known)
        return sum(one.adopted_features for one in known) / total if total else None

    def verdict(self) -> str:
        who = self.customer_name or f"{self.total_customers} customers"
        if self.adoption_rate is None:
            return f"{who}: adoption is not measured"
        text = (
            f"{who}: {100 * self.adoption_rate:.0f} % of the features that can be used are adopted"
        )
        if self.client_id is None and self.low_adoption_features:
            text += f"; {len(self.low_adoption_features)} hardly"
        compared = self.benchmark_comparison
        said = compared.vs_tier_average or compared.vs_industry_average or compared.vs_all_customers
        return text + (f"; {said}" if said else "")

    def summary(self) -> dict[str, Any]:
        return {
            **{
                name.replace("_", " "): f"{one.adopted_features:g} of {one.total_features:g}"
                for name, one in self.feature_adoption_summary.items()
                if one.adopted_features is not None
            },
            "Recommendations": "; ".join(one.feature for one in self.recommendations) or "none",
        }


class PortfolioAdoption(FeatureAdoption):
    """The response for all customers with what its portfolio report shows besides; more frames: ``customers`` (a row a
    customer: adopted, entitled, rate, arr, fewest first), ``abandoned`` (a row a feature), ``category_curves``."""

    customers: list[dict[str, Any]]
    abandoned: list[dict[str, Any]]
