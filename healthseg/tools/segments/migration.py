"""Who entered, left and moved since an earlier date, and how many moves measurement alone would cause."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from healthseg.clustering.rules import places
from healthseg.statistics.rates import standard_errors
from healthseg.tools.segments.figures import Figures
from healthseg.tools.segments.placing import Placed, Placer
from healthseg.tools.segments.result import Migration, Move, Noise

DRAWS = 1_000
ENTERED, LEFT, NOT_PLACED = "New", "Left", "Not placed"
FLOWS = ["from", "to", "customers", "arr"]


def flows(figures: Figures, then: pd.Series, now: pd.Series, since: dt.date) -> pd.DataFrame:
    """A row per pair of segments then and now: customers, and their ARR (now; of those who left, then)."""
    everyone = then.index.union(now.index)
    money_now, money_then = figures.money, figures.money_on(since)
    gone = everyone.difference(now.index)
    arr = money_now.amounts.reindex(everyone)
    arr.loc[gone] = money_then.amounts.reindex(gone)
    frame = pd.DataFrame(
        {
            "from": then.reindex(everyone).fillna(ENTERED),
            "to": now.reindex(everyone).fillna(LEFT),
            "arr": arr,
        }
    )
    found = (
        frame.groupby(["from", "to"], sort=True)
        .agg(customers=("arr", "size"), arr=("arr", lambda money: money.sum(min_count=1)))
        .reset_index()
    )
    return found[FLOWS]


def migration(
    figures: Figures,
    frame: pd.DataFrame,
    order: dict[str, int] | None,
    since: dt.date,
    noise: Noise | None,
) -> Migration:
    """The moves in figures; ``order`` are the segments' ranks where they have an order."""
    addable = figures.money.addable and figures.money_on(since).addable
    here = frame[(frame["from"] != ENTERED) & (frame["to"] != LEFT)]
    moved = here[here["from"] != here["to"]]
    entered, left = (
        frame[(frame["from"] == ENTERED) & (frame["to"] != LEFT)],
        frame[frame["to"] == LEFT],
    )
    up, down = _directions(moved, order)
    return Migration(
        since=since,
        stayed=int(here["customers"].sum() - moved["customers"].sum()),
        moved=int(moved["customers"].sum()),
        up=up,
        down=down,
        entered=int(entered["customers"].sum()),
        left=int(left["customers"].sum()),
        arr_moved=_money(moved, addable),
        arr_entered=_money(entered, addable),
        arr_left=_money(left, addable),
        noise=noise,
        flows=[
            Move(
                from_segment=row["from"],
                to_segment=row["to"],
                customers=int(row["customers"]),
                arr=round(float(row["arr"]), 2) if addable and pd.notna(row["arr"]) else None,
            )
            for row in frame.to_dict("records")
        ],
    )


def _directions(moved: pd.DataFrame, order: dict[str, int] | None) -> tuple[int | None, int | None]:
    if order is None:
        return None, None
    steps = moved["to"].map(order).astype(float) - moved["from"].map(order).astype(float)
    return int(moved.loc[steps > 0, "customers"].sum()), int(
        moved.loc[steps < 0, "customers"].sum()
    )


def _money(rows: pd.DataFrame, addable: bool) -> float | None:
    return round(float(rows["arr"].sum()), 2) if addable else None


def noise(figures: Figures, placer: Placer, placed: Placed, group_of: np.ndarray) -> Noise | None:
    """How many would change segments between two measurements of customers that don't change at all.

    Values: each is re-drawn twice with its error's standard deviation, 1,000 times (a score's is that of one-week
    forecasts in back-tests, a usage metric's the robust spread of weekly changes ÷ √2). Groups: two draws by each
    customer's own memberships. Recorded facts have none.
    """
    level = figures.settings.interval_level
    if placer.grouping is not None and placed.more is not None:
        stays = (
            placed.more["same_again"]
            .reindex(placed.place.index[placed.place >= 0])
            .dropna()
            .to_numpy()
        )
        expected, spread = float((1 - stays).sum()), float(np.sqrt((stays * (1 - stays)).sum()))
        reach = standard_errors(level) * spread
        return Noise(
            expected_moves=round(expected, 2),
            lower=round(max(0.0, expected - reach), 2),
            upper=round(expected + reach, 2),
            level=level,
            error_sd=None,
            method="two draws from each customer's memberships",
        )
    error = _error_sd(figures, placer)
    if error is None:
        return None
    values = placed.value.dropna().to_numpy(dtype=float)
    rng = np.random.default_rng([figures.settings.seed, 11])
    moves = np.array([_redrawn(values, error, placer, group_of, rng) for _ in range(DRAWS)])
    tail = (1 - level) / 2
    low, high = (float(np.sort(moves)[round(share * (DRAWS - 1))]) for share in (tail, 1 - tail))
    return Noise(
        expected_moves=round(float(moves.mean()), 2),
        lower=low,
        upper=high,
        level=level,
        error_sd=round(error, 4),
        method="each value re-drawn twice with its error",
    )


def _error_sd(figures: Figures, placer: Placer) -> float | None:
    if placer.kind == "health":
        return figures.score_error_sd()
    if placer.kind != "usage":
        return None
    changes = np.diff(placer.weekly().to_numpy(dtype=float), axis=1)
    changes = changes[np.isfinite(changes)]
    return (
        float(1.4826 * np.median(np.abs(changes - np.median(changes))) / np.sqrt(2))
        if len(changes) >= 20
        else None
    )


def _redrawn(
    values: np.ndarray, error: float, placer: Placer, group_of: np.ndarray, rng: np.random.Generator
) -> int:
    bounded = placer.kind == "health"
    drawn = []
    for _ in range(2):
        noisy = values + rng.normal(0, error, len(values))
        noisy = np.floor(np.clip(noisy, 0, 100) + 0.5) if bounded else noisy
        drawn.append(group_of[places(noisy, placer.thresholds, placer.lower_included)])
    return int((drawn[0] != drawn[1]).sum())
