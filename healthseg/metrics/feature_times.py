"""How long until features are used and adopted, and how long adoption lasts: Kaplan–Meier over customers."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.statistics.effects import resamples
from healthseg.statistics.survival import kaplan_meier, median_times, quantile_time, survival_at

if TYPE_CHECKING:
    from healthseg.settings import Settings

FIRST_USE, ADOPTED = "first_use_day", "adopted_day"
DRAWS = 200


@dataclass(frozen=True)
class MedianTime:
    """A median in days with its interval; None where fewer than half got there.

    ``excluded`` could use the feature before events were tracked: when they began is unknown.
    """

    days: float | None
    lower: float | None
    upper: float | None
    n: int
    events: int
    excluded: int

    @property
    def reason(self) -> str:
        """Why there is no median."""
        if not self.n:
            return "all could be used before events were tracked: when they began is unknown"
        return (
            f"{self.events} of {self.n} got there: fewer than half by the time they were last seen"
        )


class FeatureTimes:
    """How long it takes until features are used and adopted, and how long adoption lasts, for some customers."""

    def __init__(self, lives: pd.DataFrame, silent_days: int, settings: Settings) -> None:
        self.lives, self.seed, self.level = lives, settings.seed, settings.interval_level
        self.lasting_days = settings.adoption_lasting_days
        self.spells = {event: _spells(lives, event) for event in (FIRST_USE, ADOPTED)}
        self.durations = _durations(lives, silent_days)
        self.untracked = (~lives["watched"].astype(bool)).groupby(lives["feature"]).sum()
        self._cache: dict[Hashable, Any] = {}

    def _once(self, key: Hashable, build: Callable[[], Any]) -> Any:
        if key not in self._cache:
            self._cache[key] = build()
        return self._cache[key]

    def time_to(self, feature: str, event: str) -> MedianTime:
        rows = self.spells[event]
        return self._once(
            (feature, event),
            lambda: _median(
                rows[rows["feature"] == feature], int(self.untracked.get(feature, 0)), self.level
            ),
        )

    def category_time(self, category: str) -> MedianTime:
        """Pooled over the category's features, with an interval over customers; of one customer over features."""
        return self._once(category, lambda: self._category_time(category))

    def _category_time(self, category: str) -> MedianTime:
        rows = self.spells[ADOPTED]
        rows, lives = (frame[frame["category"] == category] for frame in (rows, self.lives))
        excluded = int((~lives["watched"].astype(bool)).sum())
        if rows["client_id"].nunique() < 2:
            return _median(rows, excluded, self.level)
        return _pooled_median(rows, excluded, self.level, self.seed)

    def outcome(self, feature: str) -> dict[str, float]:
        """Adoptions that were observed, how many were abandoned, of those taken up again, the share after 180 days."""
        return self._once((feature, "outcome"), lambda: self._outcome(feature))

    def _outcome(self, feature: str) -> dict[str, float]:
        observed = self.lives["adopted_day"].notna() & self.lives["seen_adopting"].astype(bool)
        adopted = self.lives[(self.lives["feature"] == feature) & observed]
        rows = self.durations[self.durations["feature"] == feature]
        share, lower, upper = _share_after(rows, self.lasting_days, self.level) or (np.nan,) * 3
        return {
            "adopters": len(adopted),
            "abandoned": int(adopted["abandoned_day"].notna().sum()),
            "readopted": int(adopted["readopted_day"].notna().sum()),
            "share": share,
            "lower": lower,
            "upper": upper,
        }

    def curves(self, by: str) -> pd.DataFrame:
        """Time-to-adopt curves by feature or category: name, days, share, lower, upper, at_risk."""
        return self._once((by, "curves"), lambda: self._stacked(self.spells[ADOPTED], by))

    def duration_curves(self) -> pd.DataFrame:
        """The share of adoptions still in use, by category."""

        def build() -> pd.DataFrame:
            frame = self._stacked(self.durations, "category")
            return frame.assign(
                share=1 - frame["share"], lower=1 - frame["upper"], upper=1 - frame["lower"]
            )

        return self._once("durations", build)

    def _stacked(self, rows: pd.DataFrame, by: str) -> pd.DataFrame:
        parts = [
            _curve_points(group, self.level).assign(name=name)
            for name, group in rows.groupby(by, sort=True)
        ]
        columns = ["name", "days", "share", "lower", "upper", "at_risk"]
        if not parts:
            return pd.DataFrame(columns=columns)
        return pd.concat(parts, ignore_index=True)[columns]


