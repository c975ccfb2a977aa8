"""The page of the book's segments: a function for each question that its reader has."""

from __future__ import annotations

from typing import Any

from healthseg.charts import formats
from healthseg.faces.books import open_book
from healthseg.faces.html import page
from healthseg.faces.html.page import (
    Card,
    Column,
    Html,
    figure,
    fold,
    footer,
    joined,
    lines,
    missing,
    paragraph,
    prose,
    safe,
    table,
)

__all__ = [
    "apart",
    "at_risk",
    "footer",
    "method",
    "moved",
    "open_book",
    "opening",
    "segments",
    "stable",
    "to_do",
]


def opening(reply: Any) -> Html:
    """The book, as of when, the verdict, and its figures at a glance."""
    return page.book_opening(reply, "Segments", "The book’s segments", _cards(reply))


def _cards(reply: Any) -> list[Card]:
    pareto, moved = reply.pareto_analysis, reply.migration
    found = [
        Card(
            "Customers",
            formats.number(reply.total_customers),
            f"{formats.number(sum(reply.unplaced.values()))} could not be placed",
        ),
        Card(
            "Segments",
            formats.number(reply.segments_created),
            f"by {formats.words(reply.segmentation_type)}",
        ),
        Card("ARR", formats.brief_money(reply.total_arr, reply.currency), "a year"),
    ]
    if pareto.top_share is not None:
        found.append(
            Card(
                "Top fifth",
                formats.percent(pareto.top_share),
                f"of the ARR, mostly {pareto.segment}",
            )
        )
    if moved is not None:
        note = f"since {formats.day(moved.since)}"
        if moved.noise is not None:
            note += f"; {moved.noise.expected_moves:.0f} expected from noise"
        found.append(Card("Moved", formats.number(moved.moved), note))
    return found


def segments(reply: Any) -> Html:
    """Which segments are there, how large, and what are they like?"""
    rows = [
        {
            "segment": one.segment_name,
            "description": one.segment_description,
            "customers": one.customer_count,
            "share": one.percentage_of_total / 100,
            "arr": one.total_arr,
            "loss": one.expected_arr_lost_90d,
            **{name: told.mean for name, told in one.characteristics_detail.items()},
        }
        for one in reply.segments
    ]
    columns = [
        Column(
            "segment",
            "Segment",
            markup=lambda row: f"{safe(row['segment'])}<small>{safe(row['description'])}</small>",
        ),
        Column("customers", "Customers", formats.number, True),
        Column("share", "Share", formats.percent, True),
        Column("arr", _money("ARR", reply), formats.money, True),
        Column("loss", "Expected loss, 90 days", formats.money, True),
        Column("avg_health_score", "Score", formats.number, True),
        Column("feature_adoption_rate", "Adoption", formats.percent, True),
        Column("avg_tenure_months", "Tenure, months", formats.number, True),
    ]
    merged = "; ".join(reply.merged)
    lead = f"Small ones were put together: {merged}." if merged else ""
    return Html(
        (paragraph(lead, "lead") if lead else "")
        + table(rows, columns, label="segments")
        + figure(reply, "sizes")
        + figure(reply, "profile", _profile(reply)),
        lead,
    )


def _money(name: str, reply: Any) -> str:
    return f"{name}, {reply.currency}" if reply.currency else name


def _profile(reply: Any) -> str:
    """The means of each segment with n and interval, as a table."""
    rows = [
        {
            "segment": one.segment_name,
            "figure": told.label,
            "mean": told.mean,
            "n": told.n,
            "lower": told.lower,
            "upper": told.upper,
            "unit": told.unit,
        }
        for one in reply.segments
        for told in one.characteristics_detail.values()
    ]
    columns = [
        Column("segment", "Segment"),
        Column("figure", "Mean of"),
        Column("mean", "Mean", lambda value: _figure(value), True),
        Column("lower", "From", lambda value: _figure(value), True),
        Column("upper", "To", lambda value: _figure(value), True),
        Column("n", "n", formats.number, True),
    ]
    return table(
        rows, columns, f"Means with {100 * reply.interval_level:.0f} % intervals", "figures"
    )


def _figure(value: Any) -> str:
    return formats.number(value, 2 if not formats.is_missing(value) and abs(value) < 10 else 0)


