"""Who leaves when: a hazard on 30-day steps, a function of what is measured and one hidden frailty."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from healthseg.demo import names
from healthseg.demo.customers import Customers
from healthseg.demo.frame import STEP_DAYS, Frame, stream
from healthseg.demo.scenarios import Scenario

NOTICE_SHARE, NOTICE_DAYS = 0.90, (20, 60)
CONTINUATIONS = 200
DRIFT_LOG_ODDS = 0.4  # more for everybody, after the drift
NODES = 31
NEAR = 0.08  # a continuation's residual is one of the 16 % of paths that stand nearest


@dataclass(frozen=True)
class Term:
    """``coefficient × form(metric)``; linear and log forms are centred and scaled, missing ones are 0.

    linear (x - center)/scale · log (log(x + .25) - center)/scale · threshold 1[x ≥ knot] · adopted 1[x = 1]
    · interaction: the product of two linear terms, ``metric`` names both.
    """

    driver: str
    metric: str
    form: str
    coefficient: float
    center: float = 0.0
    scale: float = 1.0
    knot: float = np.nan
    first_step: int = 0
    last_step: int = 10**6

    @property
    def direction(self) -> int:
        """+1 where more of the metric means more leaving."""
        return int(np.sign(self.coefficient))


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


def terms(world: Scenario) -> tuple[Term, ...]:
    """The terms in force; ``drift`` has two sets, one after the other."""
    scaled = [
        Term(**{**one.__dict__, "coefficient": one.coefficient * world.driver_scale})
        for one in BASE_TERMS
    ]
    if world.size_log_odds:
        scaled.append(Term("size", "log_seats", "linear", world.size_log_odds, 2.3, 0.82))
    scaled += [
        Term(f"adopted_{feature}", f"adopted_30d[{feature}]", "adopted", effect)
        for feature, effect in world.feature_log_odds
    ]
    if world.sequence_log_odds:
        scaled.append(Term("sequence", "sequence[sequence_1]", "adopted", world.sequence_log_odds))
    if world.drift_from_step is None:
        return tuple(scaled)
    early = [Term(**{**one.__dict__, "last_step": world.drift_from_step - 1}) for one in scaled]
    factor = {"trend": 0.2, "seats": 0.3, "habit": 0.3, "payment": 2.5, "tickets": 2.0}
    late = [
        Term(
            **{
                **one.__dict__,
                "first_step": world.drift_from_step,
                "coefficient": one.coefficient * factor.get(one.driver, 1.0),
            }
        )
        for one in scaled
    ]
    return tuple(early + late)


def _shape(term: Term, values: np.ndarray) -> np.ndarray:
    if term.form == "log":
        return (np.log(values + 0.25) - term.center) / term.scale
    if term.form == "threshold":
        return np.where(np.isnan(values), np.nan, (values >= term.knot).astype(float))
    return np.clip((values - term.center) / term.scale, -3, 3)


def contributions(drivers: dict[str, np.ndarray], world: Scenario) -> dict[str, np.ndarray]:
    """Each term's part of the log-odds, customers × steps; 0 where its metric is missing."""
    by_metric = {one.metric: one for one in terms(world) if one.form in ("linear", "log")}
    out: dict[str, np.ndarray] = {}
    for one in terms(world):
        if one.form == "interaction":
            left, right = one.metric.split("*")
            value = _shape(by_metric[left], drivers[left]) * _shape(
                by_metric[right], drivers[right]
            )
        else:
            value = _shape(one, drivers[one.metric])
        step = np.arange(value.shape[1])
        within = (step >= one.first_step) & (step <= one.last_step)
        out[one.driver] = out.get(one.driver, 0) + np.where(
            np.isnan(value) | ~within, 0.0, one.coefficient * value
        )
    return out


@dataclass
class Exits:
    """Customers × steps, and per customer the days of notice and leaving (-1: not within the portfolio)."""

    eta: np.ndarray  # measured log-odds, intercept included
    frailty: np.ndarray
    hazard: np.ndarray
    at_risk: np.ndarray
    p30: np.ndarray
    p90: np.ndarray
    p90_mc_se: np.ndarray
    step: np.ndarray  # place of the step in which they decided, -1
    decided: np.ndarray  # the day on which they decided: notice, or leaving without
    notice: np.ndarray
    churned: np.ndarray
    would: np.ndarray  # the day they leave on, where that lies after the portfolio
    parts: dict[str, np.ndarray] = field(default_factory=dict)


def logistic(odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-odds))


def _posterior(eta: np.ndarray, at_risk: np.ndarray, sd: float) -> tuple[np.ndarray, np.ndarray]:
    """Frailty's nodes, and customers × steps × nodes: its weights given having stayed until the step."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    stays = np.log1p(-logistic(eta[:, :, None] + sd * nodes)) * at_risk[:, :, None]
    history = np.cumsum(stays, axis=1) - stays
    log = np.log(weights / weights.sum()) + history
    posterior = np.exp(log - log.max(axis=2, keepdims=True))
    return sd * nodes, posterior / posterior.sum(axis=2, keepdims=True)


def _next_law(
    parts: np.ndarray, eta: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The law of the next two log-odds given this step's parts and the mean log-odds so far.

    A linear mean, and all paths' means of the next step, sorted, with their pairs of residuals, since those
    who do badly also vary more.

    Learnt from all paths as they run without leaving, which only the generator has.
    """
    client, step = np.nonzero(known[:, :-2])
    design = _design(parts, client, step)
    ahead = np.column_stack([eta[client, step + 1], eta[client, step + 2]])
    law, *_ = np.linalg.lstsq(design, ahead, rcond=None)
    mean = design @ law
    order = np.argsort(mean[:, 0], kind="stable")
    return law, mean[order, 0], (ahead - mean)[order]


