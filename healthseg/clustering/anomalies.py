"""Unusual days in one daily series, and what lasts: more or fewer people, more or less activity of each, API calls
never seen before.

*Lasting*: were the users of some days in a row, held against the weekdays before, too many or too few in sum
(statistics/level_changes.py)? Silences, dips, rises, new levels; of any length, and where nobody was before. Of a customer
without users (programs alone, or events that name none) silences and falls of its calls or events. *People*:
were the day's users as many as on that weekday in the weeks around, without those days? *Doing*: did those
users do as much as usual? In the sum of events, spikes drown in the luck of who was active. *Calls*
of the API, of whose law little is known, must also be like none before. A day is reported where
chance gives such a day less often than once in 1 / ``anomaly_max_p`` days and, of people and calls,
it is a fifth away from what was expected. Where a series is wilder than its law, its scores are
shrunk until their 95% point (of doing the 98% point) is the normal distribution's. Of few people
no p is smaller than Poisson's.

*Doing*: given S sessions, the events beyond the first of each are negative binomial with mean S·m
and dispersion S·r, m the mean of the four weeks around (without the day, shrunk to the whole
series'), r by moments. Both are estimated without the days that stand out, repeatedly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import scipy

from healthseg.settings import Settings
from healthseg.statistics.level_changes import (
    Days,
    LevelChange,
    LevelRule,
    WeekdayRule,
    against_weekday,
    beyond_earlier,
    level_changes,
    silences,
)

SEVERITIES = ("critical", "high", "medium")
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
    "lasting",
]
ROUNDS = 6
NEAR_SPREADS = 2.0  # within two standard errors p is far above any that matters


def anomalies(
    days: Mapping[str, np.ndarray] | pd.DataFrame,
    settings: Settings,
    of_usual: np.ndarray | float = 1.0,
    since: int = 0,
) -> pd.DataFrame:
    """The anomalies of a daily series, on days from ``since`` on (all days are what they are
    compared with).

    ``days`` has a value a day, without gaps: day (since 1970), person_events, users, sessions (NaN
    where events have no times: then events are compared with users) and, where measured, api_events
    (with of_usual_length: False for days with a change of clocks); tracked is False on days whose data
    is missing: no others are held against them. ``of_usual`` is what a wider event left of each day's people.

    Columns: first_day, last_day, day (the farthest out; the first where it is lasting), anomaly_type (unusual_spike, unusual_dip),
    about (people, doing, calls, events of nobody named), value, expected, ratio, z, return_days, severity, person_events,
    usual_person_events (median of the weekday around), open (recent, no usual day since), lasting
    (value and expected are means of its days). Neighbouring days of one kind are one anomaly.

    >>> day, random = np.arange(140), np.random.default_rng(3)
    >>> users = np.where(day % 7 < 5, 40.0, 4.0) + random.integers(-3, 4, 140)
    >>> days = pd.DataFrame({"day": day, "person_events": 5 * users, "users": users, "sessions": users})
    >>> days.loc[64:65, ["person_events", "users", "sessions"]] = [25, 5, 5]
    >>> anomalies(days, Settings())[["first_day", "last_day", "anomaly_type", "about"]].values.tolist()
    [[64, 65, 'unusual_dip', 'people']]
    """
    events, users, sessions = (
        np.asarray(days[name], dtype=float) for name in ("person_events", "users", "sessions")
    )
    day, max_p = np.asarray(days["day"], dtype=np.int64), settings.anomaly_max_p
    tracked = np.asarray(days.get("tracked", np.ones(len(day), dtype=bool)), dtype=bool)
    about = without_users(days, settings)
    if about is None:
        changes = lasting_changes(users, settings, of_usual, tracked)
    else:  # programs work on when people are away
        counts = events if about == "events" else np.asarray(days["api_events"], dtype=float)
        share = of_usual if about == "events" else 1.0
        changes = lasting_falls(counts, settings, share, tracked)
    single = np.ones(len(day), dtype=bool)  # days that can stand out by themselves
    for change in changes:
        single[change.first : change.last + 1] = False
    usual = single & tracked
    people = against_weekday(users, weekday_rule(settings), of_usual, usual)
    parts = [
        _people(people, max_p, single),
        _doing(events, np.where(np.isfinite(sessions), sessions, users), settings),
    ]
    if "api_events" in days:
        calls = np.asarray(days["api_events"], dtype=float)
        comparable = (usual if about == "calls" else tracked) & beyond_earlier(
            calls, settings.anomaly_min_days, spans=(1,)
        )
        if "of_usual_length" in days:
            comparable &= np.asarray(days["of_usual_length"], dtype=bool)
        parts.append(_calls(calls, comparable, settings))
    recent = [part for part in parts if (day[part["position"]] >= since).any()]
    lasting = [change for change in changes if day[change.last] >= since]
    if not recent and not lasting:
        return pd.DataFrame({name: [] for name in COLUMNS})
    events_usual = against_weekday(events, weekday_rule(settings), usual=usual)
    usual_events = np.full(len(day), np.nan)
    usual_events[events_usual.position] = events_usual.expected
    tables = []
    if recent:
        rows = pd.concat([pd.DataFrame(part) for part in recent], ignore_index=True)
        rows = rows[day[rows["position"].to_numpy(dtype=np.int64)] >= since]
        last_usual = _last_usual_day(day, people, usual)
        tables.append(_spells(_dated(rows, day), last_usual, int(day[-1]), settings))
    if lasting:
        tables.append(lasting_rows(lasting, day, settings, about or "people"))
    table = pd.concat(tables, ignore_index=True)
    position = table["day"].to_numpy(dtype=np.int64) - day[0]
    table = table.assign(person_events=events[position], usual_person_events=usual_events[position])
    order = ["first_day", "anomaly_type", "about"]
    return table.sort_values(order, kind="stable", ignore_index=True)[COLUMNS]


def weekday_rule(settings: Settings) -> WeekdayRule:
    return WeekdayRule(
        settings.anomaly_weeks_around,
        settings.anomaly_min_weekdays_around,
        settings.anomaly_min_change,
    )


def lasting_changes(
    users: np.ndarray,
    settings: Settings,
    of_usual: np.ndarray | float = 1.0,
    tracked: np.ndarray | None = None,
) -> list[LevelChange]:
    """The departures of daily users of ``anomaly_lasting_min_days`` and ``anomaly_lasting_min_users`` a day or more."""
    changes = level_changes(users, level_rule(settings), of_usual, tracked)
    least, users_a_day = settings.anomaly_lasting_min_days, settings.anomaly_lasting_min_users
    return [
        change
        for change in changes
        if change.days >= least and abs(change.value - change.expected) >= users_a_day * change.days
    ]


def level_rule(settings: Settings) -> LevelRule:
    return LevelRule(
        settings.anomaly_lasting_min_history_days,
        settings.anomaly_same_weekdays,
        settings.anomaly_max_weeks_back,
        settings.anomaly_paces,
        settings.anomaly_low_count,
        settings.anomaly_low_count_pace,
        settings.anomaly_day_most_spreads,
        settings.anomaly_usual_spreads,
        settings.anomaly_usual_days,
        settings.anomaly_min_change,
        settings.anomaly_new_level_days,
        settings.anomaly_spread_days,
        settings.anomaly_repeat_factor,
    )


def without_users(days: Mapping[str, np.ndarray] | pd.DataFrame, settings: Settings) -> str | None:
    """The series that is looked at for a customer without users (calls where programs alone use it, else events); None with
    users, which have been there on more than ``api_only_max_person_days`` in ``own_baseline_days``."""
    users = np.asarray(days["users"])
    allowed = settings.api_only_max_person_days * len(users) / settings.own_baseline_days
    if (users > 0).sum() > allowed:
        return None
    events = np.asarray(days["person_events"])
    return "events" if (events > 0).sum() > allowed or "api_events" not in days else "calls"


def lasting_falls(
    counts: np.ndarray, settings: Settings, of_usual: np.ndarray | float, tracked: np.ndarray
) -> list[LevelChange]:
    """The lasting falls and silences of daily events or calls.

    A few programs or one person's hour make many events at once: rises are no news of these, and a silence is held
    against how often a day had none (days on which the rest of the portfolio was away are passed over).
    """
    falls = [
        change
        for change in lasting_changes(counts, settings, of_usual, tracked)
        if change.value < change.expected
    ]
    present = tracked & (np.broadcast_to(of_usual, counts.shape) >= 1 - settings.anomaly_min_change)
    silent = [
        change
        for change in silences(counts, level_rule(settings), settings.anomaly_max_p, present)
        if change.days >= settings.anomaly_lasting_min_days
        and not any(change.first <= fall.last and fall.first <= change.last for fall in falls)
    ]
    return sorted([*falls, *silent], key=lambda change: change.first)


def lasting_rows(
    changes: list[LevelChange], day: np.ndarray, settings: Settings, about: str = "people"
) -> pd.DataFrame:
    """The departures as rows of ``anomalies``, their tracked days' means as value and expected."""
    z = np.array([change.z for change in changes])
    first = np.array([change.first for change in changes])
    last = np.array([change.last for change in changes])
    p = np.clip(2 * scipy.special.ndtr(-np.abs(z)), 1e-300, settings.anomaly_max_p)
    days = np.array([change.days for change in changes])
    value = np.array([change.value for change in changes]) / days
    expected = np.array([change.expected for change in changes]) / days
    ratio = np.full(len(z), np.nan)
    np.divide(value, expected, ratio, where=expected > 0)
    return pd.DataFrame(
        {
            "first_day": day[first],
            "last_day": day[last],
            "day": day[first],
            "anomaly_type": np.where(value > expected, "unusual_spike", "unusual_dip"),
            "about": about,
            "value": value,
            "expected": expected,
            "ratio": ratio,
            "z": z,
            "return_days": 1 / p,
            "severity": [severity(each, settings) for each in 1 / p],
            "open": (last == len(day) - 1) & [change.lasts for change in changes],
            "lasting": True,
        }
    )


