"""``report_card``: is the score any good? Held against what happened, beside rivals that cost nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from healthseg.data.portfolio import Portfolio
from healthseg.errors import CalculationError, InvalidParameters, require_known
from healthseg.metrics import panels
from healthseg.metrics.counting import customers
from healthseg.metrics.frame_types import typed
from healthseg.scoring.churn import training
from healthseg.scoring.churn.base_rates import THE_PORTFOLIO
from healthseg.scoring.churn.candidates import outcomes
from healthseg.scoring.churn.expected import portfolio_base_rates
from healthseg.scoring.components import custom_weights
from healthseg.scoring.health import score_panel
from healthseg.scoring.report_card import accuracy, predictions, weights
from healthseg.scoring.scored_panel import predictive_points

COMPOSITE, CUSTOM, PREDICTIVE = "weighted_composite", "custom", "ml_predictive"
SCORES = {COMPOSITE: "Health score", CUSTOM: "Custom score", PREDICTIVE: "Churn model's score"}
RIVALS = {
    "last_activity": "Days since last activity",
    "usage_alone": "Usage component alone",
    "base_rate": "Base rate of the tier",
}
NAMES = {**SCORES, **RIVALS}
WARNED_DAYS = 30  # before churn: the warning that is named first
ONE_IN_BELOW = 0.55  # a precision below it reads better as one alarm in so many
RANGES = {
    "horizon_days": (1, 365),
    "threshold": (0, 100),
    "accounts": (1, 10**6),
    "draws": (20, 10_000),
}


@dataclass(frozen=True)
class ReportCard:
    """The record of every score on past dates. Frames by name (``frame``):

    accuracy: score, name, rows, customers, churned (distinct customers), auc (within dates), average_precision, brier,
    each with its interval over customers; against: score, rival, gain in AUC with interval, on the rows that both
    know; calibration: tenths of the rows, predicted and observed; capture: churned customers within the team's capacity; lead_times:
    warned so many days before notice; false_alarms: by month and manager; groups: AUC by tier and stage; ranks: who is
    riskiest under other weights; predictions: what was predicted against what happened, by day and model version;
    weights: today's and those that outcomes suggest; rows: the rebuilt rows behind all of these.

    >>> print(report_card("data/demo"))                                  # doctest: +SKIP
    The health score separated churned from retained customers with an AUC within dates of 0.83 …
    """

    as_of: dt.date
    data_until: dt.date
    fingerprint: str
    horizon_days: int
    threshold: float
    accounts: int
    interval_level: float
    frames: Mapping[str, pd.DataFrame]
    suggestion: weights.WeightSuggestion
    not_measured: Mapping[str, str]

    def frame(self, name: str) -> pd.DataFrame:
        require_known(name, self.frames, f"the report card has no frame {name!r}", parameter="name")
        return typed(name, self.frames[name])

    def figures(self) -> dict[str, float]:
        """The figures that a run is remembered by."""
        aucs = self.frames["accuracy"].set_index("score")["auc"].dropna()
        capture = self.frames["capture"].drop_duplicates("score").set_index("score")
        shares = capture["share"].dropna()
        return {f"auc {name}": round(float(value), 4) for name, value in aucs.items()} | {
            f"captured {name}": round(float(value), 4) for name, value in shares.items()
        }

    def headlines(self) -> dict[str, Any]:
        """The health score's own figures, as pages and responses show them first: its row of accuracy (``score``), of
        capture, of lead_times at ``WARNED_DAYS`` (``warning``) and of false_alarms (``alarms``), and how many rivals it is
        significantly better than."""
        ours = self._own("against")
        better = ours[ours["significant"] & (ours["gain"] > 0)]
        leads, verdicts = self._own("lead_times"), self.frames["ranks"]["verdict"]
        rows = {
            "score": self._own("accuracy"),
            "capture": self._own("capture"),
            "warning": leads[leads["lead_days"] == WARNED_DAYS],
            "alarms": self._own("false_alarms"),
        }
        return {
            **{key: _first(frame) for key, frame in rows.items()},
            "rivals": len(ours),
            "beaten_rivals": better["rival_name"].tolist(),
            "always_riskiest": int((verdicts == "always").sum()),
            "sometimes_riskiest": int((verdicts == "sometimes").sum()),
        }

    def _own(self, name: str) -> pd.DataFrame:
        frame = self.frames[name]
        return frame[frame["score"] == COMPOSITE]

    def in_plain_words(self) -> str:
        """How early the health score warned and how often its alarms were right, in a sentence.

        >>> alarms_in_words(0.34), alarms_in_words(0.8)
        ('one alarm in 3 was right', '80% of alarms were right')
        """
        warning, alarms = (self.headlines()[name] for name in ("warning", "alarms"))
        if not warning["churned"] or not alarms["alarms"]:
            return "No churned customer had scores for long enough, or no alarm was raised"
        return (
            f"Of {warning['churned']} customers that churned, the score flagged {100 * warning['share']:.0f}% at least "
            f"{WARNED_DAYS} days ahead; {alarms_in_words(alarms['precision'])}"
        )

    def __str__(self) -> str:
        return self.verdict()

    def verdict(self) -> str:
        """The report card in a line."""
        table = self.frames["accuracy"].set_index("score")
        if COMPOSITE not in table.index or np.isnan(table.loc[COMPOSITE, "auc"]):
            return "Too few customers have churned for a report card"
        row, rival = table.loc[COMPOSITE], float(table["auc"].get("last_activity", np.nan))
        return (
            f"The health score separated churned from retained customers with an AUC within dates of {row['auc']:.2f} "
            f"({100 * self.interval_level:.0f}% interval {row['auc_lower']:.2f} to "
            f"{row['auc_upper']:.2f}; the days since the last activity {rival:.2f}); weights from "
            f"outcomes: {self.suggestion.verdict}"
        )


def alarms_in_words(precision: float) -> str:
    """The share of alarms that were right, as one in so many where it is small."""
    if 0 < precision < ONE_IN_BELOW:
        return f"one alarm in {1 / precision:.0f} was right"
    return f"{100 * precision:.0f}% of alarms were right"


def _first(frame: pd.DataFrame) -> dict[str, Any]:
    """The first row; None for every column where there is none."""
    return {str(name): frame[name].iloc[0] if len(frame) else None for name in frame}


def report_card(
    portfolio: Portfolio | str,
    as_of: str | dt.date | None = None,
    horizon_days: int | None = None,
    component_weights: Mapping[str, float] | None = None,
    threshold: float | None = None,
    accounts: int | None = None,
    draws: int | None = None,
    seed: int | None = None,
) -> ReportCard:
    """How well did every score predict who would churn, as it would have been shown on past dates?

    Each month's scores (composite, a ``custom`` one with ``component_weights``, the churn model's)
    are rebuilt from what was known then and compared with losses in the next ``horizon_days``,
    beside the days since the last activity, the usage component alone, and the tier's base rate.
    Intervals are bootstraps by customer. ``threshold`` is the score (0 to 100) of an alarm, ``accounts`` how many customers
    a team can look after at once, ``draws`` and ``seed`` the bootstrap's; by default they are the settings'. Raises CalculationError
    where the portfolio records no churn (as in the example), InvalidParameters for bad parameters. Formulas: docs/methods.md.

    >>> from healthseg.errors import CalculationError
    >>> from healthseg.testing import tiny_portfolio
    >>> try:
    ...     report_card(tiny_portfolio([("a", "2025-03-01 09:00", "u1")]))
    ... except CalculationError as problem:
    ...     print(problem.message[:14])
    no report card
    """
    portfolio = Portfolio.of(portfolio)
    settings, date = portfolio.settings, portfolio.as_of(as_of)
    values = {
        "horizon_days": (horizon_days, settings.churn_horizon_days),
        "threshold": (threshold, settings.report_card_threshold),
        "accounts": (accounts, settings.report_card_accounts),
        "draws": (draws, settings.report_card_draws),
    }
    parameters = {
        name: default if value is None else value for name, (value, default) in values.items()
    }
    _refuse_out_of_range(parameters)
    custom = None
    if component_weights is not None:
        custom = custom_weights(component_weights, settings.component_names)
    horizon, draws = int(parameters["horizon_days"]), int(parameters["draws"])
    rows = rebuilt(portfolio, date, horizon, custom)
    _refuse_without_outcomes(rows, date, horizon)
    bootstrap = accuracy.Bootstrap(
        draws, settings.interval_level, settings.seed if seed is None else seed
    )
    return _ReportCards(portfolio, date, rows, bootstrap, parameters).card()


def _refuse_out_of_range(parameters: Mapping[str, float]) -> None:
    for name, value in parameters.items():
        low, high = RANGES[name]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:
            raise InvalidParameters(
                f"{name} {value!r} is refused: it lies in {low} to {high}",
                parameter=name,
                value_provided=str(value),
                validation_rule=f"{low} to {high}",
            )


def _refuse_without_outcomes(rows: pd.DataFrame, date: dt.date, horizon: int) -> None:
    if not len(rows) or not rows["outcome"].notna().any():
        raise CalculationError(
            f"no report card: no month of scores lies {horizon} days before {date}, so that nothing "
            "can be held against what happened",
            parameter="as_of",
            value_provided=str(date),
        )
    if not rows["outcome"].sum() > 0:
        raise CalculationError(
            f"no report card: of {rows['client_id'].nunique()} customers none has a recorded churn "
            "or notice",
            parameter="portfolio",
            validation_rule="churned_on or notice_on, arr_changes or stage_changes that tell it",
        )


class _ReportCards:
    def __init__(
        self,
        portfolio: Portfolio,
        date: dt.date,
        rows: pd.DataFrame,
        bootstrap: accuracy.Bootstrap,
        parameters: Mapping[str, float],
    ) -> None:
        self.portfolio, self.date, self.rows = portfolio, date, rows
        self.bootstrap, self.parameters, self.settings = bootstrap, parameters, portfolio.settings
        self.names = [name for name in NAMES if f"risk_{name}" in rows]
        self.customers = customers(portfolio)
        self.managers = None
        if "csm_id" in self.customers:
            self.managers = int(self.customers["csm_id"].nunique()) or None
        self.hours = _capacity_hours(portfolio)

    def card(self) -> ReportCard:
        settings, parameters = self.settings, self.parameters
        horizon, threshold = int(parameters["horizon_days"]), parameters["threshold"]
        suggestion = weights.suggest(self.rows, settings, horizon, self.bootstrap)
        frames = self.frames(threshold) | {
            "predictions": predictions.predicted_and_happened(
                self.portfolio, self.rows, self.date, horizon, self.bootstrap.level
            ),
            "ranks": self.ranks(),
            "weights": suggestion.frame,
            "rows": self.rows,
        }
        return ReportCard(
            self.date,
            self.portfolio.data_until,
            self.portfolio.fingerprint(self.date),
            horizon,
            threshold,
            int(parameters["accounts"]),
            self.bootstrap.level,
            frames,
            suggestion,
            self.not_measured(),
        )

    def frames(self, threshold: float) -> dict[str, pd.DataFrame]:
        rows, names, settings = self.rows, self.names, self.settings
        known = rows[rows["outcome"].notna()].reset_index(drop=True)
        scores = [name for name in names if name in SCORES]
        flags = accuracy.flagged(rows, names, threshold)
        least, level = settings.report_card_min_churned, self.bootstrap.level
        capacity = accuracy.TeamCapacity(
            int(self.parameters["accounts"]),
            self.hours,
            settings.tier_hours_per_month,
            settings.report_card_other_hours,
            settings.report_card_max_reach,
        )
        frames = {
            "accuracy": accuracy.accuracy(known, names, least, self.bootstrap),
            "against": self.against(known, scores),
            "calibration": accuracy.calibration(known, [*scores, "base_rate"], level),
            "capture": accuracy.captured(known, names, capacity),
            "lead_times": accuracy.lead_times(rows, flags),
            "false_alarms": accuracy.false_alarms(rows, flags, self.managers),
            "groups": accuracy.by_group(known, scores, least),
        }
        return {key: frame.assign(name=frame["score"].map(NAMES)) for key, frame in frames.items()}

    def against(self, known: pd.DataFrame, scores: list[str]) -> pd.DataFrame:
        table = [
            (name, rival, NAMES[rival], *accuracy.gain(known, name, rival, self.bootstrap))
            for name in scores
            for rival in [*(other for other in scores if other != name), *RIVALS]
        ]
        columns = ["score", "rival", "rival_name", "gain", "lower", "upper"]
        frame = pd.DataFrame(table, columns=columns)
        return accuracy.with_q(frame, self.bootstrap.level, self.settings.effects_max_q)

    def ranks(self) -> pd.DataFrame:
        today = panels.panel(self.portfolio, [self.date])
        today, draws = today[panels.at_risk(today)].reset_index(drop=True), self.bootstrap
        accounts = int(self.parameters["accounts"])
        table = weights.ranks(today, self.settings, accounts, draws.draws, draws.seed)
        name = self.customers["name"].reindex(table["client_id"]).to_numpy()
        return table.assign(name=np.where(pd.isna(name), table["client_id"], name))

    def not_measured(self) -> dict[str, str]:
        reasons = {
            "ml_predictive": (
                PREDICTIVE not in self.names,
                "on none of the dates did a churn model pass its gate",
            ),
            "false alarms by manager": (
                self.managers is None,
                "no customer has a manager (csm_id)",
            ),
            "capacity by hours": (self.hours is None, "no table csms with capacity_hours"),
            "by stage": (bool(self.rows["stage"].isna().all()), "no stage is known"),
        }
        return {key: reason for key, (is_missing, reason) in reasons.items() if is_missing}


def _capacity_hours(portfolio: Portfolio) -> float | None:
    if not portfolio.has("csms"):
        return None
    hours = portfolio.table("csms").get("capacity_hours")
    return None if hours is None else float(pd.to_numeric(hours).sum()) or None


def rebuilt(
    portfolio: Portfolio,
    as_of: dt.date,
    horizon_days: int,
    custom: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Customers at risk on each date of the training grid, with the risk that each score gave them then.

    Columns: client_id, date, tier, stage, event_on (the earlier of notice and churn, where known at as_of), outcome
    (lost in the ``horizon_days`` after the date; NaN where that is not over), the components' scores, the scores
    by name (0 to 100), ``risk_<name>`` of scores and rivals (more is riskier; NaN where there was none), and
    ``probability_<name>`` of those that give one. Rows end with notice: what follows it is no merit of a score.
    """
    dates = training.grid(portfolio, as_of)
    rows = training.training_rows(portfolio, dates[-1]) if dates else pd.DataFrame()
    if not len(rows):
        return pd.DataFrame()
    rows = rows.reset_index(drop=True)
    table = rows[["client_id", "date", "tier", "stage", "event_on"]].copy()
    table["outcome"] = outcomes(rows, as_of, horizon_days, 0)
    composite = _scores(portfolio, rows, None)
    for name in portfolio.settings.component_names:
        if f"{name}_score" in composite:
            table[name] = composite[f"{name}_score"]
    table[COMPOSITE] = composite["score"]
    if custom is not None:
        table[CUSTOM] = _scores(portfolio, rows, custom)["score"]
    score = predictive_points(training.relative_risk(portfolio, rows).ratio, portfolio.settings)
    if not np.isnan(score).all():
        risk = training.relative_risk(portfolio, rows, horizon_days)
        table = table.assign(**{PREDICTIVE: score, f"probability_{PREDICTIVE}": risk.probability})
    risks = {f"risk_{name}": -table[name] for name in SCORES if name in table}
    base = _base_rates(portfolio, rows, dates, horizon_days)
    return table.assign(
        **risks,
        risk_last_activity=rows["days_since_last_person_event"],
        risk_usage_alone=-table["usage"],
        risk_base_rate=base,
        probability_base_rate=base,
    )


def _scores(
    portfolio: Portfolio, rows: pd.DataFrame, custom: Mapping[str, float] | None
) -> pd.DataFrame:
    """Scores in the order of the rows."""
    scores = score_panel(rows, portfolio.settings, custom).frame
    keys = ["client_id", "date"]
    return rows[keys].merge(scores, on=keys, how="left", validate="one_to_one")


def _base_rates(
    portfolio: Portfolio, rows: pd.DataFrame, dates: list[dt.date], horizon_days: int
) -> np.ndarray:
    """The probability of each row's tier, as known on its date; NaN where there was no rate."""
    probability = np.full(len(rows), np.nan)
    for date in dates:
        rates = portfolio_base_rates(portfolio, date, horizon_days).frame
        of_date = (rows["date"] == pd.Timestamp(date)).to_numpy()
        if rates is not None and of_date.any():
            at = rates[rates["horizon_days"] == horizon_days].set_index("tier")["probability"]
            own = rows.loc[of_date, "tier"].map(at)
            probability[of_date] = own.fillna(at[THE_PORTFOLIO]).to_numpy(dtype=float)
    return probability
