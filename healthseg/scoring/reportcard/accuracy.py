"""How well does a score tell leavers from stayers, and are its probabilities true? With intervals by customer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from healthseg.statistics.rates import wilson

BINS = 10
LEAST_EVENTS = 5


def auc(outcome: np.ndarray, risk: np.ndarray, weight: np.ndarray) -> float:
    """The chance that a leaver had the higher risk than a stayer, ties counting half; rows are weighted.

    >>> auc(np.array([1., 0, 0]), np.array([3., 1, 3]), np.ones(3))
    0.75
    """
    _, place = np.unique(risk, return_inverse=True)
    gone = np.bincount(place, weight * outcome)
    stays = np.bincount(place, weight * (1 - outcome))
    below = np.cumsum(stays) - stays
    pairs = gone.sum() * stays.sum()
    return float((gone * (below + stays / 2)).sum() / pairs) if pairs else np.nan


def average_precision(outcome: np.ndarray, risk: np.ndarray, weight: np.ndarray) -> float:
    """The mean precision over the leavers, from the riskiest on; rows of equal risk are taken together.

    >>> average_precision(np.array([1., 0, 1]), np.array([3., 2, 1]), np.ones(3)).__round__(4)
    0.8333
    """
    _, place = np.unique(-risk, return_inverse=True)
    gone, all_of = np.bincount(place, weight * outcome), np.bincount(place, weight)
    caught, taken = np.cumsum(gone), np.cumsum(all_of)
    precision = np.divide(caught, taken, out=np.zeros(len(taken)), where=taken > 0)
    return float((precision * gone).sum() / gone.sum()) if gone.sum() else np.nan


def resampled(
    figure: Callable[..., float],
    rows: pd.DataFrame,
    columns: tuple[str, ...],
    draws: int,
    level: float,
    seed: int,
) -> tuple[float, float, float]:
    """A figure of (columns…, weight) with its bootstrap interval: customers are drawn, with all their rows."""
    values = [rows[name].to_numpy(dtype=float) for name in columns]
    code, names = pd.factorize(rows["client_id"])
    drawn = draw_customers(len(names), draws, seed)
    found = np.array([figure(*values, weight[code]) for weight in drawn])
    found = found[~np.isnan(found)]
    low, high = (
        np.quantile(found, [(1 - level) / 2, (1 + level) / 2]) if len(found) else (np.nan, np.nan)
    )
    return figure(*values, np.ones(len(rows))), float(low), float(high)


def draw_customers(count: int, draws: int, seed: int) -> np.ndarray:
    """Draws × customers: how often each was drawn."""
    rng = np.random.default_rng(seed)
    return np.stack(
        [np.bincount(rng.integers(0, count, count), minlength=count) for _ in range(draws)]
    ).astype(float)


def told(rows: pd.DataFrame, names: list[str], draws: int, level: float, seed: int) -> pd.DataFrame:
    """Per score and rival: rows, leavers, AUC and average precision with intervals, Brier score, calibration slope."""
    found = []
    for name in names:
        known = rows[rows[f"risk_{name}"].notna()]
        line = {
            "score": name,
            "rows": len(known),
            "customers": known["client_id"].nunique(),
            "leavers": int(known["outcome"].sum()),
        }
        if line["leavers"] >= LEAST_EVENTS and line["leavers"] < len(known):
            for key, figure in (("auc", auc), ("average_precision", average_precision)):
                columns = ("outcome", f"risk_{name}")
                line |= dict(
                    zip(
                        (key, f"{key}_lower", f"{key}_upper"),
                        resampled(figure, known, columns, draws, level, seed),
                        strict=True,
                    )
                )
        if f"probability_{name}" in known:
            line["brier"] = float(((known[f"probability_{name}"] - known["outcome"]) ** 2).mean())
        found.append(line)
    columns = [
        "score",
        "rows",
        "customers",
        "leavers",
        "auc",
        "auc_lower",
        "auc_upper",
        "average_precision",
        "average_precision_lower",
        "average_precision_upper",
        "brier",
    ]
    return pd.DataFrame(found).reindex(columns=columns)


def paired(
    rows: pd.DataFrame, name: str, rival: str, draws: int, level: float, seed: int
) -> tuple[float, float, float]:
    """By how much a score's AUC lies above a rival's, on the rows that both know."""
    known = rows[rows[f"risk_{name}"].notna() & rows[f"risk_{rival}"].notna()]

    def difference(outcome, risk, other, weight) -> float:
        return auc(outcome, risk, weight) - auc(outcome, other, weight)

    return resampled(
        difference, known, ("outcome", f"risk_{name}", f"risk_{rival}"), draws, level, seed
    )


def calibration(rows: pd.DataFrame, names: list[str], level: float) -> pd.DataFrame:
    """Per score and tenth of its rows, from safe to risky: what was said, and which share left.

    Columns: score, bin, rows, leavers, risk (mean of the score, of a probability the probability itself), rate, lower,
    upper (Wilson, over rows).
    """
    found = []
    for name in names:
        said = f"probability_{name}" if f"probability_{name}" in rows else f"risk_{name}"
        known = rows[rows[said].notna()].sort_values([said, "client_id", "date"], kind="stable")
        for place, part in enumerate(np.array_split(np.arange(len(known)), BINS)):
            if len(part):
                here = known.iloc[part]
                leavers = int(here["outcome"].sum())
                lower, upper = wilson(leavers, len(here), level)
                found.append(
                    {
                        "score": name,
                        "bin": place + 1,
                        "rows": len(here),
                        "leavers": leavers,
                        "said": abs(float(here[said].mean())),
                        "probability": said.startswith("probability"),
                        "rate": leavers / len(here),
                        "lower": lower,
                        "upper": upper,
                    }
                )
    return pd.DataFrame(
        found,
        columns=[
            "score",
            "bin",
            "rows",
            "leavers",
            "said",
            "probability",
            "rate",
            "lower",
            "upper",
        ],
    )


def by_group(rows: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """AUC by tier and by stage, where at least five left and one stayed."""
    found = []
    for kind in ("tier", "stage"):
        for word, group in rows.groupby(kind, sort=True):
            for name in names:
                known = group[group[f"risk_{name}"].notna()]
                leavers = int(known["outcome"].sum())
                enough = LEAST_EVENTS <= leavers < len(known)
                found.append(
                    {
                        "kind": kind,
                        "group": str(word),
                        "score": name,
                        "rows": len(known),
                        "leavers": leavers,
                        "auc": auc(
                            known["outcome"].to_numpy(),
                            known[f"risk_{name}"].to_numpy(),
                            np.ones(len(known)),
                        )
                        if enough
                        else np.nan,
                    }
                )
    return pd.DataFrame(found, columns=["kind", "group", "score", "rows", "leavers", "auc"])
