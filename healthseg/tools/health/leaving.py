"""How likely is a customer to be lost? By the churn model where its gate said yes, else by the tier's base rate."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from healthseg.data.memory import remember
from healthseg.metrics import panel as panels
from healthseg.metrics.counting import epoch_day
from healthseg.metrics.leaving import customers_as_of
from healthseg.scoring import BaseRates, base_rates, training
from healthseg.scoring.churn import HORIZONS, THE_PORTFOLIO
from healthseg.scoring.churn_model import ChurnModel
from healthseg.settings import Settings
from healthseg.tools.health import words
from healthseg.tools.health.result import ChurnFactor, ChurnGate, ChurnPrediction, Range
from healthseg.tools.health.subject import Subject
from healthseg.tools.rounding import number, rounded, word

RATES = ["horizon_days", "probability", "lower", "upper", "kind"]
LEVELS = (
    (1.0, "low"),
    (2.0, "medium"),
    (4.0, "high"),
)  # below so many times the portfolio's base rate
SURE = 1.28  # standard deviations from none, from which on a part is named: 9 of 10 have its sign
LEAST_ODDS = 1.05  # a part that moves the odds by less is no key factor
NAMED = 5  # factors of each kind


def of_customer(subject: Subject) -> tuple[ChurnPrediction, pd.DataFrame, dict[str, str]]:
    """The prediction of a live customer, its frame, and why a key is null."""
    portfolio, settings = subject.portfolio, subject.settings
    model = training.churn_model(portfolio, subject.as_of)
    found = rates(portfolio, subject.as_of, settings)
    prediction, frame = by_rate(found, subject.client_id, word(subject.now["tier"]), settings)
    prediction = prediction.model_copy(update={"gate": _gate(model)})
    if model.eligible and prediction.churn_probability is not None:
        return _by_model(subject, model, found, prediction, frame)
    missing = {}
    if prediction.churn_probability is None:
        missing |= dict.fromkeys(
            (f"$.churn_prediction.{key}" for key in ("churn_probability", "confidence")),
            prediction.reason,
        )
    elif not model.eligible:
        prediction = prediction.model_copy(
            update={"reason": f"{prediction.reason}. {_sentence(model.gate.reason)}"}
        )
    missing |= dict.fromkeys(
        (
            f"$.churn_prediction.{key}"
            for key in ("churn_risk_level", "key_risk_factors", "protective_factors")
        ),
        "a base rate says nothing of a single customer",
    )
    return prediction, frame, missing


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _gate(model: ChurnModel) -> ChurnGate:
    gate = model.gate
    return ChurnGate(
        eligible=gate.eligible,
        reason=gate.reason,
        leavers=gate.leavers,
        customer_months=gate.customer_steps,
        auc=rounded(gate.auc),
        z=rounded(gate.z),
        skill=rounded(gate.skill),
        median_interval_width=rounded(gate.median_width),
        trained_until=model.trained_until,
    )


def _by_model(
    subject: Subject,
    model: ChurnModel,
    found: BaseRates,
    rate: ChurnPrediction,
    rate_frame: pd.DataFrame,
) -> tuple[ChurnPrediction, pd.DataFrame, dict[str, str]]:
    horizon = subject.settings.churn_horizon_days
    told = training.predictions(subject.portfolio, subject.as_of, [subject.client_id])
    at = told[told["horizon_days"] == horizon].iloc[0]
    risks, protects = factors(subject)
    prediction = rate.model_copy(
        update={
            "method": f"hazard_{model.kind}",
            "churn_probability": rounded(at["probability"]),
            "churn_risk_level": risk_level(at["probability"], base_probability(found, horizon)),
            "confidence": rounded(at["confidence"]),
            "key_risk_factors": [one.text for one in risks],
            "protective_factors": [one.text for one in protects],
            "key_risk_factors_detail": risks,
            "protective_factors_detail": protects,
            "base_rate": rate.churn_probability,
            "reason": f"the customer's own, by a model of what was known on {model.trained_until}: {model.gate.reason}",
            "plausible_range": _range(at),
            "by_horizon": [
                {
                    "horizon_days": int(row["horizon_days"]),
                    "churn_probability": rounded(row["probability"]),
                    "plausible_range": _range(row).model_dump(),
                    "extrapolated": bool(row["extrapolated"]),
                }
                for _, row in told.iterrows()
            ],
        }
    )
    rows = told[["horizon_days", "probability", "lower", "upper"]].assign(kind="model")
    rows = pd.concat([rows, rate_frame[rate_frame["kind"] == "base_rate"]], ignore_index=True)
    return prediction, rows[RATES], {}


def _range(row: pd.Series) -> Range:
    return Range(lower=rounded(row["lower"]), upper=rounded(row["upper"]))


def base_probability(found: BaseRates, horizon_days: int) -> float:
    rows = found.frame[
        (found.frame["tier"] == THE_PORTFOLIO) & (found.frame["horizon_days"] == horizon_days)
    ]
    return float(rows["probability"].iloc[0])


def risk_level(probability: float, base: float) -> str:
    """The customer's probability against the portfolio's base rate of the same horizon.

    >>> [risk_level(p, 0.1) for p in (0.09, 0.1, 0.25, 0.4)]
    ['low', 'medium', 'high', 'critical']
    """
    return next((name for times, name in LEVELS if probability < times * base), "critical")


def factors(subject: Subject) -> tuple[list[ChurnFactor], list[ChurnFactor]]:
    """What speaks for leaving and for staying, the strongest first, as far as its sign is sure."""
    rows = training.explanations(subject.portfolio, subject.as_of, [subject.client_id])
    sure = rows[
        (rows["log_odds"].abs() >= np.log(LEAST_ODDS))
        & (rows["log_odds"].abs() >= SURE * rows["sd"])
    ]
    sure = sure.assign(size=-sure["log_odds"].abs()).sort_values(["size", "kin"], kind="stable")
    told = [_factor(row) for row in sure.to_dict("records")]
    return (
        [one for one in told if one.log_odds > 0][:NAMED],
        [one for one in told if one.log_odds < 0][:NAMED],
    )


def _factor(row: dict[str, Any]) -> ChurnFactor:
    odds = float(np.exp(row["log_odds"]))
    return ChurnFactor(
        text=f"{words.measured(row['metric'], row['label'], row['value'], row['usual'])} (odds × {odds:.2f})",
        label=row["label"],
        metric=row["metric"],
        unit=row["unit"],
        value=rounded(number(row["value"])),
        usual=rounded(number(row["usual"])),
        log_odds=round(row["log_odds"], 4),
        sd=round(row["sd"], 4),
        odds_ratio=round(odds, 4),
        metrics=row["members"].split(", "),
    )


# -- the base rate -----------------------------------------------------------------------


def rates(portfolio: Any, as_of: dt.date, settings: Settings) -> BaseRates:
    """The tiers' base rates of leaving, as known at ``as_of``."""

    def make() -> BaseRates:
        known = customers_as_of(portfolio, as_of).reset_index(drop=True)
        known = known[pd.to_datetime(known["signup_date"]) <= pd.Timestamp(as_of)].reset_index(
            drop=True
        )
        if known.empty:
            return BaseRates(
                None,
                settings.interval_level,
                frozenset(),
                reason="no customer had signed up by then",
            )
        until = known["churned_on"] - pd.Timedelta(days=1)
        last = until.fillna(pd.Timestamp(as_of)).dt.date
        tier = panels.tiers_at(portfolio, dict(zip(known["client_id"], last, strict=True)))
        horizons = sorted({*HORIZONS, settings.churn_horizon_days})
        known = known.assign(tier=known["client_id"].map(tier)).drop(
            columns=training.untold(portfolio)
        )
        return base_rates(known, as_of, portfolio.first_event_day, settings, horizons)

    return remember(portfolio, ("base_rates", epoch_day(as_of), settings.fingerprint), make)