def _dated(rows: pd.DataFrame, day: np.ndarray) -> pd.DataFrame:
    rows = rows.reset_index(drop=True)
    return rows.assign(day=day[rows["position"].to_numpy(dtype=np.int64)])


def _people(days: Days, max_p: float, usual: np.ndarray) -> dict[str, Any]:
    is_usual = usual[days.position]
    z = _tamed(days.z, 0.95, is_usual)
    p = np.maximum(2 * scipy.special.ndtr(-np.abs(z)), 2 * _poisson_tail(days.value, days.expected))
    passes = days.is_change & (p <= max_p) & is_usual
    return _passing("people", days.position, days.value, days.expected, z, p, passes)


def _poisson_tail(value: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The chance of a value as far out: the root of 0 lies far from that of 6, which Poisson reaches easily."""
    upper = scipy.special.gammainc(np.maximum(value, 1e-9), expected)  # P(Y ≥ value)
    return np.where(value > expected, upper, scipy.special.gammaincc(value + 1, expected))


def _doing(events: np.ndarray, sessions: np.ndarray, settings: Settings) -> dict[str, Any]:
    expected, score = intensity(events, sessions, settings)
    z = _tamed(score, 0.98)
    p = 2 * scipy.special.ndtr(-np.abs(z))
    passes = p <= settings.anomaly_max_p
    return _passing("doing", np.arange(len(events)), events, expected, z, p, passes)


def _calls(calls: np.ndarray, comparable: np.ndarray, settings: Settings) -> dict[str, Any]:
    days = against_weekday(calls, weekday_rule(settings))
    part = _people(days, 1.0, np.ones(len(calls), dtype=bool))
    passes = (1 / part["return_days"] <= settings.anomaly_max_p) & comparable[part["position"]]
    return {
        name: column if name == "about" else column[passes] for name, column in part.items()
    } | {"about": "calls"}


def _tamed(z: np.ndarray, share: float, usual: np.ndarray | None = None) -> np.ndarray:
    """Scores shrunk so that ``share`` of the usual ones lie where the normal distribution has them, if they lie farther out."""
    reference = z if usual is None else z[usual]
    if not len(reference):
        return z
    quantile = float(np.quantile(np.abs(reference), share)) / scipy.special.ndtri((1 + share) / 2)
    return z / max(quantile, 1.0)


def _passing(
    about: str,
    position: np.ndarray,
    value: np.ndarray,
    expected: np.ndarray,
    z: np.ndarray,
    p: np.ndarray,
    passes: np.ndarray,
) -> dict[str, Any]:
    value, expected = value[passes], expected[passes]
    ratio = np.full(len(value), np.nan)
    np.divide(value, expected, ratio, where=expected > 0)
    return {
        "about": about,
        "position": position[passes],
        "value": value,
        "expected": expected,
        "ratio": ratio,
        "z": z[passes],
        "return_days": 1 / np.maximum(p[passes], 1e-300),
    }


def _last_usual_day(day: np.ndarray, people: Days, usual: np.ndarray) -> int:
    """The last day with as many people as usual (within two spreads); -1 before any."""
    near = (np.abs(people.z) < 2) & (people.expected >= 1) & usual[people.position]
    return int(day[people.position[near][-1]]) if near.any() else -1


def _spells(rows: pd.DataFrame, last_usual: int, last: int, settings: Settings) -> pd.DataFrame:
    """Neighbouring days of one kind as one, with the figures of the farthest out."""
    rows = rows.assign(anomaly_type=np.where(rows["z"] > 0, "unusual_spike", "unusual_dip"))
    kind = ["about", "anomaly_type"]
    rows = rows.sort_values([*kind, "day"], kind="stable", ignore_index=True)
    begins = (rows["day"].diff() > 1) | (rows[kind] != rows[kind].shift()).any(axis=1)
    rows = rows.assign(spell=begins.cumsum(), far=-rows["z"].abs())
    spells = rows.groupby("spell")["day"]
    rows = rows.assign(first_day=spells.transform("min"), last_day=spells.transform("max"))
    farthest = rows.sort_values(["spell", "far"], kind="stable").groupby("spell").head(1)
    recent = farthest["last_day"] > last - settings.anomaly_open_days
    farthest = farthest.assign(
        severity=[severity(days, settings) for days in farthest["return_days"]],
        open=recent & (farthest["last_day"] > last_usual),
        lasting=False,
    )
    return farthest[[name for name in COLUMNS if name in farthest]]


def severity(return_days: float, settings: Settings) -> str:
    """The word for a return time.

    >>> severity(2e5, Settings()), severity(1e13, Settings())
    ('low', 'critical')
    """
    words = zip(SEVERITIES, settings.anomaly_return_days, strict=True)
    return next((word for word, least in words if return_days >= least), "low")


def intensity(
    events: np.ndarray, sessions: np.ndarray, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """For each day of one series: events expected of its sessions, and the signed score of the actual events.

    The score is the normal quantile of the upper (lower: of the lower) tail's probability, 0 on days without a session
    and on those within two standard errors. Both are 0 where the series has fewer than ``anomaly_min_sessions``.

    >>> random = np.random.default_rng(1)
    >>> sessions = random.integers(1, 4, 200)
    >>> events = np.array([random.geometric(0.2, n).sum() for n in sessions], dtype=float)
    >>> events[[50, 120]] *= 12
    >>> np.flatnonzero(intensity(events, sessions, Settings())[1] > 4.3).tolist()
    [50, 120]
    """
    events, sessions = np.asarray(events, dtype=float), np.asarray(sessions, dtype=float)
    active = (sessions > 0) & (events >= sessions)
    used = _without_highest(events, sessions, active, settings.anomaly_first_used_share)
    score, mean = np.zeros(len(events)), np.zeros(len(events))
    for _ in range(ROUNDS):
        if sessions[used].sum() < settings.anomaly_min_sessions:
            return np.zeros(len(events)), np.zeros(len(events))
        mean = _local_mean(events * used, sessions * used, settings)
        score = np.where(active, _intensity_score(events - sessions, sessions, mean, used), 0.0)
        usual = active & (np.abs(score) < -scipy.special.ndtri(settings.anomaly_outlying_p))
        if (usual == used).all():
            break
        used = usual
    return sessions * mean, score


def _without_highest(
    events: np.ndarray, sessions: np.ndarray, active: np.ndarray, share: float
) -> np.ndarray:
    if not active.any():
        return active
    each = np.divide(events, sessions, out=np.zeros(len(events)), where=active)
    return active & (each <= np.quantile(each[active], share))


def _local_mean(events: np.ndarray, sessions: np.ndarray, settings: Settings) -> np.ndarray:
    """Events a session in the weeks around each day, without it, shrunk to the whole series'."""
    overall, prior = events.sum() / sessions.sum(), settings.anomaly_prior_sessions
    near_events, near_sessions = (
        _sum_around(each, settings.anomaly_days_around) for each in (events, sessions)
    )
    return (near_events + prior * overall) / (near_sessions + prior)


def _sum_around(values: np.ndarray, days: int) -> np.ndarray:
    sums, position = np.r_[0.0, np.cumsum(values)], np.arange(len(values))
    first = np.maximum(position - days, 0)
    after = np.minimum(position + days + 1, len(values))
    return sums[after] - sums[first] - values


def _intensity_score(
    more: np.ndarray, sessions: np.ndarray, mean: np.ndarray, used: np.ndarray
) -> np.ndarray:
    each = np.maximum(mean - 1, 1e-3)
    size = _dispersion(more[used], sessions[used], each[used])
    expected = sessions * each
    spread = np.sqrt(np.maximum(expected + expected * each / size, 1e-12))
    far = (np.abs(more - expected) > NEAR_SPREADS * spread) & (sessions > 0)
    score = np.zeros(len(more))
    chance = size / (size + each[far])
    score[far] = _negative_binomial_z(more[far], expected[far], sessions[far] * size, chance)
    return score


def _negative_binomial_z(
    value: np.ndarray, expected: np.ndarray, size: np.ndarray, chance: np.ndarray
) -> np.ndarray:
    """Normal quantiles of the tails; P(Y ≤ k) is the incomplete beta ratio I_chance(size, k + 1)."""
    upper = scipy.special.betaincc(size, np.maximum(value, 1e-9), chance)
    lower = scipy.special.betainc(size, value + 1, chance)
    up, down = (scipy.special.ndtri(np.maximum(tail, 1e-300)) for tail in (upper, lower))
    return np.where(value > expected, -up, down)


def _dispersion(more: np.ndarray, sessions: np.ndarray, each: np.ndarray) -> float:
    """r of one session: its variance is m + m²/r."""
    variance = float(((more - sessions * each) ** 2 / sessions).mean())
    mean = float(each.mean())
    return min(max(mean**2 / max(variance - mean, 1e-6), 0.05), 1e6)
