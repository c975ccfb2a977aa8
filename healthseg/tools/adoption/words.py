"""What the effects of adoption say, in words that follow the adjusted figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

TOOL = "track_feature_adoption"
WHAT = {
    "adoption_vs_health_score": "the health score 90 days later",
    "adoption_vs_retention": "staying for 90 days",
    "adoption_vs_expansion": "a rise of ARR within 180 days",
}

PLAIN = {
    "log seats": "size",
    "log tenure": "tenure",
    "log person events of 28 days": "overall activity",
}


def listed(names: Sequence[str]) -> str:
    """
    >>> listed(["log seats", "tier", "quarter"])
    'log seats, tier and quarter'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def interval(low: float, high: float, level: float, form: str = ".2f") -> str:
    return f"{100 * level:.0f} %: {low:{form}} to {high:{form}}"


def equal(given: Sequence[str]) -> str:
    """What was held equal, as a reader calls it.

    >>> equal(["log seats", "log tenure", "tier"])
    'at equal size, tenure and tier'
    """
    return f"at equal {listed([PLAIN.get(name, name) for name in given])}"


def overall(
    name: str, row: Mapping[str, Any], given: Sequence[str], level: float, found: bool
) -> str:
    """One of the three overall figures, of the adopted share."""
    if not _known(row["adjusted"]):
        return f"not measured: {row['reason']}"
    figures = f"r = {row['adjusted']:.2f}, {interval(row['adjusted_lower'], row['adjusted_upper'], level)}"
    if found:
        side = "with" if row["adjusted"] > 0 else "against"
        return f"A larger adopted share goes {side} {WHAT[name]}, {equal(given)} ({figures}, n = {row['n']:,.0f})"
    raw = f"Raw it seems to (r = {row['raw']:.2f}); " if _raw_stands_out(row) else ""
    return _first_upper(
        f"{raw}{equal(given)} {_unsure('a larger adopted share', WHAT[name], row, figures)}"
    )


def staying(
    feature: str, row: Mapping[str, Any], given: Sequence[str], level: float, found: bool
) -> str:
    """Of one feature: retention rates with both n, and what remains of the difference once the rest is equal."""
    if not _known(row["adjusted"]):
        return f"not measured: {row['reason']}"
    rates = (
        f"{100 * row['adopters_retention']:.0f} % of {row['adopters_n']:,.0f} stayed where it was adopted, "
        f"{100 * row['others_retention']:.0f} % of {row['others_n']:,.0f} where it was not"
    )
    figures = f"r = {row['adjusted']:.2f}, {interval(row['adjusted_lower'], row['adjusted_upper'], level)}"
    if not found:
        raw = f"Raw, {rates}; " if _raw_stands_out(row) else ""
        return _first_upper(
            f"{raw}{equal(given)} {_unsure(f'adopting {feature}', 'staying', row, figures)}"
        )
    odds = (
        ""
        if not _known(row.get("odds_ratio"))
        else f"; odds of leaving in a month × {row['odds_ratio']:.2f} "
        f"({interval(row['odds_lower'], row['odds_upper'], level)})"
    )
    side = "staying" if row["adjusted"] > 0 else "leaving"
    return f"Adopting {feature} goes with {side} {equal(given)} ({figures}{odds}); {rates}, not adjusted"


def _unsure(what: str, outcome: str, row: Mapping[str, Any], figures: str) -> str:
    """An interval that leaves out 0 is not yet a finding where many were looked at."""
    if row["adjusted_lower"] <= 0 <= row["adjusted_upper"]:
        return f"{what} cannot be told to go with {outcome} ({figures})"
    return (
        f"{what} may go with {outcome} ({figures}), but of all that was tried chance gives as much "
        f"(q = {row['q']:.2g})"
    )


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _raw_stands_out(row: Mapping[str, Any]) -> bool:
    return _known(row.get("raw_p")) and row["raw_p"] < 0.05


def _known(value: Any) -> bool:
    return value is not None and not np.isnan(value)


def against_peers(rate: float | None, median: float | None, n: int) -> str | None:
    """
    >>> against_peers(0.56, 0.5, 34), against_peers(0.4, 0.5, 8)
    ('+12% higher adoption than the median of 34', '20% lower adoption than the median of 8')
    """
    if rate is None or not median:
        return None
    percent = round(100 * (rate / median - 1))
    if percent == 0:
        return f"the same adoption as the median of {n}"
    return (
        f"{percent:+d}% higher adoption than the median of {n}"
        if percent > 0
        else (f"{-percent}% lower adoption than the median of {n}")
    )
