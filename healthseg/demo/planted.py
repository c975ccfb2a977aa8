"""What was planted in each customer: anomalies, groups, stages, milestones, interventions, money, what is withheld."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from healthseg.demo import milestones, names, power
from healthseg.demo.chunk import Chunk
from healthseg.demo.latents import EFFECT, LOW, RECOVERED
from healthseg.demo.schema import TRUTH
from healthseg.demo.support import SURVEY_GAP
from healthseg.demo.writing import dates, table, words


def series_z(series: np.ndarray, first: int, factor: float) -> float:
    """The planted change over the same weekday's robust spread in eight weeks around."""
    days = first + 7 * np.concatenate([np.arange(-8, 0), np.arange(1, 9)])
    around = series[days[(days >= 0) & (days < len(series))]]
    around = around[around > 0] if (around > 0).any() else around
    middle = np.median(around)
    spread = max(1.4826 * np.median(np.abs(around - middle)), np.sqrt(middle), 0.5)
    return float((factor - 1) * middle / spread)


def anomalies(chunk: Chunk) -> pa.Table:
    """The customers' own spikes and dips that lie before leaving.

    A spike multiplies what those do who come: its z is that of the power that the day's sessions give it.
    """
    rows = [row for row in chunk.incidents.clients if row[2] < chunk.until[row[0]]]
    z = np.array([_client_z(chunk, *row) for row in rows])
    client, first, last, factor, kind = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    return anomaly_table(
        "client",
        words(chunk.who.ids, np.array(client, int)),
        np.array(first, int),
        np.array(last, int),
        np.array(factor, float),
        list(kind),
        [None] * len(rows),
        z,
        chunk.days,
    )


def _client_z(chunk: Chunk, client: int, first: int, last: int, factor: float, kind: str) -> float:
    events, sessions = chunk.counts.events[client], chunk.counts.sessions[client]
    if kind != "spike":
        return series_z(events, first, factor)
    usual = np.delete(np.arange(len(events)), np.arange(first, last + 1))
    per_session = events[usual].sum() / max(sessions[usual].sum(), 1)
    return power.z_of(
        power.of_spike(float(sessions[first]), float(per_session), factor), power.Z_DAY
    )


def anomaly_table(scope: str, ids, first, last, factor, kind, label, z, days) -> pa.Table:
    strength = power.of_z(z, power.Z_DAY)
    return table(
        TRUTH["anomalies"],
        {
            "scope": [scope] * len(first),
            "client_id": ids,
            "series": ["person_events"] * len(first),
            "from": dates(first, days),
            "to": dates(last, days),
            "factor": factor,
            "kind": kind,
            "calendar_label": label,
            "z": np.asarray(z, float),
            "power": strength,
            "detectable": strength >= power.DETECTABLE,
        },
    )


def segments(chunk: Chunk) -> pa.Table:
    if not chunk.world.segments:
        return table(TRUTH["segments"])
    return table(
        TRUTH["segments"],
        {
            "client_id": chunk.who.ids,
            "segment": [f"segment_{place + 1}" for place in chunk.who.segment],
        },
    )


def stage_spells(chunk: Chunk) -> pa.Table:
    spells, days = chunk.spells, chunk.days
    opened = ~spells["closed"].to_numpy()
    return table(
        TRUTH["stage_spells"],
        {
            "client_id": words(chunk.who.ids, spells["client"]),
            "stage": spells["stage"].tolist(),
            "entered_at": dates(spells["entered"], days),
            "left_at": dates(spells["left"], days, opened),
            "exit_to": [
                None if gone else to for gone, to in zip(opened, spells["exit_to"], strict=True)
            ],
            "recorded_at": dates(
                np.maximum(
                    np.minimum(spells["recorded"], chunk.until[spells["client"]] - 1),
                    spells["entered"],
                ),
                days,
            ),
        },
    )


def stage_disagreements(chunk: Chunk) -> pa.Table:
    """Contracts that ended without a new one, while the recorded stage still says customer."""
    rows = np.flatnonzero(
        (chunk.money.lapsed >= 0)
        & (chunk.exits.churned < 0)
        & (chunk.money.lapsed < chunk.days.days)
    )
    last = chunk.spells.groupby("client")["stage"].last()
    return table(
        TRUTH["stage_disagreements"],
        {
            "client_id": chunk.who.ids[rows],
            "recorded": last.reindex(rows).tolist(),
            "by_contract": ["churned"] * len(rows),
            "since": dates(chunk.money.lapsed[rows], chunk.days),
        },
    )


