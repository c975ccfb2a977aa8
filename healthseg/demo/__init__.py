"""The simulated portfolio: a world with everything the tools speak of, and what was planted written beside it."""

from __future__ import annotations

from healthseg.demo.portfolio import write_demo
from healthseg.demo.scenarios import SCENARIOS

__all__ = ["SCENARIOS", "write_demo"]
