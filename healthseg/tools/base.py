"""What every tool shares: results and their parts, figures, parameters, the ``tool`` decorator."""

from __future__ import annotations

import datetime as dt
import functools
import html
import inspect
import json
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Concatenate,
    ParamSpec,
    Self,
    TypeVar,
    cast,
    get_type_hints,
)

import numpy as np
import pandas as pd
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    create_model,
)
from threadpoolctl import threadpool_limits

from healthseg.data.portfolio import Portfolio
from healthseg.data.quality import DataQuality
from healthseg.data.tables import id_text
from healthseg.errors import InvalidParameters, hint, require_known
from healthseg.metrics.frame_types import typed
from healthseg.rules import TriggeredRule
from healthseg.tools.context import chosen_customers
from healthseg.tools.overrides import Overrides, Uncontracted
from healthseg.tools.traces import Origin, Trace, trace

if TYPE_CHECKING:
    from healthseg.charts.theme import Picture

__all__ = [
    "Alert",
    "Day",
    "Figure",
    "Interval",
    "Parameters",
    "Part",
    "Result",
    "TriggeredRule",
    "rising_numbers",
    "tool",
    "validated",
]

Model = TypeVar("Model", bound="Parameters")
P = ParamSpec("P")
R = TypeVar("R", bound="Result")
# an open portfolio, or what ``Portfolio.open`` takes
PortfolioSource = Portfolio | str | os.PathLike[str] | Mapping[str, Any]
PYDANTIC_PREFIX = "Input should be "


# -- figures at the edge ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that may be missing or uncertain: its value, or the reason why there is none.

    A ``Part`` that is built with figures holds their values; the reasons become the response's
    ``not_measured``, and ``part.figure_of(name)`` gives the figure again.

    >>> Figure(None, "no seats are known of that day").reason
    'no seats are known of that day'
    """

    value: Any
    reason: str | None = None
    lower: float | None = None
    upper: float | None = None
    n: int | None = None


# -- parts of results ------------------------------------------------------------------


class Part(BaseModel):
    """A part of a result: frozen. Fields accept a ``Figure`` in place of their value.

    >>> class Seats(Part):
    ...     licensed_seats: int | None
    >>> seats = Seats(licensed_seats=Figure(None, reason="no seats are known"))
    >>> seats.licensed_seats is None, seats.figure_of("licensed_seats").reason
    (True, 'no seats are known')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    _figures: dict[str, Figure] = PrivateAttr(default_factory=dict)

    def __init__(self, **values: Any) -> None:
        figures = {name: value for name, value in values.items() if isinstance(value, Figure)}
        super().__init__(**values | {name: figure.value for name, figure in figures.items()})
        self._figures.update(figures)

    def figure_of(self, name: str) -> Figure:
        """The figure of a field: its value with reason, interval and n where these are known."""
        return self._figures.get(name) or Figure(getattr(self, name))


class Interval(Part):
    """From ``lower`` to ``upper``; an end is null where it is not known."""

    lower: float | None = Field(description="Lower end, in the unit of its figure")
    upper: float | None = Field(description="Upper end, in the unit of its figure")


class Alert(Part):
    """A triggered rule that somebody is notified of."""

    type: str = Field(description="The rule's name")
    severity: str = Field(description="low, medium, high or critical")
    message: str = Field(description="The rule's text with its figures")
    figures: dict[str, Any] = Field(description="The figures that the rule reads")

    @classmethod
    def of(cls, rule: TriggeredRule) -> Alert:
        return cls(type=rule.rule, severity=rule.severity, message=rule.text, figures=rule.figures)


