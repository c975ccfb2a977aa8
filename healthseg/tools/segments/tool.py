"""segment_customers: which customers belong together by value, usage, health, industry, lifecycle or own metrics?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from healthseg.clustering.mixture import METHODS
from healthseg.data.portfolio import Portfolio
from healthseg.errors import InvalidParameters, hint
from healthseg.metrics import catalog
from healthseg.rules.expressions import Condition
from healthseg.settings import Settings
from healthseg.tools.base import (
    MAX_NAME_CHARACTERS,
    AsOf,
    ClientId,
    Day,
    Only,
    rising_numbers,
    tool,
)
from healthseg.tools.context import CustomerContext
from healthseg.tools.segments.portfolio import SegmentOptions, segmentation
from healthseg.tools.segments.result import Segmentation

PARAMETER = "segmentation_criteria"
MOST_METRICS, MOST_RULES = 12, 50
DEFAULT_METRICS = (
    "seat_utilisation",
    "stickiness_30d",
    "sessions_per_user_per_week_28d",
    "feature_adoption_rate_30d",
)
WORDS = (
    "industry",
    "region",
    "plan",
    "stage",
    "tier",
    "payment_status",
    "currency",
    "health_trend",
)
KEYS = {
    "value": ("arr_thresholds", "include_expansion_potential", "names", "hysteresis"),
    "health": ("health_score_thresholds", "trend_weighting", "names", "hysteresis"),
    "usage": ("metric", "thresholds", "names", "hysteresis"),
    "value_and_health": ("large_arr", "health_score_thresholds"),
    "industry": (),
    "lifecycle": (),
    "custom": ("metrics", "method", "k", "rules"),
}
HYSTERESIS = {"value": 1e12, "health": 50, "usage": 1e12}

Criteria = Annotated[
    dict[str, Any],
    Field(
        description="What the type takes: thresholds, trend_weighting, metrics, method, k, rules …"
    ),
]
Type = Annotated[
    Literal["value", "usage", "health", "industry", "lifecycle", "custom", "value_and_health"],
    Field(description="Type of segmentation"),
]
MinSize = Annotated[int, Field(ge=1, description="Minimum customers per segment")]
MaxSegments = Annotated[int, Field(ge=1, le=100, description="Maximum number of segments")]
Recommendations = Annotated[bool, Field(description="Include engagement recommendations")]
Output = Annotated[Literal["detailed", "summary", "ids_only"], Field(description="Output format")]
Since = Annotated[
    Day,
    Field(
        description="Earlier date to compare with; default segment_compare_days (90) before as_of"
    ),
]


@tool
def segment_customers(
    portfolio: Portfolio,
    segmentation_criteria: Criteria,
    segment_type: Type,
    min_segment_size: MinSize = 5,
    max_segments: MaxSegments = 10,
    include_recommendations: Recommendations = True,
    output_format: Output = "detailed",
    *,
    client_id: Annotated[
        ClientId | None, Field(description="Customer whose segment is shown (omit for none)")
    ] = None,
    compare_with: Since = None,
    as_of: AsOf = None,
) -> Segmentation:
    """Which customers belong together, what sets them apart, who moved, and what works for each segment?

    Every live customer is in exactly one segment; customers that cannot be placed are in their own,
    with the reason. Segments below ``min_segment_size``, or beyond ``max_segments``, are merged with
    the smaller neighbour, or into "Other" where there is no order. ``custom`` segments by metrics are
    shown only where the evidence supports them. The run is recorded in the portfolio's ledger.
    ``output_format`` "summary" leaves out strategies and customers, "ids_only" all but these. Raises
    InvalidClientId, ClientNotFound, InvalidParameters, DataRetrievalError. Formulas and their
    sources: docs/methods.md.

    >>> from healthseg.testing import tiny_portfolio
    >>> events = [(client, f"2025-03-{day:02d} 09:00", "u1") for client in "abc" for day in range(1, 29)]
    >>> rules = {"rules": [{"name": "Old", "when": "tenure_months > 6"}]}
    >>> result = segment_customers(tiny_portfolio(events), rules, "custom", 1)
    >>> [(segment.segment_name, segment.customer_count) for segment in result.segments]
    [('Old', 3)]
    """
    date = portfolio.as_of(as_of)
    options = SegmentOptions(
        segment_type,
        checked_criteria(segment_type, segmentation_criteria, portfolio.settings, max_segments),
        min_segment_size,
        max_segments,
        include_recommendations,
        output_format,
        _earlier(portfolio, date, compare_with),
    )
    if client_id is None:
        return segmentation(portfolio, date, options)
    CustomerContext.of(portfolio, client_id, date, live=True)
    result = segmentation(portfolio, date, options)
    return result.with_part("customer_standing", result.customer(client_id))


@tool
def portfolio_segments(
    portfolio: Portfolio,
    *,
    segmentation_criteria: Criteria,
    segment_type: Type,
    min_segment_size: MinSize = 5,
    max_segments: MaxSegments = 10,
    include_recommendations: Recommendations = True,
    output_format: Output = "detailed",
    compare_with: Since = None,
    only: Only = None,
    as_of: AsOf = None,
) -> Segmentation:
    """``segment_customers`` for the portfolio's report, without a customer.

    ``only`` segments some customers alone, by the scores that they have among all. Raises InvalidParameters and DataRetrievalError.

    >>> from healthseg.testing import tiny_portfolio
    >>> events = [("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 29)]
    >>> criteria = {"rules": [{"name": "Old", "when": "tenure_months > 6"}]}
    >>> result = portfolio_segments(
    ...     tiny_portfolio(events), segmentation_criteria=criteria, segment_type="custom", min_segment_size=1
    ... )
    >>> [segment.customer_count for segment in result.segments]
    [1]
    """
    date = portfolio.as_of(as_of)
    options = SegmentOptions(
        segment_type,
        checked_criteria(segment_type, segmentation_criteria, portfolio.settings, max_segments),
        min_segment_size,
        max_segments,
        include_recommendations,
        output_format,
        _earlier(portfolio, date, compare_with),
        only,
    )
    return segmentation(portfolio, date, options)


def _earlier(portfolio: Portfolio, date: dt.date, compare_with: Any) -> dt.date | None:
    if compare_with is None:
        return None
    since = portfolio.as_of(compare_with)
    if since >= date:
        raise InvalidParameters(
            f"compare_with {since} is not before as_of {date}",
            parameter="compare_with",
            value_provided=str(compare_with),
            validation_rule="a date before as_of",
        )
    return since


# -- criteria --------------------------------------------------------------------------------


def checked_criteria(
    kind: str, criteria: Mapping[str, Any], settings: Settings, max_segments: int
) -> dict[str, Any]:
    """The criteria of a type with their defaults; raises InvalidParameters with key, value and rule.

    >>> criteria = {"health_score_thresholds": [50]}
    >>> checked_criteria("health", criteria, Settings(), 10)["health_score_thresholds"]
    [50.0]
    """
    for key in criteria:
        name, keys = str(key)[:80], KEYS[kind]
        if key not in keys:
            message = f"unknown criterion {name!r} of type {kind}{hint(name, keys)}"
            raise _invalid(
                name, criteria[key], f"{kind} takes {', '.join(keys) or 'no keys'}", message
            )
    if kind == "custom":
        return _custom(criteria, max_segments)
    if kind == "value_and_health":
        return _value_and_health(criteria, settings)
    if kind not in HYSTERESIS:
        return {}
    by_type = {"value": _value, "health": _health, "usage": _usage}
    checked = by_type[kind](criteria, settings)
    limits = next(value for value in checked.values() if isinstance(value, list))
    names = _names(criteria.get("names"), len(limits) + 1)
    margin = _number(criteria, "hysteresis", HYSTERESIS[kind])
    return checked | {"names": names, "hysteresis": margin}


def _invalid(key: str, value: Any, rule: str, message: str = "") -> InvalidParameters:
    return InvalidParameters(
        message or f"{key} must be {rule}, not {str(value)[:80]!r}",
        parameter=f"{PARAMETER}.{key}",
        value_provided=str(value)[:200],
        validation_rule=rule,
    )


def _thresholds(
    criteria: Mapping[str, Any],
    key: str,
    default: Collection[float],
    low: float | None = None,
    high: float | None = None,
) -> list[float]:
    values = criteria.get(key)
    values = list(default) if values is None else values
    return rising_numbers(values, f"{PARAMETER}.{key}", low, high)


def _value(criteria: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    potential = criteria.get("include_expansion_potential", False)
    if not isinstance(potential, bool):
        raise _invalid("include_expansion_potential", potential, "true or false")
    limits = _thresholds(criteria, "arr_thresholds", settings.arr_thresholds, 0)
    return {"arr_thresholds": limits, "include_expansion_potential": potential}


def _health(criteria: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    limits = _thresholds(criteria, "health_score_thresholds", settings.band_edges, 0, 100)
    weight = _number(criteria, "trend_weighting", 1)
    return {"health_score_thresholds": limits, "trend_weighting": weight}


def _value_and_health(criteria: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    tiers = settings.arr_thresholds
    large = criteria.get("large_arr", tiers[(len(tiers) - 1) // 2] if tiers else 0.0)
    if isinstance(large, bool) or not isinstance(large, int | float) or not 0 <= large <= 1e12:
        raise _invalid("large_arr", large, "an ARR from 0 to 1e12")
    edges = settings.band_edges[1:]
    limits = _thresholds(criteria, "health_score_thresholds", edges, 0, 100)
    return {"large_arr": float(large), "health_score_thresholds": limits}


def _usage(criteria: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    usual = settings.usage_segment_metric
    metric = _metric(criteria.get("metric", usual), "metric")
    if metric != usual and criteria.get("thresholds") is None:
        message = (
            f"thresholds are needed with the metric {metric!r}: the defaults are those of {usual}"
        )
        raise _invalid("thresholds", None, "rising numbers in the metric's unit", message)
    limits = _thresholds(criteria, "thresholds", settings.usage_segment_thresholds)
    return {"metric": metric, "thresholds": limits}


def _custom(criteria: Mapping[str, Any], max_segments: int) -> dict[str, Any]:
    if "rules" in criteria:
        beside = sorted(set(criteria) - {"rules"})
        if beside:
            message = f"rules don't go with {', '.join(beside)}: segments follow from rules or from metrics"
            rule = "either rules, or metrics with method and k"
            raise _invalid("rules", criteria["rules"], rule, message)
        return {"rules": _rules(criteria["rules"])}
    names = criteria.get("metrics", list(DEFAULT_METRICS))
    if not isinstance(names, list | tuple) or not 1 <= len(names) <= MOST_METRICS:
        raise _invalid("metrics", names, f"a list of 1 to {MOST_METRICS} metrics")
    metrics = [_metric(name, "metrics") for name in names]
    if len(set(metrics)) < len(metrics):
        raise _invalid("metrics", metrics, "each metric once", "metrics names a metric twice")
    method, k = criteria.get("method", "gaussian_mixture"), criteria.get("k")
    if method not in METHODS:
        message = f"unknown method {str(method)[:80]!r}{hint(str(method), METHODS)}"
        raise _invalid("method", method, "one of " + ", ".join(METHODS), message)
    is_integer = isinstance(k, int) and not isinstance(k, bool)
    if k is not None and not (is_integer and 2 <= k <= max_segments):
        rule = f"a whole number from 2 to max_segments ({max_segments}), or left out"
        raise _invalid("k", k, rule)
    return {"metrics": metrics, "method": method, "k": k}


def _rules(rules: Any) -> list[dict[str, str]]:
    shape = f"a list of {{name, when}}, 1 to {MOST_RULES} of them"
    if not isinstance(rules, list | tuple) or not 1 <= len(rules) <= MOST_RULES:
        raise _invalid("rules", rules, shape)
    checked = []
    for position, rule in enumerate(rules):
        key = f"rules[{position}]"
        if not isinstance(rule, Mapping) or set(rule) != {"name", "when"}:
            message = f"{key} must have name and when, and nothing else"
            raise _invalid(key, rule, "{name, when}", message)
        _condition(rule["when"], f"{key}.when")
        checked.append({"name": _name(rule["name"], f"{key}.name"), "when": rule["when"]})
    names = [rule["name"] for rule in checked]
    if len(set(names)) < len(names):
        raise _invalid("rules", names, "each name once", "two rules have one name")
    return checked


def _condition(text: Any, key: str) -> None:
    try:
        Condition(text, known=[*_metrics(), *WORDS])
    except InvalidParameters as problem:
        rule = str(problem.details["validation_rule"])
        raise _invalid(key, text, rule, problem.message) from None


def _metrics() -> list[str]:
    """Every number by which customers can be segmented."""
    return sorted(metric.name for metric in catalog.used_by("segments"))


def _metric(name: Any, key: str) -> str:
    known = _metrics()
    if name not in known:
        message = f"unknown metric {str(name)[:80]!r}{hint(str(name), known)}"
        raise _invalid(key, name, "one of " + ", ".join(known), message)
    return name


def _number(criteria: Mapping[str, Any], key: str, high: float) -> float:
    value = criteria.get(key, 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high:
        raise _invalid(key, value, f"a number from 0 to {high:g}")
    return float(value)


def _names(names: Any, count: int) -> list[str] | None:
    """Names of the segments from the lowest up, where they are given."""
    if names is None:
        return None
    rule = f"{count} different names, from the lowest segment up"
    if not isinstance(names, list | tuple) or len(names) != count:
        raise _invalid("names", names, rule)
    checked = [_name(name, "names") for name in names]
    if len(set(checked)) < count:
        raise _invalid("names", names, rule)
    return checked


def _name(name: Any, key: str) -> str:
    rule = "text of 1 to 60 characters"
    if (
        not isinstance(name, str)
        or not 1 <= len(name.strip()) <= MAX_NAME_CHARACTERS
        or not name.isprintable()
    ):
        raise _invalid(key, name, rule, f"a segment's name must be {rule}, not {str(name)[:80]!r}")
    return name.strip()
