"""The catalogue of metrics: one entry a metric, which panel, scorecards, models, segments, rules and pages read.

The entries lie beside the functions that count them, in the module of their subject (``METRICS``). Users
add their own with ``register``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from healthseg.errors import InvalidParameters, hint
from healthseg.metrics import (
    adoption,
    growth,
    lives,
    payments,
    people,
    profile,
    satisfaction,
    support,
    usage,
)
from healthseg.metrics.metric import REGISTERED, USES, Metric, registered_digest

SUBJECTS = (profile, usage, adoption, people, growth, lives, support, satisfaction, payments)
BUILT_IN: dict[str, Metric] = {
    metric.name: metric for subject in SUBJECTS for metric in subject.METRICS
}


def entries() -> dict[str, Metric]:
    """All metrics by name: those of the package, then those that were registered."""
    return BUILT_IN | REGISTERED


def get(name: str) -> Metric:
    """The metric of this name. Raises InvalidParameters, with the nearest name, for an unknown one.

    >>> get("seat_utilisation").label
    'Seats in use'
    """
    return _known(name, entries())


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
        for name, metric in entries().items()
        if metric.count is not None and metric.window_days is not None
    }


def derived() -> dict[str, Metric]:
    """The panel's columns that are derived from others, in the order in which they are added."""
    return {name: metric for name, metric in entries().items() if metric.derive is not None}


def columns() -> list[str]:
    """The panel's columns that the catalogue computes."""
    return [*counted(), *derived()]


def over_spans() -> dict[str, Metric]:
    """What can be counted over any spans, by its name there.

    >>> "stickiness" in over_spans(), "stickiness_30d" in over_spans()
    (True, False)
    """
    return {metric.over_spans: metric for metric in entries().values() if metric.count is not None}


def known_over_spans(names: Iterable[str]) -> list[Metric]:
    """The metrics of these names over spans. Raises InvalidParameters for an unknown one."""
    offered = over_spans()
    return [_known(name, offered) for name in names]


def _known(name: str, offered: dict[str, Metric]) -> Metric:
    if name not in offered:
        raise InvalidParameters(
            f"unknown metric {name!r}{hint(name, offered)}",
            parameter="metrics",
            value_provided=name,
            validation_rule="one of " + ", ".join(offered),
        )
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
    if metric.name in BUILT_IN or metric.over_spans in _spans_of_the_package():
        raise _refused(metric, "the name of a metric of the package cannot be used again")
    if metric.derive is None and (metric.count is None or metric.window_days is None):
        raise _refused(metric, "a metric needs derive, or count and window_days")
    REGISTERED[metric.name] = metric
    return metric


def unregister(name: str) -> None:
    """Remove a metric that was registered; unknown names are ignored."""
    REGISTERED.pop(name, None)


@contextmanager
def registered(*metrics: Metric) -> Iterator[None]:
    """Metrics that are registered within a ``with`` block only."""
    before = dict(REGISTERED)
    try:
        for metric in metrics:
            register(metric)
        yield
    finally:
        REGISTERED.clear()
        REGISTERED.update(before)


@functools.cache
def _spans_of_the_package() -> frozenset[str]:
    return frozenset(metric.over_spans for metric in BUILT_IN.values() if metric.count is not None)


def _refused(metric: Metric, rule: str) -> InvalidParameters:
    return InvalidParameters(
        f"{metric.name!r} cannot be registered: {rule}",
        parameter="metric",
        value_provided=metric.name,
        validation_rule=rule,
    )


# -- docs/metrics.md ---------------------------------------------------------------------


def markdown() -> str:
    """The metrics of the package as the tables of docs/metrics.md."""
    panel = [metric for metric in BUILT_IN.values() if metric.window_days or metric.count is None]
    spans = [metric for metric in BUILT_IN.values() if metric not in panel]
    return "\n\n".join(
        [
            "In the panel:\n\n" + _table(panel),
            "Over spans only, `[start, end)`:\n\n" + _table(spans),
        ]
    )


def with_tables(text: str) -> str:
    """The text of docs/metrics.md with the tables of the catalogue between its two comments."""
    before, _, rest = text.partition("<!-- Tables from the catalogue")
    comment, _, rest = rest.partition("-->")
    _, end, after = rest.partition("<!-- End of the tables")
    return f"{before}<!-- Tables from the catalogue{comment}-->\n\n{markdown()}\n\n{end}{after}"


def _table(metrics: list[Metric]) -> str:
    head = "| metric | label | definition | unit | better | used by |\n|---|---|---|---|---|---|"
    return "\n".join([head, *map(_row, metrics)])


def _row(metric: Metric) -> str:
    over = f" (`{metric.over_spans}` over spans)" if metric.span_name else ""
    return (
        f"| `{metric.name}`{over} | {metric.label} | {metric.definition} | {metric.unit} "
        f"| {metric.better or ''} | {', '.join(sorted(metric.uses))} |"
    )


__all__ = [
    "BUILT_IN",
    "USES",
    "Metric",
    "columns",
    "counted",
    "derived",
    "entries",
    "get",
    "known_over_spans",
    "markdown",
    "over_spans",
    "register",
    "registered",
    "registered_digest",
    "unregister",
    "used_by",
    "with_tables",
]