def milestone_status(chunk: Chunk) -> pa.Table:
    rows = milestones.status_frame(
        chunk.progress, chunk.by_data, chunk.who, chunk.exits.churned, chunk.days
    )
    days, none = chunk.days, milestones.NONE
    return table(
        TRUTH["milestone_status"],
        {
            "client_id": words(chunk.who.ids, rows["client"]),
            "milestone_id": words([each[0] for each in milestones.CATALOGUE], rows["milestone"]),
            "as_of": dates(rows["as_of"], days),
            "status": rows["status"].tolist(),
            "started_on": dates(rows["started"], days, (rows["started"] == none).to_numpy()),
            "completed_on": dates(rows["completed"], days, (rows["completed"] == none).to_numpy()),
            "progress": rows["progress"].to_numpy(),
        },
    )


def blocker_spells(chunk: Chunk) -> pa.Table:
    rows, days, none = chunk.progress, chunk.days, milestones.NONE
    rows = rows[rows["blocker"] >= 0]
    return table(
        TRUTH["blocker_spells"],
        {
            "client_id": words(chunk.who.ids, rows["client"]),
            "milestone_id": words([each[0] for each in milestones.CATALOGUE], rows["milestone"]),
            "blocker": words(names.BLOCKERS, rows["blocker"]),
            "from": dates(rows["blocked"], days),
            "to": dates(rows["cleared"], days, (rows["cleared"] == none).to_numpy()),
        },
    )


def interventions(chunk: Chunk) -> pa.Table:
    given = chunk.latents.given
    kept = given["day"] < chunk.until[given["client"]]
    given = {name: values[kept] for name, values in given.items()}
    effect = EFFECT[given["kind"]] * (chunk.world.planted and not chunk.world.segments)
    return table(
        TRUTH["interventions"],
        {
            "client_id": words(chunk.who.ids, given["client"]),
            "kind": words(names.INTERVENTIONS, given["kind"]),
            "on": dates(given["day"], chunk.days),
            "why_given": [
                f"standing {value:.2f} < {LOW}, recovers above {RECOVERED}"
                for value in given["factor"]
            ],
            "effect_logit": effect,
            "recovered_without": given["recovered_without"],
        },
    )


def arr_moves(chunk: Chunk) -> pa.Table:
    moves, days, gone = chunk.money.moves, chunk.days, np.flatnonzero(chunk.exits.churned >= 0)
    moves = moves[moves["day"] < chunk.until[moves["client"]]]
    last = moves.groupby("client")["arr"].last().reindex(range(chunk.who.count)).to_numpy()
    client = np.concatenate([moves["client"], gone])
    return table(
        TRUTH["arr_moves"],
        {
            "client_id": words(chunk.who.ids, client),
            "on": dates(np.concatenate([moves["day"], chunk.exits.churned[gone]]), days),
            "from": np.concatenate([moves["before"], last[gone]]).astype(float),
            "to": np.concatenate([moves["arr"], np.zeros(len(gone))]).astype(float),
            "reason": [*moves["reason"], *["churn"] * len(gone)],
            "contract_id": [
                *[
                    f"c{chunk.who.number[a]:04d}_{b}"
                    for a, b in zip(moves["client"], moves["contract"], strict=True)
                ],
                *[None] * len(gone),
            ],
        },
    )


WITHHELD = {
    "surveys": ("surveys", None),
    "tickets": ("tickets", None),
    "invoices": ("invoices", None),
    "seats": ("contracts", "seats"),
}


def withheld(chunk: Chunk) -> pa.Table:
    rows = [
        (one, *WITHHELD[name], "never handed over")
        for name, mask in chunk.who.withheld.items()
        for one in chunk.who.ids[mask]
    ]
    rows += [
        (chunk.who.ids[one], "contracts", None, "renewal never entered")
        for one in np.flatnonzero((chunk.money.lapsed >= 0) & (chunk.money.lapsed < chunk.until))
    ]
    since = [None] * len(rows)
    return table(
        TRUTH["withheld"],
        {
            **{
                name: [row[place] for row in rows]
                for place, name in enumerate(("client_id", "table", "column"))
            },
            "from": since,
            "to": since,
            "why": [row[3] for row in rows],
        },
    )


def survey_gap(days) -> pa.Table:
    first, after = (min(each, days.days) for each in SURVEY_GAP)
    rows = int(first < days.days)
    return table(
        TRUTH["withheld"],
        {
            "client_id": [None] * rows,
            "table": ["surveys"] * rows,
            "column": [None] * rows,
            "why": ["the programme paused"] * rows,
            "from": dates(np.array([first][:rows], int), days),
            "to": dates(np.array([after - 1][:rows], int), days),
        },
    )


PER_CHUNK = {
    "anomalies": anomalies,
    "segments": segments,
    "stage_spells": stage_spells,
    "stage_disagreements": stage_disagreements,
    "milestone_status": milestone_status,
    "blocker_spells": blocker_spells,
    "interventions": interventions,
    "arr_moves": arr_moves,
    "withheld": withheld,
}
