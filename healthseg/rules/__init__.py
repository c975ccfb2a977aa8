"""Every recommendation and alert: a rule over named figures, and its words.

The rules are data (one TOML file a tool): nothing is advised that no figure triggered, and every
piece of advice names its rule and the figures that made it fire.
"""

from __future__ import annotations

import functools
import string
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from healthseg.errors import InvalidParameters
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

    @property
    def figures(self) -> list[str]:
        words = {field for _, field, _, _ in string.Formatter().parse(self.text) if field}
        return sorted(words | set(self.condition.names))

    def evaluate(
        self, figures: Mapping[str, Any], threshold: float | None = None
    ) -> TriggeredRule | None:
        """The triggered rule, or None where its condition is not known to hold."""
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


@functools.cache
def rules(tool: str, kind: str) -> tuple[Rule, ...]:
    """The tool's rules of a kind, in order of priority, then name."""
    parsed = []
    for name, entry in _entries(tool).get(kind, {}).items():
        severity = entry.get("severity", "low")
        if kind not in KINDS or severity not in SEVERITIES:
            raise InvalidParameters(
                f"the rule {name!r} has an unknown kind or severity", parameter=name
            )
        parsed.append(
            Rule(
                tool,
                kind,
                name,
                Condition(entry["when"]),
                entry["text"],
                severity,
                entry.get("threshold"),
                entry.get("priority", 0),
            )
        )
    return tuple(sorted(parsed, key=lambda rule: (-rule.priority, rule.name)))


def triggered(tool: str, kind: str, figures: Mapping[str, Any]) -> list[TriggeredRule]:
    """The tool's rules of a kind whose conditions hold for these figures, most severe first."""
    outcomes = [rule.evaluate(figures) for rule in rules(tool, kind)]
    held = [outcome for outcome in outcomes if outcome is not None]
    return sorted(held, key=lambda outcome: -SEVERITIES.index(outcome.severity))


def phrases(tool: str, section: str) -> dict[str, dict[str, str]]:
    """Words kept with the rules: a metric's name for readers, the effort of changing it."""
    return _entries(tool).get(section, {})
