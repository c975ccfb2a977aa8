"""How likely does a customer of this tier churn? The tier's base rate, and what it says about a
single customer.

Tiers scatter around the portfolio: rate_t ~ Gamma(mean m, shape 1/τ²), events_t ~ Poisson(rate_t ·
steps_t). m and τ are integrated over a grid (flat on τ from 0.05 to 1.5 of log rates; Jeffreys'
m^−½): the posterior is a mixture of Gamma(1/τ² + events, 1/(τ²m) + steps), all figures are
quadrature: no draws, no seed.

The probability over h days is 1 − exp(−rate·h/30). Its interval is about the tier's *rate*; a
customer's own log odds scatter around it with ``churn_spread_log_odds``, a stated prior until a
model of single customers can estimate it.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy

from healthseg.settings import Settings
from healthseg.statistics.effects import label_event_dates

STEP_DAYS = 30
HORIZONS = (30, 90, 180, 365)
THE_PORTFOLIO = "the portfolio"
TAUS = np.linspace(0.05, 1.5, 16)
NODES = 41  # quantiles of the tier's rate that carry its uncertainty to the customer
COUNTS = ["customers", "at_risk_now", "steps", "events"]


@dataclass(frozen=True)
class BaseRates:
    """One row per tier and horizon, and ``the portfolio`` for customers whose tier is unknown.

    Columns of ``frame``: tier, horizon_days, customers (that were ever at risk), at_risk_now, steps (of 30 days at
    risk), events, rate_per_30d, probability, base_rate_lower, base_rate_upper, plausible_lower, plausible_upper,
    confidence. ``frame`` is None where ``reason`` says why there are no rates. ``gone`` are the customers that had
    churned or given notice by as_of: they have no probability any more.
    """

    frame: pd.DataFrame | None
    level: float
    gone: frozenset[str]
    method: str = "base_rate"
    reason: str | None = None

    def of(self, client_id: str, tier: str | None) -> pd.DataFrame | None:
        """A customer's rows: its tier's, the portfolio's where that is unknown; None without a probability."""
        if self.frame is None or client_id in self.gone:
            return None
        known = isinstance(tier, str) and (self.frame["tier"] == tier).any()
        rows = self.frame["tier"] == (tier if known else THE_PORTFOLIO)
        return self.frame[rows].reset_index(drop=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, from which ``from_dict`` makes the same rates."""
        frame = None if self.frame is None else self.frame.to_dict("list")
        return {**vars(self), "frame": frame, "gone": sorted(self.gone)}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> BaseRates:
        frame = None if saved["frame"] is None else pd.DataFrame(saved["frame"])
        return cls(**{**saved, "frame": frame, "gone": frozenset(saved["gone"])})


def base_rates(
    customers: pd.DataFrame,
    as_of: dt.date,
    tracking_start: dt.date,
    settings: Settings,
    horizons: Sequence[int] = HORIZONS,
) -> BaseRates:
    """How often do customers of each tier churn within a horizon, as far as it was known at as_of?

    ``customers`` has a row per customer or spell: client_id, signup_date (when the spell began), tier and churned_on or
    notice_on (or both); no date after as_of is read.
    ``tier`` is that of the customer's last day at risk: after churn its ARR is 0, which would put all churned customers
    into the lowest tier. A customer is at risk from the later of signup and ``tracking_start`` through the earlier of
    notice, churn and as_of.
    """
    level = settings.interval_level
    if not {"churned_on", "notice_on"} & set(customers.columns):
        reason = "no churn dates: the customers table has neither churned_on nor notice_on"
        return BaseRates(None, level, frozenset(), reason=reason)
    exposed = exposure(customers, as_of, tracking_start)
    last = ~exposed.duplicated("client_id", keep="last")
    gone = frozenset(exposed.loc[exposed["lost"] & last, "client_id"])
    at_risk = exposed[exposed["steps"] > 0]
    if not len(at_risk):
        reason = "no customer was watched for long enough to count churn"
        return BaseRates(None, level, gone, reason=reason)
    once = ~at_risk.duplicated("client_id", keep="last")
    at_risk = at_risk.assign(at_risk_now=~at_risk["lost"], customers=once.astype(int))
    counts = at_risk.groupby("tier", sort=True)[COUNTS].sum()
    counts.loc[THE_PORTFOLIO] = at_risk[COUNTS].sum()
    rates = rate_posteriors(counts)
    rows = [
        {"tier": tier, **counts.loc[tier], **outlook}
        for tier in counts.index
        for outlook in _outlooks(rates[tier], horizons, settings)
    ]
    integers = {"customers": int, "at_risk_now": int, "events": int}
    return BaseRates(pd.DataFrame(rows).astype(integers), level, gone)


def exposure(customers: pd.DataFrame, as_of: dt.date, tracking_start: dt.date) -> pd.DataFrame:
    """Per customer the steps of 30 days at risk, whether its loss was tracked, and whether it was lost by as_of.

    Columns: client_id, tier, steps, events, lost. Days at risk count both ends: the day of entry, and the day of the
    event or of as_of. A loss before ``tracking_start`` has neither steps nor an event.
    """
    until, start = pd.Timestamp(as_of), pd.Timestamp(tracking_start)
    event = label_event_dates(customers).to_numpy()
    lost = event <= until
    signup = pd.to_datetime(customers["signup_date"]).astype("datetime64[us]").to_numpy()
    entry = np.maximum(signup, start.to_datetime64())
    last = np.where(lost, event, until.to_datetime64())
    if {"merged_into", "churned_on"} <= set(customers):
        merged = customers["merged_into"].notna().to_numpy()
        last = np.where(merged, customers["churned_on"].to_numpy(), last)
    days = (last - entry) / np.timedelta64(1, "D") + 1
    steps = np.where(days > 0, days, 0.0) / STEP_DAYS
    frame = customers[["client_id", "tier"]].assign(
        steps=steps, events=(lost & (steps > 0)).astype(int), lost=lost, entry=entry
    )
    frame = frame.sort_values(["client_id", "entry"], kind="stable", ignore_index=True)
    return frame.drop(columns="entry")


@dataclass(frozen=True)
class GammaMixture:
    """A rate's distribution: gammas of ``shape`` and ``steps`` (the rate parameter) with ``weight``."""

    shape: np.ndarray
    steps: np.ndarray
    weight: np.ndarray

    @property
    def mean(self) -> float:
        return float((self.weight * self.shape / self.steps).sum())

    def cdf(self, rate: np.ndarray) -> np.ndarray:
        below = scipy.special.gammainc(self.shape[:, None], self.steps[:, None] * rate)
        return (self.weight[:, None] * below).sum(axis=0)

    def quantile(self, share: np.ndarray) -> np.ndarray:
        """From the distribution function on a grid of log rates that holds all but a millionth of every gamma."""
        low, high = (
            scipy.special.gammaincinv(self.shape, tail) / self.steps for tail in (1e-6, 1 - 1e-6)
        )
        grid = np.linspace(np.log(np.maximum(low, 1e-12)).min(), np.log(high).max(), 301)
        return np.exp(np.interp(share, self.cdf(np.exp(grid)), grid))

    def mean_probability(self, steps: float) -> float:
        """The mean of 1 − exp(−rate·steps)."""
        return 1 - float((self.weight * (self.steps / (self.steps + steps)) ** self.shape).sum())


def rate_posteriors(counts: pd.DataFrame) -> dict[str, GammaMixture]:
    """Per tier the mixture over (τ, m); for the portfolio the rate pooled over all, Gamma(events + ½, steps)."""
    tiers = counts.drop(index=THE_PORTFOLIO)
    events, steps = counts.loc[THE_PORTFOLIO, ["events", "steps"]].to_numpy(dtype=float)
    reach = 4 * np.sqrt(1 / (events + 0.5) + 0.25)
    log_means = np.log((events + 0.5) / steps) + np.linspace(-reach, reach, 33)
    tau, means = (grid.ravel() for grid in np.meshgrid(TAUS, np.exp(log_means), indexing="ij"))
    shape, rate = 1 / tau**2, 1 / (tau**2 * means)
    log_weight = 0.5 * np.log(means)  # m^−½ dm, on the scale of log m
    for d, t in tiers[["events", "steps"]].to_numpy(dtype=float):
        log_weight = log_weight + (
            scipy.special.gammaln(shape + d)
            - scipy.special.gammaln(shape)
            + shape * np.log(rate)
            - (shape + d) * np.log(rate + t)
        )
    weight = np.exp(log_weight - log_weight.max())
    used = weight > 1e-5
    shape, rate, weight = shape[used], rate[used], weight[used] / weight[used].sum()
    pooled = GammaMixture(np.array([events + 0.5]), np.array([steps]), np.array([1.0]))
    return {THE_PORTFOLIO: pooled} | {
        tier: GammaMixture(shape + row["events"], rate + row["steps"], weight)
        for tier, row in tiers.iterrows()
    }


def _outlooks(
    rate: GammaMixture, horizons: Sequence[int], settings: Settings
) -> list[dict[str, float]]:
    """Per horizon the tier's probability with its interval, the customer's plausible range, the confidence."""
    tail, factor = (1 - settings.interval_level) / 2, settings.churn_confidence_factor
    shares = np.concatenate([[tail, 1 - tail], (np.arange(NODES) + 0.5) / NODES])
    edges, nodes = np.split(rate.quantile(shares), [2])
    rows = []
    for horizon in horizons:
        steps = horizon / STEP_DAYS
        expected = rate.mean_probability(steps)
        lower, upper = -np.expm1(-edges * steps)
        own = OwnProbability(-np.expm1(-nodes * steps), settings.churn_spread_log_odds)
        row = {
            "horizon_days": horizon,
            "rate_per_30d": rate.mean,
            "probability": expected,
            "base_rate_lower": float(lower),
            "base_rate_upper": float(upper),
            "plausible_lower": own.quantile(tail),
            "plausible_upper": own.quantile(1 - tail),
            "confidence": own.cdf(expected * factor) - own.cdf(expected / factor),
        }
        rows.append(row)
    return rows


class OwnProbability:
    """The distribution of one customer's own probability.

    For each of the tier's equally likely probabilities the customers' log odds are Normal(μ, spread²), with μ such
    that their mean probability is the tier's.
    """

    def __init__(self, tier_probabilities: np.ndarray, spread: float) -> None:
        centres, means = _centres(spread)
        targets = scipy.special.logit(np.clip(tier_probabilities, 1e-9, 1 - 1e-9))
        self.spread, self.centre = spread, np.interp(targets, means, centres)

    def cdf(self, probability: float) -> float:
        if not 0 < probability < 1:
            return float(probability >= 1)
        z = (scipy.special.logit(probability) - self.centre) / self.spread
        return float(scipy.special.ndtr(z).mean())

    def quantile(self, share: float) -> float:
        return scipy.optimize.brentq(lambda p: self.cdf(p) - share, 1e-12, 1 - 1e-12, xtol=1e-12)


@functools.cache
def _centres(spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Centres μ and the log odds of the mean probability of Normal(μ, spread²) log odds (Gauss–Hermite, 61 nodes)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    centres = np.linspace(-40, 40, 4001)
    means = scipy.special.expit(centres[:, None] + spread * nodes) @ (weights / weights.sum())
    used = (means > 1e-15) & (means < 1 - 1e-15)
    return centres[used], scipy.special.logit(means[used])
