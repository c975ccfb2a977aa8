"""Scorecards: how metrics become points, components and the score."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from healthseg.settings.base import Frozen

COMPONENTS = ("usage", "engagement", "support", "satisfaction", "payment")


Anchor = tuple[float, float]


Band = Literal["critical", "at_risk", "healthy", "champion"]


BANDS: tuple[Band, ...] = ("critical", "at_risk", "healthy", "champion")


class ScorecardMetric(Frozen):
    """One input of a component: a metric, mapped piecewise linearly to 0–100 points.

    ``anchors`` are ``(value, points)`` in rising order of value; between them the
    points are linear, beyond them clamped. ``per_tenure`` marks the metrics whose
    anchors grow with a new customer's tenure (the ramp); ``own_baseline`` those
    that a new customer does not have yet.
    """

    metric: str
    # The catalogue's label and unit, unless a scorecard has its own.
    label: str | None = None
    unit: str | None = None
    weight: Annotated[float, Field(gt=0)]
    anchors: Annotated[tuple[Anchor, ...], Field(min_length=2)]
    why: str = ""
    per_tenure: bool = False
    own_baseline: bool = False

    @field_validator("anchors")
    @classmethod
    def _rising(cls, anchors: tuple[Anchor, ...]) -> tuple[Anchor, ...]:
        values = [value for value, _ in anchors]
        if sorted(set(values)) != values:
            raise ValueError("anchors' values must rise")
        if any(not 0 <= points <= 100 for _, points in anchors):
            raise ValueError("anchors' points lie in 0..100")
        return anchors


class Component(Frozen):
    weight: Annotated[float, Field(ge=0)]
    metrics: Annotated[tuple[ScorecardMetric, ...], Field(min_length=1)]

    @field_validator("metrics")
    @classmethod
    def _each_once(cls, metrics: tuple[ScorecardMetric, ...]) -> tuple[ScorecardMetric, ...]:
        names = [metric.metric for metric in metrics]
        if len(set(names)) < len(names):
            raise ValueError("a component lists each metric once")
        return metrics


class Scorecard(Frozen):
    """How metrics become points: components by name, each of weighted metrics."""

    components: dict[str, Component]

    @model_validator(mode="after")
    def _some_weight(self) -> Scorecard:
        unknown = set(self.components) - set(COMPONENTS)
        if unknown:
            raise ValueError(
                f"unknown component {sorted(unknown)[0]!r}; known: {', '.join(COMPONENTS)}"
            )
        if not sum(component.weight for component in self.components.values()) > 0:
            raise ValueError("at least one component needs a weight above 0")
        return self


class Variant(Frozen):
    """A scorecard for some customers: those whose plan, tier or stage is listed."""

    plan: tuple[str, ...] = ()
    tier: tuple[str, ...] = ()
    stage: tuple[str, ...] = ()
    components: dict[str, Component]


def _scored(
    metric: str, weight: float, anchors: list[Anchor], why: str, **marks: bool
) -> ScorecardMetric:
    return ScorecardMetric(
        metric=metric,
        weight=weight,
        anchors=tuple((float(v), float(p)) for v, p in anchors),
        why=why,
        **marks,
    )


DEFAULT_SCORECARD = Scorecard(
    components={
        "usage": Component(
            weight=0.35,
            metrics=(
                _scored(
                    "seat_utilisation",
                    0.4,
                    [(0, 0), (0.5, 60), (0.8, 100)],
                    "a seat nobody uses is the first one cancelled; above four fifths little is left to gain",
                    per_tenure=True,
                ),
                _scored(
                    "usage_vs_own_baseline",
                    0.4,
                    [(0, 0), (0.8, 50), (1, 80), (1.2, 100)],
                    "each customer is its own yardstick: a drop of a fifth is a warning whatever the size",
                    own_baseline=True,
                ),
                _scored(
                    "feature_adoption_rate_30d",
                    0.2,
                    [(0, 0), (0.4, 50), (0.75, 100)],
                    "breadth makes churn costly; few customers adopt everything",
                    per_tenure=True,
                ),
            ),
        ),
        "engagement": Component(
            weight=0.25,
            metrics=(
                _scored(
                    "stickiness_30d",
                    0.4,
                    [(0, 0), (0.1, 40), (0.2, 70), (0.4, 100)],
                    "0.2 is one working day a week, common for B2B products; 0.4 is two",
                ),
                _scored(
                    "sessions_per_user_per_week_28d",
                    0.3,
                    [(0, 0), (1, 40), (3, 80), (5, 100)],
                    "once a week is a habit in the making, every working day a full one",
                ),
                _scored(
                    "days_since_last_person_event",
                    0.3,
                    [(0, 100), (7, 80), (14, 40), (30, 0)],
                    "a week of silence can be a holiday, a month is absence",
                ),
            ),
        ),
        "support": Component(
            weight=0.15,
            metrics=(
                _scored(
                    "open_high_tickets",
                    0.4,
                    [(0, 100), (1, 50), (3, 0)],
                    "each is an open promise",
                ),
                _scored(
                    "tickets_per_10_mau_90d",
                    0.3,
                    [(0, 100), (2, 60), (6, 0)],
                    "load relative to the people who use it, not to the contract",
                ),
                _scored(
                    "median_resolution_hours_90d",
                    0.3,
                    [(8, 100), (48, 60), (168, 0)],
                    "within a working day is excellent; a week is failure",
                ),
            ),
        ),
        "satisfaction": Component(
            weight=0.15,
            metrics=(
                _scored(
                    "nps_365d",
                    0.6,
                    [(-100, 0), (0, 50), (50, 85), (100, 100)],
                    "zero is as many detractors as promoters",
                ),
                _scored(
                    "csat_180d",
                    0.4,
                    [(1, 0), (3, 40), (4, 75), (5, 100)],
                    "three of five is a polite complaint",
                ),
            ),
        ),
        "payment": Component(
            weight=0.10,
            metrics=(
                _scored(
                    "worst_days_overdue",
                    0.6,
                    [(0, 100), (30, 50), (60, 0)],
                    "a month late is a dispute, two months a decision",
                ),
                _scored(
                    "paid_on_time_share_365d",
                    0.4,
                    [(0.5, 0), (0.9, 80), (1, 100)],
                    "habitual lateness is common and weak evidence, hence the lower weight",
                ),
            ),
        ),
    }
)
