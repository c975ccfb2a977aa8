"""The page of one customer's segment."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from healthseg.reports.pages.common import (
    NO_CUSTOMER,
    actions_section,
    portfolio_about,
)
from healthseg.reports.pages.segments_portfolio import (
    HOW_TO_WORK,
    METHOD,
    METHOD_FACTS,
    portfolio_cards,
    response,
)
from healthseg.reports.spec import (
    Block,
    Card,
    Chart,
    Missing,
    Note,
    Page,
    Points,
    Row,
    Section,
    Within,
)

if TYPE_CHECKING:
    from healthseg.tools.segments.result import Segmentation, SegmentPlace


def of_its_segment(segment: Row) -> tuple[Block, ...]:
    """How to work with a segment, for a page of one of its customers: without what concerns the others."""
    return HOW_TO_WORK, *response(segment)


def own(segmentation: Segmentation) -> str:
    """The path of the customer's segment; empty without a customer."""
    standing = segmentation.customer_standing
    ids = [segment.segment_id for segment in segmentation.segments]
    return (
        f"segments[{ids.index(standing.segment_id)}]"
        if standing and standing.segment_id in ids
        else ""
    )


def _customer_cards(segmentation: Segmentation) -> tuple[Card, ...]:
    if segmentation.customer_standing is None:
        return portfolio_cards(segmentation)
    path = own(segmentation)
    return (
        Card(
            "Segment",
            "{customer_standing.segment_name}",
            f"{{{path}.customer_count:number customer}}, "
            f"{{{path}.percentage_of_total:number}}% of the portfolio",
        ),
        Card(
            "Score",
            "{customer_standing.score:number}",
            lambda run: (
                "capped by its notice"
                if run.customer_standing.gave_notice
                else "trend {customer_standing.trend}"
                if run.customer_standing.trend
                else "no trend yet"
            ),
        ),
        Card("ARR", "{customer_standing.arr:brief_money}"),
        *(
            ()
            if segmentation.customer_standing.gave_notice or segmentation.is_new
            else (Card("Churn in 90 days", "{customer_standing.churn_probability:percent}"),)
        ),
        *_certainty(segmentation.customer_standing),
        *_border(segmentation.customer_standing),
    )


def _certainty(standing: SegmentPlace) -> tuple[Card, ...]:
    if standing.certainty is None:
        return ()
    certainty = "{customer_standing.certainty:percent}"
    return (Card("Certainty", certainty, "that it belongs to this segment"),)


def _border(standing: SegmentPlace) -> tuple[Card, ...]:
    if standing.border is None or not standing.next_segment or standing.gave_notice:
        return ()
    unit = {"score": "number point", "arr": "brief_money", None: "number.2 sd|sd"}
    form = unit.get(standing.metric, "number.2")
    return (
        Card(
            "To the nearest border",
            f"{{customer_standing.border:{form}}}",
            f"{_side(standing)}{{customer_standing.next_segment}}",
        ),
    )


def _side(standing: SegmentPlace) -> str:
    """On which side of the nearest border it is; nothing where no single metric decides."""
    if standing.value is None or (standing.above is None and standing.up_to is None):
        return ""
    over = math.inf if standing.above is None else standing.value - standing.above
    under = math.inf if standing.up_to is None else standing.up_to - standing.value
    return "above " if over < under else "below "


def _standing_lead(segmentation: Segmentation) -> tuple[str, ...]:
    path = own(segmentation)
    if not path:
        return ()
    if not segmentation.customer_standing.placed:  # type: ignore[union-attr]
        return ("Not placed: {customer_standing.reason}",)
    return (f"{{{path}.segment_name}}: {{{path}.segment_description:lower}}",)


def _standing_blocks(segmentation: Segmentation) -> tuple[Block, ...]:
    """The figures that decide, where these are several: of a single one the lead and the chart say all."""
    standing = segmentation.customer_standing
    several = standing is not None and standing.metric is None
    why = (Points("customer_standing.why", "{page_item:prose}"),) if several else ()
    missing = Missing("A customer’s segment", "customer_standing", NO_CUSTOMER)
    if standing is not None and not standing.placed:
        return why
    return (missing, *why, Chart("standing", needs="customer_standing"))


def _before(segmentation: Segmentation) -> tuple[str, ...]:
    standing = segmentation.customer_standing
    if standing is None or standing.since is None:
        return ()
    if standing.before is None:
        text = "It was not yet a customer on {customer_standing.since:day}"
    elif standing.before == standing.segment_name:
        text = "It is in the same segment as on {customer_standing.since:day}"
    else:
        text = (
            "On {customer_standing.since:day} it was in {customer_standing.before}; "
            "now it is in {customer_standing.segment_name}"
        )
    return (text,)


def _next(segmentation: Segmentation) -> tuple[Block, ...]:
    standing = segmentation.customer_standing
    if standing is not None and not standing.placed:
        return ()
    if standing is None:
        return (Missing("What would move it", "customer_standing", NO_CUSTOMER),)
    if standing.gave_notice:
        return (Note(("It gave notice: first win it back",)),)
    if standing.what_would_move_it:
        return (Points("customer_standing.what_would_move_it", "{page_item:prose}"),)
    if standing.next_segment:
        text = (
            "The next segment is {customer_standing.next_segment}, "
            "{customer_standing.border:number.1 standard deviation} within segments away"
        )
        return (Note((text,)),)
    return (
        Missing(
            "What would move it to another segment", reason="its segment has no neighbour in order"
        ),
    )


def _works(segmentation: Segmentation) -> tuple[Block, ...]:
    path = own(segmentation)
    standing = segmentation.customer_standing
    if not path or standing is None:
        return (Missing("What works for such customers", "customer_standing", NO_CUSTOMER),)
    segment = segmentation.segment(standing.segment_id)
    if standing.gave_notice or not standing.placed:
        return ()
    if segment.recommended_engagement_strategy is None:
        return (Missing("What works for such customers", reason="not requested"),)
    lead = (
        f"For all {{{path}.customer_count:number customer}} of {{{path}.segment_name}}, "
        "this one among them"
    )
    return Note((lead,)), Within(path, of_its_segment)


CUSTOMER = Page(
    tool="segment_customers",
    kind="Segment",
    summary="One customer's segment: which one and why, what would move it, where it was before, and "
    "what works for such customers.",
    title=lambda run: (
        "{customer_standing.name}" if run.customer_standing else "The portfolio’s segments"
    ),
    about=(
        lambda run: (
            "As of {as_of:day} · {customer_standing.client_id}"
            if run.customer_standing
            else portfolio_about(run)
        ),
    ),
    cards=_customer_cards,
    sections=(
        actions_section(
            "actions",
            *("review", "score", "notice"),
            rows="customer_standing.next_actions",
            more=(Missing("A customer’s next actions", "customer_standing", NO_CUSTOMER),),
        ),
        Section(
            "place",
            "Which segment is it in, and why?",
            _standing_lead,
            _standing_blocks,
        ),
        Section("next", "What would move it to the next segment?", blocks=_next),
        Section(
            "before",
            "Where was it before?",
            _before,
            (Missing("Its earlier segment", "customer_standing.since", NO_CUSTOMER),),
        ),
        Section("strategy", "How do we work with such customers?", blocks=_works),
    ),
    method=METHOD,
    method_facts=METHOD_FACTS,
)