def _spells(lives: pd.DataFrame, event: str) -> pd.DataFrame:
    """Watched rows with ``time`` from the clock's beginning and ``happened``; open ones end when last seen."""
    rows = lives[lives["watched"].astype(bool)]
    happened = rows[event].notna().to_numpy()
    end = np.where(happened, rows[event], rows["until_day"] - 1)
    return _timed(rows, end - rows["from_day"].to_numpy(), happened)


def _durations(lives: pd.DataFrame, silent_days: int) -> pd.DataFrame:
    """Observed adoptions with ``time`` until abandoned.

    Open ones end ``silent_days`` before they were last seen: whether the silence since then will
    last cannot be known yet.
    """
    rows = lives[lives["adopted_day"].notna() & lives["seen_adopting"].astype(bool)]
    abandoned = rows["abandoned_day"].notna().to_numpy()
    end = np.where(abandoned, rows["abandoned_day"], rows["until_day"] - silent_days)
    frame = _timed(rows, end - rows["adopted_day"].to_numpy(), abandoned)
    return frame[frame["time"] >= 0].reset_index(drop=True)


def _timed(rows: pd.DataFrame, time: np.ndarray, happened: np.ndarray) -> pd.DataFrame:
    names = ("client_id", "feature", "category")
    columns = {name: rows[name].to_numpy() for name in names}
    return pd.DataFrame(columns | {"time": time, "happened": happened})


def _curve(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    # entry before 0: a spell of length 0 (used on the very first day) was at risk too
    return kaplan_meier(rows["time"], rows["happened"], np.full(len(rows), -1.0), level)


def _median(rows: pd.DataFrame, excluded: int, level: float) -> MedianTime:
    """The Kaplan–Meier median with Brookmeyer and Crowley's interval."""
    if not len(rows):
        return MedianTime(None, None, None, 0, 0, excluded)
    quantile = quantile_time(_curve(rows, level))
    events = int(rows["happened"].sum())
    return MedianTime(quantile.time, quantile.lower, quantile.upper, len(rows), events, excluded)


def _pooled_median(rows: pd.DataFrame, excluded: int, level: float, seed: int) -> MedianTime:
    """The median over several features of each customer, with an interval over resampled customers."""
    point = _median(rows, excluded, level)
    if point.days is None:
        return MedianTime(None, None, None, point.n, point.events, excluded)
    codes = pd.factorize(rows["client_id"], sort=True)[0]
    weights = resamples(codes.max() + 1, seed, DRAWS)[:, codes]
    draws = np.sort(median_times(rows["time"].to_numpy(), rows["happened"].to_numpy(), weights))
    tail = (1 - level) / 2
    lower = float(draws[int(np.floor(tail * DRAWS))])
    upper = float(draws[int(np.ceil((1 - tail) * DRAWS)) - 1])
    end = upper if np.isfinite(upper) else None
    return MedianTime(point.days, lower, end, point.n, point.events, excluded)


def _share_after(rows: pd.DataFrame, days: int, level: float) -> tuple[float, float, float] | None:
    """The share that lasts after ``days`` with its interval; None where none was watched that long."""
    if not len(rows) or rows["time"].max() < days:
        return None
    curve = _curve(rows, level)
    value = float(survival_at(curve, [days])[0])
    steps = curve[curve["time"] <= days]
    lower, upper = steps[["lower", "upper"]].iloc[-1].tolist() if len(steps) else (np.nan, np.nan)
    return value, (value if np.isnan(lower) else lower), (value if np.isnan(upper) else upper)


def _curve_points(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """The curve as shares that got there: days, share, lower, upper, at_risk; it begins at day 0 with 0."""
    curve = _curve(rows, level)
    points = pd.DataFrame(
        {
            "days": curve["time"],
            "share": 1 - curve["survival"],
            "lower": 1 - curve["upper"],
            "upper": 1 - curve["lower"],
            "at_risk": curve["at_risk"],
        }
    )
    if len(points) and points["days"].iloc[0] == 0:
        return points
    zero = {"days": [0.0], "share": [0.0], "lower": [0.0], "upper": [0.0], "at_risk": [len(rows)]}
    return pd.concat([pd.DataFrame(zero), points], ignore_index=True)
