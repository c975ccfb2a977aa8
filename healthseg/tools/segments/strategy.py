"""What to do with a segment: rules over its own figures, channels and content by how it answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from healthseg import rules
from healthseg.tools.segments.metrics import TOOL
from healthseg.tools.segments.result import Answered, Fired, Strategy

CHANNEL_WORDS = {"in_app": "in-app"}
BEST = 3


def first(kind: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    """The first rule of a kind that holds; each kind ends with one that always does."""
    return next(
        found for rule in rules.rules(TOOL, kind) if (found := rule.fires(figures)) is not None
    )


def strategy(figures: Mapping[str, Any]) -> tuple[Strategy, list[Fired]]:
    """How to engage with a segment, and the rules that say so."""
    chosen = {kind: first(kind, figures) for kind in ("focus", "contact", "touch", "automation")}
    themes = rules.fired(TOOL, "theme", figures)
    found = Strategy(
        primary_focus=chosen["focus"]["text"],
        communication_frequency=chosen["contact"]["text"],
        content_themes=[theme["text"] for theme in themes],
        csm_touch_frequency=chosen["touch"]["text"],
        automation_level=chosen["automation"]["text"],
    )
    return found, [Fired(**rule) for rule in [*chosen.values(), *themes]]


def escalation(figures: Mapping[str, Any]) -> list[str]:
    return [rule["text"] for rule in rules.fired(TOOL, "escalation", figures)]


def actions(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    return rules.fired(TOOL, "action", figures)


def channels(found: list[Answered] | None) -> list[str] | None:
    """The channels that a segment answers best: the best one, and those that can't be told from it or come next."""
    return None if not found else [CHANNEL_WORDS.get(one.name, one.name) for one in found[:BEST]]


def content(found: list[Answered] | None) -> dict[str, str] | None:
    """What it answers best, in words."""
    if not found:
        return None
    return {
        one.name: f"{100 * one.rate:.0f} % of {one.sent:,} answered ({100 * one.lower:.0f} to "
        f"{100 * one.upper:.0f} %)"
        for one in found[:BEST]
    }
