"""Expected churn: each live customer's probability, and what it makes of ARR together."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy

from healthseg.metrics import panels
from healthseg.metrics.spells import spells_as_of
from healthseg.scoring.churn import training
from healthseg.scoring.churn.base_rates import HORIZONS, THE_PORTFOLIO, BaseRates, base_rates
from healthseg.settings import Settings
from healthseg.settings.scoring import ChurnSettings
from healthseg.statistics.effects import event_of_rows
from healthseg.statistics.rates import standard_errors

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

CUSTOMERS_AT_ONCE, YEAR_DAYS = 100, 365
COLUMNS = ["probability", "lower", "upper", "shared_sd", "own_sd", "gave_notice", "method"]


def portfolio_base_rates(portfolio: Portfolio, as_of: dt.date, *horizon_days: int) -> BaseRates:
    """The tiers' base rates of churn, as known at ``as_of``; of ``horizon_days`` (default: ``churn_horizon_days``) too."""
    settings = portfolio.settings
    wanted = sorted(set(horizon_days)) or [settings.churn_horizon_days]

    def build() -> BaseRates:
        customers = spells_as_of(portfolio, as_of)
        signed_up = pd.to_datetime(customers["signup_date"]) <= pd.Timestamp(as_of)
        customers = customers[signed_up].reset_index(drop=True)
        if customers.empty:
            reason = "no customer had signed up by then"
            return BaseRates(None, settings.interval_level, frozenset(), reason=reason)
        until = customers["churned_on"] - pd.Timedelta(days=1)
        last = until.fillna(pd.Timestamp(as_of)).dt.date
        tier = pd.Series(index=customers.index, dtype=object)
        for _, spells in customers.groupby("spell", sort=True):
            days = dict(zip(spells["client_id"], last[spells.index], strict=True))
            names = panels.tiers_at(portfolio, days)
            tier[spells.index] = spells["client_id"].map(names).to_numpy(dtype=object)
        customers = customers.assign(tier=tier)
        customers = customers.drop(columns=training.unrecorded_dates(portfolio))
        horizons = sorted({*HORIZONS, *wanted})
        return base_rates(customers, as_of, portfolio.first_event_day, settings, horizons)

    def stored() -> BaseRates:
        inputs = [as_of, *wanted, portfolio.content(as_of), settings.fingerprint]
        return BaseRates.from_dict(
            portfolio.cache.get("base_rates", inputs, lambda: build().to_dict())
        )

    return portfolio.cache.get("base_rates_of", (as_of, *wanted), stored, disk=False)


def churn_probabilities(portfolio: Portfolio, as_of: dt.date, live: pd.DataFrame) -> pd.DataFrame:
    """By live customer: the probability of churn within ``churn_horizon_days``, its range, and its spread.

    ``live`` are the panel's rows of the live customers, by client_id. ``shared_sd`` is the
    uncertainty of the rate that customers of a tier share, ``own_sd`` that of the customer around
    it, both on log odds. A customer that gave notice has probability 1; NaN where the portfolio
    has no rate.
    """
    horizon = portfolio.settings.churn_horizon_days
    return churn_by_horizon(portfolio, as_of, live, [horizon])[horizon]


def churn_by_horizon(
    portfolio: Portfolio, as_of: dt.date, live: pd.DataFrame, horizons: Sequence[int]
) -> dict[int, pd.DataFrame]:
    """``churn_probabilities`` within each horizon in days; of a longer one they are never smaller."""
    rates = portfolio_base_rates(portfolio, as_of, *horizons)
    frames = {days: _by_base_rate(rates, days, live, portfolio.settings) for days in horizons}
    frames = _by_model(portfolio, as_of, frames)
    for days, frame in frames.items():
        notice = frame.index.isin(rates.gone)
        frame.loc[notice, ["probability", "lower", "upper"]] = 1.0
        frame.loc[notice, ["shared_sd", "own_sd"]] = 0.0
        frames[days] = frame.assign(gave_notice=notice)
    return frames


