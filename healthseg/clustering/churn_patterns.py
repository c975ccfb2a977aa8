"""What precedes churn and retention: each sign, feature, order and bundle against churn in the month after.

At every month's end of the portfolio's history: which customers showed it, and which churned (or gave notice) within 30
days? The p is that of its odds of churn at equal size, tenure, tier, quarter and activity in the month before, by pooled
logistic regression over the months (a discrete-time hazard, whose odds ratio at a few per cent a month is the hazard
ratio): the adjustment of the effects of adoption, too. The lift is plain: the monthly churn rate with it over the rate
without.

Feature use is a possible recommendation: it is also compared at an equal share of the other features, and beside the
other promising features, since what only accompanies a cause has no effect of its own, and must hold at equal activity of the same
days as well (the odds shown are those at equal activity before, which adoption does not cause). As every feature makes its customer a little broader, the near
end of the interval of its adjusted odds must reach the least lift.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.clustering.patterns import COLUMNS, PatternFamily, PatternLimits, Resample
from healthseg.clustering.sequences import ARROW
from healthseg.metrics import landmarks
from healthseg.settings import Settings
from healthseg.statistics.effects import (
    Estimate,
    odds_ratio,
    partial_correlation,
    resamples,
)
from healthseg.statistics.rates import wilson

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

USED, ORDER = "uses ", "took up "
# beside the count of events, how who is leaving uses less within the same days
SAME_DAYS = ("seat_utilisation", "stickiness_30d", "days_since_last_person_event")
OUTCOME_COLUMNS = [
    "hazard_ratio",
    "hazard_lower",
    "hazard_upper",
    "rate_with",
    "rate_without",
    "months_with",
    "months_without",
    "left_with",
    "left_without",
]


class ChurnHypotheses:
    """Tests what is shown (1, 0, NaN by month row) against churn in the month after."""

    def __init__(self, rows: pd.DataFrame, settings: Settings) -> None:
        self.settings = settings
        self.limits = PatternLimits()
        self.level = settings.effects_interval_level
        self.churned = rows["outcome"].to_numpy(dtype=float)
        self.covariates, self.names = np.empty((len(rows), 0)), list[str]()
        self.late = np.zeros(0, dtype=bool)
        if len(rows):
            self.covariates, self.names, _ = landmarks.adjustment_columns(rows, settings)
            date = pd.to_datetime(rows["date"])
            self.late = (date > date.quantile(0.5)).to_numpy()
        self.complete = np.isfinite(self.covariates).all(axis=1)
        self.customer, self.units = pd.factorize(rows["client_id"], sort=True)
        self.activity = np.column_stack(
            [_scaled_log(rows), *(_scaled(rows, name) for name in SAME_DAYS)]
        )

    @property
    def reason(self) -> str | None:
        """Why nothing can be tested."""
        churned = int(self.churned.sum())
        least = self.settings.effects_min_customers
        if churned < least:
            return f"{churned} customers churned in the months of the history, {least} are needed"
        return None

    def adjusted_for(self, kind: str) -> list[str]:
        return [*self.names, "share of other features"] if kind == "habit" else self.names

    def family(
        self,
        kind: str,
        shown: Mapping[str, np.ndarray],
        beside: Mapping[str, np.ndarray] | None = None,
    ) -> PatternFamily:
        """One hypothesis a key; those that cannot be tested (all alike, too few) are left out.

        ``beside`` (by key, by month row: the share of other features) is a further covariate; with it each is also
        tested beside its rivals.
        """
        columns = [*COLUMNS, *OUTCOME_COLUMNS]
        if self.reason:
            return PatternFamily(kind, pd.DataFrame(columns=columns), limits=self.limits)
        covariates = {key: None if beside is None else beside[key][:, None] for key in shown}
        rows = {key: self._row(x, covariates[key]) for key, x in shown.items()}
        tested = {key: row for key, row in rows.items() if row is not None}
        active: dict[str, dict[str, Any]] = {}
        if beside is not None:
            active = self._at_equal_activity(tested, shown, beside)
            tested = self._beside_rivals(tested, shown, beside)
            tested |= {
                key: tested[key] | {"p": max(tested[key]["p"], row["p"])}
                for key, row in active.items()
            }
        tried = pd.DataFrame([{"key": key, **row} for key, row in tested.items()], columns=columns)
        if beside is not None:
            also = pd.DataFrame([active.get(key, row) for key, row in tested.items()])
            ends = _nearer_end(tried), _nearer_end(also) if len(also) else np.ones(len(tried))
            tried["sure_lift"] = np.where(
                (ends[0] - 1) * (ends[1] - 1) > 0,
                np.where(np.abs(np.log(ends[0])) < np.abs(np.log(ends[1])), *ends),
                1.0,
            )
        later = []
        for key in self._promising(tested):
            row = self._row(shown[key], covariates[key], self.late)
            if row is not None:
                later.append((key, row["lift"], row["p"]))
        return PatternFamily(
            kind,
            tried,
            self.units.tolist(),
            self._resampler([shown[key] for key in tested]),
            pd.DataFrame(later, columns=["key", "lift", "p"]),
            self.limits,
        )

    def _promising(self, tested: Mapping[str, dict[str, Any]]) -> list[str]:
        limit = self.settings.churn_pattern_promising_max_p
        return [key for key, row in tested.items() if row["p"] <= limit]

    def _row(
        self,
        x: np.ndarray,
        further: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> dict[str, Any] | None:
        """Support, rates, lift and adjusted odds of what is shown; None where there are too few."""
        counted = np.isfinite(x) & self.complete & (True if rows is None else rows)
        with_it, without = counted & (x == 1), counted & (x == 0)
        months_with, months_without = int(with_it.sum()), int(without.sum())
        if (
            min(months_with, months_without, self.churned[counted].sum())
            < self.settings.effects_min_customers
        ):
            return None
        covariates = (
            self.covariates if further is None else np.column_stack([self.covariates, further])
        )
        odds = odds_ratio(
            x[counted],
            self.churned[counted],
            covariates[counted],
            self.customer[counted],
            self.level,
        )
        if odds is None:
            return None
        left_with, left_without = self.churned[with_it].sum(), self.churned[without].sum()
        support = len(np.unique(self.customer[with_it]))
        n = len(np.unique(self.customer[counted]))
        rate, base = left_with / months_with, max(left_without, 0.5) / months_without
        lower, upper = wilson(left_with, months_with, self.level)
        return {
            "support": support,
            "n": n,
            "prevalence": support / n,
            "base_rate": base,
            "lift": max(rate, 0.5 / months_with) / base,
            "lower": float(lower) / base,
            "upper": float(upper) / base,
            "p": odds.p,
            "hazard_ratio": odds.value,
            "hazard_lower": odds.lower,
            "hazard_upper": odds.upper,
            "rate_with": rate,
            "rate_without": left_without / months_without,
            "months_with": months_with,
            "months_without": months_without,
            "left_with": int(left_with),
            "left_without": int(left_without),
        }

    def _at_equal_activity(
        self,
        tested: Mapping[str, dict[str, Any]],
        shown: Mapping[str, np.ndarray],
        beside: Mapping[str, np.ndarray],
    ) -> dict[str, dict[str, Any]]:
        """Each promising feature again, at equal activity of the same days too: who is leaving uses less of everything, so
        that without this whatever is used much seems to keep its customers."""
        further = {
            key: np.column_stack([beside[key][:, None], self.activity])
            for key in self._promising(tested)
        }
        rows = {key: self._row(shown[key], columns) for key, columns in further.items()}
        return {key: row for key, row in rows.items() if row is not None}

    def _beside_rivals(
        self,
        tested: dict[str, dict[str, Any]],
        shown: Mapping[str, np.ndarray],
        beside: Mapping[str, np.ndarray],
    ) -> dict[str, dict[str, Any]]:
        """Each promising feature again, at equal use of the strongest of the other promising ones."""
        promising = sorted(self._promising(tested), key=lambda key: tested[key]["p"])
        adjusted = dict(tested)
        for rank, key in enumerate(promising):
            rivals = promising[:rank][: self.settings.churn_pattern_rivals]
            if not rivals:
                continue
            others = [np.nan_to_num(shown[rival]) for rival in rivals]
            row = self._row(shown[key], np.column_stack([beside[key][:, None], *others]))
            if row is None:
                adjusted[key] = tested[key] | {"p": 1.0}
            else:
                odds = {name: row[name] for name in OUTCOME_COLUMNS[:3]}
                adjusted[key] = tested[key] | odds | {"p": max(tested[key]["p"], row["p"])}
        return adjusted

    def _resampler(self, shown: Sequence[np.ndarray]) -> Resample:
        def resample(weights: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            support, lift = (np.empty((len(weights), len(rows))) for _ in range(2))
            for column, row in enumerate(rows):
                support[:, column], lift[:, column] = self.resampled(weights, shown[row])
            return support, lift

        return resample

    def resampled(self, weights: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Support and lift of what is shown where each customer counts ``weights[draw, customer]`` times."""
        weights = weights.astype(float)
        counted = np.isfinite(x) & self.complete
        sums = []
        for rows in (counted & (x == 1), counted & (x == 0)):
            months = np.bincount(self.customer[rows], minlength=len(self.units))
            left = np.bincount(self.customer[rows], self.churned[rows], minlength=len(self.units))
            sums.append((weights @ months, weights @ left, weights @ (months > 0)))
        (months, left, support), (others, others_left, _) = sums
        base = np.maximum(others_left, 0.5) / np.maximum(others, 1)
        return support, np.maximum(left, 0.5) / np.maximum(months, 1) / base


