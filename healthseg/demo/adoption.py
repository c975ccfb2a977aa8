"""Adoption: who uses which feature from when to when, bundles and sequences, milestones and blockers."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from healthseg.demo import oracle
from healthseg.demo.customers import Customers, autoregression
from healthseg.demo.scenarios import World, before
from healthseg.demo.schema import (
    BLOCKERS,
    FEATURE_CODE,
    FEATURE_NAMES,
    MILESTONES,
    NEVER,
    RELEASED,
)

if TYPE_CHECKING:
    from healthseg.demo.activity import SimulatedEvents
    from healthseg.demo.portfolio import Batch
    from healthseg.demo.users import Users

# by feature: least plan, popularity, median days until use, share of customers that take it up
LEAST_PLAN = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 2, 2, 1, 1, 1])
POPULARITY = np.array([2.2, 2.0, 1.3, 1.0, 0.8, 0.9, 0.8, 0.55, 0.5, 0.4, 0.35, 0.4, 0.5, 0.4, 0.4])
WAIT_DAYS = np.array([0, 3, 3, 6, 8, 25, 40, 60, 60, 30, 70, 60, 45, 45, 45])
TAKE_UP = np.array([1, 0.97, 0.97, 0.85, 0.95, 0.8, 0.65, 0.5, 0.5, 0.6, 0.5, 0.5, 0.4, 0.35, 0.35])
# features, share of the customers that may use them all
BUNDLES = {
    "bundle_1": (("reports", "scheduled_exports"), 0.45),
    "bundle_2": (("workflow_builder", "custom_fields"), 0.40),
}
# the same, and the median days between their first uses
SEQUENCES = {"sequence_1": (("capacity_planner", "goal_tracking", "forecast_view"), 0.40, (21, 28))}
# how much the hidden path changes the use of a feature; far apart in `segments`
PULL, SEGMENT_PULL = 1.1, 3.0
# the feature that large customers adopt in `confounded`
CONFOUNDED = "file_sharing"
ABANDON_SHARE, READOPT_SHARE = 0.10, 0.35
# of customers that sign up within the portfolio: a guided rollout begins with three basic features, one after the other, and
# the rest once the first quarter is over; who is left alone tries most of them soon, in no order
BASIC_FEATURES, GUIDED_DAYS, GUIDED_LATER_DAYS = 3, np.arange(len(FEATURE_NAMES)) * 2, 90
EXPLORER_DAYS, EXPLORER_LOG_ODDS = (20, 50), 3.5
# strata of volume, within which features are taken as independent
VOLUME_STRATA = 3

TARGET_DAYS = np.array([days for _, _, _, days, *_ in MILESTONES])
# milestones that events complete: code → (feature, users)
BY_EVENTS = {code: row[6] for code, row in enumerate(MILESTONES) if row[6]}
# from the start of each milestone
MEDIAN_DAYS = np.array([6.0, 14.0, 12.0, 0, 34.0, 0, 40.0, 90.0])
BLOCKED_SHARE = 0.28
# of the time that remains when a blocker begins, in the order of BLOCKERS
LOG_TIME_RATIO = np.array([0.95, 0.70, 0.50, 0.35])
STATUS_DATES = 5
# customers older than this when the portfolio begins have all milestones entered by hand
TRACKED_LATE_DAYS = 60


@dataclass
class Adoption:
    """Customers × features, day numbers."""

    eligible: np.ndarray
    # the first day on which the customer may use the feature
    intended: np.ndarray
    abandoned: np.ndarray
    readopted: np.ndarray
    # the planted bundle or sequence that leads there, or None
    path: np.ndarray
    # customers × weeks × features: how much it is used among those in use
    weights: np.ndarray

    def active(self, days: int) -> np.ndarray:
        """Customers × days × features: whether the feature may be used on the day."""
        day = np.arange(days)[None, :, None]
        intended, abandoned, readopted = (
            each[:, None, :] for each in (self.intended, self.abandoned, self.readopted)
        )
        return (day >= intended) & ((day < abandoned) | (day >= readopted))


def draw_adoption(batch: Batch) -> Adoption:
    world, customers = batch.world, batch.customers
    rng, start = world.random("adoption"), np.maximum(customers.signup[:, None], RELEASED)
    plan, upgraded = customers.plan[:, None], np.maximum(start, customers.upgraded[:, None])
    eligible = np.where(plan + 1 >= LEAST_PLAN, np.minimum(upgraded, NEVER), NEVER)
    eligible = np.where(plan >= LEAST_PLAN, start, eligible)
    intended, path = _intended(rng, batch, eligible)
    abandons = (rng.random(intended.shape) < ABANDON_SHARE) & (intended < world.days - 150)
    abandons &= world.planted and not world.segments
    abandons[:, :3] = False
    abandoned = np.maximum(intended, 0) + rng.integers(60, 140, intended.shape)
    readopts = abandons & (rng.random(intended.shape) < READOPT_SHARE)
    readopted = abandoned + rng.integers(45, 110, intended.shape)
    breadth, own = batch.latents.of("features")[:, :, None], np.zeros(1, np.float32)
    if world.planted:
        own = autoregression(rng, world.weeks, intended.shape).transpose(0, 2, 1)
    pull = SEGMENT_PULL if world.segments else PULL
    common = np.array([0, 0, 0.3] + [1.0] * (len(FEATURE_NAMES) - 3), np.float32)
    utility = common * (pull * breadth + 0.5 * own) * world.planted
    return Adoption(
        eligible,
        intended,
        np.where(abandons, abandoned, NEVER),
        np.where(readopts, readopted, NEVER),
        path,
        (POPULARITY.astype(np.float32) * np.exp(utility)).astype(np.float32),
    )


def _intended(
    rng: np.random.Generator, batch: Batch, eligible: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The first day of use, and the planted path that leads there."""
    world = batch.world
    path = np.full(eligible.shape, None, object)
    wait = WAIT_DAYS * np.exp(rng.normal(0, 0.7, eligible.shape))
    liking = batch.latents.of("features")[:, :1] * 0.5 * world.planted
    odds = np.log(TAKE_UP / (1.0001 - TAKE_UP)) + liking + rng.logistic(0, 1, eligible.shape)
    guidance = _guidance(batch)
    odds += EXPLORER_LOG_ODDS * (guidance < 0)
    explored = batch.world.random("explorers").uniform(*EXPLORER_DAYS, eligible.shape)
    wait = np.where(guidance < 0, explored, np.where(guidance > 0, GUIDED_DAYS, wait))
    if world.scenario.size_on_adoption:
        size, code = (np.log(batch.customers.seats) - 2.3) / 0.82, FEATURE_CODE[CONFOUNDED]
        usual = np.log(TAKE_UP[code] / (1 - TAKE_UP[code]))
        odds[:, code] += world.scenario.size_on_adoption * size - usual
    takes_up = (odds >= 0) | world.segments
    intended = np.where(takes_up, eligible + wait.round().astype(int), NEVER)
    if world.planted and not world.segments:
        _plant_bundles(rng, intended, path, eligible)
        _plant_sequences(rng, intended, path, eligible, world.lively)
    intended[:, BASIC_FEATURES:] += np.where((guidance > 0) & world.planted, GUIDED_LATER_DAYS, 0)
    intended[:, 0] = eligible[:, 0]
    return np.where(eligible >= NEVER, NEVER, np.minimum(intended, NEVER)), path


