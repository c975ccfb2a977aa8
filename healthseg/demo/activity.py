"""Activity: when people are active, the events of their sessions, API calls, and what is unusual in them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import ndtri

from healthseg.demo import oracle
from healthseg.demo.customers import autoregression
from healthseg.demo.scenarios import DAY_MS, HOUR_MS, World, epoch_day
from healthseg.demo.schema import API, FEATURE_NAMES, UI

if TYPE_CHECKING:
    from healthseg.demo.portfolio import Batch

# log-odds of being active, Monday first; on all days of the null scenario, for about the same volume
WEEKDAY_LOG_ODDS = np.array([0.05, 0.10, 0.10, 0.0, -0.15, -2.6, -2.7])
NULL_WEEKDAY_LOG_ODDS = -0.75
# added on a planted weekday, which this share of the customers has
PEAK_LOG_ODDS, PEAK_SHARE = 1.6, 0.30


def _hour_profile(peaks: dict[int, float], office: tuple[int, int]) -> np.ndarray:
    """Shares of 24 hours: a plateau over office hours with lower edges, and hours above it."""
    hours = np.full(24, 0.004)
    hours[office[0] : office[1]] = 1.0
    hours[[office[0], office[1] - 1]] = 0.45
    for hour, height in peaks.items():
        hours[hour] = height
    return hours / hours.sum()


HOUR_PROFILES = np.array(
    [
        _hour_profile({10: 3.2, 14: 2.8}, (8, 18)),
        _hour_profile({8: 3.4, 9: 3.0}, (7, 17)),
        _hour_profile({16: 3.6}, (8, 19)),
        _hour_profile({20: 3.6, 21: 3.2}, (10, 23)),
        np.full(24, 1 / 24),
    ]
)
PROFILE_SHARES, FLAT_PROFILE = (0.55, 0.18, 0.15, 0.12, 0.0), 4
# a rhythm's sessions and power are stated over these days; less used weekdays and hours are no peaks
RHYTHM_DAYS = 90
LEAST_SHARE = {"weekday": 0.05, "hour": 0.02}

HOLIDAYS = (
    ((12, 25), "holiday: Christmas Day"),
    ((12, 26), "holiday: Boxing Day"),
    ((1, 1), "holiday: New Year"),
    ((5, 1), "holiday: Labour Day"),
)
HOLIDAY_FACTOR = 0.15
# kind, position in the portfolio, first weekday, days, factor on activity, label in the calendar
PORTFOLIO_ANOMALIES = (
    ("launch", 0.25, 1, 3, 1.30, "launch: planning suite"),
    ("incident", 0.55, 2, 2, 0.30, "incident: login outage"),
    ("launch", 0.70, 0, 3, 1.30, "launch: {season} release"),
    # a day of UTC that was never loaded
    ("gap", 0.40, 3, 1, 0.0, None),
    ("dip", 0.85, 1, 1, 0.45, None),
)
SEASONS = ("winter", "spring", "summer", "autumn")  # of the northern half, from December on
CLIENT_ANOMALY_SHARE = 0.16
# small customers' days are often empty: only customers with more seats can show a dip
DIP_SEATS = 18

# mean number beyond the first event of a session
MORE_EVENTS = 4.3
QUARTER_DAYS = 91.3
# of a session: with starts two clock hours apart, a gap of 30 minutes stays
LONGEST_MS = 28 * 60_000
# by persona and feature
TASTE = np.array(
    [
        [0.2, 0.2, 0.1, 0.3, 9, 0.2, 8, 1, 8, 0.1, 0.1, 0.2, 2, 2, 0.3],
        [9, 0.2, 0.1, 0.4, 0.1, 9, 0.1, 4, 0.1, 0.2, 0.2, 0.1, 1, 0.5, 4],
        [0.2, 9, 0.4, 2, 0.1, 0.2, 0.1, 0.1, 0.1, 5, 0.1, 0.1, 1, 1, 0.2],
        [0.2, 0.2, 9, 0.3, 0.3, 0.1, 0.2, 0.2, 0.2, 0.1, 7, 9, 0.2, 0.2, 0.2],
    ]
)
# shares of the first four of EVENT_NAMES
EVENT_SHARES = (0.5, 0.2, 0.18, 0.07)


@dataclass
class Rhythms:
    """Per customer: position in HOUR_PROFILES, and the planted weekday (Monday 0) or -1."""

    profile: np.ndarray
    peak_weekday: np.ndarray

    def weekday_log_odds(self, world: World) -> np.ndarray:
        """Customers × days."""
        if not world.planted:
            return np.full((len(self.profile), world.days), NULL_WEEKDAY_LOG_ODDS, np.float32)
        is_peak = world.weekdays == self.peak_weekday[:, None]
        usual = WEEKDAY_LOG_ODDS[world.weekdays].astype(np.float32)
        return usual + np.float32(PEAK_LOG_ODDS) * is_peak

    def draw_hours(self, client: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """An hour for each uniform number, by the customer's profile."""
        cumulated = np.cumsum(HOUR_PROFILES, axis=1)
        cumulated[:, -1] = 1.0
        shifted = (cumulated + np.arange(len(HOUR_PROFILES))[:, None]).ravel()
        profile = self.profile[client]
        return np.searchsorted(shifted, uniform + profile, side="right") - 24 * profile


