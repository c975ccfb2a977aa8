"""Customers: size, plan, terms, hidden weekly paths, interventions, and the planted segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from healthseg.demo import oracle
from healthseg.demo.scenarios import World, before, random_stream
from healthseg.demo.schema import (
    COMPANY_FIRST,
    COMPANY_LEGAL,
    COMPANY_SECOND,
    CSM_IDS,
    INDUSTRIES,
    INTERVENTIONS,
    NEVER,
    PLACES,
    PLANS,
    SUBSIDIARIES,
)

if TYPE_CHECKING:
    from healthseg.demo.portfolio import Batch

INDUSTRY_SHARES = (0.22, 0.16, 0.14, 0.12, 0.12, 0.08, 0.09, 0.07)
# a seat's yearly price, by plan
SEAT_PRICE = np.array([1_900.0, 3_000.0, 4_400.0])
# shares of the terms by plan
TERM_MONTHS = np.array([1, 12, 24, 36])
TERM_SHARES = np.array([[0.52, 0.48, 0, 0], [0.10, 0.80, 0.06, 0.04], [0, 0.64, 0.18, 0.18]])
# yearly terms that renew by themselves; monthly ones all do
AUTO_RENEWS_SHARE = 0.3
# of a seat, for customers in North America
DOLLAR_PRICE, DOLLAR_REGION = 1.1, "North America"
# of those who signed up since the portfolio began: in the last weeks
NEWEST_SHARE, NEWEST_DAYS = 0.22, 40
# a portfolio of so many customers has an account that works through the API alone, and one with subsidiaries
ODD_CUSTOMERS_EACH = 80
# inputs that a share of the customers never delivers: share, table, column
WITHHELD = {
    "surveys": (0.15, "surveys", None),
    "tickets": (0.06, "tickets", None),
    "seats": (0.05, "contracts", "seats"),
    "invoices": (0.06, "invoices", None),
}

PATHS = ("breadth", "frequency", "sessions", "features", "support", "payment", "satisfaction")
# days after which a path's correlation has fallen to 1/e
MEMORY_DAYS = 190.0
# the part of a path's variance that never changes
STATIC_SHARE = 0.50
# squared correlation of each path with the common factor
COMMON = np.array([0.85, 0.85, 0.50, 0.85, 0.92, 0.92, 0.92])

# interventions: customers whose common factor is below LOW get one, at most one a quarter
LOW, RECOVERED = -0.9, -0.25
INTERVENTION_CHANCE_A_WEEK, LIVELY_CHANCE = 0.20, 0.35
QUARTER_WEEKS = 13
# on the usage paths, by kind of intervention
EFFECT, EFFECT_WEEKS = np.array([0.8, 0.0, 0.3]), 12

# shifts of breadth, frequency, sessions, features by segment; the part of the paths' sd that stays
SEGMENT_SHIFTS = np.array(
    [[1.5, 1.5, 1.6, 1.6], [-1.5, -1.4, -1.2, 1.8], [1.5, -1.5, -1.2, -1.9], [-1.5, 1.5, 1.6, -1.9]]
)
SD_WITHIN_SEGMENT = 0.18
SEGMENTS = len(SEGMENT_SHIFTS)
SEGMENT_METRICS = (
    "seat_utilisation",
    "stickiness_30d",
    "sessions_per_user_per_week_28d",
    "feature_adoption_rate_30d",
)


@dataclass
class Customers:
    """One entry per customer; days before the portfolio's first day are negative."""

    # 1 … of the whole portfolio: ids are built from it
    number: np.ndarray
    signup: np.ndarray
    zone: np.ndarray
    industry: np.ndarray
    # at signup, and the day of the change to the next plan
    plan: np.ndarray
    upgraded: np.ndarray
    # at signup; price per seat and year
    seats: np.ndarray
    price: np.ndarray
    # planted segment, or -1
    segment: np.ndarray
    currency: np.ndarray
    uses_api: np.ndarray
    # no person uses the product
    api_only: np.ndarray
    # of the contracts, and whether they renew without a new one
    term_months: np.ndarray
    auto_renews: np.ndarray
    billing_months: np.ndarray
    csm: np.ndarray
    withheld: dict[str, np.ndarray]

    @property
    def count(self) -> int:
        return len(self.number)

    @property
    def ids(self) -> np.ndarray:
        return np.array([f"cs_client_{number:03d}" for number in self.number], object)

    @property
    def first_day(self) -> np.ndarray:
        """The first day in the portfolio."""
        return np.maximum(self.signup, 0)

    def signed_up(self, days: int) -> np.ndarray:
        """Customers × days: whether the customer has signed up."""
        return np.arange(days)[None, :] >= self.first_day[:, None]


