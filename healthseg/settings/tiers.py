"""Value tiers: thresholds, names, how each is looked after, capacity, expansion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, field_validator

from healthseg.settings.base import Frozen


class TierStrategy(Frozen):
    """How customers of a tier are looked after: words of the team's own, repeated in responses as such."""

    touch_frequency: str
    executive_engagement: str | None = None
    support_sla: str | None = None
    success_programs: tuple[str, ...] = ()
    automation_level: str


TIER_STRATEGIES = {
    "Micro": TierStrategy(touch_frequency="quarterly (automated)", automation_level="high"),
    "SMB": TierStrategy(touch_frequency="monthly (automated + human)", automation_level="high"),
    "Mid-Market": TierStrategy(
        touch_frequency="bi-weekly",
        executive_engagement="yearly business review",
        success_programs=("Shared success plan",),
        automation_level="medium",
    ),
    "Corporate": TierStrategy(
        touch_frequency="weekly",
        executive_engagement="half-yearly business review",
        success_programs=("Success plan",),
        automation_level="low",
    ),
    "Enterprise": TierStrategy(
        touch_frequency="weekly",
        executive_engagement="quarterly business review",
        success_programs=("Account plan", "Executive sponsor"),
        automation_level="low",
    ),
}


class TierSettings(Frozen):
    """Value tiers: thresholds, names, how each is looked after, capacity, expansion."""

    # share of a tier's ARR on seats that nobody uses from which the team decides about them: a tenth is a price rise's worth
    idle_arr_min_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    arr_thresholds: tuple[float, ...] = (10_000.0, 50_000.0, 100_000.0, 250_000.0)
    tier_names: tuple[str, ...] | None = None
    # hours of a manager that a customer takes a month, by tier; another number of tiers takes them by rank
    tier_hours_per_month: dict[str, Annotated[float, Field(gt=0)]] = {
        "Micro": 0.5,
        "SMB": 1.0,
        "Mid-Market": 4.0,
        "Corporate": 8.0,
        "Enterprise": 16.0,
    }
    # what the team has set itself; tiers of other names take them by rank
    tier_strategies: dict[str, TierStrategy] = TIER_STRATEGIES
    # a manager's hours a month with customers, where the csms table has none
    csm_capacity_hours: Annotated[float, Field(gt=0)] = 120.0
    # a capacity gap is critical where a third of the managers needed is missing in a tier that holds
    # a quarter of the ARR
    critical_capacity_gap_share: Annotated[float, Field(gt=0, le=1)] = 1 / 3
    large_tier_arr_share: Annotated[float, Field(gt=0, le=1)] = 0.25
    # a notice on less of all ARR is for the customer's manager, not for the head of customer success
    notice_decision_min_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    # weights of the ranks of ARR, potential and strategic value
    strategic_weights: tuple[float, float, float] = (0.5, 0.3, 0.2)
    # by which each weight is moved to see how far the tiers depend on it
    strategic_weight_step: Annotated[float, Field(gt=0, lt=1)] = 0.1
    # plan → what its support is called
    support_tiers: dict[str, str] = {}
    # seats in use from which more users need more seats
    expansion_min_utilisation: Annotated[float, Field(gt=0, le=1)] = 0.9
    # a customer is ready to expand after a quarter
    expansion_min_tenure_days: Annotated[int, Field(ge=1)] = 90
    # a score that fell by half a band within the look-back is falling, whatever its trend over twelve weeks says
    expansion_max_score_fall: Annotated[float, Field(gt=0)] = 10.0
    # customers with a bundle of premium features, and without it: fewer say nothing of its price
    expansion_min_peers: Annotated[int, Field(ge=2)] = 8
    # a customer's potential is at most the rise in a year that a tenth of comparable customers exceeded
    expansion_cap_quantile: Annotated[float, Field(gt=0, le=1)] = 0.9
    # months of which net and gross retention are shown
    revenue_months: Annotated[int, Field(ge=1)] = 12
    # fewer customers of a year ago say nothing of a tier's net retention
    retention_min_customers: Annotated[int, Field(ge=1)] = 8
    # a tier whose customers take so few hours, and that has so many, is served by programmes
    automation_max_hours: Annotated[float, Field(gt=0)] = 1.0
    automation_min_customers: Annotated[int, Field(ge=1)] = 20

    @field_validator("arr_thresholds")
    @classmethod
    def _thresholds(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not values or sorted(set(values)) != list(values) or values[0] < 0:
            raise ValueError("arr_thresholds must be non-negative and rise")
        return values

    @field_validator("strategic_weights")
    @classmethod
    def _weights(cls, values: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(values) < 0 or not sum(values) > 0:
            raise ValueError("strategic_weights must be non-negative, not all 0")
        return values


def tier_names(config: TierSettings, thresholds: Sequence[float] | None = None) -> tuple[str, ...]:
    """Names from the lowest tier up: k thresholds (by default the settings') make k + 1 tiers."""
    count = len(config.arr_thresholds if thresholds is None else thresholds) + 1
    if config.tier_names and len(config.tier_names) == count:
        return config.tier_names
    usual = {
        2: ("SMB", "Enterprise"),
        3: ("SMB", "Mid-Market", "Enterprise"),
        4: ("SMB", "Mid-Market", "Corporate", "Enterprise"),
        5: ("Micro", "SMB", "Mid-Market", "Corporate", "Enterprise"),
    }
    return usual.get(count, tuple(f"Tier {number}" for number in range(1, count + 1)))
