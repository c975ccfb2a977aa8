"""Which customer uses which feature, from when to when: entitlement, order, bundles, abandonment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from healthseg.demo import names
from healthseg.demo.customers import Customers
from healthseg.demo.frame import Frame, stream
from healthseg.demo.latents import Latents, autoregression
from healthseg.demo.names import FEATURE
from healthseg.demo.scenarios import Scenario
from healthseg.demo.users import NEVER

LEAST_PLAN = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 2, 2, 1, 1, 1])
POPULARITY = np.array([2.2, 2.0, 1.3, 1.0, 0.8, 0.9, 0.8, 0.55, 0.5, 0.4, 0.35, 0.4, 0.5, 0.4, 0.4])
WAIT_DAYS = np.array([0, 3, 3, 6, 8, 25, 40, 60, 60, 30, 70, 60, 45, 45, 45])  # medians
TAKE_UP = np.array([1, 0.97, 0.97, 0.85, 0.95, 0.8, 0.65, 0.5, 0.5, 0.6, 0.5, 0.5, 0.4, 0.35, 0.35])
BUNDLES = (
    ("bundle_1", ("reports", "scheduled_exports"), 0.45),
    ("bundle_2", ("workflow_builder", "custom_fields"), 0.40),
)
SEQUENCES = (
    ("sequence_1", ("capacity_planner", "goal_tracking", "forecast_view"), 0.40, (21, 28)),
)
# taste of the personas for the features, rows as names.PERSONAS
TASTE = np.array(
    [
        [0.2, 0.2, 0.1, 0.3, 9, 0.2, 8, 1, 8, 0.1, 0.1, 0.2, 2, 2, 0.3],
        [9, 0.2, 0.1, 0.4, 0.1, 9, 0.1, 4, 0.1, 0.2, 0.2, 0.1, 1, 0.5, 4],
        [0.2, 9, 0.4, 2, 0.1, 0.2, 0.1, 0.1, 0.1, 5, 0.1, 0.1, 1, 1, 0.2],
        [0.2, 0.2, 9, 0.3, 0.3, 0.1, 0.2, 0.2, 0.2, 0.1, 7, 9, 0.2, 0.2, 0.2],
    ]
)
PULL, SEGMENT_PULL = (
    1.1,
    3.0,
)  # of the hidden path on how much a feature is used; far apart in `segments`
CONFOUNDED = "file_sharing"  # what large customers adopt in `confounded`
ABANDON_SHARE, READOPT_SHARE = 0.10, 0.35


@dataclass
class Adoption:
    """Customers × features, day numbers, NEVER where it does not happen."""

    eligible: np.ndarray
    intended: np.ndarray  # the first day on which the feature may be used
    abandoned: np.ndarray
    readopted: np.ndarray
    path: np.ndarray  # which planted path led there, '' for none
    weights: np.ndarray  # customers × weeks × features: how much it is used among those in use

    def active(self, days: Frame) -> np.ndarray:
        """Customers × days × features: whether the feature may be used on the day."""
        day = np.arange(days.days)[None, :, None]
        before, gone, again = (
            each[:, None, :] for each in (self.intended, self.abandoned, self.readopted)
        )
        return (day >= before) & ((day < gone) | (day >= again))


def _eligible(who: Customers) -> np.ndarray:
    released = np.array([day for *_, day, _ in names.FEATURES])
    start = np.maximum(who.signup[:, None], released[None, :])
    at_signup = who.plan[:, None] >= LEAST_PLAN
    upgraded = np.where(who.upgraded < 0, NEVER, who.upgraded)[:, None]
    later = np.where(who.plan[:, None] + 1 >= LEAST_PLAN, np.maximum(start, upgraded), NEVER)
    return np.where(at_signup, start, np.minimum(later, NEVER))


def _plant_bundles(rng, intended, path, eligible) -> None:
    """All members within a few days, or hardly any of them."""
    for name, features, share in BUNDLES:
        places = [FEATURE[each] for each in features]
        able = (eligible[:, places] < NEVER).all(axis=1)
        taken = rng.random(len(able)) < share
        together = eligible[:, places].max(axis=1) + rng.exponential(45, len(able)).astype(int)
        for place in places:
            alone = np.where(rng.random(len(able)) < 0.10, intended[:, place], NEVER)
            joint = together + rng.integers(0, 5, len(able))
            intended[:, place] = np.where(able, np.where(taken, joint, alone), intended[:, place])
            path[able & taken, place] = name


def _plant_sequences(rng, intended, path, eligible) -> None:
    for name, features, share, gaps in SEQUENCES:
        places = [FEATURE[each] for each in features]
        taken = (eligible[:, places] < NEVER).all(axis=1) & (rng.random(len(eligible)) < share)
        day = eligible[:, places[0]] + rng.exponential(35, len(eligible)).astype(int)
        for step, place in enumerate(places):
            if step:
                gap = gaps[step - 1] * np.exp(rng.normal(0, 0.4, len(day)))
                day = np.maximum(day + gap.round().astype(int), eligible[:, place])
            alone = np.where(rng.random(len(day)) < 0.5, intended[:, place], NEVER)
            intended[:, place] = np.where(taken, day, alone)
            path[taken, place] = name


def _intended(
    rng, who: Customers, latents: Latents, eligible, world: Scenario
) -> tuple[np.ndarray, np.ndarray]:
    shape = eligible.shape
    path = np.full(shape, "", object)
    wait = WAIT_DAYS * np.exp(rng.normal(0, 0.7, shape))
    liking = latents.of("features")[:, :1] * 0.5 * world.planted
    odds = np.log(TAKE_UP / (1.0001 - TAKE_UP)) + liking + rng.logistic(0, 1, shape)
    if world.size_on_adoption:
        size = (np.log(who.seats) - 2.3) / 0.82
        place = FEATURE[CONFOUNDED]
        odds[:, place] += world.size_on_adoption * size - np.log(
            TAKE_UP[place] / (1 - TAKE_UP[place])
        )
    never = (odds < 0) & (not world.segments)
    intended = np.where(never, NEVER, eligible + wait.round().astype(int))
    if world.planted and not world.segments:
        _plant_bundles(rng, intended, path, eligible)
        _plant_sequences(rng, intended, path, eligible)
    intended[:, 0] = eligible[:, 0]
    return np.where(eligible >= NEVER, NEVER, np.minimum(intended, NEVER)), path


def draw_adoption(
    seed: int, chunk: int, who: Customers, latents: Latents, days: Frame, world: Scenario
) -> Adoption:
    rng = stream(seed, chunk, "adoption")
    eligible = _eligible(who)
    intended, path = _intended(rng, who, latents, eligible, world)
    leaving = (rng.random(intended.shape) < ABANDON_SHARE) & (intended < days.days - 150)
    leaving &= world.planted and not world.segments
    leaving[:, :3] = False
    abandoned = np.where(
        leaving, np.maximum(intended, 0) + rng.integers(60, 140, intended.shape), NEVER
    )
    again = leaving & (rng.random(intended.shape) < READOPT_SHARE)
    readopted = np.where(again, abandoned + rng.integers(45, 110, intended.shape), NEVER)
    breadth = latents.of("features")[:, :, None]
    own = (
        autoregression(rng, days.weeks, intended.shape).transpose(0, 2, 1) if world.planted else 0.0
    )
    pull = SEGMENT_PULL if world.segments else PULL
    common = np.array([0, 0, 0.3] + [1.0] * (len(names.FEATURES) - 3), np.float32)
    weights = POPULARITY.astype(np.float32) * np.exp(
        common * (pull * breadth + 0.5 * own) * world.planted
    )
    return Adoption(
        eligible,
        intended,
        abandoned,
        readopted,
        path,
        np.broadcast_to(weights, (who.count, days.weeks, len(names.FEATURES))).astype(np.float32),
    )
