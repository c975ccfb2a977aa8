"""The commercial life of a customer: contracts, seats and ARR, invoices, lifecycle stages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from healthseg.demo.customers import ODD_CUSTOMERS_EACH, SEAT_PRICE, Customers
from healthseg.demo.scenarios import STEP_DAYS, World, before
from healthseg.demo.schema import NEVER

if TYPE_CHECKING:
    from healthseg.demo.portfolio import Batch

INVOICES_BACK_DAYS = 365
BILLING_DAYS = {1: 30.4375, 3: 91.3125, 12: 365.25}
# the chance of an expansion in 30 days rises with seat utilisation
EXPAND_AT, EXPAND_LOG_ODDS, EXPAND_SLOPE = 0.85, -3.9, 5.0
LIVELY_EXPAND_LOG_ODDS = -3.5
# of a contraction at the renewal of a year where the seats are used
OTHER_CONTRACTION = 0.06
MONTH_DAYS = 30
# decisions about a term are taken in its last days
DECISION_DAYS = 60
# of the customers that do not renew by themselves
EARLY_SHARE, ADD_ON_SHARE = 0.15, 0.4
# of the invoices
CREDIT_SHARE = 0.03
EVERY = slice(None)

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
class Terms:
    """Per customer: when the first contract begins (later than the portfolio's end on trial) and how long each runs."""

    begins: np.ndarray
    length: np.ndarray
    # the day on which one renewal takes effect early, and the day on which it was due; NEVER
    early: np.ndarray
    due: np.ndarray

    def end_after(self, day: np.ndarray | int, client: int | slice = EVERY) -> np.ndarray:
        """The end of the term that runs on a day."""
        begins, length = self.begins[client], self.length[client]
        ends = begins + length * np.maximum((day - begins) // length + 1, 1)
        renewed = (self.early[client] <= day) & (day < self.due[client])
        return ends + np.where(renewed, length, 0)

    def renewal_after(self, day: np.ndarray | int) -> np.ndarray:
        """The day on which the next term begins."""
        ends = self.end_after(day)
        return np.where((ends == self.due) & (day < self.early), self.early, ends)


def draw_terms(batch: Batch) -> Terms:
    """Contracts begin at signup, or when the trial ends."""
    customers, world = batch.customers, batch.world
    rng, count = world.random("renewals"), customers.count
    first = batch.stages.drop_duplicates("client").set_index("client").reindex(range(count))
    is_trial = (first["stage"] == "trial").to_numpy() & world.lively
    begins = np.where(is_trial, first["left_at"], customers.signup).astype(int)
    length = np.where(customers.term_months == 1, MONTH_DAYS, 365 * customers.term_months // 12)
    none = np.full(count, NEVER)
    terms = Terms(begins, length, none, none)
    due = terms.end_after(world.days - 120 - length)
    is_early = (rng.random(count) < EARLY_SHARE) & ~customers.auto_renews & world.lively
    is_early &= (due < world.days - 10) & (due - length >= begins)
    early = due - rng.integers(20, 75, count)
    return Terms(begins, length, np.where(is_early, early, NEVER), np.where(is_early, due, NEVER))


@dataclass
class Contracts:
    """Frames with codes and day numbers; ``p_expand`` and ``expanded`` are customers × steps."""

    # client, starts_on, ends_on, signed_on, arr, seats, plan, reason, total_arr and total_seats (of all contracts
    # from then on), term and add_on (numbers within the customer and the term), replaced (how many add-ons of the
    # term before this contract takes the place of early, else -1)
    rows: pd.DataFrame
    # client, on, before, arr, reason, contract
    arr_moves: pd.DataFrame
    # the chance of an expansion in 30 days, and its day
    p_expand: np.ndarray
    expanded: np.ndarray
    # the day from which a renewal was never entered
    lapsed: np.ndarray

    def seats_by_day(self, customers: Customers, world: World) -> np.ndarray:
        """Customers × days: the seats of the contracts of the day, of the last one after it ended, NaN where unknown."""
        days = world.days
        out = np.full((customers.count, days), np.nan)
        for row in self.rows.sort_values(["client", "starts_on"], kind="stable").itertuples():
            out[row.client, max(row.starts_on, 0) :] = row.total_seats
        out[customers.withheld["seats"]] = np.nan
        if not world.lively:
            out[np.arange(days) >= self.lapsed[:, None]] = np.nan
        return out

    def in_mid_term(self, terms: Terms, at: np.ndarray) -> np.ndarray:
        """Customers × days: whether a term of a year or more runs, and ends later than decisions are taken."""
        days = at[:, None]
        running = (terms.begins <= days) & (days < self.lapsed) & (terms.length > MONTH_DAYS)
        return (running & (terms.end_after(days) - days > DECISION_DAYS)).T.astype(float)


def draw_contracts(batch: Batch, monthly_users: np.ndarray) -> Contracts:
    """``monthly_users`` is customers × days."""
    world = batch.world
    rng = world.random("money")
    p_expand, expanded, changes = _seat_changes(rng, batch, monthly_users)
    rows = _contract_rows(batch, _changes(batch, changes))
    early = rng.integers(0, 25, len(rows))
    rows["signed_on"] = rows["starts_on"] - early * (rows["reason"] == "renewal")
    rows = rows[rows["signed_on"] < world.days].reset_index(drop=True)
    lapsed = _draw_lapses(rng, batch)
    rows = rows[rows["starts_on"] < lapsed[rows["client"]]].reset_index(drop=True)
    return Contracts(rows, _arr_moves(rows, world.days), p_expand, expanded, lapsed)


def _draw_lapses(rng: np.random.Generator, batch: Batch) -> np.ndarray:
    """The day from which a renewal was never entered, for a few customers."""
    world, customers, terms = batch.world, batch.customers, batch.terms
    lapsed, begins = np.full(customers.count, NEVER), terms.begins
    if not world.lively:
        renewal = world.days - 20 - rng.integers(0, 80, customers.count)
        lapses = rng.random(customers.count) < (0.14 if world.planted else 0)
        last = begins + 365 * ((renewal - begins) // 365)
        return np.where(lapses & (last > max(world.days - 200, -1)) & (last > begins), last, lapsed)
    ended = terms.end_after(world.days - 15 - terms.length)
    able = ~customers.auto_renews & (ended > world.days - 150) & (ended >= begins + terms.length)
    chosen = rng.permutation(np.flatnonzero(able))
    chosen = chosen[: max(2, customers.count // ODD_CUSTOMERS_EACH)]
    lapsed[chosen] = ended[chosen]
    return lapsed


def _seat_changes(
    rng: np.random.Generator, batch: Batch, monthly_users: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[tuple]]:
    """Step by step: more seats where nearly all are used, fewer at a renewal where few are."""
    world, customers, terms = batch.world, batch.customers, batch.terms
    count, seats = customers.count, customers.seats.astype(float)
    p_expand = np.zeros((count, len(world.steps)))
    expanded = np.full(p_expand.shape, NEVER)
    changes: list[tuple] = []
    for position, step in enumerate(world.steps):
        used = monthly_users[:, step - 1] / seats
        expands = LIVELY_EXPAND_LOG_ODDS if world.lively else EXPAND_LOG_ODDS
        slope = EXPAND_SLOPE * (np.clip(used, 0.2, 1.3) - EXPAND_AT) if world.planted else 0
        settled = np.maximum(customers.signup + 60, terms.begins) < step
        p_expand[:, position] = settled / (1 + np.exp(-(expands + slope)))
        day = step + rng.integers(0, STEP_DAYS, count)
        grows = (rng.random(count) < p_expand[:, position]) & (day < world.days)
        expanded[grows, position] = day[grows]
        renewal = terms.renewal_after(step - 1)
        shrinks = (renewal < min(step + STEP_DAYS, world.days)) & ~grows & settled & (seats > 5)
        chance = np.where(used < 0.45, 0.35, OTHER_CONTRACTION * world.lively)
        shrinks &= rng.random(count) < chance / np.where(terms.length == MONTH_DAYS, 12, 1)
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
    world, customers, terms = batch.world, batch.customers, batch.terms
    rows = list(seat_changes)
    for client in range(customers.count):
        begins, plan = int(terms.begins[client]), int(customers.plan[client])
        rows.append((client, begins, int(customers.seats[client]), plan, "new"))
        if customers.upgraded[client] < NEVER:
            day = max(int(customers.upgraded[client]), begins + 1)
            rows.append((client, day, None, plan + 1, "expansion"))
        length, due = int(terms.length[client]), int(terms.due[client])
        if not customers.auto_renews[client]:
            renewals = range(begins + length, world.days + 120, length)
            days = (int(terms.early[client]) if day == due else day for day in renewals)
            rows += [(client, day, None, None, "renewal") for day in days]
    order = ("new", "contraction", "expansion", "renewal")
    return sorted(rows, key=lambda row: (row[0], row[1], order.index(row[4])))


def _contract_rows(batch: Batch, changes: list[tuple]) -> pd.DataFrame:
    """Every dated change is a contract or a version of one; those of one customer and day are one, the last state.

    Seats added well within a term are, for some customers, a contract of their own until the term ends.
    """
    rows: dict[tuple[int, int], tuple] = {}
    customers, terms = batch.customers, batch.terms
    has_add_ons = batch.world.random("add_ons").random(customers.count) < ADD_ON_SHARE
    has_add_ons &= ~customers.auto_renews & (customers.upgraded == NEVER) & batch.world.lively
    client, seats, plan, term, term_end, add_ons, added_seats, added_arr, base_arr = -1, *[0] * 8
    for subject, day, new_seats, new_plan, reason in changes:
        ends_on, replaced = int(terms.end_after(day, subject)), -1
        if subject != client or ends_on != term_end:
            if subject == client and day == terms.early[subject]:
                replaced = add_ons
            term = term + (not customers.auto_renews[subject]) if subject == client else 1
            client, term_end, add_ons, added_seats, added_arr = subject, ends_on, 0, 0, 0
        earlier, seats = seats, seats if new_seats is None else new_seats
        plan = plan if new_plan is None else new_plan
        price = customers.price[client] * SEAT_PRICE[plan] / SEAT_PRICE[customers.plan[client]]
        if reason == "expansion" and has_add_ons[client] and _well_within(terms, client, day):
            own, arr, add_ons = seats - earlier, round(price * (seats - earlier)), add_ons + 1
            added_seats, added_arr, add_on = added_seats + own, added_arr + arr, add_ons
        else:
            own, add_on = seats - added_seats, 0
            arr = base_arr = round(price * own)
        if (client, day) in rows:
            reason = rows[client, day][6] if reason == "renewal" else reason
            replaced = rows[client, day][-1]
        numbers = base_arr + added_arr, seats, term, add_on, replaced
        rows[client, day] = (client, day, ends_on, arr, own, plan, reason, *numbers)
    columns = ["client", "starts_on", "ends_on", "arr", "seats", "plan", "reason"]
    columns += ["total_arr", "total_seats", "term", "add_on", "replaced"]
    out = pd.DataFrame(list(rows.values()), columns=columns)
    return out.astype({name: np.int64 for name in columns if name != "reason"})


def _well_within(terms: Terms, client: int, day: int) -> bool:
    """Whether the term began weeks ago, and has months left; not beside an early renewal."""
    left = int(terms.end_after(day, client)) - day
    is_near = abs(day - int(terms.early[client])) < 30
    return 60 <= left <= int(terms.length[client]) - 30 and not is_near


def _arr_moves(contracts: pd.DataFrame, days: int) -> pd.DataFrame:
    earlier = contracts.groupby("client")["total_arr"].shift(fill_value=0)
    rows = contracts.assign(before=earlier, contract=contracts.index, arr=contracts["total_arr"])
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
        every, begins = BILLING_DAYS[customers.billing_months[billed]], batch.terms.begins[billed]
        first = max(0, int(np.ceil((-INVOICES_BACK_DAYS - begins) / every)))
        issued = begins + (np.arange(first, first + 1_000) * every).astype(int)
        days.append(issued[issued < world.days])
        clients.append(np.full(len(days[-1]), billed))
    client, issued = np.concatenate(clients), np.concatenate(days)
    rows = pd.DataFrame({"client": client, "issued_on": issued, "due_on": issued + 30})
    states = batch.contracts.rows.sort_values("starts_on", kind="stable")
    states = states[["client", "starts_on", "total_arr"]]
    by_day = rows.reset_index().sort_values("issued_on", kind="stable")
    with_arr = pd.merge_asof(by_day, states, left_on="issued_on", right_on="starts_on", by="client")
    arr = with_arr.set_index("index")["total_arr"].reindex(rows.index).to_numpy()
    well = batch.latents.of("payment")[client, np.clip(issued // 7, 0, world.weeks - 1)]
    late = np.exp(2.1 - 0.9 * well + rng.normal(0, 0.6, len(rows))) - 8
    very_late = rng.random(len(rows)) < 0.015 * np.exp(-0.8 * well)
    delay = np.where(very_late, rng.integers(60, 150, len(rows)), np.clip(late, -25, 90))
    rows["paid_on"] = before(issued + 30 + delay.round().astype(int), world.days)
    rows["amount"] = (arr * customers.billing_months[client] / 12).round(2)
    return _with_credit_notes(rows, world)


def _with_credit_notes(invoices: pd.DataFrame, world: World) -> pd.DataFrame:
    """With notes on a part of some invoices, settled when these are paid."""
    rng, count = world.random("credit_notes"), len(invoices)
    issued = invoices["issued_on"] + rng.integers(4, 20, count)
    share, chosen = rng.choice([0.05, 0.1, 0.2], count), rng.random(count) < CREDIT_SHARE
    chosen &= (issued < np.minimum(invoices["paid_on"], world.days)) & world.lively
    amount = -(share * invoices["amount"]).round(2)
    notes = invoices.assign(issued_on=issued, due_on=issued, amount=amount)[chosen]
    rows = pd.concat([invoices, notes])
    return rows.sort_values(["client", "issued_on"], kind="stable", ignore_index=True)


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


def end_stages_at_churn(batch: Batch) -> pd.DataFrame:
    """The spells until churn, and from the customer's return on; an exit after the portfolio's end is NEVER."""
    stages, days = batch.stages, batch.world.days
    until = batch.churn.churned[stages["client"]]
    stages, until = stages[stages["entered_at"] < until], until[stages["entered_at"] < until]
    cut = (stages["left_at"] >= until).to_numpy()
    exited = before(np.where(cut, until, stages["left_at"]), days)
    exit_to = stages["exit_to"].mask(cut, "churned").mask(exited == NEVER, None)
    last_day = np.minimum(until, days) - 1
    recorded = np.maximum(np.minimum(stages["recorded_at"], last_day), stages["entered_at"])
    stages = stages.assign(left_at=exited, exit_to=exit_to, recorded_at=recorded)
    client, day = batch.won_back["client"], batch.won_back["starts_on"]
    back = {"client": client, "stage": "active", "entered_at": day, "recorded_at": day}
    back |= {"left_at": NEVER, "exit_to": None, "automated": False, "reason": "contract"}
    if len(client):
        stages = pd.concat([stages, pd.DataFrame(back)])
    return stages.sort_values(["client", "entered_at"], kind="stable", ignore_index=True)


def draw_returns(batch: Batch) -> pd.DataFrame:
    """Customers that churned long ago and came back under a new contract: rows of ``contracts``."""
    churned, days, rng = batch.churn.churned, batch.world.days, batch.world.random("returns")
    rows = batch.contracts.rows
    held = rows[rows["starts_on"] < batch.churn.churned[rows["client"]]].groupby("client").last()
    able = held.index[(churned[held.index] > 60) & (churned[held.index] < days - 240)]
    count = batch.customers.count // ODD_CUSTOMERS_EACH * batch.world.lively
    client = np.sort(able.to_numpy()[rng.permutation(len(able))[:count]])
    starts_on = churned[client] + rng.integers(70, 160, len(client))
    again = held.reindex(client).reset_index(names="client")
    arr, seats = again["total_arr"], again["total_seats"]
    return again.assign(starts_on=starts_on, ends_on=starts_on + 365, arr=arr, seats=seats)


def _contracts(batch: Batch) -> pa.Table:
    """Contracts that begin before churn, and renewals signed before the customer decides to churn."""
    rows, customers, churn = batch.contracts.rows, batch.customers, batch.churn
    client = rows["client"].to_numpy()
    signed = (rows["signed_on"] < churn.decided[client]) & ~churn.has_churned[client]
    ahead = (rows["starts_on"] >= batch.world.days) & signed
    rows = rows[(rows["starts_on"] < batch.until[client]) | ahead]
    names = [_contract_names(batch, row) for row in rows.itertuples()]
    again = batch.won_back.assign(signed_on=batch.won_back["starts_on"])
    names += [(f"{customers.ids[client]}-again", None) for client in again["client"]]
    # what ended before the customer's return does not renew by itself any more
    renews = customers.auto_renews & (batch.back == NEVER)
    renews = [*renews[rows["client"]], *[False] * len(again)]
    rows = pd.concat([rows, again], ignore_index=True)
    seats = np.where(customers.withheld["seats"][rows["client"]], np.nan, rows["seats"])
    rows = rows.assign(seats=seats, arr=rows["arr"].astype(float), renews_on=rows["ends_on"])
    contract_id, replaces = (list(column) for column in zip(*names, strict=True))
    words = {"contract_id": contract_id, "replaces": replaces, "auto_renews": renews}
    currency = list(customers.currency[rows["client"]])
    return batch.table("contracts", **rows, **words, currency=currency)


def _contract_names(batch: Batch, row: Any) -> tuple[str, str | None]:
    """The contract's id, and those of the term before that an early renewal takes the place of."""

    def name(term: int, add_on: int) -> str:
        return f"{batch.customers.ids[row.client]}-{term}" + (f"-add{add_on}" if add_on else "")

    replaced = [name(row.term - 1, number) for number in range(row.replaced + 1)]
    return name(row.term, row.add_on), ";".join(replaced) or None


def _moves_until_churn(batch: Batch) -> pd.DataFrame:
    """With churn and return; who churns on trial had no ARR."""
    moves, again = batch.contracts.arr_moves, batch.won_back
    moves = moves[moves["on"] < batch.until[moves["client"]]]
    last = moves.groupby("client")["arr"].last()
    last = last[batch.churn.has_churned[last.index]]
    ends = {"client": last.index, "on": batch.churn.churned[last.index], "before": last, "arr": 0}
    returns = {
        "client": again["client"],
        "on": again["starts_on"],
        "before": 0,
        "arr": again["arr"],
    }
    parts = [(ends, "churn"), (returns, "new")]
    frames = [
        pd.DataFrame(part).assign(reason=reason) for part, reason in parts if len(part["client"])
    ]
    return pd.concat([moves, *frames], ignore_index=True).astype({"before": float, "arr": float})


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
    churns = churns.assign(stage="churned", automated=False, reason=batch.churn.reason[client])
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
