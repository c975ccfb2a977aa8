"""ARR at risk: each customer's probability of leaving within 90 days, and what that makes of the ARR together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from healthseg.data.memory import remember
from healthseg.scoring import training
from healthseg.scoring.churn import THE_PORTFOLIO
from healthseg.statistics.rates import standard_errors
from healthseg.tools.health import leaving
from healthseg.tools.segments.figures import Figures

AT_ONCE = 500  # draws
COLUMNS = ["probability", "lower", "upper", "shared_sd", "own_sd", "gave_notice", "method"]


def probabilities(figures: Figures) -> pd.DataFrame:
    """By live customer: probability of leaving within the horizon, its plausible range, and what it is spread by.

    ``shared_sd`` is the uncertainty of the rate that customers of a tier share, ``own_sd`` that of the customer's own
    around it, both on log odds. Who gave notice leaves: probability 1. NaN where the portfolio has no rate.
    """
    return remember(figures.portfolio, ("chances", figures.as_of), lambda: _probabilities(figures))


def _probabilities(figures: Figures) -> pd.DataFrame:
    rows, settings = figures.live, figures.settings
    found = leaving.rates(figures.portfolio, figures.as_of, settings)
    frame = pd.DataFrame(np.nan, index=rows.index, columns=COLUMNS[:5]).assign(
        gave_notice=False, method=found.method
    )
    if found.frame is not None:
        horizon = settings.churn_horizon_days
        table = found.frame[found.frame["horizon_days"] == horizon].set_index("tier")
        tier = rows["tier"].astype(object).where(rows["tier"].isin(table.index), THE_PORTFOLIO)
        for name in ("probability", "lower", "upper"):
            frame[name] = tier.map(table[name if name in table else f"plausible_{name}"]).astype(
                float
            )
        low, high = (
            tier.map(table[f"base_rate_{end}"]).astype(float) for end in ("lower", "upper")
        )
        frame["shared_sd"] = _sd(low, high, settings.interval_level)
        frame["own_sd"] = settings.churn_spread_log_odds
    return _with_notice(_by_model(figures, frame), found.gone)


def _by_model(figures: Figures, frame: pd.DataFrame) -> pd.DataFrame:
    """The customers' own probabilities, where the churn model's gate said yes."""
    portfolio, model = figures.portfolio, training.churn_model(figures.portfolio, figures.as_of)
    if not model.eligible:
        return frame
    told = training.predictions(portfolio, figures.as_of, figures.clients)
    told = told[told["horizon_days"] == figures.settings.churn_horizon_days].set_index("client_id")
    for name in ("probability", "lower", "upper"):
        frame.loc[told.index, name] = told[name]
    frame.loc[told.index, "own_sd"] = told["log_odds_sd"]
    frame.loc[told.index, "shared_sd"] = 0.0
    frame.loc[told.index, "method"] = f"hazard_{model.kind}"
    return frame


def _with_notice(frame: pd.DataFrame, gone: frozenset[str]) -> pd.DataFrame:
    leaving = frame.index.isin(gone)
    frame.loc[leaving, ["probability", "lower", "upper"]] = 1.0
    frame.loc[leaving, ["shared_sd", "own_sd"]] = 0.0
    return frame.assign(gave_notice=leaving)


def _sd(lower: pd.Series, upper: pd.Series, level: float) -> np.ndarray:
    """The standard deviation on log odds of a range of probabilities."""
    low, high = (
        scipy.special.logit(np.clip(edge.to_numpy(dtype=float), 1e-6, 1 - 1e-6))
        for edge in (lower, upper)
    )
    return (high - low) / (2 * standard_errors(level))


def expected_losses(figures: Figures) -> pd.Series:
    """Probability × ARR of each live customer."""
    return probabilities(figures)["probability"] * figures.money.amounts


@dataclass(frozen=True)
class AtRisk:
    """The simulated sum of ARR that is lost: each draw's total; what is certain is in all of them."""

    draws: np.ndarray
    expected: float
    certain: float
    customers: int
    without_probability: int

    def quantile(self, share: float) -> float:
        """An order statistic of the draws."""
        return float(np.sort(self.draws)[round(share * (len(self.draws) - 1))])


def simulate(figures: Figures, clients: pd.Index, seed: int) -> AtRisk:
    """What is lost of these customers' ARR within the horizon, over many draws.

    In each draw the tiers' rates are drawn, then every customer's own probability around them, then who leaves, each by
    itself given its probability.
    """
    table = probabilities(figures).reindex(clients)
    arr = figures.money.amounts.reindex(clients)
    known = table["probability"].notna() & (arr > 0)
    table, arr = table[known], arr[known].to_numpy(dtype=float)
    tier = pd.factorize(
        figures.live["tier"].reindex(table.index).astype(object), use_na_sentinel=False
    )[0]
    rng, count = np.random.default_rng([seed, 13]), figures.settings.at_risk_draws
    certain = table["gave_notice"].to_numpy(dtype=bool)
    draws = (
        np.concatenate(
            [
                _drawn(table, arr, tier, rng, min(AT_ONCE, count - done))
                for done in range(0, count, AT_ONCE)
            ]
        )
        if len(table)
        else np.zeros(count)
    )
    return AtRisk(
        draws,
        float((table["probability"] * arr).sum()),
        float(arr[certain].sum()),
        len(table),
        int((~known & (figures.money.amounts.reindex(clients) > 0)).sum()),
    )


def _drawn(
    table: pd.DataFrame, arr: np.ndarray, tier: np.ndarray, rng: np.random.Generator, draws: int
) -> np.ndarray:
    shared, own = table["shared_sd"].to_numpy(), table["own_sd"].to_numpy()
    mean = scipy.special.logit(np.clip(table["probability"].to_numpy(dtype=float), 1e-9, 1 - 1e-9))
    centre = mean * np.sqrt(
        1 + np.pi * (shared**2 + own**2) / 8
    )  # whose mean probability is the customer's
    common = rng.standard_normal((draws, tier.max() + 1))[:, tier] * shared
    odds = centre + common + rng.standard_normal((draws, len(arr))) * own
    return ((rng.random((draws, len(arr))) < scipy.special.expit(odds)) * arr).sum(axis=1)
