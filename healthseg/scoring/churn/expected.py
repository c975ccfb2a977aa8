"""Expected churn: each live customer's probability, and what it makes of ARR together."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from healthseg.metrics import panels
from healthseg.metrics.spells import spells_as_of
from healthseg.scoring.churn import training
from healthseg.scoring.churn.base_rates import HORIZONS, THE_PORTFOLIO, BaseRates, base_rates
from healthseg.statistics.outcomes import event_of_rows
from healthseg.statistics.rates import standard_errors

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

DRAWS_AT_ONCE = 500
COLUMNS = ["probability", "lower", "upper", "shared_sd", "own_sd", "gave_notice", "method"]


def portfolio_base_rates(
    portfolio: Portfolio, as_of: dt.date, horizon_days: int | None = None
) -> BaseRates:
    """The tiers' base rates of churn, as known at ``as_of``; of ``horizon_days`` (default: ``churn_horizon_days``) too."""
    settings = portfolio.settings
    horizon = horizon_days or settings.churn_horizon_days

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
        horizons = sorted({*HORIZONS, horizon})
        return base_rates(customers, as_of, portfolio.first_event_day, settings, horizons)

    def stored() -> BaseRates:
        inputs = [as_of, horizon, portfolio.content(as_of), settings.fingerprint]
        return BaseRates.from_dict(
            portfolio.cache.get("base_rates", inputs, lambda: build().to_dict())
        )

    return portfolio.cache.get("base_rates_of", (as_of, horizon), stored, disk=False)


def churn_probabilities(portfolio: Portfolio, as_of: dt.date, live: pd.DataFrame) -> pd.DataFrame:
    """By live customer: the probability of churn within the horizon, its range, and its spread.

    ``live`` are the panel's rows of the live customers, by client_id. ``shared_sd`` is the
    uncertainty of the rate that customers of a tier share, ``own_sd`` that of the customer around
    it, both on log odds. A customer that gave notice has probability 1; NaN where the portfolio
    has no rate.
    """
    settings, rates = portfolio.settings, portfolio_base_rates(portfolio, as_of)
    frame = pd.DataFrame(np.nan, index=live.index, columns=COLUMNS[:5])
    frame = frame.assign(gave_notice=False, method=rates.method)
    if rates.frame is not None:
        table = rates.frame[rates.frame["horizon_days"] == settings.churn_horizon_days]
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
    frame = _by_model(portfolio, as_of, frame)
    notice = frame.index.isin(rates.gone)
    frame.loc[notice, ["probability", "lower", "upper"]] = 1.0
    frame.loc[notice, ["shared_sd", "own_sd"]] = 0.0
    return frame.assign(gave_notice=notice)


def _by_model(portfolio: Portfolio, as_of: dt.date, frame: pd.DataFrame) -> pd.DataFrame:
    """The customers' own probabilities, where the churn model passed its gate."""
    model = training.churn_model(portfolio, as_of)
    if not model.eligible:
        return frame
    own = training.predictions(portfolio, as_of, frame.index.tolist())
    own = own[own["horizon_days"] == portfolio.settings.churn_horizon_days].set_index("client_id")
    for name in ("probability", "lower", "upper"):
        frame.loc[own.index, name] = own[name]
    frame.loc[own.index, "own_sd"] = own["log_odds_sd"]
    frame.loc[own.index, "shared_sd"] = 0.0
    frame.loc[own.index, "method"] = f"hazard_{model.kind}"
    return frame


def _log_odds_sd(lower: pd.Series, upper: pd.Series, level: float) -> np.ndarray:
    """The standard deviation on log odds of a range of probabilities."""
    low, high = (
        logit(np.clip(end.to_numpy(dtype=float), 1e-6, 1 - 1e-6)) for end in (lower, upper)
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


def simulate_churned_arr(
    probabilities: pd.DataFrame, arr: pd.Series, tiers: pd.Series, draws: int, seed: int
) -> ChurnedArr:
    """How much ARR of these customers churns within the horizon?

    Rows and series are indexed by client_id. Each draw picks the tiers' rates, then every
    customer's own probability around them, then who churns, each independently.
    """
    known = probabilities["probability"].notna() & (arr > 0)
    table, amounts = probabilities[known], arr[known].to_numpy(dtype=float)
    tier = pd.factorize(tiers.reindex(table.index).astype(object), use_na_sentinel=False)[0]
    rng = np.random.default_rng([seed, 13])
    totals = [
        _draw(table, amounts, tier, rng, min(DRAWS_AT_ONCE, draws - done))
        for done in range(0, draws if len(table) else 0, DRAWS_AT_ONCE)
    ]
    certain = table["gave_notice"].to_numpy(dtype=bool)
    return ChurnedArr(
        np.concatenate(totals) if len(table) else np.zeros(draws),
        float((table["probability"] * amounts).sum()),
        float(amounts[certain].sum()),
        len(table),
        int((~known & (arr > 0)).sum()),
    )


def _draw(
    table: pd.DataFrame, arr: np.ndarray, tier: np.ndarray, rng: np.random.Generator, draws: int
) -> np.ndarray:
    shared, own = table["shared_sd"].to_numpy(), table["own_sd"].to_numpy()
    centre = _centre(table["probability"].to_numpy(dtype=float), np.hypot(shared, own))
    common = rng.standard_normal((draws, tier.max() + 1))[:, tier] * shared
    odds = centre + common + rng.standard_normal((draws, len(arr))) * own
    return ((rng.random((draws, len(arr))) < expit(odds)) * arr).sum(axis=1)


def _centre(probability: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The log odds around which a spread has this mean probability, by bisection of a Gaussian quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    low, high = np.full(len(probability), -60.0), np.full(len(probability), 60.0)
    for _ in range(50):
        centre = (low + high) / 2
        mean = expit(centre[:, None] + spread[:, None] * nodes) @ weights / weights.sum()
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
