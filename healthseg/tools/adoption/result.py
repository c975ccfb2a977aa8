"""The results of track_feature_adoption, for a customer and for the portfolio."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from healthseg.rules import counted
from healthseg.tools.base import Part, Result, TriggeredRule
from healthseg.tools.next_actions import NextAction

if TYPE_CHECKING:
    from healthseg.charts.theme import Picture


class TimeTo(Part):
    """A Kaplan–Meier median in days, with those not there yet; ``days`` is null where fewer than half got there."""

    statistic: str = Field(
        default="km_median", description="km_median: Kaplan–Meier, with those not there yet"
    )
    days: float | None = Field(description="Median, days; null where fewer than half got there")
    lower: float | None = Field(description="Lower end, days")
    upper: float | None = Field(description="Upper end, days")
    interval_level: float = Field(description="Level of the interval")
    n: int = Field(description="Customers (or features) watched")
    events: int = Field(description="How many got there")
    excluded_untracked: int = Field(description="Could use it before events were tracked")


class CategorySummary(Part):
    """Adoption of a category's features."""

    total_features: int | float = Field(
        description="Features that can be used; of several customers the mean"
    )
    adopted_features: int | float | None = Field(description="Of these adopted")
    adoption_rate: float | None = Field(description="Adopted ÷ usable")
    average_time_to_adopt_days: float | None = Field(description="Median days to adoption")
    time_to_adopt: TimeTo = Field(description="Figures behind it")


class Association(Part):
    """How one thing goes with another at the landmark dates; the text is about ``adjusted``."""

    adjusted: float | None = Field(
        description="Adjusted correlation, the figure that the text is about"
    )
    lower: float | None = Field(description="Lower end")
    upper: float | None = Field(description="Upper end")
    p: float | None = Field(description="p of the adjusted figure")
    q: float | None = Field(description="False-discovery rate over all hypotheses tried")
    raw: float | None = Field(description="Unadjusted correlation")
    raw_lower: float | None = Field(description="Lower end")
    raw_upper: float | None = Field(description="Upper end")
    raw_p: float | None = Field(description="p of the raw figure")
    n: int = Field(description="Landmark rows")
    customers: int = Field(description="Customers")
    events: int | None = Field(description="Customers with the rarer outcome")
    non_events: int | None = Field(description="Customers with the other")
    interval_level: float = Field(description="Level of the intervals")
    found: bool = Field(description="Whether q (or the odds ratio's) is within effects_max_q")
    text: str = Field(description="In words")
    reason: str | None = Field(default=None, description="Why it is not measured")


class FeatureRetention(Association):
    """A feature and retention for 90 days: both rates, and the adjusted odds of churn month by month."""

    odds_ratio_of_leaving: float | None = Field(
        description="Odds of churn in a month with the feature adopted ÷ without"
    )
    odds_ratio_lower: float | None = Field(description="Lower end")
    odds_ratio_upper: float | None = Field(description="Upper end")
    odds_ratio_p: float | None = Field(description="p")
    odds_ratio_q: float | None = Field(description="False-discovery rate")
    churned: int | None = Field(description="Churned customers")
    retention_adopters: float | None = Field(description="Share retained for 90 days where adopted")
    adopters_n: int | None = Field(description="Rows where adopted")
    retention_others: float | None = Field(description="Share retained where not adopted")
    others_n: int | None = Field(description="Rows where not adopted")


class AdoptionDuration(Part):
    """What became of observed adoptions."""

    adopters: int = Field(description="Adoptions that were observed")
    abandoned: int = Field(description="Of these abandoned")
    readopted: int = Field(description="Of these taken up again")
    share_kept_180_days: float | None = Field(description="Share still in use after 180 days")
    lower: float | None = Field(description="Lower end")
    upper: float | None = Field(description="Upper end")
    interval_level: float = Field(description="Level of the interval")
    silent_days: int = Field(description="Days without use that count as abandoned")


class FeatureDetail(Part):
    """One feature's adoption."""

    feature_name: str = Field(description="Feature")
    feature_category: str = Field(description="Category")
    adoption_rate: float | None = Field(
        description="Share of customers that adopted it; of one customer, of its active users"
    )
    customers_using: int | None = Field(description="Customers that adopted it")
    total_customers: int = Field(description="Customers that could use it")
    average_time_to_first_use_days: float | None = Field(description="Median days to first use")
    usage_frequency: str | None = Field(description="daily, weekly, monthly or rare")
    customer_satisfaction: float | None = Field(description="Mean CSAT of answers on it")
    correlation_with_retention: float | None = Field(
        description="Adjusted correlation with 90 days' retention"
    )
    adopted: bool | None = Field(description="Whether the customer adopted it")
    adoption_rate_lower: float | None = Field(description="Lower end")
    adoption_rate_upper: float | None = Field(description="Upper end")
    users: int | None = Field(description="Users in the period")
    events_per_adopter: float | None = Field(description="Median person events of an adopter")
    user_share: float | None = Field(description="Median share of an adopter's active users")
    median_active_days: float | None = Field(description="Median active days of a user in 28")
    satisfaction_n: int | None = Field(description="Answers on it")
    released_on: dt.date | None = Field(description="Day of release")
    time_to_first_use: TimeTo = Field(description="Figures behind the time")
    time_to_adopt: TimeTo = Field(description="Time to adoption")
    kept: AdoptionDuration = Field(description="What became of adoptions")
    staying: FeatureRetention | None = Field(description="How adoption goes with retention")


