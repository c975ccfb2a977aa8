"""Does the model hold on dates that it had not seen (the gate), and how do its log odds become
probabilities?

Calibrated log odds of a step = b + a + r·t + s·x: b the average row's, t the part of what is known ahead
(renewal, tenure), x the rest; a ~ Normal(0, 0.2²), r ~ Normal(1, 0.05²), s ~ Normal(1, 0.2²): shrunk towards no
change. r the most, since t spans many log odds, and models of the first dates, which few renewals taught, fall short
of it. j steps ahead t is that of the step, and s·x has become ρʲ·s·x and a change that nobody knows yet, of variance
(1 − ρ²ʲ)·v: with v the variance of s·x, customers differ as much in every step. The mean probability then has the log odds
y + (1 − 2p)·(1 − ρ²ʲ)·v/2 to the second order, p itself at the log odds that it raises: without that term the whole portfolio
would seem to lose fewer customers in each later step. ρ ~ Normal(0.9, 0.1²). All are learnt on held-out time alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import scipy

from healthseg.errors import CalculationError
from healthseg.settings import Settings
from healthseg.statistics import effects
from healthseg.statistics.separation import ranked_within_dates

INTERCEPT_SD, TIMING_SLOPE_SD, SLOPE_SD = 0.2, 0.05, 0.2
FIXED = 1e9  # precision of a coefficient that is not learnt
FADES = np.linspace(0.5, 1.0, 26)
FADE_MEAN, FADE_SD = 0.9, 0.1

Later = list[tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Gate:
    """Whether there is a model, why, and the figures that decided it.

    auc is of held-out dates, each date ranked within itself; z is its distance from 0.5 in standard errors of no
    signal, z_needed what it must exceed for so many losses; skill is 1 − the model's log score ÷ the base rate's.
    median_width is that of the customers' intervals.
    """

    eligible: bool
    reason: str
    churned: int
    customer_steps: int
    held_out_churned: int = 0
    held_out_dates: int = 0
    auc: float | None = None
    z: float | None = None
    z_needed: float | None = None
    skill: float | None = None
    median_width: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def needed_z(variance: float, settings: Settings) -> float:
    """The z whose evidence against no signal is ``churn_gate_evidence``, at any number of looks.

    Dates add independent terms of known variance v to a sum. The mixture of its likelihood ratios over a half-normal
    drift, 2 √(ρ/(v + ρ)) · exp(z²v / 2(v + ρ)) · Φ(z √(v/(v + ρ))), is a martingale without signal: it ever reaches E
    with a probability of 1/E at most (Robbins 1970; Howard et al. 2021). ρ is the variance of
    ``churn_gate_tuned_losses``.
    """
    if variance <= 0:
        return float("inf")
    prior = settings.churn_gate_tuned_losses / 12
    share = variance / (variance + prior)

    def log_evidence(z: float) -> float:
        ratio = 0.5 * np.log(1 - share) + z**2 * share / 2
        return float(np.log(2) + ratio + scipy.stats.norm.logcdf(z * np.sqrt(share)))

    target = np.log(settings.churn_gate_evidence)
    return float(scipy.optimize.brentq(lambda z: log_evidence(z) - target, 0.0, 100.0))


def log_skill(log_odds: np.ndarray, base: np.ndarray, outcome: np.ndarray) -> float:
    """1 − the log score of a forecast ÷ that of the base rate; above 0 it is the better one."""
    losses = [(np.logaddexp(0, odds) - outcome * odds).sum() for odds in (log_odds, base)]
    return 1 - float(losses[0]) / float(losses[1])


def judge_held_out(
    past: pd.DataFrame, outcome: np.ndarray, churned: int, steps: int, settings: Settings
) -> Gate:
    """The gate's verdict on held-out rows (``held_out``) with their outcomes (NaN: unknown)."""
    known = ~np.isnan(outcome)
    past, outcome = past[known], outcome[known]
    lost, dates = int(outcome.sum()), past["date"].nunique()
    counts = {"held_out_churned": lost, "held_out_dates": dates}
    counted = f"{churned} customers churned in {steps:,} customer-months"
    if lost in (0, len(outcome)):
        reason = (
            f"no account-level model: {counted}, too few of them on dates that could test a model"
        )
        return Gate(False, reason, churned, steps, **counts)
    odds, base = past["log_odds_0"].to_numpy(), past["base_log_odds"].to_numpy()
    ranked = ranked_within_dates(odds, outcome, past["date"].to_numpy())
    auc, z, needed = ranked.auc, ranked.z, needed_z(ranked.variance, settings)
    skill = log_skill(odds, base, outcome)
    side = "better" if skill > 0 else "worse"
    figures = (
        f"of 100 pairs it put {100 * auc:.0f} in the right order (AUC {auc:.2f}, z {z:.1f} where "
        f"{needed:.1f} is needed), log score "
        f"{100 * abs(skill):.1f}% {side} than the base rate's"
    )
    eligible = z > needed and skill > 0
    if eligible:
        reason = (
            f"{counted}; on {dates} held-out dates the model separated churned from retained "
            f"customers: {figures}"
        )
    else:
        reason = (
            f"no account-level model: {counted}, and on {dates} held-out dates a model did not "
            f"separate churned from retained customers well enough: {figures}"
        )
    return Gate(
        eligible, reason, churned, steps, **counts, auc=auc, z=z, z_needed=needed, skill=skill
    )


