"""Does a risk separate those that had the outcome from those that had not? Ranks within dates, precision, Brier score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy


def auc(outcome: np.ndarray, risk: np.ndarray, date: np.ndarray, weight: np.ndarray) -> float:
    """The chance that a churned customer had the higher risk than a retained one of the same date, ties counting half.

    >>> auc(np.array([1., 0, 0]), np.array([3., 1, 3]), np.zeros(3), np.ones(3))
    0.75
    """
    by_date, by_risk = (np.unique(values, return_inverse=True)[1] for values in (date, risk))
    _, rank = np.unique(by_date * (by_risk.max(initial=0) + 1) + by_risk, return_inverse=True)
    of_date = np.zeros(rank.max(initial=-1) + 1, dtype=int)
    of_date[rank] = by_date
    lost = np.bincount(rank, weight * outcome)
    retained = np.bincount(rank, weight * (1 - outcome))
    lost_by_date, by_date = (np.bincount(of_date, values) for values in (lost, retained))
    before = np.cumsum(by_date) - by_date
    below = np.cumsum(retained) - retained - before[of_date]
    pairs = float((lost_by_date * by_date).sum())
    return float((lost * (below + retained / 2)).sum() / pairs) if pairs else np.nan


def auc_gain(
    outcome: np.ndarray, risk: np.ndarray, rival: np.ndarray, date: np.ndarray, weight: np.ndarray
) -> float:
    return auc(outcome, risk, date, weight) - auc(outcome, rival, date, weight)


@dataclass(frozen=True)
class RankEvidence:
    """AUC with each date ranked within itself, its z, and the variance of the sum of ranks behind it."""

    auc: float
    z: float
    variance: float


def ranked_within_dates(score: np.ndarray, outcome: np.ndarray, date: np.ndarray) -> RankEvidence:
    """Does a score rank the churned customers of each date first?

    z is that of Σ (U − n₁n₀/2) ÷ (n + 1) (van Elteren 1960). Without signal the customers lost after a date are any of
    those at risk, so that each U has mean n₁n₀/2 and the variance of Wilcoxon's statistic (with ties), independent of
    the others.

    >>> ranked_within_dates(np.array([1., 2, 3, 4]), np.array([0., 0, 1, 1]), np.zeros(4)).auc
    1.0
    """
    excess, variance = 0.0, 0.0
    for day in np.unique(date):
        rows = date == day
        n, lost = int(rows.sum()), float(outcome[rows].sum())
        if lost in (0.0, float(n)):
            continue
        ranks = scipy.stats.rankdata(score[rows])
        above = float(ranks[outcome[rows] == 1].sum() - lost * (lost + 1) / 2)
        excess += (above - lost * (n - lost) / 2) / (n + 1)
        variance += lost * (n - lost) / n * float(ranks.var(ddof=1)) / (n + 1) ** 2
    if variance == 0:
        return RankEvidence(0.5, 0.0, 0.0)
    within = auc(outcome, score, date, np.ones(len(score)))
    return RankEvidence(within, excess / float(np.sqrt(variance)), variance)


def average_precision(outcome: np.ndarray, risk: np.ndarray, weight: np.ndarray) -> float:
    """The mean precision over the churned customers, from the riskiest on; rows of equal risk are taken together.

    >>> average_precision(np.array([1., 0, 1]), np.array([3., 2, 1]), np.ones(3)).__round__(4)
    0.8333
    """
    _, rank = np.unique(-risk, return_inverse=True)
    lost, total = np.bincount(rank, weight * outcome), np.bincount(rank, weight)
    caught, taken = np.cumsum(lost), np.cumsum(total)
    precision = np.divide(caught, taken, out=np.zeros(len(taken)), where=taken > 0)
    return float((precision * lost).sum() / lost.sum()) if lost.sum() else np.nan


def brier(probability: np.ndarray, outcome: np.ndarray) -> float:
    """The mean squared error of probabilities.

    >>> brier(np.array([0.5, 1.0]), np.array([0.0, 1.0]))
    0.125
    """
    return float(((probability - outcome) ** 2).mean())
