"""Every recommendation and alert: a rule over named figures, and its words.

The rules are data (one TOML file a tool): nothing is advised that no figure triggered, and every
piece of advice names its rule and the figures that made it fire.
"""

from __future__ import annotations

import functools
import json
import re
import string
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from healthseg.errors import InvalidParameters, hint, require_known
from healthseg.rules.expressions import Condition

SEVERITIES = ("low", "medium", "high", "critical")
KINDS = (
    "risk",
    "strength",
    "action",
    "alert",
    "disagreement",
    "portfolio_action",
    "portfolio_alert",
    "focus",
    "touch",
    "contact",
    "automation",
    "next",
    "theme",
    "escalation",
)
# a team may add rules to the others: of these a response needs exactly one, or words beside the rule
OWN_KINDS = tuple(
    kind for kind in KINDS if kind not in ("focus", "touch", "contact", "automation", "next")
)
FIELDS = ("when", "text", "severity", "threshold", "priority")
LONGEST_TEXT = 1000
_FORMAT = re.compile(r"[+]?,?(\.\d)?[f%]?|n [\w -]{1,60}")
OwnRules = Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any] | bool]]]


class TriggeredRule(BaseModel):
    """A rule whose condition holds, with the figures that its condition and text read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str = Field(description="The rule's name")
    text: str = Field(description="The rule's text with its figures")
    severity: str = Field(description="low, medium, high or critical")
    figures: dict[str, Any] = Field(description="The figures that the rule reads")


@dataclass(frozen=True)
class Rule:
    """A condition over named figures, and the text that is said where it holds."""

    tool: str
    kind: str
    name: str
    condition: Condition
    text: str
    severity: str = "low"
    threshold: float | None = None
    priority: int = 0
    own: bool = False

    @property
    def figures(self) -> list[str]:
        words = {field for _, field, _, _ in string.Formatter().parse(self.text) if field}
        return sorted(words | set(self.condition.names))

    def evaluate(
        self, figures: Mapping[str, Any], threshold: float | None = None
    ) -> TriggeredRule | None:
        """The triggered rule, or None where its condition is not known to hold.

        Raises InvalidParameters where a team's own rule reads a figure that the tool does not have.
        """
        if self.own:
            self._require_known(figures)
        limit = self.threshold if threshold is None else threshold
        figures = {**figures, "threshold": limit} if limit is not None else figures
        if not self.condition.holds(figures):
            return None
        used = {name: figures.get(name) for name in self.figures}
        return TriggeredRule(
            rule=self.name,
            text=words(self.text, figures),
            severity=self.severity,
            figures=used,
        )

    def _require_known(self, figures: Mapping[str, Any]) -> None:
        known = {"threshold", *figures, *_figures(self.tool)}
        for name in self.figures:
            if name not in known:
                where = f"{FILES[self.tool]}.{self.kind}.{self.name}"
                raise InvalidParameters(
                    f"the rule {where} reads {name!r}, which is not a figure of {self.tool}{hint(name, known)}",
                    parameter=f"settings.rules.{where}",
                    value_provided=name,
                    validation_rule="a figure that the tool has",
                )


class _Plain(string.Formatter):
    """Formatting that knows plain names only, says "unknown" for a figure that is missing, and counts nouns."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> tuple[Any, str]:
        if not field_name.isidentifier():
            raise InvalidParameters(
                f"{field_name!r} is not a plain figure's name", parameter="text"
            )
        return kwargs.get(field_name), field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None:
            return "unknown"
        if not _FORMAT.fullmatch(format_spec):
            raise InvalidParameters(
                f"{format_spec[:40]!r} is not a format of a figure",
                parameter="text",
                validation_rule="as in {score:.0f}, {arr:,.0f}, {share:.1%} or {seats:n seat}",
            )
        if format_spec.startswith("n "):
            return counted(value, format_spec.removeprefix("n "))
        return (
            format(value, format_spec).replace("-", "−")
            if isinstance(value, int | float)
            else str(value)
        )


def counted(value: float, noun: str) -> str:
    """A whole number and its noun, in the plural where it is not one.

    >>> counted(1, "open ticket"), counted(3, "open ticket")
    ('1 open ticket', '3 open tickets')
    """
    return f"{value:,.0f} {noun}{'' if round(value) == 1 else 's'}"


