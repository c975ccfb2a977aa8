"""Adoption milestones: the catalogue, each customer's progress, blockers, and what is true of them when."""

from __future__ import annotations

import numpy as np
import pandas as pd

from healthseg.demo import names
from healthseg.demo.activity import Events
from healthseg.demo.customers import Customers
from healthseg.demo.frame import Frame, stream
from healthseg.demo.scenarios import Scenario
from healthseg.demo.users import Users

# id, name, category, target days, required, depends on, (feature, users) that complete it, mark
CATALOGUE = (
    ("ms_kickoff", "Kick-off held", "onboarding", 10, True, None, None, None),
    ("ms_data_import", "Data imported", "onboarding", 30, True, "ms_kickoff", None, None),
    ("ms_team_invited", "Team invited", "onboarding", 30, True, "ms_kickoff", None, "activation"),
    (
        "ms_first_dashboard",
        "First dashboard shared",
        "onboarding",
        40,
        True,
        None,
        ("dashboards", 2),
        "first_value",
    ),
    ("ms_integration", "Integration live", "adoption", 75, False, "ms_data_import", None, None),
    (
        "ms_task_routine",
        "Team works in task lists",
        "adoption",
        60,
        True,
        None,
        ("task_lists", 3),
        None,
    ),
    (
        "ms_champion_trained",
        "Champion trained",
        "adoption",
        90,
        True,
        "ms_team_invited",
        None,
        "full_adoption",
    ),
    (
        "ms_second_team",
        "Second team on board",
        "expansion",
        180,
        False,
        "ms_champion_trained",
        None,
        None,
    ),
)
MEDIAN_DAYS = np.array([6.0, 14.0, 12.0, 0, 34.0, 0, 40.0, 90.0])  # from the start of each
BLOCKED_SHARE = 0.28
LOG_TIME_RATIO = {
    "security_review": 0.95,
    "data_quality": 0.70,
    "no_owner": 0.50,
    "integration": 0.35,
}
NONE = -(10**6)
STATUS_DATES = 5
TRACKED_LATE_DAYS = 60  # customers older than this when the portfolio began have the data's milestones entered by hand


def catalogue() -> dict[str, list]:
    """The table `milestones`, column by column."""
    names_of = (
        "milestone_id",
        "name",
        "category",
        "target_days",
        "required",
        "depends_on",
        "completes_when",
        "marks",
    )
    columns = {name: [row[place] for row in CATALOGUE] for place, name in enumerate(names_of)}
    columns["completes_when"] = [
        None if each is None else f'{{"feature": "{each[0]}", "users": {each[1]}}}'
        for each in columns["completes_when"]
    ]
    return columns


def _one(rng, place: int, begins: np.ndarray, world: Scenario) -> dict[str, np.ndarray]:
    """Start, end, blocker and its spell of one milestone, for customers who may begin it on a day."""
    count = len(begins)
    start = begins + rng.integers(0, 5, count)
    blocked = rng.random(count) < BLOCKED_SHARE
    kind = rng.integers(0, len(names.BLOCKERS), count)
    ratio = np.array([LOG_TIME_RATIO[each] for each in names.BLOCKERS])[kind] * world.planted
    natural = MEDIAN_DAYS[place] * np.exp(0.45 * rng.standard_normal(count))
    onset = np.minimum(rng.integers(0, 3, count), np.maximum(natural.astype(int) - 1, 0))
    # from its onset on, a blocker makes what remains longer
    lasts = np.round(onset + (natural - onset) * np.exp(np.where(blocked, ratio, 0)))
    lasts = np.maximum(lasts, np.maximum(2, onset + 1)).astype(int)
    return {
        "start": start,
        "end": start + lasts,
        "kind": np.where(blocked, kind, -1),
        "since": start + onset,
        "cleared": start + np.maximum((lasts * 0.9).astype(int), 1),
        "skip": rng.random(count) < 0.04,
    }


def _entered_by_hand(rng, place: int, who: Customers) -> pd.DataFrame:
    """A milestone that data completes, for customers whose first weeks lie before the events."""
    client = np.flatnonzero(who.signup < -TRACKED_LATE_DAYS)
    start = who.signup[client]
    nothing = np.full(len(client), NONE)
    return pd.DataFrame(
        {
            "client": client,
            "milestone": place,
            "started": start,
            "blocker": -1,
            "blocked": nothing,
            "completed": start + rng.integers(4, 50, len(client)),
            "cleared": nothing,
            "skipped": nothing,
            "owner": who.csm[client],
        }
    )