def draw_customers(world: World, first: int, count: int) -> Customers:
    rng = world.random("customers")
    seats = np.clip(np.exp(rng.normal(2.3, 0.82, count)), 3, 300).round().astype(int)
    if world.segments:
        seats = np.clip(np.exp(rng.normal(3.3, 0.25, count)), 15, 60).round().astype(int)
    plan = np.clip(np.digitize(seats * np.exp(rng.normal(0, 0.35, count)), [9, 28]), 0, 2)
    # seven or eight of ten signed up before the portfolio begins
    old = -rng.integers(20, 1_000, count)
    latest = world.days - 5 if world.lively else min(400, world.days - 60)
    recent = rng.integers(5, max(6, latest), count)
    own = world.random("terms")
    if world.lively:
        newest = np.maximum(5, world.days - 4 - own.integers(0, NEWEST_DAYS, count))
        recent = np.where(own.random(count) < NEWEST_SHARE, newest, recent)
    signup = np.where(rng.random(count) < (0.72 if world.lively else 0.82), old, recent)
    upgrades = (rng.random(count) < 0.10) & (plan < 2) & world.planted & (not world.segments)
    upgraded = np.maximum(signup, 0) + rng.integers(60, 400, count)
    plan = np.full(count, 1) if world.segments else plan
    segment = rng.integers(0, SEGMENTS, count)
    withheld = {name: rng.random(count) < share for name, (share, *_) in WITHHELD.items()}
    zone = rng.choice(len(PLACES), count, p=[share for *_, share in PLACES])
    in_dollars = np.array([region == DOLLAR_REGION for region, _, _ in PLACES])[zone] & world.lively
    terms = _draw_terms(own, world, plan, signup)
    return Customers(
        number=np.arange(first, first + count) + 1,
        signup=signup,
        zone=zone,
        industry=rng.choice(len(INDUSTRIES), count, p=INDUSTRY_SHARES),
        plan=plan,
        upgraded=np.where(upgrades, before(upgraded, world.days - 30), NEVER),
        seats=seats,
        price=SEAT_PRICE[plan]
        * np.exp(rng.normal(0, 0.25, count))
        * np.where(in_dollars, DOLLAR_PRICE, 1),
        segment=segment if world.segments else np.full(count, -1),
        currency=np.where(in_dollars, "USD", "EUR").astype(object),
        uses_api=(rng.random(count) < 0.35) | terms["api_only"],
        billing_months=np.where(
            terms["term_months"] == 1, 1, rng.choice([1, 3, 12], count, p=[0.62, 0.26, 0.12])
        ),
        **terms,
        csm=np.clip(
            np.digitize(seats, [5, 12, 40, 90]) * 2 - rng.integers(0, 2, count), 0, len(CSM_IDS) - 1
        ),
        withheld=withheld,
    )


def _draw_terms(
    rng: np.random.Generator, world: World, plan: np.ndarray, signup: np.ndarray
) -> dict[str, np.ndarray]:
    """The months of a term, whether it renews by itself, and who works through the API alone."""
    count = len(plan)
    if not world.lively:
        return {"term_months": np.full(count, 12)} | dict.fromkeys(
            ("auto_renews", "api_only"), np.zeros(count, bool)
        )
    steps = np.cumsum(TERM_SHARES, axis=1)[plan]
    months = TERM_MONTHS[(rng.random(count)[:, None] > steps).sum(axis=1)]
    renews = (months == 1) | ((months == 12) & (rng.random(count) < AUTO_RENEWS_SHARE))
    api_only, fits = (
        np.zeros(count, bool),
        np.flatnonzero((signup < -100) & (plan > 0) & (months > 1)),
    )
    if count >= ODD_CUSTOMERS_EACH:
        api_only[rng.permutation(fits)[:1]] = True
    return {"term_months": months, "auto_renews": renews, "api_only": api_only}


def draw_csm_changes(batch: Batch) -> np.ndarray:
    """The day on which a customer moves to the next manager."""
    world, customers = batch.world, batch.customers
    rng = world.random("csm")
    moves = rng.random(customers.count) < 0.12
    day = customers.first_day + rng.integers(30, 400, customers.count)
    return np.where(moves, before(day, world.days), NEVER)