def by_rate(
    found: BaseRates, client_id: str, tier: str | None, settings: Settings
) -> tuple[ChurnPrediction, pd.DataFrame]:
    """The base rate as one customer's prediction, and its frame: horizon_days, probability, lower, upper, kind."""
    rows = found.of(client_id, tier)
    shared = {
        "method": found.method,
        "horizon_days": settings.churn_horizon_days,
        "interval_level": settings.interval_level,
        "churn_risk_level": None,
        "key_risk_factors": None,
        "protective_factors": None,
    }
    if rows is None:
        why = (
            found.reason
            or "notice was given or the customer has left: there is nothing left to predict"
        )
        empty = dict.fromkeys(
            (
                "churn_probability",
                "confidence",
                "base_rate_interval",
                "plausible_range",
                "customers_at_risk",
                "leavers",
            )
        )
        return (
            ChurnPrediction(**shared, **empty, by_horizon=[], reason=why),
            pd.DataFrame(columns=RATES),
        )
    at = rows.iloc[(rows["horizon_days"] - settings.churn_horizon_days).abs().argmin()]
    whose = THE_PORTFOLIO if at["tier"] == THE_PORTFOLIO else f"the tier {at['tier']}"
    reason = (
        f"base rate of {whose}: {at['events']} left in {at['steps']:,.0f} customer-months "
        f"({at['customers']} customers); it ranks nobody within it"
    )
    prediction = ChurnPrediction(
        **{**shared, "horizon_days": int(at["horizon_days"])},
        churn_probability=rounded(at["probability"]),
        confidence=rounded(at["confidence"]),
        reason=reason,
        base_rate_interval=interval_of(at, "base_rate"),
        plausible_range=interval_of(at, "plausible"),
        by_horizon=[
            {
                "horizon_days": int(row["horizon_days"]),
                "churn_probability": rounded(row["probability"]),
                "base_rate_interval": interval_of(row, "base_rate").model_dump(),
                "plausible_range": interval_of(row, "plausible").model_dump(),
            }
            for _, row in rows.iterrows()
        ],
        customers_at_risk=int(at["at_risk_now"]),
        leavers=int(at["events"]),
    )
    return prediction, _churn_frame(rows)


def interval_of(row: pd.Series, kind: str) -> Range:
    return Range(
        lower=rounded(number(row[f"{kind}_lower"])), upper=rounded(number(row[f"{kind}_upper"]))
    )


def _churn_frame(rows: pd.DataFrame) -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {
                "horizon_days": rows["horizon_days"],
                "probability": rows["probability"],
                "lower": rows[f"{kind}_lower"],
                "upper": rows[f"{kind}_upper"],
                "kind": kind,
            }
        )
        for kind in ("base_rate", "plausible")
    ]
    return pd.concat(parts, ignore_index=True)
