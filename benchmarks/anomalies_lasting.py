"""Lasting departures in simulated series of daily users: what is found, how soon, and how often an alarm is false.

    python benchmarks/anomalies_lasting.py [--series 200]

Series of 365 days with weekends of 0 to 100% of a weekday, Poisson unless named otherwise. Negative binomial series have a
dispersion of 4 to 20; autocorrelated ones a log mean that follows an AR(1) of 0.5 to 0.9 with a spread of 0.1 to 0.3. An event
begins on day 120 to 260; it is found where an anomaly in its direction begins by its third day with usual users (slow ones: by their end). Alarms
are false where there is no event. Customers without users have negative binomial calls of a mean of 20 to 3,000 and a
dispersion of 1 to 20; their silences begin on a weekday. The laws are not those of the demo portfolio. Exit status 1 where a figure misses its reach.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

from healthseg.clustering.anomalies import anomalies, lasting_falls  # noqa: E402
from healthseg.clustering.unusual_days import kind_changes  # noqa: E402
from healthseg.settings import Settings  # noqa: E402

DAYS = 365
REACH_FOUND, REACH_FALSE, REACH_LOOSE = 0.95, 0.05, 0.9
NULLS = ("poisson", "negative binomial", "autocorrelated", "growing", "poisson, untracked")
# name: (mean users, factor of the event, its days; 0: to the end), and whether .95 is to be reached
EVENTS = {
    **{f"silence of {days} days": ((15, 25, 100), 0.0, days) for days in (1, 3, 7, 14, 28, 60, 90)},
    **{f"half for {days} days": ((40, 60, 100), 0.5, days) for days in (7, 14, 28, 60)},
    "half from then on": ((40, 60, 100), 0.5, 0),
    "twice from then on": ((40, 60, 100), 2.0, 0),
    "0 to 40 users": ((40,), np.inf, 0),
    "twice within 20 days, slowly": ((40,), 2.0, -20),
    "0 to 40 within 20 days, slowly": ((40,), np.inf, -20),
    "half for 28 days, 10 untracked": ((40, 60, 100), 0.5, 28),
    "silence of 28 days, 10 untracked": ((15, 25, 100), 0.0, 28),
    "silence of 7 days, 5 users a day": ((5,), 0.0, 7),
    "half for 60 days, 5 users a day": ((5,), 0.5, 60),
}
LOOSE = ("slowly", "7 days, 5 users")
UNTRACKED = 10  # days from the fifth of an event on, or before day 200 of a series without one
KINDS = ("a new kind", "a kind that vanishes")
NO_REACH = "half for 60 days, 5 users a day"


def users(random: np.random.Generator, mean: float, kind: str = "poisson") -> np.ndarray:
    """Daily users without any event."""
    weekday = (np.arange(DAYS) + random.integers(7)) % 7 < 5
    level = mean * np.where(weekday, 1.0, random.choice([0.0, 0.1, 0.3, 1.0]))
    if kind == "negative binomial":
        size = random.choice([4, 8, 20])
        level = level * random.gamma(size, 1 / size, DAYS)
    elif kind == "autocorrelated":
        like, spread = random.choice([0.5, 0.7, 0.9]), random.choice([0.1, 0.2, 0.3])
        noise = random.normal(0, spread, DAYS)
        for day in range(1, DAYS):
            noise[day] = like * noise[day - 1] + np.sqrt(1 - like**2) * noise[day]
        level = level * np.exp(noise - spread**2 / 2)
    elif kind == "growing":
        level = level * random.uniform(1.5, 4) ** (np.arange(DAYS) / DAYS)
    return random.poisson(level).astype(float)


def frame(random: np.random.Generator, daily: np.ndarray) -> pd.DataFrame:
    """The series that ``anomalies`` reads: one to two sessions a user, geometric bursts of events."""
    sessions = daily + random.binomial(daily.astype(int), 0.4)
    more = [random.negative_binomial(count, 0.2) if count else 0 for count in sessions.astype(int)]
    columns = {"person_events": sessions + more, "users": daily, "sessions": sessions}
    return pd.DataFrame({"day": np.arange(DAYS), **columns}).astype(float)


def with_event(random: np.random.Generator, name: str) -> tuple[np.ndarray, int, int]:
    """Daily users with the event, its third day with usual users (or its last), and its first day."""
    means, factor, days = EVENTS[name]
    start = int(random.integers(120, 260))
    mean = float(random.choice(means))
    daily = users(random, mean)
    end = min(start + days, DAYS) if days > 0 else DAYS
    inside = slice(start, end)
    usual = daily[inside].copy()
    if factor == np.inf:
        daily = np.where(np.arange(DAYS) < start, 0.0, daily)
        factor = 1.0
        if days < 0:
            ramp = np.minimum((np.arange(start, end) - start) / -days, 1)
            daily[inside] = random.binomial(daily[inside].astype(int), ramp)
    elif factor <= 1:
        daily[inside] = random.binomial(daily[inside].astype(int), factor)
    else:
        ramp = np.minimum((np.arange(start, end) - start) / max(-days, 1), 1)
        daily[inside] += random.poisson(usual * (factor - 1) * ramp)
    worked = np.flatnonzero(usual >= mean / 2) + start
    third = int(worked[min(2, len(worked) - 1)]) if len(worked) else -1
    return daily, third - min(days, 0), start


def is_found(seed: int, name: str, settings: Settings) -> bool | None:
    """Whether the event is found; None where no day of it has usual users."""
    random = np.random.default_rng([seed, list(EVENTS).index(name)])
    daily, third, start = with_event(random, name)
    if third < 0:
        return None
    kind = "unusual_dip" if EVENTS[name][1] < 1 else "unusual_spike"
    days = frame(random, daily)
    if "untracked" in name:
        days = untracked(days, start + 5)
    table = anomalies(days, settings)
    hit = (table["anomaly_type"] == kind) & (table["about"] == "people")
    return bool((hit & (table["first_day"] <= third) & (table["last_day"] >= start)).any())


def false_alarms(seed: int, kind: str, settings: Settings) -> int:
    random = np.random.default_rng([seed, 99])
    daily = users(random, float(random.choice([1, 2, 5, 10, 20, 40, 100, 300])), kind)
    days, first = frame(random, daily), 200 - UNTRACKED
    if "untracked" not in kind:
        return len(anomalies(days, settings))
    table = anomalies(untracked(days, first), settings)
    beside = (table["last_day"] < first) | (table["first_day"] >= first + UNTRACKED)
    return int(beside.sum())  # the days without data are reported as such, and not counted


def untracked(days: pd.DataFrame, first: int) -> pd.DataFrame:
    """The days with ``UNTRACKED`` of them without data."""
    is_lost = days["day"].between(first, first + UNTRACKED - 1)
    counts = ["person_events", "users", "sessions"]
    return days.assign(
        **{name: days[name].where(~is_lost, 0.0) for name in counts}, tracked=~is_lost
    )


def kind_is_found(seed: int, name: str, settings: Settings) -> bool:
    """Whether a feature of 10 to 60 users a day that begins, or ends, is named from 3 days before to 9 days after."""
    random = np.random.default_rng([seed, 7 + KINDS.index(name)])
    daily = users(random, float(random.choice([10, 20, 60])), "negative binomial")
    start, is_new = int(random.integers(120, 260)), name == KINDS[0]
    daily[:start] *= not is_new
    daily[start:] *= is_new
    changes = kind_changes(daily, settings)
    return any(
        (change.value > change.expected) == is_new and start - 3 <= change.first <= start + 9
        for change in changes
    )


def false_kinds(seed: int, kind: str, settings: Settings) -> int:
    random = np.random.default_rng([seed, 98])
    return len(kind_changes(users(random, float(random.choice([5, 10, 20, 60])), kind), settings))


def calls(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Daily calls of programs, without any event, and the days that are no weekend."""
    random = np.random.default_rng([seed, 97])
    weekday = (np.arange(DAYS) + random.integers(7)) % 7 < 5
    level = random.choice([20, 100, 500, 3000]) * np.where(weekday, 1, random.choice([0, 0.3, 1]))
    size = random.choice([1, 2, 4, 8, 20])
    return random.poisson(level * random.gamma(size, 1 / size, DAYS)).astype(float), weekday


