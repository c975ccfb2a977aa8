"""Users: how many, who they are, how often they come, when they join and leave, and who is a champion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from healthseg.demo import names
from healthseg.demo.customers import Customers
from healthseg.demo.frame import Frame, stream
from healthseg.demo.scenarios import Scenario

JOINERS_PER_SEAT = 0.32  # over 18 months
LEAVES_PER_DAY = 0.00065
CHAMPION_SHARE = 0.55  # of the customers have one
CHAMPION_EXIT_SHARE = 0.22  # of those who have one lose it on purpose
NEVER = 10**6


@dataclass
class Users:
    """Sorted by customer. Days are day numbers; ``left`` is NEVER for those who stay."""

    client: np.ndarray
    serial: np.ndarray  # 1 … within the customer
    persona: np.ndarray
    created: np.ndarray
    left: np.ndarray
    base: np.ndarray  # log-odds of coming on a working day
    champion: np.ndarray
    planted_exit: np.ndarray
    told: np.ndarray  # whether `users.deactivated_at` is filled when they leave
    first_of: np.ndarray  # place of each customer's first user

    @property
    def count(self) -> int:
        return len(self.client)


def _lifetimes(
    rng: np.random.Generator, created: np.ndarray, days: Frame, moving: bool
) -> np.ndarray:
    leaving = (
        np.maximum(created, 0) + 20 + rng.exponential(1 / LEAVES_PER_DAY, len(created)).astype(int)
    )
    return np.where((leaving < days.days) & moving, leaving, NEVER)


def draw_users(seed: int, chunk: int, who: Customers, days: Frame, world: Scenario) -> Users:
    rng = stream(seed, chunk, "users")
    founders = np.maximum(2, (who.seats * rng.uniform(0.85, 1.10, who.count)).round().astype(int))
    joiners = rng.poisson(who.seats * JOINERS_PER_SEAT * days.days / 548) * world.planted
    if world.segments:
        founders, joiners = who.seats, 0 * joiners
    total = founders + joiners
    client = np.repeat(np.arange(who.count), total)
    first_of = np.concatenate([[0], np.cumsum(total)[:-1]])
    serial = np.arange(len(client)) - first_of[client] + 1
    founding = serial <= founders[client]
    signup = who.signup[client]
    began = signup + np.minimum(rng.exponential(9, len(client)), 60).astype(int) * world.planted
    room = np.maximum(days.days - 15 - np.maximum(signup, 0), 1)
    joined = np.maximum(signup, 0) + 10 + (rng.random(len(client)) * room).astype(int)
    created = np.where(founding, began, joined)
    left = _lifetimes(rng, created, days, world.planted and not world.segments)
    base = rng.normal(-1.47, 0.45, len(client))
    champion = (serial == 1) & (rng.random(len(client)) < CHAMPION_SHARE)
    base[champion] = np.maximum(base[champion], 2.4)
    planted_exit = champion & (rng.random(len(client)) < CHAMPION_EXIT_SHARE) & world.planted
    exit_day = np.maximum(signup, 0) + rng.integers(130, 430, len(client))
    planted_exit &= exit_day < days.days - 35
    left = np.where(planted_exit, exit_day, np.where(champion, NEVER, left))
    persona = rng.choice(len(names.PERSONAS), len(client), p=[0.26, 0.28, 0.34, 0.12])
    return Users(
        client,
        serial,
        persona,
        created,
        left,
        base,
        champion,
        planted_exit,
        rng.random(len(client)) < 0.85,
        first_of,
    )
