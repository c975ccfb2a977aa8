"""The hazard's truth: drivers as counted, log-odds, probabilities, who left; and how well all this could be known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from healthseg.demo import names
from healthseg.demo.chunk import Chunk
from healthseg.demo.hazard import terms
from healthseg.demo.scenarios import Scenario
from healthseg.demo.schema import HAZARD, HAZARD_END, TRUTH
from healthseg.demo.tables import user_ids
from healthseg.demo.users import NEVER
from healthseg.demo.writing import dates, table, words


def hazard(chunk: Chunk) -> pa.Table:
    """A row per customer and step while the customer is live on the day before the step."""
    exits, days = chunk.exits, chunk.days
    live = (chunk.who.signup[:, None] <= days.steps - 1) & (chunk.until[:, None] > days.steps - 1)
    client, step = np.nonzero(live)
    risk = exits.at_risk[client, step]
    columns = {**HAZARD, **{f"d_{name}": "f" for name in chunk.drivers}, **HAZARD_END}
    values: dict[str, Any] = {
        "client_id": words(chunk.who.ids, client),
        "step_start": dates(days.steps[step], days),
        "at_risk": risk,
    }
    values |= {f"d_{name}": each[client, step] for name, each in chunk.drivers.items()}
    values |= {
        "eta_measured": exits.eta[client, step],
        "frailty": exits.frailty[client],
        "h_true": np.where(risk, exits.hazard[client, step], np.nan),
        "p30": exits.p30[client, step],
        "p90": exits.p90[client, step],
        "p90_mc_se": exits.p90_mc_se[client, step],
        "decided": risk & (exits.step[client] == step),
    }
    return table(columns, values)


def exits(chunk: Chunk) -> pa.Table:
    """Only those who left, or have decided to by the portfolio's end."""
    out, days = chunk.exits, chunk.days
    rows = np.flatnonzero(out.step >= 0)
    return table(
        TRUTH["exits"],
        {
            "client_id": chunk.who.ids[rows],
            "notice_on": dates(out.notice[rows], days, out.notice[rows] < 0),
            "churned_on": dates(out.churned[rows], days, out.churned[rows] < 0),
            "step": out.step[rows],
            "would_have_churned_on": dates(out.would[rows], days, out.would[rows] < 0),
        },
    )


def users(chunk: Chunk) -> pa.Table:
    people, days = chunk.users, chunk.days
    kept = people.created < chunk.until[people.client]
    stays = (people.left >= NEVER) | (people.left >= chunk.until[people.client])
    whole = table(
        TRUTH["users"],
        {
            "user_id": user_ids(chunk),
            "client_id": words(chunk.who.ids, people.client),
            "persona": words(
                names.PERSONAS, people.persona if chunk.world.planted else np.full(people.count, -1)
            ),
            "rate": 1 / (1 + np.exp(-people.base)),
            "created_on": dates(people.created, days),
            "left_on": dates(people.left, days, stays),
            "champion": people.champion,
        },
    )
    return whole.filter(pa.array(kept))


def expansions(chunk: Chunk) -> pa.Table:
    """p_expand90: the chance of an expansion in the next three steps, by the steps' own chances as they came."""
    days, money = chunk.days, chunk.money
    stay = np.concatenate([1 - money.p_expand, np.ones((chunk.who.count, 2))], axis=1)
    p90 = 1 - stay[:, :-2] * stay[:, 1:-1] * stay[:, 2:]
    whole = (chunk.who.signup[:, None] <= days.steps - 1) & (chunk.until[:, None] > days.steps - 1)
    client, step = np.nonzero(whole)
    when = money.expanded[client, step]
    missing = (when < 0) | (when >= chunk.until[client])
    return table(
        TRUTH["expansions"],
        {
            "client_id": words(chunk.who.ids, client),
            "step_start": dates(days.steps[step], days),
            "p_expand90": np.where(step < len(days.steps) - 2, p90[client, step], np.nan),
            "expanded_on": dates(when, days, missing),
        },
    )


def hazard_terms(world: Scenario) -> pa.Table:
    rows = terms(world)
    return table(
        TRUTH["hazard_terms"],
        {
            **{
                name: [getattr(one, name) for one in rows]
                for name in ("driver", "metric", "form", "direction", "first_step", "last_step")
            },
            **{
                name: np.array([getattr(one, name) for one in rows], float)
                for name in ("coefficient", "center", "scale", "knot")
            },
        },
    )


def expected_auc(p: np.ndarray) -> float:
    """The AUC of the true probabilities, judged with themselves as fractional labels; ties count half.

    >>> expected_auc(np.array([0.5, 0.5]))
    0.5
    """
    _, place = np.unique(p, return_inverse=True)
    events, others = np.bincount(place, p), np.bincount(place, 1 - p)
    below = np.cumsum(others) - others
    return float((events * (below + others / 2)).sum() / (events.sum() * others.sum()))


def checks(
    hazard_rows: pa.Table, exit_rows: pa.Table, first: np.datetime64, world: Scenario
) -> dict[str, Any]:
    """What the portfolio was to have, and has: each a value, its range, and whether it lies in it."""
    risk = hazard_rows.column("at_risk").to_numpy(zero_copy_only=False)
    p30, p90 = (hazard_rows.column(each).to_numpy()[risk] for each in ("p30", "p90"))
    churned = exit_rows.column("churned_on").drop_null().to_numpy()
    early = int((churned < first + np.timedelta64(365, "D")).sum())
    known = pc.or_(
        pc.is_valid(exit_rows.column("churned_on")), pc.is_valid(exit_rows.column("notice_on"))
    )
    noticed, leavers = (
        exit_rows.num_rows - exit_rows.column("notice_on").null_count,
        pc.sum(known).as_py() or 0,
    )
    flat = world.driver_scale == 0.0
    found = {
        "oracle_auc_30": (expected_auc(p30), *((0.45, 1.0) if flat else (0.76, 0.82))),
        "oracle_auc_90": (expected_auc(p90), *((0.45, 1.0) if flat else (0.74, 0.82))),
        "mean_monthly_hazard": (
            float(p30.mean()),
            0.03,
            0.04 if world.drift_from_step is None else 0.05,
        ),
        "churns": (len(churned), 0, 10**9),
        "churns_first_365_days": (early, 60 * (len(churned) >= 60), 10**9),
        "notice_share": (noticed / max(1, leavers), 0.8, 1.0),
    }
    return {
        name: {"value": round(value, 4), "low": low, "high": high, "ok": bool(low <= value <= high)}
        for name, (value, low, high) in found.items()
    }
