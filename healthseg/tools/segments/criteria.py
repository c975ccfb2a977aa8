"""``segmentation_criteria`` as asked for: every key known, every value in its range, defaults filled in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from healthseg.clustering.mixture import METHODS
from healthseg.errors import InvalidParameters, hint
from healthseg.rules.expressions import Condition
from healthseg.settings import Settings
from healthseg.tools.segments import metrics

PARAMETER = "segmentation_criteria"
MOST_THRESHOLDS, MOST_METRICS, MOST_RULES = 50, 12, 50
USAGE_METRIC, USAGE_THRESHOLDS = "weekly_active_users_per_seat", (0.2, 0.5, 0.8)
KEYS = {
    "value": ("arr_thresholds", "include_expansion_potential", "names", "hysteresis"),
    "health": ("health_score_thresholds", "trend_weighting", "names", "hysteresis"),
    "usage": ("metric", "thresholds", "names", "hysteresis"),
    "industry": (),
    "lifecycle": (),
    "custom": ("metrics", "method", "k", "rules"),
}


def refuse(message: str, key: str, value: Any, rule: str) -> InvalidParameters:
    name = f"{PARAMETER}.{key}" if key else PARAMETER
    return InvalidParameters(
        message, parameter=name, value_provided=str(value)[:200], validation_rule=rule
    )


def checked(
    kind: str, given: Mapping[str, Any], settings: Settings, largest: int
) -> dict[str, Any]:
    """The criteria of a type with their defaults; raises InvalidParameters with the key, the value and the rule.

    >>> checked("health", {"health_score_thresholds": [50]}, Settings(), 10)["health_score_thresholds"]
    [50.0]
    """
    for key in given:
        if key not in KEYS[kind]:
            known = ", ".join(KEYS[kind]) or "no keys"
            name = str(key)[:80]
            raise refuse(
                f"unknown criterion {name!r} of type {kind}{hint(name, KEYS[kind])}",
                name,
                given[key],
                f"{kind} takes {known}",
            )
    return _CHECKS[kind](given, settings, largest)


def _value(given: Mapping[str, Any], settings: Settings, largest: int) -> dict[str, Any]:
    limits = thresholds(
        given.get("arr_thresholds"), settings.arr_thresholds, "arr_thresholds", 0, None
    )
    return {
        "arr_thresholds": limits,
        "include_expansion_potential": _boolean(given, "include_expansion_potential"),
        **_named(given, len(limits) + 1),
        "hysteresis": _number(given, "hysteresis", 0.0, 0, 1e12),
    }


def _health(given: Mapping[str, Any], settings: Settings, largest: int) -> dict[str, Any]:
    limits = thresholds(
        given.get("health_score_thresholds"), settings.band_edges, "health_score_thresholds", 0, 100
    )
    return {
        "health_score_thresholds": limits,
        "trend_weighting": _number(given, "trend_weighting", 0.0, 0, 1),
        **_named(given, len(limits) + 1),
        "hysteresis": _number(given, "hysteresis", 0.0, 0, 50),
    }


def _usage(given: Mapping[str, Any], settings: Settings, largest: int) -> dict[str, Any]:
    metric = given.get("metric", USAGE_METRIC)
    _known_metric(metric, "metric")
    if metric != USAGE_METRIC and given.get("thresholds") is None:
        raise refuse(
            f"thresholds are needed with the metric {metric!r}: the defaults are those of {USAGE_METRIC}",
            "thresholds",
            None,
            "rising numbers in the metric's unit",
        )
    limits = thresholds(given.get("thresholds"), USAGE_THRESHOLDS, "thresholds", None, None)
    return {
        "metric": metric,
        "thresholds": limits,
        **_named(given, len(limits) + 1),
        "hysteresis": _number(given, "hysteresis", 0.0, 0, 1e12),
    }


def _none(given: Mapping[str, Any], settings: Settings, largest: int) -> dict[str, Any]:
    return {}


def _custom(given: Mapping[str, Any], settings: Settings, largest: int) -> dict[str, Any]:
    if "rules" in given:
        beside = sorted(set(given) - {"rules"})
        if beside:
            raise refuse(
                f"rules don't go with {', '.join(beside)}: segments come from rules or from metrics",
                "rules",
                given["rules"],
                "either rules, or metrics with method and k",
            )
        return {"rules": _rules(given["rules"])}
    names = given.get("metrics", list(metrics.DEFAULT_CUSTOM))
    if not isinstance(names, list | tuple) or not 1 <= len(names) <= MOST_METRICS:
        rule = f"a list of 1 to {MOST_METRICS} metrics"
        raise refuse(f"metrics must be {rule}, not {str(names)[:80]!r}", "metrics", names, rule)
    for name in names:
        _known_metric(name, "metrics")
    if len(set(names)) < len(names):
        raise refuse("metrics names a metric twice", "metrics", list(names), "each metric once")
    method = given.get("method", "gaussian_mixture")
    if method not in METHODS:
        raise refuse(
            f"unknown method {str(method)[:80]!r}{hint(str(method), METHODS)}",
            "method",
            method,
            "one of " + ", ".join(METHODS),
        )
    return {"metrics": list(names), "method": method, "k": _k(given.get("k"), largest)}


def _k(k: Any, largest: int) -> int | None:
    if k is None:
        return None
    if isinstance(k, bool) or not isinstance(k, int) or not 2 <= k <= largest:
        rule = f"a whole number from 2 to max_segments ({largest}), or left out"
        raise refuse(f"k must be {rule}, not {str(k)[:80]!r}", "k", k, rule)
    return k


def _rules(given: Any) -> list[dict[str, str]]:
    shape = "a list of {name, when}"
    if not isinstance(given, list | tuple) or not 1 <= len(given) <= MOST_RULES:
        raise refuse(f"rules must be {shape}, 1 to {MOST_RULES} of them", "rules", given, shape)
    found = []
    for place, rule in enumerate(given):
        key = f"rules[{place}]"
        if not isinstance(rule, Mapping) or set(rule) != {"name", "when"}:
            raise refuse(
                f"{key} must have name and when, and nothing else", key, rule, "{name, when}"
            )
        found.append(
            {
                "name": _name(rule["name"], f"{key}.name"),
                "when": _condition(rule["when"], f"{key}.when"),
            }
        )
    if len({rule["name"] for rule in found}) < len(found):
        raise refuse(
            "two rules have one name", "rules", [rule["name"] for rule in found], "each name once"
        )
    return found


def _condition(text: Any, key: str) -> str:
    try:
        Condition(text, known=[*metrics.numbers(), *metrics.WORDS])
    except InvalidParameters as problem:
        raise refuse(problem.message, key, text, str(problem.details["validation_rule"])) from None
    return text


def thresholds(
    given: Any,
    default: Sequence[float],
    key: str,
    low: float | None,
    high: float | None,
    parameter: str | None = None,
) -> list[float]:
    """Rising, finite limits within a range; raises InvalidParameters."""
    found = list(default) if given is None else given
    span = "" if low is None else f" from {low:g}" + ("" if high is None else f" to {high:g}")
    rule = f"1 to {MOST_THRESHOLDS} rising numbers{span}, each once"
    problem = _thresholds_fault(found, low, high)
    if problem:
        name = parameter or f"{PARAMETER}.{key}"
        raise InvalidParameters(
            f"Invalid {key}: {problem}; it must be {rule}",
            parameter=name,
            value_provided=str(given)[:200],
            validation_rule=rule,
        )
    return [float(value) for value in found]


def _thresholds_fault(found: Any, low: float | None, high: float | None) -> str | None:
    if not isinstance(found, list | tuple) or not 1 <= len(found) <= MOST_THRESHOLDS:
        return f"{str(found)[:80]!r} is not such a list"
    for value in found:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            return f"{str(value)[:40]!r} is not a finite number"
        if (low is not None and value < low) or (high is not None and value > high):
            return (
                f"{value:g} is {'negative' if low == 0 and value < 0 else 'outside of its range'}"
            )
    if len(set(found)) < len(found):
        return "a threshold is repeated"
    return None if sorted(found) == list(found) else "the thresholds don't rise"


def _known_metric(name: Any, key: str) -> None:
    if name not in metrics.numbers():
        raise refuse(
            f"unknown metric {str(name)[:80]!r}{hint(str(name), metrics.numbers())}",
            key,
            name,
            "one of " + ", ".join(metrics.numbers()),
        )


def _number(given: Mapping[str, Any], key: str, default: float, low: float, high: float) -> float:
    value = given.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        rule = f"a number from {low:g} to {high:g}"
        raise refuse(f"{key} must be {rule}, not {str(value)[:80]!r}", key, value, rule)
    return float(value)


def _boolean(given: Mapping[str, Any], key: str) -> bool:
    value = given.get(key, False)
    if not isinstance(value, bool):
        raise refuse(
            f"{key} must be true or false, not {str(value)[:80]!r}", key, value, "true or false"
        )
    return value


def _named(given: Mapping[str, Any], count: int) -> dict[str, list[str] | None]:
    """Names for the segments from the lowest up, where they are given."""
    names = given.get("names")
    if names is None:
        return {"names": None}
    rule = f"{count} different names, from the lowest segment up"
    if not isinstance(names, list | tuple) or len(names) != count:
        raise refuse(f"names must be {rule}", "names", names, rule)
    found = [_name(name, "names") for name in names]
    if len(set(found)) < count:
        raise refuse(f"names must be {rule}", "names", names, rule)
    return {"names": found}


def _name(name: Any, key: str) -> str:
    rule = "text of 1 to 60 characters"
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= 60 or not name.isprintable():
        raise refuse(f"a segment's name must be {rule}, not {str(name)[:80]!r}", key, name, rule)
    return name.strip()


_CHECKS = {
    "value": _value,
    "health": _health,
    "usage": _usage,
    "industry": _none,
    "lifecycle": _none,
    "custom": _custom,
}
