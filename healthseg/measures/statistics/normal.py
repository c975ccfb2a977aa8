"""The normal distribution, from the standard library: scipy takes longer to import than many a call to answer."""
from __future__ import annotations

from statistics import NormalDist


def standard_errors(level: float) -> float:
    """How many standard errors on either side hold a normal estimate with probability ``level``?

    >>> round(standard_errors(0.90), 3), round(standard_errors(0.95), 3)
    (1.645, 1.96)
    """
    return NormalDist().inv_cdf((1 + level) / 2)
