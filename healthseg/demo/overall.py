"""What was planted in the portfolio as a whole: tallies of each chunk, added up, and their laws with power."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from healthseg.demo import (
    messages,
    milestones,
    names,
    people,
    planted,
    power,
    segments,
    stages,
    support,
)
from healthseg.demo.adoption import BUNDLES, CONFOUNDED, SEQUENCES
from healthseg.demo.chunk import Chunk
from healthseg.demo.counted import trailing
from healthseg.demo.frame import Frame
from healthseg.demo.hazard import terms
from healthseg.demo.names import FEATURE
from healthseg.demo.scenarios import Scenario
from healthseg.demo.schema import TRUTH
from healthseg.demo.tables import FEATURE_NAMES
from healthseg.demo.users import NEVER
from healthseg.demo.writing import table, words

STRATA = 3  # of volume, within which features are taken as independent


def _used_by(chunk: Chunk) -> np.ndarray:
    """Customers × features: whether a person used it, in the portfolio."""
    live = np.arange(chunk.days.days) < chunk.until[:, None, None]
    return (chunk.counts.feature_days & live).any(axis=2)


def _bundle_tally(chunk: Chunk, used: np.ndarray) -> dict[str, np.ndarray]:
    """Of each bundle: customers who may use all of it, who do, and how many would if volume alone decided."""
    volume = np.where(
        np.arange(chunk.days.days) < chunk.until[:, None], chunk.counts.events, 0
    ).sum(axis=1)
    out = {}
    for name, features, _ in BUNDLES:
        places = [FEATURE[each] for each in features]
        able = (chunk.adoption.eligible[:, places] < chunk.until[:, None]).all(axis=1)
        stratum = (
            np.searchsorted(np.quantile(volume[able], np.arange(1, STRATA) / STRATA), volume)
            if able.any()
            else volume
        )
        expected = sum(
            rows.sum() * used[rows][:, places].mean(axis=0).prod()
            for one in range(STRATA)
            if (rows := able & (stratum == one)).any()
        )
        out[f"bundle:{name}"] = np.array(
            [able.sum(), (used[:, places].all(axis=1) & able).sum(), expected], float
        )
    return out


def _sequence_tally(chunk: Chunk) -> dict[str, np.ndarray]:
    """Of each sequence: customers who may use all of it, and who first used it in that order."""
    live = np.arange(chunk.days.days) < chunk.until[:, None, None]
    used = chunk.counts.feature_days & live
    first = np.where(used.any(axis=2), used.argmax(axis=2), NEVER)
    out = {}
    for name, features, _, _ in SEQUENCES:
        places = [FEATURE[each] for each in features]
        able = (chunk.adoption.eligible[:, places] < chunk.until[:, None]).all(axis=1)
        all_used = (first[:, places] < NEVER).all(axis=1)
        ordered = all_used & (np.diff(first[:, places], axis=1) > 0).all(axis=1)
        out[f"sequence:{name}"] = np.array([able.sum(), all_used.sum(), ordered.sum()], float)
    return out


def _products(chunk: Chunk, adopted: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Of each feature, over the steps in which it could be used: the sums of products of what effects are adjusted for
    (size, tenure, activity) with itself and with having adopted."""
    steps = chunk.days.steps - 1
    logs = [
        np.log(np.broadcast_to(chunk.who.seats[:, None], rows.shape[::2])),
        np.log1p(np.maximum(steps - chunk.who.signup[:, None], 0)),
        np.log1p(trailing(chunk.counts.events, steps, 28)),
    ]
    given = np.stack([np.ones(logs[0].shape), *logs, *(one**2 for one in logs)], axis=-1)
    with_adopted = np.concatenate(
        [
            np.broadcast_to(given, (len(FEATURE_NAMES), *given.shape)),
            adopted.transpose(1, 0, 2)[..., None],
        ],
        axis=-1,
    )
    return np.einsum(
        "fcsa,fcsb->fab", with_adopted * rows.transpose(1, 0, 2)[..., None], with_adopted
    )


def _explained(products: np.ndarray) -> np.ndarray:
    """The share of each feature's adoption that size, tenure and activity explain: R² by least squares."""
    out = np.zeros(len(products))
    for place, one in enumerate(products):
        steps, users = one[0, 0], one[0, -1]
        spread = users - users**2 / max(steps, 1)
        if spread > 0:
            fitted = one[:-1, -1] @ np.linalg.lstsq(one[:-1, :-1], one[:-1, -1], rcond=None)[0]
            out[place] = np.clip((fitted - users**2 / steps) / spread, 0, 1)
    return out


