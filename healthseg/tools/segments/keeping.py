"""Runs are kept in the ledger: a segment's id leads to its members, the same run twice is the same run."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from healthseg.data.memory import remember
from healthseg.errors import CalculationError, DataRetrievalError, InvalidParameters, hint
from healthseg.metrics import catalog
from healthseg.settings import fingerprint
from healthseg.tools.segments.result import Run

if TYPE_CHECKING:
    from healthseg.data.ledger.ledger import SegmentRun

_CODE = ("clustering", "scoring", "tools/segments", "tools/tiers")


def slug(name: str) -> str:
    """A name as a part of an id or a key.

    >>> slug("At Risk + Healthy"), slug("日本")
    ('at_risk_healthy', 'segment')
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40].strip("_") or "segment"


def slugs(names: Sequence[str]) -> list[str]:
    """A key for each name, no two alike: a slug that is taken gets the first free number.

    >>> slugs(["Tier A", "Tier-A", "日本", "中国"])
    ['tier_a', 'tier_a_2', 'segment', 'segment_2']
    """
    found: list[str] = []
    for name in names:
        key, at = slug(name), 2
        while key in found:
            key, at = f"{slug(name)}_{at}", at + 1
        found.append(key)
    return found


@functools.cache
def code_version() -> str:
    """Changes with the code that segments: a run is the same only where the rules are."""
    folder = Path(__file__).parents[2]
    texts = (
        path.read_text(encoding="utf-8")
        for part in _CODE
        for path in sorted((folder / part).glob("*.py"))
    )
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:16]


def inputs(portfolio: Any, as_of: dt.date) -> str:
    """What a run is made from: data, settings and rules."""
    return fingerprint([portfolio.fingerprint(as_of), catalog.code_version(), code_version()])


def segment_id(name: str, number: int, run: str) -> str:
    """Stable: of the name and the run; the number tells two segments of one name apart."""
    return f"seg_{slug(name)}_{fingerprint([run, name, number])[:8]}"


def run_key(portfolio: Any, criteria: Mapping[str, Any], as_of: dt.date) -> str:
    return fingerprint([inputs(portfolio, as_of), criteria, as_of.isoformat()])


def keep(
    portfolio: Any, criteria: Mapping[str, Any], as_of: dt.date, members: Mapping[str, list[str]]
) -> Run:
    """Notes the run in the ledger, once; says why where that cannot be."""
    key = run_key(portfolio, criteria, as_of)
    return remember(
        portfolio, ("segment_run", key), lambda: _keep(portfolio, key, criteria, as_of, members)
    )


def _keep(
    portfolio: Any,
    key: str,
    criteria: Mapping[str, Any],
    as_of: dt.date,
    members: Mapping[str, list[str]],
) -> Run:
    try:
        found = portfolio.ledger().record_segment_run(
            inputs(portfolio, as_of), criteria, as_of, members
        )
        return Run(run_id=found, resolvable=True, reason=None)
    except (DataRetrievalError, CalculationError) as problem:
        return Run(run_id=key, resolvable=False, reason=f"not kept: {problem.message}")


def resolve(portfolio: Any, segment: str) -> tuple[SegmentRun, list[str]]:
    """The run that made a segment, and the segment's members; raises InvalidParameters with the nearest id."""
    runs = portfolio.ledger().segment_runs() if portfolio.has_ledger else []
    for run in reversed(runs):
        if segment in run.members:
            return run, list(run.members[segment])
    known = [name for run in runs for name in run.members]
    raise InvalidParameters(
        f"no segmentation run has a segment {segment[:80]!r}{hint(segment, known)}",
        parameter="segment_id",
        value_provided=segment[:200],
        validation_rule="a segment_id of a run that was kept",
    )