def _design(parts: np.ndarray, client: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The step's parts, and which step it is; steps whose continuations lie beyond the portfolio count as the last one."""
    last = parts.shape[1] - 3
    return np.column_stack(
        [parts[client, step], np.minimum(step, last)[:, None] == np.arange(last + 1)]
    )


def _continued(
    rng, exits: Exits, parts: np.ndarray, known: np.ndarray, nodes, posterior, sd: float
) -> tuple[np.ndarray, np.ndarray]:
    """The chance to decide within three steps, and its Monte Carlo error, by continuations of the metrics."""
    law, known_means, residuals = _next_law(parts, exits.eta, known)
    client, step = np.nonzero(exits.at_risk)
    mean = _design(parts, client, step) @ law
    p90, error = np.full(exits.eta.shape, np.nan), np.full(exits.eta.shape, np.nan)
    cumulated = np.cumsum(posterior[client, step], axis=1)
    uniform = (np.arange(CONTINUATIONS) + rng.random((len(client), 1))) / CONTINUATIONS
    chosen = np.minimum((uniform[:, :, None] > cumulated[:, None, :]).sum(axis=2), NODES - 1)
    frailty = nodes[chosen]
    rank = np.searchsorted(known_means, mean[:, 0]) / len(known_means)
    near = np.clip(rank, NEAR, 1 - NEAR)[:, None] + rng.uniform(
        -NEAR, NEAR, (len(client), CONTINUATIONS)
    )
    pair = residuals[(np.clip(near, 0, 1 - 1e-9) * len(residuals)).astype(int)]
    stay = 1 - logistic(exits.eta[client, step][:, None] + frailty)
    for ahead in (0, 1):
        stay = stay * (1 - logistic(mean[:, ahead, None] + pair[:, :, ahead] + frailty))
    p90[client, step] = 1 - stay.mean(axis=1)
    error[client, step] = stay.std(axis=1, ddof=1) / np.sqrt(CONTINUATIONS)
    return p90, error


def _decide(
    rng, hazard: np.ndarray, who: Customers, days: Frame
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Step by step: who is at risk, in which step each decides, and on which day."""
    at_risk = np.zeros(hazard.shape, bool)
    decided_in, uniform = np.full(who.count, -1), rng.random(hazard.shape)
    for place, step in enumerate(days.steps):
        at_risk[:, place] = (decided_in < 0) & (who.signup <= step - 1)
        decided_in[at_risk[:, place] & (uniform[:, place] < hazard[:, place])] = place
    day = days.steps[decided_in] + rng.integers(0, STEP_DAYS, who.count)
    return at_risk, decided_in, np.where(decided_in < 0, -1, day)


def _late(steps: int, world: Scenario) -> np.ndarray:
    """Whether a step lies after the drift."""
    return np.arange(steps) >= (steps if world.drift_from_step is None else world.drift_from_step)


def measured_odds(drivers: dict[str, np.ndarray], world: Scenario) -> np.ndarray:
    """Customers × steps: the log-odds of leaving that the drivers tell, the intercept included."""
    told = sum(contributions(drivers, world).values())
    return world.intercept + told + DRIFT_LOG_ODDS * _late(told.shape[1], world)


def draw_exits(
    seed: int,
    chunk: int,
    drivers: dict[str, np.ndarray],
    who: Customers,
    days: Frame,
    world: Scenario,
) -> Exits:
    rng = stream(seed, chunk, "exits")
    parts, eta = contributions(drivers, world), measured_odds(drivers, world)
    frailty = rng.normal(0, 1, who.count) * world.frailty_sd
    hazard = logistic(eta + frailty[:, None])
    at_risk, step, decided = _decide(rng, hazard, who, days)
    gives = rng.random(who.count) < NOTICE_SHARE
    lag = np.where(gives, rng.integers(NOTICE_DAYS[0], NOTICE_DAYS[1] + 1, who.count), 0)
    leaves, noticed = (
        decided + lag,
        np.where(gives & (step >= 0) & (decided < days.days), decided, -1),
    )
    inside = (step >= 0) & (leaves < days.days)
    exits = Exits(
        eta,
        frailty,
        hazard,
        at_risk,
        *(np.full(eta.shape, np.nan) for _ in range(3)),
        step,
        decided,
        noticed,
        np.where(inside, leaves, -1),
        np.where((step >= 0) & ~inside, leaves, -1),
        parts,
    )
    nodes, posterior = _posterior(eta, at_risk, world.frailty_sd)
    expected = (logistic(eta[:, :, None] + nodes) * posterior).sum(axis=2)
    exits.p30 = np.where(at_risk, expected, np.nan)
    known = who.signup[:, None] <= days.steps - 1
    so_far = np.cumsum(eta * known, axis=1) / np.maximum(np.cumsum(known, axis=1), 1)
    stacked = np.stack(
        [*parts.values(), so_far, np.broadcast_to(_late(eta.shape[1], world) * 1.0, eta.shape)],
        axis=2,
    )
    exits.p90, exits.p90_mc_se = _continued(
        stream(seed, chunk, "continuations"),
        exits,
        stacked,
        known,
        nodes,
        posterior,
        world.frailty_sd,
    )
    return exits


def feature_of(metric: str) -> int | None:
    """The place of the feature in ``adopted_30d[<feature>]``."""
    return names.FEATURE[metric[12:-1]] if metric.startswith("adopted_30d[") else None