def joined(texts: Iterable[str]) -> str:
    """Sentences as parts of one: only the first begins with a capital, save abbreviations.

    >>> joined(["Renewal in 4 days", "An invoice is late", "NPS is 0"])
    'Renewal in 4 days; an invoice is late; NPS is 0'
    """
    first, *rest = [*texts] or [""]
    return "; ".join(
        [
            first,
            *(text if text[1:2].isupper() else f"{text[:1].lower()}{text[1:]}" for text in rest),
        ]
    )


def listed(names: Iterable[str], most: int = 3) -> str:
    """The first names of a list, and how many more there are.

    >>> listed(["Acme", "Bolt"]), listed(["Acme", "Bolt", "Crane", "Dune"], 2)
    ('Acme and Bolt', 'Acme, Bolt and 2 more')
    """
    known = list(names)
    if len(known) > most:
        return f"{', '.join(known[:most])} and {len(known) - most} more"
    return " and ".join(filter(None, (", ".join(known[:-1]), *known[-1:])))


def words(template: str, figures: Mapping[str, Any]) -> str:
    """The template with its figures.

    >>> words("{open_tickets:n open ticket}, NPS {nps:+.0f}", {"open_tickets": 2.0, "nps": -8.0})
    '2 open tickets, NPS −8'
    """
    return _Plain().vformat(template, (), figures)


FILES = {
    "calculate_health_score": "health",
    "track_usage_engagement": "usage",
    "track_feature_adoption": "adoption",
    "manage_lifecycle_stages": "lifecycle",
    "track_adoption_milestones": "milestones",
    "segment_customers": "segments",
    "segment_by_value_tier": "tiers",
    "analyze_engagement_patterns": "patterns",
    "next_actions": "actions",
}


