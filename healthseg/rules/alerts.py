"""Which alerts are raised: the rules, the reader's preferences, and the cooldown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from healthseg.errors import InvalidParameters, hint
from healthseg.rules import SEVERITIES, OwnRules, Rule, TriggeredRule, rules

LONGEST_COOLDOWN_DAYS = 90
EPOCH_ORDINAL = dt.date(1970, 1, 1).toordinal()
KEYS = ("thresholds", "minimum_severity", "cooldown_days")


@dataclass(frozen=True)
class Preferences:
    """The alerts' rules, and a reader's wishes: thresholds by rule, the least severity, and how long a raised alert
    stays quiet."""

    rules: tuple[Rule, ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    minimum_severity: str = "low"
    cooldown_days: int = 0


def preferences(
    entries: Mapping[str, Any] | None, own: OwnRules, tool: str = "calculate_health_score"
) -> Preferences:
    """The preferences, checked, with the rules of the tool's alerts and the team's ``own`` over them.

    >>> preferences({"thresholds": {"score_below": 50}, "cooldown_days": 7}, {}).cooldown_days
    7
    """
    known = rules(tool, "alert", own)
    entries = dict(entries or {})
    for key in entries:
        if key not in KEYS:
            raise _refused(
                "alert_preferences", key, "one of " + ", ".join(KEYS), hint(str(key), KEYS)
            )
    _thresholds(entries.get("thresholds", {}), known)
    severity = entries.get("minimum_severity", "low")
    if severity not in SEVERITIES:
        raise _refused(
            "alert_preferences.minimum_severity",
            severity,
            "one of " + ", ".join(SEVERITIES),
            hint(str(severity), SEVERITIES),
        )
    days = entries.get("cooldown_days", 0)
    if (
        isinstance(days, bool)
        or not isinstance(days, int)
        or not 0 <= days <= LONGEST_COOLDOWN_DAYS
    ):
        raise _refused(
            "alert_preferences.cooldown_days",
            days,
            f"a whole number from 0 to {LONGEST_COOLDOWN_DAYS}",
        )
    return Preferences(known, dict(entries.get("thresholds", {})), severity, days)


def _thresholds(thresholds: Any, alerts: tuple[Rule, ...]) -> None:
    known = {rule.name for rule in alerts if rule.threshold is not None}
    if not isinstance(thresholds, Mapping):
        raise _refused("alert_preferences.thresholds", thresholds, "a mapping of rules to numbers")
    for name, value in thresholds.items():
        if name not in known:
            rule = "one of " + ", ".join(sorted(known))
            raise _refused("alert_preferences.thresholds", name, rule, hint(str(name), known))
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise _refused(f"alert_preferences.thresholds.{name}", value, "a number")


def _refused(parameter: str, value: Any, rule: str, near: str = "") -> InvalidParameters:
    return InvalidParameters(
        f"Invalid {parameter}: {value!r}; it must be {rule}{near}",
        parameter=parameter,
        value_provided=str(value)[:200],
        validation_rule=rule,
    )


def holding(wishes: Preferences, figures: Mapping[str, Any]) -> dict[str, TriggeredRule]:
    """The alerts whose rules hold for these figures, by rule."""
    least = SEVERITIES.index(wishes.minimum_severity)
    alerts = {}
    for rule in wishes.rules:
        outcome = rule.evaluate(figures, wishes.thresholds.get(rule.name))
        if outcome is not None and SEVERITIES.index(rule.severity) >= least:
            alerts[rule.name] = outcome
    return alerts


def raised(
    wishes: Preferences,
    figures: Mapping[str, Any],
    before: Callable[[int], list[Mapping[str, Any] | None]],
    today: dt.date,
) -> list[TriggeredRule]:
    """What is raised today: what holds, and was not raised within the cooldown before.

    Nothing is remembered between calls: ``before(n)`` gives the figures of each of the n days before, and the
    days are gone through as if the alerts had been raised then. A rule that held on all of them began before
    what is rebuilt; it is raised again every ``cooldown_days + 1`` days, counted from 1970 (``today``).
    """
    held = holding(wishes, figures)
    if held and wishes.cooldown_days:
        window = 2 * wishes.cooldown_days + 1
        days = [
            set() if earlier is None else set(holding(wishes, earlier))
            for earlier in before(window)
        ]
        held = {
            name: alert
            for name, alert in held.items()
            if _due(
                [name in day for day in days],
                wishes.cooldown_days,
                today.toordinal() - EPOCH_ORDINAL,
            )
        }
    return sorted(held.values(), key=lambda alert: (-SEVERITIES.index(alert.severity), alert.rule))


def _due(held: list[bool], cooldown_days: int, today: int) -> bool:
    """Whether a rule that holds today is raised, by the days before on which it held."""
    if all(held):
        return today % (cooldown_days + 1) == 0
    last = -cooldown_days - 1
    for day, holds in enumerate(held):
        if holds and day - last > cooldown_days:
            last = day
    return len(held) - last > cooldown_days
