"""Which of all the patterns that were tried are there, and not chance?

Finders hand in families: everything of one kind that was tried, whether it looked promising or not. All families of a
call are judged together, as one Benjamini–Hochberg family. A pattern passes where

1. it reaches its kind's least support and least lift,
2. its q over everything tried in the call is at most ``max_q``,
3. it is found again on held-out time: on the same side of its base rate, with p at most ``held_out_max_p`` (one-sided:
   the side is given). What could not be asked of held-out time was not found again,
4. among those it stands up to resampling: ``confidence`` is the share of bootstrap resamples of the units (customers;
   of a single customer its weeks) in which support and lift reach their limits again, on the same side. It decides
   nothing here: a tool filters by it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from healthseg.statistics.multiplicity import benjamini_hochberg

COLUMNS = ["key", "support", "n", "prevalence", "base_rate", "lift", "lower", "upper", "p"]
JUDGED_COLUMNS = ["q", "held_out_lift", "held_out_p", "found_again", "confidence", "passes"]
MAX_Q = 0.01
HELD_OUT_MAX_P = 0.05
RESAMPLES = 200

Again = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Limits:
    """What a pattern of a kind must reach: units that show it, and its lift (as a factor, either way)."""

    support: float = 20
    lift: float = 1.25


@dataclass(frozen=True)
class Family:
    """Everything of one kind that was tried.

    ``tried`` has a row per hypothesis: key (unique in the kind), support (units showing it), n (units in which it could
    be measured), prevalence, base_rate, lift (over the base rate; below 1 for what is rarer than it), lower, upper (of
    the lift) and p; further columns are carried along, and ``sure_lift``, where it is there, is what must reach the
    least lift in its place. ``units`` are what is resampled: client ids or, of a single customer, weeks.
    ``again(weights, rows)`` asks the hypotheses at positions ``rows`` of ``tried`` again where unit j is drawn
    ``weights[draw, j]`` times: support and lift, each ``[draw, hypothesis]``. ``held_out`` has the same hypotheses on
    the later part of the window: key, lift, p (one-sided); None where the window is too short to be cut.
    """

    kind: str
    tried: pd.DataFrame
    units: Sequence[str] = ()
    again: Again | None = None
    held_out: pd.DataFrame | None = None
    limits: Limits = field(default_factory=Limits)


def judge(
    families: Sequence[Family],
    seed: int,
    max_q: float = MAX_Q,
    held_out_max_p: float = HELD_OUT_MAX_P,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """All hypotheses of all families, in the order given, with what came of them; its length is how many were tried.

    Columns: kind, those of ``Family.tried``, then q, held_out_lift, held_out_p, found_again (bool), confidence (NaN for
    what fails before it is asked, or where nothing can be resampled) and passes. Raises ValueError for a family in
    which a key stands twice or a p lies outside 0..1.

    >>> coins = pd.DataFrame({"key": ["both", "neither"], "support": [60, 20], "n": 100, "prevalence": [0.6, 0.2],
    ...                       "base_rate": [0.3, 0.2], "lift": [2.0, 1.0], "lower": [1.6, 0.6], "upper": [2.4, 1.4],
    ...                       "p": [1e-6, 0.5]})
    >>> later = pd.DataFrame({"key": ["both", "neither"], "lift": [1.9, 1.1], "p": [0.001, 0.3]})
    >>> judge([Family("bundle", coins, held_out=later)], seed=7)[["key", "q", "passes"]].values.tolist()
    [['both', 2e-06, True], ['neither', 0.5, False]]
    """
    parts = [_with_held_out(family) for family in families]
    p = (
        np.concatenate([part["p"].to_numpy(dtype=float) for part in parts])
        if parts
        else np.zeros(0)
    )
    q, at, judged = benjamini_hochberg(p), 0, []
    for family, part in zip(families, parts, strict=True):
        part = part.assign(q=q[at : at + len(part)])
        at += len(part)
        judged.append(_judged(family, part, seed, max_q, held_out_max_p, resamples))
    columns = ["kind", *COLUMNS, *JUDGED_COLUMNS]
    filled = [part for part in judged if len(part)]
    frame = pd.concat(filled, ignore_index=True) if filled else _nothing(columns)
    return frame[[*columns, *(name for name in frame if name not in columns)]]


def _nothing(columns: list[str]) -> pd.DataFrame:
    kinds = {"kind": "str", "key": "str", "found_again": bool, "passes": bool}
    return pd.DataFrame({name: pd.Series(dtype=kinds.get(name, float)) for name in columns})


def _with_held_out(family: Family) -> pd.DataFrame:
    tried = family.tried.reset_index(drop=True)
    if tried["key"].duplicated().any():
        raise ValueError(
            f"{family.kind}: the key {tried.loc[tried['key'].duplicated(), 'key'].iloc[0]!r} stands twice"
        )
    held = (
        pd.DataFrame({"key": [], "lift": [], "p": []})
        if family.held_out is None
        else family.held_out
    )
    held = held.set_index("key")[["lift", "p"]].reindex(tried["key"]).astype(float)
    return tried.assign(
        kind=family.kind, held_out_lift=held["lift"].to_numpy(), held_out_p=held["p"].to_numpy()
    )


def _judged(
    family: Family,
    part: pd.DataFrame,
    seed: int,
    max_q: float,
    held_out_max_p: float,
    resamples: int,
) -> pd.DataFrame:
    side = np.sign(np.log(part["lift"].to_numpy(dtype=float).clip(1e-12)))
    same = side == np.sign(np.log(part["held_out_lift"].to_numpy(dtype=float).clip(1e-12)))
    found_again = same & (part["held_out_p"] <= held_out_max_p).to_numpy()
    lift = part["sure_lift" if "sure_lift" in part else "lift"].to_numpy(dtype=float)
    reached = _reach(part["support"].to_numpy(dtype=float), lift, family.limits, side)
    passes = reached & (part["q"] <= max_q).to_numpy() & found_again
    part = part.assign(found_again=found_again, confidence=np.nan, passes=passes)
    if passes.any() and family.again is not None:
        rows = np.flatnonzero(passes)
        support, lift = family.again(draws(len(family.units), resamples, seed, family.kind), rows)
        part.loc[rows, "confidence"] = _reach(support, lift, family.limits, side[rows]).mean(axis=0)
    return part


def _reach(support: np.ndarray, lift: np.ndarray, limits: Limits, side: np.ndarray) -> np.ndarray:
    """Whether support and lift reach the limits, the lift on the given side of 1."""
    least = np.log(limits.lift) - 1e-12
    with np.errstate(divide="ignore", invalid="ignore"):
        return (support >= limits.support) & (np.log(lift) * side >= least)


def draws(units: int, resamples: int, seed: int, kind: str) -> np.ndarray:
    """How often each unit is drawn in each resample, ``[draw, unit]``; every row adds up to ``units``."""
    random = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    if not units:
        return np.zeros((resamples, 0), dtype=np.int64)
    return random.multinomial(units, np.full(units, 1 / units), size=resamples)
