"""The machine's clock, for what is recorded and for nothing else: no figure of a response depends on it."""

from __future__ import annotations

import datetime as dt


def wall_clock() -> dt.datetime:
    """The instant at which something is recorded, unless a portfolio was opened with another clock."""
    return dt.datetime.now(dt.UTC)