def reasons(value: Any, path: str = "$") -> Iterator[tuple[str, str]]:
    """JSON path and reason of every missing figure within a value; rows of a list share ``[*]``."""
    if isinstance(value, Part):
        for name, figure in value._figures.items():
            if figure.value is None and figure.reason:
                yield f"{path}.{name}", figure.reason
        for name in type(value).model_fields:
            yield from reasons(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for item in value:
            yield from reasons(item, f"{path}[*]")


# -- results ---------------------------------------------------------------------------


class Result(BaseModel):
    """The base of the tools' results.

    ``to_dict()`` is the reference's JSON (with more keys), ``frame(name)`` a DataFrame with
    unrounded figures, ``charts()`` altair charts by name. Figures are rounded at this edge only.
    ``not_measured`` is derived from the figures of the parts; reasons that belong to no part are
    passed in addition.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    tool: ClassVar[str] = ""

    as_of: dt.date = Field(description="The day at whose end the response is read")
    data_until: dt.date = Field(description="The portfolio's last whole day of events")
    fingerprint: str = Field(
        description="Names data, settings and version: the same give the same bytes"
    )
    coverage: float | None = Field(
        default=None, description="Share of the inputs that are measured"
    )
    warnings: list[str] = Field(default_factory=list, description="What a reader has to know first")
    not_measured: dict[str, str] = Field(
        default_factory=dict, description="Why a key is null, by its JSON path"
    )
    data_quality: DataQuality = Field(
        default=DataQuality(summary=[], customer=[], portfolio=[]),
        description="What was lost or is doubtful in the data that the response rests on",
    )

    uncontracted: Uncontracted = Field(
        default=Uncontracted(), description="Customers whose contract ended without a new one"
    )

    overrides: Overrides = Field(
        default=Overrides(), description="What overrides scores: notice given, an invoice overdue"
    )

    @property
    def notice(self) -> str:
        """What decides about the customer whatever else is measured (a notice), as the beginning of a verdict."""
        held = [item.text for item in self.overrides.held if item.decides_risk]
        return f"{held[0]}; " if held else ""

    @property
    def is_new(self) -> bool:
        """Whether the customer is provisional: too new for a score and for a probability of churn of its own."""
        return any(item.override == "provisional" for item in self.overrides.held)

    _figures: dict[str, Figure] = PrivateAttr(default_factory=dict)
    _frames: dict[str, pd.DataFrame] = PrivateAttr(default_factory=dict)
    _origin: Origin | None = PrivateAttr(default=None)

    def __init__(self, **values: Any) -> None:
        figures = {name: value for name, value in values.items() if isinstance(value, Figure)}
        known = dict(values.pop("not_measured", {}))
        for name, value in values.items():
            if name in figures:
                if figures[name].value is None and figures[name].reason:
                    known.setdefault(f"$.{name}", figures[name].reason)
            else:
                for path, reason in reasons(value, f"$.{name}"):
                    known.setdefault(path, reason)
        plain = values | {name: figure.value for name, figure in figures.items()}
        super().__init__(**plain, not_measured=dict(sorted(known.items())))
        self._figures.update(figures)

    def with_frames(self, **frames: pd.DataFrame) -> Self:
        """The same result with its unrounded frames, typed (for the tools, when they build it)."""
        self._frames.update({name: typed(name, frame) for name, frame in frames.items()})
        return self

    def with_part(self, name: str, part: Part) -> Self:
        """The same result with a part that it lacked, and the reasons of its missing figures."""
        path = f"$.{name}"
        known = {key: reason for key, reason in self.not_measured.items() if key != path}
        known |= dict(reasons(part, path))
        return self.model_copy(update={name: part, "not_measured": dict(sorted(known.items()))})

    def with_context(
        self, quality: DataQuality, contracts: Uncontracted, overrides: Overrides
    ) -> Self:
        """The same result with what was lost in its data, whose contract has ended, what overrides scores."""
        update = {"data_quality": quality, "uncontracted": contracts, "overrides": overrides}
        return self.model_copy(update=update)

    def to_dict(self) -> dict[str, Any]:
        """The response as JSON values: dates are texts, missing figures null."""
        return self.model_dump(mode="json")

    def to_json(self, indent: int | None = 2) -> str:
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    @property
    def frames(self) -> tuple[str, ...]:
        """The names that ``frame`` knows."""
        return tuple(self._frames)

    def frame(self, name: str | None = None) -> pd.DataFrame:
        """One of the result's frames, unrounded; without a name the first, which is the main one."""
        name = name or next(iter(self._frames))
        require_known(name, self._frames, f"this result has no frame {name!r}", parameter="name")
        return self._frames[name].copy()

    def trace(self, figure: str) -> Trace:
        """What is behind a figure, by its path (``health_metrics.weekly_active_users``, ``series[3].sessions``)?

        Of what is counted: definition, window, query, the rows as a DataFrame, and a pandas expression over them that
        gives the figure before it is rounded. Of what is modelled: what it rests on. A result that was stored opens
        its portfolio again. Raises InvalidParameters for a path that the response does not have.
        """
        return trace(self, figure)

    def charts(self) -> dict[str, Picture]:
        """The result's charts by name; each draws the result's own frames."""
        return {}

    def verdict(self) -> str:
        """The finding in one sentence."""
        return f"{type(self).__name__} as of {self.as_of}"

    def summary(self) -> dict[str, Any]:
        """The few figures that a reader sees first, in order."""
        return {}

    def __str__(self) -> str:
        return self.verdict()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        rows = "".join(
            f"<tr><th>{html.escape(str(key))}</th><td>{html.escape(str(value))}</td></tr>"
            for key, value in self.summary().items()
        )
        page = (
            f"<div class='healthseg'><p><strong>{html.escape(self.verdict())}</strong></p>"
            f"<table>{rows}</table><p><small>as of {self.as_of} · data until {self.data_until} · "
            f"{self.fingerprint}</small></p></div>"
        )
        return {"text/plain": f"{self.verdict()}\n{self.to_json()}", "text/html": page}


# -- parameters ------------------------------------------------------------------------


class Parameters(BaseModel):
    """Parameters of a tool: unknown names are refused, text and numbers are not converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _instant_text(value: Any) -> Any:
    """An instant of Python, pandas or numpy as text; anything else as it is."""
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return str(value) if isinstance(value, np.datetime64) else value


Day = Annotated[str | dt.date | None, BeforeValidator(_instant_text)]
AsOf = Annotated[Day, Field(description="Date, read to its end; default the portfolio's last day")]
Only = Annotated[
    str | None,
    Field(
        description="Condition over columns of the table customers, as in seats > 50 and arr > 20000"
    ),
]
ClientId = Annotated[str, BeforeValidator(id_text), Field(description="Customer identifier")]


def validated(model: type[Model], values: Mapping[str, Any]) -> Model:
    """The parameters, or InvalidParameters that names parameter, value, rule and the nearest name.

    >>> class Days(Parameters):
    ...     days: int = 30
    >>> validated(Days, {"days": 7}).days
    7
    """
    for name in values:
        require_known(name, model.model_fields, f"unknown parameter {name!r}", parameter=str(name))
    try:
        return model(**{name: _plain(value) for name, value in values.items()})
    except ValidationError as problem:
        raise _invalid(problem, values) from None


def _plain(value: Any) -> Any:
    """Mappings and sequences of any kind as dict and list, which the models expect."""
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple | range) else value


def _invalid(problem: ValidationError, values: Mapping[str, Any]) -> InvalidParameters:
    first = problem.errors()[0]
    name = str(first["loc"][0])
    if first["type"] == "missing":
        return InvalidParameters(
            f"{name} is missing: it has no default, so give {name}=…",
            parameter=name,
            validation_rule="required",
        )
    rules = [_rule(error["msg"]) for error in problem.errors() if error["loc"][0] == name]
    rule = ("it must be " if first["msg"].startswith(PYDANTIC_PREFIX) else "") + " or ".join(rules)
    value = values.get(name)
    near = hint(str(value), _expected(first)) if isinstance(value, str) else ""
    return InvalidParameters(
        f"Invalid {name}: {str(value)[:80]!r}; {rule}{near}",
        parameter=name,
        value_provided=str(value)[:200],
        validation_rule=rule,
    )


def _expected(error: Mapping[str, Any]) -> list[str]:
    expected = str(error.get("ctx", {}).get("expected", ""))
    words = expected.replace(" or ", ", ").split(",")
    return [text.strip().strip("'") for text in words if text.strip()]


MOST_NUMBERS = 50
MAX_NAME_CHARACTERS = 60  # of a segment or tier that a caller names


def rising_numbers(
    values: Any, parameter: str, low: float | None = None, high: float | None = None
) -> list[float]:
    """Thresholds: rising, finite numbers of a range; raises InvalidParameters.

    >>> rising_numbers([10, 20], "arr_thresholds", 0)
    [10.0, 20.0]
    """
    span = "" if low is None else f" from {low:g}" + ("" if high is None else f" to {high:g}")
    rule = f"1 to {MOST_NUMBERS} rising numbers{span}, each once"
    if problem := _threshold_problem(values, low, high):
        raise InvalidParameters(
            f"Invalid {parameter}: {problem}; it must be {rule}",
            parameter=parameter,
            value_provided=str(values)[:200],
            validation_rule=rule,
        )
    return [float(value) for value in values]


def _threshold_problem(values: Any, low: float | None, high: float | None) -> str | None:
    if not isinstance(values, list | tuple) or not 1 <= len(values) <= MOST_NUMBERS:
        return f"{str(values)[:80]!r} is not such a list"
    for value in values:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            return f"{str(value)[:40]!r} is not a finite number"
        if low is not None and value < low:
            return f"{value:g} is {'negative' if low == 0 else 'outside the range'}"
        if high is not None and value > high:
            return f"{value:g} is outside the range"
    if len(set(values)) < len(values):
        return "a threshold is repeated"
    return None if sorted(values) == list(values) else "the thresholds don't rise"


def _rule(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix(PYDANTIC_PREFIX)


# -- tools -----------------------------------------------------------------------------


def tool(
    function: Callable[Concatenate[Portfolio, P], R],
) -> Callable[Concatenate[PortfolioSource, P], R]:
    """A tool's function: its signature is the only declaration of its parameters.

    Types, defaults, ranges and descriptions stand in the signature (``Annotated[int, Field(ge=7,
    description=…)]``); ``parameters`` of the decorated function is the pydantic model made from
    it. Arguments are validated once, the portfolio may be given by what ``Portfolio.open`` takes, and linear
    algebra runs on one thread: the same bits whatever the machine's cores.
    """
    signature = inspect.signature(function)

    @functools.cache
    def model() -> type[Parameters]:
        return _model(function, signature)

    def run(portfolio: Any, values: Mapping[str, Any]) -> R:
        parameters = validated(model(), values)
        arguments = {name: getattr(parameters, name) for name in type(parameters).model_fields}
        opened = Portfolio.of(portfolio)
        with _ONE_THREAD:
            result = cast(Any, function)(opened, **arguments)
        result = _with_extent(result, opened)
        client_id = arguments.get("client_id")
        only = arguments.get("only")
        clients = None if only is None else chosen_customers(opened, only)
        contracts = Uncontracted.of(opened, result.as_of, client_id, clients)
        overrides = Overrides.of(opened, result.as_of, client_id, clients)
        result = result.with_context(opened.quality.of(client_id), contracts, overrides)
        result._origin = Origin.of(opened, arguments, function.__name__)
        return result

    @functools.wraps(function)
    def call(portfolio: Any, *args: P.args, **kwargs: P.kwargs) -> R:
        names = list(signature.parameters)[1:]
        if len(args) > len(names) or kwargs.keys() & set(names[: len(args)]):
            signature.bind(portfolio, *args, **kwargs)  # raises Python's own TypeError
        return run(portfolio, {**dict(zip(names, args, strict=False)), **kwargs})

    call.model, call.run = model, run  # type: ignore[attr-defined]
    return call


def _model(function: Callable[..., Any], signature: inspect.Signature) -> type[Parameters]:
    """The pydantic model of a function's parameters after the first, the portfolio."""
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {
        name: (hints[name], ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in list(signature.parameters.items())[1:]
    }
    return create_model(
        f"{function.__name__}_parameters",
        __base__=Parameters,
        __doc__=f"Parameters of {function.__name__}.",
        **fields,
    )


class _OneThread:
    """While any thread is within it, linear algebra runs on one thread."""

    def __init__(self) -> None:
        self._lock, self._within = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._within:
                self._limits = threadpool_limits(1, "blas")
            self._within += 1

    def __exit__(self, *problem: object) -> None:
        with self._lock:
            self._within -= 1
            if not self._within:
                self._limits.restore_original_limits()


_ONE_THREAD = _OneThread()


def _with_extent(result: R, portfolio: Portfolio) -> R:
    """The result with what its readers have to know of the days that the events cover."""
    client_id, zone = getattr(result, "client_id", None), None
    if client_id is not None:
        zone = portfolio.client(client_id).get("timezone") or portfolio.settings.default_timezone
    sentences = portfolio.extent.sentences(result.as_of, zone)
    if not portfolio.has("events") and portfolio.settings.data_until is None:
        last = portfolio.data_until
        sentences.append(
            f"no events show the last day of the data: it is {last.day} {last:%b %Y}, the last one that the other tables record"
        )
    new = [sentence for sentence in sentences if sentence not in result.warnings]
    return result.model_copy(update={"warnings": [*result.warnings, *new]}) if new else result
