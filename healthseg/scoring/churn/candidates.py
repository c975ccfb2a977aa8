"""Customer-steps at risk, the candidate models of them, and their predictions for dates that they
had not seen.

``CANDIDATES`` are functions ``(rows, outcome, settings, integrate=True) -> FittedHazard`` from the
simplest to the most complex; ``fit_best`` prefers a later one only where it is better on later
time. Boosted trees: Newton boosting (Friedman 2001; Chen & Guestrin 2016) of trees of depth 2 that
starts at the additive model's log odds; stored as plain arrays, so that a saved model is JSON and a
row's path says which metrics moved it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd
import scipy
from sklearn.tree import DecisionTreeRegressor

from healthseg.errors import InvalidParameters
from healthseg.scoring.churn.base_rates import STEP_DAYS, THE_PORTFOLIO, rate_posteriors
from healthseg.scoring.churn.hazard import HazardClassifier
from healthseg.scoring.churn.predictors import Predictor, predictors_of, values_of
from healthseg.settings import Settings
from healthseg.statistics.outcomes import Losses, event_of_rows, labels

AT_RISK = ("client_id", "date", "live")
HELD_OUT = ["client_id", "date", "event_on"]
TREES, RATE, DEPTH = 40, 0.08, 2
MAX_ROWS = 12_000  # that trees are grown on, drawn with the seed
MIN_LEAF = 200  # rows
RIDGE = 20.0  # added to a leaf's curvature


@dataclass(frozen=True)
class RegressionTree:
    """Nodes in order: feature (−1 of a leaf), threshold, left, right, whether missing goes left, and the step."""

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray

    def path(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows' log odds from this tree, and rows × features: the part of each, adding up to it less the root's."""
        at, parts = np.zeros(len(X), dtype=int), np.zeros(X.shape)
        rows = np.arange(len(X))
        for _ in range(DEPTH):
            inner = self.feature[at] >= 0
            value = X[rows, np.maximum(self.feature[at], 0)]
            left = np.where(np.isnan(value), self.missing_left[at], value <= self.threshold[at])
            following = np.where(inner, np.where(left, self.left[at], self.right[at]), at)
            step = (self.value[following] - self.value[at])[inner]
            np.add.at(parts, (rows[inner], self.feature[at][inner]), step)
            at = following
        return self.value[at], parts


@dataclass(frozen=True)
class BoostedTrees:
    """Trees, each adding its step to the log odds."""

    trees: tuple[RegressionTree, ...]

    @property
    def base(self) -> float:
        """The part that belongs to no feature."""
        return float(sum(float(tree.value[0]) for tree in self.trees))

    def parts(self, X: np.ndarray) -> np.ndarray:
        """Rows × features: each feature's part of what the trees add; with ``base`` they add up."""
        return sum((tree.path(X)[1] for tree in self.trees), np.zeros(X.shape))

    def log_odds(self, X: np.ndarray) -> np.ndarray:
        return sum((tree.path(X)[0] for tree in self.trees), np.zeros(len(X)))

    def to_dict(self) -> dict[str, Any]:
        return {
            "trees": [
                {name: values.tolist() for name, values in asdict(tree).items()}
                for tree in self.trees
            ]
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> BoostedTrees:
        trees = [
            {name: np.array(values) for name, values in tree.items()} for tree in saved["trees"]
        ]
        return cls(tuple(RegressionTree(**tree) for tree in trees))


def boost(X: np.ndarray, outcome: np.ndarray, log_odds: np.ndarray, seed: int) -> BoostedTrees:
    """Trees that follow what ``log_odds`` leaves of the outcome."""
    if len(X) > MAX_ROWS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(X), MAX_ROWS, replace=False))
        X, outcome, log_odds = X[chosen], outcome[chosen], log_odds[chosen]
    odds, trees = log_odds.copy(), []
    for at in range(TREES):
        p = scipy.special.expit(odds)
        curvature = np.maximum(p * (1 - p), 1e-6)
        grown = DecisionTreeRegressor(
            max_depth=DEPTH, min_samples_leaf=MIN_LEAF, random_state=seed + at
        )
        grown.fit(X, (outcome - p) / curvature, sample_weight=curvature)
        trees.append(_newton_tree(grown, X, outcome - p, curvature))
        odds = odds + trees[-1].path(X)[0]
    return BoostedTrees(tuple(trees))


def _newton_tree(
    grown: DecisionTreeRegressor, X: np.ndarray, gradient: np.ndarray, curvature: np.ndarray
) -> RegressionTree:
    """The tree's splits with Newton's step, shrunk towards none, in each node."""
    tree, inside = grown.tree_, grown.decision_path(X).T  # nodes × rows
    return RegressionTree(
        np.where(tree.children_left >= 0, tree.feature, -1),
        tree.threshold.copy(),
        tree.children_left.copy(),
        tree.children_right.copy(),
        tree.missing_go_to_left.astype(bool),
        RATE * (inside @ gradient) / (inside @ curvature + RIDGE),
    )


