"""The page of the portfolio's segments: a function for each question that its reader has."""

from __future__ import annotations

from typing import Any

from healthseg.charts import formats
from healthseg.reports.html import page
from healthseg.reports.html.page import (
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
from healthseg.reports.portfolios import open_portfolio

__all__ = [
    "apart",
    "at_risk",
    "footer",
    "method",
    "moved",
    "open_portfolio",
    "opening",
    "segments",
    "stable",
    "to_do",
]


def opening(response: Any) -> Html:
    """The portfolio, as of when, the verdict, and its figures at a glance."""
    return page.portfolio_opening(
        response, "Segments", "The portfolio’s segments", _cards(response)
    )


def _cards(response: Any) -> list[Card]:
    pareto, moved = response.pareto_analysis, response.migration
    found = [
        Card(
            "Customers",
            formats.number(response.total_customers),
            f"{formats.number(sum(response.unplaced.values()))} could not be placed",
        ),
        Card(
            "Segments",
            formats.number(response.segments_created),
            f"by {formats.words(response.segmentation_type)}",
        ),
        Card("ARR", formats.brief_money(response.total_arr, response.currency), "a year"),
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


def segments(response: Any) -> Html:
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
        for one in response.segments
    ]
    columns = [
        Column(
            "segment",
            "Segment",
            markup=lambda row: f"{safe(row['segment'])}<small>{safe(row['description'])}</small>",
        ),
        Column("customers", "Customers", formats.number, True),
        Column("share", "Share", formats.percent, True),
        Column("arr", _money("ARR", response), formats.money, True),
        Column("loss", "Expected loss, 90 days", formats.money, True),
        Column("avg_health_score", "Score", formats.number, True),
        Column("feature_adoption_rate", "Adoption", formats.percent, True),
        Column("avg_tenure_months", "Tenure, months", formats.number, True),
    ]
    merged = "; ".join(response.merged)
    lead = f"Small ones were put together: {merged}." if merged else ""
    return Html(
        (paragraph(lead, "lead") if lead else "")
        + table(rows, columns, label="segments")
        + figure(response, "sizes")
        + figure(response, "profile", _profile(response)),
        lead,
    )


def _money(name: str, response: Any) -> str:
    return f"{name}, {response.currency}" if response.currency else name


def _profile(response: Any) -> str:
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
        for one in response.segments
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
        rows, columns, f"Means with {100 * response.interval_level:.0f} % intervals", "figures"
    )


def _figure(value: Any) -> str:
    return formats.number(value, 2 if not formats.is_missing(value) and abs(value) < 10 else 0)


def moved(response: Any) -> Html:
    """Who moved?"""
    if response.migration is None:
        return Html(
            missing(
                "Who moved", response.not_measured.get("$.migration", "there is no earlier date")
            )
        )
    found = response.migration
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
            f"ARR: {formats.brief_money(found.arr_moved, response.currency)} moved, "
            f"{formats.brief_money(found.arr_left, response.currency)} left"
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
        Column("arr", _money("ARR", response), formats.money, True),
    ]
    people = response.frame("customers")
    gone = people[people["before"].notna() & (people["before"] != people["segment_name"])]
    who = table(
        gone.sort_values("arr", ascending=False, na_position="last").to_dict("records"),
        [
            Column("name", "Customer"),
            Column("before", "From"),
            Column("segment_name", "To"),
            Column("score", "Score", formats.number, True),
            Column("arr", _money("ARR", response), formats.money, True),
        ],
        "Who moved, the largest first",
        "customers",
    )
    lead = joined(*said)
    return Html(
        paragraph(lead, "lead")
        + figure(response, "flows", table(rows, columns, label="moves"))
        + who,
        lead,
    )


def at_risk(response: Any) -> Html:
    """Where do value and health meet, and where is ARR at risk?"""
    cells = [cell.model_dump() for cell in response.value_health_matrix or []]
    columns = [
        Column("tier", "Tier"),
        Column("band", "Band", formats.words),
        Column("customers", "Customers", formats.number, True),
        Column("arr", _money("ARR", response), formats.money, True),
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
        f"{formats.brief_money(worst['expected_loss'], response.currency)} of "
        f"{formats.brief_money(worst['arr'], response.currency)} in 90 days. Expected is each customer's probability of "
        "leaving times its ARR."
    )
    return Html(
        (paragraph(lead, "lead") if lead else "")
        + figure(response, "matrix", table(cells, columns, label="cells"))
        + figure(response, "lorenz"),
        lead,
    )


def apart(response: Any) -> Html:
    """What sets segments apart, beyond what they were made of?"""
    told = lines(prose(text) for text in response.cross_segment_insights)
    lead = (
        f"Of {response.insights_tried} comparisons these stand, after allowing for their number."
        if response.cross_segment_insights
        else ""
    )
    rows = [one.model_dump() for one in response.cross_segment_insights_detail]
    columns = [
        Column("metric", "Metric", formats.words),
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
        + figure(response, "differences", table(rows, columns, label="differences")),
        lead,
    )


def stable(response: Any) -> Html:
    """How stable are they?"""
    found = response.evidence
    if found is None:
        noise = response.migration.noise if response.migration else None
        if noise is None:
            text = "These segments follow from recorded facts or thresholds: the same data give the same segments."
            return Html(paragraph(text, "lead"), text)
        text = (
            f"With nobody changing, {noise.expected_moves:.0f} of {response.total_customers} customers would be in "
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
            f"portfolios without groups that have the same values and correlations reach this with p = "
            f"{found.reference_p:.2g} ({found.reference_draws} were drawn)"
        )
    lead = joined(*said)
    return Html(
        paragraph(lead, "lead")
        + figure(response, "evidence")
        + (figure(response, "map") if found.stable else ""),
        lead,
    )


def to_do(response: Any) -> Html:
    """What to do, for whom?"""
    if not response.recommended_actions and not any(
        one.recommended_engagement_strategy for one in response.segments
    ):
        return Html(missing("What to do", "not requested"))
    first = lines((prose(text) for text in response.recommended_actions[:8]), ordered=True)
    parts = [
        fold(
            f"{one.segment_name}: {one.recommended_engagement_strategy.primary_focus}",
            advice_of(one, response),
        )
        for one in response.segments
        if one.recommended_engagement_strategy is not None and one.placed
    ]
    return Html(first + "".join(parts))


def advice_of(one: Any, response: Any) -> str:
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


def method(response: Any) -> Html:
    """How was this computed? Behind a fold."""
    kept = (
        f"This run is kept as {response.run.run_id}"
        if response.run.resolvable
        else f"This run was {response.run.reason}"
    )
    return page.method(
        response,
        "Every live customer is in exactly one segment; those that cannot be placed are in their own, with the reason",
        f"A segment of fewer than {response.min_segment_size} customers joins its smaller neighbour in order, or the rest",
        "Means are unweighted, with n and Student's interval; differences are Cliff's delta with Mann–Whitney's test "
        "and false-discovery control over all comparisons",
        kept,
        pairs=[
            ("Type", response.segmentation_type),
            ("Criteria", formats.plain(response.segmentation_criteria, 400)),
            ("At most", f"{response.max_segments} segments"),
        ],
    )
