"""Contracts, expansions and contractions, ARR, invoices and those who pay them late."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from healthseg.demo.customers import PRICE_PER_SEAT, Customers
from healthseg.demo.frame import STEP_DAYS, Frame, stream
from healthseg.demo.latents import Latents
from healthseg.demo.scenarios import Scenario

INVOICES_BACK_DAYS = 365  # before the portfolio's first day
EXPAND_AT, EXPAND_LOG_ODDS, EXPAND_SLOPE = 0.85, -3.9, 5.0


@dataclass
class Money:
    """Frames with places and day numbers; ``p_expand`` is customers × steps, over 30 days."""

    contracts: pd.DataFrame  # client, starts, ends, signed, arr, seats, plan, renews
    moves: pd.DataFrame  # client, day, before, arr, reason, contract
    p_expand: np.ndarray
    expanded: np.ndarray  # customers × steps: the day, or -1
    lapsed: np.ndarray  # customer → day from which a renewal was never entered, or -1

    def seats_by_day(self, who: Customers, days: Frame) -> np.ndarray:
        """Customers × days: the seats of the contract of the day, NaN where there is none."""
        out = np.full((who.count, days.days), np.nan)
        rows = self.contracts.sort_values(["client", "starts"], kind="stable")
        for client, starts, ends, seats in rows[["client", "starts", "ends", "seats"]].to_numpy():
            out[int(client), max(int(starts), 0) : max(int(ends), 0)] = seats
        out[who.withheld["seats"]] = np.nan
        return out


def _changes(rng, who: Customers, users_30d: np.ndarray, days: Frame, world: Scenario):
    """Seats step by step: more where they are nearly all in use, fewer at a renewal where few are."""
    seats = who.seats.astype(float)
    p_expand, expanded = (
        np.zeros((who.count, len(days.steps))),
        np.full((who.count, len(days.steps)), -1),
    )
    events = []
    for place, step in enumerate(days.steps):
        used = users_30d[:, step - 1] / seats
        odds = EXPAND_LOG_ODDS + (
            EXPAND_SLOPE * (np.clip(used, 0.2, 1.3) - EXPAND_AT) if world.planted else 0
        )
        signed = who.signup < step - 60
        p_expand[:, place] = signed / (1 + np.exp(-odds))
        day = step + rng.integers(0, STEP_DAYS, who.count)
        grows = (rng.random(who.count) < p_expand[:, place]) & (day < days.days)
        expanded[grows, place] = day[grows]
        anniversary = who.signup + 365 * np.ceil((step - who.signup) / 365).astype(int)
        shrinks = (
            (anniversary < step + STEP_DAYS)
            & (anniversary < days.days)
            & (used < 0.45)
            & ~grows
            & signed
        )
        shrinks &= (rng.random(who.count) < 0.35) & (seats > 5)
        more = np.maximum(1, (seats * rng.uniform(0.12, 0.35, who.count)).round())
        fewer = np.maximum(1, (seats * rng.uniform(0.12, 0.30, who.count)).round())
        seats = seats + np.where(grows, more, 0) - np.where(shrinks, fewer, 0)
        for client in np.flatnonzero(grows | shrinks):
            when, why = (day, "expansion") if grows[client] else (anniversary, "contraction")
            events.append((client, int(when[client]), int(seats[client]), why))
    return p_expand, expanded, events


def _terms(who: Customers, events: list, days: Frame):
    """Each customer's dated terms: (client, day, seats or None, plan or None, reason)."""
    rows = [
        (client, int(who.signup[client]), int(who.seats[client]), int(who.plan[client]), "new")
        for client in range(who.count)
    ]
    rows += [(client, day, seats, None, why) for client, day, seats, why in events]
    rows += [
        (client, int(who.upgraded[client]), None, int(who.plan[client]) + 1, "expansion")
        for client in np.flatnonzero(who.upgraded >= 0)
    ]
    for client in range(who.count):
        rows += [
            (client, day, None, None, "renewal")
            for day in range(int(who.signup[client]) + 365, days.days + 120, 365)
        ]
    order = {"new": 0, "contraction": 1, "expansion": 2, "renewal": 3}
    return sorted(rows, key=lambda row: (row[0], row[1], order[row[4]]))


