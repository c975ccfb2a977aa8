"""Why a key of the response is null, by its path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from healthseg.tools.tiers.result import ValueTiers

if TYPE_CHECKING:
    from healthseg.tools.tiers.answer import Tiers

NOT_ASKED = "not requested"


def reasons(response: ValueTiers, run: Tiers) -> dict[str, str]:
    money = (
        "several currencies and no rates"
        if not run.addable
        else "no table holds ARR as of this date"
        if run.arr.isna().all()
        else "the ARR is 0"
    )
    brief, pareto, any_tier = (
        run.asked.output_detail_level == "summary",
        response.pareto_analysis,
        response.value_tiers,
    )
    told = [one for one in any_tier if one.characteristics is not None]
    found = [
        ("$.total_arr", response.total_arr is None, money),
        ("$.value_tiers[*].total_arr", any(one.total_arr is None for one in any_tier), money),
        (
            "$.value_tiers[*].avg_arr_per_customer",
            any(one.avg_arr_per_customer is None for one in any_tier),
            money if not run.addable or run.arr.isna().all() else "a tier without customers",
        ),
        (
            "$.value_tiers[*].percentage_of_arr",
            any(one.percentage_of_arr is None for one in any_tier),
            money,
        ),
        ("$.pareto_analysis.top_20_percent_customers", pareto.top_share is None, money),
        ("$.value_tiers[*].characteristics", brief, "output_detail_level is summary"),
        (
            "$.value_tiers[*].characteristics.support_tier",
            any(one.characteristics.support_tier is None for one in told),
            "the setting support_tiers names none of the plans",
        ),
        (
            "$.value_tiers[*].characteristics.avg_health_score",
            any(one.characteristics.avg_health_score is None for one in told),
            "a tier without a scored customer",
        ),
        (
            "$.value_tiers[*].expansion_pipeline",
            not run.asked.include_expansion_potential,
            NOT_ASKED,
        ),
        ("$.value_tiers[*].avg_strategic_value", not run.asked.include_strategic_value, NOT_ASKED),
        (
            "$.value_tiers[*].client_ids",
            run.asked.output_detail_level != "full",
            "output_detail_level is not full",
        ),
        ("$.retention", response.retention is None, _since(run)),
        ("$.year_on_year", response.year_on_year is None, _since(run)),
        ("$.at_risk", response.at_risk is None, money),
        (
            "$.resource_allocation_recommendations[*].current_csm_count",
            any(
                one.current_csm_count is None
                for one in response.resource_allocation_recommendations
            ),
            "neither a csms table nor csm_id says who there is",
        ),
        (
            "$.suggested_thresholds.thresholds",
            response.suggested_thresholds.thresholds is None,
            response.suggested_thresholds.reason,
        ),
        (
            "$.sensitivity",
            response.sensitivity is None,
            "only the model strategic_value has weights",
        ),
        (
            "$.strategic_weights",
            response.strategic_weights is None,
            "only the model strategic_value has weights",
        ),
        ("$.customer_standing", run.asked.client_id is None, "no client_id was given"),
    ]
    return dict(sorted((path, why) for path, null, why in found if null))


def _since(run: Tiers) -> str:
    if not run.addable:
        return "several currencies and no rates"
    return "the ARR of a year ago is not known, or the portfolio begins later"