def draw_progress(
    seed: int, chunk: int, who: Customers, days: Frame, world: Scenario
) -> pd.DataFrame:
    """One row per customer and milestone worked on by hand; day numbers, NONE where it does not happen."""
    rng = stream(seed, chunk, "milestones")
    client, done, parts = np.arange(who.count), {}, []
    for place, (milestone, _, _, _, required, needs, data, _) in enumerate(CATALOGUE):
        if data:
            parts.append(_entered_by_hand(rng, place, who))
            continue
        row = _one(rng, place, done[needs] if needs else who.signup[client], world)
        stuck = rng.random(len(client)) < 0.05
        skipped = row["skip"] & (not required)
        end = np.where(stuck | skipped, NONE, row["end"])
        done[milestone] = row["end"] + np.where(stuck, 400, 0)
        has = (row["kind"] >= 0) & ~skipped
        cleared = np.where(has & ~stuck, np.maximum(row["cleared"], row["since"] + 1), NONE)
        parts.append(
            pd.DataFrame(
                {
                    "client": client,
                    "milestone": place,
                    "started": row["start"],
                    "completed": end,
                    "blocker": np.where(has, row["kind"], -1),
                    "blocked": np.where(has, row["since"], NONE),
                    "cleared": cleared,
                    "skipped": np.where(skipped, row["start"] + 10, NONE),
                    "owner": who.csm[client],
                }
            )
        )
    return pd.concat(parts).sort_values(["client", "milestone"], kind="stable", ignore_index=True)


def cut(progress: pd.DataFrame, churned: np.ndarray, days: Frame) -> pd.DataFrame:
    """What is recorded by the portfolio's end or the customer's leaving."""
    until = np.where(churned < 0, days.days, churned)[progress["client"]]
    out = progress.copy()
    for name in ("completed", "blocked", "cleared", "skipped"):
        out[name] = np.where(out[name] < until, out[name], NONE)
    out["blocker"] = np.where(out["blocked"] == NONE, -1, out["blocker"])
    return out[out["started"] < until].reset_index(drop=True)


def first_users(events: Events, users: Users, clients: int) -> dict[int, np.ndarray]:
    """Milestone → customers × users asked for: the days on which each further user first used the feature."""
    out = {}
    for place, (*_, data, _) in enumerate(CATALOGUE):
        if not data:
            continue
        rows = events.feature == names.FEATURE[data[0]]
        first = np.full(users.count, -NONE)
        np.minimum.at(first, events.user[rows], events.day[rows])
        first = first[np.lexsort((first, users.client))]
        nth = users.first_of[:, None] + np.arange(data[1])
        enough = nth < np.append(users.first_of[1:], users.count)[:, None]
        out[place] = np.where(enough, first[np.minimum(nth, users.count - 1)], -NONE)
    return out


def _completed(
    progress: pd.DataFrame, by_data: dict[int, np.ndarray], shape: tuple[int, int]
) -> dict[str, np.ndarray]:
    """Customers × milestones: days of start, completion (each the earlier of hand and data) and skipping, or NONE."""
    columns = {name: np.full(shape, NONE) for name in ("started", "completed", "skipped")}
    for name, values in columns.items():
        values[progress["client"], progress["milestone"]] = progress[name]
    for place, first in by_data.items():
        for name, user in (("started", 0), ("completed", -1)):
            hand = columns[name][:, place]
            day = np.minimum(np.where(hand == NONE, -NONE, hand), first[:, user])
            columns[name][:, place] = np.where(day == -NONE, NONE, day)
    return columns


def status_frame(
    progress: pd.DataFrame,
    by_data: dict[int, np.ndarray],
    who: Customers,
    churned: np.ndarray,
    days: Frame,
) -> pd.DataFrame:
    """client, milestone, as_of, status, started, completed, progress on five dates, for customers live then."""
    shape = (who.count, len(CATALOGUE))
    columns = _completed(progress, by_data, shape)
    target = who.signup[:, None] + np.array([each[3] for each in CATALOGUE])
    parts = []
    for date in np.linspace(days.days * 0.3, days.days - 1, STATUS_DATES).astype(int):
        live = (who.signup <= date) & ((churned < 0) | (churned > date))
        begun, done, skipped = (
            (days_of != NONE) & (days_of <= date) for days_of in columns.values()
        )
        status = np.select(
            [done, skipped, target < date, begun],
            ["completed", "skipped", "overdue", "in_progress"],
            "not_started",
        )
        reached = np.full(shape, np.nan)
        for place, first in by_data.items():
            reached[:, place] = (first <= date).mean(axis=1)
        client, place = np.nonzero(np.broadcast_to(live[:, None], shape))
        parts.append(
            pd.DataFrame(
                {
                    "client": client,
                    "milestone": place,
                    "as_of": date,
                    "status": status[client, place],
                    "started": np.where(begun, columns["started"], NONE)[client, place],
                    "completed": np.where(done, columns["completed"], NONE)[client, place],
                    "progress": reached[client, place],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