def _guidance(batch: Batch) -> np.ndarray:
    """By customer, as a column: 1 where somebody guides the rollout, −1 where nobody does, 0 of earlier customers."""
    share, count = batch.world.scenario.guided_share, batch.customers.count
    if not share:
        return np.zeros((count, 1))
    guided = np.where(batch.world.random("rollouts").random(count) < share, 1.0, -1.0)
    return np.where(batch.customers.signup >= 0, guided, 0.0)[:, None]


def _codes(features: tuple[str, ...]) -> list[int]:
    return [FEATURE_CODE[feature] for feature in features]


def _plant_bundles(
    rng: np.random.Generator, intended: np.ndarray, path: np.ndarray, eligible: np.ndarray
) -> None:
    """All features of a bundle within a few days, or hardly any of them."""
    count = len(eligible)
    for name, (features, share) in BUNDLES.items():
        codes = _codes(features)
        able = (eligible[:, codes] < NEVER).all(axis=1)
        chosen = rng.random(count) < share
        together = eligible[:, codes].max(axis=1) + rng.exponential(45, count).astype(int)
        for code in codes:
            alone = np.where(rng.random(count) < 0.10, intended[:, code], NEVER)
            day = np.where(chosen, together + rng.integers(0, 5, count), alone)
            intended[:, code] = np.where(able, day, intended[:, code])
            path[able & chosen, code] = name


