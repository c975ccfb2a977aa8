"""The commercial life of a customer: contracts, seats and ARR, invoices, lifecycle stages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from healthseg.demo.customers import SEAT_PRICE, Customers
from healthseg.demo.scenarios import STEP_DAYS, World, before
from healthseg.demo.schema import NEVER

if TYPE_CHECKING:
    from healthseg.demo.portfolio import Batch

INVOICES_BACK_DAYS = 365
BILLING_DAYS = {1: 30.4375, 3: 91.3125, 12: 365.25}
# the chance of an expansion in 30 days rises with seat utilisation
EXPAND_AT, EXPAND_LOG_ODDS, EXPAND_SLOPE = 0.85, -3.9, 5.0

# stage → (next stage, chance, median days, sd of log days)
STAGE_LAW: dict[str, tuple[tuple[str, float, float, float], ...]] = {
    "trial": (("onboarding", 0.85, 14, 0.35), ("active", 0.15, 24, 0.40)),
    "onboarding": (("active", 0.82, 45, 0.40), ("at_risk", 0.18, 60, 0.50)),
    "active": (
        ("engaged", 0.38, 80, 0.60),
        ("at_risk", 0.22, 110, 0.70),
        ("renewing", 0.28, 150, 0.50),
        ("expanded", 0.12, 120, 0.60),
    ),
    "engaged": (
        ("active", 0.30, 90, 0.60),
        ("renewing", 0.40, 120, 0.50),
        ("expanded", 0.18, 90, 0.60),
        ("at_risk", 0.12, 130, 0.70),
    ),
    "at_risk": (
        ("active", 0.60, 48, 0.60),
        ("engaged", 0.15, 75, 0.50),
        ("renewing", 0.25, 90, 0.50),
    ),
    "renewing": (
        ("active", 0.60, 35, 0.40),
        ("engaged", 0.20, 32, 0.40),
        ("at_risk", 0.12, 40, 0.50),
        ("expanded", 0.08, 30, 0.40),
    ),
    "expanded": (
        ("active", 0.50, 60, 0.50),
        ("engaged", 0.35, 70, 0.50),
        ("renewing", 0.15, 100, 0.50),
    ),
}
# stages of older customers begin, in `active`, this long before the portfolio
STAGES_BACK_DAYS = 420
LATE_SHARE, STAGE_REASONS = 0.15, ("usage", "contract", "csm_judgement", "automation")
# standard normal quantiles
QUANTILES = {"p10": -1.2815515655, "p50": 0.0, "p90": 1.2815515655}


@dataclass
class Contracts:
    """Frames with codes and day numbers; ``p_expand`` and ``expanded`` are customers × steps."""

    # client, starts_on, ends_on, signed_on, arr, seats, plan, reason
    rows: pd.DataFrame
    # client, on, before, arr, reason, contract
    arr_moves: pd.DataFrame
    # the chance of an expansion in 30 days, and its day
    p_expand: np.ndarray
    expanded: np.ndarray
    # the day from which a renewal was never entered
    lapsed: np.ndarray

    def seats_by_day(self, customers: Customers, days: int) -> np.ndarray:
        """Customers × days: the seats of the contract of the day, NaN where unknown."""
        out = np.full((customers.count, days), np.nan)
        rows = self.rows.sort_values(["client", "starts_on"], kind="stable")
        for row in rows.itertuples():
            out[row.client, max(row.starts_on, 0) : max(row.ends_on, 0)] = row.seats
        out[customers.withheld["seats"]] = np.nan
        return out


def draw_contracts(batch: Batch, monthly_users: np.ndarray) -> Contracts:
    """``monthly_users`` is customers × days."""
    world, customers = batch.world, batch.customers
    rng, signup = world.random("money"), customers.signup
    p_expand, expanded, changes = _seat_changes(rng, batch, monthly_users)
    rows = _contract_rows(customers, _changes(batch, changes))
    early = rng.integers(0, 25, len(rows))
    rows["signed_on"] = rows["starts_on"] - early * (rows["reason"] == "renewal")
    rows = rows[rows["signed_on"] < world.days].reset_index(drop=True)
    renewal = world.days - 20 - rng.integers(0, 80, customers.count)
    lapses = rng.random(customers.count) < (0.14 if world.planted else 0)
    last = signup + 365 * ((renewal - signup) // 365)
    lapsed = np.where(lapses & (last > max(world.days - 200, -1)) & (last > signup), last, NEVER)
    rows = rows[rows["starts_on"] < lapsed[rows["client"]]].reset_index(drop=True)
    return Contracts(rows, _arr_moves(rows, world.days), p_expand, expanded, lapsed)


def _seat_changes(
    rng: np.random.Generator, batch: Batch, monthly_users: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[tuple]]:
    """Step by step: more seats where nearly all are used, fewer at a renewal where few are."""
    world, customers = batch.world, batch.customers
    count, signup, seats = customers.count, customers.signup, customers.seats.astype(float)
    p_expand = np.zeros((count, len(world.steps)))
    expanded = np.full(p_expand.shape, NEVER)
    changes: list[tuple] = []
    for position, step in enumerate(world.steps):
        used = monthly_users[:, step - 1] / seats
        slope = EXPAND_SLOPE * (np.clip(used, 0.2, 1.3) - EXPAND_AT) if world.planted else 0
        settled = signup < step - 60
        p_expand[:, position] = settled / (1 + np.exp(-(EXPAND_LOG_ODDS + slope)))
        day = step + rng.integers(0, STEP_DAYS, count)
        grows = (rng.random(count) < p_expand[:, position]) & (day < world.days)
        expanded[grows, position] = day[grows]
        renewal = signup + 365 * np.ceil((step - signup) / 365).astype(int)
        shrinks = (renewal < min(step + STEP_DAYS, world.days)) & (used < 0.45) & ~grows & settled
        shrinks &= (rng.random(count) < 0.35) & (seats > 5)
        more = np.maximum(1, (seats * rng.uniform(0.12, 0.35, count)).round())
        fewer = np.maximum(1, (seats * rng.uniform(0.12, 0.30, count)).round())
        seats = seats + np.where(grows, more, 0) - np.where(shrinks, fewer, 0)
        for reason, rows, when in (("expansion", grows, day), ("contraction", shrinks, renewal)):
            changes += [
                (each, int(when[each]), int(seats[each]), None, reason)
                for each in np.flatnonzero(rows)
            ]
    return p_expand, expanded, changes


def _changes(batch: Batch, seat_changes: list[tuple]) -> list[tuple]:
    """All dated changes of terms in order: client, day, seats or None, plan or None, reason."""
    world, customers = batch.world, batch.customers
    rows = list(seat_changes)
    for client in range(customers.count):
        signup, plan = int(customers.signup[client]), int(customers.plan[client])
        rows.append((client, signup, int(customers.seats[client]), plan, "new"))
        if customers.upgraded[client] < NEVER:
            rows.append((client, int(customers.upgraded[client]), None, plan + 1, "expansion"))
        renewals = range(signup + 365, world.days + 120, 365)
        rows += [(client, day, None, None, "renewal") for day in renewals]
    order = ("new", "contraction", "expansion", "renewal")
    return sorted(rows, key=lambda row: (row[0], row[1], order.index(row[4])))


def _contract_rows(customers: Customers, changes: list[tuple]) -> pd.DataFrame:
    """Every dated change is a contract; those of one customer and day are one, the last state."""
    rows: dict[tuple[int, int], tuple] = {}
    seats, plan = 0, 0
    for client, day, new_seats, new_plan, reason in changes:
        seats = seats if new_seats is None else new_seats
        plan = plan if new_plan is None else new_plan
        signup = int(customers.signup[client])
        price = customers.price[client] * SEAT_PRICE[plan] / SEAT_PRICE[customers.plan[client]]
        year_end = signup + 365 * ((day - signup) // 365 + 1)
        if reason == "renewal" and (client, day) in rows:
            reason = rows[client, day][-1]
        rows[client, day] = (client, day, year_end, round(price * seats), seats, plan, reason)
    columns = ["client", "starts_on", "ends_on", "arr", "seats", "plan", "reason"]
    out = pd.DataFrame(list(rows.values()), columns=columns)
    return out.astype(dict.fromkeys(columns[:-1], np.int64))


def _arr_moves(contracts: pd.DataFrame, days: int) -> pd.DataFrame:
    earlier = contracts.groupby("client")["arr"].shift(fill_value=0)
    rows = contracts.assign(before=earlier, contract=contracts.index)
    rows = rows[(rows["arr"] != rows["before"]) & (rows["starts_on"] < days)]
    grown = np.where(rows["arr"] > rows["before"], "expansion", "contraction")
    rows = rows.assign(on=rows["starts_on"], reason=np.where(rows["before"] == 0, "new", grown))
    return rows.reset_index(drop=True)


def draw_invoices(batch: Batch) -> pd.DataFrame:
    """The table's columns with codes and day numbers, as if nobody churned."""
    world, customers = batch.world, batch.customers
    rng = world.random("invoices")
    clients: list[np.ndarray] = []
    days: list[np.ndarray] = []
    for billed in np.flatnonzero(~customers.withheld["invoices"]):
        every, signup = BILLING_DAYS[customers.billing_months[billed]], customers.signup[billed]
        first = max(0, int(np.ceil((-INVOICES_BACK_DAYS - signup) / every)))
        issued = signup + (np.arange(first, first + 1_000) * every).astype(int)
        days.append(issued[issued < world.days])
        clients.append(np.full(len(days[-1]), billed))
    client, issued = np.concatenate(clients), np.concatenate(days)
    rows = pd.DataFrame({"client": client, "issued_on": issued, "due_on": issued + 30})
    terms = batch.contracts.rows.sort_values("starts_on", kind="stable")[
        ["client", "starts_on", "arr"]
    ]
    by_day = rows.reset_index().sort_values("issued_on", kind="stable")
    with_terms = pd.merge_asof(
        by_day, terms, left_on="issued_on", right_on="starts_on", by="client"
    )
    arr = with_terms.set_index("index")["arr"].reindex(rows.index).to_numpy()
    well = batch.latents.of("payment")[client, np.clip(issued // 7, 0, world.weeks - 1)]
    late = np.exp(2.1 - 0.9 * well + rng.normal(0, 0.6, len(rows))) - 8
    very_late = rng.random(len(rows)) < 0.015 * np.exp(-0.8 * well)
    delay = np.where(very_late, rng.integers(60, 150, len(rows)), np.clip(late, -25, 90))
    rows["paid_on"] = before(issued + 30 + delay.round().astype(int), world.days)
    rows["amount"] = (arr * customers.billing_months[client] / 12).round(2)
    return rows


def draw_stages(batch: Batch) -> pd.DataFrame:
    """Spells with entered_at, left_at and recorded_at as day numbers, as if nobody churned."""
    world, customers = batch.world, batch.customers
    rng, signup = world.random("stages"), customers.signup
    old = signup < -STAGES_BACK_DAYS
    recent = np.where(rng.random(customers.count) < 0.6, "onboarding", "trial")
    stage, client = np.where(old, "active", recent).astype(object), np.arange(customers.count)
    entered, parts = np.where(old, -STAGES_BACK_DAYS, signup), []
    while len(client):
        exit_to, wait = _next_stage(rng, stage)
        exited = entered + wait
        columns = {"client": client, "stage": stage, "entered_at": entered, "left_at": exited}
        parts.append(pd.DataFrame({**columns, "exit_to": exit_to}))
        more = exited < world.days
        client, stage, entered = client[more], exit_to[more], exited[more]
    spells = pd.concat(parts).sort_values(
        ["client", "entered_at"], kind="stable", ignore_index=True
    )
    count = len(spells)
    lag = np.where(rng.random(count) < LATE_SHARE, rng.integers(1, 12, count), 0)
    spells["recorded_at"] = spells["entered_at"] + lag
    spells["automated"] = rng.random(count) < 0.35
    spells["reason"] = np.array(STAGE_REASONS, object)[rng.integers(0, len(STAGE_REASONS), count)]
    return spells


def _next_stage(rng: np.random.Generator, stage: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The next stage of each, and the whole days until then."""
    exit_to, wait = np.empty(len(stage), object), np.zeros(len(stage), int)
    for name, exits in STAGE_LAW.items():
        rows = np.flatnonzero(stage == name)
        to, chance, median, sd = (np.array(column) for column in zip(*exits, strict=True))
        exit_code = rng.choice(len(exits), len(rows), p=chance)
        days = median[exit_code] * np.exp(sd[exit_code] * rng.standard_normal(len(rows)))
        exit_to[rows], wait[rows] = to[exit_code], np.maximum(1, np.round(days))
    return exit_to, wait


def end_stages_at_churn(stages: pd.DataFrame, churned: np.ndarray, days: int) -> pd.DataFrame:
    """The spells until churn; an exit after the portfolio's end is NEVER."""
    until = churned[stages["client"]]
    stages, until = stages[stages["entered_at"] < until], until[stages["entered_at"] < until]
    cut = (stages["left_at"] >= until).to_numpy()
    exited = before(np.where(cut, until, stages["left_at"]), days)
    exit_to = stages["exit_to"].mask(cut, "churned").mask(exited == NEVER, None)
    last_day = np.minimum(until, days) - 1
    recorded = np.maximum(np.minimum(stages["recorded_at"], last_day), stages["entered_at"])
    stages = stages.assign(left_at=exited, exit_to=exit_to, recorded_at=recorded)
    return stages.reset_index(drop=True)


def _contracts(batch: Batch) -> pa.Table:
    """Contracts that begin before churn, and renewals signed before the customer decides to churn."""
    rows, days = batch.contracts.rows, batch.world.days
    client = rows["client"].to_numpy()
    signed = (rows["signed_on"] < batch.churn.decided[client]) & ~batch.churn.has_churned[client]
    rows = rows[(rows["starts_on"] < batch.until[client]) | ((rows["starts_on"] >= days) & signed)]
    withheld = batch.customers.withheld["seats"][rows["client"]]
    seats = np.where(withheld, np.nan, rows["seats"])
    # what changes within a year is a version of that year's contract
    term = (rows["starts_on"] - batch.customers.signup[rows["client"]]) // 365 + 1
    names = [
        f"{batch.customers.ids[client]}-{number}"
        for client, number in zip(rows["client"], term, strict=True)
    ]
    rows = rows.assign(seats=seats, arr=rows["arr"].astype(float), renews_on=rows["ends_on"])
    return batch.table("contracts", **rows, currency="EUR", contract_id=names)


def _moves_until_churn(batch: Batch) -> pd.DataFrame:
    moves = batch.begun(batch.contracts.arr_moves, "on")
    client = np.flatnonzero(batch.churn.has_churned)
    last = moves.groupby("client")["arr"].last().reindex(client).to_numpy()
    churns = {"client": client, "on": batch.churn.churned[client], "before": last, "arr": 0}
    moves = pd.concat([moves, pd.DataFrame(churns).assign(reason="churn")], ignore_index=True)
    return moves.astype({"before": float, "arr": float})


def _arr_changes(batch: Batch) -> pa.Table:
    moves = _moves_until_churn(batch)
    return batch.table("arr_changes", **moves.assign(effective_on=moves["on"]))


def _true_arr_moves(batch: Batch) -> pa.Table:
    moves = _moves_until_churn(batch)
    numbers = zip(batch.customers.number[moves["client"]], moves["contract"], strict=True)
    ids = [None if np.isnan(row) else f"c{client:04d}_{row:.0f}" for client, row in numbers]
    moves = moves.assign(contract_id=ids, from_=moves["before"], to=moves["arr"])
    return batch.truth("arr_moves", **moves)


def _invoices(batch: Batch) -> pa.Table:
    rows = batch.begun(batch.invoices, "issued_on")
    ids = batch.serial_ids("i{:04d}_{:03d}", rows["client"])
    paid = batch.before(rows["paid_on"], rows["client"])
    return batch.table("invoices", **rows.assign(invoice_id=ids, paid_on=paid))


def _stage_changes(batch: Batch) -> pa.Table:
    client = np.flatnonzero(batch.churn.has_churned)
    day = batch.churn.churned[client]
    churns = pd.DataFrame({"client": client, "entered_at": day, "recorded_at": day})
    churns = churns.assign(stage="churned", automated=False, reason="contract")
    rows = pd.concat([batch.stages, churns], ignore_index=True)
    automated = rows["automated"].to_numpy(bool)
    rows = rows.assign(automated=automated, actor=np.where(automated, "rule", "csm"))
    return batch.table("stage_changes", **rows, effective_at=rows["entered_at"])


def _true_stages(batch: Batch) -> pa.Table:
    return batch.truth("stage_spells", **batch.stages)


def _stage_disagreements(batch: Batch) -> pa.Table:
    """Contracts that ended without a new one, while the recorded stage still says customer."""
    lapsed = batch.contracts.lapsed
    rows = np.flatnonzero(~batch.churn.has_churned & (lapsed < batch.world.days))
    return batch.truth(
        "stage_disagreements",
        client=rows,
        recorded=batch.stages.groupby("client")["stage"].last().reindex(rows),
        by_contract="churned",
        since=lapsed[rows],
    )


def _expansions(batch: Batch) -> pa.Table:
    """``p_expand90``: the chance of an expansion in the next three steps, by their own chances."""
    steps, contracts = batch.world.steps, batch.contracts
    client, step = np.nonzero(batch.live_before_steps)
    ahead = np.ones((batch.customers.count, 2))
    without = np.concatenate([1 - contracts.p_expand, ahead], axis=1)
    p_expand90 = (1 - without[:, :-2] * without[:, 1:-1] * without[:, 2:])[client, step]
    return batch.truth(
        "expansions",
        client=client,
        step_start=steps[step],
        p_expand90=np.where(step < len(steps) - 2, p_expand90, np.nan),
        expanded_on=batch.before(contracts.expanded[client, step], client),
    )


def _stage_law(total: dict[str, np.ndarray], world: World) -> pa.Table:
    """The days until each exit, for those who take it."""
    law = [(stage, *exit) for stage, exits in STAGE_LAW.items() for exit in exits]
    stage, exit_to, chance, median, sd = (list(column) for column in zip(*law, strict=True))
    parameters = [
        {"chance": each, "median_days": days, "sd_log": spread}
        for each, days, spread in zip(chance, median, sd, strict=True)
    ]
    quantiles = [
        {name: round(float(days * np.exp(spread * z)), 2) for name, z in QUANTILES.items()}
        for days, spread in zip(median, sd, strict=True)
    ]
    return world.truth(
        "stage_law",
        stage=stage,
        exit_to=exit_to,
        law="lognormal",
        parameters=[json.dumps(each, sort_keys=True) for each in parameters],
        quantiles=[json.dumps(each, sort_keys=True) for each in quantiles],
    )


TABLES = {
    "contracts": _contracts,
    "arr_changes": _arr_changes,
    "invoices": _invoices,
    "stage_changes": _stage_changes,
}
TRUTH = {
    "arr_moves": _true_arr_moves,
    "stage_spells": _true_stages,
    "stage_disagreements": _stage_disagreements,
    "expansions": _expansions,
}
LAWS = {"stage_law": _stage_law}
