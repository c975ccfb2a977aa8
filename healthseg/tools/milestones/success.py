"""Will a customer have all required milestones in time? The chance from where it stands, calibrated on the past."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from healthseg.metrics.counting import epoch_day
from healthseg.metrics.milestone_times import Ahead, ahead
from healthseg.statistics.effects import Likelihood, likelihood
from healthseg.tools.milestones.figures import Figures

LEAST_FINISHED, LEAST_FAILURES = 30, 10
STEP = 7  # days between the moments at which past customers are looked at
NEEDED = ("onboarding", "adoption")


@dataclass(frozen=True)
class Chance:
    """``basis``: observed (it is known), model, or None with the ``reason``."""

    value: float | None
    lower: float | None
    upper: float | None
    basis: str | None
    reason: str | None


class Success:
    """The portfolio's customers with all that they need, as ages in days since each began."""

    def __init__(self, figures: Figures) -> None:
        self.figures, grace = figures, figures.settings.milestone_grace_days
        rows = figures.states
        rows = rows[
            rows["required"] & rows["category"].isin(NEEDED) & (rows["status"] != "skipped")
        ]
        self.ids = pd.Index(sorted(rows["client_id"].unique()))
        lives = figures.present_spells.loc[self.ids]
        self.began = lives["began_day"].to_numpy(dtype=float)
        self.done = self._ages(rows, "completed_day", np.inf)  # inf: not yet; NaN: not asked for
        self.due = self._ages(rows, "target_day", np.inf)
        self.blocked = self._ages(rows, "blocked_day", np.inf)
        cleared = rows["cleared_day"].where(rows["blocked_day"].notna())
        self.cleared = self._ages(rows.assign(cleared_day=cleared), "cleared_day", np.inf)
        self.known = (
            rows.groupby("client_id")["watched"].all().reindex(self.ids).to_numpy(dtype=bool)
        )
        self.horizon = (
            np.nanmax(np.where(np.isfinite(self.due), self.due, np.nan), axis=1, initial=-np.inf)
            + grace
        )
        self.today = lives["day"].to_numpy(dtype=float) - self.began
        self.live = lives["live"].to_numpy(dtype=bool)
        self.watched_age = np.maximum(self._watched_from() - self.began, 0)
        self.all_done = np.nanmax(self.done, axis=1) if len(self.ids) else np.empty(0)

    def _watched_from(self) -> float:
        """The first day from which on leavers are in the portfolio: of customers that began before it, only those are that
        stayed until then."""
        days = self.figures.present_spells
        left = days.loc[~days["live"], "day"]
        return float(min([epoch_day(self.figures.portfolio.first_event_day), *left]))

    def _ages(self, rows: pd.DataFrame, column: str, never: float) -> np.ndarray:
        """Customers × milestones: the age at which it happened; NaN where the milestone is not asked for."""
        age = rows[column].fillna(never) - rows["began_day"]
        wide = rows.assign(age=age).pivot(index="client_id", columns="milestone_id", values="age")
        return wide.reindex(self.ids).to_numpy(dtype=float)

    # -- the past ------------------------------------------------------------------------

    @cached_property
    def finished(self) -> np.ndarray:
        """Customers that were watched before they were done, and whose last target and days of grace have passed."""
        over = self.began + self.horizon <= epoch_day(self.figures.as_of)
        return (
            over
            & self.known
            & np.isfinite(self.horizon)
            & (self.watched_age < np.fmin(self.horizon, self.all_done))
        )

    @cached_property
    def succeeded(self) -> np.ndarray:
        return self.all_done <= self.horizon

    @property
    def past(self) -> int:
        return int(self.finished.sum())

    @property
    def failures(self) -> int:
        return int((self.finished & ~self.succeeded).sum())

    @property
    def share(self) -> float | None:
        """The share of those watched from their beginning that had all in time."""
        whole = self.finished & (self.watched_age == 0)
        return (
            float(self.succeeded[whole].mean())
            if whole.sum() >= self.figures.settings.peers_min
            else None
        )

    @cached_property
    def model(self) -> Likelihood | None:
        if self.past < LEAST_FINISHED or self.failures < LEAST_FAILURES:
            return None
        who = np.flatnonzero(self.finished)
        parts, outcomes, customers = [], [], []
        for age in np.arange(0.0, np.max(self.horizon[who]), STEP):
            open_ones = who[
                (age < self.horizon[who])
                & (age < self.all_done[who])
                & (age >= self.watched_age[who])
                & (self.live[who] | (age <= self.today[who]))
            ]
            if not len(open_ones):
                continue
            parts.append(self.standing(open_ones, np.full(len(open_ones), age)))
            outcomes.append(self.succeeded[open_ones])
            customers.append(np.searchsorted(who, open_ones))
        return likelihood(
            np.concatenate(parts), np.concatenate(outcomes).astype(float), np.concatenate(customers)
        )

    def standing(self, who: np.ndarray, age: np.ndarray) -> np.ndarray:
        """Where customers stand at an age: the shares of what they need that is open, and overdue, whether a recorded
        blocker stands, how much of the time is gone, and that times what is open."""
        done, due, blocked, cleared = (
            table[who] for table in (self.done, self.due, self.blocked, self.cleared)
        )
        at = age[:, None]
        asked = (~np.isnan(done)).sum(axis=1)
        still = done > at
        open_share, overdue = still.sum(axis=1) / asked, (still & (due < at)).sum(axis=1) / asked
        stands = (still & (blocked <= at) & (cleared > at)).any(axis=1)
        gone = age / self.horizon[who]
        return np.column_stack([open_share, overdue, stands, gone, open_share * gone])

    # -- one customer --------------------------------------------------------------------

    def of(self, client_id: str) -> Chance:
        if client_id not in self.ids:
            return Chance(
                None, None, None, None, "no required onboarding or adoption milestone applies"
            )
        at = int(self.ids.get_loc(client_id))
        if not np.isfinite(self.horizon[at]):
            return Chance(None, None, None, None, "the last due date is not known yet")
        if self.succeeded[at]:
            return Chance(1.0, None, None, "observed", None)
        if self.today[at] >= self.horizon[at]:
            return (
                Chance(0.0, None, None, "observed", None)
                if self.known[at]
                else Chance(
                    None, None, None, None, "some may have been completed before use was tracked"
                )
            )
        return self._expected(at)

    def _expected(self, at: int) -> Chance:
        if not self.live[at]:
            return Chance(None, None, None, None, "the customer has left")
        if self.past < LEAST_FINISHED or self.failures < LEAST_FAILURES:
            return Chance(
                None,
                None,
                None,
                None,
                f"{self.past} past customers with {self.failures} failures: it needs {LEAST_FINISHED} and "
                f"{LEAST_FAILURES}",
            )
        if self.model is None or not self.model.useful:
            return Chance(
                None,
                None,
                None,
                None,
                "where past customers stood told no more of how they ended than the plain share did",
            )
        row = self.standing(np.array([at]), self.today[[at]])[0]
        return Chance(*self.model.at(row, self.figures.level), "model", None)

    def all_of(self, client_id: str) -> Ahead | None:
        """When a customer will have all that it needs, in days since 1970: from those that at its age had as much open,
        else from all that were not done; None where it is done, has left, or too few were."""
        at = int(self.ids.get_loc(client_id)) if client_id in self.ids else -1
        if at < 0 or np.isfinite(self.all_done[at]) or not self.live[at]:
            return None
        age = self.today[at]
        others = self.known & (self.ids != client_id)
        time = np.where(np.isfinite(self.all_done), self.all_done, self.today)
        as_much = (self.done > age).sum(axis=1) == (self.done[at] > age).sum()
        for chosen, of in (
            (others & as_much, "as much open at that age"),
            (others, "not done at that age"),
        ):
            rows = pd.DataFrame(
                {"time": time[chosen], "happened": np.isfinite(self.all_done[chosen])}
            )
            if int((rows["time"] > age).sum()) >= self.figures.settings.peers_min:
                found = ahead(rows, age, self.figures.level)
                days = [
                    None if one is None else self.began[at] + one
                    for one in (found.median, found.lower, found.upper)
                ]
                return Ahead(*days, found.n, of)
        return None

    def by_day(self, client_id: str) -> float:
        """The day since 1970 by which all must be complete; NaN where none applies."""
        if client_id not in self.ids:
            return np.nan
        at = int(self.ids.get_loc(client_id))
        return self.began[at] + self.horizon[at] if np.isfinite(self.horizon[at]) else np.nan
