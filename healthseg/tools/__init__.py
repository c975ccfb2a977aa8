"""ANSWERED: the tools of the reference, and the registry that the faces are made from.

Each tool lies in a folder of its own, whose module ``tool`` has the function, the function for the portfolio
(``<name>_portfolio``), ``CustomerParameters`` and ``PortfolioParameters``. It is loaded when the tool is first used: a
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
    from healthseg.tools.adoption.tool import portfolio_adoption, track_feature_adoption
    from healthseg.tools.health.tool import calculate_health_score, portfolio_health
    from healthseg.tools.lifecycle.tool import manage_lifecycle_stages, portfolio_lifecycle
    from healthseg.tools.milestones.tool import (
        portfolio_milestones,
        track_adoption_milestones,
    )
    from healthseg.tools.parameters import Parameters
    from healthseg.tools.patterns.tool import (
        analyze_engagement_patterns,
        portfolio_patterns,
    )
    from healthseg.tools.segments.tool import portfolio_segments, segment_customers
    from healthseg.tools.tiers.tool import portfolio_tiers, segment_by_value_tier
    from healthseg.tools.usage.tool import portfolio_usage, track_usage_engagement


@dataclass(frozen=True)
class Tool:
    """A tool as the faces see it: its function for a customer, its function for the portfolio, their parameters."""

    name: str
    folder: str

    @property
    def portfolio_name(self) -> str:
        return f"portfolio_{self.folder}"

    @property
    def function(self) -> Callable[..., Any]:
        return _on_one_thread(self._part(self.name))

    @property
    def portfolio(self) -> Callable[..., Any]:
        return _on_one_thread(self._part(self.portfolio_name))

    @property
    def parameters(self) -> type[Parameters]:
        return self._part("CustomerParameters")

    @property
    def portfolio_parameters(self) -> type[Parameters]:
        return self._part("PortfolioParameters")

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
    "calculate_health_score",
    "manage_lifecycle_stages",
    "portfolio_adoption",
    "portfolio_health",
    "portfolio_lifecycle",
    "portfolio_milestones",
    "portfolio_patterns",
    "portfolio_segments",
    "portfolio_tiers",
    "portfolio_usage",
    "segment_by_value_tier",
    "segment_customers",
    "track_adoption_milestones",
    "track_feature_adoption",
    "track_usage_engagement",
]


def __getattr__(name: str) -> Any:
    for tool in TOOLS.values():
        if name == tool.name:
            return tool.function
        if name == tool.portfolio_name:
            return tool.portfolio
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