def moved(reply: Any) -> Html:
    """Who moved?"""
    if reply.migration is None:
        return Html(
            missing("Who moved", reply.not_measured.get("$.migration", "there is no earlier date"))
        )
    found = reply.migration
    said = [
        f"Since {formats.day(found.since)}: {found.moved} moved, {found.entered} are new, {found.left} left, "
        f"{found.stayed} stayed"
    ]
    if found.up is not None:
        said.append(f"{found.up} went up, {found.down} down")
    if found.noise is not None:
        said.append(
            f"Measurement alone would move {found.noise.expected_moves:.0f} "
            f"({100 * found.noise.level:.0f} %: {found.noise.lower:.0f} to {found.noise.upper:.0f})"
        )
    if found.arr_moved is not None:
        said.append(
            f"ARR: {formats.brief_money(found.arr_moved, reply.currency)} moved, "
            f"{formats.brief_money(found.arr_left, reply.currency)} left"
        )
    rows = [
        {"from": one.from_segment, "to": one.to_segment, "customers": one.customers, "arr": one.arr}
        for one in found.flows
        if one.from_segment != one.to_segment
    ]
    rows.sort(key=lambda row: -row["customers"])
    columns = [
        Column("from", "From"),
        Column("to", "To"),
        Column("customers", "Customers", formats.number, True),
        Column("arr", _money("ARR", reply), formats.money, True),
    ]
    people = reply.frame("customers")
    gone = people[people["before"].notna() & (people["before"] != people["segment_name"])]
    who = table(
        gone.sort_values("arr", ascending=False, na_position="last").to_dict("records"),
        [
            Column("name", "Customer"),
            Column("before", "From"),
            Column("segment_name", "To"),
            Column("score", "Score", formats.number, True),
            Column("arr", _money("ARR", reply), formats.money, True),
        ],
        "Who moved, the largest first",
        "customers",
    )
    lead = joined(*said)
    return Html(
        paragraph(lead, "lead") + figure(reply, "flows", table(rows, columns, label="moves")) + who,
        lead,
    )


def at_risk(reply: Any) -> Html:
    """Where do value and health meet, and where is ARR at risk?"""
    cells = [cell.model_dump() for cell in reply.value_health_matrix or []]
    columns = [
        Column("tier", "Tier"),
        Column("band", "Band", formats.words),
        Column("customers", "Customers", formats.number, True),
        Column("arr", _money("ARR", reply), formats.money, True),
        Column("expected_loss", "Expected loss", formats.money, True),
    ]
    worst = max(
        (cell for cell in cells if cell["expected_loss"]),
        key=lambda cell: cell["expected_loss"],
        default=None,
    )
    lead = (
        ""
        if worst is None
        else f"Most is expected to be lost among {worst['tier']} customers that are {formats.words(worst['band'])}: "
        f"{formats.brief_money(worst['expected_loss'], reply.currency)} of "
        f"{formats.brief_money(worst['arr'], reply.currency)} in 90 days. Expected is each customer's probability of "
        "leaving times its ARR."
    )
    return Html(
        (paragraph(lead, "lead") if lead else "")
        + figure(reply, "matrix", table(cells, columns, label="cells"))
        + figure(reply, "lorenz"),
        lead,
    )


def apart(reply: Any) -> Html:
    """What sets segments apart, beyond what they were made of?"""
    told = lines(prose(text) for text in reply.cross_segment_insights)
    lead = (
        f"Of {reply.insights_tried} comparisons these stand, after allowing for their number."
        if reply.cross_segment_insights
        else ""
    )
    rows = [one.model_dump() for one in reply.cross_segment_insights_detail]
    columns = [
        Column("measure", "Measure", formats.words),
        Column("segment", "Higher"),
        Column("other", "Lower"),
        Column("cliffs_delta", "Cliff's delta", lambda value: formats.number(value, 2), True),
        Column("lower", "From", lambda value: formats.number(value, 2), True),
        Column("upper", "To", lambda value: formats.number(value, 2), True),
        Column("q", "q", lambda value: f"{value:.2g}", True),
    ]
    return Html(
        (paragraph(lead, "lead") if lead else "")
        + told
        + figure(reply, "differences", table(rows, columns, label="differences")),
        lead,
    )