def tally(chunk: Chunk) -> dict[str, np.ndarray]:
    """Counts of one chunk that add up over chunks."""
    steps = chunk.days.steps - 1
    adopted = trailing(chunk.counts.feature_days, steps, 30) >= 2
    listed = chunk.adoption.eligible[:, :, None] <= steps
    risk = chunk.exits.at_risk[:, None, :]
    decided = chunk.exits.step[:, None] == np.arange(len(steps))
    blocked = chunk.progress.loc[chunk.progress["blocker"] >= 0, "blocker"]
    topics = chunk.tickets["topic"].to_numpy()
    follows = chunk.tickets["client"].to_numpy()[1:] == chunk.tickets["client"].to_numpy()[:-1]
    out = {
        "explained": _products(chunk, adopted, listed & risk),
        "exposed": (adopted & listed & risk).sum(axis=(0, 2)),
        "share_of_listed": (
            (adopted & listed & risk) / np.maximum(listed.sum(axis=1), 1)[:, None]
        ).sum(axis=(0, 2)),
        "unexposed": (~adopted & listed & risk).sum(axis=(0, 2)),
        "exposed_events": (chunk.exits.hazard[:, None, :] * (adopted & listed & risk)).sum(
            axis=(0, 2)
        ),
        "other_events": (chunk.exits.hazard[:, None, :] * (~adopted & listed & risk)).sum(
            axis=(0, 2)
        ),
        "events": (listed & decided[:, None, :] & risk).sum(axis=(0, 2)),
        "blocked": np.bincount(blocked, minlength=len(names.BLOCKERS)),
        "daily": chunk.counts.events.sum(axis=0),
        "topics": np.bincount(topics[:-1][follows] * 6 + topics[1:][follows], minlength=36),
        "messages": messages.law_frame(chunk.messages, chunk.days, chunk.world)["n"].to_numpy(),
        **_bundle_tally(chunk, _used_by(chunk)),
        **_sequence_tally(chunk),
    }
    recent = people.sessions_since(
        chunk, np.full(chunk.who.count, chunk.days.days - people.WINDOW_DAYS)
    )
    out |= {f"visits:{kind}": recent @ shares for kind, shares in people.week_shares(chunk).items()}
    if chunk.world.segments:
        out |= segments.moments(chunk)
    return {name: np.asarray(values, float) for name, values in out.items()}


def _feature_effects(total: dict[str, np.ndarray], world: Scenario) -> pa.Table:
    causes = dict(world.feature_log_odds)
    confounded = CONFOUNDED if world.size_on_adoption else None
    sides = zip(
        total["exposed_events"], total["other_events"], _explained(total["explained"]), strict=True
    )
    strength = np.array(
        [
            power.of_odds_ratio(causes.get(name, 0.0), *side)
            for name, side in zip(FEATURE_NAMES, sides, strict=True)
        ]
    )
    return table(
        TRUTH["feature_effects"],
        {
            "feature": FEATURE_NAMES,
            "role": [
                "cause" if name in causes else "confounded" if name == confounded else "none"
                for name in FEATURE_NAMES
            ],
            "log_hr": np.array([causes.get(name, 0.0) for name in FEATURE_NAMES]),
            "breadth_log_hr": _through_breadth(world)
            * total["share_of_listed"]
            / np.maximum(total["exposed"], 1),
            "events": total["events"],
            "confounder": ["seats" if name == confounded else None for name in FEATURE_NAMES],
            "n_exposed": total["exposed"].astype(int),
            "n_unexposed": total["unexposed"].astype(int),
            "power": strength,
            "detectable": strength >= power.DETECTABLE,
        },
    )


def _through_breadth(world: Scenario) -> float:
    """The log odds of leaving of a customer that uses all features that are open to it, against one that uses none."""
    return sum(
        one.coefficient / one.scale
        for one in terms(world)
        if one.metric == "feature_adoption_rate_30d" and one.first_step == 0
    )


def _bundles(total: dict[str, np.ndarray], world: Scenario) -> pa.Table:
    rows = []
    for name, features, share in BUNDLES if world.planted and not world.segments else ():
        able, both, expected = total[f"bundle:{name}"]
        z = (both - expected) / np.sqrt(max(expected * (1 - expected / max(able, 1)), 1e-9))
        rows.append(
            (
                name,
                json.dumps(features),
                share,
                both / max(expected, 1e-9),
                int(able),
                float(power.of_z(max(z, 0), power.Z_MANY)),
            )
        )
    return _rows("bundles", rows)


def _sequences(total: dict[str, np.ndarray], world: Scenario) -> pa.Table:
    rows = []
    for name, features, share, gaps in SEQUENCES if world.planted and not world.segments else ():
        able, used, ordered = total[f"sequence:{name}"]
        chance = used / np.prod(np.arange(1, len(features) + 1))
        z = (ordered - chance) / np.sqrt(max(chance * (1 - chance / max(used, 1)), 1e-9))
        rows.append(
            (
                name,
                json.dumps(features),
                share,
                json.dumps(gaps),
                world.sequence_log_odds,
                int(able),
                float(power.of_z(max(z, 0), power.Z_MANY)),
            )
        )
    return _rows("sequences", rows)


def _rows(name: str, rows: list[tuple]) -> pa.Table:
    columns = list(TRUTH[name])
    values: dict[str, Any] = {
        column: [row[place] for row in rows] for place, column in enumerate(columns[:-1])
    }
    return table(
        TRUTH[name], {**values, "detectable": [row[-1] >= power.DETECTABLE for row in rows]}
    )