def draw_rhythms(batch: Batch) -> Rhythms:
    world = batch.world
    rng, count = world.random("rhythms"), batch.customers.count
    profile = rng.choice(len(HOUR_PROFILES), count, p=PROFILE_SHARES)
    peak = np.where(rng.random(count) < PEAK_SHARE, rng.integers(0, 5, count), -1)
    if not world.planted:
        return Rhythms(np.full(count, FLAT_PROFILE), np.full(count, -1))
    return Rhythms(profile, peak)


# first day, last day, factor, kind, label
PortfolioAnomaly = tuple[int, int, float, str, str | None]


@dataclass
class Anomalies:
    """``activity`` and ``volume`` multiply the chance of activity and a session's events, customers × days."""

    activity: np.ndarray
    volume: np.ndarray
    # first day, last day, label
    calendar: list[tuple[int, int, str]]
    portfolio: list[PortfolioAnomaly]
    # customer, first day, last day, factor, kind
    clients: list[tuple[int, int, int, float, str]]

    def loaded(self, utc_day: np.ndarray) -> np.ndarray:
        """Whether the day of UTC is no gap."""
        return ~np.isin(
            utc_day, [first for first, _, _, kind, _ in self.portfolio if kind == "gap"]
        )


def draw_anomalies(batch: Batch) -> Anomalies:
    world = batch.world
    activity, volume = np.ones((2, batch.customers.count, world.days), np.float32)
    holidays, portfolio = _holidays(world), _portfolio_anomalies(world)
    calendar = sorted(
        holidays + [(first, last, label) for first, last, _, _, label in portfolio if label]
    )
    if not world.planted:
        return Anomalies(activity, volume, calendar, [], [])
    dips: list[PortfolioAnomaly] = [
        (first, last, HOLIDAY_FACTOR, "dip", label) for first, last, label in holidays
    ]
    portfolio = sorted(portfolio + dips)
    for first, last, factor, kind, _ in portfolio:
        if kind != "gap":
            activity[:, first : last + 1] *= factor
    clients = _client_anomalies(batch)
    for client, first, last, factor, kind in clients:
        (volume if kind == "spike" else activity)[client, first : last + 1] *= factor
    return Anomalies(activity, volume, calendar, portfolio, clients)


