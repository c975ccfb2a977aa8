"""The simulated book: a world with everything the tools speak of, and what was planted written beside it."""

from __future__ import annotations

from healthseg.data.demo.book import write_demo
from healthseg.data.demo.scenarios import SCENARIOS

__all__ = ["SCENARIOS", "write_demo"]
