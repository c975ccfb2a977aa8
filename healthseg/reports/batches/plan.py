"""Which reports a run makes: tools, customers, notebooks and parameters, and what each report depends on."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

from healthseg.data.cache import code_digest
from healthseg.errors import CalculationError, InvalidParameters, require_known
from healthseg.reports import registry
from healthseg.reports.batches.job import FORMATS, Job, report_name
from healthseg.reports.html.navigation import Atlas
from healthseg.reports.pages import OVERVIEWS
from healthseg.settings import fingerprint

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

BOARD, CUSTOMER_360 = "board", "customer_360"
BEHIND_THE_BOARD = {"calculate_health_score", "segment_by_value_tier"}
OF_LIVE = {
    "segment_customers",
    "segment_by_value_tier",
    "track_usage_engagement",
    "analyze_engagement_patterns",
}
CHARTS = ("auto", "static", "interactive")
_CLIENT, _PAGE = "client_id", re.compile(r"[A-Za-z0-9_-]{1,80}")
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
class Request:
    """What a call of ``make_reports`` wants of every report."""

    tools: tuple[str, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    overview: bool = False
    formats: tuple[str, ...] = ()
    charts: str = "auto"
    show_users: bool = False
    shard: tuple[int, int] = (1, 1)
    printed_mb: float = 20.0
    # a team's own, by the name of their pages
    own: Mapping[str, Path] = field(default_factory=dict)
    # overviews that are named; the others come along with the pages that their figures are on
    overviews: tuple[str, ...] = ()

    def has(self, overview: str) -> bool:
        """Whether an overview's page is to be made."""
        return overview in self.overviews or set(self.tools) >= BEHIND_THE_BOARD


def own_notebooks(paths: Iterable[str]) -> dict[str, Path]:
    """Notebooks that are not the package's, by the name of their pages: that of their file, or of their entry point.

    Raises InvalidParameters where there is no such file, or where its name is another page's.
    """
    own: dict[str, Path] = {}
    installed = registry.installed_pages()
    for path_or_name in paths:
        path = installed.get(path_or_name, path_or_name)
        file = Path(path).expanduser().resolve()
        name = path_or_name if path_or_name in installed else file.stem
        problem = "is not a file" if not file.is_file() else None
        if not _PAGE.fullmatch(name):
            problem = "has a name that is no page's: 1 to 80 letters, digits, _ or -"
        elif name in own or name in (*registry.served(), *OVERVIEWS):
            problem = "has the name of another page: rename it"
        elif not problem and not _has_kernel(file):
            problem = "is not one that JupyterLab saved: it names no kernel"
        if problem:
            raise InvalidParameters(
                f"the notebook {path} {problem}",
                parameter="tools",
                value_provided=str(path)[:200],
                validation_rule="notebooks with names of their own",
            )
        own[name] = file
    return own


def _has_kernel(file: Path) -> bool:
    try:
        return "kernelspec" in nbformat.read(file, as_version=4).metadata
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, UnicodeDecodeError):
        return False


def notebooks() -> Path:
    """The folder of the notebooks: in the package where it was installed, else beside it."""
    parents = Path(__file__).resolve().parents
    for folder in (parents[2] / "notebooks", parents[3] / "notebooks"):
        if folder.is_dir():
            return folder
    raise CalculationError("the notebooks are not installed with this package")


@functools.cache
def is_ours(path: str) -> bool:
    """Whether a notebook is one of the package's, by its content: a copy that was not changed is as well."""
    return _digest(Path(path)) in {_digest(each) for each in notebooks().rglob("*.ipynb")}


def notebook(tool: str, client: str | None) -> Path:
    """A tool's notebook for a customer, or for the portfolio; it may not be there."""
    if tool in OVERVIEWS:
        return notebooks() / "overview" / f"{tool}.ipynb"
    return notebooks() / ("customer" if client else "portfolio") / f"{tool}.ipynb"


def shard(text: str) -> tuple[int, int]:
    """``3/8`` as the third of eight.

    >>> shard("3/8")
    (3, 8)
    """
    part, _, count = text.partition("/")
    if not (part.isdecimal() and count.isdecimal() and 1 <= int(part) <= int(count)):
        raise InvalidParameters(
            f"{text!r} is not a shard; write N/M with N from 1 to M, as 3/8",
            parameter="shard",
            value_provided=text,
            validation_rule="N/M",
        )
    return int(part), int(count)


