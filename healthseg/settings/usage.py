"""Usage and adoption: peaks, falls, idle seats, trends; when a feature is abandoned, little used, worth a recommendation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from healthseg.settings.base import Frozen

Share = Annotated[float, Field(gt=0, le=1)]


class UsageSettings(Frozen):
    """Usage: what makes a peak of the week, a fall, an idle seat, a trend."""

    # a peak: how far it lies above the mean, and how rarely chance does that among all hours (or
    # days) of a flat week
    peak_min_ratio: Annotated[float, Field(gt=1)] = 1.25
    peak_max_p: Annotated[float, Field(gt=0, lt=1)] = 0.01
    # the trend's window is the period, and three months at least
    usage_trend_days: Annotated[int, Field(ge=42)] = 84
    # fewer weeks have no trend that an interval could exclude zero for
    usage_trend_min_weeks: Annotated[int, Field(ge=4)] = 6
    # the correlation of what neighbouring weeks have besides their trend, for a change of the trend: where it is assumed
    # to be 0, weeks that do resemble each other report a change in a third of flat series
    usage_week_correlation: Annotated[float, Field(ge=0, lt=1)] = 0.5
    # the portfolio holds while its median customer keeps nine tenths of its own baseline …
    portfolio_holds_min_ratio: Share = 0.9
    # … and a customer has fallen with less than four fifths of its own
    own_baseline_fall_ratio: Share = 0.8
    # growth a week that twelve weeks make three times as much: where it may be, a trend is not called stable
    clear_trend_max_growth: Share = 0.1
    # breaking away: below four fifths of the portfolio's median, and two robust spreads out
    breaking_away_max_ratio: Share = 0.8
    breaking_away_max_z: float = -2.0
    # a customer has idle seats with fewer than half of them in use
    idle_seats_max_utilisation: Share = 0.5
    # an alert interrupts somebody: it waits until fewer than three of ten are in use
    idle_seats_alert_max_utilisation: Share = 0.3
    # before a renewal so near, fewer than seven of ten in use are a reason to offer fewer: buyers look at them then
    idle_seats_renewal_days: Annotated[int, Field(ge=0)] = 180
    idle_seats_renewal_max_utilisation: Share = 0.7
    # silence that calls for a call: two weeks are longer than most holidays
    silent_days: Annotated[int, Field(ge=1)] = 14
    # unusual days of the portfolio are looked for in the last year
    unusual_days_window_days: Annotated[int, Field(ge=28)] = 365

    @property
    def limits_in_rules(self) -> dict[str, float]:
        """What the rules of several tools call silent, idle and fallen."""
        return {
            "silent_days": float(self.silent_days),
            "idle_seats_max_utilisation": self.idle_seats_max_utilisation,
            "idle_seats_alert_max_utilisation": self.idle_seats_alert_max_utilisation,
            "idle_seats_renewal_days": float(self.idle_seats_renewal_days),
            "idle_seats_renewal_max_utilisation": self.idle_seats_renewal_max_utilisation,
            "own_baseline_fall_ratio": self.own_baseline_fall_ratio,
        }


class AdoptionSettings(Frozen):
    """Adoption of features: when one is abandoned, little used, first used, worth a recommendation."""

    # two months without a use: longer than a quarter's routine
    abandoned_after_days: Annotated[int, Field(ge=14)] = 60
    # use in the last four weeks is recent
    adoption_recent_days: Annotated[int, Field(ge=1)] = 28
    # adoption lasts where the feature is in use half a year later
    adoption_lasting_days: Annotated[int, Field(ge=1)] = 180
    # ever: the second day is the first that was chosen
    funnel_first_use_days: Annotated[int, Field(ge=2)] = 2
    low_adoption_share: Annotated[float, Field(gt=0, lt=1)] = 0.25
    # a feature is called little adopted only when released for a quarter …
    low_adoption_min_released_days: Annotated[int, Field(ge=0)] = 90
    # … and when so many customers could use it; tiers with fewer set no target
    adoption_min_customers: Annotated[int, Field(ge=1)] = 8
    # answers on a feature from which a mean is shown
    feature_csat_min_answers: Annotated[int, Field(ge=1)] = 5
    # tickets on one topic, or low answers, that make a barrier
    barrier_min_tickets: Annotated[int, Field(ge=1)] = 3
    barrier_max_csat: Annotated[float, Field(ge=0)] = 2.0
    # a reader acts on a handful: barriers of a feature, recommendations of a tool
    barriers_max_count: Annotated[int, Field(ge=1)] = 5
    recommendations_max_count: Annotated[int, Field(ge=1)] = 5
    # retention after a quarter's end, churn after a month's, and a rise of ARR, which takes longer
    adoption_effect_horizon_days: Annotated[int, Field(ge=1)] = 90
    adoption_effect_step_days: Annotated[int, Field(ge=1)] = 30
    adoption_effect_expansion_days: Annotated[int, Field(ge=1)] = 180
    # a message about a feature reaches back a month, its effect is looked for over two
    adoption_message_days: Annotated[int, Field(ge=1)] = 30
    adoption_message_horizon_days: Annotated[int, Field(ge=1)] = 60
    # standard deviations from the other groups, from which a metric names an adoption pattern
    adoption_pattern_min_difference_sds: Annotated[float, Field(gt=0)] = 0.5
