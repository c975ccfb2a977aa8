"""How long do customers stay in a stage, and by which door do they leave? Curves with competing exits, entered late.

A stay counts from the day on which the portfolio was watched: those that ended before it had to be survived by the customer
to be seen at all (left truncation). Stays that go on are censored; leaving the portfolio is a door like the others.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from healthseg.metrics.leaving import customers_as_of
from healthseg.metrics.stages import History, in_force, spells, zones
from healthseg.periods import end_of_day_utc
from healthseg.statistics.survival import (
    Median,
    aalen_johansen,
    kaplan_meier,
    quantile_time,
    survival_at,
)

_KEPT = 8
SAME_DAY = 0.5  # days: a stay that began and ended on one day
CHURNED = "churned"
STAYS = ["client_id", "stage", "start", "end", "days", "entry", "exit_to", "visit", "automated"]


def stays(
    portfolio: Any, known: History, as_of: dt.date, known_by: dt.datetime | None = None
) -> pd.DataFrame:
    """One row per stay that began by the end of ``as_of``, as known: client_id, stage, start, end (dates, end NaT while
    it goes on), days (to the end, or to ``as_of``), entry (days after its start from which it was watched), exit_to
    (None while it goes on; churned also where the customer left and no stage says so), visit, automated."""
    zone, counted = zones(portfolio), customers_as_of(portfolio, min(as_of, portfolio.data_until))
    left = counted["churned_on"].dropna().dt.date.to_dict()
    limits = {name: end_of_day_utc(as_of, name) for name in set(zone.values())}
    rows = []
    for client in sorted(known.by_client):
        if client not in zone:
            continue
        found = spells(in_force(known.of(client), limits[zone[client]], known_by))
        for one in found:
            end, exit_to = one.end, one.exit_to
            if end is None and one.stage != CHURNED and client in left and left[client] > one.start:
                end, exit_to = left[client], CHURNED
            rows.append(
                (
                    client,
                    one.stage,
                    one.start,
                    end,
                    ((end or as_of) - one.start).days,
                    exit_to,
                    one.visit,
                    one.change.automated,
                )
            )
    frame = pd.DataFrame(
        rows,
        columns=["client_id", "stage", "start", "end", "days", "exit_to", "visit", "automated"],
    )
    watched = np.maximum(0, [(portfolio.first_event_day - day).days for day in frame["start"]])
    frame = frame.assign(entry=watched.astype(float), days=frame["days"].astype(float))
    dates = {name: pd.to_datetime(frame[name]).astype("datetime64[s]") for name in ("start", "end")}
    return frame.assign(**dates)[STAYS]


@dataclass(frozen=True)
class Stay:
    """How long customers stay in one stage: the share still in it by day, and the share gone by each door."""

    stage: str
    curve: pd.DataFrame  # kaplan_meier's
    exits: pd.DataFrame  # aalen_johansen's
    n: int
    ended: int
    median: Median

    def still_in(self, day: float) -> float:
        """The share of those that came in who are still in it after ``day`` days."""
        return float(survival_at(self.curve, [day])[0])

    def watched_until(self) -> float:
        """The last day on which a stay was seen to end: the curve says nothing beyond it."""
        return float(self.curve["time"].iloc[-1]) if len(self.curve) else 0.0

    def gone_by(self, day: float, share: float) -> float | None:
        """The day by which ``share`` of those still here on ``day`` had left; None where that is not seen."""
        here = self.still_in(day)
        reached = self.curve["survival"].to_numpy() <= here * (1 - share) + 1e-12
        later = reached & (self.curve["time"].to_numpy() > day)
        return float(self.curve["time"].to_numpy()[later][0]) if here > 0 and later.any() else None

    def doors(self, day: float | None = None) -> dict[str, float]:
        """The share that had left by each door by ``day`` (by the curve's end): they add up to those that left."""
        rows = self.exits if day is None else self.exits[self.exits["time"] <= day]
        return {
            str(door): float(group["cumulative_incidence"].iloc[-1])
            for door, group in rows.groupby("cause", sort=True)
        }


def stay_curves(frame: pd.DataFrame, level: float) -> dict[str, Stay]:
    """The curves of each stage, from ``stays``; a stay that was over before anybody watched is in none.

    >>> made = pd.DataFrame({"stage": "trial", "days": [10.0, 20.0, 30.0, 40.0], "entry": 0.0,
    ...                      "exit_to": ["active", "churned", "active", None]})
    >>> trial = stay_curves(made, 0.9)["trial"]
    >>> trial.median.time, trial.still_in(30), trial.doors()
    (20.0, 0.25, {'active': 0.5, 'churned': 0.25})
    """
    found = {}
    for stage, group in frame.groupby("stage", sort=True):
        time = np.maximum(group["days"].to_numpy(dtype=float), SAME_DAY)
        seen = group["entry"].to_numpy(dtype=float) < time
        group, time = group[seen], time[seen]
        if not len(group) or stage == CHURNED:
            continue
        entry, door = group["entry"].to_numpy(dtype=float), group["exit_to"].astype(object)
        curve = kaplan_meier(time, door.notna(), entry, level)
        found[str(stage)] = Stay(
            str(stage),
            curve,
            aalen_johansen(time, door.tolist(), entry),
            len(group),
            int(door.notna().sum()),
            quantile_time(curve),
        )
    return found


def portfolio_stays(
    portfolio: Any, known: History, as_of: dt.date, known_by: dt.datetime | None
) -> pd.DataFrame:
    """``stays``, made once for the same changes."""
    key = ("stays", as_of, known_by, _state(known, as_of))
    return _recent(portfolio, key, lambda: stays(portfolio, known, as_of, known_by))


def portfolio_curves(
    portfolio: Any, known: History, as_of: dt.date, known_by: dt.datetime | None
) -> Mapping[str, Stay]:
    """``stay_curves`` of the whole portfolio, made once for the same changes."""
    key = ("curves", as_of, known_by, _state(known, as_of))
    return _recent(
        portfolio,
        key,
        lambda: stay_curves(
            portfolio_stays(portfolio, known, as_of, known_by), portfolio.settings.interval_level
        ),
    )


def _recent(portfolio: Any, key: Hashable, make: Callable[[], Any]) -> Any:
    """``make()``, kept with the last few: unlike the tables, the ledger of an open portfolio grows."""
    kept = portfolio.__dict__.setdefault("_stays", {})
    if key not in kept:
        made = make()
        while len(kept) >= _KEPT:
            kept.pop(next(iter(kept)))
        kept[key] = made
    return kept[key]


def _state(known: History, as_of: dt.date) -> int:
    """The newest recorded change that was effective by ``as_of``: later ones change no curve."""
    return max((one.seq for one in known.recorded if one.day <= as_of), default=0)
