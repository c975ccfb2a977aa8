"""Churn: a hazard on 30-day steps, a function of what is measured and a hidden frailty."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from healthseg.demo import oracle
from healthseg.demo.adoption import CONFOUNDED, SEQUENCES
from healthseg.demo.lifecycle import DECISION_DAYS
from healthseg.demo.scenarios import STEP_DAYS, Scenario, World, before
from healthseg.demo.schema import (
    FEATURE_CODE,
    FEATURE_NAMES,
    HAZARD_FIRST,
    HAZARD_LAST,
    NEVER,
    labels,
    table,
)

if TYPE_CHECKING:
    from healthseg.demo.portfolio import Batch

NOTICE_SHARE, NOTICE_DAYS = 0.90, (20, 60)
# added to everybody's log-odds after the drift; factors of the drivers' coefficients then
DRIFT_LOG_ODDS = 0.4
DRIFT_FACTORS = {"trend": 0.2, "seats": 0.3, "habit": 0.3, "payment": 2.5, "tickets": 2.0}
OF_PERSONS = (*tuple(oracle.METRICS)[:5], "days_since_last_person_event")
# what a customer gives as its reason where no driver was bad
OTHER_REASONS = ("price", "competitor", "budget_cut", "change_of_owner")
CONTINUATIONS = 200
FRAILTY_NODES = 31
# a continuation's residual comes from the 16 % of paths with the nearest expectation
NEAR = 0.08


@dataclass(frozen=True)
class Term:
    """``coefficient × form(metric)``; linear and log forms are centred and scaled, missing ones are 0.

    linear (x - center)/scale · log (log(x + .25) - center)/scale · threshold 1[x ≥ knot] · adopted
    1[x = 1] · interaction: the product of two linear terms, ``metric`` names both.
    """

    driver: str
    metric: str
    form: str
    coefficient: float
    center: float = 0.0
    scale: float = 1.0
    knot: float = np.nan
    first_step: int = 0
    last_step: int = NEVER

    @property
    def direction(self) -> int:
        """+1 where more of the metric means more churn."""
        return int(np.sign(self.coefficient))

    def value(self, metric: np.ndarray) -> np.ndarray:
        if self.form == "log":
            return (np.log(metric + 0.25) - self.center) / self.scale
        if self.form == "threshold":
            return np.where(np.isnan(metric), np.nan, metric >= self.knot)
        return np.clip((metric - self.center) / self.scale, -3, 3)


BASE_TERMS = (
    Term("trend", "usage_vs_own_baseline", "log", -0.20, 0.19, 0.28),
    Term("seats", "seat_utilisation", "linear", -0.34, 0.80, 0.25),
    Term("habit", "stickiness_30d", "linear", -0.32, 0.24, 0.12),
    Term("promoters", "nps_365d", "linear", -0.36, 15.0, 62.0),
    Term("breadth", "feature_adoption_rate_30d", "linear", -0.34, 0.58, 0.22),
    Term("tickets", "open_high_tickets", "linear", 0.28, 0.2, 0.75),
    Term("payment", "worst_days_overdue", "linear", 0.26, 4.0, 14.0),
    Term("silence", "days_since_last_person_event", "threshold", 0.70, knot=5.0),
    Term("unused_and_broken", "seat_utilisation*open_high_tickets", "interaction", -0.12),
)


def terms(scenario: Scenario) -> list[Term]:
    """The terms in force; ``drift`` has two sets, one after the other."""
    factors, scale = dict(scenario.driver_factors), scenario.driver_scale
    rows = [
        replace(term, coefficient=term.coefficient * scale * factors.get(term.driver, 1.0))
        for term in BASE_TERMS
    ]
    if scenario.size_log_odds:
        rows.append(Term("size", "log_seats", "linear", scenario.size_log_odds, 2.3, 0.82))
    rows += [
        Term(f"adopted_{feature}", f"adopted_30d[{feature}]", "adopted", effect)
        for feature, effect in scenario.feature_log_odds
    ]
    if scenario.mid_term_log_odds:
        rows.append(Term("mid_term", "in_mid_term", "adopted", scenario.mid_term_log_odds))
    if scenario.sequence_log_odds:
        rows.append(Term("sequence", "sequence[sequence_1]", "adopted", scenario.sequence_log_odds))
    drift = scenario.drift_from_step
    if drift is None:
        return rows
    early, late = [], []
    for term in rows:
        coefficient = term.coefficient * DRIFT_FACTORS.get(term.driver, 1.0)
        early.append(replace(term, last_step=drift - 1))
        late.append(replace(term, first_step=drift, coefficient=coefficient))
    return early + late


def drivers(batch: Batch) -> dict[str, np.ndarray]:
    """Each metric of the terms as of the day before each step, customers × steps.

    What persons do is not counted of a customer without persons.
    """
    inputs, world = batch.inputs, batch.world
    at = world.steps - 1
    out = oracle.metrics(inputs, at)
    for metric in OF_PERSONS:
        out[metric][batch.customers.api_only] = np.nan
    for metric in (term.metric for term in terms(world.scenario)):
        if metric == "in_mid_term":
            values = batch.contracts.in_mid_term(batch.terms, at)
        elif metric == "log_seats":
            values = np.log(inputs.seats[:, at])
        elif metric == "sequence[sequence_1]":
            codes = [FEATURE_CODE[feature] for feature in SEQUENCES["sequence_1"][0]]
            values = oracle.in_order(inputs, codes, at)
        elif metric.startswith("adopted_30d["):
            code = FEATURE_CODE[metric.removeprefix("adopted_30d[").removesuffix("]")]
            values = oracle.adopted_30d(inputs, at)[:, code].astype(float)
        else:
            continue
        out[metric] = np.where(inputs.signup[:, None] <= at, values, np.nan)
    return out


def contributions(values: dict[str, np.ndarray], world: World) -> dict[str, np.ndarray]:
    """Each driver's part of the log-odds, customers × steps; 0 where its metric is missing."""
    in_force = terms(world.scenario)
    by_metric = {term.metric: term for term in in_force if term.form in ("linear", "log")}
    out: dict[str, np.ndarray] = {}
    for term in in_force:
        if term.form == "interaction":
            left, right = (by_metric[name].value(values[name]) for name in term.metric.split("*"))
            value = left * right
        else:
            value = term.value(values[term.metric])
        step = np.arange(value.shape[1])
        applies = ~np.isnan(value) & (step >= term.first_step) & (step <= term.last_step)
        out[term.driver] = out.get(term.driver, 0) + np.where(
            applies, term.coefficient * value, 0.0
        )
    return out


