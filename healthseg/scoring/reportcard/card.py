"""``report_card``: is the score any good? Asked of what happened, beside what costs nothing to use instead."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from healthseg.errors import CalculationError, InvalidParameters
from healthseg.metrics import panels
from healthseg.metrics.counting import customers
from healthseg.scoring.components import custom_weights
from healthseg.scoring.reportcard import accuracy, capacity, robustness, weights
from healthseg.scoring.reportcard.rebuilt import (
    COMPOSITE,
    NAMES,
    PREDICTIVE,
    RIVALS,
    SCORES,
    rebuilt,
)
from healthseg.settings import Settings

DRAWS, ACCOUNTS, THRESHOLD = 200, 20, 60.0


@dataclass(frozen=True)
class ReportCard:
    """How every score did on past dates. Frames by name (``frame``):

    accuracy: score, name, rows, customers, leavers, auc, average_precision, brier, each with its interval;
    against: score, rival, gain in AUC with interval, on the rows that both know; calibration: tenths of the rows, said
    and seen; capture: leavers within the team's capacity; lead_times: warned so many days before notice;
    false_alarms: by month and manager; groups: AUC by tier and stage; ranks: who is riskiest under other weights;
    weights: today's and those that outcomes suggest; rows: the rebuilt rows that all this is made of.
    """

    as_of: dt.date
    data_until: dt.date
    fingerprint: str
    horizon_days: int
    threshold: float
    accounts: int
    interval_level: float
    frames: Mapping[str, pd.DataFrame]
    suggestion: weights.Suggestion
    not_measured: Mapping[str, str]

    def frame(self, name: str) -> pd.DataFrame:
        if name not in self.frames:
            raise InvalidParameters(
                f"the report card has no frame {name!r}",
                parameter="name",
                value_provided=name,
                validation_rule="one of " + ", ".join(self.frames),
            )
        return self.frames[name].copy()

    def figures(self) -> dict[str, float]:
        """The figures that a run is remembered by."""
        told = self.frames["accuracy"].set_index("score")["auc"]
        caught = self.frames["capture"].drop_duplicates("score").set_index("score")["share"]
        return {
            **{f"auc {name}": round(float(value), 4) for name, value in told.dropna().items()},
            **{
                f"captured {name}": round(float(value), 4)
                for name, value in caught.dropna().items()
            },
        }

    def verdict(self) -> str:
        """The report card in a line."""
        told = self.frames["accuracy"].set_index("score")
        if COMPOSITE not in told.index or np.isnan(told.loc[COMPOSITE, "auc"]):
            return "Too few customers have left for a report card"
        row = told.loc[COMPOSITE]
        level = f"{100 * self.interval_level:.0f} %"
        return (
            f"The health score told leavers from stayers with an AUC of {row['auc']:.2f} ({level} interval "
            f"{row['auc_lower']:.2f} to {row['auc_upper']:.2f}; the days since the last activity "
            f"{self._of('last_activity'):.2f}); weights from outcomes: {self.suggestion.verdict}"
        )

    def _of(self, name: str) -> float:
        return float(self.frames["accuracy"].set_index("score")["auc"].get(name, np.nan))


def report_card(
    portfolio: Any,
    as_of: str | dt.date | None = None,
    horizon_days: int | None = None,
    component_weights: Mapping[str, float] | None = None,
    threshold: float = THRESHOLD,
    accounts: int = ACCOUNTS,
    draws: int = DRAWS,
    seed: int | None = None,
) -> ReportCard:
    """How well did every score tell who would leave, as it would have been shown on past dates?

    Each month's scores (composite, a ``custom`` one with ``component_weights``, the churn model's) are rebuilt from
    what was known then, end with notice, and are held against losses in the next ``horizon_days`` (default: the setting
    ``churn_horizon_days``). Beside them stand the days since the last activity, the usage component alone, and the
    tier's base rate. Intervals are bootstraps by customer (``draws``, ``seed``). Raises CalculationError where the portfolio
    knows of no leaving, InvalidParameters for bad parameters. Formulas: docs/methods.md.
    """
    settings, date = portfolio.settings, portfolio.as_of(as_of)
    horizon = settings.churn_horizon_days if horizon_days is None else horizon_days
    _checked(horizon, threshold, accounts, draws)
    given = None if component_weights is None else custom_weights(component_weights)
    rows = rebuilt(portfolio, date, horizon, given)
    if not len(rows) or not rows["outcome"].notna().any():
        raise CalculationError(
            f"no report card: no month of scores lies {horizon} days before {date}, so that nothing "
            "can be held against what happened",
            parameter="as_of",
            value_provided=str(date),
        )
    if not rows["outcome"].sum() > 0:
        raise CalculationError(
            f"no report card: of {rows['client_id'].nunique()} customers nobody left or gave notice "
            "that the portfolio knows of",
            parameter="portfolio",
            validation_rule="churned_on or notice_on, arr_changes or stage_changes that tell it",
        )
    return _card(
        portfolio,
        date,
        horizon,
        rows,
        threshold,
        accounts,
        draws,
        settings.seed if seed is None else seed,
    )


def _checked(horizon: int, threshold: float, accounts: int, draws: int) -> None:
    rules = {
        "horizon_days": (horizon, 1, 365),
        "threshold": (threshold, 0, 100),
        "accounts": (accounts, 1, 10**6),
        "draws": (draws, 20, 10_000),
    }
    for name, (value, low, high) in rules.items():
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low <= value <= high
        ):
            raise InvalidParameters(
                f"{name} {value!r} is refused: it lies in {low} to {high}",
                parameter=name,
                value_provided=str(value),
                validation_rule=f"{low} to {high}",
            )


def _card(
    portfolio: Any,
    date: dt.date,
    horizon: int,
    rows: pd.DataFrame,
    threshold: float,
    accounts: int,
    draws: int,
    seed: int,
) -> ReportCard:
    settings: Settings = portfolio.settings
    level, names = settings.interval_level, [name for name in NAMES if f"risk_{name}" in rows]
    known = rows[rows["outcome"].notna()].reset_index(drop=True)
    scores = [name for name in names if name in SCORES]
    flags = capacity.flagged(rows, names, threshold)
    accurate = accuracy.told(known, names, draws, level, seed)
    suggestion = weights.suggest(rows, settings, horizon, draws, level, seed)
    frames = {
        "accuracy": accurate.assign(name=accurate["score"].map(NAMES)),
        "against": _against(known, scores, draws, level, seed),
        "calibration": accuracy.calibration(known, [*scores, "base_rate"], level),
        "capture": capacity.captured(
            known, names, accounts, _hours(portfolio), settings.tier_hours_per_month
        ),
        "lead_times": capacity.lead_times(rows, flags),
        "false_alarms": capacity.false_alarms(rows, flags, _managers(portfolio)),
        "groups": accuracy.by_group(known, scores),
        "ranks": _ranks(portfolio, date, accounts, draws, seed),
        "weights": suggestion.frame,
        "rows": rows,
    }
    return ReportCard(
        date,
        portfolio.data_until,
        portfolio.fingerprint(date),
        horizon,
        threshold,
        accounts,
        level,
        {
            key: frame.assign(name=frame["score"].map(NAMES))
            if "score" in frame and key not in ("ranks", "rows")
            else frame
            for key, frame in frames.items()
        },
        suggestion,
        _missing(portfolio, rows, names),
    )


def _against(
    known: pd.DataFrame, scores: list[str], draws: int, level: float, seed: int
) -> pd.DataFrame:
    found = []
    for name in scores:
        for rival in [*(other for other in scores if other != name), *RIVALS]:
            gain, low, high = accuracy.paired(known, name, rival, draws, level, seed)
            found.append(
                {
                    "score": name,
                    "rival": rival,
                    "rival_name": NAMES[rival],
                    "gain": gain,
                    "lower": low,
                    "upper": high,
                }
            )
    return pd.DataFrame(found)


def _ranks(portfolio: Any, date: dt.date, accounts: int, draws: int, seed: int) -> pd.DataFrame:
    today = panels.panel(portfolio, [date])
    today = today[today["live"].astype(bool) & today["days_since_notice"].isna()].reset_index(
        drop=True
    )
    found = robustness.ranks(today, portfolio.settings, accounts, draws, seed)
    name = customers(portfolio)["name"].reindex(found["client_id"]).to_numpy()
    return found.assign(name=np.where(pd.isna(name), found["client_id"], name))


def _managers(portfolio: Any) -> int | None:
    known = customers(portfolio)
    count = known["csm_id"].nunique() if "csm_id" in known else 0
    return int(count) or None


def _hours(portfolio: Any) -> float | None:
    if not portfolio.has("csms"):
        return None
    hours = portfolio.table("csms").get("capacity_hours")
    total = 0.0 if hours is None else float(pd.to_numeric(hours).sum())
    return total or None


def _missing(portfolio: Any, rows: pd.DataFrame, names: list[str]) -> dict[str, str]:
    found = {}
    if PREDICTIVE not in names:
        found["ml_predictive"] = "the gate said yes on none of the dates"
    if _managers(portfolio) is None:
        found["false alarms by manager"] = "no customer has a manager (csm_id)"
    if _hours(portfolio) is None:
        found["capacity by hours"] = "no table csms with capacity_hours"
    if rows["stage"].isna().all():
        found["by stage"] = "no stage is known"
    return found
