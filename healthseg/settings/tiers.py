"""Value tiers: thresholds, names, how each is looked after, capacity, expansion."""

from __future__ import annotations

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
    tier_strategies: dict[str, TierStrategy] = (
        TIER_STRATEGIES  # what the team has set itself; other names by rank
    )
    csm_capacity_hours: Annotated[float, Field(gt=0)] = (
        120.0  # a month with customers, where csms doesn't say
    )
    strategic_weights: tuple[float, float, float] = (
        0.5,
        0.3,
        0.2,
    )  # of the ranks of ARR, potential, strategic value
    support_tiers: dict[str, str] = {}  # plan → what its support is called
    expansion_min_utilisation: Annotated[float, Field(gt=0, le=1)] = 0.9

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


def tier_names(config: TierSettings) -> tuple[str, ...]:
    """Names from the lowest tier up, for k thresholds k + 1."""
    count = len(config.arr_thresholds) + 1
    if config.tier_names and len(config.tier_names) == count:
        return config.tier_names
    named = {
        2: ("SMB", "Enterprise"),
        3: ("SMB", "Mid-Market", "Enterprise"),
        4: ("SMB", "Mid-Market", "Corporate", "Enterprise"),
        5: ("Micro", "SMB", "Mid-Market", "Corporate", "Enterprise"),
    }
    return named.get(count, tuple(f"Tier {k}" for k in range(1, count + 1)))
