"""From the panel to figures: one customer's or the portfolio's scores on the dates that a response needs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from healthseg.data.memory import remember
from healthseg.metrics import panel as panels
from healthseg.metrics.leaving import customers_as_of
from healthseg.periods import weekly
from healthseg.scoring import Scores, model_weights, score_panel, score_trend, training
from healthseg.scoring.predictive import predictive_scores
from healthseg.settings import Settings
from healthseg.tools.rounding import number

HISTORY_DAYS = 371  # 53 weekly scores: a year's look-back and its forecast
ARR_DAYS = 90
PREDICTIVE = "ml_predictive"


@dataclass(frozen=True)
class Judged:
    """The panel's rows and their scores on the dates of one ``as_of``, sorted by customer and date."""

    as_of: dt.date
    lookback_days: int
    rows: pd.DataFrame
    scores: Scores
    notes: dict[str, str]

    @property
    def frame(self) -> pd.DataFrame:
        return self.scores.frame

    def on(self, date: dt.date) -> pd.DataFrame:
        """Rows and scores of a date side by side, by customer."""
        here = (self.frame["date"] == pd.Timestamp(date)).to_numpy()
        extra = [name for name in self.frame if name not in self.rows]
        return pd.concat([self.rows[here], self.frame.loc[here, extra]], axis=1).set_index(
            "client_id", drop=False
        )


def dates_of(as_of: dt.date, lookback_days: int) -> list[dt.date]:
    """The dates a response reads: weekly for a year, the look-back's start, and where ARR is compared."""
    extra = {as_of - dt.timedelta(days=days) for days in (lookback_days, ARR_DAYS)}
    return sorted({*weekly(as_of, HISTORY_DAYS), *extra})


@dataclass(frozen=True)
class Asked:
    """Which score is asked for: the scorecard's, by weights of its own, or the churn model's."""

    weights: Mapping[str, float] | None = None
    predictive: bool = False

    @classmethod
    def of(cls, scoring_model: str, component_weights: Mapping[str, Any] | None) -> Asked:
        return cls(model_weights(scoring_model, component_weights), scoring_model == PREDICTIVE)

    @property
    def key(self) -> str:
        return PREDICTIVE if self.predictive else str(self.weights)


def judge(
    portfolio: Any,
    as_of: dt.date,
    lookback_days: int,
    asked: Asked,
    clients: list[str] | None = None,
) -> Judged:
    """Rows and scores of some customers (default: all) on the dates of ``as_of``."""
    return judge_rows(
        portfolio,
        panels.panel(portfolio, dates_of(as_of, lookback_days), clients),
        as_of,
        lookback_days,
        asked,
    )


def judge_rows(
    portfolio: Any, rows: pd.DataFrame, as_of: dt.date, lookback_days: int, asked: Asked
) -> Judged:
    """Rows of the panel with the score that is asked for."""
    if not asked.predictive:
        return judged_rows(rows, as_of, lookback_days, portfolio.settings, asked.weights)
    rows = rows.sort_values(["client_id", "date"], kind="stable", ignore_index=True)
    judged = judged_rows(rows, as_of, lookback_days, portfolio.settings, None)
    return replace(
        judged,
        scores=predictive_scores(
            judged.scores, training.standings(portfolio, rows), portfolio.settings
        ),
    )


def judged_rows(
    rows: pd.DataFrame,
    as_of: dt.date,
    lookback_days: int,
    settings: Settings,
    weights: Mapping[str, float] | None,
) -> Judged:
    """Rows of the panel, scored."""
    rows, notes = with_todays_value(rows)
    return Judged(as_of, lookback_days, rows, score_panel(rows, settings, weights), notes)


def last_day(signup: Any, left: Any) -> dt.date:
    """The day whose score a customer that left keeps: the one before it left, or the first where that is the same.

    >>> last_day("2025-02-01", "2025-03-01").isoformat(), last_day("2025-02-01", "2025-02-01").isoformat()
    ('2025-02-28', '2025-02-01')
    """
    return max(pd.Timestamp(left) - pd.Timedelta(days=1), pd.Timestamp(signup)).date()


