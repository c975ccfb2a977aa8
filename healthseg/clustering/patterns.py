"""Which of all the patterns that were tried are significant?

All hypotheses of all kinds of a call are one Benjamini–Hochberg family. A pattern passes where it
reaches its kind's least support and lift, its q is at most ``effects_max_q``, and it is replicated
on held-out time: on the same side of its base rate, with a one-sided p of at most
``pattern_held_out_max_p``. Its ``confidence`` is the share of bootstrap resamples of the units in
which support and lift reach their limits again; it decides nothing here.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from healthseg.settings import Settings
from healthseg.settings.segments import PatternSettings
from healthseg.statistics.effects import benjamini_hochberg

COLUMNS = ["key", "support", "n", "prevalence", "base_rate", "lift", "lower", "upper", "p"]
EVALUATED = ["q", "held_out_lift", "held_out_p", "found_again", "confidence", "passes"]
HELD_OUT = ["key", "lift", "p"]
DEFAULTS = PatternSettings()

Resample = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class PatternLimits:
    """What a pattern of a kind must reach: units that show it, and its lift (as a factor, either way)."""

    support: float = DEFAULTS.pattern_min_customers
    lift: float = DEFAULTS.pattern_min_lift


@dataclass(frozen=True)
class PatternFamily:
    """Everything of one kind that was tried.

    ``tried`` has a row per hypothesis: key, support (units that show it), n (units where it can be
    measured), prevalence, base_rate, lift, lower, upper and p; ``sure_lift``, where present, must
    reach the least lift instead. ``resample(weights, rows)`` computes support and lift, each
    ``[draw, hypothesis]``, where unit j is drawn ``weights[draw, j]`` times. ``held_out`` has key,
    lift and one-sided p on the later part of the window; None where it is too short.
    """

    kind: str
    tried: pd.DataFrame
    units: Sequence[str] = ()
    resample: Resample | None = None
    held_out: pd.DataFrame | None = None
    limits: PatternLimits = field(default_factory=PatternLimits)


def evaluate_patterns(families: Sequence[PatternFamily], settings: Settings) -> pd.DataFrame:
    """All hypotheses of all families, in their order, with the verdict on each; its length is how many were tried.

    Columns: kind, those of ``PatternFamily.tried``, then q, held_out_lift, held_out_p, found_again, confidence (NaN of
    what does not pass, or cannot be resampled) and passes. Raises ValueError for a family with a key twice.

    >>> coins = pd.DataFrame({"key": ["both", "neither"], "support": [60, 20], "n": 100, "prevalence": [0.6, 0.2],
    ...                       "base_rate": [0.3, 0.2], "lift": [2.0, 1.0], "lower": [1.6, 0.6], "upper": [2.4, 1.4],
    ...                       "p": [1e-6, 0.5]})
    >>> later = pd.DataFrame({"key": ["both", "neither"], "lift": [1.9, 1.1], "p": [0.001, 0.3]})
    >>> evaluated = evaluate_patterns([PatternFamily("bundle", coins, held_out=later)], Settings())
    >>> evaluated[["key", "q", "passes"]].values.tolist()
    [['both', 2e-06, True], ['neither', 0.5, False]]
    """
    columns = ["kind", *COLUMNS, *EVALUATED]
    parts = [_with_held_out(family) for family in families]
    p_values = [part["p"].to_numpy(dtype=float) for part in parts]
    q_values = np.split(
        benjamini_hochberg(np.concatenate(p_values) if parts else np.zeros(0)),
        np.cumsum([len(part) for part in parts])[:-1],
    )
    evaluated = [
        _evaluated(family, part.assign(q=q), settings)
        for family, part, q in zip(families, parts, q_values, strict=False)
        if len(part)
    ]
    if not evaluated:
        kinds = {"kind": "str", "key": "str", "found_again": bool, "passes": bool}
        return pd.DataFrame({name: pd.Series(dtype=kinds.get(name, float)) for name in columns})
    frame = pd.concat(evaluated, ignore_index=True)
    return frame[[*columns, *(name for name in frame if name not in columns)]]


def why_rejected(
    row: Mapping[Any, Any],
    limits: PatternLimits,
    settings: Settings,
    tried: int,
    min_confidence: float,
) -> str:
    """Where an evaluated hypothesis failed, one of ``tried``, or that it recurs too seldom."""
    if row["support"] < limits.support:
        return f"shown by {row['support']:.0f}, {limits.support:.0f} are needed"
    near = row.get("sure_lift", np.nan)
    if np.isfinite(near) and max(near, 1 / max(near, 1e-9)) < limits.lift:
        return (
            f"at equal activity and breadth the odds may be {near:.2f} times those without it: "
            "too near to matter"
        )
    if max(row["lift"], 1 / max(row["lift"], 1e-9)) < limits.lift:
        return f"{row['lift']:.2f} times its base rate: too near to it to matter"
    if row["q"] > settings.effects_max_q:
        return f"among {tried:,} tried, as much comes by chance (q = {row['q']:.2g})"
    if not row["found_again"]:
        return "does not recur on held-out time"
    return (
        f"recurs in {100 * row['confidence']:.0f}% of resamples, {100 * min_confidence:.0f}% are "
        "required"
    )


def _with_held_out(family: PatternFamily) -> pd.DataFrame:
    tried = family.tried.reset_index(drop=True)
    twice = tried.loc[tried["key"].duplicated(), "key"]
    if len(twice):
        raise ValueError(f"{family.kind}: the key {twice.iloc[0]!r} occurs twice")
    held_out = pd.DataFrame(columns=HELD_OUT) if family.held_out is None else family.held_out
    later = held_out.set_index("key")[["lift", "p"]].reindex(tried["key"]).astype(float)
    return tried.assign(
        kind=family.kind, held_out_lift=later["lift"].to_numpy(), held_out_p=later["p"].to_numpy()
    )


def _evaluated(family: PatternFamily, part: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    side, later_side = (
        np.sign(np.log(part[name].to_numpy(dtype=float).clip(1e-12)))
        for name in ("lift", "held_out_lift")
    )
    significant_later = (part["held_out_p"] <= settings.pattern_held_out_max_p).to_numpy()
    replicated = (side == later_side) & significant_later
    lift = part["sure_lift" if "sure_lift" in part else "lift"].to_numpy(dtype=float)
    reached = _reach(part["support"].to_numpy(dtype=float), lift, family.limits, side)
    passes = reached & (part["q"] <= settings.effects_max_q).to_numpy() & replicated
    part = part.assign(found_again=replicated, confidence=np.nan, passes=passes)
    rows = np.flatnonzero(passes)
    if len(rows) and family.resample is not None:
        weights = resample_weights(
            len(family.units), settings.pattern_resamples, settings.seed, family.kind
        )
        support, lift = family.resample(weights, rows)
        part.loc[rows, "confidence"] = _reach(support, lift, family.limits, side[rows]).mean(axis=0)
    return part


def _reach(
    support: np.ndarray, lift: np.ndarray, limits: PatternLimits, side: np.ndarray
) -> np.ndarray:
    """Whether support and lift reach the limits, the lift on the stated side of 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        far_enough = np.log(lift) * side >= np.log(limits.lift) - 1e-12
    return (support >= limits.support) & far_enough


def resample_weights(units: int, resamples: int, seed: int, kind: str) -> np.ndarray:
    """How often each unit is drawn in each resample, ``[draw, unit]``; every row adds up to ``units``."""
    if not units:
        return np.zeros((resamples, 0), dtype=np.int64)
    random = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    return random.multinomial(units, np.full(units, 1 / units), size=resamples)
