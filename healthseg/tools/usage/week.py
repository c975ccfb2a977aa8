"""When it is used: the heat map of the week, and the days and hours that stand out of chance."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from healthseg.clustering.rhythms import CELLS, DAY_NAMES, Rhythm, hour_ranges, rhythms
from healthseg.metrics.counting import epoch_day
from healthseg.tools.rounding import number, rounded
from healthseg.tools.usage.result import Cell, Heatmap


def heatmap(
    hours: pd.DataFrame, start: dt.date, end: dt.date, zone: str, settings: Any
) -> tuple[Heatmap, dict[str, pd.DataFrame], dict[str, str]]:
    """The response's part, its frames, and what could not be measured."""
    known = hours[hours["user"] >= 0].drop_duplicates(["user", "day", "hour"])
    found = rhythms(
        known,
        epoch_day(start),
        epoch_day(end),
        settings.seed,
        settings.peak_min_ratio,
        settings.peak_max_p,
    )
    reasons = {
        f"$.activity_heatmap.peak_{kind}s": rhythm.reason
        for kind, rhythm in found.items()
        if rhythm.reason
    }
    days, times = (None if rhythm.reason else rhythm.peaks for rhythm in found.values())
    grid = _grid(known, hours)
    part = Heatmap(
        peak_days=None if days is None else [DAY_NAMES[day] for day in days],
        peak_hours=None if times is None else hour_ranges(times),
        statement=_statement(found),
        timezone=zone,
        user_hours=len(known),
        days=_cells(found["day"]),
        hours=_cells(found["hour"]),
        user_hours_by_weekday_and_hour=grid.pivot(
            index="weekday", columns="hour", values="user_hours"
        ).values.tolist(),
        rhythm_p_days=_p(found["day"].p),
        rhythm_p_hours=_p(found["hour"].p),
    )
    cells = pd.concat(
        [rhythm.cells.assign(kind=kind, name=_names(kind)) for kind, rhythm in found.items()],
        ignore_index=True,
    )
    return part, {"heatmap": grid, "cells": cells}, reasons


def _p(value: float) -> float | None:
    """Two digits of a small probability."""
    return None if number(value) is None else float(f"{value:.2g}")


def _names(kind: str) -> list[str]:
    return list(DAY_NAMES) if kind == "day" else [f"{hour:02d}:00" for hour in range(CELLS["hour"])]


def _grid(known: pd.DataFrame, hours: pd.DataFrame) -> pd.DataFrame:
    """Weekday (0 = Monday) × hour: active user-hours, and person events."""
    every = pd.MultiIndex.from_product([range(7), range(24)], names=["weekday", "hour"])
    parts = []
    for rows, weights in ((known, None), (hours, hours["person_events"].to_numpy())):
        place = ((rows["day"].to_numpy() + 3) % 7 * 24 + rows["hour"].to_numpy()).astype(np.int64)
        parts.append(np.bincount(place, weights, minlength=168).astype(np.int64))
    return every.to_frame(index=False).assign(user_hours=parts[0], person_events=parts[1])


def _cells(rhythm: Rhythm) -> list[Cell]:
    return [
        Cell(
            name=name,
            user_hours=int(row.user_hours),
            share=round(float(row.share), 4),
            ratio=rounded(row.ratio, 2),
            p=rounded(row.p),
            peak=bool(row.peak),
        )
        for name, row in zip(_names(rhythm.kind), rhythm.cells.itertuples(), strict=True)
    ]


def _statement(found: dict[str, Rhythm]) -> str:
    """The answer in words."""
    reason = found["day"].reason or found["hour"].reason
    if reason:
        return f"too little to tell: {reason}"
    parts = []
    for kind, rhythm in found.items():
        if not rhythm.peaks:
            parts.append(f"no distinct peak among the {kind}s")
            continue
        names = (
            [DAY_NAMES[day] for day in rhythm.peaks] if kind == "day" else hour_ranges(rhythm.peaks)
        )
        ratio = rhythm.cells.loc[rhythm.cells["peak"], "ratio"].max()
        parts.append(f"{', '.join(names)} (up to {ratio:.1f} times the mean of the {kind}s in use)")
    return (
        "; ".join(parts) if any(rhythm.peaks for rhythm in found.values()) else "no distinct peak"
    )
