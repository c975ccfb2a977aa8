"""Every setting, frozen, with its unit and its reason.

Settings live in a portfolio's ``portfolio.toml`` (or ``healthseg.toml``) under
``[settings]``; what is not given there has the defaults below. A change of any
of them changes the fingerprint of every response.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from healthseg.errors import InvalidParameters, hint
from healthseg.rules import SEVERITIES as SEVERITIES
from healthseg.settings.lifecycle import STAGES as STAGES
from healthseg.settings.lifecycle import LedgerPlace, Lifecycle, Outbox

COMPONENTS = ("usage", "engagement", "support", "satisfaction", "payment")
Anchor = tuple[float, float]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScorecardMetric(Frozen):
    """One input of a component: a metric, mapped piecewise linearly to 0–100 points.

    ``anchors`` are ``(value, points)`` in rising order of value; between them the
    points are linear, beyond them clamped. ``per_tenure`` marks the metrics whose
    anchors grow with a new customer's tenure (the ramp); ``own_baseline`` those
    that a new customer does not have yet.
    """

    metric: str
    label: str
    unit: str
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


def _scored(metric, label, unit, weight, anchors, why, **marks) -> ScorecardMetric:
    return ScorecardMetric(
        metric=metric,
        label=label,
        unit=unit,
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
                    "Seats in use",
                    "share of seats",
                    0.4,
                    [(0, 0), (0.5, 60), (0.8, 100)],
                    "a seat nobody uses is the first one cancelled; above four fifths little is left to gain",
                    per_tenure=True,
                ),
                _scored(
                    "usage_vs_own_baseline",
                    "Usage against own baseline",
                    "ratio",
                    0.4,
                    [(0, 0), (0.8, 50), (1, 80), (1.2, 100)],
                    "each customer is its own yardstick: a drop of a fifth is a warning whatever the size",
                    own_baseline=True,
                ),
                _scored(
                    "feature_adoption_rate_30d",
                    "Features adopted",
                    "share of entitled features",
                    0.2,
                    [(0, 0), (0.4, 50), (0.75, 100)],
                    "breadth makes leaving costly; few customers adopt everything",
                    per_tenure=True,
                ),
            ),
        ),
        "engagement": Component(
            weight=0.25,
            metrics=(
                _scored(
                    "stickiness_30d",
                    "Stickiness (DAU/MAU)",
                    "share",
                    0.4,
                    [(0, 0), (0.1, 40), (0.2, 70), (0.4, 100)],
                    "0.2 is one working day a week, common for B2B products; 0.4 is two",
                ),
                _scored(
                    "sessions_per_user_per_week_28d",
                    "Sessions per user and week",
                    "sessions",
                    0.3,
                    [(0, 0), (1, 40), (3, 80), (5, 100)],
                    "once a week is a habit in the making, every working day a full one",
                ),
                _scored(
                    "days_since_last_person_event",
                    "Days since anybody used it",
                    "days",
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
                    "Open high or critical tickets",
                    "tickets",
                    0.4,
                    [(0, 100), (1, 50), (3, 0)],
                    "each is a promise not yet kept",
                ),
                _scored(
                    "tickets_per_10_mau_90d",
                    "Tickets per 10 active users in 90 days",
                    "tickets",
                    0.3,
                    [(0, 100), (2, 60), (6, 0)],
                    "load relative to the people who use it, not to the contract",
                ),
                _scored(
                    "median_resolution_hours_90d",
                    "Median time to resolution in 90 days",
                    "hours",
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
                    "NPS of the last 365 days",
                    "NPS points",
                    0.6,
                    [(-100, 0), (0, 50), (50, 85), (100, 100)],
                    "zero is as many detractors as promoters",
                ),
                _scored(
                    "csat_180d",
                    "Mean CSAT of the last 180 days",
                    "1 to 5",
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
                    "Days the oldest open invoice is overdue",
                    "days",
                    0.6,
                    [(0, 100), (30, 50), (60, 0)],
                    "a month late is a dispute, two months a decision",
                ),
                _scored(
                    "paid_on_time_share_365d",
                    "Invoices paid at most 5 days late in 365 days",
                    "share",
                    0.4,
                    [(0.5, 0), (0.9, 80), (1, 100)],
                    "habitual lateness is common and weak evidence, hence the lower weight",
                ),
            ),
        ),
    }
)


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


class Settings(Frozen):
    """What can be set, with defaults. Units are in the names."""

    # given
    data_until: dt.date | None = None  # the portfolio's last day, where events cannot tell it
    default_timezone: str = "UTC"
    reporting_currency: str | None = None
    max_loss_share: Annotated[float, Field(ge=0, le=1)] = (
        0.2  # a table that loses more rows is refused
    )
    keep_identical_events: bool = (
        False  # identical rows of one instant are one event unless this is set
    )
    exclude_email_domains: tuple[str, ...] = ()  # internal and test users, left out everywhere
    exclude_users: tuple[str, ...] = ()
    csat_max: Annotated[int, Field(ge=2)] = 5
    # counted
    session_gap_minutes: Annotated[int, Field(ge=1)] = (
        30  # Google Analytics', Amplitude's and Mixpanel's default
    )
    adopted_min_days: Annotated[int, Field(ge=1)] = 2  # once is a look, twice is a choice
    adopted_min_users: Annotated[int, Field(ge=1)] = 1
    # two months without a use: longer than a quarter's routine
    abandoned_after_days: Annotated[int, Field(ge=14)] = 60
    funnel_first_use_days: Annotated[int, Field(ge=2)] = (
        2  # ever: the second day is the first that was chosen
    )
    low_adoption_share: Annotated[float, Field(gt=0, lt=1)] = 0.25
    champion_min_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    champion_min_active_days: Annotated[int, Field(ge=1)] = 12
    # 28 days without the champion are a departure only where that seldom: of 100 champions who stay, a tenth of one
    champion_silence_max_p: Annotated[float, Field(gt=0, le=1)] = 0.001
    power_min_days: Annotated[int, Field(ge=1, le=28)] = 12  # of 28; three working days a week
    regular_min_days: Annotated[int, Field(ge=1, le=28)] = 4  # of 28; once a week
    activation_features: tuple[
        str, ...
    ] = ()  # activated = used one of them; empty: any person event
    activation_days: Annotated[int, Field(ge=1)] = (
        14  # after creation, where activation_features are set
    )
    self_service_features: tuple[str, ...] = ()  # help pages, guides: who uses them helps itself
    baseline_min_tracked_days: Annotated[int, Field(ge=1)] = 28
    paid_late_days: Annotated[int, Field(ge=0)] = 5
    # judged
    scorecard: Scorecard = DEFAULT_SCORECARD
    scorecard_variants: tuple[Variant, ...] = ()
    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.30
    ramp_days: Annotated[int, Field(ge=0)] = 90
    overdue_cap_days: Annotated[int, Field(ge=1)] = 60
    overdue_cap_score: Annotated[float, Field(ge=0, le=100)] = 59.0
    band_edges: tuple[float, float, float] = (40.0, 60.0, 80.0)
    arr_thresholds: tuple[float, ...] = (10_000.0, 50_000.0, 100_000.0, 250_000.0)
    tier_names: tuple[str, ...] | None = None
    churn_horizon_days: Annotated[int, Field(ge=1, le=365)] = 90
    # sd of the log odds of leaving between customers of one tier, where no model estimates it: a perfect model of such
    # a spread has an AUC of 0.76, what churn models of subscriptions commonly reach
    churn_spread_log_odds: Annotated[float, Field(gt=0, le=3)] = 1.0
    churn_lead_days: Annotated[int, Field(ge=0, le=90)] = (
        0  # too late to act on: losses within them teach nothing
    )
    churn_min_leavers: Annotated[int, Field(ge=2)] = 10  # under it a model is not even tried
    churn_gate_z: Annotated[float, Field(ge=0)] = (
        2.33  # of the held-out AUC: 1 % of portfolios without signal pass
    )
    # a boosted model has some hundred splits to place: vendors of such models ask for 200 to 580 leavers
    churn_boosting_min_leavers: Annotated[int, Field(ge=50)] = 500
    interval_level: Annotated[float, Field(gt=0.5, lt=1)] = 0.90
    effects_interval_level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    effects_max_q: Annotated[float, Field(gt=0, lt=1)] = (
        0.01  # false-discovery rate at which an effect is spoken of
    )
    peers_min: Annotated[int, Field(ge=2)] = 8
    # grouped
    segment_compare_days: Annotated[int, Field(ge=7)] = 90  # who moved since: a quarter
    segment_min_effect: Annotated[float, Field(gt=0, lt=1)] = (
        0.33  # Cliff's delta; Romano et al. (2006): medium
    )
    messages_window_days: Annotated[int, Field(ge=14)] = (
        180  # how customers answer messages: two quarters
    )
    messages_engaged_days: Annotated[int, Field(ge=1)] = (
        7  # a click later than that answers something else
    )
    messages_min_sent: Annotated[int, Field(ge=1)] = 30  # fewer say nothing of a channel
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
    at_risk_draws: Annotated[int, Field(ge=100)] = 10_000
    # a week's peak: how far it stands out, and how seldom chance does that among all hours (or days) of a flat week
    peak_min_ratio: Annotated[float, Field(gt=1)] = 1.25
    peak_max_p: Annotated[float, Field(gt=0, lt=1)] = 0.01
    # when a milestone is due: so many days after signing up, or after the last milestone that it depends on
    milestone_anchor: Literal["signup", "dependency"] = "signup"
    milestone_days: Literal["calendar", "business"] = (
        "calendar"  # business: Monday to Friday, without holidays
    )
    # after the last due date: who has all required milestones by then has succeeded
    milestone_grace_days: Annotated[int, Field(ge=0)] = 30
    seed: int = 7
    # recorded
    lifecycle: Lifecycle = Lifecycle()
    outbox: Outbox = Outbox()
    ledger: LedgerPlace = LedgerPlace()

    @field_validator("default_timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        from healthseg.periods import zone_names

        if name not in zone_names():
            raise ValueError(f"{name!r} is no IANA time zone{hint(name, zone_names())}")
        return name

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

    @field_validator("band_edges")
    @classmethod
    def _bands(cls, values: tuple[float, float, float]) -> tuple[float, float, float]:
        if not 0 < values[0] < values[1] < values[2] < 100:
            raise ValueError("band_edges must rise between 0 and 100")
        return values

    def scorecard_for(self, plan: str | None, tier: str | None, stage: str | None) -> Scorecard:
        """The first variant whose every given list holds the customer's word, else the default."""
        for variant in self.scorecard_variants:
            pairs = ((variant.plan, plan), (variant.tier, tier), (variant.stage, stage))
            if all(value in words for words, value in pairs if words):
                return Scorecard(components=variant.components)
        return self.scorecard

    @functools.cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.model_dump(mode="json"))

    def model_copy(
        self, *, update: Mapping[str, Any] | None = None, deep: bool = False
    ) -> Settings:
        """A copy with other values has a fingerprint of its own.

        >>> given = Settings()
        >>> given.fingerprint != given.model_copy(update={"seed": 8}).fingerprint == Settings(seed=8).fingerprint
        True
        """
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop(
            "fingerprint", None
        )  # what a copy takes along is that of the values before
        return copied

    def differing(self) -> dict[str, Any]:
        """The settings that differ from the defaults, for footers and provenance."""
        ours, theirs = self.model_dump(mode="json"), Settings().model_dump(mode="json")
        return {key: value for key, value in ours.items() if value != theirs[key]}


def fingerprint(value: Any) -> str:
    """Sixteen hex digits of a JSON value's canonical text.

    >>> fingerprint({"b": 1, "a": 2}) == fingerprint({"a": 2, "b": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def settings(values: Mapping[str, Any] | None = None) -> Settings:
    """Settings from a mapping; refuses unknown names and bad values with the rule.

    >>> settings({"session_gap_minutes": 15}).session_gap_minutes
    15
    """
    values = dict(values or {})
    known = Settings.model_fields
    for name in values:
        if name not in known:
            raise InvalidParameters(
                f"unknown setting {name!r}{hint(name, known)}",
                parameter=f"settings.{name}",
                value_provided=name,
                validation_rule="one of " + ", ".join(sorted(known)),
            )
    try:
        return Settings(**values)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidParameters(
            f"setting {where}: {first['msg']} (given: {str(first['input'])[:80]!r})",
            parameter=f"settings.{where}",
            value_provided=str(first["input"])[:200],
            validation_rule=first["msg"],
        ) from None


Band = Literal["critical", "at_risk", "healthy", "champion"]
BANDS: tuple[Band, ...] = ("critical", "at_risk", "healthy", "champion")


def tier_names(config: Settings) -> tuple[str, ...]:
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
