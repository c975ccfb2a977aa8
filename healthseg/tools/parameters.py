"""The old home of ``healthseg.tools.base``'s parameters, until every tool declares its own by signature."""

from healthseg.tools.base import Parameters, validated

__all__ = ["Parameters", "validated"]
