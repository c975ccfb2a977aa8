"""What was planted in the customers' people: champions who leave, hours and days that stand out, features adopted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from healthseg.demo import power
from healthseg.demo.chunk import Chunk
from healthseg.demo.counted import trailing
from healthseg.demo.rhythms import PEAK_LOG_ODDS, PROFILES, WEEKDAYS
from healthseg.demo.schema import TRUTH
from healthseg.demo.tables import FEATURE_NAMES, user_ids
from healthseg.demo.users import NEVER, Users
from healthseg.demo.writing import dates, table, words

WINDOW_DAYS = 90  # over which a rhythm's sessions and power are stated
PEAK_RATIO = 1.25
LEAST_SHARE = {"weekday": 0.05, "hour": 0.02}  # a day or an hour that holds less is not in use


def _by_user(chunk: Chunk) -> np.ndarray:
    """Users × days: persons' events as they are in the portfolio."""
    events = chunk.persons
    weights = np.where(events.calls > 0, events.calls, 1)
    flat = np.bincount(
        events.user.astype(np.int64) * chunk.days.days + events.day,
        weights,
        chunk.users.count * chunk.days.days,
    )
    return flat.reshape(chunk.users.count, chunk.days.days)


def champion_exits(chunk: Chunk) -> pa.Table:
    """Who had ≥ 20 % of 90 days' events on ≥ 12 days and then left, on purpose or by chance."""
    people, days, until = chunk.users, chunk.days, chunk.until
    per_user = _by_user(chunk)
    per_client = np.add.reduceat(per_user, people.first_of, axis=0)
    leavers = np.flatnonzero((people.left < until[people.client]) & (people.left > 28))
    left, client = people.left[leavers], people.client[leavers]

    def within(values: np.ndarray, rows: np.ndarray, width: int) -> np.ndarray:
        sums = np.cumsum(np.pad(values[rows], ((0, 0), (1, 0))), axis=1)
        at = np.arange(len(rows))
        return sums[at, left] - sums[at, np.maximum(left - width, 0)]

    share28, share90 = (
        within(per_user, leavers, width) / np.maximum(within(per_client, client, width), 1)
        for width in (28, 90)
    )
    active = within(per_user > 0, leavers, 90).astype(int)
    was = (share90 >= 0.2) & (active >= 12) & _is_top(per_user, people, leavers)
    seen = was & (left + 28 <= until[client] - 1) & (left >= 118)
    kept = was | people.planted_exit[leavers]
    rows = leavers[kept]
    ids = np.array(user_ids(chunk), object)
    return table(
        TRUTH["champion_exits"],
        {
            "client_id": words(chunk.who.ids, people.client[rows]),
            "user_id": ids[rows],
            "left_on": dates(people.left[rows], days),
            "share_28d": share28[kept],
            "share_90d": share90[kept],
            "active_days_90d": active[kept],
            "planted": people.planted_exit[rows],
            "detectable": seen[kept],
        },
    )


def _is_top(per_user: np.ndarray, people: Users, leavers: np.ndarray) -> np.ndarray:
    """Whether nobody else of the customer has more events in the 90 days before."""
    ends = np.append(people.first_of[1:], people.count)
    out = np.zeros(len(leavers), bool)
    for place, user in enumerate(leavers):
        client, left = people.client[user], people.left[user]
        own = per_user[people.first_of[client] : ends[client], max(left - 90, 0) : left].sum(axis=1)
        out[place] = own[user - people.first_of[client]] == own.max()
    return out


def _day_shares(chunk: Chunk) -> np.ndarray:
    """Customers × weekdays: expected share of visits, from the users' log-odds."""
    people, rhythm = chunk.users, chunk.rhythms
    odds = WEEKDAYS[None, :] + PEAK_LOG_ODDS * (
        np.arange(7)[None, :] == rhythm.peak_weekday[:, None]
    )
    chance = 1 / (1 + np.exp(-(odds[people.client] + people.base[:, None])))
    visits = np.add.reduceat(chance, people.first_of, axis=0)
    return visits / visits.sum(axis=1, keepdims=True)


