"""The eight tools, each for one customer and for the portfolio, and the registry of them.

Each tool lies in a folder of its own; its module ``tool`` has the two functions and is loaded when
the tool is first used: a call of one tool does not pay for what the others import.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

if TYPE_CHECKING:
    from healthseg.tools.adoption.tool import portfolio_adoption, track_feature_adoption
    from healthseg.tools.base import Parameters, Result
    from healthseg.tools.health.tool import calculate_health_score, portfolio_health
    from healthseg.tools.lifecycle.tool import manage_lifecycle_stages, portfolio_lifecycle
    from healthseg.tools.milestones.tool import portfolio_milestones, track_adoption_milestones
    from healthseg.tools.patterns.tool import analyze_engagement_patterns, portfolio_patterns
    from healthseg.tools.report_card.tool import score_report_card
    from healthseg.tools.segments.tool import portfolio_segments, segment_customers
    from healthseg.tools.tiers.tool import portfolio_tiers, segment_by_value_tier
    from healthseg.tools.usage.tool import portfolio_usage, track_usage_engagement

Scope = Literal["customer", "portfolio"]


class ToolFunction(Protocol):
    """A function made by ``healthseg.tools.base.tool``."""

    def __call__(self, portfolio: Any, /, *arguments: Any, **named: Any) -> Result: ...

    def model(self) -> type[Parameters]: ...

    def run(self, portfolio: Any, values: Mapping[str, Any]) -> Result: ...


class Tool:
    """A tool as interfaces see it: one function for a customer, one for the portfolio.

    ``reading`` are the parameters that make a tool which can also write only read;
    ``report_defaults`` are those that its reports add where nobody gives them; ``needs`` are the tables besides
    customers without which it raises DataRetrievalError.
    """

    def __init__(
        self,
        name: str,
        folder: str,
        reading: Mapping[str, Any] | None = None,
        report_defaults: Mapping[str, Any] | None = None,
        needs: tuple[str, ...] = (),
    ) -> None:
        self.name, self.folder, self.needs = name, folder, needs
        self.portfolio_name = f"portfolio_{folder}"
        self.reading, self.report_defaults = dict(reading or {}), dict(report_defaults or {})

    @property
    def function(self) -> ToolFunction:
        """The function for one customer."""
        return self._load(self.name)

    @property
    def portfolio(self) -> ToolFunction:
        """The function for the whole portfolio."""
        return self._load(self.portfolio_name)

    @property
    def parameters(self) -> type[Parameters]:
        """The parameters of ``function``, as a pydantic model."""
        return self.function.model()

    @property
    def portfolio_parameters(self) -> type[Parameters]:
        """The parameters of ``portfolio``, as a pydantic model."""
        return self.portfolio.model()

    @property
    def summary(self) -> str:
        """The question that the tool answers."""
        return (self.function.__doc__ or "").strip().split("\n")[0]

    def run(self, portfolio: Any, values: Mapping[str, Any], scope: Scope = "customer") -> Result:
        """The result for parameters by name; unknown names and bad values are refused once, here."""
        function = self.function if scope == "customer" else self.portfolio
        return function.run(portfolio, values)

    def _load(self, name: str) -> ToolFunction:
        module = importlib.import_module(f"healthseg.tools.{self.folder}.tool")
        return cast("ToolFunction", getattr(module, name))


TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool("calculate_health_score", "health"),
        Tool("track_usage_engagement", "usage", needs=("events",)),
        Tool("track_feature_adoption", "adoption", needs=("events",)),
        Tool("manage_lifecycle_stages", "lifecycle", reading={"action": "get_stage"}),
        Tool("track_adoption_milestones", "milestones"),
        Tool(
            "segment_customers",
            "segments",
            # value × health as pages show it; none of its segments is too small to be seen apart
            report_defaults={
                "segment_type": "value_and_health",
                "segmentation_criteria": {},
                "min_segment_size": 1,
            },
        ),
        Tool("segment_by_value_tier", "tiers"),
        Tool(
            "analyze_engagement_patterns",
            "patterns",
            report_defaults={"analysis_scope": "single_customer"},
            needs=("events",),
        ),
    )
}

# Tools that commands and MCP have beside the eight, without reports of their own.
PORTFOLIO_TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool("score_report_card", "report_card"),
        Tool("find_customers", "lookup"),
        Tool("describe_metric", "lookup"),
        Tool("trace_figure", "lookup"),
        Tool("next_actions", "overview"),
        Tool("portfolio_board", "overview"),
    )
}

__all__ = [
    "PORTFOLIO_TOOLS",
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
    "score_report_card",
    "segment_by_value_tier",
    "segment_customers",
    "track_adoption_milestones",
    "track_feature_adoption",
    "track_usage_engagement",
]


def __getattr__(name: str) -> Any:
    for tool in (TOOLS | PORTFOLIO_TOOLS).values():
        if name == tool.name:
            return tool.function
        if name == tool.portfolio_name:
            return tool.portfolio
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