@dataclass(frozen=True)
class FittedHazard:
    """A fitted candidate: what it reads, the additive model, and trees on top of it, if any."""

    predictors: tuple[Predictor, ...]
    classifier: HazardClassifier
    boosted: BoostedTrees | None = None

    @property
    def kind(self) -> str:
        return "logistic" if self.boosted is None else "boosted"

    def values(self, rows: pd.DataFrame, settings: Settings) -> np.ndarray:
        return values_of(rows, self.predictors, settings)

    def log_odds(self, values: np.ndarray) -> np.ndarray:
        odds = self.classifier.decision_function(values)
        return odds if self.boosted is None else odds + self.boosted.log_odds(values)

    @property
    def base(self) -> float:
        """The log odds that belong to no predictor: of the average row, and the trees' roots."""
        return self.classifier.base + (self.boosted.base if self.boosted else 0.0)

    def joint_parts(
        self, values: np.ndarray, groups: list[list[int]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """``HazardClassifier.joint_parts``, with what the trees add, whose uncertainty is unknown."""
        parts, sds = self.classifier.joint_parts(values, groups)
        if self.boosted is not None:
            added = self.boosted.parts(values)
            parts = parts + np.stack([added[:, group].sum(axis=1) for group in groups], axis=1)
        return parts, sds


class Candidate(Protocol):
    """Fits rows whose outcomes are known (0 or 1); ``integrate=False`` spares the posterior of the penalties."""

    def __call__(
        self, rows: pd.DataFrame, outcome: np.ndarray, settings: Settings, *, integrate: bool = True
    ) -> FittedHazard: ...


def fit_additive(
    rows: pd.DataFrame, outcome: np.ndarray, settings: Settings, *, integrate: bool = True
) -> FittedHazard:
    """The additive logistic hazard with the scorecard's directions as its prior."""
    predictors = predictors_of(rows, settings)
    classifier = HazardClassifier(
        [predictor.direction for predictor in predictors],
        [predictor.group for predictor in predictors],
        [predictor.bent for predictor in predictors],
        integrate=integrate,
    )
    return FittedHazard(predictors, classifier.fit(values_of(rows, predictors, settings), outcome))


def fit_boosted(
    rows: pd.DataFrame, outcome: np.ndarray, settings: Settings, *, integrate: bool = True
) -> FittedHazard:
    """Boosted trees on top of the additive hazard."""
    additive = fit_additive(rows, outcome, settings, integrate=integrate)
    values = additive.values(rows, settings)
    odds = additive.classifier.decision_function(values)
    return replace(additive, boosted=boost(values, outcome, odds, settings.seed))


CANDIDATES: dict[str, Candidate] = {"logistic": fit_additive, "boosted": fit_boosted}


def fit_best(
    rows: pd.DataFrame, outcome: np.ndarray, complete_days: int, settings: Settings
) -> FittedHazard:
    """The candidate to use: the additive hazard, or trees on top of it where they are better on later time."""
    enough = outcome.sum() >= settings.churn_boosting_min_churned
    if enough and is_better_later("boosted", "logistic", rows, outcome, complete_days, settings):
        return fit_boosted(rows, outcome, settings)
    return fit_additive(rows, outcome, settings)


def is_better_later(
    name: str,
    rival: str,
    rows: pd.DataFrame,
    outcome: np.ndarray,
    complete_days: int,
    settings: Settings,
) -> bool:
    """Whether a candidate, fitted to the earlier dates, beats a rival on the later ones.

    Both are fitted to rows whose outcome was complete (``complete_days``) before the later dates began, and compared by
    their log scores; the gain must exceed ``churn_comparison_z`` standard errors, by customer.
    """
    date = rows["date"].to_numpy()
    dates = np.unique(date)
    begin = dates[int((1 - settings.churn_comparison_share) * len(dates))]
    early, late = date + np.timedelta64(complete_days, "D") <= begin, date >= begin
    if not 0 < outcome[early].sum() < early.sum():
        return False
    loss = {}
    for key in (name, rival):
        fitted = CANDIDATES[key](rows[early], outcome[early], settings, integrate=False)
        odds = fitted.log_odds(fitted.values(rows[late], settings))
        loss[key] = np.logaddexp(0, odds) - outcome[late] * odds
    gain = pd.Series(loss[rival] - loss[name])
    by_customer = gain.groupby(rows.loc[late, "client_id"].to_numpy()).sum().to_numpy()
    error = np.sqrt(len(by_customer)) * by_customer.std()
    return bool(by_customer.sum() > settings.churn_comparison_z * error)


def rows_at_risk(panel: pd.DataFrame, event_on: Losses, as_of: dt.date) -> pd.DataFrame:
    """The panel's rows of customers that were live and had not given notice, with ``event_on`` as known at as_of.

    ``event_on`` (``event_of_rows``) is the earlier of notice and churn of the row's spell. Its rows end with it: afterwards the customer behaves
    like one that is churning. Raises InvalidParameters for a panel without the columns, with two rows of a customer
    and date, or with dates after as_of.
    """
    missing = [name for name in AT_RISK if name not in panel]
    if missing:
        raise InvalidParameters(
            f"the panel lacks the column {missing[0]!r}; it has a row per client_id and date, and "
            "says who was live",
            parameter="panel",
            value_provided=missing[0],
        )
    date, until = pd.to_datetime(panel["date"]).astype("datetime64[us]"), pd.Timestamp(as_of)
    if len(date) and date.max() > until:
        raise InvalidParameters(
            f"the panel has rows of {date.max():%Y-%m-%d}, after {as_of}: the dates are out of "
            "order, a model learns from what was known by then",
            parameter="as_of",
            value_provided=str(as_of),
            validation_rule="not before the panel's last date",
        )
    event = event_of_rows(panel, event_on)
    event = np.where(event <= until.to_datetime64(), event, np.datetime64("NaT"))
    rows = panel.assign(date=date.to_numpy(), event_on=event)
    live = panel["live"].fillna(False).to_numpy(dtype=bool)
    rows = rows[live & ~(event <= rows["date"].to_numpy())]
    rows = rows.sort_values(["date", "client_id"], kind="stable", ignore_index=True)
    if rows.duplicated(["client_id", "date"]).any():
        message = "the panel has two rows of one customer and date"
        raise InvalidParameters(message, parameter="panel")
    return rows


def outcomes(
    rows: pd.DataFrame, as_of: dt.date, days: int, lead_days: int, after_days: int = 0
) -> np.ndarray:
    """Per row 1, 0, or NaN where it cannot be known: was the customer lost in the ``days`` after lead + after?"""
    keys = rows[["client_id", "date"]]
    return labels(keys, rows["event_on"].to_numpy(), as_of, days, lead_days + after_days)[
        "outcome"
    ].to_numpy()


def held_out(
    rows: pd.DataFrame,
    as_of: dt.date,
    settings: Settings,
    *,
    step_days: int = STEP_DAYS,
    origins: Sequence[dt.date] | None = None,
    fit: Candidate = fit_additive,
) -> pd.DataFrame:
    """The log odds of rows by a model of what was complete before them: rolling origin.

    ``origins`` are the days on which models are fitted (default: each date of the rows); one predicts the rows from its
    day to the next origin. Columns: client_id, date, event_on, log_odds, base_log_odds (of the tier's shrunken base
    rate, known by then). An origin's rows are the same whatever came later: a longer history adds, and changes none.
    """
    days = sorted(origins or pd.DatetimeIndex(rows["date"].unique()).date)
    ends = [*days[1:], as_of + dt.timedelta(days=1)]
    parts = [
        held_out_on(rows, origin, settings, until=end, step_days=step_days, fit=fit)
        for origin, end in list(zip(days, ends, strict=True))[-settings.churn_max_origins :]
    ]
    return pd.concat(parts, ignore_index=True) if parts else _none_held_out(rows)


def held_out_on(
    rows: pd.DataFrame,
    origin: dt.date,
    settings: Settings,
    *,
    until: dt.date | None = None,
    step_days: int = STEP_DAYS,
    fit: Candidate = fit_additive,
) -> pd.DataFrame:
    """One origin of ``held_out``: its rows from ``origin`` to before ``until`` (default: of that day alone).

    No row where too few dates or losses, or nobody who was retained, teach the model.
    """
    start, end = pd.Timestamp(origin), pd.Timestamp(until or origin + dt.timedelta(days=1))
    target = rows[(rows["date"] >= start) & (rows["date"] < end)]
    training = rows[rows["date"] < start]
    outcome = outcomes(training, origin, step_days, settings.churn_lead_days)
    known = ~np.isnan(outcome)
    training, outcome = training[known], outcome[known]
    if (
        not len(target)
        or training["date"].nunique() < settings.churn_origin_min_dates
        or outcome.sum() < settings.churn_origin_min_churned
        or outcome.all()
    ):
        return _none_held_out(rows)
    model = fit(training, outcome, settings, integrate=False)
    predicted = target[HELD_OUT].assign(
        log_odds=model.log_odds(model.values(target, settings)),
        base_log_odds=base_log_odds(training, outcome, target),
    )
    return predicted.reset_index(drop=True)


def _none_held_out(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.iloc[:0][HELD_OUT].assign(log_odds=0.0, base_log_odds=0.0)


def base_log_odds(training: pd.DataFrame, outcome: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
    """Per row the log odds of its tier's shrunken base rate in a step."""
    table = pd.DataFrame({"events": outcome, "steps": 1.0})
    counts = table.groupby(_tiers(training), sort=True).sum()
    counts.loc[THE_PORTFOLIO] = [outcome.sum(), float(len(outcome))]
    odds = {
        tier: scipy.special.logit(rate.mean_probability(1.0))
        for tier, rate in rate_posteriors(counts).items()
    }
    return np.array([odds.get(tier, odds[THE_PORTFOLIO]) for tier in _tiers(rows)])


def _tiers(rows: pd.DataFrame) -> np.ndarray:
    words = rows["tier"] if "tier" in rows else pd.Series(None, index=rows.index, dtype=object)
    return words.astype(object).where(words.notna(), "unknown").to_numpy()
