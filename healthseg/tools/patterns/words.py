"""Names and sentences of patterns: of what the data say, and of nothing else."""

from __future__ import annotations

from healthseg.clustering.bundles import PLUS
from healthseg.clustering.sequences import ARROW
from healthseg.tools.patterns.signs import BY_NAME
from healthseg.tools.patterns.study import ORDER, USED

TYPES = {
    "sequence": "feature_usage",
    "bundle": "feature_usage",
    "habit": "success",
    "risk": "risk",
    "success": "success",
}
BASIS = {
    "sequence": "takers of the next feature who had the one before at most 60 days earlier, over what is expected "
    "of customers as broad who could take it then",
    "bundle": "units that use all of it, over what volume and popularity alone give",
    "habit": "monthly rate of leaving with it over the rate without",
    "risk": "monthly rate of leaving with it over the rate without",
    "success": "monthly rate of leaving with it over the rate without",
}


def plain(feature: str) -> str:
    """A feature as a reader writes it.

    >>> plain("scheduled_exports")
    'scheduled exports'
    """
    return feature.replace("_", " ").strip()


def first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def listed(names: list[str]) -> str:
    """
    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def features_of(kind: str, key: str) -> list[str]:
    if kind == "bundle":
        return key.split(PLUS)
    if kind == "sequence" or key.startswith(ORDER):
        return key.removeprefix(ORDER).split(ARROW)
    return [key.removeprefix(USED)] if key.startswith(USED) else []


def name(kind: str, key: str) -> str:
    """A pattern's name.

    >>> name("bundle", "a_b + c"), name("habit", "uses reports")
    ('A b with c', 'Uses reports')
    """
    if kind == "sequence":
        return first_upper(", then ".join(plain(one) for one in key.split(ARROW)))
    if kind == "bundle":
        return first_upper(" with ".join(plain(one) for one in key.split(PLUS)))
    if key in BY_NAME:
        return BY_NAME[key].label
    if key.startswith(ORDER):
        return "Took up " + ", then ".join(
            plain(one) for one in key.removeprefix(ORDER).split(ARROW)
        )
    return first_upper(plain(key))


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def rate(share: float) -> str:
    return f"{100 * share:.1f} %"


def described(kind: str, key: str, row: dict) -> str:
    """What was found, in figures."""
    if kind == "sequence":
        steps = [plain(one) for one in key.split(ARROW)]
        return (
            f"{row['support']:.0f} of {row['n']:.0f} customers that could took up {listed(steps)} in this order, "
            f"each within 60 days of the one before: {row['lift']:.1f} times as often as others as broad"
        )
    if kind == "bundle":
        return (
            f"{row['support']:.0f} of {row['n']:.0f} use {listed([plain(one) for one in key.split(PLUS)])}: "
            f"{row['lift']:.1f} times as often as volume and popularity alone would bring them together"
        )
    less = row["lift"] < 1
    times = 1 / row["lift"] if less else row["lift"]
    return (
        f"{rate(row['rate_with'])} left within a month of showing it, {rate(row['rate_without'])} without: "
        f"{times:.1f} times as {'seldom' if less else 'often'} (hazard ratio {row['hazard_ratio']:.2f}, "
        f"{row['hazard_lower']:.2f} to {row['hazard_upper']:.2f}, {row['support']:.0f} of {row['n']:.0f} "
        "customers)"
    )