def _plant_sequences(
    rng: np.random.Generator,
    intended: np.ndarray,
    path: np.ndarray,
    eligible: np.ndarray,
    lively: bool,
) -> None:
    count = len(eligible)
    for name, (features, share, gaps) in SEQUENCES.items():
        codes = _codes(features)
        chosen = (eligible[:, codes] < NEVER).all(axis=1) & (rng.random(count) < share)
        # late enough that there are days before the first step to compare with
        day = eligible[:, codes[0]] + 30 * lively + rng.exponential(35, count).astype(int)
        for position, code in enumerate(codes):
            if position:
                gap = gaps[position - 1] * np.exp(rng.normal(0, 0.4, count))
                day = np.maximum(day + gap.round().astype(int), eligible[:, code])
            alone = np.where(rng.random(count) < 0.5, intended[:, code], NEVER)
            intended[:, code] = np.where(chosen, day, alone)
            path[chosen, code] = name


def draw_milestones(batch: Batch) -> pd.DataFrame:
    """A row per customer and milestone that somebody enters by hand, as if nobody churned.

    The table's columns with codes and day numbers.
    """
    world, customers = batch.world, batch.customers
    rng, parts = world.random("milestones"), []
    finished: dict[str, np.ndarray] = {}
    for code, (milestone_id, _, _, _, required, depends_on, by_events, _) in enumerate(MILESTONES):
        if by_events:
            part = _entered_by_hand(rng, customers)
        else:
            begins = finished[depends_on] if depends_on else customers.signup
            part, finished[milestone_id] = _worked_on(rng, world, code, required, begins)
        parts.append(part.assign(milestone=code, owner=customers.csm[part["client"]]))
    return pd.concat(parts).sort_values(["client", "milestone"], kind="stable", ignore_index=True)


def _entered_by_hand(rng: np.random.Generator, customers: Customers) -> pd.DataFrame:
    """A milestone that events complete, for customers whose first weeks lie before the events."""
    client = np.flatnonzero(customers.signup < -TRACKED_LATE_DAYS)
    started = customers.signup[client]
    completed = started + rng.integers(4, 50, len(client))
    part = pd.DataFrame({"client": client, "started_at": started, "completed_at": completed})
    return part.assign(blocker=-1, blocked_since=NEVER, blocker_cleared_at=NEVER, skipped_at=NEVER)


def _worked_on(
    rng: np.random.Generator, world: World, code: int, required: bool, begins: np.ndarray
) -> tuple[pd.DataFrame, np.ndarray]:
    """One milestone of customers who may begin it on a day; and when its successors may begin."""
    count = len(begins)
    started = begins + rng.integers(0, 5, count)
    blocked = rng.random(count) < BLOCKED_SHARE
    blocker = rng.integers(0, len(BLOCKERS), count)
    ratio = np.where(blocked, LOG_TIME_RATIO[blocker] * world.planted, 0)
    natural = MEDIAN_DAYS[code] * np.exp(0.45 * rng.standard_normal(count))
    onset = np.minimum(rng.integers(0, 3, count), np.maximum(natural.astype(int) - 1, 0))
    # from its onset on, a blocker makes the remaining time longer
    days = np.round(onset + (natural - onset) * np.exp(ratio))
    days = np.maximum(days, np.maximum(2, onset + 1)).astype(int)
    skipped = (rng.random(count) < 0.04) & (not required)
    stuck = rng.random(count) < 0.05
    blocked &= ~skipped
    cleared = started + np.maximum(np.maximum((days * 0.9).astype(int), 1), onset + 1)
    part = pd.DataFrame(
        {
            "client": np.arange(count),
            "started_at": started,
            "completed_at": np.where(stuck | skipped, NEVER, started + days),
            "blocker": np.where(blocked, blocker, -1),
            "blocked_since": np.where(blocked, started + onset, NEVER),
            "blocker_cleared_at": np.where(blocked & ~stuck, cleared, NEVER),
            "skipped_at": np.where(skipped, started + 10, NEVER),
        }
    )
    return part, started + days + np.where(stuck, 400, 0)


def end_milestones_at_churn(milestones: pd.DataFrame, until: np.ndarray) -> pd.DataFrame:
    """What is recorded before a customer's first day without rows."""
    until = until[milestones["client"]]
    days = {
        name: before(milestones[name], until)
        for name in ("completed_at", "blocked_since", "blocker_cleared_at", "skipped_at")
    }
    blocker = np.where(days["blocked_since"] == NEVER, -1, milestones["blocker"])
    rows = milestones.assign(**days, blocker=blocker)[milestones["started_at"] < until]
    return rows.reset_index(drop=True)