@functools.cache
def _entries(tool: str) -> dict[str, Any]:
    """A tool's rules and phrases, by kind and name."""
    if tool not in FILES:
        return {}
    file = resources.files("healthseg.rules").joinpath(f"{FILES[tool]}.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def rules(tool: str, kind: str, own: OwnRules) -> tuple[Rule, ...]:
    """The tool's rules of a kind, in order of priority, then name: with a team's own (setting ``rules``) over them.

    >>> own = {"health": {"alert": {"inactive": False, "few": {"when": "monthly_active_users < 3", "text": "Few users"}}}}
    >>> names = {rule.name for rule in rules("calculate_health_score", "alert", own)}
    >>> "inactive" in names, "few" in names
    (False, True)
    """
    stated = own.get(FILES.get(tool, tool), {}).get(kind, {})
    return _parsed(tool, kind, json.dumps(stated, sort_keys=True, default=dict))


@functools.lru_cache(maxsize=256)
def _parsed(tool: str, kind: str, own: str) -> tuple[Rule, ...]:
    stated = json.loads(own)
    entries = with_own(_entries(tool).get(kind, {}), stated)
    parsed = [
        Rule(
            tool,
            kind,
            name,
            Condition(entry["when"]),
            entry["text"],
            entry.get("severity", "low"),
            entry.get("threshold"),
            entry.get("priority", 0),
            own=name in stated,
        )
        for name, entry in entries.items()
    ]
    return tuple(sorted(parsed, key=lambda rule: (-rule.priority, rule.name)))


def with_own(
    entries: Mapping[str, Mapping[str, Any]], own: Mapping[str, Mapping[str, Any] | bool]
) -> dict[str, Mapping[str, Any]]:
    """Rules by name: a team's fields over the package's, ``False`` removes one."""
    both = dict(entries)
    for name, fields in own.items():
        if isinstance(fields, Mapping):
            both[name] = {**both.get(name, {}), **fields}
        elif not fields:
            both.pop(name, None)
    return both


@functools.cache
def _figures(tool: str) -> frozenset[str]:
    """All figures that the package's rules of a tool read."""
    every = (rules(tool, kind, {}) for kind in _entries(tool) if kind in KINDS)
    return frozenset(name for parsed in every for rule in parsed for name in rule.figures)


def checked(own: OwnRules) -> OwnRules:
    """A team's own rules as they are, or InvalidParameters that names what is wrong.

    >>> checked({"health": {"alert": {"few": {"when": "monthly_active_users <", "text": "Few users"}}}})
    Traceback (most recent call last):
    healthseg.errors.InvalidParameters: 'monthly_active_users <' is not a condition: it cannot be parsed
    """
    tools = {file: tool for tool, file in FILES.items()}
    for file, kinds in own.items():
        require_known(
            file, tools, f"unknown tool {file!r} in settings.rules", parameter="settings.rules"
        )
        known = [kind for kind in OWN_KINDS if kind in _entries(tools[file])]
        for kind, stated in kinds.items():
            require_known(
                kind, known, f"unknown kind of rules {kind!r}", parameter=f"settings.rules.{file}"
            )
            for name, entry in with_own(_entries(tools[file])[kind], stated).items():
                if name in stated:
                    _check(f"settings.rules.{file}.{kind}.{name}", entry)
    return own


def _check(where: str, entry: Mapping[str, Any]) -> None:
    for field in entry:
        require_known(field, FIELDS, f"unknown field {field!r} of {where}", parameter=where)
    for field in ("when", "text"):
        if not isinstance(entry.get(field), str) or len(entry[field]) > LONGEST_TEXT:
            raise InvalidParameters(
                f"{where} needs {field}: text of at most {LONGEST_TEXT} characters",
                parameter=where,
                validation_rule=f"a rule with {field}",
            )
    Condition(entry["when"])
    severity = entry.get("severity", "low")
    require_known(
        severity, SEVERITIES, f"unknown severity {severity!r} of {where}", parameter=where
    )
    for field in ("threshold", "priority"):
        value = entry.get(field, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidParameters(
                f"{where}.{field} is {value!r}; it must be a number",
                parameter=f"{where}.{field}",
                value_provided=str(value)[:200],
                validation_rule="a number",
            )
    try:
        parts = list(string.Formatter().parse(entry["text"]))
    except ValueError as problem:
        raise InvalidParameters(f"{where}.text: {problem}", parameter=f"{where}.text") from None
    words(entry["text"], {field: 1.0 for _, field, _, _ in parts if field})


def triggered(
    tool: str, kind: str, figures: Mapping[str, Any], own: OwnRules
) -> list[TriggeredRule]:
    """The tool's rules of a kind whose conditions hold for these figures, most severe first; ``own`` are the team's."""
    outcomes = [rule.evaluate(figures) for rule in rules(tool, kind, own)]
    held = [outcome for outcome in outcomes if outcome is not None]
    return sorted(held, key=lambda outcome: -SEVERITIES.index(outcome.severity))


def phrases(tool: str, section: str) -> dict[str, dict[str, str]]:
    """Words kept with the rules: a metric's name for readers, the effort of changing it."""
    return _entries(tool).get(section, {})


# -- next actions ----------------------------------------------------------------------------------


NEXT_ACTIONS, NEXT = "next_actions", "next"
ACTION_FIELDS = ("priority", "topic", "due", "effect", "when", "severity", "text", "why")
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
    rules = [
        _action_rule(name, entry)
        for name, entry in with_own(_entries(NEXT_ACTIONS)[NEXT], own).items()
    ]
    return tuple(sorted(rules, key=lambda item: (-item.rule.priority, item.rule.name)))


def _action_rule(name: str, entry: Mapping[str, Any]) -> ActionRule:
    for field in entry:
        if field not in ACTION_FIELDS:
            raise _action_refused(
                name, field, f"one of {', '.join(ACTION_FIELDS)}{hint(field, ACTION_FIELDS)}"
            )
    for field in ("when", "text", "due"):
        if field not in entry:
            raise _action_refused(name, None, f"a rule with {field}")
    severity, effect = entry.get("severity", "low"), entry.get("effect", "")
    if severity not in SEVERITIES:
        raise _action_refused(name, severity, "one of " + ", ".join(SEVERITIES))
    if effect not in EFFECTS:
        raise _action_refused(name, effect, 'effect = "recovery", or none')
    text, priority = str(entry["text"]), entry.get("priority", 0)
    return ActionRule(
        Rule(NEXT_ACTIONS, NEXT, name, Condition(entry["when"]), text, severity, priority=priority),
        str(entry.get("topic", name)),
        str(entry.get("why", text)),
        Condition(str(entry["due"])),
        effect,
    )


def _action_refused(name: str, value: Any, rule: str) -> InvalidParameters:
    stated = "" if value is None else f" {value!r}"
    return InvalidParameters(
        f"the setting next_actions.{name} has an invalid rule:{stated}; it must be {rule}",
        parameter=f"settings.next_actions.{name}",
        value_provided=str(value)[:200],
        validation_rule=rule,
    )
