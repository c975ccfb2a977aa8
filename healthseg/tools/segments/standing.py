"""Where a customer stands: in which segment, why, how far from the border, what would move it, where it was before."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.tools.rounding import integer, number, rounded, word
from healthseg.tools.segments import metrics, words
from healthseg.tools.segments.figures import Figures
from healthseg.tools.segments.making import Made
from healthseg.tools.segments.placing import Placed, Placer
from healthseg.tools.segments.result import Place

HEALTH = "calculate_health_score"


def place(
    figures: Figures,
    placer: Placer,
    placed: Placed,
    made: Made,
    client: str,
    then: pd.Series | None,
    since: dt.date | None,
    full: bool = False,
) -> Place:
    """A place; ``then`` are the segments' names on an earlier date, ``full`` adds why, what moves it."""
    at = made.at[client]
    segment = made.segments[at]
    value = number(placed.value[client])
    low, high = _ends(segment) if segment.placed else (None, None)
    certainty, next_name, border = _next(placer, placed, made, client, value, low, high)
    arr = number(figures.money.amounts[client])
    shared: dict[str, Any] = {
        "client_id": client,
        "name": str(figures.names[client]),
        "segment_id": segment.id,
        "segment_name": segment.name,
        "placed": segment.placed,
        "reason": word(placed.reason[client]),
        "metric": placer.metric,
        "value": rounded(value),
        "above": low,
        "up_to": high,
        "certainty": rounded(certainty),
        "next_segment": next_name,
        "border": rounded(border),
        "since": since,
        "arr": rounded(arr, 2),
        "before": None if then is None else word(then.get(client)),
        "score": integer(figures.live["shown"][client]),
        "trend": word(figures.trends["trend"].get(client)),
    }
    if not full:
        return Place(**shared, why=[], what_would_move_it=[])
    row = figures.live.loc[client]
    return Place(
        **shared,
        why=_why(placer, row, value, segment),
        what_would_move_it=_movers(placer, row, value, segment, low, high, made, at),
    )


def _ends(segment: Any) -> tuple[float | None, float | None]:
    return segment.low, segment.high


def _next(
    placer: Placer,
    placed: Placed,
    made: Made,
    client: str,
    value: float | None,
    low: float | None,
    high: float | None,
) -> tuple[float | None, str | None, float | None]:
    """Certainty, the next segment and the distance to the border with it."""
    if placed.more is not None and client in placed.more.index:
        row = placed.more.loc[client]
        other = made.of_base.get(int(row["next_group"])) if placer.grouping.groups > 1 else None
        if other is None or other == made.at[client]:
            return float(row["certainty"]), None, None
        return float(row["certainty"]), made.segments[other].name, number(row["border"])
    if not placer.ordered or value is None:
        return None, None, None
    ways = [(abs(value - end), step) for end, step in ((low, -1), (high, 1)) if end is not None]
    if not ways:
        return None, None, None
    distance, step = min(ways)
    beside = made.at[client] + step
    return (
        None,
        (made.segments[beside].name if 0 <= beside < made.placed else None),
        float(distance),
    )


def _why(placer: Placer, row: pd.Series, value: float | None, segment: Any) -> list[str]:
    if placer.metric is not None and value is not None:
        return [
            f"{metrics.label(placer.metric)}: {metrics.written(placer.metric, value)} ({segment.description})"
        ]
    told = sorted(placer.ingredients)
    return [
        f"{metrics.label(name)}: {_shown(name, row.get(name))}"
        for name in told
        if name in row.index
    ]


def _shown(name: str, value: Any) -> str:
    return str(value) if isinstance(value, str) else metrics.written(name, number(value))


def _movers(
    placer: Placer,
    row: pd.Series,
    value: float | None,
    segment: Any,
    low: float | None,
    high: float | None,
    made: Made,
    at: int,
) -> list[str]:
    """What would have to change: the distance to the segments beside, and for health what the score is losing."""
    found = []
    if placer.ordered and placer.metric is not None and value is not None:
        for end, step, side in ((high, 1, "up"), (low, -1, "down")):
            if end is not None and 0 <= at + step < made.placed:
                away = words.distance(placer.metric, abs(value - end))
                found.append(f"{away} {side} to {made.segments[at + step].name}")
    if placer.kind == "health":
        figures = {
            name: number(value)
            for name, value in row.items()
            if isinstance(value, int | float | np.number) and not isinstance(value, bool)
        }
        drop = figures.get("usage_vs_own_baseline")
        figures |= {
            "score": figures.get("shown"),
            "usage_drop_percent": None if drop is None else 100 * (1 - drop),
            "champion_percent": None
            if figures.get("champion_share") is None
            else 100 * figures["champion_share"],
        }
        found += [
            f"Against it: {rule['text']}" for rule in rules.fired(HEALTH, "risk", figures)[:4]
        ]
    return found
