"""Segments by criteria: which customers are in which segment, on any date?

A segmenter places the live customers into base segments; ``segmented`` merges those that are too
small. The ledger has each run: a segment_id leads back to its members.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from healthseg.clustering.rules import UNPLACED, joined_name, merged
from healthseg.data.cache import code_digest
from healthseg.errors import InvalidParameters, hint
from healthseg.metrics import catalog
from healthseg.settings import fingerprint
from healthseg.tools.context import PortfolioContext
from healthseg.tools.segmenters import (
    BaseSegment,
    Placement,
    Segmenter,
    ThresholdSegmenter,
    segmenter_of,
)
from healthseg.tools.values import slug

if TYPE_CHECKING:
    from healthseg.data.ledger.ledger import SegmentRun
    from healthseg.data.portfolio import Portfolio

NOT_PLACED = "Not placed"
CODE = ("clustering", "scoring", "tools")


@dataclass(frozen=True)
class MergedSegment:
    """A segment with its members: a base segment, or several merged ones."""

    id: str
    name: str
    description: str
    criteria: dict[str, Any]
    merged_from: tuple[str, ...]
    low: float | None
    high: float | None
    placed: bool
    members: tuple[str, ...]


@dataclass(frozen=True)
class SegmentedCustomers:
    """The segments in order, from the lowest where they have one, unplaced customers last.

    ``number`` is each customer's segment, ``of_base`` leads from a base segment to its segment.
    """

    segmenter: Segmenter
    placement: Placement
    segments: tuple[MergedSegment, ...]
    number: pd.Series
    of_base: dict[int, int]

    @property
    def placed(self) -> int:
        """How many segments hold placed customers."""
        return sum(segment.placed for segment in self.segments)

    @property
    def names(self) -> pd.Series:
        """The name of each customer's segment."""
        return self.number.map(dict(enumerate(segment.name for segment in self.segments)))

    def names_on(self, date: dt.date) -> pd.Series:
        """The same for the customers of another date; a base segment that is empty today has its own name."""
        names = {number: base.name for number, base in enumerate(self.segmenter.bases)}
        names |= {base: self.segments[number].name for base, number in self.of_base.items()}
        return self.segmenter.place(date).number.map(names | {UNPLACED: NOT_PLACED})


def beside(segments: Sequence[MergedSegment], position: int, step: int) -> MergedSegment | None:
    """The segment above (1) or below (−1) another one of the same scale; None where there is none."""
    at = position + step
    if not (0 <= at < len(segments) and segments[at].placed):
        return None
    own, other = segments[position], segments[at]
    borders = (own.high, other.low) if step > 0 else (own.low, other.high)
    return other if borders[0] is not None and borders[0] == borders[1] else None


def segmented(segmenter: Segmenter, least: int, most: int, run: str) -> SegmentedCustomers:
    """Today's segments of ``least`` customers or more, at most ``most``; ``run`` makes their ids."""
    placement = segmenter.place_today()
    number = placement.number
    counts = [int((number == base).sum()) for base in range(len(segmenter.bases))]
    groups = merged(counts, least, most, segmenter.ordered)
    if segmenter.ranks is not None:
        groups = sorted(groups)
    segments: list[MergedSegment] = []
    of_base: dict[int, int] = {}
    for position, group in enumerate(groups):
        of_base |= dict.fromkeys(group, position)
        members = tuple(sorted(number.index[number.isin(group)]))
        bases = [segmenter.bases[base] for base in group]
        everyone = len(groups) == 1 and len(group) > 1
        segments.append(_merge(segmenter, bases, members, position, run, everyone))
    unplaced = ~placement.placed
    if unplaced.any():
        reasons = placement.reason[unplaced].value_counts().sort_index()
        kinds = reasons.groupby(reasons.index.str.partition(":").get_level_values(0)).sum()
        counted = "; ".join(
            f"{count} ({kind[:1].lower()}{kind[1:]})" for kind, count in kinds.items()
        )
        description = f"Not placed yet: {counted}"
        members = tuple(sorted(number.index[unplaced]))
        own_id = segment_id(NOT_PLACED, len(segments), run)
        ends = (None, None, False, members)
        segments.append(MergedSegment(own_id, NOT_PLACED, description, {}, (), *ends))
    position_of = number.map(of_base).where(~unplaced, len(segments) - 1).astype(int)
    return SegmentedCustomers(segmenter, placement, tuple(segments), position_of, of_base)