def checked(request: Request) -> Request:
    """The same request; raises InvalidParameters unless its parameters suit each of its tools."""
    for name in request.tools:
        registry.check_report_parameters(
            name, {**request.parameters, "client_id": "checked-before"}, request.overview
        )
    if not request.tools:
        paths = [*request.own.values(), *(notebook(name, None) for name in request.overviews)]
        declared = set().union(*map(_declared, paths))
        for name in request.parameters:
            require_known(name, declared, f"no notebook has a parameter {name!r}", parameter=name)
    for kind in request.formats:
        _one_of("format", kind, FORMATS)
    _one_of("charts", request.charts, CHARTS)
    return request


def _one_of(parameter: str, value: str, known: Sequence[str]) -> None:
    require_known(
        value,
        known,
        f"{parameter} {value!r} must be one of {', '.join(known)}",
        parameter=parameter,
    )


def jobs(
    request: Request,
    clients: Sequence[str],
    portfolio: str,
    folder: Path,
    content: str,
    pseudonyms: str,
    names: Mapping[str, str] | None = None,
    churned: Mapping[str, str] | None = None,
) -> list[Job]:
    """The reports of this shard, the portfolio's first, which take longest.

    ``names`` are the live customers' by client_id, in the order of the index, ``churned`` those of the churned ones.
    """
    pairs: list[tuple[str | None, str]] = []
    if BOARD in request.overviews or (request.overview and request.has(BOARD)):
        pairs.append((None, BOARD))
    if request.overview:
        pairs += [(None, tool) for tool in request.tools]
    pairs += [(client, tool) for client in clients for tool in request.tools]
    if names:  # segments, tiers and the last days' usage are of live customers
        pairs = [pair for pair in pairs if pair[1] not in OF_LIVE or pair[0] in {None, *names}]
    if request.has(CUSTOMER_360):
        pairs += [(client, CUSTOMER_360) for client in clients]
    for name, path in request.own.items():
        pairs += [(client, name) for client in (clients if _CLIENT in _declared(path) else [None])]
    if not pairs:
        raise InvalidParameters(
            "no report is requested: name customers with --client, or use --all-clients, --riskiest N or --overview",
            parameter="client",
            validation_rule="at least one customer, or the portfolio",
        )
    part, count = request.shard
    available = [pair for pair in pairs if _notebook_of(request, *pair).is_file()]
    live = names or dict.fromkeys(clients, "")
    map_of_pages = replace(atlas(available, folder, live), churned=churned or {})
    return [
        replace(
            _job(request, *pair, portfolio, folder, content, pseudonyms),
            navigation=map_of_pages.navigation(*pair),
        )
        for pair in available[part - 1 :: count]
    ]


def atlas(
    planned: Iterable[tuple[str | None, str]], folder: Path, names: Mapping[str, str]
) -> Atlas:
    """The pages that a folder has, or will have after the run."""
    pages: dict[str | None, set[str]] = {client: set() for client in (None, *names)}
    for client, tool in planned:
        pages.setdefault(client, set()).add(tool)
    for client, tools in pages.items():
        pages_folder = folder / Path(report_name(client, "x")).parent
        if pages_folder.is_dir():
            tools.update(path.stem for path in pages_folder.glob("*.html"))
    known = {client: name or client for client, name in names.items()}
    return Atlas(known, {client: frozenset(tools) for client, tools in pages.items()})


def _notebook_of(request: Request, client: str | None, tool: str) -> Path:
    return request.own.get(tool) or notebook(tool, client)


def _job(
    request: Request,
    client: str | None,
    tool: str,
    portfolio: str,
    folder: Path,
    content: str,
    pseudonyms: str,
) -> Job:
    path = _notebook_of(request, client, tool)
    parameters = {**request.parameters, **({_CLIENT: client} if client else {})}
    if tool in request.own:
        parameters["portfolio"] = portfolio
    if request.show_users:
        parameters.setdefault("include_users", True)
    declared = {name: value for name, value in parameters.items() if name in _declared(path)}
    inputs = [content, _digest(path), declared, request.formats, request.charts, pseudonyms]
    return Job(
        tool,
        client,
        str(path),
        declared,
        portfolio,
        str(folder),
        fingerprint(inputs),
        request.formats,
        request.charts,
        pseudonyms,
        request.printed_mb,
    )


@functools.cache
def _declared(path: Path) -> frozenset[str]:
    """The parameters that a notebook declares: papermill would only warn of others."""
    import papermill

    return frozenset(papermill.inspect_notebook(str(path).replace("{", "{{").replace("}", "}}")))


@functools.cache
def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def content(portfolio: Portfolio, as_of: str | None, ledger_head: list[int]) -> str:
    """A fingerprint of all that the reports of a run have in common: code, data, settings and ledger."""
    return fingerprint(
        [code_digest(contents=True), portfolio.fingerprint(portfolio.as_of(as_of)), ledger_head]
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