def first_uses(events: SimulatedEvents, users: Users) -> dict[int, np.ndarray]:
    """Milestone → customers × users needed: the days on which each further user first uses the feature."""
    out, after_last = {}, np.append(users.first_of[1:], users.count)[:, None]
    for code, (feature, needed) in BY_EVENTS.items():
        rows = events.feature == FEATURE_CODE[feature]
        first = np.full(users.count, NEVER)
        np.minimum.at(first, events.user[rows], events.day[rows])
        first = first[np.lexsort((first, users.client))]
        user = users.first_of[:, None] + np.arange(needed)
        out[code] = np.where(user < after_last, first[np.minimum(user, users.count - 1)], NEVER)
    return out


def _entitlements(batch: Batch) -> pa.Table:
    client, feature = np.nonzero(batch.adoption.eligible < batch.until[:, None])
    starts_on = batch.adoption.eligible[client, feature]
    return batch.table(
        "entitlements", client=client, feature=feature, starts_on=starts_on, ends_on=None
    )


def _milestone_progress(batch: Batch) -> pa.Table:
    return batch.table("milestone_progress", **batch.milestones)


def milestones_table(world: World) -> pa.Table:
    columns = [list(column) for column in zip(*MILESTONES, strict=True)]
    values = dict(zip(world.table("milestones").column_names, columns, strict=True))
    values["completes_when"] = [
        rule and f'{{"feature": "{rule[0]}", "users": {rule[1]}}}'
        for rule in values["completes_when"]
    ]
    return world.table("milestones", **values)


def _used(batch: Batch) -> np.ndarray:
    """Customers × features × days: whether a person used it, before churn."""
    live = np.arange(batch.world.days) < batch.until[:, None, None]
    return batch.inputs.counts.feature_days & live


def _adoptions(batch: Batch) -> pa.Table:
    """When each entitled feature is first used, and adopted (used on 2 of 30 days)."""
    adoption, until, days = batch.adoption, batch.until, np.arange(batch.world.days)
    used = _used(batch)
    adopted = (oracle.trailing(used, days, 30) >= 2) & (days < until[:, None, None])
    adopted &= days >= adoption.eligible[:, :, None]
    client, feature = np.nonzero(adoption.eligible < until[:, None])
    matrices = {
        "eligible_on": adoption.eligible,
        "intended_on": adoption.intended,
        "adopted_on": oracle.first_day_of(adopted),
        "first_event_on": oracle.first_day_of(used),
        "abandoned_on": adoption.abandoned,
        "readopted_on": adoption.readopted,
    }
    day = {name: batch.before(each[client, feature], client) for name, each in matrices.items()}
    return batch.truth(
        "adoptions",
        client=client,
        feature=feature,
        **day,
        path=adoption.path[client, feature],
        detectable=(day["adopted_on"] < NEVER) & (day["eligible_on"] >= 0),
    )


def _milestone_status(batch: Batch) -> pa.Table:
    """What is true of each milestone on five dates, for customers live then."""
    world, rows, customers = batch.world, batch.milestones, batch.customers
    shape = (customers.count, len(MILESTONES))
    days = {name: np.full(shape, NEVER) for name in ("started_at", "completed_at", "skipped_at")}
    for name, values in days.items():
        values[rows["client"], rows["milestone"]] = rows[name]
    # the earlier of what is entered by hand and what events show
    for code, first in batch.first_uses.items():
        for name, user in (("started_at", 0), ("completed_at", -1)):
            days[name][:, code] = np.minimum(days[name][:, code], first[:, user])
    overdue_from = customers.signup[:, None] + TARGET_DAYS
    parts = []
    for date in np.linspace(world.days * 0.3, world.days - 1, STATUS_DATES).astype(int):
        begun, done, skipped = (each <= date for each in days.values())
        status = np.select(
            [done, skipped, overdue_from < date, begun],
            ["completed", "skipped", "overdue", "in_progress"],
            "not_started",
        )
        progress = np.full(shape, np.nan)
        for milestone, first in batch.first_uses.items():
            progress[:, milestone] = (first <= date).mean(axis=1)
        live = (customers.signup <= date) & (batch.churn.churned > date)
        cells = np.nonzero(np.broadcast_to(live[:, None], shape))
        columns = {"client": cells[0], "milestone": cells[1], "as_of": date}
        columns |= {"status": status[cells], "progress": progress[cells]}
        for name in ("started", "completed"):
            columns[f"{name}_on"] = before(days[f"{name}_at"], date + 1)[cells]
        parts.append(pd.DataFrame(columns))
    return batch.truth("milestone_status", **pd.concat(parts, ignore_index=True))


def _blocker_spells(batch: Batch) -> pa.Table:
    rows = batch.milestones[batch.milestones["blocker"] >= 0]
    from_, to = rows["blocked_since"], rows["blocker_cleared_at"]
    return batch.truth("blocker_spells", **rows, from_=from_, to=to)


