"""Segments, tiers and patterns: how customers are grouped, and how much evidence each group or pattern needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, field_validator

from healthseg.settings.base import Frozen

Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class SegmentSettings(Frozen):
    """Segments and how customers answer messages."""

    # moves are shown since a quarter ago
    segment_compare_days: Annotated[int, Field(ge=7)] = 90
    # the trend of a score or a metric: twelve weeks
    segment_trend_days: Annotated[int, Field(ge=7)] = 84
    # what distinguishes a segment, and the risks of a customer: more are not read
    segment_max_differences: Count = 8
    segment_max_risks: Count = 4
    # draws of the values' errors, for the moves that noise alone makes
    segment_noise_draws: Annotated[int, Field(ge=100)] = 1_000
    # Cliff's delta that is a medium effect (Romano et al. 2006)
    segment_min_effect: Share = 0.33
    # customers of each segment in a comparison: fewer say nothing of a segment
    segment_min_compared_customers: Count = 8
    # more groups than a team can treat differently
    segment_max_groups: Annotated[int, Field(ge=2)] = 8
    # robust standard deviations from the others: less is not worth a word in a group's name, or
    # among what distinguishes a segment
    group_name_min_distance: Positive = 0.5
    segment_min_distance: Positive = 0.4
    # segments by usage: which metric, and its thresholds (shares of the seats)
    usage_segment_metric: str = "weekly_active_users_per_seat"
    usage_segment_thresholds: tuple[float, ...] = (0.2, 0.5, 0.8)
    # segments that hold so much of the top fifth by ARR are named
    pareto_named_share: Share = 0.8
    # a customer is new for a quarter
    new_customer_days: Count = 90
    # an invoice that is overdue for a month needs a manager
    segment_overdue_days: Count = 30
    # how customers answer messages: two quarters
    messages_window_days: Annotated[int, Field(ge=14)] = 180
    # a click later than that answers something else
    messages_engaged_days: Count = 7
    # fewer say nothing of a channel
    messages_min_sent: Count = 30
    # help pages, guides: customers that use them help themselves
    self_service_features: tuple[str, ...] = ()


class TierStrategy(Frozen):
    """How customers of a tier are looked after: words of the team's own, repeated in responses as such."""

    touch_frequency: str
    executive_engagement: str | None = None
    support_sla: str | None = None
    success_programs: tuple[str, ...] = ()
    automation_level: str


TIER_STRATEGIES = {
    "Micro": TierStrategy(touch_frequency="quarterly (automated)", automation_level="high"),
    "SMB": TierStrategy(touch_frequency="monthly (automated + human)", automation_level="high"),
    "Mid-Market": TierStrategy(
        touch_frequency="bi-weekly",
        executive_engagement="yearly business review",
        success_programs=("Shared success plan",),
        automation_level="medium",
    ),
    "Corporate": TierStrategy(
        touch_frequency="weekly",
        executive_engagement="half-yearly business review",
        success_programs=("Success plan",),
        automation_level="low",
    ),
    "Enterprise": TierStrategy(
        touch_frequency="weekly",
        executive_engagement="quarterly business review",
        success_programs=("Account plan", "Executive sponsor"),
        automation_level="low",
    ),
}


