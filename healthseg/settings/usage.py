"""Usage: what makes a peak of the week, a fall, an idle seat, a trend."""

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
