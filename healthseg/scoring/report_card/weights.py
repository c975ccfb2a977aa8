"""Which weights would outcomes suggest, and which customers are riskiest under any reasonable weights and anchors?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from healthseg.scoring.health import score_panel
from healthseg.scoring.report_card.accuracy import Bootstrap, churned_customers
from healthseg.settings import Component, Scorecard, ScorecardMetric, Settings
from healthseg.statistics.separation import auc_gain

# the score and the points of it that the regression's log odds are centred on and count in; the mean of nothing known
CENTRE, UNIT, UNKNOWN_MEAN = 70.0, 10.0, 50.0
ROWS_A_LOSS = 3  # a loss within 90 days is the outcome of three monthly rows
NO_BETTER = "no better than today's"
TOO_FEW = "too few customers churned on the earlier or the later dates to learn and test weights"


@dataclass(frozen=True)
class WeightSuggestion:
    """Weights learnt from the earlier dates, and the AUC that they gain over today's on the later ones.

    ``verdict`` says whether to change: only where the gain's interval lies above zero. ``frame``: component,
    weight_now, weight_suggested.
    """

    frame: pd.DataFrame
    gain: float | None
    gain_lower: float | None
    gain_upper: float | None
    verdict: str


def suggest(
    rows: pd.DataFrame, settings: Settings, horizon_days: int, bootstrap: Bootstrap
) -> WeightSuggestion:
    """Non-negative weights of the components that would have separated customers best, shrunk to today's.

    ``rows`` are of ``rebuilt``, with outcomes. Dates whose outcome window reaches into the later ones are left out of
    the training.
    """
    today = _todays_weights(settings)
    names, now = list(today), np.array(list(today.values()))
    frame = pd.DataFrame({"component": names, "weight_now": now})
    known = rows[rows["outcome"].notna() & rows["weighted_composite"].notna()]
    known = known.reset_index(drop=True)
    dates = np.unique(known["date"].to_numpy())
    early = late = known.iloc[:0]
    if len(dates) > 2:
        begin = dates[int(settings.weights_training_share * len(dates))]
        early = known[known["date"] + pd.Timedelta(days=horizon_days) < begin]
        late = known[known["date"] >= begin]
    if min(churned_customers(early), churned_customers(late)) < settings.report_card_min_churned:
        unknown = frame.assign(weight_suggested=np.nan)
        return WeightSuggestion(unknown, None, None, None, TOO_FEW)
    weights = _learnt(early, now, names, settings.weights_prior_churned)
    compared = late.assign(now=-_mean(late, now, names), then=-_mean(late, weights, names))
    gain, low, high = bootstrap.interval(auc_gain, compared, ("outcome", "then", "now", "date"))
    verdict = f"{gain:+.3f} AUC on later dates" if low > 0 else NO_BETTER
    return WeightSuggestion(frame.assign(weight_suggested=weights), gain, low, high, verdict)


def _todays_weights(settings: Settings) -> dict[str, float]:
    card = settings.scorecard.components
    total = sum(part.weight for part in card.values())
    return {name: card[name].weight / total for name in settings.component_names if name in card}


def _mean(rows: pd.DataFrame, weights: np.ndarray, names: list[str]) -> np.ndarray:
    """The weighted mean of the components that are known, as in the score."""
    values = rows[names].to_numpy(dtype=float)
    total = (~np.isnan(values) * weights).sum(axis=1)
    mean = (np.nan_to_num(values) * weights).sum(axis=1) / np.where(total > 0, total, 1.0)
    return np.where(total > 0, mean, UNKNOWN_MEAN)


def _learnt(rows: pd.DataFrame, now: np.ndarray, names: list[str], prior: float) -> np.ndarray:
    """Weights on the simplex: a logistic regression of the outcome on the weighted mean, shrunk to today's."""
    outcome = rows["outcome"].to_numpy()
    # a customer's rows are one observation, not one a date
    share = 1 / max(len(np.unique(rows["date"])), 1)

    def loss(free: np.ndarray) -> float:
        weights = scipy.special.softmax(free[2:])
        odds = free[0] - np.exp(free[1]) * (_mean(rows, weights, names) - CENTRE) / UNIT
        misfit = (np.logaddexp(0, odds) - outcome * odds).sum() * ROWS_A_LOSS * share
        return float(misfit + prior * scipy.special.rel_entr(now, weights).sum())

    mean = scipy.special.logit(np.clip(outcome.mean(), 0.01, 0.99))
    start = np.concatenate([[mean, 0.0], np.log(np.maximum(now, 1e-3))])
    return scipy.special.softmax(scipy.optimize.minimize(loss, start, method="L-BFGS-B").x[2:])


def ranks(
    today: pd.DataFrame, settings: Settings, accounts: int, draws: int, seed: int
) -> pd.DataFrame:
    """How often is each customer among the ``accounts`` lowest scores when weights and anchors differ?

    ``today`` are rows of the panel of one date. Columns: client_id, score, rank (1 the lowest), share (of the draws),
    rank_low, rank_high (5th and 95th percentile), verdict (always, sometimes, never). Withheld scores are left out.
    """
    plain = score_panel(today, settings).frame
    known = plain["score"].notna().to_numpy()
    rng = np.random.default_rng(seed)

    def drawn_ranks() -> np.ndarray:
        frame = score_panel(today, _perturbed(settings, rng)).frame
        return _ranked(frame["score"].to_numpy()[known])

    drawn = np.stack([drawn_ranks() for _ in range(draws)])
    share = (drawn <= accounts).mean(axis=0)
    low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
    is_always = share >= settings.ranks_always_share
    is_sometimes = share >= settings.ranks_sometimes_share
    score = plain["score"].to_numpy()[known]
    frame = pd.DataFrame(
        {
            "client_id": plain["client_id"].to_numpy()[known],
            "score": score,
            "rank": _ranked(score),
            "share": share,
            "rank_low": low,
            "rank_high": high,
            "verdict": np.select([is_always, is_sometimes], ["always", "sometimes"], "never"),
        }
    )
    order, ascending = ["share", "rank", "client_id"], [False, True, True]
    return frame.sort_values(order, ascending=ascending, kind="stable", ignore_index=True)


def _ranked(scores: np.ndarray) -> np.ndarray:
    return pd.Series(scores).rank(method="first").to_numpy()


def _perturbed(settings: Settings, rng: np.random.Generator) -> Settings:
    """The scorecard with every weight and every metric's anchors multiplied by random factors."""

    def factor(reach: float) -> float:
        return float(1 + rng.uniform(-reach, reach))

    def moved(metric: ScorecardMetric) -> ScorecardMetric:
        by = factor(settings.ranks_anchor_change)
        anchors = tuple((value * by, points) for value, points in metric.anchors)
        weight = metric.weight * factor(settings.ranks_weight_change)
        return metric.model_copy(update={"weight": weight, "anchors": anchors})

    parts = {
        name: Component(
            weight=part.weight * factor(settings.ranks_weight_change),
            metrics=tuple(moved(metric) for metric in part.metrics),
        )
        for name, part in settings.scorecard.components.items()
    }
    card = Scorecard(components=parts)
    return settings.model_copy(update={"scorecard": card, "scorecard_variants": ()})