@dataclass(frozen=True)
class Reach:
    """How far ahead probabilities of churn say something.

    ``known_days``: as long as customers have been watched, and at least ``churn_horizon_days``; ``tested_days``: as far as
    held-out dates could judge the model. Between both the model's hazard is extrapolated; a base rate has no such part.
    """

    known_days: int
    tested_days: int


def reach(portfolio: Portfolio, as_of: dt.date) -> Reach:
    """How far ahead what is known at ``as_of`` reaches."""
    first, least = portfolio.first_event_day, portfolio.settings.churn_horizon_days
    known = least if first is None else max((as_of - first).days + 1, least)
    model = training.churn_model(portfolio, as_of)
    return Reach(known, min(known, max(model.judged)) if model.eligible else known)


def _by_base_rate(
    rates: BaseRates, horizon_days: int, live: pd.DataFrame, settings: Settings
) -> pd.DataFrame:
    """The tiers' base rates as the probabilities of their customers."""
    frame = pd.DataFrame(np.nan, index=live.index, columns=COLUMNS[:5])
    frame = frame.assign(gave_notice=False, method=rates.method)
    if rates.frame is not None:
        table = rates.frame[rates.frame["horizon_days"] == horizon_days]
        table = table.set_index("tier")
        tier = live["tier"].astype(object).where(live["tier"].isin(table.index), THE_PORTFOLIO)
        for name in ("probability", "lower", "upper"):
            column = name if name in table else f"plausible_{name}"
            frame[name] = tier.map(table[column]).astype(float)
        lower, upper = (
            tier.map(table[f"base_rate_{end}"]).astype(float) for end in ("lower", "upper")
        )
        frame["shared_sd"] = _log_odds_sd(lower, upper, settings.interval_level)
        frame["own_sd"] = settings.churn_spread_log_odds
    return frame


def _by_model(
    portfolio: Portfolio, as_of: dt.date, frames: dict[int, pd.DataFrame]
) -> dict[int, pd.DataFrame]:
    """The customers' own probabilities, where the churn model passed its gate."""
    model = training.churn_model(portfolio, as_of)
    if not model.eligible or not frames:
        return frames
    clients = next(iter(frames.values())).index.tolist()
    predicted = training.predictions(portfolio, as_of, clients, list(frames))
    for days, frame in frames.items():
        own = predicted[predicted["horizon_days"] == days].set_index("client_id")
        for name in ("probability", "lower", "upper"):
            frame.loc[own.index, name] = own[name]
        frame.loc[own.index, "own_sd"] = own["log_odds_sd"]
        frame.loc[own.index, "shared_sd"] = 0.0
        frame.loc[own.index, "method"] = f"hazard_{model.kind}"
    return frames


def lifetime_values(
    rates: BaseRates, tiers: pd.Series, arr: pd.Series, settings: ChurnSettings
) -> pd.DataFrame:
    """What revenue is expected of each customer over ``lifetime_years``? Columns lifetime_value, _lower, _upper.

    Σ over months m of ARR/12 · exp(−h·(m + ½)/12) · (1 + d)^(−(m + ½)/12): today's ARR, the tier's constant yearly hazard
    h = −log(1 − probability of churn in 365 days), the discount d (Gupta, Lehmann and Stuart 2004, with a stated end). The
    ends are those of the tier's base rate; growth, margins and costs are not in it. NaN without ARR, of customers that
    gave notice, and without a base rate.

    >>> rates = BaseRates(pd.DataFrame({"tier": ["SMB"], "horizon_days": 365, "probability": 0.5,
    ...     "base_rate_lower": 0.0, "base_rate_upper": 0.75}), 0.9, frozenset())
    >>> settings = ChurnSettings(lifetime_years=1, discount_rate=0)
    >>> arr = pd.Series([1200.0], index=["a"])
    >>> lifetime_values(rates, pd.Series(["SMB"], index=["a"]), arr, settings).round(1).values.tolist()
    [[865.5, 648.9, 1200.0]]
    """
    names = ["lifetime_value", "lifetime_value_lower", "lifetime_value_upper"]
    if rates.frame is None:
        return pd.DataFrame(np.nan, index=arr.index, columns=names)
    table = rates.frame[rates.frame["horizon_days"] == YEAR_DAYS].set_index("tier")
    tier = tiers.astype(object).where(tiers.isin(table.index), THE_PORTFOLIO)
    years = (np.arange(12 * settings.lifetime_years) + 0.5) / 12
    columns = {}
    for name, source in zip(
        names, ("probability", "base_rate_upper", "base_rate_lower"), strict=True
    ):
        yearly = np.log1p(-table[source].clip(upper=1 - 1e-9)) - np.log1p(settings.discount_rate)
        factor = pd.Series(np.exp(np.outer(yearly, years)).sum(axis=1) / 12, index=table.index)
        columns[name] = arr.astype(float) * tier.map(factor)
    frame = pd.DataFrame(columns, index=arr.index)
    frame.loc[arr.index.isin(rates.gone)] = np.nan
    return frame


