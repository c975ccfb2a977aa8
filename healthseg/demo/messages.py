"""Messages to customers: channel, content, who opens and who clicks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from healthseg.demo import names
from healthseg.demo.customers import Customers
from healthseg.demo.frame import DAY_MS, Frame, Zones, stream
from healthseg.demo.rhythms import weekdays
from healthseg.demo.scenarios import Scenario
from healthseg.demo.users import Users

PER_WEEK = np.array([0.60, 0.35, 0.06, 0.10])  # by channel
OPEN = np.array([0.32, 0.55, 0.40, 0.75])
CLICK_GIVEN_OPEN = np.array([0.18, 0.35, 0.50, 0.30])
CONTENT_LOG_ODDS = np.array([0.0, -0.4, 0.55, 0.2, -0.2])  # of opening
BEST_WEEKDAY, BEST_LOG_ODDS = 1, 0.5  # e-mail is opened more on Tuesdays


def open_chance(
    channel: np.ndarray, content: np.ndarray, weekday: np.ndarray, world: Scenario
) -> np.ndarray:
    """The law of opening; in the null world it depends on nothing but the channel's base."""
    odds = np.log(OPEN / (1 - OPEN))[channel]
    extra = CONTENT_LOG_ODDS[content] + BEST_LOG_ODDS * ((weekday == BEST_WEEKDAY) & (channel == 0))
    return 1 / (1 + np.exp(-(odds + extra * world.planted)))


def draw_messages(
    seed: int, chunk: int, who: Customers, users: Users, days: Frame, zones: Zones, world: Scenario
) -> pd.DataFrame:
    """client, channel, content, sent, opened, clicked (UTC milliseconds, -1 for never), user, feature, day."""
    rng = stream(seed, chunk, "messages")
    lived = np.arange(days.days)[None, :] >= np.maximum(who.signup, 0)[:, None]
    working = (weekdays(days) < 5)[None, :]
    count = rng.poisson(PER_WEEK[:, None, None] / 5 * (lived & working)[None])
    channel, client, day = np.nonzero(count)
    order = np.lexsort((channel, day, client))
    channel, client, day = channel[order], client[order], day[order]
    size = len(day)
    content = rng.integers(0, len(names.CONTENTS), size)
    seconds = rng.integers(9 * 3600, 16 * 3600, size)
    sent = zones.to_utc((day + days.start) * DAY_MS + seconds * 1_000, who.zone[client])
    opens = rng.random(size) < open_chance(channel, content, weekdays(days)[day], world)
    clicks = opens & (rng.random(size) < CLICK_GIVEN_OPEN[channel])
    opened = sent + (rng.exponential(9, size) * 3_600_000).astype(np.int64) + 60_000
    clicked = opened + rng.integers(5_000, 600_000, size)
    user = users.first_of[client] + (rng.random(size) * np.bincount(users.client)[client]).astype(
        int
    )
    there = (users.created[user] <= day) & (day < users.left[user])
    about = np.where(
        (content < 3) & (rng.random(size) < 0.5), rng.integers(5, len(names.FEATURES), size), -1
    )
    released = np.array([when for *_, when, _ in names.FEATURES])
    about = np.where(released[about] <= day, about, -1)
    return pd.DataFrame(
        {
            "client": client,
            "channel": channel,
            "content": content,
            "sent": sent,
            "day": day,
            "opened": np.where(opens, opened, -1),
            "clicked": np.where(clicks, clicked, -1),
            "user": np.where(there, user, -1),
            "feature": about,
        }
    )


def law_frame(messages: pd.DataFrame, days: Frame, world: Scenario) -> pd.DataFrame:
    """channel, content, weekday, per_week, p_open, p_click, n: the law, and how often it was at work."""
    grid = np.stack(
        np.meshgrid(
            range(len(names.CHANNELS)), range(len(names.CONTENTS)), range(5), indexing="ij"
        ),
        -1,
    ).reshape(-1, 3)
    channel, content, weekday = grid.T
    opened = open_chance(channel, content, weekday, world)
    place = (messages["channel"] * len(names.CONTENTS) + messages["content"]) * 5 + weekdays(days)[
        messages["day"]
    ]
    return pd.DataFrame(
        {
            "channel": channel,
            "content": content,
            "weekday": weekday,
            "p_open": opened,
            "per_week": PER_WEEK[channel] / len(names.CONTENTS) / 5,
            "p_click": opened * CLICK_GIVEN_OPEN[channel],
            "n": np.bincount(place, minlength=len(grid)),
        }
    )
