"""The pages of segments: one customer's, and the whole portfolio's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from healthseg.charts.formats import is_missing
from healthseg.reports.pages.common import (
    NEXT_ACTIONS_OF_CUSTOMER,
    NO_CUSTOMER,
    largest_first,
    portfolio_about,
)
from healthseg.reports.spec import (
    Block,
    Card,
    Cell,
    Chart,
    Facts,
    Fold,
    Heading,
    Missing,
    Note,
    Page,
    Points,
    Row,
    Section,
    Table,
    Within,
)

if TYPE_CHECKING:
    from healthseg.tools.segments.result import Segmentation, SegmentPlace

METHOD = (
    "Every live customer is in exactly one segment; those that cannot be placed are in their own, "
    "with the reason",
    "A segment of fewer than {min_segment_size:number customer} joins its smaller neighbour in order, "
    "or the rest",
    "Means are unweighted, with n and Student’s interval; differences are Cliff’s delta with "
    "Mann–Whitney’s test and false-discovery control over all comparisons",
    lambda run: (
        "This run is recorded as {run.run_id}"
        if run.run.resolvable
        else "This run was {run.reason}"
    ),
)
METHOD_FACTS = {
    "Type": "{segmentation_type}",
    "At most": "{max_segments:number segment}",
}
NOISE = (
    "Measurement alone would move {migration.noise.expected_moves:number} "
    "({migration.noise.level:percent} interval {migration.noise.lower:number} to "
    "{migration.noise.upper:number})"
)


def _responses(rows: str, heading: str) -> Table:
    """How the customers of a segment respond to messages."""
    return Table(
        rows,
        {
            heading: "name:words",
            "Responded": Cell("rate:percent", bar=True),
            "Interval": "{lower:percent} to {upper:percent}",
            "Sent": "sent:number",
        },
        label=heading.lower(),
    )


HOW_TO_WORK = Facts(
    {
        "Focus": "{recommended_engagement_strategy.primary_focus}",
        "Manager’s touch": "{recommended_engagement_strategy.csm_touch_frequency}",
        "Messages": "{recommended_engagement_strategy.communication_frequency}",
        "Automation": "{recommended_engagement_strategy.automation_level}",
    }
)


def _response(segment: Row) -> tuple[Block, ...]:
    """How the customers of a segment respond to messages, within its scope."""
    return (
        Heading("How such customers respond to messages"),
        _responses("channels_detail", "Channel")
        if segment["channels_detail"]
        else Missing("Channels", reason="no messages table, or too few messages were sent"),
        _responses("content_detail", "Content"),
    )


def of_its_segment(segment: Row) -> tuple[Block, ...]:
    """How to work with a segment, for a page of one of its customers: without what concerns the others."""
    return HOW_TO_WORK, *_response(segment)


def strategy(segment: Row) -> tuple[Block, ...]:
    """What to do for a segment, within its scope."""
    return (
        HOW_TO_WORK,
        Points("recommended_actions", "{page_item:prose}", ordered=True, heading="Do now"),
        Points(
            "recommended_engagement_strategy.content_themes",
            "{page_item:prose}",
            heading="Talk about",
        ),
        *_response(segment),
        Points("escalation_criteria", "{page_item:prose}", heading="Escalate when"),
    )


# -- one customer ---------------------------------------------------------------------------------


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
        return _portfolio_cards(segmentation)
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
                "trend {customer_standing.trend}" if run.customer_standing.trend else "no trend yet"
            ),
        ),
        Card("ARR", "{customer_standing.arr:brief_money}", "a year"),
        *_certainty(segmentation.customer_standing),
        *_border(segmentation.customer_standing),
    )


def _certainty(standing: SegmentPlace) -> tuple[Card, ...]:
    if standing.certainty is None:
        return ()
    certainty = "{customer_standing.certainty:percent}"
    return (Card("Certainty", certainty, "that it belongs to this segment"),)


def _border(standing: SegmentPlace) -> tuple[Card, ...]:
    if standing.border is None or not standing.next_segment:
        return ()
    unit = {"score": "number point", "arr": "brief_money", None: "number.2 sd|sd"}
    form = unit.get(standing.metric, "number.2")
    return (
        Card(
            "To the next segment",
            f"{{customer_standing.border:{form}}}",
            "{customer_standing.next_segment}",
        ),
    )


def _standing_lead(segmentation: Segmentation) -> tuple[str, ...]:
    path = own(segmentation)
    if not path:
        return ()
    return (
        f"{{{path}.segment_name}}: {{{path}.segment_description:lower}}",
        "Not placed: {customer_standing.reason}",
    )


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
    return text, "In the whole portfolio {migration.moved:number customer} moved", NOISE


def _next(segmentation: Segmentation) -> tuple[Block, ...]:
    standing = segmentation.customer_standing
    if standing is None:
        return (Missing("What would move it", "customer_standing", NO_CUSTOMER),)
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
        Section(
            "actions",
            "What to do next?",
            blocks=(
                Missing("A customer’s next actions", "customer_standing", NO_CUSTOMER),
                replace(NEXT_ACTIONS_OF_CUSTOMER, rows="customer_standing.next_actions"),
            ),
        ),
        Section(
            "place",
            "Which segment is it in, and why?",
            _standing_lead,
            (
                Missing("A customer’s segment", "customer_standing", NO_CUSTOMER),
                Points("customer_standing.why", "{page_item:prose}"),
                Chart("standing", needs="customer_standing"),
            ),
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


# -- the portfolio --------------------------------------------------------------------------------


def _portfolio_cards(segmentation: Segmentation) -> tuple[Card, ...]:
    cards = [
        Card(
            "Customers",
            "{total_customers:number}",
            "{unplaced:total} could not be placed",
        ),
        Card("Segments", "{segments_created:number}", "by {segmentation_type:words}"),
        Card("ARR", "{total_arr:brief_money}", "a year"),
    ]
    if segmentation.pareto_analysis.top_share is not None:
        note = "of the ARR, mostly {pareto_analysis.segment}"
        cards.append(Card("Top fifth", "{pareto_analysis.top_share:percent}", note))
    if segmentation.migration is not None:
        note = "since {migration.since:day}"
        if segmentation.migration.noise is not None:
            note += "; {migration.noise.expected_moves:number} expected from noise"
        cards.append(Card("Moved", "{migration.moved:number}", note))
    return tuple(cards)


def _stability(segmentation: Segmentation) -> tuple[str, ...]:
    evidence, migration = segmentation.evidence, segmentation.migration
    if evidence is not None:
        return (
            "The segments are stable"
            if evidence.stable
            else "No stable segments: {evidence.reason}",
            "Stability {evidence.stability:number.2} (at least 0.8), silhouette {evidence.silhouette:number.2}",
            "Portfolios without groups that have the same values and correlations reach this with "
            "p = {evidence.reference_p:significant} ({evidence.reference_draws:number} were drawn)",
        )
    if migration is None or migration.noise is None:
        return (
            "These segments follow from recorded facts or thresholds: the same data give the same "
            "segments",
        )
    return (
        "With no customer changing, {migration.noise.expected_moves:number} of "
        "{total_customers:number customer} would be in another segment at the next measurement "
        "({migration.noise.method})",
    )


def _worst(segmentation: Segmentation) -> tuple[str, ...]:
    """The tier and band with the most expected churned ARR."""
    cells = segmentation.value_health_matrix or []
    losses = [cell.expected_churned_arr or 0.0 for cell in cells]
    if not any(losses):
        return ()
    cell = f"value_health_matrix[{losses.index(max(losses))}]"
    return (
        f"The most ARR is expected to churn in the tier {{{cell}.tier}}, band {{{cell}.band:Words}}: "
        f"{{{cell}.expected_churned_arr:brief_money}} of the {{{cell}.arr:brief_money}} that these customers pay, in 90 days",
        "Expected churned ARR is each customer’s probability of churn times its ARR",
    )


def _to_do(segmentation: Segmentation) -> tuple[Block, ...]:
    segments = segmentation.segments
    if not segmentation.recommended_actions and not any(
        segment.recommended_engagement_strategy for segment in segments
    ):
        return (Missing("What to do", reason="not requested"),)
    return (
        Points("recommended_actions", "{page_item:prose}", ordered=True, limit=5),
        Fold(
            "{segment_name}: {recommended_engagement_strategy.primary_focus}",
            strategy,
            "segments",
            where=lambda segment: segment["recommended_engagement_strategy"] and segment["placed"],
        ),
    )


def _moved(customer: Row) -> bool:
    known = not is_missing(customer["before"])
    return known and customer["before"] != customer["segment_name"]


PORTFOLIO = Page(
    tool="segment_customers",
    kind="Segments",
    summary="The portfolio's segments: how large they are, what sets them apart, who moved, where "
    "value and health meet, how stable they are, and what to do.",
    title="The portfolio’s segments",
    about=(portfolio_about,),
    cards=_portfolio_cards,
    sections=(
        Section("actions", "What to do next?", blocks=_to_do),
        Section(
            "segments",
            "How large are the segments, and what are they like?",
            (lambda run: "Small segments were merged: {merged:list}" if run.merged else None,),
            (
                Table(
                    "segments",
                    {
                        "Segment": Cell("segment_name", under="{segment_description}"),
                        "Customers": "customer_count:number",
                        "Share": "{percentage_of_total:number}%",
                        "ARR": "total_arr:money",
                        "Expected churned ARR, 90 days": "expected_churned_arr_90d:money",
                        "Score": "characteristics_detail.avg_health_score.mean:number",
                        "Adoption": "characteristics_detail.feature_adoption_rate.mean:percent",
                        "Tenure, months": "characteristics_detail.avg_tenure_months.mean:number",
                    },
                    label="segments",
                ),
                Chart("sizes"),
                Chart(
                    "profile",
                    Table(
                        "segments[*].characteristics_detail.*",
                        {
                            "Segment": "segment_name",
                            "Mean of": "label",
                            "Mean": "mean:number.2",
                            "From": "lower:number.2",
                            "To": "upper:number.2",
                            "n": "n:number",
                        },
                        "Means with their intervals",
                        "figures",
                    ),
                ),
            ),
        ),
        Section(
            "moved",
            "Who moved?",
            (
                "Since {migration.since:day} {migration.moved:number customer} moved, "
                "{migration.entered:number} are new, {migration.churned:number} churned, "
                "{migration.unchanged:number} are in the same segment",
                "{migration.up:number} moved up, {migration.down:number} down",
                NOISE,
                "ARR: {migration.arr_moved:brief_money} moved, {migration.arr_churned:brief_money} "
                "churned",
            ),
            (
                Missing("Who moved", "migration", "there is no earlier date"),
                Chart(
                    "flows",
                    Table(
                        "migration.flows",
                        {
                            "From": "from_segment",
                            "To": "to_segment",
                            "Customers": "customers:number",
                            "ARR": "arr:money",
                        },
                        label="moves",
                        where=lambda flow: flow["from_segment"] != flow["to_segment"],
                        sort=largest_first("customers"),
                    ),
                    needs="migration",
                ),
                Table(
                    "frames.customers",
                    {
                        "Customer": "name",
                        "From": "before",
                        "To": "segment_name",
                        "Score": "score:number",
                        "ARR": "arr:money",
                    },
                    "Who moved, the largest first",
                    "customers",
                    where=_moved,
                    sort=largest_first("arr"),
                ),
            ),
        ),
        Section(
            "value_and_health",
            "Where do value and health meet, and where may ARR churn?",
            _worst,
            (
                Chart(
                    "matrix",
                    Table(
                        "value_health_matrix",
                        {
                            "Tier": "tier",
                            "Band": "band:words",
                            "Customers": "customers:number",
                            "ARR": "arr:money",
                            "Expected churned ARR": "expected_churned_arr:money",
                        },
                        label="cells",
                    ),
                ),
                Chart("lorenz"),
            ),
        ),
        Section(
            "differences",
            "What sets segments apart, beyond what defines them?",
            (
                lambda run: (
                    "Of {insights_tried:number comparison} these are significant, after allowing "
                    "for their number"
                    if run.cross_segment_insights
                    else None
                ),
            ),
            (
                Points("cross_segment_insights", "{page_item:prose}"),
                Chart(
                    "differences",
                    Table(
                        "cross_segment_insights_detail",
                        {
                            "Metric": "metric:words",
                            "Higher": "segment",
                            "Lower": "other",
                            "Cliff’s delta": "cliffs_delta:number.2",
                            "From": "lower:number.2",
                            "To": "upper:number.2",
                            "q": "q:significant",
                        },
                        label="differences",
                    ),
                ),
            ),
        ),
        Section(
            "stability",
            "How stable are the segments?",
            _stability,
            lambda run: (
                (Chart("evidence"), *((Chart("map"),) if run.evidence.stable else ()))
                if run.evidence
                else ()
            ),
        ),
    ),
    method=METHOD,
    method_facts=METHOD_FACTS,
    portfolio=True,
)