def _log_odds_sd(lower: pd.Series, upper: pd.Series, level: float) -> np.ndarray:
    """The standard deviation on log odds of a range of probabilities."""
    low, high = (
        scipy.special.logit(np.clip(end.to_numpy(dtype=float), 1e-6, 1 - 1e-6))
        for end in (lower, upper)
    )
    return (high - low) / (2 * standard_errors(level))


@dataclass(frozen=True)
class ChurnedArr:
    """The simulated sum of ARR that churns; what is certain (notice) is part of every draw."""

    draws: np.ndarray
    expected: float
    certain: float
    customers: int
    without_probability: int

    def quantile(self, share: float) -> float:
        """An order statistic of the draws."""
        return float(np.sort(self.draws)[round(share * (len(self.draws) - 1))])


@dataclass(frozen=True)
class SimulatedChurn:
    """Who churns within the horizon in each draw.

    ``bits`` has a row per customer of ``probabilities``, with eight draws a byte; in none where it has no probability.
    """

    probabilities: pd.DataFrame
    bits: np.ndarray
    draws: int

    def arr(self, amounts: pd.Series) -> ChurnedArr:
        """How much of this ARR, by client_id, churns?"""
        table = self.probabilities.reindex(amounts.index)
        known = (table["probability"].notna() & (amounts > 0)).to_numpy()
        table, own = table[known], amounts.to_numpy(dtype=float)[known]
        rows = self.bits[self.probabilities.index.get_indexer(table.index)]
        totals = np.zeros(self.draws)
        for start in range(0, len(rows), CUSTOMERS_AT_ONCE):
            part = slice(start, start + CUSTOMERS_AT_ONCE)
            churns = np.unpackbits(rows[part], axis=1, count=self.draws)
            totals += (churns * own[part, None]).sum(axis=0)
        return ChurnedArr(
            totals,
            float((table["probability"] * own).sum()),
            float(own[table["gave_notice"].to_numpy(dtype=bool)].sum()),
            len(table),
            int((~known & (amounts > 0)).sum()),
        )


def simulate_churn(
    probabilities: pd.DataFrame, tiers: pd.Series, draws: int, seed: int
) -> SimulatedChurn:
    """Who churns within the horizon, drawn once for all sums of ARR.

    Rows and series are indexed by client_id. Each draw picks the tiers' rates, then every
    customer's own probability around them, then who churns, each independently.
    """
    return simulate_horizons([probabilities], tiers, draws, seed)[0]