def _scaled_log(rows: pd.DataFrame) -> np.ndarray:
    """The log of events by people and its square, for regressions; what is unknown counts as none."""
    name = "person_events_28d"
    if name not in rows or not len(rows):
        return np.empty((len(rows), 0))
    logs = np.log1p(np.nan_to_num(rows[name].to_numpy(dtype=float, na_value=np.nan)))
    scaled = (logs - logs.mean()) / (logs.std() or 1)
    return np.column_stack([scaled, scaled**2])


def _scaled(rows: pd.DataFrame, name: str) -> np.ndarray:
    """A metric in standard deviations (days as logs), for regressions; what is unknown is at the mean."""
    if name not in rows or not len(rows):
        return np.empty((len(rows), 0))
    values = rows[name].to_numpy(dtype=float, na_value=np.nan)
    values = np.log1p(values) if name.startswith("days") else values
    known = values[np.isfinite(values)]
    if not len(known):
        return np.empty((len(rows), 0))
    return np.nan_to_num((values - known.mean()) / (known.std() or 1))[:, None]


def _nearer_end(tried: pd.DataFrame) -> np.ndarray:
    """The end of each adjusted interval that is nearer to 1; 1 where it holds 1."""
    lower, upper = (tried[name].to_numpy(dtype=float) for name in ("hazard_lower", "hazard_upper"))
    return np.where(upper < 1, upper, np.where(lower > 1, lower, 1.0))


