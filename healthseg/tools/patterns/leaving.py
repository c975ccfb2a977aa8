"""What precedes leaving and staying: each sign, feature, order and bundle against who left in the month after.

At every month's end of the portfolio's history: who showed it, and who left (or gave notice) within 30 days? The p is that
of its odds of leaving at equal size, tenure, tier and quarter, by pooled logistic regression over the months (a
discrete-time hazard, whose odds ratio at a few per cent a month is the hazard ratio). The lift is plain: the monthly
rate of leaving with it over the rate without.

A sign foretells: little activity is what many of them are made of. What a customer uses may be advised: it is held
against others of equal activity, with as many seats in use and as large a share of the other features, and against the
others that look promising, since what only comes along with a cause has no effect of its own. As every feature makes
its customer a little broader, the near end of the interval of its adjusted odds must reach the least lift.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from healthseg.clustering.patterns import COLUMNS, PatternFamily, PatternLimits
from healthseg.metrics import landmarks as measured
from healthseg.statistics.effects import LEAST, odds_ratio
from healthseg.statistics.rates import wilson

PROMISING = 0.05
RIVALS = 3  # other promising features that one is held against
EXTRA = [
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


class Leaving:
    """Tries what is shown (1, 0, NaN by month row) against leaving in the month after."""

    def __init__(
        self, rows: pd.DataFrame, limits: PatternLimits, level: float, at_equal_activity: bool
    ) -> None:
        self.rows, self.limits, self.level, self.at_equal_activity = (
            rows,
            limits,
            level,
            at_equal_activity,
        )
        if not at_equal_activity:
            rows = rows.assign(person_events_28d=np.nan)
        self.left = rows["outcome"].to_numpy(dtype=float)
        nothing = (np.empty((len(rows), 0)), [], [])
        self.given, self.names, self.left_out = (
            measured.given(rows, at_equal_activity) if len(rows) else nothing
        )
        self.complete = np.isfinite(self.given).all(axis=1)
        self.customer, self.units = pd.factorize(rows["client_id"], sort=True)
        date = pd.to_datetime(rows["date"])
        self.late = (date > date.quantile(0.5)).to_numpy() if len(rows) else np.zeros(0, dtype=bool)

    @property
    def reason(self) -> str | None:
        """Why nothing can be tried."""
        left = int(self.left.sum()) if len(self.left) else 0
        if left < LEAST:
            return f"{left} customers left in the months that were watched, {LEAST} are needed"
        return None

    @property
    def adjusted_for(self) -> list[str]:
        return [*self.names, "share of other features"] if self.at_equal_activity else self.names

    def family(
        self,
        kind: str,
        shown: Mapping[str, np.ndarray],
        beside: Mapping[str, np.ndarray] | None = None,
    ) -> PatternFamily:
        """One hypothesis a key; those that can't be tried (all alike, too few) were not.

        ``beside`` (by key, by month row: the share of other features) is what each is adjusted for on top; with it each
        is also held against rivals.
        """
        if self.reason:
            return PatternFamily(kind, pd.DataFrame(columns=[*COLUMNS, *EXTRA]), limits=self.limits)
        own = {
            key: (x, None if beside is None else beside[key][:, None]) for key, x in shown.items()
        }
        told = {
            key: one for key, (x, other) in own.items() if (one := self._told(x, other)) is not None
        }
        if beside is not None:
            told = self._without_rivals(told, own)
        tried = pd.DataFrame(
            [{"key": key, **one} for key, one in told.items()], columns=[*COLUMNS, *EXTRA]
        )
        if beside is not None:
            tried["sure_lift"] = _sure(tried)
        held = pd.DataFrame(
            [
                {"key": key, **self._later(*own[key])}
                for key, one in told.items()
                if one["p"] <= PROMISING
            ],
            columns=["key", "lift", "p"],
        )
        return PatternFamily(
            kind,
            tried,
            self.units.tolist(),
            self._again([shown[key] for key in told]),
            held,
            self.limits,
        )

    def _told(
        self, x: np.ndarray, other: np.ndarray | None = None, rows: np.ndarray | None = None
    ) -> dict | None:
        keep = np.isfinite(x) & self.complete & (True if rows is None else rows)
        with_it, without = keep & (x == 1), keep & (x == 0)
        if min(with_it.sum(), without.sum()) < LEAST or self.left[keep].sum() < LEAST:
            return None
        given = self.given if other is None else np.column_stack([self.given, other])
        ratio = odds_ratio(x[keep], self.left[keep], given[keep], self.customer[keep], self.level)
        if ratio is None:
            return None
        left, among = self.left[with_it].sum(), with_it.sum()
        left_without, rest = self.left[without].sum(), without.sum()
        support = len(np.unique(self.customer[with_it]))
        n = len(np.unique(self.customer[keep]))
        rate, base = left / among, max(left_without, 0.5) / rest
        low, high = wilson(left, among, self.level)
        return {
            "support": support,
            "n": n,
            "prevalence": support / n,
            "base_rate": base,
            "lift": max(rate, 0.5 / among) / base,
            "lower": float(low) / base,
            "upper": float(high) / base,
            "p": ratio.p,
            "hazard_ratio": ratio.value,
            "hazard_lower": ratio.lower,
            "hazard_upper": ratio.upper,
            "rate_with": rate,
            "rate_without": left_without / rest,
            "months_with": int(among),
            "months_without": int(rest),
            "left_with": int(left),
            "left_without": int(left_without),
        }

    def _later(self, x: np.ndarray, other: np.ndarray | None) -> dict[str, float]:
        """The same in the later half of the months."""
        told = self._told(x, other, self.late)
        return (
            {"lift": np.nan, "p": np.nan}
            if told is None
            else {"lift": told["lift"], "p": told["p"]}
        )

    def _without_rivals(
        self, told: dict[str, dict], own: Mapping[str, tuple[np.ndarray, np.ndarray]]
    ) -> dict[str, dict]:
        """Each promising feature again, held against the stronger of the other promising ones."""
        promising = sorted(
            (key for key, one in told.items() if one["p"] <= PROMISING),
            key=lambda key: told[key]["p"],
        )
        out = dict(told)
        for place, key in enumerate(promising):
            others = promising[:place][:RIVALS]
            if others:
                x, beside = own[key]
                again = self._told(
                    x, np.column_stack([beside, *(np.nan_to_num(own[one][0]) for one in others)])
                )
                out[key] = {
                    **told[key],
                    **(
                        {"p": 1.0}
                        if again is None
                        else {
                            "p": max(told[key]["p"], again["p"]),
                            **{
                                name: again[name]
                                for name in ("hazard_ratio", "hazard_lower", "hazard_upper")
                            },
                        }
                    ),
                }
        return out

    def _again(self, shown: list[np.ndarray]):
        def again(weights: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            support, lift = (np.empty((len(weights), len(rows))) for _ in range(2))
            for column, row in enumerate(rows):
                support[:, column], lift[:, column] = self.drawn(weights, shown[row])
            return support, lift

        return again

    def drawn(self, weights: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Support and lift of what is shown where each customer counts ``weights[draw, customer]`` times."""
        weights = weights.astype(float)
        keep = np.isfinite(x) & self.complete
        sums = {}
        for name, here in (("with", keep & (x == 1)), ("without", keep & (x == 0))):
            months = np.bincount(self.customer[here], minlength=len(self.units))
            left = np.bincount(self.customer[here], self.left[here], minlength=len(self.units))
            sums[name] = (weights @ months, weights @ left, weights @ (months > 0))
        (months, left, support), (others, others_left, _) = sums["with"], sums["without"]
        base = np.maximum(others_left, 0.5) / np.maximum(others, 1)
        return support, np.maximum(left, 0.5) / np.maximum(months, 1) / base


def _sure(tried: pd.DataFrame) -> np.ndarray:
    """The end of each adjusted interval that is nearer to 1; 1 where it holds 1."""
    lower, upper = (
        tried["hazard_lower"].to_numpy(dtype=float),
        tried["hazard_upper"].to_numpy(dtype=float),
    )
    return np.where(upper < 1, upper, np.where(lower > 1, lower, 1.0))
