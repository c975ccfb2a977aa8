"""From places to segments: small ones put together, each with its members, its name and its ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from healthseg.clustering.rules import UNPLACED, joined_name, merged
from healthseg.tools.segments.keeping import segment_id
from healthseg.tools.segments.placing import Base, Placed, Placer

NOT_PLACED = "Not placed"


@dataclass(frozen=True)
class Made:
    """The segments in order (from the top where they have one), the unplaced last; ``at`` by client_id.

    ``of_base`` leads from a base segment's number to the segment that holds it.
    """

    segments: tuple[Part, ...]
    at: pd.Series
    of_base: dict[int, int]
    merged: tuple[str, ...]

    @property
    def placed(self) -> int:
        return sum(segment.placed for segment in self.segments)

    def names(self, placer: Placer, placed: Placed) -> pd.Series:
        """The segments' names of customers placed on any date; of a base that nobody is in today its own name."""
        own = {at: self.segments[number].name for at, number in self.of_base.items()}
        return placed.place.map(
            lambda at: NOT_PLACED if at == UNPLACED else own.get(at, placer.bases[at].name)
        )


@dataclass(frozen=True)
class Part:
    """A segment before its figures are known."""

    id: str
    name: str
    description: str
    criteria: dict[str, Any]
    merged_from: tuple[str, ...]
    low: float | None
    high: float | None
    placed: bool
    members: tuple[str, ...]


def make(placer: Placer, placed: Placed, least: int, most: int, run: str) -> Made:
    """The segments of ``least`` customers or more, ``most`` of them, by the merge rule; the unplaced in their own."""
    counts = [int((placed.place == at).sum()) for at in range(len(placer.bases))]
    groups = merged(counts, least, most, placer.ordered)
    parts, of_base = [], {}
    for number, group in enumerate(groups):
        of_base |= dict.fromkeys(group, number)
        inside = placed.place.isin(group)
        whole = len(groups) == 1 and len(group) > 1
        parts.append(
            _part(
                placer, [placer.bases[at] for at in group], inside.index[inside], number, run, whole
            )
        )
    lost = placed.place == UNPLACED
    if lost.any():
        reasons = placed.reason[lost].value_counts()
        told = "; ".join(f"{count} since {why}" for why, count in sorted(reasons.items()))
        parts.append(
            Part(
                segment_id(NOT_PLACED, len(parts), run),
                NOT_PLACED,
                f"Could not be placed: {told}",
                {},
                (),
                None,
                None,
                False,
                tuple(sorted(lost.index[lost])),
            )
        )
    number = placed.place.map(of_base).where(~lost, len(parts) - 1).astype(int)
    told = tuple(
        f"{part.name}: put together from {', '.join(part.merged_from)}"
        for part in parts
        if part.merged_from
    )
    return Made(tuple(parts), number, of_base, told)


def _part(
    placer: Placer, bases: Sequence[Base], members: pd.Index, number: int, run: str, whole: bool
) -> Part:
    names = [base.name for base in bases]
    name = joined_name(names, placer.ordered, whole)
    if len(bases) == 1:
        base = bases[0]
        return Part(
            segment_id(name, number, run),
            name,
            base.description,
            base.criteria,
            (),
            base.low,
            base.high,
            True,
            tuple(sorted(members)),
        )
    if placer.ordered:
        criteria = {
            key: (bases[0] if place == 0 else bases[-1]).criteria[key]
            for place, key in enumerate(bases[0].criteria)
        }
        told = placer.told(bases[0].low, bases[-1].high)
    else:
        criteria, told = (
            {"any_of": names},
            f"Put together since each alone is too small: {', '.join(names)}",
        )
    return Part(
        segment_id(name, number, run),
        name,
        told,
        criteria,
        tuple(names),
        bases[0].low,
        bases[-1].high,
        True,
        tuple(sorted(members)),
    )
