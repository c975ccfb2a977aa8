"""Figures that are rounded and still add up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction


def largest_remainder(
    figures: Sequence[Fraction | float | int], total: int | None = None
) -> list[int]:
    """Integers next to ``figures`` that add up to ``total``: which of the figures are rounded up?

    Each figure is rounded down, and the units that are then missing go to the largest remainders
    (the first of equal ones): Hamilton's method, also of negative figures. ``total`` is by default the
    figures' sum rounded half up. Raises ValueError where no such rounding exists.

    >>> largest_remainder([33.4, 33.3, 33.3], 100)
    [34, 33, 33]
    >>> largest_remainder([Fraction(-5, 2), Fraction(3, 2)])
    [-2, 1]
    """
    exact = [Fraction(figure) for figure in figures]
    whole = math.floor(sum(exact) + Fraction(1, 2)) if total is None else total
    floors = [math.floor(figure) for figure in exact]
    missing = whole - sum(floors)
    if not 0 <= missing <= len(exact):
        raise ValueError(
            f"figures that sum to {float(sum(exact))} cannot be rounded to a total of {whole}"
        )
    order = sorted(range(len(exact)), key=lambda at: (floors[at] - exact[at], at))
    for at in order[:missing]:
        floors[at] += 1
    return floors


def percentages(counts: Sequence[int], decimals: int = 1) -> list[float]:
    """Shares of a total in per cent that add up to exactly 100 at the given decimals; all 0 of nothing.

    >>> percentages([1, 1, 1])
    [33.4, 33.3, 33.3]
    """
    total = sum(counts)
    if total == 0:
        return [0.0] * len(counts)
    unit = 10**decimals
    units = [Fraction(count * 100 * unit, total) for count in counts]
    return [share / unit for share in largest_remainder(units, 100 * unit)]