# -- feature use on month ends -----------------------------------------------------------------


def features_adopted(
    portfolio: Portfolio, months: pd.DataFrame, rule_days: int
) -> dict[str, np.ndarray]:
    """Of each feature, by month row: adopted then (1), not (0), not entitled (NaN)."""
    if not len(months):
        return {}
    pairs = landmarks.adopted_at(portfolio, months, rule_days)
    adopted = {}
    for feature, rows in pairs.groupby("feature", sort=True):
        shown = np.full(len(months), np.nan)
        shown[rows["span_id"].to_numpy(dtype=int)] = rows["adopted"].to_numpy(dtype=float)
        adopted[USED + str(feature)] = shown
    return adopted


def share_of_other_features(key: str, uses: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
    """By month row: of the entitled features that are no part of a habit, the share used; the mean where none."""
    parts = {USED + name for name in key.removeprefix(ORDER).split(ARROW)} | {key}
    others = [shown for name, shown in uses.items() if name not in parts]
    used = np.sum([np.nan_to_num(shown) for shown in others], axis=0) if others else np.zeros(rows)
    entitled = np.sum([np.isfinite(shown) for shown in others], axis=0) if others else used
    share = np.divide(used, entitled, out=np.full(rows, np.nan), where=entitled > 0)
    known = np.isfinite(share)
    return np.where(known, share, np.nanmean(share) if known.any() else 0.0)


# -- retention at quarter ends -----------------------------------------------------------------


@dataclass(frozen=True)
class RetentionWith:
    """Retention over the horizon with and without something; the correlation is None for too few."""

    correlation: Estimate | None
    rate_with: float | None
    rate_without: float | None
    n_with: int
    n_without: int


class QuarterRetention:
    """Which customers were retained for the horizon after each quarter's end, by month row."""

    def __init__(self, portfolio: Portfolio, months: pd.DataFrame, as_of: dt.date) -> None:
        settings = portfolio.settings
        rows = portfolio.cache.get(
            "pattern_quarters",
            as_of,
            lambda: landmarks.landmark_rows(
                portfolio, as_of, settings.sign_month_days, settings.sign_horizon_days
            ),
            disk=False,
        )
        keys, quarter_keys = (
            pd.MultiIndex.from_arrays(
                [frame["client_id"].astype(str), pd.to_datetime(frame["date"])]
            )
            for frame in (months, rows)
        )
        month = pd.Series(np.arange(len(months)), index=keys).reindex(quarter_keys).to_numpy()
        known = np.isfinite(month)
        rows = rows[known].reset_index(drop=True)
        self.level, self.least = settings.effects_interval_level, settings.effects_min_customers
        self.month = month[known].astype(int)
        self.retained = 1 - rows["outcome"].to_numpy(dtype=float)
        self.covariates = (
            landmarks.adjustment_columns(rows, settings)[0] if len(rows) else np.empty((0, 0))
        )
        self.customer, ids = pd.factorize(rows["client_id"], sort=True)
        self.draws = resamples(max(len(ids), 1), settings.seed)

    def with_and_without(self, shown: np.ndarray) -> RetentionWith:
        """``shown`` is 1, 0 or NaN by month row."""
        x, retained, customer = shown[self.month], self.retained, self.customer
        counted = np.isfinite(x) & np.isfinite(self.covariates).all(axis=1)
        sides = [counted & (x == side) for side in (1, 0)]
        rates = [float(retained[side].mean()) if side.any() else None for side in sides]
        outcomes = [counted & (retained == value) for value in (0, 1)]
        few = min(len(np.unique(customer[rows])) for rows in outcomes) < self.least
        correlation = None
        if not few and all(side.any() for side in sides):
            correlation = partial_correlation(
                x[counted],
                retained[counted],
                self.covariates[counted],
                customer[counted],
                self.draws,
                self.level,
            )
        return RetentionWith(
            correlation, rates[0], rates[1], int(sides[0].sum()), int(sides[1].sum())
        )

    def shares_showing(self, shown: np.ndarray) -> tuple[float | None, float | None]:
        """Share of the customer-quarters that show it, of customers retained for the horizon and of those that churned."""
        x = shown[self.month]
        sides = [np.isfinite(x) & (self.retained == value) for value in (1, 0)]
        retained, churned = (float(x[side].mean()) if side.any() else None for side in sides)
        return retained, churned

    def mean_of_retained(self, counts: np.ndarray) -> float | None:
        """The mean over customer-quarters retained for the horizon of a count by month row."""
        retained = counts[self.month][self.retained == 1]
        return float(retained.mean()) if len(retained) else None
