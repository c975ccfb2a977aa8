"""The old home of ``healthseg.tools.base``'s results, until every tool imports them from there."""

from healthseg.tools.base import Part, Result

__all__ = ["Part", "Result"]