def _merge(
    segmenter: Segmenter,
    bases: Sequence[BaseSegment],
    members: tuple[str, ...],
    position: int,
    run: str,
    everyone: bool,
) -> MergedSegment:
    first, last, names = bases[0], bases[-1], [base.name for base in bases]
    name = joined_name(names, segmenter.ordered, everyone)
    criteria, description = first.criteria, first.description
    if len(bases) > 1 and isinstance(segmenter, ThresholdSegmenter):
        lower, *upper = first.criteria
        criteria = {lower: first.criteria[lower]} | {key: last.criteria[key] for key in upper}
        description = segmenter.describe(first.low, last.high)
    elif len(bases) > 1:
        criteria = {"any_of": names}
        description = f"Merged because each alone is too small: {', '.join(names)}"
    merged_from = tuple(names) if len(bases) > 1 else ()
    own_id = segment_id(name, position, run)
    ends = (first.low, last.high, True, members)
    return MergedSegment(own_id, name, description, criteria, merged_from, *ends)


# -- runs ------------------------------------------------------------------------------------


def run_inputs(portfolio: Portfolio, as_of: dt.date) -> str:
    """What a run follows from besides its criteria: data, settings and code."""
    code = code_digest(*CODE, contents=True)
    return fingerprint([portfolio.fingerprint(as_of), catalog.code_version(), code])


def run_key(portfolio: Portfolio, criteria: Mapping[str, Any], as_of: dt.date) -> str:
    return fingerprint([run_inputs(portfolio, as_of), criteria, as_of.isoformat()])


def segment_id(name: str, number: int, run: str) -> str:
    """Stable: from the name and the run; the number tells two segments of one name apart."""
    return f"seg_{slug(name)}_{fingerprint([run, name, number])[:8]}"


def resolved_segment(
    portfolio: Portfolio, segment: str, as_of: dt.date
) -> tuple[SegmentRun, list[str]]:
    """The recorded run of a segment and its members; raises InvalidParameters with the nearest id.

    A run further from ``as_of`` than ``segment_run_max_age_days`` is refused.
    """
    runs = portfolio.ledger().segment_runs() if portfolio.has_ledger else []
    known = list(dict.fromkeys(name for run in reversed(runs) for name in run.members))
    for run in reversed(runs):
        if segment in run.members:
            _check_age(portfolio, run, segment, as_of, runs)
            return run, list(run.members[segment])
    choices = f"; there are {', '.join(known[:10])}" if known else "; run segment_customers first"
    raise InvalidParameters(
        f"no segmentation run has a segment {segment[:80]!r}{hint(segment, known)}{choices}",
        parameter="segment_id",
        value_provided=segment[:200],
        validation_rule="a segment_id of a recorded run",
        known_segments=known[:50],
    )


def _check_age(
    portfolio: Portfolio,
    run: SegmentRun,
    segment: str,
    as_of: dt.date,
    runs: Sequence[SegmentRun],
) -> None:
    limit = portfolio.settings.segment_run_max_age_days
    days = abs((as_of - run.as_of).days)
    if days <= limit:
        return
    current = [
        name for other in runs if abs((as_of - other.as_of).days) <= limit for name in other.members
    ]
    choices = f"current ones: {', '.join(current[:10])}"
    raise InvalidParameters(
        f"segment {segment!r} is as of {run.as_of}, {days} days from {as_of}; "
        + (choices if current else "run segment_customers as of this date"),
        parameter="segment_id",
        value_provided=segment,
        current_segments=current[:50],
        validation_rule=f"a segment of a run at most {limit} days from as_of",
    )


def segmented_run(portfolio: Portfolio, run: SegmentRun) -> SegmentedCustomers:
    """The segments of a recorded run, computed again by today's code."""
    criteria = run.criteria
    context = PortfolioContext.of(portfolio, run.as_of, criteria.get("only"))
    least, most = criteria["min_segment_size"], criteria["max_segments"]
    segmenter = segmenter_of(context, criteria["segment_type"], criteria["criteria"], least, most)
    return segmented(segmenter, least, most, run.run_id)
