"""What a run is to make: which tools, customers and notebooks, with which parameters, and what each is made from."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from healthseg.errors import CalculationError, InvalidParameters
from healthseg.reports import registry
from healthseg.reports.batches.execution import Job
from healthseg.reports.batches.files import FORMATS
from healthseg.reports.batches.watching import Limits
from healthseg.settings import fingerprint

CHARTS = ("auto", "static", "interactive")
CADENCE = {
    "calculate_health_score": "day",
    "track_usage_engagement": "day",
    "track_feature_adoption": "week",
    "manage_lifecycle_stages": "week",
    "track_adoption_milestones": "week",
    "segment_customers": "month",
    "segment_by_value_tier": "month",
    "analyze_engagement_patterns": "quarter",
}


@dataclass(frozen=True)
class Asked:
    """What a call asks for, as checked."""

    tools: tuple[str, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    portfolio: bool = False
    formats: tuple[str, ...] = ()
    charts: str = "auto"
    show_users: bool = False
    shard: tuple[int, int] = (1, 1)
    limits: Limits = field(default_factory=Limits)


def notebooks() -> Path:
    """The folder of the notebooks: in the package where it was installed, else beside it."""
    here = Path(__file__).resolve()
    for folder in (here.parents[2] / "notebooks", here.parents[3] / "notebooks"):
        if folder.is_dir():
            return folder
    raise CalculationError("the notebooks are not installed with this package")


def notebook(tool: str, client: str | None) -> Path:
    """A tool's notebook for a customer, or for the portfolio; it may not be there."""
    return notebooks() / ("customer" if client else "portfolio") / f"{tool}.ipynb"


def shard(text: str) -> tuple[int, int]:
    """``3/8`` as the third of eight.

    >>> shard("3/8")
    (3, 8)
    """
    place, _, count = text.partition("/")
    if not (place.isdecimal() and count.isdecimal() and 1 <= int(place) <= int(count)):
        raise InvalidParameters(
            f"{text!r} is no shard; give N/M with N from 1 to M, as 3/8",
            parameter="shard",
            value_provided=text,
            validation_rule="N/M",
        )
    return int(place), int(count)


def checked(asked: Asked) -> Asked:
    """The same, with its parameters valid for every tool asked for; raises InvalidParameters."""
    for name in asked.tools:
        registry.validated_for_report(name, {**asked.parameters, "client_id": "checked-before"})
    for kind in asked.formats:
        _one_of("format", kind, FORMATS)
    _one_of("charts", asked.charts, CHARTS)
    return asked


def _one_of(parameter: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise InvalidParameters(
            f"{parameter} {value!r} is none of {', '.join(known)}",
            parameter=parameter,
            value_provided=value,
            validation_rule="one of " + ", ".join(known),
        )


def jobs(
    asked: Asked,
    clients: Sequence[str],
    portfolio: str,
    folder: Path,
    content: str,
    pseudonyms: str,
) -> list[Job]:
    """The reports of this shard, the portfolio's first: they are waited for."""
    pairs = [(None, tool) for tool in asked.tools if asked.portfolio]
    pairs += [(client, tool) for client in clients for tool in asked.tools]
    if not pairs:
        raise InvalidParameters(
            "no report was asked for: name customers with --client, or give --all-clients, --riskiest N or --overview",
            parameter="client",
            validation_rule="at least one customer, or the portfolio",
        )
    place, count = asked.shard
    there = [pair for pair in pairs if notebook(pair[1], pair[0]).is_file()]
    return [
        _job(asked, *pair, portfolio, folder, content, pseudonyms)
        for pair in there[place - 1 :: count]
    ]


def _job(
    asked: Asked,
    client: str | None,
    tool: str,
    portfolio: str,
    folder: Path,
    content: str,
    pseudonyms: str,
) -> Job:
    path = notebook(tool, client)
    given = {**asked.parameters, **({"client_id": client} if client else {})}
    if asked.show_users:
        given.setdefault("include_users", True)
    taken = {name: value for name, value in given.items() if name in _declared(path)}
    made_from = [content, _digest(path), taken, asked.formats, asked.charts, pseudonyms]
    return Job(
        tool,
        client,
        str(path),
        taken,
        portfolio,
        str(folder),
        fingerprint(made_from),
        asked.formats,
        asked.charts,
        pseudonyms,
        asked.limits,
    )


@functools.cache
def _declared(path: Path) -> frozenset[str]:
    """The parameters that a notebook declares: papermill would only warn of others."""
    import papermill

    return frozenset(papermill.inspect_notebook(str(path).replace("{", "{{").replace("}", "}}")))


@functools.cache
def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def code() -> str:
    """A digest of all that this package consists of: what is made by other code is another thing."""
    root, digest = Path(__file__).resolve().parents[2], hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.suffix in (".py", ".sql", ".toml", ".css", ".js", ".j2"):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def content(portfolio: Any, given: Mapping[str, Any], ledger_head: Any) -> str:
    """A fingerprint of all that the reports of a run are made from, but for what each has of its own."""
    return fingerprint(
        [code(), portfolio.fingerprint(portfolio.as_of(given.get("as_of"))), ledger_head]
    )


def due(tools: Iterable[str], day: dt.date, done: Mapping[str, dt.date]) -> tuple[str, ...]:
    """The tools whose last report is of an earlier day, week, month or quarter than ``day``, by their cadence.

    >>> due(["track_feature_adoption"], dt.date(2025, 10, 7), {"track_feature_adoption": dt.date(2025, 10, 6)})
    ()
    >>> due(["track_feature_adoption"], dt.date(2025, 10, 13), {"track_feature_adoption": dt.date(2025, 10, 6)})
    ('track_feature_adoption',)
    """
    return tuple(
        tool
        for tool in tools
        if tool not in done
        or period(CADENCE.get(tool, "day"), done[tool]) < period(CADENCE.get(tool, "day"), day)
    )


def period(cadence: str, day: dt.date) -> tuple[int, ...]:
    """The day, ISO week, month or quarter that a day lies in, as numbers that can be compared."""
    year, week, _ = day.isocalendar()
    return {
        "day": (day.toordinal(),),
        "week": (year, week),
        "month": (day.year, day.month),
        "quarter": (day.year, (day.month - 1) // 3),
    }[cadence]
