"""What the next stage asks for: which of it holds, since when, and when the rest may."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from healthseg.rules.expressions import Condition
from healthseg.settings.lifecycle import Criterion, Edge
from healthseg.statistics.robust import theil_sen
from healthseg.tools.lifecycle.figures import Day

_OVERLAP_DAYS = 28  # neighbouring days' figures share so many days
_TREND_POINTS = 28


@dataclass(frozen=True)
class Held:
    """One criterion against a customer's days: met (None: not measured), for how many days in a row, since when."""

    criterion: Criterion
    met: bool | None
    held_days: int
    since: Any
    since_or_earlier: bool
    value: float | None
    days_until_met: (
        float | None
    )  # by its trend; 0 where it is met, None where there is no such trend


@functools.lru_cache(maxsize=256)
def _condition(when: str) -> Condition:
    return Condition(when)


def needed(edges: Sequence[Edge]) -> set[str]:
    """The figures that edges read."""
    criteria = [one for edge in edges for one in edge.criteria]
    return {name for one in criteria for name in (*_condition(one.when).names, one.figure)}


def held(criterion: Criterion, days: Sequence[Day], level: float = 0.9, trend: bool = True) -> Held:
    """Does it hold, on each of the last ``criterion.days`` days of ``days`` (oldest first)?"""
    condition = _condition(criterion.when)
    run = 0
    for day in reversed(days):
        if not condition.holds(day):
            break
        run += 1
    value = days[-1].get(criterion.figure) if days else None
    met: bool | None = run >= criterion.days
    if not met and (not days or (run < len(days) and _unknown(condition, days[-1 - run]))):
        met = None
    since = days[-run]["date"] if run else None
    until = (
        0.0 if met else _days_until(criterion, days, run, level) if trend and met is False else None
    )
    return Held(criterion, met, run, since, bool(run) and run == len(days), value, until)


def _unknown(condition: Condition, day: Day) -> bool:
    return any(day.get(name) is None for name in condition.names)


def _days_until(criterion: Criterion, days: Sequence[Day], run: int, level: float) -> float | None:
    """Days until it is met: it holds and has to go on, or its trend leads to the target; else None."""
    if run:
        return float(criterion.days - run)
    if criterion.target is None or len(days) < _TREND_POINTS:
        return None
    values = np.array(
        [np.nan if day.get(criterion.figure) is None else day[criterion.figure] for day in days]
    )
    slopes = theil_sen(
        np.arange(len(values), dtype=float),
        values,
        level,
        min_points=_TREND_POINTS,
        overlap=_OVERLAP_DAYS,
    )
    slope, direction = float(np.ravel(slopes.slope)[0]), float(np.ravel(slopes.direction)[0])
    gap = criterion.target - float(values[-1])
    if math.isnan(slope) or math.isnan(gap) or direction == 0 or slope * gap <= 0:
        return None
    return gap / slope + criterion.days


def all_met(found: Sequence[Held]) -> bool:
    return bool(found) and all(one.met is True for one in found)