def _after_drift(world: World) -> np.ndarray:
    """Whether each step lies after the drift."""
    drift = world.scenario.drift_from_step
    return np.arange(len(world.steps)) >= (len(world.steps) if drift is None else drift)


def measured_log_odds(values: dict[str, np.ndarray], world: World) -> np.ndarray:
    """Customers × steps: the log-odds of churn that the drivers give, the intercept included."""
    total = sum(contributions(values, world).values())
    return world.scenario.intercept + total + DRIFT_LOG_ODDS * _after_drift(world)


@dataclass
class Churn:
    """Customers × steps, and per customer the days (NEVER: not within the portfolio)."""

    log_odds: np.ndarray
    frailty: np.ndarray
    hazard: np.ndarray
    at_risk: np.ndarray
    p30: np.ndarray
    p90: np.ndarray
    p90_mc_se: np.ndarray
    # position of the step in which the customer decides to churn, or -1, and the day
    step: np.ndarray
    decided: np.ndarray
    notice: np.ndarray
    churned: np.ndarray
    # the day of churn where it lies after the portfolio
    would_have_churned: np.ndarray
    reason: np.ndarray

    @property
    def has_churned(self) -> np.ndarray:
        return self.churned < NEVER


def _stated_reasons(drivers: dict[str, np.ndarray], step: np.ndarray) -> np.ndarray:
    """What each customer gives as its reason to churn: the worst of its drivers then, else what no table shows."""
    rows = np.arange(len(step))
    at = {name: values[rows, step] for name, values in drivers.items()}
    silent = (at["days_since_last_person_event"] >= 14) | (at["seat_utilisation"] < 0.5)
    bad = {
        "unpaid_invoices": at["worst_days_overdue"] >= 30,
        "support_quality": at["open_high_tickets"] >= 2,
        "low_usage": silent | (at["usage_vs_own_baseline"] < 0.7),
        "missing_features": at["nps_365d"] < 0,
    }
    others = np.array(OTHER_REASONS)[rows % len(OTHER_REASONS)]
    return np.select(list(bad.values()), list(bad), others)


