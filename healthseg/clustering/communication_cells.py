"""How much more often are some messages answered than others of their stratum? The excess, its test and its lift."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy

COUNTS = ("engaged", "opened")


@dataclass(frozen=True)
class Hypothesis:
    """``inside`` marks the rows asked about; they are held against the others of the same ``stratum``."""

    key: str
    outcome: str
    inside: np.ndarray
    stratum: np.ndarray

    def at(self, rows: np.ndarray) -> Hypothesis:
        return replace(self, inside=self.inside[rows], stratum=self.stratum[rows])


@dataclass(frozen=True)
class Excess:
    """By unit and hypothesis: answers, what the others of the stratum would have answered, messages sent, and the
    influence of the unit on the excess."""

    keys: list[str]
    answered: np.ndarray
    expected: np.ndarray
    sent: np.ndarray
    influence: np.ndarray

    def tried(self, level: float) -> pd.DataFrame:
        """key, support (units that answered), n (units asked), prevalence, base_rate, lift, lower, upper, p, sent,
        answered; p is two-sided."""
        count, like, sent = (part.sum(axis=0) for part in (self.answered, self.expected, self.sent))
        shows, asked = (self.answered > 0).sum(axis=0), (self.sent > 0).sum(axis=0)
        here = (
            self.influence[np.abs(self.influence).sum(axis=1) > 0]
            if len(self.influence)
            else self.influence
        )
        units = max(len(here), 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            error = (
                np.sqrt(units) * here.std(axis=0, ddof=1)
                if len(here) > 1
                else np.full(len(self.keys), np.nan)
            )
            t = np.nan_to_num(here.sum(axis=0) / error)
            lift = np.where(like > 0, count / like, 1.0)
            reach = (
                scipy.special.stdtrit(units - 1, (1 + level) / 2) * error / np.maximum(count, 0.5)
            )
        return pd.DataFrame(
            {
                "key": self.keys,
                "support": shows,
                "n": asked,
                "prevalence": shows / np.maximum(asked, 1),
                "base_rate": like / np.maximum(sent, 1),
                "lift": lift,
                "lower": lift * np.exp(-reach),
                "upper": lift * np.exp(reach),
                "p": 2 * scipy.special.stdtr(units - 1, -np.abs(t)),
                "sent": sent.astype(int),
                "answered": count.astype(int),
            }
        )

    def again(self, weights: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(divide="ignore", invalid="ignore"):
            lift = (weights @ self.answered[:, rows]) / (weights @ self.expected[:, rows])
        return weights @ (self.answered[:, rows] > 0), lift


def excess_table(
    rows: pd.DataFrame, hypotheses: list[Hypothesis], unit: np.ndarray, units: int
) -> Excess:
    """Rows (sent, engaged, opened; several a unit) as sums by unit and hypothesis.

    Within a stratum s with pooled rate p_s, of whose messages a share w_s lies inside, the excess inside is
    Σ (x − n·p_s) over the rows inside; a unit's influence on it is its own such sum less w_s times its sum over all
    rows of the stratum, which takes into account that p_s is estimated from the same messages.
    """
    sent = rows["sent"].to_numpy(dtype=float)
    parts = [
        _one(hypothesis, sent, rows[hypothesis.outcome].to_numpy(dtype=float), unit, units)
        for hypothesis in hypotheses
    ]
    stacked = [
        np.column_stack(columns) if parts else np.zeros((units, 0))
        for columns in (zip(*parts, strict=True) if parts else [()] * 4)
    ]
    return Excess([one.key for one in hypotheses], *stacked)


def _one(
    asked: Hypothesis, sent: np.ndarray, answered: np.ndarray, unit: np.ndarray, units: int
) -> tuple[np.ndarray, ...]:
    stratum = np.unique(asked.stratum, return_inverse=True)[1]
    inside = asked.inside.astype(float)

    def by_stratum(values: np.ndarray) -> np.ndarray:
        return np.bincount(stratum, values)

    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = np.nan_to_num(by_stratum(answered) / by_stratum(sent))
        others = np.nan_to_num(
            by_stratum(answered * (1 - inside)) / by_stratum(sent * (1 - inside))
        )
        share = np.nan_to_num(by_stratum(sent * inside) / by_stratum(sent))
    left = answered - sent * pooled[stratum]
    columns = (
        answered * inside,
        sent * inside * others[stratum],
        sent * inside,
        left * (inside - share[stratum]),
    )
    return tuple(np.bincount(unit, column, minlength=units) for column in columns)