def _contract_frame(who: Customers, terms: list) -> pd.DataFrame:
    """Every dated change is a contract row; rows of one customer and day become one, the last state."""
    rows, seats, plan, price = {}, 0, 0, 0.0
    for client, day, new_seats, new_plan, why in terms:
        seats = seats if new_seats is None else new_seats
        plan = plan if new_plan is None else new_plan
        signup = int(who.signup[client])
        price = who.price[client] * PRICE_PER_SEAT[plan] / PRICE_PER_SEAT[who.plan[client]]
        year_end = signup + 365 * ((day - signup) // 365 + 1)
        earlier = rows.get((client, day), (None,) * 7)[6]
        why = (
            earlier if earlier in ("expansion", "contraction", "new") and why == "renewal" else why
        )
        rows[client, day] = (client, day, year_end, round(price * seats), seats, plan, why)
    out = pd.DataFrame(
        list(rows.values()), columns=["client", "starts", "ends", "arr", "seats", "plan", "why"]
    )
    return out.astype(
        {name: np.int64 for name in ("client", "starts", "ends", "arr", "seats", "plan")}
    )


def _moves(contracts: pd.DataFrame, days: Frame) -> pd.DataFrame:
    before = contracts.groupby("client")["arr"].shift(fill_value=0)
    moved = (contracts["arr"] != before) & (contracts["starts"] < days.days)
    rows = contracts.assign(before=before, contract=np.arange(len(contracts)))[moved]
    reason = np.where(
        rows["before"] == 0,
        "new",
        np.where(rows["arr"] > rows["before"], "expansion", "contraction"),
    )
    return pd.DataFrame(
        {
            "client": rows["client"],
            "day": rows["starts"],
            "before": rows["before"],
            "arr": rows["arr"],
            "reason": reason,
            "contract": rows["contract"],
        }
    ).reset_index(drop=True)


def draw_money(
    seed: int, chunk: int, who: Customers, users_30d: np.ndarray, days: Frame, world: Scenario
) -> Money:
    rng = stream(seed, chunk, "money")
    p_expand, expanded, events = _changes(rng, who, users_30d, days, world)
    contracts = _contract_frame(who, _terms(who, events, days))
    contracts["signed"] = contracts["starts"] - rng.integers(0, 25, len(contracts)) * (
        contracts["why"] == "renewal"
    )
    contracts["renews"] = contracts["ends"]
    contracts = contracts[contracts["signed"] < days.days].reset_index(drop=True)
    renewal = days.days - 20 - rng.integers(0, 80, who.count)
    lapsing = rng.random(who.count) < (0.14 if world.planted else 0)
    last = who.signup + 365 * ((renewal - who.signup) // 365)
    lapsed = np.where(lapsing & (last > days.days - 200) & (last > who.signup), last, -1)
    gone = (lapsed[contracts["client"]] >= 0) & (contracts["starts"] >= lapsed[contracts["client"]])
    contracts = contracts[~gone].reset_index(drop=True)
    return Money(contracts, _moves(contracts, days), p_expand, expanded, lapsed)


def draw_invoices(
    seed: int, chunk: int, who: Customers, money: Money, latents: Latents, days: Frame
) -> pd.DataFrame:
    """client, issued, due, paid (day numbers, -1 while unpaid within the portfolio), amount."""
    rng = stream(seed, chunk, "invoices")
    client, issued = [], []
    for one in np.flatnonzero(~who.withheld["invoices"]):
        every = {1: 30.4375, 3: 91.3125, 12: 365.25}[int(who.billing_months[one])]
        first = max(0, int(np.ceil((-INVOICES_BACK_DAYS - who.signup[one]) / every)))
        due = who.signup[one] + (np.arange(first, first + 1_000) * every).astype(int)
        due = due[due < days.days]
        client.append(np.full(len(due), one))
        issued.append(due)
    client, issued = np.concatenate(client), np.concatenate(issued)
    rows = pd.DataFrame(
        {"client": client, "issued": issued, "row": np.arange(len(client))}
    ).sort_values("issued", kind="stable")
    states = money.contracts.sort_values("starts", kind="stable")
    rows = pd.merge_asof(
        rows, states[["client", "starts", "arr"]], left_on="issued", right_on="starts", by="client"
    )
    rows = rows.sort_values("row", ignore_index=True)
    well = latents.of("payment")[client, np.clip(issued // 7, 0, days.weeks - 1)]
    late = np.exp(2.1 - 0.9 * well + rng.normal(0, 0.6, len(client))) - 8
    never = rng.random(len(client)) < 0.015 * np.exp(-0.8 * well)
    delay = (
        np.where(never, rng.integers(60, 150, len(client)), np.clip(late, -25, 90))
        .round()
        .astype(int)
    )
    paid = issued + 30 + delay
    return pd.DataFrame(
        {
            "client": client,
            "issued": issued,
            "due": issued + 30,
            "paid": np.where(paid < days.days, paid, -(10**6)),
            "amount": (rows["arr"].to_numpy() * who.billing_months[client] / 12).round(2),
        }
    )
