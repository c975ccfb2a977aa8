"""Tickets with topics in order, severities and resolution; surveys with gaps."""

from __future__ import annotations

import numpy as np
import pandas as pd

from healthseg.demo import names
from healthseg.demo.adoption import Adoption
from healthseg.demo.customers import Customers
from healthseg.demo.frame import DAY_MS, Frame, Zones, stream
from healthseg.demo.latents import Latents
from healthseg.demo.scenarios import Scenario
from healthseg.demo.users import Users

# from one ticket's topic (row) to the next one's, in the order of names.TOPICS
TOPIC_LAW = np.array(
    [
        [0.30, 0.10, 0.10, 0.10, 0.10, 0.30],
        [0.05, 0.20, 0.10, 0.05, 0.50, 0.10],
        [0.05, 0.10, 0.45, 0.05, 0.25, 0.10],
        [0.15, 0.10, 0.10, 0.45, 0.05, 0.15],
        [0.05, 0.15, 0.40, 0.05, 0.25, 0.10],
        [0.25, 0.25, 0.10, 0.10, 0.10, 0.20],
    ]
)
NULL_TOPICS = np.full((6, 6), 1 / 6)
HOURS_MEDIAN = np.array(
    [14.0, 26.0, 90.0, 130.0]
)  # to resolution, by severity; the grave ones are hard
FASTER_PER_MONTH = 0.985
SURVEY_GAP = (200, 245)  # days without surveys: the programme paused
NPS_EVERY_DAYS, CSAT_EVERY_DAYS = 55, 80  # per 10 seats


def topic_law(world: Scenario) -> np.ndarray:
    return TOPIC_LAW if world.planted else NULL_TOPICS


def _moments(
    rng, who: Customers, days: Frame, rate_per_day: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(customer, UTC milliseconds floor by day) of a Poisson stream, in order; working hours, local."""
    lived = np.arange(days.days)[None, :] >= np.maximum(who.signup, 0)[:, None]
    count = rng.poisson(rate_per_day * lived)
    client, day = np.nonzero(count)
    return np.repeat(client, count[client, day]), np.repeat(day, count[client, day])


def _local(rng, client, day, who: Customers, days: Frame, zones: Zones) -> np.ndarray:
    """Working hours of the day, in UTC milliseconds to the second."""
    seconds = rng.integers(8 * 3600, 18 * 3600, len(day))
    return zones.to_utc((day + days.start) * DAY_MS + seconds * 1_000, who.zone[client])


def _topics(rng, client: np.ndarray, law: np.ndarray) -> np.ndarray:
    """A Markov chain within each customer."""
    topic, uniform, cumulated = (
        np.zeros(len(client), int),
        rng.random(len(client)),
        np.cumsum(law, axis=1),
    )
    start = np.cumsum(law.mean(axis=0))
    for row in range(len(client)):
        again = row > 0 and client[row] == client[row - 1]
        topic[row] = np.searchsorted(
            cumulated[topic[row - 1]] if again else start, uniform[row] * 0.999999
        )
    return topic


def _severity(rng, pressure: np.ndarray) -> np.ndarray:
    edges = np.column_stack([-0.6 - 0.45 * pressure, 0.85 - 0.45 * pressure, 1.8 - 0.45 * pressure])
    return (rng.normal(0, 1, len(pressure))[:, None] > edges).sum(axis=1)


def draw_tickets(
    seed: int,
    chunk: int,
    who: Customers,
    users: Users,
    latents: Latents,
    adoption: Adoption,
    days: Frame,
    zones: Zones,
    world: Scenario,
) -> pd.DataFrame:
    """One row per ticket, places instead of ids; times in UTC milliseconds, -1 where there is none."""
    rng = stream(seed, chunk, "tickets")
    well = np.repeat(latents.of("support"), 7, axis=1)[:, : days.days]
    rate = 0.050 * (who.seats[:, None] / 10) ** 0.55 * np.exp(-0.75 * well)
    client, day = _moments(rng, who, days, np.where(who.withheld["tickets"][:, None], 0, rate))
    pressure = -well[client, day]
    severity = _severity(rng, pressure)
    month = day / 30.4
    hours = HOURS_MEDIAN[severity] * np.exp(rng.normal(0, 0.8, len(day)) + 0.65 * pressure)
    hours = hours * (FASTER_PER_MONTH**month if world.planted else 1)
    opened = _local(rng, client, day, who, days, zones)
    user = users.first_of[client] + (
        rng.random(len(day)) * np.bincount(users.client)[client]
    ).astype(int)
    there = (users.created[user] <= day) & (day < users.left[user])
    feature = rng.integers(0, len(names.FEATURES), len(day))
    about = (adoption.intended[client, feature] <= day) & (rng.random(len(day)) < 0.75)
    csat = np.clip(
        np.round(4.1 - 0.45 * pressure - 0.25 * np.log(hours / 24) + rng.normal(0, 0.8, len(day))),
        1,
        5,
    )
    resolved = opened + (hours * 3_600_000).astype(np.int64)
    response = opened + (
        np.minimum(np.exp(rng.normal(0.8, 0.9, len(day))), hours * 0.8) * 3_600_000
    ).astype(np.int64)
    return pd.DataFrame(
        {
            "client": client,
            "opened": opened,
            "response": response,
            "resolved": resolved,
            "severity": severity,
            "topic": _topics(rng, client, topic_law(world)),
            "user": np.where(there, user, -1),
            "feature": np.where(about, feature, -1),
            "csat": np.where(rng.random(len(day)) < 0.45, csat, np.nan),
        }
    )


def draw_surveys(
    seed: int, chunk: int, who: Customers, users: Users, latents: Latents, days: Frame, zones: Zones
) -> pd.DataFrame:
    rng = stream(seed, chunk, "surveys")
    parts = []
    for kind, every in (("nps", NPS_EVERY_DAYS), ("csat", CSAT_EVERY_DAYS)):
        rate = np.where(who.withheld["surveys"], 0, (who.seats / 10) ** 0.6 / every)[:, None]
        paused = (np.arange(days.days) >= SURVEY_GAP[0]) & (np.arange(days.days) < SURVEY_GAP[1])
        client, day = _moments(rng, who, days, rate * np.where(paused, 0, 1)[None, :])
        mood = latents.of("satisfaction")[client, day // 7] + rng.normal(0, 0.9, len(day))
        score = (
            np.clip(np.round(7.6 + 1.7 * mood), 0, 10)
            if kind == "nps"
            else np.clip(np.round(3.9 + 0.7 * mood), 1, 5)
        )
        user = users.first_of[client] + (
            rng.random(len(day)) * np.bincount(users.client)[client]
        ).astype(int)
        there = (users.created[user] <= day) & (day < users.left[user])
        feature = np.where(
            (rng.random(len(day)) < 0.3) & (kind == "csat"), rng.integers(0, 6, len(day)), -1
        )
        parts.append(
            pd.DataFrame(
                {
                    "client": client,
                    "kind": kind,
                    "score": score.astype(np.int64),
                    "responded": _local(rng, client, day, who, days, zones),
                    "user": np.where(there, user, -1),
                    "feature": feature,
                }
            )
        )
    return pd.concat(parts, ignore_index=True).sort_values(
        ["client", "responded"], kind="stable", ignore_index=True
    )
