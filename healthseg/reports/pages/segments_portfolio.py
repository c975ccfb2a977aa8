"""The page of the portfolio's segments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from healthseg.charts.formats import is_missing
from healthseg.reports.pages.common import (
    FIRST_ACTIONS,
    largest_first,
    portfolio_about,
)
from healthseg.reports.spec import (
    LARGEST,
    Block,
    Card,
    Cell,
    Chart,
    Facts,
    Fold,
    Heading,
    Missing,
    Page,
    Points,
    Row,
    Section,
    Table,
)
from healthseg.tools.segmentation import NOT_PLACED

if TYPE_CHECKING:
    from healthseg.tools.segments.result import Segmentation

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
    "Type": "{segmentation_type:words}",
    "At most": "{max_segments:number segment}",
}
NOISE = (
    "Measurement alone would move {migration.noise.expected_moves:number} of them ({migration.noise.level:percent} interval "
    "{migration.noise.lower:number} to {migration.noise.upper:number})"
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


def response(segment: Row) -> tuple[Block, ...]:
    """How the customers of a segment respond to messages, within its scope."""
    return (
        Heading("How such customers respond to messages"),
        _responses("channels_detail", "Channel")
        if segment["channels_detail"]
        else Missing("Channels", reason="no messages table, or too few messages were sent"),
        _responses("content_detail", "Content"),
    )


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
        *response(segment),
        Points("escalation_criteria", "{page_item:prose}", heading="Escalate when"),
    )


def _worst(segmentation: Segmentation) -> str:
    """The path of the segment with the most expected churned ARR; empty where none is known."""
    losses = [segment.expected_churned_arr_90d or 0.0 for segment in segmentation.segments]
    return f"segments[{losses.index(max(losses))}]" if any(losses) else ""


def portfolio_cards(segmentation: Segmentation) -> tuple[Card, ...]:
    worst, migration = _worst(segmentation), segmentation.migration
    cards = [Card("Customers", "{total_customers:number}", "{unplaced:total} not placed yet")]
    apart = [f"segments[{at}]" for at, row in enumerate(segmentation.segments) if not row.placed]
    note = "in {segments_created:number segment}"
    if apart:
        note = f"{{{apart[0]}.total_arr:brief_money}} of it in none of {{segments_created:number segment}}"
    cards.append(Card("ARR", "{total_arr:brief_money}", note))
    if worst:
        note = f"of {{{worst}.total_arr:brief_money}} ARR may churn in 90 days"
        cards.append(
            Card(
                f"{{{worst}.segment_name}}",
                f"{{{worst}.expected_churned_arr_90d:brief_money}}",
                note,
            )
        )
    if migration is not None and migration.up is not None:
        cards.append(Card("Moved up", "{migration.up:number}", "since {migration.since:day}"))
        note = "and {migration.churned:number} churned"
        cards.append(Card("Moved down", "{migration.down:number}", note))
    elif migration is not None:
        cards.append(Card("Moved", "{migration.moved:number}", "since {migration.since:day}"))
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
        return ("The same data give the same segments: they follow from recorded facts",)
    return (
        "{migration.moved:number customer} moved since {migration.since:day}",
        NOISE + ": what goes beyond that is real change",
    )


def _losing(segmentation: Segmentation) -> tuple[str, ...]:
    """The segment that may lose most ARR, and the one that may lose the largest part of its own."""
    worst = _worst(segmentation)
    shares = [
        (segment.expected_churned_arr_90d or 0.0) / segment.total_arr if segment.total_arr else 0.0
        for segment in segmentation.segments
    ]
    riskiest = f"segments[{shares.index(max(shares))}]" if any(shares) else ""
    return (
        f"{{{worst}.segment_name}} may lose most: {{{worst}.expected_churned_arr_90d:brief_money}} of the "
        f"{{{worst}.total_arr:brief_money}} that its {{{worst}.customer_count:number customer}} pay is expected to churn in 90 days"
        if worst
        else "",
        f"{{{riskiest}.segment_name}} runs the highest risk: {{{riskiest}.expected_churned_arr_90d:brief_money}} of "
        f"{{{riskiest}.total_arr:brief_money}}"
        if riskiest and riskiest != worst
        else "",
        "Small segments were merged: {merged:list}" if segmentation.merged else "",
    )


def _worst_cell(segmentation: Segmentation) -> tuple[str, ...]:
    """The tier and band with the most expected churned ARR."""
    cells = segmentation.value_health_matrix or []
    losses = [cell.expected_churned_arr or 0.0 for cell in cells]
    if not any(losses):
        return ()
    cell = f"value_health_matrix[{losses.index(max(losses))}]"
    return (
        f"Start with {{{cell}.tier}} customers of the band {{{cell}.band:Words}}: {{{cell}.expected_churned_arr:brief_money}} of "
        f"the {{{cell}.arr:brief_money}} that {{{cell}.customers:number}} of them pay is expected to churn in 90 days",
    )


def _to_do(segmentation: Segmentation) -> tuple[Block, ...]:
    segments = segmentation.segments
    if not segmentation.recommended_actions and not any(
        segment.recommended_engagement_strategy for segment in segments
    ):
        return (Missing("What to do", reason="not requested"),)
    return (
        FIRST_ACTIONS,
        Fold(
            "How to work with {segment_name}: {recommended_engagement_strategy.primary_focus:lower}",
            strategy,
            "segments",
            where=lambda segment: segment["recommended_engagement_strategy"] and segment["placed"],
        ),
    )


def _moved(customer: Row) -> bool:
    placed = customer["placed"] and customer["before"] != NOT_PLACED
    return (
        placed
        and not is_missing(customer["before"])
        and customer["before"] != customer["segment_name"]
    )


def _movements(segmentation: Segmentation) -> tuple[str, ...]:
    migration = segmentation.migration
    if migration is None:
        return ()
    rows = segmentation.frame("customers").to_dict("records")
    amounts = {at: row["arr"] for at, row in enumerate(rows) if _moved(row) and row["arr"] > 0}
    largest = max(amounts, key=lambda at: amounts[at], default=None)
    alone = len(amounts) > 1 and max(amounts.values()) > sum(amounts.values()) / 3
    return (
        "Since {migration.since:day} {migration.moved:number customer} with {migration.arr_moved:brief_money} ARR moved: "
        "{migration.up:number} up, {migration.down:number} down"
        if migration.up is not None
        else "Since {migration.since:day} {migration.moved:number customer} moved",
        f"{{frames.customers[{largest}].name}} alone pays {{frames.customers[{largest}].arr:brief_money}} of it, and moved from "
        f"{{frames.customers[{largest}].before}} to {{frames.customers[{largest}].segment_name}}"
        if alone and migration.up is not None
        else "",
        "{migration.entered:number} are new, {migration.newly_placed:number} got their first score, "
        "{migration.churned:number} churned"
        if migration.newly_placed
        else "{migration.entered:number} are new, {migration.churned:number} churned",
    )


PROFILE = Chart(
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
)
DIFFERENCES = (
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
)


PORTFOLIO = Page(
    tool="segment_customers",
    kind="Segments",
    summary="The portfolio's segments: what each pays and may lose, what sets them apart, who moved, where "
    "value and health meet, how stable they are, and what to do.",
    title="The portfolio’s segments",
    about=(portfolio_about,),
    cards=portfolio_cards,
    sections=(
        Section("actions", "What to do next?", blocks=_to_do),
        Section(
            "segments",
            "What does each segment pay, and what may it lose?",
            _losing,
            (
                Table(
                    "segments",
                    {
                        "Segment": Cell("segment_name", under="{segment_description}"),
                        "Customers": "customer_count:number",
                        "ARR": "total_arr:brief_money",
                        "Of the ARR": Cell("{percentage_of_arr:number}%", bar=LARGEST),
                        "Expected churned ARR, 90 days": "expected_churned_arr_90d:brief_money",
                        "Score": "characteristics_detail.avg_health_score.mean:number",
                        "Features adopted": "characteristics_detail.feature_adoption_rate.mean:percent",
                        "Seats in use": "characteristics_detail.seat_utilisation.mean:percent",
                    },
                    label="segments",
                ),
            ),
        ),
        Section(
            "apart",
            "What sets the segments apart?",
            blocks=lambda run: (
                PROFILE,
                *(
                    (Fold("What sets them apart beyond what defines them", DIFFERENCES),)
                    if run.cross_segment_insights
                    else ()
                ),
            ),
        ),
        Section(
            "value_and_health",
            "Which tier and band may lose most?",
            _worst_cell,
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
            ),
        ),
        Section(
            "moved",
            "Who moved?",
            _movements,
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
                        "ARR": "arr:brief_money",
                    },
                    "Who moved, the largest first",
                    "customers",
                    where=_moved,
                    sort=largest_first("arr"),
                ),
            ),
        ),
        Section(
            "stability",
            "Is that real change, or measurement?",
            _stability,
            lambda run: (
                (Chart("evidence"), *((Chart("map"),) if run.evidence.stable else ()))
                if run.evidence
                else ()
            ),
        ),
    ),
    method=METHOD,
    method_facts={
        **METHOD_FACTS,
        "Comparisons beyond what defines them": "{insights_tried:number}",
    },
    sure=(
        lambda run: (
            "Beyond what defines the segments, none of {insights_tried:number comparison} is significant"
            if run.insights_tried and not run.cross_segment_insights
            else ""
        ),
    ),
    portfolio=True,
)
