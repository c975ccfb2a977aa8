"""The sentences of segment_customers."""

from __future__ import annotations

from typing import Any

from healthseg.tools.segments import metrics


def brief(amount: float | None, currency: str | None) -> str:
    """
    >>> brief(1_234_567, "EUR"), brief(None, None)
    ('EUR 1.23M', 'an unknown')
    """
    if amount is None:
        return "an unknown"
    unit = f"{currency} " if currency else ""
    for least, letter in ((1e9, "bn"), (1e6, "M"), (1e3, "k")):
        if abs(amount) >= least:
            scaled = amount / least
            return f"{unit}{scaled:.3g}{letter}" if scaled < 100 else f"{unit}{scaled:.0f}{letter}"
    return f"{unit}{amount:.0f}"


def verdict(response: Any) -> str:
    """The segmentation in a line."""
    if (
        response.evidence is not None
        and not response.evidence.stable
        and response.segments_created <= 1
    ):
        return f"No stable segments: {response.evidence.reason}"
    placed = [one for one in response.segments if one.placed]
    largest = max(placed, key=lambda one: one.customer_count, default=None)
    if largest is None:
        return f"None of {response.total_customers} customers could be placed"
    text = (
        f"{response.total_customers} customers in {len(placed)} segment{'s' if len(placed) != 1 else ''}; the largest "
        f"is {largest.segment_name} ({largest.customer_count})"
    )
    moved = response.migration
    if moved is not None:
        text += f"; {moved.moved} moved since {moved.since}"
        if moved.noise is not None:
            text += f", {moved.noise.expected_moves:.0f} of them expected from noise alone"
    unplaced = sum(response.unplaced.values())
    return text + (f"; {unplaced} could not be placed" if unplaced else "")


def customer_verdict(response: Any) -> str:
    """Where one customer stands, in a line."""
    here = response.customer_standing
    if not here.placed:
        return f"{here.name}: not placed, since {here.reason}"
    size = next(
        one.customer_count for one in response.segments if one.segment_id == here.segment_id
    )
    text = f"{here.name}: {here.segment_name}, with {size - 1} other customer{'s' if size != 2 else ''}"
    if here.border is not None and here.next_segment:
        text += f"; next is {here.next_segment}, {distance(here.metric, here.border)} away"
    if here.before is not None:
        text += (
            f"; the same as on {here.since}"
            if here.before == here.segment_name
            else f"; before, on {here.since}, {here.before}"
        )
    return text


def distance(metric: str | None, value: float) -> str:
    """How far away a border is: in the metric's unit, or in standard deviations within segments."""
    if metric is None:
        return f"{value:.1f} standard deviations"
    told = metrics.unit_of(metric)
    if told.startswith("share"):
        return f"{100 * value:.0f} percentage points"
    if told == "points":
        return f"{value:.0f} point{'s' if round(value) != 1 else ''}"
    return metrics.written(metric, value)
