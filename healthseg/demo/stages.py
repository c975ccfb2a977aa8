"""Lifecycle stages: a semi-Markov law, spells, and recorded stages that contracts contradict."""

from __future__ import annotations

import numpy as np
import pandas as pd

from healthseg.demo.customers import Customers
from healthseg.demo.frame import Frame, stream

# stage → (next stage, chance, median days, sd of log days)
LAW: dict[str, tuple[tuple[str, float, float, float], ...]] = {
    "trial": (("onboarding", 0.85, 14, 0.35), ("active", 0.15, 24, 0.40)),
    "onboarding": (("active", 0.82, 45, 0.40), ("at_risk", 0.18, 60, 0.50)),
    "active": (
        ("engaged", 0.38, 80, 0.60),
        ("at_risk", 0.22, 110, 0.70),
        ("renewing", 0.28, 150, 0.50),
        ("expanded", 0.12, 120, 0.60),
    ),
    "engaged": (
        ("active", 0.30, 90, 0.60),
        ("renewing", 0.40, 120, 0.50),
        ("expanded", 0.18, 90, 0.60),
        ("at_risk", 0.12, 130, 0.70),
    ),
    "at_risk": (
        ("active", 0.60, 48, 0.60),
        ("engaged", 0.15, 75, 0.50),
        ("renewing", 0.25, 90, 0.50),
    ),
    "renewing": (
        ("active", 0.60, 35, 0.40),
        ("engaged", 0.20, 32, 0.40),
        ("at_risk", 0.12, 40, 0.50),
        ("expanded", 0.08, 30, 0.40),
    ),
    "expanded": (
        ("active", 0.50, 60, 0.50),
        ("engaged", 0.35, 70, 0.50),
        ("renewing", 0.15, 100, 0.50),
    ),
}
PORTFOLIO_BACK_DAYS = (
    420  # older customers' histories begin this long before the portfolio, in `active`
)
LATE_SHARE, REASONS = 0.15, ("usage", "contract", "csm_judgement", "automation")


def _next(rng, stage: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(next stage, whole days until then) for each stage."""
    to, wait = np.empty(len(stage), object), np.zeros(len(stage), int)
    for name, exits in LAW.items():
        rows = np.flatnonzero(stage == name)
        cause = rng.choice(len(exits), len(rows), p=[chance for _, chance, _, _ in exits])
        median, sd = (np.array([each[place] for each in exits])[cause] for place in (2, 3))
        to[rows] = np.array([each[0] for each in exits], object)[cause]
        wait[rows] = np.maximum(1, np.round(median * np.exp(sd * rng.standard_normal(len(rows)))))
    return to, wait


def draw_spells(seed: int, chunk: int, who: Customers, days: Frame) -> pd.DataFrame:
    """client, stage, entered, left, exit_to: one row per spell, as it runs if nobody leaves."""
    rng = stream(seed, chunk, "stages")
    old = who.signup < -PORTFOLIO_BACK_DAYS
    stage = np.where(
        old, "active", np.where(rng.random(who.count) < 0.6, "onboarding", "trial")
    ).astype(object)
    entered, client = np.where(old, -PORTFOLIO_BACK_DAYS, who.signup), np.arange(who.count)
    parts = []
    while len(client):
        to, wait = _next(rng, stage)
        parts.append(
            pd.DataFrame(
                {
                    "client": client,
                    "stage": stage,
                    "entered": entered,
                    "left": entered + wait,
                    "exit_to": to,
                }
            )
        )
        on = entered + wait < days.days
        client, stage, entered = client[on], to[on], (entered + wait)[on]
    spells = pd.concat(parts).sort_values(["client", "entered"], kind="stable", ignore_index=True)
    lag = np.where(rng.random(len(spells)) < LATE_SHARE, rng.integers(1, 12, len(spells)), 0)
    spells["recorded"] = spells["entered"] + lag
    spells["automated"] = rng.random(len(spells)) < 0.35
    spells["reason"] = np.array(REASONS, object)[rng.integers(0, len(REASONS), len(spells))]
    return spells


def truncated(spells: pd.DataFrame, churned: np.ndarray, days: Frame) -> pd.DataFrame:
    """Spells up to leaving; the last one ends in `churned`, or is open (left -1 for none)."""
    until = np.where(churned < 0, 10**6, churned)[spells["client"]]
    kept = spells[spells["entered"] < until].copy()
    until = until[spells["entered"] < until]
    leaves = kept["left"].to_numpy() >= until
    kept["exit_to"] = np.where(leaves, "churned", kept["exit_to"])
    kept["left"] = np.where(leaves, until, kept["left"])
    kept["closed"] = kept["left"] < days.days
    return kept.reset_index(drop=True)


def law_frame() -> pd.DataFrame:
    """stage, exit_to, law, parameters, quantiles: the days until that exit, given that it is the one."""
    rows = []
    for stage, exits in LAW.items():
        for to, chance, median, sd in exits:
            quantiles = {
                q: round(float(median * np.exp(sd * z)), 2)
                for q, z in (("p10", -1.2815515655), ("p50", 0.0), ("p90", 1.2815515655))
            }
            rows.append(
                (
                    stage,
                    to,
                    "lognormal",
                    {"chance": chance, "median_days": median, "sd_log": sd},
                    quantiles,
                )
            )
    return pd.DataFrame(rows, columns=["stage", "exit_to", "law", "parameters", "quantiles"])
