"""Contact with customers: tickets with topics in order, surveys with gaps, messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from healthseg.demo import oracle
from healthseg.demo.scenarios import HOUR_MS, World
from healthseg.demo.schema import (
    CHANNELS,
    CONTENTS,
    FEATURE_NAMES,
    NEVER,
    RELEASED,
    TOPICS,
)

if TYPE_CHECKING:
    from healthseg.demo.portfolio import Batch

# from one ticket's topic (row) to the next one's, in the order of TOPICS
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
NULL_TOPIC_LAW = np.full((6, 6), 1 / 6)
# to resolution, by severity
MEDIAN_HOURS = np.array([14.0, 26.0, 90.0, 130.0])
HOURS_RATIO_PER_MONTH = 0.985
# the survey programme pauses on these days
SURVEY_GAP = (200, 245)
# days between answers, per 10 seats
NPS_EVERY_DAYS, CSAT_EVERY_DAYS = 55, 80

# from a message of a campaign until the feature is first used
CAMPAIGN_DAYS = (5, 45)
OTHER_FEATURES_SHARE = 0.15

# by channel
MESSAGES_PER_WEEK = np.array([0.60, 0.35, 0.06, 0.10])
P_OPEN = np.array([0.32, 0.55, 0.40, 0.75])
P_CLICK_IF_OPENED = np.array([0.18, 0.35, 0.50, 0.30])
# log-odds of opening by content; e-mail is opened more on Tuesdays
CONTENT_LOG_ODDS = np.array([0.0, -0.4, 0.55, 0.2, -0.2])
BEST_WEEKDAY, BEST_LOG_ODDS = 1, 0.5


def _topic_law(world: World) -> np.ndarray:
    return TOPIC_LAW if world.planted else NULL_TOPIC_LAW


def _arrivals(
    rng: np.random.Generator, batch: Batch, rate_per_day: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(customer, day) of a Poisson stream, in order."""
    world = batch.world
    count = rng.poisson(rate_per_day * batch.customers.signed_up(world.days))
    client, day = np.nonzero(count)
    return np.repeat(client, count[client, day]), np.repeat(day, count[client, day])


def _working_hours(
    rng: np.random.Generator,
    batch: Batch,
    client: np.ndarray,
    day: np.ndarray,
    hours: tuple[int, int] = (8, 18),
) -> np.ndarray:
    """UTC milliseconds, to the second, of a moment in local working hours."""
    world = batch.world
    seconds = rng.integers(hours[0] * 3600, hours[1] * 3600, len(day))
    return world.utc_ms(day, seconds * 1_000, batch.customers.zone[client])


def _topics(rng: np.random.Generator, client: np.ndarray, law: np.ndarray) -> np.ndarray:
    """A Markov chain within each customer."""
    topic, uniform = np.zeros(len(client), int), rng.random(len(client)) * 0.999999
    start, cumulated = np.cumsum(law.mean(axis=0)), np.cumsum(law, axis=1)
    for row in range(len(client)):
        follows = row > 0 and client[row] == client[row - 1]
        topic[row] = np.searchsorted(cumulated[topic[row - 1]] if follows else start, uniform[row])
    return topic


def draw_tickets(batch: Batch) -> pd.DataFrame:
    """The table's columns with codes and UTC milliseconds, as if nobody churned."""
    world, customers = batch.world, batch.customers
    rng = world.random("tickets")
    well = np.repeat(batch.latents.of("support"), 7, axis=1)[:, : world.days]
    rate = 0.050 * (customers.seats[:, None] / 10) ** 0.55 * np.exp(-0.75 * well)
    rate = np.where(customers.withheld["tickets"][:, None], 0, rate)
    client, day = _arrivals(rng, batch, rate)
    count, pressure = len(day), -well[client, day]
    edges = np.array([-0.6, 0.85, 1.8]) - 0.45 * pressure[:, None]
    severity = (rng.normal(0, 1, count)[:, None] > edges).sum(axis=1)
    hours = MEDIAN_HOURS[severity] * np.exp(rng.normal(0, 0.8, count) + 0.65 * pressure)
    hours = hours * (HOURS_RATIO_PER_MONTH ** (day / 30.4) if world.planted else 1)
    opened = _working_hours(rng, batch, client, day)
    user = batch.users.pick(rng, client, day)
    feature = rng.integers(0, len(FEATURE_NAMES), count)
    has_feature = (batch.adoption.intended[client, feature] <= day) & (rng.random(count) < 0.75)
    mood = 4.1 - 0.45 * pressure - 0.25 * np.log(hours / 24) + rng.normal(0, 0.8, count)
    response_hours = np.minimum(np.exp(rng.normal(0.8, 0.9, count)), hours * 0.8)
    return pd.DataFrame(
        {
            "client": client,
            "opened_at": opened,
            "first_response_at": opened + (response_hours * HOUR_MS).astype(np.int64),
            "resolved_at": opened + (hours * HOUR_MS).astype(np.int64),
            "severity": severity,
            "topic": _topics(rng, client, _topic_law(world)),
            "user": user,
            "feature": np.where(has_feature, feature, -1),
            "csat": np.where(rng.random(count) < 0.45, np.clip(np.round(mood), 1, 5), np.nan),
        }
    )


