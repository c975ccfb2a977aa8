"""``Metric``: everything that is known of one metric, in one frozen entry of the catalogue."""

from __future__ import annotations

import hashlib
import inspect
import pickle
from collections.abc import Callable
from dataclasses import dataclass, fields
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from healthseg.metrics.counting import Counting, Spans

Format = Literal[
    "count", "days", "hours", "money", "number", "percent", "ratio", "signed", "tickets", "word"
]
Better = Literal["higher", "lower"]
USES = frozenset({"scorecard", "churn", "segments", "rules", "pages"})
# The churn model reads these as its scorecard has them: value, points and direction.
SCORED = USES - {"churn"}
RULES_AND_PAGES = frozenset({"rules", "pages"})
ON_PAGES = frozenset({"pages"})


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A named figure of a customer: what it means, how it is counted, how readers meet it.

    A metric is either counted over spans of days (``count``, for the panel over the ``window_days`` that end with
    its date), or derived from other columns of the panel's rows (``derive``); one with neither is computed
    elsewhere and only described here (the profile's ``arr``, the score).
    """

    name: str  # the panel's column; its window is part of the name where there are several
    label: str
    unit: str  # as it follows a value, in the plural; "share…", "ratio", "1 to 5", "money" are shown as such
    definition: str = ""  # exactly what is counted, for docs/metrics.md; d is the panel's date
    question: str = ""
    format: Format = "number"
    better: Better | None = None
    missing: str = "no data"  # why it is not measured, where its tables are there
    tables: tuple[str, ...] = ("events",)  # that it rests on, the most important first
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


# What users registered in this process, in order: ``catalog.register`` alone changes it.
REGISTERED: dict[str, Metric] = {}


def registered_digest() -> str:
    """Changes with every registered metric and its code; empty where none is registered."""
    digests = "".join(metric.digest for metric in REGISTERED.values())
    return hashlib.sha256(digests.encode()).hexdigest()[:16] if digests else ""


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
