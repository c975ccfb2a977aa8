"""ChurnModel: how likely is each customer to be lost within a horizon, how sure is that, and why?"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy

from healthseg.errors import CalculationError
from healthseg.metrics import catalog
from healthseg.scoring.boosting import Boosted
from healthseg.scoring.calibration import Calibration, calibrate, spread_of
from healthseg.scoring.challenge import challenged
from healthseg.scoring.gate import Gate, judge_held_out
from healthseg.scoring.hazard import AdditiveHazard
from healthseg.scoring.kin import Kin, kin_of
from healthseg.scoring.predictors import FAMILY, Predictor, measured, to_dicts
from healthseg.scoring.rolling import STEP_DAYS, Fitted, fit_classifier, held_out, outcomes
from healthseg.settings import Settings

DECIMALS = 9
VERSION = 1  # of the saved form: a model of another one is refused
HORIZONS = (30, 90, 180, 365)
CALIBRATED = (30, 90)
JUDGED_EVENTS, JUDGED_DATES = 20, 6  # held out over a horizon, from which on it is no extrapolation
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


@dataclass(frozen=True)
class ChurnModel:
    """A hazard model of single customers behind a gate that may say no (then ``fitted`` is None).

    ``trained_until`` is the day whose knowledge it has; ``usual`` the median of each predictor's metric among the rows
    that it learnt from; ``judged`` the horizons that held-out time could judge.
    """

    config: Settings
    trained_until: dt.date
    gate: Gate
    base_log_odds: float
    lead_days: int
    step_days: int
    kind: str = "logistic"
    fitted: Fitted | None = None
    calibration: Calibration | None = None
    kin: tuple[Kin, ...] = ()
    usual: tuple[float, ...] = ()
    judged: tuple[int, ...] = CALIBRATED

    @classmethod
    def fit(
        cls,
        rows: pd.DataFrame,
        as_of: dt.date,
        config: Settings,
        *,
        step_days: int = STEP_DAYS,
        past: pd.DataFrame | None = None,
    ) -> ChurnModel:
        """Learn from rows at risk (``rows_at_risk``) what was known at the end of ``as_of``.

        The steps after each row have ``step_days`` days and begin ``churn_lead_days`` after it. ``past`` are the
        held-out log odds of earlier dates, where they have been made before (``held_out``). The gate judges them; the
        calibration is learnt from them; then the classifier is refitted to all rows with a complete outcome. Never
        raises for what the data cannot carry: ``gate.reason`` says it.
        """
        lead = config.churn_lead_days
        rows = rows[rows["date"] <= pd.Timestamp(as_of)]
        outcome = outcomes(rows, as_of, step_days, lead)
        teach = ~np.isnan(outcome)
        events, steps = int(np.nansum(outcome)), int(teach.sum())
        shared = {
            "config": config,
            "trained_until": as_of,
            "lead_days": lead,
            "step_days": step_days,
        }
        refusal = _refusal(events, steps, config)
        if refusal:
            return cls(
                **shared,
                gate=Gate(False, refusal, events, steps),
                base_log_odds=_base(events, steps),
            )
        if past is None:
            past = held_out(rows, as_of, config, step_days=step_days)
        past = past[past["date"] <= pd.Timestamp(as_of)]
        seen = outcomes(past, as_of, step_days, lead)
        known = ~np.isnan(seen)
        gate = judge_held_out(
            past["log_odds"].to_numpy()[known],
            past["base_log_odds"].to_numpy()[known],
            seen[known],
            past["date"].to_numpy()[known],
            events,
            steps,
            config,
        )
        if not gate.eligible:
            return cls(**shared, gate=gate, base_log_odds=_base(events, steps))
        fitted = fit_classifier(rows[teach], outcome[teach], config)
        if events >= config.churn_boosting_min_leavers:
            fitted = challenged(fitted, rows[teach], outcome[teach], step_days + lead, config)
        kind = "logistic" if fitted.boosted is None else "boosted"
        return _finished(
            cls(**shared, gate=gate, base_log_odds=_base(events, steps), kind=kind, fitted=fitted),
            rows[teach],
            past,
            as_of,
        )

    @property
    def eligible(self) -> bool:
        return self.fitted is not None

    def log_odds(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Calibrated log odds of the next step, and their standard deviation; CalculationError without a model."""
        fitted, calibration = self.ready()
        values = fitted.values(rows, self.config)
        raw = fitted.log_odds(values)
        sd = calibration.sd(raw, fitted.classifier.log_odds_sd(values))
        return np.round(calibration.log_odds(raw), DECIMALS), np.round(
            sd, DECIMALS
        )  # the same alone as among others

    def predict(self, rows: pd.DataFrame, horizons: Sequence[int] = HORIZONS) -> pd.DataFrame:
        """The probability that each row's customer is lost within each horizon (days), with its interval.

        Columns: client_id, date, horizon_days, probability, lower, upper (at ``interval_level``), confidence (the
        chance that the customer's own probability lies within 5 points of it), extrapolated (the portfolio is too short to
        judge the horizon), log_odds and log_odds_sd of the next step. Raises CalculationError where the gate said no.
        """
        odds, sd = self.log_odds(rows)
        parts = []
        for horizon in horizons:
            lower, upper, sure = spread_of(
                self.calibration, odds, sd, horizon, self.config.interval_level
            )
            parts.append(
                pd.DataFrame(
                    {
                        "client_id": rows["client_id"].to_numpy(),
                        "date": rows["date"].to_numpy(),
                        "horizon_days": horizon,
                        "probability": self.calibration.probability(odds, horizon),
                        "lower": lower,
                        "upper": upper,
                        "confidence": sure,
                        "extrapolated": horizon not in self.judged,
                        "log_odds": odds,
                        "log_odds_sd": sd,
                    }
                )
            )
        found = pd.concat(parts, ignore_index=True)[PREDICTED]
        return found.sort_values(
            ["client_id", "date", "horizon_days"], kind="stable", ignore_index=True
        )

    def explain(self, rows: pd.DataFrame) -> pd.DataFrame:
        """What puts each customer's log odds where they are: one row per customer and group of kindred metrics.

        Collinear metrics are one group, named after the one that tells most: alone, their signs are an artefact of
        each other. ``log_odds`` are against the average row that the model learnt from; with ``base`` they add up to
        the row's calibrated log odds. ``sd`` is how sure a part is, ``usual`` the median of the metric.
        """
        fitted, calibration = self.ready()
        values = fitted.values(rows, self.config)
        members = [list(kin.members) for kin in self.kin]
        parts, sds = fitted.joint_parts(values, members)
        leads = [fitted.predictors[kin.lead] for kin in self.kin]
        labels = [
            ", ".join(dict.fromkeys(fitted.predictors[one].label for one in some))
            for some in members
        ]
        order, count = (
            np.argsort(rows["client_id"].to_numpy(dtype=str), kind="stable"),
            len(self.kin),
        )
        return pd.DataFrame(
            {
                "client_id": np.repeat(rows["client_id"].to_numpy()[order], count),
                "date": np.repeat(rows["date"].to_numpy()[order], count),
                "kin": np.tile(np.arange(count), len(rows)),
                **{
                    name: np.tile([getattr(one, name) for one in leads], len(rows))
                    for name in ("label", "metric", "unit")
                },
                "value": np.column_stack([measured(rows, one) for one in leads])[order].ravel(),
                "usual": np.tile([self.usual[kin.lead] for kin in self.kin], len(rows)),
                "log_odds": np.round(calibration.slope * parts[order].ravel(), DECIMALS),
                "sd": np.round(calibration.slope * sds[order].ravel(), DECIMALS),
                "members": np.tile(labels, len(rows)),
            }
        )

    @property
    def base(self) -> float:
        """The calibrated log odds of the average row."""
        fitted, calibration = self.ready()
        return float(calibration.log_odds(np.array([fitted.base]))[0])

    def base_probability(self, horizon_days: float) -> float:
        """The portfolio's base rate over a horizon: of those that the model learnt from, steps compounded."""
        return float(
            -np.expm1(
                horizon_days / self.step_days * np.log1p(-scipy.special.expit(self.base_log_odds))
            )
        )

    def ready(self) -> tuple[Fitted, Calibration]:
        """Classifier and calibration; CalculationError, with the gate's reason, where there are none."""
        if self.fitted is None or self.calibration is None:
            raise CalculationError(
                self.gate.reason,
                parameter="model",
                validation_rule="a portfolio that carries a model",
            )
        return self.fitted, self.calibration

    # -- plain JSON ----------------------------------------------------------------------

    def to_json(self) -> str:
        """Everything that predictions need, as JSON text: no code is in it, and none runs when it is read."""
        kept = {
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
        if self.fitted is not None:
            kept |= {
                "predictors": to_dicts(self.fitted.predictors),
                "classifier": self.fitted.classifier.to_dict(),
                "boosted": None if self.fitted.boosted is None else self.fitted.boosted.to_dict(),
                "calibration": self.calibration.to_dict(),
                "kin": [asdict(one) for one in self.kin],
                "usual": list(self.usual),
            }
        return json.dumps(kept, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ChurnModel:
        """The model that ``to_json`` wrote. CalculationError for what is none, another version, or unknown metrics."""
        kept = _read(text)
        shared = {
            "config": Settings(**kept["config"]),
            "trained_until": dt.date.fromisoformat(kept["trained_until"]),
            "gate": Gate(**kept["gate"]),
            "base_log_odds": kept["base_log_odds"],
            "lead_days": kept["lead_days"],
            "step_days": kept["step_days"],
            "kind": kept["kind"],
            "judged": tuple(kept["judged"]),
        }
        if "classifier" not in kept:
            return cls(**shared)
        predictors = tuple(Predictor(**one) for one in kept["predictors"])
        boosted = Boosted.from_dict(kept["boosted"]) if kept.get("boosted") else None
        _refuse_unknown(predictors, shared["config"])
        kin = tuple(Kin(one["lead"], tuple(one["members"])) for one in kept["kin"])
        return cls(
            **shared,
            fitted=Fitted(predictors, AdditiveHazard.from_dict(kept["classifier"]), boosted),
            calibration=Calibration(**kept["calibration"]),
            kin=kin,
            usual=tuple(kept["usual"]),
        )


def refused(config: Settings, as_of: dt.date, leavers: int) -> ChurnModel:
    """The answer where so few have left that nothing needs to be counted."""
    why = (
        f"no account-level model: {leavers} customers have left or given notice, {config.churn_min_leavers} are "
        "needed"
    )
    return ChurnModel(
        config, as_of, Gate(False, why, leavers, 0), 0.0, config.churn_lead_days, STEP_DAYS
    )


def _refusal(events: int, steps: int, config: Settings) -> str | None:
    if steps == 0:
        return "no account-level model: no customer was watched for a whole step"
    if events == 0:
        return f"no account-level model: nobody left in {steps:,} customer-months, so that nothing tells leavers apart"
    if events == steps:
        return f"no account-level model: all {events} customers that were watched left, and nobody stayed"
    if events < config.churn_min_leavers:
        return (
            f"no account-level model: {events} customers left in {steps:,} customer-months, "
            f"{config.churn_min_leavers} are needed"
        )
    return None


def _base(events: int, steps: int) -> float:
    return float(scipy.special.logit((events + 0.5) / (steps + 1.0)))


def _finished(
    model: ChurnModel, rows: pd.DataFrame, past: pd.DataFrame, as_of: dt.date
) -> ChurnModel:
    """With calibration, kin, usual values, the horizons that could be judged, and the intervals' width."""
    seen = {
        ahead: outcomes(past, as_of, model.step_days, model.lead_days, ahead * model.step_days)
        for ahead in range(6)
    }
    odds, still = past["log_odds"].to_numpy(), np.ones(len(past), dtype=bool)
    later = []
    for ahead in range(1, 6):
        still = still & (seen[ahead - 1] == 0)
        known = still & ~np.isnan(seen[ahead])
        later.append((ahead, odds[known], seen[ahead][known]))
    first = ~np.isnan(seen[0])
    calibration = calibrate(
        odds[first], seen[0][first], model.base_log_odds, model.step_days, later
    )
    values = model.fitted.values(rows, model.config)
    kin = kin_of(values, model.fitted)
    usual = tuple(float(np.nanmedian(measured(rows, one))) for one in model.fitted.predictors)
    full = ChurnModel(
        **{
            **model.__dict__,
            "calibration": calibration,
            "kin": kin,
            "usual": usual,
            "judged": _judged(past, as_of, model),
        }
    )
    last = rows[rows["date"] == rows["date"].max()]
    found = full.predict(last, [model.config.churn_horizon_days])
    width = float((found["upper"] - found["lower"]).median())
    return ChurnModel(
        **{**full.__dict__, "gate": Gate(**{**model.gate.to_dict(), "median_width": width})}
    )


def _judged(past: pd.DataFrame, as_of: dt.date, model: ChurnModel) -> tuple[int, ...]:
    """30 and 90 days, and the longer horizons whose outcomes enough held-out dates have seen."""
    found = list(CALIBRATED)
    for horizon in (180, 365):
        outcome = outcomes(past, as_of, horizon, model.lead_days)
        known = ~np.isnan(outcome)
        if (
            past.loc[known, "date"].nunique() >= JUDGED_DATES
            and outcome[known].sum() >= JUDGED_EVENTS
        ):
            found.append(horizon)
    return tuple(found)


def _read(text: str) -> dict[str, Any]:
    try:
        kept = json.loads(text)
    except ValueError:
        raise CalculationError(
            "this is no saved churn model: it is no JSON", parameter="model"
        ) from None
    if not isinstance(kept, dict) or "version" not in kept:
        raise CalculationError(
            "this is no saved churn model: it names no version", parameter="model"
        )
    if kept["version"] != VERSION:
        raise CalculationError(
            f"the saved churn model has version {kept['version']}, this one reads {VERSION}: train "
            "it again",
            parameter="model",
            value_provided=str(kept["version"]),
            validation_rule=f"version {VERSION}",
        )
    return kept


def _refuse_unknown(predictors: Sequence[Predictor], config: Settings) -> None:
    scored = {
        metric.metric for part in config.scorecard.components.values() for metric in part.metrics
    }
    known = {metric.name for metric in catalog.used_by("churn")} | scored | {"tier"}
    for one in predictors:
        if one.metric not in known and not one.metric.startswith(FAMILY):
            raise CalculationError(
                f"the saved churn model reads the metric {one.metric!r}, which there is not: "
                "train it again",
                parameter="model",
                value_provided=one.metric,
                validation_rule="metrics of docs/metrics.md",
            )
