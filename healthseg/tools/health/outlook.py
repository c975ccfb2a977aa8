"""What lies ahead: the score's forecast, the probability of churn, and the churn model's own score."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.errors import CalculationError
from healthseg.forecasting import within_tolerance
from healthseg.metrics import panels
from healthseg.scoring import BaseRates
from healthseg.scoring.churn import training
from healthseg.scoring.churn.base_rates import THE_PORTFOLIO
from healthseg.scoring.churn.expected import portfolio_base_rates
from healthseg.scoring.churn.model import ChurnModel
from healthseg.scoring.explanation import (
    ScoreChange,
    explain_predictive_change,
    predictive_parts,
)
from healthseg.scoring.scored_panel import PREDICTIVE
from healthseg.tools.base import Figure, Interval
from healthseg.tools.health import words
from healthseg.tools.health.result import (
    ChurnFactor,
    ChurnGate,
    ChurnPrediction,
    Factor,
    Forecast,
    PredictedScore,
)
from healthseg.tools.values import integer, number, rounded

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.settings import Settings

AHEAD_DAYS = (30, 60, 90)
NO_MODEL_SCORE = "no churn model was in force on that day, or notice had been given"
NO_OPPORTUNITIES = "the model's score promises nothing: what predicts churn need not cause it"
ScoredRow = tuple[dt.date, Mapping[str, Any]]
CHURN_COLUMNS = ["horizon_days", "probability", "lower", "upper", "kind"]
NO_CUSTOMER = "a base rate says nothing of a single customer"
BY_SCORE = "(100 − score) / 100 × ARR"
BY_NOTICE = "the whole ARR: notice was given"


def refuse_without_model(portfolio: Portfolio, as_of: dt.date, scoring_model: str) -> None:
    """CalculationError with the gate's reason where ``ml_predictive`` is requested and no model passed."""
    if scoring_model != PREDICTIVE:
        return
    model = training.churn_model(portfolio, as_of)
    if not model.eligible:
        raise CalculationError(
            f"scoring_model 'ml_predictive' is refused: {model.gate.reason}. Use weighted_composite or custom",
            parameter="scoring_model",
            value_provided=PREDICTIVE,
            validation_rule="a portfolio that carries a churn model",
        )


def churn_prediction(
    portfolio: Portfolio, client_id: str, tier: str | None, as_of: dt.date
) -> tuple[ChurnPrediction, pd.DataFrame]:
    """The prediction of a live customer and its frame."""
    model = training.churn_model(portfolio, as_of)
    rates = portfolio_base_rates(portfolio, as_of)
    values, frame = _by_base_rate(rates, client_id, tier, portfolio.settings)
    values["gate"] = _gate(model)
    known = values["churn_probability"] is not None
    if model.eligible and known:
        own, frame = _by_model(portfolio, client_id, as_of, model, values, frame)
        return ChurnPrediction(**values | own), frame
    if known:
        reason = model.gate.reason
        values["reason"] += f". {reason[:1].upper()}{reason[1:]}"
    for key in ("churn_probability", "confidence"):
        values[key] = Figure(values[key], values["reason"])
    for key in ("churn_risk_level", "key_risk_factors", "protective_factors"):
        values[key] = Figure(None, NO_CUSTOMER)
    return ChurnPrediction(**values), frame


def _gate(model: ChurnModel) -> ChurnGate:
    gate = model.gate
    return ChurnGate(
        eligible=gate.eligible,
        reason=gate.reason,
        churned=gate.churned,
        customer_months=gate.customer_steps,
        auc=rounded(gate.auc),
        z=rounded(gate.z),
        z_needed=rounded(gate.z_needed),
        skill=rounded(gate.skill),
        median_interval_width=rounded(gate.median_width),
        trained_until=model.trained_until,
    )