def _holidays(world: World) -> list[tuple[int, int, str]]:
    years = range(1970 + world.start // 366, 1972 + (world.start + world.days - 1) // 365)
    days = {
        (epoch_day(dt.date(year, *date)) - world.start, label)
        for year in years
        for date, label in HOLIDAYS
    }
    return [(day, day, label) for day, label in sorted(days) if 0 <= day < world.days]


def _portfolio_anomalies(world: World) -> list[PortfolioAnomaly]:
    rows = []
    for kind, position, weekday, length, factor, label in PORTFOLIO_ANOMALIES:
        day = int(world.days * position)
        day += int(weekday - world.weekdays[day]) % 7
        season = SEASONS[
            (dt.date(1970, 1, 1) + dt.timedelta(days=int(world.start) + day)).month % 12 // 3
        ]
        named = label and label.format(season=season)
        rows.append((day, min(day + length, world.days) - 1, factor, kind, named))
    return rows


def _client_anomalies(batch: Batch) -> list[tuple[int, int, int, float, str]]:
    world, customers = batch.world, batch.customers
    rng, rows = world.random("incidents"), []
    chosen = np.flatnonzero(rng.random(customers.count) < CLIENT_ANOMALY_SHARE)
    for client in chosen.tolist():
        low = customers.first_day[client] + 60
        if low >= world.days - 20:
            continue
        day = int(rng.integers(low, world.days - 12))
        day += int(1 - world.weekdays[day]) % 7
        if customers.seats[client] >= DIP_SEATS:
            rows.append((client, day, day + 2, 0.03, "dip"))
        else:
            rows.append((client, day, day, float(rng.choice([5.0, 8.0])), "spike"))
    return rows


@dataclass
class SimulatedEvents:
    """Columns of equal length; user, feature, name and session of API calls are -1."""

    client: np.ndarray
    # position in Users
    user: np.ndarray
    feature: np.ndarray
    name: np.ndarray
    # number in the batch, in order of user and day
    session: np.ndarray
    utc_ms: np.ndarray
    # account-local day number
    day: np.ndarray
    source: np.ndarray
    # 0: one event; else how many the row stands for
    calls: np.ndarray
    # duration of the row, 0: none
    seconds: np.ndarray

    @property
    def weight(self) -> np.ndarray:
        return np.where(self.calls > 0, self.calls, 1)

    def where(self, mask: np.ndarray) -> SimulatedEvents:
        return SimulatedEvents(*(getattr(self, column.name)[mask] for column in fields(self)))

    def joined(self, other: SimulatedEvents) -> SimulatedEvents:
        pairs = ((getattr(self, each.name), getattr(other, each.name)) for each in fields(self))
        return SimulatedEvents(*(np.concatenate(pair) for pair in pairs))


def draw_events(batch: Batch) -> SimulatedEvents:
    """All events of persons as if nobody churned, ordered by user, day and time."""
    world, users, anomalies = batch.world, batch.users, batch.anomalies
    user, day = _active_days(batch)
    rng, client = world.random("sessions"), users.client[user]
    liking = batch.latents.of("sessions")[client, day // 7 if world.planted else 0]
    position, hour = _session_starts(
        rng, client, batch.rhythms, 1 / (1 + np.exp(1.6 - 1.25 * liking))
    )
    user, day, client = user[position], day[position], client[position]
    main, other = _session_features(rng, batch, client, day, users.persona[user])
    volume = anomalies.volume[client, day] * np.where(users.champion[user], 1.6, 1.0)
    volume *= 1 + world.scenario.quarter_amplitude * _quarter_end(world)[day]
    more = np.minimum(rng.geometric(1 / (1 + MORE_EVENTS), len(day)) - 1, 60)
    count = np.maximum(1, ((1 + more) * volume).round().astype(int))
    session = np.repeat(np.arange(len(day)), count)
    rows = len(session)
    order = np.arange(rows) - (np.cumsum(count) - count)[session]
    clock_ms = hour * HOUR_MS + rng.integers(0, HOUR_MS, len(day))
    start_ms = world.utc_ms(day, clock_ms, batch.customers.zone[client])
    length = np.minimum(rng.exponential(13 * 60_000, len(day)) + 20_000, LONGEST_MS - 2_000)
    share = (order + rng.random(rows, np.float32) * (order > 0)) / count[session]
    utc_ms = start_ms[session] + (share * length[session]).astype(np.int64) + order
    is_main = rng.random(rows, np.float32) < 0.6
    events = SimulatedEvents(
        client=client[session].astype(np.int32),
        user=user[session].astype(np.int32),
        feature=np.where(is_main, main[session], other[session]).astype(np.int8),
        name=np.searchsorted(np.cumsum(EVENT_SHARES), rng.random(rows, np.float32)).astype(np.int8),
        session=session,
        utc_ms=utc_ms,
        day=world.local_day(utc_ms, batch.customers.zone[client][session]).astype(np.int32),
        source=np.full(rows, UI, np.int8),
        calls=np.zeros(rows, np.int32),
        seconds=np.zeros(rows, np.int32),
    )
    return events.where(_within_portfolio(batch, events))


def _quarter_end(world: World) -> np.ndarray:
    """1 a week before a calendar quarter ends, −1 in its middle, smooth between."""
    return np.cos(2 * np.pi * (world.days_to_quarter_end - 7) / QUARTER_DAYS)


def _active_days(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """(user, day) pairs on which the user is active."""
    world, users = batch.world, batch.users
    rng, day = world.random("user_days"), np.arange(world.days)
    frequency = 0.62 * batch.latents.of("frequency")[:, day // 7 if world.planted else slice(1)]
    by_client = frequency + batch.rhythms.weekday_log_odds(world)
    log_odds = by_client[users.client] + users.base[:, None].astype(np.float32)
    chance = batch.anomalies.activity[users.client] / (1 + np.exp(-log_odds))
    present = (day >= users.created[:, None]) & (day < users.left[:, None])
    present &= _in_use(rng, batch)[:, day // 7]
    user, active_day = np.nonzero(present & (rng.random(chance.shape, np.float32) < chance))
    return user, active_day


def _in_use(rng: np.random.Generator, batch: Batch) -> np.ndarray:
    """Users × weeks: whether the user is in a spell of use."""
    world, users = batch.world, batch.users
    if not world.planted:
        return np.ones((users.count, world.weeks), bool)
    own = autoregression(rng, world.weeks, (users.count,), memory_days=70)
    if world.segments:
        # the same share of every customer's users, so that the segments are compact
        colleagues = np.bincount(users.client)[users.client]
        own = np.broadcast_to(ndtri((users.serial - 0.5) / colleagues)[:, None], own.shape)
    liking = np.where(users.champion, 9, 0.80)[:, None]
    return own + 1.0 * batch.latents.of("breadth")[users.client] + liking > 0


def _session_starts(
    rng: np.random.Generator, client: np.ndarray, rhythms: Rhythms, p_more: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(position of the active day, hour) of one to three sessions, two clock hours apart or more."""
    hours = np.stack([rhythms.draw_hours(client, rng.random(len(client))) for _ in range(3)])
    more = rng.random((2, len(client))) < p_more

    def apart(first: int, second: int) -> np.ndarray:
        # around midnight too, so that no hour is favoured where all are alike
        between = np.abs(hours[first] - hours[second])
        return np.minimum(between, 24 - between) >= 2

    second = more[0] & apart(1, 0)
    third = more[1] & apart(2, 0) & (~second | apart(2, 1))
    begun = np.where(np.stack([np.ones(len(client), bool), second, third]), hours, 99)
    ordered = np.sort(begun.T, axis=1)
    position, slot = np.nonzero(ordered < 99)
    return position, ordered[position, slot]


def _session_features(
    rng: np.random.Generator, batch: Batch, client: np.ndarray, day: np.ndarray, persona: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The main feature of each session, and the other one, which differs in a third of the cases."""
    world = batch.world
    active = batch.adoption.active(world.days)
    active[:, :, 0] |= ~active.any(axis=2)
    active = active[client, day]
    weights = batch.adoption.weights[client, day // 7] * active
    if world.planted:
        weights *= TASTE.astype(np.float32)[persona]
    weights = np.where(weights.sum(axis=1, keepdims=True) > 0, weights, active)

    def pick() -> np.ndarray:
        """The column drawn for each row, in proportion to its weights."""
        uniform = rng.random(len(client)).astype(np.float32)
        cumulated = np.cumsum(weights, axis=1)
        return (cumulated < (uniform * cumulated[:, -1])[:, None]).sum(axis=1).astype(np.int8)

    main = pick()
    return main, np.where(rng.random(len(client)) < 0.32, pick(), main)


def _within_portfolio(batch: Batch, events: SimulatedEvents) -> np.ndarray:
    """Both the UTC day and the account's day lie in the portfolio, and the UTC day was loaded."""
    world = batch.world
    utc_day = events.utc_ms // DAY_MS - world.start
    within = (utc_day >= 0) & (utc_day < world.days) & (events.day >= 0) & (events.day < world.days)
    return within & batch.anomalies.loaded(utc_day)


def draw_calls(batch: Batch, light: bool) -> SimulatedEvents:
    """API calls, aggregated by the sender: twice a day, the nightly run always at 23:30 UTC."""
    world, customers = batch.world, batch.customers
    rng = world.random("calls")
    client, day = np.nonzero(customers.uses_api[:, None] & customers.signed_up(world.days))
    calls = rng.poisson(20 + 2 * customers.seats[client]) + 1
    utc_ms = (day + world.start) * DAY_MS + 23 * HOUR_MS + HOUR_MS // 2
    by_day = utc_ms - rng.integers(8 * HOUR_MS, 16 * HOUR_MS, len(day))
    if not light:
        client, calls = np.tile(client, 2), np.concatenate([calls, calls // 3 + 1])
        utc_ms = np.concatenate([utc_ms, by_day])
    nothing = np.full(len(client), -1)
    events = SimulatedEvents(
        client=client.astype(np.int32),
        user=nothing.astype(np.int32),
        feature=nothing.astype(np.int8),
        name=nothing.astype(np.int8),
        session=nothing,
        utc_ms=utc_ms,
        day=world.local_day(utc_ms, customers.zone[client]).astype(np.int32),
        source=np.full(len(client), API, np.int8),
        calls=calls.astype(np.int32),
        seconds=np.zeros(len(client), np.int32),
    )
    return events.where(_within_portfolio(batch, events))


def light_events(events: SimulatedEvents) -> SimulatedEvents:
    """A fifth of the rows: a row per session, feature and local day, with the number of its events.

    All days of use, features by day, sessions with their start and length, and sums of ``count``
    stay equal, so every driver does. The single moments within a session are lost.
    """
    same_session = events.session[1:] == events.session[:-1]
    past_midnight = (events.day[1:] != events.day[:-1]) & same_session
    late = np.zeros(len(events.session), np.int64)
    for row in np.flatnonzero(past_midnight) + 1:
        late[row : np.searchsorted(events.session, events.session[row], side="right")] = 1
    group = (events.session * (len(FEATURE_NAMES) + 1) + events.feature) * 2 + late
    _, first, count = np.unique(group, return_index=True, return_counts=True)
    order = np.argsort(first)
    light = events.where(first[order])
    last = np.concatenate([light.session[1:] != light.session[:-1], [True]])
    end_ms = events.utc_ms[np.searchsorted(events.session, light.session, side="right") - 1]
    light.calls = count[order].astype(np.int32)
    light.seconds = np.where(last, -(-(end_ms - light.utc_ms) // 1_000), 0).astype(np.int32)
    return light


def calendar_table(world: World, anomalies: Anomalies) -> pa.Table:
    if not anomalies.calendar:
        return world.table("calendar")
    first, last, label = (list(column) for column in zip(*anomalies.calendar, strict=True))
    return world.table("calendar", starts_on=first, ends_on=last, label=label)


def _week_shares(batch: Batch) -> dict[str, np.ndarray]:
    """Customers × weekdays and customers × hours: the planted shares of visits."""
    users, rhythms = batch.users, batch.rhythms
    is_peak = np.arange(7) == rhythms.peak_weekday[:, None]
    by_client = WEEKDAY_LOG_ODDS + PEAK_LOG_ODDS * is_peak
    chance = 1 / (1 + np.exp(-(by_client[users.client] + users.base[:, None])))
    visits = np.add.reduceat(chance, users.first_of, axis=0)
    weekday = visits / visits.sum(axis=1, keepdims=True)
    return {"weekday": weekday, "hour": HOUR_PROFILES[rhythms.profile]}


def _sessions_since(batch: Batch, since: np.ndarray) -> np.ndarray:
    """Of each customer, the sessions begun on or after a day."""
    events = batch.persons
    begins = np.concatenate([[True], events.session[1:] != events.session[:-1]])
    begins &= events.day >= since[events.client]
    return np.bincount(events.client[begins], minlength=batch.customers.count)


def _peaks(shares: np.ndarray, kind: str, sessions: np.ndarray) -> pd.DataFrame:
    """The cells that exceed the mean of those in use by PEAK_RATIO."""
    in_use = shares >= LEAST_SHARE[kind]
    total = np.where(in_use, shares, 0).sum(axis=1, keepdims=True)
    base = total / in_use.sum(axis=1, keepdims=True)
    row, cell = np.nonzero(in_use & (shares / base >= oracle.PEAK_RATIO))
    share, base = shares[row, cell], base[row, 0]
    columns = {"row": row, "rate_ratio": share / base, "sessions": sessions[row]}
    return pd.DataFrame(columns).assign(
        weekday=cell if kind == "weekday" else np.nan,
        hour=cell if kind == "hour" else np.nan,
        kind=kind,
        # sessions come in bursts
        power=oracle.power_of_ratio(share, base, sessions[row] / 1.5),
    )


def _rhythm_table(world: World, scope: str, rows: pd.DataFrame, ids: np.ndarray | str) -> pa.Table:
    columns = rows[["weekday", "hour", "rate_ratio", "kind", "sessions"]].astype(
        {"weekday": float, "hour": float}
    )
    return world.truth(
        "rhythms", scope=scope, id=ids, **columns, **oracle.with_power(rows["power"])
    )


def _rhythms(batch: Batch) -> pa.Table:
    """The customers' peaks, with the sessions of the last 90 days."""
    if not batch.world.planted:
        return batch.world.truth("rhythms")
    sessions = _sessions_since(batch, batch.until - RHYTHM_DAYS)
    parts = [_peaks(shares, kind, sessions) for kind, shares in _week_shares(batch).items()]
    rows = pd.concat(parts)
    return _rhythm_table(batch.world, "client", rows, batch.customers.ids[rows["row"]])


def portfolio_rhythms(total: dict[str, np.ndarray], world: World) -> pa.Table:
    """The peaks of the last 90 days' visits of all customers together."""
    if not world.planted:
        return world.truth("rhythms")
    visits = {kind: total[f"visits:{kind}"][None, :] for kind in ("weekday", "hour")}
    parts = [
        _peaks(each / each.sum(), kind, np.array([round(each.sum())]))
        for kind, each in visits.items()
    ]
    rows = pd.concat(parts)
    return _rhythm_table(world, "portfolio", rows, "portfolio")


def _series_z(series: np.ndarray, first: int, factor: float) -> float:
    """The planted change over the same weekday's robust spread in eight weeks around."""
    days = first + 7 * np.concatenate([np.arange(-8, 0), np.arange(1, 9)])
    around = series[days[(days >= 0) & (days < len(series))]]
    around = around[around > 0] if (around > 0).any() else around
    median = np.median(around)
    spread = max(1.4826 * np.median(np.abs(around - median)), np.sqrt(median), 0.5)
    return float((factor - 1) * median / spread)


def _client_z(batch: Batch, client: int, first: int, last: int, factor: float, kind: str) -> float:
    """A spike multiplies the events of sessions: its z has the power that the day's sessions give it."""
    events, sessions = (
        each[client] for each in (batch.inputs.counts.events, batch.inputs.counts.sessions)
    )
    if kind != "spike":
        return _series_z(events, first, factor)
    usual = np.delete(np.arange(len(events)), np.arange(first, last + 1))
    per_session = events[usual].sum() / max(sessions[usual].sum(), 1)
    power = oracle.power_of_spike(float(sessions[first]), float(per_session), factor)
    return oracle.z_of_power(power, oracle.Z_DAY)


def _anomaly_table(world: World, scope: str, rows: list[tuple], ids: np.ndarray | None) -> pa.Table:
    """Rows of first day, last day, factor, kind, label, z."""
    if not rows:
        return world.truth("anomalies")
    first, last, factor, kind, label, z = (list(column) for column in zip(*rows, strict=True))
    return world.truth(
        "anomalies",
        scope=scope,
        client_id=ids,
        series="person_events",
        from_=first,
        to=last,
        factor=factor,
        kind=kind,
        calendar_label=label,
        z=z,
        **oracle.with_power(oracle.power_of_z(np.array(z), oracle.Z_DAY)),
    )


def _anomalies(batch: Batch) -> pa.Table:
    """The customers' own spikes and dips before churn."""
    planted = [row for row in batch.anomalies.clients if row[1] < batch.until[row[0]]]
    rows = [(*row[1:], None, _client_z(batch, *row)) for row in planted]
    return _anomaly_table(
        batch.world, "client", rows, batch.customers.ids[[row[0] for row in planted]]
    )


def portfolio_anomalies(
    total: dict[str, np.ndarray], world: World, anomalies: Anomalies
) -> pa.Table:
    rows = [(*row, _series_z(total["daily"], row[0], row[2])) for row in anomalies.portfolio]
    return _anomaly_table(world, "portfolio", rows, None)


def tally(batch: Batch) -> dict[str, np.ndarray]:
    """Events by day, and visits of the last 90 days by weekday and by hour."""
    since = np.full(batch.customers.count, batch.world.days - RHYTHM_DAYS)
    sessions = _sessions_since(batch, since)
    visits = {f"visits:{kind}": sessions @ shares for kind, shares in _week_shares(batch).items()}
    return {"daily": batch.inputs.counts.events.sum(axis=0), **visits}


TRUTH = {"rhythms": _rhythms, "anomalies": _anomalies}
