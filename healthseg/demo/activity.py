"""Sessions and events of all customers for the whole portfolio, before anybody has left."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from scipy.special import ndtri

from healthseg.demo import names
from healthseg.demo.adoption import TASTE, Adoption
from healthseg.demo.customers import Customers
from healthseg.demo.frame import DAY_MS, Frame, Zones, stream
from healthseg.demo.incidents import Incidents
from healthseg.demo.latents import Latents, autoregression
from healthseg.demo.rhythms import Rhythms
from healthseg.demo.scenarios import Scenario
from healthseg.demo.users import Users

MORE_EVENTS = 4.3  # mean beyond the first in a session
LONGEST_MS = (
    28 * 60_000
)  # of a session: with starts two clock hours apart, a gap of 30 minutes stays
UI, API = 0, 1


@dataclass
class Events:
    """Equally long columns; ``user`` and ``session`` are -1 for calls of the API, ``feature`` too."""

    client: np.ndarray
    user: np.ndarray  # place in Users
    feature: np.ndarray
    name: np.ndarray
    session: np.ndarray  # of all sessions of the chunk, in order of user and day
    utc_ms: np.ndarray
    day: np.ndarray  # account-local day number
    source: np.ndarray
    calls: np.ndarray  # 0: one event; else how many the row stands for
    seconds: np.ndarray  # duration given with the row, 0: none

    def keep(self, mask: np.ndarray) -> Events:
        return Events(*(getattr(self, each.name)[mask] for each in fields(self)))


def joined(*parts: Events) -> Events:
    return Events(
        *(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Events))
    )


def _awake(
    rng: np.random.Generator, users: Users, latents: Latents, days: Frame, world: Scenario
) -> np.ndarray:
    """Users × weeks: whether the user is in a spell of use."""
    if not world.planted:
        return np.ones((users.count, days.weeks), bool)
    own = autoregression(rng, days.weeks, (users.count,), memory_days=70)
    if world.segments:  # the same share of everybody's users, so that the groups lie close together
        people = np.bincount(users.client)[users.client]
        own = np.broadcast_to(ndtri((users.serial - 0.5) / people)[:, None], own.shape)
    liking = np.where(users.champion, 9, 0.80)[:, None]
    return own + 1.0 * latents.of("breadth")[users.client] + liking > 0


def user_days(
    seed: int,
    chunk: int,
    users: Users,
    latents: Latents,
    rhythms: Rhythms,
    incidents: Incidents,
    days: Frame,
    world: Scenario,
) -> tuple[np.ndarray, np.ndarray]:
    """(user, day) pairs on which somebody comes."""
    rng = stream(seed, chunk, "user_days")
    week = np.arange(days.days) // 7
    frequency = (
        0.62 * latents.of("frequency")[:, week]
        if world.planted
        else 0.62 * latents.of("frequency")[:, :1]
    )
    odds = (frequency + rhythms.weekday_odds(days, world.planted))[users.client] + users.base[
        :, None
    ].astype(np.float32)
    chance = incidents.chance[users.client] / (1 + np.exp(-odds))
    day = np.arange(days.days)[None, :]
    there = (day >= users.created[:, None]) & (day < users.left[:, None])
    there &= _awake(rng, users, latents, days, world)[:, week]
    return np.nonzero(there & (rng.random(chance.shape, np.float32) < chance))


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Two clock hours apart, around midnight too: no hour is favoured where all are alike."""
    between = np.abs(one - other)
    return np.minimum(between, 24 - between) >= 2