def _by_model(
    portfolio: Portfolio,
    client_id: str,
    as_of: dt.date,
    model: ChurnModel,
    base: dict[str, Any],
    base_frame: pd.DataFrame,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The prediction's fields as the customer's own model has them, and the frame."""
    horizon = portfolio.settings.churn_horizon_days
    rows = training.predictions(portfolio, as_of, [client_id])
    at = rows[rows["horizon_days"] == horizon].iloc[0]
    risks, protective = drivers(portfolio, client_id, as_of)
    fields = {
        "method": f"hazard_{model.kind}",
        "churn_probability": rounded(at["probability"]),
        "churn_risk_level": at["risk_level"],
        "confidence": rounded(at["confidence"]),
        "key_risk_factors": [driver.text for driver in risks],
        "protective_factors": [driver.text for driver in protective],
        "key_risk_factors_detail": risks,
        "protective_factors_detail": protective,
        "base_rate": base["churn_probability"],
        "reason": f"the customer's own, by a model of what was known on {model.trained_until}: "
        f"{model.gate.reason}",
        "plausible_range": _interval(at),
        "by_horizon": [
            {
                "horizon_days": int(row["horizon_days"]),
                "churn_probability": rounded(row["probability"]),
                "plausible_range": _interval(row).model_dump(),
                "extrapolated": bool(row["extrapolated"]),
            }
            for _, row in rows.iterrows()
        ],
    }
    own = rows[["horizon_days", "probability", "lower", "upper"]].assign(kind="model")
    base_rows = base_frame[base_frame["kind"] == "base_rate"]
    return fields, pd.concat([own, base_rows], ignore_index=True)[CHURN_COLUMNS]


def drivers(
    portfolio: Portfolio, client_id: str, as_of: dt.date
) -> tuple[list[ChurnFactor], list[ChurnFactor]]:
    """Risk factors and protective factors, the strongest first, where their sign is sure.

    A factor's value is known, differs from the usual as it is shown, and has the effect beside it: a metric that is not
    measured is no factor.
    """
    settings = portfolio.settings
    rows = training.explanations(portfolio, as_of, [client_id])
    rows = rows[rows["value"].notna() & (np.sign(rows["own"]) == np.sign(rows["log_odds"]))]
    size = rows["own"].abs()
    least = np.log(settings.churn_driver_min_odds_ratio)
    is_sure = np.minimum(size, rows["log_odds"].abs()) >= settings.churn_driver_min_sds * rows["sd"]
    sure = rows[(size >= least) & is_sure]
    sure = sure.assign(size=-sure["own"].abs()).sort_values(["size", "kin"], kind="stable")
    parts = [_driver(row) for row in sure.to_dict("records") if words.differs(row)]
    return (
        [part for part in parts if part.log_odds > 0][: settings.churn_max_drivers],
        [part for part in parts if part.log_odds < 0][: settings.churn_max_drivers],
    )


def _driver(row: dict[str, Any]) -> ChurnFactor:
    odds = float(np.exp(row["own"]))
    text = words.measured(row["metric"], row["label"], row["value"], row["usual"])
    return ChurnFactor(
        text=f"{text} (odds × {odds:.2f})",
        label=row["label"],
        metric=row["metric"],
        unit=row["unit"],
        value=rounded(number(row["value"])),
        usual=rounded(number(row["usual"])),
        log_odds=round(row["own"], 4),
        sd=round(row["sd"], 4),
        odds_ratio=round(odds, 4),
        metrics=row["members"].split(", "),
    )


def _by_base_rate(
    rates: BaseRates, client_id: str, tier: str | None, settings: Settings
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The prediction's fields from the tier's base rate, and the frame."""
    rows = rates.of(client_id, tier)
    fields: dict[str, Any] = {
        "method": rates.method,
        "horizon_days": settings.churn_horizon_days,
        "interval_level": settings.interval_level,
        "churn_risk_level": None,
        "key_risk_factors": None,
        "protective_factors": None,
    }
    if rows is None:
        gone = "notice was given or the customer has churned: there is nothing left to predict"
        unknown = (
            "churn_probability",
            "confidence",
            "base_rate_interval",
            "plausible_range",
            "customers_at_risk",
            "churned",
        )
        reason = {"reason": rates.reason or gone, "by_horizon": []}
        return fields | dict.fromkeys(unknown) | reason, pd.DataFrame(columns=CHURN_COLUMNS)
    at = rows.iloc[(rows["horizon_days"] - settings.churn_horizon_days).abs().argmin()]
    whose = THE_PORTFOLIO if at["tier"] == THE_PORTFOLIO else f"the tier {at['tier']}"
    fields |= {
        "horizon_days": int(at["horizon_days"]),
        "churn_probability": rounded(at["probability"]),
        "confidence": rounded(at["confidence"]),
        "reason": f"base rate of {whose}: {at['events']} churned in {at['steps']:,.0f} customer-months "
        f"({at['customers']} customers); it ranks nobody within it",
        "base_rate_interval": _interval(at, "base_rate_"),
        "plausible_range": _interval(at, "plausible_"),
        "by_horizon": [
            {
                "horizon_days": int(row["horizon_days"]),
                "churn_probability": rounded(row["probability"]),
                "base_rate_interval": _interval(row, "base_rate_").model_dump(),
                "plausible_range": _interval(row, "plausible_").model_dump(),
            }
            for _, row in rows.iterrows()
        ],
        "customers_at_risk": int(at["at_risk_now"]),
        "churned": int(at["events"]),
    }
    parts = [
        rows[["horizon_days", "probability"]].assign(
            lower=rows[f"{kind}_lower"], upper=rows[f"{kind}_upper"], kind=kind
        )
        for kind in ("base_rate", "plausible")
    ]
    return fields, pd.concat(parts, ignore_index=True)


def _interval(row: Any, prefix: str = "") -> Interval:
    ends = {end: rounded(number(row[f"{prefix}{end}"])) for end in ("lower", "upper")}
    return Interval(**ends)


# -- expected loss of the portfolio's customers ----------------------------------------


def expected_loss_basis(portfolio: Portfolio, as_of: dt.date) -> str:
    """How the portfolio's expected losses are computed, in words."""
    if training.churn_model(portfolio, as_of).eligible:
        model = _by_probability(portfolio.settings.churn_horizon_days)
        return f"{model} (where notice was given, the whole ARR)"
    return f"{BY_SCORE}, as no account has a probability of its own"


def _by_probability(days: int) -> str:
    return f"probability of churn in {days} days × ARR"


def expected_losses(portfolio: Portfolio, as_of: dt.date, rows: pd.DataFrame) -> pd.DataFrame:
    """at_stake and basis of live customers' scored rows (by client_id).

    Probability × ARR where the churn model passed its gate, else a stand-in by the score.
    """
    if not training.churn_model(portfolio, as_of).eligible or not len(rows):
        loss = (100 - rows["score"]) / 100 * rows["arr"]
        return pd.DataFrame({"at_stake": loss, "basis": BY_SCORE})
    horizon = portfolio.settings.churn_horizon_days
    own = training.predictions(portfolio, as_of, rows.index.tolist())
    own = own[own["horizon_days"] == horizon].set_index("client_id")
    notice = rows["days_since_notice"].notna()
    probability = np.where(notice, 1.0, own["probability"].reindex(rows.index))
    return pd.DataFrame(
        {
            "at_stake": probability * rows["arr"],
            "basis": np.where(notice, BY_NOTICE, _by_probability(horizon)),
        },
        index=rows.index,
    )


# -- the churn model's score ------------------------------------------------------------


def model_score_change(
    portfolio: Portfolio, client_id: str, then: ScoredRow, now: ScoredRow
) -> ScoreChange:
    """Why the model's score of a customer changed between two days with their scored rows."""
    shown = {
        name: None if pd.isna(row["shown"]) else int(row["shown"])
        for name, (_, row) in (("then", then), ("now", now))
    }
    missing = [name for name, score in shown.items() if score is None]
    if missing:
        reason = f"{NO_MODEL_SCORE} ({' and '.join(missing)})"
        return ScoreChange(shown["then"], shown["now"], None, (), (), (), reason)
    old, new = (training.churn_model(portfolio, day) for day, _ in (then, now))
    return explain_predictive_change(
        (old, _row(portfolio, client_id, then[0], new), float(then[1]["score"])),
        (new, _row(portfolio, client_id, now[0], new), float(now[1]["score"])),
    )


def _row(portfolio: Portfolio, client_id: str, day: dt.date, model: ChurnModel) -> pd.DataFrame:
    return training.with_families(portfolio, panels.build(portfolio, [day], [client_id]), model)


def model_score_factors(
    portfolio: Portfolio, client_id: str, day: dt.date, row: Mapping[str, Any]
) -> tuple[list[Factor], list[Factor]]:
    """What holds the model's score up and what pulls it down, in points against the average customer-month.

    As of ``drivers``, a factor's value is known, differs from the usual, and has the effect beside it.
    """
    if pd.isna(row["score"]):
        return [], []
    model = training.churn_model(portfolio, day)
    rows = predictive_parts(model, _row(portfolio, client_id, day, model))
    rows = rows[rows["value"].notna() & (np.sign(rows["own"]) == np.sign(rows["log_odds"]))]
    rows = rows[rows["own_points"].abs() >= portfolio.settings.score_factor_min_points]
    rows = rows.assign(size=-rows["own_points"].abs()).sort_values(["size", "kin"], kind="stable")
    parts = [_score_factor(part) for part in rows.to_dict("records") if words.differs(part)]
    most = portfolio.settings.score_max_factors
    return (
        [part for part in parts if part.effect > 0][:most],
        [part for part in parts if part.effect < 0][:most],
    )


def _score_factor(row: dict[str, Any]) -> Factor:
    return Factor(
        text=words.measured(row["metric"], row["label"], row["value"], row["usual"]),
        metric=row["metric"],
        unit=row["unit"],
        value=rounded(number(row["value"])),
        points=None,
        effect=round(row["own_points"], 2),
    )


# -- the score's forecast ----------------------------------------------------------------


def predicted_scores(
    forecast: pd.DataFrame, errors: pd.DataFrame, as_of: dt.date, settings: Settings
) -> list[PredictedScore]:
    """The scores in 30, 60 and 90 days, interpolated between the weekly forecasts."""
    if forecast.empty:
        return []
    days = (forecast["date"] - pd.Timestamp(as_of)).dt.days.to_numpy()
    tolerance, parts = settings.score_forecast_tolerance_points, []
    for day in AHEAD_DAYS:
        point, low, high = (
            float(np.interp(day, days, forecast[name])) for name in ("forecast", "lower", "upper")
        )
        if not np.isfinite([point, low, high]).all():
            continue
        confidence = within_tolerance(errors, round(day / 7), tolerance).probability
        parts.append(
            PredictedScore(
                date=as_of + dt.timedelta(days=day),
                predicted_score=integer(point),
                lower=integer(low),
                upper=integer(high),
                confidence=Figure(
                    rounded(confidence), "fewer than 20 back-tested forecasts in the portfolio"
                ),
            )
        )
    return parts


def forecast_part(forecast: pd.DataFrame, errors: pd.DataFrame, level: float) -> Forecast:
    """The forecast's method, and how well it did in the past beside no change."""
    by_model = {name: errors[errors["model"] == name] for name in ("forecast", "naive")}
    own = by_model["forecast"]
    mean = {
        name: rounded(float(frame["error"].abs().mean())) if len(frame) else None
        for name, frame in by_model.items()
    }
    covered = own["coverage"].dropna()
    return Forecast(
        method=forecast["method"].iloc[0] if len(forecast) else "none",
        reason=None if len(forecast) else "no score in the history",
        interval_level=level,
        origins=int(own.groupby(["client_id", "origin"]).ngroups) if len(errors) else 0,
        mean_absolute_error=mean["forecast"],
        naive_mean_absolute_error=mean["naive"],
        interval_coverage=rounded(float(covered.mean())) if len(covered) else None,
    )
