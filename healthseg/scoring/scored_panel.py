"""The panel's rows with their scores, on the dates that a response reads; the ``ml_predictive``
score among them.

``ml_predictive`` maps the odds of churn relative to the portfolio's base rate to points, linear in
the log of the ratio (base 70, half 82, three times 45, ten times 20): 100·(1 − p) would call nearly
all customers healthy.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.metrics import panels
from healthseg.metrics.profile import customers_as_of
from healthseg.periods import weekly
from healthseg.scoring.churn import training
from healthseg.scoring.churn.training import RelativeRisk
from healthseg.scoring.components import DECIMALS, model_weights
from healthseg.scoring.health import ScoredGroup, Scores, bands_of, score_panel, shown, words
from healthseg.settings import Settings

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

PREDICTIVE = "ml_predictive"
# what a portfolio's scores need of every date of the panel, and what is drawn of the scores
OVER_TIME = ("client_id", "date", "arr", "currency", "tier")
SCORED = ("live", "score", "shown", "band")
# columns in which today's value may stand in, and what that rests on
FILLED, WITH = ("seats", "plan", "seat_utilisation"), ("monthly_active_users",)
TODAYS_VALUE = "today's value of seats and plan"


@dataclass(frozen=True)
class ScoreModel:
    """Which score: the scorecard's own, one with other component weights, or the churn model's."""

    weights: Mapping[str, float] | None = None
    predictive: bool = False

    @classmethod
    def of(
        cls, scoring_model: str, component_weights: Mapping[str, Any] | None, settings: Settings
    ) -> ScoreModel:
        """The score that a tool's parameters name; raises InvalidParameters."""
        weights = model_weights(scoring_model, component_weights, settings.component_names)
        return cls(weights, scoring_model == PREDICTIVE)

    @property
    def key(self) -> str:
        return PREDICTIVE if self.predictive else str(self.weights)


SCORECARD = ScoreModel()


@dataclass(frozen=True)
class ScoredPanel:
    """Rows of the panel and their scores on the dates of one ``as_of``, by customer and date.

    ``notes`` says for which customers today's value stands in for an unknown past.
    """

    as_of: dt.date
    lookback_days: int
    rows: pd.DataFrame
    scores: Scores
    notes: dict[str, str]

    @property
    def frame(self) -> pd.DataFrame:
        return self.scores.frame

    def on(self, date: dt.date) -> pd.DataFrame:
        """Metrics and scores of a date side by side, by customer."""
        at = (self.frame["date"] == pd.Timestamp(date)).to_numpy()
        extra = [name for name in self.frame if name not in self.rows]
        both = pd.concat([self.rows[at], self.frame.loc[at, extra]], axis=1)
        return both.set_index("client_id", drop=False)

    def alone(self, date: dt.date) -> ScoredPanel:
        """The rows of one date, which hold no others in memory."""
        at = np.flatnonzero(self.frame["date"] == pd.Timestamp(date))
        frame, rows, panel = (
            each.iloc[at].reset_index(drop=True)
            for each in (self.frame, self.rows, self.scores.panel)
        )
        groups = tuple(
            ScoredGroup(group.metrics, np.flatnonzero(np.isin(at, group.rows)))
            for group in self.scores.groups
        )
        return replace(
            self, rows=rows, scores=replace(self.scores, frame=frame, groups=groups, panel=panel)
        )


@dataclass(frozen=True)
class PortfolioScores:
    """All customers' scores at one ``as_of``: over time what is drawn of them, and whole rows of ``days``: today, the
    look-back's start, and where ARR is compared.

    ``history``, in order of customer and date: client_id, date, live, score, shown, band, arr, currency, tier.
    """

    history: pd.DataFrame
    days: Mapping[dt.date, ScoredPanel]
    notes: dict[str, str]


