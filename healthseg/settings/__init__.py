"""Every setting, frozen, with its unit and its reason: the only home of thresholds.

Settings live in a portfolio's ``portfolio.toml`` (or ``healthseg.toml``) under ``[settings]``; what is not given there
has its default. They are grouped by subject, one module and one class a section, and read as attributes of
``Settings``. ``Settings.fingerprint`` names all of them, ``section_fingerprint`` those of some sections: what is
computed from a section alone is computed anew only when that section changes.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator

from healthseg.errors import InvalidParameters, require_known
from healthseg.rules import SEVERITIES
from healthseg.settings.base import Frozen, fingerprint, merged
from healthseg.settings.data import DataSettings
from healthseg.settings.lifecycle import STAGES, LedgerPlace, Lifecycle, MilestoneSettings, Outbox
from healthseg.settings.metrics import MetricSettings
from healthseg.settings.scorecard import (
    BANDS,
    COMPONENTS,
    DEFAULT_SCORECARD,
    Band,
    Component,
    Scorecard,
    ScorecardMetric,
    Variant,
    merged_card,
)
from healthseg.settings.scoring import ActionSettings, ChurnSettings, ScoringSettings
from healthseg.settings.segments import (
    TIER_STRATEGIES,
    PatternSettings,
    SegmentSettings,
    TierSettings,
    TierStrategy,
    tier_names,
)
from healthseg.settings.statistics import ForecastSettings, StatisticsSettings
from healthseg.settings.usage import AdoptionSettings, UsageSettings


class RecordSettings(Frozen):
    """What is recorded: the lifecycle's stages, the outbox, where the ledger lies."""

    lifecycle: Lifecycle = Lifecycle()
    # others beside it, by name: a journey, an onboarding, a risk process, each with stages of its own
    lifecycles: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")], Lifecycle] = {}
    outbox: Outbox = Outbox()
    ledger: LedgerPlace = LedgerPlace()

    @field_validator("lifecycle")
    @classmethod
    def _usual_stages(cls, lifecycle: Lifecycle) -> Lifecycle:
        if lifecycle.name or lifecycle.stages != STAGES:
            raise ValueError("a lifecycle with other stages is one of lifecycles, by its name")
        return lifecycle


SECTIONS: dict[str, type[Frozen]] = {
    "data": DataSettings,
    "metrics": MetricSettings,
    "scoring": ScoringSettings,
    "churn": ChurnSettings,
    "statistics": StatisticsSettings,
    "adoption": AdoptionSettings,
    "usage": UsageSettings,
    "actions": ActionSettings,
    "segments": SegmentSettings,
    "tiers": TierSettings,
    "milestones": MilestoneSettings,
    "patterns": PatternSettings,
    "forecasting": ForecastSettings,
    "record": RecordSettings,
}


class Settings(
    DataSettings,
    MetricSettings,
    ScoringSettings,
    ChurnSettings,
    StatisticsSettings,
    AdoptionSettings,
    UsageSettings,
    ActionSettings,
    SegmentSettings,
    TierSettings,
    MilestoneSettings,
    PatternSettings,
    ForecastSettings,
    RecordSettings,
):
    """What can be set, with defaults. Units are in the names.

    >>> Settings(churn_horizon_days=60).differing()
    {'churn_horizon_days': 60}
    """

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

    def section_fingerprint(self, *sections: str) -> str:
        """The fingerprint of the settings of some sections, by the names of ``SECTIONS``.

        >>> changed = Settings(churn_gate_evidence=50.0)
        >>> changed.section_fingerprint("metrics") == Settings().section_fingerprint("metrics")
        True
        >>> changed.section_fingerprint("churn") == Settings().section_fingerprint("churn")
        False
        """
        names = {name for section in sections for name in SECTIONS[section].model_fields}
        return fingerprint(self.model_dump(mode="json", include=names))


# names of before 0.1.0 that are still read
FORMER_NAMES = {"book_currency": "reporting_currency"}


def settings(values: Mapping[str, Any] | None = None) -> Settings:
    """Settings from a mapping; refuses unknown names and bad values with the rule.

    >>> settings({"session_gap_minutes": 15}).session_gap_minutes
    15
    """
    values = {FORMER_NAMES.get(name, name): value for name, value in (values or {}).items()}
    known = Settings.model_fields
    for name in values:
        require_known(
            name, sorted(known), f"unknown setting {name!r}", parameter=f"settings.{name}"
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


def changed(base: Settings, values: Settings | Mapping[str, Any]) -> Settings:
    """Settings with some others over them (or others); a stated scorecard, metrics and rules are merged with theirs.

    >>> other = changed(Settings(), {"scorecard": {"components": {"usage": {"weight": 0.5}}}})
    >>> other.scorecard.components["usage"].weight, len(other.scorecard.components)
    (0.5, 5)
    """
    if isinstance(values, Settings):
        return values
    values = dict(values)
    card, metrics = values.get("scorecard"), values.get("metrics")
    if isinstance(card, Mapping) and not card.get("only_these"):
        values["scorecard"] = merged_card(base.scorecard.model_dump(), card)
    if isinstance(metrics, Mapping):
        dumped = {name: metric.model_dump() for name, metric in base.metrics.items()}
        values["metrics"] = dumped | dict(metrics)
    if isinstance(values.get("rules"), Mapping):
        values["rules"] = merged(base.rules, values["rules"])
    stated = settings(values)
    return base.model_copy(update={name: getattr(stated, name) for name in values})


__all__ = [
    "BANDS",
    "COMPONENTS",
    "DEFAULT_SCORECARD",
    "SECTIONS",
    "SEVERITIES",
    "STAGES",
    "TIER_STRATEGIES",
    "Band",
    "Component",
    "Frozen",
    "LedgerPlace",
    "Lifecycle",
    "Outbox",
    "Scorecard",
    "ScorecardMetric",
    "Settings",
    "TierStrategy",
    "Variant",
    "changed",
    "fingerprint",
    "settings",
    "tier_names",
]
