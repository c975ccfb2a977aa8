"""Customer-steps at risk, the candidate models of them, and their predictions for dates that they
had not seen.

Candidates are the hazard with the scorecard's directions as its prior, a logistic regression without
them, and boosted trees. Each date's models predict the steps ahead; the candidates' shares of the log
odds follow from how well each predicted the dates before.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy
from threadpoolctl import threadpool_limits

from healthseg.errors import InvalidParameters
from healthseg.scoring.churn.base_rates import STEP_DAYS, THE_PORTFOLIO, rate_posteriors
from healthseg.scoring.churn.hazard import Hazard
from healthseg.scoring.churn.own_models import OwnClassifier
from healthseg.scoring.churn.predictors import (
    TIMING,
    Predictor,
    StepAhead,
    predictors_of,
    values_ahead,
    values_of,
)
from healthseg.settings import Settings
from healthseg.statistics.effects import Losses, event_of_rows, labels

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

AT_RISK = ("client_id", "date", "live")
HELD_OUT = ["client_id", "date", "event_on"]
# of the rows that teach the rivals of a held-out date, drawn with the seed
RIVAL_ROWS = 20_000
AHEAD = 6  # steps ahead of each held-out row that are predicted: of them the fading is learnt


@dataclass(frozen=True)
class FittedHazard:
    """Fitted candidates of one set of predictors, and each one's share of the log odds (they add up to 1).

    A team's own classifier (setting ``churn_estimator``) is in the trees' place, and has the whole share.
    """

    predictors: tuple[Predictor, ...]
    step_days: int
    directed: Hazard
    undirected: Hazard | None = None
    boosted: BoostedTrees | OwnClassifier | None = None
    shares: tuple[float, ...] = (1.0, 0.0, 0.0)

    @property
    def kind(self) -> str:
        """Whether log odds are a team's own classifier's, or mostly those of trees, or of a logistic hazard."""
        if isinstance(self.boosted, OwnClassifier):
            return "own"
        return "boosted" if self.shares[2] > 0.5 else "logistic"

    def values(self, rows: pd.DataFrame, settings: Settings) -> np.ndarray:
        """Rows × predictors of the next step."""
        return values_of(rows, self.predictors, settings, StepAhead(self.step_days))

    def by_candidate(self, values: np.ndarray) -> np.ndarray:
        """Rows × candidates: the log odds of each; NaN of one that was not fitted."""
        odds = np.full((len(values), len(CANDIDATES)), np.nan)
        odds[:, 0] = self.directed.decision_function(values)
        if self.undirected is not None:
            odds[:, 1] = self.undirected.decision_function(values)
        if self.boosted is not None:
            odds[:, 2] = self.boosted.log_odds(values)
        return odds

    def log_odds(self, values: np.ndarray) -> np.ndarray:
        return mixed(self.by_candidate(values), np.array(self.shares))

    def timing(self, values: np.ndarray) -> np.ndarray:
        """The part of the log odds that what is known ahead has, by the directed hazard."""
        timed = [at for at, item in enumerate(self.predictors) if item.form == TIMING]
        return self.directed.parts(values)[:, timed].sum(axis=1)

    @property
    def base(self) -> float:
        """The log odds that belong to no predictor: of the average row, and the trees' roots."""
        return float(np.dot(self.shares, self.bases))

    @property
    def models(self) -> tuple[Hazard | BoostedTrees | OwnClassifier, ...]:
        """Of each candidate; the first's of one that was not fitted."""
        return self.directed, self.undirected or self.directed, self.boosted or self.directed

    @property
    def bases(self) -> list[float]:
        return [model.base for model in self.models]

    def parts(self, values: np.ndarray) -> np.ndarray:
        """Rows × (predictors, what is missing): each one's part of the log odds; with ``base`` they add up."""
        shares = zip(self.shares, self.models, strict=True)
        parts = [share * model.parts(values) for share, model in shares if share > 0]
        return np.sum(parts, axis=0)

    def log_odds_and_sd(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each row's log odds and their standard deviation: each candidate's own doubt, and that between them."""
        odds = self.by_candidate(values)
        odds = np.where(np.isnan(odds), odds[:, :1], odds)
        return self._pooled(
            odds.T, np.stack([model.log_odds_sd(values) for model in self._with_doubt()])
        )

    def parts_and_sds(
        self, values: np.ndarray, groups: list[list[int]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """``parts``, and rows × groups of predictors: the standard deviation of their joint part."""
        parts = np.stack([model.parts(values) for model in self.models])
        joint = np.stack([parts[:, :, group].sum(axis=2) for group in groups], axis=2)
        sds = [model.joint_parts(values, groups)[1] for model in self._with_doubt()]
        return np.tensordot(self.shares, parts, axes=1), self._pooled(joint, np.stack(sds))[1]

    def contrast(self, low: np.ndarray, high: np.ndarray, group: list[int]) -> tuple[float, float]:
        """By how much a group of predictors raises the log odds of the rows ``high`` over those of ``low``, and its
        standard deviation."""
        pair = np.stack([known_means(low), known_means(high)])
        own, sds = (
            list(each)
            for each in zip(
                *(model.contrast(pair, group) for model in self._with_doubt()), strict=True
            )
        )
        if isinstance(self.boosted, OwnClassifier):
            own[2] = self.boosted.contrast(pair, group)
        elif self.boosted is not None:
            ends = [self.boosted.parts(rows)[:, group].sum(axis=1).mean() for rows in (low, high)]
            own[2] = float(ends[1] - ends[0])
        mean, sd = self._pooled(np.array(own), np.array(sds))
        return float(mean), float(sd)

    def _with_doubt(self) -> tuple[Hazard, ...]:
        """The model whose doubt each candidate has: trees have none of their own, and count with the directed hazard's."""
        return self.directed, self.undirected or self.directed, self.directed

    def _pooled(self, own: np.ndarray, sds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the candidates (the first axis), mixed by their shares."""
        mean = np.tensordot(self.shares, own, axes=1)
        return mean, np.sqrt(np.tensordot(self.shares, sds**2 + (own - mean) ** 2, axes=1))


CANDIDATES = ("directed", "logistic", "boosted")
OWN_SHARES = (0.0, 0.0, 1.0)


def known_means(rows: np.ndarray) -> np.ndarray:
    """Column means of the known values, NaN where there are none."""
    known = ~np.isnan(rows)
    total = np.nan_to_num(rows).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def mixed(by_candidate: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The candidates' log odds by their shares; a candidate that was not fitted counts as the first."""
    own = np.where(np.isnan(by_candidate), by_candidate[:, :1], by_candidate)
    return (own * shares).sum(axis=1)


def fit_candidates(
    rows: pd.DataFrame,
    outcome: np.ndarray,
    settings: Settings,
    *,
    step_days: int = STEP_DAYS,
    shares: np.ndarray | None = None,
    integrate: bool = True,
) -> FittedHazard:
    """All candidates that the losses can teach, fitted to rows whose outcomes are known (0 or 1).

    ``shares``: those without a share are spared; ``integrate=False`` spares the posterior of the penalties.
    """
    step = StepAhead(step_days)
    predictors = predictors_of(rows, settings, step)
    values = values_of(rows, predictors, settings, step)
    unscaled = [predictor.form == TIMING for predictor in predictors]
    directions = [predictor.direction for predictor in predictors]
    directed = Hazard(
        directions,
        [predictor.group for predictor in predictors],
        [predictor.bent for predictor in predictors],
        unscaled,
        integrate=integrate,
    ).fit(values, outcome)
    fitted = FittedHazard(predictors, step_days, directed)
    if settings.churn_estimator:
        own = OwnClassifier.fit(settings.churn_estimator, predictors, values, outcome)
        return replace(fitted, boosted=own, shares=OWN_SHARES)
    enough = outcome.sum() >= settings.churn_rivals_min_churned
    if not integrate and len(values) > RIVAL_ROWS:
        drawn = np.random.default_rng(settings.seed).choice(len(values), RIVAL_ROWS, replace=False)
        values, outcome = values[np.sort(drawn)], outcome[np.sort(drawn)]
    wanted = np.ones(3) if shares is None else shares
    if enough and wanted[1] > 0:
        plain = Hazard(
            None,
            [group_of(predictor) for predictor in predictors],
            np.zeros(len(predictors)),
            unscaled,
            integrate=False,
        )
        fitted = replace(fitted, undirected=plain.fit(values, outcome))
    if enough and wanted[2] > 0:
        signs = np.sign(directions).astype(int).tolist()
        fitted = replace(fitted, boosted=boost(values, outcome, signs, settings.seed))
    if shares is not None:
        fitted = replace(fitted, shares=tuple(float(share) for share in shares))
    return fitted


def group_of(predictor: Predictor) -> str:
    """The undirected candidate shrinks all metrics alike."""
    return predictor.group if predictor.form == TIMING else "metric"


def _mean_shares(log_likelihood: np.ndarray, settings: Settings) -> np.ndarray:
    """The candidates' shares of the log odds, by their log scores on rows that they had not seen.

    The mean over a grid of shares, weighted by the outcomes' likelihood and a prior for the directed hazard: shares
    that few losses teach stay with the prior, and shares that are about as likely are averaged.
    """
    if settings.churn_estimator:
        return np.array(OWN_SHARES)
    log_weight = log_likelihood + settings.churn_directed_prior * np.log(SHARES[:, 0] + 0.05)
    weight = np.exp(log_weight - log_weight.max())
    return weight @ SHARES / weight.sum()


def _log_likelihood(by_candidate: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Rows × the grid's points."""
    own = np.where(np.isnan(by_candidate), by_candidate[:, :1], by_candidate)
    odds = own @ SHARES.T
    return outcome[:, None] * odds - np.logaddexp(0, odds)


# shares of the candidates in steps of a fifth
SHARES = np.array([(5 - a - b, a, b) for a in range(6) for b in range(6 - a)], dtype=float) / 5


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
) -> pd.DataFrame:
    """The log odds of rows by models of what was complete before them: rolling origin.

    ``origins`` are the days on which models are fitted (default: each date of the rows); one predicts the rows from its
    day to the next origin. Columns: client_id, date, event_on, ``<candidate>_<k>`` and ``timing_<k>`` (the log odds k
    steps ahead, and the part of what is known ahead), ``<candidate>_base`` (of the average row), base_log_odds (of the tier's shrunken base rate, known by then).
    An origin's rows are the same whatever came later: a longer history adds, and changes none.
    """
    days = sorted(origins or pd.DatetimeIndex(rows["date"].unique()).date)
    ends = [*days[1:], as_of + dt.timedelta(days=1)]
    parts = [
        held_out_on(rows, origin, settings, until=end, step_days=step_days)
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
    fitted = fit_candidates(training, outcome, settings, step_days=step_days, integrate=False)
    columns: dict[str, np.ndarray | float] = {}
    values = fitted.values(target, settings)
    for ahead in range(AHEAD):
        values = values_ahead(target, values, fitted.predictors, StepAhead(step_days, ahead))
        odds = fitted.by_candidate(values)
        columns |= {f"{name}_{ahead}": odds[:, at] for at, name in enumerate(CANDIDATES)}
        columns[f"timing_{ahead}"] = fitted.timing(values)
    columns |= {f"{name}_base": base for name, base in zip(CANDIDATES, fitted.bases, strict=True)}
    columns["base_log_odds"] = base_log_odds(training, outcome, target)
    return target[HELD_OUT].assign(**columns).reset_index(drop=True)


def _none_held_out(rows: pd.DataFrame) -> pd.DataFrame:
    names = [f"{name}_{ahead}" for ahead in range(AHEAD) for name in (*CANDIDATES, "timing")]
    names += [f"{name}_base" for name in CANDIDATES]
    return rows.iloc[:0][HELD_OUT].assign(**dict.fromkeys([*names, "base_log_odds"], 0.0))


def stacked(
    past: pd.DataFrame, as_of: dt.date, settings: Settings, step_days: int = STEP_DAYS
) -> tuple[pd.DataFrame, np.ndarray]:
    """Held-out rows with ``log_odds_<k>`` and ``base`` by the shares that were known on each date, and the shares known
    at as_of."""
    lead = settings.churn_lead_days
    outcome = outcomes(past, as_of, step_days, lead)
    known = ~np.isnan(outcome)
    likelihood = np.zeros((len(past), len(SHARES)))
    first = past[[f"{name}_0" for name in CANDIDATES]].to_numpy(dtype=float)
    likelihood[known] = _log_likelihood(first[known], outcome[known])
    date = past["date"].to_numpy().astype("datetime64[D]")
    complete = date + np.timedelta64(step_days + lead, "D")
    odds, base = np.empty((len(past), AHEAD)), np.empty(len(past))
    for day in np.unique(date):
        shares = _mean_shares(likelihood[complete <= day].sum(axis=0), settings)
        of_day = date == day
        base[of_day] = past.loc[of_day, [f"{name}_base" for name in CANDIDATES]] @ shares
        for ahead in range(AHEAD):
            names = [f"{name}_{ahead}" for name in CANDIDATES]
            odds[of_day, ahead] = mixed(past.loc[of_day, names].to_numpy(dtype=float), shares)
    columns = {f"log_odds_{ahead}": odds[:, ahead] for ahead in range(AHEAD)}
    return past.assign(**columns, base=base), _mean_shares(likelihood.sum(axis=0), settings)


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


# -- boosted trees, kept as plain arrays: a saved model is JSON ------------------------------------


# Boosting: depth 3 at most, since few customers churn; the learning rate and the number of trees were chosen on
# seeds 1 to 5 of the simulated laws
TREES, RATE, LEAVES, MIN_LEAF, RIDGE = 60, 0.08, 6, 40, 10.0


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
        """Rows' log odds from this tree, and rows × (features, what is missing): the part of each, adding up to it
        less the root's."""
        at, parts = np.zeros(len(X), dtype=int), np.zeros((len(X), X.shape[1] + 1))
        rows = np.arange(len(X))
        while (inner := self.feature[at] >= 0).any():
            split = np.maximum(self.feature[at], 0)
            value = X[rows, split]
            unknown = np.isnan(value)
            left = np.where(unknown, self.missing_left[at], value <= self.threshold[at])
            following = np.where(inner, np.where(left, self.left[at], self.right[at]), at)
            owner = np.where(unknown, X.shape[1], split)
            np.add.at(parts, (rows, owner), self.value[following] - self.value[at])
            at = following
        return self.value[at], parts

    @classmethod
    def of(cls, nodes: np.ndarray) -> RegressionTree:
        """From scikit-learn's nodes; steps of inner nodes are not shrunk there yet."""
        leaf = nodes["is_leaf"].astype(bool)
        return cls(
            np.where(leaf, -1, nodes["feature_idx"]).astype(int),
            nodes["num_threshold"].astype(float),
            nodes["left"].astype(int),
            nodes["right"].astype(int),
            nodes["missing_go_to_left"].astype(bool),
            np.where(leaf, 1.0, RATE) * nodes["value"],
        )


@dataclass(frozen=True)
class BoostedTrees:
    """Trees, each adding its step to the log odds, from ``start`` on."""

    start: float
    trees: tuple[RegressionTree, ...]

    @property
    def base(self) -> float:
        """The part that belongs to no feature."""
        return self.start + float(sum(float(tree.value[0]) for tree in self.trees))

    def parts(self, X: np.ndarray) -> np.ndarray:
        """Rows × (features, what is missing): each one's part of the log odds; with ``base`` they add up."""
        return sum((tree.path(X)[1] for tree in self.trees), np.zeros((len(X), X.shape[1] + 1)))

    def log_odds(self, X: np.ndarray) -> np.ndarray:
        return sum((tree.path(X)[0] for tree in self.trees), np.full(len(X), self.start))

    def to_dict(self) -> dict[str, Any]:
        trees = [
            {name: values.tolist() for name, values in asdict(tree).items()} for tree in self.trees
        ]
        return {"start": self.start, "trees": trees}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> BoostedTrees:
        trees = [
            {name: np.array(values) for name, values in tree.items()} for tree in saved["trees"]
        ]
        return cls(saved["start"], tuple(RegressionTree(**tree) for tree in trees))


def boosting(directions: Sequence[int], rows: int, seed: int) -> HistGradientBoostingClassifier:
    """scikit-learn's model for so many rows, monotonic where a direction is known."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # only where trees are grown

    return HistGradientBoostingClassifier(
        learning_rate=RATE,
        max_iter=TREES,
        max_leaf_nodes=LEAVES,
        min_samples_leaf=min(MIN_LEAF, max(rows // 20, 2)),
        l2_regularization=RIDGE,
        max_bins=63,
        monotonic_cst=list(directions),
        early_stopping=False,
        random_state=seed,
    )


def boost(X: np.ndarray, outcome: np.ndarray, directions: Sequence[int], seed: int) -> BoostedTrees:
    """The trees of ``boosting``, fitted, as plain nodes."""
    with threadpool_limits(1):
        model = boosting(directions, len(X), seed).fit(X, outcome)
    start = float(np.ravel(model._baseline_prediction)[0])
    return BoostedTrees(
        start, tuple(RegressionTree.of(grown.nodes) for (grown,) in model._predictors)
    )
