"""Custom segments from metrics: found by evidence, named by what sets them apart."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from healthseg.clustering.groups import Grouping, grouping, profile
from healthseg.clustering.rules import UNPLACED
from healthseg.data.memory import remember
from healthseg.tools.segments import metrics
from healthseg.tools.segments.figures import Figures
from healthseg.tools.segments.placing import Base, Placed, Placer

MOST_GROUPS = 8  # more than a team can treat differently, and the evidence for more is seldom there
APART = 0.5  # robust standard deviations: less is not worth a word in a name
ALL = "All customers"


def by_groups(figures: Figures, criteria: dict[str, Any], least: int, most: int) -> Placer:
    """k-means or a mixture on the named metrics; one segment of all where nothing stands."""
    names = criteria["metrics"]
    found: Grouping = remember(
        figures.portfolio,
        ("grouping", figures.as_of, str(criteria), least, most),
        lambda: grouping(
            figures.live[names],
            criteria["method"],
            least,
            min(most, MOST_GROUPS),
            figures.settings,
            criteria["k"],
        ),
    )
    shown = found.groups > 0 and (found.reason is None or criteria["k"] is not None)

    def at(date: dt.date) -> Placed:
        rows = figures.live_on(date)
        placed = (
            (found.placed if date == figures.as_of else found.place(rows[names])) if shown else None
        )
        return _placed(rows, names, placed)

    bases = (
        _bases(figures, found) if shown else (Base(ALL, f"No stable segments: {found.reason}", {}),)
    )
    notes = [f"{metrics.label(name)} parts nobody: {why}" for name, why in found.dropped.items()]
    if shown and found.reason:
        notes.append(
            f"k = {criteria['k']} was asked for, but these segments are not stable: {found.reason}"
        )
    return Placer(
        "custom", False, bases, at, ingredients=frozenset(names), grouping=found, notes=tuple(notes)
    )


def _placed(rows: pd.DataFrame, names: list[str], placed: pd.DataFrame | None) -> Placed:
    nothing = pd.Series(np.nan, index=rows.index)
    if placed is None:
        return Placed(
            pd.Series(0, index=rows.index), nothing, pd.Series(None, index=rows.index, dtype=object)
        )
    place = placed["group"].reindex(rows.index).fillna(UNPLACED).astype(int)
    lacking = rows[names].isna()
    why = [
        ", ".join(metrics.label(name) for name in names if missing[name]) + " not measured"
        for missing in lacking.to_dict("records")
    ]
    return Placed(
        place,
        nothing,
        pd.Series(why, index=rows.index, dtype=object).where(place == UNPLACED, None),
        placed,
    )


def _bases(figures: Figures, found: Grouping) -> tuple[Base, ...]:
    table = apart(figures, found)
    names = _names(table, found.groups)
    bases = []
    for group in range(found.groups):
        rows = table[table["group"] == group].head(3)
        told = "; ".join(
            f"{metrics.label(row.metric)} {metrics.written(row.metric, row.median)} "
            f"(others {metrics.written(row.metric, row.others_median)})"
            for row in rows.itertuples()
        )
        criteria = {
            f"{row.metric}_median": round(float(row.median), 4)
            for row in table[table["group"] == group].itertuples()
        }
        bases.append(Base(names[group], f"Half of it has: {told}", criteria))
    return tuple(bases)


def apart(figures: Figures, found: Grouping) -> pd.DataFrame:
    """What sets the groups apart, by the metrics that they were made of."""
    return profile(
        figures.live[[scale.metric for scale in found.scales]].astype(float), found.placed["group"]
    )


def _names(table: pd.DataFrame, groups: int) -> list[str]:
    """Each group by the words of the metrics that set it apart most; as many as it takes to tell all apart."""
    words = {
        group: [
            _word(row.metric, row.distance)
            for row in table[table["group"] == group].itertuples()
            if abs(row.distance) >= APART
        ]
        or ["in the middle"]
        for group in range(groups)
    }
    for count in (1, 2, 3, 4):
        names = [_joined(words[group][:count]) for group in range(groups)]
        if count >= 2 and len(set(names)) == groups:
            return names
    return [f"{name} ({group + 1})" for group, name in enumerate(names)]


def _word(metric: str, distance: float) -> str:
    entry = metrics.described().get(metric)
    side = "high" if distance > 0 else "low"
    words = (entry.high if distance > 0 else entry.low) if entry else ""
    return words or f"{side} {metrics.label(metric)}"


def _joined(words: list[str]) -> str:
    text = ", ".join(dict.fromkeys(words))
    return text[:1].upper() + text[1:]


def evidence_of(found: Grouping, least_customers: int) -> dict[str, Any]:
    """The evidence as the response has it."""
    evidence, row = found.evidence, found.evidence.row
    return {
        "stable": found.reason is None,
        "reason": found.reason,
        "method": found.method,
        "metrics": list(found.metrics),
        "transforms": {scale.metric: scale.form for scale in found.scales},
        "dropped_metrics": found.dropped,
        "segments": evidence.groups,
        "customers": len(found.placed) or evidence.sampled,
        "sampled": evidence.sampled,
        "silhouette": row.get("silhouette"),
        "stability": row.get("stability"),
        "least_jaccard": row.get("least_jaccard"),
        "reference_p": evidence.p,
        "reference_draws": evidence.draws,
        "least_customers": least_customers,
        "tried": evidence.tried.to_dict("records"),
    }
