"""ChurnModel: how likely does each customer churn within a horizon, how sure is that, and why?"""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy

from healthseg.errors import CalculationError
from healthseg.metrics import catalog
from healthseg.scoring.churn import drivers, own_models
from healthseg.scoring.churn.base_rates import HORIZONS, STEP_DAYS
from healthseg.scoring.churn.calibration import (
    Calibration,
    Gate,
    calibrate,
    judge_held_out,
    survival,
)
from healthseg.scoring.churn.candidates import (
    AHEAD,
    BoostedTrees,
    FittedHazard,
    fit_candidates,
    held_out,
    outcomes,
    stacked,
)
from healthseg.scoring.churn.hazard import Hazard, has_renewal
from healthseg.scoring.churn.predictors import (
    FAMILY,
    Predictor,
    StepAhead,
    measured,
    values_ahead,
)
from healthseg.scoring.components import DECIMALS
from healthseg.settings import Settings

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

VERSION = 4  # of the saved form: a model of another one is refused
CALIBRATED = (30, 90)
PREDICTED = [
    "client_id",
    "date",
    "horizon_days",
    "probability",
    "lower",
    "upper",
    "risk_level",
    "confidence",
    "extrapolated",
    "log_odds",
    "log_odds_sd",
]
RISK_LEVELS = ("low", "medium", "high", "critical")
# intervals' ends are rounded outward to it: nothing tells a chance of 0.0002 from none
PRECISION = 0.001


@functools.cache
def _nodes() -> np.ndarray:
    """Quantiles of a customer's own log odds."""
    return np.asarray(scipy.special.ndtri((np.arange(41) + 0.5) / 41))