def false_falls(seed: int, settings: Settings) -> int:
    return len(lasting_falls(calls(seed)[0], settings, 1.0, np.ones(DAYS, dtype=bool)))


def silence_is_found(seed: int, days: int, settings: Settings) -> bool:
    """Whether a silence of a customer without users is found from 3 days before to 3 days after its first."""
    daily, weekday = calls(seed)
    start = int(np.random.default_rng([seed, days]).integers(120, 260))
    start += next(more for more in range(7) if weekday[start + more : start + more + 3].all())
    daily[start : start + days] = 0.0
    found = lasting_falls(daily, settings, 1.0, np.ones(DAYS, dtype=bool))
    return any(abs(change.first - start) <= 3 for change in found)


def main() -> int:
    reader = argparse.ArgumentParser(description="lasting departures in simulated series")
    reader.add_argument("--series", type=int, default=200)
    count, settings, missed = reader.parse_args().series, Settings(), False
    for kind in NULLS:
        rate = np.mean([false_alarms(seed, kind, settings) for seed in range(2 * count)])
        missed |= bool(rate > REACH_FALSE)
        print(f"{kind:35s} {rate:.3f} false alarms a customer and year (reach {REACH_FALSE})")
    for kind in NULLS[:3]:
        rate = np.mean([false_kinds(seed, kind, settings) for seed in range(2 * count)])
        missed |= bool(rate > REACH_FALSE)
        print(f"kinds, {kind:28s} {rate:.3f} false alarms a feature and year (reach {REACH_FALSE})")
    for name in KINDS:
        share = float(np.mean([kind_is_found(seed, name, settings) for seed in range(count)]))
        missed |= share < REACH_LOOSE
        print(f"{name:35s} {share:.3f} found (reach {REACH_LOOSE})")
    rate = np.mean([false_falls(seed, settings) for seed in range(2 * count)])
    missed |= bool(rate > REACH_FALSE)
    print(
        f"{'without users':35s} {rate:.3f} false alarms a customer and year (reach {REACH_FALSE})"
    )
    for days in (3, 28, 60):
        share = float(np.mean([silence_is_found(seed, days, settings) for seed in range(count)]))
        missed |= share < REACH_LOOSE
        print(
            f"{f'without users, silent for {days} days':35s} {share:.3f} found (reach {REACH_LOOSE})"
        )
    for name in EVENTS:
        hits = [is_found(seed, name, settings) for seed in range(count)]
        share = float(np.mean([hit for hit in hits if hit is not None]))
        reach = REACH_LOOSE if any(word in name for word in LOOSE) else REACH_FOUND
        reach = 0.0 if name == NO_REACH else reach
        missed |= share < reach
        print(f"{name:35s} {share:.3f} found (reach {reach})", flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