def sessions_since(chunk: Chunk, since: np.ndarray) -> np.ndarray:
    """Of each customer, the sessions begun on or after a day."""
    events = chunk.persons
    begins = np.concatenate([[True], events.session[1:] != events.session[:-1]])
    begins &= events.day >= since[events.client]
    return np.bincount(events.client[begins], minlength=chunk.who.count)


def week_shares(chunk: Chunk) -> dict[str, np.ndarray]:
    """Customers × weekdays and customers × hours: the planted shares of visits."""
    return {"weekday": _day_shares(chunk), "hour": PROFILES[chunk.rhythms.profile]}


def peaks(shares: np.ndarray, kind: str, sessions: np.ndarray) -> pd.DataFrame:
    """The cells that stand out by 1.25 of the mean of those in use; sessions come in bursts, hence the 1.5."""
    used = shares >= LEAST_SHARE[kind]
    base = np.where(used, shares, 0).sum(axis=1, keepdims=True) / used.sum(axis=1, keepdims=True)
    row, place = np.nonzero(used & (shares / base >= PEAK_RATIO))
    share, base = shares[row, place], base[row, 0]
    return pd.DataFrame(
        {
            "row": row,
            "weekday": place if kind == "weekday" else -1,
            "hour": place if kind == "hour" else -1,
            "kind": kind,
            "rate_ratio": share / base,
            "sessions": sessions[row],
            "power": power.of_ratio(share, base, sessions[row] / 1.5),
        }
    )


def rhythm_table(scope: str, rows: pd.DataFrame, ids: pa.Array) -> pa.Table:
    nullable = {
        each: pa.array(rows[each].to_numpy(), pa.int64(), mask=(rows[each] < 0).to_numpy())
        for each in ("weekday", "hour")
    }
    return table(
        TRUTH["rhythms"],
        {
            "scope": [scope] * len(rows),
            "id": ids,
            **nullable,
            "rate_ratio": rows["rate_ratio"].to_numpy(),
            "kind": rows["kind"].tolist(),
            "sessions": rows["sessions"].to_numpy(),
            "power": rows["power"].to_numpy(),
            "detectable": (rows["power"] >= power.DETECTABLE).to_numpy(),
        },
    )


def rhythms(chunk: Chunk) -> pa.Table:
    """The customers' peaks, with the sessions of the last 90 days in which each was there."""
    if not chunk.world.planted:
        return table(TRUTH["rhythms"])
    sessions = sessions_since(chunk, chunk.until - WINDOW_DAYS)
    rows = pd.concat([peaks(shares, kind, sessions) for kind, shares in week_shares(chunk).items()])
    return rhythm_table("client", rows, words(chunk.who.ids, rows["row"].to_numpy()))


def _first(mask: np.ndarray) -> np.ndarray:
    """The first True along the last axis, or NEVER."""
    return np.where(mask.any(axis=-1), mask.argmax(axis=-1), NEVER)


def adoptions(chunk: Chunk) -> pa.Table:
    """When each entitled feature was first used, and adopted (used on 2 of 30 days), in the rows of the portfolio."""
    days, plan, until = chunk.days, chunk.adoption, chunk.until
    live = np.arange(days.days) < until[:, None, None]
    used = chunk.counts.feature_days & live
    adopted = (
        (trailing(used, np.arange(days.days), 30) >= 2)
        & live
        & (np.arange(days.days) >= plan.eligible[:, :, None])
    )
    first, since = _first(used), _first(adopted)
    client, feature = np.nonzero(plan.eligible < until[:, None])
    pick = {
        name: values[client, feature]
        for name, values in (
            ("eligible_on", plan.eligible),
            ("intended_on", plan.intended),
            ("adopted_on", since),
            ("first_event_on", first),
            ("abandoned_on", plan.abandoned),
            ("readopted_on", plan.readopted),
        )
    }
    path = plan.path[client, feature]
    gone = {name: values >= until[client] for name, values in pick.items()}
    return table(
        TRUTH["adoptions"],
        {
            "client_id": words(chunk.who.ids, client),
            "feature": words(FEATURE_NAMES, feature),
            **{name: dates(values, days, gone[name]) for name, values in pick.items()},
            "path": [each or None for each in path],
            "detectable": ~gone["adopted_on"] & (pick["eligible_on"] >= 0),
        },
    )


PER_CHUNK = {"champion_exits": champion_exits, "rhythms": rhythms, "adoptions": adoptions}
