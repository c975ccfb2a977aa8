"""Customers as they are at signup: size, place, plan, money, and what of them is withheld."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from healthseg.demo import names
from healthseg.demo.frame import Frame, stream
from healthseg.demo.scenarios import Scenario

SEGMENTS = 4
PRICE_PER_SEAT = np.array([1_900.0, 3_000.0, 4_400.0])  # a year, by plan
# what a share of the customers never hands over: input, share
WITHHELD = (("surveys", 0.15), ("tickets", 0.06), ("seats", 0.05), ("invoices", 0.06))


@dataclass
class Customers:
    """One array entry per customer; days are day numbers, 0 = the portfolio's first day, negative before it."""

    number: np.ndarray  # 1 … of the whole portfolio, what ids are made of
    signup: np.ndarray
    zone: np.ndarray  # place in names.PLACES
    industry: np.ndarray
    plan: np.ndarray  # place in names.PLANS at signup
    upgraded: np.ndarray  # day of a change to the next plan, or -1
    seats: np.ndarray  # at signup
    price: np.ndarray  # per seat and year
    segment: np.ndarray  # planted group, or -1
    uses_api: np.ndarray
    billing_months: np.ndarray
    csm: np.ndarray
    withheld: dict[str, np.ndarray]

    @property
    def count(self) -> int:
        return len(self.number)

    @property
    def ids(self) -> np.ndarray:
        return np.array([f"cs_client_{number:03d}" for number in self.number], object)


def _signups(rng: np.random.Generator, count: int, days: Frame) -> np.ndarray:
    """Four of five were there before the portfolio began; the rest came in its first 13 months."""
    before = -rng.integers(20, 1_000, count)
    later = rng.integers(5, max(6, min(400, days.days - 60)), count)
    return np.where(rng.random(count) < 0.82, before, later)


def draw_customers(
    seed: int, chunk: int, first: int, count: int, days: Frame, world: Scenario
) -> Customers:
    rng = stream(seed, chunk, "customers")
    seats = np.clip(np.exp(rng.normal(2.3, 0.82, count)), 3, 300).round().astype(int)
    if world.segments:
        seats = np.clip(np.exp(rng.normal(3.3, 0.25, count)), 15, 60).round().astype(int)
    plan = np.clip(np.digitize(seats * np.exp(rng.normal(0, 0.35, count)), [9, 28]), 0, 2)
    signup = _signups(rng, count, days)
    upgrade = (rng.random(count) < 0.10) & (plan < 2) & world.planted
    upgraded = np.maximum(signup, 0) + rng.integers(60, 400, count)
    upgraded = np.where(upgrade & (upgraded < days.days - 30), upgraded, -1)
    if world.segments:
        plan, upgraded = np.full(count, 1), np.full(count, -1)
    segment = rng.integers(0, SEGMENTS, count)
    withheld = {name: rng.random(count) < share for name, share in WITHHELD}
    return Customers(
        number=np.arange(first, first + count) + 1,
        signup=signup,
        zone=rng.choice(len(names.PLACES), count, p=[share for *_, share in names.PLACES]),
        industry=rng.choice(len(names.INDUSTRIES), count, p=names.INDUSTRY_SHARES),
        plan=plan,
        upgraded=upgraded,
        seats=seats,
        price=PRICE_PER_SEAT[plan] * np.exp(rng.normal(0, 0.25, count)),
        segment=segment if world.segments else np.full(count, -1),
        uses_api=rng.random(count) < 0.35,
        billing_months=rng.choice([1, 3, 12], count, p=[0.62, 0.26, 0.12]),
        csm=np.clip(
            np.digitize(seats, [5, 12, 40, 90]) * 2 - rng.integers(0, 2, count),
            0,
            len(names.CSMS) - 1,
        ),
        withheld=withheld,
    )


def company_names(seed: int, number: np.ndarray) -> np.ndarray:
    """A name for each number, the same for the same seed, none twice within 4,000."""
    total = len(names.FIRST) * len(names.SECOND) * len(names.LEGAL)
    place = (number * 1_637 + seed * 7) % total
    first, rest = np.divmod(place, len(names.SECOND) * len(names.LEGAL))
    second, legal = np.divmod(rest, len(names.LEGAL))
    again = number // total
    return np.array(
        [
            f"{names.FIRST[a]} {names.SECOND[b]} {names.LEGAL[c]}" + (f" {r + 1}" if r else "")
            for a, b, c, r in zip(first, second, legal, again, strict=True)
        ],
        object,
    )