@dataclass(frozen=True)
class Calibration:
    """Coefficients (a, r, s) with their covariance, the fading, a step's days, the spread of what is unobserved
    between customers, and the variance of their own standing, the calibrated rest."""

    coefficients: tuple[float, float, float]
    covariance: tuple[tuple[float, float, float], ...]
    fade: float
    step_days: int
    unobserved_sd: float = 0.0
    variance: float = 0.0

    @property
    def intercept(self) -> float:
        return self.coefficients[0]

    @property
    def timing_slope(self) -> float:
        return self.coefficients[1]

    @property
    def slope(self) -> float:
        return self.coefficients[2]

    def log_odds(
        self, base: np.ndarray | float, timing: np.ndarray, raw: np.ndarray, ahead: int = 0
    ) -> np.ndarray:
        """Calibrated, from the raw log odds of a step, the average row's, and the part of what is known ahead."""
        known = base + self.intercept + self.timing_slope * timing
        rest = self.slope * (raw - base - timing)
        return _ahead(known, rest, self.fade, ahead, self.variance)

    def sd(
        self, base: np.ndarray | float, timing: np.ndarray, raw: np.ndarray, raw_sd: np.ndarray
    ) -> np.ndarray:
        """Of a customer's own log odds: the classifier's uncertainty, the calibration's, and what is unobserved."""
        design = np.column_stack([np.ones(len(raw)), timing, raw - base - timing])
        own = ((design @ np.array(self.covariance)) * design).sum(axis=1)
        slope = max(self.slope, self.timing_slope)
        return np.sqrt(slope**2 * raw_sd**2 + np.maximum(own, 0.0) + self.unobserved_sd**2)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Calibration:
        covariance = tuple(tuple(row) for row in saved["covariance"])
        coefficients = tuple(saved["coefficients"])
        return cls(**saved | {"coefficients": coefficients, "covariance": covariance})


def calibrate(
    base: np.ndarray,
    timing: np.ndarray,
    raw: np.ndarray,
    outcome: np.ndarray,
    step_days: int,
    later: Later,
) -> Calibration:
    """The calibration of held-out log odds ``raw`` by their outcomes (0, 1).

    ``later`` are (steps ahead, base, timing, log odds, outcomes) of the customers retained until then, for the fading.
    """
    design = np.column_stack([np.ones(len(raw)), timing, raw - base - timing, base])
    spread = np.array([INTERCEPT_SD, TIMING_SLOPE_SD, SLOPE_SD])
    precision = np.r_[1 / spread**2, FIXED]
    beta = effects.fit_logistic(design, outcome, precision, np.array([0.0, 1.0, 1.0, 1.0]))
    if beta is None:
        message = "the calibration of held-out log odds did not settle"
        raise CalculationError(message, value_provided=len(raw))
    curvature = effects.expand(design, outcome, beta).curvature + np.diag(precision)
    covariance = tuple(tuple(row) for row in np.linalg.inv(curvature)[:3, :3].tolist())
    coefficients = (float(beta[0]), float(beta[1]), float(beta[2]))
    variance = float(coefficients[2] ** 2 * design[:, 2].var())
    plain = Calibration(coefficients, covariance, 1.0, step_days, variance=variance)
    return replace(plain, fade=_fade(later, plain))


def _fade(later: Later, plain: Calibration) -> float:
    """The mean of ρ's posterior on a grid."""
    log_weight = -0.5 * ((FADES - FADE_MEAN) / FADE_SD) ** 2
    for ahead, base, timing, raw, outcome in later:
        known = base + plain.intercept + plain.timing_slope * timing
        rest = plain.slope * (raw - base - timing)
        faded = _ahead(known, rest, FADES[:, None], ahead, plain.variance)
        log_weight = log_weight + (outcome * faded - np.logaddexp(0, faded)).sum(axis=1)
    weight = np.exp(log_weight - log_weight.max())
    return float((weight * FADES).sum() / weight.sum())


def _ahead(
    known: np.ndarray | float, rest: np.ndarray, fade: Any, ahead: int, variance: float
) -> np.ndarray:
    """Log odds of the mean probability so many steps ahead."""
    odds = known + fade**ahead * rest
    half = (1 - fade ** (2 * ahead)) * variance / 2
    raised = odds - np.tanh(odds / 2) * half  # 1 − 2p = −tanh(y/2)
    return odds - np.tanh(raised / 2) * half


def survival(log_odds: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Log of the chance to be retained through steps (the last axis), each counting by its weight.

    >>> float(np.exp(survival(np.array([[0.0, 0.0]]), np.array([[1.0, 1.0]])))[0])
    0.25
    """
    return -(weights * np.logaddexp(0, log_odds)).sum(axis=-1)
