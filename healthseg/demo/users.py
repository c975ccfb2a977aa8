"""The users of customers: when they are there and what they like, and the champions who leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from healthseg.demo.scenarios import before, random_stream
from healthseg.demo.schema import NEVER, PERSONAS

if TYPE_CHECKING:
    from healthseg.demo.portfolio import Batch

JOINERS_PER_SEAT = 0.32
USER_LEAVES_PER_DAY = 0.00065
# customers that have a champion, champions whose exit is planted
CHAMPION_SHARE, CHAMPION_EXIT_SHARE = 0.55, 0.22


@dataclass
class Users:
    """One entry per user, sorted by customer; ``left`` is NEVER for those who do not leave."""

    client: np.ndarray
    # 1 … within the customer
    serial: np.ndarray
    persona: np.ndarray
    created: np.ndarray
    left: np.ndarray
    # log-odds of being active on a working day
    base: np.ndarray
    champion: np.ndarray
    planted_exit: np.ndarray
    # whether `users.deactivated_at` is filled when the user leaves
    deactivation_recorded: np.ndarray
    # position of each customer's first user
    first_of: np.ndarray

    @property
    def count(self) -> int:
        return len(self.client)

    def pick(self, rng: np.random.Generator, client: np.ndarray, day: np.ndarray) -> np.ndarray:
        """A user of each customer, or -1 where the drawn one is not there on the day."""
        users = np.bincount(self.client)[client]
        user = self.first_of[client] + (rng.random(len(client)) * users).astype(int)
        return np.where((self.created[user] <= day) & (day < self.left[user]), user, -1)


def draw_users(batch: Batch) -> Users:
    world, customers = batch.world, batch.customers
    rng, seats = world.random("users"), customers.seats
    founders = np.maximum(2, (seats * rng.uniform(0.85, 1.10, len(seats))).round().astype(int))
    joiners = rng.poisson(seats * JOINERS_PER_SEAT * world.days / 548) * world.planted
    if world.segments:
        founders, joiners = seats, 0 * joiners
    total = founders + joiners
    client = np.repeat(np.arange(len(seats)), total)
    count, signup, first_day = len(client), customers.signup[client], customers.first_day[client]
    first_of = np.concatenate([[0], np.cumsum(total)[:-1]])
    serial = np.arange(count) - first_of[client] + 1
    founded = signup + np.minimum(rng.exponential(9, count), 60).astype(int) * world.planted
    room = np.maximum(world.days - 15 - first_day, 1)
    joined = first_day + 10 + (rng.random(count) * room).astype(int)
    created = np.where(serial <= founders[client], founded, joined)
    left = np.maximum(created, 0) + 20 + rng.exponential(1 / USER_LEAVES_PER_DAY, count).astype(int)
    left = before(left, world.days if world.planted and not world.segments else -NEVER)
    base = rng.normal(-1.47, 0.45, count)
    created = np.where(customers.api_only[client], NEVER, created)
    champion = (serial == 1) & (rng.random(count) < CHAMPION_SHARE) & (created < NEVER)
    base[champion] = np.maximum(base[champion], 2.4)
    planted_exit = champion & (rng.random(count) < CHAMPION_EXIT_SHARE) & world.planted
    exit_day = first_day + rng.integers(130, 430, count)
    planted_exit &= exit_day < world.days - 35
    return Users(
        client,
        serial,
        rng.choice(len(PERSONAS), count, p=[0.26, 0.28, 0.34, 0.12]),
        created,
        np.where(planted_exit, exit_day, np.where(champion, NEVER, left)),
        base,
        champion,
        planted_exit,
        rng.random(count) < 0.85,
        first_of,
    )


def _users(batch: Batch) -> pa.Table:
    users, numbers = batch.users, batch.customers.number
    rng = random_stream(batch.world.seed, int(numbers.min()), "roles")
    role = rng.choice([1, 2, 3], users.count, p=[0.15, 0.30, 0.55])
    left = batch.before(users.left, users.client)
    table = batch.table(
        "users",
        user=np.arange(users.count),
        client=users.client,
        role=np.where(users.serial == 1, 0, role),
        created_at=users.created,
        deactivated_at=np.where(users.deactivation_recorded, left, NEVER),
        email_domain=[f"customer{number:04d}.example" for number in numbers[users.client]],
    )
    return table.filter(pa.array(batch.present(users.created, users.client)))


def _true_users(batch: Batch) -> pa.Table:
    users = batch.users
    table = batch.truth(
        "users",
        user=np.arange(users.count),
        client=users.client,
        persona=users.persona if batch.world.planted else np.full(users.count, -1),
        rate=1 / (1 + np.exp(-users.base)),
        created_on=users.created,
        left_on=batch.before(users.left, users.client),
        champion=users.champion,
    )
    return table.filter(pa.array(batch.present(users.created, users.client)))


def _champion_exits(batch: Batch) -> pa.Table:
    """Users with ≥ 20% of 90 days' events, active on ≥ 12 days, who then left; and planted exits."""
    users, events, days = batch.users, batch.persons, batch.world.days
    cells = events.user.astype(np.int64) * days + events.day
    per_user = np.bincount(cells, events.weight, users.count * days).reshape(users.count, days)
    per_client = np.add.reduceat(per_user, users.first_of, axis=0)
    leavers = np.flatnonzero((users.left < batch.until[users.client]) & (users.left > 28))
    client, left = users.client[leavers], users.left[leavers]

    def before_exit(daily: np.ndarray, rows: np.ndarray, width: int) -> np.ndarray:
        sums = np.cumsum(np.pad(daily[rows], ((0, 0), (1, 0))), axis=1)
        row = np.arange(len(rows))
        return sums[row, left] - sums[row, np.maximum(left - width, 0)]

    share_28d, share_90d = (
        before_exit(per_user, leavers, width)
        / np.maximum(before_exit(per_client, client, width), 1)
        for width in (28, 90)
    )
    active_days = before_exit(per_user > 0, leavers, 90).astype(int)
    was_champion = (share_90d >= 0.2) & (active_days >= 12)
    was_champion &= _is_most_active(per_user, users, leavers)
    detectable = was_champion & (left + 28 <= batch.until[client] - 1) & (left >= 118)
    rows = was_champion | users.planted_exit[leavers]
    return batch.truth(
        "champion_exits",
        client=client[rows],
        user=leavers[rows],
        left_on=left[rows],
        share_28d=share_28d[rows],
        share_90d=share_90d[rows],
        active_days_90d=active_days[rows],
        planted=users.planted_exit[leavers[rows]],
        detectable=detectable[rows],
    )


def _is_most_active(per_user: np.ndarray, users: Users, leavers: np.ndarray) -> np.ndarray:
    """Whether no other user of the customer has more events in the 90 days before leaving."""
    ends, out = np.append(users.first_of[1:], users.count), np.zeros(len(leavers), bool)
    for position, user in enumerate(leavers):
        client, left = users.client[user], users.left[user]
        first = users.first_of[client]
        sums = per_user[first : ends[client], max(left - 90, 0) : left].sum(axis=1)
        out[position] = sums[user - first] == sums.max()
    return out


TABLES = {"users": _users}
TRUTH = {"users": _true_users, "champion_exits": _champion_exits}
