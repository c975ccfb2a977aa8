"""The portfolio's small tables of one chunk, cut at leaving."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from healthseg.demo import milestones, names
from healthseg.demo.chunk import Chunk
from healthseg.demo.customers import company_names
from healthseg.demo.frame import DAY_MS, stream
from healthseg.demo.schema import TABLES
from healthseg.demo.users import NEVER
from healthseg.demo.writing import by_hand, dates, moments, table, words

FEATURE_NAMES = [name for name, *_ in names.FEATURES]
CSM_IDS = [f"csm_{place + 1:02d}" for place in range(len(names.CSMS))]


def user_ids(chunk: Chunk) -> list[str]:
    number = chunk.who.number[chunk.users.client]
    return [
        f"u{a:04d}_{b:03d}"
        for a, b in zip(number.tolist(), chunk.users.serial.tolist(), strict=True)
    ]


def last_contracts(chunk: Chunk) -> dict[str, np.ndarray]:
    """Of each customer, the contract in force on the portfolio's last day (or at leaving)."""
    rows = chunk.money.contracts
    begun = rows[rows["starts"] < chunk.until[rows["client"]]].groupby("client").last()
    return {
        name: begun[name].reindex(range(chunk.who.count)).to_numpy()
        for name in ("arr", "seats", "plan", "ends")
    }


def customers(chunk: Chunk) -> pa.Table:
    """Today's snapshot: what churned customers had is overwritten."""
    who, days, exits = chunk.who, chunk.days, chunk.exits
    gone, last = exits.churned >= 0, last_contracts(chunk)
    rng = stream(chunk.seed, int(who.number.min()), "extras")
    potential = np.where(
        rng.random(who.count) < 0.12,
        np.round(last["arr"] * rng.uniform(1.1, 1.9, who.count), -2),
        np.nan,
    )
    parent = np.where(rng.random(who.count) < 0.04, np.roll(np.arange(who.count), 3), -1)
    ids = who.ids
    return table(
        TABLES["customers"],
        {
            "client_id": ids,
            "name": company_names(chunk.seed, who.number),
            "signup_date": dates(who.signup, days),
            "industry": words(names.INDUSTRIES, who.industry),
            "region": words([place[0] for place in names.PLACES], who.zone),
            "plan": words(names.PLANS, np.where(gone, -1, last["plan"]).astype(int)),
            "arr": np.where(gone, 0.0, last["arr"]),
            "currency": ["EUR"] * who.count,
            "seats": np.where(who.withheld["seats"], np.nan, np.where(gone, 0, last["seats"])),
            "renewal_date": dates(np.nan_to_num(last["ends"]), days, gone),
            "churned_on": dates(exits.churned, days, ~gone),
            "notice_on": dates(exits.notice, days, exits.notice < 0),
            "csm_id": words(
                CSM_IDS,
                np.where(
                    gone, -1, np.where(chunk.moved_csm >= 0, (who.csm + 1) % len(CSM_IDS), who.csm)
                ),
            ),
            "timezone": words([place[1] for place in names.PLACES], who.zone),
            "parent_id": words(ids, parent),
            "strategic_value": np.where(gone, np.nan, rng.integers(1, 6, who.count).astype(float)),
            "potential_arr": np.where(gone, np.nan, potential),
        },
    )


def customer_changes(chunk: Chunk) -> pa.Table:
    who, days = chunk.who, chunk.days
    moved = np.flatnonzero((chunk.moved_csm >= 0) & (chunk.moved_csm < chunk.until))
    up = np.flatnonzero((who.upgraded >= 0) & (who.upgraded < chunk.until))
    client, day = (
        np.concatenate([moved, up]),
        np.concatenate([chunk.moved_csm[moved], who.upgraded[up]]),
    )
    values = [CSM_IDS[(who.csm[one] + 1) % len(CSM_IDS)] for one in moved] + [
        names.PLANS[who.plan[one] + 1] for one in up
    ]
    return table(
        TABLES["customer_changes"],
        {
            "client_id": words(who.ids, client),
            "field": ["csm_id"] * len(moved) + ["plan"] * len(up),
            "value": values,
            "effective_on": dates(day, days),
            "recorded_at": by_hand(day, days),
        },
    )


