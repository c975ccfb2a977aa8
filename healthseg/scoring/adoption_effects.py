"""Does adoption go with retention, health and expansion? At landmark dates, raw and adjusted, all hypotheses in one family."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.metrics import landmarks, panels
from healthseg.scoring import score_panel
from healthseg.statistics.effects import (
    Estimate,
    adjusted_difference,
    benjamini_hochberg,
    odds_ratio,
    partial_correlation,
    resamples,
)
from healthseg.statistics.rates import wilson
from healthseg.statistics.robust import ranks

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

ADOPTION = "feature_adoption_rate_30d"
OVERALL = ("adoption_vs_health_score", "adoption_vs_retention", "adoption_vs_expansion")


@dataclass(frozen=True)
class Effects:
    """A row per hypothesis: raw and adjusted figures, n, rates, p and q, and the monthly odds of churn.

    ``name`` is a feature, one of ``OVERALL``, or ``messages`` (a message about a feature, on having
    adopted it 60 days later, in points). Figures are NaN where ``reason`` says why.
    """

    frame: pd.DataFrame
    adjusted_for: list[str]
    not_adjusted_for: list[str]
    landmarks: list[dt.date]

    def of(self, name: str) -> dict[str, Any] | None:
        rows = self.frame[self.frame["name"] == name]
        return rows.iloc[0].to_dict() if len(rows) else None

    def to_json(self) -> dict[str, Any]:
        return {
            "frame": self.frame.to_dict("split", index=False),
            "adjusted_for": self.adjusted_for,
            "not_adjusted_for": self.not_adjusted_for,
            "landmarks": [day.isoformat() for day in self.landmarks],
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Effects:
        dates = [dt.date.fromisoformat(day) for day in values["landmarks"]]
        return cls(**values | {"frame": pd.DataFrame(**values["frame"]), "landmarks": dates})


def adoption_effects(
    portfolio: Portfolio, as_of: dt.date, period_days: int, messages_known: bool
) -> Effects:
    """All effects of one day and rule of adoption, computed once per state of the portfolio.

    ``messages_known`` says whether any message names a feature.
    """

    def build() -> Effects:
        inputs = [period_days, as_of, portfolio.content(as_of), portfolio.settings.fingerprint]
        values = portfolio.cache.get("adoption_effects", inputs, tested)
        return Effects.from_json(values)

    def tested() -> dict[str, Any]:
        hypotheses = _EffectHypotheses(portfolio, as_of, period_days, messages_known)
        return hypotheses.test().to_json()

    return portfolio.cache.get("effects", (period_days, as_of), build, disk=False)


class _EffectHypotheses:
    """All hypotheses of one day, tested on the same landmark rows."""

    def __init__(
        self, portfolio: Portfolio, as_of: dt.date, period_days: int, messages_known: bool
    ) -> None:
        self.portfolio, self.as_of, self.period_days = portfolio, as_of, period_days
        self.messages_known, self.settings = messages_known, portfolio.settings
        self.horizon_days = self.settings.adoption_effect_horizon_days
        self.rows = landmarks.landmark_rows(portfolio, as_of, period_days, self.horizon_days)
        nothing: tuple[np.ndarray, list[str], list[str]] = (np.empty((0, 0)), [], [])
        self.covariates, self.names, self.left_out = (
            landmarks.adjustment_columns(self.rows, self.settings) if len(self.rows) else nothing
        )
        self.complete = np.isfinite(self.covariates).all(axis=1)
        self.customer, ids = pd.factorize(self.rows["client_id"], sort=True)
        self.draws = resamples(max(len(ids), 1), self.settings.seed)
        self.retained = 1 - self.rows["outcome"].to_numpy(dtype=float)
        self.monthly = MonthlyOdds(portfolio, as_of, period_days)

    def test(self) -> Effects:
        pairs = landmarks.adopted_at(self.portfolio, self.rows, self.period_days)
        rows_of = [self._feature(name, rows) for name, rows in pairs.groupby("feature", sort=True)]
        rows_of += [
            self._health(pairs),
            self._retention(pairs),
            self._expansion(pairs),
            self._messages(pairs),
        ]
        frame = pd.DataFrame(rows_of)
        dates = sorted(pd.to_datetime(self.rows["date"]).dt.date.unique())
        return Effects(_with_q(frame), self.names, self.left_out, dates)

    # -- one hypothesis each ------------------------------------------------------------

    def _feature(self, name: str, pairs: pd.DataFrame) -> dict[str, Any]:
        at, x = pairs["span_id"].to_numpy(dtype=int), pairs["adopted"].to_numpy(dtype=float)
        return {
            **self._result(name, at, x, self.retained[at], rates=True),
            **self.monthly.odds(name),
        }

    def _retention(self, pairs: pd.DataFrame) -> dict[str, Any]:
        at, x = _rates(pairs)
        return self._result("adoption_vs_retention", at, x, self.retained[at])

    def _expansion(self, pairs: pd.DataFrame) -> dict[str, Any]:
        at, x = _rates(pairs)
        days = self.settings.adoption_effect_expansion_days
        latest = pd.Timestamp(self.as_of - dt.timedelta(days=days))
        mature = pd.to_datetime(self.rows["date"]) <= latest
        keep = mature.to_numpy(dtype=bool)[at]
        y = landmarks.rose_within(self.portfolio, self.rows, days)[at]
        reason = None if self.portfolio.has("arr_changes") else "the portfolio has no arr_changes"
        return self._result("adoption_vs_expansion", at[keep], x[keep], y[keep], reason=reason)

    def _health(self, pairs: pd.DataFrame) -> dict[str, Any]:
        """Spearman: with the score 90 days later, without the adoption metric, of customers still live."""
        at, x = _rates(pairs)
        later = self._scores_later()[at]
        keep = np.isfinite(later)
        at, x, y = at[keep], x[keep], later[keep]
        return self._result(
            "adoption_vs_health_score", at, ranks(x) if len(x) else x, ranks(y) if len(y) else y
        )

    def _scores_later(self) -> np.ndarray:
        if not len(self.rows):
            return np.empty(0)
        then = pd.to_datetime(self.rows["date"]) + pd.Timedelta(days=self.horizon_days)
        rows = panels.panel(self.portfolio, sorted(then.dt.date.unique()))
        rows = rows[rows["live"].astype(bool)]
        scores = score_panel(rows, self.settings.without_metric(ADOPTION)).frame
        known = scores.set_index(["client_id", "date"])["score"]
        known.index = pd.MultiIndex.from_arrays(
            [known.index.get_level_values(0), pd.to_datetime(known.index.get_level_values(1))]
        )
        return known.reindex(pd.MultiIndex.from_arrays([self.rows["client_id"], then])).to_numpy(
            dtype=float
        )

    def _messages(self, pairs: pd.DataFrame) -> dict[str, Any]:
        """Do more of the customers without a feature adopt it within 60 days after a message about it?"""
        if not self.messages_known or not len(self.rows):
            return self._missing("messages", "no message names a feature")
        horizon = pd.Timedelta(days=self.settings.adoption_message_horizon_days)
        ahead = self.rows.assign(date=pd.to_datetime(self.rows["date"]) + horizon)
        later = landmarks.adopted_at(self.portfolio, ahead, self.period_days)
        rows = pairs[pairs["adopted"] == 0].merge(
            later, on=["span_id", "feature"], suffixes=("", "_later")
        )
        at = rows["span_id"].to_numpy(dtype=int)
        messaged = landmarks.told_before(
            self.portfolio, self.rows.iloc[at], rows["feature"], self.settings.adoption_message_days
        )
        which = pd.get_dummies(rows["feature"], drop_first=True, dtype=float).to_numpy()
        return self._result(
            "messages",
            at,
            messaged,
            rows["adopted_later"].to_numpy(dtype=float),
            extra=which,
            points=True,
        )

    # -- how each is tried ---------------------------------------------------------------

    def _result(
        self,
        name: str,
        at: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        rates: bool = False,
        extra: np.ndarray | None = None,
        points: bool = False,
        reason: str | None = None,
    ) -> dict[str, Any]:
        keep = self.complete[at] & np.isfinite(y)
        covariates = self.covariates[at]
        if extra is not None:
            covariates = np.column_stack([covariates, extra])
        at, x, y, covariates = at[keep], x[keep], y[keep], covariates[keep]
        reason = (
            reason
            or self._too_few(at, y)
            or (None if len(x) and np.ptp(x) > 0 else "all alike in adoption")
        )
        if reason:
            return self._missing(name, reason, at, y)
        customer, level = self.customer[at], self.settings.effects_interval_level
        estimate = adjusted_difference if points else partial_correlation
        raw = estimate(x, y, np.empty((len(x), 0)), customer, self.draws, level)
        adjusted = estimate(x, y, covariates, customer, self.draws, level)
        if adjusted is None:
            return self._missing(name, "too few rows for the adjusted figure", at, y)
        figures = {
            **self._counts(name, at, y),
            **_named("raw", raw),
            **_named("adjusted", adjusted),
            "p": adjusted.p,
        }
        return {**figures, **(self._rates(x, y) if rates else {})}

    def _rates(self, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        """Both retention rates with their n."""
        level = self.settings.effects_interval_level
        out: dict[str, Any] = {}
        for name, side in (("adopters", x == 1), ("others", x == 0)):
            lower, upper = wilson(y[side].sum(), side.sum(), level)
            out |= {
                f"{name}_n": int(side.sum()),
                f"{name}_retention": float(y[side].mean()),
                f"{name}_lower": float(lower),
                f"{name}_upper": float(upper),
            }
        return out

    def _too_few(self, at: np.ndarray, y: np.ndarray) -> str | None:
        """Where y is a yes or no: fewer than 20 customers with the one, or with the other."""
        if not len(at):
            return (
                "no landmark with a full outcome after it"
                if not len(self.rows)
                else "no row with all figures known"
            )
        least = self.settings.effects_min_customers
        if len(np.unique(y)) > 2:
            count = len(np.unique(self.customer[at]))
            return (
                f"{count} customers, at least {2 * least} are needed" if count < 2 * least else None
            )
        events, others = self._sides(at, y)
        return (
            f"{events} customers with the outcome and {others} without it, {least} of each are needed"
            if min(events, others) < least
            else None
        )

    def _sides(self, at: np.ndarray, y: np.ndarray) -> tuple[int, int]:
        """Customers that met the rarer outcome at some landmark, and those that met the other."""
        rarer = 1.0 if y.mean() <= 0.5 else 0.0
        customers = [len(np.unique(self.customer[at[y == side]])) for side in (rarer, 1 - rarer)]
        return customers[0], customers[1]

    def _counts(self, name: str, at: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        two = len(np.unique(y)) <= 2
        events, others = self._sides(at, y) if two and len(y) else (np.nan, np.nan)
        return {
            "name": name,
            "n": len(at),
            "customers": len(np.unique(self.customer[at])),
            "events": events,
            "non_events": others,
        }

    def _missing(
        self, name: str, reason: str, at: np.ndarray | None = None, y: np.ndarray | None = None
    ) -> dict[str, Any]:
        at = np.empty(0, dtype=int) if at is None else at
        y = np.empty(0) if y is None else y
        return {
            **self._counts(name, at, y),
            "p": np.nan,
            "adjusted": np.nan,
            "raw": np.nan,
            "reason": reason,
        }


class MonthlyOdds:
    """Churn month by month: at each month's end, who churns in the 30 days after it? Odds pooled over months.

    Pooled logistic regression over short steps is the discrete-time hazard model (D'Agostino et
    al. 1990): adoption is as of the step's beginning, so nothing is stale, and every churn counts.
    """

    def __init__(self, portfolio: Portfolio, as_of: dt.date, period_days: int) -> None:
        self.settings = portfolio.settings
        days = self.settings.adoption_effect_step_days
        rows = landmarks.landmark_rows(portfolio, as_of, period_days, days, every="ME")
        self.covariates = (
            landmarks.adjustment_columns(rows, self.settings)[0] if len(rows) else np.empty((0, 0))
        )
        self.complete = np.isfinite(self.covariates).all(axis=1)
        self.customer = pd.factorize(rows["client_id"], sort=True)[0]
        self.churned = rows["outcome"].to_numpy(dtype=float)
        self.pairs = dict(
            list(landmarks.adopted_at(portfolio, rows, period_days).groupby("feature"))
        )

    def odds(self, feature: str) -> dict[str, Any]:
        """The odds of churn where the feature was adopted, against the others; none under 20 churned customers."""
        pairs = self.pairs.get(feature)
        if pairs is None:
            return {}
        at, x = pairs["span_id"].to_numpy(dtype=int), pairs["adopted"].to_numpy(dtype=float)
        complete = np.asarray(self.complete)[at]
        at, x = at[complete], x[complete]
        churned = int(self.churned[at].sum())
        retained = len(np.unique(self.customer[at])) - churned
        ratio = (
            None
            if min(churned, retained) < self.settings.effects_min_customers
            else odds_ratio(
                x,
                self.churned[at],
                self.covariates[at],
                self.customer[at],
                self.settings.effects_interval_level,
            )
        )
        known = (
            {}
            if ratio is None
            else {
                "odds_ratio": ratio.value,
                "odds_lower": ratio.lower,
                "odds_upper": ratio.upper,
                "odds_p": ratio.p,
            }
        )
        return {"steps_n": len(at), "churned": churned, **known}


def _with_q(frame: pd.DataFrame) -> pd.DataFrame:
    """With the false-discovery rates of p and odds_p, all of them being one family."""
    frame = frame.reindex(columns=[*frame.columns, *({"odds_p"} - set(frame.columns))])
    tried = frame[["p", "odds_p"]].to_numpy(dtype=float)
    q = np.full(tried.shape, np.nan)
    q[~np.isnan(tried)] = benjamini_hochberg(tried[~np.isnan(tried)])
    return frame.assign(q=q[:, 0], odds_q=q[:, 1])


def _named(kind: str, estimate: Estimate | None) -> dict[str, float]:
    if estimate is None:
        return {kind: np.nan}
    return {
        kind: estimate.value,
        f"{kind}_lower": estimate.lower,
        f"{kind}_upper": estimate.upper,
        f"{kind}_p": estimate.p,
    }


def _rates(pairs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Landmark rows and the share of their features that was adopted."""
    rates = (
        pairs.groupby("span_id", sort=True)["adopted"].mean()
        if len(pairs)
        else pd.Series(dtype=float)
    )
    return rates.index.to_numpy(dtype=int), rates.to_numpy(dtype=float)
