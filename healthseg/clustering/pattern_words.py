"""Patterns in words: their names, from kind and key, and what their figures say, from the rules' templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from healthseg import rules
from healthseg.clustering.bundles import PLUS
from healthseg.clustering.churn_patterns import ORDER, USED
from healthseg.clustering.churn_signs import BY_NAME, TOOL
from healthseg.clustering.rhythms import hour_ranges
from healthseg.clustering.sequences import ARROW

CHURN_KINDS = ("habit", "risk", "success")
UNITS_OF_USE = {"day": "days", "hour": "hours"}
MESSAGE_NAMES = {"opened": "Opening of ", "weekday": "Messages on "}


def plain(feature: str) -> str:
    """A feature as a reader writes it.

    >>> plain("scheduled_exports")
    'scheduled exports'
    """
    return feature.replace("_", " ").strip()


def first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def listed(features: Sequence[str]) -> str:
    """
    >>> listed(["a", "b", "c_d"])
    'a, b and c d'
    """
    names = [plain(feature) for feature in features]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def in_order(features: Sequence[str]) -> str:
    return ", then ".join(plain(feature) for feature in features)


def features_of(kind: str, key: str) -> list[str]:
    """The features that a pattern is made of."""
    if kind == "bundle":
        return key.split(PLUS)
    if kind == "sequence" or key.startswith(ORDER):
        return key.removeprefix(ORDER).split(ARROW)
    return [key.removeprefix(USED)] if key.startswith(USED) else []


def pattern_type(kind: str) -> str:
    """The type of a kind of patterns in the response."""
    return _template(kind).get("type", kind)


def basis(kind: str) -> str:
    """What the lift of a kind of patterns compares."""
    return _template(kind)["basis"]


def pattern_name(kind: str, key: str) -> str:
    """A pattern's name.

    >>> pattern_name("bundle", "a_b + c"), pattern_name("habit", "uses reports")
    ('A b with c', 'Uses reports')
    """
    if kind == "temporal":
        part, value = key.split(":", 1)
        return hour_ranges([int(value)])[0] if part == "hour" else value
    if kind == "communication":
        part, value = key.split(":", 1)
        return MESSAGE_NAMES.get(part, "Messages about ") + plain(value).replace("/", ": ")
    if kind == "support":
        return f"Tickets: {plain(key)}"
    if key in BY_NAME:
        return BY_NAME[key].label
    features = features_of(kind, key)
    if kind == "bundle":
        return first_upper(" with ".join(plain(feature) for feature in features))
    if kind == "sequence":
        return first_upper(in_order(features))
    return f"Adopted {in_order(features)}" if key.startswith(ORDER) else first_upper(plain(key))


def description(kind: str, key: str, row: Mapping[str, Any]) -> str:
    """What the data say of a pattern, in figures."""
    features, lift = features_of(kind, key), row["lift"]
    figures = {**row, "features": listed(features) if features else None}
    if kind in CHURN_KINDS:
        figures["times"] = 1 / lift if lift < 1 else lift
        figures["more"] = "less" if lift < 1 else "more"
        figures["percent_with"] = 100 * row["rate_with"]
        figures["percent_without"] = 100 * row["rate_without"]
    else:
        figures["times"] = f"{lift:.1f}" if lift >= 1 else f"{lift:.2f}"
    if kind == "temporal":
        part = key.split(":")[0]
        figures["units"] = UNITS_OF_USE.get(part, "the same part of other days")
        template = "description" if row["n"] else "description_without_units"
        return rules.words(_template(kind)[template], figures)
    return rules.words(_template(kind)["description"], figures)


def insight(kind: str, key: str, row: Mapping[str, Any]) -> str | None:
    """What may be done with a pattern; ``row`` also has the figures of an order's gaps.

    None where its figures advise nothing.
    """
    if key in BY_NAME:
        return BY_NAME[key].advice
    more, features = row["lift"] > 1, features_of(kind, key)
    name = "insight"
    if kind in ("temporal", "communication"):
        name = "insight_more" if more else "insight_less"
    elif kind == "habit":
        if row["lift"] >= 1:
            return None
        name = "insight_order" if key.startswith(ORDER) else "insight"
    figures = {
        **row,
        "features": listed(features) if features else None,
        "first": plain(features[0]) if features else None,
        "second": plain(features[1]) if len(features) > 1 else None,
        "next_topic": plain(key.split(ARROW)[1]) if kind == "support" else None,
    }
    return rules.words(_template(kind)[name], figures)


def _template(kind: str) -> dict[str, str]:
    return rules.phrases(TOOL, "pattern")[kind]
