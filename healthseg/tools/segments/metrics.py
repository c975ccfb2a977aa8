"""The metrics that a segmentation can name, and how they are called and written."""

from __future__ import annotations

from healthseg import rules
from healthseg.metrics.panel import COLUMNS

TOOL = "segment_customers"
DEFAULT_CUSTOM = (
    "seat_utilisation",
    "stickiness_30d",
    "sessions_per_user_per_week_28d",
    "feature_adoption_rate_30d",
)
WORDS = (
    "industry",
    "region",
    "plan",
    "stage",
    "tier",
    "payment_status",
    "currency",
    "health_trend",
)
PROFILE = ("tenure_days", "days_since_notice")
_TEXTS = {"payment_status"}


def known() -> dict[str, dict[str, str]]:
    """label, unit, high, low, kind and table of each metric that has words of its own."""
    return rules.phrases(TOOL, "metric")


def numbers() -> list[str]:
    """Every number that customers can be parted by."""
    return sorted(
        {*known(), *PROFILE, *(name for name in COLUMNS if name not in _TEXTS), "tickets_90d"}
    )


def label(metric: str) -> str:
    """
    >>> label("seat_utilisation")
    'Seats in use'
    """
    return known().get(metric, {}).get("label", metric.replace("_", " "))


def written(metric: str, value: float | None) -> str:
    """A value as a reader reads it, with its unit.

    >>> written("seat_utilisation", 0.734), written("tenure_months", 18.2)
    ('73 %', '18 months')
    """
    unit = known().get(metric, {}).get("unit", "")
    if value is None or value != value:
        return "not known"
    if unit.startswith("share"):
        return f"{100 * value:.0f} %"
    if unit == "money":
        return f"{value:,.0f}"
    if unit in ("points", "NPS points", ""):
        return f"{value:.0f}" if abs(value) >= 10 or float(value).is_integer() else f"{value:.2f}"
    decimals = 0 if abs(value) >= 10 or float(value).is_integer() else 1
    return f"{value:,.{decimals}f}" + ("" if unit in ("ratio", "1 to 5") else f" {unit}")