def response_dates(as_of: dt.date, lookback_days: int, settings: Settings) -> list[dt.date]:
    """Weekly dates of a year, the look-back's start, and the date with which ARR is compared."""
    extra = {
        as_of - dt.timedelta(days=days) for days in (lookback_days, settings.arr_comparison_days)
    }
    return sorted({*weekly(as_of, settings.score_history_days), *extra})


def scored_panel(
    portfolio: Portfolio,
    as_of: dt.date,
    lookback_days: int,
    model: ScoreModel = SCORECARD,
    clients: list[str] | None = None,
) -> ScoredPanel:
    """Metrics and scores of some customers (default: all) on the dates of a response at ``as_of``."""
    rows = panels.panel(
        portfolio, response_dates(as_of, lookback_days, portfolio.settings), clients
    )
    return score_rows_of(portfolio, rows, as_of, lookback_days, model)


def portfolio_scores(
    portfolio: Portfolio,
    as_of: dt.date,
    lookback_days: int,
    model: ScoreModel = SCORECARD,
    dates: Iterable[dt.date] | None = None,
) -> PortfolioScores:
    """Scores of all customers on ``dates`` (default: those of a response), as many dates at a time as fit in memory."""
    settings = portfolio.settings
    back = (0, lookback_days, settings.arr_comparison_days)
    days = {as_of - dt.timedelta(days=count) for count in back}
    parts = panels.in_parts(portfolio, dates or response_dates(as_of, lookback_days, settings))
    read = [panels.panel(portfolio, part)[[*OVER_TIME, *FILLED, *WITH]] for part in parts]
    history, notes = with_todays_values(pd.concat(read))
    read.clear()
    history = history.astype({"date": "datetime64[us]"})
    whole: dict[dt.date, ScoredPanel] = {}
    figures: dict[str, np.ndarray] = {}
    for part in parts:
        at = np.flatnonzero(history["date"].isin(pd.to_datetime(part)))
        rows = panels.panel(portfolio, part)
        filled = rows.assign(**{name: history[name].array[at] for name in FILLED})
        scores = _scores(portfolio, rows, filled, model)
        scored = ScoredPanel(as_of, lookback_days, filled, scores, notes)
        whole |= {date: scored.alone(date) for date in part if date in days}
        for name in SCORED:
            column = scored.frame[name].to_numpy()
            figures.setdefault(name, np.empty(len(history), dtype=column.dtype))[at] = column
    return PortfolioScores(history[[*OVER_TIME]].assign(**figures), whole, notes)


def score_rows_of(
    portfolio: Portfolio, rows: pd.DataFrame, as_of: dt.date, lookback_days: int, model: ScoreModel
) -> ScoredPanel:
    """Rows of the panel with the score that ``model`` names."""
    filled, notes = with_todays_values(rows)
    rows = rows.sort_values(["client_id", "date"], kind="stable", ignore_index=True)
    scores = _scores(portfolio, rows, filled, model)
    return ScoredPanel(as_of, lookback_days, filled, scores, notes)


def _scores(
    portfolio: Portfolio, rows: pd.DataFrame, filled: pd.DataFrame, model: ScoreModel
) -> Scores:
    """The score that ``model`` names, of rows in which today's values stand in; the churn model reads those of the panel."""
    if not model.predictive:
        return score_panel(filled, portfolio.settings, model.weights)
    risk = training.relative_risk(portfolio, rows)
    return predictive_scores(score_panel(filled, portfolio.settings), risk, portfolio.settings)


def scorecard_rows(
    rows: pd.DataFrame, as_of: dt.date, lookback_days: int, settings: Settings
) -> ScoredPanel:
    """Rows of the panel with the scorecard's score."""
    rows, notes = with_todays_values(rows)
    return ScoredPanel(as_of, lookback_days, rows, score_panel(rows, settings), notes)


