"""Portfolios whose churn follows laws of their own: none of the score's metrics is an input of any of them.

``terms``: contracts of 1, 6 and 12 months, lost at a renewal or when notice for it is due. ``onboarding``: most losses at
the end of the first three months, and few afterwards. ``prices``: losses in the months after a price rise. In each,
customers differ by an engagement that moves slowly, by friction, and by a frailty that nothing shows; usage, tickets
and surveys are noisy reports of the first two. ``truth`` holds each customer's probability of being lost within 30 and
90 days, given engagement, friction and frailty. Nothing here knows healthseg.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

LAWS = ("terms", "onboarding", "prices")
START = pd.Timestamp("2023-01-02")
DAYS = 570
FIRST_DATE, STEP = 29, 30  # the dates of the truth: day 29 and every 30 days on
CONTINUATIONS = 120
NEVER = 10**6
MEMORY = {"engagement": np.exp(-1 / 90), "friction": np.exp(-1 / 25)}
FRAILTY_SD = {"terms": 0.6, "onboarding": 0.5, "prices": 0.5}
FEATURES = ("dashboards", "exports", "alerts", "api_keys", "sharing", "comments")


def expit(odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-odds))


@dataclass
class World:
    """The customers' fixed traits, and engagement and friction by customer and day."""

    law: str
    seed: int
    signup: np.ndarray  # day numbers, also before 0
    term: np.ndarray
    auto_renews: np.ndarray
    notice_days: np.ndarray
    frailty: np.ndarray
    seats: np.ndarray
    price: np.ndarray
    rise_days: np.ndarray  # customers × rises
    rises: np.ndarray

    def log_odds(self, day: int, engagement: np.ndarray, friction: np.ndarray) -> np.ndarray:
        """Of being lost on a day, by customer (of whole arrays with the customers last); −inf where nobody can be."""
        return LAW[self.law](self, day, engagement, friction)


def _terms(world: World, day: int, engagement: np.ndarray, friction: np.ndarray) -> np.ndarray:
    age = day + world.notice_days - world.signup
    is_due = (age > 0) & (age % world.term == 0)
    level = np.select([world.term < 60, world.term < 300], [-3.6, -1.9], -1.2)
    odds = level - 0.9 * engagement + 0.6 * friction - 0.7 * world.auto_renews + world.frailty
    return np.where(is_due, odds, -np.inf)


def _onboarding(world: World, day: int, engagement: np.ndarray, friction: np.ndarray) -> np.ndarray:
    age = day - world.signup
    cliff = np.exp(-0.5 * ((age - 95) / 10) ** 2) * np.where(engagement < 0, 3.6, 1.6)
    odds = -7.6 - 0.6 * engagement + 0.4 * friction + world.frailty + cliff + 0.8 * (age < 45)
    return np.where(age > 0, odds, -np.inf)


def _prices(world: World, day: int, engagement: np.ndarray, friction: np.ndarray) -> np.ndarray:
    since = day - world.rise_days
    recent = np.where(since >= 0, world.rises * np.exp(-np.maximum(since, 0) / 40), 0.0).sum(axis=1)
    odds = -7.4 - 0.5 * engagement + 0.4 * friction + world.frailty + 9.0 * recent
    return np.where(day > world.signup, odds, -np.inf)


LAW = {"terms": _terms, "onboarding": _onboarding, "prices": _prices}


def make_world(law: str, seed: int, customers: int = 300) -> World:
    rng = np.random.default_rng([seed, LAWS.index(law)])
    new = {"terms": 0.35, "onboarding": 0.7, "prices": 0.35}[law]
    signup = np.where(
        rng.random(customers) < new,
        rng.integers(0, DAYS - 60, customers),
        -rng.integers(1, 1100, customers),
    )
    rise_days = -400 + np.cumsum(rng.integers(120, 420, (customers, 6)), axis=1)
    return World(
        law,
        seed,
        signup,
        rng.choice([30, 182, 365], customers, p=[0.2, 0.3, 0.5]),
        rng.random(customers) < 0.5,
        # a portfolio's contracts ask for notice a month before, or for none
        np.full(customers, 30 * (seed % 2)),
        rng.normal(0, FRAILTY_SD[law], customers),
        np.maximum(2, np.round(np.exp(rng.normal(1.6, 0.6, customers)))).astype(int),
        np.exp(rng.normal(6.5, 0.4, customers)),
        rise_days,
        rng.choice([0.03, 0.08, 0.15, 0.3], rise_days.shape, p=[0.4, 0.3, 0.2, 0.1]),
    )