class TierSettings(Frozen):
    """Value tiers: thresholds, names, how each is looked after, capacity, expansion."""

    # share of a tier's ARR on seats that nobody uses from which the team decides about them: a tenth is a price rise's worth
    idle_arr_min_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    arr_thresholds: tuple[float, ...] = (10_000.0, 50_000.0, 100_000.0, 250_000.0)
    tier_names: tuple[str, ...] | None = None
    # hours of a manager that a customer takes a month, by tier; another number of tiers takes them by rank
    tier_hours_per_month: dict[str, Annotated[float, Field(gt=0)]] = {
        "Micro": 0.5,
        "SMB": 1.0,
        "Mid-Market": 4.0,
        "Corporate": 8.0,
        "Enterprise": 16.0,
    }
    # what the team has set itself; tiers of other names take them by rank
    tier_strategies: dict[str, TierStrategy] = TIER_STRATEGIES
    # a manager's hours a month with customers, where the csms table has none
    csm_capacity_hours: Annotated[float, Field(gt=0)] = 120.0
    # a capacity gap is critical where a third of the managers needed is missing in a tier that holds
    # a quarter of the ARR
    critical_capacity_gap_share: Annotated[float, Field(gt=0, le=1)] = 1 / 3
    large_tier_arr_share: Annotated[float, Field(gt=0, le=1)] = 0.25
    # a notice on less of all ARR is for the customer's manager, not for the head of customer success
    notice_decision_min_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    # weights of the ranks of ARR, potential and strategic value
    strategic_weights: tuple[float, float, float] = (0.5, 0.3, 0.2)
    # by which each weight is moved to see how far the tiers depend on it
    strategic_weight_step: Annotated[float, Field(gt=0, lt=1)] = 0.1
    # plan → what its support is called
    support_tiers: dict[str, str] = {}
    # seats in use from which more users need more seats
    expansion_min_utilisation: Annotated[float, Field(gt=0, le=1)] = 0.9
    # a customer is ready to expand after a quarter
    expansion_min_tenure_days: Annotated[int, Field(ge=1)] = 90
    # a score that fell by half a band within the look-back is falling, whatever its trend over twelve weeks says
    expansion_max_score_fall: Annotated[float, Field(gt=0)] = 10.0
    # customers with a bundle of premium features, and without it: fewer say nothing of its price
    expansion_min_peers: Annotated[int, Field(ge=2)] = 8
    # a customer's potential is at most the rise in a year that a tenth of comparable customers exceeded
    expansion_cap_quantile: Annotated[float, Field(gt=0, le=1)] = 0.9
    # months of which net and gross retention are shown
    revenue_months: Annotated[int, Field(ge=1)] = 12
    # fewer customers of a year ago say nothing of a tier's net retention
    retention_min_customers: Annotated[int, Field(ge=1)] = 8
    # a tier whose customers take so few hours, and that has so many, is served by programmes
    automation_max_hours: Annotated[float, Field(gt=0)] = 1.0
    automation_min_customers: Annotated[int, Field(ge=1)] = 20

    @field_validator("arr_thresholds")
    @classmethod
    def _thresholds(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not values or sorted(set(values)) != list(values) or values[0] < 0:
            raise ValueError("arr_thresholds must be non-negative and rise")
        return values

    @field_validator("strategic_weights")
    @classmethod
    def _weights(cls, values: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(values) < 0 or not sum(values) > 0:
            raise ValueError("strategic_weights must be non-negative, not all 0")
        return values


def tier_names(config: TierSettings, thresholds: Sequence[float] | None = None) -> tuple[str, ...]:
    """Names from the lowest tier up: k thresholds (by default the settings') make k + 1 tiers."""
    count = len(config.arr_thresholds if thresholds is None else thresholds) + 1
    if config.tier_names and len(config.tier_names) == count:
        return config.tier_names
    usual = {
        2: ("SMB", "Enterprise"),
        3: ("SMB", "Mid-Market", "Enterprise"),
        4: ("SMB", "Mid-Market", "Corporate", "Enterprise"),
        5: ("Micro", "SMB", "Mid-Market", "Corporate", "Enterprise"),
    }
    return usual.get(count, tuple(f"Tier {number}" for number in range(1, count + 1)))


class PatternSettings(Frozen):
    """Patterns, groups, rhythms, anomalies: how much evidence each needs before it is reported."""

    # p on the held-out last third of the window (one-sided: the direction is known), at which a pattern is replicated
    pattern_held_out_max_p: Share = 0.05
    pattern_held_out_share: Share = 1 / 3
    # bootstrap resamples behind a pattern's confidence: its standard error is at most 0.035
    pattern_resamples: Count = 200
    # customers that show a pattern, and its lift over the base rate: less is not worth acting on
    pattern_min_customers: Count = 20
    pattern_min_lift: Annotated[float, Field(gt=1)] = 1.25
    # p above which a pair or a step is not extended: nothing longer than it can be significant
    pattern_promising_max_p: Share = 0.05
    bundle_max_features: Annotated[int, Field(ge=2)] = 4
    # a step that takes longer than two months is no step
    order_max_gap_days: Count = 60
    # (split day, width): first uses of b within a width after the split day are compared with those within a width
    # before it, in days since the first use of a; short steps show in short windows, slow ones past a later split
    order_own_windows_days: tuple[tuple[int, int], ...] = ((0, 14), (0, 30), (0, 60), (14, 30))
    # an order is at least twice as frequent as its reverse, else it has no direction
    order_min_one_way_ratio: Annotated[float, Field(ge=1)] = 2.0
    order_max_steps: Annotated[int, Field(ge=2)] = 5
    # groups of customers by the share of features that they use, within which takers are compared
    order_breadth_groups: Count = 3
    # customers from which on they, not weeks of users, are the independent units
    units_min_customers: Count = 20

    # groups of customers: below 40 neither stability nor the reference can tell groups from a cloud
    groups_min_customers: Count = 40
    # customers that the evidence is computed on; all are assigned to its groups
    groups_sample_customers: Count = 600
    groups_resamples: Count = 25
    groups_min_stability: Share = 0.8  # mean adjusted Rand index over resamples
    # of each group with its likest in a resample; Hennig (2007): below it no group is stable
    groups_min_jaccard: Share = 0.75
    # portfolios without groups that the real one is compared with, and the share that may reach it
    groups_reference_draws: Count = 99
    groups_reference_max_p: Share = 0.01
    # a metric that fewer customers have would leave most of them out
    groups_min_known_share: Share = 0.5
    # k-means finds "groups" in any few values: for personas and adoption paths a metric is used where it is known of
    # so many rows, takes so many values, and no value is shared by more rows than this
    graded_min_known_share: Share = 0.8
    graded_min_distinct_values: Count = 10
    graded_max_alike_share: Share = 1 / 3
    # adoption paths and personas: the smallest group, the most groups, resamples for their stability
    paths_min_group: Count = 8
    paths_max_groups: Annotated[int, Field(ge=2)] = 5
    paths_resamples: Count = 40
    paths_days: Count = 90  # from signup: the first quarter
    persona_prior_days: Annotated[float, Field(ge=0)] = 5.0  # that a user's shares are shrunk by
    persona_sample_users: Count = 400
    # log-ratio from which on a feature distinguishes a persona: used 1.28 times as often
    persona_min_log_ratio: Annotated[float, Field(ge=0)] = 0.25

    # p of any rhythm at all: hundreds of customers then show no peak where there is none
    rhythm_max_p: Share = 1e-5
    rhythm_rollings: Count = 499
    rhythm_min_user_hours: Count = 20
    rhythm_day_in_use_share: Share = 0.05  # of user-hours
    rhythm_hour_in_use_share: Share = 0.02
    rhythm_part_in_use_share: Share = 0.10
    patterns_min_weeks: Count = 4  # under it neither days nor hours repeat often enough
    trend_weeks: Count = 12
    trend_min_weeks: Count = 6
    # Hyndman & Athanasopoulos (2021, §4.3): the strength from which on a series counts as seasonal
    season_min_strength: Share = 0.64
    season_draws: Count = 199
    season_max_p: Share = 0.01

    # how often to send a content: customers at each frequency, frequencies, false-discovery rate
    frequency_min_customers: Count = 30
    frequency_min_levels: Annotated[int, Field(ge=2)] = 3
    frequency_max_q: Share = 0.05
    resolution_min_tickets: Count = 10  # resolved, in each half of the window
    resolution_resamples: Count = 500

    # one false alarm in 270 years of days; a portfolio of 250 customers has one by chance in a year
    anomaly_max_p: Share = 1e-5
    # days of a series before which nothing is compared: four of each weekday
    anomaly_min_days: Count = 28
    anomaly_open_days: Count = 7  # an anomaly this recent may still last
    # weeks on each side whose same weekday a day is held against, and how many of these days it needs
    anomaly_weeks_around: Count = 8
    anomaly_min_weekdays_around: Count = 6
    # spreads from which on a wider event explains a customer's: one day of three years in counts without any
    anomaly_rest_min_spreads: Annotated[float, Field(gt=0)] = 4.5
    # a departure that lasts: pairs of allowance and limit, in spreads, of the sum over days. One finds a silence of 15 users
    # in a day, a half of 40 in two; the other slower ones; together 0 to 0.05 false alarms a customer and year
    # on simulated Poisson, negative binomial and autocorrelated counts (docs/evidence.md)
    anomaly_paces: tuple[tuple[float, float], ...] = ((1.0, 5.7), (0.5, 13.0))
    # and of falls of counts under so many a day, which take weeks to show; rises so small are growth
    anomaly_low_count: Annotated[float, Field(ge=0)] = 8.0
    anomaly_low_count_pace: tuple[float, float] = (0.3, 12.0)
    # eight weeks before which no lasting departure is looked for; the same weekdays that a day is held against, and
    # how far back they may lie: half a year and a month, beyond the longest departure
    anomaly_lasting_min_history_days: Annotated[int, Field(ge=28)] = 56
    anomaly_same_weekdays: Annotated[int, Field(ge=4)] = 8
    anomaly_max_weeks_back: Count = 30
    # spreads that one day counts at most: a single day of silence is enough, no more than that
    anomaly_day_most_spreads: Annotated[float, Field(gt=1)] = 7.0
    # usual days in a row that end a departure, and within how many spreads they lie
    anomaly_usual_days: Count = 3
    anomaly_usual_spreads: Annotated[float, Field(gt=0)] = 1.5
    # a fifth less or more: what a team would look into
    anomaly_min_change: Share = 0.2
    # days after which a departure is the new level: a quarter and a week
    anomaly_new_level_days: Annotated[int, Field(ge=56)] = 98
    # days that the spread is measured over: half a year
    anomaly_spread_days: Annotated[int, Field(ge=28)] = 182
    # each departure within those days raises the limits of the next by so much: some customers are erratic
    anomaly_repeat_factor: Annotated[float, Field(ge=0)] = 0.5
    # days from which on a departure is lasting, not a day that stands out by itself
    anomaly_lasting_min_days: Count = 3
    # users a day more or fewer: less is not worth a line
    anomaly_lasting_min_users: Annotated[float, Field(ge=0)] = 1.5
    # share of the usual users of a kind of event under which it has vanished (the other way round: is new)
    anomaly_kind_max_share: Share = 0.1
    # users a day that it has on the other side: less is not worth a line
    anomaly_kind_min_users: Annotated[float, Field(gt=0)] = 5.0
    # days after its release within which a feature's use may grow without being news: half a year
    anomaly_release_days: Count = 182
    # sessions below which the activity of each says nothing, and those of the whole series that a month's mean is shrunken by
    anomaly_min_sessions: Count = 20
    anomaly_prior_sessions: Annotated[float, Field(ge=0)] = 20.0
    # days on each side that a day's activity a session is held against: four weeks
    anomaly_days_around: Count = 28
    # p of a day's activity at which it is left out of what others are held against; the first estimate leaves out the top 2.5%
    anomaly_outlying_p: Share = 1e-4
    anomaly_first_used_share: Share = 0.975
    # return time in days from which on an anomaly is critical, high, medium
    anomaly_return_days: tuple[float, float, float] = (1e12, 1e9, 1e6)
    # tickets opened within a day of an anomaly: how many, and how improbable, to be its likely cause
    anomaly_min_tickets: Count = 3
    anomaly_tickets_max_p: Share = 1e-3
    # usual events of a day on which none means that data is missing, not that nobody worked
    data_gap_min_events: Count = 20

    # customers in one order of adoption: its p and held-out time keep chance away
    order_min_customers: Count = 10
    # p of an order below which it is also tested against churn
    order_tested_on_churn_max_p: Share = 1e-3
    # of one customer: users who use all of a bundle
    bundle_min_users: Count = 5
    # events of a user in the window from which on its choice of features says something
    persona_min_user_events: Count = 20
    # features that the profile of a persona names
    persona_features_shown: Count = 4
    # features in use below which choices of features have no directions
    personas_min_features: Annotated[int, Field(ge=2)] = 3
    # a season needs two full cycles; rhythms, and the weeks held out for them, two whole weeks
    season_min_cycles: Count = 2
    rhythm_min_weeks: Count = 2
    pattern_held_out_min_weeks: Count = 2
    # users below which the personas are unknown, not absent
    personas_min_users: Count = 40
    # a persona works on weekends: share of its activity, and ratio to all users
    persona_weekend_min_share: Share = 0.1
    persona_weekend_min_ratio: Annotated[float, Field(ge=1)] = 1.5
    # hypotheses that are listed though they are not significant: how many, and their largest p
    rejected_patterns_shown: Count = 20
    rejected_patterns_max_p: Share = 0.05
    # a pattern within a tier or tenure: units that show it, and the opposite lift that counts as a reversal
    pattern_group_min_units: Count = 10
    pattern_reversal_min_ratio: Annotated[float, Field(ge=1)] = 1.25
    pattern_group_year_days: Count = 365
    # share of the ARR from which on a pattern matters to many
    pattern_impact_min_arr_share: Share = 0.25
    # a segment of an older run says little of these days
    segment_run_max_age_days: Count = 31
    unusual_days_shown: Count = 50

    # churn signs: a month of events behind each month end, and the month after it
    sign_month_days: Count = 30
    # weekly history, a year; of a large portfolio every fourth week
    sign_history_weeks: Count = 53
    sign_history_large_step_weeks: Count = 4
    # from the first day of a spell to churn, and the retention that patterns are correlated with
    sign_horizon_days: Count = 90
    # p below which a feature is tested again on later months and beside rivals, and how many rivals
    churn_pattern_promising_max_p: Share = 0.05
    churn_pattern_rivals: Count = 3
    # weeks without the sign before a new spell of it can begin
    sign_quiet_weeks: Count = 4
    # spells below which no rate is stated
    sign_min_spells: Count = 20
    # an early sign is a quarter more frequent when a spell begins, with 99% confidence; the most telling are shown
    early_sign_min_ratio: Annotated[float, Field(ge=1)] = 1.25
    early_sign_min_z: Annotated[float, Field(gt=0)] = 2.58
    early_signs_shown: Count = 4
    # the best time to act: a gap between churned and retained customers with 95% confidence
    timing_min_z: Annotated[float, Field(gt=0)] = 1.96
    timing_min_customers: Count = 20
    # a candidate's probability of churn over the portfolio's: churn_risk_level is then high or critical
    churn_candidate_min_ratio: Annotated[float, Field(ge=1)] = 2.0
    # past dates on which the candidates are checked, and how many candidates a precision needs
    churn_candidate_past_dates: Count = 4
    churn_candidate_min_count: Count = 20

    # signs of churn: where the scorecard's points turn, or a fifth to a quarter of the customer's own before
    sign_usage_drop_max_ratio: float = 0.8
    sign_fewer_users_max_ratio: float = 0.8
    sign_fewer_features_max_ratio: float = 0.75
    sign_silence_min_days: float = 5
    sign_idle_seats_max_utilisation: float = 0.6
    sign_seldom_used_max_stickiness: float = 0.15
    sign_narrow_use_max_share: float = 0.4
    sign_one_user_min_share: float = 0.6
    sign_champion_left_min_count: float = 1
    sign_serious_tickets_min_count: float = 1
    sign_many_tickets_min_rate: float = 2
    sign_slow_support_min_hours: float = 72
    sign_detractors_max_nps: float = 0
    sign_overdue_min_days: float = 15
    # signs of retention, by the same rule
    sign_growing_use_min_ratio: float = 1.2
    sign_full_seats_min_utilisation: float = 0.9
    sign_daily_habit_min_stickiness: float = 0.3
    sign_broad_use_min_share: float = 0.7
    sign_promoters_min_nps: float = 50

    # a low spell: scores under this, the lower end of the band Healthy
    recovery_score: Annotated[float, Field(gt=0, lt=100)] = 60
    # recovered: above it for so many weekly dates in a row, the first within so many days
    recovery_steady_weeks: Count = 4
    recovery_days: Count = 90
    # an intervention counts as a treatment of a spell in its first month
    recovery_treated_days: Count = 30
    # weeks before a spell that its slope is measured over
    recovery_slope_weeks: Count = 4
    # untreated spells that a treated one is compared with
    recovery_matches: Count = 3
    # distance of another tier, in squared standard deviations of score and slope: two of them
    recovery_other_tier_distance: Annotated[float, Field(ge=0)] = 4.0
    recovery_min_spells: Count = 20
    recovery_resamples: Count = 400
