"""Why a key of the response is null, by its path."""

from __future__ import annotations

from typing import Any

from healthseg.tools.segments.figures import Figures
from healthseg.tools.segments.result import Segmentation

NOT_ASKED = "not requested"


def reasons(response: Segmentation, figures: Figures, asked: Any) -> dict[str, str]:
    found = [*_money(response, figures), *_advice(response, asked), *_time(response, figures)]
    found.append(
        ("$.evidence", response.evidence is None, "only segments by metrics need evidence")
    )
    found.append(("$.customer_standing", asked.client_id is None, "no client_id was given"))
    for key in response.segments[0].segment_characteristics if response.segments else ():
        few = sum(one.segment_characteristics[key] is None for one in response.segments)
        found.append(
            (
                f"$.segments[*].segment_characteristics.{key}",
                few > 0,
                f"not measured for any customer of {few} of {len(response.segments)} segments",
            )
        )
    return dict(sorted((path, why) for path, null, why in found if null))


def _money(response: Segmentation, figures: Figures) -> list[tuple[str, bool, str]]:
    why = (
        "several currencies and no rates"
        if not figures.money.addable
        else "no table holds ARR as of this date"
        if figures.money.amounts.isna().all()
        else "the ARR is 0"
    )
    pareto = response.pareto_analysis
    return [
        ("$.total_arr", response.total_arr is None, why),
        (
            "$.pareto_analysis.top_20_percent_contribute",
            pareto.top_20_percent_contribute is None,
            why,
        ),
        ("$.pareto_analysis.segment", pareto.segment is None, why),
        ("$.segments[*].total_arr", any(one.total_arr is None for one in response.segments), why),
        (
            "$.segments[*].expected_arr_lost_90d",
            any(one.expected_arr_lost_90d is None for one in response.segments),
            "no ARR is known, or the portfolio has no rate of leaving",
        ),
    ]


def _advice(response: Segmentation, asked: Any) -> list[tuple[str, bool, str]]:
    if not asked.include_recommendations:
        return [
            (f"$.segments[*].{key}", True, NOT_ASKED)
            for key in (
                "recommended_engagement_strategy",
                "recommended_channels",
                "recommended_content",
                "escalation_criteria",
                "recommended_actions",
            )
        ]
    few = "no messages table, or too few messages were sent to it"
    return [
        (
            "$.segments[*].recommended_channels",
            any(one.recommended_channels is None for one in response.segments),
            few,
        ),
        (
            "$.segments[*].recommended_content",
            any(one.recommended_content is None for one in response.segments),
            f"{few}, or contents are no categories",
        ),
    ]


def _time(response: Segmentation, figures: Figures) -> list[tuple[str, bool, str]]:
    moved = response.migration
    first = figures.portfolio.first_event_day
    found = [
        ("$.migration", moved is None, f"the portfolio begins on {first}, after the earlier date")
    ]
    if moved is not None:
        found += [
            (
                "$.migration.noise",
                moved.noise is None,
                "recorded facts have none, or too little is known of it",
            ),
            ("$.migration.up", moved.up is None, "these segments have no order"),
        ]
    return found
