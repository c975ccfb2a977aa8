"""The types of the columns of results' frames: a name has one meaning, and so one type, empty or not.

A column that is not listed is a number: metrics, rates, amounts, intervals. A name that means another thing in
some frame is listed there with the frame's name before it.
"""

from __future__ import annotations

import pandas as pd
from pandas.api.types import infer_dtype

__all__ = ["KINDS", "kind_of", "typed"]

# "unsure" is true, false or missing; "list" holds Python lists
KINDS = {
    "text": "str",
    "flag": "bool",
    "unsure": "boolean",
    "whole": "int64",
    "number": "float64",
    "date": "datetime64[us]",
    "list": "object",
}

TEXT = ("string", "empty")

_NAMES = {
    "text": """
        about action actor anomaly_type at_stake_basis band band_a band_b before blocker calendar capacity category
        cause churned_customers client_id completed_by component csm_id currency description direction effect
        effective_at event feature figure first flagged from industry key kind label largest likely_cause lost_by lower_tier
        mark method metric milestone milestone_id missing_reason model name next_segment next_tier no_score note other
        override owner part pattern payment_status persona plan play potential_source priority quarter reason recorded
        recorded_at region risk_level rival rival_name scope second segment segment_id segment_name sequence series
        severity side sign source stage status suggests text tier tier_a_year_ago to topic trend type unit
        usage_frequency verdict why window worst
        histogram.cohort groups.group matrix.target moves.target ready.target accuracy.score against.score calibration.score
        capture.score lead_times.score false_alarms.score groups.score waterfall.from
    """,
    "flag": """
        action_required as_expected automated breaks_away complete found found_again gave_notice happened in_force
        in_use ingredient likely_to_leave long_overdue met passes peak placed ready_to_expand required significant since_or_earlier
        single_user stale undecided unusual milestones.blocked customers.ready
    """,
    "unsure": """
        healthy long_enough no_critical_ticket no_notice not_declining nothing_overdue provisional seats_in_use
    """,
    "whole": """
        abandoned adopters alarms bin caught churned completed count customers dates due duration_days entitled false
        first_use_day given_customers held_days horizon_days hour in_progress lead_days measured milestones n need
        not_started of on_time open other_n overdue overdue_required peers place power readopted regular returns right
        rows severe skipped span_id stays stuck total units unknown users_ever visit waiting week weekday
        histogram.active_days histogram.users kept.at_risk curves.at_risk category_curves.at_risk curve.at_risk
        exits.at_risk curve.events exits.events funnel.blocked funnel.late funnel.to_close funnel.target_days criteria.days
        revenue_by_month.cohort months.cohort distribution.low distribution.high paths.group actions.rank
        heatmap.person_events heatmap.user_hours cells.user_hours cohorts.reached held.support rejected.support
        adopters.users retention.users lead_times.warned months cohorts.live
    """,
    "number": "tiers.customers segments.customers tiers.cohort history.target",
    "date": """
        churned_on cohort date due_on end_date event_on month notice_on on predicted_on released_on renewal_on since
        start_date until week_end won_back_on
        series.start series.end weeks.start weeks.end growth.start growth.end metrics.start metrics.end
    """,
    "list": "signs warnings",
}
_KIND = {name: kind for kind, names in _NAMES.items() for name in names.split()}


def kind_of(frame: str, column: str) -> str:
    """The kind of a column: of this frame, else of its name, else a number.

    >>> kind_of("series", "start"), kind_of("months", "start"), kind_of("customers", "name")
    ('date', 'number', 'text')
    """
    return _KIND.get(f"{frame}.{column}") or _KIND.get(column, "number")


def typed(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its columns' types, the same whether it has rows or none.

    >>> typed("actions", pd.DataFrame(columns=["client_id", "arr", "due_on"])).dtypes.astype(str).to_dict()
    {'client_id': 'str', 'arr': 'float64', 'due_on': 'datetime64[us]'}
    """
    return frame.assign(**{c: _of_kind(frame[c], kind_of(name, c)) for c in frame})


def _of_kind(values: pd.Series, kind: str) -> pd.Series:
    if kind == "whole" and values.isna().any():
        kind = "number"
    if kind == "text" and not (values.isna().all() or infer_dtype(values) in TEXT):
        return values
    try:
        return values.astype(KINDS[kind])
    except (TypeError, ValueError):  # texts that a team's own metric or table adds
        return values