def frozen_rows(portfolio: Any, as_of: dt.date, lookback_days: int, client_id: str) -> pd.DataFrame:
    """The rows of a customer that had left by ``as_of``, on the dates up to its last day.

    Those of all that had left are counted at once, and kept while the portfolio is open.
    """

    def make() -> pd.DataFrame:
        known = customers_as_of(portfolio, as_of)
        left = known[known["churned_on"].notna()]
        pairs = [
            (row.client_id, date)
            for row in left.itertuples()
            for date in dates_of(last_day(row.signup_date, row.churned_on), lookback_days)
        ]
        return panels.build_pairs(portfolio, pd.DataFrame(pairs, columns=["client_id", "date"]))

    rows = remember(portfolio, ("frozen", as_of, lookback_days), make)
    return rows[rows["client_id"] == client_id].reset_index(drop=True)


def with_todays_value(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """History for a portfolio that keeps no past of seats and plan: today's value, and for whom it was used.

    Only for customers of whom no earlier value is known at all. Models never see this: they read the panel.
    """
    rows = rows.sort_values(["client_id", "date"], kind="stable", ignore_index=True)
    if not len(rows):
        return rows, {}
    notes: dict[str, str] = {}
    code = pd.factorize(rows["client_id"])[0]
    last = np.r_[code[1:] != code[:-1], True]
    for name in ("seats", "plan"):
        known = rows[name].notna().to_numpy()
        earlier = np.bincount(code[known & ~last], minlength=code[-1] + 1) > 0
        today = known[last] & ~earlier
        fill = today[code] & ~last
        if fill.any():
            values = rows[name].to_numpy()[last][code]
            rows[name] = np.where(fill, values, rows[name].to_numpy())
            notes |= dict.fromkeys(
                rows["client_id"].to_numpy()[fill], "today's value of seats and plan"
            )
    filled = rows["client_id"].isin(notes)
    seats = rows["seats"].where(rows["seats"] > 0)
    rows["seat_utilisation"] = np.where(
        filled, rows["monthly_active_users"] / seats, rows["seat_utilisation"]
    )
    return rows, notes


def trends(judged: Judged, settings: Settings) -> pd.DataFrame:
    """The verdict on each customer's trend, by client_id."""
    return score_trend(judged.frame, judged.as_of, judged.lookback_days, settings).set_index(
        "client_id", drop=False
    )


def figures(
    now: Mapping[str, Any],
    then: Mapping[str, Any] | None,
    earlier: Mapping[str, Any] | None,
    trend: Mapping[str, Any] | None,
    lookback_days: int,
    risk_threshold: float,
) -> dict[str, Any]:
    """The named figures that the rules read, of one customer on one date."""
    names = {name: number(value) for name, value in now.items() if _is_figure(name, value)}
    change = _difference(now, then, "shown")
    arr_change = _difference(now, earlier, "arr")
    slope = number(trend["slope_per_week"]) if trend is not None else None
    baseline = names.get("usage_vs_own_baseline")
    return {
        **names,
        "score": names.get("shown"),
        "score_change": change,
        "score_drop": _opposite(change),
        "lookback_days": lookback_days,
        "risk_threshold": risk_threshold,
        "health_trend": trend["trend"] if trend is not None else None,
        "slope_per_week_down": _opposite(slope),
        "usage_drop_percent": None if baseline is None else 100 * (1 - baseline),
        "arr_change_90d": arr_change,
        "arr_drop_90d": _opposite(arr_change),
        "renewal_days": names.get("days_to_renewal"),
        "champion_percent": _percent(names.get("champion_share")),
        "top_user_percent": _percent(names.get("top_user_share_28d")),
        "seat_percent": _percent(names.get("seat_utilisation")),
    }


def _is_figure(name: str, value: Any) -> bool:
    return name not in ("client_id", "date") and (
        value is None or isinstance(value, int | float | np.number | np.bool)
    )


def _difference(now: Mapping[str, Any], then: Mapping[str, Any] | None, name: str) -> float | None:
    if then is None or pd.isna(now[name]) or pd.isna(then[name]):
        return None
    return float(now[name]) - float(then[name])


def _opposite(value: float | None) -> float | None:
    return None if value is None else -value


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