def logistic(log_odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-log_odds))


def draw_churn(batch: Batch) -> Churn:
    world, values, count = batch.world, batch.drivers, batch.customers.count
    rng, scenario = world.random("exits"), world.scenario
    log_odds = measured_log_odds(values, world)
    frailty = rng.normal(0, 1, count) * scenario.frailty_sd
    hazard = logistic(log_odds + frailty[:, None])
    at_risk, step, decided = _decisions(rng, batch, hazard)
    gives_notice = rng.random(count) < NOTICE_SHARE
    lag = rng.integers(NOTICE_DAYS[0], NOTICE_DAYS[1] + 1, count)
    churned = np.where(decided < NEVER, decided + np.where(gives_notice, lag, 0), NEVER)
    if scenario.mid_term_log_odds:
        churned, gives_notice = _at_the_end_of_terms(batch, decided, churned, gives_notice)
    nodes, posterior = _frailty_posterior(log_odds, at_risk, scenario.frailty_sd)
    expected = (logistic(log_odds[:, :, None] + nodes) * posterior).sum(axis=2)
    parts = contributions(values, world)
    parts.pop("mid_term", None)
    frailties = nodes, np.cumsum(posterior, axis=2)
    p90, p90_mc_se = _three_steps(batch, [*parts.values()], log_odds, at_risk, *frailties)
    return Churn(
        log_odds,
        frailty,
        hazard,
        at_risk,
        np.where(at_risk, expected, np.nan),
        p90,
        p90_mc_se,
        step,
        decided,
        np.where(gives_notice, before(decided, world.days), NEVER),
        before(churned, world.days),
        np.where(churned < world.days, NEVER, churned),
        _stated_reasons(values, step),
    )