def contracts(chunk: Chunk) -> pa.Table:
    who, days = chunk.who, chunk.days
    rows = chunk.money.contracts
    noticed = np.where(chunk.exits.step >= 0, chunk.exits.decided, NEVER)[rows["client"]]
    rows = rows[
        (rows["starts"] < chunk.until[rows["client"]])
        | (
            (rows["starts"] >= days.days)
            & (rows["signed"] < noticed)
            & (chunk.exits.churned[rows["client"]] < 0)
        )
    ]
    client = rows["client"].to_numpy()
    withheld = who.withheld["seats"][client]
    return table(
        TABLES["contracts"],
        {
            "client_id": words(who.ids, client),
            "starts_on": dates(rows["starts"], days),
            "ends_on": dates(rows["ends"], days),
            "arr": rows["arr"].to_numpy(float),
            "signed_on": dates(rows["signed"], days),
            "seats": np.where(withheld, np.nan, rows["seats"]),
            "plan": words(names.PLANS, rows["plan"].to_numpy()),
            "currency": ["EUR"] * len(rows),
            "renews_on": dates(rows["renews"], days),
        },
    )


def users(chunk: Chunk) -> pa.Table:
    people, days = chunk.users, chunk.days
    there = people.created < chunk.until[people.client]
    left = (people.left < chunk.until[people.client]) & people.told
    rng = stream(chunk.seed, int(chunk.who.number.min()), "roles")
    role = np.where(
        people.serial == 1, 0, rng.choice([1, 2, 3], people.count, p=[0.15, 0.30, 0.55])
    )
    domains = [f"customer{number:04d}.example" for number in chunk.who.number]
    whole = table(
        TABLES["users"],
        {
            "user_id": user_ids(chunk),
            "client_id": words(chunk.who.ids, people.client),
            "role": words(names.ROLES, role),
            "created_at": by_hand(people.created, days),
            "deactivated_at": by_hand(np.where(left, people.left, 0), days, ~left),
            "email_domain": words(domains, people.client),
        },
    )
    return whole.filter(pa.array(there))


def entitlements(chunk: Chunk) -> pa.Table:
    client, feature = np.nonzero(chunk.adoption.eligible < chunk.until[:, None])
    return table(
        TABLES["entitlements"],
        {
            "client_id": words(chunk.who.ids, client),
            "feature": words(FEATURE_NAMES, feature),
            "starts_on": dates(chunk.adoption.eligible[client, feature], chunk.days),
            "ends_on": [None] * len(client),
        },
    )


def _before(utc_ms: np.ndarray, client: np.ndarray, chunk: Chunk) -> np.ndarray:
    """Whether the instant lies on a local day before leaving, and in the portfolio."""
    day = chunk.zones.local_day(np.asarray(utc_ms), chunk.who.zone[client]) - chunk.days.start
    return (utc_ms >= 0) & (day < chunk.until[client]) & (utc_ms < (chunk.days.end + 1) * DAY_MS)


def tickets(chunk: Chunk) -> pa.Table:
    rows = chunk.tickets
    rows = rows[_before(rows["opened"].to_numpy(), rows["client"].to_numpy(), chunk)]
    client = rows["client"].to_numpy()
    answered, solved = (
        _before(rows[each].to_numpy(), client, chunk) for each in ("response", "resolved")
    )
    serial = np.arange(len(client)) - np.searchsorted(client, client) + 1
    return table(
        TABLES["tickets"],
        {
            "ticket_id": [
                f"t{a:04d}_{b:04d}" for a, b in zip(chunk.who.number[client], serial, strict=True)
            ],
            "client_id": words(chunk.who.ids, client),
            "opened_at": moments(rows["opened"]),
            "user_id": words(user_ids(chunk), rows["user"]),
            "feature": words(FEATURE_NAMES, rows["feature"]),
            "topic": words(names.TOPICS, rows["topic"]),
            "severity": words(names.SEVERITIES, rows["severity"]),
            "first_response_at": moments(rows["response"], ~answered),
            "resolved_at": moments(rows["resolved"], ~solved),
            "csat": np.where(solved, rows["csat"], np.nan),
        },
    )


def surveys(chunk: Chunk) -> pa.Table:
    rows = chunk.surveys
    rows = rows[_before(rows["responded"].to_numpy(), rows["client"].to_numpy(), chunk)]
    return table(
        TABLES["surveys"],
        {
            "client_id": words(chunk.who.ids, rows["client"]),
            "kind": rows["kind"].tolist(),
            "score": rows["score"].to_numpy(),
            "responded_at": moments(rows["responded"]),
            "user_id": words(user_ids(chunk), rows["user"]),
            "feature": words(FEATURE_NAMES, rows["feature"]),
        },
    )


def invoices(chunk: Chunk) -> pa.Table:
    rows, days = chunk.invoices, chunk.days
    rows = rows[rows["issued"] < chunk.until[rows["client"]]]
    client = rows["client"].to_numpy()
    unpaid = (rows["paid"] <= milestones.NONE) | (rows["paid"] >= chunk.until[client])
    serial = np.arange(len(client)) - np.searchsorted(client, client) + 1
    return table(
        TABLES["invoices"],
        {
            "invoice_id": [
                f"i{a:04d}_{b:03d}" for a, b in zip(chunk.who.number[client], serial, strict=True)
            ],
            "client_id": words(chunk.who.ids, client),
            "amount": rows["amount"].to_numpy(),
            "issued_on": dates(rows["issued"], days),
            "due_on": dates(rows["due"], days),
            "paid_on": dates(rows["paid"], days, unpaid),
        },
    )