def _stage_law() -> pa.Table:
    law = stages.law_frame()
    return table(
        TRUTH["stage_law"],
        {
            **{name: law[name].tolist() for name in ("stage", "exit_to", "law")},
            **{
                name: [json.dumps(each, sort_keys=True) for each in law[name]]
                for name in ("parameters", "quantiles")
            },
        },
    )


def _blocker_law(total: dict[str, np.ndarray], world: Scenario) -> pa.Table:
    ratio = np.array([milestones.LOG_TIME_RATIO[each] for each in names.BLOCKERS]) * world.planted
    strength = power.of_z(ratio * np.sqrt(total["blocked"]) / 0.5, power.Z_ONE)
    return table(
        TRUTH["blocker_law"],
        {
            "blocker": list(names.BLOCKERS),
            "log_time_ratio": ratio,
            "n": total["blocked"].astype(int),
            "power": strength,
            "detectable": strength >= power.DETECTABLE,
        },
    )


def _message_law(total: dict[str, np.ndarray], days: Frame, world: Scenario) -> pa.Table:
    """The law of each cell, and its margins: by channel and content (weekday null), by channel and weekday."""
    empty = {name: np.zeros(0, int) for name in ("channel", "content", "day")}
    cells = messages.law_frame(empty, days, world).assign(n=total["messages"].astype(int))
    base = cells.groupby("channel")["p_open"].mean()
    parts = []
    for keys in (["channel", "content", "weekday"], ["channel", "content"], ["channel", "weekday"]):
        law = {"p_open": "mean", "p_click": "mean", "per_week": "sum", "n": "sum"}
        parts.append(cells.groupby(keys, as_index=False).agg(law))
    rows = pd.concat(parts, ignore_index=True)
    own = base[rows["channel"]].to_numpy()
    z = (rows["p_open"].to_numpy() - own) * np.sqrt(rows["n"].to_numpy() / (own * (1 - own)))
    strength = power.of_z(z, power.Z_MANY)
    content, weekday = rows["content"].fillna(-1).to_numpy(int), rows["weekday"].to_numpy(float)
    return table(
        TRUTH["message_law"],
        {
            "channel": [names.CHANNELS[each] for each in rows["channel"]],
            "content": words(names.CONTENTS, content),
            "weekday": weekday,
            **{name: rows[name].to_numpy() for name in ("per_week", "p_open", "p_click", "n")},
            "power": strength,
            "detectable": strength >= power.DETECTABLE,
        },
    )


def _support_law(total: dict[str, np.ndarray], world: Scenario) -> pa.Table:
    law = support.topic_law(world)
    topic, following = (each.ravel() for each in np.indices(law.shape))
    return table(
        TRUTH["support_law"],
        {
            "topic": [names.TOPICS[each] for each in topic],
            "next_topic": [names.TOPICS[each] for each in following],
            "p": law.ravel(),
            "n": total["topics"].astype(int),
            "resolution_median": np.full(law.size, float(support.HOURS_MEDIAN[1])),
            "resolution_ratio_per_month": np.full(
                law.size, support.FASTER_PER_MONTH if world.planted else 1.0
            ),
        },
    )


def portfolio_rhythms(total: dict[str, np.ndarray], world: Scenario) -> pa.Table:
    """The peaks of the last 90 days' visits of all customers together."""
    if not world.planted:
        return table(TRUTH["rhythms"])
    parts = []
    for kind in ("weekday", "hour"):
        visits = total[f"visits:{kind}"]
        parts.append(
            people.peaks(visits[None, :] / visits.sum(), kind, np.array([round(visits.sum())]))
        )
    rows = pd.concat(parts, ignore_index=True)
    return people.rhythm_table("portfolio", rows, pa.array(["portfolio"] * len(rows)))


def portfolio_anomalies(total: dict[str, np.ndarray], portfolio: list, days: Frame) -> pa.Table:
    first, last, factor, kind, label = (
        (list(each) for each in zip(*portfolio, strict=True)) if portfolio else ([],) * 5
    )
    z = [
        planted.series_z(total["daily"], day, each) for day, each in zip(first, factor, strict=True)
    ]
    return planted.anomaly_table(
        "portfolio",
        [None] * len(first),
        np.array(first, int),
        np.array(last, int),
        np.array(factor, float),
        kind,
        label,
        np.array(z, float),
        days,
    )


def tables(total: dict[str, np.ndarray], days: Frame, world: Scenario) -> dict[str, pa.Table]:
    """The truth that is one for the portfolio; its anomalies apart."""
    return {
        "feature_effects": _feature_effects(total, world),
        "bundles": _bundles(total, world),
        "sequences": _sequences(total, world),
        "stage_law": _stage_law(),
        "blocker_law": _blocker_law(total, world),
        "message_law": _message_law(total, days, world),
        "support_law": _support_law(total, world),
        **({"segment_centres": segments.centres(total)} if world.segments else {}),
    }
