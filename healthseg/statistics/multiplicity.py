"""Every hypothesis that a call tests, in one list, and what remains under false-discovery control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd


def benjamini_hochberg(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """The smallest false-discovery rate at which each hypothesis would be called significant: its q.

    Benjamini & Hochberg (1995), in the order of ``p``. Refuses p outside 0..1 and NaN: what could not be
    tested was not tried.

    >>> benjamini_hochberg([.01, .04, .03]).round(4).tolist()
    [0.03, 0.04, 0.04]
    """
    p = np.asarray(p, dtype=float)
    if p.size and not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values lie in 0..1")
    # scipy.stats has the same, and takes half a second of a process' first call to load
    order = np.argsort(p, kind="stable")[::-1]
    scaled = p[order] * (len(p) / np.arange(len(p), 0, -1))
    q = np.empty_like(p)
    q[order] = np.clip(np.minimum.accumulate(scaled), 0, 1)
    return q


class Hypotheses:
    """All that a call has tried: each with its family, its name, its p and its figures.

    >>> tried = Hypotheses()
    >>> tried.add("pairs", "export & alerts", 0.001, lift=3.0)
    >>> tried.add("pairs", "export & search", 0.2, lift=1.1)
    >>> tried.frame()[["name", "q"]].values.tolist()
    [['export & alerts', 0.002], ['export & search', 0.2]]
    """

    def __init__(self) -> None:
        self._tried: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return len(self._tried)

    def add(self, family: str, name: str, p: float, **figures: Any) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"the p-value of {name!r} is {p}; p-values lie in 0..1")
        self._tried.append({"family": family, "name": name, "p": float(p), **figures})

    def frame(self) -> pd.DataFrame:
        """A row per hypothesis in the order tried, with q over all of them together, whatever their family."""
        frame = pd.DataFrame(self._tried, columns=None if self._tried else ["family", "name", "p"])
        return frame.assign(q=benjamini_hochberg(frame["p"].to_numpy(dtype=float)))

    def significant(self, q: float) -> pd.DataFrame:
        """Those whose q is at most ``q``."""
        frame = self.frame()
        return frame[frame["q"] <= q].reset_index(drop=True)
