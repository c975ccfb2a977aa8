"""Where a stay stands on the curve of its stage: how usual, how stuck, what comes next and when."""

from __future__ import annotations

import math
from dataclasses import dataclass

from healthseg.metrics.stages import TimeInStage
from healthseg.settings import Settings

_SHARES = (0.7, 0.5, 0.3)  # of those still here: the largest whose day was seen is told


@dataclass(frozen=True)
class Standing:
    """A stay of ``day`` days against its curve: figures None where the curve does not say."""

    day: int
    still_in: float | None
    stuck: bool | None
    stuck_from: float | None
    half_gone_by: float | None
    text: str | None


def standing(stay: TimeInStage | None, day: int, settings: Settings, leads_on: bool) -> Standing:
    """How usual is it to be in a stage after so many days? ``leads_on``: the stage is one that customers should leave.

    Stuck is who is still in it when no more than ``stuck_share`` of all that came into it are.
    """
    if stay is None or stay.n < settings.lifecycle.min_spells:
        return Standing(day, None, None, None, None, None)
    still = stay.still_in(day)
    reached = stay.curve.loc[stay.curve["survival"] <= settings.lifecycle.stuck_share, "time"]
    stuck_from = float(reached.iloc[0]) if len(reached) else None
    stuck = (stuck_from is not None and day >= stuck_from) if leads_on else False
    return Standing(
        day, still, stuck, stuck_from, stay.exited_by(day, 0.5), _told(stay, day, still)
    )


def _told(stay: TimeInStage, day: int, still: float) -> str | None:
    if still <= 0 or day > stay.observed_until():
        return f"no other stay was seen to end after day {stay.observed_until():.0f}"
    for share in _SHARES:
        by = stay.exited_by(day, share)
        if by is not None:
            return f"{share:.0%} of those still here on day {day} had left by day {by:.0f}".replace(
                "%", "\u00a0%"
            )
    return None


def doors(stay: TimeInStage, day: int) -> list[tuple[str, float, float | None]]:
    """Each way out, with its share of all that come in, and of those still in on the day; the likeliest first."""
    whole, before, still = stay.exit_shares(), stay.exit_shares(day), stay.still_in(day)
    seen = still > 0 and day < stay.observed_until()
    found = [
        (to, share, (share - before.get(to, 0.0)) / still if seen else None)
        for to, share in whole.items()
    ]
    return sorted(found, key=lambda one: (-one[1], one[0]))


@dataclass(frozen=True)
class Estimate:
    """Days until the transition: the middle one and an interval; ``upper`` None where the curve does not get there."""

    days: int | None
    lower: float | None
    upper: float | None
    basis: str | None


NONE = Estimate(None, None, None, None)


def estimate(
    stay: TimeInStage | None, day: int, waits: list[float | None], level: float
) -> Estimate:
    """When may the next stage come? From the curve of those still here, not before what its criteria still need.

    ``waits`` are days until each criterion is met by its trend. Absent where one has no trend towards its target, and
    where the curve does not say when half of those still here had left.
    """
    if not waits or any(wait is None for wait in waits):
        return NONE
    need = max(float(wait) for wait in waits)
    if need == 0:
        return Estimate(0, 0.0, 0.0, "all criteria are met")
    if stay is None:
        return NONE
    middle, early, late = (
        stay.exited_by(day, share) for share in (0.5, (1 - level) / 2, (1 + level) / 2)
    )
    if middle is None:
        return NONE
    days = max(need, middle - day)
    upper = None if late is None else max(days, late - day)
    return Estimate(
        math.ceil(days),
        max(need, (early or middle) - day),
        upper,
        "how long others still here on this day stayed, and the trend of what is missing",
    )