def tally(batch: Batch) -> dict[str, np.ndarray]:
    """How often each blocker occurs, and counts of the bundles and sequences."""
    blocker, used = batch.milestones["blocker"].to_numpy(), _used(batch)
    bundles = {
        name: _bundle_counts(batch, used, _codes(each)) for name, (each, _) in BUNDLES.items()
    }
    sequences = {
        name: _sequence_counts(batch, used, _codes(each)) for name, (each, *_) in SEQUENCES.items()
    }
    blocked = np.bincount(blocker[blocker >= 0], minlength=len(BLOCKERS))
    return {"blocked": blocked, **bundles, **sequences}


def _able(batch: Batch, codes: list[int]) -> np.ndarray:
    """Customers that may use all these features."""
    return np.all(batch.adoption.eligible[:, codes] < batch.until[:, None], axis=1)


def _bundle_counts(batch: Batch, used: np.ndarray, codes: list[int]) -> np.ndarray:
    """Customers that may use the bundle, that do, and that would if volume alone decided."""
    able, ever = _able(batch, codes), np.any(used[:, codes], axis=2)
    live = np.arange(batch.world.days) < batch.until[:, None]
    volume = np.where(live, batch.inputs.counts.events, 0).sum(axis=1)
    edges = (
        np.quantile(volume[able], np.arange(1, VOLUME_STRATA) / VOLUME_STRATA) if able.any() else []
    )
    stratum, expected = np.searchsorted(edges, volume), 0.0
    for code in range(VOLUME_STRATA):
        rows = able & (stratum == code)
        expected += rows.sum() * ever[rows].mean(axis=0).prod() if rows.any() else 0.0
    return np.array([able.sum(), (ever.all(axis=1) & able).sum(), expected], float)


def _sequence_counts(batch: Batch, used: np.ndarray, codes: list[int]) -> np.ndarray:
    """Customers that may use the sequence, that use all of it, and that first use it in order."""
    first = oracle.first_day_of(used[:, codes])
    all_used = (first < NEVER).all(axis=1)
    ordered = all_used & (np.diff(first, axis=1) > 0).all(axis=1)
    return np.array([_able(batch, codes).sum(), all_used.sum(), ordered.sum()], float)


def _power_against(observed: float, expected: float, n: float) -> float:
    """The power of a count above its expectation among ``n`` customers."""
    z = (observed - expected) / np.sqrt(max(expected * (1 - expected / max(n, 1)), 1e-9))
    return float(oracle.power_of_z(max(z, 0), oracle.Z_MANY))


def _bundles(total: dict[str, np.ndarray], world: World) -> pa.Table:
    rows = []
    for name, (features, share) in BUNDLES.items():
        able, both, expected = total[name]
        power = _power_against(both, expected, able)
        rows.append((name, json.dumps(features), share, both / max(expected, 1e-9), able, power))
    return _pattern_table("bundles", world, rows)


def _sequences(total: dict[str, np.ndarray], world: World) -> pa.Table:
    rows = []
    for name, (features, share, gaps) in SEQUENCES.items():
        able, used, ordered = total[name]
        power = _power_against(ordered, used / math.factorial(len(features)), used)
        log_hr = world.scenario.sequence_log_odds
        rows.append((name, json.dumps(features), share, json.dumps(gaps), log_hr, able, power))
    return _pattern_table("sequences", world, rows)


def _pattern_table(name: str, world: World, rows: list[tuple]) -> pa.Table:
    """Rows of all columns but `detectable`; empty where no pattern is planted."""
    if not world.planted or world.segments:
        return world.truth(name)
    columns = pd.DataFrame(rows, columns=world.truth(name).column_names[:-1]).astype({"n": int})
    return world.truth(name, **columns, detectable=columns["power"] >= oracle.DETECTABLE)


def _blocker_law(total: dict[str, np.ndarray], world: World) -> pa.Table:
    ratio = LOG_TIME_RATIO * world.planted
    power = oracle.power_of_z(ratio * np.sqrt(total["blocked"]) / 0.5, oracle.Z_ONE)
    return world.truth(
        "blocker_law",
        blocker=BLOCKERS,
        log_time_ratio=ratio,
        n=total["blocked"].astype(int),
        **oracle.with_power(power),
    )


TABLES = {"entitlements": _entitlements, "milestone_progress": _milestone_progress}
TRUTH = {
    "adoptions": _adoptions,
    "milestone_status": _milestone_status,
    "blocker_spells": _blocker_spells,
}
LAWS = {
    "bundles": _bundles,
    "sequences": _sequences,
    "blocker_law": _blocker_law,
}
