"""One customer's segment: why it is there, how far the border is, what would move it, where it was before."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.scoring.overrides import why_no_scores
from healthseg.tools.base import Figure
from healthseg.tools.next_actions import NextActions
from healthseg.tools.segmentation import beside
from healthseg.tools.segmenters import border_distance, label, written
from healthseg.tools.segments.result import SegmentPlace
from healthseg.tools.values import integer, number, rounded, word

if TYPE_CHECKING:
    from healthseg.tools.segmentation import MergedSegment
    from healthseg.tools.segments.portfolio import SegmentationBuilder

HEALTH_TOOL = "calculate_health_score"


def customer_frame(build: SegmentationBuilder) -> pd.DataFrame:
    """A row per customer: its segment, value, certainty and border, its segment before, unrounded."""
    context, segmented, now = build.context, build.segmented, build.context.live
    part = segmented.number.map(dict(enumerate(segmented.segments)))
    nearest = [_nearest(build, client, part[client]) for client in now.index]
    frame = pd.DataFrame(
        {
            "client_id": now.index,
            "name": context.names.astype(str),
            "segment_id": part.map(lambda segment: segment.id),
            "segment_name": part.map(lambda segment: segment.name),
            "placed": part.map(lambda segment: segment.placed),
            "reason": segmented.placement.reason,
            "value": segmented.placement.value.astype(float),
            "certainty": np.array([row[0] for row in nearest], dtype=float),
            "next_segment": [row[1] for row in nearest],
            "border": np.array([row[2] for row in nearest], dtype=float),
            "before": None if build.before is None else build.before.reindex(now.index),
            "arr": context.money.amounts.astype(float),
            "score": now["shown"].astype(float),
            "no_score": why_no_scores(now, context.settings),
            "trend": context.trends["trend"],
            "currency": context.money.currency or context.money.by_currency,
            "expected_churned_arr": context.expected_churned_arr.astype(float),
        },
        index=now.index,
    )
    return frame.join(_coordinates(build)).reset_index(drop=True)


def _nearest(
    build: SegmentationBuilder, client: str, segment: MergedSegment
) -> tuple[float | None, str | None, float | None]:
    """Certainty, the nearest other segment, and the distance to the border with it."""
    segmented, groups = build.segmented, build.segmented.placement.groups
    position = int(segmented.number[client])
    if groups is not None and client in groups.index:
        row, grouping = groups.loc[client], segmented.segmenter.grouping
        several = grouping is not None and grouping.groups > 1
        other = segmented.of_base.get(int(row["next_group"])) if several else None
        if other is None or other == position:
            return float(row["certainty"]), None, None
        return float(row["certainty"]), segmented.segments[other].name, number(row["border"])
    value = number(segmented.placement.value[client])
    ends = ((segment.low, -1), (segment.high, 1)) if segment.placed else ()
    ways = [(abs(value - end), step) for end, step in ends if end is not None and value is not None]
    if not ways:
        return None, None, None
    distance, step = min(ways)
    nearest = beside(segmented.segments, position, step)
    return None, None if nearest is None else nearest.name, float(distance)


def _coordinates(build: SegmentationBuilder) -> pd.DataFrame:
    """Two coordinates of grouped customers: the directions in which the groups' centres lie farthest apart."""
    live, grouping = build.context.live, build.segmented.segmenter.grouping
    frame = pd.DataFrame({"x": np.nan, "y": np.nan}, index=live.index)
    mixture = None if grouping is None else grouping.evidence.mixture
    if grouping is None or mixture is None or grouping.groups < 2 or grouping.placed.empty:
        return frame
    rows = live.loc[grouping.placed.index]
    columns = [scale.of(rows[scale.metric].to_numpy(dtype=float)) for scale in grouping.scales]
    centres = mixture.centres @ mixture.whitener
    middle = (centres * mixture.shares[:, None]).sum(axis=0)
    weighted = (centres - middle) * np.sqrt(mixture.shares)[:, None]
    axes = np.linalg.svd(weighted, full_matrices=True)[2]
    flat = (mixture.whitened(np.column_stack(columns)) - middle) @ axes[:2].T
    flat = np.c_[flat, np.zeros(len(flat))][:, :2]
    flat *= np.where(np.abs(flat).max(axis=0) == flat.max(axis=0), 1, -1)
    frame.loc[rows.index] = flat
    return frame