class Funnel(Part):
    """Counts of units that reached each stage; each stage holds the next."""

    eligible: int = Field(description="Units that could use it")
    awareness: int | None = Field(description="Received a message about it, or used it")
    trial: int = Field(description="Used on one day")
    first_use: int = Field(description="Used on two days")
    regular_use: int = Field(description="Used on 4 of the last 28 days")
    power_use: int = Field(description="Used on 12 of them")
    conversion_rate: float | None = Field(description="Regular use ÷ eligible")
    unit: str = Field(description="What a unit is")


class NamedFunnel(Funnel):
    name: str = Field(description="Category or feature")


class Pattern(Part):
    """A group of customers that adopt alike."""

    pattern: str = Field(description="Name")
    percentage: float = Field(description="Share of the customers, per cent")
    characteristics: str = Field(description="What sets the group apart")
    avg_time_to_value: float | None = Field(description="Median days to first value")
    retention_rate: float | None = Field(description="Share retained for a year from day 90")
    retention_lower: float | None = Field(description="Lower end")
    retention_upper: float | None = Field(description="Upper end")
    customers: int = Field(description="Customers")
    figures: dict[str, float | None] = Field(description="Medians of the group's metrics")


class PatternEvidence(Part):
    """How sure the groups are."""

    stable: bool = Field(description="Whether groups are stable")
    reason: str | None = Field(description="Why there are none")
    customers: int = Field(description="Customers")
    groups: int | None = Field(description="Groups")
    silhouette: float | None = Field(description="Silhouette")
    silhouette_p: float | None = Field(description="p against one cloud of the same covariance")
    stability: float | None = Field(description="Mean adjusted Rand index over resampled customers")


class Correlations(Part):
    """How adoption goes with outcomes."""

    adoption_vs_health_score: float | None = Field(description="With the score 90 days later")
    adoption_vs_retention: float | None = Field(description="With retention for 90 days")
    adoption_vs_expansion: float | None = Field(description="With a rise of ARR within 180 days")
    detail: dict[str, Association] = Field(description="Figures behind")
    adjusted_for: list[str] = Field(description="What is held equal")
    not_adjusted_for: list[str] = Field(description="What is not known well enough for that")
    landmarks: list[dt.date] = Field(description="Dates")
    hypotheses_tried: int = Field(description="How many")


class AdoptionBenchmark(Part):
    """Adoption against peers, in words."""

    vs_tier_average: str | None = Field(description="Against the tier's median, in words")
    vs_industry_average: str | None = Field(description="Against the industry's median")
    vs_all_customers: str | None = Field(description="Against all customers' median")


class PeerStanding(Part):
    """One customer's adopted share among its peers."""

    peer_group: str | None = Field(description="Which peers")
    n: int | None = Field(description="Peers")
    adoption_rate: float | None = Field(description="The customer's adopted share")
    peer_median: float | None = Field(description="The peers' median")
    percentile: float | None = Field(description="Mid-rank among the peers, per cent")
    percentile_lower: float | None = Field(description="Lower end")
    percentile_upper: float | None = Field(description="Upper end")
    interval_level: float = Field(description="Level of the interval")


class Impact(Part):
    """What telling customers of a feature brought."""

    lower_percentage_points: float = Field(description="Lower end")
    upper_percentage_points: float = Field(description="Upper end")
    interval_level: float = Field(description="Level of the interval")
    n: int = Field(description="Rows")
    basis: str = Field(description="What was compared")


class Recommendation(Part):
    """A feature to promote."""

    feature: str = Field(description="Feature")
    current_adoption: float | None = Field(description="Adoption now")
    target_adoption: float | None = Field(description="Adoption of the upper quarter")
    recommended_actions: list[str] = Field(description="What to do")
    expected_impact: str | None = Field(description="What it brought in this portfolio")
    expected_impact_detail: Impact | None = Field(description="Figures behind")
    rules: list[TriggeredRule] = Field(description="Triggered rules")
    reason: str = Field(description="Why this feature")


class Barrier(Part):
    """A topic of tickets or low answers on a feature."""

    barrier: str = Field(description="Topic")
    tickets: int = Field(description="Tickets or answers")
    of: int = Field(description="Of all on the feature")
    share: float = Field(description="Share")