def company_names(seed: int, numbers: np.ndarray) -> list[str]:
    """A name for each number, the same for the same seed, unique within 4,000."""
    total = len(COMPANY_FIRST) * len(COMPANY_SECOND) * len(COMPANY_LEGAL)
    names = []
    for number in numbers.tolist():
        code = (number * 1_637 + seed * 7) % total
        rest, legal = divmod(code, len(COMPANY_LEGAL))
        first, second = divmod(rest, len(COMPANY_SECOND))
        suffix = f" {number // total + 1}" if number // total else ""
        name = f"{COMPANY_FIRST[first]} {COMPANY_SECOND[second]} {COMPANY_LEGAL[legal]}"
        names.append(name + suffix)
    return names


@dataclass
class Latents:
    """Hidden weekly paths, customers × weeks × PATHS, each of mean 0 and sd 1, high = well."""

    paths: np.ndarray

    def of(self, name: str) -> np.ndarray:
        return self.paths[:, :, PATHS.index(name)]


def autoregression(
    rng: np.random.Generator, weeks: int, shape: tuple[int, ...], memory_days: float = MEMORY_DAYS
) -> np.ndarray:
    """Stationary paths of sd 1, the last axis weeks."""
    memory = np.exp(-7 / memory_days)
    out = rng.standard_normal((*shape, weeks)).astype(np.float32)
    fresh = np.float32(np.sqrt(1 - memory**2))
    for week in range(1, weeks):
        out[..., week] = memory * out[..., week - 1] + fresh * out[..., week]
    return out


def _path(rng: np.random.Generator, count: int, world: World) -> np.ndarray:
    static = rng.standard_normal((count, 1))
    changing = autoregression(rng, world.weeks, (count,))
    changing = np.sqrt(1 - STATIC_SHARE) * changing if world.planted else 0 * changing
    return np.sqrt(STATIC_SHARE) * static + changing


def draw_latents(batch: Batch) -> tuple[Latents, pd.DataFrame]:
    """The paths, with the effects of the interventions, and the interventions."""
    world, customers = batch.world, batch.customers
    rng, count = world.random("latents"), customers.count
    common = _path(rng, count, world)
    paths = np.empty((count, world.weeks, len(PATHS)), np.float32)
    for position, share in enumerate(COMMON):
        own = _path(rng, count, world)
        if not world.planted and PATHS[position] in ("support", "payment", "satisfaction"):
            share = 0.0
        share *= world.scenario.correlated
        paths[:, :, position] = np.sqrt(share) * common + np.sqrt(1 - share) * own
    if world.segments:
        shifts = SEGMENT_SHIFTS[customers.segment][:, None, :]
        paths[:, :, :4] = SD_WITHIN_SEGMENT * paths[:, :, :4] + shifts
    chance = LIVELY_CHANCE if world.lively else INTERVENTION_CHANCE_A_WEEK
    interventions = draw_interventions(rng, common, customers, chance)
    if world.planted and not world.segments:
        for row in interventions.itertuples():
            week = row.day // 7 + 1
            paths[row.client, week : week + EFFECT_WEEKS, :3] += EFFECT[row.kind]
    return Latents(paths), interventions


def draw_interventions(
    rng: np.random.Generator,
    series: np.ndarray,
    customers: Customers,
    chance: float = INTERVENTION_CHANCE_A_WEEK,
) -> pd.DataFrame:
    """Interventions where the weekly series (customers × weeks) is below LOW, at most one a quarter.

    client, kind, day, factor (the series then), recovered_without (whether it rises above RECOVERED
    within a quarter by itself): whoever is low now would have risen a little anyway.
    """
    weeks = series.shape[1]
    eligible = (series < LOW) & (rng.random(series.shape) < chance)
    eligible &= np.arange(weeks) * 7 > np.maximum(customers.signup, 21)[:, None]
    rows, last = [np.zeros((0, 2), int)], np.full(customers.count, -99)
    for week in range(1, weeks - 2):
        chosen = np.flatnonzero(eligible[:, week] & (week - last > QUARTER_WEEKS))
        last[chosen] = week
        rows.append(np.column_stack([chosen, np.full(len(chosen), week)]))
    client, week = np.concatenate(rows).T
    ahead = np.minimum(week[:, None] + np.arange(1, QUARTER_WEEKS + 1), weeks - 1)
    return pd.DataFrame(
        {
            "client": client,
            "kind": rng.integers(0, len(INTERVENTIONS), len(client)),
            "day": week * 7 + rng.integers(0, 5, len(client)),
            "factor": series[client, week],
            "recovered_without": (series[client[:, None], ahead] > RECOVERED).any(axis=1),
        }
    )


