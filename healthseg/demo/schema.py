"""Columns and kinds of every table that the demo writes, the portfolio's and the truth's."""

from __future__ import annotations

import pyarrow as pa

KINDS = {
    "w": pa.string(),
    "d": pa.date32(),
    "t": pa.timestamp("us"),
    "f": pa.float64(),
    "i": pa.int64(),
    "b": pa.bool_(),
}


def _columns(text: str) -> dict[str, str]:
    return dict(part.split(":") for part in text.split())


# column:kind, w word · d date · t moment in UTC · f number · i whole number · b yes or no
TABLES = {
    name: _columns(text)
    for name, text in {
        "customers": "client_id:w name:w signup_date:d industry:w region:w plan:w arr:f currency:w seats:i "
        "renewal_date:d churned_on:d notice_on:d csm_id:w timezone:w parent_id:w strategic_value:f potential_arr:f",
        "customer_changes": "client_id:w field:w value:w effective_on:d recorded_at:t",
        "contracts": "client_id:w starts_on:d ends_on:d arr:f signed_on:d seats:i plan:w currency:w renews_on:d",
        "users": "user_id:w client_id:w role:w created_at:t deactivated_at:t email_domain:w",
        "features": "feature:w category:w released_on:d recommended_position:i",
        "entitlements": "client_id:w feature:w starts_on:d ends_on:d",
        "tickets": "ticket_id:w client_id:w opened_at:t user_id:w feature:w topic:w severity:w first_response_at:t "
        "resolved_at:t csat:f",
        "surveys": "client_id:w kind:w score:i responded_at:t user_id:w feature:w",
        "invoices": "invoice_id:w client_id:w amount:f issued_on:d due_on:d paid_on:d",
        "arr_changes": "client_id:w effective_on:d arr:f reason:w",
        "milestones": "milestone_id:w name:w category:w target_days:i required:b depends_on:w completes_when:w marks:w",
        "milestone_progress": "client_id:w milestone_id:w started_at:t completed_at:t blocker:w blocked_since:t "
        "blocker_cleared_at:t skipped_at:t owner:w",
        "messages": "client_id:w channel:w content:w sent_at:t user_id:w feature:w opened_at:t clicked_at:t",
        "stage_changes": "client_id:w stage:w effective_at:t recorded_at:t reason:w automated:b actor:w",
        "interventions": "client_id:w kind:w happened_at:t",
        "calendar": "starts_on:d ends_on:d label:w",
        "csms": "csm_id:w tier:w capacity_hours:f contact:w",
        "benchmarks": "industry:w metric:w percentile:i value:f source:w",
    }.items()
}

TRUTH = {
    name: _columns(text)
    for name, text in {
        "hazard_terms": "driver:w metric:w form:w coefficient:f center:f scale:f knot:f direction:i "
        "first_step:i last_step:i",
        "exits": "client_id:w notice_on:d churned_on:d step:i would_have_churned_on:d",
        "users": "user_id:w client_id:w persona:w rate:f created_on:d left_on:d champion:b",
        "champion_exits": "client_id:w user_id:w left_on:d share_28d:f share_90d:f active_days_90d:i "
        "planted:b detectable:b",
        "rhythms": "scope:w id:w weekday:i hour:i rate_ratio:f kind:w sessions:i power:f detectable:b",
        "adoptions": "client_id:w feature:w eligible_on:d intended_on:d adopted_on:d first_event_on:d abandoned_on:d "
        "readopted_on:d path:w detectable:b",
        "feature_effects": "feature:w role:w log_hr:f breadth_log_hr:f confounder:w n_exposed:i n_unexposed:i events:f "
        "power:f detectable:b",
        "sequences": "id:w features:w share:f gap_median:w outcome_log_hr:f n:i power:f detectable:b",
        "bundles": "id:w features:w share:f lift_given_volume:f n:i power:f detectable:b",
        "anomalies": "scope:w client_id:w series:w from:d to:d factor:f kind:w calendar_label:w "
        "z:f power:f detectable:b",
        "segments": "client_id:w segment:w",
        "segment_centres": "segment:w metric:w mean:f sd_within:f min_separation:f",
        "stage_spells": "client_id:w stage:w entered_at:d left_at:d exit_to:w recorded_at:d",
        "stage_law": "stage:w exit_to:w law:w parameters:w quantiles:w",
        "stage_disagreements": "client_id:w recorded:w by_contract:w since:d",
        "milestone_status": "client_id:w milestone_id:w as_of:d status:w started_on:d completed_on:d progress:f",
        "blocker_spells": "client_id:w milestone_id:w blocker:w from:d to:d",
        "blocker_law": "blocker:w log_time_ratio:f n:i power:f detectable:b",
        "interventions": "client_id:w kind:w on:d why_given:w effect_logit:f recovered_without:b",
        "message_law": "channel:w content:w weekday:i per_week:f p_open:f p_click:f n:i power:f detectable:b",
        "support_law": "topic:w next_topic:w p:f n:i resolution_median:f resolution_ratio_per_month:f",
        "arr_moves": "client_id:w on:d from:f to:f reason:w contract_id:w",
        "expansions": "client_id:w step_start:d p_expand90:f expanded_on:d",
        "withheld": "client_id:w table:w column:w from:d to:d why:w",
        "dirt": "table:w row:i client_id:w column:w fault:w value:w expected:w",
    }.items()
}
HAZARD = _columns("client_id:w step_start:d at_risk:b")
HAZARD_END = _columns("eta_measured:f frailty:f h_true:f p30:f p90:f p90_mc_se:f decided:b")