def _session_starts(
    rng, client, rhythms: Rhythms, more: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(place of the user-day, hour) of one to three sessions, at least two clock hours apart."""
    hours = np.stack([rhythms.draw_hours(client, rng.random(len(client))) for _ in range(3)])
    drawn = rng.random((2, len(client)))
    second = (drawn[0] < more) & _apart(hours[1], hours[0])
    third = (drawn[1] < more) & _apart(hours[2], hours[0]) & (~second | _apart(hours[2], hours[1]))
    kept = np.stack([np.ones(len(client), bool), second, third]).T
    ordered = np.where(kept, hours.T, 99)
    ordered.sort(axis=1)
    place, slot = np.nonzero(ordered < 99)
    return place, ordered[place, slot]


def _pick(uniform: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The column drawn for each row, in proportion to its weights."""
    cumulated = np.cumsum(weights, axis=1)
    return (
        (cumulated < (uniform.astype(np.float32) * cumulated[:, -1])[:, None])
        .sum(axis=1)
        .astype(np.int8)
    )


def _features_of(
    rng, client, day, persona, adoption: Adoption, days: Frame, planted: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The main feature of each session, and the other one that it touches in a third of the cases."""
    may = adoption.active(days)
    may[:, :, 0] |= ~may.any(axis=2)
    weights = adoption.weights[client, day // 7] * may[client, day]
    if planted:
        weights *= TASTE.astype(np.float32)[persona]
    weights = np.where(weights.sum(axis=1, keepdims=True) > 0, weights, may[client, day])
    main = _pick(rng.random(len(client)), weights)
    other = np.where(rng.random(len(client)) < 0.32, _pick(rng.random(len(client)), weights), main)
    return main, other


def _session_events(
    rng, place: np.ndarray, volume: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(session, order in it, how many it has) of every event; bursts have a geometric tail."""
    more = rng.geometric(1 / (1 + MORE_EVENTS), len(place)) - 1
    count = np.maximum(1, ((1 + np.minimum(more, 60)) * volume).round().astype(int))
    session = np.repeat(np.arange(len(place)), count)
    first = np.cumsum(count) - count
    return session, np.arange(len(session)) - first[session], count


def draw_events(
    seed: int,
    chunk: int,
    who: Customers,
    users: Users,
    latents: Latents,
    rhythms: Rhythms,
    incidents: Incidents,
    adoption: Adoption,
    days: Frame,
    zones: Zones,
    world: Scenario,
) -> Events:
    """All events of persons, ordered by user, day and time."""
    user, day = user_days(seed, chunk, users, latents, rhythms, incidents, days, world)
    rng = stream(seed, chunk, "sessions")
    client = users.client[user]
    liking = (
        latents.of("sessions")[client, day // 7]
        if world.planted
        else latents.of("sessions")[client, 0]
    )
    place, hour = _session_starts(rng, client, rhythms, 1 / (1 + np.exp(1.6 - 1.25 * liking)))
    user, day, client = user[place], day[place], client[place]
    main, other = _features_of(rng, client, day, users.persona[user], adoption, days, world.planted)
    loud = np.where(users.champion[user], 1.6, 1.0)
    session, order, count = _session_events(rng, place, incidents.volume[client, day] * loud)
    local_ms = (day + days.start) * DAY_MS + hour * 3_600_000 + rng.integers(0, 3_600_000, len(day))
    start_ms = zones.to_utc(local_ms, who.zone[client])
    length = np.minimum(rng.exponential(13 * 60_000, len(place)) + 20_000, LONGEST_MS - 2_000)
    share = (order + rng.random(len(order), np.float32) * (order > 0)) / count[session]
    utc_ms = start_ms[session] + (share * length[session]).astype(np.int64) + order
    feature = np.where(rng.random(len(order), np.float32) < 0.6, main[session], other[session])
    name = _pick_name(rng, len(order))
    local_day = zones.local_day(utc_ms, who.zone[client][session]) - days.start
    empty = np.zeros(len(order), np.int32)
    events = Events(
        client[session].astype(np.int32),
        user[session].astype(np.int32),
        feature.astype(np.int8),
        name,
        session,
        utc_ms,
        local_day.astype(np.int32),
        empty.astype(np.int8),
        empty,
        empty,
    )
    return events.keep(within_portfolio(utc_ms, events.day, days, incidents))


def _pick_name(rng, count: int) -> np.ndarray:
    shares = np.cumsum([0.5, 0.2, 0.18, 0.07])
    return np.searchsorted(shares, rng.random(count, np.float32)).astype(np.int8)


def within_portfolio(
    utc_ms: np.ndarray, day: np.ndarray, days: Frame, incidents: Incidents
) -> np.ndarray:
    """Both the UTC day and the account's day lie in the portfolio, and the UTC day was loaded."""
    utc_day = utc_ms // DAY_MS - days.start
    return (
        incidents.loaded(utc_day)
        & (utc_day >= 0)
        & (utc_day < days.days)
        & (day >= 0)
        & (day < days.days)
    )


def draw_calls(
    seed: int,
    chunk: int,
    who: Customers,
    incidents: Incidents,
    days: Frame,
    zones: Zones,
    light: bool,
) -> Events:
    """Calls of the API, aggregated by the sender: twice a day, the nightly run always at 23:30 UTC."""
    rng = stream(seed, chunk, "calls")
    client, day = np.nonzero(
        who.uses_api[:, None] & (np.arange(days.days) >= np.maximum(who.signup, 0)[:, None])
    )
    calls = rng.poisson(20 + 2 * who.seats[client]) + 1
    utc_ms = (day + days.start) * DAY_MS + 23 * 3_600_000 + 30 * 60_000
    by_day = utc_ms - rng.integers(8 * 3_600_000, 16 * 3_600_000, len(day))
    if not light:
        client, calls = np.tile(client, 2), np.concatenate([calls, calls // 3 + 1])
        utc_ms = np.concatenate([utc_ms, by_day])
    local_day = zones.local_day(utc_ms, who.zone[client]) - days.start
    none = np.full(len(client), -1)
    events = Events(
        client.astype(np.int32),
        none.astype(np.int32),
        none.astype(np.int8),
        none.astype(np.int8),
        none.astype(np.int64),
        utc_ms,
        local_day.astype(np.int32),
        np.full(len(client), API, np.int8),
        calls.astype(np.int32),
        np.zeros(len(client), np.int32),
    )
    return events.keep(within_portfolio(utc_ms, events.day, days, incidents))


def lightened(events: Events) -> Events:
    """A fifth of the rows: one for each session, feature and local day, counting the events it stands for.

    Equal to the full portfolio: who was active on which day, features by day, sessions with their start and
    length, and the sums of ``count``; so every driver. Lost: the single moments within a session.
    """
    group = (events.session * (len(names.FEATURES) + 1) + events.feature) * 2
    midnight = np.concatenate(
        [[False], (events.day[1:] != events.day[:-1]) & (events.session[1:] == events.session[:-1])]
    )
    late = np.zeros(len(group), np.int64)
    for at in np.flatnonzero(midnight):
        rest = slice(at, np.searchsorted(events.session, events.session[at], side="right"))
        late[rest] = 1
    group += late
    _, first, count = np.unique(group, return_index=True, return_counts=True)
    order = np.argsort(first)
    light = events.keep(first[order])
    light.calls = count[order].astype(np.int32)
    last = np.concatenate([light.session[1:] != light.session[:-1], [True]])
    ends = events.utc_ms[np.searchsorted(events.session, light.session, side="right") - 1]
    light.seconds = np.where(last, -(-(ends - light.utc_ms) // 1_000), 0).astype(np.int32)
    return light
