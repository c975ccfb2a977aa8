"""ChurnModel: how likely does each customer churn within a horizon, how sure is that, and why?"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import scipy

from healthseg.errors import CalculationError
from healthseg.metrics import catalog
from healthseg.scoring.churn.base_rates import HORIZONS, STEP_DAYS
from healthseg.scoring.churn.calibration import Calibration, Gate, calibrate, judge_held_out
from healthseg.scoring.churn.candidates import (
    BoostedTrees,
    FittedHazard,
    fit_best,
    held_out,
    outcomes,
)
from healthseg.scoring.churn.hazard import HazardClassifier
from healthseg.scoring.churn.predictors import FAMILY, LEVEL, Predictor, measured
from healthseg.scoring.components import DECIMALS
from healthseg.settings import Settings

VERSION = 1  # of the saved form: a model of another one is refused
CALIBRATED = (30, 90)
STEPS_AHEAD = 6  # of which the fading is learnt
QUARTILES = [0.25, 0.75]
PREDICTED = [
    "client_id",
    "date",
    "horizon_days",
    "probability",
    "lower",
    "upper",
    "confidence",
    "extrapolated",
    "log_odds",
    "log_odds_sd",
]
EFFECTS = ["label", "metric", "members", "low", "high", "log_odds", "sd"]


@dataclass(frozen=True)
class KindredMetrics:
    """Positions of predictors that move together; ``lead`` is the one that moves the log odds most."""

    lead: int
    members: tuple[int, ...]


@dataclass(frozen=True)
class ChurnModel:
    """A hazard model of single customers behind a gate that may say no (then ``fitted`` is None).

    ``trained_until`` is the day whose knowledge it has; ``usual`` the median of each predictor's metric among the
    training rows; ``judged`` the horizons that held-out time could judge.
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
    kin: tuple[KindredMetrics, ...] = ()
    usual: tuple[float, ...] = ()
    judged: tuple[int, ...] = CALIBRATED

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
        past = past[past["date"] <= until]
        gate = judge_held_out(past, outcomes(past, as_of, step_days, lead), events, steps, settings)
        if not gate.eligible:
            return replace(refused, gate=gate)
        training = rows[known]
        fitted = fit_best(training, outcome[known], step_days + lead, settings)
        model = replace(refused, gate=gate, kind=fitted.kind, fitted=fitted)
        return model._finished(fitted, training, past)

    def _finished(self, fitted: FittedHazard, rows: pd.DataFrame, past: pd.DataFrame) -> ChurnModel:
        """With calibration, kindred metrics, usual values, the horizons that could be judged, and intervals' width."""
        settings = self.config
        usual = tuple(
            float(np.nanmedian(measured(rows, predictor))) for predictor in fitted.predictors
        )
        model = replace(
            self,
            calibration=self._calibrated(past),
            kin=kindred_metrics(
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
            for k in range(STEPS_AHEAD)
        ]
        odds, retained = past["log_odds"].to_numpy(), np.ones(len(past), dtype=bool)
        later = []
        for ahead in range(1, STEPS_AHEAD):
            retained = retained & (lost[ahead - 1] == 0)
            known = retained & ~np.isnan(lost[ahead])
            later.append((ahead, odds[known], lost[ahead][known]))
        known = ~np.isnan(lost[0])
        return calibrate(odds[known], lost[0][known], self.base_log_odds, self.step_days, later)

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
        raw = fitted.log_odds(values)
        sd = calibration.sd(raw, fitted.classifier.log_odds_sd(values))
        return np.round(calibration.log_odds(raw), DECIMALS), np.round(sd, DECIMALS)

    def predict(self, rows: pd.DataFrame, horizons: Sequence[int] = HORIZONS) -> pd.DataFrame:
        """The probability that each row's customer is lost within each horizon (days), with its interval.

        Columns: client_id, date, horizon_days, probability, lower, upper (at ``interval_level``), confidence (the
        chance that the customer's own probability lies within ``churn_confidence_tolerance`` of it), extrapolated (the
        portfolio is too short to judge the horizon), log_odds and log_odds_sd of the next step. Raises CalculationError
        where the gate said no.
        """
        odds, sd = self.log_odds(rows)
        calibration, settings, parts = self.ready()[1], self.config, []
        keys = rows[["client_id", "date"]].reset_index(drop=True)
        for horizon in horizons:
            lower, upper = calibration.interval(odds, sd, horizon, settings.interval_level)
            tolerance = settings.churn_confidence_tolerance
            part = keys.assign(
                horizon_days=horizon,
                probability=calibration.probability(odds, horizon),
                lower=lower,
                upper=upper,
                confidence=calibration.confidence(odds, sd, horizon, tolerance),
                extrapolated=horizon not in self.judged,
                log_odds=odds,
                log_odds_sd=sd,
            )
            parts.append(part)
        table = pd.concat(parts, ignore_index=True)[PREDICTED]
        order = ["client_id", "date", "horizon_days"]
        return table.sort_values(order, kind="stable", ignore_index=True)

    def explain(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The drivers of each customer's log odds: one row per customer and group of kindred metrics.

        Collinear metrics are one group, named after the one with the largest effect: alone, their signs are an artefact
        of each other. ``log_odds`` are against the average training row; with ``base`` they add up to the row's
        calibrated log odds. ``sd`` is their standard deviation, ``usual`` the median of the metric.
        """
        fitted, calibration = self.ready()
        members = [list(kin.members) for kin in self.kin]
        parts, sds = fitted.joint_parts(fitted.values(rows, self.config), members)
        leads = [fitted.predictors[kin.lead] for kin in self.kin]
        order = np.argsort(rows["client_id"].to_numpy(dtype=str), kind="stable")
        count, slope = len(self.kin), calibration.slope
        values = np.column_stack([measured(rows, lead) for lead in leads])
        return pd.DataFrame(
            {
                "client_id": np.repeat(rows["client_id"].to_numpy()[order], count),
                "date": np.repeat(rows["date"].to_numpy()[order], count),
                "kin": np.tile(np.arange(count), len(rows)),
                **{
                    name: np.tile([getattr(lead, name) for lead in leads], len(rows))
                    for name in ("label", "metric", "unit")
                },
                "value": values[order].ravel(),
                "usual": np.tile([self.usual[kin.lead] for kin in self.kin], len(rows)),
                "log_odds": np.round(slope * parts[order].ravel(), DECIMALS),
                "sd": np.round(slope * sds[order].ravel(), DECIMALS),
                "members": np.tile([self._labels(kin) for kin in self.kin], len(rows)),
            }
        )

    def _labels(self, kin: KindredMetrics) -> str:
        predictors = self.ready()[0].predictors
        return ", ".join(dict.fromkeys(predictors[at].label for at in kin.members))

    def effects(self, rows: pd.DataFrame) -> pd.DataFrame:
        """By how much do the log odds of churn change when a metric goes from its first to its
        third quartile?

        A group of kindred metrics moves together: every member from the mean of the rows in the
        lead's lowest quarter to that of its highest. Columns: label, metric, members, low, high (of
        the lead), log_odds, sd, lower, upper, direction (1 more churn, −1 less, 0 where the
        interval holds zero); the largest first. CalculationError where the gate said no.
        """
        fitted, calibration = self.ready()
        values = fitted.values(rows, self.config)
        table = []
        for kin in self.kin:
            lead = fitted.predictors[kin.lead]
            shown = measured(rows, lead)
            ends = _ends(shown, lead.form == LEVEL)
            if ends is None:
                continue
            pair = np.stack([_means(values[shown <= ends[0]]), _means(values[shown >= ends[1]])])
            part, sd = fitted.classifier.contrast(pair, list(kin.members))
            scaled = (part * calibration.slope, sd * calibration.slope)
            table.append((lead.label, lead.metric, self._labels(kin), *ends, *scaled))
        frame = pd.DataFrame(table, columns=EFFECTS)
        reach = scipy.special.ndtri((1 + self.config.interval_level) / 2) * frame["sd"]
        frame = frame.assign(lower=frame["log_odds"] - reach, upper=frame["log_odds"] + reach)
        frame["direction"] = np.select([frame["lower"] > 0, frame["upper"] < 0], [1, -1], 0)
        order = frame["log_odds"].abs().sort_values(ascending=False, kind="stable").index
        return frame.loc[order].reset_index(drop=True)

    @property
    def base(self) -> float:
        """The calibrated log odds of the average row."""
        fitted, calibration = self.ready()
        return float(calibration.log_odds(np.array([fitted.base]))[0])

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
            boosted = self.fitted.boosted
            saved |= {
                "predictors": [asdict(predictor) for predictor in self.fitted.predictors],
                "classifier": self.fitted.classifier.to_dict(),
                "boosted": None if boosted is None else boosted.to_dict(),
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
        if "classifier" not in saved:
            return model
        predictors = tuple(Predictor(**predictor) for predictor in saved["predictors"])
        _refuse_unknown(predictors, model.config)
        boosted = BoostedTrees.from_dict(saved["boosted"]) if saved.get("boosted") else None
        classifier = HazardClassifier.from_dict(saved["classifier"])
        return replace(
            model,
            fitted=FittedHazard(predictors, classifier, boosted),
            calibration=Calibration(**saved["calibration"]),
            kin=tuple(KindredMetrics(kin["lead"], tuple(kin["members"])) for kin in saved["kin"]),
            usual=tuple(saved["usual"]),
        )


def refused_model(settings: Settings, as_of: dt.date, leavers: int, reason: str) -> ChurnModel:
    """The model of a portfolio that cannot carry one, with the reason."""
    gate = Gate(False, f"no account-level model: {reason}", leavers, 0)
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


def kindred_metrics(
    fitted: FittedHazard, values: np.ndarray, min_correlation: float
) -> tuple[KindredMetrics, ...]:
    """Groups of predictors: forms of one metric, and metrics whose absolute correlation is at least so large.

    Average linkage on 1 − |r| of the standardised values, missing ones at the mean.
    """
    standard = fitted.classifier.design_.standard(values)
    sd = standard.std(axis=0)
    centred = np.where(sd > 0, (standard - standard.mean(axis=0)) / np.where(sd > 0, sd, 1.0), 0.0)
    distance = 1 - np.abs(centred.T @ centred / max(len(centred), 1))
    names = np.array([predictor.metric for predictor in fitted.predictors])
    distance[names[:, None] == names] = 0.0
    np.fill_diagonal(distance, 0.0)
    label = np.ones(1)
    if len(names) > 1:
        pairs = scipy.spatial.distance.squareform(np.clip(distance, 0, None), checks=False)
        tree = scipy.cluster.hierarchy.linkage(pairs, "average")
        label = scipy.cluster.hierarchy.fcluster(tree, 1 - min_correlation, "distance")
    moved = fitted.classifier.parts(values).std(axis=0)
    groups = [np.flatnonzero(label == number) for number in dict.fromkeys(label.tolist())]
    return tuple(
        KindredMetrics(int(group[np.argmax(moved[group])]), tuple(group.tolist()))
        for group in groups
    )


def _ends(values: np.ndarray, level: bool) -> tuple[float, float] | None:
    """The quartiles; the extremes where they are the same; None of a constant."""
    known = values[~np.isnan(values)]
    if not len(known) or np.ptp(known) == 0:
        return None
    low, high = (0.0, 1.0) if level else np.quantile(known, QUARTILES)
    return (float(low), float(high)) if low < high else (float(known.min()), float(known.max()))


def _means(rows: np.ndarray) -> np.ndarray:
    """Column means of the known values, NaN where there are none."""
    known = ~np.isnan(rows)
    total = np.nan_to_num(rows).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


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