@dataclass(frozen=True)
class ChurnModel:
    """A hazard model of single customers behind a gate that may say no (then ``fitted`` is None).

    ``trained_until`` is the day whose knowledge it has; ``usual`` the median of each predictor's metric among the
    training rows; ``judged`` the horizons that held-out time could judge. ``predict`` and ``explain`` read rows of the
    panel, ``to_json`` and ``from_json`` save and load a model; they raise CalculationError where there is none.

    >>> ChurnModel.from_json("{}")
    Traceback (most recent call last):
    healthseg.errors.CalculationError: this is no saved churn model: JSON text with a version is expected
    """

    config: Settings
    trained_until: dt.date
    gate: Gate
    base_log_odds: float
    lead_days: int
    step_days: int
    kind: str = "logistic"
    fitted: FittedHazard | None = None
    calibration: Calibration | None = None
    kin: tuple[drivers.KindredMetrics, ...] = ()
    usual: tuple[float, ...] = ()
    judged: tuple[int, ...] = CALIBRATED

    @classmethod
    def of(cls, portfolio: Portfolio, as_of: str | dt.date | None = None) -> ChurnModel:
        """The model in force at the end of ``as_of`` (default: the portfolio's last day); its gate may have said no."""
        from healthseg.scoring.churn.training import churn_model  # which imports this module

        return churn_model(portfolio, portfolio.as_of(as_of))

    @staticmethod
    def training_frame(portfolio: Portfolio, as_of: str | dt.date | None = None) -> pd.DataFrame:
        """What does a model learn from? A row for each customer and month at risk whose end is known.

        Columns: client_id, date, churned (1: churned or gave notice in the 30 days after the date), then the predictors as
        a classifier is passed them: metrics by name (some as logarithms), their points of the scorecard
        (``<metric>_points``), tiers and what is known ahead. NaN is missing.
        """
        from healthseg.scoring.churn.training import training_frame

        return training_frame(portfolio, portfolio.as_of(as_of))

    @staticmethod
    def held_out(portfolio: Portfolio, as_of: str | dt.date | None = None) -> pd.DataFrame:
        """How well is each month predicted by a model of the months before? What the gate judges.

        Columns: client_id, date, churned, probability (within 30 days, not calibrated). Portfolios that differ in
        ``churn_estimator`` alone have the same rows.
        """
        from healthseg.scoring.churn.training import held_out_frame

        return held_out_frame(portfolio, portfolio.as_of(as_of))

    @staticmethod
    def register(name: str, factory: Callable[[], Any]) -> None:
        """Make a classifier known to this process: ``factory`` returns an unfitted one with ``predict_proba``.

        The setting ``churn_estimator`` names it. Raises InvalidParameters where the name stands for another model.

        >>> from sklearn.naive_bayes import GaussianNB
        >>> ChurnModel.register("doctest_bayes", GaussianNB)
        >>> ChurnModel.register("doctest_bayes", lambda: GaussianNB(var_smoothing=1e-3))
        Traceback (most recent call last):
        healthseg.errors.InvalidParameters: churn_estimator 'doctest_bayes' is already GaussianNB(): give a changed model a new name
        """
        own_models.register(name, factory)

    @classmethod
    def fit(
        cls,
        rows: pd.DataFrame,
        as_of: dt.date,
        settings: Settings,
        *,
        step_days: int = STEP_DAYS,
        past: pd.DataFrame | None = None,
    ) -> ChurnModel:
        """Learn from rows at risk (``rows_at_risk``) what was known at the end of ``as_of``.

        Steps have ``step_days`` days and begin ``churn_lead_days`` after each row. The gate judges
        ``past``, the held-out log odds of earlier dates (``held_out``); the calibration is learnt
        from them; then the best candidate is refitted to all rows. Never raises for data that
        cannot carry a model: ``gate.reason`` says why.
        """
        lead, until = settings.churn_lead_days, pd.Timestamp(as_of)
        rows = rows[rows["date"] <= until]
        outcome = outcomes(rows, as_of, step_days, lead)
        known = ~np.isnan(outcome)
        events, steps = int(outcome[known].sum()), int(known.sum())
        base = float(scipy.special.logit((events + 0.5) / (steps + 1.0)))
        reason = _refusal(events, steps, settings)
        gate = Gate(False, reason or "", events, steps)
        refused = cls(settings, as_of, gate, base, lead, step_days)
        if reason:
            return refused
        if past is None:
            past = held_out(rows, as_of, settings, step_days=step_days)
        past, shares = stacked(past[past["date"] <= until], as_of, settings, step_days)
        gate = judge_held_out(past, outcomes(past, as_of, step_days, lead), events, steps, settings)
        if not gate.eligible:
            return replace(refused, gate=gate)
        training = rows[known]
        fitted = fit_candidates(
            training, outcome[known], settings, step_days=step_days, shares=shares
        )
        model = replace(refused, gate=gate, kind=fitted.kind, fitted=fitted)
        return model._finished(fitted, training, past)

    def _finished(self, fitted: FittedHazard, rows: pd.DataFrame, past: pd.DataFrame) -> ChurnModel:
        """With calibration, kindred metrics, usual values, the horizons that could be judged, and intervals' width."""
        settings = self.config
        usual = tuple(
            float(pd.Series(measured(rows, predictor)).median()) for predictor in fitted.predictors
        )
        model = replace(
            self,
            calibration=self._calibrated(past),
            kin=drivers.kindred_metrics(
                fitted, fitted.values(rows, settings), settings.churn_kindred_correlation
            ),
            usual=usual,
            judged=self._judged_horizons(past),
        )
        last = rows[rows["date"] == rows["date"].max()]
        predicted = model.predict(last, [settings.churn_horizon_days])
        width = float((predicted["upper"] - predicted["lower"]).median())
        return replace(model, gate=replace(self.gate, median_width=width))

    def _calibrated(self, past: pd.DataFrame) -> Calibration:
        lost = [
            outcomes(past, self.trained_until, self.step_days, self.lead_days, k * self.step_days)
            for k in range(AHEAD)
        ]
        timing, odds = (
            [past[f"{name}_{k}"].to_numpy() for k in range(AHEAD)]
            for name in ("timing", "log_odds")
        )
        base, retained, later = past["base"].to_numpy(), np.ones(len(past), dtype=bool), []
        for ahead in range(1, AHEAD):
            retained = retained & (lost[ahead - 1] == 0)
            known = retained & ~np.isnan(lost[ahead])
            of_step = (base, timing[ahead], odds[ahead], lost[ahead])
            later.append((ahead, *(values[known] for values in of_step)))
        known = ~np.isnan(lost[0])
        calibration = calibrate(
            base[known], timing[0][known], odds[0][known], lost[0][known], self.step_days, later
        )
        return replace(calibration, unobserved_sd=self.config.churn_unobserved_log_odds)

    def _judged_horizons(self, past: pd.DataFrame) -> tuple[int, ...]:
        """30 and 90 days, and the longer horizons whose outcomes are known of enough held-out dates."""
        horizons = list(CALIBRATED)
        for horizon in HORIZONS[len(CALIBRATED) :]:
            outcome = outcomes(past, self.trained_until, horizon, self.lead_days)
            known = ~np.isnan(outcome)
            dates, lost = past.loc[known, "date"].nunique(), outcome[known].sum()
            if (
                dates >= self.config.churn_horizon_min_dates
                and lost >= self.config.churn_horizon_min_churned
            ):
                horizons.append(horizon)
        return tuple(horizons)

    @property
    def eligible(self) -> bool:
        return self.fitted is not None

    def ready(self) -> tuple[FittedHazard, Calibration]:
        """Model and calibration; CalculationError, with the gate's reason, where there are none."""
        if self.fitted is None or self.calibration is None:
            raise CalculationError(
                self.gate.reason,
                parameter="model",
                validation_rule="a portfolio that carries a model",
            )
        return self.fitted, self.calibration

    def log_odds(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Calibrated log odds of the next step, and their standard deviation; CalculationError without a model.

        Rounded, so that they are the same alone as among others.
        """
        fitted, calibration = self.ready()
        values = fitted.values(rows, self.config)
        timing, (raw, raw_sd) = fitted.timing(values), fitted.log_odds_and_sd(values)
        sd = calibration.sd(fitted.base, timing, raw, raw_sd)
        odds = calibration.log_odds(fitted.base, timing, raw)
        return np.round(odds, DECIMALS), np.round(sd, DECIMALS)

    def steps(self, rows: pd.DataFrame, horizon_days: float) -> tuple[np.ndarray, np.ndarray]:
        """Rows × steps of the horizon: calibrated log odds, and the share of the step that counts."""
        return self._steps_of(rows)(horizon_days)

    def _steps_of(self, rows: pd.DataFrame) -> Callable[[float], tuple[np.ndarray, np.ndarray]]:
        """``steps`` by horizon; horizons share their steps. Part of a step counts for no more than all of it, so that a
        longer horizon never has the smaller probability: with a renewal late in it, or in the next one, it could."""
        fitted, calibration = self.ready()
        values = fitted.values(rows, self.config)

        @functools.cache
        def step(ahead: int, share: float) -> tuple[np.ndarray, np.ndarray]:
            of_step = StepAhead(self.step_days, ahead, share)
            known = values_ahead(rows, values, fitted.predictors, of_step)
            timing, raw = fitted.timing(known), fitted.log_odds(known)
            odds = np.round(calibration.log_odds(fitted.base, timing, raw, ahead), DECIMALS)
            is_due = has_renewal(rows, self.step_days, ahead, share)
            weight = np.where(is_due, 1.0, share)
            if share == 1:
                return odds, weight
            whole = step(ahead, 1.0)[0]
            exceeds = weight * np.logaddexp(0, odds) > np.logaddexp(0, whole)
            return np.where(exceeds, whole, odds), np.where(exceeds, 1.0, weight)

        def of_horizon(horizon_days: float) -> tuple[np.ndarray, np.ndarray]:
            steps = horizon_days / self.step_days
            parts = [step(ahead, min(1.0, steps - ahead)) for ahead in range(int(np.ceil(steps)))]
            odds, weights = zip(*parts, strict=True)
            return np.stack(odds, axis=1), np.stack(weights, axis=1)

        return of_horizon

    def predict(self, rows: pd.DataFrame, horizons: Sequence[int] = HORIZONS) -> pd.DataFrame:
        """The probability that each row's customer is lost within each horizon (days), with its interval.

        Columns: client_id, date, horizon_days, probability, lower, upper (at ``interval_level``), risk_level (by
        ``churn_risk_base_rates``), confidence (the chance that the customer's own probability has this level),
        extrapolated (the portfolio is too short to judge the horizon), log_odds and log_odds_sd of the next step.
        Raises CalculationError where the gate refuses a model.
        """
        odds, sd = self.log_odds(rows)
        settings, parts = self.config, []
        keys = rows[["client_id", "date"]].reset_index(drop=True)
        reach = scipy.special.ndtri((1 + settings.interval_level) / 2) * sd
        steps_of = self._steps_of(rows)
        for horizon in horizons:
            steps, weights = steps_of(horizon)
            lower, estimate, upper = (
                -np.expm1(survival(steps + shift[:, None], weights))
                for shift in (-reach, np.zeros(len(rows)), reach)
            )
            draws = -np.expm1(
                survival(steps[:, None] + (sd[:, None] * _nodes())[..., None], weights[:, None])
            )
            edges = np.array(settings.churn_risk_base_rates) * self.base_probability(horizon)
            level = np.searchsorted(edges, estimate, side="right")
            same = np.searchsorted(edges, draws, side="right") == level[:, None]
            part = keys.assign(
                horizon_days=horizon,
                probability=estimate,
                lower=np.floor(lower / PRECISION) * PRECISION,
                upper=np.minimum(np.ceil(upper / PRECISION) * PRECISION, 1.0),
                risk_level=np.array(RISK_LEVELS)[level],
                confidence=same.mean(axis=1),
                extrapolated=horizon not in self.judged,
                log_odds=odds,
                log_odds_sd=sd,
            )
            parts.append(part)
        table = pd.concat(parts, ignore_index=True)[PREDICTED]
        order = ["client_id", "date", "horizon_days"]
        return table.sort_values(order, kind="stable", ignore_index=True)

    def explain(self, rows: pd.DataFrame, horizon_days: int | None = None) -> pd.DataFrame:
        """The drivers of each customer's log odds (``drivers.explain``)."""
        return drivers.explain(self, rows, horizon_days or self.step_days)

    def effects(self, rows: pd.DataFrame) -> pd.DataFrame:
        """What a metric's change from its first to its third quartile does to the log odds (``drivers.effects``)."""
        return drivers.effects(self, rows)

    @property
    def base(self) -> float:
        """The calibrated log odds of the average row."""
        fitted, calibration = self.ready()
        return fitted.base + calibration.intercept

    def average_probability(self, horizon_days: float) -> float:
        """Of the average row, as if each step of the horizon were the next one."""
        log_retained = np.log1p(-scipy.special.expit(self.base))
        return float(-np.expm1(horizon_days / self.step_days * log_retained))

    def base_probability(self, horizon_days: float) -> float:
        """The portfolio's base rate over a horizon: of the training rows, steps compounded."""
        step = np.log1p(-scipy.special.expit(self.base_log_odds))
        return float(-np.expm1(horizon_days / self.step_days * step))

    def to_json(self) -> str:
        """Everything that predictions need, as JSON text: it holds no code, and none runs when it is read."""
        saved: dict[str, Any] = {
            "version": VERSION,
            "config": self.config.model_dump(mode="json"),
            "trained_until": self.trained_until.isoformat(),
            "gate": self.gate.to_dict(),
            "base_log_odds": self.base_log_odds,
            "lead_days": self.lead_days,
            "step_days": self.step_days,
            "kind": self.kind,
            "judged": list(self.judged),
        }
        if self.fitted is not None and self.calibration is not None:
            fitted = self.fitted
            saved |= {
                "predictors": [asdict(predictor) for predictor in fitted.predictors],
                "shares": list(fitted.shares),
                **{
                    name: None if model is None else model.to_dict()
                    for name, model in (
                        ("directed", fitted.directed),
                        ("undirected", fitted.undirected),
                        ("boosted", fitted.boosted),
                    )
                },
                "calibration": self.calibration.to_dict(),
                "kin": [asdict(kin) for kin in self.kin],
                "usual": list(self.usual),
            }
        return json.dumps(saved, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ChurnModel:
        """The model that ``to_json`` wrote. CalculationError for anything else, another version, or unknown metrics."""
        saved = _parsed(text)
        model = cls(
            Settings(**saved["config"]),
            dt.date.fromisoformat(saved["trained_until"]),
            Gate(**saved["gate"]),
            saved["base_log_odds"],
            saved["lead_days"],
            saved["step_days"],
            saved["kind"],
            judged=tuple(saved["judged"]),
        )
        if "directed" not in saved:
            return model
        predictors = tuple(Predictor(**predictor) for predictor in saved["predictors"])
        _refuse_unknown(predictors, model.config)
        directed = Hazard.from_dict(saved["directed"])
        undirected = Hazard.from_dict(saved["undirected"]) if saved["undirected"] else None
        boosted = BoostedTrees.from_dict(saved["boosted"]) if saved["boosted"] else None
        shares = tuple(saved["shares"])
        return replace(
            model,
            fitted=FittedHazard(predictors, model.step_days, directed, undirected, boosted, shares),
            calibration=Calibration.from_dict(saved["calibration"]),
            kin=tuple(
                drivers.KindredMetrics(kin["lead"], tuple(kin["members"])) for kin in saved["kin"]
            ),
            usual=tuple(saved["usual"]),
        )


def refused_model(settings: Settings, as_of: dt.date, churned: int, reason: str) -> ChurnModel:
    """The model of a portfolio that cannot carry one, with the reason."""
    gate = Gate(False, f"no account-level model: {reason}", churned, 0)
    return ChurnModel(settings, as_of, gate, 0.0, settings.churn_lead_days, STEP_DAYS)


def _refusal(events: int, steps: int, settings: Settings) -> str | None:
    reason = None
    if steps == 0:
        reason = "no customer was tracked for a whole step"
    elif events == 0:
        reason = f"no customer churned in {steps:,} customer-months"
    elif events == steps:
        reason = f"all {events} customers churned, none was retained"
    elif events < settings.churn_min_churned:
        reason = (
            f"{events} customers churned in {steps:,} customer-months, {settings.churn_min_churned} "
            "are needed"
        )
    return reason and f"no account-level model: {reason}"


def _parsed(text: str) -> dict[str, Any]:
    try:
        saved = json.loads(text)
    except ValueError:
        saved = None
    if not isinstance(saved, dict) or "version" not in saved:
        raise CalculationError(
            "this is no saved churn model: JSON text with a version is expected", parameter="model"
        )
    if saved["version"] != VERSION:
        raise CalculationError(
            f"the saved churn model has version {saved['version']}, this one reads {VERSION}: train "
            "it again",
            parameter="model",
            value_provided=str(saved["version"]),
            validation_rule=f"version {VERSION}",
        )
    return saved


def _refuse_unknown(predictors: Sequence[Predictor], settings: Settings) -> None:
    cards = settings.scorecard.components.values()
    known = {metric.metric for part in cards for metric in part.metrics} | {"tier"}
    known |= {metric.name for metric in catalog.used_by("churn")}
    for predictor in predictors:
        if predictor.metric not in known and not predictor.metric.startswith(FAMILY):
            raise CalculationError(
                f"the saved churn model reads the unknown metric {predictor.metric!r}: train it "
                "again",
                parameter="model",
                value_provided=predictor.metric,
                validation_rule="metrics of docs/metrics.md",
            )