def weekly_standing(daily_events: np.ndarray, customers: Customers) -> np.ndarray:
    """Each week's events against the customer's own mean, in its own standard deviations."""
    weeks = daily_events.shape[1] // 7
    weekly = daily_events[:, : weeks * 7].reshape(customers.count, weeks, 7).sum(axis=2)
    lived = np.arange(weeks) * 7 >= customers.first_day[:, None]
    values, known = np.where(lived, weekly, np.nan), lived.any(axis=1)
    mean, sd = np.zeros(customers.count), np.ones(customers.count)
    mean[known] = np.nanmean(values[known], axis=1)
    sd[known] = np.maximum(np.nanstd(values[known], axis=1), 1e-9)
    return np.where(lived, (weekly - mean[:, None]) / sd[:, None], 0.0)


def _families(batch: Batch, rng: np.random.Generator, live: np.ndarray) -> np.ndarray:
    """The parent of each customer, or -1: large accounts with two or three others of their region."""
    customers, count = batch.customers, batch.customers.count
    parent = np.full(count, -1)
    by_size = np.flatnonzero(live)[np.argsort(-customers.seats[live], kind="stable")]
    for family in range(count // ODD_CUSTOMERS_EACH):
        head = by_size[2 * family]
        alike = live & (customers.zone == customers.zone[head]) & (parent < 0)
        alike[by_size[: 2 * (count // ODD_CUSTOMERS_EACH)]] = False
        parent[rng.permutation(np.flatnonzero(alike))[: 2 + family % 2]] = head
    return parent


def _customers(batch: Batch) -> pa.Table:
    """Today's snapshot: what churned customers had is overwritten."""
    customers, count = batch.customers, batch.customers.count
    gone = batch.churn.has_churned & (batch.back == NEVER)
    rows = batch.contracts.rows
    held = rows[rows["starts_on"] < batch.until[rows["client"]]]
    last = pd.concat([held, batch.won_back]).groupby("client").last()
    last = last.reindex(np.flatnonzero(~gone)).reindex(range(count))
    rng = random_stream(batch.world.seed, int(customers.number.min()), "extras")
    has_potential = rng.random(count) < 0.12
    potential = np.round(last["total_arr"] * rng.uniform(1.1, 1.9, count), -2)
    parent = np.where(rng.random(count) < 0.04, np.roll(np.arange(count), 3), -1)
    if batch.world.lively:
        parent = _families(batch, rng, ~gone & last["total_arr"].notna().to_numpy())
    names = np.array(company_names(batch.world.seed, customers.number), object)
    for child in np.flatnonzero((parent >= 0) & batch.world.lively):
        stem = names[parent[child]].rsplit(" ", 1)[0]
        choices = (f"{stem} {city}" for city in SUBSIDIARIES)
        names[child] = next((name for name in choices if name not in names), names[child])
    seats = np.where(customers.withheld["seats"], np.nan, last["total_seats"].where(~gone, 0))
    renewal = np.minimum(batch.terms.end_after(batch.world.days - 1), batch.contracts.lapsed)
    renewal = np.where(batch.back < NEVER, last["ends_on"], renewal)
    csm = (customers.csm + (batch.csm_changed < NEVER)) % len(CSM_IDS)
    return batch.table(
        "customers",
        client=np.arange(count),
        name=list(names),
        signup_date=customers.signup,
        industry=customers.industry,
        region=customers.zone,
        plan=last["plan"],
        # on trial there is none
        arr=last["total_arr"].where(~gone, 0.0),
        currency=list(customers.currency),
        seats=seats,
        renewal_date=np.where(last["ends_on"].isna(), NEVER, renewal).astype(int),
        churned_on=np.where(batch.back < NEVER, NEVER, batch.churn.churned),
        notice_on=np.where(batch.back < NEVER, NEVER, batch.churn.notice),
        csm_id=np.where(gone, -1, csm),
        timezone=customers.zone,
        parent=parent,
        strategic_value=np.where(gone, np.nan, rng.integers(1, 6, count)),
        potential_arr=np.where(has_potential, potential, np.nan),
    )


def _customer_changes(batch: Batch) -> pa.Table:
    customers = batch.customers
    moved = np.flatnonzero(batch.csm_changed < batch.until)
    upgraded = np.flatnonzero(customers.upgraded < batch.until)
    day = np.concatenate([batch.csm_changed[moved], customers.upgraded[upgraded]])
    csms = [CSM_IDS[(csm + 1) % len(CSM_IDS)] for csm in customers.csm[moved]]
    return batch.table(
        "customer_changes",
        client=np.concatenate([moved, upgraded]),
        field=["csm_id"] * len(moved) + ["plan"] * len(upgraded),
        value=csms + [PLANS[plan + 1] for plan in customers.plan[upgraded]],
        effective_on=day,
        recorded_at=day,
    )


def _interventions(batch: Batch) -> pa.Table:
    rows = batch.begun(batch.interventions, "day")
    return batch.table("interventions", **rows, happened_at=rows["day"])


def _true_interventions(batch: Batch) -> pa.Table:
    rows, world = batch.begun(batch.interventions, "day"), batch.world
    reason = "standing {:.2f} < {}, recovers above {}"
    return batch.truth(
        "interventions",
        **rows,
        on=rows["day"],
        why_given=[reason.format(factor, LOW, RECOVERED) for factor in rows["factor"]],
        effect_logit=EFFECT[rows["kind"]] * (world.planted and not world.segments),
    )


def _withheld(batch: Batch) -> pa.Table:
    customers = batch.customers
    rows = [
        (client, *WITHHELD[name][1:], "never handed over")
        for name, mask in customers.withheld.items()
        for client in np.flatnonzero(mask)
    ]
    lapsed = np.flatnonzero(batch.contracts.lapsed < batch.until)
    rows += [(client, "contracts", None, "renewal never entered") for client in lapsed]
    columns = pd.DataFrame(rows, columns=["client", "table", "column", "why"], dtype=object)
    return batch.truth("withheld", **columns, from_=None, to=None)


def _segments(batch: Batch) -> pa.Table:
    if not batch.world.segments:
        return batch.world.truth("segments")
    segment = [f"segment_{code + 1}" for code in batch.customers.segment]
    return batch.truth("segments", client_id=batch.customers.ids, segment=segment)


def tally(batch: Batch) -> dict[str, np.ndarray]:
    """The segments' counts, sums and sums of products of SEGMENT_METRICS on the last day."""
    if not batch.world.segments:
        return {}
    metrics = oracle.metrics(batch.inputs, np.array([batch.world.days - 1]), SEGMENT_METRICS)
    values = np.column_stack(list(metrics.values()))
    usable = ~np.isnan(values).any(axis=1) & (batch.until >= batch.world.days)
    groups = [values[usable & (batch.customers.segment == code)] for code in range(SEGMENTS)]
    return {
        "segment_n": np.array([len(rows) for rows in groups]),
        "segment_sum": np.array([rows.sum(axis=0) for rows in groups]),
        "segment_products": np.array([rows.T @ rows for rows in groups]),
    }


def _segment_centres(total: dict[str, np.ndarray], world: World) -> pa.Table:
    """The segments' centres; ``min_separation`` is the least Mahalanobis distance between two."""
    if not world.segments:
        return world.truth("segment_centres")
    n = np.maximum(total["segment_n"], 1)[:, None]
    mean = total["segment_sum"] / n
    within = total["segment_products"] - n[:, :, None] * mean[:, :, None] * mean[:, None, :]
    pooled = within.sum(axis=0) / max(n.sum() - SEGMENTS, 1)
    sd = np.sqrt(np.maximum(np.diagonal(within, axis1=1, axis2=2), 0) / np.maximum(n - 1, 1))
    apart = mean[:, None, :] - mean[None, :, :]
    squared = np.einsum("abi,ij,abj->ab", apart, np.linalg.pinv(pooled), apart)
    segment, metric = np.indices(mean.shape)
    return world.truth(
        "segment_centres",
        segment=[f"segment_{code + 1}" for code in segment.ravel()],
        metric=[SEGMENT_METRICS[code] for code in metric.ravel()],
        mean=mean.ravel(),
        sd_within=sd.ravel(),
        min_separation=float(np.sqrt(squared[np.triu_indices(SEGMENTS, 1)].min())),
    )


TABLES = {
    "customers": _customers,
    "customer_changes": _customer_changes,
    "interventions": _interventions,
}
TRUTH = {
    "interventions": _true_interventions,
    "withheld": _withheld,
    "segments": _segments,
}
LAWS = {"segment_centres": _segment_centres}
