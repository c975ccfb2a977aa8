"""One chunk of customers: everything drawn, counted, judged by the hazard, and cut where they left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from healthseg.demo import counted, milestones, stages
from healthseg.demo.activity import Events, draw_calls, draw_events, joined, lightened
from healthseg.demo.adoption import SEQUENCES, Adoption, draw_adoption
from healthseg.demo.counted import Counts
from healthseg.demo.customers import Customers, draw_customers
from healthseg.demo.frame import Frame, Zones, stream
from healthseg.demo.hazard import Exits, draw_exits, feature_of, measured_odds, terms
from healthseg.demo.incidents import Incidents, draw_incidents
from healthseg.demo.interventions import give, weekly_standing
from healthseg.demo.latents import LOW, RECOVERED, Latents, draw_latents
from healthseg.demo.messages import draw_messages
from healthseg.demo.money import Money, draw_invoices, draw_money
from healthseg.demo.names import PLACES
from healthseg.demo.rhythms import Rhythms, draw_rhythms
from healthseg.demo.scenarios import Scenario
from healthseg.demo.support import draw_surveys, draw_tickets
from healthseg.demo.users import Users, draw_users

KNOWN_CLIENT = 123  # a live, rich customer bears this number wherever the portfolio is that large
KNOWN_TENURE_DAYS = 200


@dataclass
class Chunk:
    """All of some customers. ``persons``, ``calls`` and ``counts`` are cut at leaving; the frames are not."""

    world: Scenario
    days: Frame
    seed: int
    who: Customers
    latents: Latents
    users: Users
    rhythms: Rhythms
    incidents: Incidents
    adoption: Adoption
    persons: Events
    calls: Events
    counts: Counts
    money: Money
    tickets: pd.DataFrame
    surveys: pd.DataFrame
    invoices: pd.DataFrame
    drivers: dict[str, np.ndarray]
    exits: Exits
    spells: pd.DataFrame
    progress: pd.DataFrame
    by_data: dict[int, np.ndarray]
    messages: pd.DataFrame
    moved_csm: np.ndarray
    zones: Zones

    @property
    def until(self) -> np.ndarray:
        """The first day on which nothing of the customer is there any more."""
        return np.where(self.exits.churned < 0, self.days.days, self.exits.churned)


def _drivers(
    who: Customers,
    counts: Counts,
    seats,
    adoption: Adoption,
    tickets,
    surveys,
    invoices,
    zones: Zones,
    days: Frame,
    world: Scenario,
) -> dict[str, np.ndarray]:
    at = days.steps - 1
    out = {
        "usage_vs_own_baseline": counted.usage_vs_own_baseline(counts, who, at),
        "seat_utilisation": counted.seat_utilisation(counts, seats, at),
        "stickiness_30d": counted.stickiness_30d(counts, who, at),
        "sessions_per_user_per_week_28d": counted.sessions_per_user_per_week_28d(counts, who, at),
        "feature_adoption_rate_30d": counted.feature_adoption_rate_30d(counts, adoption, at),
        "nps_365d": counted.nps_365d(surveys, who, zones, days, at),
        "open_high_tickets": counted.open_high_tickets(tickets, who, zones, days, at),
        "worst_days_overdue": counted.worst_days_overdue(invoices, who, at),
        "days_since_last_person_event": counted.days_since_last_person_event(counts, who, at),
    }
    for term in terms(world):
        if term.metric == "log_seats":
            out["log_seats"] = np.log(seats[:, at])
        elif term.metric.startswith("sequence["):
            out[term.metric] = counted.in_order(counts, SEQUENCES[0][1], at)
        elif feature_of(term.metric) is not None:
            out[term.metric] = counted.adopted_30d(counts, feature_of(term.metric), at)
    there = who.signup[:, None] <= at
    return {name: np.where(there, values, np.nan) for name, values in out.items()}


def _cut(events: Events, until: np.ndarray) -> Events:
    return events.keep(events.day < until[events.client])


def _after_notice(rng, events: Events, exits: Exits) -> Events:
    """The `leak` scenario: people stop coming once notice is given, session by session."""
    noticed = np.where(exits.notice < 0, 10**6, exits.notice)[events.client]
    stays = rng.random(int(events.session.max()) + 1) < 0.15
    return events.keep((events.day < noticed) | stays[events.session])


def _known_client(
    who: Customers, exits: Exits, tickets: pd.DataFrame, surveys: pd.DataFrame, days: Frame
) -> None:
    """Swap numbers so that the customer people ask for first is live and has all inputs."""
    spot = np.flatnonzero(who.number == KNOWN_CLIENT)
    if not len(spot):
        return
    rows = np.bincount(tickets["client"], minlength=who.count) + np.bincount(
        surveys["client"], minlength=who.count
    )
    fit = (
        (exits.step < 0)
        & (who.signup <= days.days - 1 - KNOWN_TENURE_DAYS)
        & (who.seats >= 12)
        & (who.plan > 0)
    )
    for kind in who.withheld.values():
        fit &= ~kind
    best = int(np.argmax(np.where(fit, rows, -1)))
    who.number[[spot[0], best]] = who.number[[best, spot[0]]]


def draw_chunk(
    seed: int, place: int, first: int, count: int, days: Frame, world: Scenario, light: bool
) -> Chunk:
    zones = Zones([zone for _, zone, _ in PLACES], days)
    who = draw_customers(seed, place, first, count, days, world)
    latents = draw_latents(seed, place, who, days, world)
    users = draw_users(seed, place, who, days, world)
    rhythms = draw_rhythms(seed, place, who, world)
    incidents = draw_incidents(seed, place, who, days, world)
    adoption = draw_adoption(seed, place, who, latents, days, world)
    persons = draw_events(
        seed, place, who, users, latents, rhythms, incidents, adoption, days, zones, world
    )
    counts = counted.count(persons, users, who.count, days)
    money = draw_money(seed, place, who, counts.users_within(30), days, world)
    invoices = draw_invoices(seed, place, who, money, latents, days)
    tickets = draw_tickets(seed, place, who, users, latents, adoption, days, zones, world)
    surveys = draw_surveys(seed, place, who, users, latents, days, zones)
    seats = money.seats_by_day(who, days)
    drivers = _drivers(who, counts, seats, adoption, tickets, surveys, invoices, zones, days, world)
    exits = draw_exits(seed, place, drivers, who, days, world)
    _known_client(who, exits, tickets, surveys, days)
    until = np.where(exits.churned < 0, days.days, exits.churned)
    if not world.planted:
        standing = weekly_standing(counts.events, who)
        latents.given = give(stream(seed, place, "interventions"), standing, LOW, RECOVERED, who)
    persons = _cut(persons, until)
    if world.leak:
        persons = _after_notice(stream(seed, place, "leak"), persons, exits)
    counts = counted.count(persons, users, who.count, days)
    if (
        world.leak
    ):  # what is read after notice is what the portfolio shows; nobody is at risk any more then
        drivers = _drivers(
            who, counts, seats, adoption, tickets, surveys, invoices, zones, days, world
        )
        exits.eta = measured_odds(drivers, world)
    if light:
        persons = lightened(persons)
    calls = _cut(draw_calls(seed, place, who, incidents, days, zones, light), until)
    rng = stream(seed, place, "csm")
    moved = np.where(
        rng.random(who.count) < 0.12,
        np.maximum(who.signup, 0) + rng.integers(30, 400, who.count),
        -1,
    )
    return Chunk(
        world,
        days,
        seed,
        who,
        latents,
        users,
        rhythms,
        incidents,
        adoption,
        persons,
        calls,
        counts,
        money,
        tickets,
        surveys,
        invoices,
        drivers,
        exits,
        stages.truncated(stages.draw_spells(seed, place, who, days), exits.churned, days),
        milestones.cut(
            milestones.draw_progress(seed, place, who, days, world), exits.churned, days
        ),
        milestones.first_users(persons, users, who.count),
        draw_messages(seed, place, who, users, days, zones, world),
        np.where(moved < days.days, moved, -1),
        zones,
    )


def all_events(chunk: Chunk) -> Events:
    return joined(chunk.persons, chunk.calls)
