"""The simulated portfolio: tables that every tool can use, and the truth that was planted in them."""

from __future__ import annotations

from healthseg.demo.portfolio import make_demo
from healthseg.demo.scenarios import SCENARIOS

__all__ = ["SCENARIOS", "make_demo"]