def _too_new(build: SegmentationBuilder, row: dict[str, Any]) -> str | None:
    """Of a customer that is too new for a score: when it gets a segment."""
    if not word(row["reason"]) or row["reason"] != row["no_score"]:
        return None
    tenure = number(build.context.live.loc[row["client_id"]].get("tenure_days"))
    least = [
        each.below
        for each in build.context.settings.overrides.values()
        if each.provisional and each.metric == "tenure_days" and each.below is not None
    ]
    if tenure is None or not least or tenure >= max(least):
        return None
    day = build.context.as_of + dt.timedelta(days=math.ceil(max(least) - tenure))
    return f"too new for a segment; it gets one on {day.day} {day:%b %Y}"


def customer_segment(build: SegmentationBuilder, row: dict[str, Any]) -> SegmentPlace:
    """A customer's place from its row of the frame ``customers``."""
    segmented, client = build.segmented, row["client_id"]
    segmenter, position = segmented.segmenter, int(segmented.number[client])
    segment, value = segmented.segments[position], number(row["value"])
    low, high = (segment.low, segment.high) if segment.placed else (None, None)
    no_border = "its segment has no neighbour in order, or it is not placed"
    return SegmentPlace(
        client_id=client,
        name=row["name"],
        segment_id=segment.id,
        segment_name=segment.name,
        placed=segment.placed,
        reason=_too_new(build, row) or word(row["reason"]),
        metric=Figure(segmenter.metric, "no single metric decides"),
        value=Figure(rounded(value), "no single metric decides, or it is not measured"),
        above=Figure(low, "its segment has no lower limit"),
        up_to=Figure(high, "its segment has no upper limit"),
        certainty=Figure(rounded(row["certainty"]), "only groups have a certainty"),
        next_segment=Figure(word(row["next_segment"]), no_border),
        border=Figure(rounded(row["border"]), no_border),
        before=Figure(word(row["before"]), "it was not a customer then, or then is not known"),
        since=Figure(build.since, "the portfolio begins later"),
        arr=Figure(rounded(row["arr"], 2), "no ARR is known, or its currency has no rate"),
        score=Figure(integer(row["score"]), row["no_score"]),
        trend=Figure(word(row["trend"]), "too few scores for a trend"),
        gave_notice=bool(build.context.churn["gave_notice"].get(client)),
        churn_probability=Figure(
            rounded(number(build.context.churn["probability"].get(client))),
            "the portfolio has no rate of churn",
        ),
        why=_why(build, client, value, segment),
        what_would_move_it=_movers(build, client, value, position),
        next_actions=NextActions.of(build.context.portfolio, build.context.as_of).shown(client),
    )


def _why(
    build: SegmentationBuilder, client: str, value: float | None, segment: MergedSegment
) -> list[str]:
    segmenter, row = build.segmented.segmenter, build.context.live.loc[client]
    if segmenter.metric is not None and value is not None:
        shown = written(segmenter.metric, value)
        return [f"{label(segmenter.metric)}: {shown} ({segment.description})"]
    values = {name: row[name] for name in sorted(segmenter.ingredients) if name in row.index}
    return [
        f"{label(name)}: {value if isinstance(value, str) else written(name, number(value))}"
        for name, value in values.items()
    ]


def _movers(
    build: SegmentationBuilder, client: str, value: float | None, position: int
) -> list[str]:
    """What would have to change: the distance to the neighbours, and for health the risks to the score."""
    segmented, sentences = build.segmented, []
    if build.context.churn["gave_notice"].get(client):
        return []
    segmenter, segment = segmented.segmenter, segmented.segments[position]
    ends = ((segment.high, 1, "up"), (segment.low, -1, "down"))
    for end, step, side in ends if segmenter.ranks is not None and segment.placed else ():
        other = beside(segmented.segments, position, step)
        if value is not None and end is not None and other is not None:
            distance = border_distance(segmenter.metric, abs(value - end))
            sentences.append(f"{distance} {side} to {other.name}")
    if segmenter.metric != "score":
        return sentences
    figures = NextActions.of(build.context.portfolio, build.context.as_of).figures(client)
    risks = rules.triggered(HEALTH_TOOL, "risk", figures, build.context.settings.rules)
    return sentences + [
        f"Holds it back: {rule.text}" for rule in risks[: build.context.settings.segment_max_risks]
    ]