def stable(reply: Any) -> Html:
    """How stable are they?"""
    found = reply.evidence
    if found is None:
        noise = reply.migration.noise if reply.migration else None
        if noise is None:
            text = "These segments follow from recorded facts or thresholds: the same data give the same segments."
            return Html(paragraph(text, "lead"), text)
        text = (
            f"With nobody changing, {noise.expected_moves:.0f} of {reply.total_customers} customers would be in "
            f"another segment at the next measurement ({noise.method})."
        )
        return Html(paragraph(text, "lead"), text)
    said = ["The segments stand" if found.stable else f"No stable segments: {found.reason}"]
    if found.stability is not None:
        said.append(
            f"stability {found.stability:.2f} (0.8 is asked), silhouette {found.silhouette:.2f}"
        )
    if found.reference_p is not None:
        said.append(
            f"books without groups that have the same values and correlations reach this with p = "
            f"{found.reference_p:.2g} ({found.reference_draws} were drawn)"
        )
    lead = joined(*said)
    return Html(
        paragraph(lead, "lead")
        + figure(reply, "evidence")
        + (figure(reply, "map") if found.stable else ""),
        lead,
    )


def to_do(reply: Any) -> Html:
    """What to do, for whom?"""
    if not reply.recommended_actions and not any(
        one.recommended_engagement_strategy for one in reply.segments
    ):
        return Html(missing("What to do", "not requested"))
    first = lines((prose(text) for text in reply.recommended_actions[:8]), ordered=True)
    parts = [
        fold(
            f"{one.segment_name}: {one.recommended_engagement_strategy.primary_focus}",
            advice_of(one, reply),
        )
        for one in reply.segments
        if one.recommended_engagement_strategy is not None and one.placed
    ]
    return Html(first + "".join(parts))


def advice_of(one: Any, reply: Any) -> str:
    """The strategy for a segment, with the figures behind it."""
    plan = one.recommended_engagement_strategy
    pairs = page.facts(
        [
            ("Focus", plan.primary_focus),
            ("Manager's touch", plan.csm_touch_frequency),
            ("Messages", plan.communication_frequency),
            ("Automation", plan.automation_level),
        ]
    )
    channels = (
        _answers(one.channels_detail, "Channel")
        if one.channels_detail
        else missing("Channels", "no messages table, or too few messages were sent to it")
    )
    content = _answers(one.content_detail, "Content") if one.content_detail else ""
    actions = lines((prose(text) for text in one.recommended_actions or []), ordered=True)
    escalate = lines(prose(text) for text in one.escalation_criteria or [])
    themes = lines(prose(text) for text in plan.content_themes)
    return (
        pairs
        + (f"<h3>Do now</h3>{actions}" if actions else "")
        + f"<h3>Talk about</h3>{themes}"
        + f"<h3>How such customers answer</h3>{channels}{content}<h3>Escalate when</h3>{escalate}"
    )


def _answers(found: list[Any], heading: str) -> str:
    rows = [
        {
            **one.model_dump(),
            "interval": f"{formats.percent(one.lower)} to {formats.percent(one.upper)}",
        }
        for one in found
    ]
    columns = [
        Column("name", heading, formats.words),
        Column("rate", "Answered", formats.percent, True),
        Column("interval", "Interval", numeric=True),
        Column("sent", "Sent", formats.number, True),
    ]
    return table(rows, columns, label=heading.lower())


def method(reply: Any) -> Html:
    """How was this computed? Behind a fold."""
    kept = (
        f"This run is kept as {reply.run.run_id}"
        if reply.run.resolvable
        else f"This run was {reply.run.reason}"
    )
    return page.method(
        reply,
        "Every live customer is in exactly one segment; those that cannot be placed are in their own, with the reason",
        f"A segment of fewer than {reply.min_segment_size} customers joins its smaller neighbour in order, or the rest",
        "Means are unweighted, with n and Student's interval; differences are Cliff's delta with Mann–Whitney's test "
        "and false-discovery control over all comparisons",
        kept,
        pairs=[
            ("Type", reply.segmentation_type),
            ("Criteria", formats.plain(reply.segmentation_criteria, 400)),
            ("At most", f"{reply.max_segments} segments"),
        ],
    )