def arr_changes(chunk: Chunk) -> pa.Table:
    moves, days = chunk.money.moves, chunk.days
    moves = moves[moves["day"] < chunk.until[moves["client"]]]
    gone = np.flatnonzero(chunk.exits.churned >= 0)
    client = np.concatenate([moves["client"], gone])
    return table(
        TABLES["arr_changes"],
        {
            "client_id": words(chunk.who.ids, client),
            "effective_on": dates(np.concatenate([moves["day"], chunk.exits.churned[gone]]), days),
            "arr": np.concatenate([moves["arr"], np.zeros(len(gone))]).astype(float),
            "reason": [*moves["reason"], *["churn"] * len(gone)],
        },
    )


def milestone_progress(chunk: Chunk) -> pa.Table:
    rows, days, none = chunk.progress, chunk.days, milestones.NONE
    stamp = {
        name: by_hand(
            np.where(rows[name] == none, 0, rows[name]), days, (rows[name] == none).to_numpy()
        )
        for name in ("started", "completed", "blocked", "cleared", "skipped")
    }
    return table(
        TABLES["milestone_progress"],
        {
            "client_id": words(chunk.who.ids, rows["client"]),
            "started_at": stamp["started"],
            "milestone_id": words([each[0] for each in milestones.CATALOGUE], rows["milestone"]),
            "completed_at": stamp["completed"],
            "blocker": words(names.BLOCKERS, rows["blocker"]),
            "blocked_since": stamp["blocked"],
            "blocker_cleared_at": stamp["cleared"],
            "skipped_at": stamp["skipped"],
            "owner": words(CSM_IDS, rows["owner"]),
        },
    )


def messages(chunk: Chunk) -> pa.Table:
    rows = chunk.messages
    rows = rows[rows["day"] < chunk.until[rows["client"]]]
    client = rows["client"].to_numpy()
    opened, clicked = (
        _before(rows[each].to_numpy(), client, chunk) for each in ("opened", "clicked")
    )
    return table(
        TABLES["messages"],
        {
            "client_id": words(chunk.who.ids, client),
            "channel": words(names.CHANNELS, rows["channel"]),
            "content": words(names.CONTENTS, rows["content"]),
            "sent_at": moments(rows["sent"]),
            "user_id": words(user_ids(chunk), rows["user"]),
            "feature": words(FEATURE_NAMES, rows["feature"]),
            "opened_at": moments(rows["opened"], ~opened),
            "clicked_at": moments(rows["clicked"], ~clicked),
        },
    )


def stage_changes(chunk: Chunk) -> pa.Table:
    spells, days = chunk.spells, chunk.days
    gone = np.flatnonzero(chunk.exits.churned >= 0)
    recorded = np.minimum(spells["recorded"], chunk.until[spells["client"]] - 1)
    entered = np.concatenate([spells["entered"], chunk.exits.churned[gone]])
    automated = np.concatenate([spells["automated"], np.zeros(len(gone), bool)])
    return table(
        TABLES["stage_changes"],
        {
            "client_id": words(chunk.who.ids, np.concatenate([spells["client"], gone])),
            "stage": [*spells["stage"], *["churned"] * len(gone)],
            "effective_at": by_hand(entered, days),
            "recorded_at": by_hand(
                np.concatenate(
                    [np.maximum(recorded, spells["entered"]), chunk.exits.churned[gone]]
                ),
                days,
            ),
            "reason": [*spells["reason"], *["contract"] * len(gone)],
            "automated": automated,
            "actor": ["rule" if each else "csm" for each in automated],
        },
    )


def interventions(chunk: Chunk) -> pa.Table:
    given = chunk.latents.given
    kept = given["day"] < chunk.until[given["client"]]
    return table(
        TABLES["interventions"],
        {
            "client_id": words(chunk.who.ids, given["client"][kept]),
            "kind": words(names.INTERVENTIONS, given["kind"][kept]),
            "happened_at": by_hand(given["day"][kept], chunk.days),
        },
    )


PER_CHUNK = {
    "customers": customers,
    "customer_changes": customer_changes,
    "contracts": contracts,
    "users": users,
    "entitlements": entitlements,
    "tickets": tickets,
    "surveys": surveys,
    "invoices": invoices,
    "arr_changes": arr_changes,
    "milestone_progress": milestone_progress,
    "messages": messages,
    "stage_changes": stage_changes,
    "interventions": interventions,
}
