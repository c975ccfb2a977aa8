"""Pictures the size of a word, written directly as SVG: a sparkline, and the strip of bands with a score on it."""

from __future__ import annotations

import html
from collections.abc import Sequence

from healthseg.charts import theme


def _paint(colour: str) -> str:
    return f"var(--hs-{theme.VARIABLES[colour]},{colour})" if colour in theme.VARIABLES else colour


def sparkline(
    values: Sequence[float | None],
    label: str,
    least: float = 20.0,
    width: int = 62,
    height: int = 24,
) -> str:
    """A line of past values, its last one as a dot; empty where fewer than two are known.

    The range is the values' own, but never less than ``least``: noise must not look like a fall.
    """
    known = [float(value) for value in values if value is not None and value == value]
    if len(known) < 2:
        return ""
    room = max(0.0, least - (max(known) - min(known))) / 2
    low, high = min(known) - room, max(known) + room
    step = (width - 8) / (len(values) - 1)
    points = [
        None
        if value is None or value != value
        else (4 + step * at, height - 4 - (height - 8) * (float(value) - low) / (high - low))
        for at, value in enumerate(values)
    ]
    runs: list[list[str]] = [[]]
    for point in points:
        runs[-1].append(f"{point[0]:.1f},{point[1]:.1f}") if point else runs.append([])
    lines = "".join(f'<polyline points="{" ".join(run)}"/>' for run in runs if len(run) > 1)
    last = next(point for point in reversed(points) if point)
    return (
        f'<svg class="hs-spark" role="img" aria-label="{html.escape(label)}" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}"><g fill="none" stroke="{_paint(theme.SOFT)}" stroke-width="1.75" '
        f'stroke-linejoin="round">{lines}</g>'
        f'<circle cx="{last[0]:.1f}" cy="{last[1]:.1f}" r="3.2" fill="{_paint(theme.INK)}"/></svg>'
    )


def strip(
    score: float | None,
    lower: float | None,
    upper: float | None,
    label: str,
    edges: tuple[float, float, float] = (40.0, 60.0, 80.0),
) -> str:
    """The four bands from 0 to 100 with the score on them, and the range that the missing inputs allow."""
    bounds = (0.0, *edges, 100.0)
    blocks = "".join(
        f'<rect x="{low * 6 + 1:.1f}" y="14" width="{(high - low) * 6 - 2:.1f}" height="10" rx="2" '
        f'fill="{_paint(theme.BAND_COLOURS[band])}"/>'
        for band, low, high in zip(theme.BANDS, bounds[:-1], bounds[1:], strict=True)
    )
    span = ""
    if lower is not None and upper is not None and lower == lower and upper == upper:
        span = (
            f'<path d="M{lower * 6:.1f},31v6M{lower * 6:.1f},34H{upper * 6:.1f}M{upper * 6:.1f},31v6" fill="none" '
            f'stroke="{_paint(theme.SOFT)}" stroke-width="2"/>'
        )
    dot = (
        ""
        if score is None or score != score
        else (
            f'<circle cx="{float(score) * 6:.1f}" cy="19" r="9" fill="{_paint(theme.INK)}" '
            f'stroke="{_paint(theme.PAPER)}" stroke-width="3"/>'
        )
    )
    name = f'role="img" aria-label="{html.escape(label)}"'
    return f'<svg class="hs-strip" {name} viewBox="-12 4 624 36">{blocks}{span}{dot}</svg>'