def last_day(signup: Any, churned_on: Any) -> dt.date:
    """The day whose score a churned customer keeps: the day before churn, the signup day at least.

    >>> last_day("2025-02-01", "2025-03-01").isoformat()
    '2025-02-28'
    >>> last_day("2025-02-01", "2025-02-01").isoformat()
    '2025-02-01'
    """
    return max(pd.Timestamp(churned_on) - pd.Timedelta(days=1), pd.Timestamp(signup)).date()


def churned_rows(
    portfolio: Portfolio, as_of: dt.date, lookback_days: int, client_id: str
) -> pd.DataFrame:
    """The panel's rows of a customer that had churned by ``as_of``, on the dates up to its last day.

    The rows of all churned customers are counted together, once per open portfolio.
    """

    def build() -> pd.DataFrame:
        customers = customers_as_of(portfolio, as_of)
        churned = customers[customers["churned_on"].notna()]
        pairs = [
            (row.client_id, date)
            for row in churned.itertuples()
            for date in response_dates(
                last_day(row.signup_date, row.churned_on), lookback_days, portfolio.settings
            )
        ]
        return panels.build_pairs(portfolio, pd.DataFrame(pairs, columns=["client_id", "date"]))

    rows = portfolio.cache.get("churned_rows", (as_of, lookback_days), build, disk=False)
    return rows[rows["client_id"] == client_id].reset_index(drop=True)


def with_todays_values(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """History for a portfolio without a past of seats and plan: today's value, and for whom it stands.

    Only for customers of whom no earlier value is known. Models never see this: they read the panel.
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
        fill = (known[last] & ~earlier)[code] & ~last
        if fill.any():
            values = rows[name].to_numpy()[last][code]
            rows[name] = np.where(fill, values, rows[name].to_numpy())
            notes |= dict.fromkeys(rows["client_id"].to_numpy()[fill], TODAYS_VALUE)
    seats = rows["seats"].where(rows["seats"] > 0)
    rows["seat_utilisation"] = np.where(
        rows["client_id"].isin(notes),
        rows["monthly_active_users"] / seats,
        rows["seat_utilisation"],
    )
    return rows, notes


def predictive_points(odds_ratio: np.ndarray | float, settings: Settings) -> np.ndarray:
    """The ``ml_predictive`` score of an odds ratio to the base rate; NaN stays NaN.

    >>> predictive_points(np.array([0.5, 1.0, 3.0, 10.0]), Settings()).tolist()
    [82.0, 70.0, 45.0, 20.0]
    """
    x, knots = np.log(np.asarray(odds_ratio, dtype=float)), np.log(settings.predictive_odds_ratios)
    points = np.array(settings.predictive_points)
    low, high = ((points[b] - points[a]) / (knots[b] - knots[a]) for a, b in ((0, 1), (-2, -1)))
    below, above = points[0] + low * (x - knots[0]), points[-1] + high * (x - knots[-1])
    score = np.where(
        x < knots[0], below, np.where(x > knots[-1], above, np.interp(x, knots, points))
    )
    return np.round(np.clip(score, 0.0, 100.0), DECIMALS)


def predictive_scores(scores: Scores, risk: RelativeRisk, settings: Settings) -> Scores:
    """Scores with the model's instead of the composite; components, coverage and points stay the scorecard's.

    The possible range is what the probability's interval allows. No cap applies: an overdue invoice is in the
    probability. Withheld where there is no model, and of provisional customers.
    """
    live = scores.frame["live"].to_numpy(dtype=bool)
    score, lowest, highest = (
        np.where(live, predictive_points(ratio, settings), np.nan)
        for ratio in (risk.ratio, risk.upper, risk.lower)
    )
    score = np.where(scores.frame["provisional"], np.nan, score)
    frame = scores.frame.assign(
        score=score,
        shown=shown(score),
        uncapped=score,
        cap=np.nan,
        capped=False,
        lowest=lowest,
        highest=highest,
        withheld=live & np.isnan(score),
    )
    bands = words(bands_of(frame["shown"].to_numpy(), settings), frame.index)
    return replace(scores, frame=frame.assign(band=bands))