def simulate_horizons(
    tables: Sequence[pd.DataFrame], tiers: pd.Series, draws: int, seed: int
) -> list[SimulatedChurn]:
    """Who churns within each of several horizons, of the customers of its table (``simulate_churn``).

    The draws are the same for all: who churns within a horizon churns within a longer one.
    """
    rng = np.random.default_rng([seed, 13])
    known = [table[table["probability"].notna()] for table in tables]
    drawn = tiers.index[tiers.index.isin(set().union(*(table.index for table in known)))]
    tier = pd.factorize(tiers[drawn].astype(object), use_na_sentinel=False)[0]
    rates = rng.standard_normal((tier.max(initial=0) + 1, draws), dtype=np.float32)
    bits = [np.zeros((len(table), -(-draws // 8)), dtype=np.uint8) for table in tables]
    columns = []
    # where each customer is among the known rows of a table, and among all of them; -1: not
    rows = [
        (own.index.get_indexer(drawn), table.index.get_indexer(drawn))
        for own, table in zip(known, tables, strict=True)
    ]
    for table in known:
        shared, own = table["shared_sd"].to_numpy(), table["own_sd"].to_numpy()
        centre = _centre(table["probability"].to_numpy(dtype=float), np.hypot(shared, own))
        columns.append([each.astype(np.float32)[:, None] for each in (centre, shared, own)])
    for start in range(0, len(drawn), CUSTOMERS_AT_ONCE):
        part = slice(start, start + CUSTOMERS_AT_ONCE)
        shape = (len(tier[part]), draws)
        around = rng.standard_normal(shape, dtype=np.float32)
        common, chance = rates[tier[part]], rng.random(shape, dtype=np.float32)
        for at, (among_known, among_all) in enumerate(rows):
            has = among_known[part] >= 0
            row = among_known[part][has]
            centre, shared, own = (column[row] for column in columns[at])
            odds = own * around[has] + (centre + shared * common[has])
            churns = np.packbits(chance[has] < scipy.special.expit(odds), axis=1)
            bits[at][among_all[part][has]] = churns
    return [SimulatedChurn(table, own, draws) for table, own in zip(tables, bits, strict=True)]


def _centre(probability: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The log odds around which a spread has this mean probability, by bisection of a Gaussian quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    low, high = np.full(len(probability), -60.0), np.full(len(probability), 60.0)
    for _ in range(50):
        centre = (low + high) / 2
        mean = (
            scipy.special.expit(centre[:, None] + spread[:, None] * nodes) @ weights / weights.sum()
        )
        low, high = (
            np.where(mean < probability, centre, low),
            np.where(mean < probability, high, centre),
        )
    return (low + high) / 2


# -- customers that are likely to churn ----------------------------------------------------------


def likely_to_churn(portfolio: Portfolio, as_of: dt.date, client_ids: list[str]) -> list[str]:
    """Customers whose probability of churn is ``churn_candidate_min_ratio`` times the portfolio's."""
    settings = portfolio.settings
    model = training.churn_model(portfolio, as_of)
    rows = training.predictions(portfolio, as_of, client_ids)
    rows = rows[rows["horizon_days"] == settings.sign_horizon_days]
    base = model.base_probability(settings.sign_horizon_days)
    likely = rows["probability"] >= settings.churn_candidate_min_ratio * base
    return sorted(rows.loc[likely, "client_id"])


def churned_of_likely(portfolio: Portfolio, as_of: dt.date, client_ids: list[str]) -> list[int]:
    """Of the customers likely to churn on past dates, each by the model of its day.

    How many churned or gave notice within the horizon, and how many there were.
    """
    settings = portfolio.settings
    horizon = dt.timedelta(days=settings.sign_horizon_days)
    losses = spells_as_of(portfolio, as_of)
    dates = [date for date in training.grid(portfolio, as_of) if date <= as_of - horizon]
    churned, n = 0, 0
    for date in dates[-settings.churn_candidate_past_dates :]:
        if not training.churn_model(portfolio, date).eligible:
            continue
        names, start = likely_to_churn(portfolio, date, client_ids), pd.Timestamp(date)
        events = event_of_rows(pd.DataFrame({"client_id": names, "date": start}), losses)
        churned += int(((events > start) & (events <= start + horizon)).sum())
        n += len(names)
    return [churned, n]
