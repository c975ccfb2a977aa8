"""The rules of next actions: those of the package, and a team's own over them (setting ``next_actions``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from healthseg.errors import InvalidParameters, hint
from healthseg.rules import SEVERITIES, Rule, _entries, with_own, words
from healthseg.rules.expressions import Condition

TOOL, KIND = "next_actions", "next"
FIELDS = ("priority", "topic", "due", "effect", "when", "severity", "text", "why")
EFFECTS = ("", "recovery")


@dataclass(frozen=True)
class ActionRule:
    """A rule with what the action is about, why it is due, and in how many days."""

    rule: Rule
    topic: str
    why: str
    due: Condition
    effect: str

    def reason(self, figures: Mapping[str, Any]) -> str:
        return words(self.why, figures)

    def due_in(self, figures: Mapping[str, Any]) -> int | None:
        """Days from today, at least 0; None where a figure is missing."""
        days = self.due.number(figures)
        return None if days is None else max(0, round(days))


def action_rules(own: Mapping[str, Mapping[str, Any] | bool]) -> tuple[ActionRule, ...]:
    """The rules in order of priority: a team's fields over the package's, ``False`` removes one.

    >>> rules = action_rules({"plan_review": False, "visit": {"when": "score < 50", "text": "Visit", "due": 9}})
    >>> "plan_review" in {item.rule.name for item in rules}, rules[-1].rule.name
    (False, 'visit')
    """
    rules = [_rule(name, entry) for name, entry in with_own(_entries(TOOL)[KIND], own).items()]
    return tuple(sorted(rules, key=lambda item: (-item.rule.priority, item.rule.name)))


def _rule(name: str, entry: Mapping[str, Any]) -> ActionRule:
    for field in entry:
        if field not in FIELDS:
            raise _refused(name, field, f"one of {', '.join(FIELDS)}{hint(field, FIELDS)}")
    for field in ("when", "text", "due"):
        if field not in entry:
            raise _refused(name, None, f"a rule with {field}")
    severity, effect = entry.get("severity", "low"), entry.get("effect", "")
    if severity not in SEVERITIES:
        raise _refused(name, severity, "one of " + ", ".join(SEVERITIES))
    if effect not in EFFECTS:
        raise _refused(name, effect, 'effect = "recovery", or none')
    text, priority = str(entry["text"]), entry.get("priority", 0)
    return ActionRule(
        Rule(TOOL, KIND, name, Condition(entry["when"]), text, severity, priority=priority),
        str(entry.get("topic", name)),
        str(entry.get("why", text)),
        Condition(str(entry["due"])),
        effect,
    )


def _refused(name: str, value: Any, rule: str) -> InvalidParameters:
    stated = "" if value is None else f" {value!r}"
    return InvalidParameters(
        f"the setting next_actions.{name} has an invalid rule:{stated}; it must be {rule}",
        parameter=f"settings.next_actions.{name}",
        value_provided=str(value)[:200],
        validation_rule=rule,
    )
