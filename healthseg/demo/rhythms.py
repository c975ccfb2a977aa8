"""When in the week people work: weekday log-odds, hour profiles, and which customers peak where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from healthseg.demo.customers import Customers
from healthseg.demo.frame import Frame, stream
from healthseg.demo.scenarios import Scenario

# log-odds of coming, Monday first
WEEKDAYS = np.array([0.05, 0.10, 0.10, 0.0, -0.15, -2.6, -2.7])
NULL_WEEKDAY = -0.75  # on all days alike, for about the same volume
PEAK_LOG_ODDS = 1.6  # more on a planted weekday
PEAK_SHARE = 0.30


def _profile(peaks: dict[int, float], office: tuple[int, int]) -> np.ndarray:
    """Shares of 24 hours: a plateau over office hours, its edges lower, some hours above it."""
    hours = np.full(24, 0.004)
    hours[office[0] : office[1]] = 1.0
    hours[[office[0], office[1] - 1]] = 0.45
    for hour, height in peaks.items():
        hours[hour] = height
    return hours / hours.sum()


PROFILES = np.array(
    [
        _profile({10: 3.2, 14: 2.8}, (8, 18)),
        _profile({8: 3.4, 9: 3.0}, (7, 17)),
        _profile({16: 3.6}, (8, 19)),
        _profile({20: 3.6, 21: 3.2}, (10, 23)),
        np.full(24, 1 / 24),
    ]
)
PROFILE_SHARES = (0.55, 0.18, 0.15, 0.12, 0.0)
FLAT = 4


@dataclass
class Rhythms:
    profile: np.ndarray  # customer → place in PROFILES
    peak_weekday: np.ndarray  # customer → 0 … 6, or -1

    def weekday_odds(self, days: Frame, planted: bool) -> np.ndarray:
        """Customers × days: log-odds of the day's weekday."""
        if not planted:
            return np.full((len(self.profile), days.days), NULL_WEEKDAY, np.float32)
        weekday = weekdays(days)
        odds = np.broadcast_to(WEEKDAYS[weekday], (len(self.profile), days.days)).astype(np.float32)
        return odds + np.float32(PEAK_LOG_ODDS) * (weekday[None, :] == self.peak_weekday[:, None])

    def draw_hours(self, client: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """An hour for each uniform number, by the customer's profile."""
        cumulated = np.cumsum(PROFILES, axis=1)
        cumulated[:, -1] = 1.0
        shifted = (cumulated + np.arange(len(PROFILES))[:, None]).ravel()
        profile = self.profile[client]
        return np.searchsorted(shifted, uniform + profile, side="right") - 24 * profile


def weekdays(days: Frame) -> np.ndarray:
    """The weekday of each of the portfolio's days, Monday 0."""
    return (np.arange(days.start, days.start + days.days) + 3) % 7


def draw_rhythms(seed: int, chunk: int, who: Customers, world: Scenario) -> Rhythms:
    rng = stream(seed, chunk, "rhythms")
    profile = rng.choice(len(PROFILES), who.count, p=PROFILE_SHARES)
    peak = np.where(rng.random(who.count) < PEAK_SHARE, rng.integers(0, 5, who.count), -1)
    if not world.planted:
        return Rhythms(np.full(who.count, FLAT), np.full(who.count, -1))
    return Rhythms(profile, peak)
