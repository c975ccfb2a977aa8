"""Customer-steps at risk, and what a model would have said on dates that it had not seen."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from healthseg.errors import InvalidParameters
from healthseg.scoring.boosting import Boosted
from healthseg.scoring.churn import THE_PORTFOLIO, rate_posteriors
from healthseg.scoring.hazard import AdditiveHazard
from healthseg.scoring.predictors import Predictor, predictors_of, values_of
from healthseg.settings import Settings
from healthseg.statistics.outcomes import labels

STEP_DAYS = 30
LEAST_DATES = 3  # before the first held-out date
LEAST_EVENTS = 5  # in the rows that teach for it
MOST_ORIGINS = 24  # the last two years of held-out dates
AT_RISK = ("client_id", "date", "live")


@dataclass(frozen=True)
class Fitted:
    """A classifier and what it reads, and trees on top of it where they were better on later time."""

    predictors: tuple[Predictor, ...]
    classifier: AdditiveHazard
    boosted: Boosted | None = None

    def values(self, rows: pd.DataFrame, config: Settings) -> np.ndarray:
        return values_of(rows, self.predictors, config)

    def log_odds(self, values: np.ndarray) -> np.ndarray:
        odds = self.classifier.decision_function(values)
        return odds if self.boosted is None else odds + self.boosted.log_odds(values)

    @property
    def base(self) -> float:
        """What belongs to no predictor: the log odds of the average row, and the trees' roots."""
        roots = (
            0.0
            if self.boosted is None
            else sum(float(tree.value[0]) for tree in self.boosted.trees)
        )
        return self.classifier.base + roots

    def joint_parts(
        self, values: np.ndarray, groups: list[list[int]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """``AdditiveHazard.joint_parts``, with what the trees add; of the trees no doubt is known."""
        parts, sds = self.classifier.joint_parts(values, groups)
        if self.boosted is not None:
            added = self.boosted.added(values)
            parts = parts + np.stack([added[:, group].sum(axis=1) for group in groups], axis=1)
        return parts, sds


def rows_at_risk(panel: pd.DataFrame, event_on: pd.Series, as_of: dt.date) -> pd.DataFrame:
    """The panel's rows of customers that were live and had not given notice, with ``event_on`` as known at as_of.

    ``event_on`` (by client_id) is the earlier of notice and leaving. Rows that end with a customer's notice or leaving
    are all of it that a model may learn from: after it the customer behaves like one that is leaving. Raises
    InvalidParameters for a panel without the columns, with two rows of a customer and date, or with dates after as_of.
    """
    missing = [name for name in AT_RISK if name not in panel]
    if missing:
        raise InvalidParameters(
            f"the panel lacks the column {missing[0]!r}; it has a row per client_id and date, and "
            "says who was live",
            parameter="panel",
            value_provided=missing[0],
        )
    date = pd.to_datetime(panel["date"]).astype("datetime64[us]")
    if len(date) and date.max() > pd.Timestamp(as_of):
        raise InvalidParameters(
            f"the panel has rows of {date.max():%Y-%m-%d}, after {as_of}: the dates are out of "
            "order, a model learns from what was known by then",
            parameter="as_of",
            value_provided=str(as_of),
            validation_rule="not before the panel's last date",
        )
    event = event_on.where(event_on <= pd.Timestamp(as_of)).reindex(panel["client_id"]).to_numpy()
    rows = panel.assign(date=date.to_numpy(), event_on=event)
    risk = panel["live"].fillna(False).to_numpy(dtype=bool) & ~(event <= rows["date"].to_numpy())
    rows = rows[risk].sort_values(["date", "client_id"], kind="stable", ignore_index=True)
    if rows.duplicated(["client_id", "date"]).any():
        raise InvalidParameters(
            "the panel has two rows of one customer and date", parameter="panel"
        )
    return rows


def outcomes(
    rows: pd.DataFrame, as_of: dt.date, days: int, lead_days: int, after_days: int = 0
) -> np.ndarray:
    """Per row 1, 0, or NaN where it cannot be known: was the customer lost in the ``days`` after lead + after?"""
    found = labels(rows[["client_id", "date"]], _by_row(rows), as_of, days, lead_days + after_days)
    return found["outcome"].to_numpy()


def _by_row(rows: pd.DataFrame) -> pd.Series:
    known = rows.drop_duplicates("client_id")
    return pd.Series(known["event_on"].to_numpy(), index=known["client_id"])


def fit_classifier(
    rows: pd.DataFrame, outcome: np.ndarray, config: Settings, *, integrate: bool = True
) -> Fitted:
    """The additive logistic hazard of rows whose outcomes are known (0 or 1)."""
    from healthseg.scoring.hazard_classifier import (
        HazardClassifier,
    )  # what is only asked does without scikit-learn

    predictors = predictors_of(rows, config)
    classifier = HazardClassifier(
        [one.direction for one in predictors],
        [one.group for one in predictors],
        [one.bent for one in predictors],
        integrate=integrate,
    )
    return Fitted(predictors, classifier.fit(values_of(rows, predictors, config), outcome))


def held_out(
    rows: pd.DataFrame,
    as_of: dt.date,
    config: Settings,
    *,
    step_days: int = STEP_DAYS,
    origins: Sequence[dt.date] | None = None,
    fit: Callable[..., Fitted] = fit_classifier,
) -> pd.DataFrame:
    """What rows would have been given by a model of what was complete before them: rolling origin.

    ``origins`` are the days on which models are made (default: each date of the rows); one speaks of the rows from its
    day to the next origin. Columns: client_id, date, event_on, log_odds, base_log_odds (of the tier's shrunken base
    rate, known by then). An origin's rows are the same whatever came later: a longer history adds, and changes none.
    """
    days = sorted(origins or pd.DatetimeIndex(rows["date"].unique()).date)
    ends = [*days[1:], as_of + dt.timedelta(days=1)]
    parts = [
        held_out_on(rows, origin, config, until=end, step_days=step_days, fit=fit)
        for origin, end in list(zip(days, ends, strict=True))[-MOST_ORIGINS:]
    ]
    return pd.concat(parts, ignore_index=True) if parts else _nothing(rows)


def held_out_on(
    rows: pd.DataFrame,
    origin: dt.date,
    config: Settings,
    *,
    until: dt.date | None = None,
    step_days: int = STEP_DAYS,
    fit: Callable[..., Fitted] = fit_classifier,
) -> pd.DataFrame:
    """One origin of ``held_out``: its rows from ``origin`` to before ``until`` (default: of that day alone).

    No row where fewer than three dates, five leavers or nobody who stayed teach for it.
    """
    end = until or origin + dt.timedelta(days=1)
    here = rows[(rows["date"] >= pd.Timestamp(origin)) & (rows["date"] < pd.Timestamp(end))]
    teach = rows[rows["date"] < pd.Timestamp(origin)]
    outcome = outcomes(teach, origin, step_days, config.churn_lead_days)
    known = ~np.isnan(outcome)
    teach, outcome = teach[known], outcome[known]
    if (
        not len(here)
        or teach["date"].nunique() < LEAST_DATES
        or outcome.sum() < LEAST_EVENTS
        or outcome.all()
    ):
        return _nothing(rows)
    model = fit(teach, outcome, config, integrate=False)
    return (
        here[["client_id", "date", "event_on"]]
        .assign(
            log_odds=model.log_odds(model.values(here, config)),
            base_log_odds=base_log_odds(teach, outcome, here),
        )
        .reset_index(drop=True)
    )


def _nothing(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.iloc[:0][["client_id", "date", "event_on"]].assign(log_odds=0.0, base_log_odds=0.0)


def base_log_odds(teach: pd.DataFrame, outcome: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
    """Per row the log odds of its tier's shrunken base rate in a step."""
    tier = _tiers(teach)
    counts = pd.DataFrame({"events": outcome, "steps": 1.0}).groupby(tier, sort=True).sum()
    counts.loc[THE_PORTFOLIO] = [outcome.sum(), float(len(outcome))]
    known = {
        name: scipy.special.logit(mixture.mean_probability(1.0))
        for name, mixture in rate_posteriors(counts).items()
    }
    return np.array([known.get(name, known[THE_PORTFOLIO]) for name in _tiers(rows)])


def _tiers(rows: pd.DataFrame) -> np.ndarray:
    words = rows["tier"] if "tier" in rows else pd.Series(None, index=rows.index, dtype=object)
    return words.astype(object).where(words.notna(), "unknown").to_numpy()
