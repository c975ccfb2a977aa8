"""Days that were not like others, in one series: more or fewer people, more or less done by each, calls never seen.

Three questions are asked of every day, each with its own law. *People*: were the day's users as many as on that weekday
in the weeks around (``departures.against_weekday``)? *Doing*: did those who came do as much as they usually do
(``anomalies_intensity``)? Asked of the sum of events alone, a customer's day is so wide of its mean by the luck of who
came that spikes drown in it. *Calls* of the API are a machine's, of whose law little is known: they are held against
their weekday, and must also be like none before (``departures.beyond_earlier``). A day is reported where

1. chance gives such a day less often than once in 1 / ``max_p`` days (its return time, from which its severity comes),
2. people and calls: it is at least a fifth away from what was expected.

Where a series is wilder than its law, its own tails say so: its scores are shrunk until their 95 % point (of doing the
98 % point) is no farther out than the normal distribution's. Of few people no p is smaller than Poisson's.

A day that a wider event explains (the whole portfolio's dip) is held against what that event left of it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import pandas as pd
import scipy

from healthseg.clustering.anomalies_intensity import intensity
from healthseg.statistics.departures import Days, against_weekday, beyond_earlier

MAX_P = 1e-5  # one alarm in 270 years of days; a portfolio of 250 has one by chance in a year
SEVERITY_RETURN_DAYS = {"critical": 1e12, "high": 1e9, "medium": 1e6, "low": 0.0}
LEAST_CALL_DAYS = 28
STILL_OPEN_DAYS = 7
COLUMNS = [
    "first_day",
    "last_day",
    "day",
    "anomaly_type",
    "about",
    "value",
    "expected",
    "ratio",
    "z",
    "return_days",
    "severity",
    "person_events",
    "usual_person_events",
    "open",
]


def anomalies(
    days: Mapping[str, np.ndarray] | pd.DataFrame,
    of_usual: np.ndarray | float = 1.0,
    max_p: float = MAX_P,
    since: int = 0,
) -> pd.DataFrame:
    """The anomalies of a daily series, those of days from ``since`` on (all days are what they are held against).

    ``days`` has a value a day, without gaps: day (since 1970), person_events, users (that came), sessions (begun; NaN
    where events have no times: then the events are held against the users) and, where they are measured, api_events
    (with of_usual_length: False for days that a change of clocks made longer or shorter: their calls are not asked).
    ``of_usual`` is what a wider event left of each day's people (1: nothing happened).

    Columns: first_day, last_day, day (the farthest out of them), anomaly_type (unusual_spike, unusual_dip), about
    (people: users; doing: events of those who came; calls of the API), value and expected (of that), ratio, z,
    return_days, severity (critical from 1e12 days, high 1e9, medium 1e6, else low), person_events and
    usual_person_events (median of the weekday around) of the day, open (nothing since was as usual, and
    it is at most a week ago). In order of
    first_day; neighbouring days of one kind are one anomaly.

    >>> day, random = np.arange(140), np.random.default_rng(3)
    >>> users = np.where(day % 7 < 5, 40.0, 4.0) + random.integers(-3, 4, 140)
    >>> days = pd.DataFrame({"day": day, "person_events": 5 * users, "users": users, "sessions": users})
    >>> days.loc[64:65, ["person_events", "users", "sessions"]] = [25, 5, 5]
    >>> anomalies(days)[["first_day", "last_day", "anomaly_type", "about"]].values.tolist()
    [[64, 65, 'unusual_dip', 'people']]
    """
    events, users, begun = (
        np.asarray(days[name], dtype=float) for name in ("person_events", "users", "sessions")
    )
    day = np.asarray(days["day"], dtype=np.int64)
    people = against_weekday(users, of_usual)
    parts = [
        _people(people, max_p),
        _doing(events, np.where(np.isfinite(begun), begun, users), max_p),
    ]
    if "api_events" in days:
        long = (
            np.asarray(days["of_usual_length"], dtype=bool)
            if "of_usual_length" in days
            else np.ones(len(day), bool)
        )
        parts.append(_calls(np.asarray(days["api_events"], dtype=float), long, max_p))
    found = [pd.DataFrame(part) for part in parts if (day[part["place"]] >= since).any()]
    if not found:
        return _nothing()
    rows = pd.concat(found, ignore_index=True)
    rows = rows[day[rows["place"].to_numpy(dtype=np.int64)] >= since].reset_index(drop=True)
    place = rows["place"].to_numpy(dtype=np.int64)
    usual = against_weekday(events)
    usual = pd.Series(usual.expected, index=usual.place).reindex(place).to_numpy(dtype=float)
    rows = rows.assign(day=day[place], person_events=events[place], usual_person_events=usual)
    return _spells(rows, _last_usual_day(day, people), int(day[-1]))


@functools.cache
def _nothing() -> pd.DataFrame:
    return pd.DataFrame({name: [] for name in COLUMNS})


def _people(days: Days, max_p: float) -> dict[str, object]:
    z = _tamed(days.z, 0.95)
    p = np.maximum(2 * scipy.special.ndtr(-np.abs(z)), 2 * _poisson_tail(days.value, days.expected))
    return _passing(
        "people", days.place, days.value, days.expected, z, p, days.is_change & (p <= max_p)
    )


def _poisson_tail(value: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """What chance alone gives where few come: the root of 0 lies far from that of 6, which Poisson reaches easily."""
    upper = scipy.special.gammainc(np.maximum(value, 1e-9), expected)  # P(Y ≥ value)
    return np.where(value > expected, upper, scipy.special.gammaincc(value + 1, expected))


def _doing(events: np.ndarray, sessions: np.ndarray, max_p: float) -> dict[str, object]:
    expected, score = intensity(events, sessions)
    z = _tamed(score, 0.98)
    p = 2 * scipy.special.ndtr(-np.abs(z))
    return _passing("doing", np.arange(len(events)), events, expected, z, p, p <= max_p)


def _calls(calls: np.ndarray, of_usual_length: np.ndarray, max_p: float) -> dict[str, object]:
    days = against_weekday(calls)
    z = _tamed(days.z, 0.95)
    p = np.maximum(2 * scipy.special.ndtr(-np.abs(z)), 2 * _poisson_tail(days.value, days.expected))
    new = (beyond_earlier(calls, LEAST_CALL_DAYS) & of_usual_length)[days.place]
    return _passing(
        "calls", days.place, days.value, days.expected, z, p, days.is_change & (p <= max_p) & new
    )


def _tamed(z: np.ndarray, share: float) -> np.ndarray:
    """Scores shrunk so that ``share`` of them lie where the normal distribution has them, if they lie farther out."""
    if not len(z):
        return z
    return z / max(float(np.quantile(np.abs(z), share)) / scipy.special.ndtri((1 + share) / 2), 1.0)


def _passing(
    about: str,
    place: np.ndarray,
    value: np.ndarray,
    expected: np.ndarray,
    z: np.ndarray,
    p: np.ndarray,
    passes: np.ndarray,
) -> dict[str, object]:
    at = np.flatnonzero(passes)
    ratio = np.divide(value[at], expected[at], out=np.full(len(at), np.nan), where=expected[at] > 0)
    return {
        "about": about,
        "place": place[at],
        "value": value[at],
        "expected": expected[at],
        "ratio": ratio,
        "z": z[at],
        "return_days": 1 / np.maximum(p[at], 1e-300),
    }


def _last_usual_day(day: np.ndarray, people: Days) -> int:
    """The last day on which people came as usual (within two spreads); -1 before any."""
    usual = people.place[(np.abs(people.z) < 2) & (people.expected >= 1)]
    return int(day[usual[-1]]) if len(usual) else -1


def _spells(found: pd.DataFrame, last_usual: int, last: int) -> pd.DataFrame:
    """Neighbouring days of one kind as one, with the figures of the farthest out."""
    found = found.assign(anomaly_type=np.where(found["z"] > 0, "unusual_spike", "unusual_dip"))
    found = found.sort_values(["about", "anomaly_type", "day"], kind="stable", ignore_index=True)
    same = (found["about"] == found["about"].shift()) & (
        found["anomaly_type"] == found["anomaly_type"].shift()
    )
    begins = (found["day"].diff() > 1) | ~same
    spell = begins.cumsum()
    bounds = found.groupby(spell)["day"].agg(first_day="min", last_day="max")
    farthest = found.assign(spell=spell, far=-found["z"].abs()).sort_values(
        ["spell", "far"], kind="stable"
    )
    rows = farthest.groupby("spell").head(1).set_index("spell").join(bounds)
    rows = rows.assign(
        severity=[severity(days) for days in rows["return_days"]],
        open=(rows["last_day"] > last_usual) & (rows["last_day"] > last - STILL_OPEN_DAYS),
    )
    return rows.sort_values(
        ["first_day", "anomaly_type", "about"], kind="stable", ignore_index=True
    )[COLUMNS]


def severity(return_days: float) -> str:
    """The word for a return time.

    >>> severity(2e5), severity(1e13)
    ('low', 'critical')
    """
    return next(word for word, least in SEVERITY_RETURN_DAYS.items() if return_days >= least)
