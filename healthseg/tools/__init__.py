"""ANSWERED: the tools of the reference, and the registry that the faces are made from."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from healthseg.tools.calculate_health_score import (
    BookParameters,
    CustomerParameters,
    calculate_health_score,
    calculate_health_score_book,
)
from healthseg.tools.parameters import Parameters
from healthseg.tools.track_feature_adoption import (
    AdoptionBookParameters,
    AdoptionParameters,
    track_feature_adoption,
    track_feature_adoption_book,
)
from healthseg.tools.track_usage_engagement import BookParameters as UsageBookParameters
from healthseg.tools.track_usage_engagement import CustomerParameters as UsageParameters
from healthseg.tools.track_usage_engagement import track_usage_engagement, track_usage_engagement_book


@dataclass(frozen=True)
class Tool:
    """A tool as the faces see it: its function for a customer, its function for the book, their parameters."""

    name: str
    function: Callable[..., Any]
    book: Callable[..., Any]
    parameters: type[Parameters]
    book_parameters: type[Parameters]

    @property
    def summary(self) -> str:
        return (self.function.__doc__ or "").strip().split("\n")[0]


TOOLS: dict[str, Tool] = {tool.name: tool for tool in (
    Tool("calculate_health_score", calculate_health_score, calculate_health_score_book, CustomerParameters,
         BookParameters),
    Tool("track_usage_engagement", track_usage_engagement, track_usage_engagement_book, UsageParameters,
         UsageBookParameters),
    Tool("track_feature_adoption", track_feature_adoption, track_feature_adoption_book, AdoptionParameters,
         AdoptionBookParameters),
)}

__all__ = ["TOOLS", "Tool", "calculate_health_score", "calculate_health_score_book", "track_feature_adoption",
           "track_feature_adoption_book", "track_usage_engagement", "track_usage_engagement_book"]