def _decisions(
    rng: np.random.Generator, batch: Batch, hazard: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who is at risk in each step, in which step each customer decides to churn, and the day."""
    customers, steps = batch.customers, batch.world.steps
    at_risk, step_of = np.zeros(hazard.shape, bool), np.full(customers.count, -1)
    uniform = rng.random(hazard.shape)
    # who works through the API alone, or on without a contract, stays
    can_churn = ~customers.api_only & ((batch.contracts.lapsed == NEVER) | (not batch.world.lively))
    for position, step in enumerate(steps):
        at_risk[:, position] = (step_of < 0) & (customers.signup <= step - 1) & can_churn
        step_of[at_risk[:, position] & (uniform[:, position] < hazard[:, position])] = position
    day = steps[step_of] + rng.integers(0, STEP_DAYS, customers.count)
    if batch.world.scenario.mid_term_log_odds:
        # who leaves at a renewal decides before it
        ends = _term_ends(batch, steps[step_of] - 1)
        day = np.where(
            ends < day, steps[step_of] + (day - steps[step_of]) % (ends - steps[step_of] + 1), day
        )
    return at_risk, step_of, np.where(step_of < 0, NEVER, day)


def _term_ends(batch: Batch, day: np.ndarray) -> np.ndarray:
    """The end of the term of a year or more that runs on each customer's day, NEVER without one."""
    terms = batch.terms
    running = (terms.begins <= day) & (day < batch.contracts.lapsed) & (terms.length > 31)
    return np.where(running, terms.end_after(day), NEVER)


def _at_the_end_of_terms(
    batch: Batch, decided: np.ndarray, churned: np.ndarray, gives_notice: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Who decides in the months before a renewal churns at the renewal; who pays by the month, at a month's end."""
    terms, day = batch.terms, np.minimum(decided, batch.world.days)
    ends, begun = _term_ends(batch, day), terms.begins <= day
    at_renewal = (decided < NEVER) & (ends - day <= DECISION_DAYS)
    churned = np.where(at_renewal, ends, churned)
    gives_notice = (gives_notice | at_renewal) & begun
    by_month = begun & gives_notice & (terms.length <= 31) & (decided < NEVER)
    month_ends = terms.end_after(day + NOTICE_DAYS[0] - 1)
    churned = np.where(by_month, month_ends, churned)
    return np.where(begun, churned, decided), gives_notice


def _frailty_posterior(
    log_odds: np.ndarray, at_risk: np.ndarray, sd: float
) -> tuple[np.ndarray, np.ndarray]:
    """Frailty's nodes, and their weights given retention until each step: customers × steps × nodes."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(FRAILTY_NODES)
    stays = np.log1p(-logistic(log_odds[:, :, None] + sd * nodes)) * at_risk[:, :, None]
    history = np.cumsum(stays, axis=1) - stays
    log = np.log(weights / weights.sum()) + history
    posterior = np.exp(log - log.max(axis=2, keepdims=True))
    return sd * nodes, posterior / posterior.sum(axis=2, keepdims=True)


def _three_steps(
    batch: Batch,
    parts: list[np.ndarray],
    log_odds: np.ndarray,
    at_risk: np.ndarray,
    nodes: np.ndarray,
    cumulated: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The chance to decide within three steps, and its Monte Carlo error, by continuations.

    The law of the next two log-odds is learnt from all paths as they run without churn, which only
    the generator has: a linear mean given the parts of this step and the mean so far, and residuals
    of paths with a similar mean, since those who do badly also vary more. What the terms of contracts
    give is known ahead.
    """
    world, rng = batch.world, batch.world.random("continuations")
    ahead_at = np.arange(world.steps[0], world.steps[-1] + 2 * STEP_DAYS + 1, STEP_DAYS) - 1
    mid_term = batch.contracts.in_mid_term(batch.terms, ahead_at) * world.scenario.mid_term_log_odds
    log_odds = log_odds - mid_term[:, : log_odds.shape[1]]
    known = batch.customers.signup[:, None] <= world.steps - 1
    so_far = np.cumsum(log_odds * known, axis=1) / np.maximum(np.cumsum(known, axis=1), 1)
    drifted = np.broadcast_to(_after_drift(world) * 1.0, log_odds.shape)
    features = np.stack([*parts, so_far, drifted], axis=2)

    client, step = np.nonzero(known[:, :-2])
    ahead = np.column_stack([log_odds[client, step + 1], log_odds[client, step + 2]])
    design = _design(features, client, step)
    law, *_ = np.linalg.lstsq(design, ahead, rcond=None)
    mean = design @ law
    order = np.argsort(mean[:, 0], kind="stable")
    known_means, residuals = mean[order, 0], (ahead - mean)[order]

    client, step = np.nonzero(at_risk)
    mean, rows = _design(features, client, step) @ law, len(client)
    uniform = (np.arange(CONTINUATIONS) + rng.random((rows, 1))) / CONTINUATIONS
    node = (uniform[:, :, None] > cumulated[client, step][:, None, :]).sum(axis=2)
    frailty = nodes[np.minimum(node, FRAILTY_NODES - 1)]
    rank = np.clip(np.searchsorted(known_means, mean[:, 0]) / len(known_means), NEAR, 1 - NEAR)
    near = rank[:, None] + rng.uniform(-NEAR, NEAR, (rows, CONTINUATIONS))
    residual = residuals[(np.clip(near, 0, 1 - 1e-9) * len(residuals)).astype(int)]
    retained = 1 - logistic((log_odds + mid_term[:, :-2])[client, step][:, None] + frailty)
    for next_step in (0, 1):
        odds = mean[:, next_step, None] + residual[:, :, next_step] + frailty
        odds = odds + mid_term[client, step + next_step + 1][:, None]
        retained = retained * (1 - logistic(odds))
    p90, error = np.full(log_odds.shape, np.nan), np.full(log_odds.shape, np.nan)
    p90[client, step] = 1 - retained.mean(axis=1)
    error[client, step] = retained.std(axis=1, ddof=1) / np.sqrt(CONTINUATIONS)
    return p90, error


def _design(features: np.ndarray, client: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The features, and which step it is; the last ones, without continuations, count as one."""
    last = features.shape[1] - 3
    is_step = np.minimum(step, last)[:, None] == np.arange(last + 1)
    return np.column_stack([features[client, step], is_step])


def _hazard(batch: Batch) -> pa.Table:
    """A row per customer and step while the customer is live on the day before the step."""
    churn, world = batch.churn, batch.world
    client, step = np.nonzero(batch.live_before_steps)
    at_risk = churn.at_risk[client, step]
    values: dict[str, Any] = {
        "client_id": labels(batch.customers.ids, client),
        "step_start": world.steps[step],
        "at_risk": at_risk,
        **{f"d_{name}": metric[client, step] for name, metric in batch.drivers.items()},
        "eta_measured": churn.log_odds[client, step],
        "frailty": churn.frailty[client],
        "h_true": np.where(at_risk, churn.hazard[client, step], np.nan),
        "p30": churn.p30[client, step],
        "p90": churn.p90[client, step],
        "p90_mc_se": churn.p90_mc_se[client, step],
        "decided": at_risk & (churn.step[client] == step),
    }
    driver_columns = {f"d_{name}": "f" for name in batch.drivers}
    return table({**HAZARD_FIRST, **driver_columns, **HAZARD_LAST}, world.start, values)


def _exits(batch: Batch) -> pa.Table:
    """Customers who have churned, or have decided to by the portfolio's end."""
    churn, rows = batch.churn, np.flatnonzero(batch.churn.step >= 0)
    return batch.truth(
        "exits",
        client=rows,
        notice_on=churn.notice[rows],
        churned_on=churn.churned[rows],
        step=churn.step[rows],
        would_have_churned_on=churn.would_have_churned[rows],
    )


def _hazard_terms(total: dict[str, np.ndarray], world: World) -> pa.Table:
    rows = terms(world.scenario)
    names = world.truth("hazard_terms").column_names
    return world.truth(
        "hazard_terms", **{name: [getattr(term, name) for term in rows] for name in names}
    )


def tally(batch: Batch) -> dict[str, np.ndarray]:
    """By feature: steps, churns and expected churns of customers that have adopted it, or not."""
    churn, steps = batch.churn, batch.world.steps
    adopted = oracle.adopted_30d(batch.inputs, steps - 1)
    listed = batch.adoption.eligible[:, :, None] <= steps - 1
    rows, hazard = listed & churn.at_risk[:, None, :], churn.hazard[:, None, :]
    exposed, unexposed = adopted & rows, ~adopted & rows
    decided = (churn.step[:, None] == np.arange(len(steps)))[:, None, :]
    sums = {
        "exposed": exposed,
        "unexposed": unexposed,
        "share_of_listed": exposed / np.maximum(listed.sum(axis=1), 1)[:, None],
        "exposed_events": hazard * exposed,
        "other_events": hazard * unexposed,
        "events": decided & rows,
    }
    out = {name: values.sum(axis=(0, 2)) for name, values in sums.items()}
    return {"products": _products(batch, adopted, rows), **out}


def _products(batch: Batch, adopted: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """By feature, over the steps in which it may be used: the sums of products of what effects are
    adjusted for (size, tenure, activity) with itself and with having adopted."""
    at, shape = batch.world.steps - 1, rows.shape[::2]
    logs = [
        np.log(np.broadcast_to(batch.customers.seats[:, None], shape)),
        np.log1p(np.maximum(at - batch.customers.signup[:, None], 0)),
        np.log1p(oracle.trailing(batch.inputs.counts.events, at, 28)),
    ]
    adjusted = np.stack([np.ones(shape), *logs, *(each**2 for each in logs)], axis=-1)
    adjusted = np.broadcast_to(adjusted, (len(FEATURE_NAMES), *adjusted.shape))
    design = np.concatenate([adjusted, adopted.transpose(1, 0, 2)[..., None]], axis=-1)
    return np.einsum("fcsa,fcsb->fab", design * rows.transpose(1, 0, 2)[..., None], design)


def _explained(products: np.ndarray) -> float:
    """The share of a feature's adoption that size, tenure and activity explain: R² by least squares."""
    steps, adopted = products[0, 0], products[0, -1]
    variation = adopted - adopted**2 / max(steps, 1)
    if variation <= 0:
        return 0.0
    weights = np.linalg.lstsq(products[:-1, :-1], products[:-1, -1], rcond=None)[0]
    return float(np.clip((products[:-1, -1] @ weights - adopted**2 / steps) / variation, 0, 1))


def _breadth_log_odds(world: World) -> float:
    """The log-odds of churn of a customer that uses all its features, against none."""
    return sum(
        term.coefficient / term.scale
        for term in terms(world.scenario)
        if term.metric == "feature_adoption_rate_30d" and term.first_step == 0
    )


def _feature_effects(total: dict[str, np.ndarray], world: World) -> pa.Table:
    causes = dict(world.scenario.feature_log_odds)
    confounded = CONFOUNDED if world.scenario.size_on_adoption else None
    log_hr = [causes.get(name, 0.0) for name in FEATURE_NAMES]
    explained = [_explained(products) for products in total["products"]]
    sides = (log_hr, total["exposed_events"], total["other_events"], explained)
    power = [oracle.power_of_odds_ratio(*each) for each in zip(*sides, strict=True)]
    through_breadth = _breadth_log_odds(world) * total["share_of_listed"]
    return world.truth(
        "feature_effects",
        feature=FEATURE_NAMES,
        role=[
            "cause" if name in causes else "confounded" if name == confounded else "none"
            for name in FEATURE_NAMES
        ],
        log_hr=log_hr,
        breadth_log_hr=through_breadth / np.maximum(total["exposed"], 1),
        events=total["events"],
        confounder=["seats" if name == confounded else None for name in FEATURE_NAMES],
        n_exposed=total["exposed"].astype(int),
        n_unexposed=total["unexposed"].astype(int),
        **oracle.with_power(power),
    )


def expected_auc(p: np.ndarray) -> float:
    """The AUC of true probabilities against themselves as fractional labels; ties count half.

    >>> expected_auc(np.array([0.5, 0.5]))
    0.5
    """
    _, rank = np.unique(p, return_inverse=True)
    events, others = np.bincount(rank, p), np.bincount(rank, 1 - p)
    below = np.cumsum(others) - others
    return float((events * (below + others / 2)).sum() / (events.sum() * others.sum()))


def checks(hazard: pa.Table, exits: pa.Table, world: World) -> dict[str, dict[str, Any]]:
    """What the portfolio must have: each a value, its range, and whether it lies in it."""
    at_risk = hazard.column("at_risk").to_numpy(zero_copy_only=False)
    p30, p90 = (hazard.column(name).to_numpy()[at_risk] for name in ("p30", "p90"))
    churned = exits.column("churned_on").drop_null().cast(pa.int32()).to_numpy()
    early = int((churned < world.start + 365).sum())
    has_notice = pc.is_valid(exits.column("notice_on"))
    known = pc.or_(pc.is_valid(exits.column("churned_on")), has_notice)
    notice_share = (pc.sum(has_notice).as_py() or 0) / max(1, pc.sum(known).as_py() or 0)
    flat = world.scenario.driver_scale == 0.0 or bool(world.scenario.driver_factors)
    drifts = world.scenario.drift_from_step is not None
    # what lies between renewals is safe, and easily told
    renews = bool(world.scenario.mid_term_log_odds)
    highest, lowest = (0.90, 0.012) if renews else (0.82, 0.03)
    values: dict[str, tuple[float, float, float]] = {
        "oracle_auc_30": (expected_auc(p30), *((0.45, 1.0) if flat else (0.76, highest))),
        "oracle_auc_90": (expected_auc(p90), *((0.45, 1.0) if flat else (0.74, highest))),
        "mean_monthly_hazard": (float(p30.mean()), lowest, 0.05 if drifts else 0.04),
        "churns": (len(churned), 0, 10**9),
        "churns_first_365_days": (early, (25 if renews else 60) * (len(churned) >= 60), 10**9),
        "notice_share": (notice_share, 0.8, 1.0),
    }
    return {
        name: {"value": round(value, 4), "low": low, "high": high, "ok": bool(low <= value <= high)}
        for name, (value, low, high) in values.items()
    }


TRUTH = {"hazard": _hazard, "exits": _exits}
LAWS = {"hazard_terms": _hazard_terms, "feature_effects": _feature_effects}
