"""The catalogue of metrics: one entry a metric, which panel, scorecards, models, segments, rules and pages read.

An entry lies beside the function that counts it, among the ``METRICS`` of its subject's module. Users add their
own with ``register``.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, fields
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from healthseg.data.cache import Cache, code_digest
from healthseg.data.losses import ZONE
from healthseg.data.tables import TABLES
from healthseg.errors import InvalidParameters, require_known
from healthseg.rules.expressions import Condition
from healthseg.settings.metrics import OwnMetric, declared

if TYPE_CHECKING:
    from healthseg.metrics.counting import Counting, Spans

SUBJECTS = ("profile", "usage", "adoption", "people", "users", "communication", "money")
Format = Literal[
    "count", "days", "hours", "money", "number", "percent", "ratio", "signed", "tickets", "word"
]
Better = Literal["higher", "lower"]
# the panel's columns with the share of a table's rows that a customer lost, where any customer lost one
LOST = "lost_share_"
USES = frozenset({"scorecard", "churn", "segments", "rules", "pages"})
# The churn model reads these as its scorecard has them: value, points and direction.
SCORED = USES - {"churn"}
RULES_AND_PAGES = frozenset({"rules", "pages"})
ON_PAGES = frozenset({"pages"})
ONLY_CHURN = frozenset({"churn"})


@dataclass(frozen=True)
class Metric:
    """A named figure of a customer: what it means, how it is counted, how readers meet it.

    A metric is either counted over spans of days (``count``, for the panel over the ``window_days`` that end with
    its date), or derived from other columns of the panel's rows (``derive``); one with neither is computed
    elsewhere and only described here (the profile's ``arr``, the score).
    """

    name: str  # the panel's column; its window is part of the name where there are several
    label: str
    unit: str  # as it follows a value, in the plural; "share…", "ratio", "1 to 5", "money" are shown as such
    _: KW_ONLY
    definition: str = ""  # exactly what is counted, for docs/metrics.md; d is the panel's date
    question: str = ""
    format: Format = "number"
    better: Better | None = None
    missing: str = "no data"  # why it is not measured, where its tables are there
    tables: tuple[str, ...] = ("events",)  # that it rests on, the most important first
    averages: tuple[str, ...] = ()  # columns ("table.column") of which a lost value could raise it
    uses: frozenset[str] = USES
    count: Callable[[Counting, Spans], np.ndarray] | None = (
        None  # a float a span, NaN: not measured
    )
    window_days: int | None = None  # None of a count: over spans only, in no panel
    span_name: str = ""  # its name over any span, where it is not ``name``
    derive: Callable[[pd.DataFrame], pd.Series] | None = None  # from the panel's columns before it
    levels: tuple[
        str, ...
    ] = ()  # the words that the codes 0, 1, … of a count stand for in the panel
    short: str = ""  # a label for lists
    above: str = ""  # a sentence about a good value; {value} is formatted
    below: str = ""  # a sentence about a poor value
    high: str = ""  # a segment whose values are high
    low: str = ""  # a segment whose values are low
    kind: str = ""  # metrics of a kind say much the same
    effort: str | None = None  # of changing it: low, medium, high
    logarithm: bool = False  # whether models read log(1 + value)

    def __post_init__(self) -> None:
        unknown = self.uses - USES
        if unknown:
            raise ValueError(
                f"unknown use {sorted(unknown)[0]!r}; known: {', '.join(sorted(USES))}"
            )
        if self.count is not None and self.derive is not None:
            raise ValueError(f"{self.name} is either counted over spans or derived, not both")

    @property
    def over_spans(self) -> str:
        """The name under which ``metrics.over`` counts it."""
        return self.span_name or self.name

    def counted(self, counting: Counting, spans: Spans) -> np.ndarray:
        """``count`` of a metric that is counted over spans."""
        if self.count is None:
            raise ValueError(f"{self.name} is not counted over spans")
        values = self.count(counting, spans)
        withheld = counting.withheld(self.tables, self.withheld_by)
        return np.where(withheld[spans.k], np.nan, values) if withheld.any() else values

    @property
    def withheld_by(self) -> tuple[str, ...]:
        """Columns ("table.column") of which a value that cannot be used leaves it unmeasured: what it averages, and the
        time zone where its days are the customer's own."""
        dated = any(TABLES[name].timestamps for name in self.tables if name in TABLES)
        return (*self.averages, *([ZONE] if dated else []))

    @property
    def from_events(self) -> bool:
        """Whether it is counted from the events' facts (else from the small tables)."""
        return "events" in self.tables

    @property
    def digest(self) -> str:
        """Changes with the entry and the code of its functions: part of the keys of what is cached."""
        parts = [
            _code_of(value) if callable(value) else repr(value)
            for value in (getattr(self, field.name) for field in fields(self))
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _code_of(function: Callable[..., Any]) -> str:
    """A function's source (its bytecode where there is none) with the values that it closes over."""
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        source = repr((code.co_code, code.co_consts, code.co_names)) if code else repr(function)
    if not isinstance(function, FunctionType):
        return source
    bound = [cell.cell_contents for cell in function.__closure__ or ()]
    return source + repr([_text_of(value) for value in [*bound, function.__defaults__]])


def _text_of(value: Any) -> str:
    try:
        return hashlib.sha256(pickle.dumps(value)).hexdigest()
    except (pickle.PicklingError, AttributeError, TypeError):
        return repr(value)


def averaged(names: Iterable[str]) -> set[str]:
    """The columns ("table.column") of which a lost value could raise one of these metrics."""
    known = entries()
    return {column for name in names if name in known for column in known[name].averages}


# -- the catalogue -----------------------------------------------------------------------

# What users registered in this process, in order: ``register`` and ``unregister`` alone change it.
_registered: dict[str, Metric] = {}


@functools.cache
def built_in() -> dict[str, Metric]:
    """The package's own metrics, by name."""
    modules = [importlib.import_module(f"healthseg.metrics.{subject}") for subject in SUBJECTS]
    return {metric.name: metric for module in modules for metric in module.METRICS}


def registered_digest() -> str:
    """Changes with every registered metric and its code; empty where none is registered."""
    digests = "".join(metric.digest for metric in _registered.values())
    return hashlib.sha256(digests.encode()).hexdigest()[:16] if digests else ""


Cache.runtime_code = staticmethod(registered_digest)


def code_version() -> str:
    """Changes with the code that counts and with what users registered; the same on every machine."""
    return code_digest("data", "metrics", contents=True) + registered_digest()


def entries() -> dict[str, Metric]:
    """All metrics by name: of the package, those that were registered, those of the portfolios that were opened."""
    own = {name: described(name, each) for name, each in declared().items()}
    return _of_all() | {name: each for name, each in own.items() if name not in built_in()}


def _of_all() -> dict[str, Metric]:
    """What every portfolio of this process has."""
    return built_in() | _registered


@functools.lru_cache(maxsize=1_000)
def described(name: str, own: OwnMetric) -> Metric:
    """The entry of a metric that a portfolio's settings define."""
    source = own.expression or own.sql or f"the last value of {name} in metrics_daily"
    if own.percentile_of:
        source = f"percentile of {own.percentile_of} among live customers of one {own.peers or 'portfolio'}"
    if own.stated:
        source = "stated in the settings, each until it expires"
    of_panel, base = own.expression or own.percentile_of, None
    if own.counted:
        base = _known(
            own.counted, {each.over_spans: each for each in built_in().values() if each.count}
        )
        held = f", else the last value of {own.held_days} days" if own.held_days else ""
        source = f"{base.label} over {own.window_days} days{held}"
    missing = "a figure that it reads is missing" if of_panel else "no row of it is known"
    return Metric(
        name,
        own.label or name.replace("_", " ").capitalize(),
        own.unit or (base.unit if base else ""),
        definition=own.definition or source,
        question=own.question,
        format=base.format if base and own.format == "number" else own.format,
        better=own.better or (base.better if base else None),
        missing=own.missing or (base.missing if base else missing),
        tables=base.tables if base else ("metrics_daily",) if own.daily else (),
        uses=frozenset(own.uses),
        derive=_derivation(own.expression) if own.expression else None,
        kind=name,
        logarithm=own.logarithm,
    )


def _derivation(expression: str) -> Callable[[pd.DataFrame], pd.Series]:
    condition = Condition(expression)
    return lambda rows: pd.Series(condition.column(rows), index=rows.index, dtype=float)


def get(name: str) -> Metric:
    """The metric of this name. Raises InvalidParameters, with the nearest name, for an unknown one.

    >>> get("seat_utilisation").label
    'Seats in use'
    """
    metric = entry(name)
    return _known(name, entries()) if metric is None else metric


def entry(name: str) -> Metric | None:
    """The metric of this name, or None for an unknown one."""
    return built_in().get(name) or entries().get(name)


def used_by(use: str) -> list[Metric]:
    """The metrics that a reader uses: ``scorecard``, ``churn``, ``segments``, ``rules`` or ``pages``.

    >>> "stickiness_30d" in [metric.name for metric in used_by("scorecard")]
    True
    """
    return [metric for metric in entries().values() if use in metric.uses]


def counted() -> dict[str, Metric]:
    """The panel's columns that are counted over the days before its date."""
    return {
        name: metric
        for name, metric in _of_all().items()
        if metric.count is not None and metric.window_days is not None
    }


def derived() -> dict[str, Metric]:
    """The panel's columns that are derived from others, in the order in which they are added."""
    return {name: metric for name, metric in _of_all().items() if metric.derive is not None}


def columns() -> list[str]:
    """The panel's columns that the catalogue computes."""
    return [*counted(), *derived()]


def over_spans() -> dict[str, Metric]:
    """What can be counted over any spans, by its name there.

    >>> "stickiness" in over_spans(), "stickiness_30d" in over_spans()
    (True, False)
    """
    return {metric.over_spans: metric for metric in _of_all().values() if metric.count is not None}


def known_over_spans(names: Iterable[str]) -> list[Metric]:
    """The metrics of these names over spans. Raises InvalidParameters for an unknown one."""
    offered = over_spans()
    return [_known(name, offered) for name in names]


def _known(name: str, offered: dict[str, Metric]) -> Metric:
    require_known(name, offered, f"unknown metric {name!r}", parameter="metrics")
    return offered[name]


# -- metrics of users --------------------------------------------------------------------


def register(metric: Metric) -> Metric:
    """Add a metric of your own for this process: it is then a column of every panel.

    Scorecards can name it, churn models, segments, rules and pages read it as its ``uses`` say. A metric of the
    same name that was registered before is replaced; one of the package raises InvalidParameters.

    >>> per_seat = Metric(
    ...     name="events_per_seat", label="Events per seat", unit="events",
    ...     derive=lambda rows: rows["person_events_28d"] / rows["seats"],
    ... )
    >>> with registered(per_seat):
    ...     get("events_per_seat").label
    'Events per seat'
    """
    if not metric.name.isidentifier():
        raise _refused(metric, "a metric's name is a word of letters, digits and underscores")
    require_free(metric)
    if metric.derive is None and (metric.count is None or metric.window_days is None):
        raise _refused(metric, "a metric needs derive, or count and window_days")
    _registered[metric.name] = metric
    return metric


def metric(
    name: str | None = None, *, window_days: int | None = None, **words: Any
) -> Callable[[Callable[..., Any]], Metric]:
    """Register a function as a metric of your own: ``@hs.metric(label="Logins per seat", unit="sessions")``.

    The function derives a column from the panel's rows so far (a DataFrame with a row per customer and date; returns a
    Series). With ``window_days`` it counts over spans of days instead: it is passed ``Counting`` and ``Spans`` of
    ``healthseg.metrics.counting`` and returns a float a span. ``name`` is the function's name by default, ``words`` are
    the fields of ``Metric``: label, unit, better, format, question, missing, uses …

    Returns the ``Metric``, which is then in this process' catalogue. Raises InvalidParameters for a name of the package.

    >>> @metric(label="Sessions per seat", unit="sessions", better="higher")
    ... def sessions_per_seat(rows):
    ...     return rows["sessions_28d"] / rows["seats"]
    >>> get("sessions_per_seat").label, unregister("sessions_per_seat")
    ('Sessions per seat', None)
    """

    def added(function: Callable[..., Any]) -> Metric:
        label = (
            words.pop("label", None) or (name or function.__name__).replace("_", " ").capitalize()
        )
        unit, kind = words.pop("unit", ""), words.pop("kind", name or function.__name__)
        code = (
            {"count": function, "window_days": window_days} if window_days else {"derive": function}
        )
        definition = words.pop("definition", "") or (function.__doc__ or "").strip()
        fields = {"definition": definition, "kind": kind, **code, **words}
        return register(Metric(name or function.__name__, label, unit, **fields))

    return added


def require_free(metric: Metric) -> None:
    """Raises InvalidParameters for an own metric whose name is that of a metric of the package."""
    if metric.name in built_in() or metric.over_spans in _spans_of_the_package():
        raise _refused(metric, "the name of a metric of the package cannot be used again")


def unregister(name: str) -> None:
    """Remove a metric that was registered; unknown names are ignored."""
    _registered.pop(name, None)


@contextmanager
def registered(*metrics: Metric) -> Iterator[None]:
    """Metrics that are registered within a ``with`` block only."""
    before = dict(_registered)
    try:
        for metric in metrics:
            register(metric)
        yield
    finally:
        for name in list(_registered):
            unregister(name)
        for metric in before.values():
            register(metric)


@functools.cache
def _spans_of_the_package() -> frozenset[str]:
    return frozenset(
        metric.over_spans for metric in built_in().values() if metric.count is not None
    )


def _refused(metric: Metric, rule: str) -> InvalidParameters:
    return InvalidParameters(
        f"{metric.name!r} cannot be registered: {rule}",
        parameter="metric",
        value_provided=metric.name,
        validation_rule=rule,
    )
