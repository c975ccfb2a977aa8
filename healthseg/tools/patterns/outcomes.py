"""What goes with staying, for what was found: retention with it and without, adjusted; and who carries it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from healthseg.clustering.bundles import PLUS
from healthseg.data.memory import remember
from healthseg.metrics import landmarks as measured
from healthseg.statistics.effects import LEAST, Estimate, partial_correlation, resamples
from healthseg.tools.context import PortfolioContext
from healthseg.tools.patterns.landmarks import HORIZON_DAYS, RULE_DAYS
from healthseg.tools.patterns.study import USED, Study

CARRIED = 0.25  # of the scope's ARR, from which on it matters to many


@dataclass(frozen=True)
class Staying:
    """Staying for 90 days at quarter ends, with and without something; None where too few left or stayed."""

    correlation: Estimate | None
    rate_with: float | None
    rate_without: float | None
    n_with: int
    n_without: int


@dataclass(frozen=True)
class Quarters:
    """By quarter-end row of a customer: the month row it is, whether the customer stayed, what is equal, who it is."""

    month: np.ndarray
    stays: np.ndarray
    given: np.ndarray
    customer: np.ndarray
    draws: np.ndarray


class Outcomes:
    def __init__(self, study: Study) -> None:
        self.study = study

    @cached_property
    def quarters(self) -> Quarters:
        study, months = self.study, self.study.months
        rows = remember(
            study.portfolio,
            ("pattern quarters", study.scope.as_of),
            lambda: measured.landmark_rows(
                study.portfolio, study.scope.as_of, RULE_DAYS, HORIZON_DAYS
            ),
        )
        keys = pd.MultiIndex.from_arrays(
            [months["client_id"].astype(str), pd.to_datetime(months["date"])]
        )
        place = pd.Series(np.arange(len(months)), index=keys)
        asked = pd.MultiIndex.from_arrays(
            [rows["client_id"].astype(str), pd.to_datetime(rows["date"])]
        )
        at = place.reindex(asked).to_numpy()
        known = np.isfinite(at)
        rows = rows[known].reset_index(drop=True)
        customer, ids = pd.factorize(rows["client_id"], sort=True)
        return Quarters(
            at[known].astype(int),
            1 - rows["outcome"].to_numpy(dtype=float),
            measured.given(rows)[0] if len(rows) else np.empty((0, 0)),
            customer,
            resamples(max(len(ids), 1), study.settings.seed),
        )

    def staying(self, shown: np.ndarray) -> Staying:
        """``shown`` is 1, 0 or NaN by month row."""
        quarters = self.quarters
        x, stays, customer = shown[quarters.month], quarters.stays, quarters.customer
        keep = np.isfinite(x) & np.isfinite(quarters.given).all(axis=1)
        sides = [keep & (x == side) for side in (1, 0)]
        rates = [float(stays[side].mean()) if side.any() else None for side in sides]
        left = keep & (stays == 0)
        few = min(len(np.unique(customer[left])), len(np.unique(customer[keep & ~left]))) < LEAST
        estimate = None
        if not few and all(side.any() for side in sides):
            estimate = partial_correlation(
                x[keep],
                stays[keep],
                quarters.given[keep],
                customer[keep],
                quarters.draws,
                self.study.settings.effects_interval_level,
            )
        return Staying(estimate, *rates, *(int(side.sum()) for side in sides))

    def shown(self, kind: str, key: str) -> np.ndarray | None:
        """1, 0, NaN by month row of a pattern that was tried against leaving, or is made of what was."""
        if kind == "bundle":
            parts = [self.study.uses.get(USED + feature) for feature in key.split(PLUS)]
            return None if any(part is None for part in parts) else np.prod(parts, axis=0)
        return self.study.shown(kind, key)


def arr_share(portfolio: Any, scope: Any, clients: set[str]) -> float | None:
    """The share of the scope's ARR that some customers hold; None where amounts can't be added up or are unknown."""
    money = PortfolioContext.of(portfolio, scope.as_of).money
    if not money.addable:
        return None
    known = money.amounts.reindex(
        [client for client in scope.clients if client in money.amounts.index]
    ).dropna()
    total = float(known.sum())
    return (
        float(known.reindex([one for one in known.index if one in clients]).sum()) / total
        if total > 0
        else None
    )


def impact(proven: bool | None, share: float | None) -> str | None:
    """High where the adjusted outcome is beyond chance and carriers hold a quarter of the ARR, medium where one, low.

    >>> impact(True, 0.4), impact(True, 0.1), impact(False, 0.1), impact(None, None)
    ('high', 'medium', 'low', None)
    """
    if proven is None or share is None:
        return None
    return ("low", "medium", "high")[int(proven) + int(share >= CARRIED)]
