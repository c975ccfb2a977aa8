"""The metrics that a segmentation can name, and how they are called and written."""

from __future__ import annotations

from healthseg.metrics import catalog
from healthseg.metrics.catalog import Metric

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


def described() -> dict[str, Metric]:
    """The metrics by which segments are compared and described: those of a kind."""
    return {metric.name: metric for metric in catalog.used_by("segments") if metric.kind}


def numbers() -> list[str]:
    """Every number that customers can be segmented by."""
    return sorted(metric.name for metric in catalog.used_by("segments"))


def label(metric: str) -> str:
    """
    >>> label("seat_utilisation")
    'Seats in use'
    """
    entry = catalog.entries().get(metric)
    return entry.label if entry else metric.replace("_", " ")


def unit_of(metric: str) -> str:
    """The unit of a metric by which segments are described, else no unit."""
    entry = described().get(metric)
    return entry.unit if entry else ""


def written(metric: str, value: float | None) -> str:
    """A value as a reader reads it, with its unit.

    >>> written("seat_utilisation", 0.734), written("tenure_months", 18.2)
    ('73 %', '18 months')
    """
    unit = unit_of(metric)
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
