"""ANSWERED: the tools of the reference, and the registry that the faces are made from.

Each tool lies in a folder of its own, whose module ``tool`` has the function, the function for the book
(``<name>_book``), ``CustomerParameters`` and ``BookParameters``. It is loaded when the tool is first used: a
call of one tool does not pay for what the others import.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from healthseg.tools.adoption.tool import track_feature_adoption, track_feature_adoption_book
    from healthseg.tools.health.tool import calculate_health_score, calculate_health_score_book
    from healthseg.tools.lifecycle.tool import manage_lifecycle_stages, manage_lifecycle_stages_book
    from healthseg.tools.milestones.tool import (
        track_adoption_milestones,
        track_adoption_milestones_book,
    )
    from healthseg.tools.parameters import Parameters
    from healthseg.tools.patterns.tool import (
        analyze_engagement_patterns,
        analyze_engagement_patterns_book,
    )
    from healthseg.tools.segments.tool import segment_customers, segment_customers_book
    from healthseg.tools.tiers.tool import segment_by_value_tier, segment_by_value_tier_book
    from healthseg.tools.usage.tool import track_usage_engagement, track_usage_engagement_book


@dataclass(frozen=True)
class Tool:
    """A tool as the faces see it: its function for a customer, its function for the book, their parameters."""

    name: str
    folder: str

    @property
    def function(self) -> Callable[..., Any]:
        return _on_one_thread(self._part(self.name))

    @property
    def book(self) -> Callable[..., Any]:
        return _on_one_thread(self._part(f"{self.name}_book"))

    @property
    def parameters(self) -> type[Parameters]:
        return self._part("CustomerParameters")

    @property
    def book_parameters(self) -> type[Parameters]:
        return self._part("BookParameters")

    @property
    def reading(self) -> dict[str, Any]:
        """What a tool that can also write has to be asked, so that it only reads."""
        return getattr(
            importlib.import_module(f"healthseg.tools.{self.folder}.tool"), "READING", {}
        )

    @property
    def report_defaults(self) -> dict[str, Any]:
        """What a tool has to be told, as its notebooks tell it where nobody says otherwise."""
        return getattr(
            importlib.import_module(f"healthseg.tools.{self.folder}.tool"), "REPORT_DEFAULTS", {}
        )

    @property
    def summary(self) -> str:
        return (self.function.__doc__ or "").strip().split("\n")[0]

    def _part(self, name: str) -> Any:
        return getattr(importlib.import_module(f"healthseg.tools.{self.folder}.tool"), name)


@functools.cache
def _on_one_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same bits whatever the machine's cores; and threads of linear algebra that wait for each other on a busy
    machine make small matrices forty to ninety times slower."""

    @functools.wraps(function)
    def pinned(*given: Any, **named: Any) -> Any:
        with threadpool_limits(1, "blas"):
            return function(*given, **named)

    return pinned


TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool("calculate_health_score", "health"),
        Tool("track_usage_engagement", "usage"),
        Tool("track_feature_adoption", "adoption"),
        Tool("manage_lifecycle_stages", "lifecycle"),
        Tool("track_adoption_milestones", "milestones"),
        Tool("segment_customers", "segments"),
        Tool("segment_by_value_tier", "tiers"),
        Tool("analyze_engagement_patterns", "patterns"),
    )
}

__all__ = [
    "TOOLS",
    "Tool",
    "analyze_engagement_patterns",
    "analyze_engagement_patterns_book",
    "calculate_health_score",
    "calculate_health_score_book",
    "manage_lifecycle_stages",
    "manage_lifecycle_stages_book",
    "segment_by_value_tier",
    "segment_by_value_tier_book",
    "segment_customers",
    "segment_customers_book",
    "track_adoption_milestones",
    "track_adoption_milestones_book",
    "track_feature_adoption",
    "track_feature_adoption_book",
    "track_usage_engagement",
    "track_usage_engagement_book",
]


def __getattr__(name: str) -> Any:
    tool = TOOLS.get(name.removesuffix("_book"))
    if tool is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return tool.function if name == tool.name else tool.book
