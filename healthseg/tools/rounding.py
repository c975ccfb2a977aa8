"""The old home of ``healthseg.tools.base``'s figures, until every tool imports them from there."""

from healthseg.tools.base import integer, number, records, rounded, word

__all__ = ["integer", "number", "records", "rounded", "word"]