def draw_surveys(batch: Batch) -> pd.DataFrame:
    """The table's columns with codes and UTC milliseconds, as if nobody churned."""
    world, customers = batch.world, batch.customers
    rng, parts, day = world.random("surveys"), [], np.arange(world.days)
    paused = (day >= SURVEY_GAP[0]) & (day < SURVEY_GAP[1])
    for kind, every in (("nps", NPS_EVERY_DAYS), ("csat", CSAT_EVERY_DAYS)):
        rate = np.where(customers.withheld["surveys"], 0, (customers.seats / 10) ** 0.6 / every)
        client, day = _arrivals(rng, batch, rate[:, None] * np.where(paused, 0, 1))
        count = len(day)
        mood = batch.latents.of("satisfaction")[client, day // 7] + rng.normal(0, 0.9, count)
        nps, csat = np.clip(np.round(7.6 + 1.7 * mood), 0, 10), np.round(3.9 + 0.7 * mood)
        user = batch.users.pick(rng, client, day)
        has_feature = (rng.random(count) < 0.3) & (kind == "csat")
        columns = {
            "client": client,
            "kind": kind,
            "score": (nps if kind == "nps" else np.clip(csat, 1, 5)).astype(np.int64),
            "feature": np.where(has_feature, rng.integers(0, 6, count), -1),
            "responded_at": _working_hours(rng, batch, client, day),
            "user": user,
        }
        parts.append(pd.DataFrame(columns))
    rows = pd.concat(parts, ignore_index=True)
    return rows.sort_values(["client", "responded_at"], kind="stable", ignore_index=True)


def _p_open(
    channel: np.ndarray, content: np.ndarray, weekday: np.ndarray, world: World
) -> np.ndarray:
    """The law of opening; in the null scenario it depends on the channel alone."""
    odds = np.log(P_OPEN / (1 - P_OPEN))[channel]
    extra = CONTENT_LOG_ODDS[content] + BEST_LOG_ODDS * ((weekday == BEST_WEEKDAY) & (channel == 0))
    return 1 / (1 + np.exp(-(odds + extra * world.planted)))


def draw_messages(batch: Batch) -> pd.DataFrame:
    """The table's columns with codes and UTC milliseconds (-1: never), and day, as if nobody churned."""
    world = batch.world
    rng = world.random("messages")
    days = batch.customers.signed_up(world.days) & (world.weekdays < 5)
    count = rng.poisson(MESSAGES_PER_WEEK[:, None, None] / 5 * days)
    channel, client, day = np.nonzero(count)
    order = np.lexsort((channel, day, client))
    channel, client, day = channel[order], client[order], day[order]
    size = len(day)
    content = rng.integers(0, len(CONTENTS), size)
    sent = _working_hours(rng, batch, client, day, (9, 16))
    opens = rng.random(size) < _p_open(channel, content, world.weekdays[day], world)
    clicks = opens & (rng.random(size) < P_CLICK_IF_OPENED[channel])
    opened = sent + (rng.exponential(9, size) * HOUR_MS).astype(np.int64) + 60_000
    clicked = opened + rng.integers(5_000, 600_000, size)
    user = batch.users.pick(rng, client, day)
    has_feature = (content < 3) & (rng.random(size) < 0.5)
    feature = np.where(has_feature, rng.integers(5, len(FEATURE_NAMES), size), -1)
    feature = np.where(has_feature, _campaigns(batch, client, day, feature), -1)
    return pd.DataFrame(
        {
            "client": client,
            "channel": channel,
            "content": content,
            "sent_at": sent,
            "day": day,
            "opened_at": np.where(opens, opened, -1),
            "clicked_at": np.where(clicks, clicked, -1),
            "user": user,
            "feature": np.where(RELEASED[feature] <= day, feature, -1),
        }
    )


def _campaigns(
    batch: Batch, client: np.ndarray, day: np.ndarray, feature: np.ndarray
) -> np.ndarray:
    """The feature of each message: of a share of them the one that the customer begins with in the weeks after.

    With campaigns few others name a feature.
    """
    share, size = batch.world.scenario.campaign_share, len(day)
    if not share:
        return feature
    rng = batch.world.random("campaigns")
    feature = np.where(rng.random(size) < OTHER_FEATURES_SHARE, feature, -1)
    wait = batch.adoption.intended[client] - day[:, None]
    wait = np.where((wait >= CAMPAIGN_DAYS[0]) & (wait <= CAMPAIGN_DAYS[1]), wait, NEVER)
    leads = (wait.min(axis=1) < NEVER) & (rng.random(size) < share)
    return np.where(leads, wait.argmin(axis=1), feature)


def _tickets(batch: Batch) -> pa.Table:
    rows = batch.recorded(batch.tickets, "opened_at", "first_response_at", "resolved_at")
    csat = rows["csat"].where(rows["resolved_at"] >= 0)
    ids = batch.serial_ids("t{:04d}_{:04d}", rows["client"])
    return batch.table("tickets", **rows.assign(ticket_id=ids, csat=csat))


def _surveys(batch: Batch) -> pa.Table:
    return batch.table("surveys", **batch.recorded(batch.surveys, "responded_at"))


def _messages(batch: Batch) -> pa.Table:
    rows = batch.begun(batch.messages, "day")
    return batch.table("messages", **batch.recorded(rows, "sent_at", "opened_at", "clicked_at"))


def tally(batch: Batch) -> dict[str, np.ndarray]:
    """Pairs of topics that follow each other, and messages by channel, content and weekday."""
    topic, client = batch.tickets["topic"].to_numpy(), batch.tickets["client"].to_numpy()
    pairs = (topic[:-1] * len(TOPICS) + topic[1:])[client[1:] == client[:-1]]
    rows, weekday = batch.messages, batch.world.weekdays[batch.messages["day"]]
    cell = (rows["channel"] * len(CONTENTS) + rows["content"]) * 5 + weekday
    return {
        "topics": np.bincount(pairs, minlength=TOPIC_LAW.size),
        "messages": np.bincount(cell, minlength=len(CHANNELS) * len(CONTENTS) * 5),
    }


def _support_law(total: dict[str, np.ndarray], world: World) -> pa.Table:
    law = _topic_law(world)
    topic, following = (codes.ravel() for codes in np.indices(law.shape))
    return world.truth(
        "support_law",
        topic=topic,
        next_topic=following,
        p=law.ravel(),
        n=total["topics"].astype(int),
        resolution_median=float(MEDIAN_HOURS[1]),
        resolution_ratio_per_month=HOURS_RATIO_PER_MONTH if world.planted else 1.0,
    )


def _message_law(total: dict[str, np.ndarray], world: World) -> pa.Table:
    """The law of each cell, and its margins: by channel and content, by channel and weekday."""
    channel, content, weekday = np.indices((len(CHANNELS), len(CONTENTS), 5)).reshape(3, -1)
    p_open = _p_open(channel, content, weekday, world)
    columns = {"channel": channel, "content": content, "weekday": weekday, "p_open": p_open}
    cells = pd.DataFrame(columns).assign(
        p_click=p_open * P_CLICK_IF_OPENED[channel],
        per_week=MESSAGES_PER_WEEK[channel] / len(CONTENTS) / 5,
        n=total["messages"].astype(int),
    )
    aggregates = {"p_open": "mean", "p_click": "mean", "per_week": "sum", "n": "sum"}
    margins = (["channel", "content", "weekday"], ["channel", "content"], ["channel", "weekday"])
    parts = [cells.groupby(keys, as_index=False).agg(aggregates) for keys in margins]
    rows = pd.concat(parts, ignore_index=True)
    base = cells.groupby("channel")["p_open"].mean()[rows["channel"]].to_numpy()
    z = (rows["p_open"] - base) * np.sqrt(rows["n"] / (base * (1 - base)))
    return world.truth(
        "message_law",
        **rows,
        **oracle.with_power(oracle.power_of_z(z, oracle.Z_MANY)),
    )


def survey_gap(world: World) -> pa.Table:
    """The days on which no survey was sent, as withheld rows."""
    first, after = (min(day, world.days) for day in SURVEY_GAP)
    if first >= world.days:
        return world.truth("withheld")
    return world.truth(
        "withheld",
        client_id=None,
        table="surveys",
        column=None,
        why="the programme paused",
        from_=np.array([first]),
        to=np.array([after - 1]),
    )


TABLES = {"tickets": _tickets, "surveys": _surveys, "messages": _messages}
LAWS = {"support_law": _support_law, "message_law": _message_law}