class LowFeature(Part):
    """A feature that is little adopted."""

    feature: str = Field(description="Feature")
    feature_category: str = Field(description="Category")
    adoption_rate: float | None = Field(description="Adoption")
    barriers: list[str] | None = Field(description="What stands in the way, in words")
    improvement_strategies: list[str] = Field(description="What to do")
    barriers_detail: list[Barrier] | None = Field(description="Figures behind")
    total_customers: int = Field(description="Customers that could use it")


class FeatureAdoption(Result):
    """track_feature_adoption's result for one customer or for all.

    Frames: features, curves, kept, funnel, effects; for all customers also category_curves, paths,
    customers and abandoned, for one customer peers.
    """

    tool: ClassVar[str] = "track_feature_adoption"

    client_id: str | None = Field(description="Customer; null for all")
    customer_name: str | None = Field(description="Its name")
    analysis_scope: str = Field(description="Who the response is about")
    analysis_period_days: int = Field(description="Days over which adoption is measured")
    period_start: dt.date = Field(description="First day")
    period_end: dt.date = Field(description="Day after the last")
    feature_category: str = Field(description="Category requested")
    total_customers: int = Field(description="Live customers")
    excluded: dict[str, int] = Field(description="Customers not counted, by reason")
    rule: str = Field(description="When a feature counts as adopted")
    feature_adoption_summary: dict[str, CategorySummary] = Field(description="By category")
    feature_details: list[FeatureDetail] = Field(description="Each feature")
    adoption_funnel: Funnel | None = Field(description="Funnel over all units")
    category_funnels: list[NamedFunnel] | None = Field(description="By category")
    feature_funnels: list[NamedFunnel] | None = Field(description="By feature")
    adoption_patterns: list[Pattern] | None = Field(
        description="Groups of customers by how they adopt"
    )
    pattern_evidence: PatternEvidence | None = Field(description="How sure the groups are")
    correlation_analysis: Correlations | None = Field(description="How adoption goes with outcomes")
    benchmark_comparison: AdoptionBenchmark = Field(description="Against peers, in words")
    benchmark_standing: PeerStanding | None = Field(description="Against peers, figures")
    recommendations: list[Recommendation] = Field(description="Features to promote")
    low_adoption_features: list[LowFeature] = Field(description="Features that are little adopted")
    next_actions: list[NextAction] = Field(
        default_factory=list, description="What to do next, of the list that all tools share"
    )

    def charts(self) -> dict[str, Picture]:
        from healthseg.charts import adoption

        features = self.frame("features")
        charts = {
            "funnel": adoption.funnel(self.frame("funnel")),
            "effects": adoption.effects(self.frame("effects")),
        }
        if self.client_id is not None:
            return charts | {
                "features": adoption.own_features(features),
                "time_to_adopt": adoption.own_times(self.frame("curves")),
            }
        return charts | {
            "features": adoption.features(features),
            "time_to_adopt": adoption.time_to_adopt(self.frame("category_curves")),
            "kept": adoption.durations(self.frame("kept")),
        }

    @property
    def adoption_rate(self) -> float | None:
        """Adopted ÷ usable pairs of a customer and a feature, all categories together."""
        known = [
            (summary.adopted_features, summary.total_features)
            for summary in self.feature_adoption_summary.values()
            if summary.adopted_features is not None
        ]
        total = sum(usable for _, usable in known)
        return sum(adopted for adopted, _ in known) / total if total else None

    def verdict(self) -> str:
        subject = self.customer_name or counted(self.total_customers, "customer")
        if self.adoption_rate is None:
            return f"{subject}: adoption is not measured"
        share = f"{100 * self.adoption_rate:.0f}%"
        if self.client_id is None:
            text = f"{subject} have adopted {share} of the features they can use"
        else:
            text = f"{subject}: {self.notice}{share} of the features it can use are adopted"
        low = len(self.low_adoption_features)
        if self.client_id is None and low:
            names = [part.feature.replace("_", " ") for part in self.low_adoption_features[:2]]
            text += f"; {' and '.join(names)} {'are' if low > 1 else 'is'} adopted least"
        standing = self.benchmark_standing
        if standing is not None and standing.peer_median is not None:
            text += f"; the median of {standing.n} peers is {100 * standing.peer_median:.0f}%"
        return text

    def summary(self) -> dict[str, Any]:
        return {
            **{
                name.replace("_", " "): f"{part.adopted_features:g} of {part.total_features:g}"
                for name, part in self.feature_adoption_summary.items()
                if part.adopted_features is not None
            },
            "Recommendations": "; ".join(part.feature for part in self.recommendations) or "none",
        }


class PortfolioAdoption(FeatureAdoption):
    """The result for all customers, with each customer and what was abandoned."""

    customers: list[dict[str, Any]] = Field(description="Each live customer, lowest rate first")
    abandoned: list[dict[str, Any]] = Field(description="Each feature, shortest-lived first")
