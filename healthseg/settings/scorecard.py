"""Scorecards: how metrics become points, components and the score."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from healthseg.errors import InvalidParameters
from healthseg.rules.expressions import Condition
from healthseg.settings.base import Frozen, merged

# those of the reference; a scorecard may have others beside them
COMPONENTS = ("usage", "engagement", "support", "satisfaction", "payment")


Anchor = tuple[float, float]


Band = Literal["critical", "at_risk", "healthy", "champion"]


BANDS: tuple[Band, ...] = ("critical", "at_risk", "healthy", "champion")


class ScorecardMetric(Frozen):
    """One input of a component: a metric, mapped to 0–100 points.

    ``anchors`` are ``(value, points)`` in rising order of value; between them the
    points are linear (with ``logarithm`` in the log of the value), beyond them clamped.
    ``bands`` in their place are ``(from, points)``: steps, the first of which also holds below.
    ``missing`` says what a value that is not measured earns: nothing, and its weight falls to the
    others (skip), 50 points (neutral), or the fewest (worst); it never counts as covered. ``per_tenure`` marks the metrics whose
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
    logarithm: bool = False
    missing: Literal["skip", "neutral", "worst"] = "skip"

    @model_validator(mode="before")
    @classmethod
    def _steps(cls, values: Any) -> Any:
        """Bands as anchors that rise between two neighbouring numbers."""
        if not isinstance(values, Mapping) or "bands" not in values:
            return values
        bands = [(float(edge), float(points)) for edge, points in values["bands"]]
        pairs = itertools.pairwise(bands)
        steps = [(math.nextafter(edge, -math.inf), before) for (_, before), (edge, _) in pairs]
        return {
            **{name: value for name, value in values.items() if name != "bands"},
            "anchors": tuple(sorted([*bands, *steps])),
        }

    @model_validator(mode="after")
    def _positive(self) -> ScorecardMetric:
        if self.logarithm and self.anchors[0][0] <= 0:
            raise ValueError("with logarithm the anchors' values are above 0")
        return self

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
    """How metrics become points: components by name, each of weighted metrics.

    In settings, what is stated is merged with the usual scorecard unless ``only_these``.
    """

    components: dict[str, Component]
    only_these: bool = True

    @model_validator(mode="after")
    def _some_weight(self) -> Scorecard:
        for name in self.components:
            if not name.isidentifier():
                raise ValueError(f"{name!r}: a component's name is a word of letters, digits and _")
        if not sum(component.weight for component in self.components.values()) > 0:
            raise ValueError("at least one component needs a weight above 0")
        return self


class Variant(Frozen):
    """A scorecard for some customers: those whose plan, tier and stage are listed, and of whom ``when`` holds.

    ``when`` is a condition over columns of the panel (``tenure_days < 180 and industry == 'retail'``).
    """

    plan: tuple[str, ...] = ()
    tier: tuple[str, ...] = ()
    stage: tuple[str, ...] = ()
    when: str | None = None
    components: dict[str, Component]
    only_these: bool = True

    @field_validator("when")
    @classmethod
    def _condition(cls, text: str | None) -> str | None:
        try:
            return text if text is None else Condition(text).text
        except InvalidParameters as problem:
            raise ValueError(problem.message) from None


def merged_card(usual: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, Any]:
    """A stated scorecard over the usual one: components and metrics by name, ``false`` leaves one out.

    A component's ``metrics`` are merged by name where they are a table, and replaced where they are a list.
    """
    components = dict(usual["components"])
    for name, value in (stated.get("components") or {}).items():
        if value is False or value is None:
            components.pop(name, None)
        elif isinstance(value, Mapping):
            components[name] = _merged_component(components.get(name, {}), value)
        else:
            components[name] = value
    return {**stated, "components": components, "only_these": True}


def _merged_component(usual: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, Any]:
    metrics = stated.get("metrics", usual.get("metrics", ()))
    if isinstance(metrics, Mapping):
        known = {metric["metric"]: metric for metric in usual.get("metrics", ())}
        for name, value in metrics.items():
            if value is False or value is None:
                known.pop(name, None)
            elif isinstance(value, Mapping):
                known[name] = merged(known.get(name, {"metric": name}), value)
        metrics = tuple(known.values())
    return {**usual, **stated, "metrics": metrics}


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