def _step(state: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
    memory = MEMORY[name]
    return memory * state + np.sqrt(1 - memory**2) * rng.normal(size=state.shape)


def live_through(world: World) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(engagement, friction by customer and day, the day on which each customer was lost or gave notice)."""
    rng, count = np.random.default_rng([world.seed, 7]), len(world.signup)
    engagement, friction = (np.empty((count, DAYS)) for _ in range(2))
    engaged, troubled = rng.normal(size=count), rng.normal(size=count)
    lost = np.full(count, NEVER)
    for day in range(DAYS):
        engagement[:, day], friction[:, day] = engaged, troubled
        hazard = expit(world.log_odds(day, engaged, troubled))
        lost = np.where((rng.random(count) < hazard) & (lost == NEVER), day, lost)
        engaged, troubled = _step(engaged, "engagement", rng), _step(troubled, "friction", rng)
    # a customer of the past has been retained until the first day; its frailty may differ for that, which is life
    return engagement, friction, lost


def truth(
    world: World, engagement: np.ndarray, friction: np.ndarray, horizons: tuple[int, ...] = (30, 90)
) -> pd.DataFrame:
    """A row per customer and date: p30 and p90, the mean over continuations of the two states."""
    rng, count, frames = np.random.default_rng([world.seed, 8]), len(world.signup), []
    for date in range(FIRST_DATE, DAYS, STEP):
        engaged, troubled = (
            np.repeat(state[None, :, date], CONTINUATIONS, axis=0)
            for state in (engagement, friction)
        )
        retained, of_horizon = np.ones((CONTINUATIONS, count)), {}
        for ahead in range(1, max(horizons) + 1):
            engaged, troubled = _step(engaged, "engagement", rng), _step(troubled, "friction", rng)
            retained *= 1 - expit(world.log_odds(date + ahead, engaged, troubled))
            if ahead in horizons:
                of_horizon[f"p{ahead}"] = 1 - retained.mean(axis=0)
        frames.append(pd.DataFrame({"client_id": names(count), "date": _dates(date)} | of_horizon))
    return pd.concat(frames, ignore_index=True)


def names(count: int) -> list[str]:
    return [f"c{at:04d}" for at in range(count)]


def _dates(days: np.ndarray | int) -> pd.Series | pd.Timestamp:
    return START + pd.to_timedelta(days, unit="D")


def make_tables(law: str, seed: int, customers: int = 300) -> dict[str, pd.DataFrame]:
    """The portfolio's tables by name, and ``truth``."""
    world = make_world(law, seed, customers)
    engagement, friction, lost = live_through(world)
    client = np.array(names(customers))
    has_notice = (lost < NEVER) & (world.notice_days > 0) & (law == "terms")
    churned = np.where(has_notice, lost + world.notice_days, lost)
    known = (lost < NEVER) & (churned < DAYS)
    table = pd.DataFrame(
        {
            "client_id": client,
            "name": [f"Customer {name[1:]}" for name in client],
            "signup_date": _dates(world.signup),
            "notice_on": pd.Series(_dates(np.minimum(lost, DAYS))).where(has_notice),
            "churned_on": pd.Series(_dates(np.minimum(churned, DAYS))).where(known),
        }
    )
    end = np.minimum(churned, DAYS)
    tables = {
        "customers": table,
        "contracts": _contracts(world, client, end),
        "truth": truth(world, engagement, friction),
    }
    return tables | _activity(world, client, engagement, friction, end)


def _contracts(world: World, client: np.ndarray, end: np.ndarray) -> pd.DataFrame:
    rows = []
    for at, name in enumerate(client):
        arr, signup, until = world.price[at] * world.seats[at], int(world.signup[at]), int(end[at])
        fixed = (name, int(world.seats[at]))
        if world.law == "terms":
            term = int(world.term[at])
            rows += [
                (*fixed, start, start + term, arr, bool(world.auto_renews[at]))
                for start in range(signup, until, term)
            ]
            continue
        # a price holds until a day that is known when the contract is signed
        days, rises = world.rise_days[at], world.rises[at]
        later = (days > signup) & (days < until)
        starts = [signup, *days[later].tolist()] if world.law == "prices" else [signup]
        ends = [*starts[1:], next((day for day in days.tolist() if day >= until), None)]
        if world.law != "prices":
            ends = [None]
        paid = arr * np.cumprod([1.0, *(1 + rises[later])])
        rows += [
            (*fixed, start, stop, money, None)
            for start, stop, money in zip(starts, ends, paid, strict=False)
        ]
    columns = ["client_id", "seats", "starts_on", "ends_on", "arr", "auto_renews"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["starts_on"] = _dates(frame["starts_on"])
    frame["ends_on"] = _dates(frame["ends_on"].astype(float))
    return frame.assign(arr=frame["arr"].round(2)).dropna(axis=1, how="all")


def _activity(
    world: World, client: np.ndarray, engagement: np.ndarray, friction: np.ndarray, end: np.ndarray
) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng([world.seed, 9])
    weekday = np.where(np.arange(DAYS) % 7 < 5, 0.0, -2.0)
    events, tickets, surveys = [], [], []
    for at, name in enumerate(client):
        first, last = max(0, int(world.signup[at])), int(end[at])
        if first >= last:
            continue
        days = np.arange(first, last)
        users = int(world.seats[at])
        chance = expit(-0.9 + 0.9 * engagement[at, days] + weekday[days])
        active = rng.random((users, len(days))) < chance
        user, day = np.nonzero(active)
        minute = rng.integers(480, 1080, len(day))
        events.append(
            pd.DataFrame(
                {
                    "client_id": name,
                    "user_id": np.char.add(f"{name}-u", user.astype(str)),
                    "occurred_at": _dates(days[day]) + pd.to_timedelta(minute, unit="min"),
                    "feature": np.array(FEATURES)[rng.integers(0, len(FEATURES), len(day))],
                    "count": 1 + rng.poisson(np.exp(0.8 + 0.4 * engagement[at, days[day]])),
                }
            )
        )
        rate = np.exp(-4.3 + 0.7 * friction[at, days])
        opened = days[rng.random(len(days)) < rate]
        severity = np.where(
            rng.random(len(opened)) < expit(-0.8 + 0.6 * friction[at, opened]), "high", "low"
        )
        tickets.append(pd.DataFrame({"client_id": name, "opened": opened, "severity": severity}))
        if at % 5 < 3:
            asked_days = np.arange(first + 45, last, 120)
            score = 7 + 1.3 * engagement[at, asked_days] + rng.normal(0, 1.5, len(asked_days))
            surveys.append(pd.DataFrame({"client_id": name, "day": asked_days, "score": score}))
    ticket, survey = pd.concat(tickets), pd.concat(surveys)
    opened_at = _dates(ticket["opened"]) + pd.Timedelta(hours=9)
    hours = np.round(np.exp(rng.normal(3, 0.8, len(ticket))))
    return {
        "events": pd.concat(events, ignore_index=True),
        "tickets": pd.DataFrame(
            {
                "ticket_id": [f"t{at}" for at in range(len(ticket))],
                "client_id": ticket["client_id"].to_numpy(),
                "opened_at": opened_at.to_numpy(),
                "severity": ticket["severity"].to_numpy(),
                "resolved_at": (opened_at + pd.to_timedelta(hours, unit="h")).to_numpy(),
            }
        ),
        "surveys": pd.DataFrame(
            {
                "client_id": survey["client_id"].to_numpy(),
                "kind": "nps",
                "score": survey["score"].round().clip(0, 10).astype(int).to_numpy(),
                "responded_at": (_dates(survey["day"]) + pd.Timedelta(hours=12)).to_numpy(),
            }
        ),
    }
